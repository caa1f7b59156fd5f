"""The engine for one target, in virtual time, against a partner that does as a test says."""

import errno
import struct
from itertools import pairwise

import pytest

from pytools.probe import ping_events as events
from pytools.probe.ping import COUNT, DEADLINE, FAILED, INTERRUPTED, TIMEOUT
from pytools.stack.packet import IpOptions
from pytools.units import MS, SECOND, US, Ns
from pytools.wire import ipv4_options
from pytools.wire.addr import parse_ip
from tests.probe.ping_bench import IDENT, SEND_COST, Bench, Echo, pinging

PEER, PEER6 = "10.0.0.2", "fd00::2"


def after(delay: Ns):
    return lambda echo: [(delay, echo.reply())]


def times(bench: Bench) -> list[Ns]:
    return [echo.at for echo in bench.echoes]


# --- what goes out ----------------------------------------------------------------------------------------------------


def test_probes_carry_the_identifier_the_time_and_the_pattern() -> None:
    bench = pinging(PEER, count=2, epoch_ns=1_700_000_000 * SECOND + 250 * MS).answers(after(MS)).run()
    first, second = bench.echoes
    assert (first.ident, first.seq, second.seq) == (IDENT, 1, 2)
    assert first.payload == struct.pack("=qq", 1_700_000_000, 250_000) + bytes(range(16, 56))
    assert struct.unpack("=qq", second.payload[:16]) == (1_700_000_001, 250_000)
    assert (first.ttl, first.tos, first.dont_fragment) == (64, 0, True)


def test_a_small_payload_has_no_time_in_it() -> None:
    bench = pinging(PEER, count=1, size=10).answers(after(MS)).run()
    assert bench.echoes[0].payload == bytes(range(10))
    assert not bench.engine.summary().timed


def test_a_pattern_is_repeated_behind_the_time() -> None:
    bench = pinging(PEER, count=1, size=24, pattern=b"\xab\xcd\xef").answers(after(MS)).run()
    assert bench.echoes[0].payload[16:] == bytes.fromhex("cdefabcdefabcdef")


def test_ip_options_go_with_every_probe() -> None:
    bench = pinging(PEER, count=1, options=IpOptions(ttl=7, tos=0xB8, df="dont")).answers(after(MS)).run()
    assert (bench.echoes[0].ttl, bench.echoes[0].tos, bench.echoes[0].dont_fragment) == (7, 0xB8, False)


def test_a_sweep_of_sizes_takes_them_in_turn() -> None:
    bench = pinging(PEER, count=4, sizes=(100, 200, 300), interval_ns=MS).answers(after(US)).run()
    assert [len(echo.payload) for echo in bench.echoes] == [100, 200, 300, 100]
    assert [reply.size for reply in bench.of(events.Replied)] == [100, 200, 300, 100]
    assert all(not reply.flags and reply.wrong_at < 0 for reply in bench.of(events.Replied))


# --- pacing -----------------------------------------------------------------------------------------------------------


def test_probes_are_an_interval_apart_and_do_not_drift() -> None:
    bench = pinging(PEER, count=1000, interval_ns=SECOND)
    bench.wake_late = 300 * US
    bench.answers(after(MS)).run()
    assert times(bench)[0] == 0
    assert times(bench)[-1] - 999 * SECOND == 300 * US


def test_a_long_pause_is_not_made_up_for() -> None:
    bench = pinging(PEER, count=5, interval_ns=100 * MS).answers(after(MS))
    bench.run(until=50 * MS)
    bench.now = 10 * SECOND
    bench.run()
    gaps = [b - a for a, b in zip(times(bench)[1:], times(bench)[2:], strict=False)]
    assert times(bench)[1] == 10 * SECOND
    assert all(gap >= 99 * MS for gap in gaps[1:])


