"""Neighbour discovery (RFC 4861 7) and duplicate address detection (RFC 4862 5.4)."""

import pytest
from scapy.layers.inet6 import (
    ICMPv6EchoRequest,
    ICMPv6ND_NA,
    ICMPv6ND_NS,
    ICMPv6NDOptDstLLAddr,
    IPv6,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
)
from scapy.layers.l2 import Ether

from pytools.engine import RAW_IP
from pytools.stack.events import AddressConflicted, AddressReady, NdSeen
from pytools.units import SECOND
from pytools.wire.addr import parse_ip, parse_mac
from tests.stack.story import ME, OTHER, PEER, advertisement, solicitation


def state_of(t, address):
    neighbor = next((n for n in t.stack.neighbors(0) if n.address == parse_ip(address)), None)
    return neighbor and (neighbor.mac.hex(":"), neighbor.state)


def resolved(host, *addresses):
    """A host that has just resolved fd00::2."""
    t = host("fd00::10/64", *addresses)
    t.ping("fd00::2")
    t.receives(advertisement("fd00::2"))
    t.expects("NS *", "ECHO *")
    assert state_of(t, "fd00::2") == (PEER, "REACHABLE")
    return t


def test_an_echo_waits_for_the_advertisement(host):
    t = host("fd00::10/64")
    t.ping("fd00::2")
    t.expects("NS who-has fd00::2 tell fd00::10 (mcast)")
    frame = Ether(t.last[0])
    assert (frame.dst, frame[IPv6].dst, frame[IPv6].hlim) == ("33:33:ff:00:00:02", "ff02::1:ff00:2", 255)
    t.receives(advertisement("fd00::2"))
    t.expects("ECHO id 77 seq 1 len 8 hlim 64 fd00::10 > fd00::2")


def test_an_absent_neighbor_fails_after_three_solicitations(host):
    t = host("fd00::10/64")
    t.ping("fd00::99")
    t.advance(2.999)
    t.expects(*["NS who-has fd00::99 tell fd00::10 (mcast)"] * 3)
    t.advance(0.001)
    assert t.errors() == [("fd00::10", 1, 3)]


def test_we_answer_a_solicitation_with_our_link_address(host):
    t = host("fd00::10/64")
    t.receives(solicitation("fd00::10", "fd00::2"))
    t.expects(f"NA fd00::10 is-at {ME} solicited,override")
    assert t.link_destination() == PEER
    assert Ether(t.last[0])[ICMPv6NDOptDstLLAddr].lladdr == ME


def test_a_router_says_that_it_is_one(host):
    t = host("fd00::10/64", forwarding=True)
    t.receives(solicitation("fd00::10", "fd00::2"))
    t.expects(f"NA fd00::10 is-at {ME} router,solicited,override")


def test_a_unicast_solicitation_is_answered(host):
    t = host("fd00::10/64")
    t.receives(solicitation("fd00::10", "fd00::2", dst="fd00::10"))
    t.expects("NA fd00::10 *")


def test_a_solicitation_without_a_link_address_leads_to_a_question_back(host):
    t = host("fd00::10/64")
    t.receives(solicitation("fd00::10", "fd00::2", mac=None, dst="fd00::10"))
    t.expects("NS who-has fd00::2 tell fd00::10 (mcast)")
    t.receives(advertisement("fd00::2"))
    t.expects("NA fd00::10 * solicited,override")


def test_who_solicits_is_entered_as_stale(host):
    t = host("fd00::10/64")
    t.receives(solicitation("fd00::10", "fd00::2"))
    t.stack.neighbors(0)
    t.receives(solicitation("fd00::10", "fd00::3", mac=OTHER))
    assert state_of(t, "fd00::3") == (OTHER, "DELAY")


def test_a_probe_of_another_is_answered_to_all_nodes(host):
    t = host("fd00::10/64")
    t.receives(solicitation("fd00::10", "::", mac=None))
    t.expects(f"NA fd00::10 is-at {ME} (mcast) override")
    assert Ether(t.last[0])[IPv6].dst == "ff02::1"


