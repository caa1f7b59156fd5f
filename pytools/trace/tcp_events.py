"""Trace events of TCP. `id` names the connection: "10.0.0.10:40000 > 10.0.0.2:80". See `trace.events` for the rules."""

from pytools.trace.events import TraceEvent


class StateChanged(TraceEvent):
    """The connection went from `old` to `new` because of `why` (the words of `stack.tcp.state`)."""

    name = "state_changed"
    __slots__ = ("id", "old", "new", "why")


class SegmentSent(TraceEvent):
    """A segment leaves. `seq` is relative to ISS; `flight` and `cwnd` count segments after it."""

    name = "segment_sent"
    __slots__ = ("id", "seq", "length", "flight", "cwnd")


class SegmentRetransmitted(TraceEvent):
    """A segment leaves again: `cause` and `by` as in `trace.cause`, `times` how often before plus one."""

    name = "segment_retransmitted"
    __slots__ = ("id", "seq", "length", "cause", "by", "times", "flight", "cwnd")


class RttUpdated(TraceEvent):
    """A round-trip sample and what became of the estimate (RFC 6298)."""

    name = "rtt_updated"
    __slots__ = ("id", "rtt_ns", "srtt_ns", "rttvar_ns", "rto_ns")


class CwndChanged(TraceEvent):
    """The congestion window, in segments."""

    name = "cwnd_changed"
    __slots__ = ("id", "cwnd", "ssthresh", "why")


class RecoveryEntered(TraceEvent):
    """A loss was found; `by` says what proved it."""

    name = "recovery_entered"
    __slots__ = ("id", "phase", "by", "cwnd", "ssthresh")


class RecoveryLeft(TraceEvent):
    """The recovery point is acknowledged."""

    name = "recovery_left"
    __slots__ = ("id", "cwnd", "ssthresh")


class ScoreboardChanged(TraceEvent):
    """SACK or duplicate ACKs: segments sacked, thought lost, sent again and in flight."""

    name = "scoreboard_changed"
    __slots__ = ("id", "sacked", "lost", "resent", "flight")


class WindowChanged(TraceEvent):
    """The peer offers another window, in octets."""

    name = "window_changed"
    __slots__ = ("id", "window")


class RtoExpired(TraceEvent):
    """The retransmission timer fired for the `count`-th time in a row; the next one is `rto_ns` away."""

    name = "rto_expired"
    __slots__ = ("id", "count", "rto_ns", "cwnd", "ssthresh")


class TcpTimerFired(TraceEvent):
    """Another timer of a connection: persist, keepalive, delayed-ack, time-wait, fin-wait-2."""

    name = "tcp_timer_fired"
    __slots__ = ("id", "timer", "count")


class ChallengeSent(TraceEvent):
    """A segment that could be an attack is answered with an ACK (RFC 5961); `why` names it."""

    name = "challenge_sent"
    __slots__ = ("id", "why")


class ConnectionEnded(TraceEvent):
    """The connection is gone; `error` is "" after an orderly end."""

    name = "connection_ended"
    __slots__ = ("id", "error")
