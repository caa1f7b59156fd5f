"""Our sockets beside the kernel's: each program gives the same results and the same errors on both."""

import io
import select
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.run.worlds import Kernel, Ours, World, connected, listening, said

Program = Callable[[World], Any]
PROGRAMS: list[Program] = []
FAMILIES = [socket.AF_INET, socket.AF_INET6]


def program(function: Program) -> Program:
    PROGRAMS.append(function)
    return function


@program
def fresh_sockets(world: World) -> Any:
    one = world.client()
    one.settimeout(2)
    return [
        said(one.recv, 10),
        said(one.send, b"x"),
        said(one.sendall, b"x"),
        said(one.getpeername),
        said(one.shutdown, socket.SHUT_WR),
        said(one.accept),
        one.getsockname(),
        one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
        one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
        one.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE),
        one.getsockopt(socket.SOL_SOCKET, socket.SO_DOMAIN),
        one.getsockopt(socket.SOL_SOCKET, socket.SO_PROTOCOL),
        (one.family, one.type, one.proto),
        said(one.recv, 0),
    ]


@program
def closed_sockets(world: World) -> Any:
    one = world.client()
    one.close()
    one.close()
    return [
        said(one.recv, 10),
        said(one.send, b"x"),
        said(one.connect, (world.there, 9)),
        said(one.bind, (world.here, 0)),
        said(one.listen),
        said(one.accept),
        said(one.getsockname),
        said(one.getpeername),
        said(one.shutdown, socket.SHUT_RDWR),
        said(one.getsockopt, socket.SOL_SOCKET, socket.SO_ERROR),
        said(one.setsockopt, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        one.fileno(),
    ]


@program
def refused(world: World) -> Any:
    listener, address = listening(world)
    listener.close()
    one, other, timed = world.client(), world.client(), world.client()
    timed.settimeout(3)
    return [
        said(one.connect, address),
        said(one.connect_ex, address) == 111,
        said(other.connect_ex, address) == 111,
        said(timed.connect, address),
        timed.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
        said(timed.recv, 1),
        said(one.getpeername),
    ]


@program
def a_refused_socket_can_try_again(world: World) -> Any:
    listener, address = listening(world)
    listener.close()
    one = world.client()
    first = said(one.connect, address)
    listener, address = listening(world)
    return [first, said(one.connect, address), said(one.connect, address)]


@program
def hello_and_goodbye(world: World) -> Any:
    client, server = connected(world)
    results: list[Any] = [client.send(b"hello"), server.recv(100), server.sendall(b"world!"), client.recv(3)]
    results += [client.recv(10, socket.MSG_PEEK), client.recv(10)]
    client.shutdown(socket.SHUT_WR)
    results += [server.recv(10), server.recv(10), server.send(b"still"), client.recv(10)]
    results += [said(client.send, b"no"), said(client.shutdown, socket.SHUT_WR)]
    server.close()
    results += [client.recv(10), client.recv(10)]
    return results


@program
def a_reset_is_told_once(world: World) -> Any:
    client, server = connected(world)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    return [
        said(client.recv, 10),
        said(client.recv, 10),
        said(client.send, b"x"),
        said(client.getpeername),
        client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR),
        said(client.shutdown, socket.SHUT_WR),
    ]


@program
def so_error_takes_a_reset(world: World) -> Any:
    client, server = connected(world)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    client.setblocking(False)
    return [said(client.send, b"x"), said(client.send, b"x"), client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]


@program
def unread_text_makes_a_reset(world: World) -> Any:
    client, server = connected(world)
    client.sendall(b"never read")
    server.recv(1)
    server.close()
    return [said(client.recv, 10), said(client.recv, 10)]


@program
def text_before_a_reset_is_still_read(world: World) -> Any:
    client, server = connected(world)
    server.sendall(b"first")
    client.recv(1, socket.MSG_PEEK)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    return [said(client.recv, 3), said(client.recv, 10), said(client.recv, 10), said(client.recv, 10)]


@program
def sending_to_a_closed_peer(world: World) -> Any:
    client, server = connected(world)
    server.close()
    results = [client.recv(1), said(client.send, b"gets a reset")]
    client.settimeout(5)
    results += [said(client.recv, 1), said(client.send, b"x"), said(client.recv, 1)]
    return results


