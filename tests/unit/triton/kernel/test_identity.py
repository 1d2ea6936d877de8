"""The identity of kernels: what retires their results, by the part that says so, and what does not.

Each case writes small modules to files and imports them, because Triton wants the text of kernels.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from tests.fakes import ROOT
from tuneonce.model.key import compare
from tuneonce.triton.kernel.identity import NoIdentity, innermost, kernel_id, opaque, reads

pytest.importorskip("triton")

HEAD = """\
import enum
import functools
import math
import triton
import triton.language as tl
"""

_numbers = itertools.count()

Load = Callable[..., ModuleType]


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Imports `text` from a new file, in a folder with the modules given by name."""

    def load(text: str, *, name: str = "kernels", head: str = HEAD, **others: str) -> ModuleType:
        folder = tmp_path / f"folder{next(_numbers)}"
        folder.mkdir()
        monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
        for other, its_text in {**others, name: text}.items():
            (folder / f"{other}.py").write_text(head + textwrap.dedent(its_text))
            monkeypatch.delitem(sys.modules, other, raising=False)
        spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        for other in others:
            monkeypatch.delitem(sys.modules, other, raising=False)
        return module

    return load


def differing(one: Any, other: Any) -> list[str]:
    """The names of the parts in which two kernels differ."""
    return [d.part for d in compare(kernel_id(one).parts, kernel_id(other).parts)]


# -- what does not matter ------------------------------------------------------------------------

KERNEL = """\
SCALE: tl.constexpr = tl.constexpr(2.0)

@triton.jit
def helper(x):
    return x * SCALE

@triton.jit
def kernel(x, n, B: tl.constexpr = 16):
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(x + i, helper(tl.load(x + i, mask=i < n)), mask=i < n)
"""


def test_the_parts_of_a_kernel(load: Load) -> None:
    found = kernel_id(load(KERNEL).kernel)
    assert (found.name, found.module) == ("kernel", "kernels")
    parts = dict(found.parts)
    assert list(parts) == [
        "kernel.name",
        "kernel.source",
        "kernel.callee.helper",
        "kernel.default.kernel.B",
        "kernel.global.SCALE",
        "kernel.global.tl",
    ]
    assert parts["kernel.default.kernel.B"] == '["int","16"]'
    assert "0x1.0000000000000p+1" in parts["kernel.global.SCALE"]
    assert parts["kernel.global.tl"] == "triton.language"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("kernels", KERNEL),
        ("elsewhere", KERNEL),
        ("kernels", "# a comment\n\n\n" + KERNEL),
        ("kernels", KERNEL.replace("@triton.jit\ndef k", "# a comment\n@triton.jit\ndef k")),
        ("kernels", KERNEL.replace("@triton.jit", "@triton.jit\n# a comment\n")),
        ("kernels", KERNEL.replace("@triton.jit", "@triton.jit(\n    debug=None,\n)\n")),
        ("kernels", "UNUSED = 1\ndef unused():\n    pass\n" + KERNEL),
        ("kernels", KERNEL + "\n# a comment\n\n@triton.jit\ndef another(x):\n    pass\n"),
        ("kernels", "if True:\n" + textwrap.indent(KERNEL, "    ")),
        ("kernels", KERNEL.replace("\n", "\r\n")),
        ("kernels", KERNEL.replace("SCALE: tl.constexpr = tl", "SCALE = tl")),
    ],
    ids=[
        "another folder",
        "another module",
        "comments at the top",
        "a comment above",
        "a comment below the decorator",
        "a reformatted decorator",
        "other things above",
        "other things below",
        "an indented definition",
        "line ends of another system",
        "an annotation",
    ],
)
def test_what_does_not_matter(load: Load, name: str, text: str) -> None:
    assert differing(load(KERNEL).kernel, load(text, name=name).kernel) == []


def test_classes_of_a_module_that_moves(load: Load) -> None:
    text = """
    from typing import NamedTuple

    class Pair(NamedTuple):
        x: int

    @triton.jit
    def kernel(x):
        Pair(x)
    """
    assert differing(load(text).kernel, load(text, name="elsewhere").kernel) == []


