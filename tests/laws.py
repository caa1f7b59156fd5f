"""The laws that every engine keeps (see pytools.engine), each a function that takes a `Subject`.

A subject is an engine with a play: how to make it, and what happens to it. To put an engine under the laws, add one to
the list in test_engine_laws.py:

    Subject("ping", lambda rng, trace: Ping(stack(rng, trace)), lambda play: play.advance(5), against=answering_host)

`against` is another engine at the far end of the wire. The play is in virtual time; what the engine sends and tells is
the transcript, by which two runs are compared.
"""

import heapq
from collections.abc import Callable
from random import Random
from typing import Any

from pytools.engine import Engine, RxMeta, Transmit
from pytools.stack.tcp.connection import Connection
from pytools.trace.hub import Trace
from pytools.units import MS, NEVER, SECOND, Ns
from pytools.wire.gso import segments

Make = Callable[[Random, Trace], Engine]
Script = Callable[["Play"], object]


class Subject:
    """An engine under the laws: its name, how to make it, what to do with it, who is at the other end."""

    def __init__(self, name: str, make: Make, script: Script, against: Make | None = None) -> None:
        self.name = name
        self.make = make
        self.script = script
        self.against = against

    def play(self, seed: int = 1, **how: Any) -> "Play":
        """Run the script once."""
        play = Play(self, seed, **how)
        self.script(play)
        play.settle()
        return play


class Play:
    """One run of an engine through its script.

    overwrite: each frame's buffer and meta are spoiled after `on_frame` returns. early: `on_deadline` is called too
    early at every opportunity. refuse: every so manieth frame with a token is refused by the link. noise: random frames
    come in between.
    """

    def __init__(
        self,
        subject: Subject,
        seed: int,
        *,
        traced: bool = False,
        overwrite: bool = False,
        early: bool = False,
        refuse: int = 0,
        noise: int = 0,
        delay_ns: Ns = MS,
    ) -> None:
        self.now: Ns = 0
        self.trace = Trace()
        self.traced: list[Any] = []
        if traced:
            self.trace.subscribe(self.traced.append)
        self.engine = subject.make(Random(seed), self.trace)
        self.peer = subject.against(Random(seed + 1), Trace()) if subject.against else None
        self.transcript: list[tuple[Any, ...]] = []
        self.frames: list[bytes] = []
        """Every frame that was on the wire, for mutation."""
        self._wire: list[tuple[Ns, int, bool, int, bytes]] = []
        self._count = self._flying = 0
        self._overwrite, self._early, self._refuse, self._noise = overwrite, early, refuse, noise
        self._delay_ns = delay_ns
        self._noise_rng = Random(seed ^ 0x5EED)

    # --- what a script may do -----------------------------------------------------------------------------------------

    def receives(self, frame: bytes, port: int = 0, **meta: Any) -> None:
        """A frame comes in."""
        self.frames.append(frame)
        for _ in range(self._noise):
            self._feed(mutated(self.frames[self._noise_rng.randrange(len(self.frames))], self._noise_rng), port)
        self._feed(frame, port, **meta)
        self.settle()

    def does(self, action: Callable[[Any, Ns], object]) -> None:
        """The engine's user does something: `action(engine, now)`."""
        self.transcript.append(("did", plain(action(self.engine, self.now))))
        self.settle()

    def advance(self, seconds: float) -> None:
        """Time passes, frames arrive, deadlines come due."""
        end = self.now + round(seconds * SECOND)
        self.settle()
        while (at := self._next()) <= end:
            self.now = max(self.now, at)
            while self._wire and self._wire[0][0] <= self.now:
                _, _, to_engine, port, frame = heapq.heappop(self._wire)
                self._deliver(to_engine, port, frame)
            self._due(self.engine)
            if self.peer is not None:
                self._due(self.peer)
            self.settle()
        self.now = end
        self.settle()

    # --- the machinery ------------------------------------------------------------------------------------------------

    def _next(self) -> Ns:
        instants = [self.engine.next_deadline(), self._wire[0][0] if self._wire else NEVER]
        if self.peer is not None:
            instants.append(self.peer.next_deadline())
        return min(instants)

    def _due(self, engine: Engine) -> None:
        """Law: after `on_deadline(next_deadline())` something comes out, or the next deadline is later."""
        at = engine.next_deadline()
        if at > self.now:
            return
        engine.on_deadline(self.now)
        if engine is self.engine:
            before = len(self.transcript)
            self.settle()
            progress = len(self.transcript) > before
            assert progress or engine.next_deadline() > at, f"spins at {at}"

    def _deliver(self, to_engine: bool, port: int, frame: bytes) -> None:
        if to_engine:
            self.frames.append(frame)
            self._feed(frame, port)
        else:
            assert self.peer is not None
            self.peer.on_frame(memoryview(bytearray(frame)), self.now, RxMeta(port))

    def _feed(self, frame: bytes, port: int, **meta: Any) -> None:
        buffer, about = bytearray(frame), RxMeta(port, **meta)
        view = memoryview(buffer)
        self.engine.on_frame(view, self.now, about)
        if self._overwrite:
            buffer[:] = b"\xaa" * len(buffer)
            about.port, about.at, about.checksum, about.gso_size, about.packet_type = 99, -1, 1, 7, 3
        # Raises BufferError if the engine kept a view of the borrowed buffer.
        view.release()
        buffer.append(0)

    def settle(self) -> None:
        """Collect what both engines send and what ours tells."""
        if self._early and self.engine.next_deadline() > self.now:
            self.engine.on_deadline(self.now)
        for engine in (self.engine, self.peer):
            while engine is not None and (transmit := engine.poll_transmit(self.now)) is not None:
                self._sent(engine, transmit)
        while (event := self.engine.poll_event()) is not None:
            self.transcript.append(("event", plain(event)))
        while self.peer is not None and self.peer.poll_event() is not None:
            pass

    def _sent(self, engine: Engine, transmit: Transmit) -> None:
        assert all(type(getattr(part, "obj", part)) is bytes for part in transmit.parts), "a part that may change"
        frame = b"".join(transmit.parts)
        ours, refused = engine is self.engine, False
        if ours:
            self._count += 1
            refused = bool(self._refuse and transmit.token is not None and self._count % self._refuse == 0)
            offload = (transmit.gso_size, transmit.csum_start, transmit.csum_offset)
            self.transcript.append(("sent", self.now, transmit.port, frame, *offload))
        if transmit.token is not None:
            error = OSError(105, "No buffer space available") if refused else None
            engine.on_transmitted(transmit.token, self.now, None, error)
        if self.peer is not None and not refused:
            for whole in segments(transmit) if transmit.csum_start else (frame,):
                self._flying += 1
                heapq.heappush(self._wire, (self.now + self._delay_ns, self._flying, not ours, transmit.port, whole))
        self.frames.append(frame)


