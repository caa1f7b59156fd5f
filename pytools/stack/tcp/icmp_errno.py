"""What an ICMP error means to a socket: Linux' errno, and whether it is a hard error (RFC 1122 4.2.3.9, RFC 5927)."""

import errno
from typing import Final

from pytools.wire import icmp, icmp6

_UNREACHABLE4: Final = {
    0: (errno.ENETUNREACH, False),
    1: (errno.EHOSTUNREACH, False),
    2: (errno.ENOPROTOOPT, True),
    3: (errno.ECONNREFUSED, True),
    4: (errno.EMSGSIZE, False),
    5: (errno.EOPNOTSUPP, False),
    6: (errno.ENETUNREACH, True),
    7: (errno.EHOSTDOWN, True),
    8: (errno.ENONET, True),
    9: (errno.ENETUNREACH, True),
    10: (errno.EHOSTUNREACH, True),
    11: (errno.ENETUNREACH, False),
    12: (errno.EHOSTUNREACH, False),
    13: (errno.EHOSTUNREACH, True),
    14: (errno.EHOSTUNREACH, True),
    15: (errno.EHOSTUNREACH, True),
}
_UNREACHABLE6: Final = {
    0: (errno.ENETUNREACH, False),
    1: (errno.EACCES, True),
    2: (errno.EHOSTUNREACH, False),
    3: (errno.EHOSTUNREACH, False),
    4: (errno.ECONNREFUSED, True),
    5: (errno.EACCES, True),
    6: (errno.EACCES, True),
}


def errno_of(family: int, type_: int, code: int) -> tuple[int, bool]:
    """(errno, hard); errno 0 for messages that say nothing to TCP (Redirect, and Source Quench: MUST-55)."""
    if family == 4:
        if type_ == icmp.UNREACHABLE:
            return _UNREACHABLE4.get(code, (errno.EHOSTUNREACH, False))
        if type_ == icmp.TIME_EXCEEDED:
            return errno.EHOSTUNREACH, False
        return (errno.EPROTO, False) if type_ == icmp.PARAMETER_PROBLEM else (0, False)
    if type_ == icmp6.UNREACHABLE:
        return _UNREACHABLE6.get(code, (errno.EPROTO, False))
    if type_ == icmp6.PACKET_TOO_BIG:
        return errno.EMSGSIZE, False
    if type_ == icmp6.TIME_EXCEEDED:
        return errno.EHOSTUNREACH, False
    return (errno.EPROTO, False) if type_ == icmp6.PARAMETER_PROBLEM else (0, False)
