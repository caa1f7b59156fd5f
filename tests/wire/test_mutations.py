"""No octets, however bad, raise anything but DecodeError out of a decoder, or anything at all out of the notation."""

import contextlib
import random
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from pytools.engine import ETHERNET, RAW_IP
from pytools.errors import DecodeError
from pytools.wire import (
    arp,
    ethernet,
    gso,
    icmp,
    icmp6,
    ipv4,
    ipv4_options,
    ipv6,
    notation,
    quoted,
    tcp,
    tcp_options,
    udp,
    vnet,
)
from pytools.wire.addr import parse_ip
from pytools.wire.icmp6 import NdOptions, Prefix

A, B = parse_ip("10.0.0.1"), parse_ip("10.0.0.2")
A6, B6 = parse_ip("fd00::1"), parse_ip("fd00::2")
MAC = b"\x02\0\0\0\0\1"


def frames() -> list[bytes]:
    """A valid frame of every protocol."""
    timestamps = ipv4_options.record(ipv4_options.timestamp(ipv4_options.TS_AND_ADDRESS), A, 1)
    routes = [ipv4_options.record_route(3), ipv4_options.source_route([A, B]), timestamps, ipv4_options.router_alert()]
    options = NdOptions(MAC, MAC, 1500, (Prefix(A6, 64, True, True, 1, 2),), bytes(48), b"nonce1")
    na = icmp6.NeighborAdvertisement(A6, options, router=True, solicited=True, override=True)
    segment = tcp.encode(
        1, 2, 3, 4, 0x18, 5, tcp_options.mss(1460) + tcp_options.timestamps(1, 2) + tcp_options.sack([(1, 2), (3, 4)])
    )
    echo, echo6 = icmp.encode_echo(7, 1, bytes(56)), icmp6.encode_echo(A6, B6, 7, 1, bytes(56))
    lost = ipv4.encode(A, B, 1, len(echo)) + echo
    lost6 = ipv6.encode(A6, B6, 58, len(echo6)) + echo6
    in4 = [
        (1, echo),
        (1, icmp.encode(icmp.UNREACHABLE, 4, 1400, lost)),
        (1, icmp.encode(icmp.TIME_EXCEEDED, 0, 32 << 16, lost, bytes(100))),
        (17, udp.encode(A, B, 1, 2, b"payload")),
        (6, tcp.finish(A, B, segment + bytes(100))),
    ]
    chain = b"\x2b\0\5\2\0\0\1\0" + b"\x3c\0\0\0\0\0\0\0" + b"\x33\0\1\4\0\0\0\0" + bytes((58, 4)) + bytes(22)
    in6 = [
        (58, echo6),
        (58, icmp6.encode(A6, B6, icmp6.PACKET_TOO_BIG, 0, 1280, lost6)),
        (58, na.encode(A6, B6)),
        (58, icmp6.NeighborSolicitation(A6, options).encode(A6, B6)),
        (58, icmp6.RouterSolicitation(options).encode(A6, B6)),
        (58, icmp6.RouterAdvertisement(options).encode(A6, B6)),
        (58, icmp6.Redirect(A6, B6, options).encode(A6, B6)),
        (0, chain + echo6),
        (44, ipv6.encode_fragment(58, 0, True, 9) + echo6),
        (17, udp.encode(A6, B6, 1, 2, b"payload")),
        (6, tcp.finish(A6, B6, segment + bytes(100))),
    ]
    packets = [ethernet.encode(B6[:6], MAC, 0x0806) + arp.encode(arp.REQUEST, MAC, A, bytes(6), B)]
    for number, (protocol, payload) in enumerate(in4):
        header = ipv4.encode(A, B, protocol, len(payload), options=routes[number % len(routes)])
        packets.append(ethernet.encode(MAC, MAC, 0x0800, (10,) * (number % 3)) + header + payload)
    for protocol, payload in in6:
        packets.append(ethernet.encode(MAC, MAC, 0x86DD) + ipv6.encode(A6, B6, protocol, len(payload)) + payload)
    return packets


FRAMES = frames()


