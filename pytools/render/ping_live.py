"""A live table of targets on a terminal: figures, percentiles and the last round trips as a sparkline.

rich is imported when a table is wanted, never before.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, Final

from pytools.engine import EngineEvent
from pytools.probe import ping_events as events
from pytools.probe.ping_events import Summary
from pytools.render.escape import draws_unicode, escape
from pytools.render.ping_table import percentile_us
from pytools.render.ping_text import ShownTarget, format_percent, format_rtt
from pytools.units import US

_HISTORY: Final = 24
_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS: Final = "_.-=+*#@"
_LOST: Final = -1
ORDERS: Final = ("the order given", "name", "loss", "p50")
KEYS: Final = "q quit, p pause, r reset, s sort, ? help, Enter figures so far"
_SORTABLE: Final = 500
"""More targets than this are shown in their order: summing them all up for each drawing would take too long."""
_SPARE_LINES: Final = 4
"""Of the screen: title, head, the line that says how many rows are not shown."""


def is_terminal(stream: Any) -> bool:
    """Whether a live table can be drawn there."""
    from os import environ

    return bool(stream.isatty()) and environ.get("TERM", "dumb") != "dumb"


def sparkline(history: Iterable[int], *, ascii_only: bool = False) -> str:
    """The last round trips (microseconds) as blocks between their smallest and largest; a loss is `x`."""
    values = list(history)
    times = [value for value in values if value >= 0]
    blocks = _ASCII_BLOCKS if ascii_only else _BLOCKS
    low, high = min(times, default=0), max(times, default=0)
    span = max(high - low, 1)
    return "".join(["x" if value < 0 else blocks[(value - low) * (len(blocks) - 1) // span] for value in values])


class PingLive:
    """Draws the table when it is told to; events fill the sparklines in between."""

    def __init__(self, targets: Sequence[ShownTarget], names: Any = None, console: Any = None) -> None:
        from rich.console import Console
        from rich.live import Live

        self._targets = targets
        self._history: dict[int, deque[int]] = {}
        self._console = console or Console(highlight=False, markup=False, emoji=False)
        self._ascii = not draws_unicode(self._console.encoding)
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._since: dict[int, tuple[int, int]] = {}
        """Probes and replies that were counted before the last reset."""
        self._sort = 0
        self._shows_help = False
        self.paused = False

    def start(self) -> None:
        """Take the screen."""
        self._live.start()

    def stop(self) -> None:
        """Give the screen back; the last table stays."""
        self._live.stop()

    def on_event(self, event: EngineEvent) -> None:
        """Remember what the sparkline of a target shows."""
        if isinstance(event, events.Replied) and event.rtt_ns is not None and not event.flags & events.DUPLICATE:
            self._note(event.target, event.rtt_ns // US)
        elif isinstance(event, (events.Lost, events.SendRefused)) or (
            isinstance(event, events.ErrorReported) and event.is_failure
        ):
            self._note(event.target, _LOST)

    def _note(self, target: int, value: int) -> None:
        history = self._history.get(target)
        if history is None:
            history = self._history[target] = deque(maxlen=_HISTORY)
        history.append(value)

    # --- what keys do -------------------------------------------------------------------------------------------------

    def reset(self, summaries: Iterable[Summary]) -> None:
        """Count from here on; the summary at the end still counts everything."""
        self._history.clear()
        self._since = {index: (summary.sent, summary.received) for index, summary in enumerate(summaries)}

    def next_order(self) -> None:
        """Sort by the next of `ORDERS`."""
        self._sort = (self._sort + 1) % len(ORDERS)

    def toggle_help(self) -> None:
        """Show the keys, or hide them."""
        self._shows_help = not self._shows_help

    # --- drawing ------------------------------------------------------------------------------------------------------

    def draw(self, summaries: Iterable[Summary]) -> None:
        """Show the table as it is now, as many rows as fit; nothing while it is paused."""
        if not self.paused:
            self._live.update(self.table(summaries), refresh=True)

    def table(self, summaries: Iterable[Summary]) -> Any:
        """The rich table."""
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for title in ("target", "sent", "recv", "loss", "last", "p50", "p95", "p99", "jitter", "last round trips"):
            table.add_column(title, justify="left" if title.startswith(("target", "last r")) else "right", no_wrap=True)
        room = max(self._console.height - _SPARE_LINES, 1)
        rows = list(enumerate(islice(summaries, _SORTABLE)))
        if self._sort and len(self._targets) <= _SORTABLE:
            rows.sort(key=lambda row: self._order(*row))
        for index, summary in rows[:room]:
            table.add_row(*[Text(cell, style) for cell, style in self._cells(index, summary)])
        notes = [f"and {len(self._targets) - room} more"] if len(self._targets) > room else []
        if self._sort:
            notes.append(f"by {ORDERS[self._sort]}")
        if self._shows_help:
            notes.append(KEYS)
        table.caption = Text(", ".join(notes), "dim") if notes else None
        return table

    def _order(self, index: int, summary: Summary) -> tuple[float, str]:
        name = self._targets[index].name
        if ORDERS[self._sort] == "loss":
            sent, received = self._counts(index, summary)
            return (received - sent) / max(sent, 1), name
        if ORDERS[self._sort] == "p50":
            return -(percentile_us(summary) or (0,))[0], name
        return 0, name

    def _counts(self, index: int, summary: Summary) -> tuple[int, int]:
        sent, received = self._since.get(index, (0, 0))
        return summary.sent - sent, summary.received - received

    def _cells(self, index: int, summary: Summary) -> list[tuple[str, str]]:
        """(text, style) of one row; a colour never stands alone."""
        sent, received = self._counts(index, summary)
        loss = (sent - received) * 100 / sent if sent else 0.0
        history = self._history.get(index, ())
        last = next(reversed(history), None) if history else None
        times = [format_rtt(value) for value in percentile_us(summary)] or ["-"] * 4
        jitter = format_rtt(summary.jitter.us) if summary.jitter is not None and summary.rtt.count else "-"
        shown_last = "-" if last is None else "lost" if last == _LOST else format_rtt(last)
        return [
            (escape(self._targets[index].name), ""),
            (str(sent), ""),
            (str(received), ""),
            (format_percent(round(loss, 1)) + "%", "red" if loss >= 50 else "yellow" if loss else "green"),
            (shown_last, "red" if last == _LOST else ""),
            (times[0], ""),
            (times[2], ""),
            (times[3], ""),
            (jitter, "dim"),
            (sparkline(history, ascii_only=self._ascii), ""),
        ]
