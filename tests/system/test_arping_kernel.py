"""`pytools arping` against the kernel over veth pairs, side by side with iputils' arping."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.root

ROOT = Path(__file__).parents[2]
OURS = ("env", f"PYTHONPATH={ROOT}", "LC_ALL=C", "--default-signal=INT", sys.executable, "-m", "pytools", "arping")
THEIRS = ("env", "LC_ALL=C", "arping")
PEER = "[02:00:00:09:00:02]"
OWNERS = {"02:00:00:00:00:0a", "02:00:00:00:00:0b"}


def ours(where, *arguments, **how):
    return where.run(*OURS, *arguments, **how)


def normal(text):
    """Without the measured times."""
    return re.sub(r"\d+\.\d{3}ms", "Tms", text)


def records(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


class Capture:
    """The frames that reach an interface from one MAC, as octets."""

    def __init__(self, namespace, interface="v0", source="02:00:00:09:00:01", protocol="arp or icmp6"):
        self._process = namespace.popen(
            *("tcpdump", "-i", interface, "--immediate-mode", "-U", "-w", "-", "-Q", "in"),
            f"ether src {source} and ({protocol})",
            text=False,
        )
        while b"listening on" not in self._process.stderr.readline():
            pass

    def frames(self):
        self._process.send_signal(signal.SIGINT)
        data, _ = self._process.communicate(timeout=10)
        at, frames = 24, []
        while at < len(data):
            length = int.from_bytes(data[at + 8 : at + 12], sys.byteorder)
            frames.append(data[at + 16 : at + 16 + length])
            at += 16 + length
        return frames


@pytest.mark.needs("arping")
@pytest.mark.parametrize(
    "arguments",
    [
        "-c 2 -I v0 10.9.0.2",
        "-c 1 10.9.0.2",
        "-f -I v0 10.9.0.2",
        "-f -c 3 -I v0 10.9.0.2",
        "-b -c 2 -I v0 10.9.0.2",
        "-c 2 -I v0 10.9.0.99",
        "-w 2 -c 1 -I v0 10.9.0.2",
        "-q -c 1 -I v0 10.9.0.2",
        "-D -c 2 -I v0 10.9.0.99",
        "-D -c 2 -I v0 10.9.0.2",
        "-D -c 1 -I v0 10.9.0.1",
        "-D -s 10.9.0.1 -c 1 -I v0 10.9.0.2",
        "-U -c 1 -I v0 10.9.0.1",
        "-A -c 1 -I v0 10.9.0.1",
        "-U -A -c 1 -I v0 10.9.0.1",
        "-s 0.0.0.0 -c 1 -I v0 10.9.0.2",
        "-c 1 -I v0 10.9.0.1",
    ],
)
@pytest.mark.needs("tcpdump")
def test_output_status_and_frames_are_those_of_iputils(wire, arguments):
    seen = []
    for program in (THEIRS, OURS):
        capture = Capture(wire.peer, protocol="arp")
        result = wire.ours.run(*program, *arguments.split())
        # Padding: the kernel of the peer sees what was sent, 42 octets.
        seen.append((normal(result.stdout), result.returncode, capture.frames()))
        wire.peer.ip("neigh flush all")
    assert seen[1] == seen[0]


@pytest.mark.parametrize(
    ("arguments", "status", "out"),
    [
        (
            "-c 2 -I v0 fd09::2",
            0,
            f"ARPING fd09::2 from fd09::1 v0\n{f'Unicast reply from fd09::2 {PEER}  Tms' + chr(10)}"
            f"Unicast reply from fd09::2 {PEER}  Tms\nSent 2 probes (1 broadcast(s))\nReceived 2 response(s)\n",
        ),
        (
            "-c 1 fd09::2",
            0,
            f"ARPING fd09::2 from fd09::1 v0\nUnicast reply from fd09::2 {PEER}  Tms\n"
            "Sent 1 probes (1 broadcast(s))\nReceived 1 response(s)\n",
        ),
        (
            "-c 1 -I v0 fd09::99",
            1,
            "ARPING fd09::99 from fd09::1 v0\nSent 1 probes (1 broadcast(s))\nReceived 0 response(s)\n",
        ),
        (
            "-D -c 1 -I v0 fd09::99",
            0,
            "ARPING fd09::99 from :: v0\nSent 1 probes (1 broadcast(s))\nReceived 0 response(s)\n",
        ),
        (
            "-D -I v0 fd09::2",
            1,
            f"ARPING fd09::2 from :: v0\nBroadcast reply from fd09::2 {PEER}  Tms\n"
            "Sent 1 probes (1 broadcast(s))\nReceived 1 response(s) (1 broadcast(s))\n",
        ),
        (
            "-c 1 -I v0 -s fd09::77 fd09::2",
            0,
            f"ARPING fd09::2 from fd09::77 v0\nUnicast reply from fd09::2 {PEER}  Tms\n"
            "Sent 1 probes (1 broadcast(s))\nReceived 1 response(s)\n",
        ),
    ],
)
def test_ipv6_targets_by_neighbour_solicitation(wire, arguments, status, out):
    result = ours(wire.ours, *arguments.split())
    assert (normal(result.stdout), result.stderr, result.returncode) == (out, "", status)


def test_a_link_local_target_with_its_zone(wire):
    peer = re.search(r"inet6 (fe80::\S+)/64", wire.peer.ip("-6 addr show dev v0 scope link")).group(1)
    result = ours(wire.ours, "-c", "1", f"{peer}%v0")
    assert f"Unicast reply from {peer} {PEER}" in result.stdout
    assert result.returncode == 0


def test_a_name_with_both_families_is_asked_by_arp_and_with_6_by_solicitation(wire):
    folder = Path("/etc/netns", wire.ours.name)
    folder.mkdir(parents=True)
    try:
        folder.joinpath("hosts").write_text("fd09::2 both\n10.9.0.2 both\n")
        assert ours(wire.ours, "-c", "1", "both").stdout.startswith("ARPING 10.9.0.2 from 10.9.0.1 v0\n")
        assert ours(wire.ours, "-6", "-c", "1", "both").stdout.startswith("ARPING fd09::2 from fd09::1 v0\n")
    finally:
        folder.joinpath("hosts").unlink()
        folder.rmdir()


def test_an_unsolicited_advertisement_updates_the_kernels_neighbour(wire):
    wire.peer.ip("neigh replace fd09::1 lladdr 02:00:00:00:00:ee dev v0 nud stale")
    wire.peer.ip("neigh replace 10.9.0.1 lladdr 02:00:00:00:00:ee dev v0 nud stale")
    for target in ("fd09::1", "10.9.0.1"):
        assert ours(wire.ours, "-U", "-c", "1", "-I", "v0", target).returncode == 0
    table = wire.peer.ip("neigh show dev v0")
    assert "fd09::1 lladdr 02:00:00:09:00:01" in table
    assert "10.9.0.1 lladdr 02:00:00:09:00:01" in table


def test_a_source_that_nobody_has(wire):
    result = ours(wire.ours, "-c", "1", "-I", "v0", "-s", "10.9.0.77", "10.9.0.2")
    assert result.returncode == 0
    assert result.stdout.startswith("ARPING 10.9.0.2 from 10.9.0.77 v0\nUnicast reply from 10.9.0.2 " + PEER)


@pytest.mark.parametrize("target", ["10.9.0.2", "fd09::2"])
def test_another_source_mac_is_listened_for(wire, target):
    result = ours(wire.ours, "-c", "2", "-I", "v0", "--source-mac", "02:aa:bb:cc:dd:ee", target)
    assert "Received 2 response(s)" in result.stdout
    wire.ours.run("ping", "-c", "1", "-W", "1", "10.9.0.2")


@pytest.mark.parametrize("target", ["10.9.0.2", "fd09::2"])
def test_a_vlan_tag_with_priority(wire, target):
    """The peer has no such VLAN; tests/system/test_host_kernel.py has a host that answers in one."""
    capture = Capture(wire.peer, protocol="vlan 5")
    result = ours(wire.ours, "-c", "1", "-I", "v0", "--vlan", "5", "--pcp", "3", target)
    assert result.returncode == 1, result.stdout
    assert [frame[12:16] for frame in capture.frames()] == [b"\x81\x00" + (3 << 13 | 5).to_bytes(2, "big")]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [("-T 10.9.0.2", "10.9.0.2"), ("-T fd09::2", "fd09::2"), ("-6", None), ("", None)],
)
def test_a_mac_as_target(wire, arguments, answer):
    wire.peer.sysctl(net__ipv4__icmp_echo_ignore_broadcasts=0)
    result = ours(wire.ours, "-c", "1", "-I", "v0", "02:00:00:09:00:02", *arguments.split())
    assert result.returncode == 0, result.stdout + result.stderr
    answer = answer or ("10.9.0.2" if arguments == "" else r"fe80::\S+")
    assert re.search(rf"^Unicast reply from {answer} \[02:00:00:09:00:02\]  \d+\.\d+ms$", result.stdout, re.M)
    assert "Sent 1 probes (0 broadcast(s))" in result.stdout


@pytest.fixture
def bridged(namespace):
    """Ours, and two hosts with the same addresses, on one bridge in a fourth namespace."""
    switch, us = namespace("switch"), namespace("us")
    switch.ip("link add br0 type bridge")
    switch.ip("link set br0 up")
    hosts = [(us, "1", "02:00:00:00:00:01")]
    hosts += [(namespace(f"h{mac[-1]}"), "5", mac) for mac in sorted(OWNERS)]
    for number, (side, last, mac) in enumerate(hosts):
        side.ip(f"link add v0 type veth peer name p{number} netns {switch.name}")
        side.ip(f"link set v0 address {mac}")
        side.sysctl(net__ipv6__conf__v0__accept_dad=0)
        switch.ip(f"link set p{number} master br0 up")
        side.ip("link set v0 up")
        side.ip(f"addr add 10.9.0.{last}/24 dev v0")
        side.ip(f"addr add fd09::{last}/64 dev v0 nodad")
    return us, hosts[1][0], hosts[2][0]


@pytest.mark.parametrize("target", ["10.9.0.5", "fd09::5"])
def test_two_owners_are_named_with_both_macs(bridged, target):
    us, _, _ = bridged
    result = ours(us, "-d", "-c", "2", "-I", "v0", target)
    line = re.search(rf"^Duplicate address {target}: \[(.*)\] and \[(.*)\] \(both answer\)$", result.stdout, re.M)
    assert line, result.stdout
    assert {mac.lower() for mac in line.groups()} == OWNERS
    assert "Received 4 response(s)" in result.stdout
    assert result.returncode == 1


@pytest.mark.parametrize("targets", ["10.9.0.0/28", "fd09::/124"])
def test_a_scan_finds_the_owners_and_flags_duplicates(bridged, targets):
    us, _, _ = bridged
    result = ours(us, "-I", "v0", "--rate", "500", "--json", targets)
    out = records(result)
    assert {r["mac"] for r in out if r["event"] == "reply"} == OWNERS
    (conflict,) = [r for r in out if r["event"] == "conflict"]
    assert set(conflict["macs"]) == OWNERS
    end = out[-1]
    assert (end["answered_count"], end["duplicate_count"], end["exit_status"], result.returncode) == (1, 1, 0, 0)


@pytest.mark.parametrize("target", ["10.9.0.5", "fd09::5"])
def test_watching_tells_of_the_conflict(bridged, target):
    us, _, _ = bridged
    result = ours(us, "--watch", "-w", "2", "-i", "1", "-I", "v0", target)
    lines = [line for line in result.stdout.splitlines() if "Duplicate address" in line]
    assert len(lines) == 1
    assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} Duplicate address " + target, lines[0])
    assert all(mac.upper() in lines[0] for mac in OWNERS)
    assert result.returncode == 1


def test_watching_everybody_hears_a_conflict_by_itself(bridged):
    us, one, other = bridged
    process = us.popen(*OURS, "--watch", "-w", "6", "-I", "v0")
    process.stdout.readline()
    for side in (one, other, one, other):
        side.run(*THEIRS, "-U", "-c", "1", "-I", "v0", "10.9.0.5")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert "Duplicate address 10.9.0.5" in out, out + err
    assert process.returncode == 1


def test_somebody_with_our_own_address_is_heard(bridged):
    us, one, _ = bridged
    process = us.popen(*OURS, "--watch", "-I", "v0")
    process.stdout.readline()
    one.ip("addr add 10.9.0.1/24 dev v0")
    one.run(*THEIRS, "-U", "-c", "1", "-I", "v0", "10.9.0.1")
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert re.search(r"Duplicate address 10\.9\.0\.1: \[02:00:00:00:00:01\] and .*\(it is ours\)$", line)


def test_somebody_who_advertises_our_own_ipv6_address_is_heard(bridged):
    us, one, _ = bridged
    process = us.popen(*OURS, "--watch", "-I", "v0")
    process.stdout.readline()
    assert ours(one, "-U", "-c", "1", "-I", "v0", "fd09::1").returncode == 0
    line = process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert re.search(r"Duplicate address fd09::1: \[02:00:00:00:00:01\] and .*\(it is ours\)$", line)


@pytest.mark.parametrize(
    ("target", "status", "verdict"),
    [("10.9.0.5", 1, "in use"), ("10.9.0.50", 0, "free"), ("fd09::5", 1, "in use"), ("fd09::50", 0, "free")],
)
def test_acd_against_the_kernel(bridged, target, status, verdict):
    us, _, _ = bridged
    result = ours(us, "--acd", "-I", "v0", target)
    assert f"{target} is {verdict}" in result.stdout
    assert result.returncode == status


def test_acd_meets_the_kernels_own_detection_of_the_same_ipv6_address(bridged):
    """The kernel of one host begins to use the address while we probe for it: its probe is a conflict."""
    us, one, _ = bridged
    one.sysctl(net__ipv6__conf__v0__accept_dad=1, net__ipv6__conf__v0__router_solicitation_delay=0)
    process = us.popen(*OURS, "--acd", "-I", "v0", "-c", "3", "--json", "fd09::50")
    while '"sent"' not in process.stdout.readline():
        pass
    one.ip("addr add fd09::50/64 dev v0")
    out, err = process.communicate(timeout=20)
    assert '"verdict":"in use"' in out, out + err
    assert '"mac":"02:00:00:00:00:0a"' in out
    assert process.returncode == 1


def test_times_are_honest(wire):
    """A veth pair takes some ten microseconds; iputils adds half a millisecond of its own."""
    out = records(ours(wire.ours, "--json", "-c", "20", "-i", "0.01", "-I", "v0", "10.9.0.2"))
    times = sorted(r["rtt_ms"] for r in out if r["event"] == "reply")
    assert len(times) == 20
    assert 0.001 < times[10] < 0.5


@pytest.mark.parametrize(
    ("prepare", "arguments", "line"),
    [
        ("", "-I nodev 10.9.0.2", "Device nodev not available."),
        ("", "-I lo 10.9.0.2", 'Interface "lo" is not ARPable'),
        ("", "-I lo -D 10.9.0.2", 'Interface "lo" is not ARPable'),
        ("link set v0 down", "-I v0 10.9.0.2", 'Interface "v0" is down'),
        ("link set v0 down", "-D -I v0 10.9.0.2", 'Interface "v0" is down'),
        ("", "10.99.0.1", "connect: Network is unreachable"),
        ("", "no.such.host.invalid", "no.such.host.invalid: "),
        ("addr flush dev v0", "-I v0 10.9.0.2", "no source address on v0 (give -s, or -0 for none)"),
    ],
)
def test_what_can_not_be_asked(wire, prepare, arguments, line):
    if prepare:
        wire.ours.ip(prepare)
    result = ours(wire.ours, "-c", "1", *arguments.split())
    assert (result.stdout, result.returncode) == ("", 2)
    assert result.stderr.startswith(f"pytools arping: {line}"), result.stderr
    assert result.stderr.count("\n") == 1


def test_a_pulled_cable_is_neither_free_nor_in_use(wire):
    wire.peer.ip("link set v0 down")
    result = ours(wire.ours, "-D", "-c", "1", "-I", "v0", "10.9.0.99")
    assert (result.stdout, result.returncode) == ("", 2)
    assert result.stderr == 'pytools arping: Interface "v0" has no carrier (is the cable in?)\n'


@pytest.mark.parametrize("side", ["ours", "peer"])
def test_an_interface_that_goes_down_in_the_middle(wire, side):
    process = wire.ours.popen(*OURS, "-D", "-w", "3", "-i", "0.2", "-I", "v0", "10.9.0.99")
    process.stdout.readline()
    getattr(wire, side).ip("link set v0 down")
    out, err = process.communicate(timeout=10)
    assert process.returncode == 2, out + err
    assert err.count("\n") == 1
    assert "v0" in err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM])
def test_signals_print_the_summary(wire, number):
    process = wire.ours.popen(*OURS, "-I", "v0", "10.9.0.2")
    process.stdout.readline(), process.stdout.readline()
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=10)
    assert re.search(r"Received \d+ response\(s\)\n$", out), out + err
    assert (err, process.returncode) == ("", 0)


def test_without_permission_it_says_so(nobody):
    result = nobody.run("-m", "pytools", "arping", "-c", "1", "-I", "lo", "127.0.0.1")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1


def test_privileges_are_gone_while_it_runs(wire):
    process = wire.ours.popen(*OURS, "-I", "v0", "10.9.0.2")
    process.stdout.readline(), process.stdout.readline()
    pid = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=False
    ).stdout.split() or [str(process.pid)]
    status = Path(f"/proc/{pid[0]}/status").read_text()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert re.search(r"^Uid:\s+(?!0\b)\d+", status, re.M)
    assert re.search(r"^CapPrm:\s+0+$", status, re.M)
