"""Loss recovery: which phase a sender is in and what the window is meanwhile (RFC 5681, 6582, 6675, 6937)."""

from typing import Final

OPEN: Final = "Open"
DISORDER: Final = "Disorder"
RECOVERY: Final = "Recovery"
LOSS: Final = "Loss"


class Recovery:
    """Phase, recovery point and the proportional rate reduction; knows numbers only."""

    __slots__ = ("cause_next", "phase", "prior_cwnd", "prr_delivered", "prr_out", "recovery_point")

    def __init__(self) -> None:
        self.phase = OPEN
        self.recovery_point = 0
        """SND.NXT at entry: recovery ends when this is acknowledged (RFC 6675 5, RFC 6582 recover)."""
        self.prior_cwnd = 0
        self.prr_delivered = 0
        self.prr_out = 0
        self.cause_next = ""
        """Cause of the first resend of this phase; later ones are holes."""

    @property
    def recovering(self) -> bool:
        """Whether the window is governed by recovery and not by the congestion control."""
        return self.phase is RECOVERY or self.phase is LOSS

    def enter(self, snd_nxt: int, cwnd: int) -> None:
        """Fast recovery begins."""
        self.phase = RECOVERY
        self.recovery_point = snd_nxt
        self.prior_cwnd = cwnd
        self.prr_delivered = self.prr_out = 0
        self.cause_next = "fast"

    def enter_loss(self, snd_nxt: int) -> None:
        """A timeout: go back to SND.UNA with a window of one segment (RFC 5681 3.1)."""
        self.phase = LOSS
        self.recovery_point = snd_nxt
        self.cause_next = "rto"

    def leave(self) -> None:
        """The recovery point is acknowledged."""
        self.phase = OPEN
        self.cause_next = ""

    def cause(self) -> str:
        """Why the next resend goes out (see `trace.cause.Cause`)."""
        first, self.cause_next = self.cause_next, ""
        if first:
            return first
        return "loss" if self.phase is LOSS else "recovery"

    def window(
        self, delivered: int, newly_lost: bool, advanced: bool, pipe: int, ssthresh: int, *, must_send: bool
    ) -> int:
        """cwnd during fast recovery: proportional rate reduction with its slow-start bound (RFC 6937 3).

        `must_send`: a resend goes out in any case (the first one; NewReno's at a partial ACK, RFC 6582 3.2).
        """
        self.prr_delivered += delivered
        if pipe > ssthresh:
            allowed = -(-self.prr_delivered * ssthresh // max(self.prior_cwnd, 1)) - self.prr_out
        else:
            limit = max(self.prr_delivered - self.prr_out, delivered)
            if advanced and not newly_lost:
                limit += 1
            allowed = min(ssthresh - pipe, limit)
        if must_send or self.prr_out == 0:
            allowed = max(allowed, 1)
        return pipe + max(allowed, 0)
