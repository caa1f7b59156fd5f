"""What the kernel knows, compared with `ip -json`; and its changes as they happen."""

import json
import select
import socket
import subprocess

import pytest

from pytools.errors import LinkError
from pytools.link import host
from pytools.link.watch import HostWatch

pytestmark = pytest.mark.root


def ip4(text):
    return socket.inet_pton(socket.AF_INET, text)


def ip6(text):
    return socket.inet_pton(socket.AF_INET6, text)


def to_bytes(text):
    return ip6(text) if ":" in text else ip4(text)


@pytest.fixture
def inside(wire):
    """The test runs in ours."""
    with wire.ours.entered():
        yield wire.ours


def test_interfaces_are_those_of_ip_link(inside):
    theirs = {one["ifname"]: one for one in json.loads(inside.ip("-json -details link"))}
    ours = {one.name: one for one in host.interfaces()}
    assert ours.keys() == theirs.keys()
    for name, one in ours.items():
        assert (one.index, one.mtu) == (theirs[name]["ifindex"], theirs[name]["mtu"])
        assert one.mac == bytes.fromhex(theirs[name]["address"].replace(":", ""))
        assert one.up == ("UP" in theirs[name]["flags"])
        assert one.running == ("LOWER_UP" in theirs[name]["flags"])
        assert one.loopback == ("LOOPBACK" in theirs[name]["flags"])
    assert ours["v0"].kind == "veth"
    assert (ours["v0"].arpable, ours["lo"].arpable) == (True, False)


def test_one_interface_is_found_by_name_alternative_name_and_number(inside):
    inside.ip("link property add dev v0 altname a-rather-long-alternative-name")
    v0 = host.interface("v0")
    assert v0 is not None
    for way in ("a-rather-long-alternative-name", v0.index):
        assert host.interface(way).name == "v0"
    for way in ("nodev", "", "x" * 15, "x" * 16, "x" * 300, 9999):
        assert host.interface(way) is None


def test_addresses_are_those_of_ip_addr(inside):
    inside.ip("addr add 10.5.0.1 peer 10.5.0.2/32 dev v0")
    theirs = {
        (one["ifindex"], to_bytes(info["local"]), info["prefixlen"], info.get("address"))
        for one in json.loads(inside.ip("-json addr"))
        for info in one["addr_info"]
    }
    ours = {
        (one.index, one.address, one.prefix_len, None if one.peer == one.address else socket.inet_ntoa(one.peer))
        for one in host.addresses()
    }
    assert ours == theirs
    v0 = host.interface("v0")
    found = {one.address: one for one in host.addresses(v0.index)}
    assert found[ip4("10.9.0.1")].scope == 0
    assert found[ip6("fe80::ff:fe09:1")].scope == 253
    assert all(one.index == v0.index for one in found.values())


def test_a_duplicate_address_and_a_tentative_one_are_told(inside):
    inside.sysctl(net__ipv6__conf__v0__accept_dad=1)
    inside.ip("addr add fd09::77/64 dev v0")
    (one,) = [one for one in host.addresses() if one.address == ip6("fd09::77")]
    assert one.flags & host.IFA_F_TENTATIVE


def test_neighbours_are_those_of_ip_neigh(inside):
    inside.ip("neigh add 10.9.0.7 lladdr 02:00:00:00:00:07 dev v0")
    inside.ip("neigh add fd09::7 lladdr 02:00:00:00:00:07 dev v0")
    found = {one.address: one for one in host.neighbors(host.interface("v0").index)}
    for address in (ip4("10.9.0.7"), ip6("fd09::7")):
        assert found[address].mac == bytes.fromhex("020000000007")
        assert found[address].state == 128
    assert host.neighbors(9999) == []


# -- routes ------------------------------------------------------------------------------------------------------------

DESTINATIONS = (
    *("10.9.0.2", "10.9.0.1", "127.0.0.1", "10.9.0.255", "224.0.0.1", "255.255.255.255", "10.44.1.1", "10.45.0.1"),
    *("10.46.1.1", "203.0.113.9", "fd09::2", "fd09::1", "::1", "fd44::1", "2001:db8::1", "10.9.0.0"),
)


