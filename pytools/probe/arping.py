"""One target, as iputils' arping asks it: who has it, is it free, or here it is.

The first question goes to everybody, the next ones to whoever answered. IPv6 targets are asked by neighbour
solicitation with the same rules.
"""

from typing import Final

from pytools.engine import Port
from pytools.probe.arping_base import ArpingBase, Sending
from pytools.probe.arping_events import ArpingAnswered, ArpingConflict, ArpingMissed
from pytools.probe.arping_wire import Seen, Station, announcement, question
from pytools.stack.stack import Stack
from pytools.units import NEVER, SECOND, Ns

ASK: Final = "ask"
DETECT: Final = "detect"
"""-D: duplicate address detection, from the unspecified address."""
ANNOUNCE: Final = "announce"
"""-U: unsolicited, a request about ourselves."""
ANSWER: Final = "answer"
"""-A: unsolicited, a reply about ourselves."""

_KINDS: Final = {ASK: "question", DETECT: "probe", ANNOUNCE: "announcement", ANSWER: "announcement"}
"""What a probe is called in events."""

LINGER_NS: Final[Ns] = SECOND
"""How long the last question may stay unanswered before a run limited by -c ends."""


class ArpingConfig:
    """What to ask; 0 in counts and durations means no limit."""

    __slots__ = (
        "broadcast_only",
        "count",
        "deadline_ns",
        "find_duplicates",
        "interval_ns",
        "mode",
        "quit_on_reply",
        "replies_wanted",
        "target_mac",
        "us",
    )

    def __init__(
        self,
        us: Station,
        mode: str = ASK,
        *,
        count: int = 0,
        interval_ns: Ns = SECOND,
        deadline_ns: Ns = 0,
        broadcast_only: bool = False,
        quit_on_reply: bool = False,
        replies_wanted: int = 0,
        find_duplicates: bool = False,
        target_mac: bytes = b"",
    ) -> None:
        self.us = us
        self.mode = mode
        self.count = count
        self.interval_ns = interval_ns
        self.deadline_ns = deadline_ns
        self.broadcast_only = broadcast_only or find_duplicates
        """A second owner hears only what goes to everybody."""
        self.quit_on_reply = quit_on_reply or mode == DETECT
        self.replies_wanted = replies_wanted
        self.find_duplicates = find_duplicates
        self.target_mac = target_mac
        """Send to this MAC from the first question on."""


