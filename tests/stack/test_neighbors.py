"""The neighbour cache as a table: its bounds, what makes room, entries made by hand."""

import errno

from scapy.layers.inet import IP

from pytools.engine import RxMeta, Transmit
from pytools.stack.events import NeighborFailed
from pytools.units import SECOND
from pytools.wire.addr import parse_ip, parse_mac
from tests.stack.story import OTHER, PEER, arp_reply, arp_request


def entries(t):
    return [n.address for n in t.stack.neighbors(0)]


def test_a_table_full_of_questions_refuses_more(host):
    t = host("10.0.0.10/24", neighbor_limit=4)
    results = [t.ping(f"10.0.0.{n}") for n in range(100, 106)]
    assert results == [0, 0, 0, 0, errno.ENOBUFS, errno.ENOBUFS]
    assert t.stack.resolve(0, parse_ip("10.0.0.200"), t.now) == errno.ENOBUFS
    t.advance(3)
    assert t.ping("10.0.0.105") == 0


def test_when_it_is_full_an_asker_is_answered_and_not_entered(host):
    t = host("10.0.0.10/24", neighbor_limit=1)
    t.ping("10.0.0.99")
    t.receives(arp_request("10.0.0.10", sender="10.0.0.2"))
    t.expects("ARP who-has 10.0.0.99 *", "ARP 10.0.0.10 is-at *")
    assert entries(t) == [parse_ip("10.0.0.99")]


def test_the_unused_make_room_and_the_used_stay(host):
    t = host("10.0.0.10/24", neighbor_limit=8)
    for n in range(1, 200):
        t.receives(arp_request("10.0.0.10", sender=f"10.0.0.{n or 1}"))
        t.ping("10.0.0.1")
        assert len(entries(t)) <= 8
        assert parse_ip("10.0.0.1") in entries(t)


def test_a_neighbor_thrown_out_is_not_used_any_more(host):
    t = host("10.0.0.10/24", neighbor_limit=2)
    for n in (1, 2):
        t.receives(arp_request("10.0.0.10", sender=f"10.0.0.{n}"))
    thrown = t.stack.neighbors(0)[0]
    t.ping("10.0.0.50")
    assert thrown.address not in entries(t)
    assert thrown.fresh_until == 0


def test_a_sweep_of_65000_addresses_keeps_the_table_small(host):
    t = host("10.0.0.10/8")
    t.routes("10.0.0.0/8")
    largest = 0
    for n in range(65_000):
        dst = (0x0A010000 + n).to_bytes(4, "big")
        assert t.stack.send_echo(dst, 77, 0, b"", t.now) == 0
        t.stack.poll_transmit(t.now)
        iface = t.stack._node.interfaces[0]
        t.stack._neighbors.confirm(iface.neighbors[dst], parse_mac(PEER), t.now, "reply")
        t.stack.poll_transmit(t.now)
        largest = max(largest, len(iface.neighbors))
        t.now += SECOND // 20_000
        t.stack.on_deadline(t.now)
    assert largest <= t.config.neighbor_limit
    assert len(t.stack._node.deadlines._heap) < 21_000


def test_entries_by_hand_are_never_asked_for(host):
    t = host("10.0.0.10/24", neighbor_limit=4)
    t.knows("10.0.0.1", "10.0.0.2")
    t.knows("10.0.0.1", mac=OTHER)
    t.advance(100_000)
    t.ping("10.0.0.1")
    t.expects("ECHO *")
    assert t.link_destination() == OTHER
    for n in range(50, 60):
        t.receives(arp_request("10.0.0.10", sender=f"10.0.0.{n}"))
    assert {parse_ip("10.0.0.1"), parse_ip("10.0.0.2")} <= set(entries(t))
    t.receives(arp_reply("10.0.0.1", PEER))
    t.receives(arp_request("10.0.0.10", sender="10.0.0.1", mac=PEER))
    assert t.stack.neighbors(0)[0].mac == parse_mac(OTHER)


def test_an_entry_by_hand_sends_what_waits(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.expects("ARP *")
    t.knows("10.0.0.2")
    t.expects("ECHO *")
    t.advance(10)
    t.expects_nothing()


def test_removing_an_entry_fails_what_waits(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.stack.resolve(0, parse_ip("10.0.0.2"), t.now)
    t.stack.remove_neighbor(0, parse_ip("10.0.0.2"), t.now)
    t.stack.remove_neighbor(0, parse_ip("10.0.0.3"), t.now)
    assert isinstance(t.stack.poll_event(), NeighborFailed)
    assert t.errors() == [("10.0.0.10", 3, 1)]
    t.frames.clear()
    t.advance(10)
    t.expects_nothing()


def test_removing_an_entry_by_hand(host):
    t = host("10.0.0.10/24")
    t.knows("10.0.0.2")
    t.stack.remove_neighbor(0, parse_ip("10.0.0.2"), t.now)
    assert t.stack._node.interfaces[0].busy_count == 0
    t.ping("10.0.0.2")
    t.expects("ARP *")


def test_an_upper_layer_keeps_a_neighbor_reachable(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.receives(arp_reply("10.0.0.2"))
    t.expects("ARP *", "ECHO *")
    neighbor = t.stack.neighbors(0)[0]
    for seq in range(20):
        t.advance(10)
        t.stack._neighbors.reachable(neighbor, t.now)
        t.ping("10.0.0.2", seq)
    t.expects(*["ECHO *"] * 20)
    assert neighbor.state == "REACHABLE"


def test_an_upper_layer_says_nothing_of_a_neighbor_that_is_unknown_or_by_hand(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    neighbor = t.stack.neighbors(0)[0]
    t.stack._neighbors.reachable(neighbor, t.now)
    assert neighbor.state == "INCOMPLETE"
    t.knows("10.0.0.2")
    t.stack._neighbors.reachable(neighbor, t.now)
    t.stack._neighbors.confirm(neighbor, parse_mac(OTHER), t.now, "reply")
    assert (neighbor.state, neighbor.mac) == ("PERMANENT", parse_mac(PEER))


def test_doubt_asks_again_soon(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.receives(arp_reply("10.0.0.2"))
    neighbor = t.stack.neighbors(0)[0]
    t.stack._neighbors.suspect(neighbor, t.now, "no answers")
    t.stack._neighbors.suspect(neighbor, t.now, "no answers")
    t.ping("10.0.0.2")
    t.expects("ARP *", "ECHO *", "ECHO *")
    t.advance(5)
    t.expects("ARP who-has 10.0.0.2 tell 10.0.0.10")


def test_the_time_of_reachability_differs_between_hosts(host):
    times = {host("10.0.0.10/24", seed=seed).stack._node.interfaces[0].reachable_ns for seed in range(20)}
    assert len(times) == 20
    assert all(15 * SECOND <= time <= 45 * SECOND for time in times)


def test_checksum_offsets_move_with_the_link_header(host):
    t = host("10.0.0.10/24")
    iface = t.stack._node.interfaces[0]
    header = bytes(IP(src="10.0.0.10", dst="10.0.0.2"))
    t.stack._neighbors.output(iface, parse_ip("10.0.0.2"), Transmit(0, (header, b"x"), 0, 20, 16), t.now)
    assert t.stack.poll_transmit(t.now).csum_start == 0
    t.stack.on_frame(
        memoryview(bytes.fromhex("02000000000a0200000000020806") + bytes(arp_reply("10.0.0.2"))), 0, RxMeta()
    )
    frame = t.stack.poll_transmit(t.now)
    assert (frame.csum_start, frame.csum_offset, len(frame.parts[0])) == (34, 16, 14)
