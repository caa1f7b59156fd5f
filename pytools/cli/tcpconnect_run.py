"""What `pytools tcpconnect` does: a plan, the loop, the output, the exit status."""

import os
import sys
from time import time_ns
from typing import Any

from pytools.cli.app import split_command_line
from pytools.cli.open import Path, open_path
from pytools.cli.open_tcp import TcpWay
from pytools.cli.output import OutputError
from pytools.cli.tcpconnect import Options
from pytools.cli.tcpconnect_output import JsonOutput, Output, TextOutput
from pytools.cli.tcpconnect_pipe import Channel, Pipe, PlainChannel
from pytools.cli.tcpconnect_plan import Plan
from pytools.engine import EngineEvent
from pytools.errors import EXIT_NO, EXIT_YES, ConnectionFailedError, PytoolsError
from pytools.probe.tcpconnect import TcpConnectEngine
from pytools.probe.tcpconnect_events import (
    FAILED,
    OPEN,
    REFUSED,
    TIMED_OUT,
    UNREACHABLE,
    ConnectResult,
    DataReady,
)
from pytools.run.driver import IDLE, Driver
from pytools.run.signals import Signals
from pytools.units import MS, SECOND, Ns

_DETAIL = {REFUSED: 10, TIMED_OUT: 11, UNREACHABLE: 12, FAILED: 2}
EXIT_BROKEN_OFF = 13
_PARTING_NS: Ns = SECOND
"""So long the end of a connection may take after SIGINT."""


def run(options: Options) -> int:
    """Run one command line; returns the exit status. PytoolsError: one line that says what was refused."""
    plan = Plan(options)
    output: Output = JsonOutput(plan, split_command_line(sys.argv)[2]) if options.json else TextOutput(plan)
    try:
        return _run(plan, output)
    except OutputError:
        raise
    except PytoolsError as error:
        output.fail(error, time_ns())
        raise


def _run(plan: Plan, output: Output) -> int:
    with Signals(on_quit=output.interim) as signals, open_path(plan.request()) as path:
        for note in path.notes:
            print(f"tcpconnect: {note}", file=sys.stderr)
        way = TcpWay(path)
        try:
            targets, endpoints = plan.connect_targets(path, way)
            engine = TcpConnectEngine(path.stack, way.tcp, targets, plan.config())
            output.begin(path, engine, endpoints)
            return Run(plan, output, path, engine).run(signals)
        finally:
            way.close()


class Run:
    """One run from the first SYN to the summary."""

    def __init__(self, plan: Plan, output: Output, path: Path, engine: TcpConnectEngine) -> None:
        self._plan = plan
        self._output = output
        self._path = path
        self._engine = engine
        self._pipe: Pipe | None = None
        self._tls: Any = _open_tls(plan) if plan.options.tls else None
        self._driver: Driver | None = None
        self._error = 0
        self._outcomes: dict[int, str] = {}

    def run(self, signals: Signals) -> int:
        """Loop to the end; returns the exit status."""
        path, engine = self._path, self._engine
        ladder = self._ladder()
        driver = self._driver = path.driver(engine, self._on_event)
        signals.attach(driver)
        try:
            why = driver.run(self._is_over)
            interrupted = why != IDLE and not self._is_over()
            driver.flush()
            self._part(driver)
        except (OutputError, ConnectionFailedError) as error:
            self._part(driver)  # the wire is still there: the peer learns that nobody listens any more
            if isinstance(error, ConnectionFailedError):
                self._output.end(error.exit_status, "error", str(error))
            raise
        except PytoolsError as error:
            self._output.end(error.exit_status, "error", str(error))
            raise
        finally:
            if ladder is not None:
                ladder.flush()
        if why == IDLE:
            print("tcpconnect: nothing can ever happen here (-w gives up after a while)", file=sys.stderr)
        reason = "interrupted" if interrupted else "idle" if why == IDLE else self._reason()
        status = self._status(interrupted or why == IDLE)
        self._output.end(status, reason)
        return status

    def _ladder(self) -> Any:
        if not self._plan.options.ladder:
            return None
        from pytools.render.ladder import Ladder

        ladder = Ladder(sys.stderr, self._path.ports, start_at=self._path.start_at)
        self._path.stack.trace.subscribe(ladder.on_event, Ladder.categories)
        return ladder

    def _is_over(self) -> bool:
        pipe, engine = self._pipe, self._engine
        if pipe is None:
            return engine.done
        if engine.done:
            pipe.turn()  # what is left in the receive buffer
        if pipe.error and pipe.over:
            return True
        return pipe.over and engine.done

    def _on_event(self, event: EngineEvent) -> None:
        self._output.on_event(event)
        if isinstance(event, DataReady):
            if self._pipe is not None:
                self._pipe.turn()
        elif isinstance(event, ConnectResult):
            self._outcomes[event.target] = OPEN if OPEN in (event.outcome, self._outcomes.get(event.target)) else ""
            self._outcomes[event.target] = self._outcomes[event.target] or event.outcome
            if event.outcome == OPEN and self._plan.talks:
                self._talk()

    def _talk(self) -> None:
        """The connection is open: let standard input and output flow."""
        kept, options, driver = self._engine.kept, self._plan.options, self._driver
        assert kept is not None
        assert driver is not None
        clock = self._path.waiter.now
        if options.timeout:
            kept.connection.user_timeout_ns = round(options.timeout * 1000) * MS
        channel: Channel = PlainChannel(kept.stream)
        if self._tls is not None:
            channel = self._tls.open(kept.stream, clock(), self._output.on_tls)
        reads = not (options.detach or options.connect_only)
        self._pipe = Pipe(channel, driver, clock, reads=reads, blocks=self._path.kind == "sim")
        self._pipe.start()

    def _part(self, driver: Driver) -> None:
        """Say good-bye to a peer that is still there: FIN, or RST if it has sent what nobody read."""
        pipe, kept, now = self._pipe, self._engine.kept, self._path.waiter.now()
        if pipe is not None:
            self._error, self._pipe = pipe.error, None
            pipe.close()
        self._engine.finish(now)
        if kept is not None:
            kept.stream.close(now)
        clock, end_at = self._path.waiter.now, now + _PARTING_NS
        while self._engine.is_parting and clock() < end_at and driver.step(end_at):
            pass  # without us the kernel would reset what the peer still sends

    def _reason(self) -> str:
        if self._error:
            return "error"
        return self._engine.reason or "closed"

    def _status(self, cut_off: bool) -> int:
        detail = self._plan.options.exit_detail
        if self._plan.talks:
            if self._engine.kept is None:
                outcome = next(reversed(self._outcomes.values()), "")
                return _DETAIL.get(outcome, EXIT_NO) if detail else EXIT_NO
            if self._error:
                print(f"tcpconnect: {os.strerror(self._error)}", file=sys.stderr)
                return EXIT_BROKEN_OFF if detail else EXIT_NO
            return EXIT_NO if cut_off else EXIT_YES
        bad = [self._outcomes.get(index, "") for index in range(len(self._engine.targets))]
        bad = [outcome for outcome in bad if outcome != OPEN]
        if not bad:
            return EXIT_YES
        return _DETAIL.get(bad[0], EXIT_NO) if detail else EXIT_NO


def _open_tls(plan: Plan) -> Any:
    from pytools.cli.tcpconnect_tls import Tls

    return Tls(plan.options.tls_name or plan.goals[0].host.name, quick=plan.options.connect_only)
