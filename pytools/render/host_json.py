"""host's records in the envelope of `json_lines`."""

from typing import Any

from pytools.engine import EngineEvent
from pytools.probe.host import HostAsked, HostComplained, HostConflict, HostPinged, HostReady, Tally
from pytools.render.json_lines import JsonWriter
from pytools.render.words import icmp_words
from pytools.wire.addr import format_ip, format_mac


class HostJson:
    """Writes what a host does as records; `place` comes first. With `quiet` only that it is ready, and conflicts."""

    def __init__(self, writer: JsonWriter, *, quiet: bool = False) -> None:
        self._writer = writer
        self._quiet = quiet
        self._interface = ""
        self._mac = b""

    def place(self, interface: str, mac: bytes) -> None:
        """Where the host is."""
        self._interface = interface
        self._mac = mac

    def on_event(self, event: EngineEvent) -> None:
        """Write the record of one event."""
        if self._quiet and not isinstance(event, (HostReady, HostConflict)):
            return
        if (form := _FORMS.get(type(event))) is not None:
            name, fields = form(event)
            if isinstance(event, HostReady):
                fields |= {"interface": self._interface, "mac": format_mac(self._mac)}
            self._writer.record(name, event.now, **fields)


def figures(tally: Tally, frames: int, drops: dict[str, int]) -> dict[str, Any]:
    """What the `end` record says of a run."""
    return {
        "frames_count": frames,
        "ping_count": tally.ping_count,
        "arp_count": tally.arp_count,
        "solicitation_count": tally.solicitation_count,
        "icmp_error_count": tally.error_count,
        "conflict_count": tally.conflict_count,
        "drops": dict(sorted(drops.items())),
    }


def _ready(e: Any) -> tuple[str, dict[str, Any]]:
    return "ready", {"addresses": [format_ip(address) for address in e.addresses]}


def _asked(e: Any) -> tuple[str, dict[str, Any]]:
    ip = format_ip(e.ip) if any(e.ip) else None
    return "asked", {"from": ip, "mac": format_mac(e.mac), "target": format_ip(e.target)}


def _pinged(e: Any) -> tuple[str, dict[str, Any]]:
    return "pinged", {"from": format_ip(e.ip), "ident": e.ident, "seq": e.seq, "length": e.length}


def _complained(e: Any) -> tuple[str, dict[str, Any]]:
    words = icmp_words(e.family, e.type, e.code)
    return "complained", {"to": format_ip(e.ip), "type": e.type, "code": e.code, "info": e.info, "words": words}


def _conflict(e: Any) -> tuple[str, dict[str, Any]]:
    return "conflict", {"address": format_ip(e.address), "macs": [format_mac(e.mac)], "why": e.action}


_FORMS = {
    HostReady: _ready,
    HostAsked: _asked,
    HostPinged: _pinged,
    HostComplained: _complained,
    HostConflict: _conflict,
}
