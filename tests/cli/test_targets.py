"""What people may type as a target. Only the files of the system's resolver are asked (localhost)."""

import io
import sys
from pathlib import Path

import pytest

from pytools.cli.targets import LIMIT, Host, expand, literal, read_words, resolve
from pytools.errors import UsageError
from pytools.wire.addr import format_ip, parse_ip


def texts(*words: str, **settings: object) -> list[str]:
    return [format_ip(address) for address in expand(words, **settings).addresses]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.2", "10.0.0.2"),
        ("fd00::2", "fd00::2"),
        ("127.1", "127.0.0.1"),
        ("0x7f000001", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0177.0.0.1", "127.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_addresses_in_all_their_forms(text: str, address: str) -> None:
    host = literal(text)
    assert host is not None
    assert (host.name, host.address) == (text, parse_ip(address))


@pytest.mark.parametrize("text", ["host.example", "10.0.0.2.example", "1-2", "10.0.0.256x", "", "3com.example"])
def test_names_are_no_addresses(text: str) -> None:
    assert literal(text) is None


def test_a_zone_is_kept_apart() -> None:
    assert resolve("fe80::1%eth0").zone == "eth0"


def test_a_name_is_resolved_by_the_system() -> None:
    host = resolve("localhost", 4)
    assert (host.name, host.address, host.is_literal) == ("localhost", parse_ip("127.0.0.1"), False)


def test_an_address_of_the_wrong_family_is_refused_in_pings_words() -> None:
    for text, family in (("::1", 4), ("127.0.0.1", 6)):
        with pytest.raises(UsageError, match=f"^{text}: Address family for hostname not supported$"):
            resolve(text, family)


def test_an_unknown_name_is_named() -> None:
    with pytest.raises(UsageError, match=r"^name\.invalid: \S"):
        resolve("name.invalid")


def test_a_url_gets_a_hint() -> None:
    with pytest.raises(UsageError, match="not a URL"):
        resolve("http://name.invalid/")


def test_a_label_that_no_name_can_have_is_refused() -> None:
    with pytest.raises(UsageError):
        resolve("é" * 80 + ".example")


def test_blocks_have_their_hosts() -> None:
    assert texts("10.0.0.0/30") == ["10.0.0.1", "10.0.0.2"]
    assert texts("10.0.0.6/31") == ["10.0.0.6", "10.0.0.7"]
    assert texts("10.0.0.9/32") == ["10.0.0.9"]
    assert texts("fd00::/126") == ["fd00::1", "fd00::2", "fd00::3"]


def test_ranges_have_both_ends() -> None:
    assert texts("10.0.0.254-10.0.1.1") == ["10.0.0.254", "10.0.0.255", "10.0.1.0", "10.0.1.1"]
    assert texts("10.0.0.7-9") == ["10.0.0.7", "10.0.0.8", "10.0.0.9"]
    assert texts("fd00::1-fd00::3") == ["fd00::1", "fd00::2", "fd00::3"]


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("10.0.0.9-10.0.0.1", "invalid range"),
        ("10.0.0.9-fd00::1", "invalid range"),
        ("10.0.0.0/33", "invalid block"),
        ("10.0.0.0/x", "invalid block"),
        ("10.0.0.300/24", "invalid block"),
        ("fd00::/64", "too many targets"),
        ("10.0.0.0/8", "too many targets"),
        ("0.0.0.0-255.255.255.255", "too many targets"),
    ],
)
def test_ranges_and_blocks_that_cannot_be_are_refused(word: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        expand([word])


def test_all_targets_together_have_a_limit() -> None:
    with pytest.raises(UsageError, match=f"at most {LIMIT}"):
        expand(["10.0.0.0/12", "172.16.0.0/12"])


def test_each_address_is_taken_once_and_the_order_is_kept() -> None:
    hosts = expand(["10.0.0.3", "10.0.0.0/29", "10.0.0.1"])
    assert [format_ip(address) for address in hosts.addresses] == [f"10.0.0.{last}" for last in (3, 1, 2, 4, 5, 6)]
    assert hosts.repeated == 2


def test_names_are_kept_where_they_say_more_than_the_address() -> None:
    hosts = expand(["10.0.0.3", "127.1", "fe80::1%eth0"])
    assert [hosts.name(index) for index in range(3)] == ["10.0.0.3", "127.1", "fe80::1%eth0"]
    assert hosts.names == {1: "127.1", 2: "fe80::1%eth0"}
    assert hosts.zones == {2: "eth0"}
    assert hosts.literal


def test_names_among_addresses_keep_their_place() -> None:
    hosts = expand(["10.0.0.3", "localhost", "10.0.0.4"], family=4)
    assert [hosts.name(index) for index in range(3)] == ["10.0.0.3", "localhost", "10.0.0.4"]
    assert not hosts.literal


def test_several_names_are_looked_up_together() -> None:
    complaints: list[str] = []
    hosts = expand(["localhost", "a.invalid", "b.invalid", "10.0.0.4"], family=4, complain=complaints.append)
    assert [hosts.name(index) for index in range(2)] == ["localhost", "10.0.0.4"]
    assert [complaint.partition(":")[0] for complaint in complaints] == ["a.invalid", "b.invalid"]


def test_what_cannot_be_resolved_is_raised_where_nobody_takes_complaints() -> None:
    with pytest.raises(UsageError, match=r"^a\.invalid: "):
        expand(["10.0.0.4", "a.invalid"])
    with pytest.raises(UsageError, match="Address family"):
        expand(["::1"], family=4)


def test_all_addresses_of_a_name_are_taken_when_asked_for() -> None:
    import pytools.cli.targets as targets

    one = Host("a", parse_ip("10.0.0.1"), others=(Host("a", parse_ip("10.0.0.2")),))
    for wanted, count in ((False, 1), (True, 2)):
        hosts = targets.HostList()
        targets._take(hosts, one, 0, wanted, None)
        assert len(hosts) == count


def test_a_file_has_one_target_a_line(tmp_path: Path) -> None:
    path = tmp_path / "targets"
    path.write_text("# a comment\n10.0.0.1  the first\n\n  10.0.0.2# another\n")
    assert read_words(str(path)) == ["10.0.0.1", "10.0.0.2"]


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("10.0.0.1\n10.0.0.2\n"))
    assert read_words("-") == ["10.0.0.1", "10.0.0.2"]


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_words("/nonexistent/targets")
