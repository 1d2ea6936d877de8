"""Where nothing is measured, which candidate a size runs depends on no launch before it.

Each case is a kernel and some launches of one key that could be taken for each other. They are
launched in many orders, in a process each, and every launch must always run the same: the winner
of its own class, or of the nearest in the set.
"""

from __future__ import annotations

import itertools
import random
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

pytest.importorskip("triton")

import msgspec
import torch
import triton
import triton.language as tl

from tests.fakes import FaultyStore
from tests.kernels.equivalence_gpu import blocks
from tests.kernels.equivalence_lab import tuneonce_on as tuning
from tests.kernels.launch.test_deterministic import contents, deterministic
from tuneonce.inspect.freezing import freeze
from tuneonce.model.frozen import FrozenSet
from tuneonce.model.records import Verdict, pack, unpack
from tuneonce.store import Store, open_store
from tuneonce.store.memory import MemoryStore
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts

X, OUT = torch.zeros(64), torch.zeros(64)
BLOCKS = (256, 128, 64, 32)
FIRST = BLOCKS[0]


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


Launch = Callable[[Any], None]


@dataclass(frozen=True)
class Case:
    """`make` gives a kernel of `BLOCKS`, whose key is the same in all `launches`.

    `winners`: what is stored, the block by work class. `expected`: what each launch runs.
    """

    make: Callable[[], Any]
    launches: Sequence[Launch]
    winners: Mapping[str, int]
    expected: Sequence[int]


@triton.jit
def copy(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)


@triton.jit
def copy_of_first(xs, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(xs[0] + i, mask=i < n), mask=i < n)


@triton.heuristics({"ROWS": lambda meta: 5000 if meta["n"] > 50 else 1})
@triton.jit
def copy_of_rows(x, out, n, ROWS: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)


@triton.jit
def copy_unless(x, out, n, BAD: tl.constexpr, BLOCK: tl.constexpr):
    tl.static_assert(BLOCK != BAD)
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)


def tunable(kernel: Any = copy, **options: Any) -> Any:
    return triton.autotune(blocks(*BLOCKS), [], **options)(kernel)


def of_size(n: int) -> Launch:
    def launch(kernel: Any) -> None:
        kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](X, OUT, n)

    return launch


def stored(make: Callable[[], Any], launch: Launch, winners: Mapping[str, int]) -> MemoryStore:
    """A store with these winners of the key of a launch."""
    measured, store = MemoryStore(), MemoryStore()
    with SimulatedGPU(), tuning(measured):
        launch(make())
    for name, data in contents(measured).items():
        if data is None or not name.endswith(".verdict.json"):
            continue
        verdict = unpack(data, Verdict)
        digest = dict(zip(BLOCKS, verdict.candidates, strict=False))
        folder, _, file = name.rpartition("/")
        for work_class, block in winners.items():
            changed = msgspec.structs.replace(verdict, work_class=work_class, winner=digest[block])
            place = file.replace(verdict.work_class, work_class, 1)
            store.put(f"{folder}/{place}", pack(changed))
    return store


def ran(
    gpu: SimulatedGPU,
    case: Case,
    order: Sequence[int],
    store: Store,
    frozen: FrozenSet | None = None,
) -> dict[int, list[int]]:
    """What a process runs that makes its launches in this order: blocks, by launch."""
    found: dict[int, list[int]] = {}
    with deterministic(store, frozen) as process:
        kernel = case.make()
        for number in order:
            gpu.forget()
            case.launches[number](kernel)
            [launched] = gpu.launches
            found.setdefault(number, []).append(launched.constants["BLOCK"])
        assert process.began_nothing
        assert "untuned" not in {event["e"] for event in process.events.seen}
    return found


# -- sizes that could be taken for each other ----------------------------------------------------

# With 256 elements to a program, 16,128 are 63 programs and 16,129 are 64: another class.
NEAR = 16_129


def within_a_sixteenth() -> Case:
    sizes = (NEAR - 129, NEAR - 1, NEAR, NEAR + 71)
    return Case(tunable, [*map(of_size, sizes)], {"c02e00": 128, "c03e00": 64}, (128, 128, 64, 64))


def nearest_class() -> Case:
    """c01 is as near to c00 as to c02: the larger counts; c05 is beyond all."""
    sizes = (1, 1100, 5000, 20_000, 300_000)
    winners = {"c00e03": 32, "c02e01": 64, "c03e00": 128}
    return Case(tunable, [*map(of_size, sizes)], winners, (32, 64, 64, 128, 128))


