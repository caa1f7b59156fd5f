import io
import os
import stat
import subprocess
from pathlib import Path
from struct import pack, unpack_from

import pytest

from pytools.engine import CHECKSUM_PARTIAL, RAW_IP, Port
from pytools.errors import LinkError
from pytools.render.assemble import Line
from pytools.render.pcapng import PcapngWriter, encode_block, encode_option, is_read_along, reception
from pytools.trace.events import (
    AddressChanged,
    Dropped,
    NeighborChanged,
    ProbeAnswered,
    ProbeSent,
    TimerFired,
    TraceEvent,
)
from pytools.units import SECOND
from tests.render import frames
from tests.render.frames import IP_PEER, OURS, PEER, call, received, sent

PORTS = [Port(0, "veth0", mac=OURS), Port(1, "wg0", RAW_IP)]
START = 5 * SECOND
EPOCH = 1_800_000_000 * SECOND
CHECKS = [
    option
    for name in ("ip.check_checksum", "tcp.check_checksum", "udp.check_checksum")
    for option in ("-o", f"{name}:TRUE")
]
SUPER4 = (bytes(range(256)) * 256)[: 65535 - 20 - 20]  # the longest IPv4 packet
SUPER6 = SUPER4 + bytes(20)  # and what an IPv6 header can still count


def written(*events: TraceEvent, start_at: int = START) -> bytes:
    """The file that these events make."""
    file = io.BytesIO()
    file.close = lambda: None  # type: ignore[method-assign]
    writer = PcapngWriter(file, PORTS, start_at=start_at, epoch_ns=EPOCH)
    for event in events:
        writer.on_event(event)
    writer.close()
    return file.getvalue()


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    """(type, body) of each block; the lengths before and after it must agree."""
    found, at = [], 0
    while at < len(data):
        kind, length = unpack_from("<II", data, at)
        assert length % 4 == 0
        assert unpack_from("<I", data, at + length - 4)[0] == length
        found.append((kind, data[at + 8 : at + length - 4]))
        at += length
    return found


