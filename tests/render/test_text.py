import builtins
import io
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytools.engine import CHECKSUM_PARTIAL, ETHERNET, RAW_IP, Port
from pytools.render.assemble import Line
from pytools.render.text import TextRenderer
from pytools.trace.events import (
    AddressChanged,
    Dropped,
    NeighborChanged,
    ProbeAnswered,
    ProbeFailed,
    ProbeLost,
    ProbeSent,
    TimerFired,
    TimerSet,
    TraceEvent,
    WireLost,
)
from pytools.units import MS, SECOND
from tests.render import frames
from tests.render.frames import IP_PEER, OURS, PEER, call, received, sent

PORTS = [Port(0, "veth0", mac=OURS), Port(1, "wg0", RAW_IP)]
START = 77 * SECOND


def trace(*events: TraceEvent, level: int = 1, **options: Any) -> str:
    """What a renderer writes of these events, whose times count from START."""
    stream = io.StringIO()
    options.setdefault("ascii_only", False)
    renderer = TextRenderer(stream, level, PORTS, start_at=0, **options)
    for event in events:
        renderer.on_event(event)
    renderer.flush()
    return stream.getvalue()


def first_ping() -> list[TraceEvent]:
    """A ping whose neighbour must be resolved first; link stamps where a kernel gives them."""
    return [
        NeighborChanged(0, 0, IP_PEER, b"", "", "INCOMPLETE", ""),
        ProbeSent(0, "10.0.0.2", 1),
        TimerSet(0, "arp", "10.0.0.2", SECOND),
        *call(sent(0, frames.arp_request())),
        received(20_100_000, frames.arp_reply(), at=20_051_000),
        NeighborChanged(20_100_000, 0, IP_PEER, PEER, "INCOMPLETE", "REACHABLE", "reply"),
        *call(TimerSet(20_100_000, "arp", "10.0.0.2", 30 * SECOND)),
        *call(sent(20_150_000, frames.echo_request())),
        *call(received(40_300_000, frames.echo_reply(), at=40_207_000)),
        ProbeAnswered(40_300_000, "10.0.0.2", 1, 20_057_000, ""),
    ]


def test_one_v_writes_both_halves_of_each_packet_in_columns() -> None:
    assert trace(*first_ping()) == (
        " 0.000000           > ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)               "
        "ARP 10.0.0.2 INCOMPLETE\n"
        " 0.020051   +20.051 < ARP 10.0.0.2 is-at 02:00:00:00:00:02                      "
        "ARP 10.0.0.2 INCOMPLETE->REACHABLE 02:00:00:00:00:02 (reply)\n"
        " 0.020150    +0.099 > ECHO id 77 seq 1 len 64 ttl 64 DF 10.0.0.10 > 10.0.0.2\n"
        " 0.040207   +20.057 < REPLY id 77 seq 1 len 64 ttl 64 DF 10.0.0.2 > 10.0.0.10   rtt 20.057 ms\n"
    )


def test_two_v_add_headers_and_details() -> None:
    assert trace(*first_ping()[:4], *first_ping()[-4:], level=2) == (
        " 0.000000           > ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)               "
        "ARP 10.0.0.2 INCOMPLETE, probe 10.0.0.2 seq 1, timer arp 10.0.0.2 in 1000 ms\n"
        "                      02:00:00:00:00:0a > ff:ff:ff:ff:ff:ff ethertype ARP (0x0806) length 42\n"
        " 0.040207   +40.207 < REPLY id 77 seq 1 len 64 ttl 64 DF 10.0.0.2 > 10.0.0.10   rtt 20.057 ms\n"
        "                      02:00:00:00:00:02 > 02:00:00:00:00:0a ethertype IPv4 (0x0800) length 98\n"
        "                      IP 10.0.0.2 > 10.0.0.10 tos 0x0 ttl 64 id 7 DF proto ICMP (1) length 84\n"
    )


def test_two_v_say_that_a_checksum_was_left_to_the_device() -> None:
    frame = frames.udp_frame(partial=True)
    lines = trace(*call(received(0, frame, checksum=CHECKSUM_PARTIAL)), level=2).splitlines()
    assert lines[0] == " 0.000000           < UDP len 5 ttl 64 DF 10.0.0.10:40000 > 10.0.0.2:7"
    assert lines[-1].strip() == "cksum offload"


