"""The command: what it prints, and its exit status."""

import csv
import io
import json
from pathlib import Path

import pytest

from pytools.cli.app import run

LAB = Path(__file__).parents[2] / "../shared/captures/lab"
pytestmark = pytest.mark.skipif(not LAB.is_dir(), reason="the captures with ground truth are not there")
FILE = str(LAB / "drop1_sack/snd.pcap")


def retxstat(capsys, *arguments):
    status = run(["pytools", "retxstat", *arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_the_table_has_the_flow_the_total_and_why(capsys):
    status, out, err = retxstat(capsys, FILE)
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert lines[1].split()[:4] == ["FLOW", "SEGS", "BYTES", "RETX"]
    assert lines[2].startswith("10.77.0.1:40010>10.77.0.2:5601 ")
    assert lines[3].startswith("TOTAL")
    assert lines[4] == "why: 100 % fast"


def test_events_as_json_are_one_object_a_retransmission(capsys):
    _, out, _ = retxstat(capsys, "--events", "--json", FILE)
    records = [json.loads(line) for line in out.splitlines()]
    assert [record["event"] for record in records] == ["start", "retransmission", "capture", "end"]
    event = records[1]
    (frame,) = map(int, json.loads((LAB / "drop1_sack/labels.json").read_text()))
    assert (event["frame"], event["cause"], event["by"], event["len"]) == (frame, "fast", "sack", 1448)
    assert event["original_frame"] < frame
    assert {"seq", "confidence", "evidence"} <= set(event)


def test_csv_has_a_heading_and_a_row_a_direction(capsys):
    _, out, _ = retxstat(capsys, "--csv", FILE)
    (row,) = csv.DictReader(io.StringIO(out))
    assert (row["retx_packets"], row["retx_fast"], row["tap_side"]) == ("1", "1", "sender")


def test_a_frame_is_explained(capsys):
    (frame,) = json.loads((LAB / "drop1_sack/labels.json").read_text())
    status, out, _ = retxstat(capsys, "--explain", frame, FILE)
    assert status == 0
    assert "retransmission, fast (by sack)" in out
    assert retxstat(capsys, "--explain", "1", FILE)[1] == "frame 1: not a retransmission\n"


@pytest.mark.parametrize(
    ("condition", "status"), [("retx>0", 1), ("retx>1", 0), ("rto>=1", 0), ("retx>1%", 0), ("fast==1", 1)]
)
def test_a_condition_decides_the_exit_status(capsys, condition, status):
    assert retxstat(capsys, "--fail-if", condition, FILE)[0] == status


def test_a_filter_leaves_others_out(capsys):
    assert len(retxstat(capsys, "--events", "--filter", "port 40010", FILE)[1].splitlines()) == 1
    assert retxstat(capsys, "--events", "--filter", "host 10.9.9.9", FILE)[1] == ""
    assert retxstat(capsys, "--events", "--filter", "cause rto", FILE)[1] == ""


@pytest.mark.parametrize(
    "arguments",
    [["/none"], ["--fail-if", "retx", FILE], ["--filter", "port x", FILE], ["--explain", "0", FILE], [__file__]],
)
def test_what_cannot_be_done_is_one_line_and_status_2(capsys, arguments):
    status, out, err = retxstat(capsys, *arguments)
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_a_file_that_is_cut_is_reported_as_far_as_it_goes(capsys):
    status, out, err = retxstat(capsys, str(LAB.parent / "derived/cut_last_record.pcap"))
    assert status == 0
    assert "TOTAL" in out
    assert err.endswith("cut in the middle of record 2454; what was read is reported\n")
