"""`tuneonce env`."""

from __future__ import annotations

import importlib.util
import inspect
import json
import os
import site
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.factories import put_kept
from tuneonce.activation.install import bootstrap_dir
from tuneonce.cli._environment import explain_mode, probe_seams, startup_file
from tuneonce.settings import read
from tuneonce.store.files import FileStore

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell


@pytest.mark.parametrize(
    ("environ", "mode", "why"),
    [
        ({}, "off", "TUNEONCE is not set"),
        ({"TUNEONCE": "1"}, "on", "TUNEONCE=1"),
        ({"TUNEONCE": "0"}, "off", "TUNEONCE=0"),
        ({"TUNEONCE": "observe"}, "observe", "TUNEONCE=observe"),
        ({"TUNEONCE": "1", "TRITON_CACHE_AUTOTUNING": "0"}, "off", "TRITON_CACHE_AUTOTUNING=0"),
        ({"TRITON_CACHE_AUTOTUNING": "0"}, "off", "TRITON_CACHE_AUTOTUNING=0"),
        ({"TUNEONCE": "0", "TRITON_CACHE_AUTOTUNING": "0"}, "off", "TUNEONCE=0"),
        ({"TUNEONCE": "1", "TRITON_CACHE_AUTOTUNING": "1"}, "on", "TUNEONCE=1"),
        ({"TUNEONCE": "perhaps"}, "off", "perhaps"),
    ],
)
def test_the_mode_and_the_variable_that_decides(
    environ: dict[str, str], mode: str, why: str
) -> None:
    told = explain_mode(environ)
    assert told[0] == mode
    assert why in told[1]


@pytest.mark.usefixtures("terminal")
def test_env_without_looking_at_triton(tell: Tell, tmp_path: Path) -> None:
    said = tell("env", "--no-probe")
    assert said.code == 0
    assert "off (TUNEONCE is not set" in said.words
    assert "(from TUNEONCE_STORE)" in said.words
    assert max(len(line) for line in said.out.splitlines()) <= 80
    document = tell("env", "--no-probe", "--json").json
    assert document["schema"] == "tuneonce.env/1"
    assert document["seams"]["state"] == "not looked"
    assert document["store"]["location"] == str(tmp_path / "store")
    assert document["events"] == str(read(os.environ).events)
    assert document["raise_errors"] is True
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("unset", "why"),
    [
        (["TUNEONCE_STORE"], "TRITON_CACHE_DIR"),
        (["TUNEONCE_STORE", "TRITON_CACHE_DIR"], "XDG_CACHE_HOME"),
        (["TUNEONCE_STORE", "TRITON_CACHE_DIR", "XDG_CACHE_HOME"], "the user's cache"),
    ],
)
def test_why_the_store_is_where_it_is(tell: Tell, unset: list[str], why: str) -> None:
    for name in unset:
        os.environ.pop(name)
    assert tell("env", "--no-probe", "--json").json["store"]["why"] == why
    assert tell("env", "--no-probe", "--json", "--store", "memory:").json["store"] == {
        "url": "memory:",
        "why": "--store",
        "location": f"the memory of process {os.getpid()}",
        "kind": "memory",
        "writable": True,
        "note": "ends with the process and is shared with no other",
        "readable": True,
        "error": None,
    }


def test_what_is_wrong_is_told_and_nothing_fails(tell: Tell) -> None:
    os.environ.update(TUNEONCE="perhaps", TUNEONCE_STORE="ftp://x", TUNEONCE_EVENTS="0")
    said = tell("env", "--no-probe")
    assert said.code == 0
    assert "TUNEONCE='perhaps' is not known" in said.words
    assert "no store is known for ftp:" in said.words
    assert "none are written" in said.words


def test_settings_that_mean_nothing(tell: Tell) -> None:
    os.environ.update(TUNEONCE_WORKER="4", TUNEONCE_WORKERS="9999")
    said = tell("env", "--no-probe")
    assert said.code == 0
    assert "TUNEONCE_WORKER is not known; did you mean TUNEONCE_WORKERS?" in said.words
    assert "TUNEONCE_WORKERS=9999 is taken as 256" in said.words


def test_directories_that_cannot_be_resolved(tell: Tell) -> None:
    os.environ.update(TUNEONCE_STORE="~nobody-has-this-name/x", TUNEONCE_EVENTS="~nor-this/x")
    said = tell("env", "--no-probe")
    assert said.code == 0
    assert "TUNEONCE_STORE='~nobody-has-this-name/x'" in said.words
    for words in (["ls"], ["stats"], ["why", "add"], ["rm", "--all"]):
        said = tell(*words)
        assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)


