"""A MAC as target: an ICMP echo request in a frame to that MAC, for who knows the link address and wants the IP.

The IP destination is a given one, or everybody (255.255.255.255, ff02::1). Linux answers the IPv6 one, and the IPv4 one
only with icmp_echo_ignore_broadcasts=0.
"""

from typing import Final

from pytools.engine import EngineEvent, Port, RxMeta
from pytools.probe.arping import ArpingConfig, ArpingEngine
from pytools.probe.arping_base import Sending
from pytools.probe.arping_wire import Seen
from pytools.stack.events import EchoReply
from pytools.stack.stack import Stack
from pytools.units import Ns
from pytools.wire import ethernet, icmp, icmp6, ipv4, ipv6

PAYLOAD: Final = bytes(range(0x10, 0x48))
"""56 octets, as ping sends."""
_OUTSTANDING: Final = 256
"""Questions whose time is remembered."""


class MacEngine(ArpingEngine):
    """Ask the station `mac` for an echo; `config.us` has our addresses, `ip` is the IP destination."""

    def __init__(self, stack: Stack, port: Port, mac: bytes, ip: bytes, ident: int, config: ArpingConfig) -> None:
        config.target_mac = mac
        super().__init__(stack, port, mac, config)
        self._ip = ip
        self._ident = ident
        self._frame_src = b""
        self._sent: dict[int, Ns] = {}
        stack.open_echo(ident)

    def on_frame(self, frame: memoryview, now: Ns, meta: RxMeta) -> None:
        """See `Engine`. An echo reply's event doesn't say which station sent the frame: remember it."""
        self._frame_src = bytes(frame[6:12])
        super().on_frame(frame, now, meta)

    def _frame(self) -> bytes:
        us, dst, seq = self.config.us, self._ip, self._seq & 0xFFFF
        if len(dst) == 4:
            message = icmp.encode_echo(self._ident, seq, PAYLOAD)
            header = ipv4.encode(us.ip, dst, ipv4.PROTO_ICMP, len(message), ident=self._ident, dont_fragment=True)
            ethertype = ethernet.ETHERTYPE_IPV4
        else:
            message = icmp6.encode_echo(us.ip, dst, self._ident, seq, PAYLOAD)
            header = ipv6.encode(us.ip, dst, ipv6.PROTO_ICMPV6, len(message))
            ethertype = ethernet.ETHERTYPE_IPV6
        return ethernet.encode(self.target, us.mac, ethertype, self._port.vlans) + header + message

    def _on_sent(self, sending: Sending, now: Ns) -> None:
        self._sent[sending.seq & 0xFFFF] = now
        if len(self._sent) > _OUTSTANDING:
            del self._sent[next(iter(self._sent))]
        super()._on_sent(sending, now)

    def _on_stack_event(self, event: EngineEvent) -> None:
        if not isinstance(event, EchoReply) or event.ident != self._ident or not event.checksum_ok:
            return
        if self.target[0] & 1 == 0 and self._frame_src != self.target:
            return
        us = self.config.us
        sent_at = self._sent.get(event.seq)
        rtt_ns = None if sent_at is None else max(0, event.at - sent_at)
        mac = self._frame_src
        seen = Seen(event.now, event.at, event.src, mac, us.ip, b"", mac, is_request=False, is_broadcast=False)
        self._take(seen, rtt_ns)
