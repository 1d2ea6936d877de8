"""What of a store is shared, and which of two records of one name stays.

=======================================  =======  ==================================================
what                                     shared   because
=======================================  =======  ==================================================
verdicts                                 yes      a winner holds wherever its key is met
what candidates were compiled with       yes      lets another machine compile before it is asked
loose measurements (earlier versions')   yes      nobody has to make them again
keys that are wanted                     no       a note for this machine's user; it goes when the
                                                  key has a verdict, and nobody would take it away
profiles                                 no       what programs of this machine used; their parts
                                                  are put together and replaced all the time
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

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

from ..model.record_names import ROOT, candidate_digest, is_folder_of, kind_of, unpack_named
from ..model.records import BadRecord, Measurement, Variants, Verdict
from ..model.wording import world as facts

SHARED = (Verdict, Variants, Measurement)
"""The kinds of records that are shared."""

Shared = Verdict | Variants | Measurement

# v1/<kernel>/<world>/<key>/<file>
_PARTS = 5


def shelf_of(name: str) -> str | None:
    """The shelf of the record that has this name in a store; None if it is not shared."""
    parts = name.split("/")
    if len(parts) != _PARTS or not name.startswith(ROOT) or kind_of(name) not in SHARED:
        return None
    return parts[2]


def checked(name: str, data: bytes) -> Shared:
    """The record that is to be shared, or was. Raises BadRecord unless it is whole and in place."""
    if shelf_of(name) is None:
        raise BadRecord("schema", "it is of no kind that is shared")
    kind = kind_of(name)
    record: Shared
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


def supersedes(ours: Shared, theirs: Shared) -> bool:
    """Whether a record of a store stays although the replica had another one first.

    A verdict that was put in the place of a wrong one does, unless theirs was, too; so does the
    newer one of two measurements. All machines say the same of the same two records.
    """
    if isinstance(ours, Verdict) and isinstance(theirs, Verdict):
        return ours.origin == "rechecked" and theirs.origin != "rechecked"
    if isinstance(ours, Measurement) and isinstance(theirs, Measurement):
        return ours.measured_at > theirs.measured_at
    return False
