"""RawIpLink: the host's own addresses in both families, and the way past a firewall that resets what it never saw."""

import os
import socket
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6

from pytools.engine import CHECKSUM_PARTIAL, PACKET_HOST, RAW_IP, Transmit
from pytools.link import host
from pytools.link.bpf import Interest
from pytools.link.raw_ip import RawIpLink
from tests.system.links import exchange, receive, transmit

pytestmark = pytest.mark.root

PING = Interest(echo_idents=(77,), icmp_errors=True)


@pytest.fixture
def open_link(wire):
    links = []

    def open_one(interest=PING, name="lo", **options):
        with wire.ours.entered():
            links.append(RawIpLink(host.interface(name), interest, **options))
        return links[-1]

    yield open_one
    for link in links:
        link.close()


def load(namespace, chain):
    """Put one nft chain in force."""
    done = namespace.run("nft", "-f", "-", input=f"table ip t {{\n{chain}\n}}\n")
    assert done.returncode == 0, done.stderr


def version(packet: bytes):
    return IPv6(packet) if packet[0] >> 4 == 6 else IP(packet)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.1.2.3", "10.9.0.1"])
def test_our_own_ipv4_addresses_answer(wire, open_link, address):
    link = open_link()
    assert (link.ports[0].link_type, link.ports[0].mtu) == (RAW_IP, 65536)
    request = IP(src=address, dst=address) / ICMP(id=77, seq=9) / (b"x" * 56)
    got = exchange(link, request, lambda got: True)
    reply = IP(got.frame)
    assert (reply[ICMP].type, reply[ICMP].seq, reply.src) == (0, 9, address)
    assert got.packet_type == PACKET_HOST


@pytest.mark.parametrize("address", ["::1", "fd09::1", "fe80::ff:fe09:1"])
def test_our_own_ipv6_addresses_answer(wire, open_link, address):
    link = open_link()
    request = IPv6(src=address, dst=address) / ICMPv6EchoRequest(id=77, seq=9, data=b"x" * 56)
    with wire.ours.entered():
        reply = IPv6(exchange(link, request, lambda got: True).frame)
    assert (reply[ICMPv6EchoReply].seq, reply.src) == (9, address)


def test_the_largest_ping_of_all_returns(wire, open_link):
    link = open_link()
    request = IP(src="127.0.0.1", dst="127.0.0.1") / ICMP(id=77) / os.urandom(65507)
    got = exchange(link, request, lambda got: True)
    assert len(got.frame) == 65535
    assert bytes(IP(got.frame)[ICMP].payload) == bytes(request[ICMP].payload)


def test_a_closed_port_of_ours_answers_with_an_icmp_error(wire, open_link):
    link = open_link(Interest(icmp_errors=True))
    got = exchange(link, IP(src="127.0.0.1", dst="127.0.0.1") / UDP(sport=1, dport=9) / b"hello", lambda got: True)
    assert (IP(got.frame)[ICMP].type, IP(got.frame)[ICMP].code) == (3, 3)


def test_unfinished_checksums_on_lo_are_told(wire, open_link):
    link = open_link(Interest(ports=((17, 7777),)))
    with wire.ours.entered():
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"hello", ("127.0.0.1", 7777))
    got = receive(link)
    assert got is not None
    assert got.checksum == CHECKSUM_PARTIAL


def test_a_super_segment_is_cut_and_finished_here(wire, open_link):
    """A kernel server takes only what has right checksums: a SYN and a segment answer the question."""
    link = open_link(Interest(ports=((6, 5555),)))
    with wire.ours.entered():
        server = socket.create_server(("127.0.0.1", 8080))
    with server:
        octets = bytes(IP(src="127.0.0.1", dst="127.0.0.1") / TCP(sport=5555, dport=8080, flags="S", seq=1))
        pseudo = bytes(IP(src="127.0.0.1", dst="127.0.0.1", proto=6))[12:20] + b"\x00\x06\x00\x14"
        total = sum(int.from_bytes(pseudo[at : at + 2], "big") for at in range(0, 12, 2))
        total = (total & 0xFFFF) + (total >> 16)
        octets = octets[:36] + total.to_bytes(2, "big") + octets[38:]
        link.send(Transmit(0, (octets[:20], octets[20:]), csum_start=20, csum_offset=16))
        got = receive(link)
    assert got is not None
    assert IP(got.frame)[TCP].flags == "SA"


