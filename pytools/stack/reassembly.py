"""Reassembly of fragments for both families (RFC 791, RFC 815, RFC 1122 3.3.2, RFC 8200 4.5).

RFC 815 keeps a list of holes. Since an overlap condemns the whole datagram (RFC 5722, RFC 1858), what is held never
overlaps, so a datagram is whole when the octets held add up to its length: no list is needed.
"""

from bisect import bisect_left
from collections.abc import Callable
from typing import Final

from pytools.engine import RxMeta
from pytools.stack.node import Node
from pytools.stack.packet import Packet
from pytools.trace.drop import DropReason
from pytools.trace.events import FragmentQueued, Reassembled, ReassemblyTimedOut
from pytools.units import NEVER, Ns

Key = tuple[bytes, bytes, int, int, int]
"""Source, destination, Identification, protocol (0 in IPv6: RFC 8200 matches without it), zone of the source."""

MAX_LENGTH: Final = 65535
_OVERHEAD: Final = 160
"""What Python needs for one piece beside its octets; charged, so that tiny fragments are no way round the limit."""

_NOT_ECT, _ECT, _CE = 1, 2, 4
_ECN_MARK: Final = (_NOT_ECT, _ECT, _ECT, _CE)


class Datagram:
    """A datagram under reassembly. `head` is the header of fragment zero and what goes before its payload."""

    __slots__ = (
        "charge",
        "dead",
        "ecn_marks",
        "expires_at",
        "first",
        "head",
        "held",
        "key",
        "pieces",
        "port",
        "starts",
        "total",
    )

    def __init__(self, key: Key, port: int, expires_at: Ns) -> None:
        self.key = key
        self.port = port
        self.expires_at = expires_at
        self.starts: list[int] = []
        self.pieces: list[bytes] = []
        self.held = 0
        self.charge = 0
        self.total = 0
        """Length of the payload, 0 until the last fragment came."""
        self.head = b""
        self.first: Packet | None = None
        self.ecn_marks = 0
        self.dead = False
        """Condemned: whatever else comes of it is dropped (RFC 5722 4)."""

    def payload(self) -> bytes:
        """All pieces in order."""
        return b"".join(self.pieces)

    @property
    def congestion_experienced(self) -> bool:
        """Whether a fragment carried CE: then the datagram does (RFC 3168 5.3)."""
        return self.ecn_marks & _CE != 0


