"""One target: what goes out when, what counts as an answer, when it is over, and with which status."""

import errno

import pytest

from pytools.engine import RxMeta
from pytools.probe.arping import ANNOUNCE, ANSWER, DETECT, ArpingConfig, ArpingEngine
from pytools.probe.arping_events import (
    ArpingAnswered,
    ArpingConflict,
    ArpingEnded,
    ArpingMissed,
    ArpingSendFailed,
    ArpingSent,
)
from pytools.probe.arping_wire import Station
from pytools.trace.events import ProbeAnswered, ProbeSent
from pytools.units import MS, SECOND
from pytools.wire import arp, ethernet
from pytools.wire.addr import UNSPECIFIED4, UNSPECIFIED6, format_ip, multicast_mac, parse_ip, solicited_node
from pytools.wire.icmp6 import NdOptions, NeighborSolicitation
from pytools.wire.ipv6 import encode as ipv6_header
from tests.probe.arping_bench import (
    NOBODY4,
    NOBODY6,
    OTHER_MAC,
    OUR4,
    OUR6,
    OUR_MAC,
    PEER4,
    PEER6,
    PEER_MAC,
    START,
    Bench,
)

BOTH = pytest.mark.parametrize(("target", "source"), [(PEER4, OUR4), (PEER6, OUR6)], ids=["ARP", "ND"])
NOBODY = pytest.mark.parametrize(("target", "source"), [(NOBODY4, OUR4), (NOBODY6, OUR6)], ids=["ARP", "ND"])


def engine(bench, target, source=None, mode="ask", **settings):
    if source is None:
        source = OUR4 if len(target) == 4 else OUR6
    return ArpingEngine(bench.stack, bench.port, target, ArpingConfig(Station(OUR_MAC, source), mode, **settings))


def question(target, source, way):
    kind = "ARP" if len(target) == 4 else "NS"
    cast = {"all": " (bcast)" if len(target) == 4 else " (mcast)", "one": ""}[way]
    return f"{kind} who-has {format_ip(target)} tell {format_ip(source)}{cast}"


def reply(sender=PEER_MAC, sender_ip=PEER4, target=OUR_MAC, target_ip=OUR4, operation=arp.REPLY, dst=OUR_MAC):
    return ethernet.encode(dst, sender, ethernet.ETHERTYPE_ARP) + arp.encode(
        operation, sender, sender_ip, target, target_ip
    )


@BOTH
def test_the_first_question_goes_to_all_and_the_next_to_who_answered(target, source):
    bench = Bench()
    bench.peer(PEER4, PEER6)
    e = engine(bench, target, source, count=3)
    bench.run(e)
    assert bench.sent == [
        (0.0, question(target, source, "all")),
        (1.0, question(target, source, "one")),
        (2.0, question(target, source, "one")),
    ]
    assert (e.sent_count, e.broadcast_count, e.received_count) == (3, 1, 3)
    assert [a.mac for a in bench.of(ArpingAnswered)] == [PEER_MAC] * 3
    assert e.exit_status == 0


@BOTH
def test_broadcast_only_keeps_asking_all(target, source):
    bench = Bench()
    bench.peer(PEER4, PEER6)
    e = engine(bench, target, source, count=2, broadcast_only=True)
    bench.run(e)
    assert [text for _, text in bench.sent] == [question(target, source, "all")] * 2
    assert (e.broadcast_count, e.received_count) == (2, 2)


@NOBODY
def test_nobody_answers(target, source):
    bench = Bench()
    e = engine(bench, target, source, count=2)
    bench.run(e)
    assert (e.sent_count, e.broadcast_count, e.received_count) == (2, 2, 0)
    assert [m.seq for m in bench.of(ArpingMissed)] == [1, 2]
    assert e.exit_status == 1
    assert bench.of(ArpingEnded)[0].reason == "count"


def test_the_count_ends_one_interval_after_the_last_probe_as_iputils_has_it():
    bench = Bench()
    bench.peer(PEER4)
    bench.run(engine(bench, PEER4, count=2))
    assert bench.elapsed_s == 2.0


