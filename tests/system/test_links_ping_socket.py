"""PingSocketLink: what the kernel does for ping, seen through a port that carries IP."""

import time

import pytest
from scapy.layers.inet import ICMP, IP, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6TimeExceeded,
    IPerror6,
    IPv6,
)
from scapy.layers.l2 import Ether

from pytools.engine import CHECKSUM_VERIFIED, RAW_IP
from pytools.errors import LinkError
from pytools.link import host
from pytools.link.bpf import Interest
from pytools.link.packet_socket import PacketLink
from pytools.link.ping_socket import PingSocketLink
from tests.system.links import exchange, receive, transmit

pytestmark = pytest.mark.root


@pytest.fixture
def open_link():
    links = []

    def open_one(inside, **options):
        inside.sysctl(net__ipv4__ping_group_range="0 2147483647")
        with inside.entered():
            links.append(PingSocketLink(**options))
        return links[-1]

    yield open_one
    for link in links:
        link.close()


def any_frame(got):
    return True


def checked(packet_class, octets):
    """The packet, and that its checksums are right."""
    packet = packet_class(octets)
    fresh = packet_class(octets)
    for layer in (IP, ICMP):
        if layer in fresh:
            del fresh[layer].chksum
    if ICMPv6EchoReply in fresh:
        del fresh[ICMPv6EchoReply].cksum
    assert bytes(fresh) == octets
    return packet


def test_replies_come_as_ip_packets_in_both_families(wire, open_link):
    link = open_link(wire.ours, ident=77)
    (port,) = link.ports
    assert (port.link_type, port.mac) == (RAW_IP, b"")
    request = IP(src="10.9.0.1", dst="10.9.0.2", tos=0x20) / ICMP(id=77, seq=5) / (b"x" * 56)
    got = exchange(link, request, any_frame)
    reply = checked(IP, got.frame)
    assert (reply.src, reply.dst, reply.ttl, reply.tos) == ("10.9.0.2", "10.9.0.1", 64, 0x20)
    assert (reply[ICMP].type, reply[ICMP].id, reply[ICMP].seq, bytes(reply[ICMP].payload)) == (0, 77, 5, b"x" * 56)
    assert got.checksum == CHECKSUM_VERIFIED
    request6 = IPv6(src="fd09::1", dst="fd09::2", tc=0x20) / ICMPv6EchoRequest(id=77, seq=6, data=b"y")
    reply6 = checked(IPv6, exchange(link, request6, any_frame).frame)
    assert (reply6.src, reply6.dst, reply6.hlim) == ("fd09::2", "fd09::1", 64)
    assert (reply6[ICMPv6EchoReply].id, reply6[ICMPv6EchoReply].seq, reply6[ICMPv6EchoReply].data) == (77, 6, b"y")


@pytest.mark.parametrize("address", ["127.0.0.1", "10.9.0.1", "::1", "fd09::1", "fe80::ff:fe09:1"])
def test_our_own_addresses_answer(wire, open_link, address):
    link = open_link(wire.ours)
    if ":" in address:
        request = IPv6(src=address, dst=address) / ICMPv6EchoRequest(id=1)
    else:
        request = IP(src=address, dst=address) / ICMP(id=1)
    with wire.ours.entered():
        exchange(link, request, any_frame)


def test_a_link_local_neighbour_answers(wire, open_link):
    link = open_link(wire.ours)
    with wire.ours.entered():
        request = IPv6(src="fe80::ff:fe09:1", dst="fe80::ff:fe09:2") / ICMPv6EchoRequest(id=1)
        assert IPv6(exchange(link, request, any_frame).frame).src == "fe80::ff:fe09:2"


def test_the_wire_has_the_header_and_the_identifier_that_the_stack_wrote(wire, open_link):
    link = open_link(wire.ours, ident=4711)
    with wire.peer.entered():
        far = PacketLink(host.interface("v0"), Interest(everything=True))
    request = IP(src="10.9.0.1", dst="10.9.0.2", ttl=9, tos=0x48, flags="DF") / ICMP(id=4711, seq=5) / b"data"
    link.send(transmit(request))
    seen = Ether(receive(far, lambda got: got.frame[12:14] == b"\x08\x00").frame)[IP]
    assert (seen.ttl, seen.tos, seen.flags, seen[ICMP].id) == (9, 0x48, "DF", 4711)
    link.send(transmit(IP(src="10.9.0.1", dst="10.9.0.2") / ICMP(id=4711)))
    assert Ether(receive(far, lambda got: got.frame[12:14] == b"\x08\x00").frame)[IP].flags == ""
    request6 = IPv6(src="fd09::1", dst="fd09::2", hlim=9, tc=0x48, fl=0x12345) / ICMPv6EchoRequest(id=4711)
    link.send(transmit(request6))
    seen6 = Ether(receive(far, lambda got: ICMPv6EchoRequest in Ether(got.frame)).frame)[IPv6]
    assert (seen6.hlim, seen6.tc, seen6.fl, seen6[ICMPv6EchoRequest].id) == (9, 0x48, 0x12345, 4711)
    far.close()


