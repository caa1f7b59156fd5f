"""The front of the command line: dispatch, one-line errors, exit statuses, stdio."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pytools.cli import app
from pytools.cli._typer import command_app
from pytools.errors import ConnectionFailedError, LinkError

ROOT = Path(__file__).parents[2]


def pytools(*arguments: str, **how: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytools", *arguments],
        cwd=ROOT,
        text=True,
        timeout=30,
        **({"capture_output": True} | how),  # type: ignore[call-overload]
    )


@pytest.fixture
def stand_in(monkeypatch):
    """Registers a command `try` whose body is the given function."""

    def register(body):
        app_object, command = command_app("Try something.")
        module = type(sys)("stand_in_command")
        module.app = app_object

        @command
        def attempt(word: str = "") -> int:
            return body(word)

        monkeypatch.setitem(sys.modules, "stand_in_command", module)
        monkeypatch.setitem(app.COMMANDS, "try", ("stand_in_command", "Try something."))

    return register


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["pytools", "ping", "-c1", "h"], ("pytools ping", "ping", ["-c1", "h"])),
        (["/usr/bin/ping", "-c1", "h"], ("ping", "ping", ["-c1", "h"])),
        (["/usr/bin/ping4", "h"], ("ping4", "ping", ["-4", "h"])),
        (["ping6", "h"], ("ping6", "ping", ["-6", "h"])),
        (["/opt/bin/pytools-arping", "h"], ("pytools-arping", "arping", ["h"])),
        (["arping"], ("arping", "arping", [])),
        (["pytools", "-V"], ("pytools", None, ["-V"])),
        (["pytools", "pong"], ("pytools", None, ["pong"])),
        (["pytools"], ("pytools", None, [])),
    ],
)
def test_argv0_or_the_first_argument_names_the_command(argv, expected):
    assert app.split_command_line(argv) == expected


def test_the_returned_number_is_the_exit_status(stand_in):
    stand_in(lambda word: 1)
    assert app.run(["pytools", "try"]) == 1


@pytest.mark.parametrize(
    ("error", "status"),
    [(LinkError("eth9: No such device"), 2), (ConnectionFailedError("10.0.0.2: Connection refused"), 1)],
)
def test_an_error_of_ours_is_one_line_and_its_own_status(stand_in, capsys, error, status):
    def body(word):
        raise error

    stand_in(body)
    assert app.run(["pytools", "try"]) == status
    assert capsys.readouterr().err == f"pytools try: {error}\n"


def test_a_bug_is_one_line_with_status_2(stand_in, capsys):
    stand_in(lambda word: int(""))
    assert app.run(["pytools", "try"]) == 2
    bug = "ValueError: invalid literal for int() with base 10: ''"
    assert capsys.readouterr().err == f"pytools try: internal error: {bug} (PYTOOLS_DEBUG=1 shows where)\n"


def test_a_bug_shows_its_traceback_on_request(stand_in, capsys, monkeypatch):
    monkeypatch.setenv("PYTOOLS_DEBUG", "1")
    stand_in(lambda word: int(""))
    assert app.run(["pytools", "try"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_an_unknown_option_shows_usage_on_stderr(stand_in, capsys):
    stand_in(lambda word: 0)
    assert app.run(["pytools", "try", "-Z"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("Usage: pytools try [OPTIONS]")
    assert "pytools try: no such option: -Z (try 'pytools try -h')" in captured.err


def test_an_error_is_printed_without_control_characters(stand_in, capsys):
    def body(word):
        raise LinkError("host \x1b[31m\nred")

    stand_in(body)
    app.run(["pytools", "try"])
    assert capsys.readouterr().err == "pytools try: host \\x1b[31m\\nred\n"


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["try", "-h"], ["try", "--help"]])
def test_help_goes_to_stdout_with_status_0(stand_in, capsys, arguments):
    stand_in(lambda word: 0)
    assert app.run(["pytools", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Usage: pytools")
    assert captured.err == ""


def test_help_lists_every_command(capsys):
    app.run(["pytools", "-h"])
    out = capsys.readouterr().out
    assert all(f"  {name} " in out for name in app.COMMANDS)


def test_a_misspelt_command_gets_a_suggestion(capsys):
    assert app.run(["pytools", "pign"]) == 2
    assert capsys.readouterr().err == "pytools: no such command 'pign' (did you mean 'ping'?)\n"


def test_no_command_is_a_usage_error(capsys):
    assert app.run(["pytools"]) == 2
    assert capsys.readouterr().err.startswith("Usage: pytools")


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_version_names_the_libraries_before_typer_is_imported(option):
    code = (
        "import sys; from pytools.cli import app; status = app.run(['pytools', sys.argv[1]]);"
        "sys.exit(status or 3 * ('typer' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code, option], cwd=ROOT, text=True, capture_output=True, timeout=30)
    assert done.returncode == 0
    for word in ("pytools ", "Python ", "typer ", "rich ", "scapy "):
        assert word in done.stdout


def test_python_dash_m_works():
    assert pytools("-V").stdout.startswith("pytools ")


def test_a_full_device_is_a_write_error_with_status_1():
    with open("/dev/full", "w") as full:
        done = pytools("-h", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, "pytools: write error: No space left on device\n")


def test_a_closed_stdout_is_a_write_error_with_status_1():
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {sys.executable} -m pytools -h >&-"],
        cwd=ROOT,
        text=True,
        capture_output=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (1, "pytools: write error: Bad file descriptor\n")


def test_a_closed_pipe_ends_by_the_signal():
    reader, writer = os.pipe()
    os.close(reader)
    done = pytools("-h", capture_output=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (-signal.SIGPIPE, "")


def test_a_command_that_only_exists_in_the_table_is_loaded_when_named_only():
    code = (
        "import sys; from pytools.cli import app; app.run(['pytools', '-h']); print('pytools.cli.ping' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, text=True, capture_output=True, timeout=30)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize("name", list(app.COMMANDS))
def test_the_table_says_what_the_command_says(name):
    module, line = app.COMMANDS[name]
    assert importlib.import_module(module).app.help_text.split()[0] == line.split()[0]


def test_no_line_of_the_table_is_cut(capsys):
    app.run(["pytools", "-h"])
    out = capsys.readouterr().out
    assert [line for _, line in app.COMMANDS.values() if line not in out] == []
