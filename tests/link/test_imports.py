"""What the way to the first packet may load: each of these costs milliseconds."""

import subprocess
import sys

import pytest

DEAR = (
    "asyncio",
    "ctypes",
    "dataclasses",
    "inspect",
    "ipaddress",
    "logging",
    "selectors",
    "socket",
    "subprocess",
    "threading",
)
HOT = ("packet_socket", "raw_ip", "ping_socket", "tap", "lab", "host", "watch", "privilege", "muzzle")


@pytest.mark.parametrize("module", HOT)
def test_a_link_loads_nothing_dear(module):
    program = f"import sys, pytools.link.{module}; print(*sorted(sys.modules.keys() & {set(DEAR)!r}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
