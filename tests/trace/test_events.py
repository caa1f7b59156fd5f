import pytest

from pytools.trace import events as trace


def classes() -> list[type[trace.TraceEvent]]:
    found = [kind for kind in vars(trace).values() if isinstance(kind, type) and issubclass(kind, trace.TraceEvent)]
    return [kind for kind in found if kind is not trace.TraceEvent]


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_every_event_is_a_slotted_record_with_a_name(kind: type[trace.TraceEvent]) -> None:
    assert kind.name
    assert kind.name.replace("_", "").isalpha()
    values = [f"value {number}" for number in range(len(kind.__slots__))]
    if kind in (trace.FrameReceived, trace.FrameSent):
        return
    event = kind(5, *values)
    assert event.now == 5
    assert [getattr(event, slot) for slot in kind.__slots__] == values
    assert not hasattr(event, "__dict__")


def test_fields_are_positional_and_all_must_be_given() -> None:
    with pytest.raises(ValueError, match="argument"):
        trace.TimerStopped(5, "arp")
    with pytest.raises(ValueError, match="argument"):
        trace.TimerStopped(5, "arp", "10.0.0.2", "surplus")


def test_frames_name_their_fields_because_they_are_made_most_often() -> None:
    received = trace.FrameReceived(5, 1, b"frame", 4, 2, 1448)
    assert (received.now, received.port, received.frame, received.at) == (5, 1, b"frame", 4)
    assert (received.checksum, received.gso_size) == (2, 1448)
    sent = trace.FrameSent(5, 1, (b"a", b"b"), 1448, 34, 16)
    assert (sent.port, sent.parts, sent.gso_size, sent.csum_start, sent.csum_offset) == (1, (b"a", b"b"), 1448, 34, 16)
