"""TCP segments as packetdrill writes them: `P. 1:1449(1448) ack 1 win 502 <nop,nop,TS val 1 ecr 0>`.

Grammar (a word in brackets may be missing):

    FLAGS SEQ:END(LENGTH) [ack ACK] [win WINDOW] [urg POINTER] [<OPTION,OPTION,OPTION>]

    FLAGS    some of F S R P . U E W A in this order (the point is ACK, W is CWR, E is ECE, A is AE), or - for none
    OPTION   mss N | wscale N | sackOK | sack L:R L:R... | TS val N ecr N | nop | eol | uto Ns | uto Nmin
             FO [COOKIE] | md5 DIGEST | opt-KIND [VALUE] | bad [OCTETS]

and <...>, which is read and never written, stands for any options.
"""

import re
from typing import Final

from pytools.wire import tcp
from pytools.wire import tcp_options as opt

_FLAGS: Final = (
    ("F", tcp.FIN),
    ("S", tcp.SYN),
    ("R", tcp.RST),
    ("P", tcp.PSH),
    (".", tcp.ACK),
    ("U", tcp.URG),
    ("E", tcp.ECE),
    ("W", tcp.CWR),
    ("A", tcp.AE),
)
_NAMES: Final = ["".join(letter for letter, bit in _FLAGS if flags & bit) or "-" for flags in range(0x200)]
_MASK: Final = 0xFFFFFFFF

Bases = tuple[int, int]
"""What sequence numbers and what acknowledgment numbers are counted from, usually both initial sequence numbers."""


def format_flags(flags: int) -> str:
    """`S`, `P.`, `SEW`, or `-` for none."""
    return _NAMES[flags & 0x1FF]


def format_segment(header: tcp.TcpHeader, payload_length: int, bases: Bases = (0, 0)) -> str:
    """One segment; numbers count from `bases`. END counts the payload alone, not SYN and FIN, as packetdrill does."""
    seq_base, ack_base = bases
    seq = header.seq - seq_base & _MASK
    text = f"{_NAMES[header.flags]} {seq}:{seq + payload_length & _MASK}({payload_length})"
    if header.flags & tcp.ACK:
        text += f" ack {header.ack - ack_base & _MASK}"
    text += f" win {header.window}"
    if header.flags & tcp.URG:
        text += f" urg {header.urgent_pointer}"
    if header.options:
        text += f" <{format_options(header.options, ack_base)}>"
    return text


def format_options(options: bytes, ack_base: int = 0) -> str:
    """Options in order; SACK edges count from `ack_base`."""
    return ",".join(_format_option(kind, value, ack_base) for kind, value in opt.walk(options))


def _format_option(kind: int, value: bytes, ack_base: int) -> str:
    length = len(value)
    if kind == opt.NOP:
        return "nop"
    if kind == opt.TIMESTAMPS and length == 8:
        return f"TS val {int.from_bytes(value[:4], 'big')} ecr {int.from_bytes(value[4:], 'big')}"
    if kind == opt.MSS and length == 2:
        return f"mss {int.from_bytes(value, 'big')}"
    if kind == opt.WINDOW_SCALE and length == 1:
        return f"wscale {value[0]}"
    if kind == opt.SACK_PERMITTED and not length:
        return "sackOK"
    if kind == opt.SACK and length and not length & 7:
        edges = ((left - ack_base & _MASK, right - ack_base & _MASK) for left, right in opt.blocks(value))
        return "sack " + " ".join(f"{left}:{right}" for left, right in edges)
    return _format_rare(kind, value)


def _format_rare(kind: int, value: bytes) -> str:
    if kind < 0:
        return f"bad {value.hex()}"
    if kind == opt.EOL:
        return "eol"
    if kind == opt.USER_TIMEOUT and len(value) == 2:
        number = value[0] << 8 | value[1]
        return f"uto {number & 0x7FFF}{'min' if number & 0x8000 else 's'}"
    name = "FO" if kind == opt.FAST_OPEN else "md5" if kind == opt.MD5 else f"opt-{kind}"
    return f"{name} {value.hex()}" if value else name


