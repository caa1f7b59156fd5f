"""What the comparisons with scapy share: random values for both sides, and scapy's own idea of the sums."""

import random
from collections.abc import Iterator

from scapy.layers.inet import (
    IPerror,
)
from scapy.layers.inet6 import (
    IPerror6,
)
from scapy.packet import NoPayload, Packet

from pytools.wire.addr import format_ip, format_mac, parse_ip

COMPUTED = ("chksum", "cksum", "len", "plen", "ihl", "dataofs")


class Some:
    """Random field values; text for scapy, octets for us."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng

    def number(self, bits: int) -> int:
        """Any number of so many bits; the ends more often than chance would have it."""
        return self.rng.choice((0, 1, (1 << bits) - 1, *[self.rng.getrandbits(bits)] * 5))

    def octets(self, most: int) -> bytes:
        return self.rng.randbytes(self.rng.randint(0, most))

    def mac(self) -> str:
        return format_mac(self.rng.randbytes(6))

    def ip4(self) -> str:
        return format_ip(self.rng.randbytes(4))

    def ip6(self) -> str:
        return format_ip(bytes(self.rng.choice((0, 0, 0x20, 0xFE, 0x80, self.rng.getrandbits(8))) for _ in range(16)))

    def unicast6(self) -> str:
        return format_ip(b"\xfd" + parse_ip(self.ip6())[1:])

    def flag(self) -> bool:
        return self.rng.random() < 0.5


def layers(packet: Packet) -> Iterator[Packet]:
    """The layers of a packet, without what an ICMP error quotes."""
    while not isinstance(packet, (NoPayload, IPerror, IPerror6)):
        yield packet
        packet = packet.payload


def computed_by_scapy(packet: Packet) -> bytes:
    """The packet again, with every length and checksum computed anew."""
    packet = packet.copy()
    for layer in layers(packet):
        for name in COMPUTED:
            if name in layer.fields:
                delattr(layer, name)
    return bytes(packet)
