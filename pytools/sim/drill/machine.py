"""The machine that a script runs on: our stack on a tun-like port, virtual time, and what left with its instant."""

from collections import deque
from random import Random
from typing import Final

from pytools.engine import (
    OFFLOAD_CHECKSUM,
    OFFLOAD_TSO4,
    OFFLOAD_TSO6,
    RAW_IP,
    Port,
    RxMeta,
)
from pytools.sim.drill.packets import Flow
from pytools.sim.drill.settings import Settings
from pytools.stack.config import StackConfig
from pytools.stack.events import UdpReceived
from pytools.stack.routes import Route
from pytools.stack.stack import Stack
from pytools.stack.tcp.tcp import Tcp
from pytools.trace.hub import Trace
from pytools.units import NEVER, SECOND, Ns
from pytools.wire.addr import Network, parse_ip
from pytools.wire.gso import finish

START: Final[Ns] = 100 * SECOND
LOCAL: Final = {4: parse_ip("192.168.0.1"), 6: parse_ip("fd3d:fa7b:d17d::1")}
REMOTE: Final = {4: parse_ip("192.0.2.1"), 6: parse_ip("fd3d:fa7b:d17d:8888::1")}
PREFIX: Final = {4: 16, 6: 64}


class Sent:
    """A packet that our stack sent: finished octets from the IP header on."""

    __slots__ = ("at", "gso_size", "packet")

    def __init__(self, at: Ns, packet: bytes, gso_size: int) -> None:
        self.at = at
        self.packet = packet
        self.gso_size = gso_size


class Machine:
    """Virtual time starts at START. Every stack call is followed by `pump`."""

    def __init__(self, settings: Settings, trace: Trace | None = None, seed: int = 1) -> None:
        self.family = family = settings.family
        self.mapped = settings.mapped
        self._segment = settings.segment or settings.mtu - (40 if family == 4 else 60)
        self.local = settings.local or LOCAL[family]
        self.remote = settings.remote or REMOTE[family]
        self.now = self.start_at = START
        self.sent: list[Sent] = []
        self.datagrams: deque[UdpReceived] = deque()
        self.stack = Stack(Random(seed), StackConfig(icmp_error_rate=0), trace)
        offloads = OFFLOAD_CHECKSUM | (OFFLOAD_TSO4 | OFFLOAD_TSO6 if settings.gso else 0)
        self.port = Port(0, "tun0", RAW_IP, settings.mtu, offloads=offloads)
        self.stack.add_port(self.port)
        self.stack.add_address(0, self.local, PREFIX[family], START)
        self.stack.add_route(Route(Network(bytes(len(self.local)), 0), 0))
        self.tcp = self.stack.install(6, Tcp)
        self.tcp.config = settings.config
        if not settings.gso:
            self.tcp.software_segments = 1

    def configure(self, _settings: Settings) -> None:
        """Settings that a script changes later: the TCP configuration is shared, so nothing is left to do."""

    def settled(self, flow: Flow) -> bool:
        """Its handshake is over, so another SYN is another connection's."""
        key = (self.local, flow.local_port, self.remote, flow.remote_port)
        found = self.tcp.connections.get(key)
        return found is None or found.state not in ("SYN-SENT", "SYN-RECEIVED")

    def close(self) -> None:
        """Nothing outlives the script."""

    def pump(self) -> None:
        """Take what the stack has to send now."""
        while (out := self.stack.poll_transmit(self.now)) is not None:
            self.sent.append(Sent(self.now, finish(out), out.gso_size))
        while (event := self.stack.poll_event()) is not None:
            if isinstance(event, UdpReceived):
                self.datagrams.append(event)

    def inject(self, packet: bytes) -> None:
        """A packet arrives."""
        meta = RxMeta()
        if len(packet) > self.port.mtu:
            meta.gso_size = self._segment  # several segments that the link has put together
        self.stack.on_frame(memoryview(packet), self.now, meta)
        self.pump()

    def step(self, until: Ns) -> bool:
        """Up to the next deadline at most; False when `until` was reached without one."""
        due = self.stack.next_deadline()
        if due > until or due >= NEVER:
            self.now = max(self.now, until)
            return False
        self.now = max(self.now, due)
        self.stack.on_deadline(self.now)
        self.pump()
        return True
