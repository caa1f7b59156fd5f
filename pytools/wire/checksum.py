"""The Internet checksum (RFC 1071), its pseudo-headers and its incremental update (RFC 1624).

A ones' complement sum is the number modulo 0xFFFF: one division of a big int runs in C, 2.4 us for 1,480 octets.
"""

from struct import Struct

_from_bytes = int.from_bytes
_pseudo4 = Struct("!HH").pack


def ones_sum(data: bytes | bytearray | memoryview) -> int:
    """The folded, not inverted RFC 1071 sum of `data`, 0..0xFFFF; an odd last octet counts as if followed by zero.

    0 only for data that is all zero: a sum that folds to zero otherwise is 0xFFFF.
    """
    number = _from_bytes(data, "big")
    if not number:
        return 0
    if len(data) & 1:
        number = (number % 0xFFFF) << 8
    return number % 0xFFFF or 0xFFFF


def fold(number: int) -> int:
    """Fold a sum of sums (or a number made of whole 16-bit words) to 16 bits."""
    return number and (number % 0xFFFF or 0xFFFF)


def checksum(data: bytes | bytearray | memoryview, initial: int = 0) -> int:
    """What goes into the checksum field: the inverted sum of `data` plus `initial` (a sum, not inverted)."""
    number = _from_bytes(data, "big")
    if len(data) & 1:
        number = (number % 0xFFFF or (number and 0xFFFF)) << 8
    number += initial
    return 0xFFFF - (number and (number % 0xFFFF or 0xFFFF))


def pseudo_header_sum(src: bytes, dst: bytes, protocol: int, length: int) -> int:
    """The folded sum of the pseudo-header (RFC 9293 3.1, RFC 8200 8.1); the sum is the same form in both families."""
    number = _from_bytes(src + dst, "big") + protocol + length
    return number % 0xFFFF or 0xFFFF


def update(check: int, old: bytes, new: bytes) -> int:
    """The checksum field after `old` was replaced by `new`, both at an even offset (RFC 1624, equation 3)."""
    number = (0xFFFF - check) + (0xFFFF - ones_sum(old)) + ones_sum(new)
    return 0xFFFF - (number % 0xFFFF or 0xFFFF if number else 0)
