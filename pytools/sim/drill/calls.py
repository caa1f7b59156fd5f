"""A script's system calls on our sockets. A call that would block comes back as `BLOCKED` and is tried again."""

import errno
from collections.abc import Callable
from typing import Any, Final

from pytools.errors import UsageError
from pytools.sim.drill.machine import Machine
from pytools.sim.drill.syntax import ANY, Anything, Apply, Call, Symbol
from pytools.stack import sockets as so
from pytools.stack.sockets import StreamSocket

BLOCKED: Final = object()
PORT: Final = 8080
"""Where a script binds or connects to when it says `...`."""

CONSTANTS: Final[dict[str, int]] = {
    **{name: value for name, value in vars(so).items() if isinstance(value, int) and name.isupper()},
    **{name: number for number, name in errno.errorcode.items()},
    "SOL_TCP": so.IPPROTO_TCP,
    "SOL_IP": so.IPPROTO_IP,
    "SOL_IPV6": so.IPPROTO_IPV6,
    "IPPROTO_UDP": 17,
    "IPPROTO_MPTCP": 262,
    "SOCK_STREAM": 1,
    "SOCK_DGRAM": 2,
    "SOCK_NONBLOCK": 0o4000,
    "SOCK_CLOEXEC": 0o2000000,
    "PF_INET": 2,
    "PF_INET6": 10,
    "AF_UNSPEC": 0,
    "INADDR_ANY": 0,
    "F_GETFL": 3,
    "F_SETFL": 4,
    "O_RDWR": 2,
    "O_RDONLY": 0,
    "O_NONBLOCK": 0o4000,
    "MSG_NOSIGNAL": 0x4000,
    "MSG_WAITALL": 0x100,
    "MSG_TRUNC": 0x20,
    "MSG_ERRQUEUE": 0x2000,
    "MSG_ZEROCOPY": 0x4000000,
    "MSG_FASTOPEN": 0x20000000,
    "FIONREAD": 0x541B,
    "SIOCINQ": 0x541B,
    "SIOCOUTQ": 0x5411,
    "SIOCOUTQNSD": 0x894B,
    "POLLRDNORM": 0x40,
    "POLLPRI": 2,
    "POLLWRNORM": 0x100,
    "POLLNVAL": 0x20,
    "EPOLLIN": 1,
    "EPOLLOUT": 4,
    "EPOLLERR": 8,
    "EPOLLHUP": 0x10,
    "EPOLLRDHUP": 0x2000,
    "EPOLLET": 1 << 31,
    "EPOLLONESHOT": 1 << 30,
    "EPOLL_CTL_ADD": 1,
    "EPOLL_CTL_DEL": 2,
    "EPOLL_CTL_MOD": 3,
    "SO_TIMESTAMPING": 37,
    "SO_MARK": 36,
    "SO_PRIORITY": 12,
    "SO_SNDTIMEO": 21,
    "SO_RCVTIMEO": 20,
    "SO_RCVLOWAT": 18,
    "SO_ZEROCOPY": 60,
    "SO_INCOMING_CPU": 49,
    "SO_MAX_PACING_RATE": 47,
    "IP_MTU_DISCOVER": 10,
    "IP_PMTUDISC_DONT": 0,
    "IP_PMTUDISC_DO": 2,
    "IP_RECVERR": 11,
    "IP_MTU": 14,
    "IPV6_MTU": 24,
    "TCP_FASTOPEN": 23,
    "TCP_FASTOPEN_CONNECT": 30,
    "TCP_NOTSENT_LOWAT": 25,
    "TCP_TIMESTAMP": 24,
    "TCP_THIN_LINEAR_TIMEOUTS": 16,
    "TCP_THIN_DUPACK": 17,
    "TCP_CC_INFO": 26,
    "TCP_SAVE_SYN": 27,
    "TCP_INQ": 36,
    "TCP_TX_DELAY": 37,
    "TCP_REPAIR": 19,
    "TCP_MD5SIG": 14,
    "TCP_CM_INQ": 36,
    "NULL": 0,
}

