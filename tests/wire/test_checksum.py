import random

from hypothesis import given
from hypothesis import strategies as st

from pytools.wire.addr import parse_ip
from pytools.wire.checksum import checksum, fold, ones_sum, pseudo_header_sum, update


def naive(data: bytes) -> int:
    """RFC 1071 4.1, word by word with an end-around carry."""
    data += bytes(len(data) & 1)
    total = 0
    for at in range(0, len(data), 2):
        total += data[at] << 8 | data[at + 1]
        total = (total & 0xFFFF) + (total >> 16)
    return total


def test_the_example_of_rfc_1071_section_3_sums_to_ddf2() -> None:
    data = bytes.fromhex("0001f203f4f5f6f7")
    assert ones_sum(data) == 0xDDF2
    assert checksum(data) == 0x220D


def test_zeros_sum_to_zero_and_nothing_else_does() -> None:
    assert ones_sum(b"") == ones_sum(b"\0") == ones_sum(bytes(65536)) == 0
    assert ones_sum(b"\xff\xff") == ones_sum(b"\xff\xff" * 4000) == ones_sum(b"\x80\x00\x7f\xff") == 0xFFFF


def test_an_odd_last_octet_counts_as_if_followed_by_zero() -> None:
    assert ones_sum(b"\x12\x34\x56") == 0x1234 + 0x5600
    assert ones_sum(b"\x01") == 0x0100


@given(st.binary(max_size=100))
def test_the_sum_is_the_one_of_rfc_1071_word_by_word(data: bytes) -> None:
    assert ones_sum(data) == naive(data)
    assert checksum(data) == 0xFFFF - naive(data)


def test_large_data_is_summed_in_pieces_with_the_same_result() -> None:
    rng = random.Random(1)
    for length in (2047, 2048, 2049, 2050, 4095, 4096, 4097, 6143, 65535, 65536):
        data = rng.randbytes(length)
        assert ones_sum(data) == ones_sum(bytearray(data)) == ones_sum(memoryview(data)) == naive(data)
        assert checksum(data, 0x1234) == 0xFFFF - fold(naive(data) + 0x1234)


@given(st.binary(max_size=64).filter(lambda data: len(data) % 2 == 0), st.integers(0, 0xFFFF))
def test_data_with_its_checksum_in_it_sums_to_all_ones(data: bytes, initial: int) -> None:
    check = checksum(data, initial)
    assert fold(ones_sum(data + check.to_bytes(2, "big")) + initial) == 0xFFFF


def test_the_example_of_rfc_1624_updates_to_zero_and_not_to_all_ones() -> None:
    assert update(0xDD2F, b"\x55\x55", b"\x32\x85") == 0x0000


WORDS = st.binary(max_size=10).map(lambda data: data[: len(data) & ~1])


@given(WORDS, WORDS, WORDS, WORDS)
def test_an_update_equals_a_new_checksum(before: bytes, old: bytes, new: bytes, after: bytes) -> None:
    before = b"\x45\x00" + before  # as every header, not all zero
    assert update(checksum(before + old + after), old, new) == checksum(before + new + after)


def test_the_pseudo_header_is_summed_alike_in_both_families() -> None:
    src, dst = parse_ip("192.0.2.1"), parse_ip("198.51.100.7")
    assert pseudo_header_sum(src, dst, 17, 12) == naive(src + dst + bytes((0, 17, 0, 12)))
    src, dst = parse_ip("2001:db8::1"), parse_ip("fe80::2")
    header = src + dst + (70000).to_bytes(4, "big") + bytes((0, 0, 0, 58))
    assert pseudo_header_sum(src, dst, 58, 70000) == naive(header)
