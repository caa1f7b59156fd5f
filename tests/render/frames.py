"""Frames and events for the tests of this room, made with the wire codecs."""

from struct import pack

from pytools.engine import CHECKSUM_UNKNOWN
from pytools.trace.events import FrameReceived, FrameSent, Settled, TraceEvent
from pytools.wire import arp, ethernet, icmp, icmp6, ipv4, ipv6
from pytools.wire.addr import multicast_mac, parse_ip, parse_mac, solicited_node
from pytools.wire.checksum import checksum, pseudo_header_sum

OURS = parse_mac("02:00:00:00:00:0a")
PEER = parse_mac("02:00:00:00:00:02")
IP_OURS = parse_ip("10.0.0.10")
IP_PEER = parse_ip("10.0.0.2")
IP6_OURS = parse_ip("fd00::10")
IP6_PEER = parse_ip("fd00::2")
PATTERN = bytes(range(56))


def arp_request() -> bytes:
    packet = arp.encode(arp.REQUEST, OURS, IP_OURS, bytes(6), IP_PEER)
    return ethernet.encode(ethernet.BROADCAST, OURS, ethernet.ETHERTYPE_ARP) + packet


def arp_reply() -> bytes:
    packet = arp.encode(arp.REPLY, PEER, IP_PEER, OURS, IP_OURS)
    return ethernet.encode(OURS, PEER, ethernet.ETHERTYPE_ARP) + packet


def ipv4_packet(protocol: int, payload: bytes, *, src: bytes = IP_OURS, dst: bytes = IP_PEER, ident: int = 7) -> bytes:
    header = ipv4.encode(src, dst, protocol, len(payload), ident=ident, dont_fragment=True, ttl=64)
    return header + payload


def ipv6_packet(protocol: int, payload: bytes, *, src: bytes = IP6_OURS, dst: bytes = IP6_PEER) -> bytes:
    return ipv6.encode(src, dst, protocol, len(payload), hop_limit=64) + payload


def echo_packet(seq: int = 1) -> bytes:
    return ipv4_packet(ipv4.PROTO_ICMP, icmp.encode_echo(77, seq, PATTERN))


def echo_request(seq: int = 1, vlans: tuple[int, ...] = ()) -> bytes:
    return ethernet.encode(PEER, OURS, ethernet.ETHERTYPE_IPV4, vlans) + echo_packet(seq)


def echo_reply(seq: int = 1) -> bytes:
    message = icmp.encode_echo(77, seq, PATTERN, icmp.ECHO_REPLY)
    packet = ipv4_packet(ipv4.PROTO_ICMP, message, src=IP_PEER, dst=IP_OURS)
    return ethernet.encode(OURS, PEER, ethernet.ETHERTYPE_IPV4) + packet


def echo6_packet() -> bytes:
    return ipv6_packet(58, icmp6.encode_echo(IP6_OURS, IP6_PEER, 77, 1, PATTERN))


def echo6_request() -> bytes:
    return ethernet.encode(PEER, OURS, ethernet.ETHERTYPE_IPV6) + echo6_packet()


def neighbor_solicitation() -> bytes:
    group = solicited_node(IP6_PEER)
    message = icmp6.NeighborSolicitation(IP6_PEER, icmp6.NdOptions(source_mac=OURS)).encode(IP6_OURS, group)
    packet = ipv6.encode(IP6_OURS, group, 58, len(message), hop_limit=255) + message
    return ethernet.encode(multicast_mac(group), OURS, ethernet.ETHERTYPE_IPV6) + packet


def udp_datagram(payload: bytes, *, partial: bool = False) -> bytes:
    pseudo = pseudo_header_sum(IP_OURS, IP_PEER, 17, 8 + len(payload))
    header = pack("!HHHH", 40000, 7, 8 + len(payload), 0)
    check = pseudo if partial else checksum(header + payload, pseudo) or 0xFFFF
    return header[:6] + check.to_bytes(2, "big") + payload


def udp_frame(payload: bytes = b"hello", *, partial: bool = False) -> bytes:
    packet = ipv4_packet(ipv4.PROTO_UDP, udp_datagram(payload, partial=partial))
    return ethernet.encode(PEER, OURS, ethernet.ETHERTYPE_IPV4) + packet


def udp_error() -> bytes:
    """A router's Port Unreachable, whose line is long."""
    quoted = ipv4_packet(ipv4.PROTO_UDP, udp_datagram(b"hello"), src=IP_OURS, dst=IP_PEER)
    packet = ipv4_packet(ipv4.PROTO_ICMP, icmp.encode(3, 3, 0, quoted), src=IP_PEER, dst=IP_OURS)
    return ethernet.encode(OURS, PEER, ethernet.ETHERTYPE_IPV4) + packet


def partial_tcp(payload: bytes, src: bytes = IP_OURS, dst: bytes = IP_PEER, seq: int = 1) -> bytes:
    """A TCP segment as it is handed to a device that completes checksums."""
    header = pack("!HHIIBBHHH", 40000, 80, seq, 1, 5 << 4, 0x18, 512, 0, 0)
    pseudo = pseudo_header_sum(src, dst, 6, len(header) + len(payload))
    return header[:16] + pseudo.to_bytes(2, "big") + header[18:] + payload


def partial_tcp_frame(payload: bytes, seq: int = 1) -> bytes:
    packet = ipv4_packet(ipv4.PROTO_TCP, partial_tcp(payload, seq=seq))
    return ethernet.encode(PEER, OURS, ethernet.ETHERTYPE_IPV4) + packet


def partial_tcp6_frame(payload: bytes, seq: int = 1) -> bytes:
    packet = ipv6_packet(6, partial_tcp(payload, IP6_OURS, IP6_PEER, seq))
    return ethernet.encode(PEER, OURS, ethernet.ETHERTYPE_IPV6) + packet


def sent(now: int, *parts: bytes, port: int = 0, gso_size: int = 0, csum: tuple[int, int] = (0, 0)) -> FrameSent:
    return FrameSent(now, port, parts, gso_size, *csum)


def received(
    now: int, frame: bytes, *, port: int = 0, at: int | None = None, checksum: int = CHECKSUM_UNKNOWN, gso_size: int = 0
) -> FrameReceived:
    return FrameReceived(now, port, frame, at, checksum, gso_size)


def call(*events: TraceEvent) -> list[TraceEvent]:
    """The events of one engine call, with its end."""
    return [*events, Settled(events[-1].now)]
