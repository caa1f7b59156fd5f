"""The stack beside the Linux kernel: the same frames at both, and the same answers from both, to the byte.

What differs on purpose is in DIFFERENT with its reason. Only IPv4's Identification is left out of the comparison.
"""

import select
import socket
import time
from collections.abc import Iterator
from random import Random

import pytest
from scapy.layers.inet import ICMP, IP, UDP, IPOption_LSRR, IPOption_Router_Alert, IPOption_RR, fragment
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptSrcLLAddr,
    ICMPv6Unknown,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    fragment6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet, Raw

from pytools.engine import Port, RxMeta
from pytools.stack.config import StackConfig
from pytools.stack.routes import Route
from pytools.stack.stack import Stack
from pytools.wire import ipv4_options
from pytools.wire.addr import Network, parse_ip, parse_mac
from pytools.wire.notation import describe

pytestmark = pytest.mark.root

US, THEM = "02:00:00:09:00:aa", "02:00:00:09:00:02"
BROADCAST = "ff:ff:ff:ff:ff:ff"
IN4, IN6 = IP(src="10.9.0.10", dst="10.9.0.2"), IPv6(src="fd09::10", dst="fd09::2")
PATTERN = bytes(n & 0xFF for n in range(3000))
QUIET_S = 0.03
"""The kernel answers within microseconds."""


def options(octets: bytes, **fields: object) -> IP:
    return IP(src="10.9.0.10", dst="10.9.0.2", options=Raw(octets), **fields)


def piece(first: int, size: int, more: bool = True, **fields: object) -> Packet:
    flags = "MF" if more else ""
    head = IP(src="10.9.0.10", dst="10.9.0.2", **{"id": 77, "proto": 17, **fields}, flags=flags, frag=first // 8)
    return head / Raw(PATTERN[first : first + size])


def piece6(first: int, size: int, more: bool = True, nh: int = 17, ident: int = 77) -> Packet:
    return (
        IN6 / IPv6ExtHdrFragment(offset=first // 8, m=int(more), id=ident, nh=nh) / Raw(PATTERN[first : first + size])
    )


def solicit(target: str = "fd09::2", mac: str | None = US, **fields: object) -> Packet:
    head = IPv6(**{"src": "fd09::10", "dst": "ff02::1:ff00:2", "hlim": 255, **fields})
    return head / ICMPv6ND_NS(tgt=target) / (ICMPv6NDOptSrcLLAddr(lladdr=mac) if mac else b"")


def unknown_option(kind: int) -> Packet:
    return IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=kind, optdata=b"\0\0")])


ECHO = ICMP(id=5, seq=6) / PATTERN[:56]
ECHO6 = ICMPv6EchoRequest(id=5, seq=6, data=PATTERN[:56])

