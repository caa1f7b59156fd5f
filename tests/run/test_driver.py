"""The loop with a scripted engine, in virtual time."""

import os
from collections.abc import Iterator, Sequence
from errno import EAGAIN, EMSGSIZE, ENOBUFS, ENODEV, EPERM

import pytest

from pytools.engine import EngineEvent, Transmit
from pytools.run import driver as loop
from pytools.run.driver import DONE, IDLE, STOPPED, Driver
from pytools.run.waiters import VirtualWaiter
from pytools.sim.network import Network
from pytools.units import MS, NEVER, SECOND, Ns
from tests.run.scripted import Said, ScriptedEngine, TestLink


class Bench:
    """An engine, links and a driver in one virtual network."""

    def __init__(self, ports: int = 1) -> None:
        self.network = Network()
        self.engine = ScriptedEngine()
        self.links = [TestLink(self.network, port) for port in range(ports)]
        self.heard: list[EngineEvent] = []
        self.errors: list[tuple[int, int | None]] = []
        self.driver = Driver(
            self.engine,
            self.links,
            VirtualWaiter(self.network),
            self.heard.append,
            lambda port, error: self.errors.append((port, error.errno)),
        )

    @property
    def link(self) -> TestLink:
        return self.links[0]

    def texts(self, port: int = 0) -> list[str]:
        return [text for _, text in self.links[port].sent]


def test_what_the_engine_wants_to_send_goes_out_before_the_first_wait() -> None:
    bench = Bench()
    bench.engine.queue("a")
    bench.engine.queue("b")
    assert bench.driver.run() == IDLE
    assert bench.link.sent == [(0, "a"), (0, "b")]


def test_a_deadline_is_met_exactly_and_what_it_sends_leaves_at_that_time() -> None:
    bench = Bench()
    bench.engine.deadline = 3 * SECOND

    def send(now: Ns) -> None:
        bench.engine.deadline = NEVER
        bench.engine.queue("late")

    bench.engine.at_deadline = send
    assert bench.driver.run() == IDLE
    assert bench.link.sent == [(3 * SECOND, "late")]


def test_a_frame_of_the_same_instant_goes_before_the_deadline() -> None:
    bench = Bench()
    bench.engine.deadline = SECOND
    bench.link.arrive_at(SECOND, "reply")
    bench.driver.run()
    assert bench.engine.log == [("frame", "reply", SECOND, SECOND), ("deadline", SECOND)]


def test_the_answer_to_a_frame_leaves_at_once() -> None:
    bench = Bench()
    bench.engine.at_frame = lambda frame, now: bench.engine.queue("answer")
    bench.link.arrive_at(MS, "question")
    bench.driver.run()
    assert bench.link.sent == [(MS, "answer")]


def test_a_token_is_reported_with_the_time_of_the_send_and_no_token_is_not() -> None:
    bench = Bench()
    bench.network.push(7 * MS, lambda _: None)
    bench.network.wait(7 * MS)
    bench.engine.queue("a", token="t")
    bench.engine.queue("b")
    bench.driver.run()
    assert bench.engine.log == [("transmitted", "t", 7 * MS, None, None)]


def test_the_reported_time_is_read_after_the_engine_has_built_the_frame() -> None:
    bench = Bench()

    def build_slowly(now: Ns) -> Transmit | None:
        bench.network.wait(bench.network.now() + 5)
        return bench.engine.outbox.popleft() if bench.engine.outbox else None

    bench.engine.poll_transmit = build_slowly  # type: ignore[method-assign]
    driver = Driver(bench.engine, bench.links, bench.network)
    for text in "ab":
        bench.engine.queue(text, token=text)
    driver.run()
    assert [entry[:3] for entry in bench.engine.log] == [("transmitted", "a", 5), ("transmitted", "b", 10)]


