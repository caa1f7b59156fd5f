"""tcpconnect's outputs: lines or records."""

import sys
from collections.abc import Sequence
from typing import Any, Protocol

from pytools.cli.open import Endpoint, Path
from pytools.cli.tcpconnect_plan import Plan
from pytools.engine import EngineEvent
from pytools.errors import PytoolsError
from pytools.probe.tcpconnect import TcpConnectEngine
from pytools.probe.tcpconnect_events import OPEN, ConnectClosed, ConnectResult
from pytools.wire.addr import format_ip

_SINGLE_SUMMARIES = 8
"""Up to so many targets have a summary each, if they were tried more than once."""


class Output(Protocol):
    """Text or JSON."""

    def begin(self, path: Path, engine: TcpConnectEngine, endpoints: Sequence[Endpoint]) -> None:
        """The path is open."""

    def on_event(self, event: EngineEvent) -> None:
        """Something happened."""

    def on_tls(self, facts: dict[str, Any]) -> None:
        """The TLS handshake is over."""

    def interim(self) -> None:
        """SIGQUIT: how it stands, on stderr."""

    def end(self, status: int, reason: str, message: str = "") -> None:
        """The summary."""

    def fail(self, error: PytoolsError, epoch_ns: int) -> None:
        """It could not begin, or broke off; the caller prints the line."""


class TextOutput:
    """Lines on stdout; on stderr while stdout is the peer's."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._engine: TcpConnectEngine | None = None
        self._closed: ConnectClosed | None = None

    def begin(self, path: Path, engine: TcpConnectEngine, endpoints: Sequence[Endpoint]) -> None:
        """See `Output`."""
        from pytools.render import tcpconnect_text

        self._text = tcpconnect_text
        self._path, self._engine = path, engine
        self._labels = [goal.label for goal in self._plan.goals]
        if self._plan.connect_only:
            self._header(endpoints)

    def _header(self, endpoints: Sequence[Endpoint]) -> None:
        goals = self._plan.goals
        if len(goals) == 1:
            host, endpoint = goals[0].host, endpoints[0]
            source = format_ip(endpoint.source)
            where = f"{host.name} ({format_ip(host.address)}) port {goals[0].port}"
            print(f"TCPCONNECT {where} from {source} {endpoint.interface}")
        else:
            print(f"TCPCONNECT {len(goals)} targets")

    def on_event(self, event: EngineEvent) -> None:
        """See `Output`."""
        if isinstance(event, ConnectResult):
            self._tell(event)
        elif isinstance(event, ConnectClosed):
            self._closed = event

    def _tell(self, result: ConnectResult) -> None:
        label = self._labels[result.target]
        if self._plan.connect_only:
            if not self._plan.options.quiet:
                print(self._text.result_line(label, result))
        elif result.outcome != OPEN:
            print(f"tcpconnect: {label}: {self._text.result_words(result)}", file=sys.stderr)

    def on_tls(self, facts: dict[str, Any]) -> None:
        """See `Output`."""
        where = sys.stdout if self._plan.connect_only else sys.stderr
        words = f"{facts['version']} {facts['cipher']}"
        print(f"{self._labels[0]}: TLS handshake time={facts['handshake_ms']:.3f} ms {words}", file=where)

    def interim(self) -> None:
        """See `Output`."""
        if self._engine is not None:
            print(self._text.counts_text(self._engine.tallies), file=sys.stderr)

    def end(self, status: int, reason: str, message: str = "") -> None:
        """See `Output`."""
        engine = self._engine
        if engine is None:
            return
        if self._plan.options.info or self._plan.options.verbose:
            self._info(engine)
        if not self._plan.connect_only:
            return
        elapsed = max(0, self._path.waiter.now() - engine.began_at) if engine.began_at >= 0 else 0
        tallies = engine.tallies
        if 1 < len(tallies) <= _SINGLE_SUMMARIES and max(tally.started for tally in tallies) > 1:
            for label, tally in zip(self._labels, tallies, strict=True):
                self._print(self._text.summary_lines(label, [tally], elapsed))
            return
        title = self._labels[0] if len(tallies) == 1 else f"{len(tallies)} targets"
        self._print(self._text.summary_lines(title, tallies, elapsed))

    def _info(self, engine: TcpConnectEngine) -> None:
        closed = self._closed
        if closed is None and engine.last is not None:
            last, now = engine.last, self._path.waiter.now()
            info = last.info()
            closed = ConnectClosed(now, last.target, last.seq, 0, info, last.cwnd_max, now - last.opened_at)
        if closed is not None:
            where = sys.stdout if self._plan.connect_only and self._plan.options.info else sys.stderr
            for line in self._text.info_lines(closed):
                print(f"{self._labels[closed.target]}: {line}", file=where)

    def _print(self, lines: Sequence[str]) -> None:
        for line in lines:
            print(line)

    def fail(self, error: PytoolsError, epoch_ns: int) -> None:
        """See `Output`."""


class JsonOutput:
    """Records on stdout, from start to end; on stderr while stdout is the peer's."""

    def __init__(self, plan: Plan, arguments: list[str]) -> None:
        self._plan = plan
        self._arguments = arguments
        self._writer: Any = None
        self._path: Path | None = None
        self._engine: TcpConnectEngine | None = None

    def begin(self, path: Path, engine: TcpConnectEngine, endpoints: Sequence[Endpoint]) -> None:
        """See `Output`."""
        from pytools.render import tcpconnect_json

        self._json = tcpconnect_json
        self._path, self._engine = path, engine
        labels = [goal.label for goal in self._plan.goals]
        writer = self._open(path.start_at)
        facts = {"targets": labels, "via": path.kind, "interface": endpoints[0].interface}
        facts["source"] = format_ip(endpoints[0].source)
        writer.start("tcpconnect", self._arguments, epoch_ns=path.epoch_ns, **facts)
        self._records = tcpconnect_json.TcpConnectJson(writer, labels)

    def _open(self, start_at: int) -> Any:
        from pytools.render.json_lines import JsonWriter

        self._writer = JsonWriter(sys.stdout if self._plan.connect_only else sys.stderr, start_at)
        return self._writer

    def on_event(self, event: EngineEvent) -> None:
        """See `Output`."""
        if not self._plan.options.quiet:
            self._records.on_event(event)

    def on_tls(self, facts: dict[str, Any]) -> None:
        """See `Output`."""
        assert self._path is not None
        self._writer.record("tls", self._path.waiter.now(), **facts)

    def interim(self) -> None:
        """See `Output`: an interim record."""
        if self._path is not None and self._engine is not None:
            self._writer.record("interim", self._path.waiter.now(), **self._json.figures(self._engine.tallies))

    def end(self, status: int, reason: str, message: str = "") -> None:
        """See `Output`."""
        assert self._path is not None
        assert self._engine is not None
        more = {"message": message} if message else {}
        now = self._path.waiter.now()
        self._writer.end(now, status, reason, **more, **self._json.figures(self._engine.tallies))

    def fail(self, error: PytoolsError, epoch_ns: int) -> None:
        """See `Output`."""
        if self._writer is None:
            self._open(0).start("tcpconnect", self._arguments, epoch_ns=epoch_ns)
        self._writer.end_with(error)
