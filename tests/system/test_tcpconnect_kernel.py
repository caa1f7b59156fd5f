"""`pytools tcpconnect` against the kernel's TCP: nc, http.server, firewalls, and a wire that is watched for resets."""

import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.run.tls import server_context
from tests.system.conftest import Namespace, Wire

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
OURS = (sys.executable, "-m", "pytools", "tcpconnect")
ENVIRONMENT = {**os.environ, "LC_ALL": "C", "PYTHONPATH": str(ROOT)}
SIZE = 20_000_000
WAYS = {"host": (), "own": ("--address", "10.9.0.77/24"), "own6": ("--address", "fd09::77/64")}
PLACES = [
    pytest.param("10.9.0.2", "host", id="v4-host"),
    pytest.param("fd09::2", "host", id="v6-host"),
    pytest.param("10.9.0.2", "own", id="v4-own"),
    pytest.param("fd09::2", "own6", id="v6-own"),
]


def ours(where: Namespace, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    done = where.run(*OURS, *words, env=ENVIRONMENT, **options)
    assert "Traceback" not in str(done.stderr)
    return done


def listen(where: Namespace, address: str, backlog: int = 16) -> socket.socket:
    """A kernel socket that listens inside, on a port of the kernel's choice."""
    with where.entered():
        listening = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    listening.settimeout(20)
    listening.bind((address, 0))
    listening.listen(backlog)
    return listening


def port_of(listening: socket.socket) -> str:
    return str(listening.getsockname()[1])


def serve(listening: socket.socket, talk: Any) -> threading.Thread:
    """Accept one connection in a thread and let `talk(connection)` have it."""

    def run() -> None:
        with listening, listening.accept()[0] as connection:
            connection.settimeout(30)
            talk(connection)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


def read_all(connection: socket.socket) -> bytes:
    found = bytearray()
    while data := connection.recv(1 << 18):
        found += data
    return bytes(found)


@contextlib.contextmanager
def watched(where: Namespace, what: str) -> Iterator[list[str]]:
    """What tcpdump saw of `what` meanwhile."""
    seen: list[str] = []
    watcher = where.popen("tcpdump", "-lnni", "v0", what)
    assert watcher.stderr is not None
    while "listening on" not in watcher.stderr.readline():
        pass
    yield seen
    time.sleep(0.2)
    watcher.send_signal(signal.SIGINT)
    seen += [line for line in watcher.communicate(timeout=10)[0].splitlines() if line]


RESETS = "(tcp[tcpflags] & tcp-rst != 0) or (ip6 and ip6[6] == 6 and ip6[53] & 4 != 0)"


@pytest.mark.needs("tcpdump")
@pytest.mark.parametrize(("address", "way"), PLACES)
def test_twenty_megabytes_each_way_arrive_whole_and_nobody_resets(wire: Wire, address, way, tmp_path):
    there, back = random.Random(1).randbytes(SIZE), random.Random(2).randbytes(SIZE)
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(there)
    got: list[bytes] = []

    def talk(connection: socket.socket) -> None:
        sender = threading.Thread(target=lambda: (connection.sendall(back), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        got.append(read_all(connection))
        sender.join()

    listening = listen(wire.peer, address)
    thread = serve(listening, talk)
    with watched(wire.peer, RESETS) as resets, source.open("rb") as incoming, target.open("wb") as outgoing:
        words = (*WAYS[way], "--json", address, port_of(listening))
        done = ours(wire.ours, *words, stdin=incoming, stdout=outgoing, stderr=subprocess.PIPE, capture_output=False)
        thread.join(20)
    assert done.returncode == 0
    assert hashlib.sha256(got[0]).digest() == hashlib.sha256(there).digest()
    assert hashlib.sha256(target.read_bytes()).digest() == hashlib.sha256(back).digest()
    closed = next(r for r in map(json.loads, done.stderr.splitlines()) if r["event"] == "connect_closed")
    assert (closed["bytes_acked"], closed["bytes_received"], closed["error"]) == (SIZE, SIZE, None)
    assert not resets


def test_a_reader_that_pauses_loses_nothing(wire: Wire):
    data = random.Random(3).randbytes(4_000_000)
    listening = listen(wire.peer, "10.9.0.2")
    serve(listening, lambda connection: connection.sendall(data))
    process = wire.ours.popen(*OURS, "-d", "10.9.0.2", port_of(listening), env=ENVIRONMENT, text=False)
    time.sleep(1)
    assert process.stdout is not None
    found = process.stdout.read()
    assert hashlib.sha256(found).digest() == hashlib.sha256(data).digest()
    assert process.wait(10) == 0


@pytest.mark.needs("nc")
def test_nc_on_the_other_side_gets_our_input_and_its_end(wire: Wire):
    peer = wire.peer.popen("nc", "-l", "-N", "5001", stdin=subprocess.DEVNULL)
    end = time.monotonic() + 5
    while ":5001" not in wire.peer.run("ss", "-tln").stdout and time.monotonic() < end:
        time.sleep(0.01)
    done = ours(wire.ours, "10.9.0.2", "5001", input="one line\n")
    assert (done.returncode, done.stdout) == (0, "")
    assert peer.communicate(timeout=10)[0] == "one line\n"


@pytest.mark.parametrize(("address", "way"), PLACES)
def test_http_server_answers(wire: Wire, address, way):
    server = wire.peer.popen(sys.executable, "-u", "-m", "http.server", "8080", "--bind", "::", cwd="/tmp")
    assert server.stdout is not None
    server.stdout.readline()
    done = ours(wire.ours, *WAYS[way], address, "8080", input="HEAD / HTTP/1.0\r\n\r\n")
    assert done.returncode == 0
    assert done.stdout.startswith("HTTP/1.0 200 OK")


@pytest.mark.parametrize("address", ["10.9.0.2", "fd09::2"])
def test_each_kind_of_answer_is_told(wire: Wire, address):
    rules = "add table inet t\nadd chain inet t i { type filter hook input priority 0; }\n" + "".join(
        f"add rule inet t i tcp dport {port} {verdict}\n"
        for port, verdict in (
            (82, "drop"),
            (83, "reject with icmpx type admin-prohibited"),
            (84, "reject with tcp reset"),
        )
    )
    assert wire.peer.run("nft", "-f", "-", input=rules).returncode == 0
    listening = listen(wire.peer, address)
    done = ours(wire.ours, "--json", "-w", "1.5", address, f"81,82,83,84,{port_of(listening)}")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    results = {r["port"]: r for r in found if r["event"] == "connect_result"}
    assert [results[port]["outcome"] for port in (81, 82, 83, 84)] == ["refused", "timed_out", "unreachable", "refused"]
    assert results[83]["icmp"]["from"] == address
    assert results[int(port_of(listening))]["outcome"] == "open"
    assert done.returncode == 1


@pytest.mark.needs("tcpdump")
def test_repeated_probes_leave_no_reset_and_no_port_behind(wire: Wire):
    listening = listen(wire.peer, "10.9.0.2", 64)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                listening.accept()[0].close()

    threading.Thread(target=accept, daemon=True).start()
    with watched(wire.peer, RESETS) as resets:
        done = ours(wire.ours, "-c", "20", "-i", "0.05", "10.9.0.2", port_of(listening))
    listening.close()
    assert "20 attempts, 20 open, 0% without success" in done.stdout
    assert not resets
    assert wire.ours.run("ss", "-Htan").stdout == ""


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.9.0.1", "fd09::1"])
def test_the_hosts_own_addresses_are_reached(wire: Wire, address):
    listening = listen(wire.ours, address)
    thread = serve(listening, lambda connection: connection.sendall(read_all(connection)))
    data = "x" * 300_000
    done = ours(wire.ours, address, port_of(listening), input=data)
    thread.join(10)
    assert (done.returncode, done.stdout) == (0, data)
    assert ours(wire.ours, "-z", address, "1").returncode == 1


def test_the_peers_kernel_sees_what_was_asked_for(wire: Wire):
    listening = listen(wire.peer, "10.9.0.2")
    seen: list[str] = []

    def talk(connection: socket.socket) -> None:
        read_all(connection)
        seen.append(wire.peer.run("ss", "-Htin").stdout)

    thread = serve(listening, talk)
    words = ("--no-sack", "--no-timestamps", "--no-wscale", "--mss", "700", "-p", "4321", "-s", "10.9.0.1")
    done = ours(wire.ours, *words, "10.9.0.2", port_of(listening), input="x")
    thread.join(10)
    assert done.returncode == 0
    assert "10.9.0.1:4321" in seen[0]
    assert not {" ts ", " sack ", "wscale"} & {word for word in (" ts ", " sack ", "wscale") if word in seen[0]}
    assert "mss:700" in seen[0]


@pytest.mark.needs("tcpdump")
def test_sigint_closes_the_connection_in_order(wire: Wire):
    listening = listen(wire.peer, "10.9.0.2")
    got: list[bytes] = []
    thread = serve(listening, lambda connection: got.append(read_all(connection)))
    with watched(wire.peer, RESETS) as resets:
        process = wire.ours.popen(
            "env", "--default-signal=INT", *OURS, "10.9.0.2", port_of(listening), stdin=subprocess.PIPE, env=ENVIRONMENT
        )
        assert process.stdin is not None
        process.stdin.write("hello")
        process.stdin.flush()
        end = time.monotonic() + 10
        while "ESTAB" not in wire.peer.run("ss", "-Htn").stdout and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.2)
        # `ip netns exec` becomes the program, so this is our process
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 1
        thread.join(10)
    assert got == [b"hello"]
    assert not resets


def test_a_peer_that_vanishes_is_given_up_after_the_time_asked_for(wire: Wire):
    listening = listen(wire.peer, "10.9.0.2")
    process = wire.ours.popen(*OURS, "-w", "1", "10.9.0.2", port_of(listening), stdin=subprocess.PIPE, env=ENVIRONMENT)
    connection = listening.accept()[0]
    wire.peer.run(
        "nft", "-f", "-", input="add table ip t\nadd chain ip t i { type filter hook input priority 0; policy drop; }\n"
    )
    assert process.stdin is not None
    process.stdin.write("anybody there?\n")
    process.stdin.flush()
    try:
        assert process.wait(15) == 1
        assert process.stderr is not None
        assert process.stderr.read() == "tcpconnect: Connection timed out\n"
    finally:
        connection.close()


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_peer_that_resets_is_said_so(wire: Wire, where):
    listening = listen(wire.peer, "10.9.0.2")

    def talk(connection: socket.socket) -> None:
        if where == "after":
            connection.sendall(b"bye\n")
            connection.recv(1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    serve(listening, talk)
    process = wire.ours.popen(
        *OURS, "--exit-detail", "10.9.0.2", port_of(listening), stdin=subprocess.PIPE, env=ENVIRONMENT
    )
    assert process.stdin is not None
    process.stdin.write("x")
    process.stdin.flush()
    assert process.wait(15) == 13
    assert process.stderr is not None
    assert process.stdout is not None
    assert process.stderr.read() == "tcpconnect: Connection reset by peer\n"
    assert process.stdout.read() == ("bye\n" if where == "after" else "")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["192.0.2.1", "80"], "connect: Network is unreachable"),
        (["-I", "nodev", "10.9.0.2", "80"], "SO_BINDTODEVICE nodev: No such device"),
        (["-s", "10.9.0.200", "10.9.0.2", "80"], "bind: Cannot assign requested address"),
    ],
)
def test_what_can_not_be_asked_is_one_line_and_status_2(wire: Wire, words, complaint):
    done = ours(wire.ours, "-z", *words)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_source_port_that_another_program_has_is_refused(wire: Wire):
    listening = listen(wire.ours, "10.9.0.1")
    done = ours(wire.ours, "-z", "-p", port_of(listening), "10.9.0.2", "80")
    assert done.returncode == 2
    assert "bind: Address already in use" in done.stderr


