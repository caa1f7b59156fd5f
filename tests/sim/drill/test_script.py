"""The reader: constructs of packetdrill's language, and errors that name their place."""

import pytest

from pytools.sim.drill.script import ScriptError, parse
from pytools.sim.drill.syntax import ANY, Apply, Call, Code, Command, PacketStep
from pytools.units import MS, SECOND


def one(text):
    events = parse(text).events
    assert len(events) == 1
    return events[0]


def packet(text) -> PacketStep:
    action = one(text).action
    assert isinstance(action, PacketStep)
    return action


@pytest.mark.parametrize(
    ("text", "kind", "earliest", "latest", "until"),
    [
        ("0 close(3) = 0", "=", 0, None, None),
        ("1.5 close(3) = 0", "=", 1500 * MS, None, None),
        ("+.25 close(3) = 0", "+", 250 * MS, None, None),
        ("* > . 1:1(0) ack 1", "*", 0, None, None),
        ("+0~+.2 > . 1:1(0) ack 1", "+", 0, 200 * MS, None),
        ("1~2 > . 1:1(0) ack 1", "=", SECOND, 2 * SECOND, None),
        ("+0...0.2 read(3, ..., 10) = 10", "+", 0, None, 200 * MS),
        ("0.1...0.3 read(3, ..., 10) = 10", "=", 100 * MS, None, 300 * MS),
        ("0...1.5 read(3, ..., 10) = 10", "=", 0, None, 1500 * MS),
    ],
)
def test_times(text, kind, earliest, latest, until):
    when = one(text).when
    assert (when.kind, when.earliest, when.latest, when.until) == (kind, earliest, latest, until)


@pytest.mark.parametrize("flags", ["S", "S.", ".", "P.", "FP.", "R", "R.", "SEW", "SEWA", "SE.", "EAP.", "-", "PU."])
def test_flags(flags):
    assert packet(f"0 < {flags} 1:1(0) ack 1 win 5").tcp.flags == flags


@pytest.mark.parametrize("flags", ["5.", "P5.", "F2.", "P.5", ".5"])
def test_flags_with_the_counter_of_accurate_ecn(flags):
    assert packet(f"0 > {flags} 1:1(0) ack 1").tcp.flags == flags


def test_a_segment_with_everything():
    step = packet("+0 < [ect0] P. 1:1001(1000) ack 77 win 257 urg 5 <mss 1000,sackOK,TS val 5 ecr 6,nop,wscale 7>")
    assert (step.inbound, step.ecn) == (True, "ect0")
    assert (step.tcp.seq, step.tcp.length, step.tcp.ack, step.tcp.window, step.tcp.urgent) == (1, 1000, 77, 257, 5)
    assert step.tcp.options == [("mss", (1000,)), ("sackOK", ()), ("TS", (5, 6)), ("nop", ()), ("wscale", (7,))]


def test_options_that_do_not_matter():
    assert packet("0 > S 0:0(0) <...>").tcp.options_any


def test_sack_blocks():
    step = packet("0 < . 1:1(0) ack 1 win 5 <sack 1001:2001 3001:4001,nop,nop>")
    assert step.tcp.options[0] == ("sack", ((1001, 2001), (3001, 4001)))


def test_fast_open_cookies():
    assert packet("0 < S 0:0(0) win 5 <FO abcd1234,nop,nop>").tcp.options[0] == ("FO", ("abcd1234",))
    assert packet("0 < S 0:0(0) win 5 <FO,nop,nop>").tcp.options[0] == ("FO", ("",))
    assert packet("0 > S. 0:0(0) ack 1 <FO TFO_COOKIE,nop,nop>").tcp.options[0] == ("FO", ("TFO_COOKIE",))


def test_accurate_ecn_counters():
    step = packet("0 < . 1:1(0) ack 1 win 5 <ECN e1b 1 ceb 0 e0b 2,nop>")
    assert step.tcp.options[0] == ("ECN", (("e1b", 1), ("ceb", 0), ("e0b", 2)))


def test_timestamps_that_may_be_anything():
    assert packet("0 > S 0:0(0) <TS val ... ecr 0>").tcp.options == [("TS", (ANY, 0))]


def test_a_range_of_segment_sizes():
    assert packet("0 > S 0:0(0) <mss 1440~1460>").tcp.options == [("mss", (1440, 1460))]


@pytest.mark.parametrize("text", ["5001 > 80: S 0:0(0) win 5", "5001 > 80 S 0:0(0) win 5"])
def test_ports_of_the_scripts_own(text):
    assert packet(f"0 < {text}").ports == (5001, 80)


