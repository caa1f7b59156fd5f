"""What the stack did, in words: one row for each class of trace event.

The right half of a text line, the comment of a pcapng packet and the ladder take their words from here, so that a thing
has one name everywhere. Words are terse, in the present state of the stack, addresses and durations written out.

    words(NeighborChanged(now, 0, ip, mac, "INCOMPLETE", "REACHABLE", "reply"))
    # ARP 10.0.0.2 INCOMPLETE->REACHABLE 02:00:00:00:00:02 (reply)

Text that came from the network may be in them (a reason, a subject): escape before printing.
"""

from collections.abc import Callable
from typing import Any, Final

from pytools.engine import CHECKSUM_PARTIAL
from pytools.trace import events as trace
from pytools.trace import tcp_events as tcp
from pytools.units import Ns
from pytools.wire import icmp, icmp6
from pytools.wire.addr import format_ip, format_mac

INFINITE_SSTHRESH: Final = 0x7FFFFFFF

_WITH_MTU: Final = frozenset(((4, icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED), (6, icmp6.PACKET_TOO_BIG, 0)))
_WITH_POINTER: Final = frozenset(((4, icmp.PARAMETER_PROBLEM), (6, icmp6.PARAMETER_PROBLEM)))


def format_address(address: Any) -> str:
    """An IP or MAC address as text; text and anything else as it is (a target's name, a connection)."""
    if not isinstance(address, bytes):
        return str(address)
    if len(address) in (4, 16):
        return format_ip(address)
    return format_mac(address) if address else "?"


def format_ms(duration_ns: Ns) -> str:
    """A measured time: `0.057 ms`, always three digits after the point."""
    return f"{duration_ns / 1e6:.3f} ms"


def format_duration(duration_ns: Ns) -> str:
    """A set time: `1000 ms`, `0.5 ms`, no digits that say nothing."""
    return f"{duration_ns / 1e6:g} ms" if abs(duration_ns) < 1_000_000_000_000 else f"{duration_ns // 1_000_000_000} s"


def icmp_words(family: int, type_: int, code: int) -> str:
    """An ICMP type and code in the words of the packet notation: `UNREACH host`, `TOO-BIG`, `type 77 code 3`."""
    return icmp.name(type_, code) if family == 4 else icmp6.name(type_, code)


def _icmp(e: Any) -> str:
    """An error with the figure it carries: an MTU, a pointer, a gateway."""
    said, kind = icmp_words(e.family, e.type, e.code), (e.family, e.type, e.code)
    if kind in _WITH_MTU:
        return f"{said} mtu {e.info}"
    if kind[:2] in _WITH_POINTER:
        return f"{said} pointer {e.info}"
    if kind[:2] == (4, icmp.REDIRECT):
        return f"{said} to {format_ip(e.info.to_bytes(4, 'big'))}"
    return said


def _note(text: object) -> str:
    return f" ({text})" if text else ""


def _change(old: object, new: object) -> str:
    return f"{old}->{new}" if old else str(new)


def _frame_received(e: Any) -> str:
    return " ".join(filter(None, ("cksum offload" if e.checksum == CHECKSUM_PARTIAL else "", _gso(e))))


def _frame_sent(e: Any) -> str:
    return " ".join(filter(None, ("cksum offload" if e.csum_start else "", _gso(e))))


def _gso(e: Any) -> str:
    return f"gso {e.gso_size}" if e.gso_size else ""


def _dropped(e: Any) -> str:
    return f"drop {e.reason}{_note(e.detail)}"


def _timer_set(e: Any) -> str:
    return f"timer {e.timer} {format_address(e.subject)} in {format_duration(e.at - e.now)}"


def _timer_fired(e: Any) -> str:
    return f"TIMER {e.timer} {format_address(e.subject)} #{e.count}"


def _timer_stopped(e: Any) -> str:
    return f"timer {e.timer} {format_address(e.subject)} stopped"


def _neighbor_changed(e: Any) -> str:
    protocol = "ARP" if len(e.address) == 4 else "ND"
    mac = f" {format_mac(e.mac)}" if e.mac else ""
    return f"{protocol} {format_address(e.address)} {_change(e.old, e.new)}{mac}{_note(e.why)}"


