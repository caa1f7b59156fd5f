"""Plays a script on our stack in virtual time and says where it went another way."""

from typing import Any, Final

from pytools.errors import UsageError
from pytools.sim.drill.assertions import AssertionFailedError, Evaluator
from pytools.sim.drill.calls import BLOCKED, PORT, Calls, MismatchError
from pytools.sim.drill.machine import START, Machine, Sent
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
from pytools.sim.drill.tcp_info import tcp_info
from pytools.trace.hub import Trace
from pytools.units import MS, SECOND, US, Ns
from pytools.wire import tcp

TOLERANCE: Final[Ns] = 4 * MS
"""packetdrill's own; a script may say --tolerance_usecs."""
PATIENCE: Final[Ns] = 600 * SECOND
"""How long `*` and a blocking call wait in virtual time."""
FIRST_REMOTE_PORT: Final = 33333


class ScriptFailedError(Exception):
    """The script expected something else; `event` is where, `detail` the lines that show it."""

    def __init__(self, event: Event, what: str, detail: list[str] | None = None) -> None:
        super().__init__(what)
        self.event = event
        self.what = what
        self.detail = detail or []


class Runner:
    """One script, from its first event to its last. Raises ScriptFailedError, or ScriptError for what isn't known."""

    def __init__(self, script: Script, trace: Trace | None = None, seed: int = 1) -> None:
        self._script = script
        self._settings = Settings()
        self._trace = trace
        self._seed = seed
        version = script.options.get("ip_version", "ipv4")
        self._family = 6 if version == "ipv6" else 4
        self._tolerance = int(script.options.get("tolerance_usecs", TOLERANCE // US)) * US
        self.machine: Machine | None = None
        self._calls: Calls | None = None
        self._flows: list[Flow] = []
        self._last_at: Ns = START
        self._pending: list[tuple[Event, Call]] = []
        self._evaluator = Evaluator(self)
        self.log: list[str] = []
        """What happened, a line an event, for a diff and for -v."""

    # The script's world.

    def _start(self) -> tuple[Machine, Calls]:
        """The machine is made at the first event that needs it, after the settings."""
        if self.machine is None or self._calls is None:
            self.machine = Machine(self._family, self._settings, self._trace, self._seed)
            self._calls = Calls(self.machine)
        return self.machine, self._calls

    def __getitem__(self, name: str) -> Any:
        """A tcp_info field for an assertion."""
        _, calls = self._start()
        return tcp_info(calls.last)[name]

    def __contains__(self, name: object) -> bool:
        _, calls = self._start()
        return name in tcp_info(calls.last)

    def run(self) -> None:
        """Play it."""
        for command in (self._script.options.get("init_scripts"),):
            if command:
                self._settings.apply(command)
        for event in self._script.events:
            try:
                self._play(event)
            except (MismatchError, AssertionFailedError) as problem:
                raise ScriptFailedError(event, str(problem)) from None
            except ScriptError:
                raise
            except UsageError as problem:
                raise ScriptError(f"{self._script.name}:{event.place}: {problem}") from None
        for event, _ in self._pending:
            raise ScriptFailedError(event, "the call was still blocking at the end of the script")

    def _play(self, event: Event) -> None:
        action = event.action
        if isinstance(action, Command):
            self._settings.apply(action.text)
            if self.machine is not None:
                self.machine.advance(self._time_of(event))
            return
        self._start()
        if isinstance(action, PacketStep) and not action.inbound:
            self._expect(event, action)
            return
        at = self._time_of(event)
        self._advance(at)
        self._last_at = at
        if isinstance(action, PacketStep):
            self._inject(event, action)
        elif isinstance(action, Code):
            self._evaluator.run(action.text)
        else:
            self._call(event, action)
        self._retry()

    def _time_of(self, event: Event) -> Ns:
        when = event.when
        if when.kind == "*":
            return self.machine.now if self.machine else START
        return (self._last_at if when.kind == "+" else START) + when.earliest

    def _advance(self, until: Ns) -> None:
        """Time passes; blocked calls are tried again after each deadline."""
        machine, _ = self._start()
        while machine.step(until):
            self._retry()

    # Packets in.

    def _flow_for(self, packet: PacketStep) -> Flow:
        """The connection that an arriving packet belongs to: the newest one, or a new one for a new SYN."""
        step = packet.tcp
        if step is not None and step.ports is not None:
            for flow in self._flows:
                if (flow.remote_port, flow.local_port) == step.ports:
                    return flow
            return self._add_flow(Flow(step.ports[1], step.ports[0]))
        new = step is not None and flag_bits(step.flags) & (tcp.SYN | tcp.ACK) == tcp.SYN
        if self._flows and not (new and self._settled(self._flows[-1])):
            return self._flows[-1]
        return self._add_flow(Flow(PORT, FIRST_REMOTE_PORT + len(self._flows)))

    def _add_flow(self, flow: Flow) -> Flow:
        self._flows.append(flow)
        return flow

    def _settled(self, flow: Flow) -> bool:
        """Its handshake is over, so another SYN is another connection's."""
        machine, _ = self._start()
        key = (machine.local, flow.local_port, machine.remote, flow.remote_port)
        found = machine.tcp.connections.get(key)
        return found is None or found.state not in ("SYN-SENT", "SYN-RECEIVED")

    def _inject(self, event: Event, packet: PacketStep) -> None:
        machine, _ = self._start()
        flow = self._flow_for(packet)
        if packet.icmp is not None:
            octets = build_icmp(packet.icmp, packet, flow, machine.local, machine.remote)
        elif packet.tcp is not None:
            octets = build_tcp(packet.tcp, packet, flow, machine.local, machine.remote, bytes(packet.tcp.length))
        else:
            octets = build_udp(packet.udp_length or 0, packet, flow, machine.local, machine.remote)
        self.log.append(f"{self._clock()} {event.text}")
        machine.inject(octets)

    def _clock(self) -> str:
        machine, _ = self._start()
        return f"{(machine.now - START) / SECOND:.6f}"

    # Packets out.

    def _expect(self, event: Event, packet: PacketStep) -> None:
        machine, _ = self._start()
        when = event.when
        earliest = self._time_of(event)
        if when.kind == "*":
            latest = machine.now + PATIENCE
        elif when.latest is not None:
            latest = (self._last_at if when.kind == "+" else START) + when.latest
        else:
            latest = earliest
        self._wait_for_packet(event, latest + (0 if when.kind == "*" else self._tolerance))
        sent = self._take(packet)
        out = Outgoing(sent.packet)
        flow = self._flow_of(out, packet)
        self.log.append(f"{(sent.at - START) / SECOND:.6f} > {describe(sent.packet, flow)}")
        found = differences(out, packet, flow)
        if when.kind != "*" and not earliest - self._tolerance <= sent.at <= latest + self._tolerance:
            early, late = (earliest - START) / SECOND, (latest - START) / SECOND
            wanted = f"{early:.6f}" if early == late else f"{early:.6f}..{late:.6f}"
            found.append(f"time: expected {wanted}, found {(sent.at - START) / SECOND:.6f}")
        if found:
            raise ScriptFailedError(event, "a packet differs", [f"sent: {describe(sent.packet, flow)}", *found])
        exact = when.kind != "*" and when.latest is None
        self._last_at = earliest if exact else sent.at

    def _wait_for_packet(self, event: Event, latest: Ns) -> None:
        machine, _ = self._start()
        while not machine.sent:
            if not machine.step(latest):
                self._retry()
                if not machine.sent:
                    raise ScriptFailedError(event, "no packet left in time")
            self._retry()

    def _take(self, packet: PacketStep) -> Sent:
        """The next packet; super-segments count as the segments that they stand for."""
        machine, _ = self._start()
        sent = machine.sent.pop(0)
        wanted = packet.tcp.length if packet.tcp is not None else 0
        out = Outgoing(sent.packet)
        if sent.gso_size and 0 < wanted < out.length and wanted % sent.gso_size == 0:
            head, rest = split(sent, wanted)
            machine.sent.insert(0, rest)
            return head
        while out.header is not None and 0 < out.length < wanted and machine.sent:
            joined = join(sent, machine.sent[0])
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
            flow = self._add_flow(Flow(out.src_port, out.dst_port))
        if out.header is not None and flow.offset is None and packet.tcp is not None:
            flow.offset = (out.header.seq - packet.tcp.seq) & 0xFFFFFFFF
        return flow

    # Calls.

    def _call(self, event: Event, call: Call) -> None:
        machine, calls = self._start()
        done = calls.run(call)
        if done is BLOCKED:
            if event.when.until is not None:
                self._pending.append((event, call))
                return
            limit = machine.now + PATIENCE
            while done is BLOCKED and machine.step(limit):
                done = calls.run(call)
            self._last_at = machine.now
        self._check(event, call, done)

    def _retry(self) -> None:
        """A suspended call may be able to go on."""
        machine, calls = self._start()
        for entry in tuple(self._pending):
            event, call = entry
            done = calls.run(call)
            if done is BLOCKED:
                continue
            self._pending.remove(entry)
            when = event.when
            base = START if when.kind == "=" else self._started.get(id(event), START)
            if when.until is not None and machine.now > base + when.until + self._tolerance:
                raise ScriptFailedError(event, f"the call ended at {self._clock()}")
            self._check(event, call, done)

    @property
    def _started(self) -> dict[int, Ns]:
        return {}

    def _check(self, event: Event, call: Call, done: Any) -> None:
        if done is BLOCKED:
            raise ScriptFailedError(event, f"{call.name}() blocks")
        result, error = done
        self.log.append(f"{self._clock()} {call.name}() = {result}{' ' + error if error else ''}")
        _, calls = self._start()
        wanted = calls.value(call.result)
        if (not isinstance(wanted, Anything) and wanted != result) or call.errno != error:
            expected = f"{wanted}{' ' + call.errno if call.errno else ''}"
            raise ScriptFailedError(
                event, f"{call.name}(): expected {expected}, found {result}{' ' + error if error else ''}"
            )


def split(sent: Sent, length: int) -> tuple[Sent, Sent]:
    """A super-segment after `length` octets of payload: FIN and PSH stay with the rest."""
    out = Outgoing(sent.packet)
    assert out.header is not None
    offset = len(sent.packet) - out.length
    header_at = offset - out.header.header_length
    head, rest = bytearray(sent.packet[: offset + length]), bytearray(sent.packet[:offset])
    rest += out.payload[length:]
    head[header_at + 13] &= ~(tcp.FIN | tcp.PSH) & 0xFF
    seq = (out.header.seq + length) & 0xFFFFFFFF
    rest[header_at + 4 : header_at + 8] = seq.to_bytes(4, "big")
    for packet in (head, rest):
        _fix_length(packet)
    return Sent(sent.at, bytes(head), sent.gso_size), Sent(sent.at, bytes(rest), sent.gso_size)


def join(first: Sent, second: Sent) -> Sent | None:
    """Two segments that follow each other at one instant as one super-segment, or None."""
    left, right = Outgoing(first.packet), Outgoing(second.packet)
    if left.header is None or right.header is None or first.at != second.at or not right.length:
        return None
    if left.header.flags & (tcp.PSH | tcp.FIN) or (left.header.seq + left.length) & 0xFFFFFFFF != right.header.seq:
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
