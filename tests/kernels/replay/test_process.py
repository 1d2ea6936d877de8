"""A program's starts, one after the other: what the first needs is ready at the next."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from tests.fakes import PYTHONPATH, Children
from tuneonce.model.profiles import Profile, ProfilePart, merge
from tuneonce.model.record_names import PROFILES
from tuneonce.model.records import unpack
from tuneonce.system.program import program_name

CHILD = Path(__file__).with_name("start_child.py")
LAUNCHES = ("launch", "second", "tune")


def start(children: Children, *steps: str, **environment: str) -> dict[str, Any]:
    """A start of the program; by step what came of it, of the last of that name."""
    return {one["step"]: one for one in children.run(CHILD, *steps, **environment)}


def profile_of(children: Children) -> Profile:
    """All that is recorded, under whatever name."""
    found = (children.store / PROFILES).glob("*/*.profile.json")
    return merge(unpack(path.read_bytes(), ProfilePart) for path in found)


def recorded(children: Children) -> list[str]:
    return sorted(one.kernel.partition(":")[2] for one in profile_of(children).variants)


def assert_ready(said: dict[str, Any], *steps: str) -> None:
    """Nothing was compiled and nothing loaded in these steps."""
    assert {step: (said[step]["compiled"], said[step]["loaded"]) for step in steps} == {
        step: ([], 0) for step in steps
    }


def test_what_was_first_met_while_serving_is_ready_at_the_next_start(
    warm_children: Children,
) -> None:
    first = start(warm_children, "launch", "ready", "second", "tune")
    assert first["second"]["compiled"] == [["second", False]]
    assert first["tune"]["loaded"] == 2
    profile = profile_of(warm_children)
    assert {one.kernel: one.phase for one in profile.variants} == {
        "__main__:first": "starting",
        "__main__:second": "serving",
        "__main__:tuned": "serving",
    }
    assert [(one.kernel, one.phase) for one in profile.keys] == [("__main__:tuned", "serving")]
    again = start(warm_children, "ready", *LAUNCHES)
    assert_ready(again, *LAUNCHES)
    # And for each the two other specialisations of its number.
    assert again["ready"]["loaded"] == 3 + 2 * 3
    for step in LAUNCHES:
        assert again[step]["code"] == first[step]["code"]


def test_so_it_is_after_triton_s_cache_was_emptied(warm_children: Children) -> None:
    start(warm_children, "launch", "ready", "second", "tune")
    shutil.rmtree(warm_children.triton_cache)
    again = start(warm_children, "ready", *LAUNCHES)
    assert_ready(again, *LAUNCHES)
    assert [name for name, from_cache in again["ready"]["compiled"] if not from_cache] == []


def test_a_constant_that_is_another_at_each_start_is_ready_where_a_kernel_told_of_it(
    warm_children: Children,
) -> None:
    """So is a kernel that a request is the first to launch, and that was never compiled for it."""
    steps = ("launch", "ready", "scaled", "written")
    for scale in ("1000", "990", "987"):
        said = start(warm_children, *steps, SCALE=scale, TUNEONCE_WORKERS="2")
        stock = start(warm_children, "scaled", SCALE=scale, TUNEONCE="0")
        assert said["scaled"]["code"] == stock["scaled"]["code"]
        if scale != "1000":
            assert_ready(said, "scaled")


def test_a_deterministic_start_uses_what_is_there_and_writes_nothing(
    warm_children: Children,
) -> None:
    on = {"TUNEONCE_DETERMINISTIC": "1"}
    start(warm_children, *LAUNCHES, "ready", "second", **on)
    assert not warm_children.store.exists()
    start(warm_children, *LAUNCHES, "ready")
    shutil.rmtree(warm_children.triton_cache)
    before = everything_below(warm_children.store)
    said = start(warm_children, "ready", *LAUNCHES, "scaled", **on)
    assert_ready(said, *LAUNCHES)
    assert [name for name, from_cache in said["ready"]["compiled"] if not from_cache] == []
    assert everything_below(warm_children.store) == before


def everything_below(root: Path) -> dict[str, int]:
    """All that is there, hidden or not, and when it was written last."""
    return {str(path): path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}


def test_a_program_that_is_killed_is_known_at_the_next_start(warm_children: Children) -> None:
    with pytest.raises(AssertionError, match=f"exit {-signal.SIGKILL}"):
        start(warm_children, "launch", "ready", "second", "written", "kill")
    assert recorded(warm_children) == ["first", "second"]
    assert_ready(start(warm_children, "ready", "launch", "second"), "launch", "second")


def test_a_start_that_fails_or_is_killed_is_not_complete(warm_children: Children) -> None:
    """Or a server that fails at each start would forget what it needs."""
    for steps in (("launch", "written", "kill"), ("second", "written", "fail")):
        with pytest.raises(AssertionError, match="exit"):
            start(warm_children, *steps)
    assert [one.complete for one in profile_of(warm_children).starts] == [False, False]
    start(warm_children, "tune", "written")  # ends as it should
    assert sorted(one.complete for one in profile_of(warm_children).starts) == [False, False, True]


def test_parent_and_forked_child_both_write(warm_children: Children) -> None:
    start(warm_children, "launch", "fork", "second", "written")
    profile = profile_of(warm_children)
    assert len(profile.starts) == 1
    assert recorded(warm_children) == ["first", "second"]
    parts = list((warm_children.store / PROFILES).glob("*/*"))
    assert len({path.name.rpartition("-")[0] for path in parts}) == 2
    # What the child inherited is the parent's, not a finding of its own.
    assert len([path for path in parts if b"__main__:first" in path.read_bytes()]) == 1


def test_a_spawned_child_writes_into_the_same_profile_and_start(children: Children) -> None:
    start(children, "launch", "written", "spawn")
    assert len(list((children.store / PROFILES).iterdir())) == 1
    profile = profile_of(children)
    assert len(profile.starts) == 1
    assert {one.kernel.partition(":")[2] for one in profile.variants} == {"first", "second"}


def test_another_port_is_the_same_program_and_another_name_is_another(
    warm_children: Children,
) -> None:
    start(warm_children, "launch", "ready")
    for more in ({}, {"TUNEONCE_PROFILE": "mine"}):
        start(warm_children, "launch", "ready", **more)
    assert len(list((warm_children.store / PROFILES).iterdir())) == 2
    # Nothing of its own yet, and no program of that name: nothing is ready.
    other = start(warm_children, "ready", "launch", TUNEONCE_PROFILE="new")
    assert other["launch"]["loaded"] == 1
    mine = start(warm_children, "ready", "launch", TUNEONCE_PROFILE="mine")
    assert mine["launch"]["loaded"] == 0


def test_it_can_be_switched_off(warm_children: Children) -> None:
    start(warm_children, "launch", "ready", TUNEONCE_PROFILE="0")
    assert not (warm_children.store / PROFILES).exists()
    start(warm_children, "launch", "ready")
    said = start(warm_children, "ready", "launch", TUNEONCE_WARM_BUDGET="0")
    assert (said["ready"]["compiled"], said["launch"]["loaded"]) == ([], 1)


@pytest.mark.parametrize("steps", [("ready", "set", "reads"), ("set", "ready", "reads")])
def test_a_global_that_is_set_before_the_first_launch_counts(
    warm_children: Children, steps: tuple[str, ...]
) -> None:
    """What was ready would hold the value of the start before, and Triton would refuse another."""
    old = start(warm_children, "reads", "ready")["reads"]["code"]
    stock = start(warm_children, *steps, TUNEONCE="0")["reads"]["code"]
    assert start(warm_children, *steps)["reads"]["code"] == stock
    assert start(warm_children, "ready", "reads")["reads"]["code"] == old
    # In an empty cache, where no version of Triton finds what was compiled with another value.
    shutil.rmtree(warm_children.triton_cache)
    new = start(warm_children, *steps, TUNEONCE="0")["reads"]["code"]
    shutil.rmtree(warm_children.triton_cache)
    assert start(warm_children, *steps)["reads"]["code"] == new != old


INTERPRETED = """
import json
import torch
import triton
import triton.language as tl
import tuneonce

