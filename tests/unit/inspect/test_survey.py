"""What the events of a workload say of outputs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.factories import make_key, process, resolved
from tuneonce.inspect.survey import Apart, NotSeen, Survey, survey
from tuneonce.model.key import Key

KEY = make_key(tuning={"n": 64, "bits()": "0f"})


def outputs(key: Key | None = KEY, **fields: Any) -> dict[str, Any]:
    """All of one class, and the first is the fastest."""
    about = {} if key is None else {"key": key.digest, "work_class": "c02"}
    return {
        "t": 2.0,
        "e": "outputs",
        "kernel": "kernels:add",
        "key_text": "n=64 bits()=0f",
        **about,
        "candidates": 4,
        "ran": 4,
        "looked_at": 4,
        "classes": 1,
        "unsteady": [],
        "wrong": [],
        "apart": [],
        "distances": [],
        "disagrees": False,
        "left_out": None,
        "size": 4096,
        "seconds": 0.5,
        "fastest": "BLOCK=64",
        "fastest_ms": 0.2,
        "constant": "BLOCK=64",
        "constant_ms": 0.2,
        **fields,
    }


WRONG = {"wrong": ["BLOCK=8"], "apart": ["BLOCK=8"], "distances": [0.25], "classes": 2}
DISAGREE = {"disagrees": True, "apart": ["BLOCK=64", "BLOCK=8"], "distances": [None, 0.5]}


def surveyed(*events: dict[str, Any], strict: bool = False) -> Survey:
    about: dict[str, Any] = {"command": ["x.py"], "status": 3, "store": "", "seconds": 9.0}
    return survey([process(*events)], strict=strict, **about)


def test_a_key_whose_candidates_write_the_same() -> None:
    found = surveyed(resolved(KEY, "miss"), outputs(), strict=True)
    [one] = found.keys
    assert (one.kernel, one.key, one.digest, one.work_class) == (
        "kernels:add", "n=64", KEY.digest, "c02",
    )  # fmt: skip
    assert (one.candidates, one.ran, one.looked_at, one.classes) == (4, 4, 4, 1)
    assert (one.constant_ms, one.fastest_ms, one.cost) == (0.2, 0.2, 0.0)
    assert (one.size, one.seconds) == (4096, 0.5)
    assert (found.schema, found.status, found.processes) == ("tuneonce.bits/1", 3, 1)
    assert (found.well, found.not_seen, found.left_out) == (True, [], {})


def test_what_constant_bits_cost() -> None:
    [one] = surveyed(outputs(constant_ms=0.25, classes=2)).keys
    assert one.cost == pytest.approx(0.25)
    [one] = surveyed(outputs(constant=None, constant_ms=None, classes=0)).keys
    assert (one.constant, one.cost) == (None, None)


def test_who_is_wrong_and_who_disagrees() -> None:
    [one] = surveyed(outputs(**WRONG)).keys
    assert (one.wrong, one.disagree) == ([Apart("BLOCK=8", 0.25)], [])
    [one] = surveyed(outputs(**DISAGREE)).keys
    assert (one.wrong, one.disagree) == ([], [Apart("BLOCK=64", None), Apart("BLOCK=8", 0.5)])


@pytest.mark.parametrize(
    ("fields", "well", "strictly"),
    [
        ({}, True, True),
        ({"ran": 3, "looked_at": 3}, True, True),  # who does not run never wins
        ({"classes": 2}, True, False),
        ({"unsteady": ["BLOCK=8"]}, True, False),
        ({"unsteady": ["BLOCK=8"] * 4, "classes": 0}, True, False),
        ({"looked_at": 3, "left_out": "memory"}, True, False),
        ({"looked_at": 0, "classes": 0, "left_out": "ranks"}, True, False),
        ({"looked_at": 0, "classes": 0, "ran": 0}, True, False),
        (WRONG, False, False),
        (DISAGREE, False, False),
    ],
)
def test_what_it_fails_for(fields: dict[str, Any], well: bool, strictly: bool) -> None:
    good = outputs(make_key("mul"))
    assert surveyed(good, outputs(**fields)).well is well
    assert surveyed(good, outputs(**fields), strict=True).well is strictly


def test_what_was_left_out_is_counted_by_reason() -> None:
    one, two = (outputs(left_out=why) for why in ("ranks", "memory"))
    assert surveyed(one, two, two, outputs()).left_out == {"ranks": 1, "memory": 2}


def test_keys_that_were_met_and_not_tuned() -> None:
    other = make_key("mul", tuning={"n": 8, "bits()": "0f"})
    found = surveyed(resolved(KEY, "miss"), outputs(), resolved(other, "miss"))
    assert found.not_seen == [NotSeen("kernels:mul", "n=8", other.digest, "c02")]
    assert found.well
    assert not surveyed(outputs(), resolved(other, "miss"), strict=True).well
    # What another process has tuned meanwhile is no other key.
    assert surveyed(outputs(), resolved(KEY, "hit")).not_seen == []


def test_a_key_that_no_store_can_keep() -> None:
    [one] = surveyed(outputs(None)).keys
    assert (one.digest, one.work_class, one.classes) == (None, None, 1)


def test_in_the_order_of_kernels_and_keys() -> None:
    events = [outputs(kernel="b:k", key_text=f"n={n}") for n in (128, 64)]
    events.append(outputs(kernel="a:k", key_text="bits()=0f"))
    assert [(one.kernel, one.key) for one in surveyed(*events).keys] == [
        ("a:k", "-"), ("b:k", "n=64"), ("b:k", "n=128"),
    ]  # fmt: skip


def test_events_of_other_versions() -> None:
    odd = {"unsteady": 3, "apart": {"a": 1}, "distances": "x", "fastest_ms": True, "left_out": 3}
    [one] = surveyed({"e": "outputs", **odd}, {"e": "problem", "what": "odd"}).keys
    assert (one.kernel, one.key, one.unsteady, one.wrong, one.cost) == ("?", "?", [], [], None)
    msgspec.to_builtins(surveyed({"e": "outputs", **odd}))
    [one] = surveyed(outputs(apart=[1], distances=["far"])).keys
    assert one.wrong == [Apart("1", None)]
