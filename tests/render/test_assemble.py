"""Which events make one line. `shape` writes a line as its mark and the names of its events."""

import pytest

from pytools.render.assemble import Assembler, Line
from pytools.trace.events import (
    Dropped,
    EchoAnswered,
    NeighborChanged,
    PacketQueued,
    ProbeAnswered,
    ProbeFailed,
    ProbeLost,
    ProbeSent,
    Settled,
    TimerFired,
    TraceEvent,
    WireLost,
)
from pytools.trace.hub import Trace
from tests.render.frames import IP_PEER, PEER, arp_reply, arp_request, call, echo_reply, echo_request, received, sent


class Lines:
    """An assembler with what came out of it."""

    def __init__(self, label: str = "") -> None:
        self.out: list[Line] = []
        self.assembler = Assembler(self.out.append, label)

    def feed(self, *events: TraceEvent) -> "Lines":
        for event in events:
            self.assembler.on_event(event)
        return self

    def flush(self) -> list[str]:
        self.assembler.flush()
        return shapes(self.out)


def shapes(lines: list[Line]) -> list[str]:
    return [" ".join([line.mark, *(event.name for event in line.events)]) for line in lines]


@pytest.fixture
def lines() -> Lines:
    return Lines()


def reachable(now: int) -> NeighborChanged:
    return NeighborChanged(now, 0, IP_PEER, PEER, "INCOMPLETE", "REACHABLE", "reply")


def test_a_received_frame_and_everything_until_settled_is_one_line(lines: Lines) -> None:
    lines.feed(*call(received(10, arp_reply()), reachable(10)))
    assert lines.flush() == ["< neighbor_changed"]
    assert lines.out[0].frame == arp_reply()


def test_a_received_frame_that_was_refused_is_marked_x(lines: Lines) -> None:
    lines.feed(*call(received(10, echo_reply()), Dropped(10, 0, "ICMP_CSUM", "")))
    assert lines.flush() == ["x dropped"]


def test_a_sent_frame_has_what_was_emitted_since_the_last_settled(lines: Lines) -> None:
    lines.feed(ProbeSent(10, "10.0.0.2", 1), PacketQueued(10, 0, IP_PEER, 1), *call(sent(11, arp_request())))
    assert lines.flush() == ["> probe_sent packet_queued"]
    assert lines.out[0].now == 11


def test_what_follows_a_sent_frame_until_settled_is_on_its_line(lines: Lines) -> None:
    lines.feed(sent(11, arp_request()), reachable(11), Settled(11))
    assert lines.flush() == ["> neighbor_changed"]


def test_the_parts_of_a_sent_frame_are_one_frame(lines: Lines) -> None:
    lines.feed(*call(sent(11, b"abc", b"def")))
    lines.flush()
    assert lines.out[0].frame == b"abcdef"


def test_events_without_a_frame_are_a_line_of_their_own(lines: Lines) -> None:
    lines.feed(*call(TimerFired(20, "arp", "10.0.0.2", 1)), *call(sent(21, arp_request())))
    assert lines.flush() == ["! timer_fired", ">"]
    assert lines.out[0].frame is None


def test_settled_alone_makes_no_line(lines: Lines) -> None:
    lines.feed(Settled(1), Settled(2))
    assert lines.flush() == []


def test_a_line_shows_the_receive_stamp_of_the_link(lines: Lines) -> None:
    lines.feed(*call(received(10, arp_reply(), at=7)))
    lines.flush()
    assert lines.out[0].now == 7


def test_the_answer_that_a_probe_sees_after_settled_joins_the_frame(lines: Lines) -> None:
    lines.feed(*call(received(10, echo_reply(), at=7)), ProbeAnswered(10, "10.0.0.2", 1, 57_000, ""))
    assert lines.flush() == ["< probe_answered"]


def test_an_answer_never_joins_the_next_packet_that_is_sent(lines: Lines) -> None:
    lines.feed(*call(received(10, echo_reply(1))), ProbeAnswered(10, "10.0.0.2", 1, 57_000, ""))
    lines.feed(ProbeSent(10, "10.0.0.2", 2), *call(sent(10, echo_request(2))))
    assert lines.flush() == ["< probe_answered", "> probe_sent"]


