"""The IPv4 header (RFC 791 3.1). Options are octets here; `ipv4_options` reads them."""

from struct import Struct
from typing import Final

from pytools.errors import DecodeError

PROTO_ICMP: Final = 1
PROTO_IGMP: Final = 2
PROTO_TCP: Final = 6
PROTO_UDP: Final = 17
PROTO_ICMPV6: Final = 58
PROTO_RAW: Final = 255
HEADER_LENGTH: Final = 20
MAX_OPTIONS: Final = 40
MAX_PACKET: Final = 65535
DF: Final = 0x4000
MF: Final = 0x2000

_unpack = Struct("!BBHHHBBH4s4s").unpack_from
_pack = Struct("!BBHHHBBH4s4s").pack
_from_bytes = int.from_bytes


class Ipv4Header:
    """`fragment_offset` is in octets; `options` are the octets between the fixed header and the payload."""

    __slots__ = (
        "checksum",
        "dont_fragment",
        "dst",
        "fragment_offset",
        "header_length",
        "ident",
        "more_fragments",
        "options",
        "protocol",
        "src",
        "tos",
        "total_length",
        "ttl",
    )

    header_length: int
    tos: int
    total_length: int
    ident: int
    dont_fragment: bool
    more_fragments: bool
    fragment_offset: int
    ttl: int
    protocol: int
    checksum: int
    src: bytes
    dst: bytes
    options: bytes


def decode(data: bytes | bytearray | memoryview, offset: int = 0, end: int | None = None) -> Ipv4Header:
    """Read a header whose packet lies within `offset`..`end` (octets after its total length are padding).

    Checks version and lengths, not the checksum. DecodeError: any of these is wrong.
    """
    header = decode_quoted(data, offset, end)
    if header.total_length < header.header_length:
        raise DecodeError("IPv4 total length below header length")
    if header.total_length > (len(data) if end is None else end) - offset:
        raise DecodeError("IPv4 packet cut short")
    return header


def decode_quoted(data: bytes | bytearray | memoryview, offset: int = 0, end: int | None = None) -> Ipv4Header:
    """As `decode`, for a packet of which only the beginning is there (RFC 792: header + 8 octets).

    The total length is not checked: some hosts quote it in their own byte order or less the header.
    """
    available = (len(data) if end is None else end) - offset
    if available < 20:
        raise DecodeError("IPv4 header cut short")
    header = Ipv4Header()
    (
        version,
        header.tos,
        header.total_length,
        header.ident,
        fragment,
        header.ttl,
        header.protocol,
        header.checksum,
        header.src,
        header.dst,
    ) = _unpack(data, offset)
    if version == 0x45:
        length = 20
        header.options = b""
    else:
        if version >> 4 != 4:
            raise DecodeError("IP version is not 4")
        length = (version & 15) << 2
        if length < 20:
            raise DecodeError("IPv4 header length below 20")
        if length > available:
            raise DecodeError("IPv4 header cut short")
        header.options = bytes(data[offset + 20 : offset + length])
    header.header_length = length
    if fragment:
        header.dont_fragment = fragment & 0x4000 != 0
        header.more_fragments = fragment & 0x2000 != 0
        header.fragment_offset = (fragment & 0x1FFF) << 3
    else:
        header.dont_fragment = header.more_fragments = False
        header.fragment_offset = 0
    return header


def header_checksum_ok(data: bytes | bytearray | memoryview, offset: int = 0, header_length: int = 20) -> bool:
    """Whether the header's sum is right. Never all zero, since the version isn't: modulo 0xFFFF says it all."""
    return not _from_bytes(data[offset : offset + header_length], "big") % 0xFFFF


def encode(
    src: bytes,
    dst: bytes,
    protocol: int,
    payload_length: int,
    *,
    tos: int = 0,
    ident: int = 0,
    dont_fragment: bool = False,
    more_fragments: bool = False,
    fragment_offset: int = 0,
    ttl: int = 64,
    options: bytes = b"",
) -> bytes:
    """The header with its checksum. `options` are padded with End of Option List to a multiple of 4 octets."""
    version = 0x45
    if options:
        options += bytes(-len(options) & 3)
        version += len(options) >> 2
    fragment = fragment_offset >> 3
    if dont_fragment:
        fragment |= 0x4000
    if more_fragments:
        fragment |= 0x2000
    total_length = 20 + len(options) + payload_length
    header = _pack(version, tos, total_length, ident, fragment, ttl, protocol, 0, src, dst) + options
    # Version 4 makes the sum non-zero, so 0 stands for 0xFFFF here; 0xFFFF - 0xFFFF = 0 is what the field gets.
    check = 0xFFFF - (_from_bytes(header, "big") % 0xFFFF or 0xFFFF)
    return header[:10] + check.to_bytes(2, "big") + header[12:]
