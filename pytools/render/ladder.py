"""A sequence diagram of TCP segments, line by line as they happen: our end on the left, the peer's on the right.

      10.0.0.10:36324                                                    10.0.0.2:7
0.000 |- S 0:0(0) win 64240 <mss 1460,sackOK,...> ------------------------------->|
0.100 |<---------------------------------- S. 0:0(0) ack 1 win 65160 <mss 1460> --|
"""

from collections.abc import Iterable
from typing import Any, Final, TextIO

from pytools.engine import ETHERNET, Port
from pytools.errors import DecodeError
from pytools.trace.events import FrameReceived, FrameSent
from pytools.trace.tcp_events import RtoExpired, SegmentRetransmitted, StateChanged
from pytools.units import MS, Ns
from pytools.wire import ethernet, ipv4, ipv6, tcp, tcp_options
from pytools.wire.addr import format_ip
from pytools.wire.notation_tcp import format_flags, format_options

WIDTH: Final = 76
"""Characters between the two lines."""
FLOWS: Final = 1024
_MASK: Final = 0xFFFFFFFF

Ends = tuple[bytes, int, bytes, int]


class Ladder:
    """Draws on `stream`; subscribe `on_event` to `categories`. `flush` raises what `on_event` may not."""

    categories: Final = ("frame", "segment", "state", "recovery")

    def __init__(self, stream: TextIO, ports: Iterable[Port], *, start_at: Ns) -> None:
        self._stream = stream
        self._link_types = {port.index: port.link_type for port in ports}
        self._start_at = start_at
        self._bases: dict[Ends, int] = {}
        """Where each direction's sequence numbers start."""
        self._again = ""
        self._drawn: Ends | None = None
        self._error: OSError | None = None

    def on_event(self, event: Any) -> None:
        """Take one trace event."""
        kind = type(event)
        if kind is FrameSent:
            self._on_frame(event, b"".join(event.parts), is_ours=True)
        elif kind is FrameReceived:
            self._on_frame(event, event.frame, is_ours=False)
        elif kind is SegmentRetransmitted:
            self._again = f" again ({event.cause})"
        elif kind is StateChanged:
            self._note(event.now, f"{event.old} > {event.new}")
        elif kind is RtoExpired:
            self._note(event.now, f"timeout {event.count}, cwnd {event.cwnd}, next after {event.rto_ns // MS} ms")

    def flush(self) -> None:
        """Hand everything to the system. OSError: it could not be written."""
        if self._error is not None:
            raise self._error
        self._stream.flush()

    def _on_frame(self, event: Any, frame: bytes, *, is_ours: bool) -> None:
        try:
            found = _find_tcp(frame, self._link_types.get(event.port, ETHERNET))
        except DecodeError:
            return
        if found is None:
            return
        src, dst, header, length = found
        ends = (src, header.source_port, dst, header.destination_port)
        if header.flags & tcp.SYN:
            while len(self._bases) >= FLOWS:
                del self._bases[next(iter(self._bases))]
            self._bases[ends] = header.seq
        back = ends[2:] + ends[:2]
        ours = ends if is_ours else back
        if ours != self._drawn:
            self._drawn = ours
            self._head(ours)
        text = _words(header, length, self._bases.get(ends, 0), self._bases.get(back, 0))
        again, self._again = (self._again, "") if is_ours else ("", self._again)
        self._arrow(event.now, text + again, is_ours)

    def _head(self, ends: Ends) -> None:
        left, right = _end(*ends[:2]), _end(*ends[2:])
        self._print(f"{'':10} {left}{right:>{max(WIDTH + 2 - len(left), len(right) + 1)}}")

    def _arrow(self, now: Ns, text: str, is_ours: bool) -> None:
        rest = WIDTH - len(text) - 4
        shaft = "-" * max(rest, 1)
        line = f"|- {text} {shaft}>|" if is_ours else f"|<{shaft} {text} -|"
        self._print(f"{(now - self._start_at) / MS:10.3f} {line}")

    def _note(self, now: Ns, text: str) -> None:
        self._print(f"{'':10} | {text}")

    def _print(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
        except OSError as error:
            self._error = error


def _end(address: bytes, port: int) -> str:
    text = format_ip(address)
    return f"[{text}]:{port}" if len(address) == 16 else f"{text}:{port}"


def _find_tcp(frame: bytes, link_type: int) -> tuple[bytes, bytes, tcp.TcpHeader, int] | None:
    """(source, destination, header, octets of payload), or None for anything else. DecodeError."""
    at = ethernet.decode(frame).header_length if link_type == ETHERNET else 0
    if len(frame) <= at:
        return None
    if frame[at] >> 4 == 4:
        ip4 = ipv4.decode(frame, at, len(frame))
        if ip4.protocol != tcp.PROTOCOL or ip4.fragment_offset:
            return None
        start, end, src, dst = at + ip4.header_length, at + ip4.total_length, ip4.src, ip4.dst
    elif frame[at] >> 4 == 6:
        ip6 = ipv6.decode(frame, at, len(frame))
        if ip6.next_header != tcp.PROTOCOL:
            return None
        start, end, src, dst = at + 40, at + 40 + ip6.payload_length, ip6.src, ip6.dst
    else:
        return None
    header = tcp.decode(frame, start, end)
    return src, dst, header, end - start - header.header_length


def _words(header: tcp.TcpHeader, length: int, base: int, ack_base: int) -> str:
    """The notation of one segment; of a segment without SYN only its SACK option."""
    seq = header.seq - base & _MASK
    text = f"{format_flags(header.flags)} {seq}:{seq + length & _MASK}({length})"
    if header.flags & tcp.ACK:
        text += f" ack {header.ack - ack_base & _MASK}"
    text += f" win {header.window}"
    if header.flags & tcp.SYN:
        options = format_options(header.options, ack_base).split(",")
        names = ["ts" if name.startswith("TS ") else name for name in options if name not in ("nop", "eol", "")]
        return f"{text} <{','.join(names)}>" if names else text
    blocks = tcp_options.parse(header.options).sack
    edges = ",".join(f"{left - ack_base & _MASK}:{right - ack_base & _MASK}" for left, right in blocks)
    return f"{text} <sack {edges}>" if edges else text
