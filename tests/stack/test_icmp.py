"""RFC 792, RFC 1122 3.2.2, RFC 1191, RFC 4443, RFC 8201: ICMP-01, ICMP-04, ICMP-07, ICMP-10 to ICMP-17, IP4-31."""

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_RR
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    ICMPv6Unknown,
    IPv6,
)
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from pytools.engine import CHECKSUM_PARTIAL, CHECKSUM_VERIFIED
from pytools.stack.events import IcmpError
from pytools.trace.events import EchoAnswered, IcmpErrorReceived
from pytools.units import SECOND
from pytools.wire import ipv4_options
from pytools.wire.addr import parse_ip
from tests.stack.story import EVERYBODY, ROUTER

MIDNIGHT = 1_700_006_400 * SECOND
"""2023-11-15 00:00:00 UT."""


def known(host, *more, **settings):
    t = host("10.0.0.10/24", "fd00::10/64", *more, **settings)
    t.knows("10.0.0.2", "fd00::2", "fe80::2")
    t.knows("10.0.0.1", "fd00::1", mac=ROUTER)
    return t


def from4(**ip):
    return IP(src="10.0.0.2", dst="10.0.0.10", **ip)


def from6(**ip):
    return IPv6(src="fd00::2", dst="fd00::10", **ip)


OURS4 = IP(src="10.0.0.10", dst="192.0.2.1", ttl=3, id=9) / ICMP(id=77, seq=5)
OURS6 = IPv6(src="fd00::10", dst="2001:db8::1", hlim=3) / ICMPv6EchoRequest(id=77, seq=5)


# --- echo server ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 56, 57, 1472])
def test_an_echo_is_answered_with_its_own_id_seq_and_data(host, length):
    t = known(host)
    data = bytes(n & 0xFF for n in range(length))
    t.receives(from4() / ICMP(id=4711, seq=65535) / data)
    t.receives(from6() / ICMPv6EchoRequest(id=4711, seq=65535, data=data[:1452]))
    t.expects(
        f"REPLY id 4711 seq 65535 len {8 + length} ttl 64 10.0.0.10 > 10.0.0.2",
        f"REPLY id 4711 seq 65535 len {8 + min(length, 1452)} hlim 64 fd00::10 > fd00::2",
    )
    assert bytes(Ether(t.last[0])[ICMP].payload) == data
    assert Ether(t.last[1])[ICMPv6EchoReply].data == data[:1452]


def test_the_reply_comes_from_the_address_that_was_asked(host):
    t = known(host, "10.0.0.11/24", "fd00::11/64")
    t.receives(IP(src="10.0.0.2", dst="10.0.0.11") / ICMP())
    t.receives(IPv6(src="fd00::2", dst="fd00::11") / ICMPv6EchoRequest())
    t.expects("REPLY * 10.0.0.11 > 10.0.0.2", "REPLY * fd00::11 > fd00::2")


def test_the_reply_has_the_code_of_the_request(host):
    t = known(host)
    t.receives(from4() / ICMP(code=3))
    t.receives(from6() / ICMPv6EchoRequest(code=3))
    t.expects("REPLY code 3 *", "REPLY code 3 *")


def test_the_reply_has_the_type_of_service_of_the_request(host):
    t = known(host)
    t.receives(from4(tos=0x28) / ICMP())
    t.receives(from6(tc=0x28) / ICMPv6EchoRequest())
    t.expects("REPLY * tos 0x28 *", "REPLY * class 0x28 *")


def test_an_echo_with_a_bad_checksum_is_dropped(host):
    t = known(host)
    t.receives(from4() / ICMP(chksum=1))
    t.dropped("ICMP_CSUM")
    t.receives(from6() / ICMPv6EchoRequest(cksum=1))
    t.dropped("ICMP_CSUM")
    t.expects_nothing()


@pytest.mark.parametrize("known_sum", [CHECKSUM_PARTIAL, CHECKSUM_VERIFIED])
def test_a_checksum_that_the_link_vouches_for_is_not_looked_at(host, known_sum):
    t = known(host)
    t.receives(from4() / ICMP(chksum=1), checksum=known_sum)
    t.receives(from6() / ICMPv6EchoRequest(cksum=1), checksum=known_sum)
    t.expects("REPLY *", "REPLY *")


