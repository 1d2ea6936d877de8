"""What the environment says."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

import tuneonce
from tuneonce import settings
from tuneonce.errors import SettingsError
from tuneonce.settings import (
    STARTED_WITH,
    VARIABLES,
    Mode,
    Recheck,
    Warm,
    base_directory,
    complaints,
    environment_at_start,
    read,
    read_bake,
    read_mode,
    store_location,
    store_to_look_at,
)
from tuneonce.store import open_store
from tuneonce.system import paths


@pytest.mark.parametrize(
    ("tuneonce", "triton", "expected"),
    [
        (None, None, Mode.ON),
        ("", None, Mode.ON),
        ("1", None, Mode.ON),
        (" Yes ", None, Mode.ON),
        ("0", None, Mode.OFF),
        ("OFF", None, Mode.OFF),
        ("observe", None, Mode.OBSERVE),
        (None, "0", Mode.OFF),
        (None, "off", Mode.OFF),
        (None, "1", Mode.ON),
        (None, "", Mode.ON),
        ("1", "0", Mode.OFF),
        ("1", "1", Mode.ON),
        # An arm of a benchmark: stock without its cache, counted.
        ("observe", "0", Mode.OBSERVE),
        ("0", "1", Mode.OFF),
    ],
)
def test_mode(tuneonce: str | None, triton: str | None, expected: Mode) -> None:
    pairs = {"TUNEONCE": tuneonce, "TRITON_CACHE_AUTOTUNING": triton}
    assert read_mode({k: v for k, v in pairs.items() if v is not None}) is expected


def test_the_default_mode_is_the_callers() -> None:
    assert read_mode({}, default=Mode.OFF) is Mode.OFF
    assert read_mode({"TUNEONCE": "1"}, default=Mode.OFF) is Mode.ON
    assert read_mode({"TRITON_CACHE_AUTOTUNING": "0"}, default=Mode.ON) is Mode.OFF


@pytest.mark.parametrize("word", ["nonsense", "2", "observed", "truth"])
def test_a_mode_that_is_none(word: str) -> None:
    with pytest.raises(SettingsError, match=f"(?i){word}"):
        read_mode({"TUNEONCE": word})


HOME = {"HOME": "/home/u"}


@pytest.fixture(autouse=True)
def home_of_u(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this user might make every directory; `test_paths.py` has the others."""
    for module in (paths, settings):
        monkeypatch.setattr(module, "may_be", lambda path: True)


@pytest.mark.parametrize(
    ("environ", "started_with", "expected"),
    [
        (HOME, None, "/home/u/.cache/tuneonce"),
        (HOME, {}, "/home/u/.cache/tuneonce"),
        ({**HOME, "XDG_CACHE_HOME": "/x"}, {}, "/x/tuneonce"),
        ({**HOME, "XDG_CACHE_HOME": "relative"}, {}, "/home/u/.cache/tuneonce"),
        ({**HOME, "TRITON_CACHE_DIR": "/t"}, None, "/t/tuneonce"),
        ({**HOME, "TRITON_CACHE_DIR": "/t"}, {"TRITON_CACHE_DIR": "/t"}, "/t/tuneonce"),
        # Rewritten by the program since its start, or only set by it.
        ({"TRITON_CACHE_DIR": "/new"}, {"TRITON_CACHE_DIR": "/t"}, "/t/tuneonce"),
        ({**HOME, "TRITON_CACHE_DIR": "/new"}, {}, "/home/u/.cache/tuneonce"),
        ({"TUNEONCE_STORE": "/s", "TRITON_CACHE_DIR": "/t"}, None, "/s"),
        ({"TUNEONCE_STORE": " /s "}, {}, "/s"),
        ({"TUNEONCE_STORE": " "}, {"TRITON_CACHE_DIR": "/t"}, "/t/tuneonce"),
        ({"TUNEONCE_STORE": "redis://h:1/0"}, {}, "redis://h:1/0"),
        ({"TUNEONCE_STORE": "memory:"}, {}, "memory:"),
        ({"TUNEONCE_STORE": "s3://b/p?x=1"}, {}, "s3://b/p?x=1"),
    ],
)
def test_where_the_store_is(
    environ: dict[str, str], started_with: dict[str, str] | None, expected: str
) -> None:
    assert store_location(environ, started_with=started_with) == expected


