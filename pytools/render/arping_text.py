"""arping's lines: iputils' texts for what iputils has, the same style for the rest.

    ARPING 10.9.0.2 from 10.9.0.1 cl0
    Unicast reply from 10.9.0.2 [02:00:00:09:00:02]  0.053ms
    Sent 2 probes (1 broadcast(s))
    Received 2 response(s)

Everything printed is an address, a number or a name the caller gave: nothing a peer can write reaches the terminal.
"""

from collections.abc import Callable
from typing import Any, Protocol, TextIO

from pytools.engine import EngineEvent
from pytools.probe.arping_events import (
    ArpingAnswered,
    ArpingConflict,
    ArpingMissed,
    ArpingMoved,
    ArpingVerdict,
)
from pytools.probe.statistics import Histogram, RttSum
from pytools.units import SECOND, Ns
from pytools.wire.addr import format_ip, format_mac

PERCENTS = (50.0, 90.0, 95.0, 99.0)


class Counts(Protocol):
    """What the summary adds up; every engine of arping has these attributes."""

    sent_count: int
    broadcast_count: int
    received_count: int
    broadcasts_received: int
    requests_received: int


class ArpingText:
    """Writes events of an arping engine as text. With `quiet` nothing at all is written, as iputils has it."""

    def __init__(
        self,
        stream: TextIO,
        *,
        quiet: bool = False,
        raw_mac: bool = False,
        raw_ip: bool = False,
        dots: bool = False,
        audible: bool = False,
        report_missed: bool = False,
        stamp: Callable[[Ns], str] | None = None,
    ) -> None:
        self._stream = stream
        self._quiet = quiet
        self._raw_mac = raw_mac
        self._raw_ip = raw_ip
        self._dots = dots
        self._audible = audible
        self._report_missed = report_missed
        self._stamp = stamp
        """What to put before a line about a conflict, from its instant."""
        self._plain = not (raw_mac or raw_ip or dots)
        self._lines: dict[type[EngineEvent], Callable[[Any], None]] = {
            ArpingAnswered: self._answered,
            ArpingMissed: self._missed,
            ArpingConflict: self._conflict,
            ArpingMoved: self._moved,
            ArpingVerdict: self._verdict,
        }

    def header(self, target: str, source: bytes, interface: str) -> None:
        """`ARPING 10.9.0.2 from 10.9.0.1 cl0`."""
        if self._plain:
            self._line(f"ARPING {target} from {format_ip(source)} {interface}")

    def on_event(self, event: EngineEvent) -> None:
        """Write what there is to say about one event."""
        if not self._quiet and (write := self._lines.get(type(event))) is not None:
            write(event)

    def summary(self, counts: Counts, extra: str = "") -> None:
        """The two lines at the end, and `extra` as a third; dots end with Habets' one line."""
        if self._plain:
            self._line(f"Sent {counts.sent_count} probes ({counts.broadcast_count} broadcast(s))")
            self._line(f"Received {counts.received_count} response(s){_kinds(counts)}")
            if extra:
                self._line(extra)
        elif self._dots:
            self._line(dots_summary(counts))

    def statistics(self, rtts: RttSum, histogram: Histogram) -> None:
        """What `--stats` adds; nothing when nothing was measured."""
        if self._plain and rtts.count:
            figures = (rtts.min_us, rtts.avg_us, rtts.max_us, rtts.mdev_us)
            self._line(f"rtt min/avg/max/std-dev = {_milliseconds(*(us * 1000 for us in figures))} ms")
            self._line(f"rtt p50/p90/p95/p99 = {_milliseconds(*histogram.percentiles(PERCENTS))} ms")

    def _line(self, text: str) -> None:
        if not self._quiet:
            self._stream.write(text + "\n")

    def _answered(self, event: ArpingAnswered) -> None:
        bell = "\a" if self._audible else ""
        if self._dots:
            self._write_now(bell + "!")
        elif self._plain:
            self._write_now(f"{bell}{answer_line(event)}\n")
        else:
            fields = [format_mac(event.mac)] * self._raw_mac + [format_ip(event.ip)] * self._raw_ip
            self._write_now(f"{bell}{' '.join(fields)}\n")

    def _missed(self, event: ArpingMissed) -> None:
        if self._dots:
            self._write_now(".")
        elif self._plain and self._report_missed:
            self._write_now("Timeout\n")

    def _conflict(self, event: ArpingConflict) -> None:
        if self._plain:
            macs = " and ".join(f"[{upper_mac(mac)}]" for mac in event.macs)
            self._write_now(f"{self._time(event.now)}Duplicate address {format_ip(event.ip)}: {macs} ({event.why})\n")

    def _moved(self, event: ArpingMoved) -> None:
        seconds = event.silent_ns / SECOND
        old, new = upper_mac(event.old_mac), upper_mac(event.mac)
        ip = format_ip(event.ip)
        self._write_now(f"{self._time(event.now)}{ip} moved from [{old}] to [{new}] (silent for {seconds:.1f} s)\n")

    def _verdict(self, event: ArpingVerdict) -> None:
        address = format_ip(event.address)
        if event.mac:
            self._write_now(f"{address} is in use by [{upper_mac(event.mac)}]\n")
        else:
            self._write_now(f"{address} is free{' and announced' if event.announced else ''}\n")

    def _time(self, now: Ns) -> str:
        return f"{self._stamp(now)} " if self._stamp else ""

    def _write_now(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def answer_line(event: ArpingAnswered) -> str:
    """`Unicast reply from A [MAC]  0.053ms`, with whom it is for where that is not us."""
    way = "Broadcast" if event.is_broadcast else "Unicast"
    what = "request" if event.is_request else "reply"
    text = f"{way} {what} from {format_ip(event.ip)} [{upper_mac(event.mac)}] "
    if event.asked_ip:
        text += f"for {format_ip(event.asked_ip)} "
    if event.asked_mac:
        text += ("" if event.asked_ip else "for ") + f"[{upper_mac(event.asked_mac)}]"
    return text + (" UNSOLICITED?" if event.rtt_ns is None else f" {_milliseconds(event.rtt_ns)}ms")


def dots_summary(counts: Counts) -> str:
    """`\\t  0% packet loss (0 extra)`, as Habets' arping ends its dots."""
    sent = counts.sent_count
    answered = min(sent, counts.received_count)
    lost = 100.0 * (sent - answered) / sent if sent else 0.0
    return f"\t{lost:3.0f}% packet loss ({max(0, counts.received_count - sent)} extra)"


def upper_mac(mac: bytes) -> str:
    """Octets in upper case with colons, as iputils prints them."""
    return format_mac(mac).upper()


def _kinds(counts: Counts) -> str:
    """` (1 request(s), 2 broadcast(s))` for what was not a unicast reply."""
    parts = []
    if counts.requests_received:
        parts.append(f"{counts.requests_received} request(s)")
    if counts.broadcasts_received:
        parts.append(f"{counts.broadcasts_received} broadcast(s)")
    return f" ({', '.join(parts)})" if parts else ""


def _milliseconds(*durations_ns: Ns) -> str:
    """Milliseconds with three digits, rounded, joined by slashes."""
    return "/".join(f"{us // 1000}.{us % 1000:03d}" for us in ((ns + 500) // 1000 for ns in durations_ns))
