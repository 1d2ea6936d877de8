"""Candidates are looked at on equal inputs, within bounds, and their own errors stay theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from tuneonce.triton.measure.outputs.looks import MOST_BYTES, Launch, Looks, room_for
from tuneonce.triton.measure.outputs.spans import Unobservable, spans_of
from tuneonce.tuning.numerics import Conclusion, conclude

MANY = 1000


def launched(kernel: Callable[[], Any]) -> Launch:
    def launch(look: Callable[[], None]) -> None:
        kernel()
        look()

    return launch


def raised(error: Exception) -> None:
    raise error


def looks(*values: Any, **options: Any) -> Looks:
    return Looks(values, **{"share": 0.1, "on_error": raised, **options})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Bench:
    """An output, an input, and kernels over them."""

    def __init__(self) -> None:
        self.x = torch.randn(MANY, generator=torch.Generator().manual_seed(0))
        self.out = torch.full((MANY,), 7.0)

    def scaled(self, factor: float = 2.0, count: int = MANY) -> Callable[[], Any]:
        return lambda: torch.mul(self.x[:count], factor, out=self.out[:count])

    def added(self) -> Any:
        self.out += self.x

    def seen(self, *kernels: Callable[[], Any], **options: Any) -> tuple[Looks, Conclusion[int]]:
        found = looks(self.x, self.out, **options)
        for i, kernel in enumerate(kernels):
            found.of(i, launched(kernel))
        return found, conclude(range(len(kernels)), found.panel.seen)


def test_equal_rounded_and_wrong_outputs_are_told_apart() -> None:
    bench = Bench()
    found, told = bench.seen(
        bench.scaled(), bench.scaled(), bench.scaled(2 + 1e-6), bench.scaled(count=MANY - 100)
    )
    assert told.classes == {0: 0, 1: 0, 2: 1, 3: 2}
    assert told.wrong == {3}
    assert told.distances[0] == told.distances[1] == 0
    assert 0 < told.distances[2] < 1e-5
    assert told.distances[3] > 0.5
    assert found.size == 4 * MANY
    assert found.panel.references == [0, 3]


def test_in_place_every_candidate_finds_the_same_inputs() -> None:
    bench = Bench()
    before = bench.out.clone()
    found, told = bench.seen(bench.added, bench.added, bench.added)
    assert told.classes == {0: 0, 1: 0, 2: 0}
    assert torch.equal(bench.out, before + bench.x)
    assert found.left_out is None


def test_what_others_write_before_the_first_launch_stays() -> None:
    """As a copy of the next inputs, that goes on while candidates are compiled."""
    bench = Bench()
    found = looks(bench.x, bench.out)
    bench.x += 1
    before = bench.x.clone()
    found.of(0, launched(bench.scaled()))
    found.of(1, launched(bench.scaled()))
    assert torch.equal(bench.x, before)
    assert conclude([0, 1], found.panel.seen).classes == {0: 0, 1: 0}


def test_a_first_candidate_that_fails_is_none() -> None:
    """What it may have written before that is an input of the next one's first look."""
    bench = Bench()
    found = looks(bench.x, bench.out)
    with pytest.raises(ValueError, match="mine"):
        found.of(0, launched(lambda: raised(ValueError("mine"))))
    bench.x += 1
    for one in (1, 2):
        found.of(one, launched(bench.added))
    assert conclude([1, 2], found.panel.seen).classes == {1: 0, 2: 0}


def test_one_that_does_not_equal_itself_is_unsteady() -> None:
    bench = Bench()
    factors = iter([2.0, 2.000001])
    _, told = bench.seen(bench.scaled(), lambda: bench.scaled(next(factors))())
    assert told.unsteady == {1}
    assert not told.wrong


def test_one_that_is_wrong_every_other_time_is_wrong() -> None:
    bench = Bench()
    counts = iter([MANY, MANY - 200])
    right = bench.scaled()
    _, told = bench.seen(right, right, lambda: bench.scaled(count=next(counts))())
    assert told.wrong == {2}


def test_what_a_post_hook_restores_is_looked_at_before() -> None:
    bench = Bench()

    def launch(look: Callable[[], None]) -> None:
        bench.added()
        look()
        bench.out.sub_(bench.x)

    found = looks(bench.x, bench.out)
    found.of(0, launch)
    assert found.size == 4 * MANY


def test_a_launch_that_tells_of_no_end_is_looked_at_after_it() -> None:
    bench = Bench()
    found = looks(bench.x, bench.out)
    found.of(0, lambda look: bench.added())
    assert 0 in found.panel.seen


def test_integers_have_bits_and_no_distances() -> None:
    out = torch.zeros(MANY, dtype=torch.int32)
    found = looks(out)
    found.of(0, launched(lambda: out.fill_(1)))
    found.of(1, launched(lambda: out.fill_(2)))
    told = conclude([0, 1], found.panel.seen)
    assert told.classes == {0: 0, 1: 1}
    assert (told.wrong, told.disagrees) == (frozenset(), False)


