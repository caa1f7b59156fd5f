"""RFC 791, RFC 1122 3.3, RFC 8200: the requirements IP4-06 to IP4-10, IP4-24 to IP4-26, and IPv6's."""

import errno

import pytest
from scapy.layers.inet import IP, UDP, defragment
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, defragment6
from scapy.layers.l2 import Ether

from pytools.engine import RAW_IP
from pytools.stack.packet import IpOptions
from pytools.trace.events import Fragmented
from pytools.wire import ipv4_options
from pytools.wire.addr import parse_ip
from tests.stack.story import EVERYBODY, PEER, ROUTER, advertisement, arp_reply


def known(host, *addresses, **settings):
    t = host(*(addresses or ("10.0.0.10/24", "fd00::10/64")), **settings)
    t.knows("10.0.0.2", "fd00::2")
    t.knows("10.0.0.1", "fd00::1", mac=ROUTER)
    return t


def send(t, dst, payload=b"data", protocol=200, **options):
    result = t.stack.send_ip(protocol, parse_ip(dst), (payload,), t.now, IpOptions(**options))
    t._collect()
    return result


# --- where to ------------------------------------------------------------------------------------------------------


def test_on_our_network_straight_to_the_neighbor(host):
    t = known(host)
    t.ping("10.0.0.2")
    t.ping("fd00::2")
    t.expects("ECHO *", "ECHO *")
    assert [t.link_destination(n) for n in (0, 1)] == [PEER, PEER]


def test_elsewhere_by_the_default_gateway(host):
    t = known(host)
    t.routes("0.0.0.0/0", "10.0.0.1")
    t.routes("::/0", "fd00::1")
    t.ping("192.0.2.1")
    t.ping("2001:db8::1")
    t.expects("ECHO * 10.0.0.10 > 192.0.2.1", "ECHO * fd00::10 > 2001:db8::1")
    assert [t.link_destination(n) for n in (0, 1)] == [ROUTER, ROUTER]


@pytest.mark.parametrize("dst", ["192.0.2.1", "2001:db8::1"])
def test_without_a_route_the_network_is_unreachable(host, dst):
    t = known(host)
    assert t.ping(dst) == errno.ENETUNREACH
    assert t.stack.path_mtu(parse_ip(dst)) == 0
    assert t.stack.source_for(parse_ip(dst)) is None


@pytest.mark.parametrize(
    ("kind", "error"), [("unreachable", errno.EHOSTUNREACH), ("prohibit", errno.EACCES), ("blackhole", errno.EINVAL)]
)
@pytest.mark.parametrize(("network", "dst"), [("192.0.2.0/24", "192.0.2.1"), ("2001:db8::/32", "2001:db8::1")])
def test_a_route_that_leads_nowhere_says_so(host, kind, error, network, dst):
    t = known(host)
    t.routes(network, kind=kind)
    assert t.ping(dst) == error


def test_a_route_may_name_the_source_and_the_mtu(host):
    t = known(host, "10.0.0.10/24", "10.0.0.11/24")
    t.routes("192.0.2.0/24", "10.0.0.1", source=parse_ip("10.0.0.11"), mtu=1400)
    t.ping("192.0.2.1")
    t.expects("ECHO * 10.0.0.11 > 192.0.2.1")
    assert t.stack.path_mtu(parse_ip("192.0.2.1")) == 1400
    assert t.stack.source_for(parse_ip("192.0.2.1")) == parse_ip("10.0.0.11")


def test_the_source_is_the_address_in_the_network_of_the_next_hop(host):
    t = known(host, "10.0.0.10/24", "10.9.0.10/24")
    t.routes("192.0.2.0/24", "10.9.0.1")
    t.knows("10.9.0.1")
    t.ping("192.0.2.1")
    t.expects("ECHO * 10.9.0.10 > 192.0.2.1")


def test_a_source_that_is_not_ours_is_refused(host):
    t = known(host)
    assert t.ping("10.0.0.2", src=parse_ip("10.0.0.77")) == errno.EADDRNOTAVAIL
    assert t.ping("10.0.0.2", src=parse_ip("10.0.0.77"), port=0) == errno.EADDRNOTAVAIL


