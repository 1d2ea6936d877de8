"""What a store holds, as listings: plain data that is printed as JSON or drawn as tables.

`listing` is `tuneonce ls`, `sheets` is `tuneonce show`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ..model.key import Parts
from ..model.record_names import readable_name
from ..model.records import WRONG, Measurement, Verdict
from ..model.wording import (
    config_text,
    natural,
    programs_range,
    tuning,
    tuning_text,
    world,
    world_text,
)
from ..store.base import Store
from ..store.layered import is_of_base
from .equal_bits import Bits, Outputs, bits_of, outputs_of
from .holdings import Holdings, holdings
from .over_classes import OverClasses, over_classes
from .record_reader import Folder, Known, Problem, kernels_of, nothing_known


class Line(msgspec.Struct, frozen=True):
    """One candidate. Times in milliseconds; all None for one that failed or was not measured.

    `bits` and `distance` are as in `equal_bits.Bits`, where its outputs were looked at.
    """

    candidate: str
    config: str | None
    median_ms: float | None = None
    p20_ms: float | None = None
    p80_ms: float | None = None
    failed: str | None = None
    winner: bool = False
    first: bool = False
    measured_at: float | None = None
    seconds: float | None = None
    compile_s: float | None = None
    method: str | None = None
    bits: str | msgspec.UnsetType = msgspec.UNSET
    distance: float | msgspec.UnsetType | None = msgspec.UNSET


class Entry(msgspec.Struct, frozen=True):
    """One verdict, or the measurements of a tuning that was not finished (`origin` is None).

    `key` is None where nothing tells it: measurements do not carry their key. `gain` is the median
    of the first candidate over the winner's. `programs_class` is the least and greatest number of
    programs of the work class, `programs` that of the launch it was measured at. Times of day are
    seconds since 1970; only `sheets` gives `measurements`. `base`: the verdict lies in the base.
    `wrong` of those that `failed` did run, and wrote something else than the others. `outputs`:
    what was seen of outputs, where a program has asked for it.
    """

    kernel: str
    kernel_id: str
    world: str
    world_id: str
    world_parts: dict[str, str]
    key: dict[str, str] | None
    key_text: str
    digest: str
    work_class: str
    programs_class: tuple[int, int] | None
    programs: int | None
    candidates: int | None
    measured: int
    failed: int
    winner: str | None
    winner_ms: float | None
    first: str | None
    first_ms: float | None
    gain: float | None
    origin: str | None
    tune_s: float
    compile_s: float
    published_at: float
    tuneonce: str | None
    about: dict[str, str]
    measurements: list[Line] | msgspec.UnsetType
    base: bool = False
    wrong: int = 0
    outputs: Outputs | msgspec.UnsetType = msgspec.UNSET


class Listing(msgspec.Struct, frozen=True):
    """Entries in the order of kernels, worlds, tuning keys and work classes.

    `held` are the sizes of files, with a pattern of these kernels alone; only `listing` gives them,
    of a directory. `base` is the directory under the store that is read, too, or ``""``. Only
    `sheets` gives `over_classes`, the keys that have verdicts of several work classes.
    """

    schema: str
    store: str
    location: str
    entries: list[Entry]
    problems: list[Problem]
    held: Holdings | msgspec.UnsetType | None = msgspec.UNSET
    base: str = ""
    over_classes: list[OverClasses] | msgspec.UnsetType = msgspec.UNSET


def listing(store: Store, *, pattern: str | None = None, known: Known = nothing_known) -> Listing:
    """What is in the store, without the measurements, and how much that is."""
    found = _listing("tuneonce.ls/1", store, pattern, known, full=False)
    kernels = None if pattern is None else {entry.kernel_id for entry in found.entries}
    return msgspec.structs.replace(found, held=holdings(store, kernels))


def sheets(store: Store, *, kernel: str, known: Known = nothing_known) -> Listing:
    """All measurements of a kernel. Only its own part of the store is listed."""
    found = _listing("tuneonce.show/1", store, kernel, known, full=True)
    return msgspec.structs.replace(found, over_classes=over_classes(found.entries))


def _listing(
    schema: str, store: Store, pattern: str | None, known: Known, *, full: bool
) -> Listing:
    entries: list[Entry] = []
    problems: list[Problem] = []

    of_base = is_of_base(store)

    def found_in(folder: Folder, parts: Parts | None) -> Iterator[Entry]:
        return _entries(folder, parts, of_base, full=full)

    for kernel in kernels_of(store, pattern, known, found_in):
        entries += [msgspec.structs.replace(entry, kernel=kernel.label) for entry in kernel.found]
        problems += kernel.problems
    info = store.describe()
    in_order = sorted(entries, key=_order)
    return Listing(schema, info.url, info.location, in_order, problems, base=info.base)


def _order(entry: Entry) -> tuple[Any, ...]:
    return (
        (entry.kernel, entry.kernel_id, entry.world, entry.world_id),
        (natural(entry.key_text), entry.digest, entry.work_class),
        (entry.origin is None, entry.published_at, entry.winner or ""),
    )


def _entries(
    folder: Folder, parts: Parts | None, of_base: Callable[[str], bool], *, full: bool
) -> Iterator[Entry]:
    for held in folder.verdicts:
        entry = _finished(folder, held.record, full=full)
        yield msgspec.structs.replace(entry, base=of_base(held.name))
    for work_class, measurements in folder.unfinished().items():
        yield _unfinished(folder, work_class, measurements, parts, full=full)


def _finished(folder: Folder, verdict: Verdict, *, full: bool) -> Entry:
    measured = {m.candidate: m for m in verdict.measurements}
    first_digest = verdict.candidates[0] if verdict.candidates else ""
    winner, first = measured.get(verdict.winner), measured.get(first_digest)
    winner_ms, first_ms = median(winner), median(first)
    key = tuning(verdict.key)
    facts = world(verdict.key)
    lines: list[Line] = []
    times = {d: ms for d, m in measured.items() if (ms := median(m)) is not None}
    outputs = outputs_of(verdict, times)
    if full:
        others = [d for d in measured if d not in verdict.candidates]
        seen = bits_of(verdict)
        lines = [
            _seen(
                _line(d, measured.get(d), winner=d == verdict.winner, first=d == first_digest),
                seen.get(d),
            )
            for d in [*verdict.candidates, *others]
        ]
    return Entry(
        kernel="",
        kernel_id=folder.kernel,
        world=world_text(facts),
        world_id=folder.world,
        world_parts=facts,
        key=key,
        key_text=tuning_text(key),
        digest=folder.key,
        work_class=verdict.work_class,
        programs_class=programs_range(verdict.work_class),
        programs=verdict.programs,
        candidates=len(verdict.candidates),
        measured=len(measured),
        failed=sum(m.failed is not None for m in measured.values()),
        winner=candidate_text(verdict.winner, winner),
        winner_ms=winner_ms,
        first=candidate_text(first_digest, first) if first_digest else None,
        first_ms=first_ms,
        gain=first_ms / winner_ms if first_ms and winner_ms else None,
        origin=verdict.origin,
        tune_s=verdict.tune_s,
        compile_s=verdict.compile_s,
        published_at=verdict.published_at,
        tuneonce=verdict.tuneonce,
        about={k: v for k, v in verdict.about.items() if k != "kernel.module"},
        measurements=sorted(lines, key=_fastest_first) if full else msgspec.UNSET,
        wrong=sum(map(_is_wrong, measured.values())),
        outputs=msgspec.UNSET if outputs is None else outputs,
    )


def _unfinished(
    folder: Folder,
    work_class: str,
    measured: list[Measurement],
    parts: Parts | None,
    *,
    full: bool,
) -> Entry:
    key = None if parts is None else tuning(parts)
    facts = {} if parts is None else world(parts)
    readable_world = readable_name(folder.world)
    lines = [_line(m.candidate, m) for m in measured] if full else []
    return Entry(
        kernel="",
        kernel_id=folder.kernel,
        world=readable_world if parts is None else world_text(facts),
        world_id=folder.world,
        world_parts=facts,
        key=key,
        key_text=f"key {folder.key[:12]}" if key is None else tuning_text(key),
        digest=folder.key,
        work_class=work_class,
        programs_class=programs_range(work_class),
        programs=None,
        candidates=None,
        measured=len(measured),
        failed=sum(m.failed is not None for m in measured),
        winner=None,
        winner_ms=None,
        first=None,
        first_ms=None,
        gain=None,
        origin=None,
        tune_s=sum(m.seconds for m in measured),
        compile_s=sum(m.compile_s for m in measured),
        published_at=max(m.measured_at for m in measured),
        tuneonce=None,
        about={},
        measurements=sorted(lines, key=_fastest_first) if full else msgspec.UNSET,
        wrong=sum(map(_is_wrong, measured)),
    )


def _is_wrong(measurement: Measurement) -> bool:
    return measurement.failed is not None and measurement.failed.startswith(WRONG)


def median(measurement: Measurement | None) -> float | None:
    """In milliseconds; None for a candidate that failed or was not measured."""
    if measurement is None or measurement.failed is not None or not measurement.times:
        return None
    return measurement.times[0] if math.isfinite(measurement.times[0]) else None


def candidate_text(candidate: str, measurement: Measurement | None) -> str:
    """The candidate's values; its digest where no measurement tells them."""
    return f"~{candidate}" if measurement is None else config_text(measurement.config)


def _line(
    candidate: str, m: Measurement | None, *, winner: bool = False, first: bool = False
) -> Line:
    if m is None:
        return Line(candidate, None, winner=winner, first=first)
    spread = m.times[1:3] if len(m.times) >= 3 and all(map(math.isfinite, m.times)) else None
    return Line(
        candidate=candidate,
        config=config_text(m.config),
        median_ms=median(m),
        p20_ms=spread[0] if spread else None,
        p80_ms=spread[1] if spread else None,
        failed=m.failed,
        winner=winner,
        first=first,
        measured_at=m.measured_at,
        seconds=m.seconds,
        compile_s=m.compile_s,
        method=m.method,
    )


def _seen(line: Line, bits: Bits | None) -> Line:
    if bits is None:
        return line
    return msgspec.structs.replace(line, bits=bits.text, distance=bits.distance)


def _fastest_first(line: Line) -> tuple[bool, float, bool, str]:
    time = line.median_ms
    return (time is None, math.inf if time is None else time, line.failed is None, line.candidate)
