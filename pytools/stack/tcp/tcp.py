"""TCP of one stack: finds the connection of a segment, listens, answers for nobody, and keeps the clocks.

Each connection has one entry in the node's lazy heap of deadlines; a ready queue feeds `poll`. Idle connections cost
nothing.
"""

import errno
from collections import deque
from typing import Final

from pytools.engine import CHECKSUM_UNKNOWN, OFFLOAD_TSO4, OFFLOAD_TSO6
from pytools.errors import DecodeError
from pytools.stack.events import IcmpError
from pytools.stack.ip_output import IpOutput
from pytools.stack.node import Node
from pytools.stack.packet import UNICAST, Packet
from pytools.stack.tcp import state as st
from pytools.stack.tcp.config import TcpConfig
from pytools.stack.tcp.connection import CONNECTED, ENDED, Connection
from pytools.stack.tcp.events import ConnectionNews
from pytools.stack.tcp.flow import Flow
from pytools.stack.tcp.handshake import DEFAULT_MSS4, DEFAULT_MSS6
from pytools.stack.tcp.icmp_errno import errno_of
from pytools.stack.tcp.isn import EPHEMERAL_COUNT, EPHEMERAL_FIRST, Secrets
from pytools.stack.tcp.listener import Listener
from pytools.stack.tcp.output import ACK, FIN, RST, SYN, SegmentOut, unwrap
from pytools.trace.drop import DropReason
from pytools.units import NEVER, Ns
from pytools.wire import tcp as wire
from pytools.wire import tcp_options
from pytools.wire.addr import is_multicast

Key = tuple[bytes, int, bytes, int]
"""Local address, local port, remote address, remote port."""
Endpoint = tuple[bytes, int]

MAX_SUPER_SEGMENT: Final = 65535 - 120
"""Payload that always fits an IP packet's length field with its headers."""
SOFTWARE_SEGMENTS: Final = 16


