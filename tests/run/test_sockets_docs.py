"""The examples of docs/sockets.md run as they stand and print what the page says."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.run.tls import DATA

PAGE = (Path(__file__).parents[2] / "docs/sockets.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```\n\nprints\n\n^```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
TWO_HOSTS = BLOCKS[0][0].split("ours, peer =")[0]
FACTORIES = re.findall(
    r"^class (?:Server|Connection|Handler|SecureConnection)\(.*?(?=^\S)", PAGE, re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(("code", "prints"), BLOCKS, ids=["sockets", "http", "tls", "asyncio"])
def test_the_examples_print_what_the_page_says(code: str, prints: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, Any] = {"CERTIFICATE": str(DATA / "server.pem"), "KEY": str(DATA / "server.key")}
    exec(compile(TWO_HOSTS, "docs/sockets.md", "exec"), names)
    exec(compile(code, "docs/sockets.md", "exec"), names)
    assert capsys.readouterr().out == prints


def test_a_factory_is_a_few_lines() -> None:
    assert len(FACTORIES) == 4
    for factory in FACTORIES:
        code = [line for line in factory.splitlines() if line.strip() and '"""' not in line]
        assert len(code) <= 7
