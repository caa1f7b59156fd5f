"""What routers advertise (RFC 4861 6.3, RFC 4862 5.5): default routes, prefixes, parameters. Off unless `accept_ra`."""

from typing import Final

from pytools.errors import DecodeError
from pytools.stack.addresses import Addresses
from pytools.stack.destinations import Destinations
from pytools.stack.interfaces import Interface
from pytools.stack.nd import Nd, check
from pytools.stack.neighbors import Neighbors
from pytools.stack.node import Node
from pytools.stack.packet import Packet
from pytools.stack.routes import Route, RouteTable
from pytools.trace.drop import DropReason
from pytools.trace.events import TimerFired
from pytools.units import MS, NEVER, SECOND, Ns
from pytools.wire import ipv6
from pytools.wire.addr import ALL_ROUTERS, UNSPECIFIED6, Network, is_link_local, link_local
from pytools.wire.icmp import IcmpMessage
from pytools.wire.icmp6 import NdOptions, Prefix, RouterAdvertisement, RouterSolicitation

_DEFAULT: Final = Network(UNSPECIFIED6, 0)
_FOR_EVER: Final = 0xFFFFFFFF
_METRIC: Final = 1024
"""Behind every route that was given."""
_LIMIT: Final = 64
"""Learned routes, all ports together: a flood of advertisements must not fill the table."""


