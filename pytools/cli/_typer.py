"""Typer without rich: half of its start-up time on the versions that import rich at once (before 0.20).

Import typer from here in every module of `cli`:

    from pytools.cli._typer import command_app, typer

    app, command = command_app("Send ICMP echo requests and show the replies.")

    @command
    def ping(...) -> int:  # the exit status
"""

import sys
from collections.abc import Callable
from typing import Any, TypeVar

_rich = {name: sys.modules.pop(name) for name in list(sys.modules) if name == "rich" or name.startswith("rich.")}
_absent: Any = None
sys.modules["rich"] = _absent  # makes `import rich` an ImportError, which typer takes for "not installed"
try:
    import typer
    import typer.core
    import typer.main
finally:
    del sys.modules["rich"]
    sys.modules.update(_rich)

ClickException: Any = typer.BadParameter.__mro__[2]
"""Click's base of usage errors, wherever this version of typer keeps Click."""

__all__ = ["ClickException", "command_app", "typer"]

_F = TypeVar("_F", bound=Callable[..., Any])


def command_app(help_text: str) -> tuple[typer.Typer, Callable[[_F], _F]]:
    """An app of one command, and the decorator that registers its function."""
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
    register: Callable[[_F], _F] = app.command(help=help_text, context_settings=settings, no_args_is_help=False)
    return app, register
