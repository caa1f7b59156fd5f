"""ICMP datagram sockets dressed as a RAW_IP port: ping without privileges (net.ipv4.ping_group_range, icmp(7)).

The kernel routes, resolves and fragments; it hands over replies to its own identifier without their IP header, and ICMP
errors through the error queue. This link puts IP headers on what comes and takes them off what goes, and turns errors
back into ICMP messages that quote what they are about. Of the replies' headers the identification and DF are unknown.
"""

import _socket
import struct
from collections.abc import Callable, Sequence
from errno import EACCES, EADDRINUSE, EAFNOSUPPORT, EMSGSIZE, EOPNOTSUPP, EPERM, EPROTONOSUPPORT
from typing import Any, Final

from pytools.engine import CHECKSUM_VERIFIED, PACKET_HOST, RAW_IP, Port, RxMeta, Transmit
from pytools.errors import LinkError
from pytools.link import host
from pytools.link.base import OnTransmitted, Sink
from pytools.link.clock import StampClock
from pytools.link.destinations import AF_INET, AF_INET6, Destinations
from pytools.link.host import Interface
from pytools.link.outbox import Outbox
from pytools.link.packet_receiver import set_receive_buffer
from pytools.link.packet_socket import set_send_options
from pytools.units import SECOND, Ns
from pytools.wire import gso, icmp, icmp6, ipv4, ipv6
from pytools.wire.checksum import update

SOCK_DGRAM, SOCK_CLOEXEC = 2, 0o2000000
SOL_SOCKET, SOL_IP, SOL_IPV6 = 1, 0, 41
SO_REUSEADDR, SO_BROADCAST, SO_TIMESTAMPNS = 2, 6, 35
MSG_ERRQUEUE: Final = 0x2000
IP_TOS, IP_TTL, IP_RECVOPTS, IP_RETOPTS, IP_PKTINFO = 1, 2, 6, 7, 8
IP_MTU_DISCOVER, IP_RECVERR, IP_RECVTTL, IP_RECVTOS = 10, 11, 12, 13
IPV6_FLOWINFO, IPV6_MTU_DISCOVER, IPV6_RECVERR = 11, 23, 25
IPV6_RECVPKTINFO, IPV6_PKTINFO, IPV6_RECVHOPLIMIT, IPV6_HOPLIMIT = 49, 50, 51, 52
IPV6_RECVTCLASS, IPV6_TCLASS = 66, 67
ORIGIN_ICMP, ORIGIN_ICMP6 = 2, 3

DISCOVER: Final = {"dont": 0, "want": 1, "do": 2, "probe": 3}
"""Path MTU discovery: the values of IP_MTU_DISCOVER."""
LARGEST: Final = 40 + 65535
"""The port's MTU: the kernel fragments, so the stack need not (and can't)."""
RECEIVE_BUFFER: Final = 1 << 20

_HEADER_ROOM: Final = 60
_ERROR = struct.Struct("=IBBBBII")
_int = struct.Struct("@i")
_timespec = struct.Struct("@ll").unpack_from


class MessageTooLongError(OSError):
    """EMSGSIZE with the `mtu` that counts."""

    def __init__(self, mtu: int) -> None:
        super().__init__(EMSGSIZE, "Message too long")
        self.mtu = mtu


