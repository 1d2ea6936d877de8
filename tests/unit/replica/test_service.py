"""What a courier does for a program: wishes are granted in turn, and claims are kept up."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from tests.factories import H100, make_key, put_variants, put_verdict, put_wanted
from tuneonce.errors import StoreFull, StoreUnavailable
from tuneonce.replica import service as module
from tuneonce.replica.base import Offer, Replica, Taken
from tuneonce.replica.in_memory import Shared, in_memory
from tuneonce.replica.readonly import ReadOnlyReplica
from tuneonce.replica.service import Listener, News, Service
from tuneonce.replica.wishes import Said, Turn, Wish
from tuneonce.store import Store
from tuneonce.store.memory import MemoryStore

TIMES = {64: (0.2,), 128: (0.1,)}


class Machine:
    """A service on a store of its own. What it listens for is in `listened`."""

    def __init__(self, replica: Replica, owner: str = "one", **more: Any) -> None:
        self.replica, self.store = replica, MemoryStore()
        self.said: list[Said] = []
        self.listened: list[tuple[str, str]] = []
        self.wishes: Any = queue.SimpleQueue()
        self.service = Service(
            self.store,
            replica,
            self.wishes,
            self.said.append,
            owner=owner,
            listen=lambda shelf, since: self.listened.append((shelf, since)),
            **more,
        )

    def begin(self) -> Machine:
        """A start, and its end."""
        self.service.pull()
        self.wishes.put(None)
        self.service.run()
        return self

    def wish(self, *wishes: Wish | News | None) -> list[Said]:
        """What it says to these, and to the end of the program."""
        self.said.clear()
        for wish in (*wishes, None):
            self.wishes.put(wish)
        self.service.run(pushes=False)
        return self.said

    def holding(self, *wishes: Wish) -> list[Said]:
        """What it says to these; it goes on, with its claims."""
        self.said.clear()
        for wish in wishes:
            self.service._grant(wish)
        return self.said


def verdict_of(machine: Machine | Store, name: str, **more: Any) -> str:
    store = machine.store if isinstance(machine, Machine) else machine
    return put_verdict(store, make_key(name, **more), TIMES)


def name_of(name: str) -> str:
    return verdict_of(MemoryStore(), name)


@pytest.fixture
def shared() -> Shared:
    return Shared()


def test_a_start_pulls_what_there_is_and_pushes_what_there_is_not(shared: Shared) -> None:
    one, other = Machine(in_memory(shared)), Machine(in_memory(shared))
    names = {verdict_of(one, "add"), put_variants(one.store, make_key("add"), 64)}
    put_wanted(one.store, make_key("mul"))
    assert [(s.what, s.records) for s in one.begin().said] == [("pulled", 0), ("pushed", 2)]
    assert [(s.what, s.records) for s in other.begin().said] == [("pulled", 2)] * 2
    assert set(other.store.list("")) == names
    # The second time nothing is said of, nor sent.
    one.said.clear()
    sent = one.replica.traffic.sent
    assert [(s.what, s.records) for s in one.begin().said] == [("pulled", 0)] * 2
    assert one.replica.traffic.sent == sent


def test_shelves_that_are_wished_for_come_first(shared: Shared) -> None:
    other = Machine(in_memory(shared))
    worlds = [make_key("add", product=product) for product in (H100, "NVIDIA A100", "NVIDIA L4")]
    names = [put_verdict(other.store, key, TIMES) for key in worlds]
    other.begin()
    shelves = [name.split("/")[2] for name in names]
    one = Machine(in_memory(shared))
    one.wishes.put(Wish("shelf", "of-no-such-world"))
    one.wishes.put(Wish("claim", name_of("mul")))
    one.wishes.put(Wish("shelf", shelves[2]))
    one.service.pull()
    assert [s.name for s in one.said] == [shelves[2], *sorted(set(shelves) - {shelves[2]}), ""]
    # Nothing else that was wished for meanwhile is lost.
    one.said.clear()
    one.wish()
    assert [(s.what, s.turn) for s in one.said] == [("turn", Turn.OURS)]


def test_wishes_go_before_what_was_left_by_earlier_starts(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PART", 2)
    one = Machine(in_memory(shared))
    for number in range(5):
        verdict_of(one, f"add{number}")
    said = one.said
    take = one.service._say

    def say(word: Said) -> None:
        take(word)
        if len(said) == 1:  # while it pushes
            one.wishes.put(Wish("claim", name_of("mul")))
        elif word.what == "turn":
            one.wishes.put(None)

    one.service._say = say
    one.service.run()
    assert [(s.what, s.records) for s in said] == [
        ("pushed", 2),
        ("turn", 0),
        ("pushed", 2),
        ("pushed", 1),
    ]


def test_no_record_is_replaced_before_the_program_has_ended(shared: Shared) -> None:
    one, other = Machine(in_memory(shared), "one"), Machine(in_memory(shared), "other")
    name = verdict_of(one, "add")
    put_verdict(other.store, make_key("add"), {64: (0.1,), 128: (0.2,)})
    ours, theirs = other.store.get(name), one.store.get(name)
    one.begin()
    other.service.pull()
    other.holding(Wish("claim", name))
    assert other.store.get(name) == ours != theirs
    other.wish()
    assert other.store.get(name) == theirs


def test_what_is_put_off_waits_for_the_end_and_not_for_a_rest(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 0.0)
    one, other = Machine(in_memory(shared), "one"), Machine(in_memory(shared), "other")
    name = verdict_of(one, "add")
    put_verdict(other.store, make_key("add"), {64: (0.1,), 128: (0.2,)})
    ours = other.store.get(name)
    one.begin()
    other.service.pull()
    idle = []

    class Idle(queue.SimpleQueue):  # type: ignore[type-arg]
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            assert other.store.get(name) == ours
            idle.append(timeout)
            if len(idle) < 3:
                raise queue.Empty
            return None

    other.service._wishes = Idle()
    other.service.run(pushes=False)
    assert len(idle) == 3
    assert [said.what for said in other.said if said.what == "rests"] == []
    assert other.store.get(name) == one.store.get(name)


def test_what_nobody_can_use_is_replaced_at_once(shared: Shared) -> None:
    one, other = Machine(in_memory(shared), "one"), Machine(in_memory(shared), "other")
    name = verdict_of(one, "add")
    other.store.put(name, b"nothing")
    one.begin()
    other.service.pull()
    assert other.store.get(name) == one.store.get(name)


def test_of_two_machines_one_measures(shared: Shared) -> None:
    one, other = Machine(in_memory(shared), "one"), Machine(in_memory(shared), "other")
    name = name_of("add")
    assert one.holding(Wish("claim", name)) == [Said("turn", name, Turn.OURS)]
    assert other.holding(Wish("claim", name)) == [Said("turn", name, Turn.THEIRS)]
    assert other.listened == [(name.split("/")[2], "")]
    verdict_of(one, "add")
    assert one.wish(Wish("kept", name), Wish("finish", "7")) == [
        Said("pushed", records=1),
        Said("finished", "7"),
    ]
    other.holding(News(name.split("/")[2]))  # type: ignore[arg-type]
    assert other.store.get(name) == one.store.get(name)
    assert len(other.listened) == 1  # nothing is awaited any more
    # The claim is free, and there is nothing to claim.
    third = Machine(in_memory(shared), "third")
    assert third.wish(Wish("claim", name)) == [Said("turn", name, Turn.KNOWN)]
    assert third.store.get(name) == one.store.get(name)


def test_it_listens_until_what_is_awaited_has_come(shared: Shared) -> None:
    one, other = Machine(in_memory(shared), "one"), Machine(in_memory(shared), "other")
    name, shelf = name_of("add"), name_of("add").split("/")[2]
    one.holding(Wish("claim", name))
    other.holding(Wish("claim", name))
    other.holding(News(shelf))  # type: ignore[arg-type]
    assert len(other.listened) == 2
    other.holding(Wish("give_up", name), News(shelf))  # type: ignore[arg-type]
    assert len(other.listened) == 2


@pytest.mark.parametrize("how", ["give_up", "end", "kept another"])
def test_a_claim_that_came_to_nothing_is_free(shared: Shared, how: str) -> None:
    one, other = Machine(in_memory(shared), "one"), Machine(in_memory(shared), "other")
    name = name_of("add")
    one.holding(Wish("claim", name))
    if how == "end":
        one.wish()
    elif how == "give_up":
        one.holding(Wish("give_up", name))
    else:
        one.holding(Wish("kept", verdict_of(one, "mul")))
    turn = Turn.THEIRS if how == "kept another" else Turn.OURS
    assert other.holding(Wish("claim", name))[-1].turn is turn


def test_what_was_kept_meanwhile_is_pushed_at_once(shared: Shared) -> None:
    one = Machine(in_memory(shared))
    kept = [Wish("kept", verdict_of(one, f"add{i}")) for i in range(5)]
    requests = one.replica.traffic.requests
    said = one.wish(*kept, Wish("claim", name_of("mul")), Wish("kept", verdict_of(one, "div")))
    assert [(s.what, s.records) for s in said] == [("pushed", 5), ("turn", 0), ("pushed", 1)]
    assert one.replica.traffic.requests - requests < 25


class Counted(Replica):
    """Another one, whose claims are counted and may be lost."""

    def __init__(self, inner: Replica) -> None:
        super().__init__(inner.traffic)
        self._inner, self.renewed, self.lost = inner, list[str](), False
        self.on_renewal: Callable[[], None] = lambda: None

    def __getattribute__(self, name: str) -> Any:
        reads = ("shelves", "pull", "holds", "describe", "await_news")
        if name in (*reads, "claim", "give_up", "try_writing"):
            return getattr(self._inner, name)
        return super().__getattribute__(name)

    def push(self, shelf: str, offers: Sequence[Offer]) -> list[Taken | None]:
        return self._inner.push(shelf, offers)

    def renew(self, shelf: str, name: str, owner: str, seconds: float) -> bool:
        self.renewed.append(name)
        self.on_renewal()
        return not self.lost

    shelves = pull = holds = describe = claim = give_up = None  # type: ignore[assignment]
    await_news = try_writing = None  # type: ignore[assignment]


@pytest.mark.parametrize("lost", [False, True])
def test_claims_are_renewed_as_long_as_they_are_held(shared: Shared, lost: bool) -> None:
    class Impatient(queue.SimpleQueue):  # type: ignore[type-arg]
        def get(self, block: bool = True, timeout: float | None = None) -> Any:
            return super().get(block=False)

    now = [0.0]
    replica = Counted(in_memory(shared))
    replica.lost = lost
    one = Machine(replica, clock=lambda: now[0])
    one.service._wishes = one.wishes = Impatient()
    name = name_of("add")

    def renewed() -> None:
        now[0] += module.CLAIM_S / 3
        if len(replica.renewed) == 3:
            one.wishes.put(None)

    replica.on_renewal = renewed
    one.holding(Wish("claim", name))
    now[0] = module.CLAIM_S / 3
    one.service.run(pushes=False)
    assert replica.renewed == [name] * (1 if lost else 3)
    assert one.said[-1].what == ("rests" if lost else "turn")


def test_it_rests_where_nothing_is_wished_for(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REST_S", 0.0)
    one = Machine(in_memory(shared)).begin()
    one.service.run()
    assert one.said[-1] == Said("rests")


def test_what_is_read_only_is_pulled_and_never_claimed(shared: Shared) -> None:
    there = Machine(in_memory(shared))
    verdict_of(there, "add")
    there.begin()
    one = Machine(ReadOnlyReplica(in_memory(shared)))
    verdict_of(one, "mul")
    said = one.begin().said
    assert [s.what for s in said] == ["pulled", "pulled", "note"]
    assert "read-only" in said[-1].message
    # Said once; what others have found meanwhile is still known.
    there.holding(Wish("kept", verdict_of(there, "div")))
    said = one.wish(
        Wish("kept", verdict_of(one, "sub")),
        Wish("claim", name_of("div")),
        Wish("claim", name_of("exp")),
    )
    assert [(s.what, s.turn) for s in said] == [("turn", Turn.KNOWN), ("turn", Turn.OURS)]


def test_one_that_is_full_is_still_pulled(shared: Shared) -> None:
    class Full(Counted):
        def push(self, shelf: str, offers: Sequence[Offer]) -> list[Taken | None]:
            raise StoreFull("full", store="memory:")

    there = Machine(in_memory(shared))
    verdict_of(there, "add")
    there.begin()
    one = Machine(Full(in_memory(shared)))
    verdict_of(one, "mul")
    assert [s.what for s in one.begin().said] == ["pulled", "pulled", "note"]
    said = one.wish(Wish("kept", verdict_of(one, "sub")), Wish("claim", name_of("add")))
    assert [(s.what, s.turn) for s in said] == [("turn", Turn.KNOWN)]


def test_a_remote_that_fails_is_given_up(shared: Shared) -> None:
    class Failing(Counted):
        def push(self, shelf: str, offers: Sequence[Offer]) -> list[Taken | None]:
            raise StoreUnavailable("down", store="memory:")

    one = Machine(Failing(in_memory(shared)))
    with pytest.raises(StoreUnavailable):
        one.wish(Wish("kept", verdict_of(one, "add")))


def test_what_cannot_be_listened_to_is_given_up(shared: Shared) -> None:
    one = Machine(in_memory(shared))
    with pytest.raises(StoreUnavailable):
        one.wish(News("shelf", StoreUnavailable("down")))


# -- listening -------------------------------------------------------------------------------------


def test_a_listener_hears_of_what_others_push(shared: Shared) -> None:
    heard: queue.SimpleQueue[News] = queue.SimpleQueue()
    listen = Listener(lambda: in_memory(shared), heard.put)
    one = Machine(in_memory(shared))
    name = verdict_of(one, "add")
    listen(name.split("/")[2], "")
    one.begin()
    assert heard.get(timeout=30) == News(name.split("/")[2])


@pytest.mark.parametrize("when", ["opening", "waiting"])
def test_a_listener_that_cannot_says_so(shared: Shared, when: str) -> None:
    error = StoreUnavailable("down")

    class Deaf(Counted):
        def __getattribute__(self, name: str) -> Any:
            if name == "await_news":
                raise error
            return super().__getattribute__(name)

    def opened() -> Replica:
        if when == "opening":
            raise error
        return Deaf(in_memory(shared))

    heard: queue.SimpleQueue[News] = queue.SimpleQueue()
    Listener(opened, heard.put)("shelf", "")
    assert heard.get(timeout=30).error is error
