"""TIME-WAIT: what is left of a connection for 2 MSL (RFC 9293 3.10.7.4, RFC 1337, RFC 6191).

The connection itself with its buffers is let go when it comes here: a busy server has tens of thousands of these.
"""

from typing import TYPE_CHECKING, Final

from pytools.stack.tcp import state as st
from pytools.stack.tcp.output import ACK, FIN, RST, SYN, SegmentOut, unwrap
from pytools.stack.tcp.timestamps import newer
from pytools.trace.drop import DropReason
from pytools.trace.hub import Trace
from pytools.trace.tcp_events import ChallengeSent, ConnectionEnded, StateChanged, TcpTimerFired
from pytools.units import MS, NEVER, Ns
from pytools.wire import tcp_options
from pytools.wire.tcp import TcpHeader
from pytools.wire.tcp_options import TcpOptions

if TYPE_CHECKING:
    from pytools.stack.tcp.connection import Connection

MASK: Final = 0xFFFFFFFF
NEW_ISS_DISTANCE: Final = 65535 + 2
"""How far beyond the old numbers a new incarnation starts (Linux; RFC 1122 4.2.2.13 (1): larger than the largest)."""


class TimeWait:
    """Answers what is still on its way, and tells a new SYN from an old one."""

    __slots__ = (
        "answered_at",
        "config",
        "due_at",
        "id",
        "key",
        "queued_at",
        "rcv_nxt",
        "snd_nxt",
        "stamp_offset",
        "stamps",
        "ts_recent",
        "window",
    )

    def __init__(self, connection: "Connection") -> None:
        stamps = connection.timestamps
        self.key = connection.key
        self.id = connection.id
        self.config = connection.config
        self.snd_nxt = connection.tx.sender.snd_nxt
        self.rcv_nxt = connection.receiver.rcv_nxt
        self.window = min(connection.receiver.rcv_wnd >> connection.receiver.scale, 0xFFFF)
        self.stamps = stamps.enabled
        self.stamp_offset = stamps.offset
        self.ts_recent = stamps.recent
        self.answered_at: Ns = -NEVER
        self.due_at: Ns = NEVER
        self.queued_at: Ns = NEVER

    def on_segment(
        self, segment: TcpHeader, options: TcpOptions, length: int, now: Ns, trace: Trace
    ) -> tuple[str, SegmentOut | None, bool]:
        """(drop reason or "", the answer, whether the 2 MSL start again)."""
        if segment.flags & RST:
            return DropReason.TCP_RESET, None, False  # RFC 1337: the state is not cut short
        seq = unwrap(segment.seq, self.rcv_nxt)
        end = seq + length + (segment.flags & SYN > 0) + (segment.flags & FIN > 0)
        stamp = options.ts_val
        old = self.stamps and stamp is not None and newer(self.ts_recent, stamp)
        if segment.flags & FIN and not segment.flags & SYN and end <= self.rcv_nxt and not old:
            return "", self._answer(now), True  # the peer's FIN again: our ACK was lost
        if not old and seq == self.rcv_nxt == end and segment.flags & ACK:
            return "", None, False
        if now - self.answered_at < self.config.invalid_rate_ns:
            return DropReason.TCP_OLD_SEQUENCE, None, False
        self.answered_at = now
        if (emit := trace.state) is not None:
            emit(ChallengeSent(now, self.id, "segment in TIME-WAIT"))
        return DropReason.TCP_OLD_SEQUENCE, self._answer(now), False

    def _answer(self, now: Ns) -> SegmentOut:
        out = SegmentOut(self.snd_nxt, self.rcv_nxt, ACK, self.window)
        if self.stamps:
            out.options = tcp_options.timestamps((now // MS + self.stamp_offset) & MASK, self.ts_recent)
        return out

    def reopens(self, segment: TcpHeader, options: TcpOptions) -> bool:
        """Whether this SYN begins a new incarnation (RFC 6191 2, RFC 9293 MAY-2)."""
        if segment.flags & (SYN | RST | ACK | FIN) != SYN:
            return False
        stamp = options.ts_val
        if self.stamps and stamp is not None and stamp != self.ts_recent:
            return newer(stamp, self.ts_recent)
        return unwrap(segment.seq, self.rcv_nxt) > self.rcv_nxt

    def next_iss(self) -> int:
        """Where the new incarnation's numbers start."""
        return (self.snd_nxt + NEW_ISS_DISTANCE) & MASK

    def expire(self, now: Ns, trace: Trace) -> None:
        """2 MSL are over."""
        if (emit := trace.timer) is not None:
            emit(TcpTimerFired(now, self.id, "time-wait", 1))
        self.end(st.TIMED_OUT, now, trace)

    def end(self, why: str, now: Ns, trace: Trace) -> None:
        """To CLOSED."""
        if (emit := trace.state) is not None:
            emit(StateChanged(now, self.id, st.TIME_WAIT, st.CLOSED, why))
            emit(ConnectionEnded(now, self.id, ""))
