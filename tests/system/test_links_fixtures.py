"""The namespaces themselves: that the tests stand on firm ground."""

import os
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.needs("ping")]


def test_a_wire_carries_both_families_at_once(wire):
    assert wire.ours.run("ping", "-c1", "-W0.5", "fd09::2").returncode == 0
    assert wire.ours.run("ping", "-c1", "-W0.5", "10.9.0.2").returncode == 0


def test_a_router_forwards_both_families(routed):
    assert routed.client.run("ping", "-c1", "-W0.5", "fd09:1::2").returncode == 0
    assert routed.client.run("ping", "-c1", "-W0.5", "10.9.1.2").returncode == 0


def test_entering_a_namespace_ends_with_the_block(wire):
    home = os.readlink("/proc/thread-self/ns/net")
    with wire.ours.entered():
        assert "v0" in Path("/proc/net/dev").read_text()
        assert os.readlink("/proc/thread-self/ns/net") != home
    assert os.readlink("/proc/thread-self/ns/net") == home
