import io
import json
from typing import Any

import pytest

from pytools.engine import CHECKSUM_PARTIAL, RAW_IP, Port
from pytools.render.json_lines import JsonWriter
from pytools.render.json_trace import FIELDS, JsonTrace
from pytools.trace.events import (
    FrameReceived,
    FrameSent,
    IcmpErrorReceived,
    NeighborChanged,
    Settled,
    TimerSet,
    TraceEvent,
)
from pytools.trace.hub import CATEGORIES, Trace
from pytools.units import SECOND
from tests.render import frames, samples
from tests.render.schema import SCHEMA, assert_valid, is_valid

PORTS = [Port(0, "veth0", mac=frames.OURS), Port(1, "wg0", RAW_IP)]
START = 2 * SECOND


def rendered(*events: TraceEvent, level: int = 1) -> list[dict[str, Any]]:
    stream = io.StringIO()
    tracer = JsonTrace(JsonWriter(stream, START), PORTS, level)
    for event in events:
        tracer.on_event(event)
    tracer.flush()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_class_of_event_has_a_row_and_a_definition() -> None:
    assert set(FIELDS) | {FrameReceived, FrameSent} == samples.event_classes()
    assert {kind.name for kind in samples.event_classes()} <= set(SCHEMA["$defs"])


def test_every_slot_of_an_event_is_in_its_record() -> None:
    for kind, fields in FIELDS.items():
        assert sorted(slot for _, slot, _ in fields) == sorted(kind.__slots__), kind


@pytest.mark.parametrize("level", [1, 3])
@pytest.mark.parametrize("event", [event for event, _ in samples.WORDS], ids=lambda event: event.name)
def test_every_event_renders_to_a_valid_record(event: TraceEvent, level: int) -> None:
    (record,) = rendered(event, level=level)
    assert record["event"] == event.name
    assert record["t_ns"] == event.now - START
    assert_valid(record)


def test_the_schema_is_a_schema_and_knows_each_event_once() -> None:
    from jsonschema import Draft202012Validator

    Draft202012Validator.check_schema(SCHEMA)
    listed = [entry["$ref"].removeprefix("#/$defs/") for entry in SCHEMA["anyOf"]]
    assert len(set(listed)) == len(listed)
    generic = SCHEMA["$defs"]["probe_record"]["properties"]["event"]["not"]["enum"]
    assert sorted(listed) == sorted([*generic, "probe_record"])


@pytest.mark.parametrize(
    "change",
    [
        {"t_ns": 1.5},
        {"v": 2},
        {"surplus": 1},
        {"mac": "02-00-00-00-00-02"},
        {"address": b"".hex()},
        {"event": "Neighbor"},
    ],
)
def test_the_schema_refuses_what_is_wrong(change: dict[str, Any]) -> None:
    (record,) = rendered(NeighborChanged(START, 0, samples.IP, samples.MAC, "", "REACHABLE", ""))
    assert is_valid(record)
    assert not is_valid({**record, **change})


def test_the_schema_holds_results_of_commands_to_units_in_names() -> None:
    reply = {"v": 1, "event": "reply", "t_ns": 5, "rtt_ms": 0.057, "seq": 1}
    assert is_valid(reply)
    assert not is_valid({**reply, "rtt_ms": "0.057"})
    assert not is_valid({**reply, "sent_count": 1.5})


def test_a_frame_has_its_words_and_from_three_v_its_octets() -> None:
    frame = frames.arp_reply()
    event = frames.received(START + 100, frame, at=START + 60, checksum=CHECKSUM_PARTIAL)
    expected = {
        "v": 1,
        "event": "frame_received",
        "t_ns": 100,
        "at_ns": 60,
        "port": 0,
        "interface": "veth0",
        "length": 42,
        "gso_size": 0,
        "checksum": "partial",
        "packet": "ARP 10.0.0.2 is-at 02:00:00:00:00:02",
    }
    assert rendered(event) == [expected]
    assert rendered(event, level=3) == [{**expected, "frame": frame.hex()}]


def test_a_sent_frame_is_joined_and_read_as_its_port_says() -> None:
    packet = frames.echo_packet()
    (record,) = rendered(frames.sent(START, packet[:20], packet[20:], port=1, csum=(20, 2)))
    assert record["packet"] == "ECHO id 77 seq 1 len 64 ttl 64 DF 10.0.0.10 > 10.0.0.2"
    assert record["checksum"] == "partial"
    assert record["interface"] == "wg0"


def test_a_frame_of_a_port_that_nobody_named_has_no_interface() -> None:
    (record,) = rendered(frames.sent(START, frames.arp_request(), port=9))
    assert record["interface"] is None
    assert_valid(record)


def test_a_port_that_came_later_has_its_name() -> None:
    stream = io.StringIO()
    tracer = JsonTrace(JsonWriter(stream, START), PORTS)
    tracer.add_port(Port(9, "tun9", RAW_IP))
    tracer.on_event(frames.sent(START, frames.echo_packet(), port=9))
    assert json.loads(stream.getvalue())["interface"] == "tun9"


def test_instants_count_from_the_start_like_t_ns() -> None:
    assert rendered(TimerSet(START, "arp", "10.0.0.2", START + SECOND))[0]["at_ns"] == SECOND


def test_an_icmp_error_is_said_in_words_too() -> None:
    (record,) = rendered(IcmpErrorReceived(START, 4, samples.ROUTER, 3, 4, 1280, "echo id 77 seq 1 to 10.0.0.99"))
    assert record == {
        "v": 1,
        "event": "icmp_error_received",
        "t_ns": 0,
        "family": 4,
        "type": 3,
        "code": 4,
        "src": "10.0.0.1",
        "info": 1280,
        "about": "echo id 77 seq 1 to 10.0.0.99",
        "words": "UNREACH frag-needed",
    }


def test_the_end_of_each_call_is_told_from_three_v_on() -> None:
    for level, told in ((1, False), (2, False), (3, True)):
        stream, trace = io.StringIO(), Trace()
        tracer = JsonTrace(JsonWriter(stream, 0), PORTS, level)
        trace.subscribe(tracer.on_event, tracer.categories)
        assert set(tracer.categories) | {"settle"} == set(CATEGORIES)
        assert (trace.settle is not None) == told
        if trace.settle is not None:
            trace.settle(Settled(0))
            assert json.loads(stream.getvalue())["event"] == "settled"


class Broken(io.StringIO):
    """A stream on a full device."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_failing_stream_is_reported_by_flush_not_by_the_engine() -> None:
    tracer = JsonTrace(JsonWriter(Broken(), 0), PORTS)
    tracer.on_event(Settled(0))
    tracer.on_event(Settled(1))
    with pytest.raises(OSError, match="No space left"):
        tracer.flush()


def test_nothing_follows_the_end_record() -> None:
    stream = io.StringIO()
    writer = JsonWriter(stream, 0)
    tracer = JsonTrace(writer, PORTS)
    writer.end(0, 0, "count")
    tracer.on_event(Settled(0))
    assert len(stream.getvalue().splitlines()) == 1
