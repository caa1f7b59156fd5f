"""The virtual clock, the switch, hosts and the link for the engine under test."""

from errno import EMSGSIZE
from random import Random

import pytest

from pytools.engine import (
    PACKET_BROADCAST,
    PACKET_HOST,
    PACKET_MULTICAST,
    PACKET_OTHERHOST,
    EngineEvent,
    Port,
    RxMeta,
    Transmit,
)
from pytools.sim.impairment import Impairment
from pytools.sim.network import EVENTS_PER_WAIT, Host, Network, Plug, Segment, SimLink, frames_of
from pytools.sim.wire import Wire
from pytools.units import MS, NEVER, SECOND, Ns

A, B, C = (b"\x02\0\0\0\0" + bytes([last]) for last in (0x0A, 0x0B, 0x0C))
ALL = b"\xff" * 6


def frame(dst: bytes, src: bytes, text: str = "") -> bytes:
    return dst + src + b"\x88\xb5" + text.encode()


class Echoer:
    """Sends each frame back to its sender after `pause`, and a first one of its own."""

    def __init__(self, pause: Ns = 0) -> None:
        self.pause = pause
        self.due: list[tuple[Ns, bytes]] = []
        self.out: list[Transmit] = []
        self.events: list[EngineEvent] = []
        self.reported: list[object] = []
        self.wakes = 0

    def on_frame(self, data: memoryview, now: Ns, meta: RxMeta) -> None:
        answer = bytes(data[6:12]) + bytes(data[:6]) + bytes(data[12:])
        self.due.append((now + self.pause, answer))
        self.events.append(EngineEvent(now))
        self.on_deadline(now)

    def on_deadline(self, now: Ns) -> None:
        self.wakes += 1
        while self.due and self.due[0][0] <= now:
            self.out.append(Transmit(0, (self.due.pop(0)[1],), token="t"))

    def poll_transmit(self, now: Ns) -> Transmit | None:
        return self.out.pop(0) if self.out else None

    def on_transmitted(self, token: object, now: Ns, at: Ns | None, error: OSError | None) -> None:
        self.reported.append((token, now, at, error))

    def poll_event(self) -> EngineEvent | None:
        return self.events.pop(0) if self.events else None

    def next_deadline(self) -> Ns:
        return self.due[0][0] if self.due else NEVER


def test_events_happen_in_order_of_time_and_then_of_scheduling() -> None:
    network, seen = Network(), []
    for at, name in ((5, "c"), (3, "a"), (3, "b")):
        network.push(at, seen.append, name)
    assert network.next_event_at() == 3
    assert network.wait(10) == 10
    assert seen == ["a", "b", "c"]


def test_time_stops_at_until_and_later_events_stay() -> None:
    network, seen = Network(), []
    network.push(5, seen.append, "later")
    assert network.wait(4) == 4
    assert seen == []
    assert network.wait(5) == 5
    assert seen == ["later"]


def test_a_wait_that_is_over_already_runs_what_is_due_now_and_moves_no_time() -> None:
    network, seen = Network(start=100), []
    network.push(50, seen.append, "past")
    network.push(100, seen.append, "present")
    assert network.wait(0) == 100
    assert seen == ["past", "present"]


def test_nothing_left_to_happen_is_never_and_the_clock_stands() -> None:
    network = Network(start=7)
    assert network.wait(NEVER) == NEVER
    assert network.now() == 7
    assert network.next_event_at() == NEVER


def test_endless_events_at_one_instant_give_the_caller_a_turn() -> None:
    network, count = Network(), 0

    def again(_: None) -> None:
        nonlocal count
        count += 1
        network.push(network.now(), again)

    network.push(0, again)
    assert network.wait(SECOND) == 0
    assert count == EVENTS_PER_WAIT


def three_stations() -> tuple[Network, list[Plug], dict[str, list[bytes]]]:
    network = Network()
    segment = Segment(network)
    got: dict[str, list[bytes]] = {name: [] for name in "abc"}
    return network, [segment.plug(got[name].append) for name in "abc"], got


