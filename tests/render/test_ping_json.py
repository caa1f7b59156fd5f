"""Every record of ping is what the schema says of it, whatever happened."""

import csv
import errno
import io
import json
from functools import cache
from typing import Any

import pytest

from pytools.probe import ping_events as events
from pytools.probe.ping_events import Summary
from pytools.probe.statistics import Histogram, Jitter
from pytools.render.json_lines import JsonWriter
from pytools.render.ping_json import CSV_COLUMNS, PingCsv, PingJson, histogram_field, summary_fields
from pytools.units import MS, SECOND
from pytools.wire.addr import parse_ip
from tests.render.schema import SCHEMA, is_valid, jsonschema

HOST, ROUTER, HOST6 = parse_ip("10.9.1.2"), parse_ip("10.9.0.2"), parse_ip("fd00::2")
NAMES = ("web.example", "evil\x1b[2J\"',\n")
START = 5 * SECOND
DEFINITIONS = {
    "sent": "ping_sent",
    "reply": "ping_reply",
    "dup": "ping_reply",
    "error": "ping_error",
    "lost": "ping_lost",
    "no_answer_yet": "ping_no_answer_yet",
    "alive": "ping_alive",
    "unreachable": "ping_unreachable",
    "warning": "ping_warning",
    "interim": "ping_figures",
    "summary": "ping_figures",
}


@cache
def validator(name: str) -> Any:
    return jsonschema.Draft202012Validator({**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{name}"}]})


def records(*given: events.EngineEvent) -> list[dict[str, Any]]:
    out = io.StringIO()
    json_out = PingJson(JsonWriter(out, START), NAMES.__getitem__, (HOST, HOST6))
    for event in given:
        json_out.on_event(event)
    lines = out.getvalue().splitlines()
    assert all(line.isascii() and line.isprintable() for line in lines)
    found = [json.loads(line) for line in lines]
    for record in found:
        validator(DEFINITIONS[record["event"]]).validate(record)
        assert is_valid(record)
    return found


def reply(**fields: Any) -> events.Replied:
    defaults: dict[str, Any] = {
        "src": HOST,
        "rtt_ns": 397_250,
        "length": 64,
        "ttl": 63,
        "tos": 0,
        "ident": 77,
        "size": 56,
    }
    defaults.update(fields)
    return events.Replied(START + MS, 0, 1, **defaults)


def test_a_reply_has_numbers_as_numbers() -> None:
    assert records(reply()) == [
        {
            "v": 1,
            "event": "reply",
            "t_ns": MS,
            "target": "web.example",
            "seq": 1,
            "from": "10.9.1.2",
            "rtt_ms": 0.39725,
            "bytes": 64,
            "ttl": 63,
            "tos": 0,
            "ident": 77,
        }
    ]


def test_an_unknown_time_is_null() -> None:
    assert records(reply(rtt_ns=None))[0]["rtt_ms"] is None


@pytest.mark.parametrize(
    ("flags", "event", "words"),
    [
        (events.DUPLICATE, "dup", set()),
        (events.TRUNCATED, "reply", {"truncated"}),
        (events.BAD_CHECKSUM, "reply", {"bad_checksum"}),
        (events.DIFFERENT_ADDRESS | events.LATE, "reply", {"different_address", "late"}),
    ],
)
def test_what_is_odd_is_a_field(flags: int, event: str, words: set[str]) -> None:
    (record,) = records(reply(flags=flags))
    assert record["event"] == event
    assert {key for key, value in record.items() if value is True} == words


def test_wrong_data_comes_with_the_payload() -> None:
    payload = bytes(range(40)) + b"\x7d" + bytes(15)
    (record,) = records(reply(wrong_at=40, expected=0x28, payload=payload))
    assert record["wrong_data"] == {"offset": 40, "expected": 0x28, "got": 0x7D}
    assert record["payload"] == payload.hex()


def test_a_recorded_route_is_a_list() -> None:
    (record,) = records(reply(options=bytes([7, 39, 12]) + ROUTER + HOST + bytes(28) + b"\0"))
    assert record["route"] == ["10.9.0.2", "10.9.1.2"]


def test_recorded_times_are_a_list() -> None:
    entry = ROUTER + (27_457_922).to_bytes(4, "big")
    (record,) = records(reply(options=bytes([68, 12, 13, 0x21]) + entry))
    assert record["timestamps"] == [{"address": "10.9.0.2", "since_midnight_ms": 27_457_922}]
    assert record["unrecorded_hops"] == 2


def test_options_that_make_no_sense_are_given_as_octets() -> None:
    (record,) = records(reply(options=b"\x07\x63\x08\x00"))
    assert record["ip_options"] == "07630800"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ((4, 3, 1, 0), {"kind": "icmp", "message": "Destination Host Unreachable"}),
        ((4, 3, 4, 1280), {"mtu": 1280, "message": "Frag needed and DF set (mtu = 1280)"}),
        ((4, 12, 0, 20), {"pointer": 20}),
        ((4, 4, 0, 0), {"kind": "notice", "message": "Source Quench"}),
        ((6, 2, 0, 1280), {"mtu": 1280}),
        ((6, 4, 1, 40), {"pointer": 40}),
    ],
)
def test_errors_name_type_code_and_words(fields: tuple[int, int, int, int], expected: dict[str, Any]) -> None:
    family, type_, code, info = fields
    event = events.ErrorReported(START, 0, 1, ROUTER if family == 4 else HOST6, family, type_, code, info)
    (record,) = records(event)
    assert (record["type"], record["code"]) == (type_, code)
    assert expected.items() <= record.items()


