import itertools
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytools.wire import addr
from pytools.wire.addr import Network, format_ip, format_mac, parse_ip, parse_mac

ZERO_RICH = st.lists(st.sampled_from((b"\0\0", b"\0\0", b"\0\1", b"\xab\xcd")), min_size=8, max_size=8).map(b"".join)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        # RFC 5952 sections 1, 2 and 4.
        ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:0db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8::1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8::0:1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:0db8::1:0:0:1", "2001:db8::1:0:0:1"),
        ("2001:db8:0:0:1::1", "2001:db8::1:0:0:1"),
        ("2001:DB8:0:0:1::1", "2001:db8::1:0:0:1"),
        ("2001:db8:aaaa:bbbb:cccc:dddd:eeee:0001", "2001:db8:aaaa:bbbb:cccc:dddd:eeee:1"),
        ("2001:db8:0:0:0:0:2:1", "2001:db8::2:1"),
        ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
        ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
        ("2001:db8::aaaa:0:0:1", "2001:db8::aaaa:0:0:1"),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
        ("0:0:0:0:0:0:0:0", "::"),
        ("0:0:0:0:0:0:0:1", "::1"),
        ("1:0:0:0:0:0:0:0", "1::"),
        ("0:1:0:1:0:1:0:1", "0:1:0:1:0:1:0:1"),
        ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
        ("::1.2.3.4", "::1.2.3.4"),
    ],
)
def test_ipv6_text_is_written_as_rfc_5952_says(text: str, canonical: str) -> None:
    assert format_ip(parse_ip(text)) == canonical


@given(st.one_of(ZERO_RICH, st.binary(min_size=16, max_size=16)))
def test_ipv6_text_is_that_of_the_c_library(address: bytes) -> None:
    text = socket.inet_ntop(socket.AF_INET6, address)
    assert format_ip(address) == text
    assert parse_ip(text) == address


@given(st.binary(min_size=4, max_size=4))
def test_ipv4_text_is_that_of_the_c_library(address: bytes) -> None:
    text = socket.inet_ntop(socket.AF_INET, address)
    assert format_ip(address) == text
    assert parse_ip(text) == address


@given(st.text(alphabet="0123456789abcdefF:.x %", max_size=24))
def test_what_is_an_address_is_what_the_c_library_takes(text: str) -> None:
    family = socket.AF_INET6 if ":" in text else socket.AF_INET
    try:
        expected = socket.inet_pton(family, text)
    except OSError:
        with pytest.raises(ValueError, match="is not an IP address"):
            parse_ip(text)
    else:
        assert parse_ip(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "1.2.3.4 ", "1.2.3.٤"),
        *": ::: 1 127.1 0x7f.0.0.1 010.0.0.1 1.2.3.256 1.2.3.4.5 1.2.3. 1.2.3.-4 ::12345 1::2::3 fe80::1%eth0".split(),
        *"1:2:3:4:5:6:7 1:2:3:4:5:6:7:8:9 1:2:3:4:5:6:7:8:: ::1.2.3 ::1.2.3.4:5 1:2:3:4:5:6:7:1.2.3.4".split(),
        *":1:2:3:4:5:6:7 1:2:3:4:5:6:7: 1.2.3.4:: ::g".split(),
    ],
)
def test_what_is_no_strict_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IP address"):
        parse_ip(text)


def test_a_wrong_number_of_octets_has_no_text() -> None:
    with pytest.raises(ValueError, match="4 or 16 octets, not 6"):
        format_ip(bytes(6))


@pytest.mark.parametrize(
    "text",
    ["02:00:5e:10:00:ff", "2:0:5e:10:0:ff", "02-00-5E-10-00-FF", "0200.5e10.00ff", "02005e1000ff", "02:00:5E:10:00:FF"],
)
def test_a_mac_is_read_in_its_usual_forms(text: str) -> None:
    assert parse_mac(text) == b"\x02\x00\x5e\x10\x00\xff"
    assert format_mac(parse_mac(text)) == "02:00:5e:10:00:ff"


@pytest.mark.parametrize(
    "text",
    [
        *("", " 02:00:5e:10:00:ff"),
        *"02:00:5e:10:00 02:00:5e:10:00:ff:01 02:00:5e:10:00:fff 02:00:5e:10:00: g2:00:5e:10:00:ff".split(),
        *"02005e1000f 0200.5e10.0ff 02:00:5e-10:00:ff +2:00:5e:10:00:ff".split(),
    ],
)
def test_what_is_no_mac_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a MAC address"):
        parse_mac(text)


def test_the_kind_of_an_address_is_in_its_bits() -> None:
    kinds = {
        addr.is_multicast: ("224.0.0.1", "239.255.255.255", "ff02::1"),
        addr.is_link_local: ("169.254.0.1", "fe80::1", "febf::1"),
        addr.is_loopback: ("127.0.0.1", "127.255.0.1", "::1"),
        addr.is_unspecified: ("0.0.0.0", "::"),
        addr.is_broadcast: ("255.255.255.255",),
        addr.is_class_e: ("240.0.0.1", "255.255.255.255"),
    }
    everything = {text for texts in kinds.values() for text in texts} | {
        "10.0.0.1",
        "2001:db8::1",
        "fec0::1",
        "223.255.255.255",
    }
    for kind, text in itertools.product(kinds, everything):
        assert kind(parse_ip(text)) == (text in kinds[kind]), (kind.__name__, text)


