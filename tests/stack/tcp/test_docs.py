"""docs/tcp.md says what the code does."""

import importlib.util
from pathlib import Path

from pytools.stack.tcp.config import TcpConfig

DOCS = Path(__file__).parents[3] / "docs"


def test_the_state_diagram_is_fresh():
    spec = importlib.util.spec_from_file_location("draw_tcp_states", DOCS / "draw_tcp_states.py")
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    text = draw.PAGE.read_text()
    assert text == draw.refreshed(text), "run docs/draw_tcp_states.py"


def test_every_setting_is_explained():
    text = (DOCS / "tcp.md").read_text()
    assert [name for name in TcpConfig.__slots__ if f"`{name}`" not in text] == []
