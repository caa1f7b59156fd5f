"""The real command, in processes of its own, over the simulated network."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.render.schema import is_valid

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "pytools", "ping")
ENVIRONMENT = {**os.environ, "LC_ALL": "C", "TERM": "dumb", "PYTHONPATH": str(ROOT)}


def ping(*arguments: str, via: str = "sim", check: int | None = 0, **settings: Any) -> subprocess.CompletedProcess[str]:
    words = [*COMMAND, "--via", via, *arguments]
    environment = {**ENVIRONMENT, **settings.pop("environment", {})}
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, env=environment, cwd=ROOT, **settings)
    assert check is None or done.returncode == check, done.stderr
    assert "Traceback" not in done.stderr
    return done


def records(*arguments: str, check: int | None = 0, via: str = "sim") -> list[dict[str, Any]]:
    done = ping("--json", *arguments, check=check, via=via)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert found[0]["event"] == "start"
    assert found[-1]["event"] == "end"
    assert [record["event"] for record in found].count("start") == 1
    assert [record["event"] for record in found].count("end") == 1
    assert found[-1]["exit_status"] == done.returncode
    assert all(is_valid(record) for record in found)
    return found


def events(found: Sequence[dict[str, Any]]) -> list[str]:
    return [record["event"] for record in found[1:-1]]


# --- lines ------------------------------------------------------------------------------------------------------------


def test_the_whole_output_is_pings() -> None:
    assert ping("-c", "2", "10.0.0.2", via="sim:delay=20ms").stdout == (
        "PING 10.0.0.2 (10.0.0.2) 56(84) bytes of data.\n"
        "64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=40.0 ms\n"
        "64 bytes from 10.0.0.2: icmp_seq=2 ttl=64 time=40.0 ms\n"
        "\n"
        "--- 10.0.0.2 ping statistics ---\n"
        "2 packets transmitted, 2 received, 0% packet loss, time 1000ms\n"
        "rtt min/avg/max/mdev = 40.000/40.000/40.000/0.000 ms\n"
    )


def test_ipv6() -> None:
    out = ping("-c", "1", "fd00::2", via="sim:delay=5ms").stdout
    assert out.startswith(
        "PING fd00::2 (fd00::2) 56 data bytes\n64 bytes from fd00::2: icmp_seq=1 ttl=64 time=10.0 ms\n"
    )


def test_the_same_seed_gives_the_same_output() -> None:
    runs = {
        ping("-c", "20", "-i", "0.1", "10.0.0.2", via="sim:delay=5ms,jitter=2ms,loss=20%,seed=7").stdout for _ in "ab"
    }
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("target", "line", "status"),
    [
        ("10.0.0.99", "From 10.0.0.10 icmp_seq=1 Destination Host Unreachable", 1),
        ("10.0.1.99", "From 10.0.0.1 icmp_seq=1 Destination Host Unreachable", 1),
        ("10.0.2.2", "From 10.0.0.1 icmp_seq=1 Destination Net Unreachable", 1),
        ("10.0.3.2", "From 10.0.0.1 icmp_seq=1 Packet filtered", 1),
        ("fd00::99", "From fd00::10 icmp_seq=1 Destination unreachable: Address unreachable", 1),
        ("fd00:0:0:2::2", "From fd00::1 icmp_seq=1 Destination unreachable: No route", 1),
        ("fd00:0:0:3::2", "From fd00::1 icmp_seq=1 Destination unreachable: Administratively prohibited", 1),
    ],
)
def test_errors_are_lines_and_the_status_is_1(target: str, line: str, status: int) -> None:
    done = ping("-c", "1", target, check=status)
    assert line in done.stdout.splitlines()
    assert "1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms" in done.stdout
    assert done.stdout.endswith("time 0ms\n\n")
    assert done.stderr == ""


def test_silence_is_status_1_after_the_linger_time() -> None:
    done = ping("-c", "1", "-W", "3", "10.0.4.2", check=1)
    assert "1 packets transmitted, 0 received, 100% packet loss" in done.stdout


@pytest.mark.parametrize(
    ("family", "target", "said"),
    [(4, "10.0.1.2", "Time to live exceeded"), (6, "fd00:0:0:1::2", "Time exceeded: Hop limit")],
)
def test_a_low_ttl_is_noticed_by_the_router(family: int, target: str, said: str) -> None:
    assert f"icmp_seq=1 {said}\n" in ping("-t", "1", "-c", "1", target, check=1).stdout


def test_options_print_what_they_promise() -> None:
    out = ping(
        "-c", "1", "-p", "abcd", "-s", "24", "-v", "-e", "77", "-D", "-3", "-Q", "ef", "--print-tos", "10.0.0.2"
    ).stdout
    assert out.startswith("PATTERN: 0xabcd\nPING 10.0.0.2 (10.0.0.2) 24(52) bytes of data.\n")
    line = r"^\[1767225600\.\d{6}\] 32 bytes from 10\.0\.0\.2: icmp_seq=1 ident=77 ttl=64 tos=0xb8 time=0\.100 ms$"
    assert re.search(line, out, re.MULTILINE)


def test_record_route_and_timestamps_show_the_hops() -> None:
    assert "\nRR: \t10.0.0.10\n\t10.0.1.1\n\t10.0.1.2\n" in ping("-R", "-c", "1", "10.0.1.2").stdout
    assert "\nTS: \t10.0.1.1\t" in ping("-c", "1", "-T", "tsprespec", "10.0.1.1", "10.0.1.2", "10.0.1.2").stdout
    assert "56(124) bytes of data." in ping("-T", "tsonly", "-c", "1", "10.0.1.2").stdout


def test_a_probe_too_large_names_the_mtu_on_stderr() -> None:
    done = ping("-s", "1473", "-M", "do", "-c", "1", "10.0.0.2", check=1)
    assert done.stderr == "pytools ping: local error: message too long, mtu=1500\n"
    assert "+1 errors" in done.stdout


def test_quiet_prints_the_first_line_and_the_summary() -> None:
    lines = ping("-q", "-c", "3", "-i", "0.2", "10.0.0.2").stdout.splitlines()
    assert [line.split()[0] for line in lines if line] == ["PING", "---", "3", "rtt"]


def test_a_flood_is_dots_and_backspaces() -> None:
    out = ping("-f", "-c", "3", "10.0.0.2").stdout
    assert out.splitlines()[1] == ".\b \b" * 3
    assert re.search(r"ipg/ewma \d+\.\d{3}/\d+\.\d{3} ms\n$", out)


def test_lost_probes_have_a_line_with_timeout() -> None:
    done = ping("-c", "2", "--timeout", "0.5", "10.0.4.2", check=1)
    assert "no reply for icmp_seq=1 within 500 ms\n" in done.stdout


def test_percentiles_and_a_histogram_follow_the_summary() -> None:
    out = ping("-c", "3", "--stats", "--hist", "10.0.0.2", via="sim:delay=5ms").stdout
    assert re.search(r"^percentiles p50/p90/p95/p99 = 10\.000/10\.000/10\.000/10\.000 ms, jitter 0\.000 ms$", out, re.M)
    assert re.search(r"^10 ms \.\. 10\.2 ms  3  100\.0%  \S{40}$", out, re.M)


# --- several targets --------------------------------------------------------------------------------------------------


def test_several_targets_have_a_table() -> None:
    out = ping("-c", "2", "-i", "0.2", "10.0.0.1", "10.0.0.2", "fd00::2").stdout
    assert out.startswith("PING 3 targets, 56 data bytes\n")
    assert re.search(r"^target\s+sent\s+received\s+loss\s+min\s+avg\s+max\s+mdev$", out, re.M)
    assert re.search(r"^fd00::2\s+2\s+2\s+0%\s+0\.100\s+0\.100\s+0\.100\s+0\.000$", out, re.M)
    assert "3 targets, 3 answered; 6 packets transmitted, 6 received, 0% packet loss" in out


def test_one_silent_target_makes_the_status_1() -> None:
    out = ping("-c", "1", "10.0.0.2", "10.0.0.99", check=1).stdout
    assert "2 targets, 1 answered" in out


def test_ranges_and_blocks_and_files(tmp_path: Path) -> None:
    path = tmp_path / "targets"
    path.write_text("10.0.0.2\n# nobody\n")
    out = ping("-q", "-c", "1", "10.0.0.1-1", "--targets", str(path)).stdout
    assert "2 targets, 2 answered" in out
    assert "2 targets, 2 answered" in ping("-q", "-c", "1", "10.0.0.0/30").stdout


def test_targets_come_from_standard_input() -> None:
    assert "2 targets, 2 answered" in ping("-q", "-c", "1", "--targets", "-", input="10.0.0.1\n10.0.0.2\n").stdout


def test_who_is_alive() -> None:
    assert ping("--alive", "10.0.0.1-4", check=1).stdout == "10.0.0.1\n10.0.0.2\n"
    assert ping("--unreachable", "10.0.0.1-4", check=1).stdout == "10.0.0.3\n10.0.0.4\n"
    assert ping("--retry", "0", "10.0.0.1").stdout == "10.0.0.1 is alive (0.100 ms)\n"
    assert ping("--retry", "0", "10.0.4.1", check=1).stdout == "10.0.4.1 is unreachable\n"


def test_all_times_in_a_line() -> None:
    assert ping("--vcount", "3", "10.0.0.1-2", via="sim:delay=5ms").stdout == (
        "10.0.0.1 : 10.000 10.000 10.000\n10.0.0.2 : 10.000 10.000 10.000\n"
    )


def test_random_order_asks_the_same_targets() -> None:
    out = ping("-c", "1", "--random-order", "--seed", "3", "10.0.0.1", "10.0.0.2", "10.0.1.2").stdout
    assert "3 targets, 3 answered" in out


def test_interim_figures_go_to_stderr() -> None:
    done = ping("-q", "-c", "5", "--report-every", "2", "10.0.0.2")
    assert done.stderr.count("packets, ") == 2


# --- thresholds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (("--rtt-threshold", "50"), 0),
        (("--rtt-threshold", "39"), 1),
        (("--loss-threshold", "0"), 0),
        (("--reachable", "1"), 0),
        (("--reachable", "2"), 1),
    ],
)
def test_thresholds_set_the_status(arguments: tuple[str, ...], status: int) -> None:
    ping("-c", "2", *arguments, "10.0.0.2", via="sim:delay=20ms", check=status)


def test_a_loss_threshold_can_forgive_and_condemn() -> None:
    lossy = "sim:loss=30%,seed=3"
    out = ping("-c", "10", "-i", "0.1", "10.0.0.2", via=lossy).stdout
    loss = float(re.search(r"([\d.]+)% packet loss", out)[1])  # type: ignore[index]
    assert 0 < loss < 100
    ping("-c", "10", "-i", "0.1", "--loss-threshold", f"{loss + 1}%", "10.0.0.2", via=lossy, check=0)
    ping("-c", "10", "-i", "0.1", "--loss-threshold", str(loss - 1), "10.0.0.2", via=lossy, check=1)


# --- JSON -------------------------------------------------------------------------------------------------------------


def test_json_of_an_ordinary_run() -> None:
    found = records("-c", "2", "10.0.0.2")
    assert events(found) == ["sent", "reply", "sent", "reply", "summary"]
    start, end = found[0], found[-1]
    assert (start["command"], start["via"], start["size"], start["target_count"]) == ("ping", "sim", 56, 1)
    assert start["targets"][0]["source"] == "10.0.0.10"
    assert (end["exit_status"], end["reason"], end["received"]) == (0, "count", 2)


@pytest.mark.parametrize(
    ("arguments", "via", "status", "event"),
    [
        (("-c", "1", "10.0.0.99"), "sim", 1, "error"),
        (("-c", "1", "10.0.4.2", "-W", "1"), "sim", 1, "lost"),
        (("-c", "1", "-t", "1", "10.0.1.2"), "sim", 1, "error"),
        (("-c", "1", "-R", "10.0.1.2"), "sim", 0, "reply"),
        (("-c", "1", "-T", "tsandaddr", "10.0.1.2"), "sim", 0, "reply"),
        (("-c", "3", "-f", "10.0.0.2"), "sim", 0, "summary"),
        (("-c", "2", "-q", "10.0.0.2"), "sim", 0, "summary"),
        (("-c", "1", "-s", "1473", "-M", "do", "10.0.0.2"), "sim", 1, "error"),
        (("-c", "5", "-i", "0.1", "10.0.0.2"), "sim:dup=50%,seed=2", 0, "dup"),
        (("-c", "9", "-i", "0.1", "10.0.0.2"), "sim:corrupt=60%,seed=2", None, "lost"),
        (("-c", "2", "-O", "-i", "0.2", "-W", "1", "10.0.4.2"), "sim", 1, "no_answer_yet"),
        (("--retry", "0", "10.0.0.1-3"), "sim", 1, "unreachable"),
        (("-c", "1", "10.0.0.1", "10.0.0.2"), "sim", 0, "summary"),
        (("-c", "4", "--report-every", "2", "10.0.0.2"), "sim", 0, "interim"),
        (("--find-mtu", "10.0.5.2"), "sim", 0, "mtu_tried"),
    ],
)
def test_json_is_valid_in_every_case(arguments: tuple[str, ...], via: str, status: int | None, event: str) -> None:
    assert event in events(records(*arguments, via=via, check=status))


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-c", "0", "10.0.0.2"),
        ("--no-such-option", "10.0.0.2"),
        ("name.invalid",),
        ("10.0.0.0/33",),
        ("-I", "nodev", "--via", "auto", "10.0.0.2"),
    ],
)
def test_json_ends_with_the_reason_when_nothing_could_be_asked(arguments: tuple[str, ...]) -> None:
    found = records(*arguments, check=2)
    assert (len(found), found[-1]["reason"]) == (2, "error")
    assert found[-1]["message"]


def test_csv_is_a_row_a_result() -> None:
    lines = ping("--csv", "-c", "5", "10.0.0.2", "10.0.0.99", check=1).stdout.splitlines()
    assert lines[0] == "time,target,event,seq,from,rtt_ms,bytes,ttl,detail"
    assert "1767225600.000200,10.0.0.2,reply,1,10.0.0.2,0.100,64,64," in lines
    assert any(line.endswith("10.0.0.99,error,1,10.0.0.10,,,,Destination Host Unreachable") for line in lines)


# --- refusals ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "usage error: Destination address required"),
        (("-c", "0", "x"), "invalid argument: '0': out of range: 1 <= value <= 9223372036854775807"),
        (("-c", "x", "x"), "invalid argument: 'x'"),
        (("-s", "-1", "x"), "invalid argument: '-1': out of range: 0 <= value <= 2147483647"),
        (("-s", "65508", "10.0.0.2"), "invalid -s value: '65508': out of range: 0 <= value <= 65507"),
        (("-s", "65528", "fd00::2"), "invalid -s value: '65528': out of range: 0 <= value <= 65527"),
        (("-l", "70000", "x"), "invalid argument: '70000': out of range: 1 <= value <= 65536"),
        (("-t", "300", "x"), "invalid argument: '300': out of range: 0 <= value <= 255"),
        (("-t", "0", "10.0.0.2"), "cannot set unicast time-to-live: Invalid argument"),
        (("-e", "65536", "x"), "invalid argument: '65536': out of range: 0 <= value <= 65535"),
        (("-w", "1.5", "x"), "invalid argument: '1.5'"),
        (("-W", "-1", "x"), "bad linger time: -1"),
        (("-i", "x", "x"), "bad timing interval: x"),
        (("-M", "foo", "x"), "invalid -M argument: foo"),
        (("-T", "foo", "x"), "invalid timestamp type: foo"),
        (("-R", "-T", "tsonly", "x"), "only one of -T or -R may be used"),
        (("-4", "-6", "x"), "only one -4 or -6 option may be specified"),
        (("-Q", "300", "x"), "the decimal value of TOS bits must be in range 0-255: 300"),
        (("-Q", "zz", "x"), "bad TOS value: zz (0 to 255, 0x.., or a DSCP such as EF, AF41, CS6)"),
        (("-F", "zz", "x"), "bad value for flowinfo: zz"),
        (("-F", "0xfffff1", "x"), "flow value is greater than 20 bits: 0xfffff1"),
        (("-p", "abg", "x"), "patterns must be specified as hex digits: g"),
        (("-4", "fd00::2"), "fd00::2: Address family for hostname not supported"),
        (("10.0.0.255",), "Do you want to ping broadcast? Then -b. If not, check your local firewall rules"),
        (("-A", "10.0.0.1", "10.0.0.2"), "-A takes one target"),
        (("--json", "--csv", "x"), "only one of --json or --csv may be used"),
        (("--vlan", "4095", "x"), "invalid --vlan argument: '4095': out of range: 0 <= ID <= 4094, 0 <= PCP <= 7"),
        (
            ("--sweep", "9:1", "10.0.0.2"),
            "invalid --sweep argument: '9:1': out of range: 0 <= MIN <= MAX <= 65507, 1 <= STEP",
        ),
        (("-N", "name", "x"), "IPv6 node information queries are not supported: -N name"),
    ],
)
def test_what_cannot_be_is_one_line_and_status_2(arguments: tuple[str, ...], said: str) -> None:
    done = ping(*arguments, check=2)
    assert done.stderr == f"pytools ping: {said}\n"
    assert done.stdout == "" or "--json" in arguments


# --- the world around -------------------------------------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_status_1() -> None:
    with open("/dev/full", "w") as full:
        words = [*COMMAND, "--via", "sim", "-c", "3", "10.0.0.2"]
        done = subprocess.run(
            words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, env=ENVIRONMENT, cwd=ROOT
        )
    assert (done.returncode, done.stderr) == (1, "pytools ping: write error: No space left on device\n")


def test_a_reader_that_leaves_ends_it_quietly() -> None:
    words = [*COMMAND, "--via", "sim:pace=1", "-i", "0.05", "10.0.0.2"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, cwd=ROOT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"PING")
        process.stdout.close()
        assert process.wait(30) == -signal.SIGPIPE
        assert process.stderr.read() == b""


def interrupted(*signals: int, after: bytes = b"icmp_seq=2") -> tuple[int, str, str]:
    """Send signals one after the other once a line has been printed; (status, stdout, stderr)."""
    words = [*COMMAND, "--via", "sim:pace=1", "-i", "0.05", "10.0.0.2"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, cwd=ROOT)
    assert process.stdout is not None
    assert process.stderr is not None
    seen = b""
    while after not in seen:
        seen += process.stdout.readline()
    err = b""
    for number in signals:
        process.send_signal(number)
        if number == signal.SIGQUIT:
            err += process.stderr.readline()
    out, rest = process.communicate(timeout=30)
    return process.returncode, (seen + out).decode(), (err + rest).decode()


def test_sigint_prints_the_summary() -> None:
    status, out, err = interrupted(signal.SIGINT)
    assert (status, err) == (0, "")
    assert "--- 10.0.0.2 ping statistics ---" in out


def test_sigquit_prints_an_interim_line_and_goes_on() -> None:
    status, out, err = interrupted(signal.SIGQUIT, signal.SIGINT)
    assert status == 0
    assert re.fullmatch(r"\r\d+/\d+ packets, \d+% loss, min/avg/ewma/max = \S+ ms\n", err)
    assert "ping statistics" in out


def test_sigterm_ends_it_without_a_word() -> None:
    status, out, err = interrupted(signal.SIGTERM)
    assert (status, err) == (-signal.SIGTERM, "")
    assert "ping statistics" not in out


def test_lines_are_flushed_into_a_pipe() -> None:
    assert interrupted(signal.SIGKILL, after=b"icmp_seq=3")[0] == -signal.SIGKILL


def test_names_of_argv0_choose_the_family(tmp_path: Path) -> None:
    (tmp_path / "ping6").write_text(f"#!{sys.executable}\nfrom pytools.cli.app import main\nmain()\n")
    (tmp_path / "ping6").chmod(0o755)
    words = [str(tmp_path / "ping6"), "--via", "sim", "-c", "1"]
    settings: dict[str, Any] = {"capture_output": True, "text": True, "env": ENVIRONMENT, "timeout": 60}
    assert "from fd00::2: icmp_seq=1" in subprocess.run([*words, "fd00::2"], **settings).stdout
    refused = subprocess.run([*words, "10.0.0.2"], **settings)
    assert (refused.returncode, refused.stderr) == (2, "ping6: 10.0.0.2: Address family for hostname not supported\n")


def test_the_live_table_gives_way_to_lines_where_there_is_no_terminal() -> None:
    assert "icmp_seq=1" in ping("--live", "-c", "1", "10.0.0.2").stdout


def test_verbose_traces_on_stderr_and_leaves_stdout_alone() -> None:
    done = ping("-v", "-c", "1", "10.0.0.2")
    assert "> ECHO" in done.stderr
    assert "rtt 0.100" in done.stderr
    assert "ECHO" not in done.stdout


def test_utf8_and_ascii_terminals_get_what_they_can_show() -> None:
    plain = ping(
        "-c", "3", "--hist", "10.0.0.2", environment={"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    )
    assert "#" in plain.stdout
    assert "█" in ping("-c", "3", "--hist", "10.0.0.2", environment={"LC_ALL": "C.UTF-8"}).stdout


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX"}, {"LC_ALL": "", "LC_CTYPE": "", "LANG": ""}]
)
def test_the_c_locale_gets_ascii_although_python_writes_utf8_there(environment: dict[str, str]) -> None:
    done = ping("-v", "-c", "3", "--hist", "10.0.0.2", environment=environment)
    assert "#" in done.stdout
    assert (done.stdout + done.stderr).isascii()


def test_a_utf8_locale_by_lang_alone_gets_blocks() -> None:
    environment = {"LC_ALL": "", "LC_CTYPE": "", "LANG": "C.UTF-8"}
    assert "█" in ping("-c", "3", "--hist", "10.0.0.2", environment=environment).stdout


def test_json_ends_properly_when_it_is_interrupted() -> None:
    words = [*COMMAND, "--via", "sim:pace=1", "--json", "-i", "0.05", "10.0.0.2"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT, cwd=ROOT)
    assert process.stdout is not None
    while b'"seq":2' not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    last = process.communicate(timeout=30)[0].splitlines()[-1]
    assert process.returncode == 0
    assert {"event": "end", "reason": "interrupted", "exit_status": 0}.items() <= json.loads(last).items()
