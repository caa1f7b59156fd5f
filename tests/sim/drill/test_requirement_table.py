"""docs/rfc9293.md names a test or a reason for every requirement, and what it names exists."""

import ast
import csv
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
TABLE = (ROOT / "docs" / "rfc9293.md").read_text()
ROWS = dict(re.findall(r"^\| (\w+-\d+) \|[^|]*\|[^|]*\| (.+) \|$", TABLE, re.MULTILINE))
LIST = ROOT / "../shared/spec/rfc9293.tsv"


def test_every_requirement_has_its_row():
    wanted = {f"MUST-{n}" for n in range(1, 70)} | {f"SHLD-{n}" for n in range(1, 32)}
    wanted |= {f"MAY-{n}" for n in range(1, 19)} | {"REC-1"}
    assert set(ROWS) == wanted


@pytest.mark.skipif(not LIST.exists(), reason="the list of requirements is not there")
def test_the_rows_are_those_of_the_list():
    with LIST.open() as file:
        assert list(ROWS) == [row["id"] for row in csv.DictReader(file, delimiter="\t")]


def functions(path: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("requirement", ROWS)
def test_what_a_row_names_exists(requirement):
    named = re.findall(r"`([\w./:-]*/[\w./:-]*)`", ROWS[requirement])
    assert named or re.match(r"no\b|not\b|no:", ROWS[requirement])
    for name in named:
        path, _, function = name.partition("::")
        if function:
            assert function in functions(ROOT / path), name
        else:
            assert (ROOT / "tests" / "scripts" / f"{path}.pkt").is_file(), name
