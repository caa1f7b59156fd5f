from random import Random

from pytools.stack.routes import Route, RouteTable
from pytools.wire.addr import Network, parse_ip


def route(text, port=0, gateway=None, **how):
    return Route(Network.parse(text), port, parse_ip(gateway) if gateway else None, **how)


def table(*routes):
    made = RouteTable()
    for entry in routes:
        made.add(entry)
    return made


def test_an_empty_table_leads_nowhere():
    assert table().lookup(parse_ip("10.0.0.1")) is None
    assert table().lookup(parse_ip("fd00::1")) is None
    assert table().all() == []


def test_the_longest_prefix_wins():
    routes = [route("0.0.0.0/0"), route("10.0.0.0/8"), route("10.1.0.0/16"), route("10.1.2.3/32")]
    t = table(*Random(2).sample(routes, 4))
    for dst, expected in (("10.1.2.3", 3), ("10.1.2.4", 2), ("10.2.0.1", 1), ("192.0.2.1", 0)):
        assert t.lookup(parse_ip(dst)) is routes[expected]


def test_the_families_stay_apart():
    four, six = route("0.0.0.0/0"), route("::/0")
    t = table(four, six)
    assert t.lookup(parse_ip("10.0.0.1")) is four
    assert t.lookup(parse_ip("fd00::1")) is six


def test_of_equal_networks_the_lowest_metric_counts_then_the_oldest():
    slow, first, second = route("10.0.0.0/8", metric=9), route("10.0.0.0/8"), route("10.0.0.0/8")
    t = table(slow, first, second)
    assert t.lookup(parse_ip("10.0.0.1")) is first
    t.remove(first)
    assert t.lookup(parse_ip("10.0.0.1")) is second
    t.remove(second)
    assert t.lookup(parse_ip("10.0.0.1")) is slow


def test_only_out_of_a_port_or_on_the_link():
    far, near = route("10.0.0.0/8", 0, "10.0.0.1"), route("0.0.0.0/0", 1)
    t = table(far, near)
    assert t.lookup(parse_ip("10.0.0.5"), port=1) is near
    assert t.lookup(parse_ip("10.0.0.5"), on_link_only=True) is near
    assert t.lookup(parse_ip("10.0.0.5"), port=2) is None


def test_removing_takes_out_that_route_only():
    one, same = route("10.0.0.0/8"), route("10.0.0.0/8")
    t = table(one)
    t.remove(same)
    t.remove(route("11.0.0.0/8"))
    t.remove(route("fd00::/8"))
    assert t.all() == [one]
    t.remove(one)
    assert t.all() == []
    t.remove(one)


def test_agrees_with_a_naive_search():
    rng = Random(7)
    routes = [Route(Network(rng.randbytes(4), rng.randrange(33)), rng.randrange(3)) for _ in range(300)]
    t = table(*routes)
    for _ in range(2000):
        base = rng.choice(routes).network.address
        dst = bytes(octet ^ (rng.random() < 0.3) * rng.randrange(256) for octet in base)
        fitting = [r for r in routes if dst in r.network]
        best = max((r.network.prefix_len for r in fitting), default=None)
        expected = next((r for r in fitting if r.network.prefix_len == best), None)
        assert t.lookup(dst) is expected
