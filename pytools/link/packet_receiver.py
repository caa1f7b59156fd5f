"""Frames from a packet socket (packet(7)): the receiving half, which raw IP uses too.

Frames come with a virtio-net header (PACKET_VNET_HDR): on veth, TAP and lo the kernel hands over unfinished checksums
and super-segments of up to 64 KB. Interfaces without Ethernet are read cooked (SOCK_DGRAM), where that header does not
exist; PACKET_AUXDATA tells of unfinished checksums there.

What a frame costs, measured: 1.6 us to receive, 0.4 for its stamp. The stamp is asked for by SIOCGSTAMPNS, since
recvmsg() with a control message costs 2.5 us more (Python also looks up the interface's name for each frame then).
`_socket` is the C half of `socket`; the Python half would be a tenth of the time to the first packet.
"""

import _socket
import struct
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import ENETDOWN, EPERM
from fcntl import ioctl
from typing import Any, Final

from pytools.engine import (
    CHECKSUM_PARTIAL,
    CHECKSUM_UNKNOWN,
    CHECKSUM_VERIFIED,
    ETHERNET,
    PACKET_BROADCAST,
    PACKET_HOST,
    PACKET_MULTICAST,
    PACKET_OTHERHOST,
    RAW_IP,
    Port,
    RxMeta,
)
from pytools.errors import LinkError
from pytools.link import bpf
from pytools.link.base import Sink
from pytools.link.clock import StampClock
from pytools.link.host import ARPHRD_ETHER, ARPHRD_LOOPBACK, Interface, interface
from pytools.link.refusal import interface_refused, socket_refused
from pytools.units import SECOND, Ns
from pytools.wire import vnet

AF_PACKET: Final = 17
SOCK_DGRAM, SOCK_RAW, SOCK_CLOEXEC = 2, 3, 0o2000000
SOL_SOCKET: Final = 1
SO_RCVBUF, SO_RCVBUFFORCE = 8, 33
SOL_PACKET: Final = 263
PACKET_ADD_MEMBERSHIP, PACKET_STATISTICS, PACKET_AUXDATA = 1, 6, 8
PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 15, 23
MR_PROMISC, MR_ALLMULTI, MR_UNICAST = 1, 2, 3
ETH_P_ALL: Final = 3
SIOCGSTAMPNS: Final = 0x8907
TP_CSUMNOTREADY, TP_VLAN_VALID, TP_VLAN_TPID_VALID, TP_CSUM_VALID = 8, 16, 64, 128

RECEIVE_BUFFER: Final = 4 << 20
"""The default of most systems (208 KB) holds three super-segments."""

_HEADROOM: Final = 4
"""Room before a received frame to put its VLAN tag back."""
_ETHERNET_AT: Final = _HEADROOM + vnet.LENGTH
_LARGEST: Final = 14 + 4 + 65536
_BROADCAST: Final = b"\xff" * 6
_auxdata = struct.Struct("=IIIHHHH").unpack_from
_gso_size = struct.Struct("=H").unpack_from


