"""`pytools ping`: the command line. What it does with it is in `ping_run`."""

import sys
from typing import Any

from pytools.cli import options
from pytools.cli import ping_options as ping
from pytools.cli._typer import CommandApp, exit_code
from pytools.errors import UsageError


class PingApp(CommandApp):
    """Prints valid JSON also when the command line itself is refused."""

    __slots__ = ()

    def main(self, arguments: list[str], prog_name: str) -> Any:
        """See `CommandApp.main`."""
        try:
            return super().main(arguments, prog_name)
        except Exception as error:
            if exit_code(error) is None and not {"-j", "--json"}.isdisjoint(arguments):
                from pytools.cli.ping_output import json_of_refusal

                json_of_refusal(error, arguments)
            raise


HELP = """Send ICMP echo requests and show the replies.

\b
Examples:
  pytools ping -c 4 host.example
  pytools ping -q -c 3 --stats 10.0.0.0/24
  pytools ping -c 4 -v --via sim:delay=20ms,loss=10% 10.0.0.2
"""
app = PingApp(HELP)


class Arguments:
    """What the command line says, by the names of `ping_command`'s parameters."""

    targets: list[str] | None
    audible: bool
    adaptive: bool
    broadcast: bool
    sticky_source: bool
    count: int | None
    print_time: bool
    identifier: int | None
    flood: bool
    flow_label: int | None
    force_lookup: bool
    interval: float | None
    interface: list[str] | None
    preload: int | None
    no_loop: bool
    mark: int | None
    pmtu: str | None
    numeric: bool
    outstanding: bool
    pattern: bytes | None
    quiet: bool
    tos: int | None
    dont_route: bool
    record_route: bool
    size: int | None
    sndbuf: int | None
    ttl: int | None
    timestamp_option: str | None
    user_latency: bool
    verbose: int
    deadline: int | None
    linger: float | None
    precise: bool
    ipv4: bool
    ipv6: bool
    targets_file: str | None
    all_addresses: bool
    random_order: bool
    random_data: bool
    interval_global: float | None
    rate: float | None
    timeout: float | None
    retry: int | None
    backoff: float | None
    alive: bool
    unreachable: bool
    reachable: int | None
    vcount: int | None
    outage: bool
    report_every: float | None
    print_tos: bool
    check_source: bool
    json: bool
    csv: bool
    stats: bool
    hist: bool
    timestamps: str | None
    tx_stamp: bool
    sweep: str | None
    find_mtu: bool
    loss_threshold: float | None
    rtt_threshold: float | None
    live: bool
    vlan: list[int] | None
    trace_format: str
    pcap: str | None
    via: str
    address: str | None
    network: str | None
    seed: int | None
    color: str
    plain: bool

    def __init__(self, given: dict[str, Any]) -> None:
        self.__dict__.update(given)


def ping_command(
    targets: ping.Targets = None,
    count: ping.Count = None,
    interval: ping.Interval = None,
    deadline: ping.Deadline = None,
    linger: ping.Linger = None,
    size: ping.Size = None,
    ttl: ping.Ttl = None,
    interface: options.Interface = None,
    numeric: ping.Numeric = False,
    quiet: ping.Quiet = False,
    flood: ping.Flood = False,
    adaptive: ping.Adaptive = False,
    preload: ping.Preload = None,
    outstanding: ping.Outstanding = False,
    print_time: ping.PrintTime = False,
    timestamps: ping.Timestamps = None,
    pmtu: ping.Pmtu = None,
    tos: ping.Tos = None,
    flow_label: ping.FlowLabel = None,
    pattern: ping.Pattern = None,
    random_data: ping.RandomData = False,
    identifier: ping.Identifier = None,
    audible: ping.Audible = False,
    broadcast: ping.Broadcast = False,
    no_loop: ping.NoLoop = False,
    sticky_source: ping.StickySource = False,
    dont_route: ping.DontRoute = False,
    record_route: ping.RecordRoute = False,
    timestamp_option: ping.TimestampOption = None,
    mark: ping.Mark = None,
    sndbuf: ping.SendBuffer = None,
    user_latency: ping.UserLatency = False,
    tx_stamp: ping.TransmitStamps = False,
    precise: ping.Precise = False,
    force_lookup: ping.ForceLookup = False,
    connect: ping.Connect = False,
    debug: ping.Debug = False,
    node_information: ping.NodeInformation = None,
    ipv4: options.Ipv4 = False,
    ipv6: options.Ipv6 = False,
    targets_file: ping.TargetsFile = None,
    all_addresses: ping.AllAddresses = False,
    random_order: ping.RandomOrder = False,
    interval_global: ping.GlobalInterval = None,
    rate: ping.Rate = None,
    timeout: ping.Timeout = None,
    retry: ping.Retry = None,
    backoff: ping.Backoff = None,
    alive: ping.Alive = False,
    unreachable: ping.Unreachable = False,
    reachable: ping.Reachable = None,
    vcount: ping.Vcount = None,
    outage: ping.Outage = False,
    report_every: ping.ReportEvery = None,
    print_tos: ping.PrintTos = False,
    check_source: ping.CheckSource = False,
    stats: ping.Stats = False,
    hist: ping.Hist = False,
    loss_threshold: ping.LossThreshold = None,
    rtt_threshold: ping.RttThreshold = None,
    sweep: ping.Sweep = None,
    find_mtu: ping.FindMtu = False,
    live: ping.Live = False,
    json: ping.Json = False,
    csv: ping.Csv = False,
    vlan: ping.Vlan = None,
    verbose: ping.Verbose = 0,
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
    given = Arguments(locals())
    if not targets and targets_file is None:
        raise UsageError("usage error: Destination address required")
    from pytools.cli.ping_run import run

    return run(given, sys.argv)


ping_command.__name__ = "ping"
app.function = ping_command
