"""TapLink: the kernel on one end, a test on the other."""

import os
import select
import socket
import sys
import time

import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether

from pytools.engine import CHECKSUM_PARTIAL, ETHERNET, PACKET_BROADCAST, PACKET_HOST, PACKET_MULTICAST, Transmit
from pytools.errors import LinkError
from pytools.link import host
from pytools.link.tap import TapLink
from pytools.wire.addr import Network
from tests.system.links import exchange, receive, transmit

pytestmark = pytest.mark.root

OURS = "02:00:00:00:00:10"


@pytest.fixture
def home(namespace):
    return namespace("tap")


@pytest.fixture
def open_tap(home):
    taps = []

    def open_one(**options):
        with home.entered():
            taps.append(TapLink(**options))
        return taps[-1]

    yield open_one
    for tap in taps:
        tap.close()


@pytest.fixture
def tap(open_tap):
    return open_tap(mac=bytes.fromhex("020000000010"))


def learn(tap):
    """ARP both ways: the kernel knows us, we know its MAC."""
    request = Ether(src=OURS, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=OURS, psrc="198.18.0.10", pdst="198.18.0.1")
    got = exchange(tap, request, lambda got: ARP in Ether(got.frame) and Ether(got.frame)[ARP].op == 2)
    assert got.packet_type == PACKET_HOST
    return Ether(got.frame)[ARP].hwsrc


def test_the_kernel_has_host_1_of_both_networks(home, open_tap):
    tap = open_tap(index=2)
    (port,) = tap.ports
    assert (port.index, port.link_type, port.mtu) == (2, ETHERNET, 1500)
    assert port.mac[0] & 3 == 2
    assert port.mac != tap.interface.mac
    shown = home.ip(f"addr show {port.name}")
    assert "198.18.0.1/24" in shown
    assert "2001:2::1/64" in shown
    assert "UP" in shown


def test_the_kernel_answers_arp_and_echo(tap):
    kernel = learn(tap)
    request = Ether(src=OURS, dst=kernel) / IP(src="198.18.0.10", dst="198.18.0.1") / ICMP(id=7) / (b"x" * 100)
    got = exchange(tap, request, lambda got: ICMP in Ether(got.frame))
    assert Ether(got.frame)[ICMP].type == 0
    assert got.at is None


def test_the_kernel_answers_in_ipv6_at_once(tap):
    solicitation = (
        Ether(src=OURS, dst="33:33:ff:00:00:01")
        / IPv6(src="2001:2::10", dst="ff02::1:ff00:1", hlim=255)
        / ICMPv6ND_NS(tgt="2001:2::1")
        / ICMPv6NDOptSrcLLAddr(lladdr=OURS)
    )
    kernel = Ether(exchange(tap, solicitation, lambda got: ICMPv6ND_NA in Ether(got.frame)).frame).src
    request = Ether(src=OURS, dst=kernel) / IPv6(src="2001:2::10", dst="2001:2::1") / ICMPv6EchoRequest(id=7)
    exchange(tap, request, lambda got: ICMPv6EchoReply in Ether(got.frame))


def test_packet_types_are_told(home, tap):
    learn(tap)
    with home.entered():
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sender.bind(("198.18.0.1", 0))
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("198.18.0.1"))
    with sender:
        for address, kind in (
            ("198.18.0.10", PACKET_HOST),
            ("198.18.0.255", PACKET_BROADCAST),
            ("224.9.9.9", PACKET_MULTICAST),
        ):
            sender.sendto(b"hello", (address, 9))
            got = receive(tap, lambda got: UDP in Ether(got.frame))
            assert got is not None
            assert got.packet_type == kind
            assert got.checksum == CHECKSUM_PARTIAL


def test_super_segments_pass_both_ways(home, tap):
    """A handshake by hand with a kernel server, then 10 KB each way in one frame."""
    kernel = learn(tap)
    with home.entered():
        server = socket.create_server(("198.18.0.1", 8080))
    server.settimeout(3)
    head = Ether(src=OURS, dst=kernel) / IP(src="198.18.0.10", dst="198.18.0.1")

    def is_tcp(got):
        return TCP in Ether(got.frame)

    syn = head / TCP(sport=5555, dport=8080, flags="S", seq=0, window=65535, options=[("MSS", 1460)])
    answer = Ether(exchange(tap, syn, is_tcp).frame)[TCP]
    assert answer.flags == "SA"
    tap.send(transmit(head / TCP(sport=5555, dport=8080, flags="A", seq=1, ack=answer.seq + 1, window=65535)))
    with server, server.accept()[0] as accepted:
        accepted.settimeout(3)
        payload = os.urandom(10_000)
        segment = head / TCP(sport=5555, dport=8080, flags="PA", seq=1, ack=answer.seq + 1, window=65535) / payload
        pseudo = socket.inet_aton("198.18.0.10") + socket.inet_aton("198.18.0.1") + (6).to_bytes(2, "big")
        total = sum(int.from_bytes(pseudo[at : at + 2], "big") for at in range(0, 10, 2)) + 10_020
        segment[TCP].chksum = (total & 0xFFFF) + (total >> 16)
        octets = bytes(segment)
        tap.send(Transmit(0, (octets[:54], octets[54:]), gso_size=1460, csum_start=34, csum_offset=16))
        received = b""
        while len(received) < len(payload):
            received += accepted.recv(65536)
        assert received == payload
        accepted.sendall(b"y" * 10_000)
        got = receive(tap, lambda got: len(got.frame) > 1600)
    assert got is not None
    assert (got.gso_size, got.checksum) == (1460, CHECKSUM_PARTIAL)


