"""What a link does for a frame when the device can't: complete its checksum, cut a TCP super-segment.

A partial checksum is the folded, not inverted pseudo-header sum in the checksum field; `csum_start` and `csum_offset`
count from the start of the frame (as in `engine.Transmit` and the virtio-net header). One place for links, sim and
capture files.
"""

from collections.abc import Callable, Iterator
from struct import Struct
from typing import Final

from pytools.engine import ETHERNET, Transmit
from pytools.errors import DecodeError
from pytools.wire import ethernet, ipv4, ipv6, vnet
from pytools.wire.checksum import fold, ones_sum, pseudo_header_sum

_pack_octet = Struct("!B").pack
_pack_word = Struct("!H").pack
_pack_words = Struct("!HH").pack
_pack_number = Struct("!I").pack

_FIN: Final = 0x01
_PSH: Final = 0x08
_CWR: Final = 0x80
_CHECKSUM_FIELD: Final = {ipv4.PROTO_TCP: 16, ipv4.PROTO_UDP: 6}


def finish(transmit: Transmit) -> bytes:
    """One frame with its checksum completed; a super-segment stays whole."""
    frame = transmit.parts[0] if len(transmit.parts) == 1 else b"".join(transmit.parts)
    return complete(frame, transmit.csum_start, transmit.csum_offset) if transmit.csum_start else frame


def complete(frame: bytes, csum_start: int, csum_offset: int) -> bytes:
    """The frame with the sum from `csum_start` to its end inverted into its field.

    0 is written as 0xFFFF whatever the protocol, as the kernel's skb_checksum_help does: UDP demands it (RFC 768) and
    to the others both are the same number.
    """
    field = csum_start + csum_offset
    check = 0xFFFF - ones_sum(memoryview(frame)[csum_start:]) or 0xFFFF
    return b"".join((frame[:field], check.to_bytes(2, "big"), frame[field + 2 :]))


def segments(transmit: Transmit, link_type: int = ETHERNET) -> Iterator[bytes]:
    """The finished frames that a Transmit stands for: one, or with a `gso_size` as many as it takes.

    DecodeError: a super-segment that is not TCP over IP, the engine's bug.
    """
    if transmit.gso_size:
        return cut(b"".join(transmit.parts), transmit.gso_size, link_type)
    return iter((finish(transmit),))


def cut(frame: bytes, gso_size: int, link_type: int = ETHERNET) -> Iterator[bytes]:
    """Cut a TCP super-segment into frames with at most `gso_size` octets of payload, each with fresh checksums.

    IPv4 identifications count up, sequence numbers go on, FIN and PSH are on the last frame only and CWR on the first
    (RFC 3168 6.1.2). DecodeError: not TCP over IP.
    """
    at = _Headers(frame, link_type)
    if at.protocol != ipv4.PROTO_TCP or at.fragment or len(frame) < at.transport + 20:
        raise DecodeError("a super-segment that is not TCP")
    payload_at = at.transport + (frame[at.transport + 12] >> 4 << 2)
    if payload_at < at.transport + 20 or payload_at > at.end:
        raise DecodeError("TCP header cut short")
    return _cut(frame, gso_size, at, payload_at)


def _cut(frame: bytes, gso_size: int, at: "_Headers", payload_at: int) -> Iterator[bytes]:
    """Each frame from pieces of the first header and sums of what all have in common (5.4 us, 3.5 for the payload)."""
    tcp = frame[at.transport : payload_at]
    payload = memoryview(frame)[payload_at : at.end]
    network = _network4(frame, at) if at.family == 4 else _network6(frame, at)
    sequence, flags = int.from_bytes(tcp[4:8], "big"), tcp[13]
    ports, ack, window, rest = tcp[:4], tcp[8:13], tcp[14:16], tcp[18:]
    # Modulo 0xFFFF a number of whole words may be added as it is: sequence number, flags and length come on top.
    fixed = ones_sum(b"".join((ports, ack, b"\0", window, rest))) + at.pseudo_sum(ipv4.PROTO_TCP, 0)
    last = (len(payload) or 1) - gso_size
    for index, offset in enumerate(range(0, len(payload) or 1, gso_size)):
        part = payload[offset : offset + gso_size]
        number = sequence + offset & 0xFFFFFFFF
        kept = flags & ~(_FIN | _PSH if offset < last else 0) & ~(_CWR if index else 0)
        length = len(tcp) + len(part)
        check = 0xFFFF - fold(fixed + number + kept + length + ones_sum(part))
        varying = _pack_number(number), ack, _pack_octet(kept), window, _pack_word(check)
        yield b"".join((network(length, index), ports, *varying, rest, part))


