"""One direction of an impaired wire: when each frame arrives, how often, and in what state.

Sans-IO like the rest: `transit(frame, now)` says what becomes of a frame, and the caller (the simulated network, or a
bridge between two real ports) delivers it at that time. The order is that of a real path: the sender's queue and rate,
then the way, where a frame can be lost, doubled, damaged or held up; so a lost frame has used its share of the rate.
"""

from collections import deque
from collections.abc import Sequence
from random import Random

from pytools.sim.damage import flip_bit
from pytools.sim.impairment import Impairment
from pytools.trace.events import WireCorrupted, WireDelayed, WireDuplicated, WireLost
from pytools.trace.hub import Trace
from pytools.units import SECOND, Ns

Arrivals = Sequence[tuple[Ns, bytes]]


class WireCounters:
    """Everything one direction did. `lost` counts losses of every kind but the queue's."""

    __slots__ = ("corrupted", "delivered", "duplicated", "lost", "octets", "overflowed", "reordered", "sent")

    def __init__(self) -> None:
        self.sent = self.octets = self.delivered = self.lost = 0
        self.overflowed = self.duplicated = self.reordered = self.corrupted = 0


class Wire:
    """One direction; `direction` ("out", "in") and `trace` are for the events it leaves in category `wire`."""

    __slots__ = (
        "_backlog_octets",
        "_bad",
        "_delayed",
        "_free_at",
        "_impairment",
        "_last_at",
        "_lossy",
        "_origin",
        "_queue",
        "_random",
        "_trace",
        "counters",
        "direction",
    )

    def __init__(
        self,
        impairment: Impairment,
        random: Random,
        direction: str = "",
        trace: Trace | None = None,
        origin: Ns = 0,
    ) -> None:
        self.direction = direction
        self.counters = WireCounters()
        self._impairment = impairment
        self._random = random
        self._trace = trace
        self._origin = origin
        """When the wire was made: blackouts count from here."""
        self._free_at: Ns = 0
        """When the last frame in the queue has left it."""
        self._queue: deque[tuple[Ns, int]] = deque()
        self._backlog_octets = 0
        self._last_at: Ns = 0
        """Latest arrival so far of a frame that keeps its place."""
        self._bad = False
        i = impairment
        self._lossy = bool(i.loss or i.bursts or i.drops or i.drop_every or i.blackouts)
        self._delayed = bool(i.duplicate or i.reorder or i.corrupt)

    def transit(self, frame: bytes, now: Ns) -> Arrivals:
        """What becomes of a frame sent at `now`: (time of arrival, frame), empty when it is lost."""
        counters = self.counters
        counters.sent = number = counters.sent + 1
        counters.octets += len(frame)
        impairment = self._impairment
        leaves_at = now
        if impairment.rate_bps:
            leaves_at = self._enqueue(len(frame), now)
            if leaves_at < 0:
                counters.overflowed += 1
                return self._lose(number, frame, now, "queue full")
        if self._lossy and (why := self._loss(number, leaves_at)):
            counters.lost += 1
            return self._lose(number, frame, now, why)
        if self._delayed:
            return self._treat(number, frame, now, leaves_at)
        counters.delivered += 1
        return ((self._arrival(leaves_at), frame),)

    def _arrival(self, leaves_at: Ns) -> Ns:
        """Propagation with jitter; keeps the order."""
        impairment = self._impairment
        at = leaves_at + impairment.delay_ns
        if impairment.jitter_ns:
            at += int((2.0 * self._random.random() - 1.0) * impairment.jitter_ns)
            at = max(at, leaves_at)
        if at < self._last_at:
            return self._last_at
        self._last_at = at
        return at

    def _enqueue(self, octets: int, now: Ns) -> Ns:
        """When the frame has left the queue at the wire's rate, or -1 when the queue has no room."""
        queue = self._queue
        while queue and queue[0][0] <= now:
            self._backlog_octets -= queue.popleft()[1]
        impairment = self._impairment
        if impairment.queue_bytes:
            if self._backlog_octets + octets > impairment.queue_bytes:
                return -1
        elif len(queue) >= impairment.queue_packets:
            return -1
        start = max(now, self._free_at)
        # Rounded up: the wire is never faster than its rate.
        self._free_at = start + -(-octets * 8 * SECOND // impairment.rate_bps)
        queue.append((self._free_at, octets))
        self._backlog_octets += octets
        return self._free_at

    def _loss(self, number: int, at: Ns) -> str:
        """Why this frame is lost on the way, or ""."""
        impairment = self._impairment
        if impairment.blackouts:
            since = at - self._origin
            if any(start <= since < end for start, end in impairment.blackouts):
                return "blackout"
        if number in impairment.drops:
            return "listed"
        if impairment.drop_every and number % impairment.drop_every == 0:
            return "periodic"
        if impairment.bursts is not None and self._burst_loss():
            return "burst"
        return "random" if self._random.random() < impairment.loss else ""

    def _burst_loss(self) -> bool:
        """One step of the Gilbert-Elliott chain: change the state, then lose by the new one."""
        bursts, draw = self._impairment.bursts, self._random.random
        assert bursts is not None
        if draw() < (bursts.to_good if self._bad else bursts.to_bad):
            self._bad = not self._bad
        return draw() < (bursts.loss_bad if self._bad else bursts.loss_good)

    def _treat(self, number: int, frame: bytes, now: Ns, leaves_at: Ns) -> Arrivals:
        """Duplication, corruption and reordering of a frame that is not lost."""
        impairment, draw = self._impairment, self._random.random
        twice = draw() < impairment.duplicate
        arrivals = [self._place(number, self._damage(number, frame, now), now, leaves_at)]
        if twice:
            self.counters.duplicated += 1
            self._say(WireDuplicated, now, number, frame)
            arrivals.append(self._place(number, frame, now, leaves_at))
        self.counters.delivered += len(arrivals)
        return arrivals

    def _place(self, number: int, frame: bytes, now: Ns, leaves_at: Ns) -> tuple[Ns, bytes]:
        impairment = self._impairment
        if self._random.random() >= impairment.reorder:
            return (self._arrival(leaves_at), frame)
        self.counters.reordered += 1
        self._say(WireDelayed, now, number, frame, impairment.reorder_ns)
        return (leaves_at + impairment.delay_ns + impairment.reorder_ns, frame)

    def _damage(self, number: int, frame: bytes, now: Ns) -> bytes:
        impairment = self._impairment
        if self._random.random() >= impairment.corrupt:
            return frame
        damaged, octet, bit = flip_bit(frame, impairment.corrupt_where, self._random)
        if octet:
            self.counters.corrupted += 1
            self._say(WireCorrupted, now, number, frame, octet, bit)
        return damaged

    def _lose(self, number: int, frame: bytes, now: Ns, why: str) -> Arrivals:
        self._say(WireLost, now, number, frame, why)
        return ()

    def _say(self, event: type, now: Ns, number: int, frame: bytes, *details: object) -> None:
        if self._trace is not None and (emit := self._trace.wire) is not None:
            emit(event(now, self.direction, number, frame, *details))
