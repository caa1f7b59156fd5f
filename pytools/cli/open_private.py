"""Paths on which our stack is a host of its own: a TAP device, the lab, or a packet socket with --address."""

import os
from collections.abc import Sequence
from errno import EADDRNOTAVAIL
from typing import Final
from zlib import crc32

from pytools.cli.open import Path, PathRequest, Target
from pytools.cli.open_host import Binding
from pytools.engine import Port
from pytools.errors import LinkError, UsageError
from pytools.link import bpf, host
from pytools.link.clock import StampClock
from pytools.link.host import Interface
from pytools.link.kernel_end import host_of
from pytools.link.packet_socket import PacketLink
from pytools.run.waiters import RealWaiter
from pytools.stack.routes import Route
from pytools.units import Ns
from pytools.wire.addr import Network, format_ip, is_link_local, parse_ip

_OUR_HOST: Final = {4: 10, 16: 0x10}
"""Our address in tap and lab as it is written: .10 and ::10."""


def read_networks(text: str | None, usual: Sequence[Network]) -> Sequence[Network]:
    """What --network says (several, separated by commas), or the usual ones."""
    networks = []
    for part in text.split(",") if text else ():
        try:
            network = Network.parse(part)
        except ValueError as error:
            raise UsageError(f"--network {part}: {error}") from None
        if network.prefix_len > len(network.address) * 8 - 8:
            raise UsageError(f"--network {part}: too small (hosts .1, .2, .10 and .99 have to fit)")
        networks.append(network)
    return networks or usual


class OwnPath(Path):
    """Our stack alone owns its addresses: it answers ARP, ND and echo there."""

    def __init__(self, request: PathRequest, kind: str) -> None:
        self.kind = kind
        self.clock = StampClock()
        seed = request.seed if request.seed is not None else int.from_bytes(os.urandom(8), "big")
        super().__init__(request, RealWaiter(), epoch_ns=self.clock.offset, seed=seed, ident=os.getpid() & 0xFFFF)

    def settle(self, port: Port, networks: Sequence[Network]) -> None:
        """Give the stack its addresses on `port`, .10 of each network or --address, and routes by .1."""
        self.add_port(port)
        now: Ns = self.waiter.now()
        given = [address for address, _ in read_addresses(self.request)]
        for address in given:
            if not any(address in network for network in networks):
                allowed = ", ".join(str(network) for network in networks)
                raise UsageError(f"--address {format_ip(address)}: not in {allowed} (see --network)")
        for network in networks:
            usual = host_of(network, _OUR_HOST[len(network.address)])
            ours = [address for address in given if address in network] or [usual]
            for own in ours:
                self.stack.add_address(port.index, own, network.prefix_len, now)
            everything = Network(bytes(len(ours[0])), 0)
            self.stack.add_route(Route(everything, port.index, host_of(network, 1), ours[0]))


def read_addresses(request: PathRequest) -> list[tuple[bytes, int]]:
    """(address, prefix length or -1) of each that --address gave."""
    return [read_address(text) for text in (request.address, *request.more_addresses) if text is not None]


def read_address(text: str) -> tuple[bytes, int]:
    """(address, prefix length or -1) of `ADDR[/LEN]`."""
    address, slash, _ = text.partition("/")
    try:
        prefix_len = Network.parse(text).prefix_len if slash else -1
        return parse_ip(address), prefix_len
    except ValueError as error:
        raise UsageError(f"--address {text}: {error}") from None


def open_private(request: PathRequest, kind: str) -> OwnPath:
    """A wire of our own with the kernel at its other end: `--via tap` or `--via lab`."""
    if request.interfaces:
        raise UsageError(f"-I: --via {kind} makes its own interface")
    path = OwnPath(request, kind)
    try:
        (_open_tap if kind == "tap" else _open_lab)(path)
    except BaseException:
        path.close()
        raise
    return path


def _open_tap(path: OwnPath) -> None:
    from pytools.link.tap import NETWORKS, TapLink

    request = path.request
    networks = read_networks(request.network, NETWORKS)
    link = TapLink(networks, mac=request.mac, vlans=request.vlans)
    path.links.append(link)
    path.settle(link.ports[0], networks)


