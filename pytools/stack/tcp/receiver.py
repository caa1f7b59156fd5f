"""The receiving half: RCV.NXT, the window we offer, text in order, and ACKs (RFC 9293 3.8.6, 3.10.7.4)."""

from collections import deque

from pytools.stack.tcp.assembler import Assembler
from pytools.stack.tcp.urgent import EXPECTED, PRESENT, READ, Urgent
from pytools.units import NEVER, Ns

MAX_WINDOW = 65535


class Receiver:
    """Numbers of one direction; sequence numbers are unwrapped.

    The right edge never moves left (RFC 9293 SHLD-14), and right only by min(MSS, half the buffer) or more (MUST-39).
    """

    __slots__ = (
        "_head",
        "_measure_at",
        "_measure_end",
        "_tune_at",
        "_tune_read",
        "ack_due_at",
        "ack_now",
        "answering",
        "assembler",
        "auto_tune",
        "buffer",
        "buffer_max",
        "dsack",
        "edge",
        "fin_seq",
        "irs",
        "last_text_at",
        "mss",
        "queue",
        "queued",
        "quick_acks",
        "rcv_nxt",
        "read_count",
        "rtt_ns",
        "scale",
        "threshold",
        "urgent",
        "urgent_inline",
        "wup",
    )

    def __init__(self, buffer: int, buffer_max: int, mss: int, quick_acks: int) -> None:
        self.irs = 0
        self.rcv_nxt = 0
        self.wup = 0
        """RCV.NXT in the last ACK that we sent (Last.ACK.sent of RFC 7323)."""
        self.edge = 0
        """Right edge offered so far: RCV.NXT + RCV.WND as the peer knows it."""
        self.fin_seq = NEVER
        """Sequence number of the peer's FIN once known."""
        self.buffer = buffer
        self.buffer_max = max(buffer, buffer_max)
        self.threshold = min(buffer, MAX_WINDOW)
        """What is offered at most; it grows as text arrives (Linux' rcv_ssthresh), so that a peer is not invited to
        send more than has proved to be taken."""
        self.auto_tune = True
        self.mss = mss
        """Largest segment the peer is thought to send."""
        self.scale = 0
        self.assembler = Assembler()
        self.queue: deque[bytes] | None = None
        self.queued = 0
        self._head = 0
        """Octets of the first chunk that are read."""
        self.read_count = 0
        """Octets handed to the application in all."""
        self.urgent: Urgent | None = None
        self.urgent_inline = False
        """SO_OOBINLINE: urgent data stays in the stream, as RFC 6093 wants it."""
        self.quick_acks = quick_acks
        """Segments that are still acknowledged at once."""
        self.answering = False
        """The application answers what it reads, so an ACK waits for its answer (Linux' pingpong mode)."""
        self.ack_now = False
        self.ack_due_at: Ns = NEVER
        self.last_text_at: Ns = 0
        self.dsack: tuple[int, int] | None = None
        self.rtt_ns: Ns = 0
        """Round trip as a receiver sees it: how long a whole window takes to arrive; 0 before the first."""
        self._measure_end = 0
        self._measure_at: Ns = 0
        self._tune_at: Ns = 0
        self._tune_read = 0

    def on_syn(self, seq: int) -> None:
        """The peer's SYN: IRS and RCV.NXT. `edge` was relative to nothing before and is now to RCV.NXT."""
        offered = max(0, self.edge - self.rcv_nxt)
        self.irs = seq
        self.rcv_nxt = self.wup = seq + 1
        self.edge = self.rcv_nxt + offered

    # The window we offer.

    @property
    def rcv_wnd(self) -> int:
        """The window as the peer knows it."""
        return max(0, self.edge - self.rcv_nxt)

    def free(self) -> int:
        """Octets of buffer that are free."""
        return max(0, self.buffer - self.queued - self.assembler.held)

    def window_to_offer(self) -> int:
        """What the next segment offers, in octets (RFC 9293 3.8.6.2.2); rounded up to the scale, as Linux does."""
        present = self.edge - self.rcv_nxt
        if present < 0:
            present = 0
        free = self.buffer - self.queued - self.assembler.held
        limit = min(free, self.threshold, MAX_WINDOW << self.scale)
        if limit - present < min(self.mss, self.buffer // 2):
            limit = present
        return min(-(-limit >> self.scale), MAX_WINDOW) << self.scale

    def on_ack_sent(self, window: int) -> None:
        """A segment with ACK left and offered `window` octets."""
        self.wup = self.rcv_nxt
        if self.edge < self.rcv_nxt + window:
            self.edge = self.rcv_nxt + window
        self.ack_now = False
        self.ack_due_at = NEVER
        self.dsack = None
        if self.quick_acks:
            self.quick_acks -= 1

    def window_update_due(self) -> bool:
        """Whether reading has opened the window enough to tell the peer unasked (Linux: twice what it knows)."""
        present = self.rcv_wnd
        if 2 * present > min(self.buffer, self.threshold):
            return False
        offer = self.window_to_offer()
        return offer > present and offer >= 2 * present

    # Text.

    def on_text(self, seq: int, data: memoryview, now: Ns, delay_ns: Ns) -> int:
        """Take the text of an acceptable segment. Returns how many octets became readable.

        The one copy of the payload is made here. What lies beyond the window is cut off by the caller.
        """
        end = seq + len(data)
        if end <= self.rcv_nxt:
            self.dsack = (seq, end)
            self.ack_now = True
            return 0
        self._grow(len(data))
        if seq > self.rcv_nxt:
            duplicate = self.assembler.insert(seq, bytes(data))
            if duplicate is not None:
                self.dsack = duplicate
            self.ack_now = True
            return 0
        if seq < self.rcv_nxt:
            self.dsack = (seq, self.rcv_nxt)
            self.ack_now = True
            data = data[self.rcv_nxt - seq :]
        ready = self._take(bytes(data))
        if self.assembler:
            ready += self._fill()
        self._measure(now)
        self._schedule_ack(now, delay_ns)
        return ready

    def _grow(self, length: int) -> None:
        """Text arrives: more may be offered."""
        if self.threshold < self.buffer:
            self.threshold = min(self.threshold + 2 * max(self.mss, length), self.buffer)

    def _take(self, chunk: bytes) -> int:
        if self.queue is None:
            self.queue = deque()
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

    def _schedule_ack(self, now: Ns, delay_ns: Ns) -> None:
        """More than one full segment at once, the rest after `delay_ns` (RFC 9293 SHLD-18, SHLD-19)."""
        if self.rcv_nxt - self.wup > self.mss or (self.quick_acks and not self.answering):
            self.ack_now = True
        elif self.ack_due_at == NEVER:
            self.ack_due_at = now + delay_ns
        self.last_text_at = now

    def on_answered(self, now: Ns, delay_ns: Ns) -> None:
        """The application has written within the delay of an ACK: from now on its answers carry the ACKs."""
        if self.last_text_at and now - self.last_text_at < delay_ns:
            self.answering = True

    def text_received(self) -> int:
        """Octets of text in order."""
        return max(0, self.rcv_nxt - self.irs - 1 - self.fin_arrived()) if self.wup else 0

    def fin_arrived(self) -> bool:
        """Whether the peer's FIN and all text before it have arrived."""
        return self.rcv_nxt > self.fin_seq

    # The application's side.

    @property
    def read_seq(self) -> int:
        """Sequence number of the next octet that the application reads."""
        return self.irs + 1 + self.read_count

    def read(self, size: int) -> bytes:
        """Up to `size` octets in order; b"" when nothing is there."""
        queue = self.queue
        if not queue or size <= 0:
            return b""
        if self.urgent is not None:
            size = self._up_to_mark(self.urgent, size)
            if not queue:
                return b""
        head, chunk = self._head, queue[0]
        if len(chunk) - head > size:
            taken = chunk[head : head + size]
            self._head = head + size
        elif len(queue) == 1 or len(chunk) - head == size:
            taken = chunk[head:] if head else chunk
            queue.popleft()
            self._head = 0
        else:
            taken = self._read_many(queue, size)
        self.queued -= len(taken)
        self.read_count += len(taken)
        return taken

    def peek(self, size: int) -> bytes:
        """What `read` would give, left in place."""
        parts: list[bytes] = []
        head = self._head
        for chunk in self.queue or ():
            if size <= 0:
                break
            parts.append(chunk[head : head + size])
            size -= len(parts[-1])
            head = 0
        return b"".join(parts)

    def _read_many(self, queue: deque[bytes], size: int) -> bytes:
        parts: list[bytes] = []
        while queue and size > 0:
            chunk, head = queue[0], self._head
            part = chunk[head : head + size]
            parts.append(part)
            size -= len(part)
            if head + len(part) == len(chunk):
                queue.popleft()
                self._head = 0
            else:
                self._head = head + len(part)
        return b"".join(parts)

    # Urgent data (RFC 9293 3.8.5, RFC 6093).

    def _up_to_mark(self, urgent: Urgent, size: int) -> int:
        """A read stops at the mark; the octet there is taken out of the stream unless it is to stay in line."""
        ahead = urgent.mark - self.read_seq
        if ahead < 0:
            return size
        if ahead > 0:
            return min(size, ahead)
        if not self.urgent_inline and self.queued:
            self._skip()
        return size

    def read_urgent(self) -> bytes | None:
        """MSG_OOB: the urgent octet; b"" if it is still on its way, None if there is none (or it was read)."""
        urgent = self.urgent
        if urgent is None or self.urgent_inline or urgent.state == READ:
            return None
        if urgent.state == EXPECTED:
            return b""
        urgent.state = READ
        return urgent.octet

    @property
    def at_mark(self) -> bool:
        """SIOCATMARK: the next octet to read is the urgent one."""
        urgent = self.urgent
        return urgent is not None and urgent.mark == self.read_seq

    @property
    def urgent_left(self) -> int:
        """Octets up to the end of the urgent data (MUST-33)."""
        urgent = self.urgent
        return max(0, urgent.pointer - self.read_seq) if urgent is not None else 0

    @property
    def urgent_ready(self) -> bool:
        """POLLPRI: an urgent octet can be read, or is announced."""
        urgent = self.urgent
        return urgent is not None and (urgent.state == PRESENT or (urgent.state == EXPECTED and self.urgent_left > 0))

    def _skip(self) -> None:
        """The octet at the mark leaves the stream."""
        urgent, self.urgent = self.urgent, None
        seq, octet = self.read_seq, self.read(1)
        self.urgent = urgent
        if urgent is not None:
            urgent.on_text(seq, memoryview(octet))  # the pointer may have come after the octet

    def _measure(self, now: Ns) -> None:
        """The receiver's round trip: a window's worth of text needs about one."""
        if self.rcv_nxt < self._measure_end:
            return
        if self._measure_end:
            sample = max(now - self._measure_at, 1)
            self.rtt_ns = min(self.rtt_ns + (sample - self.rtt_ns) // 8, sample) if self.rtt_ns else sample
        self._measure_end = self.rcv_nxt + max(self.rcv_wnd, self.mss)
        self._measure_at = now

    def tune(self, now: Ns, rtt_ns: Ns) -> None:
        """Let the buffer grow when the application reads more than half of it in a round trip (Linux' DRS)."""
        rtt_ns = self.rtt_ns or rtt_ns
        if not self.auto_tune or rtt_ns <= 0 or now - self._tune_at < rtt_ns:
            return
        read = self.read_count - self._tune_read
        if self._tune_at and 2 * read > self.buffer:
            self.buffer = min(self.buffer_max, 2 * read + 16 * self.mss)
        self._tune_at = now
        self._tune_read = self.read_count
