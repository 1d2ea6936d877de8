"""What somebody may write into a store, and how a right checksum is put to it.

A `Plan` is a few numbers that say how one record is changed, so that it is cheap to draw, to send
and to shrink. To have another kind of record tried, add it to `KINDS`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from tests.fakes import measured, question
from tuneonce.model.profiles import PROFILE, ProfilePart, Start, UsedKey, UsedVariant
from tuneonce.model.record_names import place, profile_part_name, shared_profile_name
from tuneonce.model.records import (
    MEASUREMENT,
    VARIANTS,
    VERDICT,
    WANTED,
    BadRecord,
    Measurement,
    Variants,
    Verdict,
    Wanted,
    pack,
    unpack,
)
from tuneonce.model.shared_profiles import SHARED_PROFILE, SharedProfile
from tuneonce.resolution.resolver import Question
from tuneonce.store.base import check_name

BLOCKS = (16, 32, 64)

Plan = tuple[int, int, int, int, int]


@dataclass(frozen=True)
class Kind:
    """A kind of record: its type, its schema, and an honest one for a question."""

    type: Any
    schema: str
    make: Callable[[Question], Any]
    name: Callable[[Question], str]


def _verdict(asked: Question) -> Verdict:
    times = [measured(b, 1.0 + b, 1.0, 2.0 + b) for b in BLOCKS[:2]]
    failed = measured(BLOCKS[2], failed="out of memory")
    return Verdict(
        key=list(asked.key.parts),
        about={"kernel.module": "kernels", "driver": "580.1"},
        work_class=asked.work_class,
        programs=64,
        candidates=asked.digests,
        winner=asked.digests[0],
        measurements=[*times, failed],
        origin="measured",
        tune_s=4.0,
        compile_s=3.0,
        published_at=1000.0,
        tuneonce="0.1",
    )


def _measurement(asked: Question) -> Measurement:
    one = measured(BLOCKS[0], 1.0, 0.9, 1.1, work_class=asked.work_class)
    return msgspec.structs.replace(one, key=asked.key.digest)


def _variants(asked: Question) -> Variants:
    return Variants(
        key=list(asked.key.parts),
        kernel=asked.label,
        work_class=asked.work_class,
        candidates=asked.digests,
        common={"signature.x": "*fp32", "opt.num_warps": 4},
        each={digest: {"const.[3]": 1} for digest in asked.digests},
        recorded_at=1000.0,
    )


def _profile(asked: Question) -> ProfilePart:
    used = UsedVariant(
        kernel=asked.label,
        variant={"sig.x": "*fp32", "const.[3]": 1},
        options=[("num_warps", 4)],
        binary="0" * 64,
        key="0" * 24,
        phase="starting",
        starts=["s"],
        at=1000.0,
    )
    verdict = asked.key.verdict_name(asked.work_class, asked.digests)
    key = UsedKey(asked.label, verdict, asked.digests[0], "serving", ["s"], 1000.0)
    return ProfilePart(
        "server 1", f"s-{asked.key.digest[:8]}", [Start("s", 999.0, complete=True)], [used], [key]
    )


def _shared(asked: Question) -> SharedProfile:
    part = _profile(asked)
    variants, keys = (
        [msgspec.structs.replace(one, starts=[]) for one in entries]
        for entries in (part.variants, part.keys)
    )
    return SharedProfile(part.profile, asked.key.directory.split("/")[2], variants, keys)


def _wanted(asked: Question) -> Wanted:
    return Wanted(
        key=list(asked.key.parts),
        kernel=asked.label,
        work_class=asked.work_class,
        candidates=asked.digests,
        recorded_at=1000.0,
    )


KINDS = {
    "verdict": Kind(
        Verdict, VERDICT, _verdict, lambda q: q.key.verdict_name(q.work_class, q.digests)
    ),
    "measurement": Kind(
        Measurement,
        MEASUREMENT,
        _measurement,
        lambda q: q.key.measurement_name(q.work_class, q.digests[0]),
    ),
    "variants": Kind(
        Variants, VARIANTS, _variants, lambda q: q.key.variants_name(q.work_class, q.digests)
    ),
    "profile": Kind(ProfilePart, PROFILE, _profile, lambda q: profile_part_name(_profile(q))),
    "shared": Kind(
        SharedProfile,
        SHARED_PROFILE,
        _shared,
        lambda q: shared_profile_name("server 1", _shared(q).world),
    ),
    "wanted": Kind(Wanted, WANTED, _wanted, lambda q: q.key.wanted_name(q.work_class, q.digests)),
}

DEEP = 90
# Values that a field may get, as they stand in JSON.
VALUES: list[bytes] = [
    b"null",
    b"true",
    b"false",
    b"0",
    b"-0.0",
    b"1",
    b"-1",
    b"1e308",
    b"-1e308",
    b"5e-324",
    b"1e999",
    b"NaN",
    b"Infinity",
    b"9" * 30,
    b"9" * 400,
    b"9" * 5000,
    b"1" + b"0" * 300 + b".5",
    b'""',
    b"[]",
    b"{}",
    b"[[]]",
    b'[["a"]]',
    b'[["a","b"]]',
    b'[["key.n","b"],["key.n","c"]]',
    b"[" * 5000,
    b"[" * DEEP + b"]" * DEEP,
    b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b'{"a":1,"a":2}',
    b'"\\ud800"',
    b'"\\udc00\\ud800"',
    b'"\\u0000"',
    b'"\\n"',
    b'"\\r\\u001b[2J\\u001b]0;x\\u0007"',
    b'"\\u202e"',
    b'"\xff"',
    b'"\xed\xa0\x80"',
    '"c\u0663\u0664"'.encode(),
    b'"c03\\n"',
    b'"c99"',
    b'"cxx"',
    b'"c00"',
    b'"stock-cache"',
    b'"rechecked"',
    b'"scalar"',
    b'"tuple"',
    b'"' + b"x" * 3000 + b'"',
    b'"' + b"[" * 3000 + b'"',
    b'"/etc/passwd"',
    b'"../../../../x"',
    b'"/dev/zero"',
    b'"x/y"',
    b"\"__import__('os').system('false')\"",
    b'"{0.__class__}%s%n"',
    b'"tensordesc<fp16[64, 64],<python>>"',
    b'"[red]x[/red]"',
    b'[["B",["int","0x"]]]',
    b'[["B",["int","' + b"9" * 4000 + b'"]]]',
    b'[["B",["float","zz"]]]',
    b'[["B",["float","0x1p99999"]]]',
    b'[["B",["wtf8","eda080"]]]',
    b'[["B",["wtf8","zz"]]]',
    b'[["B",["bytes","0g"]]]',
    b'[["B",["set",["list"]]]]',
    b'[["B",["dict",[["list"],["none"]]]]]',
    b'[["B",["enum"]]]',
    b'[["B",[]]]',
    b'[["B",["none"]]]',
    b'[["num_ctas",["int","1"]]]',
    b'[["B",["atom","constexpr","[\\"atom\\",\\"constexpr\\",\\"[]\\"]"]]]',
    b'[["key.n","[\\"wtf8\\",\\"eda080\\"]"],["world.product","\\u001b[0m"]]',
    b'[["key.n","[\\"str\\",\\"\\\\ud800\\"]"],["kernel.name","\\u202e"]]',
    b'[["key.n","' + b"[" * 3000 + b'"],["key.n.dtype","[\\"int\\",\\"1\\"]"]]',
    b'[["key.n","[\\"atom\\",\\"constexpr\\",5]"],["key.m","[\\"atom\\",5,\\"x\\"]"]]',
    b'[["key.n","[\\"bool\\",1e999]"],["key.m","[\\"str\\",[1]]"],["key.o","{\\"0\\":1}"]]',
]

TOKENS = [
    b"\0",
    b"\n",
    b'"',
    b"\\",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"\xff",
    b"\\ud800",
    b"e999",
    b"-",
    b"9" * 50,
    b"[" * 200,
    b'"a":1,"a":2,',
    b" ",
    b"\xef\xbb\xbf",
]

HEADERS = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"[" * 5000,
    b'{"schema":"x"}',
    b'{"schema":1,"schema":2}',
    b'{"schema":"\\ud800","sha256":""}',
    b'{"schema":"tuneonce.verdict/1","sha256":"\\ud800"}',
    b"9" * 5000,
    b"\xff",
    b'{"a":' * 300,
]

# File names that somebody may give a record, ours replaced in part.
NAMES = [
    "x.verdict.json",
    "cab.000000000000.verdict.json",
    "c.verdict.json",
    "=.verdict.json",
    "c03.zzzzzzzzzzzz.verdict.json",
    ".verdict.json",
    "c03..measured.json",
    "c9.x.measured.json",
    "x.variants.json",
    "c03.verdict.json",
    "c03",
    "-rf",
    "~",
    "@",
    "c03.json.verdict.json",
]


def sign(schema: str, body: bytes) -> bytes:
    """A whole record, whatever is in its body."""
    head = {"schema": schema, "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(head, separators=(",", ":")).encode() + b"\n" + body


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a document values are, the document itself left out."""
    inside: list[tuple[Any, ...]] = [at] if at else []
    listed = dict(enumerate(value)) if isinstance(value, list) else value
    for name, item in listed.items() if isinstance(listed, dict) else ():
        inside += paths(item, (*at, name))
    return inside


