"""The runner: when a script fails, and what it says then."""

import pytest

from pytools.sim.drill.runner import Runner, ScriptFailedError
from pytools.sim.drill.script import ScriptError, parse

SERVER = """
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
   +0 < S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>
   +0 > S. 0:0(0) ack 1 <...>
  +.1 < . 1:1(0) ack 1 win 257
   +0 accept(3, ..., ...) = 4
"""


def run(body, head="", **settings):
    runner = Runner(parse(head + SERVER + body, "x.pkt"), **settings)
    runner.run()
    return runner


def fails(body, head="", **settings) -> ScriptFailedError:
    with pytest.raises(ScriptFailedError) as caught:
        run(body, head, **settings)
    return caught.value


def test_a_packet_with_another_length_fails():
    failure = fails("+0 write(4, ..., 100) = 100\n+0 > P. 1:102(101) ack 1")
    assert "payload length: expected 101, found 100" in failure.detail
    assert failure.event.place.line == 10


def test_a_packet_with_other_flags_fails():
    failure = fails("+0 write(4, ..., 100) = 100\n+0 > . 1:101(100) ack 1")
    assert "flags: expected ., found P." in failure.detail


def test_a_packet_too_late_fails():
    failure = fails("+0 write(4, ..., 100) = 100\n+.1 > P. 1:101(100) ack 1")
    assert any(line.startswith("time: expected 0.200000, found 0.100000") for line in failure.detail)


def test_a_packet_that_never_leaves_fails():
    assert fails("+0 > P. 1:101(100) ack 1").what == "no packet left in time"


def test_the_tolerance_is_the_scripts():
    body = "+0 write(4, ..., 100) = 100\n+.01 > P. 1:101(100) ack 1"
    fails(body)
    run(body, head="--tolerance_usecs=10000\n")
    run(body, tolerance_ns=10_000_000)


def test_a_call_with_another_result_fails():
    assert fails("+0 write(4, ..., 100) = 99").what == "write(): expected 99, found 100"


def test_a_call_with_another_errno_fails():
    body = "+0 recv(4, ..., 1, MSG_DONTWAIT) = -1 ECONNRESET (x)"
    assert fails(body).what == "recv(): expected -1 ECONNRESET, found -1 EAGAIN"


def test_an_option_with_another_value_fails():
    failure = fails("+0 getsockopt(4, SOL_TCP, TCP_NODELAY, [1], [4]) = 0")
    assert failure.what == "expected [1], found [0]"


def test_an_assertion_that_does_not_hold_shows_its_values():
    failure = fails("+0 %{ assert tcpi_snd_cwnd == 11, tcpi_snd_cwnd }%")
    assert failure.what == "tcpi_snd_cwnd == 11  (tcpi_snd_cwnd = 10)"


def test_a_waiting_call_must_return_at_its_time():
    body = "+0...0.2 read(4, ..., 10) = 5\n+.1 < P. 1:6(5) ack 1 win 257\n+0 > . 1:1(0) ack 6"
    assert fails(body).what == "read(): expected to return at 0.300000, returned at 0.200000"
    run(body.replace("0.2", "0.1"))


def test_an_absolute_end_counts_from_the_start():
    run("0.1...0.25 read(4, ..., 10) = 5\n0.25 < P. 1:6(5) ack 1 win 257\n+0 > . 1:1(0) ack 6")


def test_a_call_waits_for_the_one_before_it():
    run(
        "+0...0.1 read(4, ..., 10) = 5\n+.1 < P. 1:6(5) ack 1 win 257\n+0 > . 1:1(0) ack 6\n"
        "+0 recv(4, ..., 10, MSG_DONTWAIT) = -1 EAGAIN (x)"
    )


def test_a_call_that_never_returns_fails():
    assert fails("+0...0.1 read(4, ..., 10) = 5").what == "the call was still blocking at the end of the script"
    assert fails("+0 read(4, ..., 10) = 5").what == "read() blocks"


