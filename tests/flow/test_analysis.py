"""Counts and causes against the kernel's own word: captures of Linux TCP with their tracepoints joined to frames."""

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from pytools.flow.analysis import Analysis, option_at, sack_edges, timestamps
from pytools.link.capture_file import CaptureFile

CAPTURES = Path(__file__).parents[2] / "../shared/captures"
LAB = sorted(path.parent for path in CAPTURES.glob("lab/*/labels.json"))
EDITED = ["midstream_reno3", "snap58_cubic10", "bigendian_multiflow8", "vlan_reno3nosack", "rawip_drop4"]
PROBES = ("keepalive", "zwprobe")
needs_captures = pytest.mark.skipif(not LAB, reason="the captures with ground truth are not there")


def analysed(path: Path) -> Analysis:
    analysis = Analysis(keep_events=True)
    with CaptureFile(str(path)) as capture:
        analysis.feed(capture)
    return analysis


def labels(scenario: Path) -> dict[int, str]:
    return {int(frame): label for frame, label in json.loads((scenario / "labels.json").read_text()).items()}


@needs_captures
@pytest.mark.parametrize("scenario", LAB, ids=lambda path: path.name)
def test_the_sender_side_has_exactly_the_frames_that_the_kernel_sent_again(scenario):
    truth = {frame for frame, label in labels(scenario).items() if label not in PROBES}
    assert {event.frame for event in analysed(scenario / "snd.pcap").events} == truth


@needs_captures
@pytest.mark.parametrize("scenario", LAB, ids=lambda path: path.name)
def test_keepalives_and_zero_window_probes_are_counted_as_such(scenario):
    truth = Counter(labels(scenario).values())
    directions = list(analysed(scenario / "snd.pcap").directions())
    assert sum(d.keepalives for d in directions) == truth["keepalive"]
    assert sum(d.zwprobes for d in directions) == truth["zwprobe"]


@needs_captures
def test_the_causes_are_the_kernels():
    wanted: Counter[str] = Counter()
    agreed: Counter[str] = Counter()
    for scenario in LAB:
        found = {event.frame: event.cause for event in analysed(scenario / "snd.pcap").events}
        for frame, label in labels(scenario).items():
            if label not in PROBES:
                wanted[label] += 1
                agreed[label] += found[frame] == label
    assert agreed.total() >= 0.985 * wanted.total()
    for label, count in wanted.items():
        assert count - agreed[label] <= (count * 0.1 if count >= 10 else 1), label


@needs_captures
def test_the_receiver_side_finds_what_can_be_seen_and_nothing_else():
    found = missed = false = 0
    for scenario in LAB:
        events = json.loads((scenario / "truth.json").read_text())["relay_events"]
        truth = Counter((e["sp"], e["seq"]) for e in events if e.get("rex") and e.get("a") != "drop")
        got = Counter(
            (int.from_bytes(e.direction.key[-4:-2], "big"), e.seq) for e in analysed(scenario / "rcv.pcap").events
        )
        found += (truth & got).total()
        missed += (truth - got).total()
        false += (got - truth).total()
    assert false == 0
    assert found >= 0.95 * (found + missed)  # a lost tail, sent again, looks like new data there


@needs_captures
def test_network_duplicates_at_the_receiver_are_no_retransmissions():
    directions = list(analysed(CAPTURES / "lab/netdup/rcv.pcap").directions())
    assert sum(d.resends for d in directions) == 0
    assert sum(d.duplicates_network + d.duplicates_capture for d in directions) == 28


@needs_captures
@pytest.mark.parametrize("name", EDITED)
def test_an_edited_copy_has_the_retransmissions_of_its_source(name):
    truth = json.loads((CAPTURES / "derived/TRUTH.json").read_text())[f"{name}.pcap"]
    assert len(analysed(CAPTURES / f"derived/{name}.pcap").events) == truth["expected_retransmissions"]


@needs_captures
def test_packets_captured_twice_are_not_sent_twice():
    once = CaptureFile(str(CAPTURES / "lab/cubic_1pct/snd.pcap"))
    analysis = Analysis(keep_events=True)
    analysis.feed(record for one in once for record in (one, (one[0] + 3000, *one[1:])))
    truth = labels(CAPTURES / "lab/cubic_1pct")
    assert [event.frame for event in analysis.events] == [2 * frame - 1 for frame in sorted(truth)]
    assert sum(d.duplicates_capture for d in analysis.directions()) > 1000


@needs_captures
@pytest.mark.parametrize("path", sorted(CAPTURES.glob("real/*")), ids=lambda path: path.name)
def test_a_real_capture_is_read_to_its_end(path):
    analysis = Analysis()
    with CaptureFile(str(path)) as capture:
        analysis.feed(capture)
    assert capture.damage is None
    rows = (line.split("\t") for line in (CAPTURES / "MANIFEST.tsv").read_text().splitlines())
    assert analysis.frames == next(int(row[8]) for row in rows if row[0] == f"real/{path.name}")


@needs_captures
def test_beyond_the_cap_the_oldest_flows_are_left_out_and_counted():
    analysis = Analysis(max_flows=2)
    with CaptureFile(str(CAPTURES / "lab/multiflow8_2pct/snd.pcap")) as capture:
        analysis.feed(capture)
    assert analysis.flow_count() == 2
    assert analysis.evicted >= 6


def test_options_that_are_cut_or_damaged_end_the_search():
    assert option_at(bytes.fromhex("0101050a0000"), 8) == -1
    assert option_at(b"\x05\x00", 8) == -1
    assert timestamps(bytes.fromhex("080a00000001")) is None
    assert sack_edges(b"\x05") == []


def test_sack_edges_are_read_behind_timestamps():
    options = bytes.fromhex("0101080a00000001000000020101050a0000000100000002")
    assert timestamps(options) == (1, 2)
    assert sack_edges(options) == [1, 2]


@needs_captures
@pytest.mark.parametrize("name", ["cubic_20pct_both", "v6_2pct", "sll_2pct", "zerowin"])
def test_damaged_records_raise_nothing(name):
    rng, analysis = Random(7), Analysis(keep_events=True)
    for t_ns, link_type, data, wire_length, interface in CaptureFile(str(CAPTURES / f"lab/{name}/snd.pcap")):
        octets = bytearray(data)
        for _ in range(rng.randrange(3)):
            octets[rng.randrange(len(octets))] = rng.randrange(256)
        cut = bytes(octets[: rng.choice((len(octets), rng.randrange(len(octets))))])
        analysis.feed([(t_ns, rng.choice((link_type, link_type, 0, 101, 276)), cut, wire_length, interface)])
    assert analysis.frames > 200
