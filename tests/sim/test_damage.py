"""Which octets of a frame a checksum covers."""

from random import Random

import pytest

from pytools.sim.damage import covered, flip_bit
from pytools.sim.impairment import COVERED, PAYLOAD
from pytools.wire import ethernet, ipv4, ipv6

scapy = pytest.importorskip("scapy.all", reason="scapy builds these frames")

ETHER = {"dst": "02:00:00:00:00:02", "src": "02:00:00:00:00:01"}


def frame(*layers: object) -> bytes:
    built = scapy.Ether(**ETHER)
    for layer in layers:
        built = built / layer
    return bytes(built)


UDP4 = frame(scapy.IP(src="10.0.0.1", dst="10.0.0.2"), scapy.UDP(sport=1, dport=2), b"hello")


def test_an_ipv4_header_and_its_message_are_covered() -> None:
    assert covered(UDP4, COVERED) == (14, 14 + 20 + 8 + 5)
    assert covered(UDP4, PAYLOAD) == (34, 14 + 20 + 8 + 5)


def test_ethernet_padding_is_not_covered() -> None:
    assert covered(UDP4 + bytes(13), COVERED) == (14, 47)


def test_a_vlan_tag_is_not_covered() -> None:
    tagged = frame(scapy.Dot1Q(vlan=5), scapy.IP(src="10.0.0.1", dst="10.0.0.2"), scapy.ICMP())
    assert covered(tagged, COVERED) == (18, 18 + 28)


def test_a_udp_datagram_without_checksum_is_covered_in_its_header_only() -> None:
    plain = frame(scapy.IP(src="10.0.0.1", dst="10.0.0.2"), scapy.UDP(sport=1, dport=2, chksum=0), b"hello")
    assert covered(plain, COVERED) == (14, 34)
    assert covered(plain, PAYLOAD) == (0, 0)


def test_a_udp_checksum_that_one_flip_would_switch_off_does_not_count() -> None:
    frail = frame(scapy.IP(src="10.0.0.1", dst="10.0.0.2"), scapy.UDP(sport=1, dport=2, chksum=0x0100), b"hello")
    assert covered(frail, PAYLOAD) == (0, 0)


def test_an_unknown_protocol_is_covered_in_its_header_only() -> None:
    packet = ipv4.encode(b"\n\0\0\1", b"\n\0\0\2", 253, 40) + bytes(40)
    assert covered(ethernet.encode(b"\2" * 6, b"\2" * 6, 0x0800) + packet, COVERED) == (14, 34)


def test_an_ipv6_header_and_its_extensions_are_not_covered() -> None:
    echo = scapy.ICMPv6EchoRequest(data=b"abcd")
    addresses = {"src": "fd00::1", "dst": "fd00::2"}
    assert covered(frame(scapy.IPv6(**addresses), echo), COVERED) == (54, 54 + 12)
    options = frame(scapy.IPv6(**addresses), scapy.IPv6ExtHdrDestOpt(), echo)
    assert covered(options, COVERED) == (62, 62 + 12)
    assert covered(options, PAYLOAD) == (62, 62 + 12)


def test_an_ipv6_fragment_is_covered_behind_its_fragment_header() -> None:
    piece = ipv6.encode_fragment(ipv6.PROTO_ICMPV6, 8, False, 1) + bytes(16)
    header = ipv6.encode(bytes(15) + b"\1", bytes(15) + b"\2", ipv6.PROTO_FRAGMENT, len(piece))
    assert covered(ethernet.encode(b"\2" * 6, b"\2" * 6, 0x86DD) + header + piece, COVERED) == (62, 78)


@pytest.mark.parametrize("data", [b"", UDP4[:20], frame(scapy.ARP()), frame(scapy.IP())[:-10]])
def test_what_is_no_whole_ip_packet_is_left_alone(data: bytes) -> None:
    assert flip_bit(data, COVERED, Random(1)) == (data, 0, 0)


def test_flip_bit_says_which_bit_it_flipped() -> None:
    damaged, octet, bit = flip_bit(UDP4, COVERED, Random(3))
    assert damaged[octet] ^ UDP4[octet] == 1 << bit
    assert damaged[:octet] + damaged[octet + 1 :] == UDP4[:octet] + UDP4[octet + 1 :]