def test_a_solicitation_for_another_is_not_ours(host):
    t = host("fd00::10/64", "fd00::1:10/64")
    t.receives(solicitation("fd01::10", "fd00::2"))
    t.dropped("ND_NOT_FOR_US")
    t.expects_nothing()


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (solicitation("fd00::10", "fd00::2", hlim=254), "IPV6_NDISC_HOP_LIMIT"),
        (advertisement("fd00::2", hlim=64), "IPV6_NDISC_HOP_LIMIT"),
        (IPv6(src="fd00::2", dst="fd00::10", hlim=255) / ICMPv6ND_NS(tgt="fd00::10", code=1), "IPV6_NDISC_BAD_CODE"),
        (IPv6(src="fd00::2", dst="fd00::10", hlim=255) / ICMPv6ND_NA(tgt="fd00::2", code=1), "IPV6_NDISC_BAD_CODE"),
        (IPv6(src="fd00::2", dst="fd00::10", hlim=255) / ICMPv6ND_NS(tgt="ff02::1"), "IPV6_NDISC_BAD_OPTIONS"),
        (IPv6(src="fd00::2", dst="fd00::10", hlim=255) / ICMPv6ND_NA(tgt="ff02::1"), "IPV6_NDISC_BAD_OPTIONS"),
        (
            IPv6(src="fd00::2", dst="fd00::10", hlim=255) / ICMPv6ND_NS(tgt="fd00::10") / (b"\x01\x00" + bytes(6)),
            "IPV6_NDISC_BAD_OPTIONS",
        ),
        (solicitation("fd00::10", "::", mac=PEER), "ND_HEADER"),
        (solicitation("fd00::10", "::", mac=None, dst="ff02::1"), "ND_HEADER"),
        (advertisement("fd00::2", dst="ff02::1", solicited=True), "ND_HEADER"),
        (
            IPv6(src="fd00::2", dst="fd00::10", hlim=255) / IPv6ExtHdrFragment(id=5) / ICMPv6ND_NS(tgt="fd00::10"),
            "ND_HEADER",
        ),
        (advertisement("fd00::2"), "ND_NOT_FOR_US"),
    ],
)
def test_what_breaks_a_rule_of_discovery_is_dropped(host, packet, reason):
    t = host("fd00::10/64")
    t.receives(packet)
    t.dropped(reason)
    t.expects_nothing()
    assert t.stack.neighbors(0) == []


def test_a_message_behind_a_hop_by_hop_header_is_read(host):
    t = host("fd00::10/64")
    t.receives(
        IPv6(src="fd00::2", dst="fd00::10", hlim=255) / IPv6ExtHdrHopByHop() / ICMPv6ND_NS(tgt="fd00::10"), dst=ME
    )
    assert not t.drops


# --- the state machine of RFC 4861 7.2.5 and Appendix C --------------------------------------------------------------


def test_an_unsolicited_advertisement_resolves_as_stale(host):
    t = host("fd00::10/64")
    t.stack.resolve(0, parse_ip("fd00::2"), t.now)
    t.receives(advertisement("fd00::2", dst="ff02::1", solicited=False))
    assert state_of(t, "fd00::2") == (PEER, "STALE")


def test_an_advertisement_without_a_link_address_resolves_nothing(host):
    t = host("fd00::10/64")
    t.ping("fd00::2")
    t.receives(advertisement("fd00::2", mac=None))
    t.dropped("ND_HEADER")
    assert state_of(t, "fd00::2") == ("", "INCOMPLETE")


def test_a_group_address_resolves_nothing(host):
    t = host("fd00::10/64")
    t.ping("fd00::2")
    t.receives(advertisement("fd00::2", mac="33:33:00:00:00:01"))
    t.dropped("ND_HEADER")


def test_override_changes_the_link_address(host):
    t = resolved(host)
    t.receives(advertisement("fd00::2", mac=OTHER, solicited=True, override=True))
    assert state_of(t, "fd00::2") == (OTHER, "REACHABLE")


def test_override_unsolicited_changes_it_to_stale(host):
    t = resolved(host)
    t.receives(advertisement("fd00::2", dst="ff02::1", mac=OTHER, solicited=False, override=True))
    assert state_of(t, "fd00::2") == (OTHER, "STALE")


def test_without_override_another_link_address_only_casts_doubt(host):
    t = resolved(host)
    t.receives(advertisement("fd00::2", mac=OTHER, solicited=True, override=False))
    assert state_of(t, "fd00::2") == (PEER, "STALE")
    t.receives(advertisement("fd00::2", mac=OTHER, solicited=True, override=False))
    assert state_of(t, "fd00::2") == (PEER, "STALE")


def test_a_solicited_advertisement_of_the_same_address_confirms(host):
    t = resolved(host)
    t.advance(46)
    t.ping("fd00::2", seq=2)
    t.advance(5)
    t.expects("ECHO *", "NS who-has fd00::2 tell fd00::10")
    assert t.link_destination(1) == PEER
    t.receives(advertisement("fd00::2", mac=None))
    assert state_of(t, "fd00::2") == (PEER, "REACHABLE")


def test_an_unsolicited_advertisement_of_the_same_address_changes_nothing(host):
    t = resolved(host)
    t.receives(advertisement("fd00::2", dst="ff02::1", solicited=False))
    assert state_of(t, "fd00::2") == (PEER, "REACHABLE")


def test_a_neighbor_entered_by_hand_is_not_changed(host):
    t = host("fd00::10/64")
    t.knows("fd00::2")
    t.receives(advertisement("fd00::2", mac=OTHER))
    t.dropped("ND_NOT_FOR_US")
    assert state_of(t, "fd00::2") == (PEER, "PERMANENT")


# --- duplicate address detection -------------------------------------------------------------------------------------


