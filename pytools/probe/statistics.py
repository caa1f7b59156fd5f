"""Round-trip times, summed up: ping's integers, a log-bucket histogram and RFC 3550 jitter.

Nothing here keeps a sample. `RttSum` counts whole microseconds and rounds as ping does, so that both print the same
digits for the same samples. `Histogram` answers percentiles with an error of at most 1 in 128.
"""

from collections.abc import Iterator
from itertools import pairwise
from math import isqrt
from typing import Final

from pytools.units import US, Ns

_SUB_BUCKET_BITS: Final = 6
"""Each power of two is cut into 64 buckets, the widest of which spans 1/64 of its lower end."""


class RttSum:
    """min/avg/max/mdev and the moving average of round-trip times, in whole microseconds."""

    __slots__ = ("count", "ewma8_us", "last_us", "max_us", "min_us", "square_sum", "sum_us")

    def __init__(self) -> None:
        self.count = 0
        self.min_us = 0
        self.max_us = 0
        self.sum_us = 0
        self.square_sum = 0
        self.ewma8_us = 0
        """Eight times the moving average: gain 1/8 in integers."""
        self.last_us = 0

    def add(self, rtt_us: int) -> None:
        """Count one sample; samples of duplicates count too, as in ping."""
        if not self.count or rtt_us < self.min_us:
            self.min_us = rtt_us
        if rtt_us > self.max_us:
            self.max_us = rtt_us
        self.count += 1
        self.sum_us += rtt_us
        self.square_sum += rtt_us * rtt_us
        self.ewma8_us = self.ewma8_us + rtt_us - self.ewma8_us // 8 if self.ewma8_us else rtt_us * 8
        self.last_us = rtt_us

    def merge(self, other: "RttSum") -> None:
        """Add the samples of `other`; its moving average, being of another series, is left out."""
        if not other.count:
            return
        self.min_us = min(self.min_us, other.min_us) if self.count else other.min_us
        self.max_us = max(self.max_us, other.max_us)
        self.count += other.count
        self.sum_us += other.sum_us
        self.square_sum += other.square_sum

    @property
    def avg_us(self) -> int:
        """The mean, rounded down; 0 without samples."""
        return self.sum_us // self.count if self.count else 0

    @property
    def ewma_us(self) -> int:
        """The moving average, rounded down."""
        return self.ewma8_us // 8

    @property
    def mdev_us(self) -> int:
        """The standard deviation, to the microsecond that ping prints."""
        return mdev(self.count, self.sum_us, self.square_sum)


def mdev(count: int, total: int, square_sum: int) -> int:
    """The standard deviation of `count` whole microseconds, given their sum and the sum of their squares.

    ping's arithmetic: the variance in double precision, cut to an integer, then an integer square root by Newton's
    rule. Both steps are repeated here, since either may move the last digit.
    """
    if not count:
        return 0
    if total < 0x7FFF_FFFF:
        variance = int((square_sum - float(total) * total / count) / count)
    else:
        mean = total // count
        variance = int(square_sum / count - mean * mean)
    return _newton_root(variance) if variance > 0 else 0


def _newton_root(square: int) -> int:
    """Where Newton's integer rule stops: one above the root when `square` is one below a perfect square."""
    root = isqrt(square)
    return root + 1 if (root + 1) * (root + 1) == square + 1 else root


class Jitter:
    """Interarrival jitter (RFC 3550 6.4.1 and A.8), with the round-trip time in place of the transit time."""

    __slots__ = ("_previous_us", "_scaled")

    def __init__(self) -> None:
        self._previous_us = -1
        self._scaled = 0

    def add(self, rtt_us: int) -> None:
        """Count one sample, in the order of arrival."""
        if self._previous_us >= 0:
            self._scaled += abs(rtt_us - self._previous_us) - ((self._scaled + 8) >> 4)
        self._previous_us = rtt_us

    @property
    def us(self) -> int:
        """The estimate, rounded down."""
        return self._scaled >> 4


