"""What a child of the compile helper does: one candidate's compilation, or the check of its code.

Loaded by the helper by path; imports nothing of ours but what the helper has loaded beside it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import tempfile
import time
from pathlib import Path

# Under the names by which packed kernels call for it, and under which the helper has loaded it.
_REMAKE, _TRIALS = "tuneonce.triton.remake", "tuneonce.triton.trials"
_KNOBS = ("build", "cache", "compilation", "language", "nvidia", "amd")

_knobs_at_start: dict = {}


def load_compiler(setup):
    """Import what compiles; returns the seconds that took."""
    began = time.perf_counter()
    sys.path[:] = setup["path"]
    if setup.get("nice"):
        # The process that measures goes first: its launches must not wait for a compiler.
        os.nice(setup["nice"])
    import triton.compiler.code_generator
    import triton.compiler.compiler
    import triton.runtime.cache
    from triton import knobs

    sys.modules[_REMAKE].find_places(triton.compiler.code_generator)
    for group in _KNOBS:
        if hasattr(knobs, group):
            _knobs_at_start[group] = dict(vars(getattr(knobs, group)))
    # Hashing the installation again would take half a second, for the same answer.
    for module in (triton.compiler.compiler, triton.runtime.cache):
        if hasattr(module, "triton_key"):
            module.triton_key = lambda: setup["triton_key"]
    return time.perf_counter() - began


def triton_backend(job):
    """Triton's backend for a job: where who asks is, in its environment and with its knobs."""
    os.environ.clear()
    os.environ.update(job["environment"])
    if job.get("directory") is not None:
        with contextlib.suppress(OSError):
            os.chdir(job["directory"])  # paths of the program's may be relative
    from triton import knobs
    from triton.backends.compiler import GPUTarget
    from triton.compiler import compiler

    for group, values in _knobs_at_start.items():
        # Not through the knobs, which would change the environment.
        state = vars(getattr(knobs, group))
        state.clear()
        state.update(values)
        state.update(job["knobs"].get(group, {}))
    return compiler.make_backend(GPUTarget(*job["target"]))


def compile_job(job, approve):
    """Compile one candidate, with Triton's own `compile` and into Triton's own cache.

    `approve()`, of a job on trial, waits and raises NotAlike, or Triton's cache is written.
    """
    began = time.perf_counter()
    waited = 0.0

    def approved():
        nonlocal waited
        asked = time.perf_counter()
        approve()
        waited += time.perf_counter() - asked

    backend = triton_backend(job)
    # The parent's may name the assembler that it had found before the path to it was changed (as
    # TorchInductor does); its Triton would go on under that name, too.
    type(backend).hash = lambda _: job["backend_hash"]
    from triton.backends.compiler import GPUTarget
    from triton.compiler import compiler

    target = GPUTarget(*job["target"])
    options = pickle.loads(job["options"])
    if approve is not None:
        sys.modules[_TRIALS].hold(compiler, approved)
    try:
        source = unpacked(job) if job["module"] is None else shipped(compiler, job)
        kernel = compiler.compile(source, target=target, options=options)
    except Exception:
        if approve is not None:
            approve()
        raise
    return {"hash": kernel.hash, "seconds": time.perf_counter() - began - waited}


def unpacked(job):
    """The candidate as a source that this process can generate code from."""
    source = pickle.loads(job["source"])
    if source.hash() != job["source_hash"]:
        raise RuntimeError("what was unpacked is another source")
    return source


def generates_the_same(job):
    """Whether the code generated here is the one that was sent along."""
    try:
        backend = triton_backend(job)
        from triton.backends.compiler import GPUTarget

        options = backend.parse_options(pickle.loads(job["options"]))
        generate = sys.modules[_REMAKE].generate
        text = generate(unpacked(job), GPUTarget(*job["target"]), options, backend)
    except Exception:  # whatever it is, the parent's is good
        return False
    return text == job["module"]


def shipped(compiler, job):
    """The candidate as a source: its identity is the parent's, its code is the module's text."""

    class Shipped(compiler.ASTSource):  # type: ignore[name-defined]
        def __init__(self):
            self.fn = None
            self.language = compiler.Language.TRITON
            self.ext = "ttir"
            self.name = job["name"]
            self.signature, self.constants, self.attrs = {}, {}, {}

        def hash(self):
            return job["source_hash"]

        def make_ir(self, *args, **kwargs):
            context = kwargs.get("context", args[-1] if args else None)
            with tempfile.NamedTemporaryFile("w", suffix=".ttir", delete=False) as file:
                file.write(job["module"])
            try:
                module = compiler.ir.parse_mlir_module(file.name, context)
            finally:
                Path(file.name).unlink()
            module.context = context
            return module

    return Shipped()
