"""Records that lie about what was compiled: what is launched and kept stays the program's own."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("triton")

from tests.kernels.pool_lab import binaries
from tests.kernels.warm import WarmPython
from tuneonce.events.log import read_processes
from tuneonce.model.records import Variants, pack, unpack

CHILD = Path(__file__).with_name("recorded_child.py")
SRC = Path(__file__).parents[3] / "src"


class Starts:
    """Starts of the child; all share a store, each has a Triton cache of its own."""

    def __init__(self, home: Path, warm: WarmPython) -> None:
        self.home = home
        self.warm = warm

    def run(self, number: int, product: str = "one", **settings: str) -> list[str]:
        environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith(("TUNEONCE", "TRITON_"))},
            "PYTHONPATH": str(SRC),
            "TRITON_CACHE_DIR": str(self.cache(number)),
            "TUNEONCE_STORE": str(self.home / "store"),
            "TUNEONCE_EVENTS": str(self.home / f"events-{number}"),
            "TUNEONCE_RAISE": "1",
            "TUNEONCE_WORKERS": "2",
            # What is found there, or made ready, is not compiled from a record.
            "TUNEONCE_BINARIES_MB": "0",
            "TUNEONCE_PROFILE": "0",
            "TRITON_DEFAULT_FP_FUSION": "1",
            **settings,
        }
        done = self.warm.run(
            CHILD, product, env=environment, cwd=self.home, told=self.home / f"told-{number}"
        )
        assert done.returncode == 0, done.stderr
        codes: list[str] = json.loads(done.stdout)
        return codes

    def cache(self, number: int) -> Path:
        return self.home / f"triton-{number}"

    def events(self, number: int, kind: str) -> list[dict[str, Any]]:
        (events,) = read_processes(self.home / f"events-{number}")
        return [event for event in events if event.get("e") == kind]

    def rewrite(self, kernel: str, change: Callable[[dict[str, Any]], None]) -> int:
        """Change every variant of a kernel in the store, under a right checksum."""
        count = 0
        for path in (self.home / "store").rglob("*.variants.json"):
            record = unpack(path.read_bytes(), Variants)
            if record.kernel.endswith(f":{kernel}"):
                each = {}
                for candidate, rest in record.each.items():
                    whole = {**record.common, **rest}
                    change(whole)
                    each[candidate] = whole
                    count += 1
                path.write_bytes(pack(msgspec.structs.replace(record, common={}, each=each)))
        return count

    def assert_same_cache(self, number: int, stock: int) -> None:
        """All binaries are those that stock made, and stock made all of them."""
        ours, theirs = binaries(self.cache(number)), binaries(self.cache(stock))
        assert ours.keys() <= theirs.keys()
        for key, files in ours.items():
            for name, data in files.items():
                if not name.startswith("__grp__"):
                    assert data == theirs[key][name], name


@pytest.fixture(scope="module")
def first_start(
    tmp_path_factory: pytest.TempPathFactory, warm_python: WarmPython
) -> tuple[Path, list[str]]:
    """What a first start leaves, and the codes that it launched: those of stock."""
    starts = Starts(tmp_path_factory.mktemp("first"), warm_python)
    codes = starts.run(1)
    assert starts.run(0, TUNEONCE="0") == codes
    starts.assert_same_cache(1, stock=0)
    return starts.home, codes


@pytest.fixture
def starts(tmp_path: Path, first_start: tuple[Path, list[str]], warm_python: WarmPython) -> Starts:
    shutil.copytree(first_start[0], tmp_path, dirs_exist_ok=True)
    return Starts(tmp_path, warm_python)


@pytest.fixture
def codes(first_start: tuple[Path, list[str]]) -> list[str]:
    return first_start[1]


def put(name: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda variant: variant.update({name: value})


# What Triton takes for the same variant, and what makes it do something else.
LIES = {
    "a number as text": put("const.[3]", "1"),
    "a number as a float in text": put("const.[3]", "1.0"),
    "no as text": put("const.[4]", "False"),
    "an option as text": put("opt.enable_fp_fusion", "False"),
    "an option's type": put("opt.debug", 0),
    "options of the assembler": put("opt.ptx_options", "--options-file /dev/zero"),
    "a file of the compiler's": put("opt.ir_override", "/dev/zero"),
    "Python in a type": put(
        "sig.x", "tensordesc<fp16[64, 64],__import__('pathlib').Path('evil').touch()>"
    ),
    "a tuned constant": put("const.[5]", 16),
    "a tuned option": put("opt.num_warps", 32),
    "an attribute": put("attr.[0]", [["tt.divisibility", 1 << 30]]),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_is_launched_and_kept_is_the_programs(
    starts: Starts, codes: list[str], lie: str
) -> None:
    assert starts.rewrite("second", LIES[lie]) > 0
    assert starts.run(2, "another") == codes
    starts.assert_same_cache(2, stock=0)
    assert not (starts.home / "evil").exists()
    assert [one for one in starts.events(2, "compile") if one["kernel"] == "second"]


@pytest.mark.parametrize("lie", ["a number as text", "no as text"])
def test_winners_after_triton_s_cache_was_emptied(
    starts: Starts, codes: list[str], lie: str
) -> None:
    assert starts.rewrite("second", LIES[lie]) > 0
    assert starts.run(2) == codes
    starts.assert_same_cache(2, stock=0)
    # Stock, afterwards, on the same cache.
    assert starts.run(3, TUNEONCE="0", TRITON_CACHE_DIR=str(starts.cache(2))) == codes


def test_what_is_true_is_compiled_once(starts: Starts, codes: list[str]) -> None:
    assert starts.run(2, "another") == codes
    assert starts.events(2, "ahead")
    compiled = [one["kernel"] for one in starts.events(2, "compile")]
    assert compiled.count("second") <= 2
    starts.assert_same_cache(2, stock=0)
    assert starts.events(2, "problem") == []


def test_a_loop_of_a_thousand_million_steps_ends(starts: Starts, codes: list[str]) -> None:
    assert starts.rewrite("third", put("const.[3]", 10**9)) > 0
    assert starts.run(2) == codes
    starts.assert_same_cache(2, stock=0)
    assert [one["detail"] for one in starts.events(2, "problem")] == ["code took too long"]


def test_nothing_is_left_in_the_directory_for_temporary_files(starts: Starts) -> None:
    (starts.home / "tmp").mkdir()
    for number, product in ((1, "one"), (2, "another")):
        starts.run(number, product, TMPDIR=str(starts.home / "tmp"))
    left = [path.name for path in (starts.home / "tmp").iterdir()]
    assert left == [f"tuneonce-{os.getuid()}"]  # where processes share their cores
