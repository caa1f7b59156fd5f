"""tcpserve against the kernel's clients: over veth on the host's addresses and on its own, over lo, in the lab."""

import hashlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.root
COMMAND = [sys.executable, "-c", "import sys; from pytools.cli.app import main; sys.argv[0] = 'pytools'; main()"]
BOTH = pytest.mark.parametrize("address", ["10.9.0.1", "fd09::1"], ids=["ipv4", "ipv6"])


@contextmanager
def serving(namespace, *arguments, listening=2):
    """A server that has said so many times that it listens; yields its process."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = namespace.popen(*COMMAND, "tcpserve", *arguments, env=environment, cwd="/")
    process.said = [process.stdout.readline() for _ in range(listening)]
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    process.rest, process.complaints = process.communicate(timeout=20)


@contextmanager
def client(namespace, address, port=7777, timeout=20):
    with namespace.entered():
        stream = socket.create_connection((address, port), timeout)
    with stream:
        yield stream


def read_all(stream):
    return b"".join(iter(lambda: stream.recv(1 << 20), b""))


@BOTH
def test_netcat_gets_back_what_it_sent_and_the_server_ends_with_status_0(wire, address):
    with serving(wire.ours, "7777") as server:
        done = wire.peer.run("nc", "-N", address, "7777", input="hello\n")
        assert (done.stdout, done.returncode) == ("hello\n", 0)
    assert server.said == ["Listening on 0.0.0.0 7777\n", "Listening on :: 7777\n"]
    assert server.returncode == 0
    assert re.search(r"^Connection received on \S+ \d+$", server.rest, re.MULTILINE)
    assert "6 bytes in, 6 bytes out" in server.rest
    assert "1 connections, 0 open, at most 1 at once; 1 ended (FIN 1)" in server.rest


@BOTH
def test_curl_fetches_a_file_and_the_kernel_resets_nothing(wire, address, tmp_path):
    content = os.urandom(3_000_000)
    file = tmp_path / "file"
    file.write_bytes(content)
    dump = wire.peer.popen("tcpdump", "-i", "v0", "-nlU", "tcp[13] & 4 != 0 or (ip6[6] = 6 and ip6[53] & 4 != 0)")
    assert "listening" in dump.stderr.readline() + dump.stderr.readline()
    with serving(wire.ours, "--http", "--file", file, "7777"):
        shown = f"[{address}]" if ":" in address else address
        done = wire.peer.run("curl", "-s", "-o", tmp_path / "copy", f"http://{shown}:7777/")
        assert done.returncode == 0
    assert (tmp_path / "copy").read_bytes() == content
    dump.send_signal(signal.SIGINT)
    assert dump.communicate(timeout=10)[0].strip() == ""


@BOTH
def test_an_address_of_its_own_is_served_and_other_ports_are_closed(wire, address):
    own = "10.9.0.50/24" if "." in address else "fd09::50/64"
    with serving(wire.ours, "-I", "v0", "--address", own, "7777", listening=1):
        with client(wire.peer, own.partition("/")[0]) as stream:
            stream.sendall(b"hello")
            stream.shutdown(socket.SHUT_WR)
            assert read_all(stream) == b"hello"
        with pytest.raises(ConnectionRefusedError), client(wire.peer, own.partition("/")[0], 7778):
            pass


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.9.0.1", "fd09::1"])
def test_programs_on_the_same_host_reach_it_too(wire, address):
    with serving(wire.ours, "7777"), client(wire.ours, address) as stream:
        stream.sendall(b"hello")
        stream.shutdown(socket.SHUT_WR)
        assert read_all(stream) == b"hello"


def test_a_second_server_is_told_that_the_address_is_in_use(wire):
    with serving(wire.ours, "7777"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = wire.ours.run(*COMMAND, "tcpserve", "7777", env=environment, cwd="/")
    assert done.returncode == 2
    assert done.stderr.startswith("pytools tcpserve: bind: Address already in use")
    assert done.stderr.count("\n") == 1


def test_an_address_that_is_not_ours_cannot_be_assigned(wire):
    done = wire.ours.run(*COMMAND, "tcpserve", "-s", "10.9.0.77", "7", env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2
    assert "Cannot assign requested address" in done.stderr


def test_two_hundred_clients_at_once_lose_nothing(wire):
    with serving(wire.ours, "7777", "--json", listening=2) as server, wire.peer.entered():
        streams = [socket.create_connection(("10.9.0.1", 7777), 20) for _ in range(200)]
        for number, stream in enumerate(streams):
            stream.sendall(bytes((number,)) * 20_000)
            stream.shutdown(socket.SHUT_WR)
        for number, stream in enumerate(streams):
            assert read_all(stream) == bytes((number,)) * 20_000
            stream.close()
    end = json.loads(server.rest.splitlines()[-1])
    assert (end["accepted_count"], end["bytes_in"], end["bytes_out"]) == (200, 4_000_000, 4_000_000)
    assert end["most_clients_count"] == 200
    assert set(end["endings"]) <= {"FIN", "shutdown"}


def test_twenty_megabytes_go_both_ways_at_once(wire):
    content = os.urandom(20_000_000)
    with serving(wire.ours, "7777"):
        done = wire.peer.run("nc", "-N", "10.9.0.1", "7777", input=content, text=False)
    assert hashlib.sha256(done.stdout).digest() == hashlib.sha256(content).digest()


def test_a_reset_by_the_kernel_is_told(wire):
    with serving(wire.ours, "7777") as server, client(wire.peer, "10.9.0.1") as stream:
        stream.sendall(b"x")
        stream.recv(1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        stream.close()
        lines = [server.stdout.readline() for _ in range(2)]
    assert lines[1].endswith(", RST\n")


def test_a_window_that_stays_closed_stops_the_sender(wire):
    with serving(wire.ours, "--no-read", "7777"), client(wire.peer, "10.9.0.1", timeout=2) as stream:
        with pytest.raises(TimeoutError):
            stream.sendall(bytes(64 << 20))
        shown = wire.peer.run("ss", "-tinH", "dport", "=", "7777").stdout
    assert "rwnd_limited" in shown


def test_nmap_finds_the_open_port(wire, tmp_path):
    found = wire.peer.run("sh", "-c", "command -v nmap").stdout
    if not found:
        pytest.skip("nmap is not installed")
    with serving(wire.ours, "-I", "v0", "--address", "10.9.0.50/24", "7777", listening=1):
        for scan in ("-sT", "-sS"):
            done = wire.peer.run("nmap", "-n", "-Pn", scan, "-p", "7776-7778", "10.9.0.50")
            states = dict(re.findall(r"^(\d+)/tcp\s+(\w+)", done.stdout, re.MULTILINE))
            assert states == {"7776": "closed", "7777": "open", "7778": "closed"}, scan


def test_a_command_runs_without_rights_for_each_client_and_ends_with_the_server(wire):
    command = 'id -u; echo "$TCPREMOTEIP"; exec cat'
    with serving(wire.ours, "-s", "10.9.0.1", "--exec", command, "7777", listening=1) as server:
        done = wire.peer.run("nc", "-N", "10.9.0.1", "7777", input="hello\n")
        user, peer, line = done.stdout.split()
        assert (peer, line) == ("10.9.0.2", "hello")
        assert int(user) != 0
        with client(wire.peer, "10.9.0.1") as stream:
            assert stream.recv(1)
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            assert len(children) == 1
            server.send_signal(signal.SIGTERM)
            server.wait(10)
            assert not Path(f"/proc/{children[0]}").exists()
    assert server.returncode == -signal.SIGTERM


def test_in_the_lab_a_client_of_the_kernel_gives_the_exit_status():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = "curl -s http://10.0.0.10:8080/ | wc -c; curl -s 'http://[fd00::10]:8080/' | wc -c; exit 3"
    arguments = ["tcpserve", "--via", "lab", "--http", "--source", "100000", "8080", "--client", line]
    done = subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["100000", "100000"]
    assert done.returncode == 3
