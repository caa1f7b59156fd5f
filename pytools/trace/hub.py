"""The hub: one slot per category, None when nobody listens.

    if (emit := self._trace.timer) is not None:
        emit(TimerFired(now, "arp"))

so a trace that is off costs one attribute load and one `is not None`.
"""

from collections.abc import Callable
from typing import Any

Emit = Callable[[Any], None]

CATEGORIES = (
    "frame",
    "drop",
    "neighbor",
    "ip",
    "icmp",
    "timer",
    "probe",
    "segment",
    "state",
    "recovery",
    "wire",
    "settle",
)
"""frame: every frame in and out | drop: refused input, with its reason | neighbor: ARP, ND, address states |
ip: routes, path MTU, reassembly | icmp: echo and errors | timer: deadlines set, fired, stopped | probe: what a probe
did and measured | segment, state, recovery: TCP | wire: what the simulated wire did to a
frame, between engine calls: no settle follows | settle: the end of one engine call; renderers join what came before."""


class Trace:
    """Where engines leave their trace events. Attributes are the categories."""

    __slots__ = CATEGORIES

    frame: Emit | None
    drop: Emit | None
    neighbor: Emit | None
    ip: Emit | None
    icmp: Emit | None
    timer: Emit | None
    probe: Emit | None
    segment: Emit | None
    state: Emit | None
    recovery: Emit | None
    wire: Emit | None
    settle: Emit | None

    def __init__(self) -> None:
        for category in CATEGORIES:
            setattr(self, category, None)

    def subscribe(self, listener: Emit, categories: tuple[str, ...] = CATEGORIES) -> None:
        """Send the events of `categories` to `listener` too, in the order of subscription."""
        for category in categories:
            present = getattr(self, category)
            setattr(self, category, listener if present is None else _both(present, listener))


def _both(first: Emit, second: Emit) -> Emit:
    def emit(event: Any) -> None:
        first(event)
        second(event)

    return emit
