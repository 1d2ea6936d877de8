"""Hand-made keys, records, stores and events, as processes leave them."""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from tests.fakes import candidate, measured
from tuneonce.events.log import SCHEMA
from tuneonce.model.codec import encode
from tuneonce.model.key import KernelId, Key
from tuneonce.model.profiles import ProfilePart, Start, UsedKey, UsedVariant
from tuneonce.model.record_names import journal_file, profile_part_name, shared_profile_name
from tuneonce.model.records import Measurement, Origin, Variants, Verdict, Wanted, pack
from tuneonce.model.shared_profiles import SharedProfile
from tuneonce.model.wording import config_text
from tuneonce.model.world import World
from tuneonce.resolution.journal import Journals
from tuneonce.resolution.resolver import Question, Resolver
from tuneonce.settings import binaries_folder
from tuneonce.store import Store
from tuneonce.store.files import FileStore

NOON = 1_700_000_000.0
"""When the records of these factories were written, in seconds since 1970."""

H100, H200 = "NVIDIA H100", "NVIDIA H200"


def make_key(
    name: str = "add",
    *,
    module: str = "kernels",
    source: str = "0" * 16,
    product: str | None = H200,
    compiler: str = "triton-3.6.0-0123456789ab",
    tuning: Mapping[str, Any] | None = None,
    **parts: str,
) -> Key:
    """A key; `parts` are further parts of the kernel: ``callee_helper="1" * 16``.

    Its world is an H200; None as `product` is the interpreter.
    """
    named = tuple((part.replace("_", ".", 1), text) for part, text in parts.items())
    values = {"n": 64, "x.dtype": "torch.bfloat16"} if tuning is None else tuning
    if product is None:
        world = World("interpreter", "x86_64", compiler)
    else:
        world = World("cuda", "90", compiler, product=product, memory_gib=140)
    return Key(
        KernelId(name, module, (("source", source), *named)),
        tuple((part, encode(value)) for part, value in values.items()),
        world.parts,
        world.name,
    )


def make_verdict(
    key: Key,
    times: Mapping[int, Sequence[float]],
    *,
    winner: int | None = None,
    work_class: str = "c02",
    at: float = NOON,
    origin: Origin = "measured",
    measured_at: float | None = None,
) -> Verdict:
    """A verdict over ``candidate(block)`` for each block of `times`; no times: it failed."""
    runnable = [block for block in times if times[block]]
    best = min(runnable, key=lambda block: times[block]) if winner is None else winner
    return Verdict(
        key=list(key.parts),
        about={"kernel.module": key.kernel.module, "driver": "580.1"},
        work_class=work_class,
        programs=20,
        candidates=[candidate(block).digest for block in times],
        winner=candidate(best).digest,
        measurements=[
            measured(
                block,
                *found,
                failed=None if found else "did not run",
                at=at - 1 if measured_at is None else measured_at,
                work_class=work_class,
            )
            for block, found in times.items()
        ],
        origin=origin,
        tune_s=7.9,
        compile_s=6.1,
        published_at=at,
        tuneonce="0.1",
    )


def random_verdict(chance: random.Random, key: Key) -> Verdict:
    """One of few, so that two of them are often equal in some of what decides which one stays."""
    times = {block: (chance.choice([0.1, 0.2, 0.3]),) for block in (64, 128, 256)}
    made = make_verdict(
        key,
        {**times, 256: times[256] if chance.random() < 0.7 else ()},
        origin=chance.choice(["measured", "assembled", "rechecked", "explored"]),
        at=NOON + chance.randint(0, 2),
        winner=chance.choice([64, 128]),
    )
    samples, settled = chance.choice([0, 5, 40]), chance.random() < 0.7
    measurements = [
        msgspec.structs.replace(m, samples=samples, settled=settled) for m in made.measurements
    ]
    return msgspec.structs.replace(made, measurements=measurements)


def put_verdict(store: Store, key: Key, times: Mapping[int, Sequence[float]], **more: Any) -> str:
    """Publish a verdict; its name."""
    verdict = make_verdict(key, times, **more)
    name = key.verdict_name(verdict.work_class, verdict.candidates)
    store.put(name, pack(verdict))
    return name


def put_damaged(store: FileStore, root: Path) -> dict[str, str]:
    """One record that is whole, of `whole`, and four that cannot be used, of `bad0` to `bad3`.

    By name the reason of each of these. `root` is the store's folder.
    """
    times = {64: (0.2, 0.19, 0.21), 128: (0.1, 0.09, 0.11), 256: ()}
    put_verdict(store, make_key("whole"), times)
    names = [put_verdict(store, make_key(f"bad{i}"), times) for i in range(4)]
    cut, flipped, moved, blocked = names
    data = store.get(cut)
    assert data is not None
    store.put(cut, data[:-9])
    store.put(flipped, data.replace(b"0.19", b"0.18"))
    store.put(moved, data)
    (root / blocked).unlink()
    (root / blocked).mkdir()
    (root / blocked / "lost").write_text("")
    reasons = ["truncated", "checksum", "misplaced", "not a regular file"]
    return dict(zip(names, reasons, strict=True))


def put_loose(store: Store, key: Key, block: int, *times: float, **more: Any) -> str:
    """Leave one measurement of a tuning that was not finished; its name."""
    one: Measurement = measured(block, *times, **{"work_class": "c02", "at": NOON, **more})
    name = key.measurement_name(one.work_class, one.candidate)
    store.put(name, pack(msgspec.structs.replace(one, key=key.digest)))
    return name


