"""The errno of every call in every state, as Linux has them (socket(7), tcp(7), connect(2), send(2), recv(2))."""

import errno

import pytest

from pytools.stack import sockets as so
from pytools.stack.sockets import StreamSocket
from pytools.stack.tcp import state as st
from pytools.wire.tcp import ACK, PSH, RST
from tests.stack.tcp.peer import FAR, OURS, PORT, Peer

OK = 0
CALLS = {
    "connect": lambda s, now: s.connect((FAR, 81), now),
    "send": lambda s, now: s.send(b"x", now),
    "recv": lambda s, now: s.recv(1, now),
    "shutdown": lambda s, now: s.shutdown(so.SHUT_WR, now),
    "getpeername": lambda s, now: s.peer(),
    "listen": lambda s, now: s.listen(1),
    "accept": lambda s, now: s.accept(now),
    "bind": lambda s, now: s.bind(OURS, 4000),
}
TABLE = {
    "fresh": {
        "connect": errno.EINPROGRESS,
        "send": errno.EPIPE,
        "recv": errno.ENOTCONN,
        "shutdown": errno.ENOTCONN,
        "getpeername": errno.ENOTCONN,
        "listen": OK,
        "accept": errno.EINVAL,
        "bind": OK,
    },
    "connecting": {
        "connect": errno.EALREADY,
        "send": errno.EAGAIN,
        "recv": errno.EAGAIN,
        "getpeername": errno.ENOTCONN,
        "listen": errno.EINVAL,
        "accept": errno.EINVAL,
        "bind": errno.EINVAL,
    },
    "established": {
        "connect": errno.EISCONN,
        "send": OK,
        "recv": errno.EAGAIN,
        "shutdown": OK,
        "getpeername": OK,
        "listen": errno.EINVAL,
        "accept": errno.EINVAL,
        "bind": errno.EINVAL,
    },
    "listening": {"connect": errno.EISCONN, "recv": errno.ENOTCONN, "accept": errno.EAGAIN, "listen": OK},
    "peer closed": {"send": OK, "recv": OK, "shutdown": OK, "getpeername": OK},
    "shut down": {"send": errno.EPIPE, "recv": errno.EAGAIN, "shutdown": OK, "getpeername": OK},
    "reset": {"send": errno.ECONNRESET, "recv": errno.ECONNRESET, "shutdown": errno.ENOTCONN},
    "reset and told": {"send": errno.EPIPE, "recv": OK, "getpeername": errno.ENOTCONN},
    "closed": {"send": errno.EBADF, "recv": errno.EBADF},
}


def in_state(name):
    """A peer whose socket is in the state called `name`."""
    peer = Peer(timestamps=False)
    if name == "fresh":
        peer.socket = StreamSocket(peer.tcp)
    elif name == "connecting":
        peer.connect()
    elif name == "listening":
        peer.listen()
        peer.socket = peer.listener
    else:
        peer.establish()
    if name == "peer closed":
        peer.fin()
    elif name == "shut down":
        peer.socket.shutdown(so.SHUT_WR, peer.now)
        peer.drain()
    elif name.startswith("reset"):
        peer.says(RST)
        if name == "reset and told":
            assert peer.socket.take_error() == errno.ECONNRESET
    elif name == "closed":
        peer.close()
    return peer


@pytest.mark.parametrize(("state", "call"), [(state, call) for state, calls in TABLE.items() for call in calls])
def test_each_call_says_what_linux_says(state, call):
    peer, wanted = in_state(state), TABLE[state][call]
    try:
        CALLS[call](peer.socket, peer.now)
        got = OK
    except OSError as error:
        got = error.errno
    assert errno.errorcode.get(got, "0") == errno.errorcode.get(wanted, "0")


def test_a_refused_connect_is_told_by_so_error_once():
    peer = Peer(timestamps=False)
    peer.connect()
    peer.says(RST | ACK, seq=0, ack=peer.iss + 1)
    assert [peer.socket.take_error() for _ in range(2)] == [errno.ECONNREFUSED, 0]


