"""What a ping tells the application: one event a probe, an answer, an error; and the summary at the end."""

from typing import Final

from pytools.engine import EngineEvent
from pytools.probe.statistics import Histogram, Jitter, RttSum
from pytools.units import Ns

# What was odd about a reply, a bit set.
DUPLICATE: Final = 1
TRUNCATED: Final = 2
BAD_CHECKSUM: Final = 4
DIFFERENT_ADDRESS: Final = 8
LATE: Final = 16
"""It came after its probe had been called lost."""
MULTICAST: Final = 32
"""The probe went to many hosts: more than one reply is no oddity."""


class PingEvent(EngineEvent):
    """Base: `target` is the index of the target, `seq` the number of the probe (1, 2, ..., not cut to 16 bits)."""

    __slots__ = ("seq", "target")
    name = ""

    def __init__(self, now: Ns, target: int, seq: int) -> None:
        self.now = now
        self.target = target
        self.seq = seq


class ProbeSent(PingEvent):
    """A probe of `size` payload octets was given to the stack."""

    __slots__ = ("size",)
    name = "sent"

    def __init__(self, now: Ns, target: int, seq: int, size: int) -> None:
        self.now = now
        self.target = target
        self.seq = seq
        self.size = size


class Replied(PingEvent):
    """An echo reply.

    `length` counts the ICMP message (8 + payload), `rtt_ns` is None when the probe's time is not known, `flags` says
    what was odd. `wrong_at` is the index of the first payload octet that differs from what was sent (`expected`), -1
    if none does; then `payload` holds what came.
    """

    __slots__ = (
        "expected",
        "flags",
        "ident",
        "length",
        "options",
        "payload",
        "rtt_ns",
        "size",
        "src",
        "tos",
        "ttl",
        "wrong_at",
    )
    name = "reply"

    def __init__(
        self,
        now: Ns,
        target: int,
        seq: int,
        src: bytes,
        rtt_ns: Ns | None,
        length: int,
        ttl: int,
        tos: int,
        ident: int,
        flags: int = 0,
        size: int = 0,
        options: bytes = b"",
        wrong_at: int = -1,
        expected: int = 0,
        payload: bytes = b"",
    ) -> None:
        self.now = now
        self.target = target
        self.seq = seq
        self.src = src
        self.rtt_ns = rtt_ns
        self.length = length
        self.ttl = ttl
        self.tos = tos
        self.ident = ident
        self.flags = flags
        self.size = size
        """Payload octets that were sent."""
        self.options = options
        self.wrong_at = wrong_at
        self.expected = expected
        self.payload = payload


class ErrorReported(PingEvent):
    """An ICMP error (or a redirect or source quench, which are no failures) that quotes one of our probes.

    `info` is the MTU or pointer of the message, `gateway` the new next hop of a redirect, `quoted` the quoted packet as
    far as it came. `size` is the payload of the probe. `src` is our own address when our stack found no next hop.
    """

    __slots__ = ("code", "family", "gateway", "info", "quoted", "size", "src", "type")
    name = "error"

    def __init__(
        self,
        now: Ns,
        target: int,
        seq: int,
        src: bytes,
        family: int,
        type: int,
        code: int,
        info: int = 0,
        gateway: bytes = b"",
        quoted: bytes = b"",
        size: int = 0,
    ) -> None:
        self.now = now
        self.target = target
        self.seq = seq
        self.src = src
        self.family = family
        self.type = type
        self.code = code
        self.info = info
        self.gateway = gateway
        self.quoted = quoted
        self.size = size

    @property
    def is_failure(self) -> bool:
        """Whether the probe is gone; a redirect (4: 5, 6: 137) or source quench (4) lets it live."""
        return self.type not in ((4, 5) if self.family == 4 else (137,))


class SendRefused(PingEvent):
    """Our own side would not send the probe: an errno, and the MTU if it was EMSGSIZE."""

    __slots__ = ("errno", "family", "mtu")
    name = "error"

    def __init__(self, now: Ns, target: int, seq: int, family: int, errno: int, mtu: int = 0) -> None:
        self.now = now
        self.target = target
        self.seq = seq
        self.family = family
        self.errno = errno
        self.mtu = mtu


class NoAnswerYet(PingEvent):
    """The next probe is about to go and this one has no answer (-O)."""

    __slots__ = ()
    name = "no_answer_yet"


class Lost(PingEvent):
    """No answer within the time a probe may take, or before the end."""

    __slots__ = ("waited_ns",)
    name = "lost"

    def __init__(self, now: Ns, target: int, seq: int, waited_ns: Ns) -> None:
        self.now = now
        self.target = target
        self.seq = seq
        self.waited_ns = waited_ns


class TargetDone(PingEvent):
    """A target's fate is known (reachability mode): `alive`, after `seq` probes, the answer after `rtt_ns`."""

    __slots__ = ("alive", "rtt_ns")
    name = "alive"

    def __init__(self, now: Ns, target: int, seq: int, alive: bool, rtt_ns: Ns | None) -> None:
        self.now = now
        self.target = target
        self.seq = seq
        self.alive = alive
        self.rtt_ns = rtt_ns


class ClockWarning(EngineEvent):
    """A reply seems older than its probe by `by_ns`: a clock was stepped."""

    __slots__ = ("by_ns",)
    name = "warning"

    def __init__(self, now: Ns, by_ns: Ns) -> None:
        self.now = now
        self.by_ns = by_ns


class ReportDue(EngineEvent):
    """It is time for interim figures."""

    __slots__ = ()
    name = "report_due"


class Summary:
    """The figures of one target, or of all together."""

    __slots__ = (
        "address",
        "corrupted",
        "duplicates",
        "elapsed_ns",
        "errors",
        "histogram",
        "ipg_us",
        "jitter",
        "name",
        "outage_ns",
        "pipe",
        "received",
        "rtt",
        "sent",
        "timed",
    )

    def __init__(self, name: str, address: bytes) -> None:
        self.name = name
        self.address = address
        self.sent = 0
        self.received = 0
        self.duplicates = 0
        self.corrupted = 0
        self.errors = 0
        self.rtt = RttSum()
        self.histogram: Histogram | None = None
        self.jitter: Jitter | None = None
        self.pipe = 0
        """The most probes that were under way at once."""
        self.elapsed_ns: Ns = 0
        """From the first probe to the last."""
        self.ipg_us: int | None = None
        """Mean gap between probes, for floods and adaptive pinging."""
        self.outage_ns: Ns = 0
        """Longest time without an answer, in lost probes times the interval."""
        self.timed = True
        """Whether ping's text shows times (a payload of 16 octets or more)."""

    @property
    def loss_percent(self) -> float:
        """Probes without an answer, of 100; 0 before the first probe."""
        return (self.sent - self.received) * 100.0 / self.sent if self.sent else 0.0
