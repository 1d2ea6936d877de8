"""Merge: what several stores have learned, put into one. Those that it comes from are only read.

Results of kernels are merged. Profiles are not: what programs needed is of where they ran.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import RecordUnreadable
from ..model.record_names import ROOT
from ..model.records import BadRecord
from ..replica.exchange import Step, Tell
from ..replica.shared import is_result
from ..store.base import Store
from .landing import Found, Landed, Landing, found

# Progress is told after so many names. Arbitrary.
_STEP = 100


def merge(
    sources: Sequence[Store],
    target: Store,
    *,
    dry_run: bool = False,
    tell: Tell = lambda step: None,
) -> Landed:
    """Put the results of `sources` into `target`. Raises StoreError.

    Each name is looked at once, in all stores together, and written once at most. So a merge that
    is cut off has done some names and not others, and is repeated.
    """
    landing = Landing(target, dry_run=dry_run)
    having: dict[str, list[Store]] = {}
    for source in sources:
        for name in _result_names(source, ROOT, landing):
            having.setdefault(name, []).append(source)
    for number, name in enumerate(sorted(having), start=1):
        offers = [one for source in having[name] if (one := _offer(source, name, landing))]
        if offers:
            landing.take(name, offers)
        if number % _STEP == 0:
            tell(Step(number, len(having)))
    tell(Step(len(having), len(having)))
    return landing.did


def _result_names(source: Store, prefix: str, landing: Landing) -> Iterator[str]:
    """The names of results. A folder that is closed to this user hides no other one."""
    try:
        names = source.children(prefix)
    except RecordUnreadable as error:
        landing.refuse(f"{prefix} of {source.describe().location}", error)
        return
    for name in names:
        if name.endswith("/"):
            yield from _result_names(source, name, landing)
        elif is_result(name):
            yield name


def _offer(source: Store, name: str, landing: Landing) -> Found | None:
    where = source.describe().location
    try:
        data = source.get(name)
        return None if data is None else found(where, name, data)
    except (BadRecord, RecordUnreadable) as error:
        landing.refuse(f"{name} of {where}", error)
        return None
