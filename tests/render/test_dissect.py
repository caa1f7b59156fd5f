import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytools.engine import ETHERNET, RAW_IP
from pytools.render import dissect
from pytools.wire import ethernet
from tests.render import frames


@pytest.fixture(scope="module")
def scapy() -> dissect.Dissect:
    loaded = dissect.load()
    assert loaded is not None
    return loaded


def test_a_hex_dump_has_offset_two_groups_and_the_printable_text() -> None:
    assert dissect.hex_dump(bytes(range(0x30, 0x45)) + b"\x1b\xff") == [
        "0000  30 31 32 33 34 35 36 37  38 39 3a 3b 3c 3d 3e 3f  0123456789:;<=>?",
        "0010  40 41 42 43 44 1b ff                              @ABCD..",
    ]
    assert dissect.hex_dump(b"") == []


def test_dissection_follows_the_link_type(scapy: dissect.Dissect) -> None:
    assert scapy(frames.echo_request(), ETHERNET)[0] == "###[ Ethernet ]###"
    assert scapy(frames.echo_packet(), RAW_IP)[0] == "###[ IP ]###"
    assert scapy(frames.echo6_packet(), RAW_IP)[0] == "###[ IPv6 ]###"
    assert "  dst       = 10.0.0.2" in [line.replace("     dst", "  dst") for line in scapy(frames.echo_request(), 1)]


def test_dissection_is_escaped(scapy: dissect.Dissect, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd:
        def __init__(self, frame: bytes) -> None:
            pass

        def show(self, dump: bool) -> str:
            return "name = \x1b]0;x\x07\u202e\n\n"

    assert dissect._show(Odd, b"x") == ["name = \\x1b]0;x\\x07\\u202e"]


def test_a_dissector_that_fails_is_said_in_one_line() -> None:
    def fail(frame: bytes) -> None:
        raise KeyError("\x1b")

    assert dissect._show(fail, b"x") == ["scapy can't dissect this: KeyError: '\\x1b'"]


def test_nothing_is_dissected_of_nothing(scapy: dissect.Dissect) -> None:
    assert scapy(b"", ETHERNET) == []


def test_cut_frames_never_raise(scapy: dissect.Dissect) -> None:
    whole = frames.echo6_request()
    for length in range(len(whole)):
        assert isinstance(scapy(whole[:length], ETHERNET), list)
        assert isinstance(scapy(whole[ethernet.HEADER_LENGTH : length], RAW_IP), list)


def test_loading_scapy_leaves_the_home_directory_and_the_environment_alone(tmp_path: Path) -> None:
    code = (
        "import os\nbefore = dict(os.environ)\nfrom pytools.render import dissect\n"
        "assert dissect.load() is not None\nassert dict(os.environ) == before\n"
    )
    (tmp_path / ".cache").mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "conf")}
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-B", "-c", code], env=environment, cwd=root, check=True, timeout=60)
    assert [path for path in tmp_path.rglob("*") if path.name != ".cache"] == []
