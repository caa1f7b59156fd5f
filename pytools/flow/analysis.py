"""Follow every TCP flow of a capture: `feed` records, then read `flows`, `events`, `notes`.

    analysis = Analysis()
    analysis.feed(capture)          # any iterable of (t_ns, link type, octets, wire length, interface)
    for flow in analysis.flows(): ...

`feed` and `_segment` are the hot path: one packet is about two microseconds, so they unpack with one Struct and
call further only where something other than new data or a new ACK is seen.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final

from pytools.flow.direction import (
    COPIES,
    END,
    FIRST,
    FRAME,
    IPID,
    MILLISECOND,
    OPEN,
    OPTIONS,
    RTO_FLOOR,
    SENT,
    START,
    Direction,
    Resend,
    Seg,
)
from pytools.flow.layers import find_tcp
from pytools.trace.cause import Cause
from pytools.units import Ns

_FRONT: Final = Struct(">HBxHHHBBxx8x4xIIBBH")
"""Ethernet's type, then IPv4 without options, then TCP up to the window."""
_TCP: Final = Struct(">4xIIBBH")
_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000
_FIN, _SYN, _RST, _PSH, _ACK = 1, 2, 4, 8, 16
MAX_FLOWS: Final = 50_000


class Analysis:
    """Everything learned so far; memory grows with the open flows only, and with the events when they are kept."""

    def __init__(self, *, keep_events: bool = False, max_flows: int = MAX_FLOWS, interval_ns: Ns = 0) -> None:
        self._table: dict[bytes, Direction] = {}
        self._keep = keep_events
        self._max_flows = max_flows
        self._interval_ns = interval_ns
        self.events: list[Resend] = []
        self.buckets: dict[int, Counter[str]] = {}
        self.others: Counter[str] = Counter()
        self.frames = self.tcp_frames = self.evicted = self.evicted_resends = 0
        self.first_at: Ns | None = None
        self.last_at: Ns = 0

    def feed(self, records: Iterable[tuple[Ns, int, bytes, int, int]]) -> None:
        """Take records in the file's order."""
        table, unpack, frame = self._table, _FRONT.unpack_from, self.frames
        segment = self._segment
        t_ns = self.last_at
        for t_ns, link_type, data, wire_length, _ in records:
            frame += 1
            if link_type == 1 and len(data) >= 54:
                kind, version, total, ipid, fragment, _, protocol, seq, ack, offset, flags, window = unpack(data, 12)
                if kind == 0x800 and version == 0x45 and protocol == 6 and not fragment & 0x3FFF and total:
                    direction = table.get(data[26:38]) or self._new(data[26:38], t_ns)
                    start = 34 + (offset >> 2 & 0x3C)
                    segment(
                        direction, t_ns, frame, seq, ack, flags, window,
                        total - 20 - (offset >> 2 & 0x3C), ipid, data[54:start],
                    )  # fmt: skip
                    continue
            self.frames = frame
            self._slowly(t_ns, link_type, data, wire_length)
        self.frames = frame
        self.last_at = max(self.last_at, t_ns)

    def _slowly(self, t_ns: Ns, link_type: int, data: bytes, wire_length: int) -> None:
        """Any other frame than plain IPv4 in Ethernet."""
        found = find_tcp(link_type, data, wire_length)
        if isinstance(found, str):
            self.others[found] += 1
            return
        key, at, length, ipid, _ = found
        seq, ack, offset, flags, window = _TCP.unpack_from(data, at)
        header = offset >> 2 & 0x3C
        if header < 20 or length < header:
            self.others["bad TCP header"] += 1
            return
        direction = self._table.get(key) or self._new(key, t_ns)
        options = data[at + 20 : at + header]
        self._segment(direction, t_ns, self.frames, seq, ack, flags, window, length - header, ipid, options)

    def _new(self, key: bytes, t_ns: Ns) -> Direction:
        """A flow that was not known: both directions of it."""
        if self.first_at is None:
            self.first_at = t_ns
        if len(self._table) >= 2 * self._max_flows:
            self._evict()
        half = (len(key) - 4) // 2
        back = key[half : 2 * half] + key[:half] + key[-2:] + key[-4:-2]
        direction, other = Direction(key, t_ns), Direction(back, t_ns)
        direction.other, other.other = other, direction
        self._table[key] = direction
        self._table[back] = other
        return direction

    def _evict(self) -> None:
        key = next(iter(self._table))
        gone = self._table.pop(key)
        other = gone.other
        self._table.pop(other.key, None)
        self.evicted += 1
        self.evicted_resends += gone.resends + other.resends
        del gone.other, other.other  # they hold each other, and the garbage collector may be off

    def _segment(
        self, d: Direction, t_ns: Ns, frame: int, seq: int, ack: int, flags: int, window: int, length: int, ipid: int,
        options: bytes,
    ) -> None:  # fmt: skip
        """One TCP segment: its ACK for the other direction, then its data."""
        d.packets += 1
        d.last_at = t_ns
        if flags & 0x07 or length < 0 or not d.started:
            if not self._control(d, t_ns, frame, seq, flags, length, ipid, options):
                return
            if flags & _FIN:
                length += 1
        position = d.nxt + (((seq - d.nxt) + _HALF) & _MASK) - _HALF
        if flags & _ACK and (other := d.other).started:
            acked = other.nxt + (((ack - other.nxt) + _HALF) & _MASK) - _HALF
            if acked != other.una or length == 0 or len(options) > 12:
                self._acknowledge(other, d, t_ns, acked, window, length, ipid, position, options)
        elif len(options) > 12 and flags & _ACK:
            edges = sack_edges(options)
            d.other.edge = max(edges, key=lambda edge: (edge - ack) & _MASK, default=d.other.edge)
        d.last_win = window
        if length:
            if position == d.nxt:
                d.segments.append([position, position + length, t_ns, frame, 1, False, t_ns, ipid, options])
                d.nxt = position + length
                d.data_packets += 1
                d.bytes += length
            else:
                self._unusual(d, t_ns, frame, seq, position, length, flags, window, ipid, options)
        elif position == d.nxt - 1 and not flags & 0x07:
            self._probe(d)

    def _acknowledge(
        self, other: Direction, d: Direction, t_ns: Ns, acked: int, window: int, length: int, ipid: int, position: int,
        options: bytes,
    ) -> None:  # fmt: skip
        pure = length == 0
        if d.tap == "unknown" and d.syn_at is not None and other.syn_at is not None:
            self._place_tap(d, t_ns)
        if acked < other.una and len(options) <= 12:
            return
        if pure and ipid and acked == other.una and self._seen_twice(d, ipid, acked, t_ns):
            d.duplicates_capture += 1
            return
        if pure and ipid:
            d.last_ids.append((ipid, acked, t_ns))
        if window == 0 and d.last_win:
            d.zero_windows += 1
        blocks = sack_blocks(options, other) if len(options) > 12 else []
        if acked > other.una and other.recent:
            self._eifel(other, acked, options)
        keepalive_ack = position != d.nxt
        same = window == d.last_win and not keepalive_ack
        if acked >= other.una:
            other.on_ack(t_ns, acked, blocks, pure, same)
        elif blocks:
            other.on_ack(t_ns, other.una, blocks, pure, same)

    def _seen_twice(self, d: Direction, ipid: int, acked: int, t_ns: Ns) -> bool:
        return any(i == ipid and a == acked and t_ns - t < 5 * MILLISECOND for i, a, t in d.last_ids)

    def _eifel(self, other: Direction, acked: int, options: bytes) -> None:
        """Eifel detection (RFC 3522): the first ACK of a resend echoes a stamp older than the resend's."""
        resend = other.recent[-1]
        if resend.start < acked <= resend.end and resend.spurious is None and resend.tsval is not None:
            stamps = timestamps(options)
            if stamps is not None and stamps[1] and (stamps[1] - resend.tsval) & _HALF and other.una <= resend.start:
                resend.spurious = "eifel"
                other.spurious += 1
                if resend.cause == Cause.RTO:  # the sender undoes what the timer did (RFC 4015)
                    other.state = OPEN

    def _control(
        self, d: Direction, t_ns: Ns, frame: int, seq: int, flags: int, length: int, ipid: int, options: bytes
    ) -> bool:
        """SYN, RST, and the first segment of a direction; false when there is no more to do."""
        if flags & _SYN:
            self._syn(d, t_ns, frame, seq, flags, ipid, options)
            return False
        if not d.started:
            d.begin(seq)
        return not (flags & _RST or length < 0)

    def _syn(self, d: Direction, t_ns: Ns, frame: int, seq: int, flags: int, ipid: int, options: bytes) -> None:
        if d.syn_at is not None and d.syn_seq == seq:
            resend = Resend(d, frame, t_ns, seq, d.place(seq), 0)
            resend.cause = Cause.SYNACK if flags & _ACK else Cause.SYN
            resend.by, resend.confidence = "timer", 0.99
            resend.evidence.append(f"the same SYN {(t_ns - d.syn_at) / 1e6:.3f} ms later")
            resend.original_at = d.syn_at
            gap = t_ns - d.syn_at
            same = gap < MILLISECOND or (ipid and d.last_ids and d.last_ids[-1][0] == ipid and gap < 100 * MILLISECOND)
            if same:
                d.duplicates_capture += 1
            else:
                self._count(d, resend)
                d.stall += t_ns - d.syn_at
            d.syn_at = t_ns
        else:
            if d.syn_at is not None or d.started:
                self._again(d)
            d.begin(seq + 1)
            d.syn_at, d.syn_seq = t_ns, seq
            d.sack_ok = has_option(options, 4)
        d.last_ids.append((ipid, -1, t_ns))

    def _again(self, d: Direction) -> None:
        """The same ports for a new connection."""
        d.segments.clear()
        d.history.clear()
        d.holes.clear()
        d.state = d.sacked_bytes = d.dupacks = 0

    def _place_tap(self, d: Direction, t_ns: Ns) -> None:
        """Where the capture was taken, by the handshake: SYN to SYN-ACK is beyond the tap, SYN-ACK to ACK before it."""
        other = d.other
        if d.syn_at is None or other.syn_at is None or other.syn_at < d.syn_at:
            return
        beyond, before = other.syn_at - d.syn_at, t_ns - other.syn_at
        d.upstream, other.upstream = before, beyond
        whole = beyond + before
        for one, up in ((d, before), (other, beyond)):
            one.tap = "sender" if up * 4 < whole else "receiver" if up * 4 > whole * 3 else "middle"
        for one in (d, other):
            one.on_sample(whole - one.upstream)
            one.rtts.clear()
            one.rto = one.srtt + max(RTO_FLOOR, 4 * one.rttvar)

    def _probe(self, d: Direction) -> None:
        if d.other.last_win == 0:
            d.zwprobes += 1
        else:
            d.keepalives += 1

    def _unusual(
        self, d: Direction, t_ns: Ns, frame: int, seq: int, position: int, length: int, flags: int, window: int,
        ipid: int, options: bytes,
    ) -> None:  # fmt: skip
        """Data that do not begin where the last ended: a hole, one filled, a copy, a probe, or a retransmission."""
        if position > d.nxt:
            d.holes.append([d.nxt, position, t_ns, frame, 0, False, t_ns, ipid, options])
            d.unseen_bytes += position - d.nxt
            self._append(d, t_ns, frame, position, length, ipid, options)
            return
        if length == 1 and position in (d.nxt - 1, d.una) and d.una >= d.nxt - 1 and not flags & _FIN:
            self._probe(d)
            return
        d.data_packets += 1
        d.bytes += length
        original = d.find(position)
        hole = self._hole(d, position, position + length)
        if hole is None and original is not None and self._is_copy(d, original, t_ns, length, ipid, options):
            return
        if hole is not None and self._is_late(d, hole, t_ns, options):
            d.reordered += 1
            self._fill(d, hole, t_ns, frame, position, length, ipid, options)
            return
        self._resend(d, t_ns, frame, seq, position, length, flags, original, hole, ipid, options)

    def _append(
        self, d: Direction, t_ns: Ns, frame: int, position: int, length: int, ipid: int, options: bytes
    ) -> None:
        d.segments.append([position, position + length, t_ns, frame, 1, False, t_ns, ipid, options])
        d.nxt = position + length
        d.data_packets += 1
        d.bytes += length

    def _hole(self, d: Direction, low: int, high: int) -> Seg | None:
        return next((h for h in d.holes if h[START] <= low < h[END]), None) if d.holes else None

    def _fill(
        self, d: Direction, hole: Seg, t_ns: Ns, frame: int, position: int, length: int, ipid: int, options: bytes
    ) -> None:
        """Bytes of a hole have come: shrink or split it, and keep them as seen."""
        end = position + length
        d.holes.remove(hole)
        if hole[START] < position:
            d.holes.append([hole[START], position, *hole[2:]])
        if end < hole[END]:
            d.holes.append([end, hole[END], *hole[2:]])
        d.holes.sort()
        d.unseen_bytes -= min(end, hole[END]) - position
        segment = [position, end, t_ns, frame, 1, False, t_ns, ipid, options]
        if end > d.una:
            d.segments.append(segment)
            d.segments.sort(key=lambda one: one[START])
        else:
            d.history.append(segment)

    def _is_late(self, d: Direction, hole: Seg, t_ns: Ns, options: bytes) -> bool:
        """Whether what fills a hole is a delayed original: its stamp isn't newer, or less than an RTT has passed."""
        mine, beyond = timestamps(options), timestamps(hole[OPTIONS])
        waited: Ns = t_ns - hole[SENT]
        rtt = d.srtt or 10 * MILLISECOND
        if mine is not None and beyond is not None:
            if mine[0] == beyond[0]:
                return waited < rtt * 9 // 10
            return (mine[0] - beyond[0]) & _HALF != 0
        return waited < rtt * 9 // 10

    def _is_copy(self, d: Direction, original: Seg, t_ns: Ns, length: int, ipid: int, options: bytes) -> bool:
        """Whether the same packet is seen twice: captured twice or duplicated by the network, not sent twice."""
        gap = t_ns - original[SENT]
        mine, its = timestamps(options), timestamps(original[OPTIONS])
        if mine is not None and its is not None and mine[0] != its[0]:
            if (mine[0] - its[0]) & _HALF and original[COPIES] > 0:
                d.reordered += 1  # an original that comes after its own retransmission
                return True
            return False
        if ipid and original[IPID] != ipid:
            return False
        limit = 100 * MILLISECOND if ipid else min(MILLISECOND, max(d.srtt // 2, 20_000))
        if mine is not None:
            limit = max(limit, d.srtt * 4 // 5)
        if gap > limit:
            return False
        if gap < (100_000 if d.tap == "receiver" else MILLISECOND):
            d.duplicates_capture += 1
        else:
            d.duplicates_network += 1
        return True

    def _resend(
        self, d: Direction, t_ns: Ns, frame: int, seq: int, position: int, length: int, flags: int,
        original: Seg | None, hole: Seg | None, ipid: int, options: bytes,
    ) -> None:  # fmt: skip
        """A retransmission: its cause, its original, and the copy noted."""
        resend = Resend(d, frame, t_ns, seq, position, length)
        stamps = timestamps(options)
        resend.tsval = stamps[0] if stamps is not None else None
        known = original
        if original is None and hole is not None:
            known = hole
            resend.evidence.append("not seen before: lost before the tap")
        if original is not None:
            resend.original_frame, resend.original_at = original[FRAME], original[FIRST]
        if position + length <= d.una and hole is None and original is not None and d.tap == "receiver":
            resend.spurious = "acked"
            d.spurious += 1
        d.explain(resend, known)
        if flags & _FIN and length == 1 and resend.cause == Cause.UNKNOWN:
            resend.cause = Cause.FIN
        elif resend.cause == Cause.UNKNOWN and original is not None and original[END] != position + length:
            resend.cause = Cause.PARTIAL
        if hole is not None:
            self._fill(d, hole, t_ns, frame, position, length, ipid, options)
        self._note_copy(d, t_ns, frame, position, position + length, ipid, options)
        if original is not None:  # also one that is acknowledged, so that a copy of this resend is known as one
            original[SENT], original[IPID], original[OPTIONS] = t_ns, ipid, options
        self._count(d, resend)

    def _note_copy(self, d: Direction, t_ns: Ns, frame: int, low: int, high: int, ipid: int, options: bytes) -> None:
        for segment in d.segments:
            if segment[START] >= high:
                break
            if segment[END] > low:
                segment[SENT], segment[IPID], segment[OPTIONS] = t_ns, ipid, options
                segment[COPIES] += 1
        if high > d.nxt:
            d.segments.append([d.nxt, high, t_ns, frame, 1, False, t_ns, ipid, options])
            d.nxt = high

    def _count(self, d: Direction, resend: Resend) -> None:
        d.resends += 1
        d.resent_bytes += resend.length
        d.causes[resend.cause] = d.causes.get(resend.cause, 0) + 1
        d.recent.append(resend)
        if self._keep:
            self.events.append(resend)
        if self._interval_ns and self.first_at is not None:
            bucket = (resend.t_ns - self.first_at) // self._interval_ns
            self.buckets.setdefault(bucket, Counter())[resend.cause] += 1

    def flow_count(self) -> int:
        """Flows that are still known."""
        return len(self._table) // 2

    def directions(self) -> Iterator[Direction]:
        """Every direction that is still known, in the order of the flows' first packets."""
        yield from self._table.values()


def timestamps(options: bytes) -> tuple[int, int] | None:
    """(TSval, TSecr) of RFC 7323's option, None without it."""
    if options[:4] == b"\x01\x01\x08\x0a" and len(options) >= 12:
        return int.from_bytes(options[4:8], "big"), int.from_bytes(options[8:12], "big")
    at = option_at(options, 8)
    if at < 0 or len(options) < at + 10:
        return None
    return int.from_bytes(options[at + 2 : at + 6], "big"), int.from_bytes(options[at + 6 : at + 10], "big")


def has_option(options: bytes, kind: int) -> bool:
    """Whether a TCP option is there."""
    return option_at(options, kind) >= 0


def option_at(options: bytes, kind: int) -> int:
    """Where a TCP option begins, -1 without it; damaged options end the search."""
    at = 0
    while at < len(options) and options[at]:
        if options[at] == kind:
            return at
        if options[at] == 1:
            at += 1
        elif at + 1 < len(options) and options[at + 1] >= 2:
            at += options[at + 1]
        else:
            break
    return -1


def sack_blocks(options: bytes, data: Direction) -> list[tuple[int, int]]:
    """The SACK blocks as positions of the direction they speak of (RFC 2018)."""
    edges = sack_edges(options)
    if edges:
        data.sack_ok = True
    return [(data.place(low), data.place(high)) for low, high in zip(edges[::2], edges[1::2], strict=False)]


def sack_edges(options: bytes) -> list[int]:
    """The left and right edges of the SACK blocks as they stand on the wire."""
    at = option_at(options, 5)
    if at < 0 or at + 1 >= len(options):
        return []
    stop = min(at + options[at + 1], len(options))
    return [int.from_bytes(options[i : i + 4], "big") for i in range(at + 2, stop - 3, 4)]
