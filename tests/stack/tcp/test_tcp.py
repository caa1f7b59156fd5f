"""What the whole of TCP does for one stack: listeners, floods, attacks, ports, TIME-WAIT, ICMP errors."""

import errno
from random import Random

import pytest

from pytools.engine import CHECKSUM_VERIFIED, Port, RxMeta
from pytools.stack import sockets as so
from pytools.stack.sockets import StreamSocket
from pytools.stack.stack import Stack
from pytools.stack.tcp import state as st
from pytools.stack.tcp.connection import ENDED
from pytools.stack.tcp.events import ConnectionNews
from pytools.stack.tcp.tcp import Tcp
from pytools.units import SECOND
from pytools.wire import icmp, ipv4
from pytools.wire.addr import parse_ip
from pytools.wire.tcp import ACK, FIN, PSH, RST, SYN, URG
from tests.stack.tcp.peer import FAR, OPTIONS, OURS, PORT, Peer


@pytest.fixture
def peer():
    return Peer()


@pytest.fixture
def plain():
    """Without timestamps, so that segments need no options."""
    return Peer(timestamps=False)


# Resets (RFC 9293 3.5.2).


def test_a_segment_for_nobody_is_reset_with_its_own_ack_number(peer):
    (reset,) = peer.says(ACK, seq=7, ack=12345, data=b"hello")
    assert (reset.flags, reset.seq) == (RST, 12345)


def test_a_syn_for_nobody_is_reset_with_an_ack_of_it(peer):
    (reset,) = peer.says(SYN, seq=7, ack=0)
    assert (reset.flags, reset.seq, reset.ack) == (RST | ACK, 0, 8)


def test_a_reset_for_nobody_is_not_answered(peer):
    assert peer.says(RST, seq=7, ack=0) == []


def test_nothing_is_reset_on_an_address_that_the_host_owns():
    assert Peer(shared=True).says(ACK, seq=7, ack=1) == []


