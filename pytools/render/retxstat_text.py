"""`pytools retxstat` as text: the table of flows, one line an event, the evidence of a frame."""

from pytools.flow.analysis import Analysis
from pytools.flow.direction import Direction, Resend
from pytools.units import Ns

_HEAD = (
    "FLOW", "SEGS", "BYTES", "RETX", "RATE%", "LOST~", "FAST", "SACKREC", "RTO", "LOSS", "TLP", "SYN", "FIN", "OTHER",
    "SPUR", "DUP", "REORD", "ZWIN", "RTT p50/p95", "RTOest", "STALL", "TAP",
)  # fmt: skip


def address(octets: bytes) -> str:
    """An IPv4 or IPv6 address as text."""
    from ipaddress import ip_address

    return str(ip_address(octets))


def ends(key: bytes) -> tuple[str, int, str, int]:
    """(Source, port, destination, port) of a flow key."""
    half = (len(key) - 4) // 2
    ports = int.from_bytes(key[-4:-2], "big"), int.from_bytes(key[-2:], "big")
    return address(key[:half]), ports[0], address(key[half : 2 * half]), ports[1]


def flow_name(key: bytes) -> str:
    """`10.0.0.1:4301>10.0.0.2:5201`, IPv6 in brackets."""
    source, sport, destination, dport = ends(key)
    left, right = (f"[{one}]" if ":" in one else one for one in (source, destination))
    return f"{left}:{sport}>{right}:{dport}"


def percentile(values: list[Ns], part: float) -> Ns | None:
    """The value below which `part` of them are, None of nothing."""
    return sorted(values)[min(int(len(values) * part), len(values) - 1)] if values else None


def table(directions: list[Direction]) -> list[str]:
    """The heading and one line a direction, then their total."""
    rows = [_HEAD, *(_row(one) for one in directions), _total(directions)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    return [_line(row, widths) for row in rows]


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
    return "  ".join(cells).rstrip()


def _counts(d: Direction) -> list[int]:
    c = d.causes.get
    return [
        c("fast", 0), c("recovery", 0), c("rto", 0), c("loss", 0), c("tlp", 0), c("syn", 0) + c("synack", 0),
        c("fin", 0), c("partial", 0) + c("unknown", 0), d.spurious, d.duplicates_capture + d.duplicates_network,
        d.reordered, d.zero_windows,
    ]  # fmt: skip


def _row(d: Direction) -> tuple[str, ...]:
    middle, high = percentile(d.rtts, 0.5), percentile(d.rtts, 0.95)
    rtt = f"{middle / 1e6:.1f}/{high / 1e6:.1f} ms" if middle is not None and high is not None else "-"
    return (
        flow_name(d.key), short(d.data_packets), short(d.bytes), str(d.resends), _rate(d.resends, d.data_packets),
        str(max(0, d.resends - d.spurious)), *map(str, _counts(d)), rtt,
        f"{d.rto / 1e6:.0f} ms" if d.srtt else "-", f"{d.stall / 1e9:.2f}s", d.tap,
    )  # fmt: skip


def _total(directions: list[Direction]) -> tuple[str, ...]:
    packets = sum(d.data_packets for d in directions)
    resends = sum(d.resends for d in directions)
    counts = [str(sum(column)) for column in zip(*map(_counts, directions), strict=True)] or ["0"] * 12
    lost = sum(max(0, d.resends - d.spurious) for d in directions)
    return (
        "TOTAL", short(packets), short(sum(d.bytes for d in directions)), str(resends), _rate(resends, packets),
        str(lost), *counts, "", "", f"{sum(d.stall for d in directions) / 1e9:.2f}s", "",
    )  # fmt: skip


def _rate(part: int, whole: int) -> str:
    return f"{100 * part / whole:.2f}" if whole else "-"


def short(number: float) -> str:
    """A count in four or five columns: 354k, 1.2M."""
    for unit in ("", "k", "M", "G"):
        if number < 10_000:
            return f"{number:.0f}{unit}"
        number /= 1000
    return f"{number:.0f}T"


def why(directions: list[Direction]) -> str:
    """One line: the causes by share, and what the timeouts cost."""
    causes: dict[str, int] = {}
    for d in directions:
        for cause, count in d.causes.items():
            causes[cause] = causes.get(cause, 0) + count
    total = sum(causes.values())
    if not total:
        return "no retransmissions"
    parts = [f"{100 * count / total:.0f} % {cause}" for cause, count in sorted(causes.items(), key=lambda i: -i[1])]
    stall = sum(d.stall for d in directions)
    return ", ".join(parts) + (f"; timeouts cost {stall / 1e9:.2f} s" if stall else "")


def event_line(resend: Resend, first_at: Ns) -> str:
    """Time, frame, flow, cause, sequence number, length, original and evidence of a retransmission."""
    original = f"of {resend.original_frame}" if resend.original_frame else "original not seen"
    needed = f"  spurious ({resend.spurious})" if resend.spurious else ""
    by = f"/{resend.by}" if resend.by else ""
    return (
        f"{(resend.t_ns - first_at) / 1e9:.6f}  frame {resend.frame}  {flow_name(resend.direction.key)}  "
        f"{resend.cause}{by}  seq {resend.seq} len {resend.length}  {original}  "
        f"{resend.confidence:.2f}  {'; '.join(resend.evidence)}{needed}"
    )


def explanation(resend: Resend, first_at: Ns) -> list[str]:
    """The chain of evidence of one retransmission, a line each."""
    by = f" (by {resend.by})" if resend.by else ""
    lines = [
        f"frame {resend.frame} at {(resend.t_ns - first_at) / 1e9:.6f} s: retransmission, {resend.cause}{by}, "
        f"confidence {resend.confidence:.2f}",
        f"  flow      {flow_name(resend.direction.key)}, tap: {resend.direction.tap}",
        f"  segment   seq {resend.seq}, {resend.length} octets",
        f"  original  {f'frame {resend.original_frame}' if resend.original_frame else 'not seen'}",
    ]
    lines += [f"  evidence  {one}" for one in resend.evidence]
    return [*lines, f"  needed    {f'no ({resend.spurious})' if resend.spurious else 'nothing says otherwise'}"]


def notes(analysis: Analysis, directions: list[Direction]) -> list[str]:
    """What a reader of the table must know: copies, what was not TCP, gaps, evictions."""
    lines = []
    copies, network = sum(d.duplicates_capture for d in directions), sum(d.duplicates_network for d in directions)
    if copies:
        lines.append(f"{copies} packets were captured twice (same IP ID or stamp, at once) and are not counted")
    if network:
        lines.append(f"{network} packets were duplicated by the network and are not counted")
    if probes := sum(d.keepalives + d.zwprobes for d in directions):
        lines.append(f"{probes} keepalives and zero-window probes are not counted")
    if unseen := sum(d.acked_unseen for d in directions):
        lines.append(f"{unseen} octets were acknowledged that the capture does not have")
    if analysis.evicted:
        lines.append(f"{analysis.evicted} flows left out for memory, with {analysis.evicted_resends} retransmissions")
    if analysis.others:
        lines.append("not looked at: " + ", ".join(f"{n} {name}" for name, n in analysis.others.most_common()))
    return lines
