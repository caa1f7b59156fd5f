"""TLS over any blocking stream socket, by `ssl.MemoryBIO`: no file descriptor is needed.

secure = wrap(host.create_connection(("example.net", 443)), ssl.create_default_context(), server_hostname="example.net")
"""

import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, TypeVar

from pytools.run.sockets import Socket
from pytools.units import Ns

T = TypeVar("T")

CHUNK: Final = 65536
RECORD: Final = 16384
"""Plain text of one TLS record at most (RFC 8446 5.1)."""


class TlsSocket:
    """A TLS connection on a `Socket`, with the methods that programs use of `ssl.SSLSocket`.

    `handshake_ns` is how long the handshake took on the socket's clock, 0 before it is done. A certificate that is not
    accepted raises ssl.SSLCertVerificationError, as there.
    """

    __slots__ = (
        "__weakref__",
        "_closed",
        "_incoming",
        "_io_refs",
        "_object",
        "_outgoing",
        "_ragged",
        "_unsent",
        "handshake_ns",
        "raw",
    )

    def __init__(
        self,
        raw: Socket,
        context: ssl.SSLContext,
        *,
        server_side: bool = False,
        server_hostname: str | None = None,
        session: ssl.SSLSession | None = None,
        suppress_ragged_eofs: bool = True,
    ) -> None:
        self.raw = raw
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname, session)
        self._unsent = b""
        self._ragged = suppress_ragged_eofs
        self._io_refs = 0
        self._closed = False
        self.handshake_ns: Ns = 0

    def __getattr__(self, name: str) -> Any:
        """What TLS does not change is the socket's: settimeout, setsockopt, getpeername ..."""
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._object if hasattr(ssl.SSLObject, name) else self.raw, name)

    def __enter__(self) -> "TlsSocket":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- moving records ------------------------------------------------------------------------------------------------

    def _run(self, operation: Callable[[], T]) -> T:
        """Run a TLS call; carry records in both directions until it is satisfied."""
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                self._send_records()
                self._receive_records()
            finally:
                self._send_records()

    def _send_records(self) -> None:
        """What a non-blocking socket does not take goes first next time."""
        self._unsent += self._outgoing.read()
        while self._unsent:
            try:
                self._unsent = self._unsent[self.raw.send(self._unsent) :]
            except BlockingIOError:
                return

    def _receive_records(self) -> None:
        try:
            octets = self.raw.recv(CHUNK)
        except BlockingIOError as error:
            raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "The operation did not complete (read)") from error
        if octets:
            self._incoming.write(octets)
        else:
            self._incoming.write_eof()

    def do_handshake(self) -> None:
        """Shake hands now."""
        started = self.raw.now()
        self._run(self._object.do_handshake)
        self.handshake_ns = self.raw.now() - started

    def unwrap(self) -> Socket:
        """Say goodbye (close_notify, both ways) and go on in the clear."""
        self._run(self._object.unwrap)
        return self.raw

    # -- data ----------------------------------------------------------------------------------------------------------

    def recv(self, bufsize: int = 1024, flags: int = 0) -> bytes:
        """Up to `bufsize` octets, b"" at the end."""
        _no_flags(flags)
        if not bufsize:
            return b""
        try:
            return self._run(lambda: self._object.read(bufsize))
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError) as error:
            if isinstance(error, ssl.SSLEOFError) and not self._ragged:
                raise
            return b""

    read = recv

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        """As `recv`, into a writable buffer; returns how many octets."""
        view = memoryview(buffer).cast("B")
        data = self.recv(nbytes or len(view), flags)
        view[: len(data)] = data
        return len(data)

    def send(self, data: Any, flags: int = 0) -> int:
        """Send one record at most; returns how many octets it took."""
        _no_flags(flags)
        view = memoryview(data).cast("B")[:RECORD]
        return self._run(lambda: self._object.write(view)) if len(view) else 0

    write = send

    def sendall(self, data: Any, flags: int = 0) -> None:
        """Send everything."""
        view = memoryview(data).cast("B")
        while len(view):
            view = view[self.send(view, flags) :]

    def makefile(self, mode: str = "r", buffering: int | None = None, **how: Any) -> Any:
        """As `Socket.makefile`."""
        return Socket.makefile(self, mode, buffering, **how)  # type: ignore[arg-type]

    # -- ending --------------------------------------------------------------------------------------------------------

    def shutdown(self, how: int) -> None:
        """Half-close of the TCP connection, as ssl.SSLSocket does."""
        self.raw.shutdown(how)

    def close(self) -> None:
        """Close the TCP connection when all file objects are closed; no close_notify, as ssl.SSLSocket."""
        self._closed = True
        if self._io_refs <= 0:
            self.raw.close()

    def _decref_socketios(self) -> None:
        if self._io_refs > 0:
            self._io_refs -= 1
        if self._closed:
            self.close()


def _no_flags(flags: int) -> None:
    if flags:
        raise ValueError("non-zero flags not allowed in calls to a TLS socket")


def wrap(
    raw: Socket,
    context: ssl.SSLContext,
    *,
    server_side: bool = False,
    server_hostname: str | None = None,
    do_handshake_on_connect: bool = True,
    session: ssl.SSLSession | None = None,
    suppress_ragged_eofs: bool = True,
) -> TlsSocket:
    """As `SSLContext.wrap_socket`, for a connected socket of ours."""
    secure = TlsSocket(
        raw,
        context,
        server_side=server_side,
        server_hostname=server_hostname,
        session=session,
        suppress_ragged_eofs=suppress_ragged_eofs,
    )
    if do_handshake_on_connect:
        secure.do_handshake()
    return secure
