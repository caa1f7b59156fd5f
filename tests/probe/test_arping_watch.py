"""Watching for conflicts: what is one, what is only a move, how often it is told."""

import pytest

from pytools.probe.arping_events import ArpingConflict, ArpingEnded, ArpingMoved
from pytools.probe.arping_watch import WatchEngine
from pytools.units import SECOND
from pytools.wire import arp, ethernet
from pytools.wire.addr import parse_ip, parse_mac
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

THIRD_MAC = parse_mac("02:00:00:00:00:04")


def claim(bench, at_s, mac, ip=PEER4, target=PEER4, dst=ethernet.BROADCAST):
    packet = arp.encode(arp.REQUEST, mac, ip, bytes(6), target)
    bench.inject(at_s, ethernet.encode(dst, mac, ethernet.ETHERTYPE_ARP) + packet)


def test_one_owner_is_no_conflict():
    bench = Bench()
    for at in range(1, 5):
        claim(bench, at, PEER_MAC)
    e = WatchEngine(bench.stack, bench.port, us4(), deadline_ns=10 * SECOND)
    bench.run(e)
    assert [type(event) for event in bench.events] == [ArpingEnded]
    assert (e.address_count, e.exit_status, bench.sent) == (1, 0, [])


def test_an_address_that_changes_hands_has_moved():
    bench = Bench()
    claim(bench, 1, PEER_MAC)
    claim(bench, 4, OTHER_MAC)
    claim(bench, 5, OTHER_MAC)
    e = WatchEngine(bench.stack, bench.port, us4(), deadline_ns=10 * SECOND)
    bench.run(e)
    (moved,) = bench.of(ArpingMoved)
    assert (moved.ip, moved.old_mac, moved.mac, moved.silent_ns) == (PEER4, PEER_MAC, OTHER_MAC, 3 * SECOND)
    assert (e.move_count, e.conflict_count, e.exit_status) == (1, 0, 0)


def test_the_former_owner_heard_again_is_a_conflict():
    bench = Bench()
    for at, mac in ((1, PEER_MAC), (2, OTHER_MAC), (3, PEER_MAC)):
        claim(bench, at, mac)
    e = WatchEngine(bench.stack, bench.port, us4(), deadline_ns=10 * SECOND)
    bench.run(e)
    (conflict,) = bench.of(ArpingConflict)
    assert (conflict.ip, set(conflict.macs)) == (PEER4, {PEER_MAC, OTHER_MAC})
    assert (e.conflict_count, e.exit_status) == (1, 1)


def test_a_standby_router_that_gives_the_address_back_much_later_is_no_conflict():
    bench = Bench()
    for at, mac in ((1, PEER_MAC), (2, OTHER_MAC), (90, PEER_MAC)):
        claim(bench, at, mac)
    e = WatchEngine(bench.stack, bench.port, us4(), deadline_ns=100 * SECOND)
    bench.run(e, until_s=200)
    assert (e.move_count, e.conflict_count) == (2, 0)


def test_a_lasting_conflict_is_told_every_ten_seconds_and_counted_once():
    bench = Bench()
    for at in range(1, 31):
        claim(bench, at, PEER_MAC if at % 2 else OTHER_MAC)
    e = WatchEngine(bench.stack, bench.port, us4(), deadline_ns=31 * SECOND)
    bench.run(e)
    assert [round((c.now - bench.of(ArpingConflict)[0].now) / SECOND) for c in bench.of(ArpingConflict)] == [0, 10, 20]
    assert e.conflict_count == 1


def test_every_pair_of_owners_is_told():
    bench = Bench()
    for at, mac in enumerate((PEER_MAC, OTHER_MAC, THIRD_MAC, PEER_MAC, OTHER_MAC, THIRD_MAC), 1):
        claim(bench, at, mac)
    e = WatchEngine(bench.stack, bench.port, us4(), deadline_ns=31 * SECOND)
    bench.run(e)
    assert e.conflict_count == 3


