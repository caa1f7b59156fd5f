"""`pytools host` as the kernel's neighbour: on a TAP, on an interface beside another host, and in the lab."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOST = ("env", f"PYTHONPATH={ROOT}", "LC_ALL=C", "--default-signal=INT", sys.executable, "-m", "pytools", "host")
root = pytest.mark.root


def start(where, *arguments):
    """A host that is ready: (process, the ready record)."""
    process = where.popen(*HOST, "--json", *arguments)
    for line in process.stdout:
        record = json.loads(line)
        if record["event"] == "ready":
            return process, record
    raise AssertionError(process.stderr.read())


def stop(process):
    """SIGINT, then the records that were still to come."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert err == ""
    return [json.loads(line) for line in out.splitlines()]


def ping(where, target, *options):
    return where.run("ping", "-n", "-c", "3", "-i", "0.05", "-W", "2", *options, target)


@root
@pytest.mark.needs("ping", "arping")
def test_the_kernel_talks_to_a_host_on_a_tap(namespace):
    one = namespace("tap")
    process, ready = start(one, "--via", "tap")
    assert ready["addresses"][:2] == ["198.18.0.10", "2001:2::10"]
    for target in ("198.18.0.10", "2001:2::10"):
        result = ping(one, target)
        assert " 3 received, 0% packet loss" in result.stdout, result.stdout + result.stderr
    result = one.run("arping", "-c", "2", "-I", ready["interface"], "198.18.0.10")
    assert f"[{ready['mac'].upper()}]" in result.stdout
    assert result.returncode == 0
    out = stop(process)
    assert [(r["from"], r["seq"]) for r in out if r["event"] == "pinged"] == [
        ("198.18.0.1", 1),
        ("198.18.0.1", 2),
        ("198.18.0.1", 3),
        ("2001:2::1", 1),
        ("2001:2::1", 2),
        ("2001:2::1", 3),
    ]
    assert (out[-1]["event"], out[-1]["exit_status"], out[-1]["ping_count"]) == ("end", 0, 6)
    assert out[-1]["arp_count"] >= 3
    assert ready["interface"] not in one.ip("link show")


@root
@pytest.mark.needs("ping", "arping")
def test_a_neighbour_talks_to_a_host_on_an_interface(wire):
    """The peer's kernel asks over a veth pair; the kernel of the host's own machine keeps out of it."""
    process, ready = start(wire.ours, "-I", "v0", "--address", "10.9.0.50/24", "--address", "fd09::50/64")
    assert ready["addresses"][:2] == ["10.9.0.50", "fd09::50"]
    assert ready["mac"] != "02:00:00:09:00:01"
    assert ready["t_ns"] < 1_000_000_000
    for target in ("10.9.0.50", "fd09::50"):
        result = ping(wire.peer, target)
        assert " 3 received, 0% packet loss" in result.stdout, result.stdout
        assert "ttl=64" in result.stdout
    result = wire.peer.run("arping", "-c", "2", "-I", "v0", "10.9.0.50")
    assert result.stdout.count(f"[{ready['mac'].upper()}]") == 2
    result = ping(wire.peer, "10.9.0.50", "-s", "4000")
    assert " 3 received, 0% packet loss" in result.stdout, "fragments"
    result = ping(wire.peer, "10.9.0.1")
    assert " 3 received, 0% packet loss, " in result.stdout, "the kernel answers for itself, once"
    assert "DUP" not in result.stdout
    end = stop(process)[-1]
    assert end["ping_count"] == 9


@root
def test_icmp_errors_for_a_closed_port(wire):
    process, _ = start(wire.ours, "-I", "v0", "--address", "10.9.0.50/24", "--address", "fd09::50/64")
    program = (
        "import socket, sys\n"
        "s = socket.socket(socket.AF_INET6 if ':' in sys.argv[1] else socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.settimeout(5); s.connect((sys.argv[1], 999)); s.send(b'x')\n"
        "try: s.recv(1)\n"
        "except ConnectionRefusedError: print('refused')\n"
    )
    for target in ("10.9.0.50", "fd09::50"):
        assert wire.peer.run(sys.executable, "-c", program, target).stdout == "refused\n"
    out = stop(process)
    assert [(r["to"], r["words"]) for r in out if r["event"] == "complained"] == [
        ("10.9.0.2", "UNREACH port"),
        ("fd09::2", "UNREACH port"),
    ]


