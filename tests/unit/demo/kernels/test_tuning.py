from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("triton")

from tuneonce.demo.kernels import tuning


@pytest.mark.parametrize(
    ("n", "expected"), [(1, 16), (16, 16), (17, 64), (64, 64), (65, 256), (8_000, 16_384)]
)
def test_size_class(n: int, expected: int) -> None:
    assert tuning.size_class(n) == expected


def test_the_benchmark_keeps_to_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(tuning, "time", SimpleNamespace(perf_counter=lambda: now))

    def measure(seconds: float) -> tuple[list[float], int]:
        launches = 0

        def launch() -> None:
            nonlocal now, launches
            now += seconds
            launches += 1

        return tuning.wall_clock(launch), launches

    # One launch to warm up. Slow kernels get the fewest repetitions, quick ones the most.
    assert measure(1.0) == (pytest.approx([1000.0] * 3), 6)
    assert 11 <= measure(0.01)[1] <= 12  # ten times 0.01 may be less than 0.1
    assert measure(0.0001)[1] == 41
