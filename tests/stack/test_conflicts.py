"""RFC 5227: the requirements ARP-11 to ARP-15."""

import itertools

import pytest

from pytools.stack.events import AddressConflicted, AddressReady
from pytools.trace.events import AddressChanged, AddressConflict
from pytools.units import SECOND
from pytools.wire.addr import parse_ip, parse_mac
from tests.stack.story import EVERYBODY, OTHER, PEER, arp_reply, arp_request

PROBE = "ARP who-has 10.0.0.10 tell 0.0.0.0 (bcast) probe"
ANNOUNCEMENT = "ARP who-has 10.0.0.10 tell 10.0.0.10 (bcast) announcement"
OURS = parse_ip("10.0.0.10")


def probing(host, **settings):
    """A host that has just been given an address to probe for."""
    return host("10.0.0.10/24", probe=True, **settings)


def in_use(host, **settings):
    """A host whose address has passed its probes and announcements."""
    t = probing(host, **settings)
    t.advance(20)
    t.frames.clear()
    assert isinstance(t.stack.poll_event(), AddressReady)
    return t


def test_three_probes_then_two_announcements(host):
    t = probing(host)
    t.advance(20)
    t.expects(PROBE, PROBE, PROBE, ANNOUNCEMENT, ANNOUNCEMENT)


@pytest.mark.parametrize("seed", range(20))
def test_the_intervals_are_those_of_the_rfc(host, seed):
    t = probing(host, seed=seed)
    instants = []
    while len(instants) < 5:
        t.now = t.stack.next_deadline()
        t.stack.on_deadline(t.now)
        instants += [t.now] * (t.stack.poll_transmit(t.now) is not None)
    waits = [later - earlier for earlier, later in itertools.pairwise(instants)]
    assert 0 <= instants[0] <= SECOND
    assert SECOND <= waits[0] <= 2 * SECOND
    assert SECOND <= waits[1] <= 2 * SECOND
    assert waits[2:] == [2 * SECOND, 2 * SECOND]


def test_the_address_may_be_used_when_nobody_objected(host):
    t = probing(host)
    assert t.ping("10.0.0.2") != 0
    t.advance(20)
    (ready,) = t.events()
    assert (ready.port, ready.address) == (0, OURS)
    assert t.ping("10.0.0.2") == 0


def test_while_it_is_probed_for_it_answers_nothing(host):
    t = probing(host)
    t.receives(arp_request("10.0.0.10", sender="10.0.0.2"))
    t.dropped("ARP_NOT_FOR_US")
    t.expects_nothing()


@pytest.mark.parametrize(
    "packet",
    [arp_reply("10.0.0.10"), arp_request("10.0.0.3", sender="10.0.0.10"), arp_request("10.0.0.10", sender="0.0.0.0")],
    ids=["reply", "request", "probe of another host"],
)
@pytest.mark.parametrize("when", [0, 1.5, 3])
def test_a_conflict_while_probing_takes_the_address_away(host, packet, when):
    t = probing(host)
    t.advance(when)
    t.frames.clear()
    t.receives(packet)
    (conflict,) = t.events(AddressConflicted)
    assert (conflict.address, conflict.mac, conflict.given_up) == (OURS, parse_mac(PEER), True)
    t.advance(20)
    t.expects_nothing()
    assert t.stack.addresses(0) == []


def test_a_conflict_within_announce_wait_counts(host):
    t = probing(host)
    while len(t.frames) < 3:
        t.advance(0.1)
    t.receives(arp_reply("10.0.0.10"))
    assert t.events(AddressConflicted)


def test_our_own_probe_looped_back_is_no_conflict(host):
    t = probing(host)
    t.advance(1)
    t.receives(t.frames[0][1])
    t.dropped("OWN_FRAME")
    assert t.events() == []


def test_after_ten_conflicts_one_attempt_a_minute(host):
    t = host()
    for _ in range(10):
        t.has("10.0.0.10/24", probe=True)
        t.receives(arp_reply("10.0.0.10"))
    t.has("10.0.0.10/24", probe=True)
    t.advance(59.9)
    t.expects_nothing()
    t.advance(1.2)
    t.expects(PROBE)


