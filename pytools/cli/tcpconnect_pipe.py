"""Standard input to the peer, the peer to standard output, with backpressure both ways.

A descriptor that is not ready never holds up the loop: TCP goes on answering while nobody reads our output.
"""

import os
import select
from collections.abc import Callable
from errno import EAGAIN, EPERM
from typing import Final, Protocol

from pytools.cli.output import OutputError
from pytools.run.driver import Driver
from pytools.stack import sockets as so
from pytools.stack.sockets import StreamSocket
from pytools.units import Ns

_CHUNK: Final = 1 << 17
_PIPE_CHUNK: Final = 4096
"""A pipe that is writable at all takes so much without blocking (pipe(7), PIPE_BUF)."""


class Channel(Protocol):
    """A byte stream over the connection: the connection itself, or TLS on it. OSError EAGAIN: not now."""

    def send(self, data: bytes, now: Ns) -> int:
        """Take some octets."""

    def recv(self, size: int, now: Ns) -> bytes:
        """Give some octets, b"" at the end."""

    def shutdown(self, now: Ns) -> None:
        """No more will be sent."""


class PlainChannel:
    """The connection itself."""

    def __init__(self, stream: StreamSocket) -> None:
        self.send = stream.send
        self.recv = stream.recv
        self._stream = stream

    def shutdown(self, now: Ns) -> None:
        """See `Channel`."""
        try:
            self._stream.shutdown(so.SHUT_WR, now)
        except OSError:
            return  # it is over already


class Pipe:
    """Moves octets between descriptors 0 and 1 and a channel. `over`: both directions have ended, or `error` is set.

    `reads` False: nothing is sent, and our side closes when the peer does. `blocks`: writing may block (the clock is a
    virtual one, which has to stand still while nobody reads our output).
    """

    def __init__(
        self, channel: Channel, driver: Driver, clock: Callable[[], Ns], *, reads: bool = True, blocks: bool = False
    ) -> None:
        self._channel = channel
        self._driver = driver
        self._clock = clock
        self._reads = reads
        self._ends_with_peer = not reads or os.isatty(0)
        self._incoming = b""
        """From standard input, not taken by the channel yet."""
        self._outgoing = memoryview(b"")
        """From the channel, not written yet."""
        self._at_end = False
        self._is_shut = False
        self._peer_ended = False
        self._watches = False
        self._gate = None if blocks else _Gate.open(1)
        self._waits = False
        self.error = 0

    @property
    def over(self) -> bool:
        """Nothing is left to do; what came before an error has been written."""
        return not self._outgoing and (self.error != 0 or (self._peer_ended and self._is_shut))

    def start(self) -> None:
        """Begin to read standard input."""
        self._watch_input()
        self.turn()

    def turn(self) -> None:
        """The channel may take or give something."""
        now = self._clock()
        if not self.error:
            self._push(now)
        self._pull(now)

    def close(self) -> None:
        """Let go of the descriptors."""
        self._unwatch_input()
        if self._gate is not None:
            self._driver.unwatch(self._gate.fileno())
            self._gate.close()
            self._gate = None

    # --- standard input to the peer -----------------------------------------------------------------------------------

    def _watch_input(self) -> None:
        if self._reads and not self._watches and not self._at_end:
            self._watches = True
            self._driver.watch(0, self._on_input)

    def _unwatch_input(self) -> None:
        if self._watches:
            self._watches = False
            self._driver.unwatch(0)

    def _on_input(self) -> None:
        try:
            data = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""  # a descriptor that can't be read has nothing to say
        self._incoming = data
        self._at_end = not data
        self._push(self._clock())

    def _push(self, now: Ns) -> None:
        try:
            while self._incoming:
                taken = self._channel.send(self._incoming, now)
                self._incoming = self._incoming[taken:]
        except OSError as error:
            self._unwatch_input()
            if error.errno != EAGAIN:
                self._fail(error)
            return
        if not self._at_end:
            self._watch_input()
            return
        self._unwatch_input()
        if not self._is_shut:
            self._is_shut = True
            self._channel.shutdown(now)

    def _fail(self, error: OSError) -> None:
        self.error = self.error or error.errno or EPERM
        self._incoming = b""
        self._at_end = True
        self._unwatch_input()

    # --- the peer to standard output ----------------------------------------------------------------------------------

    def _pull(self, now: Ns) -> None:
        while self._write() and not self._peer_ended:
            try:
                data = self._channel.recv(_CHUNK, now)
            except OSError as error:
                if error.errno != EAGAIN:
                    self._peer_ended = True
                    self._fail(error)
                return
            self._outgoing = memoryview(data)
            if not data:
                self._peer_ended = True
                if self._ends_with_peer and not self.error:
                    self._at_end = True
                    self._push(now)

    def _write(self) -> bool:
        """Write what waits; False when standard output takes no more just now."""
        gate, size = self._gate, _PIPE_CHUNK if self._gate is not None else _CHUNK
        while self._outgoing:
            if gate is not None and not gate.is_open():
                self._await_output(gate)
                return False
            try:
                written = os.write(1, self._outgoing[:size])
            except BlockingIOError:
                if gate is not None:
                    self._await_output(gate)
                return False
            except OSError as error:
                raise OutputError(error) from error
            self._outgoing = self._outgoing[written:]
        return True

    def _await_output(self, gate: "_Gate") -> None:
        if not self._waits:
            self._waits = True
            self._driver.watch(gate.fileno(), self._on_writable)

    def _on_writable(self) -> None:
        gate = self._gate
        if gate is not None:
            self._waits = False
            self._driver.unwatch(gate.fileno())
        self._pull(self._clock())


class _Gate:
    """Tells when a descriptor is writable, by an epoll descriptor that is readable then."""

    def __init__(self, epoll: select.epoll, poll: "select.poll") -> None:
        self._epoll = epoll
        self._poll = poll
        self.fileno = epoll.fileno
        self.close = epoll.close

    @classmethod
    def open(cls, fileno: int) -> "_Gate | None":
        """None for a file, which is always writable."""
        epoll = select.epoll()
        try:
            epoll.register(fileno, select.EPOLLOUT)
        except OSError:
            epoll.close()
            return None
        poll = select.poll()
        poll.register(fileno, select.POLLOUT)
        return cls(epoll, poll)

    def is_open(self) -> bool:
        """Whether a write goes through now (or fails now)."""
        return bool(self._poll.poll(0))
