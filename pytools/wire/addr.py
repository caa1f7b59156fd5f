"""Addresses as bytes: 4 octets IPv4, 16 IPv6, 6 MAC; their text and what their bits say.

Text that can't be read raises ValueError with a message of one line. Zone ids (`%eth0`) and the short forms of
inet_aton (`127.1`) are not read here.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

UNSPECIFIED4: Final = bytes(4)
UNSPECIFIED6: Final = bytes(16)
BROADCAST4: Final = b"\xff\xff\xff\xff"
LOOPBACK4: Final = b"\x7f\0\0\1"
LOOPBACK6: Final = bytes(15) + b"\1"
ALL_HOSTS4: Final = b"\xe0\0\0\1"
ALL_NODES: Final = b"\xff\x02" + bytes(13) + b"\1"
ALL_ROUTERS: Final = b"\xff\x02" + bytes(13) + b"\2"
BROADCAST_MAC: Final = b"\xff\xff\xff\xff\xff\xff"

_DECIMAL: Final = frozenset("0123456789")
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_SOLICITED_NODE: Final = b"\xff\x02" + bytes(9) + b"\1\xff"
_ZERO_RUNS: Final = tuple(":0" * length + ":" for length in range(8, 1, -1))
_unpack_groups = Struct("!8H").unpack
_MAPPED: Final = bytes(10) + b"\xff\xff"


def parse_ip(text: str) -> bytes:
    """The 4 or 16 octets of an address; strict: four decimal octets without leading zeros, or RFC 4291 2.2."""
    try:
        return _parse6(text) if ":" in text else _parse4(text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None


def format_ip(address: bytes) -> str:
    """Dotted decimal, or the RFC 5952 form (mapped and compatible IPv4 in dotted decimal, as inet_ntop has it)."""
    if len(address) == 4:
        return _format4(address)
    if len(address) != 16:
        raise ValueError(f"an IP address has 4 or 16 octets, not {len(address)}")
    if address.startswith(_MAPPED):
        return "::ffff:" + _format4(address[12:])
    if address[:12] == UNSPECIFIED6[:12] and address[12:14] != b"\0\0":
        return "::" + _format4(address[12:])
    return _format6(address)


def _format4(address: bytes) -> str:
    a, b, c, d = address
    return f"{a}.{b}.{c}.{d}"


def _format6(address: bytes) -> str:
    """RFC 5952 section 4: lower case, no leading zeros, `::` for the first longest run of two or more zero groups."""
    a, b, c, d, e, f, g, h = _unpack_groups(address)
    text = f":{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f:x}:{g:x}:{h:x}:"
    for run in _ZERO_RUNS:
        if run in text:
            text = text.replace(run, "::", 1)
            break
    # The colon at either end goes, unless the run of zeros is there.
    return text[not text.startswith("::") : len(text) - (not text.endswith("::"))]


def _parse4(text: str) -> bytes:
    octets = text.split(".")
    if len(octets) != 4:
        raise ValueError
    for octet in octets:
        if not octet or not _DECIMAL.issuperset(octet) or len(octet) > 3 or (octet[0] == "0" and octet != "0"):
            raise ValueError
    return bytes(map(int, octets))


def _parse6(text: str) -> bytes:
    head, separator, tail = text.partition("::")
    left = _parse_groups(head, last=not separator)
    if not separator:
        right = b""
    else:
        right = _parse_groups(tail, last=True)
        if len(left) + len(right) > 14:
            raise ValueError
        left += bytes(16 - len(left) - len(right))
    if len(left) + len(right) != 16:
        raise ValueError
    return left + right


def _parse_groups(text: str, last: bool) -> bytes:
    """Colon-separated groups of one to four hex digits; the last may be a dotted quad."""
    if not text:
        return b""
    groups = text.split(":")
    tail = _parse4(groups.pop()) if last and "." in groups[-1] else b""
    for group in groups:
        if not 1 <= len(group) <= 4 or not _HEX.issuperset(group):
            raise ValueError
    return b"".join(int(group, 16).to_bytes(2, "big") for group in groups) + tail


def parse_mac(text: str) -> bytes:
    """The 6 octets of `0:1b:2c:3d:4e:5f`, `00-1b-...`, `001b.2c3d.4e5f` or twelve hex digits."""
    separator = ":" if ":" in text else "-" if "-" in text else "." if "." in text else None
    count, width = (1, 12) if separator is None else (3, 4) if separator == "." else (6, 2)
    groups = text.split(separator) if separator else [text]
    shortest = 1 if width == 2 else width
    if len(groups) != count or not all(shortest <= len(g) <= width and _HEX.issuperset(g) for g in groups):
        raise ValueError(f"{text!r} is not a MAC address")
    return bytes.fromhex("".join(group.zfill(width) for group in groups))


def format_mac(mac: bytes) -> str:
    """Lower case with colons; any length (other link types)."""
    return mac.hex(":")


def is_multicast(address: bytes) -> bool:
    """IPv4 224/4, IPv6 ff00::/8."""
    return 0xE0 <= address[0] <= 0xEF if len(address) == 4 else address[0] == 0xFF


def is_link_local(address: bytes) -> bool:
    """IPv4 169.254/16, IPv6 fe80::/10."""
    if len(address) == 4:
        return address[:2] == b"\xa9\xfe"
    return address[0] == 0xFE and address[1] & 0xC0 == 0x80


def is_loopback(address: bytes) -> bool:
    """IPv4 127/8, IPv6 ::1."""
    return address[0] == 127 if len(address) == 4 else address == LOOPBACK6


def is_unspecified(address: bytes) -> bool:
    """0.0.0.0 or ::."""
    return not any(address)


def is_broadcast(address: bytes) -> bool:
    """The limited broadcast 255.255.255.255; a subnet's is `Network.broadcast`."""
    return address == BROADCAST4


