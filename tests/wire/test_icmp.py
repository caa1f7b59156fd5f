import pytest

from pytools.errors import DecodeError
from pytools.wire import icmp, ipv4, udp
from pytools.wire.addr import parse_ip

A, B = parse_ip("192.0.2.1"), parse_ip("198.51.100.7")


def test_an_echo_has_its_identifier_sequence_and_payload() -> None:
    octets = icmp.encode_echo(0x1234, 7, b"abcd")
    # 0x0800 + 0x1234 + 0x0007 + 0x6162 + 0x6364 = 0xdf01, inverted 0x20fe.
    assert octets == bytes.fromhex("0800 20fe 1234 0007 61626364")
    message = icmp.decode(memoryview(b"??" + octets), 2)
    assert (message.type, message.code, message.checksum) == (icmp.ECHO, 0, 0x20FE)
    assert (message.ident, message.seq, message.word, message.body_offset) == (0x1234, 7, 0x12340007, 10)
    assert icmp.encode_echo(1, 2, b"", icmp.ECHO_REPLY)[:2] == b"\0\0"


@pytest.mark.parametrize("payload", [b"", b"x", b"odd", bytes(65507)])
def test_the_checksum_of_any_length_is_right_and_a_flipped_bit_is_seen(payload: bytes) -> None:
    octets = icmp.encode_echo(1, 2, payload)
    assert icmp.checksum_ok(b"????" + octets + b"!", 4, 4 + len(octets))
    broken = bytearray(octets)
    broken[-1] ^= 1
    assert not icmp.checksum_ok(broken, 0, len(broken))


def test_a_message_is_made_of_its_word_and_parts() -> None:
    octets = icmp.encode(icmp.REDIRECT, icmp.REDIRECT_HOST, 0x0A000001, b"abc", b"defg")
    message = icmp.decode(octets)
    assert icmp.gateway(message) == parse_ip("10.0.0.1")
    assert octets[message.body_offset :] == b"abcdefg"
    assert icmp.checksum_ok(octets, 0, len(octets))


def test_an_error_carries_a_gateway_an_mtu_or_a_pointer() -> None:
    too_big = icmp.decode(icmp.encode(icmp.UNREACHABLE, icmp.FRAGMENTATION_NEEDED, 1400))
    assert icmp.next_hop_mtu(too_big) == 1400
    problem = icmp.decode(icmp.encode(icmp.PARAMETER_PROBLEM, 0, 22 << 24))
    assert icmp.pointer(problem) == 22


@pytest.mark.parametrize("length", [0, 4, 7])
def test_a_short_message_is_refused(length: int) -> None:
    with pytest.raises(DecodeError, match="ICMP message cut short"):
        icmp.decode(bytes(length))
    with pytest.raises(DecodeError, match="ICMP message cut short"):
        icmp.decode(bytes(20), 3, 3 + length)


def test_the_quote_ends_before_the_extensions_that_rfc_4884_announces() -> None:
    # Length in 32-bit words, in the second octet of the word.
    announced = icmp.decode(icmp.encode(icmp.TIME_EXCEEDED, 0, 32 << 16))
    assert icmp.quote_end(announced, 200) == 8 + 128
    assert icmp.quote_end(announced, 100) == 100
    plain = icmp.decode(icmp.encode(icmp.TIME_EXCEEDED, 0, 0))
    assert icmp.quote_end(plain, 200) == 200
    redirect = icmp.decode(icmp.encode(icmp.REDIRECT, 0, 0x0A200001))
    assert icmp.quote_end(redirect, 200) == 200


def test_the_quoted_packet_is_read_from_the_body() -> None:
    datagram = udp.encode(A, B, 40000, 33434, b"payload")
    original = ipv4.encode(A, B, 17, len(datagram), ttl=1, ident=99) + datagram
    error = icmp.encode(icmp.TIME_EXCEEDED, 0, 0, original[:28])
    quoted = icmp.quoted(error, 8, len(error))
    assert (quoted.src, quoted.dst, quoted.protocol, quoted.ident, quoted.ttl) == (A, B, 17, 99, 1)
    assert (quoted.source_port, quoted.destination_port) == (40000, 33434)
    with pytest.raises(DecodeError):
        icmp.quoted(error, 8, 20)


def test_every_message_has_a_word() -> None:
    assert icmp.TYPE_NAMES[icmp.ECHO] == "ECHO"
    assert icmp.TYPE_NAMES[icmp.ECHO_REPLY] == "REPLY"
    assert all((icmp.UNREACHABLE, code) in icmp.CODE_NAMES for code in range(16))
    assert {type_ for type_, _ in icmp.CODE_NAMES} <= set(icmp.TYPE_NAMES)
    assert set(icmp.TYPE_NAMES) >= icmp.ERRORS


def test_a_type_and_code_are_named_or_numbered() -> None:
    assert icmp.name(icmp.ECHO, 0) == "ECHO"
    assert icmp.name(icmp.UNREACHABLE, 1) == "UNREACH host"
    assert icmp.name(icmp.UNREACHABLE, 99) == "UNREACH code 99"
    assert icmp.name(77, 3) == "type 77 code 3"
