"""The same little program on the kernel's sockets over loopback and on ours over the simulated network."""

import errno
import socket
from collections.abc import Callable
from random import Random
from typing import Any

from pytools.run.host import SocketHost
from pytools.sim import spec
from pytools.sim.topology import Topology
from pytools.stack.stack import Stack


def simulated(text: str = "delay=0") -> tuple[SocketHost, SocketHost]:
    """Two hosts on the standard simulated network, both for one program: ours (10.0.0.10) and the peer (10.0.0.2)."""
    sim = Topology(spec.parse(text))
    stack = Stack(Random(1))
    sim.configure(stack)
    ours = SocketHost(stack, [sim.link], sim.network)
    return ours, SocketHost.beside(ours, sim.peer)


class Kernel:
    """127.0.0.1, the machine's own TCP."""

    def __init__(self, family: int) -> None:
        self.family = family
        self.here = self.there = "127.0.0.1" if family == socket.AF_INET else "::1"
        self._made: list[socket.socket] = []

    def _socket(self) -> socket.socket:
        one = socket.socket(self.family, socket.SOCK_STREAM)
        self._made.append(one)
        return one

    client = server = _socket

    def close(self) -> None:
        for one in self._made:
            one.close()


class Ours:
    """Our stack at both ends."""

    def __init__(self, family: int, text: str = "delay=0") -> None:
        self.family = family
        self.hosts = simulated(text)
        v4 = family == socket.AF_INET
        self.here, self.there = ("10.0.0.10", "10.0.0.2") if v4 else ("fd00::10", "fd00::2")

    def client(self) -> Any:
        return self.hosts[0].socket(self.family)

    def server(self) -> Any:
        return self.hosts[1].socket(self.family)

    def close(self) -> None:
        self.hosts[0].close(0)


World = Kernel | Ours


def listening(world: World, backlog: int = 5) -> tuple[Any, Any]:
    """A listener on a free port and its address for `connect`."""
    listener = world.server()
    listener.bind((world.there, 0))
    listener.listen(backlog)
    return listener, (world.there, listener.getsockname()[1])


def connected(world: World) -> tuple[Any, Any]:
    """A client and the accepted socket."""
    listener, address = listening(world)
    client = world.client()
    client.connect(address)
    accepted, _ = listener.accept()
    listener.close()
    accepted.settimeout(5)
    client.settimeout(5)
    return client, accepted


def said(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The result, or how it failed: (exception class, errno's name)."""
    try:
        return call(*arguments, **named)
    except (OSError, ValueError, TypeError, OverflowError) as error:
        number = getattr(error, "errno", None)
        return type(error).__name__, errno.errorcode.get(number, number) if number else str(error)
