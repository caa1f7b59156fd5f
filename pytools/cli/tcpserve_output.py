"""Where tcpserve's output goes: lines, or JSON records."""

import sys
from time import time_ns
from typing import Any, Final, Protocol

from pytools.cli.app import split_command_line
from pytools.cli.open import Path
from pytools.cli.output import OutputError
from pytools.cli.tcpserve import Options
from pytools.engine import EngineEvent
from pytools.errors import PytoolsError
from pytools.probe.tcpserve import TcpServer
from pytools.run.driver import OnEvent
from pytools.units import MS, NEVER, Ns

DRAW_NS: Final[Ns] = 200 * MS


def _ignore(_event: EngineEvent) -> None:
    """Before `begin` nothing is told."""


class Output(Protocol):
    """Text or JSON."""

    on_event: OnEvent
    """Takes what happened."""

    @property
    def draw_at(self) -> Ns:
        """When `draw` is due, or NEVER."""

    def begin(self, path: Path, server: TcpServer) -> None:
        """The path is open."""

    def interim(self) -> None:
        """SIGQUIT: how it stands, on stderr."""

    def draw(self) -> None:
        """Between turns of the loop: a live table may be due."""

    def end(self, status: int, reason: str, message: str = "") -> None:
        """The summary."""

    def fail(self, error: PytoolsError) -> None:
        """It could not begin, or broke off; the caller prints the line."""


class TextOutput:
    """Lines on stdout; on stderr while a client or a command has stdout."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._live: Any = None
        self._draw_at: Ns = 0
        self._server: TcpServer | None = None
        self.on_event: OnEvent = _ignore

    def begin(self, path: Path, server: TcpServer) -> None:
        """See `Output`."""
        from pytools.render.tcpserve_text import ServeText

        self._server = server
        lends_stdout = self._options.stdin or self._options.client
        stream: Any = sys.stderr if lends_stdout else sys.stdout
        if self._options.live and not self._options.plain and not lends_stdout:
            stream = self._open_live(path, server)
        self._text = ServeText(stream, quiet=self._options.quiet)
        self.on_event = self._text.on_event

    def _open_live(self, path: Path, server: TcpServer) -> Any:
        """The table, where stdout is a terminal; else stdout as ever."""
        from pytools.render.ping_live import is_terminal

        if not is_terminal(sys.stdout):
            return sys.stdout
        from pytools.render.tcpserve_live import LiveStream, ServeLive

        self._clock = path.waiter.now
        self._live = ServeLive(server)
        self._live.start()
        return LiveStream(self._live.say)

    def draw(self) -> None:
        """See `Output`: the table, five times a second."""
        if self._live is not None and (now := self._clock()) >= self._draw_at:
            self._draw_at = now + DRAW_NS
            self._live.draw(now)

    @property
    def draw_at(self) -> Ns:
        """When `draw` is due."""
        return NEVER if self._live is None else self._draw_at

    def _close_live(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def interim(self) -> None:
        """See `Output`."""
        from pytools.render.tcpserve_text import summary_lines

        if self._server is not None:
            print(*summary_lines(self._server), sep="; ", file=sys.stderr)

    def end(self, status: int, reason: str, message: str = "") -> None:
        """See `Output`."""
        self._close_live()
        if self._server is not None and not message:
            from pytools.render.tcpserve_text import ServeText

            lends_stdout = self._options.stdin or self._options.client
            ServeText(sys.stderr if lends_stdout else sys.stdout).summary(self._server)

    def fail(self, error: PytoolsError) -> None:
        """See `Output`."""
        self._close_live()


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

    draw_at = NEVER

    def draw(self) -> None:
        """See `Output`: there is no table."""

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
