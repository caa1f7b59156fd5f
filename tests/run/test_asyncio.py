"""asyncio on our stack: both ends in one loop that lives in virtual time."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pytools.run.asyncio_host import AsyncHost
from pytools.run.asyncio_virtual import VirtualLoop
from tests.run.tls import NAME, client_context, server_context
from tests.run.worlds import simulated

Story = Callable[[AsyncHost, AsyncHost], Coroutine[Any, Any, Any]]


def run(story: Story, text: str = "delay=10ms") -> Any:
    """Run a story on two hosts, ours (10.0.0.10) and the peer (10.0.0.2)."""
    ours, peer = simulated(text)

    async def main() -> Any:
        async with asyncio.timeout(600):
            return await story(AsyncHost(ours), AsyncHost(peer))

    with asyncio.Runner(loop_factory=lambda: VirtualLoop(ours)) as runner:
        result = runner.run(main())
    ours.close(0)
    return result


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


def test_streams_echo_in_virtual_time() -> None:
    async def story(ours: AsyncHost, peer: AsyncHost) -> list[Any]:
        async with await peer.start_server(echo, "10.0.0.2", 7):
            reader, writer = await ours.open_connection("10.0.0.2", 7)
            started = asyncio.get_running_loop().time()
            writer.write(b"hello\n")
            line = await reader.readline()
            took = asyncio.get_running_loop().time() - started
            writer.write_eof()
            rest = await reader.read()
            writer.close()
            await writer.wait_closed()
            return [line, round(took * 1000), rest]

    assert run(story) == [b"hello\n", 20, b""]


def test_a_megabyte_through_loss_arrives_whole() -> None:
    text = bytes(range(256)) * 4096

    async def story(ours: AsyncHost, peer: AsyncHost) -> bytes:
        async with await peer.start_server(echo, "fd00::2", 7):
            reader, writer = await ours.open_connection("fd00::2", 7)

            async def send() -> None:
                for at in range(0, len(text), 50_000):
                    writer.write(text[at : at + 50_000])
                    await writer.drain()
                writer.write_eof()

            sending = asyncio.create_task(send())
            answer = await reader.read()
            await sending
            writer.close()
            return answer

    assert run(story, "delay=10ms,loss=2%,seed=5") == text


class Recorder(asyncio.Protocol):
    """Writes down what it is told."""

    def __init__(self, keep_open: bool = False) -> None:
        self.told: list[Any] = []
        self.transport: Any = None
        self.keep_open = keep_open
        self.lost = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.told.append("made")

    def data_received(self, data: bytes) -> None:
        self.told.append(data)

    def eof_received(self) -> bool:
        self.told.append("eof")
        return self.keep_open

    def connection_lost(self, error: Exception | None) -> None:
        self.told.append(error and type(error).__name__)
        self.lost.set_result(None)

    def pause_writing(self) -> None:
        self.told.append("pause")

    def resume_writing(self) -> None:
        self.told.append("resume")


class KernelNet:
    """The same calls on the loop itself, for the kernel's sockets."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.create_server, self.create_connection = loop.create_server, loop.create_connection


async def protocols(here: Any, there: Any, address: str, act: Any, keep_open: bool = False) -> Any:
    """A client and a server protocol, `act(client, server)`, and what both were told."""
    servers: list[Recorder] = []

    def factory() -> Recorder:
        servers.append(Recorder(keep_open))
        return servers[-1]

    server = await there.create_server(factory, address, 0)
    port = server.sockets[0].getsockname()[1]
    _, client = await here.create_connection(lambda: Recorder(keep_open), address, port)
    while not (servers and servers[0].transport):
        await asyncio.sleep(0.001)
    await act(client, servers[0])
    server.close()
    return client.told, servers[0].told


async def hello(client: Recorder, server: Recorder) -> None:
    client.transport.write(b"hello")
    client.transport.close()
    await asyncio.gather(client.lost, server.lost)


async def half_close(client: Recorder, server: Recorder) -> None:
    client.transport.write(b"question")
    client.transport.write_eof()
    while "eof" not in server.told:
        await asyncio.sleep(0.001)
    server.transport.write(b"answer")
    server.transport.close()
    while "eof" not in client.told:
        await asyncio.sleep(0.001)
    client.transport.close()
    await asyncio.gather(client.lost, server.lost)


async def abort(client: Recorder, server: Recorder) -> None:
    server.transport.write(b"x")
    while client.told == ["made"]:
        await asyncio.sleep(0.001)
    server.transport.abort()
    await asyncio.gather(client.lost, server.lost)


async def reset(client: Recorder, server: Recorder) -> None:
    server.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.transport.abort()
    await asyncio.gather(client.lost, server.lost)


