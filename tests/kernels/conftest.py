"""Real kernels, compiled by the real compiler, on a GPU that is simulated."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes import Children
from tests.kernels.warm import WarmPython
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.compile.pool import CompilePool


@pytest.fixture(autouse=True)
def _quiet_triton(_isolated_environment: None, monkeypatch: pytest.MonkeyPatch) -> None:
    # Triton 3.9 warns once unless this is set to what it does anyhow; others do not know it.
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")


@pytest.fixture
def gpu() -> Iterator[SimulatedGPU]:
    """One simulated H200 with seed 0, installed."""
    pytest.importorskip("triton")
    with SimulatedGPU() as simulated:
        yield simulated


@pytest.fixture
def children(tmp_path: Path) -> Children:
    """New processes that share one home, Triton cache and store, all empty."""
    return Children(tmp_path / "home")


@pytest.fixture
def warm_children(tmp_path: Path, warm_python: WarmPython) -> Children:
    """The same, without importing torch and triton for each."""
    return Children(tmp_path / "home", warm=warm_python)


@pytest.fixture
def children_at(tmp_path: Path) -> Callable[[str], Children]:
    """The same with a home of a given name, for tests of several machines."""
    return lambda name: Children(tmp_path / name)


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """Starts programs without importing torch and triton for each."""
    made = WarmPython()
    yield made
    made.close()


@pytest.fixture
def pool() -> Iterator[CompilePool]:
    """A compile pool of two workers."""
    made = CompilePool(workers=2)
    yield made
    made.close()


@pytest.fixture
def obedient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Helpers do what jobs say (`tests.kernels.obedient_helper`)."""
    from tests.kernels.jobs import OBEDIENT
    from tuneonce.triton.compile import helper_process

    monkeypatch.setattr(helper_process, "_PROGRAM", OBEDIENT)


@pytest.fixture
def warnings(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """The warnings of this package so far."""
    caplog.set_level(logging.WARNING, "tuneonce")
    return lambda: [record.getMessage() for record in caplog.records]
