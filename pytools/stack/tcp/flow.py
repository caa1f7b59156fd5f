"""The IP side of a connection: the way to the peer, and a segment's headers around its payload."""

from pytools.engine import Transmit
from pytools.stack.ip_output import IpOutput, Path
from pytools.stack.node import Node
from pytools.stack.packet import IpOptions
from pytools.stack.tcp.config import TcpConfig
from pytools.stack.tcp.output import SegmentOut
from pytools.units import Ns
from pytools.wire import ipv4, ipv6, tcp
from pytools.wire.addr import format_ip
from pytools.wire.checksum import pseudo_header_sum

MASK = 0xFFFFFFFF


class Flow:
    """A path that was looked up once and holds while `Node.generation` stays.

    TCP's checksum field leaves with the folded pseudo-header sum; the link completes it (see `engine.Transmit`).
    """

    __slots__ = (
        "_ip",
        "_path",
        "config",
        "dst",
        "generation",
        "local_mss",
        "mss",
        "offloads",
        "src",
        "_ident",
    )

    def __init__(self, ip: IpOutput, node: Node, path: Path, dst: bytes, config: TcpConfig) -> None:
        self._ip = ip
        self._path = path
        self.src = path.src
        self.dst = dst
        self.generation = node.generation
        self.offloads = path.iface.port.offloads
        header = 20 if len(dst) == 4 else 40
        self.mss = (min(path.path_mtu, 65535) if header == 20 else path.path_mtu) - header - 20
        self.local_mss = (path.iface.mtu if header == 20 else path.iface.mtu6) - header - 20
        """What we can take: of the interface, whatever the path (MUST-67)."""
        self.config = config
        self._ident = node.rng.getrandbits(16)

    def doubt(self) -> None:
        """Nothing comes back: have the way looked up again before the next segment (MUST-20)."""
        self.generation = -1

    @classmethod
    def find(cls, ip: IpOutput, node: Node, src: bytes, dst: bytes, config: TcpConfig, now: Ns) -> "Flow | int":
        """The way from `src` (b"": the stack chooses) to `dst`, or an errno."""
        path = ip.path(dst, now, IpOptions(src=src or None))
        return path if isinstance(path, int) else cls(ip, node, path, dst, config)

    @staticmethod
    def label(endpoint: tuple[bytes, int]) -> str:
        """address:port as people write it."""
        text = format_ip(endpoint[0])
        return f"{text}:{endpoint[1]}" if len(endpoint[0]) == 4 else f"[{text}]:{endpoint[1]}"

    def send(self, key: tuple[bytes, int, bytes, int], out: SegmentOut, now: Ns) -> int:
        """Put the headers before the payload and hand the packet to IP; 0 or an errno."""
        length = 20 + (len(out.options) + 3 & ~3) + out.length
        src, dst, config = key[0], key[2], self.config
        partial = pseudo_header_sum(src, dst, tcp.PROTOCOL, length)
        header = tcp.encode(
            key[1], key[3], out.seq & MASK, out.ack & MASK, out.flags, out.window, out.options, partial, out.urgent
        )
        if len(dst) == 4:
            self._ident = (self._ident + max(1, -(-out.length // out.gso_size) if out.gso_size else 1)) & 0xFFFF
            ip_header = ipv4.encode(
                src, dst, tcp.PROTOCOL, length, tos=config.tos, ident=self._ident, dont_fragment=True, ttl=config.ttl
            )
        else:
            ip_header = ipv6.encode(src, dst, tcp.PROTOCOL, length, traffic_class=config.tos, hop_limit=config.ttl)
        packet = Transmit(
            self._path.iface.index,
            (ip_header + header, *out.parts),
            gso_size=out.gso_size,
            csum_start=len(ip_header),
            csum_offset=tcp.CHECKSUM_OFFSET,
        )
        return self._ip.send_packet(self._path, packet, now)
