"""The records that a store holds, and their bytes.

A record is two lines of JSON. The first says what follows and proves that it is whole, the second
is the body, checked against the schema of its kind while it is read::

    {"schema":"tuneonce.verdict/1","sha256":"<of the second line, newline included>"}
    {"key":[["kernel.name","chunk_fwd_kernel_h"],...],"winner":"9f0c...","measurements":[...]}

Kinds: `Measurement`, one candidate's times, written the moment it was measured; `Verdict`, the
winner of a list of candidates together with all the measurements behind it; `Variants`, what the
candidates were compiled with, so that they can be compiled before their first launch where the
verdict does not hold. Once a verdict is published the loose measurements of its candidates are
redundant and are removed.

`unpack` raises `BadRecord` with a reason from a small fixed set, which statistics count.
"""

from __future__ import annotations

import hashlib
import json
import math
from typing import Annotated, Any, Literal, TypeVar

import msgspec

MEASUREMENT = "tuneonce.measurement/1"
VERDICT = "tuneonce.verdict/1"
VARIANTS = "tuneonce.variants/1"

BadReason = Literal["truncated", "checksum", "schema", "version", "misplaced"]


WorkClass = Annotated[str, msgspec.Meta(pattern=r"^c(\d\d|xx)$")]


class BadRecord(Exception):
    """A record's bytes are not what they should be. `reason` is one of `BadReason`."""

    def __init__(self, reason: BadReason, detail: str) -> None:
        self.reason: BadReason = reason
        super().__init__(f"{reason}: {detail}")


class Measurement(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """One candidate's times in one world, at one work class.

    `times` is what the benchmark returned: for Triton's own ``do_bench`` the median, the 20th and
    the 80th percentile in milliseconds. `shape` restores its Python type. A candidate that could
    not run has no times and says why in `failed`. `samples` is how many there were, 0 where the
    benchmark does not say; not `settled` means that a race was still on when they were summed up,
    so that they order and prune but do not decide. `key` is the digest of the key it was measured
    for, filled in where the measurement is kept by itself.
    """

    candidate: str
    config: list[tuple[str, list[Any]]]
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


Origin = Literal["measured", "assembled", "stock-cache", "rechecked"]


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """The winner for one key at one work class, over one list of candidates.

    `origin`: ``measured`` by a tuning run, ``assembled`` from measurements that were all there,
    taken over from Triton's own ``*.autotune.json`` (``stock-cache``), or ``rechecked``: put in the
    place of a verdict that was proven wrong. `tune_s` is the time the tuning took when it was
    really done, in seconds: what every later hit saves.
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

    def __post_init__(self) -> None:
        if self.winner not in self.candidates:
            raise ValueError("the winner of a verdict is not one of its candidates")


class Variants(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
    """The compiled variants of a key's candidates, as Triton specialised the kernel for them.

    A variant is a flat mapping (`tuneonce.triton.variants`); `common` is what all have, `each` the
    rest, by candidate. Read by whoever meets this kernel in another world or with another source:
    what is in here is compiled, never launched.
    """

    key: list[tuple[str, str]]
    kernel: str
    work_class: WorkClass
    candidates: list[str]
    common: dict[str, Any]
    each: dict[str, dict[str, Any]]
    recorded_at: float


R = TypeVar("R", Measurement, Verdict, Variants)
Record = Measurement | Verdict | Variants
_SCHEMAS: dict[type, str] = {Measurement: MEASUREMENT, Verdict: VERDICT, Variants: VARIANTS}


def pack(record: Record) -> bytes:
    """The bytes of a record. Raises ValueError for what JSON cannot hold: an infinite time."""
    if isinstance(record, Measurement):
        _require_finite(record)
    elif isinstance(record, Verdict):
        for measurement in record.measurements:
            _require_finite(measurement)
    try:
        body = msgspec.json.encode(record) + b"\n"
    except OverflowError as error:
        raise ValueError("a record holds a number that is too large") from error
    header = {"schema": _SCHEMAS[type(record)], "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(header, separators=(",", ":")).encode("ascii") + b"\n" + body


def _require_finite(measurement: Measurement) -> None:
    if not all(math.isfinite(t) for t in measurement.times):
        raise ValueError(f"a measurement holds a time that is not finite: {measurement.times}")


def unpack(data: bytes, kind: type[R]) -> R:
    """The record in `data`. Raises `BadRecord`."""
    head, newline, body = data.partition(b"\n")
    if not newline or not body.endswith(b"\n"):
        raise BadRecord("truncated", f"{len(data)} bytes")
    try:
        header = json.loads(head)
        schema, checksum = header["schema"], header["sha256"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise BadRecord("schema", "the first line is not a record header") from error
    if schema != _SCHEMAS[kind]:
        raise BadRecord("version", f"schema {schema!r} where {_SCHEMAS[kind]!r} is expected")
    if checksum != hashlib.sha256(body).hexdigest():
        raise BadRecord("checksum", "the body does not match its checksum")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.ValidationError, msgspec.DecodeError, RecursionError) as error:
        raise BadRecord("schema", str(error)) from error