def test_an_address_is_probed_before_use(host):
    t = host("fd00::10/64", probe=True)
    assert t.ping("fd00::2") != 0
    t.advance(0.999)
    t.expects("NS who-has fd00::10 tell :: (mcast) probe")
    t.advance(1)
    (ready,) = t.events(AddressReady)
    assert ready.address == parse_ip("fd00::10")
    assert t.ping("fd00::2") == 0


@pytest.mark.parametrize("seed", range(10))
def test_the_first_probe_comes_within_a_second_and_the_end_a_second_after(host, seed):
    t = host("fd00::10/64", probe=True, seed=seed)
    first = t.stack.next_deadline()
    assert 0 <= first <= SECOND
    t.stack.on_deadline(first)
    assert t.stack.next_deadline() == first + SECOND


@pytest.mark.parametrize("when", [0, 1])
@pytest.mark.parametrize(
    "packet",
    [advertisement("fd00::10", dst="ff02::1", solicited=False), solicitation("fd00::10", "::", mac=None)],
    ids=["advertisement", "another's probe"],
)
def test_who_has_or_wants_it_takes_it_away(host, packet, when):
    t = host("fd00::10/64", probe=True)
    t.advance(when)
    t.receives(packet)
    (conflict,) = t.events(AddressConflicted)
    assert (conflict.address, conflict.mac, conflict.given_up) == (parse_ip("fd00::10"), parse_mac(PEER), True)
    t.frames.clear()
    t.advance(5)
    t.expects_nothing()


def test_our_own_probe_looped_back_is_no_conflict(host):
    t = host("fd00::10/64", probe=True)
    t.advance(1)
    t.receives(t.frames[0][1])
    t.dropped("OWN_FRAME")
    t.advance(1)
    assert t.events(AddressReady)


def test_a_tentative_address_answers_no_question(host):
    t = host("fd00::10/64", probe=True)
    t.receives(solicitation("fd00::10", "fd00::2"))
    t.dropped("ND_NOT_FOR_US")
    t.receives(IPv6(src="fd00::2", dst="fd00::10") / ICMPv6EchoRequest())
    t.dropped("IP_INADDRERRORS")
    t.expects_nothing()


def test_an_advertisement_of_an_address_in_use_is_told_and_ignored(host):
    t = host("fd00::10/64")
    t.receives(advertisement("fd00::10", dst="ff02::1", solicited=False))
    assert [e.given_up for e in t.events(AddressConflicted)] == [False]
    assert len(t.stack.addresses(0)) == 1


# --- the rest --------------------------------------------------------------------------------------------------------


def test_the_link_local_address_comes_along(host):
    t = host(auto_link_local=True)
    t.has("fd00::10/64")
    assert [a.address for a in t.stack.addresses(0)] == [parse_ip("fe80::ff:fe00:a"), parse_ip("fd00::10")]
    t.ping("fe80::2", port=0)
    t.expects("NS who-has fe80::2 tell fe80::ff:fe00:a (mcast)")


def test_a_shared_address_resolves_but_never_answers(host):
    t = host("fd00::10/64", shared=True)
    t.receives(solicitation("fd00::10", "fd00::2"))
    t.dropped("NOT_OUR_FLOW")
    t.receives(advertisement("fd00::10", dst="ff02::1", solicited=False))
    t.dropped("NOT_OUR_FLOW")
    t.expects_nothing()
    t.ping("fd00::2")
    t.receives(advertisement("fd00::2"))
    t.expects("NS *", "ECHO *")
    t.receives(advertisement("fd00::3"))
    t.dropped("NOT_OUR_FLOW")


def test_announce_on_demand(host):
    t = host("fd00::10/64")
    t.stack.announce(0, parse_ip("fd00::10"), t.now)
    t.expects(f"NA fd00::10 is-at {ME} (mcast) override")


def test_without_an_address_nobody_is_asked(host):
    t = host("fd00::10/64@1", ports=2)
    assert t.stack.resolve(0, parse_ip("fd01::2"), t.now) == 0
    t.advance(3)
    t.expects_nothing()


def test_a_watched_port_tells_of_every_message(host):
    t = host("fd00::10/64")
    t.stack.watch(0)
    t.receives(solicitation("fd00::10", "fd00::2"), at=5)
    t.receives(advertisement("fd00::3", mac=OTHER, router=True))
    first, second = t.events(NdSeen)
    assert (first.at, first.type, first.target, first.mac, first.multicast) == (
        5,
        135,
        parse_ip("fd00::10"),
        parse_mac(PEER),
        True,
    )
    assert (second.type, second.src, second.mac, second.flags) == (136, parse_ip("fd00::3"), parse_mac(OTHER), 7)


def test_a_port_without_ethernet_speaks_no_discovery(host):
    t = host("fd00::10/64", link_type=RAW_IP)
    t.ping("fd00::2")
    t.expects("ECHO id 77 seq 1 len 8 hlim 64 fd00::10 > fd00::2")
    t.receives(solicitation("fd00::10", "fd00::2"))
    t.dropped("ND_NOT_FOR_US")
