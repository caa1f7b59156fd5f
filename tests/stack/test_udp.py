"""RFC 768, RFC 1122 4.1, RFC 8200 8.1: the requirements UDP-01 to UDP-05, ICMP-20."""

import errno

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.inet6 import ICMPv6DestUnreach, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pytools.engine import CHECKSUM_PARTIAL
from pytools.errors import LocalProtocolError
from pytools.stack.events import IcmpError, UdpReceived
from pytools.stack.packet import IpOptions
from pytools.stack.udp import SERVICES
from pytools.wire.addr import parse_ip
from tests.stack.story import EVERYBODY

NEAR, NEAR6 = parse_ip("10.0.0.2"), parse_ip("fd00::2")


def known(host, *more, **settings):
    t = host("10.0.0.10/24", "fd00::10/64", *more, **settings)
    t.knows("10.0.0.2", "fd00::2", "fe80::2")
    return t


def from4(**fields):
    return IP(src="10.0.0.2", dst="10.0.0.10", ttl=61, tos=4) / UDP(sport=53, dport=4000, **fields)


def from6(**fields):
    return IPv6(src="fd00::2", dst="fd00::10", hlim=61, tc=4) / UDP(sport=53, dport=4000, **fields)


@pytest.mark.parametrize("length", [0, 1, 2, 1000])
@pytest.mark.parametrize("make", [from4, from6])
def test_a_datagram_becomes_an_event(host, make, length):
    t = known(host)
    assert t.stack.open_udp(4000) == 4000
    t.receives(make() / bytes(length), at=7)
    (event,) = t.events(UdpReceived)
    assert (event.at, event.src_port, event.dst_port, event.ttl, event.tos) == (7, 53, 4000, 61, 4)
    assert (event.port, event.payload) == (0, bytes(length))
    assert (len(event.src), len(event.dst)) == (len(event.dst), 4 if make is from4 else 16)


def test_a_closed_port_is_unreachable(host):
    t = known(host)
    t.stack.open_udp(4000)
    t.stack.close_udp(4000)
    t.receives(from4())
    t.dropped("NO_SOCKET")
    t.receives(from6())
    t.dropped("NO_SOCKET")
    t.expects("UNREACH port (udp 53 to 10.0.0.10:4000) *", "UNREACH port (udp 53 to *:4000) * fd00::10 > fd00::2")


def test_a_broadcast_to_a_closed_port_is_not_answered(host):
    t = known(host)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.255") / UDP(dport=9), dst=EVERYBODY)
    t.dropped("NO_SOCKET")
    t.expects_nothing()


def test_a_broadcast_to_an_open_port_names_its_destination(host):
    t = known(host)
    t.stack.open_udp(9)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.255") / UDP(dport=9), dst=EVERYBODY)
    (event,) = t.events(UdpReceived)
    assert event.dst == parse_ip("10.0.0.255")


@pytest.mark.parametrize("length", [0, 7, 13])
def test_a_wrong_length_is_dropped(host, length):
    t = known(host)
    t.stack.open_udp(4000)
    t.receives(from4(len=length, chksum=0) / b"1234")
    t.dropped("UDP_HEADER")
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", proto=17) / b"\0\1\0\2\0\x08\0")
    t.dropped("UDP_HEADER")


def test_octets_after_the_length_are_padding(host):
    t = known(host)
    t.stack.open_udp(4000)
    t.receives(from4(len=10, chksum=0) / b"1234")
    (event,) = t.events(UdpReceived)
    assert event.payload == b"12"


@pytest.mark.parametrize("make", [from4, from6])
def test_a_bad_checksum_is_dropped(host, make):
    t = known(host)
    t.stack.open_udp(4000)
    t.receives(make(chksum=1) / b"data")
    t.dropped("UDP_CSUM")
    t.receives(make(chksum=1) / b"data", checksum=CHECKSUM_PARTIAL)
    assert len(t.events(UdpReceived)) == 1


def test_checksum_0_means_none_in_ipv4_only(host):
    t = known(host)
    t.stack.open_udp(4000)
    t.receives(from4(chksum=0) / b"data")
    assert len(t.events(UdpReceived)) == 1
    t.receives(from6(chksum=0) / b"data")
    t.dropped("UDP_CSUM")


def test_a_sum_of_0_goes_out_as_ffff(host):
    t = known(host)
    t.stack.send_udp(4000, NEAR, 53, b"\0\0", t.now)
    t.expects("UDP *")
    check = Ether(t.last[0])[UDP].chksum
    t.stack.send_udp(4000, NEAR, 53, check.to_bytes(2, "big"), t.now)
    t.expects("UDP *")
    assert Ether(t.last[0])[UDP].chksum == 0xFFFF


def test_what_we_send_agrees_with_scapy(host):
    t = known(host)
    t.stack.send_udp(4000, NEAR, 53, b"hello", t.now, IpOptions(ttl=9, tos=4))
    t.stack.send_udp(4000, NEAR6, 53, b"hello", t.now, IpOptions(ttl=9, tos=4))
    t.expects("UDP len 5 ttl 9 tos 0x4 DF 10.0.0.10:4000 > 10.0.0.2:53", "UDP len 5 hlim 9 class 0x4 *")
    for frame, ip in zip(
        t.last, (IP(src="10.0.0.10", dst="10.0.0.2"), IPv6(src="fd00::10", dst="fd00::2")), strict=True
    ):
        expected = ip.__class__(bytes(ip / UDP(sport=4000, dport=53) / b"hello"))
        assert bytes(Ether(frame)[UDP]) == bytes(expected[UDP])