def test_with_a_short_interval_the_last_probe_still_gets_a_second():
    bench = Bench()
    bench.run(engine(bench, NOBODY4, count=3, interval_ns=10 * MS))
    assert [t for t, _ in bench.sent] == [0.0, 0.01, 0.02]
    assert bench.elapsed_s == pytest.approx(1.02)


def test_with_a_short_interval_an_answered_run_ends_at_once():
    bench = Bench()
    bench.peer(PEER4)
    bench.run(engine(bench, PEER4, count=3, interval_ns=10 * MS))
    assert bench.elapsed_s == pytest.approx(0.03)


def test_a_late_answer_to_a_short_run_is_waited_for():
    bench = Bench(delay_ns=300 * MS)
    bench.peer(PEER4)
    e = engine(bench, PEER4, count=2, interval_ns=10 * MS, broadcast_only=True)
    bench.run(e)
    assert e.received_count == 2
    assert bench.elapsed_s < 0.5


def test_the_first_reply_ends_when_asked_to():
    bench = Bench()
    bench.peer(PEER4)
    e = engine(bench, PEER4, quit_on_reply=True, count=5)
    bench.run(e)
    assert (e.sent_count, e.received_count, bench.elapsed_s) == (1, 1, 0.0)
    assert bench.of(ArpingEnded)[0].reason == "reply"
    assert e.exit_status == 0


def test_the_deadline_ends_a_run():
    bench = Bench()
    e = engine(bench, NOBODY4, deadline_ns=2500 * MS)
    bench.run(e)
    assert (e.sent_count, bench.elapsed_s, e.exit_status) == (3, 2.5, 1)


def test_count_and_deadline_want_as_many_replies():
    bench = Bench()
    bench.peer(PEER4)
    e = engine(bench, PEER4, count=2, deadline_ns=10 * SECOND)
    bench.run(e)
    assert (e.received_count, bench.elapsed_s, e.exit_status) == (2, 1.0, 0)


def test_fewer_replies_than_count_within_the_deadline_are_a_failure():
    bench = Bench(delay_ns=600 * MS)
    bench.peer(PEER4)
    e = engine(bench, PEER4, count=2, deadline_ns=1500 * MS)
    bench.run(e)
    assert (e.received_count, e.exit_status) == (1, 1)


def test_more_replies_than_probes_are_no_failure():
    bench = Bench()
    bench.peer(PEER4)
    bench.peer(PEER4, mac=OTHER_MAC, defend="always")
    e = engine(bench, PEER4, count=1)
    bench.run(e)
    assert (e.received_count, e.exit_status) == (2, 0)


def test_replies_wanted_ends_after_so_many_replies():
    bench = Bench()
    bench.peer(PEER4)
    e = engine(bench, PEER4, replies_wanted=3)
    bench.run(e)
    assert (e.sent_count, e.received_count, e.exit_status) == (3, 3, 0)
    assert bench.of(ArpingEnded)[0].reason == "replies"


def test_fewer_than_the_replies_wanted_are_a_failure():
    bench = Bench()
    e = engine(bench, NOBODY4, replies_wanted=3, count=3)
    bench.run(e)
    assert e.exit_status == 1


@BOTH
def test_the_round_trip_is_from_the_send_to_the_receive_stamp(target, source):
    bench = Bench(delay_ns=7 * MS)
    bench.peer(PEER4, PEER6)
    e = engine(bench, target, source, count=1)
    bench.run(e)
    assert [a.rtt_ns for a in bench.of(ArpingAnswered)] == [7 * MS]
    assert (e.rtts.count, e.rtts.min_us) == (1, 7000)


def test_two_owners_are_told_when_duplicates_are_looked_for():
    bench = Bench()
    bench.peer(PEER4)
    bench.peer(PEER4, mac=OTHER_MAC, defend="always")
    e = engine(bench, PEER4, count=2, find_duplicates=True)
    bench.run(e)
    assert [text for _, text in bench.sent] == [question(PEER4, OUR4, "all")] * 2
    assert [c.macs for c in bench.of(ArpingConflict)] == [(PEER_MAC, OTHER_MAC)]
    assert e.exit_status == 1


