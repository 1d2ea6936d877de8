"""Where helpers leave binaries: where stock Triton would, under the same keys."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")

import torch
import triton
import triton.language as tl
from triton import knobs
from triton.backends.nvidia.compiler import get_ptxas
from triton.tools.tensor_descriptor import TensorDescriptor

from tests.fakes import Children
from tests.kernels.equivalence_lab import Forgetful
from tests.kernels.jobs import make_add, make_scale
from tests.kernels.pool_lab import FOUR, autotuned, binaries, blocks, cache, launch, tuner
from tuneonce.store.memory import MemoryStore
from tuneonce.triton.compile.stock_compiler import blocked
from tuneonce.triton.seams import compilers

PROGRAM = """
    import json, os
    import torch, triton, triton.language as tl
    from triton import knobs
    import tuneonce
    from tuneonce.testing import SimulatedGPU

    tuneonce.install()

    @triton.jit
    def double(x, out, n, BLOCK: tl.constexpr, ACC: tl.constexpr):
        i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
        value = tl.load(x + i, mask=i < n).to(tl.float32)
        for _ in range(ACC):
            value += tl.sum(value, 0)
        tl.store(out + i, value.to(out.dtype.element_ty), mask=i < n)

    configs = [
        triton.Config({"BLOCK": b, "ACC": a}, num_warps=w)
        for b in (64, 128) for a in (1, 3) for w in (2, 4)
    ]
    kernel = triton.autotune(configs, ["n"])(double)
    compiled = []
    before = knobs.compilation.listener

    def listener(**call):
        compiled.append(call["cache_hit"])
        if before is not None:
            before(**call)

    knobs.compilation.listener = listener
    with SimulatedGPU(do_bench=True):
        kernel[(16,)](torch.ones(1024, dtype=torch.bfloat16), torch.zeros(1024), 1024)
    print(json.dumps({"compiled": compiled.count(False), "loaded": compiled.count(True)}))
"""


# With six compilers as with two; the forty kernels of `differential` are compiled by six.
@pytest.mark.parametrize("workers", ["2", pytest.param("6", marks=pytest.mark.thorough)])
def test_binaries_are_those_of_stock_and_stock_finds_them(
    warm_children: Children, tmp_path: Path, workers: str
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    # Written once: the assembler puts the time of the file into a binary's line table.
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    sent = warm_children.run(
        program, TUNEONCE="1", TUNEONCE_WORKERS=workers, TRITON_CACHE_DIR=str(there)
    )
    assert sent == {"compiled": 0, "loaded": 8}
    stock = warm_children.run(program, TUNEONCE="0", TRITON_CACHE_DIR=str(here))
    assert stock == {"compiled": 8, "loaded": 0}

    shipped, compiled = binaries(there), binaries(here)
    assert shipped.keys() == compiled.keys()
    for key, files in shipped.items():
        assert files.keys() == compiled[key].keys()
        for name, data in files.items():
            if name.startswith("__grp__"):
                paths = json.loads(data)["child_paths"]
                assert paths == {file: str(there / key / file) for file in paths}
            else:
                assert data == compiled[key][name], name

    again = warm_children.run(program, TUNEONCE="0", TRITON_CACHE_DIR=str(there))
    assert again == {"compiled": 0, "loaded": 8}


def test_a_cache_that_the_program_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four tunes by one helper: each looks where Triton would look at that moment."""
    places = [tmp_path / str(number) for number in range(3)]
    counts = []

    def tune_one() -> None:
        launch(autotuned(make_scale(), blocks(*FOUR)))
        counts.append([len(list(place.glob("*/*.cubin"))) for place in places])

    with tuner(store=Forgetful()) as tuning:
        monkeypatch.setenv("TRITON_CACHE_DIR", str(places[0]))
        tune_one()
        helper = tuning.pool._helper
        monkeypatch.setenv("TRITON_CACHE_DIR", str(places[1]))
        tune_one()
        with knobs.cache.scope():
            knobs.cache.dir = str(places[2])
            tune_one()
        launch(autotuned(make_add(), blocks(*FOUR)))  # the knob is gone, the variable is left
        assert tuning.pool._helper is helper
        assert (tuning.ahead, tuning.here) == (16, 0)
        assert tuning.events.problems() == []
    assert counts == [[4, 0, 0], [4, 4, 0], [4, 4, 4]]
    assert len(list(places[1].glob("*/add.cubin"))) == 4


