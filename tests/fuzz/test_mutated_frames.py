"""Mutated frames of every protocol: nothing raises, each frame is counted, and no table grows without bound.

10,000 frames as a rule, with a seed that changes every day; 1,000,000 with --soak. A failure names its seed.
"""

import datetime
import os
from random import Random

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_RR, fragment
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6MLQuery,
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
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    fragment6,
)
from scapy.layers.l2 import ARP, Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from pytools.engine import CHECKSUM_UNKNOWN, CHECKSUM_VERIFIED, RAW_IP, Port, RxMeta
from pytools.stack.config import StackConfig
from pytools.stack.routes import Route
from pytools.stack.stack import Stack
from pytools.stack.udp import SERVICES
from pytools.trace.hub import Trace
from pytools.units import MS
from pytools.wire import ipv4_options
from pytools.wire.addr import Network, parse_ip, parse_mac
from pytools.wire.checksum import checksum
from tests.laws import mutated

US, THEM = "02:00:00:00:00:0a", "02:00:00:00:00:02"
IN4 = IP(src="10.0.0.2", dst="10.0.0.10")
IN6 = IPv6(src="fd00::2", dst="fd00::10")
ND = IPv6(src="fe80::2", dst="fd00::10", hlim=255)
OURS4 = IP(src="10.0.0.10", dst="192.0.2.1") / ICMP(id=77, seq=1)
OURS6 = IPv6(src="fd00::10", dst="2001:db8::1") / ICMPv6EchoRequest(id=77, seq=1)
LIMITS = {
    "reassembly_datagrams": 64,
    "neighbor_limit": 64,
    "path_mtu_limit": 64,
    "template_limit": 64,
    "event_limit": 64,
}
SEED = int(os.environ.get("PYTOOLS_FUZZ_SEED", datetime.date.today().toordinal()))


