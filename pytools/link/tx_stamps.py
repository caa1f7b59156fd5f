"""Transmit stamps: when the kernel handed a frame to the device (SO_TIMESTAMPING, networking/timestamping.rst).

The kernel numbers the frames of a socket (OPT_ID) and puts each stamp with its number into the socket's error queue. An
error queue that nobody reads makes every poll return at once: `poll` empties it.
"""

import struct
from contextlib import suppress
from typing import Any, Final

from pytools.link.base import OnTransmitted
from pytools.link.clock import StampClock, monotonic_ns
from pytools.units import SECOND, Ns

SO_TIMESTAMPING: Final = 37
MSG_ERRQUEUE: Final = 0x2000
ORIGIN_TIMESTAMPING: Final = 4

_UNNUMBERED: Final = 0x2 | 0x10 | 0x400 | 0x800
"""SOF_TIMESTAMPING_: TX_SOFTWARE, SOFTWARE, OPT_CMSG, OPT_TSONLY."""
_NUMBERED: Final = _UNNUMBERED | 0x80
"""And OPT_ID."""
_PENDING_LIMIT: Final = 8192
"""A driver that gives no stamps must not make us remember every frame."""
_error = struct.Struct("=IBBBBII").unpack_from
_timespec = struct.Struct("@ll").unpack_from


class TxStamps:
    """The transmit stamps of one socket."""

    __slots__ = ("_clock", "_count", "_reports", "_socket", "_tokens")

    def __init__(self, sock: Any, clock: StampClock) -> None:
        """OSError: this socket has none."""
        self._socket = sock
        self._clock = clock
        self._tokens: dict[int, object] = {}
        self._reports: list[tuple[object, Ns, Ns]] = []
        self._restart()

    def _restart(self) -> None:
        """Number from 0 again: switching OPT_ID on resets the kernel's counter."""
        self._socket.setsockopt(1, SO_TIMESTAMPING, _UNNUMBERED)
        self._socket.setsockopt(1, SO_TIMESTAMPING, _NUMBERED)
        self._count = 0

    def sent(self, token: object) -> None:
        """A frame was taken by the socket; its stamp will be reported with `token`, unless that is None."""
        if token is not None:
            tokens = self._tokens
            tokens[self._count] = token
            if len(tokens) > _PENDING_LIMIT:
                del tokens[next(iter(tokens))]
        self._count = self._count + 1 & 0xFFFFFFFF

    def failed(self) -> None:
        """A frame was refused: whether it got a number depends on where, so the numbers start anew.

        Stamps that are still under way then are lost.
        """
        self._drain()
        self._tokens.clear()
        self._restart()

    def poll(self, on_transmitted: OnTransmitted) -> None:
        """Empty the error queue; report the stamps of frames that had a token."""
        self._drain()
        reports, self._reports = self._reports, []
        for token, now, at in reports:
            on_transmitted(token, now, at, None)

    def _drain(self) -> None:
        recvmsg = self._socket.recvmsg
        with suppress(OSError):  # empty, or a pending error of the socket, which the next call meets
            while True:
                self._on_report(recvmsg(0, 256, MSG_ERRQUEUE)[1])

    def _on_report(self, ancillary: list[tuple[int, int, bytes]]) -> None:
        number = stamp = None
        for level, kind, data in ancillary:
            if level == 1 and kind == SO_TIMESTAMPING:
                seconds, nanoseconds = _timespec(data)
                stamp = seconds * SECOND + nanoseconds
            elif len(data) >= 16:  # sock_extended_err: packet (263, 16), IPv4 (0, 11), IPv6 (41, 25)
                _, origin, _, _, _, _, counter = _error(data)
                if origin == ORIGIN_TIMESTAMPING:
                    number = counter
        if number is None or stamp is None:
            return
        token = self._tokens.pop(number, None)
        now = monotonic_ns()
        at = self._clock.to_monotonic(stamp, now)
        if token is not None and at is not None:
            self._reports.append((token, now, at))
