"""The codecs before the Linux kernel: it answers what we encode, and judges malformed packets where we do.

A station of ours (10.9.0.10, fd09::10, with a MAC of its own) sits on the test's end of a veth pair; the kernel in the
other namespace is the peer.
"""

import select
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from pytools.engine import Transmit
from pytools.errors import DecodeError
from pytools.wire import arp, ethernet, gso, icmp, icmp6, ipv4, ipv4_options, ipv6, tcp, tcp_options, udp, vnet
from pytools.wire.addr import parse_ip, parse_mac, solicited_node
from pytools.wire.checksum import pseudo_header_sum
from pytools.wire.icmp6 import NdOptions, NeighborAdvertisement, NeighborSolicitation
from pytools.wire.ipv4_options import OptionError
from pytools.wire.quoted import Quoted

pytestmark = pytest.mark.root

SOL_PACKET, PACKET_AUXDATA, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 8, 15, 23
OUR_MAC, PEER_MAC = parse_mac("02:00:00:09:00:aa"), parse_mac("02:00:00:09:00:02")
OURS, PEER = parse_ip("10.9.0.10"), parse_ip("10.9.0.2")
OURS6, PEER6 = parse_ip("fd09::10"), parse_ip("fd09::2")
SIZES = (0, 1, 56, 1400)


