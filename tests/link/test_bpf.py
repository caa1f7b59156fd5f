"""The filter, run by a small machine written from linux/filter.h; frames are scapy's."""

import random
import struct

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import ARP, Dot1Q, Ether

from pytools.link.bpf import ACCEPT, ARP_ALL, ARP_OURS, JEQ, LD_B, MUTE, Assembler, Interest

OURS4, OTHER4 = bytes([10, 9, 0, 1]), bytes([10, 9, 0, 7])
OURS6 = bytes.fromhex("fd09") + bytes(13) + b"\1"
MAC = bytes.fromhex("020000090001")
MAC_TEXT, ELSE_TEXT = "02:00:00:09:00:01", "02:00:00:09:00:02"


def run(program: bytes, frame: bytes, *, tag: int | None = None, protocol: int | None = None, hatype: int = 1) -> int:
    """What the program returns; a load behind the end ends it with 0, as in the kernel."""
    if protocol is None:
        protocol = int.from_bytes(frame[12:14], "big")
    known = {0: protocol, 28: hatype, 44: tag or 0, 48: int(tag is not None)}
    a = x = at = 0
    steps = 0
    while True:
        code, jt, jf, k = struct.unpack_from("=HBBI", program, at * 8)
        at, steps = at + 1, steps + 1
        assert steps <= len(program) // 8
        if code in (0x20, 0x28, 0x30, 0x40, 0x48, 0x50):
            size = {0x20: 4, 0x28: 2, 0x30: 1}[code & ~0x60 | 0x20]
            if code & 0x20 and k >= 0xFFFFF000:
                a = known[k - 0xFFFFF000]
                continue
            offset = k + (x if code & 0x40 else 0)
            if offset + size > len(frame):
                return 0
            a = int.from_bytes(frame[offset : offset + size], "big")
        elif code == 0xB1:
            if k >= len(frame):
                return 0
            x = 4 * (frame[k] & 15)
        elif code == 0x54:
            a &= k
        elif code == 0x05:
            at += k
        elif code in (0x15, 0x25, 0x35, 0x45):
            holds = {0x15: a == k, 0x25: a > k, 0x35: a >= k, 0x45: bool(a & k)}[code]
            at += jt if holds else jf
        else:
            assert code == 0x06
            return k


def accepts(interest: Interest, packet, tag=None, **link) -> bool:
    frame = bytes(packet)
    program = interest.program(14, **link)
    return run(program, frame, tag=tag, protocol=int.from_bytes(frame[12:14], "big")) == ACCEPT


def ether(**fields):
    return Ether(src=ELSE_TEXT, dst=MAC_TEXT, **fields)


@pytest.fixture
def ping() -> Interest:
    return Interest(
        addresses=(OURS4, OURS6), arp=ARP_OURS, neighbor_discovery=True, echo_idents=(77, 0xFFFF), icmp_errors=True
    )


@pytest.mark.parametrize(
    "packet",
    [
        ARP(op=2, psrc="10.9.0.2", pdst="10.9.0.1"),
        IP(src="10.9.0.2", dst="10.9.0.1") / ICMP(type=0, id=77),
        IP(src="10.9.0.2", dst="10.9.0.1") / ICMP(type=0, id=0xFFFF),
        IP(dst="10.9.0.1", options=b"\x07\x07\x04\0\0\0\0\0") / ICMP(type=0, id=77),
        IP(dst="10.9.0.1") / ICMP(type=3, code=1) / IP(),
        IP(dst="10.9.0.1") / ICMP(type=11) / IP(),
        IP(dst="10.9.0.1", proto=1, frag=100) / b"the rest of a reply",
        IPv6(dst="fd09::1") / ICMPv6EchoReply(id=77),
        IPv6(dst="fd09::1") / ICMPv6DestUnreach() / IPv6(),
        IPv6(dst="fd09::1") / ICMPv6ND_NA(),
        IPv6(dst="fd09::1") / IPv6ExtHdrFragment(offset=10, nh=58) / b"the rest",
        IPv6(dst="fd09::1") / IPv6ExtHdrHopByHop() / ICMPv6EchoReply(id=77),
    ],
    ids=lambda packet: packet.summary(),
)
def test_what_answers_a_ping_gets_through(ping, packet):
    assert accepts(ping, ether() / packet)


@pytest.mark.parametrize(
    "packet",
    [
        ARP(op=1, psrc="10.9.0.2", pdst="10.9.0.7"),
        IP(dst="10.9.0.1") / ICMP(type=0, id=78),
        IP(dst="10.9.0.1") / ICMP(type=8, id=77),
        IP(dst="10.9.0.7") / ICMP(type=0, id=77),
        IP(dst="10.9.0.1") / TCP(dport=22),
        IP(dst="10.9.0.1") / UDP(dport=53),
        IP(dst="10.9.0.1", proto=6, frag=100) / b"somebody's segment",
        IPv6(dst="fd09::1") / ICMPv6EchoRequest(id=77),
        IPv6(dst="fd09::1") / ICMPv6EchoReply(id=78),
        IPv6(dst="fd09::2") / ICMPv6EchoReply(id=77),
        IPv6(dst="ff02::1:ff00:1") / ICMPv6ND_NA(),
        IPv6(dst="fd09::1") / TCP(dport=22),
        b"\0" * 46,
    ],
    ids=lambda packet: packet.summary() if hasattr(packet, "summary") else "nothing known",
)
def test_what_no_ping_wants_does_not_wake_it(ping, packet):
    assert not accepts(ping, ether() / packet)


