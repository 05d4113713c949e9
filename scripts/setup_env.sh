#!/usr/bin/env bash
# Makes .venv and installs this checkout in it, once. `make` calls it before every target that runs
# Python; when nothing has changed it returns at once.
#
#   scripts/setup_env.sh [EXTRA]      EXTRA of pyproject.toml to install with it, default: test
#   PYTHON=...                        the interpreter to use, instead of the first that fits
#
# Written for bash 3.2, which macOS still ships.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

extra="${1:-test}"
venv=.venv
venv_python="$venv/bin/python"
stamp="$venv/.bayes_ctxlaw-$extra"
# There from the first moment of a new .venv until all is installed: where it is found, the making
# was interrupted and what lies there is not to be trusted.
unfinished="$venv/.unfinished"
minimum="$(sed -n 's/^requires-python = ">=\([0-9]*\.[0-9]*\)".*/\1/p' pyproject.toml)"

fail() {
    printf '%s\n' "$1" >&2
    exit 1
}

# Prints the version of an interpreter. Status 0: it fits; 3: too old; 4: it cannot make a virtual
# environment; any other: it does not run. A pyenv shim may exist and not run, so only running tells.
probe() {
    "$1" -c '
import sys
print("%d.%d.%d" % sys.version_info[:3])
if sys.version_info[:2] < tuple(int(part) for part in sys.argv[1].split(".")):
    sys.exit(3)
try:
    import ensurepip, venv
except ImportError:
    sys.exit(4)
' "$minimum" 2>/dev/null </dev/null
}

# The installation an interpreter belongs to, the same for it and the environments made from it.
origin() {
    "$1" -c 'import os, sys; print(os.path.realpath(sys.base_prefix), sys.version)' </dev/null
}

candidates() {
    if [ -n "${PYTHON:-}" ]; then
        printf '%s\n' "$PYTHON"
        return
    fi
    local name
    # -a: a shim that does not run may hide a working interpreter further down the PATH.
    for name in python3.13 python3.12 python3.14 python3 python; do
        type -aP "$name" || true
    done
    # pyenv keeps interpreters that no shim reaches while another version is selected.
    ls -d "${PYENV_ROOT:-${HOME:-}/.pyenv}"/versions/3.*/bin/python3 2>/dev/null || true
}

# Sets `python` to the first candidate that fits, or ends with one line.
find_python() {
    local candidate version status shown found="" unequipped=""
    while IFS= read -r candidate; do
        case "$candidate" in
            # An activated .venv comes first on the PATH; it cannot be the base of its successor.
            "$PWD/$venv"/*) continue ;;
        esac
        status=0
        version="$(probe "$candidate")" || status=$?
        shown="$version (${candidate##*/})"
        case $status in
            0)
                python="$candidate"
                return
                ;;
            3) found="${found:-$shown}" ;;
            4) unequipped="${unequipped:-$shown}" ;;
        esac
    done <<EOF
$(candidates)
EOF
    if [ -n "$unequipped" ]; then
        fail "Python $unequipped has no venv or no ensurepip module. Install them (Debian: the package python3-venv) or run: make test PYTHON=/path/to/python3.13"
    fi
    if [ -z "$found" ]; then
        found="none"
        if [ -n "${PYTHON:-}" ]; then found="none that runs as PYTHON=$PYTHON"; fi
    fi
    fail "bayes_ctxlaw needs Python >= $minimum; found $found. Install a newer one or run: make test PYTHON=/path/to/python3.13"
}

# Says why the present .venv has to be made anew; says nothing when it will do.
why_anew() {
    local version status=0
    if [ ! -e "$venv" ]; then
        printf 'there is none'
    elif [ -e "$unfinished" ]; then
        printf 'its making was interrupted'
    elif ! version="$(probe "$venv_python")"; then
        printf 'its interpreter is %s' "${version:-missing or broken}"
    elif [ -n "${PYTHON:-}" ] && [ "$(origin "$PYTHON")" != "$(origin "$venv_python")" ]; then
        printf 'it was made with another Python than %s' "$PYTHON"
    elif [ -e "$stamp" ] && [ "$(sed -n 1p "$stamp")" != "$PWD" ]; then
        # Scripts and the link to the checkout hold the folder's full name.
        printf 'it was made in another folder'
    fi
}

if [ -z "$minimum" ]; then
    fail "scripts/setup_env.sh found no line such as requires-python = \">=3.12\" in pyproject.toml"
fi

case "${PYTHON:-}" in
    # Asking for the Python of .venv is asking for no other.
    "$venv"/* | ./"$venv"/* | "$PWD/$venv"/*) PYTHON="" ;;
esac
python=""
# A Python that was asked for and will not do is an error, even beside a .venv that would.
if [ -n "${PYTHON:-}" ]; then find_python; fi

# Two makes at once must not build the same .venv. The lock ends with this script, however it ends.
# Where flock is missing (macOS) there is no such protection.
exec 9<pyproject.toml
if command -v flock >/dev/null 2>&1 && ! flock -n 9; then
    echo "waiting for another set-up of .venv to end"
    flock 9
fi

# What the installation depends on. The version too: its metadata is written when installing.
current="$(printf '%s\n' "$PWD" && cksum pyproject.toml bayes_ctxlaw/_version.py)"

reason="$(why_anew)"
if [ -z "$reason" ] && [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$current" ]; then
    exit 0
fi

SECONDS=0
if [ -n "$reason" ]; then
    if [ -z "$python" ]; then find_python; fi
    if [ -e "$venv" ] || [ -L "$venv" ]; then
        echo "making .venv anew: $reason"
        rm -rf "$venv"
    fi
    echo "creating .venv with Python $(probe "$python") and installing (about three minutes, once)"
    mkdir "$venv"
    : >"$unfinished"
    "$python" -m venv "$venv" || fail "$python -m venv failed; the lines above say why"
else
    echo "installing into .venv (pyproject.toml has changed, or the first time for: $extra)"
    # uv makes environments without pip.
    "$venv_python" -m pip --version >/dev/null 2>&1 || "$venv_python" -m ensurepip >/dev/null
fi
rm -f "$stamp"
# -qq: errors only. pip upgrades nothing that already fits.
PIP_DISABLE_PIP_VERSION_CHECK=1 "$venv_python" -m pip install -qq --no-input -e ".[$extra]" \
    </dev/null || fail "the installation into .venv failed; the lines above say why"
printf '%s\n' "$current" >"$stamp"
rm -f "$unfinished"
echo "done in $SECONDS s"
