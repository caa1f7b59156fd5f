"""One event of every class in `trace.events`, with the words it must get."""

from pytools.engine import CHECKSUM_PARTIAL
from pytools.trace import events as trace
from pytools.trace import tcp_events as tcp
from pytools.units import MS, SECOND
from pytools.wire.addr import parse_ip, parse_mac

IP = parse_ip("10.0.0.2")
IP6 = parse_ip("fe80::2")
FAR = parse_ip("10.0.0.99")
ROUTER = parse_ip("10.0.0.1")
US = parse_ip("10.0.0.10")
MAC = parse_mac("02:00:00:00:00:02")
NOW = 5 * SECOND
TCP = "10.0.0.10:40000 > 10.0.0.2:80"

WORDS: list[tuple[trace.TraceEvent, str]] = [
    (trace.FrameReceived(NOW, 0, bytes(60), None, 0, 0), ""),
    (trace.FrameReceived(NOW, 0, bytes(60), NOW - 1, CHECKSUM_PARTIAL, 1448), "cksum offload gso 1448"),
    (trace.FrameSent(NOW, 0, (bytes(14), bytes(46)), 0, 0, 0), ""),
    (trace.FrameSent(NOW, 0, (bytes(60),), 1448, 34, 16), "cksum offload gso 1448"),
    (trace.Settled(NOW), ""),
    (trace.Dropped(NOW, 0, "IP_CSUM", ""), "drop IP_CSUM"),
    (trace.Dropped(NOW, 0, "ICMP_HEADER", "cut short"), "drop ICMP_HEADER (cut short)"),
    (trace.TimerSet(NOW, "arp", "10.0.0.2", NOW + SECOND), "timer arp 10.0.0.2 in 1000 ms"),
    (trace.TimerSet(NOW, "arp", IP, NOW + MS // 2), "timer arp 10.0.0.2 in 0.5 ms"),
    (trace.TimerFired(NOW, "arp", "10.0.0.2", 2), "TIMER arp 10.0.0.2 #2"),
    (trace.TimerStopped(NOW, "arp", "10.0.0.2"), "timer arp 10.0.0.2 stopped"),
    (
        trace.NeighborChanged(NOW, 0, IP, MAC, "INCOMPLETE", "REACHABLE", "reply"),
        "ARP 10.0.0.2 INCOMPLETE->REACHABLE 02:00:00:00:00:02 (reply)",
    ),
    (trace.NeighborChanged(NOW, 0, IP6, b"", "", "INCOMPLETE", ""), "ND fe80::2 INCOMPLETE"),
    (trace.AddressConflict(NOW, 0, US, MAC, "defended"), "CONFLICT 10.0.0.10 with 02:00:00:00:00:02 (defended)"),
    (
        trace.AddressChanged(NOW, 0, US, "TENTATIVE", "PREFERRED", "no conflict"),
        "addr 10.0.0.10 TENTATIVE->PREFERRED (no conflict)",
    ),
    (trace.PacketQueued(NOW, 0, IP, 3), "queued 3 for 10.0.0.2"),
    (trace.FragmentQueued(NOW, IP, US, 77, 0, 1480, True), "held 0:1480+ of id 77"),
    (trace.FragmentQueued(NOW, IP, US, 77, 1480, 2008, False), "held 1480:2008 of id 77"),
    (trace.Reassembled(NOW, IP, US, 77, 2008, 2), "reassembled id 77 len 2008 from 2"),
    (
        trace.ReassemblyTimedOut(NOW, IP, US, 77, 1480),
        "reassembly timed out id 77 from 10.0.0.2 (1480 octets held)",
    ),
    (trace.Fragmented(NOW, IP, 4028, 3, 1500), "fragmented len 4028 into 3 (mtu 1500)"),
    (trace.PathMtuChanged(NOW, FAR, 1500, 1280, ROUTER), "pmtu 10.0.0.99 1500->1280 by 10.0.0.1"),
    (trace.PathMtuChanged(NOW, FAR, 0, 1280, ROUTER), "pmtu 10.0.0.99 1280 by 10.0.0.1"),
    (trace.PathMtuChanged(NOW, FAR, 1280, 1500, b""), "pmtu 10.0.0.99 1280->1500 (expired)"),
    (trace.RouteChanged(NOW, FAR, IP, ROUTER), "route 10.0.0.99 via 10.0.0.2 (redirect by 10.0.0.1)"),
    (trace.EchoAnswered(NOW, IP, 77, 1, 64), "answered"),
    (
        trace.IcmpErrorSent(NOW, 4, IP, 3, 3, 0, "udp 9 from 10.0.0.2"),
        "tell 10.0.0.2: UNREACH port (udp 9 from 10.0.0.2)",
    ),
    (trace.IcmpErrorSent(NOW, 6, IP6, 2, 0, 1280, ""), "tell fe80::2: TOO-BIG mtu 1280"),
    (trace.IcmpErrorSuppressed(NOW, 4, 11, 0, "rate limit"), "no TIME-EXCEEDED ttl sent (rate limit)"),
    (
        trace.IcmpErrorReceived(NOW, 4, ROUTER, 3, 4, 1280, "echo id 77 seq 1 to 10.0.0.99"),
        "10.0.0.1 says: UNREACH frag-needed mtu 1280 (echo id 77 seq 1 to 10.0.0.99)",
    ),
    (trace.IcmpErrorReceived(NOW, 6, IP6, 4, 1, 40, ""), "fe80::2 says: PARAM-PROBLEM next-header pointer 40"),
    (trace.IcmpErrorReceived(NOW, 4, ROUTER, 77, 3, 0, ""), "10.0.0.1 says: type 77 code 3"),
    (trace.IcmpErrorReceived(NOW, 4, ROUTER, 3, 1, 4711, ""), "10.0.0.1 says: UNREACH host"),
    (trace.IcmpErrorReceived(NOW, 4, ROUTER, 12, 0, 0, ""), "10.0.0.1 says: PARAM-PROBLEM pointer pointer 0"),
    (trace.IcmpErrorSent(NOW, 4, IP, 5, 1, 0x0A0000FE, ""), "tell 10.0.0.2: REDIRECT host to 10.0.0.254"),
    (trace.ProbeSent(NOW, "10.0.0.2", 1), "probe 10.0.0.2 seq 1"),
    (trace.ProbeAnswered(NOW, "10.0.0.2", 1, 57_123, ""), "rtt 0.057 ms"),
    (trace.ProbeAnswered(NOW, IP, 1, 1_234_567_890, "duplicate"), "rtt 1234.568 ms (duplicate)"),
    (trace.ProbeAnswered(NOW, IP, 1, None, ""), "answered"),
    (trace.ProbeLost(NOW, "10.0.0.99", 3, 1_500 * MS), "LOST 10.0.0.99 seq 3 (no answer in 1500 ms)"),
    (
        trace.ProbeFailed(NOW, "10.0.0.99", 3, "Destination Host Unreachable"),
        "FAILED 10.0.0.99 seq 3: Destination Host Unreachable",
    ),
    (tcp.StateChanged(NOW, TCP, "SYN-SENT", "ESTABLISHED", "SYN,ACK"), "SYN-SENT->ESTABLISHED (SYN,ACK)"),
    (tcp.SegmentSent(NOW, TCP, 1, 1448, 1, 10), "flight 1/10"),
    (tcp.SegmentRetransmitted(NOW, TCP, 1, 1448, "fast", "sack", 1, 7, 7), "RETX fast (sack) #1 flight 7/7"),
    (
        tcp.RttUpdated(NOW, TCP, 57_000, 60_000, 30_000, 200_060_000),
        "rtt 0.057 ms (srtt 0.060 rttvar 0.030 rto 200)",
    ),
    (tcp.CwndChanged(NOW, TCP, 11, 0x7FFFFFFF, "ack"), "cwnd 11 ssthresh inf (ack)"),
    (tcp.RecoveryEntered(NOW, TCP, "Recovery", "sack", 10, 5), "RECOVERY by sack cwnd 10 ssthresh 5"),
    (tcp.RecoveryLeft(NOW, TCP, 5, 5), "recovered cwnd 5 ssthresh 5"),
    (tcp.ScoreboardChanged(NOW, TCP, 3, 2, 1, 6), "sacked 3 lost 2 resent 1 flight 6"),
    (tcp.WindowChanged(NOW, TCP, 65535), "peer window 65535"),
    (tcp.RtoExpired(NOW, TCP, 2, 800 * MS, 1, 5), "RTO #2 next 800 ms cwnd 1 ssthresh 5"),
    (tcp.TcpTimerFired(NOW, TCP, "delayed-ack", 1), "TIMER delayed-ack"),
    (tcp.TcpTimerFired(NOW, TCP, "persist", 2), "TIMER persist #2"),
    (tcp.ChallengeSent(NOW, TCP, "PAWS"), "challenge ACK (PAWS)"),
    (tcp.ConnectionEnded(NOW, TCP, "ECONNRESET"), "ended ECONNRESET"),
    (tcp.ConnectionEnded(NOW, TCP, ""), "ended"),
    (trace.WireLost(NOW, "out", 3, bytes(42), "loss"), "WIRE lost #3 out (loss)"),
    (trace.WireDuplicated(NOW, "in", 4, bytes(42)), "WIRE doubled #4 in"),
    (trace.WireDelayed(NOW, "in", 5, bytes(42), 20 * MS), "WIRE delayed #5 in by 20 ms"),
    (trace.WireCorrupted(NOW, "in", 6, bytes(42), 40, 7), "WIRE corrupted #6 in (octet 40 bit 7)"),
]


def event_classes() -> set[type[trace.TraceEvent]]:
    """Every class of event there is, at any depth."""
    found: set[type[trace.TraceEvent]] = set()
    waiting = [trace.TraceEvent]
    while waiting:
        for child in waiting.pop().__subclasses__():
            if child not in found:
                found.add(child)
                waiting.append(child)
    return found