def test_without_any_address_there_is_no_source(host):
    t = host()
    t.routes("10.0.0.0/24")
    assert t.ping("10.0.0.2") == errno.EADDRNOTAVAIL
    assert t.ping("224.0.0.5", port=0) == errno.EADDRNOTAVAIL


def test_a_port_without_an_address_borrows_one(host):
    t = host("10.0.0.10/24@1", ports=2)
    t.routes("10.9.0.0/24", port=0)
    t.knows("10.9.0.2")
    t.ping("10.9.0.2")
    t.expects("ECHO * 10.0.0.10 > 10.9.0.2", port=0)


def test_a_named_port_is_believed_for_ipv4_only(host):
    t = known(host)
    assert t.ping("192.0.2.9", port=0) == 0
    t.expects("ARP who-has 192.0.2.9 tell 10.0.0.10 (bcast)")
    assert t.ping("2001:db8::9", port=0) == errno.ENETUNREACH
    assert t.ping("10.0.0.2", port=5) == errno.ENETUNREACH


def test_a_link_local_destination_needs_no_route_with_its_zone(host):
    t = known(host)
    assert t.ping("fe80::2", port=0) == 0
    t.expects("NS who-has fe80::2 tell fd00::10 (mcast)")
    assert t.ping("fe80::2") == errno.ENETUNREACH


def test_dontroute_reaches_only_the_link(host):
    t = known(host)
    t.routes("0.0.0.0/0", "10.0.0.1")
    assert t.ping("192.0.2.1", dontroute=True) == errno.ENETUNREACH
    assert t.ping("10.0.0.2", dontroute=True) == 0
    t.expects("ECHO *")


def test_a_named_gateway_goes_before_the_routes(host):
    t = known(host)
    t.ping("10.0.0.2", gateway=parse_ip("10.0.0.1"))
    t.ping("192.0.2.1", gateway=parse_ip("10.0.0.1"))
    t.expects("ECHO * 10.0.0.10 > 10.0.0.2", "ECHO * 10.0.0.10 > 192.0.2.1")
    assert [t.link_destination(n) for n in (0, 1)] == [ROUTER, ROUTER]


def test_a_route_out_of_a_missing_port(host):
    t = known(host)
    t.routes("192.0.2.0/24", port=7)
    assert t.ping("192.0.2.1") == errno.ENETUNREACH


def test_the_limited_broadcast_needs_leave(host):
    t = known(host)
    assert t.ping("255.255.255.255") == errno.EACCES
    assert t.ping("255.255.255.255", broadcast=True) == 0
    t.expects("ECHO * 10.0.0.10 > 255.255.255.255")
    assert t.link_destination() == EVERYBODY


def test_the_broadcast_of_a_network_goes_out_as_a_link_broadcast(host):
    t = known(host)
    assert t.ping("10.0.0.255") == errno.EACCES
    assert t.ping("10.0.0.255", broadcast=True) == 0
    t.expects("ECHO * 10.0.0.10 > 10.0.0.255")
    assert t.link_destination() == EVERYBODY


@pytest.mark.parametrize("network", ["10.0.0.0/31", "10.0.0.0/32"])
def test_the_shortest_networks_have_no_broadcast(host, network):
    t = host(network)
    assert t.ping("10.0.0.1", port=0) == 0


@pytest.mark.parametrize(
    ("group", "mac"),
    [("224.1.2.3", "01:00:5e:01:02:03"), ("239.255.255.250", "01:00:5e:7f:ff:fa"), ("ff02::fb", "33:33:00:00:00:fb")],
)
def test_multicast_goes_to_the_groups_mac_with_one_hop(host, group, mac):
    t = known(host)
    t.ping(group)
    t.expects("ECHO * 1 *")
    assert t.link_destination() == mac