def test_a_module_under_another_name_that_helps(load: Load) -> None:
    text = "import {0} as ops\n@triton.jit\ndef kernel(x):\n    ops.helper(x)\n"
    one = load(text.format("ops_a"), ops_a=KERNEL)
    other = load(text.format("ops_b"), ops_b=KERNEL)
    assert differing(one.kernel, other.kernel) == []


def test_another_process_directory_home_and_hash_seed(tmp_path: Path) -> None:
    program = "import json, sys\nfrom tuneonce.triton.kernel.identity import kernel_id\n" \
        "sys.path.insert(0, sys.argv[1])\nimport kernels\n" \
        "print(json.dumps(kernel_id(kernels.kernel).parts))\n"  # fmt: skip
    seen = []
    for name in ("a", "b"):
        folder = tmp_path / name / "src"
        folder.mkdir(parents=True)
        (folder / "kernels.py").write_text(HEAD + KERNEL)
        own = {"HOME": str(folder), "PYTHONHASHSEED": str(len(seen))}
        child = subprocess.run(
            [sys.executable, "-c", program, str(folder)],
            cwd=tmp_path / name,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **own},
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert child.returncode == 0, child.stderr
        seen.append(json.loads(child.stdout))
    assert seen[0] == seen[1]


def test_any_wrapper_leads_to_the_same_kernel(load: Load) -> None:
    module = load(
        KERNEL
        + """
configs = [triton.Config({"B": 16}), triton.Config({"B": 32})]
values = {"E": lambda args: True}
inside = triton.autotune(configs, key=["n"])(triton.heuristics(values)(kernel))
outside = triton.heuristics(values)(triton.autotune(configs, key=["n"])(kernel))
"""
    )
    for wrapped in (module.inside, module.outside, module.inside.fn):
        assert innermost(wrapped) is module.kernel
        assert differing(wrapped, module.kernel) == []


def test_interpreted_and_compiled_kernels_have_the_same_parts(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = load(KERNEL).kernel
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    interpreted = load(KERNEL).kernel
    assert type(interpreted).__name__ == "InterpretedFunction"
    assert type(compiled).__name__ == "JITFunction"
    assert differing(compiled, interpreted) == []


LAUNCHES = """
import torch
from tuneonce.triton.kernel.identity import kernel_id

exp = tl.exp


@triton.jit
def other(x):
    exp(tl.load(x))


def parts():
    return [kernel_id(fn).parts for fn in (kernel, other)]


if __name__ == "__main__":
    before, x = parts(), torch.ones(16)
    kernel[(1,)](x, 16)
    assert x.sum() == 32, x
    assert parts() == before, (before, parts())
    print("the same")
"""


def test_a_launch_in_the_interpreter_changes_no_identity(load: Load) -> None:
    """In a process of its own: it replaces what Triton's modules hold, and not always back."""
    pytest.importorskip("torch")
    file = load(KERNEL + LAUNCHES).__file__
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, str(file)], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.returncode) == ("the same\n", 0), done.stderr


# -- what matters, and the part that says so -----------------------------------------------------

