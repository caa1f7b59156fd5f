"""The impaired wire against closed forms, with fixed seeds."""

from math import sqrt
from random import Random

from pytools.sim.impairment import COVERED, PAYLOAD, GilbertElliott, Impairment
from pytools.sim.wire import Wire
from pytools.trace.events import WireCorrupted, WireDelayed, WireDuplicated, WireLost
from pytools.trace.hub import Trace
from pytools.units import MS, SECOND, US
from pytools.wire import ethernet, icmp, ipv4
from pytools.wire.checksum import checksum

FRAME = b"\x02\0\0\0\0\x02" + b"\x02\0\0\0\0\x01" + b"\x88\xb5" + bytes(86)
ECHO = (
    ethernet.encode(FRAME[:6], FRAME[6:12], ethernet.ETHERTYPE_IPV4)
    + ipv4.encode(b"\n\0\0\x0a", b"\n\0\0\2", ipv4.PROTO_ICMP, 64)
    + icmp.encode(8, 0, 0x00010001, bytes(56))
)


def wire(seed: int = 1, trace: Trace | None = None, **settings: object) -> Wire:
    return Wire(Impairment(**settings), Random(seed), "out", trace)  # type: ignore[arg-type]


def lost_numbers(line: Wire, count: int) -> list[int]:
    return [number for number in range(1, count + 1) if not line.transit(FRAME, number * MS)]


def test_a_plain_wire_delivers_at_once_and_in_the_same_bytes() -> None:
    assert list(wire().transit(FRAME, 5)) == [(5, FRAME)]


def test_delay_is_exact() -> None:
    assert list(wire(delay_ns=20 * MS).transit(FRAME, 5)) == [(20 * MS + 5, FRAME)]


def test_random_loss_is_within_four_sigma_of_its_rate() -> None:
    count, rate = 20_000, 0.05
    lost = len(lost_numbers(wire(loss=rate), count))
    assert abs(lost - count * rate) < 4 * sqrt(count * rate * (1 - rate))


def test_random_loss_has_no_memory() -> None:
    lost = set(lost_numbers(wire(loss=0.2), 20_000))
    after_loss = sum(number + 1 in lost for number in lost)
    assert abs(after_loss - 0.2 * len(lost)) < 4 * sqrt(len(lost) * 0.2 * 0.8)


def test_bursts_have_the_mean_length_and_the_share_of_gilbert_elliott() -> None:
    to_bad, to_good, count = 0.01, 0.25, 200_000
    lost = lost_numbers(wire(bursts=GilbertElliott(to_bad, to_good)), count)
    bursts = len(set(lost) - {number + 1 for number in lost})
    # A burst is geometric: mean 1/r, deviation sqrt(1-r)/r.
    assert abs(len(lost) / bursts - 1 / to_good) < 4 * (sqrt(1 - to_good) / to_good) / sqrt(bursts)
    # The chain's share of losses has the variance of independent draws times (1+lambda)/(1-lambda), lambda = 1-p-r.
    share, memory = to_bad / (to_bad + to_good), 1 - to_bad - to_good
    sigma = sqrt(count * share * (1 - share) * (1 + memory) / (1 - memory))
    assert abs(len(lost) - count * share) < 4 * sigma


def test_gilbert_elliott_can_lose_in_both_states() -> None:
    count = 50_000
    lost = len(lost_numbers(wire(bursts=GilbertElliott(0.5, 0.5, loss_bad=0.4, loss_good=0.1)), count))
    assert abs(lost - count * 0.25) < 4 * sqrt(count * 0.25 * 0.75)


def test_exactly_the_listed_frames_are_lost() -> None:
    assert lost_numbers(wire(drops=frozenset((3, 7, 8))), 20) == [3, 7, 8]


def test_periodic_loss_takes_each_nth_frame() -> None:
    assert lost_numbers(wire(drop_every=10), 35) == [10, 20, 30]


