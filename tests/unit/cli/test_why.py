"""`tuneonce why`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.factories import H100, NOON, make_key, process, put_verdict, resolved, write_events
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2,), 128: (0.1,)}


def test_why_names_the_parts_that_differ(tell: Tell, store: FileStore, events: Path) -> None:
    put_verdict(store, make_key(callee_helper="a", product=H100), TIMES)
    missed = make_key(callee_helper="b")
    write_events(events, process(resolved(missed, "miss", blocks=(64, 128, 512)), started=NOON + 9))
    said = tell("why", "add")
    assert said.code == 0
    for text in (
        "callee.helper differs",
        "world.product: NVIDIA H100 → NVIDIA H200",
        "candidates: BLOCK=512 num_warps=4 is new",
        "nothing was known of its 3 candidates",
        "server.py --port 80",
    ):
        assert text in said.words
    document = tell("why", "kernels:add", "--json").json
    assert (document["schema"], document["state"]) == ("tuneonce.why/1", "miss")
    (miss,) = document["misses"]
    parts = [difference["part"] for difference in miss["nearest"]["differences"]]
    assert parts == ["kernel.callee.helper", "world.product", "candidates"]


def test_why_with_a_wholly_other_list_stays_short(
    tell: Tell, store: FileStore, events: Path
) -> None:
    put_verdict(store, make_key(), TIMES)
    blocks = tuple(range(1000, 1030))
    write_events(events, process(resolved(make_key(), "miss", blocks=blocks), started=NOON + 9))
    assert "… and 20 more" in tell("why", "add").out
    (miss,) = tell("why", "add", "--json").json["misses"]
    assert len(miss["nearest"]["differences"]) == 32


def test_why_after_a_hit(tell: Tell, store: FileStore, events: Path) -> None:
    put_verdict(store, make_key(), TIMES)
    write_events(events, process(resolved(make_key(), "hit"), started=NOON + 9))
    said = tell("why", "add")
    assert "1 hit" in said.out
    assert "BLOCK=128 num_warps=4" in said.out
    assert tell("why", "add", "--json").json["state"] == "hit"


def test_why_of_a_kernel_that_is_not_persisted(tell: Tell, events: Path) -> None:
    event = resolved(make_key(), "not_persisted", reason="not_encodable:a.B")
    write_events(events, process(event))
    assert (
        "1 key not persisted, tuned as stock would: not_encodable:a.B" in tell("why", "add").words
    )


def test_why_of_a_kernel_that_no_process_met(tell: Tell, store: FileStore, events: Path) -> None:
    put_verdict(store, make_key(), TIMES)
    said = tell("why", "add")
    assert said.code == 0
    assert "None of the last 0 processes" in said.out
    old = process(resolved(make_key(), "miss"))
    write_events(events, old, process(), process())
    assert "None of the last 2 processes" in tell("why", "add", "--last", "2").words
    assert len(tell("why", "add", "--last", "3", "--json").json["misses"]) == 1


def test_why_of_an_unknown_kernel(tell: Tell, store: FileStore, events: Path) -> None:
    write_events(events, process(resolved(make_key("softmax_fwd"), "hit")))
    said = tell("why", "softmax_fw")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert "did you mean kernels:softmax_fwd?" in said.err


def test_why_tells_of_bad_records(tell: Tell, store: FileStore) -> None:
    bad = put_verdict(store, make_key(), TIMES)
    store.put(bad, b"{}")
    said = tell("why", "add")
    assert said.code == 0
    assert f"problem: {bad}" in said.out