def tensors_of_other_sizes() -> Case:
    """Neither the grid nor a number tells them apart."""

    def over(elements: int) -> Launch:
        x = torch.zeros(1).expand(elements)
        return lambda kernel: kernel[(4,)](x, OUT, 64)

    return Case(
        tunable,
        [over(100), over(60_000), over(4_000_000)],
        {"c01e03": 32, "c01e06": 64, "c01e10": 128},
        (32, 64, 128),
    )


def tensors_of_other_sizes_in_tuples() -> Case:
    def make() -> Any:
        return tunable(copy_of_first)

    def over(elements: int) -> Launch:
        x = torch.zeros(1).expand(elements)
        return lambda kernel: kernel[(4,)]((x,), OUT, 64)

    return Case(make, [over(100), over(4_000_000)], {"c01e03": 32, "c01e10": 128}, (32, 128))


def grids_that_read_a_tensor() -> Case:
    def over(rows: int) -> Launch:
        x = torch.full((64,), float(rows))
        return lambda kernel: kernel[lambda meta: (int(meta["x"][0]),)](x, OUT, 64)

    return Case(tunable, [over(1), over(5000)], {"c00e02": 32, "c06e00": 64}, (32, 64))


class Settings(types.SimpleNamespace):
    rows = 0


SETTINGS = types.ModuleType("settings_of_a_program")
ROWS: Any = None


def rows_of_module(meta: Any) -> Any:
    return (triton.cdiv(SETTINGS.rows, 1),)


def rows_of_class(meta: Any) -> Any:
    return (Settings.rows,)


def rows_of_global(meta: Any) -> Any:
    return (1 if ROWS is None else ROWS,)


def helper() -> int:
    return int(ROWS or 1)


def rows_of_helper(meta: Any) -> Any:
    return (helper(),)


@dataclass
class Held:
    rows: int


def values_that_change(grid: Callable[[Any], Any]) -> Case:
    """What the grid reads is none of the launch's arguments, and another in each launch."""

    def with_rows(rows: int) -> Launch:
        def launch(kernel: Any) -> None:
            global ROWS
            SETTINGS.rows = Settings.rows = rows  # type: ignore[attr-defined]
            ROWS = rows if rows > 1 else None
            kernel[grid](X, OUT, 64)

        return launch

    return Case(tunable, [with_rows(1), with_rows(5000)], {"c00e02": 32, "c06e00": 64}, (32, 64))


def grids_that_close_over_an_object() -> Case:
    held = Held(1)

    def grid(meta: Any) -> Any:
        return (held.rows,)

    def with_rows(rows: int) -> Launch:
        def launch(kernel: Any) -> None:
            held.rows = rows
            kernel[grid](X, OUT, 64)

        return launch

    return Case(tunable, [with_rows(1), with_rows(5000)], {"c00e02": 32, "c06e00": 64}, (32, 64))


def grids_that_are_lists_tuples_and_functions() -> Case:
    def of(grid: Any) -> Launch:
        return lambda kernel: kernel[grid](X, OUT, 64)

    launches = [of((1,)), of([5000]), of((5000,)), of(lambda meta: (1,)), of(lambda meta: (5000,))]
    return Case(tunable, launches, {"c00e02": 32, "c06e00": 64}, (32, 64, 64, 32, 64))


def grids_that_read_what_a_heuristic_gives() -> Case:
    def make() -> Any:
        return tunable(copy_of_rows)

    def of(n: int) -> Launch:
        return lambda kernel: kernel[lambda meta: (meta["ROWS"],)](X, OUT, n)

    def perhaps(n: int) -> Launch:
        return lambda kernel: kernel[lambda meta: (meta.get("ROWS", 2),)](X, OUT, n)

    def all_of(n: int) -> Launch:
        return lambda kernel: kernel[lambda meta: ({**meta}.get("ROWS", 2),)](X, OUT, n)

    launches = [of(10), of(60), perhaps(11), perhaps(61), all_of(12), all_of(62)]
    # What a grid takes for itself where there is nothing decides the class, and not what Triton
    # then launches: that would be another class in whatever launch is the first.
    return Case(make, launches, {"c00e02": 32, "c06e00": 64}, (32, 64, 32, 32, 32, 32))


