"""Deadlines of many things in one lazy heap.

A thing that can come due carries two ints: `due_at` (NEVER when it is not armed) and `queued_at` (where its earliest
heap entry stands, NEVER when it has none). Arming for later only writes `due_at`; the entry is pushed again when it
surfaces. So a deadline that moves back at every packet costs a store.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any, Final, Protocol

from pytools.units import NEVER, Ns


class Due(Protocol):
    """Anything with a deadline."""

    due_at: Ns
    queued_at: Ns


Handler = Callable[[Any, Ns], None]
"""Takes (thing, now); called after the thing was disarmed."""

_COMPACT_AT: Final = 64
"""Heaps shorter than this are never swept."""


class Deadlines:
    """A heap of (at, number, thing, handler); the number keeps the order of arming among equals."""

    __slots__ = ("_armed_count", "_heap", "_number")

    def __init__(self) -> None:
        self._heap: list[tuple[Ns, int, Any, Handler]] = []
        self._number = 0
        self._armed_count = 0

    def __len__(self) -> int:
        return self._armed_count

    def arm(self, thing: Due, at: Ns, handler: Handler) -> None:
        """Call `handler(thing, now)` once `at` has come; replaces the thing's former deadline.

        A thing has the same handler for all its life: the heap's entry keeps the first.
        """
        if thing.due_at == NEVER:
            self._armed_count += 1
        thing.due_at = at
        if at < thing.queued_at:
            self._push(thing, at, handler)

    def disarm(self, thing: Due) -> None:
        """The thing has no deadline any more."""
        if thing.due_at != NEVER:
            thing.due_at = NEVER
            self._armed_count -= 1

    def next_at(self) -> Ns:
        """When the earliest deadline comes, or NEVER."""
        heap = self._heap
        while heap:
            at, _, thing, handler = heap[0]
            if thing.due_at == at == thing.queued_at:
                return at
            self._surface(at, thing, handler)
        return NEVER

    def run(self, now: Ns) -> None:
        """Call the handlers of all that is due, in the order of their instants."""
        while (at := self.next_at()) <= now and at != NEVER:
            _, _, thing, handler = heappop(self._heap)
            thing.due_at = thing.queued_at = NEVER
            self._armed_count -= 1
            handler(thing, now)

    def _push(self, thing: Due, at: Ns, handler: Handler) -> None:
        self._number += 1
        thing.queued_at = at
        heappush(self._heap, (at, self._number, thing, handler))
        if len(self._heap) > _COMPACT_AT and len(self._heap) > 4 * self._armed_count:
            self._compact()

    def _surface(self, at: Ns, thing: Any, handler: Handler) -> None:
        """The top entry is out of date: drop it, and push the thing again if this entry stood for it."""
        heappop(self._heap)
        if thing.queued_at == at:
            thing.queued_at = NEVER
            if thing.due_at != NEVER:
                self._push(thing, thing.due_at, handler)

    def _compact(self) -> None:
        """Throw away what stands for nothing, so that arming and disarming without end keeps the heap small."""
        kept = []
        for entry in self._heap:
            at, _, thing, _ = entry
            if thing.queued_at != at:
                continue
            if thing.due_at == NEVER:
                thing.queued_at = NEVER
            else:
                kept.append(entry)
        # In place: a caller up the stack may be walking this very list.
        self._heap[:] = kept
        heapify(self._heap)
