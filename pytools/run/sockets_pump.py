"""What turns a driver for blocking sockets: the thread that calls, or one thread in the background.

As long as one thread uses a host, its blocking calls run the driver themselves, since a hand-off between threads costs
more than a packet. When a second thread comes, or a descriptor is asked for, one background thread takes over for good.
Over a simulated network the virtual clock jumps while one thread calls; from the switch on it keeps step with the real
one, because nobody can know what the other threads are about to do.
"""

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Collection, Sequence
from errno import EDEADLK, ENETDOWN
from threading import get_ident
from typing import Final, Protocol

from pytools.engine import Engine, EngineEvent
from pytools.errors import LinkError
from pytools.link.base import Link
from pytools.run.driver import Driver
from pytools.run.waiters import PacedWaiter, RealWaiter, VirtualClock, VirtualWaiter, Waiter
from pytools.units import NEVER, SECOND, Ns

TURNS_AT_ONCE: Final = 16
"""Turns at one virtual instant that a call takes at most to see what has arrived."""


class Watched(Protocol):
    """A descriptor that shows whether a socket is readable and writable."""

    def update(self) -> None:
        """The socket may have changed."""


class UnlockingWaiter(RealWaiter):
    """The real clock; others may hold the lock while it sleeps."""

    __slots__ = ("_lock", "until")

    def __init__(self, lock: threading.RLock) -> None:  # type: ignore[valid-type,unused-ignore]
        super().__init__()
        self._lock = lock
        self.until: Ns = 0
        """What it sleeps until; 0 while it is awake."""

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        """See `waiters.Waiter`."""
        if not until:
            return super().wait(until, readable, writable)
        self.until = until
        self._lock.release()  # type: ignore[attr-defined,unused-ignore]
        try:
            return super().wait(until, readable, writable)
        finally:
            self._lock.acquire()  # type: ignore[attr-defined,unused-ignore]
            self.until = 0


class SwitchingWaiter:
    """The virtual clock: first it jumps, after `keep_pace` it goes with the real one."""

    __slots__ = ("_network", "_real", "_waiter", "now")

    def __init__(self, network: VirtualClock, real: UnlockingWaiter) -> None:
        self._network = network
        self._real = real
        self._waiter: Waiter = VirtualWaiter(network)
        self.now = network.now

    @property
    def ready(self) -> Collection[int]:
        """See `waiters.Waiter`."""
        return self._waiter.ready

    def keep_pace(self) -> None:
        """One virtual second a second from now on."""
        self._waiter = PacedWaiter(self._network, 1.0, self._real)

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        """See `waiters.Waiter`."""
        return self._waiter.wait(until, readable, writable)


class Alarm:
    """A descriptor that ends the sleep of whoever waits for packets."""

    __slots__ = ("_ends",)

    def __init__(self) -> None:
        self._ends = socket.socketpair()
        for end in self._ends:
            end.setblocking(False)

    def fileno(self) -> int:
        """Readable after `ring`."""
        return self._ends[0].fileno()

    def ring(self) -> None:
        """Wake the sleeper."""
        with contextlib.suppress(OSError):  # full: it rings already
            self._ends[1].send(b"!")

    def quiet(self) -> None:
        """It has been heard."""
        try:
            while self._ends[0].recv(4096):
                pass
        except OSError:
            pass

    def close(self) -> None:
        """Give the descriptors back."""
        for end in self._ends:
            end.close()


