"""Which keys a process shares with others of its machine, and what it does where one has a key."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

pytest.importorskip("triton")

import torch
import triton

from tests.kernels.equivalence_gpu import blocks, covering, make_copy
from tests.kernels.equivalence_lab import make_hook
from tuneonce.phase import Phases
from tuneonce.policies import OnMiss, Policies
from tuneonce.replica.wishes import Turn
from tuneonce.store.memory import MemoryStore
from tuneonce.store.readonly import ReadOnlyStore
from tuneonce.system.claims import Claim, Claims
from tuneonce.testing import SimulatedGPU
from tuneonce.triton.kernel import device_facts
from tuneonce.triton.launch import sharing
from tuneonce.triton.seams import kernels

X, OUT = torch.arange(4096.0), torch.zeros(4096)


@pytest.fixture(autouse=True)
def _compiled_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "compiled"))
    device_facts.forget()


class Asked(Claims):
    """Claims that remember what was asked for, all of which is free."""

    taken: ClassVar[list[str]] = []

    def take(self, name: str) -> Claim | None:
        self.taken.append(name)
        return super().take(name)


@pytest.fixture
def claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Asked:
    monkeypatch.setattr(Asked, "taken", [])
    return Asked(tmp_path)


@contextlib.contextmanager
def process(store: Any, claims: Claims | None, **more: Any) -> Iterator[Any]:
    hook, events = make_hook(store, claims=claims, **more)
    assert hook.install()
    try:
        with SimulatedGPU(do_bench=True):
            yield events
    finally:
        hook.uninstall()


def tunable(**options: Any) -> Any:
    return triton.autotune(blocks(64, 128), ["n"], **options)(make_copy())


def launch(kernel: Any, n: int = 4096) -> Any:
    return kernel[covering(n)](X, OUT, n)


# -- what is shared --------------------------------------------------------------------------------


def test_a_key_is_claimed_while_it_is_tuned_and_no_longer(claims: Asked) -> None:
    with process(MemoryStore(), claims) as events:
        launch(kernel := tunable())
        launch(kernel)
        launch(kernel, 2048)
    assert len(set(claims.taken)) == len(claims.taken) == 2
    assert list(claims.directory.iterdir()) == []
    assert len(events.of("tune")) == 2


def test_of_another_store_it_is_another_claim(claims: Asked, monkeypatch: Any) -> None:
    class Another(MemoryStore):
        def describe(self) -> Any:
            import dataclasses

            return dataclasses.replace(super().describe(), location="elsewhere")

    for store in (MemoryStore(), Another(), MemoryStore()):
        with process(store, claims):
            launch(tunable())
    assert len(set(claims.taken)) == 2


@pytest.mark.parametrize(
    "why",
    [
        "no directory",
        "serving",
        "apart",
        "collective",
        "known",
        "ranks benchmark together",
        "read-only",
        "silent",
    ],
)
def test_what_is_not_shared(why: str, claims: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    store: Any = MemoryStore()
    options: dict[str, Any] = {}
    more: dict[str, Any] = {}
    if why == "serving":
        more = {"phases": Phases(), "policies": Policies(serving=OnMiss.TUNE)}
        more["phases"].serve()
    elif why == "apart":
        more = {"apart": ("*.copy", "co?y")}
    elif why == "collective":
        text = "def copy(x, signal_pad_ptrs): pass"
        monkeypatch.setattr(kernels, "source_text", lambda kernel: text)
    elif why == "known":
        with process(store, None):
            launch(tunable())
    elif why == "ranks benchmark together":
        monkeypatch.setenv("WORLD_SIZE", "2")
        options = {"do_bench": lambda call, quantiles: [call(), 1.0, 1.0, 1.0][1:]}
    elif why == "read-only":
        store = ReadOnlyStore(store)
    elif why == "silent":
        monkeypatch.setattr(MemoryStore, "is_silent", True, raising=False)
    with process(store, None if why == "no directory" else claims, **more) as events:
        launch(kernel := tunable(**options))
        assert len(kernel.cache) == 1
    assert claims.taken == []
    assert len(events.of("tune")) == (why != "known")


# -- somebody else has it --------------------------------------------------------------------------


class Elsewhere(Claims):
    """Claims of which others have the first few; `progress` says how far these are."""

    had: int = 1
    seen: ClassVar[list[str]] = []

    def take(self, name: str) -> Claim | None:
        generation = int(name.rpartition("-")[2])
        if generation < self.had:
            return None
        self.seen.append(name)
        return super().take(name)

    def progress(self, name: str) -> int | None:
        return self.far(name)

    def far(self, name: str) -> int | None:
        return 5


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    monkeypatch.setattr(Elsewhere, "seen", [])
    monkeypatch.setattr(sharing, "_PATIENCE_S", 0.05)
    return Elsewhere(tmp_path)


@pytest.mark.parametrize("had", [1, 3])
def test_whoever_does_not_go_on_is_followed_by_the_next(
    elsewhere: Elsewhere, had: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Elsewhere, "had", had)
    with process(MemoryStore(), elsewhere) as events:
        launch(tunable())
    assert [name.rpartition("-")[2] for name in elsewhere.seen] == [str(had)]
    assert len(events.of("tune")) == 1
    [waited] = events.of("wait")
    assert waited["seconds"] > 0.05 * had


def test_where_all_are_stopped_it_is_tuned_without_a_claim(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Elsewhere, "had", 1000)
    with process(MemoryStore(), elsewhere) as events:
        launch(tunable())
    assert len(events.of("tune")) == 1


def test_what_is_given_up_without_a_verdict_is_not_claimed_by_one_after_another(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where nothing can be stored: all who have waited tune at once, as stock does."""
    monkeypatch.setattr(sharing, "_GRACE_S", 0.02)
    monkeypatch.setattr(Elsewhere, "far", lambda self, name: None)
    with process(MemoryStore(), elsewhere) as events:
        launch(tunable())
    assert elsewhere.seen == []
    assert len(events.of("tune")) == 1


