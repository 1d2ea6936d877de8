"""The metrics that totals are told as: names, labels and meanings, in Prometheus's convention.

A counter's name ends with ``_total``, seconds are ``_seconds_total``. Labels have few values: a
phase, an outcome, the name of a reason or a problem (`MOST_NAMES` of them, the rest are one). No
label names a kernel or a key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter

from .totals import Totals
from .work import OUTCOMES, PhaseTotals, Work

MOST_NAMES = 50
"""So many values a label of names has. Arbitrary: our own code has fewer."""
OTHER = "other"

Samples = Iterator[tuple[tuple[str, ...], float]]


@dataclass(frozen=True)
class Family:
    """One metric. `samples` gives the values of its labels, in their order, and its own."""

    name: str
    kind: str
    labels: tuple[str, ...]
    meaning: str
    samples: Callable[[Totals], Samples]


def _phases(totals: Totals) -> Iterator[tuple[str, PhaseTotals]]:
    yield "starting", totals.starting
    yield "serving", totals.serving


def _by_phase(value: Callable[[PhaseTotals], float]) -> Callable[[Totals], Samples]:
    def samples(totals: Totals) -> Samples:
        for name, phase in _phases(totals):
            yield (name,), value(phase)

    return samples


def _keys(totals: Totals) -> Samples:
    for name, phase in _phases(totals):
        for outcome in OUTCOMES:
            yield (name, outcome), phase.keys.get(outcome, 0)


def _named(counts: Callable[[Totals], Mapping[str, int]]) -> Callable[[Totals], Samples]:
    def samples(totals: Totals) -> Samples:
        # As a list, which is taken at once: other threads go on counting.
        told: dict[str, int] = {}
        for name, count in list(counts(totals).items()):
            short = name.partition(":")[0]  # ``not_encodable:<a type of the program's>``
            if short not in told and len(told) >= MOST_NAMES:
                short = OTHER
            told[short] = told.get(short, 0) + count
        for name, count in told.items():
            yield (name,), count

    return samples


def _alone(value: Callable[[Totals], float]) -> Callable[[Totals], Samples]:
    def samples(totals: Totals) -> Samples:
        yield (), value(totals)

    return samples


def _work(
    plural: str, singular: str, meaning: str, seconds: str, work: Callable[[PhaseTotals], Work]
) -> list[Family]:
    """How often something was done, and its seconds, in each phase."""

    def count(phase: PhaseTotals) -> float:
        return work(phase).count

    def spent(phase: PhaseTotals) -> float:
        return work(phase).seconds

    return [
        Family(f"tuneonce_{plural}_total", "counter", ("phase",), meaning, _by_phase(count)),
        Family(
            f"tuneonce_{singular}_seconds_total", "counter", ("phase",), seconds, _by_phase(spent)
        ),
    ]


def _total(name: str, meaning: str, field: str) -> Family:
    return Family(f"tuneonce_{name}_total", "counter", (), meaning, _alone(attrgetter(field)))


def _counted(name: str, label: str, meaning: str, field: str) -> Family:
    counts = _named(attrgetter(field))
    return Family(f"tuneonce_{name}_total", "counter", (label,), meaning, counts)


FAMILIES: tuple[Family, ...] = (
    Family(
        "tuneonce_keys_total",
        "counter",
        ("phase", "outcome"),
        "Keys of autotuned kernels that a process met for the first time",
        _keys,
    ),
    _counted("keys_not_hit", "reason", "Why keys were no hits", "reasons"),
    _total("saved_seconds", "Recorded tuning time of the keys that were hits", "saved_s"),
    *_work(
        "tunes",
        "tune",
        "Keys that were tuned",
        "Seconds from the first compilation of a key to its winner",
        attrgetter("tune"),
    ),
    *_work(
        "candidates_measured",
        "measure",
        "Candidates that were measured",
        "Seconds in which candidates were timed",
        attrgetter("measure"),
    ),
    *_work(
        "compiles",
        "compile",
        "Binaries that were compiled, here or by the compile helper",
        "Seconds of all compilers together, most of which run side by side",
        attrgetter("compile"),
    ),
    *_work(
        "disk_loads",
        "disk_load",
        "Binaries that were found in Triton's cache on disk",
        "Seconds in which binaries were read from Triton's cache",
        attrgetter("disk_load"),
    ),
    *_work(
        "module_loads",
        "module_load",
        "Modules that were loaded onto a device (Triton 3.6 and later)",
        "Seconds in which modules were loaded",
        attrgetter("module_load"),
    ),
    Family(
        "tuneonce_waited_seconds_total",
        "counter",
        ("phase",),
        "Seconds for which launches stood still for any of these",
        _by_phase(attrgetter("waited_s")),
    ),
    _total("restored_binaries", "Binaries of an earlier start that were put back", "restored"),
    _total("restore_seconds", "Seconds in which binaries were put back", "restore_s"),
    _total("replayed_variants", "Variants of an earlier start that were loaded", "replayed"),
    _total("replay_seconds", "Seconds in which variants were loaded", "replay_s"),
    _total("pulled_records", "Records that came from other machines", "pulled"),
    _total("pushed_records", "Records that went to other machines", "pushed"),
    _total("borrowed_keys", "Misses that were not tuned and ran what a near key runs", "borrowed"),
    _total("explored_keys", "Misses whose candidates are tried by their own launches", "explored"),
    _total("explore_excess_seconds", "What these launches took longer for it", "excess_s"),
    _counted("undecided_launches", "why", "Launches that decide nothing", "untuned"),
    _counted(
        "outputs_left_out",
        "reason",
        "Keys whose candidates' outputs were to be looked at and were not, or not all",
        "outputs_left_out",
    ),
    _counted("problems", "problem", "What went wrong without costing a launch", "problems"),
    Family(
        "tuneonce_processes",
        "gauge",
        (),
        "Processes that have told anything, those that have ended included",
        _alone(attrgetter("processes")),
    ),
    Family(
        "tuneonce_processes_ready",
        "gauge",
        (),
        "Those of them that have said that their start-up is over",
        _alone(attrgetter("ready")),
    ),
)
