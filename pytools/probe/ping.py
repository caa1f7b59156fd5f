"""ping one target (or one group): pacing, matching, counting.

Behaviour is that of iputils 20250605: how many probes may be under way, when the next one is due, when it is over, what
counts as what. Probes are paced from absolute deadlines, so that the interval doesn't drift.
"""

from array import array
from collections import deque
from errno import EMSGSIZE, ENOBUFS, errorcode
from typing import Any, Final

from pytools.engine import EngineEvent, RxMeta, Transmit
from pytools.probe import ping_events as events
from pytools.probe.echo import HEADER_OCTETS, TIMEVAL_OCTETS, Payload, full_seq, oddities, recorded
from pytools.probe.ping_events import BAD_CHECKSUM, DIFFERENT_ADDRESS, DUPLICATE, LATE, Summary
from pytools.probe.statistics import Histogram, Jitter, RttSum
from pytools.stack.events import EchoReply, IcmpError, SendFailed
from pytools.stack.packet import DEFAULT_OPTIONS, IpOptions
from pytools.stack.stack import Stack
from pytools.trace.events import ProbeAnswered, ProbeFailed, ProbeLost, ProbeSent
from pytools.units import MS, NEVER, SECOND, Ns
from pytools.wire import icmp, icmp6

SHORTEST_GAP_NS: Final[Ns] = 10 * MS
"""A flood without answers sends no faster than this."""
_SEQS: Final = 1 << 16
_AT_ONCE: Final = 64
"""Probes given to the stack in one go."""

# What became of a probe, a bit set per sequence number.
_ANSWERED: Final = 1
_FAILED: Final = 2
_LOST: Final = 4

# Why a run is over.
COUNT: Final = "count"
DEADLINE: Final = "deadline"
TIMEOUT: Final = "timeout"
FAILED: Final = "error"
INTERRUPTED: Final = "interrupted"


class PingConfig:
    """What to send and when to stop. Keyword arguments override the defaults."""

    ident: int = 0
    size: int = 56
    """Octets of payload."""
    sizes: tuple[int, ...] = ()
    """A sweep: the payloads of the probes in turn, over and over."""
    pattern: bytes = b""
    count: int = 0
    """Probes to send, 0 for no end; with `deadline_ns` the replies to wait for."""
    interval_ns: Ns = SECOND
    """0: the next probe follows an answer at once (a flood)."""
    preload: int = 1
    """Probes that may be under way in a flood, and may leave at once in the beginning."""
    adaptive: bool = False
    adaptive_floor_ns: Ns = 0
    flood: bool = False
    deadline_ns: Ns = 0
    """From the first probe, 0 for none; an error ends such a run too."""
    linger_ns: Ns = 10 * SECOND
    """How long to wait after the last probe when nothing at all has answered, 0 for ever."""
    timeout_ns: Ns = 0
    """What a probe may take, and how long the run waits after the last one; 0: two round trips or `linger_ns`."""
    lost_after_ns: Ns = 0
    """When a probe is told to be lost, 0: at the end."""
    outstanding: bool = False
    """Report the previous probe when it is unanswered as the next one goes (-O)."""
    user_to_user: bool = False
    """Round trips end when the reply reaches this engine (-U), not with the link's receive stamp."""
    transmit_stamps: bool = False
    """Round trips start with the link's transmit stamp, not with the clock in front of the system call."""
    multicast: bool = False
    """Many may answer: a group or a broadcast address."""
    check_source: bool = False
    """A reply from another address is no reply."""
    options: IpOptions = DEFAULT_OPTIONS
    epoch_ns: Ns = 0
    report_every_ns: Ns = 0
    """Make a ReportDue every so often."""
    histogram: bool = False
    """Count round trips for percentiles and jitter."""
    tell_sent: bool = False
    tell: bool = True
    """Make events of replies, errors and losses; without, only counts are kept."""

    def __init__(self, **settings: Any) -> None:
        for name, value in settings.items():
            setattr(self, name, value)


