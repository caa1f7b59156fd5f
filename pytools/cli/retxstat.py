"""`pytools retxstat`: the options; `retxstat_run` does the rest."""

from typing import Annotated

from pytools.cli import options
from pytools.cli._typer import command_app, typer

app, command = command_app(
    "Say which TCP segments of a capture were sent again, and why.\n\n"
    "FILE is pcap or pcapng, also gzipped, or - for standard input. Causes: syn synack fin rto loss fast recovery tlp "
    "partial unknown; keepalives, zero-window probes and packets seen twice are told apart and not counted.\n\n"
    "pytools retxstat --events trace.pcapng\n\n"
    "Exit status: 0 done, 1 a --fail-if condition holds, 2 a file could not be read."
)


class Options:
    """What was given, by the names of the parameters below."""

    files: list[str]
    events: bool
    explain: int | None
    json: bool
    csv: bool
    sort: str
    filter: str | None
    interval: float
    fail_if: list[str] | None
    all: bool

    def __init__(self, given: dict[str, object]) -> None:
        self.__dict__.update(given)


@command
def retxstat(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Capture files, or - (stdin).")],
    events: Annotated[bool, typer.Option("--events", help="One line for each retransmission.")] = False,
    explain: Annotated[
        int | None,
        typer.Option(
            "--explain",
            parser=options.integer(1, (1 << 63) - 1, "bad frame number"),
            metavar="FRAME",
            help="The evidence about this frame (counted from 1).",
        ),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV with the fields of --json.")] = False,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            parser=options.choice("--sort", "retx", "bytes", "rate", "stall"),
            metavar="retx|bytes|rate|stall",
            help="Order of the flows (retx).",
        ),
    ] = "retx",
    filter: Annotated[
        str | None,
        typer.Option("--filter", metavar="WORDS", help="Only 'host ADDR', 'port N', 'cause NAME'; all must hold."),
    ] = None,
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            parser=options.seconds("bad interval"),
            metavar="S",
            help="Also count the causes in every S seconds.",
        ),
    ] = 0.0,
    fail_if: Annotated[
        list[str] | None,
        typer.Option("--fail-if", metavar="COND", help="End with status 1 if it holds, as 'retx>1%' or 'rto>=3'."),
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Flows without events too.")] = False,
    json: options.Json = False,
    version: options.Version = False,
) -> int:
    """Run it; returns the exit status."""
    given = dict(locals())
    from pytools.cli.retxstat_run import run

    return run(Options(given))
