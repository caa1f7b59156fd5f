"""What `pytools host` does: a path with addresses of our own, the loop, what is told of it."""

import sys
from time import time_ns
from typing import Any, Protocol

from pytools.cli.app import split_command_line
from pytools.cli.arping_plan import read_mac
from pytools.cli.host import Options
from pytools.cli.host_command import Command, lend_capabilities
from pytools.cli.open import Path, PathRequest, open_path
from pytools.cli.options import trace_request
from pytools.cli.output import OutputError
from pytools.engine import EngineEvent, Port
from pytools.errors import EXIT_COULD_NOT_ASK, EXIT_NO, EXIT_YES, PytoolsError, UsageError
from pytools.probe.host import CATEGORIES, Tally
from pytools.run.driver import Driver, OnEvent
from pytools.run.signals import Signals
from pytools.stack.config import StackConfig
from pytools.stack.routes import Route
from pytools.stack.stack import Stack
from pytools.stack.udp import SERVICES
from pytools.units import MS, NEVER, SECOND, Ns, ns_from_seconds
from pytools.wire.addr import Network, format_ip, parse_ip

QUICK_PROBES = 2
QUICK_GAP_NS: Ns = 100 * MS
QUICK_WAIT_NS: Ns = 200 * MS
"""The quick form of asking first: whoever is awake answers within a millisecond, so a third of a second for two tries
finds most conflicts; the rest is found later, by the defence of RFC 5227. --acd takes the RFC's seven seconds."""


def run(options: Options) -> int:
    """Run one command line; returns the exit status. PytoolsError: one line that says what was refused."""
    output: Output = JsonOutput(options) if options.json else TextOutput(options)
    try:
        return _run(options, output)
    except PytoolsError as error:
        output.fail(error)
        raise


def _run(options: Options, output: "Output") -> int:
    request = _request(options)
    with Signals(on_quit=output.interim) as signals, open_path(request) as path:
        for note in path.notes:
            print(f"host: {note}", file=sys.stderr)
        port = path.ports[0]
        _furnish(options, path, port)
        child = _child(options, path)
        try:
            return _Run(options, output, path, port, child).run(signals)
        finally:
            if child is not None:
                child.close()


# --- what is asked for ------------------------------------------------------------------------------------------------


def _request(options: Options) -> PathRequest:
    via = options.via
    way = via.partition(":")[0]
    addresses = options.address or []
    if way in ("auto", "packet") and not addresses:
        raise UsageError("where? --via tap, lab or sim, or --address ADDR/LEN for a host on an interface (-h explains)")
    if way == "sim" and options.command:
        raise UsageError("--via sim has no kernel to run a command on")
    if options.no_probe and options.acd:
        raise UsageError("--no-probe and --acd exclude each other")
    if options.pcp and options.vlan is None:
        options.vlan = 0
    return PathRequest(
        "host",
        via=via,
        interfaces=options.interface or (),
        address=addresses[0] if addresses else None,
        more_addresses=addresses[1:],
        network=options.network,
        mtu=options.mtu,
        mac=read_mac(options.mac, "--mac"),
        vlans=() if options.vlan is None else (options.pcp << 13 | options.vlan,),
        probe=not options.no_probe,
        stack_config=_config(options),
        seed=options.seed,
        endless=not (options.count or options.deadline),
        trace=trace_request(options.verbose, options.trace_format, options.pcap, options.color, options.plain),
    )


def _config(options: Options) -> StackConfig:
    if options.acd:
        return StackConfig(multicast_reports=True)
    return StackConfig(
        multicast_reports=True,
        probe_count=QUICK_PROBES,
        probe_wait_ns=0,
        probe_min_ns=QUICK_GAP_NS,
        probe_max_ns=QUICK_GAP_NS,
        announce_wait_ns=QUICK_WAIT_NS,
        dad_delay_ns=0,
        dad_wait_ns=QUICK_GAP_NS + QUICK_WAIT_NS,
    )


def _furnish(options: Options, path: Path, port: Port) -> None:
    """Gateways and services."""
    for text in options.gateway or ():
        try:
            gateway = parse_ip(text)
        except ValueError as error:
            raise UsageError(f"--gateway: {error}") from None
        if not any(gateway in own.network for own in path.stack.addresses(port.index)):
            raise UsageError(f"--gateway {text}: not in a network of ours")
        everything = Network(bytes(len(gateway)), 0)
        path.stack.add_route(Route(everything, port.index, gateway, metric=-1))  # before what the way itself has
    if options.services:
        for number, service in SERVICES.items():
            path.stack.open_udp(number, service)


def _child(options: Options, path: Path) -> Command | None:
    if not options.command:
        return None
    if path.kind == "lab":
        lend_capabilities()
    return Command(options.command, output_to_stderr=options.json)


# --- the loop ---------------------------------------------------------------------------------------------------------


class _Run:
    """One run from ready to summary."""

    def __init__(self, options: Options, output: "Output", path: Path, port: Port, child: Command | None) -> None:
        self._options = options
        self._output = output
        self._path = path
        self._child = child
        self._ended = False
        self.tally = Tally(path.stack, (port.index,), self._tell, options.count)
        output.begin(path, port, self.tally)

    def run(self, signals: Signals) -> int:
        """Loop to the end; returns the exit status."""
        path, tally = self._path, self.tally
        path.stack.trace.subscribe(tally.on_trace, CATEGORIES)
        driver = path.driver(path.stack, tally.on_event)
        signals.attach(driver)
        if self._child is not None:
            driver.watch(self._child.fileno, self._on_child_ended)
        if path.kind == "sim":
            _invite(path)
        try:
            tally.begin(path.waiter.now())
            reason = self._loop(driver, signals)
        except OutputError:
            raise
        except PytoolsError as error:
            self._output.end(EXIT_COULD_NOT_ASK, "error", str(error))
            raise
        return self._status(reason)

    def _loop(self, driver: Driver, signals: Signals) -> str:
        """Turn until there is a reason to end."""
        clock, deadline = self._path.waiter.now, ns_from_seconds(self._options.deadline)
        end_at = clock() + deadline if deadline else NEVER
        while True:
            if signals.interrupted:
                return "interrupted"
            if self._ended:
                return "command"
            if self.tally.done:
                return "conflict" if self.tally.lost else "count"
            if self.tally.lost and not self.tally.is_ready:
                return "conflict"
            if clock() >= end_at:
                return "deadline"
            if not driver.step(end_at):
                return "idle"

    def _status(self, reason: str) -> int:
        status = EXIT_NO if reason == "conflict" else EXIT_YES
        if self._child is not None:
            self._child.close()
            if reason == "command":
                status = self._child.status or EXIT_YES
        self._output.end(status, reason)
        if reason == "conflict":
            address, mac = next(iter(self.tally.lost.items()))
            print(f"host: {format_ip(address)} is in use by {mac.hex(':')}", file=sys.stderr)
        return status

    def _tell(self, event: EngineEvent) -> None:
        self._output.on_event(event)
        if self._child is not None and self.tally.is_ready:
            self._child.start()

    def _on_child_ended(self) -> None:
        assert self._child is not None
        self._child.reap()
        self._ended = True


def _invite(path: Path) -> None:
    """In the simulation nobody would come: let the peer ping us once a second, by both families in turn."""
    from pytools.cli.open_sim import SimPath

    assert isinstance(path, SimPath)
    network, peer = path.topology.network, path.topology.peer
    stack = peer.engine
    assert isinstance(stack, Stack)
    addresses = [own.address for own in path.stack.addresses(path.ports[0].index)]

    def visit(number: int) -> None:
        stack.send_echo(addresses[number % len(addresses)], 1, number // len(addresses) + 1, bytes(56), network.now())
        peer.settle()
        network.push(network.now() + SECOND, visit, number + 1)

    network.push(network.now() + SECOND, visit, 0)


# --- output -----------------------------------------------------------------------------------------------------------


def _ignore(_event: EngineEvent) -> None:
    """Before `begin` nothing is told."""


class Output(Protocol):
    """Text or JSON."""

    def begin(self, path: Path, port: Port, tally: Tally) -> None:
        """The path is open."""

    on_event: OnEvent
    """Takes what happened."""

    def interim(self) -> None:
        """SIGQUIT: how it stands, on stderr."""

    def end(self, status: int, reason: str, message: str = "") -> None:
        """The summary."""

    def fail(self, error: PytoolsError) -> None:
        """It could not begin, or broke off; the caller prints the line."""


class TextOutput:
    """Lines on stdout; on stderr while a command has stdout."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._tally: Tally | None = None
        self.on_event: OnEvent = _ignore

    def begin(self, path: Path, port: Port, tally: Tally) -> None:
        """See `Output`."""
        from pytools.render.host_text import HostText

        self._stack, self._tally = path.stack, tally
        stream = sys.stderr if self._options.command else sys.stdout
        self._text = HostText(stream, quiet=self._options.quiet)
        self._text.place(port.name, port.mac)
        self.on_event = self._text.on_event

    def interim(self) -> None:
        """See `Output`."""
        from pytools.render.host_text import summary_lines

        if self._tally is not None:
            lines = summary_lines(self._tally, self._stack.frames, self._stack.drops)
            print(*lines, sep="; ", file=sys.stderr)

    def end(self, status: int, reason: str, message: str = "") -> None:
        """See `Output`."""
        if self._tally is not None:
            self._text.summary(self._tally, self._stack.frames, self._stack.drops)

    def fail(self, error: PytoolsError) -> None:
        """See `Output`."""


class JsonOutput:
    """Records on stdout, from start to end."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._writer: Any = None
        self._path: Path | None = None
        self.on_event: OnEvent = _ignore

    def begin(self, path: Path, port: Port, tally: Tally) -> None:
        """See `Output`."""
        from pytools.render.host_json import HostJson
        from pytools.wire.addr import format_mac

        self._path, self._tally = path, tally
        writer = self._open(path.start_at)
        facts = {"via": path.kind, "interface": port.name, "mac": format_mac(port.mac), "mtu": port.mtu}
        writer.start("host", split_command_line(sys.argv)[2], epoch_ns=path.epoch_ns + path.start_at, **facts)
        self._json = HostJson(writer, quiet=self._options.quiet)
        self._json.place(port.name, port.mac)
        self.on_event = self._json.on_event

    def _open(self, start_at: Ns) -> Any:
        from pytools.render.json_lines import JsonWriter

        self._writer = JsonWriter(sys.stdout, start_at)
        return self._writer

    def interim(self) -> None:
        """See `Output`: an interim record on stdout."""
        if self._path is not None:
            self._writer.record("interim", self._path.waiter.now(), **self._figures(self._path))

    def _figures(self, path: Path) -> dict[str, Any]:
        from pytools.render.host_json import figures

        return figures(self._tally, path.stack.frames, path.stack.drops)

    def end(self, status: int, reason: str, message: str = "") -> None:
        """See `Output`."""
        assert self._path is not None
        more = {"message": message} if message else {}
        self._writer.end(self._path.waiter.now(), status, reason, **more, **self._figures(self._path))

    def fail(self, error: PytoolsError) -> None:
        """See `Output`."""
        if isinstance(error, OutputError):
            return
        if self._writer is None:
            self._open(0).start("host", split_command_line(sys.argv)[2], epoch_ns=time_ns())
        self._writer.end_with(error)
