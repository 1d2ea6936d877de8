"""What was installed with a module is remembered, and nothing that is put there later."""

from __future__ import annotations

import json.decoder
import json.scanner
from types import ModuleType

import pytest

from tuneonce.triton.compile.own_code import OwnCode, _Look

MODULES = [json.decoder, json.scanner]


@pytest.fixture
def known() -> OwnCode:
    """One that has looked already."""
    own = OwnCode()
    assert own.foreign(MODULES) is None
    return own


def mine(*arguments: object) -> None:
    """No code of Python's library."""


def test_what_was_seen_is_not_looked_at_again(
    known: OwnCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(*arguments: object) -> None:
        raise AssertionError("a second look")

    monkeypatch.setattr(_Look, "foreign", look)
    assert known.foreign(MODULES) is None
    with pytest.raises(AssertionError, match="second look"):
        known.foreign([*MODULES, json])


def test_a_function_that_was_replaced(known: OwnCode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json.decoder, "py_scanstring", mine)
    assert known.foreign(MODULES) == "json.decoder.py_scanstring"
    assert known.foreign(MODULES) == "json.decoder.py_scanstring"
    monkeypatch.undo()
    assert known.foreign(MODULES) is None


def test_a_method_that_was_replaced(known: OwnCode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json.decoder.JSONDecoder, "decode", mine)
    assert known.foreign(MODULES) == "json.decoder.JSONDecoder.decode"


def test_code_in_the_place_of_a_functions_own(
    known: OwnCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vars(json.decoder)["py_scanstring"], "__code__", mine.__code__)
    assert known.foreign(MODULES) == "json.decoder.py_scanstring"


def test_something_that_is_new(known: OwnCode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json.scanner, "mine", mine, raising=False)
    assert known.foreign(MODULES) == "json.scanner.mine"


def test_something_new_in_the_place_of_another(
    known: OwnCode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as before, and none of those that are left was replaced."""
    last = list(vars(json.scanner))[-1]
    monkeypatch.delattr(json.scanner, last)
    monkeypatch.setattr(json.scanner, "mine", mine, raising=False)
    assert known.foreign(MODULES) == "json.scanner.mine"


def test_a_module_in_the_place_of_another(known: OwnCode) -> None:
    other = ModuleType("json.scanner")
    vars(other)["mine"] = mine
    assert known.foreign([json.decoder, other]) == "json.scanner.mine"


def test_python_in_an_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    own = OwnCode()
    extension = ModuleType("extension")
    vars(extension)["inner"] = ModuleType("inner")
    assert own.foreign([], {"passes": extension, "none": None}) is None
    vars(vars(extension)["inner"])["mine"] = mine
    assert own.foreign([], {"passes": extension, "none": None}) == "passes.inner.mine"


def test_a_module_that_changes_while_it_is_compared(known: OwnCode) -> None:
    """It is looked at anew, and no error comes of it."""

    class Changing(dict[str, object]):
        def values(self) -> object:  # type: ignore[override]
            raise RuntimeError("dictionary changed size during iteration")

    look = known._remembered
    assert look is not None
    _, values = look._namespaces[0]
    look._namespaces[0] = Changing(dict.fromkeys(map(str, range(len(values))))), values
    assert known.foreign(MODULES) is None
    assert known._remembered is not look
