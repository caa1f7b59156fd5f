"""What `pytools drill` does: finds the scripts, runs each in its world, tells how it went."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from pytools.cli.output import OutputError
from pytools.errors import EXIT_COULD_NOT_ASK, EXIT_NO, EXIT_YES, PytoolsError, UsageError
from pytools.sim.drill.machine import START
from pytools.sim.drill.runner import PATIENCE, Make, Runner, ScriptFailedError
from pytools.sim.drill.script import parse
from pytools.trace.hub import Trace
from pytools.units import MS, SECOND, Ns

KERNEL_TOLERANCE: Final[Ns] = 25 * MS
"""Real time on a machine that has other things to do."""
KERNEL_PATIENCE: Final[Ns] = 60 * SECOND
_SHOWN: Final = 6
"""Lines of the exchange above a failure."""
_WORDS: Final = {EXIT_YES: "ok", EXIT_NO: "FAILED", EXIT_COULD_NOT_ASK: "ERROR"}


class Plan:
    """What was given, by the names of the options."""

    scripts: list[str] | None
    against: str
    ip_version: str | None
    mtu: int | None
    define: list[str] | None
    tolerance: float | None
    jobs: int
    quiet: bool
    check: bool
    json: bool
    verbose: int
    trace_format: str
    pcap: str | None
    seed: int | None
    color: str
    plain: bool

    def __init__(self, given: dict[str, Any]) -> None:
        self.__dict__.update(given)
        if not self.scripts:
            raise UsageError("no script given (usage: drill [OPTIONS] SCRIPT..., -h explains)")
        for word in self.define or ():
            if "=" not in word:
                raise UsageError(f"invalid --define argument: {word} (NAME=VALUE)")
        if self.against == "kernel" and (self.pcap is not None or self.verbose > 1):
            raise UsageError("--pcap and -vv show our stack: they don't go with --against kernel")

    def options(self) -> dict[str, str]:
        """What the command line says instead of the scripts."""
        found = {}
        if self.ip_version is not None:
            found["ip_version"] = self.ip_version
        if self.mtu is not None:
            found["mtu"] = str(self.mtu)
        return found

    def defines(self) -> dict[str, str]:
        """Words for every script."""
        return dict(word.split("=", 1) for word in self.define or ())

    def tolerance_ns(self) -> Ns:
        """The least tolerance; a script may ask for more."""
        if self.tolerance is not None:
            return int(self.tolerance * SECOND)
        return KERNEL_TOLERANCE if self.against == "kernel" else 0


class Outcome:
    """How one script went. `status` is the exit status it stands for."""

    __slots__ = ("column", "detail", "line", "log", "milliseconds", "name", "status", "what")

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = EXIT_YES
        self.line = self.column = 0
        self.what = ""
        """What went another way, in a line."""
        self.detail: list[str] = []
        """The expected line and how it differs."""
        self.log: list[str] = []
        self.milliseconds = 0.0


def run(plan: Plan) -> int:
    """Run every script; the exit status is the worst one."""
    report = JsonReport(plan) if plan.json else TextReport(plan)
    try:
        return _run(plan, report)
    except OutputError:
        raise
    except PytoolsError as error:
        report.fail(error)
        raise


def _run(plan: Plan, report: "TextReport | JsonReport") -> int:
    names = list(find(plan.scripts or []))
    tracing = _Tracing(plan) if plan.verbose or plan.pcap else None
    report.begin(names)
    worst = EXIT_YES
    results = (
        _in_children(plan, names) if plan.against == "kernel" and not plan.check else _in_turn(plan, names, tracing)
    )
    try:
        for outcome in results:
            worst = max(worst, outcome.status)
            report.show(outcome)
    finally:
        if tracing is not None:
            tracing.close()
    report.end(worst)
    return worst


def _in_turn(plan: Plan, names: list[str], tracing: "_Tracing | None") -> Iterator[Outcome]:
    for name in names:
        if tracing is not None:
            tracing.begin(name)
        yield play(plan, name, trace=tracing.trace if tracing is not None else None)
        if tracing is not None:
            tracing.flush()


def _in_children(plan: Plan, names: list[str]) -> Iterator[Outcome]:
    """Each script in a process and a namespace of its own, several at a time; told in the order given."""
    from pytools.cli.drill_jobs import run as run_jobs

    def task(name: str) -> Callable[[], Outcome]:
        return lambda: play(plan, name, make=_on_kernel)

    ended: dict[int, Outcome] = {}
    told = 0
    for index, outcome in run_jobs(((i, task(name)) for i, name in enumerate(names)), plan.jobs):
        if outcome is None:
            outcome = Outcome(names[index])
            outcome.status, outcome.what = EXIT_COULD_NOT_ASK, "the process that ran it died"
        ended[index] = outcome
        while told in ended:
            yield ended.pop(told)
            told += 1


def _on_kernel(settings: Any, defines: dict[str, str]) -> Any:
    from pytools.cli.drill_kernel import Kernel
    from pytools.cli.drill_syscalls import Syscalls

    kernel = Kernel(settings)
    return kernel, Syscalls(kernel, defines)


def play(plan: Plan, name: str, *, make: Make | None = None, trace: Trace | None = None) -> Outcome:
    """Read one script and run it; whatever happens is in the outcome."""
    outcome = Outcome(name)
    began = time.perf_counter()
    runner = None
    try:
        script = parse(read(name), "stdin" if name == "-" else name)
        script.defines.update(plan.defines())
        if not plan.check:
            runner = Runner(
                script,
                trace,
                plan.seed or 1,
                make=make,
                options=plan.options(),
                tolerance_ns=plan.tolerance_ns(),
                patience_ns=PATIENCE if make is None else KERNEL_PATIENCE,
            )
            runner.run()
    except ScriptFailedError as failure:
        outcome.status, outcome.what = EXIT_NO, failure.what
        outcome.line, outcome.column = failure.event.place.line, failure.event.place.column
        outcome.detail = [f"expected: {failure.event.text}", *failure.detail]
    except PytoolsError as error:
        outcome.status, outcome.what = EXIT_COULD_NOT_ASK, str(error)
    except RecursionError:
        outcome.status, outcome.what = EXIT_COULD_NOT_ASK, f"{name}: nested too deeply"
    outcome.log = runner.log if runner is not None else []
    outcome.milliseconds = (time.perf_counter() - began) * 1000
    return outcome


def find(given: list[str]) -> Iterator[str]:
    """The scripts that the command line names; a directory stands for every .pkt below it. UsageError: none there."""
    for name in given:
        if name == "-" or not os.path.isdir(name):
            yield name
            continue
        below = sorted(
            os.path.join(where, file) for where, _, files in os.walk(name) for file in files if file.endswith(".pkt")
        )
        if not below:
            raise UsageError(f"{name}: no .pkt file below it")
        yield from below


def read(name: str) -> str:
    """A script's text. UsageError: no such file, or not text."""
    try:
        if name == "-":
            return sys.stdin.read()
        with open(name, encoding="utf-8") as file:
            return file.read()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{name}: is not a text file") from None


