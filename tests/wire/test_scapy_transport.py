"""UDP and TCP against scapy on random packets, each way."""

from scapy.layers.inet import (
    IP,
    TCP,
    UDP,
)
from scapy.layers.inet6 import (
    IPv6,
)
from scapy.packet import Packet

from pytools.wire import tcp, tcp_options, udp
from pytools.wire.addr import parse_ip

from .oracle import Some


def some_pair(some: Some) -> tuple[str, str, Packet]:
    """Two addresses of one family and scapy's network header between them."""
    if some.flag():
        src, dst = some.ip4(), some.ip4()
        return src, dst, IP(src=src, dst=dst)
    src, dst = some.ip6(), some.ip6()
    return src, dst, IPv6(src=src, dst=dst)


def test_udp_datagrams_of_scapy_are_read(some: Some, volume: int) -> None:
    for _ in range(volume):
        src, dst, network = some_pair(some)
        payload = some.octets(60)
        packet = UDP(sport=some.number(16), dport=some.number(16)) / payload
        octets, start = bytes(network / packet), len(network)
        header = udp.decode(octets, start)
        assert (header.source_port, header.destination_port) == (packet.sport, packet.dport)
        assert header.length == 8 + len(payload)
        assert udp.checksum_ok(octets, start, header, parse_ip(src), parse_ip(dst))


def test_scapy_reads_our_udp_datagrams(some: Some, volume: int) -> None:
    for _ in range(volume):
        src, dst, network = some_pair(some)
        source_port, destination_port, payload = some.number(16), some.number(16), some.octets(60)
        octets = udp.encode(parse_ip(src), parse_ip(dst), source_port, destination_port, payload)
        packet = UDP(octets)
        assert (packet.sport, packet.dport, packet.len) == (source_port, destination_port, len(octets))
        again = bytes(network / UDP(sport=source_port, dport=destination_port) / payload)[len(network) :]
        assert octets == again


def scapy_tcp_options(some: Some) -> list[tuple[object, object]]:
    blocks = tuple(some.number(32) for _ in range(2 * some.rng.randint(1, 2)))
    possible: list[tuple[object, object]] = [
        ("MSS", some.number(16)),
        ("WScale", some.number(8)),
        ("SAckOK", b""),
        ("SAck", blocks),
        ("Timestamp", (some.number(32), some.number(32))),
        ("NOP", None),
        (253, some.rng.randbytes(2)),
    ]
    return some.rng.sample(possible, some.rng.randint(0, 5))


def same_tcp_options(ours: tcp_options.TcpOptions, theirs: list[tuple[object, object]]) -> None:
    said = dict(theirs)
    assert not ours.malformed
    assert ours.mss == said.get("MSS")
    assert ours.window_scale == said.get("WScale")
    assert ours.sack_permitted == ("SAckOK" in said)
    edges = said.get("SAck", ())
    assert isinstance(edges, tuple)
    assert tuple(edge for block in ours.sack for edge in block) == edges
    assert (ours.ts_val, ours.ts_ecr) == said.get("Timestamp", (None, None))
    assert dict(ours.unknown).get(253) == said.get(253)


def test_tcp_segments_of_scapy_are_read_with_their_options(some: Some, volume: int) -> None:
    for _ in range(volume):
        src, dst, network = some_pair(some)
        options, payload = scapy_tcp_options(some), some.octets(40)
        packet = TCP(
            sport=some.number(16),
            dport=some.number(16),
            seq=some.number(32),
            ack=some.number(32),
            flags=some.number(9),
            window=some.number(16),
            urgptr=some.number(16),
            options=options,
        )
        octets, start = bytes(network / packet / payload), len(network)
        header = tcp.decode(octets, start)
        assert (header.source_port, header.destination_port) == (packet.sport, packet.dport)
        assert (header.seq, header.ack, header.window) == (packet.seq, packet.ack, packet.window)
        assert (header.flags, header.urgent_pointer) == (int(packet.flags), packet.urgptr)
        assert octets[start + header.header_length :] == payload
        assert tcp.checksum_ok(octets, start, len(octets), parse_ip(src), parse_ip(dst))
        same_tcp_options(tcp_options.parse(header.options), options)


def our_tcp_options(some: Some) -> bytes:
    blocks = [(some.number(32), some.number(32)) for _ in range(some.rng.randint(1, 2))]
    possible = [
        tcp_options.mss(some.number(16)),
        tcp_options.window_scale(some.number(8)),
        tcp_options.sack_permitted(),
        tcp_options.sack(blocks),
        tcp_options.timestamps(some.number(32), some.number(32)),
        tcp_options.option(253, some.rng.randbytes(2)),
    ]
    return b"".join(some.rng.sample(possible, some.rng.randint(0, 4)))


def test_scapy_reads_our_tcp_segments_with_their_options(some: Some, volume: int) -> None:
    for _ in range(volume):
        src, dst, network = some_pair(some)
        ports, numbers = (some.number(16), some.number(16)), (some.number(32), some.number(32))
        flags, window, urgent = some.number(9), some.number(16), some.number(16)
        options, payload = our_tcp_options(some), some.octets(40)
        header = tcp.encode(*ports, *numbers, flags, window, options, urgent_pointer=urgent)
        octets = tcp.finish(parse_ip(src), parse_ip(dst), header + payload)
        packet = TCP(octets)
        assert (packet.sport, packet.dport, packet.seq, packet.ack) == (*ports, *numbers)
        assert (int(packet.flags), packet.window, packet.urgptr) == (flags, window, urgent)
        assert bytes(packet.payload) == payload
        same_tcp_options(tcp_options.parse(options), [pair for pair in packet.options if pair[0] != "EOL"])
        del packet.chksum
        assert bytes(network / packet)[len(network) :] == octets
