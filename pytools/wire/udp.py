"""UDP (RFC 768), over both families (RFC 8200 8.1)."""

from struct import Struct
from typing import Final

from pytools.errors import DecodeError
from pytools.wire.checksum import checksum as internet_checksum
from pytools.wire.checksum import fold, ones_sum, pseudo_header_sum

PROTOCOL: Final = 17
HEADER_LENGTH: Final = 8

_unpack = Struct("!HHHH").unpack_from
_pack = Struct("!HHHH").pack


class UdpHeader:
    """`length` counts header and payload."""

    __slots__ = ("checksum", "destination_port", "length", "source_port")

    def __init__(self, source_port: int, destination_port: int, length: int, checksum: int) -> None:
        self.source_port = source_port
        self.destination_port = destination_port
        self.length = length
        self.checksum = checksum


def decode(data: bytes | bytearray | memoryview, offset: int = 0, end: int | None = None) -> UdpHeader:
    """Read the header; octets after its length are padding. DecodeError: the length is below 8 or beyond `end`."""
    if end is None:
        end = len(data)
    if end - offset < 8:
        raise DecodeError("UDP header cut short")
    source_port, destination_port, length, check = _unpack(data, offset)
    if length < 8:
        raise DecodeError("UDP length below 8")
    if length > end - offset:
        raise DecodeError("UDP datagram cut short")
    return UdpHeader(source_port, destination_port, length, check)


def checksum_ok(data: bytes | bytearray | memoryview, offset: int, header: UdpHeader, src: bytes, dst: bytes) -> bool:
    """Whether the sum is right; 0 means "none" over IPv4 and is refused over IPv6 (RFC 8200 8.1)."""
    if not header.checksum:
        return len(src) == 4
    pseudo = pseudo_header_sum(src, dst, PROTOCOL, header.length)
    return fold(ones_sum(data[offset : offset + header.length]) + pseudo) == 0xFFFF


def encode(src: bytes, dst: bytes, source_port: int, destination_port: int, payload: bytes) -> bytes:
    """Header and payload; a checksum that comes out as 0 is sent as 0xFFFF (RFC 768)."""
    length = 8 + len(payload)
    header = _pack(source_port, destination_port, length, 0)
    check = internet_checksum(header + payload, pseudo_header_sum(src, dst, PROTOCOL, length)) or 0xFFFF
    return header[:6] + check.to_bytes(2, "big") + payload
