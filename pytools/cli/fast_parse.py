"""A plain command line to keyword arguments, without Typer.

Getopt's habits as Click has them: bundled flags (`-qn`), values attached or apart (`-c1`, `-c 1`, `--count=1`), options
after positionals, `--`. What is not plain (help, an error, a feature that is not known here) gives None: the real Typer
then parses the same words and speaks.
"""

from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin

from pytools.cli._typer import HELP_NAMES, Note

KNOWN = frozenset(
    ("parser", "metavar", "help", "count", "show_default", "hidden", "rich_help_panel", "callback", "is_eager")
)
"""Settings of notes that are understood here or say nothing about parsing."""


class _NotPlainError(Exception):
    pass


class _Parameter:
    """One parameter of the function: how words become its value."""

    __slots__ = ("convert", "default", "many", "name", "note", "required", "takes_value")

    def __init__(self, name: str, annotation: Any, default: Any, required: bool) -> None:
        note = getattr(annotation, "__metadata__", (None,))[0]
        if not isinstance(note, Note) or not KNOWN.issuperset(note.settings):
            raise _NotPlainError
        self.name = name
        self.note = note
        self.default = default
        self.required = required
        kind = _without_none(get_args(annotation)[0])
        self.many = get_origin(kind) is list
        element = get_args(kind)[0] if self.many else kind
        self.takes_value = not (note.settings.get("count") or kind is bool)
        self.convert: Callable[[Any], Any] = note.settings.get("parser") or element
        if "parser" not in note.settings and element not in (str, int, float, bool):
            raise _NotPlainError

    def names(self) -> Iterator[tuple[str, bool]]:
        """(option name, False for the second half of `--x/--no-x`)."""
        if not self.note.names:
            raise _NotPlainError
        for text in self.note.names:
            for position, name in enumerate(text.split("/")):
                yield name, not position

    def value(self, words: list[Any]) -> Any:
        """What the function gets for these words (or flags) in this order."""
        if "callback" in self.note.settings:
            raise _NotPlainError
        if not self.takes_value:
            return len(words) if self.note.settings.get("count") else words[-1]
        return [self.convert(word) for word in words] if self.many else self.convert(words[-1])

    def without_words(self) -> Any:
        """The default, converted as words are."""
        if self.required:
            raise _NotPlainError
        if self.default is None or not self.takes_value:
            return self.default
        return [self.convert(word) for word in self.default] if self.many else self.convert(self.default)


def parse(function: Any, arguments: list[str]) -> dict[str, Any] | None:
    """The keyword arguments for `function`, or None. What a validator refuses is raised (UsageError)."""
    try:
        parameters = list(_parameters(function))
        given = _collect(parameters, arguments)
        keywords = {parameter.name: parameter.value(words) for parameter, words in given.items()}
        for parameter in parameters:
            if parameter.name not in keywords:
                keywords[parameter.name] = parameter.without_words()
    except (_NotPlainError, ValueError):
        return None
    return keywords


def _parameters(function: Any) -> Iterator[_Parameter]:
    code = function.__code__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    positional = names[: code.co_argcount]
    values = function.__defaults__ or ()
    defaults = dict(zip(positional[len(positional) - len(values) :], values, strict=True))
    defaults.update(function.__kwdefaults__ or {})
    for name in names:
        yield _Parameter(name, function.__annotations__[name], defaults.get(name), name not in defaults)


def _collect(parameters: list[_Parameter], arguments: list[str]) -> dict[_Parameter, list[Any]]:
    """The words of each parameter that was given, in the order of its first appearance."""
    options = {name: (p, yes) for p in parameters if p.note.kind == "Option" for name, yes in p.names()}
    given: dict[_Parameter, list[Any]] = {}
    positionals: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            positionals += words
        elif word[:1] != "-" or word == "-":
            positionals.append(word)
        elif word[:2] == "--":
            _long(word, words, options, given)
        else:
            _short(word, words, options, given)
    _share_out(positionals, [p for p in parameters if p.note.kind == "Argument"], given)
    return given


_Options = dict[str, tuple[_Parameter, bool]]


def _long(word: str, words: Iterator[str], options: _Options, given: dict[_Parameter, list[Any]]) -> None:
    name, equals, value = word.partition("=")
    if name in HELP_NAMES or name not in options:
        raise _NotPlainError
    parameter, yes = options[name]
    if parameter.takes_value:
        given.setdefault(parameter, []).append(value if equals else _next(words))
    elif equals:
        raise _NotPlainError
    else:
        given.setdefault(parameter, []).append(yes)


def _short(word: str, words: Iterator[str], options: _Options, given: dict[_Parameter, list[Any]]) -> None:
    for position, letter in enumerate(word[1:], 2):
        name = "-" + letter
        if name in HELP_NAMES or name not in options:
            raise _NotPlainError
        parameter, yes = options[name]
        given.setdefault(parameter, [])
        if parameter.takes_value:
            given[parameter].append(word[position:] or _next(words))
            return
        given[parameter].append(yes)


def _next(words: Iterator[str]) -> str:
    for word in words:
        return word
    raise _NotPlainError


def _share_out(positionals: list[str], arguments: list[_Parameter], given: dict[_Parameter, list[Any]]) -> None:
    """One word for each argument, all that are left for one that takes many (which has to be the last here)."""
    for argument in arguments:
        taken = positionals if argument.many else positionals[:1]
        positionals = positionals[len(taken) :]
        if taken:
            given[argument] = list(taken)
    if positionals:
        raise _NotPlainError


def _without_none(kind: Any) -> Any:
    """`int` of `int | None`."""
    parts = [part for part in get_args(kind) if part is not type(None)]
    return parts[0] if type(None) in get_args(kind) and len(parts) == 1 else kind
