"""Reverse names, looked up in threads so that no packet waits for a name server."""

import os
import socket
from collections import deque
from collections.abc import Callable
from threading import Condition, Thread
from time import monotonic

from pytools.wire.addr import format_ip

PATIENCE_S = 5.0
"""So long a line waits for its name; then it is printed without."""
_THREADS = 8
_LIMIT = 4096
"""Names that are remembered; the oldest go."""

LookUp = Callable[[bytes], str]


class ReverseNames:
    """`render.ping_text.Names` by the system's resolver.

    `fileno()` becomes readable when a name has come; then call `drain`. Nothing is started before the first question.
    """

    def __init__(self, look_up: LookUp | None = None, zone: str = "") -> None:
        self._look_up = look_up or self._ask_system
        self._zone = zone
        self._names: dict[bytes, str] = {}
        self._asked_at: dict[bytes, float] = {}
        self._questions: deque[bytes] = deque()
        self._changed = Condition()
        self._threads = 0
        self._idle = 0
        self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def name(self, address: bytes) -> str | None:
        """The name of an address, "" if it has none (or none came in time), None if the answer is still to come."""
        if (name := self._names.get(address)) is not None:
            return name
        if (asked_at := self._asked_at.get(address)) is not None:
            return "" if monotonic() - asked_at > PATIENCE_S else None
        self._ask(address)
        return None

    def fileno(self) -> int:
        """What the loop watches."""
        return self._wake[0]

    def drain(self) -> None:
        """Take what woke the loop."""
        try:
            while len(os.read(self._wake[0], 64)) == 64:
                pass
        except BlockingIOError:
            pass

    def wait(self, seconds: float) -> None:
        """Block until a name has come, for so long at most."""
        with self._changed:
            if len(self._asked_at) > 0:
                self._changed.wait(seconds)

    def _ask(self, address: bytes) -> None:
        with self._changed:
            self._asked_at[address] = monotonic()
            self._questions.append(address)
            if not self._idle and self._threads < _THREADS:
                self._threads += 1
                Thread(target=self._serve, daemon=True).start()
            self._changed.notify_all()

    def _serve(self) -> None:
        """A thread's life: one question after the other. It dies with the process."""
        while True:
            with self._changed:
                self._idle += 1
                while not self._questions:
                    self._changed.wait()
                self._idle -= 1
                address = self._questions.popleft()
            name = self._look_up(address)
            with self._changed:
                while len(self._names) >= _LIMIT:
                    del self._names[next(iter(self._names))]
                self._names[address] = name
                self._asked_at.pop(address, None)
                self._changed.notify_all()
            try:
                os.write(self._wake[1], b"\0")
            except BlockingIOError:
                continue  # the pipe is full of reasons to wake up

    def _ask_system(self, address: bytes) -> str:
        numeric = format_ip(address)
        if len(address) == 16 and self._zone and address[0] == 0xFE:
            numeric += f"%{self._zone}"
        try:
            return socket.getnameinfo((numeric, 0), socket.NI_NAMEREQD)[0]
        except OSError:
            return ""
