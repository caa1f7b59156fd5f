"""An asyncio loop that lives in virtual time: its clock and its waiting are those of a simulated network."""

import asyncio
import selectors
from typing import Any

from pytools.run.host import SocketHost
from pytools.run.sockets_pump import Pump
from pytools.units import SECOND


class _Selector(selectors.DefaultSelector):  # type: ignore[misc,valid-type,unused-ignore]
    """Input of real descriptors first; otherwise the network's next event, and no time passes in the machine."""

    def __init__(self, pump: Pump) -> None:
        super().__init__()
        self._pump = pump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if self._turn(timeout):
            return super().select(0)
        return super().select(None)  # only another thread (a name look-up) can still do something

    def _turn(self, timeout: float | None) -> bool:
        pump = self._pump
        pump.enter()
        try:
            until = pump.deadline(timeout)
            return pump.turn(until)
        finally:
            pump.leave()


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop for hosts of one simulated network: `with asyncio.Runner(loop_factory=lambda: VirtualLoop(host))`."""

    turns_pump = True

    def __init__(self, host: SocketHost) -> None:
        super().__init__(_Selector(host.pump))
        self._pump: Any = host.pump
        self._clock_resolution = 1 / SECOND

    def time(self) -> float:
        """The network's clock in seconds."""
        return float(self._pump.now()) / SECOND
