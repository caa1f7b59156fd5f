"""Our own addresses: from TENTATIVE to PREFERRED or DUPLICATE, with the routes and groups they bring along."""

from collections.abc import Callable

from pytools.errors import LocalProtocolError
from pytools.stack.events import AddressConflicted, AddressReady
from pytools.stack.interfaces import DUPLICATE, PREFERRED, REMOVED, TENTATIVE, Address, Interface
from pytools.stack.node import Node
from pytools.stack.routes import Route, RouteTable
from pytools.trace.events import AddressChanged
from pytools.trace.events import AddressConflict as ConflictTraced
from pytools.units import Ns
from pytools.wire.addr import format_ip, is_link_local, is_multicast, is_unspecified, link_local


class Addresses:
    """Adds and removes addresses; how one is probed and announced is ARP's and neighbour discovery's business."""

    __slots__ = ("_node", "_routes", "on_group", "start")

    def __init__(self, node: Node, routes: RouteTable) -> None:
        self._node = node
        self._routes = routes
        self.start: dict[int, Callable[[Address, Ns], None]] = {}
        """By length of the address: begin to probe for it."""
        self.on_group: Callable[[Interface, bytes, bool, Ns], None] = _no_report
        """Takes (port, group, joined, now) when we join or leave a group of IPv6."""

    def add(self, iface: Interface, address: bytes, prefix_len: int, now: Ns, shared: bool, probe: bool) -> Address:
        """Add an address; with `probe` it is TENTATIVE until nobody objected (RFC 5227, RFC 4862)."""
        if is_multicast(address) or is_unspecified(address):
            raise LocalProtocolError(f"{format_ip(address)} can't be the address of a host")
        if address in iface.addresses:
            raise LocalProtocolError(f"{iface.port.name} has {format_ip(address)} already")
        if len(address) == 16 and not shared and not is_link_local(address):
            self._add_link_local(iface, now, probe)
        own = Address(iface, address, prefix_len, shared, "")
        iface.addresses[address] = own
        if (group := iface.solicited(address)) is not None and iface.join(group) and not shared:
            self.on_group(iface, group, True, now)
        if probe and not shared and iface.ethernet:
            self._set_state(own, TENTATIVE, "added", now)
            self.start[len(address)](own, now)
        else:
            self._prefer(own, "added", now)
        return own

    def remove(self, iface: Interface, address: bytes, now: Ns) -> None:
        """Take an address away with its route and group. LocalProtocolError: it isn't there."""
        own = iface.addresses.get(address)
        if own is None:
            raise LocalProtocolError(f"{iface.port.name} has no {format_ip(address)}")
        self._withdraw(own, REMOVED, "removed", now)

    def ready(self, own: Address, now: Ns) -> None:
        """Nobody objected: the address may be used."""
        self._prefer(own, "no conflict", now)
        self._node.tell(AddressReady(now, own.iface.index, own.address))

    def conflict(self, own: Address, mac: bytes, now: Ns, give_up: bool, action: str) -> None:
        """Another station (`mac`) uses or wants the address."""
        index = own.iface.index
        if (emit := self._node.trace.neighbor) is not None:
            emit(ConflictTraced(now, index, own.address, mac, action))
        if give_up:
            self._withdraw(own, DUPLICATE, "conflict", now)
        self._node.tell(AddressConflicted(now, index, own.address, mac, give_up))

    def _add_link_local(self, iface: Interface, now: Ns, probe: bool) -> None:
        """RFC 4291 2.1: every IPv6 port has one."""
        if not self._node.config.auto_link_local or not iface.ethernet:
            return
        if not any(len(a) == 16 and is_link_local(a) for a in iface.addresses):
            self.add(iface, link_local(iface.mac), 64, now, False, probe)

    def _prefer(self, own: Address, why: str, now: Ns) -> None:
        self._set_state(own, PREFERRED, why, now)
        if own.prefix_len < len(own.address) * 8 and not self._route_of(own):
            self._routes.add(Route(own.network, own.iface.index))
        self._node.addresses_changed()

    def _withdraw(self, own: Address, state: str, why: str, now: Ns) -> None:
        iface = own.iface
        self._node.deadlines.disarm(own)
        del iface.addresses[own.address]
        if (group := iface.solicited(own.address)) is not None and iface.leave(group) and not own.shared:
            self.on_group(iface, group, False, now)
        route = self._route_of(own)
        if route is not None and not any(own.network == other.network for other in iface.addresses.values()):
            self._routes.remove(route)
        self._set_state(own, state, why, now)
        self._node.addresses_changed()

    def _route_of(self, own: Address) -> Route | None:
        """The connected route that goes with an address."""
        for route in self._routes.all():
            if route.network == own.network and route.port == own.iface.index and route.gateway is None:
                return route
        return None

    def _set_state(self, own: Address, state: str, why: str, now: Ns) -> None:
        old, own.state = own.state, state
        if old != state and (emit := self._node.trace.neighbor) is not None:
            emit(AddressChanged(now, own.iface.index, own.address, old, state, why))


def _no_report(_iface: Interface, _group: bytes, _joined: bool, _now: Ns) -> None:
    """Nobody snoops."""
