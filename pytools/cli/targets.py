"""Words of the command line to addresses: names, literals, ranges and blocks; all before the first packet.

10.0.0.2    fd00::2    fe80::1%eth0    127.1    host.example    10.0.0.1-10.0.0.20    10.0.0.1-20    10.0.0.0/24
"""

import socket
from collections.abc import Callable, Iterable, Iterator, Sequence

from pytools.errors import UsageError
from pytools.wire.addr import Network, format_ip, parse_ip

LIMIT = 1 << 20
"""Targets of one run."""
_LOOKUPS_AT_ONCE = 16


class Host:
    """One target: `name` is what ping calls it in its header, `others` are further addresses of a name."""

    __slots__ = ("address", "is_literal", "name", "others", "zone")

    def __init__(
        self, name: str, address: bytes, zone: str = "", is_literal: bool = True, others: Sequence["Host"] = ()
    ) -> None:
        self.name = name
        self.address = address
        self.zone = zone
        self.is_literal = is_literal
        self.others = others


class HostList:
    """Many targets, each address once; a name is kept only where it is not the address itself."""

    __slots__ = ("_seen", "addresses", "literal", "names", "repeated", "zones")

    def __init__(self) -> None:
        self.addresses: list[bytes] = []
        self.names: dict[int, str] = {}
        self.zones: dict[int, str] = {}
        self.literal = True
        """No target was given by name."""
        self.repeated = 0
        """Addresses that were there already."""
        self._seen: set[bytes] = set()

    def __len__(self) -> int:
        return len(self.addresses)

    def add(self, host: Host) -> None:
        """Append one target."""
        if host.address in self._seen:
            self.repeated += 1
            return
        index = len(self.addresses)
        self._append(host.address)
        if host.name and host.name != format_ip(host.address):
            self.names[index] = host.name
        if host.zone:
            self.zones[index] = host.zone
        self.literal &= host.is_literal

    def extend(self, addresses: Iterable[bytes]) -> None:
        """Append bare addresses."""
        for address in addresses:
            if address in self._seen:
                self.repeated += 1
            else:
                self._append(address)

    def _append(self, address: bytes) -> None:
        if len(self.addresses) >= LIMIT:
            raise UsageError(f"too many targets: at most {LIMIT} in one run")
        self._seen.add(address)
        self.addresses.append(address)

    def name(self, index: int) -> str:
        """What to call a target."""
        if (name := self.names.get(index)) is not None:
            return name
        zone = self.zones.get(index, "")
        return format_ip(self.addresses[index]) + (f"%{zone}" if zone else "")


def literal(text: str) -> Host | None:
    """A host given as an address, also in the short forms of inet_aton(3); None if it is a name."""
    bare, _percent, zone = text.partition("%")
    try:
        return Host(text, parse_ip(bare), zone)
    except ValueError:
        pass
    if text[:1].isdigit() and text.isascii() and text.replace(".", "").isalnum():
        try:
            return Host(text, socket.inet_aton(text))
        except OSError:
            return None
    return None


def resolve(text: str, family: int = 0) -> Host:
    """One target by address or by name, through the system's resolver. UsageError says why not, as ping does."""
    host = literal(text)
    if host is not None:
        if family and len(host.address) != (4 if family == 4 else 16):
            raise UsageError(f"{text}: Address family for hostname not supported")
        return host
    found = [host for host in _look_up(text) if not family or len(host.address) == (4 if family == 4 else 16)]
    if not found:
        raise UsageError(f"{text}: Address family for hostname not supported")
    found[0].others = found[1:]
    return found[0]


def _look_up(text: str) -> list[Host]:
    """Every address of a name, in the resolver's order."""
    try:
        # As octets where it can be: for a str Python loads its IDNA tables first (4 ms).
        name: str | bytes = text.encode() if text.isascii() else text
        entries = socket.getaddrinfo(name, None, 0, socket.SOCK_DGRAM, socket.IPPROTO_UDP, socket.AI_CANONNAME)
    except socket.gaierror as error:
        raise UsageError(f"{text}: {error.strerror}{_hint(text)}") from None
    except UnicodeError:
        raise UsageError(f"{text}: Name or service not known (no such name can exist)") from None
    return list(_hosts(text, entries))


def _hint(text: str) -> str:
    if "://" in text:
        return " (give a host name, not a URL)"
    return " (a block or range has addresses in it, not names)" if "/" in text else ""