def test_a_refused_frame_with_a_token_is_the_engines_business() -> None:
    bench = Bench()
    bench.link.refuse = lambda now: OSError(EMSGSIZE, "Message too long")
    bench.engine.queue("a", token="t")
    bench.driver.run()
    assert bench.engine.log == [("transmitted", "t", 0, None, EMSGSIZE)]
    assert (bench.errors, bench.driver.refused) == ([], {EMSGSIZE: 1})


def test_a_refused_frame_without_a_token_is_counted_and_told() -> None:
    bench = Bench()
    bench.link.refuse = lambda now: OSError(EPERM, "Operation not permitted")
    bench.engine.queue("a")
    bench.engine.queue("b")
    bench.driver.run()
    assert bench.errors == [(0, EPERM), (0, EPERM)]
    assert bench.driver.refused == {EPERM: 2}


def test_a_frame_for_a_port_that_does_not_exist_is_refused() -> None:
    bench = Bench()
    bench.engine.queue("a", port=9, token="t")
    bench.driver.run()
    assert bench.engine.log == [("transmitted", "t", 0, None, ENODEV)]


def test_a_port_that_was_added_later_is_found() -> None:
    bench = Bench()
    bench.driver.step(0)
    bench.links.append(TestLink(bench.network, 1))
    bench.engine.queue("a", port=1)
    bench.driver.run()
    assert bench.texts(1) == ["a"]
    bench.links[1].arrive("b")
    bench.driver.run()
    assert bench.engine.log == [("frame", "b", 0, 0)]


def test_a_frame_held_for_a_link_that_went_away_is_refused() -> None:
    bench = Bench(ports=2)
    bench.links[0].refuse = lambda now: False
    bench.engine.queue("a", token="t")
    bench.driver.step(0)
    del bench.links[0]
    bench.driver.links_changed()
    assert bench.engine.log == [("transmitted", "t", 0, None, ENODEV)]


@pytest.mark.parametrize("full", [False, OSError(EAGAIN, "Try again")])
def test_a_full_port_keeps_one_frame_and_the_engine_is_asked_no_more(full: OSError | bool) -> None:
    bench = Bench()
    bench.link.refuse = lambda now: full if now < 5 * SECOND else None
    for text in "abc":
        bench.engine.queue(text, token=text)
    bench.driver.step(SECOND)
    assert [transmit.token for transmit in bench.engine.outbox] == ["b", "c"]
    bench.driver.run()
    assert bench.link.sent == [(5 * SECOND, text) for text in "abc"]
    assert [entry[1:3] for entry in bench.engine.log] == [(text, 5 * SECOND) for text in "abc"]
    assert bench.driver.refused == {}


def test_a_full_port_does_not_spin() -> None:
    bench = Bench()
    bench.link.refuse = lambda now: False if now < SECOND else None
    bench.engine.deadline = 0  # due all the time, as long as it can't send

    def stay(now: Ns) -> None:
        if not bench.engine.outbox:
            bench.engine.deadline = NEVER

    bench.engine.at_deadline = stay
    bench.engine.queue("a")
    bench.engine.queue("b")
    bench.driver.run()
    assert bench.texts() == ["a", "b"]
    assert bench.link.offers <= 2 * SECOND // loop.RETRY_NS
    assert bench.engine.deadline_calls <= SECOND // loop.RETRY_NS + 2


def test_frames_still_arrive_while_a_port_is_full() -> None:
    bench = Bench()
    bench.link.refuse = lambda now: False if now < SECOND else None
    bench.engine.queue("a")
    bench.link.arrive_at(10 * MS + 1, "hello")
    bench.driver.run()
    assert bench.engine.log[0] == ("frame", "hello", 10 * MS + 1, 10 * MS + 1)


