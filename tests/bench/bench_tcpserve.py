"""Short connections and idle ones against tcpserve over a veth pair; the clients are the kernel's.

Wanted: at least 2,000 new connections a second over 20,000 with one exchange of 100 octets each, and 10,000 idle
connections in less than 100 MB. Arguments: the number of connections, `--profile FILE` (a cProfile of the server).
"""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from common import PYTOOLS, Namespace, Verdict, compile_sources, run_in, wire

OURS, PORT, IDLE = "10.9.0.1", 7, 10_000
PROFILED = "import cProfile, sys; from pytools.cli import app; cProfile.run('app.run(sys.argv[1:])', sys.argv.pop(1))"

CLIENT = """
import select, socket, sys, time
address, port, total, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
line = bytes(100)
epoll, streams, begun, done, failed = select.epoll(), {}, 0, 0, 0
start = time.monotonic()
while done < total:
    while begun < total and len(streams) < at_once:
        stream = socket.socket()
        stream.setblocking(False)
        stream.connect_ex((address, port))
        epoll.register(stream.fileno(), select.EPOLLOUT | select.EPOLLONESHOT)
        streams[stream.fileno()] = [stream, 0]
        begun += 1
    for fileno, events in epoll.poll(10):
        one = streams[fileno]
        try:
            if events & select.EPOLLOUT:
                one[0].send(line)
                epoll.modify(fileno, select.EPOLLIN)
                continue
            one[1] += len(one[0].recv(4096))
            if one[1] < len(line):
                continue
        except OSError:
            failed += 1
        one[0].close()
        del streams[fileno]
        done += 1
print(done, failed, time.monotonic() - start)
"""

IDLER = """
import resource, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (20000, 20000))
streams = []
for _ in range(int(sys.argv[3])):
    streams.append(socket.create_connection((sys.argv[1], int(sys.argv[2])), 20))
for stream in streams[-1:]:
    stream.sendall(b"x")
    stream.recv(1)
print("ready", flush=True)
sys.stdin.read()
"""


def resident(pid: int) -> float:
    """Megabytes of a process."""
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def processor_ms(pid: int) -> float:
    """Processor time of a process so far, in milliseconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")


@contextmanager
def served(namespace: Namespace, command: list[str]) -> Iterator[int]:
    """A server; gives its process number."""
    argv = ["ip", "netns", "exec", namespace.name, *command, "tcpserve", "-q", str(PORT)]
    server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        server.stdout.readline()
        yield server.pid
    finally:
        os.kill(server.pid, signal.SIGINT)
        print(server.communicate(timeout=60)[0], end="")


def short_ones(count: int, peer: Namespace, pid: int, verdict: Verdict) -> None:
    """Connect, exchange, close."""
    before = processor_ms(pid)
    output = run_in(peer, [sys.executable, "-c", CLIENT, OURS, str(PORT), str(count), "100"])
    done, failed, elapsed = output.split()
    print(f"processor time of the server: {(processor_ms(pid) - before) / count:.3f} ms a connection")
    verdict.check("failed connections", float(failed), 0)
    verdict.check("connections", int(done) / float(elapsed), 2_000, at_most=False, unit="/s")


def idle_ones(peer: Namespace, pid: int, verdict: Verdict) -> None:
    """Connect and stay."""
    before = resident(pid)
    idler = peer.popen(sys.executable, "-c", IDLER, OURS, str(PORT), str(IDLE), stdin=subprocess.PIPE)
    assert idler.stdout is not None
    idler.stdout.readline()
    verdict.check(f"{IDLE} idle connections", resident(pid) - before, 100, unit=" MB")
    idler.communicate("")


def main() -> None:
    arguments = sys.argv[1:]
    profile = arguments[arguments.index("--profile") + 1] if "--profile" in arguments else ""
    count = int(arguments[0]) if arguments and arguments[0].isdecimal() else 20_000
    compile_sources()
    verdict = Verdict()
    command = [sys.executable, "-c", PROFILED, profile, "pytools"] if profile else PYTOOLS
    with wire() as (ours, peer):
        peer.run("sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535")
        with served(ours, command) as pid:
            short_ones(count, peer, pid, verdict)
        if not profile:
            with served(ours, command) as pid:
                idle_ones(peer, pid, verdict)
    verdict.leave()


if __name__ == "__main__":
    main()
