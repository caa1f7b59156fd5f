"""Who is there: many addresses asked at a rate, each answer told once, double owners named."""

from array import array
from collections.abc import Sequence
from typing import Final

from pytools.engine import Port
from pytools.probe.arping_base import ArpingBase, Sending
from pytools.probe.arping_events import ArpingAnswered, ArpingConflict
from pytools.probe.arping_wire import Seen, Station, question
from pytools.stack.stack import Stack
from pytools.units import MS, NEVER, SECOND, Ns

RETRY_NS: Final[Ns] = SECOND
"""An address is asked again after this at the earliest, and the last one gets as long to answer."""
AFTERMATH_NS: Final[Ns] = 250 * MS
"""When all have answered, a second owner still gets this long."""
_BURST: Final = 32
"""Questions sent at once at most when the rate is higher than the timer's."""
_MACS: Final = 16
"""Owners of one address that are remembered."""


class ScanEngine(ArpingBase):
    """Ask all of `targets` (each once in it), `interval_ns` apart, up to `tries` times each."""

    _tells_sent = False

    def __init__(
        self,
        stack: Stack,
        port: Port,
        targets: Sequence[bytes],
        us: Station,
        *,
        interval_ns: Ns,
        tries: int = 2,
        deadline_ns: Ns = 0,
        need_all: bool = False,
        find_duplicates: bool = False,
    ) -> None:
        super().__init__(stack, port)
        self.targets = targets
        self.macs: dict[int, list[bytes]] = {}
        """Who answered for the address with this number, in order."""
        self._numbers = {target: number for number, target in enumerate(targets)}
        self._us = us
        self._interval_ns = interval_ns
        self._tries_left = tries
        self._deadline_ns = deadline_ns
        self._need_all = need_all
        self._find_duplicates = find_duplicates
        self._asked_at = array("q", [0]) * len(targets)
        """When each address was asked last, 0 for never."""
        self._number = 0
        self._probe_at: Ns = 0
        self._ends_at: Ns = NEVER
        self._listen_for(targets[0], us)

    @property
    def answered_count(self) -> int:
        """Addresses that answered."""
        return len(self.macs)

    @property
    def duplicate_count(self) -> int:
        """Addresses for which more than one station answered."""
        return sum(len(macs) > 1 for macs in self.macs.values())

    @property
    def exit_status(self) -> int:
        """0 when somebody answered (with `need_all`: everybody) and, if that was asked, no address has two owners."""
        if self.could_not_send:
            return 2
        if self._find_duplicates and self.duplicate_count:
            return 1
        return int(self.answered_count < (len(self.targets) if self._need_all else 1))

    def _begin(self, now: Ns) -> None:
        self._probe_at = now
        if self._deadline_ns:
            self._ends_at = now + self._deadline_ns
        self._on_due(now)

    def _on_due(self, now: Ns) -> None:
        if now >= self._ends_at:
            self.finish(now, "deadline" if self._tries_left else "count")
            return
        for _ in range(_BURST):
            if self._probe_at > now or not self._ask_next(now):
                break
        # The driver was held up: don't flood to catch up.
        self._probe_at = max(self._probe_at, now - _BURST * self._interval_ns)
        self._next_at = min(self._probe_at, self._ends_at)

    def _ask_next(self, now: Ns) -> bool:
        """Ask the next silent address; False when it is not time yet or all were asked."""
        while self._tries_left:
            while self._number < len(self.targets):
                if self._number not in self.macs:
                    return self._ask(now)
                self._number += 1
            self._number = 0
            self._tries_left -= 1
            if len(self.macs) == len(self.targets):
                self._tries_left = 0
        self._probe_at = NEVER
        linger = AFTERMATH_NS if len(self.macs) == len(self.targets) else RETRY_NS
        self._ends_at = min(self._ends_at, now + linger)
        return False

    def _ask(self, now: Ns) -> bool:
        asked_at = self._asked_at[self._number]
        if asked_at and now < asked_at + RETRY_NS:
            self._probe_at = asked_at + RETRY_NS
            return False
        address = self.targets[self._number]
        self._asked_at[self._number] = now or 1
        self._send(question(self._port, self._us, address), Sending(address, self._number + 1, "question", True), now)
        self._number += 1
        self._probe_at += self._interval_ns
        return True

    def _on_sent(self, sending: Sending, now: Ns) -> None:
        self._asked_at[sending.seq - 1] = now or 1

    def _on_seen(self, seen: Seen) -> None:
        us = self._us
        number = self._numbers.get(seen.ip)
        if number is None or seen.asked_ip != us.ip or seen.asked_mac not in (us.mac, b""):
            return
        self._count(seen)
        macs = self.macs.setdefault(number, [])
        if seen.mac not in macs and len(macs) < _MACS:
            macs.append(seen.mac)
            self._report(seen, number, macs)
        if self._tries_left and len(self.macs) == len(self.targets):
            self._probe_at = self._next_at = seen.now  # no second round: see at once that all are there

    def _report(self, seen: Seen, number: int, macs: list[bytes]) -> None:
        asked_at = self._asked_at[number]
        rtt_ns = max(0, seen.at - asked_at) if asked_at else None
        self._events.append(ArpingAnswered(seen, seen.ip, number + 1, rtt_ns))
        if len(macs) > 1:
            self._events.append(ArpingConflict(seen.now, seen.ip, tuple(macs[-2:]), "both answer"))
        if rtt_ns is not None:
            self._trace_answer(seen.now, seen.ip, number + 1, rtt_ns, "duplicate" if len(macs) > 1 else "")
            if len(macs) == 1:
                self._measure(rtt_ns)
