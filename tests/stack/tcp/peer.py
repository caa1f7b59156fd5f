"""A stack with one TCP socket and a hand-made peer: segments go in as octets, answers come out decoded."""

import contextlib
from random import Random

from pytools.engine import CHECKSUM_VERIFIED, RAW_IP, Port, RxMeta
from pytools.stack import sockets as so
from pytools.stack import stack as stack_module
from pytools.stack.routes import Route
from pytools.stack.sockets import StreamSocket
from pytools.stack.tcp import state as st
from pytools.stack.tcp.tcp import Tcp
from pytools.units import MS, SECOND
from pytools.wire import ipv4, tcp
from pytools.wire.addr import Network, parse_ip
from pytools.wire.gso import finish
from pytools.wire.tcp import ACK, FIN, SYN

OURS, FAR = parse_ip("10.0.0.10"), parse_ip("10.0.0.2")
PORT, FAR_PORT = 80, 5000
OPTIONS = bytes.fromhex("020405b4 0402 080a0000000a00000000 01 030307".replace(" ", ""))
MASK = 0xFFFFFFFF


class Peer:
    """10.0.0.2 port 5000; its ISN is 1000. `sent` are the segments that our side sent, as TcpHeaders."""

    def __init__(self, seed=1, *, backlog=5, shared=False, **settings):
        self.now = 10 * SECOND
        self.stack = stack_module.Stack(Random(seed))
        self.stack.add_port(Port(0, "tun0", RAW_IP, 1500))
        self.stack.add_address(0, OURS, 24, shared=shared)
        self.stack.add_route(Route(Network(bytes(4), 0), 0))
        self.tcp = self.stack.install(6, Tcp)
        for name, value in settings.items():
            setattr(self.tcp.config, name, value)
        self.backlog = backlog
        self.sent = []
        self.events = []
        self.socket = None
        self.iss, self.nxt = 0, 1000

    # What the peer does.

    def frame(self, flags, seq=None, ack=None, data=b"", options=b"", window=65535, src=FAR, sport=None, urg=0):
        """A finished packet; numbers are absolute."""
        seq = self.nxt if seq is None else seq
        ack = self.iss + 1 if ack is None else ack
        dport, sport = self.tcp_port, sport or self.far_port
        header = tcp.encode(sport, dport, seq & MASK, ack & MASK, flags, window, options, urgent_pointer=urg)
        segment = tcp.finish(src, OURS, header + data)
        return ipv4.encode(src, OURS, 6, len(segment)) + segment

    @property
    def far_port(self):
        connection = self.socket.connection if self.socket is not None else None
        return connection.key[3] if connection is not None else FAR_PORT

    @property
    def tcp_port(self):
        connection = self.socket.connection if self.socket is not None else None
        return connection.key[1] if connection is not None else PORT

    def says(self, flags, **fields):
        """One segment arrives; returns the answers."""
        return self.puts(self.frame(flags, **fields))

    def puts(self, frame):
        before = len(self.sent)
        self.stack.on_frame(memoryview(frame), self.now, RxMeta(checksum=CHECKSUM_VERIFIED))
        self.drain()
        return self.sent[before:]

    def drain(self):
        while (out := self.stack.poll_transmit(self.now)) is not None:
            packet = finish(out)
            self.sent.append(tcp.decode(packet, 20))
        while (event := self.stack.poll_event()) is not None:
            self.events.append(event)

    def passes(self, milliseconds):
        end = self.now + round(milliseconds * MS)
        while (due := self.stack.next_deadline()) <= end:
            self.now = max(self.now, due)
            self.stack.on_deadline(self.now)
            self.drain()
        self.now = end

    # Ways into the states.

    def listen(self):
        self.listener = StreamSocket(self.tcp)
        self.listener.bind(OURS, PORT)
        self.listener.listen(self.backlog)

    def syn(self):
        (answer,) = self.says(SYN, ack=0, options=OPTIONS)
        self.iss, self.nxt = answer.seq, 1001
        return answer

    def establish(self):
        self.listen()
        self.syn()
        self.says(ACK)
        self.socket = self.listener.accept(self.now)

    def connect(self):
        self.socket = StreamSocket(self.tcp)
        with contextlib.suppress(BlockingIOError):
            self.socket.connect((FAR, PORT), self.now)
        self.drain()
        self.iss = self.sent[-1].seq

    def close(self):
        self.socket.close(self.now)
        self.drain()

    def fin(self, ack=None):
        answer = self.says(FIN | ACK, ack=ack)
        self.nxt += 1
        return answer

    def reach(self, state):
        """Bring the connection into `state`."""
        if state == st.LISTEN:
            self.listen()
        elif state == st.SYN_SENT:
            self.connect()
        elif state == st.SYN_RECEIVED:
            self.listen()
            self.syn()
        elif state != st.CLOSED:
            self.establish()
        if state in (st.CLOSE_WAIT, st.LAST_ACK):
            self.fin()
        if state in (st.FIN_WAIT_1, st.FIN_WAIT_2, st.CLOSING, st.LAST_ACK, st.TIME_WAIT):
            self.socket.shutdown(so.SHUT_WR, self.now)
            self.drain()
        if state == st.CLOSING:
            self.fin()
        if state in (st.FIN_WAIT_2, st.TIME_WAIT):
            self.says(ACK, ack=self.iss + 2)
        if state == st.TIME_WAIT:
            self.fin(ack=self.iss + 2)
        assert self.state == state
        return self

    @property
    def state(self):
        if self.tcp.time_waits:
            return st.TIME_WAIT
        if self.tcp.connections:
            return next(iter(self.tcp.connections.values())).state
        return st.LISTEN if self.tcp.listeners and self.socket is None else st.CLOSED
