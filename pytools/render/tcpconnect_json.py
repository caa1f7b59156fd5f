"""tcpconnect's records in the envelope of `json_lines`."""

from collections.abc import Sequence
from errno import errorcode
from typing import Any

from pytools.engine import EngineEvent
from pytools.probe.statistics import RttSum
from pytools.probe.tcpconnect_events import OPEN, ConnectClosed, ConnectResult, ConnectStarted, Tally
from pytools.render.icmp_words import error_words
from pytools.render.json_lines import JsonWriter, milliseconds
from pytools.stack.tcp.info import TcpInfo
from pytools.wire.addr import format_ip


class TcpConnectJson:
    """Writes events of a connect engine through `writer`; `labels` name the targets."""

    def __init__(self, writer: JsonWriter, labels: Sequence[str]) -> None:
        self._writer = writer
        self._labels = labels

    def on_event(self, event: EngineEvent) -> None:
        """Write the record of one event."""
        if isinstance(event, ConnectStarted):
            self._writer.record("connect", event.now, **self._ends(event))
        elif isinstance(event, ConnectResult):
            self._writer.record("connect_result", event.now, **self._ends(event), **_result(event))
        elif isinstance(event, ConnectClosed):
            self._writer.record("connect_closed", event.now, **self._about(event), **closed_fields(event))

    def _about(self, event: Any) -> dict[str, Any]:
        return {"target": self._labels[event.target], "seq": event.seq}

    def _ends(self, event: Any) -> dict[str, Any]:
        (local, local_port), (remote, remote_port) = event.local, event.remote
        ends = {"local_port": local_port, "address": format_ip(remote), "port": remote_port}
        return {**self._about(event), "local": format_ip(local) if local else None, **ends}


def _result(e: ConnectResult) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "outcome": e.outcome,
        "handshake_ms" if e.outcome == OPEN else "waited_ms": milliseconds(e.took_ns),
        "syn_count": e.syn_count,
    }
    if e.errno:
        fields["error"] = errorcode.get(e.errno, str(e.errno))
    if e.icmp is not None:
        said = {"from": format_ip(e.icmp.src), "type": e.icmp.type, "code": e.icmp.code}
        fields["icmp"] = {**said, "words": error_words(e.icmp.family, e.icmp.type, e.icmp.code, e.icmp.info)}
    return fields


def closed_fields(e: ConnectClosed) -> dict[str, Any]:
    """The end of a connection, with its figures."""
    lived: dict[str, Any] = {"lived_ms": milliseconds(e.lived_ns), "error": errorcode.get(e.errno) if e.errno else None}
    return {**lived, "cwnd_max": e.cwnd_max, **info_fields(e.info)}


def info_fields(info: TcpInfo) -> dict[str, Any]:
    """TCP_INFO as far as a script wants it."""
    return {
        "bytes_sent": info.bytes_sent - info.bytes_retrans,
        "bytes_acked": info.bytes_acked,
        "bytes_received": info.bytes_received,
        "bytes_retransmitted": info.bytes_retrans,
        "segments_out": info.segs_out,
        "segments_in": info.segs_in,
        "retransmitted": info.total_retrans,
        "causes": dict(info.causes),
        "rtt_ms": milliseconds(info.rtt_ns),
        "rttvar_ms": milliseconds(info.rttvar_ns),
        "min_rtt_ms": milliseconds(info.min_rtt_ns),
        "rto_ms": milliseconds(info.rto_ns),
        "cwnd": info.snd_cwnd,
        "ssthresh": None if info.snd_ssthresh >= 0x7FFFFFFF else info.snd_ssthresh,
        "mss": info.snd_mss,
        "sack": bool(info.options["sack"]),
        "timestamps": bool(info.options["timestamps"]),
        "window_scale_out": info.rcv_wscale if info.options["wscale"] else None,
        "window_scale_in": info.snd_wscale if info.options["wscale"] else None,
    }


def figures(tallies: Sequence[Tally]) -> dict[str, Any]:
    """What the `end` record counts."""
    total = RttSum()
    for tally in tallies:
        total.merge(tally.rtts)
    counts = {name: sum(tally.counts[name] for tally in tallies) for name in tallies[0].counts} if tallies else {}
    found: dict[str, Any] = {"attempts": sum(tally.started for tally in tallies), **counts}
    values = (total.min_us, total.avg_us, total.max_us, total.mdev_us)
    for name, value in zip(("min_ms", "avg_ms", "max_ms", "mdev_ms"), values, strict=True):
        found[name] = value / 1000 if total.count else None
    return found
