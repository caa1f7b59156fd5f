"""The simulated network: a virtual clock, switched segments, hosts, and the link for the engine under test.

`Network` is the driver's waiter and `SimLink` its link; both fit the protocols in `run.waiters` and `link.base`
without knowing them. Time moves only inside `wait`, from event to event, so a virtual hour costs what happens in it.
Events of one instant happen in the order in which they were scheduled, but first what follows at once from the one
before. So the same seeds give the same bytes.
"""

from collections import deque
from collections.abc import Callable, Sequence
from errno import EMSGSIZE
from heapq import heappop, heappush
from typing import Any, Final

from pytools.engine import (
    ETHERNET,
    PACKET_BROADCAST,
    PACKET_HOST,
    PACKET_MULTICAST,
    PACKET_OTHERHOST,
    Engine,
    EngineEvent,
    Port,
    RxMeta,
    Transmit,
)
from pytools.sim.wire import Wire
from pytools.units import NEVER, US, Ns
from pytools.wire.ethernet import BROADCAST
from pytools.wire.gso import finish, segments

Action = Callable[[Any], object]

EVENTS_PER_WAIT: Final = 10_000
"""After so many events `wait` comes back early: hosts that never fall silent must not keep the caller from a signal."""
ETHERNET_OVERHEAD: Final = 14
VLAN_OVERHEAD: Final = 4


class Network:
    """The virtual clock and its events; the driver's waiter."""

    __slots__ = ("_heap", "_now", "_order", "_soon", "arrived")

    ready: tuple[int, ...] = ()
    """No descriptors here (`run.waiters.Waiter`)."""

    def __init__(self, start: Ns = 0) -> None:
        self._now = start
        self._order = 0
        self._heap: list[tuple[Ns, int, Action, Any]] = []
        self._soon: deque[tuple[Action, Any]] = deque()
        """What happens now; cheaper than the heap."""
        self.arrived = 0
        """Frames that wait in links."""

    def now(self) -> Ns:
        """The virtual clock."""
        return self._now

    def push(self, at: Ns, action: Action, argument: Any = None) -> None:
        """Call `action(argument)` at `at`, or as soon as the present event is over if that is not later than now."""
        if at <= self._now:
            self._soon.append((action, argument))
            return
        self._order = order = self._order + 1
        heappush(self._heap, (at, order, action, argument))

    def next_event_at(self) -> Ns:
        """When something happens next without the engine under test, or NEVER."""
        if self.arrived or self._soon:
            return self._now
        return self._heap[0][0] if self._heap else NEVER

    def wait(self, until: Ns, readable: Sequence[int] = (), writable: Sequence[int] = ()) -> Ns:
        """Run what is due up to `until`, or up to the first frame for a link; returns the time then.

        Returns NEVER when `until` is NEVER and nothing is left that could ever happen; the clock stays where it is.
        """
        heap, soon = self._heap, self._soon
        until = max(until, self._now)
        for _ in range(EVENTS_PER_WAIT):
            if self.arrived:
                break
            if soon:
                action, argument = soon.popleft()
                action(argument)
                continue
            if not heap or heap[0][0] > until:
                if until >= NEVER:
                    return NEVER
                self._now = until
                break
            self._now, _, action, argument = heappop(heap)
            action(argument)
        return self._now


class Segment:
    """A switch: learns where each MAC is, floods what it does not know and what is for all."""

    __slots__ = ("_network", "_plugs", "_table")

    def __init__(self, network: Network) -> None:
        self._network = network
        self._plugs: list[Plug] = []
        self._table: dict[bytes, Plug] = {}

    def plug(
        self, receive: Callable[[bytes], object], outward: Wire | None = None, inward: Wire | None = None
    ) -> "Plug":
        """A new station: `receive(frame)` is called for each frame that reaches it.

        `outward` impairs what it sends, `inward` what it gets; without a wire a frame arrives in the same instant.
        """
        plug = Plug(self._network, self, receive, outward, inward)
        self._plugs.append(plug)
        return plug

    def forward(self, source: "Plug", frame: bytes) -> None:
        """Pass a frame on that came in at `source`."""
        self._table[frame[6:12]] = source
        if not frame[0] & 1 and (target := self._table.get(frame[:6])) is not None:
            if target is not source:
                target.deliver(frame)
            return
        for plug in self._plugs:
            if plug is not source:
                plug.deliver(frame)


class Plug:
    """One station's place at a segment."""

    __slots__ = ("_inward", "_network", "_outward", "_receive", "_segment")

    def __init__(
        self,
        network: Network,
        segment: Segment,
        receive: Callable[[bytes], object],
        outward: Wire | None,
        inward: Wire | None,
    ) -> None:
        self._network = network
        self._segment = segment
        self._receive = receive
        self._outward = outward
        self._inward = inward

    def send(self, frame: bytes) -> None:
        """From the station to the segment. A frame without a whole Ethernet header goes nowhere."""
        if len(frame) < ETHERNET_OVERHEAD:
            return
        if self._outward is None:
            self._segment.forward(self, frame)
            return
        network = self._network
        for at, arriving in self._outward.transit(frame, network.now()):
            network.push(at, self._enter, arriving)

    def _enter(self, frame: bytes) -> None:
        self._segment.forward(self, frame)

    def deliver(self, frame: bytes) -> None:
        """From the segment to the station."""
        network = self._network
        if self._inward is None:
            network.push(network.now(), self._receive, frame)
            return
        for at, arriving in self._inward.transit(frame, network.now()):
            network.push(at, self._receive, arriving)


