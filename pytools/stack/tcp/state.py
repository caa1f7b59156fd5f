"""The eleven states and the one table of moves between them (RFC 9293 3.3.2, figure 5).

The diagram in docs/tcp.md is drawn from `TRANSITIONS`; a move that is not in the table is a bug, not an event.
"""

from typing import Final

CLOSED: Final = "CLOSED"
LISTEN: Final = "LISTEN"
SYN_SENT: Final = "SYN-SENT"
SYN_RECEIVED: Final = "SYN-RECEIVED"
ESTABLISHED: Final = "ESTABLISHED"
FIN_WAIT_1: Final = "FIN-WAIT-1"
FIN_WAIT_2: Final = "FIN-WAIT-2"
CLOSE_WAIT: Final = "CLOSE-WAIT"
CLOSING: Final = "CLOSING"
LAST_ACK: Final = "LAST-ACK"
TIME_WAIT: Final = "TIME-WAIT"

# What moves a connection. The words appear in traces as the reason of a change.
ACTIVE_OPEN: Final = "active open"
PASSIVE_OPEN: Final = "passive open"
RCV_SYN: Final = "SYN"
RCV_SYN_ACK: Final = "SYN,ACK"
ACK_OF_SYN: Final = "ACK of SYN"
CLOSE: Final = "close"
RCV_FIN: Final = "FIN"
ACK_OF_FIN: Final = "ACK of FIN"
RCV_RST: Final = "RST"
ABORT: Final = "abort"
TIMED_OUT: Final = "timed out"
REFUSED: Final = "ICMP error"

TRANSITIONS: Final[dict[tuple[str, str], str]] = {
    (CLOSED, ACTIVE_OPEN): SYN_SENT,
    (CLOSED, PASSIVE_OPEN): LISTEN,
    (LISTEN, RCV_SYN): SYN_RECEIVED,
    (LISTEN, CLOSE): CLOSED,
    (SYN_SENT, RCV_SYN): SYN_RECEIVED,
    (SYN_SENT, RCV_SYN_ACK): ESTABLISHED,
    (SYN_SENT, CLOSE): CLOSED,
    (SYN_SENT, REFUSED): CLOSED,
    (SYN_RECEIVED, ACK_OF_SYN): ESTABLISHED,
    (SYN_RECEIVED, CLOSE): FIN_WAIT_1,
    (SYN_RECEIVED, RCV_FIN): CLOSE_WAIT,
    (ESTABLISHED, CLOSE): FIN_WAIT_1,
    (ESTABLISHED, RCV_FIN): CLOSE_WAIT,
    (FIN_WAIT_1, ACK_OF_FIN): FIN_WAIT_2,
    (FIN_WAIT_1, RCV_FIN): CLOSING,
    (FIN_WAIT_2, RCV_FIN): TIME_WAIT,
    (CLOSE_WAIT, CLOSE): LAST_ACK,
    (CLOSING, ACK_OF_FIN): TIME_WAIT,
    (LAST_ACK, ACK_OF_FIN): CLOSED,
    (TIME_WAIT, TIMED_OUT): CLOSED,
    (TIME_WAIT, RCV_SYN): CLOSED,  # a new incarnation begins (RFC 6191); a RST or abort never ends TIME-WAIT
    (FIN_WAIT_2, TIMED_OUT): CLOSED,
}
for _state in (SYN_SENT, SYN_RECEIVED, ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK):
    for _event in (RCV_RST, ABORT, TIMED_OUT):
        TRANSITIONS.setdefault((_state, _event), CLOSED)

CAN_SEND: Final = frozenset((ESTABLISHED, CLOSE_WAIT))
"""The application may still write."""
CAN_RECEIVE: Final = frozenset((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2))
"""Text of the peer is still expected (RFC 9293 3.10.7.4, seventh)."""
SYNCHRONIZED: Final = frozenset((ESTABLISHED, FIN_WAIT_1, FIN_WAIT_2, CLOSE_WAIT, CLOSING, LAST_ACK, TIME_WAIT))
FIN_SENT: Final = frozenset((FIN_WAIT_1, CLOSING, LAST_ACK))
"""Our FIN is queued or sent and not yet acknowledged."""


def step(state: str, event: str) -> str:
    """The state after `event`; KeyError means a move that RFC 9293 does not have."""
    return TRANSITIONS[state, event]
