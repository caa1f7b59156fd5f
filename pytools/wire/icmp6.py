"""ICMPv6 (RFC 4443) and neighbour discovery (RFC 4861). Every checksum covers the pseudo-header."""

from struct import Struct
from typing import Final

from pytools.errors import DecodeError
from pytools.wire import quoted as quotes
from pytools.wire.checksum import checksum as internet_checksum
from pytools.wire.checksum import fold, ones_sum, pseudo_header_sum
from pytools.wire.icmp import IcmpMessage as IcmpMessage
from pytools.wire.icmp import decode as decode
from pytools.wire.quoted import Quoted as Quoted

PROTOCOL: Final = 58
HEADER_LENGTH: Final = 8

UNREACHABLE: Final = 1
PACKET_TOO_BIG: Final = 2
TIME_EXCEEDED: Final = 3
PARAMETER_PROBLEM: Final = 4
ECHO: Final = 128
ECHO_REPLY: Final = 129
MLD_QUERY: Final = 130
MLD_REPORT: Final = 131
MLD_DONE: Final = 132
ROUTER_SOLICITATION: Final = 133
ROUTER_ADVERTISEMENT: Final = 134
NEIGHBOR_SOLICITATION: Final = 135
NEIGHBOR_ADVERTISEMENT: Final = 136
REDIRECT: Final = 137
MLD2_REPORT: Final = 143

# Codes of UNREACHABLE.
NO_ROUTE: Final = 0
PROHIBITED: Final = 1
BEYOND_SCOPE: Final = 2
ADDRESS_UNREACHABLE: Final = 3
PORT_UNREACHABLE: Final = 4
POLICY_FAILED: Final = 5
REJECT_ROUTE: Final = 6

# Codes of TIME_EXCEEDED.
HOP_LIMIT_EXCEEDED: Final = 0
REASSEMBLY_EXCEEDED: Final = 1

# Codes of PARAMETER_PROBLEM.
ERRONEOUS_FIELD: Final = 0
UNKNOWN_NEXT_HEADER: Final = 1
UNKNOWN_OPTION: Final = 2

TYPE_NAMES: Final = {
    UNREACHABLE: "UNREACH",
    PACKET_TOO_BIG: "TOO-BIG",
    TIME_EXCEEDED: "TIME-EXCEEDED",
    PARAMETER_PROBLEM: "PARAM-PROBLEM",
    ECHO: "ECHO",
    ECHO_REPLY: "REPLY",
    MLD_QUERY: "MLD-QUERY",
    MLD_REPORT: "MLD-REPORT",
    MLD_DONE: "MLD-DONE",
    ROUTER_SOLICITATION: "RS",
    ROUTER_ADVERTISEMENT: "RA",
    NEIGHBOR_SOLICITATION: "NS",
    NEIGHBOR_ADVERTISEMENT: "NA",
    REDIRECT: "REDIRECT",
    MLD2_REPORT: "MLD2-REPORT",
}

CODE_NAMES: Final = {
    (UNREACHABLE, 0): "no-route",
    (UNREACHABLE, 1): "prohibited",
    (UNREACHABLE, 2): "beyond-scope",
    (UNREACHABLE, 3): "address",
    (UNREACHABLE, 4): "port",
    (UNREACHABLE, 5): "source-policy",
    (UNREACHABLE, 6): "reject-route",
    (TIME_EXCEEDED, 0): "hop-limit",
    (TIME_EXCEEDED, 1): "reassembly",
    (PARAMETER_PROBLEM, 0): "field",
    (PARAMETER_PROBLEM, 1): "next-header",
    (PARAMETER_PROBLEM, 2): "option",
    (PARAMETER_PROBLEM, 3): "incomplete-chain",
}

_pack = Struct("!BBHI").pack
_pack_echo = Struct("!BBHHH").pack


def name(type_: int, code: int) -> str:
    """Type and code in words: `UNREACH address`, `TOO-BIG`, `type 77 code 3`."""
    if (type_name := TYPE_NAMES.get(type_)) is None:
        return f"type {type_} code {code}"
    code_name = CODE_NAMES.get((type_, code), f"code {code}" if code else "")
    return f"{type_name} {code_name}" if code_name else type_name