def test_a_full_port_holds_up_the_others_for_a_bounded_time_only() -> None:
    bench = Bench(ports=2)
    bench.links[0].refuse = lambda now: False if now < SECOND else None
    bench.engine.queue("a0", 0, token="a0")
    bench.engine.queue("b1", 1)
    bench.engine.queue("c0", 0, token="c0")
    bench.engine.queue("d1", 1)
    bench.driver.run()
    assert [text for _, text in bench.links[1].sent] == ["b1", "d1"]
    assert all(at <= loop.STALL_NS + loop.RETRY_NS for at, _ in bench.links[1].sent)
    # The held frame was kept; the one that came for the full port meanwhile was refused as a full queue does.
    assert bench.links[0].sent == [(SECOND, "a0")]
    assert ("transmitted", "c0", loop.STALL_NS, None, ENOBUFS) in bench.engine.log


def test_no_buffers_is_tried_again_and_loses_nothing() -> None:
    bench = Bench()
    bench.link.refuse = lambda now: OSError(ENOBUFS, "No buffer space") if now < 10 * MS else None
    bench.engine.queue("a", token="t")
    bench.engine.queue("b")
    bench.driver.run()
    assert bench.link.sent == [(10 * MS, "a"), (10 * MS, "b")]
    assert bench.engine.log == [("transmitted", "t", 10 * MS, None, None)]
    assert bench.link.offers <= 12


def test_no_buffers_for_long_is_an_error_of_that_frame() -> None:
    bench = Bench()
    bench.link.refuse = lambda now: OSError(ENOBUFS, "No buffer space")
    bench.engine.queue("a", token="t")
    bench.driver.run()
    assert bench.engine.log == [("transmitted", "t", loop.STALL_NS, None, ENOBUFS)]
    assert bench.driver.refused == {ENOBUFS: 1}


def test_an_endless_sender_starves_neither_input_nor_deadlines() -> None:
    bench = Bench()
    engine, sent = bench.engine, bench.link.sent

    def refill(now: Ns) -> bool | None:
        engine.queue("more")
        return None

    bench.link.refuse = refill
    engine.queue("first")
    bench.link.arrive("input")
    bench.driver.step(NEVER)
    assert engine.log == [("frame", "input", 0, 0)]
    assert len(sent) <= 2 * loop.SEND_LIMIT


def test_endless_input_starves_neither_output_nor_deadlines() -> None:
    bench = Bench()
    bench.engine.deadline = 0
    for number in range(3 * loop.RECV_LIMIT):
        bench.link.arrive(str(number))
    bench.engine.at_frame = lambda frame, now: bench.engine.queue("answer " + frame.decode())
    bench.driver.step(NEVER)
    assert len(bench.link.sent) == loop.RECV_LIMIT
    assert ("deadline", 0) in bench.engine.log


def test_an_engine_whose_deadline_never_moves_does_not_spin() -> None:
    bench = Bench()
    bench.engine.deadline = 0
    bench.engine.at_deadline = lambda now: None
    bench.driver.run(lambda: bench.network.now() >= 100 * MS)
    assert bench.engine.deadline_calls <= 100 * (loop.FRUITLESS_LIMIT + 2)


def test_an_application_that_always_has_more_to_do_does_not_lock_the_loop() -> None:
    bench = Bench()

    def again(event: EngineEvent) -> None:
        bench.heard.append(event)
        bench.engine.events.append(Said(0, "again"))

    driver = Driver(bench.engine, bench.links, bench.network, again)
    again(Said(0, "first"))
    assert driver.run(lambda: len(bench.heard) > 5_000) == DONE


def test_events_are_handed_out_and_what_the_application_then_sends_goes_out_in_the_same_turn() -> None:
    bench = Bench()

    def react(event: EngineEvent) -> None:
        assert isinstance(event, Said)
        bench.engine.queue("because of " + event.text)

    driver = Driver(bench.engine, bench.links, bench.network, react)
    bench.engine.at_frame = lambda frame, now: bench.engine.events.append(Said(now, frame.decode()))
    bench.link.arrive_at(MS, "x")
    driver.run()
    assert bench.link.sent == [(MS, "because of x")]


def test_without_a_callback_events_stay_in_the_engine() -> None:
    bench = Bench()
    driver = Driver(bench.engine, bench.links, bench.network)
    bench.engine.events.append(Said(0, "kept"))
    driver.run()
    assert isinstance(bench.engine.poll_event(), Said)


