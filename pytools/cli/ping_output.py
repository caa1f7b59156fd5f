"""Where ping's events go: lines, JSON, CSV or a live table; one class each, all with the same four calls."""

import os
import sys
from time import time_ns
from typing import TYPE_CHECKING, Any

from pytools.cli.ping_plan import Plan
from pytools.engine import EngineEvent
from pytools.errors import EXIT_COULD_NOT_ASK, PytoolsError
from pytools.probe import ping_events as events
from pytools.probe.ping_events import Summary
from pytools.render.style import Style

if TYPE_CHECKING:
    from pytools.cli.names import ReverseNames
    from pytools.cli.ping_run import Run
    from pytools.render.json_lines import JsonWriter
    from pytools.run.driver import Driver

_TABLE_CHUNK = 256
_LISTED_TARGETS = 1000
"""JSON: so many targets are described in the start record."""


class Output:
    """The calls in their order: begin, on_event and interim, end or fail."""

    def __init__(self, plan: Plan, prog: str) -> None:
        self.plan = plan
        self.prog = prog
        self.names: ReverseNames | None = None

    def begin(self, run: "Run") -> None:
        """The path is open, the first packet not yet sent."""
        self.run = run

    def attach(self, driver: "Driver") -> None:
        """The loop is about to begin: say what else it should watch."""

    def on_event(self, event: EngineEvent) -> None:
        """An event of the engine."""

    def interim(self) -> None:
        """Somebody wants to know how it stands."""

    def end(self, status: int, reason: str) -> None:
        """The run is over."""

    def fail(self, error: Exception) -> None:
        """The run ends with an error, whose line is printed by the caller."""

    def note(self, message: str) -> None:
        """A warning for people."""
        print(f"{self.prog}: {message}", file=sys.stderr)


def open_output(plan: Plan, prog: str) -> Output:
    """The form that the options ask for."""
    given = plan.given
    if given.json:
        return JsonOutput(plan, prog)
    if given.csv:
        return CsvOutput(plan, prog)
    if given.live and not given.plain:
        from pytools.render.ping_live import is_terminal

        if is_terminal(sys.stdout):
            return LiveOutput(plan, prog)
    return TextOutput(plan, prog)


# --- lines ------------------------------------------------------------------------------------------------------------


