"""The lines that people and scripts know from iputils' arping, written by hand from its documentation and output."""

import io
from types import SimpleNamespace

import pytest

from pytools.probe.arping_events import (
    ArpingAnswered,
    ArpingConflict,
    ArpingMissed,
    ArpingMoved,
    ArpingSent,
    ArpingVerdict,
)
from pytools.probe.arping_wire import Seen
from pytools.probe.statistics import Histogram, RttSum
from pytools.render.arping_text import ArpingText
from pytools.units import MS, SECOND, US
from pytools.wire.addr import parse_ip, parse_mac

US_IP = parse_ip("10.9.0.1")
PEER = parse_ip("10.9.0.2")
PEER_MAC = parse_mac("2e:94:d0:a8:7b:04")
OTHER_MAC = parse_mac("02:00:00:00:0a:7e")


def answered(rtt_ns=534 * US, *, request=False, broadcast=False, asked_ip=b"", asked_mac=b"", ip=PEER):
    seen = Seen(0, 0, ip, PEER_MAC, US_IP, b"", PEER_MAC, is_request=request, is_broadcast=broadcast)
    return ArpingAnswered(seen, PEER, 1, rtt_ns, asked_ip, asked_mac)


def counts(sent=2, broadcast=1, received=2, requests=0, broadcasts=0):
    c = SimpleNamespace()
    c.sent_count, c.broadcast_count, c.received_count = sent, broadcast, received
    c.requests_received, c.broadcasts_received = requests, broadcasts
    return c


def lines(*events, header=False, summary=None, **options):
    stream = io.StringIO()
    text = ArpingText(stream, **options)
    if header:
        text.header("10.9.0.2", US_IP, "cl0")
    for event in events:
        text.on_event(event)
    if summary:
        text.summary(summary)
    return stream.getvalue()


def test_a_run_with_two_answers_looks_like_iputils():
    out = lines(answered(), answered(), header=True, summary=counts())
    assert out == (
        "ARPING 10.9.0.2 from 10.9.0.1 cl0\n"
        "Unicast reply from 10.9.0.2 [2E:94:D0:A8:7B:04]  0.534ms\n"
        "Unicast reply from 10.9.0.2 [2E:94:D0:A8:7B:04]  0.534ms\n"
        "Sent 2 probes (1 broadcast(s))\n"
        "Received 2 response(s)\n"
    )


def test_nobody_answered():
    assert lines(summary=counts(2, 2, 0)) == "Sent 2 probes (2 broadcast(s))\nReceived 0 response(s)\n"


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (answered(broadcast=True), "Broadcast reply from 10.9.0.2 [2E:94:D0:A8:7B:04]  0.534ms\n"),
        (answered(request=True), "Unicast request from 10.9.0.2 [2E:94:D0:A8:7B:04]  0.534ms\n"),
        (
            answered(asked_ip=parse_ip("10.9.0.7")),
            "Unicast reply from 10.9.0.2 [2E:94:D0:A8:7B:04] for 10.9.0.7  0.534ms\n",
        ),
        (
            answered(asked_mac=OTHER_MAC),
            "Unicast reply from 10.9.0.2 [2E:94:D0:A8:7B:04] for [02:00:00:00:0A:7E] 0.534ms\n",
        ),
        (
            answered(request=True, broadcast=True, asked_ip=parse_ip("10.9.0.7"), asked_mac=bytes(6)),
            "Broadcast request from 10.9.0.2 [2E:94:D0:A8:7B:04] for 10.9.0.7 [00:00:00:00:00:00] 0.534ms\n",
        ),
        (answered(None), "Unicast reply from 10.9.0.2 [2E:94:D0:A8:7B:04]  UNSOLICITED?\n"),
        (
            answered(ip=parse_ip("fd00::2")),
            "Unicast reply from fd00::2 [2E:94:D0:A8:7B:04]  0.534ms\n",
        ),
    ],
)
def test_variants_of_an_answer(event, line):
    assert lines(event) == line


