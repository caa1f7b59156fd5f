"""A capture of a conversation with the real kernel, with what offloads leave undone, read by tshark."""

import io
import json
import subprocess
from pathlib import Path
from random import Random
from time import monotonic_ns, time_ns
from typing import Any

import pytest

from pytools.link import bpf, host
from pytools.link.packet_socket import PacketLink
from pytools.render.json_lines import JsonWriter
from pytools.render.json_trace import JsonTrace
from pytools.render.pcapng import PcapngWriter
from pytools.render.text import TextRenderer
from pytools.run.driver import Driver
from pytools.run.waiters import RealWaiter
from pytools.stack.stack import Stack
from pytools.stack.udp import SERVICES
from pytools.units import MS, SECOND
from pytools.wire.addr import parse_ip

pytestmark = [pytest.mark.root, pytest.mark.needs("ip", "tshark", "ping")]

OURS4, OURS6 = parse_ip("10.9.0.50"), parse_ip("fd09::50")
MAC = bytes.fromhex("020000095050")
TALK = """
import socket
for family, address in ((socket.AF_INET, "10.9.0.50"), (socket.AF_INET6, "fd09::50")):
    with socket.socket(family, socket.SOCK_DGRAM) as echo:
        echo.settimeout(5)
        for size in (5, 1400, 4000):
            echo.sendto(bytes(size), (address, 7))
            assert len(echo.recv(65536)) == size
        echo.sendto(b"nobody there", (address, 9999))
    with socket.socket(family) as tcp:
        tcp.settimeout(0.2)
        try:
            tcp.connect((address, 80))
        except OSError:
            pass
"""


class Traced:
    """Our stack on the wire, with every trace consumer attached."""

    def __init__(self, wire: Any, path: Path) -> None:
        self.text, self.lines = io.StringIO(), io.StringIO()
        with wire.ours.entered():
            interface = host.interface("v0")
            assert interface is not None
            interest = bpf.Interest(
                addresses=(OURS4, OURS6), arp=bpf.ARP_ALL, neighbor_discovery=True, multicast=True, everything=True
            )
            self.link = PacketLink(interface, interest, mac=MAC)
        self.stack = Stack(Random(1))
        port = self.link.ports[0]
        start_at = monotonic_ns()
        self.consumers = (
            TextRenderer(self.text, 2, [port], start_at=start_at),
            JsonTrace(JsonWriter(self.lines, start_at), [port], 3),
            PcapngWriter(path.open("wb"), [port], start_at=start_at, epoch_ns=time_ns() - monotonic_ns()),
        )
        for consumer in self.consumers:
            self.stack.trace.subscribe(consumer.on_event)
        self.stack.add_port(port)
        for address, prefix_len in ((OURS4, 24), (OURS6, 64)):
            self.stack.add_address(port.index, address, prefix_len)
        self.stack.open_udp(7, SERVICES[7])
        self.driver = Driver(self.stack, [self.link], RealWaiter())

    def serve(self, *programs: subprocess.Popen[str]) -> None:
        """Run until the programs end and the wire is quiet."""
        end = monotonic_ns() + 60 * SECOND
        while any(program.poll() is None for program in programs):
            assert monotonic_ns() < end
            self.driver.step(monotonic_ns() + 10 * MS)
        for program in programs:
            assert program.returncode == 0, program.communicate()
        for consumer in self.consumers:
            consumer.close()
        self.link.close()


def tshark(path: Path, *arguments: str) -> str:
    checks = [word for name in ("ip", "tcp", "udp") for word in ("-o", f"{name}.check_checksum:TRUE")]
    command = ["tshark", "-n", "-r", str(path), *checks, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_conversation_with_the_kernel_reads_without_a_complaint(wire: Any, tmp_path: Path) -> None:
    path = tmp_path / "kernel.pcapng"
    traced = Traced(wire, path)
    pings = [
        ("ping", "-c", "2", "-i", "0.01", "-s", size, address)
        for size in ("56", "4000")
        for address in ("10.9.0.50", "fd09::50")
    ]
    programs = [wire.peer.popen(*ping) for ping in pings]
    traced.serve(*programs, wire.peer.popen("python3", "-c", TALK))

    comments = tshark(path, "-T", "fields", "-e", "frame.number", "-e", "frame.comment").splitlines()
    assert len(comments) > 30
    # 0x100000 is the severity of a comment. A SYN is a chat and repeated SYNs are notes: they get no answer.
    bad = "_ws.malformed or (_ws.expert.severity >= 0x200000 and not tcp)"
    bad += "".join(f" or {name}.checksum.status == 0" for name in ("ip", "tcp", "udp", "icmp", "icmpv6"))
    assert tshark(path, "-Y", bad) == ""

    received = [json.loads(line) for line in traced.lines.getvalue().splitlines()]
    partial = [record for record in received if record.get("checksum") == "partial"]
    assert partial, "the kernel leaves checksums to the device"
    assert not any("bad cksum" in record.get("packet", "") for record in received)
    assert len([record for record in received if record["event"].startswith("frame_")]) == len(comments)

    assert any("answered" in comment for comment in comments)
    assert any("drop IP_NOPROTO" in comment for comment in comments)
    assert any("tell 10.9.0.2: UNREACH port" in comment for comment in comments)

    text = traced.text.getvalue()
    assert " < ECHO id " in text
    assert "cksum offload\n" in text
    assert "reassembled id " in text
