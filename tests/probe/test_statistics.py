import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytools.probe.statistics import (
    Histogram,
    Jitter,
    RttSum,
    bucket_middle,
    bucket_of,
    bucket_start,
    mdev,
    rebin,
)

DURATIONS = st.integers(0, 3_600_000_000_000)
MICROSECONDS = st.lists(st.integers(0, 60_000_000), min_size=1, max_size=200)


def summed(*samples: int) -> RttSum:
    total = RttSum()
    for sample in samples:
        total.add(sample)
    return total


def newton(square: int) -> int:
    """The integer square root by Newton's rule from above, stopping when it no longer falls."""
    if square <= 0:
        return square
    previous, x = 1 << 63, square
    while x < previous:
        previous, x = x, (x + square // x) // 2
    return x


@pytest.mark.parametrize(
    ("samples", "line"),
    [  # samples and what ping printed for them (iputils 20221126 and git)
        ((397, 76), (76, 236, 397, 160)),
        ((37, 8, 6, 64, 68), (6, 36, 68, 26)),
        ((30, 10, 9, 62, 64), (9, 35, 64, 24)),
        ((43, 7, 7), (7, 19, 43, 17)),
        ((23, 7, 7), (7, 12, 23, 7)),
        ((397, 319), (319, 358, 397, 39)),
        ((258, 236), (236, 247, 258, 11)),
        ((328, 273), (273, 300, 328, 27)),
        ((22, 8, 4, 4, 5), (4, 8, 22, 6)),
        ((41,), (41, 41, 41, 0)),
    ],
)
def test_min_avg_max_mdev_are_those_that_ping_prints(samples: tuple[int, ...], line: tuple[int, ...]) -> None:
    total = summed(*samples)
    assert (total.min_us, total.avg_us, total.max_us, total.mdev_us) == line


def test_the_moving_average_is_pings() -> None:
    assert summed(56, 79).ewma_us == 58  # SIGQUIT line of ping: 0.056/0.067/0.058/0.079
    assert summed(43, 7, 7).ewma_us == 34
    assert summed(23, 7, 7).ewma_us == 19
    assert summed(22, 8, 4, 4, 5).ewma_us == 15


@given(MICROSECONDS)
def test_mdev_is_the_population_standard_deviation(samples: list[int]) -> None:
    total = summed(*samples)
    if total.sum_us < 0x7FFF_FFFF:
        assert total.mdev_us == pytest.approx(statistics.pstdev(samples), abs=1.5)


@given(st.integers(0, 10**12))
def test_the_root_stops_where_newtons_rule_stops(square: int) -> None:
    assert mdev(1, 0, square) == newton(square)


def test_the_root_of_one_less_than_a_square_is_rounded_up() -> None:
    assert [mdev(1, 0, square) for square in (3, 8, 15, 24, 9, 10)] == [2, 3, 4, 5, 3, 3]


def test_large_sums_take_pings_second_formula() -> None:
    total = summed(*[30_000_000] * 50, *[50_000_000] * 50)
    assert total.avg_us == 40_000_000
    assert total.mdev_us == 10_000_000


def test_nothing_counted_is_all_zero() -> None:
    empty = RttSum()
    assert (empty.min_us, empty.avg_us, empty.max_us, empty.mdev_us, empty.ewma_us) == (0, 0, 0, 0, 0)


@given(MICROSECONDS, MICROSECONDS)
def test_merging_is_counting_both(first: list[int], second: list[int]) -> None:
    merged = summed(*first)
    merged.merge(summed(*second))
    both = summed(*first, *second)
    assert (merged.min_us, merged.avg_us, merged.max_us, merged.mdev_us, merged.count) == (
        both.min_us,
        both.avg_us,
        both.max_us,
        both.mdev_us,
        both.count,
    )


@given(DURATIONS)
def test_every_value_is_inside_its_bucket(value: int) -> None:
    index = bucket_of(value)
    assert bucket_start(index) <= value < bucket_start(index + 1)


@given(DURATIONS)
def test_the_middle_of_a_bucket_is_within_one_percent_of_its_values(value: int) -> None:
    assert abs(bucket_middle(bucket_of(value)) - value) <= value * 0.01


@given(st.lists(st.integers(1, 10**10), min_size=1, max_size=300), st.sampled_from([50, 90, 95, 99, 99.9, 100]))
def test_percentiles_are_within_one_percent_of_the_sorted_samples(samples: list[int], percent: float) -> None:
    histogram = Histogram()
    for sample in samples:
        histogram.add(sample)
    rank = max(1, -int(-len(samples) * percent // 100))
    exact = sorted(samples)[rank - 1]
    assert abs(histogram.percentile(percent) - exact) <= exact * 0.01


def test_the_median_of_an_even_count_is_the_lower_middle_sample() -> None:
    histogram = Histogram()
    for value in (100, 120, 90, 110):
        histogram.add(value)
    assert histogram.percentiles((50, 75, 100)) == (100, 110, 120)


def test_an_empty_histogram_has_no_rows_and_zero_percentiles() -> None:
    assert Histogram().percentile(99) == 0
    assert rebin(Histogram(), 10) == []


def test_a_million_samples_take_no_more_memory_than_their_range() -> None:
    histogram = Histogram()
    rng = random.Random(1)
    for _ in range(20_000):
        histogram.add(int(rng.lognormvariate(10, 1)))
    assert len(list(histogram.buckets())) < 64 * 14


@given(st.lists(st.integers(0, 10**11), min_size=1, max_size=100))
def test_rows_for_people_lose_no_sample(samples: list[int]) -> None:
    histogram = Histogram()
    for sample in samples:
        histogram.add(sample)
    rows = rebin(histogram, 12)
    assert sum(count for _low, _high, count in rows) == len(samples)
    assert all(high == rows[at + 1][0] for at, (_low, high, _count) in enumerate(rows[:-1]))
    assert len(rows) <= 60


def test_rows_step_by_one_two_five_over_a_wide_range() -> None:
    histogram = Histogram()
    for value in (1_000_000, 3_000_000, 40_000_000):
        histogram.add(value)
    assert [low for low, _high, _count in rebin(histogram, 10)] == [
        1_000_000,
        2_000_000,
        5_000_000,
        10_000_000,
        20_000_000,
    ]


def test_jitter_follows_rfc_3550_a8() -> None:
    jitter = Jitter()
    expected = 0.0
    previous = None
    for sample in (20_000, 21_000, 19_500, 30_000, 30_000, 20_500) * 20:
        jitter.add(sample)
        if previous is not None:
            expected += (abs(sample - previous) - expected) / 16
        previous = sample
    assert jitter.us == pytest.approx(expected, abs=2)


def test_one_sample_has_no_jitter() -> None:
    jitter = Jitter()
    jitter.add(5000)
    assert jitter.us == 0