@pytest.mark.parametrize(
    ("server", "environ", "expected", "older"),
    [
        ("vllm", HOME, "/home/u/.cache/vllm/tuneonce", True),
        ("sglang", HOME, "/home/u/.cache/sglang/tuneonce", True),
        ("vllm", {**HOME, "XDG_CACHE_HOME": "/x"}, "/x/vllm/tuneonce", True),
        ("vllm", {**HOME, "VLLM_CACHE_ROOT": "/v"}, "/v/tuneonce", True),
        ("sglang", {**HOME, "SGLANG_CACHE_DIR": "/s"}, "/s/tuneonce", True),
        ("sglang", {**HOME, "VLLM_CACHE_ROOT": "/v"}, "/home/u/.cache/sglang/tuneonce", True),
        (None, {**HOME, "VLLM_CACHE_ROOT": "/v"}, "/v/tuneonce", True),
        (None, {**HOME, "SGLANG_CACHE_DIR": "/s"}, "/s/tuneonce", True),
        ("vllm", {**HOME, "VLLM_CACHE_ROOT": " "}, "/home/u/.cache/vllm/tuneonce", True),
        ("vllm", {**HOME, "VLLM_CACHE_ROOT": "/v", "TRITON_CACHE_DIR": "/t"}, "/t/tuneonce", False),
        ("vllm", {**HOME, "VLLM_CACHE_ROOT": "/v", "TUNEONCE_STORE": "/o"}, "/o", False),
        ("vllm", {**HOME, "VLLM_CACHE_ROOT": "/home/u/.cache"}, "/home/u/.cache/tuneonce", False),
        (None, HOME, "/home/u/.cache/tuneonce", False),
    ],
)  # fmt: skip
def test_where_servers_keep_their_caches(
    server: str | None, environ: dict[str, str], expected: str, older: bool
) -> None:
    settings = read(environ, server=server)
    assert settings.store == expected
    assert settings.older == ("/home/u/.cache/tuneonce" if older else None) or (
        older and "XDG_CACHE_HOME" in environ and settings.older == "/x/tuneonce"
    )