def is_error(type_: int) -> bool:
    """Errors are the types below 128 (RFC 4443 2.1)."""
    return type_ < 128


def checksum_ok(data: bytes | bytearray | memoryview, offset: int, end: int, src: bytes, dst: bytes) -> bool:
    """Whether the sum over pseudo-header and message is right."""
    return fold(ones_sum(data[offset:end]) + pseudo_header_sum(src, dst, PROTOCOL, end - offset)) == 0xFFFF


def encode(src: bytes, dst: bytes, type_: int, code: int, word: int = 0, *body: bytes) -> bytes:
    """A whole message with its checksum; `word` is what octets 4 to 7 hold."""
    return _finish(src, dst, b"".join((_pack(type_, code, 0, word), *body)))


def encode_echo(src: bytes, dst: bytes, ident: int, seq: int, payload: bytes, type_: int = ECHO) -> bytes:
    """An echo request, or with `type_` its reply."""
    return _finish(src, dst, _pack_echo(type_, 0, 0, ident, seq) + payload)


def _finish(src: bytes, dst: bytes, message: bytes) -> bytes:
    check = internet_checksum(message, pseudo_header_sum(src, dst, PROTOCOL, len(message)))
    return message[:2] + check.to_bytes(2, "big") + message[4:]


def quote_end(message: IcmpMessage, end: int) -> int:
    """Where the quoted packet ends: before the extensions of RFC 4884, if the message says that it has some."""
    length = message.ident >> 8 << 3
    if not length or message.type not in (UNREACHABLE, TIME_EXCEEDED):
        return end
    return min(end, message.body_offset + length)


def quoted(data: bytes | bytearray | memoryview, offset: int, end: int) -> Quoted:
    """The packet that an error is about, from its first octet. DecodeError: not even its IP header is whole."""
    return quotes.decode6(data, offset, end)


# Neighbour discovery.

OPTION_SOURCE_MAC: Final = 1
OPTION_TARGET_MAC: Final = 2
OPTION_PREFIX: Final = 3
OPTION_REDIRECTED: Final = 4
OPTION_MTU: Final = 5
OPTION_NONCE: Final = 14

_unpack_prefix = Struct("!BBBBII4x16s").unpack_from
_pack_prefix = Struct("!BBBBII4x16s").pack
_MAX_OPTIONS: Final = 64


class Prefix:
    """A Prefix Information option (RFC 4861 4.6.2); lifetimes in seconds, 0xFFFFFFFF is for ever."""

    __slots__ = ("address", "autonomous", "on_link", "preferred_s", "prefix_len", "valid_s")

    def __init__(
        self, address: bytes, prefix_len: int, on_link: bool, autonomous: bool, valid_s: int, preferred_s: int
    ) -> None:
        self.address = address
        self.prefix_len = prefix_len
        self.on_link = on_link
        self.autonomous = autonomous
        self.valid_s = valid_s
        self.preferred_s = preferred_s


class NdOptions:
    """Options of a discovery message; what is absent is None or empty, what is unknown was skipped."""

    __slots__ = ("mtu", "nonce", "prefixes", "redirected", "source_mac", "target_mac")

    def __init__(
        self,
        source_mac: bytes | None = None,
        target_mac: bytes | None = None,
        mtu: int | None = None,
        prefixes: tuple[Prefix, ...] = (),
        redirected: bytes | None = None,
        nonce: bytes | None = None,
    ) -> None:
        self.source_mac = source_mac
        self.target_mac = target_mac
        self.mtu = mtu
        self.prefixes = prefixes
        self.redirected = redirected
        self.nonce = nonce

    def encode(self) -> bytes:
        """The octets, in the order of the option numbers."""
        parts = []
        if self.source_mac is not None:
            parts.append(_encode_option(OPTION_SOURCE_MAC, self.source_mac))
        if self.target_mac is not None:
            parts.append(_encode_option(OPTION_TARGET_MAC, self.target_mac))
        for prefix in self.prefixes:
            flags = prefix.on_link << 7 | prefix.autonomous << 6
            lifetimes = prefix.valid_s, prefix.preferred_s
            parts.append(_pack_prefix(OPTION_PREFIX, 4, prefix.prefix_len, flags, *lifetimes, prefix.address))
        if self.redirected is not None:
            parts.append(_encode_option(OPTION_REDIRECTED, bytes(6) + self.redirected))
        if self.mtu is not None:
            parts.append(_encode_option(OPTION_MTU, bytes(2) + self.mtu.to_bytes(4, "big")))
        if self.nonce is not None:
            parts.append(_encode_option(OPTION_NONCE, self.nonce))
        return b"".join(parts)


