"""The public names: each exists, says its types and what it does, and stands on its page."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import tuneonce
from tuneonce import errors, store, testing

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
ERRORS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and value.__module__ == errors.__name__
]
FUNCTIONS = [getattr(tuneonce, name) for name in tuneonce.__all__ if name != "__version__"]
METHODS = [
    getattr(kind, name)
    for kind, names in (
        (store.Store, ("get", "list", "children", "describe", "close")),
        (testing.SimulatedGPU, ("install", "uninstall", "best", "forget", "fail", "capture")),
        (testing.SimulatedGPU, ("set_current_device",)),
        (testing.Launch, ("runs",)),
    )
    for name in names
]


@pytest.mark.parametrize("function", [*FUNCTIONS, store.open_store, *METHODS])
def test_a_public_function_says_its_types_and_what_it_does(function: Any) -> None:
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty
    for name, parameter in signature.parameters.items():
        assert name == "self" or parameter.annotation is not inspect.Parameter.empty
    assert (inspect.getdoc(function) or "").strip()
    assert f"`{function.__name__}(" in PAGE or f".{function.__name__}(" in PAGE


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_it_returns_is_on_the_page(function: Any) -> None:
    returned = get_type_hints(function)["return"]
    text = "None" if returned is type(None) else returned.__name__
    assert f"`tuneonce.{function.__name__}() -> {text}`" in PAGE


def test_the_version_is_text() -> None:
    assert isinstance(tuneonce.__version__, str)
    assert "`tuneonce.__version__`" in PAGE


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_is_documented(error: type) -> None:
    assert (error.__doc__ or "").strip()
    assert re.search(rf"\b{error.__name__}`", PAGE)


def test_every_reason_of_an_unreadable_record_is_on_the_page() -> None:
    assert [reason.name for reason in errors.Unreadable if f"`{reason.name}`" not in PAGE] == []


def test_every_argument_of_the_simulated_gpu_is_on_the_page() -> None:
    parameters = inspect.signature(testing.SimulatedGPU).parameters
    assert [name for name in parameters if f"`{name}`" not in PAGE] == []


def test_every_name_that_testing_exports_is_on_the_page() -> None:
    assert [n for n in testing.__all__ if n not in PAGE and n != "LatencyModel"] == []


def test_what_the_page_says_of_plugins_is_what_is_installed() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    points = re.findall(r'entry-points\."(.+?)"\]\ntuneonce = "(.+?)"', project)
    assert len(points) == 3
    for group, target in points:
        assert f"`{group}` | `{target}`" in PAGE


def test_the_example_tunes_and_reads_what_was_stored(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("triton")
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    program = tmp_path / "example.py"
    program.write_text(example, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(program)],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT / "src"),
            "TMPDIR": str(tmp_path),
            "TUNEONCE_WORKERS": "0",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"v1/double \[\['BLOCK', .*\]\] 0\.\d+ ms\n", done.stdout)
