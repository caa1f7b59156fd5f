"""Frames as text: one line a packet, and its link and IP headers.

The line has the same columns for every protocol; what may be missing is in brackets:

    ECHO id 77 seq 1 len 64 ttl 64 [tos 0x10] [DF] 10.0.0.10 > 10.0.0.2          REPLY, TIMESTAMP ... likewise
    UNREACH host (echo id 77 seq 1 to 10.0.0.99) len 92 ttl 64 10.0.0.1 > 10.0.0.10
    ARP who-has 10.0.0.2 tell 10.0.0.10 [(bcast)] [probe]                        ARP 10.0.0.2 is-at 02:00:00:00:00:02
    NS who-has fd00::2 tell fd00::10 [(mcast)] [probe]                           NA fd00::2 is-at MAC [router,solicited]
    UDP len 12 ttl 64 10.0.0.10:40000 > 10.0.0.2:53
    P. 1:1449(1448) ack 1 win 502 <nop,nop,TS val 1 ecr 0> 10.0.0.10:40000 > 10.0.0.2:80
    ICMP frag 4242 1480+528 ttl 64 10.0.0.10 > 10.0.0.2                          a first one: ECHO ... frag 4242 0+1480+

`len` is what the IP packet carries for ICMP (with the ICMP header), for UDP the payload. A fragment's numbers are its
identification, offset and length; a last `+` says that more follow. What is wrong is said in the line: `bad cksum`,
`malformed: ...`. A checksum that a local sender left partial (it holds the pseudo-header sum) is not called bad.
Only numbers and names of our own are in it: no octet of the packet reaches the text as it is.
"""

from functools import lru_cache
from typing import Final

from pytools.engine import ETHERNET
from pytools.errors import DecodeError
from pytools.wire import arp, ethernet, icmp, icmp6, ipv4, ipv4_options, ipv6, quoted, tcp, udp
from pytools.wire.addr import BROADCAST_MAC, format_mac
from pytools.wire.addr import format_ip as format_ip_uncached
from pytools.wire.checksum import fold, ones_sum, pseudo_header_sum
from pytools.wire.notation_tcp import Bases, format_segment

format_ip: Final = lru_cache(maxsize=1024)(format_ip_uncached)
"""A trace names the same few addresses again and again, and writing an IPv6 one takes 3 us."""

PROTOCOL_NAMES: Final = {
    0: "hop-by-hop",
    1: "ICMP",
    2: "IGMP",
    4: "IPv4",
    6: "TCP",
    17: "UDP",
    41: "IPv6",
    43: "routing",
    44: "fragment",
    47: "GRE",
    50: "ESP",
    51: "AH",
    58: "ICMPv6",
    59: "none",
    60: "destination-options",
    89: "OSPF",
    132: "SCTP",
}
ETHERTYPE_NAMES: Final = {
    ethernet.ETHERTYPE_IPV4: "IPv4",
    ethernet.ETHERTYPE_ARP: "ARP",
    ethernet.ETHERTYPE_IPV6: "IPv6",
}
_MAX_EXTENSIONS: Final = 16


def describe(frame: bytes, link_type: int = ETHERNET, *, level: int = 1, bases: Bases = (0, 0)) -> str:
    """One frame in one line; from `level` 2 its `header_lines` follow, each after a line feed. Raises nothing."""
    line = _describe_ethernet(frame, bases) if link_type == ETHERNET else _describe_ip(frame, 0, bases)
    return line if level < 2 else "\n".join((line, *header_lines(frame, link_type)))


def header_lines(frame: bytes, link_type: int = ETHERNET) -> list[str]:
    """The link header (if there is one) and the IP header (if there is one), a line each. Raises nothing."""
    lines, at, ethertype = [], 0, 0
    if link_type == ETHERNET:
        try:
            header = ethernet.decode(frame)
        except DecodeError as error:
            return [f"{_macs(frame)}{_no_header(frame, error)}".rstrip()]
        lines.append(_link_line(header, len(frame)))
        at, ethertype = header.header_length, header.ethertype
    if ethertype in (0, ethernet.ETHERTYPE_IPV4, ethernet.ETHERTYPE_IPV6):
        try:
            lines.append(_ip6_line(frame, at) if _version(frame, at) == 6 else _ip4_line(frame, at))
        except DecodeError as error:
            lines.append(f"malformed: {error}")
    return lines


def _version(frame: bytes, at: int) -> int:
    return frame[at] >> 4 if at < len(frame) else 0


def _macs(frame: bytes) -> str:
    return f"{format_mac(frame[6:12])} > {format_mac(frame[:6])} " if len(frame) >= 12 else ""


