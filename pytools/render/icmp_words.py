"""ICMP errors in ping's words, both families."""

from typing import Final

_UNREACHABLE4: Final = (
    "Destination Net Unreachable",
    "Destination Host Unreachable",
    "Destination Protocol Unreachable",
    "Destination Port Unreachable",
    "Frag needed and DF set (mtu = {info})",
    "Source Route Failed",
    "Destination Net Unknown",
    "Destination Host Unknown",
    "Source Host Isolated",
    "Destination Net Prohibited",
    "Destination Host Prohibited",
    "Destination Net Unreachable for Type of Service",
    "Destination Host Unreachable for Type of Service",
    "Packet filtered",
    "Precedence Violation",
    "Precedence Cutoff",
)
_REDIRECT4: Final = (
    "Redirect Network",
    "Redirect Host",
    "Redirect Type of Service and Network",
    "Redirect Type of Service and Host",
)
_TIME4: Final = ("Time to live exceeded", "Frag reassembly time exceeded")
_OTHER4: Final = {
    0: "Echo Reply",
    4: "Source Quench",
    8: "Echo Request",
    13: "Timestamp",
    14: "Timestamp Reply",
    15: "Information Request",
    16: "Information Reply",
    17: "Address Mask Request",
    18: "Address Mask Reply",
}
_UNREACHABLE6: Final = (
    "No route",
    "Administratively prohibited",
    "Beyond scope of source address",
    "Address unreachable",
    "Port unreachable",
    "Source address failed ingress/egress policy",
    "Reject route to destination",
)
_TIME6: Final = ("Hop limit", "Defragmentation failure")
_PARAMETER6: Final = ("Wrong header field", "Unknown header", "Unknown option")


def error_words(family: int, type_: int, code: int, info: int, gateway: str = "") -> str:
    """What ping says of an ICMP message; `info` is its MTU or pointer, `gateway` a redirect's new next hop."""
    if family == 6:
        return _words6(type_, code, info)
    if type_ == 3:
        return _pick(_UNREACHABLE4, code, "Dest Unreachable, Bad Code: {code}").format(info=info, code=code)
    if type_ == 5:
        words = _pick(_REDIRECT4, code, "Redirect, Bad Code: {code}").format(code=code)
        return f"{words}(New nexthop: {gateway})"
    if type_ == 11:
        return _pick(_TIME4, code, "Time exceeded, Bad Code: {code}").format(code=code)
    if type_ == 12:
        return f"Parameter problem: pointer = {info}"
    return _OTHER4.get(type_, f"Bad ICMP type: {type_}")


def _words6(type_: int, code: int, info: int) -> str:
    if type_ == 1:
        return "Destination unreachable: " + _pick(_UNREACHABLE6, code, f"Unknown code {code}")
    if type_ == 2:
        return f"Packet too big: mtu={info}" + (f", code={code}" if code else "")
    if type_ == 3:
        return "Time exceeded: " + _pick(_TIME6, code, f"code {code}")
    if type_ == 4:
        return f"Parameter problem: {_pick(_PARAMETER6, code, f'code {code}')} at {info}"
    return f"unknown icmp type: {type_}"


def _pick(words: tuple[str, ...], code: int, otherwise: str) -> str:
    return words[code] if code < len(words) else otherwise
