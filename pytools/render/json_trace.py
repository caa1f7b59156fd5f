"""Trace events as JSON records in the envelope of `json_lines` (docs/json.md, schema.json).

    tracer = JsonTrace(writer, ports, level=1)
    trace.subscribe(tracer.on_event, tracer.categories)

One record an event, in the order in which they were emitted: a frame first, then what the stack made of it. Addresses
are text, times are `*_ns` (instants count from the start, like `t_ns`).
"""

from collections.abc import Iterable
from typing import Any, Final

from pytools.engine import CHECKSUM_PARTIAL, CHECKSUM_VERIFIED, ETHERNET, Port
from pytools.errors import PytoolsError
from pytools.render.json_lines import VERSION, JsonWriter, encode_record
from pytools.render.words import format_address, icmp_words
from pytools.trace import events as trace
from pytools.trace import tcp_events as tcp
from pytools.trace.hub import CATEGORIES
from pytools.units import Ns
from pytools.wire.notation import describe

# What a value of an event is.
VALUE: Final = 0
"""A number, text, or None: as it is."""
ADDRESS: Final = 1
"""Octets of an IP or MAC address (no octets: null), or a name."""
INSTANT: Final = 2
"""Nanoseconds of the engine's clock: counted from the start."""
OCTETS: Final = 3
"""A frame: hex, from -vvv on."""

Fields = tuple[tuple[str, str, int], ...]
"""(key, slot, kind) for each field; a key differs from its slot where a unit must be named."""


def _plain(*slots: str) -> Fields:
    return tuple((slot, slot, VALUE) for slot in slots)


_PORT: Final[Fields] = _plain("port")
_DATAGRAM: Final[Fields] = (("src", "src", ADDRESS), ("dst", "dst", ADDRESS), ("ident", "ident", VALUE))
_TIMER: Final[Fields] = (("timer", "timer", VALUE), ("subject", "subject", ADDRESS))
_PROBE: Final[Fields] = (("target", "target", ADDRESS), ("seq", "seq", VALUE))
_ICMP: Final[Fields] = _plain("family", "type", "code")
_WIRE: Final[Fields] = (*_plain("direction", "number"), ("frame", "frame", OCTETS))
_OLD_NEW_WHY: Final[Fields] = _plain("old", "new", "why")


def _addresses(*slots: str) -> Fields:
    return tuple((slot, slot, ADDRESS) for slot in slots)


FIELDS: Final[dict[type[trace.TraceEvent], Fields]] = {
    trace.Settled: (),
    trace.Dropped: (*_PORT, *_plain("reason", "detail")),
    trace.TimerSet: (*_TIMER, ("at_ns", "at", INSTANT)),
    trace.TimerFired: (*_TIMER, *_plain("count")),
    trace.TimerStopped: _TIMER,
    trace.NeighborChanged: (*_PORT, *_addresses("address", "mac"), *_OLD_NEW_WHY),
    trace.AddressConflict: (*_PORT, *_addresses("address", "mac"), *_plain("action")),
    trace.AddressChanged: (*_PORT, *_addresses("address"), *_OLD_NEW_WHY),
    trace.PacketQueued: (*_PORT, *_addresses("next_hop"), *_plain("depth")),
    trace.FragmentQueued: (*_DATAGRAM, *_plain("first", "end", "more")),
    trace.Reassembled: (*_DATAGRAM, *_plain("length", "fragment_count")),
    trace.ReassemblyTimedOut: (*_DATAGRAM, *_plain("held")),
    trace.Fragmented: (*_addresses("dst"), *_plain("length", "fragment_count", "mtu")),
    trace.PathMtuChanged: (*_addresses("dst"), *_plain("old", "new"), *_addresses("reporter")),
    trace.RouteChanged: _addresses("dst", "gateway", "reporter"),
    trace.EchoAnswered: (*_addresses("src"), *_plain("ident", "seq", "length")),
    trace.IcmpErrorSent: (*_ICMP, *_addresses("dst"), *_plain("info", "about")),
    trace.IcmpErrorSuppressed: (*_ICMP, *_plain("why")),
    trace.IcmpErrorReceived: (*_ICMP, *_addresses("src"), *_plain("info", "about")),
    trace.ProbeSent: _PROBE,
    trace.ProbeAnswered: (*_PROBE, *_plain("rtt_ns", "kind")),
    trace.ProbeLost: (*_PROBE, *_plain("waited_ns")),
    trace.ProbeFailed: (*_PROBE, *_plain("why")),
    tcp.StateChanged: _plain("id", "old", "new", "why"),
    tcp.SegmentSent: _plain("id", "seq", "length", "flight", "cwnd"),
    tcp.SegmentRetransmitted: _plain("id", "seq", "length", "cause", "by", "times", "flight", "cwnd"),
    tcp.RttUpdated: _plain("id", "rtt_ns", "srtt_ns", "rttvar_ns", "rto_ns"),
    tcp.CwndChanged: _plain("id", "cwnd", "ssthresh", "why"),
    tcp.RecoveryEntered: _plain("id", "phase", "by", "cwnd", "ssthresh"),
    tcp.RecoveryLeft: _plain("id", "cwnd", "ssthresh"),
    tcp.ScoreboardChanged: _plain("id", "sacked", "lost", "resent", "flight"),
    tcp.WindowChanged: _plain("id", "window"),
    tcp.RtoExpired: _plain("id", "count", "rto_ns", "cwnd", "ssthresh"),
    tcp.TcpTimerFired: _plain("id", "timer", "count"),
    tcp.ChallengeSent: _plain("id", "why"),
    tcp.ConnectionEnded: _plain("id", "error"),
    trace.WireLost: (*_WIRE, *_plain("why")),
    trace.WireDuplicated: _WIRE,
    trace.WireDelayed: (*_WIRE, *_plain("extra_ns")),
    trace.WireCorrupted: (*_WIRE, *_plain("octet", "bit")),
}
"""Every class but the two frames, which `_frame` renders."""

