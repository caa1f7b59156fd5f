"""What `pytools ping` does: a plan, a path, an engine, the loop, the exit status."""

import os
from collections.abc import Iterable, Iterator, Sequence
from errno import EHOSTUNREACH, ENETUNREACH
from random import Random
from typing import Any

from pytools.cli.app import split_command_line
from pytools.cli.open import Endpoint, Path, open_path
from pytools.cli.output import OutputError
from pytools.cli.ping import Arguments
from pytools.cli.ping_output import LiveOutput, Output, open_output
from pytools.cli.ping_plan import Plan
from pytools.errors import EXIT_COULD_NOT_ASK, EXIT_NO, EXIT_YES, LinkError, PytoolsError, UsageError
from pytools.probe.ping import INTERRUPTED, PingConfig, PingEngine
from pytools.probe.ping_events import Summary
from pytools.render.ping_text import ShownTarget
from pytools.run.driver import IDLE, Driver
from pytools.run.signals import Signals
from pytools.stack.packet import IpOptions
from pytools.units import MS, SECOND, Ns
from pytools.wire.addr import format_ip, is_link_local, is_multicast, is_unspecified

_LIVE_NS: Ns = 100 * MS
_UNREACHABLE = frozenset((ENETUNREACH, EHOSTUNREACH))
BROADCAST_REFUSED = "Do you want to ping broadcast? Then -b. If not, check your local firewall rules"


def run(given: Arguments, argv: list[str]) -> int:
    """Run one command line; returns the exit status. PytoolsError: one line that says what was refused."""
    prog, _name, words = split_command_line(argv)
    plan = Plan(given)
    if given.find_mtu:
        from pytools.cli.ping_mtu import find_mtu

        return find_mtu(plan, prog, words)
    output = open_output(plan, prog)
    kind: type[Run] = OneRun
    if not plan.is_single:
        from pytools.cli.ping_many import ManyRun

        kind = ManyRun
    try:
        return kind(plan, output, words).run()
    except OutputError:
        raise
    except Exception as error:
        output.fail(error)
        raise


