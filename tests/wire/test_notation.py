"""Frames are built by scapy; the lines are written by hand from the columns of the trace's notation."""

import pytest
from scapy.layers.inet import (
    ICMP,
    IP,
    TCP,
    UDP,
    IPOption,
    IPOption_LSRR,
    IPOption_NOP,
    IPOption_Router_Alert,
    IPOption_RR,
)
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6MLReport2,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6ND_RS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Packet, Raw

from pytools.engine import RAW_IP
from pytools.wire.notation import describe, header_lines

US, THEM = "02:00:00:00:00:0a", "02:00:00:00:00:02"
LINK = Ether(src=US, dst=THEM)
BROADCAST = Ether(src=US, dst="ff:ff:ff:ff:ff:ff")
OUT = IP(src="10.0.0.10", dst="10.0.0.2", id=7, ttl=64)
BACK = IP(src="10.0.0.1", dst="10.0.0.10", id=8, ttl=63)
OUT6 = IPv6(src="fd00::10", dst="fd00::2", hlim=64)
BACK6 = IPv6(src="fd00::1", dst="fd00::10", hlim=63)
LOST = IP(src="10.0.0.10", dst="10.0.0.99") / ICMP(id=77, seq=1)
LOST6 = IPv6(src="fd00::10", dst="fd00::99") / ICMPv6EchoRequest(id=77, seq=1)
PATTERN = bytes(range(56))


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (
            IP(src="10.0.0.10", dst="10.0.0.2", flags="DF") / ICMP(id=77, seq=1) / PATTERN,
            "ECHO id 77 seq 1 len 64 ttl 64 DF 10.0.0.10 > 10.0.0.2",
        ),
        (
            IP(src="10.0.0.2", dst="10.0.0.10", tos=16, ttl=1) / ICMP(type=0, id=77, seq=65535) / PATTERN,
            "REPLY id 77 seq 65535 len 64 ttl 1 tos 0x10 10.0.0.2 > 10.0.0.10",
        ),
        (OUT / ICMP(type=13, id=1, seq=2), "TIMESTAMP id 1 seq 2 len 20 ttl 64 10.0.0.10 > 10.0.0.2"),
        (OUT / ICMP(type=77, code=3), "ICMP type 77 code 3 len 8 ttl 64 10.0.0.10 > 10.0.0.2"),
        (OUT / ICMP(type=8, code=9, id=1), "ECHO code 9 id 1 seq 0 len 8 ttl 64 10.0.0.10 > 10.0.0.2"),
        (
            BACK / ICMP(type=3, code=1) / LOST,
            "UNREACH host (echo id 77 seq 1 to 10.0.0.99) len 36 ttl 63 10.0.0.1 > 10.0.0.10",
        ),
        (
            BACK / ICMP(type=3, code=4, nexthopmtu=1400) / LOST,
            "UNREACH frag-needed mtu 1400 (echo id 77 seq 1 to 10.0.0.99) len 36 ttl 63 10.0.0.1 > 10.0.0.10",
        ),
        (
            BACK / ICMP(type=5, code=1, gw="10.0.0.254") / LOST,
            "REDIRECT host to 10.0.0.254 (echo id 77 seq 1 to 10.0.0.99) len 36 ttl 63 10.0.0.1 > 10.0.0.10",
        ),
        (
            BACK / ICMP(type=12, code=0, ptr=20) / LOST,
            "PARAM-PROBLEM pointer 20 (echo id 77 seq 1 to 10.0.0.99) len 36 ttl 63 10.0.0.1 > 10.0.0.10",
        ),
        (
            BACK / ICMP(type=11, code=0) / Raw(b"\x45\0"),
            "TIME-EXCEEDED ttl (malformed quote: IPv4 header cut short) len 10 ttl 63 10.0.0.1 > 10.0.0.10",
        ),
        (OUT / UDP(sport=40000, dport=53) / b"abc", "UDP len 3 ttl 64 10.0.0.10:40000 > 10.0.0.2:53"),
        (OUT / UDP(sport=1, dport=2, chksum=0) / b"abc", "UDP len 3 ttl 64 10.0.0.10:1 > 10.0.0.2:2 no cksum"),
        (
            OUT / TCP(sport=1000, dport=80, seq=5, flags="S", window=64240, options=[("MSS", 1460)]),
            "S 5:5(0) win 64240 <mss 1460> 10.0.0.10:1000 > 10.0.0.2:80",
        ),
        (IP(src="10.0.0.10", dst="10.0.0.2", proto=254) / b"1234", "protocol 254 len 4 ttl 64 10.0.0.10 > 10.0.0.2"),
        (OUT6 / ICMPv6EchoRequest(id=77, seq=1, data=PATTERN), "ECHO id 77 seq 1 len 64 hlim 64 fd00::10 > fd00::2"),
        (
            IPv6(src="fd00::2", dst="fd00::10", tc=0xB8, hlim=9) / ICMPv6EchoReply(id=77, seq=1),
            "REPLY id 77 seq 1 len 8 hlim 9 class 0xb8 fd00::2 > fd00::10",
        ),
        (
            BACK6 / ICMPv6PacketTooBig(mtu=1280) / LOST6,
            "TOO-BIG mtu 1280 (echo id 77 seq 1 to fd00::99) len 56 hlim 63 fd00::1 > fd00::10",
        ),
        (
            BACK6 / ICMPv6DestUnreach(code=3) / LOST6,
            "UNREACH address (echo id 77 seq 1 to fd00::99) len 56 hlim 63 fd00::1 > fd00::10",
        ),
        (
            BACK6 / ICMPv6TimeExceeded(code=0) / LOST6,
            "TIME-EXCEEDED hop-limit (echo id 77 seq 1 to fd00::99) len 56 hlim 63 fd00::1 > fd00::10",
        ),
        (
            BACK6 / ICMPv6ParamProblem(code=1, ptr=40) / LOST6,
            "PARAM-PROBLEM next-header 40 (echo id 77 seq 1 to fd00::99) len 56 hlim 63 fd00::1 > fd00::10",
        ),
        (OUT6 / UDP(sport=40000, dport=53) / b"abc", "UDP len 3 hlim 64 [fd00::10]:40000 > [fd00::2]:53"),
        (OUT6 / ICMPv6MLReport2(), "MLD2-REPORT len 8 hlim 64 fd00::10 > fd00::2"),
        (OUT6 / IPv6ExtHdrHopByHop() / ICMPv6EchoRequest(id=7), "ECHO id 7 seq 0 len 8 hlim 64 fd00::10 > fd00::2"),
        (OUT6 / IPv6ExtHdrHopByHop(nh=59), "none len 0 hlim 64 fd00::10 > fd00::2"),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_an_ip_packet_is_one_line(packet: Packet, line: str) -> None:
    assert describe(bytes(LINK / packet)) == line
    assert describe(bytes(packet), RAW_IP) == line
    assert describe(bytes(LINK / Dot1Q(vlan=9) / packet) + bytes(9)) == line


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (BROADCAST / ARP(op=1, psrc="10.0.0.10", pdst="10.0.0.2"), "ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)"),
        (LINK / ARP(op=1, psrc="10.0.0.10", pdst="10.0.0.2"), "ARP who-has 10.0.0.2 tell 10.0.0.10"),
        (BROADCAST / ARP(op=1, psrc="0.0.0.0", pdst="10.0.0.2"), "ARP who-has 10.0.0.2 tell 0.0.0.0 (bcast) probe"),
        (
            BROADCAST / ARP(op=1, psrc="10.0.0.2", pdst="10.0.0.2"),
            "ARP who-has 10.0.0.2 tell 10.0.0.2 (bcast) announcement",
        ),
        (LINK / ARP(op=2, hwsrc=US, psrc="10.0.0.10", pdst="10.0.0.2"), "ARP 10.0.0.10 is-at 02:00:00:00:00:0a"),
        (
            BROADCAST / ARP(op=2, hwsrc=US, psrc="10.0.0.10", pdst="10.0.0.2"),
            "ARP 10.0.0.10 is-at 02:00:00:00:00:0a (bcast)",
        ),
        (LINK / ARP(op=8, psrc="10.0.0.10", pdst="10.0.0.2"), "ARP operation 8 10.0.0.10 > 10.0.0.2"),
        (Ether(src=US, dst=THEM, type=0x88CC) / b"lldp", "ethertype 0x88cc len 4"),
    ],
)
def test_arp_and_the_rest_of_ethernet_have_their_lines(frame: Packet, line: str) -> None:
    assert describe(bytes(frame)) == line


