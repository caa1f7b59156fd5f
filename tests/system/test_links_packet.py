"""PacketLink against the kernel: what leaves arrives, what comes back is described right."""

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from pytools.engine import (
    CHECKSUM_PARTIAL,
    CHECKSUM_UNKNOWN,
    CHECKSUM_VERIFIED,
    ETHERNET,
    PACKET_HOST,
    RAW_IP,
    Transmit,
)
from pytools.errors import LinkError
from pytools.link import host
from pytools.link.bpf import ARP_ALL, ARP_OURS, Interest
from pytools.link.packet_socket import PacketLink
from tests.system.links import exchange, receive, transmit

pytestmark = pytest.mark.root

OURS4, PEER4 = bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2])
OURS6 = bytes.fromhex("fd09") + bytes(13) + b"\1"
MAC, PEER_MAC = "02:00:00:09:00:01", "02:00:00:09:00:02"
PING = Interest(addresses=(OURS4, OURS6), arp=ARP_OURS, neighbor_discovery=True, echo_idents=(77,), icmp_errors=True)
ALL = Interest(arp=ARP_ALL, everything=True)


@pytest.fixture
def open_link(wire):
    """Open a PacketLink on ours' v0 (or another namespace's)."""
    links = []

    def open_one(interest=ALL, inside=None, name="v0", **options):
        with (inside or wire.ours).entered():
            on = None if name is None else host.interface(name)
            links.append(PacketLink(on, interest, **options))
        return links[-1]

    yield open_one
    for link in links:
        link.close()


def echo4(ident=77, src="10.9.0.1"):
    return Ether(src=MAC, dst=PEER_MAC) / IP(src=src, dst="10.9.0.2") / ICMP(id=ident, seq=1) / (b"x" * 56)


def test_the_port_describes_the_interface(open_link):
    (port,) = open_link(PING, index=3).ports
    assert (port.index, port.name, port.link_type, port.mtu) == (3, "v0", ETHERNET, 1500)
    assert port.mac == bytes.fromhex("020000090001")


def test_the_kernel_answers_arp(open_link):
    link = open_link(PING)
    request = Ether(src=MAC, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=MAC, psrc="10.9.0.1", pdst="10.9.0.2")
    got = exchange(link, request, lambda got: got.frame[12:14] == b"\x08\x06")
    reply = Ether(got.frame)[ARP]
    assert (reply.op, reply.psrc, reply.hwsrc) == (2, "10.9.0.2", PEER_MAC)
    assert got.packet_type == PACKET_HOST


def test_the_kernel_answers_an_echo_in_both_families(open_link):
    link = open_link(PING)
    got = exchange(link, echo4(), lambda got: got.frame[12:14] == b"\x08\x00")
    assert Ether(got.frame)[ICMP].type == 0
    assert got.checksum == CHECKSUM_UNKNOWN
    echo6 = Ether(src=MAC, dst=PEER_MAC) / IPv6(src="fd09::1", dst="fd09::2") / ICMPv6EchoRequest(id=77)
    assert ICMPv6EchoReply in Ether(exchange(link, echo6, lambda got: ICMPv6EchoReply in Ether(got.frame)).frame)


def test_neighbour_discovery_is_answered(open_link):
    link = open_link(PING)
    solicitation = (
        Ether(src=MAC, dst="33:33:ff:00:00:02")
        / IPv6(src="fd09::1", dst="ff02::1:ff00:2", hlim=255)
        / ICMPv6ND_NS(tgt="fd09::2")
        / ICMPv6NDOptSrcLLAddr(lladdr=MAC)
    )
    got = exchange(link, solicitation, lambda got: got.frame[54:55] == b"\x88")
    assert got.packet_type == PACKET_HOST