class ArpingEngine(ArpingBase):
    """Ask for `target` until a limit of `config` is reached."""

    def __init__(self, stack: Stack, port: Port, target: bytes, config: ArpingConfig) -> None:
        super().__init__(stack, port)
        self.target = target
        self.config = config
        self.macs: list[bytes] = []
        """Every MAC that answered, in order."""
        self._unicast_mac = config.target_mac
        self._seq = 0
        self._answered_seq = 0
        self._sent_at: Ns = NEVER
        self._probe_at: Ns = 0
        self._ends_at: Ns = NEVER
        self._listen_for(target, config.us)

    @property
    def exit_status(self) -> int:
        """As iputils: 0 answered (-D: free), 1 not; and 2 when the link refused what was to be sent."""
        config = self.config
        if self.could_not_send:
            return 2
        if config.mode == DETECT:
            return int(self.received_count > 0)
        if config.mode in (ANNOUNCE, ANSWER):
            return 0
        if config.find_duplicates and len(self.macs) > 1:
            return 1
        if config.replies_wanted and not config.quit_on_reply:
            return int(self.received_count < config.replies_wanted)
        if config.deadline_ns and config.count and not config.quit_on_reply:
            return int(self.received_count < config.count)
        return int(self.received_count == 0)

    @property
    def extra_count(self) -> int:
        """Answers beyond one a probe."""
        return max(0, self.received_count - self.sent_count)

    def _begin(self, now: Ns) -> None:
        self._probe_at = now
        if self.config.deadline_ns:
            self._ends_at = now + self.config.deadline_ns
        self._probe(now)

    def _on_due(self, now: Ns) -> None:
        if now >= self._ends_at:
            self.finish(now, "deadline")
        elif now >= self._probe_at:
            self._miss(now)
            if self._all_sent():
                self.finish(now, "count")
            else:
                self._probe(now)

    def _all_sent(self) -> bool:
        return 0 < self.config.count <= self._seq

    def _probe(self, now: Ns) -> None:
        """Send one, and set when the next one is due: late probes are not made up for in a burst."""
        self._seq += 1
        kind = _KINDS[self.config.mode]
        is_broadcast = kind == "announcement" or not self._unicast_mac
        self._send(self._frame(), Sending(self.target, self._seq, kind, is_broadcast), now)
        self._probe_at = max(self._probe_at + self.config.interval_ns, now)
        self._set_next()

    def _frame(self) -> bytes:
        """Probe number `_seq`."""
        config = self.config
        if config.mode in (ANNOUNCE, ANSWER):
            return announcement(self._port, config.us, self.target, as_reply=config.mode == ANSWER)
        return question(self._port, config.us, self.target, self._unicast_mac)

    def _set_next(self) -> None:
        self._next_at = min(self._probe_at, self._ends_at)

    def _on_sent(self, sending: Sending, now: Ns) -> None:
        self._sent_at = now
        if not self._all_sent():
            return
        if self.config.mode in (ANNOUNCE, ANSWER):
            self.finish(now, "count")
        elif self.received_count < self._seq:
            # With an interval of milliseconds the last answer would come too late.
            self._probe_at = max(self._probe_at, now + LINGER_NS)
            self._set_next()

    def _miss(self, now: Ns) -> None:
        """Say that the latest probe got no answer."""
        if self._answered_seq < self._seq and self._sent_at != NEVER and self.config.mode == ASK:
            self._events.append(ArpingMissed(now, self.target, self._seq, now - self._sent_at))
            self._trace_miss(now, self.target, self._seq, now - self._sent_at)

    def _on_seen(self, seen: Seen) -> None:
        if self._is_objection(seen) if self.config.mode == DETECT else self._is_answer(seen):
            self._take(seen, None if self._sent_at == NEVER else max(0, seen.at - self._sent_at))

    def _take(self, seen: Seen, rtt_ns: Ns | None) -> None:
        """It is an answer."""
        self._report(seen, rtt_ns)
        self._count(seen)
        self._answered_seq = self._seq
        if not self.config.broadcast_only:
            self._unicast_mac = seen.mac
        self._note_mac(seen)
        self._check_end(seen.now)

    def _is_answer(self, seen: Seen) -> bool:
        """From the target, to our address and MAC."""
        us = self.config.us
        return seen.ip == self.target and seen.asked_ip == us.ip and seen.asked_mac in (us.mac, b"")

    def _is_objection(self, seen: Seen) -> bool:
        """Somebody else has the tested address or, for IPv6, tests it too (RFC 4862 5.4.3)."""
        us = self.config.us
        if us.mac in (seen.mac, seen.frame_src):
            return False
        if seen.ip == self.target:
            return not any(us.ip) or seen.asked_ip == us.ip
        is_nd_probe = len(self.target) == 16 and seen.is_request and not any(seen.ip)
        return is_nd_probe and seen.asked_ip == self.target

    def _report(self, seen: Seen, rtt_ns: Ns | None) -> None:
        us = self.config.us
        asked_ip = seen.asked_ip if seen.asked_ip != us.ip else b""
        asked_mac = seen.asked_mac if seen.asked_mac != us.mac else b""
        self._events.append(ArpingAnswered(seen, self.target, self._seq, rtt_ns, asked_ip, asked_mac))
        if rtt_ns is not None:
            self._measure(rtt_ns)
            kind = "duplicate" if self._answered_seq == self._seq else ""
            self._trace_answer(seen.now, self.target, self._seq, rtt_ns, kind)

    def _note_mac(self, seen: Seen) -> None:
        if seen.mac in self.macs:
            return
        self.macs.append(seen.mac)
        if len(self.macs) > 1 and self.config.find_duplicates:
            self._events.append(ArpingConflict(seen.now, self.target, tuple(self.macs[-2:]), "both answer"))

    def _check_end(self, now: Ns) -> None:
        config = self.config
        wanted = config.replies_wanted or (config.count if config.deadline_ns else 0)
        if config.quit_on_reply:
            self.finish(now, "reply")
        elif wanted and self.received_count >= wanted:
            self.finish(now, "replies")
        elif self._all_sent() and self.received_count >= self._seq:
            self._probe_at = min(self._probe_at, max(now, self._sent_at + config.interval_ns))
            self._set_next()