def test_success_makes_conflicts_forgotten(host):
    t = host()
    for _ in range(10):
        t.has("10.0.0.10/24", probe=True)
        t.receives(arp_reply("10.0.0.10"))
    t.has("10.0.0.10/24", probe=True)
    t.advance(80)
    t.frames.clear()
    t.has("10.0.0.11/24", probe=True)
    t.advance(1)
    t.expects("ARP who-has 10.0.0.11 tell 0.0.0.0 (bcast) probe")


def test_an_address_in_use_is_defended_once(host):
    t = in_use(host)
    t.receives(arp_reply("10.0.0.10", OTHER), dst=EVERYBODY)
    t.expects(ANNOUNCEMENT)
    (conflict,) = t.events(AddressConflicted)
    assert (conflict.mac, conflict.given_up) == (parse_mac(OTHER), False)


def test_who_claims_our_address_is_neither_answered_nor_entered(host):
    t = in_use(host)
    t.receives(arp_request("10.0.0.10", sender="10.0.0.10", mac=OTHER))
    t.expects(ANNOUNCEMENT)
    assert t.stack.neighbors(0) == []


def test_a_second_conflict_within_ten_seconds_takes_it_away(host):
    t = in_use(host)
    t.receives(arp_reply("10.0.0.10", OTHER))
    t.advance(9.9)
    t.receives(arp_reply("10.0.0.10", OTHER))
    t.expects(ANNOUNCEMENT)
    assert [e.given_up for e in t.events(AddressConflicted)] == [False, True]
    assert t.ping("10.0.0.2") != 0


def test_a_second_conflict_after_ten_seconds_is_defended_again(host):
    t = in_use(host)
    t.receives(arp_reply("10.0.0.10", OTHER))
    t.advance(10)
    t.receives(arp_reply("10.0.0.10", OTHER))
    t.expects(ANNOUNCEMENT, ANNOUNCEMENT)


def test_defended_for_ever_but_not_more_often_than_every_ten_seconds(host):
    t = in_use(host, defend="always")
    for _ in range(21):
        t.receives(arp_reply("10.0.0.10", OTHER))
        t.advance(1)
    t.expects(*[ANNOUNCEMENT] * 3)
    assert not any(e.given_up for e in t.events(AddressConflicted))


def test_never_defended_it_goes_at_the_first_conflict(host):
    t = in_use(host, defend="never")
    t.receives(arp_reply("10.0.0.10", OTHER))
    t.expects_nothing()
    assert [e.given_up for e in t.events(AddressConflicted)] == [True]


def test_a_shared_address_is_not_defended(host):
    t = host("10.0.0.10/24", shared=True)
    t.receives(arp_reply("10.0.0.10", OTHER))
    t.expects_nothing()
    assert t.events() == []


def test_announce_on_demand(host):
    t = host("10.0.0.10/24")
    t.expects_nothing()
    t.stack.announce(0, OURS, t.now)
    t.advance(10)
    t.expects(ANNOUNCEMENT, ANNOUNCEMENT)


def test_removing_an_address_stops_its_probes(host):
    t = probing(host)
    t.stack.remove_address(0, OURS, t.now)
    t.advance(20)
    t.expects_nothing()


def test_the_trace_tells_of_states_and_conflicts(host):
    t = host()
    t.listens("neighbor")
    t.has("10.0.0.10/24", probe=True)
    t.advance(20)
    t.receives(arp_reply("10.0.0.10", OTHER))
    t.receives(arp_reply("10.0.0.10", OTHER))
    assert t.heard(AddressChanged) == [
        (0, OURS, "", "TENTATIVE", "added"),
        (0, OURS, "TENTATIVE", "PREFERRED", "no conflict"),
        (0, OURS, "PREFERRED", "DUPLICATE", "conflict"),
    ]
    assert [action for *_, action in t.heard(AddressConflict)] == ["defended", "given up"]