class PingEngine:
    """Pings `dst` through a Stack that it owns. It begins with the first `on_deadline`; `done` says that it is over."""

    def __init__(self, stack: Stack, dst: bytes, config: PingConfig, name: str = "") -> None:
        self._stack = stack
        self._dst = dst
        self._family = 4 if len(dst) == 4 else 6
        self._name = name
        self.config = config
        self._sizes = config.sizes or (config.size,)
        self._size = self._sizes[0] if len(self._sizes) == 1 else 0
        """The size of every probe, 0 for several (or for one of no octets)."""
        self._payload = Payload(max(self._sizes), config.pattern)
        self._tells_sent = bool(config.tell_sent or config.lost_after_ns)
        self._events: deque[EngineEvent] = deque()
        self._interval_ns = config.interval_ns
        self.sent = 0
        self.received = 0
        self.duplicates = 0
        self.corrupted = 0
        self.errors = 0
        self.rtt = RttSum()
        self.histogram = Histogram() if config.histogram else None
        self.jitter = Jitter() if config.histogram else None
        self._pipe = 0
        self._acknowledged = 0
        self._fate = bytearray(_SEQS)
        self._sent_at = array("q", bytes(8 * _SEQS))
        self._stamped_at = array("q", bytes(8 * _SEQS)) if config.transmit_stamps else None
        self._waiting: deque[int] = deque()
        """Probes whose time to be called lost has not come, with `lost_after_ns`."""
        self._begun_at: Ns = NEVER
        self._last_at: Ns = 0
        self._next_at: Ns = 0
        self._exit_at: Ns = NEVER
        self._deadline_at: Ns = NEVER
        self._report_at: Ns = NEVER
        self._user_to_user = config.user_to_user
        self.done = False
        self.reason = ""
        stack.open_echo(config.ident)

    # --- the engine ---------------------------------------------------------------------------------------------------

    def on_frame(self, frame: memoryview, now: Ns, meta: RxMeta) -> None:
        """See `Engine`."""
        self._stack.on_frame(frame, now, meta)
        self._drain()

    def on_deadline(self, now: Ns) -> None:
        """See `Engine`."""
        stack = self._stack
        if stack.next_deadline() <= now:
            stack.on_deadline(now)
            self._drain()
        if self._begun_at == NEVER:
            self._begin(now)
        if self._waiting:
            self._give_up(now)
        if now >= self._report_at:
            self._report_at = max(self._report_at + self.config.report_every_ns, now)
            self._events.append(events.ReportDue(now))
        if now >= self._deadline_at:
            self.finish(now, DEADLINE)
        if now >= self._exit_at:
            self.finish(now, TIMEOUT)
        burst = _AT_ONCE
        while burst and self._next_at <= now and not self.done:
            self._probe(now)
            burst -= 1

    def poll_transmit(self, now: Ns) -> Transmit | None:
        """See `Engine`."""
        transmit = self._stack.poll_transmit(now)
        if transmit is None:
            self._drain()  # a probe to ourselves was answered in there
        return transmit

    def on_transmitted(self, token: object, now: Ns, at: Ns | None, error: OSError | None) -> None:
        """See `Engine`."""
        if type(token) is not int:
            self._stack.on_transmitted(token, now, at, error)
        elif error is not None:
            self._refused(now, token, error.errno or 0, getattr(error, "mtu", 0))
        elif at is None:
            self._sent_at[token & 0xFFFF] = now
        elif self._stamped_at is not None:
            self._stamped_at[token & 0xFFFF] = at

    def poll_event(self) -> EngineEvent | None:
        """See `Engine`."""
        return self._events.popleft() if self._events else None

    def next_deadline(self) -> Ns:
        """See `Engine`."""
        stack_at = self._stack.next_deadline()
        if self.done:
            return stack_at
        lost_at = self._lost_at(self._waiting[0]) if self._waiting else NEVER
        return min(stack_at, lost_at, self._next_at, self._exit_at, self._deadline_at, self._report_at)

    # --- sending ------------------------------------------------------------------------------------------------------

    def _begin(self, now: Ns) -> None:
        config = self.config
        self._begun_at = self._last_at = now
        self._next_at = now - (config.preload - 1) * self._interval_ns
        if config.deadline_ns:
            self._deadline_at = now + config.deadline_ns
        if config.report_every_ns:
            self._report_at = now + config.report_every_ns

    def _probe(self, now: Ns) -> None:
        """Send one probe and set when the next is due."""
        config, before = self.config, self.sent
        if config.outstanding and before and not self._fate[before & 0xFFFF] & _ANSWERED:
            self._events.append(events.NoAnswerYet(now, 0, before))
        self.sent = seq = before + 1
        slot = seq & 0xFFFF
        size = self._size or self._size_of(seq)
        payload = self._payload.at(config.epoch_ns + now, size)
        self._fate[slot] = 0
        self._sent_at[slot] = now
        if self._stamped_at is not None:
            self._stamped_at[slot] = 0
        self._last_at = now
        options = self._options_at(now) if config.options.options else config.options
        errno = self._stack.send_echo(self._dst, config.ident, slot, payload, now, options, seq)
        if errno == ENOBUFS:
            # The queue is full. The probe never was; try it again as soon as a flood would.
            self.sent = before
            self._next_at = now + SHORTEST_GAP_NS
            return
        if self._tells_sent or self._stack.trace.probe is not None:
            self._tell_sent(now, seq, size)
        if errno:
            self._refused(now, seq, errno)
        self._schedule(now)

    def _options_at(self, now: Ns) -> IpOptions:
        """What the probe carries: the sender is the first hop of a recorded route or of timestamps, as with Linux."""
        given = self.config.options
        source = given.src or self._stack.source_for(self._dst, now, given) or b""
        settings = {name: getattr(given, name) for name in IpOptions.__slots__}
        settings["options"] = recorded(given.options, source, self.config.epoch_ns + now)
        return IpOptions(**settings)

    def _tell_sent(self, now: Ns, seq: int, size: int) -> None:
        if self.config.lost_after_ns:
            self._waiting.append(seq)
        if self.config.tell_sent:
            self._events.append(events.ProbeSent(now, 0, seq, size))
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeSent(now, self._dst, seq))

    def _schedule(self, now: Ns) -> None:
        """Say when the next probe is due, or how long to wait for the last ones."""
        config, interval = self.config, self._interval_ns
        if config.count and self.sent >= config.count and not config.deadline_ns:
            self._next_at = NEVER
            self._linger(now)
        elif not interval:
            self._next_at = now if self._in_flight() < config.preload else now + SHORTEST_GAP_NS
        elif config.adaptive:
            self._next_at = now + interval
        else:
            # A wake-up that is late by less than an interval leaves the schedule as it is; a longer gap is not made
            # up for, but for the preload.
            self._next_at = max(self._next_at, now - config.preload * interval) + interval

    def _linger(self, now: Ns) -> None:
        """After the last probe: two round trips or an interval if anything has answered, else `linger_ns`."""
        if self._exit_at != NEVER:
            return
        if self.config.timeout_ns:
            self._exit_at = now + self.config.timeout_ns
        elif self.received:
            self._exit_at = now + max(2000 * self.rtt.max_us, self._interval_ns)
        elif self.config.linger_ns:
            self._exit_at = now + self.config.linger_ns

    def _in_flight(self) -> int:
        """Probes later than the last that came back: earlier ones are lost, or late."""
        return self.sent - self._acknowledged

    def _size_of(self, seq: int) -> int:
        return self._sizes[(seq - 1) % len(self._sizes)]

    # --- what comes back ----------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        poll_event = self._stack.poll_event
        while (event := poll_event()) is not None:
            if self.done:
                continue
            if isinstance(event, EchoReply):
                self._on_reply(event)
            elif isinstance(event, IcmpError):
                self._on_error(event)
            elif isinstance(event, SendFailed) and type(event.token) is int:
                self._refused(event.now, event.token, event.errno)

    def _on_reply(self, reply: EchoReply) -> None:
        config, sent = self.config, self.sent
        seq = sent - ((sent - reply.seq) & 0xFFFF)
        if seq <= 0 or reply.ident != config.ident:
            return
        slot, size = seq & 0xFFFF, self._size or self._size_of(seq)
        flags = 0
        if reply.src != self._dst or not reply.checksum_ok or len(reply.payload) < size or config.multicast:
            flags = oddities(reply, self._dst, size, config.multicast)
            if flags & DIFFERENT_ADDRESS and config.check_source:
                return
        rtt_ns = self._round_trip(reply, slot)
        if flags & BAD_CHECKSUM:
            self.corrupted += 1
        else:
            self._acknowledge(seq)
            flags |= self._count(slot, rtt_ns)
            self._after_answer(reply.now)
        if config.tell:
            self._tell_reply(reply, seq, size, rtt_ns, flags)
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeAnswered(reply.now, self._dst, seq, rtt_ns, "duplicate" if flags & DUPLICATE else ""))
        if config.count and self.received + self.errors >= config.count:
            self.finish(reply.now, COUNT)

    def _round_trip(self, reply: EchoReply, slot: int) -> Ns:
        """From the clock before the send (or the transmit stamp) to the receive stamp (or now)."""
        sent_at, at, now = self._sent_at[slot], reply.at, reply.now
        if self._user_to_user:
            return max(now - sent_at, 0)
        if self._stamped_at is not None and self._stamped_at[slot]:
            sent_at = self._stamped_at[slot]
        rtt_ns = (at if at < now else now) - sent_at
        if rtt_ns >= 0:
            return rtt_ns
        # The stamps are on a clock that was stepped: from here on, the time at which replies reach us has to do.
        self._user_to_user = True
        self._events.append(events.ClockWarning(now, -rtt_ns))
        return max(now - self._sent_at[slot], 0)

    def _count(self, slot: int, rtt_ns: Ns) -> int:
        """Count a sound reply; returns DUPLICATE or LATE if it is that."""
        self.rtt.add(rtt_ns // 1000)
        if self.histogram is not None and self.jitter is not None:
            self.histogram.add(rtt_ns)
            self.jitter.add(rtt_ns // 1000)
        fate = self._fate[slot]
        if fate & _ANSWERED:
            self.duplicates += 1
            return DUPLICATE
        self._fate[slot] = fate | _ANSWERED
        self.received += 1
        return LATE if fate & _LOST else 0

    def _acknowledge(self, seq: int) -> None:
        """Note how many probes were under way, and that those up to `seq` no longer are."""
        distance = self.sent - seq
        if distance >= self._pipe:
            self._pipe = distance + 1
        if seq > self._acknowledged:
            self._acknowledged = seq

    def _after_answer(self, now: Ns) -> None:
        """An answer may make the next probe due."""
        config = self.config
        if config.adaptive:
            self._adapt()
        if self._next_at == NEVER:
            if self._exit_at == NEVER:
                self._linger(now)
        elif not self._interval_ns:
            if self._next_at > now and self._in_flight() < config.preload:
                self._next_at = now
        elif config.adaptive:
            self._next_at = self._last_at + self._interval_ns

    def _adapt(self) -> None:
        """The interval becomes the mean round trip, in whole milliseconds; below half of one it is a flood."""
        average_us = self.rtt.ewma8_us // 8 if self.rtt.ewma8_us else self._interval_ns // 1000
        self._interval_ns = max((average_us + 500) // 1000 * MS, self.config.adaptive_floor_ns)

    def _tell_reply(self, reply: EchoReply, seq: int, size: int, rtt_ns: Ns, flags: int) -> None:
        wrong_at, expected, payload = -1, 0, b""
        if not flags & events.TRUNCATED:
            wrong_at = self._payload.first_wrong(reply.payload, size)
        if wrong_at >= 0:
            expected, payload = self._payload.octets[wrong_at], reply.payload
        self._events.append(
            events.Replied(
                reply.now,
                0,
                seq,
                reply.src,
                rtt_ns,
                reply.length or HEADER_OCTETS + len(reply.payload),
                reply.ttl,
                reply.tos,
                reply.ident,
                flags,
                size,
                recorded(reply.options, reply.dst, self.config.epoch_ns + reply.now),
                wrong_at,
                expected,
                payload,
            )
        )

    def _on_error(self, error: IcmpError) -> None:
        quoted = error.quoted
        if quoted.icmp_seq is None or quoted.icmp_ident != self.config.ident or quoted.dst != self._dst:
            return
        seq = full_seq(self.sent, quoted.icmp_seq)
        if seq <= 0:
            return
        told = events.ErrorReported(
            error.now, 0, seq, error.src, error.family, error.type, error.code, error.info, error.gateway, quoted.packet
        )
        told.size = self._size_of(seq)
        if told.is_failure:
            self._fail(error.now, seq, (icmp if error.family == 4 else icmp6).name(error.type, error.code))
        if self.config.tell:
            self._events.append(told)
        self._check_count(error.now)

    def _fail(self, now: Ns, seq: int, why: str) -> None:
        self.errors += 1
        self._fate[seq & 0xFFFF] |= _FAILED
        if self._family == 4:
            self._acknowledge(seq)  # ping does so for IPv4 only, as its "pipe" shows
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeFailed(now, self._dst, seq, why))
        if not self._interval_ns and self._next_at != NEVER and self._in_flight() < self.config.preload:
            self._next_at = min(self._next_at, now)
        if self.config.deadline_ns:
            self.finish(now, FAILED)

    def _refused(self, now: Ns, seq: int, errno: int, mtu: int = 0) -> None:
        """Our own side would not send the probe: it counts as sent, and as an error where ping counts it.

        `mtu` is what the kernel says, where it knows the way and the stack does not.
        """
        if self._fate[seq & 0xFFFF] & _FAILED or self.done:
            return
        self._fate[seq & 0xFFFF] |= _FAILED
        if errno == EMSGSIZE:
            mtu = mtu or self._stack.path_mtu(self._dst, now, self.config.options)
            self.errors += 1
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeFailed(now, self._dst, seq, errorcode.get(errno, str(errno))))
        if self.config.tell:
            self._events.append(events.SendRefused(now, 0, seq, self._family, errno, mtu))
        if errno == EMSGSIZE and self.config.deadline_ns:
            self.finish(now, FAILED)
        self._check_count(now)

    # --- the end ------------------------------------------------------------------------------------------------------

    def _check_count(self, now: Ns) -> None:
        if self.config.count and self.received + self.errors >= self.config.count:
            self.finish(now, COUNT)

    def _lost_at(self, seq: int) -> Ns:
        return self._sent_at[seq & 0xFFFF] + self.config.lost_after_ns

    def _give_up(self, now: Ns) -> None:
        """Call lost what has had its time."""
        waiting = self._waiting
        while waiting and (self._fate[waiting[0] & 0xFFFF] or self._lost_at(waiting[0]) <= now):
            seq = waiting.popleft()
            if not self._fate[seq & 0xFFFF]:
                self._lose(now, seq)

    def _lose(self, now: Ns, seq: int) -> None:
        slot = seq & 0xFFFF
        self._fate[slot] |= _LOST
        waited_ns = now - self._sent_at[slot]
        if self.config.tell:
            self._events.append(events.Lost(now, 0, seq, waited_ns))
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeLost(now, self._dst, seq, waited_ns))

    def finish(self, now: Ns, reason: str = INTERRUPTED) -> None:
        """Stop; the first reason counts. What is unanswered is lost."""
        if self.done:
            return
        self.done = True
        self.reason = reason
        if self.config.tell:
            for seq in range(max(1, self.sent - _SEQS + 1), self.sent + 1):
                if not self._fate[seq & 0xFFFF]:
                    self._lose(now, seq)

    @property
    def is_answered(self) -> bool:
        """What ping's exit status says: something answered, and with a deadline all `count` did."""
        config = self.config
        return bool(self.received) and not (config.deadline_ns and self.received < config.count)

    def forget_distribution(self) -> None:
        """Percentiles and jitter start anew."""
        if self.histogram is not None:
            self.histogram, self.jitter = Histogram(), Jitter()

    def summary(self) -> Summary:
        """The figures so far."""
        config = self.config
        summary = Summary(self._name, self._dst)
        summary.sent, summary.received, summary.duplicates = self.sent, self.received, self.duplicates
        summary.corrupted, summary.errors, summary.pipe = self.corrupted, self.errors, self._pipe
        summary.rtt, summary.histogram, summary.jitter = self.rtt, self.histogram, self.jitter
        summary.timed = min(self._sizes) >= TIMEVAL_OCTETS
        if self._begun_at != NEVER:
            summary.elapsed_ns = self._last_at - self._begun_at
        floods = not self._interval_ns or config.flood or config.adaptive
        if self.received and floods and self.sent > 1:
            summary.ipg_us = summary.elapsed_ns // 1000 // (self.sent - 1)
        return summary
