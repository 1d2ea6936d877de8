"""Which environment `make demo` uses, and what `scripts/setup_env.sh` installs into each kind.

Nothing is fetched: `make` only says what it would do, and a script stands in for Python.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUP = ROOT / "scripts/setup_env.sh"
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
MADE_FROM = ("pyproject.toml", "src/tuneonce.pth", "scripts/setup_env.sh")
# Unlike any that is pinned.
VERSIONS = ("TRITON=3.9.1", "TORCH=2.13.1")
STAMP = ".done-3.9.1-2.13.1"

# Makes environments whose Python is this script again, logs what pip is to install, and answers
# what the set-up asks: does torch bring a Triton, do all go together, does torch see a GPU?
PYTHON = """#!/bin/sh
case "$1 $2" in
"-m venv")
    for folder; do :; done
    mkdir -p "$folder/bin"
    cp "$0" "$folder/bin/python"
    ;;
"-m pip")
    case "$3" in
    install) shift 5; echo "$@" >>"$LOG" ;;
    check) [ -z "$BROKEN" ] || { echo "$BROKEN"; exit 1; } ;;
    esac
    ;;
-c*)
    case "$2" in
    *importlib.metadata*) [ -n "$BRINGS" ] ;;
    *is_available*) [ -n "$USABLE" ] ;;
    esac
    ;;
esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The files that the environments are made from, and no environment."""
    for name in ("Makefile", *MADE_FROM):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, tmp_path / name)
        os.utime(tmp_path / name, (1_000, 1_000))
    return tmp_path


def would_run(clone: Path, target: str) -> str:
    make = shutil.which("make")
    if make is None:
        pytest.skip("no make here")
    # Of the make that has started these tests.
    outer = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")
    environment = {name: text for name, text in os.environ.items() if name not in outer}
    done = subprocess.run(
        [make, "-n", target, *VERSIONS],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def finish(clone: Path, folder: str, *, at: int) -> None:
    (clone / folder).mkdir()
    (clone / folder / STAMP).touch()
    os.utime(clone / folder / STAMP, (at, at))


def test_a_fresh_clone_gets_the_demos_own_environment(clone: Path) -> None:
    lines = would_run(clone, "demo")
    assert "scripts/setup_env.sh '.venv-demo' 'demo' '3.9.1' '2.13.1'" in lines
    assert "\n.venv-demo/bin/tuneonce demo" in lines


@pytest.mark.parametrize("folder", [".venv", ".venv-demo"])
def test_what_is_complete_is_used_as_it_is(clone: Path, folder: str) -> None:
    finish(clone, folder, at=2_000)
    lines = would_run(clone, "demo")
    assert "setup_env.sh" not in lines
    assert lines.startswith(f"{folder}/bin/tuneonce demo")


def test_a_development_environment_that_is_out_of_date_is_left_alone(clone: Path) -> None:
    finish(clone, ".venv", at=500)
    lines = would_run(clone, "demo")
    assert "setup_env.sh '.venv-demo' 'demo'" in lines
    assert "'.venv' 'dev'" not in lines


def test_all_others_use_the_development_environment(clone: Path) -> None:
    for target in ("setup", "test", "lint", "types", "bench-import_time"):
        assert "setup_env.sh '.venv' 'dev'" in would_run(clone, target)


def test_clean_removes_every_environment_and_git_sees_none(clone: Path) -> None:
    made = re.findall(r"\$\(call environment,([^,]+),", MAKEFILE)
    assert {".venv", ".venv-demo"} <= set(made)
    removed = next(line for line in would_run(clone, "clean").splitlines() if "rm -rf" in line)
    assert set(made) <= set(removed.split())
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert {".venv/", ".venv-*/"} <= set(ignored)


class Setup:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / "log"
        self.said = ""
        self.code = 0
        (root / "tools").mkdir()
        self._write("python", PYTHON)
        self._write("cc", "#!/bin/sh\n")

    def run(
        self,
        kind: str,
        *,
        torch: str = "2.13.0",
        gpu: bool = False,
        brings: bool = False,
        broken: str = "",
        usable: bool = True,
    ) -> list[str]:
        """Sets up an environment; the arguments of each call of pip's install, in order."""
        self._write("nvidia-smi", f"#!/bin/sh\necho '{'GPU 0: one' if gpu else 'No devices'}'\n")
        self.log.write_text("")
        done = subprocess.run(
            ["bash", str(SETUP), "env", kind, "3.9.0", torch, "env/.done-now"],
            cwd=self.root,
            env={
                "PATH": f"{self.root / 'tools'}:{os.environ['PATH']}",
                "PYTHON": str(self.root / "tools/python"),
                "LOG": str(self.log),
                "BRINGS": "yes" if brings else "",
                "BROKEN": broken,
                "USABLE": "yes" if usable else "",
            },
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.code = done.returncode
        self.said = done.stdout + done.stderr
        return self.log.read_text().splitlines()

    @property
    def finished(self) -> bool:
        return (self.root / "env/.done-now").exists()

    def _write(self, name: str, text: str) -> None:
        path = self.root / "tools" / name
        path.write_text(text)
        path.chmod(0o755)


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    if shutil.which("bash") is None:
        pytest.skip("no bash here")
    return Setup(tmp_path)


without_gpu = pytest.mark.skipif(Path("/dev/nvidia0").exists(), reason="there is a GPU")


@without_gpu
def test_the_demo_without_a_gpu(setup: Setup) -> None:
    assert setup.run("demo") == ["torch==2.13.0", "triton==3.9.0", "--editable .[demo]"]
    assert (setup.code, setup.finished) == (0, True)
    assert "PIP_EXTRA_INDEX_URL" in setup.said


def test_the_demo_on_a_gpu_takes_a_build_that_can_use_it_and_its_triton(setup: Setup) -> None:
    installed = setup.run("demo", gpu=True, brings=True)
    assert installed == ["torch==2.13.0,!=2.13.0+cpu", "--editable .[demo]"]
    assert (setup.code, setup.finished) == (0, True)
    assert "cannot use it" not in setup.said


def test_a_build_that_is_named_is_taken_whatever_it_is(setup: Setup) -> None:
    installed = setup.run("demo", torch="2.13.0+cpu", gpu=True, usable=False)
    assert installed == ["torch==2.13.0+cpu", "triton==3.9.0", "--editable .[demo]"]
    assert setup.finished
    assert "this torch cannot use it" in setup.said


def test_the_demo_with_the_machines_torch(setup: Setup) -> None:
    assert setup.run("demo", torch="system", broken="a needs b") == ["--editable .[demo]"]
    assert setup.finished
    assert "  a needs b\n" in setup.said


def test_the_demo_stops_where_packages_contradict_each_other(setup: Setup) -> None:
    setup.run("demo", broken="torch needs triton 3.7.1\nanother needs more")
    assert (setup.code, setup.finished) == (1, False)
    assert "  torch needs triton 3.7.1\n  another needs more\n" in setup.said


def test_the_development_environment_has_the_triton_that_is_asked_for(setup: Setup) -> None:
    installed = setup.run("dev", brings=True, broken="torch needs triton 3.7.1")
    assert installed[:3] == ["torch==2.13.0", "triton==3.9.0", "--editable .[dev,bench,demo]"]
    assert any("fla-core" in line for line in installed)
    assert setup.finished
    assert "  torch needs triton 3.7.1\n" in setup.said


def test_a_kind_that_there_is_not_is_refused(setup: Setup) -> None:
    assert setup.run("test") == []
    assert (setup.code, setup.finished) == (1, False)
