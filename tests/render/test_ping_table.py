from pytools.probe.ping_events import Summary
from pytools.probe.statistics import Histogram, Jitter
from pytools.render.ping_table import duration, histogram_lines, stats_line, table_lines, totals_line
from pytools.units import MS, SECOND
from pytools.wire.addr import parse_ip


def summary(name: str, sent: int, *samples_us: int, measured: bool = False, **fields: int) -> Summary:
    made = Summary(name, parse_ip("10.9.1.2"))
    made.sent, made.received = sent, len(samples_us)
    if measured:
        made.histogram, made.jitter = Histogram(), Jitter()
    for sample in samples_us:
        made.rtt.add(sample)
        if measured:
            made.histogram.add(sample * 1000)
            made.jitter.add(sample)
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def total_of(*summaries: Summary) -> Summary:
    total = Summary("", b"")
    for each in summaries:
        total.sent += each.sent
        total.received += each.received
        total.errors += each.errors
        total.duplicates += each.duplicates
        total.rtt.merge(each.rtt)
    return total


def test_targets_are_aligned_in_columns() -> None:
    rows = (summary("10.0.0.2", 3, 57, 62, 66), summary("db.example", 3))
    assert list(table_lines(rows, total_of(*rows), 10)) == [
        "target      sent  received    loss    min    avg    max   mdev",
        "10.0.0.2       3         3      0%  0.057  0.061  0.066  0.003",
        "db.example     3         0    100%      -      -      -      -",
    ]


def test_columns_that_are_zero_throughout_are_left_out() -> None:
    rows = (summary("a", 2), summary("b", 2, errors=2))
    assert list(table_lines(rows, total_of(*rows), 6)) == [
        "target  sent  received    loss  errors",
        "a          2         0    100%       0",
        "b          2         0    100%       2",
    ]


def test_percentiles_and_outage_are_columns_when_asked_for() -> None:
    rows = (summary("a", 2, 100, 100, measured=True), summary("b", 3, outage_ns=3 * SECOND))
    lines = list(table_lines(rows, total_of(*rows), 6, stats=True, outage=True))
    assert lines[0].split()[-6:] == ["p50", "p90", "p95", "p99", "jitter", "outage(ms)"]
    assert lines[1].split()[-6:] == ["0.100", "0.100", "0.100", "0.100", "0.000", "0"]
    assert lines[2].split()[-6:] == ["-", "-", "-", "-", "-", "3000"]


def test_a_name_from_elsewhere_is_made_safe() -> None:
    rows = (summary("evil\x1b[2J", 1),)
    assert "\x1b" not in "".join(table_lines(rows, total_of(*rows), 12))


def test_totals_count_targets_and_packets() -> None:
    total = total_of(summary("a", 3, 50, 60, 70), summary("b", 3), summary("c", 3, 40, 50, 60, duplicates=1))
    total.elapsed_ns = 2003 * MS
    assert totals_line(total, 3, 2) == (
        "3 targets, 2 answered; 9 packets transmitted, 6 received, +1 duplicates, 33.3333% packet loss, time 2003ms"
    )


def test_percentiles_stay_between_the_smallest_and_the_largest_time() -> None:
    assert stats_line(summary("a", 2, 76, 76, measured=True)) == (
        "percentiles p50/p90/p95/p99 = 0.076/0.076/0.076/0.076 ms, jitter 0.000 ms"
    )
    assert stats_line(summary("a", 2, measured=True)) == ""
    assert stats_line(summary("a", 2, 76)) == ""


def test_the_histogram_has_a_row_for_every_range_also_the_empty_ones() -> None:
    given = summary("a", 4, 1500, 1600, 1700, 30_000, measured=True)
    assert list(histogram_lines(given)) == [
        "  1 ms .. 2 ms  3   75.0%  " + "#" * 40,
        "  2 ms .. 5 ms  0    0.0%",
        " 5 ms .. 10 ms  0    0.0%",
        "10 ms .. 20 ms  0    0.0%",
        "20 ms .. 50 ms  1   25.0%  " + "#" * 13,
    ]


def test_bars_have_eighths_where_the_terminal_can_show_them() -> None:
    given = summary("a", 1000, *[1500] * 999, 30_000, measured=True)
    lines = list(histogram_lines(given, ascii_only=False))
    assert lines[0].endswith("█" * 40)
    assert lines[-1].endswith("▏")


def test_bounds_choose_their_unit() -> None:
    assert [duration(ns) for ns in (50_000, 999, 1_500_000, 2_000_000_000)] == ["50 us", "0.999 us", "1.5 ms", "2 s"]
