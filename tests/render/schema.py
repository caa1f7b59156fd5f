"""The shipped schema as a check of single records."""

import json
from functools import cache
from importlib import resources
from typing import Any

import pytest

jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")

SCHEMA: dict[str, Any] = json.loads(resources.files("pytools.render").joinpath("schema.json").read_text())
_whole = jsonschema.Draft202012Validator(SCHEMA)


def assert_valid(record: dict[str, Any]) -> None:
    """The record is what the schema allows; the definition of its event gives the better message."""
    name = record["event"] if record.get("event") in SCHEMA["$defs"] else "probe_record"
    _of(name).validate(record)
    assert _whole.is_valid(record)


@cache
def _of(name: str) -> Any:
    return jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{name}"}]})


def is_valid(record: dict[str, Any]) -> bool:
    return bool(_whole.is_valid(record))