def test_the_switch_floods_what_it_does_not_know_and_learns() -> None:
    network, (a, b, _), got = three_stations()
    first, second = frame(B, A), frame(A, B)
    a.send(first)
    b.send(second)
    network.wait(0)
    assert got == {"a": [second], "b": [first], "c": [first]}


def test_a_broadcast_reaches_everyone_but_its_sender() -> None:
    network, (a, _, _), got = three_stations()
    a.send(frame(ALL, A))
    network.wait(0)
    assert [len(got[name]) for name in "abc"] == [0, 1, 1]


def test_a_station_that_moves_is_found_at_its_new_place() -> None:
    network, (a, b, c), got = three_stations()
    b.send(frame(ALL, B))
    c.send(frame(ALL, B))
    network.wait(0)
    a.send(frame(B, A))
    network.wait(0)
    assert frame(B, A) in got["c"]
    assert frame(B, A) not in got["b"]


def test_a_frame_to_a_station_of_the_same_plug_goes_nowhere() -> None:
    network, (a, _, _), got = three_stations()
    a.send(frame(ALL, A))
    a.send(frame(A, C))
    network.wait(0)
    assert got["a"] == []
    assert frame(A, C) not in got["b"] + got["c"]


def test_less_than_an_ethernet_header_goes_nowhere() -> None:
    network, (a, _, _), got = three_stations()
    a.send(b"\xff" * 13)
    assert network.wait(NEVER) == NEVER
    assert got["b"] == []


def linked(out: Impairment | None = None, inward: Impairment | None = None) -> tuple[Network, SimLink, Echoer]:
    """Our link and an echoing host B on one segment."""
    network = Network()
    segment = Segment(network)
    wires = [None if i is None else Wire(i, Random(1)) for i in (out, inward)]
    link = SimLink(network, segment, Port(3, "sim0", mac=A), *wires)
    echoer = Echoer()
    Host(network, echoer, "echoer").plug(Port(0, "eth0", mac=B), segment)
    return network, link, echoer


def receive(network: Network, link: SimLink, limit: int = 64) -> list[tuple[bytes, Ns | None, int, int]]:
    got: list[tuple[bytes, Ns | None, int, int]] = []
    link.recv_batch(
        lambda f, now, meta: got.append((bytes(f), meta.at, meta.port, meta.packet_type)), network.now, limit
    )
    return got


def test_a_frame_goes_over_both_wires_and_comes_back_stamped() -> None:
    network, link, echoer = linked(Impairment(delay_ns=3 * MS), Impairment(delay_ns=4 * MS))
    assert link.send(Transmit(3, (frame(B, A), b"hi")))
    assert network.wait(NEVER) == 7 * MS
    assert receive(network, link) == [(frame(A, B, "hi"), 7 * MS, 3, PACKET_HOST)]
    assert echoer.reported == [("t", 3 * MS, None, None)]
    assert network.wait(NEVER) == NEVER


def test_the_wait_ends_at_the_first_frame_and_the_rest_waits() -> None:
    network, link, _ = linked(Impairment(), Impairment(rate_bps=8_000_000))
    for _ in range(2):
        link.send(Transmit(3, (frame(B, A, "x" * 86),)))
    assert network.wait(NEVER) == 100_000
    assert len(receive(network, link)) == 1
    assert network.wait(NEVER) == 200_000


def test_a_batch_takes_no_more_than_its_limit_and_the_next_wait_does_not_wait() -> None:
    network, link, _ = linked()
    for number in range(3):
        link.send(Transmit(3, (frame(B, A, str(number)),)))
    network.push(SECOND, lambda _: None)
    for _ in range(3):
        assert network.wait(NEVER) == 0
        assert len(receive(network, link, 1)) == 1


@pytest.mark.parametrize(
    ("dst", "kind"),
    [(A, PACKET_HOST), (ALL, PACKET_BROADCAST), (b"\x33\x33\0\0\0\1", PACKET_MULTICAST), (C, PACKET_OTHERHOST)],
)
def test_the_link_tells_whom_a_frame_is_for(dst: bytes, kind: int) -> None:
    network = Network()
    segment = Segment(network)
    link = SimLink(network, segment, Port(0, "sim0", mac=A))
    segment.plug(lambda frame: None).send(frame(dst, B))
    network.wait(NEVER)
    assert [entry[3] for entry in receive(network, link)] == [kind]


