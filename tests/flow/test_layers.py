"""TCP is found under every link type, and what is not TCP has its name."""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import ARP, GRE, CookedLinux, CookedLinuxV2, Dot1AD, Dot1Q, Ether
from scapy.layers.ppp import PPP, PPPoE

from pytools.flow.layers import find_tcp

SEGMENT = IP(src="10.0.0.1", dst="10.0.0.2", id=7) / TCP(sport=1, dport=2) / b"data"
SEGMENT6 = IPv6(src="::1", dst="::2") / TCP(sport=1, dport=2) / b"data"
KEY = bytes([10, 0, 0, 1, 10, 0, 0, 2, 0, 1, 0, 2])


@pytest.mark.parametrize(
    ("link_type", "frame"),
    [
        (1, Ether() / SEGMENT),
        (1, Ether() / Dot1Q(vlan=3) / SEGMENT),
        (1, Ether() / Dot1AD(vlan=3) / Dot1Q(vlan=4) / SEGMENT),
        (1, Ether() / PPPoE(sessionid=1) / PPP(proto=0x21) / SEGMENT),
        (113, CookedLinux(proto=0x800) / SEGMENT),
        (276, CookedLinuxV2(proto=0x800) / SEGMENT),
        (101, SEGMENT),
        (228, SEGMENT),
        (0, b"\x02\x00\x00\x00" + bytes(SEGMENT)),
        (108, b"\x00\x00\x00\x02" + bytes(SEGMENT)),
    ],
)
def test_a_segment_is_found(link_type, frame):
    octets = bytes(frame)
    found = find_tcp(link_type, octets, len(octets))
    assert found == (KEY, len(octets) - 24, 24, 7, 64)


def test_ipv6_with_an_extension_header_is_found():
    octets = bytes(Ether() / IPv6(src="::1", dst="::2") / IPv6ExtHdrDestOpt() / TCP(sport=1, dport=2) / b"data")
    found = find_tcp(1, octets, len(octets))
    assert not isinstance(found, str)
    assert found[1:3] == (len(octets) - 24, 24)


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        (Ether() / ARP(), "ARP"),
        (Ether() / IP() / GRE(), "GRE"),
        (Ether() / IP() / UDP(sport=9, dport=4789), "VXLAN"),
        (Ether() / IP() / UDP(sport=9, dport=10), "not TCP"),
        (Ether() / IP(flags="MF") / TCP(), "IP fragment"),
    ],
)
def test_what_is_not_tcp_has_its_name(frame, name):
    octets = bytes(frame)
    assert find_tcp(1, octets, len(octets)) == name


@pytest.mark.parametrize("link_type", [0, 1, 101, 113, 276])
def test_a_frame_cut_anywhere_raises_nothing(link_type):
    octets = bytes(Ether() / Dot1Q() / SEGMENT6)
    for length in range(len(octets)):
        find_tcp(link_type, octets[:length], len(octets))


def test_an_unknown_link_type_is_named():
    assert find_tcp(999, bytes(60), 60) == "link type 999"
