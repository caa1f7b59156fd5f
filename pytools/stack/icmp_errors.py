"""ICMP errors that we send, and the rules for when not to (RFC 1122 3.2.2, RFC 1812 4.3.2, RFC 4443 2.4)."""

from typing import Final

from pytools.engine import CHECKSUM_PARTIAL, RAW_IP
from pytools.stack.interfaces import Interface
from pytools.stack.ip_output import IpOutput
from pytools.stack.node import Node
from pytools.stack.packet import UNICAST, IpOptions, Packet
from pytools.trace.events import IcmpErrorSent, IcmpErrorSuppressed
from pytools.units import SECOND, Ns
from pytools.wire import icmp, icmp6, ipv4, ipv6
from pytools.wire.addr import is_loopback, is_multicast, is_unspecified
from pytools.wire.gso import complete_received

QUOTE4: Final = 576
"""RFC 1812 4.3.2.3: as much of the packet as fits into an error of 576 octets."""

_FRAGMENT_OFFSET: Final = 0x1FFF


class TokenBucket:
    """So many a second, so many at once; time is the engine's, tokens are kept as nanoseconds."""

    __slots__ = ("_full_at",)

    def __init__(self) -> None:
        self._full_at: Ns = 0

    def take(self, now: Ns, rate: int, burst: int) -> bool:
        """Whether one more is allowed; rate 0 is no limit."""
        if not rate:
            return True
        each = SECOND // rate
        full_at = max(self._full_at, now) + each
        if full_at - now > burst * each:
            return False
        self._full_at = full_at
        return True


class IcmpErrors:
    """Says what went wrong with a packet, to its source."""

    __slots__ = ("_buckets", "_node", "_output")

    def __init__(self, node: Node, output: IpOutput) -> None:
        self._node = node
        self._output = output
        self._buckets = {4: TokenBucket(), 6: TokenBucket()}

    def report(self, packet: Packet, type_: int, code: int, now: Ns, info: int = 0, multicast: bool = False) -> None:
        """Send an error about `packet` unless a rule forbids it. `info` is the second word of the message.

        `multicast` allows one about a multicast packet: IPv6 Packet Too Big and some Parameter Problems (RFC 4443 2.4).
        """
        why = self._forbidden(packet, type_, multicast)
        if not why and not self._buckets[packet.family].take(
            now, self._node.config.icmp_error_rate, self._node.config.icmp_error_burst
        ):
            why = "rate limit"
        if why:
            if (emit := self._node.trace.icmp) is not None:
                emit(IcmpErrorSuppressed(now, packet.family, type_, code, why))
            return
        self._send(packet, type_, code, info, now)

    def _forbidden(self, packet: Packet, type_: int, multicast: bool) -> str:
        """Which rule forbids an error about this packet, or ""."""
        if packet.shared:
            return "the kernel owns the address"
        if not multicast and (packet.kind != UNICAST or is_multicast(packet.dst)):
            return "not sent to one host"
        if not multicast and not packet.link_unicast:
            return "link broadcast"
        if not self._is_one_host(packet.src, packet.iface):
            return "source is not one host"
        if packet.family == 4:
            return _forbidden4(packet)
        return _forbidden6(packet)

    def _is_one_host(self, src: bytes, iface: Interface) -> bool:
        """RFC 1122 3.2.2: not zero, loopback, broadcast, multicast or class E."""
        if is_unspecified(src) or is_multicast(src) or (len(src) == 4 and src[0] >= 240):
            return False
        return src not in iface.broadcasts and (iface.loopback or not is_loopback(src))

    def _send(self, packet: Packet, type_: int, code: int, info: int, now: Ns) -> None:
        family = packet.family
        own = packet.iface.addresses.get(packet.dst)
        # From the address that was asked (RFC 1812 4.3.2.4), else from the one that leads back; never by a shared one.
        src = packet.dst if own is not None and packet.kind == UNICAST and not own.shared else None
        port = packet.iface.index if family == 6 and packet.src[:2] == b"\xfe\x80" else None
        if family == 4:
            # RFC 1812 4.3.2.5: precedence 6, internetwork control.
            options = IpOptions(src=src, tos=packet.tos & 0x1E | 0xC0, df="dont", port=port)
        else:
            options = IpOptions(src=src, port=port)
        path = self._output.path(packet.src, now, options)
        if isinstance(path, int):
            return
        quote = bytes(packet.data[packet.start : packet.end])
        if packet.meta.checksum == CHECKSUM_PARTIAL:
            quote = complete_received(quote, RAW_IP)  # as it would have come over a wire
        if family == 4:
            message = icmp.encode(type_, code, info, quote[: QUOTE4 - 28])
        else:
            message = icmp6.encode(path.src, packet.src, type_, code, info, quote[: ipv6.MIN_MTU - 48])
        if (emit := self._node.trace.icmp) is not None:
            emit(IcmpErrorSent(now, family, packet.src, type_, code, _info_value(family, type_, code, info), ""))
        protocol = ipv4.PROTO_ICMP if family == 4 else ipv6.PROTO_ICMPV6
        self._output.send_on(path, protocol, packet.src, (message,), now, options)


def _info_value(family: int, type_: int, code: int, info: int) -> int:
    """The number that a person wants of the second word: an MTU, a pointer, a gateway."""
    if family == 4 and type_ == icmp.PARAMETER_PROBLEM:
        return info >> 24
    return info


def _forbidden4(packet: Packet) -> str:
    data, start = packet.data, packet.start
    if (data[start + 6] << 8 | data[start + 7]) & _FRAGMENT_OFFSET:
        return "not the first fragment"
    if data[start + 9] == ipv4.PROTO_ICMP:
        body = start + ((data[start] & 15) << 2)
        if body >= packet.end or data[body] in icmp.ERRORS:
            return "about an ICMP error"
    return ""


def _forbidden6(packet: Packet) -> str:
    found = ipv6.skip(packet.data, packet.start + 40, packet.data[packet.start + 6], packet.end)
    later_fragment = found.fragment is not None and found.fragment.offset
    # Unlike in IPv4 a later fragment may have an error of its own (RFC 8200 4.5); what it carries nobody can tell.
    if found.protocol == ipv6.PROTO_ICMPV6 and not later_fragment:
        if found.offset >= packet.end:
            return "about an ICMP error"
        type_ = packet.data[found.offset]
        if icmp6.is_error(type_) or type_ == icmp6.REDIRECT:
            return "about an ICMP error"
    return ""
