"""Bad input and hostile surroundings, for every command: one line, a defined status, never a traceback."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PYTOOLS = [sys.executable, "-m", "pytools"]
SIM = "--via sim"
ANSWERED = "10.0.0.2"


def start(line: str | list[str], **options) -> subprocess.Popen[str]:
    words = line.split() if isinstance(line, str) else line
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen([*PYTOOLS, *words], cwd=ROOT, text=True, **settings)


def run(line: str | list[str], **options) -> tuple[int, str, str]:
    """(status, stdout, stderr)."""
    process = start(line, **options)
    out, err = process.communicate(timeout=30)
    return process.returncode, out or "", err or ""


def assert_one_line(err: str, *words: str) -> None:
    """One line on stderr (a usage line may stand above it), with these words, without a traceback."""
    lines = [text for text in err.splitlines() if not text.startswith("Usage: ")]
    assert len(lines) == 1, err
    assert lines[0].startswith("pytools"), err
    assert "Traceback" not in err
    assert "internal error" not in err
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ping -c 1 no-such-host.invalid", ["no-such-host.invalid: "]),
        ("ping -c 1 http://example.invalid/", ["http://example.invalid/: "]),
        ("ping -c 1 -I nodev 127.0.0.1", ["nodev", "No such device"]),
        ("ping -c 1 -I 192.0.2.1 127.0.0.1", ["Cannot assign requested address"]),
        ("ping -c 1 fe80::1", ["connect: Invalid argument"]),
        ("ping -c 1 fe80::1%nodev", ["nodev"]),
        ("arping -c 1 -I nodev 10.0.0.1", ["Device nodev not available"]),
        ("arping -c 1 -I lo 127.0.0.1", ['"lo" is not ARPable']),
        ("arping -c 1 no-such-host.invalid", ["no-such-host.invalid"]),
        ("ping -c 1 --via packet 127.0.0.1", ["own", "--via auto"]),
        ("host --via packet", ["--address"]),
    ],
)
def test_what_is_not_there_is_named(line, words):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert_one_line(err, *words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ping -c 0 h", ["invalid argument: '0': out of range: 1 <= value <= 9223372036854775807"]),
        ("ping -c x h", ["invalid argument: 'x'"]),
        ("ping -c 1e3 h", ["invalid argument: '1e3'"]),
        ("ping -s -1 h", ["invalid argument: '-1': out of range: 0 <= value"]),
        ("ping -s 65508 10.0.0.2", ["invalid -s value: '65508': out of range: 0 <= value <= 65507"]),
        ("ping -l 70000 h", ["out of range: 1 <= value <= 65536"]),
        ("ping -i x h", ["bad timing interval: x"]),
        ("ping -i nan h", ["bad timing interval: nan"]),
        ("ping -W -1 h", ["bad linger time: -1"]),
        ("ping -M foo h", ["invalid -M argument: foo"]),
        ("ping -Q 300 h", ["TOS bits must be in range 0-255: 300"]),
        ("ping -T foo h", ["invalid timestamp type: foo"]),
        ("ping -p xyz h", ["patterns must be specified as hex digits"]),
        ("ping -F 0x100000 h", ["20 bits"]),
        ("ping --via nowhere h", ["--via", "nowhere"]),
        ("ping --via sim:loss=x 10.0.0.2", ["loss=x"]),
        ("ping --via sim:colour=red 10.0.0.2", ["colour"]),
        ("ping --via tap:x 10.0.0.2", ["only sim"]),
        ("ping --trace-format xml h", ["--trace-format", "xml"]),
        ("ping --color mauve h", ["--color", "mauve"]),
        ("ping -4 -6 h", ["only one -4 or -6"]),
        ("ping -4 ::1", ["::1: Address family for hostname not supported"]),
        ("ping 10.0.0.0/7", ["10.0.0.0/7"]),
        ("ping --address x --via sim 10.0.0.2", ["--address x"]),
        ("ping --network x --via lab 10.0.0.2", ["--network x"]),
        ("arping -c 0 -I lo 10.0.0.2", ["invalid argument: '0': out of range: 1 <= value <= 2147483647"]),
        ("arping -c x -I lo 10.0.0.2", ["invalid argument: 'x'"]),
        ("arping -w -1 -I lo 10.0.0.2", ["'-1'"]),
        ("ping -Z h", ["no such option: -Z"]),
        ("ping --cuont 1 h", ["--cuont"]),
        ("arping -Z", ["no such option: -Z"]),
        ("ping", [""]),
        ("arping", [""]),
        ("pong", ["no such command 'pong'"]),
    ],
)
def test_a_bad_value_is_named_and_ends_with_2(line, words):
    status, out, err = run(line)
    assert (status, out) == (2, "")
    assert_one_line(err, *words) if words != [""] else None
    assert "Traceback" not in err


def test_words_that_are_no_text_are_no_trouble():
    status, _, err = run([b"ping", b"\xff\x1b[31m.invalid"])
    assert status == 2
    assert_one_line(err)
    assert "\x1b" not in err


# --- files and streams ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["ping", "arping"])
def test_a_pcap_file_that_can_not_be_written(command, tmp_path):
    file = tmp_path / "no" / "such" / "file"
    status, out, err = run(f"{command} -c 1 {SIM} --pcap {file} {ANSWERED}")
    assert (status, out) == (2, "")
    assert_one_line(err, f"{file}: No such file or directory")


@pytest.mark.parametrize("command", ["ping", "arping"])
def test_a_pcap_file_on_a_full_device(command):
    status, _, err = run(f"{command} -c 1 {SIM} --pcap /dev/full {ANSWERED}")
    assert status == 2
    assert_one_line(err, "/dev/full: No space left on device")


@pytest.mark.parametrize("line", [f"ping -c 1 {SIM} {ANSWERED}", f"arping -c 1 {SIM} {ANSWERED}", "ping -h", "-V"])
def test_stdout_on_a_full_device_is_a_write_error(line):
    with open("/dev/full", "w") as full:
        status, _, err = run(line, stdout=full)
    assert status == 1
    assert_one_line(err, "write error: No space left on device")


@pytest.mark.parametrize("line", [f"ping -c 1 {SIM} {ANSWERED}", f"ping -c 1 --json {SIM} {ANSWERED}"])
def test_a_closed_stdout_is_a_write_error(line):
    shell = f"exec {' '.join(PYTOOLS)} {line} >&-"
    done = subprocess.run(["/bin/sh", "-c", shell], cwd=ROOT, text=True, capture_output=True, timeout=30)
    assert done.returncode == 1
    assert_one_line(done.stderr, "write error: Bad file descriptor")


def test_a_closed_stderr_is_no_trouble():
    shell = f"exec {' '.join(PYTOOLS)} ping -v -c 1 {SIM} {ANSWERED} 2>&-"
    done = subprocess.run(["/bin/sh", "-c", shell], cwd=ROOT, text=True, capture_output=True, timeout=30)
    assert done.returncode == 0
    assert "1 packets transmitted, 1 received" in done.stdout


@pytest.mark.parametrize("line", [f"ping -c 50 {SIM} {ANSWERED}", f"ping -c 50 --json {SIM} {ANSWERED}"])
def test_a_reader_that_goes_away_ends_it_by_sigpipe(line):
    process = start(line)
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) in (-signal.SIGPIPE, 0)
    assert process.stderr.read() == ""


def test_pcap_to_a_pipe_leaves_stdout_to_the_packets():
    command = [*PYTOOLS, *f"ping -c 1 {SIM} --pcap - {ANSWERED}".split()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=30)
    assert done.stdout[:4] == b"\x0a\x0d\x0d\x0a"
    assert b"1 packets transmitted, 1 received" in done.stderr


def test_few_descriptors_are_one_line_too():
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (5, 5))

    status, _, err = run(f"ping -c 1 --via lab {ANSWERED}", preexec_fn=limit)
    assert status == 2
    assert "Traceback" not in err


@pytest.mark.parametrize("encoding", ["C", "POSIX", "C.UTF-8"])
def test_every_locale_works(encoding):
    environment = {**os.environ, "LC_ALL": encoding, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    status, out, err = run(f"ping -v -c 2 --stats --hist {SIM} {ANSWERED}", env=environment)
    assert status == 0
    assert "Traceback" not in err
    assert encoding == "C.UTF-8" or out.isascii()


# --- signals ----------------------------------------------------------------------------------------------------------

ENDLESS = "ping --via sim:pace=1 -i 0.05 10.0.0.2"


def after_first_reply(line: str, **options) -> subprocess.Popen[str]:
    """A running command that has answered once."""
    process = start(line, **options)
    assert process.stdout is not None
    while "from 10.0.0.2" not in process.stdout.readline():
        assert process.poll() is None
    return process


def test_sigint_prints_the_summary():
    process = after_first_reply(ENDLESS)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, "")
    assert "--- 10.0.0.2 ping statistics ---" in out


def test_sigint_without_an_answer_is_status_1():
    process = start("ping --via sim:pace=1 -i 0.05 10.0.4.2")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 1


def test_sigquit_is_one_line_on_stderr_and_it_goes_on():
    process = after_first_reply(ENDLESS)
    process.send_signal(signal.SIGQUIT)
    assert process.stderr is not None
    interim = process.stderr.readline().strip() or process.stderr.readline()
    assert "packets, 0% loss, min/avg/ewma/max = " in interim
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 0


def test_sigterm_ends_ping_by_the_signal():
    process = after_first_reply(ENDLESS)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (-signal.SIGTERM, "")
    assert "statistics" not in out


def test_sigterm_ends_arping_with_its_summary():
    process = after_first_reply("arping --via sim:pace=1 -i 0.05 10.0.0.2")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, "")
    assert "response(s)" in out


def test_a_second_sigint_ends_what_hangs():
    process = after_first_reply(ENDLESS)
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=10)
    assert process.returncode in (0, -signal.SIGINT)


def test_an_ignored_sigint_stays_ignored_until_the_command_listens():
    """A shell's background job starts with SIGINT ignored; ping answers to it all the same, as iputils' does."""
    process = after_first_reply(ENDLESS, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert "statistics" in out


@pytest.mark.parametrize("way", ["lab"])
def test_nothing_is_left_after_sigkill(way):
    before = set(os.listdir("/sys/class/net")), children_named("lab")
    process = start(f"ping -i 0.05 --via {way} {ANSWERED}")
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=10)
    end = time.monotonic() + 3
    while (set(os.listdir("/sys/class/net")), children_named("lab")) != before and time.monotonic() < end:
        time.sleep(0.02)
    assert (set(os.listdir("/sys/class/net")), children_named("lab")) == before


def children_named(word: str) -> int:
    """Processes whose command line is one of ours in the lab."""
    count = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                line = Path("/proc", entry, "cmdline").read_bytes()
            except OSError:
                continue
            count += b"pytools" in line and word.encode() in line.split(b"\0")
    return count
