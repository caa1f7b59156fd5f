"""Every setting of TCP: Linux' default where users expect it, the RFC's value beside it."""

from pytools.units import MS, SECOND, Ns


class TcpConfig:
    """Plain attributes; change them before the connection opens."""

    __slots__ = (
        "abc_limit",
        "black_hole_retries",
        "congestion",
        "delayed_ack_ns",
        "dsack",
        "fast_open",
        "fin_wait_2_ns",
        "initial_cwnd",
        "invalid_rate_ns",
        "keepalive_count",
        "keepalive_idle_ns",
        "keepalive_interval_ns",
        "linger_retries",
        "max_backlog",
        "mss",
        "nagle",
        "quick_acks",
        "receive_buffer",
        "receive_buffer_max",
        "retries1",
        "retries2",
        "rto_initial_ns",
        "rto_max_ns",
        "rto_min_ns",
        "sack",
        "send_buffer",
        "syn_ack_retries",
        "syn_cookies",
        "syn_linear_timeouts",
        "syn_fails_soft",
        "syn_queue",
        "syn_retries",
        "time_wait_ns",
        "timestamps",
        "tos",
        "ttl",
        "window_scaling",
    )

    def __init__(self) -> None:
        self.mss = 0
        """Advertised MSS; 0: from the port's MTU."""
        self.sack = True
        self.dsack = True
        self.timestamps = True
        self.window_scaling = True
        self.fast_open = False
        self.nagle = True
        self.congestion = "reno"
        self.black_hole_retries = 6
        """Timeouts after which segments get shorter although no ICMP error said so; 0: never (Linux' default, 3 with
        tcp_mtu_probing 1; RFC 4821 7.7)."""
        self.syn_fails_soft = True
        """A soft ICMP error ends an attempt to connect, as in Linux (RFC 5461 4.1); RFC 9293 MUST-56 would go on."""
        self.initial_cwnd = 10
        """Segments (RFC 6928; RFC 5681 3.1 says 2 to 4)."""
        self.rto_initial_ns: Ns = 1 * SECOND
        """RFC 6298 2.1."""
        self.rto_min_ns: Ns = 200 * MS
        """Linux; RFC 6298 2.4 says 1 s."""
        self.rto_max_ns: Ns = 120 * SECOND
        """Linux; RFC 6298 2.5 says at least 60 s."""
        self.syn_retries = 6
        """After the linear ones; 131 s in all (RFC 9293 MUST-23 asks for 3 minutes: 7 retries give 195 s)."""
        self.syn_linear_timeouts = 4
        """SYN timeouts before the back-off starts (Linux tcp_syn_linear_timeouts; RFC 6298: 0)."""
        self.syn_ack_retries = 5
        self.retries1 = 3
        """R1 (RFC 9293 3.8.3): ask for another route, tell the application."""
        self.retries2 = 15
        """R2: give up; about 924 s (RFC 9293 SHLD-11: at least 100 s)."""
        self.linger_retries = 8
        """R2 of a connection that the application has already closed."""
        self.delayed_ack_ns: Ns = 40 * MS
        """RFC 9293 MUST-40: below 500 ms."""
        self.quick_acks = 16
        """Segments acknowledged at once at the start, while the peer is in slow start."""
        self.time_wait_ns: Ns = 60 * SECOND
        """Linux; RFC 9293 MUST-13: 2 MSL, 4 minutes."""
        self.fin_wait_2_ns: Ns = 60 * SECOND
        """How long an orphan waits for the peer's FIN (Linux tcp_fin_timeout; the RFC has no limit)."""
        self.keepalive_idle_ns: Ns = 7200 * SECOND
        """RFC 9293 MUST-28: two hours or more."""
        self.keepalive_interval_ns: Ns = 75 * SECOND
        self.keepalive_count = 9
        self.invalid_rate_ns: Ns = 500 * MS
        """At most one answer to an out-of-window segment in this time (Linux tcp_invalid_ratelimit; RFC 5961 7)."""
        self.receive_buffer = 131_072
        """First size in octets; it grows with use up to `receive_buffer_max`."""
        self.receive_buffer_max = 6_291_456
        self.send_buffer = 4_194_304
        self.max_backlog = 4096
        self.syn_cookies = True
        """When the SYN queue is full (Linux tcp_syncookies 1)."""
        self.syn_queue = 128
        """Half-open connections of a listener whose backlog is smaller (Linux: the backlog, since its cookies keep all
        options; ours keep the MSS only)."""
        self.abc_limit = 0
        self.ttl = 64
        self.tos = 0

    def copy(self) -> "TcpConfig":
        """An independent copy, for one connection's own settings."""
        other = TcpConfig()
        for name in self.__slots__:
            setattr(other, name, getattr(self, name))
        return other