def _address_conflict(e: Any) -> str:
    return f"CONFLICT {format_address(e.address)} with {format_address(e.mac)}{_note(e.action)}"


def _address_changed(e: Any) -> str:
    return f"addr {format_address(e.address)} {_change(e.old, e.new)}{_note(e.why)}"


def _packet_queued(e: Any) -> str:
    return f"queued {e.depth} for {format_address(e.next_hop)}"


def _fragment_queued(e: Any) -> str:
    return f"held {e.first}:{e.end}{'+' if e.more else ''} of id {e.ident}"


def _reassembled(e: Any) -> str:
    return f"reassembled id {e.ident} len {e.length} from {e.fragment_count}"


def _reassembly_timed_out(e: Any) -> str:
    return f"reassembly timed out id {e.ident} from {format_address(e.src)} ({e.held} octets held)"


def _fragmented(e: Any) -> str:
    return f"fragmented len {e.length} into {e.fragment_count} (mtu {e.mtu})"


def _path_mtu_changed(e: Any) -> str:
    by = f"by {format_address(e.reporter)}" if e.reporter else "(expired)"
    return f"pmtu {format_address(e.dst)} {_change(e.old, e.new)} {by}"


def _route_changed(e: Any) -> str:
    return f"route {format_address(e.dst)} via {format_address(e.gateway)} (redirect by {format_address(e.reporter)})"


def _echo_answered(e: Any) -> str:
    return "answered"


def _icmp_error_sent(e: Any) -> str:
    return f"tell {format_address(e.dst)}: {_icmp(e)}{_note(e.about)}"


def _icmp_error_suppressed(e: Any) -> str:
    return f"no {icmp_words(e.family, e.type, e.code)} sent{_note(e.why)}"


def _icmp_error_received(e: Any) -> str:
    return f"{format_address(e.src)} says: {_icmp(e)}{_note(e.about)}"


def _probe_sent(e: Any) -> str:
    return f"probe {format_address(e.target)} seq {e.seq}"


def _probe_answered(e: Any) -> str:
    return f"{'answered' if e.rtt_ns is None else 'rtt ' + format_ms(e.rtt_ns)}{_note(e.kind)}"


def _probe_lost(e: Any) -> str:
    return f"LOST {format_address(e.target)} seq {e.seq} (no answer in {format_duration(e.waited_ns)})"


def _probe_failed(e: Any) -> str:
    return f"FAILED {format_address(e.target)} seq {e.seq}: {e.why}"


def _wire_lost(e: Any) -> str:
    return f"WIRE lost {_wire_frame(e)}{_note(e.why)}"


def _wire_duplicated(e: Any) -> str:
    return f"WIRE doubled {_wire_frame(e)}"


def _wire_delayed(e: Any) -> str:
    return f"WIRE delayed {_wire_frame(e)} by {format_duration(e.extra_ns)}"


def _wire_corrupted(e: Any) -> str:
    return f"WIRE corrupted {_wire_frame(e)} (octet {e.octet} bit {e.bit})"


def _wire_frame(e: Any) -> str:
    return f"#{e.number} {e.direction}"


def _nothing(e: Any) -> str:
    return ""


def _state_changed(e: Any) -> str:
    return f"{e.old}->{e.new} ({e.why})"


def _segment_sent(e: Any) -> str:
    return f"flight {e.flight}/{e.cwnd}"


def _segment_retransmitted(e: Any) -> str:
    by = f" ({e.by})" if e.by else ""
    return f"RETX {e.cause}{by} #{e.times} flight {e.flight}/{e.cwnd}"


def _rtt_updated(e: Any) -> str:
    estimate = f"srtt {e.srtt_ns / 1e6:.3f} rttvar {e.rttvar_ns / 1e6:.3f} rto {e.rto_ns / 1e6:.0f}"
    return f"rtt {format_ms(e.rtt_ns)} ({estimate})"


def _windows(e: Any) -> str:
    return f"cwnd {e.cwnd} ssthresh {'inf' if e.ssthresh == INFINITE_SSTHRESH else e.ssthresh}"


