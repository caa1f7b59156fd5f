"""What the driver sees of a link."""

from collections.abc import Callable, Sequence
from typing import Protocol

from pytools.engine import Port, RxMeta, Transmit
from pytools.units import Ns

Sink = Callable[[memoryview, Ns, RxMeta], None]
"""Takes (frame, now, meta); an engine's `on_frame`."""

OnTransmitted = Callable[[object, Ns, Ns | None, OSError | None], None]
"""Takes (token, now, at, error); an engine's `on_transmitted`."""


class Link(Protocol):
    """One or more ports to the wire. Every method is non-blocking.

    A link converts the kernel's realtime stamps to the monotonic clock before an engine sees them, and finishes what it
    can't offload (checksums, super-segments) with `wire.gso`.
    """

    @property
    def ports(self) -> Sequence[Port]:
        """What it offers to an engine."""

    def filenos(self) -> Sequence[int]:
        """Descriptors to watch for reading (empty for links that live in virtual time)."""

    def writable_filenos(self) -> Sequence[int]:
        """Descriptors to watch for writing after `send` said False (empty: it is offered again a little later)."""

    def recv_batch(self, sink: Sink, now: Callable[[], Ns], limit: int) -> int:
        """Give up to `limit` waiting frames to `sink`; returns how many. LinkError: the interface is gone."""

    def send(self, transmit: Transmit) -> bool:
        """Send one frame; False when the link is full (keep the Transmit and offer it again when it is writable).

        Raises OSError when the system refused this one frame (EMSGSIZE, EPERM, ENETDOWN, ENOBUFS ...).
        """

    def poll_stamps(self, on_transmitted: OnTransmitted) -> None:
        """Report transmit stamps that have arrived, if the link was opened with them."""

    def close(self) -> None:
        """Give back every socket and device. May be called twice."""
