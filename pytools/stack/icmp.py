"""ICMP in both families: echo, timestamps, and errors led back to the packet that caused them.

RFC 792, RFC 1122 3.2.2, RFC 1191, RFC 4443, RFC 8201.
"""

from collections.abc import Callable
from typing import Final

from pytools.engine import CHECKSUM_UNKNOWN, Transmit
from pytools.errors import DecodeError
from pytools.stack.destinations import Destinations, plateau_below
from pytools.stack.events import EchoReply, IcmpError
from pytools.stack.ip_output import IpOutput
from pytools.stack.node import Node
from pytools.stack.packet import UNICAST, IpOptions, Packet
from pytools.trace.drop import DropReason
from pytools.trace.events import EchoAnswered, IcmpErrorReceived
from pytools.units import MS, SECOND, Ns
from pytools.wire import icmp, icmp6, ipv4, ipv4_options, ipv6, quoted
from pytools.wire.addr import format_ip
from pytools.wire.icmp import IcmpMessage
from pytools.wire.quoted import Quoted

_DAY: Final = 86_400 * SECOND
_TIMESTAMP_LENGTH: Final = 20
_SETTINGS_LIMIT: Final = 64

OnError = Callable[[IcmpError, Ns], str | None]
OnMessage = Callable[[Packet, IcmpMessage, Ns], str | None]


