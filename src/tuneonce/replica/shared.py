"""What of a store is shared, and which of two records of one name stays.

=======================================  =======  ==================================================
what                                     shared   because
=======================================  =======  ==================================================
verdicts                                 yes      a winner holds wherever its key is met
what candidates were compiled with       yes      lets another machine compile before it is asked
loose measurements (earlier versions')   yes      nobody has to make them again
keys that are wanted                     no       a note for this machine's user; it goes when the
                                                  key has a verdict, and nobody would take it away
what programs needed in a world          yes      their first start on another machine is ready
parts of profiles                        no       what starts of this machine used; they are put
                                                  together and replaced all the time
names that this version does not know    no       it cannot tell whether they are whole
``.journal/``                            no       what tunings under way have measured here, and the
                                                  candidates that may have ended a process
``.binaries-<user>/``                    no       code
``.set-aside/``, temporary files         no       records that cannot be used
events, frozen winners                   no       they are not in the store
=======================================  =======  ==================================================

What begins with a dot is no name of a record, so a store does not list it. The shelf of a record is
the folder of its world: the GPU product, the compiler and what else decides about times, and a
digest of that.

Records come from whoever may write to a replica, as those of a store come from whoever may write to
that. `checked` looks at all that can be found out about one by itself.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from ..model.record_names import (
    ROOT,
    candidate_digest,
    is_folder_of,
    kind_of,
    unpack_named,
    world_of_shared,
)
from ..model.records import BadRecord, Measurement, Variants, Verdict
from ..model.shared_profiles import SharedProfile, with_news
from ..model.wording import world as facts

RESULTS = (Verdict, Variants, Measurement)
"""The kinds of records that say something of a kernel's key. All of them are shared."""

SHARED = (*RESULTS, SharedProfile)
"""The kinds of records that are shared."""

Result = Verdict | Variants | Measurement
Shared = Result | SharedProfile

# v1/<kernel>/<world>/<key>/<file>
_SLASHES = 4


def shelf_of(name: str) -> str | None:
    """The shelf of the record that has this name in a store; None if it is not shared."""
    return name.split("/")[2] if is_result(name) else world_of_shared(name)


def is_result(name: str) -> bool:
    """Whether this is the name of one of `RESULTS` in a store."""
    return name.count("/") == _SLASHES and name.startswith(ROOT) and kind_of(name) in RESULTS


def checked(name: str, data: bytes) -> Shared:
    """The record that is to be shared, or was. Raises BadRecord unless it is whole and in place."""
    if world_of_shared(name) is None:
        return checked_result(name, data)
    # Its keys are of its world, or it is none; what decides about the rest is at hand only where it
    # is used.
    return unpack_named(name, data, SharedProfile)


def checked_result(name: str, data: bytes) -> Result:
    """The same of one of `RESULTS` alone."""
    if not is_result(name):
        raise BadRecord("schema", "it is of no kind that is shared")
    kind = kind_of(name)
    record: Result
    if kind is Verdict:
        record = unpack_named(name, data, Verdict)
    elif kind is Variants:
        record = unpack_named(name, data, Variants)
    else:
        record = unpack_named(name, data, Measurement)
    _root, kernel, world, _key, _file = name.split("/")
    if not isinstance(record, Measurement):
        _check_folder(kernel, (part for part in record.key if part[0].startswith("kernel.")))
        _check_folder(world, facts(record.key).items())
    measurements = record.measurements if isinstance(record, Verdict) else []
    for one in [record] if isinstance(record, Measurement) else measurements:
        if _digest_of(msgspec.json.encode(one.config)) != one.candidate:
            raise BadRecord("misplaced", f"candidate {one.candidate} is another one")
    return record


@lru_cache(maxsize=4096)
def _digest_of(config: bytes) -> str:
    """`candidate_digest` of a configuration, as JSON: the keys of a kernel have the same ones."""
    return candidate_digest(msgspec.json.decode(config, type=list[tuple[str, Any]]))


def _check_folder(folder: str, parts: Iterable[tuple[str, str]]) -> None:
    if not is_folder_of(folder, parts):
        raise BadRecord("misplaced", f"what it is of does not belong to {folder}")


def settled(ours: Shared, theirs: Shared, *, now: float | None = None) -> Shared:
    """What stays where a store and a replica have two records of one name: one of the two.

    Of what programs needed it is both together, unless theirs has all that ours has. All machines
    say the same of the same two records, as far as their clocks agree about the day; `now` is in
    seconds since 1970.
    """
    if isinstance(ours, SharedProfile) and isinstance(theirs, SharedProfile):
        news = with_news(theirs, ours, now=time.time() if now is None else now)
        return theirs if news is None else news
    return ours if supersedes(ours, theirs) else theirs


def supersedes(ours: Shared, theirs: Shared) -> bool:
    """Whether a result of a store stays although the replica had another one first.

    A verdict that was put in the place of a wrong one does, unless theirs was, too; so does the
    newer one of two measurements.
    """
    if isinstance(ours, Verdict) and isinstance(theirs, Verdict):
        return ours.origin == "rechecked" and theirs.origin != "rechecked"
    if isinstance(ours, Measurement) and isinstance(theirs, Measurement):
        return ours.measured_at > theirs.measured_at
    return False
