"""A TCP server with many clients on one stack: who comes is given a service, within limits.

    server = TcpServer(stack, tcp, ServeConfig(), lambda number, local, peer: Echo())
    server.listen([(b"", 7)], now)       # OSError: EADDRINUSE, EADDRNOTAVAIL
    ...                                  # an Engine like any other
    server.finish(now)                   # no new clients, those that are there are closed
    server.done

A connection holds what TCP's buffers hold and one piece in the service; a peer that does not read stops the service.
"""

from collections import deque
from collections.abc import Callable, Sequence
from errno import ECONNRESET, EPIPE, ETIMEDOUT, errorcode
from typing import Final

from pytools.engine import EngineEvent, RxMeta, Transmit
from pytools.probe.tcpserve_events import ClientClosed, ClientOpened, Endpoint, ServerListening
from pytools.probe.tcpserve_services import CHUNK, Service
from pytools.stack import sockets
from pytools.stack.deadlines import Deadlines
from pytools.stack.sockets import StreamSocket
from pytools.stack.stack import Stack
from pytools.stack.tcp import state as st
from pytools.stack.tcp.connection import ENDED, Connection
from pytools.stack.tcp.events import ConnectionNews
from pytools.stack.tcp.listener import Listener
from pytools.stack.tcp.tcp import ANY4, ANY6, Tcp
from pytools.units import NEVER, SECOND, Ns

LINGER_NS: Final[Ns] = 60 * SECOND
"""How long a client that was sent everything may take to close (Linux: tcp_fin_timeout of orphans)."""
AHEAD: Final = 4 * CHUNK
"""So much may wait unsent in TCP's buffer for one client."""
RATE_SLICE: Final = 20
"""A limited rate moves in so many steps a second."""

MakeService = Callable[[int, Endpoint, Endpoint], Service]
"""(number, our end, the peer's end) -> what this client gets."""


class ServeConfig:
    """Limits; 0 is none. `max_bytes` counts what is received, of one connection; rates are octets a second of one."""

    __slots__ = ("backlog", "count", "idle_ns", "max_bytes", "max_clients", "no_read", "read_rate", "send_rate")

    def __init__(
        self,
        *,
        backlog: int = 4096,
        count: int = 0,
        max_clients: int = 0,
        max_bytes: int = 0,
        idle_ns: Ns = 0,
        read_rate: int = 0,
        send_rate: int = 0,
        no_read: bool = False,
    ) -> None:
        self.backlog = backlog
        self.count = count
        """Connections to take in all."""
        self.max_clients = max_clients
        """At once; who comes then waits in the backlog."""
        self.max_bytes = max_bytes
        self.idle_ns = idle_ns
        """A connection on which nothing moves for so long is reset."""
        self.read_rate = read_rate
        self.send_rate = send_rate
        self.no_read = no_read
        """Never read: the window closes."""


class Client:
    """One accepted connection."""

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "close_by",
        "closing",
        "connection",
        "due_at",
        "idle_at",
        "input_ended",
        "number",
        "opened_at",
        "output_ended",
        "peer",
        "progress",
        "queued_at",
        "read_at",
        "send_at",
        "service",
        "stream",
        "unsent",
    )

    def __init__(self, number: int, stream: StreamSocket, connection: Connection, service: Service, now: Ns) -> None:
        self.number = number
        self.stream = stream
        self.connection = connection
        self.service = service
        self.opened_at = now
        self.peer: Endpoint = (connection.key[2], connection.key[3])
        self.bytes_in = self.bytes_out = 0
        self.input_ended = self.output_ended = False
        self.unsent = b""
        """What the service gave and TCP did not take."""
        self.closing = ""
        """Why we end it, when it is not for the peer."""
        self.due_at: Ns = NEVER
        self.queued_at: Ns = NEVER
        self.read_at: Ns = 0
        self.send_at: Ns = 0
        self.idle_at: Ns = NEVER
        self.close_by: Ns = NEVER
        self.progress = -1