def test_a_relative_cache_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", "cache")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with tuner(store=Forgetful()) as tuning:
        monkeypatch.chdir(tmp_path / "one")
        launch(autotuned(make_scale(), blocks(*FOUR)))
        monkeypatch.chdir(tmp_path / "two")
        launch(autotuned(make_scale(), blocks(*FOUR)))
        assert (tuning.ahead, tuning.here) == (8, 0)
    assert len(list(tmp_path.glob("one/cache/*/scale.cubin"))) == 4
    assert len(list(tmp_path.glob("two/cache/*/scale.cubin"))) == 4


def assembler(path: Path, version: str) -> Path:
    """One that works, and says that it is of another version."""
    try:
        real = get_ptxas(90).path
    except TypeError:  # of Triton 3.4, which has one for all
        real = get_ptxas().path
    path.write_text(
        textwrap.dedent(
            f"""\
            #!/bin/sh
            if [ "$1" = --version ]
            then echo "Cuda compilation tools, release {version}, V{version}.99"
            else exec {real} "$@"
            fi
            """
        )
    )
    path.chmod(0o755)
    return path


def test_an_assembler_that_the_program_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As TorchInductor does when it has first compiled: Triton keeps the name of the other one."""
    with tuner(store=Forgetful()) as tuning:
        launch(autotuned(make_scale(), blocks(64)))  # Triton asks its own for its version here
        for number in range(2):  # before the helper is started, and after
            other = assembler(tmp_path / f"ptxas-{number}", f"12.{number}")
            for variable in ("TRITON_PTXAS_PATH", "TRITON_PTXAS_BLACKWELL_PATH"):
                monkeypatch.setenv(variable, str(other))
            launch(autotuned(make_add(), blocks(*FOUR, warps=2 + 2 * number)))
            assert (tuning.ahead, tuning.here) == (4 + 4 * number, 1)
        assert tuning.events.problems() == []


def test_a_helper_whose_keys_are_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not asked again, and the reason says that it was the keys."""
    monkeypatch.setattr(compilers, "binary_key", lambda *_: "0" * 64)
    with tuner(store=Forgetful()) as tuning:
        assert launch(autotuned(make_scale(), blocks(*FOUR))) == FOUR[-1]
        (problem,) = tuning.of("problem")
        assert problem["what"] == "compile_helper_lost"
        assert "key for a binary" in problem["detail"]


def test_knobs_that_the_program_has_set() -> None:
    with tuner() as tuning, knobs.compilation.scope():
        knobs.compilation.store_binary_only = True
        launch(autotuned(make_add(), blocks(64, 128)))
        assert (tuning.ahead, tuning.here) == (2, 0)
    kept = {Path(name).suffix for files in binaries(cache()).values() for name in files}
    assert ".cubin" in kept
    assert not kept & {".ttir", ".ptx", ".llir"}


MANAGER = """
from triton.runtime.cache import FileCacheManager

class Elsewhere(FileCacheManager):
    def __init__(self, key, override=False, dump=False):
        super().__init__(key, override, dump)
        self.cache_dir += "-elsewhere"
        self.lock_path = self.cache_dir + "/lock"
        import os
        os.makedirs(self.cache_dir, exist_ok=True)

class Remembering(FileCacheManager):
    files = {}

    def put_group(self, filename, group):
        self.files[self.key, filename] = group
        return super().put_group(filename, group)

    def get_group(self, filename):
        return self.files.get((self.key, filename))

class Forgetting(FileCacheManager):
    def get_group(self, filename):
        return None
"""


@pytest.fixture
def managers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "managers_of_mine.py").write_text(MANAGER)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("managers_of_mine", None)


@pytest.mark.usefixtures("managers")
def test_a_cache_manager_of_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_MANAGER", "managers_of_mine:Elsewhere")
    with tuner() as tuning:
        assert launch(autotuned(make_add(), blocks(*FOUR))) == 512
        assert (tuning.ahead, tuning.here) == (4, 0)
        assert tuning.events.problems() == []
    assert len(list(cache().glob("*-elsewhere/add.cubin"))) == 4


@pytest.mark.usefixtures("managers")
def test_a_cache_manager_that_keeps_things_to_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is this process's that is given what another one has compiled."""
    monkeypatch.setenv("TRITON_CACHE_MANAGER", "managers_of_mine:Remembering")
    with tuner() as tuning:
        assert launch(autotuned(make_add(), blocks(*FOUR))) == 512
        assert (tuning.ahead, tuning.here) == (4, 0)
        assert tuning.events.problems() == []


@pytest.mark.usefixtures("managers")
def test_a_cache_manager_that_keeps_nothing(monkeypatch: pytest.MonkeyPatch, warnings: Any) -> None:
    """What was compiled never arrives: found out once, and done here from then on."""
    monkeypatch.setenv("TRITON_CACHE_MANAGER", "managers_of_mine:Forgetting")
    with tuner() as tuning:
        assert launch(autotuned(make_add(), blocks(*FOUR))) == 512
        assert tuning.here == 4
        assert tuning.events.problems() == ["compile_helper_lost"]
    assert len(warnings()) == 1
    assert "does not find its binaries" in warnings()[0]


