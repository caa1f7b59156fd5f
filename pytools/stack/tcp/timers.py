"""The timers of a connection and what gives it up (RFC 6298 5, RFC 9293 3.8.3, 3.8.4, 3.8.6.1).

Part of `connection`: the same object, another page.
"""

import errno
from typing import TYPE_CHECKING, Final

from pytools.stack.tcp import state as st
from pytools.trace.tcp_events import RtoExpired, TcpTimerFired
from pytools.units import NEVER, Ns

if TYPE_CHECKING:
    from pytools.stack.tcp.connection import Connection

SOFT_ERROR: Final = 64
"""The bit of `Connection.news`."""
BLACK_HOLE_MSS: Final = 1024
"""What nearly every path takes (Linux tcp_base_mss)."""
LINGER_PROBES: Final = 4
"""Probes beyond `linger_retries` of a window that a peer keeps shut to a closed socket."""


def expire(c: "Connection", now: Ns) -> None:
    """Let every timer that is due fire."""
    if now >= c.receiver.ack_due_at:
        c.receiver.ack_due_at = NEVER
        c.receiver.ack_now = True
        _fired(c, "delayed-ack", 1, now)
    if now >= c.tx.rto_at:
        _on_rto(c, now)
    if now >= c.tx.persist_at:
        _on_persist(c, now)
    if now >= c.keepalives.at:
        _on_keepalive(c, now)
    if now >= c.close_at:
        c.close_at = NEVER
        _fired(c, "time-wait" if c.state is st.TIME_WAIT else "fin-wait-2", 1, now)
        c.end(st.TIMED_OUT, 0, now)


def _fired(c: "Connection", timer: str, count: int, now: Ns) -> None:
    if (emit := c.trace.timer) is not None:
        emit(TcpTimerFired(now, c.id, timer, count))


def _retry_limit(c: "Connection") -> int:
    if c.state is st.SYN_SENT:
        return c.config.syn_retries + c.config.syn_linear_timeouts  # Linux: the linear ones are extra
    if c.state is st.SYN_RECEIVED:
        return c.config.syn_ack_retries
    return c.config.linger_retries if c.orphan else c.config.retries2


def _give_up(c: "Connection", now: Ns) -> None:
    c.end(st.TIMED_OUT, c.soft_error or errno.ETIMEDOUT, now)


def _on_rto(c: "Connection", now: Ns) -> None:
    """RFC 6298 5.4, RFC 9293 3.8.3: R1 tells the application, R2 or the user timeout gives up."""
    tx = c.tx
    if not tx.board:
        tx.rto_at = NEVER
        return
    head = tx.board.segments[0]
    timed_out = bool(c.user_timeout_ns) and now - head.first_at >= c.user_timeout_ns
    if timed_out or (tx.retransmits >= _retry_limit(c) and not _window_shrank(c, now)):
        _give_up(c, now)
        return
    tx.on_rto(now)
    if c.state is st.SYN_SENT and tx.retransmits <= c.config.syn_linear_timeouts:
        tx.rtt.backoff_count = 0
        tx.rto_at = now + tx.rtt.rto_ns
    if c.user_timeout_ns:
        tx.rto_at = min(tx.rto_at, max(now + 1, head.first_at + c.user_timeout_ns))
    if tx.retransmits >= c.config.retries1:
        _on_trouble(c)
    if (emit := c.trace.timer) is not None:
        emit(RtoExpired(now, c.id, tx.retransmits, tx.rtt.rto_ns, tx.cc.cwnd, tx.cc.ssthresh))


def _window_shrank(c: "Connection", now: Ns) -> bool:
    """The peer lives but has shut its window over what is in flight: no reason to give up (SHLD-17)."""
    heard = c.state in st.SYNCHRONIZED and now - c.keepalives.heard_at <= c.config.rto_max_ns
    return heard and c.tx.sender.snd_wnd == 0


def _on_trouble(c: "Connection") -> None:
    """R1 (RFC 9293 3.8.3): tell the application, look for another route; perhaps long segments are swallowed."""
    tx = c.tx
    if tx.retransmits == c.config.retries1:
        c.news |= SOFT_ERROR
        if c.flow is not None:
            c.flow.doubt()
    suspect = c.config.black_hole_retries
    if suspect and tx.retransmits >= suspect and c.state in st.SYNCHRONIZED:
        floor = c.agreement.default_mss
        if tx.board.segments[0].length > floor:
            # RFC 4821 7.7, RFC 8899 4.3: first to what nearly every path takes, then to the least.
            c.on_path_mtu(max(floor, BLACK_HOLE_MSS) if c.path_mss > BLACK_HOLE_MSS else floor)


def _on_persist(c: "Connection", now: Ns) -> None:
    """A closed window is probed for ever while the peer answers (MUST-37), if an application still waits."""
    tx = c.tx
    limit = c.config.linger_retries if c.orphan else c.config.retries2
    given_up = tx.probes_out >= limit
    if c.orphan:
        given_up = given_up or tx.persist_backoff >= limit + LINGER_PROBES
    if c.user_timeout_ns and tx.persist_since != NEVER:
        given_up = given_up or now - tx.persist_since >= c.user_timeout_ns
    if given_up:
        _give_up(c, now)
        return
    tx.on_persist(now)
    if c.user_timeout_ns and tx.persist_since != NEVER:
        tx.persist_at = min(tx.persist_at, max(now + 1, tx.persist_since + c.user_timeout_ns))
    _fired(c, "persist", tx.persist_backoff, now)


def _on_keepalive(c: "Connection", now: Ns) -> None:
    """RFC 9293 3.8.4: a probe without data; the connection ends when several stay unanswered."""
    alive = c.keepalives
    alive.at = NEVER
    if c.state not in st.SYNCHRONIZED or c.state is st.TIME_WAIT:
        return
    if not c.is_idle():
        alive.at = now + c.config.keepalive_idle_ns
        return
    if alive.gives_up(c.config.keepalive_count, c.user_timeout_ns, now):
        c.abort(now, c.soft_error or errno.ETIMEDOUT)
        return
    alive.probes += 1
    c.tx.probe_due = True
    alive.at = now + c.config.keepalive_interval_ns
    _fired(c, "keepalive", alive.probes, now)
