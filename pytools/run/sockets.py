"""Blocking stream sockets on our own stack: they behave as `socket.socket` does for TCP clients and servers.

A `Socket` is made by `SocketHost.socket` and used as one of the standard library. Where that raises, this raises the
same exception with the same errno. What it has not: dup, share, ioctl, ancillary data, and descriptors that may be read
or written directly.
"""

import errno
import os
import socket
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeVar

from pytools.run import sockets_address as addresses
from pytools.run import sockets_options as options
from pytools.run.sockets_pump import Readiness, worded
from pytools.stack import sockets as so
from pytools.stack.sockets import StreamSocket
from pytools.stack.tcp import state as st
from pytools.stack.tcp.info import TcpInfo
from pytools.units import NEVER, SECOND, Ns

if TYPE_CHECKING:
    from pytools.run.host import SocketHost

T = TypeVar("T")
Buffer = Any
"""Whatever `memoryview` takes."""

_IP_HEADERS: Final = {so.AF_INET: 40, so.AF_INET6: 60}
SENDFILE_BLOCK: Final = 65536


class Socket:
    """One TCP socket of a `SocketHost`."""

    __slots__ = (
        "__weakref__",
        "_closed",
        "_host",
        "_io_refs",
        "_pump",
        "_readiness",
        "_stream",
        "_timeout",
        "family",
        "proto",
        "type",
    )

    def __init__(
        self,
        host: "SocketHost",
        family: int = socket.AF_INET,
        type: int = socket.SOCK_STREAM,
        proto: int = 0,
        *,
        stream: StreamSocket | None = None,
    ) -> None:
        """`stream`: wrap this one instead of a new one."""
        if family not in (socket.AF_INET, socket.AF_INET6):
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        kind = type & ~(socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        if kind != socket.SOCK_STREAM:
            raise OSError(errno.ESOCKTNOSUPPORT, os.strerror(errno.ESOCKTNOSUPPORT))
        if proto not in (0, socket.IPPROTO_TCP):
            raise OSError(errno.EPROTONOSUPPORT, os.strerror(errno.EPROTONOSUPPORT))
        self.family = socket.AddressFamily(family)
        self.type = socket.SocketKind(kind)
        self.proto = proto
        self._host = host
        self._pump = host.pump
        self._stream = stream or StreamSocket(host.tcp, int(family))
        self._timeout: float | None = 0.0 if type & socket.SOCK_NONBLOCK else socket.getdefaulttimeout()
        self._io_refs = 0
        self._closed = False
        self._readiness: Readiness | None = None

    def __repr__(self) -> str:
        closed = " [closed]" if self._closed else ""
        return f"<{self.__class__.__qualname__}{closed} family={self.family!s}, laddr={self._stream.local()}>"

    def __enter__(self) -> "Socket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._closed:
            self.close()

    # -- how calls wait ------------------------------------------------------------------------------------------------

    def _now(self, operation: Callable[[Ns], T]) -> T:
        """Run a call that never waits."""
        with self._host.calls:
            self._check_open()
            self._pump.look()
            try:
                return operation(self._pump.now())
            except OSError as error:
                raise worded(error) from None

    def _check_open(self) -> None:
        if self._stream.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def _wait(self, operation: Callable[[Ns], T], deadline: Ns | None = None) -> T:
        """Run a call; while it would block, let things happen. TimeoutError, BlockingIOError."""
        pump = self._pump
        with self._host.calls:
            if deadline is None:
                deadline = pump.deadline(self._timeout)
            pump.look()
            while True:
                self._check_open()
                try:
                    return operation(pump.now())
                except BlockingIOError as error:
                    if self._timeout == 0:
                        raise worded(error) from None
                except OSError as error:
                    raise worded(error) from None
                if not pump.rest(deadline):
                    raise TimeoutError("timed out")

    # -- opening -------------------------------------------------------------------------------------------------------

    def bind(self, address: Any) -> None:
        """Name the local end."""
        local = addresses.parse(self.family, address, "bind")
        self._now(lambda now: self._stream.bind(*local))

    def listen(self, backlog: int = 128) -> None:
        """Take connections. A backlog below 0 counts as 0."""
        self._now(lambda now: self._stream.listen(max(backlog, 0)))

    def accept(self) -> tuple["Socket", Any]:
        """The next connection and its peer's address."""
        stream = self._wait(self._stream.accept)
        assert stream.connection is not None
        child = Socket(self._host, self.family, self.type, self.proto, stream=stream)
        if socket.getdefaulttimeout() is None:
            child._timeout = None
        return child, addresses.format_endpoint(self.family, stream.connection.key[2:])

    def accept_stream(self) -> StreamSocket:
        """The next connection as the stack's own socket, or BlockingIOError at once."""
        return self._now(self._stream.accept)

    def listener(self) -> object:
        """What `SocketHost.listeners` knows a listening socket by."""
        return self._stream.listener

    def connect(self, address: Any) -> None:
        """Open a connection."""
        self._connect(address, "connect")

    def _connect(self, address: Any, call: str) -> None:
        remote = _to_loopback(addresses.parse(self.family, address, call), self.family)
        with self._host.calls:
            self._check_open()
            deadline = self._pump.deadline(self._timeout)
            try:
                self._stream.connect(remote, self._pump.now())
                return
            except BlockingIOError as error:
                if self._timeout == 0:
                    raise worded(error) from None
            except OSError as error:
                raise worded(error) from None
            self._host.settle()
            while self._stream.connecting:
                if not self._pump.rest(deadline):
                    raise TimeoutError("timed out")
            self._finish_connect(remote)

    def _finish_connect(self, remote: addresses.Endpoint) -> None:
        """The handshake is over: with a time limit CPython asks SO_ERROR, else the call itself tells."""
        if self._timeout is not None:
            if code := self._stream.take_error():
                raise OSError(code, os.strerror(code))
            return
        try:
            self._stream.connect(remote, self._pump.now())
        except OSError as error:
            raise worded(error) from None

    def connect_ex(self, address: Any) -> int:
        """As `connect`, with the errno as the result (EAGAIN when the time is up)."""
        try:
            self._connect(address, "connect_ex")
        except TimeoutError as error:
            return error.errno or errno.EAGAIN
        except OSError as error:
            if error.errno is None or isinstance(error, socket.gaierror):
                raise
            return error.errno
        return 0

    # -- data ----------------------------------------------------------------------------------------------------------

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send; returns how many octets were taken. All of them when there is no time limit."""
        octets = _immutable(data)
        if self._timeout is not None or flags & so.MSG_DONTWAIT:
            return self._send_some(octets, flags, None)
        return self._send_all(octets, flags, NEVER)

    def _send_some(self, octets: memoryview, flags: int, deadline: Ns | None) -> int:
        # The stack keeps what it is given without a copy: a view of bytes does as well as bytes.
        return self._wait(lambda now: self._stream.send(octets, now, flags), deadline)  # type: ignore[arg-type]

    def _send_all(self, octets: memoryview, flags: int, deadline: Ns) -> int:
        sent = self._send_some(octets, flags, deadline)
        while sent < len(octets):
            sent += self._send_some(octets[sent:], flags, deadline)
        return sent

    def sendall(self, data: Buffer, flags: int = 0) -> None:
        """Send everything, or raise; the time limit is for the whole call."""
        with self._host.calls:
            deadline = self._pump.deadline(self._timeout)
        self._send_all(_immutable(data), flags, deadline)

    def sendto(self, data: Buffer, *arguments: Any) -> int:
        """As `send`: sendto(data, address) or sendto(data, flags, address); TCP ignores the address."""
        return self.send(data, arguments[0] if len(arguments) > 1 else 0)

    def sendmsg(self, buffers: Iterable[Buffer], ancdata: Any = (), flags: int = 0, address: Any = None) -> int:
        """As `send`, from several buffers. No ancillary data."""
        if tuple(ancdata):
            raise OSError(errno.EINVAL, "ancillary data is not known here")
        return self.send(b"".join(bytes(memoryview(one)) for one in buffers), flags)

    def sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        """Send a file opened in binary mode from `offset`; returns how many octets. ValueError as socket.sendfile."""
        if "b" not in getattr(file, "mode", "b"):
            raise ValueError("file should be opened in binary mode")
        if count is not None and count <= 0:
            raise ValueError(f"count must be a positive integer (got {count!r})")
        if self._timeout == 0:
            raise ValueError("non-blocking sockets are not supported")
        if offset:
            file.seek(offset)
        sent = 0
        while count is None or sent < count:
            block = file.read(SENDFILE_BLOCK if count is None else min(SENDFILE_BLOCK, count - sent))
            if not block:
                break
            self.sendall(block)
            sent += len(block)
        if hasattr(file, "seek"):
            file.seek(offset + sent)
        return sent

    def recv(self, bufsize: int, flags: int = 0) -> bytes:
        """Up to `bufsize` octets, b"" at the end of the stream."""
        if bufsize < 0:
            raise ValueError("negative buffersize in recv")
        if not bufsize:
            return b""
        if flags & so.MSG_WAITALL and not flags & so.MSG_PEEK:
            return self._recv_all(bufsize, flags)
        return bytes(self._recv(bufsize, flags))

    def _recv(self, size: int, flags: int) -> bytes:
        if flags & so.MSG_DONTWAIT:
            return self._now(lambda now: self._stream.recv(size, now, flags))
        return self._wait(lambda now: self._stream.recv(size, now, flags))

    def _recv_all(self, size: int, flags: int) -> bytes:
        """MSG_WAITALL: less only at the end of the stream."""
        parts: list[bytes] = []
        while size > 0 and (part := self._recv(size, flags)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def recv_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> int:
        """As `recv`, into a writable buffer; returns how many octets."""
        view = memoryview(buffer).cast("B")
        if nbytes < 0:
            raise ValueError("negative buffersize in recv_into")
        if nbytes > len(view):
            raise ValueError("buffer too small for requested bytes")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def recvfrom(self, bufsize: int, flags: int = 0) -> tuple[bytes, None]:
        """As `recv`; TCP tells no address."""
        return self.recv(bufsize, flags), None

    def recvfrom_into(self, buffer: Buffer, nbytes: int = 0, flags: int = 0) -> tuple[int, None]:
        """As `recv_into`; TCP tells no address."""
        return self.recv_into(buffer, nbytes, flags), None

    def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0) -> tuple[bytes, list[Any], int, None]:
        """As `recv`; there is no ancillary data."""
        return self.recv(bufsize, flags), [], 0, None

    def makefile(self, mode: str = "r", buffering: int | None = None, **how: Any) -> Any:
        """A file object on this socket, as `socket.socket.makefile` makes it; the connection lives until all close."""
        # The standard library's own code: it needs recv_into, send and the two counters below.
        return socket.socket.makefile(self, mode, buffering, **how)  # type: ignore[call-overload]

    # -- ending --------------------------------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """Half-close."""
        if how not in (socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._now(lambda now: self._stream.shutdown(how, now))

    def close(self) -> None:
        """The socket is gone for this program; what is queued goes out as long as the host is turned."""
        self._closed = True
        if self._io_refs <= 0:
            self._real_close()

    def _decref_socketios(self) -> None:
        """A file object of `makefile` was closed (called by socket.SocketIO)."""
        if self._io_refs > 0:
            self._io_refs -= 1
        if self._closed:
            self.close()

    def _real_close(self) -> None:
        stream = self._stream
        if stream.closed:
            return
        self._now(stream.close)
        self._forget_descriptor()
        on, seconds = stream.linger
        if on and seconds and self._timeout != 0:
            self._linger(stream, seconds)

    def _linger(self, stream: StreamSocket, seconds: int) -> None:
        """SO_LINGER: wait until the peer has everything, for so long at most."""
        with self._host.calls:
            deadline = self._pump.now() + seconds * SECOND
            while stream.connection is not None and stream.connection.state in _UNDELIVERED:
                if not self._pump.rest(deadline):
                    break

    def detach(self) -> int:
        """Give up this object but not the connection; `SocketHost.socket(fileno=...)` takes it up again."""
        number = self.fileno()
        if number >= 0:
            self._host.detached[number] = (self._stream, self._readiness)
            self._readiness = None
            self._stream = StreamSocket(self._host.tcp, int(self.family))
            self._stream.close(self._pump.now())
        self._closed = True
        return number

    def adopt_descriptor(self, readiness: Readiness | None) -> None:
        """Take over the descriptor of a detached socket."""
        self._readiness = readiness

    # -- what is going on ----------------------------------------------------------------------------------------------

    def fileno(self) -> int:
        """A descriptor for select, poll and epoll only; -1 when closed. A background thread turns the host then."""
        if self._stream.closed:
            return -1
        if self._readiness is None:
            self._pump.use_thread()
            with self._host.calls:
                self._readiness = Readiness(self._stream.poll)
                self._pump.watched[self._readiness.fileno()] = self._readiness
        return self._readiness.fileno()

    def _forget_descriptor(self) -> None:
        if self._readiness is not None:
            with self._pump.lock:
                self._pump.watched.pop(self._readiness.fileno(), None)
                self._readiness.close()
                self._readiness = None

    def poll(self) -> int:
        """POLLIN, POLLOUT, POLLERR, POLLHUP and POLLRDHUP as poll(2) would give them now, without a descriptor."""
        return self._now(lambda now: self._stream.poll())

    def events(self) -> int:
        """`poll` for callers that are inside `SocketHost.calls` already."""
        return self._stream.poll()

    def getsockname(self) -> Any:
        """The local address."""
        return addresses.format_endpoint(self.family, self._now(lambda now: self._stream.local()))

    def getpeername(self) -> Any:
        """The peer's address."""
        return addresses.format_endpoint(self.family, self._now(lambda now: self._stream.peer()))

    def now(self) -> Ns:
        """The clock that this socket lives by, in nanoseconds."""
        return self._pump.now()

    def info(self) -> TcpInfo:
        """TCP_INFO with names and nanoseconds."""
        return self._now(self._info)

    def _info(self, now: Ns) -> TcpInfo:
        if self._stream.connection is None and not self._stream.closed:
            return TcpInfo(state=st.LISTEN if self._stream.listener is not None else st.CLOSED, options={}, ca_state="")
        return self._stream.info()

    # -- settings ------------------------------------------------------------------------------------------------------

    def settimeout(self, value: float | None) -> None:
        """Seconds that a call may take; None: for ever, 0: non-blocking."""
        if value is not None and value < 0:
            raise ValueError("Timeout value out of range")
        self._timeout = None if value is None else float(value)

    def gettimeout(self) -> float | None:
        """What `settimeout` set."""
        return self._timeout

    @property
    def timeout(self) -> float | None:
        """What `settimeout` set."""
        return self._timeout

    def setblocking(self, flag: bool) -> None:
        """True: calls wait for ever. False: they never wait."""
        self._timeout = None if flag else 0.0

    def getblocking(self) -> bool:
        """Whether calls wait."""
        return self._timeout != 0

    def get_inheritable(self) -> bool:
        """Never: a child process has no stack."""
        return False

    def setsockopt(self, level: int, optname: int, value: Any, optlen: int | None = None) -> None:
        """Set an option by an int or by octets."""
        if value is None:
            value = bytes(optlen or 0)

        def change(now: Ns) -> None:
            self._stream.setsockopt(level, optname, options.parse(level, optname, value), now)

        self._now(change)

    def getsockopt(self, level: int, optname: int, buflen: int = 0) -> Any:
        """An option as an int, or as at most `buflen` octets. TCP_INFO is Linux' struct tcp_info."""

        def read(now: Ns) -> Any:
            if (level, optname) == (so.IPPROTO_TCP, so.TCP_INFO):
                info = self._info(now)
                info.pmtu += _IP_HEADERS[int(self.family)] if info.pmtu else 0
                return info
            return self._stream.getsockopt(level, optname)

        if not 0 <= buflen <= 1024:
            raise OSError("getsockopt buflen out of range")
        value = self._now(read)
        return options.as_octets(value)[:buflen] if buflen else options.as_int(value)


_UNDELIVERED: Final = frozenset((st.ESTABLISHED, st.FIN_WAIT_1, st.CLOSING, st.LAST_ACK, st.CLOSE_WAIT))


def _immutable(data: Buffer) -> memoryview:
    """The octets as they are now: the stack keeps them until they are acknowledged."""
    if isinstance(data, str):
        raise TypeError("a bytes-like object is required, not 'str'")
    if isinstance(data, bytes):
        return memoryview(data)
    return memoryview(bytes(memoryview(data)))


def _to_loopback(remote: addresses.Endpoint, family: int) -> addresses.Endpoint:
    """A connect to the unspecified address means this host (RFC 1122 3.2.1.3, Linux)."""
    if remote[0]:
        return remote
    return (b"\x7f\0\0\1" if family == so.AF_INET else bytes(15) + b"\1"), remote[1]