def test_a_redirect_names_its_gateway() -> None:
    (record,) = records(events.ErrorReported(START, 0, 1, ROUTER, 4, 5, 1, 0, HOST))
    assert (record["kind"], record["gateway"]) == ("notice", "10.9.1.2")


def test_refusals_of_our_own_side_are_errors_too() -> None:
    (record,) = records(events.SendRefused(START, 0, 1, 4, errno.EMSGSIZE, 1500))
    assert (record["kind"], record["errno"], record["mtu"]) == ("local", "EMSGSIZE", 1500)
    assert "mtu" not in records(events.SendRefused(START, 0, 1, 4, errno.EPERM))[0]


def test_all_other_events_have_their_records() -> None:
    found = records(
        events.ProbeSent(START, 0, 1, 56),
        events.NoAnswerYet(START, 0, 1),
        events.Lost(START, 0, 1, 1500 * MS),
        events.TargetDone(START, 0, 1, True, 54_000),
        events.TargetDone(START, 0, 4, False, None),
        events.ClockWarning(START, 5 * MS),
    )
    assert [record["event"] for record in found] == ["sent", "no_answer_yet", "lost", "alive", "unreachable", "warning"]
    assert found[2]["waited_ms"] == 1500.0
    assert found[3]["rtt_ms"] == 0.054


def test_names_come_through_as_they_are() -> None:
    (record,) = records(events.Lost(START, 1, 1, MS))
    assert record["target"] == NAMES[1]


def figures(summary: Summary) -> dict[str, Any]:
    out = io.StringIO()
    PingJson(JsonWriter(out, START), NAMES.__getitem__, (HOST,)).figures("summary", START, [summary])
    record: dict[str, Any] = json.loads(out.getvalue())
    validator("ping_figures").validate(record)
    return record


def measured(*samples_us: int) -> Summary:
    summary = Summary("web.example", HOST)
    summary.sent = summary.received = len(samples_us)
    summary.histogram, summary.jitter = Histogram(), Jitter()
    for sample in samples_us:
        summary.rtt.add(sample)
        summary.histogram.add(sample * 1000)
        summary.jitter.add(sample)
    return summary


def test_figures_without_a_probe_are_null() -> None:
    record = figures(Summary("web.example", HOST))
    assert (record["loss_percent"], record["min_ms"], record["mdev_ms"]) == (None, None, None)


def test_figures_are_those_of_the_text() -> None:
    record = figures(measured(397, 76))
    assert [record[f"{word}_ms"] for word in ("min", "avg", "max", "mdev")] == [0.076, 0.236, 0.397, 0.160]
    assert record["p50_ms"] == pytest.approx(0.076, rel=0.01)
    assert record["p99_ms"] == pytest.approx(0.397, rel=0.01)
    assert record["jitter_ms"] == pytest.approx(0.321 / 16, abs=0.001)


def test_a_group_of_targets_has_no_address() -> None:
    assert summary_fields(Summary("", b""))["address"] is None


def test_the_histogram_is_its_buckets() -> None:
    assert histogram_field(measured(100, 100)) == [{"from_ms": 0.099328, "to_ms": 0.100352, "count": 2}]
    assert histogram_field(Summary("a", HOST)) == []


def test_csv_rows_can_be_read_back() -> None:
    out = io.StringIO()
    table = PingCsv(out.write, NAMES.__getitem__, 1_700_000_000 * SECOND)
    table.header()
    for event in (
        events.ProbeSent(START, 0, 1, 56),
        reply(flags=events.DIFFERENT_ADDRESS),
        events.ErrorReported(START, 0, 2, ROUTER, 4, 3, 4, 1280),
        events.Lost(START, 1, 3, SECOND),
        events.SendRefused(START, 0, 4, 4, errno.EMSGSIZE, 1500),
    ):
        table.on_event(event)
    rows = list(csv.DictReader(io.StringIO(out.getvalue())))
    assert tuple(rows[0]) == CSV_COLUMNS
    assert [row["event"] for row in rows] == ["reply", "error", "lost", "error"]
    assert rows[0]["time"] == "1700000005.001000"
    assert (rows[0]["rtt_ms"], rows[0]["ttl"], rows[0]["detail"]) == ("0.397", "63", "different_address")
    assert rows[1]["detail"] == "Frag needed and DF set (mtu = 1280)"
    assert rows[2]["target"] == "evil\\x1b[2J\"',\\n"
    assert rows[3]["detail"] == "Message too long"
