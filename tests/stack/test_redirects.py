"""RFC 1122 3.2.2.2, RFC 4861 8: the requirements IP4-27 and ICMP-09."""

import pytest
from scapy.layers.inet import ICMP, IP
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6ND_Redirect, ICMPv6NDOptDstLLAddr, IPv6

from pytools.stack.events import IcmpError
from pytools.wire.addr import parse_ip
from tests.stack.story import OTHER, PEER, ROUTER, arp_reply


def routed(host, **settings):
    """A host whose default gateways are 10.0.0.1 and fe80::1; 10.0.0.3 and fe80::3 could do as well."""
    t = host("10.0.0.10/24", "fd00::10/64", "fe80::10/64", **settings)
    t.routes("0.0.0.0/0", "10.0.0.1")
    t.routes("::/0", "fe80::1")
    t.knows("10.0.0.1", "fe80::1", mac=ROUTER)
    t.knows("10.0.0.3", "fe80::3", mac=OTHER)
    return t


def redirect(gateway="10.0.0.3", src="10.0.0.1", about="192.0.2.1", ident=77):
    quote = IP(src="10.0.0.10", dst=about) / ICMP(id=ident, seq=1)
    return IP(src=src, dst="10.0.0.10") / ICMP(type=5, code=1, gw=gateway) / quote


def redirect6(target="fe80::3", src="fe80::1", about="2001:db8::1", mac=None, **ip):
    message = ICMPv6ND_Redirect(tgt=target, dst=about)
    if mac:
        message /= ICMPv6NDOptDstLLAddr(lladdr=mac)
    return IPv6(src=src, dst="fd00::10", **{"hlim": 255, **ip}) / message


def first_hop(t, dst):
    t.frames.clear()
    t.ping(dst)
    t.expects("ECHO *")
    return t.link_destination()


@pytest.mark.parametrize("ident", [77, 78])
def test_a_redirect_moves_one_destination(host, ident):
    t = routed(host)
    t.receives(redirect(ident=ident))
    assert not t.drops
    assert (first_hop(t, "192.0.2.1"), first_hop(t, "192.0.2.2")) == (OTHER, ROUTER)


def test_the_user_is_told(host):
    t = routed(host)
    t.receives(redirect())
    (event,) = t.events(IcmpError)
    assert (event.type, event.code, event.gateway) == (5, 1, parse_ip("10.0.0.3"))


@pytest.mark.parametrize(
    "packet",
    [
        redirect(gateway="192.0.2.254"),
        redirect(gateway="10.0.0.10"),
        redirect(gateway="10.0.0.255"),
        redirect(src="10.0.0.2"),
        redirect(about="10.0.0.2"),
        redirect(about="224.0.0.5"),
        redirect6(target="2001:db8::77"),
        redirect6(src="fd00::1"),
        redirect6(src="fe80::2"),
        redirect6(about="ff02::5"),
    ],
    ids=[
        "gateway off the link",
        "gateway is us",
        "gateway is a broadcast",
        "not from the first hop",
        "about a neighbour",
        "about a group",
        "v6 target is no link-local address",
        "v6 from a global address",
        "v6 not from the first hop",
        "v6 about a group",
    ],
)
def test_a_redirect_that_is_not_believed(host, packet):
    t = routed(host)
    t.receives(packet)
    t.dropped("ICMP_REDIRECT")
    t.frames.clear()
    assert (first_hop(t, "192.0.2.1"), first_hop(t, "2001:db8::1")) == (ROUTER, ROUTER)


@pytest.mark.parametrize("settings", [{"accept_redirects": False}, {"forwarding": True}])
def test_a_router_and_a_host_that_was_told_so_accept_none(host, settings):
    t = routed(host, **settings)
    t.receives(redirect())
    t.dropped("ICMP_REDIRECT")
    t.receives(redirect6())
    t.dropped("ICMP_REDIRECT")


def test_an_ipv6_redirect_moves_one_destination(host):
    t = routed(host)
    t.receives(redirect6())
    assert not t.drops
    assert (first_hop(t, "2001:db8::1"), first_hop(t, "2001:db8::2")) == (OTHER, ROUTER)


def test_an_ipv6_redirect_to_the_destination_itself_says_that_it_is_on_the_link(host):
    t = routed(host)
    t.receives(redirect6(target="2001:db8::1", mac=PEER))
    assert first_hop(t, "2001:db8::1") == PEER


def test_the_link_address_of_a_new_router_comes_along(host):
    t = routed(host)
    t.receives(redirect6(target="fe80::7", mac=PEER))
    assert first_hop(t, "2001:db8::1") == PEER


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (redirect6(hlim=254), "IPV6_NDISC_HOP_LIMIT"),
        (IPv6(src="fe80::1", dst="fd00::10", hlim=255) / ICMPv6ND_Redirect(code=1), "IPV6_NDISC_BAD_CODE"),
        (IPv6(src="fe80::1", dst="fd00::10", hlim=255) / ICMPv6ND_Redirect(tgt="ff02::1"), "IPV6_NDISC_BAD_OPTIONS"),
    ],
)
def test_an_ipv6_redirect_against_the_rules(host, packet, reason):
    t = routed(host)
    t.receives(packet)
    t.dropped(reason)


def test_on_a_shared_address_only_our_own_flows_are_redirected(host):
    t = routed(host, shared=True)
    t.receives(redirect(ident=78))
    t.dropped("NOT_OUR_FLOW")
    t.receives(redirect6())
    t.dropped("NOT_OUR_FLOW")
    t.receives(redirect())
    assert first_hop(t, "192.0.2.1") == OTHER


def test_a_redirect_is_void_when_the_new_gateway_dies(host):
    t = host("10.0.0.10/24")
    t.routes("0.0.0.0/0", "10.0.0.1")
    t.knows("10.0.0.1", mac=ROUTER)
    t.receives(redirect(), src=ROUTER)
    t.ping("192.0.2.1")
    t.receives(arp_reply("10.0.0.3", OTHER))
    t.expects("ARP *", "ECHO *")
    t.advance(60)
    t.ping("192.0.2.1")
    t.expects("ECHO *")
    t.advance(8)
    t.expects(*["ARP who-has 10.0.0.3 tell 10.0.0.10"] * 3)
    assert first_hop(t, "192.0.2.1") == ROUTER


# --- the ones we send ----------------------------------------------------------------------------------------------


def test_no_ipv6_redirect_without_a_link_local_address_or_for_a_distant_source(host):
    for addresses, src in ((("fd00::1/64",), "fd00::2"), (("fd00::1/64", "fe80::1/64"), "fd09::2")):
        t = host(*addresses, forwarding=True, send_redirects=True)
        t.knows("fd00::2", "fe80::3")
        t.routes("2001:db8::/32", "fe80::3")
        t.routes("fd09::/64", "fd00::2")
        t.receives(IPv6(src=src, dst="2001:db8::1") / ICMPv6EchoRequest())
        t.expects("ECHO *")
