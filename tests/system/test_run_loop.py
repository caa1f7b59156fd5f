"""The loop on the machine's clock: precision, descriptors, signals inside a system call."""

import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from time import monotonic_ns, sleep

import pytest

from pytools.engine import Port, RxMeta, Transmit
from pytools.run.driver import Driver
from pytools.run.waiters import RealWaiter
from pytools.units import MS, NEVER, SECOND, US, Ns
from tests.run.scripted import ScriptedEngine

ROOT = Path(__file__).parents[2]
SLACK_NS: Ns = 200 * MS
"""What a loaded machine may add."""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fileno in ends:
        os.close(fileno)


@pytest.mark.parametrize("duration", [0, 100 * US, 400 * US, 3 * MS, 5 * MS + 300 * US])
def test_a_wait_is_never_too_short_and_not_rounded_to_milliseconds(duration: Ns) -> None:
    waiter, late = RealWaiter(), []
    for _ in range(30):
        until = monotonic_ns() + duration
        now = waiter.wait(until, (), ())
        assert now >= until
        late.append(now - until)
    # poll alone would be late each time, by what is missing to a whole millisecond. A busy machine is late at times.
    assert min(late) < 500 * US


def test_a_wait_until_the_past_returns_at_once_and_still_looks(pipe: tuple[int, int]) -> None:
    waiter = RealWaiter()
    os.write(pipe[1], b"x")
    started = monotonic_ns()
    waiter.wait(0, (pipe[0],), ())
    assert list(waiter.ready) == [pipe[0]]
    assert monotonic_ns() - started < SLACK_NS


@pytest.mark.parametrize("until", [NEVER, 60 * SECOND])
def test_input_ends_a_long_wait(pipe: tuple[int, int], until: Ns) -> None:
    waiter, started = RealWaiter(), monotonic_ns()
    timer = threading.Timer(0.02, os.write, (pipe[1], b"x"))
    timer.start()
    waiter.wait(until if until == NEVER else started + until, (pipe[0],), ())
    timer.join()
    assert list(waiter.ready) == [pipe[0]]
    assert 10 * MS < monotonic_ns() - started < 10 * SECOND


def test_a_writable_descriptor_ends_the_wait_and_is_not_reported_as_readable(pipe: tuple[int, int]) -> None:
    waiter, started = RealWaiter(), monotonic_ns()
    waiter.wait(started + 10 * SECOND, (pipe[0],), (pipe[1],))
    assert list(waiter.ready) == []
    assert monotonic_ns() - started < 5 * SECOND


def test_a_changed_set_of_descriptors_is_noticed(pipe: tuple[int, int]) -> None:
    waiter = RealWaiter()
    os.write(pipe[1], b"x")
    waiter.wait(0, (), ())
    assert list(waiter.ready) == []
    waiter.wait(0, (pipe[0],), ())
    assert list(waiter.ready) == [pipe[0]]


def test_descriptors_from_1024_up_work(pipe: tuple[int, int]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 1200:
        pytest.skip("the limit of open files is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1200), hard))
    high = 1100
    try:
        os.dup2(pipe[0], high)
        waiter = RealWaiter()
        until = monotonic_ns() + 300 * US
        assert waiter.wait(until, (high,), ()) >= until
        os.write(pipe[1], b"x")
        waiter.wait(monotonic_ns() + 300 * US, (high,), ())
        assert list(waiter.ready) == [high]
    finally:
        os.close(high)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_nothing_to_wait_for_is_never() -> None:
    assert RealWaiter().wait(NEVER, (), ()) == NEVER


class SocketLink:
    """Frames over a datagram socket."""

    def __init__(self, transport: socket.socket) -> None:
        self.ports = (Port(0, "s0"),)
        self.offers = 0
        self.transport = transport
        transport.setblocking(False)

    def filenos(self) -> Sequence[int]:
        return (self.transport.fileno(),)

    writable_filenos = filenos

    def recv_batch(self, sink: Callable[[memoryview, Ns, RxMeta], None], now: Callable[[], Ns], limit: int) -> int:
        return 0

    def send(self, transmit: Transmit) -> bool:
        self.offers += 1
        self.transport.send(b"".join(transmit.parts))
        return True

    def poll_stamps(self, on_transmitted: object) -> None:
        pass

    def close(self) -> None:
        self.transport.close()


def test_a_full_socket_is_waited_for_and_every_frame_arrives_in_order() -> None:
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with near, far:
        engine, link, got = ScriptedEngine(), SocketLink(near), []
        texts = [f"{number:04}" for number in range(2_000)]
        for text in texts:
            engine.queue(text)

        def read_late() -> None:
            sleep(0.05)
            got.extend(far.recv(100)[14:].decode() for _ in texts)

        reader = threading.Thread(target=read_late)
        reader.start()
        driver = Driver(engine, [link], RealWaiter())
        driver.run(lambda: not engine.outbox and driver.next_wake() == NEVER)
        reader.join()
        assert got == texts
        assert driver.refused == {}
        # Each time it was full it was offered once more when the socket said so; nothing was polled.
        assert link.offers < len(texts) * 2 + 100


PROGRAM = """
import os, sys
from pytools.run.driver import Driver
from pytools.run.signals import Signals
from pytools.run.waiters import RealWaiter
from tests.run.scripted import ScriptedEngine

driver = Driver(ScriptedEngine(), [], RealWaiter())
driver.watch(0, lambda: os.read(0, 1))  # something to wait for, for ever
with Signals(on_quit=lambda: print("interim", flush=True)) as signals:
    signals.attach(driver)
    print("ready", flush=True)
    print(driver.run(), signals.interrupted, flush=True)
"""


def test_signals_wake_a_loop_that_sleeps_in_a_system_call() -> None:
    running = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == b"ready\n"
        sleep(0.1)  # into the system call
        running.send_signal(signal.SIGQUIT)
        assert running.stdout.readline() == b"interim\n"
        sleep(0.1)
        running.send_signal(signal.SIGINT)
        assert running.stdout.readline() == b"stopped True\n"
        assert running.wait(10) == 0
    finally:
        running.kill()
        running.communicate()
