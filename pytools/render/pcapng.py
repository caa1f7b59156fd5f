"""Packets and what the stack made of them, as a pcapng file (draft-ietf-opsawg-pcapng).

    writer = PcapngWriter(file, ports, start_at=start_at, epoch_ns=epoch_ns)
    trace.subscribe(writer.on_event)
    ...
    writer.close()

Each packet's comment is the right half of its trace line, as `-vv` has it. What happened without a packet (a timer, an
address that is ours now) is a comment of the next packet, marked `!` with its time; what comes after the last packet is
in an Interface Statistics Block at the end. Frames are as they would be on a wire: partial checksums are completed.
Super-segments stay whole.
"""

import os
import stat
from collections.abc import Iterable
from struct import Struct
from typing import BinaryIO, Final

from pytools import __version__
from pytools.engine import CHECKSUM_PARTIAL, ETHERNET, Port
from pytools.errors import PytoolsError
from pytools.render.assemble import HAPPENED, Assembler, Line
from pytools.render.escape import escape
from pytools.render.words import right_half
from pytools.trace.events import FrameReceived, FrameSent
from pytools.units import SECOND, Ns
from pytools.wire.gso import complete, complete_received

SNAPLEN: Final = 262_144
"""Octets of a packet that readers must be ready for; ours are at most 64 KB and headers."""

_SECTION: Final = 0x0A0D0D0A
_INTERFACE: Final = 1
_STATISTICS: Final = 5
_PACKET: Final = 6
_BYTE_ORDER: Final = 0x1A2B3C4D

_COMMENT: Final = 1
_SHB_OS: Final = 3
_SHB_APPLICATION: Final = 4
_IF_NAME: Final = 2
_IF_MAC: Final = 6
_IF_TSRESOL: Final = 9
_EPB_FLAGS: Final = 2
_LONGEST_OPTION: Final = 0xFFFF

_INBOUND: Final = 1
_OUTBOUND: Final = 2
_UNICAST: Final = 1 << 2
_MULTICAST: Final = 2 << 2
_BROADCAST: Final = 3 << 2
_PROMISCUOUS: Final = 4 << 2

_option = Struct("<HH").pack
_block = Struct("<II").pack
_packet = Struct("<IIIII").pack
_u32 = Struct("<I").pack
_BROADCAST_MAC: Final = b"\xff" * 6


def encode_option(code: int, value: bytes) -> bytes:
    """One option, padded to 32 bits; a value that is too long is cut."""
    value = value[:_LONGEST_OPTION]
    return _option(code, len(value)) + value + bytes(-len(value) % 4)


def encode_block(kind: int, body: bytes, options: bytes = b"") -> bytes:
    """One block: `body` is a multiple of 4 octets, `options` go with their end mark if there are any."""
    if options:
        options += b"\0\0\0\0"
    length = 12 + len(body) + len(options)
    return b"".join((_block(kind, length), body, options, _u32(length)))


def _encode_section() -> bytes:
    body = Struct("<IHHq").pack(_BYTE_ORDER, 1, 0, -1)
    system = os.uname()
    options = encode_option(_SHB_OS, f"{system.sysname} {system.release}".encode())
    return encode_block(_SECTION, body, options + encode_option(_SHB_APPLICATION, f"pytools {__version__}".encode()))


def _encode_interface(port: Port) -> bytes:
    options = encode_option(_IF_NAME, port.name.encode("utf-8", "replace")) + encode_option(_IF_TSRESOL, b"\x09")
    if len(port.mac) == 6:
        options += encode_option(_IF_MAC, port.mac)
    return encode_block(_INTERFACE, Struct("<HHI").pack(port.link_type, 0, SNAPLEN), options)


def reception(frame: bytes, port: Port, inbound: bool) -> int:
    """The bits of epb_flags: direction, and whom the frame was for as far as its first octets say."""
    direction = _INBOUND if inbound else _OUTBOUND
    if port.link_type != ETHERNET:
        return direction
    destination = frame[:6]
    if destination == _BROADCAST_MAC:
        return direction | _BROADCAST
    if destination and destination[0] & 1:
        return direction | _MULTICAST
    return direction | (_PROMISCUOUS if inbound and port.mac and destination != port.mac else _UNICAST)


