"""What a workload's processes did to the store: which keys they tuned, which verdicts they checked.

Read from their events, leniently, as `events.history` does: plain data that is printed as JSON or
drawn as tables by `tuneonce tune` and `tuneonce bench regret`.
"""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median_low
from typing import Any

import msgspec

from ..events.history import Events
from ..events.log import number, number_or_none
from ..events.totals import tally
from ..model.wording import natural
from .listing import Entry

TUNE, REGRET = "tuneonce.tune/1", "tuneonce.regret/1"

Where = tuple[str, str]
"""The digest of a key and a work class."""


class Tuned(msgspec.Struct, frozen=True):
    """One tuning. Times of candidates in milliseconds, durations in seconds.

    `key` is for people, `digest` identifies it (None where the key cannot be kept). `first_ms` is
    the time of the author's first candidate, which an untuned launch would run; `gain` that over
    the winner's. `seconds` passed in all, `measure_s` of them launching; `compile_s` was spent by
    all compilers together, in parallel.
    """

    kernel: str
    key: str
    digest: str | None
    work_class: str | None
    candidates: int
    measured: int
    winner: str | None
    first_ms: float | None
    winner_ms: float | None
    worst_ms: float | None
    gain: float | None
    seconds: float
    measure_s: float
    compile_s: float


class Workload(msgspec.Struct, frozen=True):
    """What the documents about a workload begin with. `status` is its exit code."""

    schema: str
    command: list[str]
    status: int
    store: str
    seconds: float
    processes: int


class Filled(Workload, frozen=True):
    """What `tuneonce tune` tells.

    `known` counts the keys that had a verdict, `provisional` those that used the verdict of another
    size, `not_persisted` those that cannot be kept.
    """

    tuned: list[Tuned]
    known: int
    provisional: int
    not_persisted: int
    problems: dict[str, int]


def filled(
    history: Iterable[Events], *, command: list[str], status: int, store: str, seconds: float
) -> Filled:
    """Add up the events of a workload that ran to fill a store."""
    processes = list(history)
    tuned = [_tuned(event) for event in events_of(processes, "tune")]
    done = {(one.digest, one.work_class) for one in tuned}
    resolved = list(events_of(processes, "resolve"))

    def count(outcome: str) -> int:
        found = {where(e) for e in resolved if e.get("outcome") == outcome}
        return len(found - done)

    # A kernel without an identity has no key to count: each launch that met it counts.
    not_persisted = sum(e.get("outcome") == "not_persisted" for e in resolved)
    return Filled(
        schema=TUNE,
        command=command,
        status=status,
        store=store,
        seconds=seconds,
        processes=len(processes),
        tuned=sorted(tuned, key=lambda one: in_order(one.kernel, one.key, one.work_class)),
        known=count("hit"),
        provisional=count("provisional"),
        not_persisted=not_persisted,
        problems=problems_of(processes),
    )


class Checked(msgspec.Struct, frozen=True):
    """One verdict that was measured again.

    `regret` is how much slower its winner is than the `fastest`, as a share of that one's time,
    `noise` what may be wrong with that number; both None where the winner does not run. `wrong`:
    worse by more than a tie and the noise; `best` is what a tuning should choose instead. `fixed`:
    that has taken the winner's place in the store. `provisional`: the verdict is of another size.
    """

    kernel: str
    key: str
    digest: str | None
    work_class: str | None
    provisional: bool
    winner: str
    fastest: str | None
    best: str | None
    regret: float | None
    noise: float | None
    wrong: bool
    fixed: bool
    candidates: int
    passes: int
    seconds: float


class NotMet(msgspec.Struct, frozen=True):
    """A verdict of the same GPU and compiler that the workload did not use."""

    kernel: str
    key: str
    digest: str
    work_class: str
    winner: str | None


class OfKernel(msgspec.Struct, frozen=True):
    """The verdicts of one kernel: the median and the greatest regret, None if all are unknown."""

    kernel: str
    checked: int
    wrong: int
    fixed: int
    median_regret: float | None
    max_regret: float | None


class Regret(Workload, frozen=True):
    """What `tuneonce bench regret` tells. `tuned` counts keys that had no verdict."""

    fix: bool
    kernels: list[OfKernel]
    checked: list[Checked]
    not_met: list[NotMet]
    tuned: int
    problems: dict[str, int]


