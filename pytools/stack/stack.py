"""The stack: an engine that speaks Ethernet, ARP, IPv4, IPv6, ICMP, neighbour discovery and UDP.

    frame -> Stack.on_frame -> ip_input -> icmp | udp | a registered protocol -> events
    send_* -> ip_output -> neighbors (waits for ARP or discovery) -> outbox -> Stack.poll_transmit

This file puts the pieces together and is the front door; what each protocol does is in its own file.
"""

import errno
from collections.abc import Callable
from random import Random
from struct import Struct
from typing import TypeVar

from pytools.engine import (
    CHECKSUM_VERIFIED,
    PACKET_BROADCAST,
    PACKET_MULTICAST,
    PACKET_OTHERHOST,
    PACKET_OUTGOING,
    EngineEvent,
    Port,
    RxMeta,
    Transmit,
)
from pytools.errors import DecodeError, LocalProtocolError
from pytools.stack.addresses import Addresses
from pytools.stack.arp import Arp
from pytools.stack.config import StackConfig
from pytools.stack.destinations import Destinations
from pytools.stack.echo_output import EchoOutput
from pytools.stack.events import SendFailed
from pytools.stack.forward import Forwarder
from pytools.stack.groups import Groups
from pytools.stack.icmp import Icmp
from pytools.stack.icmp_errors import IcmpErrors
from pytools.stack.interfaces import TENTATIVE, Address, Interface, Neighbor
from pytools.stack.ip_input import IpInput
from pytools.stack.ip_output import IpOutput
from pytools.stack.nd import Nd
from pytools.stack.neighbors import Neighbors
from pytools.stack.node import Node
from pytools.stack.packet import DEFAULT_OPTIONS, Forwarded, IpOptions, PollingHandler, ProtocolHandler
from pytools.stack.reassembly import Reassembly
from pytools.stack.redirects import Redirects
from pytools.stack.routers import Routers
from pytools.stack.routes import Route, RouteTable
from pytools.stack.udp import Service, Udp
from pytools.trace.drop import DropReason
from pytools.trace.events import FrameReceived, FrameSent, Settled
from pytools.trace.hub import Trace
from pytools.units import Ns
from pytools.wire import ethernet, icmp6, ipv4, ipv6, udp
from pytools.wire.addr import ALL_ROUTERS

_VLAN_ID = 0xFFF
_LOOPBACK_META = RxMeta(checksum=CHECKSUM_VERIFIED)
"""What we send to ourselves was on no wire; TCP leaves its checksum for the link to complete."""
_UNTAGGED = frozenset((ethernet.ETHERTYPE_IPV4, ethernet.ETHERTYPE_IPV6, ethernet.ETHERTYPE_ARP))
_unpack_ethernet = Struct("!6s6sH").unpack_from


HandlerT = TypeVar("HandlerT", bound=PollingHandler)


