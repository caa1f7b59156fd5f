import pytest

from pytools.wire import ipv4_options as options
from pytools.wire.addr import parse_ip
from pytools.wire.ipv4_options import OptionError, RouteOption, RouterAlertOption, TimestampOption

A, B, C, D = (parse_ip(f"10.0.0.{n}") for n in range(1, 5))
NOON = 43_200_000


def route(octets: bytes) -> RouteOption:
    (option,) = options.parse(octets)
    assert isinstance(option, RouteOption)
    return option


def stamps(octets: bytes) -> TimestampOption:
    (option,) = options.parse(octets)
    assert isinstance(option, TimestampOption)
    return option


def test_an_empty_record_route_has_nine_free_slots() -> None:
    octets = options.record_route()
    assert octets == bytes((7, 39, 4)) + bytes(36)
    assert (route(octets).recorded, len(route(octets).remaining)) == ([], 9)


def test_each_host_enters_its_address_until_the_route_is_full() -> None:
    octets = options.record_route(2)
    for address in (A, B):
        octets = options.record(octets, address, NOON)
    assert octets == bytes((7, 11, 12)) + A + B
    assert route(octets).recorded == [A, B]
    assert options.record(octets, C, NOON) == octets


def test_timestamps_alone_are_recorded_and_then_counted_as_overflow() -> None:
    octets = options.timestamp(options.TS_ONLY, 2)
    assert octets == bytes((68, 12, 5, 0)) + bytes(8)
    for milliseconds in (NOON, NOON + 1):
        octets = options.record(octets, A, milliseconds)
    assert stamps(octets).recorded == [(None, NOON), (None, NOON + 1)]
    octets = options.record(octets, A, NOON + 2)
    assert (octets[3], stamps(octets).overflow, stamps(octets).remaining) == (0x10, 1, [])


def test_an_overflow_beyond_fifteen_is_a_problem_of_that_octet() -> None:
    octets = options.timestamp(options.TS_ONLY, 1)
    for _ in range(16):
        octets = options.record(octets, A, NOON)
    assert stamps(octets).overflow == 15
    with pytest.raises(OptionError, match="overflow") as refused:
        options.record(b"\1" + octets, A, NOON)
    assert refused.value.pointer == 20 + 1 + 3


def test_who_answers_counts_itself_once_in_the_overflow() -> None:
    octets = options.record(options.timestamp(options.TS_ONLY, 1), A, NOON)
    arrived = options.record(octets, B, NOON)
    assert stamps(arrived).overflow == 1
    assert options.record(arrived, B, NOON, count_overflow=False) == arrived


def test_timestamps_with_addresses_record_both() -> None:
    octets = options.timestamp(options.TS_AND_ADDRESS)
    assert len(octets) == 36
    octets = options.record(octets, B, NOON)
    assert stamps(octets).recorded == [(B, NOON)]
    assert len(stamps(octets).remaining) == 3


def test_prespecified_timestamps_are_filled_by_the_named_host_only() -> None:
    octets = options.timestamp(options.TS_PRESPECIFIED, addresses=[B, C])
    assert octets == bytes((68, 20, 5, 3)) + B + bytes(4) + C + bytes(4)
    assert options.record(octets, A, NOON) == octets
    octets = options.record(octets, B, NOON)
    assert (stamps(octets).recorded, stamps(octets).remaining) == ([(B, NOON)], [(C, 0)])
    octets = options.record(octets, A, NOON + 5, own=(A, C))
    assert stamps(octets).recorded == [(B, NOON), (C, NOON + 5)]


def test_an_unknown_timestamp_flag_is_left_alone() -> None:
    octets = bytes((68, 12, 5, 2)) + bytes(8)
    assert options.record(octets, A, NOON) == octets


def test_a_timestamp_may_be_the_default_number_of_entries() -> None:
    assert len(options.timestamp(options.TS_ONLY)) == 40
    assert len(options.timestamp(options.TS_ONLY, 3)) == 16


def test_what_stands_around_an_option_is_kept() -> None:
    octets = options.record(b"\1" + options.record_route(1) + b"\x94\4\0\0\1\0\0\0", A, NOON)
    assert octets == b"\1" + bytes((7, 7, 8)) + A + b"\x94\4\0\0\1\0\0\0"


