"""`pytools host`: the options; `host_run` does the rest."""

from typing import Annotated

from pytools.cli import options
from pytools.cli._typer import command_app, typer

app, command = command_app(
    "Keep a host of our own stack on a link. It answers ARP, neighbour solicitations and pings, sends ICMP errors, and "
    "tells what it does, until Ctrl-C.\n\n"
    "--via tap makes a network with the kernel on it, --via lab the same without root in a namespace of its own (give "
    "a COMMAND to run there), --address puts the host on an interface beside this machine, --via sim shows it alone "
    "with a simulated visitor.\n\n"
    "COMMAND runs on the kernel's side while the host is up; its exit status is ours:\n\n"
    "pytools host --via lab -- ping -c 3 10.0.0.10\n\n"
    "Exit status: 0 done, 1 an address is in use by somebody else, 2 could not begin."
)


class Options:
    """What was given, by the names of the parameters below."""

    command: list[str]
    interface: list[str] | None
    address: list[str] | None
    via: str
    network: str | None
    gateway: list[str] | None
    mac: str | None
    mtu: int
    vlan: int | None
    pcp: int
    services: bool
    no_probe: bool
    acd: bool
    count: int
    deadline: float
    quiet: bool
    json: bool
    verbose: int
    trace_format: str
    pcap: str | None
    color: str
    plain: bool
    seed: int | None

    def __init__(self, given: dict[str, object]) -> None:
        self.__dict__.update(given)


@command
def host(
    command: Annotated[
        list[str] | None, typer.Argument(metavar="[-- COMMAND...]", help="Run this on the kernel's side.")
    ] = None,
    interface: options.Interface = None,
    address: Annotated[
        list[str] | None,
        typer.Option("--address", metavar="ADDR[/LEN]", help="Address of the host; may be given several times."),
    ] = None,
    via: options.Via = "auto",
    network: options.Network = None,
    gateway: Annotated[
        list[str] | None, typer.Option("--gateway", metavar="ADDR", help="Default gateway; one for each family.")
    ] = None,
    mac: Annotated[
        str | None, typer.Option("--mac", metavar="MAC", help="MAC of the host (a local one is made up).")
    ] = None,
    mtu: Annotated[
        int, typer.Option("--mtu", parser=options.integer(0, 65535), metavar="N", help="MTU, if lower than the link's.")
    ] = 0,
    vlan: Annotated[
        int | None, typer.Option("--vlan", parser=options.integer(0, 4094), metavar="ID", help="Live in this VLAN.")
    ] = None,
    pcp: Annotated[
        int, typer.Option("--pcp", parser=options.integer(0, 7), metavar="N", help="Priority in the VLAN tag.")
    ] = 0,
    services: Annotated[
        bool, typer.Option("--services", help="Serve UDP echo (7), discard (9) and chargen (19).")
    ] = False,
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Don't ask first whether somebody has the addresses.")
    ] = False,
    acd: Annotated[
        bool, typer.Option("--acd", help="Ask with the waits of RFC 5227 and RFC 4862 (up to 7 seconds).")
    ] = False,
    count: Annotated[
        int,
        typer.Option(
            "-c", "--count", parser=options.integer(0, 2147483647), metavar="N", help="End after N pings answered."
        ),
    ] = 0,
    deadline: Annotated[
        float,
        typer.Option(
            "-w", "--deadline", parser=options.seconds("bad deadline"), metavar="S", help="End after S seconds."
        ),
    ] = 0.0,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only say when it is ready, and the summary.")] = False,
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
    given = Options(locals())
    given.command = command or []
    from pytools.cli.host_run import run

    return run(given)
