"""`pytools retxstat` at work: read each file, analyse, print."""

import csv
import operator
import re
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pytools.errors import EXIT_NO, EXIT_YES, LinkError, UsageError
from pytools.flow.analysis import Analysis
from pytools.flow.direction import Direction, Resend
from pytools.link.capture_file import CaptureFile
from pytools.render import retxstat_text as text
from pytools.render.json_lines import JsonWriter
from pytools.render.retxstat_json import CAUSES, event_fields, flow_fields

if TYPE_CHECKING:
    from pytools.cli.retxstat import Options

_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_CONDITION = re.compile(r"\s*([a-z]+)\s*(>=|<=|==|>|<)\s*([0-9]+(?:\.[0-9]+)?)\s*(%?)\s*")
_NAMES = ("retx", "spurious", "stall", *CAUSES)
_KEYS: dict[str, Callable[[Direction], float]] = {
    "retx": lambda d: d.resends,
    "bytes": lambda d: d.bytes,
    "rate": lambda d: d.resends / d.data_packets if d.data_packets else 0.0,
    "stall": lambda d: d.stall,
}

Condition = tuple[str, str, float, bool]


def run(given: "Options") -> int:
    """Every file in its turn; the status of the worst."""
    if given.csv and given.json:
        raise UsageError("only one of --csv and --json may be given")
    if given.explain is not None and (given.events or given.csv):
        raise UsageError("--explain goes with neither --events nor --csv")
    conditions = [parse_condition(one) for one in given.fail_if or []]
    wanted = Filter(given.filter or "")
    writer = JsonWriter(sys.stdout, 0, flush_each=False) if given.json else None
    if writer is not None:
        import time

        writer.start("retxstat", given.files, epoch_ns=time.time_ns())
    status = EXIT_YES
    try:
        for path in given.files:
            status = max(status, _one(path, given, wanted, conditions, writer))
    except BaseException as error:
        if writer is not None:
            writer.end_with(error)
        raise
    if writer is not None:
        writer.end(None, status, "done" if status == EXIT_YES else "condition")
    return status


def _one(path: str, given: "Options", wanted: "Filter", conditions: list[Condition], writer: JsonWriter | None) -> int:
    keep = given.events or given.explain is not None
    analysis = Analysis(keep_events=keep, interval_ns=int(given.interval * 1e9))
    with CaptureFile(path) as capture:
        analysis.feed(capture)
    if capture.damage is not None and not analysis.frames:
        raise LinkError(f"{path}: {capture.damage}")
    chosen = [d for d in analysis.directions() if d.packets and wanted.takes(d)]
    events = [e for e in analysis.events if wanted.takes_event(e)]
    if writer is not None:
        _records(writer, path, given, analysis, chosen, events, capture.damage)
    elif given.csv:
        _csv([event_fields(e) for e in events] if given.events else [flow_fields(d) for d in _shown(chosen, given)])
    else:
        _text(path, given, analysis, chosen, events, capture.damage)
    return EXIT_NO if any(holds(one, chosen) for one in conditions) else EXIT_YES


def _records(
    writer: JsonWriter, path: str, given: "Options", analysis: Analysis, chosen: list[Direction],
    events: list[Resend], damage: str | None,
) -> None:  # fmt: skip
    first = analysis.first_at or 0
    if given.events or given.explain is not None:
        for one in events:
            if given.explain in (None, one.frame):
                writer.record("retransmission", one.t_ns - first, file=path, **event_fields(one))
    else:
        for d in _shown(chosen, given):
            writer.record("flow", d.last_at - first, file=path, **flow_fields(d))
    for number, counts in sorted(analysis.buckets.items()):
        writer.record("interval", int(number * given.interval * 1e9), file=path, causes=dict(counts))
    span = max(0, analysis.last_at - first)
    facts: dict[str, Any] = {"packets": analysis.frames, "flows": analysis.flow_count(), "damage": damage}
    facts |= {"retx_packets": sum(d.resends for d in chosen), "not_looked_at": dict(analysis.others)}
    writer.record("capture", span, file=path, evicted_flows=analysis.evicted, **facts)


