import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytools.render.escape import draws_unicode, escape, is_utf8

anything = st.one_of(st.text(), st.text(st.characters()), st.binary())
encodings = st.sampled_from(["utf-8", "UTF8", "ascii", "ANSI_X3.4-1968", "latin-1", "iso8859-15", None])


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain text, 1 > 0 [ok]", "plain text, 1 > 0 [ok]"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("a\r\nb\tc", "a\\r\\nb\\tc"),
        ("bell\x07 del\x7f nul\0", "bell\\x07 del\\x7f nul\\x00"),
        ("\x9b31m", "\\u009b31m"),
        ("host\u202egro.live", "host\\u202egro.live"),
        ("\u2066left\u2069 \u200fmark\u061c", "\\u2066left\\u2069 \\u200fmark\\u061c"),
        ("line\u2028paragraph\u2029", "line\\u2028paragraph\\u2029"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("m\u00fcnchen \u4e2d\u6587 \U0001f600", "m\u00fcnchen \u4e2d\u6587 \U0001f600"),
        ("\U000e0041tag", "\\U000e0041tag"),
        ("back\\slash", "back\\slash"),
        (b"caf\xc3\xa9", "caf\u00e9"),
        (b"caf\xe9 \x1b]0;title\x07", "caf\\xe9 \\x1b]0;title\\x07"),
        ("name \udce9", "name \\xe9"),
        ("lone \ud800", "lone \\ud800"),
        (bytearray(b"\0"), "\\x00"),
        (memoryview(b"ok"), "ok"),
    ],
)
def test_what_could_act_on_a_utf8_terminal_is_made_visible(raw: str | bytes, shown: str) -> None:
    assert escape(raw) == shown


@pytest.mark.parametrize("encoding", ["ascii", "ANSI_X3.4-1968", "latin-1", "cp1252", None])
def test_on_other_encodings_only_ascii_is_left(encoding: str | None) -> None:
    assert escape("m\u00fcnchen \U0001f600 \x1b", encoding) == "m\\u00fcnchen \\U0001f600 \\x1b"


def test_utf8_is_recognised_by_its_usual_names() -> None:
    assert [is_utf8(name) for name in ("utf-8", "UTF-8", "utf8", "latin-1", "C", None)] == [True] * 3 + [False] * 3


@given(anything, encodings)
def test_no_control_or_format_character_comes_through(raw: str | bytes, encoding: str | None) -> None:
    shown = escape(raw, encoding)
    for character in shown:
        code = ord(character)
        assert 0x20 <= code < 0x7F or code > 0x9F, "C0, DEL or C1"
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
        assert unicodedata.bidirectional(character) not in {
            "RLE",
            "LRE",
            "PDF",
            "RLO",
            "LRO",
            "RLI",
            "LRI",
            "FSI",
            "PDI",
        }
    assert is_utf8(encoding) or shown.isascii()
    shown.encode("utf-8")


@given(anything, encodings)
def test_escaping_twice_changes_nothing(raw: str | bytes, encoding: str | None) -> None:
    once = escape(raw, encoding)
    assert escape(once, encoding) == once


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_printable_ascii_stays_as_it_is(text: str) -> None:
    assert escape(text, "ascii") == text == escape(text.encode())


@pytest.mark.parametrize(
    ("environ", "draws"),
    [
        ({}, False),
        ({"LANG": "C"}, False),
        ({"LC_ALL": "POSIX", "LANG": "en_US.UTF-8"}, False),
        ({"LC_CTYPE": "C", "LANG": "en_US.UTF-8"}, False),
        ({"LC_ALL": "", "LANG": "en_US.UTF-8"}, True),
        ({"LC_ALL": "C.UTF-8", "LANG": "C"}, True),
        ({"LC_CTYPE": "de_DE.UTF-8"}, True),
        ({"LC_CTYPE": "C.UTF-8"}, False),
        ({"LC_CTYPE": "C.UTF-8", "LANG": "en_US.UTF-8"}, True),
        ({"LC_ALL": "C", "PYTHONIOENCODING": "utf-8"}, True),
        ({"LC_ALL": "C", "PYTHONUTF8": "1"}, True),
    ],
)
def test_the_locale_that_was_asked_for_decides_what_is_drawn(environ: dict[str, str], draws: bool) -> None:
    assert draws_unicode("utf-8", environ) is draws
    assert not draws_unicode("iso-8859-1", environ)
