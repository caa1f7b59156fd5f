"""A script's system calls on our sockets. A call that would block comes back as `BLOCKED` and is tried again."""

import errno
from collections.abc import Callable
from typing import Any, Final, NoReturn

from pytools.sim.drill.constants import CONSTANTS
from pytools.sim.drill.descriptors import Datagrams, Descriptor, Epoll, File, Pipe
from pytools.sim.drill.machine import Machine
from pytools.sim.drill.syntax import Anything, Call
from pytools.sim.drill.tcp_info import tcp_info
from pytools.sim.drill.values import MOST, MismatchError, UnknownError, Values
from pytools.stack import sockets as so
from pytools.stack.events import UdpReceived
from pytools.stack.sockets import StreamSocket
from pytools.stack.tcp import state as st
from pytools.units import MS, NEVER, SECOND, Ns

BLOCKED: Final = object()
_FLAGS_AT: Final = {"send": 3, "sendto": 3, "recv": 3, "recvfrom": 3, "sendmsg": 2, "recvmsg": 2}
_READS: Final = ("read", "recv", "recvfrom", "recvmsg", "readv", "accept", "accept4")
_ENDED: Final = (st.CLOSED, st.TIME_WAIT, st.FIN_WAIT_2)

_KEPT_OPTIONS: Final = frozenset(
    (level, CONSTANTS[name])
    for level, names in (
        (
            so.SOL_SOCKET,
            "SO_MARK SO_PRIORITY SO_RCVLOWAT SO_MAX_PACING_RATE SO_TIMESTAMPING SO_INCOMING_CPU SO_BROADCAST "
            "SO_DONTROUTE SO_TIMESTAMP SO_BUSY_POLL SO_ZEROCOPY SO_REUSEPORT SO_TXTIME",
        ),
        (so.IPPROTO_IP, "IP_FREEBIND IP_RECVERR IP_RECVTTL IP_RECVTOS IP_BIND_ADDRESS_NO_PORT IP_MTU_DISCOVER"),
        (so.IPPROTO_IPV6, "IPV6_RECVERR IPV6_RECVTCLASS IPV6_MTU_DISCOVER"),
        (
            so.IPPROTO_TCP,
            "TCP_THIN_LINEAR_TIMEOUTS TCP_THIN_DUPACK TCP_TX_DELAY TCP_SAVE_SYN TCP_NOTSENT_LOWAT TCP_INQ TCP_FASTOPEN "
            "TCP_FASTOPEN_KEY TCP_FASTOPEN_CONNECT TCP_FASTOPEN_NO_COOKIE TCP_WINDOW_CLAMP TCP_DEFER_ACCEPT",
        ),
    )
    for name in names.split()
)
"""Options that a socket of ours may not know: then the value is kept and read back, without effect."""


