"""`pytools host` from outside, where it needs no privilege: over the simulated network, whose peer comes by."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C"}
HOST = ["env", "--default-signal=INT", sys.executable, "-m", "pytools", "host"]
READY = "host: 10.0.0.10, fd00::10, fe80::ff:fe00:10 (02:00:00:00:00:10) on sim0, ready\n"


def host(*arguments, via="sim:pace=max"):
    return subprocess.run(
        [*HOST, "--via", via, *arguments], capture_output=True, text=True, timeout=60, env=ENVIRONMENT, check=False
    )


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def test_it_is_ready_tells_who_comes_and_sums_up():
    result = host("-c", "2")
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout == READY + (
        "10.0.0.2 [02:00:00:00:00:02] asks for 10.0.0.10\n"
        "10.0.0.2 pings: icmp_seq=1, 64 bytes\n"
        "fe80::ff:fe00:2 [02:00:00:00:00:02] asks for fe80::ff:fe00:10\n"
        "fe80::ff:fe00:2 pings: icmp_seq=1, 64 bytes\n"
        "--- host statistics ---\n"
        "4 frames received, 0 refused\n"
        "answered: 2 pings, 1 ARP requests, 1 neighbour solicitations; 0 ICMP errors sent, 0 address conflicts\n"
    )


def test_the_deadline_ends_it():
    end = records(host("--json", "-w", "3.5").stdout)[-1]
    assert (end["t_ns"], end["reason"], end["ping_count"], end["exit_status"]) == (3_500_000_000, "deadline", 3, 0)


def test_json_records():
    out = records(host("--json", "-c", "1").stdout)
    assert [r["event"] for r in out] == ["start", "ready", "asked", "pinged", "end"]
    assert out[1]["addresses"] == ["10.0.0.10", "fd00::10", "fe80::ff:fe00:10"]
    assert (out[1]["mac"], out[1]["interface"]) == ("02:00:00:00:00:10", "sim0")
    assert (out[2]["from"], out[2]["target"]) == ("10.0.0.2", "10.0.0.10")
    assert (out[3]["from"], out[3]["seq"], out[3]["length"]) == ("10.0.0.2", 1, 64)
    assert (out[-1]["reason"], out[-1]["drops"]) == ("count", {})


def test_quiet_keeps_the_first_line_and_the_summary():
    out = host("-q", "-c", "1").stdout.splitlines()
    assert out[0] + "\n" == READY
    assert out[1] == "--- host statistics ---"


def test_addresses_of_both_families_and_a_mac():
    out = host("-w", "1", "--address", "10.0.0.7", "--address", "fd00::7", "--mac", "02:01:02:03:04:05").stdout
    assert out.startswith("host: 10.0.0.7, fd00::7, fe80::1:2ff:fe03:405 (02:01:02:03:04:05) on sim0, ready\n")


def test_two_addresses_of_one_family():
    out = host("-w", "1", "--address", "10.0.0.7", "--address", "10.0.0.8").stdout
    assert out.startswith("host: 10.0.0.7, 10.0.0.8, fd00::10, ")


def test_the_trace_goes_to_stderr():
    result = host("-v", "-c", "1")
    assert "< ARP who-has 10.0.0.10 tell 10.0.0.2 (bcast)" in result.stderr
    assert "> ARP 10.0.0.10 is-at 02:00:00:00:00:10" in result.stderr
    assert "ARP who-has" not in result.stdout


def test_it_says_ready_within_a_second_of_its_start():
    program = (
        "import time, subprocess, sys\n"
        "begun = time.monotonic()\n"
        "p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE, text=True)\n"
        "line = p.stdout.readline()\n"
        "print(time.monotonic() - begun, line, end='')\n"
        "p.kill()\n"
    )
    argv = [sys.executable, "-c", program, sys.executable, "-m", "pytools", "host", "--via", "sim"]
    out = subprocess.run(argv, capture_output=True, text=True, env=ENVIRONMENT, check=True).stdout
    assert re.fullmatch(r"0\.\d+ " + re.escape(READY), out), out


def test_sigint_prints_the_summary_and_sigquit_an_interim_line():
    process = subprocess.Popen(
        [*HOST, "--via", "sim"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
    )
    assert process.stdout.readline() == READY
    process.send_signal(signal.SIGQUIT)
    assert re.match(r"\d+ frames received, 0 refused; answered: \d+ pings, ", process.stderr.readline())
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert "--- host statistics ---" in out
    assert (err, process.returncode) == ("", 0)


def test_sigterm_ends_by_the_signal():
    process = subprocess.Popen([*HOST, "--via", "sim"], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    process.stdout.readline()
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("via", "arguments", "line"),
    [
        ("auto", [], "where? --via tap, lab or sim, or --address ADDR/LEN for a host on an interface (-h explains)"),
        ("packet", [], "where? --via tap, lab or sim, or --address ADDR/LEN for a host on an interface (-h explains)"),
        ("sim", ["--", "ping"], "--via sim has no kernel to run a command on"),
        ("sim", ["--acd", "--no-probe"], "--no-probe and --acd exclude each other"),
        ("sim", ["--gateway", "10.1.1.1"], "--gateway 10.1.1.1: not in a network of ours"),
        ("sim", ["--gateway", "x"], "--gateway: 'x' is not an IP address"),
        ("sim", ["--mac", "x"], "--mac: 'x' is not a MAC address"),
        (
            "sim",
            ["--address", "10.5.0.1"],
            "--address 10.5.0.1: not in the simulated network (10.0.0.0/24 or fd00::/64)",
        ),
        ("sim", ["-w", "x"], "bad deadline: x"),
        ("sim", ["-c", "-1"], "invalid argument: '-1': out of range: 0 <= value <= 2147483647"),
        ("auto", ["--address", "10.0.0.256"], "--address 10.0.0.256: '10.0.0.256' is not an IP address"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_can_not_be_done_is_one_line_and_status_2(via, arguments, line):
    result = host(*arguments, via=via)
    assert (result.stdout, result.stderr, result.returncode) == ("", f"pytools host: {line}\n", 2)


def test_a_fatal_error_ends_the_json_too():
    result = host("--json", via="auto")
    out = records(result.stdout)
    assert [r["event"] for r in out] == ["start", "end"]
    assert (out[-1]["reason"], out[-1]["exit_status"]) == ("error", 2)
    assert result.stderr == f"pytools host: {out[-1]['message']}\n"
