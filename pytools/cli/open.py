"""From the command line's words to an open way to the wire.

path = open_path(PathRequest("ping", via="auto", targets=[Target(dst, zone)]))
endpoint = path.endpoint(dst, zone)          # source, port, gateway, or LinkError in iputils' words
driver = path.driver(engine, on_event)       # privileges are gone from here on
driver.run(done)
path.close()
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pytools.units import Ns

if TYPE_CHECKING:
    from pytools.link.base import Link
    from pytools.run.driver import Driver, Waiter
    from pytools.stack.stack import Stack


class Target:
    """An address to talk to; `zone` is the interface name after a `%`, or ""."""

    __slots__ = ("address", "zone")

    def __init__(self, address: bytes, zone: str = "") -> None:
        self.address = address
        self.zone = zone


class TraceRequest:
    """What the shared options say about traces; `options.trace_request` fills it."""

    __slots__ = ("color", "form", "pcap", "verbosity")

    def __init__(self, verbosity: int = 0, form: str = "text", pcap: str | None = None, color: str = "auto") -> None:
        self.verbosity = verbosity
        """Lines on stderr: 0 none, 1 the wire and what the stack did, 2 headers too, 3 bytes too."""
        self.form = form
        """"text" or "json"."""
        self.pcap = pcap
        """File for pcapng, "-" for stdout, or None."""
        self.color = color
        """"auto", "always" or "never"."""


class PathRequest:
    """What a command wants from the wire. Everything but the command's name has a default."""

    __slots__ = (
        "address",
        "bypass_routing",
        "command",
        "family",
        "ident",
        "interfaces",
        "later_targets",
        "link_layer",
        "mark",
        "network",
        "ping_socket",
        "promiscuous",
        "seed",
        "targets",
        "tos",
        "trace",
        "tx_stamps",
        "via",
        "vlans",
    )

    def __init__(
        self,
        command: str,
        *,
        via: str = "auto",
        interfaces: Sequence[str] = (),
        address: str | None = None,
        network: str | None = None,
        targets: Sequence[Target] = (),
        later_targets: bool = False,
        family: int = 0,
        mark: int = 0,
        tos: int = 0,
        bypass_routing: bool = False,
        ident: int | None = None,
        ping_socket: bool = False,
        link_layer: bool = False,
        promiscuous: bool = False,
        vlans: tuple[int, ...] = (),
        tx_stamps: bool = False,
        seed: int | None = None,
        trace: TraceRequest | None = None,
    ) -> None:
        self.command = command
        self.via = via
        self.interfaces = interfaces
        """The -I values: interface names, VRF names, source addresses."""
        self.address = address
        self.network = network
        self.targets = targets
        """Targets that are known already; their interfaces are opened before privileges go."""
        self.later_targets = later_targets
        """More will come by `Path.endpoint`: sockets are opened so that any interface can be used."""
        self.family = family
        self.mark = mark
        self.tos = tos
        self.bypass_routing = bypass_routing
        self.ident = ident
        """Echo identifier; None lets the system choose (`Path.ident` has the result)."""
        self.ping_socket = ping_socket
        """An ICMP datagram socket will do where packet sockets are not permitted."""
        self.link_layer = link_layer
        """The command speaks ARP or ND itself (arping): Ethernet only, no routing needed, address may be absent."""
        self.promiscuous = promiscuous
        self.vlans = vlans
        """TCIs that each frame carries."""
        self.tx_stamps = tx_stamps
        self.seed = seed
        self.trace = trace or TraceRequest()


class Endpoint:
    """The way to one target."""

    __slots__ = ("address", "gateway", "interface", "kind", "mtu", "port", "source", "zone")

    def __init__(
        self,
        address: bytes,
        source: bytes,
        port: int,
        interface: str,
        *,
        kind: str = "unicast",
        gateway: bytes | None = None,
        mtu: int = 1500,
        zone: str = "",
    ) -> None:
        self.address = address
        self.source = source
        """Our address towards it; unspecified where there is none (arping on an interface without address)."""
        self.port = port
        """Index of the Stack's port."""
        self.interface = interface
        self.kind = kind
        """unicast, local, broadcast, multicast or anycast."""
        self.gateway = gateway
        """Next hop, or None when the target is on the link."""
        self.mtu = mtu
        self.zone = zone


class Path:
    """An open way to the wire: a Stack with ports, addresses and routes, and the links behind it."""

    stack: "Stack"
    links: Sequence["Link"]
    waiter: "Waiter"
    kind: str
    """packet, raw, ping-socket, tap, lab or sim."""
    ident: int
    """The echo identifier to use."""
    epoch_ns: Ns
    """Wall time (ns since 1970) at instant 0 of the engine's clock; fixed in sim."""
    seed: int
    """What `random.Random` instances of the command start from."""

    def endpoint(self, address: bytes, zone: str = "") -> Endpoint:
        """The way to `address`. LinkError: there is none ("connect: Network is unreachable")."""
        raise NotImplementedError

    def driver(self, engine: Any, on_event: Callable[[Any], None]) -> "Driver":
        """The loop over this path. Drops privileges and turns the garbage collector on again."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish traces and close links. May be called twice."""
        raise NotImplementedError


def open_path(request: PathRequest) -> Path:
    """Open what `request` asks for. LinkError: one line that says what was refused and what to do."""
    raise NotImplementedError
