"""Programs whose remote has faults: they launch, tune, keep and end as without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.servers import redis_server
from tests.faults.faulty_proxy import FAULTS, faulty
from tests.processes.test_rank_starts import CANDIDATES, KEYS, ranks, the_same

__all__ = ["ranks"]


@pytest.fixture(scope="module")
def redis() -> Iterator[int]:
    with redis_server() as port:
        yield port


# Each takes seconds; one of each kind is enough for every day.
_EVERY_DAY = ("hang", "garbage", "dies")


@pytest.mark.parametrize(
    "fault",
    [one if one in _EVERY_DAY else pytest.param(one, marks=pytest.mark.thorough) for one in FAULTS],
)
def test_a_start_is_what_it_is_without_a_remote(ranks: Any, redis: int, fault: str) -> None:
    with faulty(fault, redis) as port:
        remote = f"redis://127.0.0.1:{port}?namespace={fault.replace(' ', '-')}"
        winners, told = ranks.start(2, remote=remote)
    assert None not in winners
    assert the_same(winners)
    assert (told["tune"], told["measure"]) == (len(KEYS), len(KEYS) * CANDIDATES)
    assert told["compile"] == CANDIDATES
    assert ranks.left == []
    assert not {name for name in told if name.startswith("internal")}
    # Each process says once that it goes on without, as soon as it knows: one that hears nothing
    # for as long as it runs does not know.
    assert told["remote_failed"] <= 2
    if fault in ("garbage", "reset", "refused"):
        assert told["remote_failed"] > 0
