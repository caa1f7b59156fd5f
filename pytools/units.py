"""Time as this project counts it.

Instants are `*_at` (or `now`), durations `*_ns`; both are plain ints of nanoseconds. The clock is monotonic; wall time
is one injected epoch (see `engine`).
"""

from typing import Final

Ns = int

NEVER: Final[Ns] = 1 << 62
"""Later than any instant. An int, so that `min()` of deadlines stays in C."""

US: Final[Ns] = 1_000
MS: Final[Ns] = 1_000_000
SECOND: Final[Ns] = 1_000_000_000


def ns_from_seconds(seconds: float) -> Ns:
    """Seconds as people type them, to the nearest nanosecond."""
    return round(seconds * SECOND)
