"""An IP packet on its way through the stack, and what a caller may ask of one to be sent."""

from typing import Any, Final, Protocol

from pytools.engine import RxMeta, Transmit
from pytools.stack.events import IcmpError
from pytools.stack.interfaces import Interface
from pytools.units import Ns

UNICAST: Final = 0
BROADCAST: Final = 1
MULTICAST: Final = 2
LOCAL: Final = 3
"""Kinds of destination. LOCAL: one of our own addresses, so the packet never leaves."""

Buffer = bytes | bytearray | memoryview


class Packet:
    """A received IP packet as protocols see it; borrowed, with its `data`, until `on_packet` returns.

    The IP header starts at `start`, the protocol's header at `offset`, both in `data`; padding after `end` is none of
    it. `kind` is the IP destination's (UNICAST, BROADCAST, MULTICAST), `link_unicast` how the frame was addressed.
    `shared` says that the kernel owns the address too: answer nothing. `options` are IPv4's; `ttl` and `tos` are the
    hop limit and traffic class of IPv6. `fragmented`: it came in pieces, or as an atomic fragment. `protocol_pointer`
    is where, from the IP header, the field stands that names `protocol` (for Parameter Problem).
    """

    __slots__ = (
        "at",
        "data",
        "dst",
        "end",
        "family",
        "fragmented",
        "header",
        "iface",
        "kind",
        "link_src",
        "link_unicast",
        "meta",
        "offset",
        "options",
        "protocol",
        "protocol_pointer",
        "shared",
        "src",
        "start",
        "tos",
        "ttl",
    )

    family: int
    header: Any
    src: bytes
    dst: bytes
    ttl: int
    tos: int
    protocol: int
    options: bytes
    data: Buffer
    start: int
    offset: int
    end: int
    iface: Interface
    meta: RxMeta
    at: Ns
    kind: int
    link_unicast: bool
    link_src: bytes
    shared: bool
    fragmented: bool
    protocol_pointer: int


class ProtocolHandler(Protocol):
    """A protocol above IP; registered with `Stack.register`."""

    def on_packet(self, packet: Packet, now: Ns) -> str | None:
        """Take a packet (borrowed until return): None, or the DropReason why not."""

    def on_error(self, error: IcmpError, now: Ns) -> str | None:
        """Take an ICMP error about a packet of this protocol: None if it is believed, or the DropReason why not."""


class PollingHandler(ProtocolHandler, Protocol):
    """A protocol that sends when the stack asks for frames, so that a full link holds it back."""

    def poll(self, now: Ns) -> bool:
        """Hand IP one packet if one is ready; False when there is none."""


class IpOptions:
    """What a caller asks of the packets it sends. Not to be changed once used: the stack remembers by identity.

    df: "want" sets DF where the packet fits the path MTU and fragments otherwise, "do" never fragments (EMSGSIZE),
    "dont" never sets DF, "probe" sets DF and looks only at the port's MTU; as IP_PMTUDISC_* of Linux.
    """

    __slots__ = (
        "broadcast",
        "df",
        "dontroute",
        "flow_label",
        "gateway",
        "multicast_loop",
        "options",
        "port",
        "src",
        "tos",
        "ttl",
    )

    def __init__(
        self,
        *,
        src: bytes | None = None,
        ttl: int = 0,
        tos: int = 0,
        flow_label: int = 0,
        df: str = "want",
        options: bytes = b"",
        port: int | None = None,
        gateway: bytes | None = None,
        dontroute: bool = False,
        broadcast: bool = False,
        multicast_loop: bool = True,
    ) -> None:
        self.src = src
        """One of our addresses; None: the stack chooses (RFC 6724)."""
        self.ttl = ttl
        """0: `config.default_ttl`, or 1 for multicast (RFC 1112 6.1)."""
        self.tos = tos
        """DSCP and ECN; the traffic class of IPv6."""
        self.flow_label = flow_label
        self.df = df
        self.options = options
        """IPv4 options, finished octets."""
        self.port = port
        """Only this port."""
        self.gateway = gateway
        """This next hop, whatever the routes say."""
        self.dontroute = dontroute
        """Only what is on the link (SO_DONTROUTE)."""
        self.broadcast = broadcast
        """Allow a broadcast destination (SO_BROADCAST); EACCES otherwise."""
        self.multicast_loop = multicast_loop
        """Multicast comes back to our own members of the group (IP_MULTICAST_LOOP)."""


DEFAULT_OPTIONS: Final = IpOptions()


class Forwarded(Transmit):
    """A packet of somebody else: when it can't be delivered, its source is told."""

    __slots__ = ()
