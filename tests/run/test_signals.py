"""Signals sent to this very process, in virtual time."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytools.run.driver import DONE, STOPPED, Driver
from pytools.run.signals import Signals
from pytools.run.waiters import VirtualWaiter
from pytools.sim.network import Network
from pytools.units import SECOND, Ns
from tests.run.scripted import ScriptedEngine, TestLink

ROOT = Path(__file__).parents[2]
WATCHED = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE)


class Beat:
    """A driver whose engine sends itself `number` in the `at`-th second."""

    def __init__(self, number: int, at: int = 3) -> None:
        self.network, self.engine = Network(), ScriptedEngine()
        self.driver = Driver(self.engine, [TestLink(self.network)], VirtualWaiter(self.network))
        self.engine.deadline = SECOND

        def beat(now: Ns) -> None:
            self.engine.deadline = now + SECOND
            if now == at * SECOND:
                os.kill(os.getpid(), number)

        self.engine.at_deadline = beat

    def run(self, seconds: int) -> str:
        return self.driver.run(lambda: self.network.now() >= seconds * SECOND)


def test_sigint_ends_the_loop_before_its_next_turn() -> None:
    beat = Beat(signal.SIGINT)
    with Signals() as signals:
        signals.attach(beat.driver)
        assert beat.run(100) == STOPPED
        assert signals.interrupted
    assert beat.network.now() == 3 * SECOND


def test_sigint_before_there_is_a_driver_is_not_lost() -> None:
    beat = Beat(0)
    with Signals() as signals:
        os.kill(os.getpid(), signal.SIGINT)
        signals.attach(beat.driver)
        assert beat.run(100) == STOPPED
    assert beat.network.now() == 0


def test_sigquit_calls_back_in_the_loop_and_it_goes_on() -> None:
    beat, calls = Beat(signal.SIGQUIT), []
    with Signals(on_quit=lambda: calls.append(beat.network.now())) as signals:
        signals.attach(beat.driver)
        assert beat.run(6) == DONE
        assert not signals.interrupted
    assert calls == [3 * SECOND]


def test_sigterm_calls_back_when_the_command_wants_it() -> None:
    beat = Beat(signal.SIGTERM)
    with Signals(on_terminate=beat.driver.stop) as signals:
        signals.attach(beat.driver)
        assert beat.run(100) == STOPPED
    assert beat.network.now() == 3 * SECOND


def test_many_signals_at_once_fill_no_pipe_and_call_back() -> None:
    beat, calls = Beat(0), []
    with Signals(on_quit=lambda: calls.append(1)) as signals:
        signals.attach(beat.driver)
        for _ in range(5_000):
            os.kill(os.getpid(), signal.SIGQUIT)
        assert beat.run(3) == DONE
    assert calls


def test_every_handler_and_the_wake_up_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in WATCHED]
    beat = Beat(0)
    with Signals(on_quit=lambda: None, on_terminate=lambda: None) as signals:
        signals.attach(beat.driver)
        during = [signal.getsignal(number) for number in WATCHED]
        assert during[3] == signal.SIG_DFL
        assert all(old != new for old, new in zip(before[:3], during[:3], strict=True))
        assert len(beat.driver.filenos()) == 1
    assert [signal.getsignal(number) for number in WATCHED] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert beat.driver.filenos() == ()


def test_without_callbacks_quit_and_terminate_keep_their_default_action() -> None:
    with Signals():
        assert signal.getsignal(signal.SIGQUIT) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(
    ("body", "ended_by"),
    [
        ("os.kill(os.getpid(), signal.SIGINT); os.kill(os.getpid(), signal.SIGINT)", signal.SIGINT),
        ("os.kill(os.getpid(), signal.SIGTERM)", signal.SIGTERM),
        ("os.kill(os.getpid(), signal.SIGPIPE)", signal.SIGPIPE),
        ("r, w = os.pipe(); os.close(r); os.write(w, b'x')", signal.SIGPIPE),
    ],
)
def test_a_second_sigint_sigterm_and_sigpipe_end_the_process_by_the_signal(body: str, ended_by: int) -> None:
    program = (
        f"import os, signal\nfrom pytools.run.signals import Signals\nwith Signals():\n    {body}\n    print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=30, check=False, cwd=ROOT)
    assert done.returncode == -ended_by
    assert done.stdout + done.stderr == b""
