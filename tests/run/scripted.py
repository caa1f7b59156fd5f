"""An engine that does what a test tells it, and links that refuse on demand. Time is the simulated network's."""

from collections import deque
from collections.abc import Callable, Sequence

from pytools.engine import EngineEvent, Port, RxMeta, Transmit
from pytools.sim.network import Network
from pytools.units import NEVER, Ns

MAC_A, MAC_B = b"\x02\0\0\0\0\x0a", b"\x02\0\0\0\0\x0b"


class Said(EngineEvent):
    """An event with a text."""

    __slots__ = ("text",)

    def __init__(self, now: Ns, text: str) -> None:
        super().__init__(now)
        self.text = text


class ScriptedEngine:
    """Sends what is in `outbox`, says what is in `events`, and keeps a log of every call in `log`."""

    def __init__(self) -> None:
        self.outbox: deque[Transmit] = deque()
        self.events: deque[EngineEvent] = deque()
        self.log: list[tuple[object, ...]] = []
        self.deadline: Ns = NEVER
        self.at_deadline: Callable[[Ns], None] = self._forget_deadline
        self.at_frame: Callable[[bytes, Ns], None] = lambda frame, now: None
        self.deadline_calls = 0

    def _forget_deadline(self, now: Ns) -> None:
        self.deadline = NEVER

    def queue(self, text: str, port: int = 0, token: object = None) -> None:
        header = MAC_B + MAC_A + b"\x88\xb5"
        self.outbox.append(Transmit(port, (header, text.encode()), token=token))

    def on_frame(self, frame: memoryview, now: Ns, meta: RxMeta) -> None:
        text = bytes(frame[14:])
        self.log.append(("frame", text.decode(), now, meta.at))
        self.at_frame(text, now)

    def on_deadline(self, now: Ns) -> None:
        self.deadline_calls += 1
        if self.deadline <= now:
            self.log.append(("deadline", now))
            self.at_deadline(now)

    def poll_transmit(self, now: Ns) -> Transmit | None:
        return self.outbox.popleft() if self.outbox else None

    def on_transmitted(self, token: object, now: Ns, at: Ns | None, error: OSError | None) -> None:
        self.log.append(("transmitted", token, now, at, None if error is None else error.errno))

    def poll_event(self) -> EngineEvent | None:
        return self.events.popleft() if self.events else None

    def next_deadline(self) -> Ns:
        return self.deadline


class TestLink:
    """A link in virtual time: `arrive` puts a frame in, `sent` keeps what went out, `refuse(now)` decides on each send.

    `refuse` returns None to take the frame, False for a full link, or an error to raise.
    """

    __test__ = False

    def __init__(self, network: Network, port: int = 0, filenos: Sequence[int] = ()) -> None:
        self.ports = (Port(port, f"t{port}", mac=MAC_A),)
        self.sent: list[tuple[Ns, str]] = []
        self.offers = 0
        self.refuse: Callable[[Ns], OSError | bool | None] = lambda now: None
        self._network = network
        self._inbox: deque[tuple[Ns, bytes]] = deque()
        self._filenos = filenos
        self._meta = RxMeta(port)

    def arrive(self, text: str) -> None:
        self._inbox.append((self._network.now(), bytes(14) + text.encode()))
        self._network.arrived += 1

    def arrive_at(self, at: Ns, text: str) -> None:
        self._network.push(at, self.arrive, text)

    def filenos(self) -> Sequence[int]:
        return self._filenos

    def writable_filenos(self) -> Sequence[int]:
        return ()

    def recv_batch(self, sink: Callable[[memoryview, Ns, RxMeta], None], now: Callable[[], Ns], limit: int) -> int:
        count = min(limit, len(self._inbox))
        for _ in range(count):
            self._meta.at, frame = self._inbox.popleft()
            self._network.arrived -= 1
            sink(memoryview(frame), now(), self._meta)
        return count

    def send(self, transmit: Transmit) -> bool:
        self.offers += 1
        answer = self.refuse(self._network.now())
        if isinstance(answer, OSError):
            raise answer
        if answer is not None:
            return answer
        self.sent.append((self._network.now(), b"".join(transmit.parts)[14:].decode()))
        return True

    def poll_stamps(self, on_transmitted: object) -> None:
        pass

    def close(self) -> None:
        self._inbox.clear()
