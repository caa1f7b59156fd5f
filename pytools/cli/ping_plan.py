"""From the options of `pytools ping` to what engines, path and output need; contradictions are refused here."""

import os

from pytools.cli import ping_options
from pytools.cli.open import Endpoint, PathRequest, Target
from pytools.cli.options import family_of, trace_request
from pytools.cli.ping import Arguments
from pytools.cli.targets import Host, HostList, expand, read_words, resolve
from pytools.errors import UsageError
from pytools.stack.packet import IpOptions
from pytools.units import SECOND, Ns, ns_from_seconds
from pytools.wire.addr import is_multicast

USER_INTERVAL_NS: Ns = 2_000_000
"""What ordinary users may send at most often."""
USER_GAP_NS: Ns = 1_000_000
USER_MULTICAST_NS: Ns = SECOND
USER_PRELOAD = 3
_LARGEST4, _LARGEST6 = 65507, 65527
_OPTION_OCTETS = 40


class Plan:
    """One command line, understood."""

    def __init__(self, given: Arguments) -> None:
        self.given = given
        self.family = family_of(given.ipv4, given.ipv6)
        self.is_limited = os.getuid() != 0 and given.via.partition(":")[0] in ("auto", "packet")
        """An ordinary user on a real network."""
        self.reachability = given.alive or given.unreachable or given.retry is not None
        self.count = given.count or given.vcount or 0
        self.size = 56 if given.size is None else given.size
        self.sizes = ping_options.sizes(given.sweep) if given.sweep is not None else ()
        self.interval_ns = self._interval()
        self.hops: list[bytes] = []
        self.complaints: list[str] = []
        """Targets that could not be resolved, where there are others."""
        self._refuse_contradictions()
        self.host, self.hosts = self._targets()
        self._check_size()
        self._check_limits()

    # --- targets ------------------------------------------------------------------------------------------------------

    @property
    def is_single(self) -> bool:
        """One target, pinged as ping does."""
        return self.host is not None

    def _targets(self) -> tuple[Host | None, HostList]:
        given = self.given
        words = list(given.targets or ())
        if given.timestamp_option == "tsprespec":
            words = self._take_hops(words)
        if given.targets_file is not None:
            words += read_words(given.targets_file)
        many = self.reachability or given.vcount is not None or given.all_addresses or given.random_order
        if len(words) == 1 and not many and "/" not in words[0]:
            hosts = expand(words, self.family) if "-" in words[0] else HostList()
            if len(hosts) <= 1:
                return resolve(words[0], self.family), hosts
        hosts = expand(
            words,
            self.family,
            all_addresses=given.all_addresses,
            complain=self.complaints.append if len(words) > 1 else None,
        )
        if not hosts:
            raise UsageError(self.complaints[0] if self.complaints else "no targets given")
        self._refuse_for_many()
        return None, hosts

    def _take_hops(self, words: list[str]) -> list[str]:
        """-T tsprespec: up to four hops come before the target."""
        if len(words) > 5:
            raise UsageError("-T tsprespec takes at most 4 hops in front of the target")
        self.hops = [resolve(word, 4).address for word in words[:-1]]
        return words[-1:]

    # --- what can't be ------------------------------------------------------------------------------------------------

    def _interval(self) -> Ns:
        given = self.given
        if given.interval is None:
            return 0 if given.flood else SECOND
        return ns_from_seconds(given.interval)

    def _refuse_contradictions(self) -> None:
        given = self.given
        if given.record_route and given.timestamp_option:
            raise UsageError("only one of -T or -R may be used")
        for first, second in (("json", "csv"), ("json", "live"), ("csv", "live"), ("rate", "interval_global")):
            if getattr(given, first) and getattr(given, second):
                raise UsageError(f"only one of --{first} or --{second.replace('_', '-')} may be used")
        if given.count and given.vcount:
            raise UsageError("only one of -c or --vcount may be used")
        if given.alive and given.unreachable:
            raise UsageError("only one of --alive or --unreachable may be used")
        if self.reachability and given.count:
            raise UsageError("-c says how often to ping, --retry (--alive, --unreachable) to ask until an answer comes")

    def _refuse_for_many(self) -> None:
        given = self.given
        for name, letter in (
            ("adaptive", "-A"),
            ("record_route", "-R"),
            ("timestamp_option", "-T"),
            ("sweep", "--sweep"),
            ("find_mtu", "--find-mtu"),
            ("tx_stamp", "--tx-stamp"),
        ):
            if getattr(given, name):
                raise UsageError(f"{letter} takes one target")
        if given.preload is not None and given.preload > 1:
            raise UsageError("-l takes one target")

    def _check_size(self) -> None:
        """ping's limits: what fits an IP packet."""
        addresses = [self.host.address] if self.host is not None else self.hosts.addresses[:1]
        largest = _LARGEST6 if self.family == 6 or (addresses and len(addresses[0]) == 16) else _LARGEST4
        if largest == _LARGEST4 and self.option_octets:
            largest -= _OPTION_OCTETS
        size = max(self.sizes, default=self.size)
        if size > largest:
            raise UsageError(f"invalid -s value: '{size}': out of range: 0 <= value <= {largest}")
        if self.given.ttl == 0:
            raise UsageError("cannot set unicast time-to-live: Invalid argument")

    def _check_limits(self) -> None:
        given = self.given
        if not self.is_limited:
            return
        if given.preload is not None and given.preload > USER_PRELOAD:
            raise UsageError(f"cannot set preload to value greater than 3: {given.preload}")
        if self.interval_ns < USER_INTERVAL_NS:
            raise UsageError("cannot flood, minimal interval for user must be >= 2 ms, use -i 0.002 (or higher)")
        if not self.is_single and self.gap_ns < USER_GAP_NS:
            raise UsageError("cannot flood, minimal --interval-global for user must be >= 1 ms (--rate 1000)")

    def check_multicast(self, address: bytes) -> None:
        """What ordinary users may not do to a group."""
        if not self.is_limited:
            return
        kind = "multicast" if len(address) == 16 else "broadcast"
        if self.interval_ns < USER_MULTICAST_NS:
            raise UsageError(f"minimal interval for {kind} ping for user must be >= 1000 ms, use -i 1 (or higher)")
        if self.given.pmtu not in (None, "do"):
            raise UsageError(f"{kind} ping does not fragment")

    # --- what follows -------------------------------------------------------------------------------------------------

    @property
    def gap_ns(self) -> Ns:
        """Between any two probes, with several targets."""
        given = self.given
        if given.rate is not None:
            return round(SECOND / given.rate) if given.rate else 0
        if given.interval_global is not None:
            return ns_from_seconds(given.interval_global)
        return 0 if given.flood else USER_GAP_NS

    @property
    def timeout_ns(self) -> Ns:
        """--timeout, 0 without."""
        return ns_from_seconds(self.given.timeout) if self.given.timeout is not None else 0

    @property
    def linger_ns(self) -> Ns:
        """-W."""
        return ns_from_seconds(10.0 if self.given.linger is None else self.given.linger)

    @property
    def lost_after_ns(self) -> Ns:
        """When to tell of a loss: for --timeout, and for those who read every event."""
        given = self.given
        if self.timeout_ns or not (given.json or given.csv or given.live):
            return self.timeout_ns
        return self.linger_ns or 10 * SECOND

    @property
    def option_octets(self) -> int:
        """What ping's header says of IPv4 options."""
        return _OPTION_OCTETS if self.given.record_route or self.given.timestamp_option else 0

    @property
    def is_endless(self) -> bool:
        """Nothing but the user ends it."""
        given = self.given
        return not (self.count or given.deadline or self.reachability or given.find_mtu)

    @property
    def wants_names(self) -> bool:
        """Reverse names of senders are looked up: for targets given by name, on a real network, or with -H."""
        given = self.given
        if given.force_lookup and not given.numeric:
            return True
        if given.numeric or given.flood or given.quiet or os.environ.get("IPUTILS_PING_PTR_LOOKUP") == "0":
            return False
        literal = self.host.is_literal if self.host is not None else self.hosts.literal
        return not literal and given.via.partition(":")[0] in ("auto", "packet", "tap")

    @property
    def wants_distribution(self) -> bool:
        """Percentiles and jitter."""
        given = self.given
        return given.stats or given.hist or given.json or given.live

    def request(self) -> PathRequest:
        """What `open_path` is asked for."""
        given = self.given
        if self.host is not None:
            zone = self.host.zone
            targets = [Target(self.host.address, zone), *[Target(o.address, o.zone) for o in self.host.others]]
        else:
            hosts = self.hosts
            targets = [Target(address, hosts.zones.get(index, "")) for index, address in enumerate(hosts.addresses)]
        return PathRequest(
            "ping",
            via=given.via,
            interfaces=given.interface or (),
            address=given.address,
            network=given.network,
            targets=targets,
            family=self.family,
            mark=given.mark or 0,
            tos=given.tos or 0,
            bypass_routing=given.dont_route,
            ident=given.identifier,
            ping_socket=not (given.vlan or self.option_octets or given.tx_stamp),
            vlans=tuple(given.vlan or ()),
            tx_stamps=given.tx_stamp,
            seed=given.seed,
            endless=self.is_endless,
            send_buffer=given.sndbuf or 0,
            discover="probe" if given.find_mtu else given.pmtu,
            trace=trace_request(given.verbose, given.trace_format, given.pcap, given.color, given.plain),
        )

    def ip_options(self, endpoint: Endpoint | None = None) -> IpOptions:
        """What every probe carries; with an endpoint also where it goes out."""
        given = self.given
        many = endpoint is not None and (endpoint.kind in ("broadcast", "multicast") or is_multicast(endpoint.address))
        source, port = None, None
        if endpoint is not None:
            source = endpoint.source if any(endpoint.source) else None
            port = endpoint.port
        return IpOptions(
            src=source,
            port=port,
            ttl=given.ttl or 0,
            tos=given.tos or 0,
            flow_label=given.flow_label or 0,
            df=given.pmtu or ("do" if many else "want"),
            options=self._ipv4_options(endpoint),
            dontroute=given.dont_route,
            broadcast=given.broadcast,
            multicast_loop=not given.no_loop,
        )

    def _ipv4_options(self, endpoint: Endpoint | None) -> bytes:
        given = self.given
        if not self.option_octets or (endpoint is not None and len(endpoint.address) == 16):
            return b""
        from pytools.wire import ipv4_options

        if given.record_route:
            return ipv4_options.record_route()
        if given.timestamp_option == "tsonly":
            return ipv4_options.timestamp(ipv4_options.TS_ONLY, 9)
        if given.timestamp_option == "tsandaddr":
            return ipv4_options.timestamp(ipv4_options.TS_AND_ADDRESS, 4)
        return ipv4_options.timestamp(ipv4_options.TS_PRESPECIFIED, addresses=self.hops)
