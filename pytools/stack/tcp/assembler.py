"""Out-of-order text, and the SACK blocks that tell the peer of it (RFC 2018, RFC 2883).

Sequence numbers here are unwrapped (see `connection`): plain ints that only grow, so `<` is right.
"""

from bisect import bisect_left, insort
from typing import Final

MAX_BLOCKS: Final = 4
MAX_CHUNKS: Final = 4096
"""Chunks held at most, whatever the window: a peer that sends single octets must not fill the memory with objects."""
RECENT: Final = 8
"""Ranges whose order of change is remembered; older ones follow in the order of their numbers."""


class Assembler:
    """Holds what arrived beyond RCV.NXT until the gap is filled.

    Chunks never overlap; `_ranges` are the runs without a gap, as [start, end] in rising order. The tables are made
    when the first chunk comes: most connections never need them.
    """

    __slots__ = ("_chunks", "_ranges", "_recent", "_starts", "held")

    _chunks: dict[int, bytes]
    _starts: list[int]
    _recent: list[list[int]]

    def __init__(self) -> None:
        self._ranges: list[list[int]] | None = None
        self.held = 0
        """Octets held."""

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def insert(self, start: int, data: bytes) -> tuple[int, int] | None:
        """Keep `data` at `start`. Returns the first part that was held already (for DSACK), or None."""
        if self._ranges is None:
            self._ranges, self._chunks, self._starts, self._recent = [], {}, [], []
        if len(self._starts) >= MAX_CHUNKS:
            return None
        end = start + len(data)
        ranges = self._ranges
        first = bisect_left(ranges, start, key=_end)
        last, position, duplicate = first, start, None
        while last < len(ranges) and ranges[last][0] <= end:
            low, high = ranges[last]
            if position < low:
                self._keep(position, data[position - start : low - start])
            if duplicate is None and low < end and high > start:
                duplicate = (max(start, low), min(end, high))
            position = max(position, high)
            last += 1
        if position < end:
            self._keep(position, data[position - start :])
        self._merge(ranges, first, last, start, end)
        return duplicate

    def _keep(self, start: int, data: bytes) -> None:
        insort(self._starts, start)
        self._chunks[start] = data
        self.held += len(data)

    def _merge(self, ranges: list[list[int]], first: int, last: int, start: int, end: int) -> None:
        """Join `start`:`end` with ranges first..last-1, which it touches, and move the result to the front."""
        joined = ranges[first:last]
        if len(joined) == 1:
            merged = joined[0]
            merged[0], merged[1] = min(start, merged[0]), max(end, merged[1])
        else:
            if joined:
                start, end = min(start, joined[0][0]), max(end, joined[-1][1])
            merged = [start, end]
            ranges[first:last] = [merged]
        recent = self._recent
        if not recent or recent[0] is not merged:
            self._recent = [merged, *(r for r in recent if r is not merged and not _contains(joined, r))][:RECENT]

    def pop_ready(self, rcv_nxt: int) -> list[bytes]:
        """Chunks that follow `rcv_nxt` without a gap, in order; what lies before `rcv_nxt` is cut off."""
        ready: list[bytes] = []
        ranges = self._ranges
        while ranges and ranges[0][0] <= rcv_nxt:
            gone = ranges.pop(0)
            self._recent = [r for r in self._recent if r is not gone]
            count = bisect_left(self._starts, gone[1])
            for start in self._starts[:count]:
                chunk = self._chunks.pop(start)
                self.held -= len(chunk)
                if start + len(chunk) > rcv_nxt:
                    ready.append(chunk[max(0, rcv_nxt - start) :])
                    rcv_nxt = start + len(chunk)
            del self._starts[:count]
        return ready

    def blocks(self, limit: int = MAX_BLOCKS) -> list[tuple[int, int]]:
        """SACK blocks, the most recently changed first (RFC 2018 4)."""
        if not self._ranges:
            return []
        found = [(start, end) for start, end in self._recent[:limit]]
        for start, end in self._ranges:
            if len(found) >= limit:
                break
            if (start, end) not in found:
                found.append((start, end))
        return found

    def covering(self, start: int, end: int) -> tuple[int, int] | None:
        """The held range that contains `start`:`end`, if any."""
        for low, high in self._ranges or ():
            if low <= start and end <= high:
                return low, high
        return None

    def highest(self) -> int:
        """End of the last range; 0 when nothing is held."""
        return self._ranges[-1][1] if self._ranges else 0


def _end(block: list[int]) -> int:
    return block[1]


def _contains(ranges: list[list[int]], wanted: list[int]) -> bool:
    return any(one is wanted for one in ranges)
