"""The front door: trace order, counters, what the driver sees, mistakes of the caller."""

import errno

import pytest
from scapy.layers.inet import ICMP, IP, UDP

from pytools.engine import Port
from pytools.errors import LocalProtocolError
from pytools.stack.events import SendFailed
from pytools.trace.events import Dropped, FrameReceived
from pytools.units import NEVER
from pytools.wire.addr import parse_ip
from tests.stack.story import arp_request

ECHO = IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(id=1, seq=1)


def known(host, *addresses, **settings):
    t = host(*(addresses or ("10.0.0.10/24",)), **settings)
    t.knows("10.0.0.2")
    return t


def names(t):
    return [type(event).__name__ for event in t.traced]


def test_the_frame_comes_first_and_settled_last(host):
    t = known(host)
    t.listens("frame", "icmp", "settle")
    t.receives(ECHO, at=4)
    assert names(t) == ["FrameReceived", "EchoAnswered", "Settled", "FrameSent", "Settled"]
    received = t.traced[0]
    assert (received.now, received.port, received.at, type(received.frame)) == (0, 0, 4, bytes)


def test_a_refused_frame_is_told_with_its_reason(host):
    t = known(host)
    t.listens("frame", "drop", "settle")
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", chksum=1) / ICMP())
    assert names(t) == ["FrameReceived", "Dropped", "Settled"]
    assert t.heard(Dropped) == [(0, "IP_CSUM", "")]


def test_the_detail_of_one_refusal_is_not_told_of_the_next(host):
    t = known(host)
    t.listens("drop")
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10") / UDP(len=3))
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(type=0, id=5))
    assert [detail for _, _, detail in t.heard(Dropped)] == ["UDP length below 8", ""]


def test_a_deadline_settles(host):
    t = known(host)
    t.ping("10.0.0.99")
    t.listens("timer", "settle")
    t.advance(0.5)
    assert names(t) == []
    t.advance(0.5)
    assert names(t) == ["TimerFired", "Settled", "Settled"]


def test_polling_for_nothing_tells_nothing(host):
    t = known(host)
    t.listens("frame", "settle")
    assert t.stack.poll_transmit(t.now) is None
    assert t.traced == []


def test_what_we_send_ourselves_settles(host):
    t = known(host)
    t.listens("icmp", "settle")
    t.ping("10.0.0.10")
    assert names(t) == ["EchoAnswered", "Settled"]


def test_two_of_our_own_that_talk_for_ever_do_not_hold_the_loop(host):
    t = known(host, transmit_limit=50)

    class Parrot:
        def on_packet(self, packet, now):
            t.stack.send_ip(200, packet.src, (b"again",), now)

        def on_error(self, error, now):
            return None

    t.stack.register(200, Parrot())
    t.stack.send_ip(200, parse_ip("10.0.0.10"), (b"first",), t.now)
    assert t.stack.poll_transmit(t.now) is None
    assert t.stack.frames == 50


def test_each_frame_is_counted_once(host):
    t = known(host)
    for layer in (ECHO, IP(src="10.0.0.2", dst="10.0.0.77") / ICMP(), IP(src="10.0.0.2", dst="10.0.0.10") / UDP()):
        t.receives(layer)
    t.receives(b"")
    assert (t.stack.frames, t.stack.accepted) == (4, 1)
    assert t.drops == {"IP_INADDRERRORS": 1, "NO_SOCKET": 1, "ETHERNET_HEADER": 1}


def test_the_deadline_is_never_when_nothing_waits(host):
    t = known(host)
    assert t.stack.next_deadline() == NEVER
    t.stack.on_deadline(NEVER)


def test_a_ready_frame_goes_as_it_is(host):
    t = known(host)
    assert t.stack.send_frame(0, (b"\xff" * 6, b"rest"), "token") == 0
    frame = t.stack.poll_transmit(t.now)
    assert (frame.port, frame.parts, frame.token) == (0, (b"\xff" * 6, b"rest"), "token")


def test_a_refusal_of_the_link_becomes_an_event(host):
    t = known(host)
    t.stack.on_transmitted("token", 5, None, None)
    t.stack.on_transmitted("token", 5, 9, None)
    t.stack.on_transmitted("token", 6, None, OSError(errno.ENETDOWN, "Network is down"))
    (failed,) = t.events(SendFailed)
    assert (failed.now, failed.errno, failed.token) == (6, errno.ENETDOWN, "token")


def test_events_that_nobody_takes_are_bounded(host):
    t = known(host, event_limit=3)
    t.stack.watch(0)
    for _ in range(10):
        t.receives(arp_request("10.0.0.3", sender="10.0.0.2"))
    assert len(t.events()) == 3
    assert t.stack.discards == {"SOCKET_RCVBUFF": 7}


def test_mistakes_of_the_caller(host):
    t = known(host)
    with pytest.raises(LocalProtocolError, match="port 0 is there already"):
        t.stack.add_port(Port(0, "eth0", mac=b"\2" * 6))
    for call in (t.stack.addresses, t.stack.neighbors, t.stack.watch):
        with pytest.raises(LocalProtocolError, match="there is no port 5"):
            call(5)
    with pytest.raises(LocalProtocolError, match="there is no port 5"):
        t.stack.send_frame(5, (b"",))


def test_queries(host):
    t = known(host)
    dst = parse_ip("10.0.0.2")
    assert t.stack.route(dst).port == 0
    assert t.stack.route(dst, port=1) is None
    assert t.stack.path_mtu(dst) == 1500
    assert t.stack.source_for(dst) == parse_ip("10.0.0.10")
    assert [a.address for a in t.stack.addresses(0)] == [parse_ip("10.0.0.10")]
    assert [n.address for n in t.stack.neighbors(0)] == [dst]


def test_tracing_is_not_paid_for_when_nobody_listens(host):
    t = known(host)
    built = []
    original = FrameReceived.__init__
    try:
        FrameReceived.__init__ = lambda self, *args: built.append(args)
        t.receives(ECHO)
    finally:
        FrameReceived.__init__ = original
    assert built == []
