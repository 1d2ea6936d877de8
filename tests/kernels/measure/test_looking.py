"""Candidates are looked at while they race: real kernels, some of them wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.kernels.numerics_lab import (
    ACCUMULATOR,
    BITS,
    CHECK,
    HONEST,
    MASK,
    OFF,
    RACE,
    SHIFTED,
    STALE,
    TAIL,
    Bench,
    add_to,
    column_sums,
)
from tests.kernels.pool_lab import tuner
from tuneonce.model.records import Sighting
from tuneonce.resolution.resolver import Resolver
from tuneonce.triton.measure.outputs import looks

FOUR = [(2, HONEST), (4, HONEST), (8, HONEST), (16, HONEST)]


def test_all_wrong_candidates_are_found_and_no_honest_one_is() -> None:
    """They are the fastest, too."""
    honest = [(block, HONEST) for block in (1, 2, 4, 5, 8, 10, 16)]
    wrong = [(8, way) for way in (TAIL, MASK, RACE, ACCUMULATOR, STALE, SHIFTED)]
    with tuner(workers=0, policies=CHECK) as tuning:
        bench = Bench(column_sums, [*honest, *wrong], tuning.gpu)
        bench.sums()
        assert bench.failed == set(wrong)
        assert bench.winner == honest[-1]


def test_without_being_asked_nothing_is_looked_at() -> None:
    with tuner(workers=0, policies=OFF) as tuning:
        bench = Bench(column_sums, [*FOUR, (8, TAIL)], tuning.gpu)
        bench.sums()
        assert bench.winner == (8, TAIL)
        plain = list(bench.launched)
    with tuner(workers=0, policies=CHECK) as tuning:
        bench = Bench(column_sums, [*FOUR, (8, TAIL)], tuning.gpu)
        bench.sums()
        # Once more each, and nothing else.
        for way in FOUR:
            assert bench.launched.count(way) >= plain.count(way)
        assert bench.launched[:2] == [FOUR[0], FOUR[0]]


def test_looking_that_takes_too_long_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks, "_FREELY_S", 0.0)
    for policies, expected in ((CHECK, (8, TAIL)), (BITS, FOUR[0])):
        with tuner(workers=0, policies=replace(policies, look_share=1e-9)) as tuning:
            bench = Bench(column_sums, [*FOUR, (8, TAIL)], tuning.gpu)
            bench.sums()
            assert bench.winner == expected


def test_what_is_wrong_is_not_launched_to_know_what_constant_bits_cost() -> None:
    counts = []
    for policies in (CHECK, BITS):
        with tuner(workers=0, policies=policies) as tuning:
            bench = Bench(column_sums, [*FOUR, (8, TAIL)], tuning.gpu)
            bench.sums()
            counts.append(bench.launched.count((8, TAIL)))
    assert counts[0] == counts[1]


def test_looking_does_not_disturb_the_times() -> None:
    found = []
    for policies in (OFF, CHECK, BITS):
        with tuner(workers=0, policies=policies) as tuning:
            bench = Bench(column_sums, FOUR, tuning.gpu)
            bench.sums()
            found.append(list(bench.tuner.configs_timings.values()))
    assert found[0] == found[1] == found[2]


def test_a_known_key_is_not_looked_at() -> None:
    with tuner(workers=0, policies=BITS) as tuning:
        bench = Bench(column_sums, FOUR, tuning.gpu)
        bench.sums()
        bench.launched.clear()
        bench.sums()
        assert len(bench.launched) == 1


@pytest.mark.parametrize("kind", ["plain", "restored", "reset", "view"])
def test_every_candidate_finds_the_inputs_as_they_were(kind: str) -> None:
    """Else those that come later would seem to be far from the first."""
    options: dict[str, Any] = {
        "restored": {"restore_value": ["out"]},
        "reset": {"reset_to_zero": ["out"]},
    }.get(kind, {})
    n, ways = 500, [(64, HONEST), (128, HONEST), (256, HONEST), (128, TAIL)]
    with tuner(workers=0, policies=CHECK) as tuning:
        bench = Bench(add_to, ways, tuning.gpu, **options)
        memory = torch.full((2 * n,), 3.0)
        out = memory[n:] if kind == "view" else memory[:n].clone()
        x = torch.ones(n)
        bench.tuner[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, out, n)
        assert bench.winner == (256, HONEST)
        assert bench.failed == {(128, TAIL)}
        if kind == "restored":
            assert set(out.tolist()) == {4.0}
        if kind == "view":
            assert set(memory[:n].tolist()) == {3.0}


def test_what_a_candidates_hook_does_is_part_of_it() -> None:
    """Of a hook that clears the output, the candidate that has it is right, and in-place is not."""
    buffers: dict[str, Any] = {}

    def clear(nargs: dict[str, Any]) -> None:
        nargs["out"].zero_()

    ways = [(64, HONEST), (128, HONEST), (256, HONEST)]
    with tuner(workers=0, policies=CHECK) as tuning:
        hooks = {(64, HONEST): clear, (128, HONEST): clear}
        bench = Bench(add_to, ways, tuning.gpu, hooks=hooks)
        buffers["out"] = torch.full((500,), 3.0)
        bench.tuner[lambda meta: (triton.cdiv(500, meta["BLOCK"]),)](
            torch.ones(500), buffers["out"], 500
        )
        assert bench.failed == {(256, HONEST)}
        assert bench.winner == (128, HONEST)


def test_the_authors_first_candidate_is_used_whatever_the_others_say() -> None:
    with tuner(workers=0, policies=CHECK) as tuning:
        bench = Bench(column_sums, [(8, TAIL), *FOUR], tuning.gpu)
        bench.sums()
        assert bench.failed == set()
        assert bench.winner == FOUR[-1]


def test_with_bits_the_winner_has_the_bits_of_the_first() -> None:
    """The others add up in another order, and are faster."""
    with tuner(workers=0, policies=BITS) as tuning:
        bench = Bench(column_sums, FOUR, tuning.gpu)
        constant = bench.sums()
        assert bench.winner == FOUR[0]
    with tuner(workers=0, policies=BITS) as tuning:
        bench = Bench(column_sums, [FOUR[0], FOUR[3]], tuning.gpu)
        assert torch.equal(bench.sums(), constant)
    with tuner(workers=0, policies=OFF) as tuning:
        bench = Bench(column_sums, FOUR, tuning.gpu)
        assert not torch.equal(bench.sums(), constant)


def test_with_bits_those_of_equal_bits_race() -> None:
    with tuner(workers=0, policies=BITS) as tuning:
        bench = Bench(add_to, [(64, HONEST), (128, HONEST), (256, HONEST)], tuning.gpu)
        out = torch.zeros(500)
        bench.tuner[lambda meta: (triton.cdiv(500, meta["BLOCK"]),)](torch.ones(500), out, 500)
        assert bench.winner == (256, HONEST)


def test_with_bits_what_does_not_equal_itself_is_out() -> None:
    with tuner(workers=0, policies=BITS) as tuning:
        bench = Bench(column_sums, [(4, RACE), *FOUR], tuning.gpu)
        bench.sums()
        assert bench.winner == FOUR[0]


def test_with_bits_and_nothing_to_see_the_first_is_used() -> None:
    """It writes to nothing that is an argument."""
    with tuner(workers=0, policies=BITS) as tuning:
        bench = Bench(add_to, FOUR, tuning.gpu)
        bench.tuner[(4,)](torch.ones(500), torch.zeros(500), 0)
        assert bench.winner == FOUR[0]


def test_a_benchmark_function_of_the_program_sees_candidates_after_us() -> None:
    """It measures; they are looked at beside it."""

    def measure(call: Any, quantiles: Any = None) -> list[float]:
        call()
        measured.append(len(bench.launched))
        return [1.0 / len(measured)] * 3

    for policies, expected in ((CHECK, FOUR[3]), (BITS, FOUR[0]), (OFF, (8, TAIL))):
        measured: list[int] = []
        with tuner(workers=0, policies=policies) as tuning:
            bench = Bench(column_sums, [*FOUR, (8, TAIL)], tuning.gpu, do_bench=measure)
            bench.sums()
            assert bench.winner == expected
            assert len(measured) == 5
            assert measured[0] == (1 if policies is OFF else 3)


def test_what_triton_prints_of_a_candidate_it_prints_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRITON_PRINT_AUTOTUNING", "1")
    for policies in (OFF, CHECK):
        with tuner(workers=0, policies=policies) as tuning:
            bench = Bench(column_sums, FOUR, tuning.gpu, do_bench=lambda call, quantiles: [1.0] * 3)
            bench.sums()
        assert capsys.readouterr().out.count("with config") == len(FOUR)


# -- what other tunings of the key have seen -------------------------------------------------


@pytest.fixture
def seen_elsewhere(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has a store know another tuning: classes by position, -1 for the unsteady, and the wrong."""
    stock = Resolver.resolve

    def know(classes: dict[int, int], *wrong: int) -> None:
        def resolve(self: Resolver, question: Any) -> Any:
            named = question.digests
            seen = {named[one]: number for one, number in classes.items()}
            sighting = Sighting(9, 1.0, 4, seen, {}, [named[one] for one in wrong], False)
            return replace(stock(self, question), sightings=(sighting,))

        monkeypatch.setattr(Resolver, "resolve", resolve)

    return know