def arguments_by_name_and_place() -> Case:
    def by_name(n: int) -> Launch:
        grid = of_grid(n)
        return lambda kernel: kernel[grid](x=X, out=OUT, n=n)

    def of_grid(n: int) -> Any:
        return lambda meta: (triton.cdiv(n, meta["BLOCK"]),)

    launches = [of_size(1), by_name(1), of_size(NEAR), by_name(NEAR), by_name(NEAR + 1)]
    return Case(tunable, launches, {"c00e03": 32, "c03e00": 64}, (32, 32, 64, 64, 64))


# -- what else decides ---------------------------------------------------------------------------


def make_failing() -> Any:
    return tunable(copy_unless)


def with_bad(n: int, bad: int) -> Launch:
    def launch(kernel: Any) -> None:
        kernel[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](X, OUT, n, BAD=bad)

    return launch


def constants_with_which_a_winner_does_not_run() -> Case:
    launches = [with_bad(1, 0), with_bad(1, 32), with_bad(NEAR, 32), with_bad(NEAR, 64)]
    return Case(make_failing, launches, {"c00e03": 32, "c03e00": 64}, (32, FIRST, 64, FIRST))


def constants_with_which_the_first_does_not_run() -> Case:
    launches = [with_bad(1, 0), with_bad(1, FIRST), with_bad(NEAR, FIRST), with_bad(NEAR, 0)]
    return Case(make_failing, launches, {}, (FIRST, 128, 128, FIRST))


def lists_pruned_by_the_launch() -> Case:
    """No winner is stored over the shorter list, so it is that list's first."""

    def prune(configs: Any, arguments: Any, **_: Any) -> Any:
        return [one for one in configs if one.kwargs["BLOCK"] < arguments["n"] % 1000]

    def make() -> Any:
        return tunable(prune_configs_by={"early_config_prune": prune})

    launches = [*map(of_size, (2999, 2998, 2200, 2100, 2050))]
    return Case(make, launches, {"c01e01": 64}, (64, 64, 128, 64, 32))


def one_winner() -> Case:
    return Case(tunable, [*map(of_size, (1, NEAR, 1100))], {"c02e00": 64}, (64, 64, 64))


def winners_that_agree() -> Case:
    winners = {"c00e03": 64, "c03e00": 64}
    return Case(tunable, [*map(of_size, (1, NEAR, 1100))], winners, (64, 64, 64))


def nothing_stored() -> Case:
    return Case(tunable, [*map(of_size, (1, NEAR, 1100))], {}, (FIRST, FIRST, FIRST))


CASES: Mapping[str, Callable[[], Case]] = {
    make.__name__: make
    for make in (
        within_a_sixteenth,
        nearest_class,
        tensors_of_other_sizes,
        tensors_of_other_sizes_in_tuples,
        grids_that_read_a_tensor,
        grids_that_close_over_an_object,
        grids_that_are_lists_tuples_and_functions,
        grids_that_read_what_a_heuristic_gives,
        arguments_by_name_and_place,
        constants_with_which_a_winner_does_not_run,
        constants_with_which_the_first_does_not_run,
        lists_pruned_by_the_launch,
        one_winner,
        winners_that_agree,
        nothing_stored,
    )
} | {
    grid.__name__: lambda grid=grid: values_that_change(grid)  # type: ignore[misc]
    for grid in (rows_of_module, rows_of_class, rows_of_global, rows_of_helper)
}


def orders(count: int) -> Iterator[Sequence[int]]:
    """Each launch first in one of these, and each pair in either order; each launch is repeated."""
    yield from ([*one, *reversed(one)] for one in itertools.permutations(range(count), 2))
    r = random.Random(0)
    for _ in range(4):
        order = [*range(count)] * 2
        r.shuffle(order)
        yield order


@pytest.mark.parametrize("name", CASES)
def test_which_candidate_a_size_runs_depends_on_no_launch_before(name: str) -> None:
    case = CASES[name]()
    store = stored(case.make, case.launches[0], case.winners)
    frozen = freeze(store).frozen
    with SimulatedGPU() as gpu:
        for order in orders(len(case.launches)):
            for held in (None, frozen):
                for number, found in ran(gpu, case, order, store, held).items():
                    assert set(found) == {case.expected[number]}, (order, number)


# -- several threads, and processes --------------------------------------------------------------


