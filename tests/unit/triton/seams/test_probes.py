"""The table of seams against the Triton at hand, as it is and with one of them taken away."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("triton")

import triton
from triton import knobs
from triton.backends.compiler import BaseBackend
from triton.backends.nvidia.compiler import CUDABackend
from triton.compiler import compiler
from triton.language import core
from triton.runtime import autotuner, cache
from triton.runtime.autotuner import Autotuner, Heuristics
from triton.runtime.jit import JITFunction

from tuneonce.triton.kernel.wrappers import honours_warmup
from tuneonce.triton.measure.benchmark import whose_benchmark
from tuneonce.triton.seams import digests, hookable, probing, samples
from tuneonce.triton.seams.seam import VERSIONS, Feature, Finding, Seam
from tuneonce.triton.seams.table import SEAMS

VERSION = ".".join(triton.__version__.split(".")[:2])
COMPILING = {Feature.COMPILE_POOL, Feature.COMPILE_AHEAD}
LOOKUP = "FileCacheManager: key, cache_dir, lock_path, get_group, get_file"
# Of which benchmark a result is, is a part of its key.
TIMING = {Feature.BENCHMARKS, Feature.DEVICE_TIMER, Feature.RESULTS}


@pytest.fixture(autouse=True)
def _nothing_is_decided() -> Iterator[None]:
    probing.forget()
    samples._of.cache_clear()
    yield
    probing.end()
    probing.forget()
    samples._of.cache_clear()


def off() -> set[Feature]:
    """What is off, the hook aside."""
    return {one for one in Feature if one is not Feature.HOOK and probing.missing(one)}


@pytest.mark.skipif(VERSION not in VERSIONS, reason="a version that was not read")
@pytest.mark.parametrize("seam", SEAMS, ids=lambda seam: seam.name)
def test_the_table_says_what_this_version_has(seam: Seam) -> None:
    probing.missing(seam.needed_by[0])  # imports what it is of
    expected = {Finding.AS_READ} if VERSION in seam.read_in else {Finding.ABSENT}
    assert {seam.find()} == expected


def test_everything_is_found() -> None:
    assert off() == set()
    assert probing.everything_off() == {}
    assert hookable.find(sys.modules["triton.runtime.autotuner"]).usable


Take = Callable[[pytest.MonkeyPatch], None]


def deleted(owner: Any, name: str) -> Take:
    return lambda patch: patch.delattr(owner, name)


def replaced(owner: Any, name: str, value: Any) -> Take:
    return lambda patch: patch.setattr(owner, name, value)


def without_an_attribute(kind: Any, name: str, *, other: Any = None) -> Take:
    """Objects of this class come without an attribute, or with another in its place.

    What makes them stays Triton's own, as far as can be seen.
    """

    def take(patch: pytest.MonkeyPatch) -> None:
        stock = kind.__init__

        def made(self: Any, *args: Any, **kwargs: Any) -> None:
            stock(self, *args, **kwargs)
            vars(self).pop(name, None)
            if other is not None:
                vars(self)[name] = other

        scope = stock.__globals__
        function = type(made)(made.__code__, scope, "__init__", None, made.__closure__)
        patch.setattr(kind, "__init__", function)

    return take


def a_plain_property(patch: pytest.MonkeyPatch) -> None:
    """Made by Triton, as a later version may: it asks again each time."""
    made: dict[str, Any] = {}
    exec("def do_bench(self): return self._do_bench", vars(autotuner), made)
    patch.setattr(Autotuner, "do_bench", property(made["do_bench"]))


def a_bench_without_hooks(patch: pytest.MonkeyPatch) -> None:
    """Made by Triton, as a later version may."""
    made: dict[str, Any] = {}
    text = """def _bench(self, *args, config, **meta):
        return self.do_bench(lambda: self.fn.run(*args, **meta))"""
    exec(text, vars(autotuner), made)
    patch.setattr(Autotuner, "_bench", made["_bench"])


def no_listener(patch: pytest.MonkeyPatch) -> None:
    patch.delattr(type(knobs.compilation), "listener")
    patch.delitem(vars(knobs.compilation), "listener", raising=False)


def triton_keys(patch: pytest.MonkeyPatch) -> None:
    for module in (cache, compiler):
        patch.delattr(module, "triton_key", raising=False)


@pytest.mark.parametrize(
    ("take", "seams", "features"),
    [
        pytest.param(*one[1:], id=one[0])
        for one in [
            (
                "hook of launches",
                deleted(JITFunction, "_call_hook"),
                {"JITFunction._call_hook"},
                {*COMPILING, Feature.WARM},
            ),
            (
                "caches of devices",
                without_an_attribute(JITFunction, "device_caches"),
                {"JITFunction.device_caches, compile"},
                {*COMPILING, Feature.PROFILE, Feature.WARM},
            ),
            (
                "what is not inlined",
                without_an_attribute(JITFunction, "noinline"),
                {"JITFunction.noinline"},
                {Feature.RESULTS},
            ),
            (
                "hooks before a run",
                without_an_attribute(JITFunction, "pre_run_hooks"),
                {"JITFunction.pre_run_hooks"},
                {*COMPILING, Feature.STOCK_FILES, Feature.WARM},
            ),
            (
                "names of folders",
                replaced(cache, "_base32", lambda key: key),
                {"cache._base32"},
                {*COMPILING, Feature.WARM, Feature.BINARIES},
            ),
            (
                "groups of files",
                replaced(cache.FileCacheManager, "put_group", lambda self, group: None),
                {"CacheManager: get_group, put_group, put", LOOKUP},
                {*COMPILING, Feature.WARM, Feature.BINARIES},
            ),
            (
                "files",
                replaced(cache.FileCacheManager, "get_file", lambda self: None),
                {"CacheManager: get_file, put", LOOKUP},
                {Feature.STOCK_FILES, Feature.BINARIES},
            ),
            (
                "loading of variants",
                deleted(compiler.CompiledKernel, "_init_handles"),
                {
                    "CompiledKernel.hash, src, module",
                    "CompiledKernel._init_handles",
                    "CompiledKernel.run, _run",
                },
                {Feature.PROFILE, Feature.WARM},
            ),
            (
                "launchers of variants",
                replaced(compiler.CompiledKernel, "_init_handles", lambda self: None),
                {"CompiledKernel.run, _run"},
                {Feature.WARM},
            ),
            (
                "what a variant is of",
                replaced(compiler.CompiledKernel, "__init__", lambda self, x: None),
                {"CompiledKernel.hash, src, module"},
                {Feature.PROFILE, Feature.WARM},
            ),
            (
                "places of files",
                replaced(cache.FileCacheManager, "__init__", lambda self, key: None),
                {LOOKUP},
                {Feature.BINARIES},
            ),
            (
                "disk cache",
                replaced(Autotuner, "check_disk_cache", lambda self, key: False),
                {"Autotuner.check_disk_cache"},
                {Feature.STOCK_FILES},
            ),
            (
                "the name through which it digests",
                deleted(autotuner, "hashlib"),
                {"autotuner.hashlib"},
                {Feature.STOCK_FILES},
            ),
            (
                "given benchmark",
                without_an_attribute(Autotuner, "_do_bench"),
                {"Autotuner._do_bench"},
                TIMING,
            ),
            (
                "asked benchmark",
                a_plain_property,
                {"Autotuner.do_bench"},
                {*TIMING, Feature.NUMERICS},
            ),
            (
                "hook after a launch",
                without_an_attribute(Autotuner, "post_hook"),
                {"Autotuner.post_hook"},
                {Feature.NUMERICS},
            ),
            (
                "hook after a launch that nothing calls",
                a_bench_without_hooks,
                {"Autotuner.post_hook"},
                {Feature.NUMERICS},
            ),
            (
                "author's pruning",
                without_an_attribute(Autotuner, "early_config_prune"),
                {"Autotuner.early_config_prune"},
                {Feature.COMPILE_AHEAD},
            ),
            (
                "values of heuristics",
                without_an_attribute(Heuristics, "values"),
                {"Heuristics.values, fn"},
                {*COMPILING, Feature.RESULTS, Feature.WARMUP},
            ),
            (
                "listener",
                no_listener,
                {"knobs.compilation.listener"},
                {Feature.COMPILE_TIMES, Feature.PROFILE},
            ),
            (
                "hook of the cache",
                deleted(type(knobs.runtime), "jit_cache_hook"),
                {"knobs.runtime.jit_cache_hook"},
                COMPILING,
            ),
            (
                "a group of knobs",
                deleted(knobs, "build"),
                {"knobs: groups of the compiler"},
                COMPILING,
            ),
            (
                "switches",
                deleted(knobs, "env_bool"),
                {"knobs.env_bool: key, default, get()"},
                {Feature.RESULTS},
            ),
            ("keys", triton_keys, {"triton_key"}, {*COMPILING, Feature.RESULTS, Feature.WARM}),
            (
                "backends",
                deleted(compiler, "make_backend"),
                {"compiler.make_backend", "helper: compiler.get_cache_manager"},
                {*COMPILING, Feature.RESULTS, Feature.VARIANTS, Feature.WARM},
            ),
            (
                "options",
                replaced(BaseBackend, "parse_options", None),
                {"backends: hash, parse_options"},
                {*COMPILING, Feature.RESULTS, Feature.VARIANTS, Feature.WARM},
            ),
            (
                "what the generator is given",
                deleted(CUDABackend, "get_codegen_implementation"),
                {"backends: load_dialects, get_codegen_implementation, get_module_map"},
                COMPILING,
            ),
            (
                "generator",
                replaced(compiler.ASTSource, "make_ir", lambda self, context: None),
                {"ASTSource.make_ir"},
                COMPILING,
            ),
            (
                "passed over",
                replaced(autotuner, "PTXASError", None),
                {"OutOfResources, PTXASError, CompileTimeAssertionFailure"},
                {Feature.COMPILE_POOL, Feature.DEVICE_TIMER},
            ),
            (
                "aggregates",
                deleted(core, "_aggregate"),
                {"aggregates: __triton_aggregate__, hash_attrs"},
                {Feature.RESULTS},
            ),
        ]
    ],
)
def test_without_a_seam_what_needs_it_is_off(
    monkeypatch: pytest.MonkeyPatch, take: Take, seams: set[str], features: set[Feature]
) -> None:
    take(monkeypatch)
    assert off() == features
    lacking = {name for feature in features for name in probing.missing(feature)}
    assert lacking == seams


@pytest.mark.parametrize("name", ["_bench", "prune_configs"])
def test_without_its_methods_there_is_no_hook(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delattr(Autotuner, name)
    assert hookable.find(sys.modules["triton.runtime.autotuner"]).missing == (name,)


def test_what_is_off_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_base32", lambda key: key)
    told: list[str] = []
    for _ in range(2):
        told.clear()
        probing.begin(autotuner, told.append)
        for _ in range(2):
            assert off() == {*COMPILING, Feature.WARM, Feature.BINARIES}
        whats = ("compile ahead", "compile pool", "kept binaries", "warm start")
        assert sorted(told) == [f"{what}: cache._base32" for what in whats]


def test_an_interpreter_that_has_run_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton 3.4 leaves its own functions in the language, which nothing marks."""
    for name in ("program_id", "load", "store", "arange"):
        monkeypatch.setattr(triton.language, name, lambda *args: None)
        monkeypatch.setattr(core, name, lambda *args: None)
    assert off() == set()


