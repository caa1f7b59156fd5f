"""May we use this address? The full procedure of RFC 5227 2.1 for IPv4, of RFC 4862 5.4 for IPv6."""

from random import Random

from pytools.engine import Port
from pytools.probe.arping_base import ArpingBase, Sending
from pytools.probe.arping_events import ArpingAnswered, ArpingVerdict
from pytools.probe.arping_wire import NO_MAC, Seen, Station, announcement, question, unspecified
from pytools.stack.stack import Stack
from pytools.units import NEVER, Ns


class AcdEngine(ArpingBase):
    """Probe `address` with the RFC's waits; with `announce` claim it when it is free.

    The constants come from the stack's configuration. `probe_count` 0 takes the RFC's (3, IPv6: 1).
    """

    def __init__(
        self,
        stack: Stack,
        port: Port,
        address: bytes,
        mac: bytes,
        rng: Random,
        *,
        announce: bool,
        probe_count: int = 0,
        deadline_ns: Ns = 0,
    ) -> None:
        super().__init__(stack, port)
        self.address = address
        self.conflict_mac = b""
        self.verdict = ""
        """free, announced, in use, or "" while it is not known."""
        config = stack.config
        self._us = Station(mac, unspecified(address))
        self._rng = rng
        self._probes_left = probe_count or (config.probe_count if len(address) == 4 else config.dad_transmits)
        self._announcements_left = config.announce_count if announce else 0
        self._config = config
        self._seq = 0
        self._sent_at: Ns = NEVER
        self._probing = True
        self._deadline_ns = deadline_ns
        self._ends_at: Ns = NEVER
        self._listen_for(address, self._us)

    @property
    def exit_status(self) -> int:
        """0 free, 1 in use or not found out, 2 the link refused."""
        if self.could_not_send:
            return 2
        return int(self.verdict not in ("free", "announced"))

    def _begin(self, now: Ns) -> None:
        """Wait at random first, so that hosts switched on together don't probe in step."""
        if self._deadline_ns:
            self._ends_at = now + self._deadline_ns
        longest = self._config.probe_wait_ns if len(self.address) == 4 else self._config.dad_delay_ns
        self._wait(now, round(self._rng.uniform(0, longest)))

    def _wait(self, now: Ns, duration_ns: Ns) -> None:
        self._next_at = min(now + duration_ns, self._ends_at)

    def _on_due(self, now: Ns) -> None:
        if now >= self._ends_at:
            self.finish(now, "deadline")
        elif self._probes_left:
            self._probes_left -= 1
            self._emit("probe", question(self._port, self._us, self.address, target_mac=NO_MAC), now)
            self._wait(now, self._pause())
        elif self._announcements_left:
            self._announce(now)
        else:
            self._settle(now, "free" if self._probing else "announced")

    def _pause(self) -> Ns:
        """Until the next probe, or after the last one until the address is ours."""
        config = self._config
        if len(self.address) == 16:
            return config.retransmit_ns
        if not self._probes_left:
            return config.announce_wait_ns
        return round(self._rng.uniform(config.probe_min_ns, config.probe_max_ns))

    def _announce(self, now: Ns) -> None:
        self._probing = False
        self._announcements_left -= 1
        us = Station(self._us.mac, self.address)
        self._emit("announcement", announcement(self._port, us, self.address, as_reply=False, target_mac=NO_MAC), now)
        self._wait(now, self._config.announce_interval_ns if self._announcements_left else 0)

    def _emit(self, kind: str, frame: bytes, now: Ns) -> None:
        self._seq += 1
        self._send(frame, Sending(self.address, self._seq, kind, True), now)

    def _on_sent(self, sending: Sending, now: Ns) -> None:
        self._sent_at = now

    def _on_seen(self, seen: Seen) -> None:
        if not self._is_conflict(seen):
            return
        rtt_ns = None if self._sent_at == NEVER else max(0, seen.at - self._sent_at)
        asked_ip = seen.asked_ip if any(seen.asked_ip) else b""
        self._events.append(ArpingAnswered(seen, self.address, self._seq, rtt_ns, asked_ip))
        self._trace_answer(seen.now, self.address, self._seq, rtt_ns or 0, "conflict")
        self._count(seen)
        self.conflict_mac = seen.mac
        self._settle(seen.now, "in use")

    def _is_conflict(self, seen: Seen) -> bool:
        """RFC 5227 2.1.1: another's ARP from the address, or while we probe another's probe for it."""
        if self._us.mac in (seen.mac, seen.frame_src):
            return False
        if seen.ip == self.address:
            return True
        return self._probing and seen.is_request and not any(seen.ip) and seen.asked_ip == self.address

    def _settle(self, now: Ns, verdict: str) -> None:
        self.verdict = verdict
        self._events.append(ArpingVerdict(now, self.address, self.conflict_mac, verdict == "announced"))
        self.finish(now, "conflict" if self.conflict_mac else "verdict")