async def flow_control(client: Recorder, server: Recorder) -> None:
    server.transport.pause_reading()
    while "pause" not in client.told:
        client.transport.write(bytes(1 << 20))
    assert client.transport.get_write_buffer_size() > 0
    server.transport.resume_reading()
    while "resume" not in client.told:
        await asyncio.sleep(0.001)
    client.transport.close()
    await asyncio.gather(client.lost, server.lost)
    server.told = [each for each in server.told if not isinstance(each, bytes)]


@pytest.mark.parametrize(
    ("act", "keep_open"),
    [(hello, False), (half_close, True), (abort, False), (reset, False), (flow_control, False)],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_protocols_are_told_the_same_as_by_the_kernel(act: Any, keep_open: bool) -> None:
    async def kernel() -> Any:
        net = KernelNet()
        return await protocols(net, net, "127.0.0.1", act, keep_open)

    ours = run(lambda here, there: protocols(here, there, "10.0.0.2", act, keep_open), "delay=1ms")
    assert ours == asyncio.run(kernel())


def test_nothing_is_called_from_inside_a_call_of_the_transport() -> None:
    async def story(ours: AsyncHost, peer: AsyncHost) -> None:
        async def act(client: Recorder, server: Recorder) -> None:
            inside = list(client.told)
            client.transport.write(b"x")
            client.transport.close()
            assert client.told == inside
            await asyncio.gather(client.lost, server.lost)

        await protocols(ours, peer, "10.0.0.2", act)

    run(story, "delay=0")


def test_extra_info_names_both_ends() -> None:
    async def story(ours: AsyncHost, peer: AsyncHost) -> None:
        async def act(client: Recorder, server: Recorder) -> None:
            info = client.transport.get_extra_info
            assert info("peername") == server.transport.get_extra_info("sockname")
            assert info("sockname")[0] == "10.0.0.10"
            assert info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\1"
            assert info("nonesuch", 7) == 7
            await hello(client, server)

        await protocols(ours, peer, "10.0.0.2", act)

    run(story)


def test_a_refused_connection_raises() -> None:
    async def story(ours: AsyncHost, peer: AsyncHost) -> None:
        with pytest.raises(ConnectionRefusedError):
            await ours.open_connection("10.0.0.2", 9)

    run(story)


def test_a_cancelled_connect_leaves_nothing_behind() -> None:
    async def story(ours: AsyncHost, peer: AsyncHost) -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await ours.open_connection("10.0.4.2", 9)
        assert not ours.host.listeners
        await asyncio.sleep(1)
        assert not ours.host.tcp.connections

    run(story)


@pytest.mark.parametrize("address", ["10.0.0.2", "fd00::2"])
def test_tls_goes_through_asyncio_s_own_protocol(address: str) -> None:
    async def story(ours: AsyncHost, peer: AsyncHost) -> Any:
        async with await peer.start_server(echo, address, 443, ssl=server_context()):
            reader, writer = await ours.open_connection(address, 443, ssl=client_context(), server_hostname=NAME)
            writer.write(b"secret" * 10_000)
            answer = await reader.readexactly(60_000)
            version = writer.get_extra_info("ssl_object").version()
            writer.close()
            await writer.wait_closed()
            return answer, version

    assert run(story) == (b"secret" * 10_000, "TLSv1.3")


def test_a_certificate_for_another_name_ends_the_connection() -> None:
    async def story(ours: AsyncHost, peer: AsyncHost) -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)  # the server's side of the story
        async with await peer.start_server(echo, "10.0.0.2", 443, ssl=server_context()):
            with pytest.raises(ssl.SSLCertVerificationError):
                await ours.open_connection("10.0.0.2", 443, ssl=client_context(), server_hostname="other.test")

    run(story)


def test_start_tls_upgrades_a_connection() -> None:
    async def story(ours: AsyncHost, peer: AsyncHost) -> bytes:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readline() == b"STARTTLS\n"
            writer.write(b"OK\n")
            await writer.drain()
            await writer.start_tls(server_context())
            await echo(reader, writer)

        async with await peer.start_server(serve, "10.0.0.2", 25):
            reader, writer = await ours.open_connection("10.0.0.2", 25)
            writer.write(b"STARTTLS\n")
            assert await reader.readline() == b"OK\n"
            await writer.start_tls(client_context(), server_hostname=NAME)
            writer.write(b"secret\n")
            answer = await reader.readline()
            writer.close()
            return answer

    assert run(story) == b"secret\n"


def test_a_simulated_host_needs_the_virtual_loop() -> None:
    ours, _ = simulated()

    async def main() -> None:
        AsyncHost(ours)

    with pytest.raises(RuntimeError, match="VirtualLoop"):
        asyncio.run(main())