STIMULI: dict[str, Packet | list[Packet]] = {
    "echo": IN4 / ECHO,
    "echo without data": IN4 / ICMP(id=5, seq=6),
    "echo of one octet": IN4 / ICMP(id=5, seq=6) / b"x",
    "echo of 1472": IN4 / ICMP(id=5, seq=6) / PATTERN[:1472],
    "echo with DF": IP(src="10.9.0.10", dst="10.9.0.2", flags="DF") / ECHO,
    "echo with a type of service": IP(src="10.9.0.10", dst="10.9.0.2", tos=0x2B) / ECHO,
    "echo with TTL 1": IP(src="10.9.0.10", dst="10.9.0.2", ttl=1) / ECHO,
    "echo with TTL 0": IP(src="10.9.0.10", dst="10.9.0.2", ttl=0) / ECHO,
    "echo with code 1": IN4 / ICMP(code=1, id=5),
    "echo with a bad checksum": IN4 / ICMP(id=5, chksum=1),
    "bad IP checksum": IP(src="10.9.0.10", dst="10.9.0.2", chksum=1) / ECHO,
    "echo to the broadcast": (IP(src="10.9.0.10", dst="10.9.0.255") / ECHO),
    "echo in a broadcast frame": Ether(src=US, dst=BROADCAST) / IN4 / ECHO,
    "echo to another": IP(src="10.9.0.10", dst="10.9.0.77") / ECHO,
    "echo from a broadcast": IP(src="10.9.0.255", dst="10.9.0.2") / ECHO,
    "echo from loopback": IP(src="127.0.0.1", dst="10.9.0.2") / ECHO,
    "echo from nowhere": IP(src="0.0.0.0", dst="10.9.0.2") / ECHO,
    "echo from a group": IP(src="224.0.0.1", dst="10.9.0.2") / ECHO,
    "echo from itself": IP(src="10.9.0.2", dst="10.9.0.2") / ECHO,
    "echo to loopback": IP(src="10.9.0.10", dst="127.0.0.1") / ECHO,
    "timestamp": IN4 / ICMP(type=13, id=5, seq=6, ts_ori=1),
    "timestamp with code 1": IN4 / ICMP(type=13, code=1, id=5, seq=6),
    "address mask": IN4 / ICMP(type=17),
    "information": IN4 / ICMP(type=15),
    "unknown ICMP type": IN4 / ICMP(type=99) / PATTERN[:8],
    "ICMP of 4 octets": IN4 / Raw(b"\x08\0\xf7\xff"),
    "reply to nobody": IN4 / ICMP(type=0, id=5),
    "record route": options(ipv4_options.record_route(4)) / ECHO,
    "record route of 9": options(ipv4_options.record_route()) / ECHO,
    "full record route": options(b"\x07\x07\x08\x0a\x09\0\1\0") / ECHO,
    "timestamp option": options(ipv4_options.timestamp(ipv4_options.TS_AND_ADDRESS, 4)) / ECHO,
    "timestamp option, stamps only": options(ipv4_options.timestamp(ipv4_options.TS_ONLY, 4)) / ECHO,
    "timestamp option, prespecified": options(
        ipv4_options.timestamp(ipv4_options.TS_PRESPECIFIED, addresses=[parse_ip("10.9.0.2"), parse_ip("10.9.0.3")])
    )
    / ECHO,
    "source route": IP(src="10.9.0.10", dst="10.9.0.2", options=[IPOption_LSRR(routers=["10.9.0.3"], pointer=8)])
    / ECHO,
    "router alert": IP(src="10.9.0.10", dst="10.9.0.2", options=[IPOption_Router_Alert()]) / ECHO,
    "unknown option": options(b"\x1e\x04\xaa\xbb") / ECHO,
    "security option": options(b"\x82\x0b" + bytes(9) + b"\0") / ECHO,
    "option without length": options(b"\1\1\1\x07") / ECHO,
    "option of length 1": options(b"\x07\x01\x04\x00") / ECHO,
    "option beyond the header": options(b"\x07\x28\x04\x00") / ECHO,
    "record route with pointer 3": options(b"\x07\x07\x03" + bytes(5)) / ECHO,
    "record route with a pointer amidst": options(b"\x07\x07\x06" + bytes(5)) / ECHO,
    "two record routes": options((b"\x07\x07\x04" + bytes(4)) * 2 + b"\0\0") / ECHO,
    "timestamp overflow": options(b"\x44\x08\x09\xf0" + bytes(4)) / ECHO,
    "closed UDP port": IN4 / UDP(sport=9, dport=9) / PATTERN[:100],
    "closed UDP port, large": IN4 / UDP(sport=9, dport=9) / PATTERN[:1400],
    "closed UDP port with a type of service": IP(src="10.9.0.10", dst="10.9.0.2", tos=0x2B) / UDP(dport=9),
    "closed UDP port with options": IP(src="10.9.0.10", dst="10.9.0.2", options=[IPOption_RR(length=7)]) / UDP(dport=9),
    "closed UDP port, bad checksum": IN4 / UDP(dport=9, chksum=1) / b"x",
    "closed UDP port, no checksum": IN4 / UDP(dport=9, chksum=0) / b"x",
    "closed UDP port, broadcast": IP(src="10.9.0.10", dst="10.9.0.255") / UDP(dport=9),
    "UDP of wrong length": IN4 / UDP(dport=9, len=7),
    "unknown protocol": IP(src="10.9.0.10", dst="10.9.0.2", proto=200) / PATTERN[:8],
    "error about nothing": IN4 / ICMP(type=3, code=3) / IP(src="10.9.0.2", dst="10.9.0.10") / UDP(sport=5),
    "echo in pieces": fragment(IP(bytes(IN4 / ICMP(id=5, seq=6) / PATTERN[:2000])), 1000),
    "echo in pieces backwards": fragment(IP(bytes(IN4 / ICMP(id=5, seq=6) / PATTERN[:2000])), 1000)[::-1],
    "UDP in overlapping pieces": [piece(0, 800, id=1), piece(400, 800, id=1), piece(1200, 8, False, id=1)],
    "UDP in pieces twice": [piece(0, 800, id=2), piece(0, 800, id=2), piece(800, 8, False, id=2)],
    "ping of death": [piece(0, 1480, id=3), piece(65528, 100, False, id=3)],
    "piece not a multiple of 8": [piece(0, 801, id=4), piece(800, 8, False, id=4)],
    "ARP request": ARP(op=1, hwsrc=US, psrc="10.9.0.10", pdst="10.9.0.2"),
    "ARP probe": ARP(op=1, hwsrc=US, psrc="0.0.0.0", pdst="10.9.0.2"),
    "ARP unicast": Ether(src=US, dst=THEM) / ARP(op=1, hwsrc=US, psrc="10.9.0.10", pdst="10.9.0.2"),
    "ARP for another": ARP(op=1, hwsrc=US, psrc="10.9.0.10", pdst="10.9.0.77"),
    "ARP announcement": ARP(op=1, hwsrc=US, psrc="10.9.0.10", pdst="10.9.0.10"),
    "ARP reply": ARP(op=2, hwsrc=US, psrc="10.9.0.10", hwdst=THEM, pdst="10.9.0.2"),
    "ARP of another hardware": ARP(op=1, hwtype=6, hwsrc=US, psrc="10.9.0.10", pdst="10.9.0.2"),
    "ARP operation 9": ARP(op=9, hwsrc=US, psrc="10.9.0.10", pdst="10.9.0.2"),
    "echo6": IN6 / ECHO6,
    "echo6 of 1452": IN6 / ICMPv6EchoRequest(id=5, seq=6, data=PATTERN[:1452]),
    "echo6 with a traffic class": IPv6(src="fd09::10", dst="fd09::2", tc=0x2B) / ECHO6,
    "echo6 with a flow label": IPv6(src="fd09::10", dst="fd09::2", fl=0x12345) / ECHO6,
    "echo6 with hop limit 0": IPv6(src="fd09::10", dst="fd09::2", hlim=0) / ECHO6,
    "echo6 with a bad checksum": IN6 / ICMPv6EchoRequest(id=5, cksum=1),
    "echo6 to all nodes": IPv6(src="fd09::10", dst="ff02::1") / ECHO6,
    "echo6 to another group": IPv6(src="fd09::10", dst="ff02::77") / ECHO6,
    "echo6 from a group": IPv6(src="ff02::1", dst="fd09::2") / ECHO6,
    "echo6 from loopback": IPv6(src="::1", dst="fd09::2") / ECHO6,
    "echo6 from nowhere": IPv6(src="::", dst="fd09::2") / ECHO6,
    "echo6 to another": IPv6(src="fd09::10", dst="fd09::77") / ECHO6,
    "echo6 through extension headers": IN6 / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / ECHO6,
    "echo6 as an atomic fragment": IN6 / IPv6ExtHdrFragment(id=9) / ECHO6,
    "echo6 with a used routing header": IN6 / IPv6ExtHdrRouting(type=0, segleft=0, addresses=["fd09::9"]) / ECHO6,
    "routing header 0": IN6 / IPv6ExtHdrRouting(type=0, segleft=1, addresses=["fd09::9"]) / ECHO6,
    "unknown routing header": IN6 / IPv6ExtHdrRouting(type=99, segleft=1, addresses=["fd09::9"]) / ECHO6,
    "reply6 to nobody": IN6 / ICMPv6EchoReply(id=5),
    "unknown ICMPv6 message": IN6 / ICMPv6Unknown(type=200, msgbody=bytes(8)),
    "unknown ICMPv6 error": IN6 / ICMPv6Unknown(type=100, msgbody=bytes(48)),
    "unknown next header": IPv6(src="fd09::10", dst="fd09::2", nh=200) / PATTERN[:8],
    "unknown next header later": IN6 / IPv6ExtHdrDestOpt(nh=200) / PATTERN[:8],
    "no next header": IPv6(src="fd09::10", dst="fd09::2", nh=59),
    "hop-by-hop in the middle": IN6 / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / ECHO6,
    "option to skip": IN6 / unknown_option(0x1E) / ECHO6,
    "option to discard": IN6 / unknown_option(0x5E) / ECHO6,
    "option to discard and tell": IN6 / unknown_option(0x9E) / ECHO6,
    "option to discard and tell unless a group": IN6 / unknown_option(0xDE) / ECHO6,
    "option to discard and tell, to a group": IPv6(src="fd09::10", dst="ff02::1") / unknown_option(0x9E) / ECHO6,
    "option to discard, to a group": IPv6(src="fd09::10", dst="ff02::1") / unknown_option(0xDE) / ECHO6,
    "option beyond its header": IN6 / IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optlen=99)]) / ECHO6,
    "closed UDP port6": IN6 / UDP(sport=9, dport=9) / PATTERN[:100],
    "closed UDP port6, large": IN6 / UDP(sport=9, dport=9) / PATTERN[:1400],
    "closed UDP port6, bad checksum": IN6 / UDP(dport=9, chksum=1) / b"x",
    "closed UDP port6, no checksum": IN6 / UDP(dport=9, chksum=0) / b"x",
    "closed UDP port6, to a group": IPv6(src="fd09::10", dst="ff02::1") / UDP(dport=9),
    "error6 about nothing": IN6 / ICMPv6DestUnreach() / IPv6(src="fd09::2", dst="fd09::10") / UDP(sport=5),
    "echo6 in pieces": fragment6(
        IN6 / IPv6ExtHdrFragment(id=1) / ICMPv6EchoRequest(id=5, seq=6, data=PATTERN[:2000]), 1280
    ),
    "UDP6 in overlapping pieces": [piece6(0, 800, ident=2), piece6(400, 800, ident=2), piece6(1200, 8, False, ident=2)],
    "piece6 not a multiple of 8": piece6(0, 801, ident=3),
    "piece6 beyond 65535": piece6(65528, 100, ident=4),
    "piece6 without its headers": IN6
    / IPv6ExtHdrFragment(offset=0, m=1, id=5, nh=60)
    / Raw(bytes(IPv6ExtHdrDestOpt(nh=6))),
    "solicitation": solicit(),
    "solicitation by unicast": solicit(dst="fd09::2"),
    "solicitation from nowhere": solicit(src="::", mac=None),
    "solicitation from nowhere with a link address": solicit(src="::"),
    "solicitation from nowhere to us": solicit(src="::", mac=None, dst="fd09::2"),
    "solicitation for another": solicit("fd09::77"),
    "solicitation with hop limit 254": solicit(hlim=254),
    "solicitation in a fragment": IPv6(src="fd09::10", dst="fd09::2", hlim=255)
    / IPv6ExtHdrFragment()
    / ICMPv6ND_NS(tgt="fd09::2"),
    "advertisement": IPv6(src="fd09::10", dst="fd09::2", hlim=255) / ICMPv6ND_NA(tgt="fd09::10"),
}

