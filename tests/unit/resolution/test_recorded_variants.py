"""Which of a store's records of compiled variants are read."""

from __future__ import annotations

from tests.fakes import question
from tests.unit.resolution.desk import Desk, Reading
from tuneonce.model.records import Variants
from tuneonce.resolution.resolver import Question


def variants(asked: Question, at: float) -> Variants:
    return Variants(
        key=list(asked.key.parts),
        kernel=asked.label,
        work_class=asked.work_class,
        candidates=asked.digests,
        common={},
        each={},
        recorded_at=at,
    )


def test_variants_come_the_earliest_first_and_some_of_every_kernel() -> None:
    store = Reading()
    desk = Desk(store)
    many = [question(16, kernel="many", n=n) for n in range(400)]
    few = [question(16, kernel=f"few{n}", product=p) for n in range(20) for p in ("H20", "H200")]
    for number, asked in enumerate([*many, *few]):
        desk.resolver.keep_variants(asked, variants(asked, 1000.0 - number))
    store.reads = store.lists = 0
    found = list(desk.resolver.variants())
    assert [one.recorded_at for one in found] == sorted(one.recorded_at for one in found)
    kernels = [one.kernel for one in found]
    assert kernels.count("kernels:many") == 128
    assert len(found) == 128 + 40
    assert store.reads == len(found)
    assert store.lists < 250
    assert desk.events.seen == []
