"""The contract of a congestion control: numbers in, a window out.

Windows are counted in segments of the effective MSS, as Linux counts them; RFC 5681's octets are `cwnd * smss`.
"""

from collections.abc import Callable
from typing import Final, Protocol

from pytools.units import Ns

INFINITE_SSTHRESH: Final = 0x7FFFFFFF
"""RFC 5681 3.1: arbitrarily high at the start."""


class CongestionControl(Protocol):
    """`cwnd` and `ssthresh` are read by the connection; the rest happens here."""

    name: str
    cwnd: int
    ssthresh: int

    def on_ack(self, acked: int, pipe: int, rtt_ns: Ns, now: Ns) -> None:
        """`acked` segments were acknowledged outside recovery while the window was in use: grow."""

    def on_loss(self, pipe: int, now: Ns) -> int:
        """A loss was found: the new ssthresh, in segments (the caller sets it)."""

    def on_timeout(self, now: Ns) -> None:
        """A retransmission timeout has reset the window to one segment."""


def make(name: str, initial_cwnd: int) -> CongestionControl:
    """A congestion control by its name; KeyError for an unknown one."""
    made = _MAKERS.get(name)
    if made is None:
        from pytools.stack.tcp.congestion.reno import Reno

        _MAKERS["reno"] = Reno
        made = _MAKERS[name]
    return made(initial_cwnd)


NAMES: Final = ("reno",)
_MAKERS: dict[str, Callable[[int], CongestionControl]] = {}
"""Filled when first needed: most commands use one of them or none."""