def test_our_own_frames_and_other_peoples_traffic_do_not_wake_us(wire, open_link):
    link = open_link(PING)
    wire.ours.run("ping", "-c1", "-W2", "10.9.0.2")  # the kernel's own conversation, with an identifier of its own
    with wire.peer.entered():
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"to a port nobody asked for", ("10.9.0.1", 9))
    link.send(transmit(echo4()))
    got = receive(link, lambda got: ARP not in Ether(got.frame))
    assert got is not None
    assert Ether(got.frame)[ICMP].id == 77
    assert receive(link, lambda got: ARP not in Ether(got.frame), patience=0.05) is None


def test_another_filter_can_be_put_in_at_any_time(open_link):
    link = open_link(Interest(addresses=(OURS4,), echo_idents=(1,)))
    link.send(transmit(echo4()))
    assert receive(link, patience=0.1) is None
    link.attach(PING)
    exchange(link, echo4(), lambda got: ICMP in Ether(got.frame))


def test_an_address_and_a_mac_of_our_own_are_heard(wire, open_link):
    own = "02:00:00:aa:bb:cc"
    link = open_link(mac=bytes.fromhex("020000aabbcc"))
    wire.peer.ip(f"neigh add 10.9.0.10 lladdr {own} dev v0")
    with wire.peer.entered():
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"hello", ("10.9.0.10", 9))
    got = receive(link, lambda got: b"hello" in got.frame)
    assert got is not None
    assert (Ether(got.frame).dst, got.packet_type) == (own, PACKET_HOST)


def test_frames_for_others_need_promiscuous_mode(wire, open_link):
    link, all_hearing = open_link(), open_link(promiscuous=True)
    wire.peer.ip("neigh add 10.9.0.10 lladdr 02:00:00:00:00:77 dev v0")
    with wire.peer.entered():
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"not for us", ("10.9.0.10", 9))
    got = receive(all_hearing, lambda got: b"not for us" in got.frame)
    assert got is not None
    assert got.packet_type == 3
    assert receive(link, lambda got: b"not for us" in got.frame, patience=0.05) is None
    assert "promiscuity 1" in wire.ours.ip("-d link show v0")


# -- tags --------------------------------------------------------------------------------------------------------------


def tagged(*tags, ident=77):
    frame = Ether(src=MAC, dst=PEER_MAC)
    for tag in tags:
        frame /= tag
    return frame / IP(src="10.8.0.1", dst="10.8.0.2") / ICMP(type=0, id=ident) / (b"data" * 10)


TAGGED = Interest(addresses=(bytes([10, 8, 0, 1]), bytes([10, 8, 0, 2])), echo_idents=(77,))


def test_a_tag_comes_back_where_the_kernel_took_it_out(wire, open_link):
    link = open_link(TAGGED, inside=wire.peer, vlans=(5,))
    others = [open_link(TAGGED, inside=wire.peer, vlans=tags) for tags in ((), (6,), (5, 7))]
    frame = tagged(Dot1Q(vlan=5, prio=3))
    open_link(vlans=(5,)).send(transmit(frame))
    got = receive(link)
    assert got is not None
    assert got.frame == bytes(frame)
    assert [receive(other, patience=0.02) for other in others] == [None] * 3


def test_two_tags_come_back_with_the_type_of_the_outer(wire, open_link):
    link = open_link(TAGGED, inside=wire.peer, vlans=(5, 7))
    frame = tagged(Dot1Q(vlan=5), Dot1Q(vlan=7))
    frame.type = 0x88A8
    open_link(vlans=(5, 7)).send(transmit(frame))
    got = receive(link)
    assert got is not None
    assert got.frame == bytes(frame)


def test_a_priority_alone_is_no_tag(wire, open_link):
    link = open_link(TAGGED, inside=wire.peer)
    open_link().send(transmit(tagged(Dot1Q(vlan=0, prio=5))))
    got = receive(link)
    assert got is not None
    assert got.frame == bytes(tagged())