@pytest.fixture
def with_routes(inside):
    inside.ip("route add 10.44.0.0/16 via 10.9.0.2")
    inside.ip("route add 10.44.1.0/24 via 10.9.0.3 mtu 1300")
    inside.ip("route add 10.45.0.0/16 via inet6 fe80::99 dev v0")
    inside.ip("addr add 10.9.0.9/24 dev v0")
    inside.ip("route add 10.46.0.0/16 via 10.9.0.2 src 10.9.0.9 metric 5")
    inside.ip("route add 10.46.0.0/16 via 10.9.0.3 metric 9")
    inside.ip("route add fd44::/16 via fd09::2")
    inside.ip("route add default via 10.9.0.2")
    inside.ip("-6 route add default via fe80::2 dev v0")
    return inside


@pytest.mark.parametrize("text", DESTINATIONS)
def test_the_way_to_a_destination_is_that_of_ip_route_get(with_routes, text):
    (theirs,) = json.loads(with_routes.ip(f"-json route get {text}"))
    route = host.route_to(to_bytes(text))
    assert route.kind == theirs.get("type", "unicast")
    assert host.interface(route.oif).name == theirs["dev"]
    gateway = theirs.get("gateway") or theirs.get("via", {}).get("host")
    assert route.gateway == (to_bytes(gateway) if gateway else None)
    assert route.source == to_bytes(theirs["prefsrc"])
    assert route.mtu == int((theirs.get("metrics") or [{}])[0].get("mtu", 0))


@pytest.mark.parametrize("text", DESTINATIONS)
def test_the_table_in_memory_says_what_the_kernel_says(with_routes, text):
    dst = to_bytes(text)
    table = host.RouteTable(4 if len(dst) == 4 else 6)
    for _ in range(2):
        ours, theirs = table.route_to(dst), host.route_to(dst)
        for field in ("kind", "oif", "gateway", "source", "mtu"):
            assert getattr(ours, field) == getattr(theirs, field), field


REFUSALS = {
    "unreachable": (113, "No route to host"),
    "prohibit": (13, "Permission denied"),
    "blackhole": (22, "Invalid"),
}


@pytest.mark.parametrize("kind", REFUSALS)
@pytest.mark.parametrize("network", ["10.78.0.0/16", "fd78::/16"])
def test_routes_that_refuse_say_what_connect_says(inside, kind, network):
    inside.ip(f"route add {kind} {network}")
    dst = to_bytes(network.split("/")[0])
    errno, words = REFUSALS[kind]
    with socket.socket(socket.AF_INET6 if len(dst) == 16 else socket.AF_INET, socket.SOCK_DGRAM) as oracle:
        with pytest.raises(OSError, match=words) as theirs:
            oracle.connect((socket.inet_ntop(oracle.family, dst), 9))
        assert theirs.value.errno == errno
    for ask in (host.route_to, host.RouteTable(4 if len(dst) == 4 else 6).route_to):
        with pytest.raises(LinkError, match=f"^connect: {words}") as ours:
            ask(dst)
        assert ours.value.errno == errno


@pytest.mark.parametrize("dst", ["203.0.113.9", "2001:db8::1"])
def test_no_route_at_all_is_a_network_unreachable(inside, dst):
    for ask in (host.route_to, host.RouteTable(6 if ":" in dst else 4).route_to):
        with pytest.raises(LinkError, match=r"^connect: Network is unreachable$") as error:
            ask(to_bytes(dst))
        assert error.value.errno == 101


def test_mark_interface_and_source_change_the_way(with_routes):
    with_routes.ip("rule add fwmark 7 lookup 100")
    with_routes.ip("route add default via 10.9.0.77 dev v0 table 100")
    assert host.route_to(ip4("203.0.113.9"), mark=7).gateway == ip4("10.9.0.77")
    assert host.route_to(ip4("203.0.113.9")).gateway == ip4("10.9.0.2")
    assert host.route_to(ip4("203.0.113.9"), source=ip4("10.9.0.9")).source == ip4("10.9.0.9")
    v0 = host.interface("v0").index
    assert host.route_to(ip6("fe80::5"), oif=v0).oif == v0


