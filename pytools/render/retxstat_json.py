"""`pytools retxstat` as records: a direction, a retransmission; JSON lines and CSV have the same fields."""

from typing import Any

from pytools.flow.direction import Direction, Resend
from pytools.render.json_lines import milliseconds
from pytools.render.retxstat_text import ends, percentile

CAUSES = ("syn", "synack", "fin", "rto", "loss", "fast", "recovery", "tlp", "partial", "unknown")


def flow_fields(d: Direction) -> dict[str, Any]:
    """One direction's figures."""
    source, sport, destination, dport = ends(d.key)
    fields: dict[str, Any] = {"src": source, "sport": sport, "dst": destination, "dport": dport}
    fields |= {"tap_side": d.tap, "packets": d.packets, "data_packets": d.data_packets, "data_bytes": d.bytes}
    fields |= {"retx_packets": d.resends, "retx_bytes": d.resent_bytes}
    fields |= {f"retx_{cause}": d.causes.get(cause, 0) for cause in CAUSES}
    fields |= {"spurious": d.spurious, "lost_estimate": max(0, d.resends - d.spurious), "dsacks": d.dsacks}
    fields |= {"capture_duplicates": d.duplicates_capture, "network_duplicates": d.duplicates_network}
    fields |= {"reordered": d.reordered, "zero_windows": d.zero_windows}
    fields |= {"keepalives": d.keepalives, "zwprobes": d.zwprobes}
    fields |= {"acked_unseen_bytes": d.acked_unseen, "unseen_bytes": d.unseen_bytes, "sack": d.sack_ok}
    for name, part in (("min", 0.0), ("p50", 0.5), ("p95", 0.95), ("max", 1.0)):
        fields[f"rtt_{name}_ms"] = milliseconds(percentile(d.rtts, part))
    fields["rto_estimate_ms"] = milliseconds(d.rto) if d.srtt else None
    fields["stall_s"] = d.stall / 1e9
    return fields


def event_fields(resend: Resend) -> dict[str, Any]:
    """One retransmission."""
    source, sport, destination, dport = ends(resend.direction.key)
    fields: dict[str, Any] = {"frame": resend.frame, "src": source, "sport": sport, "dst": destination, "dport": dport}
    fields |= {"cause": resend.cause, "by": resend.by, "seq": resend.seq, "len": resend.length}
    fields |= {"original_frame": resend.original_frame, "confidence": resend.confidence}
    return fields | {"evidence": resend.evidence, "spurious": resend.spurious}
