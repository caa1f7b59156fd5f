"""JSON lines: one envelope for every command's results and for trace records (docs/json.md, schema.json).

    {"v":1,"event":"reply","t_ns":20150000,"target":"10.0.0.2","seq":1,"rtt_ms":20.057}

    writer = JsonWriter(sys.stdout, start_at)
    writer.start("ping", arguments, epoch_ns=epoch_ns, version=__version__)
    writer.record("reply", now, target="10.0.0.2", seq=1, rtt_ms=milliseconds(rtt_ns))
    writer.end(now, EXIT_YES, "count")

Every line is a whole record in ASCII. Numbers are numbers; what is unknown, infinite or no number is null.
"""

import json
import math
import re
from typing import Any, Final, TextIO

from pytools import __version__
from pytools.errors import EXIT_COULD_NOT_ASK, EXIT_NO, PytoolsError
from pytools.units import Ns

VERSION: Final = 1
"""`v` of every record: within one version fields and events are added, never removed, and keep their meaning."""

INTERRUPTED: Final = "interrupted"
ERROR: Final = "error"

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def milliseconds(duration_ns: Ns | None) -> float | None:
    """A duration for a field `*_ms`: exact, `round(ms * 1e6)` gives the nanoseconds back; None stays None."""
    return None if duration_ns is None else duration_ns / 1e6


def _plain(value: object) -> object:
    """What `json` doesn't know: octets as hex, sets and tuples as lists."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return value.hex()
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return str(value)


_encode: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False, default=_plain).encode


def encode_record(record: dict[str, Any]) -> str:
    """One record as one line of ASCII without the newline."""
    try:
        line = _encode(record)
    except ValueError:  # NaN or an infinity somewhere
        line = _encode(_clean(record))
    if "\\ud" in line:  # a character beyond the BMP, or a lone surrogate, which strict readers refuse
        line = _encode(_clean(record))
    return line


def _clean(value: Any) -> Any:
    """`value` with null for what is no number, and with `\\xNN` text for octets that were no UTF-8."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return _SURROGATE.sub(_show_surrogate, value)
    if isinstance(value, dict):
        return {_clean(key): _clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    return value


def _show_surrogate(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


class JsonWriter:
    """Writes records to a text stream, `t_ns` counted from `start_at`.

    Each record is one write, flushed at once unless `flush_each` is false (then `flush` does it, and `end`). Errors of
    the stream (OSError) are the caller's, who ends the command with them.
    """

    __slots__ = ("_flush_each", "_last_t_ns", "_stream", "ended", "start_at", "started")

    def __init__(self, stream: TextIO, start_at: Ns, *, flush_each: bool = True) -> None:
        self._stream = stream
        self._flush_each = flush_each
        self._last_t_ns = 0
        self.start_at = start_at
        self.started = False
        self.ended = False

    def start(self, command: str, arguments: list[str], *, epoch_ns: int, **facts: Any) -> None:
        """The first record: what was asked, by which version, and the wall clock.

        `epoch_ns` is Unix time at instant 0 of the engine's clock; the record has it at its `t_ns` 0.
        """
        self.started = True
        wall_ns = epoch_ns + self.start_at
        about = {"command": command, "arguments": arguments, "version": __version__, "epoch_ns": wall_ns}
        self._write({"v": VERSION, "event": "start", "t_ns": 0, **about, **facts})

    def record(self, event: str, now: Ns, /, **fields: Any) -> None:
        """One record; octets among the fields become hex, so give addresses as text. After `end` nothing is written."""
        if self.ended:
            return
        self._last_t_ns = t_ns = now - self.start_at
        self._write({"v": VERSION, "event": event, "t_ns": t_ns, **fields})

    def end(self, now: Ns | None, exit_status: int, reason: str, **fields: Any) -> None:
        """The last record; nothing follows it, and a second call writes nothing. `now` None: the last record's time."""
        if self.ended:
            return
        self.ended = True
        t_ns = self._last_t_ns if now is None else now - self.start_at
        outcome = {"exit_status": exit_status, "reason": reason}
        self._write({"v": VERSION, "event": "end", "t_ns": t_ns, **outcome, **fields})
        self.flush()

    def end_with(self, error: BaseException, now: Ns | None = None) -> int:
        """End because of `error`; returns the exit status. A closed pipe gets no record: nobody reads it."""
        if isinstance(error, BrokenPipeError):
            self.ended = True
            return EXIT_NO
        if isinstance(error, KeyboardInterrupt):
            self.end(now, EXIT_NO, INTERRUPTED)
            return EXIT_NO
        status = error.exit_status if isinstance(error, PytoolsError) else EXIT_COULD_NOT_ASK
        self.end(now, status, ERROR, message=str(error) or type(error).__name__)
        return status

    def flush(self) -> None:
        """Hand everything to the system."""
        self._stream.flush()

    def write_line(self, line: str) -> None:
        """One encoded record; for `json_trace`, which shares the stream."""
        self._stream.write(line + "\n")
        if self._flush_each:
            self._stream.flush()

    def _write(self, record: dict[str, Any]) -> None:
        self.write_line(encode_record(record))
