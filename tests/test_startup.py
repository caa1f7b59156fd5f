"""What a command may load before its first packet. Each name costs time at every start; the list is the budget.

From exec to the first packet a command may take 7 times what `python3 -c pass` takes (tests/bench/bench_startup.py
measures it). Counting modules is the same on every machine.
"""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEVER = {
    "scapy",
    "rich",
    "typer",
    "click",
    "asyncio",
    "numpy",
    "matplotlib",
    "pydantic",
    "logging",
    "json",
    "dataclasses",
}
NEVER |= {
    "inspect",
    "traceback",
    "subprocess",
    "urllib",
    "email",
    "argparse",
    "pathlib",
    "shutil",
    "tempfile",
    "ipaddress",
}
NEVER |= {
    "concurrent",
    "threading",
    "multiprocessing",
    "importlib.metadata",
    "datetime",
    "locale",
    "gettext",
    "decimal",
}
MAY = set(
    "array atexit bisect codecs collections contextlib copyreg ctypes encodings enum errno fcntl functools gc heapq "
    "importlib io itertools keyword math operator os random re reprlib select selectors signal socket stat string "
    "struct sys time types typing warnings weakref zlib abc genericpath posixpath posix site builtins marshal".split()
)
OWN_LIMIT = 110
"""Our own modules: about 0.3 ms each."""
TCP_LIMIT = 135
"""With TCP on both ends of the simulated wire."""

LIST = """
import sys
before = set(sys.modules)
from pytools.cli import app
status = app.run(["pytools", *sys.argv[1:]])
print("\\n" + " ".join(sorted(set(sys.modules) - before)))
sys.exit(status)
"""


def loaded_by(*arguments: str) -> set[str]:
    """The modules that a command line loads from start to end."""
    done = subprocess.run(
        [sys.executable, "-c", LIST, *arguments], cwd=ROOT, text=True, capture_output=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "line",
    [
        "ping -c 1 --via sim 10.0.0.2",
        "ping -n -q -c 1 --via sim fd00::2",
        "ping -v -c 1 --via sim 10.0.0.2",
        "arping -c 1 --via sim 10.0.0.2",
        "tcpconnect -z --via sim 10.0.0.2 7",
        "tcpserve -1 -4 --via sim:pace=max 7",
        pytest.param("ping -c 1 127.0.0.1", marks=pytest.mark.root),
        pytest.param("ping -c 1 ::1", marks=pytest.mark.root),
    ],
)
def test_a_hot_command_loads_only_what_it_may(line):
    loaded = loaded_by(*line.split())
    limit = TCP_LIMIT if line.startswith("tcp") else OWN_LIMIT
    assert not loaded & NEVER
    others = {name.partition(".")[0].lstrip("_") for name in loaded if not name.startswith("pytools")}
    libraries = others - MAY - set(sys.builtin_module_names) - {"sha512", "sha2", "blake2", "distutils_hack"}
    assert not {name for name in libraries if f"_{name}" not in sys.builtin_module_names}
    assert len([name for name in loaded if name.startswith("pytools")]) <= limit


@pytest.mark.parametrize("line", ["-V", "--version"])
def test_the_version_is_told_without_typer(line):
    assert not loaded_by(line) & {"typer", "rich", "scapy"}


def test_help_needs_typer_but_neither_rich_nor_scapy():
    loaded = loaded_by("ping", "-h")
    assert "typer" in loaded
    assert not loaded & {"rich", "scapy", "asyncio", "numpy", "pydantic"}
