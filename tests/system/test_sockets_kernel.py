"""Blocking sockets, http and asyncio on our stack, with the kernel and its programs at the other end of a veth pair."""

import asyncio
import hashlib
import http.client
import re
import select
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pytools.link import host as interfaces
from pytools.link.bpf import ARP_ALL, Interest
from pytools.link.packet_socket import PacketLink
from pytools.run import tls
from pytools.run.asyncio_host import AsyncHost
from pytools.run.host import SocketHost
from pytools.stack.stack import Stack
from pytools.wire.addr import parse_ip
from tests.run.tls import DATA, NAME, client_context, server_context

pytestmark = pytest.mark.root

PAGE = (Path(__file__).parents[2] / "docs/sockets.md").read_text()
CONTENT = bytes(range(256)) * 20_000
ENDS = [("10.9.0.10", "10.9.0.2"), ("fd09::10", "fd09::2")]


@pytest.fixture
def ours(wire: Any) -> Iterator[SocketHost]:
    """A host of ours with addresses of its own (.10) on one end of the pair; the kernel has the other (.2)."""
    with wire.ours.entered():
        link = PacketLink(interfaces.interface("v0"), Interest(arp=ARP_ALL, everything=True))
    stack = Stack(Random(1))
    stack.add_port(link.ports[0])
    stack.add_address(0, parse_ip("10.9.0.10"), 24)
    stack.add_address(0, parse_ip("fd09::10"), 64)
    with SocketHost(stack, [link]) as host:
        yield host


def kernel_listener(wire: Any, address: str, port: int = 0) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with wire.peer.entered():
        listener = socket.create_server((address, port), family=family)
    listener.settimeout(20)
    return listener


@pytest.fixture
def web(wire: Any, tmp_path: Path) -> Iterator[int]:
    """python -m http.server beside the kernel's stack; its port."""
    (tmp_path / "file").write_bytes(CONTENT)
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "::", "--directory", str(tmp_path)]
    server = wire.peer.popen(*command, stderr=subprocess.DEVNULL)
    found = re.search(r"port (\d+)", server.stdout.readline())
    assert found
    yield int(found[1])
    server.terminate()
    server.communicate(timeout=10)


def docs_names(block: int) -> dict[str, Any]:
    """What the example with this number in docs/sockets.md defines."""
    code = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)[block].split("ours, peer =")[0]
    names: dict[str, Any] = {"CERTIFICATE": str(DATA / "server.pem"), "KEY": str(DATA / "server.key")}
    exec(compile(code, "docs/sockets.md", "exec"), names)
    return names


@pytest.mark.parametrize("address", ["10.9.0.2", "fd09::2"])
def test_http_client_reads_from_python_s_http_server(ours: SocketHost, web: int, address: str) -> None:
    connection_class = docs_names(1)["Connection"]
    connection_class.host_of_ours = ours
    connection = connection_class(address, web, timeout=20)
    for _ in range(2):
        connection.request("GET", "/file")
        assert connection.getresponse().read() == CONTENT
    connection.request("GET", "/nonesuch")
    assert connection.getresponse().status == 404
    connection.close()


def test_urllib_reads_from_python_s_http_server(ours: SocketHost, web: int) -> None:
    names = docs_names(1)
    names["Connection"].host_of_ours = ours
    opener = urllib.request.build_opener(names["Handler"], urllib.request.ProxyHandler({}))
    assert opener.open(f"http://10.9.0.2:{web}/file", timeout=20).read() == CONTENT


@pytest.mark.needs("curl")
def test_curl_reads_from_http_server_on_our_stack(ours: SocketHost, wire: Any) -> None:
    names = docs_names(1)
    server = names["Server"](ours, ("10.9.0.10", 80), names["Hello"])
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    for _ in range(3):
        answer = wire.peer.run("curl", "-sS", "-m", "20", "http://10.9.0.10/path")
        assert (answer.stdout, answer.stderr) == ("you asked for /path", "")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(("here", "there"), ENDS)
def test_a_client_of_ours_echoes_with_the_kernel(ours: SocketHost, wire: Any, here: str, there: str) -> None:
    text = Random(4).randbytes(3_000_000)
    listener = kernel_listener(wire, there)

    def echo() -> None:
        accepted, _ = listener.accept()
        with accepted:
            while data := accepted.recv(1 << 16):
                accepted.sendall(data)

    thread = threading.Thread(target=echo)
    thread.start()
    with ours.create_connection(listener.getsockname()[:2], 20) as client:
        assert client.getsockname()[0] == here
        received = hashlib.sha256()
        sent = count = 0
        while count < len(text):
            can_read, can_write, _ = ours.select([client], [client] if sent < len(text) else [], [], 20)
            if can_write:
                sent += client.send(text[sent : sent + 100_000])
            if can_read:
                data = client.recv(1 << 16)
                received.update(data)
                count += len(data)
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    thread.join(10)
    listener.close()
    assert received.digest() == hashlib.sha256(text).digest()


