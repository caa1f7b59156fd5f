"""A TAP device: the kernel is one end of a private Ethernet, our stack the other (tun(4)).

The device lives as long as our descriptor: it is gone with the process, also after SIGKILL.
"""

import os
import struct
from collections.abc import Callable, Sequence
from errno import EACCES, EBADFD, EBUSY, EIO, ENODEV, ENOENT, ENXIO, EPERM
from fcntl import ioctl
from typing import Final

from pytools.engine import (
    CHECKSUM_PARTIAL,
    CHECKSUM_UNKNOWN,
    CHECKSUM_VERIFIED,
    ETHERNET,
    OFFLOAD_CHECKSUM,
    OFFLOAD_TSO4,
    OFFLOAD_TSO6,
    PACKET_HOST,
    Port,
    RxMeta,
    Transmit,
)
from pytools.errors import LinkError
from pytools.link import host
from pytools.link.base import OnTransmitted, Sink
from pytools.link.kernel_end import bring_up, give_addresses, host_of
from pytools.link.netlink import Netlink
from pytools.link.packet_receiver import packet_type_of
from pytools.units import Ns
from pytools.wire import gso, vnet
from pytools.wire.addr import Network

DEVICE: Final = "/dev/net/tun"
NETWORKS: Final = (Network(b"\xc6\x12\0\0", 24), Network(b"\x20\x01\0\2" + bytes(12), 64))
"""198.18.0.0/24 and 2001:2::/64, of the blocks for benchmarks (RFC 2544, RFC 5180), which no real network uses."""

TUNSETIFF: Final = 0x400454CA
TUNSETOFFLOAD: Final = 0x400454D0
IFF_TAP, IFF_NO_PI, IFF_VNET_HDR = 0x2, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 1, 2, 4

_LARGEST: Final = vnet.LENGTH + 14 + 8 + 65536
_OFFLOADS: Final = OFFLOAD_CHECKSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6
_gso_size = struct.Struct("=H").unpack_from
_DEFAULT_LIKE: Final = {4: 8, 16: 16}
"""Routes shorter than this lead everywhere (a default route, the halves that a VPN makes of it)."""
_NEEDS: Final = "needs root or CAP_NET_ADMIN (--via lab needs neither)"


class TapLink:
    """One Ethernet port. The kernel has host 1 of each network on its end; the other hosts are ours to play.

    `interface` is the kernel's end. `mac` is ours, by default a locally administered one. Frames have no receive stamp.
    LinkError: not permitted, no TUN driver, a network is routed already.
    """

    __slots__ = ("_buffer", "_fd", "_meta", "_target", "_view", "interface", "ports")

    def __init__(
        self,
        networks: Sequence[Network] = NETWORKS,
        *,
        index: int = 0,
        name: str = "pytools%d",
        mac: bytes = b"",
        vlans: tuple[int, ...] = (),
    ) -> None:
        for network in networks:
            refuse_routed(network)
        self._buffer = bytearray(_LARGEST)
        self._view = self._target = memoryview(self._buffer)
        self._meta = RxMeta(index)
        self._fd = _open_device()
        try:
            self.interface = self._configure(name, networks)
        except BaseException:
            self.close()
            raise
        mac = mac or b"\x02\x70\x79" + self.interface.index.to_bytes(3, "big")
        self.ports = [Port(index, self.interface.name, ETHERNET, self.interface.mtu, mac, _OFFLOADS, vlans)]

    def _configure(self, pattern: str, networks: Sequence[Network]) -> host.Interface:
        flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR
        try:
            answer = ioctl(self._fd, TUNSETIFF, struct.pack("16sH22x", os.fsencode(pattern), flags))
        except OSError as error:
            raise _refused(pattern, "TUNSETIFF", error) from error
        name = os.fsdecode(answer[:16].rstrip(b"\0"))
        try:
            ioctl(self._fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)
            found = host.interface(name)
            if found is None:
                raise OSError(ENODEV, os.strerror(ENODEV))
            with Netlink() as netlink:
                bring_up(netlink, found.index, name)
                give_addresses(netlink, found.index, [(host_of(one, 1), one.prefix_len) for one in networks])
        except OSError as error:
            raise _refused(name, "setting it up", error) from error
        return found

    def filenos(self) -> Sequence[int]:
        """See `base.Link`."""
        return (self._fd,)

    writable_filenos = filenos

    def recv_batch(self, sink: Sink, now: Callable[[], Ns], limit: int) -> int:
        """See `base.Link`."""
        readv, fd, target, view, buffer, meta = (
            os.readv,
            self._fd,
            (self._target,),
            self._view,
            self._buffer,
            self._meta,
        )
        mac = self.ports[0].mac
        count = 0
        while count < limit:
            try:
                length = readv(fd, target)
            except BlockingIOError:
                break
            except OSError as error:
                raise self._broken(error) from error
            flags = buffer[0]
            meta.checksum = CHECKSUM_UNKNOWN
            meta.gso_size = 0
            if flags:
                meta.checksum = CHECKSUM_PARTIAL if flags & vnet.NEEDS_CSUM else CHECKSUM_VERIFIED
            if buffer[1]:
                (meta.gso_size,) = _gso_size(buffer, 4)
            dst = buffer[vnet.LENGTH : vnet.LENGTH + 6]
            meta.packet_type = PACKET_HOST if dst == mac else packet_type_of(dst)
            sink(view[vnet.LENGTH : length], now(), meta)
            count += 1
        return count

    def send(self, transmit: Transmit) -> bool:
        """See `base.Link`. LinkError: somebody took the device down or away."""
        try:
            os.writev(self._fd, (gso.vnet_header(transmit), *transmit.parts))
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in (EIO, EBADFD):
                raise self._broken(error) from error
            raise
        return True

    def _broken(self, error: OSError) -> LinkError:
        name = self.interface.name
        present = host.interface(self.interface.index)
        what = "went down" if present is not None else "is gone"
        return LinkError(f"{name}: the interface {what}", error.errno or 0)

    def poll_stamps(self, on_transmitted: OnTransmitted) -> None:
        """A TAP device gives no stamps."""

    def close(self) -> None:
        """May be called twice. The device goes away."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def refuse_routed(network: Network) -> None:
    """LinkError if the kernel has a way to (a part of) this network already: the TAP would cut it off."""
    length = len(network.address)
    for route in host.routes(4 if length == 4 else 6):
        if route.prefix_len < _DEFAULT_LIKE[length] or route.kind == "multicast":
            continue
        shorter = min(route.prefix_len, network.prefix_len)
        if _leading(route.network, shorter) == _leading(network.address, shorter):
            there = host.interface(route.oif) if route.oif else None
            by = f" (by {there.name})" if there is not None else ""
            raise LinkError(f"{network} is routed already{by}: choose another with --network")


def _leading(address: bytes, bits: int) -> int:
    return int.from_bytes(address, "big") >> (len(address) * 8 - bits)


def _open_device() -> int:
    try:
        return os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        number = error.errno or 0
        hint = ""
        if number in (ENOENT, ENODEV, ENXIO):
            hint = ": there is no TUN driver here (modprobe tun), use --via lab or --via sim"
        elif number in (EPERM, EACCES):
            hint = f": {_NEEDS}"
        raise LinkError(f"{DEVICE}: {os.strerror(number)}{hint}", number) from error


def _refused(name: str, step: str, error: OSError) -> LinkError:
    number = error.errno or 0
    hint = f": {_NEEDS}" if number in (EPERM, EACCES) else ": another program has it" if number == EBUSY else ""
    return LinkError(f"tap {name}: {step}: {error.strerror}{hint}", number)
