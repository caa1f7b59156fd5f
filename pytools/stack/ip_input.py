"""IP input: the checks in their order, reassembly, and who gets the packet.

    IPv4: header - checksum - source - destination - options - fragments - protocol   (RFC 791, RFC 1122 3.2, 3.3)
    IPv6: header - source - destination - extension headers - fragments - protocol    (RFC 8200, RFC 4443)

Each function returns None when the packet was taken, or the DropReason.
"""

from collections.abc import Callable
from typing import Final

from pytools.engine import RxMeta
from pytools.errors import DecodeError
from pytools.stack.forward import Forwarder
from pytools.stack.icmp_errors import IcmpErrors
from pytools.stack.interfaces import TENTATIVE, Interface
from pytools.stack.node import Node
from pytools.stack.packet import BROADCAST, MULTICAST, UNICAST, Buffer, Packet
from pytools.stack.reassembly import Datagram, Reassembly
from pytools.trace.drop import DropReason
from pytools.units import Ns
from pytools.wire import icmp, icmp6, ipv4, ipv4_options, ipv6
from pytools.wire.addr import BROADCAST4, is_link_local, is_loopback

OnPacket = Callable[[Packet, Ns], str | None]

_INCOMPLETE_CHAIN: Final = 3
"""ICMPv6 Parameter Problem code of RFC 7112: the first fragment lacks part of the header chain."""

_SHORTEST: Final = {ipv4.PROTO_TCP: 20, ipv4.PROTO_UDP: 8, ipv6.PROTO_ICMPV6: 8}


