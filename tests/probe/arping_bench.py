"""A simulated link for the engines of arping: our stack on the host's own addresses, peers that run stacks too."""

from random import Random

from pytools.engine import ETHERNET, Port
from pytools.probe.arping_wire import Station
from pytools.run.driver import Driver
from pytools.sim.impairment import Impairment
from pytools.sim.network import Host, Network, Segment, SimLink
from pytools.sim.wire import Wire
from pytools.stack.config import StackConfig
from pytools.stack.stack import Stack
from pytools.trace.events import FrameSent
from pytools.units import SECOND
from pytools.wire.addr import parse_ip, parse_mac
from pytools.wire.notation import describe

OUR_MAC = parse_mac("02:00:00:00:00:01")
PEER_MAC = parse_mac("02:00:00:00:00:02")
OTHER_MAC = parse_mac("02:00:00:00:00:03")
OUR4, PEER4, NOBODY4 = (parse_ip(f"10.0.0.{n}") for n in (1, 2, 99))
OUR6, PEER6, NOBODY6 = (parse_ip(f"fd00::{n}") for n in (1, 2, 99))
START = 1000 * SECOND


class Bench:
    """One run of one engine. `sent` has (seconds since the start, packet) for each frame that left us."""

    def __init__(self, *, vlans=(), delay_ns=0, shared=True):
        self.network = Network(START)
        self.segment = Segment(self.network)
        self.stack = Stack(Random(1), StackConfig(auto_link_local=False))
        self.port = Port(0, "sim0", mac=OUR_MAC, vlans=vlans)
        self.stack.add_port(self.port)
        self.stack.add_address(0, OUR4, 24, shared=shared)
        self.stack.add_address(0, OUR6, 64, shared=shared)
        self.link = SimLink(self.network, self.segment, self.port, *self._wires(delay_ns))
        self.sent = []
        self.events = []
        self.stack.trace.subscribe(self._on_sent, ("frame",))

    @staticmethod
    def _wires(delay_ns):
        return (Wire(Impairment(delay_ns=delay_ns), Random(2)),) if delay_ns else ()

    def _on_sent(self, event):
        if isinstance(event, FrameSent):
            self.sent.append(((event.now - START) / SECOND, describe(b"".join(event.parts), ETHERNET, level=1)))

    def peer(self, *addresses, mac=PEER_MAC, vlans=(), **settings):
        """A host with its own stack."""
        stack = Stack(Random(3), StackConfig(auto_link_local=False, **settings))
        stack.add_port(port := Port(0, "peer0", mac=mac, vlans=vlans))
        for address in addresses:
            stack.add_address(0, address, 24 if len(address) == 4 else 64)
        host = Host(self.network, stack)
        host.plug(port, self.segment)
        return host

    def inject(self, at_s, frame):
        """Somebody's frame reaches the link `at_s` seconds after the start."""
        plug = self.segment.plug(lambda _: None)
        self.network.push(START + round(at_s * SECOND), plug.send, frame)

    def run(self, engine, until_s=60.0):
        """Run to the end of the engine, or to `until_s`; returns the events."""
        end = START + round(until_s * SECOND)
        driver = Driver(engine, [self.link], self.network, self.events.append)
        while not engine.done and self.network.now() < end:
            driver.step(end)
        driver.flush()
        return self.events

    def of(self, kind):
        """The events of one class."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def elapsed_s(self):
        return (self.network.now() - START) / SECOND


def us4():
    return Station(OUR_MAC, OUR4)


def us6():
    return Station(OUR_MAC, OUR6)
