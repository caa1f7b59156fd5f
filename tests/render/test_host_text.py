"""The lines of host."""

import io

from pytools.probe.host import HostAsked, HostComplained, HostConflict, HostPinged, HostReady, Tally
from pytools.render.host_text import LINES_A_SECOND, HostText, summary_lines
from pytools.units import SECOND
from pytools.wire.addr import parse_ip, parse_mac
from tests.probe.arping_bench import Bench

PEER = parse_ip("10.0.0.1")
OURS = parse_ip("10.0.0.10")
MAC = parse_mac("02:00:00:00:00:01")


def lines(*events, quiet=False):
    stream = io.StringIO()
    text = HostText(stream, quiet=quiet)
    text.place("tap0", parse_mac("02:00:00:00:00:10"))
    for event in events:
        text.on_event(event)
    return stream.getvalue().splitlines()


def test_the_first_line_says_who_and_where():
    ready = HostReady(0, (OURS, parse_ip("fd00::10")))
    assert lines(ready) == ["host: 10.0.0.10, fd00::10 (02:00:00:00:00:10) on tap0, ready"]


def test_one_line_for_each_thing_of_interest():
    assert lines(
        HostAsked(0, PEER, MAC, OURS),
        HostAsked(0, bytes(4), MAC, OURS),
        HostPinged(0, PEER, 7, 3, 64),
        HostComplained(0, PEER, 4, 3, 3, 0),
        HostComplained(0, PEER, 6, 1, 4, 0),
        HostConflict(0, OURS, MAC, "defended"),
    ) == [
        "10.0.0.1 [02:00:00:00:00:01] asks for 10.0.0.10",
        "[02:00:00:00:00:01] probes for 10.0.0.10",
        "10.0.0.1 pings: icmp_seq=3, 64 bytes",
        "10.0.0.1 is told: UNREACH port",
        "10.0.0.1 is told: UNREACH port",
        "conflict: 10.0.0.10 is used by [02:00:00:00:00:01] too (defended)",
    ]


def test_quiet_leaves_ready_and_conflicts():
    out = lines(HostReady(0, (OURS,)), HostPinged(0, PEER, 7, 3, 64), HostConflict(0, OURS, MAC, "x"), quiet=True)
    assert [line.split()[0] for line in out] == ["host:", "conflict:"]


def test_a_flood_is_summed_up():
    pings = [HostPinged(seq * 1000, PEER, 7, seq, 64) for seq in range(1, 1001)]
    out = lines(*pings, HostPinged(SECOND, PEER, 7, 1001, 64))
    assert len(out) == LINES_A_SECOND + 2
    assert out[-2:] == [
        f"... and {1000 - LINES_A_SECOND} more in that second",
        "10.0.0.1 pings: icmp_seq=1001, 64 bytes",
    ]


def test_the_summary_counts_and_names_the_reasons():
    tally = Tally(Bench().stack, (0,), lambda event: None)
    tally.ping_count, tally.arp_count = 3, 1
    assert summary_lines(tally, 7, {"OTHERHOST": 1, "ICMP_CSUM": 2}) == [
        "7 frames received, 3 refused (ICMP_CSUM 2, OTHERHOST 1)",
        "answered: 3 pings, 1 ARP requests, 0 neighbour solicitations; 0 ICMP errors sent, 0 address conflicts",
    ]
