"""The quick way of echo requests gives what the slow one gives."""

import errno
import itertools
from random import Random

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether

from pytools.engine import RAW_IP
from pytools.stack.packet import IpOptions
from pytools.wire import ipv4_options
from pytools.wire.addr import parse_ip
from tests.stack.story import ME, OTHER, PEER, advertisement, arp_reply

NEAR, NEAR6 = parse_ip("10.0.0.2"), parse_ip("fd00::2")


def known(host, **settings):
    t = host("10.0.0.10/24", "fd00::10/64", **settings)
    t.knows("10.0.0.2", "fd00::2")
    return t


def templates(t):
    return t.stack._echo._templates


def warm(t, dst, **options):
    """Send twice, so that the next goes the quick way."""
    given = IpOptions(**options) if options else None
    for _ in range(2):
        assert t.stack.send_echo(parse_ip(dst), 77, 0, b"12345678", t.now, given) == 0
    assert parse_ip(dst) in templates(t)
    t._collect()
    t.frames.clear()
    return given


@pytest.mark.parametrize("options", [{}, {"ttl": 9, "tos": 0x28}, {"df": "do"}, {"df": "probe"}])
def test_every_packet_agrees_with_scapy(host, options):
    t, rng = known(host), Random(3)
    given = IpOptions(**options)
    ttl, tos = options.get("ttl", 64), options.get("tos", 0)
    for length in (0, 1, 56, 57, 1452):
        for _ in range(20):
            ident, seq = rng.choice((0, 0xFFFF, rng.getrandbits(16))), rng.choice((0, 0xFFFF, rng.getrandbits(16)))
            data = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
            t.stack.send_echo(NEAR, ident, seq, data, t.now, given)
            t.stack.send_echo(NEAR6, ident, seq, data, t.now, given)
            t._collect()
            four, six = (frame for _, frame in t.frames)
            t.frames.clear()
            link = Ether(src=ME, dst=PEER)
            ip = IP(src="10.0.0.10", dst="10.0.0.2", id=Ether(four)[IP].id, flags="DF", ttl=ttl, tos=tos)
            assert four == bytes(link / ip / ICMP(id=ident, seq=seq) / data)
            ip6 = IPv6(src="fd00::10", dst="fd00::2", hlim=ttl, tc=tos)
            assert six == bytes(link / ip6 / ICMPv6EchoRequest(id=ident, seq=seq, data=data))


def test_identifications_count_up(host):
    t = known(host)
    for seq in range(5):
        t.ping("10.0.0.2", seq)
    idents = [Ether(frame)[IP].id for _, frame in t.frames]
    assert len(set(idents[1:])) == 4
    assert [b - a & 0xFFFF for a, b in itertools.pairwise(idents[2:])] == [1, 1]


def test_tokens_come_along(host):
    t = known(host)
    tokens = []
    for seq in range(4):
        t.stack.send_echo(NEAR, 77, seq, b"", t.now, None, seq)
        tokens.append(t.stack.poll_transmit(t.now).token)
    assert tokens == [0, 1, 2, 3]


def test_the_payload_is_not_copied(host):
    t = known(host)
    payload = bytes(1000)
    for seq in range(4):
        t.stack.send_echo(NEAR, 77, seq, payload, t.now)
        frame = t.stack.poll_transmit(t.now)
        assert any(part is payload for part in frame.parts)


@pytest.mark.parametrize("dst", ["10.0.0.2", "fd00::2"])
def test_other_options_and_lengths_are_not_mixed_up(host, dst):
    t = known(host)
    warm(t, dst)
    t.ping(dst, 1, b"12345678", ttl=9)
    t.ping(dst, 2, b"1234")
    t.ping(dst, 3, b"12345678")
    ttl = "ttl" if "." in dst else "hlim"
    t.expects(f"ECHO * len 16 {ttl} 9 *", f"ECHO * len 12 {ttl} 64 *", f"ECHO * len 16 {ttl} 64 *")


@pytest.mark.parametrize(("dst", "answer"), [("10.0.0.3", arp_reply), ("fd00::3", advertisement)])
def test_a_change_of_the_link_address_is_seen_at_once(host, dst, answer):
    t = known(host)
    t.ping(dst)
    t.receives(answer(dst))
    warm(t, dst)
    t.receives(answer(dst, mac=OTHER))
    t.ping(dst)
    t.expects("ECHO *")
    assert t.link_destination() == OTHER


def test_a_neighbor_out_of_date_is_looked_at_again(host):
    t = known(host)
    t.ping("10.0.0.3")
    t.receives(arp_reply("10.0.0.3"))
    warm(t, "10.0.0.3")
    t.advance(46)
    t.ping("10.0.0.3")
    t.expects("ECHO *")
    t.advance(5)
    t.expects("ARP who-has 10.0.0.3 tell 10.0.0.10")


def test_an_address_taken_away_is_not_used(host):
    t = known(host)
    t.has("10.0.0.11/24")
    warm(t, "10.0.0.2", src=parse_ip("10.0.0.11"))
    t.stack.remove_address(0, parse_ip("10.0.0.11"))
    assert t.ping("10.0.0.2", src=parse_ip("10.0.0.11")) == errno.EADDRNOTAVAIL


