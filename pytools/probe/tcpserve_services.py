"""What a TCP server does with a connection: echo (RFC 862), discard (RFC 863), chargen (RFC 864), a number of octets,
a file, an answer to an HTTP request.

A service is asked for output when there is room for it and given input when it is not `full`, so that no more is held
for a slow peer than TCP's own buffers.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

CHUNK: Final = 65536
ReadAt = Callable[[int, int], bytes]
"""(offset, size) -> octets, b"" at the end."""


class Service:
    """Takes everything and says nothing: discard. The others are made from it."""

    __slots__ = ()

    @property
    def full(self) -> bool:
        """No more input for now."""
        return False

    def on_input(self, data: bytes) -> None:
        """Octets of the peer, in order."""

    def on_input_end(self) -> None:
        """The peer has sent all it wanted."""

    def output(self, size: int) -> bytes | None:
        """Up to `size` octets for the peer; None when there are none now, b"" when there will be none any more."""
        return None

    def on_end(self) -> None:
        """The connection is over; nothing else is called after this."""


class Discard(Service):
    """RFC 863; closes when the peer does."""

    __slots__ = ("_ended",)

    def __init__(self) -> None:
        self._ended = False

    def on_input_end(self) -> None:
        """See `Service`."""
        self._ended = True

    def output(self, size: int) -> bytes | None:
        """See `Service`."""
        return b"" if self._ended else None


class Echo(Service):
    """RFC 862: what comes goes back, and so does the end."""

    __slots__ = ("_ended", "_held")

    def __init__(self) -> None:
        self._held = b""
        self._ended = False

    @property
    def full(self) -> bool:
        """See `Service`: one piece at a time."""
        return bool(self._held)

    def on_input(self, data: bytes) -> None:
        """See `Service`."""
        self._held = data

    def on_input_end(self) -> None:
        """See `Service`."""
        self._ended = True

    def output(self, size: int) -> bytes | None:
        """See `Service`."""
        held = self._held
        if not held:
            return b"" if self._ended else None
        self._held = held[size:]
        return held if size >= len(held) else held[:size]


def chargen_block() -> bytes:
    """The 95 lines of RFC 864's pattern, after which it repeats."""
    ring = bytes(range(32, 127)) * 2
    return b"".join(ring[first : first + 72] + b"\r\n" for first in range(95))


class Octets(Service):
    """`pattern` again and again: `limit` octets, or without a limit until the peer closes. Input is discarded."""

    __slots__ = ("_ended", "_limit", "_pattern", "_sent")

    def __init__(self, pattern: bytes, limit: int | None = None) -> None:
        """`pattern` holds its period at least twice and at least CHUNK octets more than once (see `repeated`)."""
        self._pattern = pattern
        self._limit = limit
        self._sent = 0
        self._ended = False

    def on_input_end(self) -> None:
        """See `Service`: without a limit this is the only end there is."""
        self._ended = self._limit is None

    def output(self, size: int) -> bytes | None:
        """See `Service`."""
        if self._limit is not None:
            size = min(size, self._limit - self._sent)
        if self._ended or size <= 0:
            return b""
        # Whole blocks are the very same object for every client, whatever waits in their buffers.
        start = self._sent % len(self._pattern)
        data = self._pattern if not start and size >= len(self._pattern) else self._pattern[start : start + size]
        self._sent += len(data)
        return data


