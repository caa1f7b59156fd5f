"""Mutated segments into each of the eleven states raise nothing, and leave a stack that still works."""

from random import Random

import pytest

from pytools.stack.tcp import state as st
from pytools.wire.tcp import ACK, CWR, ECE, FIN, PSH, RST, SYN, URG
from tests.laws import mutated
from tests.stack.tcp.peer import OPTIONS, Peer

STATES = (
    st.CLOSED,
    st.LISTEN,
    st.SYN_SENT,
    st.SYN_RECEIVED,
    st.ESTABLISHED,
    st.FIN_WAIT_1,
    st.FIN_WAIT_2,
    st.CLOSE_WAIT,
    st.CLOSING,
    st.LAST_ACK,
    st.TIME_WAIT,
)
EDGES = (-(2**31), -65536, -1, 0, 0, 0, 1, 2, 500, 1460, 65535, 2**31 - 1)
FLAGS = (ACK, ACK, ACK, SYN, SYN | ACK, FIN | ACK, RST, RST | ACK, PSH | ACK, URG | ACK, 0, FIN, ECE | CWR | SYN, 0x1FF)


def plausible(peer, rng):
    """A segment near to what the connection expects, whole or with octets changed."""
    options = rng.choice((b"", OPTIONS, bytes.fromhex("0101080a0000000b00000000"), rng.randbytes(rng.randrange(0, 40))))
    if rng.random() < 0.2:
        left = peer.iss + 1 + rng.choice(EDGES)
        options = b"\1\1\5\12" + (left & 0xFFFFFFFF).to_bytes(4, "big") + (left + 5 & 0xFFFFFFFF).to_bytes(4, "big")
    frame = peer.frame(
        rng.choice(FLAGS),
        seq=peer.nxt + rng.choice(EDGES),
        ack=peer.iss + 1 + rng.choice(EDGES),
        data=bytes(rng.choice((0, 0, 1, 100, 1460))),
        options=options,
        window=rng.choice((0, 1, 500, 65535)),
        urg=rng.choice((0, 1, 65535)),
    )
    if rng.random() < 0.3:
        return frame[:20] + mutated(frame[20:], rng)
    return frame


def torment(state, count, seed):
    rng = Random(seed)
    peer = Peer(seed).reach(state)
    for number in range(count):
        peer.puts(plausible(peer, rng))
        if rng.random() < 0.05:
            peer.passes(rng.choice((1, 300, 5000)))
        if peer.state != state or number % 200 == 199:
            peer.sent.clear()
            peer = Peer(seed + number).reach(state)
    assert peer.stack.frames == peer.stack.accepted + sum(peer.stack.drops.values())


@pytest.mark.parametrize("state", STATES)
def test_mutated_segments_raise_nothing(state):
    torment(state, 900, 7)


@pytest.mark.soak
@pytest.mark.parametrize("state", STATES)
def test_a_hundred_thousand_mutated_segments_raise_nothing(state):
    torment(state, 100_000, 8)
