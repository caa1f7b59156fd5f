"""`pytools tcpserve`: the options; `tcpserve_run` does the rest."""

from typing import Annotated

from pytools.cli import options
from pytools.cli._typer import command_app, typer

app, command = command_app(
    "Serve TCP with our own stack: echo what clients send, or discard it, or send them something, until Ctrl-C.\n\n"
    "On the host's own addresses the kernel is kept from answering on the ports; --address gives the server an address "
    "of its own, --via tap or lab a network with the kernel on it, --via sim shows it with simulated visitors.\n\n"
    "pytools tcpserve --via lab --http --source 1000 8080 --client 'curl -s http://10.0.0.10:8080/'\n\n"
    "Exit status: 0 done, 1 an address is in use by somebody else, 2 could not begin."
)

_limit = options.integer(0, (1 << 63) - 1)


class Options:
    """What was given, by the names of the parameters below."""

    ports: list[str]
    echo: bool
    discard: bool
    chargen: bool
    source: int | None
    file: str | None
    stdin: bool
    exec_: str | None
    http: bool
    banner: str | None
    listen: list[str] | None
    ipv4: bool
    ipv6: bool
    one: bool
    keep: bool
    count: int
    deadline: float
    max_clients: int
    max_bytes: int
    idle: float
    rate: int
    read_rate: int
    no_read: bool
    backlog: int
    client: str | None
    interface: list[str] | None
    address: list[str] | None
    via: str
    network: str | None
    mtu: int
    live: bool
    quiet: bool
    json: bool
    verbose: int
    trace_format: str
    pcap: str | None
    seed: int | None
    color: str
    plain: bool

    def __init__(self, given: dict[str, object]) -> None:
        self.__dict__.update(given)


@command
def tcpserve(
    ports: Annotated[list[str], typer.Argument(metavar="PORT...", help="Ports or service names.")],
    echo: Annotated[bool, typer.Option("--echo", help="Send back what comes (RFC 862); the default.")] = False,
    discard: Annotated[bool, typer.Option("--discard", help="Throw away what comes (RFC 863).")] = False,
    chargen: Annotated[bool, typer.Option("--chargen", help="Send characters without end (RFC 864).")] = False,
    source: Annotated[
        int | None, typer.Option("--source", parser=_limit, metavar="BYTES", help="Send so many octets and close.")
    ] = None,
    file: Annotated[
        str | None, typer.Option("--file", metavar="FILE", help="Send this file to each client and close.")
    ] = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Talk to a client through stdin and stdout, as netcat does.")
    ] = False,
    exec_: Annotated[
        str | None,
        typer.Option("--exec", metavar="CMD", help="Run a shell command for each client (needs -s, -I or --address)."),
    ] = None,
    http: Annotated[
        bool, typer.Option("--http", help="Answer an HTTP request with what --source or --file sends.")
    ] = False,
    banner: Annotated[
        str | None, typer.Option("--banner", metavar="TEXT", help="Say this line first to every client.")
    ] = None,
    listen: Annotated[
        list[str] | None, typer.Option("-s", "--listen", metavar="ADDR", help="Listen on this address of ours only.")
    ] = None,
    ipv4: options.Ipv4 = False,
    ipv6: options.Ipv6 = False,
    one: Annotated[bool, typer.Option("-1", "--one", help="One connection, then end (as -c 1).")] = False,
    keep: Annotated[bool, typer.Option("-k", "--keep", help="With --stdin: one client after the other.")] = False,
    count: Annotated[
        int, typer.Option("-c", "--count", parser=_limit, metavar="N", help="End after N connections.")
    ] = 0,
    deadline: Annotated[
        float,
        typer.Option(
            "-w", "--deadline", parser=options.seconds("bad deadline"), metavar="S", help="End after S seconds."
        ),
    ] = 0.0,
    max_clients: Annotated[
        int, typer.Option("--max-clients", parser=_limit, metavar="N", help="Serve so many at once; others wait.")
    ] = 0,
    max_bytes: Annotated[
        int, typer.Option("--max-bytes", parser=_limit, metavar="N", help="Take so many octets of a client, no more.")
    ] = 0,
    idle: Annotated[
        float,
        typer.Option(
            "--idle",
            parser=options.seconds("bad idle time"),
            metavar="S",
            help="Reset a client with whom nothing moves for S seconds.",
        ),
    ] = 0.0,
    rate: Annotated[
        int, typer.Option("--rate", parser=_limit, metavar="N", help="Send each client N octets a second at most.")
    ] = 0,
    read_rate: Annotated[
        int, typer.Option("--read-rate", parser=_limit, metavar="N", help="Read slowly: N octets a second.")
    ] = 0,
    no_read: Annotated[bool, typer.Option("--no-read", help="Never read: let the window close.")] = False,
    backlog: Annotated[
        int,
        typer.Option(
            "--backlog",
            parser=options.integer(0, 65535),
            metavar="N",
            help="Connections that may wait; beyond 128 half-open ones and this, SYN cookies.",
        ),
    ] = 4096,
    client: Annotated[
        str | None,
        typer.Option("--client", metavar="CMD", help="Run a shell command on the kernel's side; end when it ends."),
    ] = None,
    interface: options.Interface = None,
    address: Annotated[
        list[str] | None,
        typer.Option("--address", metavar="ADDR[/LEN]", help="Address of the server's own; may be given again."),
    ] = None,
    via: options.Via = "auto",
    network: options.Network = None,
    mtu: Annotated[
        int, typer.Option("--mtu", parser=options.integer(0, 65535), metavar="N", help="MTU, if lower than the link's.")
    ] = 0,
    live: Annotated[bool, typer.Option("--live", help="Show a table of the connections on the terminal.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only say when it listens, and the summary.")] = False,
    json: options.Json = False,
    verbose: options.Verbose = 0,
    trace_format: options.TraceFormat = "text",
    pcap: options.Pcap = None,
    seed: options.Seed = None,
    color: options.Color = "auto",
    plain: options.Plain = False,
    version: options.Version = False,
) -> int:
    """Run it; returns the exit status."""
    from pytools.cli.tcpserve_run import run

    return run(Options(locals()))