class Learned:
    """A route with a lifetime."""

    __slots__ = ("due_at", "queued_at", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.due_at: Ns = NEVER
        self.queued_at: Ns = NEVER


class Asking:
    """Router solicitations under way on one port."""

    __slots__ = ("count", "due_at", "iface", "queued_at")

    def __init__(self, iface: Interface) -> None:
        self.iface = iface
        self.count = 0
        self.due_at: Ns = NEVER
        self.queued_at: Ns = NEVER


class Routers:
    """Asks for routers and believes them, if the configuration says so."""

    __slots__ = (
        "_addresses",
        "_asking",
        "_destinations",
        "_expire",
        "_learned",
        "_nd",
        "_neighbors",
        "_node",
        "_routes",
        "_solicit",
    )

    def __init__(
        self,
        node: Node,
        nd: Nd,
        neighbors: Neighbors,
        addresses: Addresses,
        routes: RouteTable,
        destinations: Destinations,
    ) -> None:
        self._node = node
        self._nd = nd
        self._neighbors = neighbors
        self._addresses = addresses
        self._routes = routes
        self._destinations = destinations
        self._learned: dict[tuple[int, bytes, int], Learned] = {}
        """By (port, gateway or prefix, prefix length)."""
        self._asking: dict[int, Asking] = {}
        self._expire = self._on_expired
        self._solicit = self._on_solicit_due
        nd.on_router_lost = self.on_router_lost

    def start(self, iface: Interface, now: Ns) -> None:
        """Ask for routers on a port, up to MAX_RTR_SOLICITATIONS times (RFC 4861 6.3.7)."""
        config = self._node.config
        if not config.accept_ra or config.forwarding or not iface.ethernet or iface.index in self._asking:
            return
        asking = self._asking[iface.index] = Asking(iface)
        wait = round(self._node.rng.uniform(0, config.dad_delay_ns))
        self._node.deadlines.arm(asking, now + wait, self._solicit)

    def _on_solicit_due(self, asking: Asking, now: Ns) -> None:
        asking.count += 1
        iface, config = asking.iface, self._node.config
        if (emit := self._node.trace.timer) is not None:
            emit(TimerFired(now, "router solicitation", iface.port.name, asking.count))
        src = next((own.address for own in iface.usable(6) if is_link_local(own.address)), UNSPECIFIED6)
        options = NdOptions(source_mac=iface.mac if src != UNSPECIFIED6 else None)
        self._nd.send(iface, src, ALL_ROUTERS, RouterSolicitation(options).encode(src, ALL_ROUTERS), now)
        if asking.count < config.router_solicitations:
            self._node.deadlines.arm(asking, now + config.router_solicitation_interval_ns, self._solicit)

    def on_advertisement(self, packet: Packet, message: IcmpMessage, now: Ns) -> str | None:
        """A Router Advertisement (RFC 4861 6.1.2 and 6.3.4)."""
        config, iface = self._node.config, packet.iface
        if not config.accept_ra or config.forwarding:
            return DropReason.NOT_OUR_FLOW if packet.shared else DropReason.ICMP_TYPE
        if refused := check(packet, message):
            return refused
        if not is_link_local(packet.src):
            return DropReason.ND_HEADER
        try:
            said = RouterAdvertisement.decode(packet.data, packet.offset, packet.end)
        except DecodeError as problem:
            self._node.detail = str(problem)
            return DropReason.IPV6_NDISC_BAD_OPTIONS
        if (asking := self._asking.get(iface.index)) is not None:
            self._node.deadlines.disarm(asking)
        self._parameters(iface, said)
        mac = said.options.source_mac
        if mac is not None and not mac[0] & 1:
            neighbor = self._neighbors.learn(iface, packet.src, mac, now, "router advertisement")
            if neighbor is not None:
                neighbor.is_router = True
        self._learn(Route(_DEFAULT, iface.index, packet.src, metric=_METRIC), packet.src, said.lifetime_s, now)
        for prefix in said.options.prefixes:
            self._prefix(iface, prefix, now)
        return None

    def _parameters(self, iface: Interface, said: RouterAdvertisement) -> None:
        if said.hop_limit:
            iface.hop_limit = said.hop_limit
        if said.reachable_ms:
            iface.reachable_ns = round(said.reachable_ms * MS * self._node.rng.uniform(0.5, 1.5))
        if said.retransmit_ms:
            iface.retransmit_ns = said.retransmit_ms * MS
        mtu = said.options.mtu
        if mtu is not None and ipv6.MIN_MTU <= mtu <= iface.mtu:
            iface.mtu6 = mtu
        self._node.generation += 1

    def _prefix(self, iface: Interface, prefix: Prefix, now: Ns) -> None:
        """RFC 4861 6.3.4 (on the link) and RFC 4862 5.5.3 (an address of our own)."""
        if is_link_local(prefix.address) or prefix.address[0] == 0xFF or prefix.prefix_len > 128:
            return
        network = Network(prefix.address, prefix.prefix_len)
        if prefix.on_link:
            self._learn(Route(network, iface.index, metric=_METRIC), network.address, prefix.valid_s, now)
        if prefix.autonomous and self._node.config.autoconf and prefix.prefix_len == 64 and prefix.valid_s:
            address = network.address[:8] + link_local(iface.mac)[8:]
            if address not in iface.addresses:
                self._addresses.add(iface, address, 64, now, False, True)

    def _learn(self, route: Route, key_address: bytes, lifetime_s: int, now: Ns) -> None:
        """Enter, renew or end a learned route."""
        key = (route.port, key_address, route.network.prefix_len)
        learned = self._learned.get(key)
        if not lifetime_s:
            if learned is not None:
                self._forget(key, learned)
            return
        if learned is None:
            if len(self._learned) >= _LIMIT:
                return
            learned = self._learned[key] = Learned(route)
            self._routes.add(route)
            self._node.generation += 1
        if lifetime_s == _FOR_EVER:
            self._node.deadlines.disarm(learned)
        else:
            self._node.deadlines.arm(learned, now + lifetime_s * SECOND, self._expire)

    def on_router_lost(self, iface: Interface, address: bytes, _now: Ns) -> None:
        """It is no router any more: not a default, nor the first hop of any redirected destination."""
        key = (iface.index, address, 0)
        if (learned := self._learned.get(key)) is not None:
            self._forget(key, learned)
        self._destinations.forget_gateway(address)

    def _on_expired(self, learned: Learned, _now: Ns) -> None:
        for key, entry in self._learned.items():
            if entry is learned:
                self._forget(key, learned)
                return

    def _forget(self, key: tuple[int, bytes, int], learned: Learned) -> None:
        del self._learned[key]
        self._node.deadlines.disarm(learned)
        self._routes.remove(learned.route)
        self._node.generation += 1