def options(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        code, length = unpack_from("<HH", data)
        found.append((code, data[4 : 4 + length]))
        data = data[4 + (length + 3 & ~3) :]
    assert not found or found.pop() == (0, b"")
    return found


def packets(data: bytes) -> list[tuple[int, int, bytes, list[tuple[int, bytes]]]]:
    """(interface, stamp, octets, options) of each packet."""
    found = []
    for kind, body in blocks(data):
        if kind == 6:
            interface, high, low, captured, original = unpack_from("<5I", body)
            assert captured == original
            found.append(
                (interface, high << 32 | low, body[20 : 20 + captured], options(body[20 + (captured + 3 & ~3) :]))
            )
    return found


def test_the_section_comes_first_then_an_interface_for_each_port() -> None:
    section, *interfaces = blocks(written())
    assert section[0] == 0x0A0D0D0A
    assert unpack_from("<IHHq", section[1]) == (0x1A2B3C4D, 1, 0, -1)
    assert dict(options(section[1][16:]))[4].startswith(b"pytools ")
    assert [kind for kind, _ in interfaces] == [1, 1]
    assert [unpack_from("<HHI", body) for _, body in interfaces] == [(1, 0, 262_144), (101, 0, 262_144)]
    assert options(interfaces[0][1][8:]) == [(2, b"veth0"), (9, b"\x09"), (6, OURS)]
    assert options(interfaces[1][1][8:]) == [(2, b"wg0"), (9, b"\x09")]


def test_a_packet_has_wall_time_in_nanoseconds_octets_and_flags() -> None:
    data = written(*call(received(START + 100, frames.arp_reply(), at=START + 57)))
    assert packets(data) == [(0, EPOCH + START + 57, frames.arp_reply(), [(2, pack("<I", 1 | 1 << 2))])]


def test_the_comment_is_the_right_half_with_details() -> None:
    data = written(
        ProbeSent(START, "10.0.0.2", 1),
        NeighborChanged(START, 0, IP_PEER, b"", "", "INCOMPLETE", ""),
        *call(sent(START, frames.arp_request())),
    )
    assert packets(data)[0][3][0] == (1, b"probe 10.0.0.2 seq 1, ARP 10.0.0.2 INCOMPLETE")


def test_what_happened_without_a_packet_is_a_comment_of_the_next_one() -> None:
    data = written(
        *call(AddressChanged(START + SECOND, 0, frames.IP_OURS, "TENTATIVE", "PREFERRED", "")),
        *call(TimerFired(START + 2 * SECOND, "arp", "10.0.0.2", 2)),
        NeighborChanged(START + 2 * SECOND, 0, IP_PEER, b"", "STALE", "PROBE", ""),
        *call(sent(START + 2 * SECOND, frames.arp_request())),
    )
    comments = [value for code, value in packets(data)[0][3] if code == 1]
    assert comments == [
        b"! 1.000000 addr 10.0.0.10 TENTATIVE->PREFERRED",
        b"! 2.000000 TIMER arp 10.0.0.2 #2",
        b"ARP 10.0.0.2 STALE->PROBE",
    ]


def test_what_happens_after_the_last_packet_is_kept_in_a_statistics_block() -> None:
    data = written(*call(sent(START, frames.arp_request())), *call(TimerFired(START + SECOND, "arp", "10.0.0.2", 3)))
    kind, body = blocks(data)[-1]
    assert kind == 5
    interface, high, low = unpack_from("<III", body)
    assert (interface, high << 32 | low) == (0, EPOCH + START + SECOND)
    assert options(body[12:]) == [(1, b"! 1.000000 TIMER arp 10.0.0.2 #3")]


@pytest.mark.parametrize(
    ("frame", "inbound", "flags"),
    [
        (frames.arp_request(), False, 2 | 3 << 2),
        (frames.arp_request(), True, 1 | 3 << 2),
        (frames.neighbor_solicitation(), True, 1 | 2 << 2),
        (frames.echo_reply(), True, 1 | 1 << 2),
        (frames.echo_request(), True, 1 | 4 << 2),
        (frames.echo_request(), False, 2 | 1 << 2),
    ],
)
def test_flags_tell_the_direction_and_for_whom_a_frame_was(frame: bytes, inbound: bool, flags: int) -> None:
    assert reception(frame, PORTS[0], inbound) == flags
    assert reception(frame, PORTS[1], inbound) == flags & 3


def test_partial_checksums_are_completed() -> None:
    frame = frames.udp_frame(b"hello", partial=True)
    data = written(
        *call(received(START, frame, checksum=CHECKSUM_PARTIAL)),
        *call(sent(START, frame[:14], frame[14:34], frame[34:], csum=(34, 6))),
        *call(received(START, frame)),
    )
    complete = frames.udp_frame(b"hello")
    assert [octets for _, _, octets, _ in packets(data)] == [complete, complete, frame]


def test_a_frame_of_a_port_that_nobody_described_is_kept() -> None:
    data = written(*call(sent(START, frames.arp_request(), port=7)))
    assert packets(data)[0][0] == 2
    assert [dict(options(body[8:]))[2] for kind, body in blocks(data) if kind == 1] == [b"veth0", b"wg0", b"port7"]


def test_comments_have_no_control_characters_and_keep_within_an_option() -> None:
    data = written(*call(received(START, frames.arp_reply()), Dropped(START, 0, "X", "\x1b[31m\n" + "y" * 70_000)))
    comment = packets(data)[0][3][0][1]
    assert comment.startswith(b"drop X (\\x1b[31m\\nyyy")
    assert len(comment) == 0xFFFF


def test_labels_are_in_the_comments() -> None:
    file = io.BytesIO()
    writer = PcapngWriter(file, PORTS, start_at=0, epoch_ns=0)
    fired = TimerFired(0, "arp", "10.0.0.2", 1)
    writer.write_line(Line(0, "!", None, [fired], "router"))
    writer.write_line(Line(0, ">", sent(0, b""), [fired], "router"))
    assert [v for c, v in packets(file.getvalue())[0][3] if c == 1] == [
        b"router ! 0.000000 TIMER arp 10.0.0.2 #1",
        b"router: TIMER arp 10.0.0.2 #1",
    ]


def test_an_empty_option_list_has_no_end_mark() -> None:
    assert encode_block(6, b"abcd") == pack("<II4sI", 6, 16, b"abcd", 16)
    assert encode_option(1, b"abc") == b"\x01\x00\x03\x00abc\x00"


def test_a_pipe_is_written_through_and_a_plain_file_about_once_a_second(tmp_path: Path) -> None:
    path = tmp_path / "trace.pcapng"
    with path.open("wb") as file:
        writer = PcapngWriter(file, PORTS, start_at=0, epoch_ns=EPOCH)
        begun = path.stat().st_size
        for at in (1, SECOND):
            for event in call(sent(at, frames.arp_request())):
                writer.on_event(event)
            writer.flush()
            grown = path.stat().st_size > begun
            assert grown == (at == SECOND)
        assert stat.S_ISREG(os.fstat(file.fileno()).st_mode)
    reader, out = os.pipe()
    with os.fdopen(out, "wb") as pipe, os.fdopen(reader, "rb", 0) as seen:
        assert is_read_along(pipe)
        writer = PcapngWriter(pipe, PORTS, start_at=0, epoch_ns=EPOCH)
        assert seen.read(65536)[:4] == b"\x0a\x0d\x0d\x0a"
        for event in call(sent(1, frames.arp_request())):
            writer.on_event(event)
        writer.flush()
        assert frames.arp_request() in seen.read(65536)


class Full(io.BytesIO):
    """A device that takes the beginning and no packet; `error` is what it raises."""

    error: Exception = OSError(28, "No space left on device")

    def write(self, data: object) -> int:
        if self.tell() > 200:
            raise self.error
        return super().write(data)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [OSError(28, "write refused"), LinkError("write refused")])
