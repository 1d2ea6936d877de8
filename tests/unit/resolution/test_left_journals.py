"""Journals as files."""

from __future__ import annotations

import os
from pathlib import Path

from tests.factories import leave_in_journal, make_key
from tuneonce.model.record_names import journal_file
from tuneonce.resolution.journal import Journals
from tuneonce.resolution.left_journals import held, journals_in


def test_each_journal_says_whose_key_it_is_of(tmp_path: Path) -> None:
    place = tmp_path / "store/.journal"
    key = make_key()
    leave_in_journal(place, key, 64, 0.1)
    (place / "stray").write_text("none of ours")
    ours, stray = sorted(
        journals_in([place, place, tmp_path / "none"]), key=lambda j: -len(j.below)
    )
    assert (ours.below, stray.below) == (key.directory, "")
    assert ours.bytes == ours.path.stat().st_size > 4096
    assert ours.owner == os.geteuid()


def test_one_that_a_process_writes_to_is_not_held(tmp_path: Path) -> None:
    place, key = tmp_path / "store/.journal", make_key()
    leave_in_journal(place, key, 64, 0.1)
    [left] = journals_in([place])
    journal = Journals(lambda: [place]).begin(journal_file(key.digest, "c02"), "gpu", key.directory)
    assert journal is not None
    with held([left]) as found:
        assert found is None
    journal.close()
    with held([left]) as found:
        assert found is not None
        assert [one.remove() for one in found] == [left.bytes]
        assert [one.remove() for one in found] == [0]
    assert not left.path.exists()


def test_one_that_has_gone_is_in_nobody_s_way(tmp_path: Path) -> None:
    place = tmp_path / "store/.journal"
    leave_in_journal(place, make_key(), 64, 0.1)
    [left] = journals_in([place])
    left.path.unlink()
    with held([left]) as found:
        assert found == []
