"""What a command that speaks TCP needs of its path, beside what every command needs.

way = TcpWay(path, config)                 # TCP is on the stack, and on the hosts of the simulation
port = way.claim(endpoint, 0)              # on the host's own address: a port that the kernel keeps silent about
way.release(port)
way.close()
"""

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from pytools.cli.open import Endpoint, Path
from pytools.stack.tcp.config import TcpConfig
from pytools.stack.tcp.tcp import Tcp

if TYPE_CHECKING:
    from pytools.link.muzzle import MuzzledListener

PROTOCOL: Final = 6
RETIRED: Final = 64
"""Ports of finished connections that are kept from the kernel."""


class TcpWay:
    """TCP on one `Path`; `tcp` is the stack's handler."""

    def __init__(self, path: Path, config: TcpConfig | None = None) -> None:
        self.path = path
        self.tcp: Tcp = path.stack.install(PROTOCOL, Tcp)
        if config is not None:
            self.tcp.config = config
        self._held: dict[int, list[MuzzledListener]] = {}
        self._retired: deque[int] = deque()
        self.peer_tcp: Tcp | None = _open_services(path) if path.kind == "sim" else None
        """The handler of the simulated peer."""

    def is_shared(self, address: bytes, port_index: int) -> bool:
        """Whether `address` belongs to the host, so that its kernel has to be kept silent."""
        return any(own.address == address and own.shared for own in self.path.stack.addresses(port_index))

    def claim(self, endpoint: Endpoint, port: int = 0, *, dual_stack: bool = False) -> int:
        """A local port (0: any) on our address towards `endpoint`; may be 0 still where the stack is alone and chooses.

        LinkError in the kernel's words: Address already in use, Permission denied (below 1024; before privileges go).
        """
        return self.claim_address(endpoint.source, endpoint.port, port, endpoint.interface, dual_stack=dual_stack)

    def claim_address(
        self, address: bytes, port_index: int, port: int, interface: str, *, dual_stack: bool = False
    ) -> int:
        """The same with an address of ours on a port of the stack; an unspecified one counts as the host's."""
        if any(address) and not self.is_shared(address, port_index):
            return port
        from pytools.link.muzzle import MuzzledListener

        listener = MuzzledListener(address, port, scope=_scope(address, interface), dual_stack=dual_stack)
        self._held.setdefault(listener.port, []).append(listener)
        self._listen()
        return listener.port

    def claim_once(self, endpoint: Endpoint, port: int) -> None:
        """Hold a fixed port, unless it is held already for the same address."""
        if not any(listener.address == endpoint.source for listener in self._held.get(port, ())):
            self.claim(endpoint, port)

    def retire(self, port: int) -> None:
        """A connection of this port is over: let go of it when RETIRED others have come after it.

        Meanwhile the kernel does not reset what the peer may still send.
        """
        if port not in self._held:
            return
        self._retired.append(port)
        if len(self._retired) > RETIRED:
            self.release(self._retired.popleft())

    def release(self, port: int) -> None:
        """Let go of a port: from now on the kernel answers there again. Harmless for one that is not held."""
        for listener in self._held.pop(port, ()):
            listener.close()
        self._listen()

    def _listen(self) -> None:
        """The links wake us for exactly these ports (elsewhere they hear everything)."""
        hear = getattr(self.path, "hear", None)
        if hear is not None:
            ports: Sequence[tuple[int, int]] = [(PROTOCOL, port) for port in self._held]
            hear(ports)

    def close(self) -> None:
        """Let go of every port. May be called twice."""
        held, self._held = self._held, {}
        for listeners in held.values():
            for listener in listeners:
                listener.close()


def _scope(address: bytes, interface: str) -> int:
    """The interface's number, which a link-local address needs."""
    if len(address) != 16 or address[0] != 0xFE:
        return 0
    from pytools.link import host

    found = host.interface(interface)
    return found.index if found is not None else 0


def _open_services(path: Path) -> Tcp:
    """The simulated hosts get TCP only when somebody wants it: it costs time at the start."""
    from pytools.cli.open_sim import SimPath
    from pytools.sim.tcp_services import TcpServices

    assert isinstance(path, SimPath)
    topology = path.topology
    for host in (topology.far, topology.small):
        TcpServices(topology.network, host)
    TcpServices(topology.network, topology.router, ())
    return TcpServices(topology.network, topology.peer).tcp
