"""Script packets to octets, and our octets against what a script expects."""

from typing import Any, Final

from pytools.errors import UsageError
from pytools.sim.drill.syntax import IcmpStep, PacketStep, TcpStep
from pytools.wire import icmp, icmp6, ipv4, ipv6, tcp, tcp_options, udp
from pytools.wire.notation_tcp import format_flags, format_options

MASK: Final = 0xFFFFFFFF
_FLAG_BITS: Final = {
    "F": tcp.FIN,
    "S": tcp.SYN,
    "R": tcp.RST,
    "P": tcp.PSH,
    ".": tcp.ACK,
    "U": tcp.URG,
    "E": tcp.ECE,
    "W": tcp.CWR,
    "C": tcp.CWR,
    "A": tcp.AE,
    "-": 0,
}
_ECN_BITS: Final = {"noecn": 0, "ect0": 2, "ect1": 1, "ce": 3}
_ICMP4: Final = {
    ("unreachable", ""): (3, 0),
    ("unreachable", "net_unreachable"): (3, 0),
    ("unreachable", "host_unreachable"): (3, 1),
    ("unreachable", "protocol_unreachable"): (3, 2),
    ("unreachable", "port_unreachable"): (3, 3),
    ("unreachable", "frag_needed"): (3, 4),
    ("unreachable", "source_route_failed"): (3, 5),
    ("unreachable", "net_unknown"): (3, 6),
    ("unreachable", "host_unknown"): (3, 7),
    ("unreachable", "source_host_isolated"): (3, 8),
    ("unreachable", "net_prohibited"): (3, 9),
    ("unreachable", "host_prohibited"): (3, 10),
    ("unreachable", "net_unreachable_for_tos"): (3, 11),
    ("unreachable", "host_unreachable_for_tos"): (3, 12),
    ("unreachable", "packet_filtered"): (3, 13),
    ("unreachable", "precedence_violation"): (3, 14),
    ("unreachable", "precedence_cutoff"): (3, 15),
    ("source_quench", ""): (4, 0),
    ("time_exceeded", ""): (11, 0),
    ("time_exceeded", "ttl_exceeded"): (11, 0),
    ("time_exceeded", "exc_fragtime"): (11, 1),
    ("parameter_problem", ""): (12, 0),
}
_ICMP6: Final = {
    ("unreachable", ""): (1, 0),
    ("unreachable", "no_route"): (1, 0),
    ("unreachable", "net_unreachable"): (1, 0),
    ("unreachable", "admin_prohibited"): (1, 1),
    ("unreachable", "packet_filtered"): (1, 1),
    ("unreachable", "host_unreachable"): (1, 3),
    ("unreachable", "address_unreachable"): (1, 3),
    ("unreachable", "port_unreachable"): (1, 4),
    ("unreachable", "frag_needed"): (2, 0),
    ("packet_too_big", ""): (2, 0),
    ("time_exceeded", ""): (3, 0),
    ("parameter_problem", ""): (4, 0),
}


def flag_bits(flags: str) -> int:
    """Bits of `S`, `P.`, `-`."""
    bits = 0
    for letter in flags:
        bits |= _ace(int(letter)) if letter.isdigit() else _FLAG_BITS[letter]
    return bits


def _ace(counter: int) -> int:
    """AccECN's counter of three bits in the place of AE, CWR and ECE."""
    return (tcp.AE if counter & 4 else 0) | (tcp.CWR if counter & 2 else 0) | (tcp.ECE if counter & 1 else 0)


def cookie_of(word: str, defines: dict[str, str]) -> bytes:
    """A fast-open cookie: hexadecimal digits or one of the script's words."""
    text = defines.get(word, word).strip('"')
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise UsageError(f"cookie {word!r} is not hexadecimal") from None


