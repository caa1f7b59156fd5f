"""Trace events: small slotted records stamped with the engine's `now`.

Every event class has `name` (the `event` of its JSON record and the key of the word table in `render.words`). Fields
are plain values with units in their names; addresses and MACs are `bytes`.
"""

from typing import Any, ClassVar

from pytools.units import Ns

RECEIVED = "<"
SENT = ">"


class TraceEvent:
    """Base: slots are the fields, in the order of the positional arguments."""

    __slots__ = ("now",)
    name: ClassVar[str] = ""

    def __init__(self, now: Ns, *fields: Any) -> None:
        self.now = now
        for slot, value in zip(self.__slots__, fields, strict=True):
            setattr(self, slot, value)


class FrameReceived(TraceEvent):
    """A frame came in; emitted before anything else is said of it. `frame` is a copy."""

    __slots__ = ("at", "checksum", "frame", "gso_size", "port")
    name = "frame_received"

    def __init__(self, now: Ns, port: int, frame: bytes, at: Ns | None, checksum: int, gso_size: int) -> None:
        self.now = now
        self.port = port
        self.frame = frame
        self.at = at
        self.checksum = checksum
        self.gso_size = gso_size


class FrameSent(TraceEvent):
    """A frame leaves `poll_transmit`. `parts`, `gso_size`, `csum_start` and `csum_offset` as in `engine.Transmit`."""

    __slots__ = ("csum_offset", "csum_start", "gso_size", "parts", "port")
    name = "frame_sent"

    def __init__(
        self, now: Ns, port: int, parts: tuple[bytes, ...], gso_size: int, csum_start: int, csum_offset: int
    ) -> None:
        self.now = now
        self.port = port
        self.parts = parts
        self.gso_size = gso_size
        self.csum_start = csum_start
        self.csum_offset = csum_offset


class Settled(TraceEvent):
    """One engine call is over: what was emitted since the last one belongs together."""

    name = "settled"
    __slots__ = ()


class Dropped(TraceEvent):
    """Received input was refused. `detail` is a short phrase or ""."""

    name = "dropped"
    __slots__ = ("port", "reason", "detail")


class TimerSet(TraceEvent):
    """A deadline was set: `timer` names it, `subject` says whose ("10.0.0.2", a connection), `at` when."""

    name = "timer_set"
    __slots__ = ("timer", "subject", "at")


class TimerFired(TraceEvent):
    """A deadline came due for the `count`-th time."""

    name = "timer_fired"
    __slots__ = ("timer", "subject", "count")


class TimerStopped(TraceEvent):
    """A deadline is no longer needed."""

    name = "timer_stopped"
    __slots__ = ("timer", "subject")


class NeighborChanged(TraceEvent):
    """ARP cache or ND neighbour cache: `address` went from `old` to `new` state (INCOMPLETE REACHABLE ... FAILED)."""

    name = "neighbor_changed"
    __slots__ = ("port", "address", "mac", "old", "new", "why")


class AddressConflict(TraceEvent):
    """Another station (`mac`) uses or claims our `address`; `action` says what was done."""

    name = "address_conflict"
    __slots__ = ("port", "address", "mac", "action")


class AddressChanged(TraceEvent):
    """One of our own addresses went from `old` to `new` (TENTATIVE ANNOUNCED PREFERRED DUPLICATE REMOVED)."""

    name = "address_changed"
    __slots__ = ("port", "address", "old", "new", "why")


class PacketQueued(TraceEvent):
    """An IP packet waits for the link address of `next_hop`; `depth` packets wait now."""

    name = "packet_queued"
    __slots__ = ("port", "next_hop", "depth")


class FragmentQueued(TraceEvent):
    """A fragment `first`:`end` (octets) of datagram `ident` is held."""

    name = "fragment_queued"
    __slots__ = ("src", "dst", "ident", "first", "end", "more")


class Reassembled(TraceEvent):
    """A datagram of `length` octets is complete."""

    name = "reassembled"
    __slots__ = ("src", "dst", "ident", "length", "fragment_count")


class ReassemblyTimedOut(TraceEvent):
    """`held` octets of an incomplete datagram were given up."""

    name = "reassembly_timed_out"
    __slots__ = ("src", "dst", "ident", "held")


class Fragmented(TraceEvent):
    """We cut a datagram of `length` octets into `fragment_count` pieces for `mtu`."""

    name = "fragmented"
    __slots__ = ("dst", "length", "fragment_count", "mtu")


class PathMtuChanged(TraceEvent):
    """The path MTU to `dst` went from `old` to `new` because of `reporter` (bytes, or b"" for expiry)."""

    name = "path_mtu_changed"
    __slots__ = ("dst", "old", "new", "reporter")


class RouteChanged(TraceEvent):
    """A Redirect moved `dst` to `gateway`."""

    name = "route_changed"
    __slots__ = ("dst", "gateway", "reporter")


class EchoAnswered(TraceEvent):
    """We answered an echo request of `length` octets from `src`."""

    name = "echo_answered"
    __slots__ = ("src", "ident", "seq", "length")


class IcmpErrorSent(TraceEvent):
    """We send an ICMP error; `family` 4 or 6, `info` is the MTU or pointer (0 when there is none)."""

    name = "icmp_error_sent"
    __slots__ = ("family", "dst", "type", "code", "info", "about")


class IcmpErrorSuppressed(TraceEvent):
    """An ICMP error was due and not sent; `why` names the rule (RFC 1122 3.2.2, RFC 4443 2.4) or "rate limit"."""

    name = "icmp_error_suppressed"
    __slots__ = ("family", "type", "code", "why")


class IcmpErrorReceived(TraceEvent):
    """An ICMP error named one of our packets; `about` is a short phrase such as "echo id 77 seq 1 to 10.0.0.99"."""

    name = "icmp_error_received"
    __slots__ = ("family", "src", "type", "code", "info", "about")


class ProbeSent(TraceEvent):
    """A probe (ping, arping, ...) is on its way."""

    name = "probe_sent"
    __slots__ = ("target", "seq")


class ProbeAnswered(TraceEvent):
    """`kind` is "" or a note such as "duplicate"."""

    name = "probe_answered"
    __slots__ = ("target", "seq", "rtt_ns", "kind")


class ProbeLost(TraceEvent):
    """No answer within `waited_ns`."""

    name = "probe_lost"
    __slots__ = ("target", "seq", "waited_ns")


class ProbeFailed(TraceEvent):
    """A probe ended with an error: `why` in words."""

    name = "probe_failed"
    __slots__ = ("target", "seq", "why")


class WireLost(TraceEvent):
    """The simulated wire lost our `number`-th frame of `direction` ("out" from us, "in" to us)."""

    name = "wire_lost"
    __slots__ = ("direction", "number", "frame", "why")


class WireDuplicated(TraceEvent):
    """The simulated wire delivers a frame twice."""

    name = "wire_duplicated"
    __slots__ = ("direction", "number", "frame")


class WireDelayed(TraceEvent):
    """The simulated wire holds a frame up by `extra_ns`, so that later ones overtake it."""

    name = "wire_delayed"
    __slots__ = ("direction", "number", "frame", "extra_ns")


class WireCorrupted(TraceEvent):
    """The simulated wire flipped one bit of a frame; `frame` is as it was sent, `octet` counts from its start."""

    name = "wire_corrupted"
    __slots__ = ("direction", "number", "frame", "octet", "bit")
