"""Every test starts from one known environment and leaves none of its own behind.

A developer's TUNEONCE and TRITON variables never reach a test, internal errors raise
(TUNEONCE_RAISE=1), and the home, the user's cache directory and Triton's cache are folders of
the run, one set per test, removed with it.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# No test asserts a duration: a busy machine takes longer over an example.
hypothesis.settings.register_profile(
    "tuneonce", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tuneonce")

# Prefixes of what steers Triton, this package, and the servers that set either.
STEERING = ("TUNEONCE", "TRITON_", "VLLM_", "SGLANG_", "FLA_")

_root = pytest.StashKey[Path]()
_numbers = itertools.count()


def pytest_configure(config: pytest.Config) -> None:
    # Here and not in a fixture: collecting imports the test modules, and they import triton.
    root = Path(tempfile.mkdtemp(prefix="tuneonce-tests-"))
    config.stash[_root] = root
    config.add_cleanup(lambda: shutil.rmtree(root, ignore_errors=True))
    _isolate(root / "session")


@pytest.fixture(autouse=True)
def _isolated_environment(request: pytest.FixtureRequest) -> Iterator[None]:
    # Not tmp_path, which Hypothesis rightly refuses around a test that it repeats.
    before = dict(os.environ)
    _isolate(request.config.stash[_root] / str(next(_numbers)))
    yield
    os.environ.clear()
    os.environ.update(before)


def _isolate(home: Path) -> None:
    """Point everything in the environment that leads to a folder of the user below home."""
    home.mkdir()
    for name in [name for name in os.environ if name.startswith(STEERING)]:
        del os.environ[name]
    os.environ["TUNEONCE_RAISE"] = "1"
    os.environ["TRITON_CACHE_DIR"] = str(home / "triton")
    os.environ["XDG_CACHE_HOME"] = str(home / "cache")
    os.environ["HOME"] = str(home)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker("gpu")]
    if needing and not _has_gpu():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="no GPU on this machine"))


def _has_gpu() -> bool:
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()
