"""`pytools ping --find-mtu`: the search, and what is said of it."""

import sys
from typing import Any

from pytools.cli.open import Endpoint, Path, open_path
from pytools.cli.output import OutputError
from pytools.cli.ping_output import JsonOutput
from pytools.cli.ping_plan import Plan
from pytools.engine import EngineEvent
from pytools.errors import EXIT_NO, EXIT_YES, UsageError
from pytools.probe.mtu_search import FOUND, PASSED, SILENT, TOO_BIG, MtuSearch, MtuSearchConfig, MtuTried
from pytools.render.escape import escape
from pytools.render.icmp_words import error_words
from pytools.render.ping_text import format_rtt
from pytools.run.signals import Signals
from pytools.stack.packet import IpOptions
from pytools.units import SECOND
from pytools.wire.addr import format_ip


def find_mtu(plan: Plan, prog: str, arguments: list[str]) -> int:
    """Search, print each try, and the result; 0 if there is one."""
    if plan.host is None:
        raise UsageError("--find-mtu takes one target")
    with Signals() as signals, open_path(plan.request()) as path:
        endpoint = path.endpoint(plan.host.address, plan.host.zone)
        config = MtuSearchConfig(
            ident=path.ident,
            largest=endpoint.mtu,
            timeout_ns=plan.timeout_ns or SECOND,
            options=_options(plan, endpoint),
            epoch_ns=path.epoch_ns,
        )
        engine = MtuSearch(path.stack, endpoint.address, config)
        report = (_Json if plan.given.json else _Text)(plan, path, endpoint, arguments)
        driver = path.driver(engine, report.on_event)
        signals.attach(driver)
        try:
            driver.run(lambda: engine.done)
        except OutputError:
            raise
        except Exception as error:
            report.fail(error)
            raise
        engine.finish(path.waiter.now())
        driver.flush()
        status = EXIT_YES if engine.reason == FOUND else EXIT_NO
        report.end(engine, status)
        return status


def _options(plan: Plan, endpoint: Endpoint) -> IpOptions:
    given = plan.given
    return IpOptions(
        src=endpoint.source,
        port=endpoint.port,
        ttl=given.ttl or 0,
        tos=given.tos or 0,
        df="probe",
        dontroute=given.dont_route,
    )


class _Text:
    """A line a try, one for the result."""

    def __init__(self, plan: Plan, path: Path, endpoint: Endpoint, _arguments: list[str]) -> None:
        assert plan.host is not None
        self._name = escape(plan.host.name)
        self._address = endpoint.address
        self._quiet = plan.given.quiet
        if not self._quiet:
            address = format_ip(endpoint.address)
            print(f"Path MTU to {self._name} ({address}), at most {endpoint.mtu} by {endpoint.interface}")

    def on_event(self, event: EngineEvent) -> None:
        """Print a try."""
        if isinstance(event, MtuTried) and not self._quiet:
            print(f"{event.size:5} octets: {self._words(event)}")

    def _words(self, tried: MtuTried) -> str:
        if tried.outcome == PASSED:
            return f"reply, time={format_rtt((tried.rtt_ns or 0) // 1000)} ms"
        if tried.outcome == SILENT:
            return "no reply"
        if not tried.src:
            return f"message too long, mtu={tried.mtu}" if tried.outcome == TOO_BIG else "could not be sent"
        family = 4 if len(tried.src) == 4 else 6
        return f"From {format_ip(tried.src)} {error_words(family, tried.type, tried.code, tried.mtu)}"

    def end(self, engine: MtuSearch, _status: int) -> None:
        """Print the result."""
        if engine.reason != FOUND:
            print(f"Path MTU to {self._name}: not found, nothing came back")
            return
        by = f" (limited by {format_ip(engine.limited_by)})" if engine.limited_by else ""
        print(f"Path MTU to {self._name}: {engine.mtu}{by}")

    def fail(self, error: Exception) -> None:
        """The line is printed by the caller."""


class _Json:
    """A record a try; the result is in `end`."""

    def __init__(self, plan: Plan, path: Path, endpoint: Endpoint, arguments: list[str]) -> None:
        from pytools.render.json_lines import JsonWriter

        assert plan.host is not None
        self._path = path
        self._target = plan.host.name
        self._writer = JsonWriter(sys.stdout, path.start_at)
        JsonOutput.has_begun = True
        target = {"target": plan.host.name, "address": format_ip(endpoint.address), "mtu": endpoint.mtu}
        self._writer.start("ping", arguments, epoch_ns=path.epoch_ns, via=path.kind, ident=path.ident, targets=[target])

    def on_event(self, event: EngineEvent) -> None:
        """Write a try."""
        if isinstance(event, MtuTried):
            rtt_ms = event.rtt_ns / 1e6 if event.rtt_ns is not None else None
            fields: dict[str, Any] = {"target": self._target, "size": event.size, "outcome": event.outcome}
            fields |= {"from": format_ip(event.src) if event.src else None, "mtu": event.mtu or None, "rtt_ms": rtt_ms}
            self._writer.record("mtu_tried", event.now, **fields)

    def end(self, engine: MtuSearch, status: int) -> None:
        """Write the result."""
        limited_by = format_ip(engine.limited_by) if engine.limited_by else None
        self._writer.end(self._path.waiter.now(), status, engine.reason, mtu=engine.mtu or None, limited_by=limited_by)

    def fail(self, error: Exception) -> None:
        """End because of an error."""
        self._writer.end_with(error, self._path.waiter.now())
