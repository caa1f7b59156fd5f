"""Golden lines: what iputils' ping prints, written by hand from its observed output."""

import errno
import io

import pytest

from pytools.probe import ping_events as events
from pytools.probe.ping_events import Summary
from pytools.render.ping_text import (
    PingText,
    ShownTarget,
    TextOptions,
    format_percent,
    format_rtt,
    header_line,
    interim_line,
    summary_lines,
)
from pytools.render.style import Style
from pytools.units import MS, SECOND
from pytools.wire.addr import parse_ip

HOST = parse_ip("10.9.1.2")
ROUTER = parse_ip("10.9.0.2")
HOST6 = parse_ip("fd09:1::2")
ROUTER6 = parse_ip("fd09::2")
PATTERN = bytes(range(56))


class NameTable:
    """Reverse names as a test wants them; an address that is missing is still being looked up."""

    def __init__(self, **names: str) -> None:
        self.names = {parse_ip(address.replace("_", ".")): name for address, name in names.items()}

    def name(self, address: bytes) -> str | None:
        return self.names.get(address)


class Screen:
    """A PingText and what it wrote."""

    def __init__(self, *targets: ShownTarget, names: NameTable | None = None, **options: object) -> None:
        self.out = io.StringIO()
        self.err = io.StringIO()
        shown = targets or (ShownTarget("10.9.1.2", HOST),)
        epoch = 1_795_331_603 * SECOND
        self.text = PingText(self.out, self.err, shown, TextOptions(**options), names, epoch)

    def after(self, *given: events.PingEvent) -> str:
        for event in given:
            self.text.on_event(event)
        return self.out.getvalue()


def reply(seq: int = 1, rtt_us: int | None = 397, **fields: object) -> events.Replied:
    rtt_ns = None if rtt_us is None else rtt_us * 1000
    defaults: dict[str, object] = {"src": HOST, "length": 64, "ttl": 63, "tos": 0, "ident": 77, "size": 56}
    defaults.update(fields)
    now = defaults.pop("now", 0)
    return events.Replied(now, 0, seq, rtt_ns=rtt_ns, **defaults)  # type: ignore[arg-type]


def error(type_: int, code: int, info: int = 0, **fields: object) -> events.ErrorReported:
    defaults: dict[str, object] = {"src": ROUTER, "family": 4}
    defaults.update(fields)
    return events.ErrorReported(0, 0, 1, type=type_, code=code, info=info, **defaults)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "line"),
    [
        (ShownTarget("10.9.1.2", HOST), "PING 10.9.1.2 (10.9.1.2) 56(84) bytes of data."),
        (ShownTarget("clhost", HOST), "PING clhost (10.9.1.2) 56(84) bytes of data."),
        (ShownTarget("10.9.1.2", HOST, 0), "PING 10.9.1.2 (10.9.1.2) 0(28) bytes of data."),
        (ShownTarget("10.9.1.2", HOST, option_octets=40), "PING 10.9.1.2 (10.9.1.2) 56(124) bytes of data."),
        (
            ShownTarget("10.9.1.2", HOST, from_text="10.9.0.1 "),
            "PING 10.9.1.2 (10.9.1.2) from 10.9.0.1 : 56(84) bytes of data.",
        ),
        (
            ShownTarget("10.9.1.2", HOST, from_text="10.9.0.1 cl0"),
            "PING 10.9.1.2 (10.9.1.2) from 10.9.0.1 cl0: 56(84) bytes of data.",
        ),
        (ShownTarget("fd09:1::2", HOST6), "PING fd09:1::2 (fd09:1::2) 56 data bytes"),
        (ShownTarget("cl6host", HOST6), "PING cl6host (fd09:1::2) 56 data bytes"),
        (
            ShownTarget("fd09:1::2", HOST6, flow_label=0x12345),
            "PING fd09:1::2 (fd09:1::2) , flow 0x12345, 56 data bytes",
        ),
        (
            ShownTarget("fe80::ff:fe09:2%cl0", parse_ip("fe80::ff:fe09:2"), zone="cl0"),
            "PING fe80::ff:fe09:2%cl0 (fe80::ff:fe09:2%cl0) 56 data bytes",
        ),
        (
            ShownTarget("fe80::ff:fe09:2", parse_ip("fe80::ff:fe09:2"), zone="cl0", from_text=":: cl0"),
            "PING fe80::ff:fe09:2 (fe80::ff:fe09:2) from :: cl0: 56 data bytes",
        ),
    ],
)
def test_the_header_is_pings(target: ShownTarget, line: str) -> None:
    assert header_line([target]) == line


