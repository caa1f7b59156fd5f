import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytools.errors import DecodeError
from pytools.wire import ipv6
from pytools.wire.addr import parse_ip
from pytools.wire.ipv6 import Extensions

SRC, DST = parse_ip("2001:db8::1"), parse_ip("2001:db8::2")
ADDRESSES = st.binary(min_size=16, max_size=16)
ICMPV6, TCP, UDP = ipv6.PROTO_ICMPV6, ipv6.PROTO_TCP, ipv6.PROTO_UDP
HBH, ROUTING, FRAGMENT, AH, DEST = 0, 43, 44, 51, 60


def options(next_header: int, body: bytes = b"\1\4\0\0\0\0") -> bytes:
    """A hop-by-hop or destination options header; `body` fills it."""
    assert (len(body) + 2) % 8 == 0
    return bytes((next_header, (len(body) - 6) // 8)) + body


def walk(first: int, *headers: bytes, payload: bytes = bytes(8)) -> Extensions:
    """Walk along headers after an IPv6 header that stands at octet 14 of a frame."""
    data = bytes(54) + b"".join(headers) + payload
    return ipv6.walk(memoryview(data), 54, first, len(data))


def test_a_header_has_the_layout_of_rfc_8200() -> None:
    octets = ipv6.encode(SRC, DST, ICMPV6, 5, traffic_class=0xB8, flow_label=0x12345, hop_limit=255)
    assert octets == bytes.fromhex("6b812345 0005 3a ff") + SRC + DST
    header = ipv6.decode(memoryview(b"??" + octets + bytes(9)), 2)
    assert (header.traffic_class, header.flow_label, header.payload_length) == (0xB8, 0x12345, 5)
    assert (header.next_header, header.hop_limit, header.src, header.dst) == (ICMPV6, 255, SRC, DST)


@given(ADDRESSES, ADDRESSES, st.integers(0, 255), st.integers(0, 255), st.integers(0, 0xFFFFF), st.integers(0, 255))
def test_what_is_encoded_decodes_to_the_same(
    src: bytes, dst: bytes, next_header: int, traffic_class: int, flow_label: int, hop_limit: int
) -> None:
    fields = {"traffic_class": traffic_class, "flow_label": flow_label, "hop_limit": hop_limit}
    header = ipv6.decode(ipv6.encode(src, dst, next_header, 0, **fields))
    assert {name: getattr(header, name) for name in fields} == fields
    assert (header.src, header.dst, header.next_header, header.payload_length) == (src, dst, next_header, 0)


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "IPv6 header cut short"),
        (ipv6.encode(SRC, DST, TCP, 0)[:39], "IPv6 header cut short"),
        (b"\x45" + bytes(50), "IP version is not 6"),
        (ipv6.encode(SRC, DST, TCP, 1), "IPv6 packet cut short"),
    ],
)
def test_a_bad_header_is_refused_with_the_reason(packet: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        ipv6.decode(packet)


def test_a_quoted_header_may_say_more_than_is_there() -> None:
    assert ipv6.decode_quoted(ipv6.encode(SRC, DST, TCP, 1000)).payload_length == 1000
    with pytest.raises(DecodeError, match="cut short"):
        ipv6.decode_quoted(ipv6.encode(SRC, DST, TCP, 0), 0, 39)


def test_without_extensions_the_walk_ends_where_it_starts() -> None:
    found = walk(TCP)
    assert (found.protocol, found.offset, found.next_header_pointer) == (TCP, 54, 6)
    assert (found.fragment, found.discard, found.problem_code) == (None, False, None)


def test_every_extension_is_passed_and_the_field_that_named_the_payload_is_known() -> None:
    routing = bytes((AH, 0, 0, 0)) + bytes(4)
    authentication = bytes((DEST, 4)) + bytes(22)
    found = walk(HBH, options(DEST), options(ROUTING), routing, authentication, options(UDP))
    assert (found.protocol, found.offset) == (UDP, 54 + 8 + 8 + 8 + 24 + 8)
    assert found.next_header_pointer == 40 + 8 + 8 + 8 + 24
    assert found.has_ah
    assert not found.discard


def test_a_longer_header_counts_in_units_of_eight_octets() -> None:
    found = walk(DEST, options(TCP, b"\1\x14" + bytes(20)))
    assert (found.protocol, found.offset) == (TCP, 54 + 24)


def test_no_next_header_ends_the_walk() -> None:
    found = walk(DEST, options(ipv6.PROTO_NONE), payload=b"")
    assert found.protocol == ipv6.PROTO_NONE
    assert not found.discard


def test_a_router_alert_is_seen() -> None:
    assert walk(HBH, options(ICMPV6, b"\5\2\0\0\1\0")).router_alert == 0
    assert walk(HBH, options(ICMPV6, b"\5\2\x12\x34\0\0")).router_alert == 0x1234
    assert walk(HBH, options(ICMPV6)).router_alert is None


@pytest.mark.parametrize(
    ("kind", "discard", "code", "answer_multicast"),
    [(0x1E, False, None, False), (0x5E, True, None, False), (0x9E, True, 2, True), (0xDE, True, 2, False)],
)
@pytest.mark.parametrize("header", [HBH, DEST])
def test_the_highest_bits_of_an_unknown_option_say_what_to_do(
    header: int, kind: int, discard: bool, code: int | None, answer_multicast: bool
) -> None:
    found = walk(header, options(TCP, bytes((0, 1, 0, kind, 0, 0))))
    assert (found.discard, found.problem_code, found.answer_multicast) == (discard, code, answer_multicast)
    if code is not None:
        assert found.problem_pointer == 40 + 2 + 3
    if not discard:
        assert found.protocol == TCP


def test_hop_by_hop_options_stand_only_right_after_the_ipv6_header() -> None:
    found = walk(DEST, options(HBH), options(TCP))
    assert (found.discard, found.problem_code, found.problem_pointer) == (True, ipv6.UNKNOWN_NEXT_HEADER, 40)


@pytest.mark.parametrize("routing_type", [0, 2, 4, 200])
def test_a_routing_header_with_segments_left_is_a_problem_of_its_type(routing_type: int) -> None:
    left = bytes((TCP, 0, routing_type, 1)) + bytes(4)
    found = walk(HBH, options(ROUTING), left)
    assert (found.discard, found.problem_code, found.problem_pointer) == (True, ipv6.ERRONEOUS_FIELD, 40 + 8 + 2)
    done = bytes((TCP, 0, routing_type, 0)) + bytes(4)
    assert walk(ROUTING, done).protocol == TCP


def test_a_fragment_ends_the_walk() -> None:
    found = walk(HBH, options(FRAGMENT), ipv6.encode_fragment(DEST, 1480, True, 0xDEADBEEF), options(TCP))
    fragment = found.fragment
    assert fragment is not None
    assert (fragment.offset, fragment.more, fragment.ident, fragment.next_header) == (1480, True, 0xDEADBEEF, DEST)
    assert (fragment.position, fragment.atomic) == (54 + 8, False)
    assert (found.protocol, found.offset) == (DEST, 54 + 16)


def test_an_atomic_fragment_is_walked_through() -> None:
    found = walk(FRAGMENT, ipv6.encode_fragment(DEST, 0, False, 7), options(TCP))
    assert found.fragment is not None
    assert found.fragment.atomic
    assert (found.protocol, found.offset, found.next_header_pointer) == (TCP, 54 + 16, 40 + 8)


def test_after_reassembly_pointers_count_from_the_ipv6_header_that_is_named() -> None:
    data = bytes(200) + options(TCP, b"\x9e\4\0\0\0\0")
    assert ipv6.walk(data, 200, DEST, len(data), start=100).problem_pointer == 102


@given(st.integers(0, 0x1FFF).map(lambda n: n * 8), st.booleans(), st.integers(0, 2**32 - 1), st.integers(0, 255))
def test_a_fragment_header_decodes_to_what_was_encoded(offset: int, more: bool, ident: int, next_header: int) -> None:
    octets = ipv6.encode_fragment(next_header, offset, more, ident)
    fragment = ipv6.decode_fragment(octets, 0, 8)
    assert (fragment.next_header, fragment.offset, fragment.more, fragment.ident) == (next_header, offset, more, ident)
    with pytest.raises(DecodeError, match="IPv6 fragment header cut short"):
        ipv6.decode_fragment(octets, 0, 7)


@pytest.mark.parametrize(
    ("first", "octets", "reason"),
    [
        (HBH, b"", "IPv6 extension header cut short"),
        (DEST, bytes(7), "IPv6 extension header cut short"),
        (DEST, b"\6\1" + bytes(6), "IPv6 extension header cut short"),
        (ROUTING, b"\6\xff" + bytes(100), "IPv6 extension header cut short"),
        (FRAGMENT, bytes(7), "IPv6 extension header cut short"),
        # Payload Len 0 would be an 8-octet header, RFC 4302's least is 12; but only what moves on is passed.
        (AH, b"\6\xff" + bytes(100), "IPv6 extension header cut short"),
        (DEST, b"\6\0\1\5\0\0\0\0", "IPv6 option cut short"),
        (HBH, b"\6\0\0\0\0\0\0\1", "IPv6 option cut short"),
        (HBH, b"\6\0\x1e\xff\0\0\0\0", "IPv6 option cut short"),
    ],
)
def test_what_is_cut_short_is_refused_with_the_reason(first: int, octets: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        walk(first, octets, payload=b"")


def test_a_host_walks_only_so_far() -> None:
    with pytest.raises(DecodeError, match="too many IPv6 extension headers"):
        walk(DEST, options(DEST) * 1000)
    with pytest.raises(DecodeError, match="too many IPv6 options"):
        walk(DEST, options(TCP, bytes(2046)))
    many = options(DEST) * 15 + options(TCP)
    assert walk(DEST, many).protocol == TCP


def test_skip_judges_nothing_and_stops_where_the_quote_is_cut() -> None:
    chain = options(ROUTING, b"\x9e\4\0\0\0\0") + bytes((TCP, 0, 0, 9)) + bytes(4)
    whole = ipv6.skip(chain + b"1234", 0, HBH, len(chain) + 4)
    assert (whole.protocol, whole.offset) == (TCP, 16)
    cut = ipv6.skip(chain, 0, HBH, 12)
    assert (cut.protocol, cut.offset) == (ROUTING, 8)
    one = ipv6.skip(chain, 0, HBH, 16, limit=1)
    assert (one.protocol, one.offset) == (ROUTING, 8)


def test_skip_goes_into_a_first_fragment_and_not_into_a_later_one() -> None:
    first = ipv6.encode_fragment(DEST, 0, True, 1) + options(TCP)
    assert ipv6.skip(first, 0, FRAGMENT, 16).protocol == TCP
    later = ipv6.encode_fragment(DEST, 8, True, 1) + options(TCP)
    assert ipv6.skip(later, 0, FRAGMENT, 16).protocol == DEST


@pytest.mark.parametrize(
    ("first", "octets", "complete"),
    [
        (TCP, bytes(20), True),
        (TCP, bytes(19), False),
        (UDP, bytes(8), True),
        (UDP, bytes(7), False),
        (DEST, options(ICMPV6) + bytes(8), True),
        (DEST, options(ICMPV6) + bytes(4), False),
        (DEST, options(ipv6.PROTO_NONE), True),
        (DEST, options(DEST) + b"\x06\1" + bytes(6), False),
    ],
)
def test_a_first_fragment_must_hold_the_whole_chain(first: int, octets: bytes, complete: bool) -> None:
    assert ipv6.chain_complete(octets, 0, first, len(octets)) == complete
