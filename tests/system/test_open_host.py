"""Paths over the host's interfaces: what the kernel's routes make of targets and -I, on real veth pairs."""

import errno

import pytest

from pytools.cli.open import Path, PathRequest, Target, open_path
from pytools.engine import ETHERNET, RAW_IP
from pytools.errors import LinkError
from pytools.stack.events import EchoReply
from pytools.wire.addr import format_ip, parse_ip

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def _keep_privileges(monkeypatch):
    monkeypatch.setattr("pytools.cli.open.Path._give_up_privileges", lambda self: None)


def request(*targets: str, via: str = "auto", **settings) -> PathRequest:
    parts = [target.partition("%") for target in targets]
    return PathRequest("ping", via=via, targets=[Target(parse_ip(text), zone) for text, _, zone in parts], **settings)


def answers(path: Path, *targets: str) -> list[str]:
    """Send one echo to each; who answered."""
    stack = path.stack
    stack.open_echo(path.ident)
    replies: list[EchoReply] = []
    driver = path.driver(stack, lambda event: replies.append(event) if isinstance(event, EchoReply) else None)
    for target in targets:
        address, _, zone = target.partition("%")
        path.endpoint(parse_ip(address), zone)
        assert stack.send_echo(parse_ip(address), path.ident, 1, b"hello", path.waiter.now()) == 0
    end = path.waiter.now() + 3_000_000_000
    driver.run(lambda: len(replies) >= len(targets) or path.waiter.now() > end)
    return sorted(format_ip(reply.src) for reply in replies)


@pytest.mark.parametrize(
    ("target", "source", "gateway", "kind", "link_type"),
    [
        ("10.9.0.2", "10.9.0.1", None, "unicast", ETHERNET),
        ("10.9.1.2", "10.9.0.1", "10.9.0.2", "unicast", ETHERNET),
        ("fd09::2", "fd09::1", None, "unicast", ETHERNET),
        ("fd09:1::2", "fd09::1", "fd09::2", "unicast", ETHERNET),
        ("127.0.0.1", "127.0.0.1", None, "local", RAW_IP),
        ("::1", "::1", None, "local", RAW_IP),
        ("10.9.0.1", "10.9.0.1", None, "local", RAW_IP),
        ("fd09::1", "fd09::1", None, "local", RAW_IP),
    ],
)
def test_the_kernels_route_decides_and_the_target_answers(routed, target, source, gateway, kind, link_type):
    with routed.client.entered(), open_path(request(target)) as path:
        endpoint = path.endpoint(parse_ip(target))
        assert format_ip(endpoint.source) == source
        assert (None if endpoint.gateway is None else format_ip(endpoint.gateway)) == gateway
        assert endpoint.kind == kind
        assert [port.link_type for port in path.ports] == [link_type]
        assert answers(path, target) == [target]


def test_all_of_them_at_once_share_one_stack(routed):
    targets = ["10.9.0.2", "10.9.1.2", "fd09::2", "fd09:1::2", "127.0.0.1", "::1", "10.9.0.1", "fd09::1"]
    with routed.client.entered(), open_path(request(*targets)) as path:
        assert answers(path, *targets) == sorted(targets)


def test_targets_that_come_later_find_every_interface_open(routed):
    targets = ["10.9.1.2", "fd09::2", "127.0.0.1", "::1"]
    with routed.client.entered(), open_path(request(later_targets=True)) as path:
        assert answers(path, *targets) == sorted(targets)


def test_many_targets_are_routed_by_the_kernels_tables(wire):
    targets = [f"10.77.0.{last}" for last in range(1, 251)] + ["10.9.0.2"]
    wire.peer.ip("route add local 10.77.0.0/16 dev lo")
    wire.ours.ip("route add 10.77.0.0/16 via 10.9.0.2")
    wire.ours.ip("route add unreachable 10.78.0.0/16")
    with wire.ours.entered(), open_path(request(*targets)) as path:
        stack, now = path.stack, path.waiter.now()
        stack.open_echo(path.ident)
        assert len(path.ports) == 1
        assert {stack.send_echo(parse_ip(target), path.ident, 1, b"", now) for target in targets} == {0}
        assert stack.send_echo(parse_ip("10.78.0.1"), path.ident, 1, b"", now) == errno.EHOSTUNREACH