class Flow:
    """One connection as the script sees it: ports, and how its numbers map to those on the wire."""

    __slots__ = ("defines", "established", "local_port", "offset", "remote_port", "stamps", "stamps_offset")

    def __init__(self, local_port: int, remote_port: int, defines: dict[str, str]) -> None:
        self.defines = defines
        self.established = False
        """Whether the peer has acknowledged our SYN."""
        self.local_port = local_port
        self.remote_port = remote_port
        self.offset: int | None = None
        """Our sequence numbers on the wire minus those in the script."""
        self.stamps: dict[int, int] = {}
        """Our timestamps: in the script -> on the wire."""
        self.stamps_offset: int | None = None

    def to_wire(self, number: int) -> int:
        """A sequence number of ours."""
        return (number + (self.offset or 0)) & MASK

    def echo_to_wire(self, value: int) -> int:
        """A timestamp of ours that the peer echoes."""
        if value in self.stamps:
            return self.stamps[value]
        return (value + (self.stamps_offset or 0)) & MASK if value else 0


def build_options(step: TcpStep, flow: Flow) -> bytes:
    """The octets of an arriving segment's options."""
    octets = b""
    for name, values in step.options:
        if name == "nop":
            octets += b"\1"
        elif name == "eol":
            octets += b"\0"
        elif name == "mss":
            octets += tcp_options.mss(values[0] & 0xFFFF)
        elif name == "wscale":
            octets += tcp_options.window_scale(values[0])
        elif name == "sackOK":
            octets += tcp_options.sack_permitted()
        elif name == "sack":
            octets += tcp_options.sack([(flow.to_wire(left), flow.to_wire(right)) for left, right in values])
        elif name == "TS":
            if not all(isinstance(value, int) for value in values):
                raise UsageError("an arriving segment's timestamps must be numbers")
            octets += tcp_options.timestamps(values[0] & MASK, flow.echo_to_wire(values[1]))[2:]
        elif name == "FO":
            octets += tcp_options.fast_open(cookie_of(values[0], flow.defines))
        elif name == "FOEXP":
            octets += _other(254, b"\xf9\x89" + cookie_of(values[0], flow.defines))
        elif name == "md5":
            octets += _other(19, cookie_of(values[0], flow.defines).ljust(16, b"\0"))
        else:
            octets += _accecn(values)
    return octets + bytes(-len(octets) & 3)


def _other(kind: int, value: bytes) -> bytes:
    return bytes((kind, len(value) + 2)) + value


def _accecn(counters: tuple[tuple[str, int], ...]) -> bytes:
    """draft-ietf-tcpm-accurate-ecn 3.2.3: kind 174 begins with e1b, 172 with e0b."""
    kind = 174 if counters and counters[0][0] == "e1b" else 172
    return _other(kind, b"".join((value & 0xFFFFFF).to_bytes(3, "big") for _, value in counters))


def build_tcp(step: TcpStep, packet: PacketStep, flow: Flow, local: bytes, remote: bytes, data: bytes) -> bytes:
    """An arriving segment as an IP packet."""
    header = tcp.encode(
        flow.remote_port,
        flow.local_port,
        step.seq & MASK,
        flow.to_wire(step.ack) if step.ack is not None else 0,
        flag_bits(step.flags),
        step.window if step.window is not None else 0,
        build_options(step, flow),
        urgent_pointer=step.urgent or 0,
    )
    return ip_packet(remote, local, tcp.PROTOCOL, tcp.finish(remote, local, header + data), packet)


def build_udp(length: int, packet: PacketStep, flow: Flow, local: bytes, remote: bytes) -> bytes:
    """An arriving datagram as an IP packet."""
    segment = udp.encode(remote, local, flow.remote_port, flow.local_port, bytes(length))
    return ip_packet(remote, local, udp.PROTOCOL, segment, packet)


