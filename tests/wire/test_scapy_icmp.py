"""ICMP and neighbour discovery against scapy on random messages, each way."""

from collections.abc import Callable

from scapy.layers.inet import (
    ICMP,
    IP,
    UDP,
)
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptRedirectedHdr,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPv6,
)
from scapy.packet import Packet

from pytools.wire import icmp, icmp6, ipv4, ipv6
from pytools.wire.addr import format_ip, parse_ip, parse_mac
from pytools.wire.icmp6 import (
    NdOptions,
    NeighborAdvertisement,
    NeighborSolicitation,
    Prefix,
    Redirect,
    RouterAdvertisement,
    RouterSolicitation,
)

from .oracle import Some, computed_by_scapy, layers

# ICMP.


def test_icmp_messages_of_scapy_are_read(some: Some, volume: int) -> None:
    for _ in range(volume):
        quote = IP(src=some.ip4(), dst=some.ip4(), id=some.number(16), ttl=some.number(8)) / UDP(
            sport=some.number(16), dport=some.number(16)
        )
        packet = some.rng.choice(
            (
                ICMP(type=8, id=some.number(16), seq=some.number(16)) / some.octets(60),
                ICMP(type=0, id=some.number(16), seq=some.number(16)) / some.octets(60),
                ICMP(type=3, code=some.rng.randrange(16), nexthopmtu=some.number(16)) / quote,
                ICMP(type=11, code=some.number(1)) / quote,
                ICMP(type=5, code=some.number(2), gw=some.ip4()) / quote,
                ICMP(type=12, ptr=some.number(8)) / quote,
                ICMP(type=13, id=some.number(16), seq=some.number(16)),
            )
        )
        octets = bytes(packet)
        message = icmp.decode(octets)
        assert (message.type, message.code) == (packet.type, packet.code)
        assert icmp.checksum_ok(octets, 0, len(octets))
        if message.type in (0, 8, 13):
            assert (message.ident, message.seq) == (packet.id, packet.seq)
            continue
        assert message.type != 5 or format_ip(icmp.gateway(message)) == packet.gw
        assert message.type != 12 or icmp.pointer(message) == packet.ptr
        assert (message.type, message.code) != (3, 4) or icmp.next_hop_mtu(message) == packet.nexthopmtu
        quoted = icmp.quoted(octets, 8, icmp.quote_end(message, len(octets)))
        assert (format_ip(quoted.src), format_ip(quoted.dst)) == (quote.src, quote.dst)
        assert (quoted.ident, quoted.ttl, quoted.protocol) == (quote.id, quote.ttl, 17)
        assert (quoted.source_port, quoted.destination_port) == (quote[UDP].sport, quote[UDP].dport)


def test_scapy_reads_our_icmp_messages(some: Some, volume: int) -> None:
    for _ in range(volume):
        ident, seq, payload, kind = some.number(16), some.number(16), some.octets(100), some.rng.choice((0, 8))
        echo = icmp.encode_echo(ident, seq, payload, kind)
        packet = ICMP(echo)
        assert (packet.type, packet.code, packet.id, packet.seq) == (kind, 0, ident, seq)
        assert bytes(packet.payload) == payload
        assert computed_by_scapy(packet) == echo
        code, mtu = some.rng.randrange(16), some.number(16)
        original = ipv4.encode(b"\x0a\0\0\1", b"\x0a\0\0\2", 1, len(echo)) + echo
        error = icmp.encode(icmp.UNREACHABLE, code, mtu, original[:28])
        packet = ICMP(error)
        assert (packet.type, packet.code) == (3, code)
        assert code != 4 or packet.nexthopmtu == mtu
        assert computed_by_scapy(packet)[:4] == error[:4]


# ICMPv6 and neighbour discovery.


def under_ipv6(src: str, dst: str, message: bytes) -> Packet:
    return IPv6(ipv6.encode(parse_ip(src), parse_ip(dst), 58, len(message)) + message)


