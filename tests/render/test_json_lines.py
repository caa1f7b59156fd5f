import io
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytools import __version__
from pytools.errors import LinkError, PytoolsError
from pytools.render.json_lines import JsonWriter, encode_record, milliseconds
from pytools.units import MS, SECOND
from tests.render.schema import assert_valid

START = 5 * SECOND


def writer() -> tuple[JsonWriter, io.StringIO]:
    stream = io.StringIO()
    return JsonWriter(stream, START), stream


def records(stream: io.StringIO) -> list[dict[str, Any]]:
    text = stream.getvalue()
    assert text == "" or text.endswith("\n")
    found = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    for record in found:
        assert_valid(record)
    return found


def test_the_envelope_has_version_event_and_time_since_the_start() -> None:
    out, stream = writer()
    out.record("reply", START + 20_057_123, target="10.0.0.2", seq=1, rtt_ms=milliseconds(20_057_123))
    assert stream.getvalue() == (
        '{"v":1,"event":"reply","t_ns":20057123,"target":"10.0.0.2","seq":1,"rtt_ms":20.057123}\n'
    )
    records(stream)


def test_start_has_the_arguments_the_version_and_the_wall_clock() -> None:
    out, stream = writer()
    out.start("ping", ["-c", "1", "10.0.0.2"], epoch_ns=1_800_000_000_000_000_000, via="sim", mtu=1500)
    assert records(stream) == [
        {
            "v": 1,
            "event": "start",
            "t_ns": 0,
            "command": "ping",
            "arguments": ["-c", "1", "10.0.0.2"],
            "version": __version__,
            "epoch_ns": 1_800_000_005_000_000_000,
            "via": "sim",
            "mtu": 1500,
        }
    ]


def test_end_has_status_and_reason_and_comes_once() -> None:
    out, stream = writer()
    out.end(START + SECOND, 1, "deadline", sent_count=3)
    out.end(START + 2 * SECOND, 0, "count")
    out.record("reply", START + 2 * SECOND, seq=1)
    assert records(stream) == [
        {"v": 1, "event": "end", "t_ns": SECOND, "exit_status": 1, "reason": "deadline", "sent_count": 3}
    ]


@pytest.mark.parametrize(
    ("error", "status", "fields"),
    [
        (KeyboardInterrupt(), 1, {"reason": "interrupted"}),
        (LinkError("nosuch0: no such interface"), 2, {"reason": "error", "message": "nosuch0: no such interface"}),
        (RuntimeError("a bug"), 2, {"reason": "error", "message": "a bug"}),
        (MemoryError(), 2, {"reason": "error", "message": "MemoryError"}),
    ],
)
def test_fatal_errors_end_with_a_record(error: BaseException, status: int, fields: dict[str, str]) -> None:
    out, stream = writer()
    out.record("sent", START + MS, seq=1)
    assert out.end_with(error) == status
    assert records(stream)[-1] == {"v": 1, "event": "end", "t_ns": MS, "exit_status": status, **fields}


def test_an_error_that_brings_its_status_keeps_it() -> None:
    class NoAnswerError(PytoolsError):
        exit_status = 1

    out, stream = writer()
    assert out.end_with(NoAnswerError("no"), START) == 1
    assert records(stream)[0]["exit_status"] == 1


def test_a_closed_pipe_gets_no_end() -> None:
    out, stream = writer()
    assert out.end_with(BrokenPipeError()) == 1
    out.end(START, 0, "count")
    assert stream.getvalue() == ""


def test_what_is_no_number_is_null() -> None:
    out, stream = writer()
    out.record("stats", START, p50_ms=math.nan, max_ms=math.inf, nested=[{"x_ms": -math.inf}], fine_ms=0.5)
    assert records(stream)[0] == {
        "v": 1,
        "event": "stats",
        "t_ns": 0,
        "p50_ms": None,
        "max_ms": None,
        "nested": [{"x_ms": None}],
        "fine_ms": 0.5,
    }


def test_octets_that_were_no_utf8_are_shown_as_such() -> None:
    out, stream = writer()
    out.record("name", START, name="caf\udce9", pair=("\ud83d", 1), key={"\udcff": 1}, smile="\U0001f600")
    line = stream.getvalue()
    assert records(stream)[0]["name"] == "caf\\xe9"
    assert records(stream)[0]["pair"] == ["\\ud83d", 1]
    assert records(stream)[0]["smile"] == "\U0001f600"
    line.encode("ascii")


def test_octets_and_sets_have_a_form_too() -> None:
    out, stream = writer()
    out.record("odd", START, octets=b"\x00\xff", ports={2, 1}, error=ValueError("x"))
    assert stream.getvalue() == '{"v":1,"event":"odd","t_ns":0,"octets":"00ff","ports":[1,2],"error":"x"}\n'


def test_control_characters_never_appear_raw() -> None:
    line = encode_record({"name": "\x1b[31m\u202e\n\x7f\x9b"})
    assert line == '{"name":"\\u001b[31m\\u202e\\n\x7f\\u009b"}'.replace("\x7f", "\\u007f")


@given(
    st.dictionaries(
        st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists)
    )
)
def test_any_record_is_one_line_of_printable_ascii_that_strict_readers_take(record: dict[str, Any]) -> None:
    line = encode_record(record)
    assert line.isascii()
    assert line.isprintable()
    json.loads(line, parse_constant=pytest.fail)


@given(st.integers(0, 10**15))
def test_milliseconds_give_the_nanoseconds_back(duration_ns: int) -> None:
    ms = milliseconds(duration_ns)
    assert ms is not None
    assert round(ms * 1e6) == duration_ns


def test_unknown_durations_stay_unknown() -> None:
    assert milliseconds(None) is None


class Counting(io.StringIO):
    """Counts flushes."""

    flushes = 0

    def flush(self) -> None:
        self.flushes += 1


def test_each_record_is_flushed_unless_told_otherwise() -> None:
    eager, lazy = Counting(), Counting()
    for stream, flush_each in ((eager, True), (lazy, False)):
        out = JsonWriter(stream, 0, flush_each=flush_each)
        for seq in range(3):
            out.record("sent", seq, seq=seq)
    assert (eager.flushes, lazy.flushes) == (3, 0)
    out.end(4, 0, "count")
    assert lazy.flushes == 1
