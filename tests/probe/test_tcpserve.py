"""The TCP server against a client on the same kind of stack, in virtual time, frame by frame."""

from random import Random

import pytest

from pytools.engine import ETHERNET, Port, RxMeta
from pytools.probe import tcpserve_services as services
from pytools.probe.tcpserve import ServeConfig, TcpServer
from pytools.probe.tcpserve_events import ClientClosed, ClientOpened, ServerListening
from pytools.stack import sockets
from pytools.stack.sockets import StreamSocket
from pytools.stack.stack import Stack
from pytools.stack.tcp.tcp import ANY4, ANY6, Tcp
from pytools.units import MS, SECOND
from pytools.wire import gso
from pytools.wire.addr import parse_ip

OURS, FAR = parse_ip("10.0.0.10"), parse_ip("10.0.0.2")
OURS6, FAR6 = parse_ip("fd00::10"), parse_ip("fd00::2")
DELAY = 1 * MS


def host(last, seed):
    stack = Stack(Random(seed))
    stack.add_port(Port(0, "eth0", mac=bytes((2, 0, 0, 0, 0, int(last)))))
    stack.add_address(0, parse_ip(f"10.0.0.{last}"), 24)
    stack.add_address(0, parse_ip(f"fd00::{last}"), 64)
    return stack, stack.install(6, Tcp)


