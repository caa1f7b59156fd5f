"""A host in an asyncio loop: connections, servers and streams on our own stack.

    net = AsyncHost(host)
    reader, writer = await net.open_connection("192.0.2.1", 80)

The loop turns the driver by add_reader and call_later; over a simulated network use `asyncio_virtual.VirtualLoop`.
"""

import asyncio
import contextlib
import ssl as tls
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

from pytools.run import sockets_address as addresses
from pytools.run.asyncio_transport import StreamTransport
from pytools.run.host import SocketHost
from pytools.run.sockets import Socket
from pytools.run.sockets_pump import worded
from pytools.stack.sockets import StreamSocket
from pytools.units import NEVER, SECOND

ProtocolT = TypeVar("ProtocolT", bound=asyncio.BaseProtocol)
ClientConnected = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None] | None]
STREAM_LIMIT = 65536


class AsyncHost:
    """asyncio on one `SocketHost`. To be made and used inside the running loop."""

    def __init__(self, host: SocketHost) -> None:
        self.host = host
        self.loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._filenos: tuple[int, ...] = ()
        self._scheduled = False
        self._closed = False
        if host.pump.virtual and not getattr(self.loop, "turns_pump", False):
            raise RuntimeError("a host of a simulated network needs asyncio_virtual.VirtualLoop")
        self.turn()

    async def __aenter__(self) -> "AsyncHost":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- turning -------------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Let leave and arrive what is due; once for all calls of this round of the loop."""
        if not self._scheduled and not self._closed:
            self._scheduled = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._closed:
            return
        with self.host.calls:
            self.host.pump.look()
        if not self.host.pump.virtual:
            self._watch()

    def _watch(self) -> None:
        """Come back when a link is readable or a deadline is due."""
        driver = self.host.pump.driver
        filenos = tuple(driver.filenos())
        if filenos != self._filenos:
            for fileno in self._filenos:
                self.loop.remove_reader(fileno)
            for fileno in filenos:
                self.loop.add_reader(fileno, self._turn)
            self._filenos = filenos
        if self._timer is not None:
            self._timer.cancel()
        wake = driver.next_wake()
        delay = max(0, wake - self.host.now()) / SECOND
        self._timer = None if wake >= NEVER else self.loop.call_later(delay, self._turn)

    async def drain(self, timeout: float | None = None) -> bool:
        """Wait until peers have got what closed connections had queued; False when the time is up before."""
        end = NEVER if timeout is None else self.host.now() + round(timeout * SECOND)
        while self.host.undelivered():
            if self.host.now() >= end:
                return False
            await asyncio.sleep(0.01)
        return True

    async def close(self, linger: float = 5.0) -> None:
        """Deliver what is queued, for `linger` seconds at most, and leave the loop. The host stays open."""
        await asyncio.sleep(0)
        await self.drain(linger)
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for fileno in self._filenos:
            self.loop.remove_reader(fileno)

    # -- clients -------------------------------------------------------------------------------------------------------

    async def create_connection(
        self,
        protocol_factory: Callable[[], ProtocolT],
        host: str,
        port: int,
        *,
        ssl: tls.SSLContext | bool | None = None,
        server_hostname: str | None = None,
        family: int = 0,
        local_addr: tuple[str, int] | None = None,
        ssl_handshake_timeout: float | None = None,
    ) -> tuple[asyncio.Transport, ProtocolT]:
        """As `loop.create_connection`. OSError: the last address's failure."""
        stream = await self._connect(host, port, family, local_addr)
        protocol = protocol_factory()
        if not ssl:
            return await self._start(stream, protocol), protocol
        context = tls.create_default_context() if ssl is True else ssl
        name = host if server_hostname is None else server_hostname
        return await self._start_tls(stream, protocol, context, name, ssl_handshake_timeout), protocol

    async def _connect(self, host: str, port: int, family: int, local: tuple[str, int] | None) -> StreamSocket:
        failure: OSError = OSError(f"no address for {host}")
        for kind, address in await self._resolve(host, port, family):
            stream = StreamSocket(self.host.tcp, kind)
            try:
                if local is not None:
                    stream.bind(*addresses.parse(kind, local, "bind"))
                await self._handshake(stream, addresses.parse(kind, address, "connect"))
                return stream
            except OSError as error:
                failure = worded(error)
                self._close(stream)
            except BaseException:
                self._close(stream)
                raise
        raise failure

    async def _resolve(self, host: str, port: int, family: int) -> list[tuple[int, tuple[Any, ...]]]:
        """Names are looked up in a thread; addresses need none."""
        if addresses.is_address(host):
            return addresses.families_of(host, port, family)
        return await self.loop.run_in_executor(None, addresses.families_of, host, port, family)

    async def _handshake(self, stream: StreamSocket, remote: addresses.Endpoint) -> None:
        with self.host.calls, contextlib.suppress(BlockingIOError):
            stream.connect(remote, self.host.now())
        connection = stream.connection
        changed = asyncio.Event()
        self.host.listeners[connection] = lambda news: changed.set()
        self.turn()
        try:
            while stream.connecting:
                await changed.wait()
                changed.clear()
        finally:
            self.host.listeners.pop(connection, None)
        with self.host.calls:
            stream.connect(remote, self.host.now())

    def _close(self, stream: StreamSocket) -> None:
        with self.host.calls:
            stream.close(self.host.now())
        self.turn()

    async def _start(self, stream: StreamSocket, protocol: asyncio.BaseProtocol) -> StreamTransport:
        transport = StreamTransport(self.host, self.loop, stream, protocol, self.turn)
        await asyncio.sleep(0)  # connection_made is called before the caller goes on
        return transport

    async def _start_tls(
        self,
        stream: StreamSocket,
        protocol: asyncio.BaseProtocol,
        context: tls.SSLContext,
        name: str,
        limit: float | None,
    ) -> asyncio.Transport:
        ready = self.loop.create_future()
        secure = self._tls_protocol(protocol, context, ready, server_side=False, name=name or None, limit=limit)
        transport = StreamTransport(self.host, self.loop, stream, secure, self.turn)
        try:
            await ready
        except BaseException:
            transport.close()
            raise
        return secure._app_transport  # type: ignore[no-any-return]

    def _tls_protocol(
        self,
        protocol: asyncio.BaseProtocol,
        context: tls.SSLContext,
        ready: "asyncio.Future[Any] | None",
        *,
        server_side: bool,
        name: str | None,
        limit: float | None,
    ) -> Any:
        """asyncio's own TLS, which speaks over any transport."""
        make: Any = sslproto.SSLProtocol
        return make(self.loop, protocol, context, ready, server_side, name, ssl_handshake_timeout=limit)

    async def open_connection(
        self, host: str, port: int, *, limit: int = STREAM_LIMIT, **how: Any
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As `asyncio.open_connection`."""
        reader = asyncio.StreamReader(limit=limit, loop=self.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self.loop)
        transport, _ = await self.create_connection(lambda: protocol, host, port, **how)
        return reader, asyncio.StreamWriter(transport, protocol, reader, self.loop)

    # -- servers -------------------------------------------------------------------------------------------------------

    async def create_server(
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int = 0,
        *,
        family: int = addresses.AF_INET,
        backlog: int = 100,
        ssl: tls.SSLContext | None = None,
        ssl_handshake_timeout: float | None = None,
    ) -> "AsyncServer":
        """As `loop.create_server`; without `host` both families at one port."""
        if host is None:
            listener = self.host.create_server(("", port), family=addresses.AF_INET6, dualstack_ipv6=True)
        else:
            kind, address = (await self._resolve(host, port, 0))[0] if host else (family, (host, port))
            listener = self.host.create_server(address[:2], family=kind, backlog=backlog)
        return AsyncServer(self, listener, protocol_factory, ssl, ssl_handshake_timeout)

    async def start_server(
        self,
        client_connected: ClientConnected,
        host: str | None = None,
        port: int = 0,
        *,
        limit: int = STREAM_LIMIT,
        **how: Any,
    ) -> "AsyncServer":
        """As `asyncio.start_server`."""

        def factory() -> asyncio.StreamReaderProtocol:
            reader = asyncio.StreamReader(limit=limit, loop=self.loop)
            return asyncio.StreamReaderProtocol(reader, client_connected, loop=self.loop)

        return await self.create_server(factory, host, port, **how)

    def accepted(
        self,
        stream: StreamSocket,
        protocol: asyncio.BaseProtocol,
        context: tls.SSLContext | None,
        limit: float | None,
        on_lost: Callable[[StreamTransport], None],
    ) -> StreamTransport:
        """A transport for a connection that a server accepted."""
        if context is not None:
            protocol = self._tls_protocol(protocol, context, None, server_side=True, name=None, limit=limit)
        return StreamTransport(self.host, self.loop, stream, protocol, self.turn, on_lost)


class AsyncServer(asyncio.AbstractServer):
    """A listener whose connections get protocols."""

    def __init__(
        self,
        net: AsyncHost,
        listener: Socket,
        factory: Callable[[], asyncio.BaseProtocol],
        context: tls.SSLContext | None,
        limit: float | None,
    ) -> None:
        self._net = net
        self._listener = listener
        self._factory = factory
        self._context = context
        self._limit = limit
        self._active: set[StreamTransport] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._serving = True
        self._key = listener.listener()
        net.host.listeners[self._key] = self._on_news

    @property
    def sockets(self) -> tuple[Socket, ...]:
        """The listener."""
        return (self._listener,) if self._serving else ()

    def _on_news(self, news: int) -> None:
        self._net.loop.call_soon(self._accept)

    def _accept(self) -> None:
        while self._serving:
            try:
                stream = self._listener.accept_stream()
            except BlockingIOError:
                break
            try:
                transport = self._net.accepted(stream, self._factory(), self._context, self._limit, self._lost)
            except OSError:
                self._net.host.forget(stream)  # it was reset before we looked
                continue
            self._active.add(transport)
            self._idle.clear()
        self._net.turn()

    def _lost(self, transport: StreamTransport) -> None:
        self._active.discard(transport)
        if not self._active:
            self._idle.set()

    def close(self) -> None:
        """Take no more connections; those there go on."""
        if self._serving:
            self._serving = False
            self._net.host.listeners.pop(self._key, None)
            self._listener.close()
            self._net.turn()

    def close_clients(self) -> None:
        """Close what is connected."""
        for transport in tuple(self._active):
            transport.close()

    def abort_clients(self) -> None:
        """Drop what is connected."""
        for transport in tuple(self._active):
            transport.abort()

    async def wait_closed(self) -> None:
        """Until the last connection is gone."""
        await self._idle.wait()

    def is_serving(self) -> bool:
        """Whether connections are taken."""
        return self._serving

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """The loop."""
        return self._net.loop

    async def start_serving(self) -> None:
        """It serves from the beginning."""

    async def serve_forever(self) -> None:
        """Until cancelled; then closed."""
        try:
            await self._net.loop.create_future()
        finally:
            self.close()

    async def __aenter__(self) -> "AsyncServer":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        await self.wait_closed()
