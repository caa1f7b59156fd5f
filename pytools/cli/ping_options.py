"""The options of `pytools ping`: iputils' letters, a long name for each, fping's and ours as long options."""

from typing import Annotated

from pytools.cli._typer import typer
from pytools.cli.options import choice, integer, seconds, whole_number
from pytools.errors import UsageError

INT_MAX = 2_147_483_647
LONG_MAX = 9_223_372_036_854_775_807

_DSCP = {"BE": 0, "DF": 0, "LE": 1, "EF": 46, "VA": 44, "VOICE-ADMIT": 44}
_DSCP.update({f"CS{number}": 8 * number for number in range(8)})
_DSCP.update({f"AF{group}{drop}": 8 * group + 2 * drop for group in (1, 2, 3, 4) for drop in (1, 2, 3)})


def tos(text: str) -> int:
    """The octet for -Q: a number, or the name of a DSCP (RFC 4594), which leaves the ECN bits 0."""
    if (code := _DSCP.get(text.upper())) is not None:
        return code << 2
    try:
        value = int(text, 16) if text[:2].lower() == "0x" else int(text)
    except ValueError:
        raise UsageError(f"bad TOS value: {text} (0 to 255, 0x.., or a DSCP such as EF, AF41, CS6)") from None
    if not 0 <= value <= 255:
        raise UsageError(f"the decimal value of TOS bits must be in range 0-255: {value}")
    return value


def flow_label(text: str) -> int:
    """The label for -F, decimal or 0x."""
    try:
        value = int(text, 16) if text[:2].lower() == "0x" else int(text)
    except ValueError:
        raise UsageError(f"bad value for flowinfo: {text}") from None
    if not 0 <= value <= 0xFFFFF:
        raise UsageError(f"flow value is greater than 20 bits: {text}")
    return value


def pattern(text: str) -> bytes:
    """Up to 16 octets for -p; an odd digit at the end is an octet of its own, as in ping."""
    for at, character in enumerate(text):
        if character not in "0123456789abcdefABCDEF":
            raise UsageError(f"patterns must be specified as hex digits: {text[at:]}")
    return bytes([int(text[at : at + 2], 16) for at in range(0, min(len(text), 32), 2)])


def pmtu(text: str) -> str:
    """-M."""
    if text not in ("do", "want", "dont", "probe"):
        raise UsageError(f"invalid -M argument: {text}")
    return text


def timestamp_type(text: str) -> str:
    """-T."""
    if text not in ("tsonly", "tsandaddr", "tsprespec"):
        raise UsageError(f"invalid timestamp type: {text}")
    return text


def node_information(text: str) -> str:
    """-N is not done."""
    raise UsageError(f"IPv6 node information queries are not supported: -N {text}")


def sizes(text: str) -> tuple[int, ...]:
    """--sweep MIN:MAX[:STEP]."""
    parts = text.split(":")
    numbers = [whole_number(part, "invalid --sweep argument") for part in parts]
    if not 2 <= len(numbers) <= 3:
        raise UsageError(f"invalid --sweep argument: '{text}' (MIN:MAX[:STEP], octets of payload)")
    low, high, step = (*numbers, 1)[:3]
    if not 0 <= low <= high <= 65507 or step < 1:
        raise UsageError(f"invalid --sweep argument: '{text}': out of range: 0 <= MIN <= MAX <= 65507, 1 <= STEP")
    return tuple(range(low, high + 1, step))


def vlan(text: str) -> int:
    """--vlan ID[.PCP]: a tag control word."""
    ident, _dot, priority = text.partition(".")
    value = whole_number(ident, "invalid --vlan argument")
    code = whole_number(priority, "invalid --vlan argument") if priority else 0
    if not 0 <= value <= 4094 or not 0 <= code <= 7:
        raise UsageError(f"invalid --vlan argument: '{text}': out of range: 0 <= ID <= 4094, 0 <= PCP <= 7")
    return code << 13 | value


def percent(text: str) -> float:
    """--loss-threshold, with or without the sign."""
    return seconds("invalid --loss-threshold argument", 0.0, 100.0)(text.removesuffix("%"))


def factor(text: str) -> float:
    """--backoff."""
    return seconds("invalid --backoff argument (1 to 5)", 1.0, 5.0)(text)


_int31 = integer(0, INT_MAX)
_milliseconds = seconds("invalid --rtt-threshold argument (milliseconds)")

Targets = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="TARGET...",
        help="Names, addresses, ranges (10.0.0.1-9) or blocks (10.0.0.0/24); with -T tsprespec: hops, then one target.",
    ),
]