FRESH4, FRESH6 = [f"10.9.0.{n}" for n in range(20, 30)], [f"fd09::2{n}" for n in range(10)]
"""Sources that had no error yet: Linux limits some by source, and no sysctl switches that off in a namespace."""
NEIGHBORS = ("10.9.0.10", "10.9.0.3", "fd09::10", "fe80::3", *FRESH4, *FRESH6)
FAR_NEIGHBORS = ("10.9.1.2", "fd09:1::2")
NOWHERE = {
    "unreachable": ("192.0.2.0/26", "2001:db8:1::/48"),
    "prohibit": ("192.0.2.64/26", "2001:db8:2::/48"),
    "blackhole": ("192.0.2.128/26", "2001:db8:3::/48"),
}


def to4(dst: str = "10.9.1.2", **fields: object) -> IP:
    return IP(**{"src": "10.9.0.10", "dst": dst, **fields})


def to6(dst: str = "fd09:1::2", **fields: object) -> IPv6:
    return IPv6(**{"src": "fd09::10", "dst": dst, **fields})


LARGE, LARGE6 = ICMP(id=5, seq=6) / PATTERN[:1400], ICMPv6EchoRequest(id=5, seq=6, data=PATTERN[:1300])

THROUGH: dict[str, Packet | list[Packet]] = {
    "through": to4(tos=4, flags="DF") / ECHO,
    "TTL 2": to4(ttl=2) / ECHO,
    "TTL 1": to4(ttl=1) / ECHO,
    "TTL 0": to4(ttl=0) / ECHO,
    "no route": to4("203.0.113.1", src=FRESH4[0]) / ECHO,
    "unreachable": to4("192.0.2.1", src=FRESH4[1]) / ECHO,
    "prohibited": to4("192.0.2.65", src=FRESH4[2]) / ECHO,
    "black hole": to4("192.0.2.129") / ECHO,
    "too large": to4() / LARGE,
    "too large with DF": to4(flags="DF") / LARGE,
    "too large with options": to4(options=Raw(ipv4_options.router_alert() + ipv4_options.record_route(2) + b"\0"), id=9)
    / LARGE,
    "a large fragment": to4(flags="MF", frag=10, proto=17) / Raw(PATTERN[:1400]),
    "no route for a later fragment": to4("203.0.113.1", frag=10, proto=17) / PATTERN[:80],
    "record route through": to4(options=Raw(ipv4_options.record_route(4))) / ECHO,
    "timestamps through": to4(options=Raw(ipv4_options.timestamp(ipv4_options.TS_AND_ADDRESS, 3))) / ECHO,
    "timestamp overflow through": to4(options=Raw(b"\x44\x08\x09\xf0" + bytes(4))) / ECHO,
    "malformed option through": to4(options=Raw(b"\x07\x01\0\0")) / ECHO,
    "to its far address": to4("10.9.1.1") / ECHO,
    "to the far broadcast": to4("10.9.1.255") / ECHO,
    "to the limited broadcast": Ether(src=US, dst=BROADCAST) / to4("255.255.255.255") / UDP(dport=9),
    "to link-local": to4("169.254.1.1") / ECHO,
    "to loopback": to4("127.0.0.1") / ECHO,
    "from loopback": IP(src="127.0.0.1", dst="10.9.1.2") / ECHO,
    "from nowhere": IP(src="0.0.0.0", dst="10.9.1.2") / ECHO,
    "in a broadcast frame": Ether(src=US, dst=BROADCAST) / to4() / ECHO,
    "error through": to4("203.0.113.1") / ICMP(type=3, code=3) / IP(src="10.9.1.2", dst="10.9.0.10") / UDP(),
    "back where it came from": to4("198.18.0.1", src=FRESH4[3]) / ECHO,
    "through6": to6(tc=4, fl=5) / ECHO6,
    "hop limit 2": to6(hlim=2) / ECHO6,
    "hop limit 1": to6(hlim=1) / ECHO6,
    "hop limit 0": to6(hlim=0) / ECHO6,
    "no route6": to6("2001:db8:9::1") / ECHO6,
    "unreachable6": to6("2001:db8:1::1") / ECHO6,
    "prohibited6": to6("2001:db8:2::1") / ECHO6,
    "black hole6": to6("2001:db8:3::1") / ECHO6,
    "too large6": to6() / LARGE6,
    "no route for a later fragment6": to6("2001:db8:9::1") / IPv6ExtHdrFragment(offset=9, nh=17) / PATTERN[:80],
    "to its far address6": to6("fd09:1::1") / ECHO6,
    "to link-local6": to6("fe80::9") / ECHO6,
    "from link-local6": IPv6(src="fe80::3", dst="fd09:1::2") / ECHO6,
    "to loopback6": to6("::1") / ECHO6,
    "from nowhere6": IPv6(src="::", dst="fd09:1::2") / ECHO6,
    "to a global group": IPv6(src="fd09::10", dst="ff0e::77") / ECHO6,
    "error through6": to6("2001:db8:9::1") / ICMPv6DestUnreach() / IPv6(src="fd09:1::2", dst="fd09::10") / UDP(),
    "back where it came from6": to6("2001:db8:18::1", src=FRESH6[0]) / ECHO6,
}