def test_a_blackout_loses_everything_from_its_start_until_before_its_end() -> None:
    line = Wire(Impairment(blackouts=((10 * MS, 20 * MS),)), Random(1), origin=SECOND)
    times = [SECOND + at for at in (10 * MS - 1, 10 * MS, 20 * MS - 1, 20 * MS)]
    assert [bool(line.transit(FRAME, at)) for at in times] == [True, False, False, True]


def test_the_rate_is_exact_and_frames_wait_for_the_one_ahead() -> None:
    line = wire(rate_bps=8_000_000)  # 100 octets take 100 us
    arrivals = [line.transit(FRAME, 0)[0][0] for _ in range(50)]
    assert arrivals == [100 * US * number for number in range(1, 51)]
    assert line.transit(FRAME, SECOND)[0][0] == SECOND + 100 * US


def test_a_wire_is_never_faster_than_its_rate() -> None:
    line = wire(rate_bps=7)
    assert line.transit(FRAME, 0)[0][0] == -(-800 * SECOND // 7)


def test_the_queue_holds_its_limit_of_frames_with_the_one_on_the_wire() -> None:
    line = wire(rate_bps=8_000_000, queue_packets=3)
    assert [len(line.transit(FRAME, 0)) for _ in range(5)] == [1, 1, 1, 0, 0]
    assert len(line.transit(FRAME, 100 * US)) == 1
    assert len(line.transit(FRAME, 100 * US)) == 0
    assert (line.counters.sent, line.counters.delivered, line.counters.overflowed) == (7, 4, 3)


def test_the_queue_holds_its_limit_of_octets() -> None:
    line = wire(rate_bps=8_000_000, queue_bytes=250)
    assert [len(line.transit(FRAME, 0)) for _ in range(3)] == [1, 1, 0]
    assert len(line.transit(FRAME[:50], 0)) == 1


def test_a_lost_frame_has_used_its_share_of_the_rate() -> None:
    line = wire(rate_bps=8_000_000, drops=frozenset((1,)))
    assert not line.transit(FRAME, 0)
    assert line.transit(FRAME, 0)[0][0] == 200 * US


def test_jitter_stays_within_its_bounds_and_is_uniform() -> None:
    line = wire(delay_ns=20 * MS, jitter_ns=5 * MS)
    delays = [line.transit(FRAME, number * SECOND)[0][0] - number * SECOND for number in range(10_000)]
    assert 15 * MS <= min(delays) < 15.1 * MS
    assert 24.9 * MS < max(delays) <= 25 * MS
    # Uniform over a width w: mean 0, deviation w / sqrt(12).
    assert abs(sum(delays) / len(delays) - 20 * MS) < 4 * 10 * MS / sqrt(12) / sqrt(len(delays))


def test_jitter_alone_keeps_the_order() -> None:
    line = wire(delay_ns=20 * MS, jitter_ns=20 * MS)
    arrivals = [line.transit(FRAME, number * MS)[0][0] for number in range(2_000)]
    assert arrivals == sorted(arrivals)
    assert all(number * MS <= at <= (number + 40) * MS for number, at in enumerate(arrivals))


def test_jitter_above_the_delay_never_arrives_before_it_was_sent() -> None:
    line = wire(delay_ns=MS, jitter_ns=10 * MS)
    assert all(line.transit(FRAME, number * SECOND)[0][0] >= number * SECOND for number in range(500))


def test_duplicates_are_counted_and_arrive_with_the_original() -> None:
    line, count = wire(duplicate=0.1, delay_ns=MS), 10_000
    arrivals = [line.transit(FRAME, number * SECOND) for number in range(count)]
    twice = [pair for pair in arrivals if len(pair) == 2]
    assert abs(len(twice) - 1000) < 4 * sqrt(count * 0.1 * 0.9)
    assert all(first == second for first, second in twice)
    assert line.counters.duplicated == len(twice)
    assert line.counters.delivered == count + len(twice)


def test_reordered_frames_are_overtaken_by_those_behind() -> None:
    line = wire(delay_ns=MS, reorder=0.25, reorder_ns=5 * MS)
    arrivals = [line.transit(FRAME, number * MS)[0][0] - number * MS for number in range(4_000)]
    assert set(arrivals) == {MS, 6 * MS}
    assert arrivals.count(6 * MS) == line.counters.reordered
    assert abs(line.counters.reordered - 1000) < 4 * sqrt(4_000 * 0.25 * 0.75)


def test_corruption_flips_one_bit_that_a_checksum_notices() -> None:
    line = wire(corrupt=1.0)
    for number in range(2_000):
        ((_, damaged),) = line.transit(ECHO, number)
        changed = [index for index in range(len(ECHO)) if damaged[index] != ECHO[index]]
        assert len(changed) == 1
        assert (damaged[changed[0]] ^ ECHO[changed[0]]).bit_count() == 1
        assert changed[0] >= 14
        assert checksum(damaged[14:34]) or checksum(damaged[34:])
    assert line.counters.corrupted == 2_000


def test_corruption_of_the_payload_leaves_the_ip_header_alone() -> None:
    line = wire(corrupt=1.0, corrupt_where=PAYLOAD)
    for number in range(500):
        ((_, damaged),) = line.transit(ECHO, number)
        assert damaged[:34] == ECHO[:34]
        assert checksum(damaged[34:])


def test_a_frame_without_a_checksum_is_never_corrupted() -> None:
    line = wire(corrupt=1.0, corrupt_where=COVERED)
    assert line.transit(FRAME, 0)[0][1] == FRAME
    assert line.counters.corrupted == 0


def test_the_same_seed_gives_the_same_fate() -> None:
    settings: dict[str, object] = {
        "loss": 0.1,
        "bursts": GilbertElliott(0.05, 0.3),
        "duplicate": 0.1,
        "reorder": 0.1,
        "corrupt": 0.1,
        "jitter_ns": MS,
        "rate_bps": 10_000_000,
    }
    first, second, other = (wire(seed, **settings) for seed in (7, 7, 8))
    fates = [[list(line.transit(ECHO, number * MS)) for number in range(500)] for line in (first, second, other)]
    assert fates[0] == fates[1]
    assert fates[0] != fates[2]


def test_the_counters_add_up() -> None:
    line = wire(loss=0.1, duplicate=0.1, reorder=0.1, corrupt=0.1, rate_bps=400_000, queue_packets=5)
    arrived = sum(len(line.transit(ECHO, number * MS)) for number in range(5_000))
    c = line.counters
    assert c.sent == 5_000
    assert c.octets == 5_000 * len(ECHO)
    assert c.delivered == arrived == c.sent - c.lost - c.overflowed + c.duplicated
    assert c.overflowed > 0


def test_every_decision_is_an_event_with_the_frame_and_its_number() -> None:
    trace, said = Trace(), []
    trace.subscribe(said.append, ("wire",))
    line = wire(trace=trace, drops=frozenset((1,)), duplicate=1.0, reorder=1.0, reorder_ns=MS, corrupt=1.0)
    line.transit(ECHO, 10)
    line.transit(ECHO, 20)
    assert [type(event) for event in said] == [
        WireLost,
        WireCorrupted,
        WireDelayed,
        WireDuplicated,
        WireDelayed,
    ]
    assert (said[0].now, said[0].direction, said[0].number, said[0].frame, said[0].why) == (
        10,
        "out",
        1,
        ECHO,
        "listed",
    )
    assert {event.number for event in said[1:]} == {2}
    assert said[2].extra_ns == MS


def test_a_trace_changes_nothing() -> None:
    trace = Trace()
    trace.subscribe(lambda event: None)
    settings: dict[str, object] = {"loss": 0.2, "duplicate": 0.2, "reorder": 0.2, "corrupt": 0.2}
    silent, traced = wire(**settings), wire(trace=trace, **settings)
    for number in range(500):
        assert list(silent.transit(ECHO, number)) == list(traced.transit(ECHO, number))