class Histogram:
    """Counts of durations in buckets whose width grows with the value.

    Values below 128 ns have a bucket each; above, a bucket spans 1/64 of its power of two or less, so that its middle
    is within 1/128 of every value in it.
    """

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0

    def add(self, value_ns: Ns) -> None:
        """Count one value, 0 or more."""
        index = bucket_of(value_ns)
        self._counts[index] = self._counts.get(index, 0) + 1
        self.count += 1

    def merge(self, other: "Histogram") -> None:
        """Add all counts of `other`."""
        for index, count in other._counts.items():
            self._counts[index] = self._counts.get(index, 0) + count
        self.count += other.count

    def percentile(self, percent: float) -> Ns:
        """The smallest value that `percent` of the values do not exceed (nearest rank), to within 1/128; 0 if empty."""
        rank = max(1, -int(-self.count * percent // 100))
        seen = 0
        for index in sorted(self._counts):
            seen += self._counts[index]
            if seen >= rank:
                return bucket_middle(index)
        return 0

    def percentiles(self, percents: tuple[float, ...]) -> tuple[Ns, ...]:
        """`percentile` of each."""
        return tuple([self.percentile(percent) for percent in percents])

    def buckets(self) -> Iterator[tuple[Ns, Ns, int]]:
        """(lower end, upper end, count) of every bucket in use, in order; the upper end is not in the bucket."""
        for index in sorted(self._counts):
            yield bucket_start(index), bucket_start(index + 1), self._counts[index]


def bucket_of(value_ns: Ns) -> int:
    """The number of the bucket that holds a value."""
    shift = value_ns.bit_length() - _SUB_BUCKET_BITS - 1
    return value_ns if shift <= 0 else (shift << _SUB_BUCKET_BITS) + (value_ns >> shift)


def bucket_start(index: int) -> Ns:
    """The smallest value in a bucket."""
    shift = (index >> _SUB_BUCKET_BITS) - 1
    return index if shift <= 0 else (index - (shift << _SUB_BUCKET_BITS)) << shift


def bucket_middle(index: int) -> Ns:
    """What stands for the values of a bucket."""
    start = bucket_start(index)
    return start + (bucket_start(index + 1) - start) // 2


def rebin(histogram: Histogram, bars: int) -> list[tuple[Ns, Ns, int]]:
    """The histogram as about `bars` rows for people: (from, to, count).

    Their ends grow by the steps 1-2-5 when the values span more than a factor of ten; otherwise rows are equally wide.
    """
    used = list(histogram.buckets())
    if not used:
        return []
    edges = _edges(used[0][0], used[-1][1], bars, used[-1][1] - used[-1][0])
    rows = [[low, high, 0] for low, high in pairwise(edges)]
    at = 0
    for low, high, count in used:
        middle = (low + high) // 2
        while middle >= rows[at][1]:
            at += 1
        rows[at][2] += count
    filled = [number for number, row in enumerate(rows) if row[2]]
    return [(low, high, count) for low, high, count in rows[filled[0] : filled[-1] + 1]]


def _edges(low: Ns, high: Ns, bars: int, finest: Ns) -> list[Ns]:
    if high > 10 * max(low, US):
        edges = [_one_two_five_below(max(low, 1))]
        while edges[-1] < high:
            edges.append(_next_one_two_five(edges[-1]))
        return edges
    step = _next_one_two_five(max(finest, (high - low) // bars))
    start = low - low % step
    return list(range(start, high + step, step))


def _one_two_five_below(value: int) -> int:
    power: int = 10 ** (len(str(value)) - 1)
    return power * max(digit for digit in (1, 2, 5) if digit * power <= value)


def _next_one_two_five(value: int) -> int:
    below = _one_two_five_below(value)
    return below * 5 // 2 if str(below)[0] == "2" else below * 2