DIFFERENT = {
    "echo in a broadcast frame": "RFC 1122 3.3.6: dropped; Linux answers unless drop_unicast_in_l2_multicast is set",
    "echo from a broadcast": "RFC 1122 3.2.1.3: dropped; Linux answers to the broadcast address",
    "too large with options": "Linux fills with NOPs what later fragments don't carry, RFC 791 3.2 leaves it out",
    "timestamps through": "Linux stamps with the address of the arriving port, we with that of the leaving one",
    "back where it came from": "Linux quotes the packet with the TTL that it leaves with, we as it came",
    "two record routes": "Linux quotes the packet after it entered itself in the first of them",
    "solicitation by unicast": "RFC 4861 7.2.4: the link address may be left out; we tell it to whoever asks",
}


class Kernel:
    """The kernel at the far ends of veth pairs; each socket is the near end of its port."""

    def __init__(self, *sockets: socket.socket) -> None:
        self.sockets = sockets

    def answers(self, frames: list[bytes]) -> list[tuple[int, bytes]]:
        """The (port, frame) that come of frames sent into port 0."""
        self._received(0)
        for frame in frames:
            self.sockets[0].send(frame)
        return self._received(QUIET_S)

    def _received(self, quiet_s: float) -> list[tuple[int, bytes]]:
        found = []
        while ready := select.select(self.sockets, [], [], quiet_s)[0]:
            frame = ready[0].recv(70_000)
            # What the kernel says of its own accord is no answer.
            if not describe(frame).startswith(("MLD2-REPORT", "RS ", "NS who-has fe80")):
                found.append((self.sockets.index(ready[0]), frame))
        return sorted(found, key=lambda entry: entry[0])