# --- iputils' letters -------------------------------------------------------------------------------------------------
Audible = Annotated[bool, typer.Option("-a", "--audible", help="Ring the bell at each reply.")]
Adaptive = Annotated[bool, typer.Option("-A", "--adaptive", help="Send the next probe when the reply has come.")]
Broadcast = Annotated[bool, typer.Option("-b", "--broadcast", help="Allow pinging a broadcast address.")]
StickySource = Annotated[bool, typer.Option("-B", "--sticky-source", help="Keep the source address of the start.")]
Count = Annotated[
    int | None, typer.Option("-c", "--count", parser=integer(1, LONG_MAX), metavar="N", help="Stop after N probes.")
]
Connect = Annotated[bool, typer.Option("-C", "--connect", help="Accepted for compatibility; changes nothing.")]
Debug = Annotated[bool, typer.Option("-d", "--debug", help="Accepted for compatibility; changes nothing.")]
PrintTime = Annotated[
    bool, typer.Option("-D", "--print-time", help="Start lines with the Unix time (as --timestamps unix).")
]
Identifier = Annotated[
    int | None,
    typer.Option("-e", "--identifier", parser=integer(0, 65535), metavar="ID", help="ICMP identifier of the probes."),
]
Flood = Annotated[bool, typer.Option("-f", "--flood", help="Send as fast as replies come, or 100 a second.")]
FlowLabel = Annotated[
    int | None, typer.Option("-F", "--flow-label", parser=flow_label, metavar="LABEL", help="IPv6 flow label.")
]
ForceLookup = Annotated[bool, typer.Option("-H", "--force-lookup", help="Look up names of senders in any case.")]
Interval = Annotated[
    float | None,
    typer.Option(
        "-i",
        "--interval",
        parser=seconds("bad timing interval", 0.0, INT_MAX / 1000),
        metavar="SECONDS",
        help="Time between probes to a target (1; below 0.002 for root only).",
    ),
]
Preload = Annotated[
    int | None,
    typer.Option("-l", "--preload", parser=integer(1, 65536), metavar="N", help="Send N probes at once to begin with."),
]
NoLoop = Annotated[bool, typer.Option("-L", "--no-loop", help="Do not deliver our own multicast to ourselves.")]
Mark = Annotated[
    int | None,
    typer.Option("-m", "--mark", parser=integer(0, 0xFFFF_FFFF), metavar="MARK", help="Firewall mark (SO_MARK)."),
]
Pmtu = Annotated[
    str | None,
    typer.Option(
        "-M",
        "--pmtu",
        parser=pmtu,
        metavar="do|want|dont|probe",
        help="Path MTU discovery: never fragment, fragment locally, no DF bit, DF bit and no cached MTU.",
    ),
]
Numeric = Annotated[bool, typer.Option("-n", "--numeric", help="Look up no names of senders.")]
NodeInformation = Annotated[
    str | None, typer.Option("-N", parser=node_information, metavar="QUERY", hidden=True, help="Not supported.")
]
Outstanding = Annotated[
    bool, typer.Option("-O", "--outstanding", help="Report unanswered probes as the next one goes.")
]
Pattern = Annotated[
    bytes | None,
    typer.Option("-p", "--pattern", parser=pattern, metavar="HEX", help="Up to 16 octets to fill probes with."),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print the first line and the summary only.")]
Tos = Annotated[
    int | None,
    typer.Option("-Q", "--tos", parser=tos, metavar="TOS", help="Type of service: number or DSCP (EF, AF41, CS6)."),
]
DontRoute = Annotated[bool, typer.Option("-r", "--dont-route", help="Only hosts on an attached network.")]
RecordRoute = Annotated[bool, typer.Option("-R", "--record-route", help="Record the route in an IPv4 option.")]
Size = Annotated[
    int | None, typer.Option("-s", "--size", parser=_int31, metavar="OCTETS", help="Octets of payload (56).")
]
SendBuffer = Annotated[
    int | None,
    typer.Option("-S", "--sndbuf", parser=integer(1, INT_MAX), metavar="OCTETS", help="Size of the send buffer."),
]
Ttl = Annotated[
    int | None,
    typer.Option("-t", "--ttl", parser=integer(0, 255), metavar="TTL", help="Time to live, or hop limit."),
]
TimestampOption = Annotated[
    str | None,
    typer.Option(
        "-T",
        "--timestamp-option",
        parser=timestamp_type,
        metavar="tsonly|tsandaddr|tsprespec",
        help="Collect timestamps of hops in an IPv4 option.",
    ),
]
UserLatency = Annotated[
    bool, typer.Option("-U", "--user-latency", help="Measure until the reply reaches this program.")
]
Verbose = Annotated[
    int,
    typer.Option(
        "-v", "--verbose", count=True, help="Show identifiers; trace packets on stderr (-vv headers, -vvv bytes)."
    ),
]
Deadline = Annotated[
    int | None,
    typer.Option("-w", "--deadline", parser=_int31, metavar="SECONDS", help="Stop after so long, whatever was sent."),
]
Linger = Annotated[
    float | None,
    typer.Option(
        "-W",
        "--linger",
        parser=seconds("bad linger time", 0.0, INT_MAX / 1000),
        metavar="SECONDS",
        help="Wait so long at the end when nothing answered (10; 0: for ever).",
    ),
]
Precise = Annotated[bool, typer.Option("-3", "--precise", help="Show all times with three decimals.")]

# --- fping's job ------------------------------------------------------------------------------------------------------
TargetsFile = Annotated[
    str | None,
    typer.Option("--targets", metavar="FILE", help="Read further targets from FILE, one a line (- is stdin)."),
]
AllAddresses = Annotated[bool, typer.Option("--all-addresses", help="Ping every address of a name.")]
RandomOrder = Annotated[bool, typer.Option("--random-order", help="Shuffle the targets.")]
RandomData = Annotated[bool, typer.Option("--random-data", help="Fill probes with random octets.")]
GlobalInterval = Annotated[
    float | None,
    typer.Option(
        "--interval-global",
        parser=seconds("bad timing interval"),
        metavar="SECONDS",
        help="Time between any two probes with several targets (0.001).",
    ),
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        parser=seconds("invalid --rate argument", 0.0, 1e9),
        metavar="N",
        help="Probes a second over all targets, the inverse of --interval-global (0: no limit).",
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        parser=seconds("bad timeout", 0.000001),
        metavar="SECONDS",
        help="Call a probe lost after so long, with a line of its own, and wait no longer at the end.",
    ),
]
Retry = Annotated[
    int | None,
    typer.Option(
        "--retry",
        parser=integer(0, 1000),
        metavar="N",
        help="Ask each target until it answers, N more times at most: is it alive?",
    ),
]
Backoff = Annotated[
    float | None,
    typer.Option("--backoff", parser=factor, metavar="FACTOR", help="How the timeout grows with --retry (1.5)."),
]
Alive = Annotated[bool, typer.Option("--alive", help="Print the targets that answer (as --retry 3).")]
Unreachable = Annotated[bool, typer.Option("--unreachable", help="Print the targets that don't (as --retry 3).")]
Reachable = Annotated[
    int | None,
    typer.Option("--reachable", parser=integer(1, INT_MAX), metavar="N", help="Status 0 if at least N targets answer."),
]
Vcount = Annotated[
    int | None,
    typer.Option(
        "--vcount", parser=integer(1, 100_000), metavar="N", help="Send N probes to each, print all times in a line."
    ),
]
Outage = Annotated[bool, typer.Option("--outage", help="Show for how long probes were lost (lost x interval).")]
ReportEvery = Annotated[
    float | None,
    typer.Option(
        "--report-every",
        parser=seconds("invalid --report-every argument", 0.001),
        metavar="SECONDS",
        help="Print interim figures on stderr every so often.",
    ),
]
PrintTos = Annotated[bool, typer.Option("--print-tos", help="Show the type of service of replies.")]
CheckSource = Annotated[bool, typer.Option("--check-source", help="Drop replies from other addresses.")]

