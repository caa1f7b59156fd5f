"""Scapy is the judge of what was cut or completed: it computes every checksum anew."""

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from pytools.engine import ETHERNET, RAW_IP, Transmit
from pytools.errors import DecodeError
from pytools.wire import gso, vnet
from pytools.wire.checksum import pseudo_header_sum

LINK = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
NETWORKS = [IP(src="10.0.0.1", dst="10.0.0.2", id=0xFFFE, flags="DF"), IPv6(src="fd00::1", dst="fd00::2", fl=5)]
DATA = bytes(range(256)) * 20


def as_on_a_wire(packet: Packet) -> bytes:
    return bytes(packet)


def sums_are_right(frame: bytes, kind: type[Packet] = Ether) -> bool:
    """Whether scapy computes the same lengths and checksums."""
    packet = kind(frame)
    for layer in (IP, TCP, UDP):
        if layer in packet:
            del packet[layer].chksum
    if IP in packet:
        del packet[IP].len
    return bytes(packet) == frame


def partial(frame: bytes, start: int, offset: int) -> bytes:
    """The frame as the kernel hands it over: with the pseudo-header sum in its checksum field."""
    is6 = frame[14] >> 4 == 6
    src, dst = (frame[22:38], frame[38:54]) if is6 else (frame[26:30], frame[30:34])
    protocol = frame[20] if is6 else frame[23]
    field = pseudo_header_sum(src, dst, protocol, len(frame) - start)
    return frame[: start + offset] + field.to_bytes(2, "big") + frame[start + offset + 2 :]


@pytest.mark.parametrize("network", NETWORKS, ids=["v4", "v6"])
@pytest.mark.parametrize("transport", [TCP(sport=1, dport=2, seq=3, ack=4), UDP(sport=1, dport=2)], ids=["tcp", "udp"])
@pytest.mark.parametrize("payload", [b"", b"odd", DATA], ids=len)
def test_a_partial_checksum_is_completed(network: Packet, transport: Packet, payload: bytes) -> None:
    whole = as_on_a_wire(LINK / network / transport / Raw(payload))
    start = 14 + len(network)
    offset = 16 if TCP in transport else 6
    unfinished = partial(whole, start, offset)
    assert unfinished != whole
    parts = (unfinished[:20], unfinished[20:40], unfinished[40:])
    assert gso.finish(Transmit(0, parts, csum_start=start, csum_offset=offset)) == whole
    assert list(gso.segments(Transmit(0, parts, csum_start=start, csum_offset=offset))) == [whole]
    assert gso.complete_received(unfinished) == whole


def test_what_has_no_partial_checksum_is_sent_as_it_is() -> None:
    transmit = Transmit(0, (b"abc", b"def"))
    assert gso.finish(transmit) == b"abcdef"
    assert list(gso.segments(Transmit(0, (b"abcdef",)))) == [b"abcdef"]


def test_a_sum_that_comes_out_as_zero_is_written_as_all_ones() -> None:
    assert gso.complete(b"??\xff\xff\0\0", 2, 2) == b"??\xff\xff\xff\xff"


def test_a_finished_frame_is_not_touched_as_a_received_one() -> None:
    for network in NETWORKS:
        whole = as_on_a_wire(LINK / network / UDP(sport=1, dport=2) / b"x")
        assert gso.complete_received(whole) == whole
        broken = whole[:-1] + b"y"
        assert gso.complete_received(broken) == broken


def test_the_padding_of_a_received_frame_stays_outside_of_the_sum() -> None:
    whole = as_on_a_wire(LINK / NETWORKS[0] / UDP(sport=1, dport=2) / b"x")
    assert gso.complete_received(partial(whole, 34, 6) + b"padding") == whole + b"padding"


def test_fragments_other_protocols_and_nonsense_come_back_as_they_are() -> None:
    fragment = as_on_a_wire(LINK / IP(src="10.0.0.1", dst="10.0.0.2", proto=17, flags="MF") / bytes(64))
    fragment6 = as_on_a_wire(LINK / NETWORKS[1] / IPv6ExtHdrFragment(m=1, nh=17) / bytes(64))
    cut = as_on_a_wire(LINK / IP(src="10.0.0.1", dst="10.0.0.2", proto=6) / bytes(10))
    other = as_on_a_wire(LINK / IP(src="10.0.0.1", dst="10.0.0.2", proto=47) / bytes(64))
    for frame in (fragment, fragment6, cut, other, b"", bytes(14), bytes(60), b"\x01" * 60):
        assert gso.complete_received(frame) == frame
        assert gso.complete_received(frame[14:], RAW_IP) == frame[14:]


