"""ping many targets: one engine, one identifier, figures of each in arrays (`probe.targets`).

Targets are probed in rounds, in order: one probe each, `gap_ns` apart, a round every `interval_ns`. In reachability
mode a round takes only the targets that have not answered, each when the time for its previous probe is over.
"""

from array import array
from collections import deque
from collections.abc import Sequence
from errno import EMSGSIZE, ENOBUFS, errorcode
from random import Random
from typing import Any, Final

from pytools.engine import EngineEvent, RxMeta, Transmit
from pytools.probe import ping_events as events
from pytools.probe.echo import HEADER_OCTETS, TIMEVAL_OCTETS, Payload, full_seq, oddities
from pytools.probe.ping import COUNT, DEADLINE, INTERRUPTED, SHORTEST_GAP_NS, TIMEOUT
from pytools.probe.ping_events import BAD_CHECKSUM, DUPLICATE, Summary
from pytools.probe.statistics import Histogram
from pytools.probe.targets import ALIVE, DEAD, WAITING, Outstanding, TargetTable
from pytools.stack.events import EchoReply, IcmpError, SendFailed
from pytools.stack.packet import DEFAULT_OPTIONS, IpOptions
from pytools.stack.stack import Stack
from pytools.trace.events import ProbeAnswered, ProbeFailed, ProbeLost, ProbeSent
from pytools.units import MS, NEVER, SECOND, Ns
from pytools.wire import icmp, icmp6

_AT_ONCE: Final = 64
_WARM_UP_PROBES: Final = 32
_WARM_UP_NS: Final[Ns] = 200 * MS
"""Until the first probe is on the wire no more than so many are given to the stack, for so long: behind a gateway whose
link address is still asked for, further ones would only push each other out of its queue."""
_LATE_NS: Final[Ns] = 100 * MS
"""A schedule that is later than this is not made up for."""


class SweepConfig:
    """What to send to each target and when. Keyword arguments override the defaults."""

    ident: int = 0
    size: int = 56
    pattern: bytes = b""
    count: int = 0
    """Probes to each target, 0 for no end."""
    interval_ns: Ns = SECOND
    """Between the probes to one target."""
    gap_ns: Ns = MS
    """Between any two probes; 0: as fast as the link takes them."""
    flood: bool = False
    """No interval: the next round follows at once, or after 10 ms without answers."""
    retries: int = -1
    """0 or more: reachability mode, each target is asked once and so many times again until it answers."""
    backoff: float = 1.5
    """Each further try may take so many times longer."""
    timeout_ns: Ns = 0
    """What a probe may take, and how long the run waits after the last one; 0: two round trips or `linger_ns`."""
    lost_after_ns: Ns = 0
    """When a probe is told to be lost, 0: not at all."""
    linger_ns: Ns = 10 * SECOND
    """How long to wait after the last probe when nothing at all has answered, 0 for ever."""
    deadline_ns: Ns = 0
    outstanding: bool = False
    user_to_user: bool = False
    options: Sequence[IpOptions] = ()
    """Of each target; () for the defaults."""
    behind_gateway: bool = False
    shuffle: bool = False
    epoch_ns: Ns = 0
    report_every_ns: Ns = 0
    """Make a ReportDue every so often."""
    histograms: bool = False
    """Percentiles and jitter of each target, not only of all together."""
    keep_rtts: bool = False
    tell_sent: bool = False
    tell: bool = True

    def __init__(self, **settings: Any) -> None:
        for name, value in settings.items():
            setattr(self, name, value)


