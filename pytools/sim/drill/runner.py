"""Plays a script on our stack in virtual time and says where it went another way."""

import struct
from collections.abc import Callable
from typing import Any, Final, Protocol

from pytools.errors import UsageError
from pytools.sim.drill.assertions import AssertionFailedError, Evaluator
from pytools.sim.drill.calls import BLOCKED, Calls
from pytools.sim.drill.constants import CONSTANTS, PORT
from pytools.sim.drill.machine import Machine, Sent
from pytools.sim.drill.packets import (
    Flow,
    Outgoing,
    build_icmp,
    build_tcp,
    build_udp,
    describe,
    differences,
    flag_bits,
)
from pytools.sim.drill.script import ScriptError
from pytools.sim.drill.settings import Settings
from pytools.sim.drill.syntax import Anything, Call, Code, Command, Event, PacketStep, Script
from pytools.sim.drill.values import MismatchError
from pytools.trace.hub import Trace
from pytools.units import MS, SECOND, US, Ns
from pytools.wire import tcp
from pytools.wire.addr import parse_ip

TOLERANCE: Final[Ns] = 4 * MS
"""packetdrill's own; a script may say --tolerance_usecs."""
PATIENCE: Final[Ns] = 600 * SECOND
"""How long `*` and a blocking call wait in virtual time."""
FIRST_REMOTE_PORT: Final = 33333
_COOKIES: Final = {
    4: {"TFO_COOKIE": "3021b9d889017eeb", "TFO_COOKIE_ZERO": "b7c12350a90dc8f5"},
    6: {"TFO_COOKIE": "c1d1e9742a47a9bc", "TFO_COOKIE_ZERO": "82af1a8f9a205c34"},
}
"""What Linux' fast-open cookies are for packetdrill's usual addresses and keys."""


class World(Protocol):
    """What a script runs on: `machine.Machine` in virtual time, or the kernel."""

    now: Ns
    start_at: Ns
    sent: list[Sent]
    local: bytes
    remote: bytes

    def step(self, until: Ns) -> bool:
        """Let time pass to the next thing that happens; False when `until` came first."""

    def inject(self, packet: bytes) -> None:
        """A packet arrives."""

    def configure(self, settings: Settings) -> None:
        """The script has changed settings."""

    def settled(self, flow: Flow) -> bool:
        """Whether the handshake of `flow` is over."""

    def close(self) -> None:
        """The script is over."""


class WorldCalls(Protocol):
    """Its system calls: `calls.Calls`, or real ones."""

    def run(self, call: Call) -> Any:
        """(result, errno name or None) or BLOCKED."""

    def value(self, argument: Any) -> Any:
        """An argument's value."""

    def names(self) -> dict[str, Any]:
        """The words of assertions."""

    def wake_at(self) -> Ns:
        """When a waiting call gives up."""

    def close(self) -> None:
        """The script is over."""


Make = Callable[[Settings, dict[str, str]], tuple[World, WorldCalls]]


class ScriptFailedError(Exception):
    """The script expected something else; `event` is where, `detail` the lines that show it."""

    def __init__(self, event: Event, what: str, detail: list[str] | None = None) -> None:
        super().__init__(what)
        self.event = event
        self.what = what
        self.detail = detail or []


class Pending:
    """A call that waits, with the instant at which it must return (None: whenever)."""

    __slots__ = ("call", "event", "until")

    def __init__(self, event: Event, call: Call, until: Ns | None) -> None:
        self.event = event
        self.call = call
        self.until = until


