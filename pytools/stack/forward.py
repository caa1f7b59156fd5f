"""Forwarding, for the routers among our hosts (RFC 1812 5, RFC 8200; RFC 4443 3)."""

from collections.abc import Callable

from pytools.engine import CHECKSUM_PARTIAL, RAW_IP, RxMeta, Transmit
from pytools.errors import DecodeError
from pytools.stack.icmp_errors import IcmpErrors
from pytools.stack.interfaces import Interface
from pytools.stack.ip_output import IpOutput, Path, fragments4
from pytools.stack.node import Node
from pytools.stack.packet import LOCAL, UNICAST, Packet
from pytools.stack.routes import BLACKHOLE, PROHIBIT, UNREACHABLE, RouteTable
from pytools.trace.drop import DropReason
from pytools.trace.events import Fragmented
from pytools.units import Ns
from pytools.wire import checksum, gso, icmp, icmp6, ipv4_options
from pytools.wire.addr import is_link_local, is_loopback, is_multicast

Refusal = tuple[str, int, int]
"""DropReason, ICMP type and code; type -1: say nothing."""

_NO_ROUTE4 = {
    UNREACHABLE: (DropReason.IP_INNOROUTES, icmp.UNREACHABLE, icmp.HOST_UNREACHABLE),
    PROHIBIT: (DropReason.IP_INNOROUTES, icmp.UNREACHABLE, icmp.PACKET_FILTERED),
    BLACKHOLE: (DropReason.ROUTER_BLACKHOLE, -1, 0),
}
_NO_ROUTE6 = {
    UNREACHABLE: (DropReason.IP_INNOROUTES, icmp6.UNREACHABLE, icmp6.NO_ROUTE),
    PROHIBIT: (DropReason.IP_INNOROUTES, icmp6.UNREACHABLE, icmp6.PROHIBITED),
    BLACKHOLE: (DropReason.ROUTER_BLACKHOLE, -1, 0),
}


