"""The routing table: longest prefix first (RFC 1122 3.3.1, RFC 1812 5.2.4.3)."""

import errno
from typing import Final

from pytools.wire.addr import Network

UNREACHABLE: Final = "unreachable"
PROHIBIT: Final = "prohibit"
BLACKHOLE: Final = "blackhole"

ROUTE_ERRNO: Final = {UNREACHABLE: errno.EHOSTUNREACH, PROHIBIT: errno.EACCES, BLACKHOLE: errno.EINVAL}
"""What a sender learns from a route that leads nowhere, as Linux has it."""


class Route:
    """Where packets for `network` go.

    kind: "unicast" (out of `port`, to `gateway` or straight to the destination), "local" (it is us), "unreachable",
    "prohibit" and "blackhole" (nowhere: with an ICMP error, with another one, silently). `source` is the address to
    send from, `mtu` a limit of this route (0: the port's). Of equal networks the lowest `metric` counts, then the
    oldest.
    """

    __slots__ = ("gateway", "kind", "metric", "mtu", "network", "port", "source")

    def __init__(
        self,
        network: Network,
        port: int,
        gateway: bytes | None = None,
        source: bytes | None = None,
        mtu: int = 0,
        kind: str = "unicast",
        metric: int = 0,
    ) -> None:
        self.network = network
        self.port = port
        self.gateway = gateway
        self.source = source
        self.mtu = mtu
        self.kind = kind
        self.metric = metric


class RouteTable:
    """Routes of both families; one dict for each prefix length in use."""

    __slots__ = ("_tables",)

    def __init__(self) -> None:
        self._tables: dict[int, list[tuple[int, int, dict[int, list[Route]]]]] = {4: [], 16: []}

    def add(self, route: Route) -> None:
        """Enter a route."""
        network = route.network
        routes = self._table(network).setdefault(int.from_bytes(network.address, "big"), [])
        routes.append(route)
        routes.sort(key=lambda r: r.metric)

    def remove(self, route: Route) -> None:
        """Take out a route (the same object); nothing happens if it isn't in."""
        tables = self._tables[len(route.network.address)]
        key = int.from_bytes(route.network.address, "big")
        for entry in tables:
            routes = entry[2].get(key, [])
            if entry[0] == route.network.prefix_len and route in routes:
                routes.remove(route)
                if not routes:
                    del entry[2][key]
                if not entry[2]:
                    tables.remove(entry)
                return

    def lookup(self, dst: bytes, port: int | None = None, on_link_only: bool = False) -> Route | None:
        """The best route for `dst`; only one out of `port`, or without a gateway, if asked."""
        number = int.from_bytes(dst, "big")
        for _, mask, table in self._tables[len(dst)]:
            for route in table.get(number & mask, ()):
                if (port is None or route.port == port) and not (on_link_only and route.gateway):
                    return route
        return None

    def all(self) -> list[Route]:
        """Every route, longest prefixes first."""
        return [
            r for tables in self._tables.values() for entry in tables for routes in entry[2].values() for r in routes
        ]

    def _table(self, network: Network) -> dict[int, list[Route]]:
        """The dict for a prefix length, made in its place if it is new."""
        tables = self._tables[len(network.address)]
        for length, _, table in tables:
            if length == network.prefix_len:
                return table
        bits = len(network.address) * 8
        mask = (1 << bits) - (1 << (bits - network.prefix_len))
        made: dict[int, list[Route]] = {}
        tables.append((network.prefix_len, mask, made))
        tables.sort(key=lambda entry: -entry[0])
        return made
