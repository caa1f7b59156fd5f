"""The pages that promise something about output say it of everything there is."""

import io
import re
import shlex
from collections.abc import Collection, Sequence
from pathlib import Path
from random import Random

import pytest

from pytools.probe.ping import PingConfig, PingEngine
from pytools.render.json_trace import FIELDS
from pytools.render.text import TextRenderer
from pytools.run.driver import Driver
from pytools.sim.network import Network
from pytools.sim.spec import parse
from pytools.sim.topology import Topology
from pytools.stack.stack import Stack
from pytools.trace.events import FrameReceived, FrameSent
from pytools.units import Ns
from pytools.wire.addr import parse_ip
from tests.render import samples
from tests.render.schema import SCHEMA

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "json.md").read_text()


def rows() -> dict[str, list[str]]:
    """Event -> fields, as the table of trace records has them."""
    table = PAGE.split("## Trace records")[1].split("## Examples")[0]
    return {m[1]: re.findall(r"`(\w+)`", m[2]) for m in re.finditer(r"^\| `(\w+)` \|([^|]*)\|", table, re.M)}


def test_every_trace_event_has_its_row_with_exactly_its_fields() -> None:
    documented = rows()
    assert set(documented) == {kind.name for kind in samples.event_classes()}
    for name, fields in documented.items():
        assert sorted(fields) == sorted(set(SCHEMA["$defs"][name]["properties"]) - {"event"}), name


def test_the_table_names_fields_as_they_are_written() -> None:
    for kind, fields in FIELDS.items():
        assert {key for key, _, _ in fields} <= set(rows()[kind.name])
    assert "at_ns" in rows()[FrameReceived.name]
    assert "at_ns" not in rows()[FrameSent.name]


def examples() -> list[tuple[str, str]]:
    """(command, output) of each run that the page on traces shows."""
    text = (DOCS / "trace.md").read_text()
    found = re.finditer(r"^    \$ pytools (ping .*)\n((?:    .*\n)+)", text, re.M)
    return [(m[1], re.sub(r"^    ", "", m[2], flags=re.M)) for m in found]


class Flushing:
    """The simulated network as waiter, with the trace written before each wait, as a command does it."""

    def __init__(self, network: Network, renderer: TextRenderer) -> None:
        self._network = network
        self._renderer = renderer
        self.now = network.now

    @property
    def ready(self) -> Collection[int]:
        return self._network.ready

    def wait(self, until: Ns, readable: Sequence[int], writable: Sequence[int]) -> Ns:
        self._renderer.flush()
        return self._network.wait(until, readable, writable)


def run(command: str) -> str:
    """The trace of `ping -v[v] -c COUNT -e IDENT [-s SIZE] --via sim:SPEC TARGET`."""
    _, verbose, *words, target = shlex.split(command)
    settings = dict(zip(words[0::2], words[1::2], strict=True))
    stack = Stack(Random(1))
    topology = Topology(parse(settings["--via"].removeprefix("sim:")), stack.trace)
    topology.configure(stack)
    config = PingConfig(ident=int(settings["-e"]), count=int(settings["-c"]), size=int(settings.get("-s", 56)))
    engine = PingEngine(stack, parse_ip(target), config)
    stream = io.StringIO()
    renderer = TextRenderer(stream, verbose.count("v"), [topology.port], start_at=0)
    stack.trace.subscribe(renderer.on_event)
    Driver(engine, [topology.link], Flushing(topology.network, renderer)).run(lambda: engine.done)
    renderer.flush()
    # Identifications of packets are drawn at random.
    return re.sub(r"(?<=frag )\d+|(?<=\bid )\d{3,}", "N", stream.getvalue())


@pytest.mark.parametrize(("command", "shown"), examples())
def test_the_page_on_traces_shows_what_a_run_prints(command: str, shown: str) -> None:
    assert run(command) == re.sub(r"(?<=frag )\d+|(?<=\bid )\d{3,}", "N", shown)


def test_the_page_on_traces_has_examples() -> None:
    assert len(examples()) == 3
