"""Engine events: what an application must learn from the stack (`Stack.poll_event`).

Not to be confused with trace events, which tell a person what happened and may be switched off.
"""

from pytools.engine import EngineEvent
from pytools.units import Ns
from pytools.wire.arp import ArpPacket
from pytools.wire.icmp import Quoted


class EchoReply(EngineEvent):
    """An Echo Reply for an identifier opened with `open_echo`.

    `at` is the link's receive stamp, or `now` where the link has none. `length` counts the ICMP message (header and
    data), `payload` is the data, `options` are the reply's IPv4 options. With `checksum_ok` False the message was
    corrupted: it is counted as ICMP_CSUM too.
    """

    __slots__ = (
        "at",
        "checksum_ok",
        "dst",
        "ident",
        "length",
        "options",
        "payload",
        "port",
        "seq",
        "src",
        "tos",
        "ttl",
    )

    def __init__(
        self,
        now: Ns,
        at: Ns,
        src: bytes,
        dst: bytes,
        ttl: int,
        tos: int,
        ident: int,
        seq: int,
        payload: bytes,
        options: bytes = b"",
        checksum_ok: bool = True,
        length: int = 0,
        port: int = 0,
    ) -> None:
        self.now = now
        self.at = at
        self.src = src
        self.dst = dst
        self.ttl = ttl
        self.tos = tos
        self.ident = ident
        self.seq = seq
        self.payload = payload
        self.options = options
        self.checksum_ok = checksum_ok
        self.length = length
        self.port = port


class IcmpError(EngineEvent):
    """An ICMP error about a packet of ours, quoted in it.

    `src` is who says so; our own address when the stack itself found the next hop missing ("Destination Host
    Unreachable", as Linux reports it). `info` is the MTU, pointer or gateway word of the message (0 when it has none);
    `gateway` is the new next hop of a Redirect. `length` counts the ICMP message, 0 for one of our own.
    """

    __slots__ = ("at", "code", "family", "gateway", "info", "length", "quoted", "src", "ttl", "type")

    def __init__(
        self,
        now: Ns,
        at: Ns,
        src: bytes,
        family: int,
        type: int,
        code: int,
        info: int,
        quoted: Quoted,
        gateway: bytes = b"",
        ttl: int = 0,
        length: int = 0,
    ) -> None:
        self.now = now
        self.at = at
        self.src = src
        self.family = family
        self.type = type
        self.code = code
        self.info = info
        self.quoted = quoted
        self.gateway = gateway
        self.ttl = ttl
        self.length = length


class NeighborResolved(EngineEvent):
    """`resolve` found the link address of `address`."""

    __slots__ = ("address", "mac", "port")

    def __init__(self, now: Ns, port: int, address: bytes, mac: bytes) -> None:
        self.now = now
        self.port = port
        self.address = address
        self.mac = mac


class NeighborFailed(EngineEvent):
    """`resolve` got no answer."""

    __slots__ = ("address", "port")

    def __init__(self, now: Ns, port: int, address: bytes) -> None:
        self.now = now
        self.port = port
        self.address = address


class ArpSeen(EngineEvent):
    """An ARP packet came in on a port with `watch` on. `broadcast` says how the frame was addressed."""

    __slots__ = ("at", "broadcast", "frame_src", "packet", "port")

    def __init__(self, now: Ns, at: Ns, port: int, frame_src: bytes, packet: ArpPacket, broadcast: bool) -> None:
        self.now = now
        self.at = at
        self.port = port
        self.frame_src = frame_src
        self.packet = packet
        self.broadcast = broadcast


class NdSeen(EngineEvent):
    """A neighbour solicitation or advertisement came in on a port with `watch` on.

    `type` is the ICMPv6 type, `mac` the link address in its option or b"", `flags` Router, Solicited and Override as in
    an advertisement (bits 4, 2, 1).
    """

    __slots__ = ("at", "dst", "flags", "frame_src", "mac", "multicast", "port", "src", "target", "type")

    def __init__(
        self,
        now: Ns,
        at: Ns,
        port: int,
        frame_src: bytes,
        multicast: bool,
        src: bytes,
        dst: bytes,
        type: int,
        target: bytes,
        mac: bytes,
        flags: int,
    ) -> None:
        self.now = now
        self.at = at
        self.port = port
        self.frame_src = frame_src
        self.multicast = multicast
        self.src = src
        self.dst = dst
        self.type = type
        self.target = target
        self.mac = mac
        self.flags = flags


class AddressConflicted(EngineEvent):
    """Another station (`mac`) uses `address`. `given_up` says that we no longer have it."""

    __slots__ = ("address", "given_up", "mac", "port")

    def __init__(self, now: Ns, port: int, address: bytes, mac: bytes, given_up: bool) -> None:
        self.now = now
        self.port = port
        self.address = address
        self.mac = mac
        self.given_up = given_up


class AddressReady(EngineEvent):
    """`address` passed its probes and may be used."""

    __slots__ = ("address", "port")

    def __init__(self, now: Ns, port: int, address: bytes) -> None:
        self.now = now
        self.port = port
        self.address = address


class UdpReceived(EngineEvent):
    """A datagram for an endpoint opened with `open_udp`. `dst` is the address it was sent to (RFC 1122 4.1.3.5)."""

    __slots__ = ("at", "dst", "dst_port", "payload", "port", "src", "src_port", "tos", "ttl")

    def __init__(
        self,
        now: Ns,
        at: Ns,
        port: int,
        src: bytes,
        src_port: int,
        dst: bytes,
        dst_port: int,
        ttl: int,
        tos: int,
        payload: bytes,
    ) -> None:
        self.now = now
        self.at = at
        self.port = port
        self.src = src
        self.src_port = src_port
        self.dst = dst
        self.dst_port = dst_port
        self.ttl = ttl
        self.tos = tos
        self.payload = payload


class SendFailed(EngineEvent):
    """A packet accepted by a `send_` call can't leave after all: no link address (EHOSTUNREACH) or the link refused."""

    __slots__ = ("dst", "errno", "token")

    def __init__(self, now: Ns, dst: bytes, errno: int, token: object) -> None:
        self.now = now
        self.dst = dst
        self.errno = errno
        self.token = token