def test_a_router_alert_has_its_value() -> None:
    (alert,) = options.parse(options.router_alert(5))
    assert isinstance(alert, RouterAlertOption)
    assert alert.value == 5
    assert options.router_alert() == b"\x94\4\0\0"


def test_unknown_options_and_security_are_passed_over() -> None:
    security = bytes((130, 11)) + bytes(9)
    found = options.parse(b"\1" + security + b"\x99\4ab" + b"\0" + b"\x07garbage after the end")
    assert [(option.kind, option.position, option.octets) for option in found] == [
        (130, 1, security),
        (0x99, 12, b"\x99\4ab"),
    ]


@pytest.mark.parametrize(
    ("octets", "pointer"),
    [
        # Lengths: the option itself is at fault.
        (b"\x07", 20),
        (b"\1\x07", 21),
        (b"\x07\0\0\0", 20),
        (b"\x07\1\0\0", 20),
        (b"\x07\x08\4\0\0\0\0", 20),
        (b"\x99\xff\0\0", 20),
        # Too short for what it is: its length octet.
        (b"\x07\2\0\0", 21),
        (b"\x83\2\0\0", 21),
        (b"\x44\2\0\0", 21),
        (b"\x44\3\5\0", 21),
        (b"\x94\3\0\0", 21),
        # Pointers: their octet.
        (b"\x07\7\3\0\0\0\0\0", 22),
        (b"\x07\7\5\0\0\0\0\0", 22),
        (b"\x89\7\0\0\0\0\0\0", 22),
        (b"\x44\x08\4\0" + bytes(4), 22),
        (b"\x44\x08\6\0" + bytes(4), 22),
        (b"\x44\x08\5\1" + bytes(4), 22),
        # What may come once: the second one.
        (b"\x07\3\4" * 2 + b"\0\0", 23),
        (b"\x44\4\5\0" * 2, 24),
        (b"\x83\3\4\x89\3\4\0\0", 23),
    ],
)
def test_a_malformed_option_is_refused_with_the_octet_at_fault(octets: bytes, pointer: int) -> None:
    with pytest.raises(OptionError) as refused:
        options.parse(octets)
    assert refused.value.pointer == pointer


def test_a_source_route_is_followed_hop_by_hop_and_records_the_way() -> None:
    # RFC 791: S sends to B with C, D still to come; each hop leaves its own outgoing address.
    octets = options.source_route([C, D])
    assert octets == bytes((131, 11, 4)) + C + D
    first = options.source_route_hop(octets, B)
    assert first == (bytes((131, 11, 8)) + B + D, C)
    second = options.source_route_hop(first[0], C)
    assert second == (bytes((131, 11, 12)) + B + C, D)
    assert options.source_route_hop(second[0], D) is None
    assert options.source_route_hop(options.record_route(), A) is None


def test_the_answer_to_a_source_routed_packet_goes_back_the_same_way() -> None:
    # It came from A by way of B and C: back to C first, then B, then A (RFC 1122 3.2.1.8).
    arrived = bytes((137, 11, 12)) + B + C
    back, first_hop = options.reply(arrived, A)
    assert first_hop == C
    assert back == bytes((137, 11, 4)) + B + A + b"\0"
    assert options.reply(bytes((131, 3, 4)), A) == (b"", A)


def test_an_answer_keeps_routes_and_timestamps_and_drops_the_rest() -> None:
    arrived = options.record_route(1) + b"\1" + options.timestamp(options.TS_ONLY, 1) + b"\x82\x03\0"
    arrived += b"\x88\4\0\1" + options.router_alert()
    back, first_hop = options.reply(arrived, A)
    assert back == options.record_route(1) + options.timestamp(options.TS_ONLY, 1) + b"\0"
    assert first_hop == A


def test_later_fragments_carry_the_options_with_the_copy_bit() -> None:
    octets = options.record_route(1) + b"\1" + options.router_alert() + options.source_route([B])
    assert options.copied(octets) == options.router_alert() + options.source_route([B]) + b"\0"
    assert options.copied(b"") == b""


def test_hosts_that_no_prespecified_timestamp_asks_for_are_not_counted_as_overflow() -> None:
    # Linux, ip_options_compile(): the counter is raised unless the flag is IPOPT_TS_PRESPEC.
    full = bytes((68, 12, 13, 3)) + A + bytes(4)
    assert options.record(full, B, NOON) == full
