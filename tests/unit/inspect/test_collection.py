"""The document of a plan."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from tests.factories import H100, let_age, make_key, make_part, put_part, put_verdict
from tuneonce.inspect.collection import collection
from tuneonce.inspect.garbage import Criteria, Places, plan
from tuneonce.store.files import FileStore

TIMES = {64: (0.2,), 128: (0.1,)}


def test_keys_are_summed_by_kernel_and_world(tmp_path: Path) -> None:
    store = FileStore(tmp_path)
    for key in (make_key(), make_key(tuning={"n": 1}), make_key(product=H100)):
        let_age(store, put_verdict(store, key, TIMES))
    let_age(store, put_part(store, make_part()))
    (tmp_path / ".tmp-1-0123456789abcdef").write_text("cut off")
    put_verdict(store, make_key("new"), TIMES)
    now = time.time() + 2 * 3600
    found = plan(store, Criteria(written_before=now - 86400), now=now, places=Places())
    told = collection(store, found, None, note="And so on.")
    assert told.numbers == (3, 1)
    rows = [(one.kind, one.kernel, one.world, one.number) for one in told.groups]
    assert rows == [
        ("key", "add", "NVIDIA-H100-90", 1),
        ("key", "add", "NVIDIA-H200-90", 2),
        ("profile", "server", "", 1),
    ]
    assert sum(one.bytes for one in told.groups) == sum(one.bytes for one in told.going)
    assert told.bytes_after == told.bytes - sum(one.bytes for one in told.going) - 7
    assert told.left_over["temporary"].files == 1
    document = msgspec.to_builtins(told)
    assert (document["schema"], document["removed"]) == ("tuneonce.gc/1", None)
    assert document["going"][0]["folder"].startswith(("v1/", "profiles/"))
    assert document["note"] == "And so on."
