"""IPv4 identifications and IPv6 fragment identifications (RFC 6864, RFC 7739)."""

from random import Random
from typing import Final

_BUCKETS: Final = 1024
_PRIME: Final = (1 << 61) - 1


class Identifications:
    """Counters that start at random, one for each bucket of (source, destination, protocol).

    A datagram that may be fragmented gets no number twice within 65536 others of its bucket, and a stranger can't
    predict another's. Memory is bounded; Linux does the same with its `ip_idents`. Python's own hash isn't used: it
    changes from one process to the next, and the same seed must give the same bytes.
    """

    __slots__ = ("_counters", "_factor")

    def __init__(self, rng: Random) -> None:
        self._factor = rng.randrange(1, _PRIME)
        self._counters = [rng.getrandbits(32) for _ in range(_BUCKETS)]

    def next(self, src: bytes, dst: bytes, protocol: int) -> int:
        """The next number, 32 bits; IPv4 takes the lower 16."""
        key = int.from_bytes(src + dst, "big") + protocol
        bucket = key * self._factor % _PRIME % _BUCKETS
        number = self._counters[bucket] = (self._counters[bucket] + 1) & 0xFFFFFFFF
        return number