def _link_line(header: ethernet.EthernetHeader, length: int) -> str:
    """`02:..:0a > 02:..:02 [vlan 10 [prio 3] [dei]] ethertype IPv4 (0x0800) length 98`."""
    vlans = "".join(f" {_vlan(tci)}" for tci in header.vlans)
    name = ETHERTYPE_NAMES.get(header.ethertype, "unknown")
    return (
        f"{format_mac(header.src)} > {format_mac(header.dst)}{vlans} "
        f"ethertype {name} (0x{header.ethertype:04x}) length {length}"
    )


def _vlan(tci: int) -> str:
    priority = f" prio {tci >> 13}" if tci >> 13 else ""
    return f"vlan {tci & 0xFFF}{priority}{' dei' if tci & 0x1000 else ''}"


def _ip4_line(frame: bytes, at: int) -> str:
    """`IP 10.0.0.10 > 10.0.0.2 tos 0x0 ttl 64 id 7 [DF] [frag ...] proto ICMP (1) length 84 [options <...>]`."""
    header = ipv4.decode_quoted(frame, at)
    fragment = f" {_fragment4(header)}" if header.more_fragments or header.fragment_offset else ""
    flags = " DF" if header.dont_fragment else ""
    options = f" options <{_ip_options(header.options)}>" if header.options else ""
    check = "" if ipv4.header_checksum_ok(frame, at, header.header_length) else f" bad cksum 0x{header.checksum:04x}"
    cut = " cut short" if header.total_length > len(frame) - at else ""
    return (
        f"IP {format_ip(header.src)} > {format_ip(header.dst)} tos 0x{header.tos:x} ttl {header.ttl} "
        f"id {header.ident}{flags}{fragment} proto {_protocol(header.protocol)} length {header.total_length}"
        f"{options}{check}{cut}"
    )


def _ip6_line(frame: bytes, at: int) -> str:
    """`IP6 fd00::10 > fd00::2 class 0x0 flow 0x0 hlim 64 next ICMPv6 (58) length 64 [extensions ...]`."""
    header = ipv6.decode_quoted(frame, at)
    end = min(len(frame), at + 40 + header.payload_length)
    chain, protocol, offset = [], header.next_header, at + 40
    for _ in range(_MAX_EXTENSIONS):
        found = ipv6.skip(frame, offset, protocol, end, 1)
        if found.offset == offset:
            break
        chain.append(f" {PROTOCOL_NAMES[protocol]}")
        protocol, offset = found.protocol, found.offset
    chain = [f" extensions{''.join(chain)} then {_protocol(protocol)}"] if chain else []
    cut = " cut short" if header.payload_length > len(frame) - at - 40 else ""
    return (
        f"IP6 {format_ip(header.src)} > {format_ip(header.dst)} class 0x{header.traffic_class:x} "
        f"flow 0x{header.flow_label:x} hlim {header.hop_limit} next {_protocol(header.next_header)} "
        f"length {header.payload_length}{''.join(chain)}{cut}"
    )


def _protocol(number: int) -> str:
    return f"{PROTOCOL_NAMES.get(number, 'unknown')} ({number})"


def _ip_options(options: bytes) -> str:
    """`RR 10.0.0.1 10.0.0.2 (7 free)`, `TS 10.0.0.1@36000000 (3 free, overflow 1)`, `LSRR ... | ...`, `RA`."""
    try:
        return ",".join(map(_ip_option, ipv4_options.parse(options))) or "nop"
    except DecodeError as error:
        return f"malformed: {error}"


def _ip_option(option: ipv4_options.Option) -> str:
    if isinstance(option, ipv4_options.RouteOption):
        recorded = " ".join(map(format_ip, option.recorded))
        if option.kind == ipv4_options.RECORD_ROUTE:
            return f"RR {recorded}{' ' if recorded else ''}({len(option.remaining)} free)"
        name = "LSRR" if option.kind == ipv4_options.LOOSE_SOURCE_ROUTE else "SSRR"
        return f"{name} {recorded}{' ' if recorded else ''}| {' '.join(map(format_ip, option.remaining))}".rstrip()
    if isinstance(option, ipv4_options.TimestampOption):
        stamps = "".join(f" {format_ip(who) + '@' if who else ''}{stamp}" for who, stamp in option.recorded)
        overflow = f", overflow {option.overflow}" if option.overflow else ""
        return f"TS{stamps} ({len(option.remaining)} free{overflow})"
    if isinstance(option, ipv4_options.RouterAlertOption):
        return f"RA{f' {option.value}' if option.value else ''}"
    return f"opt-{option.kind} {option.octets[2:].hex()}".rstrip()


