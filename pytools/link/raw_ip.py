"""Raw IP: packets that the kernel routes and filters like its own, heard by a packet socket (raw(7)).

For the host's own addresses nothing else works: IPv4 that is injected on lo counts as martian. On other interfaces it
is the way past firewalls that reset what conntrack never saw: what goes out here passes OUTPUT. No ARP is needed, and
no offload is possible.
"""

import _socket
from collections.abc import Callable, Sequence
from errno import EAFNOSUPPORT, EPERM
from typing import Any, Final

from pytools.engine import RAW_IP, Port, Transmit
from pytools.link import bpf
from pytools.link.base import OnTransmitted, Sink
from pytools.link.clock import StampClock
from pytools.link.destinations import AF_INET, AF_INET6, Destinations
from pytools.link.host import Interface
from pytools.link.outbox import Outbox
from pytools.link.packet_receiver import RECEIVE_BUFFER, SOCK_CLOEXEC, SOCK_RAW, SOL_SOCKET, PacketReceiver
from pytools.link.packet_socket import set_send_options
from pytools.link.refusal import interface_refused, socket_refused
from pytools.link.tx_stamps import TxStamps
from pytools.units import Ns
from pytools.wire import gso

IPPROTO_RAW: Final = 255
SO_BROADCAST, SO_BINDTODEVICE = 6, 25


class RawIpLink:
    """One RAW_IP port: sends by IPPROTO_RAW in both families, receives on the interface `on`.

    On lo it reaches the host's own addresses; on any other interface packets leave by that one. What we sent on lo
    comes by there too: `interest` must tell it from what is for us (by echo type, by port). LinkError: not permitted,
    no such interface, it is down.
    """

    __slots__ = ("_destinations", "_on", "_outbox", "_receiver", "_senders", "_tx", "clock", "ports")

    def __init__(
        self,
        on: Interface,
        interest: bpf.Interest,
        *,
        index: int = 0,
        rx_stamps: bool = True,
        tx_stamps: bool = False,
        receive_buffer: int = RECEIVE_BUFFER,
        send_buffer: int = 0,
        mark: int = 0,
        clock: StampClock | None = None,
    ) -> None:
        self._on = on
        self._destinations = Destinations(on)
        self._outbox = Outbox(self._send_one)
        self._senders: dict[int, Any] = {}
        self._tx: dict[int, TxStamps] = {}
        self._receiver = PacketReceiver(
            on,
            interest,
            index=index,
            link_type=RAW_IP,
            ip_only=True,
            rx_stamps=rx_stamps,
            receive_buffer=receive_buffer,
            clock=clock,
        )
        self.clock = self._receiver.clock
        self.ports: list[Port] = [Port(index, on.name, RAW_IP, on.mtu)]
        try:
            for version, family in ((4, AF_INET), (6, AF_INET6)):
                self._open(version, family, send_buffer, mark, tx_stamps)
        except BaseException:
            self.close()
            raise

    def _open(self, version: int, family: int, send_buffer: int, mark: int, tx_stamps: bool) -> None:
        try:
            sock = _socket.socket(family, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)
        except OSError as error:
            if version == 6 and error.errno == EAFNOSUPPORT:
                return
            raise socket_refused(error) from error
        self._senders[version] = sock
        sock.setblocking(False)
        sock.setsockopt(SOL_SOCKET, SO_BROADCAST, 1)
        set_send_options(sock, send_buffer, mark)
        if not self._on.loopback:
            try:
                sock.setsockopt(SOL_SOCKET, SO_BINDTODEVICE, self._on.name.encode())
            except OSError as error:
                raise interface_refused(self._on.name, error) from error
        if tx_stamps:
            self._tx[version] = TxStamps(sock, self.clock)

    def attach(self, interest: bpf.Interest) -> None:
        """Let something else through from now on. Needs no privilege."""
        self._receiver.attach(interest)

    def filenos(self) -> Sequence[int]:
        """See `base.Link`; transmit stamps arrive on the sending sockets."""
        stamping = (self._senders[version].fileno() for version in self._tx)
        return (self._receiver.fileno(), *stamping)

    def writable_filenos(self) -> Sequence[int]:
        """See `base.Link`."""
        return [sock.fileno() for sock in self._senders.values()]

    def recv_batch(self, sink: Sink, now: Callable[[], Ns], limit: int) -> int:
        """See `base.Link`."""
        self._outbox.flush()
        return self._receiver.recv_batch(sink, now, limit)

    def send(self, transmit: Transmit) -> bool:
        """See `base.Link`. OSError EPERM: the host's firewall refused it."""
        packets = gso.segments(transmit, RAW_IP)
        return self._outbox.send(packets, None, transmit.token)

    def _send_one(self, packet: bytes, _: None, token: object) -> None:
        version = packet[0] >> 4
        src, dst = (packet[8:24], packet[24:40]) if version == 6 else (packet[12:16], packet[16:20])
        sock = self._senders.get(version)
        if sock is None:
            raise OSError(EAFNOSUPPORT, "this kernel has no IPv6")
        tx = self._tx.get(version)
        try:
            sock.sendto(packet, self._destinations.address(dst, src))
        except BlockingIOError:
            raise
        except OSError as error:
            if tx is not None:
                tx.failed()
            if error.errno == EPERM:
                raise OSError(EPERM, "Operation not permitted: the host's firewall refused it") from error
            raise
        if tx is not None:
            tx.sent(token)

    def poll_stamps(self, on_transmitted: OnTransmitted) -> None:
        """See `base.Link`."""
        for tx in self._tx.values():
            tx.poll(on_transmitted)

    def drops(self) -> int:
        """See `PacketReceiver.drops`."""
        return self._receiver.drops()

    def close(self) -> None:
        """May be called twice."""
        self._receiver.close()
        for sock in self._senders.values():
            sock.close()
