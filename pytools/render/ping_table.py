"""ping's figures beyond its classic lines: percentiles, a histogram, a table of many targets."""

from collections.abc import Iterable, Iterator

from pytools.probe.ping_events import Summary
from pytools.probe.statistics import rebin
from pytools.render.escape import escape
from pytools.render.ping_text import format_percent, ms
from pytools.units import MS, US, Ns
from pytools.wire.addr import format_ip

PERCENTS = (50.0, 90.0, 95.0, 99.0)
_BAR = 40


def percentile_us(summary: Summary) -> tuple[int, ...]:
    """p50, p90, p95 and p99 in microseconds, inside what was measured; () without a histogram or samples."""
    if summary.histogram is None or not summary.histogram.count:
        return ()
    rtt = summary.rtt
    values = summary.histogram.percentiles(PERCENTS)
    return tuple([min(max(value // US, rtt.min_us), rtt.max_us) for value in values])


def stats_line(summary: Summary) -> str:
    """`percentiles p50/p90/p95/p99 = ... ms, jitter ... ms` (--stats), or "" without samples."""
    percentiles = percentile_us(summary)
    if not percentiles:
        return ""
    line = f"percentiles p50/p90/p95/p99 = {'/'.join([ms(value) for value in percentiles])} ms"
    return line if summary.jitter is None else f"{line}, jitter {ms(summary.jitter.us)} ms"


def histogram_lines(summary: Summary, *, ascii_only: bool = True) -> Iterator[str]:
    """The distribution as bars (--hist): bounds, count, share, bar."""
    if summary.histogram is None or not summary.histogram.count:
        return
    rows = rebin(summary.histogram, 12)
    most = max([count for _low, _high, count in rows])
    bounds = [f"{duration(low)} .. {duration(high)}" for low, high, _count in rows]
    width = max(map(len, bounds))
    digits = len(str(most))
    for bound, (_low, _high, count) in zip(bounds, rows, strict=True):
        share = 100 * count / summary.histogram.count
        bar = _bar(count, most, ascii_only)
        yield f"{bound:>{width}}  {count:{digits}}  {share:5.1f}%  {bar}".rstrip()


def _bar(count: int, most: int, ascii_only: bool) -> str:
    eighths = count * _BAR * 8 // most
    if ascii_only:
        return "#" * max(eighths // 8, int(count > 0))
    full, rest = divmod(max(eighths, int(count > 0)), 8)
    return "█" * full + " ▏▎▍▌▋▊▉"[rest].strip()


def duration(ns: Ns) -> str:
    """A bound of the histogram: `50 us`, `1.5 ms`, `2 s`."""
    if ns < MS:
        return f"{ns / US:g} us"
    return f"{ns / MS:g} ms" if ns < 1000 * MS else f"{ns / (1000 * MS):g} s"


def table_lines(
    summaries: Iterable[Summary], total: Summary, label_width: int, *, stats: bool = False, outage: bool = False
) -> Iterator[str]:
    """A title row and one row a target, aligned, in one pass over `summaries`.

    `total` says which columns there are (one that would be zero throughout is left out) and how wide they must be.
    """
    columns = _columns(total, stats, outage)
    row = "  ".join([f"%-{label_width}s", *[f"%{width}s" for _title, width in columns]])
    yield (row % ("target", *[title for title, _width in columns])).rstrip()
    oddities, times = _oddities(total), bool(total.rtt.count and total.timed)
    for summary in summaries:
        label = escape(summary.name) or format_ip(summary.address)
        yield (row % (label, *_cells(summary, oddities, times, stats, outage))).rstrip()


def _columns(total: Summary, stats: bool, outage: bool) -> list[tuple[str, int]]:
    """(title, width) of every column but the first."""
    digits = len(str(total.sent))
    time = max(5, len(ms(total.rtt.max_us)))
    columns = [("sent", digits), ("received", digits), ("loss", 6)]
    columns += [(title, digits) for title in _oddities(total)]
    if total.rtt.count and total.timed:
        columns += [(title, time) for title in ("min", "avg", "max", "mdev")]
    if stats:
        columns += [(title, time) for title in (*[f"p{percent:g}" for percent in PERCENTS], "jitter")]
    if outage:
        columns.append(("outage(ms)", 6))
    return [(title, max(width, len(title))) for title, width in columns]


def _oddities(total: Summary) -> list[str]:
    return [title for title in ("duplicates", "corrupted", "errors") if getattr(total, title)]


def _cells(summary: Summary, oddities: list[str], times: bool, stats: bool, outage: bool) -> list[int | str]:
    """One row, by hand where 65,000 of them are made: nearly all have all answers or none."""
    sent, received, rtt = summary.sent, summary.received, summary.rtt
    loss = "0%" if received == sent > 0 else format_percent(round(summary.loss_percent, 1)) + "%"
    cells: list[int | str] = [sent, received, loss]
    for title in oddities:
        cells.append(getattr(summary, title))
    if times and rtt.count:
        low, high = rtt.min_us, rtt.max_us
        least = f"{low // 1000}.{low % 1000:03d}"
        # Of one sample: all three are the same, and nothing deviates.
        cells += (
            (least, least, least, "0.000") if rtt.count == 1 else (least, ms(rtt.avg_us), ms(high), ms(rtt.mdev_us))
        )
    elif times:
        cells += ("-",) * 4
    if stats:
        percentiles = percentile_us(summary)
        jitter = summary.jitter.us if summary.jitter else 0
        cells += [ms(value) for value in (*percentiles, jitter)] if percentiles else ["-"] * 5
    if outage:
        cells.append(summary.outage_ns // MS)
    return cells


def totals_line(total: Summary, targets: int, answered: int) -> str:
    """`3 targets, 2 answered; 9 packets transmitted, 6 received, 33.3333% packet loss, time 2003ms`."""
    line = f"{targets} target{'s' * (targets != 1)}, {answered} answered; "
    line += f"{total.sent} packets transmitted, {total.received} received"
    for word, count in (("duplicates", total.duplicates), ("corrupted", total.corrupted), ("errors", total.errors)):
        if count:
            line += f", +{count} {word}"
    if total.sent:
        line += f", {format_percent(total.loss_percent)}% packet loss"
    return f"{line}, time {(total.elapsed_ns + MS // 2) // MS}ms"