def regret(
    history: Iterable[Events],
    entries: Iterable[Entry],
    *,
    command: list[str],
    status: int,
    store: str,
    seconds: float,
    fix: bool,
) -> Regret:
    """Add up the events of a workload whose verdicts were checked; `entries` are the store's."""
    processes = list(history)
    checked = sorted(
        (_checked(event) for event in events_of(processes, "recheck")),
        key=lambda one: in_order(one.kernel, one.key, one.work_class),
    )
    met = {where(event) for event in events_of(processes, "resolve")}
    return Regret(
        schema=REGRET,
        command=command,
        status=status,
        store=store,
        seconds=seconds,
        processes=len(processes),
        fix=fix,
        kernels=[_of_kernel(checked, name) for name in sorted({one.kernel for one in checked})],
        checked=checked,
        not_met=_not_met(list(entries), met),
        tuned=len({where(event) for event in events_of(processes, "tune")}),
        problems=problems_of(processes),
    )


def _not_met(entries: list[Entry], met: set[Where]) -> list[NotMet]:
    # Worlds are known by the keys that were met in them: a process may use several devices.
    digests = {digest for digest, _ in met}
    worlds = {entry.world_id for entry in entries if entry.digest in digests}
    return [
        NotMet(entry.kernel, entry.key_text, entry.digest, entry.work_class, entry.winner)
        for entry in entries
        if entry.origin is not None
        and entry.world_id in worlds
        and (entry.digest, entry.work_class) not in met
    ]


def _of_kernel(checked: list[Checked], kernel: str) -> OfKernel:
    mine = [one for one in checked if one.kernel == kernel]
    regrets = [one.regret for one in mine if one.regret is not None]
    return OfKernel(
        kernel=kernel,
        checked=len(mine),
        wrong=sum(one.wrong for one in mine),
        fixed=sum(one.fixed for one in mine),
        median_regret=median_low(regrets) if regrets else None,
        max_regret=max(regrets, default=None),
    )


# -- events --------------------------------------------------------------------------------------


def where(event: dict[str, Any]) -> Where:
    """Which key an event is about."""
    return str(event.get("key")), str(event.get("work_class"))


def events_of(processes: Iterable[Events], kind: str) -> Iterable[dict[str, Any]]:
    """The events of one kind, of all processes."""
    return (event for events in processes for event in events if event.get("e") == kind)


def _tuned(event: dict[str, Any]) -> Tuned:
    first, winner = number_or_none(event.get("first_ms")), number_or_none(event.get("winner_ms"))
    return Tuned(
        kernel=str(event.get("kernel", "?")),
        key=str(event.get("key_text", "?")),
        digest=text_of(event, "key"),
        work_class=text_of(event, "work_class"),
        candidates=int(number(event.get("candidates"))),
        measured=int(number(event.get("measured"))),
        winner=text_of(event, "winner"),
        first_ms=first,
        winner_ms=winner,
        worst_ms=number_or_none(event.get("worst_ms")),
        gain=first / winner if first and winner else None,
        seconds=number(event.get("seconds")),
        measure_s=number(event.get("load_s")) + number(event.get("sample_s")),
        compile_s=number(event.get("compile_s")),
    )


def _checked(event: dict[str, Any]) -> Checked:
    return Checked(
        kernel=str(event.get("kernel", "?")),
        key=str(event.get("key_text", "?")),
        digest=text_of(event, "key"),
        work_class=text_of(event, "work_class"),
        provisional=event.get("provisional") is True,
        winner=str(event.get("winner", "?")),
        fastest=text_of(event, "fastest"),
        best=text_of(event, "best"),
        regret=number_or_none(event.get("regret")),
        noise=number_or_none(event.get("noise")),
        wrong=event.get("wrong") is True,
        fixed=event.get("fixed") is True,
        candidates=int(number(event.get("candidates"))),
        passes=int(number(event.get("passes"))),
        seconds=number(event.get("seconds")),
    )


def problems_of(processes: Iterable[Events]) -> dict[str, int]:
    """How often what went wrong."""
    counts: dict[str, int] = {}
    for event in events_of(processes, "problem"):
        tally(counts, str(event.get("what")))
    return counts


def text_of(event: dict[str, Any], field: str) -> str | None:
    """A field that is a text; None for anything else."""
    value = event.get(field)
    return value if isinstance(value, str) else None


def in_order(kernel: str, key: str, work_class: str | None) -> tuple[Any, ...]:
    """A sort key: kernels, their keys, sizes."""
    return kernel, natural(key), work_class or ""
