import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytools.errors import DecodeError
from pytools.wire import ethernet

DST, SRC = b"\x02\0\0\0\0\2", b"\x02\0\0\0\0\1"
MACS = st.binary(min_size=6, max_size=6)
TCIS = st.lists(st.integers(0, 0xFFFF), max_size=4).map(tuple)


def test_an_untagged_header_has_14_octets() -> None:
    frame = DST + SRC + b"\x08\x00payload"
    header = ethernet.decode(frame)
    assert (header.dst, header.src, header.ethertype) == (DST, SRC, ethernet.ETHERTYPE_IPV4)
    assert (header.vlans, header.header_length) == ((), 14)
    assert ethernet.encode(DST, SRC, 0x0800) == frame[:14]


def test_a_tag_gives_its_tci_with_priority_and_the_inner_type() -> None:
    frame = DST + SRC + b"\x81\x00\x60\x0a\x08\x06"
    header = ethernet.decode(frame)
    assert header.vlans == (3 << 13 | 10,)
    assert (header.ethertype, header.header_length) == (ethernet.ETHERTYPE_ARP, 18)
    assert ethernet.encode(DST, SRC, 0x0806, header.vlans) == frame


def test_a_priority_tag_is_a_tag_with_vlan_zero() -> None:
    assert ethernet.decode(DST + SRC + b"\x81\x00\xe0\x00\x08\x00").vlans == (7 << 13,)


def test_of_two_tags_the_outer_is_a_service_tag() -> None:
    frame = DST + SRC + b"\x88\xa8\x00\x64\x81\x00\x00\x0a\x86\xdd"
    header = ethernet.decode(frame)
    assert (header.vlans, header.ethertype, header.header_length) == ((100, 10), ethernet.ETHERTYPE_IPV6, 22)
    assert ethernet.encode(DST, SRC, 0x86DD, (100, 10)) == frame


@pytest.mark.parametrize("outer", [b"\x81\x00", b"\x91\x00"])
def test_older_outer_tags_are_understood(outer: bytes) -> None:
    assert ethernet.decode(DST + SRC + outer + b"\x00\x64\x81\x00\x00\x0a\x08\x00").vlans == (100, 10)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (b"", "Ethernet header cut short"),
        (bytes(13), "Ethernet header cut short"),
        (DST + SRC + b"\x05\xff" + bytes(100), "802.3 frame with a length"),
        (DST + SRC + b"\x00\x26" + bytes(100), "802.3 frame with a length"),
        (DST + SRC + b"\x81\x00", "VLAN tag cut short"),
        (DST + SRC + b"\x81\x00\x00\x0a\x08", "VLAN tag cut short"),
        (DST + SRC + b"\x81\x00\x00\x0a\x81\x00\x00", "VLAN tag cut short"),
        (DST + SRC + b"\x81\x00\x00\x0a\x00\x26", "802.3 frame with a length"),
        (DST + SRC + b"\x81\x00\x00\x0a" * 300, "too many VLAN tags"),
    ],
)
def test_a_bad_frame_is_refused_with_the_reason(frame: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        ethernet.decode(frame)


def test_nothing_beyond_the_end_is_read() -> None:
    frame = DST + SRC + b"\x81\x00\x00\x0a\x08\x00"
    assert ethernet.decode(b"??" + frame + b"!!", 2, 20).ethertype == 0x0800
    with pytest.raises(DecodeError):
        ethernet.decode(frame, 0, 17)
    with pytest.raises(DecodeError):
        ethernet.decode(frame, 8)


@given(MACS, MACS, st.integers(0x600, 0xFFFF).filter(lambda t: t not in (0x8100, 0x88A8, 0x9100)), TCIS)
def test_what_is_encoded_decodes_to_the_same(dst: bytes, src: bytes, ethertype: int, vlans: tuple[int, ...]) -> None:
    octets = ethernet.encode(dst, src, ethertype, vlans)
    header = ethernet.decode(memoryview(octets))
    assert (header.dst, header.src, header.ethertype, header.vlans) == (dst, src, ethertype, vlans)
    assert header.header_length == len(octets)
