"""What the bench scripts share: a wire between two namespaces, the two commands side by side, medians, a verdict.

The scripts are run by hand as root (`python tests/bench/bench_rtt.py`); figures depend on the machine and its load, so
the competitor runs in turns with us, and ratios are printed.
"""

import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.system.conftest import Namespace, connect  # noqa: E402

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
os.environ["PYTHONPATH"] = str(ROOT)
PEER = "10.9.0.2"
PYTOOLS = [sys.executable, "-c", "import sys; from pytools.cli.app import main; sys.argv[0] = 'pytools'; main()"]
"""As the installed script does, without needing an installation."""


@contextmanager
def wire() -> Iterator[tuple[Namespace, Namespace]]:
    """Two namespaces with 10.9.0.1 and 10.9.0.2 on a veth pair; ICMP rate limits are off."""
    if os.geteuid() != 0:
        sys.exit("needs root: network namespaces")
    made: list[Namespace] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # so that the namespaces go
    try:
        for label in ("ours", "peer"):
            made.append(Namespace(f"ptbench{os.getpid()}-{label}"))
            made[-1].sysctl(net__ipv4__icmp_ratelimit=0, net__ipv6__icmp__ratelimit=0)
        connect(made[0], "v0", made[1], "v0")
        yield made[0], made[1]
    finally:
        for one in made:
            one.close()


def compile_sources() -> None:
    """Without .pyc files a start takes five times longer; the competitor has none to make."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(ROOT / "pytools")], check=True)


def run_in(namespace: Namespace, argv: Sequence[str], **options: object) -> str:
    """Standard output of a command that has to succeed."""
    done = namespace.run(*argv, timeout=300, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr}")
    return str(done.stdout)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


class Verdict:
    """Collects what was asked and what came out."""

    def __init__(self) -> None:
        self._failed = 0

    def check(self, what: str, value: float, limit: float, *, at_most: bool = True, unit: str = "") -> None:
        """Print one line; `limit` is a maximum, or a minimum with at_most=False."""
        passed = value <= limit if at_most else value >= limit
        self._failed += not passed
        sign = "<=" if at_most else ">="
        print(f"{'pass' if passed else 'FAIL'}  {what}: {value:,.3f}{unit} (wanted {sign} {limit:,.3f}{unit})")

    def leave(self) -> None:
        """Exit with 1 if anything failed."""
        sys.exit(1 if self._failed else 0)
