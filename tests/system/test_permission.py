"""Without any privilege: what can't be done says in one line what needs none; what can be done is done."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_bad_input import assert_one_line

pytestmark = [pytest.mark.root, pytest.mark.needs("setpriv")]
ROOT = Path(__file__).parents[2]
START = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from pytools.cli.app import main
sys.argv[0] = "pytools"
main()
"""


def as_nobody(line: str) -> tuple[int, str, str]:
    """(status, stdout, stderr) of a command without any privilege, by a Python that everybody can read."""
    python = sys.executable if subprocess.run([*_drop(), sys.executable, "-V"]).returncode == 0 else "/usr/bin/python3"
    command = [*_drop(), python, "-c", START, str(ROOT), *line.split()]
    done = subprocess.run(command, cwd="/", text=True, capture_output=True, timeout=30)
    return done.returncode, done.stdout, done.stderr


def _drop() -> list[str]:
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all"]


@pytest.fixture
def bare(wire):
    """A namespace with a neighbour, entered."""
    if subprocess.run([*_drop(), "test", "-r", ROOT / "pytools/__init__.py"]).returncode != 0:
        pytest.skip("this clone can't be read by others")
    with wire.ours.entered():
        yield wire


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ping -c 1 --via packet 10.9.0.2", ["Operation not permitted", "--via lab", "--via sim"]),
        ("ping -c 1 --via tap 198.18.0.1", ["--via lab"]),
        ("ping -c 1 10.9.0.2", ["socktype: SOCK_RAW", "Operation not permitted", "ping_group_range", "--via lab"]),
        ("arping -c 1 10.9.0.2", ["Operation not permitted", "--via lab"]),
    ],
)
def test_no_permission_says_what_needs_none(bare, line, words):
    status, out, err = as_nobody(line)
    assert (status, out) == (2, "")
    assert_one_line(err, *words)


@pytest.mark.parametrize("target", ["10.9.0.2", "fd09::2", "127.0.0.1", "::1"])
def test_ping_uses_the_datagram_socket_where_the_system_allows_it(bare, target):
    Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")
    status, out, err = as_nobody(f"ping -c 2 -i 0.2 {target}")
    assert (status, err) == (0, "")
    assert f"64 bytes from {target}: icmp_seq=2 ttl=64 time=" in out


@pytest.mark.parametrize(("target", "size", "words"), [("10.9.0.2", 1473, "mtu=1500"), ("fd09::2", 1453, "mtu: 1500")])
def test_the_datagram_socket_refuses_what_must_not_be_fragmented(bare, target, size, words):
    Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647")
    status, out, err = as_nobody(f"ping -c 1 -W 1 -M do -s {size} {target}")
    assert status == 1
    assert err == f"pytools ping: local error: message too long, {words}\n"
    assert "1 packets transmitted, 0 received, +1 errors, 100% packet loss" in out
    status, out, err = as_nobody(f"ping -c 1 -W 1 -M dont -s {size} {target}")
    assert (status, err) == (0, "")


def test_the_lab_and_the_simulation_need_no_permission():
    for way in ("lab", "sim"):
        status, out, _ = as_nobody(f"ping -c 1 --via {way} 10.0.0.2")
        if way == "lab" and subprocess.run([*_drop(), "unshare", "-Urn", "true"], capture_output=True).returncode:
            continue
        assert status == 0
        assert "1 received" in out


def test_root_does_not_stay_root(wire):
    """After the start nothing of root is left in the process: uid, groups, capabilities."""
    with wire.ours.entered():
        command = [sys.executable, "-m", "pytools", "ping", "-i", "0.2", "10.9.0.2"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        while "icmp_seq=1" not in process.stdout.readline():
            assert process.poll() is None
        status = dict(
            line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if ":" in line
        )
        process.terminate()
        process.communicate()
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"65534"}
    assert status["Groups"].split() == []
    for kind in ("Eff", "Prm", "Inh", "Bnd", "Amb"):
        assert int(status[f"Cap{kind}"], 16) == 0
    assert status["NoNewPrivs"].strip() == "1"
    assert os.geteuid() == 0