class Tcp:
    """The TCP handler of a `Stack`: `on_packet` in, frames out through IP."""

    __slots__ = (
        "_ip",
        "_node",
        "_ready",
        "_reserved",
        "_secrets",
        "config",
        "connections",
        "listeners",
        "resets_sent",
        "software_segments",
    )

    def __init__(self, node: Node, ip: IpOutput, config: TcpConfig | None = None) -> None:
        self._node = node
        self._ip = ip
        self.config = config or TcpConfig()
        self.connections: dict[Key, Connection] = {}
        self.listeners: dict[tuple[bytes, int], Listener] = {}
        self._secrets = Secrets(node.rng)
        self._reserved: set[Endpoint] = set()
        self._ready: deque[Connection] = deque()
        self.resets_sent = 0
        self.software_segments = SOFTWARE_SEGMENTS
        """Segments that go to a link without segmentation offload at once, as one that software cuts."""

    # Opening.

    def connect(
        self, local: Endpoint | None, remote: Endpoint, now: Ns, config: TcpConfig | None = None
    ) -> Connection | int:
        """Active OPEN; the connection (its SYN is due), or an errno. `local` may name (address or b"", port or 0)."""
        if is_multicast(remote[0]) or remote[0] == b"\xff\xff\xff\xff" or not remote[1]:
            return errno.ENETUNREACH
        config = config or self.config
        address, port = local or (b"", 0)
        flow = Flow.find(self._ip, self._node, address, remote[0], config, now)
        if isinstance(flow, int):
            return flow
        if not port:
            port = self._free_port(flow.src, remote)
            if not port:
                return errno.EADDRNOTAVAIL
        key = (flow.src, port, *remote)
        if key in self.connections:
            return errno.EADDRINUSE if local and local[1] else errno.EADDRNOTAVAIL
        connection = self._new(key, flow, config, now)
        connection.open(now)
        self._touch(connection, now)
        return connection

    def _new(self, key: Key, flow: Flow, config: TcpConfig, now: Ns, iss: int | None = None) -> Connection:
        local, remote = key[:2], key[2:]
        default = DEFAULT_MSS4 if len(key[0]) == 4 else DEFAULT_MSS6
        connection = Connection(
            config,
            f"{flow.label(local)} > {flow.label(remote)}",
            self._secrets.isn(local, remote, now) if iss is None else iss,
            flow.mss,
            default,
            self._node.trace,
            self._secrets.timestamp_offset(local, remote),
        )
        connection.key = key
        connection.flow = flow
        self.connections[key] = connection
        return connection

    def _free_port(self, address: bytes, remote: Endpoint) -> int:
        """RFC 6056 3.3.3: start at a keyed hash, take the next free one."""
        first = self._secrets.first_port(address, remote) - EPHEMERAL_FIRST
        for step in range(EPHEMERAL_COUNT):
            port = EPHEMERAL_FIRST + (first + step) % EPHEMERAL_COUNT
            if (address, port, *remote) not in self.connections and not self._listener(address, port):
                return port
        return 0

    def listen(
        self, address: bytes, port: int, backlog: int, family: int, config: TcpConfig | None = None
    ) -> Listener | int:
        """Passive OPEN on `address` (b"" for any); the listener or an errno."""
        if port and (address, port) in self.listeners:
            return errno.EADDRINUSE
        if address and address not in self._node.own:
            return errno.EADDRNOTAVAIL
        if not port:
            port = self._free_port(address, (b"", 0))
        listener = Listener(address, port, backlog, config or self.config, family)
        self.listeners[address, port] = listener
        return listener

    def close_listener(self, listener: Listener, now: Ns) -> None:
        """No more connections; those not accepted are reset (SHLD-3)."""
        self.listeners.pop((listener.address, listener.port), None)
        for key in list(listener.pending):
            if (pending := self.connections.get(key)) is not None:
                pending.abort(now)
                self._touch(pending, now)
        listener.pending.clear()
        while listener.accept_queue:
            unaccepted = listener.accept_queue.popleft()
            unaccepted.abort(now)
            self._touch(unaccepted, now)

    def accept(self, listener: Listener) -> Connection | None:
        """The next established connection, or None."""
        return listener.accept_queue.popleft() if listener.accept_queue else None

    def owns(self, address: bytes) -> bool:
        """Whether `address` is one of the stack's own."""
        return address in self._node.own

    def port_taken(self, address: bytes, port: int, reuse: bool) -> bool:
        """Whether another socket has bound `port` on `address` (b"": on any); `reuse` as SO_REUSEADDR."""
        for other, number in (*self.listeners, *self._reserved):
            if number == port and (not address or not other or other == address):
                return True
        if reuse:
            return False
        return any(key[1] == port and (not address or key[0] == address) for key in self.connections)

    def reserve_port(self, address: bytes) -> int:
        """A free port for bind(0)."""
        port = self._free_port(address, (b"", 0))
        while (address, port) in self._reserved:
            port = EPHEMERAL_FIRST + (port - EPHEMERAL_FIRST + 1) % EPHEMERAL_COUNT
        self._reserved.add((address, port))
        return port

    def release_port(self, address: bytes, port: int) -> None:
        """The socket that had bound it is closed."""
        self._reserved.discard((address, port))

    def _listener(self, address: bytes, port: int) -> Listener | None:
        found = self.listeners.get((address, port)) or self.listeners.get((b"", port))
        if found is not None and found.family and found.family != (4 if len(address) == 4 else 6):
            return None
        return found

    # Segments arrive.

    def on_packet(self, packet: Packet, now: Ns) -> str | None:
        """Take one segment. Returns a drop reason, or None when it was taken."""
        data, offset, end = packet.data, packet.offset, packet.end
        try:
            segment = wire.decode(data, offset, end)
        except DecodeError:
            return DropReason.PKT_TOO_SMALL
        if packet.meta.checksum == CHECKSUM_UNKNOWN and not wire.checksum_ok(data, offset, end, packet.src, packet.dst):
            return DropReason.TCP_CSUM
        key = (packet.dst, segment.destination_port, packet.src, segment.source_port)
        connection = self.connections.get(key)
        if connection is None:
            return self._on_unknown(segment, packet, key, now)
        options = tcp_options.parse(segment.options)
        payload = memoryview(data)[offset + segment.header_length : end]
        if connection.state is st.TIME_WAIT and segment.flags & SYN and self._reopens(connection, segment, options):
            self._forget(connection)
            return self._on_unknown(segment, packet, key, now)
        if connection.state is st.SYN_RECEIVED and connection.passive and self._accept_full(connection, segment):
            return DropReason.TCP_LISTEN_OVERFLOW
        connection.on_segment(segment, options, payload, now)
        self._touch(connection, now)
        return connection.drop_reason or None

    def _accept_full(self, connection: Connection, segment: wire.TcpHeader) -> bool:
        """The final ACK waits while the accept queue is full; the SYN-ACK goes out again later, as in Linux."""
        listener = connection.owner
        return isinstance(listener, Listener) and listener.accept_full and segment.flags & (ACK | RST | SYN) == ACK

    def _reopens(self, connection: Connection, segment: wire.TcpHeader, options: tcp_options.TcpOptions) -> bool:
        """RFC 6191: a new incarnation may begin in TIME-WAIT."""
        if segment.flags & (RST | ACK):
            return False
        seq = unwrap(segment.seq, connection.receiver.rcv_nxt)
        stamps = connection.timestamps
        if stamps.enabled and options.ts_val is not None and options.ts_val != stamps.recent:
            return 0 < (options.ts_val - stamps.recent) & 0xFFFFFFFF < 0x80000000
        return seq > connection.receiver.rcv_nxt

    def _on_unknown(self, segment: wire.TcpHeader, packet: Packet, key: Key, now: Ns) -> str | None:
        """No connection: a listener's SYN or cookie, else a reset (RFC 9293 3.10.7.1, 3.10.7.2)."""
        if packet.kind != UNICAST or not packet.link_unicast:
            return DropReason.IP_INADDRERRORS  # MUST-57
        listener = self._listener(key[0], key[1])
        if listener is None:
            if packet.shared:
                return DropReason.NOT_OUR_FLOW
            return self._refuse(segment, packet, key, now)
        if segment.flags & RST:
            return DropReason.TCP_RESET
        if segment.flags & ACK:
            if self._cookie(listener, segment, packet, key, now):
                return None
            return self._refuse(segment, packet, key, now)
        if not segment.flags & SYN:
            return DropReason.TCP_FLAGS
        return self._on_syn(listener, segment, packet, key, now)

    def _refuse(self, segment: wire.TcpHeader, packet: Packet, key: Key, now: Ns) -> str:
        """RST for a segment that belongs to nobody; never for a RST (RFC 9293 3.5.2)."""
        if not segment.flags & RST:
            length = packet.end - packet.offset - segment.header_length
            length += (segment.flags & SYN > 0) + (segment.flags & FIN > 0)
            if segment.flags & ACK:
                reset = SegmentOut(segment.ack, 0, RST, 0)
            else:
                reset = SegmentOut(0, segment.seq + length, RST | ACK, 0)
            self._send_reset(key, reset, now)
        return DropReason.NO_SOCKET

    def _send_reset(self, key: Key, reset: SegmentOut, now: Ns) -> None:
        flow = Flow.find(self._ip, self._node, key[0], key[2], self.config, now)
        if not isinstance(flow, int):
            flow.send(key, reset, now)
            self.resets_sent += 1

    def _on_syn(self, listener: Listener, segment: wire.TcpHeader, packet: Packet, key: Key, now: Ns) -> str | None:
        if segment.flags & FIN:
            return DropReason.TCP_FLAGS
        if listener.accept_full:
            listener.refused_syns += 1
            return DropReason.TCP_LISTEN_OVERFLOW
        config = listener.config
        flow = Flow.find(self._ip, self._node, key[0], key[2], config, now)
        if isinstance(flow, int):
            return DropReason.IP_INNOROUTES
        options = tcp_options.parse(segment.options)
        if listener.syn_full:
            if not config.syn_cookies:
                listener.refused_syns += 1
                return DropReason.TCP_REQQFULL
            self._send_cookie(listener, segment, options, flow, key, now)
            return None
        connection = self._new(key, flow, config, now)
        connection.owner = listener
        listener.pending.add(key)
        connection.open_passive(segment, options, now)
        self._touch(connection, now)
        return None

    # SYN cookies (RFC 4987 3.6).

    def _send_cookie(
        self,
        listener: Listener,
        segment: wire.TcpHeader,
        options: tcp_options.TcpOptions,
        flow: Flow,
        key: Key,
        now: Ns,
    ) -> None:
        """A SYN-ACK that we need not remember: MSS in the sequence number, no other options."""
        peer_mss = options.mss or (DEFAULT_MSS4 if len(key[0]) == 4 else DEFAULT_MSS6)
        iss = self._secrets.cookie(key[:2], key[2:], segment.seq, min(peer_mss, flow.mss), now)
        answer = SegmentOut(iss, segment.seq + 1, SYN | ACK, min(listener.config.receive_buffer, 65535))
        answer.options = tcp_options.mss(flow.mss)
        flow.send(key, answer, now)
        listener.cookies_sent += 1

    def _cookie(self, listener: Listener, segment: wire.TcpHeader, packet: Packet, key: Key, now: Ns) -> bool:
        """An ACK that returns a cookie makes a connection, as if the SYN had been remembered."""
        if not listener.cookies_sent or segment.flags & SYN or listener.accept_full:
            return False
        irs = segment.seq - 1
        cookie = (segment.ack - 1) & 0xFFFFFFFF
        mss = self._secrets.check_cookie(key[:2], key[2:], irs, cookie, now)
        flow = Flow.find(self._ip, self._node, key[0], key[2], listener.config, now)
        if mss is None or isinstance(flow, int):
            return False
        listener.cookies_checked += 1
        connection = self._new(key, flow, listener.config, now, iss=cookie)
        connection.owner = listener
        connection.restore(irs & 0xFFFFFFFF, mss, segment.window, now)
        payload = memoryview(packet.data)[packet.offset + segment.header_length : packet.end]
        connection.on_segment(segment, tcp_options.parse(segment.options), payload, now)
        self._touch(connection, now)
        return True

    # ICMP.

    def on_error(self, error: IcmpError, now: Ns) -> str | None:
        """An ICMP error about a segment of ours (RFC 9293 3.9.2.2, RFC 5927). None if it is believed."""
        quoted = error.quoted
        if quoted.source_port is None or quoted.destination_port is None or quoted.sequence is None:
            return DropReason.ICMP_QUOTE
        key = (quoted.src, quoted.source_port, quoted.dst, quoted.destination_port)
        connection = self.connections.get(key)
        if connection is None:
            return DropReason.NO_SOCKET
        code, hard = errno_of(error.family, error.type, error.code)
        connection.drop_reason = ""
        if code == errno.EMSGSIZE:
            # IP lowers its estimate if we believe the message; `_refresh` finds the new path MTU before the next poll.
            if not connection.in_flight(quoted.sequence):
                return DropReason.TCP_INVALID_SEQUENCE
            self._enqueue(connection)
        elif code:
            connection.on_icmp_error(quoted.sequence, code, hard=hard, now=now)
            self._touch(connection, now)
        return connection.drop_reason or None

    # Clocks and output.

    def touch(self, connection: Connection, now: Ns) -> None:
        """The application has called `connection`: look whether something is to be sent or timed."""
        self._touch(connection, now)

    def _touch(self, connection: Connection, now: Ns) -> None:
        if connection.ready():
            self._enqueue(connection)
        self._arm(connection)
        if connection.news:
            self._tell(connection, now)
        if connection.state is st.CLOSED and not connection.ready():
            self._forget(connection)

    def _enqueue(self, connection: Connection) -> None:
        if not connection.queued:
            connection.queued = True
            self._ready.append(connection)

    def _arm(self, connection: Connection) -> None:
        due = connection.next_deadline()
        if due != connection.due_at:
            if due == NEVER:
                self._node.deadlines.disarm(connection)
            else:
                self._node.deadlines.arm(connection, due, self._on_due)

    def _on_due(self, connection: Connection, now: Ns) -> None:
        connection.on_deadline(now)
        self._touch(connection, now)

    def _tell(self, connection: Connection, now: Ns) -> None:
        """What the application must learn becomes an engine event; an established child goes to its listener."""
        news, connection.news = connection.news, 0
        listener = connection.owner
        if isinstance(listener, Listener):
            if news & CONNECTED:
                listener.pending.discard(connection.key)
                listener.accept_queue.append(connection)
                listener.news = True
                connection.owner = None
            elif news & ENDED:
                listener.pending.discard(connection.key)
                return
        self._node.events.append(ConnectionNews(now, connection, news, listener))

    def _forget(self, connection: Connection) -> None:
        key = connection.key
        if self.connections.get(key) is connection:
            del self.connections[key]

    def poll(self, now: Ns) -> bool:
        """Let the next ready connection send one segment; False when nobody has one."""
        while self._ready:
            connection = self._ready[0]
            if connection.flow.generation != self._node.generation:
                self._refresh(connection, now)
            out = connection.poll_segment(now, self._limit(connection))
            self._arm(connection)
            if out is None:
                self._ready.popleft()
                connection.queued = False
                if connection.news:
                    self._tell(connection, now)
                if connection.state is st.CLOSED:
                    self._forget(connection)
                continue
            connection.flow.send(connection.key, out, now)
            if len(self._ready) > 1:
                self._ready.rotate(-1)  # a segment each in turn
            return True
        return False

    def _refresh(self, connection: Connection, now: Ns) -> None:
        """Addresses, routes or path MTUs changed: look the way up again."""
        fresh = Flow.find(self._ip, self._node, connection.key[0], connection.key[2], connection.config, now)
        if isinstance(fresh, int):
            connection.soft_error = fresh
            connection.flow.generation = self._node.generation
            return
        connection.flow = fresh
        if fresh.mss < connection.path_mss:
            connection.on_path_mtu(fresh.mss)

    def _limit(self, connection: Connection) -> int:
        """Octets of one super-segment: 64 KB where the link cuts it, some segments where software does."""
        flow = connection.flow
        wanted = OFFLOAD_TSO4 if len(flow.src) == 4 else OFFLOAD_TSO6
        return MAX_SUPER_SEGMENT if flow.offloads & wanted else self.software_segments * connection.tx.sender.mss
