"""The top level of the command line: `pytools -h`, `pytools --version`, `pytools --show-completion SHELL`."""

from difflib import get_close_matches
from typing import Annotated, Any

from pytools.cli import options
from pytools.cli._typer import HELP_NAMES, load_typer, typer, with_real_notes
from pytools.errors import EXIT_YES, UsageError

SHELLS = {"bash": "pytools.bash", "zsh": "_pytools", "fish": "pytools.fish"}


class Top:
    """The group; its commands are stubs, since `app` loads the real one when it is named."""

    def __init__(self, commands: dict[str, tuple[str, str]]) -> None:
        self._commands = commands

    def main(self, arguments: list[str], prog_name: str) -> Any:
        """Print what was asked for; returns the exit status."""
        return self.click_command().main(arguments, prog_name=prog_name, standalone_mode=False)

    def click_command(self) -> Any:
        """The group as Typer builds it."""
        module = load_typer()
        app = module.Typer(
            cls=_group_class(module, self._commands),
            add_completion=False,
            rich_markup_mode=None,
            pretty_exceptions_enable=False,
        )
        app.callback(
            help="A packet toolkit with its own TCP/IP stack.",
            epilog="'pytools COMMAND -h' explains a command.",
            context_settings={"help_option_names": HELP_NAMES, "max_content_width": 100},
        )(with_real_notes(top, module))
        return module.main.get_command(app)


def _group_class(module: Any, commands: dict[str, tuple[str, str]]) -> Any:
    class Group(module.core.TyperGroup):  # type: ignore[misc]
        def list_commands(self, ctx: Any) -> list[str]:
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name in commands:
                return module.core.TyperCommand(cmd_name, help=commands[cmd_name][1])
            close = get_close_matches(cmd_name, commands, 1)
            hint = f"did you mean '{close[0]}'?" if close else "pytools -h lists them"
            raise UsageError(f"no such command '{cmd_name}' ({hint})")

    return Group


def _show_completion(shell: str | None) -> str | None:
    if shell is not None:
        print(completion_script(shell), end="")
        raise typer.Exit(EXIT_YES)
    return shell


ShowCompletion = Annotated[
    str | None,
    typer.Option(
        "--show-completion",
        metavar="bash|zsh|fish",
        is_eager=True,
        callback=_show_completion,
        help="Print the shell's completion script.",
    ),
]


def top(show_completion: ShowCompletion = None, version: options.Version = False) -> None:
    """Both options speak for themselves, before a command is asked for."""


def completion_script(shell: str) -> str:
    """The text of the completion file for `shell`, from the wheel or from the source tree."""
    from pathlib import Path

    if shell not in SHELLS:
        raise UsageError(f"no completions for '{shell}' (bash, zsh or fish)")
    package = Path(__file__).parents[1]
    for folder in (package / "_completions", package.parent / "completions"):
        if (folder / SHELLS[shell]).is_file():
            return (folder / SHELLS[shell]).read_text(encoding="utf-8")
    raise UsageError(f"the completions for {shell} are not installed")