def plain(value: Any) -> Any:
    """A value without identities: slotted objects become (class name, fields)."""
    if value is None or isinstance(value, int | float | str | bytes):
        return value
    if isinstance(value, Connection):
        return value.id, value.state, value.error
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    slots = [slot for cls in type(value).__mro__ for slot in getattr(cls, "__slots__", ())]
    return type(value).__name__, tuple((slot, plain(getattr(value, slot, None))) for slot in sorted(slots))


def mutated(frame: bytes, rng: Random, other: bytes = b"") -> bytes:
    """A frame with bits flipped, cut short, lengthened, or spliced with another."""
    data = bytearray(frame)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        kind = rng.randrange(8)
        if kind <= 3 and data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif kind == 4 and data:
            data[rng.randrange(len(data))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif kind == 5:
            del data[rng.randrange(len(data) + 1) :]
        elif kind == 6:
            data += rng.randbytes(rng.randrange(1, 64))
        else:
            source = other or frame
            at, size = rng.randrange(len(data) + 1), rng.randrange(1, 40)
            start = rng.randrange(len(source) + 1)
            data[at : at + size] = source[start : start + size]
    return bytes(data)


# --- the laws ---------------------------------------------------------------------------------------------------------


def same_seed_same_bytes(subject: Subject) -> None:
    """The same input and seed give the same bytes and events."""
    assert subject.play().transcript == subject.play().transcript


def says_something(subject: Subject) -> None:
    """The script is worth something: frames went out, and deadlines or frames came in."""
    play = subject.play()
    assert any(entry[0] == "sent" for entry in play.transcript)


def tracing_changes_nothing(subject: Subject) -> None:
    """With every category listened to, the same bytes and events come out."""
    quiet, loud = subject.play(), subject.play(traced=True)
    assert loud.traced
    assert quiet.transcript == loud.transcript


def the_buffer_is_only_borrowed(subject: Subject) -> None:
    """A frame and its meta overwritten after return change nothing."""
    assert subject.play().transcript == subject.play(overwrite=True).transcript


def an_early_deadline_is_harmless(subject: Subject) -> None:
    """`on_deadline` before anything is due changes nothing."""
    assert subject.play().transcript == subject.play(early=True).transcript


def any_bytes_raise_nothing(subject: Subject, rounds: int = 300) -> None:
    """Random and mutated frames raise nothing, in the midst of the script and after it."""
    for seed in range(3):
        play = subject.play(seed, noise=5)
        rng = Random(seed)
        for _ in range(rounds):
            frame = play.frames[rng.randrange(len(play.frames))]
            play.receives(rng.randbytes(rng.randrange(200)) if rng.random() < 0.2 else mutated(frame, rng))
        play.advance(200)


def a_refused_send_raises_nothing(subject: Subject) -> None:
    """The link may refuse any frame."""
    subject.play(refuse=2)


LAWS = (
    says_something,
    same_seed_same_bytes,
    tracing_changes_nothing,
    the_buffer_is_only_borrowed,
    an_early_deadline_is_harmless,
    any_bytes_raise_nothing,
    a_refused_send_raises_nothing,
)
