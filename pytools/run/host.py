"""A host for programs: a stack with TCP, its links and a driver, and the sockets on it."""

import contextlib
import os
import select as system_select
import socket as system
from collections.abc import Callable, Sequence
from errno import EBADF
from types import TracebackType
from typing import Any, Protocol

from pytools.engine import Engine, EngineEvent
from pytools.errors import LocalProtocolError
from pytools.link.base import Link
from pytools.run import sockets_address as addresses
from pytools.run.sockets import Socket
from pytools.run.sockets_pump import Pump, Readiness
from pytools.run.waiters import VirtualClock
from pytools.stack.sockets import POLLERR, POLLHUP, POLLIN, POLLOUT, StreamSocket
from pytools.stack.stack import Stack
from pytools.stack.tcp import state as st
from pytools.stack.tcp.events import ConnectionNews
from pytools.stack.tcp.tcp import Tcp
from pytools.units import Ns

LINGER: float = 5.0
"""Seconds that `SocketHost.close` gives to what is queued."""
_BUSY = frozenset((st.SYN_RECEIVED, st.ESTABLISHED, st.FIN_WAIT_1, st.CLOSE_WAIT, st.CLOSING, st.LAST_ACK))


class Station(Protocol):
    """What `sim.network.Host` offers: an engine that the simulated network itself drives."""

    on_event: Callable[[EngineEvent], None] | None

    @property
    def engine(self) -> Engine:
        """Its stack."""

    def settle(self) -> None:
        """Let leave what the engine was asked for."""


class Calls:
    """The with-block around calls of the stack: one thread at a time; what they caused leaves at the end."""

    __slots__ = ("_pump", "_settle")

    def __init__(self, pump: Pump, settle: Callable[[], object]) -> None:
        self._pump = pump
        self._settle = settle

    def __enter__(self) -> None:
        self._pump.enter()

    def __exit__(self, *_: object) -> None:
        try:
            self._settle()
        finally:
            self._pump.leave()


