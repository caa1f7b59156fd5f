"""The standard network: each address gives its outcome, in both families."""

import errno
from pathlib import Path
from random import Random

import pytest

from pytools.engine import EngineEvent
from pytools.run.driver import DONE, IDLE, Driver
from pytools.run.waiters import VirtualWaiter
from pytools.sim import spec
from pytools.sim.topology import DISCARD, ECHO, Topology, address4, address6
from pytools.stack.events import EchoReply, IcmpError, UdpReceived
from pytools.stack.packet import IpOptions
from pytools.stack.stack import Stack
from pytools.trace.events import FrameReceived, FrameSent, WireLost
from pytools.trace.hub import Trace
from pytools.units import MS, SECOND
from pytools.wire.addr import format_ip, parse_ip

IDENT = 77


class Sim:
    """A stack in the place of the engine under test."""

    def __init__(self, text: str = "delay=10ms", seed: int = 1) -> None:
        self.trace = Trace()
        self.topology = Topology(spec.parse(text), self.trace)
        self.stack = Stack(Random(seed), trace=self.trace)
        self.topology.configure(self.stack)
        self.stack.open_echo(IDENT)
        self.events: list[EngineEvent] = []
        network = self.topology.network
        self.driver = Driver(self.stack, [self.topology.link], VirtualWaiter(network), self.events.append)

    @property
    def now(self) -> int:
        return self.topology.network.now()

    def ping(self, address: str, size: int = 56, seq: int = 1, **options: object) -> EngineEvent | None:
        """The first thing heard of one echo request."""
        self.events.clear()
        sent = IpOptions(**options)  # type: ignore[arg-type]
        assert self.stack.send_echo(parse_ip(address), IDENT, seq, bytes(size), self.now, sent) == 0
        self.driver.run(lambda: bool(self.events))
        return self.events[0] if self.events else None


@pytest.mark.parametrize(
    ("address", "ttl"),
    [
        ("10.0.0.1", 64),
        ("10.0.0.2", 64),
        ("10.0.1.1", 64),
        ("10.0.1.2", 63),
        ("10.0.5.2", 63),
        ("fd00::1", 64),
        ("fd00::2", 64),
        ("fd00:0:0:1::1", 64),
        ("fd00:0:0:1::2", 63),
        ("fd00:0:0:5::2", 63),
    ],
)
def test_a_host_answers_after_two_round_trips_of_the_wire_and_one_when_it_is_known(address: str, ttl: int) -> None:
    sim = Sim()
    reply = sim.ping(address)
    assert isinstance(reply, EchoReply)
    assert (format_ip(reply.src), reply.ttl, sim.now) == (address, ttl, 40 * MS)
    assert isinstance(sim.ping(address, seq=2), EchoReply)
    assert sim.now == 60 * MS


@pytest.mark.parametrize(
    ("address", "source", "kind", "code", "at"),
    [
        # RFC 792, RFC 1812 5.2.7.1: net, host, and administratively filtered
        ("10.0.0.99", "10.0.0.10", 3, 1, 3 * SECOND),
        ("10.0.1.99", "10.0.0.1", 3, 1, 3 * SECOND + 40 * MS),
        ("10.0.2.1", "10.0.0.1", 3, 0, 40 * MS),
        ("10.0.3.1", "10.0.0.1", 3, 13, 40 * MS),
        ("192.0.2.1", "10.0.0.1", 3, 0, 40 * MS),
        # RFC 4443 3.1: no route, prohibited, address unreachable
        ("fd00::99", "fd00::10", 1, 3, 3 * SECOND),
        ("fd00:0:0:1::99", "fd00::1", 1, 3, 3 * SECOND + 40 * MS),
        ("fd00:0:0:2::1", "fd00::1", 1, 0, 40 * MS),
        ("fd00:0:0:3::1", "fd00::1", 1, 1, 40 * MS),
        ("2001:db8::1", "fd00::1", 1, 0, 40 * MS),
    ],
)
def test_a_refusal_comes_from_where_it_belongs(address: str, source: str, kind: int, code: int, at: int) -> None:
    sim = Sim()
    error = sim.ping(address)
    assert isinstance(error, IcmpError)
    assert (format_ip(error.src), error.type, error.code, sim.now) == (source, kind, code, at)


