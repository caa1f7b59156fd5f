"""The examples of docs/embedding.md run as they stand."""

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[2] / "docs/embedding.md").read_text()
BLOCKS = re.findall(r"^```(python|text)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SIM, SIM_PRINTS, SOCKETS, SOCKETS_PRINT, TCP, TCP_PRINTS, ASYNCIO, BY_HAND = (text for _, text in BLOCKS)


def run(code: str, names: dict[str, Any] | None = None) -> dict[str, Any]:
    names = {} if names is None else names
    exec(compile(code, "docs/embedding.md", "exec"), names)
    return names


@pytest.mark.parametrize(("code", "prints"), [(SIM, SIM_PRINTS), (SOCKETS, SOCKETS_PRINT)])
def test_the_examples_print_what_the_page_says(code: str, prints: str, capsys: pytest.CaptureFixture[str]) -> None:
    names = run(code)
    assert capsys.readouterr().out == prints
    for name in ("left", "right"):
        if name in names:
            names[name].close()


def test_tcp_goes_through_a_transport_of_one_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    run(TCP, run(SOCKETS.split("left, right =")[0]))
    assert capsys.readouterr().out == TCP_PRINTS


def test_the_first_example_needs_ten_lines() -> None:
    assert sum(not line.startswith("from ") and bool(line) for line in SIM.splitlines()) <= 10


@pytest.fixture
def pair() -> Any:
    """Two hosts of the second example, without its loop."""
    names = run(SOCKETS.split("left, right =")[0])
    left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    heard: list[Any] = []
    alice, bob = names["host"](left, 1, heard), names["host"](right, 2, [])
    yield names, alice, bob, heard
    left.close()
    right.close()


def test_an_asyncio_loop_turns_two_drivers(pair: Any) -> None:
    names, (alice, alices_driver), (_, bobs_driver), heard = pair

    async def talk() -> None:
        pump = run(ASYNCIO, dict(names))["Pump"]
        ours = pump(alices_driver)
        pump(bobs_driver)
        alice.open_echo(77)
        alice.send_echo(names["parse_ip"]("192.0.2.2"), 77, 1, b"hello", names["RealWaiter"].now())
        ours.turn()
        async with asyncio.timeout(20):
            while not heard:
                await asyncio.sleep(0)

    asyncio.run(talk())
    assert heard[0].payload == b"hello"


def test_a_turn_by_hand_moves_frames_both_ways(pair: Any) -> None:
    names, (alice, _), (bob, _), _ = pair
    turn = run(BY_HAND, dict(names))["turn"]
    wires: list[list[bytes]] = [[], []]
    told: list[Any] = []
    alice.open_echo(77)
    alice.send_echo(names["parse_ip"]("192.0.2.2"), 77, 1, b"hello", 0)
    for now in range(10):
        to_alice, wires[0] = wires[0], []
        turn(alice, to_alice, now, wires[1].append, told.append)
        to_bob, wires[1] = wires[1], []
        turn(bob, to_bob, now, wires[0].append, told.append)
    assert [event.payload for event in told] == [b"hello"]
