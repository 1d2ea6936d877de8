from __future__ import annotations

import os
from pathlib import Path

import pytest

import tuneonce.store
from tests.fakes import run_python
from tuneonce.errors import SettingsError
from tuneonce.store import open_store
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore


@pytest.mark.parametrize(
    ("address", "location"),
    [
        ("/srv/tuneonce", "/srv/tuneonce"),
        ("/srv//tuneonce/./", "/srv/tuneonce"),
        ("/srv/tune once?readonly=1#%20", "/srv/tune once?readonly=1#%20"),
        ("file:///srv/tuneonce", "/srv/tuneonce"),
        ("file:/srv/tuneonce", "/srv/tuneonce"),
        ("FILE:///srv/tuneonce", "/srv/tuneonce"),
        ("file://localhost/srv/tuneonce", "/srv/tuneonce"),
        ("file:///srv/tune%20once%3F%23", "/srv/tune once?#"),
        ("file:///srv/tuneonce?readonly=0", "/srv/tuneonce"),
        ("./like:this", "{cwd}/like:this"),
        ("relative/path", "{cwd}/relative/path"),
        ("~/cache", "{home}/cache"),
        (Path("/srv/tuneonce"), "/srv/tuneonce"),
        (Path("memory:"), "{cwd}/memory:"),
    ],
)
def test_directories(address: str | Path, location: str) -> None:
    store = open_store(address)
    assert isinstance(store, FileStore)
    expected = location.format(cwd=Path.cwd(), home=Path.home())
    assert store.describe().location == expected
    assert open_store(store.describe().url).describe().location == expected


def test_a_path_that_is_not_text_has_an_address_too() -> None:
    path = os.fsdecode(b"/srv/\xff\xfe")
    store = open_store(path)
    assert store.describe().url == "file:///srv/%FF%FE"
    assert open_store(store.describe().url).describe().location == path


@pytest.mark.parametrize("address", ["memory:", "memory://", "Memory:"])
def test_memory(address: str) -> None:
    store = open_store(address)
    assert isinstance(store, MemoryStore)
    assert open_store(address) is not store


@pytest.mark.parametrize("value", ["1", "true", "True"])
@pytest.mark.parametrize("address", ["memory:", "file:///srv/tuneonce"])
def test_read_only(address: str, value: str) -> None:
    store = open_store(f"{address}?readonly={value}")
    assert isinstance(store, ReadOnlyStore)
    assert not store.describe().writable
    assert isinstance(open_store(store.describe().url), ReadOnlyStore)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("", "empty"),
        ("/", "no place for a store"),
        ("//", "no place for a store"),
        ("file:///", "no place for a store"),
        ("a\0b", "NUL"),
        ("~nobody-of-this-name/cache", "no such user"),
        ("redis://host/0", "redis"),
        ("s3://bucket", "s3"),
        ("memroy:", "memroy"),
        ("https://example.org", "file:///"),
        ("memory:name", "no path"),
        ("memory://host", "no host"),
        ("memory:?size=3", "readonly=1"),
        ("file:relative", "absolute"),
        ("file://server/share", "three slashes"),
        ("file://", "absolute"),
        ("file:///srv?readonly=maybe", "readonly=1"),
        ("file:///srv?read_only=1", "readonly=1"),
        ("file:///srv#there", "%23"),
        ("file:///srv%00", "NUL"),
    ],
)
def test_an_address_that_means_nothing_is_refused(address: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        open_store(address)


@pytest.mark.parametrize("address", ["redis://me:secret@host/0", "file://me:secret@host/x"])
def test_a_password_is_never_repeated(address: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_store(address)
    assert "secret" not in str(caught.value)


def test_no_home_no_current_directory(tmp_path: Path) -> None:
    code = """
import os, shutil, sys
from tuneonce.errors import SettingsError
from tuneonce.store import open_store
os.chdir(sys.argv[1]); os.rmdir(sys.argv[1])
try:
    open_store("relative")
except SettingsError as error:
    assert "current directory" in str(error)
else:
    raise SystemExit("not refused")
assert open_store("/srv/x").get("name") is None
"""
    folder = tmp_path / "gone"
    folder.mkdir()
    run_python("-c", code, folder)


def test_the_package_exports_little_and_imports_less() -> None:
    names = ["Store", "StoreInfo", "open_base", "open_store", "open_with_older"]
    assert tuneonce.store.__all__ == names
    code = (
        "import sys, tuneonce.store\n"
        "heavy = {'msgspec', 'rich', 'torch', 'triton', 'asyncio', 'tuneonce.store.files'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    run_python("-c", code)