@pytest.mark.parametrize("address", ["10.0.4.1", "fd00:0:0:4::1"])
def test_a_black_hole_is_silent_until_nothing_more_can_happen(address: str) -> None:
    sim = Sim()
    assert sim.ping(address) is None
    assert sim.driver.run() == IDLE


@pytest.mark.parametrize(("address", "kind", "code"), [("10.0.5.2", 3, 4), ("fd00:0:0:5::2", 2, 0)])
def test_a_packet_above_1280_octets_is_too_big_for_the_small_link(address: str, kind: int, code: int) -> None:
    sim = Sim()
    fits = 1280 - (28 if kind == 3 else 48)
    assert isinstance(sim.ping(address, fits, df="do"), EchoReply)
    error = sim.ping(address, fits + 1, df="do", seq=2)
    assert isinstance(error, IcmpError)
    assert (error.type, error.code, error.info) == (kind, code, 1280)
    # Now the sender knows.
    known = sim.stack.send_echo(parse_ip(address), IDENT, 3, bytes(fits + 1), sim.now, IpOptions(df="do"))
    assert known == errno.EMSGSIZE


def test_the_router_fragments_for_the_small_link_when_it_may() -> None:
    reply = Sim().ping("10.0.5.2", 1400, df="dont")
    assert isinstance(reply, EchoReply)
    assert len(reply.payload) == 1400


def test_time_exceeded_comes_from_the_router() -> None:
    for address in ("10.0.1.2", "fd00:0:0:1::2"):
        error = Sim().ping(address, ttl=1)
        assert isinstance(error, IcmpError)
        assert (error.type, error.code) == ((11, 0) if "." in address else (3, 0))


@pytest.mark.parametrize("address", ["10.0.0.2", "10.0.1.2", "fd00::2", "fd00:0:0:1::2"])
def test_echo_and_discard_are_served_by_udp(address: str) -> None:
    sim = Sim()
    port = sim.stack.open_udp()
    for service in (DISCARD, ECHO):
        assert sim.stack.send_udp(port, parse_ip(address), service, b"hello", sim.now) == 0
    sim.driver.run()
    (answer,) = (event for event in sim.events if isinstance(event, UdpReceived))
    assert (answer.src_port, answer.payload) == (ECHO, b"hello")


@pytest.mark.parametrize(("address", "kind", "code"), [("10.0.0.2", 3, 3), ("fd00::2", 1, 4)])
def test_another_udp_port_is_unreachable(address: str, kind: int, code: int) -> None:
    sim = Sim()
    port = sim.stack.open_udp()
    sim.stack.send_udp(port, parse_ip(address), 5, b"hello", 0)
    sim.driver.run(lambda: bool(sim.events))
    assert isinstance(sim.events[0], IcmpError)
    assert (sim.events[0].type, sim.events[0].code) == (kind, code)


def test_two_echo_services_do_not_talk_to_each_other_for_ever() -> None:
    sim = Sim()
    sim.stack.open_udp(ECHO, lambda datagram: datagram.payload)
    sim.stack.send_udp(ECHO, parse_ip("10.0.0.2"), ECHO, b"hello", 0)
    assert sim.driver.run() == IDLE
    assert sim.topology.out.counters.sent < 10


def test_a_far_host_reaches_us_only_through_the_impaired_wire() -> None:
    sim = Sim("delay.out=5ms,delay.in=7ms")
    sim.ping("10.0.1.2")
    assert sim.now == 2 * 12 * MS


def test_lost_frames_are_counted_and_traced_for_the_engine() -> None:
    sim = Sim("drop.out=2")
    lost: list[WireLost] = []
    sim.trace.subscribe(lost.append, ("wire",))
    assert sim.ping("10.0.0.2") is None
    assert [(event.direction, event.number, event.why) for event in lost] == [("out", 2, "listed")]
    assert sim.topology.out.counters.lost == 1


