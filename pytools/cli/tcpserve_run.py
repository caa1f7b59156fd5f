"""What `pytools tcpserve` does: a path that others can reach, ports the kernel leaves to us, the loop."""

import gc
import os
import sys
from collections.abc import Callable
from stat import S_ISREG
from typing import Any, Final

from pytools.cli.open import Path, PathRequest
from pytools.cli.open_tcp import TcpWay
from pytools.cli.options import family_of, trace_request
from pytools.cli.output import OutputError
from pytools.cli.tcpserve import Options
from pytools.cli.tcpserve_open import claim, open_server, places_of, read_listen, read_port
from pytools.cli.tcpserve_output import JsonOutput, Output, TextOutput
from pytools.engine import EngineEvent
from pytools.errors import EXIT_COULD_NOT_ASK, EXIT_NO, EXIT_YES, LinkError, PytoolsError, UsageError
from pytools.probe import tcpserve_services as services
from pytools.probe.tcpserve import MakeService, ServeConfig, TcpServer
from pytools.probe.tcpserve_events import Endpoint
from pytools.probe.tcpserve_services import Service
from pytools.run.driver import Driver
from pytools.run.signals import Signals
from pytools.stack.events import AddressConflicted
from pytools.stack.interfaces import TENTATIVE
from pytools.stack.tcp.config import TcpConfig
from pytools.units import MS, NEVER, Ns, ns_from_seconds
from pytools.wire.addr import format_ip

MOST_CHILDREN: Final = 32
GOODBYE_NS: Final[Ns] = 300 * MS
"""How long clients may take to answer our FIN when we end."""
SEND_BUFFER: Final = 1 << 20
GARBAGE: Final = 20_000
"""Objects between two looks of the garbage collector: connections come and go without leaving any."""


def run(options: Options) -> int:
    """Run one command line; returns the exit status. PytoolsError: one line that says what was refused."""
    output: Output = JsonOutput(options) if options.json else TextOutput(options)
    try:
        return _run(options, output)
    except PytoolsError as error:
        output.fail(error)
        raise


def _run(options: Options, output: Output) -> int:
    ports = list(dict.fromkeys(read_port(text) for text in options.ports))
    listen = read_listen(options.listen or ())
    _check(options)
    content = _Content(options)
    with (
        Signals(on_quit=output.interim, on_terminate=_raise_terminated) as signals,
        open_server(_request(options)) as path,
    ):
        for note in path.notes:
            print(f"tcpserve: {note}", file=sys.stderr)
        way = TcpWay(path, _tcp_config())
        bound = bool(options.interface) and path.kind == "packet"
        try:
            places = places_of(path, ports, listen, family_of(options.ipv4, options.ipv6), bound)
            claim(way, places)
            with _Run(options, output, path, way, content) as running:
                return running.run(signals, places)
        finally:
            way.close()


class _TerminatedError(Exception):
    """SIGTERM: what has to be put away is put away, then the signal ends us."""


def _raise_terminated() -> None:
    raise _TerminatedError


# --- what is asked for ------------------------------------------------------------------------------------------------


