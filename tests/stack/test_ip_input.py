"""RFC 791, RFC 1122 3.2.1, RFC 8200: requirements IP4-01 to IP4-06, IP4-10 to IP4-13, IP4-28, IP4-29; IPv6."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_NOP, IPOption_RR, IPOption_SSRR
from scapy.layers.inet6 import (
    HBHOptUnknown,
    ICMPv6EchoRequest,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
)
from scapy.layers.l2 import Dot1AD, Dot1Q, Ether
from scapy.packet import Raw

from pytools.engine import PACKET_BROADCAST, PACKET_OTHERHOST, PACKET_OUTGOING, RAW_IP
from pytools.stack.packet import Packet
from pytools.wire.addr import parse_ip
from tests.stack.story import EVERYBODY, ME, OTHER, PEER

ECHO = IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(id=1, seq=1) / b"data"
ECHO6 = IPv6(src="fd00::2", dst="fd00::10") / ICMPv6EchoRequest(id=1, seq=1, data=b"data")
REPLY = "REPLY id 1 seq 1 len 12 ttl 64 10.0.0.10 > 10.0.0.2"
REPLY6 = "REPLY id 1 seq 1 len 12 hlim 64 fd00::10 > fd00::2"


def neighbors_known(host, *more, **settings):
    t = host("10.0.0.10/24", "fd00::10/64", *more, **settings)
    t.knows("10.0.0.2", "fd00::2")
    return t


def edited(layer, at, octets):
    """The packet's octets with some overwritten, its IPv4 header checksum made right again unless that was the edit."""
    data = bytearray(bytes(layer))
    data[at : at + len(octets)] = octets
    if data[0] >> 4 == 4 and not at <= 10 < at + len(octets):
        data[10:12] = b"\0\0"
        length = (data[0] & 15) * 4
        total = sum(int.from_bytes(data[n : n + 2], "big") for n in range(0, length, 2))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        data[10:12] = (total ^ 0xFFFF).to_bytes(2, "big")
    return Raw(bytes(data))


def link4(layer, dst=ME):
    return Ether(src=PEER, dst=dst, type=0x0800) / layer


def link6(layer, dst=ME):
    return Ether(src=PEER, dst=dst, type=0x86DD) / layer


# --- link layer ------------------------------------------------------------------------------------------------------


def test_a_frame_for_another_station_is_not_ours(host):
    t = neighbors_known(host)
    t.receives(ECHO, dst=OTHER)
    t.dropped("OTHERHOST")
    t.receives(ECHO, packet_type=PACKET_OTHERHOST)
    t.dropped("OTHERHOST")


def test_our_own_frames_that_come_back_are_ignored(host):
    t = neighbors_known(host)
    t.receives(ECHO, src=ME, dst=EVERYBODY)
    t.dropped("OWN_FRAME")
    t.receives(ECHO, packet_type=PACKET_OUTGOING)
    t.dropped("OWN_FRAME")


@pytest.mark.parametrize("length", range(14))
def test_a_frame_without_a_whole_header(host, length):
    t = neighbors_known(host)
    t.receives(bytes(link4(ECHO))[:length])
    t.dropped("ETHERNET_HEADER")


def test_a_group_can_send_nothing(host):
    t = neighbors_known(host)
    t.receives(ECHO, src="01:00:5e:00:00:01")
    t.dropped("ETHERNET_HEADER")


def test_an_unknown_ethertype(host):
    t = neighbors_known(host)
    t.receives(Ether(src=PEER, dst=ME, type=0x88CC) / b"lldp")
    t.dropped("UNHANDLED_PROTO")


def test_an_8023_frame_with_a_length(host):
    t = neighbors_known(host)
    t.receives(bytes.fromhex("0180c2000000") + bytes.fromhex("020000000002") + b"\x00\x26" + bytes(46))
    t.dropped("ETHERNET_HEADER")


def test_an_unknown_port(host):
    t = neighbors_known(host)
    t.receives(link4(ECHO), port=9)
    t.dropped("NO_PORT")


def test_a_tagged_frame_is_not_for_an_untagged_port(host):
    t = neighbors_known(host)
    t.receives(Ether(src=PEER, dst=ME) / Dot1Q(vlan=10) / ECHO)
    t.dropped("VLAN_FILTER")


def test_a_priority_tag_is_no_vlan(host):
    t = neighbors_known(host)
    t.receives(Ether(src=PEER, dst=ME) / Dot1Q(vlan=0, prio=5) / ECHO)
    t.expects(REPLY)


