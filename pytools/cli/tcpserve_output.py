"""Where tcpserve's output goes: lines, or JSON records."""

import sys
from time import time_ns
from typing import Any, Protocol

from pytools.cli.app import split_command_line
from pytools.cli.open import Path
from pytools.cli.output import OutputError
from pytools.cli.tcpserve import Options
from pytools.engine import EngineEvent
from pytools.errors import PytoolsError
from pytools.probe.tcpserve import TcpServer
from pytools.run.driver import OnEvent


def _ignore(_event: EngineEvent) -> None:
    """Before `begin` nothing is told."""


class Output(Protocol):
    """Text or JSON."""

    on_event: OnEvent
    """Takes what happened."""

    def begin(self, path: Path, server: TcpServer) -> None:
        """The path is open."""

    def interim(self) -> None:
        """SIGQUIT: how it stands, on stderr."""

    def end(self, status: int, reason: str, message: str = "") -> None:
        """The summary."""

    def fail(self, error: PytoolsError) -> None:
        """It could not begin, or broke off; the caller prints the line."""


class TextOutput:
    """Lines on stdout; on stderr while a client or a command has stdout."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._server: TcpServer | None = None
        self.on_event: OnEvent = _ignore

    def begin(self, path: Path, server: TcpServer) -> None:
        """See `Output`."""
        from pytools.render.tcpserve_text import ServeText

        self._server = server
        lends_stdout = self._options.stdin or self._options.client
        self._text = ServeText(sys.stderr if lends_stdout else sys.stdout, quiet=self._options.quiet)
        self.on_event = self._text.on_event

    def interim(self) -> None:
        """See `Output`."""
        from pytools.render.tcpserve_text import summary_lines

        if self._server is not None:
            print(*summary_lines(self._server), sep="; ", file=sys.stderr)

    def end(self, status: int, reason: str, message: str = "") -> None:
        """See `Output`."""
        if self._server is not None and not message:
            self._text.summary(self._server)

    def fail(self, error: PytoolsError) -> None:
        """See `Output`."""


class JsonOutput:
    """Records on stdout, from start to end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._writer: Any = None
        self._path: Path | None = None
        self.on_event: OnEvent = _ignore

    def begin(self, path: Path, server: TcpServer) -> None:
        """See `Output`."""
        from pytools.render.json_lines import JsonWriter
        from pytools.render.tcpserve_json import ServeJson

        self._path, self._server = path, server
        self._writer = JsonWriter(sys.stdout, path.start_at)
        facts = {"via": path.kind, "interfaces": [port.name for port in path.ports]}
        arguments = split_command_line(sys.argv)[2]
        self._writer.start("tcpserve", arguments, epoch_ns=path.epoch_ns + path.start_at, **facts)
        self.on_event = ServeJson(self._writer, quiet=self._options.quiet).on_event

    def interim(self) -> None:
        """See `Output`: an interim record on stdout."""
        from pytools.render.tcpserve_json import figures

        if self._path is not None:
            self._writer.record("interim", self._path.waiter.now(), **figures(self._server))

    def end(self, status: int, reason: str, message: str = "") -> None:
        """See `Output`."""
        from pytools.render.tcpserve_json import figures

        assert self._path is not None
        more = {"message": message} if message else {}
        self._writer.end(self._path.waiter.now(), status, reason, **more, **figures(self._server))

    def fail(self, error: PytoolsError) -> None:
        """See `Output`."""
        from pytools.render.json_lines import JsonWriter

        if isinstance(error, OutputError):
            return
        if self._writer is None:
            self._writer = JsonWriter(sys.stdout, 0)
            self._writer.start("tcpserve", split_command_line(sys.argv)[2], epoch_ns=time_ns())
        self._writer.end_with(error)
