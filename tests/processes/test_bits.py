"""`tuneonce bits` over kernels that compute, in Triton's interpreter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.processes.test_workloads import INTERPRETED, Shell

pytest.importorskip("triton")
pytest.importorskip("torch")

# Candidates leave out the end, write something else each time, or round in another way. Each of
# them takes half the time of the one before.
WORK = """
import itertools, sys
import torch, triton, triton.language as tl

calls = itertools.count()

def count(nargs):
    nargs["calls"].fill_(next(calls))

def bench_of(number):
    times = itertools.cycle(64 / 2**i for i in range(number))
    def bench(call, quantiles):
        call()
        return [next(times)] * 3
    return bench

def kernel(*ways):
    configs = [
        triton.Config({"WAY": way}, num_warps=2**i, pre_hook=count if way == "race" else None)
        for i, way in enumerate(ways)
    ]
    @triton.autotune(configs, ["n"], do_bench=bench_of(len(ways)))
    @triton.jit
    def total(x, out, calls, n, WAY: tl.constexpr):
        i = tl.arange(0, 64)
        found = tl.load(x + i, mask=i < n - 32 * (WAY == "tail"), other=0.0)
        if WAY == "race":
            found *= 1 + 0.000001 * (tl.load(calls) % 2)
        if WAY == "rounded":
            found *= 1.000001
        tl.store(out + i, found)
    return total

@triton.autotune([triton.Config({}, num_warps=i) for i in (1, 2)], ["n"], do_bench=bench_of(2))
@triton.jit
def bare(n):
    tl.program_id(0) + n

KERNELS = {
    "honest": ("right", "right", "right"),
    "rounded": ("right", "right", "rounded"),
    "wrong": ("right", "right", "right", "tail"),
    "unsteady": ("right", "right", "race", "right"),
    "disagree": ("tail", "right", "right"),
}
for n, name in enumerate(sys.argv[1:], 60):
    if name == "fails":
        sys.exit(7)
    if name == "bare":
        bare[(1,)](n)
        continue
    total = kernel(*KERNELS[name])
    total[(1,)](torch.ones(n), torch.zeros(64), torch.zeros(1, dtype=torch.int32), n)
    print("ran", name, flush=True)
"""
ALL = ("honest", "rounded", "wrong", "unsteady", "disagree")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "work.py").write_text(WORK)
    return Shell(tmp_path)


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The keys of `ALL`, by the program's names for them: they are in the order of their sizes."""
    keys = [one for one in document["keys"] if "total" in one["kernel"]]
    return dict(zip(ALL, keys, strict=True))


@pytest.mark.slow
def test_each_kernel_is_told_apart(shell: Shell) -> None:
    words = ("--store", "kept", "--output", "out.json", "--json", "work.py", *ALL, "bare")
    done = shell("bits", *words, **INTERPRETED)
    assert done.returncode == 1, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((shell.home / "out.json").read_text())
    assert "ran disagree" in done.stderr
    [bare] = [one for one in document["keys"] if one["kernel"] == "__main__:bare"]
    assert (bare["looked_at"], bare["left_out"], bare["cost"]) == (0, "no_tensors", 1.0)
    assert document["left_out"] == {"no_tensors": 1}
    keys = by_name(document)
    for name, one in keys.items():
        assert one["looked_at"] == one["ran"] == one["candidates"], name
        assert one["left_out"] is None
    honest, rounded, wrong, unsteady, disagree = keys.values()
    assert (honest["classes"], honest["cost"], honest["unsteady"]) == (1, 0.0, [])
    # The fastest rounds in another way, and takes half the time.
    assert (rounded["classes"], rounded["cost"], rounded["wrong"]) == (2, 1.0, [])
    [one] = wrong["wrong"]
    assert "tail" in one["candidate"]
    assert one["distance"] == pytest.approx(1 / 2**0.5, rel=0.1)
    assert wrong["fastest"] == wrong["constant"]  # what is wrong is not the fastest
    [text] = unsteady["unsteady"]
    assert "race" in text
    assert (unsteady["classes"], unsteady["wrong"]) == (1, [])
    [one] = disagree["disagree"]
    assert "tail" in one["candidate"]
    assert disagree["wrong"] == []
    assert document["problems"] == {"candidate_is_wrong": 1, "candidates_disagree": 1}

    # What it leaves is looked at as any store.
    listed = shell("ls", "--store", "kept", **INTERPRETED).stdout
    assert "1 wrong" in listed
    assert "disagree" in listed
    entries = shell.json("ls", "--store", "kept", "--json", **INTERPRETED)["entries"]
    costs = sorted(entry["outputs"]["cost"] for entry in entries)
    assert costs == sorted(one["cost"] for one in document["keys"])


@pytest.mark.slow
def test_exit_codes_of_a_real_program(shell: Shell) -> None:
    """What a store knows hides nothing: it is the one that the program has just filled."""
    store = {"TUNEONCE_STORE": str(shell.home / "store"), **INTERPRETED}
    assert shell("tune", "work.py", "honest", **store).returncode == 0
    before = sorted(path.name for path in (shell.home / "store").rglob("*"))
    done = shell("bits", "--strict", "work.py", "honest", **store)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 key: 1 of one class of bits" in done.stdout
    assert sorted(path.name for path in (shell.home / "store").rglob("*")) == before
    several = ("work.py", "rounded", "unsteady")
    assert shell("bits", *several, **store).returncode == 0
    assert shell("bits", "--strict", *several, **store).returncode == 1
    done = shell("bits", "work.py", "wrong", "fails", **store)
    assert done.returncode == 7
    assert "1 wrong" in done.stdout
    assert "exit code 7" in done.stdout
