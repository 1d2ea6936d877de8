"""Helpers that tests of several areas share."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneonce.errors import StoreError
from tuneonce.events.log import EventLog
from tuneonce.model.codec import encode
from tuneonce.model.key import Candidate, KernelId, Key
from tuneonce.model.records import Measurement
from tuneonce.model.world import World
from tuneonce.resolution.journal import FOLDER, Journals
from tuneonce.resolution.resolver import Question
from tuneonce.settings import read
from tuneonce.store import Store, StoreInfo

if TYPE_CHECKING:
    from tests.kernels.warm import WarmPython

ROOT = Path(__file__).parents[1]


def events_of(store: Path, environ: Mapping[str, str]) -> Path:
    """Where processes in this environment write what happens with a store."""
    found = read({**environ, "TUNEONCE_STORE": str(store)}).events
    assert found is not None
    return found


@dataclass
class Children:
    """Runs scripts in new processes that share one set of directories, empty at first.

    The home, Triton's cache and our store lie below `home`; a second `Children` with another home
    is another machine. The children find the package in `src`, whatever is installed. Where they
    are `warm` they are forks of a process that has imported torch and triton.
    """

    home: Path
    environment: dict[str, str] = field(default_factory=dict)
    warm: WarmPython | None = None

    @property
    def store(self) -> Path:
        return self.home / "store"

    @property
    def triton_cache(self) -> Path:
        return self.home / "triton"

    def run(self, script: Path | str, *args: str, timeout: float = 280, **environment: str) -> Any:
        """The JSON document that the script printed last, on one line or over several.

        `script` is a file, or the text of one (Triton wants the source of its kernels in a file).
        Fails with what the child wrote to standard error.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        if isinstance(script, str):
            path = self.home / "script.py"
            path.write_text(textwrap.dedent(script))
        else:
            path = script
        env = {
            **os.environ,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "TRITON_CACHE_DIR": str(self.triton_cache),
            "TUNEONCE_STORE": str(self.store),
            "PYTHONPATH": str(ROOT / "src"),
            **self.environment,
            **environment,
        }
        if self.warm is not None:
            done = self.warm.run(path, *args, env=env, cwd=self.home, told=self.home / "told")
        else:
            done = subprocess.run(
                [sys.executable, str(path), *args],
                env=env,
                cwd=self.home,
                capture_output=True,
                text=True,
                timeout=timeout,
            )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stderr[-4000:]}"
        return last_json(done.stdout)


PYTHONPATH = os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)])
"""What we can import, a child can: this package and pytest, installed or not."""


def run_python(*arguments: object, cwd: Path | None = None, **variables: str) -> str:
    """What a Python with this package writes. Fails with what it wrote to standard error."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": PYTHONPATH, **variables},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def ends_with(main: Callable[[list[str]], int], words: list[str]) -> int:
    """The exit code of a command, argparse's way out among the ways to end."""
    try:
        return main(words)
    except SystemExit as end:
        return int(end.code or 0)