class Station:
    """One end of the wire, with only the codecs between the test and the peer."""

    def __init__(self, interface: str = "v0") -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.bind((interface, 0))
        self.vlan = 0

    def send(self, ethertype: int, payload: bytes, dst: bytes = PEER_MAC, vlans: tuple[int, ...] = ()) -> None:
        self.socket.send(ethernet.encode(dst, OUR_MAC, ethertype, vlans) + payload)

    def send4(self, protocol: int, payload: bytes, **fields: object) -> bytes:
        packet = ipv4.encode(OURS, PEER, protocol, len(payload), **fields) + payload  # type: ignore[arg-type]
        self.send(ethernet.ETHERTYPE_IPV4, packet)
        return packet

    def send6(self, next_header: int, payload: bytes) -> bytes:
        packet = ipv6.encode(OURS6, PEER6, next_header, len(payload)) + payload
        self.send(ethernet.ETHERTYPE_IPV6, packet)
        return packet

    def frames(self, seconds: float = 2.0) -> Iterator[bytes]:
        """What arrives within a while."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and select.select([self.socket], [], [], left)[0]:
            frame, ancillary, _, _ = self.socket.recvmsg(70_000, 256)
            for level, kind, data in ancillary:
                if (level, kind) == (SOL_PACKET, PACKET_AUXDATA):
                    self.vlan = struct.unpack_from("=IIIHHHH", data)[5]
            yield frame

    def expect4(self, protocol: int) -> tuple[ipv4.Ipv4Header, bytes, int]:
        """The next IPv4 packet for us: header, frame, where its payload starts. Answers ARP meanwhile."""
        for frame in self.frames():
            link = ethernet.decode(frame)
            if link.ethertype == ethernet.ETHERTYPE_ARP:
                self.answer_arp(arp.decode(frame, 14))
            elif link.ethertype == ethernet.ETHERTYPE_IPV4:
                header = ipv4.decode(frame, 14)
                if (header.dst, header.protocol) == (OURS, protocol):
                    assert ipv4.header_checksum_ok(frame, 14, header.header_length)
                    return header, frame, 14 + header.header_length
        raise AssertionError("no answer")

    def expect6(self, protocol: int, types: tuple[int, ...] = ()) -> tuple[ipv6.Ipv6Header, bytes, int]:
        """The next IPv6 packet for us of a protocol (and of ICMPv6 types). Answers solicitations meanwhile."""
        for frame in self.frames():
            if ethernet.decode(frame).ethertype != ethernet.ETHERTYPE_IPV6:
                continue
            header = ipv6.decode(frame, 14)
            found = ipv6.walk(frame, 54, header.next_header, 54 + header.payload_length)
            if found.protocol == 58 and frame[found.offset] == icmp6.NEIGHBOR_SOLICITATION:
                self.answer_solicitation(header, frame)
            elif (header.dst, found.protocol) == (OURS6, protocol) and (not types or frame[found.offset] in types):
                return header, frame, found.offset
        raise AssertionError("no answer")

    def answer_arp(self, asked: arp.ArpPacket) -> None:
        if (asked.operation, asked.target_ip) == (arp.REQUEST, OURS):
            said = arp.encode(arp.REPLY, OUR_MAC, OURS, asked.sender_mac, asked.sender_ip)
            self.send(ethernet.ETHERTYPE_ARP, said, asked.sender_mac)

    def answer_solicitation(self, header: ipv6.Ipv6Header, frame: bytes) -> None:
        if NeighborSolicitation.decode(frame, 54, len(frame)).target == OURS6:
            options = NdOptions(target_mac=OUR_MAC)
            said = NeighborAdvertisement(OURS6, options, router=False, solicited=True, override=True)
            message = said.encode(OURS6, header.src)
            self.send(0x86DD, ipv6.encode(OURS6, header.src, 58, len(message), hop_limit=255) + message)


@pytest.fixture
def station(wire) -> Iterator[Station]:
    with wire.ours.entered():
        one = Station()
    yield one
    one.socket.close()


def listening(wire, kind: socket.SocketKind, family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    with wire.peer.entered():
        server = socket.socket(family, kind)
    server.bind((address, port))
    return server


# Link addresses.


def test_the_kernel_answers_our_arp_request(station):
    question = arp.encode(arp.REQUEST, OUR_MAC, OURS, bytes(6), PEER)
    station.send(ethernet.ETHERTYPE_ARP, question, ethernet.BROADCAST)
    replies = (arp.decode(frame, 14) for frame in station.frames() if frame[12:14] == b"\x08\x06")
    reply = next(packet for packet in replies if packet.operation == arp.REPLY)
    assert (reply.sender_mac, reply.sender_ip) == (PEER_MAC, PEER)
    assert (reply.target_mac, reply.target_ip) == (OUR_MAC, OURS)


def test_the_kernel_answers_our_solicitation(station):
    group = solicited_node(PEER6)
    message = NeighborSolicitation(PEER6, NdOptions(source_mac=OUR_MAC)).encode(OURS6, group)
    packet = ipv6.encode(OURS6, group, 58, len(message), hop_limit=255) + message
    station.send(ethernet.ETHERTYPE_IPV6, packet, b"\x33\x33" + group[12:])
    header, frame, offset = station.expect6(58, (icmp6.NEIGHBOR_ADVERTISEMENT,))
    said = NeighborAdvertisement.decode(frame, offset, len(frame))
    assert (said.target, said.options.target_mac, said.solicited, said.override) == (PEER6, PEER_MAC, True, True)
    assert (header.src, header.hop_limit) == (PEER6, 255)
    assert icmp6.checksum_ok(frame, offset, len(frame), header.src, header.dst)


# Echo.


@pytest.mark.parametrize("size", SIZES)
def test_the_kernel_answers_our_echo(station, size):
    payload = bytes(index & 0xFF for index in range(size))
    station.send4(1, icmp.encode_echo(0x1234, 0xFFFF, payload), dont_fragment=True, ident=7, tos=0x10)
    header, frame, offset = station.expect4(1)
    end = 14 + header.total_length
    message = icmp.decode(frame, offset, end)
    assert (message.type, message.ident, message.seq) == (icmp.ECHO_REPLY, 0x1234, 0xFFFF)
    assert frame[message.body_offset : end] == payload
    assert icmp.checksum_ok(frame, offset, end)
    assert (header.src, header.ttl, header.tos) == (PEER, 64, 0x10)


@pytest.mark.parametrize("size", SIZES)
def test_the_kernel_answers_our_ipv6_echo_behind_extension_headers(station, size):
    payload = bytes(index & 0xFF for index in range(size))
    echo = icmp6.encode_echo(OURS6, PEER6, 0x1234, 3, payload)
    chain = b"\x3c\0\1\4\0\0\0\0" + b"\x2b\0\x1e\4\0\0\0\0" + b"\x3a\0\0\0\0\0\0\0"
    for first, packet in ((58, echo), (0, chain + echo)):
        station.send6(first, packet)
        header, frame, offset = station.expect6(58, (icmp6.ECHO_REPLY,))
        end = 54 + header.payload_length
        message = icmp6.decode(frame, offset, end)
        assert (message.ident, message.seq, frame[message.body_offset : end]) == (0x1234, 3, payload)
        assert icmp6.checksum_ok(frame, offset, end, header.src, header.dst)


def test_the_kernel_records_routes_and_times_where_we_would(station):
    ready = [
        b"\1" + ipv4_options.record_route(9),
        ipv4_options.record_route(1),
        ipv4_options.timestamp(ipv4_options.TS_ONLY, 9),
        ipv4_options.timestamp(ipv4_options.TS_ONLY, 2),
        ipv4_options.timestamp(ipv4_options.TS_ONLY, 1),
        ipv4_options.timestamp(ipv4_options.TS_AND_ADDRESS, 4),
        ipv4_options.timestamp(ipv4_options.TS_PRESPECIFIED, addresses=[PEER, OURS]),
        ipv4_options.timestamp(ipv4_options.TS_PRESPECIFIED, addresses=[OURS, PEER]),
        ipv4_options.router_alert() + ipv4_options.record_route(2),
    ]
    for options in ready:
        sent = ipv4_options.record(options, OURS, 1)
        station.send4(1, icmp.encode_echo(1, 1, b""), options=sent)
        header, _, _ = station.expect4(1)
        arrived = ipv4_options.record(sent, PEER, 2)
        answered, _ = ipv4_options.reply(ipv4_options.record(arrived, PEER, 3, count_overflow=False), OURS)
        assert without_times(header.options) == without_times(answered), options.hex()


def without_times(options: bytes) -> list[object]:
    """The options without the times that only the kernel's clock knows."""
    return [
        (one.flag, one.overflow, [who for who, _ in one.recorded], one.remaining)
        if isinstance(one, ipv4_options.TimestampOption)
        else one.octets
        for one in ipv4_options.parse(options)
    ]


