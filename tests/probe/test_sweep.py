"""The engine for many targets, in virtual time."""

import errno
import sys

import pytest

from pytools.errors import LocalProtocolError
from pytools.probe import ping_events as events
from pytools.probe.ping import COUNT, DEADLINE, INTERRUPTED, TIMEOUT
from pytools.probe.targets import Outstanding, TargetTable
from pytools.stack.packet import IpOptions
from pytools.units import MS, NEVER, SECOND, US, Ns
from pytools.wire.addr import format_ip, parse_ip
from tests.probe.ping_bench import IDENT, Bench, Echo, sweeping

A, B, C = "10.0.0.2", "10.0.0.3", "fd00::2"


def after(delay: Ns, *silent: str):
    dead = {parse_ip(address) for address in silent}
    return lambda echo: [] if echo.dst in dead else [(delay, echo.reply())]


def order(bench: Bench) -> list[str]:
    return [f"{format_ip(echo.dst)}#{echo.seq}" for echo in bench.echoes]


def times(bench: Bench) -> list[Ns]:
    return [echo.at // MS for echo in bench.echoes]


def test_each_round_probes_every_target_once_a_gap_apart() -> None:
    bench = sweeping(A, B, C, count=2, gap_ns=10 * MS).answers(after(MS)).run()
    assert order(bench) == [f"{A}#1", f"{B}#1", f"{C}#1", f"{A}#2", f"{B}#2", f"{C}#2"]
    assert times(bench) == [0, 10, 20, 1000, 1010, 1020]
    assert bench.engine.reason == COUNT
    assert bench.engine.is_answered


def test_rounds_do_not_drift() -> None:
    bench = sweeping(A, B, count=500, gap_ns=MS, tell=False)
    bench.wake_late = 200 * US
    bench.answers(after(MS)).run()
    assert bench.echoes[-2].at - 499 * SECOND == 200 * US


def test_gaps_longer_than_the_interval_allows_stretch_the_rounds() -> None:
    bench = sweeping(A, B, C, count=3, gap_ns=500 * MS).answers(after(MS)).run()
    assert times(bench) == [500 * at for at in range(9)]


def test_replies_are_told_with_the_index_of_their_target() -> None:
    bench = sweeping(A, B, C, count=1).answers(after(1500 * US)).run()
    assert [(reply.target, reply.src, reply.seq, reply.rtt_ns) for reply in bench.of(events.Replied)] == [
        (index, parse_ip(address), 1, 1500 * US) for index, address in enumerate((A, B, C))
    ]


def test_each_target_has_its_own_figures_and_all_have_theirs_together() -> None:
    def answer(echo: Echo) -> list[tuple[Ns, bytes]]:
        if echo.dst == parse_ip(A):
            return [(MS, echo.reply()), (2 * MS, echo.reply())]
        return [(5 * MS, echo.reply())] if echo.seq == 1 else [(MS, echo.error(3, 1))]

    bench = sweeping(A, B, count=2).answers(answer).run()
    first, second = bench.engine.table.summaries()
    assert (first.sent, first.received, first.duplicates, first.errors) == (2, 2, 2, 0)
    assert (second.sent, second.received, second.duplicates, second.errors) == (2, 1, 0, 1)
    assert (second.rtt.min_us, second.rtt.avg_us, second.rtt.max_us) == (5000, 5000, 5000)
    total = bench.engine.summary()
    assert (total.sent, total.received, total.duplicates, total.errors) == (4, 3, 2, 1)
    assert (total.rtt.min_us, total.rtt.max_us, total.rtt.count) == (1000, 5000, 5)
    assert (bench.engine.table.answered_count(), bench.engine.table.fully_answered_count()) == (2, 1)


def test_one_silent_target_is_enough_for_no() -> None:
    bench = sweeping(A, B, count=1).answers(after(MS, B)).run()
    assert not bench.engine.is_answered
    assert (bench.engine.reason, bench.engine.table.answered_count()) == (TIMEOUT, 1)


def test_once_something_answered_it_waits_two_round_trips_or_an_interval() -> None:
    bench = sweeping(A, B, count=1, gap_ns=MS).answers(after(800 * MS, B)).run()
    assert bench.now // MS == 1 + 1600
    bench = sweeping(A, B, count=1, gap_ns=MS).answers(after(MS, B)).run()
    assert bench.now // MS == 1 + 1000


def test_without_any_answer_it_waits_as_long_as_asked() -> None:
    bench = sweeping(A, B, count=1, gap_ns=MS, linger_ns=3 * SECOND).run()
    assert bench.now // MS == 1 + 3000


def test_a_timeout_bounds_the_wait() -> None:
    bench = sweeping(A, B, count=1, gap_ns=MS, timeout_ns=300 * MS).answers(after(MS, B)).run()
    assert bench.now // MS == 301


def test_a_deadline_ends_it() -> None:
    bench = sweeping(A, B, deadline_ns=2500 * MS).answers(after(MS)).run()
    assert (bench.engine.reason, bench.now // MS, len(bench.echoes)) == (DEADLINE, 2500, 6)


def test_a_flood_begins_the_next_round_when_all_have_answered() -> None:
    bench = sweeping(A, B, count=3, gap_ns=0, flood=True).answers(after(MS)).run()
    assert times(bench) == [0, 0, 1, 1, 2, 2]


def test_a_flood_waits_10_ms_for_the_silent_ones() -> None:
    bench = sweeping(A, B, count=3, gap_ns=0, flood=True, timeout_ns=50 * MS).answers(after(MS, B)).run()
    assert times(bench) == [0, 0, 10, 10, 20, 20]


def test_shuffled_targets_are_all_probed_and_the_same_seed_gives_the_same_order() -> None:
    targets = [f"10.0.0.{last}" for last in range(20, 60)]
    orders = [
        order(sweeping(*targets, count=1, shuffle=True, seed=seed, gap_ns=0).answers(after(MS)).run())
        for seed in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) == sorted(f"{target}#1" for target in targets)


def test_every_target_may_have_its_own_options() -> None:
    options = (IpOptions(ttl=3), IpOptions(ttl=9))
    bench = sweeping(A, B, count=1, options=options).answers(after(MS)).run()
    assert [echo.ttl for echo in bench.echoes] == [3, 9]


def test_an_answer_to_an_older_probe_is_timed_from_that_probe() -> None:
    bench = sweeping(A, B, count=3, interval_ns=100 * MS, gap_ns=0).answers(after(250 * MS)).run()
    assert {reply.rtt_ns for reply in bench.of(events.Replied)} == {250 * MS}


def test_replies_from_strangers_and_to_strangers_are_not_ours() -> None:
    def strange(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(MS, echo.reply(src=parse_ip("10.0.0.77"))), (MS, echo.reply(ident=IDENT + 1)), (MS, echo.reply(seq=9))]

    bench = sweeping(A, B, count=1, timeout_ns=50 * MS).answers(strange).run()
    assert bench.engine.summary().received == 0


def test_a_bad_checksum_counts_as_corrupted_only() -> None:
    bench = sweeping(A, B, count=1, timeout_ns=50 * MS).answers(lambda echo: [(MS, echo.reply(damage=True))]).run()
    assert (bench.engine.summary().corrupted, bench.engine.summary().received) == (2, 0)
    assert [summary.corrupted for summary in bench.engine.table.summaries()] == [1, 1]


def test_losses_are_told_after_their_time() -> None:
    bench = sweeping(A, B, count=2, lost_after_ns=300 * MS).answers(after(MS, B)).run()
    assert [(lost.target, lost.seq, lost.waited_ns // MS) for lost in bench.of(events.Lost)] == [
        (1, 1, 300),
        (1, 2, 300),
    ]


def test_what_is_open_at_the_end_is_lost() -> None:
    bench = sweeping(A, B, lost_after_ns=10 * SECOND).answers(after(MS, B))
    bench.run(until=1500 * MS)
    bench.engine.finish(bench.now)
    bench.run()
    assert [(lost.target, lost.seq) for lost in bench.of(events.Lost)] == [(1, 1), (1, 2)]
    assert bench.engine.reason == INTERRUPTED


def test_outstanding_probes_are_told_before_the_next_round() -> None:
    bench = sweeping(A, B, count=2, outstanding=True).answers(after(MS, B)).run()
    assert [(event.target, event.seq) for event in bench.of(events.NoAnswerYet)] == [(1, 1)]


def test_a_probe_that_our_side_refuses_is_no_loss_of_time() -> None:
    bench = sweeping(A, B, count=1, size=2000, options=(IpOptions(df="do"), IpOptions())).answers(after(MS)).run()
    assert [(refused.target, refused.errno, refused.mtu) for refused in bench.of(events.SendRefused)] == [
        (0, errno.EMSGSIZE, 1500)
    ]
    assert (bench.engine.reason, bench.engine.summary().errors) == (COUNT, 1)


# --- reachability -----------------------------------------------------------------------------------------------------


def alive(bench: Bench) -> list[tuple[int, bool, int]]:
    return [(done.target, done.alive, done.seq) for done in bench.of(events.TargetDone)]


def test_a_target_that_answers_is_alive_and_is_not_asked_again() -> None:
    bench = sweeping(A, B, retries=3, gap_ns=MS, timeout_ns=500 * MS).answers(after(MS)).run()
    assert alive(bench) == [(0, True, 1), (1, True, 1)]
    assert (len(bench.echoes), bench.now // MS, bench.engine.reason) == (2, 2, COUNT)


def test_a_silent_one_is_asked_again_with_growing_patience() -> None:
    bench = sweeping(A, B, retries=2, gap_ns=MS, timeout_ns=100 * MS, backoff=2.0).answers(after(MS, B)).run()
    assert [at for at, echo in zip(times(bench), bench.echoes, strict=True) if echo.dst == parse_ip(B)] == [1, 101, 301]
    assert alive(bench) == [(0, True, 1), (1, False, 3)]
    assert bench.now // MS == 701
    assert not bench.engine.is_answered


def test_an_answer_to_an_earlier_try_is_good_enough() -> None:
    bench = sweeping(A, retries=3, gap_ns=0, timeout_ns=100 * MS).answers(after(150 * MS)).run()
    assert alive(bench) == [(0, True, 2)]
    assert bench.of(events.TargetDone)[0].rtt_ns == 150 * MS


def test_no_retries_means_one_try() -> None:
    bench = sweeping(A, B, retries=0, timeout_ns=100 * MS, gap_ns=0).run()
    assert alive(bench) == [(0, False, 1), (1, False, 1)]


# --- size -------------------------------------------------------------------------------------------------------------


def test_a_table_takes_less_than_500_octets_a_target() -> None:
    addresses = [bytes((10, 1, high, low)) for high in range(64) for low in range(256)]
    table = TargetTable(addresses)
    slots = [getattr(table, name) for name in TargetTable.__slots__]
    arrays = sum(sys.getsizeof(slot) for slot in slots if not callable(slot))
    objects = sum(map(sys.getsizeof, addresses)) + len(addresses) * sys.getsizeof(1 << 20)
    assert (arrays + objects) / len(addresses) < 400


def test_an_answered_probe_leaves_nothing_behind() -> None:
    bench = sweeping(A, B, count=2000, interval_ns=MS, gap_ns=0, tell=False).answers(after(10 * MS)).run()
    assert bench.engine.summary().received == 4000
    assert len(bench.engine._older_at) < 4000 + 60_000  # those of the last minute at most


def test_a_target_may_not_be_given_twice() -> None:
    with pytest.raises(LocalProtocolError):
        TargetTable([parse_ip(A), parse_ip(A)])


def test_outstanding_probes_come_back_in_order() -> None:
    outstanding = Outstanding()
    for number in range(20_000):
        outstanding.add(number, number % 7, number)
    assert [outstanding.pop() for _ in range(15_000)] == [(number % 7, number) for number in range(15_000)]
    assert outstanding.next_at() == 15_000
    for _ in range(5_000):
        outstanding.pop()
    assert outstanding.next_at() == NEVER


def test_round_trips_are_kept_in_order_when_asked_for() -> None:
    def second_only(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(MS, echo.reply())] if echo.seq != 2 else []

    bench = sweeping(A, count=3, keep_rtts=True, timeout_ns=100 * MS).answers(second_only).run()
    assert bench.engine.table.rtts_us is not None
    assert list(bench.engine.table.rtts_us[0]) == [1000, -1, 1000]


def test_percentiles_of_each_target_are_kept_when_asked_for() -> None:
    bench = sweeping(A, B, count=3, interval_ns=MS, histograms=True).answers(after(100 * US)).run()
    for summary in bench.engine.table.summaries():
        assert summary.histogram is not None
        assert summary.histogram.count == 3


def test_a_full_queue_delays_probes_and_loses_none() -> None:
    targets = [f"10.0.{high}.{low}" for high in range(1, 25) for low in range(1, 251)]
    bench = sweeping(*targets, count=1, gap_ns=0, tell=False, queue=10).answers(after(MS)).run()
    assert (bench.engine.summary().sent, bench.engine.summary().received) == (6000, 6000)
    assert set(bench.engine.table.sent) == {1}


def test_interim_figures_are_due_every_so_often() -> None:
    bench = sweeping(A, B, report_every_ns=2 * SECOND).answers(after(MS)).run(until=7 * SECOND)
    assert [event.now // SECOND for event in bench.of(events.ReportDue)] == [2, 4, 6]


def test_an_answer_to_a_probe_of_long_ago_counts_as_a_duplicate() -> None:
    table = TargetTable([parse_ip(A)])
    for _ in range(65):
        table.begin(0, 0)
    assert table.answer(0, 1, MS) == events.DUPLICATE
    assert table.answer(0, 2, MS) == 0
    assert (table.received(0), table.summary(0).duplicates) == (1, 1)
