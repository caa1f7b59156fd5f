"""The live table, drawn into a console that is no terminal."""

import io

import pytest

from pytools.probe import ping_events as events
from pytools.probe.ping_events import Summary
from pytools.probe.statistics import Histogram, Jitter
from pytools.render.ping_live import PingLive, is_terminal, sparkline
from pytools.render.ping_text import ShownTarget
from pytools.wire.addr import parse_ip

rich_console = pytest.importorskip("rich.console", reason="rich is not installed")

HOST = parse_ip("10.0.0.2")


def test_a_sparkline_spans_from_the_shortest_to_the_longest_time() -> None:
    assert sparkline([100, 200, 300, 800]) == "▁▂▃█"
    assert sparkline([100, -1, 100]) == "▁x▁"
    assert sparkline([1, 8], ascii_only=True) == "_@"
    assert sparkline([]) == ""


def console(width: int = 110, height: int = 30) -> rich_console.Console:
    return rich_console.Console(file=io.StringIO(), width=width, height=height, force_terminal=False, color_system=None)


def shown(live: PingLive, out: rich_console.Console, *summaries: Summary) -> list[str]:
    out.print(live.table(summaries))
    return [line.rstrip() for line in out.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def summary(name: str, sent: int, *samples_us: int) -> Summary:
    made = Summary(name, HOST)
    made.sent, made.received = sent, len(samples_us)
    made.histogram, made.jitter = Histogram(), Jitter()
    for sample in samples_us:
        made.rtt.add(sample)
        made.histogram.add(sample * 1000)
        made.jitter.add(sample)
    return made


def reply(target: int, rtt_us: int, flags: int = 0) -> events.Replied:
    return events.Replied(0, target, 1, HOST, rtt_us * 1000, 64, 64, 0, 77, flags, 56)


def test_a_row_has_figures_percentiles_and_the_last_round_trips() -> None:
    out = console()
    live = PingLive([ShownTarget("10.0.0.2", HOST)], console=out)
    for rtt in (100, 100, 800):
        live.on_event(reply(0, rtt))
    live.on_event(reply(0, 5000, events.DUPLICATE))
    live.on_event(events.Lost(0, 0, 4, 1))
    title, row = shown(live, out, summary("10.0.0.2", 4, 100, 100, 800))
    assert title.split()[:9] == ["target", "sent", "recv", "loss", "last", "p50", "p95", "p99", "jitter"]
    cells = row.split()
    assert cells[:5] == ["10.0.0.2", "4", "3", "25%", "lost"]
    assert cells[5:8] == ["0.100", "0.798", "0.798"]  # the middle of a bucket
    assert cells[-1] == "▁▁█x"


def test_a_target_without_an_answer_has_dashes() -> None:
    out = console()
    live = PingLive([ShownTarget("10.0.0.99", HOST)], console=out)
    _title, row = shown(live, out, summary("10.0.0.99", 2))
    assert row.split() == ["10.0.0.99", "2", "0", "100%", "-", "-", "-", "-", "-"]


def test_no_more_rows_than_the_screen_has() -> None:
    out = console(height=8)
    targets = [ShownTarget(f"10.0.0.{last}", HOST) for last in range(20)]
    lines = shown(PingLive(targets, console=out), out, *[summary(target.name, 1, 100) for target in targets])
    assert "and 16 more" in lines[-1]
    assert len(lines) == 6


def test_a_name_can_neither_act_on_the_terminal_nor_on_rich() -> None:
    out = console()
    live = PingLive([ShownTarget("evil\x1b[2J[red]:smile:", HOST)], console=out)
    _title, row = shown(live, out, summary("", 1))
    assert row.startswith("evil\\x1b[2J[red]:smile:")


def test_events_that_are_no_outcome_leave_the_sparkline_alone() -> None:
    out = console()
    live = PingLive([ShownTarget("a", HOST)], console=out)
    live.on_event(events.ProbeSent(0, 0, 1, 56))
    live.on_event(events.ErrorReported(0, 0, 1, HOST, 4, 5, 1))
    assert live._history == {}


def test_a_pipe_and_a_dumb_terminal_get_no_live_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    assert is_terminal(Terminal())
    assert not is_terminal(io.StringIO())
    monkeypatch.setenv("TERM", "dumb")
    assert not is_terminal(Terminal())


def test_the_table_is_drawn_again_in_place() -> None:
    out = console()
    live = PingLive([ShownTarget("a", HOST)], console=out)
    live.start()
    live.draw([summary("a", 1, 100)])
    live.draw([summary("a", 2, 100, 100)])
    live.stop()
    assert "a" in out.file.getvalue()


def test_a_reset_counts_from_there() -> None:
    out = console()
    live = PingLive([ShownTarget("a", HOST)], console=out)
    live.on_event(reply(0, 100))
    live.reset([summary("a", 5, 100, 100)])
    _title, row = shown(live, out, summary("a", 8, 100, 100, 100))
    assert row.split()[:5] == ["a", "3", "1", "66.7%", "-"]


def test_rows_are_sorted_by_name_loss_and_median_in_turn() -> None:
    targets = [ShownTarget(name, HOST) for name in ("b", "c", "a")]
    given = [summary("b", 2, 100, 100), summary("c", 2, 900), summary("a", 4, 500, 500, 500)]
    for times, expected in ((0, "bca"), (1, "abc"), (2, "cab"), (3, "cab"), (4, "bca")):
        out = console()
        live = PingLive(targets, console=out)
        for _ in range(times):
            live.next_order()
        assert "".join(row[0] for row in shown(live, out, *given)[1:4]) == expected


def test_help_names_the_keys() -> None:
    out = console()
    live = PingLive([ShownTarget("a", HOST)], console=out)
    live.toggle_help()
    assert "q quit" in shown(live, out, summary("a", 1))[-1]


def test_nothing_is_drawn_while_it_is_paused() -> None:
    out = console()
    live = PingLive([ShownTarget("a", HOST)], console=out)
    live.paused = True
    live.draw([summary("a", 1)])
    assert out.file.getvalue() == ""
