"""The only event loop: moves frames between one engine and its links, on the real clock or a virtual one.

One turn is: wait for input or the deadline; receive what arrived; run the deadline; send what the engine wants to send;
hand its events out. Input goes first because a reply that is already here must be told from one that is late, and
sending follows the deadline at once because a probe's clock starts there.
"""

from collections.abc import Callable, Sequence
from errno import EAGAIN, ENOBUFS, ENODEV, ENOMEM, EWOULDBLOCK
from typing import Final

from pytools.engine import Engine, EngineEvent, Transmit
from pytools.link.base import Link
from pytools.run.waiters import Waiter
from pytools.units import MS, NEVER, Ns

# Why `run` came back.
DONE: Final = "done"
IDLE: Final = "idle"
"""Nothing can ever happen again: no deadline, no frame under way, no descriptor to wait for."""
STOPPED: Final = "stopped"

RECV_LIMIT: Final = 64
SEND_LIMIT: Final = 64
EVENT_LIMIT: Final = 256
"""Frames in each direction and events a turn: none can starve the others, and a signal is seen between turns."""
STALL_NS: Final[Ns] = 100 * MS
"""For so long a full port may hold up the others."""
RETRY_NS: Final[Ns] = 1 * MS
REST_NS: Final[Ns] = 1 * MS
FRUITLESS_LIMIT: Final = 32
"""After so many turns that moved nothing the loop sleeps for REST_NS, whoever asked for them: it never spins."""
PROMPT_LIMIT: Final = 16
"""So many turns in a row may ask only the link whose answers come at once; other descriptors wait no longer than that.
After one in vain as many turns go the usual way."""

_FULL = frozenset((EAGAIN, EWOULDBLOCK))
_NO_BUFFERS = frozenset((ENOBUFS, ENOMEM))

OnEvent = Callable[[EngineEvent], object]
OnError = Callable[[int, OSError], object]


class _Held:
    """A Transmit that its port would not take. `error` is set when the kernel had no buffers (then time must pass)."""

    __slots__ = ("error", "retry_at", "since", "transmit")

    def __init__(self, transmit: Transmit, now: Ns) -> None:
        self.transmit = transmit
        self.since = now
        self.retry_at = now
        self.error: OSError | None = None