def test_one_owner_that_answers_twice_is_no_duplicate():
    bench = Bench()
    for at in (0.1, 0.2):
        bench.inject(at, reply())
    e = engine(bench, PEER4, count=1, find_duplicates=True)
    bench.run(e)
    assert (e.received_count, e.exit_status, bench.of(ArpingConflict)) == (2, 0, [])


@NOBODY
def test_a_free_address_is_free(target, source):
    bench = Bench()
    e = engine(bench, target, bytes(len(target)), mode=DETECT, count=2)
    bench.run(e)
    assert [text for _, text in bench.sent] == [question(target, bytes(len(target)), "all") + " probe"] * 2
    assert e.exit_status == 0


@BOTH
def test_the_first_objection_ends_duplicate_detection(target, source):
    bench = Bench()
    bench.peer(PEER4, PEER6)
    e = engine(bench, target, bytes(len(target)), mode=DETECT, count=3)
    bench.run(e)
    (answer,) = bench.of(ArpingAnswered)
    # Nobody is asked for but us: no "for ..." in the line.
    assert (answer.ip, answer.mac, answer.asked_ip, answer.asked_mac) == (target, PEER_MAC, b"", b"")
    assert answer.is_broadcast == (len(target) == 16)
    assert (e.sent_count, e.exit_status) == (1, 1)


def test_a_request_from_the_tested_address_is_an_objection():
    bench = Bench()
    bench.inject(0.5, reply(OTHER_MAC, NOBODY4, bytes(6), PEER4, arp.REQUEST, ethernet.BROADCAST))
    e = engine(bench, NOBODY4, UNSPECIFIED4, mode=DETECT, count=3)
    bench.run(e)
    (answer,) = bench.of(ArpingAnswered)
    assert answer.is_request
    assert answer.is_broadcast
    assert (answer.asked_ip, answer.asked_mac) == (PEER4, bytes(6))
    assert (e.requests_received, e.broadcasts_received, e.exit_status) == (1, 1, 1)


def test_another_station_that_tests_the_same_ipv6_address_is_an_objection():
    bench = Bench()
    group = solicited_node(NOBODY6)
    message = NeighborSolicitation(NOBODY6, NdOptions()).encode(UNSPECIFIED6, group)
    header = ipv6_header(UNSPECIFIED6, group, 58, len(message), hop_limit=255)
    frame = ethernet.encode(multicast_mac(group), OTHER_MAC, ethernet.ETHERTYPE_IPV6) + header + message
    bench.inject(0.5, frame)
    e = engine(bench, NOBODY6, UNSPECIFIED6, mode=DETECT, count=3)
    bench.run(e)
    assert e.exit_status == 1
    assert bench.of(ArpingAnswered)[0].mac == OTHER_MAC


def test_our_own_probe_that_comes_back_is_no_objection():
    bench = Bench()
    probe = arp.encode(arp.REQUEST, OUR_MAC, NOBODY4, bytes(6), NOBODY4)
    for source in (OUR_MAC, OTHER_MAC):  # by a loop, and by somebody who sends it on
        bench.inject(0.5, ethernet.encode(ethernet.BROADCAST, source, ethernet.ETHERTYPE_ARP) + probe)
    e = engine(bench, NOBODY4, UNSPECIFIED4, mode=DETECT, count=1)
    bench.run(e)
    assert e.exit_status == 0


def test_unsolicited_requests_say_where_we_are_and_end_with_the_last():
    bench = Bench()
    e = engine(bench, OUR4, OUR4, mode=ANNOUNCE, count=2)
    bench.run(e)
    announcement = "ARP who-has 10.0.0.1 tell 10.0.0.1 (bcast) announcement"
    assert bench.sent == [(0.0, announcement), (1.0, announcement)]
    assert (bench.elapsed_s, e.sent_count, e.broadcast_count, e.exit_status) == (1.0, 2, 2, 0)


