"""Connecting to TCP ports: once or again and again, to one or many; and one connection to talk through.

engine = TcpConnectEngine(stack, tcp, targets, ConnectConfig(count=3))
"""

import errno
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

from pytools.engine import EngineEvent, RxMeta, Transmit
from pytools.probe.tcpconnect_events import (
    FAILED,
    OPEN,
    REFUSED,
    TIMED_OUT,
    UNREACHABLE,
    ConnectClosed,
    ConnectResult,
    ConnectStarted,
    DataReady,
    Tally,
)
from pytools.stack import sockets as so
from pytools.stack.events import IcmpError
from pytools.stack.packet import Packet
from pytools.stack.sockets import StreamSocket
from pytools.stack.stack import Stack
from pytools.stack.tcp import state as st
from pytools.stack.tcp.config import TcpConfig
from pytools.stack.tcp.connection import Connection
from pytools.stack.tcp.events import ConnectionNews
from pytools.stack.tcp.info import TcpInfo
from pytools.stack.tcp.tcp import Tcp
from pytools.units import MS, NEVER, SECOND, US, Ns

_CLOSING_NS: Final[Ns] = SECOND
"""So long a probe that was open waits for the end of its connection."""
_LATE: Final = (st.CLOSED, st.TIME_WAIT)
_REFUSED_ERRNOS: Final = frozenset((errno.ECONNREFUSED, errno.ECONNRESET))


class ConnectTarget:
    """One port of one host. `claim` gives a local port for an attempt (0: the stack chooses), `release` takes it back.

    `claim` may raise OSError, which makes the attempt FAILED.
    """

    __slots__ = ("address", "claim", "port", "release", "source")

    def __init__(
        self,
        address: bytes,
        port: int,
        source: bytes = b"",
        claim: "Callable[[], int] | None" = None,
        release: "Callable[[int], object] | None" = None,
    ) -> None:
        self.address = address
        self.port = port
        self.source = source
        self.claim = claim or (lambda: 0)
        self.release = release or (lambda _port: None)


class ConnectConfig:
    """How to connect. `keep`: the first connection that opens is kept for data; targets are tried one after the other.

    `count` attempts a target (0: no end), `interval_ns` apart; targets of a round start `gap_ns` apart. `timeout_ns`
    0: TCP's own patience. `reset`: end a probe by RST, so that its port is free at once.
    """

    __slots__ = ("count", "deadline_ns", "gap_ns", "interval_ns", "keep", "limit", "reset", "tcp", "timeout_ns")

    def __init__(
        self,
        *,
        count: int = 1,
        interval_ns: Ns = SECOND,
        timeout_ns: Ns = 0,
        gap_ns: Ns = 2 * MS,
        keep: bool = False,
        reset: bool = False,
        limit: int = 64,
        deadline_ns: Ns = 0,
        tcp: TcpConfig | None = None,
    ) -> None:
        self.count = 1 if keep else count
        self.interval_ns = interval_ns
        self.timeout_ns = timeout_ns
        self.gap_ns = max(1, gap_ns)
        self.keep = keep
        self.reset = reset
        self.limit = limit
        """Attempts under way at the same time."""
        self.deadline_ns = deadline_ns
        self.tcp = tcp


class Attempt:
    """One connection from its SYN to its end."""

    __slots__ = (
        "cwnd_max",
        "expires_at",
        "icmp",
        "local_port",
        "opened_at",
        "over",
        "result",
        "seq",
        "started_at",
        "stream",
        "target",
    )

    def __init__(self, target: int, seq: int, stream: StreamSocket, now: Ns, timeout_ns: Ns) -> None:
        self.target = target
        self.seq = seq
        self.stream = stream
        self.local_port = 0
        self.started_at = now
        self.opened_at: Ns = NEVER
        self.expires_at = now + timeout_ns if timeout_ns else NEVER
        self.icmp: IcmpError | None = None
        self.cwnd_max = 0
        self.result: ConnectResult | None = None
        self.over = False

    @property
    def connection(self) -> Connection:
        """The stack's side of it."""
        assert self.stream.connection is not None
        return self.stream.connection

    def info(self) -> TcpInfo:
        """TCP_INFO, and its largest window remembered."""
        info = self.connection.info()
        self.cwnd_max = max(self.cwnd_max, info.snd_cwnd)
        return info


class _Listening:
    """TCP's place at the stack, with an ear for who sends ICMP errors about our attempts."""

    __slots__ = ("_note", "_tcp", "on_packet")

    def __init__(self, tcp: Tcp, note: Callable[[IcmpError], object]) -> None:
        self._tcp = tcp
        self._note = note
        self.on_packet: Callable[[Packet, Ns], str | None] = tcp.on_packet

    def on_error(self, error: IcmpError, now: Ns) -> str | None:
        """See `ProtocolHandler`."""
        self._note(error)
        return self._tcp.on_error(error, now)


