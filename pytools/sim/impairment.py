"""What one direction of a wire may do to frames: settings only, `sim.wire` acts on them."""

from typing import Final

from pytools.units import MS, Ns

COVERED: Final = "covered"
PAYLOAD: Final = "payload"

QUEUE_PACKETS: Final = 1000
REORDER_NS: Final = 10 * MS


class GilbertElliott:
    """Loss in bursts: a good and a bad state, and a chance of loss in each (Gilbert 1960, Elliott 1963).

    Before each frame the state changes with `to_bad` (good to bad) or `to_good` (bad to good). With the defaults for
    the loss in each state a burst is 1 / to_good frames long on average and the loss is to_bad / (to_bad + to_good).
    """

    __slots__ = ("loss_bad", "loss_good", "to_bad", "to_good")

    def __init__(self, to_bad: float, to_good: float, loss_bad: float = 1.0, loss_good: float = 0.0) -> None:
        self.to_bad = to_bad
        self.to_good = to_good
        self.loss_bad = loss_bad
        self.loss_good = loss_good


class Impairment:
    """One direction of a wire. Everything is off by default; probabilities are 0..1, frame numbers count from 1.

    - `delay_ns`, `jitter_ns`: each frame takes delay plus a uniform draw from [-jitter, +jitter], never less than 0.
      Jitter alone keeps the order: a frame never arrives before the one sent ahead of it.
    - `rate_bps`: bits per second of whole frames (Ethernet header included, preamble and FCS not); frames wait for the
      one ahead in a queue of at most `queue_packets` frames or, when `queue_bytes` is set, at most that many octets.
      The frame on the wire counts in either limit.
    - `loss`: each frame for itself; `bursts`: Gilbert-Elliott; `drops`: exactly these frame numbers; `drop_every`: each
      n-th frame; `blackouts`: (from, to) in time since the wire was made, the end excluded.
    - `duplicate`: a second copy, not lost or doubled again. `reorder`: `reorder_ns` of extra delay, so that later
      frames overtake.
    - `corrupt`: one bit is flipped. COVERED picks any bit that a checksum of the receiver covers (an IPv4 header, a
      TCP, UDP or ICMP message), PAYLOAD only the TCP, UDP or ICMP message; a frame without such bits (ARP) is left
      alone. A real wire would lose such frames to the FCS; here they arrive, and a checksum must find them.
    """

    __slots__ = (
        "blackouts",
        "bursts",
        "corrupt",
        "corrupt_where",
        "delay_ns",
        "drop_every",
        "drops",
        "duplicate",
        "jitter_ns",
        "loss",
        "queue_bytes",
        "queue_packets",
        "rate_bps",
        "reorder",
        "reorder_ns",
    )

    def __init__(
        self,
        *,
        delay_ns: Ns = 0,
        jitter_ns: Ns = 0,
        rate_bps: int = 0,
        queue_packets: int = QUEUE_PACKETS,
        queue_bytes: int = 0,
        loss: float = 0.0,
        bursts: GilbertElliott | None = None,
        drops: frozenset[int] = frozenset(),
        drop_every: int = 0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        reorder_ns: Ns = REORDER_NS,
        corrupt: float = 0.0,
        corrupt_where: str = COVERED,
        blackouts: tuple[tuple[Ns, Ns], ...] = (),
    ) -> None:
        self.delay_ns = delay_ns
        self.jitter_ns = jitter_ns
        self.rate_bps = rate_bps
        self.queue_packets = queue_packets
        self.queue_bytes = queue_bytes
        self.loss = loss
        self.bursts = bursts
        self.drops = drops
        self.drop_every = drop_every
        self.duplicate = duplicate
        self.reorder = reorder
        self.reorder_ns = reorder_ns
        self.corrupt = corrupt
        self.corrupt_where = corrupt_where
        self.blackouts = blackouts
