"""The IPv6 header and its extension headers (RFC 8200)."""

from struct import Struct
from typing import Final

from pytools.errors import DecodeError

PROTO_HOP_BY_HOP: Final = 0
PROTO_TCP: Final = 6
PROTO_UDP: Final = 17
PROTO_ROUTING: Final = 43
PROTO_FRAGMENT: Final = 44
PROTO_ESP: Final = 50
PROTO_AH: Final = 51
PROTO_ICMPV6: Final = 58
PROTO_NONE: Final = 59
PROTO_DESTINATION: Final = 60
HEADER_LENGTH: Final = 40
FRAGMENT_LENGTH: Final = 8
MIN_MTU: Final = 1280

# Codes of Parameter Problem (RFC 4443 3.4) that `walk` finds.
ERRONEOUS_FIELD: Final = 0
UNKNOWN_NEXT_HEADER: Final = 1
UNKNOWN_OPTION: Final = 2

OPTION_PAD1: Final = 0
OPTION_PADN: Final = 1
OPTION_ROUTER_ALERT: Final = 5

# RFC 8504 5.3 lets a host limit what it walks through; one packet could hold thousands.
_MAX_HEADERS: Final = 16
_MAX_OPTIONS: Final = 64

_EXTENSIONS: Final = frozenset((PROTO_HOP_BY_HOP, PROTO_ROUTING, PROTO_FRAGMENT, PROTO_AH, PROTO_DESTINATION))
_unpack = Struct("!IHBB16s16s").unpack_from
_pack = Struct("!IHBB16s16s").pack
_unpack_fragment = Struct("!BBHI").unpack_from
_pack_fragment = Struct("!BBHI").pack


class Ipv6Header:
    """The 40 octets."""

    __slots__ = ("dst", "flow_label", "hop_limit", "next_header", "payload_length", "src", "traffic_class")

    traffic_class: int
    flow_label: int
    payload_length: int
    next_header: int
    hop_limit: int
    src: bytes
    dst: bytes


def decode(data: bytes | bytearray | memoryview, offset: int = 0, end: int | None = None) -> Ipv6Header:
    """Read a header whose payload lies before `end` (octets after it are padding).

    DecodeError: version or lengths are wrong. Jumbograms (RFC 2675) are not known.
    """
    header = decode_quoted(data, offset, end)
    if header.payload_length > (len(data) if end is None else end) - offset - 40:
        raise DecodeError("IPv6 packet cut short")
    return header


def decode_quoted(data: bytes | bytearray | memoryview, offset: int = 0, end: int | None = None) -> Ipv6Header:
    """As `decode`, for a packet of which only the beginning is there."""
    if (len(data) if end is None else end) - offset < 40:
        raise DecodeError("IPv6 header cut short")
    header = Ipv6Header()
    word, header.payload_length, header.next_header, header.hop_limit, header.src, header.dst = _unpack(data, offset)
    if word >> 28 != 6:
        raise DecodeError("IP version is not 6")
    header.traffic_class = word >> 20 & 0xFF
    header.flow_label = word & 0xFFFFF
    return header


def encode(
    src: bytes,
    dst: bytes,
    next_header: int,
    payload_length: int,
    *,
    traffic_class: int = 0,
    flow_label: int = 0,
    hop_limit: int = 64,
) -> bytes:
    """The header; `payload_length` counts extension headers too."""
    return _pack(0x6000_0000 | traffic_class << 20 | flow_label, payload_length, next_header, hop_limit, src, dst)


class FragmentHeader:
    """RFC 8200 4.5; `offset` in octets. `position` is where the header starts in the buffer it was read from."""

    __slots__ = ("ident", "more", "next_header", "offset", "position")

    def __init__(self, next_header: int, offset: int, more: bool, ident: int, position: int = 0) -> None:
        self.next_header = next_header
        self.offset = offset
        self.more = more
        self.ident = ident
        self.position = position

    @property
    def atomic(self) -> bool:
        """A whole packet in one fragment (RFC 6946): taken as it is, never kept with others."""
        return not self.offset and not self.more


def decode_fragment(data: bytes | bytearray | memoryview, offset: int, end: int) -> FragmentHeader:
    """Read a fragment header. DecodeError: cut short."""
    if end - offset < 8:
        raise DecodeError("IPv6 fragment header cut short")
    next_header, _reserved, bits, ident = _unpack_fragment(data, offset)
    return FragmentHeader(next_header, bits & 0xFFF8, bits & 1 != 0, ident, offset)


def encode_fragment(next_header: int, offset: int, more: bool, ident: int) -> bytes:
    """The 8 octets of a fragment header; `offset` in octets, a multiple of 8."""
    return _pack_fragment(next_header, 0, offset & 0xFFF8 | more, ident)


class Extensions:
    """What a walk along the extension headers found.

    `protocol` and `offset`: the first header that is no extension header, and where it starts. With a `fragment` that
    is not atomic the walk ends there: they say what the fragment carries. `next_header_pointer` is where, counted from
    the IPv6 header, the field stands that named `protocol` (for Parameter Problem, code 1).

    With `discard` the packet is refused. If `problem_code` is not None then an ICMPv6 Parameter Problem with that code
    and `problem_pointer` is due, to a multicast destination's sender only if `answer_multicast`.
    """

    __slots__ = (
        "answer_multicast",
        "discard",
        "fragment",
        "has_ah",
        "next_header_pointer",
        "offset",
        "problem_code",
        "problem_pointer",
        "protocol",
        "router_alert",
    )

    def __init__(self, protocol: int, offset: int) -> None:
        self.protocol = protocol
        self.offset = offset
        self.fragment: FragmentHeader | None = None
        self.next_header_pointer = 6
        self.discard = False
        self.problem_code: int | None = None
        self.problem_pointer = 0
        self.answer_multicast = False
        self.router_alert: int | None = None
        self.has_ah = False

    def _refuse(self, code: int, pointer: int) -> None:
        self.discard = True
        self.problem_code = code
        self.problem_pointer = pointer


