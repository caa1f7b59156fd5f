"""Find the largest packet that gets to a host unfragmented (RFC 1191's question, asked end to end).

Packets go with DF set and without regard to what is cached. A router that answers "fragmentation needed" or "packet too
big" gives the next size to try; where routers keep silent it is a binary search.
"""

from collections import deque
from errno import EMSGSIZE, ENOBUFS
from typing import Any, Final

from pytools.engine import EngineEvent, RxMeta, Transmit
from pytools.probe.echo import Payload, full_seq
from pytools.probe.ping import INTERRUPTED
from pytools.stack.events import EchoReply, IcmpError, SendFailed
from pytools.stack.packet import IpOptions
from pytools.stack.stack import Stack
from pytools.units import NEVER, SECOND, Ns

# What became of a try.
PASSED: Final = "passed"
TOO_BIG: Final = "too big"
SILENT: Final = "silent"
FAILED: Final = "failed"

FOUND: Final = "found"
UNREACHED: Final = "unreached"
_SMALLEST4: Final = 68
_SMALLEST6: Final = 1280


class MtuTried(EngineEvent):
    """A packet of `size` octets: `outcome`, who said so (`src`, b"" for our own side), the MTU it named or 0."""

    __slots__ = ("code", "mtu", "outcome", "rtt_ns", "size", "src", "type")

    def __init__(
        self,
        now: Ns,
        size: int,
        outcome: str,
        src: bytes = b"",
        mtu: int = 0,
        rtt_ns: Ns | None = None,
        type: int = 0,
        code: int = 0,
    ) -> None:
        self.now = now
        self.size = size
        self.outcome = outcome
        self.src = src
        self.mtu = mtu
        self.rtt_ns = rtt_ns
        self.type = type
        self.code = code


class MtuSearchConfig:
    """Keyword arguments override the defaults."""

    ident: int = 0
    largest: int = 1500
    """The MTU of our own link."""
    tries: int = 3
    """So often a size may go unanswered before it counts as too big."""
    timeout_ns: Ns = SECOND
    options: IpOptions = IpOptions(df="probe")
    epoch_ns: Ns = 0

    def __init__(self, **settings: Any) -> None:
        for name, value in settings.items():
            setattr(self, name, value)


