"""The standard simulated network: a LAN, a router, and behind it one network for each way a packet can fail.

    engine .10 ---(the impaired wire)---+--- LAN 10.0.0.0/24, fd00::/64
                                        |
                              peer .2 --+-- router .1 --+-- 10.0.1.0/24: far host .2
                                                        +-- 10.0.5.0/24: MTU 1280, host .2

Every host runs the same `Stack` as the engine under test.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from pytools.engine import Port
from pytools.sim.network import Host, Network, Segment, SimLink
from pytools.sim.spec import SimSpec
from pytools.sim.wire import Wire
from pytools.stack.config import StackConfig
from pytools.stack.events import UdpReceived
from pytools.stack.routes import BLACKHOLE, PROHIBIT, Route
from pytools.stack.stack import Stack
from pytools.trace.hub import Trace
from pytools.wire import addr

ADDRESS4: Final = addr.parse_ip("10.0.0.10")
ADDRESS6: Final = addr.parse_ip("fd00::10")
ROUTER4: Final = addr.parse_ip("10.0.0.1")
ROUTER6: Final = addr.parse_ip("fd00::1")
PREFIX4: Final = 24
PREFIX6: Final = 64
OWN_ADDRESSES: Final = ((ADDRESS4, PREFIX4), (ADDRESS6, PREFIX6))
SMALL_MTU: Final = 1280
PORT_NAME: Final = "sim0"

ECHO: Final = 7
DISCARD: Final = 9
_WELL_KNOWN: Final = 1024

_DEFAULT4: Final = addr.Network(bytes(4), 0)
_DEFAULT6: Final = addr.Network(bytes(16), 0)

DESCRIPTION: Final = """\
10.0.0.0/24  fd00::/64         the LAN; your stack is 10.0.0.10 and fd00::10, the impaired wire is in front of it
  .1   the router: answers echo
  .2   the peer: answers echo, UDP echo (port 7) and discard (port 9), TCP echo 7, discard 9, chargen 19, http 80
  .99  nobody: Destination Host Unreachable from your own stack
10.0.1.0/24  fd00:0:0:1::/64   behind the router
  .2   the far host: answers like the peer
  .99  nobody: Destination Host Unreachable (Address unreachable) from the router
