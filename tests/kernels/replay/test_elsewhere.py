"""Programs on machines that share a remote: what one needed is ready at another's first start."""

from __future__ import annotations

import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

from tests.fakes import Children
from tests.kernels.replay.replay_kernels import plain, tune, x
from tests.kernels.replay.replay_lab import Program, Start
from tests.kernels.replay.test_process import LAUNCHES, assert_ready, everything_below, start
from tests.kernels.warm import WarmPython
from tuneonce.events.log import read_processes
from tuneonce.model.record_names import PROFILES, kind_of, world_of_shared
from tuneonce.model.records import pack, unpack
from tuneonce.model.shared_profiles import SharedProfile
from tuneonce.replica import open_replica
from tuneonce.replica.base import Offer
from tuneonce.replica.exchange import pull, push
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore
from tuneonce.system.patience import Patience

# What machines share is the same with every version of Triton.
pytestmark = pytest.mark.slow

# -- programs, each a process --------------------------------------------------------------------


class Fleet:
    """Machines by name: each has a store, a Triton cache and a home of its own."""

    def __init__(self, home: Path, warm: WarmPython) -> None:
        self.home, self.remote = home, f"file://{home}/remote"
        self._warm = warm

    def machine(self, name: str) -> Children:
        environment = {
            "TUNEONCE_WORKERS": "2",
            "TUNEONCE_PROFILE": "server",
            "TUNEONCE_EVENTS": str(self.home / name / "events"),
        }
        return Children(self.home / name, environment, warm=self._warm)

    def start(self, name: str, *steps: str, **environment: str) -> dict[str, Any]:
        return start(self.machine(name), *steps, TUNEONCE_REMOTE=self.remote, **environment)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Those of the last start, in its program."""
        return [*read_processes(self.home / name / "events")][-1]

    def shared(self, name: str) -> dict[str, list[str]]:
        """By the name of each record that is shared of a profile, the kernels of its variants."""
        found = {}
        for path in self.machine(name).store.glob(f"{PROFILES}*/*.shared.json"):
            record = unpack(path.read_bytes(), SharedProfile)
            found[path.name] = sorted(one.kernel.partition(":")[2] for one in record.variants)
        return found


@pytest.fixture
def fleet(tmp_path: Path, warm_python: WarmPython) -> Fleet:
    return Fleet(tmp_path, warm_python)


def of(events: list[dict[str, Any]], what: str) -> list[dict[str, Any]]:
    return [event for event in events if event.get("e") == what]


def assert_a_first_start_is_ready(fleet: Fleet, name: str) -> None:
    said = fleet.start(name, "ready", *LAUNCHES)
    assert_ready(said, *LAUNCHES)
    # What had to be compiled was, beside each other, before it said that it was ready.
    assert [kernel for kernel, from_cache in said["ready"]["compiled"] if not from_cache] == []
    events = fleet.events(name)
    (replayed,) = of(events, "replay")
    assert replayed["variants"] >= len(LAUNCHES)
    assert replayed["compiled"] > 0
    assert (of(events, "tune"), of(events, "problem")) == ([], [])
    assert [event["outcome"] for event in of(events, "resolve")] == ["hit"]


@pytest.mark.slow
def test_a_new_machine_is_ready_at_its_first_start(fleet: Fleet) -> None:
    fleet.start("a", "launch", "tune", "ready", "second")
    assert [*fleet.shared("a").values()] == [["first", "second", "tuned"]]
    assert_a_first_start_is_ready(fleet, "b")
    assert fleet.shared("b") == fleet.shared("a")
    # From now on both need the same, and write nothing.
    before = everything_below(fleet.home / "remote")
    there = {one: everything_below(fleet.machine(one).store / PROFILES) for one in "ab"}
    for name in "ab":
        fleet.start(name, "ready", *LAUNCHES)
        assert of(fleet.events(name), "problem") == []
        after = everything_below(fleet.machine(name).store / PROFILES)
        for path, written in there[name].items():
            if path.endswith(".shared.json"):
                assert after[path] == written
    assert everything_below(fleet.home / "remote") == before


@pytest.mark.slow
def test_what_two_machines_needed_is_ready_at_a_third(fleet: Fleet) -> None:
    """Each has started before it knew of the other."""
    fleet.start("a", "launch", "tune", "ready")
    start(fleet.machine("b"), "second", "tune", "ready", TUNEONCE_REMOTE="")
    assert [*fleet.shared("b").values()] == [["second", "tuned"]]
    fleet.start("b", "ready")
    assert_a_first_start_is_ready(fleet, "c")
    fleet.start("a", "ready")
    assert fleet.shared("a") == fleet.shared("b") == fleet.shared("c")
    assert [*fleet.shared("a").values()] == [["first", "second", "tuned"]]


@pytest.mark.parametrize("other", [{"TUNEONCE_PROFILE": "another"}, {"PRODUCT": "NVIDIA H100"}])
def test_another_program_or_world_has_nothing_of_it(fleet: Fleet, other: dict[str, str]) -> None:
    fleet.start("a", "launch", "tune", "ready")
    said = fleet.start("b", "ready", "launch", "tune", **other)
    assert said["launch"]["compiled"] == [["first", False]]
    assert of(fleet.events("b"), "replay") == []
    assert len(fleet.shared("b")) == 2 - ("TUNEONCE_PROFILE" in other)
    folders = [*(fleet.machine("b").store / PROFILES).iterdir()]
    assert len(folders) == 1 + ("TUNEONCE_PROFILE" in other)


def test_a_program_that_wants_no_profile_takes_and_gives_nothing(fleet: Fleet) -> None:
    steps = ("ready", "launch", "tune")
    fleet.start("a", *steps, TUNEONCE_PROFILE="")
    profiles = fleet.machine("a").store / PROFILES
    for path in profiles.rglob("*.profile.json"):
        path.unlink()
    before = everything_below(profiles)
    said = fleet.start("a", *steps, TUNEONCE_PROFILE="0")
    assert said["ready"]["loaded"] == 0
    assert of(fleet.events("a"), "replay") == []
    assert everything_below(profiles) == before
    # Who does not say so has it.
    assert_ready(fleet.start("a", *steps, TUNEONCE_PROFILE=""), "launch", "tune")


def test_a_deterministic_start_is_ready_by_what_was_pulled_before(fleet: Fleet) -> None:
    fleet.start("a", "launch", "tune", "ready", "second")
    store = FileStore(fleet.machine("b").store)
    with open_replica(fleet.remote) as replica:
        assert pull(store, replica).new > 1
    before = everything_below(fleet.machine("b").store)
    said = fleet.start("b", "ready", *LAUNCHES, TUNEONCE_DETERMINISTIC="1")
    assert_ready(said, *LAUNCHES)
    assert everything_below(fleet.machine("b").store) == before


def hostile(good: SharedProfile) -> dict[str, bytes]:
    """What somebody might push in the place of a shared profile."""
    body = json.dumps({"profile": good.profile, "world": good.world, "keys": []})
    many = json.loads(pack(good).partition(b"\n")[2])
    one = {**many["variants"][0], "variant": {}, "binary": ""}
    many["variants"] = [{**one, "key": str(n)} for n in range(3000)]

    def headed(text: bytes) -> bytes:
        says = {"schema": "tuneonce.shared-profile/1", "sha256": hashlib.sha256(text).hexdigest()}
        return json.dumps(says).encode() + b"\n" + text

    return {
        "garbage": b"\x00garbage",
        "nothing": b"",
        "no entries": headed(body.encode() + b"\n"),
        "too many": headed(json.dumps(many).encode() + b"\n"),
        "deep": headed(body[:-1].encode() + b',"variants":' + b"[" * 100_000 + b"}\n"),
    }


@pytest.mark.slow
def test_what_is_pushed_in_its_place_costs_nothing_and_is_mended(fleet: Fleet) -> None:
    fleet.start("a", "launch", "tune", "ready", "second")
    store = FileStore(fleet.machine("a").store)
    (name,) = (one for one in store.list(PROFILES) if kind_of(one) is SharedProfile)
    data, world = store.get(name), world_of_shared(name)
    assert data is not None
    assert world is not None
    good = unpack(data, SharedProfile)
    elsewhere = name.replace(world, "NVIDIA-H100-90~" + "0" * 12)
    for number, bad in enumerate(hostile(good).values()):
        with open_replica(f"file://{fleet.home}/remote-{number}") as replica:
            replica.push(world, [Offer(name, bad), Offer(name.replace("~", "~0", 1), data)])
            replica.push("NVIDIA-H100-90~" + "0" * 12, [Offer(elsewhere, data)])
            other = MemoryStore()
            assert (pull(other, replica).new, list(other.list(""))) == (0, [])
            assert push(store, replica).replaced == 1
            assert pull(other, replica).new > 1
            assert other.get(name) == data
    # A machine that finds the worst of it starts as one that finds nothing.
    fleet.remote = f"file://{fleet.home}/hostile"
    with open_replica(fleet.remote) as replica:
        replica.push(world, [Offer(name, hostile(good)["too many"]), Offer(elsewhere, data)])
    said = fleet.start("b", "ready", "launch", "tune")
    assert said["launch"]["compiled"] == [["first", False]]
    events = fleet.events("b")
    assert of(events, "replay") == []
    assert {event["what"] for event in of(events, "problem")} == {"remote"}
    fleet.start("c", "ready", *LAUNCHES)
    assert of(fleet.events("c"), "replay")[0]["variants"] >= 2


# -- in one process ------------------------------------------------------------------------------


def other_machine(program: Program) -> Program:
    """One that has what the first shares of its profile, and its verdicts."""
    there = Program(MemoryStore())
    for name in program.store.list(""):
        if kind_of(name) is SharedProfile or name.startswith("v1/"):
            there.store.put(name, program.store.get(name) or b"")
    return there


def first(program: Program) -> None:
    with program.start() as started:
        tune()
        plain[(1,)](x(), 5, 2)
        started.ready()


def launched(started: Start) -> None:
    with started.nothing_compiled_or_loaded():
        tune()
        plain[(1,)](x(), 5, 2)


def test_it_is_ready_of_kernels_in_use_too_without_waiting_for_anybody() -> None:
    """Beside the first requests, in a program that does not say when it is ready."""
    program = Program()
    first(program)
    there = other_machine(program)
    with there.start() as started:
        started.replay._warmer._elsewhere._await_pulled = None
        plain[(1,)](x(), 5, 3)
        assert started.replay.warm(launched_only=True).variants == 1
        assert started.replay.warm().variants == 1
        launched(started)


def test_what_has_not_come_when_the_program_starts_is_there_when_it_is_ready() -> None:
    """The profile was read before, and said nothing."""
    program = Program()
    first(program)
    there, come = Program(MemoryStore()), other_machine(program)
    waited: list[float] = []
    with there.start() as started:
        assert started.replay._warmer.profile().variants == []

        def arrive() -> None:
            waited.append(0.0)
            for name in come.store.list(""):
                there.store.put(name, come.store.get(name) or b"")

        started.replay._warmer._elsewhere._await_pulled = arrive
        assert started.ready().variants == 2
        launched(started)
    assert len(waited) == 1


def test_what_the_remote_takes_is_taken_from_the_patience_of_the_start() -> None:
    program = Program()
    first(program)
    now = [0.0]
    with other_machine(program).start() as started:

        def take_long() -> None:
            now[0] += 1.5

        started.replay._warmer._elsewhere._await_pulled = take_long
        patience = Patience(2.0, clock=lambda: now[0])
        assert started.replay.warm(patience).variants == 2
        assert patience.left == 0.5


def test_who_knows_what_it_needs_asks_nobody() -> None:
    program = Program()
    for _ in range(2):
        first(program)
    asked: list[int] = []
    with program.start() as started:
        started.replay._warmer._elsewhere._await_pulled = lambda: asked.append(1)
        assert started.ready().variants == 2
        launched(started)
    assert asked == []


def test_the_device_is_asked_for_only_where_something_is_shared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tuneonce.triton.kernel import device_facts

    asked: list[int] = []

    def no_device(*, interpreted: bool) -> Any:
        asked.append(1)
        raise RuntimeError("no device")

    program = Program()
    first(program)
    monkeypatch.setattr(device_facts, "current_world", no_device)
    with Program().start() as started:
        assert started.replay.warm().left_out == {}
    assert asked == []
    with other_machine(program).start() as started:
        assert started.replay.warm().variants == 0
    assert asked == [1]


@pytest.mark.parametrize(
    ("options", "is_server", "shares"),
    [({}, False, True), ({}, True, False), ({"recorded": False}, False, False)],
)
def test_a_program_that_says_nothing_shares_what_it_needed_when_it_has_ended_well(
    options: dict[str, Any], is_server: bool, shares: bool
) -> None:
    program = Program()
    with program.start(**options) as started:
        tune()
        started.replay.end(is_server=is_server)
        assert any(kind_of(name) is SharedProfile for name in program.store.list("")) is shares


def test_what_a_slow_store_gives_late_is_made_ready_beside_the_first_requests() -> None:
    class Hanging(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.answers = threading.Event()

        def get(self, name: str) -> bytes | None:
            if kind_of(name) is SharedProfile:
                assert self.answers.wait(60.0)
            return super().get(name)

    program, store = Program(), Hanging()
    first(program)
    for name in (come := other_machine(program)).store.list(""):
        store.put(name, come.store.get(name) or b"")
    with Program(store).start(background=True) as started:
        warmer = started.replay._warmer
        assert started.replay.warm(Patience(0.05)).variants == 0
        assert warmer.is_late
        store.answers.set()
        while warmer.is_late:
            warmer._reads.finish(60.0)
        assert started.replay.warm().variants == 2
        launched(started)
