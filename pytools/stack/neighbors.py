"""Neighbours: the link address of a next hop, for ARP and neighbour discovery alike.

The states of RFC 4861 7.3.2 serve both families, as in Linux: ARP's timeout of "about a minute" (RFC 1122 2.3.2.1) is
REACHABLE then STALE, and its unicast poll is PROBE. What a question looks like on the wire is `stack.arp`'s and
`stack.nd`'s business; they register here.

    (none) -output-> INCOMPLETE -answer-> REACHABLE -time-> STALE -output-> DELAY -5 s-> PROBE -answer-> REACHABLE
                         |3 questions                                                      |3 polls
                         v                                                                 v
                       (none), the queue fails                                           (none)
"""

import errno
from collections.abc import Callable
from typing import Any, Final

from pytools.engine import Transmit
from pytools.stack.events import NeighborFailed, NeighborResolved
from pytools.stack.interfaces import Interface, Neighbor
from pytools.stack.node import Node
from pytools.trace.events import NeighborChanged, PacketQueued, TimerFired
from pytools.units import NEVER, Ns
from pytools.wire.addr import format_ip

INCOMPLETE: Final = "INCOMPLETE"
REACHABLE: Final = "REACHABLE"
STALE: Final = "STALE"
DELAY: Final = "DELAY"
PROBE: Final = "PROBE"
PERMANENT: Final = "PERMANENT"
FAILED: Final = "FAILED"

Solicit = Callable[[Neighbor, bytes | None, Ns], None]
"""Takes (neighbor, source of the packet that waits or None, now): ask for it, by unicast if its MAC is known."""

OnFailure = Callable[[Neighbor, Transmit, Ns], None]
"""Takes each packet that waited in vain; its `parts` start with the IP header."""