def _describe_ethernet(frame: bytes, bases: Bases) -> str:
    try:
        header = ethernet.decode(frame)
    except DecodeError as error:
        return f"{_no_header(frame, error)} {_macs(frame)}".rstrip()
    if header.ethertype == ethernet.ETHERTYPE_ARP:
        return _describe_arp(frame, header)
    if header.ethertype in (ethernet.ETHERTYPE_IPV4, ethernet.ETHERTYPE_IPV6):
        return _describe_ip(frame, header.header_length, bases, header.ethertype)
    return f"ethertype 0x{header.ethertype:04x} len {len(frame) - header.header_length}"


def _no_header(frame: bytes, error: DecodeError) -> str:
    """Why there is no Ethernet II header: an 802.3 frame with a length (spanning tree and the like), or a bad one."""
    if len(frame) >= 14 and (length := frame[12] << 8 | frame[13]) < 0x600:
        return f"802.3 len {length}"
    return f"malformed: {error}"


def _describe_arp(frame: bytes, link: ethernet.EthernetHeader) -> str:
    try:
        packet = arp.decode(frame, link.header_length)
    except DecodeError as error:
        return f"malformed: {error}"
    sender, target = format_ip(packet.sender_ip), format_ip(packet.target_ip)
    broadcast = " (bcast)" if link.dst == BROADCAST_MAC else ""
    if packet.operation == arp.REQUEST:
        # RFC 5227 1.1: a probe asks without a sender address, an announcement asks for the sender's own.
        kind = " probe" if not any(packet.sender_ip) else " announcement" if sender == target else ""
        return f"ARP who-has {target} tell {sender}{broadcast}{kind}"
    if packet.operation == arp.REPLY:
        return f"ARP {sender} is-at {format_mac(packet.sender_mac)}{broadcast}"
    return f"ARP operation {packet.operation} {sender} > {target}{broadcast}"


class _Packet:
    """The IP layer of a packet as the lines need it: where the payload is and the words that follow it."""

    __slots__ = (
        "dst",
        "end",
        "family",
        "fragment",
        "frame",
        "last_fragments",
        "link",
        "protocol",
        "src",
        "start",
        "ttl",
    )

    frame: bytes
    family: int
    src: bytes
    dst: bytes
    protocol: int
    start: int
    end: int
    ttl: str
    """`ttl 64 [tos 0x10] [DF]` or `hlim 64 [class 0x10]`."""
    fragment: str
    """`frag 4242 0+1480+`, or "" for a whole packet."""
    last_fragments: bool
    """A fragment other than the first: no transport header in it."""

    def verdict(self, protocol: int, check: int) -> str:
        """` bad cksum 0x1234` when the sum over pseudo-header and payload is wrong and not just partial."""
        if self.fragment:
            return ""
        length = self.end - self.start
        pseudo = pseudo_header_sum(self.src, self.dst, protocol, length)
        if check == pseudo or fold(ones_sum(self.frame[self.start : self.end]) + pseudo) == 0xFFFF:
            return ""
        return f" bad cksum 0x{check:04x}"

    def addresses(self) -> str:
        return f"{format_ip(self.src)} > {format_ip(self.dst)}"

    def sockets(self, source_port: int, destination_port: int) -> str:
        src, dst = format_ip(self.src), format_ip(self.dst)
        if self.family == 6:
            return f"[{src}]:{source_port} > [{dst}]:{destination_port}"
        return f"{src}:{source_port} > {dst}:{destination_port}"

    def tail(self) -> str:
        """What ends a line of a protocol without ports."""
        return " ".join(filter(None, (self.ttl, self.fragment, self.addresses())))


def _describe_ip(frame: bytes, at: int, bases: Bases, ethertype: int = 0) -> str:
    is6 = ethertype == ethernet.ETHERTYPE_IPV6 or (not ethertype and _version(frame, at) == 6)
    try:
        packet, problem = _read6(frame, at) if is6 else _read4(frame, at)
    except DecodeError as error:
        return f"malformed: {error}"
    try:
        return _describe_transport(packet, bases) + problem
    except DecodeError as error:
        return f"malformed: {error} {packet.tail()}{problem}"


