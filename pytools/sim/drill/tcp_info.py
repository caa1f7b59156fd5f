"""tcp_info as packetdrill's scripts see it: Linux' field names and units (microseconds)."""

from typing import Any, Final

from pytools.errors import UsageError
from pytools.stack.sockets import StreamSocket
from pytools.units import US

STATES: Final = {
    "ESTABLISHED": 1,
    "SYN-SENT": 2,
    "SYN-RECEIVED": 3,
    "FIN-WAIT-1": 4,
    "FIN-WAIT-2": 5,
    "TIME-WAIT": 6,
    "CLOSED": 7,
    "CLOSE-WAIT": 8,
    "LAST-ACK": 9,
    "LISTEN": 10,
    "CLOSING": 11,
}
PHASES: Final = {"Open": 0, "Disorder": 1, "CWR": 2, "Recovery": 3, "Loss": 4}
WORDS: Final[dict[str, int]] = {
    **{"TCP_" + name.replace("-", "_"): number for name, number in STATES.items()},
    "TCP_CLOSE": 7,
    "TCP_SYN_RECV": 3,
    "TCP_CA_Open": 0,
    "TCP_CA_Disorder": 1,
    "TCP_CA_CWR": 2,
    "TCP_CA_Recovery": 3,
    "TCP_CA_Loss": 4,
    "TCPI_OPT_TIMESTAMPS": 1,
    "TCPI_OPT_SACK": 2,
    "TCPI_OPT_WSCALE": 4,
    "TCPI_OPT_ECN": 8,
    "TCPI_OPT_ECN_SEEN": 16,
    "TCPI_OPT_SYN_DATA": 32,
    "TCPI_OPT_USEC_TS": 64,
    "TCPI_OPT_TFO_CHILD": 128,
    "TCP_INFINITE_SSTHRESH": 0x7FFFFFFF,
}


def tcp_info(socket: StreamSocket | None) -> dict[str, Any]:
    """Names for assertions; the constants also without a connection."""
    if socket is None or socket.connection is None:
        if socket is None:
            raise UsageError("code: no socket was used before")
        return dict(WORDS, tcpi_state=10 if socket.listener is not None else 7)
    info = socket.connection.info()
    flags: dict[str, bool] = info.options
    fields = {
        "state": STATES[info.state],
        "ca_state": PHASES[info.ca_state],
        "retransmits": info.retransmits,
        "probes": info.probes,
        "backoff": info.backoff,
        "options": flags["timestamps"] | flags["sack"] << 1 | flags["wscale"] << 2,
        "snd_wscale": info.snd_wscale,
        "rcv_wscale": info.rcv_wscale,
        "rto": info.rto_ns // US,
        "rtt": info.rtt_ns // US,
        "rttvar": info.rttvar_ns // US,
        "min_rtt": info.min_rtt_ns // US,
        "snd_mss": info.snd_mss,
        "rcv_mss": info.rcv_mss,
        "advmss": info.advmss,
        "pmtu": info.pmtu + 40,
        "unacked": info.unacked,
        "sacked": info.sacked,
        "lost": info.lost,
        "retrans": info.retrans_out,
        "fackets": 0,
        "snd_cwnd": info.snd_cwnd,
        "snd_ssthresh": info.snd_ssthresh,
        "rcv_ssthresh": info.rcv_space,
        "rcv_space": info.rcv_space,
        "snd_wnd": info.snd_wnd,
        "total_retrans": info.total_retrans,
        "bytes_acked": info.bytes_acked,
        "bytes_sent": info.bytes_sent,
        "bytes_retrans": info.bytes_retrans,
        "bytes_received": info.bytes_received,
        "segs_in": info.segs_in,
        "segs_out": info.segs_out,
        "data_segs_out": info.segs_out,
        "delivered": info.bytes_acked // max(info.snd_mss, 1),
        "notsent_bytes": socket.connection.tx.sender.unsent,
        "reordering": 3,
        "reord_seen": 0,
        "dsack_dups": 0,
    }
    return {**WORDS, **{f"tcpi_{name}": value for name, value in fields.items()}}