DIFFERENT = {
    "own source": (
        "@triton.jit\ndef kernel(x):\n    tl.store(x, 1)\n", "1)", "2)", "source",
    ),
    "a comment inside": (
        "@triton.jit\ndef kernel(x):\n    # one\n    tl.store(x, 1)\n", "# one", "# two", "source",
    ),
    "a callee": (KERNEL, "x * SCALE", "x + SCALE", "callee.helper"),
    "a callee's callee": (
        "@triton.jit\ndef deep(x):\n    return x + 1\n" + KERNEL.replace("x * SCALE", "deep(x)"),
        "x + 1", "x + 2", "callee.deep",
    ),
    "a callee that is not inlined any more": (
        KERNEL.replace("@triton.jit\ndef helper", "@triton.jit(noinline=False)\ndef helper"),
        "noinline=False", "noinline=True", "callee.helper",
    ),
    "a constexpr global": (KERNEL, "constexpr(2.0)", "constexpr(3.0)", "global.SCALE"),
    "the type of a global": (KERNEL, "constexpr(2.0)", "constexpr(2)", "global.SCALE"),
    "a plain global": (
        "N: tl.constexpr = 1\n@triton.jit\ndef kernel(x):\n    tl.store(x, N)\n",
        "= 1", "= 2", "global.N",
    ),
    "a dtype": (
        "DT = tl.float32\n@triton.jit\ndef kernel(x):\n    tl.load(x).to(DT)\n",
        "float32", "float16", "global.DT",
    ),
    "a table": (
        "T = {'a': [1, (2, 3)]}\n@triton.jit\ndef kernel(x):\n    T['a']\n", "3)", "4)", "global.T",
    ),
    "a default by name": (
        "SIZE = 16\n@triton.jit\ndef kernel(x, B: tl.constexpr = SIZE):\n    pass\n",
        "= 16", "= 32", "default.kernel.B",
    ),
    "a default with the parameter's name": (
        "B = 16\n@triton.jit\ndef kernel(x, B: tl.constexpr = B):\n    pass\n",
        "B = 16", "B = 32", "default.kernel.B",
    ),
    "a default that is computed": (
        "SIZE = 16\n@triton.jit\ndef kernel(x, B: tl.constexpr = 2 * SIZE):\n    pass\n",
        "= 16", "= 32", "default.kernel.B",
    ),
    "a callee's default": (
        "SIZE = 1\n@triton.jit\ndef helper(x, K: tl.constexpr = SIZE):\n    return x\n"
        "@triton.jit\ndef kernel(x):\n    helper(x)\n",
        "= 1\n", "= 2\n", "default.helper.K",
    ),
    "an alias of Triton's": (
        "exp = tl.exp\n@triton.jit\ndef kernel(x):\n    exp(x)\n", "tl.exp\n", "tl.exp2\n",
        "global.exp",
    ),
    "an alias of a module of Triton's": (
        "lib = tl\n@triton.jit\ndef kernel(x):\n    lib.exp(x)\n", "= tl\n", "= tl.math\n",
        "global.lib",
    ),
    "an alias of Python's": (
        "f = math.floor\n@triton.jit\ndef kernel(x):\n    f(x)\n", "floor", "ceil", "global.f",
    ),
    "a class's constant": (
        "class K:\n    B = tl.constexpr(1)\n@triton.jit\ndef kernel(x):\n    tl.store(x, K.B)\n",
        "constexpr(1)", "constexpr(2)", "global.K.B",
    ),
    "a class's kernel function": (
        "class K:\n    @triton.jit\n    def f(x):\n        return 1\n"
        "@triton.jit\ndef kernel(x):\n    K.f(x)\n",
        "return 1", "return 2", "callee.K.f",
    ),
    "a member's value": (
        "class M(enum.Enum):\n    A = 1\n@triton.jit\ndef kernel(x):\n    tl.store(x, M.A.value)\n",
        "A = 1", "A = 2", "global.M.A.value",
    ),
    "a plain function that is called": (
        "def f(x):\n    return 1\n@triton.jit\ndef kernel(x):\n    f(x)\n",
        "return 1", "return 2", "callee.f",
    ),
    "a lambda": (
        "f = lambda x: x + 1\n@triton.jit\ndef kernel(x):\n    f(x)\n",
        "x + 1", "x + 2", "callee.<lambda>",
    ),
    "a function in a tuple": (
        "@triton.jit\ndef f(x):\n    return 1\nOPS = (f,)\n"
        "@triton.jit\ndef kernel(x):\n    OPS[0](x)\n",
        "return 1", "return 2", "global.OPS",
    ),
}  # fmt: skip


@pytest.mark.parametrize("interpret", ["0", "1"], ids=["compiled", "interpreted"])
@pytest.mark.parametrize("case", DIFFERENT)
def test_what_matters(
    load: Load, monkeypatch: pytest.MonkeyPatch, case: str, interpret: str
) -> None:
    if interpret == "1" and "inlined" in case:
        pytest.skip("the interpreter knows no such option")
    monkeypatch.setenv("TRITON_INTERPRET", interpret)
    text, before, after, part = DIFFERENT[case]
    assert text.count(before) >= 1
    found = differing(load(text).kernel, load(text.replace(before, after)).kernel)
    assert f"kernel.{part}" in found
    if not part.startswith("default."):  # the constant that the default names differs too
        assert found == [f"kernel.{part}"]


