"""What is in flight: every segment sent and not yet acknowledged, and what is known of its fate (RFC 6675 3).

Counted in segments as Linux does; a super-segment counts as the MSS-size segments in it and is split where a SACK block
or a loss divides it. Sequence numbers are unwrapped.
"""

from bisect import bisect_right

from pytools.units import NEVER, Ns

DUP_THRESH = 3
"""RFC 6675 2, RFC 5681 3.2."""
SACK_DONE_LIMIT = 64


class SentSegment:
    """One segment in flight. `parts` are its payload; SYN and FIN count one octet of `seq`:`end` without payload."""

    __slots__ = (
        "count",
        "end",
        "fin",
        "first_at",
        "lost",
        "parts",
        "push",
        "retransmitted",
        "sacked",
        "sent_at",
        "seq",
        "syn",
        "times",
    )

    def __init__(
        self, seq: int, end: int, parts: tuple[bytes, ...], count: int, now: Ns, *, syn: bool, fin: bool, push: bool
    ) -> None:
        self.seq = seq
        self.end = end
        self.parts = parts
        self.count = count
        self.first_at = now
        self.sent_at = now
        self.syn = syn
        self.fin = fin
        self.push = push
        self.sacked = False
        self.lost = False
        self.retransmitted = False
        """A copy sent again is thought to be in flight."""
        self.times = 0
        """How often it was sent again."""

    @property
    def length(self) -> int:
        """Octets of payload."""
        return self.end - self.seq - self.syn - self.fin


class Acked:
    """What one ACK told: numbers for RTT, congestion control and recovery."""

    __slots__ = ("bytes", "count", "newest_sent_at", "retransmitted", "rtt_at", "sacked_count")

    def __init__(self) -> None:
        self.bytes = 0
        self.count = 0
        """Segments acknowledged by the cumulative ACK and not SACKed before."""
        self.sacked_count = 0
        """Segments newly SACKed."""
        self.rtt_at: Ns = NEVER
        """When the earliest segment of those that were sent only once had left (Karn); NEVER: there is none."""
        self.newest_sent_at: Ns = 0
        self.retransmitted = False
        """A segment that had been sent again was among them."""

    @property
    def delivered(self) -> int:
        """Segments known to have arrived thanks to this ACK."""
        return self.count + self.sacked_count