def leave_in_journal(
    folder: Path, key: Key, block: int, *times: float, work_class: str = "c02"
) -> None:
    """Leave one measurement as a process that was killed leaves it."""
    journals = Journals(lambda: [folder])
    journal = journals.begin(journal_file(key.digest, work_class), "gpu", key.directory)
    assert journal is not None
    one = measured(block, *times, work_class=work_class, at=NOON)
    journal.record(msgspec.structs.replace(one, key=key.digest))
    journal.close()


def record(resolver: Resolver, asked: Question, one: Measurement) -> None:
    """Keep a measurement in the store by itself, as versions before the journal did."""
    name = asked.key.measurement_name(asked.work_class, one.candidate)
    keyed = msgspec.structs.replace(one, key=asked.key.digest)
    resolver._access.put(name, keyed, durable=False)


def put_variants(store: Store, key: Key, *blocks: int, at: float = NOON) -> str:
    """Leave what a key's candidates were compiled with; its name."""
    digests = [candidate(block).digest for block in blocks]
    record = Variants(
        key=list(key.parts),
        kernel=f"{key.kernel.module}:{key.kernel.name}",
        work_class="c02",
        candidates=digests,
        common={"sig.n": "i32"},
        each={digest: {} for digest in digests},
        recorded_at=at,
    )
    name = key.variants_name(record.work_class, digests)
    store.put(name, pack(record))
    return name


def put_wanted(
    store: Store, key: Key, *blocks: int, work_class: str = "c02", at: float = NOON
) -> str:
    """Leave the note that a key is to be measured; its name."""
    wanted = Wanted(
        key=list(key.parts),
        kernel=f"{key.kernel.module}:{key.kernel.name}",
        work_class=work_class,
        candidates=[candidate(block).digest for block in blocks],
        recorded_at=at,
    )
    name = key.wanted_name(work_class, wanted.candidates)
    store.put(name, pack(wanted))
    return name


def make_part(
    profile: str = "server 1",
    *,
    start: str = "s1",
    at: float = NOON,
    complete: bool = True,
    variants: Sequence[str] = ("kernels:add",),
    keys: Sequence[str] = (),
    number: int = 0,
) -> ProfilePart:
    """What one process of a start leaves in a profile: variants and keys of these kernels."""
    return ProfilePart(
        profile,
        f"{start}-{number}",
        [Start(start, at, complete)],
        [UsedVariant(k, {"sig.x": "*fp32"}, [], k, k, "starting", [start], at) for k in variants],
        [UsedKey(k, f"v1/{k}", "w", "serving", [start], at) for k in keys],
    )


def put_part(store: Store, part: ProfilePart) -> str:
    """Leave a part of a profile; its name."""
    name = profile_part_name(part)
    store.put(name, pack(part))
    return name


def make_shared(
    profile: str = "server 1",
    *,
    kernels: Sequence[str] = ("kernels:add",),
    at: float | None = None,
    key: Key | None = None,
) -> SharedProfile:
    """What machines share of a profile, in the world of `key`; just used if no time is given."""
    key, at = make_key("add") if key is None else key, time.time() if at is None else at
    world = key.directory.split("/")[2]
    verdict = f"{key.directory}/c02.{'0' * 12}.verdict.json"
    variants = [UsedVariant(k, {"sig.x": "*fp32"}, [], k, k, "starting", [], at) for k in kernels]
    return SharedProfile(
        profile, world, variants, [UsedKey(kernels[0], verdict, "w", "serving", [], at)]
    )


def put_shared(store: Store, shared: SharedProfile) -> str:
    """Leave what machines share of a profile; its name."""
    name = shared_profile_name(shared.profile, shared.world)
    store.put(name, pack(shared))
    return name


def let_age(store: Store, *names: str, days: float = 40.0) -> None:
    """Have files of a store written so long ago."""
    at = time.time() - days * 24 * 3600
    for name in names:
        os.utime(Path(store.describe().location, name), (at, at))


def put_kept(store: Store, *keys: str) -> Path:
    """Leave compiled binaries beside a store; their directory."""
    place = Path(store.describe().location, binaries_folder())
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for key in keys:
        (place / f"{key}.zip").write_bytes(b"x" * 1000)
    return place


def resolved(
    key: Key,
    outcome: str,
    *,
    blocks: Sequence[int] = (64, 128),
    t: float = 1.0,
    work_class: str = "c02",
    reason: str | None = None,
    saved_s: float = 0.0,
) -> dict[str, Any]:
    """The event of one key's resolution, as the resolver writes it."""
    event: dict[str, Any] = {
        "t": t,
        "e": "resolve",
        "kernel": f"{key.kernel.module}:{key.kernel.name}",
        "key": key.digest,
        "work_class": work_class,
        "outcome": outcome,
        "reason": reason,
        "saved_s": saved_s,
    }
    if outcome in ("miss", "partial"):
        event["parts"] = [list(part) for part in key.parts]
        listed = map(candidate, blocks)
        event["candidates"] = {one.digest: config_text(one.config) for one in listed}
    return event


def process(
    *events: dict[str, Any],
    started: float = NOON,
    pid: int = 71,
    argv: Sequence[str] = ("/srv/app/server.py", "--port", "80"),
    mode: str = "on",
) -> list[dict[str, Any]]:
    """The events of one process, the describing line first."""
    about = {"schema": SCHEMA, "pid": pid, "started": started, "argv": list(argv), "mode": mode}
    return [{**about, "store": "/srv/tuneonce"}, *events]


def write_events(directory: Path, *processes: list[dict[str, Any]]) -> None:
    """A file for each process, in their order."""
    directory.mkdir(parents=True, exist_ok=True)
    for number, events in enumerate(processes):
        lines = "".join(json.dumps(event) + "\n" for event in events)
        (directory / f"20231114T2213{number:02d}.000000-71.jsonl").write_text(lines)