def valid_frames() -> list[bytes]:
    """At least one of everything that the stack reads."""
    routed = IP(src="10.0.0.2", dst="10.0.0.10", options=[IPOption_LSRR(routers=["10.0.0.1"], pointer=4)])
    recorded = IP(src="10.0.0.2", dst="10.0.0.10", options=[IPOption_RR(length=11, routers=["0.0.0.0"] * 2)])
    stamped = IP(src="10.0.0.2", dst="10.0.0.10", options=Raw(ipv4_options.timestamp(1, 3)))
    layers = [
        ARP(op=1, hwsrc=THEM, psrc="10.0.0.2", pdst="10.0.0.10"),
        ARP(op=2, hwsrc=THEM, psrc="10.0.0.2", hwdst=US, pdst="10.0.0.10"),
        ARP(op=1, hwsrc=THEM, psrc="0.0.0.0", pdst="10.0.0.11"),
        IN4 / ICMP(id=5, seq=1) / bytes(56),
        IN4 / ICMP(type=0, id=77, seq=1) / bytes(56),
        recorded / ICMP(id=5),
        stamped / ICMP(id=5),
        routed / ICMP(id=5),
        IN4 / ICMP(type=13),
        *(IN4 / ICMP(type=t, code=c, nexthopmtu=1400) / OURS4 for t, c in ((3, 1), (3, 4), (4, 0), (11, 0), (12, 0))),
        IN4 / ICMP(type=5, code=1, gw="10.0.0.3") / OURS4,
        IN4 / UDP(sport=9999, dport=7) / b"echo",
        IN4 / UDP(sport=9999, dport=99) / b"nobody",
        IN4 / TCP(flags="S", options=[("MSS", 1460)]),
        IP(src="10.0.0.2", dst="10.0.0.255") / UDP(dport=7) / b"all",
        IP(src="10.0.0.2", dst="224.0.0.1") / ICMP(),
        IP(src="10.0.0.2", dst="192.0.2.9", ttl=1) / UDP(),
        IP(src="10.0.0.2", dst="192.0.2.9") / UDP() / bytes(1400),
        *fragment(IP(bytes(IN4 / UDP(dport=7, sport=9999) / (bytes(range(256)) * 8))), 600),
        IN6 / ICMPv6EchoRequest(id=5, data=bytes(56)),
        IN6 / ICMPv6EchoReply(id=77, data=bytes(56)),
        IPv6(src="fe80::2", dst="ff02::1") / ICMPv6EchoRequest(id=5),
        IN6 / ICMPv6DestUnreach(code=3) / OURS6,
        IN6 / ICMPv6PacketTooBig(mtu=1400) / OURS6,
        IN6 / ICMPv6ParamProblem() / OURS6,
        ND / ICMPv6ND_NS(tgt="fd00::10") / ICMPv6NDOptSrcLLAddr(lladdr=THEM),
        ND / ICMPv6ND_NA(tgt="fd00::2") / ICMPv6NDOptDstLLAddr(lladdr=THEM),
        ND / ICMPv6ND_RS() / ICMPv6NDOptSrcLLAddr(lladdr=THEM),
        ND / ICMPv6ND_RA() / ICMPv6NDOptMTU(mtu=1400) / ICMPv6NDOptPrefixInfo(prefix="fd01::", prefixlen=64),
        ND / ICMPv6ND_Redirect(tgt="fe80::3", dst="2001:db8::1") / ICMPv6NDOptDstLLAddr(lladdr=THEM),
        IPv6(src="fe80::2", dst="ff02::1", hlim=1) / IPv6ExtHdrHopByHop() / ICMPv6MLQuery(),
        IN6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(segleft=0) / UDP(sport=9999, dport=7),
        IN6 / IPv6ExtHdrRouting(type=0, segleft=1, addresses=["fd00::9"]) / UDP(),
        IN6 / UDP(sport=9999, dport=99) / b"nobody",
        *fragment6(IN6 / IPv6ExtHdrFragment(id=1) / UDP(sport=9999, dport=7) / bytes(2000), 700),
    ]
    frames = [bytes(Ether(src=THEM, dst=US) / layer) for layer in layers]
    frames.append(bytes(Ether(src=THEM, dst=US) / Dot1Q(vlan=0) / IN4 / ICMP()))
    frames.append(bytes(Ether(src=THEM, dst=US) / Dot1AD(vlan=10) / Dot1Q(vlan=20) / IN4 / ICMP()))
    frames.append(
        bytes(Ether(src=THEM, dst="ff:ff:ff:ff:ff:ff") / ARP(op=1, hwsrc=THEM, psrc="10.0.0.2", pdst="10.0.0.10"))
    )
    return frames


def a_stack(link_type: int = 1, traced: bool = False, **settings: object) -> Stack:
    """A stack with small tables, so that their limits are met."""
    trace = Trace()
    if traced:
        trace.subscribe(lambda event: None)
    stack = Stack(Random(1), StackConfig(**LIMITS, **settings), trace)
    for index in range(2):
        mac = parse_mac(US)[:5] + bytes((10 + index,)) if link_type == 1 else b""
        stack.add_port(Port(index, f"eth{index}", link_type, 1280, mac))
    for address in ("10.0.0.10/24", "fd00::10/64"):
        network = Network.parse(address)
        stack.add_address(0, parse_ip(address.partition("/")[0]), network.prefix_len)
    stack.add_address(1, parse_ip("10.1.0.1"), 24)
    stack.add_route(Route(Network.parse("0.0.0.0/0"), 0, parse_ip("10.0.0.1")))
    stack.add_route(Route(Network.parse("::/0"), 0, parse_ip("fe80::2")))
    stack.open_echo(77)
    for port, service in SERVICES.items():
        stack.open_udp(port, service)
    return stack


STACKS = {
    "host": lambda: a_stack(accept_source_route=True, accept_ra=True, autoconf=True, multicast_reports=True),
    "router": lambda: a_stack(forwarding=True, send_redirects=True, accept_source_route=True, traced=True),
    "raw IP": lambda: a_stack(RAW_IP, answer_broadcast_echo=True),
}


def repaired(frame: bytes, start: int) -> bytes:
    """The frame with its IPv4 header checksum made right, or most mutations would end there."""
    length = (frame[start] & 15) * 4 if len(frame) > start and frame[start] >> 4 == 4 else 0
    if length < 20 or len(frame) < start + length:
        return frame
    data = bytearray(frame)
    data[start + 10 : start + 12] = b"\0\0"
    data[start + 10 : start + 12] = checksum(data[start : start + length]).to_bytes(2, "big")
    return bytes(data)


