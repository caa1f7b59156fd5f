"""What `conftest.py` promises: what is skipped where, and that CI takes no skip for want of something."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = """
import pytest

@pytest.mark.needs("no-such-program")
def test_with_a_program(): pass

@pytest.mark.soak
def test_large(): pass

def test_with_a_module():
    pytest.skip("scapy not installed")

def test_as_root():
    pytest.skip("needs root")

def test_elsewhere():
    pytest.skip("this kernel has no such thing")

def test_plain(): pass
"""


@pytest.fixture
def outcome(tmp_path):
    """Runs the sample with our conftest; returns the closing line."""
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_sample.py").write_text(SAMPLE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n  root: x\n  soak: x\n  needs: x\n")

    def run(*arguments: str, required: str = "") -> str:
        environment = {**os.environ, "PYTOOLS_REQUIRE_ALL": required}
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=60)
        return done.stdout.splitlines()[-1].partition(" in ")[0]

    return run


def test_what_is_missing_is_skipped(outcome):
    assert outcome() == "1 passed, 5 skipped"


def test_large_volumes_run_on_request(outcome):
    assert outcome("--soak") == "2 passed, 4 skipped"


def test_where_all_is_required_nothing_may_be_missing(outcome):
    assert outcome(required="1") == "2 failed, 1 passed, 2 skipped, 1 error"


def test_without_root_only_programs_are_required(outcome):
    assert outcome(required="programs") == "1 failed, 1 passed, 3 skipped, 1 error"