def test_several_targets_are_counted_in_the_header() -> None:
    assert header_line([ShownTarget("a", HOST), ShownTarget("b", HOST6)]) == "PING 2 targets, 56 data bytes"


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, "0.000"),
        (57, "0.057"),
        (999, "0.999"),
        (1000, "1.00"),
        (1504, "1.50"),
        (1505, "1.51"),
        (9994, "9.99"),
        (9995, "10.0"),
        (15_749, "15.7"),
        (15_750, "15.8"),
        (99_949, "99.9"),
        (99_950, "100"),
        (301_499, "301"),
        (301_500, "302"),
    ],
)
def test_times_have_as_many_decimals_as_ping_gives(us: int, text: str) -> None:
    assert format_rtt(us) == text


def test_minus_3_shows_three_decimals_whatever_the_time() -> None:
    assert format_rtt(301_499, precise=True) == "301.499"
    assert Screen(precise=True).after(reply(rtt_us=15_749)).endswith(" time=15.749 ms\n")


def test_a_reply() -> None:
    assert Screen().after(reply()) == "64 bytes from 10.9.1.2: icmp_seq=1 ttl=63 time=0.397 ms\n"


def test_the_sequence_number_is_shown_as_it_is_on_the_wire() -> None:
    assert "icmp_seq=1 ttl" in Screen().after(reply(seq=65_537))


def test_verbose_shows_the_identifier() -> None:
    assert Screen(verbose=True).after(reply()) == "64 bytes from 10.9.1.2: icmp_seq=1 ident=77 ttl=63 time=0.397 ms\n"


def test_a_payload_too_small_for_the_time_shows_none() -> None:
    assert Screen().after(reply(length=8, size=0)) == "8 bytes from 10.9.1.2: icmp_seq=1 ttl=63\n"


def test_a_payload_of_16_octets_shows_the_time() -> None:
    assert Screen().after(reply(length=24, size=16)) == "24 bytes from 10.9.1.2: icmp_seq=1 ttl=63 time=0.397 ms\n"


def test_the_reverse_name_comes_before_the_address() -> None:
    screen = Screen(names=NameTable(**{"10_9_1_2": "clhost"}))
    assert screen.after(reply()) == "64 bytes from clhost (10.9.1.2): icmp_seq=1 ttl=63 time=0.397 ms\n"


def test_an_address_without_a_name_stands_alone() -> None:
    screen = Screen(names=NameTable(**{"10_9_1_2": ""}))
    assert screen.after(reply()) == "64 bytes from 10.9.1.2: icmp_seq=1 ttl=63 time=0.397 ms\n"


def test_a_line_whose_name_is_not_known_holds_the_lines_behind_it_back() -> None:
    names = NameTable(**{"10_9_0_2": "gw"})
    screen = Screen(names=names)
    assert screen.after(reply(), error(3, 0)) == ""
    names.names[HOST] = "clhost"
    screen.text.release()
    assert screen.out.getvalue() == (
        "64 bytes from clhost (10.9.1.2): icmp_seq=1 ttl=63 time=0.397 ms\n"
        "From gw (10.9.0.2) icmp_seq=1 Destination Net Unreachable\n"
    )
    assert not screen.text.holding


def test_what_is_held_back_is_printed_without_its_name_at_the_end() -> None:
    screen = Screen(names=NameTable())
    assert screen.after(reply()) == ""
    screen.text.release(force=True)
    assert screen.out.getvalue().startswith("64 bytes from 10.9.1.2: ")


