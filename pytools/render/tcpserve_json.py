"""tcpserve's records in the envelope of `json_lines`."""

from typing import Any

from pytools.engine import EngineEvent
from pytools.probe.tcpserve import TcpServer
from pytools.probe.tcpserve_events import ClientClosed, ClientOpened, Endpoint, ServerListening
from pytools.render.json_lines import JsonWriter, milliseconds
from pytools.render.tcpserve_text import format_address


class ServeJson:
    """Writes what a server does as records; with `quiet` only that it is ready."""

    def __init__(self, writer: JsonWriter, *, quiet: bool = False) -> None:
        self._writer = writer
        self._quiet = quiet

    def on_event(self, event: EngineEvent) -> None:
        """Write the record of one event."""
        if self._quiet and not isinstance(event, ServerListening):
            return
        if (form := _FORMS.get(type(event))) is not None:
            name, fields = form(event)
            self._writer.record(name, event.now, **fields)


def figures(server: TcpServer) -> dict[str, Any]:
    """What the `end` record says of a run."""
    listeners = server.listeners
    return {
        "accepted_count": server.accepted_count,
        "open_count": len(server.clients),
        "most_clients_count": server.most_clients,
        "closed_count": server.closed_count,
        "endings": dict(sorted(server.endings.items())),
        "bytes_in": server.bytes_in,
        "bytes_out": server.bytes_out,
        "retransmitted": dict(sorted(server.retransmitted.items())),
        "syn_cookies_sent_count": sum(one.cookies_sent for one in listeners),
        "syn_cookies_returned_count": sum(one.cookies_checked for one in listeners),
        "syns_refused_count": sum(one.refused_syns for one in listeners),
    }


def _end(end: Endpoint) -> dict[str, Any]:
    return {"address": format_address(end[0]), "port": end[1]}


def _listening(event: Any) -> tuple[str, dict[str, Any]]:
    return "ready", {"listening": [_end(place) for place in event.places]}


def _opened(event: Any) -> tuple[str, dict[str, Any]]:
    return "connected", {"connection": event.number, "local": _end(event.local), "peer": _end(event.peer)}


def _closed(event: Any) -> tuple[str, dict[str, Any]]:
    info = event.info
    return "closed", {
        "connection": event.number,
        "local": _end(event.local),
        "peer": _end(event.peer),
        "how": event.how,
        "bytes_in": event.bytes_in,
        "bytes_out": event.bytes_out,
        "bytes_acked": info.bytes_acked,
        "duration_ms": milliseconds(event.duration_ns),
        "rtt_ms": milliseconds(info.rtt_ns or None),
        "rttvar_ms": milliseconds(info.rttvar_ns if info.rtt_ns else None),
        "min_rtt_ms": milliseconds(info.min_rtt_ns if info.rtt_ns else None),
        "retransmitted_count": info.total_retrans,
        "retransmitted": dict(info.causes),
        "segments_in_count": info.segs_in,
        "segments_out_count": info.segs_out,
        "mss": info.snd_mss,
        "options": dict(info.options),
    }


_FORMS = {ServerListening: _listening, ClientOpened: _opened, ClientClosed: _closed}