@root
def test_udp_services(wire):
    process, _ = start(wire.ours, "-I", "v0", "--address", "10.9.0.50/24", "--services")
    program = (
        "import socket\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5)\n"
        "s.sendto(b'hello', ('10.9.0.50', 7)); print(s.recv(99).decode())\n"
    )
    assert wire.peer.run(sys.executable, "-c", program).stdout == "hello\n"
    stop(process)


@root
@pytest.mark.parametrize("target", ["10.9.0.2", "fd09::2"])
def test_an_address_that_is_in_use_is_refused(wire, target):
    length = 24 if "." in target else 64
    wire.peer.sysctl(net__ipv6__conf__v0__accept_dad=1)
    result = wire.ours.run(*HOST, "-I", "v0", "--address", f"{target}/{length}")
    assert result.returncode == 1, result.stdout
    assert f"conflict: {target} is used by [02:00:00:09:00:02] too (given up)" in result.stdout
    assert result.stderr == f"host: {target} is in use by 02:00:00:09:00:02\n"
    assert "ready" not in result.stdout


@root
def test_without_probes_nobody_is_asked(wire):
    process, ready = start(wire.ours, "-I", "v0", "--address", "10.9.0.50/24", "--no-probe")
    assert ready["t_ns"] < 200_000_000
    stop(process)


@root
@pytest.mark.needs("arping")
def test_another_station_that_takes_the_address_later_is_met_with_a_defence(wire):
    process, _ = start(wire.ours, "-I", "v0", "--address", "10.9.0.50/24")
    wire.peer.ip("addr add 10.9.0.50/24 dev v0")
    for _ in range(2):
        wire.peer.run("arping", "-U", "-c", "1", "-I", "v0", "10.9.0.50")
    out, err = process.communicate(timeout=10)
    end = [json.loads(line) for line in out.splitlines()]
    assert [r["why"] for r in end if r["event"] == "conflict"] == ["defended", "given up"]
    assert (end[-1]["reason"], process.returncode) == ("conflict", 1)
    assert err == "host: 10.9.0.50 is in use by 02:00:00:09:00:02\n"


@root
def test_a_host_in_a_vlan(wire):
    process, _ = start(wire.ours, "-I", "v0", "--address", "10.9.0.50/24", "--address", "fd09::50/64", "--vlan", "5")
    arping = [*HOST[:-1], "arping", "-c", "1", "-I", "v0"]
    for target in ("10.9.0.50", "fd09::50"):
        assert wire.peer.run(*arping, "--vlan", "5", "--pcp", "3", target).returncode == 0
        assert wire.peer.run(*arping, "--vlan", "6", target).returncode == 1
        assert wire.peer.run(*arping, target).returncode == 1
    stop(process)


@root
def test_a_lower_mtu_makes_fragments(wire):
    process, _ = start(wire.ours, "-I", "v0", "--address", "10.9.0.50/24", "--mtu", "600")
    capture = wire.peer.popen("tcpdump", "-l", "-n", "-i", "v0", "-v", "icmp and src 10.9.0.50")
    while "listening" not in capture.stderr.readline():
        pass
    # DF is not set on the request, so the answer may be cut too.
    assert " 3 received" in ping(wire.peer, "10.9.0.50", "-s", "1000", "-M", "dont").stdout
    time.sleep(0.2)
    capture.send_signal(signal.SIGINT)
    out, _ = capture.communicate(timeout=10)
    assert "flags [+]" in out
    assert max(int(length) for length in re.findall(r"length (\d+)\)", out)) <= 600
    stop(process)


@root
def test_a_gateway_leads_out_of_the_network(routed):
    """A host beside the client, behind the router: the server's pings are answered through the gateway."""
    process, _ = start(routed.client, "-I", "v0", "--address", "10.9.0.50/24", "--gateway", "10.9.0.2")
    assert " 3 received" in ping(routed.server, "10.9.0.50").stdout
    stop(process)