class Icmp:
    """ICMP of one stack. `messages6` are the ICMPv6 types that others take: neighbour discovery, MLD."""

    __slots__ = (
        "_destinations",
        "_idents",
        "_node",
        "_output",
        "_reply_settings",
        "messages6",
        "on_error",
        "on_redirect",
    )

    def __init__(self, node: Node, output: IpOutput, destinations: Destinations) -> None:
        self._node = node
        self._output = output
        self._destinations = destinations
        self._idents: set[int] = set()
        self._reply_settings: dict[tuple[bytes | None, int], IpOptions] = {}
        self.on_error: dict[int, OnError] = {}
        """By protocol of the quoted packet: whose errors these are."""
        self.on_redirect: Callable[[bytes, bytes, Packet, Ns], str | None] = _no_redirects
        """Takes (destination, gateway, packet, now) of an IPv4 Redirect."""
        self.messages6: dict[int, OnMessage] = {}

    def open_echo(self, ident: int) -> None:
        """Replies and errors for this identifier become events."""
        self._idents.add(ident)

    def close_echo(self, ident: int) -> None:
        """They no longer do."""
        self._idents.discard(ident)

    # --- input --------------------------------------------------------------------------------------------------------

    def on_packet4(self, packet: Packet, now: Ns) -> str | None:
        """Take an ICMP message."""
        data, offset, end = packet.data, packet.offset, packet.end
        if end - offset < 8:
            return DropReason.ICMP_HEADER
        message = icmp.decode(data, offset, end)
        ok = packet.meta.checksum != CHECKSUM_UNKNOWN or icmp.checksum_ok(data, offset, end)
        type_ = message.type
        if type_ == icmp.ECHO_REPLY:
            return self._on_echo_reply(packet, message, ok, now)
        if not ok:
            return DropReason.ICMP_CSUM
        if type_ == icmp.ECHO:
            return self._on_echo4(packet, message, now)
        if type_ in icmp.ERRORS:
            return self._on_error(packet, message, icmp.quote_end(message, end), now)
        if type_ == icmp.TIMESTAMP:
            return self._on_timestamp(packet, message, now)
        return DropReason.NOT_OUR_FLOW if packet.shared else DropReason.ICMP_TYPE

    def on_packet6(self, packet: Packet, now: Ns) -> str | None:
        """Take an ICMPv6 message."""
        data, offset, end = packet.data, packet.offset, packet.end
        if end - offset < 8:
            return DropReason.ICMP_HEADER
        message = icmp.decode(data, offset, end)
        ok = packet.meta.checksum != CHECKSUM_UNKNOWN or icmp6.checksum_ok(data, offset, end, packet.src, packet.dst)
        type_ = message.type
        if type_ == icmp6.ECHO_REPLY:
            return self._on_echo_reply(packet, message, ok, now)
        if not ok:
            return DropReason.ICMP_CSUM
        if type_ == icmp6.ECHO:
            return self._on_echo6(packet, message, now)
        if icmp6.is_error(type_):
            return self._on_error(packet, message, icmp6.quote_end(message, end), now)
        taker = self.messages6.get(type_)
        if taker is not None:
            return taker(packet, message, now)
        return DropReason.NOT_OUR_FLOW if packet.shared else DropReason.ICMP_TYPE

    def _on_echo_reply(self, packet: Packet, message: IcmpMessage, ok: bool, now: Ns) -> str | None:
        """A reply for one of our users; a damaged one is told as such, and counted."""
        if message.ident not in self._idents:
            if not ok:
                return DropReason.ICMP_CSUM
            return DropReason.NOT_OUR_FLOW if packet.shared else DropReason.NO_SOCKET
        events = self._node.events
        if len(events) >= self._node.config.event_limit:
            return DropReason.SOCKET_RCVBUFF
        events.append(
            EchoReply(
                now,
                packet.at,
                packet.src,
                packet.dst,
                packet.ttl,
                packet.tos,
                message.ident,
                message.seq,
                bytes(packet.data[packet.offset + 8 : packet.end]),
                packet.options,
                ok,
                packet.end - packet.offset,
                packet.iface.index,
            )
        )
        return None if ok else DropReason.ICMP_CSUM

    # --- what we answer -----------------------------------------------------------------------------------------------

    def _on_echo4(self, packet: Packet, message: IcmpMessage, now: Ns) -> str | None:
        """Echo: same identifier, sequence number and data, from the address that was asked (RFC 1122 3.2.2.6)."""
        config = self._node.config
        if packet.shared:
            return DropReason.NOT_OUR_FLOW
        if not config.answer_echo:
            return DropReason.ICMP_TYPE
        if (packet.kind != UNICAST or not packet.link_unicast) and not config.answer_broadcast_echo:
            return DropReason.ICMP_BROADCAST
        payload = bytes(packet.data[packet.offset + 8 : packet.end])
        answer = icmp.encode(icmp.ECHO_REPLY, message.code, message.word, payload)
        return self._answer4(packet, message, answer, now)

    def _on_timestamp(self, packet: Packet, message: IcmpMessage, now: Ns) -> str | None:
        """Timestamp (RFC 1122 3.2.2.8): milliseconds since midnight UT."""
        if packet.shared:
            return DropReason.NOT_OUR_FLOW
        if packet.end - packet.offset < _TIMESTAMP_LENGTH:
            return DropReason.ICMP_HEADER
        if packet.kind != UNICAST or not packet.link_unicast:
            return DropReason.ICMP_BROADCAST
        if not self._node.config.answer_timestamp:
            return DropReason.ICMP_TYPE
        stamp = self.milliseconds(now).to_bytes(4, "big")
        originate = bytes(packet.data[packet.offset + 8 : packet.offset + 12])
        answer = icmp.encode(icmp.TIMESTAMP_REPLY, 0, message.word, originate, stamp, stamp)
        return self._answer4(packet, message, answer, now)

    def _answer4(self, packet: Packet, message: IcmpMessage, answer: bytes, now: Ns) -> str | None:
        """Send a reply with the options of the request: routes recorded, times stamped, source routes reversed."""
        src = packet.dst if packet.kind == UNICAST else packet.iface.source_for(packet.src)
        dst, options = packet.src, b""
        if packet.options and src is not None:
            try:
                options, dst = self._reflected(packet, src, now)
            except ipv4_options.OptionError as problem:
                # A pointer between two entries leaves a rest that holds no address: as Linux, no reply.
                self._node.detail = str(problem)
                return DropReason.IP_OPTION
        settings = self._settings(src, packet.tos, options)
        self._output.send(ipv4.PROTO_ICMP, dst, (answer,), now, settings)
        self._trace_answer(packet, message, now)
        return None

    def _settings(self, src: bytes | None, tos: int, options: bytes) -> IpOptions:
        """What a reply is sent with; the same object for the same, since the way out remembers by it."""
        if options:
            return IpOptions(src=src, tos=tos, df="dont", options=options)
        settings = self._reply_settings.get((src, tos))
        if settings is None:
            if len(self._reply_settings) >= _SETTINGS_LIMIT:
                self._reply_settings.clear()
            settings = self._reply_settings[src, tos] = IpOptions(src=src, tos=tos, df="dont")
        return settings

    def _reflected(self, packet: Packet, src: bytes, now: Ns) -> tuple[bytes, bytes]:
        """Options and destination of a reply: we enter ourselves as we receive and as we reply, as Linux does.

        `ip_input` saw to it that they can be read and don't overflow. OptionError: they can't any more once we are in.
        """
        milliseconds = self.milliseconds(now)
        received = ipv4_options.record(packet.options, src, milliseconds)
        options, dst = ipv4_options.reply(received, packet.src)
        return ipv4_options.record(options, src, milliseconds, count_overflow=False), dst

    def _on_echo6(self, packet: Packet, message: IcmpMessage, now: Ns) -> str | None:
        """Echo (RFC 4443 4.1, 4.2); one to a group is answered from an address of the port."""
        config = self._node.config
        if packet.shared:
            return DropReason.NOT_OUR_FLOW
        if not config.answer_echo:
            return DropReason.ICMP_TYPE
        src: bytes | None = packet.dst
        if packet.kind != UNICAST:
            src = packet.iface.source_for(packet.src)
            if not config.answer_multicast_echo6 or src is None:
                return DropReason.ICMP_BROADCAST
        if (zone := _zone(packet)) is None:
            options = self._settings(src, packet.tos, b"")
        else:
            options = IpOptions(src=src, tos=packet.tos, port=zone)
        payload = bytes(packet.data[packet.offset + 8 : packet.end])
        answer = icmp6.encode(src or b"", packet.src, icmp6.ECHO_REPLY, message.code, message.word, payload)
        self._output.send(ipv6.PROTO_ICMPV6, packet.src, (answer,), now, options)
        self._trace_answer(packet, message, now)
        return None

    def _trace_answer(self, packet: Packet, message: IcmpMessage, now: Ns) -> None:
        if (emit := self._node.trace.icmp) is not None:
            emit(EchoAnswered(now, packet.src, message.ident, message.seq, packet.end - packet.offset))

    def milliseconds(self, now: Ns) -> int:
        """Since midnight UT, as ICMP and the IP timestamp option count."""
        return (self._node.epoch_ns + now) % _DAY // MS

    # --- errors about our packets -------------------------------------------------------------------------------------

    def _on_error(self, packet: Packet, message: IcmpMessage, quote_end: int, now: Ns) -> str | None:
        """Find the user whose packet is quoted; believe what the message says about the path if there is one."""
        try:
            about = quoted.decode(packet.data, message.body_offset, quote_end)
        except DecodeError as problem:
            self._node.detail = str(problem)
            return DropReason.ICMP_QUOTE
        if about.family != packet.family or about.src not in self._node.own:
            self._node.detail = "quotes a packet that we didn't send"
            return DropReason.ICMP_QUOTE
        error = IcmpError(
            now,
            packet.at,
            packet.src,
            packet.family,
            message.type,
            message.code,
            _info(packet.family, message),
            about,
            icmp.gateway(message) if packet.family == 4 and message.type == icmp.REDIRECT else b"",
            packet.ttl,
            packet.end - packet.offset,
        )
        reason = self.deliver_error(error, now)
        if error.gateway and (reason is None or not packet.shared):
            return self.on_redirect(about.dst, error.gateway, packet, now)
        if reason is None:
            self._lower_path_mtu(error, now)
        elif packet.shared:
            return DropReason.NOT_OUR_FLOW
        return reason

    def deliver_error(self, error: IcmpError, now: Ns) -> str | None:
        """Give an error to the user of the quoted packet; a DropReason if there is none."""
        about = error.quoted
        if about.icmp_type in (icmp.ECHO, icmp6.ECHO) and about.icmp_ident in self._idents:
            if len(self._node.events) >= self._node.config.event_limit:
                return DropReason.SOCKET_RCVBUFF
            self._node.events.append(error)
            reason = None
        else:
            taker = self.on_error.get(about.protocol)
            reason = taker(error, now) if taker is not None else DropReason.NO_SOCKET
        if reason is None and (emit := self._node.trace.icmp) is not None:
            emit(IcmpErrorReceived(now, error.family, error.src, error.type, error.code, error.info, _about(about)))
        return reason

    def on_undeliverable(self, packet: Transmit, now: Ns) -> str | None:
        """A packet of ours found no neighbour: "Destination Host Unreachable", from ourselves, as Linux has it."""
        octets = b"".join(packet.parts)
        about = quoted.decode(octets, 0, len(octets))
        if about.family == 4:
            type_, code = icmp.UNREACHABLE, icmp.HOST_UNREACHABLE
        else:
            type_, code = icmp6.UNREACHABLE, icmp6.ADDRESS_UNREACHABLE
        return self.deliver_error(IcmpError(now, now, about.src, about.family, type_, code, 0, about), now)

    def _lower_path_mtu(self, error: IcmpError, now: Ns) -> None:
        """Datagram Too Big (RFC 1191 3, RFC 8201 4)."""
        about, config = error.quoted, self._node.config
        if error.family == 4:
            if (error.type, error.code) != (icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED):
                return
            mtu = max(error.info or plateau_below(about.total_length), config.path_mtu_floor4)
        else:
            # Below 1280 is no MTU of IPv6: ignored, or anybody could make us send atomic fragments (RFC 8201 4, 8021).
            if error.type != icmp6.PACKET_TOO_BIG or error.info < ipv6.MIN_MTU:
                return
            mtu = error.info
        path = self._output.path(about.dst, now)
        if not isinstance(path, int) and mtu < path.mtu:
            self._destinations.too_big(about.dst, mtu, error.src, now)