def _network4(frame: bytes, at: "_Headers") -> Callable[[int, int], bytes]:
    """Everything before the TCP header, for a segment of so many octets that is the n-th of its kind."""
    ip = at.ip
    start, middle, rest = frame[: ip + 2], frame[ip + 6 : ip + 10], frame[ip + 12 : at.transport]
    header_length = at.transport - ip
    first = frame[ip + 4] << 8 | frame[ip + 5]
    fixed = ones_sum(start[ip:] + middle + rest)

    def network(length: int, index: int) -> bytes:
        total_length, ident = header_length + length, first + index & 0xFFFF
        check = 0xFFFF - fold(fixed + total_length + ident)
        return b"".join((start, _pack_words(total_length, ident), middle, _pack_word(check), rest))

    return network


def _network6(frame: bytes, at: "_Headers") -> Callable[[int, int], bytes]:
    ip = at.ip
    start, rest = frame[: ip + 4], frame[ip + 6 : at.transport]
    extensions_length = at.transport - ip - 40

    def network(length: int, index: int) -> bytes:
        return b"".join((start, _pack_word(extensions_length + length), rest))

    return network


class _Headers:
    """Where the headers of a frame are."""

    __slots__ = ("dst", "end", "family", "fragment", "ip", "protocol", "src", "transport")

    def __init__(self, frame: bytes, link_type: int) -> None:
        """DecodeError: no IP packet."""
        self.ip = ethernet.decode(frame).header_length if link_type == ETHERNET else 0
        self.family = frame[self.ip] >> 4 if len(frame) > self.ip else 0
        if self.family == 6:
            header6 = ipv6.decode(frame, self.ip)
            self.src, self.dst = header6.src, header6.dst
            self.end = self.ip + 40 + header6.payload_length
            found = ipv6.skip(frame, self.ip + 40, header6.next_header, self.end)
            self.transport, self.protocol = found.offset, found.protocol
            self.fragment = found.fragment is not None and not found.fragment.atomic
        else:
            header = ipv4.decode(frame, self.ip)
            self.src, self.dst = header.src, header.dst
            self.end = self.ip + header.total_length
            self.transport, self.protocol = self.ip + header.header_length, header.protocol
            self.fragment = header.more_fragments or header.fragment_offset != 0

    def pseudo_sum(self, protocol: int, length: int) -> int:
        """The sum of the pseudo-header for `length` octets of transport header and payload."""
        return pseudo_header_sum(self.src, self.dst, protocol, length)


def complete_received(frame: bytes, link_type: int = ETHERNET) -> bytes:
    """A received frame whose checksum a local sender left partial, completed as it would have been on a wire.

    A frame whose field holds anything but its pseudo-header sum comes back as it is. Raises nothing.
    """
    try:
        at = _Headers(frame, link_type)
    except DecodeError:
        return frame
    offset = _CHECKSUM_FIELD.get(at.protocol)
    if offset is None or at.fragment or at.end - at.transport < offset + 2:
        return frame
    field = at.transport + offset
    if frame[field] << 8 | frame[field + 1] != at.pseudo_sum(at.protocol, at.end - at.transport):
        return frame
    return complete(frame[: at.end], at.transport, offset) + frame[at.end :]


def vnet_header(transmit: Transmit, link_type: int = ETHERNET) -> bytes:
    """The virtio-net header that asks the kernel for what `finish` and `segments` would do."""
    if not transmit.csum_start:
        return vnet.NONE
    start, offset = transmit.csum_start, transmit.csum_offset
    if not transmit.gso_size:
        return vnet.encode(vnet.NEEDS_CSUM, csum_start=start, csum_offset=offset)
    head = _head(transmit.parts, start + 20)
    ip = ethernet.decode(head).header_length if link_type == ETHERNET else 0
    gso_type = vnet.GSO_TCPV6 if head[ip] >> 4 == 6 else vnet.GSO_TCPV4
    if head[start + 13] & _CWR:
        gso_type |= vnet.GSO_ECN
    header_length = start + (head[start + 12] >> 4 << 2)
    return vnet.encode(vnet.NEEDS_CSUM, gso_type, header_length, transmit.gso_size, start, offset)


def _head(parts: tuple[bytes, ...], length: int) -> bytes:
    """At least the first `length` octets, if there are so many, without joining a large payload."""
    head = b""
    for part in parts:
        head += part[:length]
        if len(head) >= length:
            break
    return head
