"""tcpserve's lines: who came, how it ended, and the summary.

    Listening on 10.0.0.10 7
    Connection received on 10.0.0.1 40312
    10.0.0.1 40312 > 7: 1000 bytes in, 1000 bytes out, 0.012 s, rtt 0.1 ms, 0 retransmitted, FIN

All that is printed are addresses, numbers and our own words: nothing a peer can write reaches the terminal.
"""

from collections.abc import Callable
from typing import Any, TextIO

from pytools.engine import EngineEvent
from pytools.probe.tcpserve import TcpServer
from pytools.probe.tcpserve_events import ClientClosed, ClientOpened, Endpoint, ServerListening
from pytools.units import MS, SECOND
from pytools.wire.addr import format_ip

_ANY = {b"4": "0.0.0.0", b"6": "::"}


def format_address(address: bytes) -> str:
    """An address, or any of a family as socket programs write it."""
    return _ANY.get(address) or format_ip(address)


def format_end(end: Endpoint) -> str:
    """`10.0.0.1 80`, as netcat writes it."""
    return f"{format_address(end[0])} {end[1]}"


class ServeText:
    """Writes what a server does, line by line; with `quiet` only that it listens, and the summary."""

    def __init__(self, stream: TextIO, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._lines: dict[type[EngineEvent], Callable[[Any], str]] = {
            ServerListening: _listening,
            ClientOpened: _opened,
            ClientClosed: _closed,
        }

    def on_event(self, event: EngineEvent) -> None:
        """Write the line for one event."""
        form = self._lines.get(type(event))
        if form is not None and (not self._quiet or isinstance(event, ServerListening)):
            self._write(form(event))

    def summary(self, server: TcpServer) -> None:
        """What was served."""
        self._write("--- tcpserve statistics ---")
        for line in summary_lines(server):
            self._write(line)

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def summary_lines(server: TcpServer) -> list[str]:
    """The figures of a run; also for the interim line."""
    endings = format_counts(server.endings)
    ended = f" ({endings})" if endings else ""
    lines = [
        f"{server.accepted_count} connections, {len(server.clients)} open, at most {server.most_clients} at once; "
        f"{server.closed_count} ended{ended}",
        f"{server.bytes_in} bytes in, {server.bytes_out} bytes out; retransmitted {format_retransmitted(server)}",
    ]
    sent, returned, refused = (
        sum(getattr(one, name) for one in server.listeners)
        for name in ("cookies_sent", "cookies_checked", "refused_syns")
    )
    if sent or refused:
        lines.append(f"{sent} SYN cookies sent, {returned} came back; {refused} SYNs dropped, the backlog being full")
    return lines


def format_counts(counts: dict[str, int]) -> str:
    """`FIN 12, RST 1`, the most frequent first."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def format_retransmitted(server: TcpServer) -> str:
    """`3 (rto 2, fast 1)` or `0`."""
    total = sum(count for cause, count in server.retransmitted.items() if cause not in PROBES)
    return f"{total} ({format_counts(server.retransmitted)})" if server.retransmitted else str(total)


PROBES = frozenset(("keepalive", "zwprobe"))
"""Causes that are no retransmissions."""


def _listening(event: ServerListening) -> str:
    return "\n".join(f"Listening on {format_end(place)}" for place in event.places)


def _opened(event: ClientOpened) -> str:
    return f"Connection received on {format_end(event.peer)}"


def _closed(event: ClientClosed) -> str:
    info = event.info
    again = str(info.total_retrans)
    if info.causes:
        again += f" ({format_counts(info.causes)})"
    rtt = f"rtt {info.rtt_ns / MS:.3f} ms" if info.rtt_ns else "no rtt"
    return (
        f"{format_end(event.peer)} > {event.local[1]}: {event.bytes_in} bytes in, {event.bytes_out} bytes out, "
        f"{event.duration_ns / SECOND:.3f} s, {rtt}, {again} retransmitted, {event.how}"
    )
