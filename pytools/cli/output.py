"""Standard output that says what went wrong.

Lines are flushed one by one, also into a pipe. A failing write is an `OutputError` (exit status 1: "write error: No
space left on device"), whoever wrote. Closed descriptors are plugged first, so that no socket becomes number 1.
"""

import io
import os
import sys
from collections.abc import Callable
from typing import Any

from pytools.errors import EXIT_NO, PytoolsError


class OutputError(PytoolsError):
    """Stdout can't be written."""

    exit_status = EXIT_NO

    def __init__(self, error: OSError) -> None:
        super().__init__(f"write error: {error.strerror}")


class _Stdout(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise OutputError(error) from error


def open_stdio() -> Callable[[int], int]:
    """Replace `sys.stdout`; returns a function that flushes it at the end and turns status into the final one."""
    _plug()
    encoding = sys.stdout.encoding if sys.stdout is not None else "utf-8"
    buffer = io.BufferedWriter(_Stdout(1, "wb", closefd=False))
    sys.stdout = io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace", line_buffering=True)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    return _finish


def _plug() -> None:
    """Open what was closed: stdin and stderr on /dev/null, stdout for reading only, so that a write fails (EBADF)."""
    for fd, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest free number, which is fd


def _finish(status: int) -> int:
    from pytools.cli.app import complain, split_command_line

    try:
        sys.stdout.flush()
        return status
    except OutputError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes what is left when it ends
        already_said = status == error.exit_status
        return status if already_said else complain(split_command_line(sys.argv)[0], str(error), error.exit_status)
