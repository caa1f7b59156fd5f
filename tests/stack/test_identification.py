from random import Random

from pytools.stack.identification import Identifications
from pytools.wire.addr import parse_ip

US, THEM = parse_ip("10.0.0.10"), parse_ip("10.0.0.2")


def test_no_number_twice_within_65536_of_a_flow():
    idents = Identifications(Random(1))
    numbers = [idents.next(US, THEM, 1) & 0xFFFF for _ in range(65536)]
    assert len(set(numbers)) == 65536


def test_the_same_seed_gives_the_same_numbers_and_another_others():
    first, same, other = (Identifications(Random(seed)).next(US, THEM, 17) for seed in (1, 1, 2))
    assert first == same != other


def test_flows_spread_over_the_counters():
    idents = Identifications(Random(1))
    before = list(idents._counters)
    for n in range(4096):
        idents.next(US, n.to_bytes(4, "big"), 1)
    touched = sum(a != b for a, b in zip(before, idents._counters, strict=True))
    assert touched > 900