@program
def reading_is_shut(world: World) -> Any:
    client, server = connected(world)
    server.sendall(b"abc")
    client.recv(1, socket.MSG_PEEK)
    client.shutdown(socket.SHUT_RD)
    return [client.recv(10), client.recv(10), client.send(b"out"), server.recv(10)]


@program
def addresses(world: World) -> Any:
    listener, address = listening(world)
    client = world.client()
    client.connect(address)
    accepted, peer = listener.accept()
    return [
        peer == client.getsockname(),
        accepted.getpeername() == client.getsockname(),
        client.getpeername() == accepted.getsockname() == listener.getsockname(),
        [type(part).__name__ for part in peer],
        len(peer),
        (accepted.family, accepted.type, accepted.gettimeout()),
    ]


@program
def bad_arguments(world: World) -> Any:
    one = world.client()
    return [
        said(one.connect, "localhost"),
        said(one.connect, (world.there, 70000)),
        said(one.connect, (world.there, -1)),
        said(one.connect, (world.there, "80")),
        said(one.connect_ex, (world.there, 1 << 20)),
        said(one.bind, (world.here, 1 << 20)),
        said(one.settimeout, -1),
        said(one.recv, -1),
        said(one.send, "text"),
        said(one.recv_into, bytearray(4), 5)[0],
        said(one.recv_into, bytearray(4), -1)[0],
        said(one.shutdown, 7),
        said(one.setsockopt, socket.SOL_SOCKET, 9999, 1),
        said(one.getsockopt, socket.SOL_SOCKET, 9999),
        said(one.getsockopt, socket.IPPROTO_TCP, 9999),
        said(one.getsockopt, socket.SOL_SOCKET, socket.SO_KEEPALIVE, 2000),
        said(one.setsockopt, socket.SOL_SOCKET, socket.SO_LINGER, 1),
        said(one.setsockopt, socket.SOL_SOCKET, socket.SO_KEEPALIVE, b"\1"),
        said(one.setsockopt, socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"nonesuch"),
        said(one.setsockopt, socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 0),
    ]


@program
def binding(world: World) -> Any:
    one, two, three, four = (world.server() for _ in range(4))
    one.bind((world.there, 0))
    taken = one.getsockname()
    results = [said(one.bind, (world.there, 0)), said(two.bind, taken), said(one.listen, 1), said(one.listen, 2)]
    three.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    results += [said(three.bind, taken), said(one.connect, taken)]
    results += [said(four.bind, ("203.0.113.9" if world.family == socket.AF_INET else "2001:db8::9", 0))]
    one.close()
    results += [said(two.bind, taken), said(two.listen)]
    return results


@program
def a_bound_client_keeps_its_port(world: World) -> Any:
    _listener, address = listening(world)
    client, again = world.client(), world.client()
    client.bind((world.here, 0))
    bound = client.getsockname()
    client.connect(address)
    results = [client.getsockname() == bound, said(again.bind, bound)]
    again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    results.append(said(again.bind, bound))
    return results


@program
def two_reusers_may_bind_but_not_listen(world: World) -> Any:
    one, two = world.server(), world.server()
    for each in (one, two):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((world.there, 0))
    return [said(two.bind, one.getsockname()), said(one.listen), said(two.listen)]


@program
def listeners_are_no_streams(world: World) -> Any:
    listener, _ = listening(world)
    results = [said(listener.recv, 1), said(listener.send, b"x"), said(listener.getpeername)]
    listener.settimeout(0.03)
    results.append(said(listener.accept))
    listener.setblocking(False)
    results += [said(listener.accept), listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)]
    listener.shutdown(socket.SHUT_RD)
    results += [said(listener.accept)]
    return results


@program
def listening_without_a_name(world: World) -> Any:
    listener, client = world.server(), world.client()
    listener.listen()
    port = listener.getsockname()[1]
    client.connect((world.there, port))
    return [port > 0, listener.getsockname()[0], said(listener.bind, (world.there, 0))]


@program
def a_connected_socket_cannot_listen(world: World) -> Any:
    client, _server = connected(world)
    return [said(client.listen), said(client.connect, client.getpeername()), said(client.bind, (world.here, 0))]


