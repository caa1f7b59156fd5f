"""A listening socket: the SYN queue, the accept queue, cookies when the first overflows (RFC 9293 3.10.1, RFC 4987)."""

from collections import deque
from typing import TYPE_CHECKING

from pytools.stack.tcp.config import TcpConfig

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
        self.backlog = max(1, min(backlog, config.max_backlog))
        self.config = config
        self.pending: set[tuple[bytes, int, bytes, int]] = set()
        """Keys of connections in SYN-RECEIVED."""
        self.accept_queue: deque[Connection] = deque()
        self.owner: object = None
        self.news = False
        self.cookies_sent = 0
        self.cookies_checked = 0
        self.refused_syns = 0
        self.defer_accept = False

    @property
    def accept_full(self) -> bool:
        """No room for another established connection (Linux: more than backlog)."""
        return len(self.accept_queue) > self.backlog

    @property
    def syn_full(self) -> bool:
        """No room for another half-open connection."""
        return len(self.pending) >= self.backlog