def test_three_v_add_the_octets_and_scapys_dissection() -> None:
    shown = trace(*call(sent(0, frames.arp_request())), level=3)
    assert "0000  ff ff ff ff ff ff 02 00  00 00 00 0a 08 06 00 01  ................\n" in shown
    assert "###[ ARP ]###\n" in shown
    assert "psrc      = 10.0.0.10\n" in shown


def test_three_v_without_scapy_write_hex_and_one_note(monkeypatch: pytest.MonkeyPatch) -> None:
    real_import = builtins.__import__

    def refuse(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("scapy"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    shown = trace(*call(sent(0, frames.arp_request())), *call(sent(1, frames.arp_request())), level=3)
    assert shown.count("no dissection: scapy can't be loaded") == 1
    assert shown.count("0000  ff ff") == 2
    assert "###" not in shown


def test_refused_frames_are_marked_x_with_the_reason() -> None:
    assert trace(*call(received(0, frames.echo_reply()), Dropped(0, 0, "NOT_OUR_FLOW", ""))) == (
        " 0.000000           x REPLY id 77 seq 1 len 64 ttl 64 DF 10.0.0.2 > 10.0.0.10   drop NOT_OUR_FLOW\n"
    )


def test_events_without_a_packet_are_on_the_left_of_a_line_of_their_own() -> None:
    shown = trace(
        *call(AddressChanged(0, 0, frames.IP_OURS, "TENTATIVE", "PREFERRED", "")),
        *call(TimerFired(3 * SECOND, "arp", "10.0.0.2", 3)),
        ProbeFailed(3 * SECOND, "10.0.0.2", 1, "Destination Host Unreachable"),
        ProbeLost(13 * SECOND, "10.0.0.2", 2, 10_000 * MS),
    )
    assert shown == (
        " 0.000000           ! addr 10.0.0.10 TENTATIVE->PREFERRED\n"
        " 3.000000 +3000.000 ! TIMER arp 10.0.0.2 #3                                     "
        "FAILED 10.0.0.2 seq 1: Destination Host Unreachable\n"
        "13.000000 +10000.000 ! LOST 10.0.0.2 seq 2 (no answer in 10000 ms)\n"
    )


def test_what_the_wire_lost_on_its_way_to_us_is_shown_with_the_frame() -> None:
    assert trace(WireLost(0, "in", 3, frames.arp_reply(), "loss")) == (
        " 0.000000           ! WIRE lost #3 in (loss): ARP 10.0.0.2 is-at 02:00:00:00:00:02\n"
    )


def test_packets_of_an_ip_port_have_no_ethernet_header() -> None:
    assert trace(*call(sent(0, frames.echo_packet(), port=1))) == (
        " 0.000000           > ECHO id 77 seq 1 len 64 ttl 64 DF 10.0.0.10 > 10.0.0.2\n"
    )


def test_a_port_that_came_later_has_its_link_type() -> None:
    stream = io.StringIO()
    renderer = TextRenderer(stream, 1, PORTS, start_at=0)
    renderer.add_port(Port(2, "tun0", RAW_IP))
    for event in call(sent(0, frames.echo_packet(), port=2)):
        renderer.on_event(event)
    renderer.flush()
    assert " > ECHO id 77 seq 1" in stream.getvalue()


def column_of_rtt(*packets: bytes) -> list[int]:
    """Where the right half starts in a line for each of these packets."""
    answer = ProbeAnswered(0, "x", 1, 1000, "")
    events = [event for packet in packets for event in (*call(received(0, packet)), answer)]
    return [line.index("rtt") for line in trace(*events).splitlines()]


def test_one_long_line_pushes_its_right_half_out_and_leaves_the_column() -> None:
    short, long = frames.echo_reply(), frames.udp_error()
    narrow, wide, again = column_of_rtt(short, long, short)
    assert narrow == again == 80
    assert wide > 80


def test_two_long_lines_soon_upon_each_other_move_the_column() -> None:
    short, long = frames.echo_reply(), frames.udp_error()
    first, _, second, after = column_of_rtt(long, short, long, short)
    assert first == second == after
    late = column_of_rtt(long, *[short] * 9, long, short)
    assert late[-1] == 80


def test_time_counts_from_the_start_and_may_pass_a_minute() -> None:
    stream = io.StringIO()
    renderer = TextRenderer(stream, 1, PORTS, start_at=START)
    for event in call(sent(START + 123 * SECOND + 456_789_000, frames.arp_request())):
        renderer.on_event(event)
    renderer.flush()
    assert stream.getvalue().startswith("123.456789 ")


def test_labels_tell_engines_apart() -> None:
    stream = io.StringIO()
    renderer = TextRenderer(stream, 1, PORTS, start_at=0)
    renderer.write_line(Line(0, ">", sent(0, frames.arp_request()), [], "router"))
    assert stream.getvalue() == " 0.000000           > router: ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)\n"


def test_text_from_the_network_is_escaped() -> None:
    evil = "\x1b]0;owned\x07\u202e"
    shown = trace(*call(received(0, frames.arp_reply()), Dropped(0, 0, "ARP_HEADER", evil)))
    assert "(\\x1b]0;owned\\x07\\u202e)" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_streams_that_are_not_utf8_get_ascii_alone(encoding: str) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="strict")
    renderer = TextRenderer(stream, 1, PORTS, start_at=0)
    renderer.on_event(ProbeFailed(0, "b\u00fccher.example", 1, "\u4e2d"))
    renderer.flush()
    assert raw.getvalue() == b" 0.000000           ! FAILED b\\u00fccher.example seq 1: \\u4e2d\n"


def test_colour_surrounds_what_stays_the_same_text() -> None:
    events = [*first_ping(), *call(received(50_000_000, frames.echo_reply()), Dropped(50_000_000, 0, "ICMP_CSUM", ""))]
    coloured = trace(*events, color=True)
    assert "\x1b[31mx\x1b[0m" in coloured
    plain = coloured
    for code in ("\x1b[0m", "\x1b[2m", "\x1b[31m", "\x1b[32m", "\x1b[36m"):
        plain = plain.replace(code, "")
    assert plain == trace(*events)


class Broken(io.StringIO):
    """A stream on a full device."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_failing_stream_is_reported_by_flush_not_by_the_engine() -> None:
    renderer = TextRenderer(Broken(), 1, PORTS, start_at=0)
    for event in first_ping():
        renderer.on_event(event)
    with pytest.raises(OSError, match="No space left"):
        renderer.flush()


def test_a_closed_stream_is_reported_by_flush_too() -> None:
    stream = io.StringIO()
    renderer = TextRenderer(stream, 1, PORTS, start_at=0)
    stream.close()
    renderer.on_event(ProbeLost(0, "10.0.0.2", 1, 1))
    with pytest.raises(ValueError, match="closed"):
        renderer.flush()


def test_rich_and_scapy_stay_out_of_one_and_two_v() -> None:
    import subprocess

    code = (
        "import io, sys; from pytools.render.text import TextRenderer; TextRenderer(io.StringIO(), 2, [], start_at=0)\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('rich', 'scapy', 'json', 'asyncio', 'dataclasses')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def _flip(frame: bytes, flips: list[tuple[int, int]]) -> bytes:
    octets = bytearray(frame)
    for at, value in flips:
        octets[at % len(octets)] = value
    return bytes(octets)


VALID: list[Callable[[], bytes]] = [
    frames.arp_request,
    frames.echo_request,
    frames.echo_packet,
    frames.echo6_request,
    frames.echo6_packet,
    frames.neighbor_solicitation,
    frames.udp_frame,
    lambda: frames.partial_tcp_frame(b"data"),
    lambda: frames.echo_request(1, (10, 20)),
]
mutated = st.builds(
    lambda make, flips, cut, tail: (_flip(make(), flips)[:cut]) + tail,
    st.sampled_from(VALID),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    st.integers(0, 200),
    st.binary(max_size=8),
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.binary(max_size=200), mutated), st.sampled_from([ETHERNET, RAW_IP]), st.integers(1, 3))
def test_no_frame_makes_it_raise_or_write_a_control_character(frame: bytes, link_type: int, level: int) -> None:
    port = 0 if link_type == ETHERNET else 1
    events = [
        *call(received(0, frame, port=port), Dropped(0, port, "PKT_TOO_SMALL", "")),
        *call(sent(1, frame, port=port)),
    ]
    shown = trace(*events, level=level)
    assert shown.endswith("\n")
    assert all(character.isprintable() or character == "\n" for character in shown)
