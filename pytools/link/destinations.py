"""What sendto() wants for a destination, remembered: making the text of an address costs more than sending to it."""

import _socket
from typing import Any, Final

from pytools.link import host
from pytools.link.host import Interface

AF_INET, AF_INET6 = 2, 10
_LIMIT: Final = 4096


def needs_scope(address: bytes) -> bool:
    """An IPv6 address that means nothing without its link: link-local, or multicast on one link (RFC 4007)."""
    if len(address) == 4:
        return False
    return (address[0] == 0xFE and address[1] & 0xC0 == 0x80) or (address[0] == 0xFF and address[1] & 15 in (1, 2))


class Destinations:
    """Socket addresses for packets that leave by the interface `on`; without one (or lo) by where the address is."""

    __slots__ = ("_known", "_on")

    def __init__(self, on: Interface | None) -> None:
        self._on = on
        self._known: dict[bytes, Any] = {}

    def address(self, dst: bytes, src: bytes) -> Any:
        """For a packet from `src` to `dst`."""
        key = dst if len(dst) == 4 else dst + src
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _LIMIT:
                self._known.clear()
            found = self._known[key] = self._make(dst, src)
        return found

    def _make(self, dst: bytes, src: bytes) -> Any:
        if len(dst) == 4:
            return _socket.inet_ntop(AF_INET, dst), 0
        return _socket.inet_ntop(AF_INET6, dst), 0, 0, self._scope(dst, src) if needs_scope(dst) else 0

    def _scope(self, dst: bytes, src: bytes) -> int:
        """The interface of a link-local destination: the one that is given, that has it, or that has our source."""
        if self._on is not None and not self._on.loopback:
            return self._on.index
        owners = {one.address: one.index for one in host.addresses()}
        return owners.get(dst) or owners.get(src) or (self._on.index if self._on is not None else 0)
