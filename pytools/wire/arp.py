"""ARP for IPv4 over Ethernet (RFC 826)."""

from struct import Struct
from typing import Final

from pytools.errors import DecodeError

REQUEST: Final = 1
REPLY: Final = 2
LENGTH: Final = 28

_unpack = Struct("!IHH6s4s6s4s").unpack_from
_pack = Struct("!IHH6s4s6s4s").pack
_ETHERNET_IPV4: Final = 0x0001_0800
_LENGTHS: Final = 0x0604


class ArpPacket:
    """`operation` is REQUEST or REPLY, or another number as it came."""

    __slots__ = ("operation", "sender_ip", "sender_mac", "target_ip", "target_mac")

    def __init__(
        self, operation: int, sender_mac: bytes, sender_ip: bytes, target_mac: bytes, target_ip: bytes
    ) -> None:
        self.operation = operation
        self.sender_mac = sender_mac
        self.sender_ip = sender_ip
        self.target_mac = target_mac
        self.target_ip = target_ip


def decode(data: bytes | bytearray | memoryview, offset: int = 0, end: int | None = None) -> ArpPacket:
    """Read a packet; padding after it is ignored. DecodeError: too short, or not Ethernet and IPv4."""
    if end is None:
        end = len(data)
    if end - offset < 28:
        raise DecodeError("ARP packet cut short")
    spaces, lengths, operation, sender_mac, sender_ip, target_mac, target_ip = _unpack(data, offset)
    if spaces != _ETHERNET_IPV4 or lengths != _LENGTHS:
        raise DecodeError("ARP not for Ethernet and IPv4")
    return ArpPacket(operation, sender_mac, sender_ip, target_mac, target_ip)


def encode(operation: int, sender_mac: bytes, sender_ip: bytes, target_mac: bytes, target_ip: bytes) -> bytes:
    """The 28 octets after the Ethernet header."""
    return _pack(_ETHERNET_IPV4, _LENGTHS, operation, sender_mac, sender_ip, target_mac, target_ip)
