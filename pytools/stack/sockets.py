"""Stream sockets with the errors of Linux, non-blocking, sans-IO (socket(7), tcp(7)).

Every call takes `now`. A call that would block raises OSError with EAGAIN, `connect` with EINPROGRESS; `run` adds
waiting, drill adds script time. Constants are Linux' numbers, since `socket` is not imported here.
"""

import errno
from typing import Final, NoReturn

from pytools.stack.tcp import state as st
from pytools.stack.tcp.congestion.base import NAMES as CONGESTION_NAMES
from pytools.stack.tcp.congestion.base import make as make_congestion
from pytools.stack.tcp.connection import Connection
from pytools.stack.tcp.info import TcpInfo
from pytools.stack.tcp.listener import Listener
from pytools.stack.tcp.ports import Binding
from pytools.stack.tcp.tcp import Tcp
from pytools.units import MS, SECOND, Ns

AF_INET: Final = 2
AF_INET6: Final = 10
SOL_SOCKET: Final = 1
IPPROTO_IP: Final = 0
IPPROTO_TCP: Final = 6
IPPROTO_IPV6: Final = 41
SHUT_RD, SHUT_WR, SHUT_RDWR = 0, 1, 2

SO_REUSEADDR: Final = 2
SO_TYPE: Final = 3
SO_ERROR: Final = 4
SO_SNDBUF: Final = 7
SO_RCVBUF: Final = 8
SO_KEEPALIVE: Final = 9
SO_OOBINLINE: Final = 10
SO_LINGER: Final = 13
SO_REUSEPORT: Final = 15
SO_ACCEPTCONN: Final = 30
SO_PROTOCOL: Final = 38
SO_DOMAIN: Final = 39

TCP_NODELAY: Final = 1
TCP_MAXSEG: Final = 2
TCP_CORK: Final = 3
TCP_KEEPIDLE: Final = 4
TCP_KEEPINTVL: Final = 5
TCP_KEEPCNT: Final = 6
TCP_SYNCNT: Final = 7
TCP_LINGER2: Final = 8
TCP_DEFER_ACCEPT: Final = 9
TCP_WINDOW_CLAMP: Final = 10
TCP_INFO: Final = 11
TCP_QUICKACK: Final = 12
TCP_CONGESTION: Final = 13
TCP_USER_TIMEOUT: Final = 18
IP_TOS: Final = 1
IP_TTL: Final = 2
IPV6_UNICAST_HOPS: Final = 16
IPV6_V6ONLY: Final = 26
IPV6_TCLASS: Final = 67

MSG_OOB: Final = 1
MSG_PEEK: Final = 2
MSG_DONTWAIT: Final = 0x40
MSG_WAITALL: Final = 0x100
MSG_MORE: Final = 0x8000

POLLIN: Final = 1
POLLPRI: Final = 2
POLLOUT: Final = 4
POLLERR: Final = 8
POLLHUP: Final = 0x10
POLLRDHUP: Final = 0x2000

Endpoint = tuple[bytes, int]


def _fail(code: int) -> NoReturn:
    raise OSError(code, errno.errorcode.get(code, "?"))