class _Ancillary:
    """What control messages told of a received message."""

    __slots__ = ("dst", "flow", "options", "stamp", "tos", "ttl")

    def __init__(self, messages: list[tuple[int, int, bytes]], dst: bytes) -> None:
        self.dst = dst
        self.ttl, self.tos, self.flow, self.options = 64, 0, 0, b""
        self.stamp: Ns | None = None
        for level, kind, data in messages:
            if level == SOL_SOCKET and kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = _timespec(data)
                self.stamp = seconds * SECOND + nanoseconds
            elif level == SOL_IP:
                self._take4(kind, data)
            elif level == SOL_IPV6:
                self._take6(kind, data)

    def _take4(self, kind: int, data: bytes) -> None:
        if kind == IP_TTL:
            (self.ttl,) = _int.unpack(data)
        elif kind == IP_TOS:
            self.tos = data[0]
        elif kind == IP_PKTINFO:
            self.dst = data[8:12]
        elif kind == IP_RECVOPTS:
            self.options = data

    def _take6(self, kind: int, data: bytes) -> None:
        if kind == IPV6_HOPLIMIT:
            (self.ttl,) = _int.unpack(data)
        elif kind == IPV6_TCLASS:
            (self.tos,) = _int.unpack(data)
        elif kind == IPV6_PKTINFO:
            self.dst = data[:16]
        elif kind == IPV6_FLOWINFO:
            self.flow = int.from_bytes(data, "big") & 0xFFFFF


class _Socket4:
    """The IPv4 half."""

    family, protocol, unspecified = AF_INET, 1, "0.0.0.0"
    options = (
        (SOL_IP, IP_RECVERR),
        (SOL_IP, IP_RECVTTL),
        (SOL_IP, IP_RECVTOS),
        (SOL_IP, IP_RECVOPTS),
        (SOL_IP, IP_PKTINFO),
    )
    discover_option = (SOL_IP, IP_MTU_DISCOVER)
    error_message = (SOL_IP, IP_RECVERR, 20, 24)

    @staticmethod
    def undress(packet: bytes, oif: int) -> tuple[bytes, bytes, bytes, bool, list[tuple[int, int, bytes]]]:
        """(source, destination, ICMP message, DF, control messages). OSError: no whole echo request."""
        length = (packet[0] & 15) * 4
        fragment = packet[6] << 8 | packet[7]
        if packet[9] != 1 or fragment & 0x3FFF or packet[length] != icmp.ECHO:
            raise OSError(EOPNOTSUPP, "an ICMP socket sends echo requests only")
        src = packet[12:16]
        control = [
            (SOL_IP, IP_TTL, _int.pack(packet[8])),
            (SOL_IP, IP_TOS, _int.pack(packet[1])),
            (SOL_IP, IP_PKTINFO, struct.pack("@i4s4s", oif, src, bytes(4))),
        ]
        if length > 20:
            control.append((SOL_IP, IP_RETOPTS, packet[20:length]))
        return src, packet[16:20], packet[length:], bool(fragment & 0x4000), control

    @staticmethod
    def header(src: bytes, told: _Ancillary, length: int) -> bytes:
        """An IPv4 header as it may have been."""
        return ipv4.encode(src, told.dst, 1, length, tos=told.tos, ttl=told.ttl, options=told.options)

    @staticmethod
    def error(src: bytes, told: _Ancillary, about: tuple[int, int, int], quote: bytes) -> bytes:
        """The ICMP error (type, code, info); `quote` is the packet it is about."""
        kind, code, info = about
        word = info << 24 if kind == icmp.PARAMETER_PROBLEM else info
        message = icmp.encode(kind, code, word, quote)
        return ipv4.encode(src, told.dst, 1, len(message), tos=told.tos, ttl=told.ttl) + message

    @staticmethod
    def quote(src: bytes, dst: bytes, message: bytes) -> bytes:
        """The packet that we sent, as an error quotes it."""
        return ipv4.encode(src, dst, 1, len(message)) + message


