"""What the README shows is what happens: its simulated runs are run, its files exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytools.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNS = re.findall(r"^    \$ \./run (.*)\n((?:(?:    .*)?\n)+?)(?=\n?\S)", README, re.MULTILINE)


@pytest.mark.parametrize(("line", "shown"), [run for run in RUNS if "--via sim" in run[0]])
def test_a_simulated_run_prints_what_is_shown(line, shown):
    command = [sys.executable, "-m", "pytools", *line.split()]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=30)
    expected = "\n".join(text.removeprefix("    ").rstrip() for text in shown.rstrip("\n").split("\n"))
    assert "\n".join(text.rstrip() for text in done.stdout.rstrip("\n").split("\n")) == expected


def test_there_are_runs_to_compare():
    assert len(RUNS) >= 4


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`((?:wire|stack|link)/[\w/]+\.py)`", README))))
def test_a_file_of_the_map_exists(name):
    assert (ROOT / "pytools" / name).is_file()


@pytest.mark.parametrize("target", re.findall(r"\]\(([\w./-]+)\)", README))
def test_a_linked_page_exists(target):
    assert (ROOT / target).is_file()


@pytest.mark.parametrize("room", re.findall(r"^      (\w+)/ ", README, re.MULTILINE))
def test_a_room_of_the_map_exists(room):
    assert (ROOT / "pytools" / room / "__init__.py").is_file()


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_named(name):
    assert f"| `{name}` |" in README


def test_nobody_is_told_to_install_the_other_pytools():
    assert "pip install pytools" not in README
