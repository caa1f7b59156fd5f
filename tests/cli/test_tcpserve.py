"""tcpserve's command line and output, over the simulation, where a visitor comes once a second."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pytools.cli.app import run

ROOT = Path(__file__).parents[2]


def tcpserve(*arguments, stdin=None):
    return subprocess.run(
        [sys.executable, "-m", "pytools", "tcpserve", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        input=stdin,
        check=False,
    )


def test_visitors_come_and_each_gets_its_lines():
    done = tcpserve("--via", "sim:pace=max", "-4", "-c", "2", "7")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "Listening on 0.0.0.0 7"
    assert re.fullmatch(r"Connection received on 10\.0\.0\.2 \d+", lines[1])
    figures = r"10\.0\.0\.2 \d+ > 7: 21 bytes in, 21 bytes out, 0\.\d{3} s, rtt \d+\.\d{3} ms, 0 retransmitted, FIN"
    assert re.fullmatch(figures, lines[2])
    assert lines[-3:] == [
        "--- tcpserve statistics ---",
        "2 connections, 0 open, at most 1 at once; 2 ended (FIN 2)",
        "42 bytes in, 42 bytes out; retransmitted 0",
    ]


def test_json_is_one_record_a_line_from_start_to_end():
    done = tcpserve("--via", "sim:pace=max", "--json", "-c", "1", "-6", "--source", "1000", "80", "http")
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["event"] for record in records] == ["start", "ready", "connected", "closed", "end"]
    assert records[1]["listening"] == [{"address": "::", "port": 80}], "a port that is named twice is one"
    assert (records[3]["bytes_out"], records[3]["how"]) == (1000, "FIN")
    assert (records[4]["exit_status"], records[4]["reason"]) == (0, "count")


def test_quiet_says_only_that_it_listens_and_the_summary():
    done = tcpserve("--via", "sim:pace=max", "-q", "-1", "-s", "10.0.0.10", "7")
    assert done.stdout.splitlines()[0] == "Listening on 10.0.0.10 7"
    assert "Connection received" not in done.stdout
    assert "1 connections" in done.stdout


def test_a_lossy_wire_shows_what_was_sent_again():
    done = tcpserve("--via", "sim:pace=max,loss=30%,seed=3", "-4", "-c", "5", "7")
    assert done.returncode == 0
    assert re.search(r"retransmitted \d+ \((synack|fin|rto|loss|fast) \d+", done.stdout)


def test_the_deadline_ends_it():
    done = tcpserve("--via", "sim:pace=max", "-w", "0.5", "7")
    assert done.returncode == 0
    assert "0 connections" in done.stdout


def test_what_somebody_types_goes_to_the_visitor_and_his_line_to_stdout():
    done = tcpserve("--via", "sim:pace=max", "--stdin", "7", stdin="typed\n")
    assert done.returncode == 0
    assert done.stdout == "Hello from visitor 1\n"
    assert "21 bytes in, 6 bytes out" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("0",), "port 0: out of range: 1 <= port <= 65535"),
        (("70000",), "port 70000: out of range: 1 <= port <= 65535"),
        (("no such",), "port no such: neither a number nor a TCP service in /etc/services"),
        (("--echo", "--chargen", "7"), "--echo and --chargen exclude each other"),
        (("--http", "7"), "--http: with --source or --file, which say what to answer"),
        (("--exec", "cat", "7"), "--exec: say where (-s ADDR, -I or --address): no command is run for the whole world"),
        (("--stdin", "--json", "7"), "--stdin and --json exclude each other: both want stdout"),
        (("--file", "/", "7"), "--file /: not a plain file"),
        (("--file", "/nonexistent", "7"), "--file /nonexistent: No such file or directory"),
        (("-4", "-6", "7"), "only one -4 or -6 option may be specified"),
        (("--via", "sim", "-s", "192.0.2.1", "7"), "bind: Cannot assign requested address: 192.0.2.1 is not ours here"),
        (("--via", "sim", "-s", "x", "7"), "-s: "),
        (("--via", "sim", "--client", "ls", "7"), "--client: --via sim has no kernel to run a command on"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_status_2(arguments, complaint, capsys):
    assert run(["pytools", "tcpserve", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pytools tcpserve: " + complaint)
    assert error.count("\n") == 1


def test_a_symbolic_link_is_no_plain_file(tmp_path, capsys):
    (tmp_path / "link").symlink_to("/etc/hostname")
    assert run(["pytools", "tcpserve", "--file", str(tmp_path / "link"), "7"]) == 2
    assert "Too many levels of symbolic links" in capsys.readouterr().err
