"""Classic BPF (linux/filter.h; McCanne and Jacobson 1993): a small assembler and the filter of our links.

A busy interface must not wake us for others' traffic, so the kernel drops what no flow of ours can want. The filter may
let too much through (the stack looks again), never too little.
"""

import array
import struct
from collections.abc import Sequence
from typing import Any, Final

SO_ATTACH_FILTER: Final = 26

# Instruction codes (class | size | mode, or class | operation | source).
LD_W, LD_H, LD_B = 0x20, 0x28, 0x30  # A = P[k]
LD_W_IND, LD_H_IND, LD_B_IND = 0x40, 0x48, 0x50  # A = P[X + k]
LDX_MSH: Final = 0xB1  # X = 4 * (P[k] & 15): the length of an IPv4 header
AND: Final = 0x54
JA: Final = 0x05
JEQ, JGT, JGE, JSET = 0x15, 0x25, 0x35, 0x45
RET: Final = 0x06

# What the kernel knows beside the packet's bytes (SKF_AD_OFF + ...).
AD_PROTOCOL: Final = 0xFFFFF000
AD_HATYPE: Final = 0xFFFFF000 + 28
AD_VLAN_TAG: Final = 0xFFFFF000 + 44
AD_VLAN_TAG_PRESENT: Final = 0xFFFFF000 + 48

ACCEPT: Final = 0x40000
"""Bytes to pass on: all of any frame."""
MUTE: Final = struct.pack("=HBBI", RET, 0, 0, 0)
"""The program that accepts nothing."""

# What to let through of ARP.
ARP_NONE: Final = 0
ARP_OURS: Final = 1
"""Packets whose target is one of our IPv4 addresses: replies to us, requests for us."""
ARP_ALL: Final = 2

_ETH_ARP, _ETH_IPV4, _ETH_IPV6 = 0x0806, 0x0800, 0x86DD
_ARPHRD_ETHER, _ARPHRD_LOOPBACK = 1, 772
_ICMP, _ICMPV6, _FRAGMENT = 1, 58, 44
_EXTENSIONS: Final = (0, 43, _FRAGMENT, 60)
"""IPv6 headers that hide the protocol: hop-by-hop, routing, fragment, destination options."""
_ICMP_ERRORS: Final = (3, 4, 5, 11, 12)
_ECHO_REPLY4, _ECHO_REPLY6 = 0, 129
_ND_FIRST, _ND_LAST = 133, 137


class Assembler:
    """Instructions with labels that lie ahead; `assemble` gives `struct sock_filter[]`.

    A jump's `then` and `otherwise` are labels, or None for the next instruction. A conditional jump reaches 255
    instructions: where a label is farther away, a jump without condition (which reaches everything) is put between.
    """

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: list[tuple[int, int, str | None, str | None] | str] = []

    def load(self, code: int, k: int) -> None:
        """Any instruction without a jump."""
        self._items.append((code, k & 0xFFFFFFFF, None, None))

    def jump(self, code: int, k: int, then: str | None = None, otherwise: str | None = None) -> None:
        """A conditional jump."""
        self._items.append((code, k & 0xFFFFFFFF, then, otherwise))

    def goto(self, label: str) -> None:
        """A jump without condition."""
        self._items.append((JA, 0, label, None))

    def ret(self, k: int) -> None:
        """The end, with how many bytes to pass on."""
        self._items.append((RET, k, None, None))

    def label(self, name: str) -> None:
        """Jumps to `name` lead here."""
        self._items.append(name)

    def assemble(self) -> bytes:
        """Backwards, since every label lies ahead: how far it is is known when its jump is met."""
        reverse: list[tuple[int, int, int, int]] = []
        where: dict[str, int] = {}
        for item in reversed(self._items):
            if isinstance(item, str):
                where[item] = len(reverse)
                continue
            code, k, then, otherwise = item
            if code == JA:
                reverse.append((JA, 0, 0, len(reverse) - where[then or ""]))
                continue
            for label in {then, otherwise}:
                if label is not None and len(reverse) - where[label] > 250:
                    self._bridge(reverse, where, label)
            targets = [0 if label is None else len(reverse) - where[label] for label in (then, otherwise)]
            reverse.append((code, targets[0], targets[1], k))
        return b"".join(struct.pack("=HBBI", *one) for one in reversed(reverse))

    def _bridge(self, reverse: list[tuple[int, int, int, int]], where: dict[str, int], label: str) -> None:
        """A trampoline to `label` right here, stepped over by who falls through."""
        reverse.append((JA, 0, 0, len(reverse) - where[label]))
        where[label] = len(reverse)
        reverse.append((JA, 0, 0, 1))


