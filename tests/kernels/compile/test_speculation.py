"""Compilers that would be idle begin with candidates that a race may ask for later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("triton")

import triton

from tests.kernels.jobs import make_scale
from tests.kernels.pool_lab import autotuned, launch, tuner
from tuneonce.triton.compile.pool import CompilePool

CONFIGS = [triton.Config({"BLOCK": b}, num_warps=w) for b in (64, 128, 256, 512) for w in (1, 2, 4)]
ONE_MORE = [*CONFIGS, triton.Config({"BLOCK": 64}, num_warps=8)]
RANK = {(c.kwargs["BLOCK"], c.num_warps): rank for rank, c in enumerate(ONE_MORE)}


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether what goes to the helper is urgent."""
    found: list[bool] = []
    submit = CompilePool.submit

    def watched(self: Any, job: Any, *, urgent: bool = True, **more: Any) -> Any:
        found.append(urgent)
        return submit(self, job, urgent=urgent, **more)

    monkeypatch.setattr(CompilePool, "submit", watched)
    return found


def tune_twice(
    workers: int, sent: list[bool], second: Callable[[int], float], *, again: bool = False
) -> tuple[int, int]:
    """Two keys of one kernel with binaries of their own; the second's block, and compiled here.

    The earlier in the list, the faster for the first key; by `second` of the rank for the second.
    `again`: then another autotuner over the kernel, whose list is longer, measures what is missing.
    """
    by_rank: Callable[[int], float] = lambda rank: 1.0 + rank  # noqa: E731

    def times(one: Any) -> float:
        return by_rank(RANK[one.constants["BLOCK"], one.num_warps])

    with tuner(workers=workers, times=times) as tuning:
        scale = make_scale()
        kernel = autotuned(scale, CONFIGS)
        assert launch(kernel, 1024) == 64
        assert sent == [True] * 12  # nothing is expected, all are asked for
        sent.clear()
        by_rank = second
        block = launch(kernel, 1000)
        if again:
            assert launch(autotuned(scale, ONE_MORE), 1000) == block
            assert tuning.of("resolve")[-1]["outcome"] == "partial"
        assert tuning.events.problems() == []
        return block, tuning.here


def test_who_may_be_asked_for_compiles_meanwhile(sent: list[bool]) -> None:
    block, here = tune_twice(8, sent, lambda rank: 20.0 - rank)
    assert block == 512
    assert here == 0
    assert sent.count(False) >= 2
    assert len(sent) == 12  # asked for and begun before: once


def test_who_was_not_asked_for_is_there_for_others(sent: list[bool]) -> None:
    """The next to ask may join what is still being compiled, and nothing is compiled twice."""
    block, here = tune_twice(8, sent, lambda rank: 1.0 + rank, again=True)
    assert block == 64
    assert here == 0
    assert sent.count(False) >= 2
    assert len(sent) <= 13


def test_few_compilers_have_better_things_to_do(sent: list[bool]) -> None:
    block, _ = tune_twice(2, sent, lambda rank: 1.0 + rank)
    assert block == 64
    assert all(sent)
    assert len(sent) < 12
