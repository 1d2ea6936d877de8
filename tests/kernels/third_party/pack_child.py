"""Packs every kernel of a package, and unpacks them in a process that has Triton alone.

    python tests/kernels/third_party/pack_child.py fla_core

Prints, as JSON, how many kernels there are, why some stay, and which came out as something else.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from child import cuda_on_cpu, import_all

from tuneonce.testing import SimulatedGPU
from tuneonce.triton import compile_helper
from tuneonce.triton.pack import pack

THERE = """
import json, pickle, runpy, sys
helper = runpy.run_path(sys.argv[1])
path, packed = pickle.load(sys.stdin.buffer)
helper["compile_job"].load_compiler({"path": path, "triton_key": ""})
wrong = [name for name, key, data in packed if pickle.loads(data).cache_key != key]
modules = sorted({name.partition(".")[0] for name in sys.modules})
print(json.dumps({"wrong": wrong, "modules": modules}))
"""


def kernels(module: str) -> list[Any]:
    from triton.runtime.jit import JITFunction

    found = [o for o in gc.get_objects() if type(o) is JITFunction]
    return [k for k in found if (k.__module__ or "").partition(".")[0] == module]


def run(workload: Any) -> dict[str, Any]:
    module = workload.MODULE
    workload.calls("cpu")  # which knows how it is imported
    import_all(module)
    packed: list[tuple[str, str, bytes]] = []
    stay: Counter[str] = Counter()
    for kernel in kernels(module):
        try:
            packed.append((kernel.__qualname__, kernel.cache_key, pack(kernel)))
        except Exception as error:
            stay[f"{type(error).__name__}: {error}"] += 1
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", THERE, str(Path(compile_helper.__file__))],
        input=pickle.dumps((sys.path, packed)),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return {"packed": len(packed), "stay": dict(stay), **json.loads(done.stdout)}


def main(name: str) -> None:
    workload = importlib.import_module(f"{name}_calls")
    os.environ.update(workload.ENVIRONMENT)
    with contextlib.redirect_stdout(sys.stderr):
        SimulatedGPU().install()
        with cuda_on_cpu():
            document = run(workload)
    print(json.dumps(document))


if __name__ == "__main__":
    main(*sys.argv[1:])
