"""The pages that promise something about output say it of everything there is."""

import re
from pathlib import Path

from pytools.render.json_trace import FIELDS
from pytools.trace.events import FrameReceived, FrameSent
from tests.render import samples
from tests.render.schema import SCHEMA

PAGE = (Path(__file__).parents[2] / "docs" / "json.md").read_text()


def rows() -> dict[str, list[str]]:
    """Event -> fields, as the table of trace records has them."""
    table = PAGE.split("## Trace records")[1].split("## Examples")[0]
    return {m[1]: re.findall(r"`(\w+)`", m[2]) for m in re.finditer(r"^\| `(\w+)` \|([^|]*)\|", table, re.M)}


def test_every_trace_event_has_its_row_with_exactly_its_fields() -> None:
    documented = rows()
    assert set(documented) == {kind.name for kind in samples.event_classes()}
    for name, fields in documented.items():
        assert sorted(fields) == sorted(set(SCHEMA["$defs"][name]["properties"]) - {"event"}), name


def test_the_table_names_fields_as_they_are_written() -> None:
    for kind, fields in FIELDS.items():
        assert {key for key, _, _ in fields} <= set(rows()[kind.name])
    assert "at_ns" in rows()[FrameReceived.name]
    assert "at_ns" not in rows()[FrameSent.name]