def near_end() -> socket.socket:
    """A packet socket on v0 of the present namespace."""
    near = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    near.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
    near.bind(("v0", 0))
    return near


class Ours:
    """Our stack with the same addresses."""

    def __init__(self, **settings: object) -> None:
        config = StackConfig(icmp_error_rate=0, **settings)
        self.stack = Stack(Random(1), config, epoch_ns=time.time_ns())
        self.stack.add_port(Port(0, "v0", mac=parse_mac(THEM)))
        self.stack.add_address(0, parse_ip("10.9.0.2"), 24)
        self.stack.add_address(0, parse_ip("fd09::2"), 64)
        for address in NEIGHBORS:
            self.stack.set_neighbor(0, parse_ip(address), parse_mac(US))

    def become_a_router(self) -> None:
        self.stack.add_port(Port(1, "v1", mac=parse_mac("02:00:00:09:01:01"), mtu=1280))
        self.stack.add_address(1, parse_ip("10.9.1.1"), 24)
        self.stack.add_address(1, parse_ip("fd09:1::1"), 64)
        for address in FAR_NEIGHBORS:
            self.stack.set_neighbor(1, parse_ip(address), parse_mac(US))
        for kind, (four, six) in NOWHERE.items():
            self.stack.add_route(Route(Network.parse(four), 0, kind=kind))
            self.stack.add_route(Route(Network.parse(six), 0, kind=kind))
        self.stack.add_route(Route(Network.parse("198.18.0.0/16"), 0, parse_ip("10.9.0.3")))
        self.stack.add_route(Route(Network.parse("2001:db8:18::/48"), 0, parse_ip("fe80::3")))

    def answers(self, frames: list[bytes]) -> list[tuple[int, bytes]]:
        found = []
        for frame in frames:
            self.stack.on_frame(memoryview(frame), 0, RxMeta())
            while (sent := self.stack.poll_transmit(0)) is not None:
                found.append((sent.port, b"".join(sent.parts)))
        return sorted(found, key=lambda entry: entry[0])