class Interest:
    """What a link should wake us for. Everything is off at first; an address list that is empty means any destination.

    What belongs to the link (its MACs, tags and kind) it adds by itself when it asks for the `program`.
    """

    __slots__ = (
        "addresses",
        "arp",
        "broadcasts",
        "echo_idents",
        "everything",
        "icmp_errors",
        "multicast",
        "neighbor_discovery",
        "ports",
    )

    def __init__(
        self,
        *,
        addresses: Sequence[bytes] = (),
        broadcasts: Sequence[bytes] = (),
        arp: int = ARP_NONE,
        neighbor_discovery: bool = False,
        echo_idents: Sequence[int] = (),
        icmp_errors: bool = False,
        ports: Sequence[tuple[int, int]] = (),
        multicast: bool = False,
        everything: bool = False,
    ) -> None:
        self.addresses = addresses
        self.broadcasts = broadcasts
        """IPv4 broadcast addresses that count as ours."""
        self.arp = arp
        self.neighbor_discovery = neighbor_discovery
        self.echo_idents = echo_idents
        """Identifiers whose echo replies are ours."""
        self.icmp_errors = icmp_errors
        self.ports = ports
        """(IP protocol, local port) pairs."""
        self.multicast = multicast
        """Multicast destinations count as ours."""
        self.everything = everything
        """All IP to our addresses: a whole host."""

    def program(
        self,
        base: int,
        *,
        macs: Sequence[bytes] = (),
        vlans: tuple[int, ...] | None = (),
        hatype: int | None = None,
    ) -> bytes:
        """The filter for a socket whose frames have their IP packet at `base` (14 or 0; the outer tag is taken out).

        macs: Ethernet destinations that are ours beside group addresses; none means any. vlans: tags that every frame
        must carry (at most two, outermost first); without them only untagged frames, and those that carry a priority
        alone; None takes any. hatype: on a socket of all interfaces, those to hear: this hardware type, or with 0 all
        without Ethernet.
        """
        asm = Assembler()
        if hatype is not None:
            _match_hatype(asm, hatype)
        _match_macs(asm, macs)
        if vlans is not None:
            _match_vlans(asm, vlans, base)
            base += 4 * max(len(vlans) - 1, 0)
        _match_ethertype(asm, self.arp, base, inner=bool(vlans and len(vlans) > 1))
        _match_arp(asm, self, base)
        _match_ipv4(asm, self, base)
        _match_ipv6(asm, self, base)
        asm.label("accept")
        asm.ret(ACCEPT)
        asm.label("drop")
        asm.ret(0)
        return asm.assemble()


def _word(data: bytes, offset: int = 0) -> int:
    return int.from_bytes(data[offset : offset + 4], "big")


def _match_hatype(asm: Assembler, hatype: int) -> None:
    asm.load(LD_H, AD_HATYPE)
    if hatype:
        asm.jump(JEQ, hatype, otherwise="drop")
    else:
        asm.jump(JEQ, _ARPHRD_ETHER, then="drop")
        asm.jump(JEQ, _ARPHRD_LOOPBACK, then="drop")


def _match_macs(asm: Assembler, macs: Sequence[bytes]) -> None:
    if not macs:
        return
    asm.load(LD_B, 0)
    asm.jump(JSET, 1, then="mac ok")
    for number, mac in enumerate(macs):
        asm.load(LD_W, 0)
        asm.jump(JEQ, _word(mac), otherwise=f"mac {number}")
        asm.load(LD_H, 4)
        asm.jump(JEQ, int.from_bytes(mac[4:], "big"), then="mac ok")
        asm.label(f"mac {number}")
    asm.goto("drop")
    asm.label("mac ok")


def _match_vlans(asm: Assembler, vlans: tuple[int, ...], base: int) -> None:
    """The kernel takes the outermost tag out of the frame before a packet socket sees it."""
    asm.load(LD_B, AD_VLAN_TAG_PRESENT)
    if not vlans:
        asm.jump(JEQ, 0, then="vlan ok")
    else:
        asm.jump(JEQ, 0, then="drop")
    asm.load(LD_H, AD_VLAN_TAG)
    asm.load(AND, 0xFFF)
    asm.jump(JEQ, vlans[0] & 0xFFF if vlans else 0, otherwise="drop")
    if len(vlans) > 1:
        asm.load(LD_H, base)
        asm.load(AND, 0xFFF)
        asm.jump(JEQ, vlans[1] & 0xFFF, otherwise="drop")
    asm.label("vlan ok")


def _match_ethertype(asm: Assembler, arp: int, base: int, *, inner: bool) -> None:
    asm.load(LD_H, base - 2 if inner else AD_PROTOCOL)
    asm.jump(JEQ, _ETH_IPV4, then="ipv4")
    asm.jump(JEQ, _ETH_IPV6, then="ipv6")
    asm.jump(JEQ, _ETH_ARP, then="arp" if arp else "drop", otherwise="drop")


def _match_arp(asm: Assembler, interest: Interest, base: int) -> None:
    if interest.arp == ARP_NONE:
        return
    asm.label("arp")
    if interest.arp == ARP_ALL:
        asm.goto("accept")
        return
    asm.load(LD_W, base + 24)
    for address in interest.addresses:
        if len(address) == 4:
            asm.jump(JEQ, _word(address), then="accept")
    asm.goto("drop")