@pytest.mark.parametrize(
    ("text", "ecn", "tos", "ttl"),
    [("[ce]", "ce", None, None), ("(tos 0x10)", None, 16, None), ("[ttl 64]", None, None, 64)],
)
def test_ip_fields(text, ecn, tos, ttl):
    step = packet(f"0 > {text} . 1:1(0) ack 1")
    assert (step.ecn, step.tos, step.ttl) == (ecn, tos, ttl)


def test_icmp_errors():
    icmp = packet("0 < icmp unreachable frag_needed mtu 1040 [1:1461(1460)]").icmp
    assert (icmp.type, icmp.code, icmp.mtu, icmp.quoted_seq) == ("unreachable", "frag_needed", 1040, 1)
    icmp = packet("0 < icmpv6 packet_too_big mtu 1300 [udp (10)]").icmp
    assert (icmp.type, icmp.code, icmp.mtu, icmp.protocol, icmp.quoted_length) == (
        "packet_too_big",
        "",
        1300,
        "udp",
        10,
    )


def test_datagrams():
    assert packet("0 < udp (10)").udp_length == 10
    assert packet("0 > udp 5 > 6 (20)").ports == (5, 6)


def test_a_call_with_structures():
    call = one("+0 poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLOUT}], 1, 0) = 1").action
    assert isinstance(call, Call)
    (entry,) = call.arguments[0]
    assert (entry["fd"], entry["revents"]) == (4, "POLLOUT")
    assert isinstance(entry["events"], Apply)


def test_a_message_header():
    call = one(
        "0 recvmsg(3, {msg_name(...)=..., msg_iov(1)=[{...,0}], msg_flags=MSG_ERRQUEUE|MSG_TRUNC,"
        " msg_control=[{cmsg_level=SOL_TCP, cmsg_type=TCP_CM_INQ, cmsg_data={ee_errno=0, ee_info=1}}]}, 0) = 0"
    ).action
    assert call.arguments[1]["msg_iov"] == [(ANY, 0)]


def test_a_star_after_a_number_is_a_time_or_a_factor():
    assert one("0 write(3, ..., 2*1000) = 2000").action.arguments[2] == 2000
    first, second = parse("0 write(3, ..., 10) = 10\n* > P. 1:11(10) ack 1").events
    assert (first.action.result, second.when.kind) == (10, "*")


def test_an_errno_and_its_words():
    call = one("0 read(3, ..., 5) = -1 EAGAIN (Resource temporarily unavailable)").action
    assert (call.result, call.errno) == (-1, "EAGAIN")
    assert one('0 setsockopt(3, SOL_TCP, 33, "", 3) = -1 (Invalid Argument)').action.errno is None
    assert one("0 fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)").action.result == 2


def test_strings_with_octets():
    call = one(r'0 setsockopt(3, SOL_TCP, TCP_FASTOPEN_KEY, "\xa1\x00b", 3) = 0').action
    assert call.arguments[3] == "\xa1\0b"


def test_commands_and_code_are_kept_as_text():
    events = parse("`./defaults.sh\n sysctl -q net.ipv4.tcp_sack=0`\n+0 %{ assert tcpi_rtt > 0, tcpi_rtt }%").events
    assert isinstance(events[0].action, Command)
    assert isinstance(events[1].action, Code)


def test_options_and_defines():
    script = parse('--ip_version=ipv6\n--tolerance_usecs=50000\n--send_omit_free\t// why\n-D CC="reno"\n--define=X=7\n')
    assert script.options == {"ip_version": "ipv6", "tolerance_usecs": "50000", "send_omit_free": ""}
    assert script.defines == {"CC": '"reno"', "X": "7"}


def test_comments_are_skipped():
    script = parse("// one\n/* two\n * three */\n# four\n0 close(3) = 0 // five\n")
    assert len(script.events) == 1


@pytest.mark.parametrize(
    ("text", "place", "word"),
    [
        ("0 close(3) = 0\n   +0 < Q 1:1(0)", "2:9", "unknown packet"),
        ("0 < S 0:0(0) <mss 1000,foo 5>", "1:24", "foo"),
        ("0 < S 0:10(5) win 5", "1:14", "0:10"),
        ("0 close(3 = 0", "1:11", "expected"),
        ("0 < [dscp 4] . 1:1(0)", "1:6", "dscp"),
        ("0 frobnicate", "1:3", "frobnicate"),
        ("0 %{ assert 1", "1:5", "missing"),
    ],
)
def test_what_is_not_known_is_an_error_with_its_place(text, place, word):
    with pytest.raises(ScriptError) as caught:
        parse(text, "x.pkt")
    assert str(caught.value).startswith(f"x.pkt:{place}")
    assert word in str(caught.value)