def test_a_cache_manager_that_was_set_in_the_program() -> None:
    class Own(triton.runtime.cache.FileCacheManager):
        pass

    with tuner() as tuning, knobs.cache.scope():
        knobs.cache.manager_class = Own
        assert launch(autotuned(make_add(), blocks(64, 128))) == 128
        assert (tuning.ahead, tuning.here) == (2, 0)
        assert tuning.events.problems() == []


# -- when nothing leaves the process -------------------------------------------------------------


def test_a_warm_start_starts_no_helper() -> None:
    store = MemoryStore()
    kernel = make_add()
    with tuner(store=store):
        launch(autotuned(kernel, blocks(*FOUR)))
    with tuner(store=store) as tuning:
        assert launch(autotuned(kernel, blocks(*FOUR))) == 512
        assert [one["outcome"] for one in tuning.of("resolve")] == ["hit"]
        assert not tuning.started
        assert tuning.pool.start_s is None


@pytest.mark.parametrize(
    ("group", "knob"),
    [
        ("compilation", "always_compile"),
        ("compilation", "dump_ir"),
        ("compilation", "override"),
        ("nvidia", "dump_ptxas_log"),
        ("runtime", "interpret"),
    ],
)
def test_what_is_meant_to_be_seen_happens_here(group: str, knob: str) -> None:
    assert blocked() is None
    with getattr(knobs, group).scope():
        setattr(getattr(knobs, group), knob, True)
        assert blocked() is not None
    assert blocked() is None


@pytest.mark.parametrize("name", ["MLIR_ENABLE_DUMP", "LLVM_IR_ENABLE_DUMP", "MLIR_ENABLE_TIMING"])
def test_what_a_variable_makes_the_compiler_print(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "0")
    assert blocked() is None
    monkeypatch.setenv(name, "add")  # a kernel's name is allowed, too
    assert blocked() == name


def test_compiling_in_this_process_tunes_the_same() -> None:
    with tuner() as tuning, knobs.compilation.scope():
        knobs.compilation.always_compile = True
        assert launch(autotuned(make_add(), blocks(64, 128))) == 128
        assert (tuning.ahead, tuning.started) == (0, False)


@pytest.mark.skipif(not hasattr(triton, "AsyncCompileMode"), reason="this Triton has none")
def test_a_program_that_compiles_asynchronously_by_itself() -> None:
    from concurrent.futures import ThreadPoolExecutor

    with tuner() as tuning, ThreadPoolExecutor(2) as executor:
        with triton.AsyncCompileMode(executor):
            assert launch(autotuned(make_add(), blocks(64, 128))) == 128
        assert not tuning.started


@pytest.mark.parametrize("workers", [0, 1])
def test_one_worker_is_this_process(workers: int) -> None:
    with tuner(workers=workers) as tuning:
        assert launch(autotuned(make_add(), blocks(64, 128))) == 128
        assert (tuning.pool, tuning.ahead, tuning.here) == (None, 0, 2)


@pytest.mark.parametrize("by_keyword", [False, True])
def test_descriptors_whose_blocks_a_hook_sets(by_keyword: bool) -> None:
    """What is compiled ahead is what is launched, however the descriptors are passed."""

    @triton.jit
    def move(src, dst, n, BM: tl.constexpr):
        m = tl.program_id(0)
        for i in range(0, n, 16):
            dst.store([m * BM, i], src.load([m * BM, i]))

    def shape(arguments: dict[str, Any]) -> None:
        for name in ("src", "dst"):
            arguments[name].block_shape = [arguments["BM"], 16]

    configs = [triton.Config({"BM": size}, pre_hook=shape) for size in (16, 32)]
    with tuner(times=lambda one: 1.0 / one.constants["BM"]) as tuning:
        kernel = triton.autotune(configs, ["n"])(move)
        data = [torch.zeros(64, 64, dtype=torch.float16) for _ in range(2)]
        src, dst = (TensorDescriptor.from_tensor(one, [1, 16]) for one in data)
        grid = covering_rows(64)
        if by_keyword:
            kernel[grid](src=src, dst=dst, n=64)
        else:
            kernel[grid](src, dst, 64)
        assert kernel.best_config is configs[1]
        assert (tuning.ahead, tuning.here) == (2, 0)
        # A copy of the kernel has stopped at the compiler; the kernel itself has Triton's.
        assert move.compile is triton.compile


def covering_rows(rows: int) -> Any:
    return lambda meta: (rows // meta["BM"],)
