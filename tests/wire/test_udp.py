import pytest

from pytools.errors import DecodeError
from pytools.wire import udp
from pytools.wire.addr import parse_ip
from pytools.wire.checksum import fold, ones_sum, pseudo_header_sum

SRC, DST = parse_ip("192.0.2.1"), parse_ip("198.51.100.7")
SRC6, DST6 = parse_ip("2001:db8::1"), parse_ip("2001:db8::2")


@pytest.mark.parametrize(("src", "dst"), [(SRC, DST), (SRC6, DST6)])
@pytest.mark.parametrize("payload", [b"", b"a", b"ab", bytes(1001)])
def test_a_datagram_decodes_to_what_was_encoded_and_its_sum_is_right(src: bytes, dst: bytes, payload: bytes) -> None:
    datagram = udp.encode(src, dst, 40000, 53, payload)
    header = udp.decode(memoryview(b"??" + datagram + b"padding"), 2)
    assert (header.source_port, header.destination_port, header.length) == (40000, 53, 8 + len(payload))
    assert datagram[8:] == payload
    assert udp.checksum_ok(b"??" + datagram + b"padding", 2, header, src, dst)
    assert not udp.checksum_ok(datagram, 0, udp.decode(datagram), src, src)


def test_a_sum_of_zero_is_sent_as_all_ones() -> None:
    # The payload is chosen so that the sum over everything is 0xFFFF and its inverse 0 (RFC 768).
    rest = fold(pseudo_header_sum(SRC, DST, 17, 10) + ones_sum((1).to_bytes(2, "big") + b"\0\2\0\x0a"))
    payload = (0xFFFF - rest).to_bytes(2, "big")
    datagram = udp.encode(SRC, DST, 1, 2, payload)
    assert datagram[6:8] == b"\xff\xff"
    assert udp.checksum_ok(datagram, 0, udp.decode(datagram), SRC, DST)


def test_no_checksum_is_fine_over_ipv4_and_refused_over_ipv6() -> None:
    datagram = b"\0\1\0\2\0\x0a\0\0hi"
    assert udp.checksum_ok(datagram, 0, udp.decode(datagram), SRC, DST)
    assert not udp.checksum_ok(datagram, 0, udp.decode(datagram), SRC6, DST6)


@pytest.mark.parametrize(
    ("datagram", "reason"),
    [
        (b"", "UDP header cut short"),
        (bytes(7), "UDP header cut short"),
        (b"\0\1\0\2\0\7\0\0", "UDP length below 8"),
        (b"\0\1\0\2\0\0\0\0", "UDP length below 8"),
        (b"\0\1\0\2\0\x09\0\0", "UDP datagram cut short"),
    ],
)
def test_a_bad_length_is_refused_with_the_reason(datagram: bytes, reason: str) -> None:
    with pytest.raises(DecodeError, match=reason):
        udp.decode(datagram)


def test_the_end_counts_and_not_the_buffer() -> None:
    with pytest.raises(DecodeError, match="UDP datagram cut short"):
        udp.decode(b"\0\1\0\2\0\x09\0\0x", 0, 8)
