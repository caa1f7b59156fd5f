"""A port as the stack uses it: its addresses, groups and link headers."""

from random import Random

from pytools.engine import ETHERNET, Port
from pytools.units import NEVER, Ns
from pytools.wire import ethernet
from pytools.wire.addr import (
    ALL_HOSTS4,
    ALL_NODES,
    Network,
    is_link_local,
    is_loopback,
    is_multicast,
    multicast_mac,
    solicited_node,
)

TENTATIVE = "TENTATIVE"
PREFERRED = "PREFERRED"
DUPLICATE = "DUPLICATE"
REMOVED = "REMOVED"

_VLAN_ID = 0xFFF


class Address:
    """One of our own addresses on one port.

    `shared`: it is the host's, whose kernel answers for it. `phase`, `count` and the times belong to the probing of
    RFC 5227 and RFC 4862.
    """

    __slots__ = (
        "address",
        "broadcast",
        "count",
        "defended_at",
        "due_at",
        "iface",
        "network",
        "phase",
        "prefix_len",
        "queued_at",
        "shared",
        "state",
    )

    def __init__(self, iface: "Interface", address: bytes, prefix_len: int, shared: bool, state: str) -> None:
        self.iface = iface
        self.address = address
        self.prefix_len = prefix_len
        self.shared = shared
        self.state = state
        self.network = Network(address, prefix_len)
        self.broadcast = self.network.broadcast
        self.due_at: Ns = NEVER
        self.queued_at: Ns = NEVER
        self.phase = ""
        self.count = 0
        self.defended_at: Ns = -NEVER


class Neighbor:
    """What is known of one address on the link (RFC 4861 5.1); `stack.neighbors` moves it through its states.

    `header` is the link header of a frame to it, b"" while unknown. Until `fresh_until` it may be used without a
    thought; a fast path compares that one number.
    """

    __slots__ = (
        "address",
        "count",
        "due_at",
        "fresh_until",
        "header",
        "iface",
        "is_router",
        "mac",
        "queue",
        "queued_at",
        "state",
        "updated_at",
        "used",
        "watched",
    )

    def __init__(self, iface: "Interface", address: bytes, state: str, now: Ns) -> None:
        self.iface = iface
        self.address = address
        self.state = state
        self.mac = b""
        self.header = b""
        self.fresh_until: Ns = 0
        self.due_at: Ns = NEVER
        self.queued_at: Ns = NEVER
        self.count = 0
        self.queue: list[object] | None = None
        self.is_router = False
        self.used = True
        self.watched = False
        self.updated_at = now


