"""Ethernet, ARP and IP against scapy on random packets: what it builds we read, what we build it reads and sums."""

import itertools

from scapy.layers.inet import (
    IP,
    UDP,
    IPOption_EOL,
    IPOption_LSRR,
    IPOption_NOP,
    IPOption_Router_Alert,
    IPOption_RR,
    IPOption_SSRR,
)
from scapy.layers.inet6 import (
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    RouterAlert,
)
from scapy.layers.ipsec import AH
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from pytools.wire import arp, ethernet, ipv4, ipv4_options, ipv6
from pytools.wire.addr import format_ip, format_mac, parse_ip, parse_mac

from .oracle import Some, computed_by_scapy, layers

# Ethernet and ARP.


def test_ethernet_frames_of_scapy_are_read(some: Some, volume: int) -> None:
    for _ in range(volume):
        tags = [(some.number(3), some.number(1), some.number(12)) for _ in range(some.rng.choice((0, 0, 1, 2, 3)))]
        packet = Ether(dst=some.mac(), src=some.mac())
        for depth, (priority, dei, vlan) in enumerate(tags):
            packet /= (Dot1Q if depth == len(tags) - 1 else Dot1AD)(prio=priority, dei=dei, vlan=vlan)
        packet.lastlayer().type = 0x0600 + some.rng.randrange(0x1000)
        octets = bytes(packet / b"payload")
        header = ethernet.decode(octets)
        assert (format_mac(header.dst), format_mac(header.src)) == (packet.dst, packet.src)
        assert header.vlans == tuple(priority << 13 | dei << 12 | vlan for priority, dei, vlan in tags)
        assert header.ethertype == packet.lastlayer().type
        assert octets[header.header_length :] == b"payload"


def test_scapy_reads_our_ethernet_frames(some: Some, volume: int) -> None:
    for _ in range(volume):
        vlans = tuple(some.number(16) for _ in range(some.rng.choice((0, 0, 1, 2))))
        dst, src = some.mac(), some.mac()
        packet = Ether(ethernet.encode(parse_mac(dst), parse_mac(src), 0x88B5, vlans))
        assert (packet.dst, packet.src) == (dst, src)
        read = [layer for layer in layers(packet) if isinstance(layer, (Dot1Q, Dot1AD))]
        assert tuple(tag.prio << 13 | tag.dei << 12 | tag.vlan for tag in read) == vlans
        assert [type(tag) for tag in read] == [Dot1AD, Dot1Q][2 - len(vlans) :]
        assert packet.lastlayer().type == 0x88B5


def test_arp_packets_of_scapy_are_read(some: Some, volume: int) -> None:
    for _ in range(volume):
        packet = ARP(op=some.number(16), hwsrc=some.mac(), psrc=some.ip4(), hwdst=some.mac(), pdst=some.ip4())
        read = arp.decode(bytes(packet) + some.octets(18))
        assert (read.operation, format_mac(read.sender_mac), format_ip(read.sender_ip)) == (
            packet.op,
            packet.hwsrc,
            packet.psrc,
        )
        assert (format_mac(read.target_mac), format_ip(read.target_ip)) == (packet.hwdst, packet.pdst)


def test_scapy_reads_our_arp_packets(some: Some, volume: int) -> None:
    for _ in range(volume):
        operation, sender, sender_ip, target, target_ip = (
            some.number(16),
            some.mac(),
            some.ip4(),
            some.mac(),
            some.ip4(),
        )
        octets = arp.encode(operation, parse_mac(sender), parse_ip(sender_ip), parse_mac(target), parse_ip(target_ip))
        packet = ARP(octets)
        assert (packet.hwtype, packet.ptype, packet.hwlen, packet.plen) == (1, 0x0800, 6, 4)
        assert (packet.op, packet.hwsrc, packet.psrc) == (operation, sender, sender_ip)
        assert (packet.hwdst, packet.pdst) == (target, target_ip)


# IPv4.


def some_ipv4_fields(some: Some) -> dict[str, int]:
    return {
        "tos": some.number(8),
        "ident": some.number(16),
        "ttl": some.number(8),
        "fragment_offset": some.number(13) * 8,
    }


