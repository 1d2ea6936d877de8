"""Merges, exports and imports that are killed, or for which a disk has no room: done again, they
come to what an undisturbed one comes to."""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.factories import NOON, make_key, put_variants, put_verdict
from tests.fakes import PYTHONPATH
from tuneonce.inspect.archive import is_archive
from tuneonce.inspect.carrying import export, take_in
from tuneonce.inspect.merging import merge
from tuneonce.inspect.upkeep import verify
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore

KEYS = 24
TIMES, OTHERS = {64: (0.2,), 128: (0.1,)}, {64: (0.1,), 128: (0.2,)}


@pytest.fixture
def sources(tmp_path: Path) -> list[FileStore]:
    """Two stores that know the same keys and others, and agree about some."""
    stores = [FileStore(tmp_path / "a"), FileStore(tmp_path / "b")]
    for number in range(KEYS):
        key = make_key("add", tuning={"n": number})
        for which, store in enumerate(stores):
            if number % 5 != which:
                times = OTHERS if number % 3 == which else TIMES
                put_verdict(store, key, times, at=NOON + number * which)
        put_variants(stores[number % 2], key, 64, 128)
    return stores


def records(store: FileStore | MemoryStore) -> dict[str, bytes | None]:
    return {name: store.get(name) for name in store.list("")}


def undisturbed(sources: list[FileStore]) -> dict[str, bytes | None]:
    target = MemoryStore()
    assert merge(sources, target).winners_differ > 5
    return records(target)


# Says a dot before each step on a disk, and takes the step when it is given a byte.
STEPWISE = r"""
import os, sys
from tuneonce.cli import main

write, read = os.write, os.read

def stepwise(real):
    def call(*arguments, **options):
        write(1, b".")
        read(0, 1)
        return real(*arguments, **options)
    return call

for step in ("mkdir", "write", "link", "replace", "unlink"):
    setattr(os, step, stepwise(getattr(os, step)))
sys.exit(main(sys.argv[1:]))
"""


def killed_at(step: int, *words: str) -> None:
    """Run a command and kill it just before its step of this number, the first being 1."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", STEPWISE, *words],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for number in range(1, step + 1):
            assert process.stdout.read(1) == b".", "it has ended before"
            if number < step:
                process.stdin.write(b"x")
    finally:
        process.kill()
        process.communicate()


def test_a_merge_that_is_killed_anywhere_is_done_again(
    tmp_path: Path, sources: list[FileStore]
) -> None:
    chance, expected = random.Random(39), undisturbed(sources)
    before = [records(store) for store in sources]
    target = FileStore(tmp_path / "c")
    words = ["merge", str(tmp_path / "a"), str(tmp_path / "b"), "--into", str(tmp_path / "c")]
    # What is there has less evidence, so that half of the names are replaced.
    for number in range(0, KEYS, 2):
        put_verdict(target, make_key("add", tuning={"n": number}), {64: (0.1,), 128: ()}, at=1.0)
    seen = []
    for _ in range(8):
        killed_at(chance.randint(1, 40), *words)
        assert verify(target).bad == []
        seen.append(sum(target.get(name) == data for name, data in expected.items()))
    assert seen == sorted(seen)
    assert seen[0] < seen[-1] < len(expected)
    assert merge(list(sources), target).unusable == 0
    assert records(target) == expected
    assert [records(store) for store in sources] == before


def test_an_import_that_is_killed_anywhere_is_done_again(
    tmp_path: Path, sources: list[FileStore]
) -> None:
    chance = random.Random(40)
    file = tmp_path / "results.tgz"
    with file.open("wb") as out:
        export(sources[0], out)
    target = FileStore(tmp_path / "c")
    words = ["import", str(file), "--store", str(tmp_path / "c")]
    for _ in range(5):
        killed_at(chance.randint(1, 40), *words)
        assert verify(target).bad == []
    assert 0 < len(records(target)) < len(records(sources[0]))
    with file.open("rb") as again:
        assert take_in(target, again, "results").broken is None
    assert records(target) == records(sources[0])


def test_an_export_that_is_killed_leaves_the_earlier_file(
    tmp_path: Path, sources: list[FileStore]
) -> None:
    file = tmp_path / "results.tgz"
    with file.open("wb") as out:
        export(FileStore(tmp_path / "b"), out)
    before = file.read_bytes()
    # Its one step of these is the last: all is written, and has a temporary name.
    killed_at(1, "export", str(file), "--store", str(tmp_path / "a"))
    assert file.read_bytes() == before
    [left] = [path for path in tmp_path.iterdir() if path.name.startswith(".results.tgz.")]
    assert is_archive(io.BytesIO(left.read_bytes()))


# No file may be larger than so many bytes: what a full disk says, on every machine.
LIMITED = r"""
import resource, sys
from tuneonce.cli import main

most = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
sys.exit(main(sys.argv[2:]))
"""


def limited(most: int, *words: str) -> tuple[int, str]:
    """The exit code of a command for which files are limited, and what it said of errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LIMITED, str(most), *words],
        env={**os.environ, "PYTHONPATH": PYTHONPATH, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr


def test_where_there_is_no_room_a_merge_stops_and_goes_on_later(
    tmp_path: Path, sources: list[FileStore]
) -> None:
    expected = undisturbed(sources)
    target = FileStore(tmp_path / "c")
    # Variants fit, verdicts do not.
    sizes = {len(data or b"") for data in expected.values()}
    words = ["merge", str(tmp_path / "a"), str(tmp_path / "b"), "--into", str(tmp_path / "c")]
    code, said = limited(min(sizes) + 100, *words)
    assert (code, len(said.splitlines())) == (1, 1)
    assert "Free some space" in said
    assert len(records(target)) < len(expected)
    assert verify(target).bad == []
    assert not list((tmp_path / "c").rglob(".*"))
    assert limited(1 << 20, *words)[0] == 0
    assert records(target) == expected


def test_where_there_is_no_room_the_earlier_file_stays(
    tmp_path: Path, sources: list[FileStore]
) -> None:
    file = tmp_path / "results.tgz"
    words = ["export", str(file), "--store", str(tmp_path / "a")]
    assert limited(1 << 20, *words) == (0, "")
    before = file.read_bytes()
    code, said = limited(1000, *words)
    assert (code, len(said.splitlines())) == (1, 1)
    assert "File too large" in said
    assert file.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "results.tgz"]


def test_standard_output_that_is_full_is_a_failure(
    tmp_path: Path, sources: list[FileStore]
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tuneonce", "export", "-", "--store", str(tmp_path / "a")],
            env={**os.environ, "PYTHONPATH": PYTHONPATH},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "tuneonce: No space left on device"


def test_an_archive_goes_through_a_pipe(tmp_path: Path, sources: list[FileStore]) -> None:
    environment = {**os.environ, "PYTHONPATH": PYTHONPATH}
    tuneonce = [sys.executable, "-W", "error", "-m", "tuneonce"]
    writer = subprocess.Popen(
        [*tuneonce, "export", "-", "--store", str(tmp_path / "a")],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    reader = subprocess.run(
        [*tuneonce, "import", "-", "--store", str(tmp_path / "c"), "--json"],
        env=environment,
        stdin=writer.stdout,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert writer.stdout is not None
    writer.stdout.close()
    assert writer.wait(timeout=60) == 0
    assert json.loads(reader.stdout)["new"] == len(records(sources[0]))
    assert records(FileStore(tmp_path / "c")) == records(sources[0])


# -- damage that a checksum of the file does not show ---------------------------------------------


INPUTS = int(os.environ.get("FUZZ_INPUTS", "200"))


def test_an_archive_that_is_changed_anywhere_brings_records_of_ours_or_none(
    sources: list[FileStore],
) -> None:
    """Compressed again, so that gzip finds nothing wrong with it."""
    chance, file = random.Random(41), io.BytesIO()
    export(sources[0], file, pattern="add")
    inside, whole = gzip.decompress(file.getvalue()), records(sources[0])
    taken = set()
    for _ in range(INPUTS):
        changed = bytearray(inside)
        at = chance.randrange(len(changed))
        kind = chance.choice(["bit", "byte", "cut", "insert", "block"])
        if kind == "bit":
            changed[at] ^= 1 << chance.randrange(8)
        elif kind == "byte":
            changed[at] = chance.choice(b"\0/.0 7\xff")
        elif kind == "cut":
            del changed[at : at + chance.choice([1, 512, 4096])]
        elif kind == "insert":
            changed[at:at] = chance.randbytes(chance.choice([1, 512]))
        else:  # a block of it once more, as an entry that is there twice
            start = at // 512 * 512
            changed[start:start] = changed[start : start + 512 * chance.randint(1, 6)]
        target = MemoryStore()
        done = take_in(target, io.BytesIO(gzip.compress(bytes(changed), 1)), "changed")
        assert records(target).items() <= whole.items()
        taken.add((bool(target.list("")), done.broken is None))
    assert len(taken) > 1
