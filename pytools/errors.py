"""Exceptions and the exit status each one stands for.

Nothing that comes from the network raises out of an engine: it is dropped with a `DropReason`. These are for the
caller's mistakes and the machine's refusals. A message is one line: what was wrong, with which value, what to do.
"""

EXIT_YES = 0
"""The question was asked and the answer is yes."""
EXIT_NO = 1
"""The question was asked and the answer is no (no reply, refused, timed out), or stdout could not be written."""
EXIT_COULD_NOT_ASK = 2
"""Usage, bad value, name, route, interface, permission, or an internal error."""


class PytoolsError(Exception):
    """Base of all; `exit_status` is what the command ends with."""

    exit_status = EXIT_COULD_NOT_ASK


class UsageError(PytoolsError):
    """A person's input that can't be used."""


class DecodeError(PytoolsError, ValueError):
    """The peer's bytes. Raised by `wire`, caught by the stack, never seen by a user."""


class LocalProtocolError(PytoolsError):
    """The caller's call breaks the protocol or the contract."""


class ConnectionFailedError(PytoolsError):
    """A connection's end, with the errno that a socket would report."""

    exit_status = EXIT_NO

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class LinkError(PytoolsError):
    """The machine: no such interface, not permitted, interface down, write refused. `errno` is the system's, or 0."""

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno
