"""Every engine keeps the laws of pytools.engine. To put another one under them, add a Subject to the list."""

import contextlib
from random import Random

import pytest

from pytools.engine import Port, RxMeta
from pytools.probe.arping import ANNOUNCE, DETECT, ArpingConfig, ArpingEngine
from pytools.probe.arping_acd import AcdEngine
from pytools.probe.arping_mac import MacEngine
from pytools.probe.arping_scan import ScanEngine
from pytools.probe.arping_watch import WatchEngine
from pytools.probe.arping_wire import Station
from pytools.probe.mtu_search import MtuSearch, MtuSearchConfig
from pytools.probe.ping import PingConfig, PingEngine
from pytools.probe.sweep import SweepConfig, SweepEngine
from pytools.probe.targets import TargetTable
from pytools.probe.tcpconnect import ConnectConfig, ConnectTarget, TcpConnectEngine
from pytools.probe.tcpserve import ServeConfig, TcpServer
from pytools.probe.tcpserve_services import Echo, Greeted
from pytools.stack.config import StackConfig
from pytools.stack.packet import IpOptions
from pytools.stack.routes import Route
from pytools.stack.sockets import SHUT_WR, StreamSocket
from pytools.stack.stack import Stack
from pytools.stack.tcp.state import ESTABLISHED
from pytools.stack.tcp.tcp import ANY4, ANY6, Tcp
from pytools.stack.udp import SERVICES
from pytools.trace.hub import Trace
from pytools.units import SECOND, Ns
from pytools.wire import arp, ethernet, icmp, ipv4, ipv4_options, udp
from pytools.wire.addr import Network, parse_ip
from tests.laws import LAWS, Play, Subject

MAC, FAR_MAC = bytes.fromhex("02000000000a"), bytes.fromhex("020000000002")
OURS, FAR, LOST = parse_ip("10.0.0.10"), parse_ip("10.0.0.2"), parse_ip("10.0.0.99")
OURS6, FAR6 = parse_ip("fd00::10"), parse_ip("fd00::2")


def stack(
    rng: Random, trace: Trace, mac: bytes = MAC, last: str = "10", shared: bool = False, **settings: object
) -> Stack:
    """A stack on 10.0.0.0/24 and fd00::/64."""
    made = Stack(rng, StackConfig(**settings), trace)
    made.add_port(Port(0, "eth0", mac=mac))
    made.add_address(0, parse_ip(f"10.0.0.{last}"), 24, shared=shared)
    made.add_address(0, parse_ip(f"fd00::{last}"), 64, shared=shared)
    made.open_echo(77)
    return made


def answering_host(rng: Random, trace: Trace) -> Stack:
    """10.0.0.2 and fd00::2, with the usual services."""
    made = stack(rng, trace, FAR_MAC, "2")
    for port, service in SERVICES.items():
        made.open_udp(port, service)
    return made


def router(rng: Random, trace: Trace) -> Stack:
    """Forwards between two ports, probes for an address, and knows ways that lead nowhere."""
    made = stack(rng, trace, forwarding=True, send_redirects=True)
    made.add_port(Port(1, "eth1", mtu=600, mac=bytes.fromhex("02000000000b")))
    made.add_address(1, parse_ip("10.1.0.1"), 24)
    made.add_address(0, parse_ip("10.0.0.11"), 24, probe=True)
    for network, kind in (("192.0.2.0/24", "unreachable"), ("198.51.100.0/24", "prohibit"), ("0.0.0.0/0", "blackhole")):
        made.add_route(Route(Network.parse(network), 0, kind=kind))
    return made


def packet(dst: bytes, payload: bytes, protocol: int = ipv4.PROTO_ICMP, **header: object) -> bytes:
    """A frame from 10.0.0.2 to us."""
    ip = ipv4.encode(FAR, dst, protocol, len(payload), **header)
    return ethernet.encode(MAC, FAR_MAC, ethernet.ETHERTYPE_IPV4) + ip + payload


