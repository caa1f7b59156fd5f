"""Sequence number arithmetic modulo 2**32 (RFC 9293 3.4).

Two numbers exactly 2**31 apart have no order (RFC 1982 3.2): each comparison says False.
"""

from typing import Final

_MASK: Final = 0xFFFFFFFF


def seq_lt(a: int, b: int) -> bool:
    """Whether `a` is before `b`."""
    return (b - a - 1) & 0xFFFFFFFF < 0x7FFFFFFF


def seq_leq(a: int, b: int) -> bool:
    """Whether `a` is `b` or before it."""
    return (b - a) & 0xFFFFFFFF < 0x80000000


def seq_gt(a: int, b: int) -> bool:
    """Whether `a` is after `b`."""
    return (a - b - 1) & 0xFFFFFFFF < 0x7FFFFFFF


def seq_geq(a: int, b: int) -> bool:
    """Whether `a` is `b` or after it."""
    return (a - b) & 0xFFFFFFFF < 0x80000000


def seq_add(a: int, n: int) -> int:
    """The number `n` (maybe negative) after `a`."""
    return (a + n) & _MASK


def seq_sub(a: int, b: int) -> int:
    """How far `a` is after `b`, 0..2**32-1."""
    return (a - b) & _MASK