class Runner:
    """One script, from its first event to its last. Raises ScriptFailedError, or ScriptError for what isn't known."""

    def __init__(
        self,
        script: Script,
        trace: Trace | None = None,
        seed: int = 1,
        *,
        make: Make | None = None,
        options: dict[str, str] | None = None,
        tolerance_ns: Ns = 0,
        patience_ns: Ns = PATIENCE,
        narrate: Callable[[Ns, str], None] | None = None,
    ) -> None:
        self._script = script
        self._options = {**script.options, **(options or {})}
        self._settings = _settings_of(self._options)
        self._defines = {**_COOKIES[self._settings.family], **_levels(self._settings.family), **script.defines}
        self._trace = trace
        self._seed = seed
        self._make = make or self._make_machine
        given = _tolerance_of(self._options)
        self._tolerance = max(given, tolerance_ns)
        self._patience = patience_ns
        self._narrate = narrate
        self.machine: World | None = None
        self._calls: WorldCalls | None = None
        self._flows: list[Flow] = []
        self._pending: list[Pending] = []
        self._evaluator = Evaluator(self)
        self.log: list[str] = []
        """What happened, a line an event, for a diff and for -v."""

    # The script's world.

    def _make_machine(self, settings: Settings, defines: dict[str, str]) -> tuple[World, WorldCalls]:
        machine = Machine(settings, self._trace, self._seed)
        return machine, Calls(machine, defines)

    def _start(self) -> tuple[World, WorldCalls]:
        """The machine is made at the first event that needs it, after the settings."""
        if self.machine is None or self._calls is None:
            self.machine, self._calls = self._make(self._settings, self._defines)
        return self.machine, self._calls

    def __getitem__(self, name: str) -> Any:
        """A tcp_info field for an assertion."""
        return self._start()[1].names()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._start()[1].names()

    def run(self) -> None:
        """Play it."""
        try:
            if command := self._options.get("init_scripts"):
                self._settings.apply(command)
            for event in self._script.events:
                self._guarded(event)
            self._finish()
        finally:
            if self._calls is not None and self.machine is not None:
                self._calls.close()
                self.machine.close()

    def _guarded(self, event: Event) -> None:
        try:
            self._play(event)
        except (MismatchError, AssertionFailedError) as problem:
            raise ScriptFailedError(event, str(problem)) from None
        except ScriptError:
            raise
        except UsageError as problem:
            raise ScriptError(f"{self._script.name}:{event.place}: {problem}") from None

    def _finish(self) -> None:
        """Calls that still wait must return."""
        self._await_calls()
        for pending in self._pending:
            raise ScriptFailedError(pending.event, "the call was still blocking at the end of the script")

    def _play(self, event: Event) -> None:
        action = event.action
        if isinstance(action, Command):
            self._settings.apply(action.text)
            if self.machine is not None:
                self._advance(self._time_of(event))
                self.machine.configure(self._settings)
            return
        self._start()
        if isinstance(action, PacketStep) and not action.inbound:
            self._expect(event, action)
            return
        at = self._time_of(event)
        self._advance(at)
        if isinstance(action, PacketStep):
            self._inject(event, action)
        elif isinstance(action, Code):
            self._await_calls()
            self._evaluator.run(action.text)
        else:
            self._await_calls()
            self._call(event, action, at)
        self._retry()

    def _time_of(self, event: Event) -> Ns:
        """When an event is to happen; relative times count from the end of the event before it."""
        machine, _ = self._start()
        when = event.when
        if when.kind == "*":
            return machine.now
        return (machine.now if when.kind == "+" else machine.start_at) + when.earliest

    def _advance(self, until: Ns) -> None:
        """Time passes; blocked calls are tried again after each deadline."""
        machine, calls = self._start()
        while True:
            wake_at = calls.wake_at()
            if machine.step(min(until, max(wake_at, machine.now))) or wake_at < until:
                self._retry()
            else:
                return

    def _step(self, until: Ns) -> bool:
        """One step at most up to `until`; False when that is reached."""
        machine, calls = self._start()
        wake_at = min(until, max(calls.wake_at(), machine.now))
        if machine.step(wake_at):
            self._retry()
            return True
        self._retry()
        return wake_at < until

    def _say(self, text: str) -> None:
        machine, _ = self._start()
        self.log.append(f"{self._clock()} {text}")
        if self._narrate is not None:
            self._narrate(machine.now, text)

    def _clock(self, at: Ns | None = None) -> str:
        machine, _ = self._start()
        return f"{((machine.now if at is None else at) - machine.start_at) / SECOND:.6f}"

    # Packets in.

    def _flow_for(self, packet: PacketStep) -> Flow:
        """The connection that an arriving packet belongs to: the newest one, or a new one for a new SYN."""
        machine, _ = self._start()
        if packet.ports is not None:
            for flow in self._flows:
                if (flow.remote_port, flow.local_port) == packet.ports:
                    return flow
            return self._add_flow(packet.ports[1], packet.ports[0])
        step = packet.tcp
        new = step is not None and flag_bits(step.flags) & (tcp.SYN | tcp.ACK) == tcp.SYN
        if self._flows and not (new and machine.settled(self._flows[-1])):
            return self._flows[-1]
        return self._add_flow(PORT, FIRST_REMOTE_PORT + len(self._flows))

    def _add_flow(self, local_port: int, remote_port: int) -> Flow:
        flow = Flow(local_port, remote_port, self._defines)
        self._flows.append(flow)
        return flow

    def _inject(self, event: Event, packet: PacketStep) -> None:
        machine, _ = self._start()
        if packet.mutation:
            raise UsageError("damaging packets ({...}) is not known")
        flow = self._flow_for(packet)
        try:
            octets = self._octets(packet, flow)
        except (struct.error, OverflowError):
            raise UsageError("a number does not fit its field") from None
        flow.established |= packet.tcp is not None and "." in packet.tcp.flags and flow.offset is not None
        self._say(event.text[event.text.index("<") :])
        machine.inject(octets)

    def _octets(self, packet: PacketStep, flow: Flow) -> bytes:
        machine, _ = self._start()
        if packet.icmp is not None:
            return build_icmp(packet.icmp, packet, flow, machine.local, machine.remote)
        if packet.tcp is not None:
            return build_tcp(packet.tcp, packet, flow, machine.local, machine.remote, bytes(packet.tcp.length))
        return build_udp(packet.udp_length or 0, packet, flow, machine.local, machine.remote)

    # Packets out.

    def _expect(self, event: Event, packet: PacketStep) -> None:
        machine, _ = self._start()
        when = event.when
        earliest = latest = self._time_of(event)
        if when.kind == "*":
            latest = machine.now + self._patience
        elif when.latest is not None:
            latest = earliest - when.earliest + when.latest
        self._wait_for_packet(event, latest + (0 if when.kind == "*" else self._tolerance))
        sent = self._take(packet)
        out = Outgoing(sent.packet)
        flow = self._flow_of(out, packet)
        found = differences(out, packet, flow)
        text = describe(sent.packet, flow)
        self._say(f"> {text}")
        if when.kind != "*" and not earliest - self._tolerance <= sent.at <= latest + self._tolerance:
            wanted = self._clock(earliest) + ("" if earliest == latest else f" to {self._clock(latest)}")
            found.append(f"time: expected {wanted}, found {self._clock(sent.at)}")
        if found:
            raise ScriptFailedError(event, "a packet differs", [f"left: > {text}", *found])

    def _wait_for_packet(self, event: Event, latest: Ns) -> None:
        machine, _ = self._start()
        while not machine.sent:
            if not self._step(latest) and not machine.sent:
                raise ScriptFailedError(event, "no packet left in time")

    def _take(self, packet: PacketStep) -> Sent:
        """The next packet; super-segments count as the segments that they stand for."""
        machine, _ = self._start()
        sent = machine.sent.pop(0)
        wanted = packet.tcp.length if packet.tcp is not None else 0
        out = Outgoing(sent.packet)
        if sent.gso_size and 0 < wanted < out.length and wanted % sent.gso_size == 0:
            push = "P" in packet.tcp.flags and wanted > sent.gso_size if packet.tcp is not None else False
            head, rest = split(sent, wanted, push=push)
            machine.sent.insert(0, rest)
            return head
        while out.header is not None and 0 < out.length < wanted:
            if not machine.sent:
                machine.step(machine.now)
            joined = join(sent, machine.sent[0]) if machine.sent else None
            if joined is None:
                break
            machine.sent.pop(0)
            sent, out = joined, Outgoing(joined.packet)
        return sent

    def _flow_of(self, out: Outgoing, packet: PacketStep) -> Flow:
        for flow in self._flows:
            if (flow.local_port, flow.remote_port) == (out.src_port, out.dst_port):
                break
        else:
            flow = self._add_flow(out.src_port, out.dst_port)
        syn = out.header is not None and out.header.flags & tcp.SYN
        if out.header is not None and packet.tcp is not None and (flow.offset is None or syn):
            flow.offset = (out.header.seq - packet.tcp.seq) & 0xFFFFFFFF
        return flow

    # Calls.

    def _call(self, event: Event, call: Call, at: Ns) -> None:
        machine, calls = self._start()
        done = calls.run(call)
        when = event.when
        if when.until is not None:
            base = at - when.earliest if when.kind == "+" else machine.start_at
            self._pending.append(Pending(event, call, base + when.until))
            if done is not BLOCKED:
                self._returned(self._pending[-1], done)
            return
        if done is BLOCKED:
            waiting = Pending(event, call, None)
            self._pending.append(waiting)
            limit = machine.now + self._patience
            while waiting in self._pending and self._step(limit):
                pass
            if waiting in self._pending:
                self._pending.remove(waiting)
                raise ScriptFailedError(event, f"{call.name}() blocks")
            return
        self._check(event, call, done)

    def _await_calls(self) -> None:
        """A call comes after the one that waits has returned."""
        machine, _ = self._start()
        limit = machine.now + self._patience
        while self._pending and self._step(limit):
            pass

    def _retry(self) -> None:
        """A suspended call may be able to go on."""
        _, calls = self._start()
        for pending in tuple(self._pending):
            done = calls.run(pending.call)
            if done is not BLOCKED:
                self._returned(pending, done)

    def _returned(self, pending: Pending, done: Any) -> None:
        machine, _ = self._start()
        self._pending.remove(pending)
        self._check(pending.event, pending.call, done)
        until = pending.until
        if until is not None and abs(machine.now - until) > self._tolerance:
            raise ScriptFailedError(
                pending.event,
                f"{pending.call.name}(): expected to return at {self._clock(until)}, returned at {self._clock()}",
            )

    def _check(self, event: Event, call: Call, done: Any) -> None:
        result, error = done
        self._say(f"{call.name}() = {result}{' ' + error if error else ''}")
        _, calls = self._start()
        wanted = calls.value(call.result)
        if isinstance(wanted, Anything):
            return
        unsaid = wanted == -1 and call.errno is None and error is not None
        # EOPNOTSUPP and ENOTSUP, EAGAIN and EWOULDBLOCK are one number each.
        same = call.errno == error or CONSTANTS.get(call.errno or "", -1) == CONSTANTS.get(error or "", -2)
        if wanted != result or not (same or unsaid):
            expected = f"{wanted}{' ' + call.errno if call.errno else ''}"
            raise ScriptFailedError(
                event, f"{call.name}(): expected {expected}, found {result}{' ' + error if error else ''}"
            )


