"""The search for the path MTU, against paths that talk and paths that keep silent."""

import pytest

from pytools.probe.mtu_search import (
    FAILED,
    FOUND,
    PASSED,
    SILENT,
    TOO_BIG,
    UNREACHED,
    MtuSearch,
    MtuSearchConfig,
    MtuTried,
)
from pytools.units import MS, SECOND, Ns
from pytools.wire.addr import parse_ip
from tests.probe.ping_bench import IDENT, Answers, Bench, Echo, a_stack

PEER, PEER6, ROUTER = "10.0.0.2", "fd00::2", parse_ip("10.0.0.1")


def searching(peer: str, answers: Answers, **settings: object) -> Bench:
    config = MtuSearchConfig(ident=IDENT, **settings)
    return Bench(MtuSearch(a_stack(), parse_ip(peer), config)).answers(answers).run()


def path_of(mtu: int, *, talks: bool = True) -> Answers:
    """A path whose narrowest link takes `mtu` octets."""

    def answers(echo: Echo) -> list[tuple[Ns, bytes]]:
        if len(echo.packet) <= mtu:
            return [(5 * MS, echo.reply())]
        if not talks:
            return []
        return [(MS, echo.error(3, 4, mtu) if echo.family == 4 else echo.error(2, 0, mtu))]

    return answers


def sizes(bench: Bench) -> list[tuple[int, str]]:
    return [(tried.size, tried.outcome) for tried in bench.of(MtuTried)]


def test_a_wide_path_needs_one_packet() -> None:
    bench = searching(PEER, path_of(1500))
    assert sizes(bench) == [(1500, PASSED)]
    assert (bench.engine.mtu, bench.engine.reason) == (1500, FOUND)
    assert bench.echoes[0].dont_fragment


@pytest.mark.parametrize("peer", [PEER, PEER6])
def test_a_router_that_names_its_mtu_is_believed_and_checked(peer: str) -> None:
    bench = searching(peer, path_of(1400))
    assert sizes(bench) == [(1500, TOO_BIG), (1400, PASSED), (1401, TOO_BIG)]
    assert bench.engine.mtu == 1400
    assert bench.engine.limited_by == (ROUTER if peer == PEER else parse_ip("fd00::1"))


@pytest.mark.parametrize("mtu", [68, 69, 576, 1005, 1280, 1492, 1499])
def test_a_silent_path_is_searched_by_halves(mtu: int) -> None:
    bench = searching(PEER, path_of(mtu, talks=False), timeout_ns=100 * MS, tries=2)
    assert (bench.engine.mtu, bench.engine.reason) == (mtu, FOUND)
    assert len(bench.echoes) < 40
    assert {outcome for _size, outcome in sizes(bench)} <= {PASSED, SILENT}


def test_several_narrow_links_are_found_one_after_the_other() -> None:
    def answers(echo: Echo) -> list[tuple[Ns, bytes]]:
        for mtu in (1450, 1400, 1300):
            if len(echo.packet) > mtu:
                return [(MS, echo.error(3, 4, mtu))]
        return [(MS, echo.reply())]

    bench = searching(PEER, answers)
    assert sizes(bench) == [(1500, TOO_BIG), (1450, TOO_BIG), (1400, TOO_BIG), (1300, PASSED), (1301, TOO_BIG)]
    assert bench.engine.mtu == 1300


def test_an_old_router_that_names_no_mtu_leaves_it_to_the_halves() -> None:
    def answers(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(MS, echo.error(3, 4, 0))] if len(echo.packet) > 1006 else [(MS, echo.reply())]

    assert searching(PEER, answers).engine.mtu == 1006


def test_a_mtu_that_is_a_lie_is_not_the_result() -> None:
    def answers(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(MS, echo.error(3, 4, 1490))] if len(echo.packet) > 1400 else [(MS, echo.reply())]

    assert searching(PEER, answers).engine.mtu == 1400


def test_a_lost_packet_is_no_narrow_link() -> None:
    lost = []

    def answers(echo: Echo) -> list[tuple[Ns, bytes]]:
        if not lost:
            lost.append(echo)
            return []
        return [(MS, echo.reply())]

    bench = searching(PEER, answers, timeout_ns=SECOND)
    assert (bench.engine.mtu, len(bench.echoes)) == (1500, 2)


def test_a_host_that_never_answers_has_no_mtu() -> None:
    bench = searching(PEER, lambda echo: [], timeout_ns=100 * MS)
    assert (bench.engine.mtu, bench.engine.reason) == (0, UNREACHED)
    assert sizes(bench) == [(1500, SILENT), (68, SILENT)]


def test_another_error_ends_the_search() -> None:
    bench = searching(PEER, lambda echo: [(MS, echo.error(3, 1))])
    assert sizes(bench) == [(1500, FAILED)]
    assert bench.engine.reason == UNREACHED


def test_a_reply_to_another_size_says_nothing() -> None:
    def answers(echo: Echo) -> list[tuple[Ns, bytes]]:
        return [(MS, echo.reply(echo.payload[:100])), (2 * MS, echo.reply())]

    assert sizes(searching(PEER, answers)) == [(1500, PASSED)]
