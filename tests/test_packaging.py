"""What a package needs: man pages, completions, wheel and system installation, all fresh and whole."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from pytools.cli.app import COMMANDS

ROOT = Path(__file__).parents[1]
MAN_PAGES = ["pytools.1", *(f"pytools-{name}.1" for name in COMMANDS)]


def run(*argv: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    settings = {"capture_output": True, "text": True, "timeout": 60, "cwd": ROOT} | options
    return subprocess.run([*map(str, argv)], **settings)  # type: ignore[call-overload]


@pytest.mark.parametrize("generator", ["gen_man.py", "gen_completions.py"])
def test_generated_files_say_what_the_options_say(generator):
    done = run(sys.executable, ROOT / "packaging" / generator, "--check")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.needs("mandoc")
@pytest.mark.parametrize("page", MAN_PAGES)
def test_man_pages_are_clean(page):
    done = run("mandoc", "-T", "lint", "-W", "warning", ROOT / "man" / page)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("page", MAN_PAGES[1:])
def test_every_man_page_has_the_sections_that_scripts_rely_on(page):
    text = (ROOT / "man" / page).read_text()
    for section in ("DESCRIPTION", "OPTIONS", "OUTPUT", "EXIT STATUS", "SIGNALS", "EXAMPLES"):
        assert f".Sh {section}\n" in text


# --- completions ------------------------------------------------------------------------------------------------------


def bash(words: list[str]) -> set[str]:
    """What bash offers for the last of `words`."""
    script = (
        f"source {ROOT}/completions/pytools.bash\n"
        'COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _pytools; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    return set(run("bash", "-c", script, "bash", *words).stdout.split())


@pytest.mark.needs("bash")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["pytools", ""], set(COMMANDS)),
        (["pytools", "ar"], {"arping"}),
        (["pytools", "--v"], {"--version"}),
        (["pytools", "ping", "--cou"], {"--count"}),
        (["pytools", "ping", "--color", "al"], {"always"}),
        (["pytools", "ping", "--color", "=", "al"], {"always"}),
        (["pytools", "ping", "--color", "="], {"auto", "always", "never"}),
        (["pytools", "ping", "--via", ""], {"auto", "packet", "tap", "lab", "sim"}),
        (["pytools", "ping", "-M", "d"], {"do", "dont"}),
    ],
)
def test_bash_completes(words, expected):
    assert bash(words) == expected


@pytest.mark.needs("bash")
def test_bash_completes_interfaces():
    assert bash(["pytools", "ping", "-I", ""]) == set(os.listdir("/sys/class/net"))


@pytest.mark.needs("fish")
@pytest.mark.parametrize(
    ("line", "expected"),
    [("pytools ping --cou", {"--count"}), ("pytools arp", {"arping"}), ("pytools ping --color=al", {"--color=always"})],
)
def test_fish_completes(line, expected, tmp_path):
    script = f"source {ROOT}/completions/pytools.fish; complete -C '{line}'"
    done = run("fish", "--no-config", "-c", script, env={**os.environ, "HOME": str(tmp_path)})
    assert {offered.split("\t")[0] for offered in done.stdout.splitlines()} == expected


@pytest.mark.needs("zsh")
def test_zsh_takes_the_script():
    assert run("zsh", "-n", ROOT / "completions/_pytools").returncode == 0


ZSH = """
zmodload zsh/zpty
zpty shell zsh -f -i
line() { zpty -w shell "$1"; sleep 0.2 }
zpty -w shell "PS1=; fpath=($1 \\$fpath); autoload -U compinit; compinit -D -u; zstyle ':completion:*' list-colors ''"
zpty -w shell "bindkey '^I' complete-word; print READY"
zpty -r shell output '*READY*'
zpty -w -n shell "$2"$'\\t'$'\\t'
zpty -r shell output '*'"$3"'*' && print -r -- "$output"
zpty -d shell
"""


@pytest.mark.needs("zsh")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [("pytools pi", "ping"), ("pytools ping --cou", "--count"), ("pytools ping --color=al", "always")],
)
def test_zsh_completes(typed, expected, tmp_path):
    done = run("zsh", "-f", "-c", ZSH, "zsh", ROOT / "completions", typed, expected, env={**os.environ, "TERM": "dumb"})
    assert expected in done.stdout


def test_show_completion_prints_the_file():
    done = run(sys.executable, "-m", "pytools", "--show-completion", "bash")
    assert done.stdout == (ROOT / "completions/pytools.bash").read_text()


# --- packages ---------------------------------------------------------------------------------------------------------


def test_the_wheel_has_everything(tmp_path):
    pytest.importorskip("hatchling", reason="hatchling not installed")
    done = run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path)
    assert done.returncode == 0, done.stderr
    wheel = next(tmp_path.glob("*.whl"))
    assert wheel.name.startswith("pytools_net-")
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("pytools/py.typed", "pytools/render/schema.json", "pytools/_completions/_pytools"):
        assert name in names
    for page in MAN_PAGES:
        assert any(name.endswith(f"share/man/man1/{page}") for name in names)
    assert not any("tests/" in name or ".pyc" in name for name in names)


def test_a_system_package_has_a_private_copy_and_a_launcher(tmp_path):
    done = run("sh", ROOT / "packaging/install.sh", env={**os.environ, "PREFIX": str(tmp_path / "usr"), "DESTDIR": ""})
    assert (done.returncode, done.stderr) == (0, "")
    launcher = tmp_path / "usr/bin/pytools"
    assert launcher.read_text().startswith("#!/usr/bin/python3 -I\n")
    installed = tmp_path / "usr/share/pytools/pytools"
    assert sorted(path.name for path in installed.glob("cli/*.py")) == sorted(
        path.name for path in (ROOT / "pytools/cli").glob("*.py")
    )
    # Isolated mode: only the copy can answer.
    done = run(sys.executable, "-I", launcher, "--version", cwd="/")
    assert done.stdout.startswith("pytools ")
    assert sorted(path.name for path in (tmp_path / "usr/share/man/man1").iterdir()) == sorted(MAN_PAGES)


def test_the_scripts_are_plain_posix_shell():
    for script in ("run", "check", ".ci/run", "packaging/environment.sh", "packaging/install.sh"):
        assert run("sh", "-n", ROOT / script).returncode == 0, script


def test_pinned_versions_satisfy_what_the_project_asks_for():
    import tomllib

    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pinned = dict(line.split("==") for line in lines)
    assert all(set(line) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-=") for line in lines)
    lower = {name.lower(): version for name, version in pinned.items()}
    for text in [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]:
        wanted = Requirement(text)
        assert lower[wanted.name.lower()] in wanted.specifier
