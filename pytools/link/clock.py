"""The engine's clock on a real machine, and the way from the kernel's stamps to it.

The kernel stamps frames with CLOCK_REALTIME, the engine counts CLOCK_MONOTONIC. Both run at the same rate, so the
difference is one constant, until somebody steps the wall clock (or the machine was suspended, which CLOCK_MONOTONIC
does not count).
"""

from collections.abc import Callable
from time import monotonic_ns, time_ns
from typing import Final

from pytools.units import MS, SECOND, US, Ns

__all__ = ["StampClock", "monotonic_ns"]

SLACK: Final = 20 * US
"""A difference within this is the cost of reading two clocks, not a step."""
CHECK_EVERY: Final = MS
DOUBT: Final = SECOND
"""For so long after a step a stamp may belong to either difference."""


class StampClock:
    """Converts realtime stamps (ns since 1970) to monotonic instants, and notices steps of the wall clock."""

    __slots__ = ("_before", "_check_at", "_doubt_until", "_monotonic", "_realtime", "_stepped", "offset")

    def __init__(self, monotonic: Callable[[], Ns] = monotonic_ns, realtime: Callable[[], Ns] = time_ns) -> None:
        self._monotonic = monotonic
        self._realtime = realtime
        self._stepped: Ns = 0
        self.offset: Ns = self._sample()
        """Realtime minus monotonic."""
        self._before = self.offset
        self._check_at: Ns = 0
        self._doubt_until: Ns = -1

    def _sample(self) -> Ns:
        """The tightest of a few readings (being preempted between the clocks makes one wrong)."""
        best, width = 0, 1 << 62
        for _ in range(4):
            start = self._monotonic()
            wall = self._realtime()
            end = self._monotonic()
            if end - start < width:
                best, width = wall - (start + end) // 2, end - start
        return best

    def check(self) -> None:
        """Compare the clocks (0.5 us); a step is kept for `stepped`. `to_monotonic` does this each millisecond."""
        start = self._monotonic()
        wall = self._realtime()
        end = self._monotonic()
        self._check_at = end + CHECK_EVERY
        if start + self.offset - SLACK <= wall <= end + self.offset + SLACK:
            return
        fresh = self._sample()
        if abs(fresh - self.offset) > SLACK:
            self._stepped += fresh - self.offset
            self._before, self.offset = self.offset, fresh
            self._doubt_until = end + DOUBT

    def stepped(self) -> Ns:
        """How far the wall clock was stepped since the last call (0: not at all; negative: back)."""
        amount, self._stepped = self._stepped, 0
        return amount

    def to_monotonic(self, stamp: Ns, now: Ns) -> Ns | None:
        """The instant of a realtime stamp, which can't be later than `now`; None where that can't be known."""
        if now >= self._check_at:
            self.check()
        at = stamp - self.offset
        if now > self._doubt_until and at <= now:
            return at
        return self._choose(stamp, now)

    def _choose(self, stamp: Ns, now: Ns) -> Ns | None:
        """A stamp from before a step belongs to the old difference: the instant nearer to `now`, but not later."""
        offsets = (self.offset, self._before) if now <= self._doubt_until else (self.offset,)
        past = [stamp - offset for offset in offsets if stamp - offset <= now + SLACK]
        return min(max(past), now) if past else None