class StreamSocket:
    """One TCP socket: fresh, bound, connecting, connected, listening or closed."""

    __slots__ = (
        "_binding",
        "_bound",
        "_closed",
        "_owns_config",
        "_pending_error",
        "_unreported",
        "config",
        "connection",
        "cork",
        "family",
        "keepalive",
        "linger",
        "listener",
        "reuse_address",
        "reuse_port",
        "tcp",
        "urgent_inline",
        "user_timeout_ms",
        "v6only",
    )

    def __init__(self, tcp: Tcp, family: int = AF_INET) -> None:
        self.tcp = tcp
        self.family = family
        self.config = tcp.config
        self._owns_config = False
        """Settings are shared until the first one is changed."""
        self.connection: Connection | None = None
        self.listener: Listener | None = None
        self.cork = False
        self.keepalive = False
        self.linger: tuple[int, int] = (0, 0)
        """(onoff, seconds) of SO_LINGER."""
        self.reuse_address = False
        self.reuse_port = False
        self.urgent_inline = False
        self.v6only = False
        self.user_timeout_ms = 0
        self._bound: Endpoint | None = None
        self._binding: Binding | None = None
        self._closed = False
        self._pending_error = 0
        self._unreported = False
        """No `connect` call has returned success yet for the present handshake."""

    # Opening.

    def bind(self, address: bytes, port: int) -> None:
        """Name the local end; b"" is any address, 0 any port. EINVAL, EADDRINUSE, EADDRNOTAVAIL."""
        if self._bound is not None or self.connection is not None:
            _fail(errno.EINVAL)
        self._claim(address, port)

    def _claim(self, address: bytes, port: int) -> None:
        """Bind: nobody else gets the port until this socket is closed."""
        reuse = self.reuse_address
        claimed = self.tcp.bind(address, port, self._bound_family(address), reuse=reuse, reuse_port=self.reuse_port)
        if isinstance(claimed, int):
            _fail(claimed)
        self._binding = claimed
        self._bound = (address, claimed.port)

    def _bound_family(self, address: bytes) -> int:
        """4, 6, or 0 for both."""
        if address:
            return 4 if len(address) == 4 else 6
        return 4 if self.family == AF_INET else (6 if self.v6only else 0)

    def connect(self, remote: Endpoint, now: Ns) -> None:
        """Active OPEN. EINPROGRESS at first, then EALREADY, at last EISCONN or the error."""
        if self.listener is not None:
            _fail(errno.EISCONN)
        if self.connection is not None:
            self._connect_again()
            return
        opened = self.tcp.connect(self._bound, remote, now, self.config)
        if isinstance(opened, int):
            _fail(opened)
        self.connection = opened
        self._adopt_options(now)
        self._unreported = True
        _fail(errno.EINPROGRESS)

    def _connect_again(self) -> None:
        """As Linux: the call that finds the handshake over succeeds once."""
        connection = self.connection
        assert connection is not None
        if connection.state in (st.SYN_SENT, st.SYN_RECEIVED):
            _fail(errno.EALREADY)
        if connection.state is st.CLOSED and connection.tx.sender.snd_una == connection.tx.sender.iss:
            # As Linux: the failure is told, ECONNABORTED if SO_ERROR has told it; then the socket is fresh again.
            code = errno.ECONNABORTED if self._pending_error == -1 else connection.error or errno.ECONNABORTED
            self.connection, self._pending_error = None, 0
            _fail(code)
        if not self._unreported:
            _fail(errno.EISCONN)
        self._unreported = False

    def _adopt_options(self, now: Ns) -> None:
        connection = self.connection
        assert connection is not None
        connection.owner = self
        if self.keepalive:
            connection.set_keepalive(True, now)
        connection.linger_ns = self.linger[1] * SECOND if self.linger[0] else None
        connection.user_timeout_ns = self.user_timeout_ms * MS
        connection.receiver.urgent_inline = self.urgent_inline
        connection.tx.sender.cork = self.cork

    def listen(self, backlog: int) -> None:
        """Passive OPEN. EINVAL when connected, EADDRINUSE."""
        if self.connection is not None:
            _fail(errno.EINVAL)
        if self.listener is not None:
            self.listener.set_backlog(backlog)
            return
        if self._binding is None:
            self._claim(b"", 0)
        assert self._bound is not None
        assert self._binding is not None
        address, port = self._bound
        opened: Listener | int = errno.EADDRINUSE
        if not self.tcp.ports.conflict(self._binding):
            opened = self.tcp.listen(address, port, backlog, self._bound_family(address), self.config)
        if isinstance(opened, int):
            _fail(opened)
        self._binding.listening = True
        self.listener = opened

    def accept(self, now: Ns) -> "StreamSocket":
        """The next connection. EAGAIN when there is none, EINVAL when not listening."""
        if self.listener is None:
            _fail(errno.EINVAL)
        connection = self.tcp.accept(self.listener)
        if connection is None:
            _fail(errno.EAGAIN)
        child = StreamSocket(self.tcp, self.family)
        child.config = connection.config
        child.connection = connection
        child.keepalive, child.linger, child.urgent_inline = self.keepalive, self.linger, self.urgent_inline
        child.user_timeout_ms = self.user_timeout_ms
        child._bound = connection.key[:2]
        child._adopt_options(now)
        return child

    # Data.

    def send(self, data: bytes, now: Ns, flags: int = 0) -> int:
        """Queue data; returns how many octets. EAGAIN, EPIPE, ENOTCONN, ECONNRESET, ETIMEDOUT ..."""
        connection = self.connection
        if self._closed:
            _fail(errno.EBADF)
        if connection is None:
            _fail(errno.EPIPE)
        if connection.state in (st.SYN_SENT, st.SYN_RECEIVED):
            _fail(errno.EAGAIN)
        if connection.state not in st.CAN_SEND:
            self._raise_error(connection, errno.EPIPE)
        sender = connection.tx.sender
        taken = connection.write(data, now)
        if flags & MSG_OOB and taken:
            sender.snd_up, sender.urgent = sender.write_seq, True
        sender.more = bool(flags & MSG_MORE)
        if taken:
            self.tcp.touch(connection, now)
        elif data:
            _fail(errno.EAGAIN)
        return taken

    def recv(self, size: int, now: Ns, flags: int = 0) -> bytes:
        """Up to `size` octets; b"" at the end of the peer's data. EAGAIN, ENOTCONN, ECONNRESET ..."""
        connection = self._connected()
        if flags & MSG_OOB:
            return self._recv_urgent(connection)
        if flags & MSG_PEEK:
            data = connection.receiver.peek(size)
        else:
            data = connection.read(size, now)
            if data:
                self.tcp.touch(connection, now)
        if data or not size:
            return data
        if connection.receiver.fin_arrived():
            return b""  # the end of the stream, whatever came after it
        if connection.state is st.CLOSED and connection.error and not self._reported(connection):
            self._raise_error(connection, errno.ENOTCONN)
        if connection.at_end:
            return b""
        _fail(errno.EAGAIN)

    def _recv_urgent(self, connection: Connection) -> bytes:
        """MSG_OOB: the urgent octet. EINVAL when there is none, EAGAIN when it is announced only."""
        octet = connection.receiver.read_urgent()
        if octet is None:
            _fail(errno.EINVAL)
        if not octet:
            _fail(errno.EAGAIN)
        return octet

    def at_mark(self) -> bool:
        """SIOCATMARK: the next octet is the urgent one (or would be, had it not been taken out of line)."""
        return self._connected().receiver.at_mark

    def _reported(self, connection: Connection) -> bool:
        return self._pending_error == -1

    def _connected(self) -> Connection:
        if self._closed:
            _fail(errno.EBADF)
        if self.connection is None:
            _fail(errno.ENOTCONN)
        return self.connection

    def _raise_error(self, connection: Connection, otherwise: int) -> NoReturn:
        """The connection's error once, then what a dead socket says."""
        if connection.error and self._pending_error != -1:
            self._pending_error = -1
            _fail(connection.error)
        _fail(otherwise)

    # Ending.

    def shutdown(self, how: int, now: Ns) -> None:
        """Half-close. ENOTCONN."""
        if self.listener is not None and how != SHUT_WR:
            self.tcp.close_listener(self.listener, now)
            self.listener = None
            return
        connection = self._connected()
        if connection.state in (st.CLOSED, st.SYN_SENT):
            _fail(errno.ENOTCONN)
        if how in (SHUT_RD, SHUT_RDWR):
            connection.shut_read = True
        if how in (SHUT_WR, SHUT_RDWR):
            connection.tx.sender.cork = connection.tx.sender.more = False
            connection.shutdown_write(now)
        self.tcp.touch(connection, now)

    def close(self, now: Ns) -> None:
        """The descriptor is gone; what is queued is still delivered, unless SO_LINGER says 0 s. May be repeated."""
        if self._closed:
            return
        self._closed = True
        if self._binding is not None:
            self.tcp.unbind(self._binding)
        if self.listener is not None:
            self.tcp.close_listener(self.listener, now)
        if self.connection is not None:
            self.connection.tx.sender.cork = self.connection.tx.sender.more = False
            self.connection.close(now)
            self.tcp.touch(self.connection, now)

    # What is going on.

    def poll(self) -> int:
        """POLLIN, POLLOUT, POLLERR, POLLHUP and POLLRDHUP as poll(2) would say."""
        if self.listener is not None:
            return POLLIN if self.listener.accept_queue else 0
        connection = self.connection
        if connection is None:
            return POLLOUT | POLLHUP
        bits = 0
        if connection.receiver.queued or connection.at_end:
            bits |= POLLIN
        if connection.state in st.CAN_SEND:
            room = connection.writable_room()
            if room > 0 and 3 * room >= connection.tx.sender.buffer:
                bits |= POLLOUT
        elif connection.state not in (st.SYN_SENT, st.SYN_RECEIVED):
            bits |= POLLOUT  # a write fails at once
        if connection.receiver.urgent_ready:
            bits |= POLLPRI
        if connection.state is st.CLOSED:
            bits |= POLLIN | POLLOUT | POLLHUP | (POLLERR if connection.error and self._pending_error != -1 else 0)
        if connection.at_end:
            bits |= POLLRDHUP
            if connection.state not in st.CAN_SEND:
                bits |= POLLHUP
        return bits

    @property
    def closed(self) -> bool:
        """`close` was called."""
        return self._closed

    @property
    def connecting(self) -> bool:
        """The handshake is still going on."""
        return self.connection is not None and self.connection.state in (st.SYN_SENT, st.SYN_RECEIVED)

    def local(self) -> Endpoint:
        """getsockname()."""
        if self.connection is not None:
            return self.connection.key[0], self.connection.key[1]
        return self._bound or (b"", 0)

    def peer(self) -> Endpoint:
        """getpeername(). ENOTCONN."""
        connection = self._connected()
        if connection.state in (st.CLOSED, st.SYN_SENT):
            _fail(errno.ENOTCONN)
        return connection.key[2], connection.key[3]

    def info(self) -> TcpInfo:
        """TCP_INFO."""
        return self._connected().info()

    def take_error(self) -> int:
        """SO_ERROR: the pending error, which is forgotten then."""
        connection = self.connection
        if connection is None:
            return 0
        if connection.state is st.CLOSED and connection.error and self._pending_error != -1:
            self._pending_error = -1
            return connection.error
        soft, connection.soft_error = connection.soft_error, 0
        return soft

    # Options.

    def setsockopt(self, level: int, name: int, value: int | tuple[int, int] | str, now: Ns) -> None:
        """Set an option; SO_LINGER takes (onoff, seconds), TCP_CONGESTION a name. ENOPROTOOPT, EINVAL, ENOENT."""
        self._own_config()
        if level == SOL_SOCKET:
            self._set_socket(name, value, now)
        elif level == IPPROTO_TCP:
            self._set_tcp(name, value, now)
        elif (level, name) in ((IPPROTO_IP, IP_TTL), (IPPROTO_IPV6, IPV6_UNICAST_HOPS)):
            self.config.ttl = _between(value, 1, 255)
        elif (level, name) in ((IPPROTO_IP, IP_TOS), (IPPROTO_IPV6, IPV6_TCLASS)):
            self.config.tos = _between(value, 0, 255)
        elif (level, name) == (IPPROTO_IPV6, IPV6_V6ONLY):
            self.v6only = bool(value)
        else:
            _fail(errno.ENOPROTOOPT)

    def _own_config(self) -> None:
        """Before the first change: a copy of the settings, which reach the connection at once.

        A listener copies each time, because connections that it made share the old ones.
        """
        if self._owns_config and self.listener is None:
            return
        self.config = self.config.copy()
        self._owns_config = True
        if self.connection is not None:
            self.connection.set_config(self.config)
        if self.listener is not None:
            self.listener.config = self.config

    def _set_socket(self, name: int, value: int | tuple[int, int] | str, now: Ns) -> None:
        connection = self.connection
        if name == SO_LINGER:
            if not isinstance(value, tuple):
                _fail(errno.EINVAL)
            self.linger = value
            if connection is not None:
                connection.linger_ns = value[1] * SECOND if value[0] else None
        elif name == SO_KEEPALIVE:
            self.keepalive = bool(value)
            if connection is not None:
                connection.set_keepalive(self.keepalive, now)
                self.tcp.touch(connection, now)
        elif name == SO_REUSEADDR:
            self.reuse_address = bool(value)
            if self._binding is not None:
                self._binding.reuse = self.reuse_address
        elif name == SO_REUSEPORT:
            self.reuse_port = bool(value)
        elif name == SO_OOBINLINE:
            self.urgent_inline = bool(value)
            if connection is not None:
                connection.receiver.urgent_inline = self.urgent_inline
        elif name == SO_RCVBUF:
            self._set_receive_buffer(_between(value, 0, 0x7FFFFFFF))
        elif name == SO_SNDBUF:
            self.config.send_buffer = max(_between(value, 0, 0x7FFFFFFF) * 2, 4608)
            if connection is not None:
                connection.tx.sender.buffer = self.config.send_buffer
        else:
            _fail(errno.ENOPROTOOPT)

    def _set_receive_buffer(self, size: int) -> None:
        """As Linux: doubled, and no more tuning by itself."""
        self.config.receive_buffer = self.config.receive_buffer_max = max(2 * size, 2304)
        for receiver in [self.connection.receiver] if self.connection else []:
            receiver.buffer, receiver.auto_tune = self.config.receive_buffer, False

    def _set_tcp(self, name: int, value: int | tuple[int, int] | str, now: Ns) -> None:
        connection, config = self.connection, self.config
        if name == TCP_CONGESTION:
            self._set_congestion(value)
            return
        if name == TCP_NODELAY:
            config.nagle = not value
            if connection is not None:
                connection.tx.sender.nagle = config.nagle
        elif name == TCP_CORK:
            self.cork = bool(value)
            if connection is not None:
                connection.tx.sender.cork = self.cork
        elif name == TCP_QUICKACK:
            if connection is not None:
                connection.receiver.quick_acks = config.quick_acks if value else 0
        elif name == TCP_USER_TIMEOUT:
            self.user_timeout_ms = _between(value, 0, 0x7FFFFFFF)
            if connection is not None:
                connection.user_timeout_ns = self.user_timeout_ms * MS
        elif name in _NUMBERS:
            attribute, unit, low, high = _NUMBERS[name]
            setattr(config, attribute, _between(value, low, high) * unit)
            if connection is not None and connection.keepalive and name in (TCP_KEEPIDLE, TCP_KEEPINTVL):
                connection.set_keepalive(True, now)
        elif name not in (TCP_WINDOW_CLAMP, TCP_DEFER_ACCEPT):
            _fail(errno.ENOPROTOOPT)
        if connection is not None:
            self.tcp.touch(connection, now)

    def _set_congestion(self, value: int | tuple[int, int] | str) -> None:
        if value not in CONGESTION_NAMES:
            _fail(errno.ENOENT)
        self.config.congestion = str(value)
        if self.connection is not None:
            old = self.connection.tx.cc
            fresh = make_congestion(str(value), self.config.initial_cwnd)
            fresh.cwnd, fresh.ssthresh = old.cwnd, old.ssthresh
            self.connection.tx.cc = fresh

    def getsockopt(self, level: int, name: int) -> int | tuple[int, int] | str | TcpInfo:
        """Read an option. ENOPROTOOPT."""
        if level == SOL_SOCKET:
            return self._get_socket(name)
        if level == IPPROTO_TCP:
            return self._get_tcp(name)
        if (level, name) in ((IPPROTO_IP, IP_TTL), (IPPROTO_IPV6, IPV6_UNICAST_HOPS)):
            return self.config.ttl
        if (level, name) in ((IPPROTO_IP, IP_TOS), (IPPROTO_IPV6, IPV6_TCLASS)):
            return self.config.tos
        if (level, name) == (IPPROTO_IPV6, IPV6_V6ONLY):
            return int(self.v6only)
        _fail(errno.ENOPROTOOPT)

    def _get_socket(self, name: int) -> int | tuple[int, int]:
        if name == SO_ERROR:
            return self.take_error()
        if name == SO_LINGER:
            return self.linger
        values = {
            SO_KEEPALIVE: int(self.keepalive),
            SO_REUSEADDR: int(self.reuse_address),
            SO_REUSEPORT: int(self.reuse_port),
            SO_OOBINLINE: int(self.urgent_inline),
            SO_TYPE: 1,
            SO_PROTOCOL: IPPROTO_TCP,
            SO_DOMAIN: self.family,
            SO_ACCEPTCONN: int(self.listener is not None),
            SO_RCVBUF: self.connection.receiver.buffer if self.connection else self.config.receive_buffer,
            SO_SNDBUF: self.connection.tx.sender.buffer if self.connection else self.config.send_buffer,
        }
        if name not in values:
            _fail(errno.ENOPROTOOPT)
        return values[name]

    def _get_tcp(self, name: int) -> int | str | TcpInfo:
        if name == TCP_INFO:
            return self.info()
        if name == TCP_CONGESTION:
            return self.config.congestion
        if name == TCP_NODELAY:
            return int(not self.config.nagle)
        if name == TCP_CORK:
            return int(self.cork)
        if name == TCP_USER_TIMEOUT:
            return self.user_timeout_ms
        if name == TCP_MAXSEG:
            return self.connection.tx.sender.mss if self.connection else self.config.mss or 536
        if name in _NUMBERS:
            attribute, unit, _, _ = _NUMBERS[name]
            return int(getattr(self.config, attribute)) // unit
        _fail(errno.ENOPROTOOPT)


_NUMBERS: Final[dict[int, tuple[str, int, int, int]]] = {
    TCP_KEEPIDLE: ("keepalive_idle_ns", SECOND, 1, 32767),
    TCP_KEEPINTVL: ("keepalive_interval_ns", SECOND, 1, 32767),
    TCP_KEEPCNT: ("keepalive_count", 1, 1, 127),
    TCP_SYNCNT: ("syn_retries", 1, 1, 127),
    TCP_LINGER2: ("fin_wait_2_ns", SECOND, -1, 32767),
    TCP_MAXSEG: ("mss", 1, 88, 32767),
}
"""Option -> (setting, its unit, smallest, largest)."""


def _between(value: int | tuple[int, int] | str, low: int, high: int) -> int:
    if not isinstance(value, int) or not low <= value <= high:
        _fail(errno.EINVAL)
    return value
