"""Engine events of TCP: what an application must learn."""

from typing import TYPE_CHECKING

from pytools.engine import EngineEvent
from pytools.units import Ns

if TYPE_CHECKING:
    from pytools.stack.tcp.connection import Connection


class ConnectionNews(EngineEvent):
    """Something changed for `connection`: `news` are the bits of `connection` (CONNECTED READABLE WRITABLE ...).

    `listener` is set with CONNECTED of a passive connection, which waits in its accept queue.
    """

    __slots__ = ("connection", "listener", "news", "taken")

    def __init__(self, now: Ns, connection: "Connection", news: int, listener: object) -> None:
        super().__init__(now)
        self.connection = connection
        self.news = news
        self.listener = listener
        self.taken = False
        """It has left the queue: more news need another event."""

    def on_taken(self) -> None:
        """See `taken`."""
        self.taken = True
