from __future__ import annotations

import copy
import inspect
import pickle

import pytest

from tuneonce import errors
from tuneonce.errors import (
    RecordUnreadable,
    SettingsError,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    TuneonceError,
    Unreadable,
    UsageError,
)


@pytest.mark.parametrize(
    "error",
    [
        UsageError("one line"),
        SettingsError("one line"),
        StoreError("message"),
        StoreUnavailable("message", store="file:///x"),
        StoreFull("message", store="file:///x"),
        StoreReadOnly("message", store="file:///x"),
        RecordUnreadable("k/w/r", Unreadable.OWNER, store="file:///x", detail="user 7"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_cross_process_borders(error: TuneonceError) -> None:
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(twin) is type(error)
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)


def test_an_unreadable_record_says_which_why_and_what_next() -> None:
    error = RecordUnreadable("k/w/r", Unreadable.OWNER, store="file:///x", detail="user 7")
    assert str(error) == (
        "record k/w/r in file:///x cannot be read: wrong owner (user 7). It counts as a miss. "
        "`tuneonce verify` lists such records."
    )
    assert f"{error.reason}" == str(error.reason) == "wrong owner"


def test_the_tree_in_the_documentation_is_the_tree() -> None:
    found = {
        name
        for name, value in inspect.getmembers(errors, inspect.isclass)
        if issubclass(value, TuneonceError)
    }
    documented = {
        word
        for line in (errors.__doc__ or "").splitlines()
        for word in line.split()
        if word in found
    }
    assert documented == found
    assert issubclass(StoreFull, StoreUnavailable)
    for kind in (StoreUnavailable, StoreReadOnly, RecordUnreadable):
        assert issubclass(kind, StoreError)