class PcapngWriter:
    """Writes trace events to a binary file. `epoch_ns` is Unix time at instant 0 of the engine's clock.

    Written through after every packet where somebody reads along (a pipe, a terminal), or as `write_through` says;
    in a plain file about once a second. `on_event` raises nothing: an error of the file (OSError, or the PytoolsError
    that a wrapped stdout makes of it) is kept and raised by `flush` or `close`, outside of the engine.
    """

    __slots__ = (
        "_assembler",
        "_error",
        "_file",
        "_flushed_at",
        "_indices",
        "_interfaces",
        "_last_at",
        "_epoch_ns",
        "_pending",
        "_start_at",
        "_write_through",
        "on_event",
    )

    def __init__(
        self,
        file: BinaryIO,
        ports: Iterable[Port],
        *,
        start_at: Ns,
        epoch_ns: int,
        write_through: bool | None = None,
    ) -> None:
        """Write the beginning at once. Raises OSError."""
        self._file = file
        self._start_at = start_at
        self._epoch_ns = epoch_ns
        self._write_through = is_read_along(file) if write_through is None else write_through
        self._flushed_at = self._last_at = start_at
        self._pending: list[str] = []
        self._error: Exception | None = None
        self._interfaces: list[Port] = []
        self._indices: dict[int, int] = {}
        self._assembler = Assembler(self.write_line)
        self.on_event = self._assembler.on_event
        """The listener for `Trace.subscribe`."""
        file.write(_encode_section())
        for port in ports:
            self.add_port(port)
        file.flush()

    def add_port(self, port: Port) -> None:
        """Describe an interface; packets of a port that nobody described get an Ethernet one. Raises OSError."""
        self._indices[port.index] = len(self._interfaces)
        self._interfaces.append(port)
        self._file.write(_encode_interface(port))

    def write_line(self, line: Line) -> None:
        """One packet with its comments, or a note for the next one; a sink for `Assembler`."""
        if self._error is not None:
            return
        self._last_at = line.now
        said = right_half(line.events, level=2)
        if line.frame_event is None:
            self._pending.append(self._note(line, said))
            return
        comments, self._pending = self._pending, []
        if said:
            comments.append(f"{line.label}: {said}" if line.label else said)
        try:
            self._write_packet(line.now, line.frame_event, comments)
            if self._write_through:
                self._file.flush()
        except (OSError, PytoolsError) as error:
            self._error = error

    def flush(self) -> None:
        """Write what is held back; call before waiting. Raises what the file raised, also earlier."""
        self._assembler.flush()
        self._raise()
        if self._last_at - self._flushed_at >= SECOND:
            self._flushed_at = self._last_at
            self._file.flush()

    def close(self) -> None:
        """Write the rest and close the file. Raises what the file raised, also earlier."""
        try:
            self._assembler.flush()
            self._raise()
            if self._pending:
                self._write_rest()
            self._file.flush()
        finally:
            self._error = None
            self._file.close()

    def _raise(self) -> None:
        if (error := self._error) is not None:
            raise error

    def _note(self, line: Line, said: str) -> str:
        label = f"{line.label} " if line.label else ""
        return f"{label}{HAPPENED} {(line.now - self._start_at) / SECOND:.6f} {said}"

    def _write_packet(self, at: Ns, event: FrameReceived | FrameSent, comments: list[str]) -> None:
        inbound = isinstance(event, FrameReceived)
        index = self._indices.get(event.port)
        if index is None:
            self.add_port(Port(event.port, f"port{event.port}"))
            index = self._indices[event.port]
        port = self._interfaces[index]
        frame = on_the_wire(event, port.link_type)
        options = b"".join([_encode_comment(comment) for comment in comments])
        options += encode_option(_EPB_FLAGS, _u32(reception(frame, port, inbound)))
        stamp = at + self._epoch_ns
        body = _packet(index, stamp >> 32 & 0xFFFFFFFF, stamp & 0xFFFFFFFF, len(frame), len(frame))
        self._file.write(encode_block(_PACKET, body + frame + bytes(-len(frame) % 4), options))

    def _write_rest(self) -> None:
        """What happened after the last packet, as comments of the first interface's statistics."""
        if not self._interfaces:
            self.add_port(Port(0, "none"))
        stamp = self._last_at + self._epoch_ns
        body = Struct("<III").pack(0, stamp >> 32 & 0xFFFFFFFF, stamp & 0xFFFFFFFF)
        self._file.write(encode_block(_STATISTICS, body, b"".join(map(_encode_comment, self._pending))))
        self._pending = []


def is_read_along(file: BinaryIO) -> bool:
    """Whether somebody may read while we write: everything but a plain file on a disk."""
    try:
        return not stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    except OSError:  # no descriptor: memory
        return False


def on_the_wire(event: FrameReceived | FrameSent, link_type: int) -> bytes:
    """The octets of a frame with its checksum complete."""
    if isinstance(event, FrameReceived):
        return complete_received(event.frame, link_type) if event.checksum == CHECKSUM_PARTIAL else event.frame
    frame = b"".join(event.parts)
    return complete(frame, event.csum_start, event.csum_offset) if event.csum_start else frame


def _encode_comment(text: str) -> bytes:
    return encode_option(_COMMENT, escape(text).encode())
