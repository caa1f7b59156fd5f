"""What arping sends and sees, the same for ARP (RFC 826) and neighbour discovery (RFC 4861).

A question is an ARP request or a neighbour solicitation, an answer an ARP reply or an advertisement. "Broadcast" means
the multicast of neighbour discovery too: what every station on the link may hear.
"""

from typing import Final

from pytools.engine import Port
from pytools.stack.events import ArpSeen, NdSeen
from pytools.units import Ns
from pytools.wire import arp, ethernet, icmp6, ipv6
from pytools.wire.addr import (
    ALL_NODES,
    BROADCAST_MAC,
    UNSPECIFIED4,
    UNSPECIFIED6,
    format_ip,
    format_mac,
    is_multicast,
    multicast_mac,
    solicited_node,
)

NO_MAC: Final = bytes(6)
_ND_HOP_LIMIT: Final = 255
"""RFC 4861 7.1: what proves that a neighbour sent it."""


class Station:
    """Who we are in the packets: our MAC and IP address (unspecified for a probe)."""

    __slots__ = ("ip", "mac")

    def __init__(self, mac: bytes, ip: bytes) -> None:
        self.mac = mac
        self.ip = ip


class Seen:
    """A packet that says "`ip` is at `mac`", or asks for `asked_ip`.

    `asked_ip` is whom it is for: the target of an ARP packet or of a solicitation, the receiver of an advertisement
    (unspecified when that is everybody). `asked_mac` is ARP's target hardware address, b"" in neighbour discovery.
    """

    __slots__ = ("asked_ip", "asked_mac", "at", "frame_src", "ip", "is_broadcast", "is_request", "mac", "now")

    def __init__(
        self,
        now: Ns,
        at: Ns,
        ip: bytes,
        mac: bytes,
        asked_ip: bytes,
        asked_mac: bytes,
        frame_src: bytes,
        *,
        is_request: bool,
        is_broadcast: bool,
    ) -> None:
        self.now = now
        self.at = at
        self.ip = ip
        self.mac = mac
        self.asked_ip = asked_ip
        self.asked_mac = asked_mac
        self.frame_src = frame_src
        self.is_request = is_request
        self.is_broadcast = is_broadcast


def from_arp(event: ArpSeen) -> Seen | None:
    """What an ARP packet says; None for operations other than request and reply (RARP, InARP)."""
    packet = event.packet
    if packet.operation not in (arp.REQUEST, arp.REPLY):
        return None
    return Seen(
        event.now,
        event.at,
        packet.sender_ip,
        packet.sender_mac,
        packet.target_ip,
        packet.target_mac,
        event.frame_src,
        is_request=packet.operation == arp.REQUEST,
        is_broadcast=event.broadcast,
    )


def from_nd(event: NdSeen) -> Seen:
    """What a neighbour solicitation or advertisement says; without a link address option the frame's source counts."""
    is_request = event.type == icmp6.NEIGHBOR_SOLICITATION
    receiver = UNSPECIFIED6 if is_multicast(event.dst) else event.dst
    return Seen(
        event.now,
        event.at,
        event.src if is_request else event.target,
        event.mac or event.frame_src,
        event.target if is_request else receiver,
        b"",
        event.frame_src,
        is_request=is_request,
        is_broadcast=event.multicast,
    )


def question(port: Port, us: Station, target: bytes, mac: bytes = b"", target_mac: bytes | None = None) -> bytes:
    """The frame that asks who has `target`: to everybody, or to `mac` alone.

    `target_mac` overrides ARP's target hardware address, which is otherwise the frame's destination.
    """
    if len(target) == 4:
        dst = mac or BROADCAST_MAC
        packet = arp.encode(arp.REQUEST, us.mac, us.ip, dst if target_mac is None else target_mac, target)
        return ethernet.encode(dst, us.mac, ethernet.ETHERTYPE_ARP, port.vlans) + packet
    to = target if mac else solicited_node(target)
    # A solicitation from the unspecified address has no link address option (RFC 4861 4.3).
    options = icmp6.NdOptions(source_mac=us.mac if any(us.ip) else None)
    message = icmp6.NeighborSolicitation(target, options).encode(us.ip, to)
    return _ipv6_frame(port, us, mac or multicast_mac(to), to, message)


def announcement(port: Port, us: Station, target: bytes, *, as_reply: bool, target_mac: bytes | None = None) -> bytes:
    """The frame that tells everybody where we are.

    For IPv4 a request (-U) or a reply (-A) about `target` from us, for IPv6 an unsolicited advertisement of our
    address with Override set (RFC 4861 7.2.6).
    """
    if len(target) == 4:
        operation, default_mac = (arp.REPLY, us.mac) if as_reply else (arp.REQUEST, BROADCAST_MAC)
        packet = arp.encode(operation, us.mac, us.ip, default_mac if target_mac is None else target_mac, target)
        return ethernet.encode(BROADCAST_MAC, us.mac, ethernet.ETHERTYPE_ARP, port.vlans) + packet
    options = icmp6.NdOptions(target_mac=us.mac)
    advertisement = icmp6.NeighborAdvertisement(us.ip, options, router=False, solicited=False, override=True)
    return _ipv6_frame(port, us, multicast_mac(ALL_NODES), ALL_NODES, advertisement.encode(us.ip, ALL_NODES))


def _ipv6_frame(port: Port, us: Station, dst_mac: bytes, dst: bytes, message: bytes) -> bytes:
    header = ipv6.encode(us.ip, dst, ipv6.PROTO_ICMPV6, len(message), hop_limit=_ND_HOP_LIMIT)
    return ethernet.encode(dst_mac, us.mac, ethernet.ETHERTYPE_IPV6, port.vlans) + header + message


def unspecified(target: bytes) -> bytes:
    """The unspecified address of `target`'s family."""
    return UNSPECIFIED4 if len(target) == 4 else UNSPECIFIED6


def target_text(target: bytes) -> str:
    """A target, an IP address or a MAC, as text."""
    return format_mac(target) if len(target) == 6 else format_ip(target)
