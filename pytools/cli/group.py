"""The top level of the command line: `pytools -h`, `pytools --version`, `pytools --show-completion SHELL`."""

from difflib import get_close_matches
from typing import Annotated, Any

from pytools.cli import options
from pytools.cli._typer import typer
from pytools.errors import EXIT_YES, UsageError

SHELLS = {"bash": "pytools.bash", "zsh": "_pytools", "fish": "pytools.fish"}


def group(commands: dict[str, tuple[str, str]]) -> Any:
    """A Click group whose commands are stubs: `app` loads the real one when it is named."""

    class Group(typer.core.TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            return list(commands)

        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            if cmd_name in commands:
                return typer.core.TyperCommand(cmd_name, help=commands[cmd_name][1])
            close = get_close_matches(cmd_name, commands, 1)
            hint = f"did you mean '{close[0]}'?" if close else "pytools -h lists them"
            raise UsageError(f"no such command '{cmd_name}' ({hint})")

    app = typer.Typer(cls=Group, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    app.callback(
        invoke_without_command=True,
        help="A packet toolkit with its own TCP/IP stack.",
        epilog="'pytools COMMAND -h' explains a command.",
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )(_top)
    return typer.main.get_command(app)


def _top(
    ctx: typer.Context,
    show_completion: Annotated[
        str | None,
        typer.Option("--show-completion", metavar="SHELL", help="Print the completions for bash, zsh or fish."),
    ] = None,
    version: options.Version = False,
) -> int:
    if show_completion is not None:
        print(completion_script(show_completion), end="")
    elif ctx.invoked_subcommand is None:
        ctx.fail("a command is needed")
    return EXIT_YES


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
