"""Every setting of the stack, with the RFC's value and Linux' default where they have one.

    StackConfig(forwarding=True, default_ttl=255)

Durations are nanoseconds. Read when it is needed, so a change takes effect at once unless the comment says otherwise.
"""

from typing import Any

from pytools.errors import LocalProtocolError
from pytools.units import SECOND, Ns


class StackConfig:
    """Class attributes are the defaults; keyword arguments override them."""

    # --- IP -----------------------------------------------------------------------------------------------------------
    default_ttl: int = 64
    """RFC 1122 3.2.1.7 asks for "configurable", the assigned numbers say 64; net.ipv4.ip_default_ttl = 64."""
    forwarding: bool = False
    """RFC 1122 3.3.1.1: a host MUST NOT by default; net.ipv4.ip_forward = 0."""
    strong_host: bool = True
    """RFC 1122 3.3.4.2 leaves it open; Linux is weak (arp_filter, rp_filter 0). A router is always weak."""
    accept_source_route: bool = False
    """RFC 1812 5.3.13.4 and RFC 6274 3.13.2.3 advise against; net.ipv4.conf.all.accept_source_route = 0."""
    send_redirects: bool = False
    """RFC 1122 3.2.2.2: hosts SHOULD NOT; routers MAY. Linux' routers do (send_redirects = 1)."""
    accept_redirects: bool = True
    """RFC 1122 3.2.2.2: MUST honour. net.ipv4.conf.all.accept_redirects = 1 on hosts. A router never does."""
    first_guess_mtu: int = 0
    """RFC 1122 3.3.3 SHOULD send no more than 576 off-link without path MTU discovery; 0 (as Linux): use the port's."""
    auto_link_local: bool = True
    """RFC 4291 2.1: an IPv6 port has a link-local address; made with the first own IPv6 address on Ethernet."""

    # --- Path MTU -----------------------------------------------------------------------------------------------------
    path_mtu_discovery: bool = True
    """What `df="want"` means: True sets DF where the packet fits (net.ipv4.ip_no_pmtu_disc = 0)."""
    path_mtu_expires_ns: Ns = 600 * SECOND
    """RFC 1191 6.3 and RFC 8201 5.3: 10 minutes (at least 5); net.ipv4.route.mtu_expires = 600."""
    path_mtu_limit: int = 4096
    """Destinations with an estimate or a redirected first hop; the oldest go."""
    path_mtu_floor4: int = 68
    """RFC 791 and RFC 1191: 68; Linux stops at 552 (net.ipv4.route.min_pmtu)."""

    # --- Neighbours: ARP and neighbour discovery ---------------------------------------------------------------------
    reachable_ns: Ns = 30 * SECOND
    """REACHABLE_TIME of RFC 4861 10, times 0.5..1.5; base_reachable_time_ms = 30000. ARP uses the same states."""
    delay_first_probe_ns: Ns = 5 * SECOND
    """DELAY_FIRST_PROBE_TIME of RFC 4861 10; delay_first_probe_time = 5."""
    retransmit_ns: Ns = SECOND
    """RETRANS_TIMER of RFC 4861 10, and the one request a second of RFC 1122 2.3.2.1; retrans_time_ms = 1000."""
    multicast_solicit: int = 3
    """MAX_MULTICAST_SOLICIT of RFC 4861 10; mcast_solicit = 3. Broadcast requests before an address is given up."""
    unicast_solicit: int = 3
    """MAX_UNICAST_SOLICIT of RFC 4861 10; ucast_solicit = 3. RFC 1122 2.3.2.1's unicast poll has 2."""
    stale_ns: Ns = 60 * SECOND
    """An entry not confirmed and not used for so long may go: RFC 1122 2.3.2.1 "a minute"; gc_stale_time = 60."""
    neighbor_limit: int = 8192
    """Entries a port; gc_thresh3 = 1024. 8192 lets a sweep of dead addresses ask for 2,700 a second."""
    neighbor_queue: int = 64
    """Packets that wait for one address (RFC 1122 2.3.2.2: at least the latest); unres_qlen is about 100. Oldest go."""
    neighbor_queue_total: int = 16384
    """Packets that wait on one port, all addresses together."""

    # --- Address conflicts (RFC 5227) --------------------------------------------------------------------------------
    probe_wait_ns: Ns = SECOND
    """PROBE_WAIT"""
    probe_count: int = 3
    """PROBE_NUM"""
    probe_min_ns: Ns = SECOND
    """PROBE_MIN"""
    probe_max_ns: Ns = 2 * SECOND
    """PROBE_MAX"""
    announce_wait_ns: Ns = 2 * SECOND
    """ANNOUNCE_WAIT"""
    announce_count: int = 2
    """ANNOUNCE_NUM"""
    announce_interval_ns: Ns = 2 * SECOND
    """ANNOUNCE_INTERVAL"""
    max_conflicts: int = 10
    """MAX_CONFLICTS: from then on one attempt per `rate_limit_interval_ns`."""
    rate_limit_interval_ns: Ns = 60 * SECOND
    """RATE_LIMIT_INTERVAL"""
    defend_interval_ns: Ns = 10 * SECOND
    """DEFEND_INTERVAL"""
    defend: str = "once"
    """RFC 5227 2.4: "never" (a: give the address up), "once" (b: give up at the second conflict within
    DEFEND_INTERVAL), "always" (c: at most one announcement per DEFEND_INTERVAL). Linux does nothing at all."""

    # --- IPv6 autoconfiguration (RFC 4861 6.3, RFC 4862) -------------------------------------------------------------
    dad_transmits: int = 1
    """DupAddrDetectTransmits of RFC 4862 5.1; dad_transmits = 1."""
    dad_delay_ns: Ns = SECOND
    """MAX_RTR_SOLICITATION_DELAY of RFC 4861 10: the random wait before the first solicitation."""
    dad_wait_ns: Ns = 0
    """Time to object to a solicitation of our own address; 0 is RetransTimer, as RFC 4862 5.4 has it."""
    accept_ra: bool = False
    """Router Advertisements give default routes, prefixes on the link, MTU and hop limit. Off: the routes are given."""
    autoconf: bool = False
    """With `accept_ra`: make an address of a /64 prefix with the A flag (RFC 4862 5.5)."""
    router_solicitations: int = 3
    """MAX_RTR_SOLICITATIONS of RFC 4861 10, sent RTR_SOLICITATION_INTERVAL = 4 s apart while `accept_ra`."""
    router_solicitation_interval_ns: Ns = 4 * SECOND
    multicast_reports: bool = False
    """MLDv2 reports (RFC 3810) for our groups, so that switches that snoop let neighbour discovery through."""

    # --- Reassembly ---------------------------------------------------------------------------------------------------
    reassembly_timeout_ns: Ns = 60 * SECOND
    """RFC 1122 3.3.2: 60..120 s, RFC 8200 4.5: 60 s; net.ipv4.ipfrag_time = 30, net.ipv6.ip6frag_time = 60."""
    reassembly_octets: int = 4 << 20
    """Memory for fragments of both families; ipfrag_high_thresh = 4 MB. Oldest datagrams go first."""
    reassembly_datagrams: int = 1024
    """Datagrams under reassembly."""
    reassembly_fragments: int = 1024
    """Pieces of one datagram: 65535 octets in pieces of 64."""

    # --- ICMP ---------------------------------------------------------------------------------------------------------
    answer_echo: bool = True
    """RFC 1122 3.2.2.6 MUST; net.ipv4.icmp_echo_ignore_all = 0."""
    answer_broadcast_echo: bool = False
    """RFC 1122 3.2.2.6: MAY be ignored; net.ipv4.icmp_echo_ignore_broadcasts = 1. IPv6 multicast echo is answered
    as RFC 4443 4.2 (SHOULD) and Linux do, with `answer_multicast_echo6`."""
    answer_multicast_echo6: bool = True
    """RFC 4443 4.2; net.ipv6.icmp.echo_ignore_multicast = 0."""
    answer_timestamp: bool = True
    """RFC 1122 3.2.2.8 MAY; Linux always does."""
    icmp_error_rate: int = 1000
    """Errors a second and family by token bucket (RFC 1812 4.3.2.8, RFC 4443 2.4 f); icmp_msgs_per_sec. 0: no limit."""
    icmp_error_burst: int = 50
    """Errors at once; icmp_msgs_burst = 50."""

    # --- Queues -------------------------------------------------------------------------------------------------------
    transmit_limit: int = 4096
    """Frames that wait for `poll_transmit`; beyond it sends fail with ENOBUFS. A device's queue has 1000."""
    event_limit: int = 65536
    """Events that wait for `poll_event`; beyond it received data is refused (SOCKET_RCVBUFF)."""
    template_limit: int = 512
    """Destinations whose echo header is kept ready."""

    def __init__(self, **settings: Any) -> None:
        for name, value in settings.items():
            if name.startswith("_") or not hasattr(type(self), name):
                raise LocalProtocolError(f"there is no stack setting {name!r}")
            setattr(self, name, value)
