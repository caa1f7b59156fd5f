"""Keep-alive: probes when nothing has been heard for long (RFC 9293 3.8.4). Numbers only; the connection sends."""

from pytools.units import NEVER, Ns


class Keepalive:
    """Off by default (MUST-25). `at` is when the next probe is due."""

    __slots__ = ("at", "heard_at", "on", "probes")

    def __init__(self) -> None:
        self.on = False
        self.at: Ns = NEVER
        self.heard_at: Ns = 0
        """When an acceptable segment arrived last."""
        self.probes = 0
        """Probes since then."""

    def heard(self, now: Ns, idle_ns: Ns) -> None:
        """The peer lives."""
        self.heard_at = now
        if self.on:
            self.probes = 0
            self.at = now + idle_ns

    def gives_up(self, count: int, user_timeout_ns: Ns, now: Ns) -> bool:
        """Whether enough probes stayed unanswered; a user timeout counts time instead (as Linux)."""
        if user_timeout_ns:
            return self.probes > 0 and now - self.heard_at >= user_timeout_ns
        return self.probes >= count