def test_a_name_cannot_act_on_the_terminal() -> None:
    screen = Screen(names=NameTable(**{"10_9_1_2": "evil\x1b[2J\nhost"}))
    assert screen.after(reply()).startswith("64 bytes from evil\\x1b[2J\\nhost (10.9.1.2): ")


def test_link_local_addresses_carry_their_zone() -> None:
    address = parse_ip("fe80::ff:fe09:2")
    screen = Screen(ShownTarget("fe80::ff:fe09:2%cl0", address, zone="cl0"))
    line = screen.after(reply(src=address, ttl=64))
    assert line == "64 bytes from fe80::ff:fe09:2%cl0: icmp_seq=1 ttl=64 time=0.397 ms\n"


@pytest.mark.parametrize(
    ("flags", "suffix"),
    [
        (events.DUPLICATE, " (DUP!)"),
        (events.BAD_CHECKSUM, " (BAD CHECKSUM!)"),
        (events.DIFFERENT_ADDRESS, " (DIFFERENT ADDRESS!)"),
        (events.DUPLICATE | events.DIFFERENT_ADDRESS, " (DUP!) (DIFFERENT ADDRESS!)"),
        (events.DUPLICATE | events.MULTICAST, ""),
        (events.LATE, ""),
    ],
)
def test_oddities_follow_the_time(flags: int, suffix: str) -> None:
    expected = f"64 bytes from 10.9.1.2: icmp_seq=1 ttl=63 time=0.397 ms{suffix}\n"
    assert Screen().after(reply(flags=flags)) == expected


def test_verbose_marks_duplicates_of_multicast_too() -> None:
    assert Screen(verbose=True).after(reply(flags=events.DUPLICATE | events.MULTICAST)).endswith(" (DUP!)\n")


def test_a_truncated_reply_shows_no_time() -> None:
    line = Screen().after(reply(length=38, flags=events.TRUNCATED))
    assert line == "38 bytes from 10.9.1.2: icmp_seq=1 ttl=63 (truncated)\n"


def test_wrong_data_is_named_and_dumped() -> None:
    payload = PATTERN[:40] + b"\x7d" + PATTERN[41:]
    assert Screen().after(reply(wrong_at=40, expected=0x28, payload=payload)) == (
        "64 bytes from 10.9.1.2: icmp_seq=1 ttl=63 time=0.397 ms\n"
        "wrong data byte #40 should be 0x28 but was 0x7d\n"
        "#16\t10 11 12 13 14 15 16 17 18 19 1a 1b 1c 1d 1e 1f 20 21 22 23 24 25 26 27 7d 29 2a 2b 2c 2d 2e 2f \n"
        "#48\t30 31 32 33 34 35 36 37 \n"
    )


def test_the_bell_rings_behind_the_line() -> None:
    assert Screen(audible=True).after(reply()) == "64 bytes from 10.9.1.2: icmp_seq=1 ttl=63 time=0.397 ms\a\n"


def test_record_route_lists_the_hops_and_names_a_repeated_route() -> None:
    hops = ROUTER + parse_ip("10.9.1.1") + HOST
    option = bytes([7, 39, 16]) + hops + bytes(24) + b"\0"
    assert Screen().after(reply(options=option), reply(seq=2, options=option)) == (
        "64 bytes from 10.9.1.2: icmp_seq=1 ttl=63 time=0.397 ms\n"
        "RR: \t10.9.0.2\n\t10.9.1.1\n\t10.9.1.2\n"
        "\n"
        "64 bytes from 10.9.1.2: icmp_seq=2 ttl=63 time=0.397 ms\t(same route)\n"
    )


def test_a_no_operation_before_the_route_is_printed_as_ping_does() -> None:
    option = b"\x01" + bytes([7, 39, 8]) + HOST + bytes(32)
    assert Screen().after(reply(options=option)).endswith(" ms\nNOP\nRR: \t10.9.1.2\n\n")


