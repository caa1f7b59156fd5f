"""Finished segments of a Transmit that a socket took only in part."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

SendOne = Callable[[bytes, Any, object], object]


class Outbox:
    """A link that can't offload sends many frames for one Transmit; what the socket has no room for waits here.

    `send_one(frame, to, token)` hands one to the socket; the token goes with the last.
    """

    __slots__ = ("_send_one", "_waiting")

    def __init__(self, send_one: SendOne) -> None:
        self._send_one = send_one
        self._waiting: deque[tuple[bytes, Any, object]] = deque()

    def flush(self) -> bool:
        """Send what waits; whether all is gone. OSError: the frame in front was refused and is dropped."""
        waiting = self._waiting
        while waiting:
            try:
                self._send_one(*waiting[0])
            except BlockingIOError:
                return False
            except OSError:
                waiting.popleft()
                raise
            waiting.popleft()
        return True

    def send(self, frames: Iterable[bytes], to: Any, token: object) -> bool:
        """Send frames in order. False: nothing was taken; else all were, and what did not fit waits.

        OSError: a frame was refused; the rest is dropped, as a device drops what is left of a super-segment.
        """
        if not self.flush():
            return False
        items = list(frames)
        last = len(items) - 1
        for number, frame in enumerate(items):
            mark = token if number == last else None
            try:
                self._send_one(frame, to, mark)
            except BlockingIOError:
                if number == 0:
                    return False
                self._waiting.extend((one, to, None) for one in items[number:last])
                self._waiting.append((items[last], to, token))
                return True
        return True
