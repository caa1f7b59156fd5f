"""Why a received packet was refused.

The names are the Linux kernel's where it has one (`enum skb_drop_reason`, as in `skb:kfree_skb`); the rest are ours.
Each is a counter (`Stack.drops`) and a word that a user can look up in docs/drop-reasons.md.
"""

from typing import Final


class DropReason:
    """Names as plain strings: cheap to import, readable in JSON as they are."""

    # The kernel's names.
    NO_SOCKET: Final = "NO_SOCKET"
    PKT_TOO_SMALL: Final = "PKT_TOO_SMALL"
    TCP_CSUM: Final = "TCP_CSUM"
    UDP_CSUM: Final = "UDP_CSUM"
    ICMP_CSUM: Final = "ICMP_CSUM"
    IP_CSUM: Final = "IP_CSUM"
    IP_INHDR: Final = "IP_INHDR"
    IP_NOPROTO: Final = "IP_NOPROTO"
    IP_INVALID_SOURCE: Final = "IP_INVALID_SOURCE"
    IP_RPFILTER: Final = "IP_RPFILTER"
    IP_INNOROUTES: Final = "IP_INNOROUTES"
    IP_INADDRERRORS: Final = "IP_INADDRERRORS"
    OTHERHOST: Final = "OTHERHOST"
    UNHANDLED_PROTO: Final = "UNHANDLED_PROTO"
    UNICAST_IN_L2_MULTICAST: Final = "UNICAST_IN_L2_MULTICAST"
    NEIGH_FAILED: Final = "NEIGH_FAILED"
    NEIGH_QUEUEFULL: Final = "NEIGH_QUEUEFULL"
    FRAG_REASM_TIMEOUT: Final = "FRAG_REASM_TIMEOUT"
    FRAG_TOO_FAR: Final = "FRAG_TOO_FAR"
    DUP_FRAG: Final = "DUP_FRAG"
    IPV6DISABLED: Final = "IPV6DISABLED"
    IPV6_BAD_EXTHDR: Final = "IPV6_BAD_EXTHDR"
    IPV6_NDISC_BAD_OPTIONS: Final = "IPV6_NDISC_BAD_OPTIONS"
    IPV6_NDISC_BAD_CODE: Final = "IPV6_NDISC_BAD_CODE"
    IPV6_NDISC_HOP_LIMIT: Final = "IPV6_NDISC_HOP_LIMIT"
    INVALID_PROTO: Final = "INVALID_PROTO"
    PKT_TOO_BIG: Final = "PKT_TOO_BIG"
    QUEUE_PURGE: Final = "QUEUE_PURGE"
    SOCKET_RCVBUFF: Final = "SOCKET_RCVBUFF"

    # Ours.
    ETHERNET_HEADER: Final = "ETHERNET_HEADER"
    VLAN_FILTER: Final = "VLAN_FILTER"
    OWN_FRAME: Final = "OWN_FRAME"
    ARP_HEADER: Final = "ARP_HEADER"
    ARP_SENDER: Final = "ARP_SENDER"
    ARP_NOT_FOR_US: Final = "ARP_NOT_FOR_US"
    NOT_OUR_FLOW: Final = "NOT_OUR_FLOW"
    IP_OPTION: Final = "IP_OPTION"
    IP_SOURCE_ROUTE: Final = "IP_SOURCE_ROUTE"
    IP_TTL: Final = "IP_TTL"
    FRAG_OVERLAP: Final = "FRAG_OVERLAP"
    FRAG_LENGTH: Final = "FRAG_LENGTH"
    FRAG_MEMORY: Final = "FRAG_MEMORY"
    ICMP_HEADER: Final = "ICMP_HEADER"
    ICMP_TYPE: Final = "ICMP_TYPE"
    ICMP_BROADCAST: Final = "ICMP_BROADCAST"
    ICMP_QUOTE: Final = "ICMP_QUOTE"
    ICMP_REDIRECT: Final = "ICMP_REDIRECT"
    UDP_HEADER: Final = "UDP_HEADER"
    ND_HEADER: Final = "ND_HEADER"
    ND_NOT_FOR_US: Final = "ND_NOT_FOR_US"
    NO_PORT: Final = "NO_PORT"
    ROUTER_BLACKHOLE: Final = "ROUTER_BLACKHOLE"
