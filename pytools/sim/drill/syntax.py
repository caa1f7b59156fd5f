"""What a script says, as plain objects with the place where it stands."""

from typing import Any

from pytools.units import Ns


class Place:
    """Line and column (from 1) in a script."""

    __slots__ = ("column", "line")

    def __init__(self, line: int, column: int) -> None:
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return f"{self.line}:{self.column}"


class When:
    """When an event happens. `kind`: "+" relative, "=" absolute, "*" whenever; `latest` is None without a range.

    `until` is the end of a blocking call (`0.1...0.3`), counted like `earliest`.
    """

    __slots__ = ("earliest", "kind", "latest", "until")

    def __init__(self, kind: str, earliest: Ns = 0, latest: Ns | None = None, until: Ns | None = None) -> None:
        self.kind = kind
        self.earliest = earliest
        self.latest = latest
        self.until = until


class Event:
    """One step: `action` is a PacketStep, a Call, a Command or a Code."""

    __slots__ = ("action", "place", "text", "when")

    def __init__(self, place: Place, when: When, action: Any, text: str) -> None:
        self.place = place
        self.when = when
        self.action = action
        self.text = text


class PacketStep:
    """A packet that arrives (`inbound`) or is expected to leave. One of `tcp`, `udp_length`, `icmp` is set."""

    __slots__ = ("ecn", "icmp", "inbound", "mutation", "ports", "tcp", "tos", "ttl", "udp_length")

    def __init__(self, inbound: bool) -> None:
        self.inbound = inbound
        self.ports: tuple[int, int] | None = None
        """Source and destination, where the script names them."""
        self.mutation = ""
        """How the octets are to be damaged: `{...}` after the packet, as written."""
        self.ecn: str | None = None
        self.tos: int | None = None
        self.ttl: int | None = None
        self.tcp: TcpStep | None = None
        self.udp_length: int | None = None
        self.icmp: IcmpStep | None = None


class TcpStep:
    """A segment. None: not said (`window`, `ack`, `urgent`) or `...` (`options`: any)."""

    __slots__ = ("ack", "flags", "length", "options", "options_any", "seq", "urgent", "window")

    def __init__(self) -> None:
        self.flags = ""
        self.seq = 0
        self.length = 0
        self.ack: int | None = None
        self.window: int | None = None
        self.urgent: int | None = None
        self.options: list[tuple[str, tuple[Any, ...]]] = []
        self.options_any = False


class IcmpStep:
    """An ICMP error about a segment (or datagram) that we sent."""

    __slots__ = ("code", "ident", "mtu", "protocol", "quoted_length", "quoted_seq", "type")

    def __init__(self, type_: str, code: str) -> None:
        self.type = type_
        self.code = code
        self.mtu: int | None = None
        self.ident = 0
        self.protocol = "tcp"
        """What is quoted: tcp, udp or raw."""
        self.quoted_seq: int | None = None
        self.quoted_length = 0


class Symbol(str):
    """A bare word, such as SOCK_STREAM."""

    __slots__ = ()


class Anything:
    """`...`: whatever it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "..."


ANY = Anything()


class Apply:
    """A word with arguments inside a value: htons(80), inet_addr("1.2.3.4")."""

    __slots__ = ("arguments", "name")

    def __init__(self, name: str, arguments: list[Any]) -> None:
        self.name = name
        self.arguments = arguments


class Call:
    """A system call. Values: int, float, str, Symbol, list ([...]), dict ({a=b}), tuple ({a, b}), Apply, ANY."""

    __slots__ = ("arguments", "errno", "name", "note", "result")

    def __init__(self, name: str, arguments: list[Any], result: Any, errno: str | None, note: str) -> None:
        self.name = name
        self.arguments = arguments
        self.result = result
        self.errno = errno
        self.note = note


class Command:
    """What stands between backticks. It never runs: see `settings`."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


class Code:
    """Assertions between %{ and }%."""

    __slots__ = ("place", "text")

    def __init__(self, text: str, place: Place) -> None:
        self.text = text
        self.place = place


class Script:
    """A whole script: options (`--name=value`), then events."""

    __slots__ = ("defines", "events", "name", "options")

    def __init__(self, name: str) -> None:
        self.name = name
        self.options: dict[str, str] = {}
        self.defines: dict[str, str] = {}
        """Words of the script's own: --define=NAME=VALUE."""
        self.events: list[Event] = []