@pytest.mark.parametrize("network", NETWORKS, ids=["v4", "v6"])
@pytest.mark.parametrize("tag", [Raw(b""), Dot1Q(vlan=10)], ids=["untagged", "tagged"])
@pytest.mark.parametrize("length", [1, 999, 1000, 1001, 2000, 5120])
def test_a_super_segment_is_cut_into_frames_that_a_receiver_takes(network: Packet, tag: Packet, length: int) -> None:
    head = LINK / tag / network if isinstance(tag, Dot1Q) else LINK / network
    segment = TCP(sport=1, dport=2, seq=0xFFFFFC00, ack=7, flags="FPAC", options=[("Timestamp", (1, 2)), ("NOP", None)])
    frame = as_on_a_wire(head / segment / DATA[:length])
    frames = [Ether(octets) for octets in gso.segments(Transmit(0, (frame[:60], frame[60:]), gso_size=1000))]
    assert all(sums_are_right(bytes(cut)) for cut in frames)
    assert b"".join(bytes(cut[TCP].payload) for cut in frames) == DATA[:length]
    assert all(len(cut[TCP].payload) == 1000 for cut in frames[:-1])
    assert len(frames) == -(-length // 1000)
    for index, cut in enumerate(frames):
        assert cut[TCP].seq == (0xFFFFFC00 + 1000 * index) % 2**32
        assert (cut[TCP].ack, cut[TCP].options) == (7, Ether(frame)[TCP].options)
        expected = "A" + ("C" if index == 0 else "") + ("FP" if index == len(frames) - 1 else "")
        assert set(str(cut[TCP].flags)) == set(expected)
        if IP in cut:
            assert (cut[IP].id, str(cut[IP].flags)) == ((0xFFFE + index) % 2**16, "DF")
            assert cut[IP].len == len(cut[IP])
        else:
            assert (cut[IPv6].plen, cut[IPv6].fl) == (len(cut[TCP]), 5)


def test_a_super_segment_without_a_link_header_or_behind_extensions_is_cut_too() -> None:
    for packet in (NETWORKS[0], NETWORKS[1], NETWORKS[1] / IPv6ExtHdrDestOpt()):
        octets = as_on_a_wire(packet / TCP(sport=1, dport=2, flags="A") / DATA)
        kind = type(packet)
        cuts = list(gso.cut(octets, 1448, RAW_IP))
        assert len(cuts) == 4
        assert all(sums_are_right(cut, kind) for cut in cuts)


def test_a_segment_without_payload_is_one_frame() -> None:
    frame = as_on_a_wire(LINK / NETWORKS[0] / TCP(sport=1, dport=2, flags="FPAC"))
    assert list(gso.cut(frame, 1000)) == [frame]


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        LINK / NETWORKS[0] / UDP(sport=1, dport=2) / DATA,
        LINK / IP(src="10.0.0.1", dst="10.0.0.2", proto=6, frag=1) / DATA,
        LINK / IP(src="10.0.0.1", dst="10.0.0.2", proto=6) / bytes(19),
        LINK / NETWORKS[0] / TCP(sport=1, dport=2, dataofs=4) / DATA,
        LINK / NETWORKS[0] / TCP(sport=1, dport=2, dataofs=15),
    ],
)
def test_what_is_no_tcp_segment_cannot_be_cut(frame: Packet | bytes) -> None:
    with pytest.raises(DecodeError):
        gso.segments(Transmit(0, (bytes(frame),), gso_size=1000))


def test_the_virtio_header_asks_for_what_segments_does() -> None:
    for network, kind in zip(NETWORKS, (vnet.GSO_TCPV4, vnet.GSO_TCPV6), strict=True):
        start = 14 + len(network)
        frame = as_on_a_wire(LINK / network / TCP(sport=1, dport=2, flags="A", options=[("MSS", 9)]) / DATA)
        parts = (frame[:14], frame[14:50], frame[50:])
        header = vnet.decode(gso.vnet_header(Transmit(0, parts, 1448, start, 16), ETHERNET))
        assert (header.flags, header.gso_type, header.gso_size) == (vnet.NEEDS_CSUM, kind, 1448)
        assert (header.header_length, header.csum_start, header.csum_offset) == (start + 24, start, 16)
        raw = vnet.decode(gso.vnet_header(Transmit(0, (frame[14:],), 1448, start - 14, 16), RAW_IP))
        assert (raw.gso_type, raw.csum_start) == (kind, start - 14)


def test_the_virtio_header_marks_cwr_and_leaves_out_what_is_not_asked() -> None:
    frame = as_on_a_wire(LINK / NETWORKS[0] / TCP(sport=1, dport=2, flags="CA") / DATA)
    header = vnet.decode(gso.vnet_header(Transmit(0, (frame,), 1448, 34, 16)))
    assert header.gso_type == vnet.GSO_TCPV4 | vnet.GSO_ECN
    header = vnet.decode(gso.vnet_header(Transmit(0, (frame,), 0, 34, 16)))
    assert (header.flags, header.gso_type, header.gso_size) == (vnet.NEEDS_CSUM, vnet.GSO_NONE, 0)
    assert gso.vnet_header(Transmit(0, (frame,))) == vnet.NONE
