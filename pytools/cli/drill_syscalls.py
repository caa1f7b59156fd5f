"""A script's system calls made for real, each in a thread of its own so that it may block."""

import errno
import fcntl
import os
import select
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from pytools.cli.drill_kernel import Kernel
from pytools.sim.drill.calls import BLOCKED, option_word
from pytools.sim.drill.constants import CONSTANTS
from pytools.sim.drill.syntax import Anything, Call
from pytools.sim.drill.tcp_info import WORDS
from pytools.sim.drill.values import MismatchError, UnknownError, Values
from pytools.units import NEVER, Ns
from pytools.wire.addr import format_ip

_AT_ONCE: Final = 0.002
"""Seconds after which a call counts as blocked."""
_TCP_INFO: Final = struct.Struct("=8B24I4Q6I4Q2I2Q6I")
_FIELDS: Final = (
    "state ca_state retransmits probes backoff options scales flags rto ato snd_mss rcv_mss unacked sacked lost "
    "retrans fackets last_data_sent last_ack_sent last_data_recv last_ack_recv pmtu rcv_ssthresh rtt rttvar "
    "snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space total_retrans pacing_rate max_pacing_rate bytes_acked "
    "bytes_received segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out delivery_rate busy_time "
    "rwnd_limited sndbuf_limited delivered delivered_ce bytes_sent bytes_retrans dsack_dups reord_seen rcv_ooopack "
    "snd_wnd rcv_wnd rehash"
).split()
_TIMEOUTS: Final = ((socket.SOL_SOCKET, CONSTANTS["SO_RCVTIMEO"]), (socket.SOL_SOCKET, CONSTANTS["SO_SNDTIMEO"]))


class Running:
    """A call in its thread."""

    __slots__ = ("done", "failure", "result")

    def __init__(self) -> None:
        self.done = threading.Event()
        self.result: Any = None
        self.failure: Exception | None = None


