import pytest

from pytools.errors import DecodeError
from pytools.wire import icmp6, ipv6
from pytools.wire.addr import ALL_NODES, ALL_ROUTERS, UNSPECIFIED6, parse_ip, parse_mac
from pytools.wire.icmp6 import (
    NdOptions,
    NeighborAdvertisement,
    NeighborSolicitation,
    Prefix,
    Redirect,
    RouterAdvertisement,
    RouterSolicitation,
)

A, B = parse_ip("fe80::1"), parse_ip("fe80::2")
MAC, MAC2 = parse_mac("02:00:00:00:00:0a"), parse_mac("02:00:00:00:00:0b")


def fields(thing: object) -> dict[str, object]:
    return {name: getattr(thing, name) for name in thing.__slots__}  # type: ignore[attr-defined]


@pytest.mark.parametrize("payload", [b"", b"x", bytes(1000)])
def test_an_echo_is_summed_with_its_pseudo_header(payload: bytes) -> None:
    octets = icmp6.encode_echo(A, B, 7, 9, payload)
    message = icmp6.decode(octets)
    assert (message.type, message.code, message.ident, message.seq) == (icmp6.ECHO, 0, 7, 9)
    assert icmp6.checksum_ok(b"??" + octets + b"!", 2, 2 + len(octets), A, B)
    assert not icmp6.checksum_ok(octets, 0, len(octets), A, A)
    assert icmp6.encode_echo(A, B, 7, 9, payload, icmp6.ECHO_REPLY)[0] == icmp6.ECHO_REPLY


def test_errors_are_the_types_below_128() -> None:
    assert all(map(icmp6.is_error, (1, 2, 3, 4, 127)))
    assert not any(map(icmp6.is_error, (128, 129, 135, 255)))


def test_the_quoted_packet_is_read_from_the_body() -> None:
    original = ipv6.encode(A, B, 58, 8) + icmp6.encode_echo(A, B, 7, 9, b"")
    error = icmp6.encode(B, A, icmp6.PACKET_TOO_BIG, 0, 1280, original)
    message = icmp6.decode(error)
    assert message.word == 1280
    assert icmp6.quoted(error, message.body_offset, len(error)).icmp_seq == 9


def test_the_quote_ends_before_the_extensions_that_rfc_4884_announces() -> None:
    # Length in 64-bit words, in the first octet of the word.
    announced = icmp6.decode(icmp6.encode(A, B, icmp6.TIME_EXCEEDED, 0, 16 << 24))
    assert icmp6.quote_end(announced, 300) == 8 + 128
    assert icmp6.quote_end(announced, 100) == 100
    too_big = icmp6.decode(icmp6.encode(A, B, icmp6.PACKET_TOO_BIG, 0, 16 << 24))
    assert icmp6.quote_end(too_big, 300) == 300


def test_a_solicitation_has_the_layout_of_rfc_4861() -> None:
    octets = NeighborSolicitation(B, NdOptions(source_mac=MAC)).encode(A, B)
    assert octets[:2] + octets[4:] == bytes.fromhex("8700 00000000") + B + b"\1\1" + MAC
    assert icmp6.checksum_ok(octets, 0, len(octets), A, B)
    asked = NeighborSolicitation.decode(memoryview(b"??" + octets), 2, 2 + len(octets))
    assert (asked.target, asked.options.source_mac, asked.options.target_mac) == (B, MAC, None)


@pytest.mark.parametrize("flags", range(8))
def test_an_advertisement_has_three_flags(flags: int) -> None:
    router, solicited, override = bool(flags & 4), bool(flags & 2), bool(flags & 1)
    said = NeighborAdvertisement(A, NdOptions(target_mac=MAC), router=router, solicited=solicited, override=override)
    octets = said.encode(A, ALL_NODES)
    assert octets[4] == flags << 5
    again = NeighborAdvertisement.decode(octets, 0, len(octets))
    assert (again.router, again.solicited, again.override, again.target) == (router, solicited, override, A)
    assert again.options.target_mac == MAC


def test_a_router_is_solicited_with_or_without_an_address() -> None:
    octets = RouterSolicitation(NdOptions(source_mac=MAC)).encode(A, ALL_ROUTERS)
    assert RouterSolicitation.decode(octets, 0, len(octets)).options.source_mac == MAC
    octets = RouterSolicitation(NdOptions()).encode(UNSPECIFIED6, ALL_ROUTERS)
    assert len(octets) == 8
    assert RouterSolicitation.decode(octets, 0, 8).options.source_mac is None