def frames_of(transmit: Transmit) -> Sequence[bytes]:
    """The frames of a Transmit as they go over a wire: super-segments cut, checksums finished."""
    if transmit.gso_size:
        return tuple(segments(transmit))
    if transmit.csum_start:
        return (finish(transmit),)
    parts = transmit.parts
    return (parts[0] if len(parts) == 1 else b"".join(parts),)


def packet_type(frame: bytes, mac: bytes) -> int:
    """What a link driver says of a frame that reached the station `mac`."""
    if frame[0] & 1:
        return PACKET_BROADCAST if frame.startswith(BROADCAST) else PACKET_MULTICAST
    return PACKET_HOST if frame.startswith(mac) else PACKET_OTHERHOST


class SimLink:
    """The engine under test's way into the network: one port. Fits `link.base.Link`."""

    __slots__ = ("_inbox", "_limit", "_meta", "_network", "_plug", "ports")

    def __init__(
        self,
        network: Network,
        segment: Segment,
        port: Port,
        outward: Wire | None = None,
        inward: Wire | None = None,
    ) -> None:
        assert port.link_type == ETHERNET
        self.ports = (port,)
        self._network = network
        self._inbox: deque[tuple[Ns, bytes]] = deque()
        self._meta = RxMeta(port.index)
        self._limit = port.mtu + ETHERNET_OVERHEAD + VLAN_OVERHEAD * len(port.vlans)
        self._plug: Plug | None = segment.plug(self._receive, outward, inward)

    def _receive(self, frame: bytes) -> None:
        if self._plug is not None:
            self._inbox.append((self._network.now(), frame))
            self._network.arrived += 1

    def filenos(self) -> Sequence[int]:
        """None: virtual time."""
        return ()

    def writable_filenos(self) -> Sequence[int]:
        """None: never full."""
        return ()

    def recv_batch(self, sink: Callable[[memoryview, Ns, RxMeta], None], now: Callable[[], Ns], limit: int) -> int:
        """Give up to `limit` arrived frames to `sink`, stamped with their arrival."""
        inbox, meta, mac = self._inbox, self._meta, self.ports[0].mac
        count = min(limit, len(inbox))
        self._network.arrived -= count
        for _ in range(count):
            meta.at, frame = inbox.popleft()
            meta.packet_type = packet_type(frame, mac)
            sink(memoryview(frame), now(), meta)
        return count

    def send(self, transmit: Transmit) -> bool:
        """Put a frame on the wire; never full. OSError: EMSGSIZE for a frame above the MTU."""
        plug = self._plug
        if plug is None:
            return True
        frames = frames_of(transmit)
        # The first is the longest.
        if len(frames[0]) > self._limit:
            raise OSError(EMSGSIZE, "Message too long")
        for frame in frames:
            plug.send(frame)
        return True

    def poll_stamps(self, on_transmitted: object) -> None:
        """None: `send` and the wire are one instant."""

    def close(self) -> None:
        """Unplug: what was under way is lost."""
        self._plug = None
        self._network.arrived -= len(self._inbox)
        self._inbox.clear()


class Host:
    """An engine that lives in the network, driven by the virtual clock.

    Its events go to `on_event` (None: nobody wants them). After a call from outside (`engine.send_...`) call `settle`.
    """

    __slots__ = ("_network", "_plugs", "_wake_at", "engine", "name", "on_event")

    def __init__(
        self,
        network: Network,
        engine: Engine,
        name: str = "",
        on_event: Callable[[EngineEvent], None] | None = None,
    ) -> None:
        self.engine = engine
        self.name = name
        self._network = network
        self.on_event = on_event
        self._plugs: dict[int, Plug] = {}
        self._wake_at: Ns = NEVER
        network.push(network.now(), self._start)

    def plug(self, port: Port, segment: Segment, outward: Wire | None = None, inward: Wire | None = None) -> None:
        """Connect a port of the engine to a segment."""
        assert port.link_type == ETHERNET
        self._plugs[port.index] = segment.plug(_Socket(self, port).receive, outward, inward)

    def on_frame(self, frame: bytes, meta: RxMeta) -> None:
        """One frame reached this host."""
        self.engine.on_frame(memoryview(frame), self._network.now(), meta)
        self.settle()

    def settle(self) -> None:
        """Take out what the engine wants to send and say, and see to its next deadline."""
        engine, now = self.engine, self._network.now()
        more = True
        while more:
            while (transmit := engine.poll_transmit(now)) is not None:
                self._send(transmit, now)
            more = False
            while (event := engine.poll_event()) is not None:
                if self.on_event is not None:
                    self.on_event(event)
                    more = True
        wake_at = engine.next_deadline()
        if wake_at <= now:
            # Due again right after it was served: no host can stop the clock.
            wake_at = now + US
        if wake_at < self._wake_at:
            self._wake_at = wake_at
            self._network.push(wake_at, self._wake, wake_at)

    def _send(self, transmit: Transmit, now: Ns) -> None:
        plug = self._plugs[transmit.port]
        for frame in frames_of(transmit):
            plug.send(frame)
        if transmit.token is not None:
            self.engine.on_transmitted(transmit.token, now, None, None)

    def _start(self, _: None) -> None:
        self.settle()

    def _wake(self, at: Ns) -> None:
        if at == self._wake_at:  # Else an earlier deadline came after this one was scheduled.
            self._wake_at = NEVER
            self.engine.on_deadline(self._network.now())
            self.settle()


class _Socket:
    """Where a host's port meets its plug."""

    __slots__ = ("_host", "_mac", "_meta")

    def __init__(self, host: Host, port: Port) -> None:
        self._host = host
        self._mac = port.mac
        self._meta = RxMeta(port.index)

    def receive(self, frame: bytes) -> None:
        meta = self._meta
        meta.packet_type = packet_type(frame, self._mac)
        meta.at = self._host._network.now()
        self._host.on_frame(frame, meta)
