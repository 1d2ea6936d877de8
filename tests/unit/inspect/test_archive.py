"""The file that carries records: what is written, and what is read of it, whoever wrote it."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
import tarfile
from pathlib import Path

import pytest

from tests.faults.hostile_archives import FOREIGN, GOOD, HOSTILE, RECORDS, packed, written
from tuneonce.inspect import archive
from tuneonce.inspect.archive import FIRST, BadArchive, Entry, fits, is_archive, read, write
from tuneonce.store.base import MAX_RECORD_BYTES


def taken(data: bytes) -> list[Entry]:
    return list(read(io.BytesIO(data)))


def handed_out(data: bytes) -> tuple[list[Entry], str]:
    """What is read, and what ends it."""
    found: list[Entry] = []
    try:
        for entry in read(io.BytesIO(data)):
            found.append(entry)
    except BadArchive as error:
        return found, str(error)
    return found, ""


def test_what_is_written_is_read() -> None:
    assert taken(written()) == [*RECORDS]
    assert taken(written([])) == []
    largest = [Entry("v1/a", random.Random(1).randbytes(MAX_RECORD_BYTES))]
    assert taken(written(largest)) == largest


def test_the_bytes_are_those_of_the_records_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest changes only with the format, or where Python writes other headers."""
    file = io.BytesIO()
    digest = write(file, RECORDS)
    assert digest == "96c98370cd5139d4260cb1bca45702adff068a9ddffbb684be0047d1fdc7488c"
    assert hashlib.sha256(gzip.decompress(file.getvalue())).hexdigest() == digest
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert written() == file.getvalue()
    assert file.getvalue()[4:8] == bytes(4)  # gzip's time of writing
    with tarfile.open(fileobj=io.BytesIO(file.getvalue())) as tar:
        assert tar.getnames() == [FIRST, *(name for name, _ in RECORDS)]
        for member in tar:
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")
            assert (member.mtime, member.mode) == (0, 0o644)


def test_names_of_ours_fit() -> None:
    longest = f"v1/{'k' * 60}~{'0' * 12}/{'w' * 60}~{'0' * 12}/{'0' * 24}/"
    assert fits(f"{longest}c03.{'0' * 16}.measured.json")
    assert fits(f"{longest}c03.{'0' * 12}.variants.2.json")
    assert not fits(f"v1/{'k' * 190}/{'w' * 190}/k/c03.0.verdict.json")
    with pytest.raises(ValueError, match="too long"):
        written([Entry(f"v1/{'k' * 190}/{'w' * 190}", b"")])


# -- what others have written --------------------------------------------------------------------


@pytest.mark.parametrize("what", HOSTILE)
def test_what_is_not_written_here_ends_the_reading(what: str) -> None:
    data, why = HOSTILE[what]
    found, ended = handed_out(data)
    assert found == [Entry("v1/a", b"data")]
    assert why in ended


@pytest.mark.parametrize("what", FOREIGN)
def test_what_is_something_else_gives_nothing(what: str) -> None:
    found, ended = handed_out(FOREIGN[what])
    assert found == []
    assert ended
    assert not is_archive(io.BytesIO(FOREIGN[what]))


def test_an_archive_of_a_later_version_says_so() -> None:
    later = packed(GOOD, first=b'{"schema":"tuneonce.archive/2"}\n')
    assert handed_out(later) == (
        [],
        "it is of version 2, and this tuneonce reads version 1: use a later one",
    )


def test_archives_of_ours_are_known(tmp_path: Path) -> None:
    assert is_archive(io.BytesIO(written()))
    assert is_archive(io.BytesIO(written([])))
    # As another program writes the same entries: only what decides is looked at.
    assert handed_out(packed(GOOD)) == ([Entry("v1/a", b"data")], "")


def test_cut_anywhere_it_gives_a_beginning_and_says_that_it_is_cut() -> None:
    records = [Entry(f"v1/{n}", random.Random(n).randbytes(300)) for n in range(9)]
    data = written(records)
    seen = set()
    for end in range(len(data)):
        found, ended = handed_out(data[:end])
        assert found == records[: len(found)]
        assert ended
        seen.add(len(found))
    assert {0, 9} <= seen
    inside = gzip.decompress(data)
    for end in range(0, len(inside), 256):
        found, ended = handed_out(gzip.compress(inside[:end]))
        assert found == records[: len(found)]
        assert bool(ended) == (end < len(inside)), end


def test_bits_that_flip_are_found_or_do_not_matter() -> None:
    """A record has a checksum of its own, so what was read before the damage is found counts."""
    chance = random.Random(7)
    records = [Entry(f"v1/{n}", chance.randbytes(40)) for n in range(5)]
    data = written(records)
    for _ in range(400):
        at = chance.randrange(10, len(data))  # behind gzip's own header
        broken = bytearray(data)
        broken[at] ^= 1 << chance.randrange(8)
        found, ended = handed_out(bytes(broken))
        assert ended or found == records


@pytest.mark.parametrize(
    ("behind", "why"),
    [
        (b"x", "goes on behind its end"),
        (gzip.compress(b"x"), "goes on behind its end"),
        (written(), "goes on behind its end"),
        (gzip.compress(bytes(2 << 20)), "goes on behind its end"),
    ],
    # What gzip makes has a time in it.
    ids=["a byte", "a member", "an archive", "zeros"],
)
def test_nothing_may_follow(behind: bytes, why: str) -> None:
    found, ended = handed_out(written() + behind)
    assert found == [*RECORDS]
    assert why in ended or "gzip" in ended
    assert handed_out(written() + bytes(600)) == ([*RECORDS], "")  # as a tape or a disk fills it up


# -- bounds --------------------------------------------------------------------------------------


def test_a_bomb_is_left_long_before_it_has_unpacked() -> None:
    bomb = [Entry(f"v1/{n:04}", bytes(MAX_RECORD_BYTES)) for n in range(40)]
    data = written(bomb)
    assert len(data) * 1000 < 42 << 20 < len(data) * 1100
    found, ended = handed_out(data)
    assert "more than 200 times its size" in ended
    assert 8 <= len(found) <= 16


def test_no_more_is_read_than_a_file_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [Entry(f"v1/{n}", random.Random(n).randbytes(2000)) for n in range(9)]
    data = written(records)
    monkeypatch.setattr(archive, "MOST_ENTRIES", 9)
    assert handed_out(data) == (records, "")
    assert written(records) == data
    monkeypatch.setattr(archive, "MOST_ENTRIES", 8)
    found, ended = handed_out(data)
    assert found == records[:8]
    assert "it has more than" in ended
    # Nobody writes what could not be read again.
    with pytest.raises(BadArchive, match="it has more than"):
        written(records)
    monkeypatch.setattr(archive, "MOST_ENTRIES", 9)
    monkeypatch.setattr(archive, "MOST_BYTES", 10_000)
    found, ended = handed_out(data)
    assert len(found) == 3
    assert "it unpacks to more than" in ended
    with pytest.raises(BadArchive, match="it unpacks to more than"):
        written(records)


def test_a_file_that_cannot_be_read_is_no_bad_archive() -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    with pytest.raises(OSError, match="Input/output"):
        list(read(Failing()))
