"""The checks of an arriving segment, as pure functions over numbers (RFC 9293 3.10.7.4, RFC 5961)."""

from typing import Final

ACCEPT: Final = 0
DROP: Final = 1
CHALLENGE: Final = 2
"""Drop it and answer with an ACK, within the rate limit."""
RESET: Final = 3


def in_window(seq: int, end: int, wup: int, edge: int) -> bool:
    """First check: some of `seq`:`end` is at or right of what we last acknowledged and not beyond the right edge.

    Wider than the RFC's table by what is between Last.ACK.sent and RCV.NXT and by a segment at a closed window, so that
    ACKs, RSTs and urgent pointers on it still count (MUST-66). Text outside the window is cut off later.
    """
    return end >= wup and seq <= edge


def on_reset(seq: int, rcv_nxt: int) -> int:
    """Second check: only the exact number resets (RFC 5961 3.2); elsewhere in the window it is challenged."""
    return RESET if seq == rcv_nxt else CHALLENGE


def on_ack(ack: int, snd_una: int, snd_nxt: int, max_snd_wnd: int) -> int:
    """Fifth check: neither for data never sent nor older than the largest window (RFC 5961 5.2)."""
    if ack > snd_nxt or ack < snd_una - max_snd_wnd:
        return CHALLENGE
    return ACCEPT


def time_wait_reopens(seq: int, rcv_nxt: int, ts_value: int | None, ts_recent: int, newer: bool) -> bool:
    """Whether a SYN may start a new incarnation from TIME-WAIT (RFC 6191 2, RFC 9293 MAY-2)."""
    if ts_value is not None and ts_recent:
        return newer or (ts_value == ts_recent and seq > rcv_nxt)
    return seq > rcv_nxt
