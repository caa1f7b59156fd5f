"""Stamps on a clock that somebody sets: both clocks are numbers here."""

import pytest

from pytools.link.clock import DOUBT, StampClock
from pytools.units import MS, SECOND


class Clocks:
    """Monotonic time `mono`; the wall shows `wall` more."""

    def __init__(self) -> None:
        self.mono = 1_000 * SECOND
        self.wall = 1_700_000_000 * SECOND

    def stamps(self) -> StampClock:
        return StampClock(lambda: self.mono, lambda: self.mono + self.wall)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_a_stamp_becomes_the_instant_it_was_taken(clocks):
    clock = clocks.stamps()
    taken = clocks.mono
    stamp = taken + clocks.wall
    clocks.mono += 30_000
    assert clock.to_monotonic(stamp, clocks.mono) == taken
    assert clock.stepped() == 0


@pytest.mark.parametrize("step", [-3600 * SECOND, -50 * MS, 50 * MS, 3600 * SECOND])
def test_a_step_of_the_wall_clock_is_noticed_once(clocks, step):
    clock = clocks.stamps()
    clocks.mono += 2 * MS
    clocks.wall += step
    clock.to_monotonic(clocks.mono + clocks.wall, clocks.mono)
    assert clock.stepped() == step
    assert clock.stepped() == 0


@pytest.mark.parametrize("step", [-3600 * SECOND, -50 * MS, 50 * MS, 3600 * SECOND])
def test_stamps_from_both_sides_of_a_step_are_right(clocks, step):
    clock = clocks.stamps()
    before = clocks.mono
    old_stamp = before + clocks.wall
    clocks.mono += 2 * MS
    clocks.wall += step
    after = clocks.mono
    new_stamp = after + clocks.wall
    clocks.mono += MS
    assert clock.to_monotonic(old_stamp, clocks.mono) == before
    assert clock.to_monotonic(new_stamp, clocks.mono) == after


def test_long_after_a_step_only_the_new_difference_counts(clocks):
    clock = clocks.stamps()
    clocks.wall += 5 * MS
    clocks.mono += 2 * MS
    clock.check()
    clocks.mono += DOUBT + 20 * MS
    taken = clocks.mono - 10 * MS
    assert clock.to_monotonic(taken + clocks.wall, clocks.mono) == taken


def test_a_stamp_from_the_future_is_no_stamp(clocks):
    clock = clocks.stamps()
    assert clock.to_monotonic(clocks.mono + clocks.wall + SECOND, clocks.mono) is None


def test_a_stamp_some_microseconds_ahead_counts_as_now(clocks):
    clock = clocks.stamps()
    assert clock.to_monotonic(clocks.mono + clocks.wall + 5_000, clocks.mono) == clocks.mono