def test_a_blocking_write_waits_for_all_of_it():
    run(
        "+0 setsockopt(4, SOL_SOCKET, SO_SNDBUF, [3000], 4) = 0\n"
        "+0...0.1 write(4, ..., 9000) = 9000\n"
        "+0 > P. 1:6001(6000) ack 1\n"
        "+.1 < . 1:1(0) ack 6001 win 257\n"
        "* > P. 6001:9001(3000) ack 1"
    )


def test_a_nonblocking_write_takes_what_fits():
    run(
        "+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n"
        "+0 setsockopt(4, SOL_SOCKET, SO_SNDBUF, [3000], 4) = 0\n"
        "+0 write(4, ..., 9000) = 6000\n"
        "+0 write(4, ..., 9000) = -1 EAGAIN (x)"
    )


def test_relative_times_count_from_the_end_of_the_event_before():
    run(
        "+0...0.1 read(4, ..., 10) = 5\n+.1 < P. 1:6(5) ack 1 win 257\n* > . 1:1(0) ack 6\n"
        "+.05 write(4, ..., 10) = 10\n0.25 > P. 1:11(10) ack 6"
    )


def test_super_segments_stand_for_their_segments():
    run("+0 write(4, ..., 3000) = 3000\n+0 > . 1:1001(1000) ack 1\n+0 > P. 1001:3001(2000) ack 1")


def test_segments_stand_for_a_super_segment():
    run(
        "+0 write(4, ..., 3000) = 3000\n+0 > P. 1:3001(3000) ack 1",
        head="`ethtool -K tun0 tso off gso off`\n",
    )


def test_timestamps_of_the_script_stand_for_ours():
    runner = Runner(
        parse(
            """
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
   +0 < S 0:0(0) win 32792 <mss 1000,sackOK,TS val 1000 ecr 0>
   +0 > S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 5 ecr 1000>
  +.1 < . 1:1(0) ack 1 win 32792 <nop,nop,TS val 1100 ecr 5>
   +0 accept(3, ..., ...) = 4
   +0 %{ assert 99000 < tcpi_rtt < 101000 }%
"""
        )
    )
    runner.run()


def test_both_families_and_the_mapped_one():
    for version in ("ipv4", "ipv6", "ipv4-mapped-ipv6"):
        run("+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1", head=f"--ip_version={version}\n")


def test_settings_of_the_command_line_come_before_the_scripts():
    runner = run("", head="--ip_version=ipv4\n", options={"ip_version": "ipv6", "mtu": "1400"})
    assert len(runner.machine.local) == 16
    assert runner.machine.port.mtu == 1400


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("+0 frob(4) = 0", "frob()"),
        ("+0 setsockopt(4, SOL_TCP, TCP_FROB, [1], 4) = 0", "TCP_FROB"),
        ("`rm -rf / ; frobnicate --all`", "frobnicate"),
        ("+0 %{ import os; os.system('true') }%", "not in the subset"),
        ("+0 %{ assert __import__('os') }%", "not in the subset"),
        ("+0 < icmp frob [1:1(0)]", "frob"),
        ("+0 < . 1:1(0) ack 1 win 257 {mut tcp 1 2}", "damaging"),
    ],
)
def test_what_is_not_known_names_its_place(body, word):
    with pytest.raises(ScriptError) as caught:
        run(body)
    assert str(caught.value).startswith("x.pkt:9:1: ")
    assert word in str(caught.value)


def test_commands_become_settings():
    runner = run("", head="`sysctl -q net.ipv4.tcp_sack=0\n./set_sysctls.py /proc/sys/net/ipv4/tcp_retries2=3`\n")
    assert runner.machine.tcp.config.sack is False
    assert runner.machine.tcp.config.retries2 == 3


def test_the_usual_defaults_are_known():
    runner = run("", head="`../common/defaults.sh`\n")
    assert runner.machine.tcp.config.receive_buffer_max == 15 * 1024 * 1024


def test_defines_stand_for_values():
    run("+0 setsockopt(4, SOL_TCP, WHAT, [SIZE], 4) = 0\n", head="--define=WHAT=TCP_KEEPCNT\n--define=SIZE=3\n")
