"""`pytools ping` beside the system's ping, against the kernel: the same lines to the byte, but for the times.

The anchor is iputils 20250605; where the installed one (20221126 in Debian 12) prints something else, `modern` turns
its output into what the later one prints, and says what that is.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import Namespace, Routed, Wire

pytestmark = [pytest.mark.root, pytest.mark.needs("ping")]

ROOT = Path(__file__).parents[2]
OURS = (sys.executable, "-m", "pytools", "ping")
ENVIRONMENT = {**os.environ, "LC_ALL": "C", "PYTHONPATH": str(ROOT)}


def run(where: Namespace, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return where.run(*words, env=ENVIRONMENT, **options)


def ours(where: Namespace, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    done = run(where, *OURS, *words, **options)
    assert "Traceback" not in done.stderr
    return done


def without_times(text: str) -> str:
    """What differs from run to run."""
    text = re.sub(r"time=[\d.]+ ms", "time=T ms", text)
    text = re.sub(r", time \d+ms", ", time Tms", text)
    text = re.sub(r"= [\d.]+/[\d.]+/[\d.]+/[\d.]+ ms", "= A/B/C/D ms", text)
    text = re.sub(r"ipg/ewma [\d.]+/[\d.]+ ms", "ipg/ewma I/E ms", text)
    text = re.sub(r"\t\d+ absolute", "\tS absolute", text)
    text = re.sub(r"^(\t(?:[\d.]+\t)?)-?\d+$", r"\1S", text, flags=re.MULTILINE)
    return re.sub(r"^\[\d{10}\.\d{6}\]", "[W]", text, flags=re.MULTILINE)


def modern(text: str) -> str:
    """iputils 20221126 has no space in front of an IPv6 address in its header, and may name it twice."""
    text = re.sub(r"^PING (\S+?)\(\1 \((\S+)\)\) ", r"PING \1 (\2) ", text)
    return re.sub(r"^PING (\S+?)\((\S+:\S*)\) ", r"PING \1 (\2) ", text)


def compare(where: Namespace, *words: str) -> None:
    """Both programs print and end the same.

    Two more tries: on a busy machine either may find a reply late (a second dot of a flood, `pipe 2`) for once.
    """
    for _ in range(3):
        theirs, mine = run(where, "ping", *words), ours(where, *words)
        if without_times(mine.stdout) == without_times(modern(theirs.stdout)):
            break
    assert without_times(mine.stdout) == without_times(modern(theirs.stdout))
    assert mine.stderr.replace("pytools ping: ", "ping: ") == theirs.stderr
    assert mine.returncode == theirs.returncode


@pytest.mark.parametrize(
    "line",
    [
        "-c 3 -i 0.2 10.9.1.2",
        "-c 2 -i 0.2 fd09:1::2",
        "-c 1 127.0.0.1",
        "-c 1 ::1",
        "-c 1 10.9.0.1",
        "-c 1 fd09::1",
        "-c 1 127.1",
        "-c 1 0.0.0.0",
        "-q -c 2 -i 0.2 10.9.1.2",
        "-D -c 1 10.9.1.2",
        "-B -c 1 10.9.1.2",
        "-I v0 -c 1 10.9.1.2",
        "-I 10.9.0.1 -c 1 10.9.1.2",
        "-I 10.9.0.1 -I v0 -c 1 10.9.1.2",
        "-I v0 -c 1 fd09:1::2",
        "-s 0 -c 1 10.9.1.2",
        "-s 15 -c 1 fd09:1::2",
        "-s 1472 -M do -c 1 10.9.1.2",
        "-s 1473 -M do -c 1 10.9.1.2",
        "-s 1453 -M do -c 1 fd09:1::2",
        "-s 4000 -M dont -c 1 10.9.1.2",
        "-s 60000 -c 1 10.9.1.2",
        "-s 60000 -c 1 fd09:1::2",
        "-p ff -c 1 10.9.1.2",
        "-p abc -s 20 -c 1 10.9.1.2",
        "-t 1 -c 2 -i 0.2 10.9.1.2",
        "-t 1 -c 1 fd09:1::2",
        "-a -c 1 10.9.1.2",
        "-f -c 20 10.9.1.2",
        "-f -i 0.01 -c 5 10.9.1.2",
        "-A -c 5 10.9.1.2",
        "-l 3 -c 5 -i 0.2 10.9.1.2",
        "-R -c 2 -i 0.2 10.9.1.2",
        "-R -c 1 127.0.0.1",
        "-T tsonly -c 1 10.9.1.2",
        "-T tsandaddr -c 1 10.9.1.2",
        "-c 1 -T tsprespec 10.9.0.2 10.9.1.2 10.9.1.2",
        "-Q 0x10 -c 1 10.9.1.2",
        "-U -c 1 10.9.1.2",
        "-m 5 -c 1 10.9.1.2",
        "-w 1 -i 0.4 10.9.1.2",
        "-c 2 -w 5 -i 0.2 10.9.1.2",
        "-O -c 3 -i 0.2 -W 1 10.66.0.1",
        "-c 2 -i 0.2 -W 1 10.9.0.99",
        "-c 1 -W 0.5 10.66.0.1",
        "-w 1 10.66.0.1",
        "-c 2 -i 0.2 -W 1 10.67.0.1",
        "-c 1 -w 3 10.67.0.1",
        "-c 1 10.68.0.1",
        "-c 1 fd67::1",
        "-q -c 1 10.67.0.1",
        "-c 1 -s 1400 10.9.1.2 -M probe",
    ],
)
def test_the_output_is_that_of_ping(routed: Routed, line: str) -> None:
    words = line.split()
    if "probe" in words and "probe" not in run(routed.client, "ping", "-h").stderr:
        words[-1] = "do"
    routed.router.ip("route add blackhole 10.66.0.0/16")
    routed.router.ip("route add unreachable 10.67.0.0/16")
    routed.router.ip("route add prohibit 10.68.0.0/16")
    routed.router.ip("route add unreachable fd67::/16")
    compare(routed.client, *words)


@pytest.mark.parametrize(
    "line",
    [
        "-I nodev -c 1 10.9.0.2",
        "-I 1.2.3.4 -c 1 10.9.0.2",
        "-c 1 10.99.0.1",
        "-c 1 fd99::1",
        "-c 1 name.invalid",
        "-c 1 -4 fd09::2",
        "-c 1 -6 10.9.0.2",
        "-4 -6 10.9.0.2",
        "-M foo 10.9.0.2",
        "-T foo 10.9.0.2",
        "-W -1 10.9.0.2",
        "-Q 300 10.9.0.2",
        "-F zz fd09::2",
        "-p xx 10.9.0.2",
        "-t 0 -c 1 10.9.0.2",
        "-c 1 10.9.0.255",
        "-c 1 255.255.255.255",
    ],
)
def test_refusals_are_those_of_ping(wire: Wire, line: str) -> None:
    theirs, mine = run(wire.ours, "ping", *line.split()), ours(wire.ours, *line.split())
    assert (mine.returncode, mine.stdout) == (theirs.returncode, theirs.stdout)
    said = theirs.stderr.removeprefix("ping: ").rstrip("\n")
    assert mine.stderr.startswith(f"pytools ping: {said}")
    assert mine.stderr.count("\n") == 1


def test_a_host_that_is_not_there_is_unreachable_after_three_seconds(wire: Wire) -> None:
    done = ours(wire.ours, "-c", "1", "10.9.0.99")
    assert "From 10.9.0.1 icmp_seq=1 Destination Host Unreachable\n" in done.stdout
    done = ours(wire.ours, "-c", "1", "fd09::99")
    assert "From fd09::1 icmp_seq=1 Destination unreachable: Address unreachable\n" in done.stdout


def test_link_local_addresses_need_a_zone(wire: Wire) -> None:
    address = re.search(r"(fe80::[0-9a-f:]+)/64", wire.peer.ip("-6 -br addr show dev v0"))
    assert address is not None
    for words in ([f"{address[1]}%v0"], ["-I", "v0", address[1]]):
        compare(wire.ours, "-c", "1", *words)


def test_a_group_answers_with_many(wire: Wire) -> None:
    done = ours(wire.ours, "-c", "2", "-i", "1", "ff02::1%v0")
    assert done.stdout.startswith("PING ff02::1%v0 (ff02::1%v0) 56 data bytes\n64 bytes from fe80::")
    assert "(DUP!)" not in done.stdout
    assert done.returncode == 0


def test_broadcast_is_allowed_with_b(wire: Wire) -> None:
    wire.peer.sysctl(net__ipv4__icmp_echo_ignore_broadcasts=0)
    compare(wire.ours, "-b", "-c", "1", "10.9.0.255")


def test_a_name_is_looked_up_both_ways(wire: Wire, tmp_path: Path) -> None:
    hosts = Path("/etc/netns", wire.ours.name)
    hosts.mkdir(parents=True)
    try:
        (hosts / "hosts").write_text("127.0.0.1 localhost\n10.9.0.2 peer.example peer\nfd09::2 peer6.example\n")
        (hosts / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        for words in (["peer.example"], ["peer"], ["-n", "peer"], ["peer6.example"], ["-6", "peer6.example"]):
            compare(wire.ours, "-c", "2", "-i", "0.2", *words)
    finally:
        (hosts / "hosts").unlink()
        (hosts / "resolv.conf").unlink()
        hosts.rmdir()


def test_the_round_trip_time_is_near_that_of_ping(wire: Wire) -> None:
    def median(*command: str) -> float:
        out = run(wire.ours, *command, "-n", "-i", "0.01", "-c", "50", "10.9.0.2").stdout
        times = sorted(float(found) for found in re.findall(r"time=([\d.]+)", out))
        assert len(times) == 50
        return times[25]

    # Bounds are wide here, one run is noisy; the bench compares the pooled medians.
    assert 0.3 < median(*OURS) / median("ping") < 3
    assert median(*OURS, "--tx-stamp") < 3 * median("ping")


def test_thousands_of_targets_are_swept(wire: Wire) -> None:
    wire.peer.ip("route add local 10.60.0.0/16 dev lo")
    wire.ours.ip("route add 10.60.0.0/16 via 10.9.0.2")
    done = ours(wire.ours, "-q", "-c", "1", "--rate", "0", "--timeout", "2", "10.60.0.0/20")
    assert done.returncode == 0, done.stdout[-300:]
    assert "4094 targets, 4094 answered; 4094 packets transmitted, 4094 received, 0% packet loss" in done.stdout


def test_who_is_alive_on_a_link(wire: Wire) -> None:
    done = ours(wire.ours, "--alive", "--timeout", "0.3", "--retry", "1", "10.9.0.1-4")
    assert (done.stdout, done.returncode) == ("10.9.0.1\n10.9.0.2\n", 1)


@pytest.mark.parametrize(
    ("change", "said"), [("addr del 10.9.0.1/24 dev v0", "our address is gone"), ("link del v0", "gone")]
)
def test_an_address_or_an_interface_that_goes_ends_it(wire: Wire, change: str, said: str) -> None:
    process = wire.ours.popen(*OURS, "-i", "0.1", "10.9.0.2", env=ENVIRONMENT)
    assert process.stdout is not None
    while "icmp_seq=2" not in process.stdout.readline():
        pass
    wire.ours.ip(change)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 2, err
    assert said in err.splitlines()[-1]
    assert "Traceback" not in err
    assert "ping statistics" in out


def test_an_interface_that_goes_down_and_up_is_told_and_the_run_goes_on(wire: Wire) -> None:
    process = wire.ours.popen(*OURS, "-i", "0.1", "10.9.0.2", env=ENVIRONMENT)
    assert process.stdout is not None
    while "icmp_seq=2" not in process.stdout.readline():
        pass
    wire.peer.ip("link set v0 down")
    time.sleep(1.5)  # the kernel tells of a carrier once a second
    wire.peer.ip("link set v0 up")
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "v0: the interface is down" in err
    assert "ping statistics" in out


def test_pings_of_two_processes_do_not_mix(wire: Wire) -> None:
    others = [wire.ours.popen(*OURS, "-q", "-f", "-c", "2000", "10.9.0.2", env=ENVIRONMENT) for _ in range(2)]
    for process in others:
        out, err = process.communicate(timeout=60)
        assert "2000 packets transmitted, 2000 received, 0% packet loss" in out, err


@pytest.mark.needs("tcpdump")
def test_a_vlan_tag_is_on_the_wire(wire: Wire) -> None:
    words = ["tcpdump", "-l", "-nn", "-e", "--immediate-mode", "-c", "1", "-i", "v0", "vlan"]
    sniffer = wire.peer.popen(*words)
    assert sniffer.stderr is not None
    while "listening" not in sniffer.stderr.readline():
        pass
    ours(wire.ours, "--vlan", "7.3", "-c", "1", "-W", "1", "10.9.0.2")
    assert "vlan 7, p 3" in sniffer.communicate(timeout=10)[0]


def test_verbose_shows_the_identifier_as_ping_does(wire: Wire) -> None:
    words = ("-n", "-v", "-e", "77", "-c", "1", "10.9.0.2")
    theirs = [line for line in run(wire.ours, "ping", *words).stdout.splitlines() if not line.startswith("ai->")]
    assert without_times(ours(wire.ours, *words).stdout) == without_times("\n".join(theirs) + "\n")


def test_every_error_of_a_flood_is_counted(routed: Routed) -> None:
    routed.router.ip("route add unreachable 10.67.0.0/16")
    out = ours(routed.client, "-f", "-c", "3", "10.67.0.1").stdout
    assert out.splitlines()[1] == ".\bE.\bE.\bE"
    assert "3 packets transmitted, 0 received, +3 errors, 100% packet loss" in out