def scapy_options(some: Some) -> list[Packet]:
    """Options that scapy has classes for, of 36 octets at most."""
    routers = [some.ip4() for _ in range(some.rng.randint(1, 6))]
    pointer = 4 + 4 * some.rng.randint(0, len(routers))
    route = some.rng.choice((IPOption_RR, IPOption_LSRR, IPOption_SSRR))(routers=routers, pointer=pointer)
    choices = [route, IPOption_Router_Alert(alert=some.number(16)), IPOption_NOP()]
    return some.rng.sample(choices, some.rng.randint(0, 3))


def same_options(read: list[ipv4_options.Option], built: list[Packet]) -> None:
    built = [option for option in built if not isinstance(option, (IPOption_NOP, IPOption_EOL))]
    assert len(read) == len(built)
    for ours, theirs in zip(read, built, strict=True):
        assert ours.octets[0] == theirs.copy_flag << 7 | theirs.optclass << 5 | theirs.option
        if isinstance(ours, ipv4_options.RouteOption):
            assert [format_ip(address) for address in ours.recorded + ours.remaining] == theirs.routers
            assert 4 + 4 * len(ours.recorded) == theirs.pointer
        else:
            assert isinstance(ours, ipv4_options.RouterAlertOption)
            assert ours.value == theirs.alert


def test_ipv4_packets_of_scapy_are_read_with_their_options(some: Some, volume: int) -> None:
    for _ in range(volume):
        fields, payload, options = some_ipv4_fields(some), some.octets(40), scapy_options(some)
        packet = IP(
            src=some.ip4(),
            dst=some.ip4(),
            tos=fields["tos"],
            id=fields["ident"],
            ttl=fields["ttl"],
            frag=fields["fragment_offset"] // 8,
            flags=some.number(2),
            proto=253,
            options=options,
        )
        octets = bytes(packet / payload)
        header = ipv4.decode(octets + some.octets(9))
        assert {name: getattr(header, name) for name in fields} == fields
        assert (format_ip(header.src), format_ip(header.dst), header.protocol) == (packet.src, packet.dst, 253)
        assert (header.dont_fragment, header.more_fragments) == (bool(packet.flags & 2), bool(packet.flags & 1))
        assert octets[header.header_length : header.total_length] == payload
        assert ipv4.header_checksum_ok(octets, 0, header.header_length)
        assert header.checksum == IP(octets).chksum
        same_options(ipv4_options.parse(header.options), options)


def our_options(some: Some) -> bytes:
    hops = [parse_ip(some.ip4()) for _ in range(some.rng.randint(1, 6))]
    route = ipv4_options.record_route(some.rng.randint(1, 6))
    for hop in hops:
        route = ipv4_options.record(route, hop, 0)
    choices = [
        some.rng.choice((route, ipv4_options.source_route(hops, strict=some.flag()))),
        ipv4_options.router_alert(some.number(16)),
        b"\1",
    ]
    return b"".join(some.rng.sample(choices, some.rng.randint(0, 3)))


def test_scapy_reads_our_ipv4_packets_with_their_options(some: Some, volume: int) -> None:
    for _ in range(volume):
        fields, payload, options = some_ipv4_fields(some), some.octets(40), our_options(some)
        src, dst, df, mf = some.ip4(), some.ip4(), some.flag(), some.flag()
        octets = (
            ipv4.encode(
                parse_ip(src),
                parse_ip(dst),
                253,
                len(payload),
                dont_fragment=df,
                more_fragments=mf,
                options=options,
                **fields,  # type: ignore[arg-type]
            )
            + payload
        )
        packet = IP(octets)
        assert (packet.src, packet.dst, packet.proto) == (src, dst, 253)
        assert (packet.tos, packet.id, packet.ttl) == (fields["tos"], fields["ident"], fields["ttl"])
        assert (packet.frag * 8, packet.flags) == (fields["fragment_offset"], df << 1 | mf)
        assert (packet.len, bytes(packet.payload)) == (len(octets), payload)
        assert computed_by_scapy(packet) == octets
        same_options(ipv4_options.parse(options), packet.options)


# IPv6 and its extension headers.