class TcpServer:
    """The engine. It owns the stack; `tcp` is installed on it."""

    def __init__(self, stack: Stack, tcp: Tcp, config: ServeConfig, make_service: MakeService) -> None:
        self._stack = stack
        self._tcp = tcp
        self._config = config
        self._make_service = make_service
        self._deadlines = Deadlines()
        self._told: deque[EngineEvent] = deque()
        self._streams: list[StreamSocket] = []
        self._clients: dict[Connection, Client] = {}
        self._is_finishing = False
        self._has_timers = bool(config.idle_ns or config.read_rate or config.send_rate)
        self.listeners: list[Listener] = []
        """Kept after they are closed, for what they counted."""
        self.accepted_count = 0
        self.closed_count = 0
        self.most_clients = 0
        self.bytes_in = self.bytes_out = 0
        """Of connections that are over."""
        self.retransmitted: dict[str, int] = {}
        """Segments sent again, by cause; of connections that are over."""
        self.endings: dict[str, int] = {}

    # --- the application's side -----------------------------------------------------------------------------------

    def listen(self, places: Sequence[Endpoint], now: Ns) -> None:
        """Listen at (address, port) each; b"4" and b"6" are any address of that family, b"" is any. OSError."""
        for address, port in places:
            family = sockets.AF_INET if address == ANY4 or len(address) == 4 else sockets.AF_INET6
            stream = StreamSocket(self._tcp, family)
            stream.v6only = address == ANY6
            stream.reuse_address = True
            stream.bind(b"" if len(address) < 4 else address, port)
            stream.listen(self._config.backlog)
            assert stream.listener is not None
            self._streams.append(stream)
            self.listeners.append(stream.listener)
        self._told.append(ServerListening(now, tuple(places)))

    @property
    def clients(self) -> list[Client]:
        """Those that are connected."""
        return list(self._clients.values())

    @property
    def done(self) -> bool:
        """Nobody is connected and nobody can come any more."""
        return not self._streams and not self._clients

    def finish(self, now: Ns) -> None:
        """Listen no more and close every connection, with FIN (RST where the peer's octets are left unread)."""
        self._is_finishing = True
        self._stop_listening(now)
        for client in self.clients:
            self._close(client, "shutdown", now)

    def abort(self, now: Ns) -> None:
        """Reset what is left."""
        for client in self.clients:
            self._reset(client, client.closing or "shutdown", now)
        self._drain(now)

    def touch(self, number: int, now: Ns) -> None:
        """The service of this client has something new; harmless when the client is gone."""
        for client in self._clients.values():
            if client.number == number:
                self._pump(client, now)
                if _is_over(client.connection):
                    self._on_ended(client, now)
                break
        self._drain(now)

    # --- Engine ---------------------------------------------------------------------------------------------------

    def on_frame(self, frame: memoryview, now: Ns, meta: RxMeta) -> None:
        """See `Engine`."""
        self._stack.on_frame(frame, now, meta)
        self._drain(now)

    def on_deadline(self, now: Ns) -> None:
        """See `Engine`."""
        self._stack.on_deadline(now)
        self._deadlines.run(now)
        self._drain(now)

    def poll_transmit(self, now: Ns) -> Transmit | None:
        """See `Engine`."""
        frame = self._stack.poll_transmit(now)
        if frame is None and self._drain(now):
            frame = self._stack.poll_transmit(now)
        return frame

    def on_transmitted(self, token: object, now: Ns, at: Ns | None, error: OSError | None) -> None:
        """See `Engine`."""
        self._stack.on_transmitted(token, now, at, error)

    def poll_event(self) -> EngineEvent | None:
        """See `Engine`: ServerListening, ClientOpened, ClientClosed, and what the stack has to tell beside TCP."""
        return self._told.popleft() if self._told else None

    def next_deadline(self) -> Ns:
        """See `Engine`."""
        return min(self._stack.next_deadline(), self._deadlines.next_at())

    # --- connections ----------------------------------------------------------------------------------------------

    def _drain(self, now: Ns) -> bool:
        """Act on what the stack tells; False when it had nothing."""
        poll_event = self._stack.poll_event
        event = poll_event()
        if event is None:
            return False
        while event is not None:
            if not isinstance(event, ConnectionNews):
                self._told.append(event)
            elif event.listener is not None:
                self._accept_all(now)
            elif (client := self._clients.get(event.connection)) is not None:
                self._pump(client, now)
                if event.news & ENDED:
                    self._on_ended(client, now)
            event = poll_event()
        return True

    def _accept_all(self, now: Ns) -> None:
        """Take whoever waits, as far as the limits allow."""
        limit, count = self._config.max_clients, self._config.count
        for stream in tuple(self._streams):
            listener = stream.listener
            while listener is not None and listener.accept_queue and not (limit and len(self._clients) >= limit):
                self._begin(stream.accept(now), now)
                if count and self.accepted_count >= count:
                    self._stop_listening(now)
                    return

    def _begin(self, stream: StreamSocket, now: Ns) -> None:
        connection = stream.connection
        assert connection is not None
        self.accepted_count += 1
        number = self.accepted_count
        local: Endpoint = connection.key[:2]
        peer: Endpoint = connection.key[2:]
        client = Client(number, stream, connection, self._make_service(number, local, peer), now)
        self._clients[connection] = client
        self.most_clients = max(self.most_clients, len(self._clients))
        self._told.append(ClientOpened(now, number, local, peer))
        self._pump(client, now)
        if _is_over(connection):
            self._on_ended(client, now)  # it was over before it was accepted

    def _stop_listening(self, now: Ns) -> None:
        for stream in self._streams:
            stream.close(now)
        self._streams.clear()

    def _pump(self, client: Client, now: Ns) -> None:
        """Move what can be moved: input to the service, its output to TCP."""
        while self._receive(client, now) | self._send(client, now):
            pass
        if client.input_ended and client.output_ended and not client.stream.closed:
            client.stream.close(now)
        if self._has_timers or client.output_ended:
            self._arm(client, now)

    def _receive(self, client: Client, now: Ns) -> bool:
        """Give the service one piece; False when there is none, or it may not have it now."""
        connection, config = client.connection, self._config
        queued = connection.receiver.queued
        if client.input_ended or client.stream.closed or (queued and config.no_read):
            return False
        if not queued:
            if not connection.at_end:
                return False
            client.input_ended = True
            client.service.on_input_end()
            return True
        if client.read_at > now or (client.service.full and not client.closing):
            return False
        size = CHUNK
        if config.read_rate:
            size = max(1, config.read_rate // RATE_SLICE)
        data = client.stream.recv(size, now)
        if config.read_rate:
            client.read_at = now + len(data) * SECOND // config.read_rate
        client.bytes_in += len(data)
        if not client.closing:
            self._serve(client, data)
        return True

    def _serve(self, client: Client, data: bytes) -> None:
        """Hand input on, up to the limit."""
        limit = self._config.max_bytes
        over = client.bytes_in - limit
        if not limit or over < 0:
            client.service.on_input(data)
            return
        if len(data) > over:
            client.service.on_input(data[: len(data) - over])
        client.service.on_input_end()
        client.closing = "limit"

    def _send(self, client: Client, now: Ns) -> bool:
        """Give TCP one piece; False when there is none, or it takes none now."""
        if client.output_ended or client.send_at > now:
            return False
        connection = client.connection
        if connection.state not in st.CAN_SEND:
            if connection.state is st.CLOSED:
                client.output_ended, client.unsent = True, b""
            return False
        sender = connection.tx.sender
        room = min(CHUNK, sender.room(), AHEAD - sender.unsent)
        if rate := self._config.send_rate:
            room = min(room, max(1, rate // RATE_SLICE))
        if room <= 0:
            return False
        data = client.unsent[:room] or client.service.output(room)
        if data is None:
            return False
        if not data:
            client.output_ended = True
            client.stream.shutdown(sockets.SHUT_WR, now)
            return True
        taken = client.stream.send(data, now)
        client.unsent = client.unsent[taken:] if client.unsent else data[taken:]
        client.bytes_out += taken
        if rate:
            client.send_at = now + taken * SECOND // rate
        return taken > 0

    # --- ends -----------------------------------------------------------------------------------------------------

    def _on_ended(self, client: Client, now: Ns) -> None:
        """The connection is in CLOSED or TIME-WAIT: tell of it once the service has had all its input."""
        connection = client.connection
        if connection not in self._clients:
            return
        client.output_ended = True
        must_wait = not connection.error and not client.closing and not client.input_ended and not self._config.no_read
        if must_wait and client.service.full | (client.read_at > now):
            return
        del self._clients[connection]
        client.stream.close(now)
        self._deadlines.disarm(client)
        client.service.on_end()
        self._count(client, now)
        # Two circles less for the garbage collector, which looks at thousands of connections.
        connection.owner = connection.told = None
        self._accept_all(now)

    def _count(self, client: Client, now: Ns) -> None:
        how = _ending(client)
        connection = client.connection
        self.closed_count += 1
        self.bytes_in += client.bytes_in
        self.bytes_out += client.bytes_out
        self.endings[how] = self.endings.get(how, 0) + 1
        for cause, count in connection.tx.causes.items():
            self.retransmitted[cause] = self.retransmitted.get(cause, 0) + count
        local: Endpoint = client.connection.key[:2]
        duration_ns = now - client.opened_at
        counts = (client.bytes_in, client.bytes_out)
        self._told.append(ClientClosed(now, client.number, local, client.peer, *counts, duration_ns, how, connection))

    def _close(self, client: Client, why: str, now: Ns) -> None:
        client.closing = client.closing or why
        client.stream.close(now)

    def _reset(self, client: Client, why: str, now: Ns) -> None:
        client.closing = client.closing or why
        connection = client.connection
        connection.abort(now)
        self._tcp.touch(connection, now)

    def _arm(self, client: Client, now: Ns) -> None:
        """When this client has to be looked at again."""
        config, connection = self._config, client.connection
        at = NEVER
        if client.read_at > now:
            at = client.read_at
        if client.send_at > now and not client.output_ended:
            at = min(at, client.send_at)
        if client.output_ended:
            client.close_by = min(client.close_by, now + LINGER_NS)
            at = min(at, client.close_by)
        if config.idle_ns:
            progress = client.bytes_in + connection.tx.sender.snd_una
            if progress != client.progress:
                client.progress, client.idle_at = progress, now + config.idle_ns
            at = min(at, client.idle_at)
        if at != client.due_at:
            if at == NEVER:
                self._deadlines.disarm(client)
            else:
                self._deadlines.arm(client, at, self._on_due)

    def _on_due(self, client: Client, now: Ns) -> None:
        if client.connection not in self._clients:
            return
        self._pump(client, now)
        if _is_over(client.connection):
            self._on_ended(client, now)
        elif client.close_by <= now:
            self._reset(client, "linger", now)
        elif client.idle_at <= now:
            self._reset(client, "idle", now)


def _is_over(connection: Connection) -> bool:
    """Nothing more will come from the peer."""
    return connection.state is st.CLOSED or connection.state is st.TIME_WAIT


def _ending(client: Client) -> str:
    """In one word, how it ended."""
    error = client.connection.error
    if client.closing:
        return client.closing
    if not error:
        return "FIN"
    if error in (ECONNRESET, EPIPE):
        return "RST"
    return "timeout" if error == ETIMEDOUT else errorcode.get(error, str(error))
