"""Network namespaces for the tests that meet the real kernel.

`namespace(label)` makes an empty one (lo is up), `wire` a veth pair between two, `routed` a client, a router and a
server, addressed like the tables below. Everything goes away after the test: processes first, then namespaces. Names
start with `pt<pid>`, so that parallel runs don't meet.

    wire.ours --v0-- wire.peer            routed.client --v0-- v0 routed.router v1 --v0-- routed.server
    10.9.0.1/24      10.9.0.2/24          10.9.0.1/24       10.9.0.2  10.9.1.1            10.9.1.2/24
    fd09::1/64       fd09::2/64           fd09::1/64        fd09::2   fd09:1::1           fd09:1::2/64
    02:00:00:09:00:01  ..:00:02           ..:00:01          ..:00:02  ..:01:01            ..:01:02

IPv6 addresses are usable at once (no DAD), ICMP rate limits are off, and nobody answers for 10.9.0.99 and fd09::99.
`nobody` runs Python without privileges on a copy of the package.
"""

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CLONE_NEWNET = 0x40000000


def _setns(descriptor: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


class Namespace:
    """A named network namespace. Closing it kills what was started in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = Path("/run/netns", name)
        self._started: list[subprocess.Popen[Any]] = []
        subprocess.run(["ip", "netns", "add", name], check=True)
        self.ip("link set lo up")

    def ip(self, words: str) -> str:
        """Run `ip WORDS` on this namespace and return what it printed."""
        return subprocess.run(
            ["ip", "-n", self.name, *words.split()], check=True, capture_output=True, text=True
        ).stdout

    def sysctl(self, **settings: object) -> None:
        """Set sysctls; two underscores stand for a dot: `net__ipv4__ip_forward=1`."""
        with self.entered():
            for name, value in settings.items():
                Path("/proc/sys", name.replace("__", "/")).write_text(f"{value}\n")

    def run(self, *argv: str | os.PathLike[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program inside to its end; output is captured as text unless `options` say otherwise."""
        options = {"capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(["ip", "netns", "exec", self.name, *argv], check=False, **options)

    def popen(self, *argv: str | os.PathLike[str], **options: Any) -> subprocess.Popen[str]:
        """Start a program inside; it is killed when the test ends."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
        process = subprocess.Popen(["ip", "netns", "exec", self.name, *argv], **options)
        self._started.append(process)
        return process

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Put the calling thread inside: what is opened here stays here after leaving."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        inside = os.open(self.path, os.O_RDONLY)
        try:
            _setns(inside)
            try:
                yield
            finally:
                _setns(home)
        finally:
            os.close(inside)
            os.close(home)

    def close(self) -> None:
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.communicate()
        subprocess.run(["ip", "netns", "del", self.name], check=False)


class Wire:
    """Two namespaces and a veth pair between their v0."""

    ours: Namespace
    peer: Namespace

    def __init__(self, ours: Namespace, peer: Namespace) -> None:
        self.ours = ours
        self.peer = peer


class Routed:
    """A client and a server with a router between them."""

    def __init__(self, client: Namespace, router: Namespace, server: Namespace) -> None:
        self.client = client
        self.router = router
        self.server = server


def connect(left: Namespace, left_name: str, right: Namespace, right_name: str, subnet: int = 0) -> None:
    """A veth pair with 10.9.SUBNET.{1,2}/24 and fd09[:SUBNET]::{1,2}/64 on its ends."""
    left.ip(f"link add {left_name} type veth peer name {right_name} netns {right.name}")
    v6 = f"fd09:{subnet}::" if subnet else "fd09::"
    ends = [(left, left_name, 1), (right, right_name, 2)]
    for side, name, number in ends:
        side.ip(f"link set {name} address 02:00:00:09:{subnet:02x}:{number:02x}")
        side.sysctl(**{f"net__ipv6__conf__{name}__accept_dad": 0})
        side.ip(f"link set {name} up")
    # An IPv6 address works at once only if it comes after the carrier; else its route waits for a timer of a second.
    for side, name, number in ends:
        _wait_for(side, f"link show {name}", "LOWER_UP")
        side.ip(f"addr add 10.9.{subnet}.{number}/24 dev {name}")
        side.ip(f"addr add {v6}{number}/64 dev {name} nodad")
    for side, name, number in ends:
        _wait_for(side, f"-6 route show table local dev {name}", f"local {v6}{number} ")


def _wait_for(side: Namespace, words: str, wanted: str) -> None:
    end = time.monotonic() + 5
    while wanted not in side.ip(words) and time.monotonic() < end:
        time.sleep(0.002)


def _no_rate_limits(namespace: Namespace) -> None:
    namespace.sysctl(net__ipv4__icmp_ratelimit=0, net__ipv6__icmp__ratelimit=0)


@pytest.fixture
def namespace() -> Iterator[Callable[[str], Namespace]]:
    """A factory: `namespace("peer")`."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    made: list[Namespace] = []

    def make(label: str = "x") -> Namespace:
        one = Namespace(f"pt{os.getpid()}-{label}-{len(made)}")
        made.append(one)
        _no_rate_limits(one)
        return one

    yield make
    for one in made:
        one.close()


@pytest.fixture
def wire(namespace: Callable[[str], Namespace]) -> Wire:
    """Ours and a peer over one veth pair."""
    ours, peer = namespace("ours"), namespace("peer")
    connect(ours, "v0", peer, "v0")
    return Wire(ours, peer)


@pytest.fixture
def routed(namespace: Callable[[str], Namespace]) -> Routed:
    """Client, router and server; routes both ways, forwarding on."""
    client, router, server = namespace("client"), namespace("router"), namespace("server")
    connect(client, "v0", router, "v0")
    connect(router, "v1", server, "v0", subnet=1)
    router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1)
    for side, v4, v6 in ((client, "10.9.0.2", "fd09::2"), (server, "10.9.1.1", "fd09:1::1")):
        side.ip(f"route add default via {v4}")
        side.ip(f"route add default via {v6}")
    return Routed(client, router, server)


def _readable_by_all(path: Path) -> bool:
    real = path.resolve()
    return os.geteuid() != 0 or all(one.stat().st_mode & 0o001 for one in (real, *real.parents))


class Nobody:
    """Runs Python as uid 65534 (as ourselves, if we are not root), on a copy of the package that anyone can read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._prefix: tuple[str, ...] = ()
        if os.geteuid() == 0:
            self._prefix = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
        package = Path(__file__).parents[2] / "pytools"
        shutil.copytree(package, directory / "pytools", ignore=shutil.ignore_patterns("__pycache__"))
        self.python = next((one for one in (sys.executable, "/usr/bin/python3") if self._can_run(one)), "")

    def _can_run(self, python: str) -> bool:
        """Whether it starts and finds its own library (setpriv may reach a program that its user can't read)."""
        program = "import sys, os; sys.exit(sys.version_info < (3, 11) or not os.access(sys.base_prefix, os.R_OK))"
        if not _readable_by_all(Path(python)):
            return False
        return subprocess.run([*self._prefix, python, "-c", program], capture_output=True, check=False).returncode == 0

    def argv(self, *arguments: str) -> list[str]:
        """The command line of `python ARGUMENTS`."""
        return [*self._prefix, self.python, *arguments]

    def environment(self) -> dict[str, str]:
        """With the copy on the path and nothing written beside it."""
        return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(self.directory), "PYTHONDONTWRITEBYTECODE": "1"}

    def run(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run to the end; output is captured as text."""
        options = {"capture_output": True, "text": True, "timeout": 60, **options}
        return subprocess.run(self.argv(*arguments), env=self.environment(), cwd=self.directory, check=False, **options)


@pytest.fixture(scope="module")
def nobody() -> Iterator[Nobody]:
    """An ordinary user."""
    directory = Path(tempfile.mkdtemp(prefix="pytools-nobody-"))
    directory.chmod(0o755)
    try:
        one = Nobody(directory)
        if not one.python:
            pytest.skip("needs a Python 3.11 that other users can run")
        yield one
    finally:
        shutil.rmtree(directory)