def test_a_message_shorter_than_its_header_is_dropped(host):
    t = known(host)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", proto=1) / b"\x08\x00\xf7\xff\0\0\0")
    t.dropped("ICMP_HEADER")
    t.receives(IPv6(src="fd00::2", dst="fd00::10", nh=58) / b"\x80\x00\0\0\0\0\0")
    t.dropped("ICMP_HEADER")


def test_a_broadcast_echo_is_ignored_by_default(host):
    t = known(host)
    for dst in ("10.0.0.255", "255.255.255.255", "224.0.0.1"):
        t.receives(IP(src="10.0.0.2", dst=dst) / ICMP(), dst=EVERYBODY)
        t.dropped("ICMP_BROADCAST")
    t.expects_nothing()


def test_a_broadcast_echo_is_answered_from_our_address_if_asked(host):
    t = known(host, answer_broadcast_echo=True)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.255") / ICMP(), dst=EVERYBODY)
    t.expects("REPLY * 10.0.0.10 > 10.0.0.2")


def test_a_multicast_echo_is_answered_in_ipv6(host):
    t = known(host)
    t.receives(IPv6(src="fe80::2", dst="ff02::1") / ICMPv6EchoRequest())
    t.expects("REPLY * fd00::10 > fe80::2")
    t = known(host, answer_multicast_echo6=False)
    t.receives(IPv6(src="fe80::2", dst="ff02::1") / ICMPv6EchoRequest())
    t.dropped("ICMP_BROADCAST")


def test_a_link_local_echo_is_answered_on_its_link(host):
    t = host("fe80::10/64", "fe80::10/64@1", ports=2)
    t.knows("fe80::2", port=1)
    t.receives(IPv6(src="fe80::2", dst="fe80::10") / ICMPv6EchoRequest(), port=1)
    t.expects("REPLY * fe80::10 > fe80::2", port=1)


def test_echo_can_be_switched_off(host):
    t = known(host, answer_echo=False)
    t.receives(from4() / ICMP())
    t.dropped("ICMP_TYPE")
    t.receives(from6() / ICMPv6EchoRequest())
    t.dropped("ICMP_TYPE")


@pytest.mark.parametrize("type_", [15, 17, 9, 10, 42, 255])
def test_other_types_are_dropped_silently(host, type_):
    t = known(host)
    t.receives(from4() / ICMP(type=type_) / bytes(8))
    t.dropped("ICMP_TYPE")
    t.receives(from6() / ICMPv6Unknown(type=200, msgbody=bytes(8)))
    t.dropped("ICMP_TYPE")
    t.expects_nothing()


def test_the_trace_tells_of_answers(host):
    t = known(host)
    t.listens("icmp")
    t.receives(from4() / ICMP(id=3, seq=4) / b"12")
    assert t.heard(EchoAnswered) == [(parse_ip("10.0.0.2"), 3, 4, 10)]


# --- options in echoes ---------------------------------------------------------------------------------------------


def test_record_route_comes_back_with_our_address_as_received_and_as_replied(host):
    t = known(host)
    empty = IPOption_RR(length=3 + 16, routers=["0.0.0.0"] * 4)
    t.receives(from4(options=[empty]) / ICMP(id=1, seq=1))
    t.expects("REPLY *")
    (option,) = ipv4_options.parse(_options(t.last[0]))
    assert option.recorded == [parse_ip("10.0.0.10")] * 2
    assert len(option.remaining) == 2


def test_a_recorded_route_whose_pointer_is_between_entries_gets_no_reply(host):
    # After our entry the rest of the option holds no address: Linux' ip_options_echo gives up there, too.
    t = known(host)
    crooked = Raw(bytes((7, 11, 5)) + bytes(8) + b"\0")
    t.receives(from4(options=crooked) / ICMP(id=1, seq=1))
    t.expects_nothing()
    assert t.stack.drops["IP_OPTION"] == 1


def test_a_timestamp_option_gets_our_clock(host):
    t = known(host, epoch_ns=MIDNIGHT)
    t.advance(5)
    t.receives(from4(options=Raw(ipv4_options.timestamp(ipv4_options.TS_AND_ADDRESS, 4))) / ICMP(id=1, seq=1))
    t.expects("REPLY *")
    (option,) = ipv4_options.parse(_options(t.last[0]))
    assert option.recorded == [(parse_ip("10.0.0.10"), 5000)] * 2