def test_a_syn_to_the_broadcast_address_is_dropped(peer):
    peer.listen()
    frame = bytearray(peer.frame(SYN, ack=0))
    frame[16:20] = parse_ip("10.0.0.255")
    frame[10:12] = bytes(2)
    total = sum(int.from_bytes(frame[i : i + 2], "big") for i in range(0, 20, 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    frame[10:12] = (0xFFFF - total).to_bytes(2, "big")
    assert peer.puts(bytes(frame)) == []


# Listeners.


def test_a_wrong_ack_in_syn_received_is_reset_and_the_right_one_establishes(plain):
    plain.listen()
    plain.syn()
    (reset,) = plain.says(ACK, ack=plain.iss + 100)
    assert (reset.flags, reset.seq) == (RST, (plain.iss + 100) & 0xFFFFFFFF)
    plain.says(ACK)
    assert plain.state == st.ESTABLISHED


def test_a_reset_in_syn_received_leaves_the_listener(plain):
    plain.listen()
    plain.syn()
    plain.says(RST)
    assert plain.tcp.connections == {}
    plain.nxt = 1000
    assert plain.syn().flags == SYN | ACK


def test_closing_a_listener_resets_who_was_never_accepted(plain):
    plain.listen()
    plain.syn()
    plain.says(ACK)
    plain.listener.close(plain.now)
    plain.drain()
    assert plain.sent[-1].flags == RST | ACK


def test_a_full_accept_queue_ignores_the_last_ack_and_new_syns():
    peer = Peer(backlog=0, timestamps=False)
    peer.listen()
    peer.syn()
    peer.says(ACK)
    assert peer.says(SYN, seq=5, ack=0, sport=6000) == []
    peer.listener.accept(peer.now)
    (answer,) = peer.says(SYN, seq=5, ack=0, sport=6000)
    assert answer.flags == SYN | ACK


def test_the_syn_ack_comes_again_while_the_accept_queue_is_full():
    peer = Peer(backlog=0, timestamps=False)
    peer.listen()
    isns = {}
    for sport in (6000, 6001):
        (answer,) = peer.says(SYN, seq=5, ack=0, sport=sport)
        isns[sport] = answer.seq
    peer.says(ACK, seq=6, ack=isns[6000] + 1, sport=6000)
    assert peer.says(ACK, seq=6, ack=isns[6001] + 1, sport=6001) == []
    peer.sent.clear()
    peer.passes(1100)
    assert [one.flags for one in peer.sent] == [SYN | ACK]
    peer.listener.accept(peer.now)
    peer.says(ACK, seq=6, ack=isns[6001] + 1, sport=6001)
    assert peer.listener.accept(peer.now).peer() == (FAR, 6001)


def flood(peer, count):
    for number in range(count):
        src = b"\x0a\x00" + (0x0100 + number % 0xFE00).to_bytes(2, "big")
        peer.puts(peer.frame(SYN, seq=number, ack=0, options=OPTIONS, src=src, sport=1024 + number % 60000))
        peer.sent.clear()


@pytest.mark.parametrize("count", [3000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_a_syn_flood_keeps_memory_flat_and_true_clients_connect(count):
    peer = Peer(timestamps=False)
    peer.listen()
    flood(peer, count)
    assert len(peer.tcp.connections) == peer.tcp.config.syn_queue
    assert peer.listener.listener.cookies_sent >= count - peer.tcp.config.syn_queue - 10
    answer = peer.syn()
    assert answer.flags == SYN | ACK
    peer.says(PSH | ACK, data=b"hello")
    child = peer.listener.accept(peer.now)
    assert child.recv(100, peer.now) == b"hello"
    assert child.info().snd_mss == 1460


def test_an_invented_cookie_is_refused():
    peer = Peer(timestamps=False)
    peer.listen()
    flood(peer, 200)
    (reset,) = peer.says(ACK, seq=1001, ack=4711)
    assert reset.flags == RST


# Blind attacks (RFC 5961).


@pytest.mark.parametrize("offset", [1, 1000, 60000])
def test_a_reset_inside_the_window_is_challenged_only(plain, offset):
    plain.establish()
    (challenge,) = plain.says(RST, seq=plain.nxt + offset)
    assert (challenge.flags, challenge.ack) == (ACK, plain.nxt)
    assert plain.state == st.ESTABLISHED


def test_a_reset_outside_the_window_is_ignored(plain):
    plain.establish()
    assert plain.says(RST, seq=plain.nxt + 10_000_000) == []
    assert plain.state == st.ESTABLISHED


def test_the_exact_reset_ends_the_connection(plain):
    plain.establish()
    plain.says(RST)
    with pytest.raises(ConnectionResetError):
        plain.socket.recv(1, plain.now)


@pytest.mark.parametrize("offset", [-5, 0, 1000, 2**30])
def test_a_syn_in_a_connection_is_challenged_whatever_its_number(plain, offset):
    plain.establish()
    (challenge,) = plain.says(SYN, seq=plain.nxt + offset)
    assert challenge.flags == ACK
    assert plain.state == st.ESTABLISHED


@pytest.mark.parametrize("offset", [1, 2**20, -(2**24)])
def test_data_with_an_unacceptable_ack_is_not_taken(plain, offset):
    plain.establish()
    (challenge,) = plain.says(ACK, ack=plain.iss + 1 + offset, data=b"evil")
    assert challenge.flags == ACK
    with pytest.raises(BlockingIOError):
        plain.socket.recv(1, plain.now)


def test_challenges_are_limited_in_rate(plain):
    plain.establish()
    assert sum(len(plain.says(RST, seq=plain.nxt + 5)) for _ in range(100)) == 1
    plain.passes(600)
    assert len(plain.says(RST, seq=plain.nxt + 5)) == 1


# FIN in odd places.


def test_a_fin_that_lies_in_old_text_ends_nothing(plain):
    plain.establish()
    plain.says(PSH | ACK, data=b"hello")
    plain.nxt += 5
    plain.says(FIN | ACK, seq=plain.nxt - 3)
    assert plain.socket.recv(10, plain.now) == b"hello"
    with pytest.raises(BlockingIOError):
        plain.socket.recv(10, plain.now)


def test_a_fin_before_a_gap_waits_for_the_text(plain):
    plain.establish()
    plain.says(FIN | PSH | ACK, seq=plain.nxt + 5, data=b"world")
    assert plain.state == st.ESTABLISHED
    plain.says(PSH | ACK, data=b"hello")
    assert plain.socket.recv(100, plain.now) == b"helloworld"
    assert plain.socket.recv(100, plain.now) == b""
    assert plain.state == st.CLOSE_WAIT


def test_data_after_close_is_answered_by_a_reset(plain):
    plain.establish()
    plain.close()
    (reset,) = plain.says(PSH | ACK, data=b"late")
    assert reset.flags & RST


def test_closing_with_unread_text_resets(plain):
    plain.establish()
    plain.says(PSH | ACK, data=b"unread")
    plain.close()
    assert plain.sent[-1].flags == RST | ACK


def test_a_fin_obeys_a_closed_window_and_is_probed(plain):
    plain.establish()
    plain.says(ACK, window=0)
    plain.sent.clear()
    plain.socket.shutdown(so.SHUT_WR, plain.now)
    plain.drain()
    assert plain.sent == []
    plain.passes(300)
    assert [(one.flags, one.seq) for one in plain.sent] == [(ACK, plain.iss)]
    (fin,) = plain.says(ACK, window=10)
    assert fin.flags == FIN | ACK


# TIME-WAIT.


def test_time_wait_keeps_no_connection_and_answers_the_fin(plain):
    plain.reach(st.TIME_WAIT)
    assert plain.tcp.connections == {}
    (again,) = plain.says(FIN | ACK, seq=plain.nxt - 1, ack=plain.iss + 2)
    assert (again.flags, again.seq, again.ack) == (ACK, plain.iss + 2, plain.nxt)


def test_the_fin_again_starts_2_msl_again(plain):
    plain.reach(st.TIME_WAIT)
    plain.passes(50_000)
    plain.says(FIN | ACK, seq=plain.nxt - 1, ack=plain.iss + 2)
    plain.passes(50_000)
    assert plain.state == st.TIME_WAIT
    plain.passes(11_000)
    assert plain.state == st.CLOSED


def test_a_reset_does_not_cut_time_wait_short(plain):
    plain.reach(st.TIME_WAIT)
    assert plain.says(RST) == []
    assert plain.state == st.TIME_WAIT


def test_a_new_syn_beyond_the_old_numbers_opens_again_with_a_larger_isn(plain):
    plain.reach(st.TIME_WAIT)
    (answer,) = plain.says(SYN, seq=plain.nxt + 1, ack=0)
    assert answer.flags == SYN | ACK
    assert 0 < (answer.seq - plain.iss) & 0xFFFFFFFF < 2**31
    assert plain.tcp.time_waits == {}


def test_an_old_syn_is_answered_from_time_wait(plain):
    plain.reach(st.TIME_WAIT)
    (answer,) = plain.says(SYN, seq=plain.nxt - 100, ack=0)
    assert (answer.flags, answer.ack) == (ACK, plain.nxt)


def test_without_a_listener_a_new_syn_does_not_end_time_wait(plain):
    plain.reach(st.TIME_WAIT)
    plain.listener.close(plain.now)
    (answer,) = plain.says(SYN, seq=plain.nxt + 1, ack=0)
    assert answer.flags == ACK
    assert plain.state == st.TIME_WAIT


def test_closing_in_time_wait_leaves_it(plain):
    plain.reach(st.TIME_WAIT)
    plain.close()
    assert plain.state == st.TIME_WAIT


def test_the_application_learns_of_the_end_when_time_wait_begins(plain):
    plain.reach(st.TIME_WAIT)
    news = [one.news for one in plain.events if isinstance(one, ConnectionNews)]
    assert news[-1] & ENDED


# Events.


def test_a_connection_has_one_event_waiting_however_much_happens(plain):
    plain.establish()
    plain.events.clear()
    for number in range(50):
        frame = plain.frame(PSH | ACK, seq=plain.nxt + number, data=b"x")
        plain.stack.on_frame(memoryview(frame), plain.now, RxMeta(checksum=CHECKSUM_VERIFIED))
    assert sum(isinstance(one, ConnectionNews) for one in plain.stack._events) == 1


# Ports.


def bound(peer, address, port, *, reuse=False, family=so.AF_INET, v6only=False):
    one = StreamSocket(peer.tcp, family)
    one.reuse_address, one.v6only = reuse, v6only
    one.bind(address, port)
    return one


def test_an_explicit_bind_holds_the_port(peer):
    first = bound(peer, OURS, 99)
    with pytest.raises(OSError, match="EADDRINUSE"):
        bound(peer, OURS, 99)
    with pytest.raises(OSError, match="EADDRINUSE"):
        bound(peer, b"", 99)
    first.close(peer.now)
    bound(peer, OURS, 99)


def test_two_that_reuse_may_bind_but_only_one_listens(peer):
    first, second = bound(peer, OURS, 99, reuse=True), bound(peer, OURS, 99, reuse=True)
    first.listen(1)
    with pytest.raises(OSError, match="EADDRINUSE"):
        second.listen(1)
    with pytest.raises(OSError, match="EADDRINUSE"):
        bound(peer, OURS, 99, reuse=True)


def test_both_families_may_listen_on_one_port(peer):
    bound(peer, b"", 99).listen(1)
    bound(peer, b"", 99, family=so.AF_INET6, v6only=True).listen(1)
    with pytest.raises(OSError, match="EADDRINUSE"):
        bound(peer, b"", 99, family=so.AF_INET6)


def test_a_port_in_time_wait_needs_reuse(plain):
    plain.reach(st.TIME_WAIT)
    plain.close()
    plain.listener.close(plain.now)
    with pytest.raises(OSError, match="EADDRINUSE"):
        bound(plain, OURS, PORT)
    bound(plain, OURS, PORT, reuse=True)


def test_an_ephemeral_port_is_never_a_bound_one(peer):
    ports = {bound(peer, OURS, 0)._bound[1] for _ in range(50)}
    assert len(ports) == 50
    assert min(ports) >= 32768


# ICMP.


def unreachable(peer, code, seq):
    quote = peer.sent[-1]
    inner = ipv4.encode(OURS, FAR, 6, 20) + quote.source_port.to_bytes(2, "big") + PORT.to_bytes(2, "big")
    inner += seq.to_bytes(4, "big")
    message = icmp.encode(icmp.UNREACHABLE, code, 0, inner)
    return ipv4.encode(FAR, OURS, 1, len(message)) + message


@pytest.mark.parametrize(("code", "error"), [(0, errno.ENETUNREACH), (1, errno.EHOSTUNREACH), (3, errno.ECONNREFUSED)])
def test_an_icmp_error_ends_a_connect(peer, code, error):
    peer.connect()
    peer.puts(unreachable(peer, code, peer.iss))
    assert peer.socket.take_error() == error
    assert peer.state == st.CLOSED


def test_an_icmp_error_for_another_number_is_ignored(peer):
    peer.connect()
    peer.puts(unreachable(peer, 3, peer.iss + 5000))
    assert peer.state == st.SYN_SENT


def test_no_neighbour_is_a_host_unreachable():
    stack = Stack(Random(1))
    stack.add_port(Port(0, "eth0", mac=bytes.fromhex("02000000000a")))
    stack.add_address(0, OURS, 24)
    one = StreamSocket(stack.install(6, Tcp))
    with pytest.raises(BlockingIOError):
        one.connect((FAR, 80), 0)
    now = 0
    while stack.poll_transmit(now) is not None:
        pass
    while stack.next_deadline() < 20 * SECOND and one.connecting:
        now = stack.next_deadline()
        stack.on_deadline(now)
        while stack.poll_transmit(now) is not None:
            pass
    assert one.take_error() == errno.EHOSTUNREACH


# Urgent data (RFC 6093).


def test_the_urgent_octet_is_read_out_of_line(plain):
    plain.establish()
    plain.says(URG | PSH | ACK, data=b"abc!def", urg=4)
    assert plain.socket.poll() & so.POLLPRI
    assert plain.socket.recv(100, plain.now) == b"abc"
    assert plain.socket.at_mark()
    assert plain.socket.recv(1, plain.now, so.MSG_OOB) == b"!"
    assert plain.socket.recv(100, plain.now) == b"def"
    with pytest.raises(OSError, match="EINVAL"):
        plain.socket.recv(1, plain.now, so.MSG_OOB)


def test_in_line_the_urgent_octet_stays_in_the_stream(plain):
    plain.establish()
    plain.socket.setsockopt(so.SOL_SOCKET, so.SO_OOBINLINE, 1, plain.now)
    plain.says(URG | PSH | ACK, data=b"abc!def", urg=4)
    assert plain.socket.recv(100, plain.now) == b"abc"
    assert plain.socket.recv(100, plain.now) == b"!def"


def test_an_announced_urgent_octet_is_waited_for(plain):
    plain.establish()
    plain.says(URG | ACK, urg=4)
    with pytest.raises(BlockingIOError):
        plain.socket.recv(1, plain.now, so.MSG_OOB)
    plain.says(PSH | ACK, data=b"abc!")
    assert plain.socket.recv(1, plain.now, so.MSG_OOB) == b"!"


# Settings.


def test_ttl_and_tos_change_in_the_middle_of_a_connection(plain):
    plain.establish()
    other = plain.tcp.config.ttl
    plain.socket.setsockopt(so.IPPROTO_IP, so.IP_TTL, 7, plain.now)
    plain.socket.setsockopt(so.IPPROTO_IP, so.IP_TOS, 0x10, plain.now)
    plain.socket.send(b"x", plain.now)
    packet = b"".join(plain.stack.poll_transmit(plain.now).parts)
    assert (packet[8], packet[1]) == (7, 0x10)
    assert plain.tcp.config.ttl == other


def test_more_holds_back_until_the_next_write(plain):
    plain.establish()
    plain.socket.send(b"a", plain.now, so.MSG_MORE)
    plain.drain()
    plain.sent.clear()
    plain.socket.send(b"b", plain.now)
    plain.drain()
    assert [one.flags for one in plain.sent] == [PSH | ACK]


def test_what_a_cork_holds_back_leaves_in_the_end(plain):
    plain.establish()
    plain.socket.setsockopt(so.IPPROTO_TCP, so.TCP_CORK, 1, plain.now)
    plain.socket.send(b"a", plain.now)
    plain.drain()
    plain.sent.clear()
    plain.passes(250)
    assert [one.flags for one in plain.sent] == [PSH | ACK]
