from hypothesis import given
from hypothesis import strategies as st

from pytools.wire.seq import seq_add, seq_geq, seq_gt, seq_leq, seq_lt, seq_sub

NUMBERS = st.integers(0, 2**32 - 1)


@given(NUMBERS, st.integers(1, 2**31 - 1))
def test_a_number_is_before_what_follows_within_half_the_space(a: int, n: int) -> None:
    b = seq_add(a, n)
    assert seq_lt(a, b)
    assert seq_leq(a, b)
    assert seq_gt(b, a)
    assert seq_geq(b, a)
    assert not seq_lt(b, a)
    assert not seq_leq(b, a)
    assert not seq_gt(a, b)
    assert not seq_geq(a, b)
    assert seq_sub(b, a) == n
    assert seq_add(b, -n) == a


@given(NUMBERS)
def test_a_number_equals_itself(a: int) -> None:
    assert seq_leq(a, a)
    assert seq_geq(a, a)
    assert not seq_lt(a, a)
    assert not seq_gt(a, a)
    assert seq_sub(a, a) == 0


@given(NUMBERS)
def test_numbers_half_the_space_apart_have_no_order(a: int) -> None:
    b = seq_add(a, 2**31)
    assert not any(compare(a, b) for compare in (seq_lt, seq_leq, seq_gt, seq_geq))


def test_the_order_goes_on_across_the_wrap() -> None:
    assert seq_lt(0xFFFFFFFF, 0)
    assert seq_gt(5, 0xFFFFFFF0)
    assert seq_add(0xFFFFFFFF, 2) == 1
    assert seq_sub(1, 0xFFFFFFFF) == 2
