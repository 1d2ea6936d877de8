"""Where an activated program keeps its results: what the environment and its server's caches say.

Nothing of it differs between versions of Triton.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.processes.stand_ins import KERNELS
from tests.processes.test_activation import FIRST, Machine, outcome

pytest.importorskip("triton")
pytest.importorskip("msgspec")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "home")
    made.write("little.py", KERNELS)
    return made


def test_a_program_that_moves_tritons_cache_does_not_move_ours(machine: Machine) -> None:
    program = """
    import json, os, subprocess, sys
    os.environ["TRITON_CACHE_DIR"] = os.environ["HOME"] + "/before"
    import tuneonce
    tuneonce.install()
    os.environ["TRITON_CACHE_DIR"] = os.environ["HOME"] + "/after"
    import little
    best = little.launch()
    code = "import tuneonce, little; tuneonce.install(); print(little.launch())"
    child = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    print(json.dumps([best == child.stdout.strip(), os.environ.get("TUNEONCE_STORE")]))
    """
    assert machine.run(program) == [True, None]
    assert outcome(machine.totals()) == (1, 3, 1)
    assert not (machine.home / "before").exists()
    assert not (machine.home / "after" / "tuneonce").exists()


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, "triton/tuneonce"),
        ({"TRITON_CACHE_DIR": None}, ".cache/tuneonce"),
        ({"TUNEONCE_STORE": "kept"}, "kept"),
        ({"TRITON_CACHE_DIR": None, "VLLM_CACHE_ROOT": "v"}, "v/tuneonce"),
        ({"TRITON_CACHE_DIR": None, "SGLANG_CACHE_DIR": "s"}, "s/tuneonce"),
    ],
)
def test_where_results_are_kept(
    machine: Machine, variables: dict[str, str | None], place: str
) -> None:
    machine.tuneonce_run(FIRST, **{"XDG_CACHE_HOME": None, **variables})
    assert outcome(machine.totals(machine.home / place)) == (1, 3, 0)


@pytest.mark.parametrize("server", ["vllm", "sglang"])
def test_a_server_s_results_lie_with_its_caches(machine: Machine, server: str) -> None:
    """The volume that its container keeps; what an older place holds is still read."""
    elsewhere = {"TRITON_CACHE_DIR": None, "XDG_CACHE_HOME": None}
    machine.tuneonce_run(FIRST, **elsewhere)
    (machine.home / f"{server}.py").write_text("")
    both = f"""
    import sys
    sys.path.insert(0, {str(machine.home)!r})
    import {server}
    import json, little
    print(json.dumps([little.launch(), little.launch(7)]))
    """
    machine.tuneonce_run(both, **elsewhere)
    place = machine.home / ".cache" / server / "tuneonce"
    assert outcome(machine.totals(place)) == (1, 3, 1)
    machine.tuneonce_run(both, **elsewhere)
    assert outcome(machine.totals(place)) == (1, 3, 3)


def test_children_without_us_are_as_they_would_be(machine: Machine) -> None:
    """Stock's own cache, switched on for it, raises for a key that JSON cannot hold."""
    program = """
    import json, os, subprocess, sys
    import tuneonce
    tuneonce.install()
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    child = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    print(json.dumps(sorted(n for n in json.loads(child.stdout) if n.startswith("TRITON_"))))
    """
    assert machine.run(program) == ["TRITON_CACHE_DIR", "TRITON_INTERPRET"]