def talk(play: Play) -> None:
    """A host's or kernel's neighbour pings and is pinged, in pieces too, sends datagrams, and somebody is missing."""
    for seq in range(3):
        for dst in (FAR, FAR6, LOST):
            play.does(lambda s, now, dst=dst, seq=seq: s.send_echo(dst, 77, seq, b"x" * 56, now, None, seq))
        play.advance(0.3)
    play.does(lambda s, now: s.send_echo(FAR, 77, 9, bytes(4000), now, IpOptions(tos=4), "large"))
    play.does(lambda s, now: s.send_echo(FAR6, 77, 9, bytes(4000), now))
    port = 40000
    play.does(lambda s, now: s.open_udp(port))
    for there in (7, 19, 99):
        play.does(lambda s, now, there=there: s.send_udp(port, FAR, there, b"hello", now, None, there))
        play.does(lambda s, now, there=there: s.send_udp(port, FAR6, there, b"hello", now))
    play.advance(0.1)
    echo = icmp.encode_echo(5, 1, bytes(56))
    play.receives(packet(OURS, echo, options=ipv4_options.record_route()), at=5)
    play.receives(packet(OURS, echo[:32], more_fragments=True, ident=7))
    play.receives(packet(OURS, udp.encode(FAR, OURS, 9, 9, b"nobody")))
    play.advance(70)


def be_a_router(play: Play) -> None:
    """Packets come through, too large ones, late ones, ones to nowhere."""
    request = arp.encode(arp.REQUEST, FAR_MAC, FAR, bytes(6), OURS)
    play.receives(ethernet.encode(ethernet.BROADCAST, FAR_MAC, ethernet.ETHERTYPE_ARP) + request)
    for dst in ("10.1.0.2", "10.1.0.99", "192.0.2.1", "198.51.100.1", "203.0.113.1", "10.0.0.3"):
        for size, ttl, df in ((56, 64, False), (1400, 64, False), (1400, 64, True), (56, 1, False)):
            echo = icmp.encode_echo(5, 1, bytes(size))
            play.receives(packet(parse_ip(dst), echo, ttl=ttl, dont_fragment=df))
    play.advance(5)


def ping_one(rng: Random, trace: Trace, dst: bytes = FAR, **settings: object) -> PingEngine:
    """Three probes to one target."""
    config = PingConfig(ident=77, count=3, histogram=True, outstanding=True, lost_after_ns=SECOND, **settings)
    return PingEngine(stack(rng, trace), dst, config)


def ping_many(rng: Random, trace: Trace, **settings: object) -> SweepEngine:
    """Two that answer, one that is not there."""
    config = SweepConfig(ident=77, histograms=True, lost_after_ns=SECOND, shuffle=True, **settings)
    return SweepEngine(stack(rng, trace), TargetTable([FAR, LOST, FAR6]), config, rng)


def search_mtu(rng: Random, trace: Trace) -> MtuSearch:
    return MtuSearch(stack(rng, trace), FAR, MtuSearchConfig(ident=77))


def arping(rng: Random, trace: Trace, target: bytes = FAR, source: bytes = OURS, **settings: object) -> ArpingEngine:
    """Questions on the host's address."""
    config = ArpingConfig(Station(MAC, source), **{"count": 4, **settings})
    return ArpingEngine(stack(rng, trace, shared=True), Port(0, "eth0", mac=MAC), target, config)


def arping_mac(rng: Random, trace: Trace) -> MacEngine:
    config = ArpingConfig(Station(MAC, OURS), count=4)
    return MacEngine(stack(rng, trace), Port(0, "eth0", mac=MAC), FAR_MAC, FAR, 77, config)


def arping_acd(rng: Random, trace: Trace, address: bytes = LOST) -> AcdEngine:
    port = Port(0, "eth0", mac=MAC)
    return AcdEngine(stack(rng, trace, shared=True), port, address, MAC, rng, announce=True)


