"""Ethernet II frames with 802.1Q tags (RFC 894, IEEE 802.3 3.2, IEEE 802.1Q 9)."""

from struct import Struct
from typing import Final

from pytools.errors import DecodeError

ETHERTYPE_IPV4: Final = 0x0800
ETHERTYPE_ARP: Final = 0x0806
ETHERTYPE_VLAN: Final = 0x8100
ETHERTYPE_IPV6: Final = 0x86DD
ETHERTYPE_QINQ: Final = 0x88A8
BROADCAST: Final = b"\xff\xff\xff\xff\xff\xff"
HEADER_LENGTH: Final = 14
MIN_FRAME: Final = 60
"""Octets on the wire at least, without the frame check sequence."""

# 0x9100 was the outer tag before 802.1ad gave it 0x88A8.
_TAGS: Final = frozenset((ETHERTYPE_VLAN, ETHERTYPE_QINQ, 0x9100))
_MAX_TAGS: Final = 8
_unpack = Struct("!6s6sH").unpack_from
_unpack_tag = Struct("!HH").unpack_from
_pack = Struct("!6s6sH").pack
_pack_tag = Struct("!HH").pack


class EthernetHeader:
    """`vlans` are the TCIs (PCP, DEI, VLAN id), outermost first; a priority tag is a TCI with VLAN id 0."""

    __slots__ = ("dst", "ethertype", "header_length", "src", "vlans")

    def __init__(
        self, dst: bytes, src: bytes, ethertype: int, vlans: tuple[int, ...] = (), header_length: int = 14
    ) -> None:
        self.dst = dst
        self.src = src
        self.ethertype = ethertype
        self.vlans = vlans
        self.header_length = header_length


def decode(data: bytes | bytearray | memoryview, offset: int = 0, end: int | None = None) -> EthernetHeader:
    """Read the header with its tags. DecodeError: too short, or an 802.3 length in place of the type."""
    if end is None:
        end = len(data)
    if end - offset < 14:
        raise DecodeError("Ethernet header cut short")
    dst, src, ethertype = _unpack(data, offset)
    if ethertype in _TAGS:
        return _decode_tagged(data, offset, end, dst, src)
    if ethertype < 0x600:
        raise DecodeError("802.3 frame with a length")
    return EthernetHeader(dst, src, ethertype)


def _decode_tagged(
    data: bytes | bytearray | memoryview, offset: int, end: int, dst: bytes, src: bytes
) -> EthernetHeader:
    vlans: tuple[int, ...] = ()
    at, ethertype = offset + 14, ETHERTYPE_VLAN
    while ethertype in _TAGS:
        if end - at < 4:
            raise DecodeError("VLAN tag cut short")
        if len(vlans) == _MAX_TAGS:
            raise DecodeError("too many VLAN tags")
        tci, ethertype = _unpack_tag(data, at)
        vlans += (tci,)
        at += 4
    if ethertype < 0x600:
        raise DecodeError("802.3 frame with a length")
    return EthernetHeader(dst, src, ethertype, vlans, at - offset)


def encode(dst: bytes, src: bytes, ethertype: int, vlans: tuple[int, ...] = ()) -> bytes:
    """The header; with several `vlans` all but the innermost are service tags (802.1ad)."""
    if not vlans:
        return _pack(dst, src, ethertype)
    types = (ETHERTYPE_QINQ,) * (len(vlans) - 1) + (ETHERTYPE_VLAN,)
    return dst + src + b"".join(map(_pack_tag, types, vlans)) + ethertype.to_bytes(2, "big")