def test_a_frame_above_the_mtu_is_refused_as_a_device_refuses_it() -> None:
    _, link, _ = linked()
    assert link.send(Transmit(3, (frame(B, A), bytes(1500))))
    with pytest.raises(OSError, match="Message too long") as caught:
        link.send(Transmit(3, (frame(B, A), bytes(1501))))
    assert caught.value.errno == EMSGSIZE


def test_a_closed_link_sends_and_hears_nothing() -> None:
    network, link, echoer = linked()
    link.send(Transmit(3, (frame(B, A),)))
    network.wait(NEVER)
    link.close()
    link.close()
    assert link.send(Transmit(3, (frame(B, A),)))
    assert network.wait(NEVER) == NEVER
    assert receive(network, link) == []
    assert len(echoer.reported) == 1


def test_a_host_is_woken_at_its_deadline_and_not_before() -> None:
    network = Network()
    segment = Segment(network)
    got: list[tuple[Ns, bytes]] = []
    plug = segment.plug(lambda data: got.append((network.now(), data)))
    echoer = Echoer(pause=SECOND)
    heard: list[EngineEvent] = []
    Host(network, echoer, on_event=heard.append).plug(Port(0, "eth0", mac=B), segment)
    for at in (0, 300 * MS):
        network.push(at, plug.send, frame(B, A, str(at)))
    network.wait(NEVER)
    assert got == [(SECOND, frame(A, B, "0")), (SECOND + 300 * MS, frame(A, B, str(300 * MS)))]
    assert [event.now for event in heard] == [0, 300 * MS]
    assert echoer.wakes == 4


def test_a_host_whose_deadline_never_moves_does_not_stop_the_clock() -> None:
    network = Network()
    stuck = Echoer()
    stuck.next_deadline = lambda: 0  # type: ignore[method-assign]
    Host(network, stuck)
    while network.wait(MS) < MS:
        pass
    assert stuck.wakes <= 1_000


def test_super_segments_are_cut_before_they_are_impaired() -> None:
    scapy = pytest.importorskip("scapy.all", reason="scapy builds the segment")
    segment = bytes(
        scapy.Ether(dst="02:00:00:00:00:0b", src="02:00:00:00:00:0a")
        / scapy.IP(src="10.0.0.10", dst="10.0.0.2")
        / scapy.TCP(sport=1, dport=2, seq=100)
        / bytes(2500)
    )
    transmit = Transmit(3, (segment,), gso_size=1000, csum_start=34, csum_offset=16)
    assert [len(part) for part in frames_of(transmit)] == [1054, 1054, 554]
    network, link, _ = linked(Impairment(drops=frozenset((2,))))
    link.send(transmit)
    got = []
    while network.wait(NEVER) < NEVER:
        got += receive(network, link)
    sequences = [scapy.Ether(entry[0])[scapy.TCP].seq for entry in got]
    assert sequences == [100, 2100]


def test_the_same_seed_gives_the_same_bytes_at_the_same_times() -> None:
    def run(seed: int) -> list[tuple[bytes, Ns | None]]:
        network = Network()
        segment = Segment(network)
        settings = Impairment(loss=0.2, jitter_ns=5 * MS, delay_ns=5 * MS, duplicate=0.1, reorder=0.2)
        link = SimLink(
            network, segment, Port(0, "sim0", mac=A), Wire(settings, Random(seed)), Wire(settings, Random(-seed - 1))
        )
        Host(network, Echoer(MS)).plug(Port(0, "eth0", mac=B), segment)
        got: list[tuple[bytes, Ns | None]] = []
        for number in range(200):
            network.push(number * MS, lambda text: link.send(Transmit(0, (frame(B, A, text),))), str(number))
        while network.wait(NEVER) < NEVER:
            link.recv_batch(lambda f, now, meta: got.append((bytes(f), meta.at)), network.now, 64)
        return got

    assert run(1) == run(1)
    assert run(1) != run(2)