def test_fragments_are_put_together_by_the_kernel_and_its_fragments_are_ours_to_read(station):
    echo = icmp.encode_echo(1, 2, bytes(range(256)) * 12)
    for offset in (1480, 0, 2960):
        piece = echo[offset : offset + 1480]
        station.send4(1, piece, ident=9, more_fragments=offset < 2960, fragment_offset=offset)
    pieces = {}
    while len(pieces) < 3:
        header, frame, start = station.expect4(1)
        pieces[header.fragment_offset] = (frame[start : 14 + header.total_length], header.more_fragments)
    reply = b"".join(pieces[offset][0] for offset in sorted(pieces))
    assert [pieces[offset][1] for offset in sorted(pieces)] == [True, True, False]
    assert reply[8:] == echo[8:]
    assert icmp.checksum_ok(reply, 0, len(reply))


def test_ipv6_fragments_are_put_together_by_the_kernel_and_its_fragments_are_ours_to_read(station):
    echo = icmp6.encode_echo(OURS6, PEER6, 1, 2, bytes(range(256)) * 8)
    for offset in (1232, 0):
        more = offset == 0
        piece = echo[:1232] if more else echo[1232:]
        station.send6(ipv6.PROTO_FRAGMENT, ipv6.encode_fragment(58, offset, more, 9) + piece)
    pieces = {}
    while len(pieces) < 2:
        header, frame, offset = station.expect6(58)
        fragment = ipv6.walk(frame, 54, header.next_header, 54 + header.payload_length).fragment
        assert fragment is not None
        pieces[fragment.offset] = frame[offset : 54 + header.payload_length]
    reply = b"".join(pieces[offset] for offset in sorted(pieces))
    assert reply[8:] == echo[8:]
    assert icmp6.checksum_ok(reply, 0, len(reply), PEER6, OURS6)


