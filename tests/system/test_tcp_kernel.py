"""Our TCP and the kernel's, over a veth pair and a TAP: nothing is lost, whoever connects, sends, closes or resets."""

import errno
import hashlib
import os
import socket
import struct
import threading
import time

import pytest

from pytools.link import host
from pytools.link.bpf import ARP_ALL, Interest
from pytools.link.muzzle import MuzzledListener
from pytools.link.packet_socket import PacketLink
from pytools.link.raw_ip import RawIpLink
from pytools.link.tap import TapLink
from pytools.stack import sockets as so
from pytools.stack.routes import Route
from pytools.stack.tcp import state as st
from pytools.wire.addr import Network, parse_ip
from tests.system.tcp_host import Host, Kernel, exchange

pytestmark = pytest.mark.root

SIZE = 20_000_000
LARGE = 200_000_000
LINGER_RESET = struct.pack("ii", 1, 0)


class Setting:
    """A host of ours, the namespace of the kernel it talks to, and both sides' addresses by family."""

    def __init__(self, ours, namespace, addresses, name):
        self.host = ours
        self.namespace = namespace
        self.addresses = addresses
        self.name = name

    def kernel(self, work):
        return Kernel(self.namespace, work)

    def to_kernel(self, work, family=4, port=7000, outgoing=b"", **options):
        """The kernel serves `work(socket)`, we connect: (App, Kernel)."""
        _, theirs = self.addresses[family]

        def serve(thread):
            with thread.server(theirs, port) as listener:
                listener.settimeout(60)
                return work(listener.accept()[0])

        thread = self.kernel(serve)
        thread.ready.wait(10)
        return self.host.connect((parse_ip(theirs), port), outgoing, **options), thread

    def from_kernel(self, work, family=4, port=7001, outgoing=b"", **options):
        """We serve, the kernel connects and does `work(socket)`: (App, Kernel)."""
        ours, _ = self.addresses[family]
        listener = self.host.listen(parse_ip(ours), port)

        def client(thread):
            sock = thread.socket(socket.AF_INET6 if family == 6 else socket.AF_INET)
            sock.connect((ours, port))
            return work(sock)

        thread = self.kernel(client)
        app = self.host.accept(listener, outgoing, **options)
        listener.close(self.host.now())
        return app, thread


@pytest.fixture
def veth(wire):
    with wire.ours.entered():
        link = PacketLink(host.interface("v0"), Interest(arp=ARP_ALL, everything=True))
    ours = Host(link)
    ours.stack.add_address(0, parse_ip("10.9.0.10"), 24)
    ours.stack.add_address(0, parse_ip("fd09::10"), 64)
    yield Setting(ours, wire.peer, {4: ("10.9.0.10", "10.9.0.2"), 6: ("fd09::10", "fd09::2")}, "v0")
    link.close()


@pytest.fixture
def tap(namespace):
    home = namespace("tap")
    with home.entered():
        link = TapLink(mac=bytes.fromhex("020000000010"))
    ours = Host(link)
    ours.stack.add_address(0, parse_ip("198.18.0.10"), 24)
    ours.stack.add_address(0, parse_ip("2001:2::10"), 64)
    yield Setting(ours, home, {4: ("198.18.0.10", "198.18.0.1"), 6: ("2001:2::10", "2001:2::1")}, link.ports[0].name)
    link.close()


@pytest.fixture(params=["veth", "tap"])
def setting(request):
    return request.getfixturevalue(request.param)


def both_ways(setting, family, serves, size):
    ours, theirs = os.urandom(1 << 16) * (size >> 16), os.urandom(1 << 16) * (size >> 16)
    start = setting.from_kernel if serves else setting.to_kernel
    app, kernel = start(lambda sock: exchange(sock, theirs), family, outgoing=ours)
    setting.host.run(lambda: app.done and kernel.over)
    assert app.error == 0
    assert kernel.outcome() == (len(ours), hashlib.sha256(ours).hexdigest())
    assert (app.received, app.digest.hexdigest()) == (len(theirs), hashlib.sha256(theirs).hexdigest())


@pytest.mark.parametrize("serves", [False, True], ids=["client", "server"])
@pytest.mark.parametrize("family", [4, 6])
def test_twenty_megabytes_both_ways_arrive_whole(setting, family, serves):
    both_ways(setting, family, serves, SIZE)


@pytest.mark.soak
@pytest.mark.parametrize("serves", [False, True], ids=["client", "server"])
@pytest.mark.parametrize("family", [4, 6])
def test_two_hundred_megabytes_both_ways_arrive_whole(setting, family, serves):
    both_ways(setting, family, serves, LARGE)


