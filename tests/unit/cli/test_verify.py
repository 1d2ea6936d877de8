"""`tuneonce verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tests.factories import (
    make_key,
    make_part,
    make_shared,
    put_loose,
    put_part,
    put_shared,
    put_verdict,
)
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

TIMES = {64: (0.2,), 128: (0.1,)}


def records(store: FileStore) -> set[str]:
    return set(store.list("v1/"))


def test_verify_a_good_store(tell: Tell, store: FileStore) -> None:
    Path(store.describe().location).mkdir()
    assert tell("verify").code == 0
    put_verdict(store, make_key(), TIMES)
    put_loose(store, make_key("mul"), 64, 0.1)
    said = tell("verify")
    assert said.code == 0
    assert "1 verdict, 1 loose measurement, 0 lists of compiled variants" in said.words
    assert "and 0 keys to be measured are whole" in said.words
    assert "0 records not" in said.words


def test_verify_a_bad_record(tell: Tell, store: FileStore) -> None:
    bad = put_verdict(store, make_key(), TIMES)
    good = put_verdict(store, make_key("mul"), TIMES)
    data = store.get(bad)
    assert data is not None
    store.put(bad, data.replace(b"0.2", b"0.3"))
    said = tell("verify")
    assert said.code == 1
    assert f"{bad}: checksum" in said.out
    document = tell("verify", "--json").json
    assert (document["schema"], document["verdicts"]) == ("tuneonce.verify/1", 1)
    assert document["bad"][0]["set_aside"] is False
    assert records(store) == {good, bad}
    said = tell("verify", "--set-aside")
    assert (said.code, records(store)) == (1, {good})
    assert f"set aside: {bad}" in said.out
    assert tell("verify").code == 0


def test_verify_reads_profiles(tell: Tell, store: FileStore) -> None:
    good = put_part(store, make_part())
    assert "1 part of profiles is whole, too." in tell("verify").words
    shared = put_shared(store, make_shared())
    assert "2 parts of profiles are whole, too." in tell("verify").words
    bad = put_part(store, make_part("train 2"))
    data = store.get(good)
    assert data is not None
    store.put(bad, data)
    said = tell("verify", "--json")
    assert (said.code, said.json["profiles"]) == (1, 2)
    assert [(one["name"], one["reason"]) for one in said.json["bad"]] == [(bad, "misplaced")]
    assert tell("verify", "--set-aside").code == 1
    assert set(store.list("profiles/")) == {good, shared}
    assert tell("verify").code == 0


def test_verify_leaves_what_it_does_not_know_of_profiles(tell: Tell, store: FileStore) -> None:
    put_part(store, make_part())
    store.put("profiles/server~0123/x.profile.9.json", b"{}")
    said = tell("verify")
    assert said.code == 0
    assert (
        "not known to this version, left alone: profiles/server~0123/x.profile.9.json" in said.words
    )