def test_timestamps_only() -> None:
    stamps = b"".join(stamp.to_bytes(4, "big") for stamp in (27_457_638, 27_457_638, 27_457_640))
    option = bytes([68, 40, 17, 0]) + stamps + bytes(24)
    assert Screen().after(reply(options=option)).endswith(" ms\nTS: \t27457638 absolute\n\t0\n\t2\n\n")


def test_timestamps_with_addresses_and_hops_that_found_no_room() -> None:
    entries = b"".join(
        parse_ip(address) + (27_457_922).to_bytes(4, "big")
        for address in ("10.9.0.1", "10.9.0.2", "10.9.1.2", "10.9.1.2")
    )
    option = bytes([68, 36, 37, 0x21]) + entries
    assert (
        Screen()
        .after(reply(options=option))
        .endswith(
            " ms\nTS: \t10.9.0.1\t27457922 absolute\n\t10.9.0.2\t0\n"
            "\t10.9.1.2\t0\n\t10.9.1.2\t0\nUnrecorded hops: 2\n\n"
        )
    )


def test_prespecified_timestamps_stop_at_the_pointer() -> None:
    entries = ROUTER + (27_457_927).to_bytes(4, "big") + HOST + (27_457_927).to_bytes(4, "big") + HOST + bytes(4)
    option = bytes([68, 28, 21, 3]) + entries
    expected = " ms\nTS: \t10.9.0.2\t27457927 absolute\n\t10.9.1.2\t0\n\n"
    assert Screen().after(reply(options=option)).endswith(expected)


def test_times_that_are_not_since_midnight_are_marked() -> None:
    stamps = b"".join(stamp.to_bytes(4, "big") for stamp in (0x8000_0005, 0x8000_0007))
    option = bytes([68, 12, 13, 0]) + stamps
    assert Screen().after(reply(options=option)).endswith("TS: \t5 absolute not-standard\n\t2 not-standard\n\n")


def test_options_cut_short_print_nothing_and_break_nothing() -> None:
    for option in (b"\x07", b"\x07\x02", b"\x07\x63\x08", b"\x44\x03\x05", b"\x44\x04\x09\x00", b"\x07\x03\xff"):
        assert Screen().after(reply(options=option)).startswith("64 bytes from")


@pytest.mark.parametrize(
    ("type_", "code", "info", "words"),
    [
        (3, 0, 0, "Destination Net Unreachable"),
        (3, 1, 0, "Destination Host Unreachable"),
        (3, 2, 0, "Destination Protocol Unreachable"),
        (3, 3, 0, "Destination Port Unreachable"),
        (3, 4, 1280, "Frag needed and DF set (mtu = 1280)"),
        (3, 5, 0, "Source Route Failed"),
        (3, 6, 0, "Destination Net Unknown"),
        (3, 7, 0, "Destination Host Unknown"),
        (3, 8, 0, "Source Host Isolated"),
        (3, 9, 0, "Destination Net Prohibited"),
        (3, 10, 0, "Destination Host Prohibited"),
        (3, 11, 0, "Destination Net Unreachable for Type of Service"),
        (3, 12, 0, "Destination Host Unreachable for Type of Service"),
        (3, 13, 0, "Packet filtered"),
        (3, 14, 0, "Precedence Violation"),
        (3, 15, 0, "Precedence Cutoff"),
        (3, 99, 0, "Dest Unreachable, Bad Code: 99"),
        (11, 0, 0, "Time to live exceeded"),
        (11, 1, 0, "Frag reassembly time exceeded"),
        (11, 7, 0, "Time exceeded, Bad Code: 7"),
        (12, 0, 20, "Parameter problem: pointer = 20"),
        (40, 0, 0, "Bad ICMP type: 40"),
    ],
)
def test_errors_of_ipv4(type_: int, code: int, info: int, words: str) -> None:
    assert Screen().after(error(type_, code, info)) == f"From 10.9.0.2 icmp_seq=1 {words}\n"


