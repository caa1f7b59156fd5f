"""Attributes and messages as linux/netlink.h lays them out."""

import struct

from hypothesis import given
from hypothesis import strategies as st

from pytools.link.netlink import attribute, attributes, messages


def test_an_attribute_is_padded_to_four_octets_but_counts_its_own():
    assert attribute(3, b"lo\0") == struct.pack("=HH", 7, 3) + b"lo\0\0"


@given(st.dictionaries(st.integers(1, 0x3FFF), st.binary(max_size=40)))
def test_attributes_come_back(values):
    assert attributes(b"".join(attribute(kind, value) for kind, value in values.items()), 0) == values


def test_the_flag_bits_of_a_kind_are_cut_off():
    assert attributes(attribute(0x8000 | 18, b"abcd"), 0) == {18: b"abcd"}


@given(st.binary(max_size=200))
def test_octets_that_are_no_messages_end_the_reading(octets):
    for _, _, payload in messages(octets):
        attributes(payload, 0)


def test_messages_are_cut_at_their_length():
    first = struct.pack("=IHHII", 19, 24, 2, 7, 0) + b"abc" + b"\0"
    second = struct.pack("=IHHII", 16, 3, 2, 7, 0)
    assert list(messages(first + second)) == [(24, 2, b"abc"), (3, 2, b"")]