_IGNORED_OPTIONS: Final = frozenset(
    (so.SOL_SOCKET, CONSTANTS[name])
    for name in ("SO_MARK", "SO_PRIORITY", "SO_SNDTIMEO", "SO_RCVTIMEO", "SO_RCVLOWAT", "SO_MAX_PACING_RATE")
) | frozenset(
    (so.IPPROTO_TCP, CONSTANTS[name])
    for name in ("TCP_NOTSENT_LOWAT", "TCP_THIN_LINEAR_TIMEOUTS", "TCP_THIN_DUPACK", "TCP_TX_DELAY")
)


class UnknownError(UsageError):
    """A call, constant or form of argument that isn't known."""


class Descriptor:
    """What a script's file number stands for."""

    __slots__ = ("nonblocking", "socket")

    def __init__(self, socket: StreamSocket, nonblocking: bool) -> None:
        self.socket = socket
        self.nonblocking = nonblocking


class Calls:
    """The table of a script's descriptors and the calls on them."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.descriptors: dict[int, Descriptor] = {}
        self.last: StreamSocket | None = None
        """The socket that was used last, which tcp_info is about."""

    def run(self, call: Call) -> Any:
        """(result, errno name or None, output arguments) or BLOCKED."""
        method: Callable[[Call], Any] | None = getattr(self, f"_do_{call.name}", None)
        if method is None:
            raise UnknownError(f"system call {call.name}() is not known")
        try:
            return method(call), None
        except BlockingIOError as error:
            if error.errno == errno.EAGAIN and self._may_block(call):
                return BLOCKED
            return -1, errno.errorcode[error.errno or 0]
        except OSError as error:
            return -1, errno.errorcode.get(error.errno or 0, "?")
        finally:
            self._machine.pump()

    def blocks(self, call: Call) -> bool:
        """Whether the script's descriptor blocks."""
        return self._may_block(call)

    def _may_block(self, call: Call) -> bool:
        number = self.value(call.arguments[0]) if call.arguments else None
        found = self.descriptors.get(number) if isinstance(number, int) else None
        flags = self.value(call.arguments[3]) if call.name in ("send", "sendto", "recv", "recvfrom") else 0
        nonblocking = isinstance(flags, int) and flags & so.MSG_DONTWAIT
        return found is not None and not found.nonblocking and not nonblocking

    # Values.

    def value(self, argument: Any) -> Any:
        """An argument as Python's value; UnknownError for a word without meaning."""
        if isinstance(argument, Symbol):
            if argument in CONSTANTS:
                return CONSTANTS[argument]
            raise UnknownError(f"constant {argument} is not known")
        if isinstance(argument, Apply):
            return self._apply(argument)
        if isinstance(argument, list):
            return [self.value(element) for element in argument]
        return argument

    def _apply(self, argument: Apply) -> Any:
        values = [self.value(element) for element in argument.arguments]
        if argument.name == "|":
            return values[0] | values[1]
        if argument.name in ("htons", "htonl", "inet_addr", "ntohs"):
            return values[0]
        raise UnknownError(f"{argument.name}() is not known")

    def _descriptor(self, call: Call) -> Descriptor:
        number = self.value(call.arguments[0])
        if number not in self.descriptors:
            raise OSError(errno.EBADF, "EBADF")
        found = self.descriptors[number]
        self.last = found.socket
        return found

    def _socket(self, call: Call) -> StreamSocket:
        return self._descriptor(call).socket

    def _size(self, call: Call, index: int) -> int:
        """The octets that a call names; `...` before it is the buffer."""
        if len(call.arguments) <= index:
            raise UnknownError(f"{call.name}() takes {index + 1} arguments")
        size = self.value(call.arguments[index])
        if not isinstance(size, int):
            raise UnknownError(f"{call.name}(): a size is missing")
        return size

    # Making sockets.

    def _new(self, call: Call, socket: StreamSocket, nonblocking: bool) -> int:
        number = self.value(call.result)
        if isinstance(number, Anything) or not isinstance(number, int) or number < 0:
            number = max(self.descriptors, default=2) + 1
        if number in self.descriptors:
            raise UnknownError(f"descriptor {number} is open already")
        self.descriptors[number] = Descriptor(socket, nonblocking)
        self.last = socket
        return number

    def _do_socket(self, call: Call) -> int:
        domain, kind, protocol = (self.value(argument) for argument in call.arguments)
        if isinstance(domain, Anything):
            domain = so.AF_INET if self._machine.family == 4 else so.AF_INET6
        if kind & 0xFF != 1 or (protocol not in (0, so.IPPROTO_TCP) and not isinstance(protocol, Anything)):
            raise UnknownError("only SOCK_STREAM sockets of IPPROTO_TCP are known")
        return self._new(call, StreamSocket(self._machine.tcp, domain), bool(kind & CONSTANTS["SOCK_NONBLOCK"]))

    def _do_bind(self, call: Call) -> int:
        address, port = self._endpoint(call.arguments[1], self._machine.local)
        self._socket(call).bind(b"" if address == bytes(len(address)) else address, port)
        return 0

    def _endpoint(self, argument: Any, otherwise: bytes) -> tuple[bytes, int]:
        if isinstance(argument, Anything):
            return otherwise, PORT
        if not isinstance(argument, dict):
            raise UnknownError("a socket address is {sa_family = ..., sin_port = ..., sin_addr = ...} or ...")
        port = self.value(argument.get("sin_port", argument.get("sin6_port", PORT)))
        where = self.value(argument.get("sin_addr", ANY))
        if where == 0 or where == "0.0.0.0":
            return bytes(len(otherwise)), port
        return otherwise, port if isinstance(port, int) else PORT

    def _do_listen(self, call: Call) -> int:
        self._socket(call).listen(self._size(call, 1))
        return 0

    def _do_accept(self, call: Call) -> int:
        child = self._socket(call).accept(self._machine.now)
        flags = self.value(call.arguments[3]) if call.name == "accept4" else 0
        return self._new(call, child, bool(flags & CONSTANTS["SOCK_NONBLOCK"]))

    _do_accept4 = _do_accept

    def _do_connect(self, call: Call) -> Any:
        found = self._descriptor(call)
        socket = found.socket
        if socket.connecting and not found.nonblocking:
            raise BlockingIOError(errno.EAGAIN, "EAGAIN")
        if socket.connection is not None and not socket.connecting and not found.nonblocking:
            code = socket.take_error()
            if code:
                raise OSError(code, errno.errorcode[code])
            return 0
        try:
            socket.connect(self._endpoint(call.arguments[1], self._machine.remote), self._machine.now)
        except BlockingIOError:
            if found.nonblocking:
                raise
            raise BlockingIOError(errno.EAGAIN, "EAGAIN") from None
        return 0

    # Data.

    def _send(self, call: Call, size: int, flags: int) -> int:
        """A blocking send of more than there is room for waits for all of it (`Waiting` keeps the count)."""
        return self._socket(call).send(bytes(size), self._machine.now, flags)

    def _do_write(self, call: Call) -> int:
        return self._send(call, self._size(call, 2), 0)

    def _do_send(self, call: Call) -> int:
        return self._send(call, self._size(call, 2), self._size(call, 3))

    _do_sendto = _do_send

    def _do_writev(self, call: Call) -> int:
        return self._send(call, self._vector(call.arguments[1]), 0)

    def _do_sendmsg(self, call: Call) -> int:
        message = call.arguments[1]
        if not isinstance(message, dict) or "msg_iov" not in message:
            raise UnknownError("sendmsg() needs {msg_iov=...}")
        return self._send(call, self._vector(message["msg_iov"]), self._size(call, 2))

    def _vector(self, argument: Any) -> int:
        if not isinstance(argument, list):
            raise UnknownError("an iovec is [{..., size}, ...]")
        return sum(self.value(element[1]) if isinstance(element, tuple) else 0 for element in argument)

    def _receive(self, call: Call, size: int, flags: int) -> int:
        return len(self._socket(call).recv(size, self._machine.now, flags))

    def _do_read(self, call: Call) -> int:
        return self._receive(call, self._size(call, 2), 0)

    def _do_recv(self, call: Call) -> int:
        return self._receive(call, self._size(call, 2), self._size(call, 3))

    _do_recvfrom = _do_recv

    def _do_readv(self, call: Call) -> int:
        return self._receive(call, self._vector(call.arguments[1]), 0)

    def _do_recvmsg(self, call: Call) -> int:
        message = call.arguments[1]
        if not isinstance(message, dict) or "msg_iov" not in message:
            raise UnknownError("recvmsg() needs {msg_iov=...}")
        return self._receive(call, self._vector(message["msg_iov"]), self._size(call, 2))

    # Ending.

    def _do_shutdown(self, call: Call) -> int:
        self._socket(call).shutdown(self._size(call, 1), self._machine.now)
        return 0

    def _do_close(self, call: Call) -> int:
        number = self.value(call.arguments[0])
        self._socket(call).close(self._machine.now)
        del self.descriptors[number]
        return 0

    # Options.

    def _do_setsockopt(self, call: Call) -> int:
        _, level, name, value = (self.value(argument) for argument in call.arguments[:4])
        if isinstance(value, list):
            value = value[0] if value else 0
        if isinstance(value, dict):
            fields = [self.value(field) for field in value.values()]
            value = (fields[0], fields[1])
        if (level, name) not in _IGNORED_OPTIONS:
            self._socket(call).setsockopt(level, name, value, self._machine.now)
        return 0

    def _do_getsockopt(self, call: Call) -> int:
        _, level, name, wanted = (self.value(argument) for argument in call.arguments[:4])
        found = self._socket(call).getsockopt(level, name)
        if isinstance(wanted, list) and wanted and isinstance(wanted[0], int) and found != wanted[0]:
            raise MismatchError(f"expected [{_option(name, wanted[0])}], found [{_option(name, found)}]")
        if isinstance(wanted, str) and wanted != found:
            raise MismatchError(f"expected {wanted!r}, found {found!r}")
        return 0

    def _do_fcntl(self, call: Call) -> int:
        found = self._descriptor(call)
        command = self.value(call.arguments[1])
        if command == CONSTANTS["F_SETFL"]:
            found.nonblocking = bool(self.value(call.arguments[2]) & CONSTANTS["O_NONBLOCK"])
            return 0
        return CONSTANTS["O_RDWR"] | (CONSTANTS["O_NONBLOCK"] if found.nonblocking else 0)

    def _do_ioctl(self, call: Call) -> int:
        connection = self._socket(call).connection
        request, wanted = self.value(call.arguments[1]), self.value(call.arguments[2])
        if connection is None:
            raise OSError(errno.EINVAL, "EINVAL")
        sender = connection.tx.sender
        found = {
            CONSTANTS["SIOCINQ"]: connection.receiver.queued,
            CONSTANTS["SIOCOUTQ"]: sender.write_seq - sender.snd_una,
            CONSTANTS["SIOCOUTQNSD"]: sender.unsent,
        }.get(request)
        if found is None:
            raise UnknownError("this ioctl() is not known")
        if isinstance(wanted, list) and wanted and wanted[0] != found:
            raise MismatchError(f"expected [{wanted[0]}], found [{found}]")
        return 0

    def _do_poll(self, call: Call) -> int:
        """poll([{fd=3, events=POLLIN, revents=POLLIN}], 1, timeout): a timeout of 0 asks, another one waits."""
        ready = 0
        for entry in call.arguments[0]:
            number, events = self.value(entry["fd"]), self.value(entry["events"])
            bits = self.descriptors[number].socket.poll() & (events | so.POLLERR | so.POLLHUP)
            wanted = self.value(entry.get("revents", ANY))
            if isinstance(wanted, int) and wanted != bits and (bits or self.value(call.arguments[2]) == 0):
                raise MismatchError(f"revents of {number}: expected {wanted}, found {bits}")
            ready += bits != 0
        return ready


class MismatchError(Exception):
    """A call gave something else than the script says."""


def _option(name: int, value: Any) -> str:
    return errno.errorcode.get(value, str(value)) if name == so.SO_ERROR and value else str(value)