def test_what_is_kept_for_the_next_start(
    tell: Tell, store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = tell("env", "--no-probe")
    assert "profile named after the program" in said.words
    assert "binaries none yet; at most 256 MB" in said.words
    place = put_kept(store, "ABCDEFGH")
    (place / "IJKLMNOP.zip").write_bytes(bytes(3 << 20))
    monkeypatch.setenv("TUNEONCE_PROFILE", "mine")
    monkeypatch.setenv("TUNEONCE_BINARIES_MB", "100")
    found = tell("env", "--no-probe", "--json").json["replay"]
    assert found == {
        "recorded": True,
        "profile": "mine",
        "binaries": str(place),
        "megabytes": 3.0,
        "limit_mb": 100,
    }
    assert "profile mine" in tell("env", "--no-probe").words
    assert "3 of at most 100 MB in" in tell("env", "--no-probe").words
    monkeypatch.setenv("TUNEONCE_PROFILE", "0")
    monkeypatch.setenv("TUNEONCE_BINARIES_MB", "0")
    said = tell("env", "--no-probe")
    assert "nothing is recorded for the next start" in said.words
    assert "none are kept (TUNEONCE_BINARIES_MB=0)" in said.words


def test_startup_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(tmp_path)])
    monkeypatch.setattr(site, "ENABLE_USER_SITE", False)
    assert startup_file({}) is None
    (tmp_path / "tuneonce.pth").write_text("")
    assert startup_file({}) == str(tmp_path / "tuneonce.pth")
    run = {"PYTHONPATH": f"/x{os.pathsep}{bootstrap_dir()}"}
    assert startup_file(run) == str(bootstrap_dir() / "sitecustomize.py")


# -- the child process that looks at Triton ------------------------------------------------------


def installed_triton(root: Path, autotuner: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A made-up Triton, and the environment of a child that finds it."""
    runtime = root / "triton" / "runtime"
    runtime.mkdir(parents=True)
    (root / "triton" / "__init__.py").write_text("__version__ = '9.9'\nprint('hello')\n")
    (runtime / "__init__.py").write_text("")
    (runtime / "autotuner.py").write_text(autotuner)
    found = importlib.util.spec_from_file_location("triton", root / "triton" / "__init__.py")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    return {**os.environ, "PYTHONPATH": str(root)}


STOCK = """
class Autotuner:
    def run(self, *args, **kwargs): ...
    def _bench(self, *args, config, **meta): ...
    def prune_configs(self, kwargs): ...
    def check_disk_cache(self, tuning_key, configs, bench_fn): ...
"""


def test_seams_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    autotuner = pytest.importorskip("triton.runtime.autotuner").Autotuner
    theirs = STOCK.replace(
        "    def run(self, *args, **kwargs): ...\n", inspect.getsource(autotuner.run)
    )
    assert theirs != STOCK
    seams = probe_seams(installed_triton(tmp_path, theirs, monkeypatch))
    assert (seams.state, seams.version, seams.usable) == ("found", "9.9", True)
    assert (seams.missing, seams.foreign) == ([], None)


def test_a_run_that_nobody_has_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seams = probe_seams(installed_triton(tmp_path, STOCK, monkeypatch))
    assert (seams.state, seams.usable) == ("found", False)
    assert "run" in seams.missing[0]


def test_seams_that_are_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell) -> None:
    renamed = STOCK.replace("prune_configs", "prune")
    foreign = "import json\nAutotuner.run = json.dumps\n"
    environ = installed_triton(tmp_path, renamed + foreign, monkeypatch)
    seams = probe_seams(environ)
    assert (seams.usable, seams.missing, seams.foreign) == (False, ["prune_configs"], "json.dumps")
    os.environ["PYTHONPATH"] = environ["PYTHONPATH"]
    said = tell("env")
    assert "Triton 9.9 is left alone" in said.words
    assert "prune_configs" in said.words
    assert "json.dumps" in said.words


def test_what_is_off_is_told_with_the_seams_that_it_lacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tell: Tell
) -> None:
    autotuner = pytest.importorskip("triton.runtime.autotuner").Autotuner
    theirs = STOCK.replace(
        "    def run(self, *args, **kwargs): ...\n", inspect.getsource(autotuner.run)
    )
    environ = installed_triton(tmp_path, theirs, monkeypatch)
    seams = probe_seams(environ)
    assert seams.usable
    assert "compile times" in seams.off  # there are no knobs
    assert seams.off["compile times"] == ["knobs.compilation.listener"]
    os.environ["PYTHONPATH"] = environ["PYTHONPATH"]
    said = tell("env")
    assert "Triton 9.9 is used without" in said.words
    assert "compile times (knobs.compilation.listener)" in said.words


def test_a_triton_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seams = probe_seams(installed_triton(tmp_path, "raise OSError('no libcuda')", monkeypatch))
    assert (seams.state, seams.error) == ("failed", "OSError: no libcuda")


def test_a_triton_that_takes_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = installed_triton(tmp_path, "import signal\nsignal.pause()", monkeypatch)
    seams = probe_seams(environ, limit_s=0.5)
    assert seams.state == "failed"
    assert "0.5 s" in str(seams.error)


def test_no_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert probe_seams(dict(os.environ)).state == "no triton"


def test_the_real_triton_has_the_seams_and_is_not_imported_here(tell: Tell) -> None:
    if importlib.util.find_spec("triton") is None:
        pytest.skip("no Triton in this environment")
    code = (
        "import sys; from tuneonce.cli import main; main(['env', '--json'])\n"
        "assert not {'triton', 'torch'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert '"usable": true' in done.stdout
    assert json.loads(done.stdout)["seams"]["off"] == {}