def test_a_frame_cut_short_is_dropped_or_left_to_the_stack(ping):
    whole = bytes(ether() / IP(dst="10.9.0.1") / ICMP(type=0, id=77))
    program = ping.program(14)
    assert [run(program, whole[:length]) for length in range(34)] == [0] * 34


def test_a_whole_host_takes_all_ip_for_its_addresses_and_all_arp():
    host = Interest(addresses=(OURS4, OURS6), broadcasts=(b"\xff" * 4,), arp=ARP_ALL, multicast=True, everything=True)
    assert accepts(host, ether() / ARP(pdst="10.9.0.9"))
    assert accepts(host, ether() / IP(dst="10.9.0.1") / UDP(dport=53))
    assert accepts(host, ether() / IP(dst="255.255.255.255") / UDP(dport=67))
    assert accepts(host, ether() / IP(dst="224.0.0.1") / ICMP())
    assert accepts(host, ether() / IPv6(dst="ff02::1:ff00:1") / b"")
    assert not accepts(host, ether() / IP(dst="10.9.0.2") / ICMP())
    assert not accepts(host, ether() / IPv6(dst="fd09::2") / ICMPv6EchoRequest())


def test_flows_are_told_apart_by_protocol_and_local_port():
    flows = Interest(addresses=(OURS4, OURS6), ports=((6, 8080), (6, 9000), (17, 53)))
    for network in (IP(dst="10.9.0.1"), IPv6(dst="fd09::1")):
        assert accepts(flows, ether() / network / TCP(dport=8080))
        assert accepts(flows, ether() / network / TCP(dport=9000))
        assert accepts(flows, ether() / network / UDP(dport=53))
        assert not accepts(flows, ether() / network / UDP(dport=8080))
        assert not accepts(flows, ether() / network / TCP(dport=53))
    assert not accepts(flows, ether() / IP(dst="10.9.0.1") / ICMP(type=0))


def test_without_addresses_any_destination_will_do():
    anywhere = Interest(echo_idents=(5,))
    assert accepts(anywhere, ether() / IP(dst="1.2.3.4") / ICMP(type=0, id=5))
    assert accepts(anywhere, ether() / IPv6(dst="2001:db8::1") / ICMPv6EchoReply(id=5))


def test_only_our_mac_and_group_addresses_get_through(ping):
    reply = IP(dst="10.9.0.1") / ICMP(type=0, id=77)
    assert accepts(ping, ether() / reply, macs=(b"\2" * 6, MAC))
    assert accepts(ping, Ether(dst="ff:ff:ff:ff:ff:ff") / reply, macs=(MAC,))
    assert accepts(ping, Ether(dst="01:00:5e:00:00:01") / reply, macs=(MAC,))
    assert not accepts(ping, Ether(dst=ELSE_TEXT) / reply, macs=(MAC,))


def test_tags_are_told_apart(ping):
    reply = ether() / IP(dst="10.9.0.1") / ICMP(type=0, id=77)
    assert accepts(ping, reply)
    assert accepts(ping, reply, tag=0xE000)  # a priority alone
    assert not accepts(ping, reply, tag=5)
    assert accepts(ping, reply, tag=0x6005, vlans=(5,))
    assert not accepts(ping, reply, tag=6, vlans=(5,))
    assert not accepts(ping, reply, vlans=(5,))
    assert accepts(ping, reply, tag=9, vlans=None)
    inner = ether() / Dot1Q(vlan=7) / IP(dst="10.9.0.1") / ICMP(type=0, id=77)
    assert accepts(ping, inner, tag=5, vlans=(5, 7))
    assert not accepts(ping, inner, tag=5, vlans=(5, 8))


def test_on_all_interfaces_the_kind_counts(ping):
    packet = bytes(IP(dst="10.9.0.1") / ICMP(type=0, id=77))
    cooked = ping.program(0, hatype=0)
    assert run(cooked, packet, protocol=0x0800, hatype=0xFFFE)
    assert not run(cooked, packet, protocol=0x0800, hatype=1)
    assert not run(cooked, packet, protocol=0x0800, hatype=772)
    assert not run(ping.program(14, hatype=1), bytes(ether() / packet), hatype=0xFFFE)


def test_a_long_list_of_addresses_still_reaches_its_label():
    addresses = [bytes([10, 9, high, low]) for high in range(4) for low in range(250)]
    interest = Interest(addresses=addresses, echo_idents=range(700))
    program = interest.program(14)
    assert len(program) // 8 <= 4096
    for address in random.Random(1).sample(addresses, 20):
        text = ".".join(map(str, address))
        assert run(program, bytes(ether() / IP(dst=text) / ICMP(type=0, id=699)))
        assert not run(program, bytes(ether() / IP(dst=text) / ICMP(type=0, id=700)))
    assert not run(program, bytes(ether() / IP(dst="10.9.5.0") / ICMP(type=0, id=1)))


def test_jumps_of_any_distance_arrive():
    for distance in (0, 1, 249, 250, 251, 252, 255, 256, 257, 600):
        asm = Assembler()
        asm.load(LD_B, 0)
        asm.jump(JEQ, 7, then="yes", otherwise="no")
        for _ in range(distance):
            asm.load(LD_B, 1)
        asm.label("no")
        asm.ret(1)
        asm.label("yes")
        asm.ret(2)
        program = asm.assemble()
        assert (run(program, b"\7\0"), run(program, b"\6\0")) == (2, 1), distance


def test_the_mute_program_takes_nothing():
    assert run(MUTE, bytes(64)) == 0