class Driver:
    """Runs one engine over its links. All calls come from one thread.

    `on_event(event)` gets each engine event; without it they stay in the engine for the caller. `on_error(port, error)`
    learns of each frame that the system refused and that carried no token (with a token the engine learns of it);
    `refused` counts both kinds by errno. LinkError passes through: a link is gone.

    A port that is full keeps one Transmit here, and the engine is not asked for more until it is taken (backpressure).
    With other ports beside it that lasts STALL_NS; from then on their frames go out, and what comes for the full port
    is refused with ENOBUFS, as a full device queue does.
    """

    __slots__ = (
        "_all_links",
        "_callbacks",
        "_clock",
        "_expects_input",
        "_fruitless",
        "_held",
        "_links",
        "_more",
        "_on_error",
        "_on_event",
        "_polled",
        "_prompt",
        "_prompt_turns",
        "_readable",
        "_receivers",
        "_stopped",
        "_waiter",
        "engine",
        "refused",
    )

    def __init__(
        self,
        engine: Engine,
        links: Sequence[Link],
        waiter: Waiter,
        on_event: OnEvent | None = None,
        on_error: OnError | None = None,
    ) -> None:
        self.engine = engine
        self.refused: dict[int, int] = {}
        self._waiter = waiter
        self._clock = waiter.now
        self._on_event = on_event
        self._on_error = on_error
        self._all_links = links
        self._callbacks: dict[int, tuple[Callable[[], object], bool]] = {}
        self._held: dict[int, _Held] = {}
        self._more = False
        """The engine may have more to send than one flush takes."""
        self._fruitless = 0
        self._prompt: Link | None = None
        """In a flood the answer is there before anybody asks: then the link is read without asking poll first."""
        self._prompt_turns = 0
        self._stopped = False
        self.links_changed()

    # -- descriptors ---------------------------------------------------------------------------------------------------

    def links_changed(self) -> None:
        """Look at `links` and their ports again, because there are more or fewer of them.

        A frame for a port that is not known yet has the same effect.
        """
        links = self._all_links
        self._prompt = None
        self._links = {port.index: link for link in links for port in link.ports}
        self._receivers = {fileno: link for link in links for fileno in link.filenos()}
        self._polled = tuple(link for link in links if not link.filenos())
        """Links without a descriptor: looked at in each turn."""
        for port in self._held.keys() - self._links.keys():
            self._refuse(self._held.pop(port).transmit, self._clock(), OSError(ENODEV, "No such port"))
        self._update_readable()

    def watch(self, fileno: int, callback: Callable[[], object], *, passive: bool = False) -> None:
        """Call `callback()` when `fileno` is readable; it must read.

        A `passive` descriptor (signals, interface changes) is no reason to go on when nothing else can happen.
        """
        self._callbacks[fileno] = (callback, passive)
        self._update_readable()

    def unwatch(self, fileno: int) -> None:
        """Forget a descriptor. Harmless if it is not watched."""
        self._callbacks.pop(fileno, None)
        self._update_readable()

    def _update_readable(self) -> None:
        self._readable = (*self._receivers, *self._callbacks)
        self._expects_input = bool(self._receivers) or not all(passive for _, passive in self._callbacks.values())

    def filenos(self) -> Sequence[int]:
        """Every descriptor to watch for reading, for a loop that is not ours."""
        return self._readable

    def next_wake(self) -> Ns:
        """When `step` has something to do even without input, for a loop that is not ours."""
        now = self._clock()
        deadline = now if self._more else self.engine.next_deadline()
        return self._bounds(deadline, now)[0] if self._held else deadline

    # -- the loop ------------------------------------------------------------------------------------------------------

    def run(self, done: Callable[[], bool] | None = None) -> str:
        """Turn until `done()`, asked before each turn, or `stop`, or nothing can ever happen; returns which.

        The loop is left in order: what the engine had to send has been sent, its events have been handed out.
        """
        self.flush()
        while True:
            if done is not None and done():
                return DONE
            if self._stopped:
                self._stopped = False
                return STOPPED
            if not self._turn(NEVER):
                return IDLE

    def stop(self) -> None:
        """Make `run` return before its next turn. May be called from a signal handler."""
        self._stopped = True

    def step(self, until: Ns = NEVER) -> bool:
        """One turn that waits no longer than `until` (0: not at all); False when nothing can ever happen.

        Sends first what the engine was given since the last step.
        """
        self.flush()
        return self._turn(until)

    def _turn(self, until: Ns) -> bool:
        """Wait, receive, deadline, then `flush`. Long because calls cost more than anything else here."""
        if (link := self._prompt) is not None and self._turn_promptly(link):
            return True
        engine, waiter, clock = self.engine, self._waiter, self._clock
        if self._fruitless >= FRUITLESS_LIMIT:
            self._fruitless = 0
            waiter.wait(min(until, clock() + REST_NS), (), ())
        writable: Sequence[int] = ()
        if self._more:
            until = 0
        else:
            deadline = engine.next_deadline()
            if self._held:
                deadline, writable = self._bounds(deadline, clock())
            if deadline < until:
                until = deadline
        readable = self._readable if until < NEVER or self._expects_input else ()
        if waiter.wait(until, readable, writable) >= NEVER:
            return False
        received, link, ready = 0, None, waiter.ready
        for fileno in ready:
            if (link := self._receivers.get(fileno)) is not None:
                # A transmit stamp belongs to a frame that left before the answer to it came.
                link.poll_stamps(engine.on_transmitted)
                received += link.recv_batch(engine.on_frame, clock, RECV_LIMIT)
            elif (watched := self._callbacks.get(fileno)) is not None:
                watched[0]()
                received += 1
        for link in self._polled:
            link.poll_stamps(engine.on_transmitted)
            received += link.recv_batch(engine.on_frame, clock, RECV_LIMIT)
        now = clock()
        if engine.next_deadline() <= now:
            engine.on_deadline(now)
        if self.flush():
            self._fruitless = 0
            self._expect_answer(link if received == 1 == len(ready) else None)
        elif received:
            self._fruitless = 0
        else:
            self._fruitless += 1
        return True

    def _expect_answer(self, link: "Link | None") -> None:
        """After one frame in and something out, look for the next frame of `link` before anything else."""
        if self._prompt_turns > 0:
            self._prompt_turns -= 1
        elif link is not None and not (self._more or self._held or self._polled):
            self._prompt, self._prompt_turns = link, PROMPT_LIMIT

    def _turn_promptly(self, link: "Link") -> bool:
        """A turn without poll, which takes one frame; False if there is none, and the usual turn is due."""
        engine, clock = self.engine, self._clock
        link.poll_stamps(engine.on_transmitted)
        if not link.recv_batch(engine.on_frame, clock, 1):
            # What is left of the turns is spent without trying.
            self._prompt, self._prompt_turns = None, PROMPT_LIMIT
            return False
        self._prompt_turns -= 1
        now = clock()
        if engine.next_deadline() <= now:
            engine.on_deadline(now)
        if not self.flush() or not self._prompt_turns or self._more or self._held:
            self._prompt, self._prompt_turns = None, 0
        return True

    def flush(self) -> bool:
        """Send what the engine wants to send and hand its events out; True when there was anything.

        Sends again what the application had the engine do while it took an event.
        """
        engine, clock, held, on_event = self.engine, self._clock, self._held, self._on_event
        poll_transmit, poll_event = engine.poll_transmit, engine.poll_event
        sends, events = SEND_LIMIT, EVENT_LIMIT
        self._more = False
        moved = self._retry() if held else False
        at = clock()
        while True:
            while not (held and self._is_blocked(at)) and (transmit := poll_transmit(at)) is not None:
                moved = True
                link = self._links.get(transmit.port)
                # The clock that a round-trip time starts with: nothing may come between it and the send.
                at = clock()
                if link is None or held:
                    self._send_beside(transmit, at)
                else:
                    try:
                        if not link.send(transmit):
                            held[transmit.port] = _Held(transmit, at)
                        elif transmit.token is not None:
                            engine.on_transmitted(transmit.token, at, None, None)
                    except OSError as error:
                        self._failed(transmit, at, error)
                sends -= 1
                if not sends:
                    self._more = True
                    break
            if on_event is None or (event := poll_event()) is None:
                return moved
            moved = True
            while event is not None:
                on_event(event)
                events -= 1
                if not events:
                    self._more = True
                    return True
                event = poll_event()
            if self._more:
                return True
            at = clock()

    # -- full ports and refusals ---------------------------------------------------------------------------------------

    def _send_beside(self, transmit: Transmit, at: Ns) -> None:
        """Send to a port that may be new, gone, or full while others go on."""
        port = transmit.port
        if port not in self._links:
            self.links_changed()
        if port not in self._links:
            self._refuse(transmit, at, OSError(ENODEV, "No such port"))
        elif port in self._held:
            self._refuse(transmit, at, OSError(ENOBUFS, "The port is full"))
        else:
            self._held[port] = _Held(transmit, at)
            self._retry()

    def _failed(self, transmit: Transmit, at: Ns, error: OSError) -> bool:
        """The system refused a frame; False when it is held, to be offered again."""
        if error.errno in _FULL:
            self._held.setdefault(transmit.port, _Held(transmit, at))
            return False
        if error.errno in _NO_BUFFERS:
            # Dropped in front of the device. Writable says nothing then, so try again after a while, but not for ever.
            held = self._held.setdefault(transmit.port, _Held(transmit, at))
            if at - held.since < STALL_NS:
                held.error, held.retry_at = error, at + RETRY_NS
                return False
        self._refuse(transmit, at, error)
        return True

    def _refuse(self, transmit: Transmit, at: Ns, error: OSError) -> None:
        number = error.errno or 0
        self.refused[number] = self.refused.get(number, 0) + 1
        if transmit.token is not None:
            self.engine.on_transmitted(transmit.token, at, None, error)
        elif self._on_error is not None:
            self._on_error(transmit.port, error)

    def _retry(self) -> bool:
        """Offer the held frames again; True when one is gone."""
        moved = False
        for port, held in tuple(self._held.items()):
            at = self._clock()
            if held.retry_at > at:
                continue
            transmit = held.transmit
            try:
                taken = self._links[port].send(transmit)
            except OSError as error:
                taken = self._failed(transmit, at, error)
            else:
                held.error = None
                if taken and transmit.token is not None:
                    self.engine.on_transmitted(transmit.token, at, None, None)
            if taken:
                del self._held[port]
                moved = True
        return moved

    def _is_blocked(self, now: Ns) -> bool:
        """Whether a full port keeps the engine from being asked for more."""
        if len(self._links) == 1:
            return bool(self._held)
        return any(now - held.since < STALL_NS for held in self._held.values())

    def _bounds(self, deadline: Ns, now: Ns) -> tuple[Ns, Sequence[int]]:
        """How long to wait, and for which descriptors to become writable, while frames are held."""
        until = deadline
        if self._is_blocked(now):
            # A deadline that only wants to send is due all the time; serve it a little late instead of spinning.
            until = max(deadline, now + RETRY_NS)
        writable: list[int] = []
        for port, held in self._held.items():
            filenos = self._links[port].writable_filenos() if held.error is None else ()
            writable.extend(filenos)
            if not filenos:
                until = min(until, max(held.retry_at, now + RETRY_NS))
            if now - held.since < STALL_NS:
                until = min(until, held.since + STALL_NS)
        return until, writable
