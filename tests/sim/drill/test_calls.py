"""System calls of a script on our sockets, beside those that the conformance scripts make."""

import pytest

from pytools.sim.drill.runner import Runner, ScriptFailedError
from pytools.sim.drill.script import parse

SERVER = """
    0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
   +0 bind(3, ..., ...) = 0
   +0 listen(3, 1) = 0
   +0 < S 0:0(0) win 32792 <mss 1000,sackOK,nop,nop,nop,wscale 7>
   +0 > S. 0:0(0) ack 1 <...>
  +.1 < . 1:1(0) ack 1 win 257
   +0 accept(3, ..., ...) = 4
"""


def run(body, server=SERVER):
    Runner(parse(server + body)).run()


@pytest.mark.parametrize(
    "body",
    [
        "+0 close(9) = -1 EBADF (x)",
        "+0 read(9, ..., 10) = -1 EBADF (x)",
        "+0 listen(4, 1) = -1 EINVAL (x)",
        "+0 accept(4, ..., ...) = -1 EINVAL (x)",
        "+0 send(4, ..., 0, 0) = 0",
        "+0 getsockopt(4, SOL_TCP, 9999, [1], [4]) = -1 ENOPROTOOPT (x)",
        "+0 fcntl(4, F_GETFL) = 2",
        '+0 setsockopt(4, SOL_TCP, TCP_CONGESTION, "reno", 4) = 0\n'
        '+0 getsockopt(4, SOL_TCP, TCP_CONGESTION, "reno", [4]) = 0',
        "+0 setsockopt(4, SOL_SOCKET, SO_MARK, [7], 4) = 0\n+0 getsockopt(4, SOL_SOCKET, SO_MARK, [7], [4]) = 0",
        "+0 setsockopt(4, SOL_SOCKET, SO_ZEROCOPY, [1], 4) = 0",
        "+0 sendto(4, ..., 0, MSG_FASTOPEN, AF_UNSPEC, ...) = -1 EOPNOTSUPP (x)",
        '+0 write(4, "hello", 5) = 5\n+0 > P. 1:6(5) ack 1',
        "+0 sendmsg(4, {msg_name(...)=..., msg_iov(2)=[{..., 10}, {..., 20}], msg_flags=0}, 0) = 30\n"
        "+0 > P. 1:31(30) ack 1",
        "+0 < P. 1:11(10) ack 1 win 257\n+0 > . 1:1(0) ack 11\n"
        "+0 recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 100}], msg_flags=0}, 0) = 10",
        "+0 pipe([5, 6]) = 0\n+0 < P. 1:101(100) ack 1 win 257\n+0 > . 1:1(0) ack 101\n"
        "+0 splice(4, NULL, 6, NULL, 60, 0) = 60\n+0 splice(5, NULL, 4, NULL, 99, 0) = 60\n+0 > P. 1:61(60) ack 101",
    ],
)
def test_the_call_does_what_linux_does(body):
    run(body)


def test_a_peer_of_an_epoll_descriptor_comes_and_goes():
    run(
        """
   +0 epoll_create(1) = 5
   +0 epoll_ctl(5, EPOLL_CTL_MOD, 4, {events=EPOLLOUT, fd=4}) = -1 ENOENT (x)
   +0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLOUT|EPOLLONESHOT, fd=4}) = 0
   +0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLOUT, fd=4}) = -1 EEXIST (x)
   +0 epoll_wait(5, {events=EPOLLOUT, fd=4}, 1, 0) = 1
   +0 epoll_wait(5, {events=0, ptr=0}, 1, 0) = 0
   +0 epoll_ctl(5, EPOLL_CTL_MOD, 4, {events=EPOLLIN, fd=4}) = 0
   +0...0.1 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 1000) = 1
  +.1 < P. 1:11(10) ack 1 win 257
    * > . 1:1(0) ack 11
   +0 epoll_ctl(5, EPOLL_CTL_DEL, 4, {events=0, fd=4}) = 0
   +0...0.2 epoll_wait(5, {events=0, ptr=0}, 1, 200) = 0
"""
    )


def test_a_wrong_event_is_shown():
    with pytest.raises(ScriptFailedError, match="revents of 4: expected 0x1, found 0x4"):
        run("+0 poll([{fd=4, events=POLLOUT, revents=POLLIN}], 1, 0) = 1")


def test_a_timeout_of_sending():
    run(
        """
   +0 setsockopt(4, SOL_SOCKET, SO_SNDBUF, [3000], 4) = 0
   +0 setsockopt(4, SOL_SOCKET, SO_SNDTIMEO, {tv_sec=0, tv_usec=100000}, 16) = 0
   +0...0.1 write(4, ..., 9000) = 6000
  +.1...0.2 write(4, ..., 9000) = -1 EAGAIN (x)
"""
    )


def test_datagrams_in_both_directions():
    run(
        """
   +0...0.1 recvfrom(3, ..., 5, MSG_TRUNC, ..., ...) = 10
  +.1 < udp (10)
   +0 sendto(3, ..., 20, 0, {sa_family = AF_INET, sin_port = htons(33333), sin_addr = inet_addr("192.0.2.1")}, ...) = 20
   +0 > udp (20)
   +0 recvfrom(3, ..., 5, MSG_DONTWAIT, ..., ...) = -1 EAGAIN (x)
   +0 write(3, ..., 5) = -1 EDESTADDRREQ (x)
   +0 close(3) = 0
""",
        server="0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3\n+0 bind(3, ..., ...) = 0\n",
    )


def test_an_arriving_super_segment_is_taken_as_one():
    run("+0 < P. 1:20001(20000) ack 1 win 257\n* > . 1:1(0) ack 20001\n+0 read(4, ..., 30000) = 20000")
