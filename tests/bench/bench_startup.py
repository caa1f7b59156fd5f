"""From exec to the first frame on the wire, in turns with `python3 -c pass` of the same interpreter.

Wanted: the ratio of the medians at most 7, with .pyc files in place.
"""

import socket
import struct
import subprocess
import sys
import time

from common import PEER, PYTOOLS, Verdict, compile_sources, median, wire

RUNS = int(sys.argv[1]) if len(sys.argv) > 1 else 30
SO_TIMESTAMPNS = 35
ETH_P_ALL = 3


def listener(namespace: object) -> socket.socket:
    """A packet socket on the peer's end of the wire."""
    with namespace.entered():  # type: ignore[attr-defined]
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.bind(("v0", ETH_P_ALL))
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return sock


def drain(sock: socket.socket) -> None:
    sock.settimeout(0.05)
    try:
        while True:
            sock.recv(65536)
    except TimeoutError:
        sock.settimeout(5)


def first_frame_at(sock: socket.socket) -> int:
    """Realtime nanoseconds of the next frame from the other end."""
    while True:
        frame, ancillary, _, address = sock.recvmsg(65536, 128)
        if address[2] != 4 and frame[12:14] in (b"\x08\x00", b"\x08\x06"):  # PACKET_OUTGOING; IPv4 or ARP
            seconds, nanoseconds = struct.unpack("qq", ancillary[0][2][:16])
            return int(seconds * 1_000_000_000 + nanoseconds)


def main() -> None:
    compile_sources()
    ping = [*PYTOOLS, "ping", "-n", "-c", "1", "-W", "1", PEER]
    bare, first = [], []
    with wire() as (ours, peer):
        sock = listener(peer)
        with ours.entered():
            for number in range(RUNS + 2):
                began = time.time_ns()
                subprocess.run([sys.executable, "-c", "pass"], check=True)
                bare.append((time.time_ns() - began) / 1e6)
                drain(sock)
                began = time.time_ns()
                process = subprocess.Popen(ping, stdout=subprocess.DEVNULL)
                first.append((first_frame_at(sock) - began) / 1e6)
                process.wait()
                if number < 2:  # warm the caches
                    bare.clear()
                    first.clear()
    print(f"python3 -c pass: median {median(bare):.1f} ms (min {min(bare):.1f}); {RUNS} runs in turns")
    print(f"exec to the first frame: median {median(first):.1f} ms (min {min(first):.1f})")
    verdict = Verdict()
    verdict.check("exec to the first frame / python3 -c pass", median(first) / median(bare), 7)
    verdict.leave()


if __name__ == "__main__":
    main()