def frames_of(stimulus: Packet | list[Packet]) -> list[bytes]:
    return [bytes(_framed(layer)) for layer in (stimulus if isinstance(stimulus, list) else [stimulus])]


def _framed(layer: Packet) -> Packet:
    if isinstance(layer, Ether):
        return layer
    dst = THEM
    if (isinstance(layer, ARP) and layer.op == 1) or str(layer.fields.get("dst", "")).endswith(".255"):
        dst = BROADCAST
    elif isinstance(layer, IPv6) and layer.dst.startswith("ff"):
        dst = "33:33" + "".join(f":{octet:02x}" for octet in parse_ip(layer.dst)[12:])
    return Ether(src=US, dst=dst) / layer


def compared(frame: bytes) -> bytes:
    """A frame without what may differ: identifications, and the time of day."""
    data = bytearray(frame)
    if frame[12:14] == b"\x86\xdd":
        if frame[20] == 44:
            data[58:62] = bytes(4)
        return bytes(data)
    if frame[12:14] == b"\x08\x00":
        data[18:20] = data[24:26] = b"\0\0"
        body = 14 + (frame[14] & 15) * 4
        for option in ipv4_options.parse(frame[34:body]):
            if isinstance(option, ipv4_options.TimestampOption):
                size = 4 if option.flag == ipv4_options.TS_ONLY else 8
                for at in range(34 + option.position + size, body - 3, size):
                    data[at : at + 4] = bytes((any(data[at : at + 4]), 0, 0, 0))
        if frame[body] == 14:
            data[body + 2 : body + 4] = b"\0\0"
            data[body + 12 : body + 20] = bytes(8)
    return bytes(data)


