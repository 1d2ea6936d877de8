"""What importing us and asking for help load, each in a real child.

What that costs in milliseconds is measured by benchmarks/import_time.py.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "aiohttp",
    "msgspec",
    "numpy",
    "prometheus_client",
    "psutil",
    "rich",
    "starlette",
    "torch",
    "triton",
    "uvicorn",
}


def loaded_after(code: str) -> set[str]:
    """Top-level packages in sys.modules after code ran in a new interpreter."""
    report = "\nimport sys\nprint('\\n' + ' '.join({n.split('.')[0] for n in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-c", code + report],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_import_is_light() -> None:
    assert not loaded_after("import tuneonce") & HEAVY


def test_import_starts_no_thread_and_changes_no_environment() -> None:
    loaded_after(
        "import os, sys, threading\n"
        "before = dict(os.environ), len(sys.meta_path), threading.active_count()\n"
        "import tuneonce\n"
        "assert before == (dict(os.environ), len(sys.meta_path), threading.active_count())"
    )


def test_every_public_name_exists() -> None:
    loaded_after("import tuneonce\nfor name in tuneonce.__all__: getattr(tuneonce, name)")


def test_version_is_the_packages() -> None:
    loaded_after(
        "import tuneonce, tuneonce._version as v\nassert tuneonce.__version__ is v.__version__"
    )


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_is_light(arguments: list[str]) -> None:
    loaded = loaded_after(
        "from tuneonce.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as exit:\n"
        "    assert not exit.code, exit.code"
    )
    assert not loaded & HEAVY
