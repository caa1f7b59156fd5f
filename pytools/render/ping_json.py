"""ping's records in the envelope of `json_lines`, and as rows of CSV.

Events: sent reply dup error lost no_answer_yet alive unreachable warning interim summary; `start` and `end` are the
writer's. Addresses are text, times are milliseconds, what is unknown is null.
"""

from collections.abc import Callable, Iterable, Sequence
from errno import errorcode
from os import strerror
from typing import Any, Final

from pytools.engine import EngineEvent
from pytools.probe import ping_events as events
from pytools.probe.ping_events import Summary
from pytools.render.icmp_words import error_words
from pytools.render.json_lines import JsonWriter, milliseconds
from pytools.units import SECOND, US
from pytools.wire import ipv4_options
from pytools.wire.addr import format_ip

Name = Callable[[int], str]
"""Index of a target -> what the user called it."""

Fields = dict[str, Any]
PERCENTS: Final = (50.0, 90.0, 95.0, 99.0)


class PingJson:
    """Writes a record for each event of a ping engine."""

    def __init__(self, writer: JsonWriter, name: Name, addresses: Sequence[bytes]) -> None:
        self._writer = writer
        self._name = name
        self._addresses = addresses

    def on_event(self, event: EngineEvent) -> None:
        """Write the record of one event."""
        if isinstance(event, events.PingEvent):
            name, fields = record_of(event)
            self._writer.record(name, event.now, target=self._name(event.target), **fields)
        elif isinstance(event, events.ClockWarning):
            self.warning(event.now, "time of day went back", by_ms=milliseconds(event.by_ns))

    def warning(self, now: int, message: str, **more: Any) -> None:
        """Something that is not about a probe."""
        self._writer.record("warning", now, message=message, **more)

    def figures(self, event: str, now: int, summaries: Iterable[Summary]) -> None:
        """`interim` or `summary`: one record a target."""
        for index, summary in enumerate(summaries):
            self._writer.record(event, now, target=self._name(index), **summary_fields(summary))


def record_of(event: events.PingEvent) -> tuple[str, Fields]:
    """(event name, fields) of one event; what they mean is in schema.json."""
    name, fields = _FORMS[type(event)](event)
    return name, {"seq": event.seq, **fields}


def _sent(e: Any) -> tuple[str, Fields]:
    return "sent", {"size": e.size}


def _replied(e: Any) -> tuple[str, Fields]:
    fields: Fields = {
        "from": format_ip(e.src),
        "rtt_ms": milliseconds(e.rtt_ns),
        "bytes": e.length,
        "ttl": e.ttl,
        "tos": e.tos,
        "ident": e.ident,
    }
    fields.update({word: True for flag, word in _FLAGS if e.flags & flag})
    if e.wrong_at >= 0:
        fields["wrong_data"] = {"offset": e.wrong_at, "expected": e.expected, "got": e.payload[e.wrong_at]}
        fields["payload"] = e.payload
    if e.options:
        fields.update(_ip_options(e.options))
    return ("dup" if e.flags & events.DUPLICATE else "reply"), fields


_FLAGS: Final = (
    (events.TRUNCATED, "truncated"),
    (events.BAD_CHECKSUM, "bad_checksum"),
    (events.DIFFERENT_ADDRESS, "different_address"),
    (events.LATE, "late"),
)


def _ip_options(options: bytes) -> Fields:
    """The recorded route and times, and the octets as they came."""
    fields: Fields = {"ip_options": options}
    try:
        parsed = ipv4_options.parse(options)
    except ipv4_options.OptionError:
        return fields
    for option in parsed:
        if isinstance(option, ipv4_options.RouteOption):
            fields["route"] = [format_ip(hop) for hop in option.recorded]
        elif isinstance(option, ipv4_options.TimestampOption):
            fields["timestamps"] = [
                {"address": format_ip(address) if address else None, "since_midnight_ms": stamp}
                for address, stamp in option.recorded
            ]
            fields["unrecorded_hops"] = option.overflow
    return fields


def _icmp_error(e: Any) -> tuple[str, Fields]:
    gateway = format_ip(e.gateway) if e.gateway else ""
    fields: Fields = {
        "from": format_ip(e.src),
        "kind": "icmp" if e.is_failure else "notice",
        "family": e.family,
        "type": e.type,
        "code": e.code,
        "message": error_words(e.family, e.type, e.code, e.info, gateway),
    }
    if (e.family, e.type, e.code) == (4, 3, 4) or (e.family, e.type) == (6, 2):
        fields["mtu"] = e.info
    elif e.type == (12 if e.family == 4 else 4):
        fields["pointer"] = e.info
    if gateway:
        fields["gateway"] = gateway
    return "error", fields


