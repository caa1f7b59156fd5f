"""What the system refused, in one line that also says what to do."""

import os
from errno import EACCES, EAFNOSUPPORT, ENODEV, ENXIO, EPERM

from pytools.errors import LinkError

NEEDS_RAW = "raw packets need root or CAP_NET_RAW (--via lab and --via sim need neither)"


def socket_refused(error: OSError) -> LinkError:
    """socket() for raw packets failed."""
    number = error.errno or 0
    text = f"socket: {os.strerror(number)}"
    if number in (EPERM, EACCES):
        text += f": {NEEDS_RAW}"
    elif number == EAFNOSUPPORT:
        text += ": this kernel has no packet sockets (CONFIG_PACKET)"
    return LinkError(text, number)


def interface_refused(name: str, error: OSError) -> LinkError:
    """Binding to an interface, or asking for its frames, failed."""
    number = error.errno or 0
    if number in (ENODEV, ENXIO):
        return no_such_interface(name)
    return LinkError(f"{name}: {os.strerror(number)}", number)


def no_such_interface(name: str) -> LinkError:
    """Nothing has this name (or it went away)."""
    return LinkError(f"{name}: No such device: see the names with `ip link`", ENODEV)