def test_a_port_with_tags_takes_and_sends_only_frames_with_them(host):
    t = neighbors_known(host, vlans=(3 << 13 | 10, 20))
    t.receives(ECHO)
    t.dropped("VLAN_FILTER")
    t.receives(Ether(src=PEER, dst=ME) / Dot1AD(vlan=10) / Dot1Q(vlan=21) / ECHO)
    t.dropped("VLAN_FILTER")
    t.receives(Ether(src=PEER, dst=ME) / Dot1AD(vlan=10) / Dot1Q(vlan=20) / ECHO)
    t.expects(REPLY)
    frame = Ether(t.last[0])
    assert (frame.type, frame.prio, frame.vlan, frame[Dot1Q].vlan) == (0x88A8, 3, 10, 20)


def test_a_port_without_ethernet(host):
    t = neighbors_known(host, link_type=RAW_IP)
    t.receives(ECHO)
    t.receives(ECHO6)
    t.expects(REPLY, REPLY6)
    t.receives(ECHO, packet_type=PACKET_OUTGOING)
    t.dropped("OWN_FRAME")
    t.receives(ECHO, packet_type=PACKET_BROADCAST)
    t.dropped("UNICAST_IN_L2_MULTICAST")
    t.receives(b"")
    t.dropped("PKT_TOO_SMALL")
    t.receives(b"\x50" + bytes(40))
    t.dropped("IP_INHDR")


# --- IPv4 header -----------------------------------------------------------------------------------------------------


def test_padding_after_the_total_length_is_no_part_of_the_packet(host):
    t = neighbors_known(host)
    t.receives(bytes(link4(ECHO)) + b"\xee" * 20)
    t.expects(REPLY)


@pytest.mark.parametrize(
    ("at", "octets"),
    [(0, b"\x65"), (0, b"\x44"), (0, b"\x4f"), (2, b"\x00\x13"), (2, b"\x00\x80")],
    ids=["version", "IHL 4", "IHL beyond the packet", "total below header", "total beyond frame"],
)
def test_a_header_that_contradicts_itself(host, at, octets):
    t = neighbors_known(host)
    t.receives(link4(edited(IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(), at, octets)))
    t.dropped("IP_INHDR")
    t.expects_nothing()


@pytest.mark.parametrize("length", range(20))
def test_a_packet_shorter_than_its_header(host, length):
    t = neighbors_known(host)
    t.receives(link4(Raw(bytes(ECHO)[:length])))
    assert set(t.drops) <= {"IP_INHDR", "PKT_TOO_SMALL"}
    assert sum(t.drops.values()) == 1


def test_a_wrong_header_checksum_is_dropped_silently(host):
    t = neighbors_known(host)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", chksum=1) / ICMP())
    t.dropped("IP_CSUM")
    t.expects_nothing()


@pytest.mark.parametrize(
    "src", ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "255.255.255.255", "240.1.2.3", "10.0.0.255", "10.0.0.10"]
)
def test_a_source_that_is_no_host(host, src):
    t = neighbors_known(host)
    t.receives(IP(src=src, dst="10.0.0.10") / ICMP())
    t.dropped("IP_INVALID_SOURCE")
    t.expects_nothing()


@pytest.mark.parametrize("dst", ["10.0.0.11", "10.1.0.1", "127.0.0.1", "0.0.0.0", "240.0.0.1", "224.0.0.251"])
def test_a_destination_that_is_not_ours(host, dst):
    t = neighbors_known(host)
    t.receives(IP(src="10.0.0.2", dst=dst) / ICMP(), dst=EVERYBODY if dst.startswith("224") else ME)
    t.dropped("IP_INADDRERRORS")
    t.expects_nothing()


def test_a_unicast_packet_in_a_broadcast_frame(host):
    t = neighbors_known(host)
    t.receives(ECHO, dst=EVERYBODY)
    t.dropped("UNICAST_IN_L2_MULTICAST")
    t.receives(ECHO6, dst="33:33:00:00:00:01")
    t.dropped("UNICAST_IN_L2_MULTICAST")


@pytest.mark.parametrize("ttl", [0, 1])
def test_an_arriving_ttl_below_two_is_no_reason_to_drop(host, ttl):
    t = neighbors_known(host)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", ttl=ttl) / ICMP(id=1, seq=1) / b"data")
    t.expects(REPLY)