def test_multicast_leaves_by_the_port_that_is_named_or_has_the_source(host):
    t = host("10.0.0.10/24", "10.0.1.10/24@1", "fd00::10/64", "fd01::10/64@1", ports=2)
    t.ping("224.1.2.3", port=1)
    t.expects("ECHO * 10.0.1.10 > 224.1.2.3", port=1)
    t.ping("224.1.2.3", src=parse_ip("10.0.1.10"))
    t.expects("ECHO * 10.0.1.10 > 224.1.2.3", port=1)
    t.ping("ff02::fb")
    t.expects("ECHO * fd00::10 > ff02::fb", port=0)
    t.routes("224.0.0.0/4", port=1)
    t.ping("224.1.2.3")
    t.expects("ECHO * 10.0.1.10 > 224.1.2.3", port=1)
    assert t.ping("224.1.2.3", port=9) == errno.ENETUNREACH


def test_multicast_comes_back_to_our_own_members(host):
    t = known(host)
    port = t.stack.open_udp(5000)
    t.stack.join(0, parse_ip("224.1.2.3"))
    t.stack.send_udp(port, parse_ip("224.1.2.3"), 5000, b"hello", t.now)
    t.expects("UDP *")
    (event,) = t.events()
    assert (event.payload, event.dst) == (b"hello", parse_ip("224.1.2.3"))
    t.stack.leave(0, parse_ip("224.1.2.3"))
    t.stack.send_udp(port, parse_ip("224.1.2.3"), 5000, b"hello", t.now)
    t.expects("UDP *")
    assert t.events() == []


def test_multicast_without_loop_does_not_come_back(host):
    t = known(host)
    port = t.stack.open_udp(5000)
    t.stack.join(0, parse_ip("224.1.2.3"))
    t.stack.send_udp(port, parse_ip("224.1.2.3"), 5000, b"", t.now, IpOptions(multicast_loop=False))
    t.expects("UDP *")
    assert t.events() == []


# --- the header ----------------------------------------------------------------------------------------------------


def test_ttl_tos_and_flow_label_are_the_callers(host):
    t = known(host)
    t.ping("10.0.0.2", ttl=9, tos=0x10)
    t.ping("fd00::2", ttl=9, tos=0xB8, flow_label=0x12345)
    t.expects("ECHO * ttl 9 tos 0x10 DF *", "ECHO * hlim 9 class 0xb8 *")
    assert Ether(t.last[1])[IPv6].fl == 0x12345


def test_the_default_ttl_is_configurable(host):
    t = known(host, default_ttl=200)
    t.ping("10.0.0.2")
    t.ping("fd00::2")
    t.expects("ECHO * ttl 200 *", "ECHO * hlim 200 *")


def test_identifications_of_datagrams_that_may_be_cut_do_not_repeat(host):
    t = known(host)
    idents = []
    for _ in range(1000):
        send(t, "10.0.0.2", df="dont")
        idents += [Ether(frame)[IP].id for _, frame in t.frames]
        t.frames.clear()
    assert len(set(idents)) == 1000


def test_options_are_in_the_header(host):
    t = known(host)
    t.ping("10.0.0.2", options=ipv4_options.record_route(3))
    t.expects("ECHO *")
    assert bytes(Ether(t.last[0])[IP])[20:36] == ipv4_options.record_route(3) + b"\0"


# --- size ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("df", "sizes"),
    [("want", {1480: "DF", 1481: "cut"}), ("do", {1480: "DF", 1481: "EMSGSIZE"}), ("dont", {1480: "", 1481: "cut"})],
)
def test_dont_fragment_as_linux_has_it(host, df, sizes):
    t = known(host)
    for size, outcome in sizes.items():
        result = send(t, "10.0.0.2", bytes(size), df=df)
        if outcome == "EMSGSIZE":
            assert result == errno.EMSGSIZE
        elif outcome == "cut":
            t.expects("protocol 200 * frag * 0+1480+ *", "protocol 200 frag * 1480+1 ttl 64 10.0.0.10 > 10.0.0.2")
        else:
            t.expects(f"protocol 200 len 1480 ttl 64{' DF' if outcome else ''} 10.0.0.10 > 10.0.0.2")


def test_without_path_mtu_discovery_want_sets_no_df(host):
    t = known(host, path_mtu_discovery=False)
    t.ping("10.0.0.2")
    t.ping("10.0.0.2", seq=2)
    t.expects("ECHO * ttl 64 10.0.0.10 > 10.0.0.2", "ECHO * ttl 64 10.0.0.10 > 10.0.0.2")


