"""Echo requests, fast: the second one to a destination reuses the headers of the first.

The first one to a destination reuses those of another's behind the same route, where the two differ in addresses and
sums only: a sweep sends nothing else. Either is good as long as nothing that it was made from changed: the node's
generation (addresses, routes, path MTU), the neighbour (its `fresh_until`), the caller's options and the length of the
payload.
"""

import errno
from struct import Struct
from typing import Final

from pytools.engine import Transmit
from pytools.stack.interfaces import Interface, Neighbor
from pytools.stack.ip_output import IpOutput, Path, Way
from pytools.stack.node import Node
from pytools.stack.packet import DEFAULT_OPTIONS, UNICAST, IpOptions
from pytools.units import Ns
from pytools.wire import icmp, icmp6, ipv4, ipv6
from pytools.wire.checksum import ones_sum, pseudo_header_sum

_IDENT_AT: Final = 4
"""Where IPv4's Identification stands in its header."""
_CHECK_AT: Final = 10

_from_bytes = int.from_bytes
_pack_header = Struct("!BBHHH").pack
_pack_first4 = Struct("!4sH4sH4s4s2sHHH").pack
_pack4 = Struct("!H4sH8s2sHHH").pack
_pack6 = Struct("!HHH").pack


class Template:
    """A frame to one destination, up to what changes from one echo to the next."""

    __slots__ = (
        "addresses",
        "generation",
        "head",
        "icmp_sum",
        "ident",
        "ip_sum",
        "length",
        "middle",
        "neighbor",
        "options",
        "port",
    )

    head: bytes
    """Link header and the IP header up to the Identification; all of it in IPv6, with ICMP type and code."""
    middle: bytes
    """IPv4: fragment bits, TTL, protocol."""
    addresses: bytes
    port: int
    neighbor: Neighbor | None
    options: IpOptions
    generation: int
    length: int
    ident: int
    ip_sum: int
    icmp_sum: int


class Outline:
    """What the frames to all destinations of one way have in common, for one length of payload."""

    __slots__ = ("head", "icmp_sum", "ip_sum", "length", "middle", "src")

    head: bytes
    """IPv4: up to the Identification. IPv6: up to the destination."""
    middle: bytes
    """IPv4: fragment bits, TTL, protocol."""
    src: bytes
    length: int
    ip_sum: int
    icmp_sum: int


