import pytest

from pytools.errors import LocalProtocolError
from pytools.wire.addr import parse_ip


@pytest.mark.parametrize("address", ["0.0.0.0/8", "224.0.0.1/4", "::/0", "ff02::1/128"])
def test_what_is_no_hosts_address(host, address):
    with pytest.raises(LocalProtocolError, match="can't be the address of a host"):
        host(address)


def test_an_address_is_added_once(host):
    t = host("10.0.0.10/24")
    with pytest.raises(LocalProtocolError, match=r"eth0 has 10\.0\.0\.10 already"):
        t.has("10.0.0.10/24")
    with pytest.raises(LocalProtocolError, match=r"eth0 has no 10\.0\.0\.11"):
        t.stack.remove_address(0, parse_ip("10.0.0.11"))


def test_an_address_brings_the_route_to_its_network(host):
    t = host("10.0.0.10/24")
    assert t.stack.route(parse_ip("10.0.0.77")).port == 0
    t.stack.remove_address(0, parse_ip("10.0.0.10"))
    assert t.stack.route(parse_ip("10.0.0.77")) is None


def test_the_route_stays_while_another_address_needs_it(host):
    t = host("10.0.0.10/24", "10.0.0.11/24")
    assert len(t.stack._routes.all()) == 1
    t.stack.remove_address(0, parse_ip("10.0.0.10"))
    assert t.stack.route(parse_ip("10.0.0.77")) is not None
    t.stack.remove_address(0, parse_ip("10.0.0.11"))
    assert t.stack.route(parse_ip("10.0.0.77")) is None


@pytest.mark.parametrize("address", ["10.0.0.10/32", "fd00::10/128"])
def test_a_single_address_brings_no_route(host, address):
    assert host(address).stack._routes.all() == []


def test_an_ipv6_address_joins_its_group(host):
    t = host("fd00::10/64")
    groups = t.stack._node.interfaces[0].groups
    assert parse_ip("ff02::1:ff00:10") in groups
    t.stack.remove_address(0, parse_ip("fd00::10"))
    assert parse_ip("ff02::1:ff00:10") not in groups


def test_the_link_local_address_is_made_once(host):
    t = host(auto_link_local=True)
    t.has("fd00::10/64")
    t.has("fd01::10/64")
    assert len(t.stack.addresses(0)) == 3
    t = host(auto_link_local=True)
    t.has("fe80::99/64")
    t.has("fd00::10/64")
    assert len(t.stack.addresses(0)) == 2
    t = host(auto_link_local=True)
    t.has("fd00::10/64", shared=True)
    assert len(t.stack.addresses(0)) == 1


def test_only_an_address_in_use_can_be_announced(host):
    t = host("10.0.0.10/24", probe=True)
    t.has("10.0.0.11/24", shared=True)
    for address in ("10.0.0.10", "10.0.0.11", "10.0.0.12"):
        with pytest.raises(LocalProtocolError, match="can be announced"):
            t.stack.announce(0, parse_ip(address), t.now)
