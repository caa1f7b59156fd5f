"""A MAC as target: an ICMP echo request to that station."""

import pytest

from pytools.probe.arping import ArpingConfig
from pytools.probe.arping_events import ArpingAnswered
from pytools.probe.arping_mac import PAYLOAD, MacEngine
from pytools.probe.arping_wire import Station
from pytools.units import MS
from pytools.wire import ethernet, icmp, ipv4
from pytools.wire.addr import ALL_NODES, BROADCAST4
from tests.probe.arping_bench import (
    OTHER_MAC,
    OUR4,
    OUR6,
    OUR_MAC,
    PEER4,
    PEER6,
    PEER_MAC,
    Bench,
)


def engine(bench, mac, ip, source, **settings):
    return MacEngine(bench.stack, bench.port, mac, ip, 77, ArpingConfig(Station(OUR_MAC, source), **settings))


@pytest.mark.parametrize(
    ("ip", "source", "answers", "settings"),
    [
        (PEER4, OUR4, PEER4, {}),
        (BROADCAST4, OUR4, PEER4, {"answer_broadcast_echo": True}),
        (PEER6, OUR6, PEER6, {}),
        (ALL_NODES, OUR6, PEER6, {}),
    ],
    ids=["IPv4", "IPv4 broadcast", "IPv6", "IPv6 all nodes"],
)
def test_the_station_answers(ip, source, answers, settings):
    bench = Bench(shared=False)  # the station asks for our MAC before it answers
    bench.peer(PEER4, PEER6, **settings)
    e = engine(bench, PEER_MAC, ip, source, count=2)
    bench.run(e)
    assert [(a.ip, a.mac, a.rtt_ns) for a in bench.of(ArpingAnswered)] == [(answers, PEER_MAC, 0)] * 2
    assert (e.sent_count, e.broadcast_count, e.received_count, e.exit_status) == (2, 0, 2, 0)


def test_a_host_does_not_answer_a_broadcast_by_default():
    bench = Bench()
    bench.peer(PEER4)
    e = engine(bench, PEER_MAC, BROADCAST4, OUR4, count=1)
    bench.run(e)
    assert (e.received_count, e.exit_status) == (0, 1)


def test_only_the_asked_station_counts():
    bench = Bench(shared=False)
    e = engine(bench, PEER_MAC, PEER4, OUR4, count=1)
    message = icmp.encode_echo(77, 1, PAYLOAD, icmp.ECHO_REPLY)
    packet = ipv4.encode(PEER4, OUR4, ipv4.PROTO_ICMP, len(message)) + message
    for at, mac in ((0.1, OTHER_MAC), (0.2, PEER_MAC)):
        bench.inject(at, ethernet.encode(OUR_MAC, mac, ethernet.ETHERTYPE_IPV4) + packet)
    bench.run(e)
    assert [(a.mac, a.rtt_ns) for a in bench.of(ArpingAnswered)] == [(PEER_MAC, 200 * MS)]


def test_a_late_answer_counts_from_its_own_question():
    bench = Bench(delay_ns=1400 * MS, shared=False)
    bench.peer(PEER4).engine.set_neighbor(0, OUR4, OUR_MAC)
    e = engine(bench, PEER_MAC, PEER4, OUR4, count=3)
    bench.run(e)
    assert [a.rtt_ns for a in bench.of(ArpingAnswered)] == [1400 * MS] * 2


def test_the_frame_is_an_echo_request_to_the_mac():
    bench = Bench()
    e = engine(bench, PEER_MAC, PEER4, OUR4, count=1)
    frames = []
    bench.stack.trace.subscribe(lambda event: frames.append(b"".join(event.parts)) if hasattr(event, "parts") else 0)
    bench.run(e)
    (frame,) = frames
    assert frame[:14] == PEER_MAC + OUR_MAC + b"\x08\x00"
    assert len(frame) == 14 + 20 + 64
    assert "ECHO id 77 seq 1 " in bench.sent[0][1]