class _Socket6:
    """The IPv6 half."""

    family, protocol, unspecified = AF_INET6, 58, "::"
    options = tuple(
        (SOL_IPV6, option)
        for option in (IPV6_RECVERR, IPV6_RECVHOPLIMIT, IPV6_RECVTCLASS, IPV6_RECVPKTINFO, IPV6_FLOWINFO)
    )
    discover_option = (SOL_IPV6, IPV6_MTU_DISCOVER)
    error_message = (SOL_IPV6, IPV6_RECVERR, 24, 40)

    @staticmethod
    def undress(packet: bytes, oif: int) -> tuple[bytes, bytes, bytes, bool, list[tuple[int, int, bytes]]]:
        """As for IPv4; extension headers can't be sent."""
        if packet[6] != 58 or packet[40] != icmp6.ECHO:
            raise OSError(EOPNOTSUPP, "an ICMP socket sends echo requests only")
        word = int.from_bytes(packet[:4], "big")
        src = packet[8:24]
        control = [
            (SOL_IPV6, IPV6_HOPLIMIT, _int.pack(packet[7])),
            (SOL_IPV6, IPV6_TCLASS, _int.pack(word >> 20 & 0xFF)),
            (SOL_IPV6, IPV6_PKTINFO, struct.pack("@16si", src, oif)),
        ]
        if word & 0xFFFFF:
            control.append((SOL_IPV6, IPV6_FLOWINFO, (word & 0xFFFFF).to_bytes(4, "big")))
        return src, packet[24:40], packet[40:], True, control

    @staticmethod
    def header(src: bytes, told: _Ancillary, length: int) -> bytes:
        """An IPv6 header as it was."""
        return ipv6.encode(src, told.dst, 58, length, traffic_class=told.tos, hop_limit=told.ttl, flow_label=told.flow)

    @staticmethod
    def error(src: bytes, told: _Ancillary, about: tuple[int, int, int], quote: bytes) -> bytes:
        """See `_Socket4.error`."""
        message = icmp6.encode(src, told.dst, *about, quote)
        return ipv6.encode(src, told.dst, 58, len(message), traffic_class=told.tos, hop_limit=told.ttl) + message

    @staticmethod
    def quote(src: bytes, dst: bytes, message: bytes) -> bytes:
        """See `_Socket4.quote`."""
        return ipv6.encode(src, dst, 58, len(message)) + message


class _Half:
    """One family's socket and what it was told last."""

    __slots__ = ("codec", "discover", "kernels_ident", "sock", "src")

    def __init__(self, codec: type[_Socket4] | type[_Socket6], sock: Any) -> None:
        self.codec = codec
        self.sock = sock
        self.kernels_ident = 0
        self.discover = -1
        self.src = bytes(4 if codec is _Socket4 else 16)


