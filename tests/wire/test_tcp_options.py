from hypothesis import given
from hypothesis import strategies as st

from pytools.wire import tcp_options as options
from pytools.wire.tcp_options import TcpOptions, parse, walk


def said(found: TcpOptions) -> dict[str, object]:
    """What differs from no options at all."""
    nothing = TcpOptions()
    return {name: value for name in TcpOptions.__slots__ if (value := getattr(found, name)) != getattr(nothing, name)}


def test_the_options_of_a_linux_syn_are_read() -> None:
    octets = bytes.fromhex("020405b4 0402 080a 00000064 00000000 01 030307")
    assert said(parse(octets)) == {"mss": 1460, "sack_permitted": True, "ts_val": 100, "ts_ecr": 0, "window_scale": 7}


def test_what_is_built_reads_back() -> None:
    octets = (
        options.mss(1460)
        + options.window_scale(14)
        + options.sack_permitted()
        + options.timestamps(0xFFFFFFFF, 1)
        + options.fast_open(b"cookie")
        + options.user_timeout(30)
    )
    assert said(parse(octets)) == {
        "mss": 1460,
        "window_scale": 14,
        "sack_permitted": True,
        "ts_val": 0xFFFFFFFF,
        "ts_ecr": 1,
        "fast_open": b"cookie",
        "user_timeout_s": 30,
    }


def test_aligned_timestamps_are_twelve_octets() -> None:
    octets = options.timestamps(5, 6)
    assert octets == bytes.fromhex("0101080a 00000005 00000006")
    assert said(parse(octets)) == {"ts_val": 5, "ts_ecr": 6}
    assert said(parse(b"\x08\x0a" + octets[4:] + b"\1\1")) == {"ts_val": 5, "ts_ecr": 6}


def test_sack_blocks_come_in_order() -> None:
    edges = ((1, 1001), (2001, 3001), (0xFFFFFF00, 5))
    assert said(parse(b"\1\1" + options.sack(edges))) == {"sack": edges}


def test_a_request_for_a_cookie_is_not_the_absence_of_the_option() -> None:
    assert parse(options.fast_open()).fast_open == b""
    assert parse(b"\1").fast_open is None


def test_a_user_timeout_counts_seconds_or_minutes() -> None:
    assert options.user_timeout(32767) == b"\x1c\4\x7f\xff"
    assert options.user_timeout(36000) == b"\x1c\4\x82\x58"
    assert parse(options.user_timeout(36000)).user_timeout_s == 36000
    assert parse(options.user_timeout(10**9)).user_timeout_s == 0x7FFF * 60


def test_a_digest_is_kept() -> None:
    assert said(parse(options.option(options.MD5, bytes(range(16))))) == {"md5": bytes(range(16))}


def test_unknown_options_and_wrong_lengths_of_known_ones_are_kept_apart() -> None:
    octets = b"\xfd\4ab" + b"\2\3\5" + b"\3\4\1\2" + b"\4\3\0" + b"\5\6" + bytes(4) + b"\5\2" + b"\x22\3x" + b"\x1c\3\0"
    found = said(parse(octets))
    assert found == {
        "unknown": (
            (0xFD, b"ab"),
            (2, b"\5"),
            (3, b"\1\2"),
            (4, b"\0"),
            (5, bytes(4)),
            (5, b""),
            (34, b"x"),
            (28, b"\0"),
        )
    }


def test_what_follows_the_end_of_the_list_is_not_read() -> None:
    assert said(parse(b"\1\0\2\4\5\xb4")) == {}
    assert list(walk(b"\1\0\2\4\5\xb4")) == [(1, b""), (0, b"")]


def test_an_illegal_length_ends_the_reading_and_keeps_what_came_before() -> None:
    for bad in (b"\x08", b"\x08\0\1\1", b"\x08\1\1\1", b"\x08\x0a\0\0"):
        assert said(parse(options.mss(536) + bad)) == {"mss": 536, "malformed": True}
        assert list(walk(b"\1" + bad)) == [(1, b""), (-1, bad)]


@given(st.binary(max_size=40))
def test_any_octets_are_read_without_an_error(octets: bytes) -> None:
    parse(octets)