def test_preload_sends_so_many_at_once_and_then_one_an_interval() -> None:
    bench = pinging(PEER, count=5, preload=3, interval_ns=300 * MS).answers(after(MS)).run()
    assert [at // MS for at in times(bench)] == [0, 0, 0, 300, 600]
    assert bench.engine.summary().pipe == 3


def test_a_flood_sends_when_the_answer_comes() -> None:
    bench = pinging(PEER, count=4, interval_ns=0, flood=True).answers(after(50 * US)).run()
    assert times(bench) == [0, 50 * US, 100 * US, 150 * US]
    assert bench.engine.summary().ipg_us == 50


def test_a_flood_without_answers_sends_every_10_ms() -> None:
    bench = pinging(PEER, count=4, interval_ns=0, flood=True, linger_ns=SECOND).run()
    assert times(bench) == [0, 10 * MS, 20 * MS, 30 * MS]


def test_a_flood_keeps_as_many_under_way_as_preload_says() -> None:
    bench = pinging(PEER, count=9, interval_ns=0, flood=True, preload=3).answers(after(MS)).run()
    assert [at // MS for at in times(bench)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_flood_goes_on_after_an_error() -> None:
    bench = pinging(PEER, count=3, interval_ns=0, flood=True).answers(lambda echo: [(MS, echo.error(3, 1))]).run()
    assert [at // MS for at in times(bench)] == [0, 1, 2]


def test_adaptive_pinging_follows_the_round_trip_time() -> None:
    bench = pinging(PEER, count=20, adaptive=True).answers(after(20 * MS)).run()
    gaps = [b - a for a, b in zip(times(bench), times(bench)[1:], strict=False)]
    assert all(abs(gap - 20 * MS) <= MS for gap in gaps)
    assert bench.engine.summary().ipg_us is not None


def test_adaptive_pinging_of_a_near_host_is_a_flood() -> None:
    bench = pinging(PEER, count=5, adaptive=True).answers(after(100 * US)).run()
    assert times(bench) == [0, 100 * US, 200 * US, 300 * US, 400 * US]


def test_adaptive_pinging_keeps_to_the_floor_of_ordinary_users() -> None:
    bench = pinging(PEER, count=3, adaptive=True, adaptive_floor_ns=2 * MS).answers(after(100 * US)).run()
    assert times(bench) == [0, 2 * MS, 4 * MS]


# --- the end ----------------------------------------------------------------------------------------------------------


def test_it_ends_with_the_last_answer() -> None:
    bench = pinging(PEER, count=2).answers(after(5 * MS)).run()
    assert (bench.engine.reason, bench.now // MS) == (COUNT, 1005)
    assert bench.engine.is_answered


def test_without_any_answer_it_waits_as_long_as_asked() -> None:
    bench = pinging(PEER, count=2, interval_ns=200 * MS, linger_ns=SECOND).run()
    assert (bench.engine.reason, bench.now // MS) == (TIMEOUT, 1200)
    assert not bench.engine.is_answered


def test_once_something_answered_it_waits_two_round_trips_or_an_interval() -> None:
    def only_first(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(150 * MS, echo.reply())] if echo.seq == 1 else []

    bench = pinging(PEER, count=2, interval_ns=200 * MS).answers(only_first).run()
    assert bench.now // MS == 200 + 300
    bench = pinging(PEER, count=2, interval_ns=SECOND).answers(only_first).run()
    assert bench.now // MS == 1000 + 1000


def test_linger_zero_waits_for_ever() -> None:
    bench = pinging(PEER, count=1, linger_ns=0).run(until=3600 * SECOND)
    assert not bench.engine.done


def test_a_timeout_bounds_the_wait_for_the_last_probe() -> None:
    bench = pinging(PEER, count=1, timeout_ns=300 * MS).run()
    assert bench.now // MS == 300


def test_a_deadline_ends_it_whatever_the_count() -> None:
    bench = pinging(PEER, deadline_ns=1500 * MS).answers(after(MS)).run()
    assert (bench.engine.reason, bench.now // MS, len(bench.echoes)) == (DEADLINE, 1500, 2)
    assert bench.engine.is_answered


def test_with_a_deadline_count_is_the_answers_to_wait_for() -> None:
    def every_second(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(MS, echo.reply())] if echo.seq % 2 == 0 else []

    bench = pinging(PEER, count=2, deadline_ns=10 * SECOND).answers(every_second).run()
    assert (len(bench.echoes), bench.engine.reason) == (4, COUNT)
    bench = pinging(PEER, count=9, deadline_ns=3 * SECOND).answers(every_second).run()
    assert not bench.engine.is_answered


def test_with_a_deadline_an_error_ends_it() -> None:
    bench = pinging(PEER, deadline_ns=10 * SECOND).answers(lambda echo: [(MS, echo.error(3, 0))]).run()
    assert (bench.engine.reason, bench.now // MS) == (FAILED, 1)


def test_errors_count_as_answers_for_the_end() -> None:
    bench = pinging(PEER, count=2).answers(lambda echo: [(MS, echo.error(3, 1))]).run()
    assert (bench.engine.reason, bench.now // MS) == (COUNT, 1001)
    assert not bench.engine.is_answered
    assert bench.engine.summary().errors == 2


def test_interrupting_it_calls_what_is_open_lost() -> None:
    bench = pinging(PEER).run(until=2500 * MS)
    bench.engine.finish(bench.now)
    bench.run()
    assert bench.engine.reason == INTERRUPTED
    assert [lost.seq for lost in bench.of(events.Lost)] == [1, 2, 3]


# --- answers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", [PEER, PEER6])
def test_a_reply_tells_all_that_a_line_needs(peer: str) -> None:
    bench = pinging(peer, count=1).answers(after(1500 * US)).run()
    (reply,) = bench.of(events.Replied)
    assert (reply.seq, reply.src, reply.rtt_ns, reply.length) == (1, parse_ip(peer), 1500 * US, 64)
    assert (reply.ttl, reply.ident, reply.flags, reply.wrong_at) == (64, IDENT, 0, -1)


def test_the_round_trip_is_from_the_send_to_the_receive_stamp() -> None:
    bench = pinging(PEER, count=1).answers(after(MS))
    bench.stamp = lambda at: at - 40 * US
    bench.run()
    assert bench.of(events.Replied)[0].rtt_ns == 960 * US


def test_user_to_user_ends_when_the_reply_gets_here() -> None:
    bench = pinging(PEER, count=1, user_to_user=True).answers(after(MS))
    bench.stamp = lambda at: at - 40 * US
    bench.run()
    assert bench.of(events.Replied)[0].rtt_ns == MS


def test_the_transmit_stamp_is_where_the_round_trip_starts_if_asked() -> None:
    bench = pinging(PEER, count=1, transmit_stamps=True).answers(after(MS))
    bench.transmit_stamp = lambda at: at + 30 * US
    bench.run()
    assert bench.of(events.Replied)[0].rtt_ns == 970 * US


def test_without_a_transmit_stamp_the_clock_has_to_do() -> None:
    bench = pinging(PEER, count=1, transmit_stamps=True).answers(after(MS)).run()
    assert bench.of(events.Replied)[0].rtt_ns == MS


def test_no_round_trip_is_negative_when_a_clock_is_stepped() -> None:
    bench = pinging(PEER, count=3).answers(after(MS))
    bench.stamp = lambda at: at - 5 * SECOND
    bench.run()
    assert [reply.rtt_ns for reply in bench.of(events.Replied)] == [MS, MS, MS]
    assert [warning.by_ns for warning in bench.of(events.ClockWarning)] == [5 * SECOND - MS]


def test_a_stamp_from_the_future_is_not_believed() -> None:
    bench = pinging(PEER, count=1).answers(after(MS))
    bench.stamp = lambda at: at + 5 * SECOND
    bench.run()
    assert bench.of(events.Replied)[0].rtt_ns == MS


def test_a_second_answer_is_a_duplicate() -> None:
    bench = pinging(PEER, count=2).answers(lambda echo: [(MS, echo.reply()), (2 * MS, echo.reply())]).run()
    assert [reply.flags for reply in bench.of(events.Replied)] == [0, events.DUPLICATE, 0]
    summary = bench.engine.summary()
    assert (summary.sent, summary.received, summary.duplicates, summary.rtt.count) == (2, 2, 1, 3)


def test_a_short_answer_is_truncated() -> None:
    bench = pinging(PEER, count=1).answers(lambda echo: [(MS, echo.reply(echo.payload[:30]))]).run()
    (reply,) = bench.of(events.Replied)
    assert (reply.flags, reply.length, bench.engine.received) == (events.TRUNCATED, 38, 1)


def test_a_changed_octet_is_found() -> None:
    def changed(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(MS, echo.reply(echo.payload[:40] + b"\x7d" + echo.payload[41:]))]

    (reply,) = pinging(PEER, count=1).answers(changed).run().of(events.Replied)
    assert (reply.wrong_at, reply.expected, reply.payload[40]) == (40, 0x28, 0x7D)


def test_more_data_than_was_sent_is_no_error() -> None:
    bench = pinging(PEER, count=1).answers(lambda echo: [(MS, echo.reply(echo.payload + b"XXXX"))]).run()
    (reply,) = bench.of(events.Replied)
    assert (reply.flags, reply.wrong_at, reply.length) == (0, -1, 68)


def test_a_bad_checksum_is_shown_and_counted_but_is_no_answer() -> None:
    bench = pinging(PEER, count=2, linger_ns=SECOND).answers(lambda echo: [(MS, echo.reply(damage=True))]).run()
    assert [reply.flags for reply in bench.of(events.Replied)] == [events.BAD_CHECKSUM] * 2
    summary = bench.engine.summary()
    assert (summary.received, summary.corrupted, summary.rtt.count) == (0, 2, 0)
    assert not bench.engine.is_answered


def test_an_answer_from_elsewhere_counts_and_is_marked() -> None:
    other = parse_ip("10.0.0.77")
    bench = pinging(PEER, count=1).answers(lambda echo: [(MS, echo.reply(src=other))]).run()
    (reply,) = bench.of(events.Replied)
    assert (reply.flags, reply.src, bench.engine.received) == (events.DIFFERENT_ADDRESS, other, 1)


def test_an_answer_from_elsewhere_is_none_when_the_source_is_checked() -> None:
    other = parse_ip("10.0.0.77")
    bench = pinging(PEER, count=1, check_source=True, linger_ns=SECOND)
    bench.answers(lambda echo: [(MS, echo.reply(src=other))]).run()
    assert (bench.of(events.Replied), bench.engine.received) == ([], 0)


def test_anyone_may_answer_for_the_subnet_router_anycast_address() -> None:
    bench = pinging("fd00::", count=1).answers(lambda echo: [(MS, echo.reply(src=parse_ip("fd00::1")))]).run()
    assert bench.of(events.Replied)[0].flags == 0


def test_many_may_answer_a_group() -> None:
    def three(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(at * MS, echo.reply(src=parse_ip(f"10.0.0.{at}"))) for at in (1, 2, 3)]

    bench = pinging("10.0.0.255", count=2, multicast=True, options=IpOptions(broadcast=True)).answers(three).run()
    flags = [reply.flags for reply in bench.of(events.Replied)][:3]
    assert flags == [events.MULTICAST, events.MULTICAST | events.DUPLICATE, events.MULTICAST | events.DUPLICATE]
    assert bench.engine.summary().duplicates == 2


@pytest.mark.parametrize("odd", [{"ident": IDENT + 1}, {"seq": 5}])
def test_answers_to_others_and_to_nothing_are_not_ours(odd: dict[str, int]) -> None:
    bench = pinging(PEER, count=1, linger_ns=SECOND).answers(lambda echo: [(MS, echo.reply(**odd))]).run()
    assert bench.engine.received == 0
    assert bench.of(events.Replied) == []


def test_sequence_numbers_go_on_beyond_16_bits() -> None:
    bench = pinging(PEER, count=65_540, interval_ns=0, flood=True, tell=False).answers(after(10 * US)).run()
    assert (bench.engine.sent, bench.engine.received, bench.engine.duplicates) == (65_540, 65_540, 0)
    assert [echo.seq for echo in bench.echoes[-6:]] == [65_535, 0, 1, 2, 3, 4]


def test_more_probes_under_way_than_there_are_numbers_are_still_too_many() -> None:
    settings = {"interval_ns": 0, "flood": True, "preload": 65_536, "tell": False, "linger_ns": SECOND}
    bench = pinging(PEER, count=65_540, **settings).run()
    assert bench.echoes[65_535].at < SECOND
    late = [echo.at for echo in bench.echoes[65_536:]]
    assert [later - earlier for earlier, later in pairwise(late)] == [10 * MS] * 3


def test_nothing_is_told_when_nobody_listens() -> None:
    bench = pinging(PEER, count=3, interval_ns=MS, tell=False).answers(after(US)).run()
    assert bench.seen == []
    assert bench.engine.received == 3


# --- losses -----------------------------------------------------------------------------------------------------------


def test_a_probe_is_told_lost_when_its_time_is_over() -> None:
    bench = pinging(PEER, lost_after_ns=1500 * MS).run(until=2600 * MS)
    assert [(lost.seq, lost.now // MS, lost.waited_ns // MS) for lost in bench.of(events.Lost)] == [
        (1, 1500, 1500),
        (2, 2500, 1500),
    ]


def test_an_answer_after_that_counts_and_is_late() -> None:
    bench = pinging(PEER, count=1, lost_after_ns=100 * MS).answers(after(300 * MS)).run()
    assert [type(event).name for event in bench.seen] == ["lost", "reply"]
    assert bench.of(events.Replied)[0].flags == events.LATE
    assert bench.engine.received == 1


def test_outstanding_probes_are_told_before_the_next_one() -> None:
    def second(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(MS, echo.reply())] if echo.seq % 2 == 0 else []

    bench = pinging(PEER, count=4, outstanding=True, interval_ns=300 * MS).answers(second).run()
    assert [event.seq for event in bench.of(events.NoAnswerYet)] == [1, 3]


# --- errors -----------------------------------------------------------------------------------------------------------


def test_an_error_names_who_reported_it_and_which_probe() -> None:
    bench = pinging(PEER, count=1).answers(lambda echo: [(MS, echo.error(3, 4, 1280))]).run()
    (error,) = bench.of(events.ErrorReported)
    assert (error.seq, error.src, error.type, error.code, error.info) == (1, parse_ip("10.0.0.1"), 3, 4, 1280)
    assert error.is_failure


def test_an_error_of_ipv6() -> None:
    bench = pinging(PEER6, count=1).answers(lambda echo: [(MS, echo.error(1, 0))]).run()
    (error,) = bench.of(events.ErrorReported)
    assert (error.family, error.type, error.code, bench.engine.errors) == (6, 1, 0, 1)


def test_errors_fill_the_pipe_of_ipv4_only() -> None:
    def error_later(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(2500 * MS, echo.error(3 if echo.family == 4 else 1, 1))]

    assert pinging(PEER, count=5).answers(error_later).run().engine.summary().pipe == 3
    assert pinging(PEER6, count=5).answers(error_later).run().engine.summary().pipe == 0


def test_a_redirect_is_told_and_is_no_failure() -> None:
    gateway = int.from_bytes(parse_ip("10.0.0.9"), "big")
    bench = pinging(PEER, count=1).answers(lambda echo: [(MS, echo.error(5, 1, gateway)), (2 * MS, echo.reply())]).run()
    (redirect,) = bench.of(events.ErrorReported)
    assert (redirect.gateway, redirect.is_failure) == (parse_ip("10.0.0.9"), False)
    assert (bench.engine.errors, bench.engine.received) == (0, 1)


def test_an_error_about_the_probe_of_another_is_not_ours() -> None:
    def foreign(echo: Echo) -> list[tuple[Ns, bytes]]:
        other = Echo(echo.packet[:24] + (IDENT + 1).to_bytes(2, "big") + echo.packet[26:], 0)
        return [(MS, other.error(3, 1))]

    bench = pinging(PEER, count=1, linger_ns=SECOND).answers(foreign).run()
    assert (bench.engine.errors, bench.of(events.ErrorReported)) == (0, [])


def test_a_probe_too_large_for_the_link_is_refused_with_the_mtu() -> None:
    bench = pinging(PEER, count=1, size=1473, options=IpOptions(df="do")).run()
    (refused,) = bench.of(events.SendRefused)
    assert (refused.errno, refused.mtu, refused.family) == (errno.EMSGSIZE, 1500, 4)
    summary = bench.engine.summary()
    assert (summary.sent, summary.errors, bench.engine.reason) == (1, 1, COUNT)


def test_a_refusal_of_the_link_counts_as_sent_but_as_no_error() -> None:
    bench = pinging(PEER, count=1, linger_ns=SECOND)
    bench.refuses = lambda echo: PermissionError(errno.EPERM, "Operation not permitted")
    bench.run()
    assert [refused.errno for refused in bench.of(events.SendRefused)] == [errno.EPERM]
    summary = bench.engine.summary()
    assert (summary.sent, summary.received, summary.errors) == (1, 0, 0)


# --- figures ----------------------------------------------------------------------------------------------------------


def test_the_elapsed_time_is_from_the_first_probe_to_the_last() -> None:
    bench = pinging(PEER, count=3, interval_ns=200 * MS).answers(after(50 * MS)).run()
    assert bench.engine.summary().elapsed_ns == 400 * MS


def test_percentiles_and_jitter_are_kept_when_asked_for() -> None:
    bench = pinging(PEER, count=3, interval_ns=MS, histogram=True).answers(after(100 * US)).run()
    summary = bench.engine.summary()
    assert summary.histogram is not None
    assert summary.histogram.count == 3
    assert abs(summary.histogram.percentile(50) - 100 * US) < US
    assert summary.jitter is not None
    assert summary.jitter.us == 0


def test_sending_takes_time_that_is_not_counted_as_round_trip() -> None:
    bench = pinging(PEER, count=2, preload=2).answers(after(MS)).run()
    assert [reply.rtt_ns for reply in bench.of(events.Replied)] == [MS, MS]
    assert times(bench)[1] - times(bench)[0] == SEND_COST


def test_interim_figures_are_due_every_so_often() -> None:
    bench = pinging(PEER, report_every_ns=2 * SECOND).answers(after(MS)).run(until=7 * SECOND)
    assert [event.now // SECOND for event in bench.of(events.ReportDue)] == [2, 4, 6]


def test_the_sender_and_the_receiver_are_hops_of_a_recorded_route() -> None:
    options = IpOptions(options=ipv4_options.record_route())

    def answer(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(MS, echo.reply(options=echo.options))]

    bench = pinging(PEER, count=1, options=options).answers(answer).run()
    assert bench.echoes[0].options[:7] == bytes([7, 39, 8]) + parse_ip("10.0.0.10")
    (reply,) = bench.of(events.Replied)
    assert reply.options[2:11] == bytes([12]) + 2 * parse_ip("10.0.0.10")


def test_timestamps_carry_the_time_of_each_probe() -> None:
    options = IpOptions(options=ipv4_options.timestamp(ipv4_options.TS_ONLY, 9))
    bench = pinging(PEER, count=2, options=options, epoch_ns=1234 * MS).answers(after(MS)).run()
    stamps = [int.from_bytes(echo.options[4:8], "big") for echo in bench.echoes]
    assert stamps == [1234, 2234]
