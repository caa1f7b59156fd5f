"""Scripts in children of their own: the kernel's namespaces end with them, and real time passes for many at once."""

import os
import pickle
import select
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

PARALLEL = 16
"""Children at a time: they mostly wait."""


class Child:
    """A forked child and the pipe by which it answers."""

    __slots__ = ("data", "key", "pid", "reader")

    def __init__(self, key: Any, task: Callable[[], Any]) -> None:
        self.key = key
        self.data = b""
        self.reader, writer = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            status = 1
            with suppress(BaseException):
                os.close(self.reader)
                _die_with_parent()
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # write() on a closed socket says EPIPE
                _write(writer, pickle.dumps(task()))
                status = 0
            os._exit(status)
        os.close(writer)

    def take(self) -> bool:
        """Read a piece of the answer; whether it is complete."""
        piece = os.read(self.reader, 65536)
        self.data += piece
        return not piece

    def finish(self) -> Any:
        """The answer, or None when the child died without one."""
        os.close(self.reader)
        os.waitpid(self.pid, 0)
        return pickle.loads(self.data) if self.data else None

    def kill(self) -> None:
        """Nobody wants the answer any more."""
        with suppress(OSError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(OSError):
            os.close(self.reader)
            os.waitpid(self.pid, 0)


def run(tasks: Iterable[tuple[Any, Callable[[], Any]]], parallel: int = PARALLEL) -> Iterator[tuple[Any, Any]]:
    """(key, answer) of each task as it ends; answers are pickled. What is left is killed if the caller stops."""
    waiting = iter(tasks)
    children: dict[int, Child] = {}
    try:
        while True:
            for key, task in waiting:
                child = Child(key, task)
                children[child.reader] = child
                if len(children) >= parallel:
                    break
            if not children:
                return
            for reader in select.select(list(children), [], [])[0]:
                if children[reader].take():
                    child = children.pop(reader)
                    yield child.key, child.finish()
    finally:
        for child in children.values():
            child.kill()


def _die_with_parent() -> None:
    """PR_SET_PDEATHSIG: a killed command leaves nobody behind."""
    import ctypes

    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


def _write(writer: int, data: bytes) -> None:
    while data:
        data = data[os.write(writer, data) :]
