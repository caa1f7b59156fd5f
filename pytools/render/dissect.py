"""A frame in full: hex dump, and scapy's dissection for -vvv (the only place where a command loads scapy)."""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from pytools.engine import ETHERNET
from pytools.render.escape import escape

Dissect = Callable[[bytes, int], list[str]]
"""Takes (frame, link_type); the lines of a dissection, escaped."""

_PRINTABLE: Final = bytes(i if 0x20 <= i < 0x7F else 0x2E for i in range(256))
# Under /dev/null nothing can be made, whoever asks: scapy keeps no caches and reads no start-up files.
_NOWHERE: Final = "/dev/null/none"
_FOLDERS: Final = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "HOME")


def hex_dump(frame: bytes) -> list[str]:
    """Sixteen octets a line: offset, hex in two groups, ASCII with dots for the rest."""
    text = frame.translate(_PRINTABLE).decode("ascii")
    lines = []
    for at in range(0, len(frame), 16):
        left, right = frame[at : at + 8].hex(" "), frame[at + 8 : at + 16].hex(" ")
        lines.append(f"{at:04x}  {left:<23}  {right:<23}  {text[at : at + 16]}")
    return lines


def load() -> Dissect | None:
    """Load scapy (0.3 to 1 s: before the first packet, please); None when it is missing or does not start."""
    try:
        with _no_traces_at_home(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries that it tries
            import logging

            logging.getLogger("scapy").setLevel(logging.CRITICAL)  # its complaints name octets raw
            import scapy.layers.all  # noqa: F401
            from scapy.layers.inet import IP
            from scapy.layers.inet6 import IPv6
            from scapy.layers.l2 import Ether
    except Exception:  # whatever keeps it from starting, the trace goes on without
        return None

    def dissect(frame: bytes, link_type: int) -> list[str]:
        first = Ether if link_type == ETHERNET else IPv6 if frame[:1] >= b"\x60" else IP
        return _show(first, frame)

    return dissect


def _show(first: Callable[[bytes], Any], frame: bytes) -> list[str]:
    if not frame:
        return []
    try:
        shown = first(frame).show(dump=True)
    except Exception as error:  # any dissector of scapy's may fail on what a stranger sent
        return [escape(f"scapy can't dissect this: {type(error).__name__}: {error}", "ascii")]
    return [escape(line.rstrip()) for line in str(shown).splitlines() if line.strip()]


@contextmanager
def _no_traces_at_home() -> Iterator[None]:
    """Import without files in the home directory: read ones could run code as root, written ones would be root's."""
    saved = {name: os.environ.get(name) for name in _FOLDERS}
    os.environ.update(dict.fromkeys(_FOLDERS, _NOWHERE))
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
