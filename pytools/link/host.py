"""What the host knows: interfaces, addresses, routes and neighbours, read from the kernel by rtnetlink(7).

Each function asks on a socket of its own (50 us), so nothing goes stale. Addresses are bytes, as everywhere.
"""

import os
import struct
import sys
from errno import EACCES, EHOSTUNREACH, EINVAL, ENODEV, ERANGE
from typing import Final

from pytools.engine import ETHERNET, RAW_IP
from pytools.errors import LinkError
from pytools.link.netlink import (
    AF,
    IFA_ADDRESS,
    IFA_LOCAL,
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    IFLA_MTU,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETNEIGH,
    RTM_GETROUTE,
    RTM_GETRULE,
    Netlink,
    attribute,
    attributes,
    link_index,
)

# Hardware types (linux/if_arp.h).
ARPHRD_ETHER: Final = 1
ARPHRD_LOOPBACK: Final = 772
ARPHRD_NONE: Final = 0xFFFE

LOOPBACK_INDEX: Final = 1

IFF_UP: Final = 0x1
IFF_BROADCAST: Final = 0x2
IFF_LOOPBACK: Final = 0x8
IFF_POINTOPOINT: Final = 0x10
IFF_RUNNING: Final = 0x40
IFF_NOARP: Final = 0x80
IFF_MULTICAST: Final = 0x1000

IFA_F_TENTATIVE: Final = 0x40
IFA_F_DADFAILED: Final = 0x08
IFA_F_DEPRECATED: Final = 0x20

TABLE_DEFAULT: Final = 253
TABLE_MAIN: Final = 254
TABLE_LOCAL: Final = 255

_NATIVE: Final = sys.byteorder
_IFLA_MASTER: Final = 10
_IFLA_EXT_MASK: Final = 29
_SKIP_STATS: Final = struct.pack("=I", 8)
_RTA_DST, _RTA_SRC, _RTA_OIF, _RTA_GATEWAY, _RTA_PRIORITY = 1, 2, 4, 5, 6
_RTA_PREFSRC, _RTA_METRICS, _RTA_MULTIPATH, _RTA_TABLE, _RTA_MARK, _RTA_VIA = 7, 8, 9, 15, 16, 18
_RTAX_MTU: Final = 2
_KINDS: Final = {1: "unicast", 2: "local", 3: "broadcast", 4: "anycast", 5: "multicast"}
_REFUSALS: Final = {6: EINVAL, 7: EHOSTUNREACH, 8: EACCES}
"""Route types blackhole, unreachable and prohibit, and what a socket is told about them (net/ipv4/fib_semantics.c)."""
_FRA_PRIORITY: Final = 6
_DEFAULT_RULES: Final = {0, 32766, 32767}


class Interface:
    """One network interface. `kind` is the driver's word ("veth", "vrf", "wireguard") or ""."""

    __slots__ = ("arphrd", "flags", "index", "kind", "mac", "master", "mtu", "name")

    def __init__(
        self, index: int, name: str, arphrd: int, flags: int, mtu: int, mac: bytes, master: int = 0, kind: str = ""
    ) -> None:
        self.index = index
        self.name = name
        self.arphrd = arphrd
        self.flags = flags
        self.mtu = mtu
        self.mac = mac
        self.master = master
        self.kind = kind

    @property
    def up(self) -> bool:
        """Switched on by its administrator."""
        return bool(self.flags & IFF_UP)

    @property
    def running(self) -> bool:
        """There is a carrier."""
        return bool(self.flags & IFF_RUNNING)

    @property
    def loopback(self) -> bool:
        """It is lo."""
        return bool(self.flags & IFF_LOOPBACK)

    @property
    def pointopoint(self) -> bool:
        """There is one peer and nothing to resolve."""
        return bool(self.flags & IFF_POINTOPOINT)

    @property
    def arpable(self) -> bool:
        """Neighbours are found by ARP and ND here."""
        return self.arphrd == ARPHRD_ETHER and not self.flags & (IFF_NOARP | IFF_LOOPBACK)

    @property
    def link_type(self) -> int:
        """ETHERNET or RAW_IP: what a packet link on it offers (lo only carries IP)."""
        return ETHERNET if self.arphrd == ARPHRD_ETHER else RAW_IP