@pytest.mark.parametrize(
    ("type_", "code", "info", "words"),
    [
        (1, 0, 0, "Destination unreachable: No route"),
        (1, 1, 0, "Destination unreachable: Administratively prohibited"),
        (1, 2, 0, "Destination unreachable: Beyond scope of source address"),
        (1, 3, 0, "Destination unreachable: Address unreachable"),
        (1, 4, 0, "Destination unreachable: Port unreachable"),
        (1, 5, 0, "Destination unreachable: Source address failed ingress/egress policy"),
        (1, 6, 0, "Destination unreachable: Reject route to destination"),
        (1, 9, 0, "Destination unreachable: Unknown code 9"),
        (2, 0, 1280, "Packet too big: mtu=1280"),
        (2, 3, 1280, "Packet too big: mtu=1280, code=3"),
        (3, 0, 0, "Time exceeded: Hop limit"),
        (3, 1, 0, "Time exceeded: Defragmentation failure"),
        (3, 2, 0, "Time exceeded: code 2"),
        (4, 0, 40, "Parameter problem: Wrong header field at 40"),
        (4, 1, 6, "Parameter problem: Unknown header at 6"),
        (4, 2, 40, "Parameter problem: Unknown option at 40"),
        (4, 7, 1, "Parameter problem: code 7 at 1"),
        (99, 0, 0, "unknown icmp type: 99"),
    ],
)
def test_errors_of_ipv6(type_: int, code: int, info: int, words: str) -> None:
    line = Screen(ShownTarget("fd09:1::2", HOST6)).after(error(type_, code, info, family=6, src=ROUTER6))
    assert line == f"From fd09::2 icmp_seq=1 {words}\n"


def test_a_redirect_has_a_colon_and_the_new_next_hop() -> None:
    gateway = parse_ip("10.10.0.1")
    assert Screen().after(error(5, 1, gateway=gateway)) == (
        "From 10.9.0.2: icmp_seq=1 Redirect Host(New nexthop: 10.10.0.1)\n"
    )
    assert "Redirect Network(New nexthop: " in Screen().after(error(5, 0, gateway=gateway))
    assert "Redirect Type of Service and Network(New" in Screen().after(error(5, 2, gateway=gateway))
    assert "Redirect Type of Service and Host(New" in Screen().after(error(5, 3, gateway=gateway))
    assert "Redirect, Bad Code: 9(New" in Screen().after(error(5, 9, gateway=gateway))


def test_a_source_quench_has_a_colon() -> None:
    assert Screen().after(error(4, 0)) == "From 10.9.0.2: icmp_seq=1 Source Quench\n"


def test_verbose_prints_the_header_that_a_source_quench_quotes() -> None:
    quoted = bytes.fromhex("450000540ae340004001198d0a0900010a090102")
    assert Screen(verbose=True).after(error(4, 0, quoted=quoted)) == (
        "From 10.9.0.2: icmp_seq=1 Source Quench\n"
        "Vr HL TOS  Len   ID Flg  off TTL Pro  cks      Src      Dst Data\n"
        " 4  5  00 0054 0ae3   2 0000  40  01 198d 10.9.0.1  10.9.1.2 \n"
    )


def test_quiet_prints_neither_replies_nor_errors() -> None:
    screen = Screen(quiet=True)
    screen.text.on_event(events.SendRefused(0, 0, 1, 4, errno.EMSGSIZE, 1500))
    assert screen.after(reply(), error(3, 1), events.Lost(0, 0, 1, SECOND)) == ""
    assert screen.err.getvalue() == ""


def test_outstanding_probes_are_reported_even_when_quiet() -> None:
    assert Screen(quiet=True).after(events.NoAnswerYet(0, 0, 3)) == "no answer yet for icmp_seq=3\n"
    assert Screen().after(events.NoAnswerYet(0, 0, 65_537)) == "no answer yet for icmp_seq=1\n"


