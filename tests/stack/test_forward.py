"""RFC 1812 5, RFC 4443 3, RFC 8200: what a router among our hosts does."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_RR, defragment
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pytools.engine import CHECKSUM_PARTIAL
from pytools.stack.events import IcmpError
from pytools.trace.events import Fragmented
from pytools.wire import ipv4_options
from pytools.wire.addr import parse_ip
from pytools.wire.checksum import pseudo_header_sum
from pytools.wire.ipv4 import header_checksum_ok
from tests.stack.story import EVERYBODY, OTHER, PEER


def router(host, **settings):
    """10.0.0.1 and fd00::1 on port 0, 10.1.0.1 and fd01::1 on port 1; 10.1.0.2 and fd01::2 are there."""
    t = host("10.0.0.1/24", "10.1.0.1/24@1", "fd00::1/64", "fd01::1/64@1", ports=2, **{"forwarding": True, **settings})
    t.knows("10.0.0.2", "10.0.0.3", "fd00::2")
    t.knows("10.1.0.2", "fd01::2", mac=OTHER, port=1)
    return t


def through4(dst="10.1.0.2", **ip):
    return IP(src="10.0.0.2", dst=dst, **ip)


def through6(dst="fd01::2", **ip):
    return IPv6(src="fd00::2", dst=dst, **ip)


def test_a_packet_goes_on_with_its_ttl_less_one(host):
    t = router(host)
    packet = through4(ttl=64, id=7, flags="DF") / ICMP(id=1, seq=2) / b"data"
    t.receives(packet)
    t.expects("ECHO id 1 seq 2 len 12 ttl 63 DF 10.0.0.2 > 10.1.0.2", port=1)
    expected = packet.copy()
    expected.ttl = 63
    assert t.last[0][14:] == bytes(expected)
    assert t.link_destination() == OTHER


@pytest.mark.parametrize("ident", [0, 1, 0x7FFF, 0xFFFE, 0xFFFF])
@pytest.mark.parametrize("ttl", [2, 128, 255])
def test_the_header_checksum_is_right_again(host, ident, ttl):
    t = router(host)
    t.receives(through4(ttl=ttl, id=ident) / ICMP())
    t.expects("ECHO *")
    assert header_checksum_ok(t.last[0], 14)


def test_an_ipv6_packet_goes_on_with_its_hop_limit_less_one(host):
    t = router(host)
    t.receives(through6(hlim=64, tc=5, fl=77) / ICMPv6EchoRequest(id=1, seq=2))
    t.expects("ECHO id 1 seq 2 len 8 hlim 63 class 0x5 fd00::2 > fd01::2", port=1)
    assert Ether(t.last[0])[IPv6].fl == 77


@pytest.mark.parametrize("ttl", [0, 1])
def test_a_packet_at_its_last_hop_earns_time_exceeded(host, ttl):
    t = router(host)
    t.receives(through4(ttl=ttl) / ICMP(id=1, seq=2))
    t.dropped("IP_TTL")
    t.receives(through6(hlim=ttl) / ICMPv6EchoRequest(id=1, seq=2))
    t.dropped("IP_TTL")
    t.expects(
        "TIME-EXCEEDED ttl (echo id 1 seq 2 to 10.1.0.2) * 10.0.0.1 > 10.0.0.2",
        "TIME-EXCEEDED hop-limit (echo id 1 seq 2 to fd01::2) * fd00::1 > fd00::2",
        port=0,
    )


@pytest.mark.parametrize(
    ("kind", "reason", "four", "six"),
    [
        (None, "IP_INNOROUTES", "net", "no-route"),
        ("unreachable", "IP_INNOROUTES", "host", "no-route"),
        ("prohibit", "IP_INNOROUTES", "filtered", "prohibited"),
        ("blackhole", "ROUTER_BLACKHOLE", None, None),
    ],
)
def test_without_a_way_the_source_is_told_why(host, kind, reason, four, six):
    t = router(host)
    if kind:
        t.routes("192.0.2.0/24", kind=kind)
        t.routes("2001:db8::/32", kind=kind)
    t.receives(through4("192.0.2.1") / ICMP(id=1, seq=2))
    t.dropped(reason)
    t.expects(*[f"UNREACH {four} (echo id 1 seq 2 to 192.0.2.1) * 10.0.0.1 > 10.0.0.2"] if four else [])
    t.receives(through6("2001:db8::1") / ICMPv6EchoRequest(id=1, seq=2))
    t.dropped(reason)
    t.expects(*[f"UNREACH {six} (echo id 1 seq 2 to 2001:db8::1) * fd00::1 > fd00::2"] if six else [])


def test_a_dead_host_is_told_after_three_questions(host):
    t = router(host)
    t.receives(through4("10.1.0.99", tos=8) / ICMP(id=1, seq=2))
    t.receives(through6("fd01::99") / ICMPv6EchoRequest(id=1, seq=2))
    t.expects("ARP who-has 10.1.0.99 *", "NS who-has fd01::99 *", port=1)
    t.advance(3)
    t.expects(
        *["ARP who-has *", "NS who-has *"] * 2,
        "UNREACH host (echo id 1 seq 2 to 10.1.0.99) len 36 ttl 64 tos 0xc8 10.0.0.1 > 10.0.0.2",
        "UNREACH address (echo id 1 seq 2 to fd01::99) * fd00::1 > fd00::2",
    )
    assert t.events() == []


def test_a_packet_too_large_is_cut(host):
    t = router(host)
    t.listens("ip")
    t.stack._node.interfaces[1].mtu = 600
    payload = bytes(n & 0xFF for n in range(1400))
    t.receives(through4(id=7, options=ipv4_options.router_alert()) / UDP(sport=1, dport=2) / payload)
    packets = [Ether(frame)[IP] for _, frame in t.frames]
    t.expects("UDP *", "UDP frag *", "UDP frag *", port=1)
    assert all(len(p) <= 600 and p.ttl == 63 and p.id == 7 for p in packets)
    (whole,) = defragment(packets)
    assert bytes(IP(bytes(whole))[UDP].payload) == payload
    assert t.heard(Fragmented) == [(parse_ip("10.1.0.2"), 1432, 3, 600)]
    assert not t.drops


def test_a_fragment_is_cut_again(host):
    t = router(host)
    t.stack._node.interfaces[1].mtu = 600
    t.receives(through4(id=7, frag=100, flags="MF", proto=17) / Raw(bytes(1000)))
    t.expects("UDP frag 7 800+576+ *", "UDP frag 7 1376+424+ *")


def test_with_dont_fragment_the_source_learns_the_mtu(host):
    t = router(host)
    t.stack._node.interfaces[1].mtu = 600
    t.receives(through4(flags="DF") / ICMP(id=1, seq=2) / bytes(1000))
    t.dropped("PKT_TOO_BIG")
    t.expects("UNREACH frag-needed mtu 600 (echo id 1 seq 2 to 10.1.0.2) * 10.0.0.1 > 10.0.0.2", port=0)


def test_an_ipv6_packet_too_large_is_never_cut(host):
    t = router(host)
    t.stack._node.interfaces[1].mtu6 = 1300
    t.receives(through6() / ICMPv6EchoRequest(id=1, seq=2, data=bytes(1400)))
    t.dropped("PKT_TOO_BIG")
    t.expects("TOO-BIG mtu 1300 (echo id 1 seq 2 to fd01::2) * fd00::1 > fd00::2", port=0)


@pytest.mark.parametrize(
    ("packet", "link"),
    [
        (IP(src="127.0.0.1", dst="10.1.0.2") / ICMP(), ""),
        (IP(src="169.254.1.1", dst="10.1.0.2") / ICMP(), ""),
        (IP(src="10.0.0.2", dst="169.254.1.1") / ICMP(), ""),
        (IP(src="10.0.0.2", dst="127.0.0.1") / ICMP(), ""),
        (IP(src="10.0.0.2", dst="10.1.0.255") / ICMP(), ""),
        (IP(src="10.0.0.2", dst="10.1.0.2") / ICMP(), EVERYBODY),
        (IPv6(src="fd00::2", dst="fe80::9") / ICMPv6EchoRequest(), ""),
        (IPv6(src="::", dst="fd01::2") / ICMPv6EchoRequest(), ""),
        (IPv6(src="fd00::2", dst="::1") / ICMPv6EchoRequest(), ""),
    ],
)
def test_what_no_router_sends_on(host, packet, link):
    t = router(host)
    t.receives(packet, dst=link)
    assert sum(t.drops.values()) == 1
    assert set(t.drops) <= {"IP_INADDRERRORS", "IP_INVALID_SOURCE", "UNICAST_IN_L2_MULTICAST"}
    t.expects_nothing()


def test_a_link_local_source_goes_no_further_and_is_told(host):
    t = router(host)
    t.knows("fe80::2")
    t.routes("fe80::/64")
    t.receives(IPv6(src="fe80::2", dst="fd01::2") / ICMPv6EchoRequest(id=1, seq=2))
    t.dropped("IP_INADDRERRORS")
    t.expects("UNREACH beyond-scope (echo id 1 seq 2 to fd01::2) *")


def test_a_router_answers_for_all_its_addresses(host):
    t = router(host)
    t.receives(through4("10.1.0.1") / ICMP(id=1, seq=2))
    t.receives(through6("fd01::1") / ICMPv6EchoRequest(id=1, seq=2))
    t.expects("REPLY * 10.1.0.1 > 10.0.0.2", "REPLY * fd01::1 > fd00::2", port=0)


def test_a_host_sends_nothing_on(host):
    t = router(host, forwarding=False)
    t.receives(through4() / ICMP())
    t.dropped("IP_INADDRERRORS")
    t.expects_nothing()


# --- options on the way --------------------------------------------------------------------------------------------


def test_a_hop_enters_itself_in_record_route_and_timestamp(host):
    t = router(host, epoch_ns=86_400_000_000_000 * 19_000)
    t.advance(2)
    both = ipv4_options.record_route(2) + ipv4_options.timestamp(ipv4_options.TS_AND_ADDRESS, 2) + b"\0"
    t.receives(through4(options=Raw(both)) / ICMP())
    t.expects("ECHO *")
    packet = t.last[0][14:]
    route, stamp = ipv4_options.parse(packet[20 : (packet[0] & 15) * 4])
    assert route.recorded == [parse_ip("10.1.0.1")]
    assert stamp.recorded == [(parse_ip("10.1.0.1"), 2000)]
    assert header_checksum_ok(packet, 0, (packet[0] & 15) * 4)


@pytest.mark.parametrize(("octets", "pointer"), [(b"\x44\x08\x09\xf0" + bytes(4), 23), (b"\x07\x01\0\0", 20)])
def test_an_option_that_no_hop_can_mark_earns_a_parameter_problem(host, octets, pointer):
    t = router(host)
    t.receives(through4(options=Raw(octets)) / ICMP())
    t.dropped("IP_OPTION")
    t.expects(f"PARAM-PROBLEM pointer {pointer} (*")


def test_a_hop_of_a_source_route_sends_it_on(host):
    t = router(host, accept_source_route=True)
    route = IPOption_LSRR(routers=["10.1.0.2"], pointer=4)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.1", options=[route]) / ICMP(id=1, seq=2))
    t.expects("ECHO id 1 seq 2 len 8 ttl 63 10.0.0.2 > 10.1.0.2", port=1)
    packet = t.last[0][14:]
    (option,) = ipv4_options.parse(packet[20 : (packet[0] & 15) * 4])
    assert option.recorded == [parse_ip("10.0.0.1")]
    assert header_checksum_ok(packet, 0, (packet[0] & 15) * 4)


def test_a_source_route_through_a_router_that_refuses_it(host):
    t = router(host)
    route = IPOption_LSRR(routers=["10.1.0.2"], pointer=4)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.1", options=[route]) / ICMP())
    t.dropped("IP_SOURCE_ROUTE")
    t.expects_nothing()


# --- redirects that we send ----------------------------------------------------------------------------------------


def test_a_source_that_could_go_straight_there_is_redirected(host):
    t = router(host, send_redirects=True)
    t.routes("192.0.2.0/24", "10.0.0.3")
    t.receives(through4("192.0.2.1") / ICMP(id=1, seq=2))
    t.expects(
        "REDIRECT host to 10.0.0.3 (echo id 1 seq 2 to 192.0.2.1) * 10.0.0.1 > 10.0.0.2",
        "ECHO * ttl 63 10.0.0.2 > 192.0.2.1",
        port=0,
    )


def test_an_ipv6_source_that_could_go_straight_there_is_redirected(host):
    t = router(host, send_redirects=True)
    t.has("fe80::1/64")
    t.knows("fe80::3", mac=OTHER)
    t.routes("2001:db8::/32", "fe80::3")
    t.receives(through6("2001:db8::1") / ICMPv6EchoRequest(id=1, seq=2))
    t.expects(f"REDIRECT 2001:db8::1 to fe80::3 {OTHER} from fe80::1", "ECHO * hlim 63 fd00::2 > 2001:db8::1", port=0)
    t.receives(through6("fd00::2") / ICMPv6EchoRequest(id=1, seq=2), src=OTHER)
    assert Ether(t.frames[0][1])[IPv6].hlim == 255


def test_no_redirect_unless_asked_or_for_a_source_elsewhere(host):
    t = router(host)
    t.routes("192.0.2.0/24", "10.0.0.3")
    t.receives(through4("192.0.2.1") / ICMP())
    t.expects("ECHO *")
    t = router(host, send_redirects=True)
    t.routes("192.0.2.0/24", "10.0.0.3")
    t.routes("198.51.100.0/24", "10.0.0.2")
    t.receives(IP(src="198.51.100.1", dst="192.0.2.1") / ICMP())
    t.expects("ECHO *")


def test_a_host_takes_the_redirect_of_our_router(host):
    r = router(host, send_redirects=True)
    r.routes("192.0.2.0/24", "10.0.0.3")
    h = host("10.0.0.2/24")
    h.routes("0.0.0.0/0", "10.0.0.1")
    h.knows("10.0.0.1", "10.0.0.3")
    h.ping("192.0.2.1")
    r.receives(IP(h.frames.pop()[1][14:]))
    h.receives(IP(r.frames[0][1][14:]))
    (event,) = h.events(IcmpError)
    assert event.gateway == parse_ip("10.0.0.3")
    h.knows("10.0.0.3", mac=OTHER)
    h.ping("192.0.2.1")
    h.expects("ECHO *")
    assert (h.link_destination(), PEER) == (OTHER, "02:00:00:00:00:02")


def test_record_route_across_a_router_and_back(host):
    r = router(host)
    t = host("10.1.0.2/24")
    t.routes("0.0.0.0/0", "10.1.0.1")
    t.knows("10.1.0.1")
    r.receives(through4(options=[IPOption_RR(length=3 + 28, routers=["0.0.0.0"] * 7)]) / ICMP(id=1))
    t.receives(IP(r.frames.pop()[1][14:]))
    r.receives(IP(t.frames.pop()[1][14:]), port=1)
    packet = r.frames.pop()[1][14:]
    (option,) = ipv4_options.parse(packet[20 : (packet[0] & 15) * 4])
    hops = ["10.1.0.1", "10.1.0.2", "10.1.0.2", "10.0.0.1"]
    assert option.recorded == [parse_ip(hop) for hop in hops]


# --- what a local sender left to its device --------------------------------------------------------------------------


def segment(size, family=4):
    """A TCP segment; scapy finishes its checksum."""
    ip = through4(id=7) if family == 4 else through6()
    return ip / TCP(sport=1, dport=2, seq=1000, flags="PA") / bytes(n & 0xFF for n in range(size))


def partial(layer):
    """The packet with the pseudo-header sum in place of its checksum."""
    data = bytearray(bytes(layer))
    at = 20 if data[0] >> 4 == 4 else 40
    src, dst = (data[12:16], data[16:20]) if at == 20 else (data[8:24], data[24:40])
    data[at + 16 : at + 18] = pseudo_header_sum(bytes(src), bytes(dst), 6, len(data) - at).to_bytes(2, "big")
    return Ether(src=PEER, dst="02:00:00:00:00:0a", type=0x0800 if at == 20 else 0x86DD) / Raw(bytes(data))


@pytest.mark.parametrize("family", [4, 6])
def test_a_partial_checksum_is_completed(host, family):
    t = router(host)
    t.receives(partial(segment(100, family)), checksum=CHECKSUM_PARTIAL)
    t.expects("P. 1000:1100(100) *", port=1)
    sent = Ether(t.last[0])[IP if family == 4 else IPv6]
    whole = segment(100, family)
    assert sent[TCP].chksum == whole.__class__(bytes(whole))[TCP].chksum


@pytest.mark.parametrize("family", [4, 6])
def test_a_super_segment_is_cut(host, family):
    t = router(host)
    t.receives(partial(segment(3000, family)), checksum=CHECKSUM_PARTIAL, gso_size=1400)
    t.expects(". 1000:2400(1400) *", ". 2400:3800(1400) *", "P. 3800:4000(200) *", port=1)
    for frame in t.last:
        packet = Ether(frame)[IP if family == 4 else IPv6]
        check = packet[TCP].chksum
        del packet[TCP].chksum
        assert packet.__class__(bytes(packet))[TCP].chksum == check


def test_what_claims_to_be_a_super_segment_and_is_none(host):
    t = router(host)
    t.receives(through4() / UDP() / bytes(100), gso_size=50)
    t.dropped("PKT_TOO_BIG")