def test_a_source_route_is_reversed(host):
    t = known(host, accept_source_route=True)
    route = IPOption_LSRR(routers=["10.0.0.1", "192.0.2.9"], pointer=12)
    t.routes("0.0.0.0/0", "10.0.0.1")
    t.receives(from4(options=[route]) / ICMP(id=1, seq=1))
    t.expects("REPLY * 10.0.0.10 > 192.0.2.9")
    (option,) = ipv4_options.parse(_options(t.last[0]))
    assert option.remaining == [parse_ip("10.0.0.1"), parse_ip("10.0.0.2")]


@pytest.mark.parametrize("overflow", [0, 13, 14])
def test_a_timestamp_option_without_room_counts_us(host, overflow):
    t = known(host)
    full = bytearray(ipv4_options.timestamp(ipv4_options.TS_ONLY, 1))
    full[2], full[3] = 9, overflow << 4
    t.receives(from4(options=Raw(bytes(full))) / ICMP(id=1, seq=1))
    t.expects("REPLY id 1 seq 1 *")
    (option,) = ipv4_options.parse(_options(t.last[0]))
    assert option.overflow == overflow + 1


def test_a_timestamp_option_whose_count_is_full_earns_a_parameter_problem(host):
    t = known(host)
    t.receives(from4(options=Raw(b"\x44\x08\x09\xf0" + bytes(4))) / ICMP(id=1, seq=1))
    t.dropped("IP_OPTION")
    t.expects("PARAM-PROBLEM pointer 23 (echo id 1 seq 1 to 10.0.0.10) *")


def _options(frame):
    packet = bytes(Ether(frame)[IP])
    return packet[20 : (packet[0] & 15) * 4]


# --- timestamps ----------------------------------------------------------------------------------------------------


def test_a_timestamp_request_is_answered_in_milliseconds_since_midnight(host):
    t = known(host, epoch_ns=MIDNIGHT + 3600 * SECOND)
    t.advance(1.5)
    t.receives(from4() / ICMP(type=13, id=1, seq=2, ts_ori=4711))
    t.expects("TIMESTAMP-REPLY id 1 seq 2 len 20 ttl 64 10.0.0.10 > 10.0.0.2")
    reply = Ether(t.last[0])[ICMP]
    assert (reply.ts_ori, reply.ts_rx, reply.ts_tx) == (4711, 3_601_500, 3_601_500)


def test_timestamp_requests_that_are_not_answered(host):
    t = known(host)
    t.receives(IP(src="10.0.0.2", dst="10.0.0.255") / ICMP(type=13), dst=EVERYBODY)
    t.dropped("ICMP_BROADCAST")
    t.receives(IP(src="10.0.0.2", dst="10.0.0.10", proto=1) / b"\x0d\x00\xf2\xff\0\0\0\0")
    t.dropped("ICMP_HEADER")
    t = known(host, answer_timestamp=False)
    t.receives(from4() / ICMP(type=13))
    t.dropped("ICMP_TYPE")


# --- echo replies for our users ------------------------------------------------------------------------------------


def test_a_reply_becomes_an_event_with_all_that_ping_prints(host):
    t = known(host)
    t.receives(from4(ttl=61, tos=4) / ICMP(type=0, id=77, seq=5) / b"payload", at=123)
    (reply,) = t.events()
    assert (reply.now, reply.at, reply.src, reply.dst) == (0, 123, parse_ip("10.0.0.2"), parse_ip("10.0.0.10"))
    assert (reply.ttl, reply.tos, reply.ident, reply.seq, reply.payload) == (61, 4, 77, 5, b"payload")
    assert (reply.length, reply.checksum_ok, reply.options, reply.port) == (15, True, b"", 0)


def test_an_ipv6_reply_becomes_an_event(host):
    t = known(host)
    t.receives(from6(hlim=61, tc=4) / ICMPv6EchoReply(id=77, seq=5, data=b"payload"))
    (reply,) = t.events()
    assert (reply.src, reply.ttl, reply.tos, reply.seq, reply.payload) == (parse_ip("fd00::2"), 61, 4, 5, b"payload")


def test_a_reply_with_a_bad_checksum_is_told_as_such_and_counted(host):
    t = known(host)
    t.receives(from4() / ICMP(type=0, id=77, seq=1, chksum=1))
    t.dropped("ICMP_CSUM")
    t.receives(from6() / ICMPv6EchoReply(id=77, seq=1, cksum=1))
    t.dropped("ICMP_CSUM")
    assert [reply.checksum_ok for reply in t.events()] == [False, False]