THROUGH_A_MODULE = """
import ops
@triton.jit
def kernel(x):
    tl.store(x, ops.helper(x) + ops.deep.CONSTANT + ops.exp(1.0))
"""


@pytest.mark.parametrize(
    ("before", "after", "part"),
    [
        ("return x", "return -x", "callee.helper"),
        ("= 1", "= 2", "global.ops.deep.CONSTANT"),
        ("tl.exp\n", "tl.exp2\n", "global.ops.exp"),
    ],
)
def test_what_matters_in_other_modules(load: Load, before: str, after: str, part: str) -> None:
    ops = "import deep\nexp = tl.exp\n@triton.jit\ndef helper(x):\n    return x\n"
    deep = "CONSTANT = 1\n"
    one = load(THROUGH_A_MODULE, ops=ops, deep=deep)
    other = load(THROUGH_A_MODULE, ops=ops.replace(before, after), deep=deep.replace(before, after))
    assert differing(one.kernel, other.kernel) == [f"kernel.{part}"]


CLOSURES = """
def make(D, B=16, combine=None):
    @triton.jit
    def kernel(x, BLOCK: tl.constexpr = B):
        tl.store(x, combine(D))
    return kernel

@triton.jit
def add(a):
    return a + 1

@triton.jit
def sub(a):
    return a - 1
"""


def test_kernels_of_one_name_differ_by_their_closures(load: Load) -> None:
    module = load(CLOSURES)
    make = module.make
    base = make(1, combine=module.add)
    assert kernel_id(base).name == "make.<locals>.kernel"
    assert differing(base, make(1, combine=module.add)) == []
    assert differing(base, make(2, combine=module.add)) == ["kernel.global.D"]
    assert differing(base, make(True, combine=module.add)) == ["kernel.global.D"]
    assert differing(base, make(1, 32, combine=module.add)) == [
        "kernel.default.make.<locals>.kernel.BLOCK"
    ]
    assert set(differing(base, make(1, combine=module.sub))) == {
        "kernel.callee.add", "kernel.callee.sub",
    }  # fmt: skip
    directories = {
        kernel_id(k).directory
        for k in (base, make(2, combine=module.add), make(1, 32, combine=module.add))
    }
    assert len(directories) == 3


def test_a_closure_that_has_no_value_yet(load: Load) -> None:
    module = load(
        """
        def make():
            @triton.jit
            def kernel(x):
                tl.store(x, later)
            found = probe(kernel)
            later = 1
            return found

        def probe(kernel):
            from tuneonce.triton.kernel.identity import kernel_id
            return kernel_id(kernel).parts
        """
    )
    assert "kernel.global.later" not in dict(module.make())


def test_a_global_that_another_name_shadows_is_not_read(load: Load) -> None:
    text = "n = {0}\n@triton.jit\ndef kernel(n, x):\n    tl.store(x, n)\n"
    assert differing(load(text.format(1)).kernel, load(text.format(2)).kernel) == []


def test_text_that_the_program_has_replaced_counts(load: Load) -> None:
    one, other = load(KERNEL).kernel, load(KERNEL).kernel
    if not hasattr(other, "_unsafe_update_src"):
        pytest.skip("this Triton cannot replace it")
    other._unsafe_update_src(other.src.replace("i < n", "i <= n"))
    assert differing(one, other) == ["kernel.source"]


def test_a_compile_time_function(load: Load) -> None:
    import triton

    if not hasattr(triton, "constexpr_function"):
        pytest.skip("this Triton has none")
    text = (
        "@triton.constexpr_function\ndef size(n):\n    return n + 1\n"
        "@triton.jit\ndef kernel(x):\n    tl.arange(0, size(15))\n"
    )
    found = differing(load(text).kernel, load(text.replace("n + 1", "n + 17")).kernel)
    assert found == ["kernel.callee.size"]