def mutated(rng: random.Random) -> bytes:
    """A valid frame with bits flipped, octets set to what hurts, cut, lengthened, or spliced with another."""
    frame = bytearray(rng.choice(FRAMES))
    for _ in range(rng.randint(1, 4)):
        kind = rng.randrange(6)
        at = rng.randrange(len(frame)) if frame else 0
        if kind == 0 and frame:
            frame[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and frame:
            frame[at] = rng.choice((0, 1, 2, 4, 5, 6, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            del frame[at:]
        elif kind == 3:
            frame += rng.randbytes(rng.randrange(40))
        elif kind == 4:
            frame[at:] = rng.choice(FRAMES)[at:]
        else:
            frame[at : at + rng.randrange(9)] = rng.randbytes(rng.randrange(9))
    return bytes(frame)


Decoder = Callable[[bytes, int, int], object]
DECODERS: list[Decoder] = [
    ethernet.decode,
    arp.decode,
    ipv4.decode,
    ipv4.decode_quoted,
    ipv6.decode,
    ipv6.decode_quoted,
    ipv6.decode_fragment,
    icmp.decode,
    icmp.quoted,
    icmp6.quoted,
    icmp6.decode_options,
    icmp6.NeighborSolicitation.decode,
    icmp6.NeighborAdvertisement.decode,
    icmp6.RouterSolicitation.decode,
    icmp6.RouterAdvertisement.decode,
    icmp6.Redirect.decode,
    lambda data, offset, end: quoted.about(quoted.decode(data, offset, end)),
    *[lambda data, offset, end, nh=nh: ipv6.walk(data, offset, nh, end) for nh in (0, 43, 44, 51, 60)],
    udp.decode,
    tcp.decode,
    vnet.decode,
]


def decode_everything(data: bytes, offset: int, end: int) -> None:
    """Each decoder in turn on the same octets, in a buffer that holds more than them."""
    for decode in DECODERS:
        with contextlib.suppress(DecodeError):
            decode(data, offset, end)
    for first in (0, 43, 44, 51, 60):
        assert ipv6.skip(data, offset, first, end).offset <= end
        ipv6.chain_complete(data, offset, first, end)


def use_ipv4_options(octets: bytes) -> None:
    with contextlib.suppress(DecodeError):
        ipv4_options.parse(octets)
    with contextlib.suppress(DecodeError):
        assert len(ipv4_options.record(octets, A, 1, own=(B,))) == len(octets)
    with contextlib.suppress(DecodeError):
        back, _ = ipv4_options.reply(octets, A)
        assert len(back) <= len(octets) + 3
    with contextlib.suppress(DecodeError):
        ipv4_options.source_route_hop(octets, A)
    with contextlib.suppress(DecodeError):
        assert len(ipv4_options.copied(octets)) % 4 == 0


def read_frame(frame: bytes) -> None:
    for link_type in (ETHERNET, RAW_IP):
        text = notation.describe(frame, link_type, level=2)
        assert text.replace("\n", "").isprintable()
        assert text.isascii()
        assert len(gso.complete_received(frame, link_type)) == len(frame)
        with contextlib.suppress(DecodeError):
            for cut in gso.cut(frame, 50, link_type):
                assert len(cut) <= len(frame)


@given(st.binary(max_size=200), st.integers(0, 20), st.integers(0, 20))
def test_any_octets_are_decoded_or_refused(data: bytes, before: int, after: int) -> None:
    decode_everything(bytes(before) + data + bytes(after), before, before + len(data))
    read_frame(data)


@given(st.binary(max_size=40))
def test_any_options_are_read_or_refused(octets: bytes) -> None:
    use_ipv4_options(octets)
    tcp_options.parse(octets)


def test_valid_frames_are_described_without_a_complaint() -> None:
    for frame in FRAMES:
        text = notation.describe(frame, level=2)
        assert "malformed" not in text
        assert "bad" not in text


def test_mutated_frames_are_decoded_or_refused(rng: random.Random, volume: int) -> None:
    for _ in range(volume * 20):
        frame = mutated(rng)
        decode_everything(frame, 0, len(frame))
        decode_everything(frame, min(14, len(frame)), len(frame))
        use_ipv4_options(frame[34:74])
        read_frame(frame)
