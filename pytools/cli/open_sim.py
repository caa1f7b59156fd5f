"""Paths into the simulation (`--via sim[:delay=20ms,loss=5%,...]`): no privilege, no clock but a virtual one."""

from random import Random
from typing import Final

from pytools.cli.open import Path, PathRequest
from pytools.errors import UsageError
from pytools.run.waiters import sim_waiter
from pytools.sim import spec as sim_spec
from pytools.sim.topology import OWN_ADDRESSES, Topology
from pytools.trace.hub import Trace
from pytools.units import SECOND, Ns
from pytools.wire.addr import Network, parse_ip

EPOCH_NS: Final[Ns] = 1_767_225_600 * SECOND
"""2026-01-01 00:00:00 UTC: the wall time at virtual instant 0, so that every run prints the same."""


class SimPath(Path):
    """The standard simulated network with our stack on it."""

    kind = "sim"

    def __init__(self, request: PathRequest) -> None:
        spec = sim_spec.parse(request.via)
        if request.seed is not None:
            spec.seed = request.seed
        trace = Trace()
        self.topology = topology = Topology(spec, trace, EPOCH_NS, request.vlans)
        # A person who types at a terminal, or a run without an end, needs time that passes as on a clock.
        waiter = sim_waiter(topology.network, spec.pace, interactive=request.endless or _types(request))
        ident = Random(spec.seed).getrandbits(16)
        super().__init__(request, waiter, epoch_ns=EPOCH_NS, seed=spec.seed, ident=ident, trace=trace)
        topology.port.mac = request.mac or topology.port.mac
        topology.port.mtu = min(topology.port.mtu, request.mtu or topology.port.mtu)
        topology.configure(self.stack, self._addresses())
        self.links.append(topology.link)

    def _addresses(self) -> tuple[tuple[bytes, int], ...]:
        """Ours, with what --address and -I say."""
        request = self.request
        if request.network is not None:
            raise UsageError("--network: the simulated networks are fixed (10.0.0.0/24 and fd00::/64)")
        given = [parse_address(text) for text in (request.address, *request.more_addresses) if text is not None]
        found: list[tuple[bytes, int]] = []
        for own, prefix_len in OWN_ADDRESSES:
            ours = [address for address in given if len(address) == len(own)]
            found += [(address, prefix_len) for address in ours or [own]]
        return tuple(found)


def parse_address(text: str) -> bytes:
    """The address of `ADDR[/LEN]`, which has to be in the simulated network."""
    address = _parse_address(text)
    if not any(address in Network(own, prefix_len) for own, prefix_len in OWN_ADDRESSES):
        raise UsageError(f"--address {text}: not in the simulated network (10.0.0.0/24 or fd00::/64)")
    return address


def _parse_address(text: str) -> bytes:
    try:
        return parse_ip(text.partition("/")[0])
    except ValueError as error:
        raise UsageError(f"--address {text}: {error}") from None


def _types(request: PathRequest) -> bool:
    """Somebody types at our stdin."""
    import sys

    return request.reads_stdin and sys.stdin is not None and sys.stdin.isatty()


def open_sim(request: PathRequest) -> SimPath:
    """See `open.open_path`."""
    return SimPath(request)
