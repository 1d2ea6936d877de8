"""Readers, writers and removers in one store, and programs that keep it below a limit.

Nothing here sleeps: who is to meet at one moment waits for a barrier of processes.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.factories import let_age, make_key, make_part, put_part, put_variants, put_verdict
from tests.fakes import ROOT, last_json
from tuneonce.store.files import FileStore

TIMES = {64: (0.2,), 128: (0.1,)}
PROCESSES, OLD, NEW = 8, 60, 40
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}

# Each of these reads all names again and again, publishes keys of its own, some in folders that
# are being removed, and removes what is old, all in turns that chance decides.
CROWDED = r"""
import json, os, random, sys, time
from tests.factories import make_key, make_verdict, put_variants
from tests.processes.test_gc import NEW, OLD, TIMES
from tuneonce.inspect.clearing import clear
from tuneonce.inspect.garbage import Criteria, Places, plan
from tuneonce.model.record_names import kind_of, unpack_named
from tuneonce.model.records import pack
from tuneonce.store.files import FileStore
from tuneonce.store.walking import clock

root, number = sys.argv[1], int(sys.argv[2])
store, chance = FileStore(root), random.Random(number)
names = list(store.list(""))
count = {"keys": 0, "bytes": 0, "read": 0, "published": []}

def read(name):
    data = store.get(name)
    if data is not None:
        unpack_named(name, data, kind_of(name))  # raises for a half
        count["read"] += 1

def publish(n):
    # Every other one belongs to an old kernel, whose folders go meanwhile.
    key = make_key(f"old_{n}" if n % 2 else "new", tuning={"n": 1000 * (number + 1) + n})
    verdict = make_verdict(key, TIMES)
    name = key.verdict_name(verdict.work_class, verdict.candidates)
    assert store.put_if_absent(name, pack(verdict), durable=False)
    put_variants(store, key, *TIMES)
    count["published"].append(name)

def collect():
    asked = Criteria(written_before=clock(root) - 86400)
    done = clear(store, plan(store, asked, now=clock(root), places=Places()))
    count["keys"] += done.keys
    count["bytes"] += done.bytes

os.write(1, b"ready\n")
sys.stdin.readline()
for n in range(NEW):
    publish(n)
    for name in chance.sample(names, 10):
        read(name)
    for name in chance.sample(count["published"], min(5, n + 1)):
        assert store.get(name) is not None, name
    if n % 8 == number % 8:
        collect()
collect()
print(json.dumps(count))
"""


def fill(store: FileStore) -> int:
    """Old keys, each of a kernel of its own; how many bytes they take."""
    for n in range(OLD):
        key = make_key(f"old_{n}")
        let_age(store, put_verdict(store, key, TIMES), put_variants(store, key, *TIMES))
    root = Path(store.describe().location)
    return sum(path.stat().st_size for path in root.rglob("*.json"))


@pytest.mark.slow
def test_readers_writers_and_removers_at_once(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "store")
    whole = fill(store)
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CROWDED, str(tmp_path / "store"), str(number)],
            env=ENVIRONMENT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(PROCESSES)
    ]
    try:
        for child in children:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n", child.communicate()[1]
        for child in children:
            assert child.stdin is not None
            child.stdin.write("go\n")
            child.stdin.flush()
        told: list[Any] = []
        for child in children:
            out, problems = child.communicate(timeout=200)
            assert child.returncode == 0, problems
            assert problems == ""
            told.append(last_json(out))
    finally:
        for child in children:
            child.kill()
    # Each old key was removed, once, and each new one is there.
    assert sum(one["keys"] for one in told) == OLD
    assert sum(one["bytes"] for one in told) == whole
    published = {name for one in told for name in one["published"]}
    assert len(published) == PROCESSES * NEW
    left = set(store.list("v1/"))
    assert {name for name in left if ".verdict." in name} == published
    assert len(left) == 2 * len(published)
    assert not [path for path in (tmp_path / "store").rglob(".*") if path.is_file()]


KILLED = r"""
import os, signal, sys, time
from tuneonce.inspect.clearing import clear
from tuneonce.inspect.garbage import Criteria, Places, plan
from tuneonce.store.files import FileStore

store, calls, dies_at = FileStore(sys.argv[1]), 0, int(sys.argv[2])
found = plan(store, Criteria(written_before=time.time() - 86400), now=time.time(), places=Places())

def counted(real):
    def call(*args, **more):
        global calls
        calls += 1
        if calls == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **more)
    return call

for name in ("rename", "unlink", "rmdir", "read"):
    setattr(os, name, counted(getattr(os, name)))
clear(store, found)
print(calls)
"""


def run_killed(root: Path, dies_at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILLED, str(root), str(dies_at)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_killed_anywhere_it_leaves_nothing_but_whole_keys(tmp_path: Path) -> None:
    """And the next one removes the rest."""

    def make(name: str) -> FileStore:
        store = FileStore(tmp_path / name)
        for n in range(2):
            key = make_key(f"old_{n}")
            let_age(store, put_verdict(store, key, TIMES), put_variants(store, key, *TIMES))
        return store

    make("whole")
    calls = int(run_killed(tmp_path / "whole", 0).stdout)
    chance = random.Random(1)
    for step in sorted(chance.sample(range(1, calls + 1), min(12, calls))):
        store = make(str(step))
        assert run_killed(tmp_path / str(step), step).returncode == -signal.SIGKILL
        names = set(store.list("v1/"))
        # What was compiled for a verdict is not there without it.
        assert {name.rpartition("/")[0] for name in names} == {
            name.rpartition("/")[0] for name in names if ".verdict." in name
        }
        assert run_killed(tmp_path / str(step), 0).returncode == 0
        assert set(store.list("v1/")) == set()


PROGRAM = """
import json, sys, threading
import triton, triton.language as tl
import tuneonce

tuneonce.install()

def bench(call, quantiles):
    return [1.0] * 3

@triton.autotune([triton.Config({"B": b}) for b in (16, 32)], key=["n"], do_bench=bench)
@triton.jit
def kernel(n, B: tl.constexpr):
    tl.program_id(0) * B + n

kernel[(1,)](1)
tuneonce.ready()
for thread in threading.enumerate():
    if thread.name == "tuneonce-limit":
        thread.join()
        print(json.dumps("kept"))
"""


@pytest.mark.parametrize(("limit", "kept"), [("", False), ("1GB", True), ("8KB", True)])
def test_a_program_that_is_ready_keeps_the_store_below_its_limit(
    tmp_path: Path, limit: str, kept: bool
) -> None:
    pytest.importorskip("triton")
    store = FileStore(tmp_path / "store")
    fill(store)
    let_age(store, put_part(store, make_part("old 1", at=time.time() - 50 * 86400)))
    (tmp_path / "program.py").write_text(PROGRAM)
    environment = {**ENVIRONMENT, "TUNEONCE_STORE": str(tmp_path / "store")}
    environment |= {"TUNEONCE_STORE_LIMIT": limit, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, tmp_path / "program.py"],
        env={**environment, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert ("kept" in done.stdout) is kept
    names = list(store.list(""))
    whole = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*") if path.is_file())
    if limit == "8KB":
        assert whole <= 8192
    else:
        assert len([name for name in names if "/old_" in name]) == 2 * OLD
    # What this start has tuned is there.
    assert [name for name in names if name.startswith("v1/kernel~") and ".verdict." in name]
