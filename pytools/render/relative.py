"""TCP sequence numbers as people read them: counted from each direction's first number."""

from typing import Final

from pytools.engine import ETHERNET
from pytools.errors import DecodeError
from pytools.wire import ethernet, ipv4, ipv6, tcp
from pytools.wire.notation_tcp import Bases

FLOW_LIMIT: Final = 65536
"""Directions that are remembered; then all are forgotten and counted anew from what comes."""
ABSOLUTE: Final[Bases] = (0, 0)

_Key = tuple[bytes, int, bytes, int]


class RelativeNumbers:
    """The bases for `notation.describe`: the SYN's number, or in midstream the first that was seen."""

    __slots__ = ("_first",)

    def __init__(self) -> None:
        self._first: dict[_Key, int] = {}

    def of(self, frame: bytes, link_type: int) -> Bases:
        """What the numbers of `frame` count from; (0, 0) for what is not TCP. Raises nothing."""
        try:
            at = ethernet.decode(frame).header_length if link_type == ETHERNET else 0
            src, dst, protocol, offset = _ip(frame, at)
            if protocol != tcp.PROTOCOL:
                return ABSOLUTE
            header = tcp.decode(frame, offset)
        except (DecodeError, IndexError):
            return ABSOLUTE
        return self._bases((src, header.source_port, dst, header.destination_port), header)

    def _bases(self, key: _Key, header: tcp.TcpHeader) -> Bases:
        first = self._first
        if len(first) >= FLOW_LIMIT:
            first.clear()
        if header.flags & tcp.SYN or key not in first:
            first[key] = header.seq
        back = (key[2], key[3], key[0], key[1])
        if header.flags & tcp.ACK and back not in first:
            first[back] = header.ack
        return first[key], first.get(back, 0)


def _ip(frame: bytes, at: int) -> tuple[bytes, bytes, int, int]:
    """Source, destination, protocol and where that starts; a later fragment has no header to read."""
    if frame[at] >> 4 == 4:
        head4 = ipv4.decode(frame, at)
        protocol = head4.protocol if not head4.fragment_offset else 0
        return head4.src, head4.dst, protocol, at + head4.header_length
    head6 = ipv6.decode(frame, at)
    return head6.src, head6.dst, head6.next_header, at + 40
