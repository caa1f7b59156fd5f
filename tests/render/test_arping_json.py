"""Records of arping and host: each as its definition in the shipped schema says."""

import io
import json

import pytest

from pytools.probe import arping_events as events
from pytools.probe import host as host_events
from pytools.probe.arping import ArpingConfig, ArpingEngine
from pytools.probe.arping_scan import ScanEngine
from pytools.probe.arping_watch import WatchEngine
from pytools.probe.arping_wire import Seen
from pytools.render.arping_json import ArpingJson, figures
from pytools.render.host_json import HostJson
from pytools.render.json_lines import JsonWriter
from pytools.units import MS, SECOND
from pytools.wire.addr import parse_ip
from tests.probe.arping_bench import NOBODY4, OTHER_MAC, OUR4, OUR6, PEER4, PEER_MAC, Bench, us4
from tests.render.schema import SCHEMA, is_valid, jsonschema

START = 5 * SECOND
SEEN = Seen(START, START, PEER4, PEER_MAC, OUR4, b"", PEER_MAC, is_request=False, is_broadcast=False)
IN_THEIR_OWN_WORDS = [
    (
        events.ArpingSent(START, PEER4, 1, "question", True),
        "arping_sent",
        {"event": "sent", "t_ns": 0, "target": "10.0.0.2", "seq": 1, "kind": "question", "broadcast": True},
    ),
    (
        events.ArpingAnswered(SEEN, PEER4, 1, 1_234_567),
        "arping_reply",
        {
            "event": "reply",
            "t_ns": 0,
            "target": "10.0.0.2",
            "seq": 1,
            "from": "10.0.0.2",
            "mac": "02:00:00:00:00:02",
            "kind": "reply",
            "broadcast": False,
            "for_ip": None,
            "for_mac": None,
            "rtt_ms": 1.234567,
        },
    ),
    (
        events.ArpingMissed(START, PEER_MAC, 2, 1500 * MS),
        "arping_lost",
        {"event": "lost", "t_ns": 0, "target": "02:00:00:00:00:02", "seq": 2, "waited_ms": 1500.0},
    ),
    (
        events.ArpingConflict(START, PEER4, (PEER_MAC, OTHER_MAC), "both answer"),
        "conflict",
        {
            "event": "conflict",
            "t_ns": 0,
            "address": "10.0.0.2",
            "macs": ["02:00:00:00:00:02", "02:00:00:00:00:03"],
            "why": "both answer",
        },
    ),
    (
        events.ArpingMoved(START, PEER4, PEER_MAC, OTHER_MAC, 2500 * MS),
        "arping_moved",
        {
            "event": "moved",
            "t_ns": 0,
            "address": "10.0.0.2",
            "old_mac": "02:00:00:00:00:02",
            "mac": "02:00:00:00:00:03",
            "silent_s": 2.5,
        },
    ),
    (
        events.ArpingVerdict(START, parse_ip("fd00::5"), b"", True),
        "arping_verdict",
        {"event": "verdict", "t_ns": 0, "address": "fd00::5", "free": True, "mac": None, "announced": True},
    ),
    (
        events.ArpingSendFailed(START, PEER4, 100, True),
        "arping_error",
        {"event": "error", "t_ns": 0, "target": "10.0.0.2", "error": "ENETDOWN", "final": True},
    ),
]
OF_HOST = [
    (
        host_events.HostReady(START, (OUR4, OUR6)),
        "host_ready",
        {
            "event": "ready",
            "t_ns": 0,
            "addresses": ["10.0.0.1", "fd00::1"],
            "interface": "tap0",
            "mac": "02:00:00:00:00:02",
        },
    ),
    (
        host_events.HostAsked(START, bytes(4), PEER_MAC, OUR4),
        "host_asked",
        {"event": "asked", "t_ns": 0, "from": None, "mac": "02:00:00:00:00:02", "target": "10.0.0.1"},
    ),
    (
        host_events.HostPinged(START, PEER4, 7, 1, 64),
        "host_pinged",
        {"event": "pinged", "t_ns": 0, "from": "10.0.0.2", "ident": 7, "seq": 1, "length": 64},
    ),
    (
        host_events.HostComplained(START, PEER4, 4, 3, 3, 0),
        "host_complained",
        {
            "event": "complained",
            "t_ns": 0,
            "to": "10.0.0.2",
            "type": 3,
            "code": 3,
            "info": 0,
            "words": "UNREACH port",
        },
    ),
    (
        host_events.HostConflict(START, OUR4, OTHER_MAC, "defended"),
        "conflict",
        {"event": "conflict", "t_ns": 0, "address": "10.0.0.1", "macs": ["02:00:00:00:00:03"], "why": "defended"},
    ),
]


def record_of(make, event):
    stream = io.StringIO()
    renderer = make(JsonWriter(stream, START))
    if isinstance(renderer, HostJson):
        renderer.place("tap0", PEER_MAC)
    renderer.on_event(event)
    return json.loads(stream.getvalue())


def named(cases, make):
    return [pytest.param(make, *case, id=case[1]) for case in cases]


@pytest.mark.parametrize(
    ("make", "event", "definition", "fields"), named(IN_THEIR_OWN_WORDS, ArpingJson) + named(OF_HOST, HostJson)
)
def test_each_event_is_a_record_of_the_schema(make, event, definition, fields):
    record = record_of(make, event)
    assert record == {"v": 1, **fields}
    jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{definition}"}]}).validate(record)
    assert is_valid(record)


def test_the_end_names_what_was_found():
    bench = Bench()
    bench.peer(PEER4)
    e = ArpingEngine(bench.stack, bench.port, PEER4, ArpingConfig(us4(), count=2))
    bench.run(e)
    found = figures(e)
    assert (found["sent"], found["broadcasts_sent"], found["received"]) == (2, 1, 2)
    assert (found["min_ms"], found["max_ms"]) == (0.0, 0.0)


def test_the_end_of_a_run_without_an_answer_has_null_for_times():
    bench = Bench()
    e = ScanEngine(bench.stack, bench.port, [NOBODY4], us4(), interval_ns=MS, tries=1)
    bench.run(e)
    found = figures(e)
    assert (found["answered_count"], found["duplicate_count"]) == (0, 0)
    assert {found[name] for name in ("min_ms", "avg_ms", "max_ms", "mdev_ms", "p99_ms")} == {None}


def test_a_watch_counts_conflicts_and_moves():
    bench = Bench()
    e = WatchEngine(bench.stack, bench.port, us4(), deadline_ns=SECOND)
    bench.run(e)
    assert {key: figures(e)[key] for key in ("address_count", "conflict_count", "move_count")} == {
        "address_count": 0,
        "conflict_count": 0,
        "move_count": 0,
    }


def test_quiet_leaves_ready_and_conflicts():
    stream = io.StringIO()
    renderer = HostJson(JsonWriter(stream, START), quiet=True)
    for event, _, _ in OF_HOST:
        renderer.on_event(event)
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == ["ready", "conflict"]