# -- loops and strangers -------------------------------------------------------------------------


def test_functions_that_call_each_other(load: Load) -> None:
    text = (
        "@triton.jit\ndef even(n):\n    return odd(n - 1)\n"
        "@triton.jit\ndef odd(n):\n    return even(n - 1)\n"
        "@triton.jit\ndef kernel(n):\n    kernel(even(n))\n"
    )
    one, other = load(text), load(text.replace("return odd(n - 1)", "return odd(n - 3)"))
    assert differing(one.kernel, other.kernel) == ["kernel.callee.even"]
    assert differing(one.even, other.odd) != []


@pytest.mark.timeout(60)
def test_a_kernel_in_a_list_that_it_reads_itself(load: Load) -> None:
    module = load("OPS = []\n@triton.jit\ndef kernel(x):\n    OPS[0](x)\nOPS.append(kernel)\n")
    assert reason_of(module.kernel) == "global_not_encodable"


class Strange:
    """Raises whatever is done with it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __repr__(self) -> str:
        raise RuntimeError("repr")


class StrangeClass(type):
    def __getattr__(cls, name: str) -> Any:
        raise RuntimeError(name)


def endless() -> Any:
    value: list[Any] = []
    value += [value, value]
    return value


def reason_of(kernel: Any) -> str:
    with pytest.raises(NoIdentity) as caught:
        kernel_id(kernel)
    return caught.value.reason


USES_IT = "IT = None\n@triton.jit\ndef kernel(x):\n    tl.store(x, IT)\n"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (Strange(), "identity_failed"),
        (object(), "global_not_encodable"),
        (mock.MagicMock(), "global_not_encodable"),
        (mock.Mock(fn=None), "global_not_encodable"),
        (endless(), "global_not_encodable"),
        ([object()], "global_not_encodable"),
        ([Strange()], "global_not_encodable"),
        (iter([1]), "global_not_encodable"),
        (reason_of.__get__, "global_not_encodable"),
        (eval("lambda x: x"), "no_source"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_a_global_that_cannot_be_encoded(load: Load, value: Any, reason: str) -> None:
    module = load(USES_IT)
    module.IT = value
    assert reason_of(module.kernel) == reason


def test_a_partial_function_is_not_known_by_its_type(load: Load) -> None:
    text = "f = functools.partial(max, 1)\n@triton.jit\ndef kernel(x):\n    f(x)\n"
    assert reason_of(load(text).kernel) == "global_not_encodable"


@pytest.mark.parametrize(
    "value",
    [None, ..., sys, os.path, int, Path, StrangeClass("C", (), {}), len, "text", b"", 1e400],
    ids=repr,
)
def test_globals_of_any_kind_raise_nothing_else(load: Load, value: Any) -> None:
    module = load(USES_IT)
    module.IT = value
    with contextlib.suppress(NoIdentity):
        assert kernel_id(module.kernel).parts


def test_attributes_that_are_not_there(load: Load) -> None:
    text = "import math as m\n@triton.jit\ndef kernel(x):\n    m.nothing.at.all\n    tl.nothing\n"
    assert kernel_id(load(text).kernel).parts


class Wrapper:
    def __init__(self, fn: Any) -> None:
        self.fn = fn


READS = """
import cfg
from tl_names import exp
ACC = tl.float32
SCALE = tl.constexpr(2)
NUMBER = 3

@triton.jit
def plain(x, BLOCK: tl.constexpr = 4):
    return tl.exp(x) + max(BLOCK, int(1.5))

@triton.jit
def scaled(x):
    return x * SCALE

@triton.jit
def {name}(x):
    tl.store(x, {value})
