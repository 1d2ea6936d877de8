"""`tuneonce doctor`, and what `tuneonce env` says beside it."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.factories import make_key, put_verdict
from tuneonce.cli import _checks, _environment
from tuneonce.cli._environment import Seams
from tuneonce.settings import read
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import AsNobody, Tell


@pytest.fixture(autouse=True)
def well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which all is well."""
    monkeypatch.setenv("TUNEONCE", "1")
    monkeypatch.delenv("TRITON_CACHE_AUTOTUNING", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "triton"))
    monkeypatch.setattr(_environment, "startup_file", lambda environ: "/x/tuneonce.pth")
    found = Seams("found", version="9.9", usable=True)
    monkeypatch.setattr(_environment, "probe_seams", lambda environ: found)


def verdicts(tell: Tell, *words: str) -> dict[str, tuple[str, str]]:
    """By check, the verdict and the sentence."""
    said = tell("doctor", "--json", *words)
    document: dict[str, Any] = said.json
    assert document["schema"] == "tuneonce.doctor/1"
    found = {one["name"]: (one["verdict"], one["text"]) for one in document["checks"]}
    wrong = any(verdict == "wrong" for verdict, _ in found.values())
    assert (said.code, document["well"]) == (int(wrong), not wrong)
    return found


def test_all_is_well(tell: Tell, store: FileStore, tmp_path: Path) -> None:
    found = verdicts(tell)
    assert set(found) == {"switch", "store", "events", "Triton's cache", "Triton", "limits"}
    assert {verdict for verdict, _ in found.values()} <= {"ok", "note"}
    assert str(read(os.environ).events) in found["events"][1]
    assert str(tmp_path / "triton") in found["Triton's cache"][1]
    said = tell("doctor")
    assert (said.code, said.err) == (0, "")
    assert "All is well." in said.out
    assert not (tmp_path / "store").exists()
    put_verdict(store, make_key(), {64: (0.2,)})
    assert verdicts(tell)["store"][0] == "ok"


@pytest.mark.parametrize(
    ("variables", "check", "verdict", "text"),
    [
        ({"TUNEONCE": "0"}, "switch", "note", "TUNEONCE=0"),
        ({"TUNEONCE": ""}, "switch", "note", "not set"),
        ({"TUNEONCE": "perhaps"}, "switch", "wrong", "perhaps"),
        ({"TRITON_CACHE_AUTOTUNING": "0"}, "switch", "wrong", "TRITON_CACHE_AUTOTUNING=0"),
        ({"TUNEONCE_STORE": "ftp://x"}, "store", "wrong", "no store is known"),
        ({"TUNEONCE_STORE": "memory:"}, "store", "note", "ends with the process"),
        ({"TUNEONCE_STORE": "/dev/null"}, "store", "wrong", "not a directory"),
        ({"TUNEONCE_BASE": "/dev/null"}, "base", "wrong", "cannot be listed"),
        ({"TUNEONCE_BASE": "redis://h/0"}, "base", "wrong", "TUNEONCE_REMOTE"),
        ({"TUNEONCE_WORKER": "4"}, "setting", "wrong", "did you mean TUNEONCE_WORKERS?"),
        ({"TUNEONCE_LOG": "loud"}, "setting", "wrong", "TUNEONCE_LOG='loud'"),
        ({"TUNEONCE_EVENTS": "0"}, "events", "note", "none are written"),
        ({"TRITON_CACHE_DIR": "/dev/null/x"}, "Triton's cache", "wrong", "may not write"),
    ],
)
def test_what_is_wrong(
    tell: Tell, variables: dict[str, str], check: str, verdict: str, text: str
) -> None:
    os.environ |= variables
    found = verdicts(tell)
    assert found[check][0] == verdict
    assert text in found[check][1]


def test_a_start_up_file_that_is_missing(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_environment, "startup_file", lambda environ: None)
    found = verdicts(tell)["switch"]
    assert found[0] == "wrong"
    assert "tuneonce run" in found[1]


def test_a_store_that_is_only_read(tell: Tell, store: FileStore) -> None:
    Path(store.describe().location).mkdir()
    address = f"{store.describe().url}?readonly=1"
    assert verdicts(tell, "--store", address)["store"][0] == "wrong"  # and empty: no use
    put_verdict(store, make_key(), {64: (0.2,)})
    assert verdicts(tell, "--store", address)["store"][0] == "note"


