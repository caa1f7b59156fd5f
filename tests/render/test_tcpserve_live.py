"""The live table of connections."""

import io

from rich.console import Console

from pytools.render.tcpserve_live import ServeLive
from tests.probe.test_tcpserve import World


def drawn(clients, height=30):
    world = World()
    for _ in range(clients):
        world.connect()
    stream = io.StringIO()
    console = Console(file=stream, width=120, height=height, highlight=False, markup=False, emoji=False)
    console.print(ServeLive(world.server, console).table(world.now + 3_000_000_000))
    return stream.getvalue().splitlines()


def test_each_connection_has_a_row_with_its_figures():
    lines = drawn(2)
    assert lines[0].split() == ["client", "port", "state", "in", "out", "unsent", "cwnd", "rtt", "again", "age"]
    address, _, *rest = lines[1].split()
    assert (address, rest) == ("10.0.0.2", ["7", "ESTABLISHED", "0", "0", "0", "10", "2.00", "ms", "0", "3", "s"])
    assert "2 connections, 2 open" in "\n".join(lines)


def test_what_does_not_fit_is_counted():
    assert "and 6 more" in "\n".join(drawn(9, height=8))