def test_a_failing_file_is_reported_by_flush_or_close_not_by_the_engine(error: Exception) -> None:
    file = Full()
    file.error = error
    writer = PcapngWriter(file, PORTS, start_at=0, epoch_ns=0)
    for event in (*call(sent(0, frames.echo_request())), *call(sent(0, frames.echo_request()))):
        writer.on_event(event)
    with pytest.raises(type(error), match="write refused"):
        writer.flush()
    with pytest.raises(type(error), match="write refused"):
        writer.close()
    assert file.closed


def test_close_may_be_called_after_nothing_happened() -> None:
    file = io.BytesIO()
    PcapngWriter(file, [], start_at=0, epoch_ns=0).close()
    assert file.closed


# What tshark and capinfos make of it.


def everything() -> list[TraceEvent]:
    """A packet of every kind, each with something to say about it."""
    big4, next4 = (frames.partial_tcp_frame(SUPER4, 5 + i * len(SUPER4)) for i in range(2))
    big6, next6 = (frames.partial_tcp6_frame(SUPER6, 5 + i * len(SUPER6)) for i in range(2))
    said = AddressChanged(START, 0, frames.IP_OURS, "", "PREFERRED", "")
    out = [
        sent(START + 1000, frames.arp_request()),
        received(START + 2000, frames.arp_reply(), at=START + 1500),
        sent(START + 3000, frames.echo_request()),
        received(START + 4000, frames.echo_reply()),
        sent(START + 5000, frames.echo6_request()),
        sent(START + 6000, frames.neighbor_solicitation()),
        sent(START + 7000, frames.udp_frame()),
        received(START + 8000, frames.udp_frame(b"partial", partial=True), checksum=CHECKSUM_PARTIAL),
        sent(START + 9000, frames.echo_request(1, vlans=(10,))),
        sent(START + 10000, frames.echo_request(1, vlans=(7, 10))),
        sent(START + 11000, frames.echo_packet(), port=1),
        sent(START + 12000, frames.echo6_packet(), port=1),
        sent(START + 13000, frames.partial_tcp_frame(b"data"), csum=(34, 16)),
        sent(START + 14000, big4[:54], big4[54:], gso_size=1448, csum=(34, 16)),
        sent(START + 15000, big6[:74], big6[74:], gso_size=1428, csum=(54, 16)),
        received(START + 16000, next4, checksum=CHECKSUM_PARTIAL, gso_size=1448),
        received(START + 17000, next6, checksum=CHECKSUM_PARTIAL, gso_size=1428),
    ]
    return [event for one in out for event in call(one, said)]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    path = tmp_path / "all.pcapng"
    path.write_bytes(written(*everything(), *call(TimerFired(START + SECOND, "arp", "10.0.0.2", 3))))
    return path


