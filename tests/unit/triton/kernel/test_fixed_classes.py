"""What is kept of one key where nothing is measured."""

from __future__ import annotations

import gc
import threading
from typing import Any

import pytest

pytest.importorskip("triton")

from triton import Config

from tuneonce.triton.kernel import exact_reader, fixed_classes
from tuneonce.triton.kernel.exact_reader import Needs
from tuneonce.triton.kernel.fixed_classes import FixedClasses, Place
from tuneonce.tuning.class_winners import ClassWinners

SMALL, LARGE = Config({"BLOCK": 16}), Config({"BLOCK": 32})
KEY = ("torch.float32",)
DIFFERENT = ClassWinners({"c00e02": "a", "c03e02": "b"})
ARGS = None, 100


class Autotuner:
    arg_names = ("x", "n")
    keys: tuple[str, ...] = ()
    configs = (SMALL, LARGE)
    fn = None
    nargs: Any = None

    def __init__(self, early_config_prune: Any = None) -> None:
        self.early_config_prune = early_config_prune

    def prune_configs(self, kwargs: Any) -> Any:
        found = [one for one in self.configs if one.kwargs["BLOCK"] <= self.nargs["n"]]
        return found if self.early_config_prune else self.configs


def made(**options: Any) -> tuple[Any, FixedClasses]:
    autotuner = Autotuner(**options)
    return autotuner, FixedClasses(autotuner, KEY)


@pytest.fixture(autouse=True)
def _pruned_by_attribute(monkeypatch: pytest.MonkeyPatch) -> None:
    prunes = lambda autotuner: autotuner.early_config_prune is not None  # noqa: E731
    monkeypatch.setattr(fixed_classes.autotuners, "prunes", prunes)


def grid_of(programs: int) -> dict[str, Any]:
    return {"grid": (programs,)}


def test_where_one_winner_is_for_all_sizes_nothing_is_read_of_them() -> None:
    autotuner, classes = made()
    classes.know(ClassWinners({"c00e02": "a", "c03e02": "a"}))
    places = [classes.place(autotuner, ARGS, grid_of(n)) for n in (1, 64)]
    assert places == [Place(None, (), None)] * 2


def test_where_winners_differ_a_place_has_the_class() -> None:
    autotuner, classes = made()
    classes.know(DIFFERENT)
    found = [classes.place(autotuner, ARGS, grid_of(n)).work_class for n in (1, 64, 0)]
    assert found == ["c00", "c03", "cxx"]


def test_where_the_list_is_pruned_a_place_has_the_list() -> None:
    autotuner, classes = made(early_config_prune=True)
    found = [classes.place(autotuner, (None, n), grid_of(1)).candidates for n in (100, 20)]
    assert found == [(0, 1), (0,)]


def test_what_is_known_of_calls_is_forgotten_when_more_of_them_matters() -> None:
    """As of a kernel whose other list has winners that differ."""
    autotuner, classes = made()
    cache: dict[Any, Any] = {}
    known = classes.new_known()
    assert known.meet(autotuner, ARGS, grid_of(1)) is None
    classes.put(cache, classes.place(autotuner, ARGS, grid_of(1)), SMALL)
    entry = known.meet(autotuner, ARGS, grid_of(1))
    assert entry is not None
    assert known.entries == {None: entry}
    classes.know(ClassWinners())
    assert known.entries == {None: entry}
    classes.know(DIFFERENT)
    assert (known.entries, classes.needs) == ({}, Needs(programs=True))
    assert known.meet(autotuner, ARGS, grid_of(1)) is None
    classes.put(cache, classes.place(autotuner, ARGS, grid_of(64)), LARGE)
    assert known.meet(autotuner, ARGS, grid_of(1)) is None
    entry = known.meet(autotuner, ARGS, grid_of(64))
    assert entry is not None
    assert [*known.entries.values()] == [entry]
    assert entry.config is LARGE


def test_a_grid_that_cannot_be_read_is_evaluated_in_each_launch_and_looked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_at: list[Any] = []
    monkeypatch.setattr(exact_reader, "stays", lambda grid: bool(looked_at.append(grid)))
    autotuner, classes = made()
    classes.know(DIFFERENT)
    kwargs = {"grid": lambda meta: (meta["n"],)}
    for n, config in ((1, SMALL), (64, LARGE)):
        classes.put({}, classes.place(autotuner, (None, n), kwargs), config)
    known = classes.new_known()
    for n, config in ((1, SMALL), (64, LARGE), (2, SMALL), (65, LARGE)):
        entry = known.meet(autotuner, (None, n), kwargs)
        assert entry is not None
        assert entry.config is config
    assert (known.entries, len(looked_at)) == ({}, 1)


def test_what_is_known_of_calls_that_are_not_kept_is_let_go() -> None:
    _, classes = made()
    known = classes.new_known()
    assert len(classes._known) == 1
    del known
    gc.collect()
    assert len(classes._known) == 0


def test_a_winner_that_is_changed_in_place_has_another_entry() -> None:
    autotuner, classes = made()
    config = Config({"BLOCK": 16})
    classes.put({}, place := classes.place(autotuner, ARGS, grid_of(1)), config)
    before = classes.entry_at(place)
    config.kwargs["BLOCK"] = 64
    after = classes.entry_of_call(autotuner, ARGS, grid_of(1))
    assert before is not None
    assert after is not None
    assert (before.launch["BLOCK"], after.launch["BLOCK"]) == (16, 64)


def test_what_was_put_in_place_by_a_thread_is_ours_when_its_place_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fixed_classes, "MOST_SIZES", 2)
    _, classes = made()
    cache: dict[Any, Any] = {}
    classes.put(cache, "a", SMALL)
    other = threading.Thread(target=lambda: classes.put(cache, "b", LARGE))
    other.start()
    other.join()
    classes.put(cache, "c", LARGE)
    assert classes.winners.keys() == {"c"}
    assert classes.is_ours(SMALL)
    assert not classes.is_ours(Config({"BLOCK": 16}))
