"""What a TCP probe tells the application."""

from typing import Final

from pytools.engine import EngineEvent
from pytools.probe.statistics import Histogram, RttSum
from pytools.stack.events import IcmpError
from pytools.stack.tcp.info import TcpInfo
from pytools.units import Ns

# What became of an attempt.
OPEN: Final = "open"
REFUSED: Final = "refused"
TIMED_OUT: Final = "timed_out"
UNREACHABLE: Final = "unreachable"
FAILED: Final = "failed"
"""It could not even be tried: the stack or the system refused."""
INTERRUPTED: Final = "interrupted"
OUTCOMES: Final = (OPEN, REFUSED, TIMED_OUT, UNREACHABLE, FAILED)


class ConnectEvent(EngineEvent):
    """Base: `target` is the index of the target, `seq` the number of the attempt there (1, 2, ...)."""

    __slots__ = ("seq", "target")

    def __init__(self, now: Ns, target: int, seq: int) -> None:
        self.now = now
        self.target = target
        self.seq = seq


class ConnectStarted(ConnectEvent):
    """A SYN is on its way from `local` to `remote`, (address, port) each."""

    __slots__ = ("local", "remote")

    def __init__(self, now: Ns, target: int, seq: int, local: tuple[bytes, int], remote: tuple[bytes, int]) -> None:
        super().__init__(now, target, seq)
        self.local = local
        self.remote = remote


class ConnectResult(ConnectEvent):
    """The end of a handshake, good or bad, after `took_ns`.

    `outcome` is one of OUTCOMES, `errno` what a socket would say, `icmp` the error that ended it (None: no ICMP),
    `syn_count` how many SYNs it took, `local` and `remote` the ends.
    """

    __slots__ = ("errno", "icmp", "local", "outcome", "remote", "syn_count", "took_ns")

    def __init__(
        self,
        now: Ns,
        target: int,
        seq: int,
        outcome: str,
        took_ns: Ns,
        ends: tuple[tuple[bytes, int], tuple[bytes, int]],
        *,
        errno: int = 0,
        icmp: IcmpError | None = None,
        syn_count: int = 1,
    ) -> None:
        super().__init__(now, target, seq)
        self.outcome = outcome
        self.took_ns = took_ns
        self.local, self.remote = ends
        self.errno = errno
        self.icmp = icmp
        self.syn_count = syn_count


class DataReady(EngineEvent):
    """The connection that was kept has something to read, room to write, or has ended: try again."""

    __slots__ = ()


class ConnectClosed(ConnectEvent):
    """A connection that was open is over. `errno` is 0 after an orderly end; `info` is the last TCP_INFO."""

    __slots__ = ("cwnd_max", "errno", "info", "lived_ns")

    def __init__(self, now: Ns, target: int, seq: int, errno: int, info: TcpInfo, cwnd_max: int, lived_ns: Ns) -> None:
        super().__init__(now, target, seq)
        self.errno = errno
        self.info = info
        self.cwnd_max = cwnd_max
        self.lived_ns = lived_ns


class Tally:
    """The counts of one target."""

    __slots__ = ("counts", "histogram", "rtts", "started")

    def __init__(self) -> None:
        self.started = 0
        self.counts = dict.fromkeys(OUTCOMES, 0)
        self.rtts = RttSum()
        """Of handshakes that opened a connection."""
        self.histogram = Histogram()

    @property
    def finished(self) -> int:
        """Attempts with a result."""
        return sum(self.counts.values())