@pytest.fixture
def kernel(wire) -> Iterator[Kernel]:
    for address in NEIGHBORS:
        wire.peer.ip(f"neigh replace {address} lladdr {US} dev v0 nud permanent")
    wire.peer.sysctl(net__ipv6__auto_flowlabels=0)
    with wire.ours.entered():
        yield Kernel(near_end())


@pytest.fixture
def kernel_router(routed) -> Kernel:
    router = routed.router
    for dev, addresses in (("v0", NEIGHBORS), ("v1", FAR_NEIGHBORS)):
        for address in addresses:
            router.ip(f"neigh replace {address} lladdr {US} dev {dev} nud permanent")
    router.ip("link set v1 mtu 1280")
    for kind, networks in NOWHERE.items():
        for network in networks:
            router.ip(f"route add {kind} {network}")
    router.ip("route add 198.18.0.0/16 via 10.9.0.3")
    router.ip("route add 2001:db8:18::/48 via fe80::3 dev v0")
    router.sysctl(net__ipv6__auto_flowlabels=0)
    with routed.client.entered():
        near = near_end()
    with routed.server.entered():
        far = near_end()
    return Kernel(near, far)


def compare(kernel: Kernel, ours: Ours, stimuli: dict[str, Packet | list[Packet]]) -> None:
    wrong = []
    for name, stimulus in stimuli.items():
        frames = frames_of(stimulus)
        theirs, mine = kernel.answers(frames), ours.answers(frames)
        same = [(port, compared(f)) for port, f in theirs] == [(port, compared(f)) for port, f in mine]
        if same == (name in DIFFERENT):
            wrong.append(f"{name}: {'the same' if same else 'not the same'}")
            wrong += [f"  {who} {port} {describe(f)}" for who, all_ in (("k", theirs), ("o", mine)) for port, f in all_]
    assert not wrong, "\n".join(wrong)


def test_the_same_frames_get_the_same_answers(kernel):
    compare(kernel, Ours(auto_link_local=False), STIMULI)


def test_a_router_does_with_the_same_frames_the_same(kernel_router):
    ours = Ours(forwarding=True, send_redirects=True)
    ours.become_a_router()
    compare(kernel_router, ours, THROUGH)