def test_probe_looks_at_the_ports_mtu_only(host):
    t = known(host)
    t.routes("192.0.2.0/24", "10.0.0.1", mtu=1500)
    assert send(t, "192.0.2.1", bytes(1480), df="probe") == 0
    assert send(t, "192.0.2.1", bytes(1481), df="probe") == errno.EMSGSIZE
    t.expects("protocol 200 len 1480 ttl 64 DF *")


@pytest.mark.parametrize(("df", "result"), [("want", 0), ("do", errno.EMSGSIZE), ("probe", errno.EMSGSIZE)])
def test_ipv6_size(host, df, result):
    t = known(host)
    assert send(t, "fd00::2", bytes(1460), df=df) == 0
    assert send(t, "fd00::2", bytes(1461), df=df) == result


def test_no_datagram_is_longer_than_its_length_field(host):
    t = known(host)
    assert send(t, "10.0.0.2", bytes(65516)) == errno.EMSGSIZE
    assert send(t, "10.0.0.2", bytes(65515)) == 0
    assert send(t, "fd00::2", bytes(65536)) == errno.EMSGSIZE
    assert send(t, "fd00::2", bytes(65535)) == 0


@pytest.mark.parametrize("mtu", [68, 576, 1280, 1500])
@pytest.mark.parametrize("length", [1473, 4000, 65507])
def test_ipv4_fragments_are_whole_again_for_scapy(host, mtu, length):
    t = known(host, mtu=mtu)
    payload = bytes(n * 7 & 0xFF for n in range(length))
    t.stack.send_udp(4000, parse_ip("10.0.0.2"), 9, payload, t.now)
    t._collect()
    packets = [Ether(frame)[IP] for _, frame in t.frames]
    assert all(len(p) <= mtu for p in packets)
    assert all(len(p.payload) % 8 == 0 for p in packets[:-1])
    (whole,) = defragment(packets)
    checked = IP(bytes(whole))
    assert bytes(checked[UDP].payload) == payload


@pytest.mark.parametrize("mtu", [1280, 1500])
@pytest.mark.parametrize("length", [1453, 4000, 65000])
def test_ipv6_fragments_are_whole_again_for_scapy(host, mtu, length):
    t = known(host, mtu=mtu)
    payload = bytes(n * 7 & 0xFF for n in range(length))
    t.stack.send_udp(4000, parse_ip("fd00::2"), 9, payload, t.now)
    t._collect()
    packets = [Ether(frame)[IPv6] for _, frame in t.frames]
    assert all(len(p) <= mtu for p in packets)
    assert all((p.plen - 8) % 8 == 0 for p in packets[:-1])
    assert len({p[IPv6ExtHdrFragment].id for p in packets}) == 1
    assert bytes(IPv6(bytes(defragment6(packets)))[UDP].payload) == payload


def test_only_options_with_the_copy_bit_are_in_later_fragments(host):
    t = known(host)
    both = ipv4_options.router_alert() + ipv4_options.record_route(2) + b"\0"
    send(t, "10.0.0.2", bytes(2000), options=both)
    first, second = (bytes(Ether(frame)[IP]) for _, frame in t.frames)
    assert first[20 : (first[0] & 15) * 4] == both
    assert second[20 : (second[0] & 15) * 4] == ipv4_options.router_alert()


def test_the_first_guess_keeps_to_576_off_the_link(host):
    t = known(host, first_guess_mtu=576)
    t.routes("0.0.0.0/0", "10.0.0.1")
    assert t.stack.path_mtu(parse_ip("192.0.2.1")) == 576
    assert t.stack.path_mtu(parse_ip("10.0.0.2")) == 1500
    send(t, "192.0.2.1", bytes(600))
    t.expects("protocol 200 * frag *", "protocol 200 frag *")


def test_the_trace_tells_of_fragments(host):
    t = known(host)
    t.listens("ip")
    send(t, "10.0.0.2", bytes(3000))
    send(t, "fd00::2", bytes(3000))
    assert t.heard(Fragmented) == [(parse_ip("10.0.0.2"), 3020, 3, 1500), (parse_ip("fd00::2"), 3040, 3, 1500)]


