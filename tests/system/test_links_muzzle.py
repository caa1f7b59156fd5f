"""Muzzled listeners: the peer's segments for our ports must meet silence from the kernel."""

import os
import socket
import sys

import pytest
from scapy.layers.inet import IP, TCP
from scapy.layers.inet6 import IPv6

from pytools.errors import LinkError
from pytools.link import host
from pytools.link.bpf import Interest
from pytools.link.muzzle import MuzzledListener
from pytools.link.raw_ip import RawIpLink
from tests.system.links import receive, transmit

pytestmark = pytest.mark.root

OURS = {4: socket.inet_pton(socket.AF_INET, "10.9.0.1"), 6: socket.inet_pton(socket.AF_INET6, "fd09::1")}


@pytest.fixture
def peer(wire):
    """A raw socket of the peer's that sends segments to ours and hears what ours says of them."""
    with wire.peer.entered():
        link = RawIpLink(host.interface("v0"), Interest(ports=((6, 4444),)))
    yield link
    link.close()


@pytest.fixture
def muzzle(wire):
    made = []

    def make(*arguments, **options):
        with wire.ours.entered():
            made.append(MuzzledListener(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


def answer_to(peer, port, flags, version=4, ttl=64):
    if version == 4:
        head = IP(src="10.9.0.2", dst="10.9.0.1", ttl=ttl)
    else:
        head = IPv6(src="fd09::2", dst="fd09::1", hlim=ttl)
    peer.send(transmit(head / TCP(sport=4444, dport=port, flags=flags, seq=1, ack=1) / b"data"))
    got = receive(peer, lambda got: TCP in version_of(got.frame), patience=0.15)
    return None if got is None else str(version_of(got.frame)[TCP].flags)


def version_of(octets):
    return IPv6(octets) if octets[0] >> 4 == 6 else IP(octets)


@pytest.mark.parametrize("version", [4, 6])
def test_without_it_the_kernel_resets(wire, peer, version):
    assert "R" in answer_to(peer, 5555, "SA", version)


@pytest.mark.parametrize("version", [4, 6])
def test_with_it_there_is_silence_whatever_comes(peer, muzzle, version):
    listener = muzzle(OURS[version])
    assert listener.filtered
    assert listener.port > 0
    for flags in ("S", "SA", "A", "PA", "FA"):
        assert answer_to(peer, listener.port, flags, version) is None, flags


def test_the_filter_silences_neighbours_with_the_largest_ttl_too(peer, muzzle):
    assert answer_to(peer, muzzle(OURS[4]).port, "S", ttl=255) is None


def test_one_dual_stack_listener_holds_both_families(peer, muzzle):
    listener = muzzle(bytes(16), dual_stack=True)
    for version in (4, 6):
        assert answer_to(peer, listener.port, "SA", version) is None


@pytest.mark.parametrize("version", [4, 6])
def test_without_privileges_the_ttl_alone_does_it(nobody, wire, peer, version):
    program = f"""
from pytools.link.muzzle import MuzzledListener; import time
listener = MuzzledListener({OURS[version]!r})
print(listener.port, listener.filtered, flush=True)
time.sleep(60)
"""
    process = wire.ours.popen(*nobody.argv("-c", program), env=nobody.environment())
    port, _filtered = process.stdout.readline().split()
    for flags in ("S", "SA", "PA"):
        assert answer_to(peer, int(port), flags, version) is None


def test_the_port_is_ours_and_the_second_is_told(muzzle):
    listener = muzzle(OURS[4], 8080)
    assert listener.port == 8080
    with pytest.raises(
        LinkError, match=r"^bind: Address already in use: port 8080 belongs to another program$"
    ) as error:
        muzzle(OURS[4], 8080)
    assert error.value.errno == 98
    listener.close()
    listener.close()
    muzzle(OURS[4], 8080)


def test_an_address_of_somebody_elses_is_told(muzzle):
    with pytest.raises(LinkError, match="Cannot assign requested address"):
        muzzle(bytes([10, 9, 0, 77]))


def test_a_link_local_address_needs_its_scope(wire, muzzle):
    with wire.ours.entered():
        index = host.interface("v0").index
        (address,) = [one.address for one in host.addresses(index) if one.address[:2] == b"\xfe\x80"]
    muzzle(address, scope=index)


def test_sigkill_frees_the_port_at_once(wire):
    program = f"""
from pytools.link.muzzle import MuzzledListener; import time
MuzzledListener({OURS[4]!r}, 8080); keep = MuzzledListener({OURS[4]!r}, 8081)
print("up", flush=True); time.sleep(60)
"""
    process = wire.ours.popen(sys.executable, "-c", program, cwd=os.getcwd())
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.wait()
    with wire.ours.entered():
        MuzzledListener(OURS[4], 8081).close()
