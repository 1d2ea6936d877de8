"""What processes told of themselves, from their events: statistics, and the misses to explain.

Events are read leniently: a field that is missing or strange is passed over, because files may be
cut short by a kill and come from other versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from ..model.key import Parts
from ..model.wording import kernel_name
from ..system.forks import lazy
from .log import number, read_processes
from .totals import Totals, total

Events = list[dict[str, Any]]


class Process(msgspec.Struct, frozen=True):
    """One process. `started` is in seconds since 1970, `seconds` until its last event."""

    started: float
    pid: int
    command: list[str]
    mode: str
    store: str
    seconds: float
    totals: Totals


class Statistics(msgspec.Struct, frozen=True):
    """The last processes, oldest first, and their sum."""

    schema: str
    events: str
    processes: list[Process]
    totals: Totals


def read_history(directory: Path) -> list[Events]:
    """The events of all processes, oldest first."""
    return list(read_processes(directory))


def latest(history: Sequence[Events], *, last: int | None, since: float | None) -> list[Events]:
    """The last processes, and of them those that have told anything since then.

    `since` is in seconds since 1970. None means no such bound.
    """
    found = [events for events in history if since is None or _last_told(events) >= since]
    return found if last is None else found[-last:]


def _last_told(events: Events) -> float:
    return number(events[0].get("started")) + number(events[-1].get("t"))


def statistics(
    directory: Path, *, last: int | None = None, since: float | None = None
) -> Statistics:
    """What the last processes (`latest`) found, tuned and saved."""
    history = latest(read_history(directory), last=last, since=since)
    processes = [describe_process(events) for events in history]
    return Statistics("tuneonce.stats/1", str(directory), processes, total(history))


def describe_process(events: Events) -> Process:
    """What the events of one process add up to."""
    about = events[0]
    return Process(
        started=number(about.get("started")),
        pid=int(number(about.get("pid"))),
        command=[str(word) for word in _sequence(about.get("argv"))],
        mode=str(about.get("mode", "?")),
        store=str(about.get("store", "?")),
        seconds=number(events[-1].get("t")),
        totals=total([events]),
    )


def kernels_met(history: Iterable[Events]) -> set[str]:
    """The labels of all kernels that processes met."""
    return {
        str(event["kernel"])
        for events in history
        for event in events
        if event.get("e") == "resolve" and "kernel" in event
    }


class KnownKeys:
    """What the events in a directory tell of a key, by its digest; reads them when first asked."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory

    def __call__(self, key: str) -> tuple[str, Parts] | None:
        """The kernel's label and the key's parts; None for a key that no process missed."""
        return self._told.get(key)

    @lazy
    def _told(self) -> dict[str, tuple[str, Parts]]:
        if self._directory is None:
            return {}
        return {
            miss.digest: (miss.kernel, miss.parts)
            for events in read_processes(self._directory)
            for miss in misses(events, None)
        }


@dataclass(frozen=True)
class Missed:
    """A miss as its event tells it."""

    kernel: str
    digest: str
    work_class: str
    outcome: str
    reason: str | None
    at: float
    parts: Parts
    candidates: Mapping[str, str]
    problems: tuple[str, ...] = ()
    processes: int = 1


def misses(events: Events, kernel: str | None) -> list[Missed]:
    """The misses of one process that explain themselves, in their order; None: of all kernels."""
    started = number(events[0].get("started"))
    found = []
    for event in events:
        if event.get("e") != "resolve" or event.get("outcome") not in ("miss", "partial"):
            continue
        if kernel is not None and not is_label(event.get("kernel"), kernel):
            continue
        parts = tuple(
            (str(pair[0]), str(pair[1]))
            for pair in _sequence(event.get("parts"))
            if len(_sequence(pair)) == 2
        )
        candidates = event.get("candidates")
        if not parts or not isinstance(candidates, dict):
            continue
        digest = str(event.get("key"))
        found.append(
            Missed(
                kernel=str(event.get("kernel")),
                digest=digest,
                work_class=str(event.get("work_class")),
                outcome=str(event["outcome"]),
                reason=None if event.get("reason") is None else str(event["reason"]),
                at=started + number(event.get("t")),
                parts=parts,
                candidates={str(d): str(text) for d, text in candidates.items()},
                problems=_problems(events, digest),
            )
        )
    return found


def _problems(events: Events, digest: str) -> tuple[str, ...]:
    """What went wrong with the records of a key, or with the whole store."""
    return tuple(
        f"{event.get('what')}: {event.get('detail')}"
        for event in events
        if event.get("e") == "problem"
        and (
            event.get("what") in ("store_failed", "base_failed")
            or digest in str(event.get("detail"))
        )
    )


def is_label(label: object, kernel: str) -> bool:
    """Whether an event's ``module:name`` is of `kernel`, a name with or without its module."""
    return kernel in (label, kernel_name(str(label)))


def _sequence(value: object) -> Sequence[Any]:
    return value if isinstance(value, (list, tuple)) else ()
