"""Text from the network, made safe for a terminal.

Whatever a peer, a name server or a frame supplies passes `escape` before it is printed: control characters (C0, DEL,
C1), ESC, format and bidirectional controls, line and paragraph separators, lone surrogates and unassigned code points
become visible escapes. Letters of any script stay as they are on a UTF-8 stream.

The escapes are for eyes: a backslash itself is left alone, so that escaping twice changes nothing. Programs read the
JSON output, which is exact.
"""

import os
from collections.abc import Mapping
from typing import Final

_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_COERCED: Final = ("C.UTF-8", "C.utf8", "UTF-8")
"""What Python puts into LC_CTYPE in the C locale (PEP 538), its own and its children's: nobody asked for that."""
_ASCII: Final = ("C", "POSIX", "")
_UTF8_NAMES: Final = frozenset({"utf-8", "utf8", "utf_8", "u8", "cp65001", "utf-8-sig"})


def is_utf8(encoding: str | None) -> bool:
    """Whether a stream of this encoding can show any character; every other encoding is treated as ASCII."""
    return encoding is not None and encoding.lower() in _UTF8_NAMES


def draws_unicode(encoding: str | None, environ: Mapping[str, str] | None = None) -> bool:
    """Whether pictures may use more than ASCII on a stream of this encoding: blocks, arrows, ellipses.

    Python writes UTF-8 in the C locale too (PEP 538, PEP 540), where nobody asked for it and the terminal may show
    rubbish. So LC_ALL, LC_CTYPE and LANG decide as setlocale(3) reads them: C, POSIX or none of them is ASCII.
    """
    if not is_utf8(encoding):
        return False
    given = os.environ if environ is None else environ
    if given.get("PYTHONIOENCODING") or given.get("PYTHONUTF8") == "1":
        return True
    ctype = given.get("LC_CTYPE")
    if ctype in _COERCED and given.get("LANG", "") in _ASCII:
        ctype = None
    return (given.get("LC_ALL") or ctype or given.get("LANG") or "C") not in _ASCII


def escape(text: str | bytes | bytearray | memoryview, encoding: str | None = "utf-8") -> str:
    """`text` with every character that could act on a terminal, or that `encoding` can't show, made visible.

    Bytes are read as UTF-8; what isn't becomes `\\xNN`. A str may hold bytes as surrogates (`surrogateescape`), which
    are shown the same way. Control characters are `\\n`, `\\r`, `\\t` or `\\xNN`, others `\\uNNNN` or `\\UNNNNNNNN`.
    """
    if not isinstance(text, str):
        text = bytes(text).decode("utf-8", "surrogateescape")
    if text.isascii():
        if text.isprintable():
            return text
        return "".join([c if c.isprintable() else _escaped(c) for c in text])
    if is_utf8(encoding):
        if text.isprintable():
            return text
        return "".join([c if c.isprintable() else _escaped(c) for c in text])
    return "".join([c if " " <= c <= "~" else _escaped(c) for c in text])


def _escaped(character: str) -> str:
    if (short := _SHORT.get(character)) is not None:
        return short
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"  # a byte that was no UTF-8
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
