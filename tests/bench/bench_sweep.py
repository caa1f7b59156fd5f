"""Sweep a /16 over a veth pair, in turns with fping. The other end answers for every address.

Wanted: at least 20,000 probes a second, at most 500 octets of memory a target, nothing a probe.
"""

import os
import re
import subprocess
import sys
import time
from tempfile import TemporaryFile

from common import PEER, PYTOOLS, Verdict, compile_sources, median, wire

from tests.system.conftest import Namespace

RUNS = 3
TARGETS = 65_000
BLOCK = "10.77.0.0/16"
LAST = f"10.77.{(TARGETS - 1) >> 8}.{(TARGETS - 1) & 255}"


def peak_kilobytes(process: subprocess.Popen[bytes]) -> int:
    """The largest resident set of a process, read until it is gone."""
    peak = 0
    while process.poll() is None:
        try:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as lines:
                found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
        except OSError:
            break
        peak = max([peak, *found])
        time.sleep(0.02)
    return peak


def measure(namespace: Namespace, argv: list[str]) -> tuple[float, int, str]:
    """(seconds, peak resident kilobytes, standard output)."""
    with namespace.entered(), TemporaryFile("w+") as file:
        began = time.monotonic()
        process = subprocess.Popen(argv, stdout=file, stderr=subprocess.STDOUT)
        peak = peak_kilobytes(process)
        took = time.monotonic() - began
        file.seek(0)
        return took, peak, file.read()


def main() -> None:
    compile_sources()
    sweep = [*PYTOOLS, "ping", "-q", "-n", "-c", "1", "--rate", "0", "-W", "2"]
    every = [*sweep, f"10.77.0.0-{LAST}"]
    probes = int(os.environ.get("PROBES", "4"))
    repeated = [*PYTOOLS, "ping", "-q", "-n", "-c", str(probes), "-i", "0.01", "--rate", "0", "-W", "2"]
    repeated.append(f"10.77.0.0-{LAST}")
    fping = ["fping", "-q", "-s", "-r", "0", "-i", "0", "-t", "2000", "-g", "10.77.0.0", LAST]
    rates, seconds_of_fping = [], []
    with wire() as (ours, peer):
        peer.ip(f"route add local {BLOCK} dev lo")
        ours.ip(f"route add {BLOCK} via {PEER}")
        _, base, _ = measure(ours, [*sweep, "10.77.0.1"])
        for number in range(1, RUNS + 1):
            took, peak, output = measure(ours, every)
            found = re.search(r"(\d+) packets transmitted, .* time (\d+)ms", output)
            if found is None:
                sys.exit(f"no summary in:\n{output[-1000:]}")
            rates.append(int(found[1]) / int(found[2]) * 1000)
            other, fping_peak, _ = measure(ours, fping)
            seconds_of_fping.append(other)
            print(f"run {number}: pytools {took:.2f} s, {rates[-1]:,.0f}/s, {peak} kB", end="   ")
            print(f"fping {other:.2f} s, {fping_peak} kB")
        _, peak_many, _ = measure(ours, repeated)
    print(f"resident: {base} kB for one target, {peak} kB for {TARGETS}, {peak_many} kB with {probes} probes each")
    print(f"pytools / fping: {median(rates) / (TARGETS / median(seconds_of_fping)):.2f}")
    verdict = Verdict()
    verdict.check("probes a second", median(rates), 20_000, at_most=False, unit="/s")
    verdict.check("octets a target", (peak - base) * 1024 / TARGETS, 500)
    verdict.check("octets a further probe", (peak_many - peak) * 1024 / TARGETS / max(probes - 1, 1), 8)
    verdict.leave()


if __name__ == "__main__":
    sys.exit(main())