def test_run_says_why_it_came_back() -> None:
    bench = Bench()
    assert bench.driver.run() == IDLE
    assert bench.driver.run(lambda: True) == DONE
    bench.engine.deadline = SECOND
    bench.engine.at_deadline = lambda now: bench.driver.stop()
    assert bench.driver.run() == STOPPED
    bench.driver.stop()
    assert bench.driver.run() == STOPPED
    bench.engine.deadline = NEVER
    assert bench.driver.run() == IDLE


def test_done_is_asked_before_time_passes() -> None:
    bench = Bench()
    bench.engine.deadline = SECOND
    assert bench.driver.run(lambda: True) == DONE
    assert bench.network.now() == 0


def test_a_step_waits_no_longer_than_it_is_told() -> None:
    bench = Bench()
    bench.engine.deadline = SECOND
    assert bench.driver.step(10 * MS)
    assert bench.network.now() == 10 * MS
    assert bench.driver.step(0)
    assert bench.network.now() == 10 * MS
    assert bench.driver.step()
    assert bench.network.now() == SECOND
    assert not bench.driver.step()


def test_another_loop_learns_when_to_call() -> None:
    bench = Bench()
    assert bench.driver.next_wake() == NEVER
    bench.engine.deadline = SECOND
    assert bench.driver.next_wake() == SECOND
    bench.link.refuse = lambda now: False
    bench.engine.queue("a")
    bench.driver.step(0)
    assert bench.driver.next_wake() == loop.RETRY_NS
    assert bench.driver.filenos() == ()


def test_a_descriptor_that_is_readable_calls_back_and_no_time_passes_meanwhile() -> None:
    bench = Bench()
    reader, writer = os.pipe()
    try:
        seen: list[tuple[bytes, Ns]] = []

        def read() -> None:
            data = os.read(reader, 1)
            seen.append((data, bench.network.now()))
            if data == b"c":
                bench.driver.unwatch(reader)

        bench.driver.watch(reader, read)
        bench.engine.deadline = SECOND
        os.write(writer, b"abc")
        assert bench.driver.run() == IDLE
        assert seen == [(b"a", 0), (b"b", 0), (b"c", 0)]
        assert bench.engine.log == [("deadline", SECOND)]
    finally:
        os.close(reader)
        os.close(writer)


def test_a_passive_descriptor_is_no_reason_to_wait_for_ever() -> None:
    bench = Bench()
    reader, writer = os.pipe()
    try:
        bench.driver.watch(reader, lambda: os.read(reader, 9), passive=True)
        assert bench.driver.run() == IDLE
    finally:
        os.close(reader)
        os.close(writer)


def test_a_descriptor_whose_callback_reads_nothing_still_lets_the_loop_end() -> None:
    bench = Bench()
    reader, writer = os.pipe()
    try:
        calls: list[int] = []
        bench.driver.watch(reader, lambda: calls.append(1))
        os.write(writer, b"x")
        assert bench.driver.run(lambda: len(calls) == 100) == DONE
    finally:
        os.close(reader)
        os.close(writer)


def test_links_with_descriptors_are_read_only_when_readable() -> None:
    reader, writer = os.pipe()
    try:
        network, engine = Network(), ScriptedEngine()
        link = TestLink(network, filenos=(reader,))
        driver = Driver(engine, [link], VirtualWaiter(network))
        link.arrive("early")
        driver.step(0)
        assert engine.log == []
        os.write(writer, b"x")
        driver.step(0)
        assert engine.log == [("frame", "early", 0, 0)]
    finally:
        os.close(reader)
        os.close(writer)


