"""Kernels of published packages: tuned in one process, and never again in the next.

Each package's workload runs cold with tuneonce, warm with tuneonce, and with stock Triton, in
processes of their own on the simulated GPU; ``benchmarks/third_party.py`` has them started and this
judges what it saw. Few candidates of each list are kept, so that a cold start takes seconds.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.fakes import ROOT, Children
from tests.kernels.warm import WarmPython

BENCHMARK = ROOT / "benchmarks/third_party.py"
FOLDER = Path(__file__).parent
NAMES = sorted(path.name.removesuffix("_calls.py") for path in FOLDER.glob("*_calls.py"))

# Those that are not here persist every key they meet.
NOT_PERSISTED = {"flag_gems": {"kept by the package's own tuner": 2}}

# Two autotuners over one kernel: the second finds the first one's measurements in the store, where
# stock Triton measures again.
SHARED = {"torchao"}

# How many candidates of each list are kept, if not two: of two, its performance model leaves one.
KEPT = {"cut_cross_entropy": 3}

# Hooks of candidates whose kernels read globals: such a hook may set them, so it is called before
# the candidate's code is generated, once more than by a stand-in that benchmarks with one launch.
HOOKED = {"gemlite"}


def workload(name: str) -> ModuleType:
    """The module of a workload; importing it does not import its package."""
    spec = importlib.util.spec_from_file_location(f"{name}_calls", FOLDER / f"{name}_calls.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def warm() -> Iterator[WarmPython]:
    """With what of torch some of the packages import; that takes longer than their own modules."""
    made = WarmPython(
        "torch._dynamo", "torch._inductor.compile_fx", TORCHINDUCTOR_COMPILE_THREADS="1"
    )
    yield made
    made.close()


# Half a minute, with kernels of the kinds that the others have, too.
LONG = {"cut_cross_entropy": pytest.mark.thorough}
# The few calls that a large package names; all of them are minutes of the same.
CALLS = [
    *(pytest.param(name, True, id=name, marks=LONG.get(name, ())) for name in NAMES),
    *(
        pytest.param(name, False, id=f"{name}, all", marks=pytest.mark.thorough)
        for name in NAMES
        if hasattr(workload(name), "SHORT")
    ),
]


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "short"), CALLS)
def test_the_second_process_tunes_and_compiles_nothing(
    name: str,
    short: bool,
    warm: WarmPython,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = workload(name)
    pytest.importorskip("torch")
    pytest.importorskip("triton")
    if importlib.util.find_spec(calls.MODULE) is None:
        pytest.skip(f"{calls.PACKAGE} is not installed")

    for folder in (FOLDER, BENCHMARK.parent):
        monkeypatch.syspath_prepend(str(folder))
    package = importlib.import_module(BENCHMARK.stem).examine(
        name,
        at_most=KEPT.get(name, 2),
        gpu=False,
        short=short,
        runner=functools.partial(warm.run, told=tmp_path / "told"),
    )

    cold, warm = package["cold"], package["warm"]
    assert cold["candidates_measured"] > 0
    assert cold["compiles"] > 0
    assert (warm["candidates_measured"], warm["compiles"]) == (0, 0)
    assert warm["disk_loads"] > 0

    assert package["not_persisted"] == NOT_PERSISTED.get(name, {})
    assert package["persisted"] == package["keys"] - sum(package["not_persisted"].values())
    assert package["persisted"] > 0
    assert package["problems"] == {}
    assert package["everything"]["without_identity"] == {}

    assert package["winners_kept"]
    assert package["winners_of_stock"]
    assert package["steady_as_stock"]
    assert package["launches_as_stock"] == (name not in SHARED)
    assert package["tuning_as_stock"] == (name not in SHARED | HOOKED)


def test_the_table_of_the_documentation_is_that_of_the_committed_run(children: Children) -> None:
    committed = ROOT / "benchmarks/results/third-party.json"
    script = f"""
        import json, sys
        sys.path.insert(0, {str(BENCHMARK.parent)!r})
        import third_party
        with open({str(committed)!r}) as file:
            print(json.dumps([third_party.table(json.load(file))]))
    """
    (table,) = children.run(script)
    assert table in (ROOT / "docs/kernels.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_a_workload_says_what_it_is(name: str) -> None:
    calls = workload(name)
    assert calls.PACKAGE.replace("-", "_") == name
    assert calls.MODULE.isidentifier()
    assert all(type(value) is str for value in calls.ENVIRONMENT.values())
    assert calls.AT_MOST is None or calls.AT_MOST > 3
    assert calls.LIMITS
    assert calls.__doc__
    assert callable(calls.calls)
