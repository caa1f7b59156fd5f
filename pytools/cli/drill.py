"""`pytools drill`: the options; `drill_run` does the rest."""

from typing import Annotated

from pytools.cli import options
from pytools.cli._typer import command_app, typer

app, command = command_app(
    "Run packetdrill scripts on our TCP/IP stack in virtual time, or with --against kernel on the Linux kernel.\n\n"
    "SCRIPT is a file, a directory (every .pkt below it), or - for standard input. Commands between backticks are "
    "never run: known ones become settings, others are refused.\n\n"
    "Exit status: 0 every script passed, 1 one did not, 2 one could not be read or run."
)


@command
def drill(
    scripts: Annotated[
        list[str] | None, typer.Argument(metavar="SCRIPT...", help="Files, directories or - (stdin).")
    ] = None,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            parser=options.choice("--against", "stack", "kernel"),
            metavar="stack|kernel",
            help="Run on our stack, or on this machine's kernel (a TUN device in its own network namespace).",
        ),
    ] = "stack",
    ip_version: Annotated[
        str | None,
        typer.Option(
            "--ip-version",
            "--ip_version",
            parser=options.choice("--ip-version", "ipv4", "ipv6", "ipv4-mapped-ipv6"),
            metavar="ipv4|ipv6|ipv4-mapped-ipv6",
            help="Instead of what the scripts say.",
        ),
    ] = None,
    mtu: Annotated[
        int | None,
        typer.Option("--mtu", parser=options.integer(576, 65535), metavar="N", help="MTU of the device (1500)."),
    ] = None,
    define: Annotated[
        list[str] | None,
        typer.Option("-D", "--define", metavar="NAME=VALUE", help="A word of the scripts' own."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            "--tolerance",
            parser=options.seconds("invalid --tolerance argument", 0.0, 3600.0),
            metavar="S",
            help="How far from its time an event may be (0.004; on the kernel 0.025).",
        ),
    ] = None,
    jobs: Annotated[
        int,
        typer.Option("-j", "--jobs", parser=options.integer(1, 256), metavar="N", help="Scripts at a time (kernel)."),
    ] = 8,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only failures and the summary.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Read the scripts only.")] = False,
    json: options.Json = False,
    verbose: options.Verbose = 0,
    trace_format: options.TraceFormat = "text",
    pcap: options.Pcap = None,
    seed: options.Seed = None,
    color: options.Color = "auto",
    plain: options.Plain = False,
    version: options.Version = False,
) -> int:
    """Run them; returns the exit status."""
    given = dict(locals())
    from pytools.cli.drill_run import Plan, run

    return run(Plan(given))