def test_a_lost_probe_is_a_line_only_when_asked_for() -> None:
    lost = events.Lost(0, 0, 3, 500 * MS)
    assert Screen().after(lost) == ""
    assert Screen(lost=True).after(lost) == "no reply for icmp_seq=3 within 500 ms\n"


@pytest.mark.parametrize(
    ("stamp", "start"),
    [
        ("unix", "[1795331603.689877] "),
        ("iso", "[2026-11-22T07:13:23.689877Z] "),
        ("relative", "[0.000000] "),
    ],
)
def test_lines_start_with_the_time(stamp: str, start: str) -> None:
    now = 689_877_999
    assert Screen(stamp=stamp).after(reply(now=now)).startswith(start + "64 bytes")
    assert Screen(stamp=stamp).after(events.NoAnswerYet(now, 0, 1)) == start + "no answer yet for icmp_seq=1\n"


def test_relative_times_count_from_the_first_line() -> None:
    lines = Screen(stamp="relative").after(reply(now=5 * SECOND), reply(seq=2, now=6 * SECOND + 1000)).splitlines()
    assert [line.split()[0] for line in lines] == ["[0.000000]", "[1.000001]"]


def test_local_errors_go_to_stderr_with_the_mtu() -> None:
    screen = Screen(program="pytools ping")
    screen.text.on_event(events.SendRefused(0, 0, 1, 4, errno.EMSGSIZE, 1500))
    screen.text.on_event(events.SendRefused(0, 0, 2, 6, errno.EMSGSIZE, 1500))
    screen.text.on_event(events.SendRefused(0, 0, 3, 4, errno.ENETUNREACH))
    assert screen.out.getvalue() == ""
    assert screen.err.getvalue() == (
        "pytools ping: local error: message too long, mtu=1500\n"
        "pytools ping: local error: message too long, mtu: 1500\n"
        "pytools ping: sendmsg: Network is unreachable\n"
    )


def test_a_clock_that_was_stepped_is_said() -> None:
    screen = Screen()
    screen.text.on_event(events.ClockWarning(0, 1_500_000))
    assert screen.err.getvalue() == "ping: Warning: time of day goes back (-1500us), taking countermeasures\n"


def test_a_flood_is_dots_and_backspaces() -> None:
    screen = Screen(flood=True)
    sent = [events.ProbeSent(0, 0, seq, 56) for seq in (1, 2, 3, 4)]
    bad = reply(seq=3, flags=events.BAD_CHECKSUM)
    assert screen.after(sent[0], reply(), sent[1], error(3, 1), sent[2], bad, sent[3]) == ".\b \b.\bE.\bC."
    screen.text.on_event(events.SendRefused(0, 0, 5, 4, errno.ENOBUFS))
    assert screen.out.getvalue().endswith(".E")


def test_a_flood_shows_no_more_dots_than_fit_the_terminal() -> None:
    screen = Screen(flood=True, width=5)
    assert screen.after(*[events.ProbeSent(0, 0, seq, 56) for seq in range(1, 20)]) == "...."