class Run:
    """One run: what the outputs ask for is here."""

    path: Path
    engine: Any
    is_single = True
    """One target, pinged as ping does."""

    def __init__(self, plan: Plan, output: Output, arguments: list[str]) -> None:
        self.plan = plan
        self.output = output
        self.arguments = arguments
        self.endpoints: list[Endpoint] = []
        self.shown: Sequence[ShownTarget] = ()
        self._went_wrong: PytoolsError | None = None

    def run(self) -> int:
        """Open, loop, tell; returns the exit status."""
        with Signals(on_quit=self.output_interim) as signals, open_path(self.plan.request()) as path:
            self.path = path
            self.prepare()
            self._warn()
            self.output.begin(self)
            watch = self._watch_host()
            # Here privileges go, and with them perhaps the right to read our own files: nothing is imported later.
            driver = path.driver(self.engine, self.output.on_event, self._on_error)
            signals.attach(driver)
            reason = self._loop(driver, watch)
            return self._end(reason)

    def output_interim(self) -> None:
        """SIGQUIT."""
        self.output.interim()

    def prepare(self) -> None:
        """Make `engine` and `shown`."""
        raise NotImplementedError

    def summaries(self) -> Iterator[Summary]:
        """The figures of each target."""
        raise NotImplementedError

    def answered_count(self) -> int:
        """How many targets answered."""
        raise NotImplementedError

    def all_rtts(self) -> Sequence[Sequence[int]]:
        """--vcount: every round trip of every target."""
        return ()

    def label_width(self) -> int:
        """Of the first column of a table."""
        from pytools.render.escape import escape

        return max(6, max([len(escape(shown.name)) for shown in self.shown], default=0))

    def is_broadcast(self, endpoint: Endpoint) -> bool:
        """Whether only a sender that may broadcast can send there."""
        if len(endpoint.address) == 16 or endpoint.kind == "multicast":
            return False
        stack, now = self.path.stack, self.path.start_at
        if endpoint.kind == "broadcast":
            return True
        may = stack.source_for(endpoint.address, now, IpOptions(broadcast=True, port=endpoint.port))
        return may is not None and stack.source_for(endpoint.address, now, IpOptions(port=endpoint.port)) is None

    # --- both ---------------------------------------------------------------------------------------------------------

    def shared_settings(self) -> dict[str, Any]:
        """Settings that both engines have."""
        plan, given = self.plan, self.plan.given
        report_ns = round(given.report_every * SECOND) if given.report_every else 0
        wants_events = given.json or given.csv or given.live or given.reachable or plan.reachability
        return {
            "deadline_ns": (given.deadline or 0) * SECOND,
            "linger_ns": plan.linger_ns,
            "timeout_ns": plan.timeout_ns,
            "lost_after_ns": plan.lost_after_ns,
            "outstanding": given.outstanding,
            "epoch_ns": self.path.epoch_ns,
            "report_every_ns": _LIVE_NS if isinstance(self.output, LiveOutput) else report_ns,
            "tell": bool(wants_events or not (given.quiet or given.vcount)),
        }

    def pattern(self) -> bytes:
        """What fills the probes."""
        given = self.plan.given
        if given.random_data:
            return Random(self.path.seed).randbytes(max(self.plan.sizes, default=self.plan.size))
        return given.pattern or b""

    def _warn(self) -> None:
        """What ping says on stderr before it begins."""
        plan, given, output = self.plan, self.plan.given, self.output
        for note in (*self.path.notes, *plan.complaints):
            output.note(note)
        if plan.hosts.repeated:
            output.note(f"{plan.hosts.repeated} targets were given more than once, each is pinged once")
        if os.environ.get("IPUTILS_PING_PTR_LOOKUP") == "0" and not (given.quiet or given.force_lookup):
            output.note("WARNING: reverse DNS resolution (PTR lookup) disabled, enforce with -H")
        if not self.is_single:
            return
        endpoint = self.endpoints[0]
        if endpoint.kind == "broadcast":
            os.write(2, b"WARNING: pinging broadcast address\n")
        device = next((value for value in given.interface or () if not _is_address(value)), "")
        if device and len(endpoint.address) == 16 and is_link_local(endpoint.address):
            output.note(f"Warning: source address might be selected on device other than: {device}")

    def _loop(self, driver: Driver, watch: Any) -> str:
        """Turn until the engine is done, the user interrupts or a link is gone; returns the reason."""
        engine, path, output = self.engine, self.path, self.output
        output.attach(driver)
        for fileno in watch.filenos() if watch is not None else ():
            driver.watch(fileno, lambda: self._on_host_changes(watch.poll(), driver), passive=True)
        why = ""
        try:
            why = driver.run(lambda: engine.done)
        except LinkError as error:
            self._went_wrong = error
        finally:
            if watch is not None:
                watch.close()
        engine.finish(path.waiter.now(), "idle" if why == IDLE else "error" if self._went_wrong else INTERRUPTED)
        try:
            driver.flush()
        except LinkError as error:
            self._went_wrong = self._went_wrong or error
        if why == IDLE:
            output.note("nothing can ever happen here: nobody sends, and no end was given (-c, -w)")
        return str(engine.reason)

    def _watch_host(self) -> Any:
        """Learn of interfaces that go down and addresses that go away; None where there are no real ones."""
        if self.path.kind not in ("packet", "ping-socket"):
            return None
        from pytools.link.watch import HostWatch

        try:
            return HostWatch()
        except (LinkError, OSError):
            return None  # a run without it is better than none

    def _on_host_changes(self, changes: Iterable[Any], driver: Driver) -> None:
        interfaces = {endpoint.interface for endpoint in self.endpoints}
        sources = {endpoint.source for endpoint in self.endpoints}
        for change in changes:
            if change.kind == "address-gone" and change.address in sources:
                self._went_wrong = LinkError(f"{format_ip(change.address)}: our address is gone from {change.name}")
            elif change.name not in interfaces:
                continue
            elif change.kind == "link-gone":
                self._went_wrong = LinkError(f"{change.name}: the interface is gone")
            elif change.kind in ("link-down", "link-up"):
                self.output.note(f"{change.name}: the interface is {change.kind[5:]}")
        if self._went_wrong is not None:
            driver.stop()

    def _on_error(self, port: int, error: OSError) -> None:
        """A frame without a token (ARP, discovery) was refused: what waits for it is told soon enough."""

    # --- the end ------------------------------------------------------------------------------------------------------

    def _end(self, reason: str) -> int:
        if self._went_wrong is not None:
            self.output.end(EXIT_COULD_NOT_ASK, "error")
            raise self._went_wrong
        status = self._status()
        self.output.end(status, reason)
        return status

    def _status(self) -> int:
        given = self.plan.given
        if self.plan.complaints:
            return EXIT_COULD_NOT_ASK
        if given.reachable is not None:
            good = self.answered_count() >= given.reachable
        elif given.loss_threshold is not None:
            good = all(s.received and s.loss_percent <= given.loss_threshold for s in self.summaries())
        else:
            good = bool(self.engine.is_answered)
        if good and given.rtt_threshold is not None:
            limit = given.rtt_threshold * 1000
            good = all(s.rtt.avg_us <= limit for s in self.summaries() if s.received)
        return EXIT_YES if good else EXIT_NO

    def facts(self) -> list[dict[str, Any]]:
        """JSON's start record: the targets and the ways to them."""
        ways = {endpoint.address: endpoint for endpoint in self.endpoints}
        found = []
        for shown in self.shown:
            fact: dict[str, Any] = {"target": shown.name, "address": format_ip(shown.address)}
            if (way := ways.get(shown.address)) is not None:
                fact |= {"source": format_ip(way.source), "interface": way.interface, "mtu": way.mtu}
                fact["gateway"] = format_ip(way.gateway) if way.gateway else None
            found.append(fact)
        return found


