"""A stack in a test, told as a story: what it receives, what it is expected to send, time that passes.

    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.expects("ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)")
    t.receives(arp_reply("10.0.0.2"))
    t.expects("ECHO id 77 seq 1 len 8 ttl 64 DF 10.0.0.10 > 10.0.0.2")

Received frames are built by scapy, sent ones are compared in the notation of the trace, where `*` stands for anything.
"""

import re
from random import Random

from scapy.layers.inet import IP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet as Layer

from pytools.engine import ETHERNET, EngineEvent, Port, RxMeta
from pytools.stack.config import StackConfig
from pytools.stack.events import EchoReply, IcmpError
from pytools.stack.packet import IpOptions
from pytools.stack.routes import Route
from pytools.stack.stack import Stack
from pytools.trace.hub import Trace
from pytools.units import SECOND
from pytools.wire.addr import Network, format_ip, multicast_mac, parse_ip, parse_mac
from pytools.wire.notation import describe

ME = "02:00:00:00:00:0a"
"""Our MAC on port 0; port n has the last octet 0x0a + n."""
PEER = "02:00:00:00:00:02"
OTHER = "02:00:00:00:00:03"
ROUTER = "02:00:00:00:00:01"
EVERYBODY = "ff:ff:ff:ff:ff:ff"
ECHO_ID = 77


def my_mac(port: int = 0) -> str:
    return f"02:00:00:00:00:{0x0A + port:02x}"


class Story:
    """One stack with ports 0..n-1, virtual time, and what it sent and told."""

    def __init__(
        self,
        *addresses: str,
        ports: int = 1,
        shared: bool = False,
        probe: bool = False,
        link_type: int = ETHERNET,
        mtu: int = 1500,
        vlans: tuple[int, ...] = (),
        seed: int = 1,
        epoch_ns: int = 0,
        **settings: object,
    ) -> None:
        self.now = 0
        self.link_type = link_type
        self.trace = Trace()
        self.traced: list[object] = []
        self.config = StackConfig(auto_link_local=settings.pop("auto_link_local", False), **settings)
        self.stack = Stack(Random(seed), self.config, self.trace, epoch_ns)
        for index in range(ports):
            mac = parse_mac(my_mac(index)) if link_type == ETHERNET else b""
            self.stack.add_port(Port(index, f"eth{index}", link_type, mtu, mac, 0, vlans))
        for text in addresses:
            self.has(text, shared=shared, probe=probe)
        self.stack.open_echo(ECHO_ID)
        self.frames: list[tuple[int, bytes]] = []
        """What was sent and not yet expected."""
        self.last: list[bytes] = []
        """The frames of the last `expects`."""
        self.checked = 0

    # --- the world around it ------------------------------------------------------------------------------------------

    def has(self, text: str, port: int = 0, **how: bool) -> None:
        """Give it an address, `10.0.0.10/24` (on port 0) or `10.0.1.10/24@1`."""
        text, at, index = text.partition("@")
        address, _, length = text.partition("/")
        octets = parse_ip(address)
        self.stack.add_address(int(index) if at else port, octets, int(length or len(octets) * 8), self.now, **how)

    def routes(self, network: str, gateway: str | None = None, port: int = 0, **how: object) -> Route:
        """Give it a route."""
        route = Route(Network.parse(network), port, parse_ip(gateway) if gateway else None, **how)
        self.stack.add_route(route)
        return route

    def knows(self, *neighbors: str, mac: str = PEER, port: int = 0) -> None:
        """It knows these neighbours' MAC for ever."""
        for address in neighbors:
            self.stack.set_neighbor(port, parse_ip(address), parse_mac(mac), self.now)

    def receives(self, layer: Layer | bytes, *, dst: str = "", src: str = PEER, port: int = 0, **meta: object) -> None:
        """A frame comes in; an IP or ARP layer gets the Ethernet header that fits it."""
        frame = layer if isinstance(layer, bytes) else bytes(self._framed(layer, dst, src, port))
        self.stack.on_frame(memoryview(bytearray(frame)), self.now, RxMeta(port, **meta))
        self._collect()

    def _framed(self, layer: Layer, dst: str, src: str, port: int) -> Layer:
        if isinstance(layer, Ether) or self.link_type != ETHERNET:
            return layer
        return Ether(src=src, dst=dst or _link_destination(layer, port)) / layer

    def advance(self, seconds: float) -> None:
        """Time passes; every deadline on the way comes due at its instant."""
        end = self.now + round(seconds * SECOND)
        while (at := self.stack.next_deadline()) <= end:
            self.now = max(self.now, at)
            self.stack.on_deadline(self.now)
            self._collect()
        self.now = end
        self._collect()

    # --- what its user does -------------------------------------------------------------------------------------------

    def ping(self, dst: str, seq: int = 1, payload: bytes = b"", token: object = None, **options: object) -> int:
        """Its user sends an echo request with id 77; the errno."""
        given = IpOptions(**options) if options else None
        result = self.stack.send_echo(parse_ip(dst), ECHO_ID, seq, payload, self.now, given, token)
        self._collect()
        return result

    def _collect(self) -> None:
        while (frame := self.stack.poll_transmit(self.now)) is not None:
            self.frames.append((frame.port, b"".join(frame.parts)))
        assert self.stack.frames == self.stack.accepted + sum(self.stack.drops.values())

    # --- what must come of it -----------------------------------------------------------------------------------------

    def expects(self, *lines: str, port: int | None = None) -> None:
        """Exactly these frames were sent since the last time, in this order (all by `port`, if given)."""
        self._collect()
        sent = [describe(frame, self.link_type) for _, frame in self.frames]
        matches = len(sent) == len(lines) and all(map(_matches, lines, sent))
        assert matches, "\n".join(["expected:", *lines, "sent:", *sent])
        if port is not None:
            assert {index for index, _ in self.frames} == {port}
        self.last = [frame for _, frame in self.frames]
        self.frames.clear()

    def expects_nothing(self) -> None:
        """No frame was sent since the last time."""
        self.expects()

    def link_destination(self, number: int = 0) -> str:
        """Where a frame of the last `expects` went."""
        return self.last[number][:6].hex(":")

    def events(self, kind: type[EngineEvent] = EngineEvent) -> list[EngineEvent]:
        """The events since the last time, which must all be of this kind."""
        found = []
        while (event := self.stack.poll_event()) is not None:
            assert isinstance(event, kind), event
            found.append(event)
        return found

    def replies(self) -> list[tuple[str, int]]:
        """Who answered which sequence number."""
        return [(format_ip(e.src), e.seq) for e in self.events(EchoReply)]

    def errors(self) -> list[tuple[str, int, int]]:
        """ICMP errors about our echoes: who says so, type, code."""
        return [(format_ip(e.src), e.type, e.code) for e in self.events(IcmpError)]

    @property
    def drops(self) -> dict[str, int]:
        """Refused frames by reason."""
        return self.stack.drops

    def dropped(self, reason: str) -> None:
        """The frame just received was the only one refused since the last check, for this reason."""
        assert self.stack.drops == {reason: 1}
        self.stack.drops.clear()
        self.stack.frames = self.stack.accepted

    def listens(self, *categories: str) -> None:
        """Collect trace events in `traced`."""
        self.trace.subscribe(self.traced.append, categories)

    def heard(self, kind: type) -> list[tuple[object, ...]]:
        """The traced events of a kind as tuples of their fields, without the time."""
        return [tuple(getattr(e, slot) for slot in e.__slots__) for e in self.traced if isinstance(e, kind)]