@pytest.mark.parametrize(
    ("packet", "line"),
    [
        (
            IPv6(src="fd00::10", dst="ff02::1:ff00:2") / ICMPv6ND_NS(tgt="fd00::2") / ICMPv6NDOptSrcLLAddr(lladdr=US),
            "NS who-has fd00::2 tell fd00::10 (mcast)",
        ),
        (IPv6(src="fd00::10", dst="fd00::2") / ICMPv6ND_NS(tgt="fd00::2"), "NS who-has fd00::2 tell fd00::10"),
        (
            IPv6(src="::", dst="ff02::1:ff00:2") / ICMPv6ND_NS(tgt="fd00::2"),
            "NS who-has fd00::2 tell :: (mcast) probe",
        ),
        (
            IPv6(src="fd00::2", dst="fd00::10")
            / ICMPv6ND_NA(tgt="fd00::2", R=0, S=1, O=1)
            / ICMPv6NDOptDstLLAddr(lladdr=US),
            "NA fd00::2 is-at 02:00:00:00:00:0a solicited,override",
        ),
        (
            IPv6(src="fd00::2", dst="ff02::1") / ICMPv6ND_NA(tgt="fd00::2", R=1, S=0, O=0),
            "NA fd00::2 is-at ? (mcast) router",
        ),
        (IPv6(src="fd00::2", dst="fd00::1") / ICMPv6ND_NA(tgt="fd00::2", R=0, S=0, O=0), "NA fd00::2 is-at ?"),
        (
            IPv6(src="fe80::1", dst="ff02::2") / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=US),
            "RS from fe80::1 02:00:00:00:00:0a",
        ),
        (IPv6(src="::", dst="ff02::2") / ICMPv6ND_RS(), "RS from ::"),
        (
            IPv6(src="fe80::1", dst="ff02::1")
            / ICMPv6ND_RA(chlim=64, routerlifetime=1800, M=1, O=1)
            / ICMPv6NDOptPrefixInfo(prefix="fd00::", prefixlen=64, L=1, A=1)
            / ICMPv6NDOptPrefixInfo(prefix="fd01::", prefixlen=56, L=0, A=0)
            / ICMPv6NDOptMTU(mtu=1492),
            "RA from fe80::1 lifetime 1800 s hlim 64 managed other prefix fd00::/64 (on-link,auto) "
            "prefix fd01::/56 mtu 1492",
        ),
        (IPv6(src="fe80::1", dst="ff02::1") / ICMPv6ND_RA(routerlifetime=0), "RA from fe80::1 lifetime 0 s hlim 0"),
        (
            IPv6(src="fe80::1", dst="fd00::10")
            / ICMPv6ND_Redirect(tgt="fe80::2", dst="fd01::9")
            / ICMPv6NDOptDstLLAddr(lladdr=THEM),
            "REDIRECT fd01::9 to fe80::2 02:00:00:00:00:02 from fe80::1",
        ),
        (
            IPv6(src="fe80::1", dst="fd00::10") / ICMPv6ND_Redirect(tgt="fd01::9", dst="fd01::9"),
            "REDIRECT fd01::9 to fd01::9 from fe80::1",
        ),
    ],
    ids=lambda value: value.split()[0] if isinstance(value, str) else "",
)
def test_neighbour_discovery_reads_like_arp(packet: Packet, line: str) -> None:
    assert describe(bytes(LINK / packet)) == line