class InterfaceAddress:
    """One address of an interface. `peer` differs from `address` on point-to-point links only."""

    __slots__ = ("address", "broadcast", "flags", "index", "peer", "prefix_len", "scope")

    def __init__(
        self, index: int, address: bytes, prefix_len: int, flags: int, scope: int, peer: bytes, broadcast: bytes | None
    ) -> None:
        self.index = index
        self.address = address
        self.prefix_len = prefix_len
        self.flags = flags
        self.scope = scope
        """0 global, 253 link, 254 host."""
        self.peer = peer
        self.broadcast = broadcast


class KernelRoute:
    """The kernel's way to a destination. `gateway` is None on the link, `source` None where it knows none."""

    __slots__ = ("gateway", "kind", "mtu", "oif", "source")

    def __init__(self, kind: str, oif: int, gateway: bytes | None, source: bytes | None, mtu: int = 0) -> None:
        self.kind = kind
        """unicast, local, broadcast, anycast or multicast."""
        self.oif = oif
        self.gateway = gateway
        self.source = source
        self.mtu = mtu
        """Of this route (a locked one, or a path MTU that was learned); 0: the interface's."""


class TableRoute:
    """One entry of the kernel's tables.

    `errno` is set for those that refuse. `oif` is 0 where the destination alone doesn't decide (several next hops, a
    source prefix, a TOS).
    """

    __slots__ = ("errno", "kind", "metric", "network", "oif", "gateway", "prefix_len", "source", "mtu", "table")

    def __init__(
        self, network: bytes, prefix_len: int, table: int, metric: int, route: KernelRoute, errno: int
    ) -> None:
        self.network = network
        self.prefix_len = prefix_len
        self.table = table
        self.metric = metric
        self.kind = route.kind
        self.oif = route.oif
        self.gateway = route.gateway
        self.source = route.source
        self.mtu = route.mtu
        self.errno = errno


class Neighbor:
    """One entry of the kernel's neighbour tables; `mac` is empty while it is not resolved."""

    __slots__ = ("address", "index", "mac", "state")

    def __init__(self, index: int, address: bytes, mac: bytes, state: int) -> None:
        self.index = index
        self.address = address
        self.mac = mac
        self.state = state
        """NUD bits: 1 incomplete, 2 reachable, 4 stale, 8 delay, 16 probe, 32 failed, 64 noarp, 128 permanent."""


def decode_link(payload: bytes) -> Interface:
    """An RTM_NEWLINK or RTM_DELLINK message."""
    _, arphrd, index, flags, _ = struct.unpack_from("=BxHiII", payload)
    found = attributes(payload, 16)
    info = attributes(found.get(IFLA_LINKINFO, b""), 0)
    return Interface(
        index,
        _text(found.get(IFLA_IFNAME, b"")),
        arphrd,
        flags,
        _int(found.get(IFLA_MTU)),
        found.get(IFLA_ADDRESS, b""),
        _int(found.get(_IFLA_MASTER)),
        _text(info.get(IFLA_INFO_KIND, b"")),
    )


def decode_address(payload: bytes) -> InterfaceAddress:
    """An RTM_NEWADDR or RTM_DELADDR message."""
    _, prefix_len, flags, scope, index = struct.unpack_from("=BBBBi", payload)
    found = attributes(payload, 8)
    peer = found.get(IFA_ADDRESS, b"")
    flags = _int(found.get(8)) or flags  # IFA_FLAGS: the octet in the header is too small
    return InterfaceAddress(index, found.get(IFA_LOCAL, peer), prefix_len, flags, scope, peer, found.get(4))


def interfaces() -> list[Interface]:
    """All interfaces of this network namespace."""
    with Netlink() as netlink:
        answers = netlink.dump(RTM_GETLINK, link_index() + attribute(_IFLA_EXT_MASK, _SKIP_STATS))
    return [decode_link(payload) for _, payload in answers]


