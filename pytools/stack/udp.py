"""UDP (RFC 768, RFC 1122 4.1, RFC 8200 8.1): endpoints, services, and "port unreachable" for the rest."""

import errno
from collections.abc import Callable
from typing import Final

from pytools.engine import CHECKSUM_UNKNOWN
from pytools.errors import DecodeError, LocalProtocolError
from pytools.stack.events import IcmpError, UdpReceived
from pytools.stack.icmp_errors import IcmpErrors
from pytools.stack.ip_output import IpOutput
from pytools.stack.node import Node
from pytools.stack.packet import DEFAULT_OPTIONS, UNICAST, IpOptions, Packet
from pytools.trace.drop import DropReason
from pytools.units import Ns
from pytools.wire import icmp, icmp6, udp

FIRST_EPHEMERAL: Final = 49152
"""RFC 6335 6: the dynamic ports."""

Service = Callable[[UdpReceived], bytes | None]
"""Takes a datagram, gives the payload of the answer or None."""


class Udp:
    """The endpoints of one stack, one for each local port."""

    __slots__ = ("_endpoints", "_errors", "_node", "_output")

    def __init__(self, node: Node, output: IpOutput, errors: IcmpErrors) -> None:
        self._node = node
        self._output = output
        self._errors = errors
        self._endpoints: dict[int, Service | None] = {}

    def open(self, port: int = 0, service: Service | None = None) -> int:
        """Take datagrams for a local port (0: the stack chooses a free one); returns the port.

        With a `service` each datagram is answered by it, without an event. LocalProtocolError: the port is taken.
        """
        if not port:
            port = self._free_port()
        elif port in self._endpoints:
            raise LocalProtocolError(f"UDP port {port} is in use")
        self._endpoints[port] = service
        return port

    def close(self, port: int) -> None:
        """Give a port back."""
        self._endpoints.pop(port, None)

    def _free_port(self) -> int:
        """An unpredictable one (RFC 6056 3.3.1)."""
        span = 65536 - FIRST_EPHEMERAL
        first = self._node.rng.randrange(span)
        for step in range(span):
            port = FIRST_EPHEMERAL + (first + step) % span
            if port not in self._endpoints:
                return port
        raise LocalProtocolError("every ephemeral UDP port is in use")

    def send(
        self,
        port: int,
        dst: bytes,
        dst_port: int,
        payload: bytes,
        now: Ns,
        options: IpOptions = DEFAULT_OPTIONS,
        token: object = None,
    ) -> int:
        """Send a datagram from a local port; 0 or an errno."""
        if len(payload) > 65535 - 8:
            return errno.EMSGSIZE
        path = self._output.path(dst, now, options)
        if isinstance(path, int):
            return path
        datagram = udp.encode(path.src, dst, port, dst_port, payload)
        return self._output.send_on(path, udp.PROTOCOL, dst, (datagram,), now, options, token)

    def on_packet(self, packet: Packet, now: Ns) -> str | None:
        """Take a datagram."""
        data, offset = packet.data, packet.offset
        try:
            header = udp.decode(data, offset, packet.end)
        except DecodeError as problem:
            self._node.detail = str(problem)
            return DropReason.UDP_HEADER
        unknown = packet.meta.checksum == CHECKSUM_UNKNOWN
        if unknown and not udp.checksum_ok(data, offset, header, packet.src, packet.dst):
            return DropReason.UDP_CSUM
        port = header.destination_port
        if port not in self._endpoints:
            return self._nobody(packet, now)
        if len(self._node.events) >= self._node.config.event_limit:
            return DropReason.SOCKET_RCVBUFF
        event = UdpReceived(
            now,
            packet.at,
            packet.iface.index,
            packet.src,
            header.source_port,
            packet.dst,
            port,
            packet.ttl,
            packet.tos,
            bytes(data[offset + 8 : offset + header.length]),
        )
        service = self._endpoints[port]
        if service is None:
            self._node.events.append(event)
        elif packet.kind == UNICAST and (answer := service(event)) is not None:
            self._answer(packet, event, answer, now)
        return None

    def _answer(self, packet: Packet, event: UdpReceived, payload: bytes, now: Ns) -> None:
        zone = packet.iface.index if packet.src[:2] == b"\xfe\x80" else None
        self.send(
            event.dst_port, event.src, event.src_port, payload, now, IpOptions(src=packet.dst, df="dont", port=zone)
        )

    def _nobody(self, packet: Packet, now: Ns) -> str:
        """RFC 1122 4.1.3.1; the rules about broadcasts are the errors' own."""
        if packet.shared:
            return DropReason.NOT_OUR_FLOW
        if packet.family == 4:
            self._errors.report(packet, icmp.UNREACHABLE, icmp.PORT_UNREACHABLE, now)
        else:
            self._errors.report(packet, icmp6.UNREACHABLE, icmp6.PORT_UNREACHABLE, now)
        return DropReason.NO_SOCKET

    def on_error(self, error: IcmpError, now: Ns) -> str | None:
        """An ICMP error goes to whoever sent the datagram (RFC 1122 4.1.3.3)."""
        port = error.quoted.source_port
        if port is None or port not in self._endpoints:
            return DropReason.NO_SOCKET
        if len(self._node.events) >= self._node.config.event_limit:
            return DropReason.SOCKET_RCVBUFF
        self._node.events.append(error)
        return None


def echo(event: UdpReceived) -> bytes | None:
    """The echo service (RFC 862); not for another service's port, or two of them would talk for ever."""
    return event.payload if event.src_port >= 1024 else None


def discard(_event: UdpReceived) -> bytes | None:
    """The discard service (RFC 863)."""
    return None


_RING: Final = bytes(range(0x20, 0x7F))


def chargen(event: UdpReceived) -> bytes | None:
    """The character generator (RFC 864): one line of 72, beginning at the length of what came."""
    first = len(event.payload) % len(_RING)
    return (_RING * 2)[first : first + 72] + b"\r\n" if event.src_port >= 1024 else None


SERVICES: Final[dict[int, Service]] = {7: echo, 9: discard, 19: chargen}
"""What a host of the simulated network or the lab offers."""
