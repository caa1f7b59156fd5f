"""The retransmission queue's counters against a recount after every operation."""

from random import Random

import pytest

from pytools.stack.tcp.scoreboard import DUP_THRESH, Acked, Scoreboard, SentSegment

MSS = 100


def recount(board):
    """The counters as the segments themselves say."""
    total = sacked = lost = resent = 0
    for one in board.segments:
        total += one.count
        sacked += one.count if one.sacked else 0
        lost += one.count if one.lost else 0
        resent += one.count if one.retransmitted else 0
    return total, sacked, lost, resent


def naive_lost(board):
    """RFC 6675 IsLost for every segment: DupThresh SACKed segments above it."""
    above, found = 0, set()
    for one in reversed(board.segments):
        if one.sacked:
            above += one.count
        elif above >= DUP_THRESH:
            found.add(one.seq)
    return found


class Rig:
    def __init__(self, seed):
        self.rng = Random(seed)
        self.board = Scoreboard()
        self.una = self.nxt = 0
        self.sent = b""
        self.now = 0

    def send(self):
        count = self.rng.choice((1, 1, 3, 10))
        size = count * MSS - self.rng.choice((0, 0, 37))
        data = self.rng.randbytes(size)
        self.board.append(
            SentSegment(self.nxt, self.nxt + size, (data,), count, self.now, syn=False, fin=False, push=True)
        )
        self.sent += data
        self.nxt += size

    def ack(self):
        self.una = self.rng.choice(
            (self.rng.randint(self.una, self.nxt), self.una + (self.nxt - self.una) // MSS * MSS)
        )
        self.board.on_ack(self.una, MSS)

    def sack(self):
        blocks = []
        for _ in range(self.rng.randint(1, 3)):
            left = self.rng.randint(self.una, self.nxt)
            blocks.append((left, self.rng.randint(left, self.nxt)))
        self.board.on_sack([one for one in blocks if one[0] < one[1]], MSS, Acked())

    def lose(self):
        self.board.mark_lost_below_sacked(MSS)
        for one in self.board.segments:
            if one.seq in naive_lost(self.board):
                assert one.lost or one.retransmitted

    def head(self):
        self.board.mark_head_lost(MSS)

    def timeout(self):
        self.board.mark_all_lost(forget_sacked=self.rng.random() < 0.3)

    def resend(self):
        if (index := self.board.next_lost()) >= 0:
            segment = self.board.segments[index]
            assert segment.lost
            assert not segment.retransmitted
            if segment.count > 1:
                self.board.divide(index, MSS, MSS)
            self.board.on_retransmitted(segment, self.now)

    def shrink(self):
        if self.rng.random() < 0.05:
            self.board.resegment(self.rng.choice((40, 70)))

    def check(self):
        board = self.board
        assert recount(board) == (board.packets_out, board.sacked_out, board.lost_out, board.retrans_out)
        position = self.una
        for one in board.segments:
            assert one.seq == position
            assert b"".join(one.parts) == self.sent[one.seq : one.end]
            position = one.end
        assert position == self.nxt
        if board.lost_out > board.retrans_out:
            assert board.next_lost() >= 0


@pytest.mark.parametrize("seed", range(40))
def test_counters_and_octets_stay_right_whatever_happens(seed):
    rig = Rig(seed)
    actions = (rig.send, rig.send, rig.ack, rig.sack, rig.sack, rig.lose, rig.head, rig.timeout, rig.resend, rig.shrink)
    for _ in range(120):
        rig.rng.choice(actions)()
        rig.check()
