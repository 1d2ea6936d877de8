"""`tuneonce bits`: what it refuses, what it runs, and what is drawn of what was seen."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.factories import make_key, process, resolved
from tests.unit.inspect.test_survey import DISAGREE, WRONG, outputs
from tuneonce.cli import bits
from tuneonce.cli._workload import Ran

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Tell

Ended = Callable[..., None]


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Ended:
    """Has the program end with this status, and with these events of its one process."""

    def give(*events: dict[str, Any], status: int = 0) -> None:
        ran = Ran(["work.py"], status, "file:///srv/x", "/srv/x", 1.0, [process(*events)])
        monkeypatch.setattr(bits, "run_workload", lambda args, **options: ran)

    return give


@pytest.mark.usefixtures("terminal")
def test_what_is_drawn_of_a_key(tell: Tell, ended: Ended) -> None:
    more = {"constant": "BLOCK=64", "constant_ms": 0.25, "left_out": "memory", "looked_at": 3}
    unsteady = [f"BLOCK={2**i}" for i in range(5)]
    ended(
        outputs(**WRONG, **more, unsteady=unsteady),
        outputs(make_key("mul"), kernel="kernels:mul", **DISAGREE, ran=3),
    )
    said = tell("bits", "work.py")
    assert said.code == 1
    lines = said.out.splitlines()
    add, mul = lines.index("kernels:add"), lines.index("kernels:mul")
    words = " ".join(" ".join(lines[add:mul]).split())
    for text in (
        "n=64 16–63 programs 4 3 2 25.0 % 1 wrong, 5 unsteady, memory",
        "n=64 16–63 programs: wrong: BLOCK=8, 0.25 apart",
        "unsteady: BLOCK=1, BLOCK=2, BLOCK=4 and 2 more",
    ):
        assert text in words
    words = " ".join(" ".join(lines[mul:]).split())
    for text in (
        "disagree, 1 did not run",
        "candidates disagree: BLOCK=64, no number",
        "candidates disagree: BLOCK=8, 0.5 apart",
        "2 keys: 1 of one class of bits, 1 of several",
        "median 0.0 %, greatest 25.0 %",
        "1 key with candidates that are wrong",
        "1 key whose candidates disagree",
        "outputs not looked at, by key: memory 1",
        "no proof",
    ):
        assert text in words
    assert "tuneonce show" not in said.out  # the store is gone


@pytest.mark.usefixtures("terminal")
def test_tables_fit_eighty_columns(tell: Tell, ended: Ended) -> None:
    ended(outputs(key_text="x=bf16 " * 20, unsteady=["BLOCK=8"] * 4, left_out="several_devices"))
    out = tell("bits", "work.py").out
    table = out.split("x=bf16 x=bf16 x=bf16 x=bf16 x=bf16")[0]
    assert max(map(len, table.splitlines())) <= 80


def test_in_a_pipe_each_key_is_one_row(tell: Tell, ended: Ended) -> None:
    ended(outputs(key_text="n=1 " + "x=bf16 " * 30), outputs(key_text="n=2 " + "x=bf16 " * 30))
    rows = [line for line in tell("bits", "work.py").out.splitlines() if "x=bf16" in line]
    assert [row.split()[0] for row in rows] == ["n=1", "n=2"]
    assert all("16–63 programs" in row and "0.0 %" in row for row in rows)


def test_where_no_candidate_equals_itself_constancy_has_no_price(tell: Tell, ended: Ended) -> None:
    ended(outputs(classes=0, unsteady=["BLOCK=8"] * 4, constant=None, constant_ms=None))
    said = tell("bits", "work.py")
    assert said.code == 0
    assert "1 where no candidate equals itself" in said.out
    assert "%" not in said.out
    assert tell("bits", "--strict", "work.py").code == 1


def test_keys_that_were_not_tuned_are_named(tell: Tell, ended: Ended) -> None:
    ended(resolved(make_key("mul"), "miss"))
    said = tell("bits", "work.py")
    assert said.code == 0
    assert "Met and not tuned" in said.out
    assert "kernels:mul  n=64" in said.out
    assert tell("bits", "--strict", "work.py").code == 1


@pytest.mark.parametrize(
    ("fields", "status", "code", "strictly"),
    [
        ({}, 0, 0, 0),
        ({"classes": 2}, 0, 0, 1),
        (WRONG, 0, 1, 1),
        (DISAGREE, 0, 1, 1),
        ({}, 3, 3, 3),
        (WRONG, 3, 3, 3),
    ],
)
def test_the_exit_code(
    tell: Tell, ended: Ended, fields: dict[str, Any], status: int, code: int, strictly: int
) -> None:
    """The program's is never hidden."""
    ended(outputs(**fields), status=status)
    assert tell("bits", "work.py").code == code
    assert tell("bits", "--strict", "work.py").code == strictly
    document = tell("bits", "--json", "work.py").json
    assert (document["schema"], document["status"]) == ("tuneonce.bits/1", status)
    assert document["well"] is (fields not in (WRONG, DISAGREE))


