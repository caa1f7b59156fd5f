"""Redirects: of both families those we receive (RFC 1122 3.2.2.2, RFC 4861 8.3), of IPv6 those we send (8.2)."""

from pytools.errors import DecodeError
from pytools.stack.destinations import Destinations
from pytools.stack.ip_output import IpOutput, Path
from pytools.stack.nd import Nd, check
from pytools.stack.neighbors import Neighbors
from pytools.stack.node import Node
from pytools.stack.packet import UNICAST, IpOptions, Packet
from pytools.trace.drop import DropReason
from pytools.units import Ns
from pytools.wire import ipv6
from pytools.wire.addr import is_link_local, is_multicast
from pytools.wire.icmp import IcmpMessage
from pytools.wire.icmp6 import NdOptions, Redirect


class Redirects:
    """Changes the first hop to one destination, if the message comes from who is the first hop now."""

    __slots__ = ("_destinations", "_nd", "_neighbors", "_node", "_output")

    def __init__(self, node: Node, nd: Nd, neighbors: Neighbors, destinations: Destinations, output: IpOutput) -> None:
        self._node = node
        self._nd = nd
        self._neighbors = neighbors
        self._destinations = destinations
        self._output = output

    def on_redirect4(self, dst: bytes, gateway: bytes, packet: Packet, now: Ns) -> str | None:
        """An IPv4 Redirect: the new gateway must be a neighbour, the sender the present one."""
        iface = packet.iface
        on_link = any(gateway in own.network for own in iface.usable(4))
        if not on_link or gateway in iface.broadcasts or gateway in self._node.own:
            self._node.detail = "the new gateway is no neighbour"
            return DropReason.ICMP_REDIRECT
        return self._accept(dst, gateway, packet, now)

    def on_redirect6(self, packet: Packet, message: IcmpMessage, now: Ns) -> str | None:
        """An IPv6 Redirect (RFC 4861 8.1 and 8.3)."""
        if packet.shared:
            return DropReason.NOT_OUR_FLOW
        if refused := check(packet, message):
            return refused
        try:
            redirect = Redirect.decode(packet.data, packet.offset, packet.end)
        except DecodeError as problem:
            self._node.detail = str(problem)
            return DropReason.IPV6_NDISC_BAD_OPTIONS
        dst, target = redirect.destination, redirect.target
        if not is_link_local(packet.src) or is_multicast(dst) or not (is_link_local(target) or target == dst):
            return DropReason.ICMP_REDIRECT
        refused = self._accept(dst, target, packet, now)
        if refused is None and (mac := redirect.options.target_mac) is not None and not mac[0] & 1:
            neighbor = self._neighbors.learn(packet.iface, target, mac, now, "redirect")
            if neighbor is not None and target != dst:
                neighbor.is_router = True
        return refused

    def send6(self, packet: Packet, path: Path, now: Ns) -> None:
        """Tell a neighbour that it could go straight to `path.next_hop` (RFC 4861 8.2).

        A router is named by its link-local address only, and by ours we speak: without one of them nothing is said.
        """
        iface, target = path.iface, path.next_hop
        ours = next((own.address for own in iface.usable(6) if is_link_local(own.address)), None)
        is_neighbor = any(packet.src in own.network for own in iface.usable(6))
        if ours is None or not is_neighbor or not (is_link_local(target) or target == packet.dst):
            return
        neighbor = iface.neighbors.get(target)
        mac = neighbor.mac if neighbor is not None and neighbor.mac else None
        # Header, message, link address and the option's own 8 octets leave so much of 1280, in units of 8.
        quote = bytes(packet.data[packet.start : packet.end][: ipv6.MIN_MTU - 40 - 40 - 8 - 8])
        options = NdOptions(target_mac=mac, redirected=quote[: len(quote) & ~7])
        message = Redirect(target, packet.dst, options).encode(ours, packet.src)
        self._nd.send(iface, ours, packet.src, message, now)

    def _accept(self, dst: bytes, gateway: bytes, packet: Packet, now: Ns) -> str | None:
        config, iface = self._node.config, packet.iface
        if config.forwarding or not config.accept_redirects:
            self._node.detail = "not accepted here"
            return DropReason.ICMP_REDIRECT
        path = self._output.path(dst, now, IpOptions(port=iface.index if len(dst) == 16 else None))
        if isinstance(path, int) or path.kind != UNICAST or path.iface is not iface or path.next_hop != packet.src:
            self._node.detail = "not from the first hop"
            return DropReason.ICMP_REDIRECT
        self._destinations.redirect(dst, gateway, iface.index, packet.src, now)
        return None
