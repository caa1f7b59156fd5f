"""The Linux kernel as the world of a script: a TUN device in a network namespace of our own, in real time.

`Kernel` reads what the kernel sends and writes what a script injects; `drill_syscalls` makes the calls. Everything is
gone with the process, so that each script runs in a child of its own (`drill_jobs`).
"""

import os
import select
import struct
import time
from contextlib import suppress
from fcntl import ioctl
from typing import Final

from pytools.errors import LinkError
from pytools.link import host, lab
from pytools.link.kernel_end import bring_up, give_addresses
from pytools.link.netlink import NLM_F_CREATE, RTM_NEWLINK, RTM_NEWROUTE, Netlink, attribute, link_index, set_up
from pytools.link.tap import (
    DEVICE,
    IFF_NO_PI,
    IFF_VNET_HDR,
    TUN_F_CSUM,
    TUN_F_TSO4,
    TUN_F_TSO6,
    TUNSETIFF,
    TUNSETOFFLOAD,
)
from pytools.sim.drill.machine import LOCAL, PREFIX, REMOTE, Sent
from pytools.sim.drill.packets import Flow
from pytools.sim.drill.settings import Settings
from pytools.units import Ns
from pytools.wire import tcp, udp, vnet

IFF_TUN: Final = 1
IFLA_MTU: Final = 4
RTA_OIF: Final = 4
_NAME: Final = "tun0"
_LARGEST: Final = 65536 + vnet.LENGTH
_BASELINE: Final = (
    ("net/ipv4/tcp_congestion_control", "reno"),
    ("net/ipv4/tcp_rmem", "4096 131072 6291456"),
    ("net/ipv4/tcp_wmem", "4096 16384 4194304"),
)
"""What namespaces inherit from a host's own configuration, as Linux has it."""


class Kernel:
    """The TUN device. LinkError: refused, with the step."""

    def __init__(self, settings: Settings) -> None:
        lab.enter()
        self.family = settings.family
        self.mapped = settings.mapped
        self.local = settings.local or LOCAL[self.family]
        self.remote = settings.remote or REMOTE[self.family]
        self.sent: list[Sent] = []
        self._applied = 0
        self._mtu = settings.mtu
        self._fd = -1
        self.wake_reader, self.wake_writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for path, value in _BASELINE:
            _write_sysctl(path, value)
        self.configure(settings)
        self._open(settings)
        self._poll = select.poll()
        for descriptor in (self._fd, self.wake_reader):
            self._poll.register(descriptor, select.POLLIN)
        self.start_at = self.now

    def _open(self, settings: Settings) -> None:
        step = DEVICE
        try:
            self._fd = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            step = "TUNSETIFF"
            ioctl(self._fd, TUNSETIFF, struct.pack("16sH22x", _NAME.encode(), IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
            step = "setting the device up"
            self._offload(settings.gso)
            found = host.interface(_NAME)
            if found is None:
                raise OSError(19, "No such device")
            with Netlink() as netlink:
                set_up(netlink, host.LOOPBACK_INDEX)
                netlink.change(RTM_NEWLINK, link_index(found.index) + attribute(IFLA_MTU, struct.pack("=I", self._mtu)))
                bring_up(netlink, found.index, _NAME)
                give_addresses(netlink, found.index, [(self.local, PREFIX[self.family])])
                netlink.change(RTM_NEWROUTE, _default_route(self.family, found.index), NLM_F_CREATE)
        except OSError as error:
            hint = " (needs root, or a /dev/net/tun that users may open)" if error.errno in (1, 13) else ""
            raise LinkError(f"drill --against kernel: {step}: {error.strerror}{hint}", error.errno or 0) from error

    def _offload(self, on: bool) -> None:
        ioctl(self._fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 if on else 0)

    @property
    def now(self) -> Ns:
        """The monotonic clock."""
        return time.monotonic_ns()

    def configure(self, settings: Settings) -> None:
        """Sysctls of the script go to the namespace; those that this kernel lacks are left out."""
        for path, value in settings.sysctls[self._applied :]:
            _write_sysctl(path, value)
        self._applied = len(settings.sysctls)
        if self._fd >= 0:
            self._offload(settings.gso)

    def settled(self, flow: Flow) -> bool:
        """Our numbers are known and the peer has acknowledged the SYN: another SYN is another connection's."""
        return flow.established

    def inject(self, packet: bytes) -> None:
        """Write a packet; the kernel takes it in at once."""
        with suppress(BlockingIOError):
            os.write(self._fd, vnet.NONE + packet)
        self._read()

    def step(self, until: Ns) -> bool:
        """Wait for a packet, for a call that returns, or for `until`."""
        if self._read():
            return True
        left = until - time.monotonic_ns()
        if left <= 0:
            return False
        if left > 3_000_000:
            ready = self._poll.poll(left // 1_000_000 - 1)
        else:  # poll(2) counts in milliseconds
            ready = [(fd, 1) for fd in select.select([self._fd, self.wake_reader], [], [], left / 1e9)[0]]
        if not ready:
            return self.step(until) if until > time.monotonic_ns() else False
        with suppress(BlockingIOError):
            os.read(self.wake_reader, 4096)
        self._read()
        return True

    def _read(self) -> bool:
        """Take what the kernel has sent; whether there was something of a script's."""
        count = len(self.sent)
        while True:
            try:
                data = os.read(self._fd, _LARGEST)
            except BlockingIOError:
                return len(self.sent) > count
            now = time.monotonic_ns()
            header, packet = vnet.decode(data), data[vnet.LENGTH :]
            if _transport(packet) in (tcp.PROTOCOL, udp.PROTOCOL):
                self.sent.append(Sent(now, packet, header.gso_size))

    def close(self) -> None:
        """The device goes away."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _transport(packet: bytes) -> int:
    """The protocol above IP; -1 for what is cut short."""
    if len(packet) < 40:
        return -1
    return packet[9] if packet[0] >> 4 == 4 else packet[6]


def _default_route(family: int, index: int) -> bytes:
    """Everything goes to the device (RTM_NEWROUTE, scope link)."""
    kind = 2 if family == 4 else 10
    return struct.pack("=BBBBBBBBI", kind, 0, 0, 0, 254, 4, 253, 1, 0) + attribute(RTA_OIF, struct.pack("=I", index))


def _write_sysctl(path: str, value: str) -> None:
    with suppress(OSError), open(f"/proc/sys/{path}", "w", encoding="ascii") as file:
        file.write(value)