def test_unsolicited_request_for_another_with_a_source():
    bench = Bench()
    bench.peer(PEER4)
    bench.run(engine(bench, PEER4, OUR4, mode=ANNOUNCE, count=1))
    assert [text for _, text in bench.sent] == [question(PEER4, OUR4, "all")]


def test_answer_mode_sends_replies_to_all():
    bench = Bench()
    bench.run(engine(bench, OUR4, OUR4, mode=ANSWER, count=1))
    assert [text for _, text in bench.sent] == ["ARP 10.0.0.1 is-at 02:00:00:00:00:01 (bcast)"]


@pytest.mark.parametrize("mode", [ANNOUNCE, ANSWER])
def test_an_unsolicited_advertisement_updates_the_neighbours(mode):
    bench = Bench()
    peer = bench.peer(PEER6)
    peer.engine.resolve(0, OUR6, START)
    bench.run(engine(bench, OUR6, OUR6, mode=mode, count=1))
    assert [text for _, text in bench.sent] == ["NA fd00::1 is-at 02:00:00:00:00:01 (mcast) override"]
    bench.network.wait(START + SECOND)
    assert [(n.address, n.mac) for n in peer.engine.neighbors(0)] == [(OUR6, OUR_MAC)]


@pytest.mark.parametrize(
    "frame",
    [
        reply(sender_ip=NOBODY4),
        reply(target_ip=NOBODY4),
        reply(target=OTHER_MAC),
        reply(operation=9),
        reply(dst=OTHER_MAC),
        reply()[:41],
    ],
    ids=["another sender", "for another address", "for another MAC", "InARP", "to another station", "cut short"],
)
def test_what_is_no_answer(frame):
    bench = Bench()
    bench.inject(0.5, frame)
    e = engine(bench, PEER4, count=1)
    bench.run(e)
    assert (e.received_count, e.exit_status) == (0, 1)


def test_a_broadcast_reply_is_an_answer():
    bench = Bench()
    bench.inject(0.5, reply(dst=ethernet.BROADCAST))
    e = engine(bench, PEER4, count=1)
    bench.run(e)
    assert (e.received_count, e.broadcasts_received) == (1, 1)


def test_a_source_that_is_not_ours_is_asked_from_and_answered_to():
    for target, source in ((PEER4, parse_ip("10.0.0.77")), (PEER6, parse_ip("fd00::77"))):
        bench = Bench()
        bench.peer(PEER4, PEER6)
        e = engine(bench, target, source, count=1)
        bench.run(e)
        assert bench.sent == [(0.0, question(target, source, "all"))]
        assert e.received_count == 1


def test_the_kernels_address_is_never_answered_for_by_us():
    bench = Bench()
    bench.inject(0.2, reply(PEER_MAC, PEER4, bytes(6), OUR4, arp.REQUEST, ethernet.BROADCAST))
    bench.run(engine(bench, NOBODY4, count=1))
    assert [text for _, text in bench.sent] == [question(NOBODY4, OUR4, "all")]


def test_a_given_mac_is_asked_from_the_first_question_on():
    bench = Bench()
    bench.peer(PEER4)
    e = engine(bench, PEER4, count=1, target_mac=PEER_MAC)
    bench.run(e)
    assert bench.sent == [(0.0, question(PEER4, OUR4, "one"))]
    assert (e.broadcast_count, e.received_count) == (0, 1)


def test_frames_carry_the_vlan_tag_of_the_port():
    tci = 3 << 13 | 42
    bench = Bench(vlans=(tci,))
    bench.peer(PEER4, PEER6, vlans=(42,))
    frames = []
    bench.stack.trace.subscribe(lambda event: frames.append(b"".join(event.parts)) if hasattr(event, "parts") else 0)
    for target in (PEER4, PEER6):
        e = engine(bench, target, count=1)
        bench.run(e)
        assert e.received_count == 1
    assert {ethernet.decode(frame).vlans for frame in frames} == {(tci,)}


