"""`pytools tcpconnect`: the options; `tcpconnect_run` does the rest."""

from typing import Annotated

from pytools.cli import options
from pytools.cli._typer import command_app, typer
from pytools.errors import UsageError

app, command = command_app(
    "Connect to a TCP port with our own stack: standard input goes to the peer, what it sends to standard output. With "
    "-z, -c, -i or several targets connect only, and say what answered and how fast.\n\n"
    "Targets are HOST PORT, HOST... PORT[,PORT|A-B...], or HOST:PORT[,...]... ; ports are numbers or service names.\n\n"
    "Exit status: 0 open, 1 refused, timed out, unreachable or broken off, 2 could not ask."
)

_DSCP = {"cs0": 0, "le": 1, "ef": 46, "va": 44} | {f"cs{n}": 8 * n for n in range(1, 8)}
_DSCP |= {f"af{x}{y}": 8 * x + 2 * y for x in range(1, 5) for y in range(1, 4)}


def traffic_class(text: str) -> int:
    """A TOS octet, decimal or 0x hexadecimal, or the name of a DSCP (ef, af41, cs6 ...)."""
    if isinstance(text, str) and text.lower() in _DSCP:
        return _DSCP[text.lower()] << 2
    return _octet(text)


_octet = options.integer(0, 255, "the traffic class is bad")


class Options:
    """What was given, by the names of the parameters below."""

    targets: list[str]
    connect_only: bool
    count: int | None
    interval: float | None
    timeout: float | None
    source: str | None
    source_port: int | None
    interface: list[str] | None
    ttl: int
    tos: int
    half_close: bool
    detach: bool
    info: bool
    ladder: bool
    tls: bool
    tls_name: str | None
    sack: bool
    timestamps: bool
    wscale: bool
    mss: int | None
    nodelay: bool
    exit_detail: bool
    numeric: bool
    quiet: bool
    ipv4: bool
    ipv6: bool
    json: bool
    via: str
    address: str | None
    network: str | None
    verbose: int
    trace_format: str
    pcap: str | None
    color: str
    plain: bool
    seed: int | None

    def __init__(self, given: dict[str, object]) -> None:
        self.__dict__.update(given)


@command
def tcpconnect(
    targets: Annotated[list[str] | None, typer.Argument(metavar="HOST PORT...", help="Where to connect to.")] = None,
    connect_only: Annotated[bool, typer.Option("-z", "--zero", help="Connect only, send nothing.")] = False,
    count: Annotated[
        int | None,
        typer.Option("-c", "--count", parser=options.integer(1, 2147483647), metavar="N", help="Connect N times."),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            "-i",
            "--interval",
            parser=options.seconds("bad timing interval", 0.001),
            metavar="S",
            help="Seconds between attempts (1); without -c until stopped.",
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "-w",
            "--timeout",
            parser=options.seconds("bad timeout", 0.001),
            metavar="S",
            help="Give up after S seconds without an answer (5 when connecting only).",
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option("-s", "--source", metavar="ADDR", help="Source address, one of ours.")
    ] = None,
    source_port: Annotated[
        int | None,
        typer.Option("-p", "--source-port", parser=options.integer(1, 65535), metavar="PORT", help="Source port."),
    ] = None,
    interface: options.Interface = None,
    ttl: Annotated[
        int, typer.Option("-t", "--ttl", parser=options.integer(1, 255), metavar="N", help="Time to live (64).")
    ] = 64,
    tos: Annotated[
        int, typer.Option("-Q", "--tos", parser=traffic_class, metavar="TOS", help="TOS octet, or a DSCP name (ef).")
    ] = 0,
    half_close: Annotated[
        bool, typer.Option("-N", "--half-close", help="Half-close at the end of input: always done, for nc's habit.")
    ] = False,
    detach: Annotated[bool, typer.Option("-d", "--no-stdin", help="Send nothing: don't read standard input.")] = False,
    info: Annotated[
        bool, typer.Option("--info", help="Print the connection's figures at its end, as -v does.")
    ] = False,
    ladder: Annotated[bool, typer.Option("--ladder", help="Draw the segments as a sequence diagram.")] = False,
    tls: Annotated[bool, typer.Option("--tls", help="A TLS handshake after TCP's, with its time.")] = False,
    tls_name: Annotated[
        str | None, typer.Option("--tls-name", metavar="NAME", help="Name for TLS, where the target is an address.")
    ] = None,
    sack: Annotated[bool, typer.Option("--sack/--no-sack", help="Offer selective acknowledgements.")] = True,
    timestamps: Annotated[bool, typer.Option("--timestamps/--no-timestamps", help="Offer timestamps.")] = True,
    wscale: Annotated[bool, typer.Option("--wscale/--no-wscale", help="Offer window scaling.")] = True,
    mss: Annotated[
        int | None,
        typer.Option("--mss", parser=options.integer(88, 65495), metavar="N", help="Advertise this MSS."),
    ] = None,
    nodelay: Annotated[bool, typer.Option("--nodelay", help="Send short segments at once (no Nagle).")] = False,
    exit_detail: Annotated[
        bool, typer.Option("--exit-detail", help="Exit with 10 refused, 11 timed out, 12 unreachable instead of 1.")
    ] = False,
    numeric: Annotated[bool, typer.Option("-n", "--numeric", help="No names: targets must be numbers.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="No line for each attempt.")] = False,
    ipv4: options.Ipv4 = False,
    ipv6: options.Ipv6 = False,
    json: options.Json = False,
    verbose: options.Verbose = 0,
    trace_format: options.TraceFormat = "text",
    pcap: options.Pcap = None,
    via: options.Via = "auto",
    address: options.Address = None,
    network: options.Network = None,
    seed: options.Seed = None,
    color: options.Color = "auto",
    plain: options.Plain = False,
    version: options.Version = False,
) -> int:
    """Run it; returns the exit status."""
    given = Options(locals())
    if not targets:
        raise UsageError("no target given (usage: tcpconnect [OPTIONS] HOST PORT, -h explains)")
    from pytools.cli.tcpconnect_run import run

    return run(given)
