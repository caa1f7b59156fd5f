"""What all pieces of one stack share: settings, randomness, ports, the way out, and the counters.

The node knows none of the pieces. A piece gets the node and the pieces below it when the stack is put together.
"""

from collections import deque
from random import Random

from pytools.engine import EngineEvent, Transmit
from pytools.stack.config import StackConfig
from pytools.stack.deadlines import Deadlines
from pytools.stack.interfaces import PREFERRED, Address, Interface
from pytools.trace.events import Dropped
from pytools.trace.hub import Trace
from pytools.units import Ns


class Node:
    """The common ground. `generation` changes whenever an address, a route or a path may lead elsewhere."""

    __slots__ = (
        "config",
        "deadlines",
        "detail",
        "discards",
        "drops",
        "epoch_ns",
        "events",
        "generation",
        "interfaces",
        "loopback",
        "outbox",
        "own",
        "rng",
        "trace",
    )

    def __init__(self, config: StackConfig, rng: Random, trace: Trace, epoch_ns: int) -> None:
        self.config = config
        self.rng = rng
        self.trace = trace
        self.epoch_ns = epoch_ns
        """Wall time (nanoseconds since 1970) at `now` = 0."""
        self.deadlines = Deadlines()
        self.interfaces: dict[int, Interface] = {}
        self.own: dict[bytes, Address] = {}
        """Every own address that may be used, whatever the port; of one on several ports the first."""
        self.outbox: deque[Transmit] = deque()
        self.loopback: deque[tuple[int, bytes]] = deque()
        """IP packets to ourselves, with the port whose address they are for."""
        self.events: deque[EngineEvent] = deque()
        self.drops: dict[str, int] = {}
        """Received frames refused, by DropReason: one for each frame that was not taken."""
        self.discards: dict[str, int] = {}
        """Packets given up later, by DropReason: while they waited for a neighbour or for missing fragments."""
        self.generation = 0
        self.detail = ""
        """A phrase about the refusal that is being returned."""

    def transmit(self, frame: Transmit, now: Ns) -> bool:
        """Queue a finished frame for `poll_transmit`; False when the queue is full."""
        if len(self.outbox) >= self.config.transmit_limit:
            self.discard("QUEUE_PURGE", frame.port, "transmit queue is full", now)
            return False
        self.outbox.append(frame)
        return True

    def tell(self, event: EngineEvent) -> None:
        """Queue an event for `poll_event`; when nobody takes them out, new ones are lost and counted."""
        if len(self.events) >= self.config.event_limit:
            self.discard("SOCKET_RCVBUFF", -1, "event queue is full", event.now)
        else:
            self.events.append(event)

    def refuse(self, reason: str, port: int, now: Ns) -> None:
        """Count a received frame that was not taken."""
        self.drops[reason] = self.drops.get(reason, 0) + 1
        if (emit := self.trace.drop) is not None:
            emit(Dropped(now, port, reason, self.detail))
        self.detail = ""

    def discard(self, reason: str, port: int, detail: str, now: Ns) -> None:
        """Count a packet that was held and is given up."""
        self.discards[reason] = self.discards.get(reason, 0) + 1
        if (emit := self.trace.drop) is not None:
            emit(Dropped(now, port, reason, detail))

    def addresses_changed(self) -> None:
        """Work out what depends on the addresses of all ports."""
        self.own = {}
        for iface in self.interfaces.values():
            iface.addresses_changed()
            for address in iface.addresses.values():
                if address.state == PREFERRED:
                    self.own.setdefault(address.address, address)
        self.generation += 1
