"""host's lines: one for each thing of interest, and the summary.

    host: 10.0.0.10, fd00::10 (02:00:00:00:00:10) on lab0, ready
    10.0.0.1 [02:00:00:00:00:01] asks for 10.0.0.10
    10.0.0.1 pings: icmp_seq=1, 64 bytes

All that is printed are addresses, numbers and our own words: nothing a peer can write reaches the terminal.
"""

from collections.abc import Callable
from typing import Any, Final, TextIO

from pytools.engine import EngineEvent
from pytools.probe.host import HostAsked, HostComplained, HostConflict, HostPinged, HostReady, Tally
from pytools.render.words import icmp_words
from pytools.units import SECOND, Ns
from pytools.wire.addr import format_ip, format_mac

LINES_A_SECOND: Final = 50
"""A flood is summed up: so many lines of one kind in a second, then how many more there were."""


class HostText:
    """Writes what a host does, line by line; with `quiet` only that it is ready, and the summary."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._interface = ""
        self._mac = b""
        self._second: Ns = -1
        self._shown_count = 0
        self._hidden_count = 0
        self._lines: dict[type[EngineEvent], Callable[[Any], str]] = {
            HostReady: self._ready,
            HostAsked: _asked,
            HostPinged: _pinged,
            HostComplained: _complained,
            HostConflict: _conflict,
        }

    def place(self, interface: str, mac: bytes) -> None:
        """Where the host is; comes first."""
        self._interface = interface
        self._mac = mac

    def on_event(self, event: EngineEvent) -> None:
        """Write the line for one event, unless there are too many of them."""
        form = self._lines.get(type(event))
        if form is None or (self._quiet and not isinstance(event, (HostReady, HostConflict))):
            return
        if event.now // SECOND != self._second:
            self._tell_hidden()
            self._second, self._shown_count = event.now // SECOND, 0
        if self._shown_count >= LINES_A_SECOND and isinstance(event, (HostPinged, HostAsked, HostComplained)):
            self._hidden_count += 1
            return
        self._shown_count += 1
        self._write(form(event))

    def summary(self, tally: Tally, frames: int, drops: dict[str, int]) -> None:
        """What was done, and what was refused and why."""
        self._tell_hidden()
        self._write("--- host statistics ---")
        for line in summary_lines(tally, frames, drops):
            self._write(line)

    def _tell_hidden(self) -> None:
        if self._hidden_count:
            self._write(f"... and {self._hidden_count} more in that second")
            self._hidden_count = 0

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()

    def _ready(self, e: HostReady) -> str:
        addresses = ", ".join(map(format_ip, e.addresses))
        return f"host: {addresses} ({format_mac(self._mac)}) on {self._interface}, ready"


def summary_lines(tally: Tally, frames: int, drops: dict[str, int]) -> list[str]:
    """The figures of a run; also for the interim line."""
    refused = sum(drops.values())
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(drops.items(), key=lambda item: -item[1]))
    return [
        f"{frames} frames received, {refused} refused{f' ({reasons})' if reasons else ''}",
        f"answered: {tally.ping_count} pings, {tally.arp_count} ARP requests, "
        f"{tally.solicitation_count} neighbour solicitations; {tally.error_count} ICMP errors sent, "
        f"{tally.conflict_count} address conflicts",
    ]


def _asked(e: HostAsked) -> str:
    who = f"{format_ip(e.ip)} " if any(e.ip) else ""
    verb = "asks for" if any(e.ip) else "probes for"
    return f"{who}[{format_mac(e.mac)}] {verb} {format_ip(e.target)}"


def _pinged(e: HostPinged) -> str:
    return f"{format_ip(e.ip)} pings: icmp_seq={e.seq}, {e.length} bytes"


def _complained(e: HostComplained) -> str:
    return f"{format_ip(e.ip)} is told: {icmp_words(e.family, e.type, e.code)}"


def _conflict(e: HostConflict) -> str:
    return f"conflict: {format_ip(e.address)} is used by [{format_mac(e.mac)}] too ({e.action})"
