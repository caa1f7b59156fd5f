import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytools.errors import DecodeError
from pytools.wire import tcp
from pytools.wire.addr import parse_ip

PAIRS = [
    (parse_ip("192.0.2.1"), parse_ip("198.51.100.7")),
    (parse_ip("2001:db8::1"), parse_ip("2001:db8::2")),
]


def test_a_header_has_the_layout_of_rfc_9293() -> None:
    octets = tcp.encode(0x1234, 80, 0x01020304, 0x05060708, tcp.SYN | tcp.ACK, 0xFFFF, b"\2\4\5\xb4", 0xABCD, 5)
    assert octets == bytes.fromhex("1234 0050 01020304 05060708 6012 ffff abcd 0005 020405b4")
    header = tcp.decode(memoryview(b"??" + octets + b"payload"), 2)
    assert (header.source_port, header.destination_port) == (0x1234, 80)
    assert (header.seq, header.ack, header.window) == (0x01020304, 0x05060708, 0xFFFF)
    assert (header.flags, header.header_length, header.options) == (tcp.SYN | tcp.ACK, 24, b"\2\4\5\xb4")
    assert (header.checksum, header.urgent_pointer) == (0xABCD, 5)


@given(
    *[st.integers(0, 65535)] * 2,
    *[st.integers(0, 2**32 - 1)] * 2,
    st.integers(0, 0x1FF),
    st.integers(0, 65535),
    st.binary(max_size=40),
)
def test_what_is_encoded_decodes_to_the_same(
    source: int, destination: int, seq: int, ack: int, flags: int, window: int, options: bytes
) -> None:
    octets = tcp.encode(source, destination, seq, ack, flags, window, options)
    header = tcp.decode(octets)
    assert (header.source_port, header.destination_port, header.seq, header.ack) == (source, destination, seq, ack)
    assert (header.flags, header.window) == (flags, window)
    assert header.options == options + bytes(-len(options) % 4)
    assert header.header_length == len(octets)


@pytest.mark.parametrize(("src", "dst"), PAIRS)
@pytest.mark.parametrize("payload", [b"", b"x", bytes(1000)])
def test_a_finished_segment_has_the_right_sum(src: bytes, dst: bytes, payload: bytes) -> None:
    segment = tcp.finish(src, dst, tcp.encode(1, 2, 3, 4, tcp.ACK, 5) + payload)
    assert tcp.checksum_ok(b"?" + segment, 1, 1 + len(segment), src, dst)
    assert not tcp.checksum_ok(segment, 0, len(segment), src, src)


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"", "TCP header cut short"),
        (tcp.encode(1, 2, 3, 4, 5, 6)[:19], "TCP header cut short"),
        (bytes(12) + b"\x40" + bytes(7), "TCP data offset below 5"),
        (bytes(20), "TCP data offset below 5"),
        (bytes(12) + b"\x60" + bytes(7), "TCP header cut short"),
        (bytes(12) + b"\xf0" + bytes(46), "TCP header cut short"),
    ],
)
def test_a_bad_header_is_refused_with_the_reason(octets: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        tcp.decode(octets)