def test_threads_that_meet_other_sizes_first_launch_the_same() -> None:
    expected = {1: 32, 1100: 32, NEAR - 1: 128, NEAR: 64, NEAR + 1: 64, NEAR + 71: 64}
    store = stored(tunable, of_size(1), {"c00e03": 32, "c02e00": 128, "c03e00": 64})
    r = random.Random(0)
    orders = [r.sample([*expected] * 4, 4 * len(expected)) for _ in range(4)]

    def launch_all(kernel: Any, sizes: Sequence[int]) -> None:
        for n in sizes:
            of_size(n)(kernel)

    with SimulatedGPU() as gpu, deterministic(store), ThreadPoolExecutor(4) as pool:
        list(pool.map(launch_all, [tunable()] * 4, orders))
        ran = Counter((one.grid[0], one.constants["BLOCK"]) for one in gpu.launches)
    assert ran == Counter((-(-n // expected[n]), expected[n]) for order in orders for n in order)


def test_a_known_size_asks_nothing_and_takes_no_lock() -> None:
    store = FaultyStore(stored(tunable, of_size(1), {"c00e03": 32, "c03e00": 64}))
    with SimulatedGPU() as gpu, deterministic(store):
        kernel = tunable()
        for n in (1, NEAR):
            of_size(n)(kernel)
        store.calls.clear()
        state = kernel._tuneonce_state
        state.lock = None  # whoever takes it fails
        for n in (NEAR, 1, NEAR + 500, 2, NEAR + 501, 3):
            of_size(n)(kernel)
        assert store.calls == []
        assert [one.constants["BLOCK"] for one in gpu.launches] == [32, 64] + [64, 32] * 3
        assert len(state.classes[("torch.float32", "torch.float32")].winners) == 2


PROGRAM = """
import json, sys
import torch, triton
import triton.language as tl
import tuneonce
from tuneonce.testing import SimulatedGPU

tuneonce.install()

@triton.autotune([triton.Config({"BLOCK": size}) for size in (256, 128, 64, 32)], [])
@triton.jit
def copy(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

def times(launch):
    block = launch.constants["BLOCK"]
    n = launch.grid[0] * block
    return 1.0 if block == (32 if n < 2000 else 64 if n < 40_000 else 128) else 2.0

x, found = torch.zeros(64), {}
with SimulatedGPU(times=times) as gpu:
    for word in sys.argv[1:]:
        n = int(word)
        copy[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, x, n)
        found.setdefault(n, []).append(gpu.launches[-1].constants["BLOCK"])
    measured = len(gpu.benchmarked)
tuneonce.ready()
print(json.dumps([sorted(found.items()), measured]))
"""


def test_processes_that_meet_sizes_in_other_orders_launch_the_same(warm_children: Any) -> None:
    children = warm_children
    tuned = ["300", "20000", "300000"]
    assert children.run(PROGRAM, *tuned, TUNEONCE_WORKERS="0")[1] == 12
    file = children.home / "winners.json"
    file.write_bytes(freeze(open_store(str(children.store))).frozen.document())
    before = {path: path.read_bytes() for path in children.store.rglob("*") if path.is_file()}
    on = {"TUNEONCE_DETERMINISTIC": "1"}
    frozen = {**on, "TUNEONCE_FROZEN": str(file)}
    sizes = [1, 300, 1100, NEAR - 1, NEAR, NEAR + 71, 20_000, 65_536, 300_000]
    r, answers = random.Random(0), []
    for env in (on, frozen):
        for _ in range(3):
            order = [str(n) for n in r.sample(sizes, len(sizes)) + r.sample(sizes, len(sizes))]
            found, measured = children.run(PROGRAM, *order, **env)
            assert measured == 0
            assert all(len(set(blocks)) == 1 for _, blocks in found)
            answers.append([(n, blocks[0]) for n, blocks in found])
    assert [one for one in answers if one != answers[0]] == []
    assert {n: block for n, block in answers[0] if str(n) in tuned} == {
        300: 32, 20_000: 64, 300_000: 128
    }  # fmt: skip
    assert {path: path.read_bytes() for path in before} == before
    # One winner for all of these, for who wants that.
    found, _ = children.run(PROGRAM, "300", "300000", "20000", **frozen, TUNEONCE_WORK_CLASSES="0")
    assert {block for _, blocks in found for block in blocks} == {128}
