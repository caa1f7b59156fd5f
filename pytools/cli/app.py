"""The front of the command line: which command, which errors, which exit status.

Typer is imported only when a command line has to be parsed, and a command's module only when it is that command's turn.
An error is one line, `pytools ping: what (hint)`; a usage error has the usage line above it.
"""

import sys
from importlib import import_module
from typing import Any, NoReturn

from pytools.errors import EXIT_COULD_NOT_ASK, EXIT_YES, PytoolsError

COMMANDS = {
    "ping": ("pytools.cli.ping", "Send ICMP echo requests and show the replies."),
    "arping": ("pytools.cli.arping", "Ask who has an address, by ARP or neighbour solicitation."),
    "host": ("pytools.cli.host", "Keep a host of our own stack on a link."),
    "tcpserve": ("pytools.cli.tcpserve", "Serve TCP: echo, discard, files, a command."),
    "tcpconnect": ("pytools.cli.tcpconnect", "Connect to TCP ports: talk, probe, measure."),
    "drill": ("pytools.cli.drill", "Run packetdrill scripts on our stack or the kernel's."),
    "retxstat": ("pytools.cli.retxstat", "Say which TCP segments of a capture were sent again, and why."),
}
"""Name -> (module with `app`, one line of help)."""

ALIASES = {"ping4": ("ping", "-4"), "ping6": ("ping", "-6")}
"""Names of argv[0] that imply an option."""


def main() -> NoReturn:
    """The process' entry: set up signals and stdio, run, exit."""
    import gc

    from pytools.cli.output import open_stdio

    gc.disable()  # saves 3-5 ms of start-up; `open.Path.driver` turns it on again
    _default_signals()
    finish = open_stdio()
    sys.exit(finish(run(sys.argv)))


def _default_signals() -> None:
    """Die quietly of a closed pipe and of an early Ctrl-C; a SIGINT that is ignored (a background job) stays so."""
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(argv: list[str]) -> int:
    """Run one command line, `argv[0]` included; returns the exit status. Errors go to stderr as one line."""
    prog, name, arguments = split_command_line(argv)
    try:
        return _dispatch(prog, name, arguments)
    except PytoolsError as error:
        return complain(prog, str(error), error.exit_status)
    except Exception as error:
        return _complain_of(prog, error)


def split_command_line(argv: list[str]) -> tuple[str, str | None, list[str]]:
    """(program name for messages, command or None, its arguments), from argv[0] or the first argument."""
    called = argv[0].rpartition("/")[2] if argv else "pytools"
    arguments = argv[1:]
    name, *implied = ALIASES.get(called, (called.removeprefix("pytools-"),))
    if name in COMMANDS:
        return called, name, [*implied, *arguments]
    if arguments and arguments[0] in COMMANDS:
        return f"pytools {arguments[0]}", arguments[0], arguments[1:]
    return "pytools", None, arguments


def _dispatch(prog: str, name: str | None, arguments: list[str]) -> int:
    if arguments and arguments[0] in ("-V", "--version") and len(arguments) == 1:
        sys.stdout.write(version_line())
        return EXIT_YES
    command = import_module(COMMANDS[name][0]).app if name else _group()
    status = command.main(arguments, prog_name=prog)
    return status if isinstance(status, int) else EXIT_YES


def version_line() -> str:
    """`pytools 0.1.0 (Python 3.11.2, typer 0.28.0, ...)`."""
    from importlib.metadata import PackageNotFoundError, version
    from platform import python_version

    from pytools import __version__

    parts = [f"Python {python_version()}"]
    for library in ("typer", "rich", "scapy"):
        try:
            parts.append(f"{library} {version(library)}")
        except PackageNotFoundError:
            parts.append(f"{library} not installed")
    return f"pytools {__version__} ({', '.join(parts)})\n"


def _group() -> Any:
    from pytools.cli.group import Top

    return Top(COMMANDS)


def complain(prog: str, message: str, status: int = EXIT_COULD_NOT_ASK) -> int:
    """Print one line on stderr, whatever `message` contains; returns `status`."""
    one_line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in message)
    _to_stderr(f"{prog}: {one_line}\n")
    return status


def _to_stderr(text: str) -> None:
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        pass  # there is no better place to say it


def _complain_of(prog: str, error: Exception) -> int:
    """What came out of Typer, or a bug."""
    from pytools.cli._typer import exit_code, is_usage_error

    if (status := exit_code(error)) is not None:
        return status
    return _complain_of_usage(prog, error) if is_usage_error(error) else _complain_of_bug(prog, error)


def _complain_of_usage(prog: str, error: Any) -> int:
    context = getattr(error, "ctx", None)
    if context is not None:
        _to_stderr(context.get_usage() + "\n")
        prog = context.command_path
    message = error.format_message().rstrip(".") or "a command is needed"
    return complain(prog, f"{message[0].lower()}{message[1:]} (try '{prog} -h')")


def _complain_of_bug(prog: str, error: Exception) -> int:
    from os import environ

    if environ.get("PYTOOLS_DEBUG"):
        import traceback

        _to_stderr("".join(traceback.format_exception(error)))
    hint = "PYTOOLS_DEBUG=1 shows where"
    return complain(prog, f"internal error: {type(error).__name__}: {error} ({hint})")