def _check(options: Options) -> None:
    """What does not go together. UsageError."""
    modes = {
        "--echo": options.echo,
        "--discard": options.discard,
        "--chargen": options.chargen,
        "--source": options.source is not None,
        "--file": options.file is not None,
        "--stdin": options.stdin,
        "--exec": options.exec_ is not None,
    }
    given = [name for name, is_given in modes.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other")
    if options.http and given not in (["--source"], ["--file"]):
        raise UsageError("--http: with --source or --file, which say what to answer")
    via = options.via.partition(":")[0]
    somewhere = options.listen or options.interface or options.address or via in ("tap", "lab", "sim")
    if options.exec_ is not None and not somewhere:
        raise UsageError("--exec: say where (-s ADDR, -I or --address): no command is run for the whole world")
    if options.stdin and options.json:
        raise UsageError("--stdin and --json exclude each other: both want stdout")
    if options.client is not None and via == "sim":
        raise UsageError("--client: --via sim has no kernel to run a command on")
    family_of(options.ipv4, options.ipv6)
    if options.one:
        options.count = 1
    if options.stdin:
        options.max_clients = 1
        options.count = options.count or (0 if options.keep else 1)
    if options.exec_ is not None:
        options.max_clients = min(options.max_clients or MOST_CHILDREN, MOST_CHILDREN)


def _request(options: Options) -> PathRequest:
    addresses = options.address or []
    return PathRequest(
        "tcpserve",
        via=options.via,
        interfaces=options.interface or (),
        address=addresses[0] if addresses else None,
        more_addresses=addresses[1:],
        network=options.network,
        mtu=options.mtu,
        seed=options.seed,
        endless=not (options.count or options.deadline),
        reads_stdin=options.stdin,
        trace=trace_request(options.verbose, options.trace_format, options.pcap, options.color, options.plain),
    )


def _tcp_config() -> TcpConfig:
    config = TcpConfig()
    config.send_buffer = SEND_BUFFER
    return config


def _serve_config(options: Options) -> ServeConfig:
    return ServeConfig(
        backlog=options.backlog,
        count=options.count,
        max_clients=options.max_clients,
        max_bytes=options.max_bytes,
        idle_ns=ns_from_seconds(options.idle),
        read_rate=options.read_rate,
        send_rate=options.rate,
        no_read=options.no_read,
    )


class _Content:
    """What clients are sent, opened while we still have the rights of who started us."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._fileno = -1
        if options.file is not None:
            self._fileno = _open_file(options.file)
        period = services.chargen_block() if options.chargen else bytes(range(256))
        self._pattern = services.repeated(period)

    def make(self) -> Service:
        """A service for one client."""
        options = self._options
        service: Service
        length: int | None = None
        if options.discard:
            service = services.Discard()
        elif options.chargen or options.source is not None:
            service, length = services.Octets(self._pattern, options.source), options.source
        elif options.file is not None:
            service, length = services.FileService(self._read_at), os.fstat(self._fileno).st_size
        else:
            service = services.Echo()
        return services.Http(service, length) if options.http else service

    def _read_at(self, offset: int, size: int) -> bytes:
        try:
            return os.pread(self._fileno, size, offset)
        except OSError:
            return b""

    def greeted(self, service: Service) -> Service:
        """With the banner before it."""
        if self._options.banner is None:
            return service
        return services.Greeted(self._options.banner.encode("utf-8", "surrogateescape") + b"\r\n", service)


def _open_file(name: str) -> int:
    """A plain file, and no link to another: who runs us with sudo lends root's rights to nobody."""
    try:
        fileno = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise LinkError(f"--file {name}: {error.strerror}", error.errno or 0) from error
    if not S_ISREG(os.fstat(fileno).st_mode):
        os.close(fileno)
        raise LinkError(f"--file {name}: not a plain file")
    return fileno


# --- the loop ---------------------------------------------------------------------------------------------------------


class _Run:
    """One run from listening to summary."""

    def __init__(self, options: Options, output: Output, path: Path, way: TcpWay, content: _Content) -> None:
        self._options = options
        self._output = output
        self._path = path
        self._way = way
        self._content = content
        self._clock: Callable[[], Ns] = path.waiter.now
        self._pumps: dict[int, Any] = {}
        self._conflict: AddressConflicted | None = None
        self._client_ended = False
        self._driver: Driver | None = None
        self.server = TcpServer(path.stack, way.tcp, _serve_config(options), self._make_service())
        self._command = self._make_command()
        output.begin(path, self.server)

    def __enter__(self) -> "_Run":
        return self

    def __exit__(self, *_: object) -> None:
        for pump in tuple(self._pumps.values()):
            if hasattr(pump, "terminate"):
                pump.terminate()
        for pump in tuple(self._pumps.values()):
            pump.close()
        if self._command is not None:
            self._command.close()

    def _make_command(self) -> Any:
        """The command on the kernel's side; made while we have the rights to give."""
        if self._options.client is None:
            return None
        from pytools.cli.host_command import Command, lend_capabilities

        if self._path.kind == "lab":
            lend_capabilities()
        return Command(["/bin/sh", "-c", self._options.client], output_to_stderr=self._options.json)

    def _make_service(self) -> MakeService:
        options, content = self._options, self._content
        if options.stdin or options.exec_ is not None:
            from pytools.cli import tcpserve_relay

            def connect(number: int, local: Endpoint, peer: Endpoint) -> Service:
                assert self._driver is not None
                if options.exec_ is None:
                    pump: Any = tcpserve_relay.Stdio(self._driver, number, self._touch)
                else:
                    ends = (local, peer)
                    pump = tcpserve_relay.Child(self._driver, number, options.exec_, ends, self._touch)
                self._pumps[number] = pump
                return content.greeted(pump.relay)

            return connect
        return lambda number, local, peer: content.greeted(content.make())

    def _touch(self, number: int) -> None:
        self.server.touch(number, self._clock())

    def run(self, signals: Signals, places: list[Endpoint]) -> int:
        """Loop to the end; returns the exit status."""
        path, server = self._path, self.server
        driver = self._driver = path.driver(server, self._on_event)
        gc.set_threshold(GARBAGE, 20, 50)
        if self._options.exec_ is not None:
            from pytools.cli.tcpserve_relay import check_rights

            check_rights()
        signals.attach(driver)
        if self._command is not None:
            driver.watch(self._command.fileno, self._on_command_ended)
        try:
            reason = self._loop(driver, signals, places)
        except OutputError:
            raise
        except _TerminatedError:
            self._terminate()
        except PytoolsError as error:
            self._output.end(EXIT_COULD_NOT_ASK, "error", str(error))
            raise
        return self._status(reason)

    def _loop(self, driver: Driver, signals: Signals, places: list[Endpoint]) -> str:
        """Turn until there is a reason to end, then say good-bye to whoever is connected."""
        clock, deadline = self._clock, ns_from_seconds(self._options.deadline)
        end_at = clock() + deadline if deadline else NEVER
        listening = False
        while True:
            if not listening and not self._is_probing():
                listening = True
                self._listen(places)
                driver.flush()
                if self._command is not None:
                    self._command.start()
            reason = self._reason(signals, listening)
            if not reason and clock() >= end_at:
                reason = "deadline"
            if not reason and not driver.step(min(end_at, self._output.draw_at)):
                reason = "idle"
            self._output.draw()
            if reason:
                break
        self._say_goodbye(driver)
        return reason

    def _is_probing(self) -> bool:
        """An address of ours is not known to be free yet."""
        stack = self._path.stack
        return any(own.state == TENTATIVE for port in self._path.ports for own in stack.addresses(port.index))

    def _listen(self, places: list[Endpoint]) -> None:
        try:
            self.server.listen(places, self._clock())
        except OSError as error:
            text = os.strerror(error.errno or 0)
            raise LinkError(f"bind: {text}", error.errno or 0) from error
        if self._path.kind == "sim":
            from pytools.cli.tcpserve_visitor import invite

            tcp = self._way.peer_tcp
            assert tcp is not None
            invite(self._path, tcp, [port for _, port in places])

    def _reason(self, signals: Signals, listening: bool) -> str:
        if signals.interrupted:
            return "interrupted"
        if self._client_ended:
            return "command"
        if self._conflict is not None:
            return "conflict"
        return "count" if listening and self.server.done else ""

    def _say_goodbye(self, driver: Driver) -> None:
        """FIN to everybody, RST to those who do not answer in time."""
        server = self.server
        server.finish(self._clock())
        until = self._clock() + GOODBYE_NS
        while not server.done and self._clock() < until:
            if not driver.step(until):
                break
        server.abort(self._clock())
        driver.flush()

    def _terminate(self) -> None:
        """Die of SIGTERM, as anybody expects, but put our children and connections away first."""
        import signal

        self.server.finish(self._clock())
        self.server.abort(self._clock())
        if self._driver is not None:
            self._driver.flush()
        self.__exit__()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    def _status(self, reason: str) -> int:
        status = EXIT_NO if reason == "conflict" else EXIT_YES
        if self._command is not None:
            self._command.close()
            if reason == "command":
                status = self._command.status or EXIT_YES
        self._output.end(status, reason)
        if self._conflict is not None:
            address, mac = self._conflict.address, self._conflict.mac
            print(f"tcpserve: {format_ip(address)} is in use by {mac.hex(':')}", file=sys.stderr)
        return status

    def _on_event(self, event: EngineEvent) -> None:
        if isinstance(event, AddressConflicted):
            if event.given_up:
                self._conflict = event
            return
        self._output.on_event(event)
        if self._pumps:
            self._reap()

    def _reap(self) -> None:
        """Put away what belonged to clients that are gone."""
        for number, pump in tuple(self._pumps.items()):
            if pump.relay.ended and not pump.relay.pending:
                del self._pumps[number]
                pump.close()

    def _on_command_ended(self) -> None:
        self._command.reap()
        self._client_ended = True
