"""tcpconnect's lines: one an attempt, a summary in ping's shape, and what TCP_INFO tells."""

import os
from collections.abc import Sequence
from typing import Final, Protocol

from pytools.probe.statistics import RttSum
from pytools.probe.tcpconnect_events import (
    FAILED,
    OPEN,
    OUTCOMES,
    REFUSED,
    TIMED_OUT,
    UNREACHABLE,
    ConnectClosed,
    ConnectResult,
    Tally,
)
from pytools.render.icmp_words import error_words
from pytools.render.ping_text import format_percent, format_rtt, ms
from pytools.units import MS, US, Ns
from pytools.wire.addr import format_ip

WORDS: Final = {
    OPEN: "open",
    REFUSED: "refused",
    TIMED_OUT: "timed out",
    UNREACHABLE: "unreachable",
    FAILED: "failed",
}


class Writer(Protocol):
    """Where lines go."""

    def write(self, text: str, /) -> object:
        """One or more lines."""


def time_text(took_ns: Ns) -> str:
    """A handshake's time with ping's digits."""
    return f"{format_rtt((took_ns + 500) // US)} ms"


def result_words(result: ConnectResult) -> str:
    """What became of an attempt, with who said it."""
    if result.outcome == OPEN:
        return f"open time={time_text(result.took_ns)}"
    if result.outcome == TIMED_OUT:
        syns = "1 SYN" if result.syn_count == 1 else f"{result.syn_count} SYNs"
        return f"timed out after {result.took_ns // MS} ms, {syns}{_from(result)}"
    if result.outcome == FAILED:
        return f"failed: {os.strerror(result.errno)}"
    return f"{WORDS[result.outcome]}{_from(result)} time={time_text(result.took_ns)}"


def _from(result: ConnectResult) -> str:
    error = result.icmp
    if error is None:
        return ""
    return f": From {format_ip(error.src)} {error_words(error.family, error.type, error.code, error.info)}"


def result_line(label: str, result: ConnectResult) -> str:
    """The line of one attempt."""
    return f"{label}: seq={result.seq} {result_words(result)}"


def counts_text(tallies: Sequence[Tally]) -> str:
    """`3 attempts, 2 open, 1 refused, 33.3333% failed`."""
    started = sum(tally.started for tally in tallies)
    counts = {name: sum(tally.counts[name] for tally in tallies) for name in OUTCOMES}
    finished = sum(counts.values())
    parts = [f"{started} attempt{'s' if started != 1 else ''}", f"{counts[OPEN]} open"]
    parts += [f"{counts[name]} {WORDS[name]}" for name in OUTCOMES[1:] if counts[name]]
    if finished:
        parts.append(f"{format_percent(100 * (finished - counts[OPEN]) / finished)}% without success")
    return ", ".join(parts)


def times_line(rtts: RttSum) -> str:
    """The handshakes' times, as ping has its round trips."""
    return f"handshake min/avg/max/mdev = {'/'.join(map(ms, (rtts.min_us, rtts.avg_us, rtts.max_us, rtts.mdev_us)))} ms"


def summary_lines(title: str, tallies: Sequence[Tally], elapsed_ns: Ns) -> list[str]:
    """The end of a run."""
    total = RttSum()
    for tally in tallies:
        total.merge(tally.rtts)
    lines = ["", f"--- {title} tcpconnect statistics ---", f"{counts_text(tallies)}, time {elapsed_ns // MS}ms"]
    if total.count:
        lines.append(times_line(total))
    return lines


def info_lines(closed: ConnectClosed) -> list[str]:
    """What the connection was like: the fields of TCP_INFO that people look at."""
    info = closed.info
    causes = ", ".join(f"{count} {name}" for name, count in sorted(info.causes.items()) if count)
    on = [
        name for name, agreed in (("sack", info.options["sack"]), ("timestamps", info.options["timestamps"])) if agreed
    ]
    if info.options["wscale"]:
        on.append(f"wscale {info.snd_wscale},{info.rcv_wscale}")
    sent, received = info.bytes_sent - info.bytes_retrans, info.bytes_received
    threshold = "unlimited" if info.snd_ssthresh >= 0x7FFFFFFF else str(info.snd_ssthresh)
    return [
        f"sent {sent} bytes ({info.bytes_acked} acknowledged), received {received} bytes"
        f" in {closed.lived_ns / 1e9:.3f} s",
        f"segments {info.segs_out} out, {info.segs_in} in; retransmitted {info.total_retrans}"
        + (f" ({causes})" if causes else "")
        + (f", {info.dsack_dups} for nothing (DSACK)" if info.dsack_dups else ""),
        f"rtt {info.rtt_ns / MS:.3f} ms, rttvar {info.rttvar_ns / MS:.3f} ms, min {info.min_rtt_ns / MS:.3f} ms, "
        f"rto {info.rto_ns / MS:.0f} ms",
        f"cwnd {info.snd_cwnd} (max {closed.cwnd_max}), ssthresh {threshold}, {info.congestion}",
        f"mss {info.snd_mss} out, {info.rcv_mss} in, advertised {info.advmss}; options {', '.join(on) or 'none'}",
    ]