def test_the_kernel_answers_on_a_vlan(wire, open_link):
    try:
        wire.peer.ip("link add link v0 name v0.5 type vlan id 5")
    except subprocess.CalledProcessError:
        pytest.skip("this kernel has no VLAN devices")
    wire.peer.ip("link set v0.5 up")
    wire.peer.ip("addr add 10.8.0.2/24 dev v0.5")
    wire.peer.ip(f"neigh add 10.8.0.1 lladdr {MAC} dev v0.5")
    link = open_link(TAGGED, vlans=(5,))
    request = tagged(Dot1Q(vlan=5))
    request[ICMP].type = 8
    reply = Ether(exchange(link, request, lambda got: True).frame)
    assert (reply[Dot1Q].vlan, reply[ICMP].type) == (5, 0)


# -- offload -----------------------------------------------------------------------------------------------------------


def test_an_unfinished_checksum_of_a_local_sender_is_told(wire, open_link):
    link = open_link(Interest(addresses=(OURS4,), ports=((17, 7777),)))
    with wire.peer.entered():
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x" * 100, ("10.9.0.1", 7777))
    got = receive(link)
    assert got is not None
    assert got.checksum == CHECKSUM_PARTIAL
    datagram = Ether(got.frame)
    written = datagram[UDP].chksum
    del datagram[UDP].chksum
    assert Ether(bytes(datagram))[UDP].chksum != written


def test_super_segments_arrive_whole(wire, open_link):
    link = open_link(Interest(addresses=(OURS4,), ports=((6, 7777),)))
    with wire.ours.entered():
        server = socket.create_server(("10.9.0.1", 7777))
    with wire.peer.entered():
        client = socket.create_connection(("10.9.0.1", 7777))
    with server, client, server.accept()[0] as accepted:
        client.sendall(b"x" * 200_000)
        accepted.recv(1 << 20)
        got = receive(link, lambda got: len(got.frame) > 1600)
    assert got is not None
    assert got.gso_size == 1448
    assert got.checksum == CHECKSUM_PARTIAL


def partial(packet, protocol_layer, pseudo_sum):
    """The octets of a packet whose checksum field holds the pseudo-header sum."""
    packet[protocol_layer].chksum = pseudo_sum
    return bytes(packet)


def pseudo_sum(src, dst, protocol, length):
    octets = socket.inet_aton(src) + socket.inet_aton(dst) + struct.pack("!HH", protocol, length)
    total = sum(struct.unpack("!6H", octets))
    return (total & 0xFFFF) + (total >> 16)


def test_the_kernel_finishes_a_checksum_for_us(wire, open_link):
    with wire.peer.entered():
        server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("10.9.0.2", 7777))
    server.settimeout(3)
    datagram = (
        Ether(src=MAC, dst=PEER_MAC) / IP(src="10.9.0.1", dst="10.9.0.2") / UDP(sport=1, dport=7777) / b"finished"
    )
    octets = partial(datagram, UDP, pseudo_sum("10.9.0.1", "10.9.0.2", 17, 16))
    open_link().send(Transmit(0, (octets[:42], octets[42:]), csum_start=34, csum_offset=6))
    with server:
        assert server.recv(100) == b"finished"


@pytest.mark.parametrize("tags", [(), (5,)])
def test_the_kernel_cuts_a_super_segment_for_us(wire, open_link, tags):
    link = open_link(vlans=tags)
    far = open_link(Interest(ports=((6, 80),)), inside=wire.peer, vlans=tags)
    payload = os.urandom(10_000)
    segment = Ether(src=MAC, dst=PEER_MAC)
    for tag in tags:
        segment /= Dot1Q(vlan=tag)
    segment = segment / IP(src="10.9.0.1", dst="10.9.0.2") / TCP(sport=1, dport=80, flags="A", seq=1) / payload
    octets = partial(segment, TCP, pseudo_sum("10.9.0.1", "10.9.0.2", 6, 10_020))
    start = 34 + 4 * len(tags)
    head = (octets[:start], octets[start : start + 20], octets[start + 20 :])
    wire.ours.run("ethtool", "-K", "v0", "tso", "off")  # so that the kernel must cut it here
    assert link.send(Transmit(0, head, gso_size=1400, csum_start=start, csum_offset=16))
    received, sequence = b"", 1
    while len(received) < len(payload):
        got = receive(far, lambda got: TCP in Ether(got.frame))
        assert got is not None
        piece = Ether(got.frame)[TCP]
        assert (piece.seq, len(piece.payload)) == (sequence, min(1400, 10_001 - sequence))
        received += bytes(piece.payload)
        sequence += len(piece.payload)
    assert received == payload


