"""One direction of a flow: what its sender has outstanding, knows and has done, replayed from the capture.

Sequence numbers are unwrapped to plain integers relative to the highest seen, so nothing here wraps.
"""

from collections import deque
from typing import Any, Final

from pytools.trace.cause import By, Cause
from pytools.units import Ns

OPEN: Final = 0
RECOVERY: Final = 1
LOSS: Final = 2
"""Congestion states as Linux has them; Disorder is OPEN with evidence."""

START, END, SENT, FRAME, COPIES, SACKED, FIRST, IPID, OPTIONS = range(9)
"""Fields of an outstanding segment, a list because a list is the cheapest thing to make per packet."""

Seg = list[Any]
_MASK: Final = 0xFFFFFFFF
_HALF: Final = 0x80000000
RECENT: Final = 256
MILLISECOND: Final = 1_000_000
RTO_FLOOR: Final = 200 * MILLISECOND


class Resend:
    """One retransmission, with what speaks for its cause."""

    __slots__ = (
        "by",
        "cause",
        "confidence",
        "direction",
        "end",
        "evidence",
        "frame",
        "length",
        "original_at",
        "original_frame",
        "seq",
        "spurious",
        "start",
        "t_ns",
        "tsval",
    )

    def __init__(self, direction: "Direction", frame: int, t_ns: Ns, seq: int, start: int, length: int) -> None:
        self.direction = direction
        self.frame = frame
        self.t_ns = t_ns
        self.seq = seq
        self.start = start
        self.end = start + length
        self.length = length
        self.cause: str = Cause.UNKNOWN
        self.by: str | None = None
        self.confidence = 0.5
        self.evidence: list[str] = []
        self.original_frame: int | None = None
        self.original_at: Ns | None = None
        self.spurious: str | None = None
        self.tsval: int | None = None


