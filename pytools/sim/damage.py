"""Flip one bit of a frame where a checksum covers it.

A checksum in ones' complement notices every single flipped bit, so damage done here can always be told from what the
sender said. Bits that nothing covers (ARP, the IPv6 header, padding, UDP without a checksum) are never touched.
"""

from random import Random

from pytools.errors import DecodeError
from pytools.sim.impairment import PAYLOAD
from pytools.wire import ethernet, ipv4, ipv6

_CHECKED = frozenset((ipv4.PROTO_ICMP, ipv4.PROTO_TCP, ipv4.PROTO_UDP, ipv6.PROTO_ICMPV6))


def flip_bit(frame: bytes, where: str, random: Random) -> tuple[bytes, int, int]:
    """The frame with one bit flipped, the octet's offset and the bit (0 = least significant).

    The offset is 0 when the frame has no bit that a checksum covers; the frame is returned as it is then.
    """
    start, end = covered(frame, where)
    if start >= end:
        return frame, 0, 0
    octet, bit = random.randrange(start, end), random.randrange(8)
    return frame[:octet] + bytes([frame[octet] ^ (1 << bit)]) + frame[octet + 1 :], octet, bit


def covered(frame: bytes, where: str) -> tuple[int, int]:
    """The octets from:to of a frame that a checksum of the receiver covers; (0, 0) when there are none."""
    try:
        header = ethernet.decode(frame)
        if header.ethertype == ethernet.ETHERTYPE_IPV4:
            return _covered4(frame, header.header_length, where)
        if header.ethertype == ethernet.ETHERTYPE_IPV6:
            return _covered6(frame, header.header_length)
    except DecodeError:
        pass
    return (0, 0)


def _covered4(frame: bytes, offset: int, where: str) -> tuple[int, int]:
    header = ipv4.decode(frame, offset, len(frame))
    upper, end = offset + header.header_length, offset + header.total_length
    # A fragment's share is covered by the checksum of the whole message.
    checked = header.protocol in _CHECKED
    if checked and header.protocol == ipv4.PROTO_UDP and not header.fragment_offset:
        # 0 means "no checksum"; from a checksum with two bits set one flip can't make it.
        checked = int.from_bytes(frame[upper + 6 : upper + 8]).bit_count() > 1
    if where == PAYLOAD:
        return (upper, end) if checked else (0, 0)
    return offset, end if checked else upper


def _covered6(frame: bytes, offset: int) -> tuple[int, int]:
    header = ipv6.decode(frame, offset, len(frame))
    start = offset + ipv6.HEADER_LENGTH
    end = start + header.payload_length
    extensions = ipv6.walk(frame, start, header.next_header, end)
    return (extensions.offset, end) if extensions.protocol in _CHECKED else (0, 0)