class Scoreboard:
    """The retransmission queue with its counters."""

    __slots__ = (
        "_hint",
        "_lost_to",
        "_sack_done",
        "lost_out",
        "packets_out",
        "reno_sacked",
        "retrans_out",
        "sacked_out",
        "segments",
    )

    def __init__(self) -> None:
        self.segments: list[SentSegment] = []
        self.packets_out = 0
        self.sacked_out = 0
        """Segments SACKed; without SACK the duplicate ACKs, each of which stands for a segment that has left."""
        self.lost_out = 0
        self.retrans_out = 0
        self.reno_sacked = 0
        self._hint = 0
        self._lost_to = 0
        """Below this all that is not SACKed is marked lost already."""
        self._sack_done: dict[int, int] = {}
        """Left edge of a SACK block -> how far it was marked: blocks come again and again."""

    def __bool__(self) -> bool:
        return bool(self.segments)

    @property
    def pipe(self) -> int:
        """Segments thought to be in the network (RFC 6675 4, SetPipe)."""
        return self.packets_out - self.sacked_out - self.reno_sacked - self.lost_out + self.retrans_out

    def append(self, segment: SentSegment) -> None:
        """A new segment leaves."""
        self.segments.append(segment)
        self.packets_out += segment.count

    # What the peer says.

    def on_ack(self, una: int, mss: int) -> Acked:
        """Everything below `una` has arrived: take it out; a segment cut by `una` keeps its rest."""
        acked = Acked()
        segments = self.segments
        index = 0
        for segment in segments:
            if segment.end > una:
                if segment.seq < una:
                    self._trim(segment, una, mss, acked)
                break
            self._count_acked(segment, segment.count, acked)
            acked.bytes += segment.end - segment.seq
            index += 1
        del segments[:index]
        if not segments:
            self._hint = 0
            self._sack_done.clear()
        return acked

    def _count_acked(self, segment: SentSegment, count: int, acked: Acked) -> None:
        self.packets_out -= count
        if segment.sacked:
            self.sacked_out -= count
        else:
            acked.count += count
            if segment.lost:
                self.lost_out -= count
            _note_timing(segment, acked)
        if segment.retransmitted:
            self.retrans_out -= count

    def _trim(self, segment: SentSegment, una: int, mss: int, acked: Acked) -> None:
        """The left part of a super-segment is acknowledged (RFC 9293 3.10.7.4: removed from the queue)."""
        kept = max(1, -(-(segment.end - una) // mss))
        gone = max(0, segment.count - kept)
        if gone:
            self._count_acked(segment, gone, acked)
        else:
            _note_timing(segment, acked)
        acked.bytes += una - segment.seq
        segment.parts = cut(segment.parts, una - segment.seq - segment.syn, segment.length)
        segment.syn = False
        segment.seq = una
        segment.count -= gone

    def on_sack(self, blocks: list[tuple[int, int]], mss: int, acked: Acked) -> None:
        """Mark what the blocks cover; super-segments are split at the blocks' edges."""
        for start, end in blocks:
            done = self._sack_done.get(start, start)
            if done >= end:
                continue
            if len(self._sack_done) > SACK_DONE_LIMIT:
                self._sack_done.clear()
            self._sack_done[start] = end
            index = self._find(done)
            while index < len(self.segments) and self.segments[index].seq < end:
                segment = self.segments[index]
                if not segment.sacked:
                    if segment.seq < start and not self._split(index, start, mss):
                        index += 1
                        continue
                    if segment.seq < start:
                        index += 1
                        segment = self.segments[index]
                    if segment.end > end and not self._split(index, end, mss):
                        break
                    self._mark_sacked(segment, acked)
                index += 1

    def _find(self, seq: int) -> int:
        """Index of the first segment that ends after `seq`."""
        return bisect_right(self.segments, seq, key=_segment_end)

    def _mark_sacked(self, segment: SentSegment, acked: Acked) -> None:
        segment.sacked = True
        self.sacked_out += segment.count
        acked.sacked_count += segment.count
        if segment.lost:
            segment.lost = False
            self.lost_out -= segment.count
        if segment.retransmitted:
            segment.retransmitted = False
            self.retrans_out -= segment.count
        _note_timing(segment, acked)

    def _split(self, index: int, at: int, mss: int) -> bool:
        """Divide segments[index] at the last MSS boundary up to `at` (at `at` itself if it is one segment)."""
        segment = self.segments[index]
        offset = at - segment.seq
        if segment.count > 1:
            offset -= offset % mss
        if offset <= 0 or offset >= segment.end - segment.seq or segment.syn:
            return False
        self.divide(index, offset, mss)
        return segment.end == at

    def divide(self, index: int, offset: int, mss: int) -> None:
        """Cut segments[index] after `offset` octets of its payload; counters stay right."""
        segment = self.segments[index]
        length = segment.length
        rest = SentSegment(
            segment.seq + offset,
            segment.end,
            cut(segment.parts, offset, length),
            max(1, -(-(length - offset) // mss)),
            segment.first_at,
            syn=False,
            fin=segment.fin,
            push=segment.push,
        )
        rest.sent_at, rest.times = segment.sent_at, segment.times
        rest.sacked, rest.lost, rest.retransmitted = segment.sacked, segment.lost, segment.retransmitted
        old_count = segment.count
        segment.parts = cut(segment.parts, 0, offset)
        segment.end = segment.seq + offset
        segment.count = max(1, -(-offset // mss))
        segment.fin = segment.push = False
        self.segments.insert(index + 1, rest)
        self._adjust(segment, segment.count + rest.count - old_count)

    def _adjust(self, segment: SentSegment, change: int) -> None:
        """`segment`'s class of segments is now `change` more in number."""
        self.packets_out += change
        if segment.sacked:
            self.sacked_out += change
        if segment.lost:
            self.lost_out += change
        if segment.retransmitted:
            self.retrans_out += change

    # What is lost.

    def mark_lost(self, segment: SentSegment) -> None:
        """`segment` (or its copy) is gone."""
        if segment.sacked:
            return
        if segment.retransmitted:
            segment.retransmitted = False
            self.retrans_out -= segment.count
        if not segment.lost:
            segment.lost = True
            self.lost_out += segment.count
        self._hint = min(self._hint, segment.seq) if self._hint else segment.seq

    def mark_lost_below_sacked(self, mss: int) -> int:
        """RFC 6675 IsLost: DupThresh segments SACKed above it. Returns how many segments are newly lost."""
        if self.sacked_out < DUP_THRESH:
            return 0
        before, done = self.lost_out, self._lost_to
        above = 0
        for segment in reversed(self.segments):
            if segment.end <= done:
                break
            if above >= DUP_THRESH:
                if segment.end > self._lost_to:
                    self._lost_to = segment.end
                if not (segment.sacked or segment.lost or segment.retransmitted):
                    self.mark_lost(segment)
            elif segment.sacked:
                above += segment.count
        return self.lost_out - before

    def mark_head_lost(self, mss: int) -> None:
        """The segment at SND.UNA is lost (NewReno); only its first MSS if it is a super-segment."""
        if not self.segments:
            return
        head = self.segments[0]
        if head.count > 1:
            self.divide(0, mss, mss)
        self.mark_lost(self.segments[0])

    def mark_all_lost(self, *, forget_sacked: bool) -> None:
        """After a timeout nothing is in flight (RFC 6675 5.1); SACK marks stay unless the peer reneged."""
        self._hint = self.segments[0].seq if self.segments else 0
        if forget_sacked:
            self._sack_done.clear()
        self.sacked_out = self.lost_out = self.retrans_out = self.reno_sacked = 0
        for segment in self.segments:
            if forget_sacked:
                segment.sacked = False
            segment.retransmitted = False
            segment.lost = not segment.sacked
            if segment.sacked:
                self.sacked_out += segment.count
            else:
                self.lost_out += segment.count

    def next_lost(self) -> int:
        """Index of the first lost segment that is not being resent, or -1."""
        if self.lost_out <= 0:
            return -1
        for index in range(self._find(self._hint) if self._hint else 0, len(self.segments)):
            segment = self.segments[index]
            if segment.lost and not segment.retransmitted:
                self._hint = segment.seq
                return index
        return -1

    def on_retransmitted(self, segment: SentSegment, now: Ns) -> None:
        """`segment` leaves again."""
        segment.sent_at = now
        segment.times += 1
        if not segment.retransmitted:
            segment.retransmitted = True
            self.retrans_out += segment.count

    def resegment(self, mss: int) -> bool:
        """The MSS shrank: cut what is longer and mark it lost, so that it goes out again at once (RFC 1191 6.5)."""
        found = False
        index = 0
        while index < len(self.segments):
            segment = self.segments[index]
            if segment.length > mss and not segment.sacked:
                found = True
                self._adjust(segment, -segment.count)
                segment.count = -(-segment.length // mss)
                self._adjust(segment, segment.count)
                while self.segments[index].length > mss:
                    self.divide(index, mss, mss)
                    self.mark_lost(self.segments[index])
                    index += 1
                self.mark_lost(self.segments[index])
            index += 1
        return found


def _segment_end(segment: SentSegment) -> int:
    return segment.end


def _note_timing(segment: SentSegment, acked: Acked) -> None:
    acked.newest_sent_at = max(acked.newest_sent_at, segment.sent_at)
    if segment.times:
        acked.retransmitted = True
    elif acked.rtt_at == NEVER:
        acked.rtt_at = segment.sent_at


def cut(parts: tuple[bytes, ...], start: int, end: int) -> tuple[bytes, ...]:
    """Octets `start`:`end` of `parts`, without copying whole chunks."""
    kept: list[bytes] = []
    position = 0
    for part in parts:
        size = len(part)
        low, high = max(0, start - position), min(size, end - position)
        if low < high:
            kept.append(part if high - low == size else part[low:high])
        position += size
        if position >= end:
            break
    return tuple(kept)
