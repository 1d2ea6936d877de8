"""The names of records: how they are built, read, and checked against what a record holds.

A name is made from three groups of a key's parts. The directory names are for people, the digests
behind ``~`` and the last part are what counts::

    v1/<kernel name>~<digest of the kernel parts>/<world name>~<digest of the world parts>/<digest>/
        c03.<digest of the candidate list>.verdict.json
        c03.<digest of the candidate list>.variants.json
        c03.<digest of the candidate list>.wanted.json
        c03.<digest of one candidate>.measured.json

    profiles/<program>~<digest of the profile's name>/
        <id of the part>.profile.json
        <world name>~<digest of the world parts>.shared.json

``c03`` is the work class. A schema's first version is not in a name, a later one is, as in
``.verdict.2.json``: each version has names of its own, and leaves those of the others alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .codec import Encoded, digest
from .profiles import PROFILE, ProfilePart
from .records import (
    MEASUREMENT,
    VARIANTS,
    VERDICT,
    WANTED,
    WORK_CLASS,
    BadRecord,
    Measurement,
    R,
    Record,
    Variants,
    Verdict,
    Wanted,
    unpack,
)
from .shared_profiles import SHARED_PROFILE, SharedProfile

ROOT = "v1/"
"""What the names of all records about keys start with."""

PROFILES = "profiles/"
"""What the names of all parts of profiles start with, and of what machines share of these."""


def _ending(word: str, schema: str) -> str:
    """How the names of records of a schema end."""
    version = schema.rpartition("/")[2]
    return f".{word}.json" if version == "1" else f".{word}.{version}.json"


_ENDINGS: dict[type, str] = {
    Verdict: _ending("verdict", VERDICT),
    Variants: _ending("variants", VARIANTS),
    Measurement: _ending("measured", MEASUREMENT),
    ProfilePart: _ending("profile", PROFILE),
    SharedProfile: _ending("shared", SHARED_PROFILE),
    Wanted: _ending("wanted", WANTED),
}
_VERDICT_FILE = re.compile(rf"({WORK_CLASS})\.[0-9a-f]{{12}}{re.escape(_ENDINGS[Verdict])}")


# -- folders -------------------------------------------------------------------------------------


def named_folder(name: str, parts: Iterable[tuple[str, str]]) -> str:
    """The folder of a kernel or a world: its name for people, and the digest of its parts."""
    return f"{readable(name)}~{folder_digest(parts)}"


def kernel_prefix(name: str) -> str:
    """What the names of all records of all kernels of this name start with."""
    return f"{ROOT}{readable(name)}~"


def readable_name(folder: str) -> str:
    """What `named_folder` has made of a name."""
    return folder.rpartition("~")[0]


def is_folder_of(folder: str, parts: Iterable[tuple[str, str]]) -> bool:
    """Whether the folder of a kernel or a world is that of these parts."""
    return folder.rpartition("~")[2] == folder_digest(parts)


def folder_digest(parts: Iterable[tuple[str, str]]) -> str:
    """What tells the folders of two kernels or worlds apart."""
    return digest([list(part) for part in parts], length=12)


def parts_digest(parts: Iterable[tuple[str, str]]) -> str:
    """The folder of a key, from the parts that a record carries."""
    return digest([list(part) for part in parts], length=24)


# 60 keeps every part of a name far below the 255 bytes that file systems allow.
def readable(text: str, *, limit: int = 60) -> str:
    """`text` as a path part; not unique, the digest beside it is."""
    return (re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-.") or "x")[:limit]


# -- files ---------------------------------------------------------------------------------------


def candidate_digest(config: Iterable[tuple[str, Encoded]]) -> str:
    """Identifies a candidate by its named values."""
    return digest([[name, value] for name, value in config], length=16)


def list_digest(candidates: Iterable[str]) -> str:
    """Identifies a list of candidates by its members, whatever their order."""
    return digest(sorted(candidates), length=12)


def verdict_file(work_class: str, candidates: Iterable[str]) -> str:
    """The last part of a verdict's name."""
    return f"{work_class}.{list_digest(candidates)}{_ENDINGS[Verdict]}"


