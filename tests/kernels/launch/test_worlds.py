"""GPU products side by side in one store: what one has measured is another's expectation, or, by
policy, what it runs until it is measured itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import Events, tuneonce_on
from tuneonce.events.totals import total
from tuneonce.model.record_names import class_of_verdict
from tuneonce.policies import OnMiss, Policies
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts

X, OUT = torch.arange(4096.0), torch.zeros(4096)
BLOCKS = (512, 256, 128, 64, 32)

# By product, its multiprocessors and what wins at each key there.
PRODUCTS: dict[str, tuple[int, dict[int, int]]] = {
    "NVIDIA H100 80GB HBM3": (132, {100: 32, 1000: 128, 4000: 256}),
    "NVIDIA H200": (132, {100: 64, 1000: 64, 4000: 256}),
    "NVIDIA H20": (78, {100: 512, 1000: 512, 4000: 512}),
}
H100, H200, H20 = PRODUCTS


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()
    yield
    device_facts.forget()


class Machine:
    """One start on a machine of one product."""

    def __init__(self, gpu: SimulatedGPU, events: Events, at: list[int]) -> None:
        self.gpu, self.events, self._at = gpu, events, at
        self._kernel = triton.autotune(blocks(*BLOCKS), ["n"])(make_copy())

    def launch(self, *keys: int) -> dict[int, int]:
        """The winners that were launched, by key."""
        found = {}
        for n in keys or (100, 1000, 4000):
            self._at[0] = n
            self._kernel[covering(1024)](X, OUT, n)
            found[n] = self._kernel.best_config.kwargs["BLOCK"]
        return found


@contextlib.contextmanager
def machine(
    store: MemoryStore, product: str, policy: OnMiss = OnMiss.TUNE, **more: Any
) -> Iterator[Machine]:
    multiprocessors, winners = PRODUCTS[product]
    at = [0]

    def times(launch: Any) -> float:
        return 1.0 if launch.constants["BLOCK"] == winners[at[0]] else 2.0

    device_facts.forget()
    gpu = SimulatedGPU(product=product, sm_count=multiprocessors, times=times, **more)
    with gpu, tuneonce_on(store, policies=Policies(starting=policy)) as events:
        yield Machine(gpu, events, at)


def verdicts(store: MemoryStore) -> list[str]:
    return [name for name in store.list("") if class_of_verdict(name) is not None]


def wanted(store: MemoryStore) -> list[str]:
    return [name for name in store.list("") if name.endswith(".wanted.json")]


def filled(*products: str) -> MemoryStore:
    """A store that starts on these products have left."""
    store = MemoryStore()
    for product in products:
        with machine(store, product) as one:
            assert one.launch() == PRODUCTS[product][1]
    return store


def test_products_live_side_by_side() -> None:
    store = filled(H100, H200, H20)
    assert len(verdicts(store)) == 9
    for product in (H200, H100, H20):
        with machine(store, product) as one:
            assert one.launch() == PRODUCTS[product][1]
            assert one.events.outcomes == ["hit"] * 3
            assert one.gpu.benchmarked == []


def test_what_another_product_has_measured_is_expected() -> None:
    """By default: the key is measured here, and who is expected to lose is left out of it."""
    measured = []
    for store in (MemoryStore(), filled(H100)):
        with machine(store, H200, do_bench=True) as one:
            assert one.launch(4000) == {4000: 256}
            assert one.events.outcomes == ["miss"]
            assert one.events.of("borrow") == []
            (told,) = one.events.of("tune")
            measured.append(told["measured"])
    alone, expecting = measured
    assert expecting < alone == len(BLOCKS)


def test_by_policy_another_products_winners_run_until_they_are_measured() -> None:
    store = filled(H100)
    known = verdicts(store)
    with machine(store, H200, OnMiss.BORROW) as one:
        assert one.launch() == one.launch() == PRODUCTS[H100][1]
        assert one.gpu.benchmarked == []
        assert one.events.outcomes == ["miss"] * 3
        told = one.events.of("borrow")
        assert [event["elsewhere"] for event in told] == [["world.product"]] * 3
        assert [(event["different"], event["doublings"]) for event in told] == [(0, 0)] * 3
        totals = total([one.events.seen])
        assert (totals.misses, totals.borrowed, totals.tunes, totals.hits) == (3, 3, 0, 0)
        assert one.events.of("problem") == []
    assert verdicts(store) == known, "nothing is published"
    assert len(wanted(store)) == 3
    # Another start borrows them again, and one that tunes measures them.
    with machine(store, H200, OnMiss.BORROW) as again:
        assert again.launch() == PRODUCTS[H100][1]
    with machine(store, H200) as later:
        assert later.launch() == PRODUCTS[H200][1]
        assert len(later.events.of("tune")) == 3
    assert wanted(store) == []
    for product in (H100, H200):
        with machine(store, product, OnMiss.BORROW) as one:
            assert one.launch() == PRODUCTS[product][1]
            assert one.events.outcomes == ["hit"] * 3


def test_the_product_with_as_many_multiprocessors_is_nearer() -> None:
    for order in ((H20, H100), (H100, H20)):
        with machine(filled(*order), H200, OnMiss.BORROW) as one:
            assert one.launch() == PRODUCTS[H100][1]


def test_a_product_with_fewer_multiprocessors_is_borrowed_from_where_there_is_no_other() -> None:
    with machine(filled(H20), H200, OnMiss.BORROW) as one:
        assert one.launch(1000) == {1000: 512}
        (told,) = one.events.of("borrow")
        assert sorted(told["elsewhere"]) == ["world.product", "world.sm_count"]
