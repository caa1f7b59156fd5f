"""`pytools arping`: the options; `arping_run` does the rest."""

from collections.abc import Callable
from typing import Annotated

from pytools.cli import options
from pytools.cli._typer import command_app, typer
from pytools.errors import UsageError

app, command = command_app(
    "Ask who has an address, by ARP or for IPv6 by neighbour solicitation; find out whether an address is free; tell "
    "the neighbours where you are; scan a network. Letters are those of iputils' arping.\n\n"
    "TARGET is an address, a host name, a network (10.0.0.0/24), a range (10.0.0.1-20) or a MAC, which gets an ICMP "
    "echo request. Several targets are scanned.\n\n"
    "Exit status: 0 answered (-D, --acd: free), 1 not (in use), 2 could not ask."
)

_SHORTEST_S = 0.001
_LONGEST_S = 4_294_967.0


def _seconds(low: float) -> Callable[[str], float]:
    """A parser for seconds, in the words of iputils; 0 is no time to wait between two probes."""

    def parse(text: str | float) -> float:
        try:
            value = float(text)
            if isinstance(text, str) and (not text.isascii() or "_" in text):
                raise ValueError
        except ValueError:
            raise UsageError(f"invalid argument: '{text}'") from None
        if not low <= value <= _LONGEST_S:
            raise UsageError(f"invalid argument: '{text}': out of range: {low:g} <= value <= {_LONGEST_S:.0f}")
        return value

    return parse


def _rate(text: str | float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise UsageError(f"invalid argument: '{text}'") from None
    if not 0.01 <= value <= 1e6:
        raise UsageError(f"invalid argument: '{text}': out of range: 0.01 <= value <= 1000000")
    return value


class Options:
    """What was given, by the names of the parameters below."""

    targets: list[str]
    interface: list[str] | None
    count: int | None
    interval: float | None
    deadline: float
    source: str | None
    zero_source: bool
    first: bool
    quiet: bool
    broadcast: bool
    detect: bool
    unsolicited: bool
    answer: bool
    acd: bool
    announce: bool
    watch: bool
    rate: float
    duplicates: bool
    count_replies: int | None
    source_mac: str | None
    target_mac: str | None
    target_ip: str | None
    vlan: int | None
    pcp: int
    promisc: bool
    report_missed: bool
    raw_mac: bool
    raw_ip: bool
    dots: bool
    audible: bool
    stats: bool
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


Count = typer.Option(
    "-c", "--count", parser=options.integer(1, 2147483647), metavar="N", help="Send N probes (a scan: N to each, 2)."
)
Interval = typer.Option(
    "-i", "--interval", parser=_seconds(_SHORTEST_S), metavar="S", help="Seconds between probes, fractions allowed (1)."
)


@command
def arping(
    targets: Annotated[list[str] | None, typer.Argument(metavar="TARGET...", help="Whom to ask for.")] = None,
    count: Annotated[int | None, Count] = None,
    deadline: Annotated[
        float,
        typer.Option(
            "-w",
            "--deadline",
            parser=_seconds(0),
            metavar="S",
            help="End after S seconds; with -c earlier, after N replies.",
        ),
    ] = 0.0,
    interval: Annotated[float | None, Interval] = None,
    interface: options.Interface = None,
    source: Annotated[
        str | None,
        typer.Option("-s", "--source", metavar="ADDR", help="Source address, also one that is not ours."),
    ] = None,
    first: Annotated[bool, typer.Option("-f", "--first", help="End after the first reply.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print nothing.")] = False,
    broadcast: Annotated[
        bool, typer.Option("-b", "--broadcast", help="Keep broadcasting instead of asking who answered.")
    ] = False,
    detect: Annotated[
        bool, typer.Option("-D", "--detect", help="Duplicate address detection: 0 if the address is free, 1 if not.")
    ] = False,
    unsolicited: Annotated[
        bool, typer.Option("-U", "--unsolicited", help="Tell the neighbours our address by an ARP request.")
    ] = False,
    answer: Annotated[
        bool, typer.Option("-A", "--answer", help="Tell the neighbours our address by an ARP reply.")
    ] = False,
    acd: Annotated[
        bool, typer.Option("--acd", help="Is the address free? With the probes and waits of RFC 5227 (IPv6: 4862).")
    ] = False,
    announce: Annotated[bool, typer.Option("--announce", help="With --acd: announce it if it is free.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Watch for address conflicts until stopped; targets are asked every -i (5).")
    ] = False,
    rate: Annotated[
        float, typer.Option("--rate", parser=_rate, metavar="N", help="Probes a second of a scan.")
    ] = 100.0,
    duplicates: Annotated[
        bool, typer.Option("-d", "--duplicates", help="Name both MACs if two stations answer, and exit with 1.")
    ] = False,
    count_replies: Annotated[
        int | None,
        typer.Option(
            "-C", "--count-replies", parser=options.integer(1, 2147483647), metavar="N", help="End after N replies."
        ),
    ] = None,
    report_missed: Annotated[
        bool, typer.Option("-O", "--report-missed", help="Print Timeout for a probe without answer.")
    ] = False,
    stats: Annotated[bool, typer.Option("--stats", help="Print minimum, average, maximum and percentiles.")] = False,
    dots: Annotated[bool, typer.Option("--dots", help="Print ! for a reply and . for none.")] = False,
    raw_mac: Annotated[bool, typer.Option("-r", "--raw-mac", help="Print only the MAC of each reply.")] = False,
    raw_ip: Annotated[bool, typer.Option("-R", "--raw-ip", help="Print only the IP address of each reply.")] = False,
    audible: Annotated[bool, typer.Option("-a", "--audible", help="Ring the bell at each reply.")] = False,
    source_mac: Annotated[
        str | None, typer.Option("--source-mac", metavar="MAC", help="Send from this MAC, and listen for it.")
    ] = None,
    target_mac: Annotated[
        str | None, typer.Option("-t", "--target-mac", metavar="MAC", help="Ask this station instead of all.")
    ] = None,
    target_ip: Annotated[
        str | None, typer.Option("-T", "--target-ip", metavar="ADDR", help="IP destination for a MAC as target.")
    ] = None,
    vlan: Annotated[
        int | None, typer.Option("--vlan", parser=options.integer(0, 4094), metavar="ID", help="Tag frames (802.1Q).")
    ] = None,
    pcp: Annotated[
        int, typer.Option("--pcp", parser=options.integer(0, 7), metavar="N", help="Priority in the VLAN tag.")
    ] = 0,
    zero_source: Annotated[bool, typer.Option("-0", "--zero-source", help="Source address 0.0.0.0 or ::.")] = False,
    promisc: Annotated[bool, typer.Option("-p", "--promisc", help="Promiscuous mode on the interface.")] = False,
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
    if not targets and not watch:
        raise UsageError("no target given (usage: arping [OPTIONS] TARGET..., -h explains)")
    from pytools.cli.arping_run import run

    return run(given)