def test_the_strong_host_takes_only_what_is_for_the_arriving_port(host):
    t = neighbors_known(host, "10.0.1.10/24@1", ports=2)
    t.receives(IP(src="10.0.0.2", dst="10.0.1.10") / ICMP())
    t.dropped("IP_INADDRERRORS")


def test_a_weak_host_takes_what_is_for_any_port(host):
    t = neighbors_known(host, "10.0.1.10/24@1", ports=2, strong_host=False)
    t.receives(IP(src="10.0.0.2", dst="10.0.1.10") / ICMP(id=1, seq=1))
    t.expects("REPLY id 1 seq 1 len 8 ttl 64 10.0.1.10 > 10.0.0.2", port=0)
    t.receives(IP(src="10.0.0.2", dst="10.0.1.10") / ICMP(), dst=EVERYBODY)
    t.dropped("UNICAST_IN_L2_MULTICAST")


def test_loopback_addresses_are_welcome_on_lo_only(host):
    t = host("127.0.0.1/8", "::1", link_type=RAW_IP, shared=True)
    t.ping("127.0.0.1")
    t.expects("ECHO id 77 seq 1 len 8 ttl 64 DF 127.0.0.1 > 127.0.0.1")
    t.receives(IP(src="127.0.0.1", dst="127.0.0.1") / ICMP(id=77, seq=1))
    t.dropped("NOT_OUR_FLOW")
    t.receives(IP(src="127.0.0.1", dst="127.0.0.1") / ICMP(type=0, id=77, seq=1))
    assert t.replies() == [("127.0.0.1", 1)]
    t.receives(IPv6(src="::1", dst="::1") / ICMPv6EchoRequest(type=129, id=77, seq=2))
    assert t.replies() == [("::1", 2)]


# --- shared addresses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "layer",
    [
        ECHO,
        IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(type=13),
        IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(type=0, id=5),
        IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(type=42),
        IP(src="10.0.0.2", dst="10.0.0.10") / UDP(dport=53),
        IP(src="10.0.0.2", dst="10.0.0.10") / TCP(),
        IP(src="10.0.0.2", dst="10.0.0.10", proto=200) / b"x",
        IP(src="10.0.0.2", dst="10.0.0.255") / UDP(dport=138),
        IP(src="10.0.0.2", dst="10.0.0.77") / UDP(dport=138),
        IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(type=3, code=3) / IP(src="10.0.0.10", dst="10.0.0.2") / UDP(sport=4),
        ECHO6,
        IPv6(src="fd00::2", dst="fd00::10") / UDP(dport=53),
        IPv6(src="fd00::2", dst="fd00::10", nh=200) / b"x",
        IPv6(src="fd00::2", dst="fd00::10") / ICMPv6EchoRequest(type=150),
        IPv6(src="fd00::2", dst="ff02::1") / ICMPv6EchoRequest(),
        IPv6(src="fd00::2", dst="fd00::77") / UDP(dport=53),
    ],
)
def test_on_a_shared_address_nothing_is_answered(host, layer):
    t = neighbors_known(host, shared=True)
    t.receives(layer, dst=EVERYBODY if layer.dst == "10.0.0.255" else "")
    t.dropped("NOT_OUR_FLOW")
    t.expects_nothing()


def test_on_a_shared_address_our_own_flows_are_served(host):
    t = neighbors_known(host, shared=True)
    port = t.stack.open_udp(4000)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(type=0, id=77, seq=3))
    assert t.replies() == [("10.0.0.2", 3)]
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10") / UDP(sport=9, dport=port) / b"hi")
    (event,) = t.events()
    assert event.payload == b"hi"


# --- IPv4 options ----------------------------------------------------------------------------------------------------


def test_unknown_options_are_skipped(host):
    t = neighbors_known(host)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", options=[IPOption_NOP()] * 4) / ICMP(id=1, seq=1) / b"data")
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", options=Raw(b"\x1e\x04\xaa\xbb")) / ICMP(id=1, seq=1) / b"data")
    t.expects(REPLY, REPLY)


@pytest.mark.parametrize("options", [b"\x07\x01\x04\x00", b"\x07\x28\x04\x00", b"\x44\x03\x05\x00", b"\x07"])
def test_malformed_options_earn_a_parameter_problem(host, options):
    t = neighbors_known(host)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", options=Raw(options)) / ICMP())
    t.dropped("IP_OPTION")
    t.expects("PARAM-PROBLEM pointer * 10.0.0.10 > 10.0.0.2")


