"""The lab, each time in a process of its own, as root and as an ordinary user."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pytools.link.lab_services import character_lines

ROOT = Path(__file__).parents[2]

PRELUDE = """
import os, select, socket, struct, sys, time
from pytools.engine import Transmit
from pytools.errors import LinkError
from pytools.link import bpf, privilege
from pytools.link.lab import Lab

def open_lab(**options):
    return Lab(bpf.Interest(arp=bpf.ARP_ALL, everything=True), **options)

def ones(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16: total = (total & 0xFFFF) + (total >> 16)
    return (0xFFFF - total).to_bytes(2, "big")

OURS, KERNEL = bytes.fromhex("020000000010"), bytes.fromhex("020000000001")
ARP = bytes(5 * [255]) + b"\\xff" + OURS + b"\\x08\\x06" + bytes.fromhex("0001080006040001") + OURS + bytes([10,0,0,10])
ARP += bytes(6)

def echo4(last):
    head = bytes.fromhex("4500001c000040004001") ; tail = bytes([10,0,0,10, 10,0,0,last])
    icmp = bytes.fromhex("0800") + ones(bytes.fromhex("08000000004d0001")) + bytes.fromhex("004d0001")
    return KERNEL + OURS + b"\\x08\\x00" + head + ones(head + b"\\0\\0" + tail) + tail + icmp

def ask(lab, frame, wanted):
    sent = time.monotonic_ns()
    assert lab.send(Transmit(0, (frame,)))
    answers = []
    def sink(got, now, meta):
        if wanted(bytes(got)): answers.append((bytes(got), meta.at))
    while not answers:
        assert select.select(lab.filenos(), (), (), 3)[0], "no answer"
        lab.recv_batch(sink, time.monotonic_ns, 1)
    frame, at = answers[0]
    assert sent < at < time.monotonic_ns(), (sent, at)
    return frame
"""


class Somebody:
    """Runs programs after the prelude, as root or as an ordinary user."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self.argv = argv
        self.environment = environment

    def start(self, program: str, prefix: tuple[str, ...] = ()) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [*self.argv[:-1], *prefix, self.argv[-1], "-c", PRELUDE + program],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, program: str, prefix: tuple[str, ...] = ()) -> str:
        process = self.start(program, prefix)
        output, errors = process.communicate(timeout=30)
        assert process.returncode == 0, errors
        return output


@pytest.fixture(params=["root", "nobody"])
def somebody(request) -> Somebody:
    if request.param == "nobody":
        user = request.getfixturevalue("nobody")
        return Somebody(user.argv(), user.environment())
    if os.geteuid() != 0:
        pytest.skip("needs root")
    return Somebody([sys.executable], {**os.environ, "PYTHONPATH": str(ROOT)})


def test_the_kernel_answers_arp_and_echo(somebody):
    somebody.run("""
lab = open_lab()
(port,) = lab.ports
assert (port.name, port.mac, port.mtu) == ("lab0", OURS, 1500)
for last in (1, 2):
    reply = ask(lab, ARP + bytes([10,0,0,last]), lambda frame: frame[12:14] == b"\\x08\\x06" and frame[21] == 2)
    assert reply[22:28] == KERNEL and reply[28:32] == bytes([10,0,0,last])
    assert ask(lab, echo4(last), lambda frame: frame[12:14] == b"\\x08\\x00")[34] == 0
""")


def test_the_kernel_answers_neighbour_solicitations(somebody):
    somebody.run("""
lab = open_lab()
ours, target = bytes([0xFD]) + bytes(14) + b"\\x10", bytes([0xFD]) + bytes(14) + b"\\2"
group = bytes.fromhex("ff0200000000000000000001ff000002")
body = target + b"\\1\\1" + OURS
pseudo = ours + group + struct.pack("!IxxxB", 8 + len(body), 58)
icmp = b"\\x87\\0" + ones(pseudo + b"\\x87\\0" + bytes(6) + body) + bytes(4) + body
frame = bytes.fromhex("3333ff000002") + OURS + b"\\x86\\xdd" + bytes.fromhex("60000000")
frame += struct.pack("!HBB", len(icmp), 58, 255) + ours + group + icmp
reply = ask(lab, frame, lambda frame: frame[12:14] == b"\\x86\\xdd" and frame[54] == 136)
assert reply[6:12] == KERNEL and reply[62:78] == target
""")


def test_the_servers_answer_from_the_address_that_was_asked(somebody):
    output = somebody.run("""
lab = open_lab()
def talk(address, port, data):
    with socket.create_connection((address, port), timeout=3) as client:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(65536), b""))
def ask_datagram(address, port, data):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as client:
        client.settimeout(3)
        client.connect((address, port))   # hears that one address alone
        client.send(data)
        return client.recv(65536)
for address in ("10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"):
    long = os.urandom(3_000_000)
    with socket.create_connection((address, 7), timeout=3) as client:
        import threading
        threading.Thread(target=lambda: (client.sendall(long), client.shutdown(socket.SHUT_WR))).start()
        assert b"".join(iter(lambda: client.recv(65536), b"")) == long
    assert talk(address, 9, b"x" * 100_000) == b""
    assert ask_datagram(address, 7, b"hello") == b"hello"
    with socket.create_connection((address, 19), timeout=3) as client:
        lines = b""
        while len(lines) < 300_000:
            lines += client.recv(65536)
    datagram = ask_datagram(address, 19, b"?")
    page = talk(address, 80, b"GET / HTTP/1.0\\r\\n\\r\\n")
    assert page.startswith(b"HTTP/1.0 200 OK\\r\\n") and page.endswith(b"lab.\\n"), page
    assert f"Content-Length: {len(page.split(bytes([13,10,13,10]))[1])}".encode() in page
    assert talk(address, 80, b"HEAD / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n").endswith(b"\\r\\n\\r\\n")
    assert talk(address, 80, b"GET /other HTTP/1.0\\r\\n\\r\\n").startswith(b"HTTP/1.0 404 ")
    assert talk(address, 80, b"\\x00\\xff\\r\\n\\r\\n").startswith(b"HTTP/1.0 501 ")
    print(lines[:300_000].hex(), datagram.hex())
""")
    for line in output.splitlines():
        stream, datagram = map(bytes.fromhex, line.split())
        assert stream == character_lines(4055)[:300_000]
        assert character_lines(6).startswith(datagram)
        assert len(datagram) <= 512