def test_a_router_advertisement_carries_its_parameters_prefixes_and_mtu() -> None:
    prefixes = (Prefix(parse_ip("2001:db8::"), 64, True, False, 3600, 1800), Prefix(A, 10, False, True, 2**32 - 1, 0))
    said = RouterAdvertisement(
        NdOptions(source_mac=MAC, mtu=1492, prefixes=prefixes),
        hop_limit=64,
        managed=False,
        other=True,
        lifetime_s=1800,
        reachable_ms=30_000,
        retransmit_ms=1000,
    )
    octets = said.encode(A, ALL_NODES)
    again = RouterAdvertisement.decode(octets, 0, len(octets))
    assert fields(again) | {"options": None} == fields(said) | {"options": None}
    assert (again.options.source_mac, again.options.mtu) == (MAC, 1492)
    assert [fields(prefix) for prefix in again.options.prefixes] == [fields(prefix) for prefix in prefixes]
    managed = RouterAdvertisement(NdOptions(), managed=True).encode(A, ALL_NODES)
    assert RouterAdvertisement.decode(managed, 0, 16).managed


def test_a_redirect_names_target_destination_and_the_packet() -> None:
    packet = bytes(range(50))
    octets = Redirect(A, B, NdOptions(target_mac=MAC, redirected=packet)).encode(A, B)
    better = Redirect.decode(octets, 0, len(octets))
    assert (better.target, better.destination, better.options.target_mac) == (A, B, MAC)
    assert better.options.redirected is not None
    assert better.options.redirected.startswith(packet)
    assert len(octets) % 8 == 0


def test_of_two_options_of_a_kind_the_first_counts() -> None:
    double = (
        NdOptions(MAC, MAC, 1500, (), b"one", b"nonce1").encode() + NdOptions(MAC2, MAC2, 9, (), b"two", b"n2").encode()
    )
    options = icmp6.decode_options(double, 0, len(double))
    assert (options.source_mac, options.target_mac, options.mtu, options.nonce) == (MAC, MAC, 1500, b"nonce1")
    assert options.redirected is not None
    assert options.redirected.startswith(b"one")


def test_unknown_options_and_known_ones_of_strange_length_are_passed_over() -> None:
    octets = b"\x1f\2" + bytes(14) + b"\5\2" + bytes(14) + b"\3\1" + bytes(6) + NdOptions(source_mac=MAC).encode()
    options = icmp6.decode_options(octets, 0, len(octets))
    assert (options.source_mac, options.mtu, options.prefixes) == (MAC, None, ())


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"\1\0" + MAC, "ND option of length zero"),
        (b"\x1f\0" + MAC, "ND option of length zero"),
        (b"\1", "ND option of length zero"),
        (b"\1\2" + MAC, "ND option cut short"),
        (b"\1\1\2", "ND option cut short"),
        (b"\1\2" + bytes(14), "ND link address that is no MAC"),
        (b"\2\2" + bytes(14), "ND link address that is no MAC"),
        (b"\x1f\1" + bytes(6), None),
        ((b"\x1f\1" + bytes(6)) * 100, "too many ND options"),
    ],
)
def test_bad_options_are_refused_in_every_message(octets: bytes, reason: str | None) -> None:
    for decode, length in (
        (NeighborSolicitation.decode, 24),
        (NeighborAdvertisement.decode, 24),
        (RouterSolicitation.decode, 8),
        (RouterAdvertisement.decode, 16),
        (Redirect.decode, 40),
    ):
        message = bytes(length) + octets
        if reason is None:
            decode(message, 0, len(message))
            continue
        with pytest.raises(DecodeError, match=reason):
            decode(message, 0, len(message))


def test_short_messages_are_refused() -> None:
    for decode, length in (
        (NeighborSolicitation.decode, 24),
        (NeighborAdvertisement.decode, 24),
        (RouterSolicitation.decode, 8),
        (RouterAdvertisement.decode, 16),
        (Redirect.decode, 40),
    ):
        with pytest.raises(DecodeError, match="ND message cut short"):
            decode(bytes(100), 0, length - 1)


@pytest.mark.parametrize("decode", [NeighborSolicitation.decode, NeighborAdvertisement.decode, Redirect.decode])
def test_a_multicast_target_is_refused(decode: object) -> None:
    with pytest.raises(DecodeError, match="ND target is multicast"):
        decode(bytes(8) + ALL_NODES + bytes(16), 0, 40)  # type: ignore[operator]


def test_a_type_and_code_are_named_or_numbered() -> None:
    assert icmp6.name(icmp6.PACKET_TOO_BIG, 0) == "TOO-BIG"
    assert icmp6.name(icmp6.UNREACHABLE, 3) == "UNREACH address"
    assert icmp6.name(icmp6.ECHO, 9) == "ECHO code 9"
    assert icmp6.name(200, 0) == "type 200 code 0"
