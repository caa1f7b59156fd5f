"""The conformance scripts on the Linux kernel: what they expect is what a kernel does, or a listed difference.

Real time on a busy machine is late now and then: what fails is run again, alone and with more tolerance.
"""

import datetime
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "tests" / "scripts"
GIVEN = sorted((ROOT / "../shared/drill").glob("*.pkt"))
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="needs a TUN driver"),
]


def differing() -> set[str]:
    """Scripts that DIFFERENCES.md lists, with their IPv6 variants."""
    listed = re.findall(r"^\| (\S+/\S+) \|", (SCRIPTS / "DIFFERENCES.md").read_text(), re.MULTILINE)
    return {name + variant for name in listed for variant in ("", "-ipv6")}


def name_of(path: Path) -> str:
    return str(path.relative_to(SCRIPTS).with_suffix(""))


def failing(paths: list[Path], jobs: int, tolerance: float) -> dict[Path, object]:
    """The scripts that fail on the kernel, with what was said."""
    if not paths:
        return {}
    command = [sys.executable, "-m", "pytools", "drill", "--against", "kernel", "--json"]
    done = subprocess.run(
        [*command, "-j", str(jobs), "--tolerance", str(tolerance), *map(str, paths)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=600,
        check=False,
    )
    records = [json.loads(line) for line in done.stdout.splitlines()]
    results = [record for record in records if record["event"] == "script"]
    assert len(results) == len(paths), done.stderr
    return {Path(record["script"]): record for record in results if record["result"] != "ok"}


def failing_for_good(paths: list[Path]) -> dict[Path, object]:
    left = failing(paths, 6, 0.05)
    for tolerance in (0.1, 0.2, 0.3):
        left = failing(list(left), 1, tolerance)
    return left


def all_scripts() -> list[Path]:
    listed = differing()
    return [path for path in sorted(SCRIPTS.rglob("*.pkt")) if name_of(path) not in listed]


def test_a_sample_passes_on_the_kernel():
    chosen = random.Random(datetime.date.today().toordinal()).sample(all_scripts(), 30)
    assert failing_for_good(chosen) == {}


@pytest.mark.skipif(not GIVEN, reason="the given scripts are not there")
def test_the_given_scripts_pass_on_the_kernel():
    short = [path for path in GIVEN if not path.stem.startswith(("syn-retransmit", "rto-", "keepalive-"))]
    assert failing_for_good(short) == {}


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_all_pass_on_the_kernel():
    assert failing_for_good(all_scripts()) == {}


@pytest.mark.soak
def test_what_is_listed_as_a_difference_is_one():
    listed = [path for path in sorted(SCRIPTS.rglob("*.pkt")) if name_of(path) in differing()]
    assert set(failing(listed, 2, 0.02)) == set(listed)


def test_nothing_stays_behind():
    before = set(os.listdir("/sys/class/net")), set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
    path = SCRIPTS / "close" / "active-close.pkt"
    failing([path], 1, 0.1)
    after = set(os.listdir("/sys/class/net")), set(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else set()
    assert before == after


def test_a_wrong_expectation_fails_there_too(tmp_path):
    script = tmp_path / "wrong.pkt"
    script.write_text((SCRIPTS / "close" / "active-close.pkt").read_text().replace("> F. 1:1(0)", "> R. 1:1(0)"))
    (record,) = failing([script], 1, 0.1).values()
    assert record["reason"] == "a packet differs"
    assert "flags: expected R., found F." in record["detail"]


def test_sysctls_stay_inside(tmp_path):
    path = Path("/proc/sys/net/ipv4/tcp_sack")
    before = path.read_text()
    script = tmp_path / "sysctl.pkt"
    script.write_text("`sysctl -q net.ipv4.tcp_sack=0`\n" + (SCRIPTS / "close" / "active-close.pkt").read_text())
    assert failing([script], 1, 0.1) == {}
    assert path.read_text() == before
