"""Parts of profiles put together: in any order, any number of times, of any number of starts."""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
import pytest

from tuneonce.model.profiles import (
    MOST_KEYS,
    MOST_VARIANTS,
    UNUSED_STARTS,
    PhaseWord,
    Profile,
    ProfilePart,
    Start,
    UsedKey,
    UsedVariant,
    merge,
)
from tuneonce.model.records import pack, unpack

HOUR = 3600.0


def variant(
    name: str, start: str, at: float, phase: PhaseWord = "starting", **changes: object
) -> UsedVariant:
    made = UsedVariant(
        f"kernels:{name}", {"sig.x": "*fp32"}, [("num_warps", 4)], name, name, phase, [start], at
    )
    return msgspec.structs.replace(made, **changes)


def key(name: str, start: str, at: float, phase: PhaseWord = "starting") -> UsedKey:
    return UsedKey(f"kernels:{name}", f"v1/{name}", "w", phase, [start], at)


def part(start: Start, *used: UsedVariant | UsedKey, name: str = "") -> ProfilePart:
    variants = [one for one in used if isinstance(one, UsedVariant)]
    keys = [one for one in used if isinstance(one, UsedKey)]
    return ProfilePart("server 1", name or f"{start.id}-0", [start], variants, keys)


def of(
    number: int, *used: str, complete: bool = True, phase: PhaseWord = "starting"
) -> ProfilePart:
    """What one start, an hour after the one before, has used."""
    start, at = f"s{number:03d}", number * HOUR
    entries = [make(name, start, at + 1, phase) for name in used for make in (variant, key)]
    return part(Start(start, at, complete), *entries)


def as_part(profile: Profile, name: str = "merged") -> ProfilePart:
    return ProfilePart("server 1", name, profile.starts, profile.variants, profile.keys)


def names(profile: Profile) -> set[str]:
    found = {one.kernel for one in profile.variants}
    assert found == {one.kernel for one in profile.keys}
    return {name.partition(":")[2] for name in found}


def some_parts(chance: random.Random) -> list[ProfilePart]:
    """What some starts of several processes leave, long-lived ones beside each other."""
    parts = []
    for number in range(chance.randrange(1, 9)):
        start = Start(f"s{number}", number * HOUR, chance.random() < 0.7)
        for process in range(chance.randrange(1, 4)):
            phases: tuple[PhaseWord, ...] = ("starting", "serving")
            used = [
                make(
                    chance.choice("abcdef"),
                    start.id,
                    start.at + chance.choice((1.0, 2.0, 3 * HOUR, chance.random())),
                    chance.choice(phases),
                )
                for make in (variant, key)
                for _ in range(chance.randrange(6))
            ]
            parts.append(part(start, *used, name=f"{number}-{process}"))
    return parts


@pytest.mark.parametrize("seed", range(60))
def test_order_repetition_and_grouping_make_no_difference(seed: int) -> None:
    chance = random.Random(seed)
    parts = some_parts(chance)
    whole = merge(parts)
    shuffled = chance.sample(parts, len(parts))
    assert merge(shuffled) == whole
    assert merge([*parts, *shuffled]) == whole
    assert merge([as_part(whole)]) == whole
    assert merge([as_part(whole), *parts]) == whole


@pytest.mark.parametrize("seed", range(60))
def test_what_some_parts_came_to_may_stand_for_them(seed: int) -> None:
    chance = random.Random(seed)
    parts = some_parts(chance)
    at = chance.randrange(len(parts) + 1)
    # The first ones are older: they may leave out only what the whole leaves out as well.
    one = as_part(merge(parts[:at]), "one")
    assert merge([one, *parts[at:]]) == merge(parts)
    # By two processes at once, one of which did not see the last part.
    two = as_part(merge(parts[: max(0, at - 1)]), "two")
    assert merge([two, one, *parts[at:]]) == merge(parts)


def test_of_one_identity_the_last_word_counts_and_all_starts() -> None:
    old, new = of(1, "a"), of(2, "a")
    new.variants[0] = msgspec.structs.replace(new.variants[0], options=[("num_warps", 8)])
    new.keys[0] = msgspec.structs.replace(new.keys[0], winner="another")
    profile = merge([new, old])
    assert [one.options for one in profile.variants] == [[("num_warps", 8)]]
    assert [one.winner for one in profile.keys] == ["another"]
    assert profile.variants[0].starts == profile.keys[0].starts == ["s002", "s001"]
    assert profile.variants[0].at == 2 * HOUR + 1