def test_an_identifier_that_is_taken_is_rewritten(wire, open_link):
    first = open_link(wire.ours, ident=77)
    link = open_link(wire.ours, ident=77)
    assert first._halves[4].kernels_ident == 77 != link._halves[4].kernels_ident
    for address in ("10.9.0.2", "127.0.0.1"):
        request = IP(dst=address, src="127.0.0.1" if address[0:3] == "127" else "10.9.0.1") / ICMP(id=77) / b"odd"
        assert checked(IP, exchange(link, request, any_frame).frame)[ICMP].id == 77
    request6 = IPv6(src="fd09::1", dst="fd09::2") / ICMPv6EchoRequest(id=77, data=b"odd")
    assert checked(IPv6, exchange(link, request6, any_frame).frame)[ICMPv6EchoReply].id == 77


def test_the_source_address_is_the_stacks_choice(wire, open_link):
    wire.ours.ip("addr add 10.9.0.50/24 dev v0")
    link = open_link(wire.ours)
    reply = IP(exchange(link, IP(src="10.9.0.50", dst="10.9.0.2") / ICMP(id=7), any_frame).frame)
    assert reply.dst == "10.9.0.50"


def test_the_route_is_recorded(routed, open_link):
    link = open_link(routed.client)
    options = [IPOption_RR(length=39, pointer=4, routers=["0.0.0.0"] * 9)]
    request = IP(src="10.9.0.1", dst="10.9.1.2", options=options) / ICMP(id=7)
    reply = IP(exchange(link, request, any_frame).frame)
    hops = [one for one in reply.options[0].routers if one != "0.0.0.0"]
    assert hops[:2] == ["10.9.0.1", "10.9.1.1"]
    assert "10.9.1.2" in hops


# -- errors ------------------------------------------------------------------------------------------------------------


def test_a_router_that_gives_up_becomes_an_icmp_message(routed, open_link):
    link = open_link(routed.client, ident=77)
    request = IP(src="10.9.0.1", dst="10.9.1.2", ttl=1) / ICMP(id=77, seq=9) / (b"x" * 56)
    error = checked(IP, exchange(link, request, any_frame).frame)
    assert (error.src, error.dst, error[ICMP].type, error[ICMP].code) == ("10.9.0.2", "10.9.0.1", 11, 0)
    quoted = error[ICMP].payload
    assert (quoted.src, quoted.dst, quoted.payload.type) == ("10.9.0.1", "10.9.1.2", 8)
    assert (quoted.payload.id, quoted.payload.seq) == (77, 9)
    request6 = IPv6(src="fd09::1", dst="fd09:1::2", hlim=1) / ICMPv6EchoRequest(id=77, seq=9)
    error6 = IPv6(exchange(link, request6, any_frame).frame)
    assert error6.src == "fd09::2"
    assert error6[ICMPv6TimeExceeded].code == 0
    quoted6 = error6[IPerror6]
    assert (quoted6.src, quoted6.dst) == ("fd09::1", "fd09:1::2")
    assert (quoted6[ICMPv6EchoRequest].id, quoted6[ICMPv6EchoRequest].seq) == (77, 9)


def test_the_quoted_identifier_is_the_stacks_even_if_the_kernel_chose_another(routed, open_link):
    open_link(routed.client, ident=77)
    link = open_link(routed.client, ident=77)
    request = IP(src="10.9.0.1", dst="10.9.1.2", ttl=1) / ICMP(id=77, seq=9)
    assert IP(exchange(link, request, any_frame).frame)[ICMP].payload.payload.id == 77


def test_no_route_at_the_router_becomes_an_icmp_message(routed, open_link):
    link = open_link(routed.client)
    error = IP(exchange(link, IP(src="10.9.0.1", dst="10.99.0.1") / ICMP(id=7), any_frame).frame)
    assert (error.src, error[ICMP].type, error[ICMP].code) == ("10.9.0.2", 3, 0)
    request6 = IPv6(src="fd09::1", dst="fd99::1") / ICMPv6EchoRequest(id=7)
    assert IPv6(exchange(link, request6, any_frame).frame)[ICMPv6DestUnreach].code == 0


