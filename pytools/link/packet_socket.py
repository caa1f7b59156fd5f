"""AF_PACKET: whole frames in and out of an interface, beside the kernel's stack (packet(7))."""

from collections.abc import Callable, Sequence
from errno import ENETDOWN, ENXIO
from typing import Any, Final

from pytools.engine import (
    ETHERNET,
    OFFLOAD_CHECKSUM,
    OFFLOAD_TSO4,
    OFFLOAD_TSO6,
    Port,
    Transmit,
)
from pytools.errors import LinkError
from pytools.link import bpf
from pytools.link.base import OnTransmitted, Sink
from pytools.link.clock import StampClock
from pytools.link.host import Interface
from pytools.link.outbox import Outbox
from pytools.link.packet_receiver import ETH_P_ALL, RECEIVE_BUFFER, SOL_SOCKET, PacketReceiver
from pytools.link.tx_stamps import TxStamps
from pytools.units import Ns
from pytools.wire import gso, vnet

SO_SNDBUF, SO_MARK = 7, 36
_ETH_P_IP: Final = {4: 0x0800, 6: 0x86DD}
_NONE: Final = vnet.NONE


class PacketLink(PacketReceiver):
    """A packet socket as a link: one port on the interface `on`.

    With `on` None the socket hears all interfaces of `link_type`, and `add_port` makes a port of each that is used. So
    a command can give up its privileges while targets are still to come.

    `interest` says what wakes us; `attach` changes it. `mac` is ours if it is not the interface's own. `vlans` are the
    tags that each frame carries. `mark` is SO_MARK. LinkError: not permitted, no such interface, it is down.
    """

    __slots__ = ("_outbox", "_plain", "_sender", "_sendmsg", "_to", "_tx", "ports")

    def __init__(
        self,
        on: Interface | None,
        interest: bpf.Interest,
        *,
        index: int = 0,
        link_type: int | None = None,
        mac: bytes = b"",
        vlans: tuple[int, ...] = (),
        rx_stamps: bool = True,
        tx_stamps: bool = False,
        promiscuous: bool = False,
        receive_buffer: int = RECEIVE_BUFFER,
        send_buffer: int = 0,
        mark: int = 0,
        clock: StampClock | None = None,
    ) -> None:
        if link_type is None:
            link_type = ETHERNET if on is None else on.link_type
        super().__init__(
            on,
            interest,
            index=index,
            link_type=link_type,
            mac=mac,
            vlans=vlans,
            rx_stamps=rx_stamps,
            promiscuous=promiscuous,
            receive_buffer=receive_buffer,
            clock=clock,
        )
        self.ports: list[Port] = []
        self._to: dict[int, tuple[str, int]] = {}
        self._outbox = Outbox(self._send_cooked)
        self._sender = self._socket
        self._tx: TxStamps | None = None
        try:
            if tx_stamps:
                self._sender = self.open_sender()
                self._tx = TxStamps(self._sender, self.clock)
            set_send_options(self._sender, send_buffer, mark)
        except BaseException:
            self.close()
            raise
        self._sendmsg = self._sender.sendmsg
        self._plain = not (self._cooked or tx_stamps or on is None)
        if on is not None:
            self.ports.append(self._make_port(on, index, mac))

    def _make_port(self, on: Interface, index: int, mac: bytes) -> Port:
        offloads = 0 if self._cooked else OFFLOAD_CHECKSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6
        own = (mac or on.mac) if self._link_type == ETHERNET else b""
        return Port(index, on.name, self._link_type, on.mtu, own, offloads, self._vlans or ())

    def add_port(self, on: Interface, index: int) -> Port:
        """On a socket of all interfaces: one more that is used. LinkError: it is of the other kind."""
        if on.link_type != self._link_type:
            raise LinkError(f"{on.name}: not opened for this kind of interface")
        port = self._make_port(on, index, b"")
        self.ports.append(port)
        self._to[index] = (on.name, ETH_P_ALL)
        self.listen_on(port)
        return port

    def filenos(self) -> Sequence[int]:
        """See `base.Link`; transmit stamps arrive on a socket of their own."""
        return (self._fd,) if self._tx is None else (self._fd, self._sender.fileno())

    def writable_filenos(self) -> Sequence[int]:
        """See `base.Link`."""
        return (self._sender.fileno(),)

    def _recv_detailed(self, sink: Sink, now: Callable[[], Ns], limit: int) -> int:
        if self._cooked:
            self._outbox.flush()
        return super()._recv_detailed(sink, now, limit)

    def send(self, transmit: Transmit) -> bool:
        """See `base.Link`. LinkError: the interface is down or gone."""
        if not self._plain or transmit.csum_start:
            return self._send_special(transmit)
        try:
            self._sendmsg((_NONE, *transmit.parts))
        except BlockingIOError:
            return False
        except OSError as error:
            self._on_send_error(error)
            self._sendmsg((_NONE, *transmit.parts))
        return True

    def _on_send_error(self, error: OSError) -> None:
        """Come back only if it was an old one: that the interface was down for a while is told to the next call."""
        if error.errno in (ENETDOWN, ENXIO) and self._interface is not None:
            self._check_broken(error)
        else:
            raise error

    def _send_special(self, transmit: Transmit) -> bool:
        """With offload, with a stamp, cooked, or on one of all interfaces."""
        if self._cooked:
            name = self._to[transmit.port][0] if self._to else self.ports[0].name
            return self._outbox.send(gso.segments(transmit, self._link_type), name, transmit.token)
        message: Any = ((gso.vnet_header(transmit), *transmit.parts), (), 0)
        if self._to:
            message = (*message, self._to[transmit.port])
        try:
            self._send_counted(self._sendmsg, message, transmit.token)
        except BlockingIOError:
            return False
        return True

    def _send_cooked(self, packet: bytes, name: str, token: object) -> None:
        """Without Ethernet the kernel must be told the protocol."""
        self._send_counted(self._sender.sendto, (packet, (name, _ETH_P_IP.get(packet[0] >> 4, 0))), token)

    def _send_counted(self, call: Callable[..., object], arguments: Any, token: object) -> None:
        """Send, and keep the numbers of the transmit stamps right."""
        try:
            try:
                call(*arguments)
            except BlockingIOError:
                raise
            except OSError as error:
                self._on_send_error(error)
                call(*arguments)
        except BlockingIOError:
            raise
        except OSError:
            if self._tx is not None:
                self._tx.failed()
            raise
        if self._tx is not None:
            self._tx.sent(token)

    def close(self) -> None:
        """May be called twice."""
        super().close()
        self._sender.close()

    def poll_stamps(self, on_transmitted: OnTransmitted) -> None:
        """See `base.Link`."""
        if self._tx is not None:
            self._tx.poll(on_transmitted)


def set_send_options(sock: Any, send_buffer: int, mark: int) -> None:
    """SO_SNDBUF and SO_MARK, where they are asked for. LinkError: the mark is not permitted."""
    if send_buffer:
        sock.setsockopt(SOL_SOCKET, SO_SNDBUF, send_buffer)
    if mark:
        try:
            sock.setsockopt(SOL_SOCKET, SO_MARK, mark)
        except OSError as error:
            raise LinkError(f"mark {mark}: {error.strerror}: needs CAP_NET_ADMIN", error.errno or 0) from error