def repeated(period: bytes) -> bytes:
    """`period` repeated to about CHUNK octets."""
    return period * max(1, CHUNK // len(period))


class FileService(Service):
    """The octets that `read_at` gives. Input is discarded."""

    __slots__ = ("_offset", "_read_at")

    def __init__(self, read_at: ReadAt) -> None:
        self._read_at = read_at
        self._offset = 0

    def output(self, size: int) -> bytes | None:
        """See `Service`."""
        data = self._read_at(self._offset, size)
        self._offset += len(data)
        return data


class Http(Service):
    """Answers one HTTP request (RFC 9112), whatever it asks for, with `body`, and closes.

    `length`: octets of the body, None when that is not known.
    """

    __slots__ = ("_asked", "_body", "_bodiless", "_head", "_request")

    MOST: Final = 65536

    def __init__(self, body: Service, length: int | None) -> None:
        self._body = body
        self._request = b""
        self._asked = self._bodiless = False
        size = "" if length is None else f"Content-Length: {length}\r\n"
        self._head = f"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n{size}Connection: close\r\n\r\n"

    def on_input(self, data: bytes) -> None:
        """See `Service`."""
        if self._asked:
            return
        self._request += data
        if b"\r\n\r\n" in self._request or b"\n\n" in self._request:
            self._begin(self._request.startswith(b"HEAD "))
        elif len(self._request) > self.MOST:
            self._head = "HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n\r\n"
            self._begin(bodiless=True)

    def _begin(self, bodiless: bool) -> None:
        self._asked, self._bodiless, self._request = True, bodiless, b""

    def on_input_end(self) -> None:
        """See `Service`: half a request gets no answer."""
        if not self._asked:
            self._asked = self._bodiless = True
            self._head = ""

    def output(self, size: int) -> bytes | None:
        """See `Service`."""
        if not self._asked:
            return None
        if self._head:
            head, self._head = self._head[:size], self._head[size:]
            return head.encode()
        return b"" if self._bodiless else self._body.output(size)


class Greeted(Service):
    """`banner` first, then what `service` does."""

    __slots__ = ("_banner", "_service")

    def __init__(self, banner: bytes, service: Service) -> None:
        self._banner = banner
        self._service = service

    @property
    def full(self) -> bool:
        """See `Service`."""
        return self._service.full

    def on_input(self, data: bytes) -> None:
        """See `Service`."""
        self._service.on_input(data)

    def on_input_end(self) -> None:
        """See `Service`."""
        self._service.on_input_end()

    def output(self, size: int) -> bytes | None:
        """See `Service`."""
        if self._banner:
            banner, self._banner = self._banner[:size], self._banner[size:]
            return banner
        return self._service.output(size)

    def on_end(self) -> None:
        """See `Service`."""
        self._service.on_end()


class Relay(Service):
    """Octets to and from somebody else: `supply` and `finish` bring output, `take` fetches input.

    `on_change` is called when there is something to take, room to supply again, or nothing to come any more.
    """

    LIMIT: Final = CHUNK

    __slots__ = ("_finished", "_incoming", "_outgoing", "ended", "input_ended", "on_change")

    def __init__(self, on_change: Callable[[], object]) -> None:
        self._incoming: deque[bytes] = deque()
        self._outgoing: deque[bytes] = deque()
        self._finished = False
        self.input_ended = False
        self.ended = False
        """The connection is over."""
        self.on_change = on_change

    @property
    def full(self) -> bool:
        """See `Service`."""
        return bool(self._incoming)

    @property
    def has_room(self) -> bool:
        """More may be supplied."""
        return not self._outgoing

    @property
    def pending(self) -> bytes:
        """What `take` would take from."""
        return self._incoming[0] if self._incoming else b""

    def take(self, size: int) -> None:
        """So many octets of `pending` were delivered."""
        rest = self._incoming[0][size:]
        if rest:
            self._incoming[0] = rest
        else:
            self._incoming.popleft()

    def supply(self, data: bytes) -> None:
        """Octets for the peer."""
        self._outgoing.append(data)

    def finish(self) -> None:
        """Nothing more will be supplied."""
        self._finished = True

    def on_input(self, data: bytes) -> None:
        """See `Service`."""
        self._incoming.append(data)
        self.on_change()

    def on_input_end(self) -> None:
        """See `Service`."""
        self.input_ended = True
        self.on_change()

    def output(self, size: int) -> bytes | None:
        """See `Service`."""
        if not self._outgoing:
            return b"" if self._finished else None
        data = self._outgoing.popleft()
        if len(data) > size:
            self._outgoing.appendleft(data[size:])
            data = data[:size]
        if not self._outgoing:
            self.on_change()
        return data

    def on_end(self) -> None:
        """See `Service`."""
        self.ended = True
        self.on_change()
