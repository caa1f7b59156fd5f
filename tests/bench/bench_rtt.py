"""Is the round-trip time honest? Runs in turns with iputils' ping over one veth pair, and beside a capture.

Wanted: the pooled median at most 1.10 x that of iputils by the default clock, below it with transmit stamps; against
what a capture on the same interface says of each probe within 50 us, the median within 15 us, no time negative. The
capture stamps a request after the system call has begun and before the driver's transmit stamp: the default clock (as
iputils') is above it by what the call costs, --tx-stamp below it by what the capture costs.
"""

import re
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from common import PEER, PYTOOLS, Verdict, compile_sources, median, run_in, wire

from tests.system.conftest import Namespace

RUNS = 5
COUNT = 100
INTERVAL = "0.01"
REPLY = re.compile(r"icmp_seq=(\d+) ttl=\d+ time=([\d.]+) ms")
PLAIN = ["-n", "-c", str(COUNT), "-i", INTERVAL, PEER]


def times_us(output: str) -> dict[int, float]:
    """Sequence number -> round-trip time."""
    return {int(seq): float(ms) * 1000 for seq, ms in REPLY.findall(output)}


def capture(namespace: Namespace, file: Path) -> subprocess.Popen[str]:
    """tcpdump with nanoseconds on our end of the wire, listening when this returns."""
    argv = [
        "tcpdump",
        "--immediate-mode",
        "-U",
        "-Z",
        "root",
        "--time-stamp-precision=nano",
        "-i",
        "v0",
        "-w",
        str(file),
    ]
    process = namespace.popen(*argv, "icmp")
    assert process.stderr is not None
    process.stderr.readline()
    time.sleep(0.2)
    return process


def captured_us(file: Path) -> dict[int, float]:
    """Sequence number -> time from the request's capture stamp to the reply's."""
    data, offset = file.read_bytes(), 24
    sent: dict[int, int] = {}
    found: dict[int, float] = {}
    while offset + 16 <= len(data):
        seconds, nanoseconds, length, _ = struct.unpack_from("<IIII", data, offset)
        frame = data[offset + 16 : offset + 16 + length]
        offset += 16 + length
        at, kind, seq = seconds * 1_000_000_000 + nanoseconds, frame[34], int.from_bytes(frame[40:42], "big")
        if kind == 8:
            sent[seq] = at
        elif kind == 0 and seq in sent:
            found[seq] = (at - sent[seq]) / 1000
    return found


def compare_with_capture(ours: Namespace, verdict: Verdict, *options: str) -> None:
    with TemporaryDirectory() as folder:
        file = Path(folder, "rtt.pcap")
        process = capture(ours, file)
        times = times_us(run_in(ours, [*PYTOOLS, "ping", "-3", *options, *PLAIN]))
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        process.wait()
        seen = captured_us(file)
    differences = sorted(times[seq] - seen[seq] for seq in times if seq in seen)
    span = f"{differences[0]:.1f} ... {differences[-1]:.1f} us"
    print(f"against the capture {' '.join(options)}: {len(differences)} probes, {span}")
    verdict.check("probes found in the capture", len(differences), COUNT, at_most=False)
    if not options:
        verdict.check("the largest difference", max(abs(one) for one in differences), 50, unit=" us")
        verdict.check("the median difference", abs(median(differences)), 15, unit=" us")
    verdict.check("the smallest time", min(times.values()), 0, at_most=False, unit=" us")


def main() -> None:
    compile_sources()
    pooled: dict[str, list[float]] = {"iputils": [], "pytools": [], "pytools --tx-stamp": []}
    commands = {
        "iputils": ["ping", *PLAIN],
        "pytools": [*PYTOOLS, "ping", *PLAIN],
        "pytools --tx-stamp": [*PYTOOLS, "ping", "--tx-stamp", *PLAIN],
    }
    verdict = Verdict()
    with wire() as (ours, _):
        for number in range(1, RUNS + 1):
            line = [f"run {number}:"]
            for name, argv in commands.items():
                times = list(times_us(run_in(ours, argv)).values())
                pooled[name] += times
                line.append(f"{name} {median(times):.1f} us")
            print("  ".join(line))
        compare_with_capture(ours, verdict)
        compare_with_capture(ours, verdict, "--tx-stamp")
    reference = median(pooled["iputils"])
    for name, times in pooled.items():
        print(f"{name}: pooled median {median(times):.1f} us, {len(times)} probes, {median(times) / reference:.2f} x")
    verdict.check("pytools / iputils", median(pooled["pytools"]) / reference, 1.10)
    verdict.check("pytools --tx-stamp / iputils", median(pooled["pytools --tx-stamp"]) / reference, 1.0)
    verdict.leave()


if __name__ == "__main__":
    sys.exit(main())
