"""Writers that are killed: no reader ever sees a part of a record, and what is left is cleared."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes import PYTHONPATH, run_python
from tuneonce.store import _atomic, open_store
from tuneonce.store.base import MAX_SET_ASIDE

NAME = "kernel/world/key/verdict.json"


# Forks one child per system call of an operation and kills it just before that call; a write is
# done by half first. Prints what the store held after each.
KILL_EVERYWHERE = r"""
import json, os, signal, sys
from tuneonce.store import open_store

root, operation = sys.argv[1:]
name, old, new = "kernel/world/key/verdict.json", b"old" * 3000, b"new!" * 5000
CALLS = ["open", "fstat", "fchmod", "write", "fsync", "close", "replace", "link", "rename",
         "unlink", "mkdir", "stat", "lstat", "scandir", "read", "listdir"]

def play(store):
    if operation == "put": store.put(name, new)
    elif operation == "first put": store.put(name, new)
    elif operation == "put_if_absent": store.put_if_absent(name, new)
    elif operation == "without links":
        def link(*a, **k): raise PermissionError(1, "no links")
        os.link = link
        store.put_if_absent(name, new)
    elif operation == "delete_if": store.delete_if(name, old)
    elif operation == "set_aside": store.set_aside(name, seen=old)

def die_at(step):
    count = [0]
    def wrap(call, real):
        def wrapper(*a, **k):
            count[0] += 1
            if count[0] == step:
                if call == "write":
                    real(a[0], a[1][: len(a[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*a, **k)
        return wrapper
    for call in CALLS:
        setattr(os, call, wrap(call, getattr(os, call)))

results = []
for step in range(1, 200):
    folder = f"{root}/{step}"
    store = open_store(folder)
    if operation in ("put", "delete_if", "set_aside"):
        store.put(name, old, durable=False)
    child = os.fork()
    if child == 0:
        die_at(step)
        try:
            play(store)
        except BaseException as error:
            os.write(2, repr(error).encode())
            os._exit(3)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status):
        assert os.WEXITSTATUS(status) == 0, status
        break
    data = store.get(name)
    results.append({old: "old", new: "new", None: None}.get(data, "PART"))
    assert list(store.list("")) == ([name] if data is not None else [])
    # The store works on: the name can be written, taken and deleted.
    store.put(name, b"after", durable=False)
    assert store.get(name) == b"after"
    assert store.delete_if(name, b"after")
print(json.dumps(results))
"""


@pytest.mark.parametrize(
    ("operation", "before", "after", "at_least"),
    [
        ("first put", None, "new", 15),
        ("put", "old", "new", 10),
        ("put_if_absent", None, "new", 15),
        ("without links", None, "new", 15),
        ("delete_if", "old", None, 5),
        ("set_aside", "old", None, 5),
    ],
)
def test_killed_at_every_step(
    tmp_path: Path, operation: str, before: str | None, after: str | None, at_least: int
) -> None:
    out = run_python("-c", KILL_EVERYWHERE, tmp_path, operation)
    seen = json.loads(out)
    # First it has not happened, then it has, and there is nothing between the two.
    turn = seen.index(after) if after in seen else len(seen)
    assert seen == [before] * turn + [after] * (len(seen) - turn)
    assert len(seen) >= at_least
    assert turn >= 1


WRITE_FOR_EVER = r"""
import sys
from tuneonce.store import open_store

store, me = open_store(sys.argv[1]), sys.argv[2]
for number in range(1_000_000):
    data = f"{me}-{number};".encode() * 4000
    name = f"k/w/{number % 3}"
    store.put(name, data, durable=number % 5 == 0)
    store.put_if_absent(f"k/w/new-{me}-{number % 50}", data, durable=False)
    seen = store.get(name)
    if seen is not None:
        store.delete_if(name, seen)
    sys.stdout.write(".")
    sys.stdout.flush()
"""


def test_killed_anywhere_while_others_read(tmp_path: Path) -> None:
    chance = random.Random(20)
    store = open_store(tmp_path / "store")
    read = 0
    for life in range(12):
        writer = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", WRITE_FOR_EVER, tmp_path / "store", str(life)],
            env=os.environ | {"PYTHONPATH": PYTHONPATH},
            stdout=subprocess.PIPE,
        )
        assert writer.stdout is not None
        try:
            for _ in range(chance.randint(1, 40)):
                assert writer.stdout.read(1) == b"."
                for name in store.list("k/w/"):
                    data = store.get(name)
                    if data is not None:
                        read += 1
                        record, _, _ = data.partition(b";")
                        assert data == (record + b";") * 4000, name
        finally:
            writer.kill()
            writer.communicate()
    assert read > 100


# -- what killed writers leave ---------------------------------------------------------------------


def test_old_temporary_files_are_swept_by_a_put_into_the_same_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_store(tmp_path).put(NAME, b"data")
    folder = (tmp_path / NAME).parent
    left = {".tmp-1-" + "ab" * 8, ".tmp-99999-" + "cd" * 8, ".new-verdict.json"}
    for name in left:
        (folder / name).write_text("part")
    directory = ".tmp-2-" + "ab" * 8
    (folder / directory).mkdir()
    foreign = {".tmp-1-ab", ".tmp-1-" + "AB" * 8, ".tmp-notes.txt", ".new-", ".new-.x"}
    others = {".other.swp", directory, "verdict.json", *foreign}

    def names() -> set[str]:
        return {path.name for path in folder.iterdir()}

    store = open_store(tmp_path)
    assert list(store.list("")) == [NAME]
    store.put(NAME, b"data")
    assert names() == left | {directory, "verdict.json"}, "they may still be in use"

    for name in (".other.swp", *foreign):
        (folder / name).write_text("not ours")
    monkeypatch.setattr(_atomic, "TEMP_AGE_S", -1.0)  # all are older than that
    store.put(NAME, b"data")
    assert left <= names(), "a process looks once into each folder"
    open_store(tmp_path).put_if_absent(NAME + "2", b"data")
    assert names() == others | {"verdict.json2"}


def test_a_record_that_another_process_takes_away_is_not_swept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old record under a new temporary name is new: renaming it counts."""
    store = open_store(tmp_path)
    store.put(NAME, b"data")
    record = tmp_path / NAME
    os.utime(record, (0, 0))
    moved = _atomic.temp_name()
    at = os.open(record.parent, os.O_PATH)
    _atomic.take(at, record.name, at, moved)
    os.close(at)
    open_store(tmp_path).put("kernel/world/key/other", b"data")
    assert (record.parent / moved).exists()


def test_set_aside_keeps_the_newest(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    for number in range(MAX_SET_ASIDE + 10):
        store.put(f"k/{number}.json", b"broken", durable=False)
        assert store.set_aside(f"k/{number}.json")
    kept = sorted(path.name.split("-", 2)[2] for path in (tmp_path / ".set-aside").iterdir())
    assert kept == sorted(f"{number}.json" for number in range(10, MAX_SET_ASIDE + 10))
    assert list(store.list("")) == []
    shutil.rmtree(tmp_path / ".set-aside")
    store.put("k/1.json", b"broken")
    assert store.set_aside("k/1.json")


def test_a_forked_child_and_its_parent_both_go_on(tmp_path: Path) -> None:
    code = """
import os, sys, threading
from tuneonce.store import open_store
from tuneonce.store.memory import MemoryStore

files, memory = open_store(sys.argv[1]), MemoryStore()
files.put("k/parent", b"1"); memory.put("k/parent", b"1")
memory._lock.acquire()  # as another thread might hold it
child = os.fork()
if child == 0:
    memory.put("k/child", b"2")
    assert memory.get("k/parent") == b"1"
    files.put("k/child", b"2")
    os._exit(0 if files.get("k/parent") == b"1" else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
memory._lock.release()
assert files.get("k/child") == b"2"
assert memory.get("k/child") is None
memory.put("k/parent", b"3")
"""
    run_python("-c", code, tmp_path / "store")
