"""Requirements of RFC 9293 that a script can't say: octets of headers, secrets, what an application is told."""

from random import Random

import pytest

from pytools.engine import PACKET_BROADCAST, PACKET_MULTICAST, RxMeta
from pytools.sim.drill.machine import Machine
from pytools.sim.drill.packets import Flow, Outgoing, build_icmp, build_tcp, flag_bits
from pytools.sim.drill.runner import Runner
from pytools.sim.drill.script import parse
from pytools.sim.drill.settings import Settings
from pytools.sim.drill.syntax import PacketStep
from pytools.stack.sockets import StreamSocket
from pytools.stack.tcp import connection as news
from pytools.stack.tcp.isn import Secrets
from pytools.trace.drop import DropReason
from pytools.units import MS, SECOND, US
from pytools.wire import ipv4, tcp
from pytools.wire.addr import parse_ip

PORT = 8080


class Peer:
    """A machine with a listener, and a peer that speaks the notation; `self.child` once established."""

    def __init__(self, family=4, mss=1000, scale=7):
        self.machine = Machine(Settings(family))
        self.flow = Flow(PORT, 33333, {})
        self.listener = StreamSocket(self.machine.tcp, 2 if family == 4 else 10)
        self.listener.bind(b"", PORT)
        self.options = f" <mss {mss},nop,wscale {scale}>"

    def packet(self, text, data=None):
        step = parse(f"0 < {text}").events[0].action
        assert isinstance(step, PacketStep)
        machine = self.machine
        if step.icmp is not None:
            return build_icmp(step.icmp, step, self.flow, machine.local, machine.remote)
        octets = bytes(step.tcp.length) if data is None else data
        return build_tcp(step.tcp, step, self.flow, machine.local, machine.remote, octets)

    def receives(self, text):
        self.machine.inject(self.packet(text))

    def sent(self):
        out = [Outgoing(one.packet) for one in self.machine.sent]
        self.machine.sent.clear()
        return out

    def segments(self):
        return [
            (tcp_flags(one), one.header.seq - (self.flow.offset or 0) & 0xFFFFFFFF, one.length) for one in self.sent()
        ]

    def establish(self):
        self.listener.listen(5)
        self.receives("S 0:0(0) win 32792" + self.options)
        (syn_ack,) = self.sent()
        self.flow.offset = syn_ack.header.seq
        self.machine.now += 10 * MS
        self.receives(". 1:1(0) ack 1 win 257")
        self.child = self.listener.accept(self.machine.now)
        return self


def tcp_flags(out):
    return out.header.flags


@pytest.fixture
def peer():
    return Peer().establish()


@pytest.mark.parametrize("family", [4, 6])
def test_every_segment_has_a_right_checksum(family):
    peer = Peer(family).establish()
    peer.child.send(bytes(2500), peer.machine.now)
    peer.machine.pump()
    assert peer.machine.sent
    for one in peer.machine.sent:
        offset = 20 if family == 4 else 40
        assert tcp.checksum_ok(one.packet, offset, len(one.packet), peer.machine.local, peer.machine.remote)


def test_a_wrong_checksum_is_dropped(peer):
    packet = bytearray(peer.packet("P. 1:101(100) ack 1 win 257"))
    packet[-1] ^= 1
    peer.machine.inject(bytes(packet))
    assert peer.machine.stack.drops[DropReason.TCP_CSUM] == 1
    assert peer.sent() == []
    with pytest.raises(BlockingIOError):
        peer.child.recv(100, peer.machine.now)


@pytest.mark.parametrize(
    "options", [b"\x02\x00\x05\x05", b"\x02\x01\x05\x05", b"\x63\x28\x00\x00", b"\x08\x0a\x00\x00"]
)
def test_bad_option_lengths_are_survived(peer, options):
    segment = tcp.encode(33333, PORT, 1, peer.flow.to_wire(1), flag_bits("P."), 257, options) + b"x"
    payload = tcp.finish(peer.machine.remote, peer.machine.local, segment)
    header = ipv4.encode(peer.machine.remote, peer.machine.local, tcp.PROTOCOL, len(payload))
    peer.machine.inject(header + payload)
    peer.receives("P. 2:12(10) ack 1 win 257")
    assert len(peer.child.recv(100, peer.machine.now)) == 11


