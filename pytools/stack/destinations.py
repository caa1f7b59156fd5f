"""The destination cache: what was learned of single destinations (RFC 4861 5.1, RFC 1191 5.2, RFC 8201 5.2).

Two things are learned: a path MTU below that of the route, and a first hop from a Redirect. Bounded by two generations:
when the young one is full it becomes the old one, and what nobody touched there is forgotten.
"""

from typing import Final

from pytools.stack.node import Node
from pytools.trace.events import PathMtuChanged, RouteChanged
from pytools.units import NEVER, Ns

PLATEAUS: Final = (65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68)
"""RFC 1191 7: guesses for a router that doesn't say its MTU."""


def plateau_below(length: int) -> int:
    """The largest plausible MTU below `length` (RFC 1191 5 and 7)."""
    return next((plateau for plateau in PLATEAUS if plateau < length), 68)


class Destination:
    """What was learned of one address; `mtu` 0 and `gateway` None are unknown."""

    __slots__ = ("gateway", "mtu", "mtu_until", "port")

    def __init__(self) -> None:
        self.mtu = 0
        self.mtu_until: Ns = NEVER
        self.gateway: bytes | None = None
        self.port = 0


class Destinations:
    """Address -> Destination, for both families."""

    __slots__ = ("_node", "_old", "_young")

    def __init__(self, node: Node) -> None:
        self._node = node
        self._young: dict[bytes, Destination] = {}
        self._old: dict[bytes, Destination] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, dst: bytes, now: Ns) -> Destination | None:
        """What is known of `dst`; an estimate that is out of date is forgotten here (RFC 1191 6.3)."""
        if not self._young and not self._old:
            return None
        entry = self._young.get(dst)
        if entry is None:
            entry = self._old.pop(dst, None)
            if entry is None:
                return None
            self._insert(dst, entry)
        if entry.mtu and now >= entry.mtu_until:
            self._changed(dst, entry.mtu, 0, b"", now)
            entry.mtu = 0
        return entry

    def too_big(self, dst: bytes, mtu: int, reporter: bytes, now: Ns) -> bool:
        """Lower the estimate for `dst` to `mtu` (already checked against the floor); False if it isn't lower."""
        entry = self.get(dst, now)
        if entry is not None and entry.mtu and mtu >= entry.mtu:
            # Never raised by a message (RFC 1191 6.3); the same again proves that it still holds.
            if mtu == entry.mtu:
                entry.mtu_until = now + self._node.config.path_mtu_expires_ns
            return False
        if entry is None:
            entry = Destination()
            self._insert(dst, entry)
        old, entry.mtu = entry.mtu, mtu
        entry.mtu_until = now + self._node.config.path_mtu_expires_ns
        self._changed(dst, old, mtu, reporter, now)
        return True

    def redirect(self, dst: bytes, gateway: bytes, port: int, reporter: bytes, now: Ns) -> None:
        """From now on `dst` is reached by `gateway` (`dst` itself: it is on the link)."""
        entry = self.get(dst, now)
        if entry is None:
            entry = Destination()
            self._insert(dst, entry)
        entry.gateway, entry.port = gateway, port
        self._node.generation += 1
        if (emit := self._node.trace.ip) is not None:
            emit(RouteChanged(now, dst, gateway, reporter))

    def forget_gateway(self, gateway: bytes) -> None:
        """A first hop is dead: routes that a Redirect moved there are void (RFC 1122 3.3.1.5)."""
        for generation in (self._young, self._old):
            for entry in generation.values():
                if entry.gateway == gateway:
                    entry.gateway = None
        self._node.generation += 1

    def _insert(self, dst: bytes, entry: Destination) -> None:
        if len(self._young) >= self._node.config.path_mtu_limit // 2:
            self._old = self._young
            self._young = {}
        self._young[dst] = entry

    def _changed(self, dst: bytes, old: int, new: int, reporter: bytes, now: Ns) -> None:
        self._node.generation += 1
        if (emit := self._node.trace.ip) is not None:
            emit(PathMtuChanged(now, dst, old, new, reporter))
