"""The trace consumers of one run, and when they write.

    tracing = Tracing(stack.trace)
    tracing.add("stderr", TextRenderer(sys.stderr, 1, ports, start_at=start_at))
    tracing.add("out.pcapng", PcapngWriter(file, ports, start_at=start_at, epoch_ns=epoch_ns))
    driver = Driver(engine, links, tracing.before_waiting(waiter))
    ...
    tracing.close()

Consumers hold a line back until they know that nothing joins it (`assemble`); what is held goes out before the driver
waits, so that a trace is never behind.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from pytools.engine import Port
from pytools.errors import LinkError, PytoolsError
from pytools.trace.events import TraceEvent
from pytools.trace.hub import CATEGORIES, Trace
from pytools.units import Ns


class Consumer(Protocol):
    """What takes trace events: `TextRenderer`, `JsonTrace`, `PcapngWriter`."""

    @property
    def on_event(self) -> Callable[[TraceEvent], None]:
        """The listener; raises nothing."""

    def add_port(self, port: Port) -> None:
        """A port was opened later."""

    def flush(self) -> None:
        """Write what is held back; raises what went wrong since the last time."""

    def close(self) -> None:
        """Write the rest; raises as `flush`."""


class _Waiter(Protocol):
    """`run.waiters.Waiter`."""

    @property
    def ready(self) -> Collection[int]: ...

    def now(self) -> Ns: ...

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns: ...


class Tracing:
    """Holds the consumers of one `Trace`. One that fails is reported once, by name, and left out from then on."""

    __slots__ = ("_consumers", "_trace")

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._consumers: dict[str, Consumer] = {}

    def add(self, name: str, consumer: Consumer) -> None:
        """Send events to one more consumer; `name` (a file, "stderr") is what an error message says."""
        self._consumers[name] = consumer
        self._trace.subscribe(consumer.on_event, getattr(consumer, "categories", CATEGORIES))

    def add_port(self, port: Port) -> None:
        """Tell every consumer of a port. LinkError: one can't write any more."""
        self._each(lambda consumer: consumer.add_port(port))

    def flush(self) -> None:
        """Write what is held back. LinkError: one can't write any more."""
        for name, consumer in self._consumers.items():
            try:
                consumer.flush()
            except (OSError, ValueError, PytoolsError) as error:
                self._fail(name, error)

    def close(self) -> None:
        """Write the rest and close files; may be called twice. LinkError: one could not write."""
        try:
            self._each(lambda consumer: consumer.close())
        finally:
            self._consumers = {}

    def before_waiting(self, waiter: _Waiter) -> _Waiter:
        """The same waiter, which flushes before each wait; itself when there is nothing to flush."""
        return _FlushingWaiter(waiter, self.flush) if self._consumers else waiter

    def _each(self, do: Callable[[Consumer], None]) -> None:
        """Do it for all, whatever happens, then report the first failure."""
        failed: tuple[str, Exception] | None = None
        for name, consumer in self._consumers.items():
            try:
                do(consumer)
            except (OSError, ValueError, PytoolsError) as error:
                failed = failed or (name, error)
        if failed is not None:
            self._fail(*failed)

    def _fail(self, name: str, error: Exception) -> None:
        del self._consumers[name]
        if isinstance(error, PytoolsError):  # stdout's own, with its exit status
            raise error
        why = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise LinkError(f"cannot write the trace to {name}: {why}") from error


class _FlushingWaiter:
    """Flushes, then waits."""

    __slots__ = ("_flush", "_wait", "_waiter", "now")

    def __init__(self, waiter: _Waiter, flush: Callable[[], None]) -> None:
        self._waiter = waiter
        self._wait = waiter.wait
        self._flush = flush
        self.now = waiter.now

    @property
    def ready(self) -> Collection[int]:
        return self._waiter.ready

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        self._flush()
        return self._wait(until, readable, writable)
