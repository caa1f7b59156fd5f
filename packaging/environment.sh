# Sourced by run and check: finds or makes the virtual environment. Sets $here before; gives $venv.
# shellcheck shell=sh

here=${here:?}
unset PYTHONDONTWRITEBYTECODE PYTHONHOME PYTHONPATH # without .pyc files a command starts five times slower

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
fail() {
    say "$*"
    exit 2
}

# The line of pip's or venv's output that says most.
reason() { { grep -i 'error:' "$log" || cat "$log"; } | tail -n 1; }

# The first Python that is new enough.
find_python() {
    for python in ${PYTHON:+"$PYTHON"} python3 /usr/bin/python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$python"
            return
        fi
    done
    fail "Python 3.11 or newer is needed (Debian, Ubuntu: apt-get install python3)"
}

usable() { [ -x "$1/bin/python" ] && "$1/bin/python" -c pass 2>/dev/null; }

# choose_venv STAMP-NAME: in the clone if that can be written, or if what is there fits; else in the user's cache.
choose_venv() {
    venv=${PYTOOLS_VENV:-}
    [ -z "$venv" ] || return 0
    venv=$here/.venv
    if [ -w "$here" ] && { [ ! -e "$venv" ] || [ -w "$venv" ]; }; then return; fi
    if usable "$venv" && up_to_date "$venv/.made-for-$1"; then return; fi
    venv=$(cache_folder)/venv || exit 2
}

cache_folder() {
    cache=${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}
    mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || cache=${TMPDIR:-/tmp}/pytools-$(id -u)
    folder=$cache/pytools-$(printf '%s' "$here" | cksum | cut -d' ' -f1)
    (umask 077 && mkdir -p "$folder") || fail "no place for the environment: set PYTOOLS_VENV=DIR"
    [ -O "$folder" ] || fail "$folder belongs to somebody else: set PYTOOLS_VENV=DIR"
    printf '%s' "$folder"
}

make_venv() {
    python=$(find_python) || exit 2
    say "making the environment $venv (once)"
    rm -rf "$venv"
    if ! "$python" -m venv "$venv" >"$log" 2>&1; then
        rm -rf "$venv"
        if ! "$python" -c 'import venv, ensurepip' 2>/dev/null; then
            fail "$python has no venv module (Debian, Ubuntu: apt-get install python3-venv)"
        fi
        fail "$python can't make $venv: $(reason)"
    fi
}

# up_to_date STAMP: was the environment made for this clone, and nothing that it is made of changed since?
# Sources count only where they are copied in (a clone that we can't write).
up_to_date() {
    [ -f "$1" ] && [ "$(cat "$1")" = "$here $venv" ] || return 1
    set -- "$1" "$here/pyproject.toml" "$here/constraints.txt" "$here/pytools/__init__.py"
    made=$1
    shift
    [ -w "$here/pytools" ] || set -- "$@" "$here/pytools"
    [ -z "$(find "$@" \( -name '*.py' -o -name '*.toml' -o -name '*.txt' \) -newer "$made" | head -n 1)" ]
}

# install STAMP PIP-ARGUMENTS...: into $venv, compiled. A clone that can be written is installed by reference.
install() {
    stamp=$1
    shift
    [ -w "$venv" ] || fail "$venv does not fit this clone and can't be written: set PYTOOLS_VENV=DIR"
    by_reference=
    [ -w "$here/pytools" ] && by_reference=-e
    if ! "$venv/bin/python" -m pip install -q --disable-pip-version-check "$@" $by_reference "$here" >"$log" 2>&1; then
        if [ -x "$venv/bin/pytools" ] && "$venv/bin/python" -c 'import pytools, typer' 2>/dev/null; then
            say "can't update $venv, using it as it is: $(reason)"
            return
        fi
        fail "can't install into $venv: $(reason)"
    fi
    [ -z "$by_reference" ] || "$venv/bin/python" -m compileall -q "$here/pytools" || true
    printf '%s' "$here $venv" >"$stamp"
}

# A copied or moved environment has wrong paths in its scripts. One without our stamps is somebody's own: taken as it is.
fits_here() {
    usable "$venv" || return 1
    for made in "$venv"/.made-for-*; do
        [ -f "$made" ] || return 0
        if [ "$(cat "$made")" = "$here $venv" ]; then return 0; fi
    done
    return 1
}

# prepare STAMP-NAME PIP-ARGUMENTS...
prepare() {
    choose_venv "$1"
    stamp=$venv/.made-for-$1
    shift
    if usable "$venv" && up_to_date "$stamp"; then return; fi
    log=$(mktemp) || exit 2
    trap 'rm -f "$log"' EXIT
    mkdir -p "$(dirname "$venv")"
    (
        if command -v flock >/dev/null 2>&1; then flock 9; fi
        fits_here || make_venv
        up_to_date "$stamp" || install "$stamp" "$@"
    ) 9>"$venv.lock" || exit 2
    rm -f "$log"
    trap - EXIT
}