def _zone(packet: Packet) -> int | None:
    """The port that an answer must leave by: a link-local address is good for one link only (RFC 4007)."""
    return packet.iface.index if packet.src[:1] == b"\xfe" and packet.src[1] & 0xC0 == 0x80 else None


def _info(family: int, message: IcmpMessage) -> int:
    """MTU, pointer or gateway: what the second word of an error means."""
    if family == 6:
        return message.word
    if message.type == icmp.UNREACHABLE:
        return icmp.next_hop_mtu(message) if message.code == icmp.FRAGMENTATION_NEEDED else 0
    if message.type == icmp.PARAMETER_PROBLEM:
        return icmp.pointer(message)
    return message.word if message.type == icmp.REDIRECT else 0


def _about(about: Quoted) -> str:
    """The quoted packet in a few words."""
    dst = format_ip(about.dst)
    if about.icmp_seq is not None:
        return f"echo id {about.icmp_ident} seq {about.icmp_seq} to {dst}"
    if about.destination_port is not None:
        return f"port {about.source_port} to {dst} port {about.destination_port}"
    return f"protocol {about.protocol} to {dst}"


def _no_redirects(_dst: bytes, _gateway: bytes, _packet: Packet, _now: Ns) -> str | None:
    return DropReason.ICMP_REDIRECT