# --- queues --------------------------------------------------------------------------------------------------------


def test_a_full_transmit_queue_refuses_more(host):
    t = known(host, transmit_limit=2)
    dst = parse_ip("10.0.0.2")
    results = [t.stack.send_ip(200, dst, (b"",), t.now) for _ in range(3)]
    assert results == [0, 0, errno.ENOBUFS]
    assert t.stack.send_echo(dst, 77, 1, b"", t.now) == errno.ENOBUFS
    assert t.stack.send_frame(0, (b"frame",)) == errno.ENOBUFS
    assert t.stack.discards == {"QUEUE_PURGE": 3}
    t.expects("protocol 200 *", "protocol 200 *")
    assert t.ping("10.0.0.2") == 0


def test_a_full_queue_stops_a_datagram_of_many_pieces(host):
    t = known(host, transmit_limit=2)
    assert t.stack.send_ip(200, parse_ip("10.0.0.2"), (bytes(9000),), t.now) == errno.ENOBUFS


def test_the_loopback_queue_is_bounded_too(host):
    t = known(host, transmit_limit=2)
    results = [t.stack.send_ip(200, parse_ip("10.0.0.10"), (b"",), t.now) for _ in range(3)]
    assert results == [0, 0, errno.ENOBUFS]


def test_tokens_come_with_the_first_frame(host):
    t = known(host)
    t.stack.send_ip(200, parse_ip("10.0.0.2"), (bytes(3000),), t.now, token="mine")
    tokens = []
    while (frame := t.stack.poll_transmit(t.now)) is not None:
        tokens.append(frame.token)
    assert tokens == ["mine", None, None]


def test_a_port_without_ethernet_sends_bare_packets(host):
    t = known(host, link_type=RAW_IP)
    t.ping("10.0.0.2")
    t.ping("224.1.2.3")
    t.ping("10.0.0.255", broadcast=True)
    t.expects("ECHO *", "ECHO *", "ECHO *")
    assert t.last[0][0] == 0x45


def test_the_first_use_of_a_route_and_the_next_send_the_same(host):
    t = known(host)
    t.routes("192.0.2.0/24", "10.0.0.1")
    for _ in range(3):
        send(t, "192.0.2.7")
    lines = {line[14:] for _, line in t.frames}
    assert len({bytes(line[:4]) + bytes(line[6:10]) for line in lines}) == 1


def test_a_way_once_used_follows_a_change_of_routes(host):
    t = known(host)
    route = t.routes("192.0.2.0/24", "10.0.0.1")
    for _ in range(2):
        send(t, "192.0.2.7")
    t.stack.remove_route(route)
    assert send(t, "192.0.2.7") == errno.ENETUNREACH
    t.routes("192.0.2.0/24", "10.0.0.2")
    send(t, "192.0.2.7")
    t.frames = t.frames[-1:]
    t.expects("protocol 200 *")
    assert t.link_destination() == PEER


def test_a_default_route_chooses_the_source_for_each_ipv6_destination(host):
    t = host("2001:db8:1::10/64", "2001:db8:ffff::10/64")
    t.routes("::/0", "fe80::1")
    t.knows("fe80::1")
    for dst, src in (("2001:db8:1:2::1", "2001:db8:1::10"), ("2001:db8:fff0::1", "2001:db8:ffff::10")) * 2:
        t.ping(dst)
        t.expects(f"ECHO * {src} > {dst}")


def test_many_sets_of_options_do_not_fill_the_memory(host):
    t = known(host)
    for ttl in range(1, 200):
        send(t, "10.0.0.2", ttl=ttl)
    assert len(t.stack._output._ways) <= 64


def test_what_waits_for_two_families(host):
    t = host("10.0.0.10/24", "fd00::10/64")
    send(t, "10.0.0.2")
    send(t, "fd00::2")
    t.expects("ARP *", "NS *")
    t.receives(arp_reply("10.0.0.2"))
    t.receives(advertisement("fd00::2"))
    t.expects("protocol 200 * 10.0.0.10 > 10.0.0.2", "protocol 200 * fd00::10 > fd00::2")