def test_a_tagged_frame_reaches_the_kernel_s_vlan_and_its_answer_has_the_tag(wire, station):
    if wire.peer.run("ip", "link", "add", "link", "v0", "name", "v0.10", "type", "vlan", "id", "10").returncode:
        pytest.skip("this kernel has no 802.1Q")
    wire.peer.ip("link set v0.10 up")
    wire.peer.ip("addr add 10.9.10.2/24 dev v0.10")
    ours, peer = parse_ip("10.9.10.10"), parse_ip("10.9.10.2")
    question = arp.encode(arp.REQUEST, OUR_MAC, ours, bytes(6), peer)
    station.send(ethernet.ETHERTYPE_ARP, question, ethernet.BROADCAST, vlans=(3 << 13 | 10,))
    replies = (arp.decode(frame, 14) for frame in station.frames() if frame[12:14] == b"\x08\x06")
    assert next(packet for packet in replies if packet.target_ip == ours).sender_ip == peer
    assert station.vlan & 0xFFF == 10


# What the kernel refuses, and where it points.


def parameter_problem4(station: Station) -> int:
    header, frame, offset = station.expect4(1)
    message = icmp.decode(frame, offset)
    assert message.type == icmp.PARAMETER_PROBLEM, icmp.name(message.type, message.code)
    assert icmp.quoted(frame, offset + 8, 14 + header.total_length).dst == PEER
    return icmp.pointer(message)


@pytest.mark.parametrize(
    "options",
    [
        "07000000",
        "01070000",
        "07010000",
        "0709040000000000",
        "99ff0000",
        "07020000",
        "83020000",
        "44020000",
        "44030500",
        "0707030000000000",
        "0707050000000000",
        "8907000000000000",
        "4408040000000000",
        "4408060000000000",
        "4408050100000000",
        "0703040703040000",
        "4404050044040500",
        "8303048903040000",
        "4404 05f0",
        "94030000",
    ],
)
def test_a_malformed_option_is_refused_by_the_kernel_with_our_pointer(station, options):
    octets = bytes.fromhex(options)
    with pytest.raises(OptionError) as refused:
        ipv4_options.record(octets, PEER, 0)
    station.send4(1, icmp.encode_echo(1, 1, b""), options=octets)
    assert parameter_problem4(station) == refused.value.pointer


@pytest.mark.parametrize(
    ("first", "chain"),
    [
        # Unknown options with each action that is answered.
        (60, "3a00 9e 04 00000000"),
        (0, "3a00 00 de 03 000000"),
        (0, "3c00 01 04 00000000  3a00 00 9e 03 000000"),
        # Segments left, of a type that nobody knows.
        (43, "3a00 c8 01 00000000"),
        (60, "2b00 01 04 00000000  3a00 02 01 00000000"),
        # Hop-by-hop options not at the start.
        (60, "0000 01 04 00000000  3a00 01 04 00000000"),
    ],
)
def test_an_extension_header_is_refused_by_the_kernel_with_our_code_and_pointer(station, first, chain):
    packet = station.send6(first, bytes.fromhex(chain) + icmp6.encode_echo(OURS6, PEER6, 1, 1, b""))
    found = ipv6.walk(packet, 40, first, len(packet))
    header, frame, offset = station.expect6(58, (icmp6.PARAMETER_PROBLEM, icmp6.ECHO_REPLY))
    message = icmp6.decode(frame, offset)
    assert (message.type, message.code, message.word) == (4, found.problem_code, found.problem_pointer)
    assert icmp6.checksum_ok(frame, offset, len(frame), header.src, header.dst)


def test_an_unknown_upper_protocol_is_refused_by_the_kernel_at_the_field_that_named_it(station):
    packet = station.send6(60, bytes.fromhex("c800 01 04 00000000") + b"payload!")
    found = ipv6.walk(packet, 40, 60, len(packet))
    _, frame, offset = station.expect6(58, (icmp6.PARAMETER_PROBLEM,))
    message = icmp6.decode(frame, offset)
    assert (message.code, message.word) == (icmp6.UNKNOWN_NEXT_HEADER, found.next_header_pointer)


def discarded_silently(packet: bytes) -> bool:
    try:
        found = ipv6.walk(packet, 40, 60, len(packet))
    except DecodeError:
        return True
    return found.discard and found.problem_code is None