class IpInput:
    """The way in. `handlers4` and `handlers6` are the protocols above, by number."""

    __slots__ = ("_errors", "_forwarder", "_node", "_packet", "_reassembly", "handlers4", "handlers6")

    def __init__(self, node: Node, reassembly: Reassembly, errors: IcmpErrors, forwarder: Forwarder) -> None:
        self._node = node
        self._reassembly = reassembly
        self._errors = errors
        self._forwarder = forwarder
        self.handlers4: dict[int, OnPacket] = {}
        self.handlers6: dict[int, OnPacket] = {}
        self._packet = Packet()
        # One object for all packets: nobody may keep it.
        reassembly.on_timeout = self._on_timeout

    def on_ip(
        self,
        data: Buffer,
        start: int,
        iface: Interface,
        link_src: bytes,
        link_unicast: bool,
        meta: RxMeta,
        now: Ns,
        version: int = 0,
    ) -> str | None:
        """Take the IP packet that starts at `start`. `version` is what the link says (0: nothing)."""
        if start >= len(data):
            return DropReason.PKT_TOO_SMALL
        family = data[start] >> 4
        if version and family != version:
            self._node.detail = f"version {family} in a frame for IPv{version}"
            return DropReason.IP_INHDR
        packet = self._packet
        packet.data = data
        packet.start = start
        packet.iface = iface
        packet.link_src = link_src
        packet.link_unicast = link_unicast
        packet.meta = meta
        packet.at = now if meta.at is None else meta.at
        packet.fragmented = False
        if family == 4:
            return self._on_ipv4(packet, now)
        if family == 6:
            return self._on_ipv6(packet, now)
        return DropReason.IP_INHDR

    # --- IPv4 ---------------------------------------------------------------------------------------------------------

    def _on_ipv4(self, packet: Packet, now: Ns) -> str | None:
        data, start, iface = packet.data, packet.start, packet.iface
        try:
            header = ipv4.decode(data, start, len(data))
        except DecodeError as problem:
            self._node.detail = str(problem)
            return DropReason.IP_INHDR
        if not ipv4.header_checksum_ok(data, start, header.header_length):
            return DropReason.IP_CSUM
        src, dst = header.src, header.dst
        if (
            not 0 < src[0] < 224 or src[0] == 127 or src in iface.broadcasts or src in iface.addresses
        ) and not self._odd_source(packet, src):
            return DropReason.IP_INVALID_SOURCE
        packet.family = 4
        packet.header = header
        packet.src = src
        packet.dst = dst
        packet.ttl = header.ttl
        packet.tos = header.tos
        packet.options = header.options
        packet.protocol = header.protocol
        packet.offset = start + header.header_length
        packet.end = start + header.total_length
        own = iface.addresses.get(dst)
        if own is None or own.state == TENTATIVE:
            return self._not_mine4(packet, now)
        packet.kind = UNICAST
        packet.shared = own.shared
        if not packet.link_unicast:
            return DropReason.UNICAST_IN_L2_MULTICAST
        return self._for_us4(packet, now)

    def _odd_source(self, packet: Packet, src: bytes) -> bool:
        """Whether a source that no other host has may be right (RFC 1122 3.2.1.3): ours or 127/8, not from a wire."""
        iface = packet.iface
        own = iface.addresses.get(src)
        if own is not None:
            # Without a link source it is our own packet, looped back, or one on `lo`.
            return own.shared or not packet.link_src
        return is_loopback(src) and iface.loopback

    def _not_mine4(self, packet: Packet, now: Ns) -> str | None:
        """Broadcast, multicast, another port's address, or somebody else's."""
        dst, iface = packet.dst, packet.iface
        packet.shared = self._kernel_listens(iface)
        if dst == BROADCAST4 or dst in iface.broadcasts:
            packet.kind = BROADCAST
            return self._for_us4(packet, now)
        if 224 <= dst[0] < 240:
            packet.kind = MULTICAST
            return self._for_us4(packet, now) if dst in iface.groups else DropReason.IP_INADDRERRORS
        return self._elsewhere(packet, now, self._for_us4)

    def _elsewhere(self, packet: Packet, now: Ns, for_us: OnPacket) -> str | None:
        """A unicast destination that is no address of the arriving port (RFC 1122 3.3.4.2, 3.2.1.3)."""
        node, config = self._node, self._node.config
        packet.kind = UNICAST
        own = node.own.get(packet.dst)
        if own is not None and (config.forwarding or not config.strong_host) and not is_link_local(packet.dst):
            packet.shared = own.shared
            return for_us(packet, now) if packet.link_unicast else DropReason.UNICAST_IN_L2_MULTICAST
        if config.forwarding:
            packet.shared = False
            return self._forwarder.forward(packet, now)
        return DropReason.NOT_OUR_FLOW if packet.shared else DropReason.IP_INADDRERRORS

    def _kernel_listens(self, iface: Interface) -> bool:
        """Whether the kernel owns an address of this port, and so what is for everybody there."""
        return any(own.shared for own in iface.addresses.values())

    def _for_us4(self, packet: Packet, now: Ns) -> str | None:
        """Options, fragments, protocol."""
        if packet.options:
            verdict = self._check_options(packet, now)
            if verdict is not _FOR_US:
                return verdict
        header = packet.header
        if header.more_fragments or header.fragment_offset:
            return self._fragment4(packet, header, now)
        handler = self.handlers4.get(packet.protocol)
        if handler is not None:
            return handler(packet, now)
        return self._no_protocol(packet, now)

    def _check_options(self, packet: Packet, now: Ns) -> str | None:
        """Malformed options earn a Parameter Problem, source routes silence or the next hop (RFC 1122 3.2.1.8).

        Returns _FOR_US if the packet is at its end.
        """
        try:
            options = ipv4_options.parse(packet.options)
            # Room for ourselves, or at least for the count of those without.
            ipv4_options.record(packet.options, packet.dst, 0)
        except ipv4_options.OptionError as problem:
            self._node.detail = str(problem)
            self._errors.report(packet, icmp.PARAMETER_PROBLEM, 0, now, problem.pointer << 24)
            return DropReason.IP_OPTION
        route = next((o for o in options if o.kind in _SOURCE_ROUTES and isinstance(o, ipv4_options.RouteOption)), None)
        if route is None or packet.shared:
            return _FOR_US
        if not self._node.config.accept_source_route:
            return DropReason.IP_SOURCE_ROUTE
        if route.remaining:
            return self._forwarder.forward_routed(packet, now)
        return _FOR_US

    def _fragment4(self, packet: Packet, header: ipv4.Ipv4Header, now: Ns) -> str | None:
        piece = bytes(packet.data[packet.offset : packet.end])
        first, more = header.fragment_offset, header.more_fragments
        if not piece or (more and len(piece) & 7) or header.header_length + first + len(piece) > ipv4.MAX_PACKET:
            return DropReason.FRAG_LENGTH
        if header.protocol == ipv4.PROTO_TCP and (first == 8 or (not first and len(piece) < 20)):
            # RFC 1858 3: no honest stack cuts a TCP header in two.
            return DropReason.FRAG_LENGTH
        key = (packet.src, packet.dst, header.ident, header.protocol, 0)
        head = bytes(packet.data[packet.start : packet.offset])
        found = self._reassembly.add(key, first, piece, more, head, packet, now)
        if not isinstance(found, Datagram):
            return found
        return self._whole4(packet, found, now)

    def _whole4(self, packet: Packet, datagram: Datagram, now: Ns) -> str | None:
        """Deliver a datagram made of fragments: the first one's header with the whole length."""
        old = ipv4.decode_quoted(datagram.head)
        tos = old.tos | 3 if datagram.congestion_experienced else old.tos
        head = ipv4.encode(
            old.src, old.dst, old.protocol, datagram.total, tos=tos, ident=old.ident, ttl=old.ttl, options=old.options
        )
        self._made_whole(packet, head, datagram)
        packet.header = ipv4.decode(packet.data)
        packet.tos, packet.ttl, packet.options = tos, old.ttl, old.options
        handler = self.handlers4.get(packet.protocol)
        return handler(packet, now) if handler is not None else self._no_protocol(packet, now)

    def _made_whole(self, packet: Packet, head: bytes, datagram: Datagram) -> None:
        packet.data = head + datagram.payload()
        packet.start, packet.offset, packet.end = 0, len(head), len(packet.data)
        packet.fragmented = True

    # --- IPv6 ---------------------------------------------------------------------------------------------------------

    def _on_ipv6(self, packet: Packet, now: Ns) -> str | None:
        data, start, iface = packet.data, packet.start, packet.iface
        try:
            header = ipv6.decode(data, start, len(data))
        except DecodeError as problem:
            self._node.detail = str(problem)
            return DropReason.IP_INHDR
        src, dst = header.src, header.dst
        if (src[0] == 0xFF or not src[0]) and self._bad_source6(src, iface):
            return DropReason.IP_INVALID_SOURCE
        if src in iface.addresses and not self._odd_source(packet, src) and not _may_be_discovery(header):
            return DropReason.IP_INVALID_SOURCE
        packet.family = 6
        packet.header = header
        packet.src = src
        packet.dst = dst
        packet.ttl = header.hop_limit
        packet.tos = header.traffic_class
        packet.options = b""
        packet.protocol = header.next_header
        packet.protocol_pointer = 6
        packet.offset = start + 40
        packet.end = start + 40 + header.payload_length
        own = iface.addresses.get(dst)
        if own is None or own.state == TENTATIVE:
            return self._not_mine6(packet, now)
        packet.kind = UNICAST
        packet.shared = own.shared
        if not packet.link_unicast and not iface.loopback:
            return DropReason.UNICAST_IN_L2_MULTICAST
        return self._for_us6(packet, now)

    def _bad_source6(self, src: bytes, iface: Interface) -> bool:
        """Multicast, the loopback address from a wire, IPv4-mapped (RFC 4291 2.5, 2.7); :: is for discovery."""
        if src[0] == 0xFF or src[:12] == _MAPPED:
            return True
        return src == _LOOPBACK6 and not iface.loopback

    def _not_mine6(self, packet: Packet, now: Ns) -> str | None:
        """A group, another port's address, or somebody else's."""
        dst, iface = packet.dst, packet.iface
        packet.shared = self._kernel_listens(iface)
        if dst[0] == 0xFF:
            packet.kind = MULTICAST
            # Scope 0 is reserved, 1 never leaves a host (RFC 4291 2.7).
            if dst not in iface.groups or dst[1] & 15 < 2:
                return DropReason.IP_INADDRERRORS
            return self._for_us6(packet, now)
        if not dst[0] and (dst == bytes(16) or dst == _LOOPBACK6):
            return DropReason.IP_INADDRERRORS
        return self._elsewhere(packet, now, self._for_us6)

    def _for_us6(self, packet: Packet, now: Ns) -> str | None:
        """Extension headers, fragments, protocol."""
        protocol = packet.protocol
        handler = self.handlers6.get(protocol)
        if handler is not None:
            return handler(packet, now)
        try:
            found = ipv6.walk(packet.data, packet.offset, protocol, packet.end, packet.start)
        except DecodeError as problem:
            self._node.detail = str(problem)
            return DropReason.IPV6_BAD_EXTHDR
        if found.discard:
            if found.problem_code is not None:
                multicast = found.answer_multicast
                self._problem6(packet, found.problem_code, found.problem_pointer, now, multicast)
            return DropReason.IPV6_BAD_EXTHDR
        packet.protocol_pointer = found.next_header_pointer
        fragment = found.fragment
        if fragment is not None:
            packet.fragmented = True
            if not fragment.atomic:
                return self._fragment6(packet, fragment, now)
        packet.protocol, packet.offset = found.protocol, found.offset
        handler = self.handlers6.get(found.protocol)
        return handler(packet, now) if handler is not None else self._no_protocol(packet, now)

    def _problem6(self, packet: Packet, code: int, pointer: int, now: Ns, multicast: bool = False) -> None:
        self._errors.report(packet, icmp6.PARAMETER_PROBLEM, code, now, pointer, multicast)

    def _fragment6(self, packet: Packet, fragment: ipv6.FragmentHeader, now: Ns) -> str | None:
        """RFC 8200 4.5, with RFC 5722 and RFC 7112."""
        at = fragment.position
        piece = bytes(packet.data[at + 8 : packet.end])
        if fragment.more and len(piece) & 7:
            self._problem6(packet, ipv6.ERRONEOUS_FIELD, 4, now)
            return DropReason.FRAG_LENGTH
        if fragment.offset + len(piece) > 65535:
            self._problem6(packet, ipv6.ERRONEOUS_FIELD, at - packet.start + 2, now)
            return DropReason.FRAG_LENGTH
        if not piece:
            return DropReason.FRAG_LENGTH
        if not fragment.offset and not self._has_whole_chain(packet, fragment):
            self._problem6(packet, _INCOMPLETE_CHAIN, 0, now)
            return DropReason.IPV6_BAD_EXTHDR
        zone = packet.iface.index if is_link_local(packet.src) else 0
        key = (packet.src, packet.dst, fragment.ident, 0, zone)
        head = self._head6(packet, fragment) if not fragment.offset else b""
        found = self._reassembly.add(key, fragment.offset, piece, fragment.more, head, packet, now)
        if not isinstance(found, Datagram):
            return found
        return self._whole6(packet, found, now)

    def _has_whole_chain(self, packet: Packet, fragment: ipv6.FragmentHeader) -> bool:
        found = ipv6.skip(packet.data, fragment.position + 8, fragment.next_header, packet.end)
        return packet.end - found.offset >= _SHORTEST.get(found.protocol, 0)

    def _head6(self, packet: Packet, fragment: ipv6.FragmentHeader) -> bytes:
        """What goes before the fragment header, with the field that named it now naming what it carries."""
        head = bytearray(packet.data[packet.start : fragment.position])
        at, kind = 6, head[6]
        offset = 40
        while kind != ipv6.PROTO_FRAGMENT:
            at, following = offset, head[offset]
            units = head[offset + 1]
            offset += (units + 2) << 2 if kind == ipv6.PROTO_AH else (units + 1) << 3
            kind = following
        head[at] = fragment.next_header
        return bytes(head)

    def _whole6(self, packet: Packet, datagram: Datagram, now: Ns) -> str | None:
        head = bytearray(datagram.head)
        length = len(head) - 40 + datagram.total
        if length > 65535:
            return DropReason.FRAG_LENGTH
        head[4:6] = length.to_bytes(2, "big")
        if datagram.congestion_experienced:
            head[1] |= 0x30
        self._made_whole(packet, bytes(head), datagram)
        header = packet.header = ipv6.decode(packet.data)
        packet.protocol, packet.offset = header.next_header, 40
        packet.tos, packet.ttl = header.traffic_class, header.hop_limit
        return self._for_us6_again(packet, now)

    def _for_us6_again(self, packet: Packet, now: Ns) -> str | None:
        """After reassembly; a fragment in a fragment is refused, or nesting would have no end."""
        found = ipv6.skip(packet.data, 40, packet.protocol, packet.end)
        if found.fragment is not None:
            return DropReason.IPV6_BAD_EXTHDR
        return self._for_us6(packet, now)

    # --- both ---------------------------------------------------------------------------------------------------------

    def _no_protocol(self, packet: Packet, now: Ns) -> str:
        """RFC 1122 3.2.2.1 and RFC 4443 3.4: nobody here speaks this protocol."""
        if packet.shared:
            return DropReason.NOT_OUR_FLOW
        if packet.family == 4:
            self._errors.report(packet, icmp.UNREACHABLE, icmp.PROTOCOL_UNREACHABLE, now)
        elif packet.protocol != ipv6.PROTO_NONE:
            self._problem6(packet, ipv6.UNKNOWN_NEXT_HEADER, packet.protocol_pointer, now)
        return DropReason.IP_NOPROTO

    def _on_timeout(self, packet: Packet, now: Ns) -> None:
        """Fragment Reassembly Time Exceeded (RFC 1122 3.3.2, RFC 8200 4.5)."""
        if packet.family == 4:
            self._errors.report(packet, icmp.TIME_EXCEEDED, icmp.REASSEMBLY_EXCEEDED, now)
        else:
            self._errors.report(packet, icmp6.TIME_EXCEEDED, icmp6.REASSEMBLY_EXCEEDED, now)


_SOURCE_ROUTES: Final = frozenset((ipv4_options.LOOSE_SOURCE_ROUTE, ipv4_options.STRICT_SOURCE_ROUTE))
_FOR_US: Final = "for us"
_MAPPED: Final = bytes(10) + b"\xff\xff"
_LOOPBACK6: Final = bytes(15) + b"\1"


def _may_be_discovery(header: ipv6.Ipv6Header) -> bool:
    """Another host with our address says so by an advertisement from it (RFC 4862 5.4.4)."""
    return header.hop_limit == 255 and header.next_header == ipv6.PROTO_ICMPV6