def test_an_interface_that_is_down_ends_the_run_with_status_2():
    bench = Bench()
    e = engine(bench, PEER4)
    e.on_deadline(START)
    transmit = e.poll_transmit(START)
    e.on_transmitted(transmit.token, START, None, OSError(errno.ENETDOWN, "Network is down"))
    failed = e.poll_event()
    assert isinstance(failed, ArpingSendFailed)
    assert (failed.errno, failed.is_final) == (errno.ENETDOWN, True)
    assert (e.done, e.exit_status) == (True, 2)


def test_an_address_is_not_called_free_when_nothing_could_be_sent():
    bench = Bench()
    e = engine(bench, NOBODY4, UNSPECIFIED4, mode=DETECT, count=1)
    e.on_deadline(START)
    e.on_transmitted(e.poll_transmit(START).token, START, None, OSError(errno.ENOBUFS, "No buffer space"))
    e.on_deadline(START + SECOND)
    assert (e.done, e.exit_status) == (True, 2)


def test_one_refused_probe_of_many_is_no_failure():
    bench = Bench()
    bench.peer(PEER4)
    e = engine(bench, PEER4, count=2)
    e.on_deadline(START)
    e.on_transmitted(e.poll_transmit(START).token, START, None, OSError(errno.ENOBUFS, "No buffer space"))
    bench.run(e)
    assert (e.sent_count, e.exit_status) == (1, 0)


def test_an_answer_before_anything_was_sent_is_unsolicited():
    bench = Bench()
    e = engine(bench, PEER4)
    e.on_frame(memoryview(reply()), START, RxMeta())
    assert e.poll_event().rtt_ns is None


def test_probes_keep_their_pace_when_the_loop_was_late():
    bench = Bench()
    e = engine(bench, NOBODY4)
    e.on_deadline(START)
    e.on_deadline(START + 1300 * MS)
    assert e.next_deadline() == START + 2 * SECOND


def test_a_loop_that_slept_long_sends_no_burst():
    bench = Bench()
    e = engine(bench, NOBODY4)
    e.on_deadline(START)
    e.on_deadline(START + 60 * SECOND)
    e.on_deadline(START + 60 * SECOND)
    e.on_deadline(START + 60 * SECOND)
    sent = 0
    while e.poll_transmit(START + 60 * SECOND) is not None:
        sent += 1
    assert sent <= 3


def test_finish_is_for_good_and_the_first_reason_counts():
    bench = Bench()
    e = engine(bench, NOBODY4)
    e.on_deadline(START)
    e.finish(START, "interrupted")
    e.finish(START, "deadline")
    reasons = [event.reason for event in iter(e.poll_event, None) if isinstance(event, ArpingEnded)]
    assert reasons == ["interrupted"]


def test_interrupted_duplicate_detection_without_replies_is_free_as_iputils_has_it():
    bench = Bench()
    e = engine(bench, NOBODY4, UNSPECIFIED4, mode=DETECT)
    bench.run(e, until_s=0.5)
    e.finish(bench.network.now())
    assert e.exit_status == 0


def test_the_trace_tells_of_probes_and_answers():
    bench = Bench(delay_ns=5 * MS)
    bench.peer(PEER4)
    told = []
    bench.stack.trace.subscribe(told.append, ("probe",))
    bench.run(engine(bench, PEER4, count=1))
    sent, answered = told
    assert isinstance(sent, ProbeSent)
    assert isinstance(answered, ProbeAnswered)
    assert (sent.target, sent.seq, answered.rtt_ns) == ("10.0.0.2", 1, 5 * MS)


def test_what_was_sent_is_told_with_its_kind():
    bench = Bench()
    bench.peer(PEER4)
    bench.run(engine(bench, PEER4, count=2))
    assert [(s.seq, s.kind, s.is_broadcast) for s in bench.of(ArpingSent)] == [
        (1, "question", True),
        (2, "question", False),
    ]


def test_an_answer_that_the_probe_takes_is_not_counted_as_dropped():
    for target in (PEER4, PEER6):
        bench = Bench()
        bench.peer(PEER4, PEER6)
        bench.run(engine(bench, target, count=2))
        assert bench.stack.drops == {}
