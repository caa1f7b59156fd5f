"""Seeded transfers over bad wires: every byte arrives exactly once and in order, or the application gets an error.

Two stacks with raw IP ports and a `sim.wire.Wire` each way; half of the runs use sequence numbers near 2**32. A run
draws its wire, its sizes, its settings and how the applications behave from its seed alone.
"""

import errno
import heapq
from random import Random

import pytest

from pytools.engine import OFFLOAD_CHECKSUM, OFFLOAD_TSO4, OFFLOAD_TSO6, RAW_IP, Port, RxMeta
from pytools.sim.impairment import Impairment
from pytools.sim.wire import Wire
from pytools.stack import sockets as so
from pytools.stack.sockets import StreamSocket
from pytools.stack.stack import Stack
from pytools.stack.tcp.isn import Secrets
from pytools.stack.tcp.tcp import Tcp
from pytools.units import MS, NEVER, SECOND, Ns
from pytools.wire.addr import parse_ip
from pytools.wire.gso import segments

ADDRESSES = {4: (parse_ip("10.0.0.1"), parse_ip("10.0.0.2")), 6: (parse_ip("fd00::1"), parse_ip("fd00::2"))}
PORT = 9
PATIENCE: Ns = 4000 * SECOND
LARGEST = 400_000


class NearTheWrap(Secrets):
    """ISNs a few kilobytes before 2**32."""

    def isn(self, local: tuple[bytes, int], remote: tuple[bytes, int], now: Ns) -> int:
        return 2**32 - 1 - super().isn(local, remote, now) % 200_000


class End:
    """One side's application: writes `outgoing`, half-closes, reads up to the end of the peer's data."""

    def __init__(self, rng: Random, socket: StreamSocket | None, outgoing: bytes) -> None:
        self.rng = rng
        self.socket = socket
        self.outgoing = outgoing
        self.written = 0
        self.incoming = bytearray()
        self.finished_writing = self.finished_reading = False
        self.error = 0
        self.write_size = rng.choice((1, 100, 1460, 20_000, 400_000)) if len(outgoing) < 3000 else 20_000
        self.read_size = rng.choice((500, 5000, 1 << 20))

    @property
    def done(self) -> bool:
        return bool(self.error) or (self.finished_reading and self.finished_writing)

    def turn(self, now: Ns) -> None:
        """Write and read as much as goes without waiting."""
        if self.socket is None or self.done or self.socket.connecting:
            return
        try:
            self._write(now)
            self._read(now)
        except OSError as problem:
            if problem.errno != errno.EAGAIN:
                self.error = problem.errno or -1
        if self.done:
            self.socket.close(now)

    def _write(self, now: Ns) -> None:
        assert self.socket is not None
        try:
            while self.written < len(self.outgoing):
                self.written += self.socket.send(self.outgoing[self.written :][: self.write_size], now)
        except OSError as problem:
            if problem.errno != errno.EAGAIN:
                raise
        if self.written == len(self.outgoing) and not self.finished_writing:
            self.finished_writing = True
            self.socket.shutdown(so.SHUT_WR, now)

    def _read(self, now: Ns) -> None:
        assert self.socket is not None
        while not self.finished_reading:
            data = self.socket.recv(self.read_size, now)
            self.incoming += data
            self.finished_reading = not data


def make_stack(rng: Random, address: bytes, wrap: bool) -> tuple[Stack, Tcp]:
    stack = Stack(Random(rng.getrandbits(64)))
    offloads = OFFLOAD_CHECKSUM | OFFLOAD_TSO4 | OFFLOAD_TSO6 if rng.random() < 0.5 else 0
    stack.add_port(Port(0, "sim0", RAW_IP, rng.choice((1500, 1500, 1280)), offloads=offloads))
    stack.add_address(0, address, 24 if len(address) == 4 else 64)
    tcp = stack.install(6, Tcp)
    if wrap:
        tcp._secrets = NearTheWrap(rng)
    config = tcp.config
    config.sack = rng.random() < 0.7
    config.timestamps = rng.random() < 0.6
    config.window_scaling = rng.random() < 0.8
    config.nagle = rng.random() < 0.7
    if rng.random() < 0.3:
        config.receive_buffer = config.receive_buffer_max = rng.choice((1000, 3000, 20_000))
    return stack, tcp


