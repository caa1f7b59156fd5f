"""ICMP for IPv4 (RFC 792, RFC 950, RFC 1256, RFC 4884)."""

from struct import Struct
from typing import Final

from pytools.errors import DecodeError
from pytools.wire import quoted as quotes
from pytools.wire.checksum import checksum as internet_checksum
from pytools.wire.checksum import ones_sum
from pytools.wire.quoted import Quoted as Quoted

ECHO_REPLY: Final = 0
UNREACHABLE: Final = 3
SOURCE_QUENCH: Final = 4
REDIRECT: Final = 5
ECHO: Final = 8
ROUTER_ADVERTISEMENT: Final = 9
ROUTER_SOLICITATION: Final = 10
TIME_EXCEEDED: Final = 11
PARAMETER_PROBLEM: Final = 12
TIMESTAMP: Final = 13
TIMESTAMP_REPLY: Final = 14
INFORMATION: Final = 15
INFORMATION_REPLY: Final = 16
ADDRESS_MASK: Final = 17
ADDRESS_MASK_REPLY: Final = 18

# Codes of UNREACHABLE.
NET_UNREACHABLE: Final = 0
HOST_UNREACHABLE: Final = 1
PROTOCOL_UNREACHABLE: Final = 2
PORT_UNREACHABLE: Final = 3
FRAGMENTATION_NEEDED: Final = 4
SOURCE_ROUTE_FAILED: Final = 5
NET_UNKNOWN: Final = 6
HOST_UNKNOWN: Final = 7
HOST_ISOLATED: Final = 8
NET_PROHIBITED: Final = 9
HOST_PROHIBITED: Final = 10
NET_UNREACHABLE_FOR_TOS: Final = 11
HOST_UNREACHABLE_FOR_TOS: Final = 12
PACKET_FILTERED: Final = 13
PRECEDENCE_VIOLATION: Final = 14
PRECEDENCE_CUTOFF: Final = 15

# Codes of TIME_EXCEEDED.
TTL_EXCEEDED: Final = 0
REASSEMBLY_EXCEEDED: Final = 1

# Codes of REDIRECT.
REDIRECT_NET: Final = 0
REDIRECT_HOST: Final = 1

ERRORS: Final = frozenset((UNREACHABLE, SOURCE_QUENCH, REDIRECT, TIME_EXCEEDED, PARAMETER_PROBLEM))
"""Messages that quote the packet they are about; none is ever sent about one of these (RFC 1122 3.2.2)."""

TYPE_NAMES: Final = {
    ECHO_REPLY: "REPLY",
    UNREACHABLE: "UNREACH",
    SOURCE_QUENCH: "SOURCE-QUENCH",
    REDIRECT: "REDIRECT",
    ECHO: "ECHO",
    ROUTER_ADVERTISEMENT: "RA",
    ROUTER_SOLICITATION: "RS",
    TIME_EXCEEDED: "TIME-EXCEEDED",
    PARAMETER_PROBLEM: "PARAM-PROBLEM",
    TIMESTAMP: "TIMESTAMP",
    TIMESTAMP_REPLY: "TIMESTAMP-REPLY",
    INFORMATION: "INFO",
    INFORMATION_REPLY: "INFO-REPLY",
    ADDRESS_MASK: "MASK",
    ADDRESS_MASK_REPLY: "MASK-REPLY",
}

CODE_NAMES: Final = {
    (UNREACHABLE, 0): "net",
    (UNREACHABLE, 1): "host",
    (UNREACHABLE, 2): "protocol",
    (UNREACHABLE, 3): "port",
    (UNREACHABLE, 4): "frag-needed",
    (UNREACHABLE, 5): "source-route",
    (UNREACHABLE, 6): "net-unknown",
    (UNREACHABLE, 7): "host-unknown",
    (UNREACHABLE, 8): "host-isolated",
    (UNREACHABLE, 9): "net-prohibited",
    (UNREACHABLE, 10): "host-prohibited",
    (UNREACHABLE, 11): "net-tos",
    (UNREACHABLE, 12): "host-tos",
    (UNREACHABLE, 13): "filtered",
    (UNREACHABLE, 14): "precedence-violation",
    (UNREACHABLE, 15): "precedence-cutoff",
    (REDIRECT, 0): "net",
    (REDIRECT, 1): "host",
    (REDIRECT, 2): "net-tos",
    (REDIRECT, 3): "host-tos",
    (TIME_EXCEEDED, 0): "ttl",
    (TIME_EXCEEDED, 1): "reassembly",
    (PARAMETER_PROBLEM, 0): "pointer",
    (PARAMETER_PROBLEM, 1): "missing-option",
    (PARAMETER_PROBLEM, 2): "bad-length",
}

