"""The connect engine over the standard simulated network: 10.0.0.2 serves 7, 9, 19 and 80 and refuses the rest."""

import errno
from random import Random

import pytest

from pytools.probe.tcpconnect import ConnectConfig, ConnectTarget, TcpConnectEngine
from pytools.probe.tcpconnect_events import ConnectClosed, ConnectResult, ConnectStarted, DataReady
from pytools.run.driver import Driver
from pytools.run.waiters import VirtualWaiter
from pytools.sim import spec
from pytools.sim.tcp_services import TcpServices
from pytools.sim.topology import Topology
from pytools.stack.stack import Stack
from pytools.stack.tcp.config import TcpConfig
from pytools.stack.tcp.tcp import Tcp
from pytools.units import MS, SECOND
from pytools.wire.addr import parse_ip

PEER, PEER6, NOBODY = "10.0.0.2", "fd00::2", "10.0.0.99"


class World:
    """An engine on the standard network, and what it told."""

    def __init__(self, targets, way="sim", claim=None, release=None, **config):
        self.topology = Topology(spec.parse(way))
        self.stack = Stack(Random(5))
        self.topology.configure(self.stack)
        tcp = self.stack.install(6, Tcp)
        for host in (self.topology.peer, self.topology.far, self.topology.small):
            TcpServices(self.topology.network, host)
        goals = [ConnectTarget(parse_ip(address), port, b"", claim, release) for address, port in targets]
        self.engine = TcpConnectEngine(self.stack, tcp, goals, ConnectConfig(**config))
        self.events = []
        self.driver = Driver(
            self.engine, [self.topology.link], VirtualWaiter(self.topology.network), self.events.append
        )

    @property
    def now(self):
        return self.topology.network.now()

    def run(self, done=None):
        assert self.driver.run(done or (lambda: self.engine.done)) == "done"
        return self

    def of(self, kind):
        return [event for event in self.events if type(event) is kind]

    @property
    def outcomes(self):
        return [result.outcome for result in self.of(ConnectResult)]


def test_an_open_port_is_told_with_the_time_of_its_handshake():
    world = World([(PEER, 7)], "sim:delay=20ms").run()
    (result,) = world.of(ConnectResult)
    # ARP there and back, SYN and SYN-ACK: four times 20 ms
    assert result.outcome == "open"
    assert 80 * MS <= result.took_ns < 81 * MS
    assert result.remote == (parse_ip(PEER), 7)


def test_the_connection_of_a_probe_is_closed_in_order():
    world = World([(PEER, 7)]).run()
    (closed,) = world.of(ConnectClosed)
    assert closed.errno == 0
    assert world.engine.reason == "count"


@pytest.mark.parametrize(
    ("target", "outcome", "number", "icmp"),
    [
        ((PEER, 81), "refused", errno.ECONNREFUSED, None),
        ((PEER6, 81), "refused", errno.ECONNREFUSED, None),
        (("10.0.3.2", 80), "unreachable", errno.EHOSTUNREACH, ("10.0.0.1", 3, 13)),
        (("10.0.2.2", 80), "unreachable", errno.ENETUNREACH, ("10.0.0.1", 3, 0)),
        (("fd00:0:0:3::2", 80), "unreachable", errno.EACCES, ("fd00::1", 1, 1)),
        ((NOBODY, 80), "unreachable", errno.EHOSTUNREACH, ("10.0.0.10", 3, 1)),
        (("10.0.4.2", 80), "timed_out", errno.ETIMEDOUT, None),
    ],
)
def test_a_port_that_is_not_open_says_why_and_who_said_so(target, outcome, number, icmp):
    world = World([target], timeout_ns=5 * SECOND).run()
    (result,) = world.of(ConnectResult)
    assert (result.outcome, result.errno) == (outcome, number)
    said = result.icmp and (result.icmp.src, result.icmp.type, result.icmp.code)
    assert said == (icmp and (parse_ip(icmp[0]), *icmp[1:]))


