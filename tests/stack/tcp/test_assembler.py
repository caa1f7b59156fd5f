"""Out-of-order text against a naive model: octets in a dictionary."""

from hypothesis import given
from hypothesis import strategies as some

from pytools.stack.tcp.assembler import MAX_CHUNKS, Assembler

PIECES = some.lists(some.tuples(some.integers(0, 120), some.integers(1, 30)), max_size=30)
TEXT = bytes(i * 7 % 256 for i in range(200))


def ranges(numbers):
    """Runs of consecutive numbers as (start, end)."""
    found = []
    for number in sorted(numbers):
        if found and found[-1][1] == number:
            found[-1][1] = number + 1
        else:
            found.append([number, number + 1])
    return [tuple(one) for one in found]


@given(PIECES)
def test_it_holds_what_a_dictionary_of_octets_holds(pieces):
    assembler, model = Assembler(), set()
    for start, length in pieces:
        span = range(start, start + length)
        duplicate = assembler.insert(start, TEXT[start : start + length])
        held = [one for one in ranges(model) if one[0] < span.stop and one[1] > span.start]
        if held:
            assert duplicate == (max(start, held[0][0]), min(span.stop, held[0][1]))
        else:
            assert duplicate is None
        model.update(span)
        assert assembler.held == len(model)
        assert assembler.highest() == max(model) + 1
        first = assembler.blocks(1)[0]
        assert first[0] <= start
        assert first[1] >= start + length
        assert set(assembler.blocks(99)) == set(ranges(model))


@given(PIECES, some.integers(0, 150))
def test_what_follows_without_a_gap_comes_out_once_and_in_order(pieces, rcv_nxt):
    assembler, model = Assembler(), set()
    for start, length in pieces:
        assembler.insert(start, TEXT[start : start + length])
        model.update(range(start, start + length))
    out = b"".join(assembler.pop_ready(rcv_nxt))
    end = rcv_nxt
    while end in model:
        end += 1
    assert out == TEXT[rcv_nxt:end]
    left = {number for number in model if number > end}
    assert set(assembler.blocks(99)) == set(ranges(left))
    assert assembler.held == len(left)


def test_the_most_recent_ranges_come_first():
    assembler = Assembler()
    for start in (10, 30, 50, 70, 90):
        assembler.insert(start, b"xx")
    assembler.insert(32, b"yy")
    assert assembler.blocks() == [(30, 34), (90, 92), (70, 72), (50, 52)]


def test_single_octets_without_end_are_not_all_kept():
    assembler = Assembler()
    for number in range(2 * MAX_CHUNKS):
        assembler.insert(2 * number + 1, b"x")
    assert assembler.held == MAX_CHUNKS