def test_a_base_under_the_store(tell: Tell, store: FileStore, tmp_path: Path) -> None:
    os.environ["TUNEONCE_BASE"] = str(tmp_path / "base")
    base = FileStore(tmp_path / "base")
    (tmp_path / "base").mkdir()
    assert verdicts(tell)["base"] == ("note", f"{tmp_path / 'base'} holds no results")
    name = put_verdict(base, make_key(), {64: (0.2,)})
    assert verdicts(tell)["base"][0] == "ok"
    assert f"base {tmp_path / 'base'}: read, never written" in tell("env", "--no-probe").words
    base.put(name, b"{")
    assert verdicts(tell)["base"][0] == "wrong"
    os.environ["TUNEONCE_BASE"] = str(tmp_path / "store" / "base")
    found = verdicts(tell)
    assert "base" not in found
    assert "is left out" in found["setting"][1]


def test_records_that_cannot_be_used(tell: Tell, store: FileStore) -> None:
    put_verdict(store, make_key("mul"), {64: (0.2,)})
    store.put(put_verdict(store, make_key(), {64: (0.2,)}), b"{")
    found = verdicts(tell)["store"]
    assert found[0] == "wrong"
    assert "1 of the first 2 records" in found[1]


@pytest.mark.parametrize("closed", ["", "v1", "v1/*"])
def test_a_store_that_may_not_be_read(
    tell: Tell, place: Path, as_nobody: AsNobody, closed: str
) -> None:
    store = FileStore(place / "store")
    put_verdict(store, make_key(), {64: (0.2,)})
    for path in [place / "store", *(place / "store").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    words = ["--store", str(place / "store")]
    tell("env", "--no-probe", *words)  # imports
    verdicts(tell, *words)
    (shut,) = [place / "store"] if not closed else (place / "store").glob(closed)
    shut.chmod(0)
    try:
        with as_nobody():
            doctor = verdicts(tell, *words)["store"]
            env = tell("env", "--no-probe", *words)
    finally:
        shut.chmod(0o755)
    assert doctor[0] == "wrong"
    assert "ermission" in doctor[1]
    assert env.code == 0
    if closed != "v1/*":
        assert "not readable" in env.words
        assert "ermission" in env.words


def test_triton_is_told(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    for seams, verdict, text in (
        (Seams("no triton"), "wrong", "not installed"),
        (Seams("failed", error="OSError: no libcuda"), "wrong", "no libcuda"),
        (Seams("found", version="9.9", missing=["run"]), "wrong", "left alone"),
        (
            Seams(
                "found", version="9.9", usable=True, off={"device timer": ["driver.clear_cache"]}
            ),
            "note",
            "without device timer (driver.clear_cache)",
        ),
        (Seams("not looked"), "note", "--no-probe"),
    ):
        monkeypatch.setattr(_environment, "probe_seams", lambda environ, seams=seams: seams)
        found = verdicts(tell)["Triton"]
        assert found[0] == verdict
        assert text in found[1]
    monkeypatch.setattr(_environment, "probe_seams", pytest.fail)
    assert verdicts(tell, "--no-probe")["Triton"][0] == "note"


def test_without_triton_nothing_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    report = _checks.examine({**os.environ, "TUNEONCE_STORE": "memory:"}, store=None, probe=True)
    (check,) = [one for one in report.checks if one.name == "Triton"]
    assert "install tuneonce beside what" in check.text


def test_limits_and_space(tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuneonce.system.headroom.room_for_processes", lambda: 3)
    monkeypatch.setattr("tuneonce.system.headroom.room_for_memory", lambda: 1 << 40)
    monkeypatch.setenv("TUNEONCE_WORKERS", "8")
    found = verdicts(tell)["limits"]
    assert found[0] == "note"
    assert "3 more processes" in found[1]
    assert "for want of processes" in found[1]
    monkeypatch.setattr(_checks, "_free", lambda path: 1 << 20)
    assert verdicts(tell)["store"] == ("wrong", f"1 MiB are free at {os.environ['TUNEONCE_STORE']}")
