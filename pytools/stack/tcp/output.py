"""One outgoing segment, before it has an IP header."""

from typing import Final

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20
ECE: Final = 0x40
CWR: Final = 0x80


class SegmentOut:
    """What the connection wants on the wire; `seq` and `ack` are unwrapped, `window` is the field as sent.

    `cause` and `by` say why it is sent again (`trace.cause`), "" for a first transmission.
    """

    __slots__ = (
        "ack",
        "by",
        "cause",
        "flags",
        "gso_size",
        "length",
        "options",
        "parts",
        "seq",
        "urgent",
        "window",
    )

    def __init__(self, seq: int, ack: int, flags: int, window: int) -> None:
        self.seq = seq
        self.ack = ack
        self.flags = flags
        self.window = window
        self.urgent = 0
        self.options = b""
        self.parts: tuple[bytes, ...] = ()
        self.length = 0
        self.gso_size = 0
        self.cause = ""
        self.by = ""


def unwrap(value: int, reference: int) -> int:
    """The number nearest to `reference` that is `value` modulo 2**32.

    Inside a connection sequence numbers are plain ints that only grow, so that `<` means "earlier" also after 4 GB.
    """
    return reference + ((value - reference + 0x80000000) & 0xFFFFFFFF) - 0x80000000