def interface(name_or_index: str | int) -> Interface | None:
    """The interface of this name (or alternative name) or number, or None."""
    request = link_index(name_or_index if isinstance(name_or_index, int) else 0)
    if isinstance(name_or_index, str):
        request += attribute(IFLA_IFNAME if len(name_or_index) < 16 else 53, os.fsencode(name_or_index) + b"\0")
    try:
        with Netlink() as netlink:
            answers = netlink.ask(RTM_GETLINK, request + attribute(_IFLA_EXT_MASK, _SKIP_STATS))
    except OSError as error:
        if error.errno in (ENODEV, EINVAL, ERANGE):
            return None
        raise
    return decode_link(answers[0][1])


def addresses(index: int = 0) -> list[InterfaceAddress]:
    """All addresses, or those of one interface."""
    with Netlink() as netlink:
        answers = netlink.dump(RTM_GETADDR, struct.pack("=BBBBi", 0, 0, 0, 0, 0))
    found = [decode_address(payload) for _, payload in answers]
    return [one for one in found if index in (0, one.index)]


def neighbors(index: int = 0) -> list[Neighbor]:
    """The kernel's ARP and ND entries, of all interfaces or of one."""
    with Netlink() as netlink:
        answers = netlink.dump(RTM_GETNEIGH, struct.pack("=BxxxiHBB", 0, 0, 0, 0, 0))
    found = []
    for _, payload in answers:
        _, ifindex, state, _, _ = struct.unpack_from("=BxxxiHBB", payload)
        details = attributes(payload, 12)
        if index in (0, ifindex) and 1 in details:
            found.append(Neighbor(ifindex, details[1], details.get(2, b""), state))
    return found


def route_to(
    dst: bytes, *, mark: int = 0, source: bytes | None = None, oif: int = 0, family: int | None = None
) -> KernelRoute:
    """The kernel's way to `dst`, as connect() would take it.

    LinkError with the errno of connect(): ENETUNREACH (no route), EHOSTUNREACH, EACCES (prohibit), EINVAL (blackhole).
    """
    family = family or (4 if len(dst) == 4 else 6)
    request = struct.pack("=8BI", AF[family], len(dst) * 8, len(source or b"") * 8, 0, 0, 0, 0, 0, 0)
    request += attribute(_RTA_DST, dst)
    if source:
        request += attribute(_RTA_SRC, source)
    if oif:
        request += attribute(_RTA_OIF, struct.pack("=i", oif))
    if mark:
        request += attribute(_RTA_MARK, struct.pack("=I", mark))
    try:
        with Netlink() as netlink:
            route = _decode_route(netlink.ask(RTM_GETROUTE, request)[0][1], answer=True)
    except OSError as error:
        raise _unreachable(error.errno or EINVAL) from error
    if route.errno:
        raise _unreachable(route.errno)
    return KernelRoute(route.kind, route.oif, route.gateway, route.source or source, route.mtu)


def routes(family: int) -> list[TableRoute]:
    """The local, main and default tables of one family (4 or 6)."""
    with Netlink() as netlink:
        answers = netlink.dump(RTM_GETROUTE, struct.pack("=8BI", AF[family], 0, 0, 0, 0, 0, 0, 0, 0))
    gone = 0x201  # RTM_F_CLONED (IPv6 exceptions), RTNH_F_DEAD
    found = [_decode_route(payload) for _, payload in answers if not _int(payload[8:12]) & gone]
    return [route for route in found if route.table in (TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT)]


def has_policy_rules(family: int) -> bool:
    """Other rules than the kernel's own decide here (ip rule, VRF), so `routes` tell only half the story."""
    with Netlink() as netlink:
        answers = netlink.dump(RTM_GETRULE, struct.pack("=8BI", AF[family], 0, 0, 0, 0, 0, 0, 0, 0))
    return any(_int(attributes(payload, 12).get(_FRA_PRIORITY)) not in _DEFAULT_RULES for _, payload in answers)


