"""Clients that talk to descriptors: stdin and stdout, or a command of their own (`--stdin`, `--exec`).

Nothing here waits: a reader is watched while the client has room, a writer by an epoll descriptor, which is readable
when the descriptor in it is writable.
"""

import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from errno import EPERM, EPIPE
from typing import Final

from pytools.cli.output import OutputError
from pytools.errors import LinkError
from pytools.probe.tcpserve_events import Endpoint
from pytools.probe.tcpserve_services import CHUNK, Relay
from pytools.run.driver import Driver
from pytools.wire.addr import format_ip

Touch = Callable[[int], object]
"""Tells the server that the client of this number has something new."""

PIPE_BUF: Final = 4096
"""A pipe that is writable takes so much without waiting (pipe(7))."""
GRACE_MS: Final = 500
_PR_SET_PDEATHSIG: Final = 1


class Pump:
    """Moves octets between one `Relay` and two descriptors."""

    def __init__(self, driver: Driver, number: int, reader: int, writer: int, touch: Touch) -> None:
        self._driver = driver
        self._number = number
        self._reader = reader
        self._writer = writer
        self._touch = touch
        self._epoll: select.epoll | None = None
        self._is_watching = False
        self._reader_ended = False
        self._writer_ended = False
        self.relay = Relay(self.on_change)
        self._watch_reader()

    def on_change(self) -> None:
        """The relay has input to take, or room again, or is over. The server calls it and goes on by itself."""
        if self.relay.ended:
            self._unwatch_reader()
        self._deliver()
        self._watch_reader()

    # From the descriptor to the client.

    def _watch_reader(self) -> None:
        wanted = not self._reader_ended and not self.relay.ended and self.relay.has_room
        if wanted and not self._is_watching:
            self._is_watching = True
            self._driver.watch(self._reader, self._read)
        elif not wanted:
            self._unwatch_reader()

    def _unwatch_reader(self) -> None:
        if self._is_watching:
            self._is_watching = False
            self._driver.unwatch(self._reader)

    def _read(self) -> None:
        try:
            data = os.read(self._reader, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.relay.supply(data)
        else:
            self._reader_ended = True
            self.relay.finish()
            self.on_reader_end()
        self._watch_reader()
        self._touch(self._number)

    def on_reader_end(self) -> None:
        """Nothing more comes from the descriptor."""

    # From the client to the descriptor.

    def _deliver(self) -> None:
        """Write what can be written without waiting."""
        relay = self.relay
        while (pending := relay.pending) and not self._writer_ended and self._is_writable():
            try:
                relay.take(os.write(self._writer, pending[:PIPE_BUF]))
            except BlockingIOError:
                break
            except OSError as error:
                self._on_write_error(error)
        if self._writer_ended:
            while relay.pending:
                relay.take(len(relay.pending))
        elif relay.input_ended and not relay.pending:
            self._writer_ended = True
            self.on_writer_end()
        self._watch_writer(bool(relay.pending))

    def _on_writable(self) -> None:
        """What was held up goes on, and the server is asked for more when all of it is gone."""
        self._deliver()
        if not self.relay.pending:
            self._touch(self._number)

    def _is_writable(self) -> bool:
        poll = select.poll()
        poll.register(self._writer, select.POLLOUT)
        return bool(poll.poll(0))

    def _on_write_error(self, error: OSError) -> None:
        if error.errno != EPIPE:
            raise error
        self._writer_ended = True

    def _watch_writer(self, wanted: bool) -> None:
        if wanted and self._epoll is None:
            epoll = select.epoll()
            try:
                epoll.register(self._writer, select.EPOLLOUT)
            except OSError as error:
                epoll.close()
                if error.errno != EPERM:  # a plain file is always writable
                    raise
                return
            self._epoll = epoll
            self._driver.watch(epoll.fileno(), self._on_writable)
        elif not wanted and self._epoll is not None:
            self._driver.unwatch(self._epoll.fileno())
            self._epoll.close()
            self._epoll = None

    def on_writer_end(self) -> None:
        """The client has said all it will say, and it is written."""

    def close(self) -> None:
        """Watch nothing any more."""
        self._unwatch_reader()
        self._watch_writer(False)


class Stdio(Pump):
    """The client that has our stdin and stdout."""

    def __init__(self, driver: Driver, number: int, touch: Touch) -> None:
        super().__init__(driver, number, 0, 1, touch)

    def _on_write_error(self, error: OSError) -> None:
        raise OutputError(error)


class Child(Pump):
    """A client that has a command of its own; the command ends with the connection, and with us."""

    def __init__(
        self, driver: Driver, number: int, command: str, ends: tuple[Endpoint, Endpoint], touch: Touch
    ) -> None:
        their_stdin, writer = os.pipe2(os.O_CLOEXEC)
        reader, their_stdout = os.pipe2(os.O_CLOEXEC)
        self.pid = _spawn(command, their_stdin, their_stdout, _environment(*ends))
        os.close(their_stdin)
        os.close(their_stdout)
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        self._is_over = False
        super().__init__(driver, number, reader, writer, touch)

    def on_writer_end(self) -> None:
        """See `Pump`: the command reads the end of its input."""
        self._watch_writer(False)
        os.close(self._writer)
        self._writer = -1

    def terminate(self) -> None:
        """Let the command and what it started end."""
        if not self._is_over:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGTERM)

    def close(self) -> None:
        """End it for good. May be called twice."""
        if self._is_over:
            return
        self.terminate()
        super().close()
        for fileno in (self._reader, self._writer):
            if fileno >= 0:
                os.close(fileno)
        self._reader = self._writer = -1
        self._reap()
        self._is_over = True

    def _reap(self) -> None:
        """It got SIGTERM; what does not heed it is killed."""
        ended = os.pidfd_open(self.pid)
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        if not poll.poll(GRACE_MS):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        os.close(ended)
        os.waitpid(self.pid, 0)


def _environment(local: Endpoint, peer: Endpoint) -> dict[str, str]:
    """Who talks to whom, by the names of UCSPI."""
    ours = {"TCPLOCALIP": format_ip(local[0]), "TCPLOCALPORT": str(local[1])}
    return {**os.environ, **ours, "TCPREMOTEIP": format_ip(peer[0]), "TCPREMOTEPORT": str(peer[1]), "PROTO": "TCP"}


def check_rights() -> None:
    """A command for strangers never runs with root's rights. LinkError."""
    from pytools.link import privilege

    if privilege.capabilities("Prm") or (os.geteuid() == 0 and not _in_user_namespace()):
        raise LinkError("--exec: root's rights could not be given up here, so no command is run for clients")


def _in_user_namespace() -> bool:
    """Root of a user namespace is an ordinary user outside."""
    with open("/proc/self/uid_map", encoding="ascii") as lines:
        return lines.read().split() != ["0", "0", "4294967295"]


def _spawn(command: str, stdin: int, stdout: int, environment: dict[str, str]) -> int:
    """Start a shell in a process group of its own that dies with us; returns its number."""
    import ctypes

    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()
    pid = os.fork()
    if pid:
        with suppress(OSError):
            os.setpgid(pid, pid)
        return pid
    try:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        os.setpgid(0, 0)
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        if os.getppid() == parent:
            os.execve("/bin/sh", ["sh", "-c", command], environment)
    finally:
        os._exit(127)