def test_a_readable_link_that_gives_nothing_does_not_spin() -> None:
    reader, writer = os.pipe()
    try:
        network, engine = Network(), ScriptedEngine()
        link = TestLink(network, filenos=(reader,))
        driver = Driver(engine, [link], VirtualWaiter(network))
        os.write(writer, b"x")  # readable for ever: nobody reads it
        turns = 0

        def done() -> bool:
            nonlocal turns
            turns += 1
            return network.now() >= 20 * MS

        driver.run(done)
        assert turns <= 21 * (loop.FRUITLESS_LIMIT + 1)
    finally:
        os.close(reader)
        os.close(writer)


class FloodLink(TestLink):
    """A link with a descriptor that is always readable; `answers` says what arrives when a frame is sent."""

    def __init__(self, network: Network, fileno: int) -> None:
        super().__init__(network, filenos=(fileno,))
        self.answers = 1

    def send(self, transmit: Transmit) -> bool:
        for _ in range(self.answers):
            self.arrive("answer")
        return super().send(transmit)


class CountingWaiter(VirtualWaiter):
    """Counts how often the descriptors are asked."""

    __slots__ = ("waits",)

    def __init__(self, network: Network) -> None:
        super().__init__(network)
        self.waits = 0

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        self.waits += 1
        return super().wait(until, readable, writable)


class Flood:
    """Each answer asks for the next frame, `count` times; `callbacks` counts those of another readable descriptor."""

    def __init__(self, reader: int, other: int, count: int, answers: int = 1) -> None:
        network, engine = Network(), ScriptedEngine()
        self.waiter, self.link, self.engine, self.callbacks = (
            CountingWaiter(network),
            FloodLink(network, reader),
            engine,
            0,
        )
        self.link.answers = answers

        def again(frame: bytes, now: Ns) -> None:
            if len(self.link.sent) < count:
                engine.queue("question")

        engine.at_frame = again
        engine.queue("question")
        driver = Driver(engine, [self.link], self.waiter)
        driver.watch(other, self._called)
        driver.run(lambda: len(self.link.sent) >= count)

    def _called(self) -> None:
        self.callbacks += 1


@pytest.fixture
def readable() -> Iterator[tuple[int, int]]:
    """Two descriptors that are readable for ever."""
    reader, writer = os.pipe()
    other, end = os.pipe()
    os.write(writer, b"x")
    os.write(end, b"x")
    yield reader, other
    for fileno in (reader, writer, other, end):
        os.close(fileno)


def test_answers_that_come_at_once_are_taken_without_asking_poll(readable: tuple[int, int]) -> None:
    reader, writer = os.pipe()
    try:
        flood = Flood(readable[0], reader, 1_000)
        assert len(flood.link.sent) == 1_000
        assert flood.waiter.waits < 1_000 // loop.PROMPT_LIMIT + 10
    finally:
        os.close(reader)
        os.close(writer)


def test_a_flood_does_not_starve_other_descriptors(readable: tuple[int, int]) -> None:
    network, engine = Network(), ScriptedEngine()
    link = FloodLink(network, readable[0])
    seen: list[int] = []
    driver = Driver(engine, [link], VirtualWaiter(network))

    def again(frame: bytes, now: Ns) -> None:
        engine.queue("question")
        if len(link.sent) == 10:  # in the midst of the turns without poll
            driver.watch(readable[1], lambda: seen.append(len(link.sent)))

    engine.at_frame = again
    engine.queue("question")
    driver.run(lambda: bool(seen) or len(link.sent) >= 1_000)
    assert seen
    assert seen[0] <= 10 + loop.PROMPT_LIMIT + 1


def test_one_answer_in_vain_goes_back_to_poll(readable: tuple[int, int]) -> None:
    network, engine = Network(), ScriptedEngine()
    link, waiter = FloodLink(network, readable[0]), CountingWaiter(network)
    link.answers = 0
    driver = Driver(engine, [link], waiter)
    engine.at_frame = lambda frame, now: engine.queue("question")
    for _ in range(2 * loop.PROMPT_LIMIT):
        link.arrive("late")
        before = waiter.waits
        driver.step(0)
        driver.step(0)
        assert waiter.waits > before
    assert len(link.sent) == 2 * loop.PROMPT_LIMIT