@pytest.mark.parametrize("loss", [1, 5])
@pytest.mark.parametrize("serves", [False, True], ids=["client", "server"])
def test_random_loss_is_repaired(veth, serves, loss):
    namespace = veth.namespace
    namespace.run("ethtool", "-K", "v0", "tso", "off", "gso", "off", "gro", "off", "tx", "off")
    veth.host.driver._all_links[0].ports[0].offloads = 0
    rule = f"meta l4proto tcp numgen random mod 100 < {loss} drop"
    chains = "\n".join(
        f"chain {hook} {{ type filter hook {hook} priority 0; {rule}; }}" for hook in ("input", "output")
    )
    done = namespace.run("nft", "-f", "-", input=f"table inet t {{\n{chains}\n}}\n")
    assert done.returncode == 0, done.stderr
    both_ways(veth, 4, serves, 1_000_000 // loss)


def test_a_thousand_short_connections_in_a_row_as_server(veth):
    """The kernel connects, asks, and reads to the end, a thousand times."""
    listener = veth.host.listen(parse_ip("10.9.0.10"), 7002)
    count = 1000

    def client(thread):
        for number in range(count):
            with thread.socket() as sock:
                sock.connect(("10.9.0.10", 7002))
                sock.sendall(b"%d" % number)
                sock.shutdown(socket.SHUT_WR)
                assert sock.makefile("rb").read() == b"you are %d" % number

    kernel = veth.kernel(client)
    open_ones = []

    def serve():
        now = veth.host.now()
        while listener.poll():
            open_ones.append(listener.accept(now))
        for stream in list(open_ones):
            if stream.poll() & so.POLLIN:
                if data := stream.recv(100, now):
                    stream.send(b"you are " + data, now)
                else:
                    stream.close(now)
                    open_ones.remove(stream)
        return kernel.over

    veth.host.run(serve)
    kernel.outcome()
    assert not open_ones


def test_a_thousand_short_connections_in_a_row_as_client(veth):
    def serve(thread):
        with thread.server("10.9.0.2", 7003) as listener:
            for _ in range(1000):
                sock = listener.accept()[0]
                with sock:
                    sock.sendall(b"you are " + sock.recv(100))

    kernel = veth.kernel(serve)
    kernel.ready.wait(10)
    for number in range(1000):
        app = veth.host.connect((parse_ip("10.9.0.2"), 7003), b"%d" % number)
        veth.host.run(lambda app=app: app.done)
        assert app.error == 0
        assert app.digest.digest() == hashlib.sha256(b"you are %d" % number).digest()
        app.stream.close(veth.host.now())
        veth.host.apps.clear()
    kernel.outcome()


def test_after_our_half_close_the_peer_still_sends(setting):
    def work(sock):
        asked = sock.makefile("rb").read()
        sock.sendall(b"late " + asked)
        sock.close()
        return asked

    app, kernel = setting.to_kernel(work, outgoing=b"question")
    setting.host.run(lambda: app.done)
    assert kernel.outcome() == b"question"
    assert app.digest.digest() == hashlib.sha256(b"late question").digest()


def test_after_the_peers_half_close_we_still_send(setting):
    def work(sock):
        sock.sendall(b"question")
        sock.shutdown(socket.SHUT_WR)
        return sock.makefile("rb").read()

    app, kernel = setting.to_kernel(work, outgoing=b"", reads=True)
    app.shut = True  # not yet
    setting.host.run(lambda: app.ended)
    assert app.stream.connection.state == st.CLOSE_WAIT
    app.stream.send(b"late answer", setting.host.now())
    app.stream.close(setting.host.now())
    setting.host.run(lambda: kernel.over)
    assert kernel.outcome() == b"late answer"


def test_the_kernels_reset_is_an_error_here(setting):
    def work(sock):
        sock.recv(1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        sock.close()

    app, kernel = setting.to_kernel(work, outgoing=bytes(100_000))
    app.shut = True
    setting.host.run(lambda: bool(app.error))
    assert app.error in (errno.ECONNRESET, errno.EPIPE)
    kernel.outcome()


def test_our_reset_is_an_error_there(setting):
    def work(sock):
        with pytest.raises(ConnectionResetError):
            sock.makefile("rb").read()

    app, kernel = setting.to_kernel(work)
    app.shut = True
    setting.host.run(lambda: app.stream.connection.state == st.ESTABLISHED)
    app.stream.setsockopt(so.SOL_SOCKET, so.SO_LINGER, (1, 0), setting.host.now())
    app.stream.close(setting.host.now())
    setting.host.run(lambda: kernel.over)
    kernel.outcome()


def test_a_connection_nobody_listens_for_is_refused_both_ways(veth):
    app = veth.host.connect((parse_ip("10.9.0.2"), 1))
    veth.host.run(lambda: app.stream.take_error() == errno.ECONNREFUSED)

    def client(thread):
        with pytest.raises(ConnectionRefusedError):
            thread.socket().connect(("10.9.0.10", 1))

    kernel = veth.kernel(client)
    veth.host.run(lambda: kernel.over)
    kernel.outcome()


def test_a_peer_that_stops_reading_gets_everything_in_the_end(setting):
    outgoing = os.urandom(1 << 16) * 160
    pause = threading.Event()

    def work(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 100_000)
        pause.wait(20)
        return exchange(sock, b"")

    app, kernel = setting.to_kernel(work, outgoing=outgoing)
    setting.host.run(lambda: app.stream.info().probes > 0 or app.stream.info().snd_wnd == 0)
    start = time.monotonic()
    setting.host.run(lambda: time.monotonic() > start + 1.2)
    assert app.stream.connection.tx.sender.window_blocks()
    pause.set()
    setting.host.run(lambda: app.done and kernel.over)
    assert kernel.outcome() == (len(outgoing), hashlib.sha256(outgoing).hexdigest())


def test_when_we_stop_reading_the_kernel_waits_and_nothing_is_lost(setting):
    outgoing = os.urandom(1 << 16) * 160
    app, kernel = setting.to_kernel(lambda sock: exchange(sock, outgoing), reads=False)
    setting.host.run(lambda: app.stream.connection.receiver.free() < 5000)
    start = time.monotonic()
    setting.host.run(lambda: time.monotonic() > start + 0.7)
    app.reads = True
    setting.host.run(lambda: app.done and kernel.over)
    assert (app.received, app.digest.hexdigest()) == (len(outgoing), hashlib.sha256(outgoing).hexdigest())


def test_one_byte_writes_arrive(setting):
    outgoing = os.urandom(5000)
    app, kernel = setting.to_kernel(lambda sock: exchange(sock, b""), outgoing=outgoing, write_size=1)
    setting.host.run(lambda: app.done and kernel.over)
    assert kernel.outcome() == (5000, hashlib.sha256(outgoing).hexdigest())


def test_simultaneous_close_ends_in_time_wait(setting):
    gate = threading.Barrier(2)

    def work(sock):
        gate.wait(10)
        sock.shutdown(socket.SHUT_WR)
        return sock.makefile("rb").read()

    app, kernel = setting.to_kernel(work)
    app.shut = True
    setting.host.run(lambda: app.stream.connection.state == st.ESTABLISHED)
    gate.wait(10)
    app.stream.close(setting.host.now())
    setting.host.run(lambda: kernel.over and app.stream.connection.state in (st.TIME_WAIT, st.CLOSED))
    assert kernel.outcome() == b""


@pytest.mark.parametrize("size", [1, 1460, 70_000, 3_000_000])
def test_nothing_is_lost_when_we_close_at_once(setting, size):
    """Write, close, forget: the tail still arrives."""
    outgoing = os.urandom(size)
    app, kernel = setting.to_kernel(lambda sock: exchange(sock, b""))
    app.shut = True
    setting.host.run(lambda: app.stream.connection.state == st.ESTABLISHED)
    assert app.stream.send(outgoing, setting.host.now()) == size
    app.stream.close(setting.host.now())
    setting.host.apps.clear()
    setting.host.run(lambda: kernel.over)
    assert kernel.outcome() == (size, hashlib.sha256(outgoing).hexdigest())


def test_the_kernel_shows_the_options_that_were_agreed(setting):
    held = threading.Event()

    def work(sock):
        held.wait(20)
        sock.close()

    app, kernel = setting.to_kernel(work, outgoing=bytes(10_000))
    setting.host.run(lambda: app.stream.info().bytes_acked == 10_000)
    shown = setting.namespace.run("ss", "-tino", "dst", setting.addresses[4][0]).stdout
    for word in ("ts sack", "wscale:7,", "mss:1448", "rcvmss:1448", "advmss:1448"):
        assert word in shown, shown
    held.set()
    setting.host.run(lambda: kernel.over)
    kernel.outcome()


@pytest.mark.parametrize("serves", [False, True], ids=["client", "server"])
@pytest.mark.parametrize(("family", "address"), [(4, "127.0.0.1"), (6, "::1")])
def test_on_lo_beside_the_kernel_on_its_own_address(wire, family, address, serves):
    """From the host's own address, with the muzzled listener: the kernel resets nothing."""
    local = parse_ip(address)
    with wire.ours.entered():
        muzzle = MuzzledListener(local)
        link = RawIpLink(host.interface("lo"), Interest(addresses=(local,), ports=((6, muzzle.port),)))
    try:
        ours = Host(link)
        ours.stack.add_address(0, local, 8 if family == 4 else 128, shared=True)
        ours.stack.add_route(Route(Network(local, 8 * len(local)), 0))
        setting = Setting(ours, wire.ours, {family: (address, address)}, "lo")
        if serves:
            outgoing, theirs = os.urandom(1 << 20), os.urandom(1 << 20)
            app, kernel = setting.from_kernel(
                lambda sock: exchange(sock, theirs), family, port=muzzle.port, outgoing=outgoing
            )
        else:
            outgoing, theirs = os.urandom(1 << 20), os.urandom(1 << 20)
            app, kernel = setting.to_kernel(
                lambda sock: exchange(sock, theirs), family, outgoing=outgoing, local=(local, muzzle.port)
            )
        ours.run(lambda: app.done and kernel.over)
        assert app.error == 0
        assert kernel.outcome() == (len(outgoing), hashlib.sha256(outgoing).hexdigest())
        assert (app.received, app.digest.hexdigest()) == (len(theirs), hashlib.sha256(theirs).hexdigest())
    finally:
        link.close()
        muzzle.close()
