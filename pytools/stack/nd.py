"""Neighbour discovery for IPv6 (RFC 4861 7) and duplicate address detection (RFC 4862 5.4).

Routers' messages are `stack.routers`' business, Redirects `stack.redirects`'.
"""

from collections.abc import Callable
from typing import Final

from pytools.engine import Transmit
from pytools.errors import DecodeError
from pytools.stack.addresses import Addresses
from pytools.stack.events import NdSeen
from pytools.stack.interfaces import TENTATIVE, Address, Interface, Neighbor
from pytools.stack.ip_output import IpOutput
from pytools.stack.neighbors import INCOMPLETE, PERMANENT, REACHABLE, Neighbors
from pytools.stack.node import Node
from pytools.stack.packet import MULTICAST, Packet
from pytools.trace.drop import DropReason
from pytools.trace.events import TimerFired
from pytools.units import Ns
from pytools.wire import icmp6, ipv6
from pytools.wire.addr import ALL_NODES, UNSPECIFIED6, format_ip, is_unspecified, solicited_node
from pytools.wire.icmp import IcmpMessage
from pytools.wire.icmp6 import NdOptions, NeighborAdvertisement, NeighborSolicitation

HOP_LIMIT: Final = 255
"""RFC 4861 7.1: what comes with less was forwarded, so it isn't from this link."""


def check(packet: Packet, message: IcmpMessage) -> str | None:
    """What holds for every discovery message (RFC 4861 6.1, 7.1, 8.1; RFC 6980): the DropReason, or None."""
    if not packet.iface.ethernet:
        return DropReason.ND_NOT_FOR_US
    if packet.ttl != HOP_LIMIT:
        return DropReason.IPV6_NDISC_HOP_LIMIT
    if message.code:
        return DropReason.IPV6_NDISC_BAD_CODE
    return DropReason.ND_HEADER if packet.fragmented else None