def test_an_answer_joins_only_the_line_of_the_same_call(lines: Lines) -> None:
    lines.feed(*call(received(10, echo_reply())), ProbeAnswered(11, "10.0.0.2", 1, 57_000, ""))
    assert lines.flush() == ["<", "! probe_answered"]


def test_an_answer_does_not_join_a_sent_frame(lines: Lines) -> None:
    lines.feed(*call(sent(10, echo_request())), ProbeAnswered(10, "10.0.0.2", 1, 57_000, ""))
    assert lines.flush() == [">", "! probe_answered"]


def test_probes_that_fail_with_their_neighbour_join_its_timer(lines: Lines) -> None:
    failed = [ProbeFailed(30, "10.0.0.99", seq, "Destination Host Unreachable") for seq in (1, 2)]
    lines.feed(*call(TimerFired(30, "arp", "10.0.0.99", 3)), *failed)
    assert lines.flush() == ["! timer_fired probe_failed probe_failed"]


def test_a_lost_probe_is_a_line_of_its_own_ahead_of_the_next_one(lines: Lines) -> None:
    lines.feed(*call(received(10, echo_reply())))
    lines.feed(ProbeSent(10, "10.0.0.2", 4), ProbeLost(10, "10.0.0.2", 3, 10**9), *call(sent(10, echo_request(4))))
    assert lines.flush() == ["<", "! probe_lost", "> probe_sent"]


def test_an_outcome_within_a_call_stays_with_its_frame(lines: Lines) -> None:
    lines.feed(*call(received(10, echo_reply()), ProbeAnswered(10, "10.0.0.2", 1, 5, "")))
    assert lines.flush() == ["< probe_answered"]


def test_what_the_wire_does_to_the_frame_just_sent_joins_it(lines: Lines) -> None:
    lines.feed(*call(sent(10, echo_request())), WireLost(10, "out", 1, echo_request(), "loss"))
    assert lines.flush() == ["> wire_lost"]


def test_what_the_wire_does_to_another_frame_is_a_line_of_its_own(lines: Lines) -> None:
    lines.feed(*call(sent(10, echo_request())), WireLost(10, "in", 1, echo_reply(), "loss"))
    assert lines.flush() == [">", "! wire_lost"]


def test_what_is_pending_belongs_to_no_frame_that_came_later(lines: Lines) -> None:
    lines.feed(PacketQueued(9, 0, IP_PEER, 1), *call(received(10, arp_reply())))
    assert lines.flush() == ["! packet_queued", "<"]


def test_a_second_frame_without_settled_ends_the_first(lines: Lines) -> None:
    lines.feed(sent(1, arp_request()), sent(2, echo_request()), received(3, echo_reply()))
    assert lines.flush() == [">", ">", "<"]


def test_a_settled_line_waits_for_the_next_event_or_for_flush(lines: Lines) -> None:
    lines.feed(*call(received(10, arp_reply())))
    assert lines.out == []
    lines.feed(*call(sent(11, echo_request())))
    assert shapes(lines.out) == ["<"]
    assert lines.flush() == ["<", ">"]
    assert lines.flush() == ["<", ">"]


def test_engines_that_share_a_trace_keep_their_calls_apart() -> None:
    lines, trace = Lines(), Trace()
    trace.subscribe(lines.assembler.on_event)
    assert trace.frame is not None
    emit = trace.frame
    for event in (
        *call(sent(1, echo_request())),
        *call(received(2, echo_request()), EchoAnswered(2, IP_PEER, 77, 1, 64)),
    ):
        emit(event)
    for event in (
        *call(sent(2, echo_reply())),
        *call(received(3, echo_reply())),
        ProbeAnswered(3, "10.0.0.2", 1, 2, ""),
    ):
        emit(event)
    assert lines.flush() == [">", "< echo_answered", ">", "< probe_answered"]


def test_engines_with_a_trace_each_are_told_apart_by_label() -> None:
    out: list[Line] = []
    router, host = Assembler(out.append, "router"), Assembler(out.append, "host")
    router.on_event(sent(1, arp_request()))
    host.on_event(received(1, arp_request()))
    router.on_event(Settled(1))
    host.on_event(Settled(1))
    router.flush()
    host.flush()
    assert [(line.label, line.mark) for line in out] == [("router", ">"), ("host", "<")]