@pytest.mark.parametrize(
    ("beside", "wrong"),
    [
        (torch.zeros(1, dtype=torch.bool), True),
        (torch.zeros(1, dtype=torch.int64), True),
        (torch.zeros(1, dtype=torch.bfloat16), True),
        (torch.zeros(1, dtype=torch.uint8), False),  # which may hold float8
        (torch.zeros(1, dtype=torch.float8_e5m2), False),
    ],
)
def test_how_far_is_wrong_depends_on_the_coarsest_type(beside: Any, wrong: bool) -> None:
    bench = Bench()
    found = looks(bench.x, bench.out, beside)
    for i, factor in enumerate((2.0, 2.0, 2.2)):
        found.of(i, launched(bench.scaled(factor)))
    assert conclude([0, 1, 2], found.panel.seen).wrong == ({2} if wrong else frozenset())


# -- bounds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "reason"),
    [([3, None], "no_tensors"), ([torch.zeros(0)], "no_tensors"), ([torch.zeros(9)], "too_large")],
)
def test_what_is_not_looked_at(values: list[Any], reason: str) -> None:
    with pytest.raises(Unobservable, match=reason):
        looks(*values, room=lambda spans: 35)


def test_a_kernel_that_writes_nothing_is_not_looked_at() -> None:
    bench = Bench()
    found, told = bench.seen(lambda: None, bench.scaled())
    assert found.left_out == "nothing_written"
    assert told.classes == {}


def test_without_room_for_a_copy_there_are_bits_alone() -> None:
    bench = Bench()
    _, told = bench.seen(
        bench.scaled(), bench.scaled(), bench.scaled(5.0), room=lambda spans: 16 * MANY
    )
    assert told.wrong == {2}
    out = torch.zeros(MANY)
    found = looks(out, room=lambda spans: 4 * MANY)
    for i, value in enumerate((1.0, 1.0, 2.0)):
        found.of(i, launched(lambda value=value: out.fill_(value)))
    told = conclude([0, 1, 2], found.panel.seen)
    assert told.classes == {0: 0, 1: 0, 2: 1}
    assert (told.wrong, told.disagrees) == (frozenset(), False)


def test_the_room_is_bounded() -> None:
    assert room_for(spans_of([torch.zeros(1)])) == MOST_BYTES


def test_looking_ends_where_it_takes_too_long() -> None:
    """The second launch of each takes a second, and nothing else does."""
    bench, clock = Bench(), Clock()
    launches: list[int] = []

    def slow(one: int) -> Callable[[], Any]:
        def kernel() -> None:
            launches.append(one)
            clock.now += launches.count(one) - 1
            bench.scaled()()

        return kernel

    found, told = bench.seen(slow(0), slow(1), slow(2), clock=clock)
    assert found.left_out == "time"
    assert set(told.classes) == {0}
    assert launches == [0, 0, 1, 2]
    assert found.seconds == 1
    # Beside ten times as much of other work it goes on.
    bench.out.zero_()
    found = looks(bench.x, bench.out, clock=clock)
    for one in (3, 4):
        found.of(one, launched(slow(one)))
        clock.now += 20
    assert found.left_out is None


def test_with_all_of_the_time_every_candidate_is_looked_at() -> None:
    bench, clock = Bench(), Clock()

    def slow() -> None:
        clock.now += 1
        bench.scaled()()

    found, told = bench.seen(slow, slow, slow, clock=clock, share=1.0)
    assert found.left_out is None
    assert set(told.classes) == {0, 1, 2}


# -- errors ----------------------------------------------------------------------------------


def test_what_a_candidate_raises_is_its_own() -> None:
    bench = Bench()
    found = looks(bench.x, bench.out)
    found.of(0, launched(bench.scaled()))
    with pytest.raises(ValueError, match="mine"):
        found.of(1, launched(lambda: raised(ValueError("mine"))))
    found.of(2, launched(bench.scaled()))
    assert set(found.panel.seen) == {0, 2}


def test_a_candidate_that_lacks_memory_gets_ours() -> None:
    bench = Bench()
    found = looks(bench.x, bench.out)
    found.of(0, launched(bench.scaled()))
    with pytest.raises(torch.OutOfMemoryError):
        found.of(1, launched(lambda: raised(torch.OutOfMemoryError("CUDA out of memory"))))
    assert found.left_out == "memory"
    found.of(1, launched(bench.scaled()))
    assert set(found.panel.seen) == {0}


def test_where_we_lack_memory_the_tuning_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def clone(self: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    bench = Bench()
    found = looks(bench.x, bench.out)
    monkeypatch.setattr(torch.Tensor, "clone", clone)
    found.of(0, launched(bench.scaled()))
    assert (found.left_out, found.panel.seen) == ("memory", {})
    assert bench.out.tolist() == (bench.x * 2).tolist()


def test_an_error_of_ours_ends_the_looking_and_not_the_tuning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench, told = Bench(), []
    found = looks(bench.x, bench.out, on_error=told.append)
    monkeypatch.setattr(torch, "equal", lambda a, b: raised(TypeError("of ours")))
    found.of(0, launched(bench.scaled()))
    found.of(1, launched(bench.scaled()))
    assert [str(error) for error in told] == ["of ours"]
    assert (found.left_out, found.panel.seen) == ("error", {})
    assert bench.out.tolist() == (bench.x * 2).tolist()


def test_an_error_of_the_device_is_the_candidates() -> None:
    """It shows when the device is waited for."""
    bench = Bench()
    # Before the launch, and after it.
    errors = iter([None, RuntimeError("CUDA error: an illegal memory access was encountered")])

    def synchronize() -> None:
        if (error := next(errors)) is not None:
            raise error

    found = looks(bench.x, bench.out, synchronize=synchronize)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        found.of(0, launched(bench.scaled()))
