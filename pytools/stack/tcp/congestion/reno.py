"""Reno: slow start, congestion avoidance, half the window on loss (RFC 5681)."""

from pytools.stack.tcp.congestion.base import INFINITE_SSTHRESH
from pytools.units import Ns


class Reno:
    """RFC 5681 with appropriate octet counting in whole segments (RFC 3465 with L = the segments acknowledged)."""

    __slots__ = ("_credit", "cwnd", "ssthresh")

    name = "reno"

    def __init__(self, initial_cwnd: int) -> None:
        self.cwnd = initial_cwnd
        self.ssthresh = INFINITE_SSTHRESH
        self._credit = 0

    def on_ack(self, acked: int, pipe: int, rtt_ns: Ns, now: Ns) -> None:
        """Exponential below ssthresh, then one segment a round trip (RFC 5681 3.1)."""
        if self.cwnd < self.ssthresh:
            step = min(acked, self.ssthresh - self.cwnd)
            self.cwnd += step
            acked -= step
        if acked:
            self._credit += acked
            if self._credit >= self.cwnd:
                grown = self._credit // self.cwnd
                self._credit -= grown * self.cwnd
                self.cwnd += grown

    def on_loss(self, pipe: int, now: Ns) -> int:
        """max(half, 2) (RFC 5681 equation 4; Linux halves cwnd, which equals FlightSize when the window is in use)."""
        return max(self.cwnd // 2, 2)

    def on_timeout(self, now: Ns) -> None:
        """Slow start begins anew."""
        self._credit = 0
