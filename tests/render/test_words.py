import pytest

from pytools.render.words import DETAIL, WORDS, format_address, format_duration, icmp_words, right_half, words
from pytools.trace.events import NeighborChanged, ProbeSent, TimerSet, TraceEvent
from tests.render import samples


def test_every_class_of_event_has_words_and_a_sample() -> None:
    assert set(WORDS) == samples.event_classes()
    assert {type(event) for event, _ in samples.WORDS} == samples.event_classes()
    assert set(WORDS) >= DETAIL


def test_every_class_of_event_has_a_name_of_its_own() -> None:
    names = [kind.name for kind in samples.event_classes()]
    assert all(names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("event", "said"), samples.WORDS, ids=lambda value: getattr(value, "name", None))
def test_words_say_what_happened(event: TraceEvent, said: str) -> None:
    assert words(event) == said


def test_icmp_words_know_both_families() -> None:
    assert icmp_words(4, 3, 1) == "UNREACH host"
    assert icmp_words(6, 1, 3) == "UNREACH address"
    assert icmp_words(4, 8, 0) == "ECHO"
    assert icmp_words(4, 8, 9) == "ECHO code 9"
    assert icmp_words(6, 200, 1) == "type 200 code 1"


def test_details_wait_for_the_second_v() -> None:
    events = [
        ProbeSent(0, "10.0.0.2", 1),
        NeighborChanged(0, 0, samples.IP, b"", "", "INCOMPLETE", ""),
        TimerSet(0, "arp", "10.0.0.2", 10**9),
    ]
    assert right_half(events, 1) == "ARP 10.0.0.2 INCOMPLETE"
    assert right_half(events, 2) == "probe 10.0.0.2 seq 1, ARP 10.0.0.2 INCOMPLETE, timer arp 10.0.0.2 in 1000 ms"


def test_addresses_of_any_kind_become_text() -> None:
    assert format_address(samples.MAC) == "02:00:00:00:00:02"
    assert format_address(samples.IP6) == "fe80::2"
    assert format_address("example.org") == "example.org"
    assert format_address(b"") == "?"


def test_durations_have_no_digits_that_say_nothing() -> None:
    assert [format_duration(ns) for ns in (0, 200_000_000, 1_500_000, 2_000_000_000_000)] == [
        "0 ms",
        "200 ms",
        "1.5 ms",
        "2000 s",
    ]
