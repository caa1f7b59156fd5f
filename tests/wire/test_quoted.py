import pytest

from pytools.errors import DecodeError
from pytools.wire import icmp, icmp6, ipv4, ipv6, quoted, tcp, udp
from pytools.wire.addr import parse_ip

A, B = parse_ip("192.0.2.1"), parse_ip("198.51.100.7")
A6, B6 = parse_ip("2001:db8::1"), parse_ip("2001:db8::2")


def packet4(protocol: int, payload: bytes, **fields: int) -> bytes:
    return ipv4.encode(A, B, protocol, len(payload), **fields) + payload  # type: ignore[arg-type]


def packet6(protocol: int, payload: bytes, **fields: int) -> bytes:
    return ipv6.encode(A6, B6, protocol, len(payload), **fields) + payload


ECHO = icmp.encode_echo(77, 3, bytes(56))
ECHO6 = icmp6.encode_echo(A6, B6, 77, 3, bytes(56))
SEGMENT = tcp.encode(40000, 80, 0xFFFFFFF0, 0, tcp.SYN, 1000)


def test_an_echo_of_which_eight_octets_were_quoted_is_known_again() -> None:
    whole = packet4(1, ECHO, ttl=3, tos=0x10, ident=5)
    found = quoted.decode(whole, 0, 28)
    assert (found.family, found.src, found.dst, found.protocol) == (4, A, B, 1)
    assert (found.ttl, found.tos, found.ident, found.total_length) == (3, 0x10, 5, len(whole))
    assert (found.icmp_type, found.icmp_code, found.icmp_ident, found.icmp_seq) == (icmp.ECHO, 0, 77, 3)
    assert (found.packet, found.transport_offset) == (whole[:28], 20)
    assert (found.source_port, found.sequence) == (None, None)


def test_options_move_the_transport_header() -> None:
    options = b"\x94\4\0\0"
    packet = ipv4.encode(A, B, 17, 12, options=options) + udp.encode(A, B, 1000, 53, b"abcd")
    found = quoted.decode4(packet, 0, len(packet))
    assert (found.transport_offset, found.source_port, found.destination_port) == (24, 1000, 53)


def test_tcp_gives_ports_and_sequence_number() -> None:
    found = quoted.decode4(packet4(6, SEGMENT), 0, 28)
    assert (found.source_port, found.destination_port, found.sequence) == (40000, 80, 0xFFFFFFF0)
    found = quoted.decode4(packet4(6, SEGMENT), 0, 24)
    assert (found.source_port, found.destination_port, found.sequence) == (40000, 80, None)
    found = quoted.decode4(packet4(6, SEGMENT), 0, 23)
    assert (found.source_port, found.destination_port) == (None, None)


def test_less_than_eight_octets_of_icmp_give_only_its_type() -> None:
    found = quoted.decode4(packet4(1, ECHO), 0, 27)
    assert (found.icmp_type, found.icmp_ident) == (icmp.ECHO, None)
    found = quoted.decode4(packet4(1, ECHO), 0, 21)
    assert found.icmp_type is None


def test_a_later_fragment_has_no_transport_header() -> None:
    found = quoted.decode4(packet4(17, bytes(16), fragment_offset=1480, more_fragments=1), 0, 36)
    assert (found.fragment_offset, found.more_fragments, found.source_port) == (1480, True, None)


def test_padding_after_the_quoted_packet_is_not_part_of_it() -> None:
    packet = packet4(1, ECHO)
    found = quoted.decode4(packet + bytes(60) + b"\x20\0extension", 0, len(packet) + 71)
    assert found.packet == packet


def test_a_total_length_in_the_wrong_byte_order_or_without_the_header_is_survived() -> None:
    packet = bytearray(packet4(1, ECHO))
    packet[2:4] = packet[3:1:-1]
    found = quoted.decode4(packet, 0, 48)
    assert (found.icmp_ident, len(found.packet)) == (77, 48)
    packet[2:4] = b"\0\x08"
    assert quoted.decode4(packet, 0, 48).packet == packet[:48]


def test_an_ipv6_echo_is_known_again() -> None:
    whole = packet6(58, ECHO6, hop_limit=2, traffic_class=4)
    found = quoted.decode(b"??" + whole, 2, 50)
    assert (found.family, found.src, found.dst, found.protocol) == (6, A6, B6, 58)
    assert (found.ttl, found.tos, found.total_length, found.ident) == (2, 4, len(whole), 0)
    assert (found.icmp_type, found.icmp_ident, found.icmp_seq) == (icmp6.ECHO, 77, 3)
    assert found.packet == whole[:48]


def test_extension_headers_are_passed_even_if_they_are_what_is_wrong() -> None:
    chain = b"\x2b\0\x9e\4\0\0\0\0" + b"\x2c\0\0\x09\0\0\0\0" + ipv6.encode_fragment(58, 0, True, 0xABCD)
    found = quoted.decode6(packet6(0, chain + ECHO6), 0, 40 + 24 + 8)
    assert (found.protocol, found.transport_offset, found.icmp_ident) == (58, 64, 77)
    assert (found.ident, found.fragment_offset, found.more_fragments) == (0xABCD, 0, True)
    cut = quoted.decode6(packet6(0, chain + ECHO6), 0, 50)
    assert (cut.protocol, cut.icmp_type) == (43, None)


def test_a_later_ipv6_fragment_has_no_transport_header() -> None:
    found = quoted.decode6(packet6(44, ipv6.encode_fragment(58, 1448, False, 1) + ECHO6), 0, 112)
    assert (found.protocol, found.fragment_offset, found.icmp_type) == (58, 1448, None)


def test_icmp_of_the_other_family_is_not_taken_for_an_echo() -> None:
    assert quoted.decode4(packet4(58, ECHO6), 0, 28).icmp_type is None
    assert quoted.decode6(packet6(1, ECHO), 0, 48).icmp_type is None


@pytest.mark.parametrize("octets", [b"", b"\x45", bytes(20), b"\x60" + bytes(38), b"\x4f" + bytes(40)])
def test_not_even_a_whole_ip_header_is_refused(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        quoted.decode(octets, 0, len(octets))


@pytest.mark.parametrize(
    ("packet", "phrase"),
    [
        (packet4(1, ECHO), "echo id 77 seq 3 to 198.51.100.7"),
        (packet4(1, icmp.encode_echo(1, 2, b"", icmp.ECHO_REPLY)), "echo reply id 1 seq 2 to 198.51.100.7"),
        (packet4(1, icmp.encode(13, 0)), "icmp type 13 code 0 to 198.51.100.7"),
        (packet4(1, ECHO)[:24], "echo to 198.51.100.7"),
        (packet4(17, udp.encode(A, B, 1000, 53, b"")), "udp 1000 to 198.51.100.7:53"),
        (packet4(6, SEGMENT), "tcp 40000 to 198.51.100.7:80 seq 4294967280"),
        (packet4(47, b"12345678"), "protocol 47 to 198.51.100.7"),
        (packet4(17, bytes(8), fragment_offset=8, ident=9), "protocol 17 frag 9 at 8 to 198.51.100.7"),
        (packet6(58, ECHO6), "echo id 77 seq 3 to 2001:db8::2"),
        (packet6(17, udp.encode(A6, B6, 1000, 53, b"")), "udp 1000 to [2001:db8::2]:53"),
    ],
)
def test_a_phrase_names_the_quoted_packet(packet: bytes, phrase: str) -> None:
    assert quoted.about(quoted.decode(packet, 0, len(packet))) == phrase