class Syscalls(Values):
    """The script's descriptors are real ones; its numbers name them."""

    def __init__(self, kernel: Kernel, defines: dict[str, str]) -> None:
        super().__init__(defines)
        self._kernel = kernel
        self._open: dict[int, Any] = {}
        self._last: socket.socket | None = None
        self._running: dict[int, Running] = {}

    # The runner's side.

    def run(self, call: Call) -> Any:
        """(result, errno name or None), or BLOCKED while the thread is still in the call."""
        running = self._running.get(id(call))
        if running is None:
            method: Callable[[Call], Any] | None = getattr(self, f"_do_{call.name}", None)
            if method is None:
                raise UnknownError(f"system call {call.name}() is not known")
            running = self._running[id(call)] = Running()
            threading.Thread(target=self._in_thread, args=(method, call, running), daemon=True).start()
            running.done.wait(_AT_ONCE)
        if not running.done.is_set():
            return BLOCKED
        del self._running[id(call)]
        if running.failure is not None:
            raise running.failure
        return running.result

    def _in_thread(self, method: Callable[[Call], Any], call: Call, running: Running) -> None:
        try:
            running.result = (method(call), None)
        except OSError as error:
            running.result = (-1, errno.errorcode.get(error.errno or 0, "?"))
        except (MismatchError, UnknownError) as error:
            running.failure = error
        except Exception as error:
            running.failure = UnknownError(f"{call.name}(): this form of its arguments is not known ({error})")
        running.done.set()
        with suppress(OSError):
            os.write(self._kernel.wake_writer, b".")

    def wake_at(self) -> Ns:
        """The kernel keeps the time of its calls."""
        return NEVER

    def close(self) -> None:
        """Close what the script left open."""
        for found in self._open.values():
            with suppress(OSError):
                if isinstance(found, socket.socket):
                    found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                found.close()

    def names(self) -> dict[str, Any]:
        """TCP_INFO of the socket that was used last."""
        if self._last is None:
            raise UnknownError("code: no socket was used before")
        data = self._last.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 512)
        values = _TCP_INFO.unpack(data[: _TCP_INFO.size].ljust(_TCP_INFO.size, b"\0"))
        found = {f"tcpi_{name}": value for name, value in zip(_FIELDS, values, strict=True)}
        scales = found.pop("tcpi_scales")
        found["tcpi_snd_wscale"], found["tcpi_rcv_wscale"] = scales & 15, scales >> 4
        return {**WORDS, **found}

    # Descriptors.

    def _found(self, call: Call, index: int = 0) -> Any:
        number = self.value(call.arguments[index])
        if number not in self._open:
            raise OSError(errno.EBADF, "EBADF")
        found = self._open[number]
        if isinstance(found, socket.socket) and found.type == socket.SOCK_STREAM:
            self._last = found
        return found

    def _new(self, call: Call, found: Any) -> int:
        number = self.value(call.result)
        if not isinstance(number, int) or number < 0:
            number = max(self._open, default=2) + 1
        if number in self._open:
            raise UnknownError(f"descriptor {number} is open already")
        self._open[number] = found
        if isinstance(found, socket.socket):
            self._last = found
        return number

    def _sockaddr(self, argument: Any, otherwise: bytes, found: socket.socket) -> tuple[str, int]:
        address, port, _ = self.endpoint(argument, otherwise)
        if found.family == socket.AF_INET6 and len(address) == 4:
            return ("::" if not any(address) else f"::ffff:{format_ip(address)}"), port
        return format_ip(address), port

    def _do_socket(self, call: Call) -> int:
        domain, kind, protocol = (self.value(argument) for argument in call.arguments)
        if isinstance(domain, Anything):
            four = self._kernel.family == 4 and not self._kernel.mapped
            domain = socket.AF_INET if four else socket.AF_INET6
        return self._new(call, socket.socket(domain, kind, 0 if isinstance(protocol, Anything) else protocol))

    def _do_bind(self, call: Call) -> int:
        found = self._found(call)
        found.bind(self._sockaddr(call.arguments[1], self._kernel.local, found))
        return 0

    def _do_listen(self, call: Call) -> int:
        self._found(call).listen(self.number(call, 1))
        return 0

    def _do_accept(self, call: Call) -> int:
        descriptor, _ = self._found(call)._accept()
        flags = self.value(call.arguments[3]) if call.name == "accept4" else 0
        os.set_blocking(descriptor, not flags & CONSTANTS["SOCK_NONBLOCK"])
        return self._new(call, socket.socket(fileno=descriptor))

    _do_accept4 = _do_accept

    def _do_connect(self, call: Call) -> int:
        found = self._found(call)
        found.connect(self._sockaddr(call.arguments[1], self._kernel.remote, found))
        return 0

    # Data.

    def _do_write(self, call: Call) -> int:
        return os.write(self._found(call).fileno(), self.payload(call, 1))

    def _do_send(self, call: Call) -> int:
        return int(self._found(call).send(self.payload(call, 1), self.number(call, 3) | socket.MSG_NOSIGNAL))

    def _do_sendto(self, call: Call) -> int:
        found, data = self._found(call), self.payload(call, 1)
        flags = self.number(call, 3) | socket.MSG_NOSIGNAL
        return int(found.sendto(data, flags, self._sockaddr(call.arguments[4], self._kernel.remote, found)))

    def _do_writev(self, call: Call) -> int:
        return os.writev(self._found(call).fileno(), [bytes(size) for size in self.vector(call.arguments[1])])

    def _do_sendmsg(self, call: Call) -> int:
        parts = [bytes(size) for size in self.vector(self.message(call)["msg_iov"])]
        return int(self._found(call).sendmsg(parts, [], self.number(call, 2) | socket.MSG_NOSIGNAL))

    def _do_sendfile(self, call: Call) -> int:
        offset = self.value(call.arguments[2])
        start = offset[0] if isinstance(offset, list) and offset else 0
        return os.sendfile(self._found(call).fileno(), self._found(call, 1).fileno(), int(start), self.number(call, 3))

    def _do_open(self, call: Call) -> int:
        """Zeros in memory, whatever the name."""
        descriptor = os.memfd_create("drill")
        os.ftruncate(descriptor, 1 << 24)
        return self._new(call, os.fdopen(descriptor, "rb", 0))

    def _do_read(self, call: Call) -> int:
        return len(os.read(self._found(call).fileno(), self.number(call, 2)))

    def _do_recv(self, call: Call) -> int:
        return int(
            self._found(call).recv_into(
                bytearray(max(1, self.number(call, 2))), self.number(call, 2), self.number(call, 3)
            )
        )

    _do_recvfrom = _do_recv

    def _do_readv(self, call: Call) -> int:
        buffers = [bytearray(size) for size in self.vector(call.arguments[1])]
        return os.readv(self._found(call).fileno(), buffers)

    def _do_recvmsg(self, call: Call) -> int:
        buffers = [bytearray(size) for size in self.vector(self.message(call)["msg_iov"])]
        return int(self._found(call).recvmsg_into(buffers, 1024, self.number(call, 2))[0])

    # Ending and options.

    def _do_shutdown(self, call: Call) -> int:
        self._found(call).shutdown(self.number(call, 1))
        return 0

    def _do_close(self, call: Call) -> int:
        found = self._found(call)
        del self._open[self.value(call.arguments[0])]
        if found is self._last:
            self._last = None
        os.close(found.detach()) if isinstance(found, socket.socket) else found.close()
        return 0

    def _do_setsockopt(self, call: Call) -> int:
        _, level, name, value = (self.value(argument) for argument in call.arguments[:4])
        value = self.linger(value)
        if isinstance(value, str):
            value = value.encode("latin-1", "replace")
        elif isinstance(value, tuple):
            value = struct.pack("qq" if (level, name) in _TIMEOUTS else "ii", *value)
        self._found(call).setsockopt(level, name, value)
        return 0

    def _do_getsockopt(self, call: Call) -> int:
        _, level, name, wanted = (self.value(argument) for argument in call.arguments[:4])
        wanted = self.linger(wanted) if isinstance(wanted, list | dict) else wanted
        found: Any
        if isinstance(wanted, tuple):
            found = struct.unpack("ii", self._found(call).getsockopt(level, name, 8))
        elif isinstance(wanted, str):
            found = self._found(call).getsockopt(level, name, 64).rstrip(b"\0").decode("latin-1")
        else:
            found = self._found(call).getsockopt(level, name)
        if isinstance(wanted, int | tuple | str) and wanted != found:
            raise MismatchError(f"expected [{option_word(name, wanted)}], found [{option_word(name, found)}]")
        return 0

    def _do_fcntl(self, call: Call) -> int:
        argument = self.value(call.arguments[2]) if len(call.arguments) > 2 else 0
        return fcntl.fcntl(self._found(call).fileno(), self.number(call, 1), argument)

    def _do_ioctl(self, call: Call) -> int:
        data = fcntl.ioctl(self._found(call).fileno(), self.number(call, 1), bytes(4))
        (found,) = struct.unpack("i", data)
        wanted = self.value(call.arguments[2])
        if isinstance(wanted, list) and wanted and wanted[0] != found:
            raise MismatchError(f"expected [{wanted[0]}], found [{found}]")
        return 0

    # Waiting for several.

    def _do_poll(self, call: Call) -> int:
        poller, numbers = select.poll(), {}
        for entry in call.arguments[0]:
            number = self.value(entry["fd"])
            descriptor = self._open[number].fileno()
            numbers[descriptor] = number
            poller.register(descriptor, self.value(entry["events"]))
        found = {numbers[descriptor]: bits for descriptor, bits in poller.poll(self.number(call, 2))}
        for entry in call.arguments[0]:
            number, wanted = self.value(entry["fd"]), self.value(entry.get("revents", 0))
            if isinstance(wanted, int) and wanted != found.get(number, 0):
                raise MismatchError(f"revents of {number}: expected {wanted:#x}, found {found.get(number, 0):#x}")
        return len(found)

    def _do_epoll_create(self, call: Call) -> int:
        return self._new(call, select.epoll())

    _do_epoll_create1 = _do_epoll_create

    def _do_epoll_ctl(self, call: Call) -> int:
        epoll, operation = self._found(call), self.number(call, 1)
        target = self._found(call, 2).fileno()
        if operation == CONSTANTS["EPOLL_CTL_DEL"]:
            epoll.unregister(target)
            return 0
        events = self.value(call.arguments[3]["events"])
        (epoll.register if operation == CONSTANTS["EPOLL_CTL_ADD"] else epoll.modify)(target, events)
        return 0

    def _do_epoll_wait(self, call: Call) -> int:
        timeout = self.number(call, 3)
        found = self._found(call).poll(timeout / 1000 if timeout >= 0 else None, self.number(call, 2))
        wanted = call.arguments[1] if isinstance(call.arguments[1], list) else [call.arguments[1]]
        for entry, (_, bits) in zip(wanted, found, strict=False):
            if isinstance(entry, dict) and self.value(entry["events"]) != bits:
                raise MismatchError(f"events: expected {self.value(entry['events']):#x}, found {bits:#x}")
        return len(found)
