"""How good the winners of work classes are, and how much is measured for them.

Statistics over modelled kernels (`sized_kernels`), from fixed seeds; figures of more of them are
made by `benchmarks/class_regret.py`.
"""

from __future__ import annotations

from itertools import chain
from statistics import fmean

import pytest

pytest.importorskip("triton")

from tests.kernels.launch.sized_kernels import (
    CANDIDATES,
    CLASSES,
    EVERY_SECOND,
    Outcome,
    SizedKernel,
    make_drifting,
    make_kernels,
    on_a_gpu,
)
from tuneonce.triton.kernel import device_facts
from tuneonce.tuning.quantiles import quantile

pytestmark = pytest.mark.slow

# A winner may be 2 % slower than the fastest, and noise adds to that.
TIED = 0.025
LAUNCHES = 200
Arms = list[tuple[SizedKernel, Outcome, Outcome, Outcome]]


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


def arms(count: int, *, serving: bool) -> tuple[Arms, Arms]:
    """Of kernels whose best candidate does not change, and of those where it does: with work
    classes, with one verdict a key, and the best that one candidate for each class can be."""
    found: tuple[Arms, Arms] = ([], [])
    for kernel in make_kernels(count):
        with on_a_gpu(kernel, launches=LAUNCHES) as sized:
            by_class = sized.serving(8000) if serving else sized.starting()
            single = sized.starting(work_classes=False)
            assert (by_class.found, single.found) == (len(CLASSES), 1)
            found[kernel.changes > 0].append((kernel, by_class, single, sized.ideal()))
    return found


def mean(arms: Arms, which: int) -> float:
    """Of all launches."""
    return fmean(chain.from_iterable(row[which].regret for row in arms))


def elsewhere(arms: Arms, share: float) -> float:
    """The regret, with work classes, that this share of launches does not exceed, in classes within
    which the best candidate does not change."""
    found = (by_class.where(kernel, changes=False) for kernel, by_class, *_ in arms)
    return quantile(sorted(chain.from_iterable(found)), share)


def test_each_class_that_is_met_has_a_winner_that_is_the_best_where_it_was_raced() -> None:
    stays, changes = arms(10, serving=False)
    firsts = sorted(chain.from_iterable(row[1].at_first() for row in (*stays, *changes)))
    assert len(firsts) == 10 * len(CLASSES)
    assert quantile(firsts, 0.97) <= TIED

    assert elsewhere(changes, 0.95) <= 0.03
    assert mean(changes, 1) <= 0.3 * mean(changes, 2)
    # One class may be raced on the one side of a boundary and launched on the other.
    assert mean(changes, 1) <= mean(changes, 3) + 0.02

    assert elsewhere(stays, 1.0) <= 0.03
    assert mean(stays, 1) <= mean(stays, 2) + 0.005

    # Nearer candidates than 15 %, the first of the list and probes are measured again.
    full = CANDIDATES * (len(CLASSES) - 1)
    assert fmean(row[1].beyond_first for row in stays) <= 0.6 * full
    assert fmean(row[1].beyond_first for row in changes) <= 0.75 * full


def test_traffic_finds_for_each_class_what_a_race_would() -> None:
    stays, changes = arms(6, serving=True)
    assert elsewhere(changes, 0.95) <= 0.04
    assert mean(changes, 1) <= 0.3 * mean(changes, 2)
    assert mean(changes, 1) <= mean(changes, 3) + 0.02
    assert elsewhere(stays, 0.95) <= 0.04
    assert mean(stays, 1) <= mean(stays, 2) + 0.01
    # A class is found in hundreds of launches, which take little longer than with the winners.
    learning = [row[1].learning for row in (*stays, *changes)]
    assert quantile(sorted(map(len, learning)), 1.0) <= 6000
    assert fmean(chain.from_iterable(learning)) <= 0.2


def test_where_every_second_class_is_known_the_others_take_half_of_the_looks() -> None:
    between = CANDIDATES * (len(CLASSES) - len(EVERY_SECOND))
    looked: list[int] = []
    regret: list[float] = []
    best: list[float] = []
    for kernel in make_drifting(6):
        with on_a_gpu(kernel, launches=LAUNCHES) as sized:
            raced = sized.starting(warm_up=EVERY_SECOND)
            found = sized.serving(8000, warm_up=EVERY_SECOND)
            full = sized.full()
            looked.append(found.measured - sized.borrowing(EVERY_SECOND).measured)
            regret += [fmean(raced.regret), fmean(found.regret)]
            best.append(fmean(full.regret))
    assert fmean(looked) <= 0.6 * between
    assert fmean(regret) <= fmean(best) + 0.005