def _match_ipv4(asm: Assembler, interest: Interest, base: int) -> None:
    asm.label("ipv4")
    ours = [one for one in (*interest.addresses, *interest.broadcasts) if len(one) == 4]
    if interest.addresses:
        asm.load(LD_W, base + 16)
        for address in ours:
            asm.jump(JEQ, _word(address), then="ipv4 ours")
        if interest.multicast:
            asm.load(AND, 0xF0000000)
            asm.jump(JEQ, 0xE0000000, then="ipv4 ours")
        asm.goto("drop")
        asm.label("ipv4 ours")
    if interest.everything:
        asm.goto("accept")
        return
    wanted = {protocol for protocol, _ in interest.ports} | ({_ICMP} if _wants_icmp(interest) else set())
    asm.load(LD_B, base + 9)
    for protocol in sorted(wanted):
        asm.jump(JEQ, protocol, then="ipv4 known")
    asm.goto("drop")
    asm.label("ipv4 known")
    asm.load(LD_H, base + 6)
    asm.jump(JSET, 0x1FFF, then="accept")  # a later fragment: only its first tells whose it is
    asm.load(LDX_MSH, base)
    asm.load(LD_B, base + 9)
    asm.jump(JEQ, _ICMP, otherwise="ipv4 ports")
    _match_icmp(asm, interest, (LD_B_IND, LD_H_IND, base), _ECHO_REPLY4)
    asm.label("ipv4 ports")
    _match_ports(asm, interest, (LD_H_IND, base), "ipv4")


def _match_icmp(asm: Assembler, interest: Interest, at: tuple[int, int, int], echo_reply: int) -> None:
    load_octet, load_half, offset = at
    asm.load(load_octet, offset)
    if interest.icmp_errors:
        if echo_reply == _ECHO_REPLY6:
            asm.jump(JGE, 128, otherwise="accept")  # RFC 4443 2.1: errors have types below 128
        else:
            for kind in _ICMP_ERRORS:
                asm.jump(JEQ, kind, then="accept")
    if interest.neighbor_discovery and echo_reply == _ECHO_REPLY6:
        asm.jump(JGE, _ND_FIRST, otherwise="not nd")
        asm.jump(JGT, _ND_LAST, then="not nd", otherwise="accept")
        asm.label("not nd")
    if interest.echo_idents:
        asm.jump(JEQ, echo_reply, otherwise="drop")
        asm.load(load_half, offset + 4)
        for ident in interest.echo_idents:
            asm.jump(JEQ, ident, then="accept")
    asm.goto("drop")


def _match_ports(asm: Assembler, interest: Interest, at: tuple[int, int], where: str) -> None:
    """A holds the protocol; the destination port is the second field of TCP and UDP."""
    load_half, offset = at
    by_protocol: dict[int, list[int]] = {}
    for protocol, port in interest.ports:
        by_protocol.setdefault(protocol, []).append(port)
    for protocol, ports in by_protocol.items():
        skip = f"{where} not {protocol}"
        asm.jump(JEQ, protocol, otherwise=skip)
        asm.load(load_half, offset + 2)
        for port in ports:
            asm.jump(JEQ, port, then="accept")
        asm.goto("drop")
        asm.label(skip)
    asm.goto("drop")


def _match_ipv6(asm: Assembler, interest: Interest, base: int) -> None:
    asm.label("ipv6")
    if interest.addresses:
        _match_ipv6_destination(asm, interest, base)
    if interest.everything:
        asm.goto("accept")
        return
    asm.load(LD_B, base + 6)
    for header in _EXTENSIONS:
        asm.jump(JEQ, header, then="accept")
    asm.jump(JEQ, _ICMPV6, otherwise="ipv6 ports")
    _match_icmp(asm, interest, (LD_B, LD_H, base + 40), _ECHO_REPLY6)
    asm.label("ipv6 ports")
    _match_ports(asm, interest, (LD_H, base + 40), "ipv6")


def _match_ipv6_destination(asm: Assembler, interest: Interest, base: int) -> None:
    if interest.multicast:
        asm.load(LD_B, base + 24)
        asm.jump(JEQ, 0xFF, then="ipv6 ours")
    for number, address in enumerate(one for one in interest.addresses if len(one) == 16):
        for offset in (12, 8, 4, 0):  # the last word differs most often
            asm.load(LD_W, base + 24 + offset)
            last = offset == 0
            miss = f"ipv6 address {number}"
            asm.jump(JEQ, _word(address, offset), then="ipv6 ours" if last else None, otherwise=miss)
        asm.label(f"ipv6 address {number}")
    asm.goto("drop")
    asm.label("ipv6 ours")


def _wants_icmp(interest: Interest) -> bool:
    return bool(interest.echo_idents or interest.icmp_errors)


def attach(sock: Any, program: bytes) -> None:
    """Put a program on a socket (SO_ATTACH_FILTER copies it). Needs no ctypes: array tells its address."""
    code = array.array("B", program)
    address, length = code.buffer_info()
    sock.setsockopt(1, SO_ATTACH_FILTER, struct.pack("@HP", length // 8, address))