def test_a_frame_beyond_the_mtu_is_refused_with_emsgsize(open_link):
    link = open_link()
    with pytest.raises(OSError, match="Message too long"):
        link.send(Transmit(0, (bytes(Ether(src=MAC, dst=PEER_MAC)), bytes(1600))))
    exchange(link, echo4(), lambda got: ICMP in Ether(got.frame))


# -- stamps, losses, changes -------------------------------------------------------------------------------------------


def test_transmit_stamps_come_with_their_token(open_link):
    link = open_link(PING, tx_stamps=True)
    stamps: dict[object, int] = {}

    def on_transmitted(token, now, at, error):
        assert at is not None
        assert error is None
        assert at <= now
        stamps[token] = at

    before = time.monotonic_ns()
    for token in ("one", None, "two"):
        link.send(transmit(echo4(), token=token))
    with pytest.raises(OSError, match="Message too long"):
        link.send(Transmit(0, (bytes(14), bytes(1600)), token="refused"))
    link.send(transmit(echo4(), token="three"))
    link.poll_stamps(on_transmitted)
    assert list(stamps) == ["one", "two", "three"]
    assert all(before < at < time.monotonic_ns() for at in stamps.values())


@pytest.mark.parametrize("tags", [(), (5,)])
def test_receive_stamps_and_tags_stay_right_beside_transmit_stamps(wire, open_link, tags):
    near, far = (open_link(inside=side, vlans=tags, tx_stamps=True) for side in (wire.ours, wire.peer))
    frame = tagged(*(Dot1Q(vlan=tag) for tag in tags))
    for _ in range(3):
        got = exchange_between(near, far, frame)
        assert got.frame == bytes(frame)


def exchange_between(near, far, frame):
    """Send on one link, receive on the other; the stamp must lie between."""
    before = time.monotonic_ns()
    near.send(transmit(frame, token="t"))
    got = receive(far, lambda got: b"data" in got.frame)
    assert got is not None
    assert before < got.at <= got.now
    stamps = []
    near.poll_stamps(lambda token, now, at, error: stamps.append(at))
    assert len(stamps) == 1
    assert before < stamps[0] <= got.at
    return got


def test_a_link_with_transmit_stamps_is_not_readable_for_ever(open_link):
    link = open_link(Interest(), tx_stamps=True)
    link.send(transmit(echo4(), token="one"))
    # The stamp may come a moment after the send, and the kernel's own MLD reports may arrive.
    for _ in range(1000):
        link.poll_stamps(lambda *_: None)
        link.recv_batch(lambda *_: None, time.monotonic_ns, 100)
        if not select.select(link.filenos(), (), (), 0.001)[0]:
            return
    pytest.fail("still readable after its stamps were read")


def test_lost_frames_are_counted(wire, open_link):
    far = open_link(Interest(addresses=(PEER4,), everything=True), inside=wire.peer, receive_buffer=8192)
    link = open_link()
    for _ in range(200):
        link.send(transmit(echo4()))
    received = far.recv_batch(lambda *_: None, time.monotonic_ns, 1000)
    assert 0 < received < 200
    assert far.drops() == 200 - received
    assert far.drops() == 200 - received


def test_the_receive_buffer_is_as_large_as_asked(open_link):
    link = open_link(receive_buffer=32 << 20)
    assert link._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 64 << 20


def test_an_interface_that_goes_down_ends_the_link_in_one_line(wire, open_link):
    link = open_link()
    wire.ours.ip("link set v0 down")
    with wire.ours.entered(), pytest.raises(LinkError, match=r"^v0: the interface went down$"):
        receive(link)


