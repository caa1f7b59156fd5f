"""The traces that a command line asks for: text or JSON on stderr, pcapng in a file.

Files are opened by `open_files`, before anything else can fail and while we have the caller's rights, and handed to the
user who called sudo. `attach` connects the renderers once the stack and its ports are there.
"""

import os
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from pytools.errors import LinkError, PytoolsError, UsageError
from pytools.units import Ns

if TYPE_CHECKING:
    from pytools.cli.open import TraceRequest
    from pytools.engine import EngineEvent, Port
    from pytools.run.driver import OnEvent
    from pytools.run.waiters import Waiter
    from pytools.trace.hub import Trace


class Tracing:
    """The renderers of one command. Without any it costs nothing."""

    def __init__(self, request: "TraceRequest") -> None:
        self._request = request
        self._file: BinaryIO | None = open_file(request.pcap) if request.pcap is not None else None
        self._stderr: TextIO | None = None
        self._renderers: list[Any] = []
        self._closers: list[Callable[[], object]] = []
        if request.form not in ("text", "json"):
            raise UsageError(f"invalid --trace-format argument: {request.form}")

    @property
    def wanted(self) -> bool:
        """Something is to be traced."""
        return bool(self._request.verbosity or self._file)

    def attach(self, trace: "Trace", ports: Iterable["Port"], *, start_at: Ns, epoch_ns: int) -> None:
        """Connect the renderers to the hub. Times count from `start_at`."""
        request, ports = self._request, list(ports)
        if request.verbosity and request.form == "json":
            self._attach_json(trace, ports, start_at)
        elif request.verbosity:
            self._attach_text(trace, ports, start_at)
        if self._file is not None:
            self._attach_pcapng(trace, ports, start_at, epoch_ns)

    def _attach_text(self, trace: "Trace", ports: list["Port"], start_at: Ns) -> None:
        from pytools.render.style import wants_color
        from pytools.render.text import TextRenderer

        color = wants_color(sys.stderr, self._request.color)
        renderer = TextRenderer(self._open_stderr(), self._request.verbosity, ports, start_at=start_at, color=color)
        trace.subscribe(renderer.on_event)
        self._renderers.append(renderer)

    def _attach_json(self, trace: "Trace", ports: list["Port"], start_at: Ns) -> None:
        from pytools.render.json_lines import JsonWriter
        from pytools.render.json_trace import JsonTrace

        writer = JsonWriter(self._open_stderr(), start_at, flush_each=False)
        renderer = JsonTrace(writer, ports, self._request.verbosity)
        trace.subscribe(renderer.on_event, renderer.categories)
        self._renderers.append(renderer)

    def _attach_pcapng(self, trace: "Trace", ports: list["Port"], start_at: Ns, epoch_ns: int) -> None:
        from pytools.render.pcapng import PcapngWriter

        assert self._file is not None
        try:
            writer = PcapngWriter(self._file, ports, start_at=start_at, epoch_ns=epoch_ns)
        except OSError as error:
            raise self._file_refused(error) from error
        trace.subscribe(writer.on_event)
        self._renderers.append(writer)
        self._closers.append(writer.close)

    def _open_stderr(self) -> TextIO:
        """Standard error with a buffer: written out before each wait instead of at each line."""
        if self._stderr is None:
            encoding = getattr(sys.stderr, "encoding", None) or "ascii"
            self._stderr = os.fdopen(2, "w", encoding=encoding, errors="backslashreplace", closefd=False)
            self._closers.append(self._stderr.flush)
        return self._stderr

    def add_port(self, port: "Port") -> None:
        """Tell the renderers of a port that was opened later."""
        for renderer in self._renderers:
            renderer.add_port(port)

    def flush(self) -> None:
        """Write out what is held back; called before each wait."""
        for renderer in self._renderers:
            try:
                renderer.flush()
            except OSError as error:
                raise self._refused(renderer, error) from error

    def close(self) -> None:
        """Write the rest and close the file. May be called twice."""
        renderers, self._renderers = self._renderers, []
        closers, self._closers = self._closers, []
        for finish in (*(renderer.flush for renderer in renderers), *closers):
            try:
                finish()
            except OSError as error:
                raise self._file_refused(error) from error

    def _refused(self, renderer: Any, error: OSError) -> PytoolsError:
        if hasattr(renderer, "close"):
            return self._file_refused(error)
        return LinkError(f"stderr: {error.strerror}", error.errno or 0)

    def _file_refused(self, error: OSError) -> PytoolsError:
        return LinkError(f"{self._request.pcap}: {error.strerror}", error.errno or 0)

    def waiter(self, waiter: "Waiter") -> "Waiter":
        """`waiter`, with a flush before each wait if there is anything to flush."""
        return FlushingWaiter(waiter, self.flush) if self._renderers else waiter

    def before(self, on_event: "OnEvent | None") -> "OnEvent | None":
        """`on_event`, with a flush before it: on a terminal a packet stands above what it led to."""
        if on_event is None or not self._renderers:
            return on_event
        flush, tell = self.flush, on_event

        def flush_and_tell(event: "EngineEvent") -> None:
            flush()
            tell(event)

        return flush_and_tell


class FlushingWaiter:
    """A waiter that lets traces be read before it sleeps."""

    __slots__ = ("_flush", "_waiter", "now")

    def __init__(self, waiter: "Waiter", flush: Callable[[], None]) -> None:
        self._waiter = waiter
        self._flush = flush
        self.now = waiter.now

    @property
    def ready(self) -> Collection[int]:
        """See `run.waiters.Waiter`."""
        return self._waiter.ready

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        """See `run.waiters.Waiter`."""
        self._flush()
        return self._waiter.wait(until, readable, writable)


def open_file(path: str) -> BinaryIO:
    """A file to write; "-" is stdout, and what the command prints goes to stderr then. LinkError: it can't be written.

    A file that is new belongs to who called sudo.
    """
    if path == "-":
        if sys.stdout.isatty():
            raise UsageError("--pcap -: stdout is a terminal (give a file, or pipe it)")
        sys.stdout = sys.stderr
        return os.fdopen(os.dup(1), "wb")
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    try:
        try:
            fileno = os.open(path, flags | os.O_EXCL, 0o666)
        except FileExistsError:
            return os.fdopen(os.open(path, flags | os.O_TRUNC, 0o666), "wb")
    except OSError as error:
        raise LinkError(f"{path}: {error.strerror}", error.errno or 0) from error
    from pytools.link.privilege import give_to_invoking_user

    give_to_invoking_user(fileno)
    return os.fdopen(fileno, "wb")
