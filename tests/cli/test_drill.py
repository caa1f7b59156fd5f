"""`pytools drill` from outside."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tests" / "scripts"
GOOD = SCRIPTS / "close" / "active-close.pkt"
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}


def drill(*arguments, **how):
    command = [sys.executable, "-m", "pytools", "drill", *map(str, arguments)]
    how = {"capture_output": True, "text": True, "timeout": 60, "env": ENVIRONMENT, "cwd": ROOT, **how}
    return subprocess.run(command, check=False, **how)


@pytest.fixture
def wrong(tmp_path):
    path = tmp_path / "wrong.pkt"
    path.write_text(GOOD.read_text().replace("> F. 1:1(0)", "> R. 1:1(0)"))
    return path


def test_a_script_passes():
    done = drill(GOOD)
    assert done.returncode == 0
    first, last = done.stdout.splitlines()
    assert first.startswith(f"{GOOD}: ok (")
    assert last.startswith("1 script: 1 passed, 0 failed (")


def test_a_directory_stands_for_its_scripts():
    done = drill("-q", SCRIPTS / "close")
    count = len(list((SCRIPTS / "close").glob("*.pkt")))
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert done.stdout.startswith(f"{count} scripts: {count} passed, 0 failed")


def test_standard_input_is_a_dash():
    done = drill("-", input=GOOD.read_text())
    assert done.returncode == 0
    assert done.stdout.startswith("-: ok")


def test_a_failure_shows_where_what_and_the_exchange(wrong):
    done = drill(wrong)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0] == f"{wrong}:12:4: FAILED: a packet differs"
    assert "    0.100000 close() = 0" in lines
    assert "      expected: +0 > R. 1:1(0) ack 1" in lines
    assert "      flags: expected R., found F." in lines
    assert lines[-1].startswith("1 script: 0 passed, 1 failed")


def test_an_unknown_construct_is_status_2(tmp_path):
    path = tmp_path / "odd.pkt"
    path.write_text("0 frobnicate\n")
    done = drill(path, GOOD)
    assert done.returncode == 2
    assert f"{path}: ERROR: {path}:1:3: unknown construct 'frobnicate'" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("2 scripts: 1 passed, 0 failed, 1 could not be run")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no script given"),
        (["--against", "windows", "x"], "invalid --against argument: windows"),
        (["-D", "X", "x"], "invalid --define argument: X (NAME=VALUE)"),
        (["--tolerance", "soon", "x"], "invalid --tolerance argument: soon"),
        (["--ip-version", "ipv5", "x"], "invalid --ip-version argument: ipv5"),
    ],
)
def test_bad_usage_is_one_line_and_status_2(arguments, message):
    done = drill(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_file_is_named():
    done = drill("/nonexistent/x.pkt")
    assert done.returncode == 2
    assert "/nonexistent/x.pkt: No such file or directory" in done.stdout


def test_a_directory_without_scripts_is_refused(tmp_path):
    done = drill(tmp_path)
    assert (done.returncode, done.stderr) == (2, f"pytools drill: {tmp_path}: no .pkt file below it\n")


def test_binary_input_is_refused(tmp_path):
    path = tmp_path / "x.pkt"
    path.write_bytes(b"\xff\xfe\0")
    assert "is not a text file" in drill(path).stdout


def test_check_only_reads(wrong):
    assert drill("--check", wrong).returncode == 0


def test_json_has_a_record_for_each_script(wrong):
    done = drill("--json", GOOD, wrong)
    assert done.returncode == 1
    start, good, bad, end = (json.loads(line) for line in done.stdout.splitlines())
    assert (start["event"], start["command"], start["scripts"]) == ("start", "drill", 2)
    assert (good["event"], good["result"]) == ("script", "ok")
    assert (bad["result"], bad["line"], bad["column"], bad["reason"]) == ("failed", 12, 4, "a packet differs")
    assert (end["event"], end["exit_status"], end["passed"], end["failed"]) == ("end", 1, 1, 1)


def test_json_keeps_to_the_schema(wrong):
    schema = json.loads((ROOT / "pytools/render/schema.json").read_text())
    for line in drill("--json", GOOD, wrong).stdout.splitlines():
        jsonschema.validate(json.loads(line), schema)


def test_verbose_shows_the_stacks_trace():
    done = drill("-v", GOOD)
    assert "S. " in done.stderr
    assert "ESTABLISHED->FIN-WAIT-1" in done.stderr


def test_the_command_line_chooses_the_family():
    assert "FAILED" not in drill("--ip-version", "ipv6", GOOD).stdout


def test_commands_between_backticks_never_run(tmp_path):
    marker = tmp_path / "marker"
    path = tmp_path / "x.pkt"
    path.write_text(f"`touch {marker}`\n%{{ assert 1 }}%\n" + GOOD.read_text())
    drill(path)
    assert not marker.exists()


def test_a_script_takes_milliseconds():
    done = drill("--json", SCRIPTS / "close")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    took = sorted(record["duration_ms"] for record in records if record["event"] == "script")
    assert took[len(took) // 2] < 50
