"""Signals of a command: they wake the loop, are acted on between its turns, and are as they were afterwards.

SIGINT stops the loop, so that the summary is printed; a second one ends the process at once. SIGQUIT asks for an
interim line. SIGTERM ends the process unless the command wants to say good-bye. SIGPIPE ends it quietly (Python would
make it an exception).
"""

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Final, Self

from pytools.run.driver import Driver

_DRAIN: Final = 64


class Signals:
    """Handlers for the time of a `with`; main thread only.

    `on_quit` and `on_terminate` are called in the loop, never inside a system call or another call of the engine.
    Without them the signal has its default action. Enter early, so that no signal finds the process unprepared,
    and `attach` the driver as soon as there is one; what came before is acted on then.
    """

    __slots__ = ("_driver", "_old", "_old_wakeup", "_on_quit", "_on_terminate", "_pending", "_wake", "interrupted")

    def __init__(
        self, on_quit: Callable[[], object] | None = None, on_terminate: Callable[[], object] | None = None
    ) -> None:
        self.interrupted = False
        """SIGINT has come."""
        self._on_quit = on_quit
        self._on_terminate = on_terminate
        self._pending: set[int] = set()
        self._driver: Driver | None = None
        self._old: dict[int, Any] = {}
        self._old_wakeup = -1
        self._wake = (-1, -1)

    def __enter__(self) -> Self:
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_wakeup = signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        handlers: dict[int, Any] = {
            signal.SIGINT: self._caught,
            signal.SIGQUIT: signal.SIG_DFL if self._on_quit is None else self._caught,
            signal.SIGTERM: signal.SIG_DFL if self._on_terminate is None else self._caught,
            signal.SIGPIPE: signal.SIG_DFL,
        }
        self._old = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._old_wakeup)
        for number, handler in self._old.items():
            # None: a handler that Python did not install can't be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if self._driver is not None:
            self._driver.unwatch(self._wake[0])
        for fileno in self._wake:
            os.close(fileno)

    def attach(self, driver: Driver) -> None:
        """Let signals wake and stop this driver."""
        self._driver = driver
        driver.watch(self._wake[0], self._dispatch, passive=True)
        if self.interrupted:
            driver.stop()

    def _caught(self, number: int, _: FrameType | None) -> None:
        """Runs between two bytecodes of anything: notes it and no more."""
        if number == signal.SIGINT:
            if self.interrupted:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)
            self.interrupted = True
            if self._driver is not None:
                self._driver.stop()
        else:
            self._pending.add(number)

    def _dispatch(self) -> None:
        """In the loop: the wake-up pipe has something."""
        try:
            while len(os.read(self._wake[0], _DRAIN)) == _DRAIN:
                pass
        except BlockingIOError:
            pass
        while self._pending:
            callback = self._on_quit if self._pending.pop() == signal.SIGQUIT else self._on_terminate
            if callback is not None:
                callback()