def test_option_padding_is_zero():
    peer = Peer()
    peer.listener.listen(1)
    for options in ("<mss 1000>", "<mss 1000,sackOK,nop,nop>", "<mss 1000,sackOK,TS val 1 ecr 0,nop,wscale 7>"):
        peer.receives(f"S 0:0(0) win 32792 {options}")
        (out, *_) = peer.sent()
        octets, at = out.header.options, 0
        while at < len(octets) and octets[at] != 0:
            at += 1 if octets[at] == 1 else octets[at + 1]
        assert not any(octets[at:])
        peer = Peer()
        peer.listener.listen(1)


def test_initial_sequence_numbers_follow_a_clock_and_a_secret():
    ours, theirs = (b"\x0a\0\0\1", 80), (b"\x0a\0\0\2", 1234)
    secrets = Secrets(Random(1))
    first = secrets.isn(ours, theirs, 0)
    assert secrets.isn(ours, theirs, 4 * US * 1000) == (first + 1000) & 0xFFFFFFFF
    assert secrets.isn(ours, (theirs[0], 1235), 0) != first
    assert Secrets(Random(2)).isn(ours, theirs, 0) != first


@pytest.mark.parametrize("kind", [PACKET_BROADCAST, PACKET_MULTICAST])
def test_a_syn_to_everybody_is_dropped_silently(kind):
    peer = Peer()
    peer.listener.listen(1)
    meta = RxMeta()
    meta.packet_type = kind
    peer.machine.stack.on_frame(memoryview(peer.packet("S 0:0(0) win 32792")), peer.machine.now, meta)
    peer.machine.pump()
    assert peer.sent() == []


@pytest.mark.parametrize("source", ["224.0.0.1", "255.255.255.255", "127.0.0.1"])
def test_a_syn_from_an_invalid_source_is_dropped(source):
    peer = Peer()
    peer.listener.listen(1)
    peer.machine.remote = parse_ip(source)
    peer.receives("S 0:0(0) win 32792")
    assert peer.sent() == []


def test_acknowledgements_are_combined(peer):
    """Both segments are processed before an ACK is sent (MUST-58, MUST-59)."""
    for text in (". 1:1001(1000) ack 1 win 257", "P. 1001:2001(1000) ack 1 win 257"):
        peer.machine.stack.on_frame(memoryview(peer.packet(text)), peer.machine.now, RxMeta())
    peer.machine.pump()
    (ack,) = peer.sent()
    assert ack.header.ack == 2001


def test_unknown_ip_options_are_ignored(peer):
    packet = bytearray(peer.packet("P. 1:11(10) ack 1 win 257"))
    payload = bytes(packet[20:])
    unknown = b"\x5e\x04\0\0"
    header = ipv4.encode(peer.machine.remote, peer.machine.local, tcp.PROTOCOL, len(payload), options=unknown)
    peer.machine.inject(header + payload)
    assert len(peer.child.recv(100, peer.machine.now)) == 10


def test_ttl_and_diffserv_are_the_applications(peer):
    for name, value in ((2, 17), (1, 0x28)):
        peer.child.setsockopt(0, name, value, peer.machine.now)
    peer.child.send(b"x", peer.machine.now)
    peer.machine.pump()
    (out,) = peer.sent()
    assert (out.ttl, out.tos) == (17, 0x28)


def news_of(peer):
    """Bits of the events that wait, as an application would take them."""
    bits = 0
    while (event := peer.machine.stack.poll_event()) is not None:
        bits |= getattr(event, "news", 0)
    return bits


def test_a_soft_error_is_told(peer):
    peer.child.send(b"x", peer.machine.now)
    peer.machine.pump()
    packet = peer.packet("icmp unreachable host_unreachable [1:2(1)]")
    peer.machine.stack.on_frame(memoryview(packet), peer.machine.now, RxMeta())
    assert news_of(peer) & news.SOFT_ERROR
    assert peer.child.take_error() == 113  # EHOSTUNREACH


def test_trouble_between_r1_and_r2_is_told(peer):
    peer.child.send(b"x", peer.machine.now)
    peer.machine.pump()
    told_after = 0
    machine = peer.machine
    for retransmission in range(1, 6):
        machine.now = machine.stack.next_deadline()
        machine.stack.on_deadline(machine.now)
        told = news_of(peer) & news.SOFT_ERROR
        machine.pump()
        told_after = told_after or (retransmission if told else 0)
    assert told_after == 3  # R1 (SHLD-10: at least 3)


