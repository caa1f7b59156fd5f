"""From the command line's words to an open way to the wire.

path = open_path(PathRequest("ping", via="auto", targets=[Target(dst, zone)]))
endpoint = path.endpoint(dst, zone)          # source, port, gateway, or LinkError in iputils' words
driver = path.driver(engine, on_event)       # privileges are gone from here on
driver.run(done)
path.close()
"""

import os
from collections.abc import Sequence
from errno import ENETUNREACH
from typing import TYPE_CHECKING

from pytools.cli.tracing import Tracing
from pytools.errors import LinkError
from pytools.stack.packet import IpOptions
from pytools.units import Ns
from pytools.wire.addr import is_broadcast, is_multicast

if TYPE_CHECKING:
    from pytools.engine import Engine, Port
    from pytools.link.base import Link
    from pytools.run.driver import Driver, OnError, OnEvent
    from pytools.run.waiters import Waiter
    from pytools.stack.config import StackConfig
    from pytools.trace.hub import Trace


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
        "discover",
        "endless",
        "family",
        "ident",
        "interfaces",
        "later_targets",
        "link_layer",
        "mac",
        "mark",
        "more_addresses",
        "mtu",
        "network",
        "ping_socket",
        "probe",
        "promiscuous",
        "reads_stdin",
        "seed",
        "send_buffer",
        "stack_config",
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
        more_addresses: Sequence[str] = (),
        probe: bool = False,
        mtu: int = 0,
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
        mac: bytes = b"",
        tx_stamps: bool = False,
        seed: int | None = None,
        endless: bool = False,
        reads_stdin: bool = False,
        send_buffer: int = 0,
        discover: str | None = None,
        stack_config: "StackConfig | None" = None,
        trace: TraceRequest | None = None,
    ) -> None:
        self.command = command
        self.via = via
        self.interfaces = interfaces
        """The -I values: interface names, VRF names, source addresses."""
        self.address = address
        self.more_addresses = more_addresses
        """Further addresses of our own on the same link, as `address`."""
        self.probe = probe
        """On a network shared with others use our addresses only when nobody objected (RFC 5227, RFC 4862)."""
        self.discover = discover
        """Path MTU discovery where the kernel does it (the ICMP datagram socket): "do", "want", "dont" or "probe"."""
        self.mtu = mtu
        """Our MTU if it is to be lower than the link's, else 0."""
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
        self.mac = mac
        """Send from this MAC, and take what comes for it (b"": the interface's own)."""
        self.tx_stamps = tx_stamps
        self.seed = seed
        self.endless = endless
        """There is no count and no deadline: a simulation then keeps step with the wall clock."""
        self.reads_stdin = reads_stdin
        self.send_buffer = send_buffer
        self.stack_config = stack_config
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

    kind = "packet"
    """packet, ping-socket, tap, lab or sim."""

    def __init__(
        self,
        request: PathRequest,
        waiter: "Waiter",
        *,
        epoch_ns: Ns,
        seed: int,
        ident: int,
        trace: "Trace | None" = None,
    ) -> None:
        from random import Random

        from pytools.stack.stack import Stack

        self.request = request
        self.waiter = waiter
        self.epoch_ns = epoch_ns
        """Wall time (ns since 1970) at instant 0 of the engine's clock; fixed in sim."""
        self.seed = seed
        """What `random.Random` instances of the command start from."""
        self.ident = request.ident if request.ident is not None else ident
        """The echo identifier to use."""
        self.start_at = waiter.now()
        """Instant 0 of what people see: traces and records count from here (give it to JsonWriter)."""
        self.stack = Stack(Random(seed), request.stack_config, trace, epoch_ns)
        self.links: list[Link] = []
        self.notes: list[str] = []
        """What the user should know about this way, for stderr."""
        self._tracing = Tracing(request.trace)
        self._driver: Driver | None = None

    def endpoint(self, address: bytes, zone: str = "") -> Endpoint:
        """The way to `address`. LinkError: there is none ("connect: Network is unreachable")."""
        source = self.stack.source_for(address, self.start_at, IpOptions(broadcast=True))
        route = self.stack.route(address)
        port = self._port(route.port if route is not None else self.ports[0].index)
        if source is None and not self.request.link_layer:
            raise unreachable(ENETUNREACH)
        kind = "multicast" if is_multicast(address) else "broadcast" if is_broadcast(address) else "unicast"
        gateway = route.gateway if route is not None and kind == "unicast" else None
        source = source or bytes(len(address))
        return Endpoint(address, source, port.index, port.name, kind=kind, gateway=gateway, mtu=port.mtu, zone=zone)

    @property
    def ports(self) -> "list[Port]":
        """Every port of every link."""
        return [port for link in self.links for port in link.ports]

    def add_port(self, port: "Port") -> None:
        """Give the stack a port, with the MTU that was asked for."""
        port.mtu = min(port.mtu, self.request.mtu or port.mtu)
        self.stack.add_port(port)

    def _port(self, index: int) -> "Port":
        return next(port for port in self.ports if port.index == index)

    def driver(
        self, engine: "Engine", on_event: "OnEvent | None" = None, on_error: "OnError | None" = None
    ) -> "Driver":
        """The loop over this path. Privileges are dropped here, and the garbage collector runs from here on."""
        import gc

        from pytools.run.driver import Driver

        # First what may have to be imported: after giving up root its files can't be read any more.
        self._tracing.attach(self.stack.trace, self.ports, start_at=self.start_at, epoch_ns=self.epoch_ns)
        self._give_up_privileges()
        gc.freeze()
        gc.enable()
        waiter, on_event = self._tracing.waiter(self.waiter), self._tracing.before(on_event)
        self._driver = Driver(engine, self.links, waiter, on_event, on_error)
        return self._driver

    def _give_up_privileges(self) -> None:
        from pytools.link import privilege

        privilege.drop()

    def close(self) -> None:
        """Finish traces and close links. May be called twice."""
        try:
            self._tracing.close()
        finally:
            for link in self.links:
                link.close()

    def __enter__(self) -> "Path":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def unreachable(errno: int) -> LinkError:
    """What connect() would say."""
    return LinkError(f"connect: {os.strerror(errno)}", errno)


def open_path(request: PathRequest) -> Path:
    """Open what `request` asks for. LinkError: one line that says what was refused and what to do."""
    way = request.via.partition(":")[0]
    if way == "sim":
        from pytools.cli.open_sim import open_sim

        return open_sim(request)
    if way in ("tap", "lab"):
        from pytools.cli.open_private import open_private

        return open_private(request, way)
    if request.address is not None:
        from pytools.cli.open_private import open_own_address

        return open_own_address(request)
    from pytools.cli.open_host import open_host

    return open_host(request)
