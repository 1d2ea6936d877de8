"""The keys that launches met without a verdict and did not measure: `tuneonce ls --wanted`."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ..model.key import Parts
from ..model.record_names import list_digest
from ..model.wording import natural, programs_range, tuning, tuning_text, world, world_text
from ..store.base import Store
from .record_reader import Folder, Problem, kernels_of, nothing_known


class WantedKey(msgspec.Struct, frozen=True):
    """One key at one work class. `recorded_at` is when it was first met, in seconds since 1970."""

    kernel: str
    world: str
    key: dict[str, str]
    key_text: str
    digest: str
    work_class: str
    programs_class: tuple[int, int] | None
    candidates: int
    recorded_at: float


class WantedKeys(msgspec.Struct, frozen=True):
    """Keys in the order of kernels, worlds, tuning keys and work classes."""

    schema: str
    store: str
    location: str
    keys: list[WantedKey]
    problems: list[Problem]


def wanted(store: Store, *, pattern: str | None = None) -> WantedKeys:
    """The keys that are to be measured. Raises StoreError if the store itself fails."""
    keys: list[WantedKey] = []
    problems: list[Problem] = []
    for kernel in kernels_of(store, pattern, nothing_known, _wanted_in):
        keys += [msgspec.structs.replace(one, kernel=kernel.label) for one in kernel.found]
        problems += kernel.problems
    info = store.describe()
    keys.sort(key=lambda k: (k.kernel, k.world, natural(k.key_text), k.digest, k.work_class))
    return WantedKeys("tuneonce.wanted/1", info.url, info.location, keys, problems)


def _wanted_in(folder: Folder, parts: Parts | None) -> Iterator[WantedKey]:
    """Without those that were measured since: a note may come late."""
    settled = {
        (held.record.work_class, list_digest(held.record.candidates)) for held in folder.verdicts
    }
    for held in folder.wanted:
        record = held.record
        if (record.work_class, list_digest(record.candidates)) in settled:
            continue
        key = tuning(record.key)
        yield WantedKey(
            kernel="",
            world=world_text(world(record.key)),
            key=key,
            key_text=tuning_text(key),
            digest=folder.key,
            work_class=record.work_class,
            programs_class=programs_range(record.work_class),
            candidates=len(record.candidates),
            recorded_at=record.recorded_at,
        )