@pytest.mark.parametrize("option", [IPOption_LSRR, IPOption_SSRR])
def test_source_routed_packets_are_not_taken_by_default(host, option):
    t = neighbors_known(host)
    route = option(routers=["10.0.0.5"], pointer=8)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", options=[route]) / ICMP())
    t.dropped("IP_SOURCE_ROUTE")
    t.expects_nothing()


def test_a_source_route_at_its_end_is_taken_if_allowed(host):
    t = neighbors_known(host, accept_source_route=True)
    t.knows("10.0.0.5")
    route = IPOption_LSRR(routers=["10.0.0.5"], pointer=8)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", options=[route]) / ICMP(id=1, seq=1))
    t.expects("REPLY id 1 seq 1 len 8 ttl 64 10.0.0.10 > 10.0.0.5")


def test_a_host_is_no_hop_of_a_source_route(host):
    t = neighbors_known(host, accept_source_route=True)
    route = IPOption_LSRR(routers=["10.0.0.5"], pointer=4)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", options=[route]) / ICMP(id=1, seq=1))
    t.dropped("IP_SOURCE_ROUTE")
    t.expects("UNREACH source-route (echo id 1 seq 1 to 10.0.0.10) * 10.0.0.10 > 10.0.0.2")


# --- protocols -------------------------------------------------------------------------------------------------------


def test_an_unknown_protocol_is_unreachable(host):
    t = neighbors_known(host)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", proto=200) / b"12345678")
    t.dropped("IP_NOPROTO")
    t.expects("UNREACH protocol (protocol 200 to 10.0.0.10) * 10.0.0.10 > 10.0.0.2")


def test_an_unknown_next_header_is_a_parameter_problem(host):
    t = neighbors_known(host)
    t.receives(IPv6(src="fd00::2", dst="fd00::10", nh=200) / b"12345678")
    t.dropped("IP_NOPROTO")
    t.expects("PARAM-PROBLEM next-header 6 (*) * fd00::10 > fd00::2")
    t.receives(IPv6(src="fd00::2", dst="fd00::10") / IPv6ExtHdrDestOpt(nh=200) / b"12345678")
    t.dropped("IP_NOPROTO")
    t.expects("PARAM-PROBLEM next-header 40 (*) * fd00::10 > fd00::2")


def test_no_next_header_is_no_mistake(host):
    t = neighbors_known(host)
    t.receives(IPv6(src="fd00::2", dst="fd00::10", nh=59))
    t.dropped("IP_NOPROTO")
    t.expects_nothing()


class Handler:
    """A protocol of a test."""

    def __init__(self, verdict=None) -> None:
        self.verdict = verdict
        self.packets = []
        self.errors = []

    def on_packet(self, packet: Packet, now: int):
        self.packets.append((packet.src, packet.dst, bytes(packet.data[packet.offset : packet.end]), packet.ttl, now))
        return self.verdict

    def on_error(self, error, now: int):
        self.errors.append((error.type, error.code, error.quoted.sequence))
        return self.verdict


def test_a_registered_protocol_gets_its_packets_in_both_families(host):
    t = neighbors_known(host)
    handler = Handler()
    t.stack.register(200, handler)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", proto=200, ttl=9) / b"four")
    t.receives(IPv6(src="fd00::2", dst="fd00::10", nh=200, hlim=8) / b"six")
    assert handler.packets == [
        (parse_ip("10.0.0.2"), parse_ip("10.0.0.10"), b"four", 9, 0),
        (parse_ip("fd00::2"), parse_ip("fd00::10"), b"six", 8, 0),
    ]
    assert t.stack.accepted == 2


def test_a_registered_protocol_may_refuse_with_a_reason(host):
    t = neighbors_known(host)
    t.stack.register(6, Handler("TCP_CSUM"))
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10") / TCP())
    t.dropped("TCP_CSUM")


def test_a_registered_protocol_gets_the_errors_about_its_packets(host):
    t = neighbors_known(host)
    handler = Handler()
    t.stack.register(6, handler)
    segment = IP(src="10.0.0.10", dst="10.0.0.2") / TCP(seq=4711)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(type=3, code=3) / segment)
    assert handler.errors == [(3, 3, 4711)]


# --- IPv6 ------------------------------------------------------------------------------------------------------------


def test_ipv6_padding_is_no_part_of_the_packet(host):
    t = neighbors_known(host)
    t.receives(bytes(link6(ECHO6)) + b"\xee" * 20)
    t.expects(REPLY6)


