"""The timestamps option: our clock, TS.Recent and PAWS (RFC 7323)."""

from pytools.units import MS, SECOND, Ns

MASK = 0xFFFFFFFF
PAWS_IDLE_NS: Ns = 24 * 24 * 3600 * SECOND
"""After 24 days without an update TS.Recent means nothing (RFC 7323 5.5)."""


def newer(left: int, right: int) -> bool:
    """Whether timestamp `left` is later than `right`, modulo 2**32."""
    return 0 < ((left - right) & MASK) < 0x80000000


class Timestamps:
    """One connection's timestamps; in use only if both SYNs carried the option."""

    __slots__ = ("enabled", "offset", "recent", "recent_at")

    def __init__(self, offset: int) -> None:
        self.enabled = False
        self.offset = offset
        """Random start of our clock (RFC 7323 7.1), in ticks."""
        self.recent = 0
        self.recent_at: Ns = 0

    def value(self, now: Ns) -> int:
        """TSval: a clock of 1 ms per tick."""
        return (now // MS + self.offset) & MASK

    def rtt_ns(self, echo: int, now: Ns) -> Ns:
        """Round trip from an echoed TSval, to the resolution of the clock (at least one tick)."""
        ticks = (self.value(now) - echo) & MASK
        return max(ticks, 1) * MS if ticks < 0x80000000 else 0

    def rejects(self, value: int, now: Ns) -> bool:
        """PAWS: `value` is older than TS.Recent, which still holds (RFC 7323 5.3 R1)."""
        return newer(self.recent, value) and now - self.recent_at < PAWS_IDLE_NS

    def on_value(self, value: int, now: Ns) -> None:
        """Keep TSval of a segment at the left edge (RFC 7323 4.3 (2), 5.3 R3); the caller checks the edge."""
        if not newer(self.recent, value) or now - self.recent_at >= PAWS_IDLE_NS:
            self.recent = value
            self.recent_at = now
