"""Runs the command of `pytools host ... -- COMMAND` for a parent that has given up its rights.

Started as a script of its own, before the parent drops its privileges: `host_child.py FD COMMAND...`. It waits for an
octet on FD, then starts the command; when FD is closed instead, or later, the parent is gone and the command with it.
"""

import os
import select
import signal
import sys

GRACE_S = 2.0
NOT_FOUND, NOT_STARTED = 127, 125


def main(gate: int, command: list[str]) -> int:
    """Returns the command's exit status, 128 and the number of the signal that ended it."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C reaches the command itself
    if not os.read(gate, 1):
        return NOT_STARTED
    try:
        pid = os.posix_spawnp(
            command[0], command, os.environ, setsigdef=(signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE)
        )
    except OSError as error:
        sys.stderr.write(f"pytools host: {command[0]}: {error.strerror}\n")
        return NOT_FOUND
    ended = os.pidfd_open(pid)
    while ended not in (ready := select.select((gate, ended), (), ())[0]) and os.read(gate, 1):
        pass
    if ended not in ready:
        os.kill(pid, signal.SIGTERM)
        if not select.select((ended,), (), (), GRACE_S)[0]:
            os.kill(pid, signal.SIGKILL)
    return _status(os.waitpid(pid, 0)[1])


def _status(wait_status: int) -> int:
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