# --- ours -------------------------------------------------------------------------------------------------------------
Json = Annotated[bool, typer.Option("-j", "--json", help="Print one JSON object a line instead of text.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print comma-separated values, a row a result.")]
Stats = Annotated[bool, typer.Option("--stats", help="Add percentiles and jitter to the summary.")]
Hist = Annotated[bool, typer.Option("--hist", help="Add a histogram of round-trip times to the summary.")]
Timestamps = Annotated[
    str | None,
    typer.Option(
        "--timestamps",
        parser=choice("--timestamps", "unix", "iso", "relative"),
        metavar="unix|iso|relative",
        help="Start lines with the time in this form.",
    ),
]
TransmitStamps = Annotated[
    bool,
    typer.Option("--tx-stamp", help="Measure from the link's transmit stamp (lower than what others show)."),
]
Sweep = Annotated[
    str | None,
    typer.Option("--sweep", metavar="MIN:MAX[:STEP]", help="Send payloads of these sizes in turn."),
]
FindMtu = Annotated[bool, typer.Option("--find-mtu", help="Find the largest packet that gets through, and stop.")]
LossThreshold = Annotated[
    float | None,
    typer.Option("--loss-threshold", parser=percent, metavar="PERCENT", help="Status 1 if more is lost."),
]
RttThreshold = Annotated[
    float | None,
    typer.Option("--rtt-threshold", parser=_milliseconds, metavar="MS", help="Status 1 if the mean time is longer."),
]
Live = Annotated[bool, typer.Option("--live", help="Show a live table on a terminal.")]
Vlan = Annotated[
    list[int] | None,
    typer.Option("--vlan", parser=vlan, metavar="ID[.PCP]", help="802.1Q tag (given twice: the outer one first)."),
]