def test_urgent_data_is_told(peer):
    packet = peer.packet("PU. 1:11(10) ack 1 win 257 urg 10")
    peer.machine.stack.on_frame(memoryview(packet), peer.machine.now, RxMeta())
    assert news_of(peer) & news.URGENT_DATA


def test_the_right_edge_of_our_window_never_moves_back(peer):
    edge = 0
    seq = 1
    for _ in range(60):
        peer.receives(f". {seq}:{seq + 1000}(1000) ack 1 win 257")
        seq += 1000
        peer.machine.now += 50 * MS
        peer.machine.step(peer.machine.now)
        for out in peer.sent():
            right = out.header.ack + (out.header.window << 7)
            assert right >= edge
            edge = right


def full(peer):
    """Fill the receive buffer until the window is shut; returns the next sequence number of the peer."""
    seq = 1
    for _ in range(1000):
        peer.receives(f". {seq}:{seq + 1000}(1000) ack 1 win 257")
        peer.machine.step(peer.machine.now + 60 * MS)
        outs = peer.sent()
        if outs:
            seq = outs[-1].header.ack
            if outs[-1].header.window == 0:
                return seq
    raise AssertionError("the window never shut")


def small_buffer():
    peer = Peer()
    peer.listener.setsockopt(1, 8, 4000, 0)  # SO_RCVBUF
    return peer.establish()


def test_a_shut_window_opens_by_a_large_step_only():
    """MUST-39: no advance before min(MSS, half of the buffer) is free."""
    peer = small_buffer()
    full(peer)
    peer.child.recv(100, peer.machine.now)
    peer.machine.pump()
    assert peer.sent() == []
    while peer.child.connection.receiver.queued:
        peer.child.recv(1000, peer.machine.now)
        peer.machine.pump()
    updates = peer.sent()
    assert updates
    assert updates[0].header.window << 7 >= 1000


def test_a_shut_window_still_takes_acks_and_resets():
    """MUST-66."""
    peer = small_buffer()
    seq = full(peer)
    peer.child.send(bytes(100), peer.machine.now)
    peer.machine.pump()
    peer.receives(f". {seq}:{seq}(0) ack 101 win 257")
    assert peer.child.connection.tx.sender.snd_una == peer.child.connection.tx.sender.snd_nxt
    peer.receives(f"R {seq}:{seq}(0) win 0")
    assert peer.child.connection.state == "CLOSED"


def test_time_wait_lasts_a_minute():
    """MUST-13; Linux' 60 s stand for 2 MSL."""
    text = """
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
   +0 < S 0:0(0) win 32792 <mss 1000>
   +0 > S. 0:0(0) ack 1 <...>
   +0 < . 1:1(0) ack 1 win 257
   +0 accept(3, ..., ...) = 4
   +0 close(4) = 0
   +0 > F. 1:1(0) ack 1
   +0 < F. 1:1(0) ack 2 win 257
   +0 > . 2:2(0) ack 2
  +59 < F. 1:1(0) ack 2 win 257
   +0 > . 2:2(0) ack 2
  +61 < F. 1:1(0) ack 2 win 257
   +0 > R 2:2(0)
"""
    Runner(parse(text)).run()


def test_data_is_given_up_after_more_than_100_seconds(peer):
    """SHLD-11."""
    began = peer.machine.now
    peer.child.send(b"x", began)
    peer.machine.pump()
    while peer.child.connection.state != "CLOSED":
        peer.machine.step(peer.machine.now + 1000 * SECOND)
    assert peer.machine.now - began > 100 * SECOND


def test_the_address_chosen_stays():
    """MUST-44, MUST-45: IP chooses the source, and it stays for the whole connection."""
    machine = Machine(Settings())
    socket = StreamSocket(machine.tcp)
    with pytest.raises(BlockingIOError):
        socket.connect((machine.remote, 80), machine.now)
    machine.pump()
    assert socket.local()[0] == machine.local
    machine.stack.add_address(0, parse_ip("192.168.0.2"), 16, machine.now)
    machine.step(machine.now + 1100 * MS)
    assert {one.packet[12:16] for one in machine.sent} == {machine.local}
    assert len(machine.sent) == 2
