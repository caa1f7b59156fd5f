"""Colour by meaning, for streams that are terminals.

    style = Style.of(sys.stdout, "auto")
    style.red("lost")          # the word itself when colour is off

Only the sixteen colours that every terminal has; never colour alone: the word or the mark says the same.
"""

import os
from typing import Final, Protocol

_RESET: Final = "\x1b[0m"


class _Stream(Protocol):
    def isatty(self) -> bool: ...


def wants_color(stream: _Stream, when: str = "auto") -> bool:
    """Whether to colour: "always" and "never" decide alone; "auto" asks for a terminal that is not dumb, and NO_COLOR.

    NO_COLOR counts when it is set and not empty (no-color.org).
    """
    if when != "auto":
        return when == "always"
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


class Style:
    """Wraps words in colour, or leaves them alone when `on` is false."""

    __slots__ = ("on",)

    def __init__(self, on: bool = False) -> None:
        self.on = on

    @classmethod
    def of(cls, stream: _Stream, when: str = "auto") -> "Style":
        """The style for a stream; `when` is "auto", "always" or "never"."""
        return cls(wants_color(stream, when))

    def bold(self, text: str) -> str:
        """A heading or the figure that matters."""
        return f"\x1b[1m{text}{_RESET}" if self.on and text else text

    def dim(self, text: str) -> str:
        """Context: times, what is there for alignment."""
        return f"\x1b[2m{text}{_RESET}" if self.on and text else text

    def red(self, text: str) -> str:
        """Errors, drops, losses."""
        return f"\x1b[31m{text}{_RESET}" if self.on and text else text

    def green(self, text: str) -> str:
        """An answer."""
        return f"\x1b[32m{text}{_RESET}" if self.on and text else text

    def yellow(self, text: str) -> str:
        """Odd, but not an error: duplicates, timers."""
        return f"\x1b[33m{text}{_RESET}" if self.on and text else text

    def cyan(self, text: str) -> str:
        """What we sent."""
        return f"\x1b[36m{text}{_RESET}" if self.on and text else text