@pytest.mark.parametrize("chain", ["3a00 5e 04 00000000", "3aff 01 04 00000000", "3a00 01 09 00000000"])
def test_what_we_discard_silently_the_kernel_does_not_answer(station, chain):
    packet = station.send6(60, bytes.fromhex(chain) + icmp6.encode_echo(OURS6, PEER6, 1, 1, b""))
    assert discarded_silently(packet)
    # Packets keep their order on this wire: the first answer is that to the echo after it.
    station.send6(58, icmp6.encode_echo(OURS6, PEER6, 1, 2, b""))
    _, frame, offset = station.expect6(58, (icmp6.PARAMETER_PROBLEM, icmp6.ECHO_REPLY))
    assert icmp6.decode(frame, offset).seq == 2


# Transport.


def zero_sum_payload(src: bytes, dst: bytes) -> bytes:
    """Two octets that make the checksum of a datagram from port 1 to 7777 come out as 0."""
    trial = udp.encode(src, dst, 1, 7777, b"\0\0")
    payload = trial[6:8]
    assert udp.encode(src, dst, 1, 7777, payload)[6:8] == b"\xff\xff"
    return payload


@pytest.mark.parametrize("family", [4, 6])
def test_the_kernel_takes_our_datagrams_and_we_take_its_own(wire, station, family):
    src, dst = (OURS, PEER) if family == 4 else (OURS6, PEER6)
    server = listening(
        wire,
        socket.SOCK_DGRAM,
        socket.AF_INET if family == 4 else socket.AF_INET6,
        "10.9.0.2" if family == 4 else "fd09::2",
        7777,
    )
    with server:
        server.settimeout(2)
        for payload in (b"", b"odd", zero_sum_payload(src, dst), bytes(1400)):
            datagram = udp.encode(src, dst, 1, 7777, payload)
            (station.send4 if family == 4 else station.send6)(17, datagram)
            received, address = server.recvfrom(2000)
            assert (received, address[1]) == (payload, 1)
            server.sendto(payload, address)
            _, frame, offset = (station.expect4 if family == 4 else station.expect6)(17)
            header = udp.decode(frame, offset)
            assert (header.source_port, header.destination_port, header.length) == (7777, 1, 8 + len(payload))
            # The kernel leaves the checksum to the device; what it would be is what a capture gets.
            finished = gso.complete_received(frame)
            assert udp.checksum_ok(finished, offset, udp.decode(finished, offset), dst, src)


def quoted_port_unreachable(station: Station, family: int) -> Quoted:
    if family == 4:
        header, frame, offset = station.expect4(1)
        message = icmp.decode(frame, offset)
        assert (message.type, message.code) == (icmp.UNREACHABLE, icmp.PORT_UNREACHABLE)
        return icmp.quoted(frame, offset + 8, icmp.quote_end(message, 14 + header.total_length))
    _, frame, offset = station.expect6(58, (icmp6.UNREACHABLE,))
    assert frame[offset + 1] == icmp6.PORT_UNREACHABLE
    return icmp6.quoted(frame, offset + 8, len(frame))


@pytest.mark.parametrize("family", [4, 6])
def test_a_closed_port_is_reported_with_a_quote_that_we_read_back(station, family):
    src, dst = (OURS, PEER) if family == 4 else (OURS6, PEER6)
    packet = (station.send4 if family == 4 else station.send6)(17, udp.encode(src, dst, 40000, 9, b"nobody there"))
    quoted = quoted_port_unreachable(station, family)
    assert (quoted.src, quoted.dst, quoted.source_port, quoted.destination_port) == (src, dst, 40000, 9)
    assert quoted.packet == packet


