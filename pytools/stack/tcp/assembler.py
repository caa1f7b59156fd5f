"""Out-of-order text, and the SACK blocks that tell the peer of it (RFC 2018, RFC 2883).

Sequence numbers here are unwrapped (see `connection`): plain ints that only grow, so `<` is right.
"""

from bisect import bisect_left, insort

MAX_BLOCKS = 4


class Assembler:
    """Holds what arrived beyond RCV.NXT until the gap is filled.

    Chunks never overlap; `_ranges` are the runs without a gap, as [start, end] in rising order.
    """

    __slots__ = ("_chunks", "_ranges", "_recent", "_starts", "held")

    def __init__(self) -> None:
        self._chunks: dict[int, bytes] = {}
        self._starts: list[int] = []
        self._ranges: list[list[int]] = []
        self._recent: list[list[int]] = []  # the same ranges, the most recently changed first
        self.held = 0
        """Octets held."""

    def __bool__(self) -> bool:
        return bool(self._ranges)

    def insert(self, start: int, data: bytes) -> tuple[int, int] | None:
        """Keep `data` at `start`. Returns the first part that was held already (for DSACK), or None."""
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
        self._merge(first, last, start, end)
        return duplicate

    def _keep(self, start: int, data: bytes) -> None:
        insort(self._starts, start)
        self._chunks[start] = data
        self.held += len(data)

    def _merge(self, first: int, last: int, start: int, end: int) -> None:
        """Join `start`:`end` with ranges first..last-1, which it touches, and move the result to the front."""
        joined = self._ranges[first:last]
        if joined:
            start = min(start, joined[0][0])
            end = max(end, joined[-1][1])
            self._recent = [r for r in self._recent if r not in joined]
        merged = [start, end]
        self._ranges[first:last] = [merged]
        self._recent.insert(0, merged)

    def pop_ready(self, rcv_nxt: int) -> list[bytes]:
        """Chunks that follow `rcv_nxt` without a gap, in order; what lies before `rcv_nxt` is cut off."""
        ready: list[bytes] = []
        while self._ranges and self._ranges[0][0] <= rcv_nxt:
            gone = self._ranges.pop(0)
            self._recent.remove(gone)
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
        return [(start, end) for start, end in self._recent[:limit]]

    def covering(self, start: int, end: int) -> tuple[int, int] | None:
        """The held range that contains `start`:`end`, if any."""
        for low, high in self._ranges:
            if low <= start and end <= high:
                return low, high
        return None

    def highest(self) -> int:
        """End of the last range; 0 when nothing is held."""
        return self._ranges[-1][1] if self._ranges else 0


def _end(block: list[int]) -> int:
    return block[1]
