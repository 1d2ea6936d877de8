"""From Triton's configurations to candidates: what tells them apart, and how they are written."""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any

import pytest

from tuneonce.model.codec import Unencodable
from tuneonce.model.wording import config_text
from tuneonce.triton.kernel.candidates import candidates_of, work_per_warp

triton = pytest.importorskip("triton")
torch = pytest.importorskip("torch")
tl = pytest.importorskip("triton.language")


def config(values: dict[str, Any], **options: Any) -> Any:
    return triton.Config(values, **options)


def digests(*configs: Any) -> list[str]:
    return [candidate.digest for candidate in candidates_of(configs)]


def test_a_candidate_as_people_write_it() -> None:
    [one] = candidates_of([config({"B": 64, "A": "x"}, num_warps=8, num_stages=2, maxnreg=128)])
    assert config_text(one.config) == "A=x B=64 num_warps=8 num_stages=2 maxnreg=128"
    assert [name for name, _ in one.config] == [
        "A", "B", "num_warps", "num_ctas", "num_stages", "maxnreg", "ir_override",
    ]  # fmt: skip


def test_the_order_of_values_is_irrelevant() -> None:
    one = config({"A": 1, "B": {"x": 1, "y": (2, [3])}})
    other = config({"B": {"y": (2, [3]), "x": 1}, "A": 1})
    assert digests(one) == digests(other)


def test_every_value_counts() -> None:
    configs = [
        config({"B": 64}),
        config({"B": 128}),
        config({"B": 64.0}),
        config({"B": "64"}),
        config({"B": (64,)}),
        config({"B": None}),
        config({}),
        config({"A": 64}),
        config({"A": 64, "B": 64}),
        config({"B": 64}, num_warps=8),
        config({"B": 64}, num_stages=4),
        config({"B": 64}, num_ctas=2),
        config({"B": 64}, maxnreg=64),
        config({"B": 64}, ir_override="a.ttgir"),
        config({"B": tl.float16}),
        config({"B": torch.float16}),
        config({"B": tl.constexpr(64)}),
        config({"B": 64}, pre_hook=named_hook),
    ]
    assert len(set(digests(*configs))) == len(configs)
    # Whatever stands beside them.
    assert digests(*configs) == [digests(one)[0] for one in configs]


class Passing(triton.Config):
    """A library's, which passes on what Triton's does not."""

    def __init__(self, values: dict[str, Any], passed: dict[str, Any]) -> None:
        super().__init__(values)
        self.passed = passed

    def all_kwargs(self) -> dict[str, Any]:
        return {**super().all_kwargs(), **self.passed}


class Dropping(triton.Config):
    def all_kwargs(self) -> dict[str, Any]:
        return {name: v for name, v in super().all_kwargs().items() if name != "num_ctas"}


def test_all_that_is_passed_counts() -> None:
    configs = [
        config({"B": 64}),
        Passing({"B": 64}, {"fuse": True}),
        Passing({"B": 64}, {"fuse": False}),
        Passing({"B": 64}, {"fuse": 1}),
        Passing({"B": 64}, {"B": 128}),
        Passing({"B": 64}, {"num_warps": 8}),
        Dropping({"B": 64}),
    ]
    assert len(set(digests(*configs))) == len(configs)
    assert digests(*reversed(configs)) == [*reversed(digests(*configs))]
    with pytest.raises(Unencodable):
        candidates_of([Passing({"B": 64}, {"fuse": object()})])


def test_what_a_subclass_passes_as_triton_does_changes_no_digest() -> None:
    assert digests(config({"B": 64}), Passing({"B": 64}, {}))[0] == digests(config({"B": 64}))[0]
    assert digests(Passing({"B": 64}, {})) == digests(config({"B": 64}))
    # Stored records hold these digests.
    assert digests(config({"B": 64, "A": "x"}, num_warps=8, maxnreg=128)) == ["691fda8abf55cb0d"]


def test_a_flag_is_not_a_number() -> None:
    assert digests(config({"B": 1}))[0] != digests(config({"B": True}))[0]


def named_hook(arguments: dict[str, Any]) -> None: ...


def other_hook(arguments: dict[str, Any]) -> None: ...


def make_hook(value: int) -> Any:
    def hook(arguments: dict[str, Any]) -> int:
        return value

    return hook


class Callable:
    def __call__(self, arguments: dict[str, Any]) -> None: ...


def test_a_hook_counts_by_its_name() -> None:
    def one(hook: Any) -> str:
        return digests(config({"B": 64}, pre_hook=hook))[0]

    assert one(named_hook) == one(named_hook)
    hooks = [named_hook, other_hook, make_hook(1), Callable(), Callable().__call__, None]
    assert len({one(hook) for hook in hooks}) == len(hooks)
    assert one(make_hook(1)) == one(make_hook(2))  # what it does cannot be read
    assert one(functools.partial(named_hook)) != one(named_hook)


def test_candidates_that_agree_are_told_apart_by_their_place() -> None:
    same = [config({"B": 64}, pre_hook=make_hook(n)) for n in range(3)]
    other = config({"B": 128})
    found = digests(same[0], other, same[1], same[2])
    assert len(set(found)) == 4
    assert found == [*digests(same[0], other), *digests(*same)[1:]]
    assert found[0] == digests(same[2])[0]


def test_a_value_called_repeat_is_no_repetition() -> None:
    assert len(set(digests(config({}), config({}), config({"repeat": 1})))) == 3


@pytest.mark.parametrize("value", [object(), torch.ones(2), lambda: None, [object()]])
def test_a_candidate_that_cannot_be_encoded(value: Any) -> None:
    with pytest.raises(Unencodable):
        candidates_of([config({"B": 64}), config({"B": value})])


def test_candidates_without_some_of_the_fields() -> None:
    # A library's own class, or one of an older Triton.
    little = SimpleNamespace(kwargs={"B": 64}, num_warps=4, num_stages=3)
    assert config_text(candidates_of([little])[0].config) == "B=64 num_warps=4 num_stages=3"


def test_the_work_of_a_warp() -> None:
    one = config({"M": 64, "N": 32}, num_warps=4)
    assert work_per_warp(one) == 512
    assert work_per_warp(config({"M": 64, "N": 32}, num_warps=8)) == 256
    # What is no size counts nothing: flags, one and zero, what is no number.
    assert work_per_warp(config({"M": 64, "N": 32, "F": True, "S": 1, "Z": 0, "A": "x"})) == 512
    assert work_per_warp(config({}, num_warps=4)) == 0.25
    assert work_per_warp(SimpleNamespace(kwargs={"M": 64}, num_warps=None)) == 64