def test_somebody_with_our_own_address_is_a_conflict_at_once():
    bench = Bench()
    claim(bench, 1, PEER_MAC, OUR4, OUR4)
    e = WatchEngine(bench.stack, bench.port, us4(), own=[OUR4], deadline_ns=2 * SECOND)
    bench.run(e)
    (conflict,) = bench.of(ArpingConflict)
    assert (conflict.macs, conflict.why) == ((OUR_MAC, PEER_MAC), "it is ours")


@pytest.mark.parametrize(("target", "us"), [(PEER4, us4), (PEER6, us6)], ids=["ARP", "ND"])
def test_two_that_answer_the_same_question_are_in_conflict(target, us):
    bench = Bench()
    bench.peer(target)
    bench.peer(target, mac=OTHER_MAC, defend="always")
    e = WatchEngine(bench.stack, bench.port, us(), [target], deadline_ns=2 * SECOND)
    bench.run(e)
    assert bench.of(ArpingConflict)[0].why == "both answer"
    assert set(bench.of(ArpingConflict)[0].macs) == {PEER_MAC, OTHER_MAC}
    assert e.exit_status == 1


def test_targets_are_asked_by_broadcast_every_interval():
    bench = Bench()
    bench.peer(PEER4)
    e = WatchEngine(bench.stack, bench.port, us4(), [PEER4], interval_ns=2 * SECOND, deadline_ns=5 * SECOND)
    bench.run(e)
    assert [at for at, text in bench.sent if "(bcast)" in text] == [0.0, 2.0, 4.0]
    assert (e.sent_count, e.received_count) == (3, 3)


def test_with_targets_other_addresses_are_left_alone():
    bench = Bench()
    for at, mac in ((1, PEER_MAC), (2, OTHER_MAC), (3, PEER_MAC)):
        claim(bench, at, mac, parse_ip("10.0.0.7"))
    e = WatchEngine(bench.stack, bench.port, us4(), [PEER4], deadline_ns=5 * SECOND)
    bench.run(e)
    assert e.address_count == 0


def test_what_others_say_to_each_other_is_overheard():
    """A promiscuous port gets it, the stack does not take it."""
    bench = Bench()
    for at, mac in ((1, PEER_MAC), (2, OTHER_MAC), (3, PEER_MAC)):
        claim(bench, at, mac, dst=THIRD_MAC)
    e = WatchEngine(bench.stack, bench.port, us4(), deadline_ns=10 * SECOND)
    bench.run(e)
    assert (e.move_count, e.conflict_count, bench.stack.drops) == (1, 1, {"OTHERHOST": 3})


def test_what_others_say_in_another_vlan_is_not():
    bench = Bench(vlans=(7,))
    for at, mac in ((1, PEER_MAC), (2, OTHER_MAC), (3, PEER_MAC)):
        claim(bench, at, mac, dst=THIRD_MAC)
    e = WatchEngine(bench.stack, bench.port, us4(), deadline_ns=10 * SECOND)
    bench.run(e)
    assert e.address_count == 0


def test_probes_claim_nothing():
    bench = Bench()
    claim(bench, 1, PEER_MAC, bytes(4))
    claim(bench, 2, OTHER_MAC, bytes(4))
    e = WatchEngine(bench.stack, bench.port, us4(), deadline_ns=5 * SECOND)
    bench.run(e)
    assert (e.address_count, e.move_count, e.conflict_count) == (0, 0, 0)


def test_memory_is_bounded():
    bench = Bench()
    e = WatchEngine(bench.stack, bench.port, us4(), deadline_ns=SECOND)
    e.on_deadline(0)
    import pytools.probe.arping_watch as module

    assert module._ADDRESSES == 65536
    for number in range(300):
        ip = (0x0A000000 + number).to_bytes(4, "big")
        for last in range(20):
            mac = bytes((2, 0, 0, 0, 9, last))
            frame = ethernet.encode(ethernet.BROADCAST, mac, ethernet.ETHERTYPE_ARP)
            e.on_frame(
                memoryview(frame + arp.encode(arp.REQUEST, mac, ip, bytes(6), ip)), number * SECOND, bench.link._meta
            )
    assert all(len(claims.owners) <= module._OWNERS for claims in e._claims.values())
