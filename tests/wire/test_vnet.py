import struct

import pytest

from pytools.errors import DecodeError
from pytools.wire import vnet


def test_the_header_is_that_of_the_kernel_in_the_machine_s_byte_order() -> None:
    octets = vnet.encode(vnet.NEEDS_CSUM, vnet.GSO_TCPV4, 66, 1448, 34, 16)
    assert octets == struct.pack("=BBHHHH", 1, 1, 66, 1448, 34, 16)
    header = vnet.decode(octets)
    assert (header.flags, header.gso_type, header.header_length) == (1, 1, 66)
    assert (header.gso_size, header.csum_start, header.csum_offset) == (1448, 34, 16)


def test_a_frame_that_needs_nothing_has_ten_zeros() -> None:
    assert vnet.encode() == vnet.NONE == bytes(10)


def test_a_header_with_a_buffer_count_reads_alike() -> None:
    octets = vnet.encode(csum_start=34, csum_offset=6, flags=vnet.NEEDS_CSUM) + b"\1\0"
    assert vnet.decode(memoryview(octets)).csum_start == 34


def test_a_short_header_is_refused() -> None:
    with pytest.raises(DecodeError, match="virtio-net header cut short"):
        vnet.decode(bytes(9))
    with pytest.raises(DecodeError, match="virtio-net header cut short"):
        vnet.decode(bytes(20), 4, 13)
