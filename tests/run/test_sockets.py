"""What the kernel cannot be asked: virtual time, the calling thread as the pump, the switch to a background thread."""

import errno
import select
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pytools.engine import Port
from pytools.errors import LinkError, LocalProtocolError
from pytools.run import sockets_address as addresses
from pytools.run.host import SocketHost
from pytools.sim import spec
from pytools.sim.topology import Topology
from pytools.stack.stack import Stack
from pytools.units import MS, SECOND
from tests.run.worlds import simulated


def pair(text: str = "delay=10ms", family: int = socket.AF_INET) -> tuple[SocketHost, SocketHost, Any, Any]:
    ours, peer = simulated(text)
    listener = peer.create_server(("", 80), family=family)
    client = ours.create_connection(("10.0.0.2" if family == socket.AF_INET else "fd00::2", 80))
    accepted, _ = listener.accept()
    return ours, peer, client, accepted


def test_a_call_takes_virtual_time_only() -> None:
    ours, _, client, accepted = pair()
    started = ours.now()
    accepted.sendall(b"x")
    assert client.recv(1) == b"x"
    assert ours.now() - started == 10 * MS


def test_a_time_limit_is_met_exactly() -> None:
    ours, _, client, _ = pair()
    client.settimeout(2.5)
    started = ours.now()
    with pytest.raises(TimeoutError, match="timed out"):
        client.recv(1)
    assert ours.now() - started == 2500 * MS


def test_a_connect_to_a_black_hole_ends_with_the_time_limit() -> None:
    ours, _ = simulated()
    with pytest.raises(TimeoutError):
        ours.create_connection(("10.0.4.2", 80), timeout=3)
    assert ours.now() == 3 * SECOND


def test_a_connect_without_a_limit_gives_up_after_the_last_syn() -> None:
    ours, _ = simulated()
    with pytest.raises(TimeoutError) as caught:
        ours.create_connection(("10.0.4.2", 80))
    assert caught.value.errno == errno.ETIMEDOUT
    # 4 linear timeouts, then 6 that double: the figure of Linux' tcp_syn_retries.
    assert ours.now() == 131 * SECOND


@pytest.mark.parametrize(
    ("address", "code"),
    [("10.0.2.1", errno.EHOSTUNREACH), ("10.0.3.1", errno.EHOSTUNREACH), ("10.0.0.99", errno.EHOSTUNREACH)],
)
def test_icmp_errors_are_the_reason_of_a_failed_connect(address: str, code: int) -> None:
    ours, _ = simulated()
    with pytest.raises(OSError, match=r"\[Errno") as caught:
        ours.create_connection((address, 80))
    # Net Unreachable from the router is a soft error: the SYNs go on, and the last answer is the reason.
    assert caught.value.errno in (code, errno.ENETUNREACH)


WAITS_FOR_EVER = """
from tests.run.test_sockets import pair
_, _, client, _ = pair()
try:
    client.recv(1)
except OSError as error:
    print(error.errno, error)
"""


