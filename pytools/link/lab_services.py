"""The lab's servers: echo 7 (RFC 862), discard 9 (RFC 863), chargen 19 (RFC 864), TCP and UDP, and http 80.

They run in a child process on the kernel's side of the wire, on the kernel's own TCP and UDP. One loop over poll().
"""

import _socket
import os
import select
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

AF_INET, AF_INET6, SOCK_STREAM, SOCK_DGRAM = 2, 10, 1, 2
SOCK_FLAGS: Final = 0o2000000 | 0o4000  # SOCK_CLOEXEC, SOCK_NONBLOCK
IPPROTO_IPV6, IPV6_V6ONLY = 41, 26

ECHO, DISCARD, CHARGEN, HTTP = 7, 9, 19, 80
TCP_PORTS: Final = (ECHO, DISCARD, CHARGEN, HTTP)
UDP_PORTS: Final = (ECHO, DISCARD, CHARGEN)

_CHUNK: Final = 1 << 18
_PENDING_LIMIT: Final = 1 << 20
"""Octets that an echo may hold for a peer that does not read."""
_REQUEST_LIMIT: Final = 1 << 16
_PAGE: Final = b"This is the kernel's end of the pytools lab.\n"


def character_lines(count: int) -> bytes:
    """RFC 864's pattern: lines of 72 of the 95 printable characters, each line begins one character later."""
    ring = bytes(range(32, 127)) * 2
    return b"".join(ring[number % 95 : number % 95 + 72] + b"\r\n" for number in range(count))


_CYCLE: Final = 95 * 74
"""Octets until the pattern repeats."""


def open_sockets(addresses: Sequence[bytes]) -> dict[tuple[int, int], list[Any]]:
    """(SOCK_STREAM or SOCK_DGRAM, port) to sockets that listen already. OSError."""
    opened: dict[tuple[int, int], list[Any]] = {}
    try:
        for address in addresses:
            for kind, ports in ((SOCK_STREAM, TCP_PORTS), (SOCK_DGRAM, UDP_PORTS)):
                for port in ports:
                    opened.setdefault((kind, port), []).append(_open(kind, address, port))
    except BaseException:
        close_sockets(opened)
        raise
    return opened


def close_sockets(opened: dict[tuple[int, int], list[Any]]) -> None:
    """All of them."""
    for sockets in opened.values():
        for sock in sockets:
            sock.close()


def _open(kind: int, address: bytes, port: int) -> Any:
    """One for each address, so that answers come from the address that was asked."""
    family = AF_INET if len(address) == 4 else AF_INET6
    sock = _socket.socket(family, kind | SOCK_FLAGS, 0)
    try:
        sock.bind((_socket.inet_ntop(family, address), port))
        if kind == SOCK_STREAM:
            sock.listen(128)
    except BaseException:
        sock.close()
        raise
    return sock


class _Connection:
    """One TCP connection: what waits to be written, and whether it ends after that."""

    __slots__ = ("ending", "pending", "port", "request", "sent", "sock")

    def __init__(self, sock: Any, port: int) -> None:
        self.sock = sock
        self.port = port
        self.pending = bytearray()
        self.request = b""
        self.sent = 0
        self.ending = False

    def events(self) -> int:
        """What to wait for."""
        reads = not self.ending and len(self.pending) < _PENDING_LIMIT
        writes = self.pending or (self.port == CHARGEN and not self.ending)
        return (select.POLLIN if reads else 0) | (select.POLLOUT if writes else 0)

    def turn(self, events: int) -> bool:
        """Read and write what can be; False: it is over."""
        try:
            if events & (select.POLLIN | select.POLLHUP | select.POLLERR) and not self.ending:
                self._read()
            if self.port == CHARGEN and not self.ending:
                self._generate()
            elif self.pending:
                del self.pending[: self.sock.send(self.pending)]
        except BlockingIOError:
            pass
        except OSError:
            return False
        return bool(self.pending) or not self.ending

    def _read(self) -> None:
        data = self.sock.recv(_CHUNK)
        if not data:
            self.ending = True
        elif self.port == ECHO:
            self.pending += data
        elif self.port == HTTP:
            self._on_request(data)

    def _on_request(self, data: bytes) -> None:
        """HTTP/1.0 (RFC 1945): one request, one answer, the end."""
        self.request += data
        if b"\r\n\r\n" in self.request or b"\n\n" in self.request or len(self.request) > _REQUEST_LIMIT:
            self.pending += _http_answer(self.request)
            self.ending = True

    def _generate(self) -> None:
        """From where in the pattern we are, as much as the peer takes."""
        at = self.sent % _CYCLE
        self.sent += self.sock.send(_PATTERN[at : at + _CHUNK])