def scapy_chain(some: Some) -> tuple[Packet, list[type[Packet]]]:
    """Extension headers in a legal order."""
    address = some.ip6()
    possible: list[Packet] = [
        IPv6ExtHdrHopByHop(options=[RouterAlert(value=some.number(16)), PadN(optdata=bytes(some.rng.randint(0, 9)))]),
        IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(some.rng.randint(0, 20)))]),
        IPv6ExtHdrRouting(segleft=0, addresses=[address] * some.rng.randint(0, 3)),
        IPv6ExtHdrFragment(id=some.number(32), offset=0, m=0),
        # 12 + 12 octets, in words of 4 less 2. Scapy doesn't set what comes next.
        AH(nh=17, payloadlen=4, spi=some.number(32), seq=some.number(32), icv=bytes(12)),
    ]
    chosen = [header for header in possible if some.flag()]
    for header, after in itertools.pairwise(chosen):
        if isinstance(after, AH):
            header.nh = ipv6.PROTO_AH
    chain: Packet = Raw(b"")
    for header in chosen:
        chain = header if isinstance(chain, Raw) else chain / header
    return chain, [type(header) for header in chosen]


def test_ipv6_packets_of_scapy_are_read_with_their_extensions(some: Some, volume: int) -> None:
    for _ in range(volume):
        chain, kinds = scapy_chain(some)
        packet = IPv6(src=some.ip6(), dst=some.ip6(), tc=some.number(8), fl=some.number(20), hlim=some.number(8))
        if kinds == [AH]:
            packet.nh = ipv6.PROTO_AH
        whole = packet / chain / UDP(sport=1, dport=2) if kinds else packet / UDP(sport=1, dport=2)
        octets = bytes(whole / some.octets(30))
        read = IPv6(octets)
        header = ipv6.decode(octets + some.octets(5))
        assert (format_ip(header.src), format_ip(header.dst)) == (packet.src, packet.dst)
        assert (header.traffic_class, header.flow_label, header.hop_limit) == (packet.tc, packet.fl, packet.hlim)
        assert (header.payload_length, header.next_header) == (read.plen, read.nh)
        found = ipv6.walk(octets, 40, header.next_header, len(octets))
        assert found.protocol == 17
        assert octets[found.offset : found.offset + 4] == b"\0\1\0\2"
        assert (found.discard, found.has_ah) == (False, AH in kinds)
        if IPv6ExtHdrHopByHop in kinds:
            assert found.router_alert == whole[IPv6ExtHdrHopByHop].options[0].value
        assert (found.fragment is not None) == (IPv6ExtHdrFragment in kinds)
        skipped = ipv6.skip(octets, 40, header.next_header, len(octets))
        assert (skipped.protocol, skipped.offset) == (found.protocol, found.offset)


def test_scapy_reads_our_ipv6_packets_and_fragments(some: Some, volume: int) -> None:
    for _ in range(volume):
        src, dst, payload = some.ip6(), some.ip6(), some.octets(40)
        traffic_class, flow_label, hop_limit = some.number(8), some.number(20), some.number(8)
        offset, more, ident = 8 * some.number(13), some.flag(), some.number(32)
        fragment = ipv6.encode_fragment(253, offset, more, ident) + payload
        octets = (
            ipv6.encode(
                parse_ip(src),
                parse_ip(dst),
                ipv6.PROTO_FRAGMENT,
                len(fragment),
                traffic_class=traffic_class,
                flow_label=flow_label,
                hop_limit=hop_limit,
            )
            + fragment
        )
        packet = IPv6(octets)
        assert (packet.src, packet.dst, packet.version) == (src, dst, 6)
        assert (packet.tc, packet.fl, packet.hlim, packet.plen) == (traffic_class, flow_label, hop_limit, len(fragment))
        read = packet[IPv6ExtHdrFragment]
        assert (read.nh, read.offset * 8, read.m, read.id) == (253, offset, more, ident)
        assert computed_by_scapy(packet) == octets


def test_fragments_of_scapy_end_the_walk(some: Some, volume: int) -> None:
    for _ in range(volume):
        fragment = IPv6ExtHdrFragment(nh=253, offset=some.rng.randint(1, 8191), m=some.number(1), id=some.number(32))
        octets = bytes(IPv6(src=some.ip6(), dst=some.ip6()) / fragment / some.octets(30))
        found = ipv6.walk(octets, 40, 44, len(octets))
        assert found.fragment is not None
        assert (found.fragment.offset, found.fragment.more) == (fragment.offset * 8, bool(fragment.m))
        assert (found.fragment.ident, found.protocol, found.offset) == (fragment.id, 253, 48)
