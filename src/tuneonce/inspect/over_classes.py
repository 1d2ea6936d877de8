"""A key's winners over its work classes, and what one verdict for all of them would cost.

Computed from what is stored: a candidate's loss at a class is known where it was measured there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from ..model.key import largest_first

if TYPE_CHECKING:
    from .listing import Entry, Line


class ClassWinner(msgspec.Struct, frozen=True):
    """The verdict of one class. Of its `candidates` so many were `measured`, of which `failed` did
    not run. `programs_class` is the least and greatest number of programs, None if unknown."""

    work_class: str
    programs_class: tuple[int, int] | None
    winner: str
    winner_ms: float | None
    candidates: int
    measured: int
    failed: int
    origin: str
    published_at: float


class Loss(msgspec.Struct, frozen=True):
    """What a candidate loses at one class, the share of the time of that class's winner: 0.02 is
    2 % slower.

    It is below zero where the two tied and the winner was the slower one. None where either was not
    measured, or has failed: then `failed` says how.
    """

    work_class: str
    loss: float | None
    failed: str | None


class OneForAll(msgspec.Struct, frozen=True):
    """One candidate in the place of all winners. `worst` is the largest of the losses that are
    known, None if none is; `not_measured` counts the classes where it is not."""

    candidate: str
    config: str
    losses: list[Loss]
    worst: float | None
    not_measured: int


class OverClasses(msgspec.Struct, frozen=True):
    """One key in one world, with verdicts of more than one class: `classes`, the smallest first and
    the unknown one last.

    `best` is the candidate with the smallest `worst` of those that were measured at every class,
    None if there is none. `of_smallest` is the winner of the smallest class, which a warm-up with
    little work would have chosen for all.
    """

    kernel: str
    kernel_id: str
    world: str
    world_id: str
    key_text: str
    digest: str
    classes: list[ClassWinner]
    best: OneForAll | None
    of_smallest: OneForAll


def over_classes(entries: Iterable[Entry]) -> list[OverClasses]:
    """The keys of `listing.sheets` that have verdicts of more than one class, in their order.

    Of several verdicts of a class whose candidates overlap, the newest counts. One that was taken
    over from Triton's own file does not: nobody knows the size it was measured at.
    """
    keys: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        if entry.origin is not None and entry.origin != "stock-cache":
            keys.setdefault((entry.kernel_id, entry.world_id, entry.digest), []).append(entry)
    groups = (group for verdicts in keys.values() for group in _overlapping(verdicts))
    return [_compared(group) for group in groups if len(group) > 1]


def _overlapping(verdicts: list[Entry]) -> list[list[Entry]]:
    """Verdicts of one key whose candidates overlap: one a class, the smallest class first."""
    groups: list[tuple[set[str], dict[str, Entry]]] = []
    for entry in sorted(verdicts, key=lambda one: one.published_at, reverse=True):
        known = _lines(entry).keys()
        group = next((one for one in groups if not one[0].isdisjoint(known)), None)
        if group is None:
            groups.append(group := (set(), {}))
        group[0].update(known)
        group[1].setdefault(entry.work_class, entry)
    return [
        sorted(by_class.values(), key=lambda one: _smallest_first(one.work_class))
        for _, by_class in groups
    ]


def _smallest_first(work_class: str) -> tuple[bool, int, int]:
    is_unknown, size, programs = largest_first(work_class)
    return is_unknown, -size, -programs


def _compared(verdicts: list[Entry]) -> OverClasses:
    lines = [_lines(entry) for entry in verdicts]
    everywhere = [
        candidate
        for candidate in dict.fromkeys(candidate for known in lines for candidate in known)
        if all(candidate in known and known[candidate].median_ms is not None for known in lines)
    ]
    compared = [_one_for_all(candidate, verdicts) for candidate in everywhere]
    first = verdicts[0]
    smallest = next(line.candidate for line in lines[0].values() if line.winner)
    return OverClasses(
        kernel=first.kernel,
        kernel_id=first.kernel_id,
        world=first.world,
        world_id=first.world_id,
        key_text=first.key_text,
        digest=first.digest,
        classes=[_class_winner(entry) for entry in verdicts],
        best=min((one for one in compared if not one.not_measured), key=_costs, default=None),
        of_smallest=_one_for_all(smallest, verdicts),
    )


def _costs(one: OneForAll) -> tuple[float, float, str]:
    known = [loss.loss for loss in one.losses if loss.loss is not None]
    return max(known), sum(known), one.candidate


def _class_winner(entry: Entry) -> ClassWinner:
    return ClassWinner(
        work_class=entry.work_class,
        programs_class=entry.programs_class,
        winner=entry.winner or "?",
        winner_ms=entry.winner_ms,
        candidates=entry.candidates or 0,
        measured=entry.measured,
        failed=entry.failed,
        origin=entry.origin or "?",
        published_at=entry.published_at,
    )


def _one_for_all(candidate: str, verdicts: list[Entry]) -> OneForAll:
    losses, config = [], None
    for entry in verdicts:
        line = _lines(entry).get(candidate)
        config = config or (line and line.config)
        losses.append(_loss(entry, line))
    known = [loss.loss for loss in losses if loss.loss is not None]
    return OneForAll(
        candidate=candidate,
        config=config or f"~{candidate}",
        losses=losses,
        worst=max(known, default=None),
        not_measured=len(losses) - len(known),
    )


def _loss(entry: Entry, line: Line | None) -> Loss:
    if line is None:
        return Loss(entry.work_class, None, None)
    time, best = line.median_ms, entry.winner_ms
    loss = time / best - 1 if time is not None and best else None
    return Loss(entry.work_class, loss, line.failed)


def _lines(entry: Entry) -> dict[str, Line]:
    return {line.candidate: line for line in entry.measurements or []}
