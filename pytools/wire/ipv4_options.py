"""IPv4 options (RFC 791 3.1, RFC 781, RFC 2113): read, build, and update on the way.

Everything here takes and gives the octets after the fixed header. Pointers in errors count from the start of the IP
header, as ICMP Parameter Problem does.
"""

from collections.abc import Collection, Sequence
from typing import Final

from pytools.errors import DecodeError

EOL: Final = 0
NOP: Final = 1
RECORD_ROUTE: Final = 7
TIMESTAMP: Final = 68
SECURITY: Final = 130
LOOSE_SOURCE_ROUTE: Final = 131
STRICT_SOURCE_ROUTE: Final = 137
ROUTER_ALERT: Final = 148

COPIED: Final = 0x80
"""Set in the kind of an option that every fragment carries."""

# Flags of the timestamp option.
TS_ONLY: Final = 0
TS_AND_ADDRESS: Final = 1
TS_PRESPECIFIED: Final = 3

_ROUTES: Final = frozenset((RECORD_ROUTE, LOOSE_SOURCE_ROUTE, STRICT_SOURCE_ROUTE))
_SOURCE_ROUTES: Final = frozenset((LOOSE_SOURCE_ROUTE, STRICT_SOURCE_ROUTE))


class OptionError(DecodeError):
    """A malformed option; `pointer` is the octet at fault, from the start of the IP header."""

    def __init__(self, message: str, pointer: int) -> None:
        super().__init__(message)
        self.pointer = pointer


class Option:
    """Any option: `position` in the options, `octets` with kind and length."""

    __slots__ = ("kind", "octets", "position")

    def __init__(self, kind: int, position: int, octets: bytes) -> None:
        self.kind = kind
        self.position = position
        self.octets = octets


class RouteOption(Option):
    """Record route or a source route: `recorded` are the addresses before the pointer, `remaining` those from it on.

    In a record route the remaining ones are free slots.
    """

    __slots__ = ("recorded", "remaining")

    def __init__(self, kind: int, position: int, octets: bytes) -> None:
        super().__init__(kind, position, octets)
        addresses = [octets[at : at + 4] for at in range(3, len(octets) - 3, 4)]
        used = (octets[2] - 4) >> 2
        self.recorded = addresses[:used]
        self.remaining = addresses[used:]


class TimestampOption(Option):
    """`recorded` are (address or None, timestamp) pairs; `remaining` those not yet filled, with their addresses.

    A timestamp is milliseconds since midnight UT, or with its highest bit set something else. `overflow` counts the
    hosts that found no room.
    """

    __slots__ = ("flag", "overflow", "recorded", "remaining")

    def __init__(self, kind: int, position: int, octets: bytes) -> None:
        super().__init__(kind, position, octets)
        self.overflow = octets[3] >> 4
        self.flag = octets[3] & 15
        size = 4 if self.flag == TS_ONLY else 8
        entries = [octets[at : at + size] for at in range(4, len(octets) - size + 1, size)]
        pairs = [(entry[:-4] or None, int.from_bytes(entry[-4:], "big")) for entry in entries]
        used = (octets[2] - 5) // size
        self.recorded: list[tuple[bytes | None, int]] = pairs[:used]
        self.remaining: list[tuple[bytes | None, int]] = pairs[used:]


class RouterAlertOption(Option):
    """RFC 2113; `value` 0 asks every router to look at the packet."""

    __slots__ = ("value",)

    def __init__(self, kind: int, position: int, octets: bytes) -> None:
        super().__init__(kind, position, octets)
        self.value = octets[2] << 8 | octets[3]


def parse(options: bytes) -> list[Option]:
    """The options in order, without NOP, up to End of Option List; unknown kinds are plain `Option`s.

    OptionError: lengths or pointers are wrong, or one that may come once comes twice (as the kernel judges them).
    """
    found: list[Option] = []
    seen: set[int] = set()
    at = 0
    while at < len(options):
        kind = options[at]
        if kind == EOL:
            break
        if kind == NOP:
            at += 1
            continue
        if len(options) - at < 2 or not 2 <= options[at + 1] <= len(options) - at:
            raise OptionError("IPv4 option cut short", 20 + at)
        octets = options[at : at + options[at + 1]]
        group = LOOSE_SOURCE_ROUTE if kind in _SOURCE_ROUTES else kind
        if group in seen and (kind in _ROUTES or kind == TIMESTAMP):
            raise OptionError("IPv4 option twice", 20 + at)
        seen.add(group)
        found.append(_read(kind, at, octets))
        at += len(octets)
    return found


def _read(kind: int, at: int, octets: bytes) -> Option:
    """One option of known length; checks its own fields."""
    if kind in _ROUTES:
        _check_pointer(at, octets, first=4, entry=4)
        return RouteOption(kind, at, octets)
    if kind == TIMESTAMP:
        if len(octets) < 4:
            raise OptionError("IPv4 timestamp option too short", 20 + at + 1)
        _check_pointer(at, octets, first=5, entry=4 if octets[3] & 15 == TS_ONLY else 8)
        return TimestampOption(kind, at, octets)
    if kind == ROUTER_ALERT:
        if len(octets) < 4:
            raise OptionError("IPv4 router alert option too short", 20 + at + 1)
        return RouterAlertOption(kind, at, octets)
    return Option(kind, at, octets)


