"""What the engines of arping have in common: a Stack, one port of it, events in and out."""

from collections import deque
from errno import EACCES, ENETDOWN, ENODEV, ENXIO, EPERM
from typing import Final

from pytools.engine import EngineEvent, Port, RxMeta, Transmit
from pytools.probe.arping_events import ArpingEnded, ArpingSendFailed, ArpingSent
from pytools.probe.arping_wire import Seen, Station, from_arp, from_nd, target_text
from pytools.probe.statistics import Histogram, RttSum
from pytools.stack.events import ArpSeen, NdSeen
from pytools.stack.stack import Stack
from pytools.trace.events import ProbeAnswered, ProbeFailed, ProbeLost, ProbeSent
from pytools.units import NEVER, US, Ns
from pytools.wire.addr import solicited_node

_FINAL_ERRORS: Final = frozenset((ENETDOWN, ENODEV, ENXIO, EPERM, EACCES))
"""After these the next probe would fail too: "could not send" is no answer, neither "free" nor "nobody"."""


class Sending:
    """The token of a probe on its way to the link."""

    __slots__ = ("is_broadcast", "kind", "seq", "target")

    def __init__(self, target: bytes, seq: int, kind: str, is_broadcast: bool) -> None:
        self.target = target
        self.seq = seq
        self.kind = kind
        self.is_broadcast = is_broadcast


class ArpingBase:
    """An engine that asks for link addresses; subclasses fill in the methods at the end.

    It begins with the first `on_deadline`. `done`: nothing more will come; `failed_errno`: why the link refused one.
    """

    _tells_sent = True
    """Whether each probe sent becomes an event."""

    def __init__(self, stack: Stack, port: Port) -> None:
        self._stack = stack
        self._port = port
        self._events: deque[EngineEvent] = deque()
        self._begun = False
        self._next_at: Ns = 0
        self.done = False
        self.end_reason = ""
        self.rtts = RttSum()
        self.histogram = Histogram()
        self.failed_errno = 0
        self._is_cut_off = False
        self.sent_count = 0
        self.broadcast_count = 0
        self.received_count = 0
        self.broadcasts_received = 0
        self.requests_received = 0
        stack.watch(port.index)

    @property
    def could_not_send(self) -> bool:
        """The link refused: the question was not asked, or not to the end."""
        return self._is_cut_off or (self.failed_errno != 0 and not self.sent_count)

    def on_frame(self, frame: memoryview, now: Ns, meta: RxMeta) -> None:
        """See `Engine`. Our stack sees the frame first: it may have to answer it."""
        self._stack.on_frame(frame, now, meta)
        self._drain()

    def on_deadline(self, now: Ns) -> None:
        """See `Engine`."""
        self._stack.on_deadline(now)
        self._drain()
        if self.done or now < self._next_at:
            return
        if not self._begun:
            self._begun = True
            self._begin(now)
        else:
            self._on_due(now)

    def poll_transmit(self, now: Ns) -> Transmit | None:
        """See `Engine`."""
        return self._stack.poll_transmit(now)

    def on_transmitted(self, token: object, now: Ns, at: Ns | None, error: OSError | None) -> None:
        """See `Engine`."""
        if not isinstance(token, Sending):
            self._stack.on_transmitted(token, now, at, error)
        elif error is not None:
            self._on_refused(token, now, error)
        elif at is None:
            self.sent_count += 1
            self.broadcast_count += token.is_broadcast
            if self._tells_sent:
                self._events.append(ArpingSent(now, token.target, token.seq, token.kind, token.is_broadcast))
            self._on_sent(token, now)

    def poll_event(self) -> EngineEvent | None:
        """See `Engine`."""
        return self._events.popleft() if self._events else None

    def next_deadline(self) -> Ns:
        """See `Engine`."""
        return min(self._stack.next_deadline(), NEVER if self.done else self._next_at)

    def finish(self, now: Ns, reason: str = "interrupted") -> None:
        """Stop asking; the first reason counts."""
        if not self.done:
            self.done = True
            self.end_reason = reason
            self._events.append(ArpingEnded(now, reason))

    def _send(self, frame: bytes, sending: Sending, now: Ns) -> None:
        """Queue a ready frame; `_on_sent` follows when the link has taken it."""
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeSent(now, target_text(sending.target), sending.seq))
        if errno := self._stack.send_frame(self._port.index, (frame,), token=sending, now=now):
            self._on_refused(sending, now, OSError(errno, "the queue is full"))

    def _listen_for(self, target: bytes, us: Station) -> None:
        """Let through what neighbour discovery sends: questions about `target`, answers to an address we borrow."""
        if len(target) != 16:
            return
        self._stack.join(self._port.index, solicited_node(target))
        known = {own.address for own in self._stack.addresses(self._port.index)}
        if any(us.ip) and us.ip not in known:
            self._stack.add_address(self._port.index, us.ip, 128, shared=True)

    def _count(self, seen: Seen) -> None:
        self.received_count += 1
        self.broadcasts_received += seen.is_broadcast
        self.requests_received += seen.is_request

    def _measure(self, rtt_ns: Ns) -> None:
        self.rtts.add((rtt_ns + 500) // US)
        self.histogram.add(rtt_ns)

    def _trace_answer(self, now: Ns, target: bytes, seq: int, rtt_ns: Ns, kind: str = "") -> None:
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeAnswered(now, target_text(target), seq, rtt_ns, kind))

    def _trace_miss(self, now: Ns, target: bytes, seq: int, waited_ns: Ns) -> None:
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeLost(now, target_text(target), seq, waited_ns))

    def _on_refused(self, sending: Sending, now: Ns, error: OSError) -> None:
        errno = error.errno or 0
        is_final = errno in _FINAL_ERRORS
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeFailed(now, target_text(sending.target), sending.seq, error.strerror or "refused"))
        self._events.append(ArpingSendFailed(now, sending.target, errno, is_final))
        self.failed_errno = errno
        if is_final:
            self._is_cut_off = True
            self.finish(now, "error")

    def _drain(self) -> None:
        """Take what the stack has to say."""
        while (event := self._stack.poll_event()) is not None:
            if not self.done:
                self._on_stack_event(event)

    def _on_stack_event(self, event: EngineEvent) -> None:
        seen: Seen | None = None
        if isinstance(event, ArpSeen):
            seen = from_arp(event)
        elif isinstance(event, NdSeen):
            seen = from_nd(event)
        if seen is not None:
            self._on_seen(seen)

    @property
    def exit_status(self) -> int:
        """What the command ends with."""
        raise NotImplementedError

    def _begin(self, now: Ns) -> None:
        """The first `on_deadline`: send something and set `_next_at`."""
        raise NotImplementedError

    def _on_due(self, now: Ns) -> None:
        """`_next_at` has come: set it anew, or finish."""
        raise NotImplementedError

    def _on_seen(self, seen: Seen) -> None:
        """A packet about addresses came in."""

    def _on_sent(self, sending: Sending, now: Ns) -> None:
        """The link took a probe at `now`, the clock just before the system call."""
