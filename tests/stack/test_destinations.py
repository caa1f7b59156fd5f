"""The destination cache: RFC 1191, RFC 8201, RFC 4861 5.1; the requirements IP4-31 and IP4-32."""

from random import Random

import pytest

from pytools.stack.config import StackConfig
from pytools.stack.destinations import PLATEAUS, Destinations, plateau_below
from pytools.stack.node import Node
from pytools.trace.events import PathMtuChanged, RouteChanged
from pytools.trace.hub import Trace
from pytools.units import SECOND
from pytools.wire.addr import parse_ip

FAR, ROUTER = parse_ip("192.0.2.1"), parse_ip("10.0.0.1")


@pytest.fixture
def cache():
    return Destinations(Node(StackConfig(path_mtu_limit=8), Random(1), Trace(), 0))


@pytest.mark.parametrize(
    ("length", "plateau"),
    [(70000, 65535), (65535, 32000), (1500, 1492), (1492, 1006), (576, 508), (296, 68), (69, 68), (68, 68), (20, 68)],
)
def test_the_plateau_table(length, plateau):
    assert plateau_below(length) == plateau
    assert plateau in PLATEAUS


def test_nothing_is_known_at_first(cache):
    assert cache.get(FAR, 0) is None
    assert len(cache) == 0


def test_an_estimate_is_forgotten_after_ten_minutes(cache):
    cache.too_big(FAR, 1400, ROUTER, 0)
    assert cache.get(FAR, 599 * SECOND).mtu == 1400
    assert cache.get(FAR, 600 * SECOND).mtu == 0


def test_the_same_message_again_keeps_an_estimate(cache):
    cache.too_big(FAR, 1400, ROUTER, 0)
    assert not cache.too_big(FAR, 1400, ROUTER, 300 * SECOND)
    assert cache.get(FAR, 899 * SECOND).mtu == 1400


def test_a_higher_one_changes_nothing(cache):
    cache.too_big(FAR, 1400, ROUTER, 0)
    assert not cache.too_big(FAR, 1450, ROUTER, 300 * SECOND)
    assert cache.get(FAR, 600 * SECOND).mtu == 0


def test_a_lower_one_counts(cache):
    cache.too_big(FAR, 1400, ROUTER, 0)
    assert cache.too_big(FAR, 1300, ROUTER, 300 * SECOND)
    assert cache.get(FAR, 700 * SECOND).mtu == 1300


def test_what_was_used_lately_stays_and_the_cache_stays_small(cache):
    cache.too_big(FAR, 1400, ROUTER, 0)
    for n in range(1000):
        cache.too_big(n.to_bytes(4, "big"), 1400, ROUTER, 0)
        assert cache.get(FAR, 0) is not None
        assert len(cache) <= 8
    assert cache.get((5).to_bytes(4, "big"), 0) is None


def test_a_dead_gateway_is_forgotten(cache):
    cache.redirect(FAR, ROUTER, 0, ROUTER, 0)
    cache.redirect(parse_ip("192.0.2.2"), parse_ip("10.0.0.9"), 0, ROUTER, 0)
    cache.forget_gateway(ROUTER)
    assert cache.get(FAR, 0).gateway is None
    assert cache.get(parse_ip("192.0.2.2"), 0).gateway is not None


def test_the_trace_tells_of_changes_and_expiry():
    trace, told = Trace(), []
    trace.subscribe(told.append, ("ip",))
    cache = Destinations(Node(StackConfig(), Random(1), trace, 0))
    cache.too_big(FAR, 1400, ROUTER, 0)
    cache.redirect(FAR, parse_ip("10.0.0.9"), 0, ROUTER, 0)
    cache.get(FAR, 600 * SECOND)
    assert [(type(e), *(getattr(e, slot) for slot in e.__slots__)) for e in told] == [
        (PathMtuChanged, FAR, 0, 1400, ROUTER),
        (RouteChanged, FAR, parse_ip("10.0.0.9"), ROUTER),
        (PathMtuChanged, FAR, 1400, 0, b""),
    ]
