"""Joins trace events to Lines: one a packet, or one a happening without a packet.

A received frame and everything until `Settled` is one line, marked `<`, or `x` if it was refused. A sent frame and what
was emitted since the last `Settled` is one line, marked `>`. Events without a frame are a line marked `!`.

A line is held back after its `Settled`, because a probe that owns a stack speaks last: it sees the answer only when
the stack is done with the frame. What it says of the outcome (`ProbeAnswered` with the round trip time, `ProbeFailed`)
joins the line if nothing came between; other outcomes are lines of their own. The simulated wire speaks after the stack
too: what it does to the frame just sent joins that line. So a line goes out with the next frame or line, or by
`flush()`, which is called before waiting.

Engines may share one `Trace`: their calls don't nest, so that what one call emits is never torn. To tell them apart,
give each its own `Trace`, `Assembler` and `label`, and one sink.
"""

from collections.abc import Callable
from typing import Final

from pytools.trace.events import (
    Dropped,
    FrameReceived,
    FrameSent,
    ProbeAnswered,
    ProbeFailed,
    ProbeLost,
    Settled,
    TraceEvent,
    WireCorrupted,
    WireDelayed,
    WireDuplicated,
    WireLost,
)
from pytools.units import Ns

RECEIVED: Final = "<"
SENT: Final = ">"
REFUSED: Final = "x"
HAPPENED: Final = "!"

_OUTCOMES: Final = frozenset((ProbeAnswered, ProbeFailed, ProbeLost))
"""What became of an earlier packet: never part of the line of the packet that is sent next."""
_WIRE: Final = frozenset((WireLost, WireDuplicated, WireDelayed, WireCorrupted))
"""What the simulated wire did, said after the engine's call that sent the frame is over."""


class Line:
    """One packet with what was said of it, or events without a packet (`frame_event` is None then).

    `now` is the time to show: the link's receive stamp where there is one, else the engine's. `events` are in the order
    in which they were emitted and hold neither the frame event nor `Settled`.
    """

    __slots__ = ("events", "frame_event", "label", "mark", "now")

    def __init__(
        self,
        now: Ns,
        mark: str,
        frame_event: FrameReceived | FrameSent | None,
        events: list[TraceEvent],
        label: str = "",
    ) -> None:
        self.now = now
        self.mark = mark
        self.frame_event = frame_event
        self.events = events
        self.label = label

    @property
    def frame(self) -> bytes | None:
        """The octets of the packet, None without one."""
        event = self.frame_event
        if event is None:
            return None
        if isinstance(event, FrameReceived):
            return event.frame
        parts = event.parts
        return parts[0] if len(parts) == 1 else b"".join(parts)


class Assembler:
    """Takes trace events by `on_event`, gives Lines to `sink`."""

    __slots__ = ("_events", "_frame_event", "_held", "_label", "_sink")

    def __init__(self, sink: Callable[[Line], None], label: str = "") -> None:
        self._sink = sink
        self._label = label
        self._events: list[TraceEvent] = []
        self._frame_event: FrameReceived | FrameSent | None = None
        self._held: Line | None = None

    def on_event(self, event: TraceEvent) -> None:
        """Take the next event; a listener for `Trace.subscribe`."""
        kind = type(event)
        if kind is Settled:
            self._close()
        elif kind is FrameReceived:
            self._close()  # what was pending belongs to no frame that came in later
            self._release()
            self._frame_event = event  # type: ignore[assignment]
        elif kind is FrameSent:
            if self._frame_event is not None:
                self._close()
            self._release()
            self._frame_event = event  # type: ignore[assignment]
        elif kind in _OUTCOMES and self._frame_event is None:
            self._on_outcome(event)
        elif kind in _WIRE:
            self._on_wire(event)
        else:
            self._events.append(event)

    def flush(self) -> None:
        """Give out what is held back; call before waiting and at the end."""
        self._close()
        self._release()

    def _on_outcome(self, event: TraceEvent) -> None:
        held = self._held
        if held is not None and _learnt_from(held, event):
            held.events.append(event)
        else:
            self._alone(event)

    def _on_wire(self, event: TraceEvent) -> None:
        held = self._held
        if held is not None and held.mark == SENT and held.frame == event.frame:  # type: ignore[attr-defined]
            held.events.append(event)
        else:
            self._alone(event)

    def _alone(self, event: TraceEvent) -> None:
        """An event that is a line of its own, ahead of what is being collected."""
        self._release()
        self._sink(Line(event.now, HAPPENED, None, [event], self._label))

    def _close(self) -> None:
        """End the line that is being collected and hold it back; the one held before goes out."""
        frame_event, events = self._frame_event, self._events
        if frame_event is None and not events:
            return
        self._release()
        self._held = _line(frame_event, events, self._label)
        self._frame_event = None
        self._events = []

    def _release(self) -> None:
        if (held := self._held) is not None:
            self._held = None
            self._sink(held)


def _learnt_from(held: Line, outcome: TraceEvent) -> bool:
    """Whether an outcome came out of the call that settled `held`: the same `now`, and a line that can tell it."""
    if type(outcome) is ProbeLost or held.mark == SENT:
        return False
    if held.frame_event is not None:
        return held.frame_event.now == outcome.now
    return type(outcome) is ProbeFailed and held.events[0].now == outcome.now


def _line(frame_event: FrameReceived | FrameSent | None, events: list[TraceEvent], label: str) -> Line:
    if frame_event is None:
        return Line(events[0].now, HAPPENED, None, events, label)
    if isinstance(frame_event, FrameSent):
        return Line(frame_event.now, SENT, frame_event, events, label)
    mark = REFUSED if any(type(event) is Dropped for event in events) else RECEIVED
    now = frame_event.now if frame_event.at is None else frame_event.at
    return Line(now, mark, frame_event, events, label)
