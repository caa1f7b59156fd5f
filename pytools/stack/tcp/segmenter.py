"""Writes segments: header fields, the window offered and options. One place, so that each goes out the same way."""

from pytools.stack.tcp.config import TcpConfig
from pytools.stack.tcp.handshake import Agreement, sack_option, syn_options
from pytools.stack.tcp.output import ACK, FIN, PSH, SYN, URG, SegmentOut
from pytools.stack.tcp.receiver import MAX_WINDOW, Receiver
from pytools.stack.tcp.scoreboard import SentSegment
from pytools.stack.tcp.sender import Sender
from pytools.stack.tcp.timestamps import Timestamps
from pytools.units import Ns
from pytools.wire import tcp_options


class Segmenter:
    """Joins what the receiving half has to say (ACK, window, SACK) with what is to be sent."""

    __slots__ = ("_agreement", "_receiver", "_timestamps", "config", "segments_out")

    def __init__(self, config: TcpConfig, agreement: Agreement, receiver: Receiver, timestamps: Timestamps) -> None:
        self.config = config
        self._agreement = agreement
        self._receiver = receiver
        self._timestamps = timestamps
        self.segments_out = 0

    def syn(self, segment: SentSegment, answer: bool, now: Ns) -> SegmentOut:
        """SYN, or SYN-ACK if `answer`; its window is never scaled (RFC 7323 2.2)."""
        agreed, receiver = self._agreement, self._receiver
        out = SegmentOut(segment.seq, receiver.rcv_nxt if answer else 0, SYN | (ACK if answer else 0), 0)
        window = min(receiver.free(), MAX_WINDOW)
        if window > agreed.advertised_mss:
            window -= window % max(agreed.advertised_mss, 1)
        out.window = window
        receiver.edge = max(receiver.edge, receiver.rcv_nxt + window)
        stamp = None
        if agreed.timestamps:
            stamp = (self._timestamps.value(now), self._timestamps.recent if answer else 0)
        out.options = syn_options(
            mss=agreed.advertised_mss,
            sack_permitted=agreed.sack,
            timestamp=stamp,
            window_scale=agreed.our_shift if agreed.window_scaling else None,
        )
        return self._sent(out)

    def data(self, segment: SentSegment, sender: Sender, now: Ns) -> SegmentOut:
        """Text or FIN. SACK blocks ride on pure ACKs only, so that data segments keep their full size."""
        flags = ACK | (FIN if segment.fin else 0) | (PSH if segment.push else 0)
        out = self._header(segment.seq, flags, now)
        out.parts, out.length = segment.parts, segment.length
        if segment.count > 1:
            out.gso_size = sender.mss
            out.flags |= PSH  # as Linux: the receiver's offload hands a burst up at its end, not at a timeout
        if sender.urgent and sender.snd_up > segment.seq:
            out.flags |= URG
            out.urgent = min(sender.snd_up - segment.seq, 0xFFFF)
        return self._sent(out)

    def ack(self, seq: int, now: Ns) -> SegmentOut:
        """A pure ACK with the SACK blocks that fit."""
        out = self._header(seq, ACK, now)
        blocks = self._blocks() if self._agreement.sack else []
        if blocks:
            out.options += sack_option(blocks[: 3 if self._timestamps.enabled else 4])
        return self._sent(out)

    def reset(self, seq: int, ack: int, flags: int) -> SegmentOut:
        """RST; it carries no options."""
        self.segments_out += 1
        return SegmentOut(seq, ack, flags, 0)

    def _blocks(self) -> list[tuple[int, int]]:
        """DSACK first (RFC 2883 4), then what is held out of order (RFC 2018 4)."""
        receiver = self._receiver
        blocks = receiver.assembler.blocks()
        fin_seq = receiver.fin_seq
        if blocks and fin_seq >= blocks[0][0]:  # an early FIN is held too, and has a number (RFC 9293 3.4)
            blocks = [(start, end + (end == fin_seq)) for start, end in blocks]
        if receiver.dsack is not None and self.config.dsack:
            around = receiver.assembler.covering(*receiver.dsack)
            if around is not None:
                blocks = [around] + [b for b in blocks if b != around]
            blocks.insert(0, receiver.dsack)
        return blocks

    def _header(self, seq: int, flags: int, now: Ns) -> SegmentOut:
        receiver = self._receiver
        window = receiver.window_to_offer()
        edge = receiver.rcv_nxt + window
        if edge > receiver.edge:
            receiver.edge = edge
        out = SegmentOut(seq, receiver.rcv_nxt, flags, min(window >> receiver.scale, MAX_WINDOW))
        if self._timestamps.enabled:
            out.options = tcp_options.timestamps(self._timestamps.value(now), self._timestamps.recent)
        return out

    def _sent(self, out: SegmentOut) -> SegmentOut:
        self.segments_out += 1
        if out.flags & ACK:
            self._receiver.on_ack_sent(max(0, self._receiver.edge - self._receiver.rcv_nxt))
        return out
