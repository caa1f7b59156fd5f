"""Paths over the host's own interfaces and addresses (`--via auto`, and `--via packet` without --address).

The kernel's routing table says interface, source address and gateway for each target. The target then decides the kind
of socket: a packet socket on its interface, or raw IP where the kernel has to carry the packet itself (its own
addresses, interfaces that resolve nothing, a gateway of the other family).
"""

import os
from collections.abc import Sequence
from errno import EACCES, EADDRNOTAVAIL, EINVAL, ENODEV, EPERM
from typing import Any, Final

from pytools.cli.open import Endpoint, Path, PathRequest, Target, unreachable
from pytools.engine import ETHERNET, RAW_IP, Port
from pytools.errors import LinkError
from pytools.link import bpf, host
from pytools.link.clock import StampClock
from pytools.link.host import Interface, KernelRoute, TableRoute
from pytools.link.packet_socket import PacketLink
from pytools.run.waiters import RealWaiter
from pytools.stack.routes import BLACKHOLE, PROHIBIT, UNREACHABLE, Route
from pytools.wire.addr import Network, format_ip, is_link_local, is_multicast, parse_ip

MANY: Final = 64
"""From so many targets on the kernel's tables are read once, instead of asking for each target."""
ETHERNET_WAY, COOKED_WAY, RAW_WAY, PING_WAY = "ethernet", "cooked", "raw", "ping-socket"
_REFUSALS: Final = {EINVAL: BLACKHOLE, EACCES: PROHIBIT}
_NOT_PERMITTED: Final = (EPERM, EACCES)


class Binding:
    """What the -I options pin down: an interface, a source address, both or neither."""

    __slots__ = ("interface", "source")

    def __init__(self, values: Sequence[str], link_layer: bool) -> None:
        self.interface: Interface | None = None
        self.source: bytes | None = None
        for value in values:
            text, _, zone = value.partition("%")
            try:
                self.source = parse_ip(text)
            except ValueError:
                self.interface = named_interface(value, link_layer)
                continue
            if zone:
                self.interface = named_interface(zone, link_layer)
            if not any(one.address == self.source for one in host.addresses()):
                what = f"bind: {os.strerror(EADDRNOTAVAIL)}: {value} is not an address of this host"
                raise LinkError(what, EADDRNOTAVAIL)


def named_interface(name: str, link_layer: bool = False) -> Interface:
    """The interface of this name or number. LinkError in the words of ping or arping."""
    found = host.interface(int(name) if name.isdecimal() else name)
    if found is None:
        words = f"Device {name} not available." if link_layer else f"SO_BINDTODEVICE {name}: {os.strerror(ENODEV)}"
        raise LinkError(words, ENODEV)
    return found