def test_chargen_has_the_pattern_of_rfc_864():
    first, second = character_lines(2).split(b"\r\n")[:2]
    assert first == b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg"
    assert second == b"!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefgh"
    assert len(character_lines(95)) == 95 * 74


def test_other_networks_can_be_asked_for(somebody):
    somebody.run("""
from pytools.wire.addr import Network
lab = open_lab(networks=[Network.parse("192.0.2.64/26")])
with socket.create_connection(("192.0.2.66", 7), timeout=3): pass
""")


def test_giving_up_privileges_inside_leaves_a_working_lab(somebody):
    somebody.run("""
lab = open_lab()
privilege.drop()
assert privilege.capabilities() == 0
ask(lab, ARP + bytes([10,0,0,1]), lambda frame: frame[12:14] == b"\\x08\\x06" and frame[21] == 2)
with socket.socket() as client: client.connect(("10.0.0.1", 7))
lab.close()
try: os.waitpid(-1, 0)
except ChildProcessError: pass
else: sys.exit("a child is left")
""")


def test_the_servers_have_no_privileges(somebody):
    somebody.run("""
lab = open_lab()
time.sleep(0.05)
with socket.create_connection(("10.0.0.1", 7), timeout=3): pass
status = open(f"/proc/{lab._child}/status").read()
assert "CapEff:\\t0000000000000000" in status and "NoNewPrivs:\\t1" in status, status
""")


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _users_of(namespace: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            if str(path.readlink()) == namespace:
                found.append(str(path))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
def test_sigkill_leaves_no_child_and_no_namespace(somebody, busy):
    work = "with socket.create_connection(('10.0.0.1', 19)) as c: print(c.recv(1)[:0].decode(), end='')" if busy else ""
    process = somebody.start(f"""
lab = open_lab()
{work}
print(lab._child, os.readlink("/proc/self/ns/net"), flush=True)
time.sleep(60)
""")
    assert process.stdout is not None
    child, namespace = process.stdout.readline().split()
    assert _is_alive(int(child))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    end = time.monotonic() + 3
    while _is_alive(int(child)) and time.monotonic() < end:
        time.sleep(0.01)
    assert not _is_alive(int(child))
    assert _users_of(namespace) == []


def test_a_terminals_interrupt_does_not_end_the_servers(somebody):
    somebody.run(
        """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
lab = open_lab()
with socket.create_connection(("10.0.0.1", 7), timeout=3): pass
os.killpg(os.getpgrp(), signal.SIGINT)
with socket.create_connection(("10.0.0.1", 7), timeout=3) as client:
    client.sendall(b"still here")
    assert client.recv(100) == b"still here"
""",
        prefix=("setsid", "--wait"),
    )


REFUSED = """
try: open_lab()
except LinkError as error: print(error.errno, error)
else: print("not refused")
"""


def test_without_namespaces_left_the_step_and_the_limit_are_named(somebody):
    limits = 'echo 0 >/proc/sys/user/max_net_namespaces; exec "$@"'
    prefix = ("unshare", "--user", "--map-root-user", "sh", "-c", limits, "sh")
    output = somebody.run(REFUSED, prefix)
    assert output.startswith("28 lab: unshare(NEWNET): No space left on device: user.max_")
    assert output.count("\n") == 1


def test_other_threads_are_named_as_the_reason(nobody):
    program = (
        PRELUDE + "import threading; threading.Thread(target=time.sleep, args=(5,), daemon=True).start()" + REFUSED
    )
    done = nobody.run("-c", program)
    assert done.stdout.startswith("22 lab: unshare(NEWUSER|NEWNET): Invalid argument: this process has other threads")


def test_a_seccomp_filter_is_named_as_the_reason(nobody):
    number = {"x86_64": 272, "aarch64": 97}.get(platform.machine())
    if number is None:
        pytest.skip(f"the number of unshare() on {platform.machine()} is not in this test")
    program = f"""
import array, ctypes
from pytools.link.bpf import Assembler, LD_W, JEQ
asm = Assembler()
asm.load(LD_W, 0)
asm.jump(JEQ, {number}, otherwise="allow")
asm.ret(0x00050001)
asm.label("allow")
asm.ret(0x7FFF0000)
code = array.array("B", asm.assemble())
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
fprog = ctypes.create_string_buffer(struct.pack("@HP", len(code) // 8, code.buffer_info()[0]))
assert libc.prctl(22, 2, fprog, 0, 0) == 0
"""
    done = nobody.run("-c", PRELUDE + program + REFUSED)
    assert done.stdout.startswith(
        "1 lab: unshare(NEWUSER|NEWNET): Operation not permitted: a container's seccomp filter"
    )
