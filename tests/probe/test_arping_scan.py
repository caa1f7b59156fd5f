"""Many addresses at a rate."""

from itertools import chain

import pytest

from pytools.probe.arping_events import ArpingAnswered, ArpingConflict, ArpingEnded
from pytools.probe.arping_scan import ScanEngine
from pytools.units import MS, SECOND
from pytools.wire import arp, ethernet
from pytools.wire.addr import parse_ip
from tests.probe.arping_bench import (
    OTHER_MAC,
    OUR4,
    OUR_MAC,
    PEER4,
    PEER6,
    PEER_MAC,
    Bench,
    us4,
    us6,
)


def block(first, count):
    start = parse_ip(first)
    number = int.from_bytes(start, "big")
    return [(number + i).to_bytes(len(start), "big") for i in range(count)]


def scan(bench, *blocks, us=None, **settings):
    settings = {"interval_ns": 10 * MS, **settings}
    return ScanEngine(bench.stack, bench.port, [*chain(*blocks)], us or us4(), **settings)


def test_each_address_is_asked_once_an_interval_and_the_silent_ones_again():
    bench = Bench()
    bench.peer(PEER4)
    e = scan(bench, block("10.0.0.1", 4))
    bench.run(e)
    asked = [(round(at, 3), text.split()[2]) for at, text in bench.sent]
    assert asked == [
        (0.0, "10.0.0.1"),
        (0.01, "10.0.0.2"),
        (0.02, "10.0.0.3"),
        (0.03, "10.0.0.4"),
        (1.0, "10.0.0.1"),
        (1.02, "10.0.0.3"),
        (1.03, "10.0.0.4"),
    ]
    assert [(a.ip, a.mac) for a in bench.of(ArpingAnswered)] == [(PEER4, PEER_MAC)]
    assert (e.sent_count, e.answered_count, e.exit_status) == (7, 1, 0)


def test_the_last_address_gets_a_second_to_answer():
    bench = Bench()
    e = scan(bench, block("10.0.0.50", 2), tries=1)
    bench.run(e)
    assert bench.elapsed_s == pytest.approx(1.02)
    assert (e.exit_status, bench.of(ArpingEnded)[0].reason) == (1, "count")


def test_a_scan_that_all_answered_ends_soon():
    bench = Bench()
    bench.peer(PEER4)
    e = scan(bench, block("10.0.0.2", 1))
    bench.run(e)
    assert bench.elapsed_s == 0.25


def test_no_second_round_is_waited_for_when_all_have_answered():
    bench = Bench(delay_ns=100 * MS)
    bench.peer(PEER4, parse_ip("10.0.0.3"))
    bench.run(scan(bench, block("10.0.0.2", 2)))
    assert len(bench.sent) == 2
    assert bench.elapsed_s == pytest.approx(0.11 + 0.25)


def test_two_owners_are_told_with_both_macs():
    bench = Bench()
    bench.peer(PEER4)
    bench.peer(PEER4, mac=OTHER_MAC, defend="always")
    e = scan(bench, block("10.0.0.1", 4))
    bench.run(e)
    assert [a.mac for a in bench.of(ArpingAnswered)] == [PEER_MAC, OTHER_MAC]
    assert [c.macs for c in bench.of(ArpingConflict)] == [(PEER_MAC, OTHER_MAC)]
    assert (e.answered_count, e.duplicate_count, e.exit_status) == (1, 1, 0)


def test_two_owners_are_a_failure_when_duplicates_are_looked_for():
    bench = Bench()
    bench.peer(PEER4)
    bench.peer(PEER4, mac=OTHER_MAC, defend="always")
    e = scan(bench, block("10.0.0.1", 4), find_duplicates=True)
    bench.run(e)
    assert e.exit_status == 1


def test_listed_targets_must_all_answer():
    bench = Bench()
    bench.peer(PEER4)
    e = scan(bench, block("10.0.0.2", 1), block("10.0.0.99", 1), need_all=True)
    bench.run(e)
    assert e.exit_status == 1


def test_round_trips_count_from_each_addresss_own_question():
    bench = Bench(delay_ns=35 * MS)
    bench.peer(PEER4, parse_ip("10.0.0.3"))
    e = scan(bench, block("10.0.0.1", 20))
    bench.run(e)
    assert [a.rtt_ns for a in bench.of(ArpingAnswered)] == [35 * MS, 35 * MS]
    assert (e.rtts.count, e.rtts.max_us) == (2, 35_000)


def test_ipv6_addresses_are_scanned_by_solicitation():
    bench = Bench()
    bench.peer(PEER6)
    e = scan(bench, block("fd00::1", 4), us=us6(), tries=1)
    bench.run(e)
    assert bench.sent[1] == (0.01, "NS who-has fd00::2 tell fd00::1 (mcast)")
    assert [a.ip for a in bench.of(ArpingAnswered)] == [PEER6]


def test_the_deadline_ends_a_scan():
    bench = Bench()
    e = scan(bench, block("10.0.0.1", 200), deadline_ns=500 * MS)
    bench.run(e)
    assert bench.elapsed_s == 0.5
    assert bench.of(ArpingEnded)[0].reason == "deadline"
    assert e.sent_count == 50


def test_a_high_rate_is_kept_over_time():
    bench = Bench()
    e = scan(bench, block("10.0.0.1", 2000), interval_ns=SECOND // 10_000, tries=1)
    bench.run(e)
    assert e.sent_count == 2000
    assert bench.sent[-1][0] == pytest.approx(0.2, rel=0.01)


def test_an_answer_to_another_address_of_ours_is_none_to_the_scan():
    bench = Bench()
    packet = arp.encode(arp.REPLY, PEER_MAC, PEER4, OUR_MAC, parse_ip("10.0.0.7"))
    bench.inject(0.5, ethernet.encode(OUR_MAC, PEER_MAC, ethernet.ETHERTYPE_ARP) + packet)
    e = scan(bench, block("10.0.0.2", 1), tries=1)
    bench.run(e)
    assert (e.received_count, e.answered_count) == (0, 0)


def test_gratuitous_packets_are_no_answers():
    bench = Bench()
    peer = bench.peer(PEER4)
    e = scan(bench, block("10.0.0.5", 10), block("10.0.0.2", 1), tries=1)
    bench.run(e, until_s=0.001)
    peer.engine.announce(0, PEER4, bench.network.now())
    peer.settle()
    bench.run(e, until_s=0.05)
    assert bench.of(ArpingAnswered) == []
    assert OUR4 not in [a.ip for a in bench.of(ArpingAnswered)]
