"""Giving up root for good, once everything that needs it is open.

The order is what the kernel demands: groups and bounding set can only be changed while capabilities are there, and
those go with the uid. Ordinary users lose nothing and load nothing: ctypes is imported only if there is something to
drop.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from pytools.errors import LinkError

NOBODY: Final = 65534
_CAP_SETGID, _CAP_SETUID, _CAP_SETPCAP = 6, 7, 8
_PR_CAPBSET_DROP: Final = 24
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3: Final = 0x20080522


def status(field: str) -> str:
    """A line of /proc/self/status, or "" where there is none."""
    with suppress(OSError), open("/proc/self/status", encoding="ascii", errors="replace") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name == field:
                return value.strip()
    return ""


def capabilities(kind: str = "Eff") -> int:
    """The capability set of this thread as a bit set: Eff, Prm, Inh, Bnd or Amb."""
    return int(status(f"Cap{kind}") or "0", 16)


def has_capability(number: int) -> bool:
    """Whether this capability (12 NET_ADMIN, 13 NET_RAW, 21 SYS_ADMIN) is effective."""
    return bool(capabilities() >> number & 1)


def invoking_user() -> tuple[int, int] | None:
    """(uid, gid) of the person behind root: who called the set-uid program, or sudo (SUDO_UID). None: there is none."""
    if os.getuid() != 0:
        return os.getuid(), os.getgid()
    uid, gid = os.environ.get("SUDO_UID", ""), os.environ.get("SUDO_GID", "")
    if uid.isdecimal() and gid.isdecimal() and 0 < int(uid) < 1 << 32 and 0 < int(gid) < 1 << 32:
        return int(uid), int(gid)
    return None


def give_to_invoking_user(descriptor: int) -> None:
    """A file that root made just now shall belong to the person behind it."""
    user = invoking_user()
    if user is not None and os.geteuid() == 0:
        with suppress(OSError):  # a file system without owners
            os.fchown(descriptor, *user)


def drop() -> None:
    """Become the invoking user, or nobody, without any capability, for good. LinkError: it did not work; do not go on.

    Call it while there is one thread: capabilities belong to threads. Does nothing for ordinary users.
    """
    held = capabilities("Prm") | capabilities()
    if os.geteuid() != 0 and os.getuid() == os.geteuid() and not held:
        return
    if int(status("Threads") or "1") > 1:
        raise LinkError("can't give up privileges: other threads run already and would keep theirs")
    uid, gid = invoking_user() or (NOBODY, NOBODY)
    # In a user namespace (lab, rootless containers) other ids may not exist, and its root is none outside. A container
    # that took CAP_SETUID from its root leaves only the capabilities to drop.
    may_change = held >> _CAP_SETUID & held >> _CAP_SETGID & 1 and _is_mapped(uid, "uid") and _is_mapped(gid, "gid")
    changes_user = bool(may_change) and os.geteuid() == 0
    try:
        _drop_to(uid, gid, changes_user, bool(held >> _CAP_SETPCAP & 1))
    except OSError as error:
        raise LinkError(f"can't give up privileges: {error.filename}: {error.strerror}", error.errno or 0) from error
    if capabilities("Prm") | capabilities() or (changes_user and os.getresuid() != (uid, uid, uid)):
        raise LinkError("can't give up privileges: the system said yes, but some are left")


def _drop_to(uid: int, gid: int, changes_user: bool, may_bound: bool) -> None:
    """OSError with the failing call as its filename."""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)

    def call(function: str, *arguments: object) -> None:
        if getattr(libc, function)(*arguments) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), function)

    def control(*arguments: int) -> None:
        call("prctl", *[ctypes.c_ulong(one) for one in (*arguments, 0, 0, 0, 0)[:5]])

    if changes_user:
        _named("setgroups", lambda: os.setgroups([]))
        _named("setresgid", lambda: os.setresgid(gid, gid, gid))
    if may_bound:
        for number in range(_last_capability() + 1):
            control(_PR_CAPBSET_DROP, number)
    with suppress(OSError):  # Linux before 4.3 has no ambient capabilities
        control(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if changes_user:
        _named("setresuid", lambda: os.setresuid(uid, uid, uid))
    call("capset", (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0), (ctypes.c_uint32 * 6)())
    control(_PR_SET_NO_NEW_PRIVS, 1)


def _named(name: str, call: Callable[[], None]) -> None:
    try:
        call()
    except OSError as error:
        error.filename = name
        raise


def _last_capability() -> int:
    with suppress(OSError, ValueError), open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as file:
        return int(file.read())
    return 40  # CAP_CHECKPOINT_RESTORE, the last of Linux 6


def _is_mapped(number: int, kind: str) -> bool:
    """Whether a uid or gid exists in this user namespace."""
    with suppress(OSError, ValueError), open(f"/proc/self/{kind}_map", encoding="ascii") as lines:
        return any(int(first) <= number < int(first) + int(count) for first, _, count in map(str.split, lines))
    return True
