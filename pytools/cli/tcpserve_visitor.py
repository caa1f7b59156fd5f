"""Visitors for a server in the simulation, where nobody else would come: the peer connects once a second."""

from contextlib import suppress

from pytools.cli.open import Path
from pytools.cli.open_sim import SimPath
from pytools.sim.network import Host, Network
from pytools.stack import sockets
from pytools.stack.sockets import StreamSocket
from pytools.stack.tcp.tcp import Tcp
from pytools.units import SECOND

PATIENCE_TURNS = 40
TURN_NS = SECOND // 10


class Visitor:
    """Connects, says one line, closes its half, reads to the end."""

    def __init__(self, network: Network, host: Host, tcp: Tcp, address: bytes, port: int, number: int) -> None:
        self._network = network
        self._host = host
        family = sockets.AF_INET if len(address) == 4 else sockets.AF_INET6
        self._stream = StreamSocket(tcp, family)
        self._line = f"Hello from visitor {number}\n".encode()
        self._turns = 0
        with suppress(OSError):  # EINPROGRESS; anything else shows when it writes
            self._stream.connect((address, port), network.now())
        self._again()

    def _again(self) -> None:
        self._host.settle()
        self._network.push(self._network.now() + TURN_NS, self._turn, None)

    def _turn(self, _: object) -> None:
        stream, now = self._stream, self._network.now()
        self._turns += 1
        try:
            if self._line:
                stream.send(self._line, now)
                stream.shutdown(sockets.SHUT_WR, now)
                self._line = b""
            while stream.recv(65536, now):
                pass
            over = True
        except BlockingIOError:
            over = self._turns > PATIENCE_TURNS
        except OSError:
            over = True
        if over:
            stream.close(now)
            self._host.settle()
        else:
            self._again()


def invite(path: Path, tcp: Tcp, ports: list[int]) -> None:
    """Let a visitor come each second, by both families and to all ports in turn."""
    assert isinstance(path, SimPath)
    network, peer = path.topology.network, path.topology.peer
    addresses = [own.address for own in path.stack.addresses(path.ports[0].index)]

    def visit(number: int) -> None:
        Visitor(network, peer, tcp, addresses[number % len(addresses)], ports[number % len(ports)], number + 1)
        network.push(network.now() + SECOND, visit, number + 1)

    network.push(network.now() + SECOND, visit, 0)
