"""What a socket takes in part."""

import pytest

from pytools.link.outbox import Outbox


class Socket:
    """Takes `room` frames, then is full; refuses the frame b"bad"."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.sent: list[tuple[bytes, str, object]] = []

    def __call__(self, frame: bytes, to: str, token: object) -> None:
        if not self.room:
            raise BlockingIOError
        if frame == b"bad":
            raise PermissionError(1, "refused")
        self.room -= 1
        self.sent.append((frame, to, token))


def test_a_full_socket_takes_nothing_and_says_so():
    socket = Socket(0)
    assert not Outbox(socket).send([b"a", b"b"], "v0", "token")
    assert socket.sent == []


def test_what_did_not_fit_goes_out_first_later_and_in_order():
    socket = Socket(1)
    outbox = Outbox(socket)
    assert outbox.send([b"a", b"b", b"c"], "v0", "one")
    assert not outbox.send([b"d"], "v0", "two")
    socket.room = 9
    assert outbox.send([b"d"], "v0", "two")
    assert socket.sent == [(b"a", "v0", None), (b"b", "v0", None), (b"c", "v0", "one"), (b"d", "v0", "two")]


def test_a_refusal_is_raised_and_does_not_block_what_follows():
    socket = Socket(1)
    outbox = Outbox(socket)
    outbox.send([b"a", b"bad", b"c"], "v0", None)
    socket.room = 9
    with pytest.raises(PermissionError):
        outbox.flush()
    assert outbox.flush()
    assert [frame for frame, _, _ in socket.sent] == [b"a", b"c"]
