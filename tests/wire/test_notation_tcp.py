import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytools.wire import tcp, tcp_options
from pytools.wire.notation_tcp import format_flags, format_options, format_segment, parse_options, parse_segment

SCRIPTS = Path(__file__).parents[2] / "../shared/drill"


def segment(
    flags: int, seq: int = 1, ack: int = 1, window: int = 502, options: bytes = b"", urgent: int = 0
) -> tcp.TcpHeader:
    return tcp.decode(tcp.encode(1, 2, seq, ack, flags, window, options, urgent_pointer=urgent))


def test_a_data_segment_is_written_as_packetdrill_does() -> None:
    header = segment(tcp.PSH | tcp.ACK, options=tcp_options.timestamps(1, 0))
    assert format_segment(header, 1448) == "P. 1:1449(1448) ack 1 win 502 <nop,nop,TS val 1 ecr 0>"


def test_a_syn_has_no_ack_and_its_number_counts_no_octet() -> None:
    header = segment(tcp.SYN, 0, 0, 64240, parse_options("mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7"))
    assert format_segment(header, 0) == "S 0:0(0) win 64240 <mss 1460,sackOK,TS val 1 ecr 0,nop,wscale 7>"


def test_numbers_count_from_the_bases_across_the_wrap() -> None:
    header = segment(tcp.ACK, 5, 100, options=tcp_options.sack([(200, 300)]))
    text = format_segment(header, 10, bases=(0xFFFFFFFB, 50))
    assert text == ". 10:20(10) ack 50 win 502 <sack 150:250,eol>"


def test_the_urgent_pointer_is_shown_with_its_flag_only() -> None:
    assert format_segment(segment(tcp.ACK | tcp.URG, urgent=7), 0) == ".U 1:1(0) ack 1 win 502 urg 7"
    assert format_segment(segment(tcp.ACK, urgent=7), 0) == ". 1:1(0) ack 1 win 502"


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (0, "-"),
        (tcp.SYN | tcp.ACK, "S."),
        (tcp.SYN | tcp.ECE | tcp.CWR, "SEW"),
        (tcp.ACK | tcp.ECE, ".E"),
        (tcp.PSH | tcp.ACK | tcp.CWR, "P.W"),
        (tcp.FIN | tcp.PSH | tcp.ACK, "FP."),
        (tcp.RST, "R"),
        (0x1FF, "FSRP.UEWA"),
    ],
)
def test_flags_are_letters_in_a_fixed_order(flags: int, text: str) -> None:
    assert format_flags(flags) == text


@pytest.mark.parametrize(
    "text",
    [
        "mss 1460,sackOK,TS val 100 ecr 4294967295,nop,wscale 7",
        "nop,nop,sack 1:1001 2001:3001 4001:5001,eol",
        "uto 30s,uto 5min",
        "nop,nop,FO",
        "nop,nop,FO 0123456789abcdef",
        "nop,nop,md5 000102030405060708090a0b0c0d0e0f",
        "opt-253 0102,nop,nop,opt-77",
        "mss 536,bad 080affff",
        "",
    ],
)
def test_options_read_back_to_the_octets_they_were_written_from(text: str) -> None:
    octets = parse_options(text)
    assert len(octets) % 4 == 0
    assert format_options(octets) == text
    assert tcp_options.parse(octets).malformed == ("bad" in text)


def test_known_options_of_a_wrong_length_are_written_by_number() -> None:
    assert format_options(b"\2\3\5\1") == "opt-2 05,nop"
    assert format_options(b"\x08\2\5\2\3\2\4\3\1") == "opt-8,opt-5,opt-3,opt-4 01"
    assert format_options(b"\x1c\3\1") == "opt-28 01"


def test_options_are_padded_to_whole_words() -> None:
    assert parse_options("wscale 7") == b"\3\3\7\0"
    assert parse_options("mss 9,eol") == b"\2\4\0\x09\0\0\0\0"


@given(
    st.integers(0, 0x1FF),
    *[st.integers(0, 2**32 - 1)] * 2,
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.binary(max_size=40),
    st.integers(0, 65535),
    st.tuples(*[st.integers(0, 2**32 - 1)] * 2),
)
def test_a_segment_reads_back_from_its_line(
    flags: int, seq: int, ack: int, window: int, length: int, options: bytes, urgent: int, bases: tuple[int, int]
) -> None:
    header = segment(flags, seq, ack, window, options, urgent)
    line = format_segment(header, length, bases)
    said = parse_segment(line, bases)
    assert (said.flags, said.seq, said.length, said.window) == (flags, seq, length, window)
    assert said.ack == (ack if flags & tcp.ACK else None)
    assert said.urgent_pointer == (urgent if flags & tcp.URG else None)
    again = b"" if said.options is None else said.options
    assert format_options(again) == format_options(header.options)


def test_what_a_line_leaves_out_is_not_made_up() -> None:
    said = parse_segment("  F. 5:5(0) ack 9 ")
    assert (said.ack, said.window, said.urgent_pointer, said.options) == (9, None, None, None)
    assert parse_segment("S 0:0(0) <>").options == b""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P.",
        "X 1:1(0)",
        "P. 1:2(3) ack 1",
        "P. 1:1449(1448) ack",
        "P. 1:1449(1448) win 5 ack 1",
        "P. 1:1449(1448) ack 1 win 502 <mss>",
        "P. 1:1449(1448) ack 1 win 502 <mss 1460",
        "P. 1:1449(1448) ack 1 win 502 > x",
    ],
)
def test_a_line_outside_of_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"notation|is not 3 octets"):
        parse_segment(text)


@pytest.mark.parametrize(
    "text",
    [
        *("zz", "mss", "mss x", "mss 1 2", "mss 65536", "wscale 256", "sack 1", "sack 1:2:3", "nop 1", "sackOK 1", ","),
        *("TS val 1", "TS val 1 ecr", "TS 1 2", "opt-256", "opt-x", "opt-5 zz", "FO 1", "md5 zz", "uto", "uto 99999s"),
    ],
)
def test_an_option_outside_of_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no TCP option in packetdrill's notation"):
        parse_options(text)


def test_three_points_stand_for_any_options() -> None:
    said = parse_segment("S. 0:0(0) ack 1 <...>")
    assert said.any_options
    assert said.options is None
    assert not parse_segment("S. 0:0(0) ack 1").any_options


@pytest.mark.skipif(not SCRIPTS.is_dir(), reason="the shared packetdrill scripts are not here")
def test_the_segments_of_packetdrill_scripts_are_read_and_written_alike() -> None:
    lines = [line.strip() for script in SCRIPTS.glob("*.pkt") for line in script.read_text().splitlines()]
    texts = [match[1] for line in lines if (match := re.fullmatch(r"\S+ +[<>] ([-FSRP.UEWA]+ \d+:.*)", line))]
    assert len(texts) > 50
    for text in texts:
        said = parse_segment(text)
        header = segment(said.flags, said.seq, said.ack or 0, said.window or 0, said.options or b"")
        written = format_segment(header, said.length)
        if said.window is None:
            written = written.replace(" win 0", "")
        assert written + (" <...>" if said.any_options else "") == text