class EchoOutput:
    """`send_echo` of the stack."""

    __slots__ = ("_node", "_output", "_seen", "_templates")

    def __init__(self, node: Node, output: IpOutput) -> None:
        self._node = node
        self._output = output
        self._templates: dict[bytes, Template] = {}
        self._seen: set[bytes] = set()

    def send(
        self,
        dst: bytes,
        ident: int,
        seq: int,
        payload: bytes,
        now: Ns,
        options: IpOptions = DEFAULT_OPTIONS,
        token: object = None,
    ) -> int:
        """Send one echo request; 0 or an errno."""
        template = self._templates.get(dst)
        if (
            template is None
            or template.options is not options
            or template.length != len(payload)
            or template.generation != self._node.generation
            or (template.neighbor is not None and now >= template.neighbor.fresh_until)
        ):
            return self._send_slowly(dst, ident, seq, payload, now, options, token)
        # The sum of what is fixed plus what is not; never zero, since type 8 is in it (RFC 1071).
        check = 0xFFFF - ((template.icmp_sum + ident + seq + ones_sum(payload)) % 0xFFFF or 0xFFFF)
        if template.middle:
            number = template.ident = (template.ident + 1) & 0xFFFF
            header = template.head + _pack4(
                number,
                template.middle,
                0xFFFF - ((template.ip_sum + number) % 0xFFFF or 0xFFFF),
                template.addresses,
                b"\x08\x00",
                check,
                ident,
                seq,
            )
        else:
            header = template.head + _pack6(check, ident, seq)
        node = self._node
        if len(node.outbox) >= node.config.transmit_limit:
            return errno.ENOBUFS
        node.outbox.append(Transmit(template.port, (header, payload), 0, 0, 0, token))
        return 0

    def _send_slowly(
        self, dst: bytes, ident: int, seq: int, payload: bytes, now: Ns, options: IpOptions, token: object
    ) -> int:
        if dst not in self._seen and not options.options:
            way = self._output.known_way(dst, now, options)
            if (
                way is not None
                and (result := self._send_first(way, dst, ident, seq, payload, now, options, token)) >= 0
            ):
                return result
        path = self._output.path(dst, now, options)
        if isinstance(path, int):
            return path
        # Header and data stay two parts: the data may be large, and the caller's to share among its probes.
        if len(dst) == 4:
            protocol, type_, pseudo = ipv4.PROTO_ICMP, icmp.ECHO, 0
        else:
            protocol, type_ = ipv6.PROTO_ICMPV6, icmp6.ECHO
            pseudo = pseudo_header_sum(path.src, dst, protocol, 8 + len(payload))
        check = 0xFFFF - (((type_ << 8) + pseudo + ident + seq + ones_sum(payload)) % 0xFFFF or 0xFFFF)
        parts = (_pack_header(type_, 0, check, ident, seq), payload)
        result = self._output.send_on(path, protocol, dst, parts, now, options, token)
        if not result:
            self._remember(path, dst, len(payload), now, options)
        return result

    def _send_first(
        self, way: Way, dst: bytes, ident: int, seq: int, payload: bytes, now: Ns, options: IpOptions, token: object
    ) -> int:
        """The first one to a destination, like others that went the same way; -1 if it has to go slowly after all."""
        node, iface, link, outline = self._node, way.iface, b"", way.outline
        if iface.ethernet:
            neighbor = iface.neighbors.get(way.gateway or dst)
            if neighbor is None or now >= neighbor.fresh_until:
                return -1
            link = neighbor.header
        if outline is None or outline.length != len(payload):
            if len(payload) + (28 if len(dst) == 4 else 48) > way.mtu:
                return -1
            outline = way.outline = self._draw(way, len(payload), options)
        if len(node.outbox) >= node.config.transmit_limit:
            return -1
        to = _from_bytes(dst, "big")
        if len(dst) == 4:
            check = 0xFFFF - ((outline.icmp_sum + ident + seq + ones_sum(payload)) % 0xFFFF or 0xFFFF)
            number = self._output.identification(way.src, dst, ipv4.PROTO_ICMP)
            header_check = 0xFFFF - ((outline.ip_sum + number + to) % 0xFFFF or 0xFFFF)
            header = link + _pack_first4(
                outline.head, number, outline.middle, header_check, outline.src, dst, b"\x08\x00", check, ident, seq
            )
        else:
            check = 0xFFFF - ((outline.icmp_sum + to + ident + seq + ones_sum(payload)) % 0xFFFF or 0xFFFF)
            header = link + outline.head + dst + _pack_header(icmp6.ECHO, 0, check, ident, seq)
        node.outbox.append(Transmit(iface.index, (header, payload), 0, 0, 0, token))
        self._note(dst)
        return 0

    def _draw(self, way: Way, length: int, options: IpOptions) -> Outline:
        """The frame of this way to nobody (a destination of zeros adds nothing to a sum), less what is each one's."""
        outline, nobody = Outline(), bytes(len(way.src))
        outline.length, outline.src = length, way.src
        if len(nobody) == 4:
            header = self._header4(way.src, nobody, length, options, self._output.sets_df(options))
            outline.head, outline.middle = header[:_IDENT_AT], header[_IDENT_AT + 2 : _CHECK_AT]
            outline.ip_sum = ones_sum(header[:_CHECK_AT] + b"\0\0" + header[_CHECK_AT + 2 :])
            outline.icmp_sum = icmp.ECHO << 8
        else:
            outline.head = self._header6(way.src, nobody, length, options, way.iface)[:-16]
            pseudo = pseudo_header_sum(way.src, nobody, ipv6.PROTO_ICMPV6, 8 + length)
            outline.icmp_sum = (icmp6.ECHO << 8) + pseudo
        return outline

    def _note(self, dst: bytes) -> None:
        """The next one to this destination is worth a template."""
        if len(self._seen) >= self._node.config.template_limit:
            self._seen.clear()
        self._seen.add(dst)

    def _remember(self, path: Path, dst: bytes, length: int, now: Ns, options: IpOptions) -> None:
        """Keep a template where the next packet will look like this one: from the second packet on, or a sweep would
        make 65,000 for nothing."""
        if dst not in self._seen:
            self._note(dst)
            return
        iface = path.iface
        size = (28 if len(dst) == 4 else 48) + length
        if path.kind != UNICAST or options.options or size > (path.mtu if options.df == "probe" else path.path_mtu):
            return
        if len(dst) == 4 and not self._output.sets_df(options):
            # Not atomic: its Identification comes from the shared counters (RFC 6864).
            return
        neighbor = iface.neighbors.get(path.next_hop)
        if iface.ethernet and (neighbor is None or now >= neighbor.fresh_until):
            return
        templates = self._templates
        if len(templates) >= self._node.config.template_limit:
            templates.clear()
        template = templates[dst] = Template()
        template.options = options
        template.generation = self._node.generation
        template.length = length
        template.port = iface.index
        template.neighbor = neighbor if iface.ethernet else None
        link = neighbor.header if neighbor is not None and iface.ethernet else b""
        if len(dst) == 4:
            self._fill4(template, link, path, dst, length, options)
        else:
            self._fill6(template, link, path, dst, length, options, iface)

    def _fill4(self, template: Template, link: bytes, path: Path, dst: bytes, length: int, options: IpOptions) -> None:
        header = self._header4(path.src, dst, length, options, True)
        template.head = link + header[:_IDENT_AT]
        template.middle = header[_IDENT_AT + 2 : _CHECK_AT]
        template.addresses = header[_CHECK_AT + 2 :]
        template.ident = self._output.identification(path.src, dst, ipv4.PROTO_ICMP)
        template.ip_sum = ones_sum(header[:_CHECK_AT] + b"\0\0" + header[_CHECK_AT + 2 :])
        template.icmp_sum = icmp.ECHO << 8

    def _fill6(
        self,
        template: Template,
        link: bytes,
        path: Path,
        dst: bytes,
        length: int,
        options: IpOptions,
        iface: Interface,
    ) -> None:
        header = self._header6(path.src, dst, length, options, iface)
        template.head = link + header + bytes((icmp6.ECHO, 0))
        template.middle = b""
        template.icmp_sum = (icmp6.ECHO << 8) + pseudo_header_sum(path.src, dst, ipv6.PROTO_ICMPV6, 8 + length)

    def _header4(self, src: bytes, dst: bytes, length: int, options: IpOptions, dont_fragment: bool) -> bytes:
        ttl = options.ttl or self._node.config.default_ttl
        return ipv4.encode(src, dst, ipv4.PROTO_ICMP, 8 + length, tos=options.tos, dont_fragment=dont_fragment, ttl=ttl)

    def _header6(self, src: bytes, dst: bytes, length: int, options: IpOptions, iface: Interface) -> bytes:
        return ipv6.encode(
            src,
            dst,
            ipv6.PROTO_ICMPV6,
            8 + length,
            traffic_class=options.tos,
            flow_label=options.flow_label,
            hop_limit=options.ttl or iface.hop_limit or self._node.config.default_ttl,
        )
