"""RFC 1122 3.2.2, RFC 1812 4.3.2, RFC 4443 2.4: the requirements ICMP-02, ICMP-03, ICMP-05, ICMP-06, ICMP-12."""

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoRequest,
    ICMPv6ND_Redirect,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pytools.stack.icmp_errors import TokenBucket
from pytools.trace.events import IcmpErrorSent, IcmpErrorSuppressed
from pytools.units import SECOND
from pytools.wire.addr import parse_ip
from tests.stack.story import EVERYBODY

TO_NOBODY = IP(src="10.0.0.2", dst="10.0.0.10", tos=0x28) / UDP(sport=5, dport=9) / bytes(1000)
TO_NOBODY6 = IPv6(src="fd00::2", dst="fd00::10") / UDP(sport=5, dport=9) / bytes(1400)


def known(host, *more, **settings):
    t = host("10.0.0.10/24", "fd00::10/64", *more, **settings)
    t.knows("10.0.0.2", "fd00::2", "fe80::2")
    t.routes("0.0.0.0/0", "10.0.0.2")
    t.routes("::/0", "fd00::2")
    return t


def test_an_error_quotes_what_fits_into_576_octets(host):
    t = known(host)
    t.receives(TO_NOBODY)
    t.expects("UNREACH port (udp 5 to 10.0.0.10:9) len 556 ttl 64 tos 0xc8 10.0.0.10 > 10.0.0.2")
    assert len(t.last[0]) == 14 + 576
    assert t.last[0][14 + 28 :] == bytes(TO_NOBODY)[:548]


def test_an_ipv6_error_quotes_what_fits_into_1280_octets(host):
    t = known(host)
    t.receives(TO_NOBODY6)
    t.expects("UNREACH port (udp 5 to *) len 1240 hlim 64 fd00::10 > fd00::2")
    assert t.last[0][14 + 48 :] == bytes(TO_NOBODY6)[:1232]


def test_a_short_packet_is_quoted_whole_without_its_padding(host):
    t = known(host)
    packet = IP(src="10.0.0.2", dst="10.0.0.10") / UDP(dport=9)
    t.receives(bytes(Ether(src="02:00:00:00:00:02", dst="02:00:00:00:00:0a") / packet) + bytes(18))
    t.expects("UNREACH port *")
    assert t.last[0][14 + 28 :] == bytes(packet)


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (IP(src="10.0.0.2", dst="10.0.0.255") / UDP(dport=9), "not sent to one host"),
        (IP(src="10.0.0.2", dst="255.255.255.255") / UDP(dport=9), "not sent to one host"),
        (IP(src="10.0.0.2", dst="224.0.0.1") / UDP(dport=9), "not sent to one host"),
        (IP(src="10.0.0.2", dst="10.0.0.10", frag=100, proto=200) / bytes(8), None),
        (IPv6(src="fd00::2", dst="ff02::1") / UDP(dport=9), "not sent to one host"),
        (IPv6(src="::", dst="fd00::10") / UDP(dport=9), "source is not one host"),
        (IPv6(src="::", dst="fd00::10", nh=200), "source is not one host"),
        (IPv6(src="fd00::2", dst="fd00::10", nh=58) / IPv6ExtHdrDestOpt(nh=200), None),
    ],
)
def test_a_packet_that_earns_no_error(host, packet, why):
    t = known(host)
    t.listens("icmp")
    t.receives(packet, dst=EVERYBODY if getattr(packet, "dst", "") in ("10.0.0.255", "255.255.255.255") else "")
    t.expects_nothing()
    if why:
        assert [fields[-1] for fields in t.heard(IcmpErrorSuppressed)] == [why]


def router(host):
    """Has an error for every packet that comes through."""
    t = host("10.0.0.10/24", "fd00::10/64", forwarding=True)
    t.knows("10.0.0.2", "fd00::2")
    t.listens("icmp")
    return t


