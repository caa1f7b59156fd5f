"""Every conformance script on our stack: tests/scripts, and those that came from elsewhere."""

from pathlib import Path

import pytest

from pytools.sim.drill.runner import Runner, ScriptFailedError
from pytools.sim.drill.script import parse

TESTS = Path(__file__).parents[2]
GIVEN = TESTS / "../../shared/drill"
OURS = sorted((TESTS / "scripts").rglob("*.pkt"))


def play(path: Path) -> None:
    runner = Runner(parse(path.read_text(), path.name))
    try:
        runner.run()
    except ScriptFailedError as failure:
        place = f"{path}:{failure.event.place}"
        pytest.fail("\n".join([f"{place}: {failure.what}", *runner.log[-6:], failure.event.text, *failure.detail]))


@pytest.mark.parametrize("path", OURS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_script_passes(path):
    play(path)


@pytest.mark.parametrize("path", sorted(GIVEN.glob("*.pkt")), ids=lambda path: path.stem)
def test_the_given_script_passes(path):
    play(path)


def test_the_example_of_the_documentation_passes():
    text = (TESTS.parent / "docs" / "drill.md").read_text()
    indented = "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))
    start, end = indented.index("// A second"), indented.index("}%", indented.index("tcpi_unacked"))
    Runner(parse(indented[start : end + 2])).run()


def test_there_are_many():
    assert len(OURS) >= 200


def test_each_script_says_what_it_is_about():
    for path in OURS:
        assert path.read_text().startswith("// "), path


def test_a_run_can_be_repeated():
    path = TESTS / "scripts/retransmission/fast-retransmit-after-three-duplicates.pkt"
    logs = []
    for _ in range(2):
        runner = Runner(parse(path.read_text(), path.name), seed=7)
        runner.run()
        logs.append(runner.log)
    assert logs[0] == logs[1]