@triton.jit
def add(x, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i) + n)

x = torch.zeros(16)
add[(1,)](x, 2, 16)
tuneonce.ready()
add[(1,)](x, 3, 16)
print(json.dumps(x.tolist()))
"""


def test_interpreted_kernels_are_run_and_not_recorded(children: Children) -> None:
    pytest.importorskip("numpy")
    text = INTERPRETED.replace("import tuneonce\n", "import tuneonce\ntuneonce.install()\n")
    for _ in range(2):
        assert children.run(text, TRITON_INTERPRET="1") == [5.0] * 16
    assert recorded(children) == []


NEVER_ANSWERED = """
import json
import threading
import torch
import triton
import triton.language as tl
import tuneonce
from tuneonce.replay.kept_binaries import KeptBinaries
from tuneonce.store.files import FileStore
from tuneonce.testing import SimulatedGPU

def hang(*args, **kwargs):
    threading.Event().wait()

for name in ("get", "put", "put_if_absent", "delete_if", "children", "list"):
    setattr(FileStore, name, hang)
KeptBinaries._first = hang
tuneonce.install()

@triton.jit
def first(x, n):
    tl.store(x, n)

SimulatedGPU().install()
first[(1,)](torch.zeros(16), 2)
tuneonce.ready()
first[(1,)](torch.zeros(16), 1)
print(json.dumps(["served"]))
"""


@pytest.mark.slow
def test_a_program_whose_store_never_answers_gets_ready_serves_and_ends(children: Children) -> None:
    assert children.run(NEVER_ANSWERED, timeout=60) == ["served"]


# -- names ---------------------------------------------------------------------------------------

# What a program and its children call themselves, as `replay.process` asks.
PROGRAM = """
import json, multiprocessing, sys
from tuneonce.replay.process import _own_name

def tell(*to):
    print(json.dumps(_own_name()), flush=True)

if __name__ == "__main__":
    tell()
    for method in ("fork", "spawn", "forkserver"):
        child = multiprocessing.get_context(method).Process(target=tell)
        child.start()
        child.join()
        assert child.exitcode == 0
"""


def names_of(folder: Path, *command: str) -> list[str]:
    (folder / "prog.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_children_have_the_name_of_their_program(tmp_path: Path) -> None:
    found = names_of(tmp_path, "prog.py", "--port", "5", "--tp", "2")
    assert len(found) == 4
    assert set(found) == {program_name(["prog.py", "--tp", "2"])}
    # By another name only as far as Python calls the file otherwise.
    assert set(names_of(tmp_path, "-m", "prog", "--tp", "2")) == set(found)


def test_children_of_code_have_one_name_at_every_start(tmp_path: Path) -> None:
    code = "import prog; prog.tell(); import multiprocessing as m\nif __name__ == '__main__':\n"
    code += " p = m.get_context('spawn').Process(target=prog.tell); p.start(); p.join()"
    first, child = names_of(tmp_path, "-c", code)
    assert first == program_name(["-c"], code)
    assert child == program_name(["-c"], "from multiprocessing.spawn import spawn_main; 7")
    assert child.split(" ")[0] == first.split(" ")[0]  # where one is empty, the other answers
