"""What holds for every test: root, soak, and a CI where nothing may be skipped for want of a tool.

`@pytest.mark.root` needs root; `@pytest.mark.needs("tshark", "fping")` needs these programs; `@pytest.mark.soak` runs
with --soak only. A skip for want of a tool or a privilege says "needs ..." or "not installed" in its reason; with
PYTOOLS_REQUIRE_ALL=1 (set by .ci/run) such a skip is a failure; with PYTOOLS_REQUIRE_ALL=programs root may be wanting.
"""

import os
import re
import shutil
from collections.abc import Generator

import pytest

WANTING = re.compile(r"\bneeds\b|\bnot installed\b|\brequires root\b", re.IGNORECASE)
ROOT = re.compile(r"\broot\b")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the large volumes too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if os.geteuid() != 0 and item.get_closest_marker("root"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
        if not config.getoption("--soak") and item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.skip(reason="large volume: ./check --soak runs it"))
        absent = [name for mark in item.iter_markers("needs") for name in mark.args if shutil.which(name) is None]
        if absent:
            item.add_marker(pytest.mark.skip(reason=f"needs {', '.join(absent)}"))


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    required = os.environ.get("PYTOOLS_REQUIRE_ALL", "")
    if not required or not report.skipped or not isinstance(report.longrepr, tuple):
        return
    reason = str(report.longrepr[2])
    if WANTING.search(reason) and not (required == "programs" and ROOT.search(reason)):
        report.outcome = "failed"
        report.longrepr = f"{reason}: PYTOOLS_REQUIRE_ALL={required} allows no skip for want of it"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report
