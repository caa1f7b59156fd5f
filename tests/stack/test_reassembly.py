"""RFC 791, 815, 1122 3.3.2, 1858, 3168 5.3, 5722, 6946, 7112, 8200 4.5: IP4-14 to IP4-23 and ECN-09."""

import itertools
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scapy.layers.inet import ICMP, IP, UDP, fragment
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment, fragment6
from scapy.packet import Raw

from pytools.trace.events import Dropped, FragmentQueued, Reassembled, ReassemblyTimedOut
from pytools.wire.addr import parse_ip
from tests.stack.story import Story

PATTERN = bytes(n * 31 & 0xFF for n in range(65535))


def known(host=Story, **settings):
    t = host("10.0.0.10/24", "fd00::10/64", **settings)
    t.knows("10.0.0.2", "fd00::2")
    t.udp = t.stack.open_udp(9)
    return t


def datagram(length=2000, ident=1, **ip):
    return IP(src="10.0.0.2", dst="10.0.0.10", id=ident, **ip) / UDP(sport=4, dport=9) / PATTERN[:length]


def pieces4(length=2000, size=600, ident=1, **ip):
    """scapy's fragments of a UDP datagram of `length` octets."""
    return fragment(IP(bytes(datagram(length, ident, **ip))), fragsize=size)


def pieces6(length=2000, size=640, ident=1, **ip):
    header = IPv6(src="fd00::2", dst="fd00::10", **ip) / IPv6ExtHdrFragment(id=ident)
    return fragment6(header / UDP(sport=4, dport=9) / PATTERN[:length], size)


