"""Which candidate wins, and which verdict is nearest: functions without a store."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from ..model.key import class_distance
from ..model.record_names import list_digest
from ..model.records import Measurement, Verdict
from .between_classes import likeliest
from .race import RULES
from .siblings import times_of


def choose(order: Sequence[str], known: dict[str, Measurement]) -> str | None:
    """The first candidate, in the list's order, with the least times: Triton's rule.

    Of candidates that raced, the first within the tie of the fastest: the race's rule. None if no
    candidate could run. `order` may name only measured candidates.
    """
    runnable = [digest for digest in order if known[digest].failed is None]
    if not runnable:
        return None
    best = min(runnable, key=lambda digest: known[digest].times)
    if any(not known[digest].samples for digest in runnable):
        return best
    tie = known[best].times[0] * (1 + RULES.tie)
    return next(digest for digest in runnable if known[digest].times[0] <= tie)


def by_candidate(
    live: Collection[str], measurements: Iterable[Measurement]
) -> dict[str, Measurement]:
    """The newest measurement of each live candidate."""
    found: dict[str, Measurement] = {}
    for measurement in sorted(measurements, key=lambda m: m.measured_at):
        if measurement.candidate in live:
            found[measurement.candidate] = measurement
    return found


def nearest(
    digests: Collection[str], work_class: str, verdicts: Iterable[Verdict]
) -> Verdict | None:
    """The verdict whose work class is nearest, of those whose winner is a live candidate.

    At equal distance the larger work class: a winner for much work loses little on less, a winner
    for little work may lose much on more. Then the newest.
    """
    usable = [v for v in verdicts if v.winner in digests]
    exact = list_digest(digests)
    return min(
        usable,
        key=lambda v: (
            class_distance(v.work_class, work_class),
            v.work_class < work_class,
            list_digest(v.candidates) != exact,
            -v.published_at,
        ),
        default=None,
    )


def times_by_class(
    digests: Collection[str], verdicts: Iterable[Verdict]
) -> dict[str, dict[str, float]]:
    """The median of each live candidate that ran, in milliseconds, by the verdicts' work class."""
    found: dict[str, list[Measurement]] = {}
    for verdict in verdicts:
        found.setdefault(verdict.work_class, []).extend(verdict.measurements)
    return {
        name: times_of(by_candidate(digests, measurements).values())
        for name, measurements in found.items()
    }


def likeliest_verdict(
    digests: Collection[str], work_class: str, verdicts: Iterable[Verdict]
) -> Verdict | None:
    """The verdict whose winner is expected to be the fastest at a work class between theirs; None
    where they do not tell. Of several of one class the newest."""
    usable = [verdict for verdict in verdicts if verdict.winner in digests]
    newest = {v.work_class: v for v in sorted(usable, key=lambda v: v.published_at)}
    winners = {name: verdict.winner for name, verdict in newest.items()}
    found = likeliest(work_class, times_by_class(digests, newest.values()), winners)
    return None if found is None else newest[found]