10.0.2.0/24  fd00:0:0:2::/64   Destination Net Unreachable (No route) from the router, like everything unknown
10.0.3.0/24  fd00:0:0:3::/64   Packet filtered (Administratively prohibited) from the router
10.0.4.0/24  fd00:0:0:4::/64   a black hole: silence
10.0.5.0/24  fd00:0:0:5::/64   behind a link with an MTU of 1280
  .2   a host that answers like the peer; above 1280 octets: Frag needed (Packet too big) from the router"""


class Topology:
    """The standard network for one engine, with the impairments of `spec` on its wire.

    `link` and `network` are what a driver needs (link and waiter); `configure` gives the engine's stack its place.
    `trace` is the engine's: what the wire does to its frames is told there (category `wire`). `out` and `inward` are
    the two directions of the wire, `router`, `peer`, `far` and `small` the hosts.
    """

    __slots__ = ("far", "inward", "lan", "link", "network", "out", "peer", "port", "router", "small")

    def __init__(
        self, spec: SimSpec, trace: Trace | None = None, epoch_ns: int = 0, vlans: tuple[int, ...] = ()
    ) -> None:
        """`epoch_ns`: the wall time at virtual time 0, for timestamp options; `vlans`: tags of every LAN frame."""
        # Drawn from one generator in this order, so that the seed alone decides about everything.
        seeds = Random(spec.seed)
        self.network = network = Network()
        self.out = Wire(spec.out, Random(seeds.getrandbits(64)), "out", trace)
        self.inward = Wire(spec.inward, Random(seeds.getrandbits(64)), "in", trace)
        self.lan = Segment(network)
        far, small = Segment(network), Segment(network)

        def host(name: str, forwarding: bool = False) -> Host:
            # Every refusal is shown: no limit on errors, unlike RFC 1812 4.3.2.8 and any real router.
            config = StackConfig(forwarding=forwarding, icmp_error_rate=0)
            return Host(network, Stack(Random(seeds.getrandbits(64)), config, epoch_ns=epoch_ns), name)

        self.router = host("router", forwarding=True)
        for index, (segment, mtu) in enumerate(((self.lan, 1500), (far, 1500), (small, SMALL_MTU))):
            mac, tags = _mac(_NETWORKS[index], 1), vlans if segment is self.lan else ()
            _connect(self.router, Port(index, f"eth{index}", mtu=mtu, mac=mac, vlans=tags), segment)
        _close_roads(_stack(self.router))
        self.peer = host("peer")
        self.far = host("far")
        self.small = host("small")
        for station, segment, mtu, third in (
            (self.peer, self.lan, 1500, 0),
            (self.far, far, 1500, 1),
            (self.small, small, SMALL_MTU, 5),
        ):
            tags = vlans if segment is self.lan else ()
            _connect(station, Port(0, "eth0", mtu=mtu, mac=_mac(third, 2), vlans=tags), segment)
            _route_by(_stack(station), 0, third)
            _serve(_stack(station))
        self.port = Port(0, PORT_NAME, mac=_mac(0, 0x10), vlans=vlans)
        self.link = SimLink(network, self.lan, self.port, self.out, self.inward)

    def configure(self, stack: Stack, addresses: Sequence[tuple[bytes, int]] = OWN_ADDRESSES) -> None:
        """Give a stack the place of the engine under test: its port, addresses with prefix lengths, default routes."""
        stack.add_port(self.port)
        for address, prefix_len in addresses:
            stack.add_address(self.port.index, address, prefix_len)
        _route_by(stack, self.port.index, 0)

    @staticmethod
    def describe() -> str:
        """Who answers what, for the help and the manual."""
        return DESCRIPTION


_NETWORKS: Final = (0, 1, 5)
"""The third octet of the networks at the router's ports."""


def _mac(third: int, last: int) -> bytes:
    return bytes((2, 0, 0, 0, third, last))


def address4(third: int, last: int) -> bytes:
    """10.0.third.last."""
    return bytes((10, 0, third, last))


def address6(third: int, last: int) -> bytes:
    """fd00:0:0:third::last, in hexadecimal as it is written there (.10 is ::10)."""
    return b"\xfd" + bytes(5) + bytes((0, third)) + bytes(7) + bytes((int(str(last), 16),))


def _stack(host: Host) -> Stack:
    assert isinstance(host.engine, Stack)
    return host.engine


def _connect(host: Host, port: Port, segment: Segment) -> None:
    """Plug a port in and give it the addresses that its MAC spells."""
    stack, (third, last) = _stack(host), port.mac[4:]
    stack.add_port(port)
    stack.add_address(port.index, address4(third, last), PREFIX4)
    stack.add_address(port.index, address6(third, last), PREFIX6)
    host.plug(port, segment)


def _route_by(stack: Stack, port: int, third: int) -> None:
    """Everything else goes to the router's address in this network."""
    stack.add_route(Route(_DEFAULT4, port, address4(third, 1)))
    stack.add_route(Route(_DEFAULT6, port, address6(third, 1)))


def _close_roads(router: Stack) -> None:
    """The networks that the router refuses or swallows; it has no default route."""
    for third, kind in ((3, PROHIBIT), (4, BLACKHOLE)):
        router.add_route(Route(addr.Network(address4(third, 0), PREFIX4), 0, kind=kind))
        router.add_route(Route(addr.Network(address6(third, 0), PREFIX6), 0, kind=kind))


def _serve(stack: Stack) -> None:
    """Echo (RFC 862) and discard (RFC 863)."""
    stack.open_udp(ECHO, _echo)
    stack.open_udp(DISCARD, _discard)


def _echo(datagram: UdpReceived) -> bytes | None:
    # Never to a service: two echo ports would talk to each other for ever.
    return datagram.payload if datagram.src_port >= _WELL_KNOWN else None


def _discard(_: UdpReceived) -> bytes | None:
    return None