def _hosts(text: str, entries: Iterable[tuple[object, ...]]) -> Iterator[Host]:
    """ping shows the canonical name of an IPv4 host, and what was typed of an IPv6 host."""
    canonical = ""
    for family, _kind, _protocol, name, address in entries:
        canonical = canonical or str(name)
        if family == socket.AF_INET:
            yield Host(canonical or text, parse_ip(str(address[0])), is_literal=False)  # type: ignore[index]
        elif family == socket.AF_INET6:
            bare, _percent, _zone = str(address[0]).partition("%")  # type: ignore[index]
            yield Host(text, parse_ip(bare), _zone_name(address[3]), is_literal=False)  # type: ignore[index]


def _zone_name(index: int) -> str:
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:
        return ""


def expand(
    words: Iterable[str], family: int = 0, *, all_addresses: bool = False, complain: Callable[[str], None] | None = None
) -> HostList:
    """Targets of many words, in order. A word that can't be resolved goes to `complain`, or is raised without it."""
    hosts = HostList()
    waiting: list[tuple[int, str]] = []
    pieces: list[Iterable[bytes] | Host | None] = []
    for word in words:
        several = _several(word)
        if several is None and (host := literal(word)) is None:
            waiting.append((len(pieces), word))
            pieces.append(None)
        else:
            pieces.append(several if several is not None else host)
    for at, found in _resolve_all(waiting, family):
        if isinstance(found, Host):
            pieces[at] = found
        elif complain is None:
            raise found
        else:
            complain(str(found))
    for piece in pieces:
        _take(hosts, piece, family, all_addresses, complain)
    return hosts


def _take(
    hosts: HostList,
    piece: Iterable[bytes] | Host | None,
    family: int,
    all_addresses: bool,
    complain: Callable[[str], None] | None,
) -> None:
    if isinstance(piece, Host):
        if family and len(piece.address) != (4 if family == 4 else 16):
            error = UsageError(f"{piece.name}: Address family for hostname not supported")
            if complain is None:
                raise error
            complain(str(error))
            return
        for host in (piece, *piece.others) if all_addresses else (piece,):
            hosts.add(host)
    elif piece is not None:
        hosts.extend(piece)


def _resolve_all(names: list[tuple[int, str]], family: int) -> list[tuple[int, Host | UsageError]]:
    """Resolve names, several at a time if there are several."""

    def one(item: tuple[int, str]) -> tuple[int, Host | UsageError]:
        try:
            return item[0], resolve(item[1], family)
        except UsageError as error:
            return item[0], error

    if len(names) < 2:
        return list(map(one, names))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(_LOOKUPS_AT_ONCE, len(names))) as pool:
        return list(pool.map(one, names))


def _several(word: str) -> Iterable[bytes] | None:
    """The addresses of a block or a range; None if the word is neither."""
    if "/" in word:
        return _block(word)
    first, dash, last = word.partition("-")
    if not dash:
        return None
    try:
        low = parse_ip(first)
        if last.isascii() and last.isdigit() and len(low) == 4:
            last = f"{first.rpartition('.')[0]}.{last}"
        high = parse_ip(last)
    except ValueError:
        return None  # a host name may have a dash
    if len(low) != len(high) or low > high:
        raise UsageError(f"invalid range: {word}: the last address must not be lower than the first")
    return _range(low, high, word)


def _block(word: str) -> Iterable[bytes] | None:
    try:
        network = Network.parse(word)
    except ValueError as error:
        if word.partition("/")[0].replace(".", "").isdigit() or ":" in word.partition("/")[0]:
            raise UsageError(f"invalid block: {word}: {error}") from None
        return None
    if network.host_count > LIMIT:
        raise UsageError(f"too many targets: {word} has {network.host_count} addresses (at most {LIMIT} in one run)")
    return network.hosts()


def _range(low: bytes, high: bytes, word: str) -> Iterator[bytes]:
    first, last = int.from_bytes(low, "big"), int.from_bytes(high, "big")
    if last - first >= LIMIT:
        raise UsageError(f"too many targets: {word} has {last - first + 1} addresses (at most {LIMIT} in one run)")
    return (number.to_bytes(len(low), "big") for number in range(first, last + 1))


def read_words(path: str) -> list[str]:
    """Targets from a file, or from standard input with `-`: the first word of each line, `#` starts a comment."""
    import sys

    try:
        if path == "-":
            lines = sys.stdin.readlines()
        else:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                lines = file.readlines()
    except OSError as error:
        raise UsageError(f"cannot read the targets: {path}: {error.strerror}") from None
    words = [line.partition("#")[0].split() for line in lines]
    return [each[0] for each in words if each]