def test_policy_rules_send_the_table_back_to_the_kernel(with_routes):
    assert not host.has_policy_rules(4)
    with_routes.ip("rule add to 203.0.113.0/24 lookup 100")
    with_routes.ip("route add default via 10.9.0.77 dev v0 table 100")
    assert host.has_policy_rules(4)
    assert not host.has_policy_rules(6)
    assert host.RouteTable(4).route_to(ip4("203.0.113.9")).gateway == ip4("10.9.0.77")


def test_several_next_hops_are_left_to_the_kernel(inside):
    inside.ip("route add 10.47.0.0/16 nexthop via 10.9.0.2 nexthop via 10.9.0.3")
    for last in range(20):
        dst = ip4(f"10.47.0.{last}")
        assert host.RouteTable(4).route_to(dst).gateway == host.route_to(dst).gateway


def test_a_learned_path_mtu_is_told(routed):
    routed.router.ip("link set v1 mtu 1280")
    with routed.client.entered():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.IPPROTO_IP, 10, 2)
            sender.sendto(bytes(1400), ("10.9.1.2", 9))
        assert host.route_to(ip4("10.9.1.2")).mtu == 1280


def test_many_routes_arrive_whole(inside):
    batch = "".join(f"route add 10.{high}.{low}.0/24 via 10.9.0.2\n" for high in (100, 101) for low in range(250))
    subprocess.run(["ip", "-n", inside.name, "-batch", "-"], input=batch, text=True, check=True)
    found = host.routes(4)
    assert sum(route.network[1] in (100, 101) for route in found) == 500


# -- changes -----------------------------------------------------------------------------------------------------------


def changes(watch, count):
    """The next `count` changes as (kind, name, address)."""
    found = []
    while len(found) < count:
        assert select.select(watch.filenos(), (), (), 3)[0], found
        found += [(one.kind, one.name, one.address) for one in watch.poll()]
    return found


@pytest.fixture
def watch(inside):
    with_fixture = HostWatch()
    yield with_fixture
    with_fixture.close()
    with_fixture.close()


def test_nothing_changed_is_nothing_told(inside, watch):
    assert watch.poll() == []


def test_an_interface_that_goes_down_and_comes_back_is_told(inside, watch):
    inside.ip("link set v0 down")
    seen = {(kind, name) for kind, name, _ in changes(watch, 3)}
    assert ("link-down", "v0") in seen
    assert ("address-gone", "v0") in seen
    inside.ip("link set v0 up")
    assert ("link-up", "v0", b"") in changes(watch, 1)


def test_a_lost_carrier_is_told(wire, inside, watch):
    wire.peer.ip("link set v0 down")
    assert changes(watch, 1)[0] == ("link-down", "v0", b"")


def test_an_address_that_goes_away_is_told(inside, watch):
    inside.ip("addr del 10.9.0.1/24 dev v0")
    assert changes(watch, 1) == [("address-gone", "v0", ip4("10.9.0.1"))]
    inside.ip("addr add fd09::5/64 dev v0 nodad")
    assert changes(watch, 1) == [("address-new", "v0", ip6("fd09::5"))]


def test_an_interface_that_vanishes_is_told(wire, inside, watch):
    wire.peer.ip("link del v0")
    found = []
    while not any(kind == "link-gone" for kind, _, _ in found):
        found += changes(watch, 1)
    assert ("link-gone", "v0", b"") in found


def test_a_flood_of_changes_loses_nothing_that_counts(inside, watch):
    lines = [f"addr add 10.200.{high}.{low}/32 dev v0\n" for high in range(8) for low in range(250)]
    subprocess.run(["ip", "-n", inside.name, "-batch", "-"], input="".join(lines), text=True, check=True)
    found = {address for kind, _, address in changes(watch, 2000) if kind == "address-new"}
    assert len(found) == 2000
    assert watch.poll() == []
