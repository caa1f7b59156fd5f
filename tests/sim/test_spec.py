"""The text after `--via sim:`."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytools.errors import UsageError
from pytools.sim import spec
from pytools.sim.impairment import PAYLOAD
from pytools.units import MS, SECOND, US


@pytest.mark.parametrize("text", ["sim", "sim:", ""])
def test_without_settings_the_wire_only_takes_a_little_time(text: str) -> None:
    parsed = spec.parse(text)
    assert parsed.out.delay_ns == parsed.inward.delay_ns == 50 * US
    assert (parsed.out.loss, parsed.out.rate_bps, parsed.seed, parsed.pace) == (0, 0, 1, None)


def test_every_key_is_read_with_its_unit() -> None:
    parsed = spec.parse(
        "sim:delay=20ms,jitter=500us,rate=10mbit,queue=64kB,loss=5%,gemodel=1%:25%:90%:0.5%,drop=3+7-9,every=10,"
        "blackout=2s-3s+1m-2m,dup=1%,reorder=2%:30ms,corrupt=0.1%:payload,seed=42,pace=2.5"
    )
    for i in (parsed.out, parsed.inward):
        assert (i.delay_ns, i.jitter_ns, i.rate_bps, i.queue_bytes) == (20 * MS, 500 * US, 10_000_000, 64_000)
        assert (i.loss, i.duplicate, i.reorder, i.reorder_ns) == (0.05, 0.01, 0.02, 30 * MS)
        assert i.bursts is not None
        assert (i.bursts.to_bad, i.bursts.to_good, i.bursts.loss_bad, i.bursts.loss_good) == (0.01, 0.25, 0.9, 0.005)
        assert (i.drops, i.drop_every) == (frozenset((3, 7, 8, 9)), 10)
        assert i.blackouts == ((2 * SECOND, 3 * SECOND), (60 * SECOND, 120 * SECOND))
        assert (i.corrupt, i.corrupt_where) == (0.001, PAYLOAD)
    assert (parsed.seed, parsed.pace) == (42, 2.5)


def test_a_direction_overrides_what_is_said_for_both_in_any_order() -> None:
    parsed = spec.parse("loss.out=5%,loss=1%,delay.in=30ms,queue.in=5")
    assert (parsed.out.loss, parsed.inward.loss) == (0.05, 0.01)
    assert (parsed.out.delay_ns, parsed.inward.delay_ns) == (50 * US, 30 * MS)
    assert (parsed.out.queue_packets, parsed.inward.queue_packets) == (1000, 5)


def test_blanks_case_and_empty_parts_do_no_harm() -> None:
    parsed = spec.parse("sim: Delay = 1.5S , ,RATE=1Gbit,")
    assert (parsed.out.delay_ns, parsed.out.rate_bps) == (1_500 * MS, 1_000_000_000)


def test_zero_needs_no_unit() -> None:
    parsed = spec.parse("delay=0,loss=0,rate=0")
    assert (parsed.out.delay_ns, parsed.out.loss, parsed.out.rate_bps) == (0, 0, 0)


def test_pace_max_means_not_to_wait() -> None:
    assert spec.parse("pace=max").pace == spec.UNPACED


def test_an_unknown_key_is_named_together_with_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        spec.parse("delay=20ms,los=5%")
    message = str(caught.value)
    assert "'los'" in message
    assert "'los=5%'" in message
    known = "delay, jitter, rate, queue, loss, gemodel, drop, every, blackout, dup, reorder, corrupt, seed, pace"
    assert message.endswith(f"known keys: {known}")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("delay=20", "'20' needs a unit (ns, us, ms, s"),
        ("delay=fast", "'fast' is no time"),
        ("delay=-1ms", "is no time"),
        ("delay=1.2.3ms", "is no time"),
        ("delay=" + "9" * 400 + "h", "out of range"),
        ("delay", "'delay' has no value: write delay=20ms"),
        ("delay=", "'delay=' has no value"),
        ("loss=5", "'5' needs a %"),
        ("loss=101%", "'101%' is not within 0..100%"),
        ("loss=nan%", "is not within"),
        ("loss=x%", "is no percentage"),
        ("rate=10", "needs a unit (bit, kbit, mbit, gbit)"),
        ("rate=10mb", "needs a unit (bit, kbit, mbit, gbit)"),
        ("queue=0", "'0' is no whole number from 1"),
        ("queue=1.5", "is no whole number"),
        ("gemodel=1%", "has 1 of 2 to 4 percentages"),
        ("gemodel=1%:2%:3%:4%:5%", "has 5 of 2 to 4"),
        ("drop=0", "'0' is no whole number from 1"),
        ("drop=9-7", "'7' is no whole number from 9"),
        ("drop=1-9999999", "more than a million"),
        ("every=" + "1" * 5000, "is no whole number"),
        ("blackout=3s", "'3s' is not from-to"),
        ("blackout=3s-2s", "'3s-2s' is not from-to"),
        ("corrupt=1%:header", "'header' is neither covered nor payload"),
        ("seed=x", "is no whole number from 0"),
        ("pace=0", "neither max nor a number"),
        ("pace=nan", "neither max nor a number"),
        ("seed.out=1", "seed has no direction"),
        ("loss.up=1%", "can end in .out or .in only"),
        ("loss.=1%", "can end in .out or .in only"),
    ],
)
def test_a_bad_part_is_named_in_one_line(text: str, complaint: str) -> None:
    with pytest.raises(UsageError) as caught:
        spec.parse("jitter=1ms," + text)
    message = str(caught.value)
    assert complaint in message
    assert message.startswith("sim: ")
    assert "\n" not in message
    assert caught.value.exit_status == 2


@given(st.text(alphabet="sim:delay=20ms,loss%rate.outinx-+9e \t", max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(UsageError):
        spec.parse(text)
