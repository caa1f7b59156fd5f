"""The receiving half: RCV.NXT, the window we offer, text in order, and ACKs (RFC 9293 3.8.6, 3.10.7.4)."""

from collections import deque

from pytools.stack.tcp.assembler import Assembler
from pytools.units import NEVER, Ns

MAX_WINDOW = 65535


class Receiver:
    """Numbers of one direction; sequence numbers are unwrapped.

    The right edge never moves left (RFC 9293 SHLD-14), and right only by min(MSS, half the buffer) or more (MUST-39).
    """

    __slots__ = (
        "ack_due_at",
        "ack_now",
        "assembler",
        "auto_tune",
        "buffer",
        "buffer_max",
        "dsack",
        "fin_seq",
        "irs",
        "mss",
        "queue",
        "queued",
        "quick_acks",
        "rcv_nxt",
        "rcv_up",
        "read_count",
        "scale",
        "wup",
        "edge",
        "segments_since_ack",
        "_tune_at",
        "_tune_read",
        "_window_cap",
    )

    def __init__(self, buffer: int, buffer_max: int, mss: int, quick_acks: int) -> None:
        self.irs = 0
        self.rcv_nxt = 0
        self.wup = 0
        """RCV.NXT in the last ACK that we sent (Last.ACK.sent of RFC 7323)."""
        self.edge = 0
        """Right edge offered so far: RCV.NXT + RCV.WND as the peer knows it."""
        self.rcv_up = 0
        self.fin_seq = NEVER
        """Sequence number of the peer's FIN once known."""
        self.buffer = buffer
        self.buffer_max = max(buffer, buffer_max)
        self.auto_tune = True
        self.mss = mss
        """Largest segment the peer is thought to send."""
        self.scale = 0
        self.assembler = Assembler()
        self.queue: deque[bytes] = deque()
        self.queued = 0
        self.read_count = 0
        """Octets handed to the application in all."""
        self.quick_acks = quick_acks
        self.ack_now = False
        self.ack_due_at: Ns = NEVER
        self.segments_since_ack = 0
        self.dsack: tuple[int, int] | None = None
        self._tune_at: Ns = 0
        self._tune_read = 0
        self._window_cap = MAX_WINDOW

    def on_syn(self, seq: int) -> None:
        """The peer's SYN: IRS and RCV.NXT."""
        self.irs = seq
        self.rcv_nxt = self.wup = self.rcv_up = seq + 1
        self.edge = max(self.edge, self.rcv_nxt)

    # The window we offer.

    @property
    def rcv_wnd(self) -> int:
        """The window as the peer knows it."""
        return max(0, self.edge - self.rcv_nxt)

    def free(self) -> int:
        """Octets of buffer that are free."""
        return max(0, self.buffer - self.queued - self.assembler.held)

    def window_to_offer(self) -> int:
        """What the next segment offers, in octets, rounded to the scale (RFC 9293 3.8.6.2.2)."""
        present = self.rcv_wnd
        free = self.free()
        limit = min(free, MAX_WINDOW << self.scale)
        if limit - present < min(self.mss, self.buffer // 2):
            limit = present
        if self.scale and limit > present:
            limit = max(present, limit >> self.scale << self.scale)
        return limit

    def on_ack_sent(self, window: int) -> None:
        """A segment with ACK left and offered `window` octets."""
        self.wup = self.rcv_nxt
        self.edge = max(self.edge, self.rcv_nxt + window)
        self.ack_now = False
        self.ack_due_at = NEVER
        self.segments_since_ack = 0
        self.dsack = None
        if self.quick_acks:
            self.quick_acks -= 1

    def window_update_due(self) -> bool:
        """Whether reading has opened the window enough to tell the peer unasked (Linux: twice what it knows)."""
        offer = self.window_to_offer()
        present = self.rcv_wnd
        return offer > present and offer >= 2 * present

    # Text.

    def on_text(self, seq: int, data: memoryview, now: Ns, delay_ns: Ns) -> int:
        """Take the text of an acceptable segment. Returns how many octets became readable.

        The one copy of the payload is made here. What lies beyond the window is cut off by the caller.
        """
        end = seq + len(data)
        if end <= self.rcv_nxt:
            self._note_duplicate(seq, end)
            return 0
        if seq > self.rcv_nxt:
            duplicate = self.assembler.insert(seq, bytes(data))
            if duplicate is not None:
                self.dsack = duplicate
            self.ack_now = True
            return 0
        if seq < self.rcv_nxt:
            self.dsack = (seq, self.rcv_nxt)
            data = data[self.rcv_nxt - seq :]
        ready = self._take(bytes(data))
        if self.assembler:
            ready += self._fill()
        self._schedule_ack(len(data), now, delay_ns)
        return ready

    def _note_duplicate(self, seq: int, end: int) -> None:
        self.dsack = (seq, end)
        self.ack_now = True

    def _take(self, chunk: bytes) -> int:
        self.queue.append(chunk)
        self.queued += len(chunk)
        self.rcv_nxt += len(chunk)
        return len(chunk)

    def _fill(self) -> int:
        """The gap at RCV.NXT may be closed now; a closed gap is acknowledged at once (RFC 5681 4.2)."""
        ready = 0
        for chunk in self.assembler.pop_ready(self.rcv_nxt):
            ready += self._take(chunk)
        self.ack_now = True
        return ready

    def _schedule_ack(self, length: int, now: Ns, delay_ns: Ns) -> None:
        """Every second full segment at once, the rest after `delay_ns` (RFC 9293 SHLD-18, SHLD-19)."""
        self.segments_since_ack += 1
        if length > self.mss:
            self.mss = min(length, self.mss) if self.mss else length
        if self.rcv_nxt - self.wup > self.mss or self.quick_acks:
            self.ack_now = True
        elif self.ack_due_at == NEVER:
            self.ack_due_at = now + delay_ns

    def fin_arrived(self) -> bool:
        """Whether all text before the peer's FIN has arrived."""
        return self.rcv_nxt > self.fin_seq

    # The application's side.

    def read(self, size: int) -> bytes:
        """Up to `size` octets in order; b"" when nothing is there."""
        if not self.queue:
            return b""
        first = self.queue[0]
        if len(first) >= size or len(self.queue) == 1:
            taken = first[:size]
            if len(first) > size:
                self.queue[0] = first[size:]
            else:
                self.queue.popleft()
        else:
            taken = self._read_many(size)
        self.queued -= len(taken)
        self.read_count += len(taken)
        return taken

    def peek(self, size: int) -> bytes:
        """What `read` would give, left in place."""
        parts: list[bytes] = []
        for chunk in self.queue:
            if size <= 0:
                break
            parts.append(chunk[:size])
            size -= len(chunk)
        return b"".join(parts)

    def _read_many(self, size: int) -> bytes:
        parts: list[bytes] = []
        while self.queue and size > 0:
            chunk = self.queue.popleft()
            if len(chunk) > size:
                self.queue.appendleft(chunk[size:])
                chunk = chunk[:size]
            parts.append(chunk)
            size -= len(chunk)
        return b"".join(parts)

    def tune(self, now: Ns, rtt_ns: Ns) -> None:
        """Let the buffer grow when the application reads more than half of it in a round trip (Linux' DRS)."""
        if not self.auto_tune or rtt_ns <= 0 or now - self._tune_at < rtt_ns:
            return
        read = self.read_count - self._tune_read
        if self._tune_at and 2 * read > self.buffer:
            self.buffer = min(self.buffer_max, 2 * read + 16 * self.mss)
        self._tune_at = now
        self._tune_read = self.read_count