def ip_packet(src: bytes, dst: bytes, protocol: int, payload: bytes, packet: PacketStep) -> bytes:
    """The IP header before `payload`, with the ECN bits, TOS and TTL that the script names."""
    tos = (packet.tos or 0) | _ECN_BITS.get(packet.ecn or "", 0)
    ttl = packet.ttl or 255
    if len(src) == 4:
        return ipv4.encode(src, dst, protocol, len(payload), tos=tos, dont_fragment=True, ttl=ttl) + payload
    return ipv6.encode(src, dst, protocol, len(payload), traffic_class=tos, hop_limit=ttl) + payload


def build_icmp(step: IcmpStep, packet: PacketStep, flow: Flow, local: bytes, remote: bytes) -> bytes:
    """An ICMP error about a segment of ours. UsageError: a type or code that is not known."""
    table = _ICMP4 if len(local) == 4 else _ICMP6
    found = table.get((step.type, step.code))
    if found is None:
        raise UsageError(f"unknown ICMP {step.type} {step.code}".rstrip())
    if step.protocol == "udp":
        header = udp.encode(local, remote, flow.local_port, flow.remote_port, bytes(step.quoted_length))
        quoted = ip_packet(local, remote, udp.PROTOCOL, header, PacketStep(False))
    else:
        header = tcp.encode(flow.local_port, flow.remote_port, flow.to_wire(step.quoted_seq or 0), 0, tcp.ACK, 0)
        quoted = ip_packet(local, remote, tcp.PROTOCOL, header + bytes(step.quoted_length), PacketStep(False))
    type_, code = found
    if len(local) == 4:
        body = quoted[:548]  # as much as fits 576 octets (RFC 1812 4.3.2.3)
        message = icmp.encode(type_, code, step.mtu or 0, body)
        return ip_packet(remote, local, ipv4.PROTO_ICMP, message, packet)
    message = icmp6.encode(remote, local, type_, code, step.mtu or 0, quoted[:1232])
    return ip_packet(remote, local, ipv6.PROTO_ICMPV6, message, packet)


class Outgoing:
    """A packet of ours, taken apart."""

    __slots__ = ("dst_port", "header", "length", "options", "payload", "protocol", "src_port", "tos", "ttl")

    def __init__(self, packet: bytes) -> None:
        if packet[0] >> 4 == 4:
            head4 = ipv4.decode(packet)
            self.protocol, self.tos, self.ttl = head4.protocol, head4.tos, head4.ttl
            offset, end = head4.header_length, head4.total_length
        else:
            head6 = ipv6.decode(packet)
            self.protocol, self.tos, self.ttl = head6.next_header, head6.traffic_class, head6.hop_limit
            offset, end = 40, 40 + head6.payload_length
        self.header: tcp.TcpHeader | None = None
        self.src_port = self.dst_port = 0
        self.payload = packet[offset:end]
        if self.protocol == tcp.PROTOCOL:
            self.header = tcp.decode(packet, offset, end)
            self.src_port, self.dst_port = self.header.source_port, self.header.destination_port
            self.payload = packet[offset + self.header.header_length : end]
        elif self.protocol == udp.PROTOCOL:
            self.src_port = int.from_bytes(packet[offset : offset + 2], "big")
            self.dst_port = int.from_bytes(packet[offset + 2 : offset + 4], "big")
            self.payload = packet[offset + 8 : end]
        self.length = len(self.payload)


def describe(packet: bytes, flow: Flow | None) -> str:
    """One of our packets in the script's notation and numbers."""
    out = Outgoing(packet)
    header = out.header
    if header is None:
        return f"udp ({out.length})" if out.protocol == udp.PROTOCOL else f"protocol {out.protocol} ({out.length})"
    seq = (header.seq - (flow.offset or 0 if flow else 0)) & MASK
    text = f"{format_flags(header.flags)} {seq}:{(seq + out.length) & MASK}({out.length})"
    if header.flags & tcp.ACK:
        text += f" ack {header.ack}"
    text += f" win {header.window}"
    if header.flags & tcp.URG:
        text += f" urg {header.urgent_pointer}"
    return text + (f" <{format_options(header.options)}>" if header.options else "")