def test_icmpv6_messages_of_scapy_are_read(some: Some, volume: int) -> None:
    for _ in range(volume):
        quote = IPv6(src=some.ip6(), dst=some.ip6(), hlim=some.number(8), fl=some.number(20)) / UDP(
            sport=some.number(16), dport=some.number(16)
        )
        packet = some.rng.choice(
            (
                ICMPv6EchoRequest(id=some.number(16), seq=some.number(16), data=some.octets(60)),
                ICMPv6EchoReply(id=some.number(16), seq=some.number(16), data=some.octets(60)),
                ICMPv6PacketTooBig(mtu=some.number(32)) / quote,
                ICMPv6TimeExceeded(code=some.number(1)) / quote,
            )
        )
        src, dst = some.ip6(), some.ip6()
        octets = bytes(IPv6(src=src, dst=dst) / packet)
        message = icmp6.decode(octets, 40)
        assert icmp6.checksum_ok(octets, 40, len(octets), parse_ip(src), parse_ip(dst))
        assert (message.type, message.code) == (packet.type, packet.code)
        if not icmp6.is_error(message.type):
            assert (message.ident, message.seq) == (packet.id, packet.seq)
            assert octets[message.body_offset :] == packet.data
            continue
        assert message.type != 2 or message.word == packet.mtu
        quoted = icmp6.quoted(octets, 48, len(octets))
        assert (format_ip(quoted.src), format_ip(quoted.dst), quoted.ttl) == (quote.src, quote.dst, quote.hlim)
        assert (quoted.source_port, quoted.destination_port) == (quote[UDP].sport, quote[UDP].dport)


def test_scapy_reads_our_icmpv6_messages(some: Some, volume: int) -> None:
    for _ in range(volume):
        src, dst, ident, seq, payload = some.ip6(), some.ip6(), some.number(16), some.number(16), some.octets(100)
        octets = icmp6.encode_echo(parse_ip(src), parse_ip(dst), ident, seq, payload)
        packet = under_ipv6(src, dst, octets)
        read = packet[ICMPv6EchoRequest]
        assert (read.id, read.seq, read.data) == (ident, seq, payload)
        assert computed_by_scapy(packet)[40:] == octets
        mtu = some.number(32)
        octets = icmp6.encode(parse_ip(src), parse_ip(dst), icmp6.PACKET_TOO_BIG, 0, mtu, payload)
        packet = under_ipv6(src, dst, octets)
        assert packet[ICMPv6PacketTooBig].mtu == mtu
        assert computed_by_scapy(packet)[40:44] == octets[:4]


def scapy_nd_options(some: Some) -> list[Packet]:
    possible = [
        ICMPv6NDOptSrcLLAddr(lladdr=some.mac()),
        ICMPv6NDOptDstLLAddr(lladdr=some.mac()),
        ICMPv6NDOptMTU(mtu=some.number(32)),
        scapy_prefix(some),
        scapy_prefix(some),
        ICMPv6NDOptRedirectedHdr(pkt=IPv6(src=some.ip6(), dst=some.ip6()) / some.rng.randbytes(8)),
    ]
    return some.rng.sample(possible, some.rng.randint(0, len(possible)))


def scapy_prefix(some: Some) -> Packet:
    return ICMPv6NDOptPrefixInfo(
        prefix=some.ip6(),
        prefixlen=some.rng.randint(0, 128),
        L=some.number(1),
        A=some.number(1),
        validlifetime=some.number(32),
        preferredlifetime=some.number(32),
    )


def same_nd_options(ours: NdOptions, theirs: list[Packet]) -> None:
    def only(kind: type[Packet], read: Callable[[Packet], object]) -> object:
        return next((read(option) for option in theirs if type(option) is kind), None)

    assert ours.source_mac == only(ICMPv6NDOptSrcLLAddr, lambda option: parse_mac(option.lladdr))
    assert ours.target_mac == only(ICMPv6NDOptDstLLAddr, lambda option: parse_mac(option.lladdr))
    assert ours.mtu == only(ICMPv6NDOptMTU, lambda option: option.mtu)
    prefixes = [option for option in theirs if isinstance(option, ICMPv6NDOptPrefixInfo)]
    assert [(format_ip(p.address), p.prefix_len, p.on_link, p.autonomous) for p in ours.prefixes] == [
        (p.prefix, p.prefixlen, bool(p.L), bool(p.A)) for p in prefixes
    ]
    assert [(p.valid_s, p.preferred_s) for p in ours.prefixes] == [
        (p.validlifetime, p.preferredlifetime) for p in prefixes
    ]
    redirected = only(ICMPv6NDOptRedirectedHdr, lambda option: bytes(option.pkt))
    assert (ours.redirected is None) == (redirected is None)
    if isinstance(redirected, bytes) and ours.redirected is not None:
        # Ours keeps what pads the option.
        assert ours.redirected.startswith(redirected.rstrip(b"\0"))


