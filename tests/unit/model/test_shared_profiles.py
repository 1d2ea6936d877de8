"""What machines share of a profile: taken from it, put together in any order, bounded, in peace."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from typing import Any

import msgspec
import pytest

from tests.unit.model.test_profiles import key, part, variant
from tuneonce.model.profiles import MOST_KEYS, MOST_VARIANTS, Start, UsedKey, UsedVariant, merge
from tuneonce.model.record_names import shared_profile_name, unpack_named, world_of_shared
from tuneonce.model.records import BadRecord, pack, unpack
from tuneonce.model.shared_profiles import (
    KEPT_S,
    MOST_BYTES,
    PERIOD_S,
    SharedProfile,
    last_used,
    shared_profiles,
    with_news,
)
from tuneonce.store.base import MAX_RECORD_BYTES

NAME, H200, H100 = "server 1", f"NVIDIA-H200-90~{'a' * 12}", f"NVIDIA-H100-90~{'b' * 12}"
DAY = 24 * 3600.0
NOW = 2000 * PERIOD_S + DAY


def of_key(name: str, at: float = NOW, world: str = H200, start: str = "") -> UsedKey:
    verdict = f"v1/{name}~0/{world}/{name}/c02.{'0' * 12}.verdict.json"
    starts = [start] if start else []
    return msgspec.structs.replace(key(name, "", at), verdict=verdict, starts=starts)


def of_variant(name: str, at: float = NOW, **changes: Any) -> UsedVariant:
    return variant(name, "", at, **{"starts": [], **changes})


def shared(*used: UsedKey | UsedVariant, world: str = H200) -> SharedProfile:
    variants = [one for one in used if isinstance(one, UsedVariant)]
    return SharedProfile(NAME, world, variants, [u for u in used if isinstance(u, UsedKey)])


def named(one: SharedProfile | None) -> set[str]:
    assert one is not None
    return {entry.kernel.partition(":")[2] for entry in (*one.variants, *one.keys)}


# -- out of a profile ----------------------------------------------------------------------------


def test_a_world_has_its_keys_and_the_variants_of_their_starts() -> None:
    own = merge(
        [
            part(Start("s1", 0.0, True), variant("a", "s1", 1.0), of_key("a", 1.0, H200, "s1")),
            part(Start("s2", 5.0, True), variant("b", "s2", 6.0), of_key("b", 6.0, H100, "s2")),
            part(Start("s3", 7.0, True), variant("c", "s3", 8.0)),
            part(Start("s4", 9.0), variant("d", "s4", 9.0), key("d", "s4", 9.0)),
        ]
    )
    found = {one.world: one for one in shared_profiles(NAME, own, now=10.0)}
    assert {world: named(one) for world, one in found.items()} == {H200: {"a"}, H100: {"b"}}
    assert all(entry.starts == [] for one in found.values() for entry in one.variants + one.keys)
    for one in found.values():
        name = shared_profile_name(NAME, one.world)
        assert (unpack_named(name, pack(one), SharedProfile), world_of_shared(name)) == (
            one,
            one.world,
        )


def test_what_has_no_key_is_not_shared() -> None:
    assert (
        shared_profiles(NAME, merge([part(Start("s", 0.0), variant("a", "s", 1.0))]), now=9) == []
    )


def test_a_use_that_is_to_come_was_now() -> None:
    own = merge([part(Start("s", NOW), of_key("a", NOW + 9 * DAY, start="s"))])
    (found,) = shared_profiles(NAME, own, now=NOW)
    assert last_used(found) == NOW


# -- put together --------------------------------------------------------------------------------


def test_what_has_all_that_there_is_stays() -> None:
    theirs = shared(of_variant("a"), of_key("a"), of_key("b"))
    assert with_news(theirs, theirs, now=NOW) is None
    assert with_news(theirs, shared(of_key("b", NOW - 3.0)), now=NOW) is None
    assert with_news(theirs, shared(of_key("b", NOW + 3.0)), now=NOW) is None
    assert with_news(None, theirs, now=NOW) == theirs
    more = with_news(theirs, shared(of_variant("c"), of_key("b", NOW - 3.0)), now=NOW)
    assert named(more) == {"a", "b", "c"}


def test_a_use_in_a_later_period_is_news() -> None:
    """Or what is used each day would be forgotten after a month."""
    theirs, later = shared(of_key("a"), of_key("b")), NOW + PERIOD_S
    more = with_news(theirs, shared(of_key("a", later)), now=later)
    assert more is not None
    assert [one.at for one in more.keys] == [later, NOW]
    assert with_news(more, shared(of_key("a", later + DAY)), now=later + DAY) is None


def test_what_nobody_used_for_long_goes_with_the_next_news() -> None:
    theirs = shared(of_variant("old"), of_key("old"), of_key("a"))
    late = NOW + KEPT_S + DAY
    assert theirs.needed(now=late).keys == []
    assert with_news(theirs, shared(of_key("old", NOW)), now=late) is None
    assert named(with_news(theirs, shared(of_key("a", late)), now=late)) == {"a"}


def some(chance: random.Random) -> SharedProfile:
    def at() -> float:
        return NOW - chance.choice([0.0, 1.0, DAY, PERIOD_S, 2.5 * PERIOD_S, KEPT_S + DAY])

    used: list[UsedKey | UsedVariant] = []
    for name in chance.sample("abcdef", chance.randrange(6)):
        used += [
            of_key(name, at()),
            of_variant(name, at(), phase=chance.choice(["starting", "serving"])),
        ]
    return shared(*used)


@pytest.mark.parametrize("seed", range(30))
def test_any_order_comes_to_the_same_and_then_there_is_no_news(seed: int) -> None:
    chance = random.Random(seed)
    several = [some(chance) for _ in range(3)]
    ends = set()
    for order in itertools.permutations(several):
        whole = with_news(None, shared(), now=NOW)
        for _ in range(2):
            for one in order:
                whole = with_news(whole, one, now=NOW) or whole
        assert whole is not None
        assert all(with_news(whole, one, now=NOW) is None for one in several)
        # Of two uses in one period the one that was told of first may stay.
        ends.add(
            tuple(sorted((str(e.identity), e.at // PERIOD_S) for e in whole.variants + whole.keys))
        )
    assert len(ends) == 1


def many(name: str, count: int, size: int, at: float = NOW) -> SharedProfile:
    long = {"sig.x": "x" * size}
    return shared(
        of_key(name, at), *(of_variant(f"{name}{n}", at, variant=long) for n in range(count))
    )


def test_a_record_has_room_for_so_much_and_what_was_used_last_stays() -> None:
    old, new = many("o", 600, 1000, NOW - PERIOD_S), many("n", 600, 1000)
    both = with_news(old, new, now=NOW)
    assert both is not None
    assert len(pack(both)) <= MAX_RECORD_BYTES
    assert len(pack(both)) > MOST_BYTES * 0.9
    assert named(new) < named(both)
    assert with_news(both, old, now=NOW) is None
    assert both == with_news(new, old, now=NOW)


def test_what_needs_more_than_there_is_room_for_writes_no_more_than_once() -> None:
    """Also at the next start, which uses all of it again, in another order."""
    ours = many("o", 1500, 1000)
    theirs = with_news(None, ours, now=NOW)
    assert theirs is not None
    assert len(theirs.variants) < 1000
    chance = random.Random(1)
    again = [msgspec.structs.replace(one, at=NOW + chance.random()) for one in ours.variants]
    assert with_news(theirs, msgspec.structs.replace(ours, variants=again), now=NOW + 1) is None


def test_so_many_entries_are_in_one() -> None:
    small = [of_variant(f"v{n}", variant={}) for n in range(MOST_VARIANTS)]
    other = [of_variant(f"w{n}", variant={}) for n in range(MOST_VARIANTS)]
    both = with_news(shared(*small), shared(*other), now=NOW)
    assert both is not None
    assert len(both.variants) == MOST_VARIANTS
    with pytest.raises(ValueError, match="more entries"):
        shared(*small, of_variant("one more"))
    with pytest.raises(ValueError, match="more entries"):
        shared(*(of_key(f"k{n}") for n in range(MOST_KEYS + 1)))


def test_what_a_wrong_clock_has_written_does_not_keep_others_out() -> None:
    """Nor is it taken away from a machine whose own clock may be the wrong one."""
    ahead, ours = many("f", 900, 1000, NOW + 1e9), many("o", 900, 1000)
    both = with_news(ahead, ours, now=NOW)
    assert both is not None
    assert len(both.variants) < 900
    assert named(both) <= named(ours)
    few = with_news(shared(of_key("f", 1e300)), shared(of_key("o")), now=NOW)
    assert named(few) == {"f", "o"}
    assert with_news(few, shared(of_key("o", NOW + 1)), now=NOW + 1) is None


# -- what is none --------------------------------------------------------------------------------


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "change",
    [
        {"world": "NVIDIA-H200-90"},
        {"world": H100},
        {"world": "../x~" + "a" * 12},
        {"profile": 3},
        {"keys": [{**msgspec.to_builtins(of_key("a")), "starts": ["s"]}]},
        {"keys": [{**msgspec.to_builtins(of_key("a")), "at": -1.0}]},
        {"keys": [{**msgspec.to_builtins(of_key("a")), "verdict": "v1/a"}]},
        {"keys": [msgspec.to_builtins(of_key("a", world=H100))]},
        {"variants": [{**msgspec.to_builtins(of_variant("a")), "at": "now"}]},
        {"variants": [msgspec.to_builtins(of_variant("a"))] * (MOST_VARIANTS + 1)},
        {"variants": [msgspec.to_builtins(of_variant("a", variant={"x": nested(90)}))]},
        {"variants": [msgspec.to_builtins(of_variant("a", variant={"x": nested(500)}))]},
    ],
    ids=lambda change: str(change)[:30],
)
def test_what_is_no_shared_profile_is_a_bad_record(change: dict[str, Any]) -> None:
    good = shared(of_variant("a", variant={"const.x": nested(64)}), of_key("a"))
    assert unpack(pack(good), SharedProfile) == good
    body = json.dumps({**msgspec.to_builtins(good), **change}).encode() + b"\n"
    head = {"schema": "tuneonce.shared-profile/1", "sha256": hashlib.sha256(body).hexdigest()}
    with pytest.raises(BadRecord, match="schema"):
        unpack(json.dumps(head).encode() + b"\n" + body, SharedProfile)


@pytest.mark.parametrize(
    "name",
    ["", "profiles/x~1", "profiles/x~1/.shared.json", "profiles/x~1/s1-0.profile.json",
     "profiles/x~1/y/w~1.shared.json", "v1/x~1/w~1.shared.json", "profiles//w~1.shared.json"],
)  # fmt: skip
def test_what_is_no_name_of_one(name: str) -> None:
    assert world_of_shared(name) is None


def test_one_of_another_profile_or_world_is_misplaced() -> None:
    data = pack(shared(of_key("a")))
    for name in (shared_profile_name("server 2", H200), shared_profile_name(NAME, H100)):
        with pytest.raises(BadRecord, match="misplaced"):
            unpack_named(name, data, SharedProfile)