def summary(**fields: object) -> Summary:
    made = Summary("10.9.1.2", HOST)
    for sample in fields.pop("samples", ()):  # type: ignore[attr-defined]
        made.rtt.add(sample)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("given", "lines"),
    [
        (
            {"sent": 2, "received": 2, "elapsed_ns": 208 * MS, "samples": (397, 76)},
            [
                "2 packets transmitted, 2 received, 0% packet loss, time 208ms",
                "rtt min/avg/max/mdev = 0.076/0.236/0.397/0.160 ms",
            ],
        ),
        (
            {"sent": 2, "received": 2, "duplicates": 1, "elapsed_ns": 201 * MS, "samples": (40, 40, 40)},
            [
                "2 packets transmitted, 2 received, +1 duplicates, 0% packet loss, time 201ms",
                "rtt min/avg/max/mdev = 0.040/0.040/0.040/0.000 ms",
            ],
        ),
        (
            {"sent": 2, "received": 0, "corrupted": 2, "elapsed_ns": 3 * MS},
            ["2 packets transmitted, 0 received, +2 corrupted, 100% packet loss, time 3ms", ""],
        ),
        (
            {"sent": 5, "received": 0, "errors": 5, "elapsed_ns": 4105 * MS, "pipe": 3},
            ["5 packets transmitted, 0 received, +5 errors, 100% packet loss, time 4105ms", "pipe 3"],
        ),
        (
            {"sent": 3, "received": 1, "elapsed_ns": 407 * MS + 499_999, "samples": (212,)},
            [
                "3 packets transmitted, 1 received, 66.6667% packet loss, time 407ms",
                "rtt min/avg/max/mdev = 0.212/0.212/0.212/0.000 ms",
            ],
        ),
        (
            {"sent": 3, "received": 3, "elapsed_ns": 500_000, "samples": (43, 7, 7), "ipg_us": 46},
            [
                "3 packets transmitted, 3 received, 0% packet loss, time 1ms",
                "rtt min/avg/max/mdev = 0.007/0.019/0.043/0.017 ms, ipg/ewma 0.046/0.034 ms",
            ],
        ),
        (
            {"sent": 5, "received": 5, "elapsed_ns": 600 * MS, "samples": (37, 8, 6, 64, 68), "pipe": 3},
            [
                "5 packets transmitted, 5 received, 0% packet loss, time 600ms",
                "rtt min/avg/max/mdev = 0.006/0.036/0.068/0.026 ms, pipe 3",
            ],
        ),
        (
            {"sent": 1, "received": 1, "samples": (30,), "timed": False},
            ["1 packets transmitted, 1 received, 0% packet loss, time 0ms", ""],
        ),
        ({"sent": 0}, ["0 packets transmitted, 0 received", ""]),
    ],
)
def test_the_summary_is_pings(given: dict[str, object], lines: list[str]) -> None:
    assert summary_lines(summary(**given)) == ["--- 10.9.1.2 ping statistics ---", *lines]


def test_percentages_are_those_of_single_precision_with_six_digits() -> None:
    assert [format_percent(100 * lost / sent) for lost, sent in ((1, 3), (1, 7), (0, 5), (1, 100_000), (2, 2))] == [
        "33.3333",
        "14.2857",
        "0",
        "0.001",
        "100",
    ]


def test_the_interim_line() -> None:
    given = summary(sent=2, received=2, samples=(56, 79))
    assert interim_line(given) == "2/2 packets, 0% loss, min/avg/ewma/max = 0.056/0.067/0.058/0.079 ms"
    assert interim_line(summary(sent=1)) == "0/1 packets, 100% loss"
    assert interim_line(summary()) == "0/0 packets, 0% loss"


def test_the_interim_line_goes_to_stderr_over_the_cursor() -> None:
    screen = Screen()
    screen.text.interim(summary(sent=1))
    assert screen.err.getvalue() == "\r0/1 packets, 100% loss\n"
    assert screen.out.getvalue() == ""


def test_colour_adds_escape_codes_and_no_other_character() -> None:
    import re

    given = (reply(flags=events.DUPLICATE), error(3, 1))
    coloured = Screen(style=Style(on=True)).after(*given)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == Screen().after(*given)


def test_with_several_targets_a_line_without_a_sender_names_the_target() -> None:
    targets = (ShownTarget("alpha", HOST), ShownTarget("beta", HOST6))
    screen = Screen(*targets, lost=True)
    assert screen.after(
        events.Lost(0, 1, 3, SECOND),
        events.NoAnswerYet(0, 0, 2),
        events.ErrorReported(0, 1, 1, ROUTER6, 6, 1, 0),
        events.TargetDone(0, 0, 1, True, 54_000),
        events.TargetDone(0, 1, 4, False, None),
    ) == (
        "no reply from beta for icmp_seq=3 within 1000 ms\n"
        "no answer yet from alpha for icmp_seq=2\n"
        "From fd09::2 icmp_seq=1 Destination unreachable: No route (for beta)\n"
        "alpha is alive (0.054 ms)\n"
        "beta is unreachable\n"
    )
