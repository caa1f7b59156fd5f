"""Reliable sending: what leaves, when it leaves again and why (RFC 6298, 5681, 6582, 6675, 6937).

Joins the sender's numbers, the scoreboard, the RTT estimate, recovery and congestion control. It knows nothing of
states, options or the receiving half. Here, and nowhere else, is decided why each segment leaves.
"""

from pytools.stack.tcp.config import TcpConfig
from pytools.stack.tcp.congestion.base import CongestionControl, make
from pytools.stack.tcp.recovery import DISORDER, LOSS, OPEN, RECOVERY, Recovery
from pytools.stack.tcp.rtt import RttEstimator
from pytools.stack.tcp.scoreboard import DUP_THRESH, Acked, Scoreboard, SentSegment
from pytools.stack.tcp.sender import Sender
from pytools.trace.cause import By, Cause
from pytools.trace.hub import Trace
from pytools.trace.tcp_events import CwndChanged, RecoveryEntered, RecoveryLeft, RttUpdated, ScoreboardChanged
from pytools.units import NEVER, Ns


class Transmission:
    """One direction's data until it is acknowledged."""

    __slots__ = (
        "board",
        "bytes_acked",
        "bytes_retransmitted",
        "by",
        "causes",
        "cc",
        "config",
        "cwnd_limited",
        "dsacks",
        "dupacks",
        "id",
        "passive",
        "persist_at",
        "persist_backoff",
        "probe_due",
        "probes_out",
        "recovery",
        "retransmits",
        "rto_at",
        "rtt",
        "sack",
        "sender",
        "last_sent_at",
        "persist_since",
        "total_retransmitted",
        "trace",
    )

    def __init__(self, config: TcpConfig, ident: str, iss: int, mss: int, trace: Trace) -> None:
        self.config = config
        self.id = ident
        self.trace = trace
        self.sender = Sender(iss, config.send_buffer, mss)
        self.board = Scoreboard()
        self.rtt = RttEstimator(config.rto_initial_ns, config.rto_min_ns, config.rto_max_ns)
        self.cc: CongestionControl = make(config.congestion, config.initial_cwnd)
        self.recovery = Recovery()
        self.sack = False
        self.passive = False
        """Our SYN is an answer."""
        self.dsacks = 0
        """Duplicates that the peer has told of (RFC 2883)."""
        self.dupacks = 0
        self.by = ""
        self.rto_at: Ns = NEVER
        self.persist_at: Ns = NEVER
        self.persist_backoff = 0
        self.persist_since: Ns = NEVER
        """When the probes that are still unanswered began."""
        self.probe_due = False
        self.probes_out = 0
        """Probes of a closed window since it last answered."""
        self.retransmits = 0
        """Timeouts in a row without progress."""
        self.last_sent_at: Ns = 0
        """When new data left last; after an idle time the window is old news (RFC 5681 4.1)."""
        self.cwnd_limited = False
        self.causes: dict[str, int] = {}
        self.bytes_acked = 0
        self.bytes_retransmitted = 0
        self.total_retransmitted = 0

    # Acknowledgments.

    def on_ack(self, ack: int, blocks: list[tuple[int, int]], now: Ns, *, duplicate: bool, ts_rtt_ns: Ns) -> Acked:
        """An acceptable ACK. `duplicate` as RFC 5681 2 defines it; `ts_rtt_ns` > 0 is a sample from timestamps."""
        sender, board = self.sender, self.board
        advanced = ack > sender.snd_una
        pipe_before = board.pipe
        acked = board.on_ack(ack, sender.mss) if advanced else Acked()
        if advanced:
            self.bytes_acked += ack - sender.snd_una
            sender.snd_una = ack
            self.retransmits = 0
        if blocks and self.sack:
            board.on_sack(blocks, sender.mss, acked)
        self._sample(acked, advanced, now, ts_rtt_ns)
        self._count_duplicates(advanced, duplicate, acked)
        self._recover(acked, advanced, pipe_before, now)
        if advanced or acked.sacked_count:
            self._rearm(now, advanced)
        if (acked.sacked_count or duplicate) and (emit := self.trace.recovery) is not None:
            sacked = board.sacked_out + board.reno_sacked
            emit(ScoreboardChanged(now, self.id, sacked, board.lost_out, board.retrans_out, board.pipe))
        return acked

    def _sample(self, acked: Acked, advanced: bool, now: Ns, ts_rtt_ns: Ns) -> None:
        """One RTT sample an ACK at most; never from a segment sent twice (Karn) unless timestamps tell."""
        if acked.rtt_at != NEVER and not (acked.retransmitted and advanced):
            rtt_ns = now - acked.rtt_at
        elif ts_rtt_ns and advanced:
            rtt_ns = ts_rtt_ns
        else:
            return
        self.rtt.on_sample(rtt_ns)
        if (emit := self.trace.recovery) is not None:
            emit(RttUpdated(now, self.id, rtt_ns, self.rtt.srtt_ns, self.rtt.rttvar_ns, self.rtt.rto_ns))

    def _count_duplicates(self, advanced: bool, duplicate: bool, acked: Acked) -> None:
        if advanced:
            if not self.sack and self.board.reno_sacked:
                # A cumulative ACK covers one hole and what the duplicate ACKs stood for (Linux tcp_remove_reno_sacks).
                self.board.reno_sacked = max(0, self.board.reno_sacked - max(acked.count - 1, 0))
                if not self.recovery.recovering:
                    self.board.reno_sacked = 0
            self.dupacks = 0
        elif duplicate:
            self.dupacks += 1
            if not self.sack:
                self.board.reno_sacked = min(self.board.reno_sacked + 1, max(self.board.packets_out - 1, 0))

    def _recover(self, acked: Acked, advanced: bool, pipe_before: int, now: Ns) -> None:
        """The phases: open or disorder, fast recovery, loss (RFC 6675 5, RFC 6582 3.2)."""
        recovery, board = self.recovery, self.board
        if recovery.recovering and self.sender.snd_una >= recovery.recovery_point and advanced:
            self._leave(now)
            return
        newly_lost = board.mark_lost_below_sacked(self.sender.mss) if board.sacked_out else 0
        if recovery.phase is RECOVERY:
            if advanced and not self.sack:
                board.mark_head_lost(self.sender.mss)  # RFC 6582 3.2: a partial ACK means the next hole
                newly_lost = 1
            self._reduce(acked, newly_lost > 0, advanced, now)
        elif recovery.phase is LOSS:
            if advanced:
                self._grow(acked, now)
        elif self._loss_found():
            self._enter_recovery(acked, now)
        else:
            recovery.phase = DISORDER if board.sacked_out or board.reno_sacked else OPEN
            if advanced and recovery.phase is OPEN and self.cwnd_limited:
                self._grow(acked, now)

    def _loss_found(self) -> bool:
        if not self.board:
            return False
        return self.board.lost_out > 0 or self.board.reno_sacked >= DUP_THRESH

    def _enter_recovery(self, acked: Acked, now: Ns) -> None:
        self.by = By.SACK if self.sack else By.DUPACK
        cc = self.cc
        cc.ssthresh = cc.on_loss(self.board.pipe, now)
        self.recovery.enter(self.sender.snd_nxt, cc.cwnd)
        if not self.board.lost_out:
            self.board.mark_head_lost(self.sender.mss)
        if (emit := self.trace.recovery) is not None:
            emit(RecoveryEntered(now, self.id, self.recovery.phase, self.by, cc.cwnd, cc.ssthresh))
        self._reduce(acked, True, False, now)

    def _reduce(self, acked: Acked, newly_lost: bool, advanced: bool, now: Ns) -> None:
        delivered = acked.delivered
        if not self.sack and not advanced and self.dupacks:
            delivered = 1
        pipe, partial = self.board.pipe, advanced and not self.sack
        cwnd = self.recovery.window(delivered, newly_lost, advanced, pipe, self.cc.ssthresh, must_send=partial)
        self._set_cwnd(cwnd, "recovery", now)

    def _leave(self, now: Ns) -> None:
        was_fast = self.recovery.phase is RECOVERY
        self.recovery.leave()
        self.board.reno_sacked = 0
        if was_fast:
            self._set_cwnd(self.cc.ssthresh, "recovered", now)
        if (emit := self.trace.recovery) is not None:
            emit(RecoveryLeft(now, self.id, self.cc.cwnd, self.cc.ssthresh))

    def _grow(self, acked: Acked, now: Ns) -> None:
        before = self.cc.cwnd
        self.cc.on_ack(acked.delivered, self.board.pipe, self.rtt.latest_ns, now)
        if self.cc.cwnd != before and (emit := self.trace.recovery) is not None:
            emit(CwndChanged(now, self.id, self.cc.cwnd, self.cc.ssthresh, "ack"))

    def _set_cwnd(self, cwnd: int, why: str, now: Ns) -> None:
        cwnd = max(cwnd, 1)
        if cwnd != self.cc.cwnd:
            self.cc.cwnd = cwnd
            if (emit := self.trace.recovery) is not None:
                emit(CwndChanged(now, self.id, cwnd, self.cc.ssthresh, why))

    def _rearm(self, now: Ns, advanced: bool) -> None:
        """RFC 6298 5.2, 5.3."""
        if not self.board:
            self.rto_at = NEVER
        elif advanced:
            self.rto_at = now + self.rtt.rto_ns

    def on_window(self, seq: int, ack: int, window: int, now: Ns) -> bool:
        """The peer's window; ends or begins persisting. True when it changed."""
        changed = self.sender.on_window(seq, ack, window)
        if self.probes_out:
            self.probes_out = 0  # it lives: MUST-37
            self.persist_since = NEVER
        if self.persist_at != NEVER and not self.sender.window_blocks():
            self.persist_at = NEVER
            self.persist_backoff = 0
            self.probe_due = False
        return changed

    # Timers.

    def on_rto(self, now: Ns) -> None:
        """The retransmission timer expired (RFC 6298 5.4 to 5.6, RFC 5681 3.1)."""
        board, recovery, cc = self.board, self.recovery, self.cc
        self.retransmits += 1
        fresh = recovery.phase is not LOSS or self.sender.snd_una > recovery.recovery_point
        if fresh:
            cc.ssthresh = cc.on_loss(board.pipe, now)
        reneged = board.segments[0].sacked
        board.mark_all_lost(forget_sacked=reneged)
        recovery.enter_loss(self.sender.snd_nxt)
        self.by = By.TIMER
        cc.on_timeout(now)
        self._set_cwnd(1, "rto", now)
        self.rtt.on_timeout()
        self.rto_at = now + self.rtt.rto_ns

    def arm_persist(self, now: Ns) -> None:
        """Nothing in flight and the window shut: probe after one RTO, then at growing intervals (SHLD-29, SHLD-30).

        The same timer sends what a cork holds back (MUST-60).
        """
        if self.persist_at == NEVER and not self.board and self.sender.holds_back():
            base = max(self.rtt.base_rto_ns, self.config.rto_min_ns)
            self.persist_at = now + min(base << min(self.persist_backoff, 16), self.config.rto_max_ns)

    def on_persist(self, now: Ns) -> None:
        """A probe is due."""
        self.persist_at = NEVER
        if self.board or not self.sender.holds_back():
            return
        self.probe_due = True
        if not self.sender.window_blocks():
            return
        if self.persist_since == NEVER:
            self.persist_since = now
        self.probes_out += 1
        self.persist_backoff += 1
        self.arm_persist(now)

    # What leaves.

    def poll_lost(self, now: Ns) -> tuple[SentSegment, str] | None:
        """The next segment to send again, with its cause, if the window allows."""
        board = self.board
        if board.lost_out - board.retrans_out <= 0:
            return None
        index = board.next_lost()
        if index < 0:
            return None
        segment = board.segments[index]
        room = self.cc.cwnd - board.pipe
        if room <= 0:
            return None
        mss = self.sender.mss
        if segment.count > room or segment.length > mss * max(segment.count, 1):
            board.divide(index, room * mss, mss)
        cause = self._cause(segment)
        board.on_retransmitted(segment, now)
        self.recovery.prr_out += segment.count
        self.total_retransmitted += segment.count
        self.bytes_retransmitted += segment.length
        self.count_cause(cause, segment.count)
        if self.rto_at == NEVER:
            self.rto_at = now + self.rtt.rto_ns
        return segment, cause

    def _cause(self, segment: SentSegment) -> str:
        cause = self.recovery.cause()
        if segment.syn:
            return Cause.SYN if not self.passive else Cause.SYNACK
        if segment.fin and not segment.length:
            return Cause.FIN
        return cause

    def poll_new(self, limit: int, now: Ns) -> SentSegment | None:
        """New data as one (super-)segment, or the FIN, if both windows allow."""
        sender, board = self.sender, self.board
        if not sender.unsent and not sender.fin_queued:
            return None
        if not board and self.last_sent_at and now - self.last_sent_at > self.rtt.rto_ns:
            self._after_idle(now)
        room = self.cc.cwnd - board.pipe
        size = sender.sendable(room, sender.mss if sender.urgent else limit)
        if not size and not self._fin_may_go(0):
            self.cwnd_limited = self.cwnd_limited or (room <= 0 and sender.unsent > 0)
            return None
        parts = sender.take(size) if size else ()
        fin = self._fin_may_go(size)
        if fin:
            sender.fin_queued = False
            sender.fin_seq = sender.snd_nxt + size
        count = max(1, -(-size // sender.mss))
        push = size > 0 and not sender.unsent
        segment = SentSegment(
            sender.snd_nxt,
            sender.snd_nxt + size + fin,
            parts,
            count,
            now,
            syn=False,
            fin=fin,
            push=push,
        )
        sender.snd_nxt = segment.end
        sender.on_sent(size)
        board.append(segment)
        self.last_sent_at = now
        if self.recovery.phase is RECOVERY:
            self.recovery.prr_out += count
        self.cwnd_limited = board.pipe >= self.cc.cwnd or (
            self.cc.cwnd < self.cc.ssthresh and 2 * board.pipe >= self.cc.cwnd
        )
        if self.rto_at == NEVER:
            self.rto_at = now + self.rtt.rto_ns
        return segment

    def _fin_may_go(self, size: int) -> bool:
        """A FIN after `size` octets needs its octet of the peer's window, but no room in the congestion window."""
        sender = self.sender
        return sender.fin_queued and not sender.unsent and sender.snd_nxt + size < sender.window_end

    def _after_idle(self, now: Ns) -> None:
        """The path may have changed: half the window for each RTO without use, down to the initial one (CC-10)."""
        cwnd, floor, idle = self.cc.cwnd, self.config.initial_cwnd, now - self.last_sent_at
        self.cc.ssthresh = max(self.cc.ssthresh, 3 * cwnd // 4)
        while cwnd > floor and idle > self.rtt.rto_ns:
            cwnd, idle = cwnd >> 1, idle - self.rtt.rto_ns
        if self.cc.cwnd > floor:
            self._set_cwnd(max(cwnd, floor), "idle", now)

    def poll_short(self, now: Ns) -> SentSegment | None:
        """What fits a window below one MSS, sent after the override timeout (RFC 9293 3.8.6.2.1)."""
        self.probe_due = False
        sender = self.sender
        size = min(sender.window_end - sender.snd_nxt, sender.unsent, sender.mss)
        if size <= 0:
            return None
        self.last_sent_at = now
        parts = sender.take(size)
        segment = SentSegment(sender.snd_nxt, sender.snd_nxt + size, parts, 1, now, syn=False, fin=False, push=True)
        sender.snd_nxt = segment.end
        self.board.append(segment)
        self.rto_at = now + self.rtt.rto_ns
        return segment

    def text_sent(self) -> int:
        """Octets of text sent, each once; SYN and FIN are none."""
        sender = self.sender
        return max(0, sender.snd_nxt - sender.iss - 1 - (sender.snd_nxt > sender.fin_seq))

    def text_acked(self) -> int:
        """Octets of text that the peer has acknowledged."""
        sender = self.sender
        return max(0, sender.snd_una - sender.iss - 1 - (sender.snd_una > sender.fin_seq))

    def count_cause(self, cause: str, count: int) -> None:
        """Statistics by cause."""
        self.causes[cause] = self.causes.get(cause, 0) + count

    def on_syn_sent(self, now: Ns) -> SentSegment:
        """Our SYN leaves for the first time."""
        sender = self.sender
        segment = SentSegment(sender.iss, sender.iss + 1, (), 1, now, syn=True, fin=False, push=False)
        sender.snd_nxt = segment.end
        self.board.append(segment)
        self.rto_at = now + self.rtt.rto_ns
        return segment

    def on_path_mtu(self, mss: int) -> None:
        """Segments in flight may be too long: cut them and send them again, without touching cwnd (RFC 1191 6.5)."""
        smaller = mss < self.sender.mss
        self.sender.set_mss(mss)
        if smaller and self.board.resegment(self.sender.mss):
            self.recovery.cause_next = Cause.UNKNOWN
