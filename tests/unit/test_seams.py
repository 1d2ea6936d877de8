"""What is private in Triton is named in `tuneonce.triton.seams` and nowhere else.

The table of seams says what is private. Names that are Triton's alone are told by themselves; of
those that anything may be called (``hash``, ``src``) only a reader can say whose they are, but who
wants them has to name a module of Triton's or to be handed an object. A name that is forbidden here
is used through a function of the seams, or is written down as public in their docstring.
"""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuneonce.triton.seams.seam import VERSIONS, Feature
from tuneonce.triton.seams.table import BY_FILE, SEAMS, needed_by

SRC = Path(__file__).parents[2] / "src" / "tuneonce"
DOCS, SCRIPTS = (Path(__file__).parents[2] / name for name in ("docs", "scripts"))

PRIVATE = {name for seam in SEAMS for name in seam.names}
# Public, as the docstring of the seams says.
PUBLIC_MODULES = {"triton", "triton.language"}
BELOW = {"_C", "backends", "compiler", "knobs", "runtime", "testing", "tools"}

# (file below src/tuneonce, name): why it is named there and not in the seams.
EXCEPTIONS: dict[tuple[str, str], str] = {
    ("activation/install.py", "triton.runtime.autotuner"): (
        "Every process that has TUNEONCE set imports this file, mostly for nothing: it must not "
        "import the seams to know which module to wait for."
    ),
    ("demo/kernels/tuning.py", "triton.knobs"): (
        "The demo's kernels are a program's, and ask as its author would."
    ),
    ("triton/compile/pool.py", "triton_key"): (
        "A word of what the helper is told, which has no other name for it."
    ),
}
# What stands on the other side: it is a driver of Triton's, and is written like one.
OTHER_SIDE = ("testing",)
# Runs alone in a process, with Triton and Python's library: it cannot import the seams, so it
# names what it uses in one file.
HELPER = "triton/compile/worker"
HELPERS_FILE = f"{HELPER}/compile_job.py"
MODULE = re.compile(r"triton(\.\w+)+")


def named(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where a file names something private of Triton's: line and name."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body
        if isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in PRIVATE:
            yield node.lineno, node.attr
        elif isinstance(node, ast.Attribute) and _is_below_triton(node):
            yield node.lineno, f"triton.{node.attr}"
        elif isinstance(node, ast.keyword) and node.arg in PRIVATE:
            yield node.value.lineno, str(node.arg)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            is_module = MODULE.fullmatch(text) is not None and text not in PUBLIC_MODULES
            if id(node) not in docstrings and (text in PRIVATE or is_module):
                yield node.lineno, text
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if _is_private_module(alias.name):
                    yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                if _is_private_module(str(node.module)):
                    yield node.lineno, str(node.module)
                elif alias.name in PRIVATE or (node.module == "triton" and alias.name == "knobs"):
                    yield node.lineno, full


def _is_below_triton(node: ast.Attribute) -> bool:
    """Whether it is ``triton.knobs`` and the like, by a name that is bound to Triton."""
    return isinstance(node.value, ast.Name) and node.value.id == "triton" and node.attr in BELOW


def _is_private_module(name: str) -> bool:
    return MODULE.fullmatch(name) is not None and name not in PUBLIC_MODULES


def found_in(text: str) -> list[str]:
    return [name for _, name in named(ast.parse(text))]


def everywhere() -> dict[tuple[str, str], int]:
    """By file and name, a line that names it, of the files that may not."""
    found: dict[tuple[str, str], int] = {}
    for path in sorted(SRC.rglob("*.py")):
        file = path.relative_to(SRC).as_posix()
        inside = ("triton/seams", *OTHER_SIDE)
        if file == HELPERS_FILE or any(file.startswith(f"{one}/") for one in inside):
            continue
        for line, name in named(ast.parse(path.read_text())):
            found.setdefault((file, name), line)
    return found


def test_what_is_private_is_named_in_the_seams_alone() -> None:
    found = everywhere()
    wrong = [
        f"{f}:{line} {name}" for (f, name), line in found.items() if (f, name) not in EXCEPTIONS
    ]
    assert wrong == []
    assert set(EXCEPTIONS) <= found.keys()
    assert all(reason.strip() for reason in EXCEPTIONS.values())


def test_the_helper_names_in_one_file_what_the_table_knows() -> None:
    """Modules apart: it has to import them."""
    names = {n for _, n in named(ast.parse((SRC / HELPERS_FILE).read_text()))}
    assert {n for n in names if MODULE.fullmatch(n) is None and n != "triton.knobs"} <= PRIVATE
    assert {"make_backend", "get_cache_manager", "parse_mlir_module", "triton_key"} <= names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("autotuner._bench(config=config)", ["_bench"]),
        ("kernel.device_caches[0]", ["device_caches"]),
        ("getattr(kernel, '_hash_lock', None)", ["_hash_lock"]),
        ("vars(autotuner).get('_do_bench')", ["_do_bench"]),
        ("vars(kernel)['used_global_vals']", ["used_global_vals"]),
        ("tell(configs_timings=timings)", ["configs_timings"]),
        ("import triton.runtime.cache", ["triton.runtime.cache"]),
        ("import triton.runtime.driver as d", ["triton.runtime.driver"]),
        ("from triton.runtime.driver import driver", ["triton.runtime.driver"]),
        ("def later():\n    from triton.compiler import ASTSource", ["triton.compiler"]),
        ("from triton import knobs", ["triton.knobs"]),
        ("import triton\ntriton.knobs.runtime.interpret", ["triton.knobs"]),
        ("import sys\nsys.modules['triton.knobs']", ["triton.knobs"]),
        ("import importlib\nimportlib.import_module('triton.backends')", ["triton.backends"]),
    ],
)
def test_a_private_name_is_found(text: str, names: list[str]) -> None:
    assert found_in(text) == names


@pytest.mark.parametrize(
    "text",
    [
        "import triton\ntriton.Config({}, num_warps=4).all_kwargs()",
        "import triton.language as tl\ntl.dtype('fp16')",
        "autotuner.cache[key] = autotuner.best_config = autotuner.configs[0]",
        "autotuner.fn.run(*args, **kwargs)",
        "from ..seams import kernels\nkernels.unchanged(jit)",
        'def f():\n    """Triton\'s `_bench`, of triton.runtime.autotuner."""',
        "import tuneonce.triton.compile.pool",
    ],
)
def test_what_is_public_or_ours_is_not(text: str) -> None:
    assert found_in(text) == []


def test_every_seam_says_what_it_is_for() -> None:
    assert len({seam.name for seam in SEAMS}) == len(SEAMS)
    for seam in SEAMS:
        assert seam.what
        assert seam.needed_by, seam.name
        assert seam.read_in, seam.name
        assert set(seam.read_in) <= set(VERSIONS), seam.name
        assert seam.module.partition(".")[0] == "triton"


def test_every_feature_needs_seams() -> None:
    assert all(needed_by(feature) for feature in Feature)


def test_files_of_seams_are_short() -> None:
    for name in BY_FILE:
        lines = (SRC / "triton" / "seams" / f"{name}.py").read_text().splitlines()
        assert len(lines) <= 200, name


def test_the_page_of_seams_is_up_to_date() -> None:
    script = runpy.run_path(str(SCRIPTS / "triton_seams_page.py"))
    assert (DOCS / "triton-seams.md").read_text() == script["page"](), (
        "python scripts/triton_seams_page.py"
    )
