"""Stores that a resolver works over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.resolution.desk import Desk
from tuneonce.store import Store
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore


@pytest.fixture(params=["memory", "files"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    return MemoryStore() if request.param == "memory" else FileStore(tmp_path / "store")


@pytest.fixture
def desk(store: Store) -> Desk:
    return Desk(store)
