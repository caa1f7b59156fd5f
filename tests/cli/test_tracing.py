"""Traces of a command line: where they go, whose files they are, what is said when they can't be written."""

import os
import sys

import pytest

from pytools.cli.open import PathRequest, Target, TraceRequest, open_path
from pytools.cli.tracing import open_file
from pytools.errors import LinkError, UsageError
from pytools.wire.addr import parse_ip

PEER = parse_ip("10.0.0.2")


def ping_once(trace: TraceRequest) -> None:
    """One echo over the simulation, traced."""
    with open_path(PathRequest("ping", via="sim", targets=[Target(PEER)], trace=trace)) as path:
        stack = path.stack
        stack.open_echo(path.ident)
        answers: list[object] = []
        driver = path.driver(stack, answers.append)
        stack.send_echo(PEER, path.ident, 1, b"hello", path.waiter.now())
        assert driver.run(lambda: bool(answers)) == "done"


@pytest.fixture(autouse=True)
def _keep_privileges(monkeypatch):
    """A test process must not give up its own rights."""
    monkeypatch.setattr("pytools.cli.open.Path._give_up_privileges", lambda self: None)


def test_text_goes_to_stderr_in_the_order_of_the_wire(capfd):
    ping_once(TraceRequest(verbosity=1))
    captured = capfd.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert [line[20] for line in lines] == list("><><")
    assert "ARP who-has 10.0.0.2 tell 10.0.0.10" in lines[0]
    assert "REPLY" in lines[3]


def test_json_traces_are_one_record_a_line_on_stderr(capfd):
    import json

    ping_once(TraceRequest(verbosity=1, form="json"))
    events = [json.loads(line)["event"] for line in capfd.readouterr().err.splitlines()]
    assert events.count("frame_sent") == 2
    assert events.count("frame_received") == 2


def test_without_verbosity_nothing_is_traced(capfd):
    ping_once(TraceRequest())
    assert capfd.readouterr() == ("", "")


def test_the_pcapng_file_has_every_packet(tmp_path):
    file = tmp_path / "ping.pcapng"
    ping_once(TraceRequest(pcap=str(file)))
    data = file.read_bytes()
    assert data[:4] == b"\x0a\x0d\x0d\x0a"
    assert data.count(bytes.fromhex("0200000000100200000000020800")) == 1  # the echo reply, dst, src, type
    assert data.count(bytes.fromhex("0200000000020200000000100800")) == 1


def test_a_file_that_can_not_be_written_is_one_line_with_its_name(tmp_path):
    with pytest.raises(LinkError, match=r"no/such/file: No such file or directory"):
        open_file(str(tmp_path / "no/such/file"))


def test_a_full_device_is_told_before_or_while_tracing():
    with pytest.raises(LinkError, match="/dev/full: No space left on device"):
        ping_once(TraceRequest(pcap="/dev/full"))


def test_pcap_to_a_terminal_is_refused(monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    with pytest.raises(UsageError, match="terminal"):
        open_file("-")


@pytest.mark.root
def test_a_new_file_belongs_to_who_called_sudo(tmp_path, monkeypatch):
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")
    open_file(str(tmp_path / "new")).close()
    found = os.stat(tmp_path / "new")
    assert (found.st_uid, found.st_gid) == (65534, 65534)


@pytest.mark.root
def test_a_file_that_was_there_keeps_its_owner(tmp_path, monkeypatch):
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")
    (tmp_path / "old").write_bytes(b"longer than what is written now" * 10)
    open_file(str(tmp_path / "old")).close()
    found = os.stat(tmp_path / "old")
    assert (found.st_uid, found.st_size) == (0, 0)
