"""What the events of a workload add up to."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.factories import H100, make_key, process, put_verdict, resolved
from tuneonce.inspect.listing import listing
from tuneonce.inspect.workload import Filled, NotMet, Regret, filled, regret
from tuneonce.model.key import Key
from tuneonce.store.memory import MemoryStore

TIMES = {64: (0.2,), 128: (0.1,)}


def tune(key: Key | None = None, **fields: Any) -> dict[str, Any]:
    about = {} if key is None else {"key": key.digest, "work_class": "c02"}
    return {
        "t": 2.0,
        "e": "tune",
        "kernel": "kernels:add",
        **about,
        "key_text": "n=64",
        "winner": "BLOCK=128",
        "first_ms": 0.3,
        "winner_ms": 0.2,
        "worst_ms": 0.9,
        "candidates": 25,
        "measured": 24,
        "seconds": 8.0,
        "load_s": 0.25,
        "sample_s": 0.5,
        "compile_s": 30.0,
        **fields,
    }


def fill(*processes: list[dict[str, Any]]) -> Filled:
    return filled(processes, command=["x.py"], status=3, store="memory:", seconds=9.0)


def test_a_tuning() -> None:
    key = make_key()
    found = fill(process(resolved(key, "miss"), tune(key)))
    [one] = found.tuned
    assert (one.kernel, one.key, one.digest, one.work_class) == (
        "kernels:add", "n=64", key.digest, "c02",
    )  # fmt: skip
    assert (one.winner, one.first_ms, one.winner_ms, one.worst_ms) == ("BLOCK=128", 0.3, 0.2, 0.9)
    assert round(one.gain or 0, 6) == 1.5
    assert (one.seconds, one.measure_s, one.compile_s) == (8.0, 0.75, 30.0)
    assert (found.schema, found.status, found.processes) == ("tuneonce.tune/1", 3, 1)
    assert (found.known, found.provisional, found.not_persisted) == (0, 0, 0)


def test_keys_are_counted_once() -> None:
    one, two, three = (make_key(tuning={"n": n}) for n in (1, 2, 3))
    found = fill(
        process(resolved(one, "miss"), tune(one), resolved(two, "hit"), resolved(two, "hit")),
        process(resolved(one, "hit"), resolved(two, "hit"), resolved(three, "provisional")),
    )
    assert (len(found.tuned), found.known, found.provisional) == (1, 1, 1)


def test_in_the_order_of_kernels_and_keys() -> None:
    events = [tune(kernel="b:k", key_text=f"n={n}") for n in (128, 64)] + [tune(kernel="a:k")]
    found = fill(process(*events))
    assert [(one.kernel, one.key) for one in found.tuned] == [
        ("a:k", "n=64"), ("b:k", "n=64"), ("b:k", "n=128"),
    ]  # fmt: skip


def test_events_of_other_versions() -> None:
    bare = {"e": "tune", "first_ms": "fast", "winner_ms": True, "worst_ms": float("inf")}
    found = fill(process(bare, {"e": "new"}, {"e": "problem", "what": "odd"}), process())
    [one] = found.tuned
    assert (one.kernel, one.gain, one.winner, one.digest, one.seconds) == ("?", None, None, None, 0)
    assert found.problems == {"odd": 1}
    assert found.processes == 2
    msgspec.json.encode(found)


# -- regret --------------------------------------------------------------------------------------


def recheck(key: Key, share: float | None, **fields: Any) -> dict[str, Any]:
    about = {"e": "recheck", "kernel": "kernels:add", "key": key.digest, "work_class": "c02"}
    measured = {} if share is None else {"regret": share, "noise": 0.01, "wrong": share > 0.03}
    return {**about, "key_text": "n=64", "winner": "BLOCK=64", **measured, **fields}


def check(store: MemoryStore, *processes: list[dict[str, Any]]) -> Regret:
    return regret(
        processes,
        listing(store).entries,
        command=["x.py"],
        status=0,
        store="memory:",
        seconds=1.0,
        fix=False,
    )


def test_regret_by_key_and_kernel() -> None:
    key = make_key()
    found = check(
        MemoryStore(),
        process(
            recheck(key, 0.0),
            recheck(key, 0.5, fixed=True, best="BLOCK=128", fastest="BLOCK=128"),
            recheck(key, 0.01),
            recheck(key, None),
            recheck(key, 0.2, kernel="kernels:mul", provisional=True),
            tune(key),
        ),
    )
    add, mul = found.kernels
    assert (add.kernel, add.checked, add.wrong, add.fixed) == ("kernels:add", 4, 1, 1)
    assert (add.median_regret, add.max_regret) == (0.01, 0.5)
    assert (mul.checked, mul.wrong, mul.fixed, mul.max_regret) == (1, 1, 0, 0.2)
    assert [one.regret for one in found.checked] == [0.0, 0.5, 0.01, None, 0.2]
    assert found.checked[-1].provisional
    assert found.tuned == 1


def test_verdicts_of_this_gpu_that_were_not_met() -> None:
    store = MemoryStore()
    met, other = make_key(), make_key(tuning={"n": 7})
    for key in (met, other, make_key(product=H100)):
        put_verdict(store, key, TIMES)
    put_verdict(store, met, TIMES, work_class="c05")
    found = check(store, process(resolved(met, "hit"), recheck(met, 0.0)))
    winner = "BLOCK=128 num_warps=4"
    assert found.not_met == [
        NotMet("kernels:add", "n=7", other.digest, "c02", winner),
        NotMet("kernels:add", "n=64 x=bf16", met.digest, "c05", winner),
    ]


def test_where_nothing_was_met_this_gpu_is_unknown() -> None:
    store = MemoryStore()
    put_verdict(store, make_key(), TIMES)
    assert check(store).not_met == []
    assert check(store, process()).kernels == []