def test_silence_ends_after_the_time_that_was_asked_for():
    world = World([("10.0.4.2", 80)], timeout_ns=2500 * MS).run()
    (result,) = world.of(ConnectResult)
    assert result.took_ns == 2500 * MS
    # Linux sends the first SYNs a second apart
    assert result.syn_count == 3


def test_attempts_are_an_interval_apart_and_each_has_its_own_port():
    world = World([(PEER, 7)], count=3, interval_ns=SECOND).run()
    starts = world.of(ConnectStarted)
    assert [start.now // SECOND for start in starts] == [0, 1, 2]
    assert len({start.local for start in starts}) == 3
    assert world.engine.tallies[0].counts["open"] == 3
    assert world.engine.tallies[0].rtts.count == 3


def test_a_slow_answer_does_not_hold_up_the_next_attempt():
    world = World([(NOBODY, 7)], count=3, interval_ns=500 * MS, timeout_ns=2 * SECOND).run()
    assert [start.now // MS for start in world.of(ConnectStarted)] == [0, 500, 1000]
    assert len(world.outcomes) == 3


def test_every_target_of_a_round_is_tried():
    world = World([(PEER, port) for port in range(1, 101)], limit=8).run()
    opened = [event.remote[1] for event in world.of(ConnectResult) if event.outcome == "open"]
    assert opened == [7, 9, 19, 80]
    assert world.outcomes.count("refused") == 96


def test_a_fixed_port_can_be_used_again_when_probes_are_reset():
    world = World([(PEER, 7)], claim=lambda: 4000, count=3, interval_ns=100 * MS, reset=True).run()
    assert {start.local[1] for start in world.of(ConnectStarted)} == {4000}
    assert world.outcomes == ["open"] * 3


def test_a_port_is_claimed_for_each_attempt_and_given_back():
    ports, back = iter(range(5000, 5010)), []
    world = World([(PEER, 7), (PEER, 81)], claim=lambda: next(ports), release=back.append).run()
    assert sorted(back) == [5000, 5001]
    assert world.engine.done


def test_a_port_that_can_not_be_had_is_an_attempt_that_failed():
    def claim():
        raise OSError(errno.EADDRINUSE, "in use")

    world = World([(PEER, 7)], claim=claim, count=2, interval_ns=MS).run()
    assert world.outcomes == ["failed", "failed"]
    assert world.of(ConnectResult)[0].errno == errno.EADDRINUSE


def test_the_first_target_that_opens_is_kept_for_data():
    world = World([(PEER, 81), (PEER, 7), (PEER, 9)], keep=True)
    world.run(lambda: world.engine.kept is not None)
    assert world.outcomes == ["refused", "open"]
    kept = world.engine.kept.stream
    kept.send(b"hello", world.now)
    world.run(lambda: kept.connection.receiver.queued)
    assert kept.recv(100, world.now) == b"hello"
    kept.shutdown(1, world.now)
    world.run()
    assert world.engine.reason == "closed"
    assert kept.recv(100, world.now) == b""
    assert world.of(DataReady)
    (closed,) = world.of(ConnectClosed)
    assert (closed.info.bytes_acked, closed.info.bytes_received) == (5, 5)


def test_no_target_that_opens_ends_the_run():
    world = World([(PEER, 81), (PEER, 82)], keep=True).run()
    assert world.outcomes == ["refused", "refused"]
    assert world.engine.kept is None


def test_options_that_are_switched_off_are_not_agreed_on():
    config = TcpConfig()
    config.sack = config.timestamps = config.window_scaling = False
    config.mss = 1000
    world = World([(PEER, 7)], tcp=config).run()
    (closed,) = world.of(ConnectClosed)
    assert closed.info.options == {"timestamps": False, "sack": False, "wscale": False}
    assert closed.info.advmss == 1000


def test_nothing_begins_after_the_end():
    world = World([(PEER, 7)], count=0)
    world.run(lambda: len(world.outcomes) == 2)
    world.engine.finish(world.now)
    count = len(world.of(ConnectStarted))
    world.driver.step(world.now + 5 * SECOND)
    assert world.engine.reason == "interrupted"
    assert len(world.of(ConnectStarted)) == count
