"""Router discovery and address autoconfiguration (RFC 4861 6.3, RFC 4862 5.5)."""

import pytest
from scapy.layers.inet6 import (
    ICMPv6ND_RA,
    ICMPv6ND_RS,
    ICMPv6NDOptMTU,
    ICMPv6NDOptPrefixInfo,
    ICMPv6NDOptSrcLLAddr,
    IPv6,
)
from scapy.layers.l2 import Ether

from pytools.units import MS
from pytools.wire.addr import parse_ip
from tests.stack.story import ME, PEER, ROUTER, advertisement

MINE = "fe80::ff:fe00:a"


def listening(host, *addresses, **settings):
    t = host(auto_link_local=True, **{"accept_ra": True, **settings})
    for address in addresses or ("fd00::10/64",):
        t.has(address)
    return t


def says(src="fe80::1", hlim=255, options=(), **fields):
    message = ICMPv6ND_RA(**{"chlim": 0, "routerlifetime": 1800, **fields}) / ICMPv6NDOptSrcLLAddr(lladdr=ROUTER)
    for option in options:
        message /= option
    return IPv6(src=src, dst="ff02::1", hlim=hlim) / message


def prefix(text="2001:db8:1::", length=64, **fields):
    return ICMPv6NDOptPrefixInfo(prefix=text, prefixlen=length, **{"L": 1, "A": 0, **fields})


def test_a_host_asks_for_routers_three_times(host):
    t = listening(host)
    t.advance(20)
    t.expects(*["RS *"] * 3)
    request = Ether(t.last[0])
    assert (request.dst, request[IPv6].src, request[IPv6].dst, request[IPv6].hlim) == (
        "33:33:00:00:00:02",
        MINE,
        "ff02::2",
        255,
    )
    assert request[ICMPv6NDOptSrcLLAddr].lladdr == ME


def test_an_answer_ends_the_asking(host):
    t = listening(host)
    t.advance(1)
    t.expects("RS *")
    t.receives(says())
    t.advance(20)
    t.expects_nothing()


def test_a_tentative_address_asks_from_the_unspecified_one(host):
    t = host("fd00::10/64", accept_ra=True, probe=True, dad_transmits=5)
    t.advance(1)
    (request,) = [Ether(f) for _, f in t.frames if ICMPv6ND_RS in Ether(f)]
    assert request[IPv6].src == "::"
    assert ICMPv6NDOptSrcLLAddr not in request


@pytest.mark.parametrize("settings", [{"accept_ra": False}, {"forwarding": True}])
def test_who_does_not_listen_does_not_ask(host, settings):
    t = listening(host, **settings)
    t.receives(says())
    t.dropped("ICMP_TYPE")
    t.advance(20)
    t.expects_nothing()
    assert t.stack.route(parse_ip("2001:db8::1")) is None


def test_a_router_becomes_the_default(host):
    t = listening(host)
    t.receives(says())
    assert t.stack.route(parse_ip("2001:db8::1")).gateway == parse_ip("fe80::1")
    t.ping("2001:db8::1")
    t.expects("ECHO * fd00::10 > 2001:db8::1")
    assert t.link_destination() == ROUTER


def test_a_route_given_by_hand_goes_first(host):
    t = listening(host)
    t.receives(says())
    t.routes("::/0", "fd00::9")
    assert t.stack.route(parse_ip("2001:db8::1")).gateway == parse_ip("fd00::9")


def test_a_default_route_lasts_for_its_lifetime(host):
    t = listening(host)
    t.receives(says(routerlifetime=100))
    t.advance(50)
    t.receives(says(routerlifetime=100))
    t.advance(99)
    assert t.stack.route(parse_ip("2001:db8::1")) is not None
    t.advance(1)
    assert t.stack.route(parse_ip("2001:db8::1")) is None


def test_lifetime_0_ends_it_at_once(host):
    t = listening(host)
    t.receives(says())
    t.receives(says(routerlifetime=0))
    t.receives(says(routerlifetime=0))
    assert t.stack.route(parse_ip("2001:db8::1")) is None


def test_a_router_that_is_none_any_more(host):
    t = listening(host)
    t.receives(says())
    t.receives(advertisement("fe80::1", dst="ff02::1", mac=ROUTER, solicited=False, router=False))
    assert t.stack.route(parse_ip("2001:db8::1")) is None


def test_a_prefix_is_on_the_link(host):
    t = listening(host)
    t.receives(says(options=[prefix(validlifetime=100)]))
    t.ping("2001:db8:1::5")
    t.expects("NS who-has 2001:db8:1::5 *")
    t.advance(100)
    assert t.stack.route(parse_ip("2001:db8:1::5")).gateway == parse_ip("fe80::1")


