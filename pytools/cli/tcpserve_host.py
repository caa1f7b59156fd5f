"""A server on the host's own addresses: sockets on every interface, and the kernel's routes for the answers."""

from errno import EADDRNOTAVAIL

from pytools.cli.open import PathRequest
from pytools.cli.open_host import COOKED_WAY, ETHERNET_WAY, RAW_WAY, Binding, HostPath
from pytools.engine import ETHERNET
from pytools.errors import LinkError
from pytools.link import host
from pytools.link.host import Interface
from pytools.wire.addr import is_link_local


def open_on_host(request: PathRequest, *, local: bool) -> HostPath:
    """Every interface, or that of -I; `local` also what programs of this host send."""
    path = HostPath(request)
    try:
        _open_interfaces(path, Binding(request.interfaces, False), local=local)
    except BaseException:
        path.close()
        raise
    return path


def _open_interfaces(path: HostPath, binding: Binding, *, local: bool) -> None:
    """Sockets on the interfaces that have addresses, and the host's routes for what we answer."""
    bound = binding.interface
    chosen = [one for one in host.interfaces() if one.up and (bound is None or one.index == bound.index)]
    if bound is not None and not chosen:
        raise LinkError(f"{bound.name} is down (ip link set {bound.name} up)")
    loopback = next((one for one in chosen if one.loopback), None) if local else None
    for interface in chosen:
        for own in host.addresses(interface.index):
            # A link-local address says nothing without its link, so it takes -I.
            if binding.source not in (None, own.address) or (is_link_local(own.address) and bound is None):
                continue
            if loopback is not None:
                path.add_own(path.port_for(RAW_WAY, loopback), own.address, loopback.index)
            if not interface.loopback:
                path.add_own(path.port_for(_way_of(interface), interface), own.address, interface.index)
    if not path.ports:
        raise LinkError(f"bind: Cannot assign requested address: {_where(binding)} has no address", EADDRNOTAVAIL)
    for family in (4, 6):
        path.add_table(family)


def _way_of(interface: Interface) -> str:
    return ETHERNET_WAY if interface.link_type == ETHERNET and interface.arpable else COOKED_WAY


def _where(binding: Binding) -> str:
    return binding.interface.name if binding.interface is not None else "this host"