def test_discovery_messages_of_scapy_are_read_with_their_options(some: Some, volume: int) -> None:
    for _ in range(volume):
        target, options = some.unicast6(), scapy_nd_options(some)
        flags = {name: some.number(1) for name in "RSO"}
        router = {"chlim": some.number(8), "M": some.number(1), "O": some.number(1), "routerlifetime": some.number(16)}
        timers = {"reachabletime": some.number(32), "retranstimer": some.number(32)}
        packet = some.rng.choice(
            (
                ICMPv6ND_NS(tgt=target),
                ICMPv6ND_NA(tgt=target, **flags),
                ICMPv6ND_RS(),
                ICMPv6ND_RA(**router, **timers),
                ICMPv6ND_Redirect(tgt=target, dst=some.ip6()),
            )
        )
        src, dst = some.ip6(), some.ip6()
        whole = IPv6(src=src, dst=dst) / packet
        for option in options:
            whole /= option
        octets = bytes(whole)
        end = len(octets)
        assert icmp6.checksum_ok(octets, 40, end, parse_ip(src), parse_ip(dst))
        if isinstance(packet, ICMPv6ND_NS):
            asked = NeighborSolicitation.decode(octets, 40, end)
            assert format_ip(asked.target) == target
            same_nd_options(asked.options, options)
        elif isinstance(packet, ICMPv6ND_NA):
            said = NeighborAdvertisement.decode(octets, 40, end)
            assert format_ip(said.target) == target
            assert said.router == flags["R"]
            assert said.solicited == flags["S"]
            assert said.override == flags["O"]
            same_nd_options(said.options, options)
        elif isinstance(packet, ICMPv6ND_RS):
            same_nd_options(RouterSolicitation.decode(octets, 40, end).options, options)
        elif isinstance(packet, ICMPv6ND_RA):
            offered = RouterAdvertisement.decode(octets, 40, end)
            assert offered.hop_limit == router["chlim"]
            assert offered.managed == router["M"]
            assert offered.other == router["O"]
            assert offered.lifetime_s == router["routerlifetime"]
            assert offered.reachable_ms == timers["reachabletime"]
            assert offered.retransmit_ms == timers["retranstimer"]
            same_nd_options(offered.options, options)
        else:
            better = Redirect.decode(octets, 40, end)
            assert (format_ip(better.target), format_ip(better.destination)) == (target, packet.dst)
            same_nd_options(better.options, options)


def our_nd_options(some: Some) -> NdOptions:
    prefixes = tuple(
        Prefix(
            parse_ip(some.ip6()), some.rng.randint(0, 128), some.flag(), some.flag(), some.number(32), some.number(32)
        )
        for _ in range(some.rng.randint(0, 2))
    )
    return NdOptions(
        source_mac=parse_mac(some.mac()) if some.flag() else None,
        target_mac=parse_mac(some.mac()) if some.flag() else None,
        mtu=some.number(32) if some.flag() else None,
        prefixes=prefixes,
        redirected=ipv6.encode(parse_ip(some.ip6()), parse_ip(some.ip6()), 59, 0) if some.flag() else None,
    )


def test_scapy_reads_our_discovery_messages_with_their_options(some: Some, volume: int) -> None:
    for _ in range(volume):
        src, dst, target, other = some.ip6(), some.ip6(), some.unicast6(), some.ip6()
        options = our_nd_options(some)
        said = NeighborAdvertisement(
            parse_ip(target), options, router=some.flag(), solicited=some.flag(), override=some.flag()
        )
        offered = RouterAdvertisement(
            options,
            hop_limit=some.number(8),
            managed=some.flag(),
            other=some.flag(),
            lifetime_s=some.number(16),
            reachable_ms=some.number(32),
            retransmit_ms=some.number(32),
        )
        message = some.rng.choice(
            (
                NeighborSolicitation(parse_ip(target), options),
                said,
                RouterSolicitation(options),
                offered,
                Redirect(parse_ip(target), parse_ip(other), options),
            )
        )
        octets = message.encode(parse_ip(src), parse_ip(dst))
        packet = under_ipv6(src, dst, octets)
        read = packet.payload
        if isinstance(message, (NeighborSolicitation, NeighborAdvertisement, Redirect)):
            assert read.tgt == target
        if isinstance(message, NeighborAdvertisement):
            assert (said.router, said.solicited, said.override) == (read.R, read.S, read.O)
        if isinstance(message, RouterAdvertisement):
            assert (read.chlim, read.M, read.O) == (offered.hop_limit, offered.managed, offered.other)
            assert (read.routerlifetime, read.reachabletime) == (offered.lifetime_s, offered.reachable_ms)
            assert read.retranstimer == offered.retransmit_ms
        if isinstance(message, Redirect):
            assert read.dst == other
        same_nd_options(options, [layer for layer in layers(read) if layer is not read])
        assert computed_by_scapy(packet)[40:44] == octets[:4]
