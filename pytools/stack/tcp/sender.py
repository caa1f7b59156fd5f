"""The sending half: the send buffer, SND.* and what may go out now (RFC 9293 3.3.1, 3.7.4, 3.8.6.2.1)."""

from collections import deque

from pytools.units import NEVER


class Sender:
    """Numbers of one direction; sequence numbers are unwrapped."""

    __slots__ = (
        "buffer",
        "chunks",
        "cork",
        "fin_queued",
        "fin_seq",
        "full_mss",
        "iss",
        "max_snd_wnd",
        "more",
        "mss",
        "nagle",
        "scale",
        "snd_nxt",
        "snd_sml",
        "snd_una",
        "snd_up",
        "snd_wl1",
        "snd_wl2",
        "snd_wnd",
        "unsent",
        "urgent",
    )

    def __init__(self, iss: int, buffer: int, mss: int) -> None:
        self.iss = iss
        self.snd_una = iss
        self.snd_nxt = iss
        self.snd_wnd = 0
        self.snd_wl1 = 0
        self.snd_wl2 = 0
        self.max_snd_wnd = 0
        self.snd_up = iss
        self.urgent = False
        self.snd_sml = iss
        """End of the last segment sent that was short of a full MSS (Minshall's test for Nagle)."""
        self.scale = 0
        self.full_mss = mss
        """Effective send MSS: options subtracted."""
        self.mss = mss
        """The same, but no more than half of the largest window that the peer has offered (see `_bound`)."""
        self.buffer = buffer
        self.chunks: deque[bytes] | None = None
        self.unsent = 0
        self.fin_queued = False
        self.fin_seq = NEVER
        self.nagle = True
        self.cork = False
        self.more = False
        """The last write said that more follows at once (MSG_MORE)."""

    # The application's side.

    def room(self) -> int:
        """Octets that `write` takes now."""
        return max(0, self.buffer - self.unsent - (self.snd_nxt - self.snd_una))

    def write(self, data: bytes) -> int:
        """Queue as much of `data` as there is room for; returns how many octets."""
        taken = min(len(data), self.room())
        if taken:
            if self.chunks is None:
                self.chunks = deque()
            self.chunks.append(data if taken == len(data) else data[:taken])
            self.unsent += taken
        return taken

    @property
    def write_seq(self) -> int:
        """Sequence number of the next octet that the application writes."""
        return self.snd_nxt + self.unsent

    # The peer's window.

    def on_window(self, seq: int, ack: int, window: int) -> bool:
        """SND.WND from an acceptable ACK, unless an older segment says so (RFC 9293 3.10.7.4). True when it changed."""
        if self.snd_wl1 < seq or (self.snd_wl1 == seq and self.snd_wl2 <= ack):
            changed = window != self.snd_wnd
            self.snd_wnd = window
            self.snd_wl1 = seq
            self.snd_wl2 = ack
            if window > self.max_snd_wnd:
                self.max_snd_wnd = window
                self._bound()
            return changed
        return False

    def on_first_window(self, seq: int, ack: int, window: int) -> None:
        """The window of a SYN, which is never scaled (RFC 7323 2.2)."""
        self.snd_wnd = self.max_snd_wnd = window
        self.snd_wl1, self.snd_wl2 = seq, ack
        self._bound()

    def set_mss(self, mss: int) -> None:
        """The effective send MSS changed."""
        self.full_mss = mss
        self._bound()

    def _bound(self) -> None:
        """Segments of half the largest window at most, so that a peer with a small buffer is never starved: then
        "a fraction of the maximum window" (RFC 9293 3.8.6.2.1 (3)) is a full segment."""
        half = self.max_snd_wnd >> 1 if self.max_snd_wnd > 536 else self.max_snd_wnd
        self.mss = max(min(self.full_mss, half), min(self.full_mss, 8)) if half else self.full_mss

    @property
    def window_end(self) -> int:
        """Right edge of the peer's window."""
        return self.snd_una + self.snd_wnd

    # What may go out.

    def sendable(self, room: int, limit: int) -> int:
        """Octets of new data that may leave as one (super-)segment now; 0 for none.

        `room` is what the congestion window allows in segments, `limit` the largest super-segment in octets. Whole
        segments as far as the window reaches; the last, short one only if Nagle and the silly-window rules let it.
        """
        if room <= 0 or not self.unsent:
            return 0
        mss = self.mss
        window = self.window_end - self.snd_nxt
        if window < min(mss, self.unsent):
            return 0
        size = min(self.unsent, window, room * mss, limit)
        short = size % mss
        if short and (size < self.unsent or not self._short_allowed()):
            size -= short
        return size

    def _short_allowed(self) -> bool:
        """Nagle with Minshall's amendment: one short segment in flight at most (RFC 9293 3.7.4)."""
        if self.fin_queued or self.urgent:
            return True
        if self.cork or self.more:
            return False
        return not (self.nagle and self.snd_nxt > self.snd_una and self.snd_sml > self.snd_una)

    def window_blocks(self) -> bool:
        """Whether the peer's window, not ours or Nagle, holds back what is queued (RFC 9293 3.8.6.1); a FIN counts."""
        if not self.unsent:
            return self.fin_queued and self.window_end <= self.snd_nxt
        return self.window_end - self.snd_nxt < min(self.mss, self.unsent)

    def holds_back(self) -> bool:
        """Whether nothing queued may leave although nothing is in flight: the window is shut or a cork is in.

        Then a timer must send it or probe (MUST-36, MUST-60).
        """
        return self.window_blocks() or (0 < self.unsent < self.mss and (self.cork or self.more) and not self.fin_queued)

    def take(self, size: int) -> tuple[bytes, ...]:
        """The next `size` octets as parts, not copied unless there are many small ones."""
        parts: list[bytes] = []
        self.unsent -= size
        chunks = self.chunks
        assert chunks is not None
        while size:
            chunk = chunks.popleft()
            if len(chunk) > size:
                view = memoryview(chunk)
                chunks.appendleft(view[size:])  # type: ignore[arg-type]
                chunk = view[:size]  # type: ignore[assignment]
            parts.append(chunk)
            size -= len(chunk)
        if len(parts) > 16:
            return (b"".join(parts),)
        return tuple(parts)

    def on_sent(self, length: int) -> None:
        """New data left: Minshall's mark."""
        if length % self.mss:
            self.snd_sml = self.snd_nxt