@program
def timeouts(world: World) -> Any:
    client, _server = connected(world)
    results: list[Any] = [client.gettimeout(), client.getblocking()]
    client.settimeout(0.03)
    results.append(said(client.recv, 1))
    client.settimeout(0)
    results += [said(client.recv, 1), client.getblocking(), client.gettimeout()]
    client.setblocking(True)
    results += [client.gettimeout(), said(client.recv, 1, socket.MSG_DONTWAIT)]
    client.settimeout(0.03)
    total = 0
    try:
        while True:
            total += client.send(bytes(1 << 20))
    except TimeoutError as error:
        results += [total > 0, str(error), error.errno]
    results.append(said(client.sendall, bytes(1 << 24)))
    return results


@program
def non_blocking_connect(world: World) -> Any:
    listener, address = listening(world)
    client = world.client()
    client.setblocking(False)
    first = said(client.connect, address)
    accepted, _ = listener.accept()
    accepted.sendall(b"ready")
    client.settimeout(5)
    results = [first, client.recv(10), client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]
    return [*results, said(client.connect, address)]


@program
def receiving_into_buffers(world: World) -> Any:
    client, server = connected(world)
    server.sendall(b"0123456789")
    buffer = bytearray(8)
    results: list[Any] = [client.recv_into(buffer, 4), bytes(buffer), client.recv_into(memoryview(buffer)[6:])]
    results += [bytes(buffer), client.recvfrom(2), client.recvmsg(2)]
    server.sendmsg([b"ab", bytearray(b"cd")])
    results += [client.recv(4, socket.MSG_WAITALL), server.sendto(b"to", (world.there, 9)), client.recv(9)]
    server.shutdown(socket.SHUT_WR)
    return [*results, client.recv_into(buffer)]


@program
def files(world: World) -> Any:
    client, server = connected(world)
    reader, writer = client.makefile("rb"), server.makefile("w", encoding="utf-8", newline="\n")
    server.close()
    writer.write("first line\nsecond lïne\n")
    writer.flush()
    results: list[Any] = [reader.readline(), reader.read(6), reader.peek()[:2]]
    writer.close()
    results += [reader.read(), reader.read(), type(reader).__name__, type(writer).__name__]
    client.close()
    unbuffered = said(client.makefile, "rb", 0)
    reader.close()
    return [*results, said(client.recv, 1), type(unbuffered).__name__]


@program
def files_from_a_file(world: World) -> Any:
    client, server = connected(world)
    content = bytes(range(256)) * 40
    source = io.BytesIO(content)
    results: list[Any] = [client.sendfile(source, 10, 5000), source.tell()]
    received = b""
    while len(received) < 5000:
        received += server.recv(65536)
    results += [received == content[10:5010], said(client.sendfile, source, 0, 0)]
    client.setblocking(False)
    return [*results, said(client.sendfile, source)]


@program
def a_file_with_a_timeout(world: World) -> Any:
    client, _server = connected(world)
    client.settimeout(0.03)
    reader = client.makefile("rb")
    return [said(reader.read, 1), said(reader.read, 1), client.fileno() >= 0 if isinstance(world, Kernel) else True]


@program
def options(world: World) -> Any:
    one = world.client()
    tcp, sol = socket.IPPROTO_TCP, socket.SOL_SOCKET
    results: list[Any] = []
    for level, name, value in (
        (tcp, socket.TCP_NODELAY, 1),
        (tcp, socket.TCP_CORK, 1),
        (tcp, socket.TCP_KEEPIDLE, 10),
        (tcp, socket.TCP_KEEPINTVL, 5),
        (tcp, socket.TCP_KEEPCNT, 3),
        (tcp, socket.TCP_SYNCNT, 4),
        (tcp, socket.TCP_USER_TIMEOUT, 30_000),
        (sol, socket.SO_KEEPALIVE, 1),
        (sol, socket.SO_REUSEADDR, 1),
        (sol, socket.SO_REUSEPORT, 1),
        (sol, socket.SO_OOBINLINE, 1),
        (sol, socket.SO_RCVBUF, 10_000),
        (sol, socket.SO_SNDBUF, 20_000),
        (sol, socket.SO_LINGER, struct.pack("ii", 5, 7)),
    ):
        before = None if name in (socket.SO_RCVBUF, socket.SO_SNDBUF) else said(one.getsockopt, level, name)
        results.append((level, name, before, said(one.setsockopt, level, name, value)))
        results.append((said(one.getsockopt, level, name), said(one.getsockopt, level, name, 8)))
        results.append(said(one.getsockopt, level, name, 2))
    if world.family == socket.AF_INET:
        one.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x10)
        one.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 9)
        results += [one.getsockopt(socket.IPPROTO_IP, name) for name in (socket.IP_TOS, socket.IP_TTL)]
        results += [said(one.setsockopt, socket.IPPROTO_IP, socket.IP_TTL, value) for value in (0, 256, 64)]
    one.setsockopt(tcp, socket.TCP_CONGESTION, b"reno")
    return [*results, one.getsockopt(tcp, socket.TCP_CONGESTION, 16), one.getsockopt(tcp, socket.TCP_CONGESTION, 3)]


