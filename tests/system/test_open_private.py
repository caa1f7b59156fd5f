"""The lab and TAP devices as paths: the real kernel at the other end, without root where that is possible."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pytools.cli.open import PathRequest, open_path
from pytools.cli.open_private import read_address, read_networks
from pytools.errors import LinkError, UsageError
from pytools.link.tap import NETWORKS
from pytools.wire.addr import parse_ip

ROOT = Path(__file__).parents[2]


def pytools(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytools", *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=30, **options)


def namespaces_are_allowed() -> bool:
    return subprocess.run(["unshare", "-Urn", "true"], capture_output=True).returncode == 0


lab = pytest.mark.skipif(not namespaces_are_allowed(), reason="this system allows no user namespaces")


@lab
@pytest.mark.parametrize("target", ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"])
def test_the_kernel_answers_in_the_lab(target):
    done = pytools("ping", "-c", "1", "--via", "lab", target)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"64 bytes from {target}: icmp_seq=1 ttl=64" in done.stdout


@lab
def test_the_trace_shows_how_the_kernel_was_found():
    done = pytools("ping", "-v", "-c", "1", "--via", "lab", "10.0.0.2")
    assert "> ARP who-has 10.0.0.2 tell 10.0.0.10 (bcast)" in done.stderr
    assert "< ARP 10.0.0.2 is-at 02:00:00:00:00:01" in done.stderr
    assert "> ECHO " in done.stderr
    assert "< REPLY " in done.stderr


@lab
def test_nobody_is_at_99():
    done = pytools("ping", "-c", "1", "-W", "0.2", "--via", "lab", "10.0.0.99")
    assert done.returncode == 1


@lab
def test_another_network_can_be_chosen():
    done = pytools("ping", "-c", "1", "--via", "lab", "--network", "192.0.2.0/24", "192.0.2.2")
    assert done.returncode == 0


@lab
def test_nothing_is_left_of_the_lab():
    before = os.listdir("/sys/class/net")
    pytools("ping", "-c", "1", "--via", "lab", "10.0.0.2")
    assert os.listdir("/sys/class/net") == before


@pytest.mark.root
@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="this machine has no TUN driver")
@pytest.mark.parametrize("target", ["198.18.0.1", "2001:2::1"])
def test_the_kernel_answers_on_a_tap_device(namespace, target):
    ours = namespace("tap")
    done = ours.run(sys.executable, "-m", "pytools", "ping", "-c", "1", "--via", "tap", target, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.root
@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="this machine has no TUN driver")
def test_a_tap_network_that_is_routed_is_refused(namespace):
    ours = namespace("tap")
    ours.ip("link add v9 type veth peer name v9p")
    ours.ip("addr add 198.18.0.7/16 dev v9")
    ours.ip("link set v9 up")
    done = ours.run(sys.executable, "-m", "pytools", "ping", "-c", "1", "--via", "tap", "198.18.0.1", cwd=ROOT)
    assert done.returncode == 2
    assert "routed already" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["x", "10.0.0.0/33", "10.0.0.0/30", "10.0.0.1"])
def test_a_network_must_have_room(text):
    with pytest.raises(UsageError, match=f"--network {text}: "):
        read_networks(text, NETWORKS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("10.0.0.7", ("10.0.0.7", -1)), ("10.0.0.7/8", ("10.0.0.7", 8)), ("fd00::7/64", ("fd00::7", 64))],
)
def test_an_address_may_have_a_length(text, expected):
    assert read_address(text) == (parse_ip(expected[0]), expected[1])


@pytest.mark.parametrize("kind", ["tap", "lab"])
def test_an_interface_is_none_of_its_business(kind):
    with pytest.raises((UsageError, LinkError), match="-I"):
        open_path(PathRequest("ping", via=kind, interfaces=["eth0"]))
