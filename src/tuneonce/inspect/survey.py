"""What the candidates of a workload's kernels wrote: who agrees, and what equal bits cost.

Read from the events of its processes, as `inspect.workload` does: plain data that is printed as
JSON or drawn as tables by `tuneonce bits`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from ..events.history import Events, misses
from ..events.log import number, number_or_none
from ..events.totals import tally
from ..model.key import BITS
from ..model.wording import tuning, tuning_text
from .equal_bits import cost_of
from .workload import Workload, events_of, in_order, problems_of, text_of

BITS_SCHEMA = "tuneonce.bits/1"


class Apart(msgspec.Struct, frozen=True):
    """A candidate that is far from the others; `distance` is None for one that is no number."""

    candidate: str
    distance: float | None


class Seen(msgspec.Struct, frozen=True):
    """One tuning whose candidates were to be looked at. Times of candidates in milliseconds.

    Of `candidates` so many `ran`, of which so many were `looked_at`; `left_out` is the reason why
    the others were not. `classes` of equal bits have those that are steady, `unsteady` do not even
    equal themselves. `wrong` are not used; where nobody can be accused, `disagree` are far from
    those that agree, or from the first one. `constant` is the fastest with the first one's bits,
    `fastest` that of all; `cost` is what the former takes longer, as a share of the latter's time,
    None where that is not known. `size` is in bytes that are written to, `seconds` were spent on
    looking.
    """

    kernel: str
    key: str
    digest: str | None
    work_class: str | None
    candidates: int
    ran: int
    looked_at: int
    left_out: str | None
    classes: int
    unsteady: list[str]
    wrong: list[Apart]
    disagree: list[Apart]
    constant: str | None
    constant_ms: float | None
    fastest: str | None
    fastest_ms: float | None
    cost: float | None
    size: int
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether nothing is known to be wrong."""
        return not self.wrong and not self.disagree

    @property
    def is_constant(self) -> bool:
        """Whether all that ran were looked at, and wrote the same, each time."""
        all_seen = self.looked_at == self.ran > 0
        return self.agrees and all_seen and self.classes == 1 and not self.unsteady


class NotSeen(msgspec.Struct, frozen=True):
    """A key that was met and not tuned, so that nothing was looked at."""

    kernel: str
    key: str
    digest: str
    work_class: str


class Survey(Workload, frozen=True):
    """What `tuneonce bits` tells. `well`: nothing that the command is to fail for was found.

    `left_out` counts the tunings in which not all that ran was looked at, by reason.
    """

    strict: bool
    well: bool
    keys: list[Seen]
    not_seen: list[NotSeen]
    left_out: dict[str, int]
    problems: dict[str, int]


def survey(
    history: Iterable[Events],
    *,
    command: list[str],
    status: int,
    store: str,
    seconds: float,
    strict: bool,
) -> Survey:
    """Add up the events of a workload that ran to be looked at.

    With `strict` it is only well if all candidates of all keys were looked at and wrote the same.
    """
    processes = list(history)
    keys = [_seen(event) for event in events_of(processes, "outputs")]
    not_seen = _not_seen(processes, {(str(one.digest), str(one.work_class)) for one in keys})
    left_out: dict[str, int] = {}
    for one in keys:
        tally(left_out, one.left_out)
    well = all(one.agrees for one in keys)
    if strict:
        well = not not_seen and all(one.is_constant for one in keys)
    return Survey(
        schema=BITS_SCHEMA,
        command=command,
        status=status,
        store=store,
        seconds=seconds,
        processes=len(processes),
        strict=strict,
        well=well,
        keys=sorted(keys, key=lambda one: in_order(one.kernel, one.key, one.work_class)),
        not_seen=not_seen,
        left_out=left_out,
        problems=problems_of(processes),
    )


def _not_seen(processes: list[Events], seen: set[tuple[str, str]]) -> list[NotSeen]:
    """Keys without a verdict of which no tuning tells; those that cannot be kept have no name."""
    found = {
        (miss.digest, miss.work_class): NotSeen(
            miss.kernel, _plain(tuning_text(tuning(miss.parts))), miss.digest, miss.work_class
        )
        for events in processes
        for miss in misses(events, None)
        if (miss.digest, miss.work_class) not in seen
    }
    return sorted(found.values(), key=lambda one: in_order(one.kernel, one.key, one.work_class))


def _seen(event: dict[str, Any]) -> Seen:
    apart = [
        Apart(candidate, number_or_none(distance))
        for candidate, distance in zip(
            _words(event, "apart"), _list(event, "distances"), strict=False
        )
    ]
    disagrees = event.get("disagrees") is True
    constant_ms = number_or_none(event.get("constant_ms"))
    fastest_ms = number_or_none(event.get("fastest_ms"))
    return Seen(
        kernel=str(event.get("kernel", "?")),
        key=_plain(str(event.get("key_text", "?"))),
        digest=text_of(event, "key"),
        work_class=text_of(event, "work_class"),
        candidates=int(number(event.get("candidates"))),
        ran=int(number(event.get("ran"))),
        looked_at=int(number(event.get("looked_at"))),
        left_out=text_of(event, "left_out"),
        classes=int(number(event.get("classes"))),
        unsteady=_words(event, "unsteady"),
        wrong=[] if disagrees else apart,
        disagree=apart if disagrees else [],
        constant=text_of(event, "constant"),
        constant_ms=constant_ms,
        fastest=text_of(event, "fastest"),
        fastest_ms=fastest_ms,
        cost=cost_of(constant_ms, fastest_ms),
        size=int(number(event.get("size"))),
        seconds=number(event.get("seconds")),
    )


def _plain(text: str) -> str:
    """A key's text without the part that asks for constant bits, which all have here."""
    return text.partition(f"{BITS}=")[0].strip() or "-"


def _words(event: dict[str, Any], field: str) -> list[str]:
    return [str(one) for one in _list(event, field)]


def _list(event: dict[str, Any], field: str) -> list[Any]:
    value = event.get(field)
    return value if isinstance(value, list) else []