def write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Write each text to its path below the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def files_below(folder: Path) -> dict[str, bytes]:
    """All files below a folder, by their paths from there."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def last_json(text: str) -> Any:
    """The last JSON document in `text` that starts a line, and ends the text."""
    lines = text.splitlines()
    for start in range(len(lines) - 1, -1, -1):
        if lines[start].startswith(("{", "[")):
            with contextlib.suppress(json.JSONDecodeError):
                return json.loads("\n".join(lines[start:]))
    raise AssertionError(f"no JSON at the end of:\n{text[-2000:]}")


@contextlib.contextmanager
def compile_log() -> Iterator[list[tuple[str, bool]]]:
    """Every compilation in this process as (kernel, came from Triton's disk cache)."""
    from triton import knobs

    log: list[tuple[str, bool]] = []
    before = knobs.compilation.listener

    def listener(*, src: Any, cache_hit: bool, **others: Any) -> None:
        log.append((src.name, cache_hit))
        if before is not None:
            before(src=src, cache_hit=cache_hit, **others)

    knobs.compilation.listener = listener
    try:
        yield log
    finally:
        knobs.compilation.listener = before


# -- the resolver's neighbours -------------------------------------------------------------------


class RememberedEvents(EventLog):
    """Keeps events in a list instead of a file."""

    def __init__(self) -> None:
        super().__init__(None, mode="on", store="memory:")
        self.seen: list[dict[str, Any]] = []

    def emit(self, event: str, **fields: Any) -> None:
        self.seen.append({"e": event, **fields})

    def problems(self) -> list[str]:
        """What the problem events said went wrong, in their order."""
        return [event["what"] for event in self.seen if event["e"] == "problem"]


class FaultyStore(Store):
    """`inner`, except that an operation named in `faults` raises the error given there.

    `calls` are the operations and names that were asked for, failed or not.
    """

    def __init__(self, inner: Store, **faults: StoreError) -> None:
        self.inner = inner
        self.faults = faults
        self.calls: list[tuple[str, str]] = []

    def _meet(self, operation: str, name: str) -> None:
        self.calls.append((operation, name))
        if operation in self.faults:
            raise self.faults[operation]

    def get(self, name: str) -> bytes | None:
        self._meet("get", name)
        return self.inner.get(name)

    def put(self, name: str, data: bytes, *, durable: bool = True) -> None:
        self._meet("put", name)
        self.inner.put(name, data, durable=durable)

    def put_if_absent(self, name: str, data: bytes, *, durable: bool = True) -> bool:
        self._meet("put_if_absent", name)
        return self.inner.put_if_absent(name, data, durable=durable)

    def delete_if(self, name: str, expected: bytes) -> bool:
        self._meet("delete_if", name)
        return self.inner.delete_if(name, expected)

    def list(self, prefix: str) -> Iterator[str]:
        self._meet("list", prefix)
        return self.inner.list(prefix)

    def children(self, prefix: str, *, limit: int | None = None) -> Sequence[str]:
        self._meet("children", prefix)
        return self.inner.children(prefix, limit=limit)

    def set_aside(self, name: str, *, seen: bytes | None = None) -> bool:
        self._meet("set_aside", name)
        return self.inner.set_aside(name, seen=seen)

    def describe(self) -> StoreInfo:
        return self.inner.describe()


def candidate(block: int) -> Candidate:
    """``BLOCK=<block> num_warps=4``."""
    return Candidate((("BLOCK", encode(block)), ("num_warps", encode(4))))


def question(
    *blocks: int, n: int = 1, work_class: str = "c03", kernel: str = "add", product: str = "H200"
) -> Question:
    """A question about a made-up kernel with one candidate for each of `blocks`."""
    world = World("cuda", "90", "triton-3", product=product)
    identity = KernelId(kernel, "kernels", (("source", "0" * 16),))
    return Question(
        key=Key(identity, (("n", encode(n)),), world.parts, world.name),
        work_class=work_class,
        programs=64,
        candidates=[candidate(block) for block in blocks],
    )


_beside: weakref.WeakKeyDictionary[Store, Path] = weakref.WeakKeyDictionary()


def journal_folder(store: Store) -> Path:
    """Where processes over this store have their journals; of one in memory, while it lives."""
    info = store.describe()
    if info.kind == "files":
        return Path(info.location, FOLDER)
    if store not in _beside:
        _beside[store] = Path(tempfile.mkdtemp(prefix="tuneonce-test-"))
        weakref.finalize(store, shutil.rmtree, _beside[store], ignore_errors=True)
    return _beside[store]


def journals_of(store: Store) -> Journals:
    """The journals of a process over this store, as an installation has them."""
    folder = journal_folder(store)
    return Journals(lambda: [folder])


def measurements_left(folder: Path) -> list[Measurement]:
    """What the journals in a folder hold, of all keys."""
    keys = {path.name.split(".")[0] for path in folder.iterdir()} if folder.exists() else set()
    return [one for key in sorted(keys) for one in Journals(lambda: [folder]).left(key)]


def measured(
    block: int,
    *times: float,
    failed: str | None = None,
    at: float = 1000.0,
    work_class: str = "c03",
    seconds: float = 2.0,
) -> Measurement:
    """A measurement of `candidate(block)`."""
    one = candidate(block)
    return Measurement(
        candidate=one.digest,
        config=list(one.config),
        times=times,
        shape="list",
        failed=failed,
        method="do_bench",
        work_class=work_class,
        measured_at=at,
        seconds=seconds,
        compile_s=seconds / 2,
    )