def differences(out: Outgoing, packet: PacketStep, flow: Flow) -> list[str]:
    """What differs between what left and what the script expects, one line each."""
    step, header = packet.tcp, out.header
    if packet.udp_length is not None:
        wrong = out.protocol != udp.PROTOCOL or out.length != packet.udp_length
        return [f"expected udp ({packet.udp_length})"] if wrong else []
    if step is None or header is None:
        return ["not a TCP segment"]
    found: list[str] = []
    _compare(found, "flags", format_flags(flag_bits(step.flags)), format_flags(header.flags))
    _compare(found, "sequence number", step.seq & MASK, (header.seq - (flow.offset or 0)) & MASK)
    _compare(found, "payload length", step.length, out.length)
    if step.ack is not None and header.flags & tcp.ACK:
        _compare(found, "ack", step.ack & MASK, header.ack)
    if step.window is not None:
        _compare(found, "window", step.window, header.window)
    if step.urgent is not None:
        _compare(found, "urgent pointer", step.urgent, header.urgent_pointer)
    if packet.tos is not None:
        _compare(found, "TOS", packet.tos, out.tos)
    if packet.ecn is not None and not (packet.ecn == "ect01" and out.tos & 3 in (1, 2)):
        _compare(found, "ECN", packet.ecn, ("noecn", "ect1", "ect0", "ce")[out.tos & 3])
    if not step.options_any:
        _compare_options(found, step, header, flow)
    return found


def _compare(found: list[str], what: str, expected: object, actual: object) -> None:
    if expected != actual:
        found.append(f"{what}: expected {expected}, found {actual}")


def _compare_options(found: list[str], step: TcpStep, header: tcp.TcpHeader, flow: Flow) -> None:
    actual = [(kind, value) for kind, value in tcp_options.walk(header.options) if kind != tcp_options.EOL]
    expected = [option for option in step.options if option[0] != "eol"]
    text = format_options(header.options)
    names = [_option_name(kind) for kind, _ in actual]
    if [name for name, _ in expected] != names:
        wanted = ",".join(name for name, _ in expected)
        found.append(f"options: expected <{wanted}>, found <{text}>")
        return
    for (name, values), (_, octets) in zip(expected, actual, strict=True):
        if name == "TS":
            value, echo = int.from_bytes(octets[:4], "big"), int.from_bytes(octets[4:], "big")
            _compare_stamps(found, values, value, echo, flow)
        elif name == "sack":
            _compare(found, "sack", list(values), list(tcp_options.blocks(octets)))
        elif name in ("mss", "wscale"):
            number = int.from_bytes(octets, "big")
            if not values[0] <= number <= values[-1]:
                found.append(f"{name}: expected {'~'.join(map(str, values))}, found {number}")
        elif name == "FO":
            _compare(found, "FO", cookie_of(values[0], flow.defines).hex(), octets.hex())


def _compare_stamps(found: list[str], values: tuple[Any, ...], value: int, echo: int, flow: Flow) -> None:
    """TSecr must fit; TSval is learned, so that later echoes can name it."""
    if isinstance(values[0], int):
        flow.stamps[values[0]] = value
        if flow.stamps_offset is None:
            flow.stamps_offset = (value - values[0]) & MASK
    if isinstance(values[1], int):
        _compare(found, "TS ecr", values[1] & MASK, echo)


def _option_name(kind: int) -> str:
    names = {
        tcp_options.NOP: "nop",
        tcp_options.MSS: "mss",
        tcp_options.WINDOW_SCALE: "wscale",
        tcp_options.SACK_PERMITTED: "sackOK",
        tcp_options.SACK: "sack",
        tcp_options.TIMESTAMPS: "TS",
        tcp_options.FAST_OPEN: "FO",
        172: "ECN",
        174: "ECN",
        19: "md5",
        254: "FOEXP",
    }
    return names.get(kind, f"opt-{kind}")
