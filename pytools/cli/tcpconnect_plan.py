"""From tcpconnect's options to what is asked: hosts and ports, the settings of TCP, the way there."""

import socket
from collections.abc import Sequence
from typing import Final

from pytools.cli.open import Endpoint, Path, PathRequest, Target
from pytools.cli.open_tcp import TcpWay
from pytools.cli.options import family_of, trace_request
from pytools.cli.targets import Host, expand, literal, resolve
from pytools.cli.tcpconnect import Options
from pytools.errors import LinkError, UsageError
from pytools.probe.tcpconnect import ConnectConfig, ConnectTarget
from pytools.stack.tcp.config import TcpConfig
from pytools.units import ns_from_seconds
from pytools.wire.addr import format_ip, is_multicast, is_unspecified, parse_ip

PORT_LIMIT: Final = 65536
_USUAL_TIMEOUT_S: Final = 5.0


class Goal:
    """A port of a host, with what to call it."""

    __slots__ = ("host", "port")

    def __init__(self, host: Host, port: int) -> None:
        self.host = host
        self.port = port

    @property
    def label(self) -> str:
        """address:port, with brackets around an IPv6 address."""
        return format_end(self.host.address, self.port, self.host.zone)


class Plan:
    """What one command line asks for."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.family = family_of(options.ipv4, options.ipv6)
        self.source = _read_source(options, self.family)
        if self.source and not self.family:
            self.family = 4 if len(self.source) == 4 else 6
        self.goals = read_goals(options.targets, self.family, numeric=options.numeric)
        several = len({(goal.host.name, goal.port) for goal in self.goals}) > 1
        self.connect_only = bool(options.connect_only or options.count or options.interval or several)
        if options.tls and several:
            raise UsageError("--tls takes one target")
        if options.tls and (options.count or options.interval):
            raise UsageError("--tls is for one connection (-z: for its handshake alone)")
        self.talks = not self.connect_only or options.tls
        """One connection is kept, of the first address that answers."""
        if self.talks:
            self.goals += [Goal(other, self.goals[0].port) for other in self.goals[0].host.others]
        self.is_endless = self.connect_only and options.interval is not None and options.count is None

    def tcp_config(self) -> TcpConfig:
        """The settings of our side."""
        options, config = self.options, TcpConfig()
        config.sack = config.dsack = options.sack
        config.timestamps = options.timestamps
        config.window_scaling = options.wscale
        config.mss = options.mss or 0
        config.nagle = not options.nodelay
        config.ttl = options.ttl
        config.tos = options.tos
        return config

    def request(self) -> PathRequest:
        """What `open_path` needs to know."""
        options = self.options
        interfaces = list(options.interface or ())
        is_host = options.via.partition(":")[0] in ("auto", "packet") and options.address is None
        if options.source and is_host:
            interfaces.append(options.source)
        return PathRequest(
            "tcpconnect",
            via=options.via,
            interfaces=interfaces,
            address=options.address,
            network=options.network,
            targets=self._targets(),
            family=self.family,
            tos=options.tos,
            reads_stdin=self.talks and not options.detach,
            seed=options.seed,
            endless=self.is_endless,
            trace=trace_request(options.verbose, options.trace_format, options.pcap, options.color, options.plain),
        )

    def _targets(self) -> list[Target]:
        seen: dict[tuple[bytes, str], Target] = {}
        for goal in self.goals:
            seen.setdefault((goal.host.address, goal.host.zone), Target(goal.host.address, goal.host.zone))
        return list(seen.values())

    def config(self) -> ConnectConfig:
        """How the engine goes about it."""
        options = self.options
        timeout = options.timeout if options.timeout is not None else 0.0 if self.talks else _USUAL_TIMEOUT_S
        interval = 1.0 if options.interval is None else options.interval
        return ConnectConfig(
            count=0 if self.is_endless else options.count or 1,
            interval_ns=ns_from_seconds(interval),
            timeout_ns=ns_from_seconds(timeout),
            keep=self.talks,
            reset=bool(options.source_port) and (self.is_endless or (options.count or 1) > 1),
            tcp=self.tcp_config(),
        )

    def connect_targets(self, path: Path, way: TcpWay) -> tuple[list[ConnectTarget], list[Endpoint]]:
        """Targets for the engine, in the order of the goals. LinkError: there is no way to any of them."""
        found: list[ConnectTarget] = []
        endpoints: list[Endpoint] = []
        kept: list[Goal] = []
        refusal: LinkError | None = None
        known: dict[tuple[bytes, str], Endpoint | LinkError] = {}
        for goal in self.goals:
            key = (goal.host.address, goal.host.zone)
            if key not in known:
                known[key] = self._endpoint(path, goal)
            endpoint = known[key]
            if isinstance(endpoint, LinkError):
                if not self.talks:
                    raise endpoint
                refusal = endpoint
                continue
            kept.append(goal)
            endpoints.append(endpoint)
            found.append(self._target(goal, endpoint, way))
        if not found and refusal is not None:
            raise refusal
        self.goals = kept
        return found, endpoints

    def _endpoint(self, path: Path, goal: Goal) -> Endpoint | LinkError:
        try:
            return path.endpoint(goal.host.address, goal.host.zone)
        except LinkError as error:
            return error

    def _target(self, goal: Goal, endpoint: Endpoint, way: TcpWay) -> ConnectTarget:
        source = self.source or (endpoint.source if any(endpoint.source) else b"")
        own = {one.address for port in way.path.ports for one in way.path.stack.addresses(port.index)}
        if self.source and self.source not in own:
            raise LinkError(f"bind: Cannot assign requested address: {format_ip(source)} is not ours here")
        endpoint.source = source or endpoint.source
        held = Held(way, endpoint, self.options.source_port or 0)
        return ConnectTarget(goal.host.address, goal.port, source, held.claim, held.release)


class Held:
    """The local ports of one target's attempts. A fixed one is held from the beginning to the end."""

    def __init__(self, way: TcpWay, endpoint: Endpoint, port: int) -> None:
        self._way = way
        self._endpoint = endpoint
        self._fixed = port
        if port:
            way.claim_once(endpoint, port)

    def claim(self) -> int:
        """For the next attempt. OSError: the kernel has none."""
        if self._fixed:
            return self._fixed
        try:
            return self._way.claim(self._endpoint)
        except LinkError as error:
            raise OSError(error.errno, str(error)) from error

    def release(self, port: int) -> None:
        """An attempt is over."""
        if not self._fixed:
            self._way.retire(port)


