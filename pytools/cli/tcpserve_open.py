"""Where a server listens: the ports of the command line, and addresses of the host or of our own."""

import _socket
from collections.abc import Sequence
from errno import EADDRNOTAVAIL, EAFNOSUPPORT
from typing import Final

from pytools.cli.open import Path, PathRequest, open_path
from pytools.cli.open_tcp import TcpWay
from pytools.errors import LinkError, UsageError
from pytools.stack.tcp.tcp import ANY4, ANY6
from pytools.wire.addr import format_ip, parse_ip

Place = tuple[bytes, int]
HIGHEST: Final = 65535


def read_port(text: str) -> int:
    """A port number or the name of a TCP service. UsageError."""
    if text.isdecimal():
        if not 1 <= int(text) <= HIGHEST:
            raise UsageError(f"port {text}: out of range: 1 <= port <= {HIGHEST}")
        return int(text)
    try:
        return _socket.getservbyname(text, "tcp")
    except (OSError, ValueError):
        raise UsageError(f"port {text}: neither a number nor a TCP service in /etc/services") from None


def read_listen(texts: Sequence[str]) -> list[bytes]:
    """The addresses of -s."""
    found = []
    for text in texts:
        try:
            found.append(parse_ip(text))
        except ValueError as error:
            raise UsageError(f"-s: {error}") from None
    return found


def open_server(request: PathRequest) -> Path:
    """A path on which others can reach us: on the host's addresses that is every interface, or those of -I."""
    way = request.via.partition(":")[0]
    if way not in ("auto", "packet") or request.address is not None:
        return open_path(request)
    from pytools.cli.tcpserve_host import open_on_host

    return open_on_host(request, local=way == "auto")


def places_of(path: Path, ports: Sequence[int], listen: Sequence[bytes], family: int, bound: bool) -> list[Place]:
    """(address, port) of every listener. `bound`: on the addresses of -I only, not on all the host may get."""
    own = [one.address for port in path.ports for one in path.stack.addresses(port.index)]
    for address in listen:
        if address not in own:
            what = f"bind: Cannot assign requested address: {format_ip(address)} is not ours here"
            raise LinkError(what, EADDRNOTAVAIL)
    if listen:
        addresses = list(listen)
    elif bound:
        addresses = list(dict.fromkeys(own))
    else:
        addresses = [any_ for any_, size in ((ANY4, 4), (ANY6, 16)) if any(len(one) == size for one in own)]
    sizes = {4: (4,), 6: (16,), 0: (4, 16)}[family]
    addresses = [one for one in addresses if (4 if one == ANY4 else 16 if one == ANY6 else len(one)) in sizes]
    if not addresses:
        raise LinkError(f"bind: Cannot assign requested address: no IPv{family} address here", EADDRNOTAVAIL)
    return [(address, port) for port in ports for address in addresses]


def claim(way: TcpWay, places: Sequence[Place]) -> None:
    """Keep the kernel silent where the host's addresses are shared. LinkError: Address already in use."""
    for address, port in places:
        if address in (ANY4, ANY6):
            first = way.path.stack.addresses(way.path.ports[0].index)
            if first and first[0].shared:
                _claim_any(way, address, port)
            continue
        for one in way.path.ports:
            if way.is_shared(address, one.index):
                way.claim_address(address, one.index, port, one.name)
                break


def _claim_any(way: TcpWay, address: bytes, port: int) -> None:
    try:
        way.claim_address(bytes(4 if address == ANY4 else 16), 0, port, "")
    except LinkError as error:
        if address != ANY6 or error.errno != EAFNOSUPPORT:
            raise
