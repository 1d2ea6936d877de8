from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.unit.bench.documents import a_restart, a_run
from tuneonce.bench import result
from tuneonce.bench.result import check_writable, decode, encode, load_document, save_document
from tuneonce.errors import UsageError

DOCUMENT = a_restart(
    a_run("stock", 1, seconds=1, tunes=1), a_run("tuneonce", 2, seconds=1, tunes=0, events=None)
)


def test_a_document_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    save_document(path, DOCUMENT)
    assert load_document(path) == DOCUMENT
    assert list(tmp_path.iterdir()) == [path]


def test_the_fields_that_readers_rely_on() -> None:
    data = json.loads(encode(DOCUMENT))
    assert data["schema"] == "tuneonce.bench-restart/1"
    assert set(data["runs"][0]) >= {
        "arm",
        "run",
        "repeat",
        "successful",
        "failed",
        "duration_s",
        "request_throughput",
        "output_token_throughput",
        "total_token_throughput",
        "ttft_ms",
        "startup_s",
        "events",
        "ttft_samples_ms",
        "errors",
    }
    assert set(data["runs"][0]["ttft_ms"]) == {"mean", "median", "p99"}
    assert set(data["runs"][0]["events"]) >= {
        "tunes",
        "candidates_measured",
        "compiles",
        "disk_loads",
        "tune_s",
        "compile_s",
        "load_s",
        "hits",
        "provisional",
        "misses",
        "saved_s",
    }
    assert data["runs"][1]["events"] is None


def test_later_fields_are_passed_over() -> None:
    data = json.loads(encode(DOCUMENT))
    data["weather"] = data["runs"][0]["weather"] = "fine"
    assert decode(json.dumps(data).encode(), source="x") == DOCUMENT


def test_documents_from_before_later_fields_are_read() -> None:
    data = json.loads(encode(DOCUMENT))
    del data["then"]
    for run in data["runs"]:
        for name in ("after", "engine_init_s", "winners"):
            del run[name]
        for name in ("ready", "serving_tunes", "serving_compiles", "serving_s"):
            (run["events"] or {}).pop(name, None)
    assert decode(json.dumps(data).encode(), source="x") == DOCUMENT


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a benchmark's document"),
        (b"[]", "not a benchmark's document"),
        (b'{"schema": 1}', "not a benchmark's document"),
        (b'{"schema": "tuneonce.bench-restart/1"}', "missing required field"),
        (b'{"schema": "tuneonce.bench-restart/9"}', "has schema 'tuneonce.bench-restart/9'"),
        (b'{"schema": "\xff"}', "not a benchmark's document"),
    ],
)
def test_what_is_no_document(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=message):
        load_document(path)


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.json"
    path.write_text("old")

    def fails(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(result.os, "fsync", fails)
    with pytest.raises(OSError, match="disk full"):
        save_document(path, DOCUMENT)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_that_cannot_be_written_is_told_before(tmp_path: Path) -> None:
    check_writable(tmp_path / "out.json")
    with pytest.raises(UsageError, match="is a directory"):
        check_writable(tmp_path)
    with pytest.raises(UsageError, match="no directory"):
        check_writable(tmp_path / "a" / "out.json")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.geteuid():
        with pytest.raises(UsageError, match="no permission"):
            check_writable(closed / "out.json")
