"""What a host counts and tells, over the simulated link."""

import pytest

from pytools.probe.host import CATEGORIES, HostAsked, HostComplained, HostConflict, HostPinged, HostReady, Tally
from pytools.run.driver import Driver
from pytools.units import SECOND
from pytools.wire import arp, ethernet
from tests.probe.arping_bench import OTHER_MAC, OUR4, OUR6, OUR_MAC, PEER4, PEER6, PEER_MAC, START, Bench


class HostBench(Bench):
    """Our stack as a host of its own, with a tally."""

    def __init__(self, pings_wanted=0):
        super().__init__(shared=False)
        self.tally = Tally(self.stack, (0,), self.events.append, pings_wanted)
        self.stack.trace.subscribe(self.tally.on_trace, CATEGORIES)

    def go(self, until_s):

        end = START + round(until_s * SECOND)
        driver = Driver(self.stack, [self.link], self.network, self.tally.on_event)
        self.tally.begin(self.network.now())
        while self.network.now() < end and not self.tally.done:
            driver.step(end)


def announcement(mac, ip):
    return request(ip, mac, ip)


def request(sender_ip, sender_mac, target):
    packet = arp.encode(arp.REQUEST, sender_mac, sender_ip, bytes(6), target)
    return ethernet.encode(ethernet.BROADCAST, sender_mac, ethernet.ETHERTYPE_ARP) + packet


def test_without_probes_it_is_ready_at_once():
    bench = HostBench()
    bench.go(0.1)
    (ready,) = bench.of(HostReady)
    assert (ready.now, ready.addresses) == (START, (OUR4, OUR6))


def test_with_probes_it_is_ready_when_the_last_address_has_passed():
    bench = HostBench()
    bench.stack.add_address(0, PEER4, 24, START, probe=True)
    bench.go(20)
    (ready,) = bench.of(HostReady)
    assert 4 * SECOND <= ready.now - START <= 7 * SECOND
    assert set(ready.addresses) == {OUR4, OUR6, PEER4}


def test_an_address_that_somebody_has_is_lost_with_his_mac():
    bench = HostBench()
    bench.peer(PEER4)
    bench.stack.add_address(0, PEER4, 24, START, probe=True)
    bench.go(2)
    assert bench.tally.lost == {PEER4: PEER_MAC}
    assert [(c.address, c.mac, c.action) for c in bench.of(HostConflict)] == [(PEER4, PEER_MAC, "given up")]
    assert not bench.tally.is_ready


@pytest.mark.parametrize(("ours", "theirs"), [(OUR4, PEER4), (OUR6, PEER6)], ids=["IPv4", "IPv6"])
def test_a_ping_is_told_after_the_question_for_our_mac(ours, theirs):
    bench = HostBench()
    peer = bench.peer(PEER4, PEER6)
    peer.engine.send_echo(ours, 7, 1, bytes(56), START)
    peer.settle()
    bench.go(1)
    assert [type(e) for e in bench.events[:3]] == [HostReady, HostAsked, HostPinged]
    asked, pinged = bench.events[1:3]
    assert (asked.ip, asked.mac, asked.target) == (theirs, PEER_MAC, ours)
    assert (pinged.ip, pinged.ident, pinged.seq, pinged.length) == (theirs, 7, 1, 64)
    assert bench.tally.ping_count == 1
    assert (bench.tally.arp_count, bench.tally.solicitation_count) == ((1, 0) if ours == OUR4 else (0, 1))


def test_questions_for_others_are_not_told():
    bench = HostBench()
    bench.inject(0.1, request(PEER4, PEER_MAC, b"\x0a\0\0\x63"))
    bench.go(1)
    assert bench.of(HostAsked) == []


def test_a_probe_for_our_address_is_told():
    bench = HostBench()
    bench.inject(0.1, request(bytes(4), PEER_MAC, OUR4))
    bench.go(1)
    assert [(a.ip, a.mac, a.target) for a in bench.of(HostAsked)] == [(bytes(4), PEER_MAC, OUR4)]


def test_a_datagram_to_a_closed_port_is_complained_about():
    bench = HostBench()
    peer = bench.peer(PEER4)
    port = peer.engine.open_udp()
    peer.engine.send_udp(port, OUR4, 99, b"hello", START)
    peer.settle()
    bench.go(1)
    (told,) = bench.of(HostComplained)
    assert (told.ip, told.family, told.type, told.code) == (PEER4, 4, 3, 3)


def test_a_conflict_later_is_defended_and_the_second_one_loses_the_address():
    bench = HostBench()
    for at in (1.0, 2.0):
        bench.inject(at, request(OUR4, OTHER_MAC, PEER4))
    bench.go(3)
    assert [c.action for c in bench.of(HostConflict)] == ["defended", "given up"]
    assert bench.tally.lost == {OUR4: OTHER_MAC}
    assert not bench.tally.done, "the IPv6 address is left"
    assert bench.tally.conflict_count == 2


def test_somebody_who_announces_our_address_does_not_ask_for_it():
    bench = HostBench()
    bench.inject(1.0, announcement(OTHER_MAC, OUR4))
    bench.go(2)
    assert bench.of(HostAsked) == []
    assert len(bench.of(HostConflict)) == 1


def test_with_the_last_address_the_host_is_done():
    bench = HostBench()
    bench.stack.remove_address(0, OUR6)
    for at in (1.0, 2.0):
        bench.inject(at, request(OUR4, OTHER_MAC, PEER4))
    bench.go(30)
    assert bench.elapsed_s == 2.0
    assert bench.tally.done


def test_it_is_done_after_the_pings_that_were_wanted():
    bench = HostBench(pings_wanted=2)
    peer = bench.peer(PEER4)
    for seq in (1, 2, 3):
        peer.engine.send_echo(OUR4, 7, seq, b"", START)
    peer.settle()
    bench.go(5)
    assert bench.tally.done
    assert bench.tally.ping_count >= 2
    assert bench.elapsed_s < 0.1


def test_our_mac_is_in_the_answer():
    bench = HostBench()
    bench.inject(0.001, request(PEER4, PEER_MAC, OUR4))
    bench.go(0.1)
    assert [text for at, text in bench.sent if "is-at" in text] == [f"ARP 10.0.0.1 is-at {OUR_MAC.hex(':')}"]
    assert bench.sent[0][0] == pytest.approx(0.001, abs=1e-6)
    assert bench.tally.arp_count == 1
