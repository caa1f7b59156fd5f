"""One connection of ours as an asyncio transport."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from pytools.run.host import SocketHost
from pytools.run.sockets import Socket
from pytools.run.sockets_pump import worded
from pytools.stack.sockets import SHUT_WR, StreamSocket
from pytools.units import Ns

READ_SIZE: Final = 262_144
HIGH_WATER: Final = 65_536


class StreamTransport(asyncio.Transport):
    """Behaves as asyncio's own socket transports. The protocol is called from the loop, never inside its own call.

    `turn()` is asked for when something may have to leave; `on_lost(transport)` is called at the end.
    """

    _start_tls_compatible = True

    def __init__(
        self,
        host: SocketHost,
        loop: asyncio.AbstractEventLoop,
        stream: StreamSocket,
        protocol: asyncio.BaseProtocol,
        turn: Callable[[], None],
        on_lost: Callable[["StreamTransport"], None] | None = None,
    ) -> None:
        socket = Socket(host, stream.family, stream=stream)
        socket.setblocking(False)
        super().__init__({"socket": socket, "sockname": socket.getsockname(), "peername": socket.getpeername()})
        self._host = host
        self._loop = loop
        self._stream = stream
        self._connection = stream.connection
        self._protocol = protocol
        self._turn = turn
        self._on_lost = on_lost
        self._buffer: deque[memoryview] = deque()
        self._buffered = 0
        self._high, self._low = HIGH_WATER, HIGH_WATER // 4
        self._protocol_paused = self._reading_paused = False
        self._eof = self._closing = self._lost = self._read_eof = self._scheduled = False
        host.listeners[self._connection] = self._on_news
        loop.call_soon(protocol.connection_made, self)
        self._schedule()

    # -- news from the stack -------------------------------------------------------------------------------------------

    def _on_news(self, news: int) -> None:
        """Called by the driver: the protocol hears of it from the loop."""
        self._schedule()

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._run)

    def _run(self) -> None:
        self._scheduled = False
        if self._buffer:
            self._flush()
        self._read()
        self._turn()

    def _call(self, operation: Callable[[Ns], Any]) -> Any:
        """A call of the stack, without letting anything leave yet: `turn` does that for many calls at once."""
        pump = self._host.pump
        pump.enter()
        try:
            return operation(pump.now())
        finally:
            pump.leave()

    # -- reading -------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        while not (self._reading_paused or self._closing or self._lost or self._read_eof):
            try:
                data = self._call(lambda now: self._stream.recv(READ_SIZE, now))
            except BlockingIOError:
                return
            except OSError as error:
                self._fail(worded(error))
                return
            try:
                self._deliver(data) if data else self._on_eof()
            except Exception as error:
                self._loop.call_exception_handler(
                    {
                        "message": "the protocol failed",
                        "exception": error,
                        "transport": self,
                        "protocol": self._protocol,
                    }
                )
                self._fail(error)

    def _deliver(self, data: bytes) -> None:
        protocol = self._protocol
        if not isinstance(protocol, asyncio.BufferedProtocol):
            assert isinstance(protocol, asyncio.Protocol)
            protocol.data_received(data)
            return
        view = memoryview(data)
        while len(view):
            room = memoryview(protocol.get_buffer(len(view))).cast("B")
            if not len(room):
                raise RuntimeError("get_buffer() returned an empty buffer")
            size = min(len(room), len(view))
            room[:size] = view[:size]
            protocol.buffer_updated(size)
            view = view[size:]

    def _on_eof(self) -> None:
        self._read_eof = True
        assert isinstance(self._protocol, (asyncio.Protocol, asyncio.BufferedProtocol))
        if not self._protocol.eof_received():
            self.close()

    def pause_reading(self) -> None:
        """No more data_received until `resume_reading`."""
        self._reading_paused = True

    def resume_reading(self) -> None:
        """Undo `pause_reading`."""
        self._reading_paused = False
        self._schedule()

    def is_reading(self) -> bool:
        """Whether the protocol may receive."""
        return not (self._reading_paused or self._closing)

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """Send, now or as soon as there is room."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self._eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._lost or not data:
            return
        octets = memoryview(data if isinstance(data, bytes) else bytes(data))
        self._buffer.append(octets)
        self._buffered += len(octets)
        if len(self._buffer) == 1:
            self._flush()
        self._turn()
        if self._buffered > self._high and not self._protocol_paused:
            self._protocol_paused = True
            self._protocol.pause_writing()

    def _flush(self) -> None:
        try:
            while self._buffer:
                first = self._buffer[0]
                sent = self._call(lambda now: self._stream.send(first, now))  # type: ignore[arg-type] # noqa: B023
                self._buffered -= sent
                if sent < len(first):
                    self._buffer[0] = first[sent:]
                else:
                    self._buffer.popleft()
        except BlockingIOError:
            pass
        except OSError as error:
            self._fail(worded(error))
            return
        self._after_flush()

    def _after_flush(self) -> None:
        if self._protocol_paused and self._buffered <= self._low:
            self._protocol_paused = False
            self._protocol.resume_writing()
        if not self._buffer:
            if self._closing:
                self._lose(None)
            elif self._eof:
                self._shut()

    def write_eof(self) -> None:
        """Half-close after what is queued."""
        if self._closing or self._eof:
            return
        self._eof = True
        if not self._buffer:
            self._shut()

    def _shut(self) -> None:
        try:
            self._call(lambda now: self._stream.shutdown(SHUT_WR, now))
        except OSError as error:
            self._fail(worded(error))
        self._turn()

    def can_write_eof(self) -> bool:
        """Yes."""
        return True

    def get_write_buffer_size(self) -> int:
        """Octets that the stack did not take yet."""
        return self._buffered

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """(low, high)."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """When the protocol is paused and resumed."""
        if high is None:
            high = HIGH_WATER if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            raise ValueError(f"high ({high!r}) must be >= low ({low!r}) must be >= 0")
        self._high, self._low = high, low

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Send what is queued, then close."""
        if self._closing:
            return
        self._closing = True
        if not self._buffer:
            self._lose(None)

    def abort(self) -> None:
        """Close at once, without what is queued."""
        self._fail(None)

    def _force_close(self, error: Exception | None) -> None:
        """asyncio's TLS ends a connection by this name."""
        self._fail(error)

    def _fail(self, error: Exception | None) -> None:
        self._closing = True
        self._buffer.clear()
        self._buffered = 0
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._connection_lost, error)

    def _connection_lost(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._host.listeners.pop(self._connection, None)
            self._call(self._stream.close)
            self._turn()
            if self._on_lost is not None:
                self._on_lost(self)

    def is_closing(self) -> bool:
        """Whether it is closed or about to be."""
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Another protocol takes over (as `loop.start_tls` does)."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who hears of this connection."""
        return self._protocol
