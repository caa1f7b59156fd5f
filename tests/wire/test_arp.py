import pytest

from pytools.errors import DecodeError
from pytools.wire import arp
from pytools.wire.addr import parse_ip, parse_mac

SENDER, TARGET = parse_mac("02:00:00:00:00:0a"), parse_mac("02:00:00:00:00:02")
OCTETS = bytes.fromhex("0001 0800 06 04 0002  02000000000a 0a00000a  020000000002 0a000002")


def test_a_packet_has_the_layout_of_rfc_826() -> None:
    assert arp.encode(arp.REPLY, SENDER, parse_ip("10.0.0.10"), TARGET, parse_ip("10.0.0.2")) == OCTETS
    packet = arp.decode(memoryview(b"??" + OCTETS + bytes(18)), 2)
    assert packet.operation == arp.REPLY
    assert (packet.sender_mac, packet.sender_ip) == (SENDER, parse_ip("10.0.0.10"))
    assert (packet.target_mac, packet.target_ip) == (TARGET, parse_ip("10.0.0.2"))


def test_an_unknown_operation_comes_as_it_is() -> None:
    assert arp.decode(OCTETS[:6] + b"\0\x08" + OCTETS[8:]).operation == 8


@pytest.mark.parametrize("at", range(6))
def test_other_hardware_or_protocol_or_lengths_are_refused(at: int) -> None:
    octets = bytearray(OCTETS)
    octets[at] ^= 0x10
    with pytest.raises(DecodeError, match="ARP not for Ethernet and IPv4"):
        arp.decode(octets)


@pytest.mark.parametrize("length", [0, 7, 27])
def test_a_short_packet_is_refused(length: int) -> None:
    with pytest.raises(DecodeError, match="cut short"):
        arp.decode(OCTETS[:length])
    with pytest.raises(DecodeError, match="cut short"):
        arp.decode(OCTETS, 0, length)
