"""The live table of connections."""

import io
from random import Random

from rich.console import Console

from pytools.engine import Port
from pytools.probe.tcpserve import ServeConfig, TcpServer
from pytools.probe.tcpserve_services import Echo
from pytools.render.tcpserve_live import ServeLive
from pytools.stack import sockets
from pytools.stack.sockets import StreamSocket
from pytools.stack.stack import Stack
from pytools.stack.tcp.tcp import ANY4, Tcp
from pytools.wire.addr import parse_ip

OURS = parse_ip("10.0.0.10")


def serving(clients):
    """A server whose clients are sockets of the same stack."""
    stack = Stack(Random(1))
    stack.add_port(Port(0, "eth0", mac=bytes(6)))
    stack.add_address(0, OURS, 24)
    tcp = stack.install(6, Tcp)
    server = TcpServer(stack, tcp, ServeConfig(), lambda number, local, peer: Echo())
    server.listen([(ANY4, 7)], 0)
    for _ in range(clients):
        stream = StreamSocket(tcp, sockets.AF_INET)
        try:
            stream.connect((OURS, 7), 0)
        except BlockingIOError:
            pass
        while server.poll_transmit(0) is not None:
            pass
    return server


def drawn(server, height=30):
    stream = io.StringIO()
    console = Console(file=stream, width=120, height=height, highlight=False, markup=False, emoji=False)
    console.print(ServeLive(server, console).table(3_000_000_000))
    return stream.getvalue().splitlines()


def test_each_connection_has_a_row_with_its_figures():
    lines = drawn(serving(2))
    assert lines[0].split() == ["client", "port", "state", "in", "out", "unsent", "cwnd", "rtt", "again", "age"]
    assert lines[1].split()[0::2][:3] == ["10.0.0.10", "7", "0"]
    assert "ESTABLISHED" in lines[1]
    assert lines[1].endswith("3 s")
    assert "2 connections, 2 open" in "\n".join(lines)


def test_what_does_not_fit_is_counted():
    lines = drawn(serving(9), height=8)
    assert "and 6 more" in "\n".join(lines)
