"""A script that somebody got wrong passes, fails or is refused; it never ends in a traceback."""

from pathlib import Path
from random import Random

import pytest

from pytools.errors import PytoolsError
from pytools.sim.drill.runner import Runner, ScriptFailedError
from pytools.sim.drill.script import parse

TEXTS = [path.read_text() for path in sorted((Path(__file__).parents[2] / "scripts").rglob("*.pkt"))]
LETTERS = "<>(){}[]~.*+=,|`%0123456789-:SFPR \n"


def damaged(text: str, random: Random) -> str:
    kind, at = random.randrange(4), random.randrange(len(text))
    if kind == 0:
        return text[:at] + text[at + random.randint(1, 6) :] or "x"
    if kind == 1:
        return text[:at] + random.choice(LETTERS) + text[at:]
    lines = text.splitlines()
    if kind == 2:
        lines.insert(random.randrange(len(lines)), random.choice(random.choice(TEXTS).splitlines()))
        return "\n".join(lines)
    old, new = random.choice(["1", "0", "4", "1000"]), random.choice(["-1", "99999999", "2", "0x10", "...", "NULL"])
    return text.replace(old, new, 1)


@pytest.mark.parametrize("seed", range(8))
def test_damage_is_refused_in_words(seed):
    random = Random(seed)
    for _ in range(60):
        text = random.choice(TEXTS)
        for _ in range(random.randint(1, 4)):
            text = damaged(text, random)
        try:
            Runner(parse(text, "x.pkt")).run()
        except (ScriptFailedError, PytoolsError) as problem:
            words = str(problem)
        else:
            words = "passed"
        assert words