class Stack:
    """One host or router. An `Engine`; see there for the laws."""

    def __init__(
        self,
        rng: Random,
        config: StackConfig | None = None,
        trace: Trace | None = None,
        epoch_ns: int = 0,
    ) -> None:
        """`epoch_ns` is the wall time (since 1970) at `now` = 0; only ICMP and IP timestamps show it."""
        self.config = config or StackConfig()
        self.trace = trace or Trace()
        self.rng = rng
        self.frames = 0
        """Frames received; always `accepted` plus the sum of `drops`."""
        self.accepted = 0
        node = self._node = Node(self.config, rng, self.trace, epoch_ns)
        self.drops = node.drops
        self.discards = node.discards
        self._outbox = node.outbox
        self._events = node.events
        self._routes = RouteTable()
        self._addresses = Addresses(node, self._routes)
        self._neighbors = Neighbors(node)
        self._destinations = Destinations(node)
        self._output = IpOutput(node, self._routes, self._neighbors, self._destinations)
        self._errors = IcmpErrors(node, self._output)
        self._reassembly = Reassembly(node)
        self._arp = Arp(node, self._neighbors, self._addresses)
        self._icmp = Icmp(node, self._output, self._destinations)
        self._nd = Nd(node, self._neighbors, self._addresses, self._output)
        self._groups = Groups(node, self._output)
        self._redirects = Redirects(node, self._nd, self._neighbors, self._destinations, self._output)
        self._routers = Routers(node, self._nd, self._neighbors, self._addresses, self._routes, self._destinations)
        self._udp = Udp(node, self._output, self._errors)
        self._echo = EchoOutput(node, self._output)
        self._forwarder = Forwarder(node, self._routes, self._output, self._errors)
        self._input = IpInput(node, self._reassembly, self._errors, self._forwarder)
        self._on_ip = self._input.on_ip
        self._pollers: list[Callable[[Ns], bool]] = []
        self._connect()

    def _connect(self) -> None:
        """Tell the pieces of one another, as far as they must know."""
        self._input.handlers4.update({ipv4.PROTO_ICMP: self._icmp.on_packet4, udp.PROTOCOL: self._udp.on_packet})
        self._input.handlers6.update({ipv6.PROTO_ICMPV6: self._icmp.on_packet6, udp.PROTOCOL: self._udp.on_packet})
        self._icmp.on_error[udp.PROTOCOL] = self._udp.on_error
        self._forwarder.redirect6 = self._redirects.send6
        self._icmp.on_redirect = self._redirects.on_redirect4
        self._icmp.messages6.update(
            {
                icmp6.NEIGHBOR_SOLICITATION: self._nd.on_solicitation,
                icmp6.NEIGHBOR_ADVERTISEMENT: self._nd.on_advertisement,
                icmp6.ROUTER_ADVERTISEMENT: self._routers.on_advertisement,
                icmp6.REDIRECT: self._redirects.on_redirect6,
                icmp6.MLD_QUERY: self._groups.on_query,
            }
        )
        self._addresses.on_group = self._groups.on_change
        self._neighbors.on_failure = self._on_unresolved
        self._neighbors.on_gone = self._on_gone

    # --- set-up -------------------------------------------------------------------------------------------------------

    def add_port(self, port: Port) -> None:
        """Use a port of a link."""
        if port.index in self._node.interfaces:
            raise LocalProtocolError(f"port {port.index} is there already")
        config = self.config
        iface = Interface(port, self.rng, config.reachable_ns, config.retransmit_ns)
        self._node.interfaces[port.index] = iface
        if config.forwarding:
            iface.join(ALL_ROUTERS)

    def add_address(
        self, port: int, address: bytes, prefix_len: int, now: Ns = 0, *, shared: bool = False, probe: bool = False
    ) -> None:
        """Give a port an address, with the route to its network.

        `shared`: the kernel owns it; nothing is answered, defended or probed there. `probe`: it may be used only when
        nobody objected (RFC 5227, RFC 4862): AddressReady or AddressConflicted follows.
        """
        iface = self._iface(port)
        self._addresses.add(iface, address, prefix_len, now, shared, probe)
        if len(address) == 16 and not shared:
            self._routers.start(iface, now)

    def remove_address(self, port: int, address: bytes, now: Ns = 0) -> None:
        """Take an address away. LocalProtocolError: it isn't there."""
        self._addresses.remove(self._iface(port), address, now)

    def announce(self, port: int, address: bytes, now: Ns) -> None:
        """Tell all neighbours whose address it is: ARP announcements or an unsolicited advertisement."""
        own = self._iface(port).addresses.get(address)
        if own is None or own.shared or own.state == TENTATIVE:
            raise LocalProtocolError("only an own address in use can be announced")
        (self._arp.conflicts.announce if len(address) == 4 else self._nd.announce)(own, now)

    def addresses(self, port: int) -> list[Address]:
        """The addresses of a port."""
        return list(self._iface(port).addresses.values())

    def add_route(self, route: Route) -> None:
        """Enter a route."""
        self._routes.add(route)
        self._node.generation += 1

    def remove_route(self, route: Route) -> None:
        """Take a route out (the same object)."""
        self._routes.remove(route)
        self._node.generation += 1

    def route(self, dst: bytes, port: int | None = None) -> Route | None:
        """The route that a packet to `dst` takes."""
        return self._routes.lookup(dst, port)

    def set_neighbor(self, port: int, address: bytes, mac: bytes, now: Ns = 0) -> None:
        """Enter a neighbour by hand; it is never asked for."""
        self._neighbors.set_permanent(self._iface(port), address, mac, now)

    def remove_neighbor(self, port: int, address: bytes, now: Ns = 0) -> None:
        """Forget a neighbour; what waits for it fails."""
        self._neighbors.remove(self._iface(port), address, now, "removed")

    def neighbors(self, port: int) -> list[Neighbor]:
        """What is known of the neighbours on a port."""
        return list(self._iface(port).neighbors.values())

    def join(self, port: int, group: bytes, now: Ns = 0) -> None:
        """Take packets to a multicast group."""
        self._groups.join(self._iface(port), group, now)

    def leave(self, port: int, group: bytes, now: Ns = 0) -> None:
        """Undo a `join`."""
        self._groups.leave(self._iface(port), group, now)

    def watch(self, port: int, on: bool = True) -> None:
        """Each ARP and neighbour discovery packet on this port becomes an ArpSeen or NdSeen event."""
        self._iface(port).watch = on

    def register(self, number: int, handler: ProtocolHandler) -> None:
        """Let `handler` speak an IP protocol, in both families (TCP is 6)."""
        self._input.handlers4[number] = self._input.handlers6[number] = handler.on_packet
        self._icmp.on_error[number] = handler.on_error

    def install(self, number: int, make: Callable[[Node, IpOutput], HandlerT]) -> HandlerT:
        """Make a handler on top of IP and register it: `tcp = stack.install(6, Tcp)`."""
        handler = make(self._node, self._output)
        self.register(number, handler)
        self._pollers.append(handler.poll)
        return handler

    def _iface(self, port: int) -> Interface:
        iface = self._node.interfaces.get(port)
        if iface is None:
            raise LocalProtocolError(f"there is no port {port}")
        return iface

    # --- what applications ask ----------------------------------------------------------------------------------------

    def open_echo(self, ident: int) -> None:
        """Echo replies and ICMP errors for this identifier become EchoReply and IcmpError events."""
        self._icmp.open_echo(ident)

    def close_echo(self, ident: int) -> None:
        """They no longer do."""
        self._icmp.close_echo(ident)

    def send_echo(
        self,
        dst: bytes,
        ident: int,
        seq: int,
        payload: bytes,
        now: Ns,
        options: IpOptions | None = None,
        token: object = None,
    ) -> int:
        """Send an echo request; 0 or an errno (see `send_ip`)."""
        return self._echo.send(dst, ident, seq, payload, now, options or DEFAULT_OPTIONS, token)

    def send_ip(
        self,
        protocol: int,
        dst: bytes,
        payload: tuple[bytes, ...],
        now: Ns,
        options: IpOptions | None = None,
        token: object = None,
    ) -> int:
        """Send a datagram with a finished payload.

        0, or an errno: EMSGSIZE (see `path_mtu`), ENETUNREACH, EHOSTUNREACH, EACCES (broadcast without leave, or a
        route that prohibits), EINVAL (a blackhole), EADDRNOTAVAIL (no source), ENOBUFS (a queue or table is full: try
        again later). `token` comes back in `on_transmitted`, which the driver calls, or in SendFailed.
        """
        return self._output.send(protocol, dst, payload, now, options or DEFAULT_OPTIONS, token)

    def send_frame(self, port: int, parts: tuple[bytes, ...], token: object = None, now: Ns = 0) -> int:
        """Send a ready frame as it is; 0 or ENOBUFS."""
        self._iface(port)
        return 0 if self._node.transmit(Transmit(port, parts, token=token), now) else errno.ENOBUFS

    def open_udp(self, port: int = 0, service: Service | None = None) -> int:
        """Take datagrams for a UDP port (0: a free one is chosen), as UdpReceived events or by a `service`."""
        return self._udp.open(port, service)

    def close_udp(self, port: int) -> None:
        """Give a UDP port back."""
        self._udp.close(port)

    def send_udp(
        self,
        port: int,
        dst: bytes,
        dst_port: int,
        payload: bytes,
        now: Ns,
        options: IpOptions | None = None,
        token: object = None,
    ) -> int:
        """Send a datagram from UDP port `port`; 0 or an errno (see `send_ip`)."""
        return self._udp.send(port, dst, dst_port, payload, now, options or DEFAULT_OPTIONS, token)

    def resolve(self, port: int, address: bytes, now: Ns) -> int:
        """Find a neighbour's link address: NeighborResolved or NeighborFailed follows. 0 or ENOBUFS."""
        return self._neighbors.resolve(self._iface(port), address, now)

    def path_mtu(self, dst: bytes, now: Ns = 0, options: IpOptions | None = None) -> int:
        """The largest packet that may go to `dst` unfragmented; 0 without a way there."""
        path = self._output.path(dst, now, options or DEFAULT_OPTIONS)
        return 0 if isinstance(path, int) else path.path_mtu

    def source_for(self, dst: bytes, now: Ns = 0, options: IpOptions | None = None) -> bytes | None:
        """The source address of a packet to `dst`, None without a way there."""
        path = self._output.path(dst, now, options or DEFAULT_OPTIONS)
        return None if isinstance(path, int) else path.src

    # --- the engine ---------------------------------------------------------------------------------------------------

    def on_frame(self, frame: memoryview, now: Ns, meta: RxMeta) -> None:
        """Take one received frame. Raises nothing; the frame is counted as accepted or under one DropReason."""
        trace = self.trace
        if (emit := trace.frame) is not None:
            emit(FrameReceived(now, meta.port, bytes(frame), meta.at, meta.checksum, meta.gso_size))
        self.frames += 1
        iface = self._node.interfaces.get(meta.port)
        reason: str | None
        if iface is None:
            reason = DropReason.NO_PORT
        elif iface.ethernet:
            reason = self._on_ethernet(frame, iface, meta, now)
        elif meta.packet_type == PACKET_OUTGOING:
            reason = DropReason.OWN_FRAME
        else:
            unicast = meta.packet_type not in (PACKET_BROADCAST, PACKET_MULTICAST)
            reason = self._on_ip(frame, 0, iface, b"", unicast, meta, now)
        if reason is None:
            self.accepted += 1
        else:
            self._node.refuse(reason, meta.port, now)
        if (emit := trace.settle) is not None:
            emit(Settled(now))

    def _on_ethernet(self, frame: memoryview, iface: Interface, meta: RxMeta, now: Ns) -> str | None:
        """Ethernet and VLAN: is the frame for this port at all, and which protocol is in it (RFC 894, 802.1Q)."""
        if len(frame) < ethernet.HEADER_LENGTH:
            self._node.detail = "Ethernet header cut short"
            return DropReason.ETHERNET_HEADER
        dst, src, ethertype = _unpack_ethernet(frame)
        offset, mac = ethernet.HEADER_LENGTH, iface.mac
        if ethertype not in _UNTAGGED or iface.vlan_ids:
            try:
                header = ethernet.decode(frame)
            except DecodeError as problem:
                self._node.detail = str(problem)
                return DropReason.ETHERNET_HEADER
            if _vlan_ids(header.vlans) != iface.vlan_ids:
                return DropReason.VLAN_FILTER
            ethertype, offset = header.ethertype, header.header_length
        if src == mac or meta.packet_type == PACKET_OUTGOING:
            return DropReason.OWN_FRAME
        if src[0] & 1:
            self._node.detail = "source is a group"
            return DropReason.ETHERNET_HEADER
        unicast = dst == mac
        if (not unicast and not dst[0] & 1) or meta.packet_type == PACKET_OTHERHOST:
            return DropReason.OTHERHOST
        if ethertype == ethernet.ETHERTYPE_IPV4:
            return self._on_ip(frame, offset, iface, src, unicast, meta, now, 4)
        if ethertype == ethernet.ETHERTYPE_IPV6:
            return self._on_ip(frame, offset, iface, src, unicast, meta, now, 6)
        if ethertype == ethernet.ETHERTYPE_ARP:
            return self._arp.on_packet(frame, offset, iface, dst, src, meta, now)
        return DropReason.UNHANDLED_PROTO

    def on_deadline(self, now: Ns) -> None:
        """Do what is due."""
        if self._node.deadlines.next_at() > now:
            return
        self._node.deadlines.run(now)
        if (emit := self.trace.settle) is not None:
            emit(Settled(now))

    def poll_transmit(self, now: Ns) -> Transmit | None:
        """The next frame to send."""
        budget = self.config.transmit_limit
        if self._node.loopback:
            budget = self._deliver_loopback(now, budget)
        while not self._outbox:
            for poll in self._pollers:
                if poll(now):
                    break
            else:
                if not self._node.loopback or not budget:
                    return None
                budget = self._deliver_loopback(now, budget)
        frame = self._outbox.popleft()
        trace = self.trace
        if (emit := trace.frame) is not None:
            emit(FrameSent(now, frame.port, frame.parts, frame.gso_size, frame.csum_start, frame.csum_offset))
        if (emit := trace.settle) is not None:
            emit(Settled(now))
        return frame

    def _deliver_loopback(self, now: Ns, budget: int) -> int:
        """What we sent to ourselves comes in here, one packet after the other, never inside another's reception.

        With their answers, but not for ever: two of our own that only talk to each other must not hold the loop.
        Returns what is left of the `budget` of packets.
        """
        loopback = self._node.loopback
        while loopback and budget:
            budget -= 1
            port, packet = loopback.popleft()
            self.frames += 1
            reason = self._on_ip(packet, 0, self._node.interfaces[port], b"", True, _LOOPBACK_META, now)
            if reason is None:
                self.accepted += 1
            else:
                self._node.refuse(reason, port, now)
        if (emit := self.trace.settle) is not None:
            emit(Settled(now))
        return budget

    def on_transmitted(self, token: object, now: Ns, at: Ns | None, error: OSError | None) -> None:
        """The link took a frame that carried a token, or refused it: then SendFailed follows."""
        if error is not None:
            self._node.tell(SendFailed(now, b"", error.errno or 0, token))

    def poll_event(self) -> EngineEvent | None:
        """The next event for the application."""
        if not self._events:
            return None
        event = self._events.popleft()
        event.on_taken()
        return event

    def next_deadline(self) -> Ns:
        """When `on_deadline` is due, or NEVER."""
        return self._node.deadlines.next_at()

    def _on_gone(self, neighbor: Neighbor, _now: Ns) -> None:
        """A neighbour stopped answering: what a Redirect moved there goes back to its route (RFC 1122 3.3.1.5)."""
        if len(self._destinations):
            self._destinations.forget_gateway(neighbor.address)

    def _on_unresolved(self, neighbor: Neighbor, packet: Transmit, now: Ns) -> None:
        """A packet waited in vain for its neighbour: tell whoever sent it."""
        if isinstance(packet, Forwarded):
            self._forwarder.on_undeliverable(packet, neighbor.iface, now)
        elif self._icmp.on_undeliverable(packet, now) is not None and packet.token is not None:
            octets = b"".join(packet.parts)
            dst = octets[16:20] if octets[0] >> 4 == 4 else octets[24:40]
            self._node.tell(SendFailed(now, dst, errno.EHOSTUNREACH, packet.token))


def _vlan_ids(tags: tuple[int, ...]) -> tuple[int, ...]:
    """VLAN ids without priority tags, whose id is 0 (802.1Q 6.9)."""
    return tuple(tci & _VLAN_ID for tci in tags if tci & _VLAN_ID)