class MtuSearch:
    """The search as an engine. `done`, then `mtu` (0: nothing answered) and who limits it (`limited_by`)."""

    def __init__(self, stack: Stack, dst: bytes, config: MtuSearchConfig) -> None:
        self._stack = stack
        self._dst = dst
        self.config = config
        self._overhead = 28 if len(dst) == 4 else 48
        self._payload = Payload(config.largest)
        self._events: deque[EngineEvent] = deque()
        self._seq = 0
        self._sent_at: Ns = 0
        self._due_at: Ns = 0
        self._tries_left = 0
        self._smallest = min(_SMALLEST4 if len(dst) == 4 else _SMALLEST6, config.largest)
        self._passed = 0
        """The largest size that got through, 0 before the first."""
        self._too_big = config.largest + 1
        """The smallest size that did not, or one more than our link takes."""
        self._size = 0
        self._hint = 0
        self.limited_by = b""
        self.mtu = 0
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
        if self._stack.next_deadline() <= now:
            self._stack.on_deadline(now)
            self._drain()
        if self.done or now < self._due_at:
            return
        if not self._size:
            self._try(self.config.largest, now)
        elif self._tries_left:
            self._send(now)
        else:
            self._settle(now, MtuTried(now, self._size, SILENT))

    def poll_transmit(self, now: Ns) -> Transmit | None:
        """See `Engine`."""
        return self._stack.poll_transmit(now)

    def on_transmitted(self, token: object, now: Ns, at: Ns | None, error: OSError | None) -> None:
        """See `Engine`."""
        if type(token) is not int:
            self._stack.on_transmitted(token, now, at, error)
        elif error is not None:
            self._refused(now, token, error.errno or 0)
        elif at is None and token == self._seq:
            self._sent_at = now

    def poll_event(self) -> EngineEvent | None:
        """See `Engine`."""
        return self._events.popleft() if self._events else None

    def next_deadline(self) -> Ns:
        """See `Engine`."""
        return min(self._stack.next_deadline(), NEVER if self.done else self._due_at)

    # --- trying a size ------------------------------------------------------------------------------------------------

    def _try(self, size: int, now: Ns) -> None:
        self._size = size
        self._tries_left = self.config.tries
        self._send(now)

    def _send(self, now: Ns) -> None:
        self._tries_left -= 1
        self._seq += 1
        self._sent_at = now
        self._due_at = now + self.config.timeout_ns
        payload = self._payload.at(self.config.epoch_ns + now, self._size - self._overhead)
        config, seq = self.config, self._seq
        errno = self._stack.send_echo(self._dst, config.ident, seq & 0xFFFF, payload, now, config.options, seq)
        if errno == ENOBUFS:
            self._tries_left += 1
        elif errno:
            self._refused(now, seq, errno)

    # --- what comes back ----------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        while (event := self._stack.poll_event()) is not None:
            if self.done or not self._size:
                continue
            if isinstance(event, EchoReply):
                self._on_reply(event)
            elif isinstance(event, IcmpError):
                self._on_error(event)
            elif isinstance(event, SendFailed) and type(event.token) is int:
                self._refused(event.now, event.token, event.errno)

    def _on_reply(self, reply: EchoReply) -> None:
        size = len(reply.payload) + self._overhead
        if reply.ident != self.config.ident or not reply.checksum_ok or size != self._size:
            return
        rtt_ns = max(reply.at - self._sent_at, 0)
        self._settle(reply.now, MtuTried(reply.now, size, PASSED, reply.src, 0, rtt_ns))

    def _on_error(self, error: IcmpError) -> None:
        quoted = error.quoted
        if quoted.icmp_ident != self.config.ident or quoted.icmp_seq is None or quoted.dst != self._dst:
            return
        if full_seq(self._seq, quoted.icmp_seq) <= self._seq - self.config.tries + self._tries_left:
            return  # about a size that is settled
        too_big = (error.type, error.code) == (3, 4) if error.family == 4 else error.type == 2
        outcome = TOO_BIG if too_big else FAILED
        mtu = error.info if too_big else 0
        self._settle(error.now, MtuTried(error.now, self._size, outcome, error.src, mtu, None, error.type, error.code))

    def _refused(self, now: Ns, seq: int, errno: int) -> None:
        if self.done or seq != self._seq:
            return
        outcome = TOO_BIG if errno == EMSGSIZE else FAILED
        mtu = self._stack.path_mtu(self._dst, now, self.config.options) if errno == EMSGSIZE else 0
        self._settle(now, MtuTried(now, self._size, outcome, b"", mtu))

    # --- what it means ------------------------------------------------------------------------------------------------

    def _settle(self, now: Ns, tried: MtuTried) -> None:
        """A size is known to pass or not: go on, or stop."""
        self._events.append(tried)
        if tried.outcome == PASSED:
            self._passed = max(self._passed, self._size)
        elif tried.outcome == FAILED or self._size <= self._smallest:
            self.finish(now, UNREACHED)
            return
        else:
            self._too_big = min(self._too_big, self._size)
            self.limited_by = tried.src
            self._hint = tried.mtu
        if self._passed + 1 >= self._too_big:
            self.mtu = self._passed
            self.finish(now, FOUND)
        else:
            self._try(self._next_size(), now)

    def _next_size(self) -> int:
        """What a router named, then one more to be sure of it; without a hint, halves of what is left."""
        if self._passed < self._hint < self._too_big:
            return self._hint
        if not self._passed:
            # Does anything get through? One answer makes the silence at other sizes mean something.
            return self._smallest
        if self._passed == self._hint:
            return self._passed + 1
        return (self._passed + self._too_big) // 2

    def finish(self, now: Ns, reason: str = INTERRUPTED) -> None:
        """Stop; the first reason counts."""
        if not self.done:
            self.done = True
            self.reason = reason
