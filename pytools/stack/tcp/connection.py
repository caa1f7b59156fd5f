"""One TCP connection (RFC 9293): it knows the order, the pieces know the numbers.

Sequence numbers are unwrapped at the door (`output.unwrap`): plain ints that only grow, so that "earlier" is `<` also
after 4 GB. `segment` arguments are `wire.tcp.TcpHeader`s; `payload` is borrowed until return.
"""

import errno
from typing import Any, Final

from pytools.stack.tcp import arrival
from pytools.stack.tcp import state as st
from pytools.stack.tcp.config import TcpConfig
from pytools.stack.tcp.handshake import Agreement
from pytools.stack.tcp.info import TcpInfo
from pytools.stack.tcp.keepalive import Keepalive
from pytools.stack.tcp.output import ACK, FIN, RST, SYN, URG, SegmentOut, unwrap
from pytools.stack.tcp.receiver import MAX_WINDOW, Receiver
from pytools.stack.tcp.scoreboard import SentSegment
from pytools.stack.tcp.segmenter import Segmenter
from pytools.stack.tcp.snapshot import snapshot
from pytools.stack.tcp.timers import expire
from pytools.stack.tcp.timestamps import Timestamps
from pytools.stack.tcp.transmission import Transmission
from pytools.stack.tcp.urgent import Urgent
from pytools.trace.cause import By, Cause
from pytools.trace.drop import DropReason
from pytools.trace.hub import Trace
from pytools.trace.tcp_events import (
    ChallengeSent,
    ConnectionEnded,
    SegmentRetransmitted,
    SegmentSent,
    StateChanged,
    WindowChanged,
)
from pytools.units import NEVER, SECOND, Ns
from pytools.wire.tcp import TcpHeader
from pytools.wire.tcp_options import TcpOptions

# What the application must learn, as bits of `Connection.news`.
CONNECTED: Final = 1
READABLE: Final = 2
WRITABLE: Final = 4
PEER_CLOSED: Final = 8
ENDED: Final = 16
URGENT_DATA: Final = 32
SOFT_ERROR: Final = 64