class OneRun(Run):
    """One target, pinged as ping does."""

    # --- one target ---------------------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """See `Run`."""
        plan, host = self.plan, self.plan.host
        assert host is not None
        endpoint = self._first_endpoint()
        if plan.given.dont_route and endpoint.gateway is not None:
            endpoint.gateway = None
        if self.is_broadcast(endpoint):
            endpoint.kind = "broadcast"
            if not plan.given.broadcast:
                raise UsageError(BROADCAST_REFUSED)
        is_many = endpoint.kind == "broadcast" or is_multicast(endpoint.address)
        if is_many:
            plan.check_multicast(endpoint.address)
        self.endpoints = [endpoint]
        self.shown = [self._shown_one(endpoint)]
        given, path = plan.given, self.path
        config = PingConfig(
            ident=path.ident,
            size=plan.size,
            sizes=plan.sizes,
            pattern=self.pattern(),
            count=plan.count or len(plan.sizes),
            interval_ns=plan.interval_ns,
            preload=given.preload or 1,
            adaptive=given.adaptive,
            adaptive_floor_ns=2 * MS if plan.is_limited else 0,
            flood=given.flood,
            multicast=is_many or given.broadcast,
            check_source=given.check_source,
            user_to_user=given.user_latency,
            transmit_stamps=given.tx_stamp,
            histogram=plan.wants_distribution,
            options=plan.ip_options(endpoint),
            tell_sent=given.flood and not given.quiet and not given.json,
            **self.shared_settings(),
        )
        config.tell_sent = config.tell_sent or (given.json and not given.quiet and not given.flood)
        self.engine = PingEngine(path.stack, endpoint.address, config, self.shown[0].name)

    def _first_endpoint(self) -> Endpoint:
        """The first address of the target that there is a way to."""
        host = self.plan.host
        assert host is not None
        candidates = [host, *host.others]
        for position, candidate in enumerate(candidates):
            address = candidate.address
            if is_unspecified(address):
                address = b"\x7f\0\0\1" if len(address) == 4 else bytes(15) + b"\1"
            try:
                return self.path.endpoint(address, candidate.zone)
            except LinkError as error:
                if getattr(error, "errno", 0) not in _UNREACHABLE or position == len(candidates) - 1:
                    raise
        raise AssertionError

    def _shown_one(self, endpoint: Endpoint) -> ShownTarget:
        plan, given, host = self.plan, self.plan.given, self.plan.host
        assert host is not None
        name = host.name
        if len(endpoint.address) != len(host.address):
            name = next(other.name for other in host.others if len(other.address) == len(endpoint.address))
        device = next((value for value in given.interface or () if not _is_address(value)), "")
        from_text = ""
        if device or given.sticky_source or given.interface:
            from_text = f"{self._shown_source(endpoint, device)} {device}"
        size = plan.sizes[0] if plan.sizes else plan.size
        flow_label = given.flow_label or 0 if len(endpoint.address) == 16 else 0
        octets = plan.option_octets if len(endpoint.address) == 4 else 0
        return ShownTarget(
            name,
            endpoint.address,
            size,
            zone=endpoint.zone,
            from_text=from_text,
            option_octets=octets,
            flow_label=flow_label,
        )

    def _shown_source(self, endpoint: Endpoint, device: str) -> str:
        """As in ping's header, which names no source for a link-local target with an interface."""
        if device and len(endpoint.address) == 16 and is_link_local(endpoint.address):
            return "::"
        return format_ip(endpoint.source)

    def summaries(self) -> Iterator[Summary]:
        """See `Run`."""
        yield self.engine.summary()

    def answered_count(self) -> int:
        """See `Run`."""
        return int(bool(self.engine.received))


def _is_address(text: str) -> bool:
    from pytools.cli.targets import literal

    return literal(text) is not None
