"""What tests of several processes share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernels.warm import WarmPython


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """Starts programs without importing torch and triton for each."""
    made = WarmPython()
    yield made
    made.close()


@pytest.fixture(scope="session")
def warm_interpreter() -> Iterator[WarmPython]:
    """Starts programs that launch kernels in Triton's interpreter, without importing it for each.

    It imports the last of its modules at the first launch.
    """
    made = WarmPython("triton.experimental.gluon", without_torch=True, TRITON_INTERPRET="1")
    yield made
    made.close()
