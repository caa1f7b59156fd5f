"""The kernel's end of a private wire (TAP, lab): brought up and given its addresses."""

import os
from collections.abc import Iterable
from contextlib import suppress

from pytools.link.netlink import Netlink, add_address, set_up
from pytools.wire.addr import Network


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
    """(address, prefix length) pairs, usable at once: call it when there is a carrier (else IPv6 waits a second)."""
    for address, prefix_len in addresses:
        if len(address) == 4 or has_ipv6():
            add_address(netlink, index, address, prefix_len)
