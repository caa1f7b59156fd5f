"""Who claims which address, watched for as long as wanted: a line for each conflict, with both MACs.

An address that changes hands has moved: a replaced card, a standby router. It is in conflict when the former owner is
heard again afterwards, when two stations answer the same question, or when the address is our own.
"""

from collections.abc import Sequence
from typing import Final

from pytools.engine import Port, RxMeta
from pytools.errors import DecodeError
from pytools.probe.arping_base import ArpingBase, Sending
from pytools.probe.arping_events import ArpingConflict, ArpingMoved
from pytools.probe.arping_wire import Seen, Station, from_arp, question
from pytools.stack.events import ArpSeen
from pytools.stack.stack import Stack
from pytools.units import NEVER, SECOND, Ns
from pytools.wire import arp, ethernet

MEMORY_NS: Final[Ns] = 60 * SECOND
"""A former owner that was silent for so long may come back without a conflict."""
REPEAT_NS: Final[Ns] = 10 * SECOND
"""The same conflict is told again after this (RFC 5227 defends as seldom)."""
_ADDRESSES: Final = 65536
"""Addresses remembered at most; the one longest known goes first."""
_OWNERS: Final = 8


def ids(tags: tuple[int, ...]) -> tuple[int, ...]:
    """VLAN ids of tags; priority tags, whose id is 0, don't count."""
    return tuple(tci & 0xFFF for tci in tags if tci & 0xFFF)


class _Claims:
    """Who claimed one address: MAC -> (when last, answer to which of our questions)."""

    __slots__ = ("holder", "owners", "told_at")

    def __init__(self, holder: bytes) -> None:
        self.holder = holder
        self.owners: dict[bytes, tuple[Ns, int]] = {}
        self.told_at: dict[frozenset[bytes], Ns] = {}


class WatchEngine(ArpingBase):
    """Watch the port; ask for each of `targets` every `interval_ns`. Without targets every address counts.

    `own` are addresses that are ours, at `us.mac`: anybody else who claims one is in conflict with us.
    """

    _tells_sent = False

    def __init__(
        self,
        stack: Stack,
        port: Port,
        us: Station,
        targets: Sequence[bytes] = (),
        *,
        own: Sequence[bytes] = (),
        interval_ns: Ns = SECOND,
        deadline_ns: Ns = 0,
    ) -> None:
        super().__init__(stack, port)
        self.conflict_count = 0
        self.move_count = 0
        self._us = us
        self._targets = frozenset(targets)
        self._order = tuple(targets)
        self._own = frozenset(own)
        self._interval_ns = interval_ns
        self._deadline_ns = deadline_ns
        self._claims: dict[bytes, _Claims] = {}
        self._seq = 0
        self._probe_at: Ns = NEVER
        self._ends_at: Ns = NEVER
        for target in targets:
            self._listen_for(target, us)

    @property
    def address_count(self) -> int:
        """Addresses heard of."""
        return len(self._claims)

    @property
    def exit_status(self) -> int:
        """0 when there was no conflict."""
        return 2 if self.could_not_send else int(self.conflict_count > 0)

    def _begin(self, now: Ns) -> None:
        if self._deadline_ns:
            self._ends_at = now + self._deadline_ns
        if self._order:
            self._probe_at = now
        self._on_due(now)

    def _on_due(self, now: Ns) -> None:
        if now >= self._ends_at:
            self.finish(now, "deadline")
            return
        if now >= self._probe_at:
            self._ask_all(now)
            self._probe_at = max(self._probe_at + self._interval_ns, now)
        self._next_at = min(self._probe_at, self._ends_at)

    def _ask_all(self, now: Ns) -> None:
        self._seq += 1
        for target in self._order:
            self._send(question(self._port, self._us, target), Sending(target, self._seq, "question", True), now)

    def on_frame(self, frame: memoryview, now: Ns, meta: RxMeta) -> None:
        """See `Engine`. What goes from one neighbour to another (a promiscuous port hears it) tells as much."""
        super().on_frame(frame, now, meta)
        if not self.done and len(frame) >= 14 and not frame[0] & 1 and frame[:6] != self._port.mac:
            self._overhear(frame, now, meta)

    def _overhear(self, frame: memoryview, now: Ns, meta: RxMeta) -> None:
        """An ARP packet that is not for us; the stack leaves it alone."""
        try:
            header = ethernet.decode(frame)
            if header.ethertype != ethernet.ETHERTYPE_ARP or ids(header.vlans) != ids(self._port.vlans):
                return
            packet = arp.decode(frame, header.header_length)
        except DecodeError:
            return
        at = now if meta.at is None else meta.at
        seen = from_arp(ArpSeen(now, at, meta.port, header.src, packet, False))
        if seen is not None:
            self._on_seen(seen)

    def _on_seen(self, seen: Seen) -> None:
        """Take a claim; a probe (from the unspecified address) claims nothing."""
        if not any(seen.ip) or (self._targets and seen.ip not in self._targets):
            return
        if self._us.mac in (seen.mac, seen.frame_src):
            return
        self._count(seen)
        if seen.ip in self._own:
            self._tell(seen.now, seen.ip, self._known(seen.ip, self._us.mac), self._us.mac, seen.mac, "it is ours")
        else:
            self._claim(seen)

    def _known(self, ip: bytes, mac: bytes) -> _Claims:
        claims = self._claims.get(ip)
        if claims is None:
            if len(self._claims) >= _ADDRESSES:
                del self._claims[next(iter(self._claims))]
            claims = self._claims[ip] = _Claims(mac)
        return claims

    def _claim(self, seen: Seen) -> None:
        claims = self._known(seen.ip, seen.mac)
        now, mac, holder = seen.now, seen.mac, claims.holder
        seq = self._seq if seen.asked_mac in (self._us.mac, b"") and seen.asked_ip == self._us.ip else 0
        before = claims.owners.get(mac)
        claims.owners[mac] = (now, seq)
        if mac == holder:
            return
        claims.holder = mac
        held_at, held_seq = claims.owners.get(holder, (now, 0))
        if seq and seq == held_seq:
            self._tell(now, seen.ip, claims, holder, mac, "both answer")
        elif before is not None and now - before[0] < MEMORY_NS:
            self._tell(now, seen.ip, claims, holder, mac, "both claim it")
        else:
            self.move_count += 1
            self._events.append(ArpingMoved(now, seen.ip, holder, mac, now - held_at))
        if len(claims.owners) > _OWNERS:
            del claims.owners[min(claims.owners, key=lambda owner: claims.owners[owner][0])]

    def _tell(self, now: Ns, ip: bytes, claims: _Claims, first: bytes, second: bytes, why: str) -> None:
        """Tell of a conflict unless it was told a moment ago; a new pair counts as a new conflict."""
        pair = frozenset((first, second))
        self.conflict_count += pair not in claims.told_at
        if now - claims.told_at.get(pair, -NEVER) >= REPEAT_NS:
            if len(claims.told_at) >= _OWNERS * _OWNERS:
                claims.told_at.clear()
            claims.told_at[pair] = now
            self._events.append(ArpingConflict(now, ip, (first, second), why))
