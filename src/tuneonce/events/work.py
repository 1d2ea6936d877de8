"""What a launch may have to wait for, kind by kind, while a process starts and while it serves.

A *compile* makes a binary, a *disk load* finds one in Triton's cache, a *module load* puts it onto
the device, a *measurement* launches a candidate to time it. A *tune* is the whole of what one key
took, and what is done within it is in events of its own, which say so (``"within"``): what launches
waited for is counted once.
"""

from __future__ import annotations

from typing import Any

import msgspec

from .log import number

OUTCOMES = ("hit", "provisional", "shared", "miss", "not_persisted")


class Work(msgspec.Struct):
    """How often something was done, and the seconds it took where it was done."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float, *, count: int = 1) -> None:
        """Count it once more, or `count` times."""
        self.count += count
        self.seconds += seconds


class PhaseTotals(msgspec.Struct):
    """What was done in one phase.

    `keys` counts the outcomes of the keys that were met. `compile` is of all compilers together;
    what runs in other processes, or behind the launches, is in it and not in `waited_s`, the
    seconds for which launches stood still. `tune` is whole keys, `measure` candidates and the
    seconds in which they were timed.
    """

    keys: dict[str, int] = msgspec.field(default_factory=dict)
    compile: Work = msgspec.field(default_factory=Work)
    disk_load: Work = msgspec.field(default_factory=Work)
    module_load: Work = msgspec.field(default_factory=Work)
    measure: Work = msgspec.field(default_factory=Work)
    tune: Work = msgspec.field(default_factory=Work)
    waited_s: float = 0.0

    def add(self, event: dict[str, Any], waited_s: float) -> None:
        """Count one event of this phase, for which launches waited so long."""
        self.waited_s += waited_s
        seconds = number(event.get("seconds"))
        match event.get("e"):
            case "resolve":
                outcome = outcome_of(event)
                self.keys[outcome] = self.keys.get(outcome, 0) + 1
            case "compile":
                self.compile.add(seconds)
            case "load":
                self.disk_load.add(seconds)
            case "module_load":
                self.module_load.add(seconds)
            case "tune":
                self.tune.add(seconds)
                # Its candidates are in events of their own.
                self.measure.add(number(event.get("sample_s")), count=0)
            case "measure":
                # Of an observer: the run's seconds come candidate by candidate.
                self.tune.add(number(event.get("tune_s")), count=0)
                self.measure.add(number(event.get("sample_s")))


def outcome_of(event: dict[str, Any]) -> str:
    """How a key was met: one of `OUTCOMES`, ``miss`` for what is no other."""
    outcome = event.get("outcome")
    return outcome if isinstance(outcome, str) and outcome in OUTCOMES else "miss"


def waited_seconds(event: dict[str, Any]) -> float:
    """How long a launch stood still for what an event is about.

    An event of an earlier version does not say: then a tune counts without its compilations, and
    each of these by itself.
    """
    kind = event.get("e")
    if "within" in event:
        return 0.0
    if "waited_s" in event:
        return number(event["waited_s"])
    if "waited" in event:
        return number(event.get("seconds")) if event["waited"] is True else 0.0
    match kind:
        case "compile" | "wait" | "recheck":
            return number(event.get("seconds"))
        case "tune":
            return number(event.get("seconds")) - number(event.get("compile_s"))
        case "measure" if "tune_s" in event:
            return number(event.get("tune_s")) - number(event.get("compile_s"))
    return 0.0
