"""What TCP_INFO tells (struct tcp_info of Linux, the fields that we have)."""


class TcpInfo:
    """A snapshot. Times in nanoseconds, windows in octets, cwnd and ssthresh in segments."""

    __slots__ = (
        "advmss",
        "backoff",
        "bytes_acked",
        "bytes_received",
        "bytes_retrans",
        "bytes_sent",
        "ca_state",
        "congestion",
        "dsack_dups",
        "lost",
        "min_rtt_ns",
        "options",
        "pmtu",
        "probes",
        "rcv_mss",
        "rcv_space",
        "rcv_ssthresh",
        "rcv_wscale",
        "retransmits",
        "retrans_out",
        "rto_ns",
        "rtt_ns",
        "rttvar_ns",
        "sacked",
        "segs_in",
        "segs_out",
        "snd_cwnd",
        "snd_mss",
        "snd_ssthresh",
        "snd_wnd",
        "snd_wscale",
        "state",
        "total_retrans",
        "unacked",
        "causes",
    )

    advmss: int
    backoff: int
    bytes_acked: int
    bytes_received: int
    bytes_retrans: int
    bytes_sent: int
    dsack_dups: int
    lost: int
    min_rtt_ns: int
    pmtu: int
    probes: int
    rcv_mss: int
    rcv_space: int
    rcv_ssthresh: int
    rcv_wscale: int
    retransmits: int
    retrans_out: int
    rto_ns: int
    rtt_ns: int
    rttvar_ns: int
    sacked: int
    segs_in: int
    segs_out: int
    snd_cwnd: int
    snd_mss: int
    snd_ssthresh: int
    snd_wnd: int
    snd_wscale: int
    total_retrans: int
    unacked: int
    ca_state: str
    congestion: str
    state: str
    options: dict[str, bool]
    causes: dict[str, int]

    def __init__(self, **fields: object) -> None:
        for name in self.__slots__:
            setattr(self, name, fields.get(name, 0))

    def as_dict(self) -> dict[str, object]:
        """The fields by name."""
        return {name: getattr(self, name) for name in self.__slots__}