_HOLE = "a value goes here"


def with_value(document: Any, where: tuple[Any, ...], value: bytes) -> bytes:
    """The JSON of the document with something else, verbatim, in one place."""
    at = document
    for step in where[:-1]:
        at = at[step]
    before, at[where[-1]] = at[where[-1]], _HOLE
    text = json.dumps(document, separators=(",", ":")).encode()
    at[where[-1]] = before
    return text.replace(b'"%s"' % _HOLE.encode(), value)


def hostile(kind: Kind, asked: Question, plan: Plan) -> tuple[str, bytes]:
    """A record for the key of `asked`, changed as `plan` says, and where it stands."""
    how, one, two, three, four = plan
    name = kind.name(asked)
    document = json.loads(msgspec.json.encode(kind.make(asked)))
    body = json.dumps(document, separators=(",", ":")).encode() + b"\n"
    everywhere = paths(document)
    match how % 8:
        case 0 | 1 | 2:  # one field
            where = everywhere[one % len(everywhere)]
            body = with_value(document, where, VALUES[two % len(VALUES)]) + b"\n"
        case 3:  # two fields, or a field that is there twice
            for number, value in ((one, two), (three, four)):
                where = everywhere[number % len(everywhere)]
                with contextlib.suppress(ValueError, LookupError, TypeError, RecursionError):
                    body = with_value(document, where, VALUES[value % len(VALUES)]) + b"\n"
                    document = json.loads(body)
        case 4:  # something somewhere in the bytes
            at, gone = one % len(body), three % 12
            body = body[:at] + TOKENS[two % len(TOKENS)] + body[at + gone :]
        case 5:  # bits
            changed = bytearray(body)
            for number in (one, two, three):
                changed[number % len(changed)] ^= 1 << (number // len(changed)) % 8
            body = bytes(changed)
        case 6:  # cut, or twice
            at, to = one % len(body), two % len(body)
            body = body[:at] + body[to:] + b"\n" * (three % 2)
        case 7:  # a field under another name
            fields = list(document)
            document[("", "later", "\ud800", "key", fields[0])[two % 5]] = document.pop(
                fields[one % len(fields)]
            )
            body = json.dumps(document, separators=(",", ":")).encode() + b"\n"
    data = sign(kind.schema, body)
    if four % 16 == 1:
        data = HEADERS[three % len(HEADERS)] + b"\n" + body
    if four % 16 == 2:
        data = data.replace(b"sha256", b"sha25", 1)
    return _placed(kind, asked, name, data, four), data


def _placed(kind: Kind, asked: Question, name: str, data: bytes, choice: int) -> str:
    """Where the record would be believed, if it can be read; or under a name of its own."""
    folder = name.rpartition("/")[0]
    if choice % 16 == 3:
        return f"{folder}/{NAMES[choice // 16 % len(NAMES)]}"
    with contextlib.suppress(BadRecord, ValueError):
        believed = place(unpack(data, kind.type))
        return check_name(f"{folder.rpartition('/')[0]}/{believed}")
    return name


def honest(kind: Kind, asked: Question) -> tuple[str, bytes]:
    """The record as it should be, and where it stands."""
    return kind.name(asked), pack(kind.make(asked))


@functools.cache
def asked_about(number: int) -> Question:
    """A question with a key of its own."""
    return question(*BLOCKS, n=number)
