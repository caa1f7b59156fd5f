"""Read `sim:delay=20ms,loss=5%,...`: the impairments of the simulated wire as people type them.

    delay=20ms        each way, so a round trip takes twice that (50us unless given)
    jitter=2ms        uniform, +/-; keeps the order
    rate=10mbit       bits a second (bit, kbit, mbit, gbit)
    queue=100         frames in front of the rate, or octets with a unit (64kB)
    loss=5%           each frame for itself
    gemodel=1%:25%    bursts: good to bad, bad to good[, loss while bad[, loss while good]]
    drop=3+7-9        exactly these frames, counted from 1
    every=10          each tenth frame
    blackout=2s-3s    nothing gets through from 2 s to 3 s; several with +
    dup=1%            doubled
    reorder=5%:10ms   held up by an extra 10 ms, so that later frames overtake
    corrupt=1%        one flipped bit under a checksum; corrupt=1%:payload never in the IPv4 header
    seed=1            of all randomness
    pace=1            virtual seconds a second; pace=max does not wait at all

`.out` (from us) or `.in` (to us) after a key sets one direction: loss.out=5%.
"""

from collections.abc import Callable
from typing import Any, Final

from pytools.errors import UsageError
from pytools.sim.impairment import COVERED, PAYLOAD, GilbertElliott, Impairment
from pytools.units import MS, SECOND, US, Ns

DEFAULT_DELAY_NS: Final = 50 * US
"""Virtual time must pass on the wire, or a flood without a count would never reach its deadline."""

UNPACED: Final = 0.0

