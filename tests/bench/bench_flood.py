"""Flood over a veth pair, in turns with iputils' ping -f.

Wanted: at least 15,000 echoes a second.
"""

import re
import sys

from common import PEER, PYTOOLS, Verdict, compile_sources, median, run_in, wire

RUNS = 5
COUNT = int(sys.argv[1]) if len(sys.argv) > 1 else 60_000
SUMMARY = re.compile(r"(\d+) packets transmitted, (\d+) received, .* time (\d+)ms")


def echoes_a_second(output: str) -> float:
    found = SUMMARY.search(output)
    if found is None:
        sys.exit(f"no summary in:\n{output[-1000:]}")
    _, received, milliseconds = map(int, found.groups())
    return received / max(milliseconds, 1) * 1000


def main() -> None:
    compile_sources()
    commands = {
        "iputils": ["ping", "-q", "-f", "-c", str(COUNT), PEER],
        "pytools": [*PYTOOLS, "ping", "-q", "-f", "-c", str(COUNT), PEER],
    }
    rates: dict[str, list[float]] = {name: [] for name in commands}
    with wire() as (ours, _):
        for number in range(1, RUNS + 1):
            for name, argv in commands.items():
                rates[name].append(echoes_a_second(run_in(ours, argv)))
            print(f"run {number}:  " + "  ".join(f"{name} {rates[name][-1]:,.0f}/s" for name in commands))
    print(f"pytools / iputils: {median(rates['pytools']) / median(rates['iputils']):.2f}")
    verdict = Verdict()
    verdict.check("pytools' median", median(rates["pytools"]), 15_000, at_most=False, unit=" echo/s")
    verdict.leave()


if __name__ == "__main__":
    main()
