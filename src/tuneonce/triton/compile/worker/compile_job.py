"""What a child of the compile helper does: the compilation of one candidate.

The candidate comes as text in Triton's first language (TTIR), which its program has generated; from
there on any process that has the same Triton does the same. Loaded by the helper by path; imports
nothing of ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from pathlib import Path

# Marks the environment of a helper and of all that it starts, so that none starts one.
HELPER_MARK = "TUNEONCE_COMPILE_HELPER"
_KNOBS = ("build", "cache", "compilation", "language", "nvidia", "amd")

_knobs_at_start: dict = {}


class OtherTriton(Exception):
    """What was imported here is not what the program has."""


class OtherCode(Exception):
    """A text is not the program's; it is left to the program."""


def load_compiler(setup):
    """Import what compiles; returns the seconds that took. Raises OtherTriton.

    From the program's Triton and from Python's own library, and from nowhere else: what lies in the
    program's directory may be called like one of their modules.
    """
    began = time.perf_counter()
    if sys.version_info[:3] != tuple(setup["python"]):
        raise OtherTriton(f"Python {sys.version.split()[0]}")
    sys.path.extend(path for path in setup["path"] if path not in sys.path)
    if setup.get("nice"):
        # The process that measures goes first: its launches must not wait for a compiler. Compilers
        # get the rest, so that this one, which starts them and reaps them, is not kept from it.
        os.nice(setup["nice"] // 2)
    import triton.compiler.code_generator
    import triton.compiler.compiler
    import triton.runtime.cache
    from triton import knobs

    for name, file in setup["files"].items():
        if getattr(sys.modules.get(name), "__file__", None) != file:
            raise OtherTriton(f"{name} is not that of the program")
    for group in _KNOBS:
        if hasattr(knobs, group):
            _knobs_at_start[group] = dict(vars(getattr(knobs, group)))
    # Hashing the installation again would take half a second, for the same answer.
    for module in (triton.compiler.compiler, triton.runtime.cache):
        if hasattr(module, "triton_key"):
            module.triton_key = lambda: setup["triton_key"]
    return time.perf_counter() - began


def triton_backend(job):
    """Triton's backend for a job: with the requester's directory, environment and knobs."""
    os.environ.clear()
    os.environ.update(job["environment"])
    os.environ[HELPER_MARK] = "1"
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
    if job.get("staging") is not None:
        vars(knobs.cache).update(dir=job["staging"], manager_class=None)
    return compiler.make_backend(GPUTarget(*job["target"]))


def name_of_binary(job):
    """A name for a job's binary in the cache that it goes to; None for one that is put aside."""
    if job.get("staging") is not None:
        return None
    environment, kept = job["environment"], job["knobs"].get("cache", {})
    where = [environment.get(name) for name in ("TRITON_CACHE_DIR", "TRITON_HOME", "HOME")]
    return hashlib.sha256(repr([job["hash"], where, sorted(kept.items())]).encode()).hexdigest()


def assembler(job):
    """What says which assembler compiles a job; its version is a part of every binary's key."""
    ptxas = job["knobs"].get("nvidia", {}).get("ptxas")
    return (tuple(job["target"]), job["environment"].get("TRITON_PTXAS_PATH"), ptxas)


def compile_job(job):
    """Compile one candidate, with Triton's own `compile` and into Triton's own cache.

    Into the directory ``staging`` instead, if the job has one.
    """
    began = time.perf_counter()
    backend = triton_backend(job)
    # The parent's may name the assembler that it had found before the path to it was changed (as
    # TorchInductor does); its Triton would go on under that name, too.
    type(backend).hash = lambda _: job["backend_hash"]
    from triton.backends.compiler import GPUTarget
    from triton.compiler import compiler

    get_cache_manager = compiler.get_cache_manager

    def expected(key):
        if key != job["hash"]:  # nothing is written under a key that is not the program's
            raise OtherTriton("its key for a binary is not the program's")
        return get_cache_manager(key)

    compiler.get_cache_manager = expected
    source = shipped(compiler, job)
    compiler.compile(source, target=GPUTarget(*job["target"]), options=job["options"])
    return {"seconds": time.perf_counter() - began, "found": not source.made}


def shipped(compiler, job):
    """The candidate as a source: its identity and its code are the parent's."""

    class Shipped(compiler.ASTSource):  # type: ignore[name-defined]
        def __init__(self):
            self.fn = None
            self.language = compiler.Language.TRITON
            self.ext = "ttir"
            self.name = job["name"]
            self.signature, self.constants, self.attrs = {}, {}, {}
            self.made = False  # until Triton asks for the code: its cache has no binary

        def hash(self):
            return job["source_hash"]

        def make_ir(self, *args, **kwargs):
            self.made = True
            context = kwargs.get("context", args[-1] if args else None)
            with tempfile.NamedTemporaryFile("w", suffix=".ttir", delete=False) as file:
                file.write(job["complete"])
            try:
                module = compiler.ir.parse_mlir_module(file.name, context)
            finally:
                Path(file.name).unlink()
            module.context = context
            if hashlib.sha256(str(module).encode()).hexdigest() != job["printed"]:
                raise OtherCode("what was parsed is not what was generated")
            return module

    return Shipped()