def walk(
    data: bytes | bytearray | memoryview, offset: int, next_header: int, end: int, start: int | None = None
) -> Extensions:
    """Follow the chain of extension headers from `offset` as the destination does (RFC 8200 4).

    `start` is where the IPv6 header is (40 octets before `offset` unless given). DecodeError: a header or an option is
    cut short, or there are more than a host need look at (RFC 8504 5.3).
    """
    found = Extensions(next_header, offset)
    if next_header not in _EXTENSIONS:
        return found
    if start is None:
        start = offset - 40
    count = 0
    while found.protocol in _EXTENSIONS:
        if count == _MAX_HEADERS:
            raise DecodeError("too many IPv6 extension headers")
        if found.protocol == PROTO_HOP_BY_HOP and count:
            # Only right after the IPv6 header (RFC 8200 4.1).
            found._refuse(UNKNOWN_NEXT_HEADER, found.next_header_pointer)
            break
        if _step(found, data, end, start):
            break
        count += 1
    return found


def _step(found: Extensions, data: bytes | bytearray | memoryview, end: int, start: int) -> bool:
    """Go over the extension header at `found.offset`; True when the walk is over."""
    protocol, offset = found.protocol, found.offset
    after = _after(data, offset, protocol, end)
    if protocol == PROTO_FRAGMENT:
        found.fragment = decode_fragment(data, offset, end)
    elif protocol == PROTO_ROUTING:
        if data[offset + 3]:
            # No routing type is known here (type 0: RFC 5095), and segments are left.
            found._refuse(ERRONEOUS_FIELD, offset + 2 - start)
            return True
    elif protocol == PROTO_AH:
        found.has_ah = True
    elif _options(found, data, offset + 2, after, start):
        return True
    found.protocol, found.offset, found.next_header_pointer = data[offset], after, offset - start
    return found.fragment is not None and not found.fragment.atomic


def _after(data: bytes | bytearray | memoryview, offset: int, protocol: int, end: int) -> int:
    """Where the extension header at `offset` ends. Never less than 8 octets on, so that every walk ends."""
    if end - offset < 8:
        raise DecodeError("IPv6 extension header cut short")
    if protocol == PROTO_FRAGMENT:
        return offset + 8
    after = offset + ((data[offset + 1] + 2) << 2 if protocol == PROTO_AH else (data[offset + 1] + 1) << 3)
    if after > end or after < offset + 8:
        raise DecodeError("IPv6 extension header cut short")
    return after


def _options(found: Extensions, data: bytes | bytearray | memoryview, offset: int, end: int, start: int) -> bool:
    """Read hop-by-hop or destination options (RFC 8200 4.2); True when one of them refuses the packet."""
    for _ in range(_MAX_OPTIONS):
        if offset >= end:
            return False
        kind = data[offset]
        if kind == OPTION_PAD1:
            offset += 1
            continue
        if end - offset < 2 or offset + 2 + data[offset + 1] > end:
            raise DecodeError("IPv6 option cut short")
        length = data[offset + 1]
        if kind == OPTION_ROUTER_ALERT and length == 2:
            found.router_alert = data[offset + 2] << 8 | data[offset + 3]
        elif kind >> 6 and kind != OPTION_PADN:
            # Unknown, and the two highest bits say what to do: 1 discard, 2 and 3 tell the sender too.
            found.discard = True
            if kind >> 6 > 1:
                found._refuse(UNKNOWN_OPTION, offset - start)
                found.answer_multicast = kind >> 6 == 2
            return True
        offset += 2 + length
    raise DecodeError("too many IPv6 options")


def skip(
    data: bytes | bytearray | memoryview, offset: int, next_header: int, end: int, limit: int = _MAX_HEADERS
) -> Extensions:
    """Find the transport header without a look at options, and past nothing that is cut short (for quoted packets).

    When the chain is cut, or after `limit` headers, `protocol` is the one that was not passed. Raises nothing.
    """
    found = Extensions(next_header, offset)
    for _ in range(limit):
        protocol, offset = found.protocol, found.offset
        if protocol not in _EXTENSIONS:
            break
        try:
            after = _after(data, offset, protocol, end)
        except DecodeError:
            break
        if protocol == PROTO_FRAGMENT:
            found.fragment = decode_fragment(data, offset, end)
        found.protocol, found.offset = data[offset], after
        if found.fragment is not None and found.fragment.offset:
            break
    return found


def chain_complete(data: bytes | bytearray | memoryview, offset: int, next_header: int, end: int) -> bool:
    """Whether a first fragment holds the whole header chain with the start of the upper-layer header (RFC 7112 3)."""
    found = skip(data, offset, next_header, end)
    if found.protocol in _EXTENSIONS:
        return False
    needed = 0 if found.protocol == PROTO_NONE else 20 if found.protocol == PROTO_TCP else 8
    return end - found.offset >= needed
