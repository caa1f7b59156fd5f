"""Socket addresses: Python's tuples to and from the stack's octets, with the errors of CPython's sockets."""

import socket
from typing import Any, Final

from pytools.wire.addr import format_ip, parse_ip

Endpoint = tuple[bytes, int]
AF_INET: Final = int(socket.AF_INET)
AF_INET6: Final = int(socket.AF_INET6)
MAPPED: Final = bytes(10) + b"\xff\xff"
"""::ffff:0:0/96 (RFC 4291 2.5.5.2): IPv4 addresses as an IPv6 socket sees them."""


def parse(family: int, address: Any, call: str) -> Endpoint:
    """(address, port) of a socket address; b"" is any address. Names are resolved by the system's resolver.

    TypeError, OverflowError, socket.gaierror as CPython's `call`.
    """
    host, port = _split(family, address, call)
    return to_octets(family, host, call), port


def _split(family: int, address: Any, call: str) -> tuple[Any, int]:
    name = "AF_INET6" if family == AF_INET6 else "AF_INET"
    if not isinstance(address, tuple):
        raise TypeError(f"{call}(): {name} address must be tuple, not {type(address).__name__}")
    if family == AF_INET6 and not 2 <= len(address) <= 4:
        raise TypeError(f"{call}(): AF_INET6 address must be a tuple (host, port[, flowinfo[, scopeid]])")
    if family == AF_INET and len(address) != 2:
        raise TypeError(f"{call}(): AF_INET address must be a pair (host, port)")
    port = address[1]
    if not isinstance(port, int):
        raise TypeError(f"'{type(port).__name__}' object cannot be interpreted as an integer")
    if not 0 <= port <= 0xFFFF:
        raise OverflowError(f"{call}(): port must be 0-65535.")
    return address[0], port


def to_octets(family: int, host: Any, call: str = "connect") -> bytes:
    """The octets of a host: an address or a name. b"" for "" and for the unspecified address."""
    if isinstance(host, (bytes, bytearray)):
        host = bytes(host).decode("ascii")
    if not isinstance(host, str):
        raise TypeError(f"{call}(): argument 1 must be str, bytes or bytearray, not {type(host).__name__}")
    octets = _known(host.partition("%")[0])
    if octets is None or len(octets) != (16 if family == AF_INET6 else 4):
        octets = _resolve(family, host)
    if not any(octets):
        return b""
    return octets[12:] if octets.startswith(MAPPED) and len(octets) == 16 else octets


def _known(host: str) -> bytes | None:
    try:
        return parse_ip(host)
    except ValueError:
        return None


def is_address(host: str) -> bool:
    """Whether it needs no look-up."""
    return not host or _known(host) is not None


def _resolve(family: int, host: str) -> bytes:
    if not host:
        return b""
    if host == "<broadcast>":
        return b"\xff" * 4
    found = socket.getaddrinfo(host, None, family, socket.SOCK_STREAM)
    return parse_ip(str(found[0][4][0]).partition("%")[0])


def families_of(host: str, port: int | str | None, family: int = 0) -> list[tuple[int, tuple[Any, ...]]]:
    """(family, socket address) of each address of a host, as `socket.getaddrinfo` orders them."""
    known = _known(host)
    if known is not None and isinstance(port, int):
        own = AF_INET if len(known) == 4 else AF_INET6
        if family in (0, own):
            return [(own, (host, port) if own == AF_INET else (host, port, 0, 0))]
    found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM)
    return [(int(entry[0]), entry[4]) for entry in found]


def format_endpoint(family: int, endpoint: Endpoint) -> tuple[Any, ...]:
    """What getsockname, getpeername and accept return: a pair, for IPv6 a 4-tuple."""
    address, port = endpoint
    if family != AF_INET6:
        return format_ip(address or bytes(4)), port
    if len(address) == 4:
        return f"::ffff:{format_ip(address)}", port, 0, 0
    return format_ip(address or bytes(16)), port, 0, 0