class SocketHost:
    """Joins a `Stack`, its `Tcp` and a `Driver`; a context manager.

    `network` is the clock of a simulated network (`sim.network.Network`); without it the clock is the machine's and
    each link must have descriptors. `on_event` learns of every event that belongs to no socket. While nobody is inside
    a blocking call nothing is answered or sent again, unless the background thread runs (`use_thread`).
    """

    def __init__(
        self,
        stack: Stack,
        links: Sequence[Link] = (),
        network: VirtualClock | None = None,
        *,
        tcp: Tcp | None = None,
        on_event: Callable[[EngineEvent], object] | None = None,
        beside: "tuple[SocketHost, Station] | None" = None,
    ) -> None:
        """`tcp`: what `stack.install(6, Tcp)` returned, if that was done already."""
        self.stack = stack
        self.tcp = tcp if tcp is not None else stack.install(6, Tcp)
        self.links = links
        self.detached: dict[int, tuple[StreamSocket, Readiness | None]] = {}
        """Sockets that `Socket.detach` set free, by descriptor."""
        self.listeners: dict[object, Callable[[int], None]] = {}
        """Who learns of the news of a Connection or Listener (asyncio's transports): callback(news)."""
        self._on_event = on_event
        self._owns_pump = beside is None
        self._closed = False
        if beside is None:
            self.pump = Pump(stack, links, network, self._tell)
            self.settle: Callable[[], object] = self.pump.settle
        else:
            other, station = beside
            station.on_event = self._tell
            self.pump = other.pump
            self.pump.has_stations = True
            self.settle = _Settler(station, self.pump)
        self.calls = Calls(self.pump, self.settle)

    @classmethod
    def beside(cls, other: "SocketHost", station: Station, *, tcp: Tcp | None = None) -> "SocketHost":
        """A host whose stack lives in the simulated network that `other` turns, for both ends in one program."""
        stack = station.engine
        if not isinstance(stack, Stack) or not other.pump.virtual:
            raise LocalProtocolError("only stations of a simulated network with a Stack can be beside another host")
        return cls(stack, tcp=tcp, beside=(other, station))

    def __enter__(self) -> "SocketHost":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tell(self, event: EngineEvent) -> None:
        if isinstance(event, ConnectionNews):
            callback = self.listeners.get(event.listener or event.connection)
            if callback is not None:
                callback(event.news)
        elif self._on_event is not None:
            self._on_event(event)

    # -- sockets -------------------------------------------------------------------------------------------------------

    def socket(
        self,
        family: int = system.AF_INET,
        type: int = system.SOCK_STREAM,
        proto: int = 0,
        fileno: int | None = None,
    ) -> Socket:
        """As `socket.socket`. `fileno`: what `Socket.detach` returned."""
        if fileno is None:
            return Socket(self, family, type, proto)
        stream, readiness = self._take_detached(fileno)
        again = Socket(self, stream.family, type, proto, stream=stream)
        again.adopt_descriptor(readiness)
        return again

    def _take_detached(self, fileno: int) -> tuple[StreamSocket, Readiness | None]:
        if fileno not in self.detached:
            raise OSError(EBADF, os.strerror(EBADF))
        return self.detached.pop(fileno)

    def create_connection(
        self,
        address: tuple[str, int],
        timeout: float | None = None,
        source_address: tuple[str, int] | None = None,
    ) -> Socket:
        """As `socket.create_connection`: every address of the name in turn; the last error if none answers."""
        failure: OSError = OSError("getaddrinfo returns an empty list")
        for family, remote in addresses.families_of(*address[:2]):
            one = self.socket(family)
            try:
                one.settimeout(timeout)
                if source_address is not None:
                    one.bind(source_address)
                one.connect(remote)
                return one
            except OSError as error:
                failure = error
                one.close()
        raise failure

    def create_server(
        self,
        address: tuple[str, int],
        *,
        family: int = system.AF_INET,
        backlog: int = 128,
        reuse_port: bool = False,
        dualstack_ipv6: bool = False,
    ) -> Socket:
        """As `socket.create_server`."""
        one = self.socket(family)
        try:
            one.setsockopt(system.SOL_SOCKET, system.SO_REUSEADDR, 1)
            if reuse_port:
                one.setsockopt(system.SOL_SOCKET, system.SO_REUSEPORT, 1)
            if family == system.AF_INET6:
                one.setsockopt(system.IPPROTO_IPV6, system.IPV6_V6ONLY, int(not dualstack_ipv6))
            one.bind(address)
            one.listen(backlog)
        except BaseException:
            one.close()
            raise
        return one

    def select(
        self,
        readable: Sequence[Socket],
        writable: Sequence[Socket] = (),
        exceptional: Sequence[Socket] = (),
        timeout: float | None = None,
    ) -> tuple[list[Socket], list[Socket], list[Socket]]:
        """As `select.select`, for sockets of this host and without descriptors or a background thread."""
        found: tuple[list[Any], list[Any], list[Any]]
        with self.calls:
            deadline = self.pump.deadline(timeout)
            self.pump.look()
            while True:
                found = (
                    [one for one in readable if one.events() & (POLLIN | POLLHUP | POLLERR)],
                    [one for one in writable if one.events() & (POLLOUT | POLLERR)],
                    [one for one in exceptional if one.events() & system_select.POLLPRI],
                )
                if any(found) or not self.pump.rest(deadline):
                    return found

    def forget(self, stream: StreamSocket) -> None:
        """Close a socket of the stack that no `Socket` stands for."""
        with self.calls:
            stream.close(self.pump.now())

    # -- time and the end ----------------------------------------------------------------------------------------------

    def now(self) -> Ns:
        """The clock of the stack, in nanoseconds."""
        return self.pump.now()

    def sleep(self, seconds: float) -> None:
        """Let `seconds` of the stack's time pass while it is served."""
        with self.calls:
            deadline = self.pump.deadline(seconds)
            while self.pump.rest(deadline):
                pass

    def use_thread(self) -> None:
        """Serve the stack in the background from now on, also while no call waits."""
        self.pump.use_thread()

    def drain(self, timeout: float | None = None) -> bool:
        """Wait until every peer has got what closed sockets had queued; False when the time is up before."""
        with self.calls:
            deadline = self.pump.deadline(timeout)
            while self.undelivered():
                try:
                    if not self.pump.rest(deadline):
                        return False
                except OSError:
                    return False  # nothing can ever happen
        return True

    def undelivered(self) -> bool:
        """Whether a closed socket still has something to deliver."""
        return any(one.orphan and one.state in _BUSY for one in self.tcp.connections.values())

    def close(self, linger: float = LINGER) -> bool:
        """Deliver what is queued, for `linger` seconds at most, then stop and close the links.

        False when something was left undelivered. May be repeated.
        """
        if self._closed:
            return True
        self._closed = True
        delivered = False
        with contextlib.suppress(OSError):  # a link is gone
            delivered = self.drain(linger)
        if self._owns_pump:
            self.pump.close()
            for link in self.links:
                with contextlib.suppress(OSError):
                    link.close()
        return delivered


class _Settler:
    """Settles a station and then whoever turns the network."""

    __slots__ = ("_pump", "_station")

    def __init__(self, station: Station, pump: Pump) -> None:
        self._station = station
        self._pump = pump

    def __call__(self) -> None:
        self._station.settle()
        self._pump.settle()