def _encode_option(kind: int, value: bytes) -> bytes:
    units = (len(value) + 9) >> 3
    return bytes((kind, units)) + value + bytes((units << 3) - 2 - len(value))


def decode_options(data: bytes | bytearray | memoryview, offset: int, end: int) -> NdOptions:
    """Read discovery options; the first of a kind counts (but every prefix).

    DecodeError: an option of length zero or beyond `end` (RFC 4861 6.1, 7.1), or a link address that is no MAC.
    """
    options = NdOptions()
    for _ in range(_MAX_OPTIONS):
        if offset >= end:
            return options
        if end - offset < 2 or not data[offset + 1]:
            raise DecodeError("ND option of length zero")
        after = offset + (data[offset + 1] << 3)
        if after > end:
            raise DecodeError("ND option cut short")
        _take_option(options, data[offset], bytes(data[offset:after]))
        offset = after
    raise DecodeError("too many ND options")


def _take_option(options: NdOptions, kind: int, octets: bytes) -> None:
    """Enter one whole option (`octets` with kind and length)."""
    if kind in (OPTION_SOURCE_MAC, OPTION_TARGET_MAC):
        if len(octets) != 8:
            raise DecodeError("ND link address that is no MAC")
        if kind == OPTION_TARGET_MAC:
            options.target_mac = options.target_mac or octets[2:]
        else:
            options.source_mac = options.source_mac or octets[2:]
    elif kind == OPTION_PREFIX and len(octets) == 32:
        _, _, prefix_len, flags, valid_s, preferred_s, address = _unpack_prefix(octets)
        prefix = Prefix(address, prefix_len, flags & 0x80 != 0, flags & 0x40 != 0, valid_s, preferred_s)
        options.prefixes += (prefix,)
    elif kind == OPTION_MTU and len(octets) == 8 and options.mtu is None:
        options.mtu = int.from_bytes(octets[4:], "big")
    elif kind == OPTION_REDIRECTED and options.redirected is None:
        options.redirected = octets[8:]
    elif kind == OPTION_NONCE and options.nonce is None:
        options.nonce = octets[2:]


def _decode_target(data: bytes | bytearray | memoryview, offset: int, end: int) -> bytes:
    """The target address at octet 8 of a message (RFC 4861 7.1.1: not multicast)."""
    if end - offset < 24:
        raise DecodeError("ND message cut short")
    target = bytes(data[offset + 8 : offset + 24])
    if target[0] == 0xFF:
        raise DecodeError("ND target is multicast")
    return target


class NeighborSolicitation:
    """RFC 4861 4.3."""

    __slots__ = ("options", "target")

    def __init__(self, target: bytes, options: NdOptions) -> None:
        self.target = target
        self.options = options

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview, offset: int, end: int) -> "NeighborSolicitation":
        """Read from the ICMPv6 header at `offset`. DecodeError: lengths, options or target are wrong."""
        target = _decode_target(data, offset, end)
        return cls(target, decode_options(data, offset + 24, end))

    def encode(self, src: bytes, dst: bytes) -> bytes:
        """The whole ICMPv6 message."""
        return encode(src, dst, NEIGHBOR_SOLICITATION, 0, 0, self.target, self.options.encode())


