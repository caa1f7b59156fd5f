"""TLS over a connection of ours, with the time that its handshake takes (RFC 8446; `ssl` by memory buffers)."""

import ssl
from collections.abc import Callable
from errno import EAGAIN, ECONNRESET, EPROTO
from typing import Any, Final

from pytools.errors import ConnectionFailedError, UsageError
from pytools.stack import sockets as so
from pytools.stack.sockets import StreamSocket
from pytools.units import MS, Ns

_CHUNK: Final = 1 << 16
_RECORD: Final = 1 << 14

OnTls = Callable[[dict[str, Any]], object]


class Tls:
    """What is prepared before privileges go: the context with the system's certificates.

    The peer's certificate is examined and told, but nothing is refused for it: this measures, as `openssl s_client`.
    """

    def __init__(self, name: str, *, quick: bool = False) -> None:
        self._name = name.partition("%")[0]
        self._quick = quick
        self._context = ssl.create_default_context()
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        try:
            # A first time for nothing: it loads IDNA's tables, which may not be readable later, and checks the name.
            self._context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=self._name)
        except (ValueError, UnicodeError) as error:
            raise UsageError(f"--tls-name {self._name}: {error}") from None

    def open(self, stream: StreamSocket, now: Ns, on_tls: OnTls) -> "TlsChannel":
        """Start a handshake on an open connection."""
        return TlsChannel(stream, self._context, self._name, now, on_tls, quick=self._quick)


class TlsChannel:
    """A `tcpconnect_pipe.Channel` with TLS. With `quick` it ends as soon as the handshake is over."""

    def __init__(
        self, stream: StreamSocket, context: ssl.SSLContext, name: str, now: Ns, on_tls: OnTls, *, quick: bool
    ) -> None:
        self._stream = stream
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=name)
        self._began_at = now
        self._on_tls = on_tls
        self._quick = quick
        self._unsent = b""
        self._is_ready = False
        self._is_ending = False
        self._ended = False
        self._advance(now)

    # --- Channel ------------------------------------------------------------------------------------------------------

    def send(self, data: bytes, now: Ns) -> int:
        """See `Channel`: a record at a time, no more than the connection takes."""
        if not self._is_ready or not self._flush(now):
            raise BlockingIOError(EAGAIN, "not yet")
        taken = self._try(lambda: self._tls.write(data[:_RECORD]))
        self._flush(now)
        if taken is None:
            raise BlockingIOError(EAGAIN, "not yet")
        return int(taken)

    def recv(self, size: int, now: Ns) -> bytes:
        """See `Channel`."""
        while True:
            if not self._is_ready:
                self._advance(now)
            if self._quick and self._is_ready:
                return b""
            if self._is_ready and (data := self._read(size)) is not None:
                return data
            if not self._fill(now):
                raise BlockingIOError(EAGAIN, "not yet")

    def shutdown(self, now: Ns) -> None:
        """See `Channel`: close_notify, then FIN; during the handshake only once that is over."""
        self._is_ending = True
        self._end(now)

    # --- between TLS and TCP ------------------------------------------------------------------------------------------

    def _advance(self, now: Ns) -> None:
        """As far as the handshake goes with what came."""
        self._try(self._tls.do_handshake)
        self._flush(now)
        if self._tls.version() is None or self._tls.cipher() is None or not self._is_done():
            return
        self._is_ready = True
        cipher = self._tls.cipher()
        facts = {
            "handshake_ms": (now - self._began_at) / MS,
            "version": self._tls.version(),
            "cipher": cipher[0] if cipher else None,
        }
        self._on_tls(facts)
        if self._is_ending:
            self._end(now)

    def _is_done(self) -> bool:
        try:
            self._tls.do_handshake()  # harmless when it is over
        except ssl.SSLError:
            return False
        return True

    def _end(self, now: Ns) -> None:
        if not self._is_ready or self._ended:
            return
        self._ended = True
        self._try(self._tls.unwrap)
        if self._flush(now):
            self._stream.shutdown(so.SHUT_WR, now)

    def _read(self, size: int) -> bytes | None:
        try:
            return self._tls.read(size)
        except ssl.SSLWantReadError:
            return None
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return b""
        except ssl.SSLError as error:
            raise OSError(EPROTO, _reason(error)) from error

    def _fill(self, now: Ns) -> bool:
        """Take what the connection has; False for nothing. An end within the handshake is an error."""
        try:
            data = self._stream.recv(_CHUNK, now)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno == EAGAIN:
                return False
            raise
        if data:
            self._in.write(data)
        elif not self._is_ready:
            raise OSError(ECONNRESET, "the peer closed within the TLS handshake")
        else:
            self._in.write_eof()
        return True

    def _flush(self, now: Ns) -> bool:
        """Give TLS's records to the connection; False while it takes no more."""
        self._unsent += self._out.read()
        while self._unsent:
            try:
                taken = self._stream.send(self._unsent, now)
            except OSError as error:
                if error.errno != EAGAIN:
                    raise
                return False
            self._unsent = self._unsent[taken:]
        return True

    def _try(self, step: Callable[[], Any]) -> Any:
        try:
            return step()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except ssl.SSLError as error:
            raise ConnectionFailedError(f"TLS: {_reason(error)}", EPROTO) from error


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
