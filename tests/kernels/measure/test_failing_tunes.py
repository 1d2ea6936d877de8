"""Tunings that end in errors while other threads tune: nobody waits for anybody for good."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("triton")

from tests.fakes import ROOT, Children

DROP = Path(__file__).with_name("drop_child.py")
FAILING = ROOT / "benchmarks/failing_submissions.py"


@pytest.mark.parametrize("how", ["drop", "cancel"])
def test_a_job_is_dropped_while_another_is_handed_out(how: str, warm_children: Children) -> None:
    """The callbacks of the one take the lock of who hands out the other."""
    told = warm_children.run(DROP, how, PYTHONPATH=f"{ROOT / 'src'}:{ROOT}")
    assert told == {"submitted": True, "dropped": True}


@pytest.mark.slow
def test_threads_whose_tunings_fail_beside_others(children: Children) -> None:
    """A short run of what is left to run for minutes by hand."""
    told = children.run(
        FAILING, "--tunings", "2", "--threads", "2", "--seconds", "200", "--stuck", "120"
    )
    assert not told["hung"], told["stacks"]
    assert told["ended"] == 0, told["stacks"]
    assert told["errors"] == []
    assert (told["failed"], told["tuned"]) == (4, 4)