@pytest.mark.parametrize(
    ("packet", "why"),
    [
        (IP(src="10.0.0.2", dst="192.0.2.1") / ICMP(type=3) / bytes(28), "about an ICMP error"),
        (IP(src="10.0.0.2", dst="192.0.2.1") / ICMP(type=5) / bytes(28), "about an ICMP error"),
        (IP(src="10.0.0.2", dst="192.0.2.1", proto=1), "about an ICMP error"),
        (IP(src="10.0.0.2", dst="192.0.2.1", frag=9) / bytes(8), "not the first fragment"),
        (IPv6(src="fd00::2", dst="2001:db8::1") / ICMPv6DestUnreach() / bytes(40), "about an ICMP error"),
        (IPv6(src="fd00::2", dst="2001:db8::1") / ICMPv6ND_Redirect(), "about an ICMP error"),
        (IPv6(src="fd00::2", dst="2001:db8::1", nh=58), "about an ICMP error"),
        (
            IPv6(src="fd00::2", dst="2001:db8::1") / IPv6ExtHdrDestOpt() / ICMPv6DestUnreach() / bytes(40),
            "about an ICMP error",
        ),
    ],
)
def test_no_error_about_an_error_or_a_later_fragment(host, packet, why):
    t = router(host)
    t.receives(packet)
    t.dropped("IP_INNOROUTES")
    t.expects_nothing()
    assert [fields[-1] for fields in t.heard(IcmpErrorSuppressed)] == [why]


def test_an_ipv6_fragment_of_an_unknown_message_may_have_an_error(host):
    t = router(host)
    later = IPv6(src="fd00::2", dst="2001:db8::1") / IPv6ExtHdrFragment(offset=9, nh=58) / bytes(8)
    t.receives(later)
    t.expects("UNREACH no-route *")


def test_an_error_about_an_echo_is_allowed(host):
    t = router(host)
    t.receives(IP(src="10.0.0.2", dst="192.0.2.1") / ICMP(id=5, seq=6))
    t.receives(IPv6(src="fd00::2", dst="2001:db8::1") / ICMPv6EchoRequest(id=5, seq=6))
    t.expects("UNREACH net (echo id 5 seq 6 to 192.0.2.1) *", "UNREACH no-route (echo id 5 seq 6 to 2001:db8::1) *")
    sent = t.heard(IcmpErrorSent)
    assert [fields[:5] for fields in sent] == [
        (4, parse_ip("10.0.0.2"), 3, 0, 0),
        (6, parse_ip("fd00::2"), 1, 0, 0),
    ]


def test_the_pointer_of_a_parameter_problem_is_told_as_a_number(host):
    t = known(host)
    t.listens("icmp")
    t.receives(IPv6(src="fd00::2", dst="fd00::10", nh=200) / bytes(8))
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", options=Raw(b"\x07\x07\x03" + bytes(5))) / ICMP())
    assert [fields[2:5] for fields in t.heard(IcmpErrorSent)] == [(4, 1, 6), (12, 0, 22)]


def test_an_error_to_a_link_local_source_leaves_by_its_link(host):
    t = host("fe80::10/64", "fe80::10/64@1", ports=2)
    t.knows("fe80::2", port=1)
    t.receives(IPv6(src="fe80::2", dst="fe80::10") / UDP(dport=9), port=1)
    t.expects("UNREACH port * fe80::10 > fe80::2", port=1)


def test_without_a_way_back_there_is_no_error(host):
    t = host("10.0.0.10/24")
    t.receives(IP(src="192.0.2.1", dst="10.0.0.10") / UDP(dport=9))
    t.dropped("NO_SOCKET")
    t.expects_nothing()


# --- rate limits ---------------------------------------------------------------------------------------------------


def test_errors_are_limited_by_a_token_bucket(host):
    t = known(host, icmp_error_rate=10, icmp_error_burst=5)
    t.listens("icmp")
    for _ in range(20):
        t.receives(TO_NOBODY)
    t.expects(*["UNREACH port *"] * 5)
    t.advance(0.35)
    for _ in range(20):
        t.receives(TO_NOBODY)
    t.expects(*["UNREACH port *"] * 3)
    assert {fields[-1] for fields in t.heard(IcmpErrorSuppressed)} == {"rate limit"}


def test_each_family_has_its_own_bucket(host):
    t = known(host, icmp_error_rate=10, icmp_error_burst=1)
    for _ in range(3):
        t.receives(TO_NOBODY)
        t.receives(TO_NOBODY6)
    t.expects("UNREACH *", "UNREACH *")


def test_rate_0_is_no_limit(host):
    t = known(host, icmp_error_rate=0)
    for _ in range(500):
        t.receives(TO_NOBODY)
    assert len(t.frames) == 500


def test_a_full_bucket_is_no_fuller_after_a_long_time():
    bucket = TokenBucket()
    taken = [bucket.take(1000 * SECOND, 10, 5) for _ in range(7)]
    assert taken == [True] * 5 + [False] * 2
