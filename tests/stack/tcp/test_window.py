"""Windows of both sides: growth, silly windows, probes, Nagle, delayed ACKs (RFC 9293 3.7.4, 3.8.6)."""

import errno
import itertools

from pytools.stack.tcp import state as st


def data(t, size, seq=1, ack=1):
    t.receives(f"P. {seq}:{seq + size}({size}) ack {ack} win 257")
    return seq + size


def test_the_first_window_is_that_of_linux_and_grows_with_what_arrives(established):
    t = established(mss=1460)
    assert t.connection.receiver.threshold == 65535
    seq = 1
    for _ in range(4):
        seq = data(t, 1460, seq)
    t.poll()
    assert t.connection.receiver.threshold == 65535 + 8 * 1460


def test_the_right_edge_never_moves_left(established):
    t = established(receive_buffer=10_000, receive_buffer_max=10_000)
    seq, edge = 1, 0
    for _ in range(12):
        seq = data(t, 700, seq)
        while t.poll() is not None:
            assert t.connection.receiver.edge >= edge
            edge = t.connection.receiver.edge


def test_a_window_opens_by_a_segment_or_half_the_buffer_only(established):
    t = established(receive_buffer=4000, receive_buffer_max=4000, quick_acks=0)
    seq = 1
    for _ in range(4):
        seq = data(t, 1000, seq)
        while t.poll() is not None:
            pass
    assert t.connection.receiver.rcv_wnd == 0
    t.read(100)
    t.expects_nothing()
    t.read(2000)
    t.expects(". 1:1(0) ack 4001")
    assert t.connection.receiver.rcv_wnd >= 1000


def test_a_peer_with_a_small_window_gets_half_of_it_at_a_time(established):
    t = established(mss=1460, window=7)  # 7 << 7 = 896
    t.connection.tx.sender.max_snd_wnd = 896
    t.connection.tx.sender.set_mss(1460)
    t.send(2000)
    t.expects("P. 1:897(896) ack 1", gso=448)


def test_nagle_holds_the_second_short_segment(established):
    t = established()
    t.send(100)
    t.expects("P. 1:101(100) ack 1")
    t.send(100)
    t.expects_nothing()
    t.receives(". 1:1(0) ack 101 win 257")
    t.expects("P. 101:201(100) ack 1")


def test_without_nagle_short_segments_leave_at_once(established):
    t = established(nagle=False)
    for start in (1, 101):
        t.send(100)
        t.expects(f"P. {start}:{start + 100}(100) ack 1")


def test_quick_acks_come_at_once_then_they_are_delayed(established):
    t = established(quick_acks=3)
    seq = 1
    for _ in range(2):
        seq = data(t, 100, seq)
        t.expects(f". 1:1(0) ack {seq}")
    seq = data(t, 100, seq)
    t.expects_nothing()
    t.passes(41)
    t.expects(f". 1:1(0) ack {seq}")


def test_every_second_full_segment_is_acknowledged_at_once(established):
    t = established(mss=536, quick_acks=0)
    seq = data(t, 536)
    t.expects_nothing()
    seq = data(t, 536, seq)
    t.expects(f". 1:1(0) ack {seq}")


def test_an_application_that_answers_carries_the_acks(established):
    t = established()
    seq = data(t, 100)
    t.expects(f". 1:1(0) ack {seq}")
    t.connection.write(b"answer", t.now)
    t.expects(f"P. 1:7(6) ack {seq}")
    seq = data(t, 100, seq, ack=7)
    t.expects_nothing()


def test_a_shut_window_is_probed_at_growing_intervals_and_for_ever(established):
    t = established()
    t.receives(". 1:1(0) ack 1 win 0")
    t.send(1000)
    t.expects_nothing()
    intervals, last = [], t.now
    for _ in range(5):
        t.passes(60_000)
        t.expects(". 0:0(0) ack 1", cause="zwprobe")
        intervals.append(t.now - last)
        last = t.now
        t.receives(". 1:1(0) ack 1 win 0")
        t.expects_nothing()
    assert all(1.9 < b / a < 2.1 for a, b in itertools.pairwise(intervals))
    t.receives(". 1:1(0) ack 1 win 257")
    t.expects("P. 1:1001(1000) ack 1")


def test_a_user_timeout_ends_a_connection_that_only_probes(established):
    t = established()
    t.connection.user_timeout_ns = 3_000_000_000
    t.receives(". 1:1(0) ack 1 win 0")
    t.send(1000)
    t.expects_nothing()
    for _ in range(10):
        t.passes(60_000)
        t.poll()
    assert t.state == st.CLOSED
    assert t.connection.error == errno.ETIMEDOUT


def test_duplicate_acks_leave_before_text(established):
    t = established()
    t.receives("P. 1001:2001(1000) ack 1 win 257")
    t.send(500)
    t.expects(". 1:1(0) ack 1 <nop,nop,sack 1001:2001>")
    t.expects("P. 1:501(500) ack 1")


def test_after_an_idle_time_the_window_starts_again(established):
    t = established(cwnd=10)
    sent = 1
    for _ in range(4):
        t.send(20_000)
        while t.poll() is not None:
            pass
        sent = t.connection.tx.sender.snd_nxt
        t.passes(10)
        t.receives(f". 1:1(0) ack {sent} win 257")
        while t.poll() is not None:
            t.receives(f". 1:1(0) ack {t.connection.tx.sender.snd_nxt} win 257")
    assert t.info.snd_cwnd > 10
    t.passes(60_000)
    t.send(1000)
    t.poll()
    assert t.info.snd_cwnd == 10


def test_a_black_hole_makes_segments_shorter(established):
    t = established(mss=1460, black_hole_retries=3)
    t.send(1460)
    t.expects("P. 1:1461(1460) ack 1")
    lengths = []
    for _ in range(4):
        t.passes(30_000)
        t.poll()
        lengths.append(t.last.length)
    assert lengths == [1460, 1460, 1024, 536]
