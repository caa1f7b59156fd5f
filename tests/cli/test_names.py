"""Reverse names: the look-up is the test's own, so that no resolver is asked."""

import select
import threading

from pytools.cli.names import ReverseNames
from pytools.wire.addr import parse_ip

HOST, OTHER = parse_ip("10.0.0.2"), parse_ip("10.0.0.3")


def settled(names: ReverseNames, address: bytes) -> str | None:
    """The name when the loop was woken."""
    if (name := names.name(address)) is not None:
        return name
    while names.name(address) is None:
        assert select.select([names.fileno()], [], [], 10)[0]
        names.drain()
    return names.name(address)


def test_a_name_comes_later_and_wakes_the_loop() -> None:
    gate = threading.Event()

    def look_up(address: bytes) -> str:
        gate.wait(10)
        return "host.example"

    names = ReverseNames(look_up)
    assert names.name(HOST) is None
    assert names.name(HOST) is None
    gate.set()
    assert settled(names, HOST) == "host.example"


def test_each_address_is_asked_once() -> None:
    asked: list[bytes] = []

    def look_up(address: bytes) -> str:
        asked.append(address)
        return ""

    names = ReverseNames(look_up)
    assert settled(names, HOST) == ""
    assert settled(names, HOST) == ""
    assert settled(names, OTHER) == ""
    assert asked == [HOST, OTHER]


def test_a_slow_answer_does_not_hold_up_another() -> None:
    gate = threading.Event()
    names = ReverseNames(lambda address: "fast" if address == OTHER else str(gate.wait(10)))
    assert names.name(HOST) is None
    assert settled(names, OTHER) == "fast"
    assert names.name(HOST) is None
    gate.set()


def test_waiting_ends_when_a_name_has_come() -> None:
    names = ReverseNames(lambda address: "host.example")
    while names.name(HOST) is None:
        names.wait(10)
    assert names.name(HOST) == "host.example"


def test_nothing_to_wait_for_returns_at_once() -> None:
    ReverseNames(lambda address: "").wait(3600)


def test_an_answered_question_is_no_longer_waited_for() -> None:
    names = ReverseNames(lambda address: "host.example")
    assert settled(names, HOST) == "host.example"
    names.wait(3600)


def test_patience_ends(monkeypatch) -> None:
    gate = threading.Event()
    monkeypatch.setattr("pytools.cli.names.PATIENCE_S", -1.0)
    names = ReverseNames(lambda address: str(gate.wait(10)))
    assert names.name(HOST) is None
    assert names.name(HOST) == ""
    gate.set()


def test_the_system_is_asked_for_loopback() -> None:
    assert "localhost" in (settled(ReverseNames(), parse_ip("127.0.0.1")) or "")
