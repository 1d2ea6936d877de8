"""One start of a small server; prints, as JSON, what came of each of its steps.

Usage: start_child.py STEP...

``launch``, ``second``, ``scaled``, ``reads`` and ``tune`` launch a kernel, ``ready`` says that it
has started, ``written`` waits until the store names all that were launched, ``fork`` makes the next
steps those of a child, too, ``spawn`` has a child of multiprocessing take the step ``second``,
``set`` changes a global that a kernel reads, ``fail`` ends in an error, ``kill`` as by SIGKILL.
The device is called ``PRODUCT``, if the environment says so. Where there is a remote, it is waited
for, however slow this machine is.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
import triton
import triton.language as tl

import tuneonce
from tuneonce.replay import warm_up
from tuneonce.testing import SimulatedGPU

FACTOR = tl.constexpr(3)
# As a number that a server computes from what is free, another one at each start.
SCALE = int(os.environ.get("SCALE", "2"))


@triton.jit
def first(x, n, SCALE: tl.constexpr):
    tl.store(x, n * SCALE)


@triton.jit
def second(x, n):
    tl.store(x, n)


@triton.jit
def scaled(x, n, SCALE: tl.constexpr):
    tl.store(x, n + SCALE)


@triton.jit
def reads(x, n):
    tl.store(x, n * FACTOR)


@triton.autotune([triton.Config({"BLOCK": b}) for b in (32, 64)], ["n"])
@triton.jit
def tuned(x, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(x + i, i, mask=i < n)


launched: set[str] = set()


def all_parts() -> str:
    store = Path(os.environ["TUNEONCE_STORE"])
    return "".join(path.read_text() for path in store.glob("profiles/*/*.profile.json"))


def wait_until_written() -> None:
    by = time.monotonic() + 30
    while not all(f':{name}"' in all_parts() for name in launched):
        assert time.monotonic() < by, (launched, all_parts())
        time.sleep(0.02)


def child() -> None:
    tuneonce.install()
    with SimulatedGPU():
        second[(1,)](torch.zeros(64), 5)
        launched.add("second")
        wait_until_written()


def step(what: str, x: torch.Tensor) -> Any:
    if what == "launch":
        launched.add("first")
        return first[(1,)](x, 5, SCALE).asm["ttir"]
    if what == "second":
        launched.add("second")
        return second[(1,)](x, 5).asm["ttir"]
    if what == "scaled":
        launched.add("scaled")
        return scaled[(1,)](x, 5, SCALE).asm["ttir"]
    if what == "reads":
        return reads[(1,)](x, 5).asm["ttir"]
    if what == "tune":
        launched.add("tuned")
        return tuned[(1,)](x, 64).asm["ttir"]
    if what == "set":
        globals()["FACTOR"] = tl.constexpr(5)
    elif what == "ready":
        tuneonce.ready()
    elif what == "written":
        wait_until_written()
    elif what == "fork":
        if pid := os.fork():
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    elif what == "spawn":
        made = multiprocessing.get_context("spawn").Process(target=child)
        made.start()
        made.join()
        assert made.exitcode == 0
    elif what == "fail":
        raise RuntimeError("this start fails")
    elif what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return None


def be_patient() -> None:
    from tuneonce.replica import link
    from tuneonce.system.patience import Patience

    link.PULL_S = link.PATIENCE_S = link.ANSWER_S = 60.0
    link.Link.finish.__defaults__ = Patience.__init__.__defaults__ = (60.0,)


def main(*steps: str) -> None:
    # Beside other work all that is guessed takes longer than a start may wait for it.
    warm_up._GUESSED_WITHIN_S = 60.0
    if os.environ.get("TUNEONCE_REMOTE"):
        be_patient()
    device = {"product": os.environ["PRODUCT"]} if "PRODUCT" in os.environ else {}
    compiled: list[tuple[str, bool]] = []
    triton.knobs.compilation.listener = lambda *, src, cache_hit, **others: compiled.append(
        (src.name, cache_hit)
    )
    tuneonce.install()
    parent = os.getpid()
    said: list[dict[str, Any]] = []
    with SimulatedGPU(**device) as gpu:
        x = torch.zeros(64)
        for what in steps:
            loaded = gpu.loaded
            code = step(what, x)
            said.append(
                {"step": what, "compiled": compiled[:], "loaded": gpu.loaded - loaded, "code": code}
            )
            compiled.clear()
    if os.getpid() == parent:
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