def _open_lab(path: OwnPath) -> None:
    from pytools.link.lab import NETWORKS, Lab

    request = path.request
    networks = read_networks(request.network, NETWORKS)
    link = Lab(
        _everything(),
        networks,
        mac=request.mac,
        vlans=request.vlans,
        tx_stamps=request.tx_stamps,
        promiscuous=request.promiscuous,
        send_buffer=request.send_buffer,
        clock=path.clock,
    )
    path.links.append(link)
    path.settle(link.ports[0], networks)


def _everything() -> bpf.Interest:
    """What a host wants to hear."""
    return bpf.Interest(arp=bpf.ARP_ALL, neighbor_discovery=True, multicast=True, everything=True)


# --- a packet socket with an address of our own ---------------------------------------------------------------------


def own_mac(interface: Interface, address: bytes) -> bytes:
    """A locally administered address that is the same each time for this interface and IP address."""
    number = crc32(interface.mac + address)
    return b"\x02" + number.to_bytes(4, "big") + address[-1:]


def open_own_address(request: PathRequest) -> OwnPath:
    """A host of our own beside this one, on the same wire: `--address`."""
    given = read_addresses(request)
    interface = _interface_for(request, given[0][0])
    if os.path.exists(f"/sys/class/net/{interface.name}/phy80211"):
        raise LinkError(
            f"{interface.name}: an access point knows one MAC for each station, so --address can't work on Wi-Fi"
            " (without it the stack shares the host's address)"
        )
    addresses = [_with_prefix(interface, address, prefix_len) for address, prefix_len in given]
    path = OwnPath(request, "packet")
    try:
        _open_on(path, interface, addresses)
    except BaseException:
        path.close()
        raise
    return path


def _with_prefix(interface: Interface, address: bytes, prefix_len: int) -> tuple[bytes, int]:
    """The prefix length: as given, that of the host's network around the address, or /24 and /96."""
    present = host.addresses(interface.index)
    if any(one.address == address for one in present):
        raise LinkError(f"--address {format_ip(address)}: {interface.name} has that address already", EADDRNOTAVAIL)
    if prefix_len >= 0:
        return address, prefix_len
    around = [one.prefix_len for one in present if address in Network(one.address, one.prefix_len)]
    return address, around[0] if around else len(address) * 6


def _open_on(path: OwnPath, interface: Interface, addresses: Sequence[tuple[bytes, int]]) -> None:
    request = path.request
    link = PacketLink(
        interface,
        _everything(),
        mac=request.mac or own_mac(interface, addresses[0][0]),
        vlans=request.vlans,
        tx_stamps=request.tx_stamps,
        promiscuous=request.promiscuous,
        send_buffer=request.send_buffer,
        mark=request.mark,
        clock=path.clock,
    )
    path.links.append(link)
    port = link.ports[0]
    path.add_port(port)
    for address, prefix_len in addresses:
        path.stack.add_address(port.index, address, prefix_len, path.waiter.now(), probe=request.probe)
        for route in _routes_by(interface, address, prefix_len):
            path.stack.add_route(Route(route.network, port.index, route.gateway, address, metric=route.metric))


def _routes_by(interface: Interface, address: bytes, prefix_len: int) -> list[Route]:
    """The host's routes out of this interface by a gateway that our address can reach."""
    family = 4 if len(address) == 4 else 6
    on_link = Network(address, prefix_len)
    return [
        Route(Network(one.network, one.prefix_len), 0, one.gateway, metric=one.metric)
        for one in host.routes(family)
        if one.oif == interface.index
        and one.gateway is not None
        and len(one.gateway) == len(address)
        and (one.gateway in on_link or is_link_local(one.gateway))
    ]


def _interface_for(request: PathRequest, address: bytes) -> Interface:
    """The one that -I names, else the one whose network --address is in, else the one to the first target."""
    binding = Binding(request.interfaces, request.link_layer)
    if binding.interface is not None:
        found: Interface | None = binding.interface
    else:
        indices = [one.index for one in host.addresses() if address in Network(one.address, one.prefix_len)]
        targets: list[Target] = list(request.targets)
        if not indices and targets:
            indices = [host.route_to(targets[0].address).oif]
        found = host.interface(indices[0]) if indices else None
    if found is None:
        raise LinkError(f"--address {format_ip(address)}: no interface has a network with it (-I names one)")
    if not found.arpable:
        raise LinkError(f"{found.name}: no Ethernet there, so there can't be a second host")
    return found