def variants_file(work_class: str, candidates: Iterable[str]) -> str:
    """The last part of the name of what a verdict's candidates were compiled with."""
    return f"{work_class}.{list_digest(candidates)}{_ENDINGS[Variants]}"


def wanted_file(work_class: str, candidates: Iterable[str]) -> str:
    """The last part of the name of a key that is to be measured."""
    return f"{work_class}.{list_digest(candidates)}{_ENDINGS[Wanted]}"


def measurement_file(work_class: str, candidate: str) -> str:
    """The last part of the name of one candidate's measurement."""
    return f"{work_class}.{candidate}{_ENDINGS[Measurement]}"


def journal_file(key: str, work_class: str) -> str:
    """What the journal of a tuning is called, by its key's digest (`resolution.journal`)."""
    return digest([key, work_class], length=24)


def kind_of(name: str) -> type[Record] | None:
    """The kind of record that a name is for; None if it is for none that this version knows."""
    return next((kind for kind, ending in _ENDINGS.items() if name.endswith(ending)), None)


def class_of_verdict(name: str) -> str | None:
    """The work class of the verdict that may have this name; None for what is no verdict's."""
    found = _VERDICT_FILE.fullmatch(name.rpartition("/")[2])
    return None if found is None else found[1]


def profile_folder(profile: str) -> str:
    """The folder of a profile's parts, by its name; `profile_prefix` names the program's."""
    return f"{readable(profile.partition(' ')[0])}~{digest(['str', profile], length=12)}"


def profile_prefix(profile: str) -> str:
    """What the names of all parts of all profiles of the same program start with."""
    return f"{PROFILES}{readable(profile.partition(' ')[0])}~"


def profile_part_name(part: ProfilePart) -> str:
    """The name of a part."""
    return f"{PROFILES}{place(part)}"


def shared_profile_name(profile: str, world: str) -> str:
    """The name of what machines share of a profile in a world, by the folder of that."""
    return f"{PROFILES}{profile_folder(profile)}/{world}{_ENDINGS[SharedProfile]}"


def world_of_shared(name: str) -> str | None:
    """The folder of the world in the name of a shared profile; None in what is no such name."""
    root, slash, rest = name.partition("/")
    folder, _, last = rest.partition("/")
    world = last.removesuffix(_ENDINGS[SharedProfile])
    if root + slash != PROFILES or not folder or world in ("", last) or "/" in world:
        return None
    return world


# -- a record and its name -----------------------------------------------------------------------


def place(record: Record) -> str:
    """The last two parts of the only name under which a record answers."""
    if isinstance(record, Verdict):
        last = verdict_file(record.work_class, record.candidates)
        return f"{parts_digest(record.key)}/{last}"
    if isinstance(record, Variants):
        last = variants_file(record.work_class, record.candidates)
        return f"{parts_digest(record.key)}/{last}"
    if isinstance(record, ProfilePart):
        return f"{profile_folder(record.profile)}/{record.id}{_ENDINGS[ProfilePart]}"
    if isinstance(record, SharedProfile):
        return f"{profile_folder(record.profile)}/{record.world}{_ENDINGS[SharedProfile]}"
    if isinstance(record, Wanted):
        last = wanted_file(record.work_class, record.candidates)
        return f"{parts_digest(record.key)}/{last}"
    return f"{record.key}/{measurement_file(record.work_class, record.candidate)}"


def unpack_named(name: str, data: bytes, kind: type[R]) -> R:
    """The record in `data`, which a store has under `name`. Raises `BadRecord`.

    One that was copied to another name is misplaced: it must not answer for what belongs there.
    """
    record = unpack(data, kind)
    if name.split("/")[-2:] != place(record).split("/"):
        raise BadRecord("misplaced", f"it belongs at {place(record)}")
    return record
