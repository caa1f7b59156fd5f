"""`pytools ping --live` on a pseudo terminal."""

import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

pytest.importorskip("rich", reason="rich is not installed")

ROOT = Path(__file__).parents[2]


class Terminal:
    """The command at a terminal of 110 columns; everything it shows is collected."""

    def __init__(self, *arguments: str) -> None:
        self.master, slave = pty.openpty()
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "110", "LINES": "24", "PYTHONPATH": str(ROOT)}
        words = [sys.executable, "-m", "pytools", "ping", "--live", "--via", *arguments]
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=ROOT)
        self.slave = slave
        self.shown = ""

    def until(self, pattern: str) -> None:
        """Read on until something is shown."""
        while not re.search(pattern, self.shown):
            assert select.select([self.master], [], [], 30)[0], self.shown[-500:]
            self.shown += os.read(self.master, 65536).decode(errors="replace")

    def types(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def end(self) -> int:
        """Wait for the end; the terminal must be as it was."""
        while self.process.poll() is None:
            if select.select([self.master], [], [], 0.05)[0]:
                self.shown += os.read(self.master, 65536).decode(errors="replace")
        while select.select([self.master], [], [], 0)[0]:
            self.shown += os.read(self.master, 65536).decode(errors="replace")
        assert termios.tcgetattr(self.slave)[3] == self.before[3]
        os.close(self.slave)
        os.close(self.master)
        return self.process.returncode


def test_the_table_stays_and_the_summary_follows() -> None:
    terminal = Terminal("sim:delay=5ms,pace=20", "-c", "5", "10.0.0.2", "10.0.0.1")
    assert terminal.end() == 0
    assert "last round trips" in terminal.shown
    assert "2 targets, 2 answered; 10 packets transmitted" in terminal.shown
    assert "\x1b[?25h" in terminal.shown  # the cursor is back


def test_keys_pause_sort_reset_help_and_quit() -> None:
    terminal = Terminal("sim:delay=5ms,pace=1", "-i", "0.1", "10.0.0.2", "10.0.0.1")
    terminal.until(r"10\.0\.0\.2 +[1-9]\d* +[1-9]")
    terminal.types("?")
    terminal.until("q quit, p pause")
    terminal.types("s")
    terminal.until("by name")
    terminal.types("rp")
    terminal.types("\n")
    terminal.until(r"packets, \d+% loss")
    terminal.types("q")
    assert terminal.end() == 0
    assert "ping statistics, 2 targets" in terminal.shown


def test_ctrl_c_gives_the_terminal_back() -> None:
    terminal = Terminal("sim:delay=5ms,pace=1", "-i", "0.1", "10.0.0.2")
    terminal.until(r"10\.0\.0\.2 +[1-9]\d* +[1-9]")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 0
    assert "--- 10.0.0.2 ping statistics ---" in terminal.shown
