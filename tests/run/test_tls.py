"""TLS over our sockets: both ends on the simulated network."""

import socket
import ssl
import threading
from typing import Any

import pytest

from pytools.run.tls import TlsSocket, wrap
from pytools.units import MS
from tests.run.tls import NAME, client_context, server_context
from tests.run.worlds import simulated


def pair(text: str) -> tuple[Any, Any, Any, Any]:
    """Two hosts and a connection between them."""
    ours, peer = simulated(text)
    listener = peer.create_server(("", 443))
    client = ours.create_connection(("10.0.0.2", 443))
    accepted, _ = listener.accept()
    return ours, peer, client, accepted


def shake_hands(ours: Any, ends: list[TlsSocket]) -> None:
    """Both ends by one thread: each goes on as far as it can, then time passes."""
    waiting = list(ends)
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass
        ours.select([end.raw for end in ends], [], [], 0.5)


def secured(text: str = "delay=10ms") -> tuple[Any, TlsSocket, TlsSocket]:
    ours, _, raw, accepted = pair(text)
    client = wrap(raw, client_context(), server_hostname=NAME, do_handshake_on_connect=False)
    server = wrap(accepted, server_context(), server_side=True, do_handshake_on_connect=False)
    for end in (client, server):
        end.setblocking(False)
    shake_hands(ours, [client, server])
    for end in (client, server):
        end.settimeout(5)
    return ours, client, server


def test_both_ends_agree_on_tls_1_3_and_the_name() -> None:
    _, client, server = secured()
    assert client.version() == server.version() == "TLSv1.3"
    assert client.cipher() == server.cipher()
    assert ("DNS", NAME) in client.getpeercert()["subjectAltName"]


def test_text_goes_both_ways_in_records() -> None:
    _, client, server = secured()
    client.sendall(b"question")
    assert server.recv(100) == b"question"
    assert server.send(bytes(100_000)) == 16384
    answer = bytearray(16384)
    assert client.makefile("rb").readinto(answer) == 16384


def test_the_end_of_the_stream_is_the_end_of_the_text() -> None:
    _, client, server = secured()
    client.sendall(b"last")
    client.shutdown(socket.SHUT_WR)  # a close would reset: the session tickets are unread
    assert server.recv(10) == b"last"
    assert server.recv(10) == b""
    assert server.recv(10) == b""


def test_a_time_limit_ends_a_read() -> None:
    _, client, _ = secured()
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)


def test_a_non_blocking_read_without_text_wants_more() -> None:
    _, client, _ = secured()
    client.setblocking(False)
    with pytest.raises(ssl.SSLWantReadError):
        client.recv(1)


def test_a_wrong_name_is_refused() -> None:
    ours, _, raw, accepted = pair("delay=0")
    client = wrap(raw, client_context(), server_hostname="other.test", do_handshake_on_connect=False)
    server = wrap(accepted, server_context(), server_side=True, do_handshake_on_connect=False)
    for end in (client, server):
        end.setblocking(False)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(ours, [client, server])


def test_the_handshake_takes_one_round_trip_of_virtual_time() -> None:
    """TLS 1.3 with a server that answers by itself: ClientHello out, the server's flight back (RFC 8446 2)."""
    ours, peer, raw, accepted = pair("delay=10ms")
    server = wrap(accepted, server_context(), server_side=True, do_handshake_on_connect=False)
    server.setblocking(False)
    client = wrap(raw, client_context(), server_hostname=NAME, do_handshake_on_connect=False)
    started, done = ours.now(), []
    client.setblocking(False)
    while not done:
        for end in (server, client):
            try:
                end.do_handshake()
                if end is client:
                    done.append(ours.now())
            except ssl.SSLWantReadError:
                pass
        if not done:
            peer.select([server.raw, client.raw], [], [], 1)
    assert done[0] - started == 20 * MS


def test_a_blocking_handshake_with_a_server_in_another_thread_is_timed() -> None:
    ours, _, raw, accepted = pair("delay=5ms")
    ours.use_thread()
    heard: list[bytes] = []

    def serve() -> None:
        with wrap(accepted, server_context(), server_side=True) as server:
            heard.append(server.recv(100))
            server.sendall(b"answer")

    thread = threading.Thread(target=serve)
    thread.start()
    with wrap(raw, client_context(), server_hostname=NAME) as client:
        client.sendall(b"question")
        assert client.recv(100) == b"answer"
        assert 10 * MS <= client.handshake_ns < 5_000 * MS
    thread.join(10)
    assert heard == [b"question"]
    ours.close(0)


def test_a_peer_that_closes_in_the_handshake_is_an_error() -> None:
    _, _, raw, accepted = pair("delay=0")
    accepted.shutdown(socket.SHUT_WR)
    with pytest.raises((ssl.SSLEOFError, ssl.SSLZeroReturnError)):  # which one depends on the version of OpenSSL
        wrap(raw, client_context(), server_hostname=NAME)
