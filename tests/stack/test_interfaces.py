"""Source address selection (RFC 6724 5) and what else an interface knows."""

import pytest

from pytools.stack.interfaces import common_prefix, scope
from pytools.wire.addr import format_ip, parse_ip


@pytest.mark.parametrize(
    ("addresses", "dst", "source"),
    [
        # RFC 6724 10.1, without temporary addresses and with our prefixes.
        (["2001:db8:3::1/64", "fe80::1/64"], "2001:db8:1::1", "2001:db8:3::1"),
        (["2001:db8:3::1/64", "fe80::1/64"], "ff05::1", "2001:db8:3::1"),
        (["2001:db8:2::1/64", "2001:db8:1::1/64"], "2001:db8:1::2", "2001:db8:1::1"),
        (["2001:db8:1::1/64", "2001:db8:3::2/64"], "2001:db8:1::1:2", "2001:db8:1::1"),
        (["fe80::1/64", "2001:db8::1/64"], "fe80::2", "fe80::1"),
        (["2001:db8::1/64", "fe80::1/64"], "ff02::1", "fe80::1"),
        (["fe80::1/64"], "2001:db8::1", "fe80::1"),
        (["fd00::1/64", "2001:db8::1/64"], "fd00::5", "fd00::1"),
        (["2001:db8::1/64", "2001:db8::2/64"], "2001:db8::2", "2001:db8::2"),
        (["10.0.0.1/24", "10.1.0.1/24"], "10.1.0.9", "10.1.0.1"),
        (["10.0.0.1/24", "10.1.0.1/24"], "192.0.2.1", "10.0.0.1"),
    ],
)
def test_source_addresses(host, addresses, dst, source):
    t = host(*addresses)
    assert format_ip(t.stack._node.interfaces[0].source_for(parse_ip(dst))) == source


def test_a_tentative_address_is_no_source(host):
    t = host("10.0.0.1/24", "fd00::1/64", probe=True)
    iface = t.stack._node.interfaces[0]
    assert iface.source_for(parse_ip("10.0.0.2")) is None
    assert iface.source_for(parse_ip("fd00::2")) is None


@pytest.mark.parametrize(
    ("address", "expected"),
    [("fe80::1", 2), ("::1", 2), ("fd00::1", 14), ("2001:db8::1", 14), ("ff02::1", 2), ("ff05::1", 5), ("ff0e::1", 14)],
)
def test_scopes(address, expected):
    assert scope(parse_ip(address)) == expected


def test_common_prefixes():
    assert common_prefix(parse_ip("10.0.0.0"), parse_ip("10.0.0.255")) == 24
    assert common_prefix(parse_ip("::"), parse_ip("::")) == 128
    assert common_prefix(parse_ip("::"), parse_ip("8000::")) == 0


def test_a_group_is_left_when_everybody_left(host):
    t = host("10.0.0.1/24")
    iface, group = t.stack._node.interfaces[0], parse_ip("224.1.2.3")
    assert [iface.join(group), iface.join(group)] == [True, False]
    assert [iface.leave(group), group in iface.groups] == [False, True]
    assert [iface.leave(group), group in iface.groups] == [True, False]
    assert iface.leave(group) is False
