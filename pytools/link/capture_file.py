"""Read capture files: pcap and pcapng, micro- and nanoseconds, both byte orders, gzip, a pipe.

    with CaptureFile("trace.pcapng.gz") as capture:
        for t_ns, link_type, data, wire_length, interface in capture:
            ...
    capture.damage      # None, or where and why reading ended early

The file is streamed in chunks: memory doesn't grow with it.
"""

import gzip
import io
import os
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Final

from pytools.errors import LinkError
from pytools.units import Ns

Record = tuple[Ns, int, bytes, int, int]
"""Epoch time, link type (LINKTYPE_*), octets captured, length on the wire, interface."""

_CHUNK: Final = 1 << 20
_LIMIT: Final = 1 << 26
"""No record is longer; a larger length is damage, not a reason to allocate."""

_PCAP: Final = {
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x34\xcd\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\xcd\x34": (">", 1000),
}
"""Magic -> (byte order, nanoseconds of a fraction); the last two have Kuznetsov's longer record header."""
_KUZNETSOV: Final = (b"\x34\xcd\xb2\xa1", b"\xa1\xb2\xcd\x34")
_SECTION: Final = b"\x0a\x0d\x0d\x0a"


class CaptureFile:
    """One capture; iterate once. `LinkError` when it can't be opened or is no capture."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.damage: str | None = None
        self.octets = 0
        self._interfaces: list[tuple[int, int, Ns]] = []
        self._order = "<"
        self._file = _open(path)
        self._buffer = b""
        try:
            self._magic = self._take(4)
        except (OSError, EOFError, zlib.error) as error:
            raise LinkError(f"{path}: {_reason(error)}") from None
        if not self._magic:
            raise LinkError(f"{path}: the file is empty")
        if self._magic not in _PCAP and self._magic != _SECTION:
            raise LinkError(f"{path}: not a pcap or pcapng file")

    def __enter__(self) -> "CaptureFile":
        return self

    def __exit__(self, *_: object) -> None:
        if self.path != "-":
            self._file.close()

    def __iter__(self) -> Iterator[Record]:
        records = self._pcapng() if self._magic == _SECTION else self._pcap()
        try:
            yield from records
        except (OSError, EOFError, zlib.error) as error:
            self.damage = _reason(error)

    def _more(self) -> bool:
        chunk = self._file.read1(_CHUNK)  # what a cut gzip still has comes out before its EOFError
        self.octets += len(chunk)
        self._buffer += chunk
        return bool(chunk)

    def _take(self, count: int) -> bytes:
        """The next `count` octets, or fewer at the end of the file."""
        while len(self._buffer) < count and self._more():
            pass
        taken, self._buffer = self._buffer[:count], self._buffer[count:]
        return taken

    def _pcap(self) -> Iterator[Record]:
        order, scale = _PCAP[self._magic]
        header = self._take(20)
        if len(header) < 20:
            self.damage = "cut in the file header"
            return
        link_type = struct.unpack(order + "HHiIII", header)[5] & 0xFFFF
        head = struct.Struct(order + ("IIIIIHBx" if self._magic in _KUZNETSOV else "IIII"))
        read_head, size = head.unpack_from, head.size
        number = 0
        buffer, self._buffer = self._buffer, b""
        while True:
            at, end = 0, len(buffer) - size
            while at <= end:
                seconds, fraction, length, wire, *_ = read_head(buffer, at)
                if length > _LIMIT:
                    self.damage = f"record {number + 1} has an impossible length ({length})"
                    return
                start = at + size
                if (following := start + length) > len(buffer):
                    break
                number += 1
                yield seconds * 1_000_000_000 + fraction * scale, link_type, buffer[start:following], wire, 0
                at = following
            self._buffer = buffer[at:]
            if not self._more():
                if self._buffer:
                    self.damage = f"cut in the middle of record {number + 1}"
                return
            buffer, self._buffer = self._buffer, b""

    def _pcapng(self) -> Iterator[Record]:
        kind_octets = self._magic
        while kind_octets:
            rest = self._take(8) if kind_octets == _SECTION else self._take(4)
            if kind_octets == _SECTION and len(rest) == 8:
                self._order = "<" if rest[4:] == b"\x4d\x3c\x2b\x1a" else ">"
                self._interfaces = []
            if len(kind_octets) + len(rest) < 8:
                self.damage = "cut in the middle of a block"
                return
            (kind,) = struct.unpack(self._order + "I", kind_octets)
            (length,) = struct.unpack(self._order + "I", rest[:4])
            if length < 12 or length % 4 or length > _LIMIT:
                self.damage = f"a block has an impossible length ({length})"
                return
            body = self._take(length - 4 - len(rest))
            if len(body) < length - 4 - len(rest):
                self.damage = "cut in the middle of a block"
                return
            record = self._block(kind, body[:-4])
            if record is not None:
                yield record
            kind_octets = self._take(4)

    def _block(self, kind: int, body: bytes) -> Record | None:
        order = self._order
        if kind == 1 and len(body) >= 8:
            self._interfaces.append((*struct.unpack_from(order + "HxxI", body)[:1], *self._resolution(body[8:])))
        elif kind in (6, 2) and len(body) >= 20:
            shape = "IIIII" if kind == 6 else "HHIIII"
            values = struct.unpack_from(order + shape, body)
            interface, (high, low, length, wire) = values[0], values[-4:]
            if interface < len(self._interfaces) and 20 + length <= len(body):
                link_type, units, offset = self._interfaces[interface]
                t_ns = (high << 32 | low) * 1_000_000_000 // units + offset
                return t_ns, link_type, body[20 : 20 + length], wire, interface
            self.damage = "a packet block names an unknown interface or an impossible length"
        elif kind == 3 and len(body) >= 4 and self._interfaces:
            (wire,) = struct.unpack_from(order + "I", body)
            return 0, self._interfaces[0][0], body[4 : 4 + wire], wire, 0
        return None

    def _resolution(self, options: bytes) -> tuple[int, Ns]:
        """(Units in a second, offset) of an interface: if_tsresol and if_tsoffset."""
        units, offset, at = 1_000_000, 0, 0
        while at + 4 <= len(options):
            code, length = struct.unpack_from(self._order + "HH", options, at)
            value = options[at + 4 : at + 4 + length]
            if code == 0:
                break
            if code == 9 and value:
                units = 1 << (value[0] & 0x7F) if value[0] & 0x80 else 10 ** min(value[0], 18)
            elif code == 14 and len(value) == 8:
                offset = struct.unpack(self._order + "q", value)[0] * 1_000_000_000
            at += 4 + (length + 3 & ~3)
        return units, offset


def _open(path: str) -> io.BufferedReader | gzip.GzipFile:
    """Standard input for `-`; unpacked when it begins as gzip does."""
    try:
        raw = sys.stdin.buffer if path == "-" else open(path, "rb", buffering=_CHUNK)  # noqa: SIM115 - closed by __exit__
        assert isinstance(raw, io.BufferedReader)
        if path != "-" and os.path.isdir(path):
            raise IsADirectoryError(21, "is a directory")
        return gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == b"\x1f\x8b" else raw
    except OSError as error:
        raise LinkError(f"{path}: {_reason(error)}") from None


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return "the gzip data are cut or damaged"