class Calls(Values):
    """The table of a script's descriptors and the calls on them."""

    def __init__(self, machine: Machine, defines: dict[str, str] | None = None) -> None:
        super().__init__(defines or {})
        self._machine = machine
        self.descriptors: dict[int, Any] = {}
        self.last: StreamSocket | None = None
        """The socket that was used last, which tcp_info is about."""
        self._kept: dict[tuple[int, int], Any] = {}
        """Options without a meaning here keep their values."""
        self._progress: dict[int, int] = {}
        """Octets that a blocking call has moved so far."""
        self._until: dict[int, Ns] = {}
        """When a waiting call gives up."""
        self._closing: dict[int, StreamSocket] = {}

    def run(self, call: Call) -> Any:
        """(result, errno name or None) or BLOCKED."""
        method: Callable[[Call], Any] | None = getattr(self, f"_do_{call.name}", None)
        if method is None:
            raise UnknownError(f"system call {call.name}() is not known")
        self._collect()
        result: Any
        try:
            result = method(call), None
        except BlockingIOError as error:
            if error.errno == errno.EAGAIN and self._waits(call):
                return BLOCKED
            result = self._give_up(call, error)
        except OSError as error:
            result = self._give_up(call, error)
        except (TypeError, ValueError, LookupError, AttributeError) as error:
            raise UnknownError(f"{call.name}(): this form of its arguments is not known ({error})") from error
        finally:
            self._machine.pump()
        for table in (self._progress, self._until):
            table.pop(id(call), None)
        return result

    def _give_up(self, call: Call, error: OSError) -> tuple[int, str | None]:
        """What was moved before the error counts; else the error."""
        moved = self._progress.get(id(call), 0)
        return (moved, None) if moved else (-1, errno.errorcode.get(error.errno or 0, "?"))

    def wake_at(self) -> Ns:
        """When the next waiting call gives up, or NEVER."""
        return min(self._until.values(), default=NEVER)

    def names(self) -> dict[str, Any]:
        """The words of assertions."""
        return tcp_info(self.last)

    def close(self) -> None:
        """Nothing outlives the script."""

    def _waits(self, call: Call) -> bool:
        """Whether a call that found nothing waits: its descriptor blocks and its time is not over."""
        if call.name in ("poll", "epoll_wait", "close"):
            return True
        number = self.value(call.arguments[0]) if call.arguments else None
        found = self.descriptors.get(number) if isinstance(number, int) else None
        if found is None or found.nonblocking:
            return False
        at = _FLAGS_AT.get(call.name)
        flags = self.value(call.arguments[at]) if at is not None and len(call.arguments) > at else 0
        if isinstance(flags, int) and flags & so.MSG_DONTWAIT:
            return False
        if isinstance(found, Descriptor):
            limit = found.receive_timeout_ns if call.name in _READS else found.send_timeout_ns
            return not limit or self._patient(call, limit)
        return True

    def _patient(self, call: Call, limit: Ns) -> bool:
        until = self._until.setdefault(id(call), self._machine.now + limit)
        return self._machine.now < until

    def _collect(self) -> None:
        """Datagrams that arrived go to their sockets."""
        events = self._machine.datagrams
        while events:
            event: UdpReceived = events.popleft()
            for found in self.descriptors.values():
                if isinstance(found, Datagrams) and found.port == event.dst_port:
                    found.waiting.append(event)

    # Descriptors.

    def _found(self, call: Call, index: int = 0) -> Any:
        number = self.value(call.arguments[index])
        if number not in self.descriptors:
            _fail(errno.EBADF)
        found = self.descriptors[number]
        if isinstance(found, Descriptor):
            self.last = found.socket
        return found

    def _descriptor(self, call: Call) -> Descriptor:
        found = self._found(call)
        if not isinstance(found, Descriptor):
            _fail(errno.ENOTSOCK if isinstance(found, File | Epoll) else errno.EOPNOTSUPP)
        return found

    def _socket(self, call: Call) -> StreamSocket:
        return self._descriptor(call).socket

    def _new(self, call: Call, found: Any) -> int:
        """The number that the script expects, else the next one."""
        number = self.value(call.result)
        if isinstance(number, Anything) or not isinstance(number, int) or number < 0:
            number = max(self.descriptors, default=2) + 1
        if number in self.descriptors:
            raise UnknownError(f"descriptor {number} is open already")
        self.descriptors[number] = found
        if isinstance(found, Descriptor):
            self.last = found.socket
        return number

    def _do_socket(self, call: Call) -> int:
        domain, kind, protocol = (self.value(argument) for argument in call.arguments)
        if isinstance(domain, Anything):
            domain = so.AF_INET if self._machine.family == 4 and not self._machine.mapped else so.AF_INET6
        nonblocking = bool(kind & CONSTANTS["SOCK_NONBLOCK"])
        if kind & 0xFF == CONSTANTS["SOCK_DGRAM"] and protocol in (0, CONSTANTS["IPPROTO_UDP"]):
            return self._new(call, Datagrams(nonblocking))
        if kind & 0xFF != 1 or (protocol not in (0, so.IPPROTO_TCP) and not isinstance(protocol, Anything)):
            raise UnknownError("only SOCK_STREAM with IPPROTO_TCP and SOCK_DGRAM with IPPROTO_UDP are known")
        return self._new(call, Descriptor(StreamSocket(self._machine.tcp, domain), nonblocking))

    def _do_bind(self, call: Call) -> int:
        address, port, _ = self.endpoint(call.arguments[1], self._machine.local)
        found = self._found(call)
        if isinstance(found, Datagrams):
            found.port = self._machine.stack.open_udp(port)
            return 0
        self._socket(call).bind(b"" if not any(address) else address, port)
        return 0

    def _do_listen(self, call: Call) -> int:
        self._socket(call).listen(self.number(call, 1))
        return 0

    def _do_accept(self, call: Call) -> int:
        child = self._socket(call).accept(self._machine.now)
        flags = self.value(call.arguments[3]) if call.name == "accept4" else 0
        return self._new(call, Descriptor(child, bool(flags & CONSTANTS["SOCK_NONBLOCK"])))

    _do_accept4 = _do_accept

    def _do_connect(self, call: Call) -> int:
        found = self._found(call)
        address, port, _ = self.endpoint(call.arguments[1], self._machine.remote)
        if isinstance(found, Datagrams):
            found.peer = (address, port)
            return 0
        socket = self._socket(call)
        waited = id(call) in self._progress
        if waited and socket.connecting:
            _again()
        if waited:
            code = socket.take_error()
            self._progress.pop(id(call))
            return _fail(code) if code else 0
        try:
            socket.connect((address, port), self._machine.now)
        except BlockingIOError as error:
            if found.nonblocking or error.errno == errno.EALREADY:
                raise
            self._progress[id(call)] = 0
            _again()
        return 0

    # Data.

    def _send(self, call: Call, data: bytes, flags: int) -> int:
        """A blocking send of more than there is room for waits until all of it is taken."""
        found = self._found(call)
        if isinstance(found, Datagrams):
            return self._send_datagram(found, call, data)
        socket = self._socket(call)
        if flags & CONSTANTS["MSG_FASTOPEN"] and not self._machine.tcp.config.fast_open:
            _fail(errno.EOPNOTSUPP)
        moved = self._progress.get(id(call), 0)
        if moved < len(data) or not data:
            moved += socket.send(data[moved:], self._machine.now, flags)
        if moved < len(data) and not found.nonblocking and not flags & so.MSG_DONTWAIT:
            self._progress[id(call)] = moved
            _again()
        return moved

    def _send_datagram(self, found: Datagrams, call: Call, data: bytes) -> int:
        peer = found.peer
        if call.name == "sendto" and isinstance(call.arguments[4], dict | Anything):
            address, port, _ = self.endpoint(call.arguments[4], self._machine.remote)
            peer = (address, port)
        if peer is None:
            _fail(errno.EDESTADDRREQ)
        found.port = found.port or self._machine.stack.open_udp(0)
        code = self._machine.stack.send_udp(found.port, peer[0], peer[1], data, self._machine.now)
        return _fail(code) if code else len(data)

    def _do_write(self, call: Call) -> int:
        return self._send(call, self.payload(call, 1), 0)

    def _do_send(self, call: Call) -> int:
        return self._send(call, self.payload(call, 1), self.number(call, 3))

    def _do_sendto(self, call: Call) -> int:
        return self._send(call, self.payload(call, 1), self.number(call, 3))

    def _do_writev(self, call: Call) -> int:
        return self._send(call, bytes(sum(self.vector(call.arguments[1]))), 0)

    def _do_sendmsg(self, call: Call) -> int:
        message = self.message(call)
        return self._send(call, bytes(sum(self.vector(message["msg_iov"]))), self.number(call, 2))

    def _do_sendfile(self, call: Call) -> int:
        """From a file that is all zeros."""
        if not isinstance(self._found(call, 1), File):
            _fail(errno.EINVAL)
        return self._send(call, bytes(min(self.number(call, 3), MOST)), 0)

    def _do_pipe(self, call: Call) -> int:
        """pipe([5, 6]): the reading end, the writing end."""
        held = [0]
        for number in self.value(call.arguments[0]):
            if number in self.descriptors:
                raise UnknownError(f"descriptor {number} is open already")
            self.descriptors[number] = Pipe(held)
        return 0

    def _do_splice(self, call: Call) -> int:
        """splice(from, NULL, to, NULL, size, flags) between a socket and a pipe."""
        source, target, size = self._found(call), self._found(call, 2), self.number(call, 4)
        if isinstance(source, Descriptor) and isinstance(target, Pipe):
            moved = len(source.socket.recv(size, self._machine.now))
            target.held[0] += moved
            return moved
        if isinstance(source, Pipe) and isinstance(target, Descriptor):
            moved = target.socket.send(bytes(min(size, source.held[0])), self._machine.now)
            source.held[0] -= moved
            return moved
        return _fail(errno.EINVAL)

    def _receive(self, call: Call, size: int, flags: int) -> int:
        found = self._found(call)
        if flags & CONSTANTS["MSG_ERRQUEUE"]:
            _again()
        if isinstance(found, Datagrams):
            return self._receive_datagram(found, size, flags)
        socket = self._socket(call)
        moved = self._progress.get(id(call), 0)
        data = socket.recv(size - moved, self._machine.now, flags)
        total = moved + len(data)
        all_of_it = flags & CONSTANTS["MSG_WAITALL"] and not flags & so.MSG_PEEK and not found.nonblocking
        if all_of_it and data and total < size:
            self._progress[id(call)] = total
            _again()
        return total

    def _receive_datagram(self, found: Datagrams, size: int, flags: int) -> int:
        if not found.waiting:
            _again()
        event = found.waiting[0] if flags & so.MSG_PEEK else found.waiting.popleft()
        return len(event.payload) if flags & CONSTANTS["MSG_TRUNC"] else min(size, len(event.payload))

    def _do_read(self, call: Call) -> int:
        return self._receive(call, self.number(call, 2), 0)

    def _do_recv(self, call: Call) -> int:
        return self._receive(call, self.number(call, 2), self.number(call, 3))

    _do_recvfrom = _do_recv

    def _do_readv(self, call: Call) -> int:
        return self._receive(call, sum(self.vector(call.arguments[1])), 0)

    def _do_recvmsg(self, call: Call) -> int:
        size = sum(self.vector(self.message(call)["msg_iov"]))
        return self._receive(call, size, self.number(call, 2))

    # Ending.

    def _do_shutdown(self, call: Call) -> int:
        self._socket(call).shutdown(self.number(call, 1), self._machine.now)
        return 0

    def _do_close(self, call: Call) -> int:
        """With SO_LINGER and a time, it waits until all is acknowledged or the time is over."""
        if (socket := self._closing.get(id(call))) is not None:
            connection = socket.connection
            if connection is not None and connection.state not in _ENDED and self._patient(call, 0):
                _again()
            return 0
        number = self.value(call.arguments[0])
        found = self._found(call)
        del self.descriptors[number]
        for other in self.descriptors.values():
            if isinstance(other, Epoll):
                other.entries.pop(number, None)
                other.forget(number)
        if isinstance(found, Datagrams):
            self._machine.stack.close_udp(found.port)
        if not isinstance(found, Descriptor):
            return 0
        found.socket.close(self._machine.now)
        onoff, seconds = found.socket.linger
        if onoff and seconds and found.socket.connection is not None:
            self._closing[id(call)] = found.socket
            self._until[id(call)] = self._machine.now + seconds * SECOND
            self._machine.pump()
            return self._do_close(call)
        return 0

    # Options.

    def _do_setsockopt(self, call: Call) -> int:
        _, level, name, value = (self.value(argument) for argument in call.arguments[:4])
        value, found = self.linger(value), self._found(call)
        if isinstance(found, Descriptor) and (level, name) in _TIMEOUTS:
            seconds, microseconds = value if isinstance(value, tuple) else (value, 0)
            setattr(found, _TIMEOUTS[level, name], (seconds * 1_000_000 + microseconds) * 1000)
            return 0
        if isinstance(found, Descriptor):
            try:
                self._socket(call).setsockopt(level, name, value, self._machine.now)
                return 0
            except OSError as error:
                if error.errno != errno.ENOPROTOOPT or (level, name) not in _KEPT_OPTIONS:
                    raise
        self._kept[level, name] = value
        return 0

    def _do_getsockopt(self, call: Call) -> int:
        _, level, name, wanted = (self.value(argument) for argument in call.arguments[:4])
        found: Any
        if (level, name) in self._kept:
            found = self._kept[level, name]
        else:
            found = self._socket(call).getsockopt(level, name)
        if isinstance(wanted, dict):
            wanted = self.linger(wanted)
        if isinstance(wanted, list) and wanted:
            wanted = wanted[0]
        if isinstance(wanted, str | int | tuple) and wanted != found:
            raise MismatchError(f"expected [{option_word(name, wanted)}], found [{option_word(name, found)}]")
        return 0

    def _do_fcntl(self, call: Call) -> int:
        found = self._found(call)
        command = self.value(call.arguments[1])
        if command == CONSTANTS["F_SETFL"]:
            found.nonblocking = bool(self.value(call.arguments[2]) & CONSTANTS["O_NONBLOCK"])
            return 0
        if command == CONSTANTS["F_GETFL"]:
            return CONSTANTS["O_RDWR"] | (CONSTANTS["O_NONBLOCK"] if found.nonblocking else 0)
        return 0

    def _do_ioctl(self, call: Call) -> int:
        connection = self._socket(call).connection
        request, wanted = self.value(call.arguments[1]), self.value(call.arguments[2])
        if connection is None:
            _fail(errno.EINVAL)
        sender = connection.tx.sender
        ended = connection.receiver.fin_arrived() and not connection.receiver.queued
        found = {
            CONSTANTS["SIOCINQ"]: connection.receiver.queued,
            CONSTANTS["SIOCOUTQ"]: 0
            if ended and sender.fin_seq < sender.snd_una
            else sender.write_seq - sender.snd_una,
            CONSTANTS["SIOCOUTQNSD"]: sender.unsent,
        }.get(request)
        if found is None:
            raise UnknownError("this ioctl() is not known")
        if isinstance(wanted, list) and wanted and wanted[0] != found:
            raise MismatchError(f"expected [{wanted[0]}], found [{found}]")
        return 0

    def _do_open(self, call: Call) -> int:
        return self._new(call, File())

    # Waiting for several.

    def _do_poll(self, call: Call) -> int:
        """poll([{fd=3, events=POLLIN, revents=POLLIN}], 1, timeout): a timeout of 0 asks, another one waits."""
        timeout = self.number(call, 2)
        found = [self._poll_entry(entry) for entry in call.arguments[0]]
        if not any(bits for _, bits, _ in found) and timeout:
            self._wait(call, timeout)
        for number, bits, wanted in found:
            if isinstance(wanted, int) and wanted != bits:
                raise MismatchError(f"revents of {number}: expected {wanted:#x}, found {bits:#x}")
        return sum(bits != 0 for _, bits, _ in found)

    def _poll_entry(self, entry: Any) -> tuple[int, int, Any]:
        number, events = self.value(entry["fd"]), self.value(entry["events"])
        wanted = self.value(entry.get("revents", 0))
        if number not in self.descriptors:
            return number, CONSTANTS["POLLNVAL"], wanted
        return number, self.descriptors[number].poll() & (events | so.POLLERR | so.POLLHUP), wanted

    def _wait(self, call: Call, timeout_ms: int) -> None:
        """BLOCKED until the time is over; a negative one never ends."""
        if timeout_ms < 0:
            _again()
        if self._patient(call, timeout_ms * MS):
            _again()

    def _do_epoll_create(self, call: Call) -> int:
        return self._new(call, Epoll())

    _do_epoll_create1 = _do_epoll_create

    def _epoll(self, call: Call) -> Epoll:
        found = self._found(call)
        if not isinstance(found, Epoll):
            _fail(errno.EINVAL)
        return found

    def _do_epoll_ctl(self, call: Call) -> int:
        epoll, operation, number = self._epoll(call), self.number(call, 1), self.number(call, 2)
        if number not in self.descriptors:
            _fail(errno.EBADF)
        known = number in epoll.entries
        if operation == CONSTANTS["EPOLL_CTL_ADD"] and known:
            _fail(errno.EEXIST)
        if operation != CONSTANTS["EPOLL_CTL_ADD"] and not known:
            _fail(errno.ENOENT)
        epoll.forget(number)
        if operation == CONSTANTS["EPOLL_CTL_DEL"]:
            del epoll.entries[number]
            return 0
        event = call.arguments[3]
        rest = [self.value(value) for key, value in event.items() if key != "events"]
        epoll.entries[number] = (self.value(event["events"]), rest[0] if rest else number)
        return 0

    def _do_epoll_wait(self, call: Call) -> int:
        epoll, limit, timeout = self._epoll(call), self.number(call, 2), self.number(call, 3)
        ready: list[tuple[int, Any]] = []
        for number, (_, data) in list(epoll.entries.items()):
            found = self.descriptors[number]
            bits, stamp = found.poll(), _stamp(found)
            news = epoll.ready(number, bits, stamp)
            if news and len(ready) < limit:
                ready.append((news, data))
                epoll.reported(number, news, stamp)
            elif not news and not bits & epoll.entries[number][0]:
                epoll.reported(number, 0, stamp)
        if not ready and timeout:
            self._wait(call, timeout)
        self._check_epoll(call.arguments[1], ready)
        return len(ready)

    def _check_epoll(self, wanted: Any, ready: list[tuple[int, Any]]) -> None:
        entries = wanted if isinstance(wanted, list) else [wanted]
        for entry, (bits, data) in zip(entries, ready, strict=False):
            if not isinstance(entry, dict):
                continue
            events = self.value(entry["events"])
            if events != bits:
                raise MismatchError(f"events of {data}: expected {events:#x}, found {bits:#x}")


_TIMEOUTS: Final = {
    (so.SOL_SOCKET, CONSTANTS["SO_RCVTIMEO"]): "receive_timeout_ns",
    (so.SOL_SOCKET, CONSTANTS["SO_SNDTIMEO"]): "send_timeout_ns",
}


def _stamp(found: Any) -> int:
    """A number that moves with each thing that wakes a poller: data that arrived, room that was made."""
    connection = found.socket.connection if isinstance(found, Descriptor) else None
    if connection is None:
        return 0
    return int(connection.receiver.rcv_nxt)


def option_word(name: int, value: Any) -> str:
    """An option's value for a message: errors by their names."""
    return errno.errorcode.get(value, str(value)) if name == so.SO_ERROR and value else str(value)


def _fail(code: int) -> NoReturn:
    raise OSError(code, errno.errorcode.get(code, "?"))


def _again() -> NoReturn:
    raise BlockingIOError(errno.EAGAIN, "EAGAIN")
