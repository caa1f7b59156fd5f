"""What a host of ours is asked and does: counted, and told one event at a time.

The stack itself is the engine; this listens to its trace and to its events.
"""

from collections.abc import Callable
from typing import Any

from pytools.engine import EngineEvent
from pytools.stack.events import AddressConflicted, AddressReady, ArpSeen, NdSeen
from pytools.stack.interfaces import PREFERRED, TENTATIVE, Address
from pytools.stack.stack import Stack
from pytools.trace.events import AddressConflict, EchoAnswered, IcmpErrorSent, TraceEvent
from pytools.units import Ns
from pytools.wire import arp, icmp6
from pytools.wire.addr import is_link_local

CATEGORIES = ("icmp", "neighbor")
"""Of the trace, what `Tally.on_trace` wants."""


class HostReady(EngineEvent):
    """Every address passed its probes: from now on we answer. Addresses of all ports, link-local ones last."""

    __slots__ = ("addresses",)

    def __init__(self, now: Ns, addresses: tuple[bytes, ...]) -> None:
        self.now = now
        self.addresses = addresses


class HostAsked(EngineEvent):
    """`ip` at `mac` asked for the link address of `target`, one of ours; an unspecified `ip` is a probe."""

    __slots__ = ("ip", "mac", "target")

    def __init__(self, now: Ns, ip: bytes, mac: bytes, target: bytes) -> None:
        self.now = now
        self.ip = ip
        self.mac = mac
        self.target = target


class HostPinged(EngineEvent):
    """We answered an echo request of `length` octets (ICMP header and data)."""

    __slots__ = ("ident", "ip", "length", "seq")

    def __init__(self, now: Ns, ip: bytes, ident: int, seq: int, length: int) -> None:
        self.now = now
        self.ip = ip
        self.ident = ident
        self.seq = seq
        self.length = length


class HostComplained(EngineEvent):
    """We sent an ICMP error to `ip`."""

    __slots__ = ("code", "family", "info", "ip", "type")

    def __init__(self, now: Ns, ip: bytes, family: int, type_: int, code: int, info: int) -> None:
        self.now = now
        self.ip = ip
        self.family = family
        self.type = type_
        self.code = code
        self.info = info


class HostConflict(EngineEvent):
    """Another station (`mac`) uses `address`; `action` says what we did: "given up", "defended" ..."""

    __slots__ = ("action", "address", "mac")

    def __init__(self, now: Ns, address: bytes, mac: bytes, action: str) -> None:
        self.now = now
        self.address = address
        self.mac = mac
        self.action = action


class Tally:
    """Counts what happens and hands it on to `tell`.

    `is_ready` once no address is tentative any more; `lost` has addresses that had to be given up with the MAC of the
    other station. `pings_wanted` 0 is no limit; `done` when it is reached or no address is left.
    """

    def __init__(
        self, stack: Stack, ports: tuple[int, ...], tell: Callable[[EngineEvent], None], pings_wanted: int = 0
    ):
        self._stack = stack
        self._ports = ports
        self._tell = tell
        self._pings_wanted = pings_wanted
        self.is_ready = False
        self.lost: dict[bytes, bytes] = {}
        self.ping_count = 0
        self.arp_count = 0
        self.solicitation_count = 0
        self.error_count = 0
        self.conflict_count = 0
        for port in ports:
            stack.watch(port)

    @property
    def done(self) -> bool:
        """Nothing is left to do."""
        return 0 < self._pings_wanted <= self.ping_count or not self._own()

    def begin(self, now: Ns) -> None:
        """Tell that we are ready, if we are from the first."""
        self._check_ready(now)

    def _own(self) -> list[Address]:
        return [own for port in self._ports for own in self._stack.addresses(port)]

    def _check_ready(self, now: Ns) -> None:
        own = self._own()
        if self.is_ready or not own or any(one.state == TENTATIVE for one in own):
            return
        self.is_ready = True
        addresses = sorted(
            (one.address for one in own), key=lambda address: len(address) == 16 and is_link_local(address)
        )
        self._tell(HostReady(now, tuple(addresses)))

    def on_event(self, event: EngineEvent) -> None:
        """Take an engine event of the stack."""
        if isinstance(event, ArpSeen):
            packet = event.packet
            if packet.operation == arp.REQUEST and self._answers(event.port, packet.target_ip, packet.sender_ip):
                self.arp_count += 1
                self._tell(HostAsked(event.now, packet.sender_ip, packet.sender_mac, packet.target_ip))
        elif isinstance(event, NdSeen):
            is_question = event.type == icmp6.NEIGHBOR_SOLICITATION
            if is_question and self._answers(event.port, event.target, event.src):
                self.solicitation_count += 1
                self._tell(HostAsked(event.now, event.src, event.mac or event.frame_src, event.target))
        elif isinstance(event, AddressReady):
            self._check_ready(event.now)
        elif isinstance(event, AddressConflicted) and event.given_up:
            self.lost[event.address] = event.mac

    def _answers(self, port: int, target: bytes, asker: bytes) -> bool:
        """Whether it is an address of ours in use, and not its other owner who asks."""
        own = [one for one in self._stack.addresses(port) if one.address == target]
        return bool(own) and own[0].state == PREFERRED and asker != target

    def on_trace(self, event: TraceEvent) -> None:
        """Take a trace event of the stack."""
        if (take := _TAKES.get(type(event))) is not None:
            take(self, event)

    def _pinged(self, e: Any) -> None:
        self.ping_count += 1
        self._tell(HostPinged(e.now, e.src, e.ident, e.seq, e.length))

    def _complained(self, e: Any) -> None:
        self.error_count += 1
        self._tell(HostComplained(e.now, e.dst, e.family, e.type, e.code, e.info))

    def _conflict(self, e: Any) -> None:
        self.conflict_count += 1
        self._tell(HostConflict(e.now, e.address, e.mac, e.action))


_TAKES: dict[type[TraceEvent], Callable[[Tally, Any], None]] = {
    EchoAnswered: Tally._pinged,
    IcmpErrorSent: Tally._complained,
    AddressConflict: Tally._conflict,
}