def test_a_reply_that_nobody_waits_for_is_dropped(host):
    t = known(host)
    t.receives(from4() / ICMP(type=0, id=78))
    t.dropped("NO_SOCKET")
    t.receives(from4() / ICMP(type=0, id=78, chksum=1))
    t.dropped("ICMP_CSUM")
    t.stack.close_echo(77)
    t.receives(from4() / ICMP(type=0, id=77))
    t.dropped("NO_SOCKET")
    assert t.events() == []


def test_replies_beyond_the_event_queue_are_dropped(host):
    t = known(host, event_limit=2)
    for seq in range(3):
        t.receives(from4() / ICMP(type=0, id=77, seq=seq))
    t.dropped("SOCKET_RCVBUFF")
    t.receives(IP(src="10.0.0.1", dst="10.0.0.10") / ICMP(type=11) / OURS4)
    t.dropped("SOCKET_RCVBUFF")
    assert len(t.events()) == 2


# --- errors about our packets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ICMP(type=3, code=0), (3, 0, 0)),
        (ICMP(type=3, code=1), (3, 1, 0)),
        (ICMP(type=3, code=2), (3, 2, 0)),
        (ICMP(type=3, code=3), (3, 3, 0)),
        (ICMP(type=3, code=4, nexthopmtu=1280), (3, 4, 1280)),
        (ICMP(type=3, code=5), (3, 5, 0)),
        (ICMP(type=3, code=9), (3, 9, 0)),
        (ICMP(type=3, code=13), (3, 13, 0)),
        (ICMP(type=4), (4, 0, 0)),
        (ICMP(type=11, code=0), (11, 0, 0)),
        (ICMP(type=11, code=1), (11, 1, 0)),
        (ICMP(type=12, ptr=20), (12, 0, 20)),
    ],
)
def test_an_error_is_led_back_to_the_echo_it_is_about(host, error, expected):
    t = known(host)
    t.receives(IP(src="10.0.0.1", dst="10.0.0.10", ttl=63) / error / OURS4, at=9)
    (event,) = t.events(IcmpError)
    assert (event.type, event.code, event.info) == expected
    assert (event.src, event.family, event.at, event.ttl, event.length) == (parse_ip("10.0.0.1"), 4, 9, 63, 36)
    quoted = event.quoted
    assert (quoted.dst, quoted.icmp_ident, quoted.icmp_seq, quoted.ttl) == (parse_ip("192.0.2.1"), 77, 5, 3)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ICMPv6DestUnreach(code=0), (1, 0, 0)),
        (ICMPv6DestUnreach(code=3), (1, 3, 0)),
        (ICMPv6PacketTooBig(mtu=1280), (2, 0, 1280)),
        (ICMPv6TimeExceeded(code=0), (3, 0, 0)),
        (ICMPv6ParamProblem(code=1, ptr=40), (4, 1, 40)),
        (ICMPv6Unknown(type=100, msgbody=bytes(4)), (100, 0, 0)),
    ],
)
def test_an_ipv6_error_is_led_back_to_the_echo_it_is_about(host, error, expected):
    t = known(host)
    t.receives(IPv6(src="fd00::1", dst="fd00::10") / error / OURS6)
    (event,) = t.events(IcmpError)
    assert (event.type, event.code, event.info) == expected
    assert (event.quoted.dst, event.quoted.icmp_seq, event.quoted.ttl) == (parse_ip("2001:db8::1"), 5, 3)


def test_extensions_after_the_quote_are_no_part_of_it(host):
    t = known(host)
    quote = bytes(OURS4) + bytes(128 - 28)
    t.receives(IP(src="10.0.0.1", dst="10.0.0.10") / ICMP(type=11, length=32) / (quote + b"\x20\0\0\0extension"))
    (event,) = t.events(IcmpError)
    assert event.quoted.packet == bytes(OURS4)


@pytest.mark.parametrize(
    ("quote", "reason"),
    [
        (b"", "ICMP_QUOTE"),
        (bytes(OURS4)[:19], "ICMP_QUOTE"),
        (bytes(IP(src="10.0.0.77", dst="192.0.2.1") / ICMP(id=77)), "ICMP_QUOTE"),
        (bytes(OURS6), "ICMP_QUOTE"),
        (bytes(OURS4)[:20], "NO_SOCKET"),
        (bytes(IP(src="10.0.0.10", dst="192.0.2.1") / ICMP(id=78)), "NO_SOCKET"),
        (bytes(IP(src="10.0.0.10", dst="192.0.2.1") / ICMP(type=0, id=77)), "NO_SOCKET"),
        (bytes(IP(src="10.0.0.10", dst="192.0.2.1") / UDP(sport=5)), "NO_SOCKET"),
        (bytes(IP(src="10.0.0.10", dst="192.0.2.1") / TCP()), "NO_SOCKET"),
    ],
)
def test_an_error_about_nothing_of_ours_is_dropped(host, quote, reason):
    t = known(host)
    t.receives(IP(src="10.0.0.1", dst="10.0.0.10") / ICMP(type=11) / quote)
    t.dropped(reason)
    assert t.events() == []


