"""A thousand damaged records: none raises, each is set aside and counted once, none decides.

Links stay where they are, and so do records of another user and of another version: such a key's
measurements stay beside it, and are put together each time.

A store of twenty keys is damaged in twenty places at a time, one for each key. Then one process
resolves every key and tunes what it must, as a launch does, and a second one finds all in order.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.factories import record
from tests.fakes import RememberedEvents, candidate, measured, question
from tuneonce.errors import RecordUnreadable
from tuneonce.model.records import MEASUREMENT, VERDICT, BadRecord, Measurement, Verdict, unpack
from tuneonce.resolution.resolver import Outcome, Question, Resolver
from tuneonce.store.base import MAX_RECORD_BYTES
from tuneonce.store.files import SET_ASIDE, FileStore
from tuneonce.tuning.selection import choose

ROUNDS = 50
BLOCKS = (16, 32, 64, 128)


def times(block: int) -> float:
    return 1.0 + abs(block - 48)


def resolver(store: FileStore) -> tuple[Resolver, RememberedEvents]:
    events = RememberedEvents()
    return Resolver(store, events, clock=lambda: 2000.0), events


def tune(process: Resolver, asked: Question, blocks: tuple[int, ...]) -> str:
    """What a launch does with a key; returns the winner that it uses."""
    found = process.resolve(asked)
    if found.winner is not None:
        return found.winner
    known = dict(found.known)
    for block in blocks:
        if candidate(block).digest not in known:
            one = measured(block, times(block), work_class=asked.work_class)
            known[one.candidate] = one
            record(process, asked, one)
    best = choose(asked.digests, known)
    assert best is not None
    return process.publish(asked, known, best, origin="measured", tune_s=8.0)


# What the store knows of a key, and where a launch of that key looks for it.
SHAPES = ("verdict", "interrupted", "shorter list", "another size")


def make_key(store: FileStore, number: int) -> Question:
    """Write what is known about key `number`; returns the question about it."""
    process, _ = resolver(store)
    shape = SHAPES[number % len(SHAPES)]
    asked = question(*BLOCKS, n=number)
    if shape == "verdict":
        tune(process, asked, BLOCKS)
    elif shape == "interrupted":
        for block in BLOCKS[:3]:
            record(process, asked, measured(block, times(block)))
    elif shape == "shorter list":
        tune(process, question(*BLOCKS[:3], n=number), BLOCKS[:3])
    else:
        tune(process, question(*BLOCKS, n=number, work_class="c06"), BLOCKS)
    return asked


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Question]]]:
    root = tmp_path_factory.mktemp("pristine") / "store"
    store = FileStore(root)
    yield root, [make_key(store, number) for number in range(20)]
    shutil.rmtree(root)


# -- ways to damage a record ---------------------------------------------------------------------

Damage = Callable[[Path, random.Random, bytes], None]


def truncated(path: Path, rng: random.Random, other: bytes) -> None:
    path.write_bytes(path.read_bytes()[: rng.randrange(1, path.stat().st_size)])


def bit_flipped(path: Path, rng: random.Random, other: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


def bytes_swapped_around(path: Path, rng: random.Random, other: bytes) -> None:
    data = path.read_bytes()
    middle = rng.randrange(1, len(data))
    path.write_bytes(data[middle:] + data[:middle])


def emptied(path: Path, rng: random.Random, other: bytes) -> None:
    path.write_bytes(b"")


def zeroed(path: Path, rng: random.Random, other: bytes) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)  # what some file systems leave after a crash


def appended_to(path: Path, rng: random.Random, other: bytes) -> None:
    path.write_bytes(path.read_bytes() * 2)


def garbage(path: Path, rng: random.Random, other: bytes) -> None:
    path.write_bytes(rng.randbytes(rng.randrange(1, 3000)))


def deep_json(path: Path, rng: random.Random, other: bytes) -> None:
    line = rng.choice([b"[", b'{"a":']) * 50_000 + b"\n"
    path.write_bytes(rng.choice([line + b"{}\n", b'{"schema":"","sha256":""}\n' + line]))


def sealed(schema: str, body: Any) -> bytes:
    """A record with a right checksum, whatever is in it."""
    line = json.dumps(body).encode() + b"\n"
    header = {"schema": schema, "sha256": hashlib.sha256(line).hexdigest()}
    return json.dumps(header).encode() + b"\n" + line


def wrong_schema(path: Path, rng: random.Random, other: bytes) -> None:
    body = json.loads(path.read_bytes().split(b"\n")[1])
    path.write_bytes(sealed(rng.choice(["tuneonce.verdict/x", "x", ""]), body))


def of_another_version(path: Path, rng: random.Random, other: bytes) -> None:
    body = json.loads(path.read_bytes().split(b"\n")[1])
    path.write_bytes(sealed(schema_of(path).replace("/1", rng.choice(["/2", "/10"])), body))


def wrong_fields(path: Path, rng: random.Random, other: bytes) -> None:
    body = json.loads(path.read_bytes().split(b"\n")[1])
    name = rng.choice(sorted(body.keys() - {"key", "programs", "failed", "about"}))
    body[name] = rng.choice([None, {}, [[]]])
    path.write_bytes(sealed(schema_of(path), body))


def a_winner_that_is_none(path: Path, rng: random.Random, other: bytes) -> None:
    body = json.loads(path.read_bytes().split(b"\n")[1])
    if "winner" in body:
        body["winner"] = rng.choice(["", "0" * 16, candidate(4096).digest])
    else:
        body["times"] = []
    path.write_bytes(sealed(schema_of(path), body))


def a_list_of_its_own(path: Path, rng: random.Random, other: bytes) -> None:
    body = json.loads(path.read_bytes().split(b"\n")[1])
    stranger = candidate(4096).digest
    body.update(winner=stranger, candidates=[stranger], candidate=stranger)
    path.write_bytes(sealed(schema_of(path), body))


def another_keys_record(path: Path, rng: random.Random, other: bytes) -> None:
    path.write_bytes(other)


def schema_of(path: Path) -> str:
    return VERDICT if path.name.endswith(".verdict.json") else MEASUREMENT


def a_directory(path: Path, rng: random.Random, other: bytes) -> None:
    path.unlink()
    path.mkdir()
    if rng.random() < 0.5:
        (path / "inside").write_text("something")


def a_fifo(path: Path, rng: random.Random, other: bytes) -> None:
    path.unlink()
    os.mkfifo(path)


def a_symlink(path: Path, rng: random.Random, other: bytes) -> None:
    kept = path.with_name(".kept")
    path.rename(kept)
    path.symlink_to(rng.choice([kept, Path("/etc/passwd"), path, Path("/nowhere"), Path("/")]))


def enormous(path: Path, rng: random.Random, other: bytes) -> None:
    with path.open("r+b") as file:
        file.truncate(rng.choice([MAX_RECORD_BYTES + 1, 1 << 40]))


def of_another_user(path: Path, rng: random.Random, other: bytes) -> None:
    os.chown(path, 54321, -1)


DAMAGES: list[Damage] = [
    truncated,
    bit_flipped,
    bytes_swapped_around,
    emptied,
    zeroed,
    appended_to,
    garbage,
    deep_json,
    wrong_schema,
    of_another_version,
    wrong_fields,
    a_winner_that_is_none,
    a_list_of_its_own,
    another_keys_record,
    a_directory,
    a_fifo,
    a_symlink,
    enormous,
    *([of_another_user] if os.geteuid() == 0 else []),
]
STAY = (a_symlink, of_another_version, of_another_user)


def files_of(root: Path, asked: Question) -> list[Path]:
    return sorted((root / asked.key.directory).glob("*.json"))


def test_a_thousand_mutations(tmp_path: Path, pristine: tuple[Path, list[Question]]) -> None:
    source, questions = pristine
    rng = random.Random(20261123)
    done: dict[str, int] = {}
    for number in range(ROUNDS):
        root = tmp_path / str(number)
        shutil.copytree(source, root)
        met, stay = [], []
        for asked in questions:
            other = rng.choice([q for q in questions if q is not asked])
            bytes_of_other = rng.choice(files_of(source, other)).read_bytes()
            damage, path = rng.choice(DAMAGES), rng.choice(files_of(root, asked))
            damage(path, rng, bytes_of_other)
            done[damage.__name__] = done.get(damage.__name__, 0) + 1
            met.append(damage is not a_directory or is_needed(root, asked, path))
            stay.append(damage in STAY)
        check(FileStore(root), root, questions, met, stay)
        shutil.rmtree(root)
    assert sum(done.values()) == 1000
    assert set(done) == {damage.__name__ for damage in DAMAGES}


def is_needed(root: Path, asked: Question, path: Path) -> bool:
    """Whether a launch reads or writes this very name: no listing has a directory in it."""
    names = [
        asked.key.verdict_name(asked.work_class, asked.digests),
        *(asked.key.measurement_name(asked.work_class, digest) for digest in asked.digests),
    ]
    return str(path.relative_to(root)) in names


def check(
    store: FileStore, root: Path, questions: list[Question], met: list[bool], stay: list[bool]
) -> None:
    first, events = resolver(store)
    for number, asked in enumerate(questions):
        expected = ["record_unreadable"] * met[number]
        before = len(events.seen)
        assert tune(first, asked, BLOCKS) in asked.digests
        assert [event["what"] for event in events.seen[before:]] == expected, number
        # The same process meets the key again.
        assert tune(first, asked, BLOCKS) in asked.digests
        assert len(events.seen) == before + len(expected)
    assert len(list((root / SET_ASIDE).iterdir())) == sum(met) - sum(stay)
    second, events = resolver(store)
    for asked, stays in zip(questions, stay, strict=True):
        found = second.resolve(asked)
        # The damage is repaired, and what is stored now is what was measured.
        assert (found.outcome, found.winner) == (Outcome.HIT, candidate(32).digest)
        verdict = asked.key.verdict_name(asked.work_class, asked.digests)
        assert events.problems() == ["record_unreadable"] * (stays and not is_good(store, verdict))
        events.seen.clear()


def is_good(store: FileStore, name: str) -> bool:
    try:
        return unpack(store.get(name) or b"", Verdict) is not None
    except (RecordUnreadable, BadRecord):
        return False


def test_undamaged_they_are_all_of_use(pristine: tuple[Path, list[Question]]) -> None:
    root, questions = pristine
    process, events = resolver(FileStore(root))
    assert [process.resolve(asked).outcome for asked in questions] == [
        Outcome.HIT, Outcome.PARTIAL, Outcome.PARTIAL, Outcome.PROVISIONAL
    ] * 5  # fmt: skip
    assert events.seen == []
    for asked in questions:
        for path in files_of(root, asked):
            kind: Any = Verdict if path.name.endswith(".verdict.json") else Measurement
            assert msgspec.structs.asdict(unpack(path.read_bytes(), kind))