def test_a_first_fragment_says_what_it_begins_and_a_later_one_where_it_belongs() -> None:
    first = IP(src="10.0.0.10", dst="10.0.0.2", id=4242, flags="MF", proto=1) / bytes(ICMP(id=77, seq=1) / bytes(1472))
    assert describe(bytes(first), RAW_IP) == "ECHO id 77 seq 1 len 1480 ttl 64 frag 4242 0+1480+ 10.0.0.10 > 10.0.0.2"
    last = IP(src="10.0.0.10", dst="10.0.0.2", id=4242, frag=185, proto=1) / bytes(528)
    assert describe(bytes(last), RAW_IP) == "ICMP frag 4242 1480+528 ttl 64 10.0.0.10 > 10.0.0.2"
    odd = IP(src="10.0.0.10", dst="10.0.0.2", id=4242, frag=185, flags="MF", proto=200) / bytes(528)
    assert describe(bytes(odd), RAW_IP) == "protocol 200 frag 4242 1480+528+ ttl 64 10.0.0.10 > 10.0.0.2"


def test_first_fragments_of_udp_tcp_and_ipv6_are_not_summed_up() -> None:
    start = IP(src="10.0.0.10", dst="10.0.0.2", id=9, flags="MF")
    udp = start / UDP(sport=1, dport=2, len=3000, chksum=1) / bytes(16)
    assert describe(bytes(udp), RAW_IP) == "UDP len 2992 ttl 64 frag 9 0+24+ 10.0.0.10:1 > 10.0.0.2:2"
    short = IP(src="10.0.0.10", dst="10.0.0.2", id=9, flags="MF", proto=17) / b"1234567"
    assert describe(bytes(short), RAW_IP).startswith("malformed: UDP header cut short ttl 64 frag 9 0+7+")
    tcp = start / TCP(sport=1, dport=2, seq=0, flags="A", window=9, chksum=1) / bytes(16)
    assert describe(bytes(tcp), RAW_IP) == ". 0:16(16) ack 0 win 9 10.0.0.10:1 > 10.0.0.2:2 frag 9 0+36+"
    echo6 = OUT6 / IPv6ExtHdrFragment(m=1, id=5) / ICMPv6EchoRequest(id=77, seq=1, cksum=1, data=bytes(32))
    assert describe(bytes(echo6), RAW_IP) == "ECHO id 77 seq 1 len 40 hlim 64 frag 5 0+40+ fd00::10 > fd00::2"
    later6 = OUT6 / IPv6ExtHdrFragment(m=0, offset=5, id=5, nh=58) / bytes(16)
    assert describe(bytes(later6), RAW_IP) == "ICMPv6 frag 5 40+16 hlim 64 fd00::10 > fd00::2"
    # RFC 6980: discovery is never fragmented; nothing is read from a piece of it.
    piece = OUT6 / IPv6ExtHdrFragment(m=1, id=5) / ICMPv6ND_NS(tgt="fd00::2", cksum=1)
    assert describe(bytes(piece), RAW_IP) == "NS len 24 hlim 64 frag 5 0+24+ fd00::10 > fd00::2"
    atomic = OUT6 / IPv6ExtHdrFragment(m=0, id=5) / ICMPv6EchoRequest(id=77, seq=1)
    assert describe(bytes(atomic), RAW_IP) == "ECHO id 77 seq 1 len 8 hlim 64 fd00::10 > fd00::2"