"""


@pytest.mark.parametrize(
    ("value", "constants", "others"),
    [
        ("1.5 + tl.sum(tl.load(x))", [], False),
        ("plain(tl.load(x))", [], False),
        ("cfg.helper(tl.load(x))", [], False),
        ("SCALE + 1", ["SCALE"], False),
        ("SCALE.value + plain(NUMBER)", ["NUMBER", "SCALE"], False),
        ("scaled(tl.load(x))", [], True),
        ("SCALE + scaled(tl.load(x))", ["SCALE"], True),
        ("scaled(tl.load(x)) + SCALE", ["SCALE"], True),
        ("cfg.scaled(tl.load(x))", [], True),
        ("tl.load(x).to(ACC)", [], True),
        ("cfg.SCALE.value", [], True),
        ("cfg.NUMBER", [], True),
        ("exp(tl.load(x))", [], True),  # another function of Triton's may be put there
        ("not_yet_there(tl.load(x))", [], True),
        ("cfg.not_there(tl.load(x))", [], True),
    ],
)
def test_what_a_kernel_reads(load: Load, value: str, constants: list[str], others: bool) -> None:
    cfg = """
NUMBER = 3
SCALE = tl.constexpr(2)
@triton.jit
def helper(x):
    return x + 1
@triton.jit
def scaled(x):
    return x * NUMBER
"""
    text = READS.format(name="kernel", value=value)
    kernels = load(text, cfg=HEAD + cfg, tl_names="from triton.language import exp\n")
    for kernel in (kernels.kernel, kernels.triton.heuristics({})(kernels.kernel)):
        read = reads(kernel)
        assert (sorted(read.constants), read.others) == (constants, others)


def test_what_the_default_of_a_parameter_reads_is_not_the_kernels_own(load: Load) -> None:
    text = """
SCALE = tl.constexpr(2)
@triton.jit
def scaled(x):
    return x * SCALE
@triton.jit
def kernel(x, f: tl.constexpr = scaled):
    tl.store(x, f(tl.load(x)))
"""
    read = reads(load(text).kernel)
    assert (read.constants, read.others) == ({}, True)


def test_what_cannot_be_identified_reads_others() -> None:
    assert reads(object()).others


def test_what_is_no_kernel() -> None:
    loop = Wrapper(None)
    loop.fn = loop
    for value in (None, 1, Wrapper(None), loop, mock.MagicMock(), len, reason_of):
        with pytest.raises(NoIdentity) as caught:
            innermost(value)
        assert caught.value.reason == "no_kernel_function"
        assert reason_of(value) == "no_kernel_function"
    assert reason_of(Strange()) == "identity_failed"


def test_a_kernel_without_a_text() -> None:
    scope: dict[str, Any] = {}
    exec("def kernel(x):\n    pass\n", scope)
    assert reason_of(Wrapper(scope["kernel"])) == "no_source"


def test_a_text_that_is_no_python() -> None:
    def function() -> None: ...

    wrapper = Wrapper(function)
    wrapper.src = "def kernel(x:\n"  # type: ignore[attr-defined]
    assert reason_of(wrapper) == "source_not_parsed"


# -- values that kernels are called with ---------------------------------------------------------


def test_atoms(load: Load) -> None:
    import triton.language as tl

    assert opaque(tl.float16) == ("triton.dtype", "fp16")
    assert opaque(tl.pointer_type(tl.float16)) == ("triton.dtype", "pointer<fp16>")
    assert opaque(tl.constexpr(1)) != opaque(tl.constexpr(True))
    assert opaque(tl.constexpr(tl.float16)) != opaque(tl.constexpr(tl.float32))
    module = load(KERNEL)
    assert opaque(module.kernel) == ("kernel", kernel_id(module.kernel).directory)
    assert opaque(module.helper) != opaque(module.kernel)
    assert opaque(object()) is None
    assert opaque(1) is None


def test_atoms_of_torch_and_numpy() -> None:
    torch, numpy = pytest.importorskip("torch"), pytest.importorskip("numpy")
    assert opaque(torch.float16) == ("torch.dtype", "torch.float16")
    assert opaque(numpy.dtype("float32")) == ("numpy.dtype", "float32")
    assert opaque(numpy.float32(0.5)) != opaque(numpy.float64(0.5))
    assert opaque(numpy.int64(1)) != opaque(numpy.int32(1))
    assert opaque(numpy.ones(3)) is None
    assert opaque(torch.ones(())) is None
    assert opaque(torch.ones(3).shape) != opaque(torch.ones(4).shape)