def test_a_call_that_would_wait_for_ever_says_so() -> None:
    # In a program of its own: where other threads live, one of them might still do something.
    done = subprocess.run(
        [sys.executable, "-c", WAITS_FOR_EVER],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith(f"{errno.EDEADLK} "), done.stderr
    assert "nothing can ever happen" in done.stdout


def test_the_tail_is_delivered_by_closing_the_host() -> None:
    ours, _, client, accepted = pair("delay=10ms,loss=5%,seed=3")
    client.setblocking(False)
    sent = client.send(bytes(60_000))
    client.close()
    assert ours.close(60)
    assert sent == 60_000
    accepted.settimeout(0)
    received = 0
    while part := accepted.recv(65536):
        received += len(part)
    assert received == sent


def test_drain_says_whether_everything_arrived_in_time() -> None:
    ours, _, client, _ = pair("delay=100ms")
    client.sendall(b"x")
    client.close()
    assert not ours.drain(0.05)
    assert ours.drain(1)


def test_close_with_linger_waits_for_the_peer() -> None:
    ours, _, client, _ = pair("delay=100ms")
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
    client.sendall(b"x")
    started = ours.now()
    client.close()
    assert ours.now() - started == 200 * MS


def test_select_needs_no_descriptors() -> None:
    ours, _, client, accepted = pair()
    assert ours.select([client], [client], [], 0) == ([], [client], [])
    started = ours.now()
    assert ours.select([client], [], [], 1) == ([], [], [])
    assert ours.now() - started == SECOND
    accepted.sendall(b"x")
    assert ours.select([client, accepted], [], [], 1) == ([client], [], [])


def test_sleep_serves_the_stack() -> None:
    ours, peer = simulated("delay=10ms")
    listener = peer.create_server(("", 80))
    client = ours.socket()
    client.setblocking(False)
    assert client.connect_ex(("10.0.0.2", 80)) == errno.EINPROGRESS
    ours.sleep(1)
    assert ours.now() == SECOND
    listener.setblocking(False)
    assert listener.accept()[1] == client.getsockname()


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_both_families_at_one_dual_stack_listener(family: int) -> None:
    ours, peer = simulated()
    listener = peer.create_server(("", 80), family=socket.AF_INET6, dualstack_ipv6=True)
    client = ours.create_connection(("10.0.0.2" if family == socket.AF_INET else "fd00::2", 80))
    accepted, remote = listener.accept()
    mapped = "::ffff:10.0.0.10" if family == socket.AF_INET else "fd00::10"
    assert remote == (mapped, client.getsockname()[1], 0, 0)
    assert accepted.family == socket.AF_INET6
    assert accepted.getsockname()[0] == ("::ffff:10.0.0.2" if family == socket.AF_INET else "fd00::2")


def test_a_mapped_address_opens_an_ipv4_connection() -> None:
    ours, peer = simulated()
    peer.create_server(("10.0.0.2", 80))
    client = ours.socket(socket.AF_INET6)
    client.connect(("::ffff:10.0.0.2", 80))
    assert client.getpeername() == ("::ffff:10.0.0.2", 80, 0, 0)


def test_create_connection_binds_the_source() -> None:
    ours, peer = simulated()
    peer.create_server(("", 80))
    client = ours.create_connection(("10.0.0.2", 80), source_address=("10.0.0.10", 5000))
    assert client.getsockname() == ("10.0.0.10", 5000)


def test_only_tcp_is_offered() -> None:
    ours, _ = simulated()
    for arguments, code in (
        ((socket.AF_UNIX,), errno.EAFNOSUPPORT),
        ((socket.AF_INET, socket.SOCK_DGRAM), errno.ESOCKTNOSUPPORT),
        ((socket.AF_INET, socket.SOCK_STREAM, 17), errno.EPROTONOSUPPORT),
    ):
        with pytest.raises(OSError, match="not supported") as caught:
            ours.socket(*arguments)
        assert caught.value.errno == code


def test_a_host_beside_another_needs_a_simulated_network() -> None:
    ours, _ = simulated()
    with SocketHost(Stack(Random(1))) as real, pytest.raises(LocalProtocolError):
        SocketHost.beside(real, Topology(spec.parse("")).peer)
    ours.close()


def test_names_are_resolved_and_addresses_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def getaddrinfo(host: str, *_: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.2", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    ours, peer = simulated()
    peer.create_server(("", 80))
    ours.create_connection(("server.test", 80))
    ours.create_connection(("10.0.0.2", 80))
    assert asked == ["server.test"]
    assert addresses.to_octets(socket.AF_INET6, "::1") == bytes(15) + b"\1"


# -- several threads, descriptors --------------------------------------------------------------------------------------


def test_a_descriptor_is_readable_and_writable_when_the_socket_is() -> None:
    ours, _, client, accepted = pair("delay=0")
    poll = select.poll()
    poll.register(client, select.POLLIN | select.POLLOUT)
    assert poll.poll(0) == [(client.fileno(), select.POLLOUT)]
    accepted.sendall(b"x")
    assert select.select([client], [], [], 5) == ([client], [], [])
    assert poll.poll(0) == [(client.fileno(), select.POLLIN | select.POLLOUT)]
    assert client.recv(1) == b"x"
    assert poll.poll(0) == [(client.fileno(), select.POLLOUT)]
    client.setblocking(False)
    while client.poll() & select.POLLOUT:
        client.send(bytes(1 << 20))
    assert poll.poll(0) == []
    ours.close(0)


def test_a_listener_s_descriptor_wakes_a_selector() -> None:
    ours, peer = simulated("delay=0")
    listener = peer.create_server(("", 80))
    assert select.select([listener], [], [], 0) == ([], [], [])
    client = ours.create_connection(("10.0.0.2", 80), 5)
    assert select.select([listener], [], [], 5) == ([listener], [], [])
    listener.accept()[0].close()
    assert select.select([client], [], [], 5)[0] == [client]
    assert client.recv(1) == b""
    ours.close(0)


def test_threads_share_a_host() -> None:
    """Ten clients and a server, each in a thread of its own."""
    ours, peer = simulated("delay=0")
    ours.use_thread()
    listener = peer.create_server(("", 80), backlog=20)
    answers: list[bytes] = []

    def serve() -> None:
        for _ in range(10):
            accepted, _ = listener.accept()
            threading.Thread(target=echo, args=(accepted,)).start()

    def echo(accepted: Any) -> None:
        with accepted:
            while data := accepted.recv(65536):
                accepted.sendall(data)

    def ask(number: int) -> None:
        text = bytes([number]) * 50_000
        with ours.create_connection(("10.0.0.2", 80), 20) as client:
            client.sendall(text)
            client.shutdown(socket.SHUT_WR)
            with client.makefile("rb") as file:
                answers.append(file.read())

    threads = [threading.Thread(target=serve)] + [threading.Thread(target=ask, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [bytes([number]) * 50_000 for number in range(10)]
    ours.close(5)


def test_the_first_thread_is_taken_out_of_its_wait_by_the_second() -> None:
    ours, peer = simulated("delay=0")
    listener = peer.create_server(("", 80))
    accepted: list[Any] = []
    waiter = threading.Thread(target=lambda: accepted.append(listener.accept()))
    client = ours.socket()
    waiter.start()
    client.connect(("10.0.0.2", 80))
    waiter.join(10)
    assert accepted[0][1] == client.getsockname()
    ours.close(0)


def test_a_timeout_ends_in_the_background_too() -> None:
    ours, _, client, _ = pair("delay=0")
    ours.use_thread()
    client.settimeout(0.05)
    for _ in range(2):  # the second finds the background thread asleep
        with pytest.raises(TimeoutError):
            client.recv(1)
    ours.close(0)


def test_closing_from_another_thread_ends_a_call() -> None:
    ours, _, client, _ = pair("delay=0")
    ours.use_thread()
    failed: list[OSError] = []

    def receive() -> None:
        try:
            client.recv(1)
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=receive)
    thread.start()
    client.close()
    thread.join(10)
    assert failed[0].errno == errno.EBADF
    ours.close(0)


def test_detached_sockets_can_be_taken_up_again() -> None:
    ours, _, client, accepted = pair("delay=0")
    number = client.detach()
    assert number >= 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        client.recv(1)
    again = ours.socket(fileno=number)
    assert again.fileno() == number
    again.sendall(b"here")
    assert accepted.recv(10) == b"here"
    with pytest.raises(OSError, match="Bad file descriptor"):
        ours.socket(fileno=number)
    ours.close(0)


class BrokenLink:
    """A link whose interface goes away with the first frame that it is given to read."""

    def __init__(self) -> None:
        self.ports = (Port(0, "broken0", mac=b"\2\0\0\0\0\1"),)
        self.ends = socket.socketpair()

    def filenos(self) -> list[int]:
        return [self.ends[0].fileno()]

    writable_filenos = filenos

    def recv_batch(self, *_: object) -> int:
        raise LinkError("broken0 is gone", errno.ENODEV)

    def send(self, _: object) -> bool:
        self.ends[1].send(b"!")
        return True

    def poll_stamps(self, _: object) -> None:
        pass

    def close(self) -> None:
        for end in self.ends:
            end.close()


@pytest.mark.parametrize("threaded", [False, True])
def test_a_link_that_goes_away_ends_calls_with_its_error(threaded: bool) -> None:
    link = BrokenLink()
    stack = Stack(Random(1))
    stack.add_port(link.ports[0])
    stack.add_address(0, bytes((192, 0, 2, 1)), 24)
    with SocketHost(stack, [link]) as host:
        if threaded:
            host.use_thread()
        with pytest.raises(OSError, match="broken0 is gone") as caught:
            host.create_connection(("192.0.2.2", 80), 20)
        assert caught.value.errno == errno.ENODEV


def test_closing_a_host_twice_is_harmless() -> None:
    ours, peer = simulated()
    ours.use_thread()
    peer.close()
    ours.close()
    ours.close()


def test_blocking_sockets_load_neither_asyncio_nor_ssl() -> None:
    program = "import sys; import pytools.run.host; print({'asyncio', 'ssl', 'rich', 'scapy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr
