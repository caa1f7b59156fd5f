"""IP output: where a packet goes, its header, its fragments (RFC 791, RFC 1122 3.3, RFC 8200 4.5 and 5).

path      which port, next hop, source and MTU
send      header, DF and fragmentation, then to the port or to the neighbour's queue
"""

import errno
from collections.abc import Sequence
from typing import Any, Final

from pytools.engine import Transmit
from pytools.stack.destinations import Destinations
from pytools.stack.identification import Identifications
from pytools.stack.interfaces import PREFERRED, Interface
from pytools.stack.neighbors import Neighbors
from pytools.stack.node import Node
from pytools.stack.packet import BROADCAST, DEFAULT_OPTIONS, LOCAL, MULTICAST, UNICAST, Forwarded, IpOptions
from pytools.stack.routes import ROUTE_ERRNO, Route, RouteTable
from pytools.trace.events import Fragmented
from pytools.units import Ns
from pytools.wire import ipv4, ipv4_options, ipv6
from pytools.wire.addr import BROADCAST4, is_link_local, is_multicast

LOOPBACK_MTU: Final = 65535
_WAYS_LIMIT: Final = 64
"""Sets of options whose ways are remembered."""
MIN_MTU4: Final = 68


class Path:
    """The way to a destination. `next_hop` is the destination itself when it is on the link; `mtu` is the port's,
    `path_mtu` what is known of the whole way (never more)."""

    __slots__ = ("iface", "kind", "mtu", "next_hop", "path_mtu", "src")

    def __init__(self, iface: Interface, next_hop: bytes, src: bytes, kind: int, mtu: int, path_mtu: int) -> None:
        self.iface = iface
        self.next_hop = next_hop
        self.src = src
        self.kind = kind
        self.mtu = mtu
        self.path_mtu = path_mtu


class Way:
    """What all destinations of one route have in common, for one set of options: unicast, and no MTU below the port's.

    `outline` belongs to `stack.echo_output`.
    """

    __slots__ = ("gateway", "iface", "mtu", "outline", "src")

    def __init__(self, path: Path, route: Route) -> None:
        self.iface = path.iface
        self.src = path.src
        self.gateway = route.gateway
        self.mtu = path.mtu
        self.outline: Any = None


class IpOutput:
    """The way out for both families."""

    __slots__ = ("_destinations", "_idents", "_neighbors", "_node", "_routes", "_ways", "_ways_generation")

    def __init__(self, node: Node, routes: RouteTable, neighbors: Neighbors, destinations: Destinations) -> None:
        self._node = node
        self._routes = routes
        self._neighbors = neighbors
        self._destinations = destinations
        self._idents = Identifications(node.rng)
        self._ways: dict[IpOptions, dict[Route, Way]] = {}
        self._ways_generation = -1

    # --- where to -----------------------------------------------------------------------------------------------------

    def path(self, dst: bytes, now: Ns, options: IpOptions = DEFAULT_OPTIONS) -> Path | int:
        """The way to `dst`, or the errno that a sender gets."""
        way = self.known_way(dst, now, options)
        if way is not None:
            return Path(way.iface, way.gateway or dst, way.src, UNICAST, way.mtu, way.mtu)
        if options.src is not None and not self._may_send_from(options.src, options.port):
            return errno.EADDRNOTAVAIL
        if is_multicast(dst) or dst == BROADCAST4:
            return self._path_to_many(dst, options)
        own = self._node.own.get(dst)
        if own is not None and not own.shared and (options.port is None or options.port == own.iface.index):
            return Path(own.iface, dst, options.src or dst, LOCAL, LOOPBACK_MTU, LOOPBACK_MTU)
        return self._path_to_one(dst, options, now)

    def known_way(self, dst: bytes, now: Ns, options: IpOptions) -> Way | None:
        """The way to a unicast destination whose route was used before with these options. A sweep's time goes here."""
        node = self._node
        if self._ways_generation != node.generation:
            self._ways.clear()
            self._ways_generation = node.generation
            return None
        ways = self._ways.get(options)
        if ways is None or (dst[0] >= 224 and (len(dst) == 4 or dst[0] == 255)):
            return None
        route = self._routes.lookup(dst, options.port)
        way = ways.get(route) if route is not None else None
        if way is None or dst in node.own or dst in way.iface.broadcasts or self._destinations.get(dst, now):
            return None
        return way

    def _keep_way(self, path: Path, route: Route, options: IpOptions) -> None:
        """Remember a route's way if it is the same for all its destinations."""
        if options.gateway is not None or options.dontroute or path.path_mtu != path.mtu or path.kind != UNICAST:
            return
        if (
            len(path.src) == 16
            and options.src is None
            and route.network.prefix_len < 64
            and path.iface.chooses_source6()
        ):
            return
        if len(self._ways) >= _WAYS_LIMIT:
            self._ways.clear()
        self._ways.setdefault(options, {})[route] = Way(path, route)

    def _may_send_from(self, src: bytes, port: int | None) -> bool:
        """RFC 1122 3.2.1.3: never from an address that isn't ours."""
        if port is None or is_link_local(src):
            return src in self._node.own
        own = self._node.interfaces[port].addresses.get(src) if port in self._node.interfaces else None
        return src in self._node.own or (own is not None and own.state == PREFERRED)

    def _path_to_many(self, dst: bytes, options: IpOptions) -> Path | int:
        """Multicast and the limited broadcast leave by the port that is named, or has the source, or is the default."""
        if dst == BROADCAST4 and not options.broadcast:
            return errno.EACCES
        iface = self._iface_for(dst, options)
        if iface is None:
            return errno.ENETUNREACH
        src = options.src or iface.source_for(dst)
        if src is None:
            return errno.EADDRNOTAVAIL
        mtu = iface.mtu if len(dst) == 4 else iface.mtu6
        return Path(iface, dst, src, BROADCAST if dst == BROADCAST4 else MULTICAST, mtu, mtu)

    def _iface_for(self, dst: bytes, options: IpOptions) -> Interface | None:
        interfaces = self._node.interfaces
        if options.port is not None:
            return interfaces.get(options.port)
        if options.src is not None and (own := self._node.own.get(options.src)) is not None:
            return own.iface
        route = self._routes.lookup(dst)
        if route is not None and route.kind == "unicast" and route.port in interfaces:
            return interfaces[route.port]
        family = 4 if len(dst) == 4 else 6
        return next((iface for iface in interfaces.values() if iface.usable(family)), None)

    def _path_to_one(self, dst: bytes, options: IpOptions, now: Ns) -> Path | int:
        found = self._hop(dst, options, now)
        if isinstance(found, int):
            return found
        iface, next_hop, route = found
        source = options.src or (route.source if route else None)
        if source is None:
            # IPv4 sends from the subnet of its next hop; IPv6 chooses by the destination (RFC 6724).
            source = iface.source_for(next_hop if len(dst) == 4 else dst) or self._any_source(dst)
            if source is None:
                return errno.EADDRNOTAVAIL
        kind = BROADCAST if dst in iface.broadcasts else UNICAST
        if kind == BROADCAST and not options.broadcast:
            return errno.EACCES
        mtu = iface.mtu if len(dst) == 4 else iface.mtu6
        if route is not None and route.mtu:
            mtu = min(mtu, route.mtu)
        path = Path(iface, next_hop, source, kind, mtu, self._path_mtu(dst, next_hop, mtu, now))
        if route is not None and next_hop == (route.gateway or dst):
            self._keep_way(path, route, options)
        return path

    def _hop(self, dst: bytes, options: IpOptions, now: Ns) -> tuple[Interface, bytes, Route | None] | int:
        """Port, next hop and route for a unicast destination."""
        interfaces = self._node.interfaces
        direct = options.dontroute or options.gateway is not None
        wanted = options.gateway or dst
        route = self._routes.lookup(wanted, options.port, direct)
        if route is None:
            return self._hop_without_route(wanted, options)
        if route.kind != "unicast":
            return ROUTE_ERRNO.get(route.kind, errno.ENETUNREACH)
        if route.port not in interfaces:
            return errno.ENETUNREACH
        if direct:
            return interfaces[route.port], wanted, route
        learned = self._destinations.get(dst, now)
        if learned is not None and learned.gateway is not None and learned.port in interfaces:
            return interfaces[learned.port], learned.gateway, route
        return interfaces[route.port], route.gateway or dst, route

    def _hop_without_route(self, wanted: bytes, options: IpOptions) -> tuple[Interface, bytes, None] | int:
        """Who names the port is believed: the destination is on its link, as Linux assumes for IPv4.

        In IPv6 that holds for a link-local address, whose zone the port is (RFC 4007 6), and for a named gateway.
        """
        iface = self._node.interfaces.get(options.port) if options.port is not None else None
        if iface is not None and (len(wanted) == 4 or is_link_local(wanted) or options.gateway is not None):
            return iface, wanted, None
        return errno.ENETUNREACH

    def _any_source(self, dst: bytes) -> bytes | None:
        """A port without an address of its own borrows one (RFC 1122 3.3.4.3; unnumbered links)."""
        return next((a for a in self._node.own if len(a) == len(dst) and not is_link_local(a)), None)

    def _path_mtu(self, dst: bytes, next_hop: bytes, mtu: int, now: Ns) -> int:
        learned = self._destinations.get(dst, now)
        if learned is not None and learned.mtu:
            return min(mtu, learned.mtu)
        guess = self._node.config.first_guess_mtu
        if guess and next_hop != dst:
            return min(mtu, guess)
        return mtu

    # --- sending ------------------------------------------------------------------------------------------------------

    def send(
        self,
        protocol: int,
        dst: bytes,
        payload: Sequence[bytes],
        now: Ns,
        options: IpOptions = DEFAULT_OPTIONS,
        token: object = None,
    ) -> int:
        """Send a datagram with a finished payload; 0 or an errno."""
        path = self.path(dst, now, options)
        if isinstance(path, int):
            return path
        return self.send_on(path, protocol, dst, payload, now, options, token)

    def send_on(
        self,
        path: Path,
        protocol: int,
        dst: bytes,
        payload: Sequence[bytes],
        now: Ns,
        options: IpOptions = DEFAULT_OPTIONS,
        token: object = None,
    ) -> int:
        """As `send`, where the path is known already."""
        if len(dst) == 4:
            return self._send4(path, protocol, dst, payload, now, options, token)
        return self._send6(path, protocol, dst, payload, now, options, token)

    def _send4(
        self,
        path: Path,
        protocol: int,
        dst: bytes,
        payload: Sequence[bytes],
        now: Ns,
        options: IpOptions,
        token: object,
    ) -> int:
        length = sum(map(len, payload))
        total = 20 + (len(options.options) + 3 & ~3) + length
        if total > ipv4.MAX_PACKET:
            return errno.EMSGSIZE
        limit = path.mtu if options.df == "probe" else path.path_mtu
        fits = total <= limit
        if not fits and options.df in ("do", "probe"):
            return errno.EMSGSIZE
        header = ipv4.encode(
            path.src,
            dst,
            protocol,
            length,
            tos=options.tos,
            ident=self.identification(path.src, dst, protocol),
            dont_fragment=fits and self.sets_df(options),
            ttl=options.ttl or (1 if path.kind == MULTICAST else self._node.config.default_ttl),
            options=options.options,
        )
        if fits:
            packet = Transmit(path.iface.index, (header, *payload), token=token)
            return self._emit(path.iface, path.next_hop, path.kind, packet, now, options.multicast_loop)
        return self._send_pieces(path, fragments4(header + b"".join(payload), limit), total, limit, now, options, token)

    def sets_df(self, options: IpOptions) -> bool:
        """Whether IPv4 packets that fit carry Don't Fragment."""
        return options.df in ("do", "probe") or (options.df == "want" and self._node.config.path_mtu_discovery)

    def identification(self, src: bytes, dst: bytes, protocol: int) -> int:
        """The next IPv4 Identification (RFC 6864)."""
        return self._idents.next(src, dst, protocol) & 0xFFFF

    def _send6(
        self,
        path: Path,
        protocol: int,
        dst: bytes,
        payload: Sequence[bytes],
        now: Ns,
        options: IpOptions,
        token: object,
    ) -> int:
        length = sum(map(len, payload))
        if length > 65535:
            return errno.EMSGSIZE
        limit = path.mtu if options.df == "probe" else path.path_mtu
        total = 40 + length
        if total > limit and options.df in ("do", "probe"):
            return errno.EMSGSIZE
        hop_limit = options.ttl or (
            1 if path.kind == MULTICAST else path.iface.hop_limit or self._node.config.default_ttl
        )
        header = ipv6.encode(
            path.src,
            dst,
            protocol,
            length,
            traffic_class=options.tos,
            flow_label=options.flow_label,
            hop_limit=hop_limit,
        )
        if total <= limit:
            packet = Transmit(path.iface.index, (header, *payload), token=token)
            return self._emit(path.iface, path.next_hop, path.kind, packet, now, options.multicast_loop)
        ident = self._idents.next(path.src, dst, protocol)
        pieces = fragments6(header + b"".join(payload), limit, ident)
        return self._send_pieces(path, pieces, total, limit, now, options, token)

    def _send_pieces(
        self,
        path: Path,
        pieces: list[tuple[bytes, bytes]],
        total: int,
        mtu: int,
        now: Ns,
        options: IpOptions,
        token: object,
    ) -> int:
        """Send fragments; the first carries the token."""
        if (emit := self._node.trace.ip) is not None:
            emit(
                Fragmented(
                    now, pieces[0][0][16:20] if len(path.src) == 4 else pieces[0][0][24:40], total, len(pieces), mtu
                )
            )
        for parts in pieces:
            packet = Transmit(path.iface.index, parts, token=token)
            token = None
            result = self._emit(path.iface, path.next_hop, path.kind, packet, now, options.multicast_loop)
            if result:
                return result
        return 0

    def forward(self, path: Path, packets: Sequence[tuple[bytes, ...]], now: Ns) -> None:
        """Send somebody else's packet on (its finished pieces)."""
        for parts in packets:
            self._emit(path.iface, path.next_hop, path.kind, Forwarded(path.iface.index, parts), now, False)

    def send_packet(self, path: Path, packet: Transmit, now: Ns) -> int:
        """Send a finished packet (it starts with its IP header) on a known path; 0 or an errno."""
        return self._emit(path.iface, path.next_hop, path.kind, packet, now, False)

    def send_link(self, iface: Interface, dst: bytes, packet: Transmit, now: Ns) -> int:
        """Send a finished packet to `dst` on the link, whatever the routes say (neighbour discovery)."""
        return self._emit(iface, dst, MULTICAST if is_multicast(dst) else UNICAST, packet, now, False)

    def _emit(
        self, iface: Interface, next_hop: bytes, kind: int, packet: Transmit, now: Ns, multicast_loop: bool
    ) -> int:
        """Hand a packet that starts with its IP header to the port."""
        node = self._node
        if kind == LOCAL:
            return self._loop(packet)
        if kind == MULTICAST and multicast_loop and next_hop in iface.groups:
            self._loop(packet)
        if not iface.ethernet:
            return 0 if node.transmit(packet, now) else errno.ENOBUFS
        if kind == UNICAST:
            return self._neighbors.output(iface, next_hop, packet, now)
        header = iface.header4_broadcast if kind == BROADCAST else iface.multicast_header(next_hop)
        packet.parts = (header, *packet.parts)
        return 0 if node.transmit(packet, now) else errno.ENOBUFS

    def _loop(self, packet: Transmit) -> int:
        if len(self._node.loopback) >= self._node.config.transmit_limit:
            return errno.ENOBUFS
        self._node.loopback.append((packet.port, b"".join(packet.parts)))
        return 0


def fragments4(packet: bytes, mtu: int) -> list[tuple[bytes, bytes]]:
    """Cut an IPv4 packet (a fragment too) into (header, payload) pieces of at most `mtu` octets (RFC 791 3.2)."""
    head = ipv4.decode(packet)
    payload = memoryview(packet)[head.header_length : head.total_length]
    later_options = ipv4_options.copied(head.options) if head.options else b""
    pieces, at = [], 0
    while at < len(payload):
        options = head.options if not at else later_options
        room = (max(mtu, MIN_MTU4) - 20 - len(options)) & ~7
        end = min(at + room, len(payload))
        header = ipv4.encode(
            head.src,
            head.dst,
            head.protocol,
            end - at,
            tos=head.tos,
            ident=head.ident,
            more_fragments=head.more_fragments or end < len(payload),
            fragment_offset=head.fragment_offset + at,
            ttl=head.ttl,
            options=options,
        )
        pieces.append((header, bytes(payload[at:end])))
        at = end
    return pieces


def fragments6(packet: bytes, mtu: int, ident: int) -> list[tuple[bytes, bytes]]:
    """Cut an IPv6 packet without extension headers into fragments of at most `mtu` octets (RFC 8200 4.5)."""
    next_header, payload = packet[6], memoryview(packet)[40:]
    room = (max(mtu, ipv6.MIN_MTU) - 48) & ~7
    pieces = []
    for at in range(0, len(payload), room):
        piece = bytes(payload[at : at + room])
        more = at + room < len(payload)
        length = (8 + len(piece)).to_bytes(2, "big")
        header = packet[:4] + length + bytes((ipv6.PROTO_FRAGMENT,)) + packet[7:40]
        pieces.append((header + ipv6.encode_fragment(next_header, at, more, ident), piece))
    return pieces
