"""A virtual clock for ping's engines: a real stack on a port without link addresses, and a scripted partner.

bench = Bench(parse_ip("10.0.0.2"), count=3)
bench.answers(lambda echo: [(MS, echo.reply())])
bench.run()
assert bench.seen == [...]
"""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from pytools.engine import RAW_IP, EngineEvent, Port, RxMeta
from pytools.probe.ping import PingConfig, PingEngine
from pytools.probe.sweep import SweepConfig, SweepEngine
from pytools.probe.targets import TargetTable
from pytools.stack.config import StackConfig
from pytools.stack.routes import Route
from pytools.stack.stack import Stack
from pytools.units import NEVER, US, Ns
from pytools.wire import icmp, icmp6, ipv4, ipv6
from pytools.wire.addr import Network, parse_ip

OURS4, OURS6 = parse_ip("10.0.0.10"), parse_ip("fd00::10")
IDENT = 77
SEND_COST: Ns = 2 * US
"""The virtual clock moves a little with every frame sent, as a real one does."""


class Echo:
    """An echo request as the partner sees it, and what it may say to it."""

    def __init__(self, packet: bytes, at: Ns) -> None:
        self.packet = packet
        self.at = at
        if packet[0] >> 4 == 4:
            header = ipv4.decode(packet)
            self.family, self.src, self.dst, self.ttl, offset = (
                4,
                header.src,
                header.dst,
                header.ttl,
                header.header_length,
            )
            self.tos, self.options, self.dont_fragment = header.tos, header.options, header.dont_fragment
        else:
            header6 = ipv6.decode(packet)
            self.family, self.src, self.dst, self.ttl, offset = 6, header6.src, header6.dst, header6.hop_limit, 40
            self.tos, self.options, self.dont_fragment = header6.traffic_class, b"", True
        message = icmp.decode(packet, offset)
        self.type, self.ident, self.seq = message.type, message.ident, message.seq
        self.payload = packet[offset + 8 :]

    def reply(
        self,
        payload: bytes | None = None,
        *,
        src: bytes | None = None,
        damage: bool = False,
        options: bytes = b"",
        **fields: int,
    ) -> bytes:
        """The answer, or one that is odd."""
        data = self.payload if payload is None else payload
        ident, seq = fields.get("ident", self.ident), fields.get("seq", self.seq)
        src = src or self.dst
        if self.family == 6:
            message = icmp6.encode_echo(src, self.src, ident, seq, data, icmp6.ECHO_REPLY)
            return ipv6.encode(src, self.src, ipv6.PROTO_ICMPV6, len(message), hop_limit=64) + message
        message = icmp.encode_echo(ident, seq, data, icmp.ECHO_REPLY)
        if damage:
            message = message[:2] + bytes([message[2] ^ 0xFF]) + message[3:]
        header = ipv4.encode(src, self.src, ipv4.PROTO_ICMP, len(message), ttl=fields.get("ttl", 64), options=options)
        return header + message

    def error(self, type_: int, code: int, word: int = 0, src: bytes | None = None) -> bytes:
        """An ICMP error that quotes the request."""
        if self.family == 6:
            src = src or parse_ip("fd00::1")
            message = icmp6.encode(src, self.src, type_, code, word, self.packet)
            return ipv6.encode(src, self.src, ipv6.PROTO_ICMPV6, len(message)) + message
        src = src or parse_ip("10.0.0.1")
        message = icmp.encode(type_, code, word, self.packet[:28])
        return ipv4.encode(src, self.src, ipv4.PROTO_ICMP, len(message)) + message


Answers = Callable[[Echo], list[tuple[Ns, bytes]]]


def a_stack(mtu: int = 1500, **settings: Any) -> Stack:
    """One host with an address of each family, on a port of bare IP packets."""
    stack = Stack(Random(1), StackConfig(**settings))
    stack.add_port(Port(0, "sim0", RAW_IP, mtu))
    stack.add_address(0, OURS4, 24)
    stack.add_address(0, OURS6, 64)
    stack.add_route(Route(Network.parse("0.0.0.0/0"), 0))
    stack.add_route(Route(Network.parse("::/0"), 0))
    return stack


class Bench:
    """Runs one engine against the script until it is done."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine
        self.now: Ns = 0
        self.echoes: list[Echo] = []
        self.seen: list[EngineEvent] = []
        self._arriving: list[tuple[Ns, int, bytes, Ns | None]] = []
        self._answers: Answers = lambda _echo: []
        self.stamp: Callable[[Ns], Ns | None] = lambda at: at
        """Receive stamp of a frame that arrives at a time."""
        self.transmit_stamp: Callable[[Ns], Ns | None] = lambda at: None
        self.refuses: Callable[[Echo], OSError | None] = lambda echo: None
        self.wake_late: Ns = 0

    def answers(self, answers: Answers) -> "Bench":
        self._answers = answers
        return self

    def run(self, until: Ns = NEVER) -> "Bench":
        """Until the engine is done, or `until`."""
        engine = self.engine
        while not engine.done:
            arrives = self._arriving[0][0] if self._arriving else NEVER
            at = min(arrives, engine.next_deadline())
            if at >= NEVER or at > until:
                self.now = max(self.now, until if until < NEVER else self.now)
                return self
            if at > self.now:
                self.now = at + (self.wake_late if at < arrives else 0)
            while self._arriving and self._arriving[0][0] <= self.now:
                _arrived_at, _order, packet, stamp = heappop(self._arriving)
                engine.on_frame(memoryview(bytearray(packet)), self.now, RxMeta(0, stamp))
            if engine.next_deadline() <= self.now:
                engine.on_deadline(self.now)
            self._send()
        self._hand_out()
        return self

    def _send(self) -> None:
        while (transmit := self.engine.poll_transmit(self.now)) is not None:
            packet = b"".join(transmit.parts)
            echo = Echo(packet, self.now)
            if (error := self.refuses(echo)) is not None:
                self.engine.on_transmitted(transmit.token, self.now, None, error)
                continue
            self.engine.on_transmitted(transmit.token, self.now, None, None)
            if (at := self.transmit_stamp(self.now)) is not None:
                self.engine.on_transmitted(transmit.token, self.now, at, None)
            self.echoes.append(echo)
            for delay, answer in self._answers(echo):
                when = self.now + delay
                heappush(self._arriving, (when, len(self.echoes), answer, self.stamp(when)))
            self.now += SEND_COST
        self._hand_out()

    def _hand_out(self) -> None:
        while (event := self.engine.poll_event()) is not None:
            self.seen.append(event)

    def of(self, kind: type) -> list[Any]:
        """The events of one class so far."""
        return [event for event in self.seen if type(event) is kind]


def pinging(dst: str, mtu: int = 1500, **settings: Any) -> Bench:
    """A bench with a PingEngine for one target."""
    config = PingConfig(ident=IDENT, **settings)
    return Bench(PingEngine(a_stack(mtu), parse_ip(dst), config, dst))


def sweeping(*targets: str, mtu: int = 1500, seed: int = 1, queue: int = 4096, **settings: Any) -> Bench:
    """A bench with a SweepEngine for several."""
    table = TargetTable([parse_ip(target) for target in targets])
    return Bench(
        SweepEngine(a_stack(mtu, transmit_limit=queue), table, SweepConfig(ident=IDENT, **settings), Random(seed))
    )
