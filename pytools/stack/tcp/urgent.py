"""The reading side of urgent data (RFC 9293 3.8.5, RFC 6093)."""

from typing import Final

EXPECTED: Final = 0
"""The pointer is known, the octet is not here yet."""
PRESENT: Final = 1
READ: Final = 2


class Urgent:
    """One mark in the stream. RFC 6093 3.2 keeps "urgent" data in line; the classic call wants one octet out of it.

    `pointer` is the octet after the urgent data (MUST-62); the octet before it, at `mark`, is what MSG_OOB reads.
    """

    __slots__ = ("octet", "pointer", "state")

    def __init__(self, pointer: int) -> None:
        self.pointer = pointer
        self.state = EXPECTED
        self.octet = b""

    @property
    def mark(self) -> int:
        """Sequence number of the last urgent octet."""
        return self.pointer - 1

    def on_text(self, seq: int, data: memoryview) -> None:
        """A segment's text: the urgent octet may be in it, in order or not."""
        offset = self.pointer - 1 - seq
        if self.state == EXPECTED and 0 <= offset < len(data):
            self.octet = bytes(data[offset : offset + 1])
            self.state = PRESENT
