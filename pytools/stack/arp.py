"""ARP for IPv4 (RFC 826, RFC 1122 2.3.2, RFC 5227): who has an address, and what we answer."""

from pytools.engine import RxMeta, Transmit
from pytools.errors import DecodeError
from pytools.stack.addresses import Addresses
from pytools.stack.conflicts import Conflicts
from pytools.stack.events import ArpSeen
from pytools.stack.interfaces import TENTATIVE, Address, Interface, Neighbor
from pytools.stack.neighbors import Neighbors
from pytools.stack.node import Node
from pytools.trace.drop import DropReason
from pytools.units import Ns
from pytools.wire import arp, ethernet
from pytools.wire.addr import UNSPECIFIED4, is_loopback

_NO_MAC = bytes(6)


class Arp:
    """ARP on all Ethernet ports."""

    __slots__ = ("_neighbors", "_node", "conflicts")

    def __init__(self, node: Node, neighbors: Neighbors, addresses: Addresses) -> None:
        self._node = node
        self._neighbors = neighbors
        self.conflicts = Conflicts(node, addresses, self.broadcast_request)
        neighbors.solicit[4] = self._solicit
        addresses.start[4] = self.conflicts.start

    # --- output -------------------------------------------------------------------------------------------------------

    def broadcast_request(self, iface: Interface, sender_ip: bytes, target_ip: bytes, now: Ns) -> None:
        """Ask everybody for `target_ip`; with sender 0.0.0.0 a probe, with sender = target an announcement."""
        self._node.transmit(Transmit(iface.index, (self._request_head(iface, sender_ip), target_ip)), now)

    def _request_head(self, iface: Interface, sender_ip: bytes) -> bytes:
        """All of a broadcast request before its last field, so that a sweep doesn't encode it 65,000 times."""
        head = iface.arp_headers.get(sender_ip)
        if head is None:
            request = arp.encode(arp.REQUEST, iface.mac, sender_ip, _NO_MAC, UNSPECIFIED4)
            head = iface.link_header(ethernet.BROADCAST, ethernet.ETHERTYPE_ARP) + request[:24]
            iface.arp_headers[sender_ip] = head
        return head

    def _solicit(self, neighbor: Neighbor, source: bytes | None, now: Ns) -> None:
        """Ask for a neighbour: all if its MAC is unknown (RFC 826), else itself (RFC 1122 2.3.2.1, unicast poll)."""
        iface = neighbor.iface
        if source not in iface.addresses:
            source = iface.source_for(neighbor.address)
        if source is None:
            # No address of our own on this port: a probe's form, so that nobody learns a wrong one.
            source = UNSPECIFIED4
        if neighbor.mac:
            self._send(iface, neighbor.mac, arp.REQUEST, source, _NO_MAC, neighbor.address, now)
        else:
            self.broadcast_request(iface, source, neighbor.address, now)

    def _send(
        self,
        iface: Interface,
        dst: bytes,
        operation: int,
        sender_ip: bytes,
        target_mac: bytes,
        target_ip: bytes,
        now: Ns,
    ) -> None:
        header = iface.link_header(dst, ethernet.ETHERTYPE_ARP)
        packet = arp.encode(operation, iface.mac, sender_ip, target_mac, target_ip)
        self._node.transmit(Transmit(iface.index, (header + packet,)), now)

    # --- input --------------------------------------------------------------------------------------------------------

    def on_packet(
        self, data: memoryview, offset: int, iface: Interface, link_dst: bytes, link_src: bytes, meta: RxMeta, now: Ns
    ) -> str | None:
        """Packet reception of RFC 826: merge, then are we the target, and only then the opcode."""
        try:
            packet = arp.decode(data, offset)
        except DecodeError as error:
            self._node.detail = str(error)
            return DropReason.ARP_HEADER
        if iface.watch:
            at = now if meta.at is None else meta.at
            broadcast = link_dst[0] & 1 != 0
            self._node.tell(ArpSeen(now, at, iface.index, link_src, packet, broadcast))
        sender_ip, sender_mac = packet.sender_ip, packet.sender_mac
        if sender_mac == iface.mac:
            return DropReason.OWN_FRAME
        if sender_mac[0] & 1 or sender_mac == _NO_MAC or not _can_be_a_host(sender_ip, iface):
            return DropReason.ARP_SENDER
        if self.conflicts.on_arp(iface, sender_ip, packet.target_ip, sender_mac, now):
            return None
        merged = self._merge(packet, iface, link_dst, now)
        target = iface.addresses.get(packet.target_ip)
        if target is None or target.state == TENTATIVE:
            reason = None if merged else DropReason.ARP_NOT_FOR_US
        else:
            reason = self._for_us(packet, target, iface, merged, now)
        return None if iface.watch else reason  # who watches the port has taken it

    def _merge(self, packet: arp.ArpPacket, iface: Interface, link_dst: bytes, now: Ns) -> bool:
        """The merge flag: what is in the table is brought up to date, request or reply alike."""
        neighbor = iface.neighbors.get(packet.sender_ip)
        if neighbor is None:
            return False
        answered = packet.operation == arp.REPLY and not link_dst[0] & 1 and packet.target_ip in iface.addresses
        if answered and neighbor.mac in (b"", packet.sender_mac):
            self._neighbors.confirm(neighbor, packet.sender_mac, now, "reply")
        else:
            why = "request" if packet.operation == arp.REQUEST else "reply"
            self._neighbors.learn(iface, packet.sender_ip, packet.sender_mac, now, why)
        return True

    def _for_us(self, packet: arp.ArpPacket, target: Address, iface: Interface, merged: bool, now: Ns) -> str | None:
        if target.shared:
            # The kernel answers.
            return None if merged else DropReason.NOT_OUR_FLOW
        if packet.operation != arp.REQUEST:
            # An unsolicited reply makes no new entry, and is never answered.
            return None if merged else DropReason.ARP_NOT_FOR_US
        if not merged and packet.sender_ip != UNSPECIFIED4:
            self._neighbors.learn(iface, packet.sender_ip, packet.sender_mac, now, "request")
        # Unicast, also to a probe (RFC 5227 2.6).
        self._send(iface, packet.sender_mac, arp.REPLY, target.address, packet.sender_mac, packet.sender_ip, now)
        return None


def _can_be_a_host(address: bytes, iface: Interface) -> bool:
    """Whether a sender address makes sense: a host's, or 0.0.0.0 in a probe."""
    if address == UNSPECIFIED4:
        return True
    return 0 < address[0] < 224 and not is_loopback(address) and address not in iface.broadcasts