class PacketReceiver:
    """A packet socket on one interface, or on all (`on` None: then `listen_on` names those that count).

    `ip_only` cuts the Ethernet header off: the port is RAW_IP. `mac` is our address if it is not the interface's own;
    the interface is then asked to take frames for it and for all groups. `vlans` are the tags of every frame, None
    takes any. Receive stamps come with `rx_stamps`.
    """

    __slots__ = (
        "_base",
        "_buffer",
        "_cooked",
        "_detailed",
        "_drops",
        "_fd",
        "_frame_at",
        "_interface",
        "_link_type",
        "_macs",
        "_meta",
        "_names",
        "_promiscuous",
        "_socket",
        "_stamp",
        "_target",
        "_view",
        "_vlans",
        "clock",
        "rx_stamps",
    )

    def __init__(
        self,
        on: Interface | None,
        interest: bpf.Interest,
        *,
        index: int = 0,
        link_type: int = ETHERNET,
        ip_only: bool = False,
        mac: bytes = b"",
        vlans: tuple[int, ...] | None = (),
        rx_stamps: bool = True,
        promiscuous: bool = False,
        receive_buffer: int = RECEIVE_BUFFER,
        clock: StampClock | None = None,
    ) -> None:
        ethernet = on.arphrd in (ARPHRD_ETHER, ARPHRD_LOOPBACK) if on is not None else link_type == ETHERNET
        self._cooked = not ethernet
        self._interface = on
        self._link_type = RAW_IP if ip_only else link_type
        self._base = 14 if ethernet else 0
        self._macs = (mac or on.mac,) if on is not None and on.arphrd == ARPHRD_ETHER else ()
        self._vlans = vlans
        self._promiscuous = promiscuous
        self._detailed = self._cooked or on is None or vlans is None or bool(vlans)
        self._names: dict[str, tuple[int, bytes]] = {}
        self._drops = 0
        vnet_length = 0 if self._cooked else vnet.LENGTH
        self._frame_at = _HEADROOM + vnet_length + (14 if ip_only and ethernet else 0)
        self._buffer = bytearray(_HEADROOM + vnet_length + _LARGEST)
        self._view = memoryview(self._buffer)
        self._target = self._view[_HEADROOM:]
        self._stamp = array("l", (0, 0))
        self._meta = RxMeta(index)
        self.clock = clock or StampClock()
        self.rx_stamps = rx_stamps
        self._socket = self._open(interest, receive_buffer, mac)
        self._fd = self._socket.fileno()

    # -- opening -------------------------------------------------------------------------------------------------------

    def _open(self, interest: bpf.Interest, receive_buffer: int, mac: bytes) -> Any:
        kind = (SOCK_DGRAM if self._cooked else SOCK_RAW) | SOCK_CLOEXEC
        on = self._interface
        if on is not None and not on.up:
            raise LinkError(f"{on.name}: Network is down: `ip link set {on.name} up`", ENETDOWN)
        protocol = 0 if on is not None else _socket.htons(ETH_P_ALL)
        try:
            sock = _socket.socket(AF_PACKET, kind, protocol)
        except OSError as error:
            raise socket_refused(error) from error
        try:
            sock.setblocking(False)
            # Protocol 0 hears nothing: the filter is in place before the first frame. On all interfaces there is no
            # bind(), so there what came before the filter is thrown away.
            bpf.attach(sock, bpf.MUTE if on is None else self._program(interest))
            self._set_options(sock, receive_buffer)
            if on is None:
                _drain(sock)
                bpf.attach(sock, self._program(interest))
            else:
                self._bind(sock, on, mac)
        except BaseException:
            sock.close()
            raise
        return sock

    def open_sender(self) -> Any:
        """A second socket that only sends. OSError.

        On a socket with SO_TIMESTAMPING the kernel keeps no stamp for SIOCGSTAMPNS, so transmit stamps need their own.
        """
        sock = _socket.socket(AF_PACKET, (SOCK_DGRAM if self._cooked else SOCK_RAW) | SOCK_CLOEXEC, 0)
        try:
            sock.setblocking(False)
            if not self._cooked:
                sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
            if self._interface is not None:
                sock.bind((self._interface.name, 0))
        except BaseException:
            sock.close()
            raise
        return sock

    def _set_options(self, sock: Any, receive_buffer: int) -> None:
        if not self._cooked:
            sock.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        sock.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        if self._detailed:
            sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        set_receive_buffer(sock, receive_buffer)
        if self.rx_stamps:
            switch_stamps_on(sock.fileno(), self._stamp)

    def _bind(self, sock: Any, on: Interface, mac: bytes) -> None:
        try:
            sock.bind((on.name, ETH_P_ALL))
            if self._promiscuous:
                _join(sock, on.index, MR_PROMISC)
            if mac and mac != on.mac:
                _join(sock, on.index, MR_UNICAST, mac)
                _join(sock, on.index, MR_ALLMULTI)
        except OSError as error:
            raise interface_refused(on.name, error) from error

    def _program(self, interest: bpf.Interest) -> bytes:
        hatype = None if self._interface is not None else 0 if self._cooked else ARPHRD_ETHER
        macs = () if self._promiscuous else self._macs
        return interest.program(self._base, macs=macs, vlans=self._vlans, hatype=hatype)

    def attach(self, interest: bpf.Interest) -> None:
        """Let something else through from now on. Needs no privilege."""
        bpf.attach(self._socket, self._program(interest))

    def listen_on(self, port: Port) -> None:
        """On a socket of all interfaces: frames from the interface of this name belong to `port`."""
        self._names[port.name] = (port.index, port.mac)

    # -- receiving -----------------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """The descriptor."""
        return int(self._fd)

    def recv_batch(self, sink: Sink, now: Callable[[], Ns], limit: int) -> int:
        """See `base.Link`."""
        if self._detailed:
            return self._recv_detailed(sink, now, limit)
        recv_into, target, view, meta = self._socket.recv_into, self._target, self._view, self._meta
        buffer, frame_at, stamps, stamp, fd = self._buffer, self._frame_at, self.rx_stamps, self._stamp, self._fd
        to_monotonic = self.clock.to_monotonic
        mac = self._macs[0] if self._macs else b""
        count = 0
        while count < limit:
            try:
                length = recv_into(target)
            except BlockingIOError:
                break
            except OSError as error:
                self._check_broken(error)
                break
            at = now()
            if stamps:
                ioctl(fd, SIOCGSTAMPNS, stamp)
                meta.at = to_monotonic(stamp[0] * SECOND + stamp[1], at)
            if buffer[_HEADROOM] | buffer[_HEADROOM + 1]:
                self._set_offload()
            else:
                meta.checksum = CHECKSUM_UNKNOWN
                meta.gso_size = 0
            if mac:
                dst = buffer[_ETHERNET_AT : _ETHERNET_AT + 6]
                meta.packet_type = PACKET_HOST if dst == mac else packet_type_of(dst)
            sink(view[frame_at : _HEADROOM + length], at, meta)
            count += 1
        return count

    def _set_offload(self) -> None:
        """Read the virtio-net header of a frame that has something in it."""
        meta, flags = self._meta, self._buffer[_HEADROOM]
        meta.checksum = (
            CHECKSUM_PARTIAL
            if flags & vnet.NEEDS_CSUM
            else CHECKSUM_VERIFIED
            if flags & vnet.DATA_VALID
            else CHECKSUM_UNKNOWN
        )
        meta.gso_size = _gso_size(self._buffer, _HEADROOM + 4)[0] if self._buffer[_HEADROOM + 1] else 0

    def _recv_detailed(self, sink: Sink, now: Callable[[], Ns], limit: int) -> int:
        """Frames with what only a control message and the address tell: tag, interface, cooked packet type."""
        targets = [self._target]
        meta = self._meta
        count = 0
        while count < limit:
            try:
                length, ancillary, _, address = self._socket.recvmsg_into(targets, 64)
            except BlockingIOError:
                break
            except OSError as error:
                self._check_broken(error)
                break
            at = now()
            if self.rx_stamps:
                ioctl(self._fd, SIOCGSTAMPNS, self._stamp)
                meta.at = self.clock.to_monotonic(self._stamp[0] * SECOND + self._stamp[1], at)
            start = self._describe(ancillary, address)
            if start:
                sink(self._view[start : _HEADROOM + length], at, meta)
                count += 1
        return count

    def _describe(self, ancillary: list[tuple[int, int, bytes]], address: Any) -> int:
        """Fill in the meta; where the frame starts, or 0 if it comes from an interface that does not count."""
        meta, mac = self._meta, self._macs[0] if self._macs else b""
        if self._interface is None:
            found = self._names.get(address[0])
            if found is None:
                return 0
            meta.port, mac = found
        status, _, _, _, _, tci, tpid = _auxdata(ancillary[0][2]) if ancillary else (0,) * 7
        if self._cooked:
            meta.packet_type = address[2]
            meta.gso_size = 0
            meta.checksum = (
                CHECKSUM_PARTIAL
                if status & TP_CSUMNOTREADY
                else CHECKSUM_VERIFIED
                if status & TP_CSUM_VALID
                else CHECKSUM_UNKNOWN
            )
            return self._frame_at
        self._set_offload()
        dst = self._buffer[_ETHERNET_AT : _ETHERNET_AT + 6]
        meta.packet_type = PACKET_HOST if dst == mac else packet_type_of(dst)
        if status & TP_VLAN_VALID and tci & 0xFFF:
            return self._put_tag_back(tci, tpid if status & TP_VLAN_TPID_VALID else 0x8100)
        return self._frame_at

    def _put_tag_back(self, tci: int, tpid: int) -> int:
        """The kernel took the outer tag out of the frame: move the addresses forward and write it between."""
        if self._frame_at != _ETHERNET_AT:  # the Ethernet header is not wanted anyway
            return self._frame_at
        at, buffer = _ETHERNET_AT, self._buffer
        buffer[at - 4 : at + 8] = buffer[at : at + 12]
        struct.pack_into("!HH", buffer, at + 8, tpid, tci)
        return at - 4

    def _check_broken(self, error: OSError) -> None:
        """LinkError, unless the interface is up again already (the socket goes on by itself then)."""
        if self._interface is None:
            raise LinkError(f"packet socket: {error.strerror}", error.errno or 0) from error
        name = self._interface.name
        present = interface(self._interface.index)
        if present is None:
            raise LinkError(f"{name}: the interface is gone", ENETDOWN) from error
        if error.errno != ENETDOWN:
            raise LinkError(f"{name}: {error.strerror}", error.errno or 0) from error
        if not present.up:
            raise LinkError(f"{name}: the interface went down", ENETDOWN) from error

    def drops(self) -> int:
        """Frames that passed the filter and were lost because the receive buffer was full, since the opening."""
        if self._socket.fileno() >= 0:
            data = self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)  # reading resets the kernel's numbers
            self._drops += struct.unpack("=II", data)[1]
        return self._drops

    def close(self) -> None:
        """May be called twice."""
        self._socket.close()


def set_receive_buffer(sock: Any, size: int) -> None:
    """As large as asked where that is permitted, else as far as net.core.rmem_max goes."""
    try:
        sock.setsockopt(SOL_SOCKET, SO_RCVBUFFORCE, size)
    except OSError as error:
        if error.errno != EPERM:
            raise
        sock.setsockopt(SOL_SOCKET, SO_RCVBUF, size)


def switch_stamps_on(fd: int, stamp: "array[int]") -> None:
    """The first question for a stamp makes the kernel take them from then on."""
    with suppress(FileNotFoundError):
        ioctl(fd, SIOCGSTAMPNS, stamp)


def _drain(sock: Any) -> None:
    with suppress(BlockingIOError):
        while True:
            sock.recv(1)  # recv(0) would not ask the kernel at all


def _join(sock: Any, index: int, kind: int, mac: bytes = b"") -> None:
    """struct packet_mreq."""
    sock.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, struct.pack("=iHH8s", index, kind, len(mac), mac))


def packet_type_of(dst: Sequence[int]) -> int:
    """By the destination of a frame that is not ours alone."""
    if not dst[0] & 1:
        return PACKET_OTHERHOST
    return PACKET_BROADCAST if dst == _BROADCAST else PACKET_MULTICAST