class TextOutput(Output):
    """ping's lines on stdout."""

    def begin(self, run: "Run") -> None:
        """See `Output`."""
        from pytools.render.ping_text import PingText, TextOptions

        super().begin(run)
        given, plan = self.plan.given, self.plan
        if given.pattern is not None and not given.quiet:
            print(f"PATTERN: 0x{given.pattern.hex()}")
        if given.tx_stamp:
            print("RTT: from the transmit stamp to the receive stamp of the link (--tx-stamp)")
        self.names = self._open_names()
        settings = TextOptions(
            quiet=given.quiet or given.vcount is not None,
            flood=given.flood,
            verbose=bool(given.verbose),
            audible=given.audible,
            precise=given.precise,
            print_tos=given.print_tos,
            lost=given.timeout is not None,
            stamp=given.timestamps or ("unix" if given.print_time else ""),
            style=Style.of(sys.stdout, "never" if given.plain else given.color),
            width=os.get_terminal_size(1).columns if os.isatty(1) else 0,
            program=self.prog,
        )
        self._text = PingText(sys.stdout, sys.stderr, run.shown, settings, self.names, run.path.epoch_ns)
        self._load_summary()
        self._handlers = {events.TargetDone: self._on_target_done, events.ReportDue: self._on_report_due}
        if not plan.reachability and given.vcount is None:
            self._text.header()

    def _load_summary(self) -> None:
        """Import now what the end will need: later our files may be out of reach."""
        given = self.plan.given
        if not self.run.is_single or given.stats or given.hist or given.live:
            pass
        if given.timestamps == "iso":
            import datetime  # noqa: F401

    def _open_names(self) -> "ReverseNames | None":
        if not self.plan.wants_names:
            return None
        from pytools.cli.names import ReverseNames

        return ReverseNames(zone=self.run.shown[0].zone)

    def on_event(self, event: EngineEvent) -> None:
        """See `Output`."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)
        elif not self.plan.reachability or type(event) is events.ClockWarning:
            self._text.on_event(event)

    def _on_target_done(self, event: Any) -> None:
        given = self.plan.given
        if given.alive or given.unreachable:
            if event.alive == given.alive:
                print(self.run.shown[event.target].name)
        elif not given.quiet:
            self._text.on_event(event)

    def _on_report_due(self, event: EngineEvent) -> None:
        self.interim()

    def attach(self, driver: "Driver") -> None:
        """See `Output`."""
        if self.names is not None:
            driver.watch(self.names.fileno(), self._names_came, passive=True)

    def _names_came(self) -> None:
        """A reverse name has come: what waited for it can be printed."""
        if self.names is not None:
            self.names.drain()
            self._text.release()

    def interim(self) -> None:
        """See `Output`."""
        self._text.interim(self.run.engine.summary())

    def end(self, status: int, reason: str) -> None:
        """See `Output`: the summary."""
        self._wait_for_names(reason)
        given, run = self.plan.given, self.run
        if given.vcount is not None:
            self._print_times()
        elif self.plan.reachability:
            if given.stats:
                self._print_table()
        elif run.is_single:
            self._print_summary(run.engine.summary())
        else:
            self._print_table()
        sys.stdout.flush()

    def _wait_for_names(self, reason: str) -> None:
        """The last lines may still wait for a name; not after Ctrl-C."""
        while self._text.holding and self.names is not None and reason != "interrupted":
            self.names.wait(0.2)
            self._text.release()
        self._text.release(force=True)

    def _print_summary(self, summary: Summary) -> None:
        from pytools.render.ping_text import summary_lines

        title, counts, times = summary_lines(summary)
        if self.plan.given.tx_stamp and times:
            times += ", tx-stamp"
        print(f"\n{title}\n{counts}\n{times}")
        self._print_distribution(summary)

    def _print_distribution(self, summary: Summary) -> None:
        given = self.plan.given
        if not given.stats and not given.hist:
            return
        from pytools.render.escape import draws_unicode
        from pytools.render.ping_table import histogram_lines, stats_line

        if given.stats and (line := stats_line(summary)):
            print(line)
        if given.hist:
            for line in histogram_lines(summary, ascii_only=not draws_unicode(sys.stdout.encoding)):
                print(line)

    def _print_table(self) -> None:
        from pytools.render.ping_table import table_lines, totals_line
        from pytools.render.ping_text import times_line

        given, run = self.plan.given, self.run
        total = run.engine.summary()
        count = len(run.shown)
        lines = table_lines(run.summaries(), total, run.label_width(), stats=given.stats, outage=given.outage)
        chunk = ["", f"--- ping statistics, {count} target{'s' * (count != 1)} ---"]
        for line in lines:
            chunk.append(line)
            if len(chunk) >= _TABLE_CHUNK:
                print("\n".join(chunk))
                chunk = []
        chunk += ["", totals_line(total, count, run.answered_count())]
        if times := times_line(total):
            chunk.append(times)
        print("\n".join(chunk))
        self._print_distribution(total)

    def _print_times(self) -> None:
        """--vcount: `10.9.1.2 : 0.055 0.090 - 0.061`."""
        from pytools.render.escape import escape
        from pytools.render.ping_text import format_rtt

        width = self.run.label_width()
        for index, rtts in enumerate(self.run.all_rtts()):
            times = " ".join(["-" if rtt < 0 else format_rtt(rtt, precise=True) for rtt in rtts])
            print(f"{escape(self.run.shown[index].name):<{width}} : {times}")


# --- data -------------------------------------------------------------------------------------------------------------


class JsonOutput(Output):
    """Records on stdout, from `start` to `end` whatever happens."""

    has_begun = False
    """Of the process: a `start` was written."""

    def __init__(self, plan: Plan, prog: str) -> None:
        super().__init__(plan, prog)
        self._writer: JsonWriter | None = None

    def begin(self, run: "Run") -> None:
        """See `Output`."""
        from pytools.render.json_lines import JsonWriter
        from pytools.render.ping_json import PingJson

        super().begin(run)
        given, path = self.plan.given, run.path
        quiet = given.quiet or given.flood
        writer = self._writer = JsonWriter(sys.stdout, path.start_at, flush_each=not given.flood)
        facts: dict[str, Any] = {"via": path.kind, "ident": path.ident, "target_count": len(run.shown)}
        facts |= {"size": self.plan.size, "interval_ms": self.plan.interval_ns / 1e6, "count": self.plan.count or None}
        facts["rtt_from"] = "tx-stamp" if given.tx_stamp else "send"
        if len(run.shown) <= _LISTED_TARGETS:
            facts["targets"] = run.facts()
        JsonOutput.has_begun = True
        writer.start("ping", run.arguments, epoch_ns=path.epoch_ns, **facts)
        self._records = PingJson(writer, lambda index: run.shown[index].name, [shown.address for shown in run.shown])
        self._quiet = quiet and not given.timeout
        for complaint in self.plan.complaints:
            self._records.warning(path.start_at, complaint)

    def on_event(self, event: EngineEvent) -> None:
        """See `Output`."""
        if type(event) is events.ReportDue:
            self.interim()
        elif not self._quiet or type(event) in (events.TargetDone, events.ClockWarning):
            self._records.on_event(event)

    def interim(self) -> None:
        """See `Output`."""
        self._records.figures("interim", self.run.path.waiter.now(), self.run.summaries())

    def note(self, message: str) -> None:
        """See `Output`: people get it too."""
        super().note(message)
        if self._writer is not None:
            self._records.warning(self.run.path.waiter.now(), message)

    def end(self, status: int, reason: str) -> None:
        """See `Output`."""
        from pytools.render.ping_json import histogram_field, summary_fields

        assert self._writer is not None
        now, run = self.run.path.waiter.now(), self.run
        self._records.figures("summary", now, run.summaries())
        total = run.engine.summary()
        fields = summary_fields(total)
        fields["address"] = None if not run.is_single else fields["address"]
        fields |= {"target_count": len(run.shown), "answered_count": run.answered_count()}
        if self.plan.given.hist:
            fields["histogram"] = histogram_field(total)
        self._writer.end(now, status, reason, **fields)

    def fail(self, error: Exception) -> None:
        """See `Output`; a run that never began is left to `ping.PingApp`."""
        if self._writer is not None:
            self._writer.end_with(error, self.run.path.waiter.now())


def json_of_refusal(error: Exception, arguments: list[str]) -> None:
    """`start` and `end` of a run that never began; nothing if it did."""
    if JsonOutput.has_begun:
        return
    from pytools.render.json_lines import JsonWriter

    writer = JsonWriter(sys.stdout, 0)
    writer.start("ping", arguments, epoch_ns=time_ns())
    if isinstance(error, PytoolsError):
        writer.end_with(error)
    else:
        format_message = getattr(error, "format_message", error.__str__)
        writer.end(None, EXIT_COULD_NOT_ASK, "error", message=format_message() or type(error).__name__)


class CsvOutput(Output):
    """Rows on stdout, interim figures on stderr."""

    def begin(self, run: "Run") -> None:
        """See `Output`."""
        from pytools.render.ping_json import PingCsv

        super().begin(run)
        self._rows = PingCsv(sys.stdout.write, lambda index: run.shown[index].name, run.path.epoch_ns)
        self._rows.header()

    def on_event(self, event: EngineEvent) -> None:
        """See `Output`."""
        if type(event) is events.ReportDue:
            self.interim()
        elif not self.plan.given.quiet:
            self._rows.on_event(event)

    def interim(self) -> None:
        """See `Output`."""
        from pytools.render.ping_text import interim_line

        print(interim_line(self.run.engine.summary()), file=sys.stderr)

    def end(self, status: int, reason: str) -> None:
        """See `Output`."""
        sys.stdout.flush()


# --- a live table -----------------------------------------------------------------------------------------------------


class LiveOutput(TextOutput):
    """A table that is drawn again and again; the ordinary summary follows it."""

    def begin(self, run: "Run") -> None:
        """See `Output`."""
        from pytools.cli.keys import Keys
        from pytools.render.ping_live import PingLive

        super().begin(run)
        self._live = PingLive(run.shown)
        self._keys = Keys(self._on_key)
        self._live.start()
        self._live.draw(run.summaries())

    def attach(self, driver: "Driver") -> None:
        """See `Output`."""
        super().attach(driver)
        self._driver = driver
        if self._keys.are_there:
            driver.watch(0, self._keys.read, passive=True)

    def _on_key(self, key: str) -> None:
        live = self._live
        if key == "q":
            self._driver.stop()
        elif key == "p":
            live.paused = not live.paused
        elif key == "r":
            live.reset(self.run.summaries())
            self.run.engine.forget_distribution()
        elif key == "s":
            live.next_order()
        elif key == "?":
            live.toggle_help()
        elif key == "\n":
            self.interim()
        live.draw(self.run.summaries())

    def on_event(self, event: EngineEvent) -> None:
        """See `Output`."""
        if type(event) is events.ReportDue:
            self._live.draw(self.run.summaries())
        elif type(event) is events.ClockWarning:
            super().on_event(event)
        else:
            self._live.on_event(event)

    def end(self, status: int, reason: str) -> None:
        """See `Output`."""
        self._live.paused = False
        self._live.draw(self.run.summaries())
        self._give_back()
        super().end(status, reason)

    def _give_back(self) -> None:
        """The terminal is as it was."""
        self._live.stop()
        self._keys.close()

    def fail(self, error: Exception) -> None:
        """See `Output`."""
        if hasattr(self, "_keys"):
            self._give_back()
