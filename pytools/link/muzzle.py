"""A muzzled listener: keeps the kernel from resetting the TCP connections of our stack on a shared address.

The kernel answers segments for a port where nobody listens with RST. A kernel socket that listens there stops that, and
the muzzle stops the socket itself: it takes no segment with a TTL below 255 (RFC 5082's trick the other way round), and
where it is permitted a filter takes none at all. The port is ours meanwhile, and all is gone with the process.
"""

import _socket
from contextlib import suppress
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL, EPERM
from typing import Any, Final

from pytools.errors import LinkError
from pytools.link import bpf
from pytools.link.destinations import AF_INET, AF_INET6, needs_scope

SOCK_STREAM, SOCK_CLOEXEC = 1, 0o2000000
IPPROTO_IP, IPPROTO_IPV6 = 0, 41
IP_MINTTL, IPV6_MINHOPCOUNT, IPV6_V6ONLY = 21, 73, 26
_NEVER_SEEN: Final = 255
"""Only a neighbour that sends with the largest TTL there is gets past this."""


class MuzzledListener:
    """Holds `port` of a local address (0: the kernel chooses) without ever answering on it.

    An unspecified IPv6 address with `dual_stack` holds the port in both families. `filtered` says whether the muzzle
    is complete. Open it before privileges are dropped. LinkError in the kernel's words: "Address already in use".
    """

    __slots__ = ("_socket", "address", "filtered", "port")

    def __init__(self, address: bytes, port: int = 0, *, scope: int = 0, dual_stack: bool = False) -> None:
        family = AF_INET if len(address) == 4 else AF_INET6
        self.address = address
        self._socket = _socket.socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)
        try:
            self._bind(family, port, scope, dual_stack)
            self.filtered = self._muzzle(family)
            self._socket.listen(1)
        except OSError as error:
            self.close()
            raise _refused(error, port) from error
        self.port: int = self._socket.getsockname()[1]

    def _bind(self, family: int, port: int, scope: int, dual_stack: bool) -> None:
        text = _socket.inet_ntop(family, self.address)
        where: Any = (text, port)
        if family == AF_INET6:
            self._socket.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, int(not dual_stack))
            where = (text, port, 0, scope if needs_scope(self.address) else 0)
        self._socket.bind(where)

    def _muzzle(self, family: int) -> bool:
        """Before listen(): there must be no moment in which it could answer."""
        if family == AF_INET6:
            self._socket.setsockopt(IPPROTO_IPV6, IPV6_MINHOPCOUNT, _NEVER_SEEN)
        with suppress(OSError):  # on an IPv6 socket only where it is dual-stack
            self._socket.setsockopt(IPPROTO_IP, IP_MINTTL, _NEVER_SEEN)
        try:
            bpf.attach(self._socket, bpf.MUTE)
        except OSError as error:
            if error.errno not in (EPERM, EACCES):
                raise
            return False  # newer kernels want CAP_NET_ADMIN for this on TCP sockets
        return True

    def close(self) -> None:
        """Let go of the port. May be called twice."""
        self._socket.close()


def _refused(error: OSError, port: int) -> LinkError:
    number = error.errno or 0
    hint = ""
    if number == EADDRINUSE:
        hint = f": port {port} belongs to another program"
    elif number in (EPERM, EACCES):
        hint = f": port {port} needs root or CAP_NET_BIND_SERVICE"
    elif number == EADDRNOTAVAIL:
        hint = ": it is not this host's"
    return LinkError(f"bind: {error.strerror}{hint}", number)
