"""Virtual and paced clocks; a second simulated network plays the part of the real clock."""

import os
from collections.abc import Iterator, Sequence

import pytest

from pytools.run.waiters import PacedWaiter, VirtualWaiter, sim_waiter
from pytools.sim.network import Network
from pytools.units import MS, NEVER, SECOND, Ns

Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


class Wall:
    """A wall clock that a test can read, with input that comes at a given time."""

    def __init__(self, input_at: Ns = NEVER, start: Ns = 0) -> None:
        self.network = Network(start)
        self.input_at = input_at
        self.ready: Sequence[int] = ()
        self.waits = 0

    def now(self) -> Ns:
        return self.network.now()

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        self.waits += 1
        self.ready = tuple(readable) if self.input_at <= max(until, self.now()) else ()
        return self.network.wait(min(until, self.input_at))


def test_virtual_time_stands_still_while_input_is_pending(pipe: Pipe) -> None:
    reader, writer = pipe
    network = Network()
    waiter = VirtualWaiter(network)
    os.write(writer, b"x")
    assert waiter.wait(SECOND, (reader,), ()) == 0
    assert list(waiter.ready) == [reader]
    os.read(reader, 1)
    assert waiter.wait(SECOND, (reader,), ()) == SECOND
    assert list(waiter.ready) == []


def test_a_wait_without_descriptors_reports_none_as_ready(pipe: Pipe) -> None:
    reader, writer = pipe
    waiter = VirtualWaiter(Network())
    os.write(writer, b"x")
    waiter.wait(0, (reader,), ())
    waiter.wait(0, (), ())
    assert list(waiter.ready) == []


def test_when_only_input_can_happen_virtual_time_waits_for_it(pipe: Pipe) -> None:
    reader, writer = pipe
    network = Network()
    network.push(SECOND, lambda _: os.write(writer, b"x"))
    waiter = VirtualWaiter(network)
    assert waiter.wait(NEVER, (reader,), ()) == SECOND
    assert list(waiter.ready) == [reader]


def test_nothing_to_come_and_no_descriptor_is_never() -> None:
    assert VirtualWaiter(Network()).wait(NEVER, (), ()) == NEVER
    assert PacedWaiter(Network(), 1.0, Wall()).wait(NEVER, (), ()) == NEVER


def test_a_paced_wait_takes_the_time_it_says() -> None:
    wall, network = Wall(start=77), Network()
    waiter = PacedWaiter(network, 1.0, wall)
    assert waiter.wait(SECOND, (), ()) == SECOND
    assert wall.now() == SECOND + 77


@pytest.mark.parametrize(("pace", "seconds"), [(2.0, 5), (0.5, 20), (10.0, 1)])
def test_the_pace_is_virtual_seconds_a_second(pace: float, seconds: int) -> None:
    wall = Wall()
    PacedWaiter(Network(), pace, wall).wait(10 * SECOND, (), ())
    assert wall.now() == seconds * SECOND


def test_events_of_the_network_happen_at_their_own_virtual_time_and_pace() -> None:
    wall, network, seen = Wall(), Network(), []
    for at in (100 * MS, 300 * MS):
        network.push(at, lambda _: seen.append((network.now(), wall.now())))
    PacedWaiter(network, 1.0, wall).wait(SECOND, (), ())
    assert seen == [(100 * MS, 100 * MS), (300 * MS, 300 * MS)]
    assert wall.waits == 3


def test_a_frame_ends_the_wait() -> None:
    wall, network = Wall(), Network()

    def arrive(_: None) -> None:
        network.arrived += 1

    network.push(100 * MS, arrive)
    assert PacedWaiter(network, 1.0, wall).wait(SECOND, (), ()) == 100 * MS


def test_input_comes_at_the_virtual_time_of_its_moment() -> None:
    wall, network = Wall(input_at=250 * MS), Network()
    waiter = PacedWaiter(network, 1.0, wall)
    assert waiter.wait(SECOND, (5,), ()) == 250 * MS
    assert list(waiter.ready) == [5]


def test_input_never_carries_time_past_an_event_that_is_due() -> None:
    wall, network = Wall(input_at=0, start=0), Network()
    waiter = PacedWaiter(network, 1.0, wall)
    wall.network.wait(500 * MS)
    assert waiter.wait(100 * MS, (5,), ()) == 0
    assert network.now() == 0


def test_late_work_is_made_up_for_without_sleeping() -> None:
    wall, network = Wall(), Network()
    waiter = PacedWaiter(network, 1.0, wall)
    waiter.wait(SECOND, (), ())
    wall.network.wait(SECOND + 300 * MS)  # the caller was busy
    waiter.wait(SECOND + 200 * MS, (), ())
    assert wall.now() == SECOND + 300 * MS
    waiter.wait(2 * SECOND, (), ())
    assert wall.now() == 2 * SECOND


def test_after_a_long_stop_the_pace_starts_anew() -> None:
    wall, network = Wall(), Network()
    waiter = PacedWaiter(network, 1.0, wall)
    waiter.wait(SECOND, (), ())
    wall.network.wait(3600 * SECOND)
    waiter.wait(2 * SECOND, (), ())
    assert network.now() == 2 * SECOND
    assert wall.now() == 3601 * SECOND


@pytest.mark.parametrize(
    ("pace", "interactive", "kind"),
    [
        (None, False, VirtualWaiter),
        (None, True, PacedWaiter),
        (0.0, True, VirtualWaiter),
        (2.0, False, PacedWaiter),
    ],
)
def test_the_pace_that_was_asked_for_wins_over_the_one_that_fits(pace: float, interactive: bool, kind: type) -> None:
    assert type(sim_waiter(Network(), pace, interactive=interactive)) is kind
