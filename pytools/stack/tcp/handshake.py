"""What the two sides agree on with their SYNs (RFC 9293 3.7.1, RFC 7323, RFC 2018)."""

from typing import Final

from pytools.stack.tcp.config import TcpConfig
from pytools.wire import tcp_options
from pytools.wire.tcp_options import NOP, TcpOptions

DEFAULT_MSS4: Final = 536
DEFAULT_MSS6: Final = 1220
"""Without the option (RFC 9293 MUST-15)."""
MAX_SHIFT: Final = 14
TIMESTAMPS_LENGTH: Final = 12
"""Octets of the aligned option on every segment."""


class Agreement:
    """What holds for the connection; before the peer's SYN it is what we offer."""

    __slots__ = (
        "advertised_mss",
        "default_mss",
        "our_shift",
        "peer_mss",
        "peer_shift",
        "sack",
        "timestamps",
        "window_scaling",
    )

    def __init__(self, config: TcpConfig, advertised_mss: int, default_mss: int) -> None:
        self.advertised_mss = advertised_mss
        self.peer_mss = self.default_mss = default_mss
        self.sack = config.sack
        self.timestamps = config.timestamps
        self.window_scaling = config.window_scaling
        self.our_shift = shift_for(config.receive_buffer_max) if config.window_scaling else 0
        self.peer_shift = 0

    def on_syn(self, options: TcpOptions) -> None:
        """The peer's SYN or SYN-ACK: an option is in use only if both sides have it."""
        if options.mss:
            self.peer_mss = max(options.mss, 8)
        self.sack = self.sack and options.sack_permitted
        self.timestamps = self.timestamps and options.ts_val is not None
        self.window_scaling = self.window_scaling and options.window_scale is not None
        if self.window_scaling:
            self.peer_shift = min(options.window_scale or 0, MAX_SHIFT)  # RFC 7323 2.3
        else:
            self.our_shift = self.peer_shift = 0

    def effective_mss(self, path_mss: int) -> int:
        """RFC 9293 MUST-16, RFC 6691: options of every segment are subtracted here, not in the MSS option."""
        return max(min(self.peer_mss, path_mss) - (TIMESTAMPS_LENGTH if self.timestamps else 0), 8)


def shift_for(buffer: int) -> int:
    """The smallest shift with which a 16-bit window covers `buffer` (RFC 7323 2.2)."""
    shift = 0
    while shift < MAX_SHIFT and (0xFFFF << shift) < buffer:
        shift += 1
    return shift


def syn_options(
    *, mss: int, sack_permitted: bool, timestamp: tuple[int, int] | None, window_scale: int | None
) -> bytes:
    """Options of a SYN or SYN-ACK in Linux' order, aligned with NOPs: mss, sackOK, TS, nop, wscale."""
    nop = bytes((NOP,))
    out = tcp_options.mss(mss)
    if timestamp is not None:
        # SACK-permitted takes the room of the two NOPs before the timestamps.
        stamps = tcp_options.timestamps(*timestamp)
        out += tcp_options.sack_permitted() + stamps[2:] if sack_permitted else stamps
    elif sack_permitted:
        out += nop + nop + tcp_options.sack_permitted()
    if window_scale is not None:
        out += nop + tcp_options.window_scale(window_scale)
    return out


def sack_option(blocks: list[tuple[int, int]]) -> bytes:
    """A SACK option behind two NOPs; `blocks` are unwrapped."""
    mask = 0xFFFFFFFF
    return bytes((NOP, NOP)) + tcp_options.sack([(left & mask, right & mask) for left, right in blocks])
