"""What a TCP server tells: that it listens, who came, and how each connection ended."""

from typing import TYPE_CHECKING

from pytools.engine import EngineEvent
from pytools.units import Ns

if TYPE_CHECKING:
    from pytools.stack.tcp.connection import Connection
    from pytools.stack.tcp.info import TcpInfo

Endpoint = tuple[bytes, int]


class ServerListening(EngineEvent):
    """From now on connections to `places` are taken; an address b"4" or b"6" is any of that family."""

    __slots__ = ("places",)

    def __init__(self, now: Ns, places: tuple[Endpoint, ...]) -> None:
        self.now = now
        self.places = places


class ClientOpened(EngineEvent):
    """Connection `number` (from 1) was accepted."""

    __slots__ = ("local", "number", "peer")

    def __init__(self, now: Ns, number: int, local: Endpoint, peer: Endpoint) -> None:
        self.now = now
        self.number = number
        self.local = local
        self.peer = peer


class ClientClosed(EngineEvent):
    """Connection `number` is over. `how` is FIN, RST, timeout, idle, limit, shutdown or an errno's name.

    `bytes_in` were read, `bytes_out` handed to TCP, of which `info.bytes_acked` are known to have arrived.
    """

    __slots__ = ("bytes_in", "bytes_out", "connection", "duration_ns", "how", "local", "number", "peer")

    def __init__(
        self,
        now: Ns,
        number: int,
        local: Endpoint,
        peer: Endpoint,
        bytes_in: int,
        bytes_out: int,
        duration_ns: Ns,
        how: str,
        connection: "Connection",
    ) -> None:
        self.now = now
        self.number = number
        self.local = local
        self.peer = peer
        self.bytes_in = bytes_in
        self.bytes_out = bytes_out
        self.duration_ns = duration_ns
        self.how = how
        self.connection = connection

    @property
    def info(self) -> "TcpInfo":
        """TCP_INFO at the end; made when it is asked for, since it costs as much as a segment."""
        return self.connection.info()
