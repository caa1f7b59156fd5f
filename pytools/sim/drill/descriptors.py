"""What a script's file numbers stand for on our stack."""

from collections import deque
from typing import Any

from pytools.stack import sockets as so
from pytools.stack.events import UdpReceived
from pytools.stack.sockets import StreamSocket
from pytools.units import Ns

EPOLLET = 1 << 31
EPOLLONESHOT = 1 << 30


class Descriptor:
    """A stream socket, and whether calls on it wait."""

    __slots__ = ("nonblocking", "receive_timeout_ns", "send_timeout_ns", "socket")

    def __init__(self, socket: StreamSocket, nonblocking: bool) -> None:
        self.socket = socket
        self.nonblocking = nonblocking
        self.receive_timeout_ns: Ns = 0
        self.send_timeout_ns: Ns = 0

    def poll(self) -> int:
        """The bits of poll(2)."""
        return self.socket.poll()


class Datagrams:
    """A UDP socket: its port, its peer, and what has arrived."""

    __slots__ = ("nonblocking", "peer", "port", "waiting")

    def __init__(self, nonblocking: bool) -> None:
        self.nonblocking = nonblocking
        self.port = 0
        self.peer: tuple[bytes, int] | None = None
        self.waiting: deque[UdpReceived] = deque()

    def poll(self) -> int:
        """The bits of poll(2)."""
        return so.POLLOUT | (so.POLLIN if self.waiting else 0)


class File:
    """An open() file. It is never opened: as many zeros as somebody asks for."""

    __slots__ = ()
    nonblocking = True

    def poll(self) -> int:
        """A file is always ready."""
        return so.POLLIN | so.POLLOUT


class Pipe:
    """One end of a pipe; both ends share `held`, a list of one count (all octets are zeros)."""

    __slots__ = ("held",)
    nonblocking = False

    def __init__(self, held: list[int]) -> None:
        self.held = held

    def poll(self) -> int:
        """Readable with something in it."""
        return so.POLLOUT | (so.POLLIN if self.held[0] else 0)


class Epoll:
    """epoll(7): interest by number, level or edge triggered."""

    __slots__ = ("_seen", "entries")
    nonblocking = False

    def __init__(self) -> None:
        self.entries: dict[int, tuple[int, Any]] = {}
        self._seen: dict[int, tuple[int, int]] = {}

    def poll(self) -> int:
        """Readiness of the epoll descriptor itself is not looked at."""
        return 0

    def forget(self, number: int) -> None:
        """A descriptor was closed or changed: an edge is news again."""
        self._seen.pop(number, None)

    def ready(self, number: int, bits: int, stamp: int) -> int:
        """The bits to report. `stamp` counts what happened on the socket: an edge is a new bit or new progress."""
        events, _ = self.entries[number]
        found = bits & (events | so.POLLERR | so.POLLHUP)
        if not events & EPOLLET:
            return found
        seen_bits, seen_stamp = self._seen.get(number, (0, -1))
        if found == seen_bits and (stamp == seen_stamp or not found):
            return 0
        news = found if stamp != seen_stamp else found & ~seen_bits
        return found if news else 0

    def reported(self, number: int, bits: int, stamp: int) -> None:
        """Remember what the application was told, or that nothing was ready."""
        events, data = self.entries[number]
        self._seen[number] = (bits, stamp)
        if bits and events & EPOLLONESHOT:
            self.entries[number] = (0, data)
