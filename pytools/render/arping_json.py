"""arping's records in the envelope of `json_lines`: addresses as text, times in milliseconds, null for unknown."""

from errno import errorcode
from typing import Any

from pytools.engine import EngineEvent
from pytools.probe import arping_events as events
from pytools.probe.arping_wire import target_text
from pytools.probe.statistics import Histogram, RttSum
from pytools.render.arping_text import PERCENTS
from pytools.render.json_lines import JsonWriter, milliseconds
from pytools.units import MS, SECOND
from pytools.wire.addr import format_ip, format_mac


class ArpingJson:
    """Writes events of an arping engine through `writer`."""

    def __init__(self, writer: JsonWriter) -> None:
        self._writer = writer

    def on_event(self, event: EngineEvent) -> None:
        """Write the record of one event."""
        if (form := _FORMS.get(type(event))) is not None:
            name, fields = form(event)
            self._writer.record(name, event.now, **fields)


def figures(engine: Any) -> dict[str, Any]:
    """What the `end` record says of a run: counts, and what this kind of engine found."""
    found = {
        "sent": engine.sent_count,
        "broadcasts_sent": engine.broadcast_count,
        "received": engine.received_count,
        "requests_received": engine.requests_received,
        "broadcasts_received": engine.broadcasts_received,
    }
    for name in ("answered_count", "duplicate_count", "address_count", "conflict_count", "move_count"):
        if (value := getattr(engine, name, None)) is not None:
            found[name] = value
    if (verdict := getattr(engine, "verdict", None)) is not None:
        found["verdict"] = verdict or None
    return found | statistics(engine.rtts, engine.histogram)


def statistics(rtts: RttSum, histogram: Histogram) -> dict[str, Any]:
    """Round-trip times for the `end` record; null when nothing was measured."""
    names = ("min_ms", "avg_ms", "max_ms", "mdev_ms")
    values = (rtts.min_us, rtts.avg_us, rtts.max_us, rtts.mdev_us)
    figures = {name: us / 1000 if rtts.count else None for name, us in zip(names, values, strict=True)}
    for percent, value_ns in zip(PERCENTS, histogram.percentiles(PERCENTS), strict=True):
        figures[f"p{percent:.0f}_ms"] = round(value_ns / MS, 6) if rtts.count else None
    return figures


def _sent(e: Any) -> tuple[str, dict[str, Any]]:
    return "sent", {"target": target_text(e.target), "seq": e.seq, "kind": e.kind, "broadcast": bool(e.is_broadcast)}


def _answered(e: Any) -> tuple[str, dict[str, Any]]:
    fields = {
        "target": target_text(e.target),
        "seq": e.seq,
        "from": format_ip(e.ip),
        "mac": format_mac(e.mac),
        "kind": "request" if e.is_request else "reply",
        "broadcast": bool(e.is_broadcast),
        "for_ip": format_ip(e.asked_ip) if e.asked_ip else None,
        "for_mac": format_mac(e.asked_mac) if e.asked_mac else None,
        "rtt_ms": milliseconds(e.rtt_ns),
    }
    return "reply", fields


def _missed(e: Any) -> tuple[str, dict[str, Any]]:
    return "lost", {"target": target_text(e.target), "seq": e.seq, "waited_ms": milliseconds(e.waited_ns)}


def _conflict(e: Any) -> tuple[str, dict[str, Any]]:
    return "conflict", {"address": format_ip(e.ip), "macs": [format_mac(mac) for mac in e.macs], "why": e.why}


def _moved(e: Any) -> tuple[str, dict[str, Any]]:
    macs = {"old_mac": format_mac(e.old_mac), "mac": format_mac(e.mac)}
    return "moved", {"address": format_ip(e.ip), **macs, "silent_s": e.silent_ns / SECOND}


def _verdict(e: Any) -> tuple[str, dict[str, Any]]:
    mac = format_mac(e.mac) if e.mac else None
    return "verdict", {"address": format_ip(e.address), "free": not e.mac, "mac": mac, "announced": bool(e.announced)}


def _send_failed(e: Any) -> tuple[str, dict[str, Any]]:
    return "error", {
        "target": target_text(e.target),
        "error": errorcode.get(e.errno, str(e.errno)),
        "final": e.is_final,
    }


_FORMS = {
    events.ArpingSent: _sent,
    events.ArpingAnswered: _answered,
    events.ArpingMissed: _missed,
    events.ArpingConflict: _conflict,
    events.ArpingMoved: _moved,
    events.ArpingVerdict: _verdict,
    events.ArpingSendFailed: _send_failed,
}
