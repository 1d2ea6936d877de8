"""The records that a store holds, and their bytes.

A record is two lines of JSON. The first says what follows and proves that it is whole, the second
is the body, checked against the schema of its kind while it is read::

    {"schema":"tuneonce.verdict/1","sha256":"<of the second line, newline included>"}
    {"key":[["kernel.name","chunk_fwd_kernel_h"],...],"winner":"9f0c...","measurements":[...]}

Kinds: `Measurement`, one candidate's times, written the moment it was measured; `Verdict`, the
winner of a list of candidates together with all the measurements behind it; `Variants`, what the
candidates were compiled with, so that they can be compiled before their first launch where the
verdict does not hold; `Wanted`, a key that was met and not measured; `ProfilePart`, what a program
has used (`model.profiles`); `SharedProfile`, what machines share of that. Once a verdict is
published the loose measurements of its candidates are redundant, and so is the note that it is
wanted; both are removed.

`unpack` raises `BadRecord` with a reason from a small fixed set, which statistics count. A right
checksum only proves that the record is whole: any program that can write to a store can make one.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import msgspec

from .profiles import PROFILE, ProfilePart
from .shared_profiles import SHARED_PROFILE, SharedProfile

MEASUREMENT = "tuneonce.measurement/1"
VERDICT = "tuneonce.verdict/1"
VARIANTS = "tuneonce.variants/1"
WANTED = "tuneonce.wanted/1"

BadReason = Literal["truncated", "checksum", "schema", "version", "misplaced", "no_time"]

WRONG = "wrong: "
"""How the reason begins for which a candidate is left out that ran: by what it wrote."""

WORK_CLASS = r"c(?:[0-9]{2}(?:e[0-9]{2})?|xx)"
"""What a work class looks like (`model.key.work_class`), as a regular expression."""

WorkClass = Annotated[str, msgspec.Meta(pattern=rf"\A{WORK_CLASS}\Z")]

if TYPE_CHECKING:
    Value = list[Any]
else:
    # An encoded value (`model.codec`). Those that are made there are at most 64 lists deep, where a
    # dictionary counts as two. Printing or digesting a deeper one could run out of stack.
    Value = list[str | bool | None]
    for _ in range(66):
        Value = list[str | bool | Value | None]


class BadRecord(Exception):
    """A record's bytes are not what they should be. `reason` is one of `BadReason`.

    `in_the_way`: no version can use it. A record of another version is of use to that one.
    """

    def __init__(self, reason: BadReason, detail: str, *, in_the_way: bool = True) -> None:
        self.reason: BadReason = reason
        self.in_the_way = in_the_way
        super().__init__(f"{reason}: {detail}")


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """One candidate's times in one world, at one work class.

    `times` is what the benchmark returned: for Triton's own ``do_bench`` the median, the 20th and
    the 80th percentile in milliseconds. `shape` restores its Python type. A candidate that could
    not run has no times and says why in `failed`. `samples` is how many there were, 0 where the
    benchmark does not say; not `settled` means that a race was still on when these were summed up,
    so that they order and prune but do not decide. `key` is the digest of the key it was measured
    for, filled in where the measurement is kept by itself.
    """

    candidate: str
    config: list[tuple[str, Value]]
    times: tuple[float, ...]
    shape: Literal["list", "tuple", "scalar"]
    failed: str | None
    method: str
    work_class: WorkClass
    measured_at: float
    seconds: float
    compile_s: float
    key: str = ""
    samples: int = 0
    settled: bool = True

    def __post_init__(self) -> None:
        if (self.failed is None) != bool(self.times):
            raise ValueError("a measurement has either times or a failure")

    def as_timing(self) -> Any:
        """What Triton would have held in ``configs_timings`` for this candidate."""
        if self.failed is not None:
            return [math.inf, math.inf, math.inf]
        if self.shape == "scalar":
            return self.times[0]
        return self.times if self.shape == "tuple" else list(self.times)


class Sighting(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """What the candidates of one tuning wrote, each launched twice on the same inputs.

    `programs`: the launch's size, None if unknown. `size`: bytes that are written to. `classes`: of
    equal bits, of each candidate that was looked at: those of one number wrote the same, 0 is that
    of the first of the list that was steady, and -1 means that it did not even equal itself.
    `distances`: how far outputs were from those of the candidates that agree, as `tuning.numerics`
    measures it; none for 0, and null for one that is no number. `wrong` were left out for it;
    `disagrees`: some were far apart and none was left out. Equal is what was equal then, and no
    proof of anything.
    """

    programs: int | None
    at: float
    size: int
    classes: dict[str, Annotated[int, msgspec.Meta(ge=-1)]]
    distances: dict[str, Annotated[float, msgspec.Meta(ge=0)] | None]
    wrong: list[str]
    disagrees: bool


Origin = Literal["measured", "assembled", "stock-cache", "rechecked", "explored"]


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """The winner for one key at one work class, over one list of candidates.

    `origin`: ``measured`` by a tuning run, ``assembled`` from measurements that were all there,
    taken over from Triton's own ``*.autotune.json`` (``stock-cache``), ``rechecked``: put in the
    place of a verdict that was proven wrong, or ``explored``: found by launches of a program that
    served. `tune_s` is the time the tuning took when it was
    really done, in seconds: what every later hit saves. `sightings` is what was seen of outputs,
    where a program has asked for it.
    """

    key: list[tuple[str, str]]
    about: dict[str, str]
    work_class: WorkClass
    programs: int | None
    candidates: list[str]
    winner: str
    measurements: list[Measurement]
    origin: Origin
    tune_s: float
    compile_s: float
    published_at: float
    tuneonce: str
    sightings: list[Sighting] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        if self.winner not in self.candidates:
            raise ValueError("the winner of a verdict is not one of its candidates")


class Variants(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """The compiled variants of a key's candidates, as Triton specialised the kernel for them.

    A variant is a flat mapping (`triton.compile.variants`); `common` is what all have, `each` the
    rest, by candidate. Read where this kernel is met in another world or with another source. What
    is in here is compiled, never launched.
    """

    key: list[tuple[str, str]]
    kernel: str
    work_class: WorkClass
    candidates: list[str]
    common: dict[str, Any]
    each: dict[str, dict[str, Any]]
    recorded_at: float


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """A key that a launch met without a verdict and did not measure: it is to be measured.

    Removed when a verdict of its work class and list of candidates is published. It tells people
    what is missing; no launch reads it.
    """

    key: list[tuple[str, str]]
    kernel: str
    work_class: WorkClass
    candidates: list[str]
    recorded_at: float


R = TypeVar("R", Measurement, Verdict, Variants, Wanted, ProfilePart, SharedProfile)
Record = Measurement | Verdict | Variants | Wanted | ProfilePart | SharedProfile
_SCHEMAS: dict[type, str] = {
    Measurement: MEASUREMENT,
    Verdict: VERDICT,
    Variants: VARIANTS,
    ProfilePart: PROFILE,
    SharedProfile: SHARED_PROFILE,
    Wanted: WANTED,
}

# Made here and not at the first record: what msgspec finds out about a type when it first meets it
# is not safe from a second thread that meets it, too.
_DECODERS: dict[type, Any] = {kind: msgspec.json.Decoder(kind) for kind in _SCHEMAS}
_ENCODER = msgspec.json.Encoder()

# A header of ours has 120 bytes. Arbitrary.
_MAX_HEAD = 1000


def says_nothing(measurement: Measurement) -> bool:
    """Whether it is no measurement at all: its time is exactly zero, so nothing was launched."""
    return measurement.times[:1] == (0.0,)


def pack(record: Record) -> bytes:
    """The bytes of a record. Raises ValueError for what must not be read again or cannot be.

    That is a time of exactly zero, and what JSON cannot hold: an infinite number.
    """
    if isinstance(record, Measurement):
        _check_numbers(record)
    elif isinstance(record, Verdict):
        _require_finite(record.published_at, record.tune_s, record.compile_s)
        for sighting in record.sightings or ():
            _require_finite(sighting.at, *(d for d in sighting.distances.values() if d is not None))
        for measurement in record.measurements:
            _check_numbers(measurement)
    elif isinstance(record, ProfilePart):
        _require_finite(*(start.at for start in record.starts))
        _require_finite(*(one.at for one in record.variants), *(one.at for one in record.keys))
    elif isinstance(record, Wanted):
        _require_finite(record.recorded_at)
    try:
        body = _ENCODER.encode(record) + b"\n"
    except OverflowError as error:
        raise ValueError("a record holds a number that is too large") from error
    return _head(type(record), body) + b"\n" + body


def _head(kind: type, body: bytes) -> bytes:
    checksum = hashlib.sha256(body).hexdigest()
    return f'{{"schema":"{_SCHEMAS[kind]}","sha256":"{checksum}"}}'.encode("ascii")


def _check_numbers(measurement: Measurement) -> None:
    m = measurement
    _require_finite(*m.times, m.measured_at, m.seconds, m.compile_s)
    if says_nothing(m):
        raise ValueError("a measurement holds a time of exactly zero")


def _require_finite(*numbers: float) -> None:
    if not all(map(math.isfinite, numbers)):
        raise ValueError(f"a record holds a number that is not finite: {numbers}")


def unpack(data: bytes, kind: type[R]) -> R:
    """The record in `data`. Raises `BadRecord`."""
    head, newline, body = data.partition(b"\n")
    if not newline or not body.endswith(b"\n"):
        raise BadRecord("truncated", f"{len(data)} bytes")
    if head != _head(kind, body):
        _check_head(head, body, _SCHEMAS[kind])
    try:
        record: R = _DECODERS[kind].decode(body)
        if _ENCODER.encode(record) + b"\n" != body:
            _check_body(body)
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:  # bad UTF-8 is the first
        raise BadRecord("schema", str(error)) from error
    if isinstance(record, (Measurement, Verdict)):
        found = record.measurements if isinstance(record, Verdict) else [record]
        if any(map(says_nothing, found)):
            raise BadRecord("no_time", "a measurement holds a time of exactly zero")
    if isinstance(record, Variants) and not record.kernel:
        raise BadRecord("schema", "variants of no kernel")
    return record


def _check_head(head: bytes, body: bytes, expected: str) -> None:
    """Raise `BadRecord` unless the header says what it should, if in other words than ours."""
    try:
        if len(head) > _MAX_HEAD:
            raise ValueError(f"it has {len(head)} bytes")
        header = json.loads(head, object_pairs_hook=_unique)
        schema, checksum = header["schema"], header["sha256"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadRecord("schema", "the first line is not a record header") from error
    if schema != expected:
        raise BadRecord(
            "version",
            f"schema {schema!r} where {expected!r} is expected",
            in_the_way=not _is_of_the_kind(schema, expected),
        )
    if checksum != hashlib.sha256(body).hexdigest():
        raise BadRecord("checksum", "the body does not match its checksum")


def _is_of_the_kind(schema: object, expected: str) -> bool:
    """Whether it is a version of the expected schema."""
    family, _, version = schema.rpartition("/") if isinstance(schema, str) else ("", "", "")
    return family == expected.rpartition("/")[0] and version.isascii() and version.isdigit()


def _check_body(body: bytes) -> None:
    """Raise ValueError for what a decoder passes over and another may read differently.

    That is a name that is there twice, and what is wrong with the fields of a later version. Only
    for bodies that are not, byte for byte, what we would write.
    """
    json.loads(body, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is there twice")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is out of range")
    return number
