"""A listening socket: the SYN queue, the accept queue, cookies when the first overflows (RFC 9293 3.10.1, RFC 4987)."""

from collections import deque
from typing import TYPE_CHECKING

from pytools.stack.tcp.config import TcpConfig
from pytools.units import Ns

if TYPE_CHECKING:
    from pytools.stack.tcp.connection import Connection


class Listener:
    """One address (b"" for any) and port. `backlog` bounds the accept queue and the SYN queue."""

    __slots__ = (
        "accept_queue",
        "address",
        "backlog",
        "config",
        "cookies_checked",
        "cookies_sent",
        "cookies_until",
        "defer_accept",
        "family",
        "news",
        "owner",
        "pending",
        "port",
        "refused_syns",
    )

    def __init__(self, address: bytes, port: int, backlog: int, config: TcpConfig, family: int) -> None:
        self.address = address
        self.port = port
        self.family = family
        """4, 6, or 0 for both."""
        self.backlog = 0
        self.config = config
        self.pending: set[tuple[bytes, int, bytes, int]] = set()
        """Keys of connections in SYN-RECEIVED."""
        self.accept_queue: deque[Connection] = deque()
        self.owner: object = None
        self.news = False
        self.cookies_sent = 0
        self.cookies_checked = 0
        self.cookies_until: Ns = 0
        """Until then an ACK may bring one back."""
        self.refused_syns = 0
        self.defer_accept = False
        self.set_backlog(backlog)

    def set_backlog(self, backlog: int) -> None:
        """How many may wait to be accepted: one more than this, as in Linux."""
        self.backlog = max(0, min(backlog, self.config.max_backlog))

    def takes(self, address: bytes) -> bool:
        """Whether its family has this address."""
        return not self.family or self.family == (4 if len(address) == 4 else 6)

    @property
    def accept_full(self) -> bool:
        """No room for another established connection (Linux: more than backlog)."""
        return len(self.accept_queue) > self.backlog

    @property
    def syn_full(self) -> bool:
        """No room for another half-open connection."""
        return len(self.pending) >= max(self.backlog, self.config.syn_queue)
