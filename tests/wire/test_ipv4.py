import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytools.errors import DecodeError
from pytools.wire import ipv4
from pytools.wire.addr import parse_ip

# The header that many texts on RFC 1071 use: UDP, checksum 0xb861.
KNOWN = bytes.fromhex("45000073000040004011b861c0a80001c0a800c7")
ADDRESSES = st.binary(min_size=4, max_size=4)


def test_a_known_header_decodes_and_encodes() -> None:
    header = ipv4.decode(KNOWN + bytes(0x73 - 20))
    assert (header.header_length, header.tos, header.total_length, header.ident) == (20, 0, 0x73, 0)
    assert (header.dont_fragment, header.more_fragments, header.fragment_offset) == (True, False, 0)
    assert (header.ttl, header.protocol, header.checksum, header.options) == (64, ipv4.PROTO_UDP, 0xB861, b"")
    assert (header.src, header.dst) == (parse_ip("192.168.0.1"), parse_ip("192.168.0.199"))
    assert ipv4.header_checksum_ok(KNOWN)
    assert ipv4.encode(header.src, header.dst, 17, 0x73 - 20, dont_fragment=True) == KNOWN


@pytest.mark.parametrize("at", range(20))
def test_a_flipped_bit_anywhere_in_the_header_breaks_its_sum(at: int) -> None:
    octets = bytearray(KNOWN)
    octets[at] ^= 0x04
    assert not ipv4.header_checksum_ok(octets)


def test_octets_after_the_total_length_are_padding() -> None:
    frame = ipv4.encode(bytes(4), bytes(4), 1, 4) + bytes(40)
    assert ipv4.decode(frame).total_length == 24


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"", "IPv4 header cut short"),
        (KNOWN[:19], "IPv4 header cut short"),
        (b"\x65" + KNOWN[1:], "IP version is not 4"),
        (b"\x55" + KNOWN[1:], "IP version is not 4"),
        (b"\x44" + KNOWN[1:], "IPv4 header length below 20"),
        (b"\x40" + KNOWN[1:], "IPv4 header length below 20"),
        (b"\x46" + KNOWN[1:], "IPv4 header cut short"),
        (b"\x45\0\0\x13" + KNOWN[4:], "IPv4 total length below header length"),
        (b"\x46\0\0\x14" + KNOWN[4:] + bytes(4), "IPv4 total length below header length"),
        (b"\x45\0\0\0" + KNOWN[4:], "IPv4 total length below header length"),
        (KNOWN, "IPv4 packet cut short"),
    ],
)
def test_a_bad_header_is_refused_with_the_reason(packet: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        ipv4.decode(packet)


def test_a_packet_must_end_before_the_given_end() -> None:
    packet = ipv4.encode(bytes(4), bytes(4), 1, 4) + bytes(4)
    assert ipv4.decode(b"??" + packet + b"!!", 2, 26).total_length == 24
    with pytest.raises(DecodeError, match="cut short"):
        ipv4.decode(b"??" + packet, 2, 25)


def test_a_quoted_header_may_say_more_than_is_there_or_nonsense() -> None:
    assert ipv4.decode_quoted(KNOWN).total_length == 0x73
    assert ipv4.decode_quoted(b"\x45\0\0\x05" + KNOWN[4:]).total_length == 5
    with pytest.raises(DecodeError, match="cut short"):
        ipv4.decode_quoted(KNOWN, 0, 19)


def test_options_are_padded_to_a_multiple_of_four_and_counted() -> None:
    octets = ipv4.encode(bytes(4), bytes(4), 1, 10, options=b"\x94\x04\0\0\x01")
    assert len(octets) == 28
    header = ipv4.decode_quoted(octets)
    assert (header.header_length, header.total_length) == (28, 38)
    assert header.options == b"\x94\x04\0\0\x01\0\0\0"
    assert ipv4.header_checksum_ok(octets, 0, 28)


@given(
    ADDRESSES,
    ADDRESSES,
    st.fixed_dictionaries(
        {
            "tos": st.integers(0, 255),
            "ident": st.integers(0, 65535),
            "dont_fragment": st.booleans(),
            "more_fragments": st.booleans(),
            "fragment_offset": st.integers(0, 8191).map(lambda n: n * 8),
            "ttl": st.integers(0, 255),
            "options": st.integers(0, 10).flatmap(lambda n: st.binary(min_size=4 * n, max_size=4 * n)),
        }
    ),
    st.integers(0, 255),
    st.integers(0, 100),
)
def test_what_is_encoded_decodes_to_the_same(
    src: bytes, dst: bytes, fields: dict[str, object], protocol: int, length: int
) -> None:
    octets = ipv4.encode(src, dst, protocol, length, **fields)  # type: ignore[arg-type]
    header = ipv4.decode(memoryview(octets + bytes(length)))
    assert {name: getattr(header, name) for name in fields} == fields
    assert (header.src, header.dst, header.protocol) == (src, dst, protocol)
    assert header.total_length == header.header_length + length == len(octets) + length
    assert ipv4.header_checksum_ok(octets, 0, header.header_length)