class HostPath(Path):
    """A path on addresses that the kernel owns too."""

    def __init__(self, request: PathRequest) -> None:
        clock = StampClock()
        seed = request.seed if request.seed is not None else int.from_bytes(os.urandom(8), "big")
        super().__init__(request, RealWaiter(), epoch_ns=clock.offset, seed=seed, ident=os.getpid() & 0xFFFF)
        self._clock = clock
        self._binding = Binding(request.interfaces, request.link_layer)
        self._interfaces: dict[int, Interface] = {}
        self._by_way: dict[tuple[str, int], Port] = {}
        self._own: dict[int, list[bytes]] = {}
        """Our addresses by port: what the links must let through."""
        self._unbound: dict[str, PacketLink] = {}
        """Sockets of all interfaces, where targets are still to come."""
        self._heard: Sequence[tuple[int, int]] = ()

    def endpoint(self, address: bytes, zone: str = "") -> Endpoint:
        """See `Path.endpoint`."""
        bound = named_interface(zone, self.request.link_layer) if zone else self._binding.interface
        if self.request.link_layer:
            return self._neighbor_endpoint(address, zone, bound)
        route = self._route_to(address, bound)
        interface = self._interface(route.oif)
        port = self.port_for(way_of(route, interface, address), interface)
        source = self._binding.source or route.source or bytes(len(address))
        self._add_source(port, source, interface.index)
        gateway = None if self.request.bypass_routing else route.gateway
        hop = gateway if port.link_type == ETHERNET else None
        self.stack.add_route(Route(Network(address, len(address) * 8), port.index, hop, source, route.mtu))
        mtu = min(route.mtu, interface.mtu) if route.mtu else interface.mtu
        zone = zone or (interface.name if len(address) == 16 and is_link_local(address) else "")
        name = interface.name
        return Endpoint(address, source, port.index, name, kind=route.kind, gateway=gateway, mtu=mtu, zone=zone)

    def _neighbor_endpoint(self, address: bytes, zone: str, bound: Interface | None) -> Endpoint:
        """For commands that speak ARP and ND themselves: an interface is all they need."""
        route: KernelRoute | None = None
        try:
            route = host.route_to(address, oif=bound.index if bound is not None else 0)
        except LinkError:
            if bound is None:
                raise
        interface = bound if bound is not None else self._interface(route.oif if route is not None else 0)
        if not interface.up:
            raise LinkError(f'Interface "{interface.name}" is down (ip link set {interface.name} up)')
        if not interface.arpable:
            raise LinkError(f'Interface "{interface.name}" is not ARPable (no Ethernet there)')
        port = self.port_for(ETHERNET_WAY, interface)
        source = self._binding.source or (route.source if route is not None else None) or bytes(len(address))
        if any(source):
            self._add_source(port, source, interface.index)
        return Endpoint(address, source, port.index, interface.name, mtu=port.mtu, zone=zone)

    # --- what the kernel says -----------------------------------------------------------------------------------------

    def _route_to(self, address: bytes, bound: Interface | None) -> KernelRoute:
        if bound is None and len(address) == 16 and needs_scope(address):
            raise unreachable(EINVAL)  # as connect() without a scope
        oif = bound.index if bound is not None else 0
        route = host.route_to(address, mark=self.request.mark, source=self._binding.source, oif=oif)
        if self.request.via == "packet" and route.kind == "local":
            raise LinkError(f"{format_ip(address)} is this host's own: a packet socket can't reach it (--via auto can)")
        return route

    def _interface(self, index: int) -> Interface:
        if index not in self._interfaces:
            found = host.interface(index)
            if found is None:
                raise LinkError(f"interface {index}: {os.strerror(ENODEV)}", ENODEV)
            self._interfaces[index] = found
        return self._interfaces[index]

    # --- sockets ------------------------------------------------------------------------------------------------------

    def port_for(self, way: str, interface: Interface) -> Port:
        """The port that leads out of `interface` in this way; its socket is opened if it is new."""
        key = (PING_WAY, 0) if self.kind == PING_WAY else (way, interface.index)
        if key not in self._by_way:
            try:
                port = self._open(way, interface, len(self._by_way))
            except LinkError as error:
                if error.errno not in _NOT_PERMITTED or not self.request.ping_socket or self.request.via != "auto":
                    raise
                key, port = (PING_WAY, 0), self._open_ping_socket(error)
            self._by_way[key] = port
            self.stack.add_port(port)
            if self._driver is not None:
                self._tracing.add_port(port)
        return self._by_way[key]

    def _open(self, way: str, interface: Interface, index: int) -> Port:
        if way in self._unbound:
            return self._unbound[way].add_port(interface, index)
        if self._driver is not None:
            raise LinkError(f"{interface.name}: can't be opened any more, privileges were given up")
        request = self.request
        if way == RAW_WAY:
            from pytools.link.raw_ip import RawIpLink

            raw = RawIpLink(interface, self._interest(()), **self._settings(index))
            self.links.append(raw)
            return raw.ports[0]
        settings: dict[str, Any] = {"vlans": request.vlans, "promiscuous": request.promiscuous, "mac": request.mac}
        link = PacketLink(interface, self._interest(()), **settings, **self._settings(index))
        self.links.append(link)
        return link.ports[0]

    def _settings(self, index: int) -> dict[str, Any]:
        request = self.request
        return {
            "index": index,
            "tx_stamps": request.tx_stamps,
            "send_buffer": request.send_buffer,
            "mark": request.mark,
            "clock": self._clock,
        }

    def _open_ping_socket(self, refusal: LinkError) -> Port:
        """The unprivileged way of ping; where that is refused too, say how to get either."""
        from pytools.link.ping_socket import PingSocketLink

        try:
            link = PingSocketLink(
                index=0,
                ident=self.ident,
                on=self._binding.interface,
                discover=self.request.discover,
                send_buffer=self.request.send_buffer,
                clock=self._clock,
            )
        except LinkError as error:
            hint = "run it with sudo, set net.ipv4.ping_group_range, or use --via lab or --via sim"
            words = "socktype: SOCK_RAW: socket: Operation not permitted: missing cap_net_raw+p capability or setuid?"
            raise LinkError(f"{words} ({hint})", refusal.errno) from error
        self.kind = PING_WAY
        self.links.append(link)
        return link.ports[0]

    def open_for_later(self) -> None:
        """Sockets that reach any interface, for targets that come when privileges are gone."""
        for way, link_type in ((ETHERNET_WAY, ETHERNET), (COOKED_WAY, RAW_IP)):
            self._unbound[way] = PacketLink(None, self._interest(()), link_type=link_type, **self._settings(0))
            self.links.append(self._unbound[way])
        self.port_for(RAW_WAY, self._interface(host.LOOPBACK_INDEX))

    # --- addresses ----------------------------------------------------------------------------------------------------

    def add_own(self, port: Port, address: bytes, index: int) -> None:
        """Take what comes to this address of the host on `port`, whose interface has number `index`."""
        self._add_source(port, address, index)

    def add_table(self, family: int) -> None:
        """The kernel's routes of one family (4 or 6), as far as they lead to ports that are open."""
        for entry in host.routes(family):
            self._add_table_route(entry)

    def _add_source(self, port: Port, source: bytes, index: int) -> None:
        """Let the stack send from an address of the host, and let the link hear what comes to it."""
        own = self._own.setdefault(port.index, [])
        if source in own:
            return
        own.append(source)
        found = [one for one in host.addresses(index) if one.address == source]
        prefix_len = found[0].prefix_len if found else len(source) * 8
        self.stack.add_address(port.index, source, prefix_len, self.waiter.now(), shared=True)
        for link in self.links:
            if any(one.index == port.index for one in link.ports):
                self._attach(link)

    def _attach(self, link: Any) -> None:
        if (attach := getattr(link, "attach", None)) is not None:
            attach(self._interest([a for one in link.ports for a in self._own.get(one.index, ())]))

    def hear(self, ports: Sequence[tuple[int, int]]) -> None:
        """Let through what comes for these (IP protocol, local port) pairs. Needs no privilege."""
        self._heard = tuple(ports)
        for link in self.links:
            self._attach(link)

    def _interest(self, addresses: Sequence[bytes]) -> bpf.Interest:
        """What wakes us: answers to our ARP and ND requests, echo replies to our identifier, ICMP errors."""
        if self.request.link_layer:
            return bpf.Interest(
                arp=bpf.ARP_ALL, neighbor_discovery=True, multicast=True, echo_idents=(self.ident,), icmp_errors=True
            )
        return bpf.Interest(
            addresses=addresses,
            arp=bpf.ARP_OURS,
            neighbor_discovery=True,
            echo_idents=(self.ident,),
            icmp_errors=True,
            ports=self._heard,
        )

    # --- many targets -------------------------------------------------------------------------------------------------

    def open_many(self, targets: Sequence[Target]) -> None:
        """Ports, sources and routes for thousands of targets; what can't be reached is refused when it is sent to."""
        for family in (4, 6):
            addresses = [one.address for one in targets if len(one.address) == (4 if family == 4 else 16)]
            if addresses:
                self._open_family(family, addresses)

    def _open_family(self, family: int, addresses: Sequence[bytes]) -> None:
        table = host.RouteTable(family)
        sources: set[tuple[int, str, bytes]] = set()
        for address in addresses:
            try:
                route = table.route_to(address)
            except LinkError:
                continue
            way = way_of(route, self._interface(route.oif), address)
            sources.add((route.oif, way, self._binding.source or route.source or bytes(len(address))))
        for oif, way, source in sources:
            self._add_source(self.port_for(way, self._interface(oif)), source, oif)
        self.add_table(family)

    def _add_table_route(self, entry: TableRoute) -> None:
        """One line of the kernel's table for our stack, if it leads where we have a port, or nowhere."""
        network = Network(entry.network, entry.prefix_len)
        if entry.errno:
            kind = _REFUSALS.get(entry.errno, UNREACHABLE)
            self.stack.add_route(Route(network, 0, kind=kind, metric=entry.metric))
        elif entry.kind in ("unicast", "local") and entry.oif:
            way = RAW_WAY if entry.kind == "local" else ETHERNET_WAY
            oif = host.LOOPBACK_INDEX if entry.kind == "local" else entry.oif
            port = self._by_way.get((way, oif)) or self._by_way.get((COOKED_WAY, oif))
            if port is not None:
                source = self._binding.source or entry.source
                hop = entry.gateway if port.link_type == ETHERNET else None
                self.stack.add_route(Route(network, port.index, hop, source, entry.mtu, metric=entry.metric))