@pytest.mark.parametrize(
    ("packet", "ending"),
    [
        (OUT / ICMP(id=1, chksum=0x1234), " bad cksum 0x1234"),
        (OUT / UDP(sport=1, dport=2, chksum=0x1234), " bad cksum 0x1234"),
        (OUT / TCP(sport=1, dport=2, chksum=0x1234), " bad cksum 0x1234"),
        (OUT6 / ICMPv6EchoRequest(cksum=0x1234), " bad cksum 0x1234"),
        (OUT6 / ICMPv6ND_NS(tgt="fd00::2", cksum=0x1234), " bad cksum 0x1234"),
        (IP(src="10.0.0.10", dst="10.0.0.2", chksum=0x1234) / ICMP(id=1), " bad IP cksum 0x1234"),
    ],
)
def test_a_wrong_checksum_is_named(packet: Packet, ending: str) -> None:
    assert describe(bytes(LINK / packet)).endswith(ending)
    assert describe(bytes(LINK / packet)).count("cksum") == 1


def test_a_partial_checksum_is_not_called_bad() -> None:
    # 10.0.0.10 + 10.0.0.2 + protocol + length, folded and not inverted, as a local sender leaves it.
    partial = 0x0A00 + 0x000A + 0x0A00 + 0x0002 + 17 + 8
    assert "cksum" not in describe(bytes(LINK / OUT / UDP(sport=1, dport=2, chksum=partial)))


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (b"", "malformed: Ethernet header cut short"),
        (
            bytes(Ether(src=US, dst=THEM, type=0x8100)),
            "malformed: VLAN tag cut short 02:00:00:00:00:0a > 02:00:00:00:00:02",
        ),
        (bytes(Ether(src=US, dst=THEM, type=0x0806)) + bytes(9), "malformed: ARP packet cut short"),
        (bytes(Ether(src=US, dst=THEM, type=0x0800)), "malformed: IPv4 header cut short"),
        (bytes(Ether(src=US, dst=THEM, type=0x0800)) + bytes(40), "malformed: IP version is not 4"),
        (bytes(Ether(src=US, dst=THEM, type=0x86DD)) + bytes(40), "malformed: IP version is not 6"),
        (bytes(LINK / OUT / ICMP(id=1) / PATTERN)[:60], "malformed: IPv4 packet cut short"),
        (
            bytes(LINK / IP(src="10.0.0.10", dst="10.0.0.2", proto=1) / b"1234"),
            "malformed: ICMP message cut short ttl 64 10.0.0.10 > 10.0.0.2",
        ),
        (
            bytes(LINK / OUT / TCP(sport=1, dport=2, dataofs=1)),
            "malformed: TCP data offset below 5 ttl 64 10.0.0.10 > 10.0.0.2",
        ),
        (
            bytes(LINK / OUT6 / ICMPv6ND_NS(tgt="fd00::2") / b"\1\0"),
            "malformed: ND option of length zero hlim 64 fd00::10 > fd00::2",
        ),
        (
            bytes.fromhex("0180c2000000 020000000001 0026 424203"),
            "802.3 len 38 02:00:00:00:00:01 > 01:80:c2:00:00:00",
        ),
    ],
)
def test_a_malformed_frame_says_so(frame: bytes, line: str) -> None:
    assert describe(frame) == line


