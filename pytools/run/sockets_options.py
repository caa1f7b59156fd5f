"""Socket options as octets: what setsockopt takes and getsockopt returns besides ints (socket(7), tcp(7))."""

import errno
import struct
from struct import Struct
from typing import Any, Final

from pytools.stack import sockets as so
from pytools.stack.tcp import state as st
from pytools.stack.tcp.info import TcpInfo
from pytools.units import US

STATES: Final = {
    st.ESTABLISHED: 1,
    st.SYN_SENT: 2,
    st.SYN_RECEIVED: 3,
    st.FIN_WAIT_1: 4,
    st.FIN_WAIT_2: 5,
    st.TIME_WAIT: 6,
    st.CLOSED: 7,
    st.CLOSE_WAIT: 8,
    st.LAST_ACK: 9,
    st.LISTEN: 10,
    st.CLOSING: 11,
}
"""Numbers of include/net/tcp_states.h."""
CONGESTION_STATES: Final = {"Open": 0, "Disorder": 1, "CWR": 2, "Recovery": 3, "Loss": 4}
_OPTION_BITS: Final = (("timestamps", 1), ("sack", 2), ("wscale", 4), ("ecn", 8))
_UNLIMITED: Final = 0x7FFFFFFF
CA_NAME_MAX: Final = 16

_INT: Final = Struct("=i")
_TWO_INTS: Final = Struct("=ii")
_TCP_INFO: Final = Struct("=8B24I4Q6I4Q2I2Q6I2HI")
"""struct tcp_info of include/uapi/linux/tcp.h up to tcpi_total_rto_time: 248 octets."""


def parse(level: int, name: int, value: Any) -> int | tuple[int, int] | str:
    """The value that `StreamSocket.setsockopt` wants. OSError EINVAL: too short, TypeError: neither int nor buffer."""
    if isinstance(value, int):
        if (level, name) == (so.SOL_SOCKET, so.SO_LINGER):
            raise OSError(errno.EINVAL, "SO_LINGER wants two ints")
        return int(value)
    octets = bytes(memoryview(value))
    if (level, name) == (so.IPPROTO_TCP, so.TCP_CONGESTION):
        return octets.split(b"\0")[0].decode("ascii", "replace")
    try:
        if (level, name) == (so.SOL_SOCKET, so.SO_LINGER):
            on, seconds = _TWO_INTS.unpack_from(octets)
            return int(bool(on)), seconds
        return int(_INT.unpack_from(octets)[0])
    except struct.error:
        raise OSError(errno.EINVAL, "the value is too short") from None


def as_int(value: Any) -> int:
    """What getsockopt returns without a length: the first four octets as an int."""
    if isinstance(value, int):
        return value
    return int(_INT.unpack_from(as_octets(value).ljust(4, b"\0"))[0])


def as_octets(value: Any) -> bytes:
    """What getsockopt returns with a length, before it is cut to it."""
    if isinstance(value, int):
        return _INT.pack(value)
    if isinstance(value, tuple):
        return _TWO_INTS.pack(*value)
    if isinstance(value, str):
        return value.encode("ascii").ljust(CA_NAME_MAX, b"\0")
    return pack_tcp_info(value)


def pack_tcp_info(info: TcpInfo) -> bytes:
    """struct tcp_info: times in microseconds. What we do not measure is 0."""
    options = sum(bit for name, bit in _OPTION_BITS if info.options.get(name))
    head = (
        STATES[info.state],
        CONGESTION_STATES.get(info.ca_state, 0),
        min(info.retransmits, 255),
        min(info.probes, 255),
        min(info.backoff, 255),
        options,
        info.snd_wscale | info.rcv_wscale << 4,
        0,
    )
    rto, rtt, rttvar = (ns // US for ns in (info.rto_ns, info.rtt_ns, info.rttvar_ns))
    counts = (info.unacked, info.sacked, info.lost, info.retrans_out, 0)
    unknown_instants = (0, 0, 0, 0)
    ssthresh = min(info.snd_ssthresh, _UNLIMITED)
    words = (rto, 0, info.snd_mss, info.rcv_mss, *counts, *unknown_instants, info.pmtu, info.rcv_space, rtt, rttvar)
    tail = (ssthresh, info.snd_cwnd, info.advmss, 3, 0, info.rcv_space, info.total_retrans)
    no_pacing = (1 << 64) - 1
    min_rtt = info.min_rtt_ns // US if info.min_rtt_ns else 0xFFFFFFFF
    return _TCP_INFO.pack(
        *head,
        *words,
        *tail,
        *(0, no_pacing, info.bytes_acked, info.bytes_received),
        *(info.segs_out, info.segs_in, 0, min_rtt, 0, 0),
        *(0, 0, 0, 0),
        *(0, 0),
        *(info.bytes_sent, info.bytes_retrans),
        *(0, 0, 0, min(info.snd_wnd, 0xFFFFFFFF), 0, 0),
        *(0, 0, 0),
    )