def _settings_of(options: dict[str, str]) -> Settings:
    """Family, addresses and MTU that a script or the command line names."""
    version = options.get("ip_version", "ipv4")
    if version not in ("ipv4", "ipv6", "ipv4-mapped-ipv6"):
        raise ScriptError(f"--ip_version: {version!r} is not ipv4, ipv6 or ipv4-mapped-ipv6")
    settings = Settings(6 if version == "ipv6" else 4)
    settings.mapped = version == "ipv4-mapped-ipv6"
    for name in ("local_ip", "remote_ip"):
        if name in options:
            try:
                address = parse_ip(options[name])
            except ValueError:
                raise ScriptError(f"--{name}: {options[name]!r} is not an address") from None
            if len(address) == (16 if settings.family == 6 else 4):
                setattr(settings, name[:-3], address)
    try:
        settings.mtu = int(options.get("mtu", settings.mtu))
        settings.segment = int(options.get("mss", 0))
    except ValueError:
        raise ScriptError("--mtu and --mss are numbers") from None
    return settings


def _tolerance_of(options: dict[str, str]) -> Ns:
    text = options.get("tolerance_usecs", str(TOLERANCE // US))
    if not text.isdecimal():
        raise ScriptError(f"--tolerance_usecs: {text!r} is not a number of microseconds")
    return int(text) * US


def _levels(family: int) -> dict[str, str]:
    """The level and type of IP_RECVERR's messages in this family."""
    six = family == 6
    return {"CMSG_LEVEL_IP": "41" if six else "0", "CMSG_TYPE_RECVERR": "25" if six else "11"}


def split(sent: Sent, length: int, *, push: bool = False) -> tuple[Sent, Sent]:
    """A super-segment after `length` octets of payload: FIN and PSH stay with the rest.

    `push` leaves PSH on the head as well: Linux sets it on every super-segment, and may have made two.
    """
    out = Outgoing(sent.packet)
    assert out.header is not None
    offset = len(sent.packet) - out.length
    header_at = offset - out.header.header_length
    head, rest = bytearray(sent.packet[: offset + length]), bytearray(sent.packet[:offset])
    rest += out.payload[length:]
    head[header_at + 13] &= ~(tcp.FIN | (0 if push else tcp.PSH)) & 0xFF
    seq = (out.header.seq + length) & 0xFFFFFFFF
    rest[header_at + 4 : header_at + 8] = seq.to_bytes(4, "big")
    for packet in (head, rest):
        _fix_length(packet)
    return Sent(sent.at, bytes(head), sent.gso_size), Sent(sent.at, bytes(rest), sent.gso_size)


def join(first: Sent, second: Sent) -> Sent | None:
    """Two segments that follow each other at one instant as one super-segment, or None.

    Linux sets PSH on every super-segment, so that it does not separate them.
    """
    left, right = Outgoing(first.packet), Outgoing(second.packet)
    if left.header is None or right.header is None or second.at - first.at > MS or not right.length:
        return None
    if left.header.flags & tcp.FIN or (left.header.seq + left.length) & 0xFFFFFFFF != right.header.seq:
        return None
    header_at = len(first.packet) - left.length - left.header.header_length
    whole = bytearray(first.packet + right.payload)
    whole[header_at + 13] = right.header.flags & 0xFF
    _fix_length(whole)
    return Sent(first.at, bytes(whole), first.gso_size or left.length)


def _fix_length(packet: bytearray) -> None:
    if packet[0] >> 4 == 4:
        packet[2:4] = len(packet).to_bytes(2, "big")
    else:
        packet[4:6] = (len(packet) - 40).to_bytes(2, "big")
