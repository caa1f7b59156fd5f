"""Why a segment was sent again: one enumeration for trace, JSON, pcapng and retxstat."""

from typing import Final


class Cause:
    """`loss` is go-back-N after an RTO; `fast` the first resend on entering recovery, `recovery` its later holes."""

    SYN: Final = "syn"
    SYNACK: Final = "synack"
    FIN: Final = "fin"
    RTO: Final = "rto"
    LOSS: Final = "loss"
    FAST: Final = "fast"
    RECOVERY: Final = "recovery"
    TLP: Final = "tlp"
    PARTIAL: Final = "partial"
    UNKNOWN: Final = "unknown"
    # Probes, never counted as retransmissions.
    KEEPALIVE: Final = "keepalive"
    ZWPROBE: Final = "zwprobe"


class By:
    """What made the sender sure of the loss."""

    DUPACK: Final = "dupack"
    SACK: Final = "sack"
    RACK: Final = "rack"
    TIMER: Final = "timer"
