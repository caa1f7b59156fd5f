"""The contract: everything that speaks a protocol is an `Engine`.

Bytes and the time come in, bytes and the next deadline go out. An engine opens no socket, reads no clock, makes no
thread and prints nothing; its randomness is an injected `random.Random`.

Laws, tested for all engines (tests/laws.py): the same input and seed give the same bytes; tracing changes nothing;
after `on_deadline(next_deadline())` either something comes out or the next deadline is later; any bytes into `on_frame`
raise nothing; a frame buffer overwritten after return changes nothing.
"""

from typing import Final, Protocol

from pytools.units import Ns

# Link types, numbered as in pcap files.
ETHERNET: Final = 1
"""Frames start with an Ethernet header; ARP and neighbour discovery are needed."""
RAW_IP: Final = 101
"""Frames start with an IPv4 or IPv6 header (wg0, tun0, ppp0, raw IP on lo, the ICMP datagram socket)."""

# Offloads of a port, a bit set.
OFFLOAD_CHECKSUM: Final = 1
OFFLOAD_TSO4: Final = 2
OFFLOAD_TSO6: Final = 4

# What is known of the checksum of a received frame.
CHECKSUM_UNKNOWN: Final = 0
"""Verify it."""
CHECKSUM_PARTIAL: Final = 1
"""A local sender left it unfinished: do not verify, and complete it before writing it to a file."""
CHECKSUM_VERIFIED: Final = 2

# Packet types, numbered as in sockaddr_ll.sll_pkttype.
PACKET_HOST: Final = 0
PACKET_BROADCAST: Final = 1
PACKET_MULTICAST: Final = 2
PACKET_OTHERHOST: Final = 3
PACKET_OUTGOING: Final = 4


class Port:
    """What a link offers to an engine: one way to the wire.

    `vlans` are TCIs (PCP and VLAN id, outermost first) that every frame of this port carries; an engine adds them on
    output and takes no frame without them. `mtu` counts the IP packet.
    """

    __slots__ = ("index", "link_type", "mac", "mtu", "name", "offloads", "vlans")

    def __init__(
        self,
        index: int,
        name: str,
        link_type: int = ETHERNET,
        mtu: int = 1500,
        mac: bytes = b"",
        offloads: int = 0,
        vlans: tuple[int, ...] = (),
    ) -> None:
        self.index = index
        self.name = name
        self.link_type = link_type
        self.mtu = mtu
        self.mac = mac
        self.offloads = offloads
        self.vlans = vlans


class RxMeta:
    """What a link knows of a received frame beside its bytes. Borrowed until `on_frame` returns, like the frame."""

    __slots__ = ("at", "checksum", "gso_size", "packet_type", "port")

    def __init__(
        self,
        port: int = 0,
        at: Ns | None = None,
        checksum: int = CHECKSUM_UNKNOWN,
        gso_size: int = 0,
        packet_type: int = PACKET_HOST,
    ) -> None:
        self.port = port
        self.at = at
        """Receive stamp of the link on the engine's clock, or None."""
        self.checksum = checksum
        self.gso_size = gso_size
        """Payload bytes of each segment inside a super-segment, 0 for an ordinary frame."""
        self.packet_type = packet_type


class Transmit:
    """One frame to send, as scatter-gather parts of immutable bytes that stay valid.

    With `csum_start` > 0 the 16 bits at `csum_start + csum_offset` (from the start of the frame) hold the folded,
    not inverted pseudo-header sum and the link completes them. With `gso_size` > 0 the frame is a super-segment of up
    to 64 KB; a link that can't offload cuts it (`wire.gso`). A `token` asks for `on_transmitted`.
    """

    __slots__ = ("csum_offset", "csum_start", "gso_size", "parts", "port", "token")

    def __init__(
        self,
        port: int,
        parts: tuple[bytes, ...],
        gso_size: int = 0,
        csum_start: int = 0,
        csum_offset: int = 0,
        token: object = None,
    ) -> None:
        self.port = port
        self.parts = parts
        self.gso_size = gso_size
        self.csum_start = csum_start
        self.csum_offset = csum_offset
        self.token = token


class EngineEvent:
    """What the application must learn. Subclasses are slotted and carry the engine's `now`."""

    __slots__ = ("now",)

    def __init__(self, now: Ns) -> None:
        self.now = now

    def on_taken(self) -> None:
        """It leaves the engine's queue."""


class Engine(Protocol):
    """A sans-IO protocol machine. See the module's docstring for the laws."""

    def on_frame(self, frame: memoryview, now: Ns, meta: RxMeta) -> None:
        """Take one received frame; `frame` and `meta` are borrowed until return. Raises nothing."""

    def on_deadline(self, now: Ns) -> None:
        """Time has passed. Too early is harmless."""

    def poll_transmit(self, now: Ns) -> Transmit | None:
        """The next frame to send; call until None."""

    def on_transmitted(self, token: object, now: Ns, at: Ns | None, error: OSError | None) -> None:
        """A `Transmit` that carried `token` was handed to the link.

        Called once after the send with `now` = the clock read just before the system call and `at` None (or `error`
        set), and once more with `at` = the link's transmit stamp if the link was opened with transmit stamps.
        """

    def poll_event(self) -> EngineEvent | None:
        """The next event for the application; call until None."""

    def next_deadline(self) -> Ns:
        """When `on_deadline` is due, or NEVER. May change after any other call."""
