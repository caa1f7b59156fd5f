"""RFC 5227 and RFC 4862: when the probes go out, what is a conflict, what is announced."""

from random import Random

import pytest

from pytools.probe.arping_acd import AcdEngine
from pytools.probe.arping_events import ArpingAnswered, ArpingEnded, ArpingVerdict
from pytools.wire import arp, ethernet
from tests.probe.arping_bench import (
    NOBODY4,
    NOBODY6,
    OTHER_MAC,
    OUR_MAC,
    PEER4,
    PEER6,
    PEER_MAC,
    Bench,
)


def engine(bench, address, *, announce=False, seed=7, probe_count=0):
    return AcdEngine(
        bench.stack, bench.port, address, OUR_MAC, Random(seed), announce=announce, probe_count=probe_count
    )


def request(sender, sender_ip, target_ip):
    packet = arp.encode(arp.REQUEST, sender, sender_ip, bytes(6), target_ip)
    return ethernet.encode(ethernet.BROADCAST, sender, ethernet.ETHERTYPE_ARP) + packet


@pytest.mark.parametrize("seed", range(20))
def test_three_probes_with_the_waits_of_rfc_5227(seed):
    bench = Bench()
    e = engine(bench, NOBODY4, seed=seed)
    bench.run(e)
    times = [at for at, _ in bench.sent]
    assert [text for _, text in bench.sent] == ["ARP who-has 10.0.0.99 tell 0.0.0.0 (bcast) probe"] * 3
    assert 0 <= times[0] <= 1  # PROBE_WAIT
    assert 1 <= times[1] - times[0] <= 2  # PROBE_MIN, PROBE_MAX
    assert 1 <= times[2] - times[1] <= 2
    assert bench.elapsed_s == pytest.approx(times[2] + 2)  # ANNOUNCE_WAIT
    assert (e.verdict, e.exit_status) == ("free", 0)
    (verdict,) = bench.of(ArpingVerdict)
    assert (verdict.address, verdict.mac, verdict.announced) == (NOBODY4, b"", False)


def test_the_waits_are_random():
    firsts = set()
    for seed in range(5):
        bench = Bench()
        bench.run(engine(bench, NOBODY4, seed=seed))
        firsts.add(bench.sent[0][0])
    assert len(firsts) == 5


def test_the_probe_has_no_target_mac():
    bench = Bench()
    frames = []
    bench.stack.trace.subscribe(lambda event: frames.append(b"".join(event.parts)) if hasattr(event, "parts") else 0)
    bench.run(engine(bench, NOBODY4))
    assert {arp.decode(frame, 14).target_mac for frame in frames} == {bytes(6)}


def test_a_free_address_is_announced_twice_two_seconds_apart():
    bench = Bench()
    e = engine(bench, NOBODY4, announce=True)
    bench.run(e)
    (t1, first), (t2, second) = bench.sent[3:]
    assert first == second == "ARP who-has 10.0.0.99 tell 10.0.0.99 (bcast) announcement"
    assert t1 == pytest.approx(bench.sent[2][0] + 2)
    assert t2 - t1 == pytest.approx(2)  # ANNOUNCE_INTERVAL
    assert bench.elapsed_s == pytest.approx(t2)
    assert (e.verdict, e.exit_status) == ("announced", 0)
    assert bench.of(ArpingVerdict)[0].announced


@pytest.mark.parametrize("address", [PEER4, PEER6], ids=["ARP", "ND"])
def test_an_address_in_use_is_a_conflict_with_its_mac(address):
    bench = Bench()
    bench.peer(PEER4, PEER6)
    e = engine(bench, address)
    bench.run(e)
    assert len(bench.sent) == 1
    assert (e.conflict_mac, e.verdict, e.exit_status) == (PEER_MAC, "in use", 1)
    assert bench.of(ArpingVerdict)[0].mac == PEER_MAC
    assert bench.of(ArpingAnswered)[0].rtt_ns == 0
    assert bench.of(ArpingEnded)[0].reason == "conflict"


def test_another_hosts_probe_for_the_address_is_a_conflict():
    bench = Bench()
    bench.inject(3.0, request(OTHER_MAC, bytes(4), NOBODY4))
    e = engine(bench, NOBODY4)
    bench.run(e)
    assert (e.conflict_mac, bench.elapsed_s) == (OTHER_MAC, 3.0)


def test_a_conflict_counts_until_announce_wait_is_over():
    bench = Bench()
    e = engine(bench, NOBODY4)
    bench.run(e, until_s=0.01)
    bench.inject(1.0 + 2.0 + 2.0 - 0.5, request(OTHER_MAC, NOBODY4, PEER4))
    bench.run(e)
    assert (e.conflict_mac, e.exit_status) == (OTHER_MAC, 1)


def test_questions_about_the_address_are_no_conflict():
    bench = Bench()
    bench.inject(1.5, request(OTHER_MAC, PEER4, NOBODY4))
    e = engine(bench, NOBODY4)
    bench.run(e)
    assert e.verdict == "free"


def test_our_own_packets_are_no_conflict():
    bench = Bench()
    bench.inject(1.5, request(OUR_MAC, bytes(4), NOBODY4))
    e = engine(bench, NOBODY4)
    bench.run(e)
    assert e.verdict == "free"


def test_once_announced_another_hosts_probe_is_no_conflict_but_its_claim_is():
    bench = Bench()
    e = engine(bench, NOBODY4, announce=True)
    while not any("announcement" in text for _, text in bench.sent):
        bench.run(e, until_s=bench.elapsed_s + 0.1)
    bench.inject(bench.elapsed_s + 0.1, request(OTHER_MAC, bytes(4), NOBODY4))
    bench.run(e, until_s=bench.elapsed_s + 0.5)
    assert not e.done
    bench.inject(bench.elapsed_s + 0.1, request(OTHER_MAC, NOBODY4, PEER4))
    bench.run(e)
    assert (e.verdict, e.exit_status) == ("in use", 1)


def test_an_ipv6_address_is_probed_as_rfc_4862_says():
    bench = Bench()
    e = engine(bench, NOBODY6)
    bench.run(e)
    ((at, text),) = bench.sent
    assert text == "NS who-has fd00::99 tell :: (mcast) probe"
    assert 0 <= at <= 1  # MAX_RTR_SOLICITATION_DELAY
    assert bench.elapsed_s == pytest.approx(at + 1)  # RetransTimer
    assert e.verdict == "free"


def test_an_ipv6_address_is_announced_by_unsolicited_advertisements():
    bench = Bench()
    e = engine(bench, NOBODY6, announce=True)
    bench.run(e)
    assert [text for _, text in bench.sent[1:]] == ["NA fd00::99 is-at 02:00:00:00:00:01 (mcast) override"] * 2


def test_the_number_of_probes_can_be_chosen():
    bench = Bench()
    bench.run(engine(bench, NOBODY4, probe_count=5))
    assert len(bench.sent) == 5


def test_an_interrupted_probe_has_no_verdict_and_status_1():
    bench = Bench()
    e = engine(bench, NOBODY4)
    bench.run(e, until_s=1.5)
    e.finish(bench.network.now())
    assert (e.verdict, e.exit_status) == ("", 1)
