"""The payload of an echo request, and what a reply tells about it."""

from struct import Struct
from typing import Final

from pytools.probe.ping_events import BAD_CHECKSUM, DIFFERENT_ADDRESS, MULTICAST, TRUNCATED
from pytools.stack.events import EchoReply
from pytools.units import MS, SECOND, Ns

TIMEVAL_OCTETS: Final = 16
"""A payload starts with a struct timeval of this machine if it has room for one."""
HEADER_OCTETS: Final = 8

_DAY: Final[Ns] = 86_400 * SECOND

_pack_timeval: Final = Struct("=qq").pack


class Payload:
    """Payloads of one pattern: octets of `pattern` repeated, or 0, 1, 2, ... without one."""

    __slots__ = ("_tail", "_tail_for", "octets")

    def __init__(self, size: int, pattern: bytes = b"") -> None:
        unit = pattern or bytes(range(256))
        self.octets = (unit * (size // len(unit) + 1))[:size]
        """The longest payload, without its time."""
        self._tail_for = -1
        self._tail = b""

    def at(self, wall_ns: Ns, size: int) -> bytes:
        """A payload of `size` octets that carries the wall time, if it has room for it."""
        if size != self._tail_for:
            self._tail_for = size
            self._tail = self.octets[min(size, TIMEVAL_OCTETS) : size]
        if size < TIMEVAL_OCTETS:
            return self.octets[:size]
        seconds, rest = divmod(wall_ns, SECOND)
        return _pack_timeval(seconds, rest // 1000) + self._tail

    def first_wrong(self, payload: bytes, size: int) -> int:
        """Index of the first octet behind the time that is not what was sent, -1 if there is none."""
        if payload[TIMEVAL_OCTETS:size] == self.octets[TIMEVAL_OCTETS:size]:
            return -1
        for at in range(TIMEVAL_OCTETS, min(size, len(payload))):
            if payload[at] != self.octets[at]:
                return at
        return -1


def oddities(reply: EchoReply, dst: bytes, size: int, is_multicast: bool) -> int:
    """The flags of a reply to a probe of `size` octets, but for DUPLICATE and LATE."""
    flags = MULTICAST if is_multicast else 0
    if not reply.checksum_ok:
        flags |= BAD_CHECKSUM
    if len(reply.payload) < size:
        flags |= TRUNCATED
    if reply.src != dst and not is_multicast and not is_subnet_router(dst):
        flags |= DIFFERENT_ADDRESS
    return flags


def is_subnet_router(address: bytes) -> bool:
    """Whether this is the subnet-router anycast address of a /64 (RFC 4291 2.6.1): others answer for it."""
    return len(address) == 16 and not any(address[8:])


def recorded(options: bytes, own: bytes, wall_ns: Ns) -> bytes:
    """IPv4 options with ourselves entered as a hop, which the sender and the receiver of a packet are too (Linux)."""
    if not options or len(own) != 4:
        return options
    from pytools.wire import ipv4_options

    try:
        return ipv4_options.record(options, own, wall_ns % _DAY // MS, (own,))
    except ipv4_options.OptionError:
        return options


def full_seq(sent: int, seq: int) -> int:
    """The number of the probe that carried the 16 bits `seq`, the latest of those sent; 0 or less if none did."""
    return sent - ((sent - seq) & 0xFFFF)
