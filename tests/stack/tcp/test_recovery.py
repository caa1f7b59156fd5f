"""Loss recovery by duplicate ACKs, SACK and timeout (RFC 5681, 6298, 6582, 6675)."""

import pytest


def test_three_sack_blocks_retransmit_once(established):
    t = established(mss=1000, cwnd=10)
    t.send(10_000)
    t.expects("P. 1:10001(10000) ack 1", gso=1000)
    for block in ("2001:3001", "2001:4001", "2001:5001"):
        t.receives(f". 1:1(0) ack 1 win 257 <sack {block}>")
    t.expects(". 1:1001(1000) ack 1", cause="fast")
    t.receives(". 1:1(0) ack 1 win 257 <sack 2001:7001>")
    t.expects(". 1001:2001(1000) ack 1", cause="recovery")
    assert t.info.snd_ssthresh == 5
    assert t.info.ca_state == "Recovery"


def test_without_sack_the_third_duplicate_ack_retransmits(established):
    t = established(sack=False)
    t.send(10_000)
    t.expects("P. 1:10001(10000) ack 1")
    t.receives(". 1:1(0) ack 1 win 257")
    t.receives(". 1:1(0) ack 1 win 257")
    t.expects_nothing()
    t.receives(". 1:1(0) ack 1 win 257")
    t.expects(". 1:1001(1000) ack 1", cause="fast")
    t.expects_nothing()


def test_a_partial_ack_retransmits_the_next_hole(established):
    t = established(sack=False)
    t.send(10_000)
    t.expects("P. 1:10001(10000) ack 1")
    for _ in range(3):
        t.receives(". 1:1(0) ack 1 win 257")
    t.expects(". 1:1001(1000) ack 1", cause="fast")
    t.receives(". 1:1(0) ack 3001 win 257")
    t.expects(". 3001:4001(1000) ack 1", cause="recovery")
    t.receives(". 1:1(0) ack 10001 win 257")
    assert t.info.ca_state == "Open"
    assert t.info.snd_cwnd == t.info.snd_ssthresh == 5


def test_timeout_goes_back_to_the_first_hole_and_doubles(established):
    t = established()
    t.send(3_000)
    t.expects("P. 1:3001(3000) ack 1", gso=1000)
    t.passes(300)
    t.expects(". 1:1001(1000) ack 1", cause="rto")
    t.expects_nothing()
    assert t.info.snd_cwnd == 1
    t.passes(600)
    t.expects(". 1:1001(1000) ack 1", cause="rto")
    t.receives(". 1:1(0) ack 1001 win 257")
    t.expects("P. 1001:3001(2000) ack 1", cause="loss")
    assert t.info.causes == {"rto": 2, "loss": 2}


def test_sacked_segments_are_not_sent_again_after_a_timeout(established):
    t = established()
    t.send(3_000)
    t.expects("P. 1:3001(3000) ack 1")
    t.receives(". 1:1(0) ack 1 win 257 <sack 1001:2001>")
    t.passes(500)
    t.expects(". 1:1001(1000) ack 1", cause="rto")
    t.receives(". 1:1(0) ack 2001 win 257")
    t.expects("P. 2001:3001(1000) ack 1", cause="loss")


def test_a_peer_that_reneges_gets_everything_again(established):
    t = established()
    t.send(2_000)
    t.expects("P. 1:2001(2000) ack 1")
    t.receives(". 1:1(0) ack 1 win 257 <sack 1001:2001>")
    t.passes(500)
    t.expects(". 1:1001(1000) ack 1")
    t.receives(". 1:1(0) ack 1001 win 257")
    t.passes(2000)
    t.expects("P. 1001:2001(1000) ack 1")


@pytest.mark.parametrize("iss", [0, 2**32 - 2500])
def test_sequence_wrap_changes_nothing(established, iss):
    t = established(iss=iss, irs=2**32 - 1)
    t.send(5_000)
    t.expects("P. 1:5001(5000) ack 1")
    t.receives(". 1:1(0) ack 2001 win 257")
    t.receives(". 1:1(0) ack 5001 win 257")
    t.expects_nothing()
    assert t.info.unacked == 0
