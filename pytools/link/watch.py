"""Learn at once that an interface went down or an address went away during a run (rtnetlink notifications)."""

import struct
from collections.abc import Sequence
from typing import Final

from pytools.link import host
from pytools.link.netlink import RTM_DELADDR, RTM_DELLINK, RTM_NEWADDR, RTM_NEWLINK, Netlink

_GROUPS: Final = 0x1 | 0x10 | 0x100  # RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR

LINK_DOWN: Final = "link-down"
LINK_UP: Final = "link-up"
LINK_GONE: Final = "link-gone"
LINK_NEW: Final = "link-new"
ADDRESS_GONE: Final = "address-gone"
ADDRESS_NEW: Final = "address-new"


class HostChange:
    """One thing that changed. `address` is empty for changes of the interface itself."""

    __slots__ = ("address", "index", "kind", "name")

    def __init__(self, kind: str, index: int, name: str, address: bytes = b"") -> None:
        self.kind = kind
        """link-down, link-up, link-gone, link-new, address-gone or address-new."""
        self.index = index
        self.name = name
        self.address = address


class HostWatch:
    """Interfaces and addresses of this network namespace, watched. No privilege needed.

    An interface counts as up when it is switched on and has a carrier. Only differences are reported: the kernel
    repeats itself.
    """

    __slots__ = ("_addresses", "_links", "_netlink")

    def __init__(self) -> None:
        self._netlink = Netlink(_GROUPS)
        self._links: dict[int, tuple[str, bool]] = {}
        self._addresses: set[tuple[int, bytes]] = set()
        self._read_all()

    def filenos(self) -> Sequence[int]:
        """Descriptors to watch for reading."""
        return (self._netlink.fileno(),)

    def close(self) -> None:
        """May be called twice."""
        self._netlink.close()

    def poll(self) -> list[HostChange]:
        """What changed since the last call, in order; never blocks."""
        waiting = self._netlink.receive()
        if waiting is None:  # the kernel had to drop notifications: compare the whole state
            return self._read_all()
        changes: list[HostChange] = []
        for kind, payload in waiting:
            if kind in (RTM_NEWLINK, RTM_DELLINK):
                self._on_link(kind, payload, changes)
            elif kind in (RTM_NEWADDR, RTM_DELADDR):
                self._on_address(kind, payload, changes)
        return changes

    def _on_link(self, kind: int, payload: bytes, changes: list[HostChange]) -> None:
        if struct.unpack_from("=B", payload)[0] != 0:  # a bridge port's message (AF_BRIDGE), not the interface's
            return
        link = host.decode_link(payload)
        if kind == RTM_DELLINK:
            self._forget(link.index, changes)
        else:
            self._remember(link, changes)

    def _remember(self, link: host.Interface, changes: list[HostChange]) -> None:
        up = link.up and link.running
        before = self._links.get(link.index)
        self._links[link.index] = (link.name, up)
        if before is None:
            changes.append(HostChange(LINK_NEW, link.index, link.name))
        elif before[1] != up:
            changes.append(HostChange(LINK_UP if up else LINK_DOWN, link.index, link.name))

    def _forget(self, index: int, changes: list[HostChange]) -> None:
        before = self._links.pop(index, None)
        if before is not None:
            changes.append(HostChange(LINK_GONE, index, before[0]))

    def _on_address(self, kind: int, payload: bytes, changes: list[HostChange]) -> None:
        found = host.decode_address(payload)
        self._set_address(found.index, found.address, kind == RTM_NEWADDR, changes)

    def _set_address(self, index: int, address: bytes, present: bool, changes: list[HostChange]) -> None:
        key = (index, address)
        if (key in self._addresses) == present:
            return
        name = self._links.get(index, ("", False))[0]
        if present:
            self._addresses.add(key)
            changes.append(HostChange(ADDRESS_NEW, index, name, address))
        else:
            self._addresses.remove(key)
            changes.append(HostChange(ADDRESS_GONE, index, name, address))

    def _read_all(self) -> list[HostChange]:
        changes: list[HostChange] = []
        links = host.interfaces()
        addresses = {(one.index, one.address) for one in host.addresses()}
        for index, address in sorted(self._addresses - addresses):
            self._set_address(index, address, False, changes)
        for index in self._links.keys() - {link.index for link in links}:
            self._forget(index, changes)
        for link in links:
            self._remember(link, changes)
        for index, address in sorted(addresses - self._addresses):
            self._set_address(index, address, True, changes)
        return changes