def test_transmit_stamps_of_both_families(wire, open_link):
    link = open_link(tx_stamps=True)
    stamps = {}
    before = time.monotonic_ns()
    link.send(transmit(IP(src="127.0.0.1", dst="127.0.0.1") / ICMP(id=77), token="four"))
    link.send(transmit(IPv6(src="::1", dst="::1") / ICMPv6EchoRequest(id=77), token="six"))
    assert receive(link) is not None
    link.poll_stamps(lambda token, now, at, error: stamps.__setitem__(token, at))
    assert sorted(stamps) == ["four", "six"]
    assert all(before < at < time.monotonic_ns() for at in stamps.values())


@pytest.mark.needs("nft")
def test_a_refusing_firewall_is_named(wire, open_link):
    link = open_link()
    load(wire.ours, "chain o { type filter hook output priority 0; policy drop; }")
    with pytest.raises(OSError, match="the host's firewall refused it") as refusal:
        link.send(transmit(IP(src="127.0.0.1", dst="127.0.0.1") / ICMP(id=77)))
    assert refusal.value.errno == 1
    wire.ours.run("nft", "flush", "ruleset")
    exchange(link, IP(src="127.0.0.1", dst="127.0.0.1") / ICMP(id=77), lambda got: True)


def test_on_an_interface_packets_leave_by_it_and_answers_come_without_ethernet(wire, open_link):
    link = open_link(name="v0")
    request = IP(src="10.9.0.1", dst="10.9.0.2") / ICMP(id=77)
    reply = IP(exchange(link, request, lambda got: got.frame[0] >> 4 == 4).frame)
    assert (reply.src, reply[ICMP].type) == ("10.9.0.2", 0)
    request = IPv6(src="fe80::ff:fe09:1", dst="fe80::ff:fe09:2") / ICMPv6EchoRequest(id=77)
    exchange(link, request, lambda got: ICMPv6EchoReply in IPv6(got.frame))


def test_more_than_the_mtu_is_refused(wire, open_link):
    with pytest.raises(OSError, match="Message too long"):
        open_link(name="v0").send(transmit(IP(src="10.9.0.1", dst="10.9.0.2") / ICMP(id=77) / bytes(1600)))


def test_a_broadcast_may_be_sent(wire, open_link):
    wire.peer.sysctl(net__ipv4__icmp_echo_ignore_broadcasts=0)
    link = open_link(name="v0")
    request = IP(src="10.9.0.1", dst="10.9.0.255") / ICMP(id=77)
    # Any frame would do otherwise: a report of the kernel that waited before we sent was taken for the answer once.
    got = exchange(link, request, lambda got: got.frame[0] >> 4 == 4 and IP(got.frame).proto == 1)
    assert IP(got.frame).src == "10.9.0.2"


@pytest.mark.needs("nft")
def test_conntrack_sees_what_leaves_here(wire, open_link):
    """`ct state established accept; reject` lets the answers in."""
    reset = "ct state established accept; ip protocol tcp reject with tcp reset;"
    load(wire.ours, f"chain i {{ type filter hook input priority 0; {reset} }}")
    link = open_link(Interest(ports=((6, 5555),)), name="v0")
    with wire.peer.entered():
        server = socket.create_server(("10.9.0.2", 8080))
    with server:
        request = IP(src="10.9.0.1", dst="10.9.0.2") / TCP(sport=5555, dport=8080, flags="S", seq=1)
        got = exchange(link, request, lambda got: got.frame[0] >> 4 == 4)
        assert IP(got.frame)[TCP].flags == "SA"


def test_closing_twice_is_harmless(wire, open_link):
    link = open_link()
    link.close()
    link.close()