_ICMP_EVENTS: Final = frozenset((trace.IcmpErrorSent, trace.IcmpErrorSuppressed, trace.IcmpErrorReceived))
_CHECKSUM: Final = {CHECKSUM_PARTIAL: "partial", CHECKSUM_VERIFIED: "verified"}
_FRAME_LEVEL: Final = 3


class JsonTrace:
    """Renders trace events by `writer`. `level` as -v counts: 3 adds the octets of each frame.

    `on_event` raises nothing; an error of the stream is kept and raised by `flush`, outside of the engine.
    """

    __slots__ = ("_error", "_level", "_ports", "_writer", "categories")

    def __init__(self, writer: JsonWriter, ports: Iterable[Port], level: int = 1) -> None:
        self._writer = writer
        self._ports = {port.index: port for port in ports}
        self._level = level
        self._error: Exception | None = None
        self.categories = tuple(c for c in CATEGORIES if c != "settle" or level >= _FRAME_LEVEL)
        """What to subscribe to: the end of each engine call is told from -vvv on."""

    def on_event(self, event: trace.TraceEvent) -> None:
        """Write the record of one event; a listener for `Trace.subscribe`."""
        if self._error is not None or self._writer.ended:
            return
        start_at = self._writer.start_at
        record = {"v": VERSION, "event": event.name, "t_ns": event.now - start_at}
        if isinstance(event, (trace.FrameReceived, trace.FrameSent)):
            self._frame(record, event, start_at)
        else:
            self._fields(record, event, start_at)
        try:
            self._writer.write_line(encode_record(record))
        except (OSError, PytoolsError) as error:
            self._error = error

    def add_port(self, port: Port) -> None:
        """Name a port that was opened later."""
        self._ports[port.index] = port

    def flush(self) -> None:
        """Hand everything to the system. Raises the error that stopped the trace, if one did."""
        if self._error is not None:
            raise self._error
        self._writer.flush()

    def close(self) -> None:
        """Write the rest; the stream stays open. Raises as `flush`."""
        self.flush()

    def _fields(self, record: dict[str, Any], event: trace.TraceEvent, start_at: Ns) -> None:
        for key, slot, kind in FIELDS[type(event)]:
            value = getattr(event, slot)
            if kind == VALUE:
                record[key] = value
            elif kind == ADDRESS:
                record[key] = None if value == b"" else format_address(value)
            elif kind == INSTANT:
                record[key] = None if value is None else value - start_at
            elif self._level >= _FRAME_LEVEL:
                record[key] = value.hex()
        if type(event) in _ICMP_EVENTS:
            record["words"] = icmp_words(record["family"], record["type"], record["code"])

    def _frame(self, record: dict[str, Any], event: trace.FrameReceived | trace.FrameSent, start_at: Ns) -> None:
        port = self._ports.get(event.port)
        link_type = ETHERNET if port is None else port.link_type
        if isinstance(event, trace.FrameReceived):
            frame = event.frame
            record["at_ns"] = None if event.at is None else event.at - start_at
            checksum = _CHECKSUM.get(event.checksum, "unknown")
        else:
            frame = b"".join(event.parts)
            checksum = "partial" if event.csum_start else "complete"
        record["port"] = event.port
        record["interface"] = None if port is None else port.name
        record["length"] = len(frame)
        record["gso_size"] = event.gso_size
        record["checksum"] = checksum
        record["packet"] = describe(frame, link_type, level=1)
        if self._level >= _FRAME_LEVEL:
            record["frame"] = frame.hex()
