"""Options that several commands share, and the validators behind all of them.

A validator is given to Typer as `parser=`; what it refuses is a `UsageError` in iputils' words, exit status 2.
"""

from collections.abc import Callable
from typing import Annotated

from pytools.cli._typer import typer
from pytools.cli.open import TraceRequest
from pytools.errors import UsageError


def integer(low: int, high: int, complaint: str = "invalid argument") -> Callable[[str], int]:
    """A parser for whole numbers from `low` to `high`, decimal, 0x or 0 octal as strtol(3) takes them."""

    def parse(text: str | int) -> int:
        value = text if isinstance(text, int) else whole_number(text, complaint)
        if not low <= value <= high:
            raise UsageError(f"{complaint}: '{text}': out of range: {low} <= value <= {high}")
        return value

    return parse


def whole_number(text: str, complaint: str = "invalid argument") -> int:
    """`text` as strtol(3) with base 0 reads it: decimal, 0x hexadecimal, 0 octal."""
    sign, digits = (text[:1], text[1:]) if text[:1] in ("+", "-") else ("", text)
    base = 16 if digits[:2] in ("0x", "0X") else 8 if digits[:1] == "0" else 10
    try:
        if not digits.isascii() or not digits.isalnum():
            raise ValueError
        return int(sign + digits, base)
    except ValueError:
        raise UsageError(f"{complaint}: '{text}'") from None


def seconds(complaint: str, low: float = 0.0, high: float = 4_294_967.0) -> Callable[[str], float]:
    """A parser for seconds with a decimal point whatever the locale; refuses with `complaint: text`."""

    def parse(text: str | float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not low <= value <= high or not str(text).replace("_", "!").isascii() or "_" in str(text):
            raise UsageError(f"{complaint}: {text}")
        return value

    return parse


def choice(name: str, *values: str) -> Callable[[str], str]:
    """A parser for one of `values`."""

    def parse(text: str) -> str:
        if text not in values:
            raise UsageError(f"invalid {name} argument: {text} (one of {', '.join(values)})")
        return text

    return parse


def _via(text: str) -> str:
    kind = text.partition(":")[0]
    if kind not in ("auto", "packet", "tap", "lab", "sim"):
        raise UsageError(f"invalid --via argument: {text} (auto, packet, tap, lab or sim[:delay=20ms,loss=5%,...])")
    if ":" in text and kind != "sim":
        raise UsageError(f"invalid --via argument: {text} (only sim takes settings after a colon)")
    return text


def _print_version(value: bool) -> bool:
    if value:
        from pytools.cli.app import version_line

        print(version_line(), end="")
        raise typer.Exit(0)
    return value


Interface = Annotated[
    list[str] | None,
    typer.Option("-I", "--interface", metavar="IFACE", help="Interface, source address, or both (given twice)."),
]
Via = Annotated[
    str,
    typer.Option("--via", parser=_via, metavar="WAY", help="auto, packet, tap, lab, or sim[:delay=20ms,loss=5%,...]."),
]
Address = Annotated[
    str | None,
    typer.Option("--address", metavar="ADDR[/LEN]", help="Give our stack this address of its own (and its own MAC)."),
]
Network = Annotated[
    str | None,
    typer.Option("--network", metavar="NET/LEN", help="Network of tap or lab instead of the usual one."),
]
Verbose = Annotated[
    int,
    typer.Option("-v", "--verbose", count=True, show_default=False, help="Trace packets (-vv headers, -vvv bytes)."),
]
TraceFormat = Annotated[
    str,
    typer.Option(
        "--trace-format",
        parser=choice("--trace-format", "text", "json"),
        metavar="text|json",
        help="Form of the trace on stderr.",
    ),
]
Pcap = Annotated[
    str | None,
    typer.Option("--pcap", metavar="FILE", help="Write the packets to a pcapng file (- is stdout)."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object a line instead of text.")]
Color = Annotated[
    str,
    typer.Option(
        "--color",
        parser=choice("--color", "auto", "always", "never"),
        metavar="auto|always|never",
        help="Colour the output.",
    ),
]
Plain = Annotated[bool, typer.Option("--plain", help="No colours, no live view.")]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        parser=integer(0, (1 << 63) - 1),
        metavar="N",
        help="Seed of everything random (a run can be repeated).",
    ),
]
Ipv4 = Annotated[bool, typer.Option("-4", "--ipv4", help="IPv4 only.")]
Ipv6 = Annotated[bool, typer.Option("-6", "--ipv6", help="IPv6 only.")]
Version = Annotated[
    bool,
    typer.Option("-V", "--version", is_eager=True, callback=_print_version, help="Print versions and exit."),
]


def family_of(ipv4: bool, ipv6: bool) -> int:
    """4, 6 or 0 for both."""
    if ipv4 and ipv6:
        raise UsageError("only one -4 or -6 option may be specified")
    return 4 if ipv4 else 6 if ipv6 else 0


def trace_request(verbose: int, trace_format: str, pcap: str | None, color: str, plain: bool) -> TraceRequest:
    """The shared trace options as `open_path` takes them."""
    return TraceRequest(verbose, trace_format, pcap, "never" if plain else color)
