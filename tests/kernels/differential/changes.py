"""Programs that change Triton's compiler after their first tuning; each needs a process of its own.

What is compiled afterwards is compiled by what they have made of the compiler, as often as with
stock Triton. `after` also launches what was generated before, for other candidates: their code must
be generated again.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import textwrap
from pathlib import Path
from typing import Any

import triton
import triton.language as tl
import triton.profiler.language as profiler
from lab import floats, warps
from triton import knobs
from triton._C.libtriton import llvm, passes
from triton.backends import backends
from triton.backends.nvidia import compiler as nvidia
from triton.compiler import code_generator, compiler

CUDABackend = nvidia.CUDABackend


@triton.autotune(warps(2, 4, BLOCK=64), ["n"])
@triton.jit
def first(x, out, n, BLOCK: tl.constexpr):
    i = tl.arange(0, BLOCK)
    value = tl.load(x + i, mask=i < n)
    tl.store(out + i, value * value + value, mask=i < n)


@triton.autotune(warps(2, 4, M=32), [])
@triton.jit
def second(x, out, M: tl.constexpr):
    at = tl.arange(0, M)[:, None] * M + tl.arange(0, M)[None, :]
    tl.store(out + at, tl.dot(tl.load(x + at), tl.load(x + at)))


def before(recorder: Any) -> None:
    x = floats(64)
    recorder.launch(first, x, x, 64)


def after(recorder: Any) -> None:
    """Another key, another list for the same texts, and a kernel that was not tuned before."""
    x = floats(1024)
    recorder.launch(first, x, x, 60)
    recorder.launch(triton.autotune(warps(1, 8, BLOCK=64), ["n"])(first.fn), x, x, 64)
    recorder.launch(second, x, x)


class Counted:
    """A function that stands in for another, and counts its calls in this process."""

    def __init__(self, function: Any, result: Any = lambda result: result) -> None:
        self.calls = 0

        @functools.wraps(function)
        def stands_in(*args: Any, **kwargs: Any) -> Any:
            self.calls += 1
            return result(function(*args, **kwargs))

        self.stands_in = stands_in


def commented(ptx: str) -> str:
    return f"{ptx}\n// by the program\n"


def program_replaced_stage(recorder: Any) -> None:
    before(recorder)
    stage = Counted(CUDABackend.make_ptx, commented)
    original, CUDABackend.make_ptx = CUDABackend.make_ptx, stage.stands_in
    after(recorder)
    recorder.note(stage.calls)
    CUDABackend.make_ptx = original
    recorder.launch(first, floats(64), floats(64), 32)
    recorder.note(stage.calls)


def program_replaced_first_stage(recorder: Any) -> None:
    """Which makes of the text that the helper gets what is compiled."""
    before(recorder)
    stage = Counted(CUDABackend.make_ttir)
    CUDABackend.make_ttir = staticmethod(stage.stands_in)
    after(recorder)
    recorder.note(stage.calls)


def program_stage_without_a_name(recorder: Any) -> None:
    """Not wrapped with care: it looks like what it is."""
    before(recorder)
    original = CUDABackend.make_llir
    calls = []

    def make_llir(self: Any, *args: Any) -> Any:
        calls.append(1)
        return original(self, *args).replace("source_filename", "source_filename ", 1)

    CUDABackend.make_llir = make_llir
    after(recorder)
    recorder.note(len(calls))


def program_backend_subclass(recorder: Any) -> None:
    before(recorder)
    calls = []

    class Backend(CUDABackend):
        def make_ptx(self, *args: Any) -> Any:
            calls.append(1)
            return commented(super().make_ptx(*args))

    backends["nvidia"] = dataclasses.replace(backends["nvidia"], compiler=Backend)
    after(recorder)
    recorder.note(len(calls))


def program_parsed_options(recorder: Any) -> None:
    before(recorder)
    original = CUDABackend.parse_options

    def parse_options(self: Any, options: dict[str, Any]) -> Any:
        return original(self, {**options, "enable_fp_fusion": False, "num_stages": 1})

    CUDABackend.parse_options = parse_options
    after(recorder)


def program_replaced_compile(recorder: Any) -> None:
    before(recorder)
    mine = Counted(compiler.compile)
    triton.compiler.compile = compiler.compile = mine.stands_in
    after(recorder)
    recorder.note(mine.calls)


def program_replaced_code_generation(recorder: Any) -> None:
    before(recorder)
    mine = Counted(code_generator.ast_to_ttir)
    code_generator.ast_to_ttir = mine.stands_in
    after(recorder)
    recorder.note(mine.calls)


def program_replaced_visitor(recorder: Any) -> None:
    before(recorder)
    visit = code_generator.CodeGenerator.visit_BinOp
    calls = []

    def visit_BinOp(self: Any, node: Any) -> Any:
        calls.append(1)
        return visit(self, node)

    code_generator.CodeGenerator.visit_BinOp = visit_BinOp
    after(recorder)
    recorder.note(len(calls))


def program_replaced_pass(recorder: Any) -> None:
    """Of the library's module, which the backend's functions look up."""
    before(recorder)
    calls = []
    passes.common.add_cse = lambda manager: calls.append(1)
    after(recorder)
    recorder.note(len(calls))


def program_replaced_optimiser(recorder: Any) -> None:
    before(recorder)
    mine = Counted(llvm.optimize_module)
    llvm.optimize_module = mine.stands_in
    after(recorder)
    recorder.note(mine.calls)


def program_assembler(recorder: Any) -> None:
    """Told by a path that is no plain text, as a knob takes it and no variable does."""
    before(recorder)
    log = Path(os.environ["TRITON_CACHE_DIR"]).with_name("assembled")
    log.touch()
    for name in ("ptxas", "ptxas_blackwell"):
        if (tool := getattr(knobs.nvidia, name, None)) is None:
            continue
        script = log.with_name(name)
        script.write_text(
            textwrap.dedent(
                f"""\
                #!/bin/sh
                [ "$1" = --version ] || echo assembled >> {log}
                exec {tool.path} "$@"
                """
            )
        )
        script.chmod(0o755)
        setattr(knobs.nvidia, name, script)
    after(recorder)
    recorder.note(len(log.read_text().splitlines()))


def program_variables(recorder: Any) -> None:
    before(recorder)
    # In this order: unoptimised with line information, a binary names a temporary file.
    for name in ("TRITON_F32_DEFAULT", "TRITON_DISABLE_LINE_INFO", "DISABLE_PTXAS_OPT"):
        os.environ[name] = "ieee" if name == "TRITON_F32_DEFAULT" else "1"
        after(recorder)
        for kernel in (first, second):
            kernel.cache.clear()
            kernel.fn.device_caches.clear()


def program_knobs(recorder: Any) -> None:
    before(recorder)
    knobs.language.fp32_default = "ieee"
    knobs.compilation.disable_line_info = True
    after(recorder)


if hasattr(knobs.compilation, "instrumentation_mode"):

    def program_instrumentation_mode(recorder: Any) -> None:
        before(recorder)
        knobs.compilation.instrumentation_mode = "of the program"
        after(recorder)
        knobs.compilation.instrumentation_mode = ""
        recorder.launch(first, floats(64), floats(64), 32)

    def program_sanitiser(recorder: Any) -> None:
        """An instrumentation that Triton brings along, with passes of its own."""
        before(recorder)
        knobs.compilation.instrumentation_mode = "consan"
        after(recorder)

    def program_instrumentation_callbacks(recorder: Any) -> None:
        before(recorder)
        calls = []
        try:
            from triton._instrumentation import register_instrumentation
        except ImportError:

            class Callbacks:
                def load_dialects(self, context: Any) -> None:
                    calls.append("load-dialects")

                def patch(self, point: str, manager: Any, context: Any) -> None:
                    calls.append(point)
                    passes.common.add_symbol_dce(manager)

            CUDABackend.instrumentation = Callbacks()
        else:
            for point in ("ttgpuir-to-llvmir", "llvmir-to-llvm"):

                def callback(manager: Any, *more: Any, point: str = point) -> None:
                    calls.append(point)
                    passes.common.add_symbol_dce(manager)

                register_instrumentation(point=point, backend="nvidia", callback=callback)
        after(recorder)
        recorder.note(*sorted(calls))

    @triton.autotune(warps(2, 4, BLOCK=64), ["n"])
    @triton.jit
    def scoped(x, out, n, BLOCK: tl.constexpr):
        i = tl.arange(0, BLOCK)
        profiler.enter_scope("load")
        value = tl.load(x + i, mask=i < n)
        profiler.exit_scope("load")
        tl.store(out + i, value, mask=i < n)

    def program_proton(recorder: Any) -> None:
        """The profiler that Triton brings along; its scopes become code while it is on."""
        from triton.profiler.hooks.instrumentation import InstrumentationHook

        before(recorder)
        profiler.enable_semantic("triton")
        hook = InstrumentationHook("")
        hook.activate()
        after(recorder)
        recorder.launch(scoped, floats(64), floats(64), 64)
        hook.deactivate()
        recorder.launch(first, floats(64), floats(64), 32)


if hasattr(knobs.runtime, "add_stages_inspection_hook"):

    def program_stages_hook(recorder: Any) -> None:
        before(recorder)
        calls = []

        def hook(backend=None, stages=None, options=None, language=None, capability=None) -> Any:
            if stages is None:
                return "of the program", "of the program"
            make_ptx = stages["ptx"]

            def ptx(source: Any, metadata: Any) -> Any:
                calls.append(1)
                return commented(make_ptx(source, metadata))

            stages["ptx"] = ptx
            return None

        knobs.runtime.add_stages_inspection_hook = hook
        after(recorder)
        recorder.note(len(calls))
