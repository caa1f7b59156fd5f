"""Single keys from a terminal, without Enter and without echo, while a live view runs."""

import os
import sys
import termios
from collections.abc import Callable
from typing import Any


class Keys:
    """Reads keys; `close` gives the terminal back as it was. Without a terminal there are none."""

    def __init__(self, on_key: Callable[[str], object]) -> None:
        self._on_key = on_key
        self._saved: list[Any] | None = None
        if sys.stdin is None or not os.isatty(0):
            return
        try:
            self._saved = termios.tcgetattr(0)
            mode = termios.tcgetattr(0)
            mode[3] &= ~(termios.ICANON | termios.ECHO)
            termios.tcsetattr(0, termios.TCSADRAIN, mode)
        except termios.error:
            self._saved = None  # in the background: it is not ours to change

    @property
    def are_there(self) -> bool:
        """Whether keys can come."""
        return self._saved is not None

    def read(self) -> None:
        """Take what was typed; descriptor 0 is readable."""
        try:
            typed = os.read(0, 64)
        except OSError:
            typed = b""
        for key in typed.decode("ascii", "ignore"):
            self._on_key(key)

    def close(self) -> None:
        """May be called twice."""
        if self._saved is not None:
            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
            self._saved = None