@root
def test_the_interface_goes_away(wire):
    process, _ = start(wire.ours, "-I", "v0", "--address", "10.9.0.50/24")
    wire.ours.ip("link set v0 down")
    out, err = process.communicate(timeout=10)
    assert process.returncode == 2
    assert err.count("\n") == 1
    assert "v0" in err
    assert json.loads(out.splitlines()[-1])["event"] == "end"


@root
def test_it_survives_a_flood(wire):
    process, _ = start(wire.ours, "-I", "v0", "--address", "10.9.0.50/24", "-q")
    result = wire.peer.run("ping", "-f", "-q", "-c", "3000", "10.9.0.50")
    assert " 3000 received, 0% packet loss" in result.stdout, result.stdout
    assert stop(process)[-1]["ping_count"] == 3000


@root
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("--address", "10.9.0.1/24"), "--address 10.9.0.1: v0 has that address already"),
        (("--address", "10.77.0.1/24"), "--address 10.77.0.1: no interface has a network with it (-I names one)"),
        (("-I", "nodev", "--address", "10.77.0.1/24"), "SO_BINDTODEVICE nodev: No such device"),
        (("-I", "lo", "--address", "10.77.0.1/24"), "lo: no Ethernet there, so there can't be a second host"),
    ],
)
def test_what_can_not_be_done(wire, arguments, line):
    result = wire.ours.run(*HOST, *arguments)
    assert (result.stdout, result.returncode) == ("", 2)
    assert result.stderr == f"pytools host: {line}\n"


@root
def test_after_sigkill_no_device_is_left(namespace):
    one = namespace("kill")
    process, ready = start(one, "--via", "tap")
    assert ready["interface"] in one.ip("link show")
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(50):
        if ready["interface"] not in one.ip("link show"):
            return
        time.sleep(0.05)
    raise AssertionError(one.ip("link show"))


# --- the lab, also for ordinary users ---------------------------------------------------------------------------------


def in_lab(nobody, *command, options=()):
    result = nobody.run("-m", "pytools", "host", "--via", "lab", *options, "--", *command)
    if result.returncode == 2 and "lab: unshare" in result.stderr:
        pytest.skip(f"needs user namespaces: {result.stderr.strip()}")
    return result


@pytest.mark.needs("ping")
@pytest.mark.parametrize("target", ["10.0.0.10", "fd00::10"])
def test_a_command_on_the_kernels_side_of_the_lab_without_root(nobody, target):
    result = in_lab(nobody, "ping", "-c", "2", "-i", "0.2", target)
    assert "2 received, 0% packet loss" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0
    assert "host: 10.0.0.10, fd00::10, " in result.stderr, "our own lines are on stderr, stdout is the command's"
    assert "2 pings" in result.stderr


@pytest.mark.needs("ping")
def test_the_commands_status_is_ours(nobody):
    assert in_lab(nobody, "ping", "-c", "1", "-W", "1", "10.0.0.99").returncode == 1
    assert in_lab(nobody, "sh", "-c", "exit 7").returncode == 7
    assert in_lab(nobody, "sh", "-c", "kill -TERM $$").returncode == 128 + signal.SIGTERM
    result = in_lab(nobody, "no-such-program")
    assert result.returncode == 127
    assert "no-such-program: No such file or directory" in result.stderr


def test_json_and_a_commands_output_dont_mix(nobody):
    result = in_lab(nobody, "echo", "from the command", options=("--json",))
    assert [json.loads(line)["event"] for line in result.stdout.splitlines()][-1] == "end"
    assert "from the command" in result.stderr


def test_the_command_ends_with_the_host(nobody):
    begun = time.monotonic()
    result = in_lab(nobody, "sleep", "60", options=("-w", "0.5"))
    assert time.monotonic() - begun < 10
    assert result.returncode == 0


@root
def test_the_command_dies_with_a_killed_host(namespace):
    one = namespace("lab")
    process = one.popen(*HOST, "--via", "lab", "--", "sh", "-c", "echo $$; exec sleep 300")
    pid = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    subprocess.run(["kill", "-9", str(pid)], check=False)
    raise AssertionError("the command survived")