def tshark(path: Path, *arguments: str) -> str:
    command = ["tshark", "-n", "-r", str(path), *CHECKS, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


@pytest.mark.needs("tshark")
def test_tshark_finds_nothing_wrong_with_any_packet(capture: Path) -> None:
    chat = 0x200000  # the lowest but that of a comment
    bad = f"_ws.malformed or _ws.expert.severity >= {chat}"
    bad += "".join(f" or {name}.checksum.status == 0" for name in ("ip", "tcp", "udp"))
    assert tshark(capture, "-Y", bad) == ""
    shown = tshark(capture, "-T", "fields", "-e", "frame.number", "-e", "frame.len", "-e", "frame.cap_len").splitlines()
    assert len(shown) == 17
    assert all(len(set(line.split("\t")[1:])) == 1 for line in shown)


@pytest.mark.needs("tshark")
def test_tshark_checks_the_completed_checksums_and_calls_them_good(capture: Path) -> None:
    status = tshark(
        capture, "-Y", "tcp or udp", "-T", "fields", "-e", "tcp.checksum.status", "-e", "udp.checksum.status"
    )
    assert [line.strip() for line in status.splitlines()] == ["1"] * 7


@pytest.mark.needs("tshark")
def test_tshark_shows_comments_times_interfaces_and_directions(tmp_path: Path) -> None:
    path = tmp_path / "ping.pcapng"
    path.write_bytes(
        written(
            *call(TimerFired(START, "arp", "10.0.0.2", 1)),
            NeighborChanged(START, 0, IP_PEER, b"", "", "INCOMPLETE", ""),
            *call(sent(START, frames.arp_request())),
            received(START + 57_123, frames.arp_reply()),
            *call(NeighborChanged(START + 57_123, 0, IP_PEER, PEER, "INCOMPLETE", "REACHABLE", "reply")),
            *call(received(START + 60_000, frames.echo_reply())),
            ProbeAnswered(START + 60_000, "10.0.0.2", 1, 57_000, ""),
        )
    )
    fields = ["frame.comment", "frame.time_epoch", "frame.interface_name", "frame.packet_flags_direction"]
    shown = tshark(path, "-T", "fields", *[word for field in fields for word in ("-e", field)])
    assert [line.split("\t") for line in shown.splitlines()] == [
        ["! 0.000000 TIMER arp 10.0.0.2 #1,ARP 10.0.0.2 INCOMPLETE", "1800000005.000000000", "veth0", "0x00000002"],
        [
            "ARP 10.0.0.2 INCOMPLETE->REACHABLE 02:00:00:00:00:02 (reply)",
            "1800000005.000057123",
            "veth0",
            "0x00000001",
        ],
        ["rtt 0.057 ms", "1800000005.000060000", "veth0", "0x00000001"],
    ]


@pytest.mark.needs("tshark", "capinfos")
def test_tshark_and_capinfos_read_the_whole_file(capture: Path) -> None:
    done = subprocess.run(
        ["capinfos", "-M", "-c", str(capture)], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Number of packets:   17" in done.stdout
    assert done.stderr.replace("\n", "").strip() in (
        "",
        'Running as user "root" and group "root". This could be dangerous.',
    )


@pytest.mark.needs("tcpdump")
def test_tcpdump_reads_it_too(tmp_path: Path) -> None:
    # libpcap refuses a file whose interfaces differ in link type: one port alone.
    path = tmp_path / "one.pcapng"
    events = [event for event in everything() if getattr(event, "port", 0) == 0]
    file = path.open("wb")
    writer = PcapngWriter(file, PORTS[:1], start_at=START, epoch_ns=EPOCH)
    for event in events:
        writer.on_event(event)
    writer.close()
    command = ["tcpdump", "-n", "-v", "-r", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "incorrect" not in done.stdout
    assert "bad" not in done.stdout
    assert done.stdout.count("ICMP") >= 4
