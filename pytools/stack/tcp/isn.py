"""Numbers that an outsider must not guess: ISNs (RFC 6528), ports (RFC 6056) and SYN cookies (RFC 4987 3.6)."""

from _blake2 import blake2s  # hashlib's own source, without OpenSSL, which takes 5 ms to load
from random import Random
from typing import Final

from pytools.units import SECOND, US, Ns

MASK: Final = 0xFFFFFFFF
EPHEMERAL_FIRST: Final = 32768
EPHEMERAL_COUNT: Final = 28232
"""Linux' ip_local_port_range: 32768 to 60999."""
COOKIE_MSS4: Final = (536, 1300, 1440, 1460)
COOKIE_MSS6: Final = (1220, 1360, 1420, 1440)
COOKIE_PERIOD_NS: Final[Ns] = 64 * SECOND
COOKIE_PERIODS: Final = 2
"""A cookie is good for this many periods."""


class Secrets:
    """Keyed functions of one stack; the key comes from the injected generator, so a seed repeats a run."""

    __slots__ = ("_key", "_rng")

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._key = rng.getrandbits(256).to_bytes(32, "big")

    def _hash(self, label: bytes, *fields: bytes) -> int:
        digest = blake2s(b"".join(fields), key=self._key, person=label, digest_size=8)
        return int.from_bytes(digest.digest(), "big")

    def isn(self, local: tuple[bytes, int], remote: tuple[bytes, int], now: Ns) -> int:
        """M + F(four-tuple, secret), M a 4 us clock (RFC 6528 3)."""
        return (now // (4 * US) + self._hash(b"isn", *_tuple(local, remote))) & MASK

    def timestamp_offset(self, local: tuple[bytes, int], remote: tuple[bytes, int]) -> int:
        """Start of the timestamp clock of one pair of hosts (RFC 7323 7.1)."""
        return self._hash(b"ts", local[0], remote[0]) & MASK

    def first_port(self, local: bytes, remote: tuple[bytes, int]) -> int:
        """Where the search for a free port starts (RFC 6056 3.3.4: hash plus a random step)."""
        offset = self._hash(b"port", local, remote[0], remote[1].to_bytes(2, "big"))
        return EPHEMERAL_FIRST + (offset + self._rng.randrange(64)) % EPHEMERAL_COUNT

    def cookie(self, local: tuple[bytes, int], remote: tuple[bytes, int], irs: int, mss: int, now: Ns) -> int:
        """An ISN that carries the MSS: 6 bits of time, 2 of MSS index, 24 of hash."""
        period = now // COOKIE_PERIOD_NS
        table = _table(local[0])
        index = max((i for i, value in enumerate(table) if value <= mss), default=0)
        return (period & 63) << 26 | index << 24 | self._cookie_hash(local, remote, irs, period, index)

    def _cookie_hash(
        self, local: tuple[bytes, int], remote: tuple[bytes, int], irs: int, period: int, index: int
    ) -> int:
        fields = (*_tuple(local, remote), (irs & MASK).to_bytes(4, "big"), period.to_bytes(8, "big"), bytes((index,)))
        return self._hash(b"cookie", *fields) & 0xFFFFFF

    def check_cookie(
        self, local: tuple[bytes, int], remote: tuple[bytes, int], irs: int, cookie: int, now: Ns
    ) -> int | None:
        """The MSS of a cookie that we gave out lately, or None."""
        present = now // COOKIE_PERIOD_NS
        index = cookie >> 24 & 3
        for period in range(present, max(present - COOKIE_PERIODS, -1), -1):
            if period & 63 == cookie >> 26 & 63:
                if self._cookie_hash(local, remote, irs, period, index) == cookie & 0xFFFFFF:
                    return _table(local[0])[index]
                return None
        return None


def _tuple(local: tuple[bytes, int], remote: tuple[bytes, int]) -> tuple[bytes, ...]:
    return local[0], local[1].to_bytes(2, "big"), remote[0], remote[1].to_bytes(2, "big")


def _table(address: bytes) -> tuple[int, ...]:
    return COOKIE_MSS4 if len(address) == 4 else COOKIE_MSS6