def test_an_empty_packet_without_a_link_header_says_so() -> None:
    assert describe(b"", RAW_IP) == "malformed: IPv4 header cut short"
    assert describe(b"\x60", RAW_IP) == "malformed: IPv6 header cut short"
    assert header_lines(b"", RAW_IP) == ["malformed: IPv4 header cut short"]


def test_tcp_numbers_count_from_the_bases_that_the_caller_knows() -> None:
    packet = OUT / TCP(sport=1, dport=2, seq=1001, ack=5001, flags="PA", window=9) / b"12345"
    assert describe(bytes(packet), RAW_IP, bases=(1000, 5000)).startswith("P. 1:6(5) ack 1 win 9 ")


def test_level_two_adds_a_line_for_the_link_and_one_for_ip() -> None:
    frame = bytes(LINK / Dot1AD(vlan=100) / Dot1Q(vlan=10, prio=3) / OUT / ICMP(id=77, seq=1) / PATTERN)
    assert describe(frame, level=2).split("\n") == [
        "ECHO id 77 seq 1 len 64 ttl 64 10.0.0.10 > 10.0.0.2",
        "02:00:00:00:00:0a > 02:00:00:00:00:02 vlan 100 vlan 10 prio 3 ethertype IPv4 (0x0800) length 106",
        "IP 10.0.0.10 > 10.0.0.2 tos 0x0 ttl 64 id 7 proto ICMP (1) length 84",
    ]
    assert describe(frame, level=2).split("\n")[1:] == header_lines(frame)
    assert describe(frame[22:], RAW_IP, level=2).split("\n")[1:] == header_lines(frame)[1:]