@program
def tcp_info(world: World) -> Any:
    listener, address = listening(world)
    client = world.client()
    states = [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) for one in (client, listener)]
    client.connect(address)
    accepted, _ = listener.accept()
    client.sendall(b"x" * 1000)
    accepted.recv(1000, socket.MSG_WAITALL)
    accepted.sendall(b"y")
    client.recv(1)
    octets = client.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 232)
    state, _, _, _, _, flags = octets[:6]
    bytes_acked, bytes_received = struct.unpack_from("=QQ", octets, 120)
    (bytes_sent,) = struct.unpack_from("=Q", octets, 200)
    (total_retrans,) = struct.unpack_from("=I", octets, 100)
    client.shutdown(socket.SHUT_WR)
    accepted.recv(1)
    after = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)
    # The kernel's client counts its SYN as an acknowledged octet.
    return [
        states,
        len(octets),
        state,
        flags & 7,
        bytes_acked in (1000, 1001),
        bytes_received,
        bytes_sent,
        total_retrans,
        after,
    ]


@program
def polling(world: World) -> Any:
    """poll(2) beside `Socket.poll` in each state."""
    mask = select.POLLIN | select.POLLOUT | select.POLLERR | select.POLLHUP | select.POLLRDHUP

    def bits(one: Any) -> int:
        if not isinstance(one, socket.socket):
            one.setblocking(False)
            said(one.recv, 1, socket.MSG_PEEK)  # look at what has arrived
            one.settimeout(5)
            return int(one.poll())
        poll = select.poll()
        poll.register(one, mask)
        found = poll.poll(0)
        return found[0][1] if found else 0

    fresh = world.client()
    listener, address = listening(world)
    client = world.client()
    results = [bits(fresh), bits(listener)]
    client.connect(address)
    results.append(bits(client))
    accepted, _ = listener.accept()
    accepted.sendall(b"x")
    client.recv(1, socket.MSG_PEEK)
    results += [bits(client), bits(listener)]
    client.recv(1)
    accepted.shutdown(socket.SHUT_WR)
    client.recv(1)
    results += [bits(client), bits(accepted)]
    client.shutdown(socket.SHUT_WR)
    accepted.recv(1)
    results += [bits(client), bits(accepted)]
    return results


@program
def polling_after_a_reset(world: World) -> Any:
    client, server = connected(world)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    server.close()
    if isinstance(client, socket.socket):
        poll = select.poll()
        poll.register(client, select.POLLIN | select.POLLOUT | select.POLLRDHUP)
        before = poll.poll(5000)[0][1]
        said(client.recv, 1)
        return [before, poll.poll(0)[0][1]]
    world.hosts[0].select([client], [], [], 5)  # type: ignore[union-attr]
    before = client.poll()
    said(client.recv, 1)
    return [before, client.poll()]


@pytest.fixture(params=FAMILIES, ids=["ipv4", "ipv6"])
def worlds(request: pytest.FixtureRequest) -> Iterator[tuple[Kernel, Ours]]:
    both = Kernel(request.param), Ours(request.param)
    yield both
    for world in both:
        world.close()


@pytest.mark.parametrize("run", PROGRAMS, ids=lambda one: one.__name__.replace("_", " "))
def test_the_kernel_and_our_stack_say_the_same(run: Program, worlds: tuple[Kernel, Ours]) -> None:
    kernel, ours = worlds
    assert run(ours) == run(kernel)
