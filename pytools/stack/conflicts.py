"""IPv4 address conflict detection (RFC 5227): probe before use, announce, defend.

PROBE_WAIT .. probe .. probe .. probe .. ANNOUNCE_WAIT .. in use: announcement .. announcement
"""

from collections.abc import Callable
from typing import Final

from pytools.stack.addresses import Addresses
from pytools.stack.interfaces import TENTATIVE, Address, Interface
from pytools.stack.node import Node
from pytools.trace.events import TimerFired
from pytools.units import Ns
from pytools.wire.addr import UNSPECIFIED4, format_ip

PROBING: Final = "probe"
WAITING: Final = "announce wait"
ANNOUNCING: Final = "announce"

SendRequest = Callable[[Interface, bytes, bytes, Ns], None]
"""Takes (port, sender address, target address, now): broadcast an ARP request."""


class Conflicts:
    """RFC 5227 for the own IPv4 addresses of all ports."""

    __slots__ = ("_addresses", "_conflict_count", "_due", "_node", "_send")

    def __init__(self, node: Node, addresses: Addresses, send: SendRequest) -> None:
        self._node = node
        self._addresses = addresses
        self._send = send
        self._conflict_count = 0
        self._due = self._on_due

    def start(self, own: Address, now: Ns) -> None:
        """Begin to probe (2.1.1) after a random wait; after MAX_CONFLICTS not before RATE_LIMIT_INTERVAL."""
        config = self._node.config
        own.phase, own.count = PROBING, 0
        wait = round(self._node.rng.uniform(0, config.probe_wait_ns))
        if self._conflict_count >= config.max_conflicts:
            wait += config.rate_limit_interval_ns
        self._node.deadlines.arm(own, now + wait, self._due)

    def announce(self, own: Address, now: Ns) -> None:
        """Tell everybody whose address this is (2.3); the second time after ANNOUNCE_INTERVAL."""
        own.phase, own.count = ANNOUNCING, 0
        self._announce_once(own, now)

    def on_arp(self, iface: Interface, sender_ip: bytes, target_ip: bytes, mac: bytes, now: Ns) -> bool:
        """Look at an ARP packet of another station; True when it is in conflict with an address of ours."""
        own = iface.addresses.get(sender_ip)
        if own is not None and not own.shared:
            if own.state == TENTATIVE:
                self._lose(own, mac, now)
            else:
                self._defend(own, mac, now)
            return True
        if sender_ip == UNSPECIFIED4:
            own = iface.addresses.get(target_ip)
            if own is not None and own.state == TENTATIVE:
                # Two of us probe for the same address at once: both must leave it (2.1.1).
                self._lose(own, mac, now)
                return True
        return False

    def _lose(self, own: Address, mac: bytes, now: Ns) -> None:
        self._conflict_count += 1
        self._addresses.conflict(own, mac, now, True, "given up")

    def _defend(self, own: Address, mac: bytes, now: Ns) -> None:
        """2.4: defend with one announcement, or give up."""
        config = self._node.config
        recently = now - own.defended_at < config.defend_interval_ns
        if config.defend == "never" or (config.defend == "once" and recently):
            self._lose(own, mac, now)
            return
        if recently:
            self._addresses.conflict(own, mac, now, False, "defended a moment ago")
            return
        own.defended_at = now
        self._addresses.conflict(own, mac, now, False, "defended")
        self._send(own.iface, own.address, own.address, now)

    def _on_due(self, own: Address, now: Ns) -> None:
        own.count += 1
        if (emit := self._node.trace.timer) is not None:
            emit(TimerFired(now, own.phase, format_ip(own.address), own.count))
        config = self._node.config
        if own.phase == PROBING:
            self._send(own.iface, UNSPECIFIED4, own.address, now)
            if own.count < config.probe_count:
                wait = round(self._node.rng.uniform(config.probe_min_ns, config.probe_max_ns))
            else:
                own.phase, wait = WAITING, config.announce_wait_ns
            self._node.deadlines.arm(own, now + wait, self._due)
        elif own.phase == WAITING:
            self._conflict_count = 0
            self._addresses.ready(own, now)
            self.announce(own, now)
        else:
            self._announce_once(own, now)

    def _announce_once(self, own: Address, now: Ns) -> None:
        self._send(own.iface, own.address, own.address, now)
        if own.phase == ANNOUNCING and own.count + 1 < self._node.config.announce_count:
            self._node.deadlines.arm(own, now + self._node.config.announce_interval_ns, self._due)
