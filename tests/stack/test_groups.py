"""Multicast groups and their reports (RFC 3810)."""

from scapy.layers.inet6 import (
    ICMPv6MLDMultAddrRec,
    ICMPv6MLQuery2,
    ICMPv6MLReport2,
    IPv6,
    IPv6ExtHdrHopByHop,
    RouterAlert,
)
from scapy.layers.l2 import Ether

from pytools.wire.addr import parse_ip
from tests.stack.story import Story

TO_EXCLUDE, TO_INCLUDE, IS_EXCLUDE = 4, 3, 2


def reports(t: Story) -> list[list[tuple[int, str]]]:
    """The records of the reports that were sent, whose frame is checked on the way."""
    found = []
    for _, frame in t.frames:
        packet = Ether(frame)
        assert (packet.dst, packet[IPv6].dst, packet[IPv6].hlim) == ("33:33:00:00:00:16", "ff02::16", 1)
        assert isinstance(packet[IPv6ExtHdrHopByHop].options[0], RouterAlert)
        check = packet[ICMPv6MLReport2].cksum
        del packet[ICMPv6MLReport2].cksum
        assert Ether(bytes(packet))[ICMPv6MLReport2].cksum == check
        records, record = [], packet[ICMPv6MLReport2].records[0]
        while isinstance(record, ICMPv6MLDMultAddrRec):
            records.append((record.rtype, record.dst))
            record = record.payload
        found.append(records)
    t.frames.clear()
    return found


def query(src="fe80::1", hlim=1):
    return (
        IPv6(src=src, dst="ff02::1", hlim=hlim) / IPv6ExtHdrHopByHop(options=RouterAlert()) / ICMPv6MLQuery2(mrd=1000)
    )


def test_nothing_is_reported_unless_asked(host):
    t = host("fe80::10/64")
    t.stack.join(0, parse_ip("ff02::fb"))
    t.receives(query())
    t.dropped("ICMP_TYPE")
    t.expects_nothing()


def test_joining_and_leaving_is_reported(host):
    t = host(multicast_reports=True)
    t.has("fe80::10/64")
    t._collect()
    assert reports(t) == [[(TO_EXCLUDE, "ff02::1:ff00:10")]]
    for _ in range(2):
        t.stack.join(0, parse_ip("ff02::fb"))
    t._collect()
    assert reports(t) == [[(TO_EXCLUDE, "ff02::fb")]]
    for _ in range(2):
        t.stack.leave(0, parse_ip("ff02::fb"))
    t._collect()
    assert reports(t) == [[(TO_INCLUDE, "ff02::fb")]]
    t.stack.remove_address(0, parse_ip("fe80::10"))
    t._collect()
    assert reports(t) == [[(TO_INCLUDE, "ff02::1:ff00:10")]]


def test_a_report_before_there_is_an_address_comes_from_the_unspecified_one(host):
    t = host(multicast_reports=True)
    t.has("fd00::10/64")
    t._collect()
    assert Ether(t.frames[0][1])[IPv6].src == "::"


def test_a_query_is_answered_once_within_its_time(host):
    t = host("fe80::10/64", multicast_reports=True)
    t.stack.join(0, parse_ip("ff02::fb"))
    t._collect()
    t.frames.clear()
    t.receives(query())
    t.receives(query())
    t.advance(1)
    assert reports(t) == [[(IS_EXCLUDE, "ff02::1:ff00:10"), (IS_EXCLUDE, "ff02::fb")]]
    t.advance(10)
    t.expects_nothing()


def test_who_is_in_no_group_has_nothing_to_report(host):
    t = host(multicast_reports=True)
    t.receives(query())
    t.advance(1)
    t.expects_nothing()


def test_a_query_against_the_rules(host):
    t = host("fe80::10/64", multicast_reports=True)
    t.receives(query(src="fd00::1"))
    t.dropped("ND_HEADER")
    t.receives(query(hlim=2))
    t.dropped("ND_HEADER")


def test_the_kernel_reports_for_shared_addresses(host):
    t = host("fe80::10/64", shared=True, multicast_reports=True)
    t.receives(query())
    t.dropped("NOT_OUR_FLOW")
    t.expects_nothing()


def test_ipv4_groups_are_joined_without_a_report(host):
    t = host("10.0.0.10/24", multicast_reports=True)
    t.stack.join(0, parse_ip("224.1.2.3"))
    t.stack.leave(0, parse_ip("224.1.2.3"))
    t.stack.leave(0, parse_ip("224.1.2.3"))
    t.expects_nothing()