class NeighborAdvertisement:
    """RFC 4861 4.4, with its three flags."""

    __slots__ = ("options", "override", "router", "solicited", "target")

    def __init__(self, target: bytes, options: NdOptions, *, router: bool, solicited: bool, override: bool) -> None:
        self.target = target
        self.options = options
        self.router = router
        self.solicited = solicited
        self.override = override

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview, offset: int, end: int) -> "NeighborAdvertisement":
        """Read from the ICMPv6 header at `offset`. DecodeError: lengths, options or target are wrong."""
        target = _decode_target(data, offset, end)
        options = decode_options(data, offset + 24, end)
        flags = data[offset + 4]
        return cls(target, options, router=flags & 0x80 != 0, solicited=flags & 0x40 != 0, override=flags & 0x20 != 0)

    def encode(self, src: bytes, dst: bytes) -> bytes:
        """The whole ICMPv6 message."""
        flags = self.router << 31 | self.solicited << 30 | self.override << 29
        return encode(src, dst, NEIGHBOR_ADVERTISEMENT, 0, flags, self.target, self.options.encode())


class RouterSolicitation:
    """RFC 4861 4.1."""

    __slots__ = ("options",)

    def __init__(self, options: NdOptions) -> None:
        self.options = options

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview, offset: int, end: int) -> "RouterSolicitation":
        """Read from the ICMPv6 header at `offset`. DecodeError: lengths or options are wrong."""
        if end - offset < 8:
            raise DecodeError("ND message cut short")
        return cls(decode_options(data, offset + 8, end))

    def encode(self, src: bytes, dst: bytes) -> bytes:
        """The whole ICMPv6 message."""
        return encode(src, dst, ROUTER_SOLICITATION, 0, 0, self.options.encode())


class RouterAdvertisement:
    """RFC 4861 4.2; `lifetime_s` 0 is no default router, times of 0 are unspecified."""

    __slots__ = ("hop_limit", "lifetime_s", "managed", "options", "other", "reachable_ms", "retransmit_ms")

    def __init__(
        self,
        options: NdOptions,
        *,
        hop_limit: int = 0,
        managed: bool = False,
        other: bool = False,
        lifetime_s: int = 0,
        reachable_ms: int = 0,
        retransmit_ms: int = 0,
    ) -> None:
        self.options = options
        self.hop_limit = hop_limit
        self.managed = managed
        self.other = other
        self.lifetime_s = lifetime_s
        self.reachable_ms = reachable_ms
        self.retransmit_ms = retransmit_ms

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview, offset: int, end: int) -> "RouterAdvertisement":
        """Read from the ICMPv6 header at `offset`. DecodeError: lengths or options are wrong."""
        if end - offset < 16:
            raise DecodeError("ND message cut short")
        flags = data[offset + 5]
        return cls(
            decode_options(data, offset + 16, end),
            hop_limit=data[offset + 4],
            managed=flags & 0x80 != 0,
            other=flags & 0x40 != 0,
            lifetime_s=int.from_bytes(data[offset + 6 : offset + 8], "big"),
            reachable_ms=int.from_bytes(data[offset + 8 : offset + 12], "big"),
            retransmit_ms=int.from_bytes(data[offset + 12 : offset + 16], "big"),
        )

    def encode(self, src: bytes, dst: bytes) -> bytes:
        """The whole ICMPv6 message."""
        word = self.hop_limit << 24 | self.managed << 23 | self.other << 22 | self.lifetime_s
        timers = self.reachable_ms.to_bytes(4, "big") + self.retransmit_ms.to_bytes(4, "big")
        return encode(src, dst, ROUTER_ADVERTISEMENT, 0, word, timers, self.options.encode())


class Redirect:
    """RFC 4861 4.5: `target` is the better first hop to `destination` (equal: it is on the link)."""

    __slots__ = ("destination", "options", "target")

    def __init__(self, target: bytes, destination: bytes, options: NdOptions) -> None:
        self.target = target
        self.destination = destination
        self.options = options

    @classmethod
    def decode(cls, data: bytes | bytearray | memoryview, offset: int, end: int) -> "Redirect":
        """Read from the ICMPv6 header at `offset`. DecodeError: lengths, options or target are wrong."""
        if end - offset < 40:
            raise DecodeError("ND message cut short")
        target = _decode_target(data, offset, end)
        destination = bytes(data[offset + 24 : offset + 40])
        return cls(target, destination, decode_options(data, offset + 40, end))

    def encode(self, src: bytes, dst: bytes) -> bytes:
        """The whole ICMPv6 message."""
        return encode(src, dst, REDIRECT, 0, 0, self.target, self.destination, self.options.encode())