def test_a_verdict_that_comes_meanwhile_is_used(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore()
    with process(store, None):
        launch(tunable())
    found = {name: store.get(name) for name in store.list("")}
    late = MemoryStore()

    def far(self: Elsewhere, name: str) -> int:
        for one, data in found.items():
            late.put(one, data or b"")
        return 1

    monkeypatch.setattr(Elsewhere, "far", far)
    with process(late, elsewhere) as events:
        launch(kernel := tunable())
        launch(kernel)
    assert events.of("tune") == []
    assert [one["outcome"] for one in events.of("resolve")] == ["miss", "hit"]
    assert len(events.of("wait")) == 1


def test_errors_of_ours_cost_the_sharing_and_not_the_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEONCE_RAISE", "0")
    hook, events = make_hook(MemoryStore(), claims=Claims(tmp_path / "nowhere"))
    object.__setattr__(hook._persistence, "raise_errors", False)
    assert hook.install()
    try:
        with SimulatedGPU(do_bench=True):
            launch(kernel := tunable())
            assert len(kernel.cache) == 1
    finally:
        hook.uninstall()
    assert len(events.of("tune")) == 1
    assert [one["what"] for one in events.of("problem")] == ["internal_share_tuning"]


# -- another machine has it ------------------------------------------------------------------------


class Remote:
    """What machines share, as a link tells of it: `turns` are what claims come to, in turn.

    `comes` is put into the store by its first question of the kind that `when` names.
    """

    def __init__(
        self,
        *turns: Turn,
        store: Any = None,
        comes: dict[str, Any] | None = None,
        when: str = "claim",
    ) -> None:
        self.turns, self.asked = list(turns), list[str]()
        self._store, self._comes, self._when = store, comes or {}, when

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if what == self._when:
            for name, data in self._comes.items():
                self._store.put(name, data)

    def await_pulled(self, name: str) -> bool:
        self._ask("await_pulled")
        return self._when == "await_pulled"

    def claim(self, name: str) -> Turn:
        self._ask("claim")
        return self.turns.pop(0)

    def give_up(self, name: str) -> None:
        self._ask("give_up")


@pytest.fixture
def found() -> dict[str, Any]:
    """What another machine has found out."""
    store = MemoryStore()
    with process(store, None):
        launch(tunable())
    return {name: store.get(name) for name in store.list("")}


def test_a_known_key_asks_no_remote(claims: Asked, found: dict[str, Any]) -> None:
    store, remote = MemoryStore(), Remote()
    for name, data in found.items():
        store.put(name, data)
    with process(store, claims, remote=remote):
        launch(kernel := tunable())
        launch(kernel)
    assert remote.asked == []


def test_what_has_been_pulled_meanwhile_is_a_hit(claims: Asked, found: dict[str, Any]) -> None:
    store = MemoryStore()
    remote = Remote(store=store, comes=found, when="await_pulled")
    with process(store, claims, remote=remote) as events:
        launch(kernel := tunable())
        launch(kernel)
    assert remote.asked == ["await_pulled"]
    assert events.of("tune") == []
    assert [one["outcome"] for one in events.of("resolve")] == ["hit"]


def test_a_key_whose_turn_it_is_here_is_measured_at_once(claims: Asked) -> None:
    remote = Remote(Turn.OURS)
    with process(MemoryStore(), claims, remote=remote) as events:
        launch(tunable())
    assert remote.asked == ["await_pulled", "claim", "give_up"]
    assert len(events.of("tune")) == 1


@pytest.mark.parametrize("turn", [Turn.KNOWN, Turn.THEIRS])
def test_a_verdict_of_another_machine_is_adopted(
    claims: Asked, found: dict[str, Any], turn: Turn
) -> None:
    store = MemoryStore()
    remote = Remote(turn, store=store, comes=found)
    with process(store, claims, remote=remote) as events:
        launch(tunable())
    assert remote.asked == ["await_pulled", "claim"]
    assert events.of("tune") == []
    assert list(claims.directory.iterdir()) == []


def test_another_machine_that_finds_nothing_is_waited_for_until_all_is_compiled_and_no_longer(
    claims: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "_MACHINE_S", 0.05)
    advanced = []
    advance = Claim.advance
    monkeypatch.setattr(Claim, "advance", lambda self: (advanced.append(1), advance(self))[1])
    remote = Remote(Turn.THEIRS)
    with process(MemoryStore(), claims, remote=remote) as events:
        launch(tunable())
    assert len(events.of("tune")) == 1
    [waited] = events.of("wait")
    assert waited["seconds"] >= 0.05
    # Others of this machine see that it goes on.
    assert len(advanced) > 5
    assert remote.asked[-1] == "give_up"


def test_no_remote_is_asked_while_serving(claims: Asked) -> None:
    phases, remote = Phases(), Remote()
    phases.serve()
    more = {"phases": phases, "policies": Policies(serving=OnMiss.TUNE), "remote": remote}
    with process(MemoryStore(), claims, **more) as events:
        launch(tunable())
    assert remote.asked == []
    assert len(events.of("tune")) == 1


@pytest.mark.parametrize("what", ["await_pulled", "claim", "give_up"])
def test_a_link_that_fails_costs_no_launch(
    claims: Asked, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Remote(Turn.OURS)

    def fail(name: str) -> Any:
        raise RuntimeError(what)

    monkeypatch.setattr(remote, what, fail)
    hook, events = make_hook(MemoryStore(), claims=claims, remote=remote)
    object.__setattr__(hook._persistence, "raise_errors", False)
    assert hook.install()
    try:
        with SimulatedGPU(do_bench=True):
            launch(kernel := tunable())
            assert len(kernel.cache) == 1
    finally:
        hook.uninstall()
    assert len(events.of("tune")) == 1
    assert len(events.of("problem")) == 1
    assert list(claims.directory.iterdir()) == []
