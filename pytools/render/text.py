"""The trace as text: one line a packet or happening, both halves (docs/trace.md).

     0.000000           > ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)       ARP 10.0.0.2 INCOMPLETE
     0.020051   +20.051 < ARP 10.0.0.2 is-at 02:00:00:00:00:02              ARP 10.0.0.2 INCOMPLETE->REACHABLE ...

Time in seconds since the start, milliseconds since the line above, the mark, the packet, and what the stack did.
`-vv` adds the link and IP headers and what is only detail, `-vvv` the octets and scapy's dissection. Lines are plain
writes and are never wrapped.
"""

import sys
from collections.abc import Iterable
from typing import Final, TextIO

from pytools.engine import ETHERNET, Port
from pytools.errors import PytoolsError
from pytools.render import dissect
from pytools.render.assemble import HAPPENED, RECEIVED, REFUSED, SENT, Assembler, Line
from pytools.render.escape import draws_unicode, escape
from pytools.render.relative import RelativeNumbers
from pytools.render.style import Style
from pytools.render.words import right_half, words
from pytools.trace.events import ProbeFailed, ProbeLost
from pytools.units import Ns
from pytools.wire.notation import describe, header_lines

HEADERS: Final = 2
"""The level (-vv) from which headers are shown."""
OCTETS: Final = 3

_INDENT: Final = " " * 22
_NARROWEST: Final = 56
_WIDEST: Final = 110
_SOON: Final = 8
_BAD: Final = frozenset((ProbeLost, ProbeFailed))


class TextRenderer:
    """Writes trace events to a text stream; time counts from `start_at`.

    `level` is the number of -v. `ascii_only` None asks the stream's encoding and the locale. Call `flush` before
    waiting, and at the end. `on_event` raises nothing: an error of the stream is kept and raised by `flush`, outside of
    the engine.
    """

    __slots__ = (
        "_assembler",
        "_column",
        "_count",
        "_dissect",
        "_encoding",
        "_error",
        "_last_at",
        "_level",
        "_link_types",
        "_long_count",
        "_numbers",
        "_start_at",
        "_stream",
        "_style",
        "on_event",
    )

    def __init__(
        self,
        stream: TextIO,
        level: int,
        ports: Iterable[Port],
        *,
        start_at: Ns,
        color: bool = False,
        ascii_only: bool | None = None,
    ) -> None:
        """At level 3 this loads scapy (0.3 to 1 s), so that no packet waits for it later."""
        self._stream = stream
        self._level = level
        self._link_types = {port.index: port.link_type for port in ports}
        self._start_at = start_at
        self._numbers = RelativeNumbers()
        self._last_at: Ns | None = None
        self._style = Style(color)
        encoding = getattr(stream, "encoding", None) or "ascii"
        if ascii_only is None:
            ascii_only = not draws_unicode(encoding)
        self._encoding = "ascii" if ascii_only else "utf-8"
        self._column = _NARROWEST
        self._count = 0
        self._long_count = -_SOON - 1
        self._error: Exception | None = None
        self._dissect: dissect.Dissect | None = None
        self._assembler = Assembler(self.write_line)
        self.on_event = self._assembler.on_event
        """The listener for `Trace.subscribe`."""
        if level >= OCTETS:
            self._load_scapy()

    def add_port(self, port: Port) -> None:
        """Name a port that was opened later."""
        self._link_types[port.index] = port.link_type

    def flush(self) -> None:
        """Write what is held back. Raises the error that stopped the trace, if one did."""
        self._assembler.flush()
        if self._error is not None:
            raise self._error
        self._stream.flush()

    def close(self) -> None:
        """Write the rest; the stream stays open. Raises as `flush`."""
        self.flush()

    def write_line(self, line: Line) -> None:
        """One packet or happening; a sink for `Assembler`."""
        if self._error is None:
            self._write(self.format(line))

    def format(self, line: Line) -> str:
        """The text of one Line, each of its lines ended by a line feed."""
        event = line.frame_event
        if event is None:
            return self._happening(line)
        frame = line.frame or b""
        link_type = self._link_types.get(event.port, ETHERNET)
        head = self._head(
            line,
            describe(frame, link_type, bases=self._numbers.of(frame, link_type)),
            right_half(line.events, self._level),
        )
        return head if self._level < HEADERS else "".join((head, *self._below(line, frame, link_type)))

    def _happening(self, line: Line) -> str:
        """What came first is on the left; a frame that is part of it (lost by the wire, say) beside it."""
        first = line.events[0]
        left = words(first)
        if (frame := getattr(first, "frame", None)) is not None:
            left += f": {describe(frame, self._link_types.get(0, ETHERNET))}"
        return self._head(line, left, right_half(line.events[1:], self._level))

    def _head(self, line: Line, left: str, right: str) -> str:
        """The line with its columns; the right one moves out for good when two longer lines come close together."""
        now, last_at, encoding = line.now, self._last_at, self._encoding
        self._last_at = now
        self._count += 1
        seconds, rest = divmod((now - self._start_at) // 1000, 1_000_000)
        delta = "" if last_at is None else f"{(now - last_at) / 1e6:+.3f}"
        times, mark = f"{seconds:2d}.{rest:06d} {delta:>9}", line.mark
        left = escape(left, encoding)
        if line.label:
            left = f"{escape(line.label, encoding)}: {left}"
        pad = ""
        if right:
            if (width := len(left)) > self._column:
                self._widen(width)
            right = escape(right, encoding)
            pad = " " * max(self._column - width + 2, 2)
        if self._style.on:
            times, mark, left, right = self._color(line, times, left, right)
        return f"{times} {mark} {left}{pad}{right}\n"

    def _widen(self, width: int) -> None:
        """Take note of a line that is longer than the column; a single one doesn't move it."""
        if self._count - self._long_count <= _SOON:
            self._column = min(width, _WIDEST)
        self._long_count = self._count

    def _color(self, line: Line, times: str, left: str, right: str) -> tuple[str, str, str, str]:
        """By meaning: red what was refused or lost, yellow what happened without a packet, times dim."""
        style, mark = self._style, line.mark
        if mark == REFUSED:
            mark, right = style.red(mark), style.red(right)
        elif mark == HAPPENED:
            paint = style.red if any(type(event) in _BAD for event in line.events) else style.yellow
            mark, left = paint(mark), paint(left)
        elif mark == SENT:
            mark = style.cyan(mark)
        elif mark == RECEIVED:
            mark = style.green(mark)
        return style.dim(times), mark, left, right

    def _below(self, line: Line, frame: bytes, link_type: int) -> list[str]:
        """The further lines of -vv and -vvv."""
        below = header_lines(frame, link_type)
        if line.frame_event is not None and (said := words(line.frame_event)):
            below.append(said)
        if self._level >= OCTETS:
            below += dissect.hex_dump(frame)
            if self._dissect is not None:
                below += self._dissect(frame, link_type)
        dim = self._style.dim
        return [f"{_INDENT}{dim(escape(text, self._encoding))}\n" for text in below]

    def _load_scapy(self) -> None:
        self._dissect = dissect.load()
        if self._dissect is None:
            self._write(f"{_INDENT}no dissection: scapy can't be loaded by {escape(sys.executable, self._encoding)}\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except (OSError, ValueError, PytoolsError) as error:  # ValueError: the stream is closed
            self._error = error
