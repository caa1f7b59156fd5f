"""The commands' options as data, read from the functions' signatures: what man pages and completions are made from.

Only our own notes are read, not Typer's objects, which differ from version to version.
"""

import importlib
import inspect
import sys
from pathlib import Path
from typing import Any, get_args, get_origin

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from pytools.cli._typer import Note  # noqa: E402
from pytools.cli.app import COMMANDS  # noqa: E402
from pytools.cli.group import top  # noqa: E402


class Option:
    """One option: its names, its metavar ("" for a flag) and its help."""

    def __init__(self, names: list[str], metavar: str, help_text: str) -> None:
        self.names = names
        self.metavar = metavar
        self.help = help_text

    @property
    def short(self) -> list[str]:
        return [name[1:] for name in self.names if not name.startswith("--")]

    @property
    def long(self) -> list[str]:
        return [name[2:] for name in self.names if name.startswith("--")]

    @property
    def choices(self) -> list[str]:
        """The values, where the metavar lists them (`auto|always|never`) or is known."""
        if self.metavar == "WAY":
            return ["auto", "packet", "tap", "lab", "sim"]
        return self.metavar.split("|") if "|" in self.metavar and " " not in self.metavar else []


class Command:
    """A command: its name, one line of help, options, and the metavar of its positional arguments ("" for none)."""

    def __init__(self, name: str, help_text: str, options: list[Option], arguments: str) -> None:
        self.name = name
        self.help = help_text
        self.options = options
        self.arguments = arguments


HELP = Option(["-h", "--help"], "", "Show this message and exit.")


def commands() -> list[Command]:
    """Every command of the table, options sorted by name."""
    return [_command(name, *entry) for name, entry in COMMANDS.items()]


def top_options() -> list[Option]:
    """The options of `pytools` itself."""
    return _options(top)[0]


def _command(name: str, module: str, help_text: str) -> Command:
    return Command(name, help_text, *_options(importlib.import_module(module).app.function))


def _options(function: Any) -> tuple[list[Option], str]:
    options, arguments = [], ""
    for parameter in inspect.signature(function).parameters.values():
        kind, note = get_args(parameter.annotation)
        if note.settings.get("hidden"):
            continue
        if note.kind == "Argument":
            arguments = note.settings.get("metavar") or parameter.name.upper()
        else:
            options.append(_option(kind, note))
    options.sort(key=lambda option: (option.names[0].lstrip("-").lower(), option.names[0]))
    return [*options, HELP], arguments


def _option(kind: Any, note: Note) -> Option:
    names = [part for text in note.names for part in text.split("/")]
    names.sort(key=lambda text: text.startswith("--"))
    flag = note.settings.get("count") or kind is bool
    metavar = "" if flag else note.settings.get("metavar") or _metavar_of(kind)
    return Option(names, metavar, " ".join(note.settings.get("help", "").split()))


def _metavar_of(kind: Any) -> str:
    inner = next((part for part in get_args(kind) if part is not type(None)), kind)
    inner = get_args(inner)[0] if get_origin(inner) is list else inner
    return {int: "N", float: "N"}.get(inner, "TEXT")


def write_or_compare(files: dict[Path, str], check: bool) -> int:
    """Write `files`, or with `check` say which ones differ; returns the exit status."""
    stale = [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        if check:
            print(f"{path.relative_to(ROOT)} is not what the options say: run python {sys.argv[0]}", file=sys.stderr)
        else:
            path.write_text(files[path], encoding="utf-8")
    return 1 if check and stale else 0
