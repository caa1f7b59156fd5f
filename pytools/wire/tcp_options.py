"""TCP options (RFC 9293 3.2, RFC 7323, RFC 2018, RFC 5482, RFC 7413, RFC 2385)."""

from collections.abc import Iterator, Sequence
from struct import Struct
from typing import Final

EOL: Final = 0
NOP: Final = 1
MSS: Final = 2
WINDOW_SCALE: Final = 3
SACK_PERMITTED: Final = 4
SACK: Final = 5
TIMESTAMPS: Final = 8
MD5: Final = 19
USER_TIMEOUT: Final = 28
FAST_OPEN: Final = 34

_ALIGNED_TIMESTAMPS: Final = b"\x01\x01\x08\x0a"
_unpack_timestamps = Struct("!II").unpack_from
_pack_timestamps = Struct("!4sII").pack

Block = tuple[int, int]
"""Left edge and the number after the right edge."""


class TcpOptions:
    """What a segment's options say; what is absent is None (or False, or empty).

    `user_timeout_s` is in seconds. `fast_open` is a cookie, b"" the request for one. `window_scale` is as it came,
    maybe above 14. `unknown` holds (kind, value) of the others. `malformed`: a length was wrong; what came before it
    counts.
    """

    __slots__ = (
        "fast_open",
        "malformed",
        "md5",
        "mss",
        "sack",
        "sack_permitted",
        "ts_ecr",
        "ts_val",
        "unknown",
        "user_timeout_s",
        "window_scale",
    )

    def __init__(self) -> None:
        self.mss: int | None = None
        self.window_scale: int | None = None
        self.sack_permitted = False
        self.sack: tuple[Block, ...] = ()
        self.ts_val: int | None = None
        self.ts_ecr: int | None = None
        self.user_timeout_s: int | None = None
        self.fast_open: bytes | None = None
        self.md5: bytes | None = None
        self.unknown: tuple[tuple[int, bytes], ...] = ()
        self.malformed = False


def walk(options: bytes) -> Iterator[tuple[int, bytes]]:
    """Each option as (kind, value), NOP and EOL too, up to EOL or an illegal length.

    After an illegal length comes a last (-1, the octets that were not read).
    """
    at, end = 0, len(options)
    while at < end:
        kind = options[at]
        if kind <= NOP:
            yield kind, b""
            if kind == EOL:
                return
            at += 1
            continue
        length = options[at + 1] if at + 1 < end else 0
        if length < 2 or at + length > end:
            yield -1, options[at:]
            return
        yield kind, options[at + 2 : at + length]
        at += length


def parse(options: bytes) -> TcpOptions:
    """Read options. An illegal length ends the reading (RFC 9293 MUST-7) and raises nothing.

    An option whose own length is not what its RFC says is ignored, like an unknown one, as the kernel does.
    """
    found = TcpOptions()
    if len(options) == 12 and options.startswith(_ALIGNED_TIMESTAMPS):
        # What nearly every segment of a connection has (RFC 7323 appendix A).
        found.ts_val, found.ts_ecr = _unpack_timestamps(options, 4)
        return found
    for kind, value in walk(options):
        if kind > NOP:
            _take(found, kind, value)
        elif kind < 0:
            found.malformed = True
    return found


def _take(found: TcpOptions, kind: int, value: bytes) -> None:
    length = len(value)
    if kind == MSS and length == 2:
        found.mss = value[0] << 8 | value[1]
    elif kind == WINDOW_SCALE and length == 1:
        found.window_scale = value[0]
    elif kind == SACK_PERMITTED and not length:
        found.sack_permitted = True
    elif kind == SACK and length and not length & 7:
        found.sack = blocks(value)
    elif kind == TIMESTAMPS and length == 8:
        found.ts_val, found.ts_ecr = _unpack_timestamps(value)
    elif kind == USER_TIMEOUT and length == 2:
        number = value[0] << 8 | value[1]
        found.user_timeout_s = (number & 0x7FFF) * (60 if number & 0x8000 else 1)
    elif kind == FAST_OPEN and (not length or (4 <= length <= 16 and not length & 1)):
        found.fast_open = value
    elif kind == MD5 and length == 16:
        found.md5 = value
    else:
        found.unknown += ((kind, value),)


def blocks(value: bytes) -> tuple[Block, ...]:
    """The blocks in a SACK option's value of whole blocks."""
    return tuple(_unpack_timestamps(value, at) for at in range(0, len(value), 8))


def option(kind: int, value: bytes = b"") -> bytes:
    """Any option with a length."""
    return bytes((kind, len(value) + 2)) + value


def mss(number: int) -> bytes:
    """Maximum segment size."""
    return option(MSS, number.to_bytes(2, "big"))


def window_scale(shift: int) -> bytes:
    """Window scale (RFC 7323 2.2)."""
    return option(WINDOW_SCALE, bytes((shift,)))


def sack_permitted() -> bytes:
    """RFC 2018 2."""
    return option(SACK_PERMITTED)


def sack(edges: Sequence[Block]) -> bytes:
    """RFC 2018 3; with timestamps three blocks fit, without four."""
    return option(SACK, b"".join(left.to_bytes(4, "big") + right.to_bytes(4, "big") for left, right in edges))


def timestamps(value: int, echo: int) -> bytes:
    """Timestamps behind two NOPs (RFC 7323 appendix A)."""
    return _pack_timestamps(_ALIGNED_TIMESTAMPS, value, echo)


def user_timeout(seconds: int) -> bytes:
    """RFC 5482 3.1; in whole minutes above 32,767 s."""
    number = seconds if seconds <= 0x7FFF else 0x8000 | min(seconds // 60, 0x7FFF)
    return option(USER_TIMEOUT, number.to_bytes(2, "big"))


def fast_open(cookie: bytes = b"") -> bytes:
    """RFC 7413 4.1.1; empty asks for a cookie."""
    return option(FAST_OPEN, cookie)
