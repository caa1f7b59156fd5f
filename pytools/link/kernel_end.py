"""The kernel's end of a private wire (TAP, lab): brought up and given its addresses."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import sleep
from typing import Final

from pytools.link import host
from pytools.link.netlink import Netlink, add_address, set_up
from pytools.wire.addr import Network

PATIENCE: Final = 2000
"""Naps of a fifth of a millisecond."""


def host_of(network: Network, number: int) -> bytes:
    """The address of host `number` in a network."""
    length = len(network.address)
    return (int.from_bytes(network.address, "big") + number).to_bytes(length, "big")


def set_ipv6(interface: str, setting: str, value: int) -> None:
    """One of net.ipv6.conf.INTERFACE; nothing where the kernel has no IPv6."""
    with (
        suppress(FileNotFoundError),
        open(f"/proc/sys/net/ipv6/conf/{interface}/{setting}", "w", encoding="ascii") as file,
    ):
        file.write(str(value))


def has_ipv6() -> bool:
    """Whether this kernel speaks IPv6."""
    return os.path.exists("/proc/sys/net/ipv6")


def bring_up(netlink: Netlink, index: int, name: str) -> None:
    """Switch the kernel's end on.

    It stays quiet: no duplicate address detection, no router solicitations, no repeated reports of multicast groups.
    """
    for setting in ("disable_ipv6", "accept_dad", "accept_ra", "router_solicitations"):
        set_ipv6(name, setting, 0)
    set_ipv6(name, "mldv2_unsolicited_report_interval", 3_600_000)
    set_up(netlink, index)


def give_addresses(netlink: Netlink, index: int, addresses: Iterable[tuple[bytes, int]]) -> None:
    """(address, prefix length) pairs, usable when this returns.

    IPv6 hears of the carrier a moment after the interface came up, and an address that comes before that stays unusable
    for a second. It also finishes a new address in the background: when its local route is there, all is.
    """
    usable = [(address, length) for address, length in addresses if len(address) == 4 or has_ipv6()]
    _wait_until(lambda: _is_running(index))
    for address, prefix_len in usable:
        add_address(netlink, index, address, prefix_len)
    awaited = {address for address, _ in usable if len(address) == 16}
    if awaited:
        _wait_until(lambda: awaited <= {one.network for one in host.routes(6) if one.kind == "local"})


def _is_running(index: int) -> bool:
    there = host.interface(index)
    return there is None or there.running


def _wait_until(condition: Callable[[], bool]) -> None:
    """One or two milliseconds as a rule; after PATIENCE it has to go on without."""
    for _ in range(PATIENCE):
        if condition():
            return
        sleep(0.0002)
