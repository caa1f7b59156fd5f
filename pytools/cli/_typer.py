"""Typer, imported only when it has something to say.

A command is declared as Typer has it, with `typer` from here:

    app, command = command_app("Send ICMP echo requests and show the replies.")

    @command
    def ping(count: Annotated[int | None, typer.Option("-c", "--count", parser=..., help=...)] = None) -> int: ...

Importing the real Typer and building a command of 70 options costs as much as starting Python five times. So
`typer.Option` and `typer.Argument` here only note what they were given; a plain command line is parsed from these
notes by `fast_parse`. Help, errors and whatever is unusual go to the real Typer, which gets the notes as real ones.
tests/cli/test_fast_parse.py holds the two to the same results.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_args

if TYPE_CHECKING:
    import typer
else:

    class _Typer:
        """What stands for the module `typer`; attributes that are not here load it."""

        @staticmethod
        def Option(*names: Any, **settings: Any) -> Any:  # noqa: N802
            """Note an option."""
            return Note("Option", names, settings)

        @staticmethod
        def Argument(*names: Any, **settings: Any) -> Any:  # noqa: N802
            """Note a positional argument."""
            return Note("Argument", names, settings)

        def __getattr__(self, name: str) -> Any:
            return getattr(load_typer(), name)

    typer = _Typer()

__all__ = ["CommandApp", "Note", "command_app", "exit_code", "is_usage_error", "load_typer", "typer"]

_F = TypeVar("_F", bound=Callable[..., Any])
HELP_NAMES = ["-h", "--help"]


class Note:
    """One `typer.Option(...)` or `typer.Argument(...)` as written."""

    __slots__ = ("kind", "names", "settings")

    def __init__(self, kind: str, names: tuple[Any, ...], settings: dict[str, Any]) -> None:
        self.kind = kind
        self.names = names
        self.settings = settings


class CommandApp:
    """One command: its function and the two ways to run it."""

    __slots__ = ("_command", "function", "help_text")

    def __init__(self, help_text: str) -> None:
        self.help_text = help_text
        self.function: Callable[..., Any] | None = None
        self._command: Any = None

    def main(self, arguments: list[str], prog_name: str) -> Any:
        """Parse `arguments` and call the function; returns what it returns, the exit status."""
        from pytools.cli.fast_parse import parse

        assert self.function is not None
        keywords = parse(self.function, arguments)
        if keywords is not None:
            return self.function(**keywords)
        return self.click_command().main(arguments, prog_name=prog_name, standalone_mode=False)

    def click_command(self) -> Any:
        """The command as the real Typer builds it."""
        if self._command is None:
            module = load_typer()
            app = module.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
            settings = {"help_option_names": HELP_NAMES, "max_content_width": 100}
            app.command(help=self.help_text, context_settings=settings)(with_real_notes(self.function, module))
            self._command = module.main.get_command(app)
        return self._command


def command_app(help_text: str) -> tuple[CommandApp, Callable[[_F], _F]]:
    """A command's app, and the decorator for its function."""
    app = CommandApp(help_text)

    def register(function: _F) -> _F:
        app.function = function
        return function

    return app, register


def with_real_notes(function: Any, module: Any) -> Any:
    """A twin of `function` whose parameters carry Typer's own records."""
    import inspect

    def twin(**keywords: Any) -> Any:
        return function(**keywords)

    hints = {name: _with_real_note(value, module) for name, value in function.__annotations__.items()}
    old = inspect.signature(function)
    parameters = [p.replace(annotation=hints[p.name]) for p in old.parameters.values()]
    twin.__annotations__ = hints
    twin.__name__, twin.__doc__ = function.__name__, function.__doc__
    twin.__signature__ = old.replace(parameters=parameters)  # type: ignore[attr-defined]
    return twin


def _with_real_note(annotation: Any, module: Any) -> Any:
    note = getattr(annotation, "__metadata__", (None,))[0]
    if not isinstance(note, Note):
        return annotation
    settings = {
        "show_default": False,
        **note.settings,
    }  # a help text says its default itself where that is worth a word
    return Annotated[get_args(annotation)[0], getattr(module, note.kind)(*note.names, **settings)]


def load_typer() -> Any:
    """Import Typer, without rich: half of the time on the versions that import rich at once (before 0.20)."""
    import importlib

    if "typer" in sys.modules:
        return sys.modules["typer"]
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "rich"}
    absent: Any = None
    sys.modules["rich"] = absent  # makes `import rich` an ImportError, which Typer takes for "not installed"
    try:
        importlib.import_module("typer.main")
    finally:
        del sys.modules["rich"]
        sys.modules.update(hidden)
    return sys.modules["typer"]


def is_usage_error(error: Exception) -> bool:
    """Is it one of Click's, wherever this version of Typer keeps Click?"""
    module = sys.modules.get("typer")
    return module is not None and isinstance(error, module.BadParameter.__mro__[2])


def exit_code(error: Exception) -> int | None:
    """The status of a `typer.Exit`, None for other exceptions."""
    module = sys.modules.get("typer")
    return int(error.exit_code) if module is not None and isinstance(error, module.Exit) else None
