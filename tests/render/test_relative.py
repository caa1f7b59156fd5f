"""TCP numbers count from each direction's first."""

from pytools.engine import ETHERNET, RAW_IP
from pytools.render.relative import ABSOLUTE, RelativeNumbers
from pytools.wire import ethernet, ipv4, ipv6, tcp
from pytools.wire.addr import parse_ip

US, PEER = parse_ip("10.0.0.10"), parse_ip("10.0.0.2")


def segment(src: bytes, dst: bytes, ports: tuple[int, int], seq: int, ack: int, flags: int) -> bytes:
    body = tcp.encode(*ports, seq, ack, flags, 1000)
    if len(src) == 4:
        return ipv4.encode(src, dst, tcp.PROTOCOL, len(body)) + body
    return ipv6.encode(src, dst, tcp.PROTOCOL, len(body)) + body


def test_both_directions_count_from_their_syn():
    numbers = RelativeNumbers()
    assert numbers.of(segment(US, PEER, (4000, 80), 7, 0, tcp.SYN), RAW_IP) == (7, 0)
    assert numbers.of(segment(PEER, US, (80, 4000), 9, 8, tcp.SYN | tcp.ACK), RAW_IP) == (9, 7)
    assert numbers.of(segment(US, PEER, (4000, 80), 8, 10, tcp.ACK), RAW_IP) == (7, 9)


def test_in_midstream_they_count_from_the_first_that_was_seen():
    numbers = RelativeNumbers()
    assert numbers.of(segment(US, PEER, (4000, 80), 500, 900, tcp.ACK), RAW_IP) == (500, 900)
    assert numbers.of(segment(PEER, US, (80, 4000), 950, 500, tcp.ACK), RAW_IP) == (900, 500)


def test_a_new_syn_starts_anew():
    numbers = RelativeNumbers()
    numbers.of(segment(US, PEER, (4000, 80), 7, 0, tcp.SYN), RAW_IP)
    assert numbers.of(segment(US, PEER, (4000, 80), 70_000, 0, tcp.SYN), RAW_IP) == (70_000, 0)


def test_ipv6_and_ethernet_are_read_too():
    frame = segment(bytes(15) + b"\1", bytes(15) + b"\2", (1, 2), 7, 0, tcp.SYN)
    link = ethernet.encode(b"\2" * 6, b"\4" * 6, ethernet.ETHERTYPE_IPV6)
    assert RelativeNumbers().of(link + frame, ETHERNET) == (7, 0)


def test_what_is_not_tcp_has_no_base():
    for frame in (b"", b"\0", bytes(14), bytes(60), ipv4.encode(US, PEER, 17, 8) + bytes(8), b"\x45" + bytes(30)):
        assert RelativeNumbers().of(frame, RAW_IP) == ABSOLUTE
        assert RelativeNumbers().of(frame, ETHERNET) == ABSOLUTE
