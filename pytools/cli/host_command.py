"""The command that `pytools host` runs on the kernel's side of its wire, for as long as it is up."""

import os
import sys
from contextlib import suppress
from pathlib import Path as FilePath

from pytools.errors import LinkError

_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CAPABILITY_VERSION_3 = 0x20080522


class Command:
    """A command that waits to be started. The process that holds it keeps the rights we have now (`host_child`)."""

    def __init__(self, words: list[str], *, output_to_stderr: bool) -> None:
        gate, self._gate = os.pipe()
        os.set_inheritable(gate, True)
        script = FilePath(__file__).with_name("host_child.py")
        argv = [sys.executable, "-I", "-S", str(script), str(gate), *words]
        actions = [(os.POSIX_SPAWN_DUP2, 2, 1)] if output_to_stderr else []
        try:
            self._pid = os.posix_spawn(sys.executable, argv, os.environ, file_actions=actions)
        except OSError as error:
            raise LinkError(f"{sys.executable}: {error.strerror}", error.errno or 0) from error
        finally:
            os.close(gate)
        self.fileno = os.pidfd_open(self._pid)
        """Readable when the command has ended."""
        self._started = False
        self.status: int | None = None
        """What it ended with."""

    def start(self) -> None:
        """Let it run; later calls do nothing."""
        if not self._started:
            self._started = True
            with suppress(BrokenPipeError):
                os.write(self._gate, b"1")

    def reap(self) -> None:
        """It has ended: read its status."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def close(self) -> None:
        """End it if it still runs. May be called twice."""
        if self._gate >= 0:
            os.close(self._gate)
            self._gate = -1
            self.reap()
            os.close(self.fileno)


def lend_capabilities() -> None:
    """Let programs that we start inherit the capabilities of our user namespace, also when we are not root in it.

    Without it exec() takes them from anybody but uid 0 (capabilities(7)); giving up privileges clears them again.
    """
    import ctypes
    import struct

    from pytools.link.privilege import capabilities

    permitted = capabilities("Prm")
    libc = ctypes.CDLL(None, use_errno=True)
    low, high = permitted & 0xFFFF_FFFF, permitted >> 32
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    data = ctypes.create_string_buffer(struct.pack("=6I", low, low, low, high, high, high))
    if libc.capset(header, data) != 0:
        return  # the command then has what its own file gives it
    for number in range(permitted.bit_length()):
        if permitted >> number & 1:
            libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, number, 0, 0)