def is_class_e(address: bytes) -> bool:
    """IPv4 240/4 (with the limited broadcast in it)."""
    return len(address) == 4 and address[0] >= 0xF0


def multicast_mac(address: bytes) -> bytes:
    """Where a multicast address goes on Ethernet (RFC 1112 6.4, RFC 2464 7)."""
    if len(address) == 4:
        return b"\x01\x00\x5e" + bytes((address[1] & 0x7F,)) + address[2:]
    return b"\x33\x33" + address[12:]


def solicited_node(address: bytes) -> bytes:
    """The solicited-node multicast address of an IPv6 address (RFC 4291 2.7.1)."""
    return _SOLICITED_NODE + address[13:]


def link_local(mac: bytes) -> bytes:
    """The link-local IPv6 address made of a MAC by modified EUI-64 (RFC 4291 appendix A, RFC 2464 5)."""
    return b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:]


class Network:
    """An address block: `address` (host bits cleared) and `prefix_len`. Equal blocks are equal and hash alike."""

    __slots__ = ("_mask", "_number", "address", "prefix_len")

    def __init__(self, address: bytes, prefix_len: int) -> None:
        bits = len(address) * 8
        if bits not in (32, 128) or not 0 <= prefix_len <= bits:
            raise ValueError(f"no network of {bits} bits has prefix length {prefix_len}")
        self._mask = (1 << bits) - (1 << (bits - prefix_len))
        self._number = int.from_bytes(address, "big") & self._mask
        self.address = self._number.to_bytes(len(address), "big")
        self.prefix_len = prefix_len

    @classmethod
    def parse(cls, text: str) -> "Network":
        """Read `10.0.0.0/24` or `fd00::/64`; without a length it is the one address. Host bits may be set."""
        host, slash, length = text.partition("/")
        address = parse_ip(host)
        if not slash:
            return cls(address, len(address) * 8)
        if not length or len(length) > 3 or not _DECIMAL.issuperset(length) or int(length) > len(address) * 8:
            raise ValueError(f"{text!r}: {length!r} is not a prefix length of 0 to {len(address) * 8}")
        return cls(address, int(length))

    def __contains__(self, address: bytes) -> bool:
        return len(address) == len(self.address) and int.from_bytes(address, "big") & self._mask == self._number

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Network):
            return NotImplemented
        return self.address == other.address and self.prefix_len == other.prefix_len

    def __hash__(self) -> int:
        return hash((self.address, self.prefix_len))

    def __str__(self) -> str:
        return f"{format_ip(self.address)}/{self.prefix_len}"

    def __repr__(self) -> str:
        return f"Network({str(self)!r})"

    @property
    def broadcast(self) -> bytes | None:
        """The directed broadcast address; None for IPv6 and for /31 and /32 (RFC 3021)."""
        if len(self.address) != 4 or self.prefix_len > 30:
            return None
        return (self._number | ~self._mask & 0xFFFFFFFF).to_bytes(4, "big")

    def _host_range(self) -> tuple[int, int]:
        """First and last host as numbers."""
        bits = len(self.address) * 8
        first, last = self._number, self._number + (1 << (bits - self.prefix_len)) - 1
        if bits - self.prefix_len > 1:
            # The network address (IPv6: subnet-router anycast, RFC 4291 2.6.1) and IPv4's broadcast are no hosts.
            first, last = first + 1, last - (bits == 32)
        return first, last

    @property
    def host_count(self) -> int:
        """How many addresses `hosts` yields."""
        first, last = self._host_range()
        return last - first + 1

    def hosts(self, limit: int | None = None) -> Iterator[bytes]:
        """The host addresses in order, lazily; at most `limit`."""
        first, last = self._host_range()
        if limit is not None:
            last = min(last, first + limit - 1)
        size, number = len(self.address), first
        while number <= last:
            yield number.to_bytes(size, "big")
            number += 1