class Pump:
    """One driver, one lock. `now` is the clock of everything behind it.

    Calls of the engine are made with `lock` held and begin with `enter`; afterwards `settle` lets leave what they
    caused. A call that has to wait calls `rest` again and again.
    """

    def __init__(
        self,
        engine: Engine,
        links: Sequence[Link],
        network: VirtualClock | None = None,
        on_event: Callable[[EngineEvent], object] | None = None,
    ) -> None:
        self.lock = threading.RLock()
        self.virtual = network is not None
        self.network = network
        self.has_stations = False
        """Sockets of hosts that live in the network wait here too."""
        self.watched: dict[int, Watched] = {}
        """Descriptors that were given out, by number."""
        self._real = UnlockingWaiter(self.lock)
        self._paced = SwitchingWaiter(network, self._real) if network is not None else None
        self.driver = Driver(engine, links, self._paced or self._real, on_event)
        self.now: Callable[[], Ns] = (self._paced or self._real).now
        self._changed = threading.Condition(self.lock)
        self._switching = threading.Lock()
        self._alarm = Alarm()
        self._owner = 0
        self._threaded = False
        self._turning = False
        self._thread: threading.Thread | None = None
        self._deadlines: list[Ns] = []
        """Of the calls that wait while the background thread turns."""
        self._failure: Exception | None = None
        self._closed = False
        if not self.virtual:
            # The thread that sleeps in the first place must hear of a second one.
            self.driver.watch(self._alarm.fileno(), self._alarm.quiet, passive=True)

    # -- one thread, or several ----------------------------------------------------------------------------------------

    def enter(self) -> None:
        """Take the lock. From a second thread: let the background thread take over first."""
        if not self._threaded and self._owner != get_ident():
            self._claim()
        self.lock.acquire()
        if self._failure is not None:
            self.lock.release()
            raise self._failure

    def leave(self) -> None:
        """Give the lock back."""
        self.lock.release()

    def _claim(self) -> None:
        with self._switching:
            if not self._owner:
                self._owner = get_ident()
            elif not self._threaded and self._owner != get_ident():
                self._go_threaded()

    def use_thread(self) -> None:
        """Switch to the background thread, unless it runs already."""
        with self._switching:
            if not self._threaded and not self._closed:
                self._go_threaded()

    def _go_threaded(self) -> None:
        self._threaded = True
        self._alarm.ring()
        with self.lock:
            if self._paced is not None:
                self._paced.keep_pace()
            self.driver.watch(self._alarm.fileno(), self._alarm.quiet)
            self._thread = threading.Thread(target=self._serve, name="pytools-pump", daemon=True)
            self._thread.start()

    def _serve(self) -> None:
        """The background thread: it alone turns the driver and tells the time."""
        with self.lock:
            while self._turning:
                self._changed.wait()
            while not self._closed:
                try:
                    self.driver.step(self._bounded(min(self._deadlines, default=NEVER)))
                except Exception as error:  # whoever waits must hear of it
                    self._failure = _as_os_error(error) if isinstance(error, LinkError) else error
                    break
                self._publish()
            self._changed.notify_all()

    def _publish(self) -> None:
        for descriptor in tuple(self.watched.values()):
            descriptor.update()
        self._changed.notify_all()

    # -- turning -------------------------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let leave what the engine was asked for. With the lock held. OSError: a link is gone."""
        try:
            self.driver.flush()
        except LinkError as error:
            raise _as_os_error(error) from error
        if self._threaded:
            self._publish()
            if self._sleeps_too_long():
                self._alarm.ring()

    def _sleeps_too_long(self) -> bool:
        if self.virtual:
            return True
        return self._real.until > min(self.driver.next_wake(), min(self._deadlines, default=NEVER))

    def rest(self, deadline: Ns) -> bool:
        """Let something happen; False when `deadline` has come. With the lock held once.

        OSError EDEADLK: over a simulated network nothing can ever happen again, so this call would never return.
        """
        if self.now() >= deadline:
            return False
        if self._threaded:
            self._wait_for_change(deadline)
        elif not self.turn(deadline):
            self._wait_for_threads()
        return True

    def _wait_for_threads(self) -> None:
        """Nothing can happen by itself; another thread of the program may still do something."""
        if threading.active_count() == 1:
            raise OSError(EDEADLK, "nothing can ever happen in the simulated network, the call would wait for ever")
        self.lock.release()
        try:
            self.use_thread()
        finally:
            self.lock.acquire()

    def turn(self, until: Ns) -> bool:
        """One turn of the driver by the calling thread; False when nothing can ever happen."""
        self._turning = True
        try:
            return self.driver.step(self._bounded(until))
        except LinkError as error:
            raise _as_os_error(error) from error
        finally:
            self._turning = False
            if self._threaded:
                self._changed.notify_all()

    def _bounded(self, until: Ns) -> Ns:
        """With stations in the simulated network one event at a time: a call may wait for what happens to them."""
        if self.has_stations and self.network is not None:
            return min(until, self.network.next_event_at())
        return until

    def _wait_for_change(self, deadline: Ns) -> None:
        self._deadlines.append(deadline)
        if self._sleeps_too_long():
            self._alarm.ring()
        try:
            self._changed.wait()
        finally:
            self._deadlines.remove(deadline)
        if self._failure is not None:
            raise self._failure

    def look(self) -> None:
        """Take in what has arrived, without waiting: no call sees an older state. With the lock held."""
        if self._threaded:
            return
        if self.network is None:
            self.turn(0)
            return
        now = self.now()
        for _ in range(TURNS_AT_ONCE):
            self.turn(now)
            if self.network.next_event_at() > now:
                break

    def deadline(self, timeout: float | None) -> Ns:
        """When a call with this time limit ends."""
        return NEVER if timeout is None else self.now() + max(0, round(timeout * SECOND))

    # -- the end -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Stop the background thread. Links are the caller's."""
        with self._switching, self.lock:
            if self._closed:
                return
            self._closed = True
            self._alarm.ring()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self.driver.unwatch(self._alarm.fileno())
        self._alarm.close()


class Readiness:
    """A descriptor for select, poll and epoll: one end of a pair that is kept as readable and writable as the socket.

    `poll` gives the socket's state as poll(2) bits. The number must not be read, written or closed by others.
    """

    __slots__ = ("_end", "_full", "_inner", "_poll", "_readable", "_wanted")

    def __init__(self, poll: Callable[[], int]) -> None:
        self._poll = poll
        self._inner, self._end = socket.socketpair()
        for end in (self._inner, self._end):
            end.setblocking(False)
        # A few octets fill it, so that "not writable" is cheap.
        self._end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 0)
        self._readable = False
        self._full = False
        self.update()

    def fileno(self) -> int:
        """The descriptor."""
        return self._end.fileno()

    def update(self) -> None:
        """Follow the socket's state."""
        bits = self._poll()
        readable, full = bool(bits & (_POLLIN | _POLLHUP | _POLLERR)), not bits & (_POLLOUT | _POLLERR)
        if readable != self._readable:
            self._readable = readable
            if readable:
                self._inner.send(b"r")
            else:
                _drain(self._end)
        if full != self._full:
            self._full = full
            if full:
                _fill(self._end)
            else:
                _drain(self._inner)

    def close(self) -> None:
        """Give both descriptors back."""
        self._inner.close()
        self._end.close()


_POLLIN, _POLLOUT, _POLLERR, _POLLHUP = 1, 4, 8, 16


def _as_os_error(error: LinkError) -> OSError:
    """A link is gone: programs expect that of sockets as an OSError."""
    return OSError(error.errno or ENETDOWN, str(error))


def _drain(end: socket.socket) -> None:
    try:
        while end.recv(65536):
            pass
    except BlockingIOError:
        pass


def _fill(end: socket.socket) -> None:
    try:
        while end.send(bytes(1024)):
            pass
    except BlockingIOError:
        pass


def worded(error: OSError) -> OSError:
    """The same error with the system's words, as CPython's sockets raise it."""
    number = error.errno or 0
    return OSError(number, os.strerror(number)) if number else error
