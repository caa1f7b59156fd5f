"""Socket options as octets: `struct tcp_info` field by field as Linux' header places them."""

import ctypes
import socket

import pytest

from pytools.run import sockets_options as options
from pytools.stack.tcp.info import TcpInfo
from pytools.units import MS, US

U8, U32, U64 = ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint64


class LinuxTcpInfo(ctypes.Structure):
    """include/uapi/linux/tcp.h."""

    _fields_ = (
        [(name, U8) for name in "state ca_state retransmits probes backoff options wscales app_limited".split()]
        + [(name, U32) for name in "rto ato snd_mss rcv_mss unacked sacked lost retrans fackets".split()]
        + [
            (name, U32)
            for name in "last_data_sent last_ack_sent last_data_recv last_ack_recv pmtu rcv_ssthresh".split()
        ]
        + [(name, U32) for name in "rtt rttvar snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space".split()]
        + [("total_retrans", U32)]
        + [(name, U64) for name in "pacing_rate max_pacing_rate bytes_acked bytes_received".split()]
        + [(name, U32) for name in "segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out".split()]
        + [(name, U64) for name in "delivery_rate busy_time rwnd_limited sndbuf_limited".split()]
        + [(name, U32) for name in "delivered delivered_ce".split()]
        + [(name, U64) for name in "bytes_sent bytes_retrans".split()]
        + [(name, U32) for name in "dsack_dups reord_seen rcv_ooopack snd_wnd rcv_wnd rehash".split()]
        + [("total_rto", ctypes.c_uint16), ("total_rto_recoveries", ctypes.c_uint16), ("total_rto_time", U32)]
    )


def test_every_field_is_where_linux_has_it() -> None:
    info = TcpInfo(
        state="CLOSE-WAIT",
        ca_state="Recovery",
        retransmits=300,
        probes=2,
        backoff=3,
        options={"timestamps": True, "sack": False, "wscale": True},
        snd_wscale=7,
        rcv_wscale=9,
        rto_ns=204 * MS,
        rtt_ns=1500 * US,
        rttvar_ns=700 * US,
        min_rtt_ns=900 * US,
        snd_mss=1448,
        rcv_mss=536,
        unacked=4,
        sacked=5,
        lost=6,
        retrans_out=7,
        pmtu=1500,
        rcv_space=65535,
        snd_ssthresh=1 << 40,
        snd_cwnd=10,
        advmss=1460,
        total_retrans=8,
        bytes_acked=1 << 33,
        bytes_received=3 << 33,
        segs_out=11,
        segs_in=12,
        bytes_sent=5 << 33,
        bytes_retrans=13,
        snd_wnd=14,
    )
    octets = options.pack_tcp_info(info)
    assert len(octets) == ctypes.sizeof(LinuxTcpInfo) == 248
    found = LinuxTcpInfo.from_buffer_copy(octets)
    expected = {
        "state": 8,
        "ca_state": 3,
        "retransmits": 255,
        "probes": 2,
        "backoff": 3,
        "options": 5,
        "wscales": 0x97,
        "rto": 204_000,
        "snd_mss": 1448,
        "rcv_mss": 536,
        "unacked": 4,
        "sacked": 5,
        "lost": 6,
        "retrans": 7,
        "pmtu": 1500,
        "rtt": 1500,
        "rttvar": 700,
        "snd_ssthresh": 0x7FFFFFFF,
        "snd_cwnd": 10,
        "advmss": 1460,
        "rcv_space": 65535,
        "total_retrans": 8,
        "max_pacing_rate": (1 << 64) - 1,
        "bytes_acked": 1 << 33,
        "bytes_received": 3 << 33,
        "segs_out": 11,
        "segs_in": 12,
        "min_rtt": 900,
        "bytes_sent": 5 << 33,
        "bytes_retrans": 13,
        "snd_wnd": 14,
    }
    assert {name: getattr(found, name) for name in expected} == expected


def test_a_round_trip_that_was_never_measured_is_all_ones() -> None:
    fresh = options.pack_tcp_info(TcpInfo(state="CLOSED", ca_state="Open", options={}))
    assert LinuxTcpInfo.from_buffer_copy(fresh).min_rtt == 0xFFFFFFFF


@pytest.mark.parametrize(
    ("value", "octets", "number"),
    [
        (7, b"\7\0\0\0", 7),
        ((1, 5), b"\1\0\0\0\5\0\0\0", 1),
        ("reno", b"reno" + bytes(12), int.from_bytes(b"reno", "little")),
    ],
)
def test_values_have_two_forms(value: object, octets: bytes, number: int) -> None:
    assert options.as_octets(value) == octets
    assert options.as_int(value) == number


def test_octets_are_read_as_linux_reads_them() -> None:
    linger = (socket.SOL_SOCKET, socket.SO_LINGER)
    assert options.parse(*linger, b"\2\0\0\0\5\0\0\0") == (1, 5)
    assert options.parse(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno\0\0") == "reno"
    assert options.parse(socket.IPPROTO_TCP, socket.TCP_NODELAY, b"\1\0\0\0\xff") == 1
    for arguments in ((*linger, 1), (*linger, b"\1\0\0\0"), (socket.IPPROTO_TCP, socket.TCP_NODELAY, b"\1")):
        with pytest.raises(OSError, match="Errno 22"):
            options.parse(*arguments)
