"""What `pytools arping` does: a plan, the loop, the output, the exit status."""

import os
import sys
from time import localtime, strftime, time_ns
from typing import Any

from pytools.cli.app import split_command_line
from pytools.cli.arping import Options
from pytools.cli.arping_plan import Plan
from pytools.cli.open import Endpoint, Path, open_path
from pytools.cli.output import OutputError
from pytools.engine import EngineEvent
from pytools.errors import EXIT_COULD_NOT_ASK, EXIT_NO, LinkError, PytoolsError
from pytools.probe.arping_base import ArpingBase
from pytools.probe.arping_scan import ScanEngine
from pytools.probe.arping_watch import WatchEngine
from pytools.probe.arping_wire import Station
from pytools.run.driver import IDLE, Driver, OnEvent
from pytools.run.signals import Signals
from pytools.units import SECOND, Ns


def run(options: Options) -> int:
    """Run one command line; returns the exit status. PytoolsError: one line that says what was refused."""
    output = JsonOutput(options) if options.json else TextOutput(options)
    try:
        return _run(Plan(options), output)
    except PytoolsError as error:
        output.fail(error)
        raise


class _Stop:
    """SIGQUIT and SIGTERM end a run like SIGINT: with the summary."""

    driver: Driver | None = None

    def __call__(self) -> None:
        if self.driver is not None:
            self.driver.stop()


def _run(plan: Plan, output: "TextOutput | JsonOutput") -> int:
    stop = _Stop()
    with Signals(on_quit=stop, on_terminate=stop) as signals, open_path(plan.request()) as path:
        for note in path.notes:
            print(f"arping: {note}", file=sys.stderr)
        endpoint = plan.endpoint(path)
        check_carrier(path, endpoint)
        port = next(port for port in path.ports if port.index == endpoint.port)
        us = plan.station(port, endpoint)
        engine = plan.engine(path, port, us)
        output.begin(path, plan, us, endpoint)
        driver = stop.driver = path.driver(engine, output.on_event)
        signals.attach(driver)
        try:
            why = driver.run(lambda: engine.done)
            engine.finish(path.waiter.now(), "idle" if why == IDLE else "interrupted")
            driver.flush()
            check_result(path, endpoint, engine)
        except OutputError:
            raise
        except PytoolsError as error:
            output.end(engine, EXIT_COULD_NOT_ASK, str(error))
            raise
        if why == IDLE:
            print("arping: nothing can ever happen here: nobody sends, and no end was given (-w)", file=sys.stderr)
        return output.end(engine, EXIT_NO if why == IDLE else engine.exit_status)


def check_carrier(path: Path, endpoint: Endpoint) -> None:
    """LinkError: the cable is not in, so that silence would mean nothing."""
    if path.kind != "packet":
        return
    from pytools.link.host import interface

    found = interface(endpoint.interface)
    if found is not None and not found.running:
        raise LinkError(f'Interface "{endpoint.interface}" has no carrier (is the cable in?)')


def check_result(path: Path, endpoint: Endpoint, engine: ArpingBase) -> None:
    """LinkError: what was to be asked did not get out, so the silence is no answer."""
    if engine.could_not_send:
        raise LinkError(f"could not send: {os.strerror(engine.failed_errno)} ({endpoint.interface})")
    check_carrier(path, endpoint)


def _ignore(_event: EngineEvent) -> None:
    """What happens before the output has begun."""


# --- output -----------------------------------------------------------------------------------------------------------


class TextOutput:
    """Lines on stdout."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._epoch_ns = 0
        self.on_event: OnEvent = _ignore

    def begin(self, path: Path, plan: Plan, us: Station, endpoint: Endpoint) -> None:
        """The header."""
        from pytools.render.arping_text import ArpingText

        options = self._options
        self._epoch_ns = path.epoch_ns
        self._text = ArpingText(
            sys.stdout,
            quiet=options.quiet,
            raw_mac=options.raw_mac,
            raw_ip=options.raw_ip,
            dots=options.dots,
            audible=options.audible,
            report_missed=options.report_missed,
            stamp=self._stamp if options.watch else None,
        )
        self.on_event = self._text.on_event
        self._text.header(plan.title, us.ip, endpoint.interface)

    def _stamp(self, now: Ns) -> str:
        seconds, rest = divmod(self._epoch_ns + now, SECOND)
        return f"{strftime('%Y-%m-%d %H:%M:%S', localtime(seconds))}.{rest // 1_000_000:03d}"

    def end(self, engine: ArpingBase, status: int, error: str = "") -> int:
        """The summary."""
        self._text.summary(engine, _extra(engine))
        if self._options.stats:
            self._text.statistics(engine.rtts, engine.histogram)
        return status

    def fail(self, error: PytoolsError) -> None:
        """The error's line is printed by the caller."""


def _extra(engine: ArpingBase) -> str:
    """A third line of the summary."""
    if isinstance(engine, ScanEngine):
        duplicates = f", {engine.duplicate_count} duplicate(s)" if engine.duplicate_count else ""
        return f"{engine.answered_count} of {len(engine.targets)} address(es) answered{duplicates}"
    if isinstance(engine, WatchEngine):
        return f"{engine.address_count} address(es), {engine.conflict_count} conflict(s), {engine.move_count} move(s)"
    return ""


class JsonOutput:
    """Records on stdout; from the start record to the end record whatever happens."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._writer: Any = None
        self.on_event: OnEvent = _ignore
        self._path: Path | None = None

    def begin(self, path: Path, plan: Plan, us: Station, endpoint: Endpoint) -> None:
        """The start record."""
        from pytools.render.arping_json import ArpingJson
        from pytools.wire.addr import format_ip, format_mac

        self._path = path
        writer = self._open(path.start_at)
        facts: dict[str, Any] = {
            "targets": plan.options.targets or [],
            "via": path.kind,
            "interface": endpoint.interface,
        }
        facts |= {"source": format_ip(us.ip), "mac": format_mac(us.mac), "target_count": len(plan.addresses)}
        writer.start("arping", split_command_line(sys.argv)[2], epoch_ns=path.epoch_ns + path.start_at, **facts)
        if not self._options.quiet:
            self.on_event = ArpingJson(writer).on_event

    def _open(self, start_at: Ns) -> Any:
        from pytools.render.json_lines import JsonWriter

        self._writer = JsonWriter(sys.stdout, start_at)
        return self._writer

    def end(self, engine: ArpingBase, status: int, error: str = "") -> int:
        """The end record."""
        from pytools.render.arping_json import figures

        assert self._path is not None
        more = {"message": error} if error else {}
        reason = "error" if error else engine.end_reason
        self._writer.end(self._path.waiter.now(), status, reason, **more, **figures(engine))
        return status

    def fail(self, error: PytoolsError) -> None:
        """End because of an error, with a start record if there was none."""
        if isinstance(error, OutputError):
            return
        if self._writer is None:
            self._open(0).start("arping", split_command_line(sys.argv)[2], epoch_ns=time_ns())
        self._writer.end_with(error)