def test_the_ipv4_line_has_flags_fragments_checksum_and_missing_octets() -> None:
    packet = IP(src="10.0.0.10", dst="10.0.0.2", id=9, tos=4, flags="DF+MF", frag=1, proto=17, chksum=5) / bytes(16)
    assert header_lines(bytes(packet)[:-1], RAW_IP) == [
        "IP 10.0.0.10 > 10.0.0.2 tos 0x4 ttl 64 id 9 DF frag 9 8+16+ proto UDP (17) length 36 "
        "bad cksum 0x0005 cut short"
    ]


def options_of(*options: IPOption) -> str:
    packet = IP(src="10.0.0.10", dst="10.0.0.2", proto=200, options=list(options)) / b""
    (line,) = header_lines(bytes(packet), RAW_IP)
    return line.partition(" options ")[2]


def test_ip_options_are_written_out() -> None:
    assert options_of(IPOption_RR(routers=["1.2.3.4", "0.0.0.0"], pointer=8)) == "<RR 1.2.3.4 (1 free)>"
    assert options_of(IPOption_RR(routers=["0.0.0.0"] * 9)) == "<RR (9 free)>"
    assert options_of(IPOption_NOP(), IPOption_Router_Alert()) == "<RA>"
    assert options_of(IPOption_Router_Alert(alert=5)) == "<RA 5>"
    assert options_of(IPOption_LSRR(routers=["1.2.3.4", "5.6.7.8"], pointer=8)) == "<LSRR 1.2.3.4 | 5.6.7.8>"
    strict = IPOption_LSRR(option=9, routers=["1.2.3.4"], pointer=8)
    assert options_of(strict) == "<SSRR 1.2.3.4 |>"
    assert options_of(IPOption(b"\x44\x0c\x0a\x21" + bytes(8))) == "<malformed: IPv4 option pointer>"
    assert options_of(IPOption(b"\x44\x0c\x0d\x21\x01\x02\x03\x04\0\0\0\x09")) == "<TS 1.2.3.4@9 (0 free, overflow 2)>"
    assert options_of(IPOption(b"\x44\x08\x05\0\0\0\0\0")) == "<TS (1 free)>"
    assert options_of(IPOption(b"\x99\4ab")) == "<opt-153 6162>"
    assert options_of(IPOption_NOP()) == "<nop>"


def test_the_ipv6_line_has_class_flow_and_extensions() -> None:
    packet = IPv6(src="fd00::10", dst="fd00::2", tc=0xB8, fl=0xABCDE) / IPv6ExtHdrHopByHop() / IPv6ExtHdrFragment(m=1)
    octets = bytes(packet / ICMPv6EchoRequest())
    assert header_lines(octets, RAW_IP) == [
        "IP6 fd00::10 > fd00::2 class 0xb8 flow 0xabcde hlim 64 next hop-by-hop (0) length 24 "
        "extensions hop-by-hop fragment then ICMPv6 (58)"
    ]
    assert header_lines(octets[:-1], RAW_IP)[0].endswith(" cut short")


def test_header_lines_of_bad_or_other_frames_stop_where_nothing_is_known() -> None:
    assert header_lines(b"") == ["malformed: Ethernet header cut short"]
    assert header_lines(bytes.fromhex("0180c2000000 020000000001 0026 42")) == [
        "02:00:00:00:00:01 > 01:80:c2:00:00:00 802.3 len 38"
    ]
    arp = bytes(LINK / ARP(op=1, psrc="10.0.0.10", pdst="10.0.0.2"))
    assert header_lines(arp) == ["02:00:00:00:00:0a > 02:00:00:00:00:02 ethertype ARP (0x0806) length 42"]
    assert header_lines(bytes(Ether(src=US, dst=THEM, type=0x0800)))[1:] == ["malformed: IPv4 header cut short"]
    tagged = bytes(LINK)[:12] + bytes.fromhex("8100 1005 88cc")
    assert header_lines(tagged) == [f"{US} > {THEM} vlan 5 dei ethertype unknown (0x88cc) length 18"]


def test_a_chain_of_a_thousand_extensions_is_a_line_of_bounded_length() -> None:
    chain = b"\x3c\0\1\4\0\0\0\0" * 1000
    (line,) = header_lines(bytes(IPv6(src="fd00::10", dst="fd00::2", nh=60) / chain), RAW_IP)
    assert len(line) < 600
