"""Autotuned kernels inside compiled functions: which of them reach Triton's own autotuner.

docs/torch-compile.md tells users what these tests hold. Nothing here needs a GPU: Inductor is
stopped where it would compile for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton")

from tests.fakes import Children
from tests.kernels.warm import WarmPython

# Importing these takes several times as long as what is asked here.
COMPILERS = (
    "torch._dynamo",
    "torch._inductor.compile_fx",
    "torch._inductor.runtime.triton_heuristics",
)


@pytest.fixture(scope="module")
def with_compilers() -> Iterator[WarmPython]:
    # Inductor would start processes for what it compiles, and wait for their end.
    made = WarmPython(*COMPILERS, TORCHINDUCTOR_COMPILE_THREADS="1")
    yield made
    made.close()


@pytest.fixture
def children(tmp_path: Path, with_compilers: WarmPython) -> Children:
    return Children(tmp_path / "home", warm=with_compilers)


PROGRAM = """
import json, os, sys
import torch, triton, triton.language as tl
import tuneonce
from torch._inductor.runtime.triton_heuristics import CachingAutotuner
from tuneonce.settings import read
from tuneonce.events.totals import summarise
from tuneonce.testing import SimulatedGPU

@triton.autotune([triton.Config({"BLOCK": b}) for b in (64, 128, 256)], key=["n"])
@triton.jit
def copy(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

def traced(x):
    out = torch.empty_like(x)
    n = x.numel()
    copy[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](x, out, n)
    return out

@torch.library.custom_op("tests::opaque", mutates_args=())
def opaque(x: torch.Tensor) -> torch.Tensor:
    return traced(x)

@opaque.register_fake
def _(x):
    return torch.empty_like(x)

class Stopped(BaseException):
    pass

def precompile(self, *args, **kwargs):
    raise Stopped(len(self.configs))

CachingAutotuner.precompile = precompile
events = read(os.environ).events
said = {}
with SimulatedGPU():
    # Compiling keeps the generators' state; this torch has none for CUDA.
    torch.cuda.get_rng_state = lambda *args: torch.zeros(1)
    torch.cuda.set_rng_state = lambda *args: None
    tuneonce.install()
    calls = [(traced, "aot_eager"), (opaque, "inductor"), (traced, "inductor")]
    for number, (function, backend) in enumerate(calls):
        before, inductors = summarise(events), 0
        try:
            torch.compile(lambda x: function(x), backend=backend, fullgraph=True, dynamic=False)(
                torch.ones(1024 << number))  # a key of its own
        except Stopped as stopped:
            inductors = stopped.args[0]
        after = summarise(events)
        said[f"{function.__name__} {backend}" if function is traced else f"opaque {backend}"] = [
            after.tunes - before.tunes, after.hits - before.hits, inductors]
        torch._dynamo.reset()
print(json.dumps(said))
"""


@pytest.mark.slow
def test_who_tunes(children: Children) -> None:
    inductor = {"TORCHINDUCTOR_CACHE_DIR": str(children.home / "inductor")}
    # Tunes and hits of ours, and the candidates that Inductor is about to compile.
    for tunes in (1, 0):
        assert children.run(PROGRAM, **inductor) == {
            "traced aot_eager": [tunes, 1 - tunes, 0],
            # What Inductor cannot look into is called as it is.
            "opaque inductor": [tunes, 1 - tunes, 0],
            # What it can it copies into the code it writes, with a tuner of its own.
            "traced inductor": [0, 0, 3],
        }


TUNER = """
import json, os, sys
import triton, triton.language as tl
from torch._inductor.runtime.hints import DeviceProperties
from torch._inductor.runtime.triton_heuristics import CachingAutotuner, user_autotune

@triton.jit
def copy(x, out, n, BLOCK: tl.constexpr):
    pass

device = DeviceProperties(type="cuda", index=0, multi_processor_count=132, cc=90)

def start(place, blocks, tune=False):
    path = os.path.join(os.environ["TORCHINDUCTOR_CACHE_DIR"], place, "cab.py")
    os.makedirs(os.path.dirname(path), exist_ok=True)
    tuner = user_autotune(
        configs=[{"BLOCK": b, "num_warps": 4, "num_stages": 3} for b in blocks],
        triton_meta={"signature": {}, "device": device, "constants": {}, "configs": [{}]},
        filename=path,
        inductor_meta={"kernel_name": "copy"},
        custom_kernel=True,
    )(copy)
    if len(tuner.configs) > 1 and tune:
        tuner.save_cache_hook(tuner.configs[1], 5)
    return [config.kwargs["BLOCK"] for config in tuner.configs]

print(json.dumps([
    start("ab", [64, 128, 256], tune=True),
    start("ab", [64, 128]),
    start("cd", [64, 128, 256]),
]))
"""


@pytest.mark.slow
def test_inductors_results_are_in_its_own_directory(children: Children) -> None:
    inductor = {"TORCHINDUCTOR_CACHE_DIR": str(children.home / "inductor")}
    # One result for the exact list of candidates, beside the code that Inductor wrote.
    others = [[64, 128], [64, 128, 256]]
    assert children.run(TUNER, **inductor) == [[64, 128, 256], *others]
    assert children.run(TUNER, **inductor) == [[128], *others]
    assert children.run(TUNER, TORCHINDUCTOR_CACHE_DIR=str(children.home / "new")) == [
        [64, 128, 256], *others
    ]  # fmt: skip