_MOST: Final = 1e18
"""About 30 years in nanoseconds."""
_TIMES: Final = {"ns": 1, "us": US, "ms": MS, "s": SECOND, "m": 60 * SECOND, "min": 60 * SECOND, "h": 3600 * SECOND}
_RATES: Final = {"bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
_SIZES: Final = {"b": 1, "kb": 1_000, "mb": 1_000_000, "kib": 1 << 10, "mib": 1 << 20}


class SimSpec:
    """What the text says. `out` is the direction from the engine under test, `inward` the one to it.

    `pace` is virtual seconds a second, UNPACED for as fast as possible, or None when the text doesn't say.
    """

    __slots__ = ("inward", "out", "pace", "seed")

    def __init__(self, out: Impairment, inward: Impairment, seed: int, pace: float | None) -> None:
        self.out = out
        self.inward = inward
        self.seed = seed
        self.pace = pace


class _BadValueError(ValueError):
    """`str()` says what would be right."""


def parse(text: str) -> SimSpec:
    """Read the text after `--via`: "sim", "sim:delay=20ms,..." or only the part after the colon.

    UsageError: one line that names the bad part.
    """
    body = "" if text == "sim" else text.removeprefix("sim:")
    both: dict[str, Any] = {"delay_ns": DEFAULT_DELAY_NS}
    settings: dict[str, dict[str, Any]] = {"": both, "out": {}, "in": {}}
    general: dict[str, Any] = {"seed": 1, "pace": None}
    for part in body.split(","):
        if part.strip():
            _read(part.strip(), settings, general)
    out = Impairment(**{**both, **settings["out"]})
    inward = Impairment(**{**both, **settings["in"]})
    return SimSpec(out, inward, general["seed"], general["pace"])


def _read(part: str, settings: dict[str, dict[str, Any]], general: dict[str, Any]) -> None:
    """One key=value into its place."""
    name, equals, value = part.partition("=")
    key, dot, direction = name.strip().lower().partition(".")
    if key not in _KEYS and key not in _GENERAL:
        raise UsageError(f"sim: unknown key {key!r} in {part!r}; known keys: {', '.join(KEYS)}")
    if dot and key in _GENERAL:
        raise UsageError(f"sim: bad key {name!r}: {key} has no direction")
    if dot and direction not in {"out", "in"}:
        raise UsageError(f"sim: bad key {name!r}: it can end in .out or .in only")
    if not equals or not value.strip():
        raise UsageError(f"sim: {part!r} has no value: write {_EXAMPLES[key]}")
    target, reader = (general, _GENERAL[key]) if key in _GENERAL else (settings[direction], _KEYS[key])
    try:
        target.update(reader(value.strip().lower()))
    except _BadValueError as error:
        raise UsageError(f"sim: bad value in {part!r}: {error}; for example {_EXAMPLES[key]}") from None


# Values: each reader takes the text in lower case and returns settings.


def _split_number(text: str) -> tuple[str, str]:
    """The number and the unit after it."""
    unit = text.lstrip("0123456789.")
    return text[: len(text) - len(unit)], unit.strip()


def _scaled(text: str, units: dict[str, int], what: str) -> int:
    number, unit = _split_number(text)
    try:
        value = float(number)
    except ValueError:
        raise _BadValueError(f"{text!r} is no {what}") from None
    if value == 0 and (not unit or unit in units):
        return 0
    if unit not in units:
        raise _BadValueError(f"{text!r} needs a unit ({', '.join(units)})")
    if not 0 < value * units[unit] < _MOST:
        raise _BadValueError(f"{text!r} is out of range")
    return max(1, round(value * units[unit]))


def _time(text: str) -> Ns:
    return _scaled(text, _TIMES, "time")


def _share(text: str) -> float:
    number = text.removesuffix("%")
    try:
        value = float(number)
    except ValueError:
        raise _BadValueError(f"{text!r} is no percentage") from None
    if number == text and value != 0:
        raise _BadValueError(f"{text!r} needs a %")
    if not 0 <= value <= 100:
        raise _BadValueError(f"{text!r} is not within 0..100%")
    return value / 100


def _count(text: str, least: int = 1) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 15 or int(text) < least:
        raise _BadValueError(f"{text!r} is no whole number from {least}")
    return int(text)


def _rate(text: str) -> dict[str, Any]:
    return {"rate_bps": _scaled(text, _RATES, "rate")}


def _queue(text: str) -> dict[str, Any]:
    if _split_number(text)[1]:
        return {"queue_bytes": max(1, _scaled(text, _SIZES, "size"))}
    return {"queue_packets": _count(text), "queue_bytes": 0}


def _gemodel(text: str) -> dict[str, Any]:
    shares = [_share(share) for share in text.split(":")]
    if not 2 <= len(shares) <= 4:
        raise _BadValueError(f"{text!r} has {len(shares)} of 2 to 4 percentages")
    return {"bursts": GilbertElliott(*shares)}


def _drop(text: str) -> dict[str, Any]:
    numbers: set[int] = set()
    for piece in text.split("+"):
        first, dash, last = piece.partition("-")
        start = _count(first)
        end = _count(last, start) if dash else start
        if end - start >= 1_000_000:
            raise _BadValueError(f"{piece!r} is more than a million frames")
        numbers.update(range(start, end + 1))
    return {"drops": frozenset(numbers)}


def _blackout(text: str) -> dict[str, Any]:
    spans = []
    for piece in text.split("+"):
        start, dash, end = piece.partition("-")
        span = (_time(start), _time(end) if dash else -1)
        if span[1] <= span[0]:
            raise _BadValueError(f"{piece!r} is not from-to")
        spans.append(span)
    return {"blackouts": tuple(spans)}


def _reorder(text: str) -> dict[str, Any]:
    share, colon, extra = text.partition(":")
    return {"reorder": _share(share)} | ({"reorder_ns": _time(extra)} if colon else {})


def _corrupt(text: str) -> dict[str, Any]:
    share, colon, where = text.partition(":")
    if colon and where not in {COVERED, PAYLOAD}:
        raise _BadValueError(f"{where!r} is neither {COVERED} nor {PAYLOAD}")
    return {"corrupt": _share(share)} | ({"corrupt_where": where} if colon else {})


def _pace(text: str) -> dict[str, Any]:
    if text == "max":
        return {"pace": UNPACED}
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.001 <= value <= 1_000_000:
        raise _BadValueError(f"{text!r} is neither max nor a number from 0.001 to 1000000")
    return {"pace": value}


_KEYS: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "delay": lambda text: {"delay_ns": _time(text)},
    "jitter": lambda text: {"jitter_ns": _time(text)},
    "rate": _rate,
    "queue": _queue,
    "loss": lambda text: {"loss": _share(text)},
    "gemodel": _gemodel,
    "drop": _drop,
    "every": lambda text: {"drop_every": _count(text)},
    "blackout": _blackout,
    "dup": lambda text: {"duplicate": _share(text)},
    "reorder": _reorder,
    "corrupt": _corrupt,
}
_GENERAL: Final[dict[str, Callable[[str], dict[str, Any]]]] = {
    "seed": lambda text: {"seed": _count(text, 0)},
    "pace": _pace,
}
KEYS: Final = (*_KEYS, *_GENERAL)
_EXAMPLES: Final = {
    "delay": "delay=20ms",
    "jitter": "jitter=2ms",
    "rate": "rate=10mbit",
    "queue": "queue=100 or queue=64kB",
    "loss": "loss=5%",
    "gemodel": "gemodel=1%:25%",
    "drop": "drop=3+7-9",
    "every": "every=10",
    "blackout": "blackout=2s-3s",
    "dup": "dup=1%",
    "reorder": "reorder=5%:10ms",
    "corrupt": "corrupt=1%",
    "seed": "seed=1",
    "pace": "pace=1 or pace=max",
}