class Reassembly:
    """All datagrams under reassembly, oldest first; one timeout each that later fragments don't restart."""

    __slots__ = ("_datagrams", "_due", "_node", "due_at", "octets", "on_timeout", "queued_at")

    def __init__(self, node: Node) -> None:
        self._node = node
        self._datagrams: dict[Key, Datagram] = {}
        self.octets = 0
        self.on_timeout: Callable[[Packet, Ns], None] = _nobody_to_tell
        """Called with fragment zero (a copy) of a datagram that timed out."""
        self.due_at: Ns = NEVER
        self.queued_at: Ns = NEVER
        self._due = self._on_due

    def __len__(self) -> int:
        return len(self._datagrams)

    def add(
        self, key: Key, first: int, piece: bytes, more: bool, head: bytes, packet: Packet, now: Ns
    ) -> str | Datagram | None:
        """Take the fragment `first`:`first+len(piece)` of a datagram.

        `head` counts for fragment zero only. Returns the datagram when it is whole, None when the fragment is held, or
        the DropReason. The caller has checked that a piece with `more` is a multiple of 8 and that none is empty.
        """
        datagram = self._datagrams.get(key)
        if datagram is None:
            datagram = self._open(key, packet.iface.index, now)
        elif datagram.dead:
            return DropReason.FRAG_OVERLAP
        refused = self._enter(datagram, first, piece, more, packet)
        if refused is not None:
            return refused
        if not first:
            datagram.head = head
            datagram.first = snapshot(packet)
            datagram.charge += packet.end - packet.start
            self.octets += packet.end - packet.start
        if (emit := self._node.trace.ip) is not None:
            emit(FragmentQueued(now, key[0], key[1], key[2], first, first + len(piece), more))
        if datagram.held == datagram.total:
            return self._complete(datagram, now)
        self._bound(datagram, now)
        return None

    def _open(self, key: Key, port: int, now: Ns) -> Datagram:
        if len(self._datagrams) >= self._node.config.reassembly_datagrams:
            self._evict(next(iter(self._datagrams.values())), DropReason.FRAG_MEMORY, now)
        datagram = self._datagrams[key] = Datagram(key, port, now + self._node.config.reassembly_timeout_ns)
        if self.due_at == NEVER:
            self._node.deadlines.arm(self, datagram.expires_at, self._due)
        return datagram

    def _enter(self, datagram: Datagram, first: int, piece: bytes, more: bool, packet: Packet) -> str | None:
        """Put a piece in its place; a DropReason if it doesn't fit."""
        end = first + len(piece)
        at = bisect_left(datagram.starts, first)
        if at < len(datagram.starts) and datagram.starts[at] == first and len(datagram.pieces[at]) == len(piece):
            return DropReason.DUP_FRAG
        if self._overlaps(datagram, at, first, end) or self._contradicts(datagram, end, more):
            return self._condemn(datagram)
        if len(datagram.starts) >= self._node.config.reassembly_fragments:
            self._condemn(datagram)
            return DropReason.FRAG_MEMORY
        datagram.starts.insert(at, first)
        datagram.pieces.insert(at, piece)
        datagram.held += len(piece)
        datagram.charge += len(piece) + _OVERHEAD
        self.octets += len(piece) + _OVERHEAD
        datagram.ecn_marks |= _ECN_MARK[packet.tos & 3]
        if not more:
            datagram.total = end
        return None

    def _overlaps(self, datagram: Datagram, at: int, first: int, end: int) -> bool:
        if at and datagram.starts[at - 1] + len(datagram.pieces[at - 1]) > first:
            return True
        return at < len(datagram.starts) and datagram.starts[at] < end

    def _contradicts(self, datagram: Datagram, end: int, more: bool) -> bool:
        """Whether the fragment and the ones held disagree about where the datagram ends."""
        if datagram.total:
            return end > datagram.total or not more
        return not more and datagram.starts != [] and datagram.starts[-1] + len(datagram.pieces[-1]) > end

    def _condemn(self, datagram: Datagram) -> str:
        """Free what it held, keep its name until it times out."""
        self.octets -= datagram.charge
        datagram.charge = 0
        datagram.starts, datagram.pieces, datagram.first = [], [], None
        datagram.dead = True
        return DropReason.FRAG_OVERLAP

    def _complete(self, datagram: Datagram, now: Ns) -> str | Datagram:
        self._remove(datagram)
        marks = datagram.ecn_marks
        if marks & _NOT_ECT and marks != _NOT_ECT:
            # ECT and Not-ECT mixed: somebody bleached or forged; RFC 3168 5.3 lets us drop, Linux does.
            self._node.detail = "fragments disagree about ECN"
            return DropReason.FRAG_OVERLAP
        if (emit := self._node.trace.ip) is not None:
            src, dst, ident, _, _ = datagram.key
            emit(Reassembled(now, src, dst, ident, datagram.total, len(datagram.pieces)))
        return datagram

    def _bound(self, newest: Datagram, now: Ns) -> None:
        """Oldest out first until the memory is within its limit (RFC 1122 3.3.2 leaves the policy open)."""
        while self.octets > self._node.config.reassembly_octets:
            self._evict(next(iter(self._datagrams.values())), DropReason.FRAG_MEMORY, now)

    def _evict(self, datagram: Datagram, reason: str, now: Ns) -> None:
        self._remove(datagram)
        if not datagram.dead:
            self._node.discard(reason, datagram.port, f"{datagram.held} octets held", now)

    def _remove(self, datagram: Datagram) -> None:
        del self._datagrams[datagram.key]
        self.octets -= datagram.charge
        if not self._datagrams:
            self._node.deadlines.disarm(self)

    def _on_due(self, _self: object, now: Ns) -> None:
        """Time is up for the oldest: Time Exceeded if fragment zero came (RFC 1122 3.3.2, RFC 8200 4.5)."""
        while self._datagrams:
            datagram = next(iter(self._datagrams.values()))
            if datagram.expires_at > now:
                self._node.deadlines.arm(self, datagram.expires_at, self._due)
                return
            self._remove(datagram)
            if datagram.dead:
                continue
            if (emit := self._node.trace.ip) is not None:
                src, dst, ident, _, _ = datagram.key
                emit(ReassemblyTimedOut(now, src, dst, ident, datagram.held))
            self._node.discard(DropReason.FRAG_REASM_TIMEOUT, datagram.port, "", now)
            if datagram.first is not None:
                self.on_timeout(datagram.first, now)


def snapshot(packet: Packet) -> Packet:
    """A copy of a packet that outlives `on_packet`: no borrowed buffer, no header object."""
    copy = Packet()
    for slot in (
        "family",
        "src",
        "dst",
        "ttl",
        "tos",
        "protocol",
        "options",
        "iface",
        "kind",
        "link_unicast",
        "shared",
    ):
        setattr(copy, slot, getattr(packet, slot))
    copy.data = bytes(packet.data[packet.start : packet.end])
    copy.start, copy.offset, copy.end = 0, packet.offset - packet.start, packet.end - packet.start
    copy.protocol_pointer = 0
    copy.meta = RxMeta()  # the link's own is borrowed
    return copy


def _nobody_to_tell(_packet: Packet, _now: Ns) -> None:
    """No ICMP here."""