def _csv(rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    table = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    table.writeheader()
    for row in rows:
        if "evidence" in row:
            row["evidence"] = "; ".join(row["evidence"])
        table.writerow(row)


def _text(
    path: str, given: "Options", analysis: Analysis, chosen: list[Direction], events: list[Resend], damage: str | None
) -> None:
    first = analysis.first_at or 0
    if given.explain is not None:
        _explain(given.explain, analysis, events)
    elif given.events:
        print(*(text.event_line(one, first) for one in events), sep="\n", end="\n" if events else "")
    else:
        span = max(0, analysis.last_at - first) / 1e9
        print(f"{path}  {text.short(analysis.frames)} packets, {analysis.flow_count()} flows, {span:.1f} s")
        print(*text.table(_shown(chosen, given)), sep="\n")
        print(f"why: {text.why(chosen)}")
        for number, counts in sorted(analysis.buckets.items()):
            said = "  ".join(f"{cause} {count}" for cause, count in counts.most_common())
            print(f"{number * given.interval:.3f} s  {said}")
        for line in text.notes(analysis, chosen):
            print(f"note: {line}")
    if damage is not None:
        print(f"pytools retxstat: {path}: {damage}; what was read is reported", file=sys.stderr)


def _explain(frame: int, analysis: Analysis, events: list[Resend]) -> None:
    if frame > analysis.frames:
        raise UsageError(f"bad frame number: '{frame}': the file has {analysis.frames}")
    found = next((one for one in events if one.frame == frame), None)
    if found is None:
        print(f"frame {frame}: not a retransmission")
    else:
        print(*text.explanation(found, analysis.first_at or 0), sep="\n")


def _shown(chosen: list[Direction], given: "Options") -> list[Direction]:
    shown = chosen if given.all else [d for d in chosen if _has_events(d)]
    return sorted(shown, key=_KEYS[given.sort], reverse=True)


def _has_events(d: Direction) -> bool:
    return bool(d.resends or d.duplicates_capture or d.duplicates_network or d.reordered or d.zero_windows)


class Filter:
    """`host ADDR`, `port N`, `cause NAME`, joined by blanks or `and`; all must hold."""

    def __init__(self, words: str) -> None:
        self._hosts: list[str] = []
        self._ports: list[int] = []
        self._causes: list[str] = []
        tokens = [word for word in words.split() if word != "and"]
        for name, value in zip(tokens[::2], [*tokens[1::2], ""], strict=False):
            self._add(name, value, words)

    def _add(self, name: str, value: str, words: str) -> None:
        if name == "port" and value.isdecimal() and value.isascii() and len(value) < 6:
            self._ports.append(int(value))
        elif name == "cause" and value in CAUSES:
            self._causes.append(value)
        elif name == "host" and value:
            self._hosts.append(_host(value))
        else:
            raise UsageError(f"bad filter: '{words}' (host ADDR, port N, cause NAME)")

    def takes(self, d: Direction) -> bool:
        """Whether a direction is asked for."""
        source, sport, destination, dport = text.ends(d.key)
        of_cause = all(cause in d.causes for cause in self._causes)
        return (
            of_cause
            and all(h in (source, destination) for h in self._hosts)
            and all(p in (sport, dport) for p in self._ports)
        )

    def takes_event(self, one: Resend) -> bool:
        """Whether a retransmission is asked for."""
        return all(cause == one.cause for cause in self._causes) and self.takes(one.direction)


def _host(value: str) -> str:
    from ipaddress import ip_address

    try:
        return str(ip_address(value))
    except ValueError:
        raise UsageError(f"bad filter: '{value}' is no address") from None


def parse_condition(words: str) -> Condition:
    """`retx>1%` as (name, comparison, number, whether a share of the data packets is meant)."""
    match = _CONDITION.fullmatch(words)
    if match is None or match[1] not in _NAMES:
        raise UsageError(f"bad condition: '{words}' (as 'retx>1%'; {', '.join(_NAMES)})")
    return match[1], match[2], float(match[3]), bool(match[4])


def holds(condition: Condition, chosen: list[Direction]) -> bool:
    """Whether a condition holds over all of these directions; `stall` is in seconds."""
    name, compare, limit, share = condition
    if name == "retx":
        value: float = sum(d.resends for d in chosen)
    elif name == "spurious":
        value = sum(d.spurious for d in chosen)
    elif name == "stall":
        value = sum(d.stall for d in chosen) / 1e9
    else:
        value = sum(d.causes.get(name, 0) for d in chosen)
    if share:
        value = 100 * value / (sum(d.data_packets for d in chosen) or 1)
    return _COMPARE[compare](value, limit)