def format_end(address: bytes, port: int, zone: str = "") -> str:
    """address:port as people write it."""
    text = format_ip(address) + (f"%{zone}" if zone else "")
    return f"[{text}]:{port}" if len(address) == 16 else f"{text}:{port}"


def _read_source(options: Options, family: int) -> bytes:
    if options.source is None:
        return b""
    try:
        return parse_ip(options.source.partition("%")[0])
    except ValueError as error:
        raise UsageError(f"-s {options.source}: {error}") from None


# --- targets ----------------------------------------------------------------------------------------------------------


def read_goals(words: Sequence[str], family: int, *, numeric: bool = False) -> list[Goal]:
    """Every port of every host that the words name."""
    pairs: list[tuple[str, str]] = []
    last = words[-1]
    if len(words) > 1 and all(_split(word) is None for word in words[:-1]):
        pairs = [(host, last) for host in words[:-1]]
    else:
        for word in words:
            pair = _split(word)
            if pair is None:
                raise UsageError(f"{word}: which port? (HOST PORT, or HOST:PORT)")
            pairs.append(pair)
    goals: dict[tuple[bytes, str, int], Goal] = {}
    for host_text, port_text in pairs:
        ports = read_ports(port_text, numeric=numeric)
        for host in _hosts(host_text, family, numeric):
            for port in ports:
                goals.setdefault((host.address, host.zone, port), Goal(host, port))
    if len(goals) > PORT_LIMIT:
        raise UsageError(f"too many targets: at most {PORT_LIMIT} in one run")
    return list(goals.values())


def _split(word: str) -> tuple[str, str] | None:
    """(host, ports) of HOST:PORT or [ADDRESS]:PORT; None for a bare host or port."""
    if word.startswith("["):
        host, bracket, rest = word[1:].partition("]")
        return (host, rest[1:]) if bracket and rest.startswith(":") else None
    if word.count(":") != 1:
        return None
    host, _, port = word.partition(":")
    if "/" in port:
        raise UsageError(f"{word}: give a host and a port, not a URL")
    return host, port


def _hosts(text: str, family: int, numeric: bool) -> list[Host]:
    bare = text.strip("[]")
    if "/" in bare or (bare[:1].isdigit() and "-" in bare):
        several = expand([bare], family)
        return [Host(format_ip(address), address) for address in several.addresses]
    if numeric and literal(bare) is None:
        raise UsageError(f"{text}: not a numeric address (-n)")
    host = resolve(bare, family)
    for one in (host, *host.others):
        if is_unspecified(one.address):
            one.address = b"\x7f\0\0\1" if len(one.address) == 4 else bytes(15) + b"\1"
        elif is_multicast(one.address):
            raise UsageError(f"{text}: nobody connects to a multicast address")
    return [host]


def read_ports(text: str, *, numeric: bool = False) -> list[int]:
    """Numbers of `80`, `http`, `22,80`, `8000-8010` and mixtures."""
    ports: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if dash and first.isdecimal() and last.isdecimal():
            low, high = _number(first), _number(last)
            if low > high:
                raise UsageError(f"invalid port range: {part}: the last port must not be lower than the first")
            ports.update(dict.fromkeys(range(low, high + 1)))
        else:
            ports[_number(part) if part.isdecimal() else _service(part, numeric)] = None
    return list(ports)


def _number(text: str) -> int:
    if not (text.isascii() and len(text) <= 6 and 1 <= int(text) <= 65535):
        raise UsageError(f"invalid port: {text}: out of range: 1 <= port <= 65535")
    return int(text)


def _service(text: str, numeric: bool) -> int:
    if numeric or not text:
        raise UsageError(f"invalid port: '{text}'")
    try:
        return socket.getservbyname(text, "tcp")
    except (OSError, UnicodeError):
        raise UsageError(f"invalid port: '{text}' (no such TCP service)") from None
