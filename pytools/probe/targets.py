"""What is known of each target of a sweep, in arrays: about 200 octets a target with its address."""

from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from pytools.errors import LocalProtocolError
from pytools.probe.ping_events import DUPLICATE, LATE, Summary
from pytools.probe.statistics import Histogram, Jitter, RttSum
from pytools.units import NEVER, Ns

WINDOW: Final = 64
"""So many probes of a target are told apart; an answer to an older one counts as a duplicate."""
_MASK: Final = (1 << WINDOW) - 1

WAITING: Final = 0
ALIVE: Final = 1
DEAD: Final = 2
_HIGHEST_US: Final = 0xFFFF_FFFF


class TargetTable:
    """Counters by index. `names` holds only the names that are not the address itself."""

    __slots__ = (
        "_answered",
        "_corrupted",
        "_duplicates",
        "_errors",
        "_ewma8_us",
        "_failed",
        "_index",
        "_last_us",
        "_lost",
        "_max_us",
        "_min_us",
        "_received",
        "_samples",
        "_square_sum",
        "_sum_us",
        "addresses",
        "histograms",
        "names",
        "rtts_us",
        "sent",
        "sent_at",
        "state",
    )

    def __init__(self, addresses: Sequence[bytes], names: dict[int, str] | None = None) -> None:
        count = len(addresses)
        self.addresses = addresses
        self.names = names or {}
        self._index = {address: index for index, address in enumerate(addresses)}
        if len(self._index) != count:
            raise LocalProtocolError("a target is given twice")
        self.sent = array("I", bytes(4 * count))
        self.sent_at = array("q", bytes(8 * count))
        self.state = bytearray(count)
        self._received = array("I", bytes(4 * count))
        self._errors = array("I", bytes(4 * count))
        self._samples = array("I", bytes(4 * count))
        self._min_us = array("I", bytes(4 * count))
        self._max_us = array("I", bytes(4 * count))
        self._last_us = array("I", bytes(4 * count))
        self._ewma8_us = array("Q", bytes(8 * count))
        self._sum_us = array("Q", bytes(8 * count))
        self._square_sum = array("d", bytes(8 * count))
        self._answered = array("Q", bytes(8 * count))
        self._failed = array("Q", bytes(8 * count))
        self._lost: dict[int, int] = {}
        self._duplicates: dict[int, int] = {}
        self._corrupted: dict[int, int] = {}
        self.histograms: dict[int, tuple[Histogram, Jitter]] | None = None
        """Percentiles of each target, if asked for: they cost some hundred octets each."""
        self.rtts_us: list[array[int]] | None = None
        """Every round trip of each target in order (-1: none), if asked for."""

    def __len__(self) -> int:
        return len(self.addresses)

    def find(self, address: bytes) -> int | None:
        """The index of an address."""
        return self._index.get(address)

    def begin(self, index: int, now: Ns) -> int:
        """Count a new probe; returns its number."""
        self.sent[index] = seq = self.sent[index] + 1
        self.sent_at[index] = now
        bit = 1 << seq % WINDOW
        if self._answered[index] & bit:
            self._answered[index] ^= bit
        if self._failed[index] & bit:
            self._failed[index] ^= bit
        if self._lost and index in self._lost:
            self._lost[index] &= ~bit
        if self.rtts_us is not None:
            self.rtts_us[index].append(-1)
        return seq

    def withdraw(self, index: int) -> None:
        """The probe that `begin` counted was not sent after all."""
        self.sent[index] -= 1
        if self.rtts_us is not None:
            self.rtts_us[index].pop()

    def is_settled(self, index: int, seq: int) -> bool:
        """Whether a probe was answered or failed."""
        bit = 1 << seq % WINDOW
        return bool((self._answered[index] | self._failed[index]) & bit)

    def is_answered(self, index: int, seq: int) -> bool:
        """Whether a probe was answered."""
        return bool(self._answered[index] & 1 << seq % WINDOW)

    def answer(self, index: int, seq: int, rtt_ns: Ns) -> int:
        """Count a sound reply; DUPLICATE or LATE if it is that."""
        self._sample(index, rtt_ns)
        bit = 1 << seq % WINDOW
        if self._answered[index] & bit or self.sent[index] - seq >= WINDOW:
            self._duplicates[index] = self._duplicates.get(index, 0) + 1
            return DUPLICATE
        self._answered[index] |= bit
        self._received[index] += 1
        if self.rtts_us is not None and seq <= len(self.rtts_us[index]):
            self.rtts_us[index][seq - 1] = rtt_ns // 1000
        return LATE if self._lost and self._lost.get(index, 0) & bit else 0

    def _sample(self, index: int, rtt_ns: Ns) -> None:
        rtt_us = min(rtt_ns // 1000, _HIGHEST_US)
        count = self._samples[index]
        self._samples[index] = count + 1
        self._last_us[index] = rtt_us
        if not count:
            self._min_us[index] = self._max_us[index] = self._sum_us[index] = rtt_us
            self._square_sum[index] = rtt_us * rtt_us
            self._ewma8_us[index] = rtt_us * 8
        else:
            if rtt_us < self._min_us[index]:
                self._min_us[index] = rtt_us
            if rtt_us > self._max_us[index]:
                self._max_us[index] = rtt_us
            self._sum_us[index] += rtt_us
            self._square_sum[index] += rtt_us * rtt_us
            ewma8 = self._ewma8_us[index]
            self._ewma8_us[index] = ewma8 + rtt_us - ewma8 // 8 if ewma8 else rtt_us * 8
        if self.histograms is not None:
            self._measure(index, rtt_ns)

    def _measure(self, index: int, rtt_ns: Ns) -> None:
        """Percentiles and jitter of one target."""
        assert self.histograms is not None
        if (pair := self.histograms.get(index)) is None:
            pair = self.histograms[index] = (Histogram(), Jitter())
        pair[0].add(rtt_ns)
        pair[1].add(rtt_ns // 1000)

    def fail(self, index: int, seq: int) -> bool:
        """An error ends a probe; True if it was open."""
        was_open = not self.is_settled(index, seq)
        self._errors[index] += 1
        self._failed[index] |= 1 << seq % WINDOW
        return was_open

    def refuse(self, index: int, seq: int) -> bool:
        """As `fail`, where ping counts no error: our own side would not send."""
        was_open = not self.is_settled(index, seq)
        self._failed[index] |= 1 << seq % WINDOW
        return was_open

    def lose(self, index: int, seq: int) -> None:
        """A probe's time is over."""
        self._lost[index] = (self._lost.get(index, 0) | 1 << seq % WINDOW) & _MASK

    def corrupt(self, index: int) -> None:
        """A reply with a bad checksum."""
        self._corrupted[index] = self._corrupted.get(index, 0) + 1

    def answered_count(self) -> int:
        """How many targets answered at least once."""
        return len(self) - self._received.count(0)

    def fully_answered_count(self) -> int:
        """How many targets answered every probe."""
        pairs = zip(self.sent, self._received, strict=True)
        return sum([1 for sent, received in pairs if sent and sent == received])

    def loss_percent(self, index: int) -> float:
        """Of one target."""
        sent = self.sent[index]
        return (sent - self._received[index]) * 100.0 / sent if sent else 0.0

    def avg_us(self, index: int) -> int:
        """Mean round trip of one target, -1 without a reply."""
        samples = self._samples[index]
        return self._sum_us[index] // samples if samples else -1

    def received(self, index: int) -> int:
        """Replies of one target without duplicates."""
        return self._received[index]

    def summary(self, index: int) -> Summary:
        """The figures of one target, made anew."""
        summary = Summary(self.names.get(index, ""), self.addresses[index])
        summary.sent, summary.received = self.sent[index], self._received[index]
        summary.errors = self._errors[index]
        if self._duplicates:
            summary.duplicates = self._duplicates.get(index, 0)
        if self._corrupted:
            summary.corrupted = self._corrupted.get(index, 0)
        rtt = summary.rtt
        rtt.count, rtt.min_us, rtt.max_us = self._samples[index], self._min_us[index], self._max_us[index]
        rtt.sum_us, rtt.square_sum = self._sum_us[index], int(self._square_sum[index])
        rtt.ewma8_us, rtt.last_us = self._ewma8_us[index], self._last_us[index]
        if self.histograms is not None and index in self.histograms:
            summary.histogram, summary.jitter = self.histograms[index]
        return summary

    def total_rtt(self) -> RttSum:
        """All round trips together, made anew (without a moving average)."""
        total = RttSum()
        total.count = sum(self._samples)
        if total.count:
            total.sum_us, total.square_sum = sum(self._sum_us), int(sum(self._square_sum))
            total.max_us = max(self._max_us)
            pairs = zip(self._min_us, self._samples, strict=True)
            total.min_us = min([least for least, samples in pairs if samples])
        return total

    def summaries(self) -> Iterator[Summary]:
        """Of each target in turn; nothing is kept."""
        return (self.summary(index) for index in range(len(self)))


class Outstanding:
    """Probes whose time to be called lost has not come, oldest first: (due, index, number)."""

    __slots__ = ("_due", "_index", "_seq", "_start")

    def __init__(self) -> None:
        self._due: array[int] = array("q")
        self._index: array[int] = array("I")
        self._seq: array[int] = array("I")
        self._start = 0

    def add(self, due_at: Ns, index: int, seq: int) -> None:
        """Due times never fall."""
        self._due.append(due_at)
        self._index.append(index)
        self._seq.append(seq)

    def next_at(self) -> Ns:
        """When the oldest is due, or NEVER."""
        return self._due[self._start] if self._start < len(self._due) else NEVER

    def pop(self) -> tuple[int, int]:
        """(index, number) of the oldest."""
        at = self._start
        self._start += 1
        found = self._index[at], self._seq[at]
        if self._start > 4096 and self._start * 2 > len(self._due):
            del self._due[: self._start], self._index[: self._start], self._seq[: self._start]
            self._start = 0
        return found
