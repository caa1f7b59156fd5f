"""Files of every kind give the same records; damaged ones give what they have and say so."""

import gzip
import struct

import pytest

from pytools.errors import LinkError
from pytools.link.capture_file import CaptureFile

FRAMES = [b"first", b"the second frame"]


def pcap(order: str = "<", magic: int = 0xA1B2C3D4, link_type: int = 1) -> bytes:
    octets = struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 65535, link_type)
    for at, frame in enumerate(FRAMES):
        octets += struct.pack(order + "IIII", 10, at + 1, len(frame), len(frame) + 100) + frame
    return octets


def block(order: str, kind: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack(order + "II", kind, len(body) + 12) + body + struct.pack(order + "I", len(body) + 12)


def pcapng(order: str = "<", resolution: int = 9) -> bytes:
    octets = block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))
    option = struct.pack(order + "HHBxxxI", 9, 1, resolution, 0)
    octets += block(order, 1, struct.pack(order + "HHI", 1, 0, 0) + option)
    for at, frame in enumerate(FRAMES):
        time = 10 * 10**resolution + at + 1
        head = struct.pack(order + "IIIII", 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame) + 100)
        octets += block(order, 6, head + frame)
    return octets


@pytest.mark.parametrize(
    ("octets", "unit"),
    [
        (pcap("<"), 1000),
        (pcap(">"), 1000),
        (pcap("<", 0xA1B23C4D), 1),
        (pcap(">", 0xA1B23C4D), 1),
        (pcapng("<"), 1),
        (pcapng(">"), 1),
        (pcapng("<", 6), 1000),
        (gzip.compress(pcap()), 1000),
        (gzip.compress(pcapng()), 1),
    ],
)
def test_every_format_gives_the_same_records(tmp_path, octets, unit):
    (tmp_path / "file").write_bytes(octets)
    with CaptureFile(str(tmp_path / "file")) as capture:
        records = list(capture)
    expected = [(10 * 10**9 + (n + 1) * unit, 1, frame, len(frame) + 100, 0) for n, frame in enumerate(FRAMES)]
    assert records == expected
    assert capture.damage is None


@pytest.mark.parametrize("octets", [pcap(), pcapng()])
def test_a_file_cut_in_the_last_record_gives_the_others_and_says_so(tmp_path, octets):
    (tmp_path / "file").write_bytes(octets[:-5])
    with CaptureFile(str(tmp_path / "file")) as capture:
        assert [record[2] for record in capture] == FRAMES[:1]
    assert "cut in the middle" in str(capture.damage)


def test_an_impossible_length_ends_reading(tmp_path):
    (tmp_path / "file").write_bytes(pcap() + struct.pack("<IIII", 1, 1, 1 << 31, 1 << 31))
    with CaptureFile(str(tmp_path / "file")) as capture:
        assert len(list(capture)) == 2
    assert capture.damage == "record 3 has an impossible length (2147483648)"


def test_damaged_gzip_data_end_reading(tmp_path):
    (tmp_path / "file").write_bytes(gzip.compress(pcap() + bytes(16) * 5)[:-8])
    with CaptureFile(str(tmp_path / "file")) as capture:
        assert len(list(capture)) >= 2
    assert capture.damage == "the gzip data are cut or damaged"


@pytest.mark.parametrize(
    ("octets", "said"), [(b"", "the file is empty"), (b"no capture at all", "not a pcap or pcapng file")]
)
def test_what_is_no_capture_is_refused(tmp_path, octets, said):
    (tmp_path / "file").write_bytes(octets)
    with pytest.raises(LinkError, match=said):
        CaptureFile(str(tmp_path / "file"))


def test_a_missing_file_and_a_directory_are_refused(tmp_path):
    with pytest.raises(LinkError, match="no such file or directory"):
        CaptureFile(str(tmp_path / "none"))
    with pytest.raises(LinkError, match="is a directory"):
        CaptureFile(str(tmp_path))
