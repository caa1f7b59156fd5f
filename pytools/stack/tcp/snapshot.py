"""TCP_INFO of a connection."""

from typing import TYPE_CHECKING

from pytools.stack.tcp.info import TcpInfo

if TYPE_CHECKING:
    from pytools.stack.tcp.connection import Connection


def snapshot(connection: "Connection") -> TcpInfo:
    """What the connection knows now."""
    tx, rcv, agreed = connection.tx, connection.receiver, connection.agreement
    return TcpInfo(
        state=connection.state,
        ca_state=tx.recovery.phase,
        retransmits=tx.retransmits,
        probes=tx.probes_out,
        backoff=tx.rtt.backoff_count,
        options={"timestamps": agreed.timestamps, "sack": agreed.sack, "wscale": agreed.window_scaling},
        snd_wscale=agreed.peer_shift,
        rcv_wscale=agreed.our_shift,
        rto_ns=tx.rtt.rto_ns,
        rtt_ns=tx.rtt.srtt_ns,
        rttvar_ns=tx.rtt.rttvar_ns,
        min_rtt_ns=tx.rtt.min_ns,
        snd_mss=tx.sender.mss,
        rcv_mss=rcv.mss,
        advmss=agreed.advertised_mss,
        pmtu=connection.path_mss,
        unacked=tx.board.packets_out,
        sacked=tx.board.sacked_out + tx.board.reno_sacked,
        lost=tx.board.lost_out,
        retrans_out=tx.board.retrans_out,
        snd_cwnd=tx.cc.cwnd,
        snd_ssthresh=tx.cc.ssthresh,
        congestion=tx.cc.name,
        snd_wnd=tx.sender.snd_wnd,
        rcv_space=rcv.buffer,
        rcv_ssthresh=rcv.threshold,
        total_retrans=tx.total_retransmitted,
        bytes_acked=tx.text_acked(),
        bytes_sent=tx.text_sent() + tx.bytes_retransmitted,
        bytes_retrans=tx.bytes_retransmitted,
        bytes_received=rcv.text_received(),
        dsack_dups=tx.dsacks,
        segs_in=connection.segments_in,
        segs_out=connection.segmenter.segments_out,
        causes=dict(tx.causes),
    )