def test_commands_look_where_something_was_kept_last(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    usual, servers = (tmp_path / ".cache" / name for name in ("tuneonce", "vllm/tuneonce"))
    assert store_to_look_at(environ) == str(usual)
    servers.mkdir(parents=True)
    assert store_to_look_at(environ) == str(servers)
    usual.mkdir()
    os.utime(servers, (1000, 1000))
    assert store_to_look_at(environ) == str(usual)
    os.utime(usual, (999, 999))
    assert store_to_look_at(environ) == str(servers)
    (usual / "v1").mkdir()
    os.utime(usual, (999, 999))
    assert store_to_look_at(environ) == str(usual)
    assert store_to_look_at({**environ, "TUNEONCE_STORE": "/s"}) == "/s"
    assert store_to_look_at({**environ, "TRITON_CACHE_DIR": "/t"}) == "/t/tuneonce"
    assert store_to_look_at({**environ, "SGLANG_CACHE_DIR": "/g"}) == "/g/tuneonce"


@pytest.mark.parametrize(
    ("told", "now", "expected"),
    [
        ("/t", "/rewritten", "/t/tuneonce"),
        ("", "/rewritten", "/home/u/.cache/tuneonce"),
        (None, "/t", "/t/tuneonce"),
    ],
)
def test_a_child_knows_what_the_first_process_was_started_with(
    told: str | None, now: str, expected: str
) -> None:
    environ = {**HOME, "TRITON_CACHE_DIR": now}
    if told is not None:
        environ[STARTED_WITH] = told
    assert read(environ, started_with={"TRITON_CACHE_DIR": now}).store == expected


def test_relative_places_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/u")
    assert store_location({"TUNEONCE_STORE": "s"}) == str(tmp_path / "s")
    assert store_location({"TUNEONCE_STORE": "~/s"}) == "/home/u/s"
    # No scheme starts with a digit: this is a directory, wherever it is asked for.
    assert store_location({"TUNEONCE_STORE": "12:30"}) == str(tmp_path / "12:30")
    assert store_location({"TRITON_CACHE_DIR": "t"}) == str(tmp_path / "t" / "tuneonce")


def test_the_store_is_what_the_stores_take_for_an_address() -> None:
    for address in ("12:30", "a/b:c", "./a:b", "file:///s", "memory:", "s", "FILE:///s"):
        location = store_location({"TUNEONCE_STORE": address})
        described = open_store(location).describe()
        if not location.lower().startswith(("file:", "memory:")):
            assert described.location == location


@pytest.mark.parametrize("name", ["TUNEONCE_STORE", "TRITON_CACHE_DIR", "TUNEONCE_EVENTS"])
def test_a_place_that_cannot_be_resolved(name: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read({name: "~no-such-user-of-this-machine/x", "HOME": "/home/u"})


@pytest.mark.parametrize("name", ["TUNEONCE_STORE", "TRITON_CACHE_DIR", "TUNEONCE_EVENTS"])
def test_a_relative_place_in_a_directory_that_is_gone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SettingsError, match=name):
        read({name: "x", "HOME": "/home/u"})
    assert read({"HOME": "/home/u"}).store == "/home/u/.cache/tuneonce"


def test_where_the_events_are() -> None:
    assert read({"TUNEONCE_EVENTS": "/e"}).events == Path("/e")
    assert read({"TUNEONCE_EVENTS": "0"}).events is None


def test_each_store_has_its_events_near_its_user() -> None:
    def events(store: str) -> Path:
        found = read({**HOME, "TUNEONCE_STORE": store}).events
        assert found is not None
        return found

    stores = ["/s", "/a b", "memory:", "redis://u:p@h/0"]
    places = {store: events(store) for store in stores}
    assert len(set(places.values())) == len(stores)
    assert {path.parent for path in places.values()} == {Path("/home/u/.cache/tuneonce/events")}
    for address in ("file:///s", "file://localhost/s?readonly=1", "file:/s", "FILE:///s"):
        assert events(address) == places["/s"]
    assert events("file:///a%20b") == places["/a b"]
    assert read({**HOME, "XDG_CACHE_HOME": "/s"}).events == Path("/s/tuneonce/events") / (
        events("/s/tuneonce").name
    )


def test_whether_errors_are_raised() -> None:
    assert read({"TUNEONCE_RAISE": "1"}).raise_errors
    assert not read({"TUNEONCE_RAISE": "0"}).raise_errors


def test_no_place_for_a_store_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (paths, settings):
        monkeypatch.setattr(module, "may_be", lambda path: False)
    with pytest.raises(SettingsError, match="TUNEONCE_STORE"):
        store_location({"HOME": "/"})
    assert store_location({"TUNEONCE_STORE": "/s"}) == "/s"
    assert read({"TUNEONCE_STORE": "memory:"}).events is None


def test_whether_every_user_may_read() -> None:
    assert read({"TUNEONCE_BAKE": " Yes "}).bake
    assert not read_bake({})
    assert not read({"TUNEONCE_BAKE": "0"}).bake
    with pytest.raises(SettingsError, match="TUNEONCE_BAKE"):
        read({"TUNEONCE_BAKE": "half"})


@pytest.mark.parametrize(
    ("given", "store", "base"),
    [
        ("", "/s", None),
        (" /opt/results ", "/s", "/opt/results"),
        ("file:///opt/my%20results", "/s", "/opt/my results"),
        ("file:///opt/results?readonly=1", "/s", "/opt/results"),
        ("/opt/results", "memory:", "/opt/results"),
        ("/opt/results", "/opt", None),
        ("/opt/results/", "/opt/results", None),
        ("/opt/x/../results", "file:///opt/results?readonly=1", None),
        ("/opt/results", "/opt/results/own", "/opt/results"),
        ("/opt/results", "/opt/res", "/opt/results"),
    ],
)
def test_a_base_lies_under_the_store_and_not_in_it(
    given: str, store: str, base: str | None
) -> None:
    environ = {"TUNEONCE_BASE": given, "TUNEONCE_STORE": store}
    assert read(environ).base == base_directory(environ, store) == base
    left_out = [one for one in complaints(environ) if "TUNEONCE_BASE" in one]
    assert bool(left_out) == bool(given and base is None)


@pytest.mark.parametrize("given", ["redis://me:secret@h/0", "s3://bucket", "memory:", "file:x"])
def test_a_base_is_a_directory(given: str) -> None:
    with pytest.raises(SettingsError, match="TUNEONCE_BASE") as caught:
        read({"TUNEONCE_BASE": given, "TUNEONCE_STORE": "/s"})
    assert "secret" not in str(caught.value)
    assert given.startswith("file:") or "TUNEONCE_REMOTE=ADDRESS?readonly=1" in str(caught.value)
    assert complaints({"TUNEONCE_BASE": given, "TUNEONCE_STORE": "/s"}) == []


def test_a_relative_base_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read({"TUNEONCE_BASE": "base", "TUNEONCE_STORE": "s"}).base == str(tmp_path / "base")
    assert read({"TUNEONCE_BASE": "s/base", "TUNEONCE_STORE": "s"}).base is None


def test_progress_is_on_unless_it_is_off() -> None:
    assert read({}).progress
    assert read({"TUNEONCE_PROGRESS": "1"}).progress
    assert not read({"TUNEONCE_PROGRESS": " Off "}).progress


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        (None, Recheck.OFF),
        ("", Recheck.OFF),
        ("0", Recheck.OFF),
        ("report", Recheck.REPORT),
        (" FIX ", Recheck.FIX),
    ],
)
def test_recheck(word: str | None, expected: Recheck) -> None:
    assert read({} if word is None else {"TUNEONCE_RECHECK": word}).recheck is expected