@pytest.mark.parametrize(
    ("rtt_ns", "digits"),
    [(0, "0.000"), (499, "0.000"), (500, "0.001"), (9_999_500, "10.000"), (1_234_567_000, "1234.567")],
)
def test_times_are_milliseconds_with_three_digits_rounded(rtt_ns, digits):
    assert lines(answered(rtt_ns)).endswith(f"]  {digits}ms\n")


@pytest.mark.parametrize(
    ("requests", "broadcasts", "tail"),
    [(1, 0, " (1 request(s))"), (0, 2, " (2 broadcast(s))"), (3, 2, " (3 request(s), 2 broadcast(s))")],
)
def test_the_summary_names_what_was_no_unicast_reply(requests, broadcasts, tail):
    assert lines(summary=counts(requests=requests, broadcasts=broadcasts)).endswith(f"Received 2 response(s){tail}\n")


def test_quiet_prints_nothing_at_all():
    assert lines(answered(), header=True, summary=counts(), quiet=True) == ""
    assert lines(answered(), summary=counts(), quiet=True, dots=True, audible=True) == ""


def test_misses_are_told_only_when_asked_for():
    missed = ArpingMissed(0, PEER, 1, SECOND)
    assert lines(missed) == ""
    assert lines(missed, report_missed=True) == "Timeout\n"


def test_dots_are_those_of_habets():
    out = lines(answered(), ArpingMissed(0, PEER, 2, SECOND), answered(), summary=counts(3, 3, 2), dots=True)
    assert out == "!.!\t 33% packet loss (0 extra)\n"
    assert lines(answered(), answered(), summary=counts(1, 1, 2), dots=True) == "!!\t  0% packet loss (1 extra)\n"


def test_raw_output_is_the_address_alone():
    assert lines(answered(), header=True, summary=counts(), raw_mac=True) == "2e:94:d0:a8:7b:04\n"
    assert lines(answered(), raw_ip=True) == "10.9.0.2\n"
    assert lines(answered(), raw_mac=True, raw_ip=True) == "2e:94:d0:a8:7b:04 10.9.0.2\n"


def test_audible_rings_for_each_answer():
    assert lines(answered(), audible=True) == "\aUnicast reply from 10.9.0.2 [2E:94:D0:A8:7B:04]  0.534ms\n"


def test_sent_probes_are_not_told_in_text():
    assert lines(ArpingSent(0, PEER, 1, "question", True)) == ""


def test_a_conflict_names_both_macs():
    conflict = ArpingConflict(5 * SECOND, PEER, (PEER_MAC, OTHER_MAC), "both answer")
    line = "Duplicate address 10.9.0.2: [2E:94:D0:A8:7B:04] and [02:00:00:00:0A:7E] (both answer)\n"
    assert lines(conflict) == line
    assert lines(conflict, stamp=lambda now: f"[{now // SECOND}]") == "[5] " + line


def test_a_move_names_both_macs_and_the_silence():
    moved = ArpingMoved(0, PEER, PEER_MAC, OTHER_MAC, 3200 * MS)
    assert lines(moved) == "10.9.0.2 moved from [2E:94:D0:A8:7B:04] to [02:00:00:00:0A:7E] (silent for 3.2 s)\n"


def test_verdicts():
    assert lines(ArpingVerdict(0, PEER, b"", False)) == "10.9.0.2 is free\n"
    assert lines(ArpingVerdict(0, PEER, b"", True)) == "10.9.0.2 is free and announced\n"
    assert lines(ArpingVerdict(0, PEER, PEER_MAC, False)) == "10.9.0.2 is in use by [2E:94:D0:A8:7B:04]\n"


def test_statistics_are_two_lines():
    rtts, histogram, stream = RttSum(), Histogram(), io.StringIO()
    for us in (7, 8, 10):
        rtts.add(us)
        histogram.add(us * US)
    ArpingText(stream).statistics(rtts, histogram)
    assert stream.getvalue() == (
        "rtt min/avg/max/std-dev = 0.007/0.008/0.010/0.001 ms\nrtt p50/p90/p95/p99 = 0.008/0.010/0.010/0.010 ms\n"
    )


def test_statistics_of_nothing_are_nothing():
    stream = io.StringIO()
    ArpingText(stream).statistics(RttSum(), Histogram())
    assert stream.getvalue() == ""
