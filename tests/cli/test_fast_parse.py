"""The fast parser and Typer give a command the same values, or the fast one leaves it to Typer."""

from typing import Annotated, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytools.cli import options
from pytools.cli._typer import command_app, is_usage_error, typer
from pytools.cli.fast_parse import parse
from pytools.errors import UsageError

seen: list[dict[str, Any]] = []
sample, _command = command_app("A command with every kind of parameter.")


@_command
def _sample(
    targets: Annotated[list[str] | None, typer.Argument(metavar="HOST...")] = None,
    interface: options.Interface = None,
    count: Annotated[int | None, typer.Option("-c", "--count", parser=options.integer(1, 9))] = None,
    size: Annotated[int, typer.Option("-s", "--size")] = 56,
    interval: Annotated[float, typer.Option("-i", parser=options.seconds("bad interval"))] = 1.0,
    wait: Annotated[float | None, typer.Option("-W", "--wait")] = None,
    numeric: Annotated[bool, typer.Option("-n", "--numeric")] = False,
    quiet: Annotated[bool, typer.Option("-q")] = False,
    loop: Annotated[bool, typer.Option("--loop/--no-loop")] = True,
    three: Annotated[bool, typer.Option("-3")] = False,
    verbose: options.Verbose = 0,
    via: options.Via = "auto",
    version: options.Version = False,
) -> int:
    seen.append(dict(locals()))
    return 0


def by_typer(arguments: list[str]) -> dict[str, Any] | str:
    """The values that Typer gives the function, or "refused"."""
    seen.clear()
    try:
        sample.click_command().main(list(arguments), prog_name="sample", standalone_mode=False)
    except Exception as error:
        if is_usage_error(error) or isinstance(error, UsageError):
            return "refused"
        raise
    return seen[0] if seen else "refused"


def by_fast_parse(arguments: list[str]) -> dict[str, Any] | str | None:
    try:
        return parse(_sample, arguments)
    except UsageError:
        return "refused"


PLAIN = [
    "",
    "h",
    "-c1 h",
    "-c 1 h",
    "--count=1 h",
    "--count 1 h",
    "h -c 3",
    "-nqc 2 h",
    "-qnc2 h",
    "-i.2 h",
    "-i 0.2 a b c",
    "-W -1 h",
    "-I a -I b h",
    "-vvv h",
    "-v -v h",
    "-- -h",
    "-3 h",
    "--loop h",
    "--no-loop --loop --no-loop h",
    "- h",
    "-c 1 -c 2 h",
    "--via sim:loss=5% h",
    "-s 0 h",
    "-I= h",
    "--interface= h",
]


@pytest.mark.parametrize("line", PLAIN)
def test_a_plain_line_is_parsed_without_typer_and_to_the_same_values(line):
    arguments = line.split()
    values = by_fast_parse(arguments)
    assert isinstance(values, dict)
    assert values == by_typer(arguments)


@pytest.mark.parametrize("line", ["-h", "--help", "-Z", "--nope", "-c", "--count", "--numeric=1", "-s x", "-nh", "-V"])
def test_help_and_errors_are_left_to_typer(line):
    assert parse(_sample, line.split()) is None


@pytest.mark.parametrize("line", ["-c 0 h", "-c x h", "--via nope h"])
def test_what_a_validator_refuses_is_refused_at_once(line):
    with pytest.raises(UsageError):
        parse(_sample, line.split())


def test_the_first_bad_value_of_the_line_is_the_one_that_is_named():
    with pytest.raises(UsageError, match="bad interval: y"):
        parse(_sample, ["-i", "y", "-c", "x"])


WORDS = st.sampled_from(
    "h -c -c1 1 0 x -i -i.2 .5 -W -1 -n -q -nq -nqc -v -vvv -3 -I -Ia a -- - --count --count=2 --size=9 -s --loop "
    "--no-loop --via --via=lab tap --numeric --verbose --interface=b --cou -Z -h -nZ --=x -c= =".split()
)


@given(st.lists(WORDS | st.text("-cinqv1=.", max_size=4), max_size=7))
@example(["-c", "--", "h"])
@example(["--size", "-1"])
def test_any_line_gives_typers_values_or_is_left_to_typer(arguments):
    values = by_fast_parse(arguments)
    if values is not None:
        assert values == by_typer(arguments)


def test_a_required_argument_that_is_missing_is_left_to_typer():
    def needs(target: Annotated[str, typer.Argument()]) -> int:
        return 0

    assert parse(needs, []) is None
    assert parse(needs, ["a"]) == {"target": "a"}
    assert parse(needs, ["a", "b"]) is None


def test_a_setting_that_is_not_known_leaves_every_line_to_typer():
    def odd(x: Annotated[str, typer.Option("-x", envvar="X")] = "") -> int:
        return 0

    assert parse(odd, []) is None