class Nd:
    """Solicitations and advertisements of neighbours on all Ethernet ports."""

    __slots__ = ("_addresses", "_due", "_neighbors", "_node", "_output", "on_router_lost")

    def __init__(self, node: Node, neighbors: Neighbors, addresses: Addresses, output: IpOutput) -> None:
        self._node = node
        self._neighbors = neighbors
        self._addresses = addresses
        self._output = output
        self._due = self._on_dad_due
        self.on_router_lost: Callable[[Interface, bytes, Ns], None] = _no_routers
        """Called when a neighbour says that it is no router any more (RFC 4861 7.2.5)."""
        neighbors.solicit[16] = self._solicit
        addresses.start[16] = self._start_dad

    # --- output -------------------------------------------------------------------------------------------------------

    def send(self, iface: Interface, src: bytes, dst: bytes, message: bytes, now: Ns) -> None:
        """Send a discovery message, hop limit 255."""
        header = ipv6.encode(src, dst, ipv6.PROTO_ICMPV6, len(message), hop_limit=HOP_LIMIT)
        self._output.send_link(iface, dst, Transmit(iface.index, (header + message,)), now)

    def _solicit(self, neighbor: Neighbor, source: bytes | None, now: Ns) -> None:
        """Ask for a neighbour: its group if the MAC is unknown, else itself (RFC 4861 7.2.2)."""
        iface, target = neighbor.iface, neighbor.address
        if source not in iface.addresses:
            source = iface.source_for(target)
        if source is None:
            # A solicitation from :: would be duplicate detection. Without an address there is nobody to answer to.
            return
        dst = target if neighbor.mac else solicited_node(target)
        message = NeighborSolicitation(target, NdOptions(source_mac=iface.mac)).encode(source, dst)
        if neighbor.mac:
            # Not by way of the cache, which is what this question is about.
            header = ipv6.encode(source, dst, ipv6.PROTO_ICMPV6, len(message), hop_limit=HOP_LIMIT)
            self._node.transmit(Transmit(iface.index, (neighbor.header, header + message)), now)
        else:
            self.send(iface, source, dst, message, now)

    def announce(self, own: Address, now: Ns) -> None:
        """An unsolicited advertisement to all nodes (RFC 4861 7.2.6)."""
        self._advertise(own, own.address, ALL_NODES, False, now)

    def _advertise(self, own: Address, src: bytes, dst: bytes, solicited: bool, now: Ns) -> None:
        iface, router = own.iface, self._node.config.forwarding
        options = NdOptions(target_mac=iface.mac)
        advertisement = NeighborAdvertisement(own.address, options, router=router, solicited=solicited, override=True)
        self.send(iface, src, dst, advertisement.encode(src, dst), now)

    # --- duplicate address detection ----------------------------------------------------------------------------------

    def _start_dad(self, own: Address, now: Ns) -> None:
        """Wait a random time, then solicit our own address from :: (RFC 4862 5.4.2)."""
        own.phase, own.count = "dad", 0
        wait = round(self._node.rng.uniform(0, self._node.config.dad_delay_ns))
        self._node.deadlines.arm(own, now + wait, self._due)

    def _on_dad_due(self, own: Address, now: Ns) -> None:
        if (emit := self._node.trace.timer) is not None:
            emit(TimerFired(now, own.phase, format_ip(own.address), own.count + 1))
        if own.count >= self._node.config.dad_transmits:
            self._addresses.ready(own, now)
            return
        own.count += 1
        dst = solicited_node(own.address)
        message = NeighborSolicitation(own.address, NdOptions()).encode(UNSPECIFIED6, dst)
        self.send(own.iface, UNSPECIFIED6, dst, message, now)
        wait = self._node.config.dad_wait_ns or own.iface.retransmit_ns
        self._node.deadlines.arm(own, now + wait, self._due)

    # --- input --------------------------------------------------------------------------------------------------------

    def on_solicitation(self, packet: Packet, message: IcmpMessage, now: Ns) -> str | None:
        """A Neighbor Solicitation (RFC 4861 7.1.1, 7.2.3; RFC 4862 5.4.3)."""
        if refused := check(packet, message):
            return refused
        try:
            asked = NeighborSolicitation.decode(packet.data, packet.offset, packet.end)
        except DecodeError as problem:
            self._node.detail = str(problem)
            return DropReason.IPV6_NDISC_BAD_OPTIONS
        probe, mac = is_unspecified(packet.src), asked.options.source_mac
        if probe and (mac is not None or packet.dst != solicited_node(asked.target)):
            self._node.detail = "a probe with a link address, or not to the group"
            return DropReason.ND_HEADER
        self._see(packet, icmp6.NEIGHBOR_SOLICITATION, asked.target, mac, 0, now)
        own = packet.iface.addresses.get(asked.target)
        if own is None:
            return _unwatched(packet.iface, DropReason.ND_NOT_FOR_US)
        if own.state == TENTATIVE:
            return self._asked_while_tentative(own, packet, probe, now)
        if mac is not None and not own.shared and _is_station(mac):
            self._neighbors.learn(packet.iface, packet.src, mac, now, "solicitation")
        if own.shared:
            return _unwatched(packet.iface, DropReason.NOT_OUR_FLOW)
        if probe:
            self._advertise(own, own.address, ALL_NODES, False, now)
        else:
            self._advertise(own, own.address, packet.src, True, now)
        return None

    def _asked_while_tentative(self, own: Address, packet: Packet, probe: bool, now: Ns) -> str | None:
        """Another station probes for the same address: neither may have it. A mere question is left alone."""
        if not probe:
            return DropReason.ND_NOT_FOR_US
        self._addresses.conflict(own, packet.link_src, now, True, "given up")
        return None

    def on_advertisement(self, packet: Packet, message: IcmpMessage, now: Ns) -> str | None:
        """A Neighbor Advertisement (RFC 4861 7.1.2, 7.2.5; RFC 4862 5.4.4)."""
        if refused := check(packet, message):
            return refused
        try:
            said = NeighborAdvertisement.decode(packet.data, packet.offset, packet.end)
        except DecodeError as problem:
            self._node.detail = str(problem)
            return DropReason.IPV6_NDISC_BAD_OPTIONS
        if said.solicited and packet.kind == MULTICAST:
            self._node.detail = "solicited, to a group"
            return DropReason.ND_HEADER
        iface, mac = packet.iface, said.options.target_mac
        flags = said.router << 2 | said.solicited << 1 | said.override
        self._see(packet, icmp6.NEIGHBOR_ADVERTISEMENT, said.target, mac, flags, now)
        own = iface.addresses.get(said.target)
        if own is not None:
            return self._claimed(own, mac or packet.link_src, now)
        neighbor = iface.neighbors.get(said.target)
        if neighbor is None or neighbor.state == PERMANENT:
            return _unwatched(iface, DropReason.NOT_OUR_FLOW if packet.shared else DropReason.ND_NOT_FOR_US)
        if mac is not None and not _is_station(mac):
            return DropReason.ND_HEADER
        return self._update(neighbor, said, mac, now)

    def _claimed(self, own: Address, mac: bytes, now: Ns) -> str | None:
        """Somebody advertises an address of ours. In use already, it stays: RFC 4862 5.4.4 leaves that open."""
        if own.shared:
            return _unwatched(own.iface, DropReason.NOT_OUR_FLOW)
        tentative = own.state == TENTATIVE
        self._addresses.conflict(own, mac, now, tentative, "given up" if tentative else "ignored")
        return None

    def _update(self, neighbor: Neighbor, said: NeighborAdvertisement, mac: bytes | None, now: Ns) -> str | None:
        """The state machine of RFC 4861 7.2.5 and Appendix C."""
        if neighbor.state == INCOMPLETE:
            if mac is None:
                self._node.detail = "no link address"
                return DropReason.ND_HEADER
            if said.solicited:
                self._neighbors.confirm(neighbor, mac, now, "advertisement")
            else:
                self._neighbors.learn(neighbor.iface, neighbor.address, mac, now, "unsolicited advertisement")
        elif mac is not None and mac != neighbor.mac and not said.override:
            if neighbor.state == REACHABLE:
                self._neighbors.suspect(neighbor, now, "another link address, no override")
            return None
        elif said.solicited:
            self._neighbors.confirm(neighbor, mac or neighbor.mac, now, "advertisement")
        elif mac is not None:
            self._neighbors.learn(neighbor.iface, neighbor.address, mac, now, "unsolicited advertisement")
        if neighbor.is_router and not said.router:
            self.on_router_lost(neighbor.iface, neighbor.address, now)
        neighbor.is_router = said.router
        return None

    def _see(self, packet: Packet, type_: int, target: bytes, mac: bytes | None, flags: int, now: Ns) -> None:
        """Tell whoever watches the port."""
        iface = packet.iface
        if not iface.watch:
            return
        self._node.tell(
            NdSeen(
                now,
                packet.at,
                iface.index,
                packet.link_src,
                not packet.link_unicast,
                packet.src,
                packet.dst,
                type_,
                target,
                mac or b"",
                flags,
            )
        )


def _unwatched(iface: Interface, reason: str) -> str | None:
    """The refusal of a message that is not for us; None where somebody watches the port and has taken it."""
    return None if iface.watch else reason


def _is_station(mac: bytes) -> bool:
    """Whether a link address can be one station's."""
    return not mac[0] & 1 and any(mac)


def _no_routers(_iface: Interface, _address: bytes, _now: Ns) -> None:
    """No routers learned by advertisements."""