def impairment(rng: Random) -> Impairment:
    return Impairment(
        delay_ns=rng.choice((0, 1, 20, 100)) * MS + 1000,
        jitter_ns=rng.choice((0, 3)) * MS,
        rate_bps=rng.choice((0, 10_000_000)),
        loss=rng.choice((0.0, 0.01, 0.05)),
        duplicate=rng.choice((0.0, 0.02)),
        reorder=rng.choice((0.0, 0.05)),
        reorder_ns=rng.choice((1, 30)) * MS,
        corrupt=rng.choice((0.0, 0.01)),
    )


class Transfer:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = Random(seed)
        ours, theirs = ADDRESSES[rng.choice((4, 6))]
        wrap = seed % 2 == 1
        made = [make_stack(rng, address, wrap) for address in (ours, theirs)]
        self.stacks = [stack for stack, _ in made]
        self.wires = [Wire(impairment(rng), Random(rng.getrandbits(64))) for _ in made]
        self.now: Ns = 0
        self.flying: list[tuple[Ns, int, int, bytes]] = []
        self.count = 0
        family = so.AF_INET if len(ours) == 4 else so.AF_INET6
        self.listener = StreamSocket(made[1][1], family)
        self.listener.bind(theirs, PORT)
        self.listener.listen(5)
        client = StreamSocket(made[0][1], family)
        self.ends = [End(rng, client, self.data()), End(rng, None, self.data())]
        with pytest.raises(OSError, match="EINPROGRESS"):
            client.connect((theirs, PORT), self.now)

    def data(self) -> bytes:
        size = int(LARGEST ** self.rng.random()) - 1
        return self.rng.randbytes(size)

    def run(self) -> None:
        """To the end of both applications, with pauses of a slow one."""
        while not all(end.done for end in self.ends) and self.now < PATIENCE:
            self._applications()
            self._transmit()
            at = min(self.flying[0][0] if self.flying else NEVER, *(stack.next_deadline() for stack in self.stacks))
            if at == NEVER:
                break
            self.now = max(self.now, at)
            while self.flying and self.flying[0][0] <= self.now:
                _, _, side, frame = heapq.heappop(self.flying)
                self.stacks[side].on_frame(memoryview(frame), self.now, RxMeta())
            for stack in self.stacks:
                stack.on_deadline(self.now)

    def _applications(self) -> None:
        if self.ends[1].socket is None and self.listener.poll():
            self.ends[1].socket = self.listener.accept(self.now)
        for end in self.ends:
            end.turn(self.now)

    def _transmit(self) -> None:
        for side, stack in enumerate(self.stacks):
            while (out := stack.poll_transmit(self.now)) is not None:
                for frame in segments(out, RAW_IP):
                    for at, octets in self.wires[side].transit(frame, self.now):
                        self.count += 1
                        heapq.heappush(self.flying, (at, self.count, 1 - side, octets))
            while stack.poll_event() is not None:
                pass

    def verdict(self) -> bool:
        """True for a perfect transfer, False for an error that an application learned of; AssertionError otherwise."""
        client, server = self.ends
        for end, peer in ((client, server), (server, client)):
            assert peer.outgoing.startswith(bytes(end.incoming)), "a byte that was never sent, or not in order"
            if end.finished_reading and not end.error:
                assert bytes(end.incoming) == peer.outgoing, "the end of the data came too early"
        if client.error or server.error:
            return False
        assert client.done, f"the client hangs at {self.now / SECOND:.1f} s"
        assert server.done, f"the server hangs at {self.now / SECOND:.1f} s"
        return True


def transfer(seed: int) -> bool:
    run = Transfer(seed)
    run.run()
    return run.verdict()


@pytest.mark.parametrize("seed", range(30))
def test_every_byte_arrives_once_and_in_order_or_there_is_an_error(seed: int) -> None:
    assert transfer(seed), "an error where the wire was passable"


@pytest.mark.soak
def test_errors_are_rare_in_2000_transfers() -> None:
    failures = [seed for seed in range(2000) if not transfer(1_000_000 + seed)]
    assert len(failures) <= 2, failures
