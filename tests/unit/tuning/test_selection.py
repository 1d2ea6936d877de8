"""Who wins, and which verdict is nearest."""

from __future__ import annotations

import msgspec

from tests.factories import make_key, make_verdict
from tests.fakes import candidate, measured
from tuneonce.model.records import Measurement, Verdict
from tuneonce.tuning.race import RULES
from tuneonce.tuning.selection import (
    by_candidate,
    choose,
    likeliest_verdict,
    nearest,
    times_by_class,
)


def d(block: int) -> str:
    return candidate(block).digest


def test_choose() -> None:
    known = {d(16): measured(16, 1.0, 3.0), d(32): measured(32, 1.0, 2.0),
             d(64): measured(64, failed="did not run")}  # fmt: skip
    assert choose([d(16), d(32), d(64)], known) == d(32)
    assert choose([d(64), d(16)], known) == d(16)
    assert choose([d(64)], known) is None


def test_of_those_that_raced_the_first_within_the_tie_wins() -> None:
    def raced(block: int, ms: float) -> Measurement:
        return msgspec.structs.replace(measured(block, ms, ms, ms), samples=7)

    within, beyond = 1 + 0.9 * RULES.tie, 1 + 1.1 * RULES.tie
    known = {d(16): raced(16, beyond), d(32): raced(32, within), d(64): raced(64, 1.0)}
    assert choose([d(16), d(32), d(64)], known) == d(32)
    assert choose([d(16), d(64), d(32)], known) == d(64)
    # Where one did not race, times are compared as Triton does.
    known[d(16)] = measured(16, beyond)
    assert choose([d(16), d(32), d(64)], known) == d(64)


def test_the_newest_measurement_of_each_live_candidate() -> None:
    old, new = measured(16, 1.0, at=10), measured(16, 2.0, at=20)
    gone = measured(64, 1.0)
    for order in ([old, new, gone], [gone, new, old]):
        assert by_candidate([d(16), d(32)], order) == {d(16): new}


def verdict(work_class: str, *blocks: int, best: int = 16, at: float = 1.0) -> Verdict:
    times = dict.fromkeys(blocks or (16, 32), (1.0,))
    return make_verdict(make_key(), times, winner=best, work_class=work_class, at=at)


def test_the_nearest_verdict() -> None:
    live = [d(16), d(32)]
    near, far, more = verdict("c02"), verdict("c07"), verdict("c04")
    assert nearest(live, "c03", [far, near]) is near
    # As far apart: that of more work.
    assert nearest(live, "c03", [near, more]) is more
    # At one work class that of the same list, then the newest.
    other, newer = verdict("c02", 16, 32, 64, at=9.0), verdict("c02", at=2.0)
    assert nearest(live, "c03", [other, near]) is near
    assert nearest(live, "c03", [near, newer]) is newer
    assert nearest([d(32)], "c03", [near, far, more]) is None
    assert nearest(live, "c03", []) is None


def test_the_verdict_whose_winner_is_expected_to_be_the_fastest() -> None:
    def of(work_class: str, *ms: float, at: float = 1.0) -> Verdict:
        found = dict(zip((16, 32, 64), ((one,) if one else () for one in ms), strict=True))
        return make_verdict(make_key(), found, work_class=work_class, at=at)

    live = [d(16), d(32), d(64)]
    below, above, far = of("c02", 1.0, 1.1, 2.0), of("c04", 2.0, 1.1, 1.0), of("c09", 3, 1, 2)
    # The third winner is close in both.
    assert likeliest_verdict(live, "c03", [below, above, far]) is far
    assert likeliest_verdict(live, "c03", [below, above]) is above
    assert likeliest_verdict([d(16), d(64)], "c03", [below, above, far]) is above
    for others in ([], [below], [below, far, of("c04", 0, 0, 1.0)]):
        assert likeliest_verdict(live, "c02", others) is None
    newer = of("c09", 3.0, 2.0, 1.0, at=2.0)
    assert likeliest_verdict(live, "c03", [below, above, newer, far]) is above


def test_times_by_class_are_of_live_candidates_that_ran() -> None:
    failed = make_verdict(make_key(), {16: (1.0,), 32: (), 64: (3.0,)}, work_class="c02")
    assert times_by_class([d(16), d(32)], [failed]) == {"c02": {d(16): 1.0}}
    assert times_by_class([d(16)], []) == {}
