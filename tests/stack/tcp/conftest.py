"""A bench for one connection: segments in and out in packetdrill's notation, the application's calls, virtual time."""

from collections.abc import Callable
from typing import Any

import pytest

from pytools.stack.tcp import state as st
from pytools.stack.tcp.config import TcpConfig
from pytools.stack.tcp.connection import Connection
from pytools.stack.tcp.output import SegmentOut
from pytools.trace.hub import Trace
from pytools.units import MS, Ns
from pytools.wire import tcp, tcp_options
from pytools.wire.notation_tcp import format_flags, format_options, parse_segment

MASK = 0xFFFFFFFF


class Bench:
    """`iss` is ours, `irs` the peer's; numbers in the notation are relative to them."""

    def __init__(self, config: TcpConfig, iss: int, irs: int, mss: int) -> None:
        self.now: Ns = 1_000 * MS
        self.iss, self.irs = iss, irs
        self.connection = Connection(config, "test", iss, mss, 536, Trace())
        self.app = self.connection

    def receives(self, text: str, data: bytes | None = None) -> None:
        """The peer's segment arrives."""
        notation = parse_segment(text, (self.irs, self.iss))
        header = tcp.TcpHeader()
        header.seq, header.flags = notation.seq, notation.flags
        header.ack = notation.ack or 0
        header.window = 32792 if notation.window is None else notation.window
        header.urgent_pointer = notation.urgent_pointer or 0
        header.options = notation.options or b""
        payload = bytearray(data if data is not None else b"x" * notation.length)
        options = tcp_options.parse(header.options)
        if self.connection.state is st.CLOSED and header.flags & tcp.SYN and not header.flags & tcp.ACK:
            self.connection.open_passive(header, options, self.now)
        else:
            self.connection.on_segment(header, options, memoryview(payload), self.now)
        payload[:] = b"\xee" * len(payload)  # borrowed until return

    def poll(self) -> str | None:
        """The next segment that leaves, in the notation, or None."""
        out = self.connection.poll_segment(self.now, 65000)
        return None if out is None else self.text(out)

    def text(self, out: SegmentOut) -> str:
        seq = (out.seq - self.iss) & MASK
        words = f"{format_flags(out.flags)} {seq}:{(seq + out.length) & MASK}({out.length})"
        assert sum(map(len, out.parts)) == out.length
        if out.flags & tcp.ACK:
            words += f" ack {(out.ack - self.irs) & MASK}"
        words += f" win {out.window}"
        if out.flags & tcp.URG:
            words += f" urg {out.urgent}"
        if out.options:
            words += f" <{format_options(out.options, self.irs)}>"
        self.last = out
        return words

    def expects(self, text: str, *, gso: int | None = None, cause: str | None = None) -> None:
        """The next segment matches `text`; what `text` leaves out (win, options) is not looked at."""
        got = self.poll()
        assert got is not None, f"nothing left, expected {text}"
        wanted, rest = text.split(" win ")[0].split(" <")[0], text
        assert got.split(" win ")[0] == wanted
        if " win " in rest:
            assert f" win {rest.split(' win ')[1].split()[0]}" in got, got
        if "<" in rest:
            assert got.endswith(rest[rest.index("<") :]), got
        if gso is not None:
            assert self.last.gso_size == gso
        if cause is not None:
            assert self.last.cause == cause

    def expects_nothing(self) -> None:
        assert self.poll() is None

    def passes(self, milliseconds: float) -> None:
        """Time goes on; deadlines on the way fire when they are due."""
        end = self.now + round(milliseconds * MS)
        while (due := self.connection.next_deadline()) <= end:
            self.now = max(self.now, due)
            self.connection.on_deadline(self.now)
            assert self.connection.ready() or self.connection.next_deadline() > self.now
            if self.connection.ready():
                break
        else:
            self.now = end
            return
        self.left = end - self.now

    def send(self, size: int) -> None:
        assert self.connection.write(bytes(size)) == size

    def read(self, size: int = 1 << 20) -> bytes:
        return self.connection.read(size, self.now)

    @property
    def info(self) -> Any:
        return self.connection.info()

    @property
    def state(self) -> str:
        return self.connection.state


@pytest.fixture
def bench() -> Callable[..., Bench]:
    """bench(**settings) -> a closed connection on the bench."""

    def make(*, iss: int = 0, irs: int = 0, mss: int = 1460, **settings: Any) -> Bench:
        config = TcpConfig()
        for name, value in settings.items():
            setattr(config, name, value)
        return Bench(config, iss, irs, mss)

    return make


@pytest.fixture
def established(bench: Callable[..., Bench]) -> Callable[..., Bench]:
    """established(mss=1000, ...) -> passively opened; the peer's window is 257 << 7 unless `window` says otherwise."""

    def make(*, mss: int = 1000, cwnd: int = 10, window: int = 257, sack: bool = True, **settings: Any) -> Bench:
        t = bench(initial_cwnd=cwnd, timestamps=False, **settings)
        word = "sackOK" if sack else "nop,nop"
        t.receives(f"S 0:0(0) win 32792 <mss {mss},{word},nop,wscale 7>")
        t.expects("S. 0:0(0) ack 1")
        t.passes(100)
        t.receives(f". 1:1(0) ack 1 win {window}")
        assert t.state == st.ESTABLISHED
        return t

    return make
