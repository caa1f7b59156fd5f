from pathlib import Path

from pytools.trace.cause import By, Cause
from pytools.trace.drop import DropReason

DOCS = Path(__file__).parents[2] / "docs" / "drop-reasons.md"


def names(kind: type) -> dict[str, str]:
    return {name: value for name, value in vars(kind).items() if not name.startswith("_")}


def test_a_drop_reason_is_its_own_name() -> None:
    assert all(name == value for name, value in names(DropReason).items())


def test_causes_are_lower_case_words_each_once() -> None:
    for kind in (Cause, By):
        values = list(names(kind).values())
        assert len(set(values)) == len(values)
        assert all(value.isalpha() and value.islower() for value in values)


def test_a_user_can_look_up_every_drop_reason() -> None:
    text = DOCS.read_text()
    absent = [name for name in names(DropReason) if f"`{name}`" not in text]
    assert absent == []