def test_an_interface_that_vanishes_ends_the_link_in_one_line(wire, open_link):
    link = open_link()
    wire.peer.ip("link del v0")
    with wire.ours.entered(), pytest.raises(LinkError, match=r"^v0: the interface is gone$"):
        receive(link)


def test_a_flapping_interface_goes_on(wire, open_link):
    link = open_link(PING)
    wire.ours.ip("link set v0 down")
    wire.ours.ip("link set v0 up")
    with wire.ours.entered():
        exchange(link, echo4(), lambda got: ICMP in Ether(got.frame))


def test_an_interface_that_is_down_is_refused_at_once(wire, open_link):
    wire.ours.ip("link set v0 down")
    with pytest.raises(LinkError, match="v0: Network is down: `ip link set v0 up`"):
        open_link()


def test_closing_twice_is_harmless_and_drops_stay_known(open_link):
    link = open_link()
    link.close()
    link.close()
    assert link.drops() == 0


# -- without Ethernet, and on all interfaces ---------------------------------------------------------------------------


class Tun:
    """A tun device and the descriptor behind it."""

    def __init__(self, inside, name="tun0", subnet="10.7.0"):
        with inside.entered():
            self.fd = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(self.fd, 0x400454CA, struct.pack("16sH22x", name.encode(), 0x1 | 0x1000))
        inside.ip(f"addr add {subnet}.1/24 dev {name}")
        inside.ip(f"link set {name} up")

    def close(self):
        os.close(self.fd)


@pytest.fixture
def tun(wire):
    device = Tun(wire.ours)
    yield device
    device.close()


def echo_on_tun(kind):
    there = IP(src="10.7.0.1", dst="10.7.0.2") if kind == 8 else IP(src="10.7.0.2", dst="10.7.0.1")
    return bytes(there / ICMP(type=kind, id=77) / b"data")


@pytest.mark.parametrize("tx_stamps", [False, True])
def test_an_interface_without_ethernet_carries_ip(tun, open_link, tx_stamps):
    interest = Interest(addresses=(bytes([10, 7, 0, 1]),), echo_idents=(77,))
    link = open_link(interest, name="tun0", tx_stamps=tx_stamps)
    assert (link.ports[0].link_type, link.ports[0].mac, link.ports[0].mtu) == (RAW_IP, b"", 1500)
    assert link.send(Transmit(0, (echo_on_tun(8)[:20], echo_on_tun(8)[20:]), token="sent"))
    sent = os.read(tun.fd, 2000)
    while sent[0] >> 4 == 6:  # the kernel's router solicitations
        sent = os.read(tun.fd, 2000)
    assert sent == echo_on_tun(8)
    before = time.monotonic_ns()
    os.write(tun.fd, echo_on_tun(0))
    got = receive(link)
    assert got is not None
    assert got.frame == echo_on_tun(0)
    assert before < got.at <= got.now
    assert got.packet_type == PACKET_HOST
    stamps = []
    link.poll_stamps(lambda token, now, at, error: stamps.append((token, at < before)))
    assert stamps == ([("sent", True)] if tx_stamps else [])


def test_what_a_cooked_link_cannot_offload_is_finished_for_it(tun, open_link):
    link = open_link(name="tun0")
    payload = os.urandom(3000)
    segment = IP(src="10.7.0.1", dst="10.7.0.2") / TCP(sport=1, dport=80, flags="A", seq=1) / payload
    octets = partial(segment, TCP, pseudo_sum("10.7.0.1", "10.7.0.2", 6, 3020))
    assert link.send(Transmit(0, (octets,), gso_size=1400, csum_start=20, csum_offset=16))
    pieces = []
    while len(pieces) < 3:
        packet = IP(os.read(tun.fd, 2000))
        if packet.version == 4:
            pieces.append(packet)
    assert b"".join(bytes(piece[TCP].payload) for piece in pieces) == payload
    for piece in pieces:
        fresh = IP(bytes(piece))
        del fresh[TCP].chksum
        assert IP(bytes(fresh))[TCP].chksum == piece[TCP].chksum


