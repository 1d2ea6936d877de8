#!/usr/bin/env bash
# Makes or brings up to date one environment.
#
#   scripts/setup_env.sh FOLDER KIND TRITON TORCH STAMP
#
# FOLDER  the virtual environment; kept and completed if it exists
# KIND    "dev": what the tests, the tools and the demo need; "demo": what the demo needs
# TRITON  version of Triton; in a demo's environment only where torch does not bring its own
# TORCH   version of torch, or "system": torch and triton are those of the interpreter
# STAMP   file that is made at the end; others of its kind in FOLDER are removed at the start
set -euo pipefail

venv=$1 kind=$2 triton=$3 torch=$4 stamp=$5
python=${PYTHON:-python3}
started=$SECONDS

say() { printf '[%s] %s\n' "$venv" "$*"; }
stop() { printf 'tuneonce setup: %s\n' "$*" >&2; exit 1; }
gpu() { [ -e /dev/nvidia0 ] || [[ $(nvidia-smi -L 2>/dev/null) = GPU* ]]; }

case $kind in
dev) extras=dev,bench,demo what="its tests, its tools and its demo need" ;;
demo) extras=demo what="its demo needs" ;;
*) stop "an environment is of the kind dev or demo, not $kind" ;;
esac

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
    # Python up to 3.11 puts a setuptools into it, older than torch's, which hides the machine's.
    if "$python" -c 'import setuptools' 2>/dev/null; then
        "$venv/bin/python" -m pip uninstall --disable-pip-version-check --quiet --yes setuptools
    fi
fi

# A terminal sees pip's progress bars, a log only the steps.
quiet=--quiet
if [ -t 1 ]; then quiet=--no-color; fi
install() { "$venv/bin/python" -m pip install --disable-pip-version-check "$quiet" "$@"; }

# Whether the torch that is installed names the Triton that it goes with, as builds for GPUs do.
brings_triton() {
    "$venv/bin/python" -c '
import importlib.metadata, sys
sys.exit(not any("triton" in line for line in importlib.metadata.requires("torch") or []))'
}

if [ "$torch" != system ]; then
    wanted="torch==$torch"
    if [ "$kind" = demo ] && ! gpu; then
        say "torch $torch: gigabytes where pip finds no CPU build (PIP_EXTRA_INDEX_URL can name an index of these)"
    else
        say "torch $torch"
        # Where there is a CPU build of the same version, too, pip takes that for the newer one.
        if [ "$kind" = demo ] && [[ $torch != *+* ]]; then wanted+=",!=$torch+cpu"; fi
    fi
    # Alone and first: with this version present nothing else asks for another one, and any
    # other may bring gigabytes of CUDA along.
    install "$wanted"
    if [ "$kind" = demo ] && brings_triton; then
        say "triton as torch brings it"
    else
        say "triton $triton"
        install "triton==$triton"
    fi
fi
say "tuneonce, editable, and what $what"
install --editable ".[$extras]"
if [ "$kind" = dev ]; then
    say "kernels of other packages, for the tests"
    # Without what it depends on: it would move torch and triton.
    install --no-deps "fla-core==0.6.0" "gemlite==0.6.0.post2" "liger-kernel==0.8.5" \
        "cut-cross-entropy==25.1.1"
    install "einops>=0.8" tqdm
fi

if ! contradictions=$("$venv/bin/python" -m pip check 2>&1); then
    say "packages that do not go together:"
    printf '  %s\n' "${contradictions//$'\n'/$'\n'  }"
    # The tests' Triton need not be the one that torch asks for, and the machine's packages are
    # not ours to mend.
    if [ "$kind" = demo ] && [ "$torch" != system ]; then
        stop "the demo's environment is to have none: make clean, and once more"
    fi
fi
if [ "$kind" = demo ] && gpu; then
    "$venv/bin/python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' ||
        say "a GPU is here, and this torch cannot use it: the demo runs on the CPU (TORCH= takes another version, or system)"
fi

touch "$stamp"
say "ready after $((SECONDS - started)) s"
