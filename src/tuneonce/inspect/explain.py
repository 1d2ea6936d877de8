"""Why was it tuned again: the keys that processes missed, beside what the store held then.

A process tells the key of every miss in its events, part by part. The record that explains a miss
is the one of a kernel of the same name with the fewest parts that differ, of those that existed
when it happened: what the miss itself produced explains nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import msgspec

from ..events.history import Events, Missed, Process, describe_process, is_label, misses
from ..events.totals import tally
from ..model.key import class_distance, compare
from ..model.records import Verdict
from ..model.wording import (
    difference_text,
    kernel_name,
    programs_text,
    tuning,
    tuning_text,
    world,
    world_text,
)
from ..store.base import Store
from .listing import candidate_text
from .record_reader import Folder, Problem, folders, label_prefix


class Differing(msgspec.Struct, frozen=True):
    """One named part: `asked` is the miss's, `record` the record's, `text` says it to people."""

    part: str
    asked: str | None
    record: str | None
    text: str


class Nearest(msgspec.Struct, frozen=True):
    """The record with the fewest parts that differ from the key that was missed."""

    name: str
    kernel: str
    world: str
    key_text: str
    work_class: str
    published_at: float
    differences: list[Differing]


class Miss(msgspec.Struct, frozen=True):
    """One key that was tuned, wholly (``miss``) or for the candidates missing (``partial``).

    `at` is the last time it was missed, `processes` how many did: the ranks of a server meet the
    same keys. `measured_before` counts the candidates whose measurements were there already.
    `problems` are what that process reported about this key or the store.
    """

    kernel: str
    key: dict[str, str]
    key_text: str
    digest: str
    world: str
    work_class: str
    outcome: str
    reason: str | None
    at: float
    processes: int
    candidates: int
    measured_before: int
    problems: list[str]
    nearest: Nearest | None


class Used(msgspec.Struct, frozen=True):
    """A key that the last process did not miss, and the winner that it used.

    `winner` is None if nothing tells it: the event of an earlier version, and no record any more.
    The rest is of the record that says so, or is nearest.
    """

    key_text: str | None
    digest: str
    work_class: str
    outcome: str
    reason: str | None
    winner: str | None
    origin: str | None
    published_at: float | None


State = Literal["miss", "hit", "provisional", "not_persisted", "not_met"]


class LastSeen(msgspec.Struct, frozen=True):
    """The last process that met the kernel: how often with which outcome, for which reasons."""

    process: Process
    outcomes: dict[str, int]
    reasons: dict[str, int]
    used: list[Used]


class Why(msgspec.Struct, frozen=True):
    """`state` is the worst outcome of the last process that met the kernel.

    `misses` are those of the last `processes` processes, the newest first; `records` counts what
    the store has of kernels of this name.
    """

    schema: str
    store: str
    location: str
    events: str
    kernel: str
    processes: int
    records: int
    state: State
    last: LastSeen | None
    misses: list[Miss]
    problems: list[Problem]


def explain(store: Store, history: Sequence[Events], *, kernel: str, events: str) -> Why:
    """Explain the misses of `kernel` in the processes of `history`, which is oldest first.

    `kernel` is a name, with or without its module. Lists only that kernel's part of the store.
    """
    found = [f for f in folders(store, label_prefix(kernel)) if _is_named(f, kernel)]
    last = _last_seen(history, kernel, found)
    missed: dict[tuple[str, ...], Missed] = {}
    for process in reversed(history):
        for same, one in {_sameness(m): m for m in misses(process, kernel)}.items():
            newer = missed.get(same)
            missed[same] = one if newer is None else _merged(newer, one)
    info = store.describe()
    return Why(
        schema="tuneonce.why/1",
        store=info.url,
        location=info.location,
        events=events,
        kernel=kernel,
        processes=len(history),
        records=sum(len(folder.verdicts) for folder in found),
        state="not_met" if last is None else _state(last.outcomes),
        last=last,
        misses=[_explained(one, found) for one in missed.values()],
        problems=[broken.problem for folder in found for broken in folder.broken],
    )


def _is_named(folder: Folder, kernel: str) -> bool:
    """Whether the folder is of a kernel of this name, in whatever module."""
    name = kernel_name(kernel)
    return all(dict(held.record.key).get("kernel.name") == name for held in folder.verdicts)


def _sameness(missed: Missed) -> tuple[str, ...]:
    return (missed.digest, missed.work_class, *sorted(missed.candidates))


def _merged(newer: Missed, older: Missed) -> Missed:
    problems = tuple(dict.fromkeys((*newer.problems, *older.problems)))
    return replace(newer, problems=problems, processes=newer.processes + 1)


def _explained(missed: Missed, found: Sequence[Folder]) -> Miss:
    key = tuning(missed.parts)
    return Miss(
        kernel=missed.kernel,
        key=key,
        key_text=tuning_text(key),
        digest=missed.digest,
        world=world_text(world(missed.parts)),
        work_class=missed.work_class,
        outcome=missed.outcome,
        reason=missed.reason,
        at=missed.at,
        processes=missed.processes,
        candidates=len(missed.candidates),
        measured_before=len(_measured_before(missed, found)),
        problems=list(missed.problems),
        nearest=_nearest(missed, found),
    )


def _measured_before(missed: Missed, found: Iterable[Folder]) -> set[str]:
    folder = next((f for f in found if f.key == missed.digest), None)
    if folder is None:
        return set()
    behind = [m for held in folder.verdicts for m in held.record.measurements]
    return {
        m.candidate
        for m in (*behind, *(held.record for held in folder.loose))
        if m.work_class == missed.work_class
        and m.measured_at < missed.at
        and m.candidate in missed.candidates
    }


def _nearest(missed: Missed, found: Iterable[Folder]) -> Nearest | None:
    best: tuple[tuple[float, ...], Nearest] | None = None
    for folder in found:
        for held in folder.verdicts:
            verdict = held.record
            if verdict.published_at > missed.at:
                continue
            parts = compare(missed.parts, verdict.key)
            lists = set(missed.candidates) != set(verdict.candidates)
            sizes = missed.work_class != verdict.work_class
            # Among equals the one under the same key, then at the nearest size, then the newest.
            score = (
                float(len(parts) + lists + sizes),
                float(len(parts)),
                _distance(missed.work_class, verdict.work_class),
                -verdict.published_at,
            )
            if best is not None and best[0] <= score:
                continue
            differences = [Differing(d.part, d.ours, d.theirs, difference_text(d)) for d in parts]
            if sizes:
                differences.append(_size_difference(missed, verdict))
            differences += _list_differences(missed, verdict)
            best = (score, _as_nearest(held.name, verdict, differences))
    return None if best is None else best[1]


def _as_nearest(name: str, verdict: Verdict, differences: list[Differing]) -> Nearest:
    parts = dict(verdict.key)
    return Nearest(
        name=name,
        kernel=f"{verdict.about.get('kernel.module', '?')}:{parts.get('kernel.name', '?')}",
        world=world_text(world(verdict.key)),
        key_text=tuning_text(tuning(verdict.key)),
        work_class=verdict.work_class,
        published_at=verdict.published_at,
        differences=differences,
    )


def _size_difference(missed: Missed, verdict: Verdict) -> Differing:
    ours, theirs = missed.work_class, verdict.work_class
    text = f"work class: {programs_text(theirs)} → {programs_text(ours)}"
    return Differing("work_class", ours, theirs, text)


def _list_differences(missed: Missed, verdict: Verdict) -> list[Differing]:
    """One for each candidate that only one of the lists has."""
    measured = {m.candidate: m for m in verdict.measurements}
    new = [
        Differing("candidates", digest, None, f"candidates: {text} is new")
        for digest, text in missed.candidates.items()
        if digest not in verdict.candidates
    ]
    gone = [
        Differing(
            "candidates", None, d, f"candidates: {candidate_text(d, measured.get(d))} is gone"
        )
        for d in verdict.candidates
        if d not in missed.candidates
    ]
    return new + gone


# -- the last process that met the kernel --------------------------------------------------------


def _last_seen(history: Sequence[Events], kernel: str, found: Sequence[Folder]) -> LastSeen | None:
    for events in reversed(history):
        met = [e for e in events if e.get("e") == "resolve" and is_label(e.get("kernel"), kernel)]
        if not met:
            continue
        outcomes: dict[str, int] = {}
        reasons: dict[str, int] = {}
        used: dict[tuple[str, str], Used] = {}
        for event in met:
            tally(outcomes, event.get("outcome"))
            tally(reasons, event.get("reason"))
            if event.get("outcome") in ("hit", "provisional"):
                one = _used(event, found)
                used.setdefault((one.digest, one.work_class), one)
        return LastSeen(describe_process(events), outcomes, reasons, list(used.values()))
    return None


def _used(event: Mapping[str, Any], found: Sequence[Folder]) -> Used:
    digest, work_class = str(event.get("key")), str(event.get("work_class"))
    folder = next((f for f in found if f.key == digest), None)
    verdicts = [] if folder is None else [held.record for held in folder.verdicts]
    told = event.get("winner") if isinstance(event.get("winner"), str) else None
    verdict = min(
        verdicts,
        key=lambda v: (
            told is not None and _winner_text(v) != told,
            _distance(v.work_class, work_class),
            -v.published_at,
        ),
        default=None,
    )
    return Used(
        key_text=None if verdict is None else tuning_text(tuning(verdict.key)),
        digest=digest,
        work_class=work_class,
        outcome=str(event.get("outcome")),
        reason=None if event.get("reason") is None else str(event["reason"]),
        winner=told or (None if verdict is None else _winner_text(verdict)),
        origin=None if verdict is None else verdict.origin,
        published_at=None if verdict is None else verdict.published_at,
    )


def _winner_text(verdict: Verdict) -> str:
    measured = {m.candidate: m for m in verdict.measurements}
    return candidate_text(verdict.winner, measured.get(verdict.winner))


def _state(outcomes: Mapping[str, int]) -> State:
    if "miss" in outcomes or "partial" in outcomes:
        return "miss"
    order: tuple[State, ...] = ("not_persisted", "provisional", "hit")
    otherwise: State = "provisional" if "shared" in outcomes else "not_met"
    return next((state for state in order if state in outcomes), otherwise)


def _distance(one: str, other: str) -> float:
    try:
        return class_distance(one, other)
    except ValueError:  # from a record or an event that was written by hand
        return math.inf