def test_the_lab_has_services_to_talk_to():
    done = subprocess.run(
        [*OURS, "--via", "lab", "10.0.0.2", "7"],
        input=b"hello",
        capture_output=True,
        timeout=30,
        env=ENVIRONMENT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"hello"), done.stderr


def serve_tls(listening: socket.socket) -> threading.Thread:
    """A TLS server of the ssl module that echoes one line."""

    def talk(connection: socket.socket) -> None:
        with server_context().wrap_socket(connection, server_side=True) as secure:
            if line := secure.recv(100):
                secure.sendall(line)
            with contextlib.suppress(OSError):
                secure.recv(1)

    return serve(listening, talk)


def test_a_tls_handshake_is_timed_and_carries_data(wire: Wire):
    listening = listen(wire.peer, "10.9.0.2")
    thread = serve_tls(listening)
    done = ours(wire.ours, "--tls", "--tls-name", "server.test", "10.9.0.2", port_of(listening), input="secret\n")
    thread.join(10)
    assert (done.returncode, done.stdout) == (0, "secret\n"), done.stderr
    assert "TLS handshake time=" in done.stderr
    assert "TLSv1.3" in done.stderr


def test_a_tls_handshake_alone_is_a_record(wire: Wire):
    listening = listen(wire.peer, "fd09::2")
    thread = serve_tls(listening)
    done = ours(wire.ours, "--tls", "-z", "--json", "fd09::2", port_of(listening))
    thread.join(10)
    assert done.returncode == 0, done.stderr
    (record,) = [r for r in map(json.loads, done.stdout.splitlines()) if r["event"] == "tls"]
    assert record["handshake_ms"] > 0
    assert record["version"] == "TLSv1.3"


def test_a_server_without_tls_is_one_line_and_status_1(wire: Wire):
    listening = listen(wire.peer, "10.9.0.2")
    thread = serve(listening, lambda connection: connection.sendall(b"220 hello, no TLS here\r\n"))
    done = ours(wire.ours, "--tls", "-z", "10.9.0.2", port_of(listening))
    thread.join(10)
    assert done.returncode == 1
    assert "TLS: " in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_full_disk_is_one_line_and_the_peer_is_told(wire: Wire):
    listening = listen(wire.peer, "10.9.0.2")
    ends: list[str] = []

    def talk(connection: socket.socket) -> None:
        try:
            while True:
                connection.sendall(bytes(100_000))
        except OSError as error:
            ends.append(type(error).__name__)

    thread = serve(listening, talk)
    with open("/dev/full", "wb") as full:
        words = ("-d", "10.9.0.2", port_of(listening))
        done = ours(wire.ours, *words, stdout=full, stderr=subprocess.PIPE, capture_output=False)
    thread.join(10)
    assert done.returncode == 1
    assert done.stderr == "pytools tcpconnect: write error: No space left on device\n"
    assert ends
    assert ends[0] in ("ConnectionResetError", "BrokenPipeError")
