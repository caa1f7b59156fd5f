"""The virtio-net header that AF_PACKET (PACKET_VNET_HDR) and TAP (IFF_VNET_HDR) put before a frame.

Its numbers are in the machine's byte order there (legacy virtio), so no order is named here. With a 12-octet header
(num_buffers) the first 10 octets are the same.
"""

from struct import Struct
from typing import Final

from pytools.errors import DecodeError

LENGTH: Final = 10

# flags
NEEDS_CSUM: Final = 1
"""The checksum from csum_start on is to be completed at csum_start + csum_offset."""
DATA_VALID: Final = 2
"""The checksum was verified."""

# gso_type
GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_UDP: Final = 3
GSO_TCPV6: Final = 4
GSO_UDP_L4: Final = 5
GSO_ECN: Final = 0x80
"""Added to the type: the segment has CWR set."""

NONE: Final = bytes(LENGTH)
"""The header of a frame that needs nothing."""

_unpack = Struct("=BBHHHH").unpack_from
_pack = Struct("=BBHHHH").pack


class VnetHeader:
    """Names as in <linux/virtio_net.h>; offsets count from the start of the frame."""

    __slots__ = ("csum_offset", "csum_start", "flags", "gso_size", "gso_type", "header_length")

    def __init__(
        self, flags: int, gso_type: int, header_length: int, gso_size: int, csum_start: int, csum_offset: int
    ) -> None:
        self.flags = flags
        self.gso_type = gso_type
        self.header_length = header_length
        self.gso_size = gso_size
        self.csum_start = csum_start
        self.csum_offset = csum_offset


def decode(data: bytes | bytearray | memoryview, offset: int = 0, end: int | None = None) -> VnetHeader:
    """Read the first 10 octets. DecodeError: cut short."""
    if (len(data) if end is None else end) - offset < 10:
        raise DecodeError("virtio-net header cut short")
    flags, gso_type, header_length, gso_size, csum_start, csum_offset = _unpack(data, offset)
    return VnetHeader(flags, gso_type, header_length, gso_size, csum_start, csum_offset)


def encode(
    flags: int = 0,
    gso_type: int = GSO_NONE,
    header_length: int = 0,
    gso_size: int = 0,
    csum_start: int = 0,
    csum_offset: int = 0,
) -> bytes:
    """The 10 octets."""
    return _pack(flags, gso_type, header_length, gso_size, csum_start, csum_offset)