def arping_scan(rng: Random, trace: Trace) -> ScanEngine:
    targets = [*Network.parse("10.0.0.0/28").hosts()]
    us = Station(MAC, OURS)
    return ScanEngine(stack(rng, trace, shared=True), Port(0, "eth0", mac=MAC), targets, us, interval_ns=SECOND // 50)


def arping_watch(rng: Random, trace: Trace, *targets: bytes) -> WatchEngine:
    made = stack(rng, trace, shared=True)
    return WatchEngine(made, Port(0, "eth0", mac=MAC), Station(MAC, OURS), targets, own=[OURS])


def serving(rng: Random, trace: Trace) -> TcpServer:
    """Echo with every limit there is, on two ports of both families."""
    made = stack(rng, trace)
    limits = ServeConfig(idle_ns=5 * SECOND, read_rate=4000, send_rate=8000, max_clients=3, max_bytes=3000)
    server = TcpServer(made, made.install(6, Tcp), limits, lambda number, local, peer: Greeted(b"hello", Echo()))
    server.listen([(ANY4, 7), (ANY6, 7), (OURS, 8)], 0)
    return server


class Caller(Stack):
    """Somebody at 10.0.0.2 and fd00::2 who connects six times and says something once he may."""

    def __init__(self, rng: Random, trace: Trace) -> None:
        super().__init__(rng, None, trace)
        self.add_port(Port(0, "eth0", mac=FAR_MAC))
        self.add_address(0, FAR, 24)
        self.add_address(0, FAR6, 64)
        tcp = self.install(6, Tcp)
        self.silent = [StreamSocket(tcp) for _ in range(6)]
        for number, stream in enumerate(self.silent):
            with contextlib.suppress(BlockingIOError):
                stream.connect((OURS, 7) if number % 2 else (OURS6, 7), 0)

    def on_frame(self, frame: memoryview, now: Ns, meta: RxMeta) -> None:
        super().on_frame(frame, now, meta)
        for number, stream in enumerate(self.silent):
            if stream.connection is not None and stream.connection.state is ESTABLISHED:
                stream.send(bytes(1000 * number + 1), now)
                if number != 2:
                    stream.shutdown(SHUT_WR, now)
                self.silent.remove(stream)
                break


def serve(play: Play) -> None:
    """Clients come and go, one stays idle; then the server ends."""
    play.advance(8)
    play.does(lambda server, now: server.finish(now))
    play.advance(2)
    play.does(lambda server, now: server.abort(now))


def claim_addresses(play: Play) -> None:
    """Stations say that they have an address, also the same and ours."""
    for last, ip in ((2, FAR), (3, FAR), (2, FAR), (3, OURS), (4, LOST), (2, FAR)):
        mac = FAR_MAC[:5] + bytes((last,))
        claim = arp.encode(arp.REQUEST, mac, ip, bytes(6), ip)
        play.receives(ethernet.encode(ethernet.BROADCAST, mac, ethernet.ETHERTYPE_ARP) + claim)
        play.advance(4)
    play.does(lambda engine, now: engine.finish(now))


def tcp_host(rng: Random, trace: Trace) -> Stack:
    """Listens on port 7, and never accepts what it has."""
    made = answering_host(rng, trace)
    found = [one for one in (made.install(6, Tcp).listen(b"", 7, 8, 0),) if not isinstance(one, int)]
    assert found
    return made


def tcpconnect(rng: Random, trace: Trace, keep: bool = False) -> TcpConnectEngine:
    """Connects to a port that is open, one that is not, by IPv6, and to nobody."""
    made = stack(rng, trace)
    goals = ((FAR, 81), (LOST, 7), (FAR, 7), (FAR6, 7)) if keep else ((FAR, 7), (FAR, 81), (FAR6, 7), (LOST, 7))
    targets = [ConnectTarget(address, port) for address, port in goals]
    return TcpConnectEngine(
        made, made.install(6, Tcp), targets, ConnectConfig(count=3, keep=keep, timeout_ns=2 * SECOND)
    )


def converse(play: Play) -> None:
    """Data and a half-close on the connection that was kept."""
    play.advance(6)
    play.does(lambda e, now: e.kept.stream.send(b"x" * 20_000, now) if e.kept is not None else 0)
    play.advance(1)
    play.does(lambda e, now: e.kept.stream.close(now) if e.kept is not None else 0)
    play.advance(3)


def pass_time(play: Play) -> None:
    """The engine does it all by itself."""
    play.advance(30)
    play.does(lambda engine, now: engine.finish(now))


class TcpHost(Stack):
    """A stack with TCP; `socket` is what the script uses, `served` what an echo server's clients got."""

    def __init__(self, rng: Random, trace: Trace, mac: bytes, last: str) -> None:
        super().__init__(rng, StackConfig(), trace)
        self.add_port(Port(0, "eth0", mac=mac))
        self.add_address(0, parse_ip(f"10.0.0.{last}"), 24)
        self.tcp = self.install(6, Tcp)
        self.tcp.config.time_wait_ns = 5 * SECOND
        self.socket = StreamSocket(self.tcp)
        self.listener = StreamSocket(self.tcp)
        self.listener.bind(parse_ip(f"10.0.0.{last}"), 80)
        self.listener.listen(5)
        self.children: list[StreamSocket] = []

    def serve(self, now: int) -> None:
        """Echo, and close when the client has."""
        with contextlib.suppress(BlockingIOError):
            self.children.append(self.listener.accept(now))
        for child in list(self.children):
            with contextlib.suppress(BlockingIOError):
                if data := child.recv(1 << 20, now):
                    child.send(data, now)
                else:
                    child.close(now)
                    self.children.remove(child)

    def call(self, what: str, now: int, *arguments: object) -> object:
        """A call of the client socket; its errno, or what it returned."""
        try:
            return getattr(self.socket, what)(*arguments, now)
        except OSError as error:
            return error.errno


def tcp_client(rng: Random, trace: Trace) -> TcpHost:
    return TcpHost(rng, trace, MAC, "10")


def tcp_server(rng: Random, trace: Trace) -> TcpHost:
    return TcpHost(rng, trace, FAR_MAC, "2")


def talk_tcp(play: Play) -> None:
    """Connect, send more than a window, read it back, half-close; then somebody who isn't there."""
    play.does(lambda s, now: s.call("connect", now, (FAR, 80)))
    for turn in range(40):
        play.advance(0.05)
        play.does(lambda s, now, turn=turn: s.call("send", now, bytes(20_000)) if turn < 10 else None)
        play.peer.serve(play.now)
        play.does(lambda s, now: s.call("recv", now, 50_000))
    play.does(lambda s, now: s.call("close", now))
    for _ in range(4):
        play.advance(0.1)
        play.peer.serve(play.now)
    play.does(lambda s, now: setattr(s, "socket", StreamSocket(s.tcp)))
    play.does(lambda s, now: s.call("connect", now, (LOST, 80)))
    play.advance(70)


SUBJECTS = [
    Subject("tcp", tcp_client, talk_tcp, against=tcp_server),
    Subject("stack host", stack, talk, against=answering_host),
    Subject("stack shared", lambda rng, trace: stack(rng, trace, shared=True), talk, against=answering_host),
    Subject("stack router", router, be_a_router),
    Subject("ping", ping_one, pass_time, against=answering_host),
    Subject("ping ipv6", lambda rng, trace: ping_one(rng, trace, FAR6), pass_time, against=answering_host),
    Subject("ping nobody", lambda rng, trace: ping_one(rng, trace, LOST), pass_time, against=answering_host),
    Subject(
        "ping flood",
        lambda rng, trace: ping_one(rng, trace, flood=True, interval_ns=0, preload=2, sizes=(8, 56, 3000)),
        pass_time,
        against=answering_host,
    ),
    Subject("ping adaptive", lambda rng, trace: ping_one(rng, trace, adaptive=True), pass_time, against=answering_host),
    Subject("ping many", lambda rng, trace: ping_many(rng, trace, count=3), pass_time, against=answering_host),
    Subject(
        "ping many flood",
        lambda rng, trace: ping_many(rng, trace, count=5, flood=True, gap_ns=0),
        pass_time,
        against=answering_host,
    ),
    Subject(
        "ping who is alive", lambda rng, trace: ping_many(rng, trace, retries=2), pass_time, against=answering_host
    ),
    Subject("ping mtu", search_mtu, pass_time, against=answering_host),
    Subject("arping", arping, pass_time, against=answering_host),
    Subject("arping ipv6", lambda rng, trace: arping(rng, trace, FAR6, OURS6), pass_time, against=answering_host),
    Subject("arping nobody", lambda rng, trace: arping(rng, trace, LOST), pass_time, against=answering_host),
    Subject(
        "arping detect",
        lambda rng, trace: arping(rng, trace, FAR6, bytes(16), mode=DETECT),
        pass_time,
        against=answering_host,
    ),
    Subject("arping announce", lambda rng, trace: arping(rng, trace, OURS, mode=ANNOUNCE), pass_time),
    Subject("arping mac", arping_mac, pass_time, against=answering_host),
    Subject("arping acd", arping_acd, pass_time, against=answering_host),
    Subject("arping acd in use", lambda rng, trace: arping_acd(rng, trace, FAR6), pass_time, against=answering_host),
    Subject("arping scan", arping_scan, pass_time, against=answering_host),
    Subject("tcpserve", serving, serve, against=Caller),
    Subject("tcpconnect", tcpconnect, lambda play: play.advance(12), against=tcp_host),
    Subject("tcpconnect talk", lambda rng, trace: tcpconnect(rng, trace, True), converse, against=tcp_host),
    Subject("arping watch", lambda rng, trace: arping_watch(rng, trace, FAR, LOST), claim_addresses),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_every_engine_keeps_the_law(subject, law):
    law(subject)
