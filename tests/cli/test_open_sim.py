"""Paths into the simulation, as the shared options choose them."""

import pytest

from pytools.cli.open import PathRequest, Target, open_path
from pytools.cli.open_sim import EPOCH_NS
from pytools.errors import UsageError
from pytools.run.waiters import PacedWaiter, VirtualWaiter
from pytools.wire.addr import format_ip, parse_ip


def sim(via: str = "sim", **settings):
    return open_path(PathRequest("ping", via=via, **settings))


@pytest.mark.parametrize(
    ("target", "source", "gateway"),
    [
        ("10.0.0.2", "10.0.0.10", None),
        ("10.0.1.2", "10.0.0.10", "10.0.0.1"),
        ("fd00::2", "fd00::10", None),
        ("fd00:0:0:1::2", "fd00::10", "fd00::1"),
    ],
)
def test_the_way_to_a_target_has_source_and_gateway(target, source, gateway):
    with sim() as path:
        endpoint = path.endpoint(parse_ip(target))
    assert format_ip(endpoint.source) == source
    assert (None if endpoint.gateway is None else format_ip(endpoint.gateway)) == gateway
    assert (endpoint.interface, endpoint.kind, endpoint.mtu) == ("sim0", "unicast", 1500)


@pytest.mark.parametrize(
    ("target", "kind"), [("224.0.0.1", "multicast"), ("255.255.255.255", "broadcast"), ("ff02::1", "multicast")]
)
def test_groups_are_told_from_hosts(target, kind):
    with sim() as path:
        assert path.endpoint(parse_ip(target)).kind == kind


def test_address_replaces_ours_in_its_family_only():
    with sim(address="10.0.0.77/24") as path:
        assert format_ip(path.endpoint(parse_ip("10.0.0.2")).source) == "10.0.0.77"
        assert format_ip(path.endpoint(parse_ip("fd00::2")).source) == "fd00::10"


@pytest.mark.parametrize("text", ["192.0.2.1", "10.0.0", "x", "10.1.0.1/24"])
def test_an_address_outside_the_simulation_is_refused(text):
    with pytest.raises(UsageError, match=f"--address {text}: "):
        sim(address=text)


def test_a_network_of_its_own_is_refused():
    with pytest.raises(UsageError, match="fixed"):
        sim(network="10.7.0.0/24")


def test_the_seed_decides_and_the_option_goes_before_the_text():
    idents = [sim("sim:seed=5").ident, sim("sim:seed=6", seed=5).ident, sim("sim:seed=6").ident]
    assert idents[0] == idents[1] != idents[2]


def test_a_chosen_identifier_is_kept():
    assert sim(ident=77).ident == 77


def test_wall_time_is_the_same_in_every_run():
    assert sim().epoch_ns == EPOCH_NS


@pytest.mark.parametrize(
    ("via", "endless", "kind"),
    [
        ("sim", False, VirtualWaiter),
        ("sim", True, PacedWaiter),
        ("sim:pace=max", True, VirtualWaiter),
        ("sim:pace=2", False, PacedWaiter),
    ],
)
def test_a_run_without_an_end_keeps_step_with_the_clock(via, endless, kind):
    assert type(sim(via, endless=endless).waiter) is kind


def test_several_targets_share_the_path():
    targets = [Target(parse_ip(f"10.0.0.{last}")) for last in range(1, 255)]
    with sim(targets=targets) as path:
        assert {path.endpoint(target.address).port for target in targets} == {0}