def _read4(frame: bytes, at: int) -> tuple[_Packet, str]:
    header = ipv4.decode(frame, at)
    packet = _Packet()
    packet.frame, packet.family, packet.src, packet.dst = frame, 4, header.src, header.dst
    packet.protocol, packet.start, packet.end = header.protocol, at + header.header_length, at + header.total_length
    packet.ttl = f"ttl {header.ttl}{f' tos 0x{header.tos:x}' if header.tos else ''}"
    if header.dont_fragment:
        packet.ttl += " DF"
    packet.fragment = _fragment4(header) if header.more_fragments or header.fragment_offset else ""
    packet.last_fragments = header.fragment_offset > 0
    ok = ipv4.header_checksum_ok(frame, at, header.header_length)
    return packet, "" if ok else f" bad IP cksum 0x{header.checksum:04x}"


def _fragment4(header: ipv4.Ipv4Header) -> str:
    length = header.total_length - header.header_length
    return f"frag {header.ident} {header.fragment_offset}+{length}{'+' if header.more_fragments else ''}"


def _read6(frame: bytes, at: int) -> tuple[_Packet, str]:
    header = ipv6.decode(frame, at)
    packet = _Packet()
    packet.frame, packet.family, packet.src, packet.dst = frame, 6, header.src, header.dst
    packet.end = at + 40 + header.payload_length
    found = ipv6.skip(frame, at + 40, header.next_header, packet.end)
    packet.protocol, packet.start = found.protocol, found.offset
    packet.ttl = f"hlim {header.hop_limit}{f' class 0x{header.traffic_class:x}' if header.traffic_class else ''}"
    packet.fragment, packet.last_fragments = "", False
    if (fragment := found.fragment) is not None and not fragment.atomic:
        length = packet.end - fragment.position - 8
        packet.fragment = f"frag {fragment.ident} {fragment.offset}+{length}{'+' if fragment.more else ''}"
        packet.last_fragments = fragment.offset > 0
    return packet, ""


def _describe_transport(packet: _Packet, bases: Bases) -> str:
    protocol = packet.protocol
    if packet.last_fragments:
        name = PROTOCOL_NAMES.get(protocol, f"protocol {protocol}")
        return f"{name} {packet.fragment} {packet.ttl} {packet.addresses()}"
    if protocol == icmp6.PROTOCOL and packet.family == 6:
        return _describe_icmp6(packet)
    if protocol == ipv4.PROTO_ICMP and packet.family == 4:
        return _describe_icmp(packet)
    if protocol == tcp.PROTOCOL:
        return _describe_tcp(packet, bases)
    if protocol == udp.PROTOCOL:
        return _describe_udp(packet)
    name = PROTOCOL_NAMES.get(protocol, f"protocol {protocol}")
    return f"{name} len {packet.end - packet.start} {packet.tail()}"


def _describe_tcp(packet: _Packet, bases: Bases) -> str:
    header = tcp.decode(packet.frame, packet.start, packet.end)
    segment = format_segment(header, packet.end - packet.start - header.header_length, bases)
    sockets = packet.sockets(header.source_port, header.destination_port)
    fragment = f" {packet.fragment}" if packet.fragment else ""
    return f"{segment} {sockets}{fragment}{packet.verdict(tcp.PROTOCOL, header.checksum)}"


def _describe_udp(packet: _Packet) -> str:
    # A first fragment holds less than the length says.
    header = udp.decode(packet.frame, packet.start, packet.end) if not packet.fragment else _udp_fragment(packet)
    if not header.checksum:
        verdict = " no cksum"
    else:
        verdict = packet.verdict(udp.PROTOCOL, header.checksum)
    sockets = packet.sockets(header.source_port, header.destination_port)
    words = filter(None, (f"UDP len {header.length - 8}", packet.ttl, packet.fragment, sockets))
    return " ".join(words) + verdict


def _udp_fragment(packet: _Packet) -> udp.UdpHeader:
    first = packet.frame[packet.start : packet.end][:8]
    if len(first) < 8:
        raise DecodeError("UDP header cut short")
    return udp.UdpHeader(*(first[at] << 8 | first[at + 1] for at in (0, 2, 4, 6)))


def _describe_icmp(packet: _Packet) -> str:
    frame, start, end = packet.frame, packet.start, packet.end
    message = icmp.decode(frame, start, end)
    words = [_name(icmp.name(message.type, message.code))]
    if message.type in (icmp.ECHO, icmp.ECHO_REPLY) or icmp.TIMESTAMP <= message.type <= icmp.ADDRESS_MASK_REPLY:
        words.append(f"id {message.ident} seq {message.seq}")
    elif message.type in icmp.ERRORS:
        words += _error_words(message, packet)
    words.append(f"len {end - start} {packet.tail()}")
    if not packet.fragment and not icmp.checksum_ok(frame, start, end):
        words.append(f"bad cksum 0x{message.checksum:04x}")
    return " ".join(words)