def _matches(pattern: str, line: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), line) is not None


def _link_destination(layer: Layer, port: int) -> str:
    """The MAC that a neighbour would choose for this packet."""
    if isinstance(layer, ARP):
        return EVERYBODY if layer.op == 1 else my_mac(port)
    address = parse_ip(layer.dst) if isinstance(layer, IP | IPv6) else b""
    if address == b"\xff\xff\xff\xff":
        return EVERYBODY
    if address and (address[0] == 0xFF if len(address) == 16 else 224 <= address[0] < 240):
        return multicast_mac(address).hex(":")
    return my_mac(port)


def arp_request(target: str, sender: str, mac: str = PEER) -> Layer:
    """Who has `target`? Tell `sender`."""
    return ARP(op=1, hwsrc=mac, psrc=sender, hwdst="00:00:00:00:00:00", pdst=target)


def arp_reply(sender: str, mac: str = PEER, to: str = "10.0.0.10", to_mac: str = ME) -> Layer:
    """`sender` is at `mac`."""
    return ARP(op=2, hwsrc=mac, psrc=sender, hwdst=to_mac, pdst=to)


def solicitation(target: str, src: str, mac: str | None = PEER, dst: str = "", **ip: object) -> Layer:
    """A Neighbor Solicitation, to the target's group unless `dst` is given."""
    group = format_ip(parse_ip("ff02::1:ff00:0")[:13] + parse_ip(target)[13:])
    message = ICMPv6ND_NS(tgt=target)
    if mac is not None:
        message /= ICMPv6NDOptSrcLLAddr(lladdr=mac)
    return IPv6(src=src, dst=dst or group, **{"hlim": 255, **ip}) / message


def advertisement(
    target: str,
    dst: str = "fd00::10",
    mac: str | None = PEER,
    *,
    solicited: bool = True,
    override: bool = True,
    router: bool = False,
    **ip: object,
) -> Layer:
    """A Neighbor Advertisement."""
    message = ICMPv6ND_NA(tgt=target, R=int(router), S=int(solicited), O=int(override))
    if mac is not None:
        message /= ICMPv6NDOptDstLLAddr(lladdr=mac)
    return IPv6(src=target, dst=dst, **{"hlim": 255, **ip}) / message
