"""The clocks: the real one sleeps until input or a deadline, the virtual one jumps, the paced one does both."""

import select
from collections.abc import Collection, Sequence
from time import monotonic_ns
from typing import Final, Protocol

from pytools.units import MS, NEVER, SECOND, Ns

LONGEST_NS: Final[Ns] = 3600 * SECOND
"""No single system call sleeps longer; the driver just waits again."""
MAX_LAG_NS: Final[Ns] = SECOND
FD_SETSIZE: Final = 1024

_POLLOUT: Final = select.POLLOUT


class Waiter(Protocol):
    """Where the driver gets the time from."""

    @property
    def ready(self) -> Collection[int]:
        """Descriptors that the last `wait` found readable."""

    def now(self) -> Ns:
        """The engine's clock."""

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        """Sleep until one of the descriptors is ready or `until` has come; returns the time then.

        May return early. Returns NEVER (and the time stands still) when `until` is NEVER and nothing can ever happen.
        """


class Poller:
    """Waits for descriptors: poll for whole milliseconds, select for the rest.

    A poll object that lives on costs 0.8 us a call where select takes 1.6, but counts milliseconds.
    """

    __slots__ = ("_poll", "_readable", "_writable")

    def __init__(self) -> None:
        self._poll = select.poll()
        self._readable: Sequence[int] = ()
        self._writable: Sequence[int] = ()

    def poll(self, readable: Sequence[int], writable: Sequence[int], timeout_ns: Ns) -> Sequence[int]:
        """The descriptors that are readable, at the latest after `timeout_ns` (NEVER: no end).

        A signal's handler runs and the wait goes on. An error or hang-up counts as readable: reading tells.
        """
        if readable is not self._readable or writable is not self._writable:
            self._register(readable, writable)
        if timeout_ns >= NEVER:
            found = self._poll.poll()
        else:
            found = self._poll.poll(timeout_ns // MS if timeout_ns > 0 else 0)
            if not found and timeout_ns > 0:
                found = self._wait_exactly(timeout_ns % MS)
        if len(found) == 1:
            return () if found[0][1] == _POLLOUT else (found[0][0],)
        return [fileno for fileno, events in found if events != _POLLOUT] if found else ()

    def _register(self, readable: Sequence[int], writable: Sequence[int]) -> None:
        """Make the poll object anew. The caller hands over the same sequence until something changes."""
        self._poll = select.poll()
        for fileno in {*readable, *writable}:
            self._poll.register(fileno, select.POLLIN * (fileno in readable) | select.POLLOUT * (fileno in writable))
        self._readable, self._writable = readable, writable

    def _wait_exactly(self, timeout_ns: Ns) -> list[tuple[int, int]]:
        """Less than a millisecond, to the microsecond; a descriptor from 1024 up rounds it up."""
        if max((*self._readable, *self._writable), default=0) >= FD_SETSIZE:
            return self._poll.poll(1)
        if any(select.select(self._readable, self._writable, (), timeout_ns / SECOND)):
            return self._poll.poll(0)
        return []


class RealWaiter(Poller):
    """The machine's monotonic clock and its descriptors."""

    __slots__ = ("ready",)

    now = staticmethod(monotonic_ns)

    def __init__(self) -> None:
        super().__init__()
        self.ready: Sequence[int] = ()

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        """See `Waiter`."""
        if until < NEVER:
            timeout_ns = min(until - monotonic_ns(), LONGEST_NS) if until else 0
        elif readable or writable:
            timeout_ns = NEVER
        else:
            return NEVER
        self.ready = self.poll(readable, writable, timeout_ns)
        return monotonic_ns()


class VirtualClock(Protocol):
    """What `sim.network.Network` offers."""

    arrived: int

    def now(self) -> Ns:
        """The virtual time."""

    def next_event_at(self) -> Ns:
        """When something happens next, or NEVER."""

    def wait(self, until: Ns, /) -> Ns:
        """Run what is due up to `until` or the first frame; NEVER: nothing can ever happen."""


class VirtualWaiter:
    """A virtual clock that stands still while input is pending on real descriptors."""

    __slots__ = ("_network", "_poller", "now", "ready")

    def __init__(self, network: VirtualClock) -> None:
        self._network = network
        self._poller = Poller()
        self.now = network.now
        self.ready: Sequence[int] = ()

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        """See `Waiter`. When only input can still happen it waits for that, and no time passes."""
        network = self._network
        self.ready = self._poller.poll(readable, (), 0) if readable else ()
        if self.ready:
            return network.now()
        now = network.wait(until)
        if now < NEVER or not readable:
            return now
        self.ready = self._poller.poll(readable, (), NEVER)
        return network.now()


class PacedWaiter:
    """A virtual clock that keeps step with the real one, `pace` virtual seconds a second.

    The virtual time stays exact: an event happens at its own virtual instant, only its wall time is approximate. After
    a gap of more than a second (the process was stopped) the pace starts anew instead of making up for it.
    """

    __slots__ = ("_network", "_origin", "_pace", "_real", "now", "ready")

    def __init__(self, network: VirtualClock, pace: float = 1.0, real: Waiter | None = None) -> None:
        self._network = network
        self._pace = pace
        self._real: Waiter = RealWaiter() if real is None else real
        self._origin = (self._real.now(), network.now())
        self.now = network.now
        self.ready: Collection[int] = ()

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        """See `Waiter`."""
        network = self._network
        while True:
            target = min(until, network.next_event_at())
            if target >= NEVER and not readable:
                return NEVER
            self.ready = self._sleep(target, readable)
            if self.ready:
                # Input first: time moves up to this moment, but not past an event that is due.
                virtual = self._virtual()
                return network.wait(virtual) if virtual < target else network.now()
            if target < NEVER:
                network.wait(target)
            if network.arrived or target >= until:
                return network.now()

    def _virtual(self) -> Ns:
        """The virtual time that belongs to this moment."""
        real_origin, virtual_origin = self._origin
        return virtual_origin + int((self._real.now() - real_origin) * self._pace)

    def _sleep(self, target: Ns, readable: Sequence[int]) -> Collection[int]:
        """Wait until virtual `target` is due or input comes; the descriptors with input."""
        if self._virtual() - max(target, self._network.now()) > MAX_LAG_NS * max(1.0, self._pace):
            self._origin = (self._real.now(), self._network.now())
        real = self._real
        real_origin, virtual_origin = self._origin
        due = NEVER if target >= NEVER else real_origin + int((target - virtual_origin) / self._pace)
        while True:
            real.wait(due, readable, ())
            if real.ready or (due < NEVER and real.now() >= due):
                return real.ready


def sim_waiter(network: VirtualClock, pace: float | None, *, interactive: bool) -> Waiter:
    """The clock for a simulated network.

    `pace` as in `sim.spec`: virtual seconds a second, 0 for as fast as possible, None for what fits: 1:1 when somebody
    watches or nothing ends the run by itself (`interactive`), else as fast as possible.
    """
    if pace is None:
        pace = 1.0 if interactive else 0.0
    return PacedWaiter(network, pace) if pace else VirtualWaiter(network)