def test_tags_stay_in_the_frame(home, open_tap):
    tap = open_tap(vlans=(5,))
    assert tap.ports[0].vlans == (5,)
    with home.entered():
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        sender.bind((tap.ports[0].name, 0))
    frame = bytes(Ether(dst=tap.ports[0].mac, src=OURS) / Dot1Q(vlan=5) / ARP())
    with sender:
        sender.send(frame)
    got = receive(tap, lambda got: got.frame[12:14] == b"\x81\x00")
    assert got is not None
    assert got.frame == frame


def test_a_network_that_is_routed_already_is_refused(home, open_tap):
    home.ip("link add d0 type veth peer name d1")
    home.ip("addr add 198.18.0.77/26 dev d0")
    home.ip("link set d1 up")
    home.ip("link set d0 up")
    with pytest.raises(
        LinkError, match=r"^198\.18\.0\.0/24 is routed already \(by d0\): choose another with --network$"
    ):
        open_tap()
    open_tap(networks=[Network.parse("198.18.1.0/24")])


@pytest.mark.parametrize(("route", "refused"), [("198.18.0.0/15", True), ("default", False), ("128.0.0.0/1", False)])
def test_a_wider_route_counts_unless_it_leads_everywhere(home, open_tap, route, refused):
    home.ip("link add d0 type veth peer name d1")
    home.ip("link set d0 up")
    home.ip(f"route add {route} dev d0")
    if refused:
        with pytest.raises(LinkError, match="routed already"):
            open_tap()
    else:
        open_tap()


def test_a_network_can_be_used_once_only(open_tap):
    open_tap()
    with pytest.raises(LinkError, match=r"routed already \(by pytools0\)"):
        open_tap()


def test_a_name_that_is_taken_is_refused(home, open_tap):
    home.ip("tuntap add tap9 mode tun")
    with pytest.raises(LinkError, match=r"^tap tap9: TUNSETIFF: "):
        open_tap(name="tap9")


def test_where_ipv6_is_switched_off_the_tap_has_it_all_the_same(home, open_tap):
    home.sysctl(net__ipv6__conf__all__disable_ipv6=1, net__ipv6__conf__default__disable_ipv6=1)
    assert "2001:2::1/64" in home.ip(f"addr show {open_tap().ports[0].name}")


def test_the_device_is_gone_with_the_link(home, open_tap):
    tap = open_tap()
    tap.close()
    tap.close()
    assert "pytools" not in home.ip("link")


def test_sigkill_leaves_no_device(home):
    program = (
        "from pytools.link.tap import TapLink; import time; t = TapLink(); print('up', flush=True); time.sleep(60)"
    )
    process = home.popen(sys.executable, "-c", program, cwd=os.getcwd())
    assert process.stdout.readline() == "up\n"
    assert "pytools0" in home.ip("link")
    process.kill()
    process.wait()
    assert "pytools0" not in home.ip("link")


def test_a_device_that_is_taken_down_or_away_ends_the_link_in_one_line(home, open_tap):
    tap = open_tap()
    frame = Transmit(0, (bytes(60),))
    home.ip("link set pytools0 down")
    with home.entered(), pytest.raises(LinkError, match="pytools0: the interface went down"):
        tap.send(frame)
    home.ip("link del pytools0")
    with home.entered():
        with pytest.raises(LinkError, match="pytools0: the interface is gone"):
            tap.send(frame)
        select.select(tap.filenos(), (), (), 1)
        with pytest.raises(LinkError, match="pytools0: the interface is gone"):
            tap.recv_batch(lambda *_: None, time.monotonic_ns, 1)


def test_an_ordinary_user_is_told_what_is_missing(nobody):
    if os.access("/dev/net/tun", os.R_OK) and os.stat("/dev/net/tun").st_mode & 0o006:
        pytest.skip("/dev/net/tun is open to all here")
    done = nobody.run(
        "-c",
        "from pytools.link.tap import TapLink; import sys\ntry: TapLink()\nexcept Exception as e: sys.exit(str(e))",
    )
    assert done.stderr.startswith("/dev/net/tun: Permission denied: needs root or CAP_NET_ADMIN")


def _refusal(home, *prefix):
    program = "from pytools.link.tap import TapLink\ntry: TapLink()\nexcept Exception as e: print(e)"
    return home.run(*prefix, sys.executable, "-c", program, cwd=os.getcwd()).stdout


def test_root_without_net_admin_is_told_what_is_missing(home):
    output = _refusal(home, "setpriv", "--bounding-set=-net_admin")
    assert output.startswith("tap pytools%d: TUNSETIFF: Operation not permitted: needs root or CAP_NET_ADMIN")


def test_without_the_driver_there_is_another_way(home):
    output = _refusal(home, "unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "sh")
    assert output.startswith("/dev/net/tun: No such file or directory: there is no TUN driver here")


def test_the_kernels_neighbour_entry_is_ours(home, tap):
    learn(tap)
    with home.entered():
        (entry,) = [one for one in host.neighbors(tap.interface.index) if one.address == bytes([198, 18, 0, 10])]
    assert entry.mac == bytes.fromhex("020000000010")