@pytest.mark.parametrize(("here", "there"), ENDS)
def test_a_server_of_ours_takes_the_kernel_s_clients(ours: SocketHost, wire: Any, here: str, there: str) -> None:
    family = socket.AF_INET6 if ":" in here else socket.AF_INET
    listener = ours.create_server((here, 0), family=family)
    port, answers = listener.getsockname()[1], []

    def ask() -> None:
        with wire.peer.entered():
            client = socket.create_connection((here, port), 20)
        with client:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            answers.append(client.makefile("rb").read())

    for _ in range(20):
        thread = threading.Thread(target=ask)
        thread.start()
        listener.settimeout(20)
        accepted, (address, *_) = listener.accept()
        with accepted, accepted.makefile("rb") as file:
            accepted.sendall(file.read() + b" from " + address.encode())
        ours.drain(10)
        thread.join(10)
    assert answers == [b"question from " + there.encode()] * 20


def test_refused_and_reset_by_the_kernel(ours: SocketHost, wire: Any) -> None:
    listener = kernel_listener(wire, "10.9.0.2")
    address = listener.getsockname()
    client = ours.create_connection(address, 20)
    accepted, _ = listener.accept()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    accepted.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        ours.create_connection(address, 20)


def test_a_descriptor_of_ours_in_a_selector_beside_the_kernel_s(ours: SocketHost, wire: Any) -> None:
    listener = kernel_listener(wire, "10.9.0.2")
    client = ours.create_connection(listener.getsockname(), 20)
    accepted, _ = listener.accept()
    assert select.select([client, accepted], [], [], 0)[0] == []
    accepted.sendall(b"x")
    assert select.select([client, accepted], [], [], 20)[0] == [client]
    assert client.recv(1) == b"x"
    client.sendall(b"y")
    assert select.select([client, accepted], [], [], 20)[0] == [accepted]
    accepted.close()
    listener.close()


def test_tls_with_the_kernel_s_sockets_at_the_other_end(ours: SocketHost, wire: Any) -> None:
    listener = kernel_listener(wire, "10.9.0.2", 443)

    def serve() -> None:
        with server_context().wrap_socket(listener.accept()[0], server_side=True) as secure:
            secure.sendall(secure.recv(100).upper())
            secure.recv(1)

    thread = threading.Thread(target=serve)
    thread.start()
    with tls.wrap(ours.create_connection(("10.9.0.2", 443), 20), client_context(), server_hostname=NAME) as client:
        client.sendall(b"secret")
        assert client.recv(100) == b"SECRET"
        assert client.version() == "TLSv1.3"
        assert 0 < client.handshake_ns < 20_000_000_000
    ours.drain(10)
    thread.join(10)
    listener.close()


def test_asyncio_streams_and_tls_with_the_kernel_both_ways(ours: SocketHost, wire: Any) -> None:
    """A plain asyncio loop: ours connects to the kernel's server, and the kernel's client to our server."""
    listener = kernel_listener(wire, "10.9.0.2")

    async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line.upper())
            await writer.drain()
        writer.close()

    async def ask(open_connection: Any) -> bytes:
        reader, writer = await open_connection
        writer.write(b"hello" * 10_000 + b"\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return bytes(answer)

    def kernel_client() -> socket.socket:
        with wire.peer.entered():
            return socket.create_connection(("10.9.0.10", 7), 20)

    async def main() -> list[bytes]:
        async with asyncio.timeout(60), AsyncHost(ours) as net:
            server = await asyncio.start_server(shout, sock=listener, ssl=server_context())
            mine = await net.start_server(shout, "10.9.0.10", 7)
            port = listener.getsockname()[1]
            first = await ask(net.open_connection("10.9.0.2", port, ssl=client_context(), server_hostname=NAME))
            there = await asyncio.to_thread(kernel_client)
            second = await ask(asyncio.open_connection(sock=there))
            server.close()
            mine.close()
            return [first, second]

    assert asyncio.run(main()) == [b"HELLO" * 10_000 + b"\n"] * 2


def test_an_https_client_of_the_docs_reads_from_the_kernel(ours: SocketHost, wire: Any) -> None:
    names = docs_names(2)
    listener = kernel_listener(wire, "10.9.0.2", 443)
    thread = threading.Thread(
        target=lambda: _answer_once(server_context(), listener),
    )
    thread.start()
    names["SecureConnection"].host_of_ours = ours
    context = client_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connection: http.client.HTTPSConnection = names["SecureConnection"]("10.9.0.2", 443, timeout=20, context=context)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"secret"
    connection.close()
    ours.drain(10)
    thread.join(10)
    listener.close()


def _answer_once(context: ssl.SSLContext, listener: socket.socket) -> None:
    with context.wrap_socket(listener.accept()[0], server_side=True) as secure:
        secure.recv(65536)
        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
        secure.recv(1)