def run(stack: Stack, count: int, seed: int, cut: int = 0) -> None:
    """Feed `count` frames; nothing may raise, and every one must be counted."""
    rng, frames, now = Random(seed), [frame[cut:] for frame in valid_frames()], 0
    for number in range(count):
        frame = rng.choice(frames)
        if rng.random() < 0.9:
            frame = mutated(frame, rng, rng.choice(frames))
            if rng.random() < 0.7:
                frame = repaired(frame, 14 - cut)
        now += rng.choice((0, 1, MS, 1000 * MS))
        try:
            meta = RxMeta(rng.choice((0, 0, 1)), checksum=rng.choice((CHECKSUM_UNKNOWN, CHECKSUM_VERIFIED)))
            stack.on_frame(memoryview(bytearray(frame)), now, meta)
            if rng.random() < 0.3:
                stack.on_deadline(now)
            while stack.poll_transmit(now) is not None:
                pass
            while rng.random() < 0.5 and stack.poll_event() is not None:
                pass
        except Exception as error:
            raise AssertionError(f"seed {seed}, frame {number}: {frame.hex()}") from error
        assert stack.frames == stack.accepted + sum(stack.drops.values()), f"seed {seed}, frame {number}: {frame.hex()}"
    check_bounds(stack)


def check_bounds(stack: Stack) -> None:
    """Every table is within its limit."""
    config = stack.config
    assert len(stack._reassembly) <= config.reassembly_datagrams
    assert stack._reassembly.octets <= config.reassembly_octets
    assert all(len(stack.neighbors(port)) <= config.neighbor_limit for port in (0, 1))
    assert len(stack._destinations) <= config.path_mtu_limit
    assert len(stack._events) <= config.event_limit
    assert len(stack._node.deadlines._heap) <= 4 * len(stack._node.deadlines) + 65
    assert len(stack.drops) < 80


@pytest.mark.parametrize("name", STACKS)
def test_mutated_frames_raise_nothing_and_are_counted(name):
    run(STACKS[name](), 3500, SEED, 14 if name == "raw IP" else 0)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", STACKS)
def test_a_million_mutated_frames_raise_nothing_and_are_counted(name):
    run(STACKS[name](), 334_000, SEED, 14 if name == "raw IP" else 0)


@pytest.mark.parametrize("name", STACKS)
def test_the_valid_frames_reach_every_protocol(name):
    stack = STACKS[name]()
    for frame in valid_frames():
        stack.on_frame(memoryview(frame[14 if name == "raw IP" else 0 :]), 0, RxMeta())
    assert stack.accepted >= 15


def test_noise_leaves_no_memory_behind():
    """A flood of one kind that fills a table, a hundred times its size."""
    stack = a_stack()
    rng = Random(SEED)
    echo = bytearray(bytes(Ether(src=THEM, dst=US) / IN4 / ICMP(id=5)))
    request = bytearray(bytes(Ether(src=THEM, dst=US) / ARP(op=1, hwsrc=THEM, psrc="10.0.0.2", pdst="10.0.0.10")))
    piece = bytearray(bytes(Ether(src=THEM, dst=US) / IP(src="10.0.0.2", dst="10.0.0.10", flags="MF") / bytes(64)))
    for number in range(6400):
        for frame, at in ((request, 28), (request, 31), (piece, 18)):
            frame[at] = rng.randrange(1, 200)
        piece[24:26] = b"\0\0"
        total = sum(int.from_bytes(piece[n : n + 2], "big") for n in range(14, 34, 2))
        piece[24:26] = (0xFFFF - total % 0xFFFF).to_bytes(2, "big")
        for frame in (echo, request, piece):
            stack.on_frame(memoryview(frame), number * MS, RxMeta())
        stack.on_deadline(number * MS)
        while stack.poll_transmit(number * MS) is not None:
            pass
        while stack.poll_event() is not None:
            pass
    check_bounds(stack)