def way_of(route: KernelRoute, interface: Interface, address: bytes) -> str:
    """Which kind of socket carries packets on this route."""
    if route.kind == "local" or interface.loopback:
        return RAW_WAY
    if interface.link_type != ETHERNET:
        return COOKED_WAY
    foreign = route.gateway is not None and len(route.gateway) != len(address)
    return ETHERNET_WAY if interface.arpable and not foreign else RAW_WAY


def needs_scope(address: bytes) -> bool:
    """An IPv6 address that means nothing without a link (RFC 4007)."""
    return is_link_local(address) or (is_multicast(address) and address[1] & 15 in (1, 2))


def open_host(request: PathRequest) -> HostPath:
    """See `open.open_path`."""
    path = HostPath(request)
    try:
        if request.later_targets:
            path.open_for_later()
        if len(request.targets) > MANY and not request.link_layer and not host.has_policy_rules(4):
            path.open_many(request.targets)
        else:
            _open_each(path, request.targets)
    except BaseException:
        path.close()
        raise
    return path


def _open_each(path: HostPath, targets: Sequence[Target]) -> None:
    """Open what each target needs. One that has no route is no obstacle to the others."""
    refusals = []
    for target in targets:
        try:
            path.endpoint(target.address, target.zone)
        except LinkError as error:
            if str(error).startswith("socket") or len(targets) == 1:
                raise
            refusals.append(error)
    if targets and len(refusals) == len(targets):
        raise refusals[0]
