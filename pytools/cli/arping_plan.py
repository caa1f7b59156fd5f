"""From arping's options to what is asked: the targets, the way there, the engine."""

from random import Random

from pytools.cli.arping import Options
from pytools.cli.open import Endpoint, Path, PathRequest, Target
from pytools.cli.options import family_of, trace_request
from pytools.cli.targets import Host, expand, resolve
from pytools.engine import Port
from pytools.errors import LinkError, UsageError
from pytools.probe.arping import ANNOUNCE, ANSWER, ASK, DETECT, ArpingConfig, ArpingEngine
from pytools.probe.arping_acd import AcdEngine
from pytools.probe.arping_base import ArpingBase
from pytools.probe.arping_mac import MacEngine
from pytools.probe.arping_scan import ScanEngine
from pytools.probe.arping_watch import WatchEngine
from pytools.probe.arping_wire import Station, unspecified
from pytools.units import SECOND, Ns, ns_from_seconds
from pytools.wire.addr import ALL_NODES, BROADCAST4, format_ip, format_mac, is_multicast, parse_ip, parse_mac

SCAN_TRIES = 2
WATCH_INTERVAL_S = 5.0
_SEPARATE = 64
"""So many targets given one by one are checked for being on one link."""


class Plan:
    """What one command line asks for. `addresses` are the targets, for a MAC the IP destination of the echo request."""

    def __init__(self, options: Options) -> None:
        _check(options)
        self.options = options
        self.family = family_of(options.ipv4, options.ipv6)
        self.mac = b""
        self.zone = ""
        self.is_scan = False
        self.is_block = False
        self.title = ""
        self.addresses: list[bytes] = []
        self._read_targets(options.targets or [])

    # --- targets ------------------------------------------------------------------------------------------------------

    def _read_targets(self, words: list[str]) -> None:
        if not words:  # --watch
            self.title = "everybody"
            self.addresses = [BROADCAST4]
        elif len(words) == 1 and (mac := mac_target(words[0])) is not None:
            self._take_mac(mac)
        elif len(words) == 1 and "/" not in words[0] and not is_range(words[0]):
            self._take_host(resolve_one(words[0], self.family))
        else:
            self._take_many(words)
        if any(is_multicast(address) for address in self.addresses) and not self.mac:
            raise UsageError(f"{self.title}: nobody has a multicast address")

    def _take_mac(self, mac: bytes) -> None:
        options = self.options
        for name, given in (("-D", options.detect), ("-U", options.unsolicited), ("-A", options.answer)):
            if given:
                raise UsageError(f"{name} is about IP addresses, {format_mac(mac)} is a MAC")
        if options.acd or options.watch:
            raise UsageError(f"--acd and --watch are about IP addresses, {format_mac(mac)} is a MAC")
        self.mac = mac
        self.title = format_mac(mac)
        if options.target_ip is not None:
            self._take_destination(resolve(options.target_ip, self.family))
        else:
            self.addresses = [ALL_NODES if self.family == 6 else BROADCAST4]

    def _take_destination(self, found: Host) -> None:
        self.addresses, self.zone = [found.address], found.zone

    def _take_host(self, found: Host) -> None:
        self.title = format_ip(found.address)
        self.addresses, self.zone = [found.address], found.zone

    def _take_many(self, words: list[str]) -> None:
        options = self.options
        for name, given in (("-D", options.detect), ("-U", options.unsolicited), ("-A", options.answer)):
            if given:
                raise UsageError(f"{name} takes one target")
        if options.acd:
            raise UsageError("--acd takes one target")
        hosts = expand(words, self.family)
        self.addresses = hosts.addresses
        if not self.addresses:
            raise UsageError(f"no address in {' '.join(words)}")
        if len({len(address) for address in self.addresses}) > 1:
            raise UsageError("targets of one run are of one family (-4 or -6 chooses)")
        self.title = " ".join(words)
        self.zone = hosts.zones.get(0, "")
        self.is_scan = not options.watch
        self.is_block = any("/" in word or is_range(word) for word in words)

    # --- the way ------------------------------------------------------------------------------------------------------

    def request(self) -> PathRequest:
        """What `open_path` needs to know."""
        options = self.options
        is_endless = not (options.deadline or options.acd or self.is_scan or options.count)
        return PathRequest(
            "arping",
            via=options.via,
            interfaces=options.interface or (),
            address=options.address,
            network=options.network,
            targets=[Target(self.addresses[0], self.zone)],
            family=self.family,
            link_layer=True,
            promiscuous=options.promisc,
            vlans=() if options.vlan is None else (options.pcp << 13 | options.vlan,),
            mac=read_mac(options.source_mac, "--source-mac"),
            seed=options.seed,
            endless=is_endless,
            trace=trace_request(options.verbose, options.trace_format, options.pcap, options.color, options.plain),
        )

    def endpoint(self, path: Path) -> Endpoint:
        """The way to the target; all of several have to be on one link."""
        first = path.endpoint(self.addresses[0], self.zone)
        if not self.options.interface and 1 < len(self.addresses) <= _SEPARATE:
            for address in self.addresses[1:]:
                other = path.endpoint(address, self.zone)
                if other.port != first.port:
                    where = f"{format_ip(self.addresses[0])} on {first.interface}, {format_ip(address)} on"
                    raise UsageError(f"targets on different links: {where} {other.interface} (-I chooses one)")
        return first

    def station(self, port: Port, endpoint: Endpoint) -> Station:
        """Who we are."""
        options, target = self.options, self.addresses[0]
        if options.source is not None:
            return Station(port.mac, read_source(options.source, target))
        if options.zero_source or options.detect or options.acd:
            return Station(port.mac, unspecified(target))
        if options.unsolicited or options.answer:
            return Station(port.mac, target)
        if not any(endpoint.source) and not (options.watch and not options.targets):
            raise LinkError(f"no source address on {endpoint.interface} (give -s, or -0 for none)")
        return Station(port.mac, endpoint.source)

    # --- the engine ---------------------------------------------------------------------------------------------------

    def engine(self, path: Path, port: Port, us: Station) -> ArpingBase:
        """The engine for the job."""
        options, stack = self.options, path.stack
        deadline_ns = ns_from_seconds(options.deadline)
        if options.acd:
            return AcdEngine(
                stack,
                port,
                self.addresses[0],
                us.mac,
                Random(path.seed),
                announce=options.announce,
                probe_count=options.count or 0,
                deadline_ns=deadline_ns,
            )
        if options.watch:
            own = self._own_addresses(path, port)
            targets = self.addresses if options.targets else ()
            interval_ns = self._interval_ns(WATCH_INTERVAL_S)
            return WatchEngine(stack, port, us, targets, own=own, interval_ns=interval_ns, deadline_ns=deadline_ns)
        if self.is_scan:
            return ScanEngine(
                stack,
                port,
                self.addresses,
                us,
                interval_ns=max(1, round(SECOND / options.rate)),
                tries=options.count or SCAN_TRIES,
                deadline_ns=deadline_ns,
                need_all=not self.is_block,
                find_duplicates=options.duplicates,
            )
        if self.mac:
            return MacEngine(stack, port, self.mac, self.addresses[0], path.ident, self._config(us))
        return ArpingEngine(stack, port, self.addresses[0], self._config(us))

    def _own_addresses(self, path: Path, port: Port) -> list[bytes]:
        """Ours on this link: the stack's, and on the host's interface all that the kernel has there."""
        own = {one.address for one in path.stack.addresses(port.index)}
        if path.kind == "packet" and self.options.address is None:
            from pytools.link import host

            interface = host.interface(port.name)
            if interface is not None:
                own.update(one.address for one in host.addresses(interface.index))
        return sorted(own)

    def _interval_ns(self, usual_s: float = 1.0) -> Ns:
        interval = self.options.interval
        return ns_from_seconds(usual_s if interval is None else interval)

    def _config(self, us: Station) -> ArpingConfig:
        options = self.options
        mode = DETECT if options.detect else ANSWER if options.answer else ANNOUNCE if options.unsolicited else ASK
        return ArpingConfig(
            us,
            mode,
            count=options.count or 0,
            interval_ns=self._interval_ns(),
            deadline_ns=ns_from_seconds(options.deadline),
            broadcast_only=options.broadcast,
            quit_on_reply=options.first,
            replies_wanted=options.count_replies or 0,
            find_duplicates=options.duplicates,
            target_mac=read_mac(options.target_mac, "-t"),
        )


