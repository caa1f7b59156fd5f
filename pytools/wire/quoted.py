"""The packet inside an ICMP error, as far as it was quoted (RFC 792, RFC 4443 2.4 c, RFC 4884)."""

from typing import Final

from pytools.errors import DecodeError
from pytools.wire import ipv4, ipv6
from pytools.wire.addr import format_ip

_ECHOES: Final = {(4, 8): "echo", (4, 0): "echo reply", (6, 128): "echo", (6, 129): "echo reply"}


class Quoted:
    """The packet that caused an ICMP error; what the quote doesn't reach is None.

    `packet` is a copy of the quoted octets, `transport_offset` where the transport header starts in it. `ttl` is the
    hop limit and `tos` the traffic class of IPv6; `ident` IPv4's identification or that of an IPv6 fragment.
    `sequence` is TCP's.
    """

    __slots__ = (
        "destination_port",
        "dst",
        "family",
        "fragment_offset",
        "icmp_code",
        "icmp_ident",
        "icmp_seq",
        "icmp_type",
        "ident",
        "more_fragments",
        "packet",
        "protocol",
        "sequence",
        "source_port",
        "src",
        "tos",
        "total_length",
        "transport_offset",
        "ttl",
    )

    family: int
    src: bytes
    dst: bytes
    protocol: int
    ident: int
    tos: int
    ttl: int
    total_length: int
    fragment_offset: int
    more_fragments: bool
    packet: bytes
    transport_offset: int

    def __init__(self) -> None:
        self.source_port: int | None = None
        self.destination_port: int | None = None
        self.sequence: int | None = None
        self.icmp_type: int | None = None
        self.icmp_code: int | None = None
        self.icmp_ident: int | None = None
        self.icmp_seq: int | None = None

    def _read_transport(self) -> None:
        """The 8 octets that every quote should hold; ports need only four."""
        if self.fragment_offset:
            return
        first = self.packet[self.transport_offset : self.transport_offset + 8]
        if self.protocol in (ipv4.PROTO_TCP, ipv4.PROTO_UDP) and len(first) >= 4:
            self.source_port = first[0] << 8 | first[1]
            self.destination_port = first[2] << 8 | first[3]
            if self.protocol == ipv4.PROTO_TCP and len(first) == 8:
                self.sequence = int.from_bytes(first[4:8], "big")
        elif self.protocol == (ipv4.PROTO_ICMP if self.family == 4 else ipv6.PROTO_ICMPV6) and len(first) >= 2:
            self.icmp_type, self.icmp_code = first[0], first[1]
            if len(first) == 8:
                self.icmp_ident = first[4] << 8 | first[5]
                self.icmp_seq = first[6] << 8 | first[7]


def decode4(data: bytes | bytearray | memoryview, offset: int, end: int) -> Quoted:
    """Read a quoted IPv4 packet. DecodeError: not even its IP header is whole."""
    header = ipv4.decode_quoted(data, offset, end)
    quoted = Quoted()
    quoted.family = 4
    quoted.src, quoted.dst, quoted.protocol = header.src, header.dst, header.protocol
    quoted.ident, quoted.tos, quoted.ttl, quoted.total_length = (
        header.ident,
        header.tos,
        header.ttl,
        header.total_length,
    )
    quoted.fragment_offset, quoted.more_fragments = header.fragment_offset, header.more_fragments
    if header.total_length >= header.header_length:
        # What follows is padding or an extension structure (RFC 4884).
        end = min(end, offset + header.total_length)
    quoted.packet = bytes(data[offset:end])
    quoted.transport_offset = header.header_length
    quoted._read_transport()
    return quoted


def decode6(data: bytes | bytearray | memoryview, offset: int, end: int) -> Quoted:
    """Read a quoted IPv6 packet. DecodeError: not even its IP header is whole."""
    header = ipv6.decode_quoted(data, offset, end)
    quoted = Quoted()
    quoted.family = 6
    quoted.src, quoted.dst = header.src, header.dst
    quoted.tos, quoted.ttl, quoted.total_length = header.traffic_class, header.hop_limit, header.payload_length + 40
    end = min(end, offset + 40 + header.payload_length)
    found = ipv6.skip(data, offset + 40, header.next_header, end)
    quoted.protocol, quoted.transport_offset = found.protocol, found.offset - offset
    fragment = found.fragment
    quoted.ident = fragment.ident if fragment else 0
    quoted.fragment_offset = fragment.offset if fragment else 0
    quoted.more_fragments = fragment.more if fragment else False
    quoted.packet = bytes(data[offset:end])
    quoted._read_transport()
    return quoted


def decode(data: bytes | bytearray | memoryview, offset: int, end: int) -> Quoted:
    """Read a quoted packet of either family by its version."""
    if offset >= end:
        raise DecodeError("nothing quoted")
    return decode6(data, offset, end) if data[offset] >> 4 == 6 else decode4(data, offset, end)


def about(quoted: Quoted) -> str:
    """The quoted packet in a phrase: `echo id 77 seq 1 to 10.0.0.99`, `udp 40000 to 10.0.0.2:53`."""
    to = format_ip(quoted.dst)
    if quoted.source_port is not None:
        name = "tcp" if quoted.protocol == ipv4.PROTO_TCP else "udp"
        host = f"[{to}]" if quoted.family == 6 else to
        sequence = "" if quoted.sequence is None else f" seq {quoted.sequence}"
        return f"{name} {quoted.source_port} to {host}:{quoted.destination_port}{sequence}"
    if quoted.icmp_type is not None:
        type_ = quoted.icmp_type
        name = _ECHOES.get((quoted.family, type_), f"icmp type {type_} code {quoted.icmp_code}")
        if quoted.icmp_ident is None or name.startswith("icmp"):
            return f"{name} to {to}"
        return f"{name} id {quoted.icmp_ident} seq {quoted.icmp_seq} to {to}"
    fragment = f" frag {quoted.ident} at {quoted.fragment_offset}" if quoted.fragment_offset else ""
    return f"protocol {quoted.protocol}{fragment} to {to}"
