"""The bytes of records: whole and of our schema, or refused with a reason."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fakes import candidate, measured
from tuneonce.model.codec import encode
from tuneonce.model.records import (
    MEASUREMENT,
    VERDICT,
    BadRecord,
    Measurement,
    Sighting,
    Verdict,
    pack,
    unpack,
)

SOME = measured(16, 1.0, 0.9, 1.1)


def verdict(*measurements: Measurement, **fields: Any) -> Verdict:
    about: dict[str, Any] = {
        "key": [("kernel.name", "add"), ("key.n", '["int","1"]')],
        "about": {"driver": "580.1"},
        "work_class": "c03",
        "programs": 64,
        "candidates": [candidate(16).digest, candidate(32).digest],
        "winner": candidate(16).digest,
        "measurements": list(measurements),
        "origin": "measured",
        "tune_s": 4.0,
        "compile_s": 3.0,
        "published_at": 1763000000.0,
        "tuneonce": "0.1.0",
    }
    return Verdict(**{**about, **fields})


FINITE = st.floats(allow_nan=False, allow_infinity=False)
# Exactly zero is no time; negative numbers are what a program's own benchmark may return.
TIMES = st.builds(lambda first, more: (first, *more), FINITE.filter(bool), st.lists(FINITE))
# What JSON can hold: no lone surrogates.
TEXT = st.text(max_size=8)
MEASUREMENTS = st.builds(
    lambda times, failed, **fields: Measurement(
        times=() if failed is not None else times, failed=failed, **fields
    ),
    candidate=TEXT,
    config=st.lists(
        st.tuples(TEXT, st.sampled_from([None, 1, "a", (1, [2.5])]).map(encode)), max_size=3
    ),
    times=TIMES,
    shape=st.sampled_from(["list", "tuple", "scalar"]),
    failed=st.none() | TEXT,
    method=TEXT,
    work_class=st.sampled_from(["c00", "c12", "cxx"]),
    measured_at=FINITE,
    seconds=FINITE,
    compile_s=FINITE,
    key=TEXT,
)
SIGHTINGS = st.builds(
    Sighting,
    programs=st.none() | st.integers(0, 2**40),
    at=FINITE,
    size=st.integers(0, 2**40),
    classes=st.dictionaries(TEXT, st.integers(-1, 3), max_size=3),
    distances=st.dictionaries(TEXT, st.none() | FINITE.map(abs), max_size=3),
    wrong=st.lists(TEXT, max_size=2),
    disagrees=st.booleans(),
)
VERDICTS = st.builds(
    lambda candidates, number, **fields: Verdict(
        candidates=candidates, winner=candidates[number % len(candidates)], **fields
    ),
    candidates=st.lists(TEXT, min_size=1, max_size=4),
    number=st.integers(0, 3),
    key=st.lists(st.tuples(TEXT, TEXT), max_size=3),
    about=st.dictionaries(TEXT, TEXT, max_size=2),
    work_class=st.sampled_from(["c00", "c12", "cxx"]),
    programs=st.none() | st.integers(0, 2**80),
    measurements=st.lists(MEASUREMENTS, max_size=3),
    origin=st.sampled_from(["measured", "assembled", "stock-cache"]),
    tune_s=FINITE,
    compile_s=FINITE,
    published_at=FINITE,
    tuneonce=TEXT,
    sightings=st.just(msgspec.UNSET) | st.lists(SIGHTINGS, min_size=1, max_size=2),
)


@settings(deadline=None)
@given(MEASUREMENTS | VERDICTS)
def test_round_trip(record: Measurement | Verdict) -> None:
    assert unpack(pack(record), type(record)) == record


@settings(deadline=None)
@given(MEASUREMENTS | VERDICTS)
def test_two_lines_of_json_that_describe_themselves(record: Measurement | Verdict) -> None:
    data = pack(record)
    head, body, rest = data.split(b"\n")
    assert rest == b""
    header = json.loads(head)
    assert header["schema"] == (VERDICT if isinstance(record, Verdict) else MEASUREMENT)
    assert header["sha256"] == hashlib.sha256(body + b"\n").hexdigest()
    unset = {"sightings"} if getattr(record, "sightings", None) is msgspec.UNSET else set()
    assert json.loads(body).keys() == set(record.__struct_fields__) - unset


SEEN = Sighting(
    programs=64,
    at=1763000000.0,
    size=4096,
    classes={"a": 0, "b": 1, "c": -1},
    distances={"b": 0.5, "c": None},
    wrong=["b"],
    disagrees=False,
)


def test_a_version_that_knows_no_sightings_reads_the_rest() -> None:
    """It passes over fields that it does not know, as every version has."""

    class Before(msgspec.Struct, frozen=True, forbid_unknown_fields=False):
        winner: str
        tuneonce: str

    body = pack(verdict(SOME, sightings=[SEEN])).split(b"\n")[1]
    found = msgspec.json.decode(body, type=Before)
    assert found.winner == candidate(16).digest


@pytest.mark.parametrize(
    "changed",
    [{"classes": {"a": -2}}, {"distances": {"a": -0.1}}, {"distances": {"a": "far"}}, {"wrong": 1}],
)
def test_a_sighting_that_is_none(changed: dict[str, Any]) -> None:
    broken = {**msgspec.to_builtins(SEEN), **changed}
    assert reason_of(with_fields(verdict(SOME), sightings=[broken]), Verdict) == "schema"


@pytest.mark.parametrize("field", [{"at": math.inf}, {"distances": {"a": math.nan}}])
def test_a_sighting_that_json_cannot_hold(field: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="finite"):
        pack(verdict(SOME, sightings=[msgspec.structs.replace(SEEN, **field)]))


def reason_of(data: bytes, kind: type[Any] = Measurement) -> str:
    with pytest.raises(BadRecord) as caught:
        unpack(data, kind)
    assert str(caught.value).startswith(caught.value.reason)
    return caught.value.reason


def record_of(body: bytes, *, schema: Any = MEASUREMENT) -> bytes:
    """A record whose body is what is given, and whose checksum says so."""
    body += b"\n"
    header = {"schema": schema, "sha256": hashlib.sha256(body).hexdigest()}
    return json.dumps(header).encode() + b"\n" + body


def with_fields(record: Measurement | Verdict, **fields: Any) -> bytes:
    body = {**msgspec.to_builtins(record), **fields}
    schema = VERDICT if isinstance(record, Verdict) else MEASUREMENT
    return record_of(json.dumps(body).encode(), schema=schema)


@settings(deadline=None)
@given(st.data())
def test_no_part_of_a_record_is_a_record(data: st.DataObject) -> None:
    whole = pack(SOME)
    cut = data.draw(st.integers(0, len(whole) - 1))
    reason_of(whole[:cut])
    reason_of(whole[cut + 1 :] if cut < len(whole) - 1 else b"")


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_flipped_bit_goes_unnoticed(data: st.DataObject) -> None:
    whole = bytearray(pack(SOME))
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    reason_of(bytes(whole))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_no_record(data: bytes) -> None:
    reason_of(data)
    reason_of(data + b"\n")
    reason_of(b'{"schema":"x"}\n' + data + b"\n")


@pytest.mark.parametrize("data", [b"", b"\n", b"{}", pack(SOME)[:-1], pack(SOME)[:100]])
def test_truncated(data: bytes) -> None:
    assert reason_of(data) in ("truncated", "schema")
    assert reason_of(pack(SOME)[:-1]) == "truncated"


@pytest.mark.parametrize(
    "head",
    [b"", b"{", b"[]", b"null", b'"a"', b"{}", b'{"schema":"tuneonce.measurement/1"}',
     b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000],
    ids=lambda head: repr(head[:40]),
)  # fmt: skip
def test_a_header_that_is_none(head: bytes) -> None:
    assert reason_of(head + b"\n{}\n") == "schema"


def test_checksum() -> None:
    head, body, _ = pack(SOME).split(b"\n")
    changed = body.replace(b"1.1", b"0.1")
    assert changed != body
    assert reason_of(b"%b\n%b\n" % (head, changed)) == "checksum"
    assert reason_of(b"%b\n%b\n\n" % (head, body)) == "checksum"


@pytest.mark.parametrize("schema", ["tuneonce.measurement/2", "tuneonce.other/1", "", 5, None, []])
def test_version(schema: Any) -> None:
    body = pack(SOME).split(b"\n")[1]
    assert reason_of(record_of(body, schema=schema)) == "version"


@pytest.mark.parametrize(
    ("schema", "in_the_way"),
    [("tuneonce.measurement/2", False), ("tuneonce.measurement/x", True), ("x/2", True), (5, True)],
)
def test_what_another_version_needs_is_in_nobodys_way(schema: Any, in_the_way: bool) -> None:
    with pytest.raises(BadRecord) as caught:
        unpack(record_of(pack(SOME).split(b"\n")[1], schema=schema), Measurement)
    assert caught.value.in_the_way is in_the_way


def test_another_kind_of_record() -> None:
    assert reason_of(pack(verdict(SOME)), Measurement) == "version"
    assert reason_of(pack(SOME), Verdict) == "version"


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"[]", b"{}", b"{", b"\xff", b"[" * 100_000, b'{"candidate":' * 100_000],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_record(body: bytes) -> None:
    assert reason_of(record_of(body)) == "schema"


@pytest.mark.parametrize(
    "fields",
    [
        {"times": []},
        {"times": [], "shape": "scalar"},
        {"times": ["1"]},
        {"times": [None]},
        {"times": None},
        {"shape": "dict"},
        {"failed": 1},
        {"failed": "did not run"},
        {"work_class": "c3"},
        {"work_class": "../c03"},
        {"work_class": "x"},
        {"work_class": "c03\n"},
        {"work_class": "c\u0663\u0664"},
        {"config": {"BLOCK": 1}},
        {"config": [["BLOCK"]]},
        {"config": [["BLOCK", ["int", 16]]]},
        {"config": [["BLOCK", ["dict", {}]]]},
        {"candidate": 1},
        {"measured_at": "now"},
    ],
    ids=json.dumps,
)
def test_a_measurement_that_means_nothing(fields: dict[str, Any]) -> None:
    assert reason_of(with_fields(SOME, **fields)) == "schema"


def test_numbers_beyond_what_a_float_holds() -> None:
    body = json.dumps(msgspec.to_builtins(SOME)).encode()
    for number in (b"1e400", b"9" * 400, b"NaN", b"Infinity", b"-Infinity"):
        assert reason_of(record_of(body.replace(b"1.1", number))) == "schema"


@pytest.mark.parametrize(
    "fields",
    [
        {"winner": "somebody else"},
        {"candidates": []},
        {"work_class": "all"},
        {"key": [["kernel.name"]]},
        {"key": "kernel.name"},
        {"origin": "guessed"},
        {"measurements": [{}]},
        {"measurements": None},
        {"programs": "64"},
    ],
    ids=json.dumps,
)
def test_a_verdict_that_means_nothing(fields: dict[str, Any]) -> None:
    assert reason_of(with_fields(verdict(SOME), **fields), Verdict) == "schema"


LONE = b'"\\ud800"'
NAMES_TWICE = [
    (b'"times":', b'"times":[5.0],"times":'),
    (b'"candidate":', b'"note":{"a":1,"a":2},"candidate":'),
    (b'"candidate":', b'"candidate":"0","candidate":'),
]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        *NAMES_TWICE,
        (b'"do_bench"', LONE),
        (b'"do_bench"', b'"\xff"'),
        (b'"do_bench"', b'"\xed\xa0\x80"'),
        (b'"candidate":', b'"later":%s,"candidate":' % LONE[:-1]),
        (b'"candidate":', b'"later":"\xff","candidate":'),
        (b'"candidate":', b'"\xff":1,"candidate":'),
        (b'"candidate":', b'"later":1e999,"candidate":'),
        (b'"candidate":', b'"later":NaN,"candidate":'),
        (b'"candidate":', b'"later":%s,"candidate":' % (b"9" * 5000)),
        (b'"candidate":', b'"later":%s1%s,"candidate":' % (b"[" * 900, b"]" * 901)),
        (b'["int","16"]', b'["tuple",' + b"[" * 80 + b"]" * 81),
    ],
    ids=lambda text: repr(text[:30]),
)
def test_a_right_checksum_makes_nothing_right(old: bytes, new: bytes) -> None:
    body = pack(SOME).split(b"\n")[1]
    assert old in body
    assert reason_of(record_of(body.replace(old, new, 1))) == "schema"


def test_a_name_that_is_twice_in_the_header() -> None:
    head, body, _ = pack(SOME).split(b"\n")
    twice = head.replace(b'{"schema"', b'{"schema":"tuneonce.measurement/1","schema"')
    assert reason_of(twice + b"\n" + body + b"\n") == "schema"
    assert reason_of(head + b" " * 1000 + b"\n" + body + b"\n") == "schema"
    assert unpack(head + b" \n" + body + b"\n", Measurement) == SOME


def test_the_deepest_value_that_an_argument_may_have() -> None:
    value: Any = 1
    for _ in range(32):
        value = {"a": value}
    deep = msgspec.structs.replace(SOME, config=[("A", encode(value))])
    assert unpack(pack(deep), Measurement) == deep


@pytest.mark.parametrize("times", [[0.0], [0], [-0.0, 1.0, 2.0]])
def test_a_time_of_exactly_zero_says_nothing(times: list[float]) -> None:
    assert reason_of(with_fields(SOME, times=times)) == "no_time"
    nothing = msgspec.structs.replace(SOME, times=tuple(times))
    body = {"measurements": [msgspec.to_builtins(SOME), msgspec.to_builtins(nothing)]}
    assert reason_of(with_fields(verdict(SOME), **body), Verdict) == "no_time"
    for record in (nothing, verdict(SOME, nothing)):
        with pytest.raises(ValueError, match="exactly zero"):
            pack(record)


def test_scores_may_be_negative_and_a_later_number_zero() -> None:
    for times in ((-1.0,), (1.0, 0.0, 2.0)):
        record = measured(16, *times)
        assert unpack(pack(record), Measurement) == record


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("field", ["tune_s", "compile_s", "published_at", "seconds", "measured_at"])
def test_numbers_that_nobody_could_read_again_are_not_packed(field: str, number: float) -> None:
    of_verdict = field in ("tune_s", "compile_s", "published_at")
    one = SOME if of_verdict else msgspec.structs.replace(SOME, **{field: number})
    with pytest.raises(ValueError, match="finite"):
        pack(verdict(one, **({field: number} if of_verdict else {})))


def test_fields_of_a_later_version_are_passed_over() -> None:
    assert unpack(with_fields(SOME, energy_j=3.5, note={"a": [1]}), Measurement) == SOME
    made = verdict(SOME)
    assert unpack(with_fields(made, signature="..."), Verdict) == made


def test_records_without_the_key_can_be_read() -> None:
    body = msgspec.to_builtins(SOME)
    del body["key"]
    assert unpack(record_of(json.dumps(body).encode()), Measurement) == SOME


@pytest.mark.parametrize("time", [math.inf, -math.inf, math.nan])
def test_times_that_json_cannot_hold_are_not_packed(time: float) -> None:
    bad = measured(16, 1.0, time, 1.0)
    with pytest.raises(ValueError, match="finite"):
        pack(bad)
    with pytest.raises(ValueError, match="finite"):
        pack(verdict(SOME, bad))


def test_text_that_json_cannot_hold_is_not_packed() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        pack(measured(16, failed="\ud800"))


def test_what_cannot_be_is_not_made() -> None:
    with pytest.raises(ValueError, match="either times or a failure"):
        measured(16)
    with pytest.raises(ValueError, match="either times or a failure"):
        measured(16, 1.0, failed="did not run")
    with pytest.raises(ValueError, match="not one of its candidates"):
        verdict(winner="somebody else")


def test_as_triton_held_it() -> None:
    def timing(shape: str, *times: float, failed: str | None = None) -> Any:
        one = measured(16, *times, failed=failed)
        return msgspec.structs.replace(one, shape=shape).as_timing()

    assert timing("list", 1.0, 0.9, 1.1) == [1.0, 0.9, 1.1]
    assert timing("tuple", 1.0, 0.9, 1.1) == (1.0, 0.9, 1.1)
    assert timing("scalar", 1.0) == 1.0
    assert timing("list", failed="did not run") == [math.inf] * 3


FIRST_IN_THREADS = """
import os, sys, threading
from tuneonce.model.records import Measurement, unpack

sys.setswitchinterval(1e-6)
data = sys.stdin.buffer.read()

def read_in_threads():
    together, read = threading.Barrier(8), []
    def go():
        together.wait()
        read.append(unpack(data, Measurement).candidate)
    threads = [threading.Thread(target=go) for _ in range(8)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
    return 8 - len(read)

for _ in range(200):
    pid = os.fork()
    if not pid:
        os._exit(read_in_threads())
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status:
        sys.exit(f"a process of eight threads ended with {status}")
"""


def test_threads_may_read_the_first_records_of_a_process() -> None:
    """Two hundred processes that have read nothing yet: it takes a moment that is rarely met."""
    child = subprocess.run(
        [sys.executable, "-c", FIRST_IN_THREADS],
        input=pack(SOME),
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == 0, child.stderr.decode()
