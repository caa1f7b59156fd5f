"""`pytools arping` from outside, over the simulated network: 10.0.0.2 answers, 10.0.0.99 is nobody."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "TZ": "UTC"}
WITH_SIGINT = ["env", "--default-signal=INT"]
"""A job in the background may have inherited it ignored."""
SUMMARY = "Sent {} probes ({} broadcast(s))\nReceived {} response(s){}\n"


def arping(*arguments, via="sim", **how):
    return subprocess.run(
        [sys.executable, "-m", "pytools", "arping", "--via", via, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=ENVIRONMENT,
        check=False,
        **how,
    )


def records(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


def reply(ip="10.0.0.2", mac="02:00:00:00:00:02", ms="0.100", way="Unicast"):
    return f"{way} reply from {ip} [{mac}]  {ms}ms\n"


@pytest.mark.parametrize(
    ("arguments", "status", "out"),
    [
        (
            ["-c", "2", "10.0.0.2"],
            0,
            "ARPING 10.0.0.2 from 10.0.0.10 sim0\n" + reply() * 2 + SUMMARY.format(2, 1, 2, ""),
        ),
        (["-c2", "10.0.0.99"], 1, "ARPING 10.0.0.99 from 10.0.0.10 sim0\n" + SUMMARY.format(2, 2, 0, "")),
        (
            ["fd00::2", "-c", "1"],
            0,
            "ARPING fd00::2 from fd00::10 sim0\n" + reply("fd00::2") + SUMMARY.format(1, 1, 1, ""),
        ),
        (["-qc1", "10.0.0.2"], 0, ""),
        (["-q", "-c", "1", "10.0.0.99"], 1, ""),
        (["-D", "-c", "2", "10.0.0.99"], 0, "ARPING 10.0.0.99 from 0.0.0.0 sim0\n" + SUMMARY.format(2, 2, 0, "")),
        (
            ["-D", "10.0.0.2"],
            1,
            "ARPING 10.0.0.2 from 0.0.0.0 sim0\n" + reply() + SUMMARY.format(1, 1, 1, ""),
        ),
        (
            ["-D", "fd00::2"],
            1,
            "ARPING fd00::2 from :: sim0\n"
            + reply("fd00::2", way="Broadcast")
            + SUMMARY.format(1, 1, 1, " (1 broadcast(s))"),
        ),
        (
            ["-b", "-c", "2", "10.0.0.2"],
            0,
            "ARPING 10.0.0.2 from 10.0.0.10 sim0\n" + reply() * 2 + SUMMARY.format(2, 2, 2, ""),
        ),
        (["-U", "-c", "1", "10.0.0.10"], 0, "ARPING 10.0.0.10 from 10.0.0.10 sim0\n" + SUMMARY.format(1, 1, 0, "")),
        (["-UA", "-c", "1", "10.0.0.10"], 0, "ARPING 10.0.0.10 from 10.0.0.10 sim0\n" + SUMMARY.format(1, 1, 0, "")),
        (
            ["-s", "10.0.0.77", "-f", "10.0.0.2"],
            0,
            "ARPING 10.0.0.2 from 10.0.0.77 sim0\n" + reply() + SUMMARY.format(1, 1, 1, ""),
        ),
        (
            ["-0f", "10.0.0.2"],
            0,
            "ARPING 10.0.0.2 from 0.0.0.0 sim0\n" + reply() + SUMMARY.format(1, 1, 1, ""),
        ),
        (["-r", "-c1", "10.0.0.2"], 0, "02:00:00:00:00:02\n"),
        (["-rR", "-c1", "10.0.0.2"], 0, "02:00:00:00:00:02 10.0.0.2\n"),
        (["--dots", "-c", "2", "10.0.0.99"], 1, "..\t100% packet loss (0 extra)\n"),
        (
            ["-O", "-c", "1", "10.0.0.99"],
            1,
            "ARPING 10.0.0.99 from 10.0.0.10 sim0\nTimeout\n" + SUMMARY.format(1, 1, 0, ""),
        ),
        (
            ["--acd", "10.0.0.50"],
            0,
            "ARPING 10.0.0.50 from 0.0.0.0 sim0\n10.0.0.50 is free\n" + SUMMARY.format(3, 3, 0, ""),
        ),
        (
            ["--acd", "10.0.0.1"],
            1,
            "ARPING 10.0.0.1 from 0.0.0.0 sim0\n"
            + reply("10.0.0.1", "02:00:00:00:00:01")
            + "10.0.0.1 is in use by [02:00:00:00:00:01]\n"
            + SUMMARY.format(1, 1, 1, ""),
        ),
        (
            ["10.0.0.0/29", "-c", "1"],
            0,
            "ARPING 10.0.0.0/29 from 10.0.0.10 sim0\n"
            + reply("10.0.0.1", "02:00:00:00:00:01")
            + reply()
            + SUMMARY.format(6, 6, 2, "")
            + "2 of 6 address(es) answered\n",
        ),
        (
            ["10.0.0.1-2", "--rate", "1000"],
            0,
            "ARPING 10.0.0.1-2 from 10.0.0.10 sim0\n"
            + reply("10.0.0.1", "02:00:00:00:00:01")
            + reply()
            + SUMMARY.format(2, 2, 2, "")
            + "2 of 2 address(es) answered\n",
        ),
        (
            ["10.0.0.2-2", "-c", "1"],
            0,
            "ARPING 10.0.0.2-2 from 10.0.0.10 sim0\n"
            + reply()
            + SUMMARY.format(1, 1, 1, "")
            + "1 of 1 address(es) answered\n",
        ),
        (
            ["10.0.0.2", "10.0.0.99", "-c", "1"],
            1,
            "ARPING 10.0.0.2 10.0.0.99 from 10.0.0.10 sim0\n"
            + reply()
            + SUMMARY.format(2, 2, 1, "")
            + "1 of 2 address(es) answered\n",
        ),
        (
            ["02:00:00:00:00:02", "-T", "10.0.0.2", "-c1"],
            0,
            "ARPING 02:00:00:00:00:02 from 10.0.0.10 sim0\n" + reply(ms="0.200") + SUMMARY.format(1, 0, 1, ""),
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_output_and_status(arguments, status, out):
    result = arping(*arguments)
    assert (result.stdout, result.stderr, result.returncode) == (out, "", status)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-i", "0", "10.0.0.2"], "invalid argument: '0': out of range: 0.001 <= value <= 4294967"),
        (["-i", "x", "10.0.0.2"], "invalid argument: 'x'"),
        (["-i", "nan", "10.0.0.2"], "invalid argument: 'nan': out of range: 0.001 <= value <= 4294967"),
        (["-w", "-1", "10.0.0.2"], "invalid argument: '-1': out of range: 0 <= value <= 4294967"),
        (["-c", "0", "10.0.0.2"], "invalid argument: '0': out of range: 1 <= value <= 2147483647"),
        (["-c", "x", "10.0.0.2"], "invalid argument: 'x'"),
        (["--rate", "0", "10.0.0.0/24"], "invalid argument: '0': out of range: 0.01 <= value <= 1000000"),
        (["-D", "--acd", "10.0.0.2"], "-D and --acd exclude each other"),
        (["--announce", "10.0.0.2"], "--announce is for --acd (-U announces without asking first)"),
        (["-D", "10.0.0.2", "10.0.0.3"], "-D takes one target"),
        (["-U", "02:00:00:00:00:02"], "-U is about IP addresses, 02:00:00:00:00:02 is a MAC"),
        (["-T", "10.0.0.2", "10.0.0.2"], "-T is for a MAC as target"),
        (["--source-mac", "1:2", "10.0.0.2"], "--source-mac: '1:2' is not a MAC address"),
        (["-s", "224.0.0.1", "10.0.0.2"], "invalid source 224.0.0.1 (a multicast address)"),
        (["224.0.0.1"], "224.0.0.1: nobody has a multicast address"),
        (["10.0.0.2", "fd00::2"], "targets of one run are of one family (-4 or -6 chooses)"),
        (["-0", "-s", "10.0.0.3", "10.0.0.2"], "-0 and -s exclude each other"),
        ([], "no target given (usage: arping [OPTIONS] TARGET..., -h explains)"),
        (["10.0.0.0/8"], "too many targets: 10.0.0.0/8 has 16777214 addresses (at most 1048576 in one run)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_can_not_be_asked_is_one_line_and_status_2(arguments, line):
    result = arping(*arguments)
    assert (result.stdout, result.stderr, result.returncode) == ("", f"pytools arping: {line}\n", 2)


def test_fractions_pace_the_probes():
    out = records(arping("--json", "-c", "3", "-i", ".25", "10.0.0.2"))
    assert [r["t_ns"] for r in out if r["event"] == "sent"] == [0, 250_000_000, 500_000_000]


def test_a_fraction_as_deadline():
    end = records(arping("--json", "-w", "1.5", "10.0.0.99"))[-1]
    assert (end["t_ns"], end["reason"], end["exit_status"]) == (1_500_000_000, "deadline", 1)


def test_every_json_record_is_whole_and_the_first_and_last_are_start_and_end():
    result = arping("--json", "-c", "2", "10.0.0.2")
    out = records(result)
    assert [r["event"] for r in out] == ["start", "sent", "reply", "sent", "reply", "end"]
    assert all(r["v"] == 1 and isinstance(r["t_ns"], int) for r in out)
    start, answer, end = out[0], out[2], out[-1]
    assert start["arguments"] == ["--via", "sim", "--json", "-c", "2", "10.0.0.2"]
    assert (start["source"], start["interface"], start["via"]) == ("10.0.0.10", "sim0", "sim")
    assert (answer["from"], answer["mac"], answer["rtt_ms"]) == ("10.0.0.2", "02:00:00:00:00:02", 0.1)
    assert (end["sent"], end["received"], end["exit_status"], end["reason"]) == (2, 2, 0, "count")
    assert end["avg_ms"] == 0.1


@pytest.mark.parametrize(
    ("arguments", "status", "reason"),
    [
        (["10.0.0.99", "-c1"], 1, "count"),
        (["-D", "10.0.0.2"], 1, "reply"),
        (["--acd", "10.0.0.2"], 1, "conflict"),
        (["10.0.0.0/28"], 0, "count"),
        (["224.0.0.1"], 2, "error"),
        (["-D", "10.0.0.1", "10.0.0.2"], 2, "error"),
        (["no.such.host.invalid"], 2, "error"),
        (["--network", "10.1.0.0/24", "10.0.0.2"], 2, "error"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_json_ends_with_an_end_record_whatever_happens(arguments, status, reason):
    result = arping("--json", *arguments)
    out = records(result)
    assert out[0]["event"] == "start"
    assert (out[-1]["event"], out[-1]["exit_status"], out[-1]["reason"]) == ("end", status, reason)
    assert result.returncode == status
    if reason == "error":
        assert result.stderr == f"pytools arping: {out[-1]['message']}\n"


def test_statistics_on_request():
    out = arping("--stats", "-c", "2", "10.0.0.2").stdout
    assert out.endswith(
        "rtt min/avg/max/std-dev = 0.100/0.100/0.100/0.000 ms\nrtt p50/p90/p95/p99 = 0.100/0.100/0.100/0.100 ms\n"
    )


def test_loss_on_the_way_is_a_timeout():
    result = arping("-O", "-c", "4", "10.0.0.2", via="sim:drop.out=1+3")
    lines = result.stdout.splitlines()[1:-2]
    assert [line.split()[0] for line in lines] == ["Timeout", "Unicast", "Timeout", "Unicast"]


def test_the_trace_tells_probe_and_answer_on_stderr():
    result = arping("-v", "-c", "1", "10.0.0.2")
    sent, received = result.stderr.splitlines()
    assert re.search(r"> ARP who-has 10\.0\.0\.2 tell 10\.0\.0\.10 \(bcast\)", sent)
    assert re.search(r"< ARP 10\.0\.0\.2 is-at 02:00:00:00:00:02 +rtt 0\.100 ms$", received)


def test_packets_are_written_to_a_file(tmp_path):
    path = tmp_path / "arp.pcapng"
    assert arping("--pcap", str(path), "-c", "1", "10.0.0.2").returncode == 0
    scapy = pytest.importorskip("scapy.all")
    packets = scapy.rdpcap(str(path))
    assert [(p[scapy.ARP].op, p[scapy.ARP].pdst) for p in packets] == [(1, "10.0.0.2"), (2, "10.0.0.10")]


def test_same_seed_same_output():
    runs = {arping("--acd", "--json", "--seed", "5", "10.0.0.50").stdout for _ in range(2)}
    assert len(runs) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_signals_end_with_the_summary(number):
    process = subprocess.Popen(
        [*WITH_SIGINT, sys.executable, "-m", "pytools", "arping", "--via", "sim", "10.0.0.2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    lines = [process.stdout.readline() for _ in range(2)]  # paced by the clock, for there is no end
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert lines[1].startswith("Unicast reply from 10.0.0.2")
    assert re.fullmatch(r"(Unicast .*\n)*Sent \d+ probes \(1 broadcast\(s\)\)\nReceived \d+ response\(s\)\n", out)
    assert (err, process.returncode) == ("", 0)


def test_an_interrupted_json_run_says_so():
    process = subprocess.Popen(
        [*WITH_SIGINT, sys.executable, "-m", "pytools", "arping", "--via", "sim", "--json", "10.0.0.99"],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    end = json.loads(out.splitlines()[-1])
    assert (end["event"], end["reason"], end["exit_status"]) == ("end", "interrupted", 1)


def test_watching_a_quiet_network_that_can_never_speak_ends_with_1():
    result = arping("--watch", via="sim:pace=max")
    assert result.returncode == 1
    assert "nothing can ever happen" in result.stderr


def test_watching_for_a_while():
    result = arping("--watch", "-w", "30", "10.0.0.2")
    assert result.returncode == 0
    assert result.stdout == (
        "ARPING 10.0.0.2 from 10.0.0.10 sim0\n"
        "Sent 6 probes (6 broadcast(s))\nReceived 6 response(s)\n1 address(es), 0 conflict(s), 0 move(s)\n"
    )


def test_a_full_disk_is_said_so():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "pytools", "arping", "--via", "sim", "-c", "1", "10.0.0.2"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
            check=False,
        )
    assert (result.returncode, result.stderr) == (1, "pytools arping: write error: No space left on device\n")


def test_a_closed_pipe_ends_it_quietly():
    process = subprocess.Popen(
        [sys.executable, "-m", "pytools", "arping", "--via", "sim", "-c", "5", "10.0.0.2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    process.stdout.close()
    assert process.wait(timeout=10) == -signal.SIGPIPE
    assert process.stderr.read() == b""
    process.stderr.close()


def test_no_library_of_weight_is_loaded_to_ask():
    program = (
        "import sys; from pytools.cli import app\n"
        "sys.argv = 'pytools arping --via sim -c 1 10.0.0.2'.split()\n"
        "status = app.run(sys.argv)\n"
        "print(status, *sorted(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )
    status, *modules = result.stdout.splitlines()[-1].split()
    assert status == "0"
    heavy = {"scapy", "rich", "typer", "asyncio", "json", "dataclasses", "logging", "inspect", "subprocess"}
    assert heavy.isdisjoint(modules)
