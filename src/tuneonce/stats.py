"""Totals over events: what a process, or a directory of processes, spent and saved."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from .events import read_processes


class Totals(msgspec.Struct):
    """Counts and seconds. `saved_s` is the recorded tuning time of every hit.

    `tunes` counts tuning runs that measured at least one candidate; `reasons` counts why keys were
    not hits, `problems` what went wrong without costing a launch.
    """

    processes: int = 0
    hits: int = 0
    provisional: int = 0
    misses: int = 0
    not_persisted: int = 0
    tunes: int = 0
    candidates_measured: int = 0
    compiles: int = 0
    disk_loads: int = 0
    tune_s: float = 0.0
    compile_s: float = 0.0
    load_s: float = 0.0
    saved_s: float = 0.0
    reasons: dict[str, int] = msgspec.field(default_factory=dict)
    problems: dict[str, int] = msgspec.field(default_factory=dict)

    def add(self, event: dict[str, Any]) -> None:
        """Count one event; events this version does not know are passed over."""
        match event.get("e"):
            case "resolve":
                self._add_resolve(event)
            case "measure":
                self.candidates_measured += 1
                # An observer cannot know when a tuning run ends: it adds up candidate by candidate.
                self.tune_s += _seconds(event, "tune_s")
            case "tune":
                self.tunes += 1
                self.tune_s += _seconds(event, "seconds")
            case "compile":
                self.compiles += 1
                self.compile_s += _seconds(event, "seconds")
            case "load":
                self.disk_loads += 1
                self.load_s += _seconds(event, "seconds")
            case "problem":
                _count(self.problems, event.get("what"))

    def _add_resolve(self, event: dict[str, Any]) -> None:
        match event.get("outcome"):
            case "hit":
                self.hits += 1
            case "provisional":
                self.provisional += 1
            case "not_persisted":
                self.not_persisted += 1
            case _:
                self.misses += 1
        self.saved_s += _seconds(event, "saved_s")
        if event.get("outcome") != "hit":
            _count(self.reasons, event.get("reason"))


def _seconds(event: dict[str, Any], field: str) -> float:
    """A field of an event, 0 where it is missing or no number: files may be damaged."""
    value = event.get(field)
    return float(value) if isinstance(value, (int, float)) else 0.0


def _count(counts: dict[str, int], name: object) -> None:
    if name:
        counts[str(name)] = counts.get(str(name), 0) + 1


def total(processes: Iterable[list[dict[str, Any]]]) -> Totals:
    """The sum over processes as `tuneonce.events.read_processes` yields them."""
    totals = Totals()
    for events in processes:
        totals.processes += 1
        for event in events:
            totals.add(event)
    return totals


def summarise(directory: Path) -> Totals:
    """The sum over every process that left a file in `directory`."""
    return total(read_processes(directory))