def test_a_link_local_address_needs_its_zone_or_an_interface(wire):
    neighbour = next(
        word.partition("/")[0] for word in wire.peer.ip("-br -6 addr show dev v0").split() if word.startswith("fe80")
    )
    with wire.ours.entered():
        with pytest.raises(LinkError, match="connect: Invalid argument"):
            open_path(request(neighbour))
        with open_path(request(f"{neighbour}%v0")) as path:
            assert answers(path, f"{neighbour}%v0") == [neighbour]
        with open_path(request(neighbour, interfaces=["v0"])) as path:
            assert path.endpoint(parse_ip(neighbour)).zone == "v0"


@pytest.mark.parametrize(
    ("target", "interfaces", "words"),
    [
        ("10.99.1.1", [], "connect: Network is unreachable"),
        ("10.78.1.1", [], "connect: No route to host"),
        ("fd88::1", [], "connect: Network is unreachable"),
        ("10.9.0.2", ["nodev"], "SO_BINDTODEVICE nodev: No such device"),
        ("10.9.0.2", ["1.2.3.4"], "bind: Cannot assign requested address"),
    ],
)
def test_what_can_not_be_asked_is_said_in_pings_words(wire, target, interfaces, words):
    wire.ours.ip("route add unreachable 10.78.1.0/24")
    with wire.ours.entered(), pytest.raises(LinkError, match=f"^{words}"):
        open_path(request(target, interfaces=interfaces))


def test_one_target_without_a_route_is_no_obstacle_to_the_others(wire):
    with wire.ours.entered(), open_path(request("10.99.1.1", "10.9.0.2")) as path:
        with pytest.raises(LinkError, match="Network is unreachable"):
            path.endpoint(parse_ip("10.99.1.1"))
        assert answers(path, "10.9.0.2") == ["10.9.0.2"]


def test_a_source_address_is_used(wire):
    wire.ours.ip("addr add 10.9.0.7/24 dev v0")
    with wire.ours.entered(), open_path(request("10.9.0.2", interfaces=["10.9.0.7", "v0"])) as path:
        assert format_ip(path.endpoint(parse_ip("10.9.0.2")).source) == "10.9.0.7"
        assert answers(path, "10.9.0.2") == ["10.9.0.2"]


def test_an_interface_overrules_the_routes(wire):
    wire.ours.ip("link add v9 type veth peer name v9p")
    wire.ours.ip("addr add 10.55.0.1/24 dev v9")
    wire.ours.ip("link set v9 up")
    with wire.ours.entered(), open_path(request("10.9.0.2", interfaces=["v9"])) as path:
        endpoint = path.endpoint(parse_ip("10.9.0.2"))
        assert (endpoint.interface, format_ip(endpoint.source), endpoint.gateway) == ("v9", "10.55.0.1", None)


def test_a_vrf_is_an_interface_too(wire):
    try:
        wire.ours.ip("link add blue type vrf table 100")
    except Exception:
        pytest.skip("this kernel has no VRF")
    wire.ours.ip("link set blue up")
    wire.ours.ip("link set v0 master blue")
    with wire.ours.entered(), open_path(request("10.9.0.2", interfaces=["blue"])) as path:
        assert path.endpoint(parse_ip("10.9.0.2")).interface == "v0"
        assert answers(path, "10.9.0.2") == ["10.9.0.2"]


def test_packet_does_not_reach_the_hosts_own_addresses(wire):
    with wire.ours.entered(), pytest.raises(LinkError, match="this host's own"):
        open_path(request("10.9.0.1", via="packet"))


def test_an_address_of_our_own_is_answered_by_our_stack_only(wire):
    own = request("10.9.0.2", via="packet", address="10.9.0.50")
    with wire.ours.entered(), open_path(own) as path:
        port = path.ports[0]
        assert port.mac[0] & 3 == 2  # locally administered, of one station
        assert answers(path, "10.9.0.2") == ["10.9.0.2"]
    with wire.ours.entered(), open_path(own) as path:
        assert path.ports[0].mac == port.mac


@pytest.mark.needs("ping")
def test_the_kernel_pings_an_address_of_our_own(wire):
    with wire.ours.entered(), open_path(request(via="packet", address="10.9.0.50/24")) as path:
        driver = path.driver(path.stack)
        ping = wire.peer.popen("ping", "-c", "1", "-W", "2", "10.9.0.50")
        end = path.waiter.now() + 3_000_000_000
        while ping.poll() is None and path.waiter.now() < end:
            driver.step(path.waiter.now() + 20_000_000)
        assert ping.wait() == 0


def test_an_address_that_the_interface_has_is_refused(wire):
    with wire.ours.entered(), pytest.raises(LinkError, match="has that address already"):
        open_path(request("10.9.0.2", via="packet", address="10.9.0.1"))
