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
from pytools.stack.tcp.isn import COOKIE_PERIOD_NS, EPHEMERAL_COUNT, EPHEMERAL_FIRST, Secrets
from pytools.stack.tcp.listener import Listener
from pytools.stack.tcp.output import ACK, FIN, RST, SYN, SegmentOut
from pytools.stack.tcp.ports import Binding, Ports
from pytools.stack.tcp.time_wait import TimeWait
from pytools.trace.drop import DropReason
from pytools.units import NEVER, Ns
from pytools.wire import tcp as wire
from pytools.wire import tcp_options
from pytools.wire.addr import is_multicast

Key = tuple[bytes, int, bytes, int]
"""Local address, local port, remote address, remote port."""
Endpoint = tuple[bytes, int]

ANY4: Final = b"4"
ANY6: Final = b"6"
MAX_SUPER_SEGMENT: Final = 65535 - 120
"""Payload that always fits an IP packet's length field with its headers."""
SOFTWARE_SEGMENTS: Final = 16
COOKIES_HOLD_NS: Final[Ns] = 2 * COOKIE_PERIOD_NS
"""How long after the last overflow an ACK may still bring a cookie back."""


class Tcp:
    """The TCP handler of a `Stack`: `on_packet` in, frames out through IP."""

    __slots__ = (
        "_ip",
        "_node",
        "_ready",
        "_secrets",
        "config",
        "connections",
        "listeners",
        "ports",
        "resets_sent",
        "software_segments",
        "time_waits",
    )

    def __init__(self, node: Node, ip: IpOutput, config: TcpConfig | None = None) -> None:
        self._node = node
        self._ip = ip
        self.config = config or TcpConfig()
        self.connections: dict[Key, Connection] = {}
        self.time_waits: dict[Key, TimeWait] = {}
        self.listeners: dict[tuple[bytes, int], Listener] = {}
        """By address and port; ANY4 and ANY6 stand for every address of a family, with both for a dual-stack one."""
        self.ports = Ports()
        self._secrets = Secrets(node.rng)
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
        if key in self.connections or key in self.time_waits:
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
        if not config.mss:
            connection.agreement.advertised_mss = flow.local_mss
        connection.key = key
        connection.flow = flow
        self.connections[key] = connection
        return connection

    def _free_port(self, address: bytes, remote: Endpoint) -> int:
        """RFC 6056 3.3.3: start at a keyed hash, take the next free one."""
        first = self._secrets.first_port(address, remote) - EPHEMERAL_FIRST
        for step in range(EPHEMERAL_COUNT):
            port = EPHEMERAL_FIRST + (first + step) % EPHEMERAL_COUNT
            key = (address, port, *remote)
            if port not in self.ports and key not in self.connections and key not in self.time_waits:
                return port
        return 0

    def bind(self, address: bytes, port: int, family: int, *, reuse: bool, reuse_port: bool = False) -> Binding | int:
        """Claim a port (0: any free one) at `address` (b"": any) until `unbind`; the claim or an errno."""
        if address and address not in self._node.own:
            return errno.EADDRNOTAVAIL
        if not port:
            port = self._free_port(address, (b"", 0))
            if not port:
                return errno.EADDRINUSE
        binding = Binding(address, port, family, reuse, reuse_port)
        if self.ports.conflict(binding) or (not reuse and self._in_use(binding)):
            return errno.EADDRINUSE
        self.ports.add(binding)
        return binding

    def unbind(self, binding: Binding) -> None:
        """The socket that had bound it is closed."""
        self.ports.remove(binding)

    def _in_use(self, binding: Binding) -> bool:
        """Whether a connection, TIME-WAIT too, still has the port."""
        for key in (*self.connections, *self.time_waits):
            if key[1] == binding.port and binding.meets(Binding(key[0], key[1], 4 if len(key[0]) == 4 else 6, False)):
                return True
        return False

    def listen(
        self, address: bytes, port: int, backlog: int, family: int, config: TcpConfig | None = None
    ) -> Listener | int:
        """Passive OPEN on `address` (b"" for any); the listener or an errno. Port 0: any free one."""
        if address and address not in self._node.own:
            return errno.EADDRNOTAVAIL
        if not port:
            port = self._free_port(address, (b"", 0))
        listener = Listener(address, port, backlog, config or self.config, family)
        places = listening_places(listener)
        if any(place in self.listeners for place in places):
            return errno.EADDRINUSE
        if not address and any(there == port and len(at) > 1 and listener.takes(at) for at, there in self.listeners):
            return errno.EADDRINUSE
        for place in places:
            self.listeners[place] = listener
        return listener

    def close_listener(self, listener: Listener, now: Ns) -> None:
        """No more connections; those not accepted are reset (SHLD-3)."""
        for place in listening_places(listener):
            if self.listeners.get(place) is listener:
                del self.listeners[place]
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

    def _listener(self, address: bytes, port: int) -> Listener | None:
        found = self.listeners.get((address, port))
        return found or self.listeners.get((ANY4 if len(address) == 4 else ANY6, port))

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
        if connection.state is st.SYN_RECEIVED and connection.passive and self._accept_full(connection, segment):
            return DropReason.TCP_LISTEN_OVERFLOW
        connection.on_segment(segment, options, payload, now)
        self._touch(connection, now)
        return connection.drop_reason or None

    def _accept_full(self, connection: Connection, segment: wire.TcpHeader) -> bool:
        """The final ACK waits while the accept queue is full; the SYN-ACK goes out again later, as in Linux."""
        listener = connection.owner
        return isinstance(listener, Listener) and listener.accept_full and segment.flags & (ACK | RST | SYN) == ACK

    def _on_time_wait(self, old: TimeWait, segment: wire.TcpHeader, packet: Packet, now: Ns) -> str | None:
        """A segment for what is left of a closed connection; a new SYN may take its place (RFC 6191)."""
        options = tcp_options.parse(segment.options)
        listener = self._listener(old.key[0], old.key[1])
        if listener is not None and old.reopens(segment, options):
            self._drop_time_wait(old)
            old.end(st.RCV_SYN, now, self._node.trace)
            return self._on_syn(listener, segment, packet, old.key, now, old.next_iss())
        length = packet.end - packet.offset - segment.header_length
        reason, answer, again = old.on_segment(segment, options, length, now, self._node.trace)
        if answer is not None:
            self._send_loose(old.key, answer, old.config, now)
        if again:
            self._node.deadlines.arm(old, now + old.config.time_wait_ns, self._on_time_wait_over)
        return reason or None

    def _drop_time_wait(self, old: TimeWait) -> None:
        self._node.deadlines.disarm(old)
        self.time_waits.pop(old.key, None)

    def _on_time_wait_over(self, old: TimeWait, now: Ns) -> None:
        if self.time_waits.pop(old.key, None) is not None:
            old.expire(now, self._node.trace)

    def _retire(self, connection: Connection, now: Ns) -> None:
        """Into TIME-WAIT with what is needed there; the connection's buffers go when the application lets go."""
        if self.connections.get(connection.key) is not connection:
            return
        del self.connections[connection.key]
        left = TimeWait(connection)
        self.time_waits[left.key] = left
        self._node.deadlines.arm(left, connection.close_at, self._on_time_wait_over)
        connection.close_at = NEVER
        self._arm(connection)
        connection.news |= ENDED
        self._tell(connection, now)

    def _on_unknown(self, segment: wire.TcpHeader, packet: Packet, key: Key, now: Ns) -> str | None:
        """No connection: a listener's SYN or cookie, else a reset (RFC 9293 3.10.7.1, 3.10.7.2)."""
        if (old := self.time_waits.get(key)) is not None:
            return self._on_time_wait(old, segment, packet, now)
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
            return self._on_stray_ack(listener, segment, packet, key, now)
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
            self._send_loose(key, reset, self.config, now)
            self.resets_sent += 1
        return DropReason.NO_SOCKET

    def _send_loose(self, key: Key, out: SegmentOut, config: TcpConfig, now: Ns) -> None:
        """A segment of no connection."""
        flow = Flow.find(self._ip, self._node, key[0], key[2], config, now)
        if not isinstance(flow, int):
            flow.send(key, out, now)

    def _on_syn(
        self,
        listener: Listener,
        segment: wire.TcpHeader,
        packet: Packet,
        key: Key,
        now: Ns,
        iss: int | None = None,
    ) -> str | None:
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
        connection = self._new(key, flow, config, now, iss)
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
        answer.options = tcp_options.mss(flow.local_mss)
        flow.send(key, answer, now)
        listener.cookies_sent += 1
        listener.cookies_until = now + COOKIES_HOLD_NS

    def _on_stray_ack(
        self, listener: Listener, segment: wire.TcpHeader, packet: Packet, key: Key, now: Ns
    ) -> str | None:
        """An ACK that returns a cookie makes a connection, as if the SYN had been remembered; others are refused."""
        if now >= listener.cookies_until or segment.flags & SYN:
            return self._refuse(segment, packet, key, now)
        irs = segment.seq - 1
        cookie = (segment.ack - 1) & 0xFFFFFFFF
        mss = self._secrets.check_cookie(key[:2], key[2:], irs, cookie, now)
        if mss is None:
            return self._refuse(segment, packet, key, now)
        if listener.accept_full:
            return DropReason.TCP_LISTEN_OVERFLOW  # it comes again
        flow = Flow.find(self._ip, self._node, key[0], key[2], listener.config, now)
        if isinstance(flow, int):
            return DropReason.IP_INNOROUTES
        listener.cookies_checked += 1
        connection = self._new(key, flow, listener.config, now, iss=cookie)
        connection.owner = listener
        connection.restore(irs & 0xFFFFFFFF, mss, segment.window, now)
        payload = memoryview(packet.data)[packet.offset + segment.header_length : packet.end]
        connection.on_segment(segment, tcp_options.parse(segment.options), payload, now)
        self._touch(connection, now)
        return None

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
        if (connection.state is st.CLOSED or connection.state is st.TIME_WAIT) and not connection.ready():
            self._leave(connection, now)

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
        owner = connection.owner
        listener = owner if isinstance(owner, Listener) else None
        if listener is not None:
            if news & CONNECTED:
                listener.pending.discard(connection.key)
                listener.accept_queue.append(connection)
                listener.news = True
                connection.owner = None
            elif news & ENDED:
                listener.pending.discard(connection.key)
                return
        if connection.told is not None and not connection.told.taken:
            connection.told.news |= news  # one event a connection waits at most
            return
        event = ConnectionNews(now, connection, news, listener)
        if listener is None:
            connection.told = event
        self._node.events.append(event)

    def _leave(self, connection: Connection, now: Ns) -> None:
        """It is in CLOSED or TIME-WAIT and has nothing more to say."""
        if connection.state is st.TIME_WAIT:
            self._retire(connection, now)
        else:
            self._forget(connection)

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
                if connection.state is st.CLOSED or connection.state is st.TIME_WAIT:
                    self._leave(connection, now)
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
        old, connection.flow = connection.flow, fresh
        if fresh.mss != old.mss:
            connection.on_path_mtu(fresh.mss)

    def _limit(self, connection: Connection) -> int:
        """Octets of one super-segment: 64 KB where the link cuts it, some segments where software does."""
        flow = connection.flow
        wanted = OFFLOAD_TSO4 if len(flow.src) == 4 else OFFLOAD_TSO6
        if flow.offloads & wanted:
            return MAX_SUPER_SEGMENT
        mss = connection.tx.sender.mss
        return max(mss, min(self.software_segments * mss, MAX_SUPER_SEGMENT))  # lo's MSS is 65,496


def listening_places(listener: Listener) -> list[tuple[bytes, int]]:
    """The keys under which a listener stands."""
    if listener.address:
        return [(listener.address, listener.port)]
    anywhere = {4: (ANY4,), 6: (ANY6,), 0: (ANY4, ANY6)}[listener.family]
    return [(place, listener.port) for place in anywhere]
