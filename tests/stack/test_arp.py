"""RFC 826, RFC 1122 2.3.2: the requirements ARP-01 to ARP-10, ARP-16 to ARP-18."""

import errno

import pytest
from scapy.layers.inet import ICMP, IP, UDP
from scapy.layers.l2 import ARP, Ether

from pytools.stack.events import ArpSeen, NeighborFailed, NeighborResolved, SendFailed
from pytools.trace.events import FrameSent, NeighborChanged, PacketQueued, TimerFired
from pytools.units import SECOND
from pytools.wire.addr import parse_ip, parse_mac
from tests.stack.story import EVERYBODY, ME, OTHER, PEER, arp_reply, arp_request


def mac_of(t, address):
    neighbor = next((n for n in t.stack.neighbors(0) if n.address == parse_ip(address)), None)
    return neighbor and (neighbor.mac.hex(":"), neighbor.state)


def test_an_echo_waits_for_the_link_address(host):
    t = host("10.0.0.10/24")
    assert t.ping("10.0.0.2") == 0
    t.expects("ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)")
    t.receives(arp_reply("10.0.0.2"))
    t.expects("ECHO id 77 seq 1 len 8 ttl 64 DF 10.0.0.10 > 10.0.0.2")
    assert t.link_destination() == PEER


def test_a_request_is_an_ethernet_frame_of_42_octets_with_our_addresses(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.expects("ARP *")
    assert t.last[0] == bytes(
        Ether(src=ME, dst=EVERYBODY) / ARP(op=1, hwsrc=ME, psrc="10.0.0.10", hwdst="00:00:00:00:00:00", pdst="10.0.0.2")
    )


def test_requests_are_a_second_apart_and_three(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.99")
    for _ in range(3):
        t.expects("ARP who-has 10.0.0.99 tell 10.0.0.10 (bcast)")
        t.advance(0.999)
        t.expects_nothing()
        t.advance(0.001)
    t.expects_nothing()
    assert t.stack.neighbors(0) == []


def test_a_flood_to_one_dead_address_makes_one_request_a_second(host):
    t = host("10.0.0.10/24")
    for seq in range(499):
        t.ping("10.0.0.99", seq)
        t.advance(0.01)
    requests = [frame for _, frame in t.frames]
    assert len(requests) == 5


def test_a_queued_echo_fails_three_seconds_after_the_first_request(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.99", seq=1)
    t.advance(1)
    t.ping("10.0.0.99", seq=2)
    t.advance(1.999)
    assert t.errors() == []
    t.advance(0.001)
    errors = t.events()
    assert [(e.src, e.type, e.code, e.quoted.icmp_seq) for e in errors] == [
        (parse_ip("10.0.0.10"), 3, 1, 1),
        (parse_ip("10.0.0.10"), 3, 1, 2),
    ]
    assert errors[0].now == 3 * SECOND
    assert t.stack.discards == {"NEIGH_FAILED": 2}


def test_a_packet_without_an_open_endpoint_fails_with_its_token(host):
    t = host("10.0.0.10/24")
    t.stack.send_ip(200, parse_ip("10.0.0.99"), (b"data",), t.now, token="mine")
    t.advance(3)
    (failed,) = t.events(SendFailed)
    assert (failed.dst, failed.errno, failed.token) == (parse_ip("10.0.0.99"), errno.EHOSTUNREACH, "mine")


def test_a_packet_that_nobody_cares_for_fails_silently(host):
    t = host("10.0.0.10/24")
    t.stack.send_ip(200, parse_ip("10.0.0.99"), (b"data",), t.now)
    t.advance(3)
    assert t.events() == []


def test_after_a_failure_the_next_packet_asks_again(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.99")
    t.advance(3)
    t.expects(*["ARP who-has 10.0.0.99 tell 10.0.0.10 (bcast)"] * 3)
    t.ping("10.0.0.99", seq=2)
    t.expects("ARP who-has 10.0.0.99 tell 10.0.0.10 (bcast)")


def test_what_waits_is_sent_in_order_when_the_answer_comes(host):
    t = host("10.0.0.10/24")
    for seq in (1, 2, 3):
        t.ping("10.0.0.2", seq)
    t.expects("ARP *")
    t.receives(arp_reply("10.0.0.2"))
    t.expects("ECHO id 77 seq 1 *", "ECHO id 77 seq 2 *", "ECHO id 77 seq 3 *")


def test_the_queue_keeps_the_latest_packets(host):
    t = host("10.0.0.10/24", neighbor_queue=2)
    for seq in (1, 2, 3):
        t.ping("10.0.0.2", seq)
    t.expects("ARP *")
    t.receives(arp_reply("10.0.0.2"))
    t.expects("ECHO id 77 seq 2 *", "ECHO id 77 seq 3 *")
    assert t.stack.discards == {"NEIGH_QUEUEFULL": 1}


def test_all_queues_of_a_port_together_are_bounded(host):
    t = host("10.0.0.10/24", neighbor_queue_total=2)
    assert [t.ping(f"10.0.0.{n}") for n in (1, 2, 3)] == [0, 0, errno.ENOBUFS]
    t.receives(arp_reply("10.0.0.1"))
    assert t.ping("10.0.0.3") == 0
    t.expects("ARP who-has 10.0.0.1 *", "ARP who-has 10.0.0.2 *", "ECHO *", "ARP who-has 10.0.0.3 *")


def test_we_answer_a_request_for_our_address_by_unicast(host):
    t = host("10.0.0.10/24")
    t.receives(arp_request("10.0.0.10", sender="10.0.0.2"))
    t.expects(f"ARP 10.0.0.10 is-at {ME}")
    assert t.last[0] == bytes(
        Ether(src=ME, dst=PEER) / ARP(op=2, hwsrc=ME, psrc="10.0.0.10", hwdst=PEER, pdst="10.0.0.2")
    )


def test_who_asks_us_is_entered_and_can_be_answered_at_once(host):
    t = host("10.0.0.10/24")
    t.receives(arp_request("10.0.0.10", sender="10.0.0.2"))
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(id=1, seq=1))
    t.expects("ARP *", "REPLY id 1 seq 1 *")


def test_a_request_for_another_makes_no_entry(host):
    t = host("10.0.0.10/24")
    t.receives(arp_request("10.0.0.3", sender="10.0.0.2"))
    t.dropped("ARP_NOT_FOR_US")
    t.expects_nothing()
    assert t.stack.neighbors(0) == []


def test_an_unsolicited_reply_makes_no_entry(host):
    t = host("10.0.0.10/24")
    t.receives(arp_reply("10.0.0.2"))
    t.dropped("ARP_NOT_FOR_US")
    assert t.stack.neighbors(0) == []


@pytest.mark.parametrize(
    "packet",
    [arp_request("10.0.0.3", sender="10.0.0.2", mac=OTHER), arp_reply("10.0.0.2", OTHER, to="10.0.0.3", to_mac=OTHER)],
    ids=["request", "reply"],
)
def test_the_merge_flag_updates_a_known_sender_whatever_the_packet(host, packet):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.receives(arp_reply("10.0.0.2"))
    assert mac_of(t, "10.0.0.2") == (PEER, "REACHABLE")
    t.receives(packet, src=OTHER, dst=EVERYBODY)
    assert mac_of(t, "10.0.0.2") == (OTHER, "STALE")
    assert not t.drops


def test_a_gratuitous_reply_resolves_what_waits(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.expects("ARP *")
    t.receives(arp_reply("10.0.0.2", to="10.0.0.2", to_mac=EVERYBODY), dst=EVERYBODY)
    t.expects("ECHO *")


def test_a_reply_is_never_answered(host):
    t = host("10.0.0.10/24")
    t.receives(arp_reply("10.0.0.2"))
    t.expects_nothing()


@pytest.mark.parametrize(
    "field",
    [{"hwtype": 6}, {"ptype": 0x86DD}, {"hwlen": 8}, {"plen": 16}],
    ids=["hardware type", "protocol type", "hardware length", "protocol length"],
)
def test_other_hardware_and_protocols_are_ignored(host, field):
    t = host("10.0.0.10/24")
    packet = ARP(op=1, hwsrc=PEER, psrc="10.0.0.2", pdst="10.0.0.10")
    frame = bytearray(bytes(Ether(src=PEER, dst=EVERYBODY) / packet))
    at = {"hwtype": (14, 2), "ptype": (16, 2), "hwlen": (18, 1), "plen": (19, 1)}
    for name, value in field.items():
        start, length = at[name]
        frame[start : start + length] = value.to_bytes(length, "big")
    t.receives(bytes(frame))
    t.dropped("ARP_HEADER")
    t.expects_nothing()


def test_a_short_packet_is_refused(host):
    t = host("10.0.0.10/24")
    t.receives(bytes(Ether(src=PEER, dst=EVERYBODY) / arp_request("10.0.0.10", "10.0.0.2"))[:-1])
    t.dropped("ARP_HEADER")


def test_the_opcode_is_looked_at_last(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.expects("ARP *")
    t.receives(ARP(op=9, hwsrc=PEER, psrc="10.0.0.2", hwdst=ME, pdst="10.0.0.10"), dst=ME)
    t.expects("ECHO *")


@pytest.mark.parametrize("mac", ["ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:00:00:00:00:00"])
def test_a_group_is_no_sender(host, mac):
    t = host("10.0.0.10/24")
    t.receives(arp_request("10.0.0.10", sender="10.0.0.2", mac=mac))
    t.dropped("ARP_SENDER")
    t.expects_nothing()


@pytest.mark.parametrize("sender", ["224.0.0.1", "255.255.255.255", "127.0.0.1", "10.0.0.255", "240.0.0.1"])
def test_what_is_no_host_is_no_sender(host, sender):
    t = host("10.0.0.10/24")
    t.receives(arp_request("10.0.0.10", sender=sender))
    t.dropped("ARP_SENDER")


def test_a_packet_in_our_own_name_is_ignored(host):
    t = host("10.0.0.10/24")
    t.receives(arp_request("10.0.0.10", sender="10.0.0.2", mac=ME), src=PEER)
    t.dropped("OWN_FRAME")


def test_a_probe_is_answered_and_not_entered(host):
    t = host("10.0.0.10/24")
    t.receives(arp_request("10.0.0.10", sender="0.0.0.0"))
    t.expects(f"ARP 10.0.0.10 is-at {ME}")
    assert t.link_destination() == PEER
    assert t.stack.neighbors(0) == []


def test_an_entry_is_polled_by_unicast_before_it_is_forgotten(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.receives(arp_reply("10.0.0.2"))
    t.expects("ARP *", "ECHO *")
    t.advance(46)
    t.ping("10.0.0.2", seq=2)
    assert mac_of(t, "10.0.0.2") == (PEER, "DELAY")
    t.expects("ECHO *")
    t.advance(5)
    t.expects("ARP who-has 10.0.0.2 tell 10.0.0.10")
    assert t.link_destination() == PEER
    t.receives(arp_reply("10.0.0.2"))
    assert mac_of(t, "10.0.0.2") == (PEER, "REACHABLE")


def test_an_entry_that_no_poll_confirms_is_forgotten(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.receives(arp_reply("10.0.0.2"))
    t.advance(46)
    t.ping("10.0.0.2", seq=2)
    t.expects("ARP *", "ECHO *", "ECHO *")
    t.advance(7.9)
    t.expects(*["ARP who-has 10.0.0.2 tell 10.0.0.10"] * 3)
    t.advance(0.1)
    assert t.stack.neighbors(0) == []


def test_an_entry_unused_for_long_is_asked_for_afresh(host):
    t = host("10.0.0.10/24")
    t.ping("10.0.0.2")
    t.receives(arp_reply("10.0.0.2"))
    t.expects("ARP *", "ECHO *")
    t.advance(120)
    t.ping("10.0.0.2", seq=2)
    t.expects("ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)")
    t.advance(3)
    t.expects(*["ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)"] * 2)
    assert t.errors() == [("10.0.0.10", 3, 1)]


def test_a_shared_address_resolves_but_never_answers(host):
    t = host("10.0.0.10/24", shared=True)
    t.receives(arp_request("10.0.0.10", sender="10.0.0.2"))
    t.dropped("NOT_OUR_FLOW")
    t.expects_nothing()
    t.ping("10.0.0.2")
    t.expects("ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)")
    t.receives(arp_reply("10.0.0.2"))
    t.expects("ECHO *")
    t.receives(arp_reply("10.0.0.3"))
    t.dropped("NOT_OUR_FLOW")


def test_the_request_comes_from_the_address_of_the_packet_that_waits(host):
    t = host("10.0.0.10/24", "10.0.0.11/24")
    t.ping("10.0.0.2", src=parse_ip("10.0.0.11"))
    t.expects("ARP who-has 10.0.0.2 tell 10.0.0.11 (bcast)")


def test_a_port_without_an_address_asks_as_a_probe(host):
    t = host("10.0.1.10/24@1", ports=2)
    t.ping("10.0.0.2", port=0)
    t.expects("ARP who-has 10.0.0.2 tell 0.0.0.0 (bcast) probe", port=0)


def test_resolve_without_a_packet(host):
    t = host("10.0.0.10/24")
    t.stack.resolve(0, parse_ip("10.0.0.2"), t.now)
    t.expects("ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)")
    t.stack.resolve(0, parse_ip("10.0.0.2"), t.now)
    t.expects_nothing()
    t.receives(arp_reply("10.0.0.2"))
    (resolved,) = t.events(NeighborResolved)
    assert (resolved.port, resolved.address, resolved.mac) == (0, parse_ip("10.0.0.2"), parse_mac(PEER))
    t.stack.resolve(0, parse_ip("10.0.0.2"), t.now)
    assert len(t.events(NeighborResolved)) == 1


def test_resolve_in_vain(host):
    t = host("10.0.0.10/24")
    t.stack.resolve(0, parse_ip("10.0.0.2"), t.now)
    t.advance(3)
    (failed,) = t.events(NeighborFailed)
    assert failed.address == parse_ip("10.0.0.2")


def test_a_watched_port_tells_of_every_packet(host):
    t = host("10.0.0.10/24")
    t.stack.watch(0)
    t.receives(arp_request("10.0.0.3", sender="10.0.0.2"), at=5)
    t.receives(arp_reply("10.0.0.2", to="10.0.0.10"))
    first, second = t.events(ArpSeen)
    assert (first.at, first.frame_src, first.packet.target_ip, first.broadcast) == (
        5,
        parse_mac(PEER),
        parse_ip("10.0.0.3"),
        True,
    )
    assert (second.packet.operation, second.broadcast) == (2, False)
    t.stack.watch(0, False)
    t.receives(arp_reply("10.0.0.2"))
    assert t.events() == []


def test_the_trace_tells_the_states_and_why(host):
    t = host("10.0.0.10/24")
    t.listens("neighbor", "timer", "frame")
    t.ping("10.0.0.2")
    t.advance(1)
    t.receives(arp_reply("10.0.0.2"))
    address, mac = parse_ip("10.0.0.2"), parse_mac(PEER)
    assert t.heard(NeighborChanged) == [
        (0, address, b"", "", "INCOMPLETE", "packet to send"),
        (0, address, mac, "INCOMPLETE", "REACHABLE", "reply"),
    ]
    assert t.heard(PacketQueued) == [(0, address, 1)]
    assert t.heard(TimerFired) == [("incomplete", "10.0.0.2", 1)]
    assert len(t.heard(FrameSent)) == 3


def test_udp_waits_too(host):
    t = host("10.0.0.10/24")
    port = t.stack.open_udp()
    t.stack.send_udp(port, parse_ip("10.0.0.2"), 9, b"hello", t.now)
    t.expects("ARP *")
    t.receives(arp_reply("10.0.0.2"))
    t.expects(f"UDP len 5 ttl 64 DF 10.0.0.10:{port} > 10.0.0.2:9")
    assert Ether(t.last[0])[UDP].chksum