def _cwnd_changed(e: Any) -> str:
    return f"{_windows(e)} ({e.why})"


def _recovery_entered(e: Any) -> str:
    return f"{e.phase.upper()} by {e.by} {_windows(e)}"


def _recovery_left(e: Any) -> str:
    return f"recovered {_windows(e)}"


def _scoreboard_changed(e: Any) -> str:
    return f"sacked {e.sacked} lost {e.lost} resent {e.resent} flight {e.flight}"


def _window_changed(e: Any) -> str:
    return f"peer window {e.window}"


def _rto_expired(e: Any) -> str:
    return f"RTO #{e.count} next {format_duration(e.rto_ns)} {_windows(e)}"


def _tcp_timer_fired(e: Any) -> str:
    return f"TIMER {e.timer} #{e.count}" if e.count > 1 else f"TIMER {e.timer}"


def _challenge_sent(e: Any) -> str:
    return f"challenge ACK ({e.why})"


def _connection_ended(e: Any) -> str:
    return f"ended {e.error}" if e.error else "ended"


WORDS: Final[dict[type[trace.TraceEvent], Callable[[Any], str]]] = {
    trace.FrameReceived: _frame_received,
    trace.FrameSent: _frame_sent,
    trace.Settled: _nothing,
    trace.Dropped: _dropped,
    trace.TimerSet: _timer_set,
    trace.TimerFired: _timer_fired,
    trace.TimerStopped: _timer_stopped,
    trace.NeighborChanged: _neighbor_changed,
    trace.AddressConflict: _address_conflict,
    trace.AddressChanged: _address_changed,
    trace.PacketQueued: _packet_queued,
    trace.FragmentQueued: _fragment_queued,
    trace.Reassembled: _reassembled,
    trace.ReassemblyTimedOut: _reassembly_timed_out,
    trace.Fragmented: _fragmented,
    trace.PathMtuChanged: _path_mtu_changed,
    trace.RouteChanged: _route_changed,
    trace.EchoAnswered: _echo_answered,
    trace.IcmpErrorSent: _icmp_error_sent,
    trace.IcmpErrorSuppressed: _icmp_error_suppressed,
    trace.IcmpErrorReceived: _icmp_error_received,
    trace.ProbeSent: _probe_sent,
    trace.ProbeAnswered: _probe_answered,
    trace.ProbeLost: _probe_lost,
    trace.ProbeFailed: _probe_failed,
    tcp.StateChanged: _state_changed,
    tcp.SegmentSent: _segment_sent,
    tcp.SegmentRetransmitted: _segment_retransmitted,
    tcp.RttUpdated: _rtt_updated,
    tcp.CwndChanged: _cwnd_changed,
    tcp.RecoveryEntered: _recovery_entered,
    tcp.RecoveryLeft: _recovery_left,
    tcp.ScoreboardChanged: _scoreboard_changed,
    tcp.WindowChanged: _window_changed,
    tcp.RtoExpired: _rto_expired,
    tcp.TcpTimerFired: _tcp_timer_fired,
    tcp.ChallengeSent: _challenge_sent,
    tcp.ConnectionEnded: _connection_ended,
    trace.WireLost: _wire_lost,
    trace.WireDuplicated: _wire_duplicated,
    trace.WireDelayed: _wire_delayed,
    trace.WireCorrupted: _wire_corrupted,
}

DETAIL: Final = frozenset((trace.TimerSet, trace.TimerStopped, trace.ProbeSent, trace.IcmpErrorReceived))
"""Said from -vv on: timers that did nothing yet, and what the packet beside it says already."""


def words(event: trace.TraceEvent) -> str:
    """The words for one event; "" when there is nothing to say beyond the packet itself."""
    return WORDS[type(event)](event)


def right_half(events: list[trace.TraceEvent], level: int) -> str:
    """The words of all `events` that count at this level of detail (1 is -v), with commas between."""
    if level > 1:
        return ", ".join([said for e in events if (said := WORDS[type(e)](e))])
    return ", ".join([said for e in events if type(e) not in DETAIL and (said := WORDS[type(e)](e))])
