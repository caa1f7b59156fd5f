"""Round-trip time and retransmission timeout (RFC 6298)."""

from pytools.units import Ns


class RttEstimator:
    """SRTT, RTTVAR and RTO of one connection, in nanoseconds.

    Linux' reading of RFC 6298 2.4: the floor is on the variance term, RTO = SRTT + max(floor, 4 * RTTVAR), so the
    timeout never comes closer to the round trip than the floor.
    """

    __slots__ = ("backoff_count", "latest_ns", "min_ns", "rto_max_ns", "rto_min_ns", "rttvar_ns", "srtt_ns", "_base_ns")

    def __init__(self, initial_ns: Ns, rto_min_ns: Ns, rto_max_ns: Ns) -> None:
        self.srtt_ns: Ns = 0
        self.rttvar_ns: Ns = 0
        self.latest_ns: Ns = 0
        self.min_ns: Ns = 0
        """Smallest sample so far, 0 before the first."""
        self.rto_min_ns = rto_min_ns
        self.rto_max_ns = rto_max_ns
        self.backoff_count = 0
        self._base_ns: Ns = initial_ns

    @property
    def rto_ns(self) -> Ns:
        """The timeout to arm now, with the back-off of 5.5 (at most 16 doublings) and the bound of 2.5."""
        return min(self._base_ns << min(self.backoff_count, 16), self.rto_max_ns)

    @property
    def base_rto_ns(self) -> Ns:
        """The timeout without back-off."""
        return self._base_ns

    def on_sample(self, rtt_ns: Ns) -> None:
        """Take one measurement (RFC 6298 2.2, 2.3) and end the back-off."""
        rtt_ns = max(rtt_ns, 1)
        self.latest_ns = rtt_ns
        self.min_ns = min(self.min_ns, rtt_ns) if self.min_ns else rtt_ns
        if self.srtt_ns == 0:
            self.srtt_ns = rtt_ns
            self.rttvar_ns = rtt_ns // 2
        else:
            self.rttvar_ns += (abs(self.srtt_ns - rtt_ns) - self.rttvar_ns) // 4
            self.srtt_ns += (rtt_ns - self.srtt_ns) // 8
        self._base_ns = min(self.srtt_ns + max(self.rto_min_ns, 4 * self.rttvar_ns), self.rto_max_ns)
        self.backoff_count = 0

    def on_timeout(self) -> None:
        """Double the timeout (RFC 6298 5.5)."""
        self.backoff_count += 1

    def on_syn_timed_out(self, fallback_ns: Ns) -> None:
        """The SYN was lost before any sample: data transfer starts with `fallback_ns` (RFC 6298 5.7)."""
        if self.srtt_ns == 0:
            self._base_ns = max(self._base_ns, fallback_ns)
        self.backoff_count = 0
