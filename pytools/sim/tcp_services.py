"""TCP services of the simulated hosts: echo (RFC 862), discard (RFC 863), chargen (RFC 864) and a page of HTTP.

They run on our own stack; a port where nobody listens answers with RST.
"""

from errno import EAGAIN
from typing import Final

from pytools.engine import EngineEvent
from pytools.sim.network import Host, Network
from pytools.stack import sockets as so
from pytools.stack.sockets import StreamSocket
from pytools.stack.stack import Stack
from pytools.stack.tcp.events import ConnectionNews
from pytools.stack.tcp.tcp import Tcp

ECHO, DISCARD, CHARGEN, HTTP = 7, 9, 19, 80
PORTS: Final = (ECHO, DISCARD, CHARGEN, HTTP)

_CHUNK: Final = 1 << 16
_BACKLOG: Final = 128
_REQUEST_LIMIT: Final = 1 << 16
_PAGE: Final = b"This is a simulated host of pytools.\n"
_RING: Final = bytes(range(32, 127)) * 2
_LINES: Final = b"".join(_RING[line : line + 72] + b"\r\n" for line in range(95))
"""RFC 864's pattern until it repeats."""


class TcpServices:
    """TCP on one simulated host, with its services (none: it refuses every port)."""

    def __init__(self, network: Network, host: Host, ports: tuple[int, ...] = PORTS) -> None:
        assert isinstance(host.engine, Stack)
        self._network = network
        self.tcp = host.engine.install(6, Tcp)
        self._listeners: dict[object, tuple[StreamSocket, int]] = {}
        self._sessions: dict[object, Session] = {}
        for port in ports:
            listening = StreamSocket(self.tcp, so.AF_INET6)
            listening.bind(b"", port)
            listening.listen(_BACKLOG)
            self._listeners[listening.listener] = (listening, port)
        host.on_event = self._on_event

    def _on_event(self, event: EngineEvent) -> None:
        if not isinstance(event, ConnectionNews):
            return
        now = self._network.now()
        if (listening := self._listeners.get(event.listener)) is not None:
            self._accept(*listening, now)
        elif (session := self._sessions.get(event.connection)) is not None:
            session.turn(now)
            if session.over:
                del self._sessions[event.connection]

    def _accept(self, listening: StreamSocket, port: int, now: int) -> None:
        while True:
            try:
                stream = listening.accept(now)
            except OSError:
                return
            session = Session(stream, port)
            session.turn(now)  # what came with the handshake's last segment has no news of its own
            if not session.over:
                self._sessions[stream.connection] = session


class Session:
    """One connection of a service."""

    __slots__ = ("_ended", "_pending", "_port", "_request", "_sent", "_stream", "over")

    def __init__(self, stream: StreamSocket, port: int) -> None:
        self._stream = stream
        self._port = port
        self._pending = b""
        self._request = b""
        self._sent = 0
        self._ended = False
        """Nothing more is to be written after `_pending`."""
        self.over = False

    def turn(self, now: int) -> None:
        """Do what can be done without waiting."""
        try:
            while self._flush(now) and not self._ended and self._read(now):
                pass
            if self._ended and not self._pending:
                self._finish(now)
        except OSError as error:
            if error.errno != EAGAIN:
                self._finish(now)

    def _finish(self, now: int) -> None:
        self.over = True
        self._stream.close(now)

    def _flush(self, now: int) -> bool:
        """Write what waits; False while it does not fit."""
        while self._pending:
            taken = self._stream.send(self._pending[:_CHUNK], now)  # EAGAIN: the peer does not read
            self._pending = self._pending[taken:]
        return True

    def _read(self, now: int) -> bool:
        """Take what came; chargen writes instead as long as it can."""
        if self._port == CHARGEN:
            self._generate(now)
        data = self._stream.recv(_CHUNK, now)
        if not data:
            self._ended = True
        elif self._port == ECHO:
            self._pending += data
        elif self._port == HTTP:
            self._answer(data)
        return True

    def _generate(self, now: int) -> None:
        while True:
            at = self._sent % len(_LINES)
            try:
                self._sent += self._stream.send(_LINES[at:], now)
            except OSError as error:
                if error.errno != EAGAIN:
                    raise
                return

    def _answer(self, data: bytes) -> None:
        """One page, whatever is asked for."""
        self._request += data
        if b"\r\n\r\n" in self._request or b"\n\n" in self._request:
            head = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(_PAGE)
            self._pending += head + (b"" if self._request.startswith(b"HEAD ") else _PAGE)
            self._ended = True
        elif len(self._request) > _REQUEST_LIMIT:
            self._ended = True