HEADER_LENGTH: Final = 8
_unpack = Struct("!BBHHH").unpack_from
_pack = Struct("!BBHI").pack
_pack_echo = Struct("!BBHHH").pack


def name(type_: int, code: int) -> str:
    """Type and code in words: `UNREACH host`, `type 77 code 3`."""
    if (type_name := TYPE_NAMES.get(type_)) is None:
        return f"type {type_} code {code}"
    code_name = CODE_NAMES.get((type_, code), f"code {code}" if code else "")
    return f"{type_name} {code_name}" if code_name else type_name


class IcmpMessage:
    """The first 8 octets. `word` is the second half, `ident` and `seq` are its halves; the body starts after it."""

    __slots__ = ("body_offset", "checksum", "code", "ident", "seq", "type")

    def __init__(self, type_: int, code: int, checksum: int, ident: int, seq: int, body_offset: int) -> None:
        self.type = type_
        self.code = code
        self.checksum = checksum
        self.ident = ident
        self.seq = seq
        self.body_offset = body_offset

    @property
    def word(self) -> int:
        """Octets 4 to 7 as one number: a gateway, a pointer, an MTU."""
        return self.ident << 16 | self.seq


def decode(data: bytes | bytearray | memoryview, offset: int = 0, end: int | None = None) -> IcmpMessage:
    """Read the first 8 octets of a message. DecodeError: cut short."""
    if (len(data) if end is None else end) - offset < 8:
        raise DecodeError("ICMP message cut short")
    type_, code, check, ident, seq = _unpack(data, offset)
    return IcmpMessage(type_, code, check, ident, seq, offset + 8)


def checksum_ok(data: bytes | bytearray | memoryview, offset: int, end: int) -> bool:
    """Whether the sum over the whole message is right."""
    return ones_sum(data[offset:end]) == 0xFFFF


def encode(type_: int, code: int, word: int = 0, *body: bytes) -> bytes:
    """A whole message with its checksum; `word` is what octets 4 to 7 hold."""
    message = b"".join((_pack(type_, code, 0, word), *body))
    return message[:2] + internet_checksum(message).to_bytes(2, "big") + message[4:]


def encode_echo(ident: int, seq: int, payload: bytes, type_: int = ECHO) -> bytes:
    """An echo request, or with `type_` its reply."""
    message = _pack_echo(type_, 0, 0, ident, seq) + payload
    return message[:2] + internet_checksum(message).to_bytes(2, "big") + message[4:]


def gateway(message: IcmpMessage) -> bytes:
    """The gateway that a Redirect names."""
    return message.word.to_bytes(4, "big")


def next_hop_mtu(message: IcmpMessage) -> int:
    """The MTU in Fragmentation Needed (RFC 1191 4); 0 from a router that doesn't say."""
    return message.seq


def pointer(message: IcmpMessage) -> int:
    """The octet that a Parameter Problem points at."""
    return message.ident >> 8


def quote_end(message: IcmpMessage, end: int) -> int:
    """Where the quoted packet ends: before the extensions of RFC 4884, if the message says that it has some."""
    length = (message.ident & 0xFF) << 2
    if not length or message.type not in (UNREACHABLE, TIME_EXCEEDED, PARAMETER_PROBLEM):
        return end
    # RFC 4884 pads to at least 128 octets, but not every router does: what the field says is tried first.
    return min(end, message.body_offset + length)


def quoted(data: bytes | bytearray | memoryview, offset: int, end: int) -> Quoted:
    """The packet that an error is about, from its first octet. DecodeError: not even its IP header is whole."""
    return quotes.decode4(data, offset, end)