def test_multicast_addresses_map_to_ethernet_groups() -> None:
    # RFC 1112 6.4: 23 bits are kept; RFC 2464 section 7: 32 bits.
    assert format_mac(addr.multicast_mac(parse_ip("224.0.0.251"))) == "01:00:5e:00:00:fb"
    assert format_mac(addr.multicast_mac(parse_ip("239.255.1.2"))) == "01:00:5e:7f:01:02"
    assert format_mac(addr.multicast_mac(parse_ip("ff02::1:ff28:9c5a"))) == "33:33:ff:28:9c:5a"


def test_the_solicited_node_address_is_that_of_rfc_4291() -> None:
    assert format_ip(addr.solicited_node(parse_ip("4037::01:800:200E:8C6C"))) == "ff02::1:ff0e:8c6c"


def test_the_link_local_address_of_a_mac_is_that_of_rfc_2464() -> None:
    # Section 4: the identifier of 34-56-78-9A-BC-DE is 36-56-78-FF-FE-9A-BC-DE.
    assert format_ip(addr.link_local(parse_mac("34-56-78-9A-BC-DE"))) == "fe80::3656:78ff:fe9a:bcde"
    assert format_ip(addr.link_local(parse_mac("02:00:00:00:00:01"))) == "fe80::ff:fe00:1"


def test_well_known_addresses_are_what_their_names_say() -> None:
    assert [format_ip(a) for a in (addr.UNSPECIFIED4, addr.BROADCAST4, addr.LOOPBACK4, addr.ALL_HOSTS4)] == [
        "0.0.0.0",
        "255.255.255.255",
        "127.0.0.1",
        "224.0.0.1",
    ]
    assert [format_ip(a) for a in (addr.UNSPECIFIED6, addr.LOOPBACK6, addr.ALL_NODES, addr.ALL_ROUTERS)] == [
        "::",
        "::1",
        "ff02::1",
        "ff02::2",
    ]


def test_a_network_clears_host_bits_and_says_who_is_in_it() -> None:
    network = Network.parse("10.1.2.3/20")
    assert str(network) == "10.1.0.0/20"
    assert parse_ip("10.1.15.255") in network
    assert parse_ip("10.1.16.0") not in network
    assert parse_ip("::ffff:10.1.0.1") not in network
    assert network == Network(parse_ip("10.1.0.0"), 20)
    assert hash(network) == hash(Network(parse_ip("10.1.0.0"), 20))
    assert network != Network.parse("10.1.0.0/21")
    assert network != "10.1.0.0/20"
    assert repr(network) == "Network('10.1.0.0/20')"


def test_a_network_without_a_length_is_one_address() -> None:
    assert str(Network.parse("10.0.0.9")) == "10.0.0.9/32"
    assert str(Network.parse("fd00::9")) == "fd00::9/128"
    assert parse_ip("1.2.3.4") in Network.parse("0.0.0.0/0")
    assert parse_ip("fd00::1") in Network.parse("::/0")


@pytest.mark.parametrize(
    "text", ["10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "fd00::/129", "10.0.0.0/+8", "10.0.0.0/0008"]
)
def test_an_impossible_prefix_length_is_refused_with_the_range(text: str) -> None:
    with pytest.raises(ValueError, match="is not a prefix length of 0 to"):
        Network.parse(text)


def test_a_network_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="is not an IP address"):
        Network.parse("example/24")
    with pytest.raises(ValueError, match="no network of 48 bits"):
        Network(bytes(6), 24)
    with pytest.raises(ValueError, match="prefix length 33"):
        Network(bytes(4), 33)


@pytest.mark.parametrize(
    ("text", "count", "first", "last"),
    [
        ("192.0.2.0/24", 254, "192.0.2.1", "192.0.2.254"),
        ("192.0.2.4/30", 2, "192.0.2.5", "192.0.2.6"),
        ("192.0.2.4/31", 2, "192.0.2.4", "192.0.2.5"),
        ("192.0.2.4/32", 1, "192.0.2.4", "192.0.2.4"),
        ("2001:db8::/126", 3, "2001:db8::1", "2001:db8::3"),
        ("2001:db8::/127", 2, "2001:db8::", "2001:db8::1"),
        ("2001:db8::/128", 1, "2001:db8::", "2001:db8::"),
    ],
)
def test_hosts_leave_out_what_is_no_host(text: str, count: int, first: str, last: str) -> None:
    network = Network.parse(text)
    hosts = list(network.hosts())
    assert len(hosts) == network.host_count == count
    assert (format_ip(hosts[0]), format_ip(hosts[-1])) == (first, last)
    assert hosts == sorted(set(hosts))


def test_hosts_of_a_large_network_come_lazily_and_bounded() -> None:
    network = Network.parse("fd00::/64")
    assert network.host_count == 2**64 - 1
    assert [format_ip(host) for host in network.hosts(limit=2)] == ["fd00::1", "fd00::2"]
    assert list(Network.parse("10.0.0.0/30").hosts(limit=9)) == list(Network.parse("10.0.0.0/30").hosts())
    assert list(network.hosts(limit=0)) == []


def test_only_an_ipv4_subnet_has_a_broadcast_address() -> None:
    broadcast = Network.parse("192.0.2.0/25").broadcast
    assert broadcast is not None
    assert format_ip(broadcast) == "192.0.2.127"
    assert Network.parse("192.0.2.0/31").broadcast is None
    assert Network.parse("192.0.2.0/32").broadcast is None
    assert Network.parse("fd00::/64").broadcast is None