def test_two_words_at_the_same_time_are_settled_the_same_everywhere() -> None:
    start = Start("s", 0.0)
    said = [part(start, variant("a", "s", 1.0, options=[("num_warps", w)])) for w in (1, 2, 4)]
    assert merge(said) == merge(said[::-1]) == merge([said[1], said[2], said[0]])


@pytest.mark.parametrize("swapped", [False, True])
def test_within_a_start_who_met_it_first_has_the_word_about_the_phase(swapped: bool) -> None:
    start = Start("s", 0.0)
    said = [
        part(start, variant("a", "s", 1.0, "starting")),
        part(start, variant("a", "s", 2.0, "serving")),
    ]
    (one,) = merge(said[::-1] if swapped else said).variants
    assert (one.phase, one.at) == ("starting", 2.0)


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("last", ["starting", "serving"])
def test_between_starts_the_newest_has_the_word_about_the_phase(
    swapped: bool, last: PhaseWord
) -> None:
    before: PhaseWord = "serving" if last == "starting" else "starting"
    said = [of(1, "a", phase=before), of(2, "a", phase=last), of(1, "a", phase=before)]
    profile = merge(said[::-1] if swapped else said)
    assert [one.phase for one in (*profile.variants, *profile.keys)] == [last, last]


def test_what_the_last_complete_starts_did_not_use_is_left_out() -> None:
    parts = [of(0, "a", "b"), *(of(n, "b") for n in range(1, UNUSED_STARTS))]
    assert names(merge(parts)) == {"a", "b"}  # one short of it
    parts.append(of(UNUSED_STARTS, "b"))
    assert names(merge(parts)) == {"b"}
    parts.append(of(UNUSED_STARTS + 1, "a"))
    assert names(merge(parts)) == {"a", "b"}


def test_starts_that_do_not_get_far_age_nothing() -> None:
    crashes = [of(n, complete=False) for n in range(1, 200)]
    assert names(merge([of(0, "a"), *crashes])) == {"a"}
    # Not in between complete ones either, and not once they are put together.
    starts = [of(n, "b", complete=n % 40 == 0) for n in range(1, 200)]
    assert len([one for one in starts if one.starts[0].complete]) == UNUSED_STARTS - 1
    put_together = as_part(merge([of(0, "a"), *starts]))
    assert names(merge([put_together])) == {"a", "b"}
    assert names(merge([put_together, of(200, "b")])) == {"b"}


def test_what_a_start_uses_that_is_not_complete_yet_is_kept() -> None:
    complete = [of(n, "b") for n in range(1, UNUSED_STARTS + 1)]
    assert names(merge([*complete, of(50, "new", complete=False)])) == {"b", "new"}


def test_a_start_is_complete_if_any_of_its_processes_is() -> None:
    said = [part(Start("s", 5.0)), part(Start("s", 4.0, complete=True)), part(Start("s", 6.0))]
    assert merge(said).starts == merge(said[::-1]).starts == [Start("s", 4.0, complete=True)]


def test_what_is_used_most_comes_first_and_a_profile_is_bounded() -> None:
    many = [f"k{n:05d}" for n in range(MOST_VARIANTS + 50)]
    profile = merge([of(1, *many), of(2, *many[-20:])])
    assert (len(profile.variants), len(profile.keys)) == (MOST_VARIANTS, MOST_KEYS)
    assert {one.kernel for one in profile.variants[:20]} == {f"kernels:{n}" for n in many[-20:]}
    assert {one.kernel for one in profile.keys[:20]} == {f"kernels:{n}" for n in many[-20:]}


def test_how_many_starts_are_named_is_bounded_and_the_newest_are() -> None:
    profile = merge([of(n, "a") for n in range(500)])
    for named in (profile.variants[0].starts, [start.id for start in profile.starts]):
        assert named[:3] == ["s499", "s498", "s497"]
        assert len(named) < 30


def test_no_parts_come_to_nothing() -> None:
    assert merge([]) == Profile()


def read_back(parts: Sequence[ProfilePart]) -> list[ProfilePart]:
    return [unpack(pack(one), ProfilePart) for one in parts]


@pytest.mark.parametrize("seed", range(5))
def test_parts_are_the_same_after_they_were_stored(seed: int) -> None:
    parts = some_parts(random.Random(seed))
    assert merge(read_back(parts)) == merge(parts)


def test_a_time_that_is_no_number_is_not_stored() -> None:
    for bad in (
        part(Start("s", float("nan"))),
        part(Start("s", 0.0), variant("a", "s", float("inf"))),
        part(Start("s", 0.0), key("a", "s", float("nan"))),
    ):
        with pytest.raises(ValueError, match="finite"):
            pack(bad)