def test_nothing_is_imported_to_look_before_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    module = "triton.tools.tensor_descriptor"
    __import__(module)
    monkeypatch.delitem(sys.modules, module)
    told: list[str] = []
    probing.begin(autotuner, told.append)
    assert module not in sys.modules
    assert Feature.RESULTS not in probing._decided
    assert Feature.STOCK_FILES in probing._decided
    assert not probing.missing(Feature.RESULTS)
    assert module in sys.modules


def test_a_module_that_is_being_imported_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knobs.__spec__, "_initializing", True, raising=False)
    probing.begin(autotuner, lambda reason: None)
    assert Feature.COMPILE_TIMES not in probing._decided
    monkeypatch.undo()
    probing.begin(knobs, lambda reason: None)
    assert Feature.COMPILE_TIMES in probing._decided


def test_what_a_program_makes_its_own_way_is_taken_as_it_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Any] = []

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        made.append(self)

    for kind in (JITFunction, Autotuner, Heuristics):
        monkeypatch.setattr(kind, "__init__", init)
    assert off() == set()
    assert made == []


@pytest.mark.parametrize("name", ["prune_configs", "_bench"])
def test_a_wrapper_of_the_program_is_no_missing_seam(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    stock = getattr(Autotuner, name)
    monkeypatch.setattr(Autotuner, name, lambda *args, **kwargs: stock(*args, **kwargs))
    assert off() == set()
    probing.forget()
    monkeypatch.setattr(Autotuner, name, lambda self: stock(self))
    assert off() != set()


@pytest.mark.parametrize("given", [print, property(lambda self: print), staticmethod(print)])
def test_a_benchmark_function_of_the_program_is_no_missing_seam(
    monkeypatch: pytest.MonkeyPatch, given: Any
) -> None:
    monkeypatch.setattr(Autotuner, "do_bench", given)
    assert off() == set()
    assert whose_benchmark(Autotuner(lambda x: None, ["x"], [], [], None, None)) == "own"


def test_a_driver_of_the_program_is_no_missing_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    class Driver:
        __slots__ = ()

    slot = sys.modules["triton.runtime.driver"].driver
    name = "_active" if "_active" in vars(slot) else "active"
    monkeypatch.setitem(vars(slot), name, Driver())
    assert off() == set()


def test_a_probe_that_raises_finds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(cache, "_base32", refused)
    assert off() == {*COMPILING, Feature.WARM, Feature.BINARIES}


def test_triton_does_not_remember_our_samples() -> None:
    assert off() == set()
    registry = getattr(sys.modules["triton.runtime.jit"], "_triton_jit_function_registry", {})
    assert not [name for name in registry if name.startswith("tuneonce.triton")]


# What is decided for want of a seam, where it is decided.


def test_whose_benchmark_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def kernel(x: Any) -> None: ...

    tuner = Autotuner(kernel, ["x"], [], [], None, None)
    assert whose_benchmark(tuner) in ("tritons", "drivers")
    probing.forget()
    without_an_attribute(Autotuner, "_do_bench")(monkeypatch)
    assert whose_benchmark(tuner) == "own"


def test_nothing_is_sure_to_honour_warmup(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = samples.kernel()
    assert honours_warmup(kernel)
    probing.forget()
    without_an_attribute(Heuristics, "values")(monkeypatch)
    assert not honours_warmup(kernel)


# What the digest of a kernel covers.


def kernel_of(value: Any) -> Any:
    return samples.make(JITFunction, samples.with_constant(value))


def test_constexprs_are_covered_from_3_6_on() -> None:
    covered = VERSION != "3.4"
    assert digests.covers(core.constexpr(1), kernel_of(core.constexpr(1))) == covered
    assert digests.covers(1, kernel_of(1))


def test_nothing_is_covered_where_plain_values_may_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(knobs.compilation, "allow_non_constexpr_globals", True)
    monkeypatch.delenv("TRITON_ALLOW_NON_CONSTEXPR_GLOBALS")
    assert not digests.covers(1, kernel_of(1))
    assert not digests.covers(core.constexpr(1), kernel_of(1))


def test_a_digest_that_covers_nothing_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Careless(JITFunction):
        @property
        def cache_key(self) -> str:
            return "the same"

    class Random(JITFunction):
        @property
        def cache_key(self) -> str:
            return str(id(self))

    assert not digests.covers(core.constexpr(1), Careless(kernel_of(1).fn))
    assert not digests.covers(core.constexpr(1), Random(kernel_of(1).fn))
    monkeypatch.setattr(JITFunction, "cache_key", Careless.cache_key)
    assert not digests.covers(core.constexpr(1), kernel_of(1))