@pytest.mark.parametrize(("at", "octets"), [(0, b"\x45"), (4, b"\x01\x00")], ids=["version", "payload length"])
def test_an_ipv6_header_that_contradicts_itself(host, at, octets):
    t = neighbors_known(host)
    t.receives(link6(edited(ECHO6, at, octets)))
    t.dropped("IP_INHDR")


@pytest.mark.parametrize("src", ["ff02::1", "::1", "::ffff:10.0.0.2", "fd00::10"])
def test_an_ipv6_source_that_is_no_host(host, src):
    t = neighbors_known(host)
    t.receives(IPv6(src=src, dst="fd00::10") / ICMPv6EchoRequest())
    t.dropped("IP_INVALID_SOURCE")


@pytest.mark.parametrize("dst", ["fd00::11", "fd01::1", "::1", "::", "ff02::fb", "ff01::1", "ff00::1"])
def test_an_ipv6_destination_that_is_not_ours(host, dst):
    t = neighbors_known(host)
    t.receives(IPv6(src="fd00::2", dst=dst) / ICMPv6EchoRequest())
    t.dropped("IP_INADDRERRORS")
    t.expects_nothing()


def test_known_extension_headers_are_passed(host):
    t = neighbors_known(host)
    headers = IPv6ExtHdrHopByHop(options=[PadN(optdata=b"\0\0")]) / IPv6ExtHdrDestOpt() / IPv6ExtHdrRouting(segleft=0)
    t.receives(
        IPv6(src="fd00::2", dst="fd00::10")
        / headers
        / IPv6ExtHdrFragment()
        / ICMPv6EchoRequest(id=1, seq=1, data=b"data")
    )
    t.expects(REPLY6)


@pytest.mark.parametrize(
    ("extension", "answer"),
    [
        (IPv6ExtHdrRouting(type=0, segleft=1, addresses=["fd00::9"]), "PARAM-PROBLEM field 42 (*"),
        (IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x80, optdata=b"\0\0")]), "PARAM-PROBLEM option 42 (*"),
        (IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0xC0, optdata=b"\0\0")]), "PARAM-PROBLEM option 42 (*"),
        (IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop(), "PARAM-PROBLEM next-header 40 (*"),
        (IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x40, optdata=b"\0\0")]), None),
        (IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=0x1E, optlen=255, optdata=b"\0\0")]), None),
    ],
)
def test_extension_headers_that_refuse_the_packet(host, extension, answer):
    t = neighbors_known(host)
    t.receives(IPv6(src="fd00::2", dst="fd00::10") / extension / ICMPv6EchoRequest(id=1))
    t.dropped("IPV6_BAD_EXTHDR")
    t.expects(*[answer] if answer else [])


@pytest.mark.parametrize(("option", "answered"), [(0x80, True), (0xC0, False)])
def test_an_unknown_option_in_a_multicast_packet(host, option, answered):
    t = neighbors_known(host)
    t.receives(
        IPv6(src="fd00::2", dst="ff02::1")
        / IPv6ExtHdrDestOpt(options=[HBHOptUnknown(otype=option, optdata=b"\0\0")])
        / ICMPv6EchoRequest(id=1),
    )
    t.dropped("IPV6_BAD_EXTHDR")
    t.expects(*["PARAM-PROBLEM option 42 (*"] if answered else [])


# --- what we send to ourselves ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["10.0.0.10", "fd00::10"])
def test_an_echo_to_ourselves_never_leaves(host, address):
    t = neighbors_known(host)
    assert t.ping(address, payload=b"x" * 3000) == 0
    t.expects_nothing()
    assert t.replies() == [(address, 1)]
    assert t.stack.frames == t.stack.accepted == 2


def test_what_we_refuse_from_ourselves_is_counted(host):
    t = neighbors_known(host)
    t.stack.send_udp(t.stack.open_udp(), parse_ip("10.0.0.10"), 9, b"", t.now)
    t.stack.send_ip(200, parse_ip("fd00::10"), (b"x",), t.now)
    t.expects_nothing()
    # The datagram and the Parameter Problem about the other packet, which nobody waits for.
    assert t.drops == {"NO_SOCKET": 2, "IP_NOPROTO": 1}


def test_record_route_reaches_us_as_sent(host):
    t = neighbors_known(host)
    t.receives(
        IP(src="10.0.0.2", dst="10.0.0.10", options=[IPOption_RR(length=7, routers=["0.0.0.0"])]) / ICMP(type=0, id=77)
    )
    (reply,) = t.events()
    assert reply.options == b"\x07\x07\x04" + bytes(5)