class Interface:
    """A port with what the stack keeps of it."""

    __slots__ = (
        "addresses",
        "arp_headers",
        "broadcasts",
        "busy_count",
        "ethernet",
        "groups",
        "header4_broadcast",
        "hop_limit",
        "index",
        "loopback",
        "mac",
        "mtu",
        "mtu6",
        "neighbors",
        "port",
        "queued_count",
        "reachable_ns",
        "retransmit_ns",
        "vlan_ids",
        "watch",
    )

    def __init__(self, port: Port, rng: Random, reachable_ns: Ns, retransmit_ns: Ns) -> None:
        self.port = port
        self.index = port.index
        self.mac = port.mac
        self.mtu = port.mtu
        self.mtu6 = port.mtu
        """The link MTU for IPv6, which a Router Advertisement may lower."""
        self.hop_limit = 0
        """What a Router Advertisement said, or 0."""
        self.ethernet = port.link_type == ETHERNET
        self.vlan_ids = tuple(tci & _VLAN_ID for tci in port.vlans if tci & _VLAN_ID)
        self.addresses: dict[bytes, Address] = {}
        self.groups: dict[bytes, int] = {ALL_HOSTS4: 1, ALL_NODES: 1}
        """Joined multicast groups with how often each was joined."""
        self.broadcasts: frozenset[bytes] = frozenset()
        self.loopback = False
        """Loopback addresses are welcome here (the port is `lo`)."""
        self.neighbors: dict[bytes, Neighbor] = {}
        self.busy_count = 0
        """Neighbours with a timer or a queue, which can't be thrown out."""
        self.queued_count = 0
        """Packets that wait for a neighbour of this port."""
        # RFC 4861 6.3.2: uniformly 0.5..1.5 of the base, so that hosts don't poll in step.
        self.reachable_ns = round(reachable_ns * rng.uniform(0.5, 1.5))
        self.retransmit_ns = retransmit_ns
        self.watch = False
        """Every ARP and neighbour discovery packet becomes an engine event."""
        self.arp_headers: dict[bytes, bytes] = {}
        self.header4_broadcast = self.link_header(ethernet.BROADCAST, ethernet.ETHERTYPE_IPV4)

    def link_header(self, dst: bytes, ethertype: int) -> bytes:
        """The header of a frame to `dst`; b"" on a port without Ethernet."""
        if not self.ethernet:
            return b""
        return ethernet.encode(dst, self.mac, ethertype, self.port.vlans)

    def ip_header(self, mac: bytes, family: int) -> bytes:
        """The link header of an IP packet to `mac`."""
        return self.link_header(mac, ethernet.ETHERTYPE_IPV4 if family == 4 else ethernet.ETHERTYPE_IPV6)

    def multicast_header(self, group: bytes) -> bytes:
        """The link header of a packet to a multicast group."""
        return self.ip_header(multicast_mac(group), 4 if len(group) == 4 else 6)

    def addresses_changed(self) -> None:
        """Work out what depends on the addresses."""
        own = self.addresses.values()
        self.broadcasts = frozenset(a.broadcast for a in own if a.broadcast is not None)
        self.loopback = any(is_loopback(a.address) for a in own)
        self.arp_headers.clear()

    def usable(self, family: int) -> list[Address]:
        """Addresses that may be a source, in the order they were added."""
        length = 4 if family == 4 else 16
        return [a for a in self.addresses.values() if len(a.address) == length and a.state == PREFERRED]

    def source_for(self, dst: bytes) -> bytes | None:
        """The best source address of this port for `dst` (RFC 6724 5; IPv4: RFC 1122 3.3.4.3)."""
        if len(dst) == 4:
            return self._source4(dst)
        candidates = self.usable(6)
        if not candidates:
            return None
        return max(candidates, key=lambda a: _preference6(a.address, dst)).address

    def chooses_source6(self) -> bool:
        """Whether RFC 6724 has several addresses to choose from for one destination or the other."""
        return sum(not is_link_local(own.address) for own in self.usable(6)) > 1

    def _source4(self, dst: bytes) -> bytes | None:
        best: Address | None = None
        for candidate in self.usable(4):
            if best is None:
                best = candidate
            if dst in candidate.network:
                return candidate.address
        return best.address if best else None

    def join(self, group: bytes) -> bool:
        """Take packets to a multicast group; True when it is new here."""
        count = self.groups.get(group, 0)
        self.groups[group] = count + 1
        return not count

    def leave(self, group: bytes) -> bool:
        """Undo one `join`; True when it was the last."""
        count = self.groups.get(group, 0)
        if count > 1:
            self.groups[group] = count - 1
        else:
            self.groups.pop(group, None)
        return count == 1

    def solicited(self, address: bytes) -> bytes | None:
        """The group that an IPv6 unicast address is asked for in, None for IPv4."""
        return solicited_node(address) if len(address) == 16 else None


def scope(address: bytes) -> int:
    """RFC 6724 3.1: 2 link-local, 5 site-local, 14 global; a multicast address has its own (RFC 4291 2.7)."""
    if is_multicast(address):
        return address[1] & 15
    if is_link_local(address) or is_loopback(address):
        return 2
    return 14


def common_prefix(a: bytes, b: bytes) -> int:
    """How many leading bits two addresses share."""
    return len(a) * 8 - (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_length()


def _preference6(source: bytes, dst: bytes) -> tuple[int, int, int]:
    """RFC 6724 5 as a number: rule 1 (same address), rule 2 (appropriate scope), rule 8 (longest matching prefix).

    Rules 3 to 7 speak of deprecated, home, temporary addresses and labels, which this stack doesn't have; rule 5 (the
    outgoing interface) is in that only its addresses are candidates.
    """
    source_scope, wanted = scope(source), scope(dst)
    # A scope that reaches is better than one that doesn't; among those that reach the smallest, else the largest.
    fitness = 100 - source_scope if source_scope >= wanted else source_scope
    return source == dst, fitness, min(common_prefix(source, dst), 64)