class Neighbors:
    """The neighbour caches of all ports. They live in `Interface.neighbors`; this moves them along."""

    __slots__ = ("_due", "_node", "on_failure", "on_gone", "solicit")

    def __init__(self, node: Node) -> None:
        self._node = node
        self.solicit: dict[int, Solicit] = {}
        """By length of the address: 4 ARP, 16 neighbour discovery."""
        self.on_failure: OnFailure = _ignore
        self.on_gone: Callable[[Neighbor, Ns], None] = _ignore
        """Called when a neighbour that was reachable stops answering."""
        self._due = self._on_due

    # --- output -------------------------------------------------------------------------------------------------------

    def output(self, iface: Interface, next_hop: bytes, packet: Transmit, now: Ns) -> int:
        """Send `packet` (which starts with its IP header) to a neighbour, now or when it is known; 0 or an errno."""
        neighbor = iface.neighbors.get(next_hop)
        if neighbor is not None and now < neighbor.fresh_until:
            return self._send(neighbor, packet, now)
        neighbor = self.lookup(iface, next_hop, now)
        if neighbor is None:
            return errno.ENOBUFS
        if neighbor.state != INCOMPLETE:
            return self._send(neighbor, packet, now)
        return self._enqueue(neighbor, packet, now)

    def lookup(self, iface: Interface, address: bytes, now: Ns) -> Neighbor | None:
        """The neighbour, on its way to being resolved if it must be; None when the table is full of such."""
        neighbor = iface.neighbors.get(address)
        if neighbor is None:
            neighbor = self._create(iface, address, now)
            if neighbor is not None:
                self._set_state(neighbor, INCOMPLETE, "packet to send", now)
            return neighbor
        neighbor.used = True
        state = neighbor.state
        if state == REACHABLE and now >= neighbor.fresh_until:
            self._set_state(neighbor, STALE, "not confirmed", now)
            state = STALE
        if state == STALE:
            if now - neighbor.updated_at > neighbor.iface.reachable_ns + self._node.config.stale_ns:
                self._forget_mac(neighbor)
                self._set_state(neighbor, INCOMPLETE, "out of date", now)
            else:
                self._set_state(neighbor, DELAY, "packet to send", now)
                neighbor.fresh_until = now + self._node.config.delay_first_probe_ns
                self._arm(neighbor, neighbor.fresh_until)
        return neighbor

    def resolve(self, iface: Interface, address: bytes, now: Ns) -> int:
        """Find `address` without a packet to send; NeighborResolved or NeighborFailed follows."""
        neighbor = self.lookup(iface, address, now)
        if neighbor is None:
            return errno.ENOBUFS
        if neighbor.state != INCOMPLETE:
            self._node.tell(NeighborResolved(now, iface.index, address, neighbor.mac))
            return 0
        neighbor.watched = True
        if neighbor.due_at == NEVER:
            self._ask(neighbor, None, now)
        return 0

    def _send(self, neighbor: Neighbor, packet: Transmit, now: Ns) -> int:
        header = neighbor.header
        packet.parts = (header, *packet.parts)
        if packet.csum_start:
            packet.csum_start += len(header)
        return 0 if self._node.transmit(packet, now) else errno.ENOBUFS

    def _enqueue(self, neighbor: Neighbor, packet: Transmit, now: Ns) -> int:
        """Keep the packet until the neighbour answers (RFC 1122 2.3.2.2); the oldest makes room."""
        iface, config = neighbor.iface, self._node.config
        queue: list[Any] | None = neighbor.queue
        if queue is None:
            queue = neighbor.queue = []
        if len(queue) >= config.neighbor_queue:
            del queue[0]
            iface.queued_count -= 1
            self._node.discard("NEIGH_QUEUEFULL", iface.index, "", now)
        elif iface.queued_count >= config.neighbor_queue_total:
            return errno.ENOBUFS
        queue.append(packet)
        iface.queued_count += 1
        if (emit := self._node.trace.neighbor) is not None:
            emit(PacketQueued(now, iface.index, neighbor.address, len(queue)))
        if neighbor.due_at == NEVER:
            self._ask(neighbor, packet.parts[0], now)
        return 0

    # --- what ARP and neighbour discovery learned --------------------------------------------------------------------

    def learn(self, iface: Interface, address: bytes, mac: bytes, now: Ns, why: str) -> Neighbor | None:
        """A neighbour told us its link address without being asked: enter it, or note the change, as STALE."""
        neighbor = iface.neighbors.get(address)
        if neighbor is None:
            neighbor = self._create(iface, address, now)
            if neighbor is None:
                return None
            self._set_mac(neighbor, mac)
            neighbor.updated_at = now
            self._set_state(neighbor, STALE, why, now)
        elif neighbor.state == INCOMPLETE or (neighbor.mac != mac and neighbor.state != PERMANENT):
            self._set_mac(neighbor, mac)
            neighbor.updated_at = now
            self._settle(neighbor, STALE, why, now)
        return neighbor

    def confirm(self, neighbor: Neighbor, mac: bytes, now: Ns, why: str) -> None:
        """A neighbour answered our question: it is REACHABLE at `mac`."""
        if neighbor.state == PERMANENT:
            return
        if neighbor.mac != mac:
            self._set_mac(neighbor, mac)
        neighbor.updated_at = now
        self._settle(neighbor, REACHABLE, why, now)

    def reachable(self, neighbor: Neighbor, now: Ns) -> None:
        """An upper layer saw progress through this neighbour (RFC 4861 7.3.1)."""
        if neighbor.mac and neighbor.state != PERMANENT:
            neighbor.updated_at = now
            self._settle(neighbor, REACHABLE, "upper layer", now)

    def suspect(self, neighbor: Neighbor, now: Ns, why: str) -> None:
        """Something casts doubt on the address (RFC 4861 7.2.5): ask again soon."""
        if neighbor.state not in (INCOMPLETE, STALE, PERMANENT):
            self._settle(neighbor, STALE, why, now)

    def set_permanent(self, iface: Interface, address: bytes, mac: bytes, now: Ns) -> None:
        """Enter a neighbour by hand: never asked for, never forgotten."""
        neighbor = iface.neighbors.get(address) or Neighbor(iface, address, "", now)
        iface.neighbors[address] = neighbor
        if neighbor.state != PERMANENT:
            iface.busy_count += 1
        self._set_mac(neighbor, mac)
        self._settle(neighbor, PERMANENT, "by hand", now)

    def remove(self, iface: Interface, address: bytes, now: Ns, why: str) -> None:
        """Forget a neighbour, with what waits for it."""
        neighbor = iface.neighbors.get(address)
        if neighbor is not None:
            self._fail(neighbor, now, why)

    # --- states -------------------------------------------------------------------------------------------------------

    def _create(self, iface: Interface, address: bytes, now: Ns) -> Neighbor | None:
        """A new entry without a state; None when the table is full of entries that are in use."""
        if len(iface.neighbors) >= self._node.config.neighbor_limit and not self._make_room(iface, now):
            return None
        neighbor = iface.neighbors[address] = Neighbor(iface, address, "", now)
        return neighbor

    def _make_room(self, iface: Interface, now: Ns) -> bool:
        """Throw out a good part of what nobody used since the last time (second chance), so that the cost spreads."""
        wanted = max(1, self._node.config.neighbor_limit // 16)
        if len(iface.neighbors) - iface.busy_count < wanted:
            return False
        for spare_used in (True, False):
            for neighbor in list(iface.neighbors.values()):
                if neighbor.due_at != NEVER or neighbor.state == PERMANENT:
                    continue
                if neighbor.used and spare_used:
                    neighbor.used = False
                    continue
                self._drop_entry(neighbor)
                wanted -= 1
                if not wanted:
                    return True
        return True

    def _drop_entry(self, neighbor: Neighbor) -> None:
        """Out of the table; whoever still holds the object must look it up again."""
        neighbor.fresh_until = 0
        neighbor.state = ""
        del neighbor.iface.neighbors[neighbor.address]

    def _set_mac(self, neighbor: Neighbor, mac: bytes) -> None:
        neighbor.mac = mac
        neighbor.header = neighbor.iface.ip_header(mac, 4 if len(neighbor.address) == 4 else 6)

    def _forget_mac(self, neighbor: Neighbor) -> None:
        neighbor.mac = neighbor.header = b""
        neighbor.fresh_until = 0

    def _set_state(self, neighbor: Neighbor, state: str, why: str, now: Ns) -> None:
        old, neighbor.state = neighbor.state, state
        if old != state and (emit := self._node.trace.neighbor) is not None:
            emit(NeighborChanged(now, neighbor.iface.index, neighbor.address, neighbor.mac, old, state, why))

    def _settle(self, neighbor: Neighbor, state: str, why: str, now: Ns) -> None:
        """Into a state without a timer, with a known link address; what waited goes out."""
        self._disarm(neighbor)
        neighbor.count = 0
        neighbor.used = True
        if state == REACHABLE:
            neighbor.fresh_until = now + neighbor.iface.reachable_ns
        else:
            neighbor.fresh_until = NEVER if state == PERMANENT else 0
        self._set_state(neighbor, state, why, now)
        if neighbor.watched:
            neighbor.watched = False
            self._node.tell(NeighborResolved(now, neighbor.iface.index, neighbor.address, neighbor.mac))
        self._flush(neighbor, now)

    def _flush(self, neighbor: Neighbor, now: Ns) -> None:
        queue: list[Any] | None = neighbor.queue
        if queue is None:
            return
        neighbor.queue = None
        neighbor.iface.queued_count -= len(queue)
        if neighbor.state == STALE:
            # What waited is traffic: a link address that nobody confirmed wants a look soon.
            self.lookup(neighbor.iface, neighbor.address, now)
        for packet in queue:
            self._send(neighbor, packet, now)

    def _arm(self, neighbor: Neighbor, at: Ns) -> None:
        if neighbor.due_at == NEVER:
            neighbor.iface.busy_count += 1
        self._node.deadlines.arm(neighbor, at, self._due)

    def _disarm(self, neighbor: Neighbor) -> None:
        if neighbor.due_at != NEVER:
            neighbor.iface.busy_count -= 1
            self._node.deadlines.disarm(neighbor)

    def _ask(self, neighbor: Neighbor, first_part: bytes | None, now: Ns) -> None:
        """One more question, and a second for the answer (RFC 1122 2.3.2.1: no more often)."""
        neighbor.count += 1
        length = len(neighbor.address)
        source = None
        if first_part is not None:
            source = first_part[12:16] if length == 4 else first_part[8:24]
        self._arm(neighbor, now + neighbor.iface.retransmit_ns)
        self.solicit[length](neighbor, source, now)

    def _on_due(self, neighbor: Neighbor, now: Ns) -> None:
        neighbor.iface.busy_count -= 1
        config, state = self._node.config, neighbor.state
        if (emit := self._node.trace.timer) is not None:
            emit(TimerFired(now, state.lower(), format_ip(neighbor.address), neighbor.count))
        if state == DELAY:
            neighbor.count = 0
            self._set_state(neighbor, PROBE, "not confirmed", now)
            neighbor.fresh_until = now + config.unicast_solicit * neighbor.iface.retransmit_ns
            self._ask(neighbor, None, now)
        elif neighbor.count < (config.unicast_solicit if state == PROBE else config.multicast_solicit):
            queue: list[Any] | None = neighbor.queue
            self._ask(neighbor, queue[0].parts[0] if queue else None, now)
        else:
            self._fail(neighbor, now, f"no answer to {neighbor.count}")

    def _fail(self, neighbor: Neighbor, now: Ns, why: str) -> None:
        """Given up: forget the neighbour, so that the next packet asks afresh (RFC 4861 7.3.3)."""
        self._disarm(neighbor)
        was_known = neighbor.mac != b""
        queue: list[Any] = neighbor.queue or []
        neighbor.queue = None
        neighbor.iface.queued_count -= len(queue)
        if neighbor.state == PERMANENT:
            neighbor.iface.busy_count -= 1
        self._set_state(neighbor, FAILED, why, now)
        self._drop_entry(neighbor)
        if neighbor.watched:
            self._node.tell(NeighborFailed(now, neighbor.iface.index, neighbor.address))
        if was_known:
            self.on_gone(neighbor, now)
        for packet in queue:
            self._node.discard("NEIGH_FAILED", neighbor.iface.index, "", now)
            self.on_failure(neighbor, packet, now)


def _ignore(*_arguments: Any) -> None:
    """Nobody wants to know."""