class SegmentNotation:
    """What a line says of a segment; what it leaves out is None. `options` are octets, padded to a multiple of 4.

    With `any_options` the line says `<...>`, and `options` is None.
    """

    __slots__ = ("ack", "any_options", "flags", "length", "options", "seq", "urgent_pointer", "window")

    def __init__(
        self,
        flags: int,
        seq: int,
        length: int,
        ack: int | None,
        window: int | None,
        urgent_pointer: int | None,
        options: bytes | None,
        any_options: bool = False,
    ) -> None:
        self.flags = flags
        self.seq = seq
        self.length = length
        self.ack = ack
        self.window = window
        self.urgent_pointer = urgent_pointer
        self.options = options
        self.any_options = any_options


_SEGMENT: Final = (
    r"(?P<flags>-|[FSRP.UEWA]+) (?P<seq>\d+):(?P<end>\d+)\((?P<length>\d+)\)"
    r"(?: ack (?P<ack>\d+))?(?: win (?P<win>\d+))?(?: urg (?P<urg>\d+))?(?: <(?P<options>[^<>]*)>)?"
)


def parse_segment(text: str, bases: Bases = (0, 0)) -> SegmentNotation:
    """Read one segment; numbers become absolute by adding `bases`. ValueError: not in the notation."""
    match = re.fullmatch(_SEGMENT, text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no TCP segment in packetdrill's notation")
    seq, end, length = (int(match[name]) for name in ("seq", "end", "length"))
    if seq + length & _MASK != end:
        raise ValueError(f"{text!r}: {seq}:{end} is not {length} octets")
    ack, win, urg = (None if match[name] is None else int(match[name]) for name in ("ack", "win", "urg"))
    options, any_options = match["options"], match["options"] == "..."
    return SegmentNotation(
        sum(bit for letter, bit in _FLAGS if letter in match["flags"]),
        seq + bases[0] & _MASK,
        length,
        None if ack is None else ack + bases[1] & _MASK,
        win,
        urg,
        None if options is None or any_options else parse_options(options, bases[1]),
        any_options,
    )


def parse_options(text: str, ack_base: int = 0) -> bytes:
    """The octets of `mss 1460,nop,wscale 7`, padded with EOL to a multiple of 4. ValueError: not in the notation."""
    octets = b"".join(_parse_option(word.strip(), ack_base) for word in text.split(",")) if text else b""
    return octets + bytes(-len(octets) & 3)


def _parse_option(text: str, ack_base: int) -> bytes:
    name, *words = text.split() or ("",)
    try:
        if name == "nop" and not words:
            return b"\1"
        if name == "eol" and not words:
            return b"\0"
        if name == "sackOK" and not words:
            return opt.sack_permitted()
        if name == "sack":
            edges = [tuple(map(int, word.split(":"))) for word in words]
            return opt.sack([(left + ack_base & _MASK, right + ack_base & _MASK) for left, right in edges])
        if name == "TS" and words[0::2] == ["val", "ecr"]:
            return opt.timestamps(int(words[1]), int(words[3]))[2:]
        return _parse_valued(name, *words)
    except (ValueError, IndexError, TypeError, OverflowError):
        raise ValueError(f"{text!r} is no TCP option in packetdrill's notation") from None


def _parse_valued(name: str, value: str = "") -> bytes:
    """Options with one value, in hex where it is no number."""
    if name == "mss":
        return opt.mss(int(value))
    if name == "wscale":
        return opt.window_scale(int(value))
    if name == "uto":
        minutes = value.endswith("min")
        number = int(value.removesuffix("min").removesuffix("s")) | minutes << 15
        return opt.option(opt.USER_TIMEOUT, number.to_bytes(2, "big"))
    if name == "bad":
        return bytes.fromhex(value)
    kind = {"FO": opt.FAST_OPEN, "md5": opt.MD5}.get(name)
    if kind is None:
        if not name.startswith("opt-"):
            raise ValueError
        kind = int(name.removeprefix("opt-"))
    return opt.option(kind, bytes.fromhex(value))