class World:
    """A server, a host with clients, a wire of 1 ms between them."""

    def __init__(self, make=services.Echo, places=((ANY4, 7), (ANY6, 7)), **limits):
        self.now = SECOND
        stack, tcp = host("10", 1)
        self.server = TcpServer(stack, tcp, ServeConfig(**limits), lambda number, local, peer: make())
        stack.set_neighbor(0, FAR, bytes((2, 0, 0, 0, 0, 2)))
        self.far, self.tcp = host("2", 2)
        self.under_way = []
        self.events = []
        self.cut = False
        self.server.listen(list(places), self.now)

    def connect(self, address=OURS, port=7):
        stream = StreamSocket(self.tcp, sockets.AF_INET if len(address) == 4 else sockets.AF_INET6)
        with pytest.raises(BlockingIOError):
            stream.connect((address, port), self.now)
        self.run(0.01)
        return stream

    def run(self, seconds):
        end = self.now + int(seconds * SECOND)
        while True:
            self._settle()
            due = [at for at, _, _ in self.under_way]
            at = min(*due, self.server.next_deadline(), self.far.next_deadline(), end) if due else None
            if at is None:
                at = min(self.server.next_deadline(), self.far.next_deadline(), end)
            self.now = max(self.now, at)
            arrived = [one for one in self.under_way if one[0] <= self.now]
            self.under_way = [one for one in self.under_way if one[0] > self.now]
            for _, engine, frame in arrived:
                engine.on_frame(memoryview(frame), self.now, RxMeta())
            for engine in (self.server, self.far):
                engine.on_deadline(self.now)
            if self.now >= end and not arrived:
                self._settle()
                return

    def _settle(self):
        for engine, other in ((self.server, self.far), (self.far, self.server)):
            while (transmit := engine.poll_transmit(self.now)) is not None:
                for frame in gso.segments(transmit, ETHERNET):
                    if not self.cut:
                        self.under_way.append((self.now + DELAY, other, bytes(frame)))
        while (event := self.server.poll_event()) is not None:
            self.events.append(event)
        while self.far.poll_event() is not None:
            pass

    def told(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def endings(self):
        return [event.how for event in self.told(ClientClosed)]

    def read(self, stream, seconds=0.1):
        """Everything that comes until the end or until nothing comes any more."""
        got = b""
        while True:
            self.run(seconds)
            try:
                data = stream.recv(1 << 24, self.now)
            except BlockingIOError:
                return got
            if not data:
                return got
            got += data


def talk(world, address, line=b"hello"):
    stream = world.connect(address)
    stream.send(line, world.now)
    stream.shutdown(sockets.SHUT_WR, world.now)
    answer = world.read(stream)
    stream.close(world.now)
    world.run(0.1)
    return answer


@pytest.mark.parametrize("address", [OURS, OURS6], ids=["ipv4", "ipv6"])
def test_what_a_client_sends_comes_back_and_so_does_the_end(address):
    world = World()
    assert talk(world, address) == b"hello"
    assert world.endings == ["FIN"]
    closed = world.told(ClientClosed)[0]
    assert (closed.bytes_in, closed.bytes_out, closed.local[1], closed.peer[0]) == (
        5,
        5,
        7,
        FAR if address is OURS else FAR6,
    )


def test_it_says_that_it_listens_before_anybody_comes():
    world = World()
    talk(world, OURS)
    assert [type(event) for event in world.events] == [ServerListening, ClientOpened, ClientClosed]


def test_a_client_that_does_not_read_holds_up_only_its_own_echo():
    world = World()
    deaf = world.connect()
    total = 0
    for _ in range(400):
        try:
            total += deaf.send(bytes(1 << 20), world.now)
        except BlockingIOError:
            break
        world.run(0.02)
    assert talk(world, OURS) == b"hello"
    held = next(client for client in world.server.clients if client.number == 1)
    sender = held.connection.tx.sender
    assert sender.unsent <= 4 * services.CHUNK
    assert len(world.read(deaf)) > 0, "and goes on when it does read"


def test_discard_closes_when_the_client_does_and_sends_nothing():
    world = World(services.Discard)
    assert talk(world, OURS, bytes(100_000)) == b""
    assert world.told(ClientClosed)[0].bytes_in == 100_000
    assert world.endings == ["FIN"]


def test_chargen_is_the_pattern_of_rfc_864_for_as_long_as_somebody_reads():
    pattern = services.repeated(services.chargen_block())
    world = World(lambda: services.Octets(pattern))
    stream = world.connect()
    got = b""
    for _ in range(20):
        world.run(0.05)
        got += stream.recv(100_000, world.now)
    lines = got.split(b"\r\n")
    assert lines[0] == b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg"
    assert lines[1][0] == lines[0][1]
    assert lines[95] == lines[0]
    assert all(len(line) == 72 for line in lines[:-1])
    stream.close(world.now)
    world.run(1)
    assert not world.server.clients


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 1_000_000])
def test_a_source_sends_exactly_its_octets_and_closes(size):
    world = World(lambda: services.Octets(services.repeated(bytes(range(256))), size))
    stream = world.connect()
    got = world.read(stream)
    assert got == (bytes(range(256)) * (size // 256 + 1))[:size]
    stream.close(world.now)
    world.run(1)
    assert world.endings == ["FIN"]


def test_a_file_arrives_whole():
    content = Random(1).randbytes(300_000)
    world = World(lambda: services.FileService(lambda offset, size: content[offset : offset + size]))
    assert world.read(world.connect()) == content


def test_http_answers_a_request_and_head_gets_no_body():
    def make():
        return services.Http(services.Octets(services.repeated(b"x"), 3), 3)

    assert talk(World(make), OURS, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").endswith(
        b"Content-Length: 3\r\nConnection: close\r\n\r\nxxx"
    )
    assert talk(World(make), OURS, b"HEAD / HTTP/1.1\r\n\r\n").endswith(b"close\r\n\r\n")
    assert talk(World(make), OURS, b"GET / HT") == b"", "half a request"
    assert talk(World(make), OURS, b"G" * 70_000).startswith(b"HTTP/1.1 431 ")


def test_a_banner_comes_first():
    world = World(lambda: services.Greeted(b"hi\r\n", services.Echo()))
    assert talk(world, OURS) == b"hi\r\nhello"


def test_a_reset_is_told_as_one():
    world = World()
    stream = world.connect()
    stream.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, (1, 0), world.now)
    stream.connection.linger_ns = 0
    stream.close(world.now)
    world.run(1)
    assert world.endings == ["RST"]
    assert not world.server.clients


def test_a_peer_that_vanishes_times_out():
    world = World(lambda: services.Octets(services.repeated(b"x"), 1_000_000))
    world.connect()
    world.cut = True
    world.run(1200)
    assert world.endings == ["timeout"]
    assert world.told(ClientClosed)[0].info.causes["rto"] > 5


def test_an_idle_client_is_reset_and_a_busy_one_is_not():
    world = World(idle_ns=5 * SECOND)
    idle, busy = world.connect(), world.connect()
    for _ in range(8):
        busy.send(b"x", world.now)
        world.run(1)
    assert world.endings == ["idle"]
    with pytest.raises(ConnectionResetError):
        idle.recv(1, world.now)
    assert busy.recv(8, world.now) == b"x" * 8


def test_after_so_many_connections_nobody_else_comes_and_it_is_done():
    world = World(count=2)
    first, second = world.connect(), world.connect()
    third = world.connect()
    assert third.take_error() == 111
    assert not world.server.done
    for stream in (first, second):
        stream.close(world.now)
    world.run(1)
    assert world.server.done


def test_more_clients_than_may_be_served_wait_their_turn():
    world = World(max_clients=1)
    first, second = world.connect(), world.connect()
    second.send(b"patient", world.now)
    world.run(1)
    assert len(world.server.clients) == 1
    first.close(world.now)
    assert world.read(second) == b"patient"


def test_what_is_over_the_limit_is_not_served():
    world = World(max_bytes=3)
    assert talk(world, OURS, b"hello") == b"hel"
    assert world.endings == ["limit"]


def test_a_slow_reader_takes_its_time_and_loses_nothing():
    world = World(services.Discard, read_rate=1000)
    stream = world.connect()
    stream.send(bytes(5000), world.now)
    stream.close(world.now)
    world.run(2)
    assert 1900 <= world.server.clients[0].bytes_in <= 2200
    world.run(4)
    assert world.told(ClientClosed)[0].bytes_in == 5000
    assert world.endings == ["FIN"]


def test_a_send_rate_is_kept():
    world = World(lambda: services.Octets(services.repeated(b"x"), 5000), send_rate=1000)
    stream = world.connect()
    world.run(2)
    assert 1900 <= len(stream.recv(10_000, world.now)) <= 2200


def test_a_server_that_never_reads_closes_its_window_and_the_peer_probes():
    world = World(no_read=True)
    stream = world.connect()
    for _ in range(60):
        try:
            stream.send(bytes(1 << 20), world.now)
        except BlockingIOError:
            world.run(0.1)
    world.run(5)
    assert world.server.clients[0].bytes_in == 0
    assert stream.info().snd_wnd == 0
    assert stream.info().causes["zwprobe"] > 0


def test_when_it_finishes_every_client_gets_its_end():
    world = World()
    streams = [world.connect() for _ in range(3)]
    world.server.finish(world.now)
    world.run(0.1)
    assert [stream.recv(1, world.now) for stream in streams] == [b""] * 3
    for stream in streams:
        stream.close(world.now)
    world.run(1)
    assert world.endings == ["shutdown"] * 3
    assert world.server.done


def test_a_client_that_never_closes_is_reset_after_a_minute():
    world = World(lambda: services.Octets(services.repeated(b"x"), 10))
    stream = world.connect()
    assert world.read(stream) == b"x" * 10
    world.run(61)
    assert world.endings == ["linger"]


def test_hundreds_of_clients_at_once_all_get_their_own():
    world = World()
    streams = [world.connect() for _ in range(200)]
    for number, stream in enumerate(streams):
        stream.send(b"%d" % number, world.now)
    world.run(1)
    assert [stream.recv(10, world.now) for stream in streams] == [b"%d" % number for number in range(200)]
    assert world.server.most_clients == 200


def test_a_port_that_is_taken_is_refused():
    world = World()
    with pytest.raises(OSError, match="EADDRINUSE"):
        world.server.listen([(OURS, 7)], world.now)


def test_only_the_address_that_is_named_is_served():
    world = World(places=((OURS, 7),))
    assert world.connect(OURS6).take_error() == 111
    assert talk(world, OURS) == b"hello"


def test_a_relay_holds_one_piece_and_passes_both_ends_on():
    changes = []
    relay = services.Relay(lambda: changes.append(1))
    world = World(lambda: relay)
    stream = world.connect()
    stream.send(b"first", world.now)
    world.run(0.1)
    stream.send(b"second", world.now)
    world.run(0.1)
    assert relay.pending == b"first"
    relay.take(5)
    relay.supply(b"answer")
    world.server.touch(1, world.now)
    assert relay.pending == b"second"
    assert world.read(stream) == b"answer"
    relay.finish()
    world.server.touch(1, world.now)
    relay.take(6)
    stream.close(world.now)
    world.run(1)
    assert relay.ended
    assert world.endings == ["FIN"]


def test_arrivals_of_the_other_family_find_nobody_where_only_one_is_served():
    world = World(places=((ANY6, 7),))
    assert world.connect(OURS).take_error() == 111
    assert talk(world, OURS6) == b"hello"


def test_a_relay_that_is_slow_gets_what_came_before_the_end():
    relay = services.Relay(lambda: None)
    world = World(lambda: relay)
    stream = world.connect()
    relay.finish()
    world.server.touch(1, world.now)
    stream.send(b"first", world.now)
    world.run(0.1)
    stream.send(b"last", world.now)
    stream.close(world.now)
    world.run(1)
    assert world.endings == [], "the connection is over, its last octets are not delivered"
    relay.take(5)
    world.server.touch(1, world.now)
    assert relay.pending == b"last"
    relay.take(4)
    world.server.touch(1, world.now)
    world.run(0)
    assert relay.ended
    assert world.endings == ["FIN"]


def test_a_stack_may_be_its_own_client():
    world = World()
    stream = StreamSocket(world.server._tcp, sockets.AF_INET)
    with pytest.raises(BlockingIOError):
        stream.connect((OURS, 7), world.now)
    world.run(0.01)
    stream.send(bytes(100_000), world.now)
    stream.shutdown(sockets.SHUT_WR, world.now)
    assert world.read(stream) == bytes(100_000)