class PingSocketLink:
    """One RAW_IP port that carries echo requests of one identifier out and their replies and errors in.

    `ident` is that identifier (None: that of the first request); the kernel is asked to use it, and where it can't,
    requests and replies are rewritten. `discover` is how the path MTU is treated ("do", "want", "dont", "probe"); by
    default as DF says, "want" or "dont". `on` binds to an interface. LinkError: not permitted.
    """

    __slots__ = (
        "_buffer",
        "_destinations",
        "_discover",
        "_halves",
        "_ident",
        "_meta",
        "_oif",
        "_outbox",
        "_target",
        "_view",
        "clock",
        "ports",
        "rx_stamps",
    )

    def __init__(
        self,
        *,
        index: int = 0,
        ident: int | None = None,
        on: Interface | None = None,
        discover: str | None = None,
        rx_stamps: bool = True,
        send_buffer: int = 0,
        mark: int = 0,
        clock: StampClock | None = None,
    ) -> None:
        self._ident: int | None = None
        self._discover = discover
        self._oif = on.index if on is not None else 0
        self._destinations = Destinations(on)
        self._outbox = Outbox(self._send_one)
        self._buffer = bytearray(_HEADER_ROOM + 65536)
        self._view = memoryview(self._buffer)
        self._target = self._view[_HEADER_ROOM:]
        self._meta = RxMeta(index, checksum=CHECKSUM_VERIFIED, packet_type=PACKET_HOST)
        self.clock = clock or StampClock()
        self.rx_stamps = rx_stamps
        self.ports: list[Port] = [Port(index, on.name if on is not None else "icmp", RAW_IP, LARGEST)]
        self._halves: dict[int, _Half] = {}
        try:
            for version, codec in ((4, _Socket4), (6, _Socket6)):
                self._open(version, codec, send_buffer, mark)
            if ident is not None:
                self._take_ident(ident)
        except BaseException:
            self.close()
            raise

    def _open(self, version: int, codec: type[_Socket4] | type[_Socket6], send_buffer: int, mark: int) -> None:
        try:
            sock = _socket.socket(codec.family, SOCK_DGRAM | SOCK_CLOEXEC, codec.protocol)
        except OSError as error:
            if version == 6 and error.errno in (EAFNOSUPPORT, EPROTONOSUPPORT):
                return
            raise _refused(error) from error
        self._halves[version] = _Half(codec, sock)
        sock.setblocking(False)
        for level, option in codec.options:
            sock.setsockopt(level, option, 1)
        sock.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
        if self.rx_stamps:
            sock.setsockopt(SOL_SOCKET, SO_TIMESTAMPNS, 1)
        set_receive_buffer(sock, RECEIVE_BUFFER)
        set_send_options(sock, send_buffer, mark)

    def _take_ident(self, ident: int) -> None:
        """Ask the kernel for this identifier; somebody else may have it, then it chooses one of its own.

        Both families share the numbers, and sockets may share one only if all are willing (SO_REUSEADDR, on by default
        here: two pings would steal each other's replies). So the first takes it alone, the second joins it.
        """
        self._ident = ident
        wanted = ident
        for half in self._halves.values():
            if not self._bind(half, wanted):
                wanted = 0
                self._bind(half, 0)
            half.kernels_ident = half.sock.getsockname()[1]
            half.sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1)
        for half in self._halves.values():
            half.sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, 0)

    def _bind(self, half: _Half, ident: int) -> bool:
        alone = half is next(iter(self._halves.values()))
        half.sock.setsockopt(SOL_SOCKET, SO_REUSEADDR, int(not alone))
        try:
            half.sock.bind((half.codec.unspecified, ident))
        except OSError as error:
            if error.errno != EADDRINUSE:
                raise _refused(error) from error
            return False
        return True

    def filenos(self) -> Sequence[int]:
        """See `base.Link`."""
        return [half.sock.fileno() for half in self._halves.values()]

    writable_filenos = filenos

    # -- sending -------------------------------------------------------------------------------------------------------

    def send(self, transmit: Transmit) -> bool:
        """See `base.Link`. OSError EMSGSIZE has an attribute `mtu`; EOPNOTSUPP: no echo request of our identifier."""
        return self._outbox.send(gso.segments(transmit, RAW_IP), None, transmit.token)

    def _send_one(self, packet: bytes, _to: None, _token: object) -> None:
        half = self._halves.get(packet[0] >> 4)
        if half is None:
            raise OSError(EAFNOSUPPORT, "this kernel has no IPv6")
        src, dst, message, df, control = half.codec.undress(packet, self._oif)
        ident = message[4] << 8 | message[5]
        if self._ident is None:
            self._take_ident(ident)
        elif ident != self._ident:
            raise OSError(EOPNOTSUPP, "an ICMP socket has one identifier")
        self._set_discover(half, df)
        half.src = src
        arguments = ((message,), control, 0, self._destinations.address(dst, src))
        try:
            half.sock.sendmsg(*arguments)
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno == EMSGSIZE:
                raise MessageTooLongError(_mtu_towards(dst, self._oif)) from error
            # An error that came back for an earlier request is reported to whoever calls next: once.
            half.sock.sendmsg(*arguments)

    def _set_discover(self, half: _Half, df: bool) -> None:
        value = DISCOVER[self._discover] if self._discover is not None else DISCOVER["want" if df else "dont"]
        if value != half.discover:
            half.sock.setsockopt(*half.codec.discover_option, value)
            half.discover = value

    # -- receiving -----------------------------------------------------------------------------------------------------

    def recv_batch(self, sink: Sink, now: Callable[[], Ns], limit: int) -> int:
        """See `base.Link`."""
        count = 0
        for half in self._halves.values():
            count += self._recv_errors(half, sink, now, limit - count)
            count += self._recv_replies(half, sink, now, limit - count)
        return count

    def _recv_replies(self, half: _Half, sink: Sink, now: Callable[[], Ns], limit: int) -> int:
        count = failures = 0
        while count < limit and failures < 4:
            try:
                length, messages, _, peer = half.sock.recvmsg_into((self._target,), 512)
            except BlockingIOError:
                break
            except OSError:  # an error that the error queue tells better, reported once
                failures += 1
                continue
            at = now()
            told = _Ancillary(messages, half.src)
            self._restore_ident(half, self._buffer, _HEADER_ROOM)
            header = half.codec.header(_address_of(peer, half), told, length)
            start = _HEADER_ROOM - len(header)
            self._buffer[start:_HEADER_ROOM] = header
            self._deliver(sink, self._view[start : _HEADER_ROOM + length], at, told)
            count += 1
        return count

    def _restore_ident(self, half: _Half, message: bytearray, offset: int) -> None:
        """Put the stack's identifier where the kernel's is; the checksum stays right (RFC 1624)."""
        if self._ident is None or half.kernels_ident == self._ident or len(message) < offset + 8:
            return
        old, new = bytes(message[offset + 4 : offset + 6]), self._ident.to_bytes(2, "big")
        check = update(message[offset + 2] << 8 | message[offset + 3], old, new)
        message[offset + 2 : offset + 6] = check.to_bytes(2, "big") + new

    def _recv_errors(self, half: _Half, sink: Sink, now: Callable[[], Ns], limit: int) -> int:
        count = 0
        while count < limit:
            try:
                quote, messages, _, peer = half.sock.recvmsg(2048, 512, MSG_ERRQUEUE)
            except OSError:
                break
            packet = self._rebuild(half, quote, messages, peer)
            if packet is not None:
                self._deliver(sink, memoryview(packet), now(), _Ancillary(messages, half.src))
                count += 1
        return count

    def _rebuild(self, half: _Half, quote: bytes, messages: list[tuple[int, int, bytes]], peer: Any) -> bytes | None:
        """The ICMP error behind an entry of the error queue; None for what the kernel says of itself."""
        level, kind, start, end = half.codec.error_message
        report = next((data for one, two, data in messages if (one, two) == (level, kind)), b"")
        if len(report) < end:
            return None
        _, origin, type_, code, _, info, _ = _ERROR.unpack_from(report)
        if origin not in (ORIGIN_ICMP, ORIGIN_ICMP6):
            return None
        told = _Ancillary(messages, half.src)
        message = bytearray(quote)
        self._restore_ident(half, message, 0)
        quoted = half.codec.quote(half.src, _address_of(peer, half), bytes(message))
        return half.codec.error(report[start:end], told, (type_, code, info), quoted)

    def _deliver(self, sink: Sink, packet: memoryview, now: Ns, told: _Ancillary) -> None:
        self._meta.at = None if told.stamp is None else self.clock.to_monotonic(told.stamp, now)
        sink(packet, now, self._meta)

    def poll_stamps(self, on_transmitted: OnTransmitted) -> None:
        """None here: the error queue belongs to the errors."""

    def close(self) -> None:
        """May be called twice."""
        for half in self._halves.values():
            half.sock.close()


def _address_of(peer: Any, half: _Half) -> bytes:
    return bytes(_socket.inet_pton(half.codec.family, peer[0].partition("%")[0]))


def _mtu_towards(dst: bytes, oif: int) -> int:
    """What the kernel compared with: the path's MTU if it knows one, else the interface's."""
    try:
        route = host.route_to(dst, oif=oif)
    except LinkError:
        return 0
    there = host.interface(route.oif)
    return route.mtu or (there.mtu if there is not None else 0)


def _refused(error: OSError) -> LinkError:
    number = error.errno or 0
    text = f"socket: {error.strerror}"
    if number in (EACCES, EPERM):
        text += ": your group is not in net.ipv4.ping_group_range (sysctl), and raw packets need root or CAP_NET_RAW"
    return LinkError(text, number)