class Direction:
    """The data of one end, and what the other end's ACKs said about them."""

    __slots__ = (
        "ack_delay",
        "acked_unseen",
        "advanced_at",
        "backoff",
        "base",
        "bytes",
        "causes",
        "data_packets",
        "dsacks",
        "dupacks",
        "duplicates_capture",
        "duplicates_network",
        "edge",
        "first_at",
        "history",
        "holes",
        "keepalives",
        "key",
        "last_at",
        "last_ack_at",
        "last_ids",
        "last_win",
        "mss",
        "nxt",
        "other",
        "packets",
        "probed",
        "recent",
        "recovery_point",
        "reordered",
        "resent_bytes",
        "resends",
        "rto",
        "rtts",
        "rttvar",
        "sack_ok",
        "sacked_bytes",
        "segments",
        "spurious",
        "srtt",
        "stall",
        "started",
        "state",
        "syn_at",
        "syn_seq",
        "tap",
        "una",
        "unseen_bytes",
        "upstream",
        "wscale",
        "zero_windows",
        "zwprobes",
    )

    def __init__(self, key: bytes, t_ns: Ns) -> None:
        self.key = key
        self.other: Direction = self
        self.started = False
        self.base = self.nxt = self.una = self.edge = 0
        self.segments: list[Seg] = []
        self.history: deque[Seg] = deque(maxlen=RECENT)
        self.holes: list[Seg] = []
        self.recent: deque[Resend] = deque(maxlen=RECENT)
        self.last_ids: deque[tuple[int, int, Ns]] = deque(maxlen=8)
        self.state = OPEN
        self.recovery_point = self.probed = -1
        self.dupacks = self.sacked_bytes = self.backoff = 0
        self.advanced_at = self.last_ack_at = t_ns
        self.srtt = self.rttvar = 0
        self.rto: Ns = 1000 * MILLISECOND
        self.upstream: Ns = 0
        self.tap = "unknown"
        self.rtts: list[Ns] = []
        self.ack_delay: Ns = -1
        self.syn_at: Ns | None = None
        self.syn_seq = -1
        self.mss = 0
        self.sack_ok = False
        self.wscale = 0
        self.last_win = -1
        self.packets = self.data_packets = self.bytes = self.resends = self.resent_bytes = 0
        self.causes: dict[str, int] = {}
        self.spurious = self.dsacks = self.reordered = self.keepalives = self.zwprobes = self.zero_windows = 0
        self.duplicates_capture = self.duplicates_network = self.acked_unseen = self.unseen_bytes = 0
        self.stall: Ns = 0
        self.first_at = self.last_at = t_ns

    def place(self, seq: int) -> int:
        """A sequence number on the wire as an unwrapped position."""
        return self.nxt + (((seq - self.nxt) + _HALF) & _MASK) - _HALF

    def begin(self, seq: int) -> None:
        """The first data or SYN seen of this direction."""
        self.started = True
        self.base = self.nxt = self.una = seq
        if self.edge and 0 < (self.edge - seq) & _MASK < _HALF:  # SACKed before: the capture began in a recovery
            self.nxt = seq + ((self.edge - seq) & _MASK)
        self.edge = self.nxt

    def on_ack(self, t_ns: Ns, ack: int, blocks: list[tuple[int, int]], pure: bool, same_window: bool) -> None:
        """Replay what the sender learns from an ACK: RFC 5681, 2018, 2883, 6298 as Linux does them."""
        if ack > self.una:
            self._advance(t_ns, ack)
        if blocks:
            self._sack(t_ns, ack, blocks)
        elif pure and ack == self.una and self.nxt > ack and same_window:
            self.dupacks += 1
        self.last_ack_at = t_ns

    def _advance(self, t_ns: Ns, ack: int) -> None:
        segments, taken, sample, again = self.segments, 0, -1, False
        for segment in segments:
            if segment[END] > ack:
                break
            taken += 1
            if segment[SACKED]:
                self.sacked_bytes -= segment[END] - segment[START]
            again = again or segment[COPIES] > 1
            if not segment[SACKED]:
                sample = t_ns - segment[SENT]
        self.history.extend(segments[:taken])
        del segments[:taken]
        if segments and segments[0][START] < ack:
            segments[0][START] = ack
        if ack > self.nxt:
            self.acked_unseen += ack - self.nxt
            self.nxt = ack
        if self.holes:
            self.holes = [hole for hole in self.holes if hole[END] > ack - 65536 * 16]
        self.una = ack
        self.dupacks = 0
        self.advanced_at = t_ns
        if sample >= 0 and not again:  # Karn's rule (RFC 6298 3)
            self.on_sample(sample)
        self.backoff = 0
        if self.srtt:
            self.rto = self.srtt + max(RTO_FLOOR, 4 * self.rttvar)
        if self.state and ack >= self.recovery_point:
            self.state = OPEN
        if self.probed >= 0 and ack >= self.probed:
            self.probed = -1

    def on_sample(self, tap_rtt: Ns) -> None:
        """One RTT measurement (RFC 6298 2.2, 2.3), with the part before the tap added; Linux' floor of 200 ms."""
        if self.ack_delay < 0 or tap_rtt < self.ack_delay:
            self.ack_delay = tap_rtt
        if len(self.rtts) < 4096:
            self.rtts.append(tap_rtt)
        else:
            self.rtts[(self.packets * 2654435761 & _MASK) % 4096] = tap_rtt
        rtt = tap_rtt + self.upstream
        if not self.srtt:
            self.srtt, self.rttvar = rtt, rtt // 2
        else:
            self.rttvar += (abs(rtt - self.srtt) - self.rttvar) // 4
            self.srtt += (rtt - self.srtt) // 8

    def _sack(self, t_ns: Ns, ack: int, blocks: list[tuple[int, int]]) -> None:
        low, high = blocks[0]
        if high <= ack or (len(blocks) > 1 and blocks[1][0] <= low and high <= blocks[1][1]):
            self.dsacks += 1
            self.proves_needless(low, high, "dsack")
            blocks = blocks[1:]
        news = False
        for low, high in blocks:
            self.edge = max(self.edge, high)
            for segment in self.segments:
                if segment[START] >= high:
                    break
                if segment[START] >= low and segment[END] <= high and not segment[SACKED]:
                    segment[SACKED] = True
                    self.sacked_bytes += segment[END] - segment[START]
                    news = True
        if news:
            self.dupacks += 1

    def proves_needless(self, low: int, high: int, proof: str) -> None:
        """Mark the latest retransmission of this range as spurious."""
        for resend in reversed(self.recent):
            if resend.start < high and low < resend.end and resend.spurious is None:
                resend.spurious = proof
                self.spurious += 1
                return

    def find(self, position: int) -> Seg | None:
        """The outstanding or lately acknowledged segment that holds a position."""
        for segment in self.segments:
            if segment[START] <= position < segment[END]:
                return segment
        for segment in reversed(self.history):
            if segment[START] <= position < segment[END]:
                return segment
        return None

    def explain(self, resend: Resend, segment: Seg | None) -> None:
        """Find the cause of a retransmission by the state the sender was in."""
        now, evidence = resend.t_ns, resend.evidence
        sent = segment[SENT] if segment is not None else self.advanced_at
        head = not self.segments or resend.start <= self.una
        idle = now - max(sent, self.advanced_at)
        waited = now - sent
        threshold = self.rto * 9 // 10
        above = self.sacked_bytes > 0 or self.dupacks > 0
        tail = resend.end >= self.nxt
        evidence.append(f"{waited / 1e6:.3f} ms after the last copy")
        if self.srtt:
            evidence.append(f"RTO about {self.rto / 1e6:.0f} ms")
        if self._is_tail_probe(tail, above, idle):
            self._decide(resend, Cause.TLP, By.TIMER, 0.6 if head else 0.95)
            evidence.append("the last segment, no SACK above it")
            self.probed = self.nxt
        elif self.state == LOSS and not (head and idle >= threshold):
            self._decide(resend, Cause.LOSS, By.TIMER, 0.95)
            evidence.append("go-back-N until the recovery point of an RTO")
        elif head and idle >= threshold and not (above and now - self.last_ack_at < 2 * MILLISECOND):
            self._timeout(resend)
        elif self.state == RECOVERY:
            self._decide(resend, Cause.RECOVERY, self._by(segment), 0.95)
            evidence.append("a later hole of the same recovery")
        elif above or now - self.last_ack_at < MILLISECOND:
            self._decide(resend, Cause.FAST, self._by(segment), 0.95 if above else 0.5)
            evidence.append(f"{self.dupacks} duplicate ACKs, {self.sacked_bytes} octets SACKed")
            self.state, self.recovery_point = RECOVERY, self.nxt
        elif idle >= self.rto // 2:
            self._timeout(resend)
            resend.confidence = 0.6
        else:
            evidence.append("neither a timer's time nor evidence of loss")

    def _is_tail_probe(self, tail: bool, above: bool, idle: Ns) -> bool:
        if self.state or not tail or above or not self.sack_ok or self.probed >= 0 or not self.segments:
            return False
        return idle >= self.srtt * 3 // 2

    def _timeout(self, resend: Resend) -> None:
        self._decide(resend, Cause.RTO, By.TIMER, 0.95)
        resend.evidence.append(f"silence, backoff {self.backoff}" if self.backoff else "silence as long as the RTO")
        self.state, self.recovery_point = LOSS, self.nxt
        self.rto = min(self.rto * 2, 120_000 * MILLISECOND)
        self.backoff += 1
        self.stall += resend.t_ns - max(self.advanced_at, resend.original_at or self.advanced_at)
        for segment in self.segments:
            segment[SACKED] = segment[SACKED] and segment[START] > self.una

    def _by(self, segment: Seg | None) -> str:
        if not self.sack_ok:
            return By.DUPACK
        enough = 3 * (self.mss or 536)
        again = segment is not None and segment[COPIES] > 1
        return By.RACK if again or (self.sacked_bytes < enough and self.dupacks < 3) else By.SACK

    def _decide(self, resend: Resend, cause: str, by: str, confidence: float) -> None:
        resend.cause, resend.by, resend.confidence = cause, by, confidence