def test_a_recheck_that_is_none() -> None:
    with pytest.raises(SettingsError, match="yes"):
        read({"TUNEONCE_RECHECK": "yes"})
    assert not read({}).raise_errors


def test_the_environment_at_the_start_is_not_the_current_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TUNEONCE_TEST_LATE", "1")
    at_start = environment_at_start()
    assert at_start is not None
    assert "TUNEONCE_TEST_LATE" not in at_start
    assert set(at_start) & set(os.environ)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"A=1\0B=x=y\0C=\0", {"A": "1", "B": "x=y", "C": ""}),
        (b"A=\xff\0", {"A": "\udcff"}),
        # What is left when a program has set its process title.
        (b"", None),
        (b"\0" * 100, None),
        (b"EngineCore\0\0\0", None),
    ],
)
def test_what_the_system_keeps(
    raw: bytes, expected: dict[str, str] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "read_bytes", lambda self: raw)
    assert environment_at_start() == expected


def test_where_the_system_keeps_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(self: Path) -> bytes:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "read_bytes", absent)
    assert environment_at_start() is None


# -- what somebody has set and does not get ------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("TUNEONCE_WORKER", "; did you mean TUNEONCE_WORKERS?"),
        ("TUNEONCE_STORES", "; did you mean TUNEONCE_STORE?"),
        ("TUNEONCE_EVENT", "; did you mean TUNEONCE_EVENTS?"),
        ("TUNEONCE_RUNS", ""),
        ("TUNEONCE_FLAVOUR_OF_THE_DAY", ""),
    ],
)
def test_a_variable_that_is_not_known_is_named(name: str, hint: str) -> None:
    environ = {name: "x", "TUNEONCE": "1", "TUNEONCEXYZ": "another program's"}
    assert complaints(environ) == [f"{name} is not known{hint}"]
    assert read(environ).mode is Mode.ON


def test_every_variable_of_the_package_is_known_and_documented() -> None:
    source = Path(settings.__file__).parent
    named = {
        name
        for path in source.rglob("*.py")
        for name in re.findall(r"TUNEONCE_[A-Z][A-Z_]*[A-Z]", path.read_text())
    }
    assert named == set(VARIABLES)
    reference = (source.parents[1] / "docs" / "environment.md").read_text()
    assert [name for name in sorted(VARIABLES) if f"`{name}`" not in reference] == []


@pytest.mark.parametrize(
    ("word", "workers"),
    [("256", 256), ("257", 256), ("100000", 256), ("9" * 5000, 256), ("0" * 5000 + "7", 7)],
)
def test_no_more_workers_than_make_sense(word: str, workers: int) -> None:
    environ = {"TUNEONCE_WORKERS": word}
    assert read(environ).workers == workers
    told = complaints(environ)
    assert len(told) == (word not in ("256", "0" * 5000 + "7"))
    assert all("is taken as 256" in one and len(one) < 100 for one in told)