def frames(text: str, seed: int) -> list[tuple[str, int, bytes]]:
    sim = Sim(text, seed)
    seen: list[tuple[str, int, bytes]] = []

    def listen(event: FrameSent | FrameReceived) -> None:
        octets = b"".join(event.parts) if isinstance(event, FrameSent) else event.frame
        seen.append((event.name, event.now, octets))

    sim.trace.subscribe(listen, ("frame",))
    for seq in range(30):
        for host in ("10.0.0.2", "fd00:0:0:1::2", "10.0.1.99"):
            sim.stack.send_echo(parse_ip(host), IDENT, seq, b"payload", sim.now)
        sim.driver.run(lambda until=sim.now + 100 * MS: sim.now >= until)
    return seen


def test_the_same_seeds_give_the_same_bytes_at_the_same_times() -> None:
    text = "delay=10ms,jitter=5ms,loss=10%,dup=5%,reorder=10%,corrupt=5%,rate=1mbit,seed=3"
    first = frames(text, 1)
    assert first == frames(text, 1)
    assert first != frames(text.replace("seed=3", "seed=4"), 1)


def test_corrupted_frames_never_pass_for_good_ones() -> None:
    sim = Sim("corrupt=30%,seed=5")
    good = 0
    for seq in range(200):
        reply = sim.ping("10.0.0.2", seq=seq)
        if isinstance(reply, EchoReply) and reply.checksum_ok:
            good += 1
            assert reply.payload == bytes(56)
            assert reply.seq == seq
    counters = [wire.counters for wire in (sim.topology.out, sim.topology.inward)]
    assert all(c.corrupted > 20 for c in counters)
    assert 0.3 < good / 200 < 0.7


def test_a_virtual_hour_with_one_ping_a_second_takes_no_time() -> None:
    sim = Sim()
    for seq in range(3600):
        while sim.now < seq * SECOND:
            sim.driver.step(seq * SECOND)
        sim.stack.send_echo(parse_ip("10.0.0.2"), IDENT, seq, b"", sim.now)
    sim.driver.run(lambda: len(sim.events) == 3600)
    assert sim.now >= 3599 * SECOND
    assert sum(isinstance(event, EchoReply) for event in sim.events) == 3600


def test_the_description_names_every_network_that_is_there() -> None:
    text = Topology.describe()
    for third in range(6):
        assert format_ip(address4(third, 0)) + "/24" in text
        assert format_ip(address6(third, 0)).removesuffix("/64") + "/64" in text
    assert all(len(line) <= 120 for line in text.splitlines())


def test_the_addresses_read_the_same_in_both_families() -> None:
    assert format_ip(address4(0, 10)) == "10.0.0.10"
    assert format_ip(address6(0, 10)) == "fd00::10"
    assert format_ip(address6(5, 99)) == "fd00:0:0:5::99"


def test_a_sim_that_is_done_says_done() -> None:
    sim = Sim()
    sim.stack.send_echo(parse_ip("10.0.0.2"), IDENT, 1, b"", 0)
    assert sim.driver.run(lambda: bool(sim.events)) == DONE


def test_the_lan_can_be_a_vlan_and_the_networks_behind_it_are_not() -> None:
    topology = Topology(spec.parse(""), vlans=(5,))
    stack = Stack(Random(1))
    topology.configure(stack, [(parse_ip("10.0.0.50"), 24)])
    stack.open_echo(IDENT)
    events: list[EngineEvent] = []
    driver = Driver(stack, [topology.link], VirtualWaiter(topology.network), events.append)
    for host in ("10.0.0.2", "10.0.1.2"):
        stack.send_echo(parse_ip(host), IDENT, 1, b"", 0)
    driver.run()
    assert [format_ip(event.dst) for event in events if isinstance(event, EchoReply)] == ["10.0.0.50"] * 2


def test_the_page_about_the_simulation_has_the_description_and_every_key() -> None:
    page = (Path(__file__).parents[2] / "docs/sim.md").read_text()
    assert Topology.describe() in page
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `")]
    assert [row[1].strip(" `") for row in rows] == [*spec.KEYS]
    for row in rows:
        spec.parse(row[2].strip(" `"))