class RouteTable:
    """The kernel's tables in memory, so that a sweep of 65,000 targets asks the kernel a handful of questions.

    A look-up costs one dict access for each prefix length in use. It asks `route_to` where the tables don't decide
    (policy rules, several next hops, link-local and multicast destinations).
    """

    __slots__ = ("_by_length", "_sources", "family")

    def __init__(self, family: int) -> None:
        self.family = family
        self._by_length: list[tuple[int, dict[int, TableRoute]]] = []
        self._sources: dict[tuple[int, int], bytes | None] = {}
        if not has_policy_rules(family):
            self._fill(routes(family))

    def _fill(self, found: list[TableRoute]) -> None:
        """Local before main before default (ip-rule(8)); within a table the longest prefix, then the lowest metric."""
        bits = 32 if self.family == 4 else 128
        grouped: dict[tuple[int, int], dict[int, TableRoute]] = {}
        for route in sorted(found, key=lambda route: -route.metric):
            network = int.from_bytes(route.network, "big") >> (bits - route.prefix_len)
            grouped.setdefault((route.table, route.prefix_len), {})[network] = route
        self._by_length = [(bits - key[1], grouped[key]) for key in sorted(grouped, reverse=True)]

    def route_to(self, dst: bytes) -> KernelRoute:
        """The way to `dst`; LinkError as the function of this name."""
        if dst[0] >= (224 if self.family == 4 else 255):  # groups, and IPv4's limited broadcast
            return route_to(dst)
        number = int.from_bytes(dst, "big")
        for shift, networks in self._by_length:
            route = networks.get(number >> shift)
            if route is not None:
                return self._resolve(route, dst, number)
        return route_to(dst)

    def _resolve(self, route: TableRoute, dst: bytes, number: int) -> KernelRoute:
        if route.errno:
            raise _unreachable(route.errno)
        if not route.oif or dst[:2] == b"\xfe\x80":
            return route_to(dst)
        if route.kind == "local":
            return KernelRoute("local", LOOPBACK_INDEX, None, route.source or dst, route.mtu)
        return KernelRoute(
            route.kind, route.oif, route.gateway, route.source or self._source(route, dst, number), route.mtu
        )

    def _source(self, route: TableRoute, dst: bytes, number: int) -> bytes | None:
        """What the kernel selects: one answer serves a whole IPv4 route, or one /64 of an IPv6 route (RFC 6724)."""
        key = (id(route), number >> 64)
        if key not in self._sources:
            self._sources[key] = route_to(dst).source
        return self._sources[key]


def _decode_route(payload: bytes, *, answer: bool = False) -> TableRoute:
    """An RTM_NEWROUTE message: a line of a table, or the answer to a question (which may repeat its source)."""
    family, dst_len, src_len, tos, table, _, _, kind = struct.unpack_from("=8B", payload)
    found = attributes(payload, 12)
    gateway = found.get(_RTA_GATEWAY)
    if gateway is None and _RTA_VIA in found:  # a gateway of the other family: struct rtvia
        gateway = found[_RTA_VIA][2:]
    mtu = _int(attributes(found.get(_RTA_METRICS, b""), 0).get(_RTAX_MTU))
    route = KernelRoute(
        _KINDS.get(kind, "unicast"),
        0 if not answer and (_RTA_MULTIPATH in found or src_len or tos) else _int(found.get(_RTA_OIF)),
        gateway,
        found.get(_RTA_PREFSRC),
        mtu,
    )
    network = found.get(_RTA_DST, bytes(4 if family == AF[4] else 16))
    return TableRoute(
        network,
        dst_len,
        _int(found.get(_RTA_TABLE)) or table,
        _int(found.get(_RTA_PRIORITY)),
        route,
        _REFUSALS.get(kind, 0),
    )


def _unreachable(errno: int) -> LinkError:
    """In the words of ping, whose connect() meets the same."""
    return LinkError(f"connect: {os.strerror(errno)}", errno)


def _int(value: bytes | None) -> int:
    return int.from_bytes(value, _NATIVE) if value else 0


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode("utf-8", "replace")
