"""`pytools tcpconnect` from outside, over the simulated network: 10.0.0.2 has echo, discard, chargen and http."""

import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytools.cli.tcpconnect_plan import read_goals, read_ports
from pytools.errors import UsageError
from pytools.wire.addr import format_ip
from tests.render.schema import assert_valid

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "TZ": "UTC"}
COMMAND = [sys.executable, "-m", "pytools", "tcpconnect"]


def tcpconnect(*arguments, via="sim", data=b"", **how):
    done = subprocess.run(
        [*COMMAND, "--via", via, *arguments],
        capture_output=True,
        input=data,
        timeout=60,
        env=ENVIRONMENT,
        check=False,
        **how,
    )
    done.text, done.errors = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    return done


def records(text):
    return [json.loads(line) for line in text.splitlines()]


def test_input_goes_to_the_peer_and_its_answer_to_output():
    done = tcpconnect("10.0.0.2", "7", data=b"hello\n")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"hello\n", b"")


def test_a_request_to_a_service_by_name():
    done = tcpconnect("10.0.0.2", "http", data=b"GET / HTTP/1.0\r\n\r\n")
    assert done.returncode == 0
    assert done.stdout.startswith(b"HTTP/1.0 200 OK\r\n")


@pytest.mark.parametrize("way", ["sim", "sim:delay=5ms,loss=1%,reorder=1%,seed=3"])
@pytest.mark.parametrize("host", ["10.0.0.2", "fd00::2"])
def test_nothing_is_lost_on_the_way_there_and_back(way, host):
    data = random.Random(1).randbytes(2_000_000 if way == "sim" else 200_000)
    done = tcpconnect(host, "7", via=way, data=data)
    assert done.returncode == 0
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(data).digest()


def test_probes_have_a_line_each_and_a_summary_like_pings():
    done = tcpconnect("-c", "2", "10.0.0.2", "80")
    assert done.returncode == 0
    assert done.text == (
        "TCPCONNECT 10.0.0.2 (10.0.0.2) port 80 from 10.0.0.10 sim0\n"
        "10.0.0.2:80: seq=1 open time=0.200 ms\n"
        "10.0.0.2:80: seq=2 open time=0.100 ms\n"
        "\n--- 10.0.0.2:80 tcpconnect statistics ---\n"
        "2 attempts, 2 open, 0% without success, time 1000ms\n"
        "handshake min/avg/max/mdev = 0.100/0.150/0.200/0.050 ms\n"
    )


@pytest.mark.parametrize(
    ("arguments", "status", "detail", "line"),
    [
        (["10.0.0.2", "81"], 1, 10, "10.0.0.2:81: seq=1 refused time=0.200 ms"),
        (["10.0.4.2", "80", "-w", "2.5"], 1, 11, "10.0.4.2:80: seq=1 timed out after 2500 ms, 3 SYNs"),
        (["10.0.3.2", "80"], 1, 12, "10.0.3.2:80: seq=1 unreachable: From 10.0.0.1 Packet filtered time=0.200 ms"),
        (["fd00::2", "http"], 0, 0, "[fd00::2]:80: seq=1 open time=0.200 ms"),
    ],
)
def test_what_a_port_answers_is_in_the_line_and_in_the_exit_status(arguments, status, detail, line):
    done = tcpconnect("-z", *arguments)
    assert line in done.text.splitlines()
    assert done.returncode == status
    assert tcpconnect("-z", "--exit-detail", *arguments).returncode == detail


def test_several_ports_are_probed_once_each():
    done = tcpconnect("10.0.0.2:7,9-10", "[fd00::2]:80")
    lines = done.text.splitlines()
    assert [line.split(" time=")[0] for line in lines[1:5]] == [
        "10.0.0.2:7: seq=1 open",
        "10.0.0.2:9: seq=1 open",
        "10.0.0.2:10: seq=1 refused",
        "[fd00::2]:80: seq=1 open",
    ]
    assert "4 attempts, 3 open, 1 refused, 25% without success" in done.text
    assert done.returncode == 1


def test_a_refused_connection_says_so_on_standard_error():
    done = tcpconnect("10.0.0.2", "81")
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.errors == "tcpconnect: 10.0.0.2:81: refused time=0.200 ms\n"


def test_records_are_valid_from_start_to_end():
    done = tcpconnect("--json", "-c", "1", "10.0.0.2:80", "10.0.3.2:80")
    found = records(done.text)
    for record in found:
        assert_valid(record)
    assert found[0]["event"] == "start"
    results = {r["target"]: r for r in found if r["event"] == "connect_result"}
    assert results["10.0.0.2:80"]["handshake_ms"] == 0.2
    assert results["10.0.3.2:80"]["icmp"]["from"] == "10.0.0.1"
    assert (found[-1]["event"], found[-1]["exit_status"], found[-1]["open"]) == ("end", 1, 1)


def test_records_do_not_mix_with_the_peers_data():
    done = tcpconnect("--json", "10.0.0.2", "7", data=b"hello")
    assert done.stdout == b"hello"
    found = records(done.errors)
    closed = next(r for r in found if r["event"] == "connect_closed")
    assert (closed["bytes_acked"], closed["bytes_received"]) == (5, 5)
    assert found[-1]["exit_status"] == 0


def test_an_error_ends_the_records_too():
    done = tcpconnect("--json", "-z", "--address", "192.0.2.1", "10.0.0.2", "7")
    found = records(done.text)
    assert (found[0]["event"], found[-1]["event"], found[-1]["exit_status"]) == ("start", "end", 2)