def test_the_errnos_of_sending(host):
    t = known(host)
    assert t.stack.send_udp(4000, parse_ip("192.0.2.1"), 53, b"", t.now) == errno.ENETUNREACH
    assert t.stack.send_udp(4000, NEAR, 53, bytes(65528), t.now) == errno.EMSGSIZE
    assert t.stack.send_udp(4000, NEAR, 53, bytes(65507), t.now) == 0
    assert t.stack.send_udp(4000, NEAR, 53, bytes(65508), t.now) == errno.EMSGSIZE


def test_a_port_has_one_user(host):
    t = known(host)
    t.stack.open_udp(4000)
    with pytest.raises(LocalProtocolError, match="UDP port 4000 is in use"):
        t.stack.open_udp(4000)


def test_free_ports_are_ephemeral_and_unpredictable(host):
    t = known(host)
    ports = [t.stack.open_udp() for _ in range(100)]
    assert len(set(ports)) == 100
    assert all(49152 <= port <= 65535 for port in ports)
    assert ports != sorted(ports)


def test_ports_run_out(host):
    t = known(host)
    for _ in range(65536 - 49152):
        t.stack.open_udp()
    with pytest.raises(LocalProtocolError, match="in use"):
        t.stack.open_udp()


def test_errors_go_to_who_sent_the_datagram(host):
    t = known(host)
    t.stack.open_udp(4000)
    t.receives(
        IP(src="10.0.0.2", dst="10.0.0.10")
        / ICMP(type=3, code=3)
        / IP(src="10.0.0.10", dst="10.0.0.2")
        / UDP(sport=4000)
    )
    t.receives(
        IPv6(src="fd00::2", dst="fd00::10")
        / ICMPv6DestUnreach(code=4)
        / IPv6(src="fd00::10", dst="fd00::2")
        / UDP(sport=4000)
    )
    assert [(e.type, e.code, e.quoted.source_port) for e in t.events(IcmpError)] == [(3, 3, 4000), (1, 4, 4000)]


def test_an_error_without_ports_or_for_a_closed_one_is_dropped(host):
    t = known(host)
    error = IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(type=3, code=3)
    t.receives(error / IP(src="10.0.0.10", dst="10.0.0.2") / UDP(sport=5))
    t.dropped("NO_SOCKET")
    t.receives(error / Raw(bytes(IP(src="10.0.0.10", dst="10.0.0.2", proto=17, len=28))))
    t.dropped("NO_SOCKET")


def test_beyond_the_event_queue_datagrams_and_errors_are_dropped(host):
    t = known(host, event_limit=1)
    t.stack.open_udp(4000)
    t.receives(from4())
    t.receives(from4())
    t.dropped("SOCKET_RCVBUFF")
    t.receives(
        IP(src="10.0.0.2", dst="10.0.0.10")
        / ICMP(type=3, code=3)
        / IP(src="10.0.0.10", dst="10.0.0.2")
        / UDP(sport=4000)
    )
    t.dropped("SOCKET_RCVBUFF")


# --- services ------------------------------------------------------------------------------------------------------


def served(host, *more):
    t = known(host, *more)
    for port, service in SERVICES.items():
        t.stack.open_udp(port, service)
    return t


def test_echo_answers_from_the_address_that_was_asked(host):
    t = served(host, "10.0.0.11/24")
    t.receives(IP(src="10.0.0.2", dst="10.0.0.11") / UDP(sport=5000, dport=7) / b"hello")
    t.expects("UDP len 5 ttl 64 10.0.0.11:7 > 10.0.0.2:5000")
    assert bytes(Ether(t.last[0])[UDP].payload) == b"hello"
    assert t.events() == []


def test_echo_over_a_link_local_address(host):
    t = served(host, "fe80::10/64")
    t.receives(IPv6(src="fe80::2", dst="fe80::10") / UDP(sport=5000, dport=7) / b"hello")
    t.expects("UDP len 5 hlim 64 [fe80::10]:7 > [fe80::2]:5000")


def test_discard_and_chargen(host):
    t = served(host)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10") / UDP(sport=5000, dport=9) / b"hello")
    t.expects_nothing()
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10") / UDP(sport=5000, dport=19) / b"x")
    t.expects("UDP len 74 *")
    assert bytes(Ether(t.last[0])[UDP].payload).startswith(b'!"#$')


@pytest.mark.parametrize(("source", "dst"), [(19, "10.0.0.10"), (5000, "10.0.0.255")])
def test_services_answer_no_other_service_and_no_broadcast(host, source, dst):
    t = served(host)
    for port in SERVICES:
        t.receives(
            IP(src="10.0.0.2", dst=dst) / UDP(sport=source, dport=port) / b"x", dst=EVERYBODY if dst[-1] == "5" else ""
        )
    t.expects_nothing()
    assert not t.drops