class Connection:
    """From the first SYN to the last ACK. Non-blocking; the owner polls `poll_segment`, `news` and `next_deadline`."""

    __slots__ = (
        "_challenged_at",
        "keepalives",
        "_reset_due",
        "_syn_due",
        "agreement",
        "close_at",
        "config",
        "drop_reason",
        "due_at",
        "queued_at",
        "error",
        "flow",
        "id",
        "linger_ns",
        "news",
        "opened_at",
        "orphan",
        "passive",
        "path_mss",
        "receiver",
        "segmenter",
        "segments_in",
        "shut_read",
        "soft_error",
        "state",
        "timestamps",
        "trace",
        "transmission",
        "tx",
        "told",
        "user_timeout_ns",
        "owner",
        "key",
        "queued",
    )

    def __init__(
        self,
        config: TcpConfig,
        ident: str,
        iss: int,
        path_mss: int,
        default_mss: int,
        trace: Trace,
        timestamp_offset: int = 0,
    ) -> None:
        self.config = config
        self.id = ident
        self.trace = trace
        self.state = st.CLOSED
        self.path_mss = path_mss
        self.agreement = Agreement(config, config.mss or path_mss, default_mss)
        self.tx = self.transmission = Transmission(config, ident, iss, default_mss, trace)
        self.tx.sender.nagle = config.nagle
        self.receiver = Receiver(
            config.receive_buffer, config.receive_buffer_max, min(path_mss, default_mss), config.quick_acks
        )
        self.timestamps = Timestamps(timestamp_offset)
        self.segmenter = Segmenter(config, self.agreement, self.receiver, self.timestamps)
        self.error = 0
        self.soft_error = 0
        self.news = 0
        self.passive = False
        self.orphan = False
        self.shut_read = False
        self.linger_ns: Ns | None = None
        self.keepalives = Keepalive()
        self.user_timeout_ns: Ns = 0
        self.close_at: Ns = NEVER
        self.opened_at: Ns = 0
        self.segments_in = 0
        self.told: Any = None
        """The event that still waits for the application; more news go into it."""
        self.drop_reason = ""
        self.owner: object = None
        self.key: Any = None
        self.flow: Any = None
        self.queued = False
        self.due_at: Ns = NEVER
        self.queued_at: Ns = NEVER
        self._syn_due = False
        self._reset_due: tuple[int, int, int] | None = None
        self._challenged_at: Ns = -NEVER

    # Moves.

    def _go(self, event: str, now: Ns) -> None:
        old, self.state = self.state, st.step(self.state, event)
        if (emit := self.trace.state) is not None:
            emit(StateChanged(now, self.id, old, self.state, event))

    def end(self, event: str, error: int, now: Ns) -> None:
        """To CLOSED; nothing more is sent but a reset that is due."""
        if self.state is not st.CLOSED:
            self._go(event, now)
        self.error = self.error or error
        self.close_at = self.keepalives.at = self.tx.rto_at = self.tx.persist_at = NEVER
        self.receiver.ack_due_at, self.receiver.ack_now = NEVER, False
        self._syn_due = False
        self.news |= ENDED | READABLE | WRITABLE
        if (emit := self.trace.state) is not None:
            emit(ConnectionEnded(now, self.id, errno.errorcode.get(error, "") if error else ""))

    # The application's side.

    def open(self, now: Ns) -> None:
        """Active OPEN (RFC 9293 3.10.1): a SYN goes out."""
        self.opened_at = now
        self._go(st.ACTIVE_OPEN, now)
        self._syn_due = True

    def open_passive(self, segment: TcpHeader, options: TcpOptions, now: Ns) -> None:
        """A SYN reached a listener (RFC 9293 3.10.7.2, third): a SYN-ACK goes out."""
        self.passive = self.tx.passive = True
        self.opened_at = now
        self.state = st.LISTEN
        self._on_peer_syn(segment.seq, options, now)
        self.tx.sender.on_first_window(segment.seq, self.tx.sender.snd_una, segment.window)
        self._go(st.RCV_SYN, now)
        self._syn_due = True

    def restore(self, irs: int, mss: int, window: int, now: Ns) -> None:
        """SYN-RECEIVED as it would be if the SYN that a cookie stands for had been kept (no options but MSS)."""
        self.passive = self.tx.passive = True
        self.opened_at = now
        self.state = st.LISTEN
        options = TcpOptions()
        options.mss = mss
        self._on_peer_syn(irs, options, now)
        self.receiver.edge = self.receiver.rcv_nxt + min(self.receiver.free(), MAX_WINDOW)
        self._go(st.RCV_SYN, now)
        self.tx.on_syn_sent(now)
        self.tx.rto_at = NEVER

    def write(self, data: bytes, now: Ns = 0) -> int:
        """Queue data; returns how many octets were taken. The caller has checked that the state allows it."""
        if self.receiver.last_text_at and not self.receiver.answering:
            self.receiver.on_answered(now, self.config.delayed_ack_ns)
        return self.tx.sender.write(data)

    def writable_room(self) -> int:
        """Octets that `write` would take."""
        return self.tx.sender.room()

    def read(self, size: int, now: Ns) -> bytes:
        """Up to `size` octets that are readable now; b"" for none (see `at_end`)."""
        receiver = self.receiver
        data = receiver.read(size)
        if data and self.state in st.CAN_RECEIVE:
            receiver.tune(now, self.tx.rtt.srtt_ns)
            if receiver.window_update_due():
                receiver.ack_now = True
        return data

    @property
    def at_end(self) -> bool:
        """The peer has closed and everything is read."""
        return not self.receiver.queued and (self.receiver.fin_arrived() or self.shut_read or self.state is st.CLOSED)

    def shutdown_write(self, now: Ns) -> None:
        """Half-close: FIN after what is queued (RFC 9293 3.10.4)."""
        if self.state in (st.ESTABLISHED, st.SYN_RECEIVED, st.CLOSE_WAIT):
            self.tx.sender.fin_queued = True
            self._go(st.CLOSE, now)

    def close(self, now: Ns) -> None:
        """The application is done with both directions; a reset if it leaves text unread (RFC 9293 3.6.1, SHLD-3)."""
        self.orphan = True
        if self.state is st.TIME_WAIT or self.state is st.CLOSED:
            return
        if self.state is st.SYN_SENT:
            self.end(st.CLOSE, 0, now)
        elif self.receiver.queued or self.linger_ns == 0:
            self.abort(now)
        else:
            self.shutdown_write(now)
            if self.state is st.FIN_WAIT_2:
                self.close_at = now + self.config.fin_wait_2_ns

    def abort(self, now: Ns, error: int = 0) -> None:
        """RST to the peer, nothing kept (RFC 9293 3.10.5)."""
        if self.state in st.SYNCHRONIZED or self.state is st.SYN_RECEIVED:
            self._reset_due = (self.tx.sender.snd_nxt, self.receiver.rcv_nxt, RST | ACK)
        if self.state is st.TIME_WAIT:
            self._reset_due = None  # all was said; the state protects others and is not cut short
        elif self.state is not st.CLOSED:
            self.end(st.ABORT if self.state is not st.SYN_SENT else st.CLOSE, error, now)

    @property
    def keepalive(self) -> bool:
        """SO_KEEPALIVE."""
        return self.keepalives.on

    def set_keepalive(self, on: bool, now: Ns) -> None:
        """SO_KEEPALIVE (RFC 9293 3.8.4); off by default."""
        self.keepalives.on = on
        self.keepalives.probes = 0
        self.keepalives.at = now + self.config.keepalive_idle_ns if on and self.state in st.SYNCHRONIZED else NEVER

    def set_config(self, config: TcpConfig) -> None:
        """Settings of its own, where it shared a listener's so far."""
        self.config = self.tx.config = config
        self.segmenter.config = config
        if self.flow is not None:
            self.flow.config = config

    # Segments arrive.

    def on_segment(self, segment: TcpHeader, options: TcpOptions, payload: memoryview, now: Ns) -> None:
        """SEGMENT ARRIVES (RFC 9293 3.10.7)."""
        self.segments_in += 1
        self.drop_reason = ""
        if self.state is st.SYN_SENT:
            self._on_syn_sent(segment, options, payload, now)
            return
        seq = unwrap(segment.seq, self.receiver.rcv_nxt)
        end = seq + len(payload) + (segment.flags & SYN > 0) + (segment.flags & FIN > 0)
        if not (
            self._sequence(segment, options, seq, end, now)
            and self._reset(segment, seq, now)
            and self._syn(segment, options, seq, now)
        ):
            return
        if not segment.flags & ACK:
            self.drop_reason = DropReason.TCP_FLAGS
            return
        self.keepalives.heard(now, self.config.keepalive_idle_ns)
        if self._ack(segment, options, seq, payload, now):
            self._urgent(segment, seq)
            self._text(segment, seq, payload, now)
            self._fin(segment, seq, end, now)

    def _on_syn_sent(self, segment: TcpHeader, options: TcpOptions, payload: memoryview, now: Ns) -> None:
        """RFC 9293 3.10.7.3."""
        sender = self.tx.sender
        ack = unwrap(segment.ack, sender.snd_nxt)
        if segment.flags & ACK and not sender.iss < ack <= sender.snd_nxt:
            if not segment.flags & RST:
                self._reset_due = (ack, 0, RST)
            self.drop_reason = DropReason.TCP_INVALID_ACK_SEQUENCE
            return
        if segment.flags & RST:
            if segment.flags & ACK:
                self.end(st.RCV_RST, errno.ECONNREFUSED, now)
            else:
                self.drop_reason = DropReason.TCP_RESET
            return
        if not segment.flags & SYN:
            self.drop_reason = DropReason.TCP_FLAGS
            return
        self._on_peer_syn(segment.seq, options, now)
        sender.on_first_window(self.receiver.irs, ack, segment.window)
        if not segment.flags & ACK:
            self._go(st.RCV_SYN, now)
            self.tx.passive = True
            self.tx.board.mark_all_lost(forget_sacked=False)  # simultaneous open: the SYN goes again, now with ACK
            return
        retransmitted = bool(self.tx.board.segments and self.tx.board.segments[0].times)
        self._acknowledge(ack, [], options, now, duplicate=False)
        self._establish(st.RCV_SYN_ACK, retransmitted, now)
        self.receiver.ack_now = True
        seq = unwrap(segment.seq, self.receiver.rcv_nxt)
        end = seq + 1 + len(payload) + (segment.flags & FIN > 0)
        self._text(segment, seq + 1, payload, now)
        self._fin(segment, seq, end, now)

    def _on_peer_syn(self, seq: int, options: TcpOptions, now: Ns) -> None:
        """IRS and what the options agree on."""
        self.receiver.on_syn(seq)
        self.agreement.on_syn(options)
        agreed = self.agreement
        self.timestamps.enabled = agreed.timestamps
        if agreed.timestamps and options.ts_val is not None:
            self.timestamps.recent, self.timestamps.recent_at = options.ts_val, now
        self.tx.sack = agreed.sack
        self.tx.sender.scale = agreed.peer_shift
        self.receiver.scale = agreed.our_shift
        self.tx.sender.set_mss(agreed.effective_mss(self.path_mss))
        self.receiver.mss = min(agreed.peer_mss, agreed.advertised_mss)
        if agreed.timestamps:
            self.receiver.mss -= 12

    def _establish(self, event: str, syn_retransmitted: bool, now: Ns) -> None:
        self._go(event, now)
        if syn_retransmitted:
            self.tx.cc.cwnd = 1  # RFC 5681 3.1: a lost SYN starts with one segment
        self.tx.rtt.on_syn_timed_out(3 * SECOND if syn_retransmitted else 0)
        self.tx.retransmits = 0
        self.news |= CONNECTED | WRITABLE
        self.keepalives.heard(now, self.config.keepalive_idle_ns)

    def _sequence(self, segment: TcpHeader, options: TcpOptions, seq: int, end: int, now: Ns) -> bool:
        """First: PAWS (RFC 7323 5.3), then the sequence number."""
        stamp = options.ts_val
        ts = self.timestamps
        if ts.enabled and stamp is not None and ts.rejects(stamp, now) and not segment.flags & RST:
            self.drop_reason = DropReason.TCP_RFC7323_PAWS
            self._challenge("PAWS", seq, end, segment, now)
            return False
        receiver = self.receiver
        if not arrival.in_window(seq, end, receiver.wup, max(receiver.edge, receiver.rcv_nxt)):
            old = end <= receiver.rcv_nxt
            self.drop_reason = DropReason.TCP_OLD_SEQUENCE if old else DropReason.TCP_OVERWINDOW
            if segment.flags & SYN and self.state is st.SYN_RECEIVED and seq == receiver.irs:
                self._repeat_syn_ack(now)
            elif not segment.flags & RST:
                self._challenge("out of window", seq, end, segment, now)
            return False
        if ts.enabled and stamp is not None and seq <= receiver.wup:
            ts.on_value(stamp, now)
        return True

    def _repeat_syn_ack(self, now: Ns) -> None:
        """The peer did not hear our SYN-ACK."""
        self.tx.board.mark_all_lost(forget_sacked=False)

    def _challenge(self, why: str, seq: int, end: int, segment: TcpHeader, now: Ns) -> None:
        """An ACK that tells a true peer where we are (RFC 5961 7).

        At most one per `invalid_rate_ns`, except for text that came again, whose sender waits for our ACK.
        """
        old = end > seq and not segment.flags & SYN and seq < self.receiver.rcv_nxt
        if old and self.tx.sack and self.config.dsack:
            self.receiver.dsack = (seq, min(end, self.receiver.rcv_nxt))
        if segment.flags & SYN or end == seq:
            if now - self._challenged_at < self.config.invalid_rate_ns:
                return
            self._challenged_at = now
        self.receiver.ack_now = True
        if (emit := self.trace.state) is not None:
            emit(ChallengeSent(now, self.id, why))

    def _reset(self, segment: TcpHeader, seq: int, now: Ns) -> bool:
        """Second: RST (RFC 9293 3.10.7.4, RFC 5961 3.2)."""
        if not segment.flags & RST:
            return True
        self.drop_reason = DropReason.TCP_RESET
        if self.state is st.TIME_WAIT:
            return False  # RFC 1337: the state is not cut short
        if arrival.on_reset(seq, self.receiver.rcv_nxt) == arrival.CHALLENGE:
            self._challenge("RST inside the window", seq, seq, segment, now)
            return False
        if self.state is st.SYN_RECEIVED and not self.passive:
            self.end(st.RCV_RST, errno.ECONNREFUSED, now)
        else:
            self.end(st.RCV_RST, errno.EPIPE if self.state is st.CLOSE_WAIT else errno.ECONNRESET, now)
        return False

    def _syn(self, segment: TcpHeader, options: TcpOptions, seq: int, now: Ns) -> bool:
        """Fourth: SYN in the window (RFC 5961 4.2)."""
        if not segment.flags & SYN:
            return True
        if self.state is st.SYN_RECEIVED and seq == self.receiver.irs:
            if segment.flags & ACK:
                return True  # simultaneous open: the other SYN-ACK
            self._repeat_syn_ack(now)
            return False
        self.drop_reason = DropReason.TCP_INVALID_SYN
        self._challenge("SYN in a synchronized state", seq, seq, segment, now)
        return False

    def _ack(self, segment: TcpHeader, options: TcpOptions, seq: int, payload: memoryview, now: Ns) -> bool:
        """Fifth: ACK. False when the segment is to be dropped."""
        tx = self.tx
        sender = tx.sender
        ack = unwrap(segment.ack, sender.snd_una)
        if self.state is st.SYN_RECEIVED:
            if not sender.snd_una < ack <= sender.snd_nxt:
                self._reset_due = (ack, 0, RST)
                self.drop_reason = DropReason.TCP_INVALID_ACK_SEQUENCE
                return False
            retransmitted = bool(tx.board.segments and tx.board.segments[0].times)
            sender.snd_wl1 = seq - 1
            self._acknowledge(ack, [], options, now, duplicate=False)
            tx.on_window(seq, ack, segment.window << sender.scale, now)
            self._establish(st.ACK_OF_SYN, retransmitted, now)
            if segment.flags & SYN:
                self.receiver.ack_now = True  # simultaneous open: the peer's SYN-ACK wants an answer
            return True
        if arrival.on_ack(ack, sender.snd_una, sender.snd_nxt, sender.max_snd_wnd) == arrival.CHALLENGE:
            self.drop_reason = DropReason.TCP_ACK_UNSENT_DATA if ack > sender.snd_nxt else DropReason.TCP_TOO_OLD_ACK
            self._challenge("unacceptable ACK", seq, seq, segment, now)
            return False
        window = segment.window << sender.scale
        blocks = self._sack_blocks(options, segment.ack) if tx.sack and options.sack else []
        if ack >= sender.snd_una:
            duplicate = (
                ack == sender.snd_una
                and not payload
                and not segment.flags & (SYN | FIN)
                and window == sender.snd_wnd
                and bool(tx.board)
            )
            if tx.on_window(seq, ack, window, now) and (emit := self.trace.segment) is not None:
                emit(WindowChanged(now, self.id, window))
            if ack > sender.snd_una or blocks or duplicate:
                self._acknowledge(ack, blocks, options, now, duplicate=duplicate)
        elif blocks:
            self._acknowledge(sender.snd_una, blocks, options, now, duplicate=False)
        return self._after_ack(now)

    def _inside_second(self, start: int, end: int, options: TcpOptions, una: int) -> bool:
        """A duplicate of what is held out of order: the second block contains the first (RFC 2883 4.2)."""
        if len(options.sack) < 2:
            return False
        low, high = options.sack[1]
        return unwrap(low, una) <= start and end <= unwrap(high, una)

    def _sack_blocks(self, options: TcpOptions, ack: int) -> list[tuple[int, int]]:
        """Blocks unwrapped; those below SND.UNA are DSACKs (RFC 2883) and mark nothing."""
        una, nxt = self.tx.sender.snd_una, self.tx.sender.snd_nxt
        blocks: list[tuple[int, int]] = []
        first = True
        for left, right in options.sack:
            start, end = unwrap(left, una), unwrap(right, una)
            if first and start < end and (end <= unwrap(ack, una) or self._inside_second(start, end, options, una)):
                self.tx.dsacks += 1
                first = False
                continue
            first = False
            if start < end <= nxt and end > una:
                blocks.append((start, end))
        return blocks

    def _acknowledge(
        self, ack: int, blocks: list[tuple[int, int]], options: TcpOptions, now: Ns, *, duplicate: bool
    ) -> None:
        echo = options.ts_ecr
        ts_rtt = self.timestamps.rtt_ns(echo, now) if self.timestamps.enabled and echo else 0
        acked = self.tx.on_ack(ack, blocks, now, duplicate=duplicate, ts_rtt_ns=ts_rtt)
        if acked.bytes:
            self.news |= WRITABLE
            self.soft_error = 0
            if self.tx.sender.urgent and self.tx.sender.snd_una >= self.tx.sender.snd_up:
                self.tx.sender.urgent = False

    def _after_ack(self, now: Ns) -> bool:
        """Has our FIN been acknowledged? (fifth, the states after ESTABLISHED)."""
        sender = self.tx.sender
        if sender.fin_seq < sender.snd_una and self.state in st.FIN_SENT:
            self._go(st.ACK_OF_FIN, now)
            if self.state is st.TIME_WAIT:
                self._enter_time_wait(now)
            elif self.state is st.FIN_WAIT_2 and self.orphan:
                self.close_at = now + self.config.fin_wait_2_ns
            elif self.state is st.CLOSED:
                self.end(st.ACK_OF_FIN, 0, now)
                return False
        return True

    def _urgent(self, segment: TcpHeader, seq: int) -> None:
        """Sixth: the urgent pointer names the octet after the urgent data (RFC 6093, MUST-62)."""
        if not segment.flags & URG or self.state not in st.CAN_RECEIVE:
            return
        if not segment.urgent_pointer:
            return
        pointer = seq + segment.urgent_pointer
        old = self.receiver.urgent
        if pointer > (old.pointer if old is not None else self.receiver.read_seq):
            self.receiver.urgent = Urgent(pointer)
            self.news |= URGENT_DATA

    def _text(self, segment: TcpHeader, seq: int, payload: memoryview, now: Ns) -> None:
        """Seventh: the segment text."""
        if not len(payload):
            return
        receiver = self.receiver
        if self.state not in st.CAN_RECEIVE:
            return
        gone = self.orphan or (self.shut_read and self.state is not st.ESTABLISHED)
        if gone and seq + len(payload) > receiver.rcv_nxt:
            self._reset_due = (self.tx.sender.snd_nxt, 0, RST)  # as if there were no connection any more (3.10.7.1)
            self.end(st.ABORT, errno.ECONNRESET, now)  # nobody will read it (RFC 9293 3.6.1, SHLD-3)
            return
        edge = max(receiver.edge, receiver.rcv_nxt)
        if seq + len(payload) > edge:
            payload = payload[: edge - seq]
            receiver.ack_now = True
            if not len(payload):
                self.drop_reason = DropReason.TCP_ZEROWINDOW
                return
        if receiver.urgent is not None:
            receiver.urgent.on_text(seq, payload)
        if receiver.on_text(seq, payload, now, self.config.delayed_ack_ns):
            self.news |= READABLE

    def _fin(self, segment: TcpHeader, seq: int, end: int, now: Ns) -> None:
        """Eighth: FIN; also one that came earlier and whose gap is closed now."""
        receiver = self.receiver
        if self.state is st.CLOSED:
            return
        if segment.flags & FIN and receiver.rcv_nxt <= end - 1 <= receiver.edge:
            receiver.fin_seq = min(receiver.fin_seq, end - 1)
        if receiver.fin_seq != receiver.rcv_nxt:
            if segment.flags & FIN and end <= receiver.rcv_nxt:
                receiver.ack_now = True
                if self.state is st.TIME_WAIT:
                    self._enter_time_wait(now)  # "restart the 2 MSL timeout"
            return
        receiver.rcv_nxt += 1
        receiver.edge = max(receiver.edge, receiver.rcv_nxt)
        receiver.ack_now = True
        receiver.dsack = None  # as Linux: nothing will follow that a report could help
        self.news |= PEER_CLOSED | READABLE
        if self.state in (st.SYN_RECEIVED, st.ESTABLISHED, st.FIN_WAIT_1, st.FIN_WAIT_2):
            self._go(st.RCV_FIN, now)
        if self.state is st.TIME_WAIT:
            self._enter_time_wait(now)

    def _enter_time_wait(self, now: Ns) -> None:
        self.tx.rto_at = self.tx.persist_at = self.keepalives.at = NEVER
        self.close_at = now + self.config.time_wait_ns

    # Errors from the network.

    def on_icmp_error(self, seq: int, error: int, *, hard: bool, now: Ns) -> None:
        """An ICMP error about one of our segments (RFC 5927: only if it is in flight; hard ones are soft later)."""
        sender = self.tx.sender
        quoted = unwrap(seq, sender.snd_una)
        if not sender.snd_una <= quoted <= sender.snd_nxt:
            self.drop_reason = DropReason.TCP_INVALID_SEQUENCE
            return
        if self.state in (st.SYN_SENT, st.SYN_RECEIVED) and not self.passive and (hard or self.config.syn_fails_soft):
            self.end(st.REFUSED if self.state is st.SYN_SENT else st.ABORT, error, now)
        else:
            self.soft_error = error
            self.news |= SOFT_ERROR

    def in_flight(self, seq: int) -> bool:
        """Whether the quoted sequence number is one of ours on the way (IP4-34, RFC 5927 4.1)."""
        sender = self.tx.sender
        return sender.snd_una <= unwrap(seq, sender.snd_una) < max(sender.snd_nxt, sender.snd_una + 1)

    def on_path_mtu(self, mss: int) -> None:
        """The path takes less: segments of `mss` octets at most from now on (SHLD-6, RFC 5927 7.2)."""
        if mss != self.path_mss:
            self.path_mss = mss
            self.tx.on_path_mtu(self.agreement.effective_mss(mss))

    # Deadlines.

    def next_deadline(self) -> Ns:
        """When `on_deadline` is due, or NEVER."""
        tx = self.tx
        return min(tx.rto_at, tx.persist_at, self.receiver.ack_due_at, self.keepalives.at, self.close_at)

    def on_deadline(self, now: Ns) -> None:
        """Let every timer that is due fire."""
        expire(self, now)

    def is_idle(self) -> bool:
        """Nothing in flight and nothing queued."""
        return not self.tx.board and not self.tx.sender.unsent

    # What leaves.

    def poll_segment(self, now: Ns, limit: int) -> SegmentOut | None:
        """The next segment, or None: reset, SYN, lost, new, probe, pure ACK. `limit`: octets of a super-segment."""
        if self._reset_due is not None:
            return self._make_reset()
        if self.state is st.CLOSED or self.state is st.LISTEN:
            return None
        tx = self.tx
        if self._syn_due:
            self._syn_due = False
            return self._make(tx.on_syn_sent(now), "", now)
        receiver = self.receiver
        if receiver.ack_now and (receiver.dsack is not None or receiver.assembler) and self.state in st.SYNCHRONIZED:
            # First of all: an ACK on text is no duplicate ACK to the peer, and has no room for SACK (RFC 2018 4).
            return self.segmenter.ack(tx.sender.snd_nxt, now)
        if (lost := tx.poll_lost(now)) is not None:
            return self._make(lost[0], lost[1], now)
        if self.state is not st.SYN_SENT and self.state is not st.SYN_RECEIVED and self.state is not st.TIME_WAIT:
            if (new := tx.poll_new(limit, now)) is not None:
                return self._make(new, "", now)
            tx.arm_persist(now)
            if tx.probe_due:
                return self._make_probe(now)
        if receiver.ack_now and self.state is not st.SYN_SENT and self.state is not st.SYN_RECEIVED:
            return self.segmenter.ack(tx.sender.snd_nxt, now)
        receiver.ack_now = False
        return None

    def _make_reset(self) -> SegmentOut:
        assert self._reset_due is not None
        seq, ack, flags = self._reset_due
        self._reset_due = None
        return self.segmenter.reset(seq, ack, flags)

    def _make(self, segment: SentSegment, cause: str, now: Ns) -> SegmentOut:
        """A segment of the send queue: first transmission, or again because of `cause`."""
        if segment.syn:
            out = self.segmenter.syn(segment, self.state is not st.SYN_SENT, now)
        else:
            out = self.segmenter.data(segment, self.tx.sender, now)
        out.cause = cause
        self._trace_sent(segment, cause, now)
        return out

    def _make_probe(self, now: Ns) -> SegmentOut:
        """Window probe or keep-alive: SND.UNA - 1 without data, which the peer must answer."""
        if (segment := self.tx.poll_short(now)) is not None:
            return self._make(segment, "", now)
        sender = self.tx.sender
        out = self.segmenter.ack(sender.snd_una - 1, now)
        out.cause = Cause.ZWPROBE if sender.unsent or sender.fin_queued else Cause.KEEPALIVE
        self.tx.count_cause(out.cause, 1)
        return out

    def _trace_sent(self, segment: SentSegment, cause: str, now: Ns) -> None:
        if (emit := self.trace.segment) is None:
            return
        tx = self.tx
        seq, length, pipe, cwnd = segment.seq - tx.sender.iss, segment.length, tx.board.pipe, tx.cc.cwnd
        if cause:
            by = tx.by if cause in (Cause.FAST, Cause.RECOVERY) else By.TIMER
            emit(SegmentRetransmitted(now, self.id, seq, length, cause, by, segment.times, pipe, cwnd))
        else:
            emit(SegmentSent(now, self.id, seq, length, pipe, cwnd))

    def ready(self) -> bool:
        """Whether `poll_segment` may have something; cheap, asked after every call."""
        tx = self.tx
        return (
            self._reset_due is not None
            or self._syn_due
            or self.receiver.ack_now
            or tx.probe_due
            or tx.board.lost_out > tx.board.retrans_out
            or tx.sender.unsent > 0
            or tx.sender.fin_queued
        )

    def info(self) -> TcpInfo:
        """TCP_INFO."""
        return snapshot(self)
