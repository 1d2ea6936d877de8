"""Totals over events: what a process, or a directory of processes, spent and saved."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from .log import number, read_processes
from .work import PhaseTotals, outcome_of, waited_seconds


class Totals(msgspec.Struct):
    """Counts and seconds. `saved_s` is the recorded tuning time of every hit.

    `shared` counts keys that never stop and have a sibling's verdict, `borrowed` those of the
    misses that were not tuned and ran what a near key runs, `explored` those that their own
    launches tune, whose launches took `excess_s` longer for it. `replaced` counts winners that took
    the place of what ran for another size or key, and `gained` is the sum of the shares of a launch
    that they save. `tunes` counts tuning runs that
    measured at least one candidate; `reasons` counts why keys were not hits, `problems` what went
    wrong without costing a launch, `untuned` why launches decided nothing, `outputs_left_out` why
    outputs of keys' candidates were not looked at, or not all. `ready` counts the processes that
    said that their start-up was over. `starting` and `serving` are the work before and after it,
    kind by kind; what is compiled to be ready is of the former, whenever it ends.
    `serving_tunes`, `serving_compiles` and `serving_s`, the seconds that launches waited, are of
    the latter.

    `waited_s` is what launches waited in all. `compile_s` is of all compilers together, which run
    side by side. `replayed` variants were loaded, and `restored` binaries put back, because an
    earlier start had used them. `pulled` and `pushed` are records that came from other machines and
    that went to them.
    """

    processes: int = 0
    hits: int = 0
    provisional: int = 0
    shared: int = 0
    misses: int = 0
    borrowed: int = 0
    explored: int = 0
    excess_s: float = 0.0
    replaced: int = 0
    gained: float = 0.0
    not_persisted: int = 0
    tunes: int = 0
    candidates_measured: int = 0
    compiles: int = 0
    disk_loads: int = 0
    tune_s: float = 0.0
    compile_s: float = 0.0
    load_s: float = 0.0
    saved_s: float = 0.0
    ready: int = 0
    serving_tunes: int = 0
    serving_compiles: int = 0
    serving_s: float = 0.0
    module_loads: int = 0
    module_load_s: float = 0.0
    waited_s: float = 0.0
    replayed: int = 0
    replay_s: float = 0.0
    restored: int = 0
    restore_s: float = 0.0
    pulled: int = 0
    pushed: int = 0
    starting: PhaseTotals = msgspec.field(default_factory=PhaseTotals)
    serving: PhaseTotals = msgspec.field(default_factory=PhaseTotals)
    reasons: dict[str, int] = msgspec.field(default_factory=dict)
    problems: dict[str, int] = msgspec.field(default_factory=dict)
    untuned: dict[str, int] = msgspec.field(default_factory=dict)
    outputs_left_out: dict[str, int] = msgspec.field(default_factory=dict)

    def add(self, event: dict[str, Any], *, serving: bool = False) -> None:
        """Count one event; events this version does not know are passed over."""
        # Compiled to be ready, and not for a request: start-up's, also where it ends later.
        serving = serving and event.get("within") != "replay"
        waited_s = waited_seconds(event)
        self.waited_s += waited_s
        (self.serving if serving else self.starting).add(event, waited_s)
        if serving:
            self._add_serving(event, waited_s)
        seconds = number(event.get("seconds"))
        match event.get("e"):
            case "resolve":
                self._add_resolve(event)
            case "borrow":
                self.borrowed += 1
            case "measure":
                self.candidates_measured += 1
                # An observer cannot know when a tuning run ends: it adds up candidate by candidate.
                self.tune_s += number(event.get("tune_s"))
            case "tune":
                self.tunes += 1
                self.tune_s += seconds
                self._add_gain(event)
            case "compile":
                self.compiles += 1
                self.compile_s += seconds
            case "load":
                self.disk_loads += 1
                self.load_s += seconds
            case "module_load":
                self.module_loads += 1
                self.module_load_s += seconds
            case "ready":
                self.ready += 1
            case "problem":
                tally(self.problems, event.get("what"))
            case "untuned":
                tally(self.untuned, event.get("why"))
            case "outputs":
                tally(self.outputs_left_out, event.get("left_out"))
            case _:
                self._add_remembered(event, seconds)

    def _add_serving(self, event: dict[str, Any], waited_s: float) -> None:
        self.serving_s += waited_s
        match event.get("e"):
            case "tune":
                self.serving_tunes += 1
            case "compile":
                self.serving_compiles += 1

    def _add_remembered(self, event: dict[str, Any], seconds: float) -> None:
        """What comes of an earlier start, of another key or of another machine."""
        match event.get("e"):
            case "replay":
                self.replayed += int(number(event.get("loaded", event.get("variants"))))
                self.replay_s += seconds
            case "restore":
                self.restored += int(number(event.get("binaries")))
                self.restore_s += seconds
            case "borrow":
                self.borrowed += 1
            case "remote":
                records = int(number(event.get("records")))
                self.pulled += records if event.get("what") == "pulled" else 0
                self.pushed += records if event.get("what") == "pushed" else 0
            case "explore":
                self.explored += event.get("what", "begin") == "begin"
                self.excess_s += number(event.get("excess_ms")) / 1000
                self._add_gain(event)

    def _add_gain(self, event: dict[str, Any]) -> None:
        if event.get("gained") is not None:
            self.replaced += event.get("instead_of") != event.get("winner")
            self.gained += number(event.get("gained"))

    @property
    def met(self) -> bool:
        """Whether an autotuned kernel was launched."""
        outcomes = self.hits + self.provisional + self.shared + self.misses + self.not_persisted
        return outcomes + self.tunes + self.candidates_measured > 0

    def sentence(self) -> str:
        """What a start came to, for a log: what was found, tuned, compiled, loaded and saved."""
        provisional = f" ({self.provisional} provisional)" if self.provisional else ""
        counts = (("shared", self.shared), ("borrowed", self.borrowed), ("explored", self.explored))
        lent = "".join(f", {count} {word}" for word, count in counts if count)
        parts = [
            f"{self.hits + self.provisional} hits{provisional}{lent}",
            f"{self.tunes} tunes ({self.tune_s:.1f} s)",
            f"{self.compiles} compiles ({self.compile_s:.1f} s)",
        ]
        for count, what, seconds in (
            (self.disk_loads, "disk loads", self.load_s),
            (self.module_loads, "module loads", self.module_load_s),
            (self.restored, "binaries restored", self.restore_s),
            (self.replayed, "variants replayed", self.replay_s),
        ):
            if count:
                parts.append(f"{count} {what} ({seconds:.1f} s)")
        if self.pulled:
            parts.append(f"{self.pulled} records pulled")
        return ", ".join([*parts, f"{self.saved_s:.1f} s saved"])

    def _add_resolve(self, event: dict[str, Any]) -> None:
        match outcome_of(event):
            case "hit":
                self.hits += 1
            case "provisional":
                self.provisional += 1
            case "shared":
                self.shared += 1
            case "not_persisted":
                self.not_persisted += 1
            case _:
                self.misses += 1
        self.saved_s += number(event.get("saved_s"))
        if event.get("outcome") != "hit":
            tally(self.reasons, event.get("reason"))


def tally(counts: dict[str, int], name: object) -> None:
    """Count one more of a name; nothing where an event has none."""
    if name:
        counts[str(name)] = counts.get(str(name), 0) + 1


def total(processes: Iterable[list[dict[str, Any]]]) -> Totals:
    """The sum over processes as `events.log.read_processes` yields them."""
    totals = Totals()
    for events in processes:
        totals.processes += 1
        serving = False
        for event in events:
            totals.add(event, serving=serving)
            serving = serving or event.get("e") == "ready"
    return totals


class Live:
    """The totals of this process while it runs: a listener of its events.

    `on_first` is called when the first kernel is met. A forked child counts for itself.
    """

    def __init__(self, on_first: Callable[[], None]) -> None:
        self._on_first = on_first
        self._totals = Totals(processes=1)
        self._pid = os.getpid()
        self._met = False

    def __call__(self, event: dict[str, Any]) -> None:
        self.now().add(event, serving=self.ready)
        if not self._met and event.get("e") == "resolve":
            self._met = True
            self._on_first()

    @property
    def ready(self) -> bool:
        """Whether this process has said that its start-up is over."""
        return self._pid == os.getpid() and self._totals.ready > 0

    def now(self) -> Totals:
        """The totals so far."""
        if self._pid != os.getpid():
            self._pid, self._totals = os.getpid(), Totals(processes=1)
        return self._totals


def summarise(directory: Path) -> Totals:
    """The sum over every process that left a file in `directory`."""
    return total(read_processes(directory))
