"""Tunes one kernel on a simulated GPU, in a new process each time, and kills it when told to.

Importing torch and triton takes longer than such a tuning, so it is done once: this program forks
for every start, before anything of tuneonce or of a simulated GPU exists in it. It reads one JSON
document per line from standard input::

    {"home": directory, "after": seconds until SIGKILL, or null}

and answers with one: whether the start came to its end, its seconds, and what it printed.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl
import triton.testing

BLOCKS = (16, 32, 64, 128, 256, 512, 1024)


@triton.jit
def add(x, out, n, BLOCK: tl.constexpr, ASM: tl.constexpr):
    tl.static_assert(BLOCK != 32, "32 is too small")
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    value = tl.inline_asm_elementwise(ASM, "=r,r", [value], dtype=tl.float32, is_pure=True, pack=1)
    tl.store(out + i, value, mask=i < n)


CONFIGS = [
    triton.Config({"BLOCK": block, "ASM": "mov.b32 $0, $1;"}, num_warps=warps)
    for warps in (4, 2)
    for block in BLOCKS
    if (block, warps) != (32, 2)
]
# The assembler does not know it.
CONFIGS.insert(3, triton.Config({"BLOCK": 64, "ASM": "bogus.b32 $0, $1;"}))


def times(launch: Any) -> float:
    """Each candidate at least a quarter slower than the next: BLOCK=256 with 4 warps wins."""
    order = (256, 128, 512, 64, 1024, 32, 16)
    place = order.index(launch.constants["BLOCK"]) + (0.5 if launch.num_warps == 2 else 0.0)
    return float(0.01 * 1.7**place)


def tune(home: Path, answer: int) -> None:
    os.environ["TUNEONCE_STORE"] = str(home / "store")
    os.environ["TRITON_CACHE_DIR"] = str(home / "cache")
    import tuneonce
    from tuneonce.testing import SimulatedGPU
    from tuneonce.triton.compile.pool import CompilePool

    log = os.open(home / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    submit = CompilePool.submit

    def submit_and_tell(self: Any, job: Any, **options: Any) -> Any:
        future = submit(self, job, **options)
        what = "broken" if "bogus" in job["complete"] else "job"
        os.write(log, f"{what} {self._helper and self._helper.process.pid}\n".encode())
        return future

    CompilePool.submit = submit_and_tell

    def tell(launch: Any) -> bool:
        os.write(log, f"launch {launch.constants['BLOCK']} {launch.num_warps}\n".encode())
        return False

    tuneonce.install()
    kernel = triton.autotune(CONFIGS, ["n"])(add)
    with SimulatedGPU(times=times, do_bench=True) as gpu:
        gpu.fail(tell)
        kernel[lambda meta: (triton.cdiv(1024, meta["BLOCK"]),)](
            torch.ones(1024), torch.zeros(1024), 1024
        )
        os.write(answer, json.dumps({"winner": str(kernel.best_config)}).encode())


def start(home: Path, after: float | None) -> dict[str, Any]:
    read, write = os.pipe()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read)
            tune(home, write)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    os.close(write)
    select.select([read], [], [], after)
    seconds = time.monotonic() - began
    if after is not None:
        os.kill(child, signal.SIGKILL)
    with os.fdopen(read) as told:
        said = told.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return {"done": bool(said), "seconds": seconds, "status": status, **json.loads(said or "{}")}


def main() -> None:
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(start(Path(asked["home"]), asked["after"])), flush=True)


if __name__ == "__main__":
    main()