def test_the_figures_of_a_connection_are_told_at_its_end():
    done = tcpconnect("--info", "--no-sack", "--no-wscale", "--mss", "1000", "10.0.0.2", "7", data=bytes(5000))
    assert "10.0.0.2:7: sent 5000 bytes (5000 acknowledged), received 5000 bytes" in done.errors
    assert "advertised 1000; options timestamps" in done.errors
    assert "retransmitted 0" in done.errors


def test_retransmissions_are_counted_by_their_cause():
    done = tcpconnect("--info", "10.0.0.2", "9", via="sim:loss=5%,seed=2", data=bytes(300_000))
    assert done.returncode == 0
    assert re.search(r"retransmitted \d+ \(.*\d+ (fast|recovery|rto|loss)", done.errors)


def test_the_ladder_shows_each_segment():
    done = tcpconnect("-z", "--ladder", "10.0.0.2", "7")
    lines = done.errors.splitlines()
    assert any(re.search(r"\|- S 0:0\(0\) win 64240 <mss 1460,sackOK,ts,wscale 7> -+>\|$", line) for line in lines)
    assert any(
        re.search(r"\|<-+ S\. 0:0\(0\) ack 1 win \d+ <mss 1460,sackOK,ts,wscale 7> -\|$", line) for line in lines
    )
    assert any(line.endswith("| SYN-SENT > ESTABLISHED") for line in lines)


def test_the_trace_has_the_stacks_decisions_beside_the_packets():
    done = tcpconnect("-v", "-z", "10.0.0.2", "7")
    assert "CLOSED->SYN-SENT" in done.errors
    assert "SYN-SENT->ESTABLISHED" in done.errors
    assert "rto" in done.errors


def test_interrupted_while_it_waits_for_input_it_closes_in_order():
    with subprocess.Popen(
        ["env", "--default-signal=INT", *COMMAND, "--via", "sim", "--json", "10.0.0.2", "7"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        process.stdin.write(b"x")
        process.stdin.flush()
        assert process.stdout.read(1) == b"x"  # it talks
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    found = records(errors.decode())
    assert process.returncode == 1
    assert [r["event"] for r in found][-2:] == ["connect_closed", "end"]
    assert found[-2]["error"] is None
    assert found[-1]["reason"] == "interrupted"


def test_a_reader_that_goes_away_ends_it_as_it_ends_others():
    with subprocess.Popen(
        [*COMMAND, "--via", "sim", "-d", "10.0.0.2", "19"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    ) as process:
        first = process.stdout.read(3 * 74)
        process.stdout.close()
        process.stderr.read()
        assert process.wait(20) == -signal.SIGPIPE
    ring = bytes(range(32, 127)) * 2
    assert first == b"".join(ring[number : number + 72] + b"\r\n" for number in range(3))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["10.0.0.2", "0"], "invalid port: 0: out of range: 1 <= port <= 65535"),
        (["10.0.0.2", "70000"], "invalid port: 70000: out of range"),
        (["10.0.0.2", "no-such-service"], "invalid port: 'no-such-service' (no such TCP service)"),
        (["-n", "10.0.0.2", "http"], "invalid port: 'http'"),
        (["10.0.0.2", "9-7"], "invalid port range: 9-7"),
        (["10.0.0.2"], "10.0.0.2: which port?"),
        (["224.0.0.1", "80"], "224.0.0.1: nobody connects to a multicast address"),
        (["-s", "192.0.2.1", "10.0.0.2", "80"], "bind: Cannot assign requested address: 192.0.2.1"),
        (["-Q", "af99", "10.0.0.2", "80"], "the traffic class is bad: 'af99'"),
        (["--mss", "1", "10.0.0.2", "80"], "invalid argument: '1': out of range: 88"),
        (["--tls", "-c", "2", "10.0.0.2", "80"], "--tls is for one connection"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, words):
    done = tcpconnect(*arguments)
    assert done.returncode == 2
    assert len(done.errors.splitlines()) == 1
    assert words in done.errors


@pytest.mark.parametrize(
    ("text", "ports"),
    [("80", [80]), ("22,80", [22, 80]), ("8000-8003", [8000, 8001, 8002, 8003]), ("http,443,443", [80, 443])],
)
def test_ports_are_numbers_names_lists_and_ranges(text, ports):
    assert read_ports(text) == ports


@pytest.mark.parametrize(
    ("words", "goals"),
    [
        (["10.0.0.2", "7"], [("10.0.0.2", 7)]),
        (["10.0.0.2", "10.0.0.3", "7,9"], [(f"10.0.0.{n}", p) for n in (2, 3) for p in (7, 9)]),
        (["10.0.0.2:7", "[fd00::2]:80"], [("10.0.0.2", 7), ("fd00::2", 80)]),
        (["fd00::2", "80"], [("fd00::2", 80)]),
        (["10.0.0.2-4", "80"], [(f"10.0.0.{n}", 80) for n in (2, 3, 4)]),
        (["0.0.0.0", "80"], [("127.0.0.1", 80)]),
    ],
)
def test_targets_are_hosts_with_ports(words, goals):
    assert [(format_ip(goal.host.address), goal.port) for goal in read_goals(words, 0)] == goals


def test_a_url_is_no_target():
    with pytest.raises(UsageError, match="not a URL"):
        read_goals(["http://host/"], 0)
