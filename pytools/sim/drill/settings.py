"""Commands between backticks: a known table maps them to settings or to nothing. They never run.

`sysctl -q net.ipv4.tcp_sack=0` and `set_sysctls.py /proc/sys/net/ipv4/tcp_sack=0` change the stack's configuration,
`ethtool -K tun0 tso off gso off` the port's offloads; scripts that set defaults, tc, nstat and the like mean nothing
here. Anything else is an error.
"""

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Final

from pytools.errors import UsageError
from pytools.stack.tcp.config import TcpConfig
from pytools.units import MS, SECOND, US

_SYSCTL: Final = re.compile(
    r"(?:/proc/sys/)?((?:net|kernel|vm)[./](?:[\w-]+[./])*?([\w-]+))\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s&;|]+)"
)
_NOTHING: Final = re.compile(
    r"(\S*/)?(sysctl_restore\S*|nstat|tc|ip|echo|sleep|cat|modprobe|true|rm|dd|grep|test|\[|sync|iptables|nft|"
    r"ip6?tables|ss|ulimit|exit|set|python3?|dmesg|kldload|kldstat|kldunload|tcpdump|netstat|touch|mkdir|conntrack|"
    r"clear_fastopen_cookies\S*|flush\S*|head|truncate|printf|source|\.)(?!\w)|[A-Z_]+=|if\b|for\b|while\b|"
    r"then\b|else\b|fi\b|done\b|do\b"
)
_DEFAULTS: Final = (
    ("tcp_rmem", "4096 540000 15728640"),
    ("tcp_wmem", "4096 262144 4194304"),
    ("tcp_timestamps", "1"),
    ("tcp_syn_retries", "5"),
    ("tcp_synack_retries", "5"),
    ("tcp_sack", "1"),
    ("tcp_dsack", "1"),
    ("tcp_slow_start_after_idle", "0"),
    ("tcp_early_retrans", "4"),
    ("tcp_recovery", "1"),
    ("tcp_ecn", "0"),
    ("tcp_congestion_control", "cubic"),
    ("tcp_fastopen", "3"),
    ("tcp_syncookies", "1"),
)
"""What the defaults.sh of Google's and of Linux' scripts sets."""


class Settings:
    """What a script has set: the TCP configuration and the offloads of its port."""

    __slots__ = ("config", "family", "gso", "ignored", "local", "mapped", "mtu", "remote", "segment", "sysctls")

    def __init__(self, family: int = 4) -> None:
        self.family = family
        self.mapped = False
        """IPv6 sockets that speak IPv4."""
        self.local = b""
        self.remote = b""
        """Addresses that the script chose; b"": the usual ones."""
        self.sysctls: list[tuple[str, str]] = []
        """Paths below /proc/sys and what the script puts there, in order."""
        self.config = TcpConfig()
        self.config.syn_linear_timeouts = 4
        self.gso = True
        self.mtu = 1500
        self.segment = 0
        """Segment size of arriving super-segments (--mss); 0: from the MTU."""
        self.ignored: list[str] = []
        """Names of sysctls that mean nothing to this stack."""

    def apply(self, command: str) -> None:
        """Take the text between two backticks. UsageError: a command that isn't known."""
        for line in re.split(r"[\n;]|&&|\|\|", command.replace("\\\n", " ")):
            self._apply_line(line.strip())

    def _apply_line(self, line: str) -> None:
        if not line or line.startswith("#"):
            return
        word = line.split()[0].rsplit("/", 1)[-1]
        found = _SYSCTL.findall(line)
        if word == "defaults.sh":
            for name, value in _DEFAULTS:
                self._sysctl(f"net/ipv4/{name}", name, value)
        elif word in ("sysctl", "set_sysctls.py") or found:
            for path, name, value in found:
                self._sysctl(path.replace(".", "/"), name, value.strip("\"'"))
        elif word == "ethtool":
            self._ethtool(line.split())
        elif word in ("ip", "ifconfig") and (mtu := re.search(r"\bmtu\s+(\d+)", line)):
            self.mtu = int(mtu[1])
        elif not _NOTHING.match(line):
            raise UsageError(f"command {word!r} is not known (it would never be run)")

    def _sysctl(self, path: str, name: str, value: str) -> None:
        self.sysctls.append((path, value))
        self._set(name, value)

    def _ethtool(self, words: list[str]) -> None:
        for name, value in pairwise(words):
            if name in ("tso", "gso"):
                self.gso = value != "off"

    def _set(self, name: str, value: str) -> None:
        setter = _SETTERS.get(name)
        if setter is None:
            self.ignored.append(name)
            return
        try:
            setter(self.config, value)
        except ValueError:
            raise UsageError(f"sysctl {name}: {value!r} is no value for it") from None


def _number(attribute: str, unit: int = 1) -> Callable[[TcpConfig, str], None]:
    def set_number(config: TcpConfig, value: str) -> None:
        setattr(config, attribute, int(value) * unit)

    return set_number


def _switch(attribute: str) -> Callable[[TcpConfig, str], None]:
    def set_switch(config: TcpConfig, value: str) -> None:
        setattr(config, attribute, int(value) != 0)

    return set_switch


def _receive_memory(config: TcpConfig, value: str) -> None:
    _, config.receive_buffer, config.receive_buffer_max = (int(word) for word in value.split())


def _send_memory(config: TcpConfig, value: str) -> None:
    config.send_buffer = int(value.split()[2])


def _congestion(config: TcpConfig, value: str) -> None:
    from pytools.stack.tcp.congestion.base import NAMES

    if value in NAMES:
        config.congestion = value


_SETTERS: Final[dict[str, Callable[[TcpConfig, str], None]]] = {
    "tcp_sack": _switch("sack"),
    "tcp_dsack": _switch("dsack"),
    "tcp_timestamps": _switch("timestamps"),
    "tcp_window_scaling": _switch("window_scaling"),
    "tcp_syncookies": _switch("syn_cookies"),
    "tcp_syn_retries": _number("syn_retries"),
    "tcp_syn_linear_timeouts": _number("syn_linear_timeouts"),
    "tcp_synack_retries": _number("syn_ack_retries"),
    "tcp_retries1": _number("retries1"),
    "tcp_retries2": _number("retries2"),
    "tcp_orphan_retries": _number("linger_retries"),
    "tcp_fin_timeout": _number("fin_wait_2_ns", SECOND),
    "tcp_keepalive_time": _number("keepalive_idle_ns", SECOND),
    "tcp_keepalive_intvl": _number("keepalive_interval_ns", SECOND),
    "tcp_keepalive_probes": _number("keepalive_count"),
    "tcp_invalid_ratelimit": _number("invalid_rate_ns", MS),
    "tcp_rto_min_us": _number("rto_min_ns", US),
    "tcp_rto_max_ms": _number("rto_max_ns", MS),
    "tcp_rmem": _receive_memory,
    "tcp_wmem": _send_memory,
    "tcp_congestion_control": _congestion,
}