def test_a_prefix_for_ever(host):
    t = listening(host)
    t.receives(says(routerlifetime=0, options=[prefix(validlifetime=0xFFFFFFFF)]))
    t.advance(10_000_000)
    assert t.stack.route(parse_ip("2001:db8:1::5")) is not None


@pytest.mark.parametrize(
    "option", [prefix(L=0), prefix("fe80::"), prefix("ff05::"), prefix(length=200), prefix(validlifetime=0)]
)
def test_prefixes_that_say_nothing_about_the_link(host, option):
    t = listening(host)
    t.receives(says(routerlifetime=0, options=[option]))
    assert t.stack.route(parse_ip("2001:db8:1::5")) is None
    assert len(t.stack._routes.all()) == 2


def test_autoconfiguration_makes_an_address_and_probes_for_it(host):
    t = listening(host, autoconf=True)
    t.receives(says(options=[prefix(A=1, validlifetime=1000)]))
    made = parse_ip("2001:db8:1::ff:fe00:a")
    assert [a.state for a in t.stack.addresses(0) if a.address == made] == ["TENTATIVE"]
    t.frames.clear()
    t.advance(2)
    assert [a.state for a in t.stack.addresses(0) if a.address == made] == ["PREFERRED"]
    t.receives(says(options=[prefix(A=1, validlifetime=1000)]))
    assert len(t.stack.addresses(0)) == 3


@pytest.mark.parametrize("option", [prefix(A=0), prefix(A=1, length=63), prefix(A=1, validlifetime=0)])
def test_prefixes_without_autoconfiguration(host, option):
    t = listening(host, autoconf=True)
    t.receives(says(options=[option]))
    assert len(t.stack.addresses(0)) == 2


def test_the_parameters_of_the_link(host):
    t = listening(host)
    t.receives(says(chlim=33, reachabletime=10_000, retranstimer=200, options=[ICMPv6NDOptMTU(mtu=1300)]))
    iface = t.stack._node.interfaces[0]
    assert 5000 * MS <= iface.reachable_ns <= 15_000 * MS
    t.knows("fd00::2")
    t.ping("fd00::2")
    t.expects("ECHO * hlim 33 *")
    assert t.stack.path_mtu(parse_ip("fd00::2")) == 1300
    t.stack.resolve(0, parse_ip("fd00::3"), t.now)
    t.advance(0.6)
    t.expects(*["NS *"] * 3)


@pytest.mark.parametrize("mtu", [1279, 9000])
def test_an_impossible_mtu_is_ignored(host, mtu):
    t = listening(host)
    t.receives(says(options=[ICMPv6NDOptMTU(mtu=mtu)]))
    assert t.stack.path_mtu(parse_ip("fd00::2")) == 1500


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (says(hlim=254), "IPV6_NDISC_HOP_LIMIT"),
        (says(code=1), "IPV6_NDISC_BAD_CODE"),
        (says(src="fd00::1"), "ND_HEADER"),
        (says(options=[b"\x05\x00" + bytes(6)]), "IPV6_NDISC_BAD_OPTIONS"),
    ],
)
def test_advertisements_against_the_rules(host, packet, reason):
    t = listening(host)
    t.receives(packet)
    t.dropped(reason)
    assert t.stack.route(parse_ip("2001:db8::1")) is None


def test_a_group_address_is_not_entered_for_a_router(host):
    t = listening(host)
    message = ICMPv6ND_RA() / ICMPv6NDOptSrcLLAddr(lladdr="33:33:00:00:00:01")
    t.receives(IPv6(src="fe80::1", dst="ff02::1", hlim=255) / message)
    assert t.stack.neighbors(0) == []


def test_on_a_shared_address_nobody_listens(host):
    t = host("fd00::10/64", shared=True)
    t.receives(says())
    t.dropped("NOT_OUR_FLOW")


def test_a_flood_of_advertisements_fills_no_table(host):
    t = listening(host)
    for n in range(1, 300):
        t.receives(says(src=f"fe80::{n:x}", options=[prefix(f"2001:db8:{n:x}::", validlifetime=1000)]))
    assert len(t.stack._routers._learned) == 64
    assert len(t.stack._routes.all()) == 66


def test_solicitations_of_others_are_not_for_a_host(host):
    t = listening(host)
    t.receives(IPv6(src="fe80::2", dst="ff02::2", hlim=255) / ICMPv6ND_RS())
    t.dropped("IP_INADDRERRORS")
    t = host("fd00::10/64", forwarding=True)
    t.receives(IPv6(src="fe80::2", dst="ff02::2", hlim=255) / ICMPv6ND_RS(), src=PEER)
    t.dropped("ICMP_TYPE")
