import io

import pytest

from pytools.render.style import Style, wants_color


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_a_terminal_is_coloured_and_a_file_is_not() -> None:
    assert wants_color(Terminal())
    assert not wants_color(io.StringIO())


def test_no_color_counts_unless_it_is_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_color(Terminal())
    monkeypatch.setenv("NO_COLOR", "")
    assert wants_color(Terminal())


def test_a_dumb_terminal_gets_no_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert not wants_color(Terminal())


def test_always_and_never_decide_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert wants_color(io.StringIO(), "always")
    assert not wants_color(Terminal(), "never")


def test_a_closed_stream_gets_no_colour() -> None:
    stream = io.StringIO()
    stream.close()
    assert not wants_color(stream)


def test_a_style_that_is_off_leaves_words_alone() -> None:
    assert [getattr(Style(), name)("x") for name in ("bold", "dim", "red", "green", "yellow", "cyan")] == ["x"] * 6


def test_a_style_that_is_on_ends_every_colour() -> None:
    style = Style.of(Terminal())
    assert style.red("lost") == "\x1b[31mlost\x1b[0m"
    assert style.dim("") == ""