class Forwarder:
    """Sends on what is not for us, or says why not."""

    __slots__ = ("_errors", "_node", "_output", "_routes", "redirect6")

    def __init__(self, node: Node, routes: RouteTable, output: IpOutput, errors: IcmpErrors) -> None:
        self._node = node
        self._routes = routes
        self._output = output
        self._errors = errors
        self.redirect6: Callable[[Packet, Path, Ns], None] = _no_redirects
        """Takes (packet, its path, now): tell the source of the better first hop; neighbour discovery's way of it."""

    def forward(self, packet: Packet, now: Ns) -> str | None:
        """Take a packet for somebody else. The checks are in the order of RFC 1812 5.2.1 and 5.3.1."""
        if not packet.link_unicast or not _may_cross(packet):
            if packet.family == 6 and is_link_local(packet.src) and not is_link_local(packet.dst):
                self._errors.report(packet, icmp6.UNREACHABLE, icmp6.BEYOND_SCOPE, now)
            return DropReason.IP_INADDRERRORS
        if packet.ttl <= 1:
            time_exceeded = icmp.TIME_EXCEEDED if packet.family == 4 else icmp6.TIME_EXCEEDED
            self._errors.report(packet, time_exceeded, 0, now)
            return DropReason.IP_TTL
        refusal = self._no_route(packet)
        if refusal is not None:
            if refusal[1] >= 0:
                self._errors.report(packet, refusal[1], refusal[2], now)
            return refusal[0]
        path = self._output.path(packet.dst, now)
        if isinstance(path, int) or path.kind not in (UNICAST, LOCAL):
            # A directed broadcast is not sent on (RFC 2644).
            return DropReason.IP_INADDRERRORS
        if path.iface is packet.iface:
            self._redirect(packet, path, now)
        if packet.meta.gso_size or packet.meta.checksum == CHECKSUM_PARTIAL:
            return self._forward_unfinished(packet, path, now)
        return self._forward4(packet, path, now) if packet.family == 4 else self._forward6(packet, path, now)

    def _forward_unfinished(self, packet: Packet, path: Path, now: Ns) -> str | None:
        """What a local sender left to its device is done here: checksum and segmentation; the next port may not."""
        octets, gso_size = bytes(packet.data[packet.start : packet.end]), packet.meta.gso_size
        try:
            whole = list(gso.cut(octets, gso_size, RAW_IP)) if gso_size else [gso.complete_received(octets, RAW_IP)]
        except DecodeError as problem:
            self._node.detail = str(problem)
            return DropReason.PKT_TOO_BIG
        reason = None
        for part in whole:
            packet.data, packet.start, packet.end = part, 0, len(part)
            packet.offset = len(part) if packet.family == 6 else (part[0] & 15) << 2
            reason = self._forward4(packet, path, now) if packet.family == 4 else self._forward6(packet, path, now)
        return reason

    def forward_routed(self, packet: Packet, now: Ns) -> str | None:
        """Take the next hop of a source route that leads through us (RFC 791 3.1, RFC 1122 3.3.5)."""
        hop = ipv4_options.source_route_hop(packet.options, packet.dst)
        if hop is None or not self._node.config.forwarding:
            self._errors.report(packet, icmp.UNREACHABLE, icmp.SOURCE_ROUTE_FAILED, now)
            return DropReason.IP_SOURCE_ROUTE
        options, dst = hop
        octets = bytearray(packet.data[packet.start : packet.end])
        octets[16:20] = dst
        octets[20 : 20 + len(options)] = options
        _refresh_checksum(octets)
        packet.data, packet.offset, packet.end = bytes(octets), packet.offset - packet.start, len(octets)
        packet.start, packet.dst, packet.options = 0, dst, options
        return self.forward(packet, now)

    def on_undeliverable(self, packet: Transmit, iface: Interface, now: Ns) -> None:
        """A packet that we sent on found no neighbour: tell its source (RFC 1812 5.2.7.1, RFC 4443 3.1)."""
        about = Packet()
        data = about.data = b"".join(packet.parts)
        about.start, about.end, about.iface, about.kind = 0, len(data), iface, UNICAST
        about.link_unicast, about.shared = True, False
        about.meta = RxMeta()
        if data[0] >> 4 == 4:
            about.family, about.tos, about.src, about.dst = 4, data[1], data[12:16], data[16:20]
            self._errors.report(about, icmp.UNREACHABLE, icmp.HOST_UNREACHABLE, now)
        else:
            about.family, about.tos, about.src, about.dst = 6, 0, data[8:24], data[24:40]
            self._errors.report(about, icmp6.UNREACHABLE, icmp6.ADDRESS_UNREACHABLE, now)

    def _no_route(self, packet: Packet) -> Refusal | None:
        route = self._routes.lookup(packet.dst)
        if packet.family == 4:
            if route is None:
                return DropReason.IP_INNOROUTES, icmp.UNREACHABLE, icmp.NET_UNREACHABLE
            return _NO_ROUTE4.get(route.kind)
        if route is None:
            return DropReason.IP_INNOROUTES, icmp6.UNREACHABLE, icmp6.NO_ROUTE
        return _NO_ROUTE6.get(route.kind)

    def _forward4(self, packet: Packet, path: Path, now: Ns) -> str | None:
        mtu, length = path.mtu, packet.end - packet.start
        try:
            octets = self._hop4(packet, path, now)
        except ipv4_options.OptionError as problem:
            self._node.detail = str(problem)
            self._errors.report(packet, icmp.PARAMETER_PROBLEM, 0, now, problem.pointer << 24)
            return DropReason.IP_OPTION
        if length <= mtu:
            self._output.forward(path, [(octets,)], now)
            return None
        if packet.header.dont_fragment:
            self._errors.report(packet, icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, now, mtu)
            return DropReason.PKT_TOO_BIG
        pieces = fragments4(octets, mtu)
        if (emit := self._node.trace.ip) is not None:
            emit(Fragmented(now, packet.dst, length, len(pieces), mtu))
        self._output.forward(path, pieces, now)
        return None

    def _hop4(self, packet: Packet, path: Path, now: Ns) -> bytes:
        """The packet with one hop taken: TTL less one, and our mark in the options that ask for it.

        OptionError: malformed, or the count of those who found no room is full (RFC 791 3.1).
        """
        octets = bytearray(packet.data[packet.start : packet.end])
        if packet.options:
            self._mark_options(octets, packet, path, now)
        old = bytes(octets[8:10])
        octets[8] -= 1
        # RFC 1624: TTL shares its word with the protocol.
        octets[10:12] = checksum.update(octets[10] << 8 | octets[11], old, bytes(octets[8:10])).to_bytes(2, "big")
        return bytes(octets)

    def _mark_options(self, octets: bytearray, packet: Packet, path: Path, now: Ns) -> None:
        """Record Route and Timestamp (RFC 791 3.1, RFC 1812 5.3.13)."""
        out = path.iface.source_for(path.next_hop) or path.src
        milliseconds = (self._node.epoch_ns + now) // 1_000_000 % 86_400_000
        marked = ipv4_options.record(packet.options, out, milliseconds, packet.iface.addresses)
        octets[20 : 20 + len(marked)] = marked
        _refresh_checksum(octets)

    def _forward6(self, packet: Packet, path: Path, now: Ns) -> str | None:
        if packet.end - packet.start > path.mtu:
            self._errors.report(packet, icmp6.PACKET_TOO_BIG, 0, now, path.mtu, multicast=True)
            return DropReason.PKT_TOO_BIG
        octets = bytearray(packet.data[packet.start : packet.end])
        octets[7] -= 1
        self._output.forward(path, [(bytes(octets),)], now)
        return None

    def _redirect(self, packet: Packet, path: Path, now: Ns) -> None:
        """Out by the port it came in: the source could have gone straight there (RFC 1812 5.2.7.2; if asked for)."""
        if not self._node.config.send_redirects:
            return
        if packet.family == 6:
            self.redirect6(packet, path, now)
            return
        if any(packet.src in own.network and path.next_hop in own.network for own in packet.iface.usable(4)):
            gateway = int.from_bytes(path.next_hop, "big")
            self._errors.report(packet, icmp.REDIRECT, icmp.REDIRECT_HOST, now, gateway)


def _no_redirects(_packet: Packet, _path: Path, _now: Ns) -> None:
    """Nobody sends them."""


def _refresh_checksum(octets: bytearray) -> None:
    """Make the sum of an IPv4 header right after a change of options."""
    octets[10:12] = b"\0\0"
    octets[10:12] = checksum.checksum(octets[: (octets[0] & 15) << 2]).to_bytes(2, "big")


def _may_cross(packet: Packet) -> bool:
    """Addresses that no router sends on (RFC 1812 5.3.7, RFC 4291 2.5.2 to 2.5.6, 2.7)."""
    for address in (packet.src, packet.dst):
        if is_loopback(address) or is_link_local(address):
            return False
    return not is_multicast(packet.dst) and any(packet.src)
