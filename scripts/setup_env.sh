#!/usr/bin/env bash
# Makes or brings up to date one development environment.
#
#   scripts/setup_env.sh FOLDER TRITON TORCH STAMP
#
# FOLDER  the virtual environment; kept and completed if it exists
# TRITON  version of Triton
# TORCH   version of torch, or "system": torch and triton are those of the interpreter
# STAMP   file that is made at the end; others of its kind in FOLDER are removed at the start
set -euo pipefail

venv=$1 triton=$2 torch=$3 stamp=$4
python=${PYTHON:-python3}
started=$SECONDS

say() { printf '[%s] %s\n' "$venv" "$*"; }
stop() { printf 'tuneonce setup: %s\n' "$*" >&2; exit 1; }

command -v "$python" >/dev/null || stop "no $python here: install Python 3.10 or later (Debian, Ubuntu: apt-get install python3 python3-venv)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    stop "$python is $("$python" -V 2>&1), and 3.10 or later is needed: name one with PYTHON=python3.12"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    stop "$python cannot make environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)"
command -v cc >/dev/null || command -v gcc >/dev/null ||
    stop "no C compiler here, and Triton needs one to launch kernels: install gcc (Debian, Ubuntu: apt-get install gcc)"

site=() system=false
if [ "$torch" = system ]; then
    site=(--system-site-packages) system=true
fi
# Which interpreter an environment has, and whether it sees that one's packages, is decided when
# it is made; completing the environment of another one would leave a mixture.
of_interpreter() { "$1" -c 'import sys; print(sys.base_prefix, sys.version)' 2>/dev/null; }
if [ -e "$venv" ] && ! {
    [ "$(of_interpreter "$venv/bin/python")" = "$(of_interpreter "$python")" ] &&
        grep -qi "^include-system-site-packages = $system" "$venv/pyvenv.cfg"
}; then
    say "is of another interpreter or another kind: made anew"
    rm -rf "$venv"
fi
rm -f "$venv"/.done-*
say "environment of $("$python" -V 2>&1)"
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv "${site[@]}" "$venv"
if [ "$torch" = system ]; then
    "$venv/bin/python" -c 'import torch, triton' 2>/dev/null ||
        stop "TORCH=system, but $python has no torch and triton of its own (those of a virtual environment do not count)"
fi

# A terminal sees pip's progress bars, a log only the steps.
quiet=--quiet
if [ -t 1 ]; then quiet=--no-color; fi
install() { "$venv/bin/python" -m pip install --disable-pip-version-check "$quiet" "$@"; }

if [ "$torch" != system ]; then
    # Alone and first: with this version present nothing else asks for another one, and any
    # other may bring gigabytes of CUDA along.
    say "torch $torch"
    install "torch==$torch"
    say "triton $triton"
    install "triton==$triton"
fi
say "tuneonce, editable, and what its tests and its demo need"
install --editable ".[dev,bench,demo]"
say "kernels of other packages, for the tests"
# Without what it depends on: it would move torch and triton.
install --no-deps "fla-core==0.6.0" "gemlite==0.6.0.post2" "liger-kernel==0.8.5" \
    "cut-cross-entropy==25.1.1"
install "einops>=0.8" tqdm

touch "$stamp"
say "ready after $((SECONDS - started)) s"