def piece(first, octets, more=True, ident=1, proto=17, **ip):
    """One IPv4 fragment by hand; `first` in octets."""
    flags = "MF" if more else ""
    return IP(src="10.0.0.2", dst="10.0.0.10", id=ident, flags=flags, frag=first // 8, proto=proto, **ip) / Raw(octets)


def piece6(first, octets, more=True, ident=1, nh=17):
    header = IPv6ExtHdrFragment(offset=first // 8, m=int(more), id=ident, nh=nh)
    return IPv6(src="fd00::2", dst="fd00::10") / header / Raw(octets)


def received(t):
    """The payloads of the datagrams that came through."""
    return [event.payload for event in t.events()]


FAMILIES = pytest.mark.parametrize("pieces", [pieces4, pieces6], ids=["v4", "v6"])


@FAMILIES
@pytest.mark.parametrize("length", [700, 2000, 8000, 65000])
def test_fragments_in_order_make_the_datagram(host, pieces, length):
    t = known()
    for part in pieces(length):
        t.receives(part)
    assert received(t) == [PATTERN[:length]]
    assert not t.drops


@FAMILIES
@pytest.mark.parametrize("seed", range(10))
def test_any_order_and_duplicates_make_the_same_datagram(host, pieces, seed):
    t = known()
    rng = Random(seed)
    parts = pieces(4000)
    shuffled = parts + rng.sample(parts, len(parts) // 2)
    rng.shuffle(shuffled)
    for part in shuffled:
        t.receives(part)
    assert received(t)[0] == PATTERN[:4000]
    assert set(t.drops) <= {"DUP_FRAG"}


@FAMILIES
def test_datagrams_that_differ_in_the_identification_stay_apart(host, pieces):
    t = known()
    first, second = pieces(1000, ident=1), pieces(1100, ident=2)
    for a, b in zip(first, second, strict=True):
        t.receives(a)
        t.receives(b)
    assert received(t) == [PATTERN[:1000], PATTERN[:1100]]


def test_datagrams_that_differ_in_the_protocol_stay_apart(host):
    t = known()
    parts = pieces4(1000)
    t.receives(parts[0])
    t.receives(piece(600, PATTERN[:392], more=False, proto=200))
    t.receives(parts[1])
    assert received(t) == [PATTERN[:1000]]


def test_an_echo_comes_whole_and_goes_whole(host):
    t = known()
    for part in fragment(IP(bytes(IP(src="10.0.0.2", dst="10.0.0.10") / ICMP(id=1, seq=1) / PATTERN[:3000])), 800):
        t.receives(part)
    t.expects("REPLY id 1 seq 1 * frag *", "ICMP frag *", "ICMP frag *")


def test_a_datagram_of_576_octets_is_taken_in_pieces(host):
    t = known()
    for part in pieces4(576 - 28, size=64):
        t.receives(part)
    assert received(t) == [PATTERN[: 576 - 28]]


def test_a_datagram_is_done_only_with_its_last_fragment(host):
    t = known()
    for part in pieces4(2000)[:-1]:
        t.receives(part)
    assert received(t) == []


@FAMILIES
def test_the_timeout_is_sixty_seconds_and_not_restarted(host, pieces):
    t = known()
    parts = pieces(2000)
    t.receives(parts[0])
    t.advance(50)
    t.receives(parts[1])
    t.advance(9.9)
    t.expects_nothing()
    t.advance(0.1)
    t.expects("TIME-EXCEEDED reassembly (*")
    assert t.stack.discards == {"FRAG_REASM_TIMEOUT": 1}
    t.receives(parts[2])
    t.receives(parts[3])
    assert received(t) == []


@FAMILIES
def test_without_fragment_zero_the_timeout_is_silent(host, pieces):
    t = known()
    for part in pieces(2000)[1:]:
        t.receives(part)
    t.advance(60)
    t.expects_nothing()
    assert t.stack.discards == {"FRAG_REASM_TIMEOUT": 1}


def test_each_datagram_has_its_own_timeout(host):
    t = known()
    t.receives(pieces4(ident=1)[0])
    t.advance(10)
    t.receives(pieces4(ident=2)[0])
    t.advance(50)
    t.expects("TIME-EXCEEDED *")
    t.advance(9.9)
    t.expects_nothing()
    t.advance(0.1)
    t.expects("TIME-EXCEEDED *")


def test_on_a_shared_address_the_timeout_is_silent(host):
    t = known(shared=True)
    t.receives(pieces4()[0])
    t.advance(60)
    t.expects_nothing()


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (piece(0, bytes(601)), "FRAG_LENGTH"),
        (piece(0, b""), "FRAG_LENGTH"),
        (piece(65528, bytes(16), more=False), "FRAG_LENGTH"),
        (piece(65512, bytes(8), more=False), "FRAG_LENGTH"),
        (piece(0, bytes(16), proto=6), "FRAG_LENGTH"),
        (piece(8, bytes(400), proto=6), "FRAG_LENGTH"),
        (piece6(8, b"", more=False), "FRAG_LENGTH"),
    ],
    ids=["not 8 | length", "empty", "beyond 65535", "beyond 65535 with its header", "tiny TCP", "TCP at 8", "empty v6"],
)
def test_fragments_that_no_honest_host_sends(host, part, reason):
    t = known()
    t.receives(part)
    t.dropped(reason)
    assert len(t.stack._reassembly) == 0


def test_the_largest_datagram_is_taken(host):
    t = known()
    for part in pieces4(65507, size=8000):
        t.receives(part)
    assert received(t) == [PATTERN[:65507]]


@pytest.mark.parametrize("pointer", [4, 42])
def test_ipv6_fragments_of_a_wrong_length_earn_a_parameter_problem(host, pointer):
    t = known()
    t.receives(piece6(0, bytes(601)) if pointer == 4 else piece6(65528, bytes(16)))
    t.dropped("FRAG_LENGTH")
    t.expects(f"PARAM-PROBLEM field {pointer} (*")


# --- overlaps ------------------------------------------------------------------------------------------------------


def overlapping(maker):
    """Pieces of which one overlaps others, in several ways."""
    a, b, c = maker(0, PATTERN[:800]), maker(800, PATTERN[:800]), maker(1600, PATTERN[:100], more=False)
    return {
        "begins in another": [a, maker(792, PATTERN[:16]), b, c],
        "ends in another": [b, maker(400, PATTERN[:408]), a, c],
        "covers another": [maker(80, PATTERN[:80]), a, b, c],
        "lies within another": [a, maker(80, PATTERN[:80]), b, c],
        "same start, other length": [a, maker(0, PATTERN[:80]), b, c],
        "beyond the end": [c, maker(1600 + 104, PATTERN[:8]), a, b],
        "two ends": [c, maker(1704, PATTERN[:8], more=False), a, b],
        "an end before what is held": [maker(2400, PATTERN[:8]), c, a, b],
    }


@pytest.mark.parametrize("case", overlapping(piece))
@pytest.mark.parametrize("maker", [piece, piece6], ids=["v4", "v6"])
def test_an_overlap_condemns_the_whole_datagram(host, maker, case):
    t = known()
    for part in overlapping(maker)[case]:
        t.receives(part)
    assert set(t.drops) == {"FRAG_OVERLAP"}
    assert t.drops["FRAG_OVERLAP"] == 3
    assert received(t) == []
    t.advance(60)
    t.expects_nothing()
    assert len(t.stack._reassembly) == 0
    assert t.stack._reassembly.octets == 0


@pytest.mark.parametrize("maker", [piece, piece6], ids=["v4", "v6"])
def test_an_exact_duplicate_is_harmless(host, maker):
    t = known()
    t.receives(maker(0, PATTERN[:800]))
    t.receives(maker(0, PATTERN[:800]))
    t.dropped("DUP_FRAG")


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_what_comes_out_went_in(data):
    """Random cuts in random order: the datagram comes out whole exactly when every octet came once and none twice."""
    t = known()
    length = data.draw(st.integers(2, 40)) * 8
    cuts = sorted(data.draw(st.sets(st.integers(1, length // 8 - 1))))
    edges = [0, *(8 * cut for cut in cuts), length]
    payload = bytes(UDP(sport=4, dport=9, len=length, chksum=0) / PATTERN[: length - 8])
    spans = list(itertools.pairwise(edges))
    extra = data.draw(st.lists(st.tuples(st.integers(0, length // 8 - 1), st.integers(1, 5)), max_size=2))
    extra = [(8 * first, min(8 * (first + size), length)) for first, size in extra]
    order = data.draw(st.permutations(spans + extra))
    if len(spans) == 1:
        return
    for first, end in order:
        t.receives(piece(first, payload[first:end], more=end < length))
    honest = all(span in spans for span in extra)
    if honest:
        assert received(t)[:1] == [PATTERN[: length - 8]]
    else:
        assert all(got == PATTERN[: length - 8] for got in received(t))


# --- memory --------------------------------------------------------------------------------------------------------


def test_the_oldest_datagram_makes_room(host):
    t = known(reassembly_datagrams=2)
    for ident in (1, 2, 3):
        t.receives(pieces4(ident=ident)[0])
    assert t.stack.discards == {"FRAG_MEMORY": 1}
    for part in pieces4(ident=3)[1:]:
        t.receives(part)
    assert len(received(t)) == 1


def test_the_octets_held_are_bounded(host):
    t = known(reassembly_octets=100_000)
    for ident in range(200):
        for part in pieces4(6000, 1480, ident=ident)[:-1]:
            t.receives(part)
            assert t.stack._reassembly.octets <= 100_000
    assert t.stack.discards["FRAG_MEMORY"] > 150
    t.advance(60)
    assert t.stack._reassembly.octets == 0


def test_the_pieces_of_one_datagram_are_bounded(host):
    t = known(reassembly_fragments=10)
    for n in range(11):
        t.receives(piece(16 * n, bytes(8)))
    t.dropped("FRAG_MEMORY")
    t.receives(piece(160, bytes(8)))
    t.dropped("FRAG_OVERLAP")


def test_nothing_is_held_after_success(host):
    t = known()
    for part in pieces4():
        t.receives(part)
    assert len(t.stack._reassembly) == 0
    assert t.stack._reassembly.octets == 0
    assert t.stack.next_deadline() > 10**18


# --- ECN (RFC 3168 5.3) --------------------------------------------------------------------------------------------

NOT_ECT, ECT1, ECT0, CE = 0, 1, 2, 3


@pytest.mark.parametrize(
    ("marks", "tos"),
    [
        ((NOT_ECT, NOT_ECT), 0x10),
        ((ECT0, ECT0), 0x12),
        ((ECT1, ECT1), 0x11),
        ((ECT0, CE), 0x13),
        ((CE, ECT1), 0x13),
        ((CE, CE), 0x13),
        ((NOT_ECT, ECT0), None),
        ((CE, NOT_ECT), None),
    ],
)
def test_the_marks_of_the_fragments_make_that_of_the_datagram(host, marks, tos):
    t = known()
    for part, mark in zip(pieces4(1000, 800, tos=0x10), marks, strict=True):
        t.receives(IP(bytes(part))[IP].__class__(bytes(_remarked(part, 0x10 | mark))))
    if tos is None:
        assert received(t) == []
        assert t.drops == {"FRAG_OVERLAP": 1}
    else:
        assert [event.tos for event in t.events()] == [tos]


def _remarked(packet, tos):
    copy = packet.copy()
    copy.tos = tos
    del copy.chksum
    return copy


@pytest.mark.parametrize(("marks", "tos"), [((ECT0, CE), 0x13), ((ECT0, ECT0), 0x12)])
def test_ipv6_marks(host, marks, tos):
    t = known()
    for part, mark in zip(pieces6(1000, 800), marks, strict=True):
        part.tc = 0x10 | mark
        t.receives(part)
    assert [event.tos for event in t.events()] == [tos]


# --- IPv6 only -----------------------------------------------------------------------------------------------------


def test_an_atomic_fragment_is_taken_as_it_is(host):
    t = known()
    t.receives(piece6(0, PATTERN[:8], ident=1))
    whole = IPv6(src="fd00::2", dst="fd00::10") / IPv6ExtHdrFragment(id=1) / UDP(sport=4, dport=9) / b"atom"
    t.receives(whole)
    assert received(t) == [b"atom"]


def test_headers_before_the_fragment_header_stay(host):
    t = known()
    header = IPv6(src="fd00::2", dst="fd00::10") / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(id=1)
    for part in fragment6(header / UDP(sport=4, dport=9) / PATTERN[:2000], 700):
        t.receives(part)
    assert received(t) == [PATTERN[:2000]]


def test_a_first_fragment_without_the_whole_chain_earns_a_parameter_problem(host):
    t = known()
    t.receives(piece6(0, bytes(IPv6ExtHdrDestOpt(nh=6)), nh=60))
    t.dropped("IPV6_BAD_EXTHDR")
    t.expects("PARAM-PROBLEM incomplete-chain 0 (*")


def test_a_fragment_within_a_fragment_is_refused(host):
    t = known()
    inner = bytes(IPv6ExtHdrFragment(nh=17, id=7)) + bytes(UDP(sport=4, dport=9)) + PATTERN[:1000]
    t.receives(piece6(0, inner[:800], nh=44))
    t.receives(piece6(800, inner[800:], more=False, nh=44))
    assert t.drops == {"IPV6_BAD_EXTHDR": 1}
    assert received(t) == []


def test_an_ipv6_echo_comes_whole_and_goes_whole(host):
    t = known()
    echo = ICMPv6EchoRequest(id=1, seq=1, data=PATTERN[:3000])
    for part in fragment6(IPv6(src="fd00::2", dst="fd00::10") / IPv6ExtHdrFragment(id=5) / echo, 1280):
        t.receives(part)
    t.expects("REPLY id 1 seq 1 * frag *", "ICMPv6 frag *", "ICMPv6 frag *")


def test_a_datagram_too_long_with_its_headers_is_refused(host):
    t = known()
    header = IPv6(src="fd00::2", dst="fd00::10") / IPv6ExtHdrDestOpt()
    for first in range(0, 65528, 8000):
        size = min(8000, 65528 - first)
        more = first + size < 65528
        t.receives(header / IPv6ExtHdrFragment(offset=first // 8, m=int(more), id=1, nh=17) / Raw(bytes(size)))
    assert t.drops == {"FRAG_LENGTH": 1}


# --- trace ---------------------------------------------------------------------------------------------------------


def test_the_trace_tells_of_each_fragment_and_of_the_whole(host):
    t = known()
    t.listens("ip", "drop")
    src, dst = parse_ip("10.0.0.2"), parse_ip("10.0.0.10")
    for part in pieces4(1000, 800, ident=42):
        t.receives(part)
    assert t.heard(FragmentQueued) == [(src, dst, 42, 0, 800, True), (src, dst, 42, 800, 1008, False)]
    assert t.heard(Reassembled) == [(src, dst, 42, 1008, 2)]
    t.receives(pieces4(1000, 800, ident=43)[0])
    t.advance(60)
    assert t.heard(ReassemblyTimedOut) == [(src, dst, 43, 800)]
    assert [fields[1] for fields in t.heard(Dropped)] == ["FRAG_REASM_TIMEOUT"]