class SweepEngine:
    """Pings every address of `table` through a Stack that it owns; `done` says that it is over."""

    def __init__(self, stack: Stack, table: TargetTable, config: SweepConfig, rng: Random) -> None:
        self._stack = stack
        self.table = table
        self.config = config
        self._payload = Payload(config.size, config.pattern)
        self._tells_sent = bool(config.tell_sent or (config.lost_after_ns and config.tell and config.retries < 0))
        self._events: deque[EngineEvent] = deque()
        self._order = array("I", range(len(table)))
        if config.shuffle:
            rng.shuffle(self._order)
        self._cursor = 0
        self._round = 0
        self._rounds_from: Ns = 0
        """Round n is due n intervals later."""
        self._floods = config.flood or not config.interval_ns
        self._begun_at: Ns = NEVER
        self._last_at: Ns = 0
        self._next_at: Ns = 0
        self._exit_at: Ns = NEVER
        self._deadline_at: Ns = NEVER
        self._report_at: Ns = NEVER
        self._warm_until: Ns = 0
        self._given = 0
        self._open = 0
        """Probes neither answered nor failed."""
        self._undecided = len(table)
        self._outstanding = Outstanding()
        self._older_at: dict[int, Ns] = {}
        """When a probe went whose successor to the same target went before its answer came."""
        self._user_to_user = config.user_to_user
        self.total = Summary("", b"")
        self._histogram = self.total.histogram = Histogram()
        self._longest_ns: Ns = 0
        self.done = False
        self.reason = ""
        if config.histograms:
            table.histograms = {}
        if config.keep_rtts:
            table.rtts_us = [array("q") for _ in range(len(table))]
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
        if self._outstanding.next_at() <= now:
            self._give_up(now)
        if now >= self._report_at:
            self._report_at = max(self._report_at + self.config.report_every_ns, now)
            self._events.append(events.ReportDue(now))
        if now >= self._deadline_at:
            self.finish(now, DEADLINE)
        if now >= self._exit_at:
            self.finish(now, TIMEOUT)
        burst, order, is_sweep = _AT_ONCE, self._order, self.config.retries < 0
        while burst and self._next_at <= now and not self.done:
            if is_sweep and now >= self._warm_until and self._cursor < len(order):
                self._probe(order[self._cursor], now)
            else:
                self._step(now)
            burst -= 1

    def poll_transmit(self, now: Ns) -> Transmit | None:
        """See `Engine`."""
        transmit = self._stack.poll_transmit(now)
        if transmit is None:
            self._drain()
        return transmit

    def on_transmitted(self, token: object, now: Ns, at: Ns | None, error: OSError | None) -> None:
        """See `Engine`."""
        if type(token) is not int:
            self._stack.on_transmitted(token, now, at, error)
            return
        index, seq = token >> 16, token & 0xFFFF
        if error is not None:
            mtu = getattr(error, "mtu", 0)
            self._refused(now, index, full_seq(self.table.sent[index], seq), error.errno or 0, mtu)
        elif at is None:
            self._warm_until = 0
            if self.table.sent[index] & 0xFFFF == seq:
                self.table.sent_at[index] = now
            elif token in self._older_at:
                self._older_at[token] = now

    def poll_event(self) -> EngineEvent | None:
        """See `Engine`."""
        return self._events.popleft() if self._events else None

    def next_deadline(self) -> Ns:
        """See `Engine`."""
        if self.done:
            return self._stack.next_deadline()
        own = min(self._next_at, self._exit_at, self._deadline_at, self._report_at, self._outstanding.next_at())
        return min(own, self._stack.next_deadline())

    # --- sending ------------------------------------------------------------------------------------------------------

    def _begin(self, now: Ns) -> None:
        self._begun_at = self._last_at = self._next_at = self._rounds_from = now
        if self.config.deadline_ns:
            self._deadline_at = now + self.config.deadline_ns
        if self.config.report_every_ns:
            self._report_at = now + self.config.report_every_ns
        if self.config.behind_gateway:
            self._warm_until = now + _WARM_UP_NS

    def _step(self, now: Ns) -> None:
        """Do what is due: the next target's probe, or the turn of the round."""
        if self.config.retries >= 0:
            self._skip_decided()
        if self._cursor == len(self._order):
            self._turn_round()
            return
        if now < self._warm_until and self._given >= _WARM_UP_PROBES:
            self._next_at = now + MS
            return
        index = self._order[self._cursor]
        if self.config.retries < 0:
            self._probe(index, now)
        elif (due_at := self._due_at(index)) > now:
            self._next_at = due_at
        elif self._round > self.config.retries:
            self._cursor += 1
            self._decide(now, index, DEAD, None)
        else:
            self._probe(index, now)

    def _skip_decided(self) -> None:
        """Go on to the next target whose fate is open."""
        order, state, cursor = self._order, self.table.state, self._cursor
        while cursor < len(order) and state[order[cursor]] != WAITING:
            cursor += 1
        self._cursor = cursor

    def _due_at(self, index: int) -> Ns:
        """When the previous try to reach a target is over."""
        if not self._round:
            return 0
        patience = int(self._patience_ns * self.config.backoff ** (self._round - 1))
        return self.table.sent_at[index] + patience

    @property
    def _patience_ns(self) -> Ns:
        return self.config.timeout_ns or 500 * MS

    def _probe(self, index: int, now: Ns) -> None:
        """Send one probe and go on to the next target."""
        table, config = self.table, self.config
        if before := table.sent[index]:
            if not table.is_settled(index, before):
                self._remember(index, before)
            if config.outstanding and not table.is_answered(index, before):
                self._events.append(events.NoAnswerYet(now, index, before))
        seq = table.begin(index, now)
        payload = self._payload.at(config.epoch_ns + now, config.size)
        token = index << 16 | (seq & 0xFFFF)
        errno = self._stack.send_echo(
            table.addresses[index], config.ident, seq & 0xFFFF, payload, now, self._options_of(index), token
        )
        if errno == ENOBUFS:
            # The queue is full. The probe never was; try it again soon.
            table.withdraw(index)
            self._next_at = now + MS
            return
        self._cursor += 1
        self._given += 1
        self._open += 1
        self._last_at = now
        self.total.sent += 1
        if self._tells_sent or self._stack.trace.probe is not None:
            self._tell_sent(now, index, seq)
        if errno:
            self._refused(now, index, seq, errno)
        self._next_at = max(self._next_at, now - _LATE_NS) + config.gap_ns
        if self._cursor == len(self._order) and config.retries < 0:
            self._end_of_round(now)

    def _options_of(self, index: int) -> IpOptions:
        return self.config.options[index] if self.config.options else DEFAULT_OPTIONS

    def _remember(self, index: int, seq: int) -> None:
        """Keep when an unanswered probe went, now that its place is taken; what is too old goes."""
        older = self._older_at
        older[index << 16 | (seq & 0xFFFF)] = self.table.sent_at[index]
        limit = self._last_at - 60 * SECOND
        while older and older[first := next(iter(older))] < limit:
            del older[first]

    def _tell_sent(self, now: Ns, index: int, seq: int) -> None:
        config = self.config
        if config.lost_after_ns and config.tell and config.retries < 0:
            self._outstanding.add(now + config.lost_after_ns, index, seq)
        if config.tell_sent:
            self._events.append(events.ProbeSent(now, index, seq, config.size))
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeSent(now, self.table.addresses[index], seq))

    def _turn_round(self) -> None:
        """Begin the next round (reachability mode: of those that are still undecided)."""
        self._cursor = 0
        self._round += 1
        if self.config.retries >= 0:
            self._order = array("I", [index for index in self._order if self.table.state[index] == WAITING])

    def _end_of_round(self, now: Ns) -> None:
        """All targets have had their probe: when does the next round begin, if there is one?"""
        config = self.config
        if config.count and self._round + 1 >= config.count:
            self._next_at = NEVER
            self._linger(now)
        elif self._floods:
            self._next_at = now + SHORTEST_GAP_NS if self._open else max(self._next_at, now)
        else:
            due_at = self._rounds_from + (self._round + 1) * config.interval_ns
            if due_at < now - config.interval_ns:  # the gaps are longer than the interval allows: start anew
                self._rounds_from += now - due_at
                due_at = now
            self._next_at = max(self._next_at, due_at)

    def _linger(self, now: Ns) -> None:
        """After the last probe: `timeout_ns`, or two round trips or an interval once anything answers."""
        config = self.config
        if not self._open:
            self.finish(now, COUNT)
        elif config.timeout_ns:
            self._exit_at = self._last_at + config.timeout_ns
        elif self.total.received:
            self._exit_at = self._last_at + max(2 * self._longest_ns, config.interval_ns)
        elif config.linger_ns:
            self._exit_at = self._last_at + config.linger_ns

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
                index, seq = event.token >> 16, event.token & 0xFFFF
                self._refused(event.now, index, full_seq(self.table.sent[index], seq), event.errno)

    def _on_reply(self, reply: EchoReply) -> None:
        table = self.table
        index = table.find(reply.src)
        if index is None or reply.ident != self.config.ident:
            return
        sent = table.sent[index]
        seq = sent - ((sent - reply.seq) & 0xFFFF)
        if seq <= 0:
            return
        flags = 0
        if not reply.checksum_ok or len(reply.payload) < self.config.size:
            flags = oddities(reply, reply.src, self.config.size, False)
        rtt_ns = self._round_trip(reply, index, seq)
        if flags & BAD_CHECKSUM:
            table.corrupt(index)
            self.total.corrupted += 1
        elif (flag := table.answer(index, seq, rtt_ns)) & DUPLICATE:
            flags |= flag
            self.total.duplicates += 1
            self._sample(rtt_ns)
        else:
            flags |= flag
            self.total.received += 1
            self._sample(rtt_ns)
            self._settle(reply.now, index, rtt_ns)
        if self.config.tell:
            self._tell_reply(reply, index, seq, rtt_ns, flags)
        if (emit := self._stack.trace.probe) is not None:
            kind = "duplicate" if flags & DUPLICATE else "bad checksum" if flags & BAD_CHECKSUM else ""
            emit(ProbeAnswered(reply.now, reply.src, seq, rtt_ns, kind))

    def _round_trip(self, reply: EchoReply, index: int, seq: int) -> Ns:
        table = self.table
        sent_at, at, now = table.sent_at[index], reply.at, reply.now
        if table.sent[index] != seq:
            sent_at = self._older_at.get(index << 16 | (seq & 0xFFFF), sent_at)
        if self._user_to_user:
            return max(now - sent_at, 0)
        rtt_ns = (at if at < now else now) - sent_at
        if rtt_ns >= 0:
            return rtt_ns
        if at < table.sent_at[index]:
            self._user_to_user = True
            self._events.append(events.ClockWarning(now, -rtt_ns))
        return max(now - sent_at, 0)

    def _sample(self, rtt_ns: Ns) -> None:
        if rtt_ns > self._longest_ns:
            self._longest_ns = rtt_ns
        self._histogram.add(rtt_ns)

    def _settle(self, now: Ns, index: int, rtt_ns: Ns | None) -> None:
        """A probe is no longer open."""
        self._open -= 1
        if self.config.retries >= 0:
            if rtt_ns is not None and self.table.state[index] == WAITING:
                self._decide(now, index, ALIVE, rtt_ns)
        elif self._next_at == NEVER:
            self._linger(now)
        elif self._floods and not self._open and self._cursor == len(self._order):
            self._next_at = now

    def _decide(self, now: Ns, index: int, state: int, rtt_ns: Ns | None) -> None:
        """Reachability mode: this target's fate is known."""
        self.table.state[index] = state
        self._undecided -= 1
        self._events.append(events.TargetDone(now, index, self.table.sent[index], state == ALIVE, rtt_ns))
        if not self._undecided:
            self.finish(now, COUNT)

    def _tell_reply(self, reply: EchoReply, index: int, seq: int, rtt_ns: Ns, flags: int) -> None:
        size = self.config.size
        wrong_at = -1 if flags & events.TRUNCATED else self._payload.first_wrong(reply.payload, size)
        told = events.Replied(
            reply.now,
            index,
            seq,
            reply.src,
            rtt_ns,
            reply.length or HEADER_OCTETS + len(reply.payload),
            reply.ttl,
            reply.tos,
            reply.ident,
            flags,
            size,
            reply.options,
        )
        if wrong_at >= 0:
            told.wrong_at, told.expected, told.payload = wrong_at, self._payload.octets[wrong_at], reply.payload
        self._events.append(told)

    def _on_error(self, error: IcmpError) -> None:
        quoted = error.quoted
        index = self.table.find(quoted.dst)
        if index is None or quoted.icmp_seq is None or quoted.icmp_ident != self.config.ident:
            return
        seq = full_seq(self.table.sent[index], quoted.icmp_seq)
        if seq <= 0:
            return
        told = events.ErrorReported(
            error.now, index, seq, error.src, error.family, error.type, error.code, error.info, error.gateway
        )
        told.quoted, told.size = quoted.packet, self.config.size
        if told.is_failure:
            self._warm_until = 0
            self.total.errors += 1
            if self.table.fail(index, seq):
                self._settle(error.now, index, None)
            if (emit := self._stack.trace.probe) is not None:
                why = (icmp if error.family == 4 else icmp6).name(error.type, error.code)
                emit(ProbeFailed(error.now, quoted.dst, seq, why))
        if self.config.tell:
            self._events.append(told)

    def _refused(self, now: Ns, index: int, seq: int, errno: int, mtu: int = 0) -> None:
        """Our own side would not send the probe; `mtu` as in `PingEngine`."""
        table = self.table
        if self.done or table.is_settled(index, seq):
            return
        self._warm_until = 0
        address = table.addresses[index]
        if errno == EMSGSIZE:
            mtu = mtu or self._stack.path_mtu(address, now, self._options_of(index))
            self.total.errors += 1
            table.fail(index, seq)
        else:
            table.refuse(index, seq)
        self._settle(now, index, None)
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeFailed(now, address, seq, errorcode.get(errno, str(errno))))
        if self.config.tell:
            self._events.append(events.SendRefused(now, index, seq, 4 if len(address) == 4 else 6, errno, mtu))

    # --- the end ------------------------------------------------------------------------------------------------------

    def _give_up(self, now: Ns) -> None:
        """Call lost what has had its time."""
        while self._outstanding.next_at() <= now:
            index, seq = self._outstanding.pop()
            if not self.table.is_settled(index, seq):
                self.table.lose(index, seq)
                self._tell_lost(now, index, seq, self.config.lost_after_ns)

    def _tell_lost(self, now: Ns, index: int, seq: int, waited_ns: Ns) -> None:
        self._events.append(events.Lost(now, index, seq, waited_ns))
        if (emit := self._stack.trace.probe) is not None:
            emit(ProbeLost(now, self.table.addresses[index], seq, waited_ns))

    def finish(self, now: Ns, reason: str = INTERRUPTED) -> None:
        """Stop; the first reason counts. What is unanswered is told to be lost, with `lost_after_ns`."""
        if self.done:
            return
        self.done = True
        self.reason = reason
        if not self.config.tell or self.config.retries >= 0:
            return
        while self._outstanding.next_at() < NEVER:
            index, seq = self._outstanding.pop()
            if not self.table.is_settled(index, seq):
                self._tell_lost(now, index, seq, now - self.table.sent_at[index])

    @property
    def is_answered(self) -> bool:
        """Whether every target answered: at least once, as ping's status asks of one."""
        return self.table.answered_count() == len(self.table)

    def forget_distribution(self) -> None:
        """Percentiles and jitter start anew."""
        if self.table.histograms is not None:
            self.table.histograms = {}

    def summary(self) -> Summary:
        """All targets together."""
        total = self.total
        total.rtt = self.table.total_rtt()
        total.timed = self.config.size >= TIMEVAL_OCTETS
        if self._begun_at != NEVER:
            total.elapsed_ns = self._last_at - self._begun_at
        return total
