"""Our TCP against the kernel's: a host of ours on a link, applications that turn, and the kernel's end in a thread."""

import errno
import hashlib
import socket
import threading
import time
from collections.abc import Callable
from random import Random

import pytest

from pytools.run.driver import Driver
from pytools.run.waiters import RealWaiter
from pytools.stack import sockets as so
from pytools.stack.sockets import StreamSocket
from pytools.stack.stack import Stack
from pytools.stack.tcp.tcp import Tcp
from pytools.units import MS

PATIENCE = 60.0
CHUNK = 1 << 18


class App:
    """Our side of a connection: writes `outgoing`, half-closes when told to, reads to the end, notes an error."""

    def __init__(self, stream, outgoing=b"", write_size=CHUNK, reads=True):
        self.stream = stream
        self.outgoing = memoryview(outgoing)
        self.written = self.received = 0
        self.digest = hashlib.sha256()
        self.write_size = write_size
        self.reads = reads
        self.error = 0
        self.ended = self.shut = False

    @property
    def done(self):
        return bool(self.error) or (self.shut and self.ended)

    def turn(self, now):
        if self.error or self.stream.connecting:
            return
        for action in (self._write, self._read):
            try:
                action(now)
            except OSError as problem:
                if problem.errno != errno.EAGAIN:
                    self.error = problem.errno
                    return

    def _write(self, now):
        while self.written < len(self.outgoing):
            piece = bytes(self.outgoing[self.written : self.written + self.write_size])
            self.written += self.stream.send(piece, now)
        if not self.shut:
            self.shut = True
            self.stream.shutdown(so.SHUT_WR, now)

    def _read(self, now):
        while self.reads and not self.ended:
            data = self.stream.recv(1 << 20, now)
            self.received += len(data)
            self.digest.update(data)
            self.ended = not data


class Host:
    """One stack with its links on the machine's clock."""

    def __init__(self, *links, **settings):
        self.stack = Stack(Random(time.monotonic_ns()))
        for link in links:
            self.stack.add_port(link.ports[0])
        self.tcp = self.stack.install(6, Tcp)
        for name, value in settings.items():
            setattr(self.tcp.config, name, value)
        self.driver = Driver(self.stack, links, RealWaiter(), on_event=lambda event: None)
        self.apps = []

    def now(self):
        return time.monotonic_ns()

    def socket(self, address):
        return StreamSocket(self.tcp, so.AF_INET if len(address) == 4 else so.AF_INET6)

    def connect(self, remote, outgoing=b"", local=None, **options):
        """An App on a connection to `remote`."""
        stream = self.socket(remote[0])
        if local is not None:
            stream.bind(*local)
        with pytest.raises(BlockingIOError):
            stream.connect(remote, self.now())
        app = App(stream, outgoing, **options)
        self.apps.append(app)
        return app

    def listen(self, address, port, backlog=128):
        stream = self.socket(address)
        stream.bind(address, port)
        stream.listen(backlog)
        return stream

    def run(self, done: Callable[[], bool], patience=PATIENCE):
        """Turn until `done()`; every App gets its turn each time."""
        end = time.monotonic() + patience
        while True:
            now = self.now()
            for app in self.apps:
                app.turn(now)
            if done():
                return
            assert time.monotonic() < end, "patience is over"
            self.driver.step(self.now() + 20 * MS)

    def accept(self, listener, outgoing=b"", **options):
        """Wait for a client and give it an App."""
        self.run(lambda: listener.poll() != 0)
        app = App(listener.accept(self.now()), outgoing, **options)
        self.apps.append(app)
        return app


class Kernel(threading.Thread):
    """The kernel's side: `work(socket)` in a thread; `join` raises what it raised and returns what it returned."""

    def __init__(self, namespace, work):
        super().__init__(daemon=True)
        self.work = work
        self.problem = None
        self.result = None
        self.ready = threading.Event()
        self.namespace = namespace
        self.start()

    def run(self):
        try:
            with self.namespace.entered():
                pass
            self.result = self.work(self)
        except BaseException as problem:
            self.problem = problem
        self.ready.set()

    def socket(self, family=socket.AF_INET):
        """A socket of the kernel in the namespace."""
        with self.namespace.entered():
            made = socket.socket(family, socket.SOCK_STREAM)
        made.settimeout(PATIENCE)
        return made

    def server(self, address, port, backlog=128):
        """A listening one; the test may connect from now on."""
        made = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((address, port))
        made.listen(backlog)
        self.ready.set()
        return made

    @property
    def over(self):
        return not self.is_alive()

    def outcome(self):
        self.join(PATIENCE)
        assert not self.is_alive(), "the kernel's side hangs"
        if self.problem is not None:
            raise self.problem
        return self.result


def exchange(sock, outgoing):
    """Send `outgoing` and read to the end at the same time; (octets, sha256) of what came."""

    def send():
        sock.sendall(outgoing)
        sock.shutdown(socket.SHUT_WR)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    digest, count = hashlib.sha256(), 0
    while data := sock.recv(1 << 18):
        digest.update(data)
        count += len(data)
    sender.join(PATIENCE)
    sock.close()
    return count, digest.hexdigest()
