"""The sequence diagram."""

import io

from pytools.engine import RAW_IP, Port
from pytools.render.ladder import Ladder
from pytools.trace.events import FrameReceived, FrameSent
from pytools.trace.tcp_events import RtoExpired, SegmentRetransmitted, StateChanged
from pytools.units import MS, SECOND
from pytools.wire import ipv4, tcp, tcp_options
from pytools.wire.addr import parse_ip

US, PEER = parse_ip("10.0.0.10"), parse_ip("10.0.0.2")
ID = "10.0.0.10:40000 > 10.0.0.2:7"


def packet(src, dst, ports, seq, ack, flags, payload=b"", options=b""):
    segment = tcp.encode(*ports, seq, ack, flags, 1000, options) + payload
    return ipv4.encode(src, dst, 6, len(segment)) + segment


def drawn(*events):
    stream = io.StringIO()
    ladder = Ladder(stream, [Port(0, "lo", RAW_IP)], start_at=SECOND)
    for event in events:
        ladder.on_event(event)
    ladder.flush()
    return stream.getvalue().splitlines()


def sent(at, seq, ack, flags, **how):
    return FrameSent(SECOND + at * MS, 0, (packet(US, PEER, (40000, 7), seq, ack, flags, **how),), 0, 0, 0)


def received(at, seq, ack, flags, **how):
    frame = packet(PEER, US, (7, 40000), seq, ack, flags, **how)
    return FrameReceived(SECOND + at * MS, 0, frame, None, 0, 0)


def test_segments_go_to_the_right_and_come_from_it_with_relative_numbers():
    lines = drawn(
        sent(0, 1000, 0, tcp.SYN, options=tcp_options.mss(1460)),
        received(5, 0xFFFFFFFF, 1001, tcp.SYN | tcp.ACK),
        sent(5, 1001, 0, tcp.ACK | tcp.PSH, payload=b"hello"),
    )
    assert lines[0].split() == ["10.0.0.10:40000", "10.0.0.2:7"]
    assert lines[1].startswith("     0.000 |- S 0:0(0) win 1000 <mss 1460> ---")
    assert lines[1].endswith("->|")
    assert lines[2].startswith("     5.000 |<---")
    assert lines[2].endswith("- S. 0:0(0) ack 1 win 1000 -|")
    assert lines[3].startswith("     5.000 |- P. 1:6(5) ack 1 win 1000 -")
    assert len({len(line) for line in lines}) == 1


def test_a_segment_that_goes_again_says_why():
    lines = drawn(
        sent(0, 1000, 0, tcp.SYN),
        RtoExpired(2 * SECOND, ID, 1, 2 * SECOND, 1, 2),
        SegmentRetransmitted(2 * SECOND, ID, 0, 0, "syn", "timer", 1, 1, 1),
        sent(1000, 1000, 0, tcp.SYN),
        sent(1000, 1001, 0, tcp.ACK),
    )
    assert lines[2] == f"{'':10} | timeout 1, cwnd 1, next after 2000 ms"
    assert "S 0:0(0) win 1000 again (syn) -" in lines[3]
    assert "again" not in lines[4]


def test_states_stand_between_the_segments():
    assert drawn(StateChanged(SECOND, ID, "SYN-SENT", "ESTABLISHED", "SYN-ACK")) == [
        f"{'':10} | SYN-SENT > ESTABLISHED"
    ]


def test_what_is_no_tcp_is_left_out():
    other = ipv4.encode(US, PEER, 1, 4) + bytes(4)
    assert drawn(FrameSent(SECOND, 0, (other,), 0, 0, 0), FrameReceived(SECOND, 0, b"\x45", None, 0, 0)) == []