_PATTERN: Final = character_lines(95) * (2 + _CHUNK // _CYCLE)


def _http_answer(request: bytes) -> bytes:
    words = request.split(b"\r\n", 1)[0].split()
    method, path = (words[0], words[1]) if len(words) >= 2 else (b"", b"")
    status, body = b"200 OK", _PAGE
    if method not in (b"GET", b"HEAD"):
        status, body = b"501 Not Implemented", b"GET and HEAD are what this server knows.\n"
    elif path != b"/":
        status, body = b"404 Not Found", b"There is / and nothing else.\n"
    fields = b"Content-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n" % len(body)
    return b"HTTP/1.0 " + status + b"\r\n" + fields + b"\r\n" + (b"" if method == b"HEAD" else body)


def _answer_datagram(sock: Any, port: int) -> None:
    with suppress(OSError):
        while True:
            data, peer = sock.recvfrom(65535)
            if peer[1] in UDP_PORTS:  # two such servers would talk to each other for ever (RFC 1122 4.1.3.5's worry)
                continue
            if port == ECHO:
                sock.sendto(data, peer)
            elif port == CHARGEN:
                sock.sendto(character_lines(6), peer)


def serve(opened: dict[tuple[int, int], list[Any]], lifeline: int) -> None:
    """Until `lifeline`, the reading end of a pipe whose other end the parent holds, reads as closed."""
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    listening: dict[int, tuple[Any, int, int]] = {}
    for (kind, port), sockets in opened.items():
        for sock in sockets:
            listening[sock.fileno()] = (sock, kind, port)
            poll.register(sock.fileno(), select.POLLIN)
    connections: dict[int, _Connection] = {}
    while True:
        for fileno, events in poll.poll():
            if fileno == lifeline:
                return
            if fileno in listening:
                sock, kind, port = listening[fileno]
                if kind == SOCK_DGRAM:
                    _answer_datagram(sock, port)
                else:
                    _accept(sock, port, connections, poll)
                continue
            connection = connections[fileno]
            if connection.turn(events):
                poll.modify(fileno, connection.events())
            else:
                poll.unregister(fileno)
                del connections[fileno]
                connection.sock.close()


def _accept(listener: Any, port: int, connections: dict[int, _Connection], poll: Any) -> None:
    with suppress(OSError):
        fileno, _ = listener._accept()
        sock = _socket.socket(fileno=fileno)
        sock.setblocking(False)
        connections[fileno] = _Connection(sock, port)
        poll.register(fileno, connections[fileno].events())


def start(opened: dict[tuple[int, int], list[Any]]) -> tuple[int, int]:
    """Fork the child that serves; (its pid, the writing end of its lifeline). OSError.

    The child never outlives the parent: the pipe tells it, and the kernel kills it should it be busy then.
    """
    lifeline, parents_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_the_child(opened, lifeline)
    os.close(lifeline)
    return pid, parents_end


def _be_the_child(opened: dict[tuple[int, int], list[Any]], lifeline: int) -> None:
    """Never returns: nothing of the parent's may run twice (buffers, exit handlers, a test runner)."""
    try:
        import signal

        os.setsid()  # a terminal's ^C is for the parent
        for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGPIPE):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        _close_the_rest({lifeline, *(sock.fileno() for sockets in opened.values() for sock in sockets)})
        from pytools.link import privilege

        privilege.drop()
        _die_with_the_parent()
        serve(opened, lifeline)
    finally:
        os._exit(0)


def _close_the_rest(kept: set[int]) -> None:
    """A pipe that the parent writes into must end when the parent does."""
    empty = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(empty, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) not in kept:
            with suppress(OSError):
                os.close(int(name))


def _die_with_the_parent() -> None:
    """PR_SET_PDEATHSIG; a change of the uid would clear it, so it comes last."""
    import ctypes

    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