def test_one_socket_serves_all_interfaces(wire, open_link):
    wire.ours.ip("link add w0 type veth peer name w1")
    wire.ours.ip("link set w0 up")
    wire.ours.ip("link set w1 up")
    link = open_link(PING, name=None)
    with wire.ours.entered():
        port = link.add_port(host.interface("v0"), 5)
        link.add_port(host.interface("w0"), 6)
    assert [one.index for one in link.ports] == [5, 6]
    assert port.mac == bytes.fromhex("020000090001")
    link.send(transmit(echo4(), port=5))
    got = receive(link, lambda got: ICMP in Ether(got.frame))
    assert got is not None
    assert (got.port, got.packet_type) == (5, PACKET_HOST)
    other = open_link(name="w1", promiscuous=True)
    link.send(transmit(echo4(), port=6))
    assert receive(other, lambda got: ICMP in Ether(got.frame)) is not None
    wire.ours.ip("link set w0 down")
    with pytest.raises(OSError, match="down"):
        link.send(transmit(echo4(), port=6))
    wire.ours.ip("link del w0")
    with pytest.raises(OSError, match="No such device"):
        link.send(transmit(echo4(), port=6))
    link.send(transmit(echo4(), port=5))
    assert receive(link, lambda got: ICMP in Ether(got.frame)) is not None


def test_one_cooked_socket_serves_all_interfaces_without_ethernet(wire, tun, open_link):
    link = open_link(Interest(echo_idents=(77,)), name=None, link_type=RAW_IP)
    with wire.ours.entered():
        link.add_port(host.interface("tun0"), 4)
        with pytest.raises(LinkError, match="v0"):
            link.add_port(host.interface("v0"), 5)
    link.send(Transmit(4, (echo_on_tun(8),)))
    os.write(tun.fd, echo_on_tun(0))
    got = receive(link)
    assert got is not None
    assert (got.port, got.frame) == (4, echo_on_tun(0))


def test_checksums_that_the_kernel_verified_are_told(wire, open_link):
    """lo and tun never verify; a veth peer that finished its own checksums leaves the verdict to us."""
    wire.peer.run("ethtool", "-K", "v0", "tx", "off")
    link = open_link(Interest(addresses=(OURS4,), ports=((17, 7777),)))
    with wire.peer.entered():
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x" * 100, ("10.9.0.1", 7777))
    got = receive(link)
    assert got is not None
    assert got.checksum in (CHECKSUM_UNKNOWN, CHECKSUM_VERIFIED)
    datagram = Ether(got.frame)
    written = datagram[UDP].chksum
    del datagram[UDP].chksum
    assert Ether(bytes(datagram))[UDP].chksum == written


def test_sigkill_leaves_no_promiscuous_interface(wire):
    program = (
        "import time; from pytools.link import host, bpf; from pytools.link.packet_socket import PacketLink;"
        "link = PacketLink(host.interface('v0'), bpf.Interest(), promiscuous=True);"
        "print('up', flush=True); time.sleep(60)"
    )
    process = wire.ours.popen(sys.executable, "-c", program, cwd=os.getcwd())
    assert process.stdout.readline() == "up\n"
    assert "promiscuity 1" in wire.ours.ip("-d link show v0")
    process.kill()
    process.wait()
    assert "promiscuity 0" in wire.ours.ip("-d link show v0")


def test_an_ordinary_user_is_told_what_is_missing(nobody):
    program = (
        "from pytools.link import host, bpf; from pytools.link.packet_socket import PacketLink; import sys\n"
        "try: PacketLink(host.interface('lo'), bpf.Interest())\n"
        "except Exception as error: sys.exit(str(error))"
    )
    done: subprocess.CompletedProcess[str] = nobody.run("-c", program)
    assert done.returncode == 1
    assert done.stderr.startswith("socket: Operation not permitted: ")
    assert done.stderr.count("\n") == 1