def test_a_narrow_path_tells_its_mtu(routed, open_link):
    routed.router.ip("link set v1 mtu 1280")
    link = open_link(routed.client, discover="do")
    request = IP(src="10.9.0.1", dst="10.9.1.2", flags="DF") / ICMP(id=7) / bytes(1400)
    error = IP(exchange(link, request, any_frame).frame)
    assert (error[ICMP].type, error[ICMP].code, error[ICMP].nexthopmtu) == (3, 4, 1280)
    request6 = IPv6(src="fd09::1", dst="fd09:1::2") / ICMPv6EchoRequest(id=7, data=bytes(1400))
    assert IPv6(exchange(link, request6, any_frame).frame)[ICMPv6PacketTooBig].mtu == 1280
    with routed.client.entered(), pytest.raises(OSError, match="Message too long") as refusal:
        link.send(transmit(request))
    assert (refusal.value.errno, refusal.value.mtu) == (90, 1280)


def test_an_error_of_an_earlier_request_does_not_fail_the_next(routed, open_link):
    link = open_link(routed.client)
    link.send(transmit(IP(src="10.9.0.1", dst="10.9.1.2", ttl=1) / ICMP(id=7)))
    time.sleep(0.02)
    link.send(transmit(IP(src="10.9.0.1", dst="10.9.1.2") / ICMP(id=7, seq=2)))
    kinds = [IP(receive(link).frame)[ICMP].type for _ in range(2)]
    assert kinds == [11, 0]
    assert receive(link, patience=0.02) is None


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_more_than_the_mtu_goes_out_in_fragments_unless_forbidden(wire, open_link):
    big = IP(src="10.9.0.1", dst="10.9.0.2", flags="DF") / ICMP(id=7) / bytes(3000)
    assert len(exchange(open_link(wire.ours), big, any_frame).frame) == 3028
    with wire.ours.entered(), pytest.raises(OSError, match="Message too long") as refusal:
        open_link(wire.ours, discover="do").send(transmit(big))
    assert refusal.value.mtu == 1500


def test_what_is_not_an_echo_request_of_ours_is_refused(wire, open_link):
    link = open_link(wire.ours, ident=7)
    for packet in (
        IP(src="10.9.0.1", dst="10.9.0.2") / ICMP(type=13, id=7),
        IP(src="10.9.0.1", dst="10.9.0.2", proto=17) / b"no ICMP here",
        IP(src="10.9.0.1", dst="10.9.0.2", frag=3) / ICMP(id=7),
        IP(src="10.9.0.1", dst="10.9.0.2") / ICMP(id=8),
        IPv6(src="fd09::1", dst="fd09::2") / ICMPv6EchoReply(id=7),
    ):
        with pytest.raises(OSError, match="an ICMP socket") as refusal:
            link.send(transmit(packet))
        assert refusal.value.errno == 95


def test_without_a_route_the_send_says_so(wire, open_link):
    link = open_link(wire.ours)
    with pytest.raises(OSError, match="unreachable") as refusal:
        link.send(transmit(IP(src="10.9.0.1", dst="203.0.113.1") / ICMP(id=7)))
    assert refusal.value.errno == 101


def test_outside_the_group_range_the_setting_is_named(namespace):
    with (
        namespace("x").entered(),
        pytest.raises(LinkError, match=r"^socket: Permission denied: .*ping_group_range") as e,
    ):
        PingSocketLink()
    assert e.value.errno == 13


def test_bound_to_an_interface_link_local_destinations_need_no_look_up(wire, open_link):
    with wire.ours.entered():
        on = host.interface("v0")
    link = open_link(wire.ours, on=on)
    request = IPv6(src="fe80::ff:fe09:1", dst="fe80::ff:fe09:2") / ICMPv6EchoRequest(id=1)
    exchange(link, request, any_frame)


def test_an_interface_gone_is_a_refused_send_and_no_end(wire, open_link):
    link = open_link(wire.ours)
    wire.ours.ip("link set v0 down")
    with pytest.raises(OSError, match="unreachable"):
        link.send(transmit(IP(src="10.9.0.1", dst="10.9.0.2") / ICMP(id=7)))
    assert link.recv_batch(lambda *_: None, time.monotonic_ns, 10) == 0


def test_the_kernels_sockets_are_given_back(wire, open_link):
    link = open_link(wire.ours, ident=7)
    link.close()
    link.close()
    assert open_link(wire.ours, ident=7)._halves[4].kernels_ident == 7