def _name(name: str) -> str:
    """A type without a word stands for its protocol."""
    return f"ICMP {name}" if name.startswith("type ") else name


def _error_words(message: icmp.IcmpMessage, packet: _Packet) -> list[str]:
    words = []
    if message.type == icmp.REDIRECT:
        words.append(f"to {format_ip(icmp.gateway(message))}")
    elif message.type == icmp.PARAMETER_PROBLEM and not message.code:
        words.append(str(icmp.pointer(message)))
    elif (message.type, message.code) == (icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED):
        words.append(f"mtu {icmp.next_hop_mtu(message)}")
    words.append(_about(packet.frame, message.body_offset, icmp.quote_end(message, packet.end)))
    return words


def _about(frame: bytes, offset: int, end: int) -> str:
    try:
        return f"({quoted.about(quoted.decode(frame, offset, end))})"
    except DecodeError as error:
        return f"(malformed quote: {error})"


def _describe_icmp6(packet: _Packet) -> str:
    frame, start, end = packet.frame, packet.start, packet.end
    message = icmp6.decode(frame, start, end)
    type_ = message.type
    words = [_name(icmp6.name(type_, message.code))]
    if icmp6.ROUTER_SOLICITATION <= type_ <= icmp6.REDIRECT and not packet.fragment:
        words.append(_discovery(type_, packet))
    else:
        if type_ in (icmp6.ECHO, icmp6.ECHO_REPLY):
            words.append(f"id {message.ident} seq {message.seq}")
        elif type_ <= icmp6.PARAMETER_PROBLEM:
            words += _error6_words(message, packet)
        words.append(f"len {end - start} {packet.tail()}")
    return " ".join(filter(None, words)) + packet.verdict(icmp6.PROTOCOL, message.checksum)


def _error6_words(message: icmp.IcmpMessage, packet: _Packet) -> list[str]:
    words = []
    if message.type == icmp6.PACKET_TOO_BIG:
        words.append(f"mtu {message.word}")
    elif message.type == icmp6.PARAMETER_PROBLEM:
        words.append(str(message.word))
    words.append(_about(packet.frame, message.body_offset, icmp6.quote_end(message, packet.end)))
    return words


def _discovery(type_: int, packet: _Packet) -> str:
    """The columns of NS, NA, RS, RA and Redirect, after their names."""
    frame, start, end = packet.frame, packet.start, packet.end
    to_group = " (mcast)" if packet.dst[0] == 0xFF else ""
    if type_ == icmp6.NEIGHBOR_SOLICITATION:
        asked = icmp6.NeighborSolicitation.decode(frame, start, end)
        probe = " probe" if not any(packet.src) else ""
        return f"who-has {format_ip(asked.target)} tell {format_ip(packet.src)}{to_group}{probe}"
    if type_ == icmp6.NEIGHBOR_ADVERTISEMENT:
        said = icmp6.NeighborAdvertisement.decode(frame, start, end)
        flags = [name for name in ("router", "solicited", "override") if getattr(said, name)]
        mac = format_mac(said.options.target_mac) if said.options.target_mac else "?"
        return f"{format_ip(said.target)} is-at {mac}{to_group} {','.join(flags)}".rstrip()
    if type_ == icmp6.ROUTER_SOLICITATION:
        asking = icmp6.RouterSolicitation.decode(frame, start, end).options.source_mac
        return f"from {format_ip(packet.src)}{f' {format_mac(asking)}' if asking else ''}"
    if type_ == icmp6.ROUTER_ADVERTISEMENT:
        return _router_advertisement(icmp6.RouterAdvertisement.decode(frame, start, end), packet.src)
    better = icmp6.Redirect.decode(frame, start, end)
    mac = f" {format_mac(better.options.target_mac)}" if better.options.target_mac else ""
    return f"{format_ip(better.destination)} to {format_ip(better.target)}{mac} from {format_ip(packet.src)}"


def _router_advertisement(said: icmp6.RouterAdvertisement, src: bytes) -> str:
    words = [f"from {format_ip(src)} lifetime {said.lifetime_s} s hlim {said.hop_limit}"]
    words += [name for name in ("managed", "other") if getattr(said, name)]
    for prefix in said.options.prefixes:
        words.append(f"prefix {format_ip(prefix.address)}/{prefix.prefix_len}")
        flags = [name for name, is_set in (("on-link", prefix.on_link), ("auto", prefix.autonomous)) if is_set]
        words += [f"({','.join(flags)})"] if flags else []
    if said.options.mtu is not None:
        words.append(f"mtu {said.options.mtu}")
    return " ".join(words)