def test_a_program_that_launches_nothing_is_the_wrong_one(tell: Tell, ended: Ended) -> None:
    ended()
    said = tell("bits", "work.py")
    assert (said.code, said.err.count("nothing to look at")) == (2, 1)
    ended(status=3)
    assert tell("bits", "work.py").code == 3


# -- what is run ---------------------------------------------------------------------------------


def test_what_is_known_hides_nothing(
    tell: Tell, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not what the environment's store, base, remote or frozen winners know, and no policy."""
    (here / "known").mkdir()
    kept = {
        "TUNEONCE_STORE": str(here / "known"),
        "TUNEONCE_BASE": str(here / "known"),
        "TUNEONCE_REMOTE": "redis://nowhere",
        "TUNEONCE_FROZEN": "no/such/file",
        "TUNEONCE_NUMERICS": "off",
        "TUNEONCE_RECHECK": "fix",
        "TUNEONCE_ON_MISS_STARTING": "error",
        "TUNEONCE_ON_MISS_SERVING": "explore",
    }
    for name, text in kept.items():
        monkeypatch.setenv(name, text)
    names = [*kept, "TUNEONCE_LOOK_SHARE", "TUNEONCE_PROFILE"]
    (here / "told.py").write_text(
        "import json, os\n"
        f"json.dump({{name: os.environ[name] for name in {names}}}, open('told', 'w'))\n"
    )
    tell("bits", "told.py")
    told = json.loads((here / "told").read_text())
    store = Path(told.pop("TUNEONCE_STORE"))
    assert store.name.startswith("tuneonce-bits-")
    assert not store.exists()
    assert told == {
        "TUNEONCE_BASE": "",
        "TUNEONCE_REMOTE": "",
        "TUNEONCE_FROZEN": "",
        "TUNEONCE_NUMERICS": "bits",
        "TUNEONCE_RECHECK": "",
        "TUNEONCE_ON_MISS_STARTING": "tune",
        "TUNEONCE_ON_MISS_SERVING": "tune",
        "TUNEONCE_LOOK_SHARE": "1",
        "TUNEONCE_PROFILE": "0",
    }
    assert list((here / "known").iterdir()) == []


def test_the_store_that_is_named_stays(tell: Tell, here: Path) -> None:
    (here / "told.py").write_text(
        "import os\nopen('told', 'w').write(os.environ['TUNEONCE_STORE'])\n"
    )
    for place in ("fresh", "empty"):
        (here / "empty").mkdir(exist_ok=True)
        tell("bits", "--store", place, "told.py")
        assert Path((here / "told").read_text()) == here / place


@pytest.mark.parametrize(
    "place", ["full", "memory:", "nonsense://x", "file://{here}/new?readonly=1", ""]
)
def test_stores_that_would_hide_or_keep_nothing(tell: Tell, here: Path, place: str) -> None:
    (here / "full").mkdir()
    (here / "full" / "v1").mkdir()
    said = tell("bits", "--store", place.format(here=here), "work.py")
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert not (here / "ran").exists()


@pytest.mark.parametrize(("name", "word"), [("TUNEONCE", "0"), ("TUNEONCE_DETERMINISTIC", "1")])
def test_where_nothing_would_be_looked_at_nothing_is_run(
    tell: Tell, here: Path, monkeypatch: pytest.MonkeyPatch, name: str, word: str
) -> None:
    monkeypatch.setenv(name, word)
    said = tell("bits", "work.py")
    assert (said.code, len(said.err.splitlines())) == (2, 1)
    assert name in said.err
    assert not (here / "ran").exists()
