"""What the engines of arping tell the application. The words for them are in `render.arping_text`."""

from pytools.engine import EngineEvent
from pytools.probe.arping_wire import Seen
from pytools.units import Ns


class ArpingSent(EngineEvent):
    """Probe number `seq` (from 1) went out; `kind` is question, probe or announcement."""

    __slots__ = ("is_broadcast", "kind", "seq", "target")

    def __init__(self, now: Ns, target: bytes, seq: int, kind: str, is_broadcast: bool) -> None:
        self.now = now
        self.target = target
        self.seq = seq
        self.kind = kind
        self.is_broadcast = is_broadcast


class ArpingAnswered(EngineEvent):
    """`ip` is at `mac`, says an answer to the question about `target`.

    `rtt_ns` counts from the latest probe, None when none was sent yet. `asked_ip` and `asked_mac` are whom the packet
    was for where that is not us, else b"".
    """

    __slots__ = ("asked_ip", "asked_mac", "ip", "is_broadcast", "is_request", "mac", "rtt_ns", "seq", "target")

    def __init__(
        self, seen: Seen, target: bytes, seq: int, rtt_ns: Ns | None, asked_ip: bytes = b"", asked_mac: bytes = b""
    ) -> None:
        self.now = seen.now
        self.target = target
        self.ip = seen.ip
        self.mac = seen.mac
        self.is_request = seen.is_request
        self.is_broadcast = seen.is_broadcast
        self.asked_ip = asked_ip
        self.asked_mac = asked_mac
        self.seq = seq
        self.rtt_ns = rtt_ns


class ArpingMissed(EngineEvent):
    """Nothing answered probe `seq` until the next one was due."""

    __slots__ = ("seq", "target", "waited_ns")

    def __init__(self, now: Ns, target: bytes, seq: int, waited_ns: Ns) -> None:
        self.now = now
        self.target = target
        self.seq = seq
        self.waited_ns = waited_ns


class ArpingConflict(EngineEvent):
    """Two stations claim `ip`: `macs`, in the order in which they were seen. `why` is a short phrase."""

    __slots__ = ("ip", "macs", "why")

    def __init__(self, now: Ns, ip: bytes, macs: tuple[bytes, ...], why: str) -> None:
        self.now = now
        self.ip = ip
        self.macs = macs
        self.why = why


class ArpingMoved(EngineEvent):
    """`ip` is at `mac` now and was at `old_mac` before, which has been silent for `silent_ns`."""

    __slots__ = ("ip", "mac", "old_mac", "silent_ns")

    def __init__(self, now: Ns, ip: bytes, old_mac: bytes, mac: bytes, silent_ns: Ns) -> None:
        self.now = now
        self.ip = ip
        self.old_mac = old_mac
        self.mac = mac
        self.silent_ns = silent_ns


class ArpingVerdict(EngineEvent):
    """The end of `--acd`: `address` is free (`mac` is b""), announced, or in use by `mac`."""

    __slots__ = ("address", "announced", "mac")

    def __init__(self, now: Ns, address: bytes, mac: bytes, announced: bool) -> None:
        self.now = now
        self.address = address
        self.mac = mac
        self.announced = announced


class ArpingSendFailed(EngineEvent):
    """The link refused a probe; with `is_final` the run ends because no other would fare better."""

    __slots__ = ("errno", "is_final", "target")

    def __init__(self, now: Ns, target: bytes, errno: int, is_final: bool) -> None:
        self.now = now
        self.target = target
        self.errno = errno
        self.is_final = is_final


class ArpingEnded(EngineEvent):
    """Nothing more will come; `reason` is count, deadline, reply, replies, conflict, verdict, error or interrupted."""

    __slots__ = ("reason",)

    def __init__(self, now: Ns, reason: str) -> None:
        self.now = now
        self.reason = reason
