"""IPv4 options of an echo reply in ping's words: record route, timestamps, source routes."""

from collections.abc import Callable, Iterator

_END, _NOP, _RECORD_ROUTE, _TIMESTAMP, _LOOSE, _STRICT = 0, 1, 7, 68, 131, 137
_NONSTANDARD = 0x8000_0000


def _walk(options: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, whole option) up to the end or the first that does not fit."""
    at = 0
    while at < len(options) and options[at] != _END:
        if options[at] == _NOP:
            yield _NOP, b"\x01"
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            return
        yield options[at], options[at : at + length]
        at += length


def _recorded(option: bytes, first: int) -> bytes:
    """The octets that were filled in: from `first` to where the pointer stands."""
    if len(option) < first:
        return b""
    return option[first : max(first, min(option[2], len(option) + 1) - 1)]


def option_addresses(options: bytes) -> tuple[bytes, ...]:
    """The addresses that `option_lines` will name."""
    found: list[bytes] = []
    for kind, option in _walk(options):
        if kind in (_RECORD_ROUTE, _LOOSE, _STRICT):
            found += _fours(_recorded(option, 3) if kind == _RECORD_ROUTE else option[3:])
        elif kind == _TIMESTAMP and len(option) > 4 and option[3] & 15:
            found += _fours(_recorded(option, 4))[::2]
    return tuple(address for address in found if any(address))


def option_lines(options: bytes, route_before: bytes, name: Callable[[bytes], str]) -> tuple[str, bytes]:
    """(text that follows the reply on its line and the next ones, recorded route to compare the next reply with)."""
    text = ""
    for kind, option in _walk(options):
        if kind == _NOP:
            text += "\nNOP"
        elif kind == _RECORD_ROUTE:
            route = _recorded(option, 3)
            if route:
                text += "\t(same route)" if route == route_before else "\nRR: " + _address_list(route, name)
                route_before = route
        elif kind == _TIMESTAMP:
            text += _timestamps(option, name)
        elif kind in (_LOOSE, _STRICT):
            text += f"\n{'S' if kind == _STRICT else 'L'}SRR: " + _address_list(option[3:], name)
        else:
            text += f"\nunknown option {kind:x}"
    return text, route_before


def _fours(octets: bytes) -> list[bytes]:
    return [octets[at : at + 4] for at in range(0, len(octets) - 3, 4)]


def _address_list(octets: bytes, name: Callable[[bytes], str]) -> str:
    return "".join([f"\t{_named(address, name)}\n" for address in _fours(octets)])


def _named(address: bytes, name: Callable[[bytes], str]) -> str:
    return name(address) if any(address) else "0.0.0.0"


def _timestamps(option: bytes, name: Callable[[bytes], str]) -> str:
    """The first time of each kind is absolute, the others follow as differences."""
    recorded = _recorded(option, 4)
    if not recorded:
        return ""
    words = _fours(recorded)
    with_addresses = bool(option[3] & 15)
    text = "\nTS: "
    previous = [0, 0]
    while words:
        if with_addresses:
            text += f"\t{_named(words.pop(0), name)}"
            if not words:
                break
        text += f"\t{_difference(int.from_bytes(words.pop(0), 'big'), previous)}\n"
    if option[3] >> 4:
        text += f"Unrecorded hops: {option[3] >> 4}\n"
    return text


def _difference(stamp: int, previous: list[int]) -> str:
    odd = int(bool(stamp & _NONSTANDARD))
    stamp &= _NONSTANDARD - 1
    text = f"{stamp} absolute" if not previous[odd] else f"{stamp - previous[odd]}"
    previous[odd] = stamp
    return text + " not-standard" if odd else text