def test_what_arrived_before_a_reset_is_not_lost_to_a_reader_who_was_quick_enough():
    peer = Peer(timestamps=False)
    peer.establish()
    peer.says(PSH | ACK, data=b"hello")
    assert peer.socket.recv(100, peer.now) == b"hello"


def test_peeking_leaves_the_data():
    peer = Peer(timestamps=False)
    peer.establish()
    peer.says(PSH | ACK, data=b"hello")
    assert [peer.socket.recv(3, peer.now, so.MSG_PEEK) for _ in range(2)] == [b"hel", b"hel"]
    assert peer.socket.recv(100, peer.now) == b"hello"


def test_poll_says_what_poll_says():
    peer = Peer(timestamps=False)
    assert StreamSocket(peer.tcp).poll() == so.POLLOUT | so.POLLHUP
    peer.establish()
    assert peer.socket.poll() == so.POLLOUT
    peer.says(PSH | ACK, data=b"hello")
    peer.nxt += 5
    assert peer.socket.poll() == so.POLLOUT | so.POLLIN
    peer.socket.recv(100, peer.now)
    peer.fin()
    assert peer.socket.poll() == so.POLLOUT | so.POLLIN | so.POLLRDHUP
    peer.socket.shutdown(so.SHUT_WR, peer.now)
    assert peer.socket.poll() == so.POLLOUT | so.POLLIN | so.POLLRDHUP | so.POLLHUP


@pytest.mark.parametrize(
    ("level", "name", "value", "wanted"),
    [
        (so.SOL_SOCKET, so.SO_KEEPALIVE, 1, OK),
        (so.SOL_SOCKET, so.SO_LINGER, (1, 5), OK),
        (so.SOL_SOCKET, so.SO_LINGER, 1, errno.EINVAL),
        (so.SOL_SOCKET, 999, 1, errno.ENOPROTOOPT),
        (so.IPPROTO_TCP, so.TCP_NODELAY, 1, OK),
        (so.IPPROTO_TCP, so.TCP_KEEPIDLE, 0, errno.EINVAL),
        (so.IPPROTO_TCP, so.TCP_KEEPIDLE, 32768, errno.EINVAL),
        (so.IPPROTO_TCP, so.TCP_KEEPCNT, 128, errno.EINVAL),
        (so.IPPROTO_TCP, so.TCP_USER_TIMEOUT, -1, errno.EINVAL),
        (so.IPPROTO_TCP, so.TCP_CONGESTION, "nothing", errno.ENOENT),
        (so.IPPROTO_TCP, 999, 1, errno.ENOPROTOOPT),
        (so.IPPROTO_IP, so.IP_TTL, 0, errno.EINVAL),
        (so.IPPROTO_IP, so.IP_TTL, 256, errno.EINVAL),
        (999, 1, 1, errno.ENOPROTOOPT),
    ],
)
def test_options_refuse_what_linux_refuses(level, name, value, wanted):
    peer = Peer(timestamps=False)
    peer.establish()
    try:
        peer.socket.setsockopt(level, name, value, peer.now)
        got = OK
    except OSError as error:
        got = error.errno
    assert got == wanted


def test_one_sockets_settings_are_its_own():
    peer = Peer(timestamps=False)
    peer.establish()
    peer.socket.setsockopt(so.IPPROTO_TCP, so.TCP_KEEPIDLE, 7, peer.now)
    assert peer.listener.getsockopt(so.IPPROTO_TCP, so.TCP_KEEPIDLE) == 7200
    assert StreamSocket(peer.tcp).getsockopt(so.IPPROTO_TCP, so.TCP_KEEPIDLE) == 7200


def test_a_listeners_later_settings_do_not_reach_older_children():
    peer = Peer(timestamps=False)
    peer.establish()
    peer.listener.setsockopt(so.IPPROTO_IP, so.IP_TTL, 9, peer.now)
    assert peer.socket.getsockopt(so.IPPROTO_IP, so.IP_TTL) == 64
    assert peer.state == st.ESTABLISHED
    assert peer.socket.local() == (OURS, PORT)