def _check_pointer(at: int, octets: bytes, first: int, entry: int) -> None:
    """A pointer names the first octet of a free entry (counted from 1), or lies beyond the option when it is full."""
    if len(octets) < 3:
        raise OptionError("IPv4 option too short", 20 + at + 1)
    pointer = octets[2]
    if pointer < first or (pointer <= len(octets) < pointer + entry - 1):
        raise OptionError("IPv4 option pointer", 20 + at + 2)


def record_route(slots: int = 9) -> bytes:
    """An empty Record Route for up to 9 addresses."""
    return bytes((RECORD_ROUTE, 3 + 4 * slots, 4)) + bytes(4 * slots)


def timestamp(flag: int, slots: int = 0, addresses: Sequence[bytes] = ()) -> bytes:
    """An empty Timestamp option: `slots` entries (default: as many as fit), or one for each prespecified address."""
    size = 4 if flag == TS_ONLY else 8
    if flag == TS_PRESPECIFIED:
        body = b"".join(address + bytes(4) for address in addresses)
    else:
        body = bytes(size * (slots or 36 // size))
    return bytes((TIMESTAMP, 4 + len(body), 5, flag)) + body


def source_route(hops: Sequence[bytes], *, strict: bool = False) -> bytes:
    """A source route: the packet is addressed to the first hop, `hops` are what follows, the destination last."""
    kind = STRICT_SOURCE_ROUTE if strict else LOOSE_SOURCE_ROUTE
    return bytes((kind, 3 + 4 * len(hops), 4)) + b"".join(hops)


def router_alert(value: int = 0) -> bytes:
    """RFC 2113."""
    return bytes((ROUTER_ALERT, 4)) + value.to_bytes(2, "big")


def record(
    options: bytes, address: bytes, milliseconds: int, own: Collection[bytes] = (), *, count_overflow: bool = True
) -> bytes:
    """Enter one host's address and time where Record Route and Timestamp ask for them.

    A sender does so, each hop, and a host that answers an echo both as it receives and as it replies (RFC 1122 3.2.2.6;
    the kernel's way too: `ping -R` to a neighbour lists it twice), the second time without `count_overflow`. `address`
    is entered; a prespecified timestamp may name it or one of `own`. OptionError: malformed, or the overflow counter is
    full.
    """
    octets = bytearray(options)
    for option in parse(options):
        if option.kind == RECORD_ROUTE and option.octets[2] <= len(option.octets):
            _enter(octets, option, address)
        elif isinstance(option, TimestampOption):
            if option.octets[2] <= len(option.octets):
                _enter(octets, option, _time_entry(option, address, milliseconds, own))
            elif count_overflow and option.flag != TS_PRESPECIFIED:
                # Who was not asked for is not missing: the kernel counts no overflow there.
                if option.overflow == 15:
                    raise OptionError("IPv4 timestamp overflow", 20 + option.position + 3)
                octets[option.position + 3] += 16
    return bytes(octets)


def _enter(octets: bytearray, option: Option, entry: bytes) -> None:
    """Write `entry` where the option's pointer is, and move the pointer."""
    at = option.position + option.octets[2] - 1
    octets[at : at + len(entry)] = entry
    octets[option.position + 2] += len(entry)


def _time_entry(option: TimestampOption, address: bytes, milliseconds: int, own: Collection[bytes]) -> bytes:
    """What goes into the next free entry, b"" if it is not for us."""
    time = milliseconds.to_bytes(4, "big")
    if option.flag == TS_ONLY:
        return time
    if option.flag == TS_AND_ADDRESS:
        return address + time
    named = option.remaining[0][0]
    if option.flag != TS_PRESPECIFIED or named is None or (named != address and named not in own):
        return b""
    return named + time


def source_route_hop(options: bytes, address: bytes) -> tuple[bytes, bytes] | None:
    """Take the next hop of a source route: the options with our outgoing `address` recorded, and the new destination.

    None: no source route, or it is used up and the packet is at its end. OptionError: malformed.
    """
    for option in parse(options):
        if isinstance(option, RouteOption) and option.kind in _SOURCE_ROUTES and option.remaining:
            octets = bytearray(options)
            _enter(octets, option, address)
            return bytes(octets), option.remaining[0]
    return None


def reply(options: bytes, src: bytes) -> tuple[bytes, bytes]:
    """Options for the answer to a packet from `src`, and the address to send it to (RFC 1122 3.2.1.8, 3.2.2.6).

    Record Route and Timestamp stay, a source route is reversed, the rest (security, stream id, router alert) is left
    out, as the kernel does. OptionError: malformed.
    """
    parts, destination = [], src
    for option in parse(options):
        if option.kind in _SOURCE_ROUTES and isinstance(option, RouteOption):
            back = [*reversed(option.recorded), src]
            destination = back[0]
            if len(back) > 1:
                parts.append(source_route(back[1:], strict=option.kind == STRICT_SOURCE_ROUTE))
        elif option.kind in (RECORD_ROUTE, TIMESTAMP):
            parts.append(option.octets)
    return _pad(b"".join(parts)), destination


def copied(options: bytes) -> bytes:
    """The options that fragments after the first carry (RFC 791 3.1). OptionError: malformed."""
    return _pad(b"".join(option.octets for option in parse(options) if option.kind & COPIED))


def _pad(options: bytes) -> bytes:
    return options + bytes(-len(options) & 3)
