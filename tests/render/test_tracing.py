import io
import json
from collections.abc import Collection, Sequence
from pathlib import Path

import pytest

from pytools.cli.output import OutputError
from pytools.engine import RAW_IP, Port
from pytools.errors import LinkError
from pytools.render.json_lines import JsonWriter
from pytools.render.json_trace import JsonTrace
from pytools.render.pcapng import PcapngWriter
from pytools.render.text import TextRenderer
from pytools.render.tracing import Tracing
from pytools.trace.events import TraceEvent
from pytools.trace.hub import Trace
from pytools.units import NEVER, SECOND, Ns
from tests.render import frames
from tests.render.frames import call, sent

PORTS = [Port(0, "veth0", mac=frames.OURS)]


class Log:
    """A consumer that notes what it is told, and fails when it should."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.error: Exception | None = None

    def on_event(self, event: TraceEvent) -> None:
        self.calls.append(event.name)

    def add_port(self, port: Port) -> None:
        self.calls.append(port.name)

    def flush(self) -> None:
        self._note("flush")

    def close(self) -> None:
        self._note("close")

    def _note(self, name: str) -> None:
        self.calls.append(name)
        if self.error is not None:
            raise self.error


class Clock:
    """A waiter that jumps."""

    ready: Collection[int] = (3,)

    def __init__(self) -> None:
        self.at = 0

    def now(self) -> Ns:
        return self.at

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        self.at = until
        return until


def test_every_consumer_gets_every_event_in_the_order_of_adding() -> None:
    trace, first, second = Trace(), Log(), Log()
    tracing = Tracing(trace)
    tracing.add("one", first)
    tracing.add("two", second)
    assert trace.frame is not None
    trace.frame(sent(0, b""))
    tracing.add_port(PORTS[0])
    tracing.close()
    assert first.calls == second.calls == ["frame_sent", "veth0", "close"]


def test_a_waiter_flushes_before_it_waits() -> None:
    log, clock = Log(), Clock()
    tracing = Tracing(Trace())
    tracing.add("log", log)
    waiter = tracing.before_waiting(clock)
    assert waiter.wait(5, (), ()) == 5
    assert (waiter.now(), waiter.ready, log.calls) == (5, (3,), ["flush"])


def test_without_consumers_the_waiter_stays_as_it_is() -> None:
    clock = Clock()
    assert Tracing(Trace()).before_waiting(clock) is clock


def test_a_consumer_that_fails_is_named_once_and_left_out() -> None:
    bad, good = Log(), Log()
    tracing = Tracing(Trace())
    tracing.add("out.pcapng", bad)
    tracing.add("stderr", good)
    bad.error = OSError(28, "No space left on device")
    with pytest.raises(LinkError, match=r"^cannot write the trace to out\.pcapng: No space left on device$"):
        tracing.flush()
    tracing.flush()
    tracing.close()
    assert (bad.calls, good.calls) == (["flush"], ["flush", "close"])


def test_close_closes_all_before_it_reports() -> None:
    bad, good = Log(), Log()
    tracing = Tracing(Trace())
    tracing.add("a", bad)
    tracing.add("b", good)
    bad.error = ValueError("I/O operation on closed file")
    with pytest.raises(LinkError, match="cannot write the trace to a: I/O operation on closed file"):
        tracing.close()
    assert good.calls == ["close"]
    tracing.close()


def test_standard_output_keeps_its_own_error_and_status() -> None:
    log = Log()
    tracing = Tracing(Trace())
    tracing.add("-", log)
    log.error = OutputError(OSError(28, "No space left on device"))
    with pytest.raises(OutputError, match="write error"):
        tracing.flush()


def test_text_json_and_pcapng_tell_the_same_run(tmp_path: Path) -> None:
    trace, text, lines = Trace(), io.StringIO(), io.StringIO()
    tracing = Tracing(trace)
    tracing.add("text", TextRenderer(text, 1, PORTS, start_at=0))
    tracing.add("json", JsonTrace(JsonWriter(lines, 0), PORTS))
    path = tmp_path / "out.pcapng"
    tracing.add(str(path), PcapngWriter(path.open("wb"), PORTS, start_at=0, epoch_ns=SECOND))
    for event in call(sent(0, frames.arp_request())):
        emit = trace.settle if event.name == "settled" else trace.frame
        assert emit is not None
        emit(event)
    tracing.add_port(Port(1, "wg0", RAW_IP))
    assert trace.frame is not None
    trace.frame(sent(1, frames.echo_packet(), port=1))
    assert text.getvalue() == " 0.000000           > ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)\n"
    tracing.before_waiting(Clock()).wait(NEVER, (), ())
    assert len(text.getvalue().splitlines()) == 2
    tracing.close()
    assert [json.loads(line)["interface"] for line in lines.getvalue().splitlines()] == ["veth0", "wg0"]
    assert frames.arp_request() in path.read_bytes()