def test_the_trace_tells_what_an_error_is_about(host):
    t = known(host)
    t.stack.open_udp(4000)

    class Anything:
        def on_error(self, error, now):
            return None

        def on_packet(self, packet, now):
            return None

    t.stack.register(200, Anything())
    t.listens("icmp")
    router = IP(src="10.0.0.1", dst="10.0.0.10") / ICMP(type=11)
    ours = IP(src="10.0.0.10", dst="192.0.2.1")
    for quote in (OURS4, ours / UDP(sport=4000, dport=53), IP(src="10.0.0.10", dst="192.0.2.1", proto=200)):
        t.receives(router / quote)
    assert [fields[-1] for fields in t.heard(IcmpErrorReceived)] == [
        "echo id 77 seq 5 to 192.0.2.1",
        "port 4000 to 192.0.2.1 port 53",
        "protocol 200 to 192.0.2.1",
    ]


# --- path MTU ------------------------------------------------------------------------------------------------------


def too_big(mtu, length=1500, src="10.0.0.1"):
    quote = IP(src="10.0.0.10", dst="192.0.2.1", len=length) / ICMP(id=77, seq=5)
    return IP(src=src, dst="10.0.0.10") / ICMP(type=3, code=4, nexthopmtu=mtu) / quote


def too_big6(mtu):
    return IPv6(src="fd00::1", dst="fd00::10") / ICMPv6PacketTooBig(mtu=mtu) / OURS6


def routed(host, **settings):
    t = known(host, **settings)
    t.routes("0.0.0.0/0", "10.0.0.1")
    t.routes("::/0", "fd00::1")
    return t


FAR, FAR6 = parse_ip("192.0.2.1"), parse_ip("2001:db8::1")


def test_too_big_lowers_the_path_mtu_of_that_destination(host):
    t = routed(host)
    t.receives(too_big(1400))
    t.receives(too_big6(1300))
    assert (t.stack.path_mtu(FAR), t.stack.path_mtu(FAR6)) == (1400, 1300)
    assert t.stack.path_mtu(parse_ip("192.0.2.2")) == 1500


def test_what_is_larger_is_cut_by_us_from_then_on(host):
    t = routed(host)
    t.receives(too_big(1400))
    t.ping("192.0.2.1", payload=bytes(1472))
    t.expects("ECHO * frag * 0+1376+ *", "ICMP frag * 1376+104 *")
    t.ping("192.0.2.1", payload=bytes(1372))
    t.expects("ECHO * len 1380 ttl 64 DF *")


@pytest.mark.parametrize(
    ("length", "guess"), [(1500, 1492), (1492, 1006), (1006, 508), (508, 296), (296, 68), (68, 68), (2002, 1492)]
)
def test_a_router_that_says_no_mtu_means_the_next_plateau(host, length, guess):
    t = routed(host)
    t.receives(too_big(0, length))
    assert t.stack.path_mtu(FAR) == guess


def test_the_path_mtu_never_goes_below_68(host):
    t = routed(host)
    t.receives(too_big(20))
    assert t.stack.path_mtu(FAR) == 68


def test_an_ipv6_mtu_below_1280_is_not_believed(host):
    t = routed(host)
    t.receives(too_big6(1279))
    assert t.stack.path_mtu(FAR6) == 1500
    assert len(t.events(IcmpError)) == 1


@pytest.mark.parametrize("mtu", [1400, 1500, 9000])
def test_the_path_mtu_is_never_raised_by_a_message(host, mtu):
    t = routed(host)
    t.receives(too_big(1300))
    t.receives(too_big(mtu))
    assert t.stack.path_mtu(FAR) == 1300


def test_a_too_big_about_nothing_of_ours_is_not_believed(host):
    t = routed(host)
    t.stack.close_echo(77)
    t.receives(too_big(1400))
    t.dropped("NO_SOCKET")
    assert t.stack.path_mtu(FAR) == 1500