def _refused(e: Any) -> tuple[str, Fields]:
    fields: Fields = {"kind": "local", "errno": errorcode.get(e.errno, str(e.errno)), "message": strerror(e.errno)}
    if e.mtu:
        fields["mtu"] = e.mtu
    return "error", fields


def _lost(e: Any) -> tuple[str, Fields]:
    return "lost", {"waited_ms": milliseconds(e.waited_ns)}


def _no_answer_yet(_e: Any) -> tuple[str, Fields]:
    return "no_answer_yet", {}


def _done(e: Any) -> tuple[str, Fields]:
    return ("alive", {"rtt_ms": milliseconds(e.rtt_ns)}) if e.alive else ("unreachable", {})


_FORMS: Final[dict[type, Callable[[Any], tuple[str, Fields]]]] = {
    events.ProbeSent: _sent,
    events.Replied: _replied,
    events.ErrorReported: _icmp_error,
    events.SendRefused: _refused,
    events.NoAnswerYet: _no_answer_yet,
    events.Lost: _lost,
    events.TargetDone: _done,
}


def summary_fields(summary: Summary) -> Fields:
    """The figures of one target, or of all."""
    rtt = summary.rtt
    measured = rtt.count > 0
    fields: Fields = {
        "address": format_ip(summary.address) if summary.address else None,
        "sent": summary.sent,
        "received": summary.received,
        "duplicates": summary.duplicates,
        "corrupted": summary.corrupted,
        "errors": summary.errors,
        "loss_percent": summary.loss_percent if summary.sent else None,
        "elapsed_ms": milliseconds(summary.elapsed_ns),
    }
    for word in ("min", "avg", "max", "mdev", "ewma"):
        fields[f"{word}_ms"] = getattr(rtt, f"{word}_us") / 1000 if measured else None
    fields.update(_distribution(summary, measured))
    if summary.pipe:
        fields["pipe"] = summary.pipe
    if summary.ipg_us is not None:
        fields["ipg_ms"] = summary.ipg_us / 1000
    return fields


def _distribution(summary: Summary, measured: bool) -> Fields:
    fields: Fields = {}
    if summary.histogram is not None:
        values = summary.histogram.percentiles(PERCENTS)
        for percent, value in zip(PERCENTS, values, strict=True):
            within = min(max(value // US, summary.rtt.min_us), summary.rtt.max_us)
            fields[f"p{percent:g}_ms"] = within / 1000 if measured else None
    if summary.jitter is not None:
        fields["jitter_ms"] = summary.jitter.us / 1000 if measured else None
    return fields


def histogram_field(summary: Summary) -> list[Fields]:
    """The buckets in use (--hist): bounds and counts."""
    if summary.histogram is None:
        return []
    return [
        {"from_ms": milliseconds(low), "to_ms": milliseconds(high), "count": count}
        for low, high, count in summary.histogram.buckets()
    ]


CSV_COLUMNS: Final = ("time", "target", "event", "seq", "from", "rtt_ms", "bytes", "ttl", "detail")


class PingCsv:
    """Rows of `CSV_COLUMNS`, one an event (RFC 4180, but lines end as the system's do); times are Unix seconds."""

    def __init__(self, write: Callable[[str], object], name: Name, epoch_ns: int) -> None:
        self._write = write
        self._name = name
        self._epoch_ns = epoch_ns

    def header(self) -> None:
        """The titles."""
        self._row(CSV_COLUMNS)

    def on_event(self, event: EngineEvent) -> None:
        """Write one event's row; what says nothing about an outcome has none."""
        if not isinstance(event, events.PingEvent) or isinstance(event, (events.ProbeSent, events.NoAnswerYet)):
            return
        name, fields = record_of(event)
        wall = self._epoch_ns + event.now
        time = f"{wall // SECOND}.{wall % SECOND // 1000:06d}"
        rtt = fields.get("rtt_ms")
        shown_rtt = "" if rtt is None else f"{rtt:.3f}"
        cells = (fields.get("from"), shown_rtt, fields.get("bytes"), fields.get("ttl"), _detail(fields))
        self._row((time, self._name(event.target), name, event.seq, *cells))

    def _row(self, cells: Iterable[object]) -> None:
        self._write(",".join([_cell(cell) for cell in cells]) + "\n")


def _detail(fields: Fields) -> str:
    """The words of an error, or what was odd about a reply."""
    odd = [word for _flag, word in _FLAGS if fields.get(word)]
    if "wrong_data" in fields:
        odd.append("wrong_data")
    return str(fields.get("message") or " ".join(odd))


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    text = "".join([c if c.isprintable() else ascii(c)[1:-1] for c in text])
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"') else text
