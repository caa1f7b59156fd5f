"""What the tests of the links share: waiting for frames, and frames of scapy's making."""

import select
import time
from collections.abc import Callable
from typing import Any

from pytools.engine import RxMeta, Transmit

PATIENCE = 3.0
"""Seconds until a frame that should come is given up."""


class Got:
    """A received frame with a copy of what was known about it."""

    def __init__(self, frame: bytes, now: int, meta: RxMeta) -> None:
        self.frame = frame
        self.now = now
        self.at = meta.at
        self.port = meta.port
        self.checksum = meta.checksum
        self.gso_size = meta.gso_size
        self.packet_type = meta.packet_type

    def __repr__(self) -> str:
        return f"Got({self.frame.hex()}, checksum={self.checksum}, gso={self.gso_size}, type={self.packet_type})"


def receive(link: Any, wanted: Callable[[Got], bool] = lambda got: True, patience: float = PATIENCE) -> Got | None:
    """The first frame that is `wanted`, or None."""
    end = time.monotonic() + patience
    found: list[Got] = []

    def sink(frame: memoryview, now: int, meta: RxMeta) -> None:
        got = Got(bytes(frame), now, meta)
        if wanted(got):
            found.append(got)

    while not found and (left := end - time.monotonic()) > 0:
        select.select(link.filenos(), (), (), left)
        link.recv_batch(sink, time.monotonic_ns, 1)
    return found[0] if found else None


def transmit(packet: Any, **fields: Any) -> Transmit:
    """A Transmit of two parts, as a stack would make it."""
    octets = bytes(packet)
    return Transmit(fields.pop("port", 0), (octets[:14], octets[14:]), **fields)


def exchange(link: Any, packet: Any, wanted: Callable[[Got], bool]) -> Got:
    """Send one frame and wait for its answer; the answer's stamp must lie between."""
    before = time.monotonic_ns()
    assert link.send(transmit(packet))
    got = receive(link, wanted)
    assert got is not None, "no answer"
    if got.at is not None:
        assert before < got.at <= got.now, f"stamp {got.at - before} ns after sending, taken at {got.now - before}"
    return got
