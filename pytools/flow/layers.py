"""Find the TCP segment in a frame of any link type: Ethernet, VLANs, PPPoE, cooked v1 and v2, raw IP, null."""

from typing import Final

ETHERNET: Final = 1
_RAW: Final = (12, 14, 101, 228, 229)
_NULL: Final = (0, 108)
_SLL: Final = 113
_SLL2: Final = 276
_VLAN: Final = (0x8100, 0x88A8, 0x9100)
_TUNNELS: Final = {4: "IP in IP", 41: "IPv6 in IP", 47: "GRE", 50: "ESP", 51: "AH", 115: "L2TP"}
_UDP_TUNNELS: Final = {4789: "VXLAN", 6081: "Geneve", 2152: "GTP-U", 51820: "WireGuard", 4500: "IPsec in UDP"}
_EXTENSIONS: Final = (0, 43, 60, 135)

Found = tuple[bytes, int, int, int, int]
"""Flow key (addresses and ports), where TCP begins, TCP's length on the wire, IP ID (0 for IPv6), TTL."""


def find_tcp(link_type: int, data: bytes, wire_length: int) -> Found | str:
    """Where the TCP segment is, or in a word what the frame carries instead."""
    at = _network(link_type, data)
    if isinstance(at, str):
        return at
    if at >= len(data):
        return "cut before IP"
    version = data[at] >> 4
    if version == 4:
        return _ipv4(data, at, wire_length)
    return _ipv6(data, at, wire_length) if version == 6 else "not IP"


def _network(link_type: int, data: bytes) -> int | str:
    """Where the IP header begins."""
    if link_type == ETHERNET:
        return _ethertype(data, 12)
    if link_type in _RAW:
        return 0
    if link_type in _NULL:
        return 4
    if link_type == _SLL:
        return _ethertype(data, 14)
    if link_type == _SLL2:
        kind = int.from_bytes(data[0:2], "big")
        return 20 if kind in (0x800, 0x86DD) else _tagged(data, kind, 20)
    return f"link type {link_type}"


def _ethertype(data: bytes, at: int) -> int | str:
    return _tagged(data, int.from_bytes(data[at : at + 2], "big"), at + 2)


def _tagged(data: bytes, kind: int, at: int) -> int | str:
    """Past VLAN tags and PPPoE."""
    while kind in _VLAN:
        kind = int.from_bytes(data[at + 2 : at + 4], "big")
        at += 4
    if kind == 0x8864:
        protocol = int.from_bytes(data[at + 6 : at + 8], "big")
        return at + 8 if protocol in (0x21, 0x57) else "PPP control"
    if kind in (0x800, 0x86DD):
        return at
    return {0x0806: "ARP", 0x8847: "MPLS", 0x8848: "MPLS"}.get(kind, "not IP")


def _ipv4(data: bytes, at: int, wire_length: int) -> Found | str:
    if len(data) < at + 20:
        return "cut before TCP"
    header = (data[at] & 15) * 4
    protocol = data[at + 9]
    if header < 20:
        return "bad IP header"
    if protocol != 6:
        return _other(data, at + header, protocol)
    if int.from_bytes(data[at + 6 : at + 8], "big") & 0x3FFF:
        return "IP fragment"
    total = int.from_bytes(data[at + 2 : at + 4], "big") or wire_length - at
    tcp = at + header
    if len(data) < tcp + 16:
        return "cut before TCP"
    key = data[at + 12 : at + 20] + data[tcp : tcp + 4]
    return key, tcp, total - header, int.from_bytes(data[at + 4 : at + 6], "big"), data[at + 8]


def _ipv6(data: bytes, at: int, wire_length: int) -> Found | str:
    if len(data) < at + 40:
        return "cut before TCP"
    total = int.from_bytes(data[at + 4 : at + 6], "big") or wire_length - at - 40
    following, tcp = data[at + 6], at + 40
    while following in _EXTENSIONS and len(data) >= tcp + 8:
        following, size = data[tcp], (data[tcp + 1] + 1) * 8
        tcp += size
        total -= size
    if following == 44:
        return "IP fragment"
    if following != 6:
        return _other(data, tcp, following)
    if len(data) < tcp + 16:
        return "cut before TCP"
    return data[at + 8 : at + 40] + data[tcp : tcp + 4], tcp, total, 0, data[at + 7]


def _other(data: bytes, at: int, protocol: int) -> str:
    if protocol == 17 and len(data) >= at + 4:
        ports = (int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big"))
        return next((name for port, name in _UDP_TUNNELS.items() if port in ports), "not TCP")
    return _TUNNELS.get(protocol, "not TCP")