@pytest.mark.parametrize("family", [4, 6])
def test_a_handshake_with_the_kernel_s_tcp_reads_both_ways(wire, station, family):
    src, dst = (OURS, PEER) if family == 4 else (OURS6, PEER6)
    send, expect = (station.send4, station.expect4) if family == 4 else (station.send6, station.expect6)
    families = (socket.AF_INET, "10.9.0.2") if family == 4 else (socket.AF_INET6, "fd09::2")
    with listening(wire, socket.SOCK_STREAM, *families, 8080) as server:
        server.listen(1)
        options = tcp_options.mss(1000) + tcp_options.sack_permitted() + tcp_options.timestamps(5, 0)
        syn = tcp.encode(40000, 8080, 0xFFFFFFFF, 0, tcp.SYN, 1000, options + tcp_options.window_scale(3))
        send(6, tcp.finish(src, dst, syn))
        _, frame, offset = expect(6)
        answer = tcp.decode(frame, offset)
        said = tcp_options.parse(answer.options)
        assert (answer.flags, answer.ack) == (tcp.SYN | tcp.ACK, 0)
        assert (said.mss, said.sack_permitted, said.ts_ecr) == (1460 if family == 4 else 1440, True, 5)
        assert said.window_scale is not None
        data = tcp.encode(
            40000, 8080, 0, answer.seq + 1, tcp.ACK | tcp.PSH, 1000, tcp_options.timestamps(6, said.ts_val or 0)
        )
        send(6, tcp.finish(src, dst, data + b"hello"))
        server.settimeout(2)
        connection, _ = server.accept()
        with connection:
            connection.settimeout(2)
            assert connection.recv(100) == b"hello"


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.needs("ethtool")
def test_a_super_segment_is_cut_as_the_kernel_cuts_it(wire, family):
    for side in (wire.ours, wire.peer):
        done = side.run("ethtool", "-K", "v0", "tso", "off", "gso", "on", "gro", "off", "tx", "off")
        assert done.returncode == 0, done.stderr
    with wire.ours.entered():
        sender = Station()
    with wire.peer.entered():
        receiver = Station()
    with sender.socket, receiver.socket:
        sender.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        transmit = super_segment(family)
        sender.socket.send(b"".join((gso.vnet_header(transmit), *transmit.parts)))
        expected = list(gso.segments(transmit))
        frames = []
        for frame in receiver.frames():
            if frame[:12] == expected[0][:12]:
                frames.append(frame)
            if len(frames) == len(expected):
                break
        assert frames == expected


def super_segment(family: int) -> Transmit:
    """Ten and a half segments with every flag that is not on all of them, near the wrap of both counters."""
    payload = bytes(range(256)) * 40
    src, dst = (OURS, PEER) if family == 4 else (OURS6, PEER6)
    flags = tcp.FIN | tcp.PSH | tcp.ACK | tcp.CWR
    header = tcp.encode(1, 2, 0xFFFFF000, 7, flags, 500, tcp_options.timestamps(1, 2))
    length = len(header) + len(payload)
    pseudo = pseudo_header_sum(src, dst, 6, length)
    header = header[:16] + pseudo.to_bytes(2, "big") + header[18:]
    if family == 4:
        network = ipv4.encode(src, dst, 6, length, ident=0xFFFC, dont_fragment=True)
        link = ethernet.encode(PEER_MAC, OUR_MAC, ethernet.ETHERTYPE_IPV4)
    else:
        network = ipv6.encode(src, dst, 6, length, flow_label=0x12345)
        link = ethernet.encode(PEER_MAC, OUR_MAC, ethernet.ETHERTYPE_IPV6)
    return Transmit(0, (link, network, header, payload), 1000, len(link) + len(network), 16)


def test_the_kernel_reads_a_partial_checksum_as_we_leave_it(wire, station):
    with listening(wire, socket.SOCK_DGRAM, socket.AF_INET, "10.9.0.2", 7777) as server:
        server.settimeout(2)
        station.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        datagram = bytearray(udp.encode(OURS, PEER, 1, 7777, b"payload"))
        datagram[6:8] = pseudo_header_sum(OURS, PEER, 17, len(datagram)).to_bytes(2, "big")
        link = ethernet.encode(PEER_MAC, OUR_MAC, 0x0800)
        packet = ipv4.encode(OURS, PEER, 17, len(datagram)) + datagram
        header = gso.vnet_header(Transmit(0, (link, packet), 0, 34, 6))
        assert vnet.decode(header).flags == vnet.NEEDS_CSUM
        station.socket.send(header + link + packet)
        assert server.recv(100) == b"payload"
