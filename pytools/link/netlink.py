"""rtnetlink by hand: messages out, (type, payload) pairs back (rtnetlink(7), linux/rtnetlink.h).

Only what `host`, `tap` and `lab` need. `_socket` is the C half of `socket`; without the Python half (selectors, enum)
the import costs a fifth.
"""

import _socket
import os
import struct
from collections.abc import Iterator
from errno import EINTR, ENOBUFS
from typing import Final

AF_NETLINK: Final = 16
SOCK_RAW: Final = 3
SOCK_CLOEXEC: Final = 0o2000000
SOL_NETLINK: Final = 270
NETLINK_EXT_ACK: Final = 11
NETLINK_GET_STRICT_CHK: Final = 12

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLM_F_REQUEST: Final = 1
NLM_F_ACK: Final = 4
NLM_F_DUMP: Final = 0x300
NLM_F_DUMP_INTR: Final = 0x10
NLM_F_EXCL: Final = 0x200
NLM_F_CREATE: Final = 0x400

RTM_NEWLINK: Final = 16
RTM_DELLINK: Final = 17
RTM_GETLINK: Final = 18
RTM_NEWADDR: Final = 20
RTM_DELADDR: Final = 21
RTM_GETADDR: Final = 22
RTM_NEWROUTE: Final = 24
RTM_GETROUTE: Final = 26
RTM_GETNEIGH: Final = 30
RTM_GETRULE: Final = 34

IFLA_ADDRESS: Final = 1
IFLA_IFNAME: Final = 3
IFLA_MTU: Final = 4
IFLA_LINKINFO: Final = 18
IFLA_INFO_KIND: Final = 1
IFLA_INFO_DATA: Final = 2
VETH_INFO_PEER: Final = 1
IFA_ADDRESS: Final = 1
IFA_LOCAL: Final = 2
IFA_F_NODAD: Final = 2
IFF_UP: Final = 1

AF: Final = {4: 2, 6: 10}
"""Family as this project counts it (4, 6) to AF_INET and AF_INET6."""

_BUFFER: Final = 1 << 16


class DumpInterruptedError(OSError):
    """The table changed while it was read (NLM_F_DUMP_INTR): read it again."""


def attribute(kind: int, value: bytes) -> bytes:
    """One rtattr, padded to 4 octets."""
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes, offset: int) -> dict[int, bytes]:
    """The rtattrs from `offset` to the end; the flag bits NLA_F_NESTED and NLA_F_NET_BYTEORDER are cut off."""
    found: dict[int, bytes] = {}
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(type, flags, payload) of each message in one datagram."""
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags = struct.unpack_from("=IHH", data, offset)
        if length < 16:
            return
        yield kind, flags, data[offset + 16 : offset + length]
        offset += (length + 3) & ~3


class Netlink:
    """One NETLINK_ROUTE socket; answers come as lists, refusals as OSError with the kernel's errno."""

    __slots__ = ("_interrupted", "_sequence", "_socket")

    def __init__(self, groups: int = 0) -> None:
        self._socket = _socket.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, 0)
        self._sequence = 0
        self._interrupted = False
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.bind((0, groups))

    def __enter__(self) -> "Netlink":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """May be called twice."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor."""
        return self._socket.fileno()

    def ask(self, kind: int, payload: bytes, flags: int = 0) -> list[tuple[int, bytes]]:
        """Send one request and collect its answers until the end of the dump or the acknowledgement."""
        self._sequence += 1
        header = struct.pack("=IHHII", 16 + len(payload), kind, flags | NLM_F_REQUEST, self._sequence, 0)
        self._socket.send(header + payload)
        answers: list[tuple[int, bytes]] = []
        self._interrupted = False
        while self._collect(answers, many=bool(flags & (NLM_F_DUMP | NLM_F_ACK))):
            pass
        if self._interrupted:
            raise DumpInterruptedError(EINTR, os.strerror(EINTR))
        return answers

    def dump(self, kind: int, payload: bytes) -> list[tuple[int, bytes]]:
        """A whole table; read again when it changed under our eyes."""
        for _ in range(10):
            try:
                return self.ask(kind, payload, NLM_F_DUMP)
            except DumpInterruptedError:
                continue
        raise OSError(EINTR, "the kernel's tables change too fast to be read")

    def change(self, kind: int, payload: bytes, flags: int = 0) -> None:
        """Ask for a change and wait for its acknowledgement."""
        self.ask(kind, payload, flags | NLM_F_ACK)

    def _collect(self, answers: list[tuple[int, bytes]], *, many: bool) -> bool:
        """Take one datagram; whether more must follow."""
        for kind, flags, payload in messages(self._socket.recv(_BUFFER)):
            if kind == NLMSG_ERROR:
                (number,) = struct.unpack_from("=i", payload)
                if number:
                    raise OSError(-number, _reason(-number, flags, payload))
                return False
            if kind == NLMSG_DONE:
                self._interrupted |= bool(flags & NLM_F_DUMP_INTR)
                return False
            self._interrupted |= bool(flags & NLM_F_DUMP_INTR)
            answers.append((kind, payload))
        return many

    def receive(self) -> list[tuple[int, bytes]] | None:
        """Notifications that wait now, without blocking; None when the kernel had to drop some (ENOBUFS)."""
        waiting: list[tuple[int, bytes]] = []
        while True:
            try:
                data = self._socket.recv(_BUFFER, 0x40)  # MSG_DONTWAIT
            except BlockingIOError:
                return waiting
            except OSError as error:
                if error.errno == ENOBUFS:
                    return None
                raise
            waiting += [(kind, payload) for kind, _, payload in messages(data)]


def _reason(number: int, flags: int, payload: bytes) -> str:
    """The kernel's own words about a refusal (extended acknowledgement), or the errno's."""
    capped = flags & 0x100  # NLM_F_CAPPED: the request is not repeated in the answer
    (length,) = struct.unpack_from("=I", payload, 4)
    offset = 4 + (16 if capped else (length + 3) & ~3)
    if flags & 0x200:  # NLM_F_ACK_TLVS
        words = attributes(payload, offset).get(1, b"")  # NLMSGERR_ATTR_MSG
        if words:
            return words.rstrip(b"\0").decode("ascii", "replace")
    return os.strerror(number)


def link_index(index: int = 0, flags: int = 0, change: int = 0) -> bytes:
    """struct ifinfomsg."""
    return struct.pack("=BxHiII", 0, 0, index, flags, change)


def set_up(netlink: Netlink, index: int) -> None:
    """Bring an interface up."""
    netlink.change(RTM_NEWLINK, link_index(index, IFF_UP, IFF_UP))


def add_address(netlink: Netlink, index: int, address: bytes, prefix_len: int) -> None:
    """Give an interface an address, usable at once (no duplicate address detection)."""
    family = 4 if len(address) == 4 else 6
    payload = struct.pack("=BBBBi", AF[family], prefix_len, 0 if family == 4 else IFA_F_NODAD, 0, index)
    payload += attribute(IFA_LOCAL, address) + attribute(IFA_ADDRESS, address)
    netlink.change(RTM_NEWADDR, payload, NLM_F_CREATE | NLM_F_EXCL)
