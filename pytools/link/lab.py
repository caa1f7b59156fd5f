"""The lab: a network namespace of our own, made without root where the system allows it.

It holds one veth pair: our stack has one end (no addresses of the kernel there), the real Linux kernel the other, with
hosts 1 and 2 of each network and the servers of `lab_services`. Entering it is for the whole process and for good. All
is gone with the process.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from errno import EACCES, EINVAL, ENOSPC, ENOSYS, EOPNOTSUPP, EPERM, EUSERS
from typing import Final

from pytools.errors import LinkError
from pytools.link import bpf, host, lab_services
from pytools.link.clock import StampClock
from pytools.link.kernel_end import bring_up, give_addresses, has_ipv6, host_of, set_ipv6
from pytools.link.netlink import (
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_INFO_DATA,
    IFLA_INFO_KIND,
    IFLA_LINKINFO,
    NLM_F_CREATE,
    NLM_F_EXCL,
    RTM_NEWLINK,
    VETH_INFO_PEER,
    Netlink,
    attribute,
    link_index,
    set_up,
)
from pytools.link.packet_socket import PacketLink
from pytools.link.privilege import has_capability
from pytools.wire.addr import Network

NETWORKS: Final = (Network(b"\x0a\0\0\0", 24), Network(b"\xfd" + bytes(15), 64))
"""10.0.0.0/24 and fd00::/64."""
OUR_END: Final = "lab0"
KERNELS_END: Final = "kernel0"
OUR_MAC: Final = b"\x02\0\0\0\0\x10"
KERNELS_MAC: Final = b"\x02\0\0\0\0\x01"

CLONE_NEWUSER: Final = 0x10000000
CLONE_NEWNET: Final = 0x40000000
_CAP_SYS_ADMIN: Final = 21
_INSTEAD: Final = "use --via sim, or run it as root"


class Lab(PacketLink):
    """A PacketLink on our end of the lab's wire. `servers` says whether the kernel's end serves.

    LinkError names the step that the system refused. It must come before any thread is started.
    """

    __slots__ = ("_child", "_lifeline")

    def __init__(
        self,
        interest: bpf.Interest,
        networks: Sequence[Network] = NETWORKS,
        *,
        index: int = 0,
        servers: bool = True,
        mac: bytes = b"",
        vlans: tuple[int, ...] = (),
        rx_stamps: bool = True,
        tx_stamps: bool = False,
        promiscuous: bool = False,
        send_buffer: int = 0,
        clock: StampClock | None = None,
    ) -> None:
        self._child = 0
        self._lifeline = -1
        enter()
        kernels = [(host_of(network, number), network.prefix_len) for network in networks for number in (1, 2)]
        on = _build(kernels)
        if servers:
            self._serve([address for address, _ in kernels])
        try:
            super().__init__(
                on,
                interest,
                index=index,
                mac=mac,
                vlans=vlans,
                rx_stamps=rx_stamps,
                tx_stamps=tx_stamps,
                promiscuous=promiscuous,
                send_buffer=send_buffer,
                clock=clock,
            )
        except BaseException:
            self._end_child()
            raise

    def _serve(self, addresses: Sequence[bytes]) -> None:
        try:
            opened = lab_services.open_sockets([one for one in addresses if len(one) == 4 or has_ipv6()])
            try:
                self._child, self._lifeline = lab_services.start(opened)
            finally:
                lab_services.close_sockets(opened)
        except OSError as error:
            raise _refused("starting its servers", error) from error

    def close(self) -> None:
        """May be called twice. The namespace stays until the process ends."""
        super().close()
        self._end_child()

    def _end_child(self) -> None:
        if self._child:
            os.close(self._lifeline)
            with suppress(OSError):
                os.kill(self._child, 9)
            with suppress(OSError):
                os.waitpid(self._child, 0)
            self._child = 0


def enter() -> None:
    """Move this process into namespaces of its own. LinkError: refused."""
    if has_capability(_CAP_SYS_ADMIN):
        # Root needs no user namespace, and without one it can become somebody else later.
        try:
            _unshare(CLONE_NEWNET)
            return
        except OSError as error:
            if error.errno != EPERM:
                raise _refused("unshare(NEWNET)", error) from error
    uid, gid = os.geteuid(), os.getegid()
    try:
        _unshare(CLONE_NEWUSER | CLONE_NEWNET)
    except OSError as error:
        raise _refused("unshare(NEWUSER|NEWNET)", error) from error
    # Ids stay what they are; a group map is only allowed to those who gave up setgroups().
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
        except OSError as error:
            raise _refused(f"writing {name}", error) from error


def _unshare(flags: int) -> None:
    """os.unshare() where Python has it (3.12), else the C library's."""
    if (unshare := getattr(os, "unshare", None)) is not None:
        unshare(flags)
        return
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _build(kernels: Sequence[tuple[bytes, int]]) -> host.Interface:
    """The wire with both ends up; returns ours."""
    step = "making a veth pair"
    try:
        with Netlink() as netlink:
            _make_pair(netlink)
            step = "bringing the interfaces up"
            kernels_end, ours = _index(KERNELS_END), _index(OUR_END)
            set_ipv6(OUR_END, "disable_ipv6", 1)
            set_up(netlink, host.LOOPBACK_INDEX)
            set_up(netlink, ours)
            bring_up(netlink, kernels_end, KERNELS_END)
            step = "giving the kernel's end its addresses"
            give_addresses(netlink, kernels_end, kernels)
    except OSError as error:
        raise _refused(step, error) from error
    found = host.interface(ours)
    assert found is not None
    return found


def _make_pair(netlink: Netlink) -> None:
    peer = link_index() + _name(OUR_END) + attribute(IFLA_ADDRESS, OUR_MAC)
    data = attribute(IFLA_INFO_DATA, attribute(VETH_INFO_PEER, peer))
    info = attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, b"veth") + data)
    request = link_index() + _name(KERNELS_END) + attribute(IFLA_ADDRESS, KERNELS_MAC) + info
    netlink.change(RTM_NEWLINK, request, NLM_F_CREATE | NLM_F_EXCL)


def _name(text: str) -> bytes:
    return attribute(IFLA_IFNAME, text.encode() + b"\0")


def _index(name: str) -> int:
    found = host.interface(name)
    if found is None:
        raise OSError(EINVAL, f"{name} is missing")
    return found.index


def _refused(step: str, error: OSError) -> LinkError:
    """One line: the step, the system's word, what is behind it as far as one can know."""
    number = error.errno or 0
    hint = _INSTEAD
    if number == ENOSPC:
        hint = f"user.max_user_namespaces or user.max_net_namespaces is used up or 0 (sysctl); {_INSTEAD}"
    elif number == EUSERS:
        hint = f"user namespaces are nested too deep here; {_INSTEAD}"
    elif number == EINVAL and step.startswith("unshare"):
        hint = "this process has other threads already, or the kernel has no such namespaces"
    elif number in (EPERM, EACCES) and step.startswith("unshare"):
        hint = f"a container's seccomp filter or this system's policy forbids user namespaces; {_INSTEAD}"
    elif number in (EPERM, EACCES):
        hint = (
            f"AppArmor or SELinux restricts user namespaces (kernel.apparmor_restrict_unprivileged_userns); {_INSTEAD}"
        )
    elif number in (EOPNOTSUPP, ENOSYS):
        hint = f"this kernel lacks it; {_INSTEAD}"
    return LinkError(f"lab: {step}: {os.strerror(number)}: {hint}", number)