@pytest.mark.parametrize("word", ["-1", "many", "²", "1e3"])
def test_no_number_of_workers(word: str) -> None:
    assert complaints({"TUNEONCE_WORKERS": word}) == []  # an error, which `read` raises
    with pytest.raises(SettingsError):
        read({"TUNEONCE_WORKERS": word})


def test_installing_warns_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("TRITON_CACHE_AUTOTUNING", raising=False)
    for name, text in {"TUNEONCE_WORKER": "4", "TUNEONCE_WORKERS": "999", "TUNEONCE": "1"}.items():
        monkeypatch.setenv(name, text)
    with caplog.at_level("WARNING", logger="tuneonce"):
        try:
            assert tuneonce.install()
            assert tuneonce.install()
        finally:
            tuneonce.uninstall()
    assert caplog.messages == [
        "tuneonce: TUNEONCE_WORKER is not known; did you mean TUNEONCE_WORKERS?",
        "tuneonce: TUNEONCE_WORKERS=999 is taken as 256, which is the most",
    ]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, Warm()),
        ({"TUNEONCE_PROFILE": "qwen"}, Warm(profile="qwen")),
        ({"TUNEONCE_PROFILE": "0"}, Warm(recorded=False)),
        ({"TUNEONCE_WARM_BUDGET": "2.5"}, Warm(budget_s=2.5)),
        ({"TUNEONCE_WARM_BUDGET": "off"}, Warm(budget_s=0.0)),
        ({"TUNEONCE_BINARIES_MB": "64"}, Warm(binaries_mb=64)),
    ],
)
def test_what_a_start_keeps_for_the_next(environ: dict[str, str], expected: Warm) -> None:
    assert read(environ).warm == expected


@pytest.mark.parametrize("name", ["TUNEONCE_WARM_BUDGET", "TUNEONCE_BINARIES_MB"])
@pytest.mark.parametrize("word", ["-1", "ten", "1e9", "nan", "9" * 400])
def test_what_is_no_number_is_told(name: str, word: str) -> None:
    with pytest.raises(SettingsError, match=name):
        read({name: word})


# -- winners that are fixed ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "expected"),
    [("", None), ("0", None), ("off", None), ("2GB", 2 << 30), ("1.5m", 3 << 19)],
)
def test_how_large_a_store_may_be(word: str, expected: int | None) -> None:
    assert read({"HOME": "/root", "TUNEONCE_STORE_LIMIT": word}).store_limit == expected


def test_what_is_no_limit_is_told() -> None:
    with pytest.raises(SettingsError, match="TUNEONCE_STORE_LIMIT: '500' is no size"):
        read({"HOME": "/root", "TUNEONCE_STORE_LIMIT": "500"})


def test_where_the_frozen_winners_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert read({}).frozen is None
    assert read({"TUNEONCE_FROZEN": " "}).frozen is None
    assert read({"TUNEONCE_FROZEN": "w.json"}).frozen == tmp_path / "w.json"
    assert read({"TUNEONCE_FROZEN": "~/w.json"}).frozen == Path.home() / "w.json"


@pytest.mark.parametrize("word", ["report", " FIX "])
def test_where_nothing_is_measured_a_recheck_is_left_out_and_told(word: str) -> None:
    environ = {"TUNEONCE_RECHECK": word, "TUNEONCE_DETERMINISTIC": "1"}
    assert read(environ).recheck is Recheck.OFF
    [told] = complaints(environ)
    assert f"TUNEONCE_RECHECK={word.strip().lower()} is left out" in told
    for other in ({"TUNEONCE_RECHECK": word}, {**environ, "TUNEONCE_RECHECK": "0"}):
        assert complaints(other) == []
    assert read({"TUNEONCE_RECHECK": word}).recheck is not Recheck.OFF


def test_a_recheck_that_is_not_known_is_an_error_still() -> None:
    with pytest.raises(SettingsError, match="TUNEONCE_RECHECK"):
        read({"TUNEONCE_RECHECK": "perhaps", "TUNEONCE_DETERMINISTIC": "1"})


def test_a_limit_beside_a_remote_is_complained_of() -> None:
    both = {"TUNEONCE_STORE_LIMIT": "2GB", "TUNEONCE_REMOTE": "redis://user:secret@host"}
    [told] = complaints(both)
    assert "TUNEONCE_STORE_LIMIT has no effect" in told
    assert "secret" not in told
    for name in both:
        assert complaints({**both, name: " "}) == []
