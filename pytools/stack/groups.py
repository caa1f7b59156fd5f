"""Multicast groups of ours, and reports of them (MLDv2, RFC 3810) so that switches that snoop let them through."""

from typing import Final

from pytools.engine import Transmit
from pytools.stack.interfaces import Interface
from pytools.stack.ip_output import IpOutput
from pytools.stack.node import Node
from pytools.stack.packet import Packet
from pytools.trace.drop import DropReason
from pytools.units import MS, NEVER, Ns
from pytools.wire import icmp6, ipv6
from pytools.wire.addr import ALL_NODES, UNSPECIFIED6, is_link_local
from pytools.wire.icmp import IcmpMessage

ALL_MLD2_ROUTERS: Final = b"\xff\x02" + bytes(13) + b"\x16"
MODE_IS_EXCLUDE: Final = 2
CHANGE_TO_INCLUDE: Final = 3
CHANGE_TO_EXCLUDE: Final = 4

_ROUTER_ALERT: Final = bytes((ipv6.PROTO_ICMPV6, 0, ipv6.OPTION_ROUTER_ALERT, 2, 0, 0, ipv6.OPTION_PADN, 0))


class _Answer:
    """A report that a query asked for; waits a random time (RFC 3810 6.2)."""

    __slots__ = ("due_at", "iface", "queued_at")

    def __init__(self, iface: Interface) -> None:
        self.iface = iface
        self.due_at: Ns = NEVER
        self.queued_at: Ns = NEVER


class Groups:
    """Joins and leaves groups; IPv6 groups are reported if `config.multicast_reports`."""

    __slots__ = ("_answers", "_due", "_node", "_output")

    def __init__(self, node: Node, output: IpOutput) -> None:
        self._node = node
        self._output = output
        self._answers: dict[int, _Answer] = {}
        self._due = self._on_due

    def join(self, iface: Interface, group: bytes, now: Ns) -> None:
        """Take packets to a group."""
        if iface.join(group):
            self.on_change(iface, group, True, now)

    def leave(self, iface: Interface, group: bytes, now: Ns) -> None:
        """Undo a `join`."""
        if iface.leave(group):
            self.on_change(iface, group, False, now)

    def on_change(self, iface: Interface, group: bytes, joined: bool, now: Ns) -> None:
        """A group is new on a port, or nobody there wants it any more."""
        if len(group) == 16 and group != ALL_NODES:
            self._report(iface, [(CHANGE_TO_EXCLUDE if joined else CHANGE_TO_INCLUDE, group)], now)

    def on_query(self, packet: Packet, message: IcmpMessage, now: Ns) -> str | None:
        """A Multicast Listener Query: all groups are reported, whatever it asks for, within its time (RFC 3810 6.2)."""
        iface = packet.iface
        if packet.shared or not self._node.config.multicast_reports or not iface.ethernet:
            return DropReason.NOT_OUR_FLOW if packet.shared else DropReason.ICMP_TYPE
        if packet.ttl != 1 or not is_link_local(packet.src):
            return DropReason.ND_HEADER
        answer = self._answers.setdefault(iface.index, _Answer(iface))
        if answer.due_at == NEVER:
            # The exponential form of RFC 3810 5.1.3 means more than 32 s: no need to be that late.
            wait = self._node.rng.uniform(0, min(message.ident, 32_768) * MS)
            self._node.deadlines.arm(answer, now + round(wait), self._due)
        return None

    def _on_due(self, answer: _Answer, now: Ns) -> None:
        groups = [group for group in answer.iface.groups if len(group) == 16 and group != ALL_NODES]
        if groups:
            self._report(answer.iface, [(MODE_IS_EXCLUDE, group) for group in groups], now)

    def _report(self, iface: Interface, records: list[tuple[int, bytes]], now: Ns) -> None:
        """Send one report from our link-local address, or from :: before there is one (RFC 3810 5.2.13)."""
        if not self._node.config.multicast_reports or not iface.ethernet:
            return
        src = next((own.address for own in iface.usable(6) if is_link_local(own.address)), UNSPECIFIED6)
        body = b"".join(bytes((kind, 0, 0, 0)) + group for kind, group in records[:64])
        message = icmp6.encode(src, ALL_MLD2_ROUTERS, icmp6.MLD2_REPORT, 0, min(len(records), 64), body)
        length = len(_ROUTER_ALERT) + len(message)
        header = ipv6.encode(src, ALL_MLD2_ROUTERS, ipv6.PROTO_HOP_BY_HOP, length, hop_limit=1)
        self._output.send_link(iface, ALL_MLD2_ROUTERS, Transmit(iface.index, (header + _ROUTER_ALERT + message,)), now)