def _check(options: Options) -> None:
    """Combinations that make no sense. iputils takes -U with -A, as -A."""
    ways = {
        "-D": options.detect,
        "--acd": options.acd,
        "--watch": options.watch,
        "-U": options.unsolicited and not options.answer,
        "-A": options.answer,
    }
    given = [name for name, is_given in ways.items() if is_given]
    if len(given) > 1:
        raise UsageError(f"{given[0]} and {given[1]} exclude each other")
    if options.announce and not options.acd:
        raise UsageError("--announce is for --acd (-U announces without asking first)")
    if options.zero_source and options.source is not None:
        raise UsageError("-0 and -s exclude each other")
    if options.target_ip is not None and (not options.targets or mac_target(options.targets[0]) is None):
        raise UsageError("-T is for a MAC as target")
    if options.pcp and options.vlan is None:
        options.vlan = 0  # 802.1Q: a priority tag


def mac_target(word: str) -> bytes | None:
    """A MAC where it can't be anything else: with six groups; twelve bare digits may be a host name."""
    if word.count(":") != 5 and word.count("-") != 5:
        return None
    try:
        return parse_mac(word)
    except ValueError:
        return None


def resolve_one(word: str, family: int) -> Host:
    """One target; of a name that has both kinds of address the IPv4 one, as arping always did."""
    host = resolve(word, family)
    return next((one for one in (host, *host.others) if len(one.address) == 4), host)


def is_range(word: str) -> bool:
    """`10.0.0.1-20`, in contrast to a host name with a dash."""
    first, dash, _ = word.partition("-")
    try:
        return bool(dash and parse_ip(first))
    except ValueError:
        return False


def read_mac(text: str | None, name: str) -> bytes:
    """A MAC option, b"" when it is not given."""
    try:
        return parse_mac(text) if text is not None else b""
    except ValueError as error:
        raise UsageError(f"{name}: {error}") from None


def read_source(text: str, target: bytes) -> bytes:
    """The address of -s, which may be anybody's."""
    try:
        source = resolve(text, 4 if len(target) == 4 else 6).address
    except UsageError as error:
        raise UsageError(f"invalid source {text} ({error})") from None
    if is_multicast(source):
        raise UsageError(f"invalid source {text} (a multicast address)")
    return source