class TcpConnectEngine:
    """Attempts to connect, and with `keep` one connection to talk through. `done`: nothing more will come."""

    def __init__(self, stack: Stack, tcp: Tcp, targets: Sequence[ConnectTarget], config: ConnectConfig) -> None:
        self._stack = stack
        self._tcp = tcp
        self._config = config
        self._events: deque[EngineEvent] = deque()
        self._attempts: dict[object, Attempt] = {}
        """Under way, by connection."""
        self._fresh: list[Attempt] = []
        """Begun, and not asked for their SYN yet."""
        self._waiting: deque[int] = deque(range(len(targets)))
        """Targets of this round that were not tried yet."""
        self._round = 1
        self._next_at: Ns = 0
        self._round_at: Ns = -1
        self._end_at: Ns = NEVER
        self.targets = targets
        self.tallies = [Tally() for _ in targets]
        self.kept: Attempt | None = None
        self.last: Attempt | None = None
        """The latest attempt that opened."""
        self.done = False
        self.reason = ""
        self.began_at: Ns = -1
        stack.register(6, _Listening(tcp, self._note_error))

    # --- Engine -------------------------------------------------------------------------------------------------------

    def on_frame(self, frame: memoryview, now: Ns, meta: RxMeta) -> None:
        """See `Engine`."""
        self._stack.on_frame(frame, now, meta)
        self._drain(now)

    def on_deadline(self, now: Ns) -> None:
        """See `Engine`."""
        self._stack.on_deadline(now)
        self._drain(now)
        if self.done:
            return
        if self.began_at < 0:
            self.began_at = self._round_at = now
            self._end_at = now + self._config.deadline_ns if self._config.deadline_ns else NEVER
        if now >= self._end_at:
            self.finish(now, "deadline")
            return
        for attempt in [one for one in self._attempts.values() if one.expires_at <= now]:
            self._expire(attempt, now)
        while not self.done and self._next_at <= now:
            self._start_next(now)

    def poll_transmit(self, now: Ns) -> Transmit | None:
        """See `Engine`."""
        if self._fresh:
            self._set_off(now)
        transmit = self._stack.poll_transmit(now)
        self._drain(now)
        return transmit

    def _set_off(self, now: Ns) -> None:
        """The SYNs leave now: what came before is our own time."""
        for attempt in self._fresh:
            attempt.started_at = now
            if self._config.timeout_ns:
                attempt.expires_at = now + self._config.timeout_ns
        self._fresh.clear()

    def on_transmitted(self, token: object, now: Ns, at: Ns | None, error: OSError | None) -> None:
        """See `Engine`."""
        self._stack.on_transmitted(token, now, at, error)
        self._drain(now)

    def poll_event(self) -> EngineEvent | None:
        """See `Engine`."""
        return self._events.popleft() if self._events else None

    def next_deadline(self) -> Ns:
        """See `Engine`."""
        due = self._stack.next_deadline()
        if self.done:
            return due
        expires = min([attempt.expires_at for attempt in self._attempts.values()], default=NEVER)
        return min(due, self._next_at, self._end_at, expires)

    @property
    def is_parting(self) -> bool:
        """A connection that was open has not ended yet."""
        return any(attempt.result is not None for attempt in self._attempts.values())

    # --- attempts -----------------------------------------------------------------------------------------------------

    def _start_next(self, now: Ns) -> None:
        """Start the attempt that is due and say when the next one is."""
        config = self._config
        self._next_at = now  # whoever is over meanwhile leaves the schedule alone
        if self._waiting and not (config.keep and self._attempts) and len(self._attempts) < config.limit:
            self._start(self._waiting.popleft(), now)
        self._schedule(now)

    def _schedule(self, now: Ns) -> None:
        """When the next attempt is due; the end if there is none."""
        config = self._config
        if self.done:
            return
        self._next_at = NEVER
        if self._waiting:
            # One that has to wait for others is started when one of them is over.
            is_held = (config.keep and self._attempts) or len(self._attempts) >= config.limit
            self._next_at = NEVER if is_held else now + (0 if config.keep else config.gap_ns)
        elif not config.count or self._round < config.count:
            self._round += 1
            self._round_at = max(self._round_at + config.interval_ns, now + 1)
            self._waiting.extend(range(len(self.targets)))
            self._next_at = self._round_at
        elif not self._attempts:
            self.finish(now, "count")

    def _start(self, index: int, now: Ns) -> None:
        target, tally, config = self.targets[index], self.tallies[index], self._config
        tally.started += 1
        stream = StreamSocket(self._tcp, so.AF_INET if len(target.address) == 4 else so.AF_INET6)
        if config.tcp is not None:
            stream.config = config.tcp
        attempt = Attempt(index, tally.started, stream, now, config.timeout_ns)
        try:
            attempt.local_port = target.claim()
            if attempt.local_port or target.source:
                stream.reuse_address = True
                stream.bind(target.source, attempt.local_port)
            stream.connect((target.address, target.port), now)
        except OSError as problem:
            if problem.errno != errno.EINPROGRESS:
                self._fail(attempt, problem.errno or errno.EIO, now)
                return
        self._attempts[stream.connection] = attempt
        self._fresh.append(attempt)
        ends = self._ends(attempt)
        self._events.append(ConnectStarted(now, index, attempt.seq, *ends))

    def _ends(self, attempt: Attempt) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
        target = self.targets[attempt.target]
        if attempt.stream.connection is None:
            return (target.source, attempt.local_port), (target.address, target.port)
        key = attempt.stream.connection.key
        return (key[0], key[1]), (key[2], key[3])

    def _fail(self, attempt: Attempt, number: int, now: Ns) -> None:
        """The stack would not even try."""
        self._conclude(attempt, FAILED, number, now)
        self._release(attempt, now)

    def _expire(self, attempt: Attempt, now: Ns) -> None:
        """No answer to the SYN in time, or to the FIN of a probe: then a reset tells the peer that we are gone."""
        attempt.expires_at = NEVER
        del self._attempts[attempt.connection]
        if attempt.result is None:
            self._conclude(attempt, TIMED_OUT, errno.ETIMEDOUT, now)
        else:
            attempt.connection.abort(now)
            self._tcp.touch(attempt.connection, now)
        self._release(attempt, now)

    def _conclude(self, attempt: Attempt, outcome: str, number: int, now: Ns) -> None:
        """Count and tell what became of a handshake."""
        tally = self.tallies[attempt.target]
        tally.counts[outcome] += 1
        took_ns = now - attempt.started_at
        if outcome == OPEN:
            tally.rtts.add((took_ns + 500) // US)
            tally.histogram.add(took_ns)
        connection = attempt.stream.connection
        syn_count = 1 + (connection.info().causes.get("syn", 0) if connection is not None else 0)
        result = ConnectResult(
            now,
            attempt.target,
            attempt.seq,
            outcome,
            took_ns,
            self._ends(attempt),
            errno=number,
            icmp=attempt.icmp,
            syn_count=syn_count,
        )
        attempt.result = result
        self._events.append(result)

    def _release(self, attempt: Attempt, now: Ns) -> None:
        """The attempt is over: its port may be used again, and the next one may begin."""
        attempt.over = True
        attempt.stream.close(now)
        self.targets[attempt.target].release(attempt.local_port)
        if self._next_at == NEVER:
            self._schedule(now)

    # --- what the stack says ------------------------------------------------------------------------------------------

    def _note_error(self, error: IcmpError) -> None:
        quoted = error.quoted
        key = (quoted.src, quoted.source_port, quoted.dst, quoted.destination_port)
        for attempt in self._attempts.values():
            if attempt.connection.key == key:
                attempt.icmp = error
                return

    def _drain(self, now: Ns) -> None:
        while (event := self._stack.poll_event()) is not None:
            event.on_taken()
            if isinstance(event, ConnectionNews) and (attempt := self._attempts.get(event.connection)) is not None:
                self._on_news(attempt, now)

    def _on_news(self, attempt: Attempt, now: Ns) -> None:
        connection = attempt.connection
        if attempt.result is None:
            if attempt.stream.connecting:
                return
            if connection.state is st.CLOSED:
                del self._attempts[connection]
                self._conclude(attempt, *_verdict(attempt), now)
                self._release(attempt, now)
                return
            self._on_open(attempt, now)
        if attempt is self.kept:
            attempt.cwnd_max = max(attempt.cwnd_max, connection.tx.cc.cwnd)
            self._events.append(DataReady(now))
        if connection.state in _LATE:
            self._on_closed(attempt, now)

    def _on_open(self, attempt: Attempt, now: Ns) -> None:
        attempt.opened_at = now
        attempt.expires_at = NEVER
        self._conclude(attempt, OPEN, 0, now)
        self.last = attempt
        attempt.info()
        if self._config.keep:
            self.kept = attempt
            self._waiting.clear()
            return
        attempt.connection.linger_ns = 0 if self._config.reset else None
        attempt.expires_at = now + _CLOSING_NS
        attempt.stream.close(now)

    def _on_closed(self, attempt: Attempt, now: Ns) -> None:
        connection = attempt.connection
        del self._attempts[connection]
        info = attempt.info()
        lived_ns = now - attempt.opened_at
        closed = ConnectClosed(now, attempt.target, attempt.seq, connection.error, info, attempt.cwnd_max, lived_ns)
        self._events.append(closed)
        if attempt is self.kept:
            self.finish(now, "closed")
        else:
            self._release(attempt, now)

    # --- the end ------------------------------------------------------------------------------------------------------

    def finish(self, now: Ns, reason: str = "interrupted") -> None:
        """Stop; the first reason counts."""
        if not self.done:
            self.done = True
            self.reason = reason
            self._next_at = NEVER


def _verdict(attempt: Attempt) -> tuple[str, int]:
    """What a handshake that failed means."""
    number = attempt.connection.error or errno.ECONNABORTED
    if attempt.icmp is not None and number != errno.ETIMEDOUT:
        # A port-unreachable is a refusal by the host itself; everything else is the network's.
        return (REFUSED if number == errno.ECONNREFUSED else UNREACHABLE), number
    if number in _REFUSED_ERRNOS:
        return REFUSED, number
    return (TIMED_OUT if number == errno.ETIMEDOUT else UNREACHABLE), number