def test_a_lower_path_mtu_is_seen_at_once(host):
    t = known(host)
    t.routes("192.0.2.0/24", "10.0.0.2")
    for _ in range(3):
        t.ping("192.0.2.1", payload=bytes(1472))
    t.expects(*["ECHO * len 1480 *"] * 3)
    quote = IP(src="10.0.0.10", dst="192.0.2.1", len=1500) / ICMP(id=77)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(type=3, code=4, nexthopmtu=1400) / quote)
    t.ping("192.0.2.1", payload=bytes(1472))
    t.expects("ECHO * frag *", "ICMP frag *")


@pytest.mark.parametrize(
    ("dst", "options", "length"),
    [
        ("10.0.0.2", {"df": "dont"}, 8),
        ("10.0.0.2", {"options": ipv4_options.record_route()}, 8),
        ("10.0.0.2", {}, 2000),
        ("fd00::2", {}, 2000),
        ("10.0.0.255", {"broadcast": True}, 8),
        ("224.1.2.3", {}, 8),
        ("10.0.0.10", {}, 8),
    ],
)
def test_what_has_no_quick_way(host, dst, options, length):
    t = known(host)
    given = IpOptions(**options)
    for seq in range(4):
        t.stack.send_echo(parse_ip(dst), 77, seq, bytes(length), t.now, given)
    assert not templates(t)


def test_a_sweep_keeps_no_template(host):
    t = known(host)
    t.routes("192.0.0.0/8", "10.0.0.2")
    for n in range(5000):
        t.stack.send_echo(b"\xc0" + n.to_bytes(3, "big"), 77, 0, b"", t.now)
        t.stack.poll_transmit(t.now)
    assert not templates(t)
    assert len(t.stack._echo._seen) <= t.config.template_limit


def test_templates_are_bounded(host):
    t = known(host, template_limit=10)
    for n in range(2, 200):
        t.knows(f"10.0.0.{n}")
        for _ in range(3):
            t.ping(f"10.0.0.{n}")
        assert len(templates(t)) <= 10


def test_a_port_without_ethernet(host):
    t = host("10.0.0.10/24", link_type=RAW_IP)
    for seq in range(3):
        t.ping("10.0.0.2", seq)
    assert templates(t)
    t.expects(*[f"ECHO id 77 seq {seq} len 8 ttl 64 DF 10.0.0.10 > 10.0.0.2" for seq in range(3)])


def test_an_errno_leaves_no_template(host):
    t = known(host)
    for _ in range(3):
        assert t.ping("192.0.2.1") == errno.ENETUNREACH
    assert t.ping("10.0.0.2", payload=bytes(2000), df="do") == errno.EMSGSIZE
    assert not templates(t)


@pytest.mark.parametrize("options", [{}, {"ttl": 9, "tos": 0x28}, {"df": "do"}, {"df": "dont"}])
def test_the_first_packet_to_each_address_agrees_with_scapy(host, options):
    t, rng, given = known(host), Random(5), IpOptions(**options)
    t.routes("192.0.2.0/24", "10.0.0.2")
    t.routes("2001:db8::/32", "fd00::2")
    t.ping("192.0.2.1")
    ttl, tos = options.get("ttl", 64), options.get("tos", 0)
    for number in range(2, 120):
        data = rng.choice((b"", b"x", bytes(56), b"\xff" * 57, rng.randbytes(200)))
        ident, seq = rng.getrandbits(16), rng.choice((0, 0xFFFF, rng.getrandbits(16)))
        t._collect()
        t.frames.clear()
        t.stack.send_echo(parse_ip(f"192.0.2.{number}"), ident, seq, data, t.now, given)
        t.stack.send_echo(parse_ip(f"2001:db8::{number:x}"), ident, seq, data, t.now, given)
        t._collect()
        four, six = (frame for _, frame in t.frames)
        link, sent = Ether(src=ME, dst=PEER), Ether(four)[IP]
        flags = "" if options.get("df") == "dont" else "DF"
        ip = IP(src="10.0.0.10", dst=f"192.0.2.{number}", id=sent.id, flags=flags, ttl=ttl, tos=tos)
        assert four == bytes(link / ip / ICMP(id=ident, seq=seq) / data)
        ip6 = IPv6(src="fd00::10", dst=f"2001:db8::{number:x}", hlim=ttl, tc=tos)
        assert six == bytes(link / ip6 / ICMPv6EchoRequest(id=ident, seq=seq, data=data))


def test_a_first_packet_waits_for_a_gateway_out_of_date(host):
    t = known(host)
    t.routes("192.0.2.0/24", "10.0.0.3")
    t.ping("192.0.2.1")
    t.receives(arp_reply("10.0.0.3"))
    t.ping("192.0.2.2")
    t._collect()
    t.frames.clear()
    t.advance(46)
    t.ping("192.0.2.3")
    t.expects("ECHO *")
    t.advance(5)
    t.expects("ARP who-has 10.0.0.3 tell 10.0.0.10")


def test_a_first_packet_that_is_too_large_goes_in_pieces(host):
    t = known(host)
    t.routes("192.0.2.0/24", "10.0.0.2")
    t.ping("192.0.2.1")
    t.ping("192.0.2.2")
    t._collect()
    t.frames.clear()
    t.ping("192.0.2.3", payload=bytes(2000))
    t.expects("ECHO * frag *", "ICMP frag *")
    assert t.ping("192.0.2.4", payload=bytes(2000), df="do") == errno.EMSGSIZE
