"""The TCP header (RFC 9293 3.1). Options are octets here; `tcp_options` reads them."""

from struct import Struct
from typing import Final

from pytools.errors import DecodeError
from pytools.wire.checksum import checksum as internet_checksum
from pytools.wire.checksum import fold, ones_sum, pseudo_header_sum

PROTOCOL: Final = 6
HEADER_LENGTH: Final = 20
CHECKSUM_OFFSET: Final = 16

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80
AE: Final = 0x100
"""Accurate ECN (RFC 9768), the last of the once reserved bits."""

_unpack = Struct("!HHIIHHHH").unpack_from
_pack = Struct("!HHIIHHHH").pack


class TcpHeader:
    """`flags` are nine bits (CWR, ECE, URG, ... and AE above them); `window` is not scaled."""

    __slots__ = (
        "ack",
        "checksum",
        "destination_port",
        "flags",
        "header_length",
        "options",
        "seq",
        "source_port",
        "urgent_pointer",
        "window",
    )

    source_port: int
    destination_port: int
    seq: int
    ack: int
    header_length: int
    flags: int
    window: int
    checksum: int
    urgent_pointer: int
    options: bytes


def decode(data: bytes | bytearray | memoryview, offset: int = 0, end: int | None = None) -> TcpHeader:
    """Read the header; the payload is what follows up to `end`. DecodeError: cut short, or a data offset below 5."""
    available = (len(data) if end is None else end) - offset
    if available < 20:
        raise DecodeError("TCP header cut short")
    header = TcpHeader()
    (
        header.source_port,
        header.destination_port,
        header.seq,
        header.ack,
        bits,
        header.window,
        header.checksum,
        header.urgent_pointer,
    ) = _unpack(data, offset)
    length = bits >> 12 << 2
    header.header_length = length
    header.flags = bits & 0x1FF
    if length == 20:
        header.options = b""
    else:
        if length < 20:
            raise DecodeError("TCP data offset below 5")
        if length > available:
            raise DecodeError("TCP header cut short")
        header.options = bytes(data[offset + 20 : offset + length])
    return header


def checksum_ok(data: bytes | bytearray | memoryview, offset: int, end: int, src: bytes, dst: bytes) -> bool:
    """Whether the sum over pseudo-header, header and payload is right."""
    return fold(ones_sum(data[offset:end]) + pseudo_header_sum(src, dst, PROTOCOL, end - offset)) == 0xFFFF


def encode(
    source_port: int,
    destination_port: int,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    options: bytes = b"",
    checksum: int = 0,
    urgent_pointer: int = 0,
) -> bytes:
    """The header; `options` are padded with zeros to a multiple of 4 octets. See `finish` for the checksum."""
    options += bytes(-len(options) & 3)
    bits = (20 + len(options)) << 10 | flags
    return _pack(source_port, destination_port, seq, ack, bits, window, checksum, urgent_pointer) + options


def finish(src: bytes, dst: bytes, segment: bytes) -> bytes:
    """A whole segment (with a checksum field of 0) with its checksum."""
    check = internet_checksum(segment, pseudo_header_sum(src, dst, PROTOCOL, len(segment)))
    return segment[:16] + check.to_bytes(2, "big") + segment[18:]