class TextReport:
    """A line a script, what went wrong below it, and a summary."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._counts = dict.fromkeys(_WORDS, 0)
        self._began = time.perf_counter()

    def begin(self, names: list[str]) -> None:
        """Nothing yet."""

    def show(self, outcome: Outcome) -> None:
        """One script's result."""
        self._counts[outcome.status] += 1
        if outcome.status == EXIT_YES:
            if self._plan.against == "kernel" and self._plan.verbose:
                self._print_log(outcome.log)
            if not self._plan.quiet:
                print(f"{outcome.name}: ok ({outcome.milliseconds:.0f} ms)")
            return
        if outcome.status == EXIT_COULD_NOT_ASK:
            print(f"{outcome.name}: ERROR: {_printable(outcome.what)}")
            return
        print(f"{outcome.name}:{outcome.line}:{outcome.column}: FAILED: {_printable(outcome.what)}")
        self._print_log(outcome.log[-_SHOWN:])
        for line in outcome.detail:
            print(f"      {_printable(line)}")

    def _print_log(self, log: list[str]) -> None:
        for line in log:
            print(f"    {_printable(line)}")

    def end(self, _status: int) -> None:
        """The summary."""
        passed, failed, broken = (self._counts[status] for status in _WORDS)
        total = passed + failed + broken
        text = f"{total} script{'s' * (total != 1)}: {passed} passed, {failed} failed"
        if broken:
            text += f", {broken} could not be run"
        print(f"{text} ({time.perf_counter() - self._began:.2f} s)")

    def fail(self, _error: PytoolsError) -> None:
        """The command's front tells it."""


class JsonReport:
    """The same as records."""

    def __init__(self, plan: Plan) -> None:
        from pytools.render.json_lines import JsonWriter

        self._plan = plan
        self._start = time.monotonic_ns()
        self._writer = JsonWriter(sys.stdout, self._start)
        self._counts = dict.fromkeys(_WORDS, 0)

    def begin(self, names: list[str]) -> None:
        """The start record."""
        epoch_ns = time.time_ns() - time.monotonic_ns()
        self._writer.start("drill", sys.argv[1:], epoch_ns=epoch_ns, against=self._plan.against, scripts=len(names))

    def show(self, outcome: Outcome) -> None:
        """One script's result."""
        self._counts[outcome.status] += 1
        fields: dict[str, Any] = {"script": outcome.name, "result": _WORDS[outcome.status].lower()}
        if outcome.status == EXIT_NO:
            fields |= {"line": outcome.line, "column": outcome.column}
        if outcome.status != EXIT_YES:
            fields |= {"reason": outcome.what, "detail": outcome.detail, "exchange": outcome.log[-_SHOWN:]}
        self._writer.record("script", time.monotonic_ns(), **fields, duration_ms=outcome.milliseconds)

    def end(self, status: int) -> None:
        """The end record."""
        passed, failed, broken = (self._counts[each] for each in _WORDS)
        counts = {"passed": passed, "failed": failed, "errors": broken}
        self._writer.end(time.monotonic_ns(), status, "done", **counts)

    def fail(self, error: PytoolsError) -> None:
        """The end record of a run that could not be."""
        if not self._writer.started:
            self.begin([])
        self._writer.end_with(error, time.monotonic_ns())


class _Tracing:
    """-v and --pcap: our stack's own trace of each script."""

    def __init__(self, plan: Plan) -> None:
        from pytools.cli.open import TraceRequest
        from pytools.cli.tracing import Tracing
        from pytools.engine import RAW_IP, Port

        self._text = bool(plan.verbose) and plan.trace_format == "text"
        color = "never" if plan.plain else plan.color
        self._tracing = Tracing(TraceRequest(plan.verbose, plan.trace_format, plan.pcap, color))
        self.trace = Trace()
        port = Port(0, "tun0", RAW_IP, 65535)
        self._tracing.attach(self.trace, [port], start_at=START, epoch_ns=time.time_ns() - START)

    def begin(self, name: str) -> None:
        """A heading for each script."""
        if self._text:
            self.flush()
            sys.stderr.write(f"--- {_printable(name)}\n")
            sys.stderr.flush()

    def flush(self) -> None:
        """Write out what is held back."""
        self._tracing.flush()
        sys.stderr.flush()

    def close(self) -> None:
        """The rest."""
        self._tracing.close()


def _printable(text: str) -> str:
    """No control character reaches the terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