EQUAL = [(64, HONEST), (128, HONEST), (256, HONEST)]


def winner_of(policies: Any, ways: list[tuple[int, int]] = EQUAL) -> tuple[int, int]:
    """Of candidates that write equal bits, of which the later ones are faster."""
    with tuner(workers=0, policies=policies) as tuning:
        bench = Bench(add_to, ways, tuning.gpu)
        out = torch.zeros(500)
        bench.tuner[lambda meta: (triton.cdiv(500, meta["BLOCK"]),)](torch.ones(500), out, 500)
        return bench.winner


def test_one_inequality_elsewhere_is_enough(seen_elsewhere: Callable[..., None]) -> None:
    assert winner_of(BITS) == EQUAL[2]
    seen_elsewhere({0: 0, 1: 0, 2: 1})
    assert winner_of(BITS) == EQUAL[1]
    seen_elsewhere({0: 0, 1: 1, 2: -1})
    assert winner_of(BITS) == EQUAL[0]
    # Of others, and not of the first one, it says nothing.
    seen_elsewhere({1: 0, 2: 1})
    assert winner_of(BITS) == EQUAL[2]


def test_who_was_wrong_elsewhere_is_not_used_here(
    seen_elsewhere: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_elsewhere({0: 0, 1: 0, 2: 1}, 2)
    for policies, expected in ((OFF, EQUAL[2]), (CHECK, EQUAL[1])):
        assert winner_of(policies) == expected
    # Also where there was no time to look.
    monkeypatch.setattr(looks, "_FREELY_S", 0.0)
    ways = [*EQUAL, (128, TAIL)]
    seen_elsewhere({0: 0, 3: 1}, 3)
    assert winner_of(replace(CHECK, look_share=1e-9), ways) == EQUAL[2]


def test_the_authors_first_candidate_is_used_whatever_was_seen_elsewhere(
    seen_elsewhere: Callable[..., None],
) -> None:
    seen_elsewhere({0: 1, 1: 0, 2: 0}, 0, 1, 2)
    assert winner_of(CHECK) == EQUAL[0]
    seen_elsewhere({0: -1, 1: -1, 2: -1})
    assert winner_of(BITS) == EQUAL[0]
